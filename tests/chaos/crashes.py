"""Killing what runs, without warning, while commands are in flight."""

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import psycopg

from tests.chaos.examination import caught_up, half_written, read_log
from tests.chaos.figures import Figure, seconds
from tests.chaos.load import IN_FLIGHT_MIN, Load
from tests.chaos.service import API, PROJECTOR, ServiceUnderTest, eventually

BETWEEN_KILLS = 150
"""Commands that are acknowledged before the next kill: enough to fill the queue, the cache and a page of the log."""
ANSWERS_MAX = 40
DELAY_SECONDS_MAX = 0.03
"""All clients send at once, and the kill comes so many answers and so much time later at most: while requests are read,
decided, stored, answered.
"""


@dataclass(frozen=True)
class Victim:
    """What is killed."""

    choose: Callable[[ServiceUnderTest, Random], Sequence[int]]
    """The processes that are killed this time."""
    is_back: Callable[[ServiceUnderTest, int], bool]
    """Whether others have taken their place; the number is that of the processes of its kind before."""
    count: Callable[[ServiceUnderTest], int]


def _of_the_server(service: ServiceUnderTest, random: Random) -> Sequence[int]:
    """Its first process, whom the others follow; one that serves the API; or all at once, as when a machine dies."""
    ways = ([service.postmaster()], random.sample(service.backends(), 1), service.server_processes())
    return ways[random.randrange(len(ways))]


def answers(service: ServiceUnderTest, _before: int = 1) -> bool:
    """Whether the database lets us in."""
    try:
        psycopg.connect(service.databases.service).close()
    except psycopg.OperationalError:
        return False
    return True


def _child(word: str) -> Victim:
    """Some of the processes that the supervisor keeps for this work, or all of them."""

    def choose(service: ServiceUnderTest, random: Random) -> Sequence[int]:
        children = service.children(word)
        return random.sample(children, random.randint(1, len(children)))

    return Victim(
        choose=choose,
        is_back=lambda service, before: len(service.children(word)) == before,
        count=lambda service: len(service.children(word)),
    )


VICTIMS: Mapping[str, Victim] = {
    "kill-postgres": Victim(_of_the_server, answers, lambda _: 1),
    "kill-api": _child(API),
    "kill-projector": _child(PROJECTOR),
}


@dataclass(slots=True)
class Kills:
    """What happened while something was killed again and again."""

    in_flight: list[int] = field(default_factory=list)
    """Commands without an answer at each kill."""
    processes: int = 0
    recoveries: list[float] = field(default_factory=list)
    """Seconds from each kill until commands are answered as recorded."""
    half_written: int = 0
    sent_again: int = 0
    replayed: int = 0
    """Of the commands sent again, those that had been recorded: their first answer came back."""

    def figures(self, load: Load) -> Iterator[Figure]:
        """Everything but what the log says."""
        yield Figure("kills", len(self.in_flight))
        yield Figure("processes killed", self.processes)
        yield Figure("fewest commands in flight at a kill", min(self.in_flight))
        yield Figure(f"kills with fewer than {IN_FLIGHT_MIN}", sum(n < IN_FLIGHT_MIN for n in self.in_flight), 0)
        yield Figure("commands in flight at a kill, median", statistics.median(self.in_flight))
        yield Figure("seconds until commands are answered again", seconds(self.recoveries))
        yield Figure("requests without an answer, sent again", self.sent_again)
        yield Figure("of their commands, recorded before", self.replayed)
        yield Figure("half-written batches before anything is sent again", self.half_written, 0)
        yield Figure("what senders saw instead of an answer", dict(load.failures) or "nothing")
        yield Figure("answers with status 500", load.failures["500"], 0)
        yield Figure("503 without Retry-After", load.without_retry_after, 0)


async def killed_again_and_again(service: ServiceUnderTest, load: Load, victim: Victim, cycles: int) -> list[Figure]:
    """Kill the victim so many times under load, and send again each time what was not answered."""
    kills = Kills()
    random = Random(cycles)  # noqa: S311 - any moment will do, as long as they differ
    for _ in range(cycles):
        await load.let_off()
        await load.until_acknowledged(BETWEEN_KILLS)
        await load.pause()
        await _kill_once(service, load, victim, kills, random)
    return list(kills.figures(load))


async def _kill_once(service: ServiceUnderTest, load: Load, victim: Victim, kills: Kills, random: Random) -> None:
    before, processes = victim.count(service), victim.choose(service, random)
    await load.let_off()
    await load.until_acknowledged(random.randint(0, ANSWERS_MAX))
    await asyncio.to_thread(time.sleep, random.uniform(0, DELAY_SECONDS_MAX))
    send(processes, signal.SIGSTOP)
    await load.has_heard_all()
    kills.in_flight.append(load.commands_in_flight)
    send(processes, signal.SIGKILL)
    killed_at = time.monotonic()
    kills.processes += len(processes)
    await asyncio.to_thread(eventually, "what was killed has ended", lambda: not any(map(_lives, processes)))
    await load.until_acknowledged(IN_FLIGHT_MIN)
    kills.recoveries.append(time.monotonic() - killed_at)
    await load.pause()
    await asyncio.to_thread(eventually, "others take over", lambda: victim.is_back(service, before))
    await asyncio.to_thread(eventually, "the service is ready", service.is_ready)
    unanswered = load.unanswered()
    log = await asyncio.to_thread(read_log, service.databases.service, unanswered)
    kills.half_written += half_written(log, unanswered)
    recorded = {command.key for command in log.commands}
    kills.replayed += sum(key in recorded and key not in r.acknowledged for r in unanswered for key in r.keys)
    kills.sent_again += await load.send_again()
    await asyncio.to_thread(caught_up, service)


def send(processes: Sequence[int], order: signal.Signals) -> None:
    """Send a signal to each of these processes that has not ended."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, order)


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
