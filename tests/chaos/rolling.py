"""API processes started anew, one after the other, while commands come in: nobody may notice."""

import asyncio
import os
import signal
from collections.abc import Sequence

from tests.chaos.crashes import examined
from tests.chaos.figures import Figure, seconds
from tests.chaos.load import Load
from tests.chaos.requests import Sent
from tests.chaos.service import API, ServiceUnderTest, eventually

BETWEEN = 150
"""Commands that are acknowledged before each restart, and after the last one."""
PROCESSES = 2


async def rolled(service: ServiceUnderTest, load: Load, restarts: int, *, earlier: Sequence[Sent] = ()) -> list[Figure]:
    """Let the supervisor start all API processes anew so many times under load; every request must be answered."""
    durations = []
    for _ in range(restarts):
        await load.let_off()
        await load.until_acknowledged(BETWEEN)
        durations.append(await asyncio.to_thread(_roll, service))
    await load.until_acknowledged(BETWEEN)
    await load.pause()
    requests = len(load.sent)
    return [
        Figure("rolling restarts", restarts),
        Figure("API processes", len(service.children(API)), PROCESSES),
        Figure("seconds that one takes", seconds(durations)),
        Figure("requests", requests),
        Figure("failed requests", sum(load.failures.values()), 0),
        Figure("how they failed", dict(load.failures) or "none did"),
        Figure("connections that had to be made", load.connections),
        *await examined(service, [*earlier, *load.sent]),
    ]


def _roll(service: ServiceUnderTest) -> float:
    before = set(service.children(API))
    os.kill(service.process.pid, signal.SIGHUP)
    return eventually("all API processes are new ones", lambda: _is_renewed(service, before))


def _is_renewed(service: ServiceUnderTest, before: set[int]) -> bool:
    now = set(service.children(API))
    return now.isdisjoint(before) and len(now) == len(before)
