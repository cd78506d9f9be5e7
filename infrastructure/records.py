"""Rows of the log and the batches that `append` takes: the one place that knows their columns and their order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from application.ports import Decision, NewClaim, NewEvent, RecordedEvent
from infrastructure.codec import Codec, Encoded, FindKey

COLUMNS = (
    "position, stream_id, version, type, schema_version, body, occurred_at, recorded_at, actor, actor_kind, "
    "command_id, correlation_id, causation_id, on_behalf_of, reason, source, source_recorded_at, customer_id"
)
"""The columns of `events` in the order that `recorded` expects."""

WRAPPED_IN_FORCE = "wrapped_by_key_in_force"
"""What `append` violates when it brings a key that a retired key-encryption key has wrapped."""

_BODY = 5


def recorded(codec: Codec, row: Sequence[Any], find_key: FindKey) -> RecordedEvent:
    """A row of `COLUMNS` as an event; personal values are decrypted as far as `find_key` has their keys."""
    position, stream, version, name, schema_version, body, *envelope = row
    event = codec.decode(name, schema_version, body, codec.place(stream, version), find_key)
    return RecordedEvent(position, stream, version, name, schema_version, event, body, *envelope)


def recorded_now(
    codec: Codec, decision: Decision, at: datetime, base: int | None = None, stored: Sequence[bytes] = ()
) -> tuple[RecordedEvent, ...]:
    """The events of a decision behind position `base`; at position 0 and without bodies where nothing is stored."""
    metadata = decision.metadata
    events = []
    for i, new in enumerate(decision.events):
        event_type = codec.of(new.event).event_type
        events.append(
            RecordedEvent(
                position=0 if base is None else base + i + 1,
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
    return tuple(events)


def bodies(rows: Iterable[Sequence[Any]]) -> list[bytes]:
    """The stored bodies of rows of `COLUMNS`."""
    return [row[_BODY] for row in rows]


@dataclass(slots=True)
class Batch:
    """The arguments of `append`, column by column."""

    streams: list[UUID] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    schema_versions: list[int] = field(default_factory=list)
    occurred: list[datetime] = field(default_factory=list)
    source_recorded: list[datetime | None] = field(default_factory=list)
    actors: list[str] = field(default_factory=list)
    actor_kinds: list[str] = field(default_factory=list)
    behalf: list[str | None] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)
    sources: list[str | None] = field(default_factory=list)
    commands: list[UUID] = field(default_factory=list)
    correlations: list[UUID | None] = field(default_factory=list)
    causations: list[UUID | None] = field(default_factory=list)
    customers: list[UUID | None] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    command_principals: list[str] = field(default_factory=list)
    command_keys: list[str] = field(default_factory=list)
    command_ids: list[UUID] = field(default_factory=list)
    command_targets: list[UUID] = field(default_factory=list)
    command_digests: list[bytes] = field(default_factory=list)
    command_credentials: list[UUID | None] = field(default_factory=list)
    command_first: list[int] = field(default_factory=list)
    command_last: list[int] = field(default_factory=list)
    read_streams: list[UUID] = field(default_factory=list)
    read_versions: list[int] = field(default_factory=list)
    follow_kinds: list[str] = field(default_factory=list)
    follow_values: list[bytes] = field(default_factory=list)
    follow_streams: list[UUID] = field(default_factory=list)
    drop_kinds: list[str] = field(default_factory=list)
    drop_values: list[bytes] = field(default_factory=list)
    drop_streams: list[UUID] = field(default_factory=list)
    take_kinds: list[str] = field(default_factory=list)
    take_values: list[bytes] = field(default_factory=list)
    take_streams: list[UUID] = field(default_factory=list)
    take_subjects: list[UUID | None] = field(default_factory=list)
    new_subjects: list[UUID] = field(default_factory=list)
    new_subject_keys: list[bytes] = field(default_factory=list)
    subjects: list[UUID] = field(default_factory=list)
    new_texts: list[UUID] = field(default_factory=list)
    new_text_subjects: list[UUID] = field(default_factory=list)
    new_text_keys: list[bytes] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many events the batch holds."""
        return len(self.streams)

    def begin_command(self, decision: Decision) -> None:
        """The events that are added from here on are those of this command."""
        self.command_principals.append(decision.key.principal)
        self.command_keys.append(decision.key.key)
        self.command_ids.append(decision.metadata.command_id)
        self.command_targets.append(decision.target_id)
        self.command_digests.append(decision.digest)
        self.command_credentials.append(decision.credential_id)
        self.command_first.append(self.size + 1)

    def add_event(self, decision: Decision, new: NewEvent, encoded: Encoded) -> None:
        """Add one event, with the envelope that its command gives it."""
        metadata = decision.metadata
        self.streams.append(new.stream_id)
        self.versions.append(new.version)
        self.types.append(encoded.name)
        self.schema_versions.append(encoded.schema_version)
        self.occurred.append(metadata.occurred_at)
        self.source_recorded.append(metadata.source_recorded_at)
        self.actors.append(metadata.actor)
        self.actor_kinds.append(metadata.actor_kind)
        self.behalf.append(metadata.on_behalf_of)
        self.reasons.append(metadata.reason)
        self.sources.append(metadata.source)
        self.commands.append(metadata.command_id)
        self.correlations.append(metadata.correlation_id)
        self.causations.append(metadata.causation_id)
        self.customers.append(new.customer_id)
        self.bodies.append(encoded.body)

    def end_command(self) -> None:
        """The command has all of its events."""
        self.command_last.append(self.size)

    def add_release(self, kind: str, value: bytes, stream: UUID) -> None:
        """Give back a claim that the stream holds."""
        self.drop_kinds.append(kind)
        self.drop_values.append(value)
        self.drop_streams.append(stream)

    def add_claim(self, new: NewClaim, value: bytes) -> None:
        """Take a claim; `value` is its keyed hash."""
        self.take_kinds.append(new.claim.kind)
        self.take_values.append(value)
        self.take_streams.append(new.stream_id)
        self.take_subjects.append(new.subject)

    def add_text_key(self, text: UUID, subject: UUID, wrapped: bytes) -> None:
        """Keep the key of one free text about a subject."""
        self.new_texts.append(text)
        self.new_text_subjects.append(subject)
        self.new_text_keys.append(wrapped)

    def arguments(self) -> list[str]:
        """Every column as the text of an array; building it here costs less than the driver's own adaptation."""
        return [
            _plain(self.streams),
            _plain(self.versions),
            _quoted(self.types),
            _plain(self.schema_versions),
            _plain(self.occurred),
            _plain(self.source_recorded),
            _quoted(self.actors),
            _quoted(self.actor_kinds),
            _quoted(self.behalf),
            _quoted(self.reasons),
            _quoted(self.sources),
            _plain(self.commands),
            _plain(self.correlations),
            _plain(self.causations),
            _plain(self.customers),
            _bytes(self.bodies),
            _quoted(self.command_principals),
            _quoted(self.command_keys),
            _plain(self.command_ids),
            _plain(self.command_targets),
            _bytes(self.command_digests),
            _plain(self.command_credentials),
            _plain(self.command_first),
            _plain(self.command_last),
            _plain(self.read_streams),
            _plain(self.read_versions),
            _quoted(self.follow_kinds),
            _bytes(self.follow_values),
            _plain(self.follow_streams),
            _quoted(self.drop_kinds),
            _bytes(self.drop_values),
            _plain(self.drop_streams),
            _quoted(self.take_kinds),
            _bytes(self.take_values),
            _plain(self.take_streams),
            _plain(self.take_subjects),
            _plain(self.new_subjects),
            _bytes(self.new_subject_keys),
            _plain(self.subjects),
            _plain(self.new_texts),
            _plain(self.new_text_subjects),
            _bytes(self.new_text_keys),
        ]


