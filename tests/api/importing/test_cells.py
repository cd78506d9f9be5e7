"""What one cell means."""

import re
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from api.importing.cells import (
    CELLS_REMEMBERED_MAX,
    CellError,
    CellFormat,
    CellReader,
    Value,
    as_json,
    local_day,
    rounded,
    start_of_day,
)

BERLIN = ZoneInfo("Europe/Berlin")
LONDON = ZoneInfo("Europe/London")
GERMAN = CellFormat(type="decimal", decimal_mark=",", thousands_mark=".")
NOT_GERMAN = [
    "12.50", "1.2.3,4", "1.23,4", "1234.567", ".123", "1..234", "1.234.", "1.2345", "0.5", "1,234.5", "1.234,5,6",
    "1.234.56", "12.3456,7", "-.123", "1 234",
]  # fmt: skip
NOT_WHOLE = ["12.50", "1.2.3", "1.23", "1234.567", ".123", "1.", "1..234", "1.234,0"]


@pytest.mark.parametrize(
    ("rules", "cell", "value"),
    [
        (CellFormat(), "  Acme Bakery ", "Acme Bakery"),
        (CellFormat(trim=False), " Acme", " Acme"),
        (CellFormat(), "", None),
        (CellFormat(), "   ", None),
        (CellFormat(missing=frozenset({"", "?"})), "?", None),
        (CellFormat(default="walk-in"), "", "walk-in"),
        (CellFormat(case="upper"), "85123a", "85123A"),
        (CellFormat(case="lower"), "ACME", "acme"),
        (CellFormat(extract=re.compile(r"^Symptom (\d+)$")), "Symptom 491", "491"),
        (CellFormat(extract=re.compile(r"^Symptom (\d+)$")), "", None),
        (CellFormat(values={"EIRE": "IE"}), "EIRE", "IE"),
        (CellFormat(values={"EIRE": "IE"}, otherwise="ZZ"), "Atlantis", "ZZ"),
        (CellFormat(type="integer"), "-42", -42),
        (CellFormat(type="integer", thousands_mark="."), "1.234.567", 1_234_567),
        (CellFormat(type="decimal"), "12.50", Decimal("12.50")),
        (CellFormat(type="decimal"), ".5", Decimal("0.5")),
        (CellFormat(type="decimal"), "1e3", Decimal(1000)),
        (CellFormat(type="decimal", decimal_mark=",", thousands_mark="."), "1.234,50", Decimal("1234.50")),
        (GERMAN, "1.234.567,5", Decimal("1234567.5")),
        (GERMAN, "-1.234", Decimal(-1234)),
        (GERMAN, "1234,50", Decimal("1234.50")),
        (GERMAN, "12,50", Decimal("12.50")),
        (GERMAN, ",5", Decimal("0.5")),
        (CellFormat(type="decimal", thousands_mark=","), "1,234.50", Decimal("1234.50")),
        (CellFormat(type="decimal", thousands_mark="'"), "1'234.50", Decimal("1234.50")),
        (CellFormat(type="decimal", decimal_mark=",", thousands_mark=" "), "1 234 567,89", Decimal("1234567.89")),
        (CellFormat(type="integer", thousands_mark=","), "-12,345", -12_345),
        (CellFormat(type="integer", thousands_mark=","), "12345", 12_345),
        (CellFormat(type="decimal", places=2), "34.7999992", Decimal("34.80")),
        (CellFormat(type="date"), "2026-04-01", date(2026, 4, 1)),
        (CellFormat(type="date", format="%d/%m/%Y"), "01/04/2026", date(2026, 4, 1)),
        (CellFormat(type="time"), "2026-04-01T09:30:00+02:00", datetime(2026, 4, 1, 7, 30, tzinfo=UTC)),
        (CellFormat(type="time", time_zone=LONDON), "2011-07-01 12:00:00", datetime(2011, 7, 1, 11, tzinfo=UTC)),
        (CellFormat(type="time", time_zone=LONDON), "2010-12-01 08:26", datetime(2010, 12, 1, 8, 26, tzinfo=UTC)),
        (CellFormat(type="time", format="%m/%d/%Y %H:%M"), "3/4/2025 1:20", datetime(2025, 3, 4, 1, 20, tzinfo=UTC)),
        (CellFormat(type="yes_no"), "Yes", True),
        (CellFormat(type="yes_no"), "0", False),
    ],
)
def test_a_cell_means_what_its_column_says(rules: CellFormat, cell: str, value: Value) -> None:
    assert CellReader("column", rules)[cell] == value


