"""The database stands still, is gone, has no room or cannot write, while commands come in; then it is back."""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.chaos.crashes import examined
from tests.chaos.examination import caught_up, half_written, read_log
from tests.chaos.figures import Figure
from tests.chaos.http import Connection
from tests.chaos.load import IN_FLIGHT_MIN, Load
from tests.chaos.requests import Sent
from tests.chaos.service import API, GIVE_UP_SECONDS, NothingCameAbout, ServiceUnderTest, eventually

BEFORE = 150
"""Commands that are acknowledged before the outage."""
TOLD_MIN = 16
"""Senders that have been told to come back before the outage may end."""
QUICK_SECONDS = 2.0
"""A process that takes longer to say that it lives is taken for dead by those who watch it."""
STRACE = Path("/usr/bin/strace")

Outage: TypeAlias = Callable[[ServiceUnderTest], AbstractContextManager[None]]


class CannotBeMade(Exception):  # noqa: N818 - it says what is the matter
    """This outage cannot be brought about on this machine; the message says what is missing."""


# What can happen to a database


@contextmanager
def standing_still(service: ServiceUnderTest) -> Iterator[None]:
    """Stop every process of the server where it stands: connections stay, and nothing is answered."""
    processes = service.server_processes()
    _signal(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(processes, signal.SIGCONT)


@contextmanager
def gone(service: ServiceUnderTest) -> Iterator[None]:
    """Kill the server, and stand in the way of its next start: nobody listens any more."""
    configuration, aside = service.settings.data / "config", service.settings.data / "config.aside"
    configuration.rename(aside)
    configuration.touch()
    _signal([service.postmaster()], signal.SIGKILL)
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


def _signal(processes: list[int], order: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, order)


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


async def out_for(
    service: ServiceUnderTest,
    load: Load,
    outage: Outage,
    seconds_min: float,
    *,
    earlier: Sequence[Sent] = (),
) -> list[Figure]:
    """Bring an outage about for so long, and until senders were told to come back; examine everything afterwards."""
    processes = service.children(API)
    await load.let_off()
    await load.until_acknowledged(BEFORE)
    probes = Probes()
    probing = asyncio.create_task(probes.run(service.address))
    begun = time.monotonic()
    with outage(service):
        in_flight = load.in_flight
        while time.monotonic() - begun < seconds_min or load.failures["503"] < TOLD_MIN:
            if time.monotonic() - begun > max(GIVE_UP_SECONDS, 2 * seconds_min):
                message = f"503 for {TOLD_MIN} senders; they saw {dict(load.failures)}"
                raise NothingCameAbout(message)
            await asyncio.sleep(0.05)
        lasted = time.monotonic() - begun
    ended = time.monotonic()
    await load.until_acknowledged(IN_FLIGHT_MIN)
    recovered = time.monotonic() - ended
    probing.cancel()
    await load.pause()
    await asyncio.to_thread(eventually, "the service is ready", service.is_ready)
    unanswered = load.unanswered()
    half = half_written(await asyncio.to_thread(read_log, service.databases.service), unanswered)
    sent_again = await load.send_again()
    await asyncio.to_thread(caught_up, service)
    others = {name: n for name, n in load.failures.items() if name != "503"}
    return [
        Figure("seconds that the outage lasted", f"{lasted:.1f}"),
        Figure("requests in flight when it began", in_flight),
        Figure("senders told to come back (503)", load.failures["503"]),
        Figure("longest wait for that, in seconds", f"{load.slowest_refusal_seconds:.1f}"),
        Figure("503 without Retry-After", load.without_retry_after, 0),
        Figure("other answers than 503", others or 0, 0),
        Figure("probes of /livez", probes.answers),
        Figure("slowest of them, in seconds", f"{probes.slowest_seconds:.3f}"),
        Figure(f"slower than {QUICK_SECONDS:.0f} s", probes.slow, 0),
        Figure("not answered with 200", probes.wrong, 0),
        Figure("seconds until commands are answered again", f"{recovered:.1f}"),
        Figure("API processes that were started anew", len(set(service.children(API)) - set(processes)), 0),
        Figure("requests without an answer, sent again", sent_again),
        Figure("half-written batches before anything is sent again", half, 0),
        *await examined(service, [*earlier, *load.sent]),
    ]
