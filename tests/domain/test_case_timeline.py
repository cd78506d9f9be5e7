"""Timelines of support cases and their figures: what adds up, what changes nothing, and a few situations by hand.

Thirty more are told in tests/timelines, with every figure worked out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any, TypeAlias
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.business_time import CalendarVersion, Schedule, always, calendar
from domain.case_events import (
    ActorClass,
    AnotherCaseMerged,
    CalendarAssigned,
    CaseAssigned,
    CaseId,
    CaseMergedInto,
    CaseTransferred,
    CustomerMessageReceived,
    Happened,
    InternalNoteAdded,
    Message,
    MessageId,
    NoReplyNeededMarked,
    Performer,
    Priority,
    PublicReplySent,
    SupportCaseEvent,
)
from domain.case_facts import FactKind, case_facts
from domain.case_figures import (
    NO_TIME,
    OTHER_RULES,
    BusinessRule,
    CaseFigures,
    Figure,
    Measure,
    Time,
    figures,
    followed_up,
    next_response,
    reopened,
)
from domain.case_phases import Clock, case_phases
from domain.case_reading import CaseReader, timelines
from domain.case_status import ACTIVE, CaseStatus
from domain.case_timeline import THE_BEGINNING, CaseTimeline, Reason, StatusInterval, Turn, TurnOutcome
from domain.clock import SECOND
from domain.customer import Direction
from domain.service_calendar import CalendarId
from domain.support_case import SupportCase, evolve
from domain.working_hours import Interval, Week, WorkingHours
from tests.colleagues import BERLIN_OFFICE, BERLIN_OFFICE_IN_2026, KATHERINE, SECOND_LEVEL, SUPPORT_HOURS
from tests.complaints import (
    ACME_ASKED_LIVE,
    ACME_COMPLAINED,
    ASKED_FOR_SATISFACTION,
    CLASSIFIED,
    CLOSED,
    CLUMPING_FLOUR,
    CLUMPS,
    FEEDBACK_LINKED,
    FOLLOWED_UP,
    GRACE_IDENTIFIED,
    GRACE_WROTE,
    HANDED_OFF,
    HELD,
    KATHERINE_ASSIGNED,
    KATHERINE_NOTED,
    KATHERINE_REPLIED,
    LATE_AGAIN,
    LESS_SATISFIED,
    MARKED_AS_SPAM,
    MERGED,
    OTHER_MERGED,
    RAISED,
    REOPENED,
    RESOLVED,
    RESUMED,
    ROBOT_REPLIED,
    SATISFIED,
    SECOND_MESSAGE,
    SPLIT,
    TRANSFERRED,
    WAITING,
    WITHDRAWN,
    monday,
    tuesday,
)
from tests.people import ACME

HOUR = 3600 * SECOND
START = monday(9)
NIGHTS = CalendarId(UUID(int=1))
NEVER = CalendarId(UUID(int=2))

AROUND_THE_CLOCK = Interval(opens="00:00", closes="24:00")
NIGHT_SHIFT = WorkingHours(
    time_zone="America/New_York",
    weekly=Week(monday=(AROUND_THE_CLOCK,), tuesday=(Interval(opens="22:00", closes="24:00"),)),
)
CALENDARS: Mapping[CalendarId, Schedule] = {
    SUPPORT_HOURS: calendar(
        [
            CalendarVersion(hours=BERLIN_OFFICE),
            CalendarVersion(hours=BERLIN_OFFICE_IN_2026, effective_from=monday(12)),
        ]
    ),
    NIGHTS: always(NIGHT_SHIFT),
    NEVER: always(WorkingHours(time_zone="UTC")),
}
"""A day shift that is revised on Monday, a night shift far away, and nobody at all."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event with its place."""

    event: SupportCaseEvent
    occurred_at: datetime
    position: int


Told: TypeAlias = tuple[SupportCaseEvent, datetime]


def entries(*told: Any, first: int = 1) -> list[Entry]:
    """Events in the order of their recording; those that do not say when they were come with a time."""
    dated = (each if isinstance(each, tuple) else (each, each.at) for each in told)
    return [Entry(event, at, position) for position, (event, at) in enumerate(dated, first)]


def timeline(*told: SupportCaseEvent | Told) -> CaseTimeline:
    return timelines({CLUMPS: entries(*told)})[CLUMPS]


def measured(
    line: CaseTimeline, as_of: datetime, rule: BusinessRule = BusinessRule.INTEGRATE, window_days: int = 7
) -> CaseFigures:
    return figures(line, Measure(line, CALENDARS, rule), as_of, window_days)


def wrote(at: datetime, message_id: MessageId = SECOND_MESSAGE, *, live: bool = False) -> CustomerMessageReceived:
    return replace(GRACE_WROTE, at=at, message_id=message_id, answered_live=live)


def replied(at: datetime) -> PublicReplySent:
    return replace(KATHERINE_REPLIED, at=at)


# Situations by hand


