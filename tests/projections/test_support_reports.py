"""The reports on support, beside what is counted by hand from the facts of each case, at many positions."""

import statistics
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from domain.case_events import ActorClass, AnotherCaseMerged, CalendarAssigned, CaseId, CaseKind, Priority
from domain.case_facts import TIMES, FactName
from domain.case_figures import OTHER_RULES, BusinessRule, Measure, Time
from domain.case_phases import CasePhase, Clock
from domain.case_timeline import Reason
from domain.customer import Direction
from domain.service_calendar import CalendarDefined, CalendarId
from domain.working_hours import Interval, Week, WorkingHours
from projections.read_model import AgentReports, Policy, Snapshot
from projections.reports import ParameterIsInvalid, Parameters, Report, ReportAnswer
from projections.statistics import wilson
from projections.support_backlog import SupportBacklogReport
from projections.support_comparison import SupportComparisonReport
from projections.support_outcomes import MEANINGS, SupportOutcomesReport, SupportSatisfactionReport
from projections.support_reports import SupportResponseTimesReport
from projections.support_tables import TIMES_BY
from projections.waiting_now import WaitingNowReport
from tests.colleagues import KATHERINE, SECOND_LEVEL
from tests.complaints import (
    ACME_ASKED_LIVE,
    ACME_COMPLAINED,
    CLOSED,
    CLUMPS,
    GRACE_IDENTIFIED,
    GRACE_WROTE,
    HANDED_OFF,
    HELD,
    KATHERINE_ASSIGNED,
    KATHERINE_REPLIED,
    LATE_AGAIN,
    MERGED,
    RAISED,
    REOPENED,
    RESOLVED,
    WAITING,
    WITHDRAWN,
    monday,
    tuesday,
)
from tests.people import ACME
from tests.projections.logs import Folded
from tests.projections.support import COLLEAGUES, Measured, Support, Told, expected, measured, random_support

