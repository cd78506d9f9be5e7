"""The description of the interface (OpenAPI 3.1), made from the same operations that answer requests."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping

from pydantic_core import to_json

from api.docs_page import CONTENT_POLICY, docs_page
from api.event_documents import EventDocuments
from api.openapi_schemas import REFERENCE, Json, Schemas
from api.operations import EVERYONE, Body, Operation
from api.possible_problems import by_status, problems_of_lines
from api.problems import NOT_AUTHENTICATED, ProblemType, Retry
from api.requests import Request
from api.responses import Response
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
        "description": "The version that the stream has to have, as in the ETag of an earlier answer; `*` means any.",
        "schema": {"type": "string", "pattern": r'^(\*|"[0-9]{1,9}")$'},
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
_CHALLENGE = {"WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}}}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}


class Description:
    """Describes operations; makes the description when it is first asked for."""

    def __init__(self, operations: Iterable[Operation], documents: EventDocuments, version: str) -> None:
        self.operations = (*operations, *self._own())
        self._documents = documents
        self._version = version
        self._json: bytes | None = None
        self._page: bytes | None = None

    def _own(self) -> Iterator[Operation]:
        yield Operation(
            name="read-openapi",
            method="GET",
            path="/openapi.json",
            tag="documentation",
            summary="Read this description",
            roles=EVERYONE,
            handler=self._answer_json,
            answers={200: Body({"application/vnd.oai.openapi+json": None}, "OpenAPI 3.1, as JSON.")},
        )
        yield Operation(
            name="read-documentation",
            method="GET",
            path="/docs",
            tag="documentation",
            summary="Read a page with all operations",
            roles=EVERYONE,
            handler=self._answer_page,
            answers={200: Body({"text/html": None}, "A page that needs no script and nothing from elsewhere.")},
        )

    async def _answer_json(self, _request: Request) -> Response:
        if self._json is None:
            self._json = to_json(self.document())
        return Response(self._json, media_type=b"application/vnd.oai.openapi+json;version=3.1")

    async def _answer_page(self, _request: Request) -> Response:
        if self._page is None:
            self._page = docs_page(self.operations, self._version)
        return Response(self._page, media_type=b"text/html; charset=utf-8", headers=[CONTENT_POLICY])

    def document(self) -> Json:
        """The whole description."""
        schemas, shared = Schemas(self.operations, self._documents), _Shared()
        paths: dict[str, Json] = {}
        for operation in self.operations:
            paths.setdefault(operation.path, {})[operation.method.lower()] = self._operation(operation, schemas, shared)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": "Rapport",
                "version": self._version,
                "summary": "Customers, and what happens with them, as events that are never changed.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "security": [{"key": []}],
            "paths": paths,
            "components": {
                "schemas": schemas.components,
                "responses": shared.responses,
                "parameters": shared.parameters,
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "rapport keys create"}},
            },
        }

    @staticmethod
    def _operation(operation: Operation, schemas: Schemas, shared: "_Shared") -> Json:
        described: dict[str, Json] = {
            "operationId": operation.name,
            "tags": [operation.tag],
            "summary": operation.summary,
            "description": operation.meaning,
        }
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
            self.responses[name] = {"description": ""}
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
