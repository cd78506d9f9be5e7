"""Reading the log: streams are folded, questions about commands and claims answered, events listed and decrypted."""

import asyncio
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from pydantic import TypeAdapter

from application.aggregates import Aggregate, Claim
from application.commands import AGGREGATES
from application.epochs import Epoch, EpochHistory
from application.ports import CommandKey, EventIsUnknown, KnownCommand, LogUnavailable, RecordedEvent, Stream
from domain.errors import Refusal
from infrastructure.codec import (
    Codec,
    UnknownEventType,
    erase_all,
    split_reference,
    subject_reference,
    text_reference,
)
from infrastructure.epochs import QUERY
from infrastructure.records import COLUMNS, bodies, recorded
from infrastructure.tenant import HASH_KEY_OWNER, Tenant

LOST = (psycopg.OperationalError, psycopg.InterfaceError)
"""What psycopg raises when the server or the connection to it has gone, for a moment or for longer."""

_PAUSE_SECONDS_MIN = 0.02
_PAUSE_SECONDS_MAX = 0.5

AsyncPool = AsyncConnectionPool[psycopg.AsyncConnection[tuple[Any, ...]]]


class MomentIsNotOver(Refusal):
    """What was known at a moment can only be told when the moment is over."""

    status = 422


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What bounds the store; each default has its reason beside it."""

    append_seconds_max: float = 5.0
    """How long an append, or a question, is tried again when a connection is lost: a restart of Postgres takes two."""
    statement_seconds_max: float = 15.0
    """After this a statement that got no answer is given up and its connection closed."""
    alone_seconds_max: float = 2.0
    """For how long a writer reserves the log, and waits for another's reservation; two at most are granted."""
    cached_subject_keys_max: int = 20_000
    """Keys of people who are written about, at about 300 bytes each."""
    wake_seconds: float = 0.02
    """Appends of this time are told to followers together."""
    snapshot_events_min: int = 200
    """A stream gets a snapshot when loading it took at least as many events."""


class Patience:
    """Tries again what lost its connection, for a while, with growing pauses."""

    def __init__(self, seconds_max: float) -> None:
        self._give_up_at = time.monotonic() + seconds_max
        self._pause_seconds = _PAUSE_SECONDS_MIN

    async def after(self, error: Exception) -> None:
        """Wait for a moment. Raises `LogUnavailable` when it has been tried for long enough."""
        if time.monotonic() + self._pause_seconds > self._give_up_at:
            raise LogUnavailable from error
        await asyncio.sleep(self._pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, _PAUSE_SECONDS_MAX)


@contextmanager
def given_up_after(seconds: float, connection: psycopg.AsyncConnection[Any]) -> Iterator[None]:
    """Cut the connection when an answer takes longer, so that a stopped server cannot hold us for ever."""

    def cut() -> None:
        with suppress(OSError, *LOST), socket.socket(fileno=os.dup(connection.pgconn.socket)) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(seconds, cut)
    try:
        yield
    finally:
        timer.cancel()


@cache
def state_adapter(aggregate: Aggregate[Any]) -> TypeAdapter[Any]:
    """Writes and reads the states of one kind of stream."""
    return TypeAdapter(aggregate.state)


