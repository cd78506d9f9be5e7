"""Facts of a support case: what it contributes to statistics, each at the instant at which it counts.

Rules

* A time counts at the instant at which its clock stopped, a judgement when the case was first resolved, an answer when
  it was given. It counts for the priority, category, product, team and assignee that the case had then.
* A response counts for the person who gave it, and for the team that the case belonged to.
* Whose case it is, is the same for all of its facts, whenever it was said.
* Where a clock will not stop any more, the fact is the reason: it counts when the case ended, or, where nobody waited,
  at the opening.
* What is still running is no fact: `domain.case_phases` tells of it.
* Reopenings, replies and messages within seven days of the first resolution count in judgements, later ones do not.

Definitions are those of sections 1 to 4 and 9 of the metrics reference. Durations are integer microseconds.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from domain.case_events import Performer, Priority
from domain.case_figures import (
    WINDOW_DAYS,
    Figure,
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
from domain.case_timeline import CaseTimeline, FirstResponse, Reason, Turn, TurnOutcome
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
    # Judgements, which are 1 or 0
    ONE_TOUCH = "one_touch"
    FIRST_CONTACT_RESOLUTION = "first_contact_resolution"
    REOPENED = "reopened"
    FOLLOWED_UP = "followed_up"
    CLOSED_BY_AUTOMATION = "closed_by_automation"
    CSAT_ANSWERED = "csat_answered"
    NPS_ANSWERED = "nps_answered"
    CES_ANSWERED = "ces_answered"
    # Scores
    CSAT = "csat"
    NPS = "nps"
    CES = "ces"


TIMES: Final = (
    FactName.FIRST_RESPONSE,
    FactName.FIRST_RESPONSE_BY_HUMAN,
    FactName.FIRST_RESPONSE_ZENDESK,
    FactName.NEXT_RESPONSE,
    FactName.NEXT_RESPONSE_OF_AGENTS,
    FactName.LONGEST_NEXT_RESPONSE,
    FactName.FIRST_RESOLUTION,
    FactName.FULL_RESOLUTION,
    FactName.TIME_NEW,
    FactName.TIME_OPEN,
    FactName.TIME_WAITING_ON_CUSTOMER,
    FactName.TIME_ON_HOLD,
    FactName.TIME_RESOLVED,
    FactName.REQUESTER_WAIT,
    FactName.AGENT_WORK,
    FactName.ILLEGITIMATE_PAUSE,
)
"""The facts that are durations."""
JUDGEMENTS: Final = (
    FactName.ONE_TOUCH,
    FactName.FIRST_CONTACT_RESOLUTION,
    FactName.REOPENED,
    FactName.FOLLOWED_UP,
    FactName.CLOSED_BY_AUTOMATION,
)
"""The facts that say yes or no about how a case was resolved."""


class CountedBy(NamedTuple):
    """By what a fact, or a phase, is counted, beside the kind and the channel of its case."""

    customer_id: CustomerId | None
    priority: Priority
    category: str | None
    product_id: ProductId | None
    team_id: TeamId | None
    staff_id: StaffId | None


class CaseFact(NamedTuple):
    """Something that counts: a tuple, as there are a dozen of each case, and they are compared after each event."""

    name: FactName
    number: int
    """Which one of its name in the case, from 0."""
    settled_at: datetime
    """The instant from which it is certain: `at`, but for judgements that wait for the end of a window."""
    at: datetime
    """The instant at which it counts."""
    started_by: int
    """Position of the event that started the clock."""
    ended_by: int
    """Position of the event that stopped it."""
    counted_by: CountedBy
    calendar: int | None = None
    """Calendar time; None for a reason, or where this is no time."""
    business: int | None = None
    """Business time; None also where no calendar was assigned for all of it."""
    value: int | None = None
    """1 or 0 of a judgement, or a score."""
    reason: Reason | None = None
    """Why there is no time; `answered_live` stands beside a time of zero."""


class _Stop(NamedTuple):
    """Where a clock stopped: when, from which event to which, and what the case was then."""

    at: datetime
    started_by: int
    ended_by: int
    counted_by: CountedBy


def case_facts(timeline: CaseTimeline, measure: Measure) -> Iterator[CaseFact]:
    """Everything that counts of a case, as it is known."""
    for name, response in (
        (FactName.FIRST_RESPONSE, timeline.first_response),
        (FactName.FIRST_RESPONSE_BY_HUMAN, timeline.first_response_by_human),
        (FactName.FIRST_RESPONSE_ZENDESK, timeline.first_response_zendesk),
    ):
        if response.reply is not None or response.reason is not Reason.NO_REPLY_YET:
            stop = _stop_of_first_response(timeline, response)
            yield _time(name, stop, first_response(response, measure))
    held = holds(timeline)
    for number, turn in enumerate(timeline.turns):
        if turn.ended_at is not None and turn.ended_by is not None:
            stop = _stop_of_turn(timeline, turn, turn.ended_at, turn.ended_by)
            yield _time(FactName.NEXT_RESPONSE, stop, next_response(turn, measure), number)
            of_agents = next_response_of_agents(turn, held, measure)
            yield _time(FactName.NEXT_RESPONSE_OF_AGENTS, stop, of_agents, number)
    if timeline.resolutions:
        yield from _of_first_resolution(timeline, measure)
    if timeline.ended_at is not None:
        yield from _of_end(timeline, measure, timeline.ended_at)
    yield from _of_satisfaction(timeline)


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


def _of_first_resolution(timeline: CaseTimeline, measure: Measure) -> Iterator[CaseFact]:
    first = timeline.resolutions[0]
    stop = _Stop(first.at, timeline.opened_by, first.position, counted_by(timeline, first.at))
    yield _time(FactName.FIRST_RESOLUTION, stop, Figure(time=measure.between(timeline.opened_at, first.at)))
    for name, verdict in (
        (FactName.ONE_TOUCH, one_touch(timeline, _WINDOW)),
        (FactName.FIRST_CONTACT_RESOLUTION, first_contact_resolution(timeline, _WINDOW)),
        (FactName.REOPENED, reopened(timeline, _WINDOW)),
    ):
        if verdict is not None:
            yield _judgement(name, stop, verdict)


def _of_end(timeline: CaseTimeline, measure: Measure, at: datetime) -> Iterator[CaseFact]:
    """What counts when the case has ended, for as long as it does not go on."""
    stop = _stop(timeline, at)
    reason = _GIVEN_UP.get(timeline.status)
    for name, time in _times_of_all(timeline, measure, at):
        yield _time(name, stop, Figure(time=time) if reason is None else Figure(time=None, reason=reason))
    slowest = longest(next_response(turn, measure) for turn in timeline.turns)
    yield _time(FactName.LONGEST_NEXT_RESPONSE, stop, slowest)
    verdict = followed_up(timeline, _WINDOW)
    if verdict is not None:
        yield _judgement(FactName.FOLLOWED_UP, stop, verdict)
    closed_at = timeline.closed_at
    if closed_at is not None:
        by_automation = Verdict(value=timeline.closed_by is Performer.AUTOMATION, settled_at=closed_at)
        yield _judgement(FactName.CLOSED_BY_AUTOMATION, _stop(timeline, closed_at), by_automation)


def _times_of_all(timeline: CaseTimeline, measure: Measure, end: datetime) -> Iterator[tuple[FactName, Time]]:
    states = state_times(timeline, measure, end)
    agent_work = states[CaseStatus.NEW] + states[CaseStatus.OPEN]
    yield FactName.FULL_RESOLUTION, measure.between(timeline.opened_at, end)
    yield FactName.TIME_NEW, states[CaseStatus.NEW]
    yield FactName.TIME_OPEN, states[CaseStatus.OPEN]
    yield FactName.TIME_WAITING_ON_CUSTOMER, states[CaseStatus.WAITING_ON_CUSTOMER]
    yield FactName.TIME_ON_HOLD, states[CaseStatus.ON_HOLD]
    yield FactName.TIME_RESOLVED, states[CaseStatus.RESOLVED] + states[CaseStatus.CLOSED]
    yield FactName.REQUESTER_WAIT, agent_work + states[CaseStatus.ON_HOLD]
    yield FactName.AGENT_WORK, agent_work
    yield FactName.ILLEGITIMATE_PAUSE, measure.total(timeline.illegitimate_pauses, timeline.opened_at, end)


def _of_satisfaction(timeline: CaseTimeline) -> Iterator[CaseFact]:
    """Whether each invitation was answered, and the first answer to it."""
    answered = {one.invitation: one for one in reversed(timeline.answers) if not one.amends}
    for number, (at, requested) in enumerate(timeline.invitations):
        answer = answered.get(requested.invitation)
        sent = _Stop(at, timeline.opened_by, timeline.opened_by, counted_by(timeline, at))
        if answer is not None:
            sent = sent._replace(ended_by=answer.position)
            given = _Stop(answer.at, timeline.opened_by, answer.position, counted_by(timeline, answer.at))
            yield CaseFact(FactName(answer.scale.value), number, answer.at, *given, value=answer.score)
        verdict = Verdict(value=answer is not None, settled_at=at)
        yield _judgement(FactName(f"{requested.scale}_answered"), sent, verdict, number)


def _time(name: FactName, stop: _Stop, figure: Figure, number: int = 0) -> CaseFact:
    time = figure.time
    if time is None:
        return CaseFact(name, number, stop.at, *stop, reason=figure.reason)
    return CaseFact(name, number, stop.at, *stop, time.calendar, time.business, reason=figure.reason)


def _judgement(name: FactName, stop: _Stop, verdict: Verdict, number: int = 0) -> CaseFact:
    return CaseFact(name, number, max(stop.at, verdict.settled_at), *stop, value=int(verdict.value))


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