def test_messages_from_before_the_opening_count_for_the_response_and_not_for_the_states() -> None:
    line = timeline(ACME_COMPLAINED, wrote(monday(8)), replied(monday(8, 30)), KATHERINE_ASSIGNED, wrote(monday(8, 45)))
    assert (line.opened_at, line.late_recorded) == (monday(9), 3)
    of = measured(line, monday(12))
    assert (line.first_response.started_at, of.first_response.time) == (
        monday(8),
        Time(calendar=HOUR // 2, business=HOUR // 2),
    )
    assert of.first_response_zendesk.reason is Reason.NO_REPLY_YET
    assert line.intervals[0] == StatusInterval(status=CaseStatus.OPEN, started_at=monday(9), ended_at=None, position=3)


def test_a_case_is_read_though_something_was_recorded_before_its_opening() -> None:
    family = {CLUMPS: [Entry(KATHERINE_ASSIGNED, monday(8), 1), Entry(ACME_COMPLAINED, monday(9), 2)]}
    assert timelines(family)[CLUMPS].opened_at == monday(9)


def test_before_its_opening_there_is_no_case() -> None:
    assert timelines({CLUMPS: entries(ACME_COMPLAINED)}, until=monday(8)) == {}
    assert timelines({CLUMPS: entries(ACME_COMPLAINED)}, until=monday(9)).keys() == {CLUMPS}
    assert timelines({CLUMPS: entries(KATHERINE_ASSIGNED)}) == {}


def test_a_case_is_counted_by_what_held_at_the_time() -> None:
    line = timeline(
        ACME_COMPLAINED,
        (RAISED, monday(10)),
        KATHERINE_ASSIGNED,
        (CLASSIFIED, monday(11)),
        (GRACE_IDENTIFIED, monday(12)),
        replace(TRANSFERRED, at=monday(13)),
    )
    before, opened = line.profile_at(monday(8)), line.profile_at(monday(9))
    assert before is opened
    assert (opened.priority, opened.category, opened.team_id) == (Priority.NORMAL, None, SECOND_LEVEL)
    assert line.profile_at(monday(9, 30)).assignee_id == KATHERINE
    assert line.profile_at(monday(10)).priority is Priority.CRITICAL
    last = line.profile_at(tuesday(9))
    assert (last.category, last.root_cause, last.product_id) == ("quality/clumping", "damp storage", CLUMPING_FLOUR)
    assert (last.customer_id, last.assignee_id) == (ACME, None)


@pytest.mark.parametrize(("keeps", "product"), [(False, None), (True, CLUMPING_FLOUR)])
def test_a_classification_replaces_the_product_unless_it_is_of_version_1(keeps: bool, product: object) -> None:  # noqa: FBT001 - it is a field
    line = timeline(ACME_COMPLAINED, (replace(CLASSIFIED, product_id=None, keeps_product=keeps), monday(11)))
    assert line.profile_at(monday(11)).product_id == product


@pytest.mark.parametrize("event", [TRANSFERRED, KATHERINE_ASSIGNED], ids=["to a team", "to a person"])
@pytest.mark.parametrize("by", Performer)
def test_handing_a_case_over_ends_new_where_a_person_does_it(
    event: CaseTransferred | CaseAssigned, by: Performer
) -> None:
    line = timeline(ACME_COMPLAINED, replace(event, by=by))
    assert line.status is (CaseStatus.OPEN if by is Performer.PERSON else CaseStatus.NEW)
    if by is Performer.PERSON:
        assert line.intervals[-1].started_at == event.at


def test_what_nobody_waits_for_leaves_a_mark_or_none() -> None:
    line = timeline(
        ACME_COMPLAINED, (FEEDBACK_LINKED, monday(10)), (SPLIT, monday(11)), (FOLLOWED_UP, monday(12)), TRANSFERRED
    )
    assert (line.split_off, line.follow_ups) == ((LATE_AGAIN,), ((monday(12), LATE_AGAIN),))
    assert line.status is CaseStatus.NEW


def test_every_answer_about_satisfaction_is_kept_with_its_time() -> None:
    line = timeline(
        ACME_COMPLAINED,
        RESOLVED,
        (ASKED_FOR_SATISFACTION, monday(15)),
        (SATISFIED, monday(16)),
        (LESS_SATISFIED, tuesday(9)),
    )
    assert line.invitations == ((monday(15), ASKED_FOR_SATISFACTION),)
    answers = [(answer.at, answer.position, answer.score, answer.amends) for answer in line.answers]
    assert answers == [(monday(16), 4, 4, False), (tuesday(9), 5, 2, True)]


def test_reopenings_and_repeated_resolutions_are_counted() -> None:
    reopened = timeline(ACME_COMPLAINED, RESOLVED, REOPENED)
    assert (reopened.reopen_count, reopened.resolved_again_count) == (1, 0)
    again = timeline(ACME_COMPLAINED, RESOLVED, REOPENED, CLOSED)
    assert (again.reopen_count, again.resolved_again_count, again.closed_by_automation) == (1, 1, True)


def test_a_resolution_while_resolved_changes_nothing() -> None:
    line = timeline(ACME_COMPLAINED, RESOLVED, replace(RESOLVED, at=monday(15)))
    assert [resolution.at for resolution in line.resolutions] == [monday(14)]
    assert line.resolved_again_count == 0


def test_a_message_that_needs_no_reply_does_not_hide_that_the_customer_wrote_last() -> None:
    thanks = (NoReplyNeededMarked(message_id=SECOND_MESSAGE), monday(12))
    paused = timeline(ACME_COMPLAINED, replied(monday(10)), wrote(monday(11)), thanks, replace(WAITING, at=monday(13)))
    (pause,) = paused.illegitimate_pauses
    assert (pause.started_at, pause.ended_at, paused.turns) == (monday(13), None, ())


def test_an_automatic_closing_of_what_a_bot_resolved_is_its_own() -> None:
    by_bot = replace(RESOLVED, by=Performer.AUTOMATION)
    line = timeline(ACME_COMPLAINED, by_bot, replace(CLOSED, by=Performer.PERSON))
    assert (line.resolved_by_automation, line.closed_by_automation) == (True, False)
    assert not timeline(ACME_COMPLAINED).resolved_by_automation


def test_a_hand_off_after_the_first_reply_starts_no_clock() -> None:
    line = timeline(ACME_COMPLAINED, KATHERINE_REPLIED, (HANDED_OFF, monday(11)))
    assert line.first_response_by_human == line.first_response
    outbound = replace(ACME_COMPLAINED, opened_by=ActorClass.AUTOMATION, direction=Direction.OUTBOUND)
    handed_off = timeline(outbound, (HANDED_OFF, monday(10)))
    assert handed_off.first_response_by_human.reason is Reason.OUTBOUND


def test_a_call_that_ends_a_long_wait_is_no_live_answer_of_the_first_message() -> None:
    line = timeline(ACME_COMPLAINED, wrote(monday(11), live=True))
    assert measured(line, monday(12)).first_response == Figure(time=Time(calendar=2 * HOUR, business=2 * HOUR))


@pytest.mark.parametrize("by", Performer)
@pytest.mark.parametrize("reopening", [REOPENED, wrote(monday(15))], ids=["by hand", "by the customer"])
def test_the_clock_of_a_person_starts_again_only_where_the_customer_reopens_what_a_bot_resolved(
    by: Performer, reopening: SupportCaseEvent
) -> None:
    line = timeline(ACME_COMPLAINED, replace(RESOLVED, by=by), reopening)
    starts_again = by is Performer.AUTOMATION and reopening is not REOPENED
    assert line.first_response_by_human.started_at == monday(15 if starts_again else 9)
    assert line.first_response.started_at == monday(9)


# Families

ANSWERED = (replace(ACME_COMPLAINED, at=monday(8)), replied(monday(8, 30)))


def merged_family(*after: SupportCaseEvent | Told) -> Mapping[CaseId, CaseTimeline]:
    """A case that is merged into another one on Monday at 13:00, and what happens there afterwards."""
    other = replace(ACME_COMPLAINED, at=monday(8), message_id=MessageId(LATE_AGAIN))
    return timelines(
        {
            CLUMPS: entries(ACME_COMPLAINED, MERGED),
            LATE_AGAIN: entries(other, replied(monday(8, 30)), (AnotherCaseMerged(case_id=CLUMPS), monday(13)), *after),
        }
    )


@pytest.mark.parametrize("more", [(), (replied(monday(10)),)], ids=["unanswered", "answered"])
def test_a_case_that_waits_is_open_again_when_an_unanswered_one_is_merged_into_it(
    more: Sequence[SupportCaseEvent],
) -> None:
    waiting = (*ANSWERED, replace(WAITING, at=monday(9)))
    merge = (AnotherCaseMerged(case_id=CLUMPS), monday(13))
    line = timelines({CLUMPS: entries(ACME_COMPLAINED, *more, MERGED), LATE_AGAIN: entries(*waiting, merge)})[
        LATE_AGAIN
    ]
    assert line.illegitimate_pauses == ()
    last = line.intervals[-1]
    if more:
        assert (last.status, last.started_at) == (CaseStatus.WAITING_ON_CUSTOMER, monday(9))
    else:
        assert (last.status, last.started_at, last.position) == (CaseStatus.OPEN, monday(13), 4)


def test_what_comes_with_a_merged_case_to_a_resolved_one_waits_for_it_to_go_on() -> None:
    resolved = replace(RESOLVED, at=monday(10), reopen_until=None)
    other = (replace(ACME_COMPLAINED, at=monday(8)), replied(monday(8, 30)), resolved)
    merge = (AnotherCaseMerged(case_id=CLUMPS), monday(13))
    for more, turns in (((), []), ((REOPENED,), [monday(9)])):
        family = timelines({CLUMPS: entries(ACME_COMPLAINED, MERGED), LATE_AGAIN: entries(*other, merge, *more)})
        assert [turn.started_at for turn in family[LATE_AGAIN].turns] == turns


def test_the_older_of_two_open_turns_goes_on() -> None:
    family = timelines(
        {
            CLUMPS: entries(ACME_COMPLAINED, replied(monday(10)), wrote(monday(11)), MERGED),
            LATE_AGAIN: entries(
                replace(ACME_COMPLAINED, at=monday(8)),
                replied(monday(8, 30)),
                wrote(monday(12)),
                (AnotherCaseMerged(case_id=CLUMPS), monday(13)),
                replied(monday(14)),
            ),
        }
    )
    assert [(turn.started_at, turn.outcome) for turn in family[LATE_AGAIN].turns] == [
        (monday(11), TurnOutcome.ANSWERED)
    ]
    assert [turn.outcome for turn in family[CLUMPS].turns] == [TurnOutcome.MERGED]


def test_a_turn_that_came_with_a_merged_case_stands_beside_an_awaited_first_response() -> None:
    family = timelines(
        {
            CLUMPS: entries(ACME_COMPLAINED, replied(monday(10)), wrote(monday(11)), MERGED),
            LATE_AGAIN: entries(
                replace(ACME_COMPLAINED, at=monday(12)),
                (AnotherCaseMerged(case_id=CLUMPS), monday(13)),
                replied(monday(14)),
            ),
        }
    )
    into = measured(family[LATE_AGAIN], monday(15))
    assert into.first_response.time == Time(calendar=2 * HOUR, business=2 * HOUR)
    assert [figure.time for figure in into.next_responses] == [Time(calendar=3 * HOUR, business=3 * HOUR)]


def test_two_cases_that_are_one_wait_for_a_first_response_since_the_earlier_of_both() -> None:
    (line,) = [
        one
        for case_id, one in timelines(
            {
                CLUMPS: entries(ACME_COMPLAINED, MERGED),
                LATE_AGAIN: entries(
                    replace(ACME_COMPLAINED, at=monday(12)),
                    (AnotherCaseMerged(case_id=CLUMPS), monday(13)),
                    replied(monday(14)),
                ),
            }
        ).items()
        if case_id == LATE_AGAIN
    ]
    waits = [(phase.since, phase.waiting_since, phase.waiting_by) for phase in case_phases(line)]
    assert waits == [(monday(12), monday(12), 1), (monday(13), monday(9), 1), (monday(14), None, None)]


def clocks(line: CaseTimeline) -> list[tuple[datetime, dict[str, datetime]]]:
    """Since when what runs has been running, from when on."""
    return [
        (
            phase.since,
            {str(clock): began.at for clock, began in zip(Clock, phase.running, strict=True) if began is not None},
        )
        for phase in case_phases(line)
    ]


def test_each_of_two_unanswered_cases_goes_on_waiting_until_the_one_reply() -> None:
    family = timelines(
        {
            CLUMPS: entries(ACME_COMPLAINED, MERGED),
            LATE_AGAIN: entries(
                replace(ACME_COMPLAINED, at=monday(12)),
                (AnotherCaseMerged(case_id=CLUMPS), monday(13)),
                replace(RESOLVED, at=monday(14)),
                replace(REOPENED, at=monday(15)),
                replied(monday(16)),
            ),
        }
    )
    first, human = "first_response", "first_response_by_human"
    (_, alone), *elsewhere = clocks(family[CLUMPS])
    assert alone == dict.fromkeys((first, human, "first_response_zendesk", "first_resolution"), monday(9))
    assert elsewhere == [(since, dict.fromkeys((first, human), monday(9))) for since in (monday(13), monday(15))]
    merged = case_phases(family[CLUMPS])[1:]
    assert [(phase.status, phase.until) for phase in merged] == [("merged", monday(14)), ("merged", monday(16))]
    assert [running.get(first) for _, running in clocks(family[LATE_AGAIN])] == [*[monday(12)] * 3, None]


def test_a_first_response_ends_with_the_reply_wherever_it_is_given() -> None:
    third = CaseId(UUID(int=3))
    family = timelines(
        {
            CLUMPS: entries(ACME_COMPLAINED, MERGED),
            LATE_AGAIN: entries(
                replace(ACME_COMPLAINED, at=monday(12)),
                (AnotherCaseMerged(case_id=CLUMPS), monday(13)),
                CaseMergedInto(at=monday(14), into_id=third),
            ),
            third: entries(
                replace(ACME_COMPLAINED, at=monday(12, 30)),
                (AnotherCaseMerged(case_id=LATE_AGAIN), monday(14)),
                replied(monday(16)),
            ),
        }
    )
    spans = [(span.started_at, span.ended_at) for span in family[CLUMPS].awaited_elsewhere]
    assert spans == [(monday(13), monday(14)), (monday(14), monday(16))]
    assert family[CLUMPS].first_response.reply == family[third].first_response.reply


def test_a_reply_recorded_before_a_merge_of_the_same_instant_answers_what_was_there_only() -> None:
    at_once = replied(monday(13))
    merge = (AnotherCaseMerged(case_id=CLUMPS), monday(13))
    clumps = entries(ACME_COMPLAINED, MERGED, first=10)
    before = timelines({CLUMPS: clumps, LATE_AGAIN: entries(ACME_COMPLAINED, at_once, merge)})
    after = timelines({CLUMPS: clumps, LATE_AGAIN: entries(ACME_COMPLAINED, merge, at_once, first=20)})
    assert before[CLUMPS].first_response.reason is Reason.NO_REPLY_YET
    assert [turn.outcome for turn in before[LATE_AGAIN].turns] == [TurnOutcome.RUNNING]
    assert after[CLUMPS].first_response.reply is not None
    assert after[LATE_AGAIN].turns == ()


def test_a_turn_that_an_earlier_one_took_the_place_of_had_been_running() -> None:
    family = timelines(
        {
            CLUMPS: entries(ACME_COMPLAINED, replied(monday(9, 30)), wrote(monday(10)), MERGED),
            LATE_AGAIN: entries(
                ACME_COMPLAINED,
                replied(monday(9, 30)),
                wrote(monday(11)),
                (AnotherCaseMerged(case_id=CLUMPS), monday(13)),
                replied(monday(15)),
            ),
        }
    )
    turns = [running.get("next_response") for _, running in clocks(family[LATE_AGAIN])]
    assert turns == [None, None, monday(11), monday(10), None]
    assert [running.get("next_response") for _, running in clocks(family[CLUMPS])] == [None, None, monday(10)]


def test_a_person_is_waited_for_since_the_bot_handed_off() -> None:
    line = timeline(ACME_COMPLAINED, (HANDED_OFF, monday(11)), replied(monday(12)))
    human = [running.get("first_response_by_human") for _, running in clocks(line)]
    assert human == [None, monday(11), None]
    assert [running.get("first_response") for _, running in clocks(line)] == [monday(9), monday(9), None]


def test_a_case_that_goes_on_has_been_resolved_for_the_first_time() -> None:
    line = timeline(ACME_COMPLAINED, RESOLVED, REOPENED)
    assert [running.get("first_resolution") for _, running in clocks(line)] == [monday(9), None]


@pytest.mark.parametrize(
    ("until", "more", "settled"),
    [
        (tuesday(14), (), monday(12) + timedelta(days=8)),
        (None, (replace(CLOSED, at=monday(14) + timedelta(days=4)),), monday(12) + timedelta(days=8)),
        (None, (replace(CLOSED, at=monday(15)),), monday(15) + timedelta(days=7)),
        (None, (), None),
    ],
    ids=["after its window", "after it was closed", "later than a week after it was closed", "while it may go on"],
)
def test_a_follow_up_counts_within_a_week_since_the_case_is_final(
    until: datetime | None, more: tuple[SupportCaseEvent, ...], settled: datetime | None
) -> None:
    follow_up = (FOLLOWED_UP, monday(12) + timedelta(days=8))
    line = timeline(ACME_COMPLAINED, replace(RESOLVED, reopen_until=until), *more, *([follow_up] if settled else []))
    verdict = followed_up(line, timedelta(days=7))
    assert verdict is not None
    assert verdict.value is (settled == follow_up[1])
    assert settled is None or verdict.settled_at == settled
    assert settled is not None or verdict.settled_at > AS_OF + timedelta(days=36_500)


def test_a_window_that_was_left_for_an_earlier_resolution_says_nothing_of_the_next() -> None:
    line = timeline(ACME_COMPLAINED, RESOLVED, REOPENED, replace(CLOSED, at=tuesday(20)))
    verdict = followed_up(line, timedelta(days=7))
    assert line.reopen_until is None
    assert verdict is not None
    assert verdict.settled_at == tuesday(20) + timedelta(days=7)


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ((), Reason.NO_REPLY_YET),
        ((RESOLVED,), Reason.RESOLVED_WITHOUT_REPLY),
        ((replace(WITHDRAWN, at=monday(14)),), Reason.WITHDRAWN),
        ((replace(MARKED_AS_SPAM, at=monday(14)),), Reason.SPAM),
        ((replied(monday(14)),), None),
    ],
    ids=["running", "resolved", "withdrawn", "spam", "replied"],
)
def test_an_awaited_first_response_depends_on_the_case_that_goes_on(
    after: tuple[SupportCaseEvent, ...], reason: Reason | None
) -> None:
    line = merged_family(*after)[CLUMPS]
    assert line.first_response.reason is line.first_response_by_human.reason is reason
    assert line.first_response_zendesk.reason is Reason.MERGED


