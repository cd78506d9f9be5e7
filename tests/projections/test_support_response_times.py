"""The facts and phases of support cases are what their events say, at every position, and however they are folded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from domain.case_events import AnotherCaseMerged, CaseId, CaseMergedInto, MessageId
from domain.case_facts import TIMES_OF, CaseFact
from domain.case_figures import OTHER_RULES, Time
from domain.case_phases import Clock
from domain.case_reading import CaseReader
from domain.case_timeline import CaseTimeline
from domain.working_hours import WorkingHours
from projections import REPORTS
from projections.case_entries import CalendarIsUnknown
from projections.read_model import Page, Snapshot
from projections.reports import Parameters, Report
from projections.support_response_times import NAME, SupportResponseTimes
from projections.support_tables import BUCKETED, FACT_COLUMNS, NO_BUCKET, NOBODY, NONE, TABLES, bucket
from tests.colleagues import BERLIN_OFFICE_IN_2026
from tests.complaints import (
    ACME_COMPLAINED,
    CLOSED,
    CLUMPS,
    GRACE_WROTE,
    HELD,
    KATHERINE_ASSIGNED,
    KATHERINE_REPLIED,
    REOPENED,
    RESOLVED,
    RESUMED,
    monday,
)
from tests.projections.logs import Folded, LogOf
from tests.projections.support import Support, Told, expected, random_families, random_support

OF_SUPPORT = [report for report in REPORTS if report.definition.model == NAME]


_VISIBLE = "position <= %(at)s AND (superseded_at_position IS NULL OR superseded_at_position > %(at)s)"


def facts_at(folded: Folded, position: int) -> set[tuple[Any, ...]]:
    """The facts that are known at a position, each with its table, without their own positions."""
    found: set[tuple[Any, ...]] = set()
    for kind, table in TABLES.items():
        columns = [each for each in FACT_COLUMNS[kind].split(", ") if each not in NOT_COMPARED]
        statement = f"SELECT '{kind}', {', '.join(columns)} FROM {{{table}}} WHERE {_VISIBLE}"
        found |= set(folded.connection.execute(folded.tables.sql(statement), {"at": position}))
    return found


NOT_COMPARED = {"position", "superseded_at_position", "opened_at", "opened_by", "kind", "channel", "day", "month"}
"""What is the same for all facts of a case, or follows from another column."""


RUNNING = [f"{clock}_{what}" for clock in Clock for what in ("since", "by")]


def phases_at(folded: Folded, position: int) -> set[tuple[Any, ...]]:
    """The phases that are known at a position."""
    rows = folded.connection.execute(
        folded.tables.sql(
            "SELECT case_id, since, nullif(until, 'infinity'), status, customer_id, priority, category, product_id, "
            f"team_id, staff_id, awaited, waiting_since, waiting_by, {', '.join(RUNNING)} FROM {{phases}} "
            f"WHERE {_VISIBLE}"
        ),
        {"at": position},
    )
    return set(rows)


def stored(by: Any) -> tuple[Any, ...]:
    return (
        by.customer_id or NOBODY,
        by.priority,
        by.category or NONE,
        by.product_id or NOBODY,
        by.team_id or NOBODY,
        by.staff_id or NOBODY,
    )


def facts_of(told: Told) -> set[tuple[Any, ...]]:
    return {tuple(_columns_of(told.case_id, fact)) for fact in told.facts}


def _columns_of(case_id: CaseId, fact: CaseFact) -> Iterator[Any]:
    yield from (str(fact.kind), case_id, *stored(fact.counted_by))
    yield from (fact.number, fact.at, fact.started_by, fact.ended_by)
    for name, time in zip(TIMES_OF.get(fact.kind, ()), fact.times, strict=True):
        times = (None, None) if time is None else (time.calendar, time.business)
        yield from times
        yield from (None if each == times[1] else each for each in by_other_rules(time))
        if name in BUCKETED:
            yield from (NO_BUCKET if each is None else bucket(each) for each in times)
    for verdict in fact.judgements:
        yield from (None, None) if verdict is None else (verdict.value, verdict.settled_at)
    if fact.kind in TIMES_OF:
        yield str(fact.reason or NONE)
    if fact.scale is not None:
        yield str(fact.scale)
    if fact.score is not None:
        yield fact.score


def by_other_rules(time: Time | None) -> Sequence[int | None]:
    return (None,) * len(OTHER_RULES) if time is None or not time.by_other_rules else time.by_other_rules


def phases_of(told: Told) -> set[tuple[Any, ...]]:
    return {
        (
            *(told.case_id, each.since, each.until, str(each.status)),
            *stored(each.counted_by),
            *(each.awaited or NONE, each.waiting_since, each.waiting_by),
            *(value for began in each.running for value in began or (None, None)),
        )
        for each in told.phases
    }


@pytest.mark.parametrize("seed", range(4))
def test_every_fact_and_phase_at_every_position_is_what_the_events_up_to_there_say(support: Folded, seed: int) -> None:
    log = random_support(seed).log
    support.fold(log, page_size=9)
    assert is_what_the_events_say(support, log)


@pytest.mark.parametrize("seed", range(12))
def test_so_it_is_of_families_in_which_no_case_comes_back_to_itself(support: Folded, seed: int) -> None:
    """Of these only what an event changes is looked at."""
    made = random_families(seed)
    if seed % 3 == 0:
        made.revise(BERLIN_OFFICE_IN_2026, monday(0), None)
    support.fold(made.log, page_size=9)
    assert is_what_the_events_say(support, made.log)


class Merges(StrEnum):
    """How cases become one."""

    INTO_ONE = "into one"
    IN_A_CHAIN = "in a chain"


def large_family(how: Merges, count: int) -> Support:
    """So many unanswered cases that are merged, then talk and states in the last one, and the reply to all."""
    made = Support().begun()
    ids = [CaseId(UUID(int=0xFA000000 + number)) for number in range(count + 1)]
    for number, case_id in enumerate(ids):
        made.tell(case_id, replace(ACME_COMPLAINED, case_number=f"T-{number}", message_id=MessageId(UUID(int=number))))
    at = monday(10)
    for number, case_id in enumerate(ids[:-1]):
        at += timedelta(seconds=1)
        into = ids[-1] if how is Merges.INTO_ONE else ids[number + 1]
        made.tell(case_id, CaseMergedInto(at=at, into_id=into))
        made.tell(into, (AnotherCaseMerged(case_id=case_id), at))
    for event in (KATHERINE_ASSIGNED, HELD, RESUMED, KATHERINE_REPLIED, GRACE_WROTE, KATHERINE_REPLIED, RESOLVED):
        at += timedelta(minutes=1)
        made.tell(ids[-1], replace(event, at=at))
    return made


class Work:
    """Counts what is read and measured of cases while they are folded."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.entries = self.timelines = 0
        tell, timeline = CaseReader._tell, CaseReader.timeline  # noqa: SLF001 - it is counted, not used

        def counted_tell(reader: CaseReader, *said: Any) -> None:
            self.entries += 1
            tell(reader, *said)

        def counted_timeline(reader: CaseReader) -> CaseTimeline:
            self.timelines += 1
            return timeline(reader)

        patch.setattr(CaseReader, "_tell", counted_tell)
        patch.setattr(CaseReader, "timeline", counted_timeline)


