"""The figures of a support case: its timeline measured in calendar time and in business time.

What each figure means is said in `domain.case_timeline` and in sections 2 to 4 of the metrics reference. Durations are
integer microseconds. Where there is no figure, there is a reason.

Business time is counted by one of three rules. `integrate`, the default, counts each instant by the calendar assigned
then, so that the times of the states add up to the whole. `pinned_at_start` counts all of an interval by the calendar
assigned when it began; `last_schedule` by the one assigned just before it ended, as Zendesk does.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from domain.business_time import Assignment, Schedule, integrate, last_schedule, pinned_at_start
from domain.case_events import Performer
from domain.case_status import ACTIVE, CaseStatus
from domain.case_timeline import (
    THE_BEGINNING,
    THE_END,
    CaseTimeline,
    FirstResponse,
    Reason,
    Span,
    StatusInterval,
    Turn,
    TurnOutcome,
)
from domain.clock import microseconds
from domain.service_calendar import CalendarId
from domain.values import immutable

WINDOW_DAYS: Final = 7
"""After how many days, of 24 hours, it counts as certain that a customer does not come back."""


_WITHIN_THE_WHOLE: Final = (*ACTIVE, CaseStatus.RESOLVED, CaseStatus.CLOSED)


class BusinessRule(StrEnum):
    """Which calendar counts, where a case was assigned several."""

    INTEGRATE = "integrate"
    PINNED_AT_START = "pinned_at_start"
    LAST_SCHEDULE = "last_schedule"


OTHER_RULES: Final = (BusinessRule.PINNED_AT_START, BusinessRule.LAST_SCHEDULE)
"""Those that are told beside the default one."""


@immutable
class Time:
    """How long something took. Business time is None (`no_calendar`) where no calendar was assigned for all of it."""

    calendar: int
    business: int | None
    by_other_rules: tuple[int | None, ...] = ()
    """Business time by each of `OTHER_RULES`; nothing where they make no difference."""

    def __add__(self, other: "Time") -> "Time":
        by_other_rules = [_sum(*both) for both in self._paired(other)]
        return _time(self.calendar + other.calendar, _sum(self.business, other.business), by_other_rules)

    def __sub__(self, other: "Time") -> "Time":
        by_other_rules = [_difference(*both) for both in self._paired(other)]
        return _time(self.calendar - other.calendar, _difference(self.business, other.business), by_other_rules)

    def _paired(self, other: "Time") -> Iterable[tuple[int | None, int | None]]:
        """Both times by each other rule, if they make a difference to one of them."""
        if not (self.by_other_rules or other.by_other_rules):
            return ()
        return zip(
            self.by_other_rules or (self.business,) * len(OTHER_RULES),
            other.by_other_rules or (other.business,) * len(OTHER_RULES),
            strict=True,
        )


def _time(calendar: int, business: int | None, by_other_rules: Sequence[int | None]) -> Time:
    """A time, with what other rules make of it where that is not the same."""
    differs = any(each != business for each in by_other_rules)
    return Time(calendar=calendar, business=business, by_other_rules=tuple(by_other_rules) if differs else ())


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _difference(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other


@immutable
class Figure:
    """A time, or the reason why there is none; `answered_live` stands beside a time of zero."""

    time: Time | None
    reason: Reason | None = None


@immutable
class Judgement:
    """Yes or no, or the reason why that cannot be told."""

    value: bool | None
    reason: Reason | None = None


@immutable
class CaseFigures:
    """What one case contributes to the figures, as of an instant."""

    whole: Time
    """From the opening until the case was last resolved, or ended otherwise, or until now."""
    states: Mapping[CaseStatus, Time]
    """For each state in which the case can be during the whole; together they are the whole.

    Only a source system goes on from closed, so that it counts in the whole.
    """
    requester_wait: Time
    """New, open and on hold."""
    agent_work: Time
    """New and open."""
    agent_wait: Time
    """Waiting on the customer."""
    illegitimate_pause: Time
    """Of that, while the customer waited for us."""
    first_response: Figure
    first_response_by_human: Figure
    first_response_zendesk: Figure
    next_responses: tuple[Figure, ...]
    """In the order of the timeline's turns."""
    next_responses_of_agents: tuple[Figure, ...]
    """The same without the time for which the case was on hold."""
    longest_next_response: Figure
    """By calendar time."""
    first_resolution: Figure
    full_resolution: Figure
    one_touch: Judgement
    first_contact_resolution: Judgement