ALL_PEOPLE = Policy("Europe/Berlin", AgentReports.ON)
MOMENT = datetime(2026, 6, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3_600_000_000

OTHER_MERGED_HERE = AnotherCaseMerged(case_id=CLUMPS)
REPORT = SupportResponseTimesReport()


@pytest.fixture(params=["facts", "small blocks"])
def summed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sums from facts alone, as in a young log, or from blocks of four and of eight positions, too."""
    if request.param == "small blocks":
        small = {columns: replace(each, levels=(2, 3)) for columns, each in TIMES_BY.items()}
        small[()] = replace(small[()], within=small["kind",])
        ordered = (small["kind",], *(each for columns, each in small.items() if columns != ("kind",)))
        monkeypatch.setattr("projections.support_times.TIMES_BY", small)
        monkeypatch.setattr("projections.support_response_times.ROLL_UPS", ordered)
    return str(request.param)


def ask(folded: Folded, report: Report, position: int, parameters: Parameters, policy: Policy = ALL_PEOPLE) -> Any:
    """The answer of a report at a position."""
    if report.definition.moment is not None:
        parameters = {report.definition.moment: [MOMENT.isoformat()], **parameters}
    (answer,) = folded.ask((position, lambda snapshot: report.run(snapshot, parameters)), policy=policy)
    return answer


def all_rows(folded: Folded, report: Report, position: int, parameters: Parameters) -> list[Mapping[str, Any]]:
    """The rows of all pages, three rows each."""
    rows: list[Mapping[str, Any]] = []
    cursor = ""
    while True:
        page = {"limit": ["3"], **({"cursor": [cursor]} if cursor else {})}
        answer = ask(folded, report, position, {**parameters, **page})
        rows += answer.rows
        if answer.next_cursor is None:
            return rows
        cursor = answer.next_cursor


# What is counted by hand


@dataclass(frozen=True)
class Counted:
    """A fact or a phase with everything that it can be counted by."""

    of: Any
    kind: str
    channel: str
    opened_at: datetime

    def dimension(self, name: str) -> Any:
        by = self.of.counted_by
        values = {
            "kind": self.kind,
            "channel": self.channel,
            "priority": by.priority,
            "category": by.category,
            "product": by.product_id,
            "team": by.team_id,
            "owner": by.staff_id,
            "customer": by.customer_id,
        }
        return values[name]


def counted(told: Sequence[Told], *, phases: bool = False) -> Iterator[Counted]:
    for each in told:
        opened = each.timeline.opening
        for of in each.phases if phases else measured(each):
            yield Counted(of, opened.kind, opened.channel, each.timeline.opened_at)


def lasting(told: Sequence[Told], moment: datetime) -> list[Counted]:
    return [
        each
        for each in counted(told, phases=True)
        if each.of.since <= moment and (each.of.until is None or each.of.until > moment)
    ]


def in_window(at: datetime, first: date | None, end: date | None) -> bool:
    day = at.astimezone(BERLIN).date()
    return (first is None or day >= first) and (end is None or day < end)


def month_of(at: datetime) -> str:
    return f"{at.astimezone(BERLIN):%Y-%m}"


def plain(keys: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(None if key is None else str(key) for key in keys)


QUESTIONS: list[tuple[dict[str, Any], Sequence[str]]] = [
    ({}, ()),
    ({}, ("priority",)),
    ({}, ("month", "team")),
    ({"from": date(2026, 6, 9), "to": date(2026, 6, 12)}, ("owner",)),
    ({"basis": "opened"}, ("month", "kind")),
    ({"basis": "opened", "from": date(2026, 6, 9)}, ("channel", "customer")),
    ({"where": {"channel": "email"}}, ("product", "category")),
    ({"where": {"channel": "email"}}, ()),
    ({"where": {"kind": "complaint"}}, ("month", "kind")),
    ({"from": date(2026, 6, 9), "to": date(2026, 7, 3)}, ("month", "category")),
    ({"from": date(2026, 5, 9), "to": date(2026, 7, 1)}, ()),
    ({"business_rule": "last_schedule"}, ("kind",)),
    ({"business_rule": "pinned_at_start"}, ("month",)),
]


@pytest.mark.parametrize(("window", "by"), QUESTIONS)
@pytest.mark.parametrize("seed", [2])
@pytest.mark.usefixtures("summed")
def test_response_times_are_what_the_facts_of_each_case_say(
    support: Folded, seed: int, window: dict[str, Any], by: Sequence[str]
) -> None:
    log = random_support(seed, cases=8, events=120).log
    support.zone = BERLIN
    support.fold(log, page_size=50)
    for position in (log.head() // 2, log.head()):
        told = list(expected(log, position))
        parameters = {
            "measure": [",".join(TIMES)],
            "by": [",".join(by)] if by else [],
            **{name: [str(value)] for name, value in window.items() if name != "where"},
            "where": [f"{name}:{value}" for name, value in window.get("where", {}).items()],
        }
        answer = ask(support, REPORT, position, {name: value for name, value in parameters.items() if value})
        rows = {(row["measure"], *plain([row[name] for name in by])): row for row in answer.rows}
        wanted = times_by_hand(told, window, by)
        assert rows.keys() == wanted.keys()
        for key, (facts, running) in wanted.items():
            check_times(rows[key], facts)
            check_running(rows[key], running, by_month="month" in by and "basis" not in window)


def times_by_hand(
    told: Sequence[Told], window: dict[str, Any], by: Sequence[str]
) -> dict[tuple[Any, ...], tuple[list[Measured], list[datetime]]]:
    first, end, is_opened = window.get("from"), window.get("to"), window.get("basis") == "opened"
    groups: dict[tuple[Any, ...], tuple[list[Measured], list[datetime]]] = defaultdict(lambda: ([], []))

    def belongs(each: Counted, at: datetime) -> bool:
        wanted = window.get("where", {}).items()
        return in_window(at, first, end) and all(each.dimension(name) == value for name, value in wanted)

    def key(each: Counted, name: str, at: datetime) -> tuple[Any, ...]:
        return name, *plain([month_of(at) if dimension == "month" else each.dimension(dimension) for dimension in by])

    for name in () if by else TIMES:
        groups[(str(name),)][0].clear()  # where nothing is divided, each measure has its row
    for each in counted(told):
        at = each.opened_at if is_opened else each.of.at
        if each.of.name in TIMES and belongs(each, at):
            groups[key(each, each.of.name, at)][0].append(by_rule(each.of, window.get("business_rule")))
    moment = min(MOMENT, datetime.combine(end, datetime.min.time(), BERLIN).astimezone(UTC)) if end else MOMENT
    for each in lasting(told, moment) if is_opened or "month" not in by else []:
        wanted = window.get("where", {}).items()
        fits = in_window(each.opened_at, first, end) if is_opened else True
        if fits and all(each.dimension(name) == value for name, value in wanted):
            for name in TIMES:
                began = began_running(name, each)
                if began is not None:
                    groups[key(each, name, each.opened_at)][1].append(began)
    return dict(groups)


def by_rule(of: Measured, rule: str | None) -> Measured:
    if rule is None or not of.by_other_rules:
        return of
    return replace(of, business=dict(zip(OTHER_RULES, of.by_other_rules, strict=True))[BusinessRule(rule)])


def began_running(name: FactName, each: Counted) -> datetime | None:
    phase: CasePhase = each.of
    clock = name.removesuffix("_of_agents")
    if clock not in set(Clock):
        return None if phase.status == "merged" else each.opened_at
    began = dict(zip(Clock, phase.running, strict=True))[Clock(clock)]
    return None if began is None else began.at


def check_times(row: Mapping[str, Any], facts: Sequence[Measured]) -> None:
    for clock in ("calendar", "business"):
        times = [time for fact in facts if (time := getattr(fact, clock)) is not None]
        assert (row[f"{clock}_n"], row[f"{clock}_total"]) == (len(times), sum(times))
        assert row[f"{clock}_mean"] == (round(statistics.mean(times)) if times else None)
        for percent, enough in ((50, 1), (90, 20), (99, 100)):
            found = row[f"{clock}_p{percent}"]
            if len(times) < enough:
                assert (found, row["reasons"][f"{clock}_p{percent}"] in {"no_times", "insufficient_sample"}) == (
                    None,
                    True,
                )
            elif len(times) == 1:
                assert found == times[0]
            else:
                exact = statistics.quantiles(times, n=100, method="inclusive")[percent - 1]
                assert found == pytest.approx(exact, abs=0.51)
    live = sum(fact.reason is Reason.ANSWERED_LIVE for fact in facts)
    assert row["answered_live"] == live
    excluded = [fact.reason for fact in facts if fact.calendar is None]
    without_hours = [Reason.NO_CALENDAR for fact in facts if fact.calendar is not None and fact.business is None]
    for column, reasons in (("excluded", excluded), ("business_excluded", excluded + without_hours)):
        assert {each["reason"]: each["n"] for each in row[column]} == Counter(map(str, reasons))


def check_running(row: Mapping[str, Any], running: Sequence[datetime], *, by_month: bool) -> None:
    if by_month:
        assert (row["running"], row["reasons"]["running"]) == (None, "runs_in_no_month")
        return
    assert row["running"] == len(running)
    assert row["running_since"] == min(running, default=None)


def test_the_pages_of_an_answer_are_the_whole_answer(support: Folded) -> None:
    log = random_support(4, cases=40, events=200).log
    support.fold(log)
    for report, parameters in (
        (REPORT, {"by": ["priority,kind"]}),
        (REPORT, {"by": ["month"], "measure": ["first_response,full_resolution,requester_wait,time_new"]}),
        (REPORT, {}),
        (SupportOutcomesReport(), {"by": ["kind"]}),
        (SupportSatisfactionReport(), {"by": ["kind,channel"]}),
        (SupportBacklogReport(), {"by": ["status,priority"], "valid_at": ["2026-06-11T12:00:00Z"]}),
        (WaitingNowReport(), {"valid_at": ["2026-06-11T12:00:00Z"]}),
    ):
        whole = ask(support, report, log.head(), parameters)
        assert len(whole.rows) > 3, report
        assert all_rows(support, report, log.head(), parameters) == list(whole.rows)


# Cases by hand


def by_hand(support: Folded, *told: tuple[CaseId, Sequence[Any]]) -> int:
    """Fold what happened to some cases; the position afterwards."""
    made = Support().begun()
    for case_id, events in told:
        made.tell(case_id, *events)
    support.zone = BERLIN
    support.fold(made.log)
    return made.log.head()


def row_of(support: Folded, position: int, measure: str, **parameters: list[str]) -> Mapping[str, Any]:
    row: Mapping[str, Any]
    (row,) = ask(support, REPORT, position, {"measure": [measure], **parameters}).rows
    return row


def test_a_call_that_is_taken_at_once_is_a_time_of_zero_with_a_share_of_its_own(support: Folded) -> None:
    position = by_hand(
        support, (CLUMPS, [ACME_ASKED_LIVE]), (LATE_AGAIN, [ACME_COMPLAINED, replace(KATHERINE_REPLIED, at=monday(11))])
    )
    row = row_of(support, position, "first_response")
    assert (row["calendar_n"], row["calendar_mean"], row["answered_live"]) == (2, HOUR, 1)
    assert str(row["answered_live_share"]) == "0.500000"


def test_who_never_answers_does_not_improve_the_mean_unseen(support: Folded) -> None:
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED]))
    row = row_of(support, position, "first_response", valid_at=[tuesday(9).isoformat()])
    assert (row["calendar_n"], row["calendar_mean"], row["reasons"]["calendar_mean"]) == (0, None, "no_times")
    assert (row["running"], row["running_since"], row["oldest_age"]) == (1, monday(9), 24 * HOUR)
    earlier = row_of(support, position, "first_response", valid_at=[tuesday(9).isoformat()], to=["2026-06-08"])
    assert earlier["running"] == 0


def test_what_has_no_time_is_counted_by_its_reason(support: Folded) -> None:
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED, RESOLVED]), (LATE_AGAIN, [ACME_COMPLAINED, CLOSED]))
    row = row_of(support, position, "first_response")
    assert row["excluded"] == [{"reason": "resolved_without_reply", "n": 2}]


def test_what_has_no_calendar_has_no_business_time_and_is_counted(support: Folded) -> None:
    position = by_hand(support, (CLUMPS, [replace(ACME_COMPLAINED, calendar_id=None), KATHERINE_REPLIED]))
    row = row_of(support, position, "first_response")
    assert (row["calendar_n"], row["business_n"], row["excluded"]) == (1, 0, [])
    assert row["business_excluded"] == [{"reason": "no_calendar", "n": 1}]


def test_a_calendar_that_is_exchanged_counts_as_the_rule_says(support: Folded) -> None:
    """V7 of the metrics reference, in UTC."""
    made, always = Support().begun(), CalendarId(UUID(int=0x92))
    around = (Interval(opens="00:00", closes="24:00"),)
    made.log.append(
        always,
        CalendarDefined(
            calendar_number="24x7",
            name="Always",
            hours=WorkingHours(time_zone="UTC", weekly=Week(monday=around, tuesday=around)),
        ),
    )
    exchanged, reply = (CalendarAssigned(calendar_id=always), monday(16)), replace(KATHERINE_REPLIED, at=monday(23))
    made.tell(CLUMPS, replace(ACME_COMPLAINED, at=monday(14)), exchanged, reply)
    support.fold(made.log)
    hours = {
        rule: row_of(support, made.log.head(), "first_response", business_rule=[rule])["business_p50"] / HOUR
        for rule in BusinessRule
    }
    assert hours == {"integrate": 8, "pinned_at_start": 1, "last_schedule": 9}
    question = {"measure": ["first_response"], "base_to": ["2026-06-10"], "business_rule": ["last_schedule"]}
    _, business = ask(support, SupportComparisonReport(), made.log.head(), question).rows
    assert business["base_median"] == 9 * HOUR


def test_a_case_that_was_never_resolved_is_excluded_by_how_it_ended(support: Folded) -> None:
    position = by_hand(
        support,
        (CLUMPS, [ACME_COMPLAINED, replace(WITHDRAWN, at=monday(12))]),
        (LATE_AGAIN, [ACME_COMPLAINED, RESOLVED, REOPENED, replace(WITHDRAWN, at=monday(16))]),
    )
    row = row_of(support, position, "first_resolution")
    assert (row["calendar_n"], row["excluded"], row["running"]) == (1, [{"reason": "withdrawn", "n": 1}], 0)


def merged_while_unanswered(support: Folded) -> int:
    """Two unanswered cases of which the older one is merged into the other on Monday at 13:00."""
    return by_hand(
        support,
        (CLUMPS, [replace(ACME_COMPLAINED, kind=CaseKind.INCIDENT), MERGED]),
        (LATE_AGAIN, [replace(ACME_COMPLAINED, at=monday(12), case_number="T-1002"), (OTHER_MERGED_HERE, monday(13))]),
    )


def test_two_merged_cases_that_nobody_answered_are_two_running_first_responses(support: Folded) -> None:
    position = merged_while_unanswered(support)
    row = row_of(support, position, "first_response", valid_at=[tuesday(9).isoformat()])
    assert (row["running"], row["running_since"], row["oldest_age"]) == (2, monday(9), 24 * HOUR)
    by_kind = ask(support, REPORT, position, {"measure": ["first_response"], "by": ["kind"]}).rows
    assert {each["kind"]: each["running_since"] for each in by_kind} == {"incident": monday(9), "complaint": monday(12)}
    assert row_of(support, position, "first_resolution")["running"] == 1
    assert row_of(support, position, "first_response_zendesk")["running"] == 1
    (waits,) = waiting(support, position, tuesday(9))
    assert (waits["case_number"], waits["since"]) == ("T-1002", monday(9))
    assert ask(support, SupportBacklogReport(), position, {}).total["open"] == 1


def test_the_clock_of_a_person_runs_since_the_bot_handed_off(support: Folded) -> None:
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED, (HANDED_OFF, monday(15))]))
    ages = {
        measure: row_of(support, position, measure, valid_at=[monday(17).isoformat()])["oldest_age"]
        for measure in ("first_response", "first_response_by_human", "first_response_zendesk")
    }
    assert ages == {"first_response": 8 * HOUR, "first_response_by_human": 2 * HOUR, "first_response_zendesk": 8 * HOUR}


def test_a_case_that_goes_on_is_no_unresolved_one_any_more(support: Folded) -> None:
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED, RESOLVED, REOPENED]))
    running = {name: row_of(support, position, name)["running"] for name in ("first_resolution", "full_resolution")}
    assert running == {"first_resolution": 0, "full_resolution": 1}


def evidence(support: Folded, report: Report, position: int, parameters: Parameters) -> tuple[int, ...]:
    if report.definition.moment is not None:
        parameters = {report.definition.moment: [MOMENT.isoformat()], **parameters}
    (behind,) = support.ask((position, lambda snapshot: report.evidence(snapshot, parameters)), policy=ALL_PEOPLE)
    return tuple(behind.positions)


def test_behind_what_is_running_stand_the_messages_that_nobody_has_answered(support: Folded) -> None:
    position = merged_while_unanswered(support)
    opened, merged = (3, 5), (4, 6)  # after two calendars
    both = evidence(support, REPORT, position, {"measure": ["first_response"]})
    assert {*opened} <= {*both} <= {*opened, *merged}
    one = evidence(support, REPORT, position, {"measure": ["first_response"], "where": ["kind:complaint"]})
    assert {5} <= {*one} <= {5, 6}


def test_evidence_names_what_a_figure_rests_on_and_nothing_else(support: Folded) -> None:
    position = by_hand(
        support,
        (
            CLUMPS,
            [ACME_COMPLAINED, KATHERINE_ASSIGNED, KATHERINE_REPLIED, WAITING, RESOLVED, (RAISED, tuesday(9)), REOPENED],
        ),
    )
    opened = 3  # after two calendars
    replied, resolved, reopened = opened + 2, opened + 4, opened + 6

    def behind(measure: str, **more: list[str]) -> tuple[int, ...]:
        return evidence(support, REPORT, position, {"measure": [measure], **more})

    assert behind("first_response") == (opened, replied)
    assert behind("first_response", basis=["opened"], by=["month"]) == (opened, replied)
    assert behind("first_resolution") == (opened, resolved)
    assert behind("full_resolution") == (opened,), "it is running again"
    outcomes = evidence(support, SupportOutcomesReport(), position, {"measure": ["one_touch"]})
    assert {*outcomes} <= {opened, resolved, reopened}


def test_an_event_that_changes_what_a_fact_is_counted_by_is_evidence_where_that_is_asked(support: Folded) -> None:
    opening = replace(ACME_COMPLAINED, customer_id=None)
    position = by_hand(support, (CLUMPS, [opening, KATHERINE_REPLIED, (GRACE_IDENTIFIED, tuesday(9))]))
    opened, replied, identified = 3, 4, 5
    measure = {"measure": ["first_response"]}
    assert evidence(support, REPORT, position, measure) == (opened, replied)
    assert evidence(support, REPORT, position, {**measure, "by": ["priority"]}) == (opened, replied)
    for by in ({"by": ["customer"]}, {"where": [f"customer:{ACME}"]}):
        assert evidence(support, REPORT, position, {**measure, **by}) == (opened, replied, identified)


def test_what_is_running_belongs_to_no_month_and_has_no_evidence_there(support: Folded) -> None:
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED]))
    assert evidence(support, REPORT, position, {"measure": ["first_response"], "by": ["month"]}) == ()
    of_opening = {"measure": ["first_response"], "by": ["month"], "basis": ["opened"]}
    assert evidence(support, REPORT, position, of_opening) == (3,)


def test_a_whole_life_is_told_as_the_reference_says(support: Folded) -> None:
    """V4 of the metrics reference, in UTC: 9 to 17 in Berlin is 7 to 15."""
    position = by_hand(
        support,
        (
            CLUMPS,
            [
                replace(ACME_COMPLAINED, at=monday(7)),
                replace(KATHERINE_REPLIED, at=monday(8)),
                replace(WAITING, at=monday(8)),
                replace(GRACE_WROTE, at=tuesday(13)),
                replace(RESOLVED, at=tuesday(14)),
            ],
        ),
    )
    hours = {
        name: row_of(support, position, name)["business_total"] / HOUR
        for name in ("first_response", "full_resolution", "time_waiting_on_customer", "requester_wait")
    }
    assert hours == {
        "first_response": 1,
        "full_resolution": 15,
        "time_waiting_on_customer": 13,
        "requester_wait": 2,
    }
    assert row_of(support, position, "next_response")["excluded"] == [{"reason": "no_reply_needed", "n": 1}]


def test_months_are_those_of_the_zone_that_is_asked_for(support: Folded) -> None:
    late = datetime(2026, 6, 30, 22, 30, tzinfo=UTC)
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED, replace(RESOLVED, at=late)]))
    later = {"valid_at": [(late + timedelta(days=1)).isoformat()]}
    months = {
        zone: row_of(support, position, "first_resolution", by=["month"], tz=[zone], **later)["month"]
        for zone in ("UTC", "Europe/Berlin")
    }
    assert months == {"UTC": "2026-06", "Europe/Berlin": "2026-07"}
    of_tenant = row_of(support, position, "first_resolution", by=["month"], **later)["month"]
    assert of_tenant == "2026-07"


# Outcomes and satisfaction


@pytest.mark.parametrize("by", [(), ("priority",), ("month", "kind")])
def test_outcomes_are_what_the_facts_of_each_case_say(support: Folded, by: Sequence[str]) -> None:
    log = random_support(6, cases=12, events=150).log
    support.fold(log)
    moment = monday(9) + timedelta(days=9)
    parameters = {"valid_at": [moment.isoformat()], **({"by": [",".join(by)]} if by else {})}
    answer = ask(support, SupportOutcomesReport(), log.head(), parameters)
    groups: dict[tuple[Any, ...], list[Measured]] = defaultdict(list)
    groups |= {} if by else {(str(name),): [] for name in MEANINGS}
    for each in counted(list(expected(log, log.head()))):
        if each.of.name in MEANINGS:
            keys = [month_of(each.of.at) if name == "month" else each.dimension(name) for name in by]
            groups[str(each.of.name), *plain(keys)].append(each.of)
    rows = {(row["measure"], *plain([row[name] for name in by])): row for row in answer.rows}
    assert rows.keys() == groups.keys()
    for key, facts in groups.items():
        settled = [fact for fact in facts if fact.settled_at and fact.settled_at <= moment]
        hits = sum(fact.value or 0 for fact in settled)
        row, excluded = rows[key], [str(fact.reason) for fact in facts if fact.value is None]
        assert (row["n"], row["hits"]) == (len(settled), hits)
        assert row["pending"] == len(facts) - len(settled) - len(excluded)
        assert {each["reason"]: each["n"] for each in row["excluded"]} == Counter(excluded)
        if settled:
            interval = wilson(hits, len(settled))
            assert (row["rate_lower"], row["rate_upper"]) == (interval.lower, interval.upper)
            assert float(row["rate"]) == pytest.approx(hits / len(settled), abs=1e-6)
        else:
            assert (row["rate"], row["reasons"]["rate"]) == (None, "nothing_judged")


def outcome(support: Folded, position: int, measure: str, **parameters: list[str]) -> Mapping[str, Any]:
    row: Mapping[str, Any]
    (row,) = ask(support, SupportOutcomesReport(), position, {"measure": [measure], **parameters}).rows
    return row


def test_reopenings_are_counted_where_they_happened(support: Folded) -> None:
    again = replace(RESOLVED, at=tuesday(10), reopen_until=None)
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED, RESOLVED, REOPENED, again]))
    row = outcome(support, position, "reopened")
    assert (row["n"], row["hits"], row["reopen_count"], row["resolved_again_count"]) == (1, 1, 1, 1)
    until_monday = outcome(support, position, "reopened", to=["2026-06-09"])
    assert (until_monday["reopen_count"], until_monday["resolved_again_count"]) == (1, 0)
    as_of = outcome(support, position, "reopened", valid_at=[monday(14, 30).isoformat()])
    assert (as_of["n"], as_of["reopen_count"], as_of["resolved_again_count"]) == (0, 0, 0)
    assert {*evidence(support, SupportOutcomesReport(), position, {"measure": ["reopened"]})} == {3, 4, 5, 6}
    other = outcome(support, position, "one_touch")
    assert (other["reopen_count"], other["reasons"]["reopen_count"]) == (None, "told_of_reopened")


def test_what_cannot_be_judged_is_counted_by_its_reason(support: Folded) -> None:
    ours = replace(ACME_COMPLAINED, opened_by=ActorClass.AGENT_PUBLIC, direction=Direction.OUTBOUND)
    position = by_hand(
        support,
        (CLUMPS, [ACME_COMPLAINED, replace(WITHDRAWN, at=monday(12))]),
        (LATE_AGAIN, [ours, RESOLVED, replace(CLOSED, at=monday(16))]),
    )
    withdrawn, outbound = {"reason": "withdrawn", "n": 1}, {"reason": "outbound", "n": 1}
    told = {name: outcome(support, position, name)["excluded"] for name in MEANINGS}
    assert told == {
        "one_touch": [withdrawn],
        "first_contact_resolution": [outbound, withdrawn],
        "reopened": [withdrawn],
        "followed_up": [withdrawn],
        "closed_by_automation": [],
    }


def test_satisfaction_is_what_customers_answered(support: Folded) -> None:
    log = random_support(9, cases=12, events=400).log
    support.fold(log)
    rows = {row["scale"]: row for row in ask(support, SupportSatisfactionReport(), log.head(), {}).rows}
    facts = [fact for told in expected(log, log.head()) for fact in measured(told)]
    assert rows.keys() == {"csat", "nps", "ces"}
    for scale, row in rows.items():
        sent = [fact.value for fact in facts if fact.name == f"{scale}_answered"]
        scores = [fact.value or 0 for fact in facts if fact.name == scale]
        positive = sum(score >= {"csat": 4, "nps": 9, "ces": 5}[scale] for score in scores)
        negative = sum(score <= 6 for score in scores) if scale == "nps" else 0
        assert (row["sent"], row["answered"], row["n"]) == (len(sent), sum(filter(None, sent)), len(scores))
        assert (row["positive"], row["negative"]) == (positive, negative)
        assert float(row["mean"]) == pytest.approx(statistics.mean(scores), abs=1e-6)
        net = (positive - negative) / len(scores) if scale == "nps" else None
        assert row["net_score"] is None if net is None else float(row["net_score"]) == pytest.approx(net, abs=1e-6)


MOMENT_QUESTIONS: list[tuple[Report, Parameters]] = [
    *((REPORT, {"by": [by]}) for by in ("", "priority", "month,kind", "owner", "team,category")),
    *((REPORT, {"basis": ["opened"], "by": [by]}) for by in ("", "month")),
    (REPORT, {"where": ["channel:email"], "from": ["2026-06-09"]}),
    (REPORT, {"tz": ["Pacific/Auckland"]}),
    (REPORT, {"business_rule": ["last_schedule"]}),
    (SupportComparisonReport(), {"base_to": ["2026-06-12"], "from": ["2026-06-09"]}),
    *((SupportOutcomesReport(), {"by": [by]}) for by in ("", "month", "priority")),
    *((SupportSatisfactionReport(), {"by": [by]}) for by in ("", "kind")),
]


def test_nothing_counts_that_had_not_happened_yet_at_the_moment(support: Folded, summed: str) -> None:
    """The same question with `to` set to the moment has the same figures; also where the moment is amid a day."""
    log = random_support(3, cases=10, events=200).log
    support.zone = BERLIN
    support.fold(log, page_size=50)
    position, changed = log.head(), set()
    for report, question in MOMENT_QUESTIONS:
        taken = {name: value for name, value in question.items() if value != [""]}
        if "measure" in {each.name for each in report.definition.parameters} and report is REPORT:
            taken["measure"] = [",".join(TIMES)]
        before: Any = None
        for day in (date(2026, 6, 10), date(2026, 6, 11), date(2026, 6, 16)):
            moment = datetime.combine(day, datetime.min.time(), ZoneInfo(taken.get("tz", ["Europe/Berlin"])[0]))
            at = {**taken, "valid_at": [moment.isoformat()]}
            answer = ask(support, report, position, at)
            with_end = ask(support, report, position, {**at, "to": [day.isoformat()]})
            assert (answer.rows, answer.n) == (with_end.rows, with_end.n), (summed, report.definition.name, question)
            changed.add((report.definition.name, answer.n != before))
            before = answer.n
    assert {name for name, has_changed in changed if has_changed} >= {
        each.definition.name for each, _ in MOMENT_QUESTIONS
    }


@pytest.mark.parametrize("basis", ["event", "opened"])
@pytest.mark.usefixtures("summed")
def test_amid_a_day_what_had_stopped_before_counts(support: Folded, basis: str) -> None:
    log = random_support(3, cases=10, events=200).log
    support.zone = BERLIN
    support.fold(log, page_size=50)
    facts = [each.of for each in counted(list(expected(log, log.head())))]
    for moment in (datetime(2026, 6, 11, 9, 20, tzinfo=UTC), max(fact.at for fact in facts)):
        rows = ask(
            support,
            REPORT,
            log.head(),
            {"measure": [",".join(TIMES)], "basis": [basis], "valid_at": [moment.isoformat()]},
        ).rows
        stopped = Counter(str(fact.name) for fact in facts if fact.at < moment and fact.calendar is not None)
        assert {row["measure"]: row["calendar_n"] for row in rows} == {name: stopped[name] for name in TIMES}


# Who waits, and how many are open


@pytest.mark.parametrize("seed", [1, 5])
def test_who_waits_and_how_many_are_open_is_what_the_phases_of_each_case_say(support: Folded, seed: int) -> None:
    log = random_support(seed, cases=9, events=120).log
    support.fold(log)
    dice = Random(seed)  # noqa: S311 - it decides what happens in a test
    for _ in range(6):
        position, moment = dice.randrange(1, log.head() + 1), monday(9) + timedelta(minutes=dice.randrange(6 * 24 * 60))
        told = list(expected(log, position))
        open_ones = [each for each in lasting(told, moment) if each.of.status != "merged"]
        parameters = {"valid_at": [moment.isoformat()]}
        waiting = ask(support, WaitingNowReport(), position, parameters).rows
        since = {(each.of.waiting_since or each.opened_at, str(each.of.status)) for each in open_ones}
        assert {(row["since"], row["status"]) for row in waiting} == since
        assert [row["since"] for row in waiting] == sorted(row["since"] for row in waiting)
        backlog = ask(support, SupportBacklogReport(), position, {**parameters, "by": ["status,priority"]})
        new_ones = ask(support, SupportBacklogReport(), position, {**parameters, "where": ["status:new"]})
        assert new_ones.n == sum(each.of.status == "new" for each in open_ones)
        assert {(row["status"], row["priority"]): (row["open"], row["awaiting_reply"]) for row in backlog.rows} == {
            key: (len(some), sum(each.of.waiting_since is not None for each in some))
            for key, some in grouped(open_ones).items()
        }
        total = backlog.total
        assert total is not None
        assert (total["open"], total["opened_first"]) == (
            len(open_ones),
            min((each.opened_at for each in open_ones), default=None),
        )


def grouped(open_ones: Sequence[Counted]) -> dict[tuple[str, str], list[Counted]]:
    groups: dict[tuple[str, str], list[Counted]] = defaultdict(list)
    for each in open_ones:
        groups[str(each.of.status), str(each.of.counted_by.priority)].append(each)
    return groups


def waiting(support: Folded, position: int, moment: datetime, **parameters: list[str]) -> list[Mapping[str, Any]]:
    asked = {"valid_at": [moment.isoformat()], **parameters}
    return list(ask(support, WaitingNowReport(), position, asked).rows)


def test_waits_are_measured_in_calendar_and_in_business_time(support: Folded) -> None:
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED, KATHERINE_ASSIGNED]))
    (row,) = waiting(support, position, tuesday(8))
    # In UTC: the office works from 7 to 15 o'clock. Monday 9 to 15 is 6 h, Tuesday 7 to 8 is 1 h.
    assert (row["awaited"], row["calendar_time"], row["business_time"]) == ("first_response", 23 * HOUR, 7 * HOUR)
    assert (row["closes_at"], row["case_number"], row["owner"]) == (tuesday(15), "T-1001", KATHERINE)


def test_business_time_is_not_computed_where_all_requests_wait_for_it(
    support: Folded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread of the event loop does something else meanwhile."""
    threads: list[threading.Thread] = []
    between = Measure.between

    def watched(measure: Measure, start: datetime, end: datetime) -> Time:
        threads.append(threading.current_thread())
        return between(measure, start, end)

    monkeypatch.setattr(Measure, "between", watched)
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED]))
    threads.clear()
    assert len(waiting(support, position, tuesday(8))) == 1
    assert threads
    assert threading.current_thread() not in threads