@pytest.mark.parametrize(("how", "count"), [(Merges.INTO_ONE, 450), (Merges.IN_A_CHAIN, 300)])
def test_a_large_family_costs_what_its_events_cost(
    support: Folded, monkeypatch: pytest.MonkeyPatch, how: Merges, count: int
) -> None:
    work, made = Work(monkeypatch), Support()
    costs = []
    for size in (count // 2, count):
        made = large_family(how, size)
        with support.afresh():
            work.entries = work.timelines = 0
            support.fold(made.log, page_size=100)
            costs.append((work.entries, work.timelines))
            assert holds_at(support, made.log, made.log.head())
    (entries, timelines_told), (twice_the_entries, twice_the_timelines) = costs
    assert twice_the_entries <= 2.1 * entries
    assert twice_the_timelines <= 2.1 * timelines_told
    # Each event is read once or twice, and not once for each case.
    assert twice_the_entries <= 3 * made.log.head()


def is_what_the_events_say(support: Folded, log: LogOf) -> bool:
    """Whether the tables tell at every position what follows from the events up to there."""
    return all(holds_at(support, log, position) for position in range(1, log.head() + 1))


def holds_at(support: Folded, log: LogOf, position: int) -> bool:
    """Whether they tell so at one position."""
    told = list(expected(log, position))
    assert facts_at(support, position) == set().union(*(facts_of(each) for each in told))
    assert phases_at(support, position) == set().union(*(phases_of(each) for each in told))
    return True


def test_a_late_event_may_begin_a_phase_before_all_others(support: Folded) -> None:
    made = Support().begun()
    made.tell(CLUMPS, ACME_COMPLAINED, (CLOSED, monday(8)), replace(REOPENED, at=monday(12)))
    made.tell(CLUMPS, replace(REOPENED, at=monday(10)))
    support.fold(made.log)
    assert [since for _, since, *_ in phases_at(support, made.log.head())] == [monday(10)]
    assert is_what_the_events_say(support, made.log)


@pytest.mark.parametrize("seed", range(4))
def test_it_makes_no_difference_how_the_log_is_cut_into_pages(support: Folded, seed: int) -> None:
    log = random_support(seed, events=150).log
    digests = []
    for page_size in (1, 7, 500):
        with support.afresh():
            digests.append(support.fold(log, page_size).digest())
    assert digests[0] == digests[1] == digests[2]


class Pages(StrEnum):
    """What may happen to a page."""

    FOLDED = "folded"
    FAILED_ONCE = "failed_once"
    WITHOUT_MEMORY = "without_memory"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(166_543, [(1, Pages.FOLDED)], 0)  # two cases are merged into each other
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from(Pages)), min_size=1),
    st.integers(0, 40),
)
def test_it_makes_no_difference_what_is_remembered_between_pages(
    support: Folded, seed: int, pages: list[tuple[int, Pages]], entries_max: int
) -> None:
    log = random_support(seed, events=80).log
    with support.afresh():
        at_once = support.fold(log).digest()
    with support.afresh(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("projections.known_cases._ENTRIES_MAX", entries_max)
        for size, what in pages:
            if what is Pages.WITHOUT_MEMORY:
                support.forget()
            elif what is Pages.FAILED_ONCE:
                support.fail(log, size)
            support.fold_page(log, size)
        assert support.fold(log, page_size=11).digest() == at_once


def test_a_page_that_goes_on_reads_no_case_again(support: Folded) -> None:
    made = Support().begun()
    made.tell(CLUMPS, ACME_COMPLAINED)
    support.fold(made.log)
    support.connection.execute(support.tables.sql("DELETE FROM {entries}"))
    made.tell(CLUMPS, replace(KATHERINE_REPLIED, at=monday(10)))
    support.fold(made.log)
    assert business_hours(support, made.log.head(), "first_response") == {"first_response": 1}


def test_a_wrong_fold_is_found_by_its_digest(support: Folded) -> None:
    log = random_support(1).log
    with support.afresh():
        right = support.fold(log).digest()
    with support.afresh():
        support.model = _Careless()
        wrong = support.fold(log).digest()
    assert {table for table in right if right[table] != wrong[table]} == {"endings"}


class _Careless(SupportResponseTimes):
    """Takes a second off the longest time that anything took."""

    def fold(self, page: Page) -> None:
        super().fold(page)
        page.execute(
            "UPDATE {endings} SET full_resolution_calendar = full_resolution_calendar - 1000000 "
            "WHERE full_resolution_calendar = (SELECT max(full_resolution_calendar) FROM {endings})"
        )


def test_a_calendar_that_was_never_defined_stops_the_fold(support: Folded) -> None:
    made = Support()
    made.tell(CLUMPS, ACME_COMPLAINED)
    with pytest.raises(CalendarIsUnknown):
        support.fold(made.log)


# Answers


QUESTIONS: dict[str, list[Parameters]] = {
    "support_response_times": [
        {},
        {"by": ["month,team"], "measure": ["first_response,requester_wait"]},
        {"by": ["priority,kind"], "basis": ["opened"], "from": ["2026-06-08"], "to": ["2026-06-12"]},
        {"by": ["customer"], "where": ["channel:email"], "tz": ["America/New_York"]},
    ],
    "support_outcomes": [{}, {"by": ["category,kind"]}, {"by": ["month"], "where": ["priority:normal"]}],
    "support_satisfaction": [{}, {"by": ["kind"]}],
    "support_comparison": [{"base_to": ["2026-06-10"], "from": ["2026-06-10"]}],
    "support_backlog": [{}, {"by": ["status,team"]}, {"by": ["product"], "valid_at": ["2026-06-11T12:00:00Z"]}],
    "waiting_now": [{}, {"awaited": ["reply"]}, {"valid_at": ["2026-06-11T12:00:00Z"], "where": ["team:"]}],
}
MOMENT = datetime(2026, 6, 30, tzinfo=UTC).isoformat()


def asked(report: Report) -> list[Parameters]:
    """Questions to a report, each as of a moment."""
    moment = {"valid_at": [MOMENT]} if report.definition.moment else {}
    return [{**moment, **question} for question in QUESTIONS[report.definition.name]]


def answers(folded: Folded, report: Report, position: int) -> list[bytes]:
    """The answers of a report to its questions at a position, and the events behind them."""

    def ask(parameters: Parameters) -> Callable[[Snapshot], Any]:
        async def answer(snapshot: Snapshot) -> bytes:
            shown, behind = await report.run(snapshot, parameters), await report.evidence(snapshot, parameters)
            return shown.json() + shown.csv() + behind.json()

        return answer

    return folded.ask(*((position, ask(parameters)) for parameters in asked(report)))


def test_every_report_on_support_is_asked_something() -> None:
    assert {report.definition.name for report in OF_SUPPORT} == QUESTIONS.keys()


@pytest.mark.parametrize("report", OF_SUPPORT, ids=lambda report: report.definition.name)
def test_a_late_fact_changes_no_earlier_answer_and_some_later_one(support: Folded, report: Report) -> None:
    made = random_support(7, events=50)
    support.fold(made.log)
    head = made.log.head()
    before = {position: answers(support, report, position) for position in (head // 3, head - 5, head)}
    made.live(Random(8), cases=2, events=20)  # noqa: S311 - it decides what happens in a test
    support.fold(made.log, page_size=6)
    assert {position: answers(support, report, position) for position in before} == before
    assert answers(support, report, made.log.head()) != before[head]


def test_a_holiday_that_is_entered_late_changes_business_times_from_then_on_known(support: Folded) -> None:
    made = Support().begun()
    made.tell(CLUMPS, ACME_COMPLAINED, replace(KATHERINE_REPLIED, at=monday(10)), RESOLVED)
    before = made.log.head()
    made.revise(WorkingHours(time_zone="Europe/Berlin"), monday(0), monday(0) + timedelta(days=1))
    support.fold(made.log)
    names = ("first_response", "full_resolution")
    hours = {position: business_hours(support, position, *names) for position in (before, before + 1)}
    assert hours == {
        before: {"first_response": 1, "full_resolution": 5},
        before + 1: {"first_response": 0, "full_resolution": 0},
    }
    assert phases_at(support, before) == phases_at(support, before + 1)


def business_hours(folded: Folded, position: int, *names: str) -> dict[str, int]:
    hours = {}
    for name in names:
        table = {"first_response": "first_responses", "full_resolution": "endings"}[name]
        statement = f"SELECT {name}_business / 3600000000, {name}_calendar FROM {{{table}}} WHERE {_VISIBLE}"
        ((hours[name], calendar),) = folded.connection.execute(folded.tables.sql(statement), {"at": position})
        assert calendar == {"first_response": 1, "full_resolution": 5}[name] * 3_600_000_000
    return hours


def test_a_revision_of_many_cases_is_written_in_groups(support: Folded, monkeypatch: pytest.MonkeyPatch) -> None:
    made = random_support(11, cases=9, events=80)
    made.revise(BERLIN_OFFICE_IN_2026, monday(0), None)
    with support.afresh():
        at_once = support.fold(made.log, page_size=500).digest()
    with support.afresh():
        monkeypatch.setattr("projections.support_response_times._CASES_AT_ONCE", 2)
        assert support.fold(made.log, page_size=500).digest() == at_once
