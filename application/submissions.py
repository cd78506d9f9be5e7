"""A command on its way in, and the answer on its way out."""

from dataclasses import dataclass
from uuid import UUID

from application.commands import Command, CommandDefinition
from application.ports import CommandKey, KnownCommand, RecordedEvent
from application.unit_of_work import Metadata
from domain.errors import Refusal


class StreamHasMoved(Refusal):
    """The stream is no longer at the version that the sender expects."""

    status = 412


class KeyIsUsedForAnotherRequest(Refusal):
    """An idempotency key belongs to one request; this key was used for a different one."""

    status = 422


class OccurredInTheFuture(Refusal):
    """What is recorded has happened: occurred_at may not lie in the future."""

    status = 422


class AnotherCommandWasRefused(Refusal):
    """Of an atomic batch nothing is stored when one of its commands is refused."""


class SubjectIsErased(Refusal):
    """Nothing more can be recorded about a person whose data was erased."""


class EventIsTooLarge(Refusal):
    """An event holds at most 1 MiB."""

    status = 413


class QueueIsFull(Exception):  # noqa: N818 - it is the answer that the outer layers give
    """More commands are waiting than this process takes on; the same request may be sent again later."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One command as it arrived, validated, with who sent it and what it is addressed to."""

    key: CommandKey
    definition: CommandDefinition
    command: Command
    metadata: Metadata
    request: bytes
    """What makes two requests equal: the name, the target and the command in canonical form."""
    target: str | None = None
    """Our id or `source:identifier`; None for commands that create."""
    expected_version: int | None = None
    """From If-Match; None where the sender does not care."""
    credential_id: UUID | None = None
    """With which of its credentials the principal sent it; kept with the command, and in no event."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What happened: the stream, its version and the events with their positions.

    For a dry run the events have position 0 and nothing is stored. `replayed` says that the command was stored before
    and this is its first answer again.
    """

    target_id: UUID
    version: int
    events: tuple[RecordedEvent, ...]
    replayed: bool = False
    dry_run: bool = False
    position: int = 0
    """Of the last event; of a command that changed nothing, the end of the log at that moment; 0 for a dry run."""


def replayed(command: KnownCommand, events: tuple[RecordedEvent, ...]) -> Answer:
    """The first answer to a stored command again."""
    return Answer(command.target_id, command.target_version, events, replayed=True, position=command.last_position)
