"""Revenue: what every figure is, at any position, however the log was folded."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.sales_document import DocumentLine
from projections import revenue_statistics, revenue_sums
from projections.read_model import Page, Snapshot
from projections.reports import Parameters, ReportAnswer
from projections.revenue_reports import RevenueStatisticsReport
from projections.revenue_statistics import (
    ROLL_UPS,
    ProductIsUnknown,
    ReportingCurrencyHasChanged,
    RevenueStatistics,
)
from tests.people import ACME, ADA
from tests.projections import oracle
from tests.projections.logs import Folded
from tests.projections.trade import BUYERS, FLOUR, OVEN, YEAST, Trade, line

REPORT = RevenueStatisticsReport()
FIRST = date(2026, 1, 20)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of four and eight positions, so that short logs have some."""
    small = tuple(replace(each, levels=(2, 3)) for each in ROLL_UPS)
    monkeypatch.setattr(revenue_statistics, "ROLL_UPS", small)
    monkeypatch.setattr(revenue_sums, "ROLL_UPS", small)


def asking(**parameters: str | list[str]) -> Callable[[Snapshot], Any]:
    listed: Parameters = {
        {"first": "from"}.get(name, name): value if isinstance(value, list) else [value]
        for name, value in parameters.items()
    }
    return lambda snapshot: REPORT.run(snapshot, listed)


def ask(folded: Folded, position: int, **parameters: str | list[str]) -> ReportAnswer:
    answers: list[ReportAnswer] = folded.ask((position, asking(**parameters)))
    return answers[0]


def revenue_by(folded: Folded, position: int, by: str, **parameters: str | list[str]) -> dict[object, str]:
    answer = ask(folded, position, by=by, **parameters)
    return {row[by]: str(row["revenue"]) for row in answer.rows}


# Known situations


def test_what_is_taken_back_counts_on_its_own_day(revenue: Folded) -> None:
    trade = Trade().registered()
    sale = trade.invoice(date(2026, 1, 20), line(FLOUR, "920.00"), line(YEAST, "368.00"))
    trade.credit(sale, date(2026, 2, 10))
    cancelled = trade.cancel(sale, date(2026, 3, 1))
    revenue.fold(trade.log)
    assert revenue_by(revenue, cancelled, "month") == {
        "2026-01": "1288.00",
        "2026-02": "-920.00",
        "2026-03": "-1288.00",
    }
    (whole,) = ask(revenue, cancelled).rows
    assert (str(whole["revenue"]), str(whole["invoiced"]), str(whole["taken_back"])) == (
        "-920.00",
        "1288.00",
        "-2208.00",
    )


def test_amounts_are_told_in_the_currency_of_the_document_too(revenue: Folded) -> None:
    trade = Trade().registered()
    trade.invoice(date(2026, 1, 15), line(FLOUR, "1000.00", reporting="900.00"), currency="USD")
    last = trade.invoice(date(2026, 1, 15), line(FLOUR, "100.00"))
    revenue.fold(trade.log)
    (row,) = ask(revenue, last).rows
    assert str(row["revenue"]) == "1000.00"
    assert row["net_amounts"] == [
        {"currency": "EUR", "amount": Decimal("100.00")},
        {"currency": "USD", "amount": Decimal("1000.00")},
    ]


def test_quantities_are_told_by_base_unit_and_unknown_ones_counted(revenue: Folded) -> None:
    trade = Trade().registered()
    last = trade.invoice(
        date(2026, 1, 15), line(FLOUR, quantity="2.5"), line(OVEN, quantity="1"), line(YEAST, quantity=None)
    )
    revenue.fold(trade.log)
    answer = ask(revenue, last)
    assert answer.rows[0]["base_quantities"] == [
        {"unit": "kg", "quantity": Decimal("2.5")},
        {"unit": "piece", "quantity": Decimal(1)},
    ]
    assert answer.excluded == {"no_base_quantity": 1}
    assert answer.n == 3


