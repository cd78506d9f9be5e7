"""Support: case events folded live and rebuilt, and how long the reports on them take, now and at any moment."""

import random
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import psycopg

from api.command_line.processes import make_projector
from api.server import collect_rarely
from domain.business_time import always
from domain.working_hours import Interval, Week, WorkingHours
from infrastructure.embedded_postgres import administrator_of
from infrastructure.projector import Projector
from projections.support_response_times import NAME
from projections.support_tables import PHASES, TABLES
from tests.benchmarks.reading import NOW, copied, latency, opened, random_moments
from tests.benchmarks.service import RunningService, rapport
from tests.benchmarks.table import Row
from tests.benchmarks.trade import bulk_line, send_all

EVENTS_OF_A_CASE = 6
ASKED = 100
"""Questions of each kind."""
TEAMS, STAFF, CUSTOMERS, PRODUCTS = 30, 200, 2_000, 200
BEGAN = datetime(2025, 1, 1, 8, tzinfo=UTC)
DICE = random.Random(20_260_608)  # noqa: S311 - the same cases in every run
OFFICE = Interval(opens="09:00", closes="17:00")
HOURS = WorkingHours(
    time_zone="Europe/Berlin",
    weekly=Week(monday=(OFFICE,), tuesday=(OFFICE,), wednesday=(OFFICE,), thursday=(OFFICE,), friday=(OFFICE,)),
)
DAY = {"opens": OFFICE.opens, "closes": OFFICE.closes}
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")


def _registered() -> Iterator[bytes]:
    hours = {"time_zone": HOURS.time_zone, "weekly": {day: [DAY] for day in DAYS}}
    yield bulk_line("K", "define-calendar", {"calendar_number": "office", "name": "Office hours", "hours": hours})
    for i in range(TEAMS):
        yield bulk_line(f"T{i}", "define-team", {"team_number": f"{i}", "name": f"Team {i}", "department": "service"})
    for i in range(STAFF):
        data = {"staff_number": f"{i}", "name": f"Colleague {i}", "department": "service"}
        yield bulk_line(f"S{i}", "register-staff", data)
    for i in range(PRODUCTS):
        yield bulk_line(f"P{i}", "register-product", {"product_number": f"{i}", "name": "Flour", "base_unit": "kg"})


def _case(number: int) -> Iterator[tuple[datetime, str, str, dict[str, object]]]:
    """What happens to one case: when, the command, to which case, and its data."""
    case, staff = f"number:B-{number}", f"number:{DICE.randrange(STAFF)}"
    at = BEGAN + timedelta(minutes=3 * number)
    opened: dict[str, object] = {
        "case_number": f"B-{number}",
        "kind": DICE.choice(["inquiry", "complaint", "incident"]),
        "channel": DICE.choice(["email", "chat", "phone"]),
        "opened_by": "customer",
        "priority": DICE.choice(["critical", "high", "normal", "low"]),
        "team": f"number:{DICE.randrange(TEAMS)}",
        "product": f"number:{DICE.randrange(PRODUCTS)}",
        "calendar": "number:office",
    }
    yield at, "open-case", "", opened
    steps: tuple[tuple[str, int, dict[str, object]], ...] = (
        ("assign-case", 200, {"staff": staff}),
        ("send-public-reply", 600, {"staff": staff}),
        ("receive-customer-message", 2_000, {}),
        ("send-public-reply", 1_000, {"staff": staff}),
        ("resolve-case", 5_000, {"resolution_code": "done"}),
    )
    for command, minutes, data in steps:
        at += timedelta(minutes=DICE.randrange(1, minutes))
        yield at, command, case, data


def _lines(cases: int) -> Iterator[bytes]:
    """All commands in the order of their time, as a help desk sends them."""
    told = sorted((each for number in range(cases) for each in _case(number)), key=lambda each: each[0])
    for place, (at, command, target, data) in enumerate(told):
        yield bulk_line(f"{place}", command, {**data, "occurred_at": at.isoformat()}, target or None)


def _live(service: RunningService, cases: int) -> None:
    key = service.key("importer")
    send_all(service, key, _registered())
    send_all(service, key, _lines(cases))


