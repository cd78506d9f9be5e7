"""How an operation comes to answer with each problem: what is different in the request, or in the service.

A problem of a rule is reached as `tests.interface.refused` says; every other one is here by its code.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from application.commands import Role
from tests.interface.accepted import ACCEPTED, NOBODY, filled_text
from tests.interface.refused import IN_PARTICULAR, REFUSED
from tests.interface.services import USUAL
from tests.interface.world import Asked, Operation, World, operations, written


@dataclass(frozen=True, slots=True)
class Way:
    """How a problem is reached: a change of what would be accepted, sent to one of the services."""

    change: Callable[[Asked], Asked] = lambda asked: asked
    service: str = USUAL
    is_sent_before: bool = False
    """What would be accepted is sent first, as it is."""


def _twice(asked: Asked) -> Asked:
    return replace(asked, headers=(*asked.headers, ("if-match", '"1"'), ("if-match", '"2"')))


def _of_another_role(asked: Asked) -> Asked:
    return replace(asked, role=next(role for role in Role if role not in asked.operation.roles))


def _with_member_twice(asked: Asked) -> Asked:
    twice = b'{"source":"erp","source":"erp",'
    return replace(asked, content=written({**(asked.body or {}), "dry_run": False}).replace(b"{", twice, 1))


def _to_nobody(asked: Asked) -> Asked:
    return replace(asked, path=asked.operation.path.replace("{id}", NOBODY).replace("{key}", NOBODY))


def _to_what_is_no_text(asked: Asked) -> Asked:
    return replace(asked, path=asked.operation.path.replace("{id}", "%ff").replace("{key}", "%ff"))


def _without_end(asked: Asked) -> Asked:
    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    return replace(asked, content=endless)


def _query(text: str) -> Callable[[Asked], Asked]:
    return lambda asked: asked.with_query(text)


def _fields(**fields: Any) -> Callable[[Asked], Asked]:
    return lambda asked: asked.with_body(**fields)


def _header(name: str, value: str) -> Callable[[Asked], Asked]:
    return lambda asked: asked.with_header(name, value)


WAYS: Mapping[str, Way] = {
    "malformed-header": Way(_twice),
    "malformed-query": Way(_query("nonsense=%ff")),
    "invalid-parameter": Way(_query("nonsense=1")),
    "parameter-is-invalid": Way(_query("limit=0")),
    "not-authenticated": Way(lambda asked: replace(asked, role=None)),
    "role-not-allowed": Way(_of_another_role),
    "path-not-found": Way(_to_what_is_no_text),
    "command-not-found": Way(_to_nobody),
    "customer-not-found": Way(_to_nobody),
    "product-not-found": Way(_to_nobody),
    "sales-document-not-found": Way(_to_nobody),
    "calendar-not-found": Way(_to_nobody),
    "staff-not-found": Way(_to_nobody),
    "team-not-found": Way(_to_nobody),
    "case-not-found": Way(_to_nobody),
    "idempotency-key-missing": Way(lambda asked: asked.without_header("idempotency-key")),
    "unsupported-media-type": Way(_header("content-type", "text/plain")),
    "malformed-json": Way(lambda asked: replace(asked, content=b'{"reason": NaN}')),
    "duplicate-member": Way(_with_member_twice),
    "invalid-body": Way(_fields(nonsense=1)),
    "body-too-large": Way(service="tight"),
    "too-many-lines": Way(service="short"),
    "body-too-slow": Way(_without_end, service="impatient"),
    "stream-has-moved": Way(_header("if-match", '"999"')),
    "key-is-used-for-another-request": Way(_fields(reason="another"), is_sent_before=True),
    "occurred-in-the-future": Way(_fields(occurred_at="2199-01-01T00:00:00Z")),
    "moment-is-not-over": Way(_query("known_at=2199-01-01T00:00:00Z")),
    "epoch-has-ended": Way(_query("after=1&epoch=0190b7c2-7e1a-7000-8000-00000000dead")),
    "read-model-not-found": Way(service="new"),
    "read-model-behind": Way(_query("min_position={position}"), service="hasty"),
    "read-model-unavailable": Way(service="without-models"),
    "definition-is-withdrawn": Way(_query("definition_version=1")),
    "report-not-found": Way(service="overtaken"),
    "too-busy": Way(service="busy"),
    "too-many-requests": Way(service="crowded"),
    "queue-is-full": Way(service="full"),
    "log-unavailable": Way(service="out-of-reach"),
    "event-is-unknown": Way(service="older"),
    "internal-error": Way(service="faulty"),
}
"""By the code of the problem."""

IN_LINES: Mapping[str, Way] = {
    "body-too-slow": Way(_without_end, service="impatient"),
    "too-many-lines": Way(service="short"),
    "queue-is-full": Way(service="stopping"),
    "log-unavailable": Way(service="lost"),
    "internal-error": Way(service="broken"),
}
"""The same for lines of a bulk body, where it is not that of a command on its own."""


async def reach(worlds: Mapping[str, World], operation: Operation, status: str, code: str) -> str:
    """Send what an operation answers with a problem; the service that answered. Raises `KeyError` for want of a way."""
    if not operation.answers_in_lines:
        service, asked = await request_with(worlds[USUAL], operation, code)
    elif status == "200":
        service, asked = await _in_a_line(worlds[USUAL], operation, code)
    else:
        service, asked = await request_with(worlds[USUAL], operation, code)
        # Where lines could get the problem one by one, all are to be stored together.
        asked = asked.with_query("atomic=true")
    await worlds[service].send(replace(asked, query=filled_text(asked.query, worlds[USUAL].known)))
    return service


async def request_with(usual: World, operation: Operation, code: str, role: Role | None = None) -> tuple[str, Asked]:
    """The service and the request that gets the problem there; `role` sends it, or who usually does."""
    refused = IN_PARTICULAR.get((operation.name, code)) or REFUSED.get(code)
    asked = await usual.ready(operation.name, refused)
    asked = replace(asked, role=role or asked.role)
    if refused is not None:
        return USUAL, asked
    way = WAYS[code]
    if way.is_sent_before:
        await usual.send(asked)
    return way.service, way.change(asked)


async def _in_a_line(usual: World, bulk: Operation, code: str) -> tuple[str, Asked]:
    """Lines of which one gets the problem that its command would get on its own."""
    lines = await usual.ready(bulk.name)
    if code == "another-command-was-refused":
        invalid = b"%b\n{}" % await usual.line("register-product")
        return USUAL, replace(lines, content=invalid, query="atomic=true")
    if code in IN_LINES:
        way = IN_LINES[code]
        return way.service, way.change(lines)
    may = (operations()[name] for name in ACCEPTED if code in operations()[name].problems)
    # A line with a target can have all that a request has.
    single = max(may, key=lambda operation: "{id}" in operation.path)
    service, asked = await request_with(usual, single, code)
    return service, replace(lines, role=asked.role, content=asked.as_line())