def test_an_invoice_counts_once_in_every_group_that_it_has_lines_in(revenue: Folded) -> None:
    trade = Trade().registered()
    trade.assign(FLOUR, "baking", FIRST)
    trade.assign(YEAST, "baking", FIRST)
    both = line(FLOUR), line(YEAST), line(FLOUR, country="FR"), line(None, "-5.00", quantity=None)
    trade.invoice(FIRST, *both)
    trade.invoice(FIRST, line(YEAST))
    last = trade.adjust(FIRST, "-10.00")
    revenue.fold(trade.log)

    def invoices(by: str) -> dict[object, object]:
        return {row[by]: row["invoices"] for row in ask(revenue, last, by=by).rows}

    assert ask(revenue, last).rows[0]["invoices"] == 2
    assert invoices("product") == {None: 1, FLOUR: 1, YEAST: 2}
    assert invoices("category") == {None: 1, "baking": 2}
    assert invoices("country") == {"DE": 2, "FR": 1}
    assert invoices("kind") == {"adjustment": 0, "invoice": 2}


def test_an_invoice_still_counts_once_when_its_products_have_moved(revenue: Folded) -> None:
    trade = Trade().registered()
    trade.assign(YEAST, "baking", FIRST)
    trade.invoice(FIRST, line(YEAST, country="FR"), line(FLOUR), line(FLOUR, country="FR"), line(YEAST))
    before = trade.invoice(FIRST, line(FLOUR, country="FR"))
    together = trade.assign(FLOUR, "baking", FIRST)
    apart = trade.assign(YEAST, "yeast", FIRST)
    for _ in range(8):
        trade.assign(OVEN, "ovens", FIRST)
    revenue.fold(trade.log)

    def invoices(position: int, by: str) -> dict[tuple[object, ...], object]:
        rows = ask(revenue, position, by=by).rows
        return {tuple(row[name] for name in by.split(",")): row["invoices"] for row in rows}

    pairs = "category,country"
    assert invoices(before, pairs) == {
        (None, "DE"): 1,
        (None, "FR"): 2,
        ("baking", "DE"): 1,
        ("baking", "FR"): 1,
    }
    assert invoices(together, pairs) == {("baking", "DE"): 1, ("baking", "FR"): 2}
    assert invoices(together, "category") == {("baking",): 2}
    for position in (apart, apart + 8):
        assert invoices(position, pairs) == {
            ("baking", "DE"): 1,
            ("baking", "FR"): 2,
            ("yeast", "DE"): 1,
            ("yeast", "FR"): 1,
        }
        assert invoices(position, "category") == {("baking",): 2, ("yeast",): 1}


def test_the_average_invoice_value_is_one_division_of_what_is_told_beside_it(revenue: Folded) -> None:
    trade = Trade().registered()
    for amount in ("10.00", "10.00", "10.01"):
        trade.invoice(FIRST, line(FLOUR, amount))
    revenue.fold(trade.log)
    (row,) = ask(revenue, trade.log.head()).rows
    assert (str(row["invoiced"]), row["invoices"], str(row["average_invoice_value"])) == ("30.01", 3, "10.00")


def test_where_nothing_was_posted_sums_are_zero_and_all_else_is_null_with_a_reason(revenue: Folded) -> None:
    answer = ask(revenue, 0, first="2026-01-01", to="2026-02-01", compare="prior_year")
    (row,) = answer.rows
    assert (str(row["revenue"]), row["invoices"], row["lines"], row["net_amounts"]) == ("0.00", 0, 0, [])
    assert row["reasons"] == {
        "average_invoice_value": "no_invoices",
        "first_posting": "no_postings",
        "last_posting": "no_postings",
        "share": "no_revenue",
        "growth": "no_base_revenue",
    }
    assert {name for name, value in row.items() if value is None} == set(row["reasons"])
    assert ask(revenue, 0, by="month").rows == ()


# Categories


