"""Case timelines: what happened to a support case when, and the figures that follow from it.

A *timeline* holds instants only: who waited from when until when, and why no time can be told where none can. It is
made of the case's entries in the order of their valid time (of equal ones, of the log), so that it does not matter when
something was recorded: `domain.case_reading` does that. *Figures* measure a timeline in calendar time and in business
time: `domain.case_figures` does that.

Rules

* The intervals of the states follow each other without a gap. The whole of a case is from its opening until it was last
  resolved, or ended otherwise, or until now; in the whole counts the time for which it was resolved in between.
* First response: from the first message of the customer until the first public reply of a person after it, once for
  each case. A call or chat that a person takes at once starts and stops it. Where we made contact, it begins with the
  customer's first message; a case that was split off has waited since the message that it was split off for.
* The first response by a human begins where a bot handed off, or where the customer reopened what a bot had resolved;
  a reopening by anybody else begins nothing.
* Next response: a turn begins with the oldest message of the customer that a person has not replied to in public, and
  ends with the reply. The first turn is that of the first response. A resolution ends a turn without a reply. A message
  that is marked as needing no reply begins no turn.
* Closing what was not resolved counts as a resolution. A full resolution stands while the case is resolved or closed.
* Waiting for the customer is an illegitimate pause while no person has replied in public since the customer last wrote.
* When a case is merged into another one, what the customer waits for goes on there with its original start: the next
  public reply of a person there ends it. A first response that is awaited stays in the figures of the merged case.
  A case that waits for the customer is open again when one is merged into it in which the customer wrote last.
* Business time is counted by the calendar that is assigned to the case at each instant; the calendar that a case was
  opened with counts for what was before. Where there is none, there is no business time.

Definitions are those of sections 1 to 4 and 9 of the metrics reference. Durations are integer microseconds.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Protocol

from domain.case_events import (
    CaseId,
    CaseOpened,
    MessageId,
    Performer,
    Priority,
    SatisfactionRequested,
    SatisfactionScale,
    SupportCaseEvent,
)
from domain.case_status import CaseStatus
from domain.service_calendar import CalendarId
from domain.team import TeamId
from domain.values import CustomerId, ProductId, StaffId, immutable

THE_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
THE_END: Final = datetime.max.replace(tzinfo=UTC)
"""Of time."""


class Reason(StrEnum):
    """Why there is no figure; `answered_live` stands beside a figure of zero."""

    ANSWERED_LIVE = "answered_live"
    NO_REPLY_YET = "no_reply_yet"
    OUTBOUND = "outbound"
    """Only we made contact so far."""
    NO_REPLY_NEEDED = "no_reply_needed"
    RESOLVED_WITHOUT_REPLY = "resolved_without_reply"
    NOT_RESOLVED = "not_resolved"
    REOPENED = "reopened"
    MERGED = "merged"
    WITHDRAWN = "withdrawn"
    SPAM = "spam"
    NO_TURN = "no_turn"
    """No turn has been answered."""
    WINDOW_NOT_OVER = "window_not_over"
    """It is too early to tell whether the customer comes back."""
    NO_CALENDAR = "no_calendar"
    """There is no business time: no calendar was assigned for all of it."""


class TurnOutcome(StrEnum):
    """How a turn ended, if it did."""

    RUNNING = "running"
    ANSWERED = "answered"
    NO_REPLY_NEEDED = "no_reply_needed"
    """The case was resolved without a reply."""
    MERGED = "merged"
    """It goes on in the case that this one was merged into."""
    WITHDRAWN = "withdrawn"
    SPAM = "spam"


class CaseEntry(Protocol):
    """One event of a case with its place: what was recorded of it in the log, or stands in a file."""

    @property
    def event(self) -> SupportCaseEvent:
        """What happened."""
        ...

    @property
    def occurred_at(self) -> datetime:
        """When it happened."""
        ...

    @property
    def position(self) -> int:
        """Its place in the order of recording."""
        ...


@immutable
class Span:
    """From an instant until another one, or still running."""

    started_at: datetime
    ended_at: datetime | None


@immutable
class StatusInterval:
    """The case was in a state, from the event at `position` on; the last interval has no end."""

    status: CaseStatus
    started_at: datetime
    ended_at: datetime | None
    position: int


@immutable
class Reply:
    """A person answered the customer: `staff_id`, while the case belonged to `team_id`."""

    at: datetime
    position: int
    staff_id: StaffId | None
    team_id: TeamId | None


@immutable
class FirstResponse:
    """From when until when the customer waited for a first response, and which events say so."""

    started_at: datetime | None = None
    started_by: int | None = None
    reply: Reply | None = None
    reason: Reason | None = None


@immutable
class Turn:
    """The customer waited for a next response, since the message that began the turn.

    Where it began in a case that was merged into this one, `taken_over_at` is when it came here; `earlier_holds` are
    those of the cases in which it was before, while it was there. `replaced` are turns that ran here until then and
    began later.
    """

    message_id: MessageId
    started_at: datetime
    started_by: int
    ended_at: datetime | None
    ended_by: int | None
    outcome: TurnOutcome
    answered_live: bool = False
    staff_id: StaffId | None = None
    team_id: TeamId | None = None
    earlier_holds: tuple[Span, ...] = ()
    taken_over_at: datetime | None = None
    replaced: tuple["ReplacedTurn", ...] = ()


@immutable
class ReplacedTurn:
    """The customer waited in this case since a message, from an instant until an earlier wait was merged into it."""

    started_at: datetime
    started_by: int
    runs_from: datetime
    runs_until: datetime


@immutable
class TakenOverWait:
    """A case that was merged into this one waits for the same first response, since a message of its own."""

    since: datetime
    position: int
    taken_over_at: datetime


@immutable
class Resolution:
    """What the customer wanted was done, until the case was reopened; without a code it was closed right away."""

    at: datetime
    position: int
    by: Performer
    resolution_code: str | None
    reopened_at: datetime | None = None
    reopened_by: int | None = None


@immutable
class Profile:
    """By what a case is counted, from an instant on."""

    since: datetime
    customer_id: CustomerId | None
    priority: Priority
    category: str | None
    product_id: ProductId | None
    root_cause: str | None
    team_id: TeamId | None
    assignee_id: StaffId | None


@immutable
class SatisfactionAnswer:
    """A customer's answer; of two answers to one invitation the first one counts, and the others amend it."""

    at: datetime
    position: int
    invitation: str
    scale: SatisfactionScale
    score: int
    amends: bool


