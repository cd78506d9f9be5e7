"""Every operation is accepted, and answers with every problem that it documents and with no other one.

What is to be reached is read from the description of the interface. So an operation or a problem that is new there
fails here until somebody says how it is reached. `pytest -s` shows the table.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

import httpx
import psycopg
import pytest

from api.problems_page import every_problem
from application.commands import Role
from infrastructure.database import LOGIN_ROLES, Databases
from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.passwords import load_passwords
from infrastructure.settings import Settings
from tests.interface.services import SERVICES, USUAL, in_memory, on_postgres, overtake
from tests.interface.ways import reach
from tests.interface.world import Operation, World, codes, operations

DATABASE = "interface"
FIRST, LAST = "read-model-not-found", "report-not-found"
"""These are reached before the read models are made, and after a later version of the program has made them."""
OF_ANY_REQUEST = (
    "malformed-header", "malformed-query", "invalid-parameter", "not-authenticated", "unsupported-media-type",
    "malformed-json", "too-busy", "too-many-requests", "log-unavailable", "internal-error", "queue-is-full",
    "read-model-unavailable",
)  # fmt: skip
"""What reaches these is done to every operation; one that does not document them answers something else."""
GIVE_UP_SECONDS = 60
"""Only ends what would hang."""


@dataclass
class Record:
    """What was answered, and what went wrong."""

    answers: dict[str, Counter[tuple[int, frozenset[str]]]] = field(default_factory=lambda: defaultdict(Counter))
    """By operation: how often each status came with which problems."""
    reached: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    """By operation: each status and problem that was reached."""
    services: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By problem: the services that answered with it."""
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """By operation."""
    recorded: tuple[int, int] = (0, 0)
    """How many events the answers say were recorded, and how many there are."""

    def tell(self, operation: Operation, response: httpx.Response) -> None:
        """Take down an answer."""
        self.answers[operation.name][response.status_code, codes(response)] += 1

    def statuses(self, operation: Operation) -> set[int]:
        """The statuses with which an operation has answered; of a bulk that is yes only where a line says so."""
        return {status for status, among in self.answers[operation.name] if status >= 300 or not among}

    async def accept(self, world: World, operation: Operation) -> None:
        """Have an operation accepted, and once more for the same request, or take down why not."""
        try:
            asked = await world.ready(operation.name)
            for _ in range(2):
                await world.send(asked)
        except (AssertionError, LookupError) as error:
            self.failures[operation.name].append(f"it was not accepted: {error!r}")

    async def reach(self, worlds: Mapping[str, World], operation: Operation, status: str, code: str) -> None:
        """Reach a problem, or take down why not."""
        before = Counter(self.answers[operation.name])
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                service = await reach(worlds, operation, status, code)
        except (AssertionError, LookupError, TimeoutError) as error:
            self.failures[operation.name].append(f"{status} {code}: {error!r}")
            return
        answers = self.answers[operation.name] - before
        if any(str(found) == status and code in among for found, among in answers):
            self.services[code].add(service)
            self.reached[operation.name].add((status, code))
        elif code in operation.problems:
            answered = [(found, *among) for found, among in answers]
            self.failures[operation.name].append(f"{status} {code} was not reached, but {answered}")


def every_documented() -> Iterator[tuple[Operation, str, str]]:
    """Every operation with each status and each problem that it documents."""
    for operation in operations().values():
        for status, found in operation.statuses.items():
            yield from ((operation, status, code) for code in sorted(found))


def undocumented() -> Iterator[tuple[Operation, str, str]]:
    """Every operation with what could be wrong with any request, and is not documented for it."""
    for operation in operations().values():
        yield from ((operation, "", code) for code in OF_ANY_REQUEST if code not in operation.problems)


async def play(databases: Databases, settings: Settings, superuser: str) -> Record:
    """Have every operation accepted, and reach every problem; the record of it."""
    record = Record()
    async with in_memory(record.tell) as others, on_postgres(databases, settings, record.tell) as (service, own):
        worlds = {**own, **others}
        await _reach_all(record, worlds, (each for each in every_documented() if each[2] == FIRST))
        await service.project()
        for operation in operations().values():
            await record.accept(own[USUAL], operation)
        await _reach_all(record, worlds, (each for each in every_documented() if each[2] not in {FIRST, LAST}))
        await _reach_all(record, worlds, undocumented())
        await overtake(superuser)
        await _reach_all(record, worlds, (each for each in every_documented() if each[2] == LAST))
        feed = await service.read("/v1/events?limit=1", Role.AUDITOR)
        record.recorded = own[USUAL].events, feed["position"]
    return record


async def _reach_all(record: Record, worlds: Mapping[str, World], wanted: Iterable[tuple[Operation, str, str]]) -> None:
    for operation, status, code in wanted:
        await record.reach(worlds, operation, status, code)


@pytest.fixture(scope="module")
def record(postgres: EmbeddedPostgres, prepared_template: str) -> Iterator[Record]:
    """What everything was answered with, once for all tests."""
    administrator, settings = postgres.administrator("postgres"), Settings(data=postgres.data)
    superuser = postgres.administrator(DATABASE)
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {prepared_template}".encode())
    try:
        databases = Databases.at(superuser, load_passwords(postgres.data, LOGIN_ROLES), settings)
        found = asyncio.run(play(databases, settings, superuser))
        print(table(found))
        yield found
    finally:
        with psycopg.connect(administrator, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)".encode())


def table(record: Record) -> str:
    """What was reached, operation by operation, and which service it took."""
    lines = [f"{'operation':40} {'2xx':8} {'reached':>8} of documented problems"]
    for name, operation in operations().items():
        accepted = " ".join(str(status) for status in sorted(record.statuses(operation)) if status < 300)
        known = sum(map(len, operation.statuses.values()))
        lines.append(f"{name:40} {accepted:8} {len(record.reached[name]):8} of {known}")
    lines += ["", f"{'problem':40} {'operations':>10}  reached at a service"]
    for code in sorted(set(chain.from_iterable(each.problems for each in operations().values()))):
        times = sum(code in each.problems for each in operations().values())
        lines.append(f"{code:40} {times:10}  {'; '.join(SERVICES[name] for name in sorted(record.services[code]))}")
    return "\n".join(lines)


each_operation = pytest.mark.parametrize("name", operations())


@each_operation
def test_an_operation_is_accepted_and_answers_with_all_that_it_documents_and_nothing_else(
    record: Record, name: str
) -> None:
    operation = operations()[name]
    documented = {(status, code) for status, found in operation.statuses.items() for code in found}
    assert record.statuses(operation) == set(map(int, operation.described["responses"]))
    assert record.reached[name] == documented, "\n".join(record.failures[name])
    assert not record.failures[name], "\n".join(record.failures[name])


def test_every_problem_is_documented_by_an_operation_or_comes_before_any_is_found() -> None:
    documented = set(chain.from_iterable(each.problems for each in operations().values()))
    known = {each.code for each in every_problem()}
    assert documented <= known
    assert known - documented == {
        "malformed-request",
        "headers-too-large",
        "method-not-allowed",
        "transfer-coding-unknown",
    }


def test_nothing_is_recorded_but_what_was_answered_as_recorded(record: Record) -> None:
    answered, stored = record.recorded
    assert answered == stored > len(operations())
