"""What this process remembers of the log, and what one attempt at a batch sees of it."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from application.aggregates import Claim
from application.ports import Decision, Stream
from application.submissions import Submission


@dataclass(frozen=True, slots=True)
class Decided:
    """One submission with what was decided for it."""

    submission: Submission
    decision: Decision
    saw: Mapping[UUID, Stream]
    """The streams that the decision rests on, as they were then."""
    moved: Mapping[UUID, Stream]
    """The streams that it moves, as they will be after it."""
    version: int
    """Of the stream that the submission is addressed to."""


class Memory:
    """Streams, and the streams that claims lead to; of each what was not used for longest is forgotten.

    All of it may be behind the log: what a decision rests on is compared with the log at the append.
    """

    def __init__(self, *, streams_max: int, claims_max: int) -> None:
        self._streams_max = streams_max
        self._claims_max = claims_max
        self._streams: OrderedDict[UUID, Stream] = OrderedDict()
        self._holders: OrderedDict[Claim, UUID] = OrderedDict()

    def stream(self, stream: UUID) -> Stream | None:
        """The stream as it was when last heard of."""
        found = self._streams.get(stream)
        if found is not None:
            self._streams.move_to_end(stream)
        return found

    def holder(self, claim: Claim) -> UUID | None:
        """The stream that held the claim when last heard of."""
        found = self._holders.get(claim)
        if found is not None:
            self._holders.move_to_end(claim)
        return found

    def keep_stream(self, stream_id: UUID, stream: Stream) -> None:
        """Remember a stream."""
        self._streams[stream_id] = stream
        self._streams.move_to_end(stream_id)
        if len(self._streams) > self._streams_max:
            self._streams.popitem(last=False)

    def keep_holder(self, claim: Claim, stream: UUID) -> None:
        """Remember which stream a claim leads to."""
        self._holders[claim] = stream
        self._holders.move_to_end(claim)
        if len(self._holders) > self._claims_max:
            self._holders.popitem(last=False)

    def forget(self, streams: Iterable[UUID], claims: Iterable[Claim] = ()) -> None:
        """Forget streams that have moved, and which streams these claims lead to."""
        for stream in streams:
            self._streams.pop(stream, None)
        for claim in claims:
            self._holders.pop(claim, None)

    def clear(self) -> None:
        """Forget everything."""
        self._streams.clear()
        self._holders.clear()


class Sight:
    """What one attempt at a batch sees: the memory and what was fetched, moved by the decisions that stand before.

    What was seen once stays as it was seen, even if the memory lets go of it meanwhile: all decisions of one append
    have to rest on one version of each stream.
    """

    def __init__(self, memory: Memory, base: "Sight | None" = None) -> None:
        self._memory = memory
        self._base = base
        self.seen: dict[UUID, Stream] = base.seen if base else {}
        self.led: dict[Claim, UUID | None] = base.led if base else {}
        self.moved: dict[UUID, Stream] = dict(base.moved) if base else {}
        self.taken: dict[Claim, UUID] = dict(base.taken) if base else {}
        self.released: set[Claim] = set(base.released) if base else set()

    def stream(self, stream: UUID) -> Stream | None:
        """The stream, or None if it has to be fetched."""
        found = self.moved.get(stream) or self.seen.get(stream)
        if found is None:
            found = self._memory.stream(stream)
            if found is not None:
                self.seen[stream] = found
        return found

    def holder(self, claim: Claim) -> tuple[bool, UUID | None]:
        """Whether it is known which stream the claim leads to, and which."""
        if claim in self.taken:
            return True, self.taken[claim]
        if claim in self.released:
            return True, None
        if claim not in self.led:
            remembered = self._memory.holder(claim)
            if remembered is None:
                return False, None
            self.led[claim] = remembered
        return True, self.led[claim]

    def show(self, streams: Mapping[UUID, Stream], claims: Mapping[Claim, UUID | None]) -> None:
        """Take in what was fetched; what exists is remembered beyond this attempt."""
        self.seen.update(streams)
        self.led.update(claims)
        for stream_id, stream in streams.items():
            if stream.version:
                self._memory.keep_stream(stream_id, stream)
        for claim, holder in claims.items():
            if holder is not None:
                self._memory.keep_holder(claim, holder)

    def branch(self) -> "Sight":
        """The same sight for submissions that are stored together: they see each other before the batch sees them."""
        return Sight(self._memory, self)

    def is_own(self, stream: UUID) -> bool:
        """Whether this branch has moved the stream itself."""
        return self._base is not None and self.moved.get(stream) is not self._base.moved.get(stream)

    def has_own(self, claim: Claim) -> bool:
        """Whether this branch has taken the claim itself."""
        return self._base is not None and self.taken.get(claim) != self._base.taken.get(claim)

    def apply(self, decided: Iterable[Decided]) -> None:
        """See from now on what these decisions will have done."""
        for each in decided:
            self.moved.update(each.moved)
            for claim in each.decision.released:
                self.released.add(claim)
                self.taken.pop(claim, None)
            self.taken.update((new.claim, new.stream_id) for new in each.decision.claims)

    def still_holds(self, decided: Iterable[Decided]) -> bool:
        """Whether these decisions would see now what they saw: the same version of a stream may have come otherwise."""
        own: dict[UUID, Stream] = {}
        for each in decided:
            for stream_id, saw in each.saw.items():
                if saw.version and (own.get(stream_id) or self.stream(stream_id)) is not saw:
                    return False
            own.update(each.moved)
        return True

    def is_moved(self, streams: Iterable[UUID], claims: Iterable[Claim]) -> bool:
        """Whether a decision of this attempt moves one of these streams, takes or releases one of these claims."""
        return any(stream in self.moved for stream in streams) or any(
            claim in self.taken or claim in self.released for claim in claims
        )

    def clashes(self, decided: Iterable[Decided]) -> bool:
        """Whether one append cannot hold these beside what it has: a claim or its release occurs once."""
        return self.is_moved(
            (),
            (
                claim
                for each in decided
                for claim in (*(new.claim for new in each.decision.claims), *each.decision.released)
            ),
        )

    def remember(self) -> None:
        """Everything that was decided is stored now."""
        for stream_id, stream in self.moved.items():
            self._memory.keep_stream(stream_id, stream)
        self._memory.forget((), self.released)
        for claim, holder in self.taken.items():
            self._memory.keep_holder(claim, holder)