def test_where_the_other_case_is_not_known_nothing_more_is_told() -> None:
    (alone,) = timelines({CLUMPS: entries(ACME_COMPLAINED, MERGED)}).values()
    assert alone.first_response.reason is Reason.MERGED
    with_a_stranger = {CLUMPS: entries(ACME_COMPLAINED, MERGED), CaseId(ACME): entries(ACME_ASKED_LIVE)}
    assert timelines(with_a_stranger)[CLUMPS].first_response.reason is Reason.MERGED
    assert timeline(ACME_COMPLAINED, (OTHER_MERGED, monday(10))).turns == ()


def test_a_circle_of_merges_is_read_all_the_same() -> None:
    back = CaseMergedInto(at=monday(14), into_id=CLUMPS)
    family = timelines(
        {
            CLUMPS: entries(ACME_COMPLAINED, MERGED, (AnotherCaseMerged(case_id=LATE_AGAIN), monday(14))),
            LATE_AGAIN: entries(ACME_COMPLAINED, (AnotherCaseMerged(case_id=CLUMPS), monday(13)), back),
        }
    )
    assert {line.first_response.reason for line in family.values()} == {Reason.MERGED}


# Measuring


def test_without_a_calendar_there_is_no_business_time_unless_no_time_passed() -> None:
    line = timeline(replace(ACME_COMPLAINED, calendar_id=None), KATHERINE_REPLIED)
    measure = Measure(line, CALENDARS)
    assert measure.between(monday(9), monday(10)) == Time(calendar=HOUR, business=None)
    assert measure.between(monday(9), monday(9)) == NO_TIME
    whole = measured(line, monday(11)).whole
    assert whole + NO_TIME == whole - NO_TIME == Time(calendar=2 * HOUR, business=None)


