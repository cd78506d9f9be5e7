"""Calendar arithmetic, held to a table that is made by writing down one day after the other."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from api.importing.cells import as_json
from domain.values import rounded
from projections.reports import canonical_json
from projections.revenue_reports import RevenueStatisticsReport, RevenueToDateReport
from projections.windows import Window, months_before, next_month, same_day_before
from tests.projections.logs import Folded
from tests.projections.test_revenue_reports import ask
from tests.projections.trade import Trade, line


def written_down(first_year: int, end_year: int) -> Iterator[date]:
    """Every day of these years: January has 31 days, then comes February, and so on."""
    for year in range(first_year, end_year):
        leaps = (year % 4 == 0 and year % 100 != 0) or year % 400 == 0
        for month, length in enumerate((31, 29 if leaps else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), start=1):
            yield from (date(year, month, day) for day in range(1, length + 1))


DAYS = [*written_down(1896, 1909), *written_down(1996, 2009), *written_down(2019, 2030), *written_down(2096, 2105)]
BY_MONTH: dict[tuple[int, int], list[date]] = {}
for _each in DAYS:
    BY_MONTH.setdefault((_each.year, _each.month), []).append(_each)


def in_table(day: date, months: int) -> date | None:
    """The day of that number so many months before, or the last one of that month; None before the table begins."""
    year, month = day.year, day.month
    for _ in range(months):
        year, month = (year, month - 1) if month > 1 else (year - 1, 12)
    found = BY_MONTH.get((year, month))
    return None if found is None else found[min(day.day, len(found)) - 1]


def test_the_days_are_those_of_the_calendar() -> None:
    assert sum(1 for one, other in pairwise(DAYS) if other - one != timedelta(days=1)) == 3
    assert [len(BY_MONTH[year, 2]) for year in (1900, 2000, 2023, 2024, 2100, 2104)] == [28, 29, 28, 29, 28, 29]


@pytest.mark.parametrize("months", [1, 2, 3, 6, 11, 12, 13, 24, 48])
def test_the_same_day_some_months_before(months: int) -> None:
    for day in DAYS:
        wanted = in_table(day, months)
        if wanted is not None:
            assert same_day_before(day, months) == wanted, day
            # A border between two days moves with the day behind it.
            assert months_before(day, months) == wanted + timedelta(days=wanted.day != day.day), day


def test_the_month_after_begins_after_the_last_day() -> None:
    for day in DAYS:
        assert next_month(day) == BY_MONTH[day.year, day.month][-1] + timedelta(days=1)


def near_month_ends() -> Iterator[Window]:
    """Windows whose ends lie about the ends of months, of a day to a year."""
    about = [day for day in written_down(2022, 2026) if day.day < 3 or day.day > 27]
    for place, first in enumerate(about):
        for last in (*about[place : place + 8], *about[place + 8 : place + 90 : 7]):
            yield Window(first, last + timedelta(days=1))


@pytest.mark.parametrize("months", [1, 12, 24])
def test_the_same_days_some_months_before(months: int) -> None:
    for window in near_month_ends():
        first, last = in_table(window.first, months), in_table(window.end - timedelta(days=1), months)
        assert first is not None
        assert last is not None
        numbered = window.numbered_days_before(months)
        assert (numbered.first, numbered.end) == (first, last + timedelta(days=1)), window
        assert numbered.first < numbered.end
        if window.first.day == window.end.day == 1:
            last = BY_MONTH[last.year, last.month][-1]
        same = window.same_days_before(months)
        assert (same.first, same.end) == (first, last + timedelta(days=1)), window


# What the reports tell of these days


@pytest.fixture
def trade() -> Trade:
    """Every day from 2022 on something was sold, for as many cents as its number in this list."""
    trade = Trade().registered()
    for number, day in enumerate(SOLD_ON, start=1):
        trade.invoice(day, line(None, f"{Decimal(number) / 100:.2f}"))
    return trade


SOLD_ON = [day for day in written_down(2022, 2026) if day.month in {1, 2, 3, 12} and (day.day < 4 or day.day > 26)]


def sold(first: str, last: str) -> str:
    """What was sold from a day to another one, both of them included."""
    days = range(date.fromisoformat(first).toordinal(), date.fromisoformat(last).toordinal() + 1)
    cents = sum(number for number, day in enumerate(SOLD_ON, start=1) if day.toordinal() in days)
    return f"{Decimal(cents) / 100:.2f}"


COMPARED = [
    ("2024-02-29", "2024-03-01", "2023-02-28", "2023-02-28"),
    ("2024-02-28", "2024-02-29", "2023-02-28", "2023-02-28"),
    ("2024-02-28", "2024-03-01", "2023-02-28", "2023-02-28"),
    ("2024-02-29", "2024-03-02", "2023-02-28", "2023-03-01"),
    ("2024-02-01", "2024-02-29", "2023-02-01", "2023-02-28"),
    ("2024-02-01", "2024-03-01", "2023-02-01", "2023-02-28"),
    ("2025-02-28", "2025-03-01", "2024-02-28", "2024-02-28"),
    ("2025-02-27", "2025-03-01", "2024-02-27", "2024-02-28"),
    ("2025-02-28", "2025-03-02", "2024-02-28", "2024-03-01"),
    ("2025-03-01", "2025-03-02", "2024-03-01", "2024-03-01"),
    ("2025-02-01", "2025-03-01", "2024-02-01", "2024-02-29"),
    ("2025-01-01", "2026-01-01", "2024-01-01", "2024-12-31"),
    ("2025-12-31", "2026-01-01", "2024-12-31", "2024-12-31"),
    ("2025-01-31", "2025-02-01", "2024-01-31", "2024-01-31"),
]
TO_DATE = [
    ("2024-02-29", "2023-02-01", "2023-02-28", "2023-01-01", "2023-02-28", "2022-03-01", "2023-02-28"),
    ("2024-02-28", "2023-02-01", "2023-02-28", "2023-01-01", "2023-02-28", "2022-03-01", "2023-02-28"),
    ("2025-02-28", "2024-02-01", "2024-02-28", "2024-01-01", "2024-02-28", "2023-03-01", "2024-02-29"),
    ("2025-03-01", "2024-03-01", "2024-03-01", "2024-01-01", "2024-03-01", "2023-03-02", "2024-03-01"),
    ("2025-03-31", "2024-03-01", "2024-03-31", "2024-01-01", "2024-03-31", "2023-04-01", "2024-03-31"),
    ("2025-12-31", "2024-12-01", "2024-12-31", "2024-01-01", "2024-12-31", "2024-01-01", "2024-12-31"),
]


def test_a_window_is_compared_with_the_same_days_a_year_before(revenue: Folded, trade: Trade) -> None:
    revenue.fold(trade.log)
    for first, to, base_first, base_last in COMPARED:
        answer: Any = ask(revenue, trade, report=RevenueStatisticsReport(), first=first, to=to, compare="prior_year")
        assert str(answer.rows[0]["base_revenue"]) == sold(base_first, base_last), (first, to)
        ends = date.fromisoformat(base_last) + timedelta(days=1)
        assert (answer.question["base_from"], answer.question["base_to"]) == (date.fromisoformat(base_first), ends)


def test_what_is_to_date_is_compared_with_the_same_days_a_year_before(revenue: Folded, trade: Trade) -> None:
    revenue.fold(trade.log)
    for valid_at, *bases in TO_DATE:
        answer: Any = ask(revenue, trade, report=RevenueToDateReport(), valid_at=valid_at)
        told = [str(row["prior_year_revenue"]) for row in answer.rows[:3]]
        assert told == [sold(first, last) for first, last in zip(bases[::2], bases[1::2], strict=True)], valid_at


def test_whole_months_by_month_are_compared_with_all_days_of_the_months(revenue: Folded, trade: Trade) -> None:
    revenue.fold(trade.log)
    answer: Any = ask(revenue, trade, first="2025-02-01", to="2025-04-01", by="month", compare="prior_year")
    assert [str(row["base_revenue"]) for row in answer.rows] == [
        sold("2024-02-01", "2024-02-29"),
        sold("2024-03-01", "2024-03-31"),
    ]


# No negative zero


def test_an_average_that_rounds_to_nothing_has_no_sign(revenue: Folded) -> None:
    trade = Trade().registered()
    for amount in ("-0.01", "0.00", "0.00"):
        trade.invoice(date(2026, 1, 1), line(None, amount))
    revenue.fold(trade.log)
    in_january = ask(revenue, trade, first="2026-01-01", to="2026-02-01")
    to_date = ask(revenue, trade, report=RevenueToDateReport(), valid_at="2026-01-31")
    for answer in (in_january, to_date):
        assert str(answer.rows[0]["average_invoice_value"]) == "0.00"
        for written in (answer.json(), answer.csv()):
            assert b"-0.01" in written
            assert b"-0.00" not in written


@pytest.mark.parametrize("zero", ["-0", "-0.00", "-0.000000", "-0E+3"])
def test_no_zero_is_written_with_a_sign(zero: str) -> None:
    assert b"-" not in canonical_json({"a": Decimal(zero), "b": [Decimal(zero)]})
    assert "-" not in str(as_json(Decimal(zero)))
    assert not rounded(Decimal(zero), "EUR").is_signed()
    for little, currency in (("-0.004", "EUR"), ("-0.4", "JPY"), ("-0.0004", "KWD"), ("-0", "EUR")):
        assert not rounded(Decimal(little), currency).is_signed()
    assert rounded(Decimal("-0.005"), "EUR") == Decimal("-0.01")