@pytest.mark.parametrize(
    ("rules", "cell", "why"),
    [
        (CellFormat(type="integer"), "1.5", "is not a whole number"),
        (CellFormat(type="integer"), "١٢", "is not a whole number"),
        (CellFormat(type="decimal"), "1,5", "is not a number"),
        (CellFormat(type="decimal"), "NaN", "is not a number"),
        (CellFormat(type="decimal", decimal_mark=","), "1.5", "is not a number"),
        *((GERMAN, cell, "is not a number") for cell in NOT_GERMAN),
        (CellFormat(type="decimal", thousands_mark=","), "12,50", "is not a number"),
        (CellFormat(type="decimal", thousands_mark=","), "1,234,50", "is not a number"),
        *((CellFormat(type="integer", thousands_mark="."), cell, "is not a whole number") for cell in NOT_WHOLE),
        (CellFormat(type="date"), "01/04/2026", "is not a date as in 2026-01-31"),
        (CellFormat(type="date", format="%d/%m/%Y"), "2026-04-01", "is not a date as in %d/%m/%Y"),
        (CellFormat(type="time"), "soon", "is not a time as in 2026-01-31 16:30"),
        (CellFormat(type="yes_no"), "maybe", "is neither yes nor no"),
        (CellFormat(values={"EIRE": "IE"}), "Atlantis", "is not in the table of values"),
        (CellFormat(extract=re.compile(r"^Symptom (\d+)$")), "Symptom x", "does not match"),
        (CellFormat(), "Caf\udce9", "holds bytes that are no text"),
    ],
)
def test_a_cell_that_means_nothing_is_named_with_its_column(rules: CellFormat, cell: str, why: str) -> None:
    with pytest.raises(CellError, match=f"^column: .*{re.escape(why)}"):
        CellReader("column", rules)[cell]


def test_a_long_cell_is_not_repeated_in_full() -> None:
    with pytest.raises(CellError) as caught:
        CellReader("column", CellFormat(type="integer"))["x" * 10_000]
    assert len(str(caught.value)) < 100


def test_a_column_of_unique_cells_is_not_kept_whole() -> None:
    reader = CellReader("column", CellFormat())
    for number in range(CELLS_REMEMBERED_MAX + 10):
        assert reader[str(number)] == str(number)
    assert len(reader) == 10


def test_halves_are_rounded_away_from_zero() -> None:
    halves = [Decimal("0.005"), Decimal("-0.005"), Decimal("0.0049")]
    assert [rounded(half, 2) for half in halves] == [Decimal("0.01"), Decimal("-0.01"), Decimal("0.00")]


def test_a_day_is_that_of_its_zone() -> None:
    late = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)
    assert local_day(late, BERLIN) == date(2026, 4, 1)
    assert start_of_day(date(2026, 4, 1), BERLIN) == datetime(2026, 3, 31, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, None),
        ("Acme", "Acme"),
        (6, 6),
        (True, True),
        (Decimal("1E+3"), "1000"),
        (Decimal("-0.50"), "-0.50"),
        (date(2026, 4, 1), "2026-04-01"),
        (datetime(2026, 4, 1, 9, 30, tzinfo=BERLIN), "2026-04-01T07:30:00Z"),
    ],
)
def test_commands_carry_decimals_and_dates_as_text(value: Value, said: object) -> None:
    assert as_json(value) == said


ZONED = "%Y-%m-%d %H:%M:%S %Z"


@pytest.mark.parametrize("zone", [BERLIN, LONDON, ZoneInfo("UTC")])
@pytest.mark.parametrize(
    ("name", "rules"),
    [("UTC", ZONED), ("GMT", ZONED), ("utc", ZONED), ("+0000", ZONED.replace("%Z", "%z")), ("UTC+0000", f"{ZONED}%z")],
)
def test_a_time_is_in_the_zone_that_its_cell_names(zone: ZoneInfo, name: str, rules: str) -> None:
    read = CellReader("at", CellFormat(type="time", format=rules, time_zone=zone))
    assert read[f"2026-07-01 23:30:00 {name}"] == datetime(2026, 7, 1, 23, 30, tzinfo=UTC)


def test_a_zone_that_is_not_the_same_everywhere_is_refused_whatever_the_machine_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = CellReader("at", CellFormat(type="time", format=ZONED, time_zone=BERLIN))
    try:
        for machine in ("UTC", "Europe/Berlin", "America/New_York"):
            monkeypatch.setenv("TZ", machine)
            time.tzset()
            for name in ("CEST", "CET", "EST", "EDT"):
                with pytest.raises(CellError):
                    read[f"2026-07-01 23:30:00 {name}"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_percent_sign_before_a_letter_is_no_zone() -> None:
    read = CellReader("at", CellFormat(type="time", format="%Y-%m-%d %H:%M %%Z", time_zone=BERLIN))
    assert read["2026-07-01 23:30 %Z"] == datetime(2026, 7, 1, 21, 30, tzinfo=UTC)
