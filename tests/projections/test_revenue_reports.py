"""The reports on revenue: how they are asked, compared, paged and written."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.values import CustomerId
from infrastructure.database import Databases
from projections import revenue_statistics, revenue_sums
from projections.read_model import Build, Kept, Snapshot, Tables
from projections.reports import Evidence, ParameterIsInvalid, ReportAnswer, canonical_json
from projections.revenue_reports import RevenueStatisticsReport, RevenueToDateReport
from projections.revenue_statistics import ROLL_UPS
from projections.windows import Window, months_before
from tests.people import ACME, ADA
from tests.projections.logs import Folded, ask_report, asked, project
from tests.projections.trade import FLOUR, OVEN, YEAST, Trade, line

REPORT, TO_DATE = RevenueStatisticsReport(), RevenueToDateReport()
JANUARY, FEBRUARY, MARCH = date(2026, 1, 15), date(2026, 2, 15), date(2026, 3, 15)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of four and eight positions, so that short logs have some."""
    small = tuple(replace(each, levels=(2, 3)) for each in ROLL_UPS)
    monkeypatch.setattr(revenue_statistics, "ROLL_UPS", small)
    monkeypatch.setattr(revenue_sums, "ROLL_UPS", small)


def listed(parameters: dict[str, str | list[str]]) -> dict[str, list[str]]:
    return {name: [value] if isinstance(value, str) else value for name, value in parameters.items()}


def ask(
    folded: Folded, trade: Trade, *, report: Any = REPORT, kept: Kept | None = None, **parameters: str | list[str]
) -> ReportAnswer:
    question = listed({{"first": "from"}.get(name, name): value for name, value in parameters.items()})
    answers: list[ReportAnswer] = folded.ask(
        (trade.log.head(), lambda snapshot: report.run(snapshot, question)), kept=kept
    )
    return answers[0]


def table(answer: ReportAnswer, *columns: str) -> list[tuple[str | None, ...]]:
    """Some columns of the rows, as they are written."""
    return [tuple(None if row[each] is None else str(row[each]) for each in columns) for row in answer.rows]


@pytest.fixture
def trade() -> Trade:
    """A year: 100 in January and 110 in February of 2025, 120, 50 and 30 in the first months of 2026."""
    trade = Trade().registered()
    trade.assign(FLOUR, "flour", date(2025, 1, 1))
    for day, amount in (
        (date(2025, 1, 15), "100.00"),
        (date(2025, 2, 15), "110.00"),
        (JANUARY, "120.00"),
        (FEBRUARY, "50.00"),
        (MARCH, "30.00"),
    ):
        trade.invoice(day, line(FLOUR, amount))
    return trade


# Windows


def test_months_are_counted_back() -> None:
    assert months_before(date(2026, 3, 31), 1) == date(2026, 3, 1)
    assert months_before(date(2024, 2, 29), 12) == date(2023, 3, 1)
    assert months_before(date(2026, 1, 15), 13) == date(2024, 12, 15)


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(1, 40))
def test_windows_that_meet_still_meet_when_moved_back(day: date, other: date, months: int) -> None:
    first, second = Window(min(day, other), max(day, other)), Window(max(day, other), date(2101, 1, 1))
    assert first.before(months).end == second.before(months).first
    assert first.before(months).first <= first.before(months).end


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(1, 800))
def test_whole_months_lie_within_their_window(first: date, days: int) -> None:
    window = Window(first, first + timedelta(days=days))
    whole = window.whole_months()
    assert window.first <= whole.first <= whole.end <= window.end
    assert whole.first == whole.end or (whole.months() or 0) > 0
    assert (whole.first - window.first).days + (window.end - whole.end).days < 62 or whole.first == whole.end


@pytest.mark.parametrize(
    ("window", "months"),
    [
        (Window(date(2026, 1, 1), date(2026, 4, 1)), 3),
        (Window(date(2025, 12, 1), date(2026, 1, 1)), 1),
        (Window(date(2026, 1, 2), date(2026, 4, 1)), None),
        (Window(date(2026, 1, 1), date(2026, 4, 2)), None),
    ],
)
def test_a_window_of_whole_months_knows_how_many(window: Window, months: int | None) -> None:
    assert window.months() == months


