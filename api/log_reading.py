"""What reads of the log share: what they ask it, which stream a path names, and which position a moment means."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol
from uuid import UUID

from pydantic import Field

from api.problems import INVALID_PARAMETER, MOMENT_IS_NOT_OVER, FieldError, Problem
from api.shapes import described
from api.submissions import is_reference
from application.aggregates import Aggregate
from application.epochs import EpochHistory
from application.ports import EventLog, RecordedEvent
from application.shapes import Instant

Position = Annotated[int, Field(ge=0, lt=2**63)]
Limit = Annotated[int, Field(ge=1, description="How many entries at most; how many there can be is a setting.")]


class ReadsLog(EventLog, Protocol):
    """The log, for those who read it."""

    async def head(self) -> int:
        """The last position; 0 while the log is empty."""
        ...

    async def feed(self, after: int, limit: int, types: Sequence[str] = ()) -> tuple[Sequence[RecordedEvent], int]:
        """Events after a position, and the position to go on after."""
        ...

    async def history(
        self, customer: UUID, after: int, limit: int, at_position: int | None = None
    ) -> Sequence[RecordedEvent]:
        """One customer's events over all streams."""
        ...

    async def stream(self, stream: UUID, after_version: int, limit: int) -> Sequence[RecordedEvent]:
        """One stream, from the version after this one."""
        ...

    async def events_at(self, positions: Sequence[int]) -> Sequence[RecordedEvent]:
        """The events at these positions."""
        ...

    async def epochs(self) -> EpochHistory:
        """The epochs of the log."""
        ...

    async def position_at(self, moment: datetime) -> int:
        """The last position that was recorded at or before a moment."""
        ...


# Fields that are inherited are documented here, where whoever inherits them finds it.
KnownAt = Annotated[Instant | None, Field(description="What was known at this moment, which must be over.")]
AtPosition = Annotated[Position | None, Field(description="What was known at this position of the log.")]
MinPosition = Annotated[
    Position | None,
    Field(description="Wait until the answer has come to this position, as the answer to a command says it."),
]


@described
class AsKnown:
    """Of which moment an answer should be; without either: of now."""

    known_at: KnownAt = None
    at_position: AtPosition = None


async def position_of(asked: AsKnown, log: ReadsLog, now: datetime) -> int | None:
    """The position that an answer should be of; None for now. Raises a `Problem` for what is not over yet."""
    if asked.known_at is not None and asked.at_position is not None:
        raise wrong_parameter(parameter="known_at", detail="only one of known_at and at_position is given")
    if asked.known_at is not None:
        if asked.known_at >= now:
            raise Problem(MOMENT_IS_NOT_OVER, errors=[FieldError(parameter="known_at", detail=MOMENT_IS_NOT_OVER.rule)])
        return await log.position_at(asked.known_at)
    if asked.at_position is not None:
        await refuse_beyond(asked.at_position, "at_position", log)
    return asked.at_position


async def refuse_beyond(position: int, parameter: str, log: ReadsLog) -> None:
    """Refuse a position that the log has not come to: what comes there can still be anything."""
    head = await log.head()
    if position > head:
        raise wrong_parameter(parameter=parameter, detail=f"the log has come to position {head}")


async def stream_named(reference: str, aggregate: Aggregate[Any], log: EventLog) -> UUID:
    """The id of the stream that a path names, by our id or as `source:identifier`.

    Whether there is such a stream at all is not looked up for our own ids. Raises the aggregate's `not_found`.
    """
    if not is_reference(reference):
        raise aggregate.not_found
    source, colon, identifier = reference.partition(":")
    if colon:
        claim = aggregate.reference(source, identifier)
        holder = (await log.holders([claim])).get(claim)
        if holder is None:
            raise aggregate.not_found
        return holder
    try:
        return UUID(reference)
    except ValueError:
        raise aggregate.not_found from None


async def refuse_absent(stream: UUID, aggregate: Aggregate[Any], log: EventLog) -> None:
    """Raise the aggregate's `not_found` if there is no stream of its kind with this id."""
    found = (await log.load([stream])).get(stream)
    if found is None or not isinstance(found.state, aggregate.state):
        raise aggregate.not_found


def page_size(asked: int | None, usual: int, most: int) -> int:
    """How many entries a page has. Raises a `Problem` for more than the settings allow."""
    if asked is not None and asked > most:
        raise wrong_parameter(parameter="limit", detail=f"a page has at most {most} entries")
    return asked or usual


def wrong_parameter(*, parameter: str, detail: str) -> Problem:
    """The problem with one parameter."""
    return Problem(INVALID_PARAMETER, errors=[FieldError(parameter=parameter, detail=detail)])
