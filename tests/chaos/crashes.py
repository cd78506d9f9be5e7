"""Killing what runs, without warning, while commands are in flight."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.chaos.examination import caught_up, examine, examine_read_models, half_written, read_log
from tests.chaos.figures import Figure, seconds
from tests.chaos.load import IN_FLIGHT_MIN, Load
from tests.chaos.requests import Sent
from tests.chaos.service import API, PROJECTOR, ServiceUnderTest, eventually

BETWEEN_KILLS = 150
"""Commands that are acknowledged before the next kill: enough to fill the queue, the cache and a page of the log."""
DELAY_SECONDS_MAX = 0.03
"""All clients send at once, and the kill comes within this time: while requests are read, decided, stored, answered."""

Victim = Callable[[ServiceUnderTest], int]

VICTIMS: dict[str, Victim] = {
    "kill-postgres": ServiceUnderTest.postmaster,
    "kill-api": lambda service: service.children(API)[0],
    "kill-projector": lambda service: service.children(PROJECTOR)[0],
}


@dataclass(slots=True)
class Kills:
    """What happened while something was killed again and again."""

    in_flight: list[int] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each kill until another process has taken over and commands are answered as recorded."""
    half_written: int = 0
    sent_again: int = 0
    replayed: int = 0
    """Of the commands sent again, those that had been recorded: their first answer came back."""

    def figures(self, load: Load) -> Iterator[Figure]:
        """Everything but what the log says."""
        yield Figure("kills", len(self.in_flight))
        yield Figure("fewest requests in flight at a kill", min(self.in_flight))
        yield Figure("kills with fewer than 16 in flight", sum(n < IN_FLIGHT_MIN for n in self.in_flight), 0)
        yield Figure("requests in flight at a kill, median", statistics.median(self.in_flight))
        yield Figure("seconds until commands are answered again", seconds(self.recoveries))
        yield Figure("requests without an answer, sent again", self.sent_again)
        yield Figure("of their commands, recorded before", self.replayed)
        yield Figure("half-written batches before anything is sent again", self.half_written, 0)
        yield Figure("what senders saw instead of an answer", dict(load.failures) or "nothing")
        yield Figure("answers with status 500", load.failures["500"], 0)
        yield Figure("503 without Retry-After", load.without_retry_after, 0)


async def killed_again_and_again(
    service: ServiceUnderTest, load: Load, victim: Victim, cycles: int, *, earlier: Sequence[Sent] = ()
) -> list[Figure]:
    """Kill the victim so many times under load, and examine the log and the read models.

    `earlier` is what others have sent to the same service before.
    """
    kills = Kills()
    random = Random(cycles)  # noqa: S311 - any moment will do, as long as they differ
    for _ in range(cycles):
        await load.let_off()
        await load.until_acknowledged(BETWEEN_KILLS)
        await load.pause()
        await _kill_once(service, load, victim, kills, delay_seconds=random.uniform(0, DELAY_SECONDS_MAX))
    return [*kills.figures(load), *await examined(service, [*earlier, *load.sent])]


async def examined(service: ServiceUnderTest, requests: Sequence[Sent]) -> list[Figure]:
    """Judge the log and the read models of a service."""
    log = await asyncio.to_thread(read_log, service.databases.service)
    return [*examine(log, requests), *await asyncio.to_thread(examine_read_models, service)]


async def _kill_once(
    service: ServiceUnderTest, load: Load, victim: Victim, kills: Kills, *, delay_seconds: float
) -> None:
    process = victim(service)
    await load.let_off()
    kills.in_flight.append(await asyncio.to_thread(_kill, process, load, delay_seconds))
    killed_at = time.monotonic()
    await asyncio.to_thread(eventually, "another process takes over", lambda: _is_replaced(service, victim, process))
    await load.until_acknowledged(IN_FLIGHT_MIN)
    kills.recoveries.append(time.monotonic() - killed_at)
    await load.pause()
    await asyncio.to_thread(eventually, "the service is ready", service.is_ready)
    unanswered = load.unanswered()
    log = await asyncio.to_thread(read_log, service.databases.service)
    kills.half_written += half_written(log, unanswered)
    recorded = {command.key for command in log.commands}
    kills.replayed += sum(key in recorded and key not in r.acknowledged for r in unanswered for key in r.keys)
    kills.sent_again += await load.send_again()
    await asyncio.to_thread(caught_up, service)


def _kill(process: int, load: Load, delay_seconds: float) -> int:
    """Kill a process after a moment; how many requests were in flight then."""
    time.sleep(delay_seconds)
    in_flight = load.in_flight
    os.kill(process, signal.SIGKILL)
    return in_flight


def _is_replaced(service: ServiceUnderTest, victim: Victim, process: int) -> bool:
    try:
        return victim(service) != process
    except (IndexError, OSError, ValueError):
        return False
