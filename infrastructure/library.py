"""Rapport's log as the `eventsourcing` library sees it: its recorder, its mapper, and the factory that makes them.

    PERSISTENCE_MODULE=infrastructure.library
    RAPPORT_LOG=…            connection string of the service role
    RAPPORT_TENANT=main      schema of the log; a library application that writes gets a log of its own
    RAPPORT_KEYS=…           folder of the key-encryption keys; without it personal values are read as erased

The recorder writes with the same `append` as the service. It differs from the library's own recorder in what it
promises: positions without gaps, in the order of commits, and a subscription that polls beside listening.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from eventsourcing import persistence
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.utils import Environment, EnvType
from psycopg_pool import ConnectionPool, PoolTimeout

from infrastructure.codec import Codec, split_reference, subject_reference, text_reference
from infrastructure.encryption import KeyFile
from infrastructure.event_types import EVENT_TYPES
from infrastructure.ids import new_id
from infrastructure.records import Batch, append_statement, channel
from infrastructure.tenant import Tenant, load_tenant

PRINCIPAL = "library"
"""Whom the envelope names as actor and sender of what the library appends."""
POLL_SECONDS = 0.5
"""How soon a subscription finds what no notification told it."""
_NOTIFY_SECONDS_MIN = 0.05
_RECONNECT_SECONDS_MAX = 5.0
"""After this a connection that cannot be made is left to the next question: the pool's own pauses grow to minutes."""
_UNVERSIONED = 0

Pool = ConnectionPool[psycopg.Connection[tuple[Any, ...]]]


@dataclass(frozen=True)
class FollowedEvent:
    """An event of the CRM's log as library projections get it."""

    originator_id: UUID
    originator_version: int
    name: str
    """Its stored name: `customer.blocked`."""
    event: Any
    """The event in the shape of today's class."""


def _topic(name: str, schema_version: int) -> str:
    return name if schema_version == _UNVERSIONED else f"{name}@{schema_version}"


def _split(topic: str) -> tuple[str, int]:
    """Name and schema version of a topic; any other text is a name without a version."""
    name, at, version = topic.rpartition("@")
    if at and version.isdecimal() and str(int(version)) == version and 0 < int(version) < 2**15:
        return name, int(version)
    return topic, _UNVERSIONED


class LogRecorder(persistence.ApplicationRecorder):
    """Records and reads the events of one log."""

    def __init__(self, conninfo: str, pool: Pool, schema: str) -> None:
        self._conninfo = conninfo
        self._pool = pool
        self._schema = f'"{schema}"'
        self._channel = channel(schema)
        self._append = append_statement(schema)
        self._notified = 0.0

    def insert_events(self, stored_events: Sequence[persistence.StoredEvent], **_kwargs: Any) -> Sequence[int] | None:
        """Append events, and tell their positions. Raises `IntegrityError` when a stream is at another version."""
        if not stored_events:
            return []
        arguments = _batch(stored_events).arguments()
        row, in_doubt = self._call(arguments)
        base, _at, known, *_ = row
        if base is None and known and in_doubt:
            return self._positions_of(stored_events)
        if base is None:
            msg = "a stream is not at the version that the events follow"
            raise persistence.IntegrityError(msg)
        self._wake_followers()
        return [base + i for i in range(1, len(stored_events) + 1)]

    def _call(self, arguments: Sequence[str]) -> tuple[tuple[Any, ...], bool]:
        """Call `append`; once more with the very same batch if the connection is lost meanwhile."""
        in_doubt = False
        while True:
            try:
                with self._pool.connection() as connection:
                    row = connection.execute(self._append, arguments).fetchone()
            except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
                if in_doubt or isinstance(error, PoolTimeout):
                    raise persistence.OperationalError(str(error)) from error
                in_doubt = True
            else:
                if row is None:
                    msg = "append gave no answer"
                    raise persistence.OperationalError(msg)
                return row, in_doubt

    def _positions_of(self, stored_events: Sequence[persistence.StoredEvent]) -> list[int]:
        """Where events stand that an earlier call has stored."""
        streams = [_uuid(each.originator_id) for each in stored_events]
        versions = [each.originator_version for each in stored_events]
        rows = self._rows(
            "SELECT e.position FROM unnest(%s::uuid[], %s::int[]) WITH ORDINALITY AS u(s, v, i) "
            "JOIN {schema}.events e ON e.stream_id = u.s AND e.version = u.v ORDER BY u.i",
            (streams, versions),
        )
        return [position for (position,) in rows]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[persistence.StoredEvent]:
        """The events of one stream."""
        stream = _uuid(originator_id)
        rows = self._rows(
            "SELECT version, type, schema_version, body FROM {schema}.events WHERE stream_id = %s "
            "AND (%s::int IS NULL OR version > %s) AND (%s::int IS NULL OR version <= %s) "
            f"ORDER BY version {'DESC' if desc else 'ASC'} LIMIT %s",
            (stream, gt, gt, lte, lte, limit),
        )
        return [
            persistence.StoredEvent(originator_id, version, _topic(name, schema_version), body)
            for version, name, schema_version, body in rows
        ]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[persistence.Notification]:
        """Events in the order of their positions."""
        first = (start or 0) if inclusive_of_start or start is None else start + 1
        wanted = [_split(topic) for topic in topics]
        rows = self._rows(
            "SELECT position, stream_id, version, type, schema_version, body FROM {schema}.events "
            "WHERE position >= %s AND (%s::bigint IS NULL OR position <= %s) AND (%s OR (type, schema_version) IN "
            "(SELECT * FROM unnest(%s::text[], %s::smallint[]))) ORDER BY position LIMIT %s",
            (first, stop, stop, not topics, [name for name, _ in wanted], [v for _, v in wanted], limit),
        )
        return [
            persistence.Notification(stream, version, _topic(name, schema_version), body, position)
            for position, stream, version, name, schema_version, body in rows
        ]

    def max_notification_id(self) -> int | None:
        """The last position; None while the log is empty."""
        position: int | None = self._rows("SELECT max(position) FROM {schema}.events", ())[0][0]
        return position

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> persistence.Subscription[persistence.ApplicationRecorder]:
        """Events after a position, and those to come."""
        return LogSubscription(self, gt, topics)

    def listen(self, woken: Event, stopped: Event) -> None:
        """Set `woken` whenever a notification comes, until `stopped`; a lost connection is made again."""
        while not stopped.is_set():
            with suppress(psycopg.Error), psycopg.connect(self._conninfo, autocommit=True) as connection:
                connection.execute(f"LISTEN {self._channel}")
                woken.set()  # what was committed before we listened
                while not stopped.is_set():
                    for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                        woken.set()
            stopped.wait(0.0 if stopped.is_set() else POLL_SECONDS)

    def _wake_followers(self) -> None:
        """Notify after the commit, and not for every one: followers poll too."""
        now = time.monotonic()
        if now - self._notified > _NOTIFY_SECONDS_MIN:
            self._notified = now
            with suppress(psycopg.Error, PoolTimeout), self._pool.connection() as connection:
                connection.execute(f"NOTIFY {self._channel}")

    def _rows(self, statement: str, arguments: Sequence[object]) -> list[tuple[Any, ...]]:
        with _as_library_errors(), self._pool.connection() as connection:
            return connection.execute(statement.replace("{schema}", self._schema), arguments).fetchall()


