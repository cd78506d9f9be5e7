"""API processes started anew, one after the other, while commands come in: nobody may notice."""

import asyncio
import os
import signal
from collections.abc import Callable

from tests.chaos.crashes import send
from tests.chaos.figures import Figure, seconds
from tests.chaos.load import Load
from tests.chaos.service import API, ServiceUnderTest, eventually

BETWEEN = 150
"""Commands that are acknowledged before each restart, and after the last one."""
PROCESSES = 2

Restart = Callable[[ServiceUnderTest], None]


def in_turn(service: ServiceUnderTest) -> None:
    """Let the supervisor do it."""
    os.kill(service.process.pid, signal.SIGHUP)


def all_at_once(service: ServiceUnderTest) -> None:
    """End all of them as somebody does who does not know better: for controls."""
    send(service.children(API), signal.SIGKILL)


async def rolled(service: ServiceUnderTest, load: Load, restarts: int, *, restart: Restart = in_turn) -> list[Figure]:
    """Start all API processes anew so many times under load; every request must be answered."""
    durations = []
    for _ in range(restarts):
        await load.let_off()
        await load.until_acknowledged(BETWEEN)
        durations.append(await asyncio.to_thread(_roll, service, restart))
    await load.until_acknowledged(BETWEEN)
    await load.pause()
    requests, failures = len(load.sent), dict(load.failures)
    await load.send_again()
    return [
        Figure("rolling restarts", restarts),
        Figure("API processes", len(service.children(API)), PROCESSES),
        Figure("seconds that one takes", seconds(durations)),
        Figure("requests", requests),
        Figure("failed requests", sum(failures.values()), 0),
        Figure("how they failed", failures or "none did"),
        Figure("connections that had to be made", load.connections),
    ]


def _roll(service: ServiceUnderTest, restart: Restart) -> float:
    before = set(service.children(API))
    restart(service)
    return eventually("all API processes are new ones", lambda: _is_renewed(service, before))


def _is_renewed(service: ServiceUnderTest, before: set[int]) -> bool:
    now = set(service.children(API))
    return now.isdisjoint(before) and len(now) == len(before)
