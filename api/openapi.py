"""The description of the interface (OpenAPI 3.1), made from the same operations that answer requests."""

import hashlib
import html
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from pydantic_core import to_json

from api.event_documents import EVENT_MARK, EventDocuments, EventEnvelope
from api.operations import ALL_ROLES, EVERYONE, Body, KnownProblem, Operation
from api.problems import (
    INTERNAL_ERROR,
    INVALID_PARAMETER,
    LOG_UNAVAILABLE,
    MALFORMED_HEADER,
    MALFORMED_QUERY,
    NOT_AUTHENTICATED,
    PATH_NOT_FOUND,
    ROLE_NOT_ALLOWED,
    TOO_BUSY,
    TOO_MANY_REQUESTS,
    ProblemDocument,
    ProblemType,
    Retry,
    of_refusal,
)
from api.requests import Request
from api.responses import Response
from api.submissions import KEY_PATTERN
from application.shapes import REFERENCE_LENGTH_MAX

Json: TypeAlias = Any
"""A piece of the description."""

_REFERENCE = "#/components/schemas/{model}"
_OF_EVERY_OPERATION = (MALFORMED_HEADER, INTERNAL_ERROR)
_OF_EVERY_KEY = (
    MALFORMED_QUERY,
    INVALID_PARAMETER,
    NOT_AUTHENTICATED,
    TOO_MANY_REQUESTS,
    TOO_BUSY,
    LOG_UNAVAILABLE,
)
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
        "schema": {"type": "string", "pattern": '^"[0-9]{1,9}"$'},
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
            self._page = self.page().encode()
        return Response(self._page, media_type=b"text/html; charset=utf-8", headers=[_POLICY])

    def document(self) -> Json:
        """The whole description."""
        schemas, shared = _Schemas(self.operations, self._documents), _Shared()
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
    def _operation(operation: Operation, schemas: "_Schemas", shared: "_Shared") -> Json:
        described: dict[str, Json] = {
            "operationId": operation.name,
            "tags": [operation.tag],
            "summary": operation.summary,
            "description": _description(operation),
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
        for status, problems in _by_status(operation).items():
            if str(status) in answers:
                _add_problems(answers[str(status)], problems)
            else:
                answers[str(status)] = shared.response(status, problems)
        described["responses"] = dict(sorted(answers.items()))
        return described

    def page(self) -> str:
        """All operations on one page."""
        tags: dict[str, list[Operation]] = {}
        for operation in self.operations:
            tags.setdefault(operation.tag, []).append(operation)
        sections = "".join(_section(tag, operations) for tag, operations in tags.items())
        return _PAGE.format(version=html.escape(self._version), sections=sections)


class _Schemas:
    """The schemas of everything that is sent and answered."""

    def __init__(self, operations: Iterable[Operation], documents: EventDocuments) -> None:
        wanted: dict[tuple[int, str], tuple[Any, TypeAdapter[Any]]] = {}
        for operation in operations:
            bodies = [(body, "serialization") for body in operation.answers.values()]
            if operation.body is not None:
                bodies.append((operation.body, "validation"))
            for body, mode in bodies:
                for shape in body.content.values():
                    if shape is not None:
                        wanted[id(shape), mode] = (shape, TypeAdapter(shape))
            if operation.query is not None:
                wanted[id(operation.query), "validation"] = (operation.query, TypeAdapter(operation.query))
        for shape in (ProblemDocument, EventEnvelope):
            wanted[id(shape), "serialization"] = (shape, TypeAdapter(shape))
        inputs: Any = [((identity, mode), mode, adapter) for (identity, mode), (_, adapter) in wanted.items()]
        inputs += [(name, "serialization", adapter) for name, adapter in documents.adapters.items()]
        found, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REFERENCE)
        # The mapping keeps the shapes alive, so that their identities stay theirs.
        self._shapes = wanted
        self._found: Any = found
        self.components: dict[str, Json] = definitions.get("$defs", {})
        for name, event in documents.classes.items():
            data = self._found[name, "serialization"]
            self.components[f"event.{name}"] = _event(name, event, data)
        self.components["Event"] = {
            "description": "Something that has happened, told by its type.",
            "oneOf": [{"$ref": _REFERENCE.format(model=f"event.{name}")} for name in documents.classes],
            "discriminator": {
                "propertyName": "type",
                "mapping": {name: _REFERENCE.format(model=f"event.{name}") for name in documents.classes},
            },
        }
        _walk(self.components, _close_and_connect)
        _walk(self._found, _close_and_connect)
        del self.components["EventEnvelope"]["additionalProperties"]

    def content(self, body: Body, mode: str) -> Json:
        """The media types of a body, each with its schema."""
        return {
            media_type: {"schema": {"type": "string"} if shape is None else self._found[(id(shape), mode), mode]}
            for media_type, shape in body.content.items()
        }

    def parameters(self, operation: Operation) -> Iterator[Json]:
        """The parameters of the query string."""
        if operation.query is None:
            return
        schema = self._resolved(self._found[(id(operation.query), "validation"), "validation"])
        for name, described in schema.get("properties", {}).items():
            rest = {key: value for key, value in described.items() if key not in {"description", "title", "default"}}
            branches = [each for each in rest.pop("anyOf", ()) if each != {"type": "null"}]
            if len(branches) == 1:
                rest |= branches[0]
            elif branches:
                rest["anyOf"] = branches
            if described.get("default") is not None:
                rest["default"] = described["default"]
            meaning = described.get("description") or rest.pop("description", "")
            parameter = {"name": name, "in": "query", "description": meaning, "schema": rest}
            if name in schema.get("required", ()):
                parameter["required"] = True
            yield parameter

    @staticmethod
    def declared(operation: Operation) -> Iterator[Json]:
        """Parameters that are read by what answers the question."""
        for each in operation.parameters:
            schema: Json = {"type": "string", "enum": list(each.values)} if each.values else {"type": "string"}
            parameter = {"name": each.name, "in": "query", "description": each.meaning, "schema": schema}
            if each.repeated:
                parameter["schema"] = {"type": "array", "items": schema}
            if each.required:
                parameter["required"] = True
            yield parameter

    def _resolved(self, schema: Json) -> Json:
        reference = schema.get("$ref")
        return schema if reference is None else self.components[reference.rpartition("/")[2]]