def test_the_category_is_that_of_the_day_of_posting(revenue: Folded) -> None:
    trade = Trade().registered()
    trade.assign(FLOUR, "flour", date(2026, 1, 1))
    trade.assign(FLOUR, "baking", date(2026, 3, 1))
    trade.invoice(date(2025, 12, 31), line(FLOUR, "1.00"))
    trade.invoice(date(2026, 2, 28), line(FLOUR, "10.00"))
    last = trade.invoice(date(2026, 3, 1), line(FLOUR, "100.00"))
    revenue.fold(trade.log)
    assert revenue_by(revenue, last, "category") == {None: "1.00", "baking": "100.00", "flour": "10.00"}


def test_a_category_for_days_past_moves_their_facts_from_then_on_known(revenue: Folded) -> None:
    trade = Trade().registered()
    trade.assign(FLOUR, "flour", date(2026, 1, 1))
    trade.invoice(date(2026, 1, 31), line(FLOUR, "1.00"), line(YEAST, "5.00"))
    trade.invoice(date(2026, 2, 1), line(FLOUR, "10.00"))
    before = trade.invoice(date(2026, 3, 1), line(FLOUR, "100.00"))
    trade.assign(FLOUR, "spring", date(2026, 3, 1))
    after = trade.assign(FLOUR, "baking", date(2026, 2, 1))
    revenue.fold(trade.log)
    assert revenue_by(revenue, before, "category") == {None: "5.00", "flour": "111.00"}
    assert revenue_by(revenue, after, "category") == {
        None: "5.00",
        "baking": "10.00",
        "flour": "1.00",
        "spring": "100.00",
    }


def test_the_first_and_last_day_are_those_of_the_facts_that_are_left(revenue: Folded) -> None:
    trade = Trade().registered()
    trade.assign(FLOUR, "baking", date(2026, 1, 1))
    trade.assign(YEAST, "baking", date(2026, 1, 1))
    trade.invoice(date(2026, 1, 5), line(FLOUR))
    trade.invoice(date(2026, 1, 10), line(YEAST))
    before = trade.invoice(date(2026, 1, 25), line(FLOUR))
    after = trade.assign(FLOUR, "flour", date(2026, 1, 1))
    for _ in range(20):
        trade.assign(OVEN, "ovens", date(2026, 1, 1))
    revenue.fold(trade.log)

    def days(position: int) -> dict[object, tuple[object, object]]:
        rows = ask(revenue, position, by="category").rows
        return {row["category"]: (row["first_posting"], row["last_posting"]) for row in rows}

    assert days(before) == {"baking": (date(2026, 1, 5), date(2026, 1, 25))}
    for position in (after, after + 20):
        assert days(position) == {
            "baking": (date(2026, 1, 10), date(2026, 1, 10)),
            "flour": (date(2026, 1, 5), date(2026, 1, 25)),
        }


def test_evidence_names_the_postings_and_the_categories_that_a_figure_rests_on(revenue: Folded) -> None:
    trade = Trade().registered()
    flour = trade.assign(FLOUR, "flour", FIRST)
    sale = trade.invoice(FIRST, line(FLOUR), line(YEAST))
    other = trade.invoice(FIRST, line(YEAST))
    moved = trade.assign(FLOUR, "baking", FIRST)
    yeast = trade.assign(YEAST, "baking", FIRST)
    revenue.fold(trade.log)

    def behind(position: int, *where: str, by: str = "") -> tuple[int, ...]:
        question = {"where": list(where), **({"by": [by]} if by else {})}
        (evidence,) = revenue.ask((position, lambda snapshot: REPORT.evidence(snapshot, question)))
        return evidence.positions

    assert behind(other) == (sale, other)
    assert behind(other, "category:flour") == (flour, sale)
    assert behind(moved, "category:flour") == ()
    assert behind(moved, "category:baking") == (sale, moved)
    assert behind(moved, by="category") == (sale, other, moved)
    assert behind(yeast, "category:baking", f"product:{YEAST}") == (sale, other, yeast)
    for position in (moved, yeast):
        assert behind(position, "month:2026-01", f"customer:{ACME}") == (sale, other)
        assert behind(position, f"product:{YEAST}") == (sale, other)
        assert behind(position, f"product:{FLOUR}") == (sale,)
    assert behind(moved, "month:2026-02") == ()


