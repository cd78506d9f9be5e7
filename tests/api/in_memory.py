"""The service on a log in memory: the real writer, the real handlers, the real routes, and no database."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import httpx

from api.app import Ports, create_app
from api.metrics import Metrics
from api.service import Limits, Service
from application.aggregates import Claim
from application.commands import AGGREGATES, Role
from application.keys import Principal, fingerprint
from application.ports import (
    Appended,
    CommandKey,
    Conflicts,
    Decision,
    KnownCommand,
    LogUnavailable,
    RecordedEvent,
    Stream,
)
from application.writer import Writer, WriterLimits
from infrastructure.event_types import EVENT_TYPES
from infrastructure.ids import Uuid7Factory

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)

EVENT_CLASSES = {each.name: each.event for each in EVENT_TYPES.types}


class InMemoryLog:
    """A log as a list; an `api.log_reading.ReadsLog`. `is_reachable` can be switched off."""

    def __init__(self) -> None:
        self.recorded: list[RecordedEvent] = []
        self.commands: dict[CommandKey, KnownCommand] = {}
        self.claims: dict[Claim, UUID] = {}
        self.is_reachable = True
        self._clock = (NOON + timedelta(seconds=second) for second in count())

    def digest(self, request: bytes) -> bytes:
        return hashlib.sha256(request).digest()

    async def load(self, streams: Iterable[UUID]) -> Mapping[UUID, Stream]:
        self._reach()
        return {stream: self._folded(stream) for stream in streams}

    async def versions(self, streams: Iterable[UUID]) -> Mapping[UUID, int]:
        self._reach()
        return {stream: self._folded(stream).version for stream in streams}

    async def holders(self, claims: Iterable[Claim]) -> Mapping[Claim, UUID]:
        self._reach()
        return {claim: self.claims[claim] for claim in claims if claim in self.claims}

    async def known(self, keys: Iterable[CommandKey]) -> Mapping[CommandKey, KnownCommand]:
        self._reach()
        return {key: self.commands[key] for key in keys if key in self.commands}

    async def events(self, first_position: int, last_position: int) -> Sequence[RecordedEvent]:
        self._reach()
        return self.recorded[first_position - 1 : last_position]

    async def events_at(self, positions: Sequence[int]) -> Sequence[RecordedEvent]:
        self._reach()
        return [self.recorded[position - 1] for position in sorted(positions)]

    async def stream(self, stream: UUID, after_version: int, limit: int) -> Sequence[RecordedEvent]:
        self._reach()
        return [each for each in self.recorded if each.stream_id == stream and each.version > after_version][:limit]

    async def history(
        self, customer: UUID, after: int, limit: int, at_position: int | None = None
    ) -> Sequence[RecordedEvent]:
        self._reach()
        known = self.recorded[after:at_position]
        return [each for each in known if each.customer_id == customer][:limit]

    async def feed(self, after: int, limit: int, types: Sequence[str] = ()) -> tuple[Sequence[RecordedEvent], int]:
        self._reach()
        page = self.recorded[after : after + limit]
        return [each for each in page if not types or each.type in types], after + len(page)

    async def head(self) -> int:
        self._reach()
        return len(self.recorded)

    async def position_at(self, moment: datetime) -> int:
        self._reach()
        return sum(each.recorded_at <= moment for each in self.recorded)

    def preview(self, decision: Decision) -> tuple[RecordedEvent, ...]:
        return tuple(self._as_recorded(decision, decision.metadata.received_at, 0))

    async def append(self, batch: Sequence[Decision]) -> Appended | Conflicts:
        await asyncio.sleep(0)  # as long as others may wish to come in between
        self._reach()
        claims = [new.claim for decision in batch for new in decision.claims]
        conflicts = Conflicts(
            known=frozenset(decision.key for decision in batch if decision.key in self.commands),
            stale=frozenset(self._stale(batch)),
            taken=frozenset(claim for claim in claims if claim in self.claims),
        )
        if conflicts != Conflicts():
            return conflicts
        recorded_at = next(self._clock)
        stored = []
        for decision in batch:
            first = len(self.recorded) + 1
            events = tuple(self._as_recorded(decision, recorded_at, first))
            self.recorded.extend(events)
            self.commands[decision.key] = KnownCommand(
                decision.digest, decision.metadata.command_id, decision.target_id, first, len(self.recorded)
            )
            for released in decision.released:
                self.claims.pop(released, None)
            self.claims.update((new.claim, new.stream_id) for new in decision.claims)
            stored.append(events)
        return Appended(tuple(stored))

    def _reach(self) -> None:
        if not self.is_reachable:
            raise LogUnavailable

    def _folded(self, stream: UUID) -> Stream:
        folded = Stream(0, None)
        for each in self.recorded:
            if each.stream_id == stream:
                aggregate = AGGREGATES[each.type.partition(".")[0]]
                folded = Stream(each.version, aggregate.evolve(folded.state, each.event))
        return folded

    def _stale(self, batch: Sequence[Decision]) -> set[UUID]:
        written: set[UUID] = set()
        stale: set[UUID] = set()
        for decision in batch:
            seen = {stream: version for stream, version in decision.reads.items() if stream not in written}
            stale |= {stream for stream, version in seen.items() if self._folded(stream).version != version}
            written |= {new.stream_id for new in decision.events}
        return stale

    def _as_recorded(self, decision: Decision, recorded_at: datetime, first: int) -> Iterable[RecordedEvent]:
        metadata = decision.metadata
        for place, new in enumerate(decision.events):
            yield RecordedEvent(
                position=first + place if first else 0,
                stream_id=new.stream_id,
                version=new.version,
                type=EVENT_TYPES.by_class[type(new.event)].name,
                schema_version=EVENT_TYPES.by_class[type(new.event)].schema_version,
                event=new.event,
                body=b"",
                occurred_at=metadata.occurred_at,
                recorded_at=recorded_at,
                actor=metadata.actor,
                actor_kind=metadata.actor_kind,
                command_id=metadata.command_id,
                correlation_id=metadata.correlation_id,
                causation_id=metadata.causation_id,
                on_behalf_of=metadata.on_behalf_of,
                reason=metadata.reason,
                source=metadata.source,
                source_recorded_at=metadata.source_recorded_at,
                customer_id=new.customer_id,
            )


SECRETS = {role: f"rapport_{role}" for role in Role}
KEY_IDS = {role: UUID(int=number) for number, role in enumerate(Role, 1)}


@dataclass
class Running:
    """A running service and what it stands on."""

    service: Service
    log: InMemoryLog
    metrics: Metrics
    keys: dict[bytes, Principal]
    clients: dict[Role | None, httpx.AsyncClient] = field(default_factory=dict)

    def __getitem__(self, role: Role | None) -> httpx.AsyncClient:
        """A client with a key of this role, or without one."""
        return self.clients[role]

    @property
    def shop(self) -> httpx.AsyncClient:
        """The client of an internal service."""
        return self.clients[Role.SERVICE]


@asynccontextmanager
async def running(
    limits: Limits | None = None, writer_limits: WriterLimits | None = None, **ports: Any
) -> AsyncIterator[Running]:
    """A service on a log of its own, with a client for each role."""
    log, metrics, new_id = InMemoryLog(), Metrics(), Uuid7Factory()
    keys = {fingerprint(SECRETS[role].encode()): Principal(KEY_IDS[role], role) for role in Role}

    async def usable_keys() -> Mapping[bytes, Principal]:
        await log.head()  # they are where the log is
        return dict(keys)

    async def log_answers() -> None:
        await log.head()

    given: dict[str, Any] = {
        "log": log,
        "writer": Writer(
            log,
            new_id=new_id,
            reporting_currency="EUR",
            limits=writer_limits,
            observe=metrics.observe_append,
        ),
        "usable_keys": usable_keys,
        "event_classes": EVENT_CLASSES,
        "new_id": new_id,
        "metrics": metrics,
        "checks": {"log": log_answers},
        "clock": lambda: NOON,
    }
    service = create_app(Ports(**given | ports), limits)
    everything = Running(service, log, metrics, keys)
    async with served(service):
        transport = httpx.ASGITransport(app=service)
        for role in (*Role, None):
            headers = {"authorization": f"Bearer {SECRETS[role]}"} if role else {}
            everything.clients[role] = httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1:8000", headers=headers
            )
        yield everything
        for client in everything.clients.values():
            await client.aclose()


@asynccontextmanager
async def served(service: Service) -> AsyncIterator[None]:
    """Start and stop a service as a server does."""
    to_service: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    from_service: asyncio.Queue[Any] = asyncio.Queue()
    living = asyncio.create_task(service({"type": "lifespan"}, to_service.get, from_service.put))
    await to_service.put({"type": "lifespan.startup"})
    assert (await from_service.get())["type"] == "lifespan.startup.complete"
    yield
    await to_service.put({"type": "lifespan.shutdown"})
    assert (await from_service.get())["type"] == "lifespan.shutdown.complete"
    await living
