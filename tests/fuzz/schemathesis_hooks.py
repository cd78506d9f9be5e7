"""What a description in OpenAPI cannot say, told to Schemathesis (`SCHEMATHESIS_HOOKS=tests.fuzz.schemathesis_hooks`).

Only requests that are meant to be accepted are put right; those that are meant to be refused stay as they are.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import schemathesis
from schemathesis import Case, GenerationMode, HookContext

_GOOD = {
    "from": "2026-01-01",
    "to": "2026-04-01",
    "valid_at": "2026-03-31",
    "tz": "Europe/Berlin",
    "knowledge": "rapport",
}
_OF_EARLIER_ANSWERS = ("cursor", "types", "limit", "known_at", "at_position", "min_position", "where", "compare")


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _arguments: Mapping[str, Any]) -> None:
    """Give a command a key of its own, and leave out what only an earlier answer can give."""
    if case.meta is not None and case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid4())
    if "If-Match" in case.headers:
        case.headers["If-Match"] = "*"
    for name in _OF_EARLIER_ANSWERS:
        case.query.pop(name, None)
    case.query.update({name: value for name, value in _GOOD.items() if name in case.query})
    if isinstance(case.body, dict):
        for name in ("occurred_at", "source_recorded_at"):
            case.body.pop(name, None)
        if isinstance(case.body.get("price"), dict):
            case.body["price"] = {"amount": "1.00", "currency": "EUR"}