@pytest.mark.parametrize("rule", BusinessRule)
def test_before_the_first_calendar_was_assigned_there_is_no_business_time(rule: BusinessRule) -> None:
    line = timeline(replace(ACME_COMPLAINED, calendar_id=None), (CalendarAssigned(calendar_id=NIGHTS), monday(12)))
    measure = Measure(line, CALENDARS, rule)
    assert measure.between(monday(9), monday(10)).business is None
    assert measure.between(monday(12), monday(13)).business == HOUR
    across = measure.between(monday(11), monday(13)).business
    assert across == (2 * HOUR if rule is BusinessRule.LAST_SCHEDULE else None)


@pytest.mark.parametrize(
    ("rule", "business"),
    [(BusinessRule.INTEGRATE, 3), (BusinessRule.PINNED_AT_START, 5), (BusinessRule.LAST_SCHEDULE, 0)],
)
def test_the_rules_differ_where_the_calendar_is_exchanged(rule: BusinessRule, business: int) -> None:
    line = timeline(ACME_COMPLAINED, (CalendarAssigned(calendar_id=NEVER), monday(11)), RESOLVED)
    resolution = measured(line, tuesday(9), rule).full_resolution.time
    assert resolution is not None
    # In UTC: the office in Berlin works from 7 to 15 o'clock. 9 to 14 is 5 h, of which 2 h are before 11.
    assert resolution.business == {3: 2, 5: 5, 0: 0}[business] * HOUR