def test_without_a_calendar_there_is_no_business_time_and_no_closing(support: Folded) -> None:
    position = by_hand(support, (CLUMPS, [replace(ACME_COMPLAINED, calendar_id=None)]))
    (row,) = waiting(support, position, tuesday(8))
    assert (row["business_time"], row["closes_at"]) == (None, None)
    assert (row["reasons"]["business_time"], row["reasons"]["closes_at"]) == ("no_calendar", "no_calendar")


def test_what_nobody_waits_for_is_told_since_the_opening(support: Folded) -> None:
    position = by_hand(
        support,
        (CLUMPS, [ACME_COMPLAINED, KATHERINE_REPLIED, HELD]),
        (LATE_AGAIN, [replace(ACME_COMPLAINED, at=monday(12), case_number="T-1002")]),
    )
    rows = waiting(support, position, tuesday(8))
    assert [(row["case_number"], row["awaited"], row["since"]) for row in rows] == [
        ("T-1001", None, monday(9)),
        ("T-1002", "first_response", monday(12)),
    ]
    assert rows[0]["reasons"]["awaited"] == "nothing_awaited"
    for awaited, numbers in (
        ("reply", ["T-1002"]),
        ("first_response", ["T-1002"]),
        ("next_response", []),
        ("nothing", ["T-1001"]),
        ("anything", ["T-1001", "T-1002"]),
    ):
        assert [row["case_number"] for row in waiting(support, position, tuesday(8), awaited=[awaited])] == numbers
    of_team = waiting(support, position, tuesday(8), where=[f"team:{SECOND_LEVEL}", f"customer:{ACME}"])
    assert len(of_team) == 2
    assert waiting(support, position, tuesday(8), where=["team:"]) == []