class LogAggregateRecorder(LogRecorder):
    """The same for applications that need no positions."""

    def insert_events(self, stored_events: Sequence[persistence.StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Append events. Raises `IntegrityError` when a stream is at another version."""
        super().insert_events(stored_events, **kwargs)
        return None


class LogSubscription(persistence.ListenNotifySubscription[persistence.ApplicationRecorder]):
    """The library's pulling thread, woken by notifications and, failing these, by the clock."""

    def __init__(self, recorder: LogRecorder, gt: int | None, topics: Sequence[str]) -> None:
        self._stopped = Event()
        super().__init__(recorder, gt, topics)
        self._listen_thread = Thread(target=recorder.listen, args=(self._has_been_notified, self._stopped), daemon=True)
        self._listen_thread.start()
        self._clock_thread = Thread(target=self._tick, daemon=True)
        self._clock_thread.start()

    def _tick(self) -> None:
        while not self._stopped.wait(POLL_SECONDS):
            self._has_been_notified.set()

    def stop(self) -> None:
        """Stop the subscription and its threads."""
        self._stopped.set()
        super().stop()

    def __exit__(self, *args: object, **kwargs: Any) -> None:
        try:
            super().__exit__(*args, **kwargs)
        finally:
            self._listen_thread.join()
            self._clock_thread.join()


class LogMapper(persistence.Mapper[UUID]):
    """Maps the CRM's events by their codec, and those of a library application as the library does."""

    tenant: Tenant | None = None
    codec: Codec | None = None
    pool: Pool

    def to_domain_event(self, stored_event: persistence.StoredEvent) -> DomainEventProtocol[UUID]:
        """The event, personal values decrypted as far as there are keys."""
        name, schema_version = _split(stored_event.topic)
        if self.codec is None or schema_version == _UNVERSIONED or name not in self.codec.registry.by_name:
            return super().to_domain_event(stored_event)
        stream = _uuid(stored_event.originator_id)
        keys = self._keys(self.codec.references([stored_event.state]))
        place = self.codec.place(stream, stored_event.originator_version)
        event = self.codec.decode(name, schema_version, stored_event.state, place, keys.get)
        return FollowedEvent(stream, stored_event.originator_version, name, event)

    def _keys(self, references: set[str]) -> Mapping[str, bytes]:
        if self.tenant is None or not references:
            return {}
        subjects = [key for is_subject, key in map(split_reference, references) if is_subject]
        texts = [key for is_subject, key in map(split_reference, references) if not is_subject]
        found: dict[str, bytes] = {}
        with self.pool.connection() as connection:
            for table, column, ids, reference in (
                ("subject_keys", "subject_id", subjects, subject_reference),
                ("text_keys", "text_id", texts, text_reference),
            ):
                rows = connection.execute(
                    f'SELECT {column}, wrapped FROM "{self.tenant.schema}".{table} '
                    f"WHERE {column} = ANY(%s) AND wrapped IS NOT NULL",
                    (ids,),
                )
                for key_id, wrapped in rows:
                    key = self.tenant.key_encryption_keys.open(wrapped, key_id)
                    if key is not None:
                        found[reference(key_id)] = key
        return found


class Factory(persistence.InfrastructureFactory[persistence.TrackingRecorder]):
    """Makes recorders and mappers for one log."""

    LOG: ClassVar[str] = "RAPPORT_LOG"
    TENANT: ClassVar[str] = "RAPPORT_TENANT"
    KEYS: ClassVar[str] = "RAPPORT_KEYS"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        self._conninfo = self.env.get(self.LOG) or ""
        if not self._conninfo:
            msg = f"{self.LOG} has to be the connection string of the log"
            raise persistence.InfrastructureFactoryError(msg)
        self._schema = self.env.get(self.TENANT) or "main"
        self._pool: Pool = ConnectionPool(
            self._conninfo,
            min_size=1,
            max_size=10,
            reconnect_timeout=_RECONNECT_SECONDS_MAX,
            kwargs={"autocommit": True},
            open=True,
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def mapper(
        self, transcoder: persistence.Transcoder | None = None, mapper_class: Any = None
    ) -> persistence.Mapper[Any]:
        """The CRM's mapper, unless the application brings one of its own."""
        if mapper_class is not None and mapper_class is not persistence.Mapper:
            return super().mapper(transcoder, mapper_class)
        mapper = LogMapper(transcoder or self.transcoder(), self.compressor(), self.cipher())
        mapper.pool = self._pool
        folder = self.env.get(self.KEYS)
        if folder:
            with self._pool.connection() as connection:
                mapper.tenant = load_tenant(connection, self._schema, KeyFile(Path(folder)))
            mapper.codec = Codec(EVENT_TYPES, mapper.tenant.id)
        else:
            mapper.codec = Codec(EVENT_TYPES, UUID(int=0))
        return mapper

    def aggregate_recorder(self, purpose: str = "events") -> persistence.AggregateRecorder:
        """A recorder without positions. Only for events: Rapport keeps snapshots of its own."""
        if purpose != "events":
            msg = f"a Rapport log holds events, no {purpose}"
            raise persistence.InfrastructureFactoryError(msg)
        return LogAggregateRecorder(self._conninfo, self._pool, self._schema)

    def application_recorder(self) -> persistence.ApplicationRecorder:
        """A recorder with positions."""
        return LogRecorder(self._conninfo, self._pool, self._schema)

    def tracking_recorder(self, tracking_recorder_class: Any = None) -> Any:
        """There is none: a projection keeps its tracking beside its own tables, by a module of its own."""
        raise _no_tracking(tracking_recorder_class)

    def process_recorder(self) -> persistence.ProcessRecorder:
        """There is none: nothing but `append` writes to a Rapport log."""
        raise _no_tracking(None)


def _no_tracking(wanted: object) -> persistence.InfrastructureFactoryError:
    return persistence.InfrastructureFactoryError(
        f"a Rapport log keeps no tracking ({wanted}): give the projection a persistence module of its own"
    )


def _batch(stored_events: Sequence[persistence.StoredEvent]) -> Batch:
    batch = Batch()
    now, command = datetime.now(UTC), new_id()
    for each in stored_events:
        name, schema_version = _split(each.topic)
        batch.streams.append(_uuid(each.originator_id))
        batch.versions.append(each.originator_version)
        batch.types.append(name)
        batch.schema_versions.append(schema_version)
        batch.occurred.append(now)
        batch.source_recorded.append(None)
        batch.actors.append(PRINCIPAL)
        batch.actor_kinds.append("service")
        batch.behalf.append(None)
        batch.reasons.append(None)
        batch.sources.append(None)
        batch.commands.append(command)
        batch.correlations.append(command)
        batch.causations.append(None)
        batch.customers.append(None)
        batch.bodies.append(each.state)
    # A command of its own, so that a batch that is sent again after a lost connection is recognised.
    batch.command_principals.append(PRINCIPAL)
    batch.command_keys.append(str(command))
    batch.command_ids.append(command)
    batch.command_targets.append(batch.streams[0])
    batch.command_digests.append(b"")
    batch.command_credentials.append(None)
    batch.command_first.append(1)
    batch.command_last.append(len(stored_events))
    return batch


def _uuid(originator_id: UUID | str) -> UUID:
    return originator_id if isinstance(originator_id, UUID) else UUID(originator_id)


@contextmanager
def _as_library_errors() -> Iterator[None]:
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout) as error:
        raise persistence.OperationalError(str(error)) from error