def test_a_figure_is_null_with_a_reason() -> None:
    of = measured(timeline(ACME_COMPLAINED), monday(10))
    assert of.first_response == Figure(time=None, reason=Reason.NO_REPLY_YET)
    assert of.longest_next_response == Figure(time=None, reason=Reason.NO_TURN)
    assert of.first_resolution == of.full_resolution == Figure(time=None, reason=Reason.NOT_RESOLVED)
    assert of.one_touch.reason is of.first_contact_resolution.reason is Reason.NOT_RESOLVED


@pytest.mark.parametrize(
    ("event", "reason"),
    [(MERGED, Reason.MERGED), (WITHDRAWN, Reason.WITHDRAWN), (MARKED_AS_SPAM, Reason.SPAM)],
    ids=["merged", "withdrawn", "spam"],
)
def test_what_ended_otherwise_is_not_resolved_for_that_reason(event: SupportCaseEvent, reason: Reason) -> None:
    of = measured(timeline(ACME_COMPLAINED, event), tuesday(9))
    assert of.first_resolution.reason is of.full_resolution.reason is reason
    assert of.one_touch.reason is of.first_contact_resolution.reason is reason


WEEK_LATER = RESOLVED.at + timedelta(days=7)


@pytest.mark.parametrize(
    ("told", "one_touch", "first_contact"),
    [
        ((KATHERINE_REPLIED, RESOLVED), True, True),
        ((RESOLVED,), False, True),
        ((KATHERINE_REPLIED, replied(monday(11)), RESOLVED), False, True),
        ((KATHERINE_REPLIED, wrote(monday(11)), RESOLVED), True, False),
        ((KATHERINE_REPLIED, RESOLVED, REOPENED), False, False),
        ((KATHERINE_REPLIED, RESOLVED, (FOLLOWED_UP, tuesday(9))), True, False),
        ((KATHERINE_REPLIED, RESOLVED, (FOLLOWED_UP, WEEK_LATER)), True, True),
        ((KATHERINE_REPLIED, RESOLVED, replace(REOPENED, at=WEEK_LATER)), True, True),
        ((KATHERINE_REPLIED, CLOSED), True, False),
        ((KATHERINE_REPLIED, replace(CLOSED, by=Performer.PERSON)), True, True),
    ],
    ids=[
        "one reply",
        "none",
        "two",
        "asked again",
        "reopened",
        "followed up",
        "later",
        "much later",
        "closed",
        "by us",
    ],
)
def test_one_touch_and_first_contact(
    told: Sequence[SupportCaseEvent | Told], one_touch: object, first_contact: object
) -> None:
    of = measured(timeline(ACME_COMPLAINED, *told), WEEK_LATER + timedelta(days=1))
    assert (of.one_touch.value, of.first_contact_resolution.value) == (one_touch, first_contact)


def test_what_was_never_resolved_was_not_reopened_and_might_yet_be() -> None:
    assert reopened(timeline(ACME_COMPLAINED, KATHERINE_REPLIED), timedelta(days=7)) is None


def test_who_never_wrote_had_no_first_contact() -> None:
    outbound = replace(ACME_COMPLAINED, opened_by=ActorClass.AGENT_PUBLIC, direction=Direction.OUTBOUND)
    of = measured(timeline(outbound, RESOLVED), WEEK_LATER)
    assert (of.first_contact_resolution.value, of.first_contact_resolution.reason) == (None, Reason.OUTBOUND)


BEGUN_BY_US = replace(ACME_COMPLAINED, opened_by=ActorClass.AGENT_PUBLIC, direction=Direction.OUTBOUND)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((BEGUN_BY_US,), False),
        ((BEGUN_BY_US, wrote(monday(10))), False),
        ((BEGUN_BY_US, wrote(monday(10)), replied(monday(11))), True),
        ((BEGUN_BY_US, wrote(monday(10)), replied(monday(11)), replied(monday(12))), False),
        ((BEGUN_BY_US, wrote(monday(10), live=True)), True),
        ((BEGUN_BY_US, wrote(monday(8))), True),
        ((replace(BEGUN_BY_US, opened_by=ActorClass.AGENT_INTERNAL), replied(monday(9)), wrote(monday(10))), False),
        ((ACME_ASKED_LIVE,), True),
    ],
    ids=[
        "nobody wrote",
        "nobody replied",
        "one reply",
        "two",
        "a call",
        "to what was written before",
        "said before the customer wrote",
        "a call that opened it",
    ],
)
def test_what_we_say_before_the_customer_does_is_no_reply(told: Sequence[SupportCaseEvent], expected: object) -> None:
    line = timeline(*told, RESOLVED)
    of = measured(line, WEEK_LATER)
    assert of.one_touch.value is expected
    if line.customer_messages:
        assert (of.first_response.reason is Reason.RESOLVED_WITHOUT_REPLY) <= (expected is False)


def test_of_a_resolution_only_the_first_one_stays_in_its_month_when_the_case_is_reopened_later() -> None:
    resolved = timeline(ACME_COMPLAINED, replied(monday(10)), RESOLVED)
    reopened_later = timeline(ACME_COMPLAINED, replied(monday(10)), RESOLVED, replace(REOPENED, at=WEEK_LATER))
    before, after = (
        {fact.kind: fact for fact in case_facts(line, Measure(line, CALENDARS))} for line in (resolved, reopened_later)
    )
    assert FactKind.ENDING in before
    assert FactKind.ENDING not in after
    first, stays = before[FactKind.RESOLUTION], after[FactKind.RESOLUTION]
    assert (first.at, first.times) == (stays.at, stays.times)


# Several merges

THIRD = CaseId(UUID(int=3))


def merged_twice(first: Sequence[Any], second: Sequence[Any], last: Sequence[Any]) -> Mapping[CaseId, CaseTimeline]:
    """A case that is merged into a second one at 11:00, and that into a third one at 12:00; times of their own day."""
    at_eleven, at_noon = monday(11), monday(12)
    return timelines(
        {
            CLUMPS: entries(*first, CaseMergedInto(at=at_eleven, into_id=LATE_AGAIN)),
            LATE_AGAIN: entries(
                *second,
                (AnotherCaseMerged(case_id=CLUMPS), at_eleven),
                CaseMergedInto(at=at_noon, into_id=THIRD),
                first=100,
            ),
            THIRD: entries(*last, (AnotherCaseMerged(case_id=LATE_AGAIN), at_noon), replied(monday(16)), first=200),
        }
    )