# Before and after


def test_two_windows_are_compared_by_their_medians(support: Folded) -> None:
    made = Support().begun()
    slow, quick = [60 + minute for minute in range(40)], [30 + minute for minute in range(40)]
    for day, minutes in ((monday(7), slow), (tuesday(7), quick)):
        for number, each in enumerate(minutes):
            case_id = CaseId(UUID(int=day.day * 1000 + number))
            opened = replace(ACME_COMPLAINED, at=day, case_number=f"T-{case_id.int}")
            made.tell(case_id, opened, replace(KATHERINE_REPLIED, at=day + timedelta(minutes=each)))
    support.fold(made.log)
    question = {"measure": ["first_response"], "base_to": ["2026-06-09"], "from": ["2026-06-09"]}
    calendar, business = ask(support, SupportComparisonReport(), made.log.head(), question).rows
    minute = 60_000_000
    assert (calendar["base_n"], calendar["n"]) == (40, 40)
    assert (calendar["base_median"], calendar["median"]) == (statistics.median(slow) * minute, 49.5 * minute)
    assert calendar["difference"] == -30 * minute
    assert calendar["difference_lower"] < -30 * minute < calendar["difference_upper"] < 0
    assert (business["clock"], business["difference"]) == ("business", calendar["difference"])


def test_beside_both_windows_stands_what_has_no_time_and_what_was_running(support: Folded) -> None:
    position = by_hand(
        support,
        (CLUMPS, [ACME_COMPLAINED, replace(KATHERINE_REPLIED, at=tuesday(10))]),
        (LATE_AGAIN, [replace(ACME_COMPLAINED, at=monday(12)), replace(WITHDRAWN, at=tuesday(9))]),
    )
    question = {"measure": ["first_response"], "base_to": ["2026-06-09"], "from": ["2026-06-09"]}
    row, _ = ask(support, SupportComparisonReport(), position, question).rows
    assert (row["base_n"], row["base_excluded"], row["base_running"]) == (0, [], 2)
    assert (row["base_running_since"], row["base_oldest_age"]) == (monday(9), 13 * HOUR)  # midnight in Berlin
    assert (row["n"], row["excluded"], row["running"]) == (1, [{"reason": "withdrawn", "n": 1}], 0)
    assert row["reasons"]["oldest_age"] == "nothing_is_running"
    behind = evidence(support, SupportComparisonReport(), position, question)
    assert behind == (3, 4, 5, 6)
    base_only = {**question, "from": ["2026-06-20"]}
    assert evidence(support, SupportComparisonReport(), position, base_only) == (3, 5), "they ran at its end"


