"""The description of the interface (OpenAPI 3.1), made from the same operations that answer requests."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping

from api.event_documents import EventDocuments
from api.openapi_schemas import REFERENCE, Json, Schemas
from api.operations import EVERYONE, Operation
from api.possible_problems import by_status, problems_of_lines
from api.problems import NOT_AUTHENTICATED, ProblemType, Retry
from api.submissions import KEY_PATTERN
from application.shapes import REFERENCE_LENGTH_MAX

_NAME_LENGTH_MAX = 60
_UUID = {"type": "string", "format": "uuid"}

_HEADERS: Mapping[str, Json] = {
    "Idempotency-Key": {
        "description": "Names this command for ever: with its key it is not done twice, and gets its first answer.",
        "required": True,
        "schema": {"type": "string", "pattern": KEY_PATTERN},
        "example": "0190b7c2-7e1a-7000-8000-000000000001",
    },
    "If-Match": {
        "description": "The version that the stream has to have, as in the ETag of an earlier answer; `*` means any. "
        "Without the epoch it is one of the current epoch.",
        "schema": {
            "type": "string",
            "pattern": r'^(\*|"[0-9]{1,9}(-[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})?")$',
        },
        "example": '"3"',
    },
    "Correlation-Id": {
        "description": "Joins what belongs together; without it, the trace id of traceparent does.",
        "schema": _UUID,
    },
    "Causation-Id": {"description": "The event or command that caused this.", "schema": _UUID},
    "On-Behalf-Of": {
        "description": "Pseudonymous id of the person for whom this is done.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$"},
    },
    "traceparent": {"description": "W3C Trace Context; a malformed one is ignored.", "schema": {"type": "string"}},
}
_PATH_VALUES: Mapping[str, Json] = {
    "id": {
        "description": "Our id, or `source:identifier` such as `shop:4711` or `number:C-1001`.",
        "schema": {"type": "string", "minLength": 1, "maxLength": REFERENCE_LENGTH_MAX},
    },
    "key": {"description": "The idempotency key of the command.", "schema": {"type": "string", "pattern": KEY_PATTERN}},
    "name": {
        "description": "The name of the report.",
        "schema": {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,99}$"},
    },
}
_EPOCH = {"Rapport-Epoch": {"description": "The epoch of the log.", "schema": _UUID}}
_CHALLENGE = {"WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}}}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}


def completed(document: Json, operations: Iterable[Operation], documents: EventDocuments) -> Json:
    """FastAPI's description with what is read and answered as bytes: parameters, bodies, answers and their schemas."""
    operations = tuple(operations)
    schemas, shared = Schemas(operations, documents), _Shared()
    for operation in operations:
        document["paths"][operation.path][operation.method.lower()] |= _described(operation, schemas, shared)
    return {
        **document,
        "security": [{"key": []}],
        "components": {
            "schemas": schemas.components,
            "responses": shared.responses,
            "parameters": shared.parameters,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "rapport keys create"}},
        },
    }


def _described(operation: Operation, schemas: Schemas, shared: "_Shared") -> Json:
    """What FastAPI reads from the parameters of a function, and an operation says itself."""
    described: dict[str, Json] = {}
    if operation.roles is EVERYONE:
        described["security"] = []
    named = [*_path_values(operation), *_headers(operation)]
    parameters = [
        *(shared.parameter(each) for each in named),
        *schemas.parameters(operation),
        *schemas.declared(operation),
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "description": operation.body.description,
            "required": True,
            "content": schemas.content(operation.body, "validation"),
        }
    answers = {
        str(status): _without_empty(
            {
                "description": body.description,
                "headers": {
                    name: {"description": says, "schema": {"type": "string"}} for name, says in body.headers.items()
                },
                "content": schemas.content(body, "serialization"),
            }
        )
        for status, body in operation.answers.items()
    }
    if lines := problems_of_lines(operation):
        _add_problems_of_lines(answers["200"], lines)
    for status, problems in by_status(operation).items():
        if str(status) in answers:
            _add_problems(answers[str(status)], problems)
        else:
            answers[str(status)] = shared.response(status, problems)
    for answer in answers.values():
        if "$ref" not in answer:
            answer["headers"] = {**answer.get("headers", {}), **_EPOCH}
    described["responses"] = dict(sorted(answers.items()))
    return described


class _Shared:
    """What several operations have in common stands once, and is referred to."""

    def __init__(self) -> None:
        self.responses: dict[str, Json] = {}
        self.parameters: dict[str, Json] = {}

    def parameter(self, parameter: Json) -> Json:
        """A reference to a parameter."""
        self.parameters[parameter["name"]] = parameter
        return {"$ref": f"#/components/parameters/{parameter['name']}"}

    def response(self, status: int, problems: list[ProblemType]) -> Json:
        """A reference to the response with these problems."""
        name = "-or-".join(each.code for each in problems)
        if len(name) > _NAME_LENGTH_MAX:
            name = f"{status}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        if name not in self.responses:
            self.responses[name] = {"description": "", "headers": dict(_EPOCH)}
            _add_problems(self.responses[name], problems)
        return {"$ref": f"#/components/responses/{name}"}


def _add_problems(answer: Json, problems: list[ProblemType]) -> None:
    rules = [f"`{each.code}`: {each.rule}" for each in problems]
    said = rules[0] if len(rules) == 1 else "".join(f"\n* {rule}" for rule in rules)
    answer["description"] = f"{answer['description']} {said}".strip()
    answer.setdefault("content", {})["application/problem+json"] = {
        "schema": {
            "allOf": [
                {"$ref": REFERENCE.format(model="ProblemDocument")},
                {"properties": {"type": {"enum": [each.uri for each in problems]}}},
            ]
        }
    }
    headers = dict(_CHALLENGE) if NOT_AUTHENTICATED in problems else {}
    if any(each.retry is Retry.SAME_REQUEST for each in problems):
        headers |= _RETRY_AFTER
    if headers:
        answer["headers"] = {**answer.get("headers", {}), **headers}


def _add_problems_of_lines(answer: Json, problems: list[ProblemType]) -> None:
    rules = "".join(f"\n* `{each.code}`: {each.rule}" for each in problems)
    answer["description"] = f"{answer['description']} A line may tell of these problems:{rules}"
    content = answer["content"]["application/x-ndjson"]
    types = {"enum": [each.uri for each in problems]}
    content["schema"] = {
        "allOf": [content["schema"], {"properties": {"problem": {"properties": {"type": types}}}}],
    }


def _without_empty(members: dict[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in members.items() if value != {}}


def _path_values(operation: Operation) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", operation.path):
        yield {"name": name, "in": "path", "required": True, **_PATH_VALUES[name]}


def _headers(operation: Operation) -> Iterator[Json]:
    for name in operation.headers:
        yield {"name": name, "in": "header", **_HEADERS[name]}
