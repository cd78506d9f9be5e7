"""What a description in OpenAPI cannot say, told to Schemathesis by `schemathesis.toml`.

Only requests that are meant to be accepted are put right; those that are meant to be refused stay as they are.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import schemathesis
from hypothesis import strategies
from schemathesis import Case, DeserializationContext, GenerationMode, HookContext, SerializationContext

from application.shapes import DAYS_END, FIRST_DAY
from tests.fuzz.malformed import IS_FULL

_TARGETS = {
    "customers": "number:C-1001",
    "products": "number:F-405",
    "sales-documents": "number:R-2",
    "service-calendars": "number:H-1",
    "staff": "number:S-1",
    "support-cases": "number:A-1",
    "teams": "number:T-1",
}
"""What there is, in the world of `tests.interface.accepted`, by its collection."""
_NAMED = {
    "customer": "customers",
    "product": "products",
    "successor": "products",
    "substitute": "products",
    "complement": "products",
    "staff": "staff",
    "team": "teams",
    "calendar": "service-calendars",
    "into": "support-cases",
    "follow_up_of": "support-cases",
}
"""Fields that name something, each with its collection."""
_GOOD = {
    "from": "2026-01-01",
    "to": "2026-04-01",
    "base_from": "2025-10-01",
    "base_to": "2026-01-01",
    "tz": "Europe/Berlin",
    "knowledge": "rapport",
    "country": "DE",
    "year": 2026,
    "to_year": 2027,
    "subdivision": "BE",
    "after": 0,
    "limit": 10,
    "wait": "0s",
}
"""Values of parameters that are right together, and within the settings."""
_LEFT_OUT = (
    *("cursor", "types", "known_at", "at_position", "min_position", "principal"),
    *("where", "compare", "by", "measure", "scale"),
)
"""Parameters that say what only an earlier answer tells, or that go together in ways of their own."""

_DAYS = strategies.dates(FIRST_DAY, DAYS_END - timedelta(days=1))
schemathesis.openapi.format("date", _DAYS.map(date.isoformat))
schemathesis.openapi.format("date-time", _DAYS.map(lambda day: datetime.combine(day, time(9, 30), UTC).isoformat()))


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _arguments: Mapping[str, Any]) -> None:
    """Give a command a key of its own and something that there is, and leave out what only an answer can give."""
    if case.meta is not None and case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if "id" in case.path_parameters:
        case.path_parameters["id"] = _TARGETS[case.operation.path.split("/")[2]]
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid4())
    if "If-Match" in case.headers:
        case.headers["If-Match"] = "*"
    for name in _LEFT_OUT:
        case.query.pop(name, None)
    case.query.update({name: value for name, value in _GOOD.items() if name in case.query})
    if isinstance(case.body, dict):
        for name in ("occurred_at", "source_recorded_at"):
            case.body.pop(name, None)
        case.body = _put_right(case.body)


def _put_right(value: Any) -> Any:
    """The value with what there is, intervals that open before they close, and whole numbers without a point."""
    if isinstance(value, list):
        return [_put_right(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, dict):
        return value
    put = {name: _put_right(each) for name, each in value.items()}
    put |= {name: _TARGETS[_NAMED[name]] for name, each in put.items() if name in _NAMED and isinstance(each, str)}
    return put | {"opens": "09:00", "closes": "17:00"} if {"opens", "closes"} <= put.keys() else put


@schemathesis.serializer("application/x-ndjson")
def write_lines(_context: SerializationContext, line: Any) -> bytes:
    """A bulk body of one line."""
    return json.dumps(line).encode() + b"\n"


@schemathesis.deserializer("application/x-ndjson")
def read_lines(_context: DeserializationContext, response: Any) -> Any:
    """The answer to its line, else the summary."""
    return json.loads(response.content.splitlines()[0])


# What is left out where it is not the full amount

_TRIED_IN_FULL = ("block-customer", "run-report-revenue_statistics", "list-customers")
"""With these everything is tried that other operations have, too."""
_SHARED_PARAMETERS = frozenset(
    {"known_at", "at_position", "min_position", "definition_version", "format", "limit", "cursor", "tz", "where"}
)
_SHARED_FIELDS = frozenset({"occurred_at", "reason", "source", "source_recorded_at", "dry_run"})
_KEPT = frozenset({"id", "key", "Idempotency-Key"})
"""Without these a request means nothing."""
_LINES = ("RegisterCustomerLine", "BlockCustomerLine", "PostInvoiceLine")
"""Commands that are tried as lines."""


@schemathesis.hook
def before_load_schema(_context: HookContext, description: dict[str, Any]) -> None:
    """Leave out what many operations have in common, but with some of them."""
    if IS_FULL:
        return
    for methods in description["paths"].values():
        for operation in methods.values():
            if operation["operationId"] not in _TRIED_IN_FULL:
                operation["parameters"] = list(_own_parameters(operation))
    for name, schema in description["components"]["schemas"].items():
        if schema.get("properties", {}).keys() >= _SHARED_FIELDS and name != "BlockCustomer":
            for field in _SHARED_FIELDS - set(schema.get("required", ())):
                del schema["properties"][field]
    body = description["paths"]["/v1/commands"]["post"]["requestBody"]["content"]["application/x-ndjson"]
    body["schema"] = {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in _LINES]}


def _own_parameters(operation: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What only this operation has; the events behind a figure are asked for as the figure is."""
    explains = operation["operationId"].startswith("explain-report")
    for parameter in operation.get("parameters", ()):
        if "$ref" in parameter:
            is_own = parameter["$ref"].rpartition("/")[2] in _KEPT
        else:
            is_own = parameter.get("required", False) or not (explains or parameter["name"] in _SHARED_PARAMETERS)
        if is_own:
            yield parameter
