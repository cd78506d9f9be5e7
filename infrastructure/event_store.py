"""The log in Postgres: appends through its one function; see `event_store_reading` for what is read."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import psycopg

from application.aggregates import Claim
from application.ports import Appended, Conflicts, Decision, LogUnavailable, RecordedEvent
from domain.errors import Refusal
from infrastructure.codec import Codec
from infrastructure.event_store_encoding import BatchEncoder, BatchKeys, SubjectKeys
from infrastructure.event_store_reading import (
    LOST,
    AsyncPool,
    LogReader,
    MomentIsNotOver,
    Patience,
    StoreLimits,
    given_up_after,
)
from infrastructure.records import (
    WRAPPED_IN_FORCE,
    Batch,
    Hindered,
    Stored,
    append_statement,
    channel,
    recorded_now,
    verdict,
)
from infrastructure.tenant import Tenant

__all__ = ["AsyncPool", "LogReader", "MomentIsNotOver", "PostgresEventLog", "StoreLimits"]


DISK_IS_FULL_SECONDS = 30.0
"""How long a failure for want of disk space counts: who is told of it sends nothing that could show that it is over."""


class PostgresEventLog(LogReader):
    """The log of one tenant; an `application.ports.EventLog`, and what readers of the log ask for."""

    def __init__(
        self, tenant: Tenant, codec: Codec, conninfo: str, pool: AsyncPool, *, limits: StoreLimits | None = None
    ) -> None:
        super().__init__(tenant, codec, pool, limits=limits)
        self._conninfo = conninfo
        self._append_sql = append_statement(tenant.schema)
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._subject_keys = SubjectKeys(tenant, self.limits.cached_subject_keys_max)
        self._has_news = False
        self._waking: asyncio.Task[None] | None = None
        self._disk_was_full_at = -math.inf

    @property
    def disk_is_full(self) -> bool:
        """Whether the last append has failed for want of disk space, not long ago."""
        return time.monotonic() - self._disk_was_full_at < DISK_IS_FULL_SECONDS

    async def close(self) -> None:
        """Close the connection that appends; the pool is its owner's."""
        if self._waking is not None:
            await self._waking
        await self._discard_connection()

    def preview(self, decision: Decision) -> tuple[RecordedEvent, ...]:
        """See `EventLog.preview`."""
        return recorded_now(self.codec, decision, decision.metadata.received_at)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """See `EventLog.alone`. The reservation ends by itself when its time is over, or with the connection."""
        connection = await self._reserve()
        try:
            yield
        finally:
            if connection is not None and connection is self._connection:
                await self._release(connection)

    async def append(self, batch: Sequence[Decision]) -> Appended | Conflicts:
        """See `EventLog.append`."""
        encoder = BatchEncoder(self.tenant, self.codec, batch)
        if encoder.contradictory:
            return Conflicts(stale=encoder.contradictory)
        unlikely = encoder.new_streams
        while True:
            keys = await self._keys(encoder.keyed_subjects, unlikely)
            columns, refused = encoder.encode(keys)
            if refused:
                return await self._refusing(batch, *encoder.seen(refused), refused)
            try:
                answer, in_doubt = await self._send(columns.arguments())
            except psycopg.errors.CheckViolation as error:
                if not await self._can_be_wrapped_anew(error, columns):
                    raise
                continue
            if isinstance(answer, Hindered) and in_doubt:
                answer = await self._stored_before(batch, columns.size) or answer
            if isinstance(answer, Stored):
                self._subject_keys.remember(keys)
                self._wake_followers()
                return _appended(self.codec, batch, answer, columns.bodies)
            self._subject_keys.forget((*answer.fenced, *answer.erased))
            if not answer.is_by_keys_alone:
                return _conflicts(batch, answer, list(encoder.followed), encoder.refused(set(answer.erased)))
            unlikely = set()  # somebody else made these keys meanwhile: load them, and encode again

    async def _can_be_wrapped_anew(self, error: psycopg.errors.CheckViolation, columns: Batch) -> bool:
        """Whether the key-encryption key was exchanged after this batch was encoded."""
        wrapped = (*columns.new_subject_keys, *columns.new_text_keys)
        is_retired = error.diag.constraint_name == WRAPPED_IN_FORCE
        return (
            is_retired and await self.prove_keys() and not all(map(self.tenant.key_encryption_keys.is_current, wrapped))
        )

    async def _refusing(
        self,
        batch: Sequence[Decision],
        seen: Mapping[UUID, int],
        followed: Mapping[Claim, UUID],
        refused: Mapping[int, Refusal],
    ) -> Conflicts:
        """What cannot be stored may be known all the same, or may have been decided on what holds no longer."""
        known = await self.known(batch[i].key for i in refused)
        holders = await self.holders(followed) if followed else {}
        moved = frozenset(claim for claim, stream in followed.items() if holders.get(claim) != stream)
        versions = await self.versions(seen)
        stale = frozenset(stream for stream, version in seen.items() if versions[stream] != version)
        return Conflicts(frozenset(known), stale, moved, refused=refused)

    async def _keys(self, subjects: set[UUID], unlikely: set[UUID]) -> BatchKeys:
        """The keys of these subjects. Who has none yet gets one; `unlikely` ones are not asked for before."""
        keys = self._subject_keys.at_hand(subjects)
        unknown = subjects - keys.keys.keys() - unlikely
        if unknown:
            self._subject_keys.add_stored(
                keys,
                await self.fetch(
                    "SELECT subject_id, revision, wrapped FROM {schema}.subject_keys WHERE subject_id = ANY(%s)",
                    (list(unknown),),
                ),
            )
        self._subject_keys.add_new(keys, subjects)
        return keys

    async def _send(self, arguments: Sequence[str]) -> tuple[Stored | Hindered, bool]:
        """Call `append`, and call it again with the very same batch when the connection is lost meanwhile.

        Whether a lost call was committed cannot be asked: its backend may still be at work. But the next call waits for
        the head row, and so finds the commands there or comes first. The flag says that there was more than one call.
        """
        patience, in_doubt = Patience(self.limits.append_seconds_max), False
        while True:
            try:
                connection = await self._append_connection()
                with given_up_after(self.limits.statement_seconds_max, connection):
                    cursor = await connection.execute(self._append_sql, arguments, prepare=True)
                    (row,) = await cursor.fetchall()
            except LOST as error:
                if isinstance(error, psycopg.errors.DiskFull):
                    self._disk_was_full_at = time.monotonic()
                await self._discard_connection()
                await patience.after(error)
                in_doubt = True
            else:
                self._disk_was_full_at = -math.inf
                return verdict(row), in_doubt

    async def _stored_before(self, batch: Sequence[Decision], size: int) -> Stored | None:
        """Where this very batch is stored, if an earlier call of ours did it; it did all of it or nothing."""
        known = await self.known(decision.key for decision in batch)
        if any(known.get(each.key) is None or known[each.key].command_id != each.metadata.command_id for each in batch):
            return None
        base = known[batch[0].key].first_position - 1
        if known[batch[-1].key].last_position != base + size:
            return None
        # Where nothing was recorded, there is no event that this would be the time of.
        rows = await self.fetch(
            "SELECT coalesce((SELECT recorded_at FROM {schema}.events WHERE position = %s), clock_timestamp())",
            (base + 1,),
        )
        return Stored(base, rows[0][0])

    def _wake_followers(self) -> None:
        self._has_news = True
        if self._waking is None or self._waking.done():
            self._waking = asyncio.create_task(self._notify(), name="wake followers")

    async def _notify(self) -> None:
        """Notify outside the append, which it would serialise, and once for all appends of a moment."""
        while self._has_news:
            await asyncio.sleep(self.limits.wake_seconds)
            self._has_news = False
            with suppress(LogUnavailable):  # followers poll too
                await self.fetch("SELECT pg_notify(%s, '')", (channel(self.tenant.schema).strip('"'),))

    async def _append_connection(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, connect_timeout=math.ceil(self.limits.append_seconds_max)
            )
        return self._connection

    async def _reserve(self) -> psycopg.AsyncConnection[tuple[Any, ...]] | None:
        """The connection that appends, when it has reserved the log; None where others were faster, or it was lost."""
        try:
            connection = await self._append_connection()
            with given_up_after(self.limits.statement_seconds_max, connection):
                cursor = await connection.execute(
                    f'SELECT "{self.tenant.schema}".reserve_log(%s)'.encode(), [self.limits.alone_seconds_max]
                )
                row = await cursor.fetchone()
        except LOST:
            await self._discard_connection()
            return None
        return connection if row == (True,) else None

    async def _release(self, connection: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        try:
            with given_up_after(self.limits.statement_seconds_max, connection):
                await connection.execute(f'SELECT "{self.tenant.schema}".release_log()'.encode())
        except LOST:
            await self._discard_connection()

    async def _discard_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _appended(codec: Codec, batch: Sequence[Decision], stored: Stored, bodies: Sequence[bytes]) -> Appended:
    events, done = [], 0
    for decision in batch:
        size = len(decision.events)
        events.append(recorded_now(codec, decision, stored.at, stored.base + done, bodies[done : done + size]))
        done += size
    return Appended(tuple(events), stored.base)


def _conflicts(
    batch: Sequence[Decision], hindered: Hindered, followed: Sequence[Claim], refused: Mapping[int, Refusal]
) -> Conflicts:
    claims = [new.claim for decision in batch for new in decision.claims]
    return Conflicts(
        known=frozenset(batch[i - 1].key for i in hindered.known),
        stale=frozenset(hindered.stale),
        moved=frozenset(followed[i - 1] for i in hindered.moved),
        taken=frozenset(claims[i - 1] for i in hindered.taken),
        refused=refused,
    )
