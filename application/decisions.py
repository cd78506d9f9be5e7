"""Deciding one command on streams that are at hand: the unit of work that handlers are given.

Nothing here waits. A handler that asks for what is not at hand yet ends with `Missing`, which says what to fetch, and
is run again.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar
from uuid import UUID

from application.aggregates import Aggregate, Claim
from application.ports import Decision, NewClaim, NewEvent, Stream
from application.submissions import StreamHasMoved, Submission
from application.unit_of_work import Metadata, ReferenceNotFound
from domain.errors import Refusal

State = TypeVar("State")


class Missing(Exception):  # noqa: N818 - it asks for something, nothing went wrong
    """The decision needs these streams, or the holders of these claims, before it can be taken."""

    def __init__(self, streams: Iterable[UUID] = (), claims: Iterable[Claim] = ()) -> None:
        super().__init__()
        self.streams = tuple(streams)
        self.claims = tuple(claims)


class View(Protocol):
    """The streams and claims at hand, as the commands before this one have moved them."""

    def stream(self, stream: UUID) -> Stream | None:
        """The stream, or None if it has to be fetched."""
        ...

    def holder(self, claim: Claim) -> tuple[bool, UUID | None]:
        """Whether it is known who holds the claim, and who."""
        ...


class DecisionUnitOfWork:
    """The unit of work of one run of one handler."""

    def __init__(
        self, submission: Submission, view: View, new_id: Callable[[], UUID], *, reporting_currency: str
    ) -> None:
        self.metadata: Metadata = submission.metadata
        self.reporting_currency = reporting_currency
        self.new_id = new_id
        self._aggregate = submission.definition.aggregate
        self._view = view
        self._streams: dict[UUID, Stream] = {}
        self._saw: dict[UUID, Stream] = {}
        self._resolved: dict[Claim, UUID | None] = {}
        self._events: list[NewEvent] = []
        self._claims: list[NewClaim] = []
        self._released: list[Claim] = []
        self._submission = submission
        self.target_id = new_id()

    def decide(self) -> None:
        """Find the target and run the handler. Raises `Missing` or a `Refusal`."""
        definition = self._submission.definition
        if definition.creates:
            self._begin(self.target_id)
        else:
            self.target_id = self._target(self._submission)
        definition.handler(self._submission.command, self)

    def _target(self, submission: Submission) -> UUID:
        aggregate = self._aggregate
        if submission.target is None:
            raise aggregate.not_found
        target_id = self._resolve(aggregate, submission.target)
        if target_id is None:
            raise aggregate.not_found
        stream = self._stream(aggregate, target_id)
        if stream.state is None:
            raise aggregate.not_found
        if submission.expected_version is not None and submission.expected_version != stream.version:
            raise StreamHasMoved(current_version=stream.version)
        return target_id

    def target(self, aggregate: Aggregate[State]) -> State:
        """See `UnitOfWork.target`."""
        state: State | None = self._stream(aggregate, self.target_id).state
        if state is None:
            raise aggregate.not_found
        return state

    def read(self, aggregate: Aggregate[State], reference: str, *, pointer: str) -> tuple[UUID, State]:
        """See `UnitOfWork.read`."""
        return self.read_all(aggregate, [reference], pointer=pointer)[0]

    def read_all(self, aggregate: Aggregate[State], references: list[str], *, pointer: str) -> list[tuple[UUID, State]]:
        """See `UnitOfWork.read_all`."""
        ids = self._resolve_all(aggregate, references)
        for index, stream_id in enumerate(ids):
            if stream_id is None:
                raise ReferenceNotFound(pointer=pointer.format(index=index))
        found = [stream_id for stream_id in ids if stream_id is not None]
        absent = dict.fromkeys(i for i in found if i not in self._streams and self._view.stream(i) is None)
        if absent:
            raise Missing(streams=absent)
        result = []
        for index, stream_id in enumerate(found):
            state: State | None = self._stream(aggregate, stream_id).state
            if state is None:
                raise ReferenceNotFound(pointer=pointer.format(index=index))
            result.append((stream_id, state))
        return result

    def record(self, *events: Any, customer_id: UUID | None = None) -> None:
        """See `UnitOfWork.record`."""
        self.record_in(self._aggregate, self.target_id, *events, customer_id=customer_id)

    def record_in(self, aggregate: Aggregate[Any], stream: UUID, *events: Any, customer_id: UUID | None = None) -> None:
        """See `UnitOfWork.record_in`."""
        version, state = self._stream(aggregate, stream).version, self._streams[stream].state
        for event in events:
            version += 1
            state = aggregate.evolve(state, event)
            self._events.append(NewEvent(stream, version, event, customer_id))
        self._streams[stream] = Stream(version, state)

    def begin(self) -> UUID:
        """See `UnitOfWork.begin`."""
        stream = self.new_id()
        self._begin(stream)
        return stream

    def claim(
        self,
        claim: Claim,
        refusal: type[Refusal],
        *,
        subject: UUID | None = None,
        pointer: str = "",
        stream: UUID | None = None,
    ) -> None:
        """See `UnitOfWork.claim`."""
        answer = refusal(pointer=pointer or None)
        if any(taken.claim == claim for taken in self._claims):
            raise answer
        self._claims.append(NewClaim(claim, stream or self.target_id, answer, subject))

    def release(self, claim: Claim) -> None:
        """See `UnitOfWork.release`."""
        self._released.append(claim)

    @property
    def saw(self) -> Mapping[UUID, Stream]:
        """Every stream seen so far, as it was before this command."""
        return self._saw

    @property
    def resolved(self) -> Mapping[Claim, UUID | None]:
        """Every claim followed so far, with the stream that it led to."""
        return self._resolved

    @property
    def claims(self) -> Iterable[Claim]:
        """The claims to be taken so far."""
        return (new.claim for new in self._claims)

    def decision(self, digest: bytes) -> tuple[Decision, Mapping[UUID, Stream]]:
        """What was decided, and the streams that it moves as they will be then."""
        moved = {event.stream_id: self._streams[event.stream_id] for event in self._events}
        decision = Decision(
            key=self._submission.key,
            digest=digest,
            metadata=self.metadata,
            target_id=self.target_id,
            events=tuple(self._events),
            reads={stream_id: stream.version for stream_id, stream in self._saw.items()},
            followed={claim: holder for claim, holder in self._resolved.items() if holder is not None},
            claims=tuple(self._claims),
            released=tuple(self._released),
            credential_id=self._submission.credential_id,
        )
        return decision, moved

    def version(self) -> int:
        """The version of the target's stream after the decision."""
        return self._streams[self.target_id].version

    def _begin(self, stream: UUID) -> None:
        self._streams[stream] = self._saw[stream] = Stream(0, None)

    def _stream(self, aggregate: Aggregate[Any], stream_id: UUID) -> Stream:
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._view.stream(stream_id)
            if stream is None:
                raise Missing(streams=[stream_id])
            self._streams[stream_id] = self._saw[stream_id] = stream
        if stream.state is not None and not isinstance(stream.state, aggregate.state):
            # The id is that of a stream of another kind: of this kind there is none.
            return Stream(0, None)
        return stream

    def _resolve(self, aggregate: Aggregate[Any], reference: str) -> UUID | None:
        return self._resolve_all(aggregate, [reference])[0]

    def _resolve_all(self, aggregate: Aggregate[Any], references: list[str]) -> list[UUID | None]:
        found: list[UUID | None] = []
        unknown: dict[Claim, None] = {}
        for reference in references:
            source, colon, identifier = reference.partition(":")
            if not colon:
                found.append(_uuid(reference))
                continue
            claim = aggregate.reference(source, identifier)
            known, holder = self._view.holder(claim)
            if known:
                self._resolved[claim] = holder
            else:
                unknown[claim] = None
            found.append(holder)
        if unknown:
            raise Missing(claims=unknown)
        return found


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
