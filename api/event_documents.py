"""Events as they are shown: the envelope and the data, personal values as far as they can still be read.

Written by hand into bytes, because answers to commands are on the hot path; the schema of what is written comes from
the same event classes, and the tests hold one against the other.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias
from uuid import UUID

from pydantic import TypeAdapter, WithJsonSchema
from pydantic_core import to_json

from api.shapes import described
from application.ports import RecordedEvent
from application.submissions import Answer
from application.unit_of_work import ActorKind

EVENT_MARK = "x-event"
ShownEvent: TypeAlias = Annotated[Any, WithJsonSchema({EVENT_MARK: True})]
"""An event in an answer; the description of the interface puts the schema of all events in its place."""


@described
class EventEnvelope:
    """What every event says beside its data."""

    position: int
    """Its place in the log, from 1, without gaps; 0 in the answer to a dry run."""
    stream_id: UUID
    version: int
    """Its place in its stream, from 1."""
    type: str
    schema_version: int
    occurred_at: datetime
    """When it happened in the world."""
    recorded_at: datetime
    """When this service learned it; never earlier than that of the event before."""
    actor: str
    """Pseudonymous id of the key that sent the command."""
    actor_kind: ActorKind
    on_behalf_of: str | None
    reason: str | None
    source: str | None
    """The system that an imported fact comes from, and below since when that system knew it."""
    source_recorded_at: datetime | None
    command_id: UUID
    correlation_id: UUID | None
    causation_id: UUID | None
    customer_id: UUID | None
    """In whose history it stands."""


def instant(moment: datetime) -> str:
    """An instant in UTC, as RFC 3339 says."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(event: type[Any]) -> TypeAdapter[Any]:
    """What writes events of a class; compiled once."""
    if event not in _adapters:
        _adapters[event] = TypeAdapter(event)
    return _adapters[event]


class EventDocuments:
    """Writes events as JSON. `classes` has today's class of each stored name."""

    def __init__(self, classes: Mapping[str, type[Any]]) -> None:
        self.classes = classes
        self.adapters: Mapping[str, TypeAdapter[Any]] = {name: _adapter(each) for name, each in classes.items()}
        self._write = {name: adapter.serializer.to_json for name, adapter in self.adapters.items()}

    def one(self, recorded: RecordedEvent) -> bytes:
        """One event."""
        stream, command = f'"{recorded.stream_id}"', f'"{recorded.command_id}"'
        # Mostly these ids are the same object as one before, and need not be written out again.
        correlation = command if recorded.correlation_id is recorded.command_id else _id(recorded.correlation_id)
        customer = stream if recorded.customer_id is recorded.stream_id else _id(recorded.customer_id)
        since = None if recorded.source_recorded_at is None else instant(recorded.source_recorded_at)
        head = (
            f'{{"position":{recorded.position},"stream_id":{stream},"version":{recorded.version},'
            f'"type":"{recorded.type}","schema_version":{recorded.schema_version},'
            f'"occurred_at":"{instant(recorded.occurred_at)}","recorded_at":"{instant(recorded.recorded_at)}",'
            f'"actor":"{recorded.actor}","actor_kind":"{recorded.actor_kind}","command_id":{command},'
            f'"correlation_id":{correlation},"causation_id":{_id(recorded.causation_id)},"customer_id":{customer},'
            f'"on_behalf_of":{_text(recorded.on_behalf_of)},"reason":{_text(recorded.reason)},'
            f'"source":{_text(recorded.source)},"source_recorded_at":{_text(since)},"data":'
        )
        return b"%b%b}" % (head.encode(), self._write[recorded.type](recorded.event))

    def many(self, recorded: Iterable[RecordedEvent]) -> bytes:
        """A list of events."""
        return b"[%b]" % b",".join(map(self.one, recorded))

    def answer(self, answer: Answer, epoch: UUID) -> bytes:
        """What a command has done, and in which epoch its position and version are to be understood."""
        return b'{"id":"%b","epoch":"%b","version":%d,"position":%d,"replayed":%b,"dry_run":%b,"events":%b}' % (
            str(answer.target_id).encode(),
            str(epoch).encode(),
            answer.version,
            answer.position,
            _truth(answer.replayed),
            _truth(answer.dry_run),
            self.many(answer.events),
        )


def _id(value: UUID | None) -> str:
    return "null" if value is None else f'"{value}"'


def _text(value: str | None) -> str:
    return "null" if value is None else to_json(value).decode()


def _truth(value: object) -> bytes:
    return b"true" if value else b"false"
