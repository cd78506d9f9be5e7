"""The states of a support case, and what moves a case from one to another.

Rules

* At any instant a case is in exactly one state.
* `new` ends with the first assignment, reply, note or change of state by a person.
* A message of the customer ends waiting. It reopens a resolved case within the window that the resolution left for
  that; a hold goes on, because somebody else is waited for.
* Closed, merged, withdrawn and spam are final. Only a source system may have gone on from closed.
* Steps count in the order of their valid time, whenever they were recorded.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

from domain.case_events import ActorClass, CaseOpened
from domain.customer import Direction


class CaseStatus(StrEnum):
    """The state that a case is in."""

    NEW = "new"
    OPEN = "open"
    WAITING_ON_CUSTOMER = "waiting_on_customer"
    ON_HOLD = "on_hold"
    RESOLVED = "resolved"
    CLOSED = "closed"
    MERGED = "merged"
    WITHDRAWN = "withdrawn"
    SPAM = "spam"


class Step(StrEnum):
    """What may move a case from one state to another."""

    CUSTOMER_WROTE = "customer_wrote"
    PERSON_REPLIED = "person_replied"
    """In public."""
    PERSON_WORKED = "person_worked"
    """Assigned it or noted something."""
    WAIT = "wait"
    HOLD = "hold"
    RESUME = "resume"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    CLOSE = "close"
    MERGE = "merge"
    WITHDRAW = "withdraw"
    MARK_AS_SPAM = "mark_as_spam"


ACTIVE: Final = (CaseStatus.NEW, CaseStatus.OPEN, CaseStatus.WAITING_ON_CUSTOMER, CaseStatus.ON_HOLD)
"""The states in which somebody has yet to do something."""
_LEFT_BY_SOURCES: Final = (*ACTIVE, CaseStatus.RESOLVED, CaseStatus.CLOSED)


def _to(status: CaseStatus, *before: CaseStatus) -> Mapping[CaseStatus, CaseStatus]:
    return {each: status for each in before if each is not status}


_MOVES: Final[Mapping[Step, Mapping[CaseStatus, CaseStatus]]] = {
    Step.CUSTOMER_WROTE: _to(CaseStatus.OPEN, CaseStatus.WAITING_ON_CUSTOMER, CaseStatus.RESOLVED),
    Step.PERSON_REPLIED: _to(CaseStatus.OPEN, CaseStatus.NEW),
    Step.PERSON_WORKED: _to(CaseStatus.OPEN, CaseStatus.NEW),
    Step.WAIT: _to(CaseStatus.WAITING_ON_CUSTOMER, *_LEFT_BY_SOURCES),
    Step.HOLD: _to(CaseStatus.ON_HOLD, *_LEFT_BY_SOURCES),
    Step.RESUME: _to(CaseStatus.OPEN, *ACTIVE),
    Step.RESOLVE: _to(CaseStatus.RESOLVED, *ACTIVE),
    Step.REOPEN: _to(CaseStatus.OPEN, CaseStatus.RESOLVED, CaseStatus.CLOSED),
    Step.CLOSE: _to(CaseStatus.CLOSED, *ACTIVE, CaseStatus.RESOLVED),
    Step.MERGE: _to(CaseStatus.MERGED, *_LEFT_BY_SOURCES),
    Step.WITHDRAW: _to(CaseStatus.WITHDRAWN, *ACTIVE, CaseStatus.RESOLVED),
    Step.MARK_AS_SPAM: _to(CaseStatus.SPAM, *ACTIVE, CaseStatus.RESOLVED),
}
"""Where each step leads from which state; from any other it leads nowhere."""


class Course:
    """Where one case stands, while its steps are taken in the order of their valid time."""

    __slots__ = ("reopen_until", "status")

    def __init__(self) -> None:
        self.status = CaseStatus.NEW
        self.reopen_until: datetime | None = None
        """Until when, not included, the customer may reopen what is resolved by a message; None: until it is closed."""

    def take(self, step: Step, at: datetime, reopen_until: datetime | None = None) -> bool:
        """Take a step; whether it led to another state."""
        if step is Step.CUSTOMER_WROTE and self.is_beyond_window(at):
            return False
        status = _MOVES[step].get(self.status)
        if status is None:
            return False
        self.status = status
        if step is Step.RESOLVE:
            self.reopen_until = reopen_until
        elif status in ACTIVE:
            self.reopen_until = None
        return True

    def is_beyond_window(self, at: datetime) -> bool:
        """Whether the case is resolved and can no longer be reopened at this instant."""
        if self.status is not CaseStatus.RESOLVED:
            return False
        return self.reopen_until is not None and at >= self.reopen_until


def opening_steps(opened: CaseOpened) -> tuple[Step, ...]:
    """The steps that are taken by opening a case: somebody wrote, and perhaps was answered at once."""
    if opened.direction is Direction.INBOUND:
        return (Step.CUSTOMER_WROTE, Step.PERSON_REPLIED) if opened.answered_live else (Step.CUSTOMER_WROTE,)
    return _OPENED_BY_US.get(opened.opened_by, ())


_OPENED_BY_US: Final = {
    ActorClass.AGENT_PUBLIC: (Step.PERSON_REPLIED,),
    ActorClass.AGENT_INTERNAL: (Step.PERSON_WORKED,),
}