def test_a_window_has_its_first_day_and_not_its_last(revenue: Folded, trade: Trade) -> None:
    revenue.fold(trade.log)
    for first, end, expected in (
        ("2026-01-15", "2026-02-15", "120.00"),
        ("2026-01-16", "2026-02-16", "50.00"),
        ("2026-01-01", "2026-03-01", "170.00"),
        ("2026-01-14", "2026-03-16", "200.00"),
    ):
        assert table(ask(revenue, trade, first=first, to=end), "revenue") == [(expected,)]


# Comparing


def test_prior_year_is_the_same_days_a_year_before(revenue: Folded, trade: Trade) -> None:
    answer = ask(revenue.fold(trade.log), trade, first="2026-01-01", to="2026-04-01", by="month", compare="prior_year")
    assert table(answer, "month", "revenue", "base_revenue", "change", "growth") == [
        ("2026-01", "120.00", "100.00", "20.00", "0.200000"),
        ("2026-02", "50.00", "110.00", "-60.00", "-0.545455"),
        ("2026-03", "30.00", "0.00", "30.00", None),
    ]
    assert answer.rows[2]["reasons"] == {"growth": "no_base_revenue"}
    assert (answer.question["base_from"], answer.question["base_to"]) == (date(2025, 1, 1), date(2025, 4, 1))


def test_prior_period_is_as_long_in_months_or_in_days(revenue: Folded, trade: Trade) -> None:
    revenue.fold(trade.log)
    months = ask(revenue, trade, first="2026-02-01", to="2026-04-01", by="month", compare="prior_period")
    assert table(months, "month", "revenue", "base_revenue") == [
        ("2026-02", "50.00", "0.00"),
        ("2026-03", "30.00", "120.00"),
    ]
    days = ask(revenue, trade, first="2026-02-10", to="2026-02-20", compare="prior_period")
    assert (days.question["base_from"], days.question["base_to"]) == (date(2026, 1, 31), date(2026, 2, 10))
    assert table(days, "revenue", "base_revenue") == [("50.00", "0.00")]


def test_whoever_bought_before_only_is_in_the_comparison_too(revenue: Folded) -> None:
    trade = Trade().registered()
    trade.invoice(JANUARY, line(FLOUR, "100.00"), customer=ADA)
    trade.invoice(FEBRUARY, line(FLOUR, "70.00"))
    trade.credit_note(JANUARY, line(FLOUR, "-5.00"), customer=CustomerId(UUID(int=7)))
    revenue.fold(trade.log)
    for order in ("key", "revenue"):
        answer = ask(
            revenue, trade, first="2026-02-01", to="2026-03-01", by="customer", compare="prior_period", order=order
        )
        figures = table(answer, "customer", "revenue", "base_revenue", "change", "growth")
        growth = [dict(row)["reasons"] for row in answer.rows]
        assert {(*row, str(why)) for row, why in zip(figures, map(growth_is_null_because, growth), strict=True)} == {
            (str(UUID(int=7)), "0.00", "-5.00", "5.00", None, "negative_base_revenue"),
            (str(ACME), "70.00", "0.00", "70.00", None, "no_base_revenue"),
            (str(ADA), "0.00", "100.00", "-100.00", "-1.000000", "None"),
        }


def growth_is_null_because(reasons: Any) -> str | None:
    return dict(reasons).get("growth")


def test_a_share_is_of_the_revenue_of_all_rows(revenue: Folded, trade: Trade) -> None:
    answer = ask(revenue.fold(trade.log), trade, first="2026-01-01", to="2027-01-01", by="month")
    assert table(answer, "month", "share") == [
        ("2026-01", "0.600000"),
        ("2026-02", "0.250000"),
        ("2026-03", "0.150000"),
    ]
    nothing = ask(revenue, trade, first="2027-01-01", to="2028-01-01")
    assert nothing.rows[0]["reasons"]["share"] == "no_revenue"  # type: ignore[index] # a row holds anything


# To date


