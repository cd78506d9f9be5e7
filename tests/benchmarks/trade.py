"""What is measured on: customers, products, invoices and calls, sent in bulk as an importer sends them."""

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from itertools import islice

from tests.benchmarks.commands import stream
from tests.benchmarks.load import post
from tests.benchmarks.service import RunningService

LINES_OF_AN_INVOICE = 10
"""The median of the real invoice file."""
CHUNK = 2_000
"""Commands in a bulk request."""
PRODUCTS = 500
DICE = random.Random(20_260_423)  # noqa: S311 - the same trade in every run


def _invoices(count: int, customers: int) -> Iterator[bytes]:
    for number in range(count):
        day = date(2025, 1, 1) + timedelta(days=DICE.randrange(450))
        lines = [
            {
                "line_no": i + 1,
                "product": f"number:P-{DICE.randrange(PRODUCTS)}",
                "quantity": str(quantity := DICE.randint(1, 40)),
                "unit_price": f"{(cents := DICE.randint(50, 2_000)) / 100:.2f}",
                "net_amount": f"{quantity * cents / 100:.2f}",
            }
            for i in range(LINES_OF_AN_INVOICE)
        ]
        data: dict[str, object] = {
            "document_number": f"R-{number}",
            "customer": f"number:C-{DICE.randrange(customers)}",
            "document_date": day.isoformat(),
            "posted_on": day.isoformat(),
            "currency": "EUR",
            "ship_to_country": DICE.choice(["DE", "FR", "GB", "NL"]),
            "lines": lines,
        }
        yield bulk_line(f"R-{number}", "post-invoice", data)


def bulk_line(key: str, command: str, data: Mapping[str, object], target: str | None = None) -> bytes:
    """A line of a bulk request."""
    addressed = {} if target is None else {"target": target}
    return json.dumps({"key": key, "command": command, **addressed, "data": data}).encode() + b"\n"


def _customers(customers: int) -> Iterator[bytes]:
    for i in range(customers):
        data: dict[str, object] = {
            "customer_number": f"C-{i}",
            "kind": "organisation",
            "name": f"Bakery {i}",
            "relationship": "customer",
            "language": "en",
            "currency": "EUR",
            "country": "DE",
        }
        yield bulk_line(f"C-{i}", "register-customer", data)


def _products() -> Iterator[bytes]:
    for i in range(PRODUCTS):
        data: dict[str, object] = {"product_number": f"P-{i}", "name": f"Flour {i}", "base_unit": "kg"}
        yield bulk_line(f"P-{i}", "register-product", data)


def _calls(count: int) -> Iterator[bytes]:
    """Calls of one customer."""
    for i in range(count):
        data: dict[str, object] = {"channel": "phone", "direction": "inbound", "summary": f"Asks about batch {i}."}
        yield bulk_line(f"call-{i}", "record-interaction", data, "number:C-0")


def customers_of(facts: int) -> int:
    """How many customers have invoices of so many lines: each has one at the median."""
    return max(100, facts // LINES_OF_AN_INVOICE)


def trade(service: RunningService, facts: int, calls: int = 0) -> None:
    """Customers, products, and invoices with so many lines; one of the customers has called so often, too."""
    customers = customers_of(facts)
    key = service.key("importer")
    for lines in (
        _customers(customers),
        _products(),
        _invoices(facts // LINES_OF_AN_INVOICE, customers),
        _calls(calls),
    ):
        send_all(service, key, lines)


def send_all(service: RunningService, key: str, lines: Iterable[bytes]) -> None:
    """Send commands in bulk requests, one after the other."""
    left = iter(lines)
    while body := b"".join(islice(left, CHUNK)):
        send(service, key, body)


def send(service: RunningService, key: str, body: bytes) -> None:
    """Send a bulk request, and read its answer to the end."""
    stream(service.port, post("/v1/commands", body, key).replace(b"application/json", b"application/x-ndjson", 1))