def test_what_earlier_credit_notes_left_by_rounding_is_shown(revenue: Folded) -> None:
    """Two lines of 1.00 at 0.925 are worth 1.86; 2.00 of the whole were taken back as 1.85."""
    trade = Trade().registered()
    sale = trade.invoice(FIRST, line(FLOUR, "1.00", reporting="0.93"), line(YEAST, "1.00", reporting="0.93"))
    left = trade.take_back(sale, FIRST, line(None, "-2.00", reporting="-1.85"))
    trade.assign(FLOUR, "flour", FIRST)
    gone = trade.take_back(sale, FIRST, line(None, "0.00", reporting="-0.01"))
    revenue.fold(trade.log)

    def left_at(position: int) -> list[tuple[object, str, str]]:
        rows = ask(revenue, position, by="kind").rows
        return [(row["kind"], str(row["revenue"]), str(row["left_by_rounding"])) for row in rows]

    assert left_at(left) == [("credit_note", "-1.85", "0.01"), ("invoice", "1.86", "0.00")]
    assert left_at(left + 1) == left_at(left)
    assert left_at(gone) == [("credit_note", "-1.86", "0.00"), ("invoice", "1.86", "0.00")]


# What stops the fold


def test_a_line_of_an_unknown_product_stops_the_fold(revenue: Folded) -> None:
    trade = Trade().registered(YEAST)
    trade.invoice(FIRST, line(FLOUR))
    with pytest.raises(ProductIsUnknown):
        revenue.fold(trade.log)


def test_a_category_of_an_unknown_product_stops_the_fold(revenue: Folded) -> None:
    trade = Trade()
    trade.assign(FLOUR, "flour", FIRST)
    with pytest.raises(ProductIsUnknown):
        revenue.fold(trade.log)


@pytest.mark.parametrize("page_size", [1, 500])
def test_a_second_reporting_currency_stops_the_fold(revenue: Folded, page_size: int) -> None:
    trade = Trade().registered()
    trade.invoice(FIRST)
    trade.invoice(FIRST)
    last = trade.events()[-1]
    trade.log.recorded[-1] = replace(last, event=replace(last.event, reporting_currency="USD"))
    with pytest.raises(ReportingCurrencyHasChanged):
        revenue.fold(trade.log, page_size)


# Laws


@dataclass(frozen=True)
class Asked:
    """A question, for the report and for the oracle."""

    first: date | None
    end: date | None
    by: tuple[str, ...]
    where: dict[str, str]

    def parameters(self, **more: str) -> Parameters:
        days = {"from": self.first, "to": self.end}
        return {
            **{name: [day.isoformat()] for name, day in days.items() if day is not None},
            **({"by": [",".join(self.by)]} if self.by else {}),
            "where": [f"{name}:{value}" for name, value in self.where.items()],
            "limit": ["1000"],
            **{name: [value] for name, value in more.items()},
        }

    def selects(self, each: oracle.Line) -> bool:
        in_window = (self.first or date.min) <= each.posted_on < (self.end or date.max)
        return in_window and all((each.values[name] or "") == value for name, value in self.where.items())


DAYS = st.integers(0, 80).map(lambda days: FIRST + timedelta(days=days))
VALUES = {
    "month": ("2026-01", "2026-02", "2026-04"),
    "customer": tuple(map(str, BUYERS)),
    "product": ("", str(FLOUR), str(YEAST)),
    "category": ("", "baking", "flour"),
    "country": ("DE", "FR"),
    "currency": ("EUR", "USD"),
    "kind": ("invoice", "credit_note", "cancellation", "adjustment"),
}
DIMENSIONS = tuple(VALUES)


@st.composite
def questions(draw: st.DrawFn) -> Asked:
    first, end = sorted([draw(DAYS), draw(DAYS)])
    by = tuple(draw(st.lists(st.sampled_from(DIMENSIONS), max_size=2, unique=True)))
    filtered = draw(st.lists(st.sampled_from(DIMENSIONS), max_size=2, unique=True))
    return Asked(
        first=draw(st.sampled_from([None, first, first.replace(day=1)])),
        end=draw(st.sampled_from([None, end + timedelta(days=1), date(2026, 5, 1)])),
        by=by,
        where={name: draw(st.sampled_from(VALUES[name])) for name in filtered},
    )


