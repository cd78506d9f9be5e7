"""The Online Retail file, killed half-way on its way in, equals an independent calculation over the raw file.

Everything that is expected here is calculated with DuckDB from the file as it is; nothing of Rapport has a part in it.
"""

import csv
import gzip
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psycopg
import pytest

from infrastructure.server import databases_of
from infrastructure.settings import Settings
from tests.serving import COMMAND, ROOT, Serving, environment, serving

FILE = Path("online_retail_uci") / "online_retail.csv.gz"
MAPPING = ROOT / "docs" / "how-to" / "retail.toml"
KILLED_AT_POSITION = 18_000
"""More than half of the way: about 8,400 customers and products come first, then 25,900 documents."""
ROWS_OF_A_PART = 60_000
WINDOW = {"from": "2010-12-01", "to": "2012-01-01"}

LINES = """
CREATE TABLE lines AS SELECT
    row_number() OVER () AS row,
    InvoiceNo AS document,
    StockCode AS product,
    CAST(Quantity AS DECIMAL(18, 0)) AS quantity,
    CAST(UnitPrice AS DECIMAL(18, 3)) AS price,
    CAST(round(CAST(Quantity AS DECIMAL(18, 0)) * CAST(UnitPrice AS DECIMAL(15, 3)), 2) AS DECIMAL(18, 2)) AS net,
    CAST(InvoiceDate AS TIMESTAMP) AS moment,
    coalesce(CustomerID, 'walk-in') AS customer,
    Country AS country,
    CASE left(InvoiceNo, 1)
        WHEN 'C' THEN 'credit note line' WHEN 'A' THEN 'adjustment' ELSE 'invoice line' END AS outcome,
    (InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country) AS cells
FROM read_csv('{file}', header = true, all_varchar = true, parallel = false)
"""

COUNTRIES = {
    "Australia": "AU",
    "Austria": "AT",
    "Bahrain": "BH",
    "Belgium": "BE",
    "Brazil": "BR",
    "Canada": "CA",
    "Channel Islands": "XC",
    "Cyprus": "CY",
    "Czech Republic": "CZ",
    "Denmark": "DK",
    "EIRE": "IE",
    "European Community": "EU",
    "Finland": "FI",
    "France": "FR",
    "Germany": "DE",
    "Greece": "GR",
    "Hong Kong": "HK",
    "Iceland": "IS",
    "Israel": "IL",
    "Italy": "IT",
    "Japan": "JP",
    "Lebanon": "LB",
    "Lithuania": "LT",
    "Malta": "MT",
    "Netherlands": "NL",
    "Norway": "NO",
    "Poland": "PL",
    "Portugal": "PT",
    "RSA": "ZA",
    "Saudi Arabia": "SA",
    "Singapore": "SG",
    "Spain": "ES",
    "Sweden": "SE",
    "Switzerland": "CH",
    "USA": "US",
    "United Arab Emirates": "AE",
    "United Kingdom": "GB",
    "Unspecified": "ZZ",
}
"""What ISO 3166 calls the countries of the file; XC and ZZ are free for such uses."""

SEVERAL = "document IN (SELECT document FROM lines GROUP BY 1 HAVING count(DISTINCT {}) > 1)"
SPECIAL = {
    "no customer": "customer = 'walk-in'",
    "zero price": "price = 0",
    "negative price": "price < 0",
    "fraction of a penny": "net <> quantity * price",
    "negative quantity on an invoice": "quantity < 0 AND outcome <> 'credit note line'",
    "repeated line": "row NOT IN (SELECT min(row) FROM lines GROUP BY cells)",
    "two countries in a document": SEVERAL.format("country"),
    "two time stamps in a document": SEVERAL.format("moment"),
    "stock code with a small letter": "product SIMILAR TO '.*[a-z]'",
}

DOCUMENTS = """
SELECT body ->> 'document_number', body ->> 'posted_on', jsonb_array_length(body -> 'lines'),
    (SELECT sum((line ->> 'reporting_amount')::numeric) FROM jsonb_array_elements(body -> 'lines') line)
FROM (SELECT convert_from(body, 'UTF8')::jsonb AS body FROM main.events WHERE type LIKE 'sales-document.%') documents
"""