@immutable
class CaseTimeline:
    """What happened to one case when; it stays the same for as long as no more is known."""

    opening: CaseOpened
    opened_at: datetime
    opened_by: int
    """The position of the opening."""
    status: CaseStatus
    ended_at: datetime | None
    """When the case was last resolved, or ended otherwise; None while somebody has yet to do something."""
    intervals: tuple[StatusInterval, ...]
    profiles: tuple[Profile, ...]
    calendars: tuple[tuple[datetime, CalendarId], ...]
    first_response: FirstResponse
    first_response_by_human: FirstResponse
    first_response_zendesk: FirstResponse
    turns: tuple[Turn, ...]
    taken_over_waits: tuple[TakenOverWait, ...]
    resolutions: tuple[Resolution, ...]
    illegitimate_pauses: tuple[Span, ...]
    customer_messages: tuple[datetime, ...]
    replies: tuple[Reply, ...]
    """Of persons."""
    reopen_until: datetime | None
    """Until when the customer may reopen the case, or might have, where its last resolution says so."""
    closed_at: datetime | None
    closed_by: Performer | None
    merged_into: CaseId | None
    merged_at: datetime | None
    merged_by: int | None
    """The position of the merge."""
    awaited_elsewhere: tuple[Span, ...]
    """While its first response was awaited in the case that it goes on in, and that one was active."""
    follow_ups: tuple[tuple[datetime, CaseId], ...]
    split_off: tuple[CaseId, ...]
    invitations: tuple[tuple[datetime, SatisfactionRequested], ...]
    answers: tuple[SatisfactionAnswer, ...]
    late_recorded: int
    """How many messages were recorded after something that happened later."""

    @property
    def reopen_count(self) -> int:
        """How often the case went on after it was resolved."""
        return sum(resolution.reopened_at is not None for resolution in self.resolutions)

    @property
    def resolved_again_count(self) -> int:
        """How often the case was resolved after the first time."""
        return max(len(self.resolutions) - 1, 0)

    @property
    def closed_by_automation(self) -> bool:
        """Whether a program closed the case, such as for inactivity."""
        return self.closed_by is Performer.AUTOMATION

    @property
    def resolved_by_automation(self) -> bool:
        """Whether the last resolution was that of a bot."""
        return bool(self.resolutions) and self.resolutions[-1].by is Performer.AUTOMATION

    def profile_at(self, instant: datetime) -> Profile:
        """By what the case is counted at an instant; before its opening, as at its opening."""
        for profile in reversed(self.profiles):
            if profile.since <= instant:
                return profile
        return self.profiles[0]
