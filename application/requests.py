"""Requests: submissions that wait, alone or together, for their outcomes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias
from uuid import UUID

from application.aggregates import Claim
from application.decisions import DecisionUnitOfWork
from application.memory import Decided, Sight
from application.ports import Stream
from application.submissions import AnotherCommandWasRefused, Answer, Submission
from domain.errors import Refusal

Outcome: TypeAlias = Answer | Refusal


def refused_together(submissions: Sequence[Submission], place: int, refusal: Refusal) -> list[Outcome]:
    """The outcomes of submissions that were to be stored together, when the one at a place is refused."""
    return [refusal if i == place else AnotherCommandWasRefused(command=place + 1) for i in range(len(submissions))]


@dataclass(slots=True, eq=False)
class Request:
    """Submissions that are stored together or not at all; mostly there is one. No key occurs in it twice."""

    submissions: tuple[Submission, ...]
    answered: asyncio.Future[list[Outcome]]
    decided: list[Decided] | None = None
    noted: dict[int, Outcome] = field(default_factory=dict)
    """Outcomes, by place in the request, that need no append and are given together with those that do."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """What is certain already, by place in the request; the rest is still to be decided."""

    goes_first: bool = False
    """It was about to be refused for something that rests on neighbours: they have to be stored before it."""

    def open(self) -> list[tuple[int, Submission]]:
        """The submissions that have no outcome yet, with their places."""
        return [(i, s) for i, s in enumerate(self.submissions) if i not in self.outcomes]

    def answer(self) -> None:
        """Give the waiter its outcomes; one that has gone is skipped."""
        if not self.answered.done():
            self.answered.set_result([self.outcomes[i] for i in range(len(self.submissions))])

    def refuse(self, place: int, refusal: Refusal) -> None:
        """Refuse one submission, and with it all that were to be stored together with it."""
        refused = refused_together(self.submissions, place, refusal)
        self.outcomes.update((i, refused[i]) for i, _ in self.open())
        self.answer()

    def fail(self, error: BaseException) -> None:
        """Tell the waiter that there is no outcome."""
        self.decided = None
        if not self.answered.done():
            self.answered.set_exception(error)


@dataclass(frozen=True, slots=True)
class Footing:
    """What the decisions of a request rest on, as far as they did not bring it about themselves."""

    saw: dict[UUID, Stream] = field(default_factory=dict)
    resolved: dict[Claim, UUID | None] = field(default_factory=dict)
    tried: set[Claim] = field(default_factory=set)
    """Claims that were to be taken; only a dry run rests on them being free."""

    def add(self, work: DecisionUnitOfWork, own: Sight) -> None:
        """Take in what one run of a handler saw."""
        self.saw.update((stream_id, stream) for stream_id, stream in work.saw.items() if not own.is_own(stream_id))
        self.resolved.update((claim, holder) for claim, holder in work.resolved.items() if not own.has_own(claim))
        self.tried.update(work.claims)

    def is_moved(self, sight: Sight) -> bool:
        """Whether decisions that stand before will change it."""
        return sight.is_moved(self.saw, (*self.resolved, *self.tried))

    def vouched_for_by(self, decided: Decided) -> Decided:
        """A decision that is only good if all of this holds: what is only noted has none of its own in the append."""
        reads = {stream_id: stream.version for stream_id, stream in self.saw.items()}
        followed = {claim: holder for claim, holder in self.resolved.items() if holder is not None}
        decision = replace(
            decided.decision,
            reads={**reads, **decided.decision.reads},
            followed={**followed, **decided.decision.followed},
        )
        return replace(decided, decision=decision, saw={**self.saw, **decided.saw})


@dataclass(frozen=True, slots=True)
class Undecided:
    """A request that needs no append: what it rests on, and what it will be answered if that proves to be the truth."""

    request: Request
    footing: Footing
    outcomes: Mapping[int, Outcome]

    def settle(self) -> None:
        """Give these outcomes: they have been proved."""
        for place, outcome in self.outcomes.items():
            if isinstance(outcome, Refusal):
                self.request.refuse(place, outcome)
            else:
                self.request.outcomes[place] = outcome
        self.request.answer()
