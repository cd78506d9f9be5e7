"""The incident log of a help desk: what the file says, what its import makes of it, and that both agree.

Everything that is expected is calculated with SQL from the raw file. By default a sample is imported: each twenty-fifth
incident, and all in which something is unusual. With RAPPORT_FULL=1 it is the whole file.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from domain.case_status import CaseStatus
from domain.case_timeline import Reason
from domain.clock import microseconds
from tests.real_data.cases import Case, Imported, imported
from tests.real_data.incidents import IncidentLog, read_incidents
from tests.real_data.pages import HOW_TO, table

PAGE = HOW_TO / "import-uci-incident.md"
UNUSUAL = """
    reopened > 0 OR has_state_100 OR opened_at > first_updated_at OR resolved_at > last_resolved_at
    OR closed_at > last_closed_at OR rows_in_resolved = 0 OR contact_type <> 'Phone' OR changes_caller
    OR number = '0000137'
"""
SAMPLE = "true" if os.environ.get("RAPPORT_FULL") else f"nth % 25 = 0 OR {UNUSUAL}"
INCIDENTS_AGAIN = 100
"""How many incidents are imported a second time."""

EVENTS = {
    "opened": "support-case.opened",
    "reopened": "support-case.reopened",
    "another caller": "support-case.customer-identified",
    "transferred": "support-case.transferred",
    "assigned": "support-case.assigned",
    "another priority": "support-case.priority-changed",
    "classified": "support-case.classified",
    "resumed": "support-case.resumed",
    "waiting for the customer": "support-case.wait-for-customer-begun",
    "on hold": "support-case.put-on-hold",
    "resolved": "support-case.resolved",
    "closed": "support-case.closed",
}
"""The event that each step of an incident is."""
CONTRADICTIONS = {
    "state -100": "has_state_100",
    "older than its opening": "opened_at > first_updated_at",
    "resolved again": "resolved_at > last_resolved_at",
    "closed again": "closed_at > last_closed_at",
    "without resolved_at": "resolved_at IS NULL",
    "new again without reopening": "number = '0000137'",
}
PRIORITIES = {"1": "critical", "2": "high", "3": "normal", "4": "low"}


@pytest.fixture(scope="module")
def incidents(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IncidentLog]:
    """The tables of the whole file, and which incidents are in the sample."""
    read = read_incidents(real_data, tmp_path_factory.mktemp("incidents"))
    with closing(read.tables):
        read.tables.execute(f"CREATE TABLE sample AS SELECT * FROM incidents WHERE {SAMPLE}")
        yield read


@pytest.fixture(scope="module")
def desk(incidents: IncidentLog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imported]:
    """A service into which the sample was imported."""
    file = tmp_path_factory.mktemp("desk") / "incidents.csv"
    incidents.part((number for (number,) in incidents.rows("SELECT number FROM sample")), file)
    with imported(file, "uci-incident.toml") as desk:
        yield desk


@pytest.fixture(scope="module")
def cases(desk: Imported) -> Mapping[str, Case]:
    """The cases of the log by the number of the incident."""
    return {number.removeprefix("INC"): case for number, case in desk.cases().items()}


def times(incidents: IncidentLog, expression: str) -> dict[str, Any]:
    """What the raw file says about each incident of the sample."""
    return dict(incidents.rows(f"SELECT number, {expression} FROM sample"))


# What the page says about the file


def count(incidents: IncidentLog, condition: str) -> tuple[Decimal]:
    (number,) = incidents.row(f"SELECT count(*) FROM incidents WHERE {condition}")
    return (Decimal(number),)


def hours(incidents: IncidentLog, until: str, condition: str) -> tuple[Decimal, Decimal, Decimal]:
    """How many incidents, and the mean and the median of the hours since they were opened."""
    number, total, median = incidents.row(
        f"SELECT count(*), sum({until} - opened_at)::bigint, median({until} - opened_at) "
        f"FROM incidents WHERE {condition}"
    )
    return (
        Decimal(number),
        (Decimal(total) / number / 3_600_000_000).quantize(Decimal("0.01")),
        (Decimal(median) / 3_600_000_000).quantize(Decimal("0.01")),
    )


def test_the_page_says_how_the_column_and_the_changes_differ(incidents: IncidentLog) -> None:
    resolved_at_once = "first_state = 'Resolved' AND first_updated_by = '908'"
    assert table(PAGE, "resolved_at") == {
        "all incidents": count(incidents, "true"),
        "is filled": count(incidents, "resolved_at IS NOT NULL"),
        "is filled, and is when the state changed to Resolved for the last time": count(
            incidents, "resolved_at = last_resolved_at"
        ),
        "is filled, and is later than that": count(incidents, "resolved_at > last_resolved_at"),
        "is filled, and is when the last row in state Resolved was written": count(
            incidents, "resolved_at = last_row_in_resolved"
        ),
        "is empty": count(incidents, "resolved_at IS NULL"),
        "is empty, and the first row is in state Resolved and written by user 908": count(
            incidents, f"resolved_at IS NULL AND {resolved_at_once}"
        ),
        "is empty, and no row is in state Resolved": count(incidents, "resolved_at IS NULL AND rows_in_resolved = 0"),
        "is filled, though the first row is in state Resolved and written by user 908": count(
            incidents, f"resolved_at IS NOT NULL AND {resolved_at_once}"
        ),
    }


def test_the_page_says_what_that_does_to_the_resolution_times(incidents: IncidentLog) -> None:
    filled = "resolved_at IS NOT NULL"
    assert table(PAGE, "hours from opened_at") == {
        "to resolved_at, where it is filled": hours(incidents, "resolved_at", filled),
        "to the last change to Resolved, of the same incidents": hours(incidents, "last_resolved_at", filled),
        "to the first change to Resolved, of the same incidents": hours(incidents, "first_resolved_at", filled),
        "to the last change to Resolved or Closed, of all incidents": hours(incidents, "last_resolved_at", "true"),
        "to the first change to Resolved or Closed, of all incidents": hours(incidents, "first_resolved_at", "true"),
    }


def test_the_page_says_by_how_much_the_column_is_later(incidents: IncidentLog) -> None:
    least, most, total = incidents.row(
        "SELECT min(resolved_at - last_resolved_at) / 60e6, max(resolved_at - last_resolved_at) / 86400e6, "
        "sum(resolved_at - last_resolved_at) / 3600e6 FROM incidents WHERE resolved_at > last_resolved_at"
    )
    (filled,) = count(incidents, "resolved_at IS NOT NULL")
    (late,) = count(incidents, "closed_at > last_closed_at")
    page = PAGE.read_text("utf-8")
    for sentence in (
        f"by {least:.0f} minute at least and {most:.0f} days at most",
        f"{total / float(filled):.2f} hours longer, {total:,.0f} hours in all",
        f"in {late} incidents it is later than the last change to Closed",
    ):
        assert sentence in page


def test_the_file_counts_as_many_reopenings_as_its_rows_show(incidents: IncidentLog) -> None:
    assert incidents.row("SELECT sum(reopenings), sum(reopened) FROM incidents") == (331, 331)
    assert incidents.rows("SELECT number FROM incidents WHERE reopenings <> reopened") == []


def test_the_page_says_under_what_the_rows_are_counted(incidents: IncidentLog) -> None:
    outcomes = dict(incidents.rows("SELECT coalesce(steps[1], 'unchanged'), count(*) FROM steps GROUP BY 1"))
    assert table(PAGE, "outcome") == {
        **{outcome: (Decimal(rows),) for outcome, rows in outcomes.items()},
        "together": (Decimal(141_712),),
    }


def test_the_page_says_where_the_file_contradicts_itself(incidents: IncidentLog) -> None:
    assert table(PAGE, "contradiction") == {
        name: count(incidents, condition) for name, condition in CONTRADICTIONS.items()
    }


def test_the_page_says_what_the_log_does_not_show(incidents: IncidentLog) -> None:
    (live,), (others,) = (
        count(incidents, "answered_live"),
        count(incidents, "contact_type = 'Phone' AND NOT answered_live"),
    )
    (waited,) = incidents.row("SELECT count(DISTINCT number) FROM spells WHERE state = 'Awaiting User Info'")
    unanswered, paused = incidents.row(
        "SELECT count(*), sum(waiting_on_customer) / 3600e6 FROM incidents "
        "WHERE waiting_on_customer > 0 AND NOT answered_live"
    )
    commands, people = (
        incidents.row("SELECT sum(len(steps)) FROM steps")[0],
        incidents.row("SELECT count(DISTINCT opened_by), count(DISTINCT assigned_to) FROM raw"),
    )
    page = " ".join(PAGE.read_text("utf-8").split())
    for sentence in (
        f"who took the call: {live:,} incidents. The other {others} calls name nobody",
        f"let {waited:,} incidents wait for the user",
        f"in {unanswered} others, {paused:,.0f} hours are shown as illegitimate pause",
        f"{commands:,} for cases",
        f"the {people[0]} openers and {people[1]} assignees",
    ):
        assert sentence in page


# What the import makes of it


def test_every_row_is_counted_under_exactly_one_outcome(incidents: IncidentLog, desk: Imported) -> None:
    expected = incidents.rows(
        "SELECT coalesce(steps[1], 'unchanged'), count(*) FROM steps SEMI JOIN sample USING (number) GROUP BY 1"
    )
    assert desk.summary["outcomes"] == dict(expected)
    assert desk.summary["rows_counted"] == desk.summary["rows_read"] == sum(rows for _, rows in expected)
    assert desk.summary["documents"] == len(times(incidents, "nth"))
    assert desk.summary["refused"] == {}
    assert desk.summary["complete"]


def test_the_log_holds_exactly_what_each_row_changed(incidents: IncidentLog, cases: Mapping[str, Case]) -> None:
    expected: dict[str, Counter[tuple[str, int, int]]] = {number: Counter() for number in cases}
    changes = incidents.rows(
        "SELECT number, step, CASE step WHEN 'opened' THEN opened_at ELSE happened_at END, updated_at "
        "FROM (SELECT *, unnest(steps) AS step FROM steps SEMI JOIN sample USING (number))"
    )
    for number, step, occurred_at, updated_at in changes:
        expected[number][EVENTS[step], occurred_at, updated_at] += 1
    assert {number: Counter(entry.step for entry in case.entries) for number, case in cases.items()} == expected


def test_every_command_that_is_sent_changes_something(desk: Imported) -> None:
    accepted = sum(counts["accepted"] for counts in desk.summary["commands"].values())
    assert desk.position() == accepted


def test_rows_that_contradict_others_are_named(incidents: IncidentLog, desk: Imported) -> None:
    special = desk.summary["special"]
    assert {name: special[name]["documents"] for name in special} == {
        name: incidents.row(f"SELECT count(*) FROM sample WHERE {condition}")[0]
        for name, condition in CONTRADICTIONS.items()
    }


def test_resolution_times_are_those_of_the_changes(incidents: IncidentLog, cases: Mapping[str, Case]) -> None:
    found = {
        number: (case.figures.first_resolution.time, case.figures.full_resolution.time)
        for number, case in cases.items()
    }
    expected = {
        number: (first, last)
        for number, first, last in incidents.rows(
            "SELECT number, first_resolved_at - opened_at, last_resolved_at - opened_at FROM sample"
        )
    }
    assert {
        number: (first and first.calendar, full and full.calendar) for number, (first, full) in found.items()
    } == expected


def test_the_log_keeps_what_the_column_claims(incidents: IncidentLog, cases: Mapping[str, Case]) -> None:
    claimed = times(
        incidents, "'resolved_at of the source: ' || strftime(make_timestamp(resolved_at), '%Y-%m-%dT%H:%M:%SZ')"
    )
    assert {number: case.entries[-1].reason for number, case in cases.items()} == claimed


def test_the_two_resolution_times_differ_where_the_page_says(incidents: IncidentLog, cases: Mapping[str, Case]) -> None:
    expected = times(incidents, "CASE WHEN resolved_at IS NULL THEN NULL ELSE resolved_at - last_resolved_at END")
    resolved = {number: microseconds(case.timeline.resolutions[-1].at) for number, case in cases.items()}
    column = times(incidents, "resolved_at")
    assert expected == {
        number: None if column[number] is None else column[number] - at for number, at in resolved.items()
    }
    later = [difference for difference in expected.values() if difference]
    assert (len(later), min(later)) == (295, 60_000_000)


def test_the_times_of_the_states_are_those_of_the_changes(incidents: IncidentLog, cases: Mapping[str, Case]) -> None:
    expected = {
        number: (waiting, held, resolved, whole - waiting - held - resolved)
        for number, waiting, held, resolved, whole in incidents.rows(
            "SELECT number, waiting_on_customer, on_hold, resolved_time, last_resolved_at - opened_at FROM sample"
        )
    }
    assert {
        number: (
            case.figures.agent_wait.calendar,
            case.figures.states[CaseStatus.ON_HOLD].calendar,
            case.figures.states[CaseStatus.RESOLVED].calendar + _closed_in_between(case),
            case.figures.agent_work.calendar,
        )
        for number, case in cases.items()
    } == expected


def _closed_in_between(case: Case) -> int:
    closed = case.figures.states.get(CaseStatus.CLOSED)
    return closed.calendar if closed is not None else 0


def test_cases_were_reopened_as_often_as_the_file_counts(incidents: IncidentLog, cases: Mapping[str, Case]) -> None:
    assert {number: case.timeline.reopen_count for number, case in cases.items()} == times(incidents, "reopened")


def test_who_called_and_was_taken_was_answered_at_once(incidents: IncidentLog, cases: Mapping[str, Case]) -> None:
    for number, is_live in times(incidents, "answered_live").items():
        first = cases[number].figures.first_response
        if is_live:
            assert (first.reason, first.time and first.time.calendar) == (Reason.ANSWERED_LIVE, 0)
        else:
            assert first.time is None
            assert first.reason in {Reason.RESOLVED_WITHOUT_REPLY, Reason.OUTBOUND}


def test_waiting_for_customers_whom_nobody_has_answered_is_shown(
    incidents: IncidentLog, cases: Mapping[str, Case]
) -> None:
    expected = times(incidents, "CASE WHEN answered_live THEN 0 ELSE waiting_on_customer END")
    found = {number: case.figures.illegitimate_pause.calendar for number, case in cases.items()}
    assert found == expected
    assert sum(found.values()) > 0


def test_user_908_closes_by_itself(incidents: IncidentLog, cases: Mapping[str, Case]) -> None:
    expected = times(incidents, "last_closed_by = '908'")
    assert {number: case.timeline.closed_by_automation for number, case in cases.items()} == expected
    assert set(expected.values()) == {True, False}


def test_cases_end_where_the_file_leaves_them(
    incidents: IncidentLog, desk: Imported, cases: Mapping[str, Case]
) -> None:
    known = desk.identifiers("customer", "team", "staff")
    found = {
        number: (
            case.timeline.status,
            known[case.timeline.profiles[-1].customer_id],
            known[case.timeline.profiles[-1].team_id],
            known[case.timeline.profiles[-1].assignee_id],
            case.timeline.profiles[-1].priority,
            case.timeline.profiles[-1].category,
        )
        for number, case in cases.items()
    }
    assert found == {
        number: (CaseStatus.CLOSED, caller, team, assignee and f"assignee-{assignee}", PRIORITIES[priority], category)
        for number, caller, team, assignee, priority, category in incidents.rows(
            "SELECT number, caller, team, assignee, priority, classification FROM sample"
        )
    }


@pytest.mark.parametrize(
    ("measure", "until"), [("first_resolution", "first_resolved_at"), ("full_resolution", "last_resolved_at")]
)
def test_the_report_tells_the_same_resolution_times(
    incidents: IncidentLog, desk: Imported, measure: str, until: str
) -> None:
    """Number, sum and median by month, and the percentiles of all of them, beside SQL over the raw file."""
    took = f"SELECT {until} AS stopped_at, {until} - opened_at AS took FROM sample"
    by_month = incidents.rows(
        "SELECT strftime(make_timestamp(stopped_at), '%Y-%m'), count(*), sum(took)::bigint, median(took) "
        f"FROM ({took}) GROUP BY 1 ORDER BY 1"
    )
    found = desk.report("support_response_times", measure=measure, by="month", tz="UTC")
    assert [(row["month"], row["calendar_n"], row["calendar_total"]) for row in found] == [row[:3] for row in by_month]
    assert [row["calendar_p50"] for row in found] == pytest.approx([row[3] for row in by_month], abs=0.5)
    (percentiles,) = incidents.rows(f"SELECT quantile_cont(took, [0.5, 0.9, 0.99]) FROM ({took})")
    (whole,) = desk.report("support_response_times", measure=measure)
    assert [whole[f"calendar_p{percent}"] for percent in (50, 90, 99)] == pytest.approx(percentiles[0], abs=0.5)


def test_the_report_tells_the_same_times_of_the_states(incidents: IncidentLog, desk: Imported) -> None:
    paused = "SUM(CASE WHEN answered_live THEN 0 ELSE waiting_on_customer END)"
    (expected,) = incidents.rows(f"SELECT sum(waiting_on_customer), sum(on_hold), {paused}, count(*) FROM sample")
    measures = ("time_waiting_on_customer", "time_on_hold", "illegitimate_pause")
    rows = {row["measure"]: row for row in desk.report("support_response_times", measure=",".join(measures))}
    assert tuple(rows[name]["calendar_total"] for name in measures) == expected[:3]
    assert {row["calendar_n"] for row in rows.values()} == {expected[3]}


def test_at_any_moment_as_many_incidents_are_open_as_the_file_says(incidents: IncidentLog, desk: Imported) -> None:
    for moment in ("2016-03-10 12:00", "2016-04-20 09:30", "2016-05-23 17:45"):
        at = f"epoch_us(TIMESTAMP '{moment}')"
        in_between = "(SELECT number FROM spells WHERE state IN ('Resolved', 'Closed') "
        in_between += f"AND began_at <= {at} AND ended_at > {at})"
        (open_ones,) = incidents.row(
            f"SELECT count(*) FROM sample WHERE opened_at <= {at} AND last_resolved_at > {at} "
            f"AND number NOT IN {in_between}"
        )
        (row,) = desk.report("support_backlog", valid_at=f"{moment.replace(' ', 'T')}:00Z")
        assert row["open"] == open_ones > 0, moment


def test_importing_again_changes_nothing(incidents: IncidentLog, desk: Imported, tmp_path: Path) -> None:
    again = incidents.rows(f"SELECT number FROM sample ORDER BY reopened DESC, number LIMIT {INCIDENTS_AGAIN}")
    incidents.part((number for (number,) in again), tmp_path / "again.csv")
    before = desk.position()
    summary = desk.again(tmp_path / "again.csv")
    assert desk.position() == before
    assert summary["complete"]
    assert {name: counts["accepted"] for name, counts in summary["commands"].items()} == dict.fromkeys(
        summary["commands"], 0
    )