@dataclass(frozen=True, slots=True)
class Retail:
    """The service that has taken in the file, the raw file, and the summary of the import that came to its end."""

    service: Serving
    raw: duckdb.DuckDBPyConnection
    file: Path
    key: str
    summary: dict[str, Any]
    listed: Path

    def expected(self, query: str) -> list[tuple[Any, ...]]:
        """What the raw file says."""
        return self.raw.execute(query).fetchall()

    def importing(self, file: Path, *options: str | Path) -> dict[str, Any]:
        """Import a file; the summary."""
        done = self.service.rapport("import", file, "--mapping", MAPPING, "--json", *options, RAPPORT_KEY=self.key)
        assert done.returncode == 0, done.stdout + done.stderr
        summary: dict[str, Any] = json.loads(done.stdout)
        return summary

    def position(self) -> int:
        """The last position of the log."""
        status = json.loads(self.service.rapport("status", "--json").stdout)
        position: int = status["position"]
        return position


def kill_half_way(service: Serving, file: Path, key: str) -> None:
    """Start the import, and kill it when the log has come to a position."""
    command = [*COMMAND, "import", str(file), "--mapping", str(MAPPING)]
    variables = environment(RAPPORT_URL=service.address, RAPPORT_KEY=key)
    with (
        service.client("auditor") as auditor,
        subprocess.Popen(
            command, env=variables, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as half,
    ):
        position = 0
        while position <= KILLED_AT_POSITION:
            assert half.poll() is None, "the import has ended before it could be killed"
            feed = auditor.get("/v1/events", params={"after": position, "limit": 1_000, "wait": "10s"})
            position = feed.raise_for_status().json()["position"]
        half.send_signal(signal.SIGKILL)
        assert half.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def retail(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retail]:
    """The file in a service, after an import that was killed and one that went on."""
    file = real_data / FILE
    listed = tmp_path_factory.mktemp("retail") / "listed.csv"
    with closing(duckdb.connect()) as raw, serving(reporting_currency="GBP") as service:
        raw.execute("SET threads = 1")
        raw.execute(LINES.format(file=file))
        key = service.make_key("importer")
        kill_half_way(service, file, key)
        importing = Retail(service, raw, file, key, {}, listed)
        summary = importing.importing(file, "--list", listed)
        yield Retail(service, raw, file, key, summary, listed)


@pytest.fixture(scope="module")
def reporting(retail: Retail) -> httpx.Client:
    """A client that may read reports."""
    return retail.service.client("reporting")


def report(client: httpx.Client, retail: Retail, by: str) -> dict[tuple[str | None, ...], Decimal]:
    """Revenue by up to two dimensions, all pages of it, as of the end of the import."""
    question: dict[str, str | int] = {**WINDOW, "by": by, "limit": 5_000, "min_position": retail.position()}
    revenue: dict[tuple[str | None, ...], Decimal] = {}
    cursor: str | None = None
    while True:
        page = client.get("/v1/reports/revenue_statistics", params=question | ({"cursor": cursor} if cursor else {}))
        if page.status_code == 503:  # the read model is on its way
            continue
        answer = page.raise_for_status().json()
        for row in answer["rows"]:
            revenue[tuple(row[name] for name in by.split(",") if name)] = Decimal(row["revenue"])
        cursor = answer["next_cursor"]
        if cursor is None:
            assert sum(revenue.values()) == Decimal(answer["total"]["revenue"])
            return revenue


def numbers(retail: Retail, kind: str) -> dict[str, str]:
    """Our ids of all customers or products, with the identifier that the file has for each."""
    auditor = retail.service.client("auditor")
    found: dict[str, str] = {}
    after = 0
    while True:
        question: dict[str, str | int] = {"after": after, "limit": 1_000, "types": f"{kind}.registered"}
        page = auditor.get("/v1/events", params=question).raise_for_status().json()
        for event in page["events"]:
            (identifier,) = event["data"]["external_identifiers"]
            found[event["stream_id"]] = identifier["id"]
        after = page["after"]
        if after >= page["position"]:
            return found


def test_every_row_is_booked_under_what_it_is(retail: Retail) -> None:
    expected = retail.expected("SELECT outcome, count(*) FROM lines GROUP BY 1")
    assert retail.summary["outcomes"] == dict(expected)
    assert retail.summary["rows_read"] == retail.summary["rows_counted"] == 541_909
    assert retail.summary["refused"] == {}


def test_the_second_start_went_on_where_the_first_was_killed(retail: Retail) -> None:
    invoices = retail.summary["commands"]["post-invoice"]
    assert invoices["replayed"] > 0
    assert invoices["accepted"] > 0
    assert retail.summary["commands"]["register-customer"]["accepted"] == 0


def test_each_document_of_the_file_is_one_stream_with_one_event(retail: Retail) -> None:
    expected = retail.expected(
        "SELECT document, CAST(min(moment) AS DATE), count(*), sum(net) FROM lines GROUP BY 1 ORDER BY 1"
    )
    with psycopg.connect(databases_of(Settings(data=retail.service.data)).service) as connection:
        connection.execute("SET statement_timeout = 0")  # it reads every body of the log
        found = sorted(connection.execute(DOCUMENTS).fetchall())
        ((streams, events),) = connection.execute(
            "SELECT count(DISTINCT stream_id), count(*) FROM main.events"
        ).fetchall()
    adjustments = {document: (document, day, 1, net) for document, day, _, net in expected if document[0] == "A"}
    by_document = [adjustments.get(row[0], row) for row in expected]
    assert found == [(document, str(day), lines, net) for document, day, lines, net in by_document]
    ((registered,),) = retail.expected("SELECT count(DISTINCT customer) + count(DISTINCT product) FROM lines")
    assert streams == events == len(expected) + registered


def test_documents_credit_notes_and_adjustments_are_as_many_as_in_the_file(retail: Retail) -> None:
    counts = retail.summary["commands"]
    commands = {"invoice line": "post-invoice", "credit note line": "post-credit-note", "adjustment": "post-adjustment"}
    for outcome, documents in retail.expected("SELECT outcome, count(DISTINCT document) FROM lines GROUP BY 1"):
        done = counts[commands[outcome]]
        assert done["accepted"] + done["replayed"] == documents


def test_revenue_is_that_of_the_file_to_the_penny(retail: Retail, reporting: httpx.Client) -> None:
    ((net,),) = retail.expected("SELECT sum(net) FROM lines")
    assert report(reporting, retail, "") == {(): net}
    assert net == Decimal("9747747.93")


def test_revenue_by_month_and_country_is_that_of_the_file(retail: Retail, reporting: httpx.Client) -> None:
    query = "SELECT strftime(moment, '%Y-%m'), country, sum(net) FROM lines GROUP BY 1, 2"
    expected = {(month, COUNTRIES[country]): net for month, country, net in retail.expected(query)}
    assert report(reporting, retail, "month,country") == expected


def test_revenue_by_customer_is_that_of_the_file(retail: Retail, reporting: httpx.Client) -> None:
    expected = dict(retail.expected("SELECT customer, sum(net) FROM lines GROUP BY 1"))
    known = numbers(retail, "customer")
    found = {known[str(customer)]: net for (customer,), net in report(reporting, retail, "customer").items()}
    assert found == expected
    assert len(found) == 4_373


def test_revenue_by_product_is_that_of_the_file(retail: Retail, reporting: httpx.Client) -> None:
    query = "SELECT CASE outcome WHEN 'adjustment' THEN NULL ELSE product END AS code, sum(net) FROM lines GROUP BY 1"
    known: dict[str | None, str | None] = {None: None}
    known.update(numbers(retail, "product"))
    found = {known[product]: net for (product,), net in report(reporting, retail, "product").items()}
    assert found == dict(retail.expected(query))
    assert len(found) == 4_070


def test_special_rows_are_counted_and_listed(retail: Retail) -> None:
    special = retail.summary["special"]
    counted = {name: (special[name]["rows"], special[name]["documents"]) for name in special}
    expected = {
        name: retail.expected(f"SELECT count(*), count(DISTINCT document) FROM lines WHERE {condition}")[0]
        for name, condition in SPECIAL.items()
    }
    assert counted == expected
    with retail.listed.open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == sum(rows for rows, _ in expected.values())


def test_importing_again_changes_nothing(retail: Retail, tmp_path: Path) -> None:
    part = tmp_path / "part.csv"
    ((last,),) = retail.expected(
        f"SELECT max(row) FROM lines WHERE document = (SELECT document FROM lines WHERE row = {ROWS_OF_A_PART})"
    )
    with gzip.open(retail.file, "rt", newline="") as whole, part.open("w", newline="") as file:
        file.writelines(line for line, _ in zip(whole, range(last + 1), strict=False))
    before = retail.position()
    summary = retail.importing(part)
    assert retail.position() == before
    assert {name: counts["accepted"] for name, counts in summary["commands"].items()} == dict.fromkeys(
        summary["commands"], 0
    )
    assert summary["complete"]