def support(events: int) -> Iterator[Row]:
    """Case events folded per second, live and rebuilt; the latency of each report; calls of business time."""
    yield from _business_time()
    with rapport("--projector-processes", "0") as service:
        cases = events // EVENTS_OF_A_CASE
        _live(service, cases)
        databases, tenant = opened(service)
        projector = make_projector(databases, tenant)
        try:
            yield from _projection(service, projector, cases * EVENTS_OF_A_CASE)
        finally:
            projector.close()
        yield from _reports(service)


def _projection(service: RunningService, projector: Projector, events: int) -> Iterator[Row]:
    collect_rarely()  # as the projector's process does
    projector.start()
    started = time.perf_counter()
    while projector.step():
        pass
    seconds = time.perf_counter() - started
    facts, bare = _facts(service)
    yield Row("bare COPY of the facts and phases", facts / bare, "facts/s", 1.0, "bare COPY")
    yield _rate("case events, live, all read models together", facts, seconds, events, bare)
    started = time.perf_counter()
    projector.rebuild(NAME, lambda _at, _end: None)
    yield _rate(f"rebuild of {NAME}", facts, time.perf_counter() - started, events, bare)


def _rate(what: str, facts: int, seconds: float, events: int, bare: float) -> Row:
    remark = f"{events / seconds:,.0f} events/s, goal 50,000 facts/s"
    return Row(what, facts / seconds, "facts/s", bare / seconds, "bare COPY", remark)


def _facts(service: RunningService) -> tuple[int, float]:
    """How many rows the facts and phases are, and how many seconds a bare COPY of them takes."""
    return copied(service, [f"{NAME}_v1_{each}" for each in (*TABLES.values(), PHASES.name)])


QUESTIONS: Mapping[str, Iterable[dict[str, str]]] = {
    "waiting_now": [{}, *({"where": f"kind:{kind}"} for kind in ("inquiry", "complaint"))],
    "support_backlog": [{}, {"by": "status,priority"}],
    "support_response_times": [
        {"measure": "first_response"},
        {"measure": "first_response", "by": "month"},
        {"measure": "full_resolution", "by": "priority"},
        {"by": "month,kind"},
    ],
    "support_outcomes": [{"by": "month"}],
    "support_comparison": [{"measure": "first_response", "base_to": "2025-07-01", "from": "2025-07-01"}],
}


def _reports(service: RunningService) -> Iterator[Row]:
    staff, auditor = service.key("staff"), service.key("auditor")
    with psycopg.connect(administrator_of(service.data), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    head = service.get("/v1/events?limit=1", auditor)["position"]
    moments = random_moments(service, auditor, int(str(head)))
    for report, asked in QUESTIONS.items():
        for question in asked:
            for when, goal, known in (("now", 50, NOW), ("at a random known_at", 200, moments)):
                paths = [f"/v1/reports/{report}?{urlencode({**question, **DICE.choice(known)})}" for _ in range(ASKED)]
                what = f"{report} {' '.join(f'{name}={value}' for name, value in question.items())}, {when}"
                yield latency(service, staff, paths, what, goal)


# Business time


def _business_time() -> Iterator[Row]:
    """Calls per second for spans of a day and of a year, beside a loop over their hours."""
    schedule = always(HOURS)
    for what, days in (("a day", 1), ("a year", 365)):
        spans = [
            (at := BEGAN + timedelta(minutes=DICE.randrange(500_000)), at + timedelta(days=days)) for _ in range(2_000)
        ]
        schedule.working_time(*spans[0])  # its tables are made once
        started = time.perf_counter()
        for span in spans:
            schedule.working_time(*span)
        rate = len(spans) / (time.perf_counter() - started)
        started = time.perf_counter()
        hours = _by_the_hour(*spans[0])
        loop = 1 / (time.perf_counter() - started)
        yield Row(f"business time over {what}, hour by hour", loop, "calls/s", 1.0, "a loop", f"{hours} h")
        yield Row(f"business time over {what}", rate, "calls/s", rate / loop, "a loop", "goal: microseconds")


def _by_the_hour(start: datetime, end: datetime) -> int:
    """What a loop over hours makes of it: whole hours in which somebody works."""
    schedule, hours = always(HOURS), 0
    while start < end:
        hours += schedule.is_working(start)
        start += timedelta(hours=1)
    return hours
