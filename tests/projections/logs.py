"""Logs made of events one by one, and read models made of such logs."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

import psycopg

from application.ports import RecordedEvent
from infrastructure.codec import Codec, Key, split_reference, subject_reference, text_reference
from infrastructure.database import Databases
from infrastructure.event_types import EVENT_TYPES
from infrastructure.log_pages import LogPage, Unreadable
from infrastructure.projector import Projector, ProjectorLimits
from projections import ALL, REPORTS
from projections.customer_summaries import KeptEvent
from projections.read_model import (
    AsyncConnection,
    Build,
    Kept,
    Memory,
    Page,
    Policy,
    ReadModel,
    ReadModels,
    Snapshot,
    Tables,
    create_tables,
    digest,
)
from projections.reports import Asked, Parameters, Reports

T = TypeVar("T")

TENANT = UUID("01900000-0000-7000-8000-0000000000e0")
CODEC = Codec(EVENT_TYPES, TENANT)
FIRST_OF_JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = "main_read"


def hashed(kind: str, value: str) -> bytes:
    """A keyed hash with a key that everybody knows."""
    return hmac.digest(b"tests", f"{kind}\0{value}".encode(), "sha256")


def _key(owner: UUID) -> bytes:
    return hmac.digest(b"tests", owner.bytes, "sha256")


class LogOf:
    """A log in memory, as a projector reads it. Every event is recorded a minute after the one before."""

    def __init__(self) -> None:
        self.recorded: list[RecordedEvent | Unreadable] = []
        self.pages_read: list[tuple[int, int]] = []
        self._versions: dict[UUID, int] = {}
        self._texts = count(1)

    def append(
        self,
        stream: UUID,
        event: Any,
        *,
        occurred_at: datetime | None = None,
        source_recorded_at: datetime | None = None,
    ) -> int:
        """Record an event; its position."""
        event_type = CODEC.of(event).event_type
        position = len(self.recorded) + 1
        version = self._versions[stream] = self._versions.get(stream, 0) + 1
        recorded_at = FIRST_OF_JANUARY + timedelta(minutes=position)
        encoded = CODEC.of(event).encode(event, CODEC.place(stream, version), self._subject_key, self._text_key)
        self.recorded.append(
            RecordedEvent(
                position=position,
                stream_id=stream,
                version=version,
                type=event_type.name,
                schema_version=event_type.schema_version,
                event=event,
                body=encoded.body,
                occurred_at=occurred_at or recorded_at,
                recorded_at=recorded_at,
                actor="key:tests",
                actor_kind="service",
                command_id=UUID(int=position),
                correlation_id=UUID(int=position),
                source_recorded_at=source_recorded_at,
            )
        )
        return position

    def spoil(self, position: int, error: Exception, event_type: str | None = None) -> None:
        """Make an event unreadable, or with no type: let it be missing."""
        self.recorded[position - 1] = Unreadable(position, event_type, error)

    @staticmethod
    def _subject_key(subject: UUID) -> Key:
        return Key(subject_reference(subject), 1, _key(subject))

    def _text_key(self, _subject: UUID) -> Key:
        text = UUID(int=next(self._texts))
        return Key(text_reference(text), 1, _key(text))

    # As the projector sees it

    def head(self) -> int:
        """See `Log.head`."""
        return len(self.recorded)

    def page(self, after: int, upto: int, types: frozenset[str]) -> LogPage:
        """See `Log.page`."""
        events = self.recorded[after:upto]
        self.pages_read.append((after, after + len(events)))
        wanted = [each for each in events if each.type is None or each.type in types]
        return LogPage(after, after + len(events), wanted)

    def wait(self, seconds_max: float) -> None:
        """See `Log.wait`: nobody else writes to it."""

    def close(self) -> None:
        """See `Log.close`."""


def shown(event: KeptEvent, erased: frozenset[UUID] = frozenset()) -> dict[str, Any]:
    """A kept event as JSON values, read with the keys of those who are not erased."""

    def find_key(reference: str) -> bytes | None:
        _, owner = split_reference(reference)
        return None if owner in erased else _key(owner)

    place = CODEC.place(event.stream_id, event.version)
    codec = CODEC.named(event.type)
    return codec.plain(codec.decode(event.body, event.schema_version, place, find_key))


def projector(
    databases: Databases, log: LogOf, models: Sequence[ReadModel] = ALL, limits: ProjectorLimits | None = None
) -> Projector:
    """A projector of this log."""
    return Projector(
        conninfo=databases.projector,
        schema=SCHEMA,
        log=log,
        models=models,
        hash=hashed,
        limits=limits or ProjectorLimits(pause_seconds_min=0.0, pause_seconds_max=0.0),
    )


def follow(projector: Projector) -> None:
    """Let a projector do all there is to do."""
    projector.start()
    while projector.step():
        pass


def project(databases: Databases, log: LogOf, models: Sequence[ReadModel] = ALL) -> None:
    """Bring all read models up to date."""
    following = projector(databases, log, models)
    follow(following)
    following.close()


async def _asking(databases: Databases, question: Callable[[ReadModels], Awaitable[T]]) -> T:
    async with await psycopg.AsyncConnection.connect(databases.reader) as connection:

        @asynccontextmanager
        async def connect() -> AsyncIterator[AsyncConnection]:
            yield connection

        return await question(ReadModels(connect, SCHEMA))


def ask(databases: Databases, question: Callable[[ReadModels], Awaitable[T]]) -> T:
    """Ask the read models as the reader's role."""
    return asyncio.run(_asking(databases, question))