def test_too_few_times_have_no_interval_and_none_have_no_difference(support: Folded) -> None:
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED, KATHERINE_REPLIED]))
    question = {"measure": ["first_response"], "base_to": ["2026-06-09"], "from": ["2026-06-09"]}
    none, _ = ask(support, SupportComparisonReport(), position, question).rows
    assert (none["n"], none["difference"], none["reasons"]["difference"]) == (0, None, "no_times")
    same, _ = ask(support, SupportComparisonReport(), position, {**question, "from": ["2026-06-08"]}).rows
    assert (same["difference"], same["difference_lower"]) == (0, None)
    assert same["reasons"]["difference_lower"] == "insufficient_sample"


# People


def team_of(support: Folded, people: int) -> int:
    """Some people of one team, each of whom has replied to a case."""
    told = []
    for number, staff_id in enumerate(COLLEAGUES[:people]):
        opened = replace(ACME_COMPLAINED, case_number=f"T-{number}")
        told.append((CaseId(UUID(int=number + 1)), [opened, replace(KATHERINE_REPLIED, staff_id=staff_id)]))
    return by_hand(support, *told)


def test_nothing_is_told_about_teams_behind_which_there_are_too_few_people(support: Folded) -> None:
    position = team_of(support, 4)
    question = {"measure": ["first_response"], "by": ["team"]}
    (row,) = ask(support, REPORT, position, question, Policy()).rows
    assert (row["calendar_n"], row["calendar_mean"], row["reasons"]["calendar_mean"]) == (None, None, "too_few_people")
    (row,) = ask(support, REPORT, position, question, ALL_PEOPLE).rows
    assert row["calendar_n"] == 4