class Measure:
    """Measures intervals of one case."""

    def __init__(
        self,
        timeline: CaseTimeline,
        calendars: Mapping[CalendarId, Schedule],
        rule: BusinessRule = BusinessRule.INTEGRATE,
    ) -> None:
        """`calendars` are the schedules of the calendars that the case was ever assigned, as they are known."""
        self._rule = rule
        self._assignments = [Assignment(since=since, calendar=calendars[one]) for since, one in timeline.calendars]
        self._measured: dict[tuple[datetime, datetime], Time] = {}
        self._schedule: Schedule | None = None
        self._others: tuple[Measure, ...] = ()
        if len(self._assignments) == 1 and timeline.opening.calendar_id is not None:
            # It counts from the beginning of time, so that no rule makes a difference.
            self._schedule = self._assignments[0].calendar
        elif self._assignments and rule is BusinessRule.INTEGRATE:
            self._schedule = integrate(self._assignments)
            self._others = tuple(Measure(timeline, calendars, other) for other in OTHER_RULES)
        self._has_gaps = self._schedule is None or not self._schedule.covers(THE_BEGINNING, THE_END)

    def between(self, start: datetime, end: datetime) -> Time:
        """How long it was from `start` until `end`."""
        time = self._measured.get((start, end))
        if time is None:
            calendar = microseconds(end) - microseconds(start)
            by_other_rules = [other.between(start, end).business for other in self._others]
            time = self._measured[start, end] = _time(calendar, self._business(start, end), by_other_rules)
        return time

    def without(self, spans: Iterable[Span], start: datetime, end: datetime) -> Time:
        """How long it was from `start` until `end` outside of these spans, by what counts for all of it."""
        parts = _outside(spans, start, end)
        calendar = sum(microseconds(ends) - microseconds(begins) for begins, ends in parts)
        by_other_rules = [other.business_in(parts, start, end) for other in self._others]
        return _time(calendar, self.business_in(parts, start, end), by_other_rules)

    def _business(self, start: datetime, end: datetime) -> int | None:
        return self.business_in([(start, end)], start, end)

    def business_in(self, parts: Iterable[tuple[datetime, datetime]], start: datetime, end: datetime) -> int | None:
        """Business time in parts of an interval."""
        if start == end:
            return 0
        schedule = self._schedule or self._schedule_of(start, end)
        if schedule is None or (self._has_gaps and not schedule.covers(start, end)):
            return None
        return sum(schedule.working_time(begins, ends) for begins, ends in parts)

    def _schedule_of(self, start: datetime, end: datetime) -> Schedule | None:
        """The schedule that counts for this interval only."""
        if not self._assignments:
            return None
        if self._rule is BusinessRule.PINNED_AT_START:
            return pinned_at_start(self._assignments, start)
        return last_schedule(self._assignments, end)

    def total(self, spans: Iterable[Span | StatusInterval], start: datetime, end: datetime) -> Time:
        """How long these were together, within [start, end)."""
        time = NO_TIME
        for span in spans:
            begins, ends = max(span.started_at, start), end if span.ended_at is None else min(span.ended_at, end)
            if begins < ends:
                time += self.between(begins, ends)
        return time