def ask_report(databases: Databases, question: Callable[[Reports], Awaitable[T]]) -> T:
    """Ask the reports as the reader's role."""
    return ask(databases, lambda models: question(Reports(models, REPORTS)))


def asked(parameters: Parameters, *, position: int | None = None) -> Asked:
    """A question, asked on the last day of 2026."""
    return Asked(parameters=parameters, moment=datetime(2026, 12, 31, tzinfo=UTC), position=position)


class _AsAsync:
    """A connection as the queries of read models see theirs."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection

    async def execute(self, statement: bytes, values: Any = None) -> "_Rows":
        """Run a statement."""
        return _Rows(self._connection.execute(statement, values).fetchall())


@dataclass(frozen=True)
class _Rows:
    rows: list[tuple[Any, ...]]

    async def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows."""
        return self.rows


class Folded:
    """A model folded from logs without a projector, in one transaction that is never committed; perhaps with others."""

    def __init__(self, databases: Databases, model: ReadModel, *beside: ReadModel) -> None:
        self.model = model
        self.zone: tzinfo = UTC
        self._beside = beside
        self._tables = {each.name: Tables(SCHEMA, Build(each.name, each.version)) for each in (model, *beside)}
        self.tables = self._tables[model.name]
        self.connection = psycopg.connect(databases.projector)
        self.connection.execute("SET idle_in_transaction_session_timeout = 0")
        self._position = 0
        self._memories = {each.name: Memory() for each in (model, *beside)}
        for each in (model, *beside):
            create_tables(self.connection, each, self._tables[each.name])

    @contextmanager
    def afresh(self) -> Iterator["Folded"]:
        """Begin with empty tables, and leave everything as it was."""
        model, position, self._position = self.model, self._position, 0
        zone = self.zone
        try:
            with self.connection.transaction(force_rollback=True):
                yield self
        finally:
            self.model, self._position, self.zone = model, position, zone

    def fold(self, log: LogOf, page_size: int = 500) -> "Folded":
        """Fold what it has not folded yet."""
        while self._position < log.head():
            self.fold_page(log, page_size)
        return self

    def fold_page(self, log: LogOf, size: int) -> None:
        """Fold one page."""
        for model in (self.model, *self._beside):
            page = log.page(self._position, self._position + size, model.events)
            events, tables = page.readable(model.events), self._tables[model.name]
            memory = self._memories[model.name]
            model.fold(Page(self.connection, tables, events, page.after, page.upto, hashed, self.zone, memory))
        self._position = min(self._position + size, log.head())

    def fail(self, log: LogOf, size: int) -> None:
        """Fold one page, and take back what that has done to the tables."""
        position = self._position
        with self.connection.transaction(force_rollback=True):
            self.fold_page(log, size)
        self._position = position

    def forget(self) -> None:
        """Remember nothing of the pages before, as a program that has just started."""
        self._memories = {name: Memory() for name in self._memories}

    def digest(self) -> dict[str, str]:
        """SHA-256 of each table."""
        return dict(digest(self.connection, self.model, self.tables))

    def snapshots(self, position: int, kept: Kept | None = None, policy: Policy | None = None) -> dict[str, Snapshot]:
        """What is seen at a position, by model."""
        connection: Any = _AsAsync(self.connection)
        return {
            name: Snapshot(connection, tables, position, kept or Kept(), policy or Policy())
            for name, tables in self._tables.items()
        }

    def ask(
        self,
        *questions: tuple[int, Callable[[Snapshot], Awaitable[T]]],
        kept: Kept | None = None,
        policy: Policy | None = None,
    ) -> list[T]:
        """The answers to questions, each at a position."""

        async def answers() -> list[T]:
            return [await ask(self.snapshots(position, kept, policy)[self.model.name]) for position, ask in questions]

        return asyncio.run(answers())

    def close(self) -> None:
        """Leave nothing behind."""
        self.connection.close()


@contextmanager
def folding(databases: Databases, model: ReadModel) -> Iterator[Folded]:
    """A model in tables of its own, for a while."""
    folded = Folded(databases, model)
    try:
        yield folded
    finally:
        folded.close()
