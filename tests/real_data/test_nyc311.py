"""Complaints with two dates: what the file says, what its import makes of it, and that both agree.

Everything that is expected is calculated with SQL from the raw file. During all of it the clocks of New York were five
hours behind, and four from the morning of 2025-03-09 on.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pytest

from domain.case_status import CaseStatus
from domain.case_timeline import Reason
from domain.clock import microseconds
from tests.real_data.cases import Case, Imported, imported
from tests.real_data.pages import HOW_TO, table

FILE = Path("nyc311") / "nyc311_animals_trimmed.csv"
PAGE = HOW_TO / "import-nyc311.md"

COMPLAINTS = """
CREATE TABLE complaints AS
WITH written AS (
    SELECT "Unique Key" AS key, "Agency" AS agency, "Status" AS status,
        "Complaint Type" || coalesce('/' || "Descriptor", '') AS category,
        strptime("Created Date", '%m/%d/%Y %H:%M') AS created, strptime("Closed Date", '%m/%d/%Y %H:%M') AS closed,
        strptime("Resolution Action Updated Date", '%m/%d/%Y %H:%M') AS action
    FROM read_csv(?, header = true, all_varchar = true, parallel = false)
), shifted AS (
    SELECT *, epoch_us(created) + {offset} AS opened_at, epoch_us(closed) + {closed_offset} AS closed_at
    FROM written
)
SELECT *, closed_at - opened_at AS elapsed, epoch_us(closed) - epoch_us(created) AS difference FROM shifted
"""
HOUR = 3_600_000_000
ROWS_AGAIN = 300
"""How many rows are imported a second time."""


def _offset(moment: str) -> str:
    return f"CASE WHEN {moment} < '2025-03-09 02:00' THEN 5 ELSE 4 END * {HOUR}"


@pytest.fixture(scope="module")
def raw(real_data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The raw file."""
    with closing(duckdb.connect()) as tables:
        tables.execute("SET threads = 1")
        tables.execute(
            COMPLAINTS.format(offset=_offset("created"), closed_offset=_offset("closed")), [str(real_data / FILE)]
        )
        yield tables


@pytest.fixture(scope="module")
def line(real_data: Path) -> Iterator[Imported]:
    """A service into which the file was imported."""
    with imported(real_data / FILE, "nyc311.toml") as line:
        yield line


@pytest.fixture(scope="module")
def cases(line: Imported) -> Mapping[str, Case]:
    """The cases of the log by their key in the file."""
    return {number.removeprefix("311-"): case for number, case in line.cases().items()}


def count(raw: duckdb.DuckDBPyConnection, condition: str) -> int:
    """How many complaints there are like this."""
    ((number,),) = raw.execute(f"SELECT count(*) FROM complaints WHERE {condition}").fetchall()
    return int(number)


def of_each(raw: duckdb.DuckDBPyConnection, expression: str) -> dict[str, Any]:
    """What the raw file says about each complaint."""
    return dict(raw.execute(f"SELECT key, {expression} FROM complaints").fetchall())


def hours(raw: duckdb.DuckDBPyConnection, time: str) -> tuple[Decimal, Decimal, Decimal]:
    """How many complaints were closed, and the mean and the median of how many hours that took."""
    ((number, total, median),) = raw.execute(
        f"SELECT count({time}), sum({time})::bigint, median({time}) FROM complaints"
    ).fetchall()
    mean, median = (
        (Decimal(each) / HOUR).quantize(Decimal("0.01")) for each in (Decimal(total) / number, Decimal(median))
    )
    return Decimal(number), mean, median


def test_the_page_says_under_what_the_rows_are_counted(raw: duckdb.DuckDBPyConnection) -> None:
    assert table(PAGE, "outcome") == {
        "closed": (Decimal(count(raw, "status = 'Closed' AND closed IS NOT NULL")),),
        "still open": (Decimal(count(raw, "status = 'In Progress' AND closed IS NULL")),),
        "together": (Decimal(count(raw, "true")),),
    }


def test_the_page_says_how_long_it_took(raw: duckdb.DuckDBPyConnection) -> None:
    assert table(PAGE, "hours until closed") == {
        "elapsed": hours(raw, "elapsed"),
        "as the difference of the dates": hours(raw, "difference"),
    }