def test_revenue_to_date_has_four_periods(revenue: Folded, trade: Trade) -> None:
    answer = ask(revenue.fold(trade.log), trade, report=TO_DATE, valid_at="2026-02-20")
    assert table(answer, "period", "from", "to", "revenue", "prior_period_revenue", "prior_year_revenue") == [
        ("month_to_date", "2026-02-01", "2026-02-21", "50.00", "120.00", "110.00"),
        ("year_to_date", "2026-01-01", "2026-02-21", "170.00", "210.00", "210.00"),
        ("trailing_twelve_months", "2025-02-21", "2026-02-21", "170.00", "210.00", "210.00"),
        ("ever", None, "2026-02-21", "380.00", None, None),
    ]
    assert table(answer, "prior_period_growth", "prior_year_growth")[0] == ("-0.583333", "-0.545455")
    ever = answer.rows[3]
    assert ever["reasons"] == dict.fromkeys(
        ("prior_period_revenue", "prior_period_growth", "prior_year_revenue", "prior_year_growth"), "no_base_window"
    ) | {"from": "no_beginning"}
    assert (ever["first_posting"], ever["last_posting"]) == (date(2025, 1, 15), FEBRUARY)


def test_the_month_before_has_at_most_all_its_days(revenue: Folded) -> None:
    trade = Trade().registered()
    trade.invoice(date(2026, 2, 28), line(FLOUR, "10.00"))
    trade.invoice(date(2026, 3, 1), line(FLOUR, "1.00"))
    answer = ask(revenue.fold(trade.log), trade, report=TO_DATE, valid_at="2026-03-31")
    assert table(answer, "period", "revenue", "prior_period_revenue")[0] == ("month_to_date", "1.00", "10.00")


def test_revenue_to_date_can_be_of_one_customer(revenue: Folded, trade: Trade) -> None:
    trade.invoice(JANUARY, line(FLOUR, "7.00"), customer=ADA)
    answer = ask(revenue.fold(trade.log), trade, report=TO_DATE, valid_at="2026-01-31", where=[f"customer:{ADA}"])
    assert [revenue for (revenue,) in table(answer, "revenue")] == ["7.00"] * 4
    assert (answer.n, answer.question["where"]) == (1, [f"customer:{ADA}"])


# What the source knew


def test_what_the_source_knew_counts_where_one_asks_for_it(revenue: Folded) -> None:
    trade = Trade().registered()
    told = datetime(2025, 6, 1, tzinfo=UTC)
    trade.invoice(date(2025, 5, 1), line(FLOUR, "10.00"), source_recorded_at=told)
    trade.invoice(date(2025, 5, 1), line(FLOUR, "1.00"))
    revenue.fold(trade.log)

    def known(moment: datetime) -> ReportAnswer:
        return ask(revenue, trade, knowledge="source", known_at=moment.isoformat())

    assert table(known(told), "revenue") == [("10.00",)]
    assert table(known(told - timedelta(microseconds=1)), "revenue") == [("0.00",)]
    assert table(known(datetime(2026, 6, 1, tzinfo=UTC)), "revenue") == [("11.00",)]
    assert known(told).question["knowledge"] == "source"
    assert ask(revenue, trade).question["knowledge"] == "rapport"


# Questions that are refused, before anything is read

_NO_CONNECTION: Any = None
NOWHERE = Snapshot(_NO_CONNECTION, Tables("main_read", Build("revenue_statistics", 2)), 0)


