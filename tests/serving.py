"""`rapport serve` as a user starts it: its own processes, its own Postgres, its own data folder."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from application.commands import Role
from infrastructure.ids import new_id
from infrastructure.principals import Principals
from infrastructure.server import databases_of
from infrastructure.settings import Settings

ROOT = Path(__file__).parents[1]
COMMAND = (sys.executable, "-m", "api.command_line")

GIVE_UP_SECONDS = 300
"""Only ends a test that would hang; nothing that works takes nearly as long."""


def environment(**variables: str) -> Mapping[str, str]:
    """An environment in which nothing says anything to Rapport but these variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAPPORT_")}
    return {**inherited, "PYTHONPATH": str(ROOT), **variables}


def rapport(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one command of the command line to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(**variables),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=GIVE_UP_SECONDS,
        check=False,
    )


@dataclass(slots=True)
class Serving:
    """A running service."""

    data: Path
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    """What it has written to standard output so far."""
    address: str = ""
    first_key: str | None = None
    _clients: list[httpx.Client] = field(default_factory=list)

    def rapport(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command beside it, on the same data and with its address."""
        return rapport(*arguments, RAPPORT_DATA=str(self.data), RAPPORT_URL=self.address, **variables)

    def make_key(self, role: str) -> str:
        """A new key of this role."""
        with psycopg.connect(databases_of(Settings(data=self.data)).operator) as operator:
            secret, _ = Principals(operator, "main").create(f"{role} {new_id()}", Role(role))
        return secret

    def client(self, role: str) -> httpx.Client:
        """A client with a new key of this role."""
        headers = {"Authorization": f"Bearer {self.make_key(role)}"}
        client = httpx.Client(base_url=self.address, headers=headers, timeout=60)
        self._clients.append(client)
        return client

    def stop(self) -> int:
        """Ask it to stop; its exit status."""
        for client in self._clients:
            client.close()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(GIVE_UP_SECONDS)


@contextmanager
def serving(
    data: Path | None = None, *, program: Sequence[str] = COMMAND, errors: Path | None = None, **settings: Any
) -> Iterator[Serving]:
    """`rapport serve` with these settings, until the block ends; in a data folder of its own, unless one is given.

    What it and its children log goes into the file `errors`.
    """
    # Not below pytest's own folder: its path may be too long for a socket, and root's may be entered by nobody else.
    folder = data or Path(tempfile.mkdtemp(prefix="rapport-tests-"))
    variables = {f"RAPPORT_{name.upper()}": str(value) for name, value in settings.items()}
    with (
        (errors or Path(os.devnull)).open("wb") as logged,
        subprocess.Popen(
            [*program, "serve", "--data", str(folder), "--port", "0"],
            env=environment(**variables),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=logged,
            text=True,
        ) as process,
    ):
        service = Serving(folder, process)
        try:
            _listen(service)
            yield service
        finally:
            service.stop()
            if data is None:
                shutil.rmtree(folder)


def _listen(service: Serving) -> None:
    """Read what it says until it has said what to try; go on reading, so that it never waits for us."""
    assert service.process.stdout is not None
    ended = threading.Timer(GIVE_UP_SECONDS, service.process.kill)
    ended.start()
    for line in service.process.stdout:
        service.said.append(line)
        if found := re.search(r"answers at (http://\S+)", line):
            service.address = found[1]
        if found := re.search(r"Your key is (\S+)", line):
            service.first_key = found[1]
        if "/v1/reports/" in line:
            break
    ended.cancel()
    assert service.address, f"rapport serve ended with {service.process.wait()}: {''.join(service.said)}"
    threading.Thread(target=service.process.stdout.read, daemon=True).start()
