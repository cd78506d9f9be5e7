"""The log in Postgres: loads streams, answers questions about the log, and appends through its one function."""

import asyncio
import math
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from pydantic import TypeAdapter

from application.aggregates import Aggregate, Claim
from application.commands import AGGREGATES
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
from application.submissions import EventIsTooLarge, SubjectIsErased
from domain.errors import Refusal
from infrastructure.codec import (
    BodyTooLarge,
    Codec,
    Key,
    erase_all,
    split_reference,
    subject_reference,
    text_reference,
)
from infrastructure.encryption import new_key
from infrastructure.ids import new_id
from infrastructure.records import COLUMNS, Batch, append_statement, bodies, channel, recorded
from infrastructure.tenant import Tenant

_READ_TRIES = 3

AsyncPool = AsyncConnectionPool[psycopg.AsyncConnection[tuple[Any, ...]]]


class MomentIsNotOver(Refusal):
    """What was known at a moment can only be told when the moment is over."""

    status = 422


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """What bounds the store; each default has its reason beside it."""

    append_seconds_max: float = 5.0
    """How long an append is tried again when the connection is lost: a restart of Postgres takes about two."""
    statement_seconds_max: float = 15.0
    """After this a statement that got no answer is given up and its connection closed."""
    cached_subject_keys_max: int = 20_000
    """Keys of people who are written about, at about 300 bytes each."""
    wake_seconds: float = 0.02
    """Appends of this time are told to followers together."""
    snapshot_events_min: int = 200
    """A stream gets a snapshot when loading it took more events than this."""