@pytest.mark.parametrize(
    ("parameters", "pointer"),
    [
        ({"from": "2026-02-01", "to": "2026-02-01"}, "/to"),
        ({"from": "0999-12-31"}, "/to"),
        ({"to": "9999-01-01"}, "/to"),
        ({"by": "month,customer,product"}, "/by"),
        ({"by": "weather"}, "/by"),
        ({"where": "weather:wet"}, "/where"),
        ({"where": "country"}, "/where"),
        ({"where": "country:"}, "/where"),
        ({"where": "country:D\0"}, "/where"),
        ({"where": ["country:DE", "country:FR"]}, "/where"),
        ({"where": "month:January"}, "/where"),
        ({"where": "customer:Acme"}, "/where"),
        ({"where": "customer:"}, "/where"),
        ({"compare": "last_week"}, "/compare"),
        ({"compare": "prior_year"}, "/compare"),
        ({"compare": "prior_year", "to": "2026-01-01"}, "/compare"),
        ({"compare": "prior_year", "from": "1001-01-01", "to": "1002-01-01"}, "/compare"),
        ({"compare": "prior_period", "from": "2026-01-02", "to": "2026-02-01", "by": "month"}, "/compare"),
        ({"order": "taste"}, "/order"),
        ({"tz": "Middle/Earth"}, "/tz"),
        ({"known_at": "2026-01-01T00:00:00Z"}, "/known_at"),
        ({"knowledge": "source"}, "/known_at"),
        ({"limit": "0"}, "/limit"),
        ({"cursor": "bm8"}, "/cursor"),
        ({"flavour": "sweet"}, "/flavour"),
    ],
)
def test_a_question_that_means_nothing_is_refused(parameters: dict[str, str | list[str]], pointer: str) -> None:
    with pytest.raises(ParameterIsInvalid) as refused:
        asyncio.run(REPORT.run(NOWHERE, listed(parameters)))
    assert refused.value.pointer == pointer


@pytest.mark.parametrize("parameters", [{}, {"valid_at": "1001-01-01"}, {"valid_at": "9998-01-01"}])
def test_a_day_is_needed_for_revenue_to_date(parameters: dict[str, str | list[str]]) -> None:
    with pytest.raises(ParameterIsInvalid) as refused:
        asyncio.run(TO_DATE.run(NOWHERE, listed(parameters)))
    assert refused.value.pointer == "/valid_at"


def test_the_farthest_days_can_be_asked_about(revenue: Folded) -> None:
    nothing = Trade()
    for day in ("1003-01-01", "9997-12-31"):
        assert ask(revenue, nothing, report=TO_DATE, valid_at=day).n == 0
    for first in ("1000-01-01", "1024-01-01"):
        assert ask(revenue, nothing, first=first, to="9998-01-01", tz="Europe/Berlin").n == 0


# Pages


def many_buyers(count: int) -> Trade:
    """Buyers of whom several have bought for the same amount, and one has brought back more."""
    trade = Trade().registered()
    for number in range(count):
        trade.invoice(JANUARY, line(FLOUR, f"{number % 5}.00"), customer=CustomerId(UUID(int=number + 1)))
    trade.credit_note(JANUARY, line(FLOUR, "-9.00"), customer=CustomerId(UUID(int=3)))
    return trade


def pages(folded: Folded, trade: Trade, **parameters: str) -> list[dict[str, Any]]:
    """All rows, page by page."""
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    kept = Kept()
    while True:
        answer = ask(folded, trade, kept=kept, **parameters, **cursor)
        rows += [dict(row) for row in answer.rows]
        if answer.next_cursor is None:
            return rows
        cursor = {"cursor": answer.next_cursor}


@pytest.mark.parametrize("by", ["customer", "month,customer", "customer,product"])
@pytest.mark.parametrize("order", ["key", "revenue"])
@pytest.mark.parametrize("kept", [4, 2_000])
def test_pages_are_the_whole_in_pieces(
    revenue: Folded, monkeypatch: pytest.MonkeyPatch, by: str, order: str, kept: int
) -> None:
    monkeypatch.setattr(revenue_sums, "RANKS_KEPT", kept)
    trade = many_buyers(12)
    revenue.fold(trade.log)
    whole = [dict(row) for row in ask(revenue, trade, by=by, order=order).rows]
    assert len(whole) == 12
    for limit in ("1", "5", "11", "12", "13"):
        assert pages(revenue, trade, by=by, order=order, limit=limit) == whole
    if order == "revenue":
        revenues: list[Any] = [row["revenue"] for row in whole]
        assert revenues == sorted(revenues, reverse=True)


def test_a_page_belongs_to_its_question(revenue: Folded) -> None:
    trade = many_buyers(3)
    revenue.fold(trade.log)
    cursor = ask(revenue, trade, by="customer", limit="1").next_cursor
    assert cursor is not None
    with pytest.raises(ParameterIsInvalid):
        ask(revenue, trade, by="customer", order="revenue", cursor=cursor)


