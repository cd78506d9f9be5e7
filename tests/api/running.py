"""The service on a log in memory: the real writer, handlers and routes. What it answers is held to its description."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any
from uuid import UUID

import httpx
import jsonschema_rs
import psycopg
from pydantic_core import to_json

from api.app import Ports, create_app
from api.customers import CustomerCards
from api.metrics import Metrics
from api.service import Limits, Service
from application.commands import Role
from application.keys import Principal, fingerprint
from application.writer import Writer, WriterLimits
from infrastructure.event_types import EVENT_TYPES
from infrastructure.ids import Uuid7Factory
from projections import REPORTS
from projections.customer_summaries import KeptEvent, Show
from projections.read_model import ReadModels
from projections.reports import Reports
from tests.credentials import GivenCredentials
from tests.in_memory import InMemoryLog

ADDRESS = "http://127.0.0.1:8000"
SECRETS = {role: f"rapport_{role}" for role in Role}
KEY_IDS = {role: UUID(int=number) for number, role in enumerate(Role, 1)}
EVENT_CLASSES = {each.name: each.event for each in EVENT_TYPES.types}

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Every time it is asked, a second has passed."""

    def __init__(self) -> None:
        self._seconds = count()

    def __call__(self) -> datetime:
        return NEW_YEAR + timedelta(seconds=next(self._seconds))


@dataclass
class Running:
    """A running service and what it stands on; `running[Role.STAFF]` is a client with such a key."""

    service: Service
    log: InMemoryLog
    metrics: Metrics
    clients: dict[Role | None, httpx.AsyncClient] = field(default_factory=dict)

    def __getitem__(self, role: Role | None) -> httpx.AsyncClient:
        return self.clients[role]

    @property
    def shop(self) -> httpx.AsyncClient:
        """An internal service."""
        return self.clients[Role.SERVICE]

    async def send(self, path: str, body: Mapping[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Send a command of the shop; its key is a new one, unless the test says which."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given.setdefault("idempotency-key", f"key-{next(_keys)}")
        return await self.shop.post(path, json=body or {}, headers=given)


_keys = count()


def ports_on(log: InMemoryLog, clock: Clock, writer_limits: WriterLimits | None = None) -> Ports:
    """What a service on this log is made of."""
    metrics, new_id = Metrics(), Uuid7Factory()
    keys = {fingerprint(SECRETS[role].encode()): Principal(KEY_IDS[role], role, KEY_IDS[role]) for role in Role}

    async def usable_keys() -> Mapping[bytes, Principal]:
        await log.head()  # they are where the log is
        return keys

    async def log_answers() -> None:
        await log.head()

    models = ReadModels(no_connection, "main_read")
    return Ports(
        writer=Writer(
            log, new_id=new_id, reporting_currency="EUR", limits=writer_limits, observe=metrics.observe_append
        ),
        log=log,
        credentials=GivenCredentials(usable_keys),
        event_classes=EVENT_CLASSES,
        new_id=new_id,
        metrics=metrics,
        clock=clock,
        checks={"log": log_answers},
        cards=CustomerCards(models, _open_nothing, _hash, UTC),
        reports=Reports(models, REPORTS),
    )


@asynccontextmanager
async def no_connection() -> AsyncIterator[Any]:
    """In memory there are no read models: their database is gone."""
    raise psycopg.OperationalError
    yield  # type: ignore[unreachable] # it makes this a generator


async def _open_nothing(_events: Sequence[KeptEvent]) -> Show:
    return lambda _: {}


def _hash(_kind: str, value: str) -> bytes:
    return hashlib.sha256(value.encode()).digest()


@asynccontextmanager
async def running(
    limits: Limits | None = None, writer_limits: WriterLimits | None = None, **ports: Any
) -> AsyncIterator[Running]:
    """A service on a log of its own, with a client for each role and one without a key."""
    clock = Clock()
    log = InMemoryLog(clock)
    given = replace(ports_on(log, clock, writer_limits), **ports)
    everything = Running(create_app(given, limits), log, given.metrics)
    async with served(everything.service):
        for role in (*Role, None):
            everything.clients[role] = client(everything.service, SECRETS[role] if role else None)
        yield everything
        for each in everything.clients.values():
            await each.aclose()


def client(service: Service, secret: str | None) -> httpx.AsyncClient:
    """A client of a service in this process; every answer is compared with the description."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=service),
        base_url=ADDRESS,
        headers={"authorization": f"Bearer {secret}"} if secret else {},
        event_hooks={"response": [_as_described]},
    )


def scope_of(service: Running, method: str, path: str, **headers: str) -> dict[str, Any]:
    """A request of the shop as the server hands it over, for tests that play the server."""
    given = {"authorization": service.shop.headers["authorization"]} | headers
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()],
    }


@asynccontextmanager
async def served(service: Service) -> AsyncIterator[None]:
    """Start and stop a service as a server does."""
    to_service: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_service: asyncio.Queue[Any] = asyncio.Queue()
    living = asyncio.create_task(service({"type": "lifespan"}, to_service.get, from_service.put))
    await to_service.put({"type": "lifespan.startup"})
    assert (await from_service.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        await to_service.put({"type": "lifespan.shutdown"})
        assert (await from_service.get())["type"] == "lifespan.shutdown.complete"
        await living


def code(response: httpx.Response) -> str:
    """The code of the problem that was answered."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    kind: str = response.json()["type"]
    return kind.removeprefix("urn:rapport:problem:")


# Holding answers to the description


async def _as_described(response: httpx.Response) -> None:
    await response.aread()
    request = response.request
    path = request.url.raw_path.partition(b"?")[0].decode()
    operation = _operation("GET" if request.method == "HEAD" else request.method, path)
    if operation is None:
        assert response.status_code in {404, 405}
        return
    assert str(response.status_code) in operation["responses"], f"{response.status_code} is not described"
    described = _resolved(operation["responses"][str(response.status_code)])
    media_type = response.headers["content-type"].partition(";")[0]
    schema = described["content"][media_type]["schema"]
    documents = response.text.splitlines() if media_type == "application/x-ndjson" else [response.text]
    if request.method != "HEAD" and "json" in media_type and path != "/openapi.json":
        for each in documents:
            _validator(json.dumps(schema)).validate(json.loads(each))


@cache
def description() -> Any:
    """The description of the interface, as it is served."""
    return json.loads(to_json(create_app(ports_on(InMemoryLog(), Clock())).openapi()))


def resolved(value: Any) -> Any:
    """What a reference within the description refers to."""
    while "$ref" in value:
        found = description()
        for step in value["$ref"].split("/")[1:]:
            found = found[step]
        value = found
    return value


def _operation(method: str, path: str) -> Any:
    for template, operations in description()["paths"].items():
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path) and method.lower() in operations:
            return operations[method.lower()]
    return None


def _resolved(value: Any) -> Any:
    if "$ref" not in value:
        return value
    _, *steps = value["$ref"].split("/")
    found = description()
    for step in steps:
        found = found[step]
    return found


@cache
def _validator(schema: str) -> Any:
    return jsonschema_rs.Draft202012Validator({**json.loads(schema), "components": description()["components"]})
