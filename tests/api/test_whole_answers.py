"""Nothing is cut without saying so: CSV has all rows, and whatever is a page says where it goes on."""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from application.commands import Role
from infrastructure.database import Databases
from infrastructure.settings import Settings
from projections import REPORTS
from projections.reports import PAGE_ROWS, PIECE_ROWS, Reports
from tests.api.bodies import ACME, ACME_PATH, CALL, FLOUR, invoice
from tests.api.test_on_postgres import Opened, opened
from tests.api.test_support import OPENED
from tests.asynchronous import asynchronous

MANY = PAGE_ROWS + 27
REQUIRED = {
    "revenue_to_date": {"valid_at": "2026-06-30"},
    "support_comparison": {
        "from": "2026-06-01",
        "to": "2026-07-01",
        "base_from": "2026-05-01",
        "base_to": "2026-06-01",
    },
}


def lines() -> Iterator[dict[str, Any]]:
    """Many customers, each with a product, an invoice and an open case of its own."""
    for number in range(MANY):
        name = f"M-{number}"
        customer = f"number:{name}"
        yield {"command": "register-customer", "data": ACME | {"customer_number": name, "external_identifiers": []}}
        yield {"command": "register-product", "data": FLOUR | {"product_number": name}}
        sold = invoice(name, customer)
        sold["lines"][0]["product"] = customer
        yield {"command": "post-invoice", "data": sold}
        case = {name: OPENED[name] for name in ("kind", "channel", "opened_by", "occurred_at")}
        yield {"command": "open-case", "data": case | {"case_number": name, "customer": customer, "product": customer}}


async def fill(service: Opened) -> None:
    """Send all of it."""
    body = "".join(json.dumps({"key": str(key), **line}) + "\n" for key, line in enumerate(lines()))
    answer = await service.clients[Role.SERVICE].post(
        "/v1/commands", content=body, headers={"content-type": "application/x-ndjson"}
    )
    assert json.loads(answer.text.splitlines()[-1])["accepted"] == 4 * MANY, answer.text[-500:]
    await service.project()


def questions() -> Iterator[tuple[str, dict[str, str]]]:
    """Every report, undivided and by each of its dimensions."""
    for report in REPORTS:
        definition = report.definition
        required = REQUIRED.get(definition.name, {})
        yield definition.name, required
        for parameter in definition.parameters:
            if parameter.name == "by":
                yield from ((definition.name, required | {"by": each}) for each in parameter.listed)


async def pages(client: httpx.AsyncClient, path: str) -> AsyncIterator[httpx.Response]:
    """An answer and all that come after it, as each says in its header."""
    while path:
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        yield answer
        path = answer.links["next"]["url"] if "next" in answer.links else ""


def cells(text: str) -> list[dict[str, str]]:
    """The rows of CSV."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def shown(value: Any) -> str:
    """A scalar of JSON as CSV has it."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@asynchronous
async def test_csv_has_all_rows_of_every_report_by_every_dimension(
    databases: Databases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.reports.PIECE_ROWS", 50)
    monkeypatch.setattr("api.reports.PIECE_ROWS", 50)
    longest = 0
    async with opened(databases, settings.model_copy(update={"agent_reports": "on"})) as service:
        await fill(service)
        client = service.clients[Role.REPORTING]
        for report, parameters in questions():
            path = f"/v1/reports/{report}?{urlencode({**parameters, 'at_position': 4 * MANY})}"
            rows = [row async for page in pages(client, path) for row in page.json()["rows"]]
            whole = await client.get(f"{path}&format=csv")
            listed = cells(whole.text)
            assert len(listed) == len(rows), path
            for row, line in zip(rows, listed, strict=True):
                plain = {name: value for name, value in row.items() if not isinstance(value, list | dict)}
                assert {name: shown(value) for name, value in plain.items()}.items() <= line.items(), path
            assert not {"link", "rapport-total-rows"} & whole.headers.keys()
            parts = [part async for part in pages(client, f"{path}&format=csv&limit=37")]
            assert {part.headers["rapport-total-rows"] for part in parts} == {str(len(rows))}, path
            assert [line for part in parts for line in cells(part.text)] == listed, path
            longest = max(longest, len(rows))
    assert longest >= MANY


@asynchronous
async def test_more_rows_than_any_page_may_have_are_all_there(
    databases: Databases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.reports.PAGE_ROWS_MAX", 60)
    monkeypatch.setattr("projections.reports.PIECE_ROWS", 60)
    monkeypatch.setattr("api.reports.PIECE_ROWS", 60)
    async with opened(databases, settings) as service:
        await fill(service)
        client = service.clients[Role.REPORTING]
        path = "/v1/reports/revenue_statistics?by=customer"
        whole = await client.get(path, headers={"accept": "text/csv"})
        rest = await client.get(
            f"{path}&format=csv&cursor={(await client.get(f'{path}&limit=60')).json()['next_cursor']}"
        )
        head = await client.head(f"{path}&format=csv")
    assert len(cells(whole.text)) == MANY > 2 * 60
    assert cells(rest.text) == cells(whole.text)[60:]
    assert (head.status_code, head.headers["content-type"]) == (200, whole.headers["content-type"])
    assert PIECE_ROWS > PAGE_ROWS


@asynchronous
async def test_csv_whose_rest_cannot_be_had_does_not_end_as_if_it_were_whole(
    databases: Databases, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("api.reports.PIECE_ROWS", 60)
    monkeypatch.setattr(Reports, "after", fails)
    async with opened(databases, settings) as service:
        await fill(service)
        with pytest.raises((ConnectionError, httpx.HTTPError)):
            await service.clients[Role.REPORTING].get("/v1/reports/revenue_statistics?by=customer&format=csv")


@asynchronous
async def test_every_page_says_where_it_goes_on(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        await fill(service)
        await service.send(f"{ACME_PATH.replace('C-1001', 'M-1')}/record-interaction", CALL)
        auditor = service.clients[Role.AUDITOR]
        found = {
            "customers": [
                each async for page in pages(auditor, "/v1/customers?limit=50") for each in page.json()["customers"]
            ],
            "search": [
                each
                async for page in pages(auditor, "/v1/customers?q=acme&limit=50")
                for each in page.json()["customers"]
            ],
            "feed": [each async for page in pages(auditor, "/v1/events?limit=200") for each in page.json()["events"]],
            "history": [
                each
                async for page in pages(auditor, "/v1/customers/number:M-1/history?limit=1")
                for each in page.json()["events"]
            ],
            "stream": [
                each
                async for page in pages(auditor, "/v1/customers/number:M-1/events?limit=1")
                for each in page.json()["events"]
            ],
            "evidence": [
                each
                async for page in pages(auditor, "/v1/reports/revenue_statistics/events?limit=50")
                for each in page.json()["positions"]
            ],
        }
    counts = {name: len(each) for name, each in found.items()}
    assert counts == {
        "customers": MANY,
        "search": MANY,
        "feed": 4 * MANY + 1,
        "history": 4,
        "stream": 2,
        "evidence": MANY,
    }