def _outside(spans: Iterable[Span], start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """What is left of an interval without these spans, which may overlap."""
    parts, since = [], start
    for span in sorted(spans, key=lambda one: one.started_at):
        if since < min(span.started_at, end):
            parts.append((since, min(span.started_at, end)))
        since = max(since, span.ended_at or end)
    return [*parts, (since, end)] if since < end else parts


NO_TIME: Final = Time(calendar=0, business=0)


def figures(timeline: CaseTimeline, measure: Measure, as_of: datetime, window_days: int = WINDOW_DAYS) -> CaseFigures:
    """The figures of a case as of an instant that is not before its last entry; what is running ends there."""
    end, window = timeline.ended_at or as_of, timedelta(days=window_days)
    states = state_times(timeline, measure, end)
    next_responses = tuple(next_response(turn, measure) for turn in timeline.turns)
    held = holds(timeline)
    return CaseFigures(
        whole=measure.between(timeline.opened_at, end),
        states=states,
        requester_wait=states[CaseStatus.NEW] + states[CaseStatus.OPEN] + states[CaseStatus.ON_HOLD],
        agent_work=states[CaseStatus.NEW] + states[CaseStatus.OPEN],
        agent_wait=states[CaseStatus.WAITING_ON_CUSTOMER],
        illegitimate_pause=measure.total(timeline.illegitimate_pauses, timeline.opened_at, end),
        first_response=first_response(timeline.first_response, measure),
        first_response_by_human=first_response(timeline.first_response_by_human, measure),
        first_response_zendesk=first_response(timeline.first_response_zendesk, measure),
        next_responses=next_responses,
        next_responses_of_agents=tuple(next_response_of_agents(turn, held, measure) for turn in timeline.turns),
        longest_next_response=longest(next_responses),
        first_resolution=_first_resolution(timeline, measure),
        full_resolution=_full_resolution(timeline, measure),
        one_touch=_judged(one_touch(timeline, window), timeline, as_of),
        first_contact_resolution=_judged(first_contact_resolution(timeline, window), timeline, as_of),
    )


def state_times(timeline: CaseTimeline, measure: Measure, end: datetime) -> dict[CaseStatus, Time]:
    """How long the case was in each state, from its opening until `end`."""
    intervals: dict[CaseStatus, list[StatusInterval]] = {status: [] for status in _WITHIN_THE_WHOLE}
    for one in timeline.intervals:
        if one.started_at < end:
            intervals[one.status].append(one)
    return {status: measure.total(some, timeline.opened_at, end) for status, some in intervals.items()}


def holds(timeline: CaseTimeline) -> tuple[Span, ...]:
    """When the case was on hold."""
    held = (one for one in timeline.intervals if one.status is CaseStatus.ON_HOLD)
    return tuple(Span(started_at=one.started_at, ended_at=one.ended_at) for one in held)


def first_response(response: FirstResponse, measure: Measure) -> Figure:
    """How long the customer waited for it."""
    if response.started_at is None or response.reply is None:
        return Figure(time=None, reason=response.reason)
    return Figure(time=measure.between(response.started_at, response.reply.at), reason=response.reason)


def next_response(turn: Turn, measure: Measure) -> Figure:
    """How long the customer waited for the reply that ended the turn."""
    if turn.ended_at is None or turn.outcome is not TurnOutcome.ANSWERED:
        return Figure(time=None, reason=_UNANSWERED[turn.outcome])
    live = Reason.ANSWERED_LIVE if turn.answered_live else None
    return Figure(time=measure.between(turn.started_at, turn.ended_at), reason=live)


def next_response_of_agents(turn: Turn, held: Iterable[Span], measure: Measure) -> Figure:
    """The same without the time for which the case was on hold in which the customer waited at that time."""
    figure = next_response(turn, measure)
    if figure.time is None or turn.ended_at is None:
        return figure
    here = turn.taken_over_at or turn.started_at
    held_here = [Span(started_at=max(one.started_at, here), ended_at=one.ended_at) for one in held if _lasts(one, here)]
    time = measure.without((*turn.earlier_holds, *held_here), turn.started_at, turn.ended_at)
    return Figure(time=time, reason=figure.reason)


def _lasts(span: Span, instant: datetime) -> bool:
    """Whether a span goes on beyond an instant."""
    return span.ended_at is None or span.ended_at > instant


def longest(responses: Iterable[Figure]) -> Figure:
    """The longest of a case's next responses, by calendar time."""
    times = [response.time for response in responses if response.time is not None]
    if not times:
        return Figure(time=None, reason=Reason.NO_TURN)
    return Figure(time=max(times, key=lambda time: time.calendar))


def _first_resolution(timeline: CaseTimeline, measure: Measure) -> Figure:
    if not timeline.resolutions:
        return Figure(time=None, reason=_ENDED.get(timeline.status, Reason.NOT_RESOLVED))
    return Figure(time=measure.between(timeline.opened_at, timeline.resolutions[0].at))


def _full_resolution(timeline: CaseTimeline, measure: Measure) -> Figure:
    if timeline.status in {CaseStatus.RESOLVED, CaseStatus.CLOSED}:
        return Figure(time=measure.between(timeline.opened_at, timeline.resolutions[-1].at))
    running = Reason.REOPENED if timeline.resolutions else Reason.NOT_RESOLVED
    return Figure(time=None, reason=_ENDED.get(timeline.status, running))


@immutable
class Verdict:
    """Yes or no, and the instant from which that is certain."""

    value: bool
    settled_at: datetime


def one_touch(timeline: CaseTimeline, window: timedelta) -> Verdict | None:
    """Whether the case was resolved with one public reply of a person, and not reopened within the window.

    A message to a customer who had not written yet replies to nothing, once the customer has. None while the case was
    never resolved. It counts at the first resolution.
    """
    if not timeline.resolutions:
        return None
    over = timeline.resolutions[0].at + window
    replies = [reply.at for reply in timeline.replies if reply.at < over]
    failed = _failed([*replies[1:], *_reopened_before(over, timeline)], timeline)
    is_answered = all(replies and replies[-1] >= message for message in timeline.customer_messages[:1])
    return failed or Verdict(value=len(replies) == 1 and is_answered, settled_at=over)


def first_contact_resolution(timeline: CaseTimeline, window: timedelta) -> Verdict | None:
    """Whether the case was resolved after one message of the customer, and no further one came within the window.

    What a program closed without a resolution was not resolved in the first contact. None while the case was never
    resolved, or where the customer never wrote. It counts at the first resolution.
    """
    if not timeline.resolutions or not timeline.customer_messages:
        return None
    first = timeline.resolutions[0]
    over = first.at + window
    messages = [message for message in timeline.customer_messages if message < over]
    follow_ups = [at for at, _ in timeline.follow_ups if at < over]
    given_up = [first.at] if first.resolution_code is None and first.by is Performer.AUTOMATION else []
    failed = _failed([*messages[1:], *follow_ups, *given_up, *_reopened_before(over, timeline)], timeline)
    return failed or Verdict(value=True, settled_at=over)


def reopened(timeline: CaseTimeline, window: timedelta) -> Verdict | None:
    """Whether the case went on within the window after a resolution; it counts at the first resolution.

    None while the case was never resolved.
    """
    if not timeline.resolutions:
        return None
    for one in timeline.resolutions:
        if one.reopened_at is not None and one.reopened_at < one.at + window:
            return Verdict(value=True, settled_at=one.reopened_at)
    return Verdict(value=False, settled_at=timeline.resolutions[-1].at + window)


def followed_up(timeline: CaseTimeline, window: timedelta) -> Verdict | None:
    """Whether the customer wrote within the window since the case was final, so that another one was opened.

    It is final when it is closed, or can no longer be reopened; until then it is too early to tell. It counts when the
    case was last resolved or closed; None unless it is.
    """
    if timeline.ended_at is None or timeline.status in _ENDED:
        return None
    final = [at for at in (timeline.closed_at, timeline.reopen_until) if at is not None]
    over = min(final) + window if final else THE_END
    followed = [at for at, _ in timeline.follow_ups if timeline.ended_at <= at < over]
    return Verdict(value=bool(followed), settled_at=min(followed, default=over))


def _failed(reasons: Sequence[datetime], timeline: CaseTimeline) -> Verdict | None:
    """No, since the first of these; what was before the first resolution is certain then."""
    return Verdict(value=False, settled_at=max(min(reasons), timeline.resolutions[0].at)) if reasons else None


def _reopened_before(instant: datetime, timeline: CaseTimeline) -> list[datetime]:
    reopened_at = timeline.resolutions[0].reopened_at
    return [reopened_at] if reopened_at is not None and reopened_at < instant else []


def _judged(verdict: Verdict | None, timeline: CaseTimeline, as_of: datetime) -> Judgement:
    if verdict is None:
        never = Reason.OUTBOUND if timeline.resolutions else _ENDED.get(timeline.status, Reason.NOT_RESOLVED)
        return Judgement(value=None, reason=never)
    if as_of < verdict.settled_at:
        return Judgement(value=None, reason=Reason.WINDOW_NOT_OVER)
    return Judgement(value=verdict.value)


_ENDED: Final = {
    CaseStatus.MERGED: Reason.MERGED,
    CaseStatus.WITHDRAWN: Reason.WITHDRAWN,
    CaseStatus.SPAM: Reason.SPAM,
}
_UNANSWERED: Final = {
    TurnOutcome.RUNNING: Reason.NO_REPLY_YET,
    TurnOutcome.NO_REPLY_NEEDED: Reason.NO_REPLY_NEEDED,
    TurnOutcome.MERGED: Reason.MERGED,
    TurnOutcome.WITHDRAWN: Reason.WITHDRAWN,
    TurnOutcome.SPAM: Reason.SPAM,
}