def test_the_pages_of_an_answer_are_all_of_one_position(databases: Databases) -> None:
    trade = many_buyers(3)
    project(databases, trade.log)
    question = {"by": ["customer"], "limit": ["2"]}
    first = ask_report(databases, lambda reports: reports.run("revenue_statistics", asked(question)))
    trade.invoice(JANUARY, customer=CustomerId(UUID(int=3)))
    project(databases, trade.log)
    question |= {"cursor": [str(first.next_cursor)]}
    second = ask_report(databases, lambda reports: reports.run("revenue_statistics", asked(question)))
    assert second.position == first.position == trade.log.head() - 1
    assert table(second, "customer", "revenue") == [(str(UUID(int=3)), "-7.00")]


@pytest.fixture
def short_rankings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rankings of which little is kept, and which are made anew soon."""
    monkeypatch.setattr(revenue_sums, "RANKS_KEPT", 3)
    monkeypatch.setattr(revenue_sums, "CHANGED_MAX", 4)


several = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@several
@given(
    bought=st.lists(st.tuples(st.integers(1, 8), st.integers(-3, 6), st.booleans()), min_size=3, max_size=25),
    cuts=st.lists(st.integers(4, 28), min_size=1, max_size=5),
    by=st.sampled_from(["customer", "product", "customer,month", "customer,category", "customer,product"]),
    more=st.sampled_from([{"limit": "1"}, {"limit": "2"}, {"limit": "5", "compare": "prior_period"}]),
)
@pytest.mark.usefixtures("short_rankings")
def test_a_ranking_that_is_brought_up_is_the_ranking(
    revenue: Folded, bought: list[tuple[int, int, bool]], cuts: list[int], by: str, more: dict[str, str]
) -> None:
    trade = Trade().registered()
    for buyer, amount, late in bought:
        product = (FLOUR, YEAST, OVEN)[buyer % 3]
        day = JANUARY if late else FEBRUARY
        trade.invoice(day, line(product, f"{amount}.00"), customer=CustomerId(UUID(int=buyer)))
        if amount == 6:
            trade.assign(product, "dear", JANUARY)
    question = listed({"by": by, "order": "revenue", "from": "2026-02-01", "to": "2026-03-01", **more})
    kept = Kept()
    with revenue.afresh():
        revenue.fold(trade.log)
        for position in sorted(min(cut, trade.log.head()) for cut in cuts):
            asked = (position, lambda snapshot: REPORT.run(snapshot, question))
            (brought_up,), (fresh,) = revenue.ask(asked, kept=kept), revenue.ask(asked)
            assert brought_up.json() == fresh.json()


@pytest.mark.usefixtures("short_rankings")
def test_who_falls_below_what_is_kept_is_not_taken_for_the_next(revenue: Folded) -> None:
    trade = Trade().registered()
    buyers = [CustomerId(UUID(int=number)) for number in range(1, 6)]
    for buyer, amount in zip(buyers, ("10.00", "9.00", "8.00", "6.00", "4.00"), strict=True):
        trade.invoice(JANUARY, line(FLOUR, amount), customer=buyer)
    kept = Kept()
    question: Any = {"by": "customer", "order": "revenue", "limit": "2"}
    assert table(ask(revenue.fold(trade.log), trade, kept=kept, **question), "revenue") == [("10.00",), ("9.00",)]
    for buyer in buyers[:2]:
        trade.credit_note(JANUARY, line(FLOUR, "-8.50"), customer=buyer)
    answer = ask(revenue.fold(trade.log), trade, kept=kept, **question)
    assert table(answer, "customer", "revenue") == [(str(buyers[2]), "8.00"), (str(buyers[3]), "6.00")]


def test_facts_that_leave_a_selection_change_its_ranking(revenue: Folded) -> None:
    trade = Trade().registered()
    for product in (FLOUR, YEAST):
        trade.assign(product, "baking", JANUARY)
    trade.invoice(JANUARY, line(FLOUR, "10.00"))
    trade.invoice(JANUARY, line(YEAST, "5.00"), customer=ADA)
    kept = Kept()
    question: Any = {"by": "customer", "order": "revenue", "where": "category:baking"}
    before = ask(revenue.fold(trade.log), trade, kept=kept, **question)
    assert table(before, "customer", "revenue") == [(str(ACME), "10.00"), (str(ADA), "5.00")]
    trade.assign(FLOUR, "flour", JANUARY)
    after = ask(revenue.fold(trade.log), trade, kept=kept, **question)
    assert table(after, "customer", "revenue") == [(str(ADA), "5.00")]


# Evidence


def test_evidence_comes_in_pages(revenue: Folded, trade: Trade) -> None:
    revenue.fold(trade.log)
    sales = tuple(each.position for each in trade.events() if each.type == "sales-document.invoice-posted")

    def behind(**parameters: str) -> Evidence:
        question = listed({**parameters, "where": "kind:invoice"})
        answers: list[Evidence] = revenue.ask((trade.log.head(), lambda snapshot: REPORT.evidence(snapshot, question)))
        return answers[0]

    assert behind().positions == sales
    first = behind(limit="2")
    assert (first.positions, first.next_cursor is None) == (sales[:2], False)
    second = behind(limit="2", cursor=str(first.next_cursor))
    assert (second.positions, behind(limit="5").next_cursor) == (sales[2:4], None)


def test_a_category_is_the_one_that_the_source_knew_else_that_of_today(revenue: Folded) -> None:
    knew, told = (datetime(2026, month, 1, tzinfo=UTC) for month in (2, 3))
    trade = Trade().registered()
    flour = trade.assign(FLOUR, "flour", JANUARY, source_recorded_at=knew)
    baking = trade.assign(FLOUR, "baking", JANUARY, source_recorded_at=told)
    yeast = trade.assign(YEAST, "yeast", JANUARY, source_recorded_at=told)
    sale = trade.invoice(JANUARY, line(FLOUR), line(YEAST), line(None), source_recorded_at=knew)
    revenue.fold(trade.log)

    def by_category(moment: datetime) -> tuple[dict[object, object], object]:
        answer = ask(revenue, trade, by="category", knowledge="source", known_at=moment.isoformat())
        return {row["category"]: (row["lines"], row["invoices"]) for row in answer.rows}, dict(answer.excluded)

    def behind(moment: datetime, category: str) -> tuple[int, ...]:
        question = listed({"where": f"category:{category}", "knowledge": "source", "known_at": moment.isoformat()})
        (evidence,) = revenue.ask((trade.log.head(), lambda snapshot: REPORT.evidence(snapshot, question)))
        found: tuple[int, ...] = evidence.positions
        return found

    assert by_category(knew) == (
        {None: (1, 1), "flour": (1, 1), "yeast": (1, 1)},
        {"no_base_quantity": 0, "category_of_today": 1},
    )
    assert by_category(told) == (
        {None: (1, 1), "baking": (1, 1), "yeast": (1, 1)},
        {"no_base_quantity": 0, "category_of_today": 0},
    )
    assert behind(knew, "flour") == (flour, sale)
    assert behind(knew, "baking") == ()
    assert behind(knew, "yeast") == (yeast, sale)
    assert behind(told, "baking") == (baking, sale)


def test_evidence_of_revenue_to_date(databases: Databases, trade: Trade) -> None:
    project(databases, trade.log)
    question = {"valid_at": ["2026-01-31"], "where": ["month:2026-01"]}
    evidence = ask_report(databases, lambda reports: reports.evidence("revenue_to_date", asked(question, position=7)))
    assert (evidence.positions, evidence.position) == ((7,), 7)


# Writing


def test_an_answer_in_full(revenue: Folded) -> None:
    trade = Trade().registered()
    trade.invoice(JANUARY, line(FLOUR, "12.00"), line(None, "-2.00", quantity=None))
    answer = ask(revenue.fold(trade.log), trade, by="product", first="2026-01-01", to="2026-02-01")
    assert answer.json() == canonical_json(
        {
            "definition": "revenue_statistics",
            "definition_version": 2,
            "position": 4,
            "question": {
                "from": "2026-01-01",
                "to": "2026-02-01",
                "by": ["product"],
                "where": [],
                "tz": None,
                "knowledge": "rapport",
                "compare": None,
                "order": "key",
                "reporting_currency": "EUR",
            },
            "basis": "revenue lines posted in the window",
            "n": 2,
            "excluded": {"no_base_quantity": 1},
            "total": {
                "revenue": "10.00",
                "invoiced": "10.00",
                "taken_back": "0.00",
                "invoices": 1,
                "average_invoice_value": "10.00",
                "net_amounts": [{"currency": "EUR", "amount": "10.00"}],
                "base_quantities": [{"unit": "kg", "quantity": "10"}],
                "lines": 2,
                "first_posting": "2026-01-15",
                "last_posting": "2026-01-15",
                "left_by_rounding": "0.00",
                "reasons": {},
            },
            "rows": [
                {
                    "product": None,
                    "revenue": "-2.00",
                    "invoiced": "-2.00",
                    "taken_back": "0.00",
                    "invoices": 1,
                    "average_invoice_value": "-2.00",
                    "net_amounts": [{"currency": "EUR", "amount": "-2.00"}],
                    "base_quantities": [],
                    "lines": 1,
                    "first_posting": "2026-01-15",
                    "last_posting": "2026-01-15",
                    "left_by_rounding": "0.00",
                    "share": "-0.200000",
                    "reasons": {"product": "no_product"},
                },
                {
                    "product": str(FLOUR),
                    "revenue": "12.00",
                    "invoiced": "12.00",
                    "taken_back": "0.00",
                    "invoices": 1,
                    "average_invoice_value": "12.00",
                    "net_amounts": [{"currency": "EUR", "amount": "12.00"}],
                    "base_quantities": [{"unit": "kg", "quantity": "10"}],
                    "lines": 1,
                    "first_posting": "2026-01-15",
                    "last_posting": "2026-01-15",
                    "left_by_rounding": "0.00",
                    "share": "1.200000",
                    "reasons": {},
                },
            ],
            "next_cursor": None,
        }
    )


def test_csv_has_the_columns_of_the_definition(revenue: Folded, trade: Trade) -> None:
    revenue.fold(trade.log)
    plain = ask(revenue, trade, by="month", first="2026-01-01", to="2026-02-01").csv().decode().splitlines()
    head = (
        "month,revenue,invoiced,taken_back,invoices,average_invoice_value,net_amounts,base_quantities,lines,"
        "first_posting,last_posting,left_by_rounding,share,null_because,definition,definition_version,position"
    )
    assert plain == [
        head,
        (
            "2026-01,120.00,120.00,0.00,1,120.00,EUR 120.00,kg 10,1,2026-01-15,2026-01-15,0.00,1.000000,,"
            "revenue_statistics,2,9"
        ),
    ]
    compared = ask(revenue, trade, first="2026-01-01", to="2026-02-01", compare="prior_year", by="kind").csv().decode()
    assert compared.splitlines()[0].split(",")[13:16] == ["base_revenue", "change", "growth"]
    to_date = ask(revenue, trade, report=TO_DATE, valid_at="2026-01-31").csv().decode()
    assert to_date.splitlines()[0].split(",")[:4] == ["period", "from", "to", "revenue"]
    nothing = ask(revenue, trade, by="month", first="2030-01-01", to="2030-02-01").csv().decode()
    assert nothing.splitlines() == [head]


@pytest.mark.parametrize("report", [REPORT, TO_DATE])
def test_every_name_in_an_answer_is_defined(revenue: Folded, trade: Trade, report: Any) -> None:
    definition = report.definition
    names = {each.name for each in (*definition.dimensions, *definition.measures)}
    reasons = {each.name for each in definition.reasons}
    parameters: Any = {"valid_at": "2026-03-31"} if report is TO_DATE else {"by": "product,category"}
    trade.invoice(JANUARY, line(None))
    answer = ask(revenue.fold(trade.log), trade, report=report, **parameters)
    assert answer.rows
    for row in answer.rows:
        why: Any = row["reasons"]
        assert row.keys() - {"reasons"} <= names
        assert set(why.values()) <= reasons
        assert {name for name, value in row.items() if value is None} == set(why)
    assert set(answer.columns) <= names
