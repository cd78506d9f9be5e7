"""The scenarios of `make chaos` in short: whatever happens to a service, its log and its read models are right.

With RAPPORT_FULL=1 they run at length.
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from application.commands import Role
from tests.chaos.__main__ import CYCLES, OUTAGE_SECONDS
from tests.chaos.crashes import VICTIMS, killed_again_and_again
from tests.chaos.examination import examine, read_log
from tests.chaos.figures import Figure, broken
from tests.chaos.load import load
from tests.chaos.outages import OUTAGES, CannotBeMade, out_for, small_disk
from tests.chaos.requests import Sent
from tests.chaos.rolling import PROCESSES, rolled
from tests.chaos.service import ServiceUnderTest, data_folder, serving

if not sys.platform.startswith("linux"):
    pytest.skip("processes are found and stopped by way of /proc, which is Linux'", allow_module_level=True)

IS_FULL = bool(os.environ.get("RAPPORT_FULL"))

CYCLES_IN_SHORT = 2
IMPATIENT = {} if IS_FULL else {"RAPPORT_SERVICE_STATEMENT_TIMEOUT_MS": "4000"}
"""A statement without an answer is given up earlier, so that outages may be short."""

_sent: list[Sent] = []
"""All that was sent to the one service: whatever its log has beside that is wrong."""


@pytest.fixture(scope="module")
def service() -> Iterator[ServiceUnderTest]:
    """One service for all; as root on a small disk, which can be filled."""
    with ExitStack() as stack:
        data = stack.enter_context(data_folder())
        with suppress(CannotBeMade):
            stack.enter_context(small_disk(data))
        yield stack.enter_context(serving(data, "--api-processes", str(PROCESSES), environment=IMPATIENT))


@pytest.fixture(scope="module")
def key(service: ServiceUnderTest) -> str:
    """The key of a service that sends commands."""
    return service.key(Role.SERVICE)


@pytest.mark.parametrize("name", VICTIMS)
def test_what_is_killed_loses_nothing_and_doubles_nothing(service: ServiceUnderTest, key: str, name: str) -> None:
    async def under_load() -> list[Figure]:
        async with load(service.address, key, name) as clients:
            cycles = CYCLES if IS_FULL else CYCLES_IN_SHORT
            figures = await killed_again_and_again(service, clients, VICTIMS[name], cycles, earlier=_sent)
            _sent.extend(clients.sent)
            return figures

    assert broken(asyncio.run(under_load())) == []


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_of_the_database_is_survived(service: ServiceUnderTest, key: str, name: str) -> None:
    async def under_load() -> list[Figure]:
        async with load(service.address, key, name) as clients:
            try:
                seconds = OUTAGE_SECONDS if IS_FULL else 0
                return await out_for(service, clients, OUTAGES[name], seconds, earlier=_sent)
            finally:
                _sent.extend(clients.sent)

    try:
        figures = asyncio.run(under_load())
    except CannotBeMade as reason:
        pytest.skip(str(reason))
    assert broken(figures) == []


def test_a_client_that_forgets_its_keys_is_found_out(service: ServiceUnderTest, key: str) -> None:
    async def forgetful() -> list[Figure]:
        async with load(service.address, key, "forgetful") as clients:
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
            _sent.extend(clients.sent)
            return figures

    found = {figure.name: figure.value for figure in broken(asyncio.run(forgetful()))}
    assert found == {"doubled": 10}


def test_a_rolling_restart_fails_no_request(service: ServiceUnderTest, key: str) -> None:
    async def under_load() -> list[Figure]:
        async with load(service.address, key, "roll") as clients:
            figures = await rolled(service, clients, CYCLES if IS_FULL else 1, earlier=_sent)
            _sent.extend(clients.sent)
            return figures

    assert broken(asyncio.run(under_load())) == []