def _event(name: str, event: type[Any], data: Json) -> Json:
    summary, _, _ = (event.__doc__ or "").partition("\n\n")
    return {
        "title": name,
        "description": " ".join(summary.split()),
        "type": "object",
        "allOf": [{"$ref": _REFERENCE.format(model="EventEnvelope")}],
        "properties": {"type": {"const": name}, "data": data},
        "required": ["type", "data"],
        "unevaluatedProperties": False,
    }


def _walk(value: Json, change: Callable[[dict[str, Json]], None]) -> None:
    if isinstance(value, dict):
        change(value)
        for each in list(value.values()):
            _walk(each, change)
    elif isinstance(value, list):
        for each in value:
            _walk(each, change)


def _close_and_connect(schema: dict[str, Json]) -> None:
    """What has fields has no others, in either direction; a place for an event refers to what an event is.

    Titles that repeat a field's name are left out.
    """
    for each in schema.get("properties", {}).values():
        if isinstance(each, dict) and isinstance(each.get("title"), str):
            del each["title"]
    if schema.get("type") == "object" and "properties" in schema and "allOf" not in schema:
        schema.setdefault("additionalProperties", False)
    if schema.pop(EVENT_MARK, False):
        schema.clear()
        schema["$ref"] = _REFERENCE.format(model="Event")


def problems_of(operation: Operation) -> Iterator[ProblemType]:
    """Every problem that an operation may answer with."""
    known: list[KnownProblem] = [*operation.problems, *_OF_EVERY_OPERATION]
    if operation.roles is not EVERYONE:
        known += _OF_EVERY_KEY
        if operation.roles != ALL_ROLES:
            known.append(ROLE_NOT_ALLOWED)
    if "{" in operation.path:
        known.append(PATH_NOT_FOUND)
    for each in dict.fromkeys(known):
        yield each if isinstance(each, ProblemType) else of_refusal(each)


def _by_status(operation: Operation) -> Mapping[int, list[ProblemType]]:
    found: dict[int, dict[str, ProblemType]] = {}
    for problem in problems_of(operation):
        found.setdefault(problem.status, {})[problem.code] = problem
    return {status: sorted(problems.values(), key=lambda each: each.code) for status, problems in sorted(found.items())}


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
                {"$ref": _REFERENCE.format(model="ProblemDocument")},
                {"properties": {"type": {"enum": [each.uri for each in problems]}}},
            ]
        }
    }
    headers = dict(_CHALLENGE) if NOT_AUTHENTICATED in problems else {}
    if any(each.retry is Retry.SAME_REQUEST for each in problems):
        headers |= _RETRY_AFTER
    if headers:
        answer["headers"] = {**answer.get("headers", {}), **headers}


def _without_empty(members: dict[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in members.items() if value != {}}


def _path_values(operation: Operation) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", operation.path):
        yield {"name": name, "in": "path", "required": True, **_PATH_VALUES[name]}


def _headers(operation: Operation) -> Iterator[Json]:
    for name in operation.headers:
        yield {"name": name, "in": "header", **_HEADERS[name]}


def _description(operation: Operation) -> str:
    if operation.roles is EVERYONE:
        roles = "Needs no key."
    else:
        roles = "Roles: " + ", ".join(sorted(f"`{role}`" for role in operation.roles)) + "."
    return f"{operation.description}\n\n{roles}".strip()


def _section(tag: str, operations: Iterable[Operation]) -> str:
    rows = "".join(
        f"<tr><td><code>{operation.method} {html.escape(operation.path)}</code></td>"
        f"<td>{html.escape(operation.summary)}<br>"
        f"<small>{html.escape(_description(operation)).replace('`', '')}</small></td>"
        f"<td><small>{', '.join(_shown(status) for status in _by_status(operation))}</small></td></tr>"
        for operation in operations
    )
    return f"<h2>{html.escape(tag)}</h2><table>{rows}</table>"


def _shown(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


_POLICY = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Rapport {version}</title>
<meta name="viewport" content="width=device-width">
<style>body{{font-family:sans-serif;margin:2em auto;max-width:75em;padding:0 1em}}
table{{border-collapse:collapse;width:100%}}td{{border-top:1px solid #ccc;padding:.4em;vertical-align:top}}
small{{color:#555}}</style></head>
<body><h1>Rapport {version}</h1>
<p>The full description, with every schema and every problem: <a href="/openapi.json">/openapi.json</a>.</p>
{sections}</body></html>
"""