_EVENT_TYPES = "uuid int text smallint timestamptz timestamptz text text text text text uuid uuid uuid uuid bytea"
_COMMAND_TYPES = "text text uuid uuid bytea uuid int int"
_READ_TYPES = "uuid int text bytea uuid"
_CLAIM_TYPES = "text bytea uuid text bytea uuid uuid"
_KEY_TYPES = "uuid bytea uuid uuid uuid bytea"
_ARGUMENT_TYPES = f"{_EVENT_TYPES} {_COMMAND_TYPES} {_READ_TYPES} {_CLAIM_TYPES} {_KEY_TYPES}".split()


@dataclass(frozen=True, slots=True)
class Stored:
    """`append` has stored all of the batch, behind this position."""

    base: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Hindered:
    """`append` has stored nothing, and these are all the reasons."""

    known: Sequence[int]
    """Commands that are stored already, as places in the batch from 1."""
    stale: Sequence[UUID]
    moved: Sequence[int]
    """Claims that lead elsewhere, as places among those that were followed from 1."""
    taken: Sequence[int]
    """Claims that are held already, as places among those of the batch from 1."""
    fenced: Sequence[UUID]
    """Subjects that were to get a key and have one, or had one."""
    erased: Sequence[UUID]

    @property
    def is_by_keys_alone(self) -> bool:
        """Whether nothing but the new keys stood in the way."""
        return not (self.known or self.stale or self.moved or self.taken or self.erased)


def verdict(row: Sequence[Any]) -> Stored | Hindered:
    """What the one row says that `append` returns."""
    base, at, *reasons = row
    return Stored(base, at) if base is not None else Hindered(*(reason or () for reason in reasons))


def append_statement(schema: str) -> str:
    """The one statement that writes the log of a tenant."""
    arguments = ", ".join(f"%s::{each}[]" for each in _ARGUMENT_TYPES)
    return f'SELECT base, at, known, stale, moved, taken, fenced, erased FROM "{schema}".append({arguments})'


def channel(schema: str) -> str:
    """The quoted channel on which followers of a tenant's log are woken; notifications carry nothing."""
    return f'"{schema}_log"'


def _plain(values: Iterable[object]) -> str:
    """Values whose text needs no quotes: ids, numbers, instants."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def _quoted(values: Iterable[str | None]) -> str:
    return (
        "{"
        + ",".join(["NULL" if v is None else '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values])
        + "}"
    )


def _bytes(values: Iterable[bytes]) -> str:
    return "{" + ",".join(['"\\\\x' + value.hex() + '"' for value in values]) + "}"