@st.composite
def lines(draw: st.DrawFn) -> DocumentLine:
    return line(
        draw(st.sampled_from([None, FLOUR, FLOUR, YEAST, OVEN])),
        f"{draw(st.integers(-500, 5000))}.{draw(st.integers(0, 99)):02}",
        reporting=f"{draw(st.integers(0, 5000))}.{draw(st.integers(0, 99)):02}",
        quantity=draw(st.sampled_from([None, "1", "2.5"])),
        country=draw(st.sampled_from(["DE", "FR"])),
        ordered_on=draw(st.sampled_from([None, FIRST])),
    )


def trade_of(draw: st.DrawFn, size_min: int, size_max: int) -> Trade:
    trade = Trade().registered()
    invoices: list[int] = []
    for _ in range(draw(st.integers(size_min, size_max))):
        match draw(
            st.sampled_from(["invoice", "invoice", "invoice", "credit", "cancel", "note", "adjust", "assign", "assign"])
        ):
            case "invoice":
                posted = draw(st.lists(lines(), min_size=1, max_size=4))
                buyer, currency = draw(st.sampled_from(BUYERS)), draw(st.sampled_from(["EUR", "USD"]))
                invoices.append(trade.invoice(draw(DAYS), *posted, customer=buyer, currency=currency))
            case "credit" if invoices:
                trade.credit(draw(st.sampled_from(invoices)), draw(DAYS))
            case "cancel" if invoices:
                trade.cancel(draw(st.sampled_from(invoices)), draw(DAYS))
            case "note":
                trade.credit_note(draw(DAYS), draw(lines()), customer=draw(st.sampled_from(BUYERS)))
            case "adjust":
                trade.adjust(draw(DAYS), "-1.50")
            case _:
                product, category = draw(st.sampled_from([FLOUR, YEAST])), draw(st.sampled_from(["baking", "flour"]))
                trade.assign(product, category, draw(DAYS))
    return trade


@st.composite
def trades(draw: st.DrawFn, size_min: int = 1, size_max: int = 40) -> Trade:
    return trade_of(draw, size_min, size_max)


several = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@several
@given(trade=trades(), asked=st.lists(st.tuples(questions(), st.integers(0, 50)), min_size=4, max_size=8))
def test_every_figure_at_every_position_is_what_the_events_up_to_there_say(
    revenue: Folded, trade: Trade, asked: list[tuple[Asked, int]]
) -> None:
    with revenue.afresh():
        revenue.fold(trade.log, 7)
        positions = [min(position, trade.log.head()) for _, position in asked]
        answers = revenue.ask(
            *(
                (position, lambda snapshot, each=each: REPORT.run(snapshot, each.parameters()))
                for position, (each, _) in zip(positions, asked, strict=True)
            )
        )
    for position, (each, _), answer in zip(positions, asked, answers, strict=True):
        selected = [found for found in oracle.lines_at(trade.events(), position) if each.selects(found)]
        expected = oracle.by_group(selected, each.by)
        if not each.by and not selected:
            assert (answer.n, answer.rows[0]["revenue"]) == (0, 0)
            continue
        assert {_keys(row, each.by): _expected(row) for row in answer.rows} == expected
        assert answer.n == len(selected)


def _keys(row: Any, by: tuple[str, ...]) -> tuple[str | None, ...]:
    return tuple(None if row[name] is None else str(row[name]) for name in by)


def _expected(row: Any) -> oracle.Expected:
    return oracle.Expected(
        revenue=row["revenue"],
        invoices=row["invoices"],
        lines=row["lines"],
        first=row["first_posting"],
        last=row["last_posting"],
        net_amounts={each["currency"]: each["amount"] for each in row["net_amounts"]},
        quantities={each["unit"]: each["quantity"] for each in row["base_quantities"]},
    )


