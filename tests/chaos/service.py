"""A Rapport of a scenario's own: the real `rapport serve` with its children, and the ids of its processes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from application.commands import Role
from infrastructure.database import Databases
from infrastructure.embedded_postgres import end_leftovers, server_processes
from infrastructure.principals import Principals
from infrastructure.server import databases_of
from infrastructure.settings import Settings
from tests.altered import program

GIVE_UP_SECONDS = 120
"""Only ends what would hang."""
STOP_SECONDS_MAX = 60
SAID_CHARACTERS_MAX = 8_000
"""Of what a service said last, when something has not come about."""

API, PROJECTOR = "api-process", "projector-process"


class NothingCameAbout(Exception):  # noqa: N818 - it says what is the matter
    """What a scenario waits for has not come about; the message says what it was."""


def eventually(what: str, condition: Callable[[], bool]) -> float:
    """Wait until a condition holds; after how many seconds it did."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > GIVE_UP_SECONDS:
            raise NothingCameAbout(what)
        time.sleep(0.02)
    return time.monotonic() - started


@dataclass(slots=True)
class ServiceUnderTest:
    """A running service."""

    settings: Settings
    process: "subprocess.Popen[bytes]"
    output: Path
    """What the supervisor and its children have said, and print on both of their outputs."""

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://{self.settings.host}:{self.settings.port}"

    @property
    def databases(self) -> Databases:
        """Where each role connects."""
        return databases_of(self.settings)

    @property
    def cluster(self) -> Path:
        """The folder of the embedded server."""
        return self.settings.data / "postgres"

    def key(self, role: Role, name: str = "chaos") -> str:
        """Make a key."""
        with psycopg.connect(self.databases.operator) as operator:
            secret, _ = Principals(operator, self.settings.tenant).create(name, role)
        return secret

    def children(self, word: str) -> list[int]:
        """The living children of the supervisor that do this work, the eldest first."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError, ValueError, IndexError):
                    state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                    is_ours = int(parent) == self.process.pid and state != "Z"
                    if is_ours and word.encode() in _command(int(entry.name)).split(b"\0"):
                        found.append(int(entry.name))
        return sorted(found)

    def postmaster(self) -> int:
        """The server's first process."""
        return int((self.cluster / "postmaster.pid").read_text().splitlines()[0])

    def server_processes(self) -> list[int]:
        """All processes of the server."""
        return list(server_processes(self.cluster))

    def backends(self) -> list[int]:
        """The processes of the server that serve the API."""
        return [process for process in self.server_processes() if b"rapport_service" in _command(process)]

    def is_ready(self) -> bool:
        """Whether it says that requests should be sent to it."""
        try:
            return httpx.get(f"{self.address}/readyz", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def said(self) -> str:
        """All that was said so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")


def _command(process: int) -> bytes:
    """What a process was started with, or says about itself; nothing once it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def data_folder() -> Iterator[Path]:
    """A data folder of one's own: its path is short, and the server's account can reach it when we are root.

    The folder around it is one's own, too.
    """
    folder = Path(tempfile.mkdtemp(prefix="rapport-chaos-"))
    folder.chmod(0o711)
    (folder / "data").mkdir(mode=0o711)
    try:
        yield folder / "data"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def serving(
    data: Path, *options: str, environment: Mapping[str, str] | None = None, alteration: str | None = None
) -> Iterator[ServiceUnderTest]:
    """`rapport serve` on this data folder, ready; it is ended with all that belongs to it."""
    # Deaths are the point here, so that long pauses after them would only pass the time.
    chosen = {"RAPPORT_RESTART_SECONDS_MAX": "1", "RAPPORT_DRAIN_SECONDS_MAX": "10"} | dict(environment or {})
    output = data.with_name("said")  # apart from the data, where the disk may be full
    command = [*program(alteration), "serve", "--data", str(data), "--port", "0", *options]
    with output.open("wb") as said, _hangups_noticed():
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=os.environ | chosen)
    try:
        port = _port(process, output)
        settings = Settings.from_environment(chosen, data=data, port=port, **_database(options))
        service = ServiceUnderTest(settings, process, output)
        eventually("the service is ready", service.is_ready)
        yield service
    except NothingCameAbout:
        sys.stderr.write(output.read_text(errors="replace")[-SAID_CHARACTERS_MAX:])
        raise
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        end_leftovers(data / "postgres", data / "run")


@contextmanager
def _hangups_noticed() -> Iterator[None]:
    """Whoever starts us with nohup ignores hangups, and what we start would do so, too; but to it they are an order."""
    handler = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, handler)


def _database(options: tuple[str, ...]) -> dict[str, str]:
    return {"database_url": options[options.index("--database-url") + 1]} if "--database-url" in options else {}


def _port(process: "subprocess.Popen[bytes]", output: Path) -> int:
    """The port that the service says it answers at."""
    mark = "Rapport answers at http://127.0.0.1:"

    def is_said() -> bool:
        if process.poll() is not None:
            raise NothingCameAbout(output.read_text(errors="replace"))
        return mark in output.read_text(errors="replace")

    eventually("the service says where it answers", is_said)
    rest = output.read_text(errors="replace").partition(mark)[2]
    digits = "".join(character if character.isdigit() else " " for character in rest).split()[0]
    return int(digits)