def test_five_people_are_a_team(support: Folded) -> None:
    position = team_of(support, 5)
    for question in ({"by": ["team"]}, {"where": [f"team:{SECOND_LEVEL}"]}):
        (row,) = ask(support, REPORT, position, {"measure": ["first_response"], **question}, Policy()).rows
        assert row["calendar_n"] == 5


def test_a_comparison_obeys_as_well(support: Folded) -> None:
    position = team_of(support, 4)
    question = {"measure": ["first_response"], "base_to": ["2026-06-09"], "where": [f"team:{SECOND_LEVEL}"]}
    for policy, n in ((Policy(), None), (ALL_PEOPLE, 4)):
        row, _ = ask(support, SupportComparisonReport(), position, question, policy).rows
        assert row["base_n"] == n


@pytest.mark.parametrize(
    ("switch", "refused"),
    [
        (AgentReports.OFF, {"team", "owner"}),
        (AgentReports.TEAM_ONLY, {"owner"}),
        (AgentReports.ON, set()),
    ],
)
@pytest.mark.parametrize(
    "report", [REPORT, SupportOutcomesReport(), SupportSatisfactionReport(), SupportBacklogReport()]
)
def test_the_switch_says_whether_figures_by_person_or_by_team_are_told(
    support: Folded, report: Report, switch: AgentReports, refused: set[str]
) -> None:
    position = team_of(support, 1)
    seen = set()
    for name, value in (("team", SECOND_LEVEL), ("owner", KATHERINE)):
        for question in ({"by": [name]}, {"where": [f"{name}:{value}"]}):
            try:
                ask(support, report, position, question, Policy(agent_reports=switch))
            except ParameterIsInvalid as refusal:
                seen.add((name, refusal.pointer))
    assert seen == {(name, pointer) for name in refused for pointer in ("/by", "/where")}