@settings(several, max_examples=20)
@given(trade=trades())
def test_it_makes_no_difference_how_the_log_is_cut_into_pages(revenue: Folded, trade: Trade) -> None:
    digests = []
    for page_size in (1, 7, 500):
        with revenue.afresh():
            digests.append(revenue.fold(trade.log, page_size).digest())
    assert digests[0] == digests[1] == digests[2]


@several
@given(data=st.data(), asked=st.lists(questions(), min_size=3, max_size=6))
def test_late_and_corrected_facts_change_no_earlier_answer(
    revenue: Folded, data: st.DataObject, asked: list[Asked]
) -> None:
    trade = data.draw(trades(size_min=4, size_max=30))
    cut = data.draw(st.integers(1, trade.log.head()))
    positions = [data.draw(st.integers(0, cut)) for _ in asked]
    all_events, trade.log.recorded = trade.log.recorded, trade.log.recorded[:cut]
    asking = [
        (position, lambda snapshot, each=each: REPORT.run(snapshot, each.parameters(order="revenue")))
        for position, each in zip(positions, asked, strict=True)
    ]
    with revenue.afresh():
        before = [answer.json() for answer in revenue.fold(trade.log).ask(*asking)]
        trade.log.recorded = all_events
        after = [answer.json() for answer in revenue.fold(trade.log).ask(*asking)]
    assert after == before


@several
@given(trade=trades(size_min=10), where=st.sampled_from(["country", "kind", "currency"]))
def test_parts_add_up_to_the_whole(revenue: Folded, trade: Trade, where: str) -> None:
    with revenue.afresh():
        answer = ask(revenue.fold(trade.log), trade.log.head(), by=where)
    assert answer.total is not None
    for measure in ("revenue", "invoiced", "taken_back", "lines"):
        assert sum(row[measure] for row in answer.rows) == answer.total[measure]  # type: ignore[misc] # a row holds anything


@settings(several, max_examples=10)
@given(trade=trades(size_min=20, size_max=60))
def test_an_independent_calculation_over_the_lines_agrees(revenue: Folded, trade: Trade) -> None:
    head = trade.log.head()
    table = duckdb.connect()
    table.execute(
        "CREATE TABLE line (posting INT, month VARCHAR, customer VARCHAR, product VARCHAR, category VARCHAR, "
        "country VARCHAR, kind VARCHAR, revenue DECIMAL(18, 2))"
    )
    for each in oracle.lines_at(trade.events(), head):
        names = ("month", "customer", "product", "category", "country", "kind")
        table.execute(
            "INSERT INTO line VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [each.position, *(each.values[name] for name in names), each.revenue],
        )
    with revenue.afresh():
        revenue.fold(trade.log)
        for by in ("month", "customer", "product", "category", "country"):
            expected = table.execute(
                f"SELECT {by}, sum(revenue), count(DISTINCT posting) FILTER (WHERE kind = 'invoice') "
                "FROM line GROUP BY ALL"
            ).fetchall()
            rows = ask(revenue, head, by=by).rows
            found = [(None if row[by] is None else str(row[by]), row["revenue"], row["invoices"]) for row in rows]
            assert sorted(found, key=str) == sorted(expected, key=str)


# A wrong fold


class HalfBlind(RevenueStatistics):
    """Takes the second line of every page for nothing: what a mistake in a fold would do."""

    def fold(self, page: Page) -> None:
        super().fold(page)
        page.execute("UPDATE {facts} SET reporting_amount = reporting_amount + 0.01 WHERE line = 2")


def test_a_wrong_fold_is_found_by_its_digest(revenue: Folded) -> None:
    trade = Trade().registered()
    trade.invoice(FIRST, line(FLOUR), line(YEAST), customer=ADA)
    with revenue.afresh():
        right = revenue.fold(trade.log).digest()
    revenue.model = HalfBlind()
    wrong = revenue.fold(trade.log).digest()
    assert {name for name, found in wrong.items() if found != right[name]} == {"facts"}