@pytest.mark.parametrize(
    ("first", "second", "last", "hours"),
    [
        ((*ANSWERED, wrote(monday(10))), (replace(ACME_COMPLAINED, at=monday(10, 30)),), ANSWERED, 6),
        ((*ANSWERED, wrote(monday(10))), (replace(ACME_COMPLAINED, at=monday(10, 30)),), (ACME_COMPLAINED,), 6),
        ((ACME_COMPLAINED,), (replace(ACME_COMPLAINED, at=monday(10)),), ANSWERED, 7),
        ((replace(ACME_COMPLAINED, at=monday(10)),), (ACME_COMPLAINED,), ANSWERED, 7),
        ((*ANSWERED, wrote(monday(10))), (*ANSWERED, wrote(monday(9))), ANSWERED, 7),
        ((*ANSWERED, wrote(monday(10))), ANSWERED, (*ANSWERED, wrote(monday(10, 30))), 6),
    ],
    ids=[
        "beside an awaited first response",
        "to a case that awaits its first response",
        "a first response handed on",
        "a first response that waits less long",
        "an earlier turn",
        "a later turn of the last one",
    ],
)
def test_what_a_case_hands_on_includes_what_was_handed_to_it(
    first: Sequence[Any], second: Sequence[Any], last: Sequence[Any], hours: int
) -> None:
    line = merged_twice(first, second, last)[THIRD]
    (turn,) = line.turns
    time = next_response(turn, Measure(line, CALENDARS)).time
    assert time is not None
    assert time.calendar == hours * HOUR
    waiting = [phase.waiting_since for phase in case_phases(line) if phase.since == monday(12)]
    awaits_first = line.first_response.reply == line.replies[-1]
    assert waiting == [
        min(turn.started_at, line.first_response.started_at or START) if awaits_first else turn.started_at
    ]


def test_where_all_of_them_await_the_first_response_it_has_been_waited_for_since_the_first_message() -> None:
    late = [replace(ACME_COMPLAINED, at=monday(10, minute)) for minute in (30, 45)]
    family = merged_twice((ACME_COMPLAINED,), (late[0],), (late[1],))
    assert family[THIRD].turns == ()
    assert [phase.waiting_since for phase in case_phases(family[THIRD])] == [monday(10, 45), monday(9), None]
    assert {line.first_response.reply for line in family.values()} == {family[THIRD].replies[0]}


def test_a_case_that_we_began_hands_on_that_the_customer_waits() -> None:
    paused = (*ANSWERED, replace(WAITING, at=monday(9)))
    line = merged_twice((ACME_COMPLAINED,), (replace(BEGUN_BY_US, at=monday(10)),), paused)[THIRD]
    assert [one.status for one in line.intervals][-2:] == [CaseStatus.WAITING_ON_CUSTOMER, CaseStatus.OPEN]
    assert [turn.started_at for turn in line.turns] == [monday(9)]


def held(since: datetime, until: datetime) -> tuple[Any, Any]:
    return replace(HELD, at=since), replace(RESUMED, at=until)


@pytest.mark.parametrize(
    ("own", "others", "hours"),
    [
        (held(monday(11), monday(16)), held(monday(11), monday(16)), 1),
        ((), held(monday(11), monday(16)), 6),
        (held(monday(11), monday(16)), (), 1),
        (held(monday(12), monday(13)), held(monday(14), monday(15)), 5),
        ((replace(HELD, at=monday(15)),), (replace(HELD, at=monday(10)),), 4),
    ],
    ids=["both", "the other one", "its own", "each for an hour", "both go on"],
)
def test_a_hold_counts_once_and_only_where_the_customer_waits(
    own: Sequence[Any], others: Sequence[Any], hours: int
) -> None:
    """The customer wrote to the case at 11:00, at 16:00 it was merged, at 17:00 there is a reply."""
    merged_at = monday(16)
    line = timelines(
        {
            CLUMPS: entries(*ANSWERED, wrote(monday(11)), *own, CaseMergedInto(at=merged_at, into_id=LATE_AGAIN)),
            LATE_AGAIN: entries(
                *ANSWERED, *others, (AnotherCaseMerged(case_id=CLUMPS), merged_at), replied(monday(17)), first=100
            ),
        }
    )[LATE_AGAIN]
    of = measured(line, monday(18))
    assert [figure.time.calendar for figure in of.next_responses if figure.time] == [6 * HOUR]
    assert [figure.time.calendar for figure in of.next_responses_of_agents if figure.time] == [hours * HOUR]


# Several merges, told by a second program


@dataclass
class Wait:
    """A message that has no reply yet: where it has been waiting, and whether for a first response."""

    since: int
    is_first: bool
    stays: list[tuple[int, int]]
    """Each case with the minute since which it waits there."""


@dataclass
class Desk:
    """Cases as a second program sees them: what waits in each, minute by minute, and when each was on hold."""

    waits: list[list[Wait]]
    held: list[set[int]]
    """The minutes in which each case was on hold."""
    goes_on_in: dict[int, int]
    responses: dict[int, list[tuple[int, int]]]
    """Of each case its next responses in minutes: of all, and of agents."""

    def take(self, minute: int, case: int, kind: str, other: int) -> None:
        if kind == "wrote":
            answered = bool(self.responses.get(case)) or case in self.answered
            if not any(wait.is_first == (not answered) and wait.stays[0][0] == case for wait in self.waits[case]):
                self.waits[case].append(Wait(minute, not answered, [(case, minute)]))
        elif kind == "replied":
            turns = [wait for wait in self.waits[case] if not wait.is_first]
            if turns:
                oldest = min(turns, key=lambda wait: wait.since)
                self.responses.setdefault(case, []).append((minute - oldest.since, self.of_agents(oldest, minute)))
            if any(wait.is_first for wait in self.waits[case]):
                self.answered.add(case)
            self.waits[case] = []
        elif kind == "merge":
            awaits_first = any(wait.is_first for wait in self.waits[other])
            for wait in self.waits[case]:
                wait.stays.append((other, minute))
                wait.is_first = wait.is_first and awaits_first
                self.waits[other].append(wait)
            self.waits[case] = []
            self.goes_on_in[case] = other

    def of_agents(self, wait: Wait, until: int) -> int:
        ends = [*(since for _, since in wait.stays[1:]), until]
        return sum(
            minute not in self.held[case]
            for (case, since), end in zip(wait.stays, ends, strict=True)
            for minute in range(since, end)
        )

    def __post_init__(self) -> None:
        self.answered: set[int] = set()


CASES = [CaseId(UUID(int=100 + number)) for number in range(4)]
acts = st.tuples(
    st.integers(0, 3),
    st.sampled_from(["wrote", "wrote", "replied", "replied", "hold", "resume", "merge"]),
    st.integers(0, 3),
)