def test_who_works_on_what_is_no_figure_about_a_person(support: Folded) -> None:
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED, KATHERINE_ASSIGNED]))
    question = {"where": [f"owner:{KATHERINE}"], "valid_at": [tuesday(8).isoformat()]}
    policy = Policy(agent_reports=AgentReports.OFF)
    assert len(ask(support, WaitingNowReport(), position, question, policy).rows) == 1


# What cannot be asked


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"measure": ["speed"]}, "/measure"),
        ({"by": ["colour"]}, "/by"),
        ({"by": ["kind,priority,channel"]}, "/by"),
        ({"where": ["colour:red"]}, "/where"),
        ({"where": ["kind:"]}, "/where"),
        ({"where": ["kind:a\0b"]}, "/where"),
        ({"where": ["team:second level"]}, "/where"),
        ({"where": ["kind:complaint", "kind:incident"]}, "/where"),
        ({"tz": ["Europe/Gotham"]}, "/tz"),
        ({"from": ["yesterday"]}, "/from"),
        ({"from": ["0900-01-01"]}, "/from"),
        ({"from": ["2026-06-08"], "to": ["2026-06-08"]}, "/to"),
        ({"basis": ["whatever"]}, "/basis"),
        ({"valid_at": ["now"]}, "/valid_at"),
        ({"valid_at": ["2026-06-08T12:00:00"]}, "/valid_at"),
    ],
    ids=str,
)
def test_a_question_that_makes_no_sense_is_refused(support: Folded, parameters: Parameters, pointer: str) -> None:
    with pytest.raises(ParameterIsInvalid) as refused:
        ask(support, REPORT, 0, parameters)
    assert refused.value.pointer == pointer


