"""What bad input gets, item by item: its documented problem, with the rule, the place and advice on trying again.

Each item is sent as one command and, where a line can have it, as a line of a bulk body. None is answered with 500, and
none moves the head of the log.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from api.service import Limits
from application.commands import Role
from application.writer import WriterLimits
from infrastructure.database import Databases
from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.principals import Principals
from infrastructure.settings import Settings
from tests.api.bodies import ACME, ADA, CALL
from tests.api.running import code, running
from tests.api.test_on_postgres import Opened, opened
from tests.asynchronous import asynchronous, until
from tests.interface.accepted import NOBODY

NEVER, AFTER_CHANGE, SAME_REQUEST = "never", "after_change", "same_request"
SECRET = "Ada Lovelace"


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A note of a call with Acme, sent by the shop: good, but for what a row changes."""

    target: str = "number:C-1001"
    """As it stands in a path."""
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """An empty one is left out."""
    role: Role | None = Role.SERVICE
    key: str = "note"
    body: Mapping[str, Any] | bytes = field(default_factory=lambda: CALL)
    pieces: Callable[[], AsyncIterator[bytes]] | None = None
    """What is sent in place of the body, and without a length."""

    async def alone(self, client: httpx.AsyncClient) -> httpx.Response:
        """Send it as a command."""
        path = f"/v1/customers/{self.target}/record-interaction?{self.query}".removesuffix("?")
        headers = {"content-type": "application/json", "idempotency-key": self.key, **self.headers}
        content = self.pieces() if self.pieces is not None else _written(self.body)
        return await client.post(path, headers=_encoded(headers), content=content)

    async def in_bulk(self, client: httpx.AsyncClient) -> httpx.Response:
        """Send it as a line of a bulk body."""
        line: dict[str, Any] = {"command": "record-interaction", "key": self.key}
        line["target"] = unquote(self.target, errors="surrogatepass")
        headers = {"content-type": "application/x-ndjson", **self.headers}
        if expected := headers.pop("if-match", None):
            line["if_match"] = int(expected.strip('"'))
        content = b'%b,"data":%b}' % (_written(line)[:-1], _written(self.body))
        return await client.post(f"/v1/commands?{self.query}", headers=_encoded(headers), content=content)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of bad input, and what it gets."""

    sent: Sent = field(default_factory=Sent)
    status: int
    code: str
    retry: str = NEVER
    where: str = ""
    """A pointer into the body, or `header` or `parameter` with a name; nothing where the whole is meant."""
    in_bulk: tuple[str, str] | None = None
    """Code and place in bulk, where it is another problem, never to be sent again, or at another place than `/data`."""
    only_alone: bool = False
    """It is not what a line can have, or it is the same for all bodies."""
    limits: Limits = field(default_factory=Limits)
    writer_limits: WriterLimits = field(default_factory=WriterLimits)
    is_reachable: bool = True
    """Whether the log is."""


def _written(body: Mapping[str, Any] | bytes) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode(errors="surrogatepass")) for name, value in headers.items() if value]


def _with(text: str) -> bytes:
    """The note with something more in it."""
    return f"{json.dumps(CALL)[:-1]}, {text}}}".encode()


def _said(**fields: Any) -> Sent:
    return Sent(body=CALL | fields)


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 1_000


async def _pausing() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.Event().wait()


_UNREADABLE: Any = {"status": 400, "code": "malformed-json"}
_INVALID: Any = {"status": 422, "code": "invalid-body"}
_INVALID_AS_A_WHOLE: Any = {**_INVALID, "in_bulk": ("invalid-body", "/data")}
_MALFORMED_HEADER: Any = {
    "status": 400,
    "code": "malformed-header",
    "in_bulk": ("malformed-header", "header on-behalf-of"),
}
_NO_KEY: Any = {"status": 400, "code": "idempotency-key-missing", "in_bulk": ("invalid-body", "/key")}
_NO_CUSTOMER: Any = {"status": 404, "code": "customer-not-found", "retry": AFTER_CHANGE}
_NO_PARAMETER: Any = {"status": 422, "code": "invalid-parameter"}
_NOT_TAKEN: Any = {"status": 415, "code": "unsupported-media-type"}
_TOO_LARGE: Any = {"status": 413, "code": "body-too-large"}
_NOT_ADMITTED: Any = {"status": 401, "code": "not-authenticated", "retry": AFTER_CHANGE}
_NOT_NOW: Any = {"status": 503, "retry": SAME_REQUEST}

ROWS: Mapping[str, Row] = {
    "malformed JSON: nothing": Row(sent=Sent(body=b""), **_UNREADABLE),
    "malformed JSON: cut off": Row(sent=Sent(body=_written(CALL)[:-9]), **_UNREADABLE),
    "malformed JSON: a form": Row(sent=Sent(body=b"channel=phone"), **_UNREADABLE),
    "malformed JSON: not UTF-8": Row(sent=Sent(body=_with('"reason": "?"').replace(b"?", b"\xfc")), **_UNREADABLE),
    "malformed JSON: a member twice": Row(
        sent=Sent(body=_with('"channel": "email"')), status=400, code="duplicate-member"
    ),
    "unknown field": Row(sent=_said(colour="red"), where="/colour", **_INVALID),
    "unknown field, whose name may be personal": Row(sent=_said(**{SECRET: 1}), **_INVALID_AS_A_WHOLE),
    "wrong type: number for text": Row(sent=_said(summary=1), where="/summary", **_INVALID),
    "wrong type: text for number": Row(sent=_said(effort_minutes="15"), where="/effort_minutes", **_INVALID),
    "wrong type: text for list": Row(sent=_said(staff=NOBODY), where="/staff", **_INVALID),
    "wrong type: in a list": Row(sent=_said(staff=[NOBODY, SECRET]), where="/staff/1", **_INVALID),
    "wrong type: none of those": Row(sent=_said(channel=SECRET), where="/channel", **_INVALID),
    "wrong type: null": Row(sent=_said(summary=None), where="/summary", **_INVALID),
    "wrong type: list for object": Row(sent=Sent(body=b"[]"), **_INVALID_AS_A_WHOLE),
    "NaN": Row(sent=Sent(body=_with('"effort_minutes": NaN')), **_UNREADABLE),
    "NaN: infinity": Row(sent=Sent(body=_with('"effort_minutes": -Infinity')), **_UNREADABLE),
    "U+0000 in a body": Row(sent=_said(summary="a\0b"), where="/summary", **_INVALID),
    "U+0000 in a body, not escaped": Row(sent=Sent(body=_with('"reason": "\0"')), **_UNREADABLE),
    "U+0000 in a reference": Row(sent=_said(product="number:\0"), where="/product", **_INVALID),
    "U+0000 in the name of a field": Row(sent=_said(**{"a\0b": 1}), **_INVALID_AS_A_WHOLE),
    "U+0000 in a header": Row(
        sent=Sent(headers={"on-behalf-of": "a\0b"}), where="header on-behalf-of", **_MALFORMED_HEADER
    ),
    "U+0000 in a path or target": Row(
        sent=Sent(target="number:%00"), in_bulk=("invalid-body", "/target"), **_NO_CUSTOMER
    ),
    "U+0000 in a query": Row(sent=Sent(query="a=%00"), **_NO_PARAMETER, in_bulk=("invalid-parameter", "parameter a")),
    "U+0000 in a key": Row(sent=Sent(key="a\0b"), **_NO_KEY),
    "lone surrogate in a body": Row(sent=_said(reason="\ud800"), **_UNREADABLE),
    "lone surrogate in a body, not escaped": Row(
        sent=Sent(body=_with('"reason": "?"').replace(b"?", b"\xed\xa0\x80")), **_UNREADABLE
    ),
    "lone surrogate in a reference": Row(sent=_said(product="number:\udc00"), **_UNREADABLE),
    "lone surrogate in the name of a field": Row(sent=_said(**{"\udc00": 1}), **_UNREADABLE),
    "lone surrogate in a header": Row(
        sent=Sent(headers={"on-behalf-of": "\ud800"}), where="header on-behalf-of", **_MALFORMED_HEADER
    ),
    "lone surrogate in a path or target": Row(
        sent=Sent(target="number:%ED%A0%80"), status=404, code="path-not-found", in_bulk=("malformed-json", "")
    ),
    "lone surrogate in a query": Row(
        sent=Sent(query="a=%ED%A0%80"), **_NO_PARAMETER, in_bulk=("malformed-query", "")
    ),
    "lone surrogate in a key": Row(sent=Sent(key="\ud800"), **_NO_KEY | {"in_bulk": ("malformed-json", "")}),
    "huge number: beyond the range of the field": Row(
        sent=_said(effort_minutes=10**30), where="/effort_minutes", **_INVALID
    ),
    "huge number: beyond all ranges": Row(sent=Sent(body=_with(f'"effort_minutes": {"9" * 5_000}')), **_UNREADABLE),
    "huge number: with a huge exponent": Row(
        sent=Sent(body=_with('"effort_minutes": 1e999999')), where="/effort_minutes", **_INVALID
    ),
    "deep nesting": Row(sent=Sent(body=b'{"a":' * 100_000), **_UNREADABLE),
    "deep nesting in an unknown field": Row(sent=Sent(body=_with(f'"x": {"[" * 999}{"]" * 999}')), **_UNREADABLE),
    "wrong content type": Row(sent=Sent(headers={"content-type": "text/plain"}), **_NOT_TAKEN),
    "wrong content type: none": Row(sent=Sent(headers={"content-type": ""}), **_NOT_TAKEN),
    "wrong content type: another charset": Row(
        sent=Sent(headers={"content-type": "application/json; charset=latin-1"}), **_NOT_TAKEN
    ),
    "wrong content type: compressed": Row(sent=Sent(headers={"content-encoding": "gzip"}), **_NOT_TAKEN),
    "oversized body": Row(sent=_said(reason="x" * 1_100_000), **_TOO_LARGE),
    "oversized body in chunks": Row(
        sent=Sent(pieces=_endless), limits=Limits(request_bytes_max=10_000), only_alone=True, **_TOO_LARGE
    ),
    "a body that pauses": Row(
        sent=Sent(pieces=_pausing), limits=Limits(body_pause_seconds_max=0.01), only_alone=True,
        status=408, code="body-too-slow", retry=SAME_REQUEST,
    ),
    "unknown id": Row(sent=Sent(target=NOBODY), **_NO_CUSTOMER),
    "unknown id: a number": Row(sent=Sent(target="number:NOBODY"), **_NO_CUSTOMER),
    "unknown id: of a contact in the body": Row(
        sent=_said(contacts=[NOBODY]), where="/contacts/0",
        status=404, code="contact-person-not-found", retry=AFTER_CHANGE,
    ),
    "unknown id: a number in the body": Row(
        sent=_said(product="number:NOBODY"), where="/product",
        status=404, code="reference-not-found", retry=AFTER_CHANGE,
    ),
    "stale If-Match": Row(
        sent=Sent(headers={"if-match": '"7"'}), status=412, code="stream-has-moved", retry=AFTER_CHANGE
    ),
    "If-Match without a version": Row(
        sent=Sent(headers={"if-match": "W/"}), where="header if-match", only_alone=True, **_MALFORMED_HEADER
    ),
    "reused idempotency key with another body": Row(
        sent=Sent(key="acme"), status=422, code="key-is-used-for-another-request"
    ),
    "no idempotency key": Row(sent=Sent(key=""), **_NO_KEY),
    "missing key": Row(sent=Sent(role=None), **_NOT_ADMITTED),
    "unknown key": Row(sent=Sent(role=None, headers={"authorization": "Bearer rapport_x"}), **_NOT_ADMITTED),
    "wrong role": Row(sent=Sent(role=Role.AUDITOR), status=403, code="role-not-allowed", retry=AFTER_CHANGE),
    "in the future": Row(
        sent=_said(occurred_at="2199-01-01T00:00:00Z"), where="/occurred_at",
        status=422, code="occurred-in-the-future", retry=AFTER_CHANGE,
    ),
    "Postgres gone": Row(is_reachable=False, code="log-unavailable", **_NOT_NOW),
    "queue full": Row(
        writer_limits=WriterLimits(queue_commands_max=0), only_alone=True, code="queue-is-full", **_NOT_NOW
    ),
}  # fmt: skip


@asynccontextmanager
async def acquainted(row: Row) -> AsyncIterator[httpx.AsyncClient]:
    """The client of a row, of a service that knows Acme; meanwhile the head of its log must not move."""
    async with running(row.limits, row.writer_limits) as service:
        await service.send("/v1/customers", ACME, idempotency_key="acme")
        head = await service.log.head()
        service.log.is_reachable = row.is_reachable
        yield service[row.sent.role]
        service.log.is_reachable = True
        assert await service.log.head() == head


def is_told(problem: Mapping[str, Any], expected: str, where: str, retry: str) -> None:
    """Hold a problem to what is expected of it."""
    assert problem["type"] == f"urn:rapport:problem:{expected}"
    assert re.fullmatch(r"[A-Z].+\.", problem["title"])
    assert problem["retry"] == retry
    assert [_place(error) for error in problem.get("errors", [{"pointer": ""}])] == [where]
    assert SECRET not in str(problem)


def _place(error: Mapping[str, str]) -> str:
    (place,) = (name for name in ("pointer", "header", "parameter") if name in error)
    return error[place] if place == "pointer" else f"{place} {error[place]}"


@pytest.mark.parametrize("item", ROWS)
@asynchronous
async def test_bad_input_gets_its_problem_and_is_not_recorded(item: str) -> None:
    row = ROWS[item]
    async with acquainted(row) as client:
        response = await row.sent.alone(client)
    assert response.status_code == row.status
    assert response.headers.get("retry-after") == ("1" if row.retry == SAME_REQUEST else None)
    is_told(response.json(), row.code, row.where, row.retry)


@pytest.mark.parametrize("item", [item for item, row in ROWS.items() if not row.only_alone])
@asynchronous
async def test_bad_input_gets_its_problem_in_bulk_too(item: str) -> None:
    row = ROWS[item]
    async with acquainted(row) as client:
        response = await row.sent.in_bulk(client)
    first = json.loads(response.text.splitlines()[0])
    problem = first.get("problem", first)
    assert problem["status"] != 500
    if row.in_bulk is not None:
        is_told(problem, *row.in_bulk, NEVER)
    else:
        is_told(problem, row.code, f"/data{row.where}" if row.where else "", row.retry)


# What only Postgres can show

TABLES = ("claims", "subject_keys", "commands", "events")
"""Where a command leaves something, the last one last."""
HASTY = {"connection_timeout_ms": 100, "service_statement_timeout_ms": 500}
"""A database that does not answer is given up early."""
FULL = b"""
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER refuse AFTER INSERT ON main.events EXECUTE FUNCTION refuse();
ALTER TABLE main.events ENABLE ALWAYS TRIGGER refuse;
"""


@asynchronous
async def test_of_what_a_full_disk_does_not_take_nothing_is_recorded(
    databases: Databases, settings: Settings, superuser: str
) -> None:
    async with opened(databases, settings.model_copy(update=HASTY)) as service:
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute(FULL)
            refused = await register_ada(service)
            counts = [connection.execute(f"SELECT count(*) FROM main.{each}".encode()).fetchone() for each in TABLES]
            connection.execute("DROP TRIGGER refuse ON main.events")
        accepted = await register_ada(service)
    assert (refused.status_code, code(refused), refused.json()["retry"]) == (503, "log-unavailable", SAME_REQUEST)
    assert counts == [(0,)] * len(TABLES)
    assert (accepted.status_code, accepted.json()["position"]) == (201, 1)


@asynchronous
async def test_while_postgres_is_gone_everybody_is_told_to_come_back_and_is_served_without_a_restart(
    databases: Databases, settings: Settings, superuser: str, postgres: EmbeddedPostgres
) -> None:
    name = conninfo_to_dict(superuser)["dbname"]
    async with opened(databases, settings.model_copy(update=HASTY)) as service:
        await service.read("/v1/reports")
        with psycopg.connect(postgres.administrator("postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            refused = [await register_ada(service), await service.clients[Role.STAFF].get("/v1/customers")]
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())

        async def is_served() -> bool:
            return (await register_ada(service)).is_success

        await until(is_served)
        history = await service.read("/v1/events", Role.AUDITOR)
    assert {(each.status_code, each.json()["retry"]) for each in refused} == {(503, SAME_REQUEST)}
    assert {code(each) for each in refused} <= {"log-unavailable", "read-model-unavailable"}
    assert len(history["events"]) == 1


@asynchronous
async def test_a_key_that_is_revoked_is_not_admitted_alone_nor_in_bulk(
    databases: Databases, settings: Settings
) -> None:
    async with opened(databases, settings) as service:
        client = service.clients[Role.SERVICE]
        await service.send("/v1/customers", ACME)
        with psycopg.connect(databases.operator) as operator:
            Principals(operator, "main").revoke("test service")

        async def is_refused() -> bool:
            return (await Sent(key=str(uuid4())).alone(client)).status_code == 401

        await until(is_refused)
        bulk = await Sent().in_bulk(client)
    is_told(bulk.json(), "not-authenticated", "", AFTER_CHANGE)


async def register_ada(service: Opened) -> httpx.Response:
    """Register a person, which takes a claim and a key of hers, always with the same idempotency key."""
    headers = {"idempotency-key": "ada"}
    return await service.clients[Role.SERVICE].post("/v1/customers", json=ADA, headers=headers)