@given(st.lists(acts, max_size=25))
@settings(max_examples=300)
def test_next_responses_of_merged_cases_are_those_of_a_second_program(told: list[tuple[int, str, int]]) -> None:
    desk = Desk([[] for _ in CASES], [set() for _ in CASES], {}, {})
    family: dict[CaseId, list[Entry]] = {each: [] for each in CASES}
    on_hold: dict[int, int] = {}
    for number, case_id in enumerate(CASES):
        opened = replace(ACME_COMPLAINED, at=START + timedelta(minutes=number), message_id=MessageId(case_id))
        family[case_id].append(Entry(opened, opened.at, number))
        desk.take(number, number, "wrote", 0)
    for minute, (case, kind, other) in enumerate(told, len(CASES)):
        at = START + timedelta(minutes=minute)
        if case in desk.goes_on_in or (kind == "merge" and (case == other or other in desk.goes_on_in)):
            continue
        events: Mapping[str, SupportCaseEvent] = {
            "wrote": wrote(at, MessageId(UUID(int=minute))),
            "replied": replied(at),
            "hold": replace(HELD, at=at),
            "resume": replace(RESUMED, at=at),
            "merge": CaseMergedInto(at=at, into_id=CASES[other]),
        }
        family[CASES[case]].append(Entry(events[kind], at, 2 * minute))
        if kind == "merge":
            family[CASES[other]].append(Entry(AnotherCaseMerged(case_id=CASES[case]), at, 2 * minute + 1))
        for held_case, since in list(on_hold.items()):
            desk.held[held_case].update(range(since, minute))
            on_hold[held_case] = minute
        if kind == "hold":
            on_hold[case] = minute
        elif kind in {"resume", "merge"}:
            on_hold.pop(case, None)
        desk.take(minute, case, kind, other)
    lines = timelines(family)
    for number, case_id in enumerate(CASES):
        of = measured(lines[case_id], AS_OF)
        told_of = [
            (whole.time.calendar // (60 * SECOND), agents.time.calendar // (60 * SECOND))
            for whole, agents in zip(of.next_responses, of.next_responses_of_agents, strict=True)
            if whole.time is not None and agents.time is not None
        ]
        assert told_of == desk.responses.get(number, [])


# Laws

MINUTES = st.integers(-60, 6 * 24 * 60)
"""Of the events; what is from before the opening was recorded by an importer, or is a message."""
MOMENTS = st.integers(0, 6 * 24 * 60).map(lambda minute: START + timedelta(minutes=minute))
TALK = [GRACE_WROTE, replace(GRACE_WROTE, answered_live=True), KATHERINE_REPLIED]
NOISE = [ROBOT_REPLIED, KATHERINE_NOTED]
STATES = [
    *(KATHERINE_ASSIGNED, TRANSFERRED, WAITING, HELD, RESUMED, REOPENED, CLOSED),
    *(RESOLVED, replace(RESOLVED, reopen_until=None), replace(RESOLVED, by=Performer.AUTOMATION, reopen_until=None)),
]
ENDS = [WITHDRAWN, MARKED_AS_SPAM, MERGED]
OTHERS = [
    *(RAISED, CLASSIFIED, HANDED_OFF, FOLLOWED_UP),
    *(CalendarAssigned(calendar_id=each) for each in CALENDARS),
]
OPENINGS = st.sampled_from(
    [
        ACME_COMPLAINED,
        ACME_ASKED_LIVE,
        replace(ACME_COMPLAINED, waiting_since=monday(8) + timedelta(seconds=30)),
        replace(ACME_COMPLAINED, opened_by=ActorClass.AGENT_PUBLIC, direction=Direction.OUTBOUND),
        replace(ACME_COMPLAINED, opened_by=ActorClass.AGENT_INTERNAL, direction=Direction.OUTBOUND),
    ]
)


def happened(minute: int, number: int, event: Any) -> Told:
    """An event some minutes after the opening; messages get ids of their own."""
    at = START + timedelta(minutes=minute)
    changed = {"at": at} if isinstance(event, Happened) else {}
    own = {"message_id": MessageId(UUID(int=number))} if isinstance(event, Message) else {}
    return replace(event, **changed, **own), at


def lives(*kinds: Sequence[object]) -> st.SearchStrategy[list[Told]]:
    """An opening and up to twenty events after it, at times of their own, in the order of their valid time."""
    some = st.sampled_from([event for kind in kinds for event in kind])
    later = st.lists(st.tuples(MINUTES, some), max_size=20, unique_by=lambda each: each[0]).map(without_the_opening)
    return st.builds(
        lambda opening, events: [
            (opening, START),
            *(happened(minute, number, event) for number, (minute, event) in enumerate(events, 1)),
        ],
        OPENINGS,
        later,
    )


def without_the_opening(events: list[tuple[int, object]]) -> list[tuple[int, object]]:
    """In the order of their time, and none at the time of the opening."""
    return sorted((each for each in events if each[0]), key=lambda each: each[0])


WHOLE_LIVES = lives(TALK, NOISE, STATES, ENDS, OTHERS)
AS_OF = START + timedelta(days=7)


@given(life=WHOLE_LIVES)
def test_the_states_follow_each_other_without_a_gap(life: list[Told]) -> None:
    line = timeline(*life)
    assert line.intervals[0].started_at == line.opened_at
    assert line.intervals[-1].ended_at is None
    assert line.intervals[-1].status is line.status
    for before, after in pairwise(line.intervals):
        assert before.ended_at == after.started_at
        assert before.started_at < after.started_at
        assert before.status is not after.status
    assert (line.ended_at is None) == (line.status in ACTIVE)


def by_default(time: Time) -> Time:
    """The time by the rule by which times add up."""
    return replace(time, by_other_rules=())


@given(life=WHOLE_LIVES)
@settings(max_examples=200)
def test_the_times_of_the_states_add_up_to_the_whole(life: list[Told]) -> None:
    of = measured(timeline(*life), AS_OF)
    assert by_default(sum(of.states.values(), NO_TIME)) == by_default(of.whole)
    gaps = of.states[CaseStatus.RESOLVED] + of.states[CaseStatus.CLOSED]
    assert by_default(of.requester_wait + of.agent_wait + gaps) == by_default(of.whole)


@given(life=WHOLE_LIVES, as_of=MOMENTS)
@settings(max_examples=200)
def test_at_any_moment_of_its_life_the_times_add_up(life: list[Told], as_of: datetime) -> None:
    line = timelines({CLUMPS: entries(*life)}, until=as_of)[CLUMPS]
    of = measured(line, as_of)
    assert by_default(sum(of.states.values(), NO_TIME)) == by_default(of.whole)
    assert of.whole.calendar == ((line.ended_at or as_of) - line.opened_at) // timedelta(microseconds=1)


@given(life=WHOLE_LIVES, order=st.randoms())
@settings(max_examples=200)
def test_the_order_of_recording_changes_no_figure(life: list[Told], order: Random) -> None:
    shuffled = list(life)
    order.shuffle(shuffled)
    line, again = timeline(*life), timeline(*shuffled)
    assert measured(line, AS_OF) == measured(again, AS_OF)
    assert without_positions(line) == without_positions(again)


def without_positions(line: CaseTimeline) -> tuple[object, ...]:
    """When everything was, and how it ended, whatever its place in the log."""
    return (
        line.status,
        line.ended_at,
        line.closed_at,
        line.profiles,
        line.calendars,
        line.follow_ups,
        [replace(interval, position=0) for interval in line.intervals],
        [replace(turn, started_by=0, ended_by=0) for turn in line.turns],
        [replace(resolution, position=0, reopened_by=0) for resolution in line.resolutions],
    )


@given(life=WHOLE_LIVES)
@settings(max_examples=200)
def test_going_on_tells_the_same_as_reading_anew(life: list[Told]) -> None:
    known = entries(*life)
    reader = CaseReader(known[:1]).read({})
    before = reader.timeline()
    for count, entry in enumerate(known[1:], 2):
        since = reader.go_on(entry)
        if since is None:
            reader = CaseReader(known[:count]).read({})
        line = reader.timeline()
        assert line == timelines({CLUMPS: known[:count]})[CLUMPS]
        if since is not None:
            assert goes_on(before, line, since)
        before = line


def goes_on(before: CaseTimeline, line: CaseTimeline, since: datetime) -> bool:
    """Whether what was told before and what is told from an instant on are together all that is told."""
    measure = Measure(line, CALENDARS)
    stay = {fact for fact in case_facts(before, Measure(before, CALENDARS)) if fact.stays(since)}
    come = set(case_facts(line, measure, since))
    phases = [phase for phase in case_phases(before) if phase.since < since]
    phases_since = case_phases(line, phases.pop().since if phases else THE_BEGINNING)
    return stay | come == set(case_facts(line, measure)) and [*phases, *phases_since] == case_phases(line)


@given(life=WHOLE_LIVES)
def test_whatever_no_person_says_in_public_is_no_response(life: list[Told]) -> None:
    silent = [told for told in life if not isinstance(told[0], InternalNoteAdded) and not is_robot(told[0])]
    with_noise, without = measured(timeline(*life), AS_OF), measured(timeline(*silent), AS_OF)
    assert with_noise.first_response == without.first_response
    assert with_noise.next_responses == without.next_responses


def is_robot(event: SupportCaseEvent) -> bool:
    return isinstance(event, PublicReplySent) and event.sender is ActorClass.AUTOMATION


@given(life=WHOLE_LIVES)
def test_times_are_not_negative_and_parts_are_not_more_than_the_whole(life: list[Told]) -> None:
    line = timeline(*life)
    of = measured(line, AS_OF)
    assert all(time.calendar >= 0 for time in of.states.values())
    assert at_most(of.illegitimate_pause, of.agent_wait)
    if of.first_response.time is not None and of.first_response_by_human.time is not None:
        assert at_most(of.first_response_by_human.time, of.first_response.time)
    for agent, whole in zip(of.next_responses_of_agents, of.next_responses, strict=True):
        if agent.time is None or whole.time is None:
            assert agent.time is whole.time
            continue
        assert at_most(agent.time, whole.time)
        of_agents, of_all = (time.by_other_rules or (time.business,) * 2 for time in (agent.time, whole.time))
        assert all(
            one is all_of_it is None or 0 <= (one or 0) <= (all_of_it or 0)
            for one, all_of_it in zip(of_agents, of_all, strict=True)
        )


def at_most(part: Time, whole: Time) -> bool:
    """Whether a part is no longer than the whole, in either time."""
    return 0 <= part.calendar <= whole.calendar and 0 <= (part.business or 0) <= (whole.business or 0)


@given(life=WHOLE_LIVES, rule=st.sampled_from(list(enumerate(OTHER_RULES))))
@settings(max_examples=200)
def test_times_by_other_rules_are_what_is_measured_by_them(life: list[Told], rule: tuple[int, BusinessRule]) -> None:
    line, (place, other) = timeline(*life), rule
    usual, by_rule = measured(line, AS_OF), measured(line, AS_OF, other)
    for told, wanted in (
        (usual.whole, by_rule.whole),
        (usual.requester_wait, by_rule.requester_wait),
        *zip(usual.states.values(), by_rule.states.values(), strict=True),
        *((one.time, two.time) for one, two in zip(usual.next_responses, by_rule.next_responses, strict=True)),
        (usual.first_response.time, by_rule.first_response.time),
    ):
        if told is None or wanted is None:
            assert told is wanted
        else:
            assert (told.by_other_rules[place] if told.by_other_rules else told.business) == wanted.business


@given(life=WHOLE_LIVES)
def test_turns_follow_each_other_and_only_the_last_one_runs(life: list[Told]) -> None:
    turns: tuple[Turn, ...] = timeline(*life).turns
    for before, after in pairwise(turns):
        assert before.ended_at is not None
        assert before.ended_at <= after.started_at
    assert all(turn.outcome is not TurnOutcome.RUNNING for turn in turns[:-1])


@given(life=lives(TALK, NOISE, STATES), at=MOMENTS)
def test_a_first_response_once_given_stays(life: list[Told], at: datetime) -> None:
    earlier = timelines({CLUMPS: entries(*life)}, until=at)[CLUMPS].first_response
    if earlier.reply is not None:
        assert timeline(*life).first_response == earlier


@given(life=WHOLE_LIVES, at=MOMENTS)
def test_the_rules_of_the_case_see_the_same_state_as_its_figures(life: list[Told], at: datetime) -> None:
    state: SupportCase | None = None
    for event, _ in life:
        state = evolve(state, event)
    assert state is not None
    assert state.status(at) is timelines({CLUMPS: entries(*life)}, until=at)[CLUMPS].status


@given(life=lives(TALK, NOISE, STATES), other=lives(TALK, NOISE, STATES), at=MOMENTS)
@settings(max_examples=200)
def test_no_wait_vanishes_when_a_case_is_merged(life: list[Told], other: list[Told], at: datetime) -> None:
    """What was awaited before the merge is awaited, or was answered, since the same message or an older one."""
    before = timelines({CLUMPS: entries(*life)}, until=at)[CLUMPS]
    waiting = before.first_response.started_at if before.first_response.reason is Reason.NO_REPLY_YET else None
    running = [turn.started_at for turn in before.turns if turn.outcome is TurnOutcome.RUNNING]
    merged = [told for told in life if told[1] <= at] + [(CaseMergedInto(at=at, into_id=LATE_AGAIN), at)]
    into = [*(told for told in other if told[1] <= at), (AnotherCaseMerged(case_id=CLUMPS), at)]
    family = timelines({CLUMPS: entries(*merged), LATE_AGAIN: entries(*into, first=100)})
    goes_on = family[LATE_AGAIN].status in ACTIVE
    if waiting is not None:
        assert family[CLUMPS].first_response.started_at == waiting
    if running and goes_on:
        assert any(turn.started_at <= running[0] for turn in family[LATE_AGAIN].turns)
    whole = measured(family[CLUMPS], at)
    assert by_default(sum(whole.states.values(), NO_TIME)) == by_default(whole.whole)