def test_without_a_moment_nobody_can_tell_what_is_running(support: Folded) -> None:
    async def without_moment(snapshot: Snapshot) -> ReportAnswer:
        return await REPORT.run(snapshot, {})

    with pytest.raises(ParameterIsInvalid) as refused:
        support.ask((0, without_moment))
    assert refused.value.pointer == "/valid_at"


def test_a_case_without_a_value_is_counted_as_such(support: Folded) -> None:
    position = by_hand(support, (CLUMPS, [replace(ACME_COMPLAINED, team_id=None), KATHERINE_REPLIED]))
    row = row_of(support, position, "first_response", by=["team"])
    assert (row["team"], row["reasons"]["team"]) == (None, "no_team")
    assert row_of(support, position, "first_response", where=["team:"])["calendar_n"] == 1


def test_the_priority_is_that_of_the_time_at_which_it_counts(support: Folded) -> None:
    raised = (RAISED, monday(11))
    position = by_hand(support, (CLUMPS, [ACME_COMPLAINED, KATHERINE_REPLIED, raised, RESOLVED]))
    assert row_of(support, position, "first_response", by=["priority"])["priority"] == Priority.NORMAL
    assert row_of(support, position, "full_resolution", by=["priority"])["priority"] == Priority.CRITICAL


def test_the_definitions_say_which_months_change_when_a_case_is_reopened_later() -> None:
    for report, figure in ((SupportResponseTimesReport, "full resolution"), (SupportOutcomesReport, "followed_up")):
        (rule,) = (each for each in report.definition.rules if "reopened later" in each)
        assert figure in rule.lower()
    assert any(
        "what stays closed is the first resolution" in each for each in SupportResponseTimesReport.definition.rules
    )
