"""Projection, live and rebuilt, beside a bare COPY of the same rows; and reports now and at any moment."""

import time
import urllib.error
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

import psycopg

from api.command_line.processes import make_projector
from api.command_line.tenants import key_file
from infrastructure.database import Databases
from infrastructure.embedded_postgres import administrator_of
from infrastructure.projector import Projector
from infrastructure.server import databases_of
from infrastructure.settings import Settings
from infrastructure.tenant import Tenant, load_tenant
from projections import customer_card_tables, revenue_statistics
from tests.benchmarks.load import get, load
from tests.benchmarks.service import RunningService, rapport
from tests.benchmarks.table import Row
from tests.benchmarks.trade import DICE, customers_of, trade

OF_TRADE: Final = (customer_card_tables.NAME, revenue_statistics.NAME)
"""The read models of which trade makes facts."""
CALLS: Final = 10_000
"""Events of the customer whose history is read."""
MOMENTS: Final = 50
"""Different moments at which reports are asked."""
NOW: Final[list[dict[str, str]]] = [{}]
CATCHES_UP_SECONDS_MAX: Final = 3_600


def opened(service: RunningService) -> tuple[Databases, Tenant]:
    """The databases and the tenant of a running service."""
    settings = Settings(data=service.data)
    databases = databases_of(settings)
    with psycopg.connect(databases.projector) as connection:
        return databases, load_tenant(connection, settings.tenant, key_file(settings))


def projection(facts: int) -> Iterator[Row]:
    """Facts folded per second, live and by a rebuild, of each model alone and of all together.

    The log has no support cases: those are measured in a section of their own.
    """
    with rapport("--projector-processes", "0") as service:
        trade(service, facts)
        projector = make_projector(*opened(service))
        try:
            for name in OF_TRADE:
                yield from _folded(service, projector, [name], f"{name} alone", 50_000)
            every = [model.name for model in projector.models]
            yield from _folded(service, projector, every, "all read models together", 30_000)
        finally:
            projector.close()


def _folded(
    service: RunningService, projector: Projector, models: Sequence[str], what: str, goal: int
) -> Iterator[Row]:
    """Measure some of the models, on a log that none of them has seen."""
    for status in projector.status():
        projector.retire(status.build)
    some = replace(projector, models=[model for model in projector.models if model.name in models])
    try:
        some.start()
        live = _seconds(some)
        builds = [status.build for status in some.status()]
        rows, copy = copied(service, [f"{build.prefix}_facts" for build in builds if build.model in OF_TRADE])
        started = time.perf_counter()
        for name in models:
            some.rebuild(name, lambda _at, _end: None)
        rebuilt = time.perf_counter() - started
    finally:
        some.close()
    yield Row(f"bare COPY of the facts: {what}", rows / copy, "facts/s", 1.0, "bare COPY")
    for how, seconds in (("live", live), ("rebuild", rebuilt)):
        yield Row(f"{what}, {how}", rows / seconds, "facts/s", copy / seconds, "bare COPY", f"goal {goal:,}")


def _seconds(projector: Projector) -> float:
    """How long it takes to fold all that there is."""
    started = time.perf_counter()
    while projector.step():
        pass
    return time.perf_counter() - started


def copied(service: RunningService, tables: Iterable[str]) -> tuple[int, float]:
    """How many rows these tables of read models have, and how many seconds a bare COPY of them takes."""
    rows, seconds = 0, 0.0
    with psycopg.connect(administrator_of(service.data), autocommit=True) as connection:
        for table in tables:
            connection.execute(f"CREATE TABLE bare (LIKE main_read.{table} INCLUDING ALL)".encode())
            with connection.cursor().copy(f"COPY main_read.{table} TO STDOUT".encode()) as copying:
                told = b"".join(bytes(block) for block in copying)
            started = time.perf_counter()
            with connection.cursor().copy("COPY bare FROM STDIN") as copy:
                copy.write(told)
            seconds += time.perf_counter() - started
            rows += told.count(b"\n")
            connection.execute("DROP TABLE bare")
    return rows, seconds


def reports(facts: int) -> Iterator[Row]:
    """Latency of reports, of a card and of a history page, one client, random parameters."""
    with rapport() as service:
        trade(service, facts, CALLS)
        staff, auditor = service.key("staff"), service.key("auditor")
        head = service.get("/v1/events?limit=1", auditor)["position"]
        catch_up(service, "revenue_statistics", staff, head)
        customers, moments = customers_of(facts), random_moments(service, auditor, int(str(head)))
        query = {"from": "2025-01-01", "to": "2026-01-01"}
        where = [{**query, "where": f"customer:{_customer(service, staff, customers)}"} for _ in range(20)]
        questions = {
            "by month": [{**query, "by": "month"}],
            "by month and country": [{**query, "by": "month,country"}],
            "by product": [{**query, "by": "product"}],
            "one customer by month": [{**each, "by": "month"} for each in where],
        }
        for name, asked in questions.items():
            for when, goal, known in (("now", 50, NOW), ("at a random known_at", 200, moments)):
                paths = [
                    f"/v1/reports/revenue_statistics?{urlencode({**DICE.choice(asked), **DICE.choice(known)})}"
                    for _ in range(200)
                ]
                yield latency(service, staff, paths, f"revenue {name}, {when}", goal)
        cards = [f"/v1/customers/number:C-{DICE.randrange(1, customers)}" for _ in range(200)]
        yield latency(service, staff, cards, "customer card", 50)
        history = ["/v1/customers/number:C-0/history"] * 200
        yield latency(service, auditor, history, f"first page of a history of {CALLS:,} events", 20)


def random_moments(service: RunningService, auditor: str, head: int) -> list[dict[str, str]]:
    """Moments in the second half of the log, as a report is asked for them."""
    positions = [DICE.randrange(head // 2, head) for _ in range(MOMENTS)]
    pages = [service.get(f"/v1/events?after={position}&limit=1", auditor)["events"] for position in positions]
    return [{"known_at": event["recorded_at"]} for page in pages if isinstance(page, list) for event in page]


def catch_up(service: RunningService, report: str, key: str, head: object, **asked: str) -> None:
    """Wait until a report can be answered that knows everything."""
    give_up_at = time.monotonic() + CATCHES_UP_SECONDS_MAX
    while time.monotonic() < give_up_at:
        try:
            service.get(f"/v1/reports/{report}?{urlencode({**asked, 'min_position': head})}", key)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
        else:
            return
    msg = f"{report} has not caught up"
    raise RuntimeError(msg)


def _customer(service: RunningService, key: str, customers: int) -> str:
    found = service.get(f"/v1/customers/number:C-{DICE.randrange(1, customers)}", key)
    return str(found["customer_id"])


def latency(service: RunningService, key: str, paths: list[str], what: str, goal: int) -> Row:
    """How long these questions take, one after the other."""
    measured = load(service.port, [get(path, key) for path in paths], 1)
    if set(measured.statuses) != {200}:
        msg = f"{what}: unexpected answers {measured.statuses}"
        raise RuntimeError(msg)
    p50, p99 = measured.percentile(0.5), measured.percentile(0.99)
    return Row(what, p99, "ms p99", None, "", f"p50 {p50:.1f} ms, goal p99 {goal} ms, n {len(paths)}")
