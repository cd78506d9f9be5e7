"""The database stands still, is gone, has no room or cannot write, while commands come in; then it is back."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.chaos.crashes import answers, send
from tests.chaos.examination import caught_up, half_written, read_log
from tests.chaos.figures import Figure
from tests.chaos.http import Connection
from tests.chaos.load import IN_FLIGHT_MIN, Load
from tests.chaos.service import API, GIVE_UP_SECONDS, PROJECTOR, NothingCameAbout, ServiceUnderTest, eventually

BEFORE = 150
"""Commands that are acknowledged before the outage."""
TOLD_MIN = 16
"""Senders that have been told to come back before the outage may end."""
QUICK_SECONDS = 2.0
"""A process that takes longer to say that it lives is taken for dead by those who watch it."""
LATE_SECONDS = 10.0
"""The database answers again: whoever sends later than this is not told to come back."""
STRACE = Path("/usr/bin/strace")

Outage: TypeAlias = Callable[[ServiceUnderTest], AbstractContextManager[None]]


class CannotBeMade(Exception):  # noqa: N818 - it says what is the matter
    """This outage cannot be brought about on this machine; the message says what is missing."""


# What can happen to a database


@contextmanager
def standing_still(service: ServiceUnderTest) -> Iterator[None]:
    """Stop every process of the server where it stands: connections stay, and nothing is answered."""
    processes = service.server_processes()
    send(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        send(processes, signal.SIGCONT)


@contextmanager
def gone(service: ServiceUnderTest) -> Iterator[None]:
    """Kill the server, and stand in the way of its next start: nobody listens any more."""
    configuration, aside = service.settings.data / "config", service.settings.data / "config.aside"
    configuration.rename(aside)
    configuration.touch()
    send([service.postmaster()], signal.SIGKILL)
    try:
        yield
    finally:
        configuration.unlink()
        aside.rename(configuration)


@contextmanager
def disk_full(service: ServiceUnderTest) -> Iterator[None]:
    """Leave no byte free where the data is; only for a folder of one's own that is small, see `small_disk`."""
    folder = service.settings.data
    if os.statvfs(folder).f_frsize * os.statvfs(folder).f_blocks > 2 * SMALL_DISK_BYTES:
        message = f"{folder} is not on a small disk of its own"
        raise CannotBeMade(message)
    ballast = folder / "ballast"
    try:
        _fill(ballast)
        yield
    finally:
        ballast.unlink()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 1_048_576)
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0")


@contextmanager
def failing_fsync(service: ServiceUnderTest) -> Iterator[None]:
    """Let every flush of the server fail, that of the servers started after it, too."""
    if not STRACE.exists():
        message = f"strace is not installed: there is no {STRACE}"
        raise CannotBeMade(message)
    traced = [service.process.pid, *service.server_processes()]
    calls = "fsync,fdatasync,sync_file_range"
    command = [str(STRACE), "-f", "-qq", "-o", "/dev/null", f"--trace={calls}", f"--inject={calls}:error=EIO"]
    with subprocess.Popen([*command, *(f"--attach={pid}" for pid in traced)], stderr=subprocess.PIPE) as tracer:
        try:
            eventually("strace is attached", lambda: tracer.poll() is not None or all(map(_is_traced, traced)))
            if tracer.poll() is not None:
                message = f"strace cannot attach: {tracer.communicate()[1].decode(errors='replace')}"
                raise CannotBeMade(message)
            yield
        finally:
            tracer.terminate()