class PostgresEventLog:
    """The log of one tenant; an `application.ports.EventLog`, and what readers of the log ask for."""

    def __init__(
        self, tenant: Tenant, codec: Codec, conninfo: str, pool: AsyncPool, *, limits: StoreLimits | None = None
    ) -> None:
        self.tenant = tenant
        self.codec = codec
        self.limits = limits or StoreLimits()
        self._conninfo = conninfo
        self._pool = pool
        self._append_sql = append_statement(tenant.schema)
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._subject_keys: OrderedDict[UUID, Key] = OrderedDict()
        self._state_adapters: dict[str, TypeAdapter[Any]] = {}
        self._waking: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Close the connection that appends; the pool is its owner's."""
        if self._waking is not None:
            await self._waking
        await self._discard_connection()

    def digest(self, request: bytes) -> bytes:
        """See `EventLog.digest`."""
        return self.tenant.digest(request)

    # Reading

    async def load(self, streams: Iterable[UUID]) -> Mapping[UUID, Stream]:
        """See `EventLog.load`. No personal value is decrypted: no state holds one."""
        ids = list(streams)
        folded: dict[UUID, Stream] = {}
        for stream, name, version, state_version, body in await self._fetch(
            "SELECT stream_id, aggregate, version, state_version, state FROM {schema}.snapshots "
            "WHERE stream_id = ANY(%s)",
            (ids,),
        ):
            aggregate = AGGREGATES.get(name)
            if aggregate is not None and aggregate.state_version == state_version:
                folded[stream] = Stream(version, self._state_adapter(aggregate).validate_json(body))
        snapshots = {stream: each.version for stream, each in folded.items()}
        rows = await self._fetch(
            "SELECT u.s, e.version, e.type, e.schema_version, e.body FROM unnest(%s::uuid[], %s::int[]) AS u(s, v) "
            "CROSS JOIN LATERAL (SELECT * FROM {schema}.events e WHERE e.stream_id = u.s AND e.version > u.v "
            "ORDER BY e.version) e",
            (ids, [snapshots.get(stream, 0) for stream in ids]),
        )
        aggregates: dict[UUID, Aggregate[Any]] = {}
        for stream, version, name, schema_version, body in rows:
            aggregate = AGGREGATES[name.partition(".")[0]]
            aggregates[stream] = aggregate
            place = self.codec.place(stream, version)
            event = self.codec.decode(name, schema_version, body, place, erase_all)
            before = folded.get(stream)
            folded[stream] = Stream(version, aggregate.evolve(before.state if before else None, event))
        for stream, aggregate in aggregates.items():
            if folded[stream].version - snapshots.get(stream, 0) >= self.limits.snapshot_events_min:
                await self._keep_snapshot(aggregate, stream, folded[stream])
        return {stream: folded.get(stream, Stream(0, None)) for stream in ids}

    async def versions(self, streams: Iterable[UUID]) -> Mapping[UUID, int]:
        """See `EventLog.versions`."""
        rows = await self._fetch(
            "SELECT u.s, (SELECT e.version FROM {schema}.events e WHERE e.stream_id = u.s "
            "ORDER BY e.version DESC LIMIT 1) FROM unnest(%s::uuid[]) AS u(s)",
            (list(streams),),
        )
        return {stream: version or 0 for stream, version in rows}

    async def holders(self, claims: Iterable[Claim]) -> Mapping[Claim, UUID]:
        """See `EventLog.holders`."""
        wanted = {(claim.kind, self.tenant.claim_value(claim)): claim for claim in claims}
        rows = await self._fetch(
            "SELECT c.kind, c.value, c.stream_id FROM unnest(%s::text[], %s::bytea[]) AS u(k, v) "
            "JOIN {schema}.claims c ON c.kind = u.k AND c.value = u.v",
            ([kind for kind, _ in wanted], [value for _, value in wanted]),
        )
        return {wanted[kind, bytes(value)]: stream for kind, value, stream in rows}

    async def known(self, keys: Iterable[CommandKey]) -> Mapping[CommandKey, KnownCommand]:
        """See `EventLog.known`."""
        wanted = list(keys)
        rows = await self._fetch(
            "SELECT c.principal, c.key, c.digest, c.command_id, c.target_id, c.first_position, c.last_position "
            "FROM unnest(%s::text[], %s::text[]) AS u(p, k) "
            "JOIN {schema}.commands c ON c.principal = u.p AND c.key = u.k",
            ([key.principal for key in wanted], [key.key for key in wanted]),
        )
        return {CommandKey(principal, key): KnownCommand(*rest) for principal, key, *rest in rows}

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
        """A page of the log and the position to go on after, which moves on over events of other types too."""
        end = min(await self.head(), after + limit)
        if end <= after:
            return (), after
        condition = "WHERE position > %s AND position <= %s AND (%s OR type = ANY(%s)) ORDER BY position"
        return await self._recorded(condition, (after, end, not types, list(types))), end

    async def head(self) -> int:
        """The last position; 0 while the log is empty."""
        rows = await self._fetch("SELECT max(position) FROM {schema}.events", ())
        return rows[0][0] or 0

    async def position_at(self, moment: datetime) -> int:
        """The last position that was recorded at or before a moment. Raises `MomentIsNotOver`."""
        try:
            rows = await self._fetch("SELECT {schema}.position_at(%s)", (moment,))
        except psycopg.errors.InvalidParameterValue as error:
            raise MomentIsNotOver(pointer="/known_at") from error
        position: int = rows[0][0]
        return position

    # Appending

    def preview(self, decision: Decision) -> tuple[RecordedEvent, ...]:
        """See `EventLog.preview`."""
        return self._recorded_now(decision, 0, decision.metadata.received_at, ())

    async def append(self, batch: Sequence[Decision]) -> Appended | Conflicts:
        """See `EventLog.append`."""
        subjects = [self._subjects(decision) for decision in batch]
        new_streams = {s for decision in batch for s, version in decision.reads.items() if version == 0}
        while True:
            keys = await self._keys({s for each in subjects for s, keyed in each.items() if keyed}, new_streams)
            refused = _refused(subjects, keys.erased)
            encoded = self._encode(batch, subjects, keys, refused)
            if refused:
                return Conflicts(refused=refused)
            (base, at, known, stale, taken, fenced, erased), in_doubt = await self._send(encoded.arguments())
            if known and in_doubt:
                stored = await self._stored_before(batch)
                if stored is not None:
                    base, at = stored
            if base is not None:
                for subject, key in keys.keys.items():
                    self._remember(subject, key)
                if self._waking is None or self._waking.done():
                    self._waking = asyncio.create_task(self._wake_followers())
                return self._appended(batch, base, at, encoded.bodies)
            for subject in (*(fenced or ()), *(erased or ())):
                self._subject_keys.pop(subject, None)
            if fenced and not (known or stale or taken or erased):
                new_streams = set()  # somebody else made these keys meanwhile: load them, and encode again
                continue
            claims = [new.claim for decision in batch for new in decision.claims]
            return Conflicts(
                known=frozenset(batch[i - 1].key for i in known or ()),
                stale=frozenset(stale or ()),
                taken=frozenset(claims[i - 1] for i in taken or ()),
                refused=_refused(subjects, set(erased or ())),
            )

    def _subjects(self, decision: Decision) -> dict[UUID, bool]:
        subjects: dict[UUID, bool] = {}
        for new in decision.events:
            for subject, keyed in self.codec.of(new.event).subjects(new.event, new.stream_id):
                subjects[subject] = subjects.get(subject, False) or keyed
        return subjects

    async def _keys(self, subjects: set[UUID], new_streams: set[UUID]) -> "_BatchKeys":
        """The keys of these subjects; those that have none yet get one, which travels with the batch."""
        keys = _BatchKeys()
        unknown = set()
        for subject in subjects:
            cached = self._subject_keys.get(subject)
            if cached is not None:
                keys.keys[subject] = cached
            elif subject not in new_streams:
                unknown.add(subject)
        if unknown:
            rows = await self._fetch(
                "SELECT subject_id, revision, wrapped FROM {schema}.subject_keys WHERE subject_id = ANY(%s)",
                (list(unknown),),
            )
            for subject, revision, wrapped in rows:
                if wrapped is None:
                    keys.erased.add(subject)
                else:
                    key = self.tenant.key_encryption_keys.unwrap(wrapped, subject.bytes)
                    keys.keys[subject] = Key(subject_reference(subject), revision, key)
        for subject in subjects - keys.keys.keys() - keys.erased:
            key = new_key()
            keys.keys[subject] = Key(subject_reference(subject), 1, key)
            keys.made[subject] = self.tenant.key_encryption_keys.wrap(key, subject.bytes)
        return keys

    def _encode(
        self,
        batch: Sequence[Decision],
        subjects: Sequence[Mapping[UUID, bool]],
        keys: "_BatchKeys",
        refused: dict[int, Refusal],
    ) -> Batch:
        """The arguments of `append`; decisions that cannot be encoded are added to `refused`."""
        columns = Batch()
        written = {new.stream_id for decision in batch for new in decision.events}
        reads: dict[UUID, int] = {}

        def text_key(subject: UUID) -> Key:
            text, key = new_id(), new_key()
            columns.new_texts.append(text)
            columns.new_text_subjects.append(subject)
            columns.new_text_keys.append(self.tenant.key_encryption_keys.wrap(key, text.bytes))
            return Key(text_reference(text), 1, key)

        for i, decision in enumerate(batch):
            if i in refused:
                continue
            try:
                self._encode_decision(columns, decision, keys, text_key)
            except BodyTooLarge:
                refused[i] = EventIsTooLarge()
            reads.update((s, v) for s, v in decision.reads.items() if s not in written)
        columns.read_streams, columns.read_versions = list(reads), list(reads.values())
        columns.new_subjects, columns.new_subject_keys = list(keys.made), list(keys.made.values())
        columns.subjects = list({subject for each in subjects for subject in each})
        return columns

    def _encode_decision(
        self, columns: Batch, decision: Decision, keys: "_BatchKeys", text_key: Callable[[UUID], Key]
    ) -> None:
        metadata = decision.metadata
        columns.command_principals.append(decision.key.principal)
        columns.command_keys.append(decision.key.key)
        columns.command_ids.append(metadata.command_id)
        columns.command_targets.append(decision.target_id)
        columns.command_digests.append(decision.digest)
        columns.command_first.append(len(columns.streams) + 1)
        for new in decision.events:
            codec, place = self.codec.of(new.event), self.codec.place(new.stream_id, new.version)
            encoded = codec.encode(new.event, place, keys.keys.__getitem__, text_key)
            columns.streams.append(new.stream_id)
            columns.versions.append(new.version)
            columns.types.append(encoded.name)
            columns.schema_versions.append(encoded.schema_version)
            columns.bodies.append(encoded.body)
            columns.customers.append(new.customer_id)
            columns.occurred.append(metadata.occurred_at)
            columns.source_recorded.append(metadata.source_recorded_at)
            columns.actors.append(metadata.actor)
            columns.actor_kinds.append(metadata.actor_kind)
            columns.behalf.append(metadata.on_behalf_of)
            columns.reasons.append(metadata.reason)
            columns.sources.append(metadata.source)
            columns.commands.append(metadata.command_id)
            columns.correlations.append(metadata.correlation_id)
            columns.causations.append(metadata.causation_id)
        columns.command_last.append(len(columns.streams))
        for claim in decision.released:
            columns.drop_kinds.append(claim.kind)
            columns.drop_values.append(self.tenant.claim_value(claim))
            columns.drop_streams.append(decision.target_id)
        for taken in decision.claims:
            columns.take_kinds.append(taken.claim.kind)
            columns.take_values.append(self.tenant.claim_value(taken.claim))
            columns.take_streams.append(taken.stream_id)
            columns.take_subjects.append(taken.subject)

    def _appended(self, batch: Sequence[Decision], base: int, at: datetime, stored: Sequence[bytes]) -> Appended:
        events = []
        position = base
        for decision in batch:
            size = len(decision.events)
            events.append(self._recorded_now(decision, position + 1, at, stored[position - base :][:size]))
            position += size
        return Appended(tuple(events))

    def _recorded_now(
        self, decision: Decision, first_position: int, at: datetime, stored: Sequence[bytes]
    ) -> tuple[RecordedEvent, ...]:
        metadata = decision.metadata
        recorded_events = []
        for i, new in enumerate(decision.events):
            event_type = self.codec.of(new.event).event_type
            recorded_events.append(
                RecordedEvent(
                    position=first_position + i if first_position else 0,
                    stream_id=new.stream_id,
                    version=new.version,
                    type=event_type.name,
                    schema_version=event_type.schema_version,
                    event=new.event,
                    body=stored[i] if stored else b"",
                    occurred_at=metadata.occurred_at,
                    recorded_at=at,
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
            )
        return tuple(recorded_events)

    async def _send(self, arguments: Sequence[str]) -> tuple[tuple[Any, ...], bool]:
        """Call `append`, and call it again with the very same batch when the connection is lost meanwhile.

        Whether a lost call was committed cannot be asked: its backend may still be at work. But the next call waits for
        the head row, and so finds the commands there or comes first. The flag says that there was more than one call.
        """
        give_up_at = time.monotonic() + self.limits.append_seconds_max
        pause, in_doubt = 0.02, False
        while True:
            try:
                connection = await self._append_connection()
                with self._given_up(connection):
                    cursor = await connection.execute(self._append_sql, arguments, prepare=True)
                    row = await cursor.fetchone()
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                await self._discard_connection()
                if time.monotonic() + pause > give_up_at:
                    raise LogUnavailable from error
                in_doubt = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, 0.5)
            else:
                if row is None:
                    raise LogUnavailable
                return row, in_doubt

    async def _stored_before(self, batch: Sequence[Decision]) -> tuple[int, datetime] | None:
        """Where this very batch is stored, if an earlier call of ours did it; it did all of it or nothing."""
        known = await self.known(decision.key for decision in batch)
        first = known.get(batch[0].key)
        if first is None or first.command_id != batch[0].metadata.command_id:
            return None
        rows = await self._fetch("SELECT recorded_at FROM {schema}.events WHERE position = %s", (first.first_position,))
        return first.first_position - 1, rows[0][0]

    async def _wake_followers(self) -> None:
        """Notify outside the append, which it would serialise, and once for all appends of a moment."""
        await asyncio.sleep(self.limits.wake_seconds)
        with suppress(LogUnavailable):  # followers poll too
            await self._fetch("SELECT pg_notify(%s, '')", (channel(self.tenant.schema).strip('"'),))

    async def _append_connection(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, connect_timeout=math.ceil(self.limits.append_seconds_max)
            )
        return self._connection

    async def _discard_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                await connection.close()

    # Helpers

    def _remember(self, subject: UUID, key: Key) -> None:
        self._subject_keys[subject] = key
        self._subject_keys.move_to_end(subject)
        if len(self._subject_keys) > self.limits.cached_subject_keys_max:
            self._subject_keys.popitem(last=False)

    def _state_adapter(self, aggregate: Aggregate[Any]) -> TypeAdapter[Any]:
        adapter = self._state_adapters.get(aggregate.name)
        if adapter is None:
            adapter = self._state_adapters[aggregate.name] = TypeAdapter(aggregate.state)
        return adapter

    async def _keep_snapshot(self, aggregate: Aggregate[Any], stream_id: UUID, stream: Stream) -> None:
        state = self._state_adapter(aggregate).dump_json(stream.state)
        await self._fetch(
            "SELECT {schema}.keep_snapshot(%s, %s, %s, %s, %s)",
            (stream_id, aggregate.name, stream.version, aggregate.state_version, state),
        )

    async def _recorded(self, condition: str, arguments: Sequence[object]) -> Sequence[RecordedEvent]:
        rows = await self._fetch(f"SELECT {COLUMNS} FROM {{schema}}.events {condition}", arguments)
        keys = await self.reading_keys(self.codec.references(bodies(rows)))
        return [recorded(self.codec, row, keys.get) for row in rows]

    async def reading_keys(self, references: Iterable[str]) -> Mapping[str, bytes]:
        """The keys behind references in stored forms; destroyed ones are absent.

        They are not kept: what is destroyed must not go on being read from memory.
        """
        subjects: list[UUID] = []
        texts: list[UUID] = []
        for reference in references:
            is_subject, key_id = split_reference(reference)
            (subjects if is_subject else texts).append(key_id)
        found: dict[str, bytes] = {}
        unwrap = self.tenant.key_encryption_keys.unwrap
        if subjects:
            for subject, wrapped in await self._fetch(
                "SELECT subject_id, wrapped FROM {schema}.subject_keys "
                "WHERE subject_id = ANY(%s) AND wrapped IS NOT NULL",
                (subjects,),
            ):
                found[subject_reference(subject)] = unwrap(wrapped, subject.bytes)
        if texts:
            for text, wrapped in await self._fetch(
                "SELECT text_id, wrapped FROM {schema}.text_keys WHERE text_id = ANY(%s) AND wrapped IS NOT NULL",
                (texts,),
            ):
                found[text_reference(text)] = unwrap(wrapped, text.bytes)
        return found

    async def _fetch(self, statement: str, arguments: Sequence[object]) -> list[tuple[Any, ...]]:
        """All rows of a statement. One broken connection is replaced; what stays unreachable is `LogUnavailable`."""
        query = statement.replace("{schema}", f'"{self.tenant.schema}"')
        error: Exception | None = None
        for _ in range(_READ_TRIES):
            try:
                async with self._pool.connection() as connection:
                    with self._given_up(connection):
                        cursor = await connection.execute(query, arguments)
                        return await cursor.fetchall()
            except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as problem:
                error = problem
        raise LogUnavailable from error

    @contextmanager
    def _given_up(self, connection: psycopg.AsyncConnection[Any]) -> Iterator[None]:
        """Cut the connection when an answer takes too long, so that a stopped server cannot hold us for ever."""

        def cut() -> None:
            with suppress(OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)

        timer = asyncio.get_running_loop().call_later(self.limits.statement_seconds_max, cut)
        try:
            yield
        finally:
            timer.cancel()


@dataclass(slots=True)
class _BatchKeys:
    """The subject keys of one batch; `made` holds the wrapped form of those that are stored with it."""

    keys: dict[UUID, Key] = field(default_factory=dict)
    made: dict[UUID, bytes] = field(default_factory=dict)
    erased: set[UUID] = field(default_factory=set)


def _refused(subjects: Sequence[Mapping[UUID, bool]], erased: set[UUID]) -> dict[int, Refusal]:
    return {i: SubjectIsErased() for i, each in enumerate(subjects) if not erased.isdisjoint(each)}
