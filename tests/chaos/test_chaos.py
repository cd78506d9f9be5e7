"""The scenarios of `make chaos` in short: whatever happens to a service, its log and its read models are right.

With RAPPORT_FULL=1 they run at length.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace

import psycopg
import pytest

from application.commands import Role
from infrastructure.embedded_postgres import administrator_of
from tests.chaos.__main__ import ASKS, CUTS, CYCLES, OUTAGE_SECONDS
from tests.chaos.crashes import VICTIMS, Victim, killed_again_and_again, send
from tests.chaos.cuts import cut_off
from tests.chaos.examination import caught_up, examine, examine_read_models, projector_of, read_log
from tests.chaos.figures import Figure, broken
from tests.chaos.load import Load, load
from tests.chaos.outages import OUTAGES, CannotBeMade, out_for, small_disk
from tests.chaos.reports import asked_now
from tests.chaos.requests import Sent
from tests.chaos.rolling import PROCESSES, all_at_once, rolled
from tests.chaos.service import ServiceUnderTest, data_folder, serving

if not sys.platform.startswith("linux"):
    pytest.skip("processes are found and stopped by way of /proc, which is Linux'", allow_module_level=True)

IS_FULL = os.environ.get("RAPPORT_FULL") == "1"

CYCLES_IN_SHORT = 5
IN_SHORT = 40
"""Cuts, and reports."""
CYCLES_MAX = 20
"""How often a bug is given the chance to show itself; once or twice usually does."""
IMPATIENT = {} if IS_FULL else {"RAPPORT_SERVICE_STATEMENT_TIMEOUT_MS": "4000"}
"""A statement without an answer is given up earlier, so that outages may be short."""

_sent: list[Sent] = []
"""All that was sent to the one service: whatever its log has beside that is wrong."""

UnderLoad = Callable[[Load], Awaitable[list[Figure]]]


def under_load(service: ServiceUnderTest, key: str, name: str, scenario: UnderLoad) -> list[Figure]:
    """Let clients send while something happens, and examine the log: all that was ever sent is remembered."""

    async def run() -> list[Figure]:
        async with load(service.address, key, name) as clients:
            try:
                return await scenario(clients)
            finally:
                _sent.extend(clients.sent)

    figures = asyncio.run(run())
    return [*figures, *examine(read_log(service.databases.service), _sent)]


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceUnderTest]:
    """One service for all; as root on a small disk, which can be filled."""
    with ExitStack() as stack:
        data = stack.enter_context(data_folder())
        with suppress(CannotBeMade):
            stack.enter_context(small_disk(data))
        running = stack.enter_context(serving(data, "--api-processes", str(PROCESSES), environment=IMPATIENT))
        yield running
        assert broken(examine_read_models(running)) == [], "after all that has happened to them"


@pytest.fixture(scope="module")
def key(service: ServiceUnderTest) -> str:
    """The key of a service that sends commands."""
    return service.key(Role.SERVICE)


@pytest.mark.parametrize("name", VICTIMS)
def test_what_is_killed_loses_nothing_and_doubles_nothing(service: ServiceUnderTest, key: str, name: str) -> None:
    async def killed(clients: Load) -> list[Figure]:
        cycles = CYCLES if IS_FULL else CYCLES_IN_SHORT
        return await killed_again_and_again(service, clients, VICTIMS[name], cycles)

    assert broken(under_load(service, key, name, killed)) == []
    assert broken(examine_read_models(service)) == []


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_of_the_database_is_survived(service: ServiceUnderTest, key: str, name: str) -> None:
    async def out(clients: Load) -> list[Figure]:
        return await out_for(service, clients, OUTAGES[name], OUTAGE_SECONDS if IS_FULL else 0)

    try:
        figures = under_load(service, key, name, out)
    except CannotBeMade as reason:
        pytest.skip(str(reason))
    assert broken(figures) == []


def test_a_client_that_is_cut_off_gets_the_first_answer_when_it_sends_again(
    service: ServiceUnderTest, key: str
) -> None:
    async def cut(clients: Load) -> list[Figure]:
        return await cut_off(service, clients, CUTS if IS_FULL else IN_SHORT)

    assert broken(under_load(service, key, "cut-clients", cut)) == []


def test_what_a_report_said_was_known_now_it_says_again(service: ServiceUnderTest, key: str) -> None:
    async def ask(clients: Load) -> list[Figure]:
        return await asked_now(clients, ASKS if IS_FULL else IN_SHORT)

    assert broken(under_load(service, key, "ask-reports", ask)) == []


def test_a_rolling_restart_fails_no_request(service: ServiceUnderTest, key: str) -> None:
    async def roll(clients: Load) -> list[Figure]:
        return await rolled(service, clients, CYCLES if IS_FULL else 1)

    assert broken(under_load(service, key, "roll", roll)) == []


# What is wrong is found


def names(figures: list[Figure]) -> set[str]:
    """The figures that are not what they must be."""
    return {figure.name for figure in broken(figures)}


def test_a_restart_of_all_at_once_is_found_out(service: ServiceUnderTest, key: str) -> None:
    async def restart(clients: Load) -> list[Figure]:
        return await rolled(service, clients, 1, restart=all_at_once)

    assert names(under_load(service, key, "restart", restart)) == {"failed requests"}


def test_a_client_that_forgets_its_keys_is_found_out(service: ServiceUnderTest, key: str) -> None:
    async def forgetful(clients: Load) -> list[Figure]:
        await clients.let_off()
        await clients.until_acknowledged(100)
        await clients.pause()
        notes = [request for request in clients.sent if request.path.endswith("record-interaction")]
        clients.forget_keys = True
        await clients.repeat(notes[:10])
        log = await asyncio.to_thread(read_log, service.databases.service)
        figures = examine(log, [*_sent, *clients.sent])
        for request in notes:
            request.keys = tuple(request.acknowledged)  # so much for the control: it has two commands now
        return broken(figures)

    found = {figure.name: figure.value for figure in broken(under_load(service, key, "forgetful", forgetful))}
    assert found == {"doubled": 10}


def test_a_read_model_that_differs_is_found_out(service: ServiceUnderTest, key: str) -> None:
    async def damage(clients: Load) -> list[Figure]:
        await clients.let_off()
        await clients.until_acknowledged(50)
        await clients.pause()
        await asyncio.to_thread(caught_up, service)
        await asyncio.to_thread(_lose_a_row, service)
        return await asyncio.to_thread(examine_read_models, service)

    assert names(under_load(service, key, "damage", damage)) == {"read models that differ from it"}
    assert names(examine_read_models(service)) == set()


def _lose_a_row(service: ServiceUnderTest) -> None:
    """Lose the newest fact of the customer card that answers."""
    with closing(projector_of(service)) as projector:
        current = [status.build for status in projector.status() if status.current]
    (table,) = (f"main_read.{build.prefix}_facts" for build in current if build.model == "customer_card")
    with psycopg.connect(service.databases.projector) as connection:
        connection.execute(f"DELETE FROM {table} WHERE position = (SELECT max(position) FROM {table})".encode())


def killed_until_found(service: ServiceUnderTest, victim: Victim, what: str) -> set[str]:
    """Kill until the examination finds this; all that it has found. Clients send only what no rule stands against."""

    async def run() -> set[str]:
        found: set[str] = set()
        async with load(service.address, service.key(Role.SERVICE), "killed") as clients:
            clients.work = (each for each in clients.work if each.path.endswith("record-interaction"))
            for _ in range(CYCLES_MAX):
                await killed_again_and_again(service, clients, victim, 1)
                found |= names(examine(read_log(service.databases.service), clients.sent))
                if what in found:
                    break
        return found

    return asyncio.run(run())


def test_a_service_that_forgets_keys_is_found_out() -> None:
    with data_folder() as data, serving(data, alteration="forgets-keys") as service:
        found = killed_until_found(service, VICTIMS["kill-api"], "doubled")
    assert "doubled" in found
    assert found <= {"doubled", "acknowledged and lost"}  # of two with one key, the first is not found by it


def test_a_server_that_does_not_wait_for_the_disk_is_found_out() -> None:
    everything = replace(VICTIMS["kill-postgres"], choose=lambda service, _: service.server_processes())
    with data_folder() as data, serving(data) as service:
        with psycopg.connect(administrator_of(data), autocommit=True) as administrator:
            administrator.execute("ALTER ROLE rapport_service SET synchronous_commit = off")
        send(service.backends(), signal.SIGTERM)
        found = killed_until_found(service, everything, "acknowledged and lost")
    assert found == {"acknowledged and lost"}