def _is_traced(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:  # it has ended meanwhile
        return True
    return "TracerPid:\t0\n" not in status


SMALL_DISK_BYTES = 400 * 1024**2


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Put a small disk in the place of an empty folder. Raises `CannotBeMade`."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        message = "only root can mount a small disk"
        raise CannotBeMade(message)
    options = f"size={SMALL_DISK_BYTES},mode=0711"
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        message = f"a small disk cannot be mounted: {mounted.stderr.decode(errors='replace').strip()}"
        raise CannotBeMade(message)
    try:
        yield
    finally:
        subprocess.run([umount, "--lazy", str(folder)], check=True)


OUTAGES: Mapping[str, Outage] = {
    "stop-postgres": standing_still,
    "lose-postgres": gone,
    "fill-disk": disk_full,
    "fail-fsync": failing_fsync,
}


# What must happen then


@dataclass(slots=True)
class Probes:
    """What `/livez` has answered meanwhile."""

    answers: int = 0
    slow: int = 0
    wrong: int = 0
    slowest_seconds: float = field(default=0.0)

    async def run(self, address: str) -> None:
        """Ask again and again, each time on a new connection."""
        while True:
            started = time.monotonic()
            with closing(Connection(address, "")) as connection:
                try:
                    async with asyncio.timeout(GIVE_UP_SECONDS):
                        await connection.open()
                        connection.write("GET", "/livez")
                        head = await connection.head()
                    self.wrong += head.status != 200
                except (OSError, TimeoutError):
                    self.wrong += 1
            seconds = time.monotonic() - started
            self.answers += 1
            self.slow += seconds > QUICK_SECONDS
            self.slowest_seconds = max(self.slowest_seconds, seconds)
            await asyncio.sleep(0.1)


@dataclass(slots=True)
class Course:
    """How an outage went."""

    running: set[int]
    """The processes that are to live through it."""
    in_flight: int = 0
    lasted_seconds: float = 0.0
    answered_after_seconds: float = 0.0
    late_refusals: int = 0
    half_written: int = 0
    sent_again: int = 0
    projected_after_seconds: float = 0.0

    def figures(self, load: Load, probes: Probes, running: set[int]) -> Iterator[Figure]:
        """Everything but what the log says."""
        others = {name: n for name, n in load.failures.items() if name != "503"}
        yield Figure("seconds that the outage lasted", f"{self.lasted_seconds:.1f}")
        yield Figure("commands in flight when it began", self.in_flight)
        yield Figure(f"fewer than {IN_FLIGHT_MIN}", self.in_flight < IN_FLIGHT_MIN, must_be=False)
        yield Figure("senders told to come back (503)", load.failures["503"])
        yield Figure("longest wait for that, in seconds", f"{load.slowest_refusal_seconds:.1f}")
        yield Figure("503 without Retry-After", load.without_retry_after, 0)
        yield Figure("other answers than 503", others or 0, 0)
        yield Figure("probes of /livez", probes.answers)
        yield Figure("slowest of them, in seconds", f"{probes.slowest_seconds:.3f}")
        yield Figure(f"slower than {QUICK_SECONDS:.0f} s", probes.slow, 0)
        yield Figure("not answered with 200", probes.wrong, 0)
        yield Figure("seconds until commands are answered again", f"{self.answered_after_seconds:.1f}")
        yield Figure(f"503 later than {LATE_SECONDS:.0f} s after the database answered", self.late_refusals, 0)
        yield Figure("processes that were started anew", len(running - self.running), 0)
        yield Figure("requests without an answer, sent again", self.sent_again)
        yield Figure("half-written batches before anything is sent again", self.half_written, 0)
        yield Figure("seconds until the read models have caught up", f"{self.projected_after_seconds:.1f}")


async def out_for(service: ServiceUnderTest, load: Load, outage: Outage, seconds_min: float) -> list[Figure]:
    """Bring an outage about for so long, and until senders were told to come back."""
    course, probes = Course(_kept(service)), Probes()
    await load.let_off()
    await load.until_acknowledged(BEFORE)
    probing = asyncio.create_task(probes.run(service.address))
    with outage(service):
        course.in_flight = load.commands_in_flight
        course.lasted_seconds = await _lasting(load, seconds_min)
    await _recovering(service, load, course)
    probing.cancel()
    unanswered = load.unanswered()
    log = await asyncio.to_thread(read_log, service.databases.service, unanswered)
    course.half_written = half_written(log, unanswered)
    course.sent_again = await load.send_again()
    course.projected_after_seconds = await asyncio.to_thread(caught_up, service)
    return list(course.figures(load, probes, _kept(service)))


def _kept(service: ServiceUnderTest) -> set[int]:
    """The supervisor and its children but for the database server."""
    return {service.process.pid, *service.children(API), *service.children(PROJECTOR)}


async def _lasting(load: Load, seconds_min: float) -> float:
    """Wait for so long, and until enough senders were told to come back; how long it was."""
    begun = time.monotonic()
    while (lasted := time.monotonic() - begun) < seconds_min or load.failures["503"] < TOLD_MIN:
        if lasted > max(GIVE_UP_SECONDS, 2 * seconds_min):
            message = f"503 for {TOLD_MIN} senders; they saw {dict(load.failures)}"
            raise NothingCameAbout(message)
        await asyncio.sleep(0.05)
    return lasted


async def _recovering(service: ServiceUnderTest, load: Load, course: Course) -> None:
    """Wait until commands are answered as recorded again, and the service says that it is ready."""
    ended = time.monotonic()
    await asyncio.to_thread(eventually, "the database answers", lambda: answers(service))
    answered = time.monotonic()
    await load.until_acknowledged(IN_FLIGHT_MIN)
    course.answered_after_seconds = time.monotonic() - ended
    await load.pause()
    await asyncio.to_thread(eventually, "the service is ready", service.is_ready)
    course.late_refusals = sum(begun > answered + LATE_SECONDS for begun in load.refused)