class LogReader:
    """Reads the log of one tenant: the questions of an `application.ports.EventLog`, and those of other readers.

    Every method that asks the database raises `LogUnavailable` when it stays out of reach.
    """

    def __init__(self, tenant: Tenant, codec: Codec, pool: AsyncPool, *, limits: StoreLimits | None = None) -> None:
        self.tenant = tenant
        self.codec = codec
        self.limits = limits or StoreLimits()
        self._pool = pool

    def digest(self, request: bytes) -> bytes:
        """See `EventLog.digest`."""
        return self.tenant.digest(request)

    # Streams

    async def load(self, streams: Iterable[UUID]) -> Mapping[UUID, Stream]:
        """See `EventLog.load`. No personal value is decrypted: no state holds one."""
        ids = list(streams)
        snapshots = await self._snapshots(ids)
        folded = dict(snapshots)
        rows = await self.fetch(
            "SELECT u.s, e.version, e.type, e.schema_version, e.body FROM unnest(%s::uuid[], %s::int[]) AS u(s, v) "
            "CROSS JOIN LATERAL (SELECT * FROM {schema}.events e WHERE e.stream_id = u.s AND e.version > u.v "
            "ORDER BY e.version) e",
            (ids, [snapshots[stream].version if stream in snapshots else 0 for stream in ids]),
        )
        read: dict[UUID, int] = {}
        aggregates: dict[UUID, Aggregate[Any]] = {}
        for stream, version, name, schema_version, body in rows:
            aggregate = aggregates[stream] = AGGREGATES[name.partition(".")[0]]
            event = self.codec.decode(name, schema_version, body, self.codec.place(stream, version), erase_all)
            before = folded.get(stream)
            folded[stream] = Stream(version, aggregate.evolve(before.state if before else None, event))
            read[stream] = read.get(stream, 0) + 1
        for stream, events in read.items():
            if events >= self.limits.snapshot_events_min:
                await self._keep_snapshot(aggregates[stream], stream, folded[stream])
        return {stream: folded.get(stream, Stream(0, None)) for stream in ids}

    async def _snapshots(self, streams: Sequence[UUID]) -> Mapping[UUID, Stream]:
        """The snapshots of these streams that are in the shape of today."""
        rows = await self.fetch(
            "SELECT stream_id, aggregate, version, state_version, state FROM {schema}.snapshots "
            "WHERE stream_id = ANY(%s)",
            (streams,),
        )
        found: dict[UUID, Stream] = {}
        for stream, name, version, state_version, body in rows:
            aggregate = AGGREGATES.get(name)
            if aggregate is not None and aggregate.state_version == state_version:
                found[stream] = Stream(version, state_adapter(aggregate).validate_json(body))
        return found

    async def _keep_snapshot(self, aggregate: Aggregate[Any], stream_id: UUID, stream: Stream) -> None:
        state = state_adapter(aggregate).dump_json(stream.state)
        await self.fetch(
            "SELECT {schema}.keep_snapshot(%s, %s, %s, %s, %s)",
            (stream_id, aggregate.name, stream.version, aggregate.state_version, state),
        )

    async def versions(self, streams: Iterable[UUID]) -> Mapping[UUID, int]:
        """See `EventLog.versions`."""
        rows = await self.fetch(
            "SELECT u.s, (SELECT e.version FROM {schema}.events e WHERE e.stream_id = u.s "
            "ORDER BY e.version DESC LIMIT 1) FROM unnest(%s::uuid[]) AS u(s)",
            (list(streams),),
        )
        return {stream: version or 0 for stream, version in rows}

    # Claims and commands

    async def holders(self, claims: Iterable[Claim]) -> Mapping[Claim, UUID]:
        """See `EventLog.holders`."""
        wanted = {(claim.kind, self.tenant.claim_value(claim)): claim for claim in claims}
        rows = await self.fetch(
            "SELECT c.kind, c.value, c.stream_id FROM unnest(%s::text[], %s::bytea[]) AS u(k, v) "
            "JOIN {schema}.claims c ON c.kind = u.k AND c.value = u.v",
            ([kind for kind, _ in wanted], [value for _, value in wanted]),
        )
        return {wanted[kind, bytes(value)]: stream for kind, value, stream in rows}

    async def known(self, keys: Iterable[CommandKey]) -> Mapping[CommandKey, KnownCommand]:
        """See `EventLog.known`."""
        wanted = list(keys)
        rows = await self.fetch(
            "SELECT c.principal, c.key, c.digest, c.command_id, c.target_id, c.first_position, c.last_position, "
            "coalesce((SELECT e.version FROM {schema}.events e WHERE e.stream_id = c.target_id "
            "AND e.position <= c.last_position ORDER BY e.version DESC LIMIT 1), 0), c.credential_id "
            "FROM unnest(%s::text[], %s::text[]) AS u(p, k) "
            "JOIN {schema}.commands c ON c.principal = u.p AND c.key = u.k",
            ([key.principal for key in wanted], [key.key for key in wanted]),
        )
        return {CommandKey(principal, key): KnownCommand(*rest) for principal, key, *rest in rows}

    # Events

    async def events(self, first_position: int, last_position: int) -> Sequence[RecordedEvent]:
        """See `EventLog.events`."""
        return await self._recorded(
            "WHERE position BETWEEN %s AND %s ORDER BY position", (first_position, last_position)
        )

    async def events_at(self, positions: Sequence[int]) -> Sequence[RecordedEvent]:
        """The events at these positions, in the order of the log."""
        return await self._recorded("WHERE position = ANY(%s) ORDER BY position", (list(positions),))

    async def stream(self, stream: UUID, after_version: int, limit: int) -> Sequence[RecordedEvent]:
        """One stream, from the version after this one."""
        condition = "WHERE stream_id = %s AND version > %s ORDER BY version LIMIT %s"
        return await self._recorded(condition, (stream, after_version, limit))

    async def history(
        self, customer: UUID, after: int, limit: int, at_position: int | None = None
    ) -> Sequence[RecordedEvent]:
        """One customer's history over all streams, from the position after this one."""
        condition = "WHERE customer_id = %s AND position > %s AND position <= %s ORDER BY position LIMIT %s"
        end = at_position if at_position is not None else await self.head()
        return await self._recorded(condition, (customer, after, end, limit))

    async def feed(self, after: int, limit: int, types: Sequence[str] = ()) -> tuple[Sequence[RecordedEvent], int]:
        """A page of the log and the position to go on after, which moves on over events of other types too.

        A type such as `customer.*` means all of a kind, also those that only a newer version of the program knows. The
        page ends before an event of such a type; the page after that raises `EventIsUnknown`.
        """
        end = min(await self.head(), after + limit)
        if end <= after:
            return (), after
        condition = (
            "WHERE position > %s AND position <= %s AND "
            "(%s OR type = ANY(%s) OR split_part(type, '.', 1) || '.*' = ANY(%s)) ORDER BY position"
        )
        try:
            return await self._recorded(condition, (after, end, not types, list(types), list(types))), end
        except EventIsUnknown as unknown:
            if unknown.position == after + 1:
                raise
            return unknown.before, unknown.position - 1

    async def head(self) -> int:
        """The last position; 0 while the log is empty."""
        rows = await self.fetch("SELECT max(position) FROM {schema}.events", ())
        return rows[0][0] or 0

    async def epochs(self) -> EpochHistory:
        """The epochs of the log."""
        return EpochHistory([Epoch(*row) for row in await self.fetch(QUERY, ())])

    async def position_at(self, moment: datetime) -> int:
        """The last position that was recorded at or before a moment. Raises `MomentIsNotOver`."""
        try:
            rows = await self.fetch("SELECT {schema}.position_at(%s)", (moment,))
        except psycopg.errors.InvalidParameterValue as error:
            raise MomentIsNotOver(pointer="/known_at") from error
        position: int = rows[0][0]
        return position

    async def _recorded(self, condition: str, arguments: Sequence[object]) -> Sequence[RecordedEvent]:
        rows = await self.fetch(f"SELECT {COLUMNS} FROM {{schema}}.events {condition}", arguments)
        keys = await self.reading_keys(self.codec.references(bodies(rows)))
        found: list[RecordedEvent] = []
        for row in rows:
            try:
                found.append(recorded(self.codec, row, keys.get))
            except UnknownEventType as unknown:
                position, _, _, name, schema_version, *_ = row
                raise EventIsUnknown(position, name, schema_version, found) from unknown
        return found

    async def reading_keys(self, references: Iterable[str]) -> Mapping[str, bytes]:
        """The keys behind references in stored forms; destroyed and unreadable ones are absent.

        They are not kept: what is destroyed must not go on being read from memory.
        """
        wanted = [split_reference(reference) for reference in references]
        subjects = [key for is_subject, key in wanted if is_subject]
        texts = [key for is_subject, key in wanted if not is_subject]
        found: dict[str, bytes] = {}
        for ids, table, column, reference_to in (
            (subjects, "subject_keys", "subject_id", subject_reference),
            (texts, "text_keys", "text_id", text_reference),
        ):
            statement = f"SELECT {column}, wrapped FROM {{schema}}.{table} WHERE {column} = ANY(%s)"
            for key_id, wrapped in await self.fetch(statement, (ids,)) if ids else ():
                key = self.tenant.key_encryption_keys.open(wrapped, key_id) if wrapped is not None else None
                if key is not None:
                    found[reference_to(key_id)] = key
        return found

    async def prove_keys(self) -> bool:
        """Whether the key file holds the keys in force, as far as the log can tell."""
        keys = self.tenant.key_encryption_keys
        if not keys.is_refused():
            return True
        rows = await self.fetch("SELECT wrapped_hash_key FROM {schema}.tenant", ())
        return keys.prove(rows[0][0], HASH_KEY_OWNER)

    async def fetch(self, statement: str, arguments: Sequence[object] | Mapping[str, object]) -> list[tuple[Any, ...]]:
        """All rows of a statement, in which `{schema}` stands for the tenant's. Raises `LogUnavailable`."""
        query = statement.replace("{schema}", f'"{self.tenant.schema}"')
        patience = Patience(self.limits.append_seconds_max)
        while True:
            try:
                async with self._pool.connection() as connection:
                    with given_up_after(self.limits.statement_seconds_max, connection):
                        cursor = await connection.execute(query, arguments)
                        return await cursor.fetchall()
            except PoolTimeout as error:
                raise LogUnavailable from error
            except LOST as error:
                await patience.after(error)
