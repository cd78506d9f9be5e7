"""Facts of a support case: what it contributes to statistics, each at the instant at which it counts.

Rules

* A time counts at the instant at which its clock stopped, a judgement when the case was first resolved, an answer when
  it was given. It counts for the priority, category, product, team and assignee that the case had then.
* A response counts for the person who gave it, and for the team that the case belonged to.
* Whose case it is, is the same for all of its facts, whenever it was said.
* Where a clock will not stop any more, a fact has a reason instead of a time: it counts when the case ended, or, where
  nobody waited, at the opening.
* A reopening, and a resolution after the first one, counts when it happened.
* What is still running is no fact: `domain.case_phases` tells of it.
* Reopenings, replies and messages within seven days of the first resolution count in judgements, later ones do not;
  follow-up cases within seven days since the case is final.

Definitions are those of sections 1 to 4 and 9 of the metrics reference. Durations are integer microseconds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from domain.case_events import Performer, Priority, SatisfactionScale
from domain.case_figures import (
    WINDOW_DAYS,
    Measure,
    Time,
    Verdict,
    first_contact_resolution,
    first_response,
    followed_up,
    holds,
    longest,
    next_response,
    next_response_of_agents,
    one_touch,
    reopened,
    state_times,
)
from domain.case_status import CaseStatus
from domain.case_timeline import THE_BEGINNING, CaseTimeline, FirstResponse, Reason, Span, Turn, TurnOutcome
from domain.team import TeamId
from domain.values import CustomerId, ProductId, StaffId

_WINDOW: Final = timedelta(days=WINDOW_DAYS)


class FactName(StrEnum):
    """What is told of a case."""

    # Times
    FIRST_RESPONSE = "first_response"
    FIRST_RESPONSE_BY_HUMAN = "first_response_by_human"
    FIRST_RESPONSE_ZENDESK = "first_response_zendesk"
    NEXT_RESPONSE = "next_response"
    NEXT_RESPONSE_OF_AGENTS = "next_response_of_agents"
    LONGEST_NEXT_RESPONSE = "longest_next_response"
    FIRST_RESOLUTION = "first_resolution"
    FULL_RESOLUTION = "full_resolution"
    TIME_NEW = "time_new"
    TIME_OPEN = "time_open"
    TIME_WAITING_ON_CUSTOMER = "time_waiting_on_customer"
    TIME_ON_HOLD = "time_on_hold"
    TIME_RESOLVED = "time_resolved"
    REQUESTER_WAIT = "requester_wait"
    AGENT_WORK = "agent_work"
    ILLEGITIMATE_PAUSE = "illegitimate_pause"
    # Judgements
    ONE_TOUCH = "one_touch"
    FIRST_CONTACT_RESOLUTION = "first_contact_resolution"
    REOPENED = "reopened"
    FOLLOWED_UP = "followed_up"
    CLOSED_BY_AUTOMATION = "closed_by_automation"
    ANSWERED = "answered"


class FactKind(StrEnum):
    """What stopped the clocks of a fact."""

    FIRST_RESPONSE = "first_response"
    ZENDESK_RESPONSE = "zendesk_response"
    """The same as Zendesk counts it, so that another reply may have stopped it."""
    NEXT_RESPONSE = "next_response"
    """The end of a turn."""
    RESOLUTION = "resolution"
    """The first one, or what ended a case that never was resolved."""
    REOPENING = "reopening"
    FURTHER_RESOLUTION = "further_resolution"
    """One after the first."""
    ENDING = "ending"
    """The last resolution, or what else ended the case; it is no fact any more when the case goes on."""
    CLOSING = "closing"
    INVITATION = "invitation"
    """To say how satisfied the customer is."""
    ANSWER = "answer"
    """The first one to an invitation."""


_FIRST_RESPONSES: Final = (FactKind.FIRST_RESPONSE, FactKind.ZENDESK_RESPONSE)
TIMES_OF: Final[Mapping[FactKind, tuple[FactName, ...]]] = {
    FactKind.FIRST_RESPONSE: (FactName.FIRST_RESPONSE, FactName.FIRST_RESPONSE_BY_HUMAN),
    FactKind.ZENDESK_RESPONSE: (FactName.FIRST_RESPONSE_ZENDESK,),
    FactKind.NEXT_RESPONSE: (FactName.NEXT_RESPONSE, FactName.NEXT_RESPONSE_OF_AGENTS),
    FactKind.RESOLUTION: (FactName.FIRST_RESOLUTION,),
    FactKind.ENDING: (
        FactName.FULL_RESOLUTION,
        FactName.TIME_NEW,
        FactName.TIME_OPEN,
        FactName.TIME_WAITING_ON_CUSTOMER,
        FactName.TIME_ON_HOLD,
        FactName.TIME_RESOLVED,
        FactName.REQUESTER_WAIT,
        FactName.AGENT_WORK,
        FactName.ILLEGITIMATE_PAUSE,
        FactName.LONGEST_NEXT_RESPONSE,
    ),
}
"""The times that a fact of each kind has, in their order."""
JUDGEMENTS_OF: Final[Mapping[FactKind, tuple[FactName, ...]]] = {
    FactKind.RESOLUTION: (FactName.ONE_TOUCH, FactName.FIRST_CONTACT_RESOLUTION, FactName.REOPENED),
    FactKind.ENDING: (FactName.FOLLOWED_UP,),
    FactKind.CLOSING: (FactName.CLOSED_BY_AUTOMATION,),
    FactKind.INVITATION: (FactName.ANSWERED,),
}
"""What is judged by a fact of each kind, in its order."""
TIMES: Final = tuple(name for names in TIMES_OF.values() for name in names)
"""All that is measured."""


class CountedBy(NamedTuple):
    """By what a fact, or a phase, is counted, beside the kind and the channel of its case."""

    customer_id: CustomerId | None
    priority: Priority
    category: str | None
    product_id: ProductId | None
    team_id: TeamId | None
    staff_id: StaffId | None


class CaseFact(NamedTuple):
    """Something that counts: a tuple, as there are several of each case, and they are compared after each event."""

    kind: FactKind
    number: int
    """Which one of its kind in the case, from 0."""
    at: datetime
    """The instant at which it counts."""
    started_by: int
    """Position of the event that started its clocks."""
    ended_by: int
    """Position of the event that stopped them."""
    counted_by: CountedBy
    times: tuple[Time | None, ...] = ()
    """As `TIMES_OF` says; None where there is none."""
    judgements: tuple[Verdict | None, ...] = ()
    """As `JUDGEMENTS_OF` says; None where it cannot be judged."""
    reason: Reason | None = None
    """Why there are no times; `answered_live` stands beside times of zero."""
    scale: SatisfactionScale | None = None
    score: int | None = None

    def stays(self, since: datetime) -> bool:
        """Whether no event from this instant on changes it: a reply stopped its clocks before, or its turn ended."""
        if self.kind is FactKind.NEXT_RESPONSE:
            return self.at < since
        return self.kind in _FIRST_RESPONSES and self.times[0] is not None and self.at < since


class _Stop(NamedTuple):
    """Where a clock stopped: when, from which event to which, and what the case was then."""

    at: datetime
    started_by: int
    ended_by: int
    counted_by: CountedBy


def case_facts(timeline: CaseTimeline, measure: Measure, since: datetime = THE_BEGINNING) -> Iterator[CaseFact]:
    """Everything that counts of a case, as it is known; from `since` on, without what stays as it is."""
    yield from _first_responses(timeline, measure, since)
    yield from _next_responses(timeline, measure, since)
    yield from _resolutions(timeline, measure)
    if timeline.ended_at is not None:
        yield _ending(timeline, measure, timeline.ended_at)
    if timeline.closed_at is not None:
        by_automation = Verdict(value=timeline.closed_by is Performer.AUTOMATION, settled_at=timeline.closed_at)
        yield CaseFact(FactKind.CLOSING, 0, *_stop(timeline, timeline.closed_at), judgements=(by_automation,))
    if timeline.invitations:
        yield from _satisfaction(timeline)


def _first_responses(timeline: CaseTimeline, measure: Measure, since: datetime) -> Iterator[CaseFact]:
    total = timeline.first_response
    if _has_stopped(total, since):
        of_all, by_human = (first_response(each, measure) for each in (total, timeline.first_response_by_human))
        times, stop = (of_all.time, by_human.time), _stop_of_first_response(timeline, total)
        yield CaseFact(FactKind.FIRST_RESPONSE, 0, *stop, times, reason=of_all.reason)
    zendesk = timeline.first_response_zendesk
    if _has_stopped(zendesk, since):
        figure, stop = first_response(zendesk, measure), _stop_of_first_response(timeline, zendesk)
        yield CaseFact(FactKind.ZENDESK_RESPONSE, 0, *stop, (figure.time,), reason=figure.reason)


def _next_responses(timeline: CaseTimeline, measure: Measure, since: datetime) -> Iterator[CaseFact]:
    held: tuple[Span, ...] | None = None
    for number, turn in enumerate(timeline.turns):
        if turn.ended_at is not None and turn.ended_by is not None and turn.ended_at >= since:
            held = holds(timeline) if held is None else held
            stop = _stop_of_turn(timeline, turn, turn.ended_at, turn.ended_by)
            of_all, of_agents = next_response(turn, measure), next_response_of_agents(turn, held, measure)
            yield CaseFact(FactKind.NEXT_RESPONSE, number, *stop, (of_all.time, of_agents.time), reason=of_all.reason)


def _has_stopped(response: FirstResponse, since: datetime) -> bool:
    if response.reply is not None:
        return response.reply.at >= since
    return response.reason is not Reason.NO_REPLY_YET


def _stop_of_first_response(timeline: CaseTimeline, response: FirstResponse) -> _Stop:
    started_by, reply = response.started_by or timeline.opened_by, response.reply
    if reply is not None:
        by = counted_by(timeline, reply.at)._replace(team_id=reply.team_id, staff_id=reply.staff_id)
        return _Stop(reply.at, started_by, reply.position, by)
    at = timeline.ended_at if response.started_at is not None and timeline.ended_at is not None else timeline.opened_at
    return _Stop(at, started_by, _position_at(timeline, at), counted_by(timeline, at))


def _stop_of_turn(timeline: CaseTimeline, turn: Turn, at: datetime, ended_by: int) -> _Stop:
    by = counted_by(timeline, at)
    if turn.outcome is TurnOutcome.ANSWERED:
        by = by._replace(team_id=turn.team_id, staff_id=turn.staff_id)
    return _Stop(at, turn.started_by, ended_by, by)


def _resolutions(timeline: CaseTimeline, measure: Measure) -> Iterator[CaseFact]:
    """The first resolution, or why there will be none; the others, and what came between."""
    if timeline.resolutions:
        yield _first_resolution(timeline, measure)
    elif timeline.ended_at is not None:
        stop, reason = _stop(timeline, timeline.ended_at), _GIVEN_UP.get(timeline.status)
        yield CaseFact(FactKind.RESOLUTION, 0, *stop, (None,), (None, None, None), reason)
    for number, one in enumerate(timeline.resolutions):
        if number:
            by = counted_by(timeline, one.at)
            yield CaseFact(FactKind.FURTHER_RESOLUTION, number - 1, one.at, timeline.opened_by, one.position, by)
        if one.reopened_at is not None and one.reopened_by is not None:
            by = counted_by(timeline, one.reopened_at)
            yield CaseFact(FactKind.REOPENING, number, one.reopened_at, one.position, one.reopened_by, by)


def _first_resolution(timeline: CaseTimeline, measure: Measure) -> CaseFact:
    first = timeline.resolutions[0]
    judgements = (
        one_touch(timeline, _WINDOW),
        first_contact_resolution(timeline, _WINDOW),
        reopened(timeline, _WINDOW),
    )
    stop = _Stop(first.at, timeline.opened_by, first.position, counted_by(timeline, first.at))
    return CaseFact(
        FactKind.RESOLUTION, 0, *stop, (measure.between(timeline.opened_at, first.at),), _settled(judgements, first.at)
    )


def _ending(timeline: CaseTimeline, measure: Measure, at: datetime) -> CaseFact:
    """What counts when the case has ended, for as long as it does not go on."""
    reason = _GIVEN_UP.get(timeline.status)
    slowest = longest(next_response(turn, measure) for turn in timeline.turns).time
    times = (*(_times_of_all(timeline, measure, at) if reason is None else _NO_TIMES), slowest)
    judgements = _settled((followed_up(timeline, _WINDOW),), at)
    return CaseFact(FactKind.ENDING, 0, *_stop(timeline, at), times, judgements, reason)


def _times_of_all(timeline: CaseTimeline, measure: Measure, end: datetime) -> tuple[Time, ...]:
    states = state_times(timeline, measure, end)
    agent_work = states[CaseStatus.NEW] + states[CaseStatus.OPEN]
    return (
        measure.between(timeline.opened_at, end),
        states[CaseStatus.NEW],
        states[CaseStatus.OPEN],
        states[CaseStatus.WAITING_ON_CUSTOMER],
        states[CaseStatus.ON_HOLD],
        states[CaseStatus.RESOLVED] + states[CaseStatus.CLOSED],
        agent_work + states[CaseStatus.ON_HOLD],
        agent_work,
        measure.total(timeline.illegitimate_pauses, timeline.opened_at, end),
    )


_NO_TIMES: Final = (None,) * 9
"""Instead of them."""


def _settled(verdicts: Iterable[Verdict | None], at: datetime) -> tuple[Verdict | None, ...]:
    """Judgements that are certain from the instant on at which they count, at the earliest."""
    return tuple(
        replace(verdict, settled_at=at) if verdict is not None and verdict.settled_at < at else verdict
        for verdict in verdicts
    )


def _satisfaction(timeline: CaseTimeline) -> Iterator[CaseFact]:
    """Whether each invitation was answered, and the first answer to it."""
    answered = {one.invitation: one for one in reversed(timeline.answers) if not one.amends}
    for number, (at, requested) in enumerate(timeline.invitations):
        answer = answered.get(requested.invitation)
        ended_by = timeline.opened_by if answer is None else answer.position
        sent = _Stop(at, timeline.opened_by, ended_by, counted_by(timeline, at))
        verdict = Verdict(value=answer is not None, settled_at=at if answer is None else answer.at)
        yield CaseFact(FactKind.INVITATION, number, *sent, judgements=(verdict,), scale=requested.scale)
        if answer is not None:
            given = _Stop(answer.at, timeline.opened_by, answer.position, counted_by(timeline, answer.at))
            yield CaseFact(FactKind.ANSWER, number, *given, scale=answer.scale, score=answer.score)


def _stop(timeline: CaseTimeline, at: datetime) -> _Stop:
    return _Stop(at, timeline.opened_by, _position_at(timeline, at), counted_by(timeline, at))


def counted_by(timeline: CaseTimeline, at: datetime) -> CountedBy:
    """By what a case is counted at an instant."""
    profile, customer_id = timeline.profile_at(at), timeline.profiles[-1].customer_id
    return CountedBy(
        customer_id, profile.priority, profile.category, profile.product_id, profile.team_id, profile.assignee_id
    )


def _position_at(timeline: CaseTimeline, at: datetime) -> int:
    """Position of the event that brought the case into the state in which it was from this instant on."""
    return next((one.position for one in timeline.intervals if one.started_at == at), timeline.opened_by)


_GIVEN_UP: Final = {
    CaseStatus.MERGED: Reason.MERGED,
    CaseStatus.WITHDRAWN: Reason.WITHDRAWN,
    CaseStatus.SPAM: Reason.SPAM,
}