def test_the_page_says_what_the_dates_mean(raw: duckdb.DuckDBPyConnection) -> None:
    page = " ".join(PAGE.read_text("utf-8").split())
    for sentence in (
        f"the {count(raw, 'elapsed = difference - 3600000000')} complaints that were open then",
        f"the closed date in {count(raw, 'action = closed'):,} of the closed complaints",
        f"before it in {count(raw, 'action < closed'):,} and after it in {count(raw, 'action > closed')}",
        f"with {count(raw, 'action < created')} it is before the opening",
        f"Of them {count(raw, 'closed = created')} were closed in the minute of their opening",
    ):
        assert sentence in page
    assert count(raw, "elapsed <> difference AND elapsed <> difference - 3600000000") == 0


def test_every_row_is_counted_under_exactly_one_outcome(raw: duckdb.DuckDBPyConnection, line: Imported) -> None:
    assert line.summary["outcomes"] == {
        "closed": count(raw, "closed IS NOT NULL"),
        "still open": count(raw, "closed IS NULL"),
    }
    assert line.summary["rows_counted"] == line.summary["rows_read"] == count(raw, "true")
    assert line.summary["complete"]
    assert {name: special["rows"] for name, special in line.summary["special"].items()} == {
        "closed in the minute of its opening": count(raw, "closed = created"),
        "action not at the closing": count(raw, "action <> closed"),
    }


def test_every_command_that_is_sent_changes_something(line: Imported) -> None:
    accepted = sum(counts["accepted"] for counts in line.summary["commands"].values())
    assert line.position() == accepted


def test_cases_were_opened_and_closed_when_the_file_says(
    raw: duckdb.DuckDBPyConnection, cases: Mapping[str, Case]
) -> None:
    found = {
        key: (
            microseconds(case.timeline.opened_at),
            case.timeline.closed_at and microseconds(case.timeline.closed_at),
        )
        for key, case in cases.items()
    }
    assert found == of_each(raw, "(opened_at, closed_at)")


def test_resolution_times_are_those_of_the_file(raw: duckdb.DuckDBPyConnection, cases: Mapping[str, Case]) -> None:
    for key, elapsed in of_each(raw, "elapsed").items():
        figures = cases[key].figures
        if elapsed is None:
            assert figures.full_resolution.reason is figures.first_resolution.reason is Reason.NOT_RESOLVED
            assert figures.first_response.reason is Reason.NO_REPLY_YET
            continue
        for figure in (figures.full_resolution, figures.first_resolution):
            assert figure.time is not None
            assert figure.time.calendar == elapsed
        assert figures.states[CaseStatus.NEW].calendar == figures.whole.calendar == elapsed
        assert figures.first_response.reason is Reason.RESOLVED_WITHOUT_REPLY


def test_cases_are_those_of_their_agency(
    raw: duckdb.DuckDBPyConnection, line: Imported, cases: Mapping[str, Case]
) -> None:
    agencies = line.identifiers("team")
    found = {
        key: (agencies[case.timeline.profiles[-1].team_id], case.timeline.profiles[-1].category)
        for key, case in cases.items()
    }
    assert found == of_each(raw, "(agency, category)")


def test_the_log_keeps_the_other_date(raw: duckdb.DuckDBPyConnection, cases: Mapping[str, Case]) -> None:
    claimed = of_each(
        raw,
        "CASE WHEN closed IS NOT NULL THEN 'Resolution Action Updated Date of the source: ' || "
        f"strftime(make_timestamp(epoch_us(action) + {_offset('action')}), '%Y-%m-%dT%H:%M:%SZ') END",
    )
    assert {key: case.entries[-1].reason for key, case in cases.items()} == claimed


def test_importing_again_changes_nothing(real_data: Path, line: Imported, tmp_path: Path) -> None:
    part = tmp_path / "part.csv"
    with (real_data / FILE).open("rb") as whole, part.open("wb") as file:
        file.writelines(islice(whole, ROWS_AGAIN + 1))
    before = line.position()
    summary = line.again(part)
    assert line.position() == before
    assert summary["rows_counted"] == ROWS_AGAIN
    assert summary["complete"]
    assert all(counts["accepted"] == 0 for counts in summary["commands"].values())
