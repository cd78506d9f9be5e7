"""Projection, live and rebuilt, beside a bare COPY of the same rows; and reports now and at any position."""

import json
import random
import time
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from urllib.parse import urlencode

import psycopg

from api.command_line.processes import make_projector
from api.command_line.tenants import key_file
from infrastructure.database import Databases
from infrastructure.embedded_postgres import administrator_of
from infrastructure.server import databases_of
from infrastructure.settings import Settings
from infrastructure.tenant import Tenant, load_tenant
from tests.benchmarks.commands import stream
from tests.benchmarks.load import get, load, post
from tests.benchmarks.service import RunningService, rapport
from tests.benchmarks.table import Row

LINES_OF_AN_INVOICE = 10
"""The median of the real invoice file."""
CHUNK = 2_000
DICE = random.Random(20_260_423)  # noqa: S311 - the same trade in every run


def _lines(first: int, count: int, customers: int, products: int) -> Iterator[bytes]:
    for number in range(first, first + count):
        day = date(2025, 1, 1) + timedelta(days=DICE.randrange(450))
        lines = [
            {
                "line_no": i + 1,
                "product": f"number:P-{DICE.randrange(products)}",
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


def _products(products: int) -> Iterator[bytes]:
    for i in range(products):
        data: dict[str, object] = {"product_number": f"P-{i}", "name": f"Flour {i}", "base_unit": "kg"}
        yield bulk_line(f"P-{i}", "register-product", data)


def _trade(service: RunningService, facts: int) -> None:
    """Customers, products and invoices, sent as an importer sends them."""
    key = service.key("importer")
    customers, products, invoices = max(100, facts // 100), 500, facts // LINES_OF_AN_INVOICE
    for body in (b"".join(_customers(customers)), b"".join(_products(products))):
        send(service, key, body)
    for first in range(0, invoices, CHUNK):
        send(service, key, b"".join(_lines(first, min(CHUNK, invoices - first), customers, products)))


def send(service: RunningService, key: str, body: bytes) -> None:
    """Send a bulk request, and read its answer to the end."""
    stream(service.port, post("/v1/commands", body, key).replace(b"application/json", b"application/x-ndjson", 1))


def opened(service: RunningService) -> tuple[Databases, Tenant]:
    """The databases and the tenant of a running service."""
    settings = Settings(data=service.data)
    databases = databases_of(settings)
    with psycopg.connect(databases.projector) as connection:
        return databases, load_tenant(connection, settings.tenant, key_file(settings))


def projection(facts: int) -> Iterator[Row]:
    """Facts folded per second: by the live group, and by a rebuild of each model alone."""
    with rapport("--projector-processes", "0") as service:
        _trade(service, facts)
        databases, tenant = opened(service)
        projector = make_projector(databases, tenant)
        try:
            projector.start()
            started = time.perf_counter()
            while projector.step():
                pass
            together = facts / (time.perf_counter() - started)
            bare = _bare_copy(service, facts)
            yield Row("bare COPY of the revenue facts", bare, "facts/s", 1.0, "bare COPY")
            yield Row("all read models together", together, "facts/s", together / bare, "bare COPY", "goal 30,000")
            for model in projector.models:
                started = time.perf_counter()
                projector.rebuild(model.name, lambda _at, _end: None)
                rate = facts / (time.perf_counter() - started)
                yield Row(f"rebuild of {model.name}", rate, "facts/s", rate / bare, "bare COPY", "goal 50,000")
        finally:
            projector.close()


def _bare_copy(service: RunningService, facts: int) -> float:
    with psycopg.connect(administrator_of(service.data), autocommit=True) as connection:
        table = "main_read.revenue_statistics_v1_facts"
        connection.execute(f"CREATE TABLE bare_facts (LIKE {table} INCLUDING ALL)")
        with connection.cursor().copy(f"COPY {table} TO STDOUT") as copied:
            rows = b"".join(bytes(block) for block in copied)
        started = time.perf_counter()
        with connection.cursor().copy("COPY bare_facts FROM STDIN") as copy:
            copy.write(rows)
        return facts / (time.perf_counter() - started)


def reports(facts: int) -> Iterator[Row]:
    """Latency of reports, of a card and of a history page, one client, random parameters."""
    with rapport() as service:
        _trade(service, facts)
        staff, auditor = service.key("staff"), service.key("auditor")
        head = _head(service, auditor)
        customers = max(100, facts // 100)
        query = {"from": "2025-01-01", "to": "2026-01-01", "min_position": str(head)}
        service.get(f"/v1/reports/revenue_statistics?{urlencode(query)}", staff)  # waits for the projector
        del query["min_position"]
        where = [{**query, "where": f"customer:{_customer(service, staff, customers)}"} for _ in range(20)]
        questions = {
            "by month": [{**query, "by": "month"}],
            "by month and country": [{**query, "by": "month,country"}],
            "by product": [{**query, "by": "product"}],
            "one customer by month": [{**each, "by": "month"} for each in where],
        }
        for name, asked in questions.items():
            for when in ("now", "at a random position"):
                paths = [
                    f"/v1/reports/revenue_statistics?{urlencode({**DICE.choice(asked), **_at(when, head)})}"
                    for _ in range(200)
                ]
                yield latency(service, staff, paths, f"revenue {name}, {when}", 50 if when == "now" else 200)
        cards = [f"/v1/customers/number:C-{DICE.randrange(customers)}" for _ in range(200)]
        yield latency(service, staff, cards, "customer card", 50)
        histories = [f"/v1/customers/number:C-{DICE.randrange(customers)}/history" for _ in range(200)]
        yield latency(service, auditor, histories, "first page of a history", 20)


def _at(when: str, head: int) -> dict[str, str]:
    return {} if when == "now" else {"at_position": str(DICE.randrange(head // 2, head))}


def _customer(service: RunningService, key: str, customers: int) -> str:
    found = service.get(f"/v1/customers/number:C-{DICE.randrange(customers)}", key)
    return str(found["customer_id"])


def _head(service: RunningService, key: str) -> int:
    after = 0
    while True:
        page = service.get(f"/v1/events?after={after}&limit=1000", key)
        if not page["events"]:
            return after
        after = int(str(page["next_after"] if "next_after" in page else page["after"]))


def latency(service: RunningService, key: str, paths: list[str], what: str, goal: int) -> Row:
    """How long these questions take, one after the other."""
    measured = load(service.port, [get(path, key) for path in paths], 1)
    if set(measured.statuses) != {200}:
        msg = f"{what}: unexpected answers {measured.statuses}"
        raise RuntimeError(msg)
    p50, p99 = measured.percentile(0.5), measured.percentile(0.99)
    return Row(what, p99, "ms p99", None, "", f"p50 {p50:.1f} ms, goal p99 {goal} ms, n {len(paths)}")
