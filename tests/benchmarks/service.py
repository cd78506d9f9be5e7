"""A Rapport of the benchmark's own: the real command, in a folder of its own, ended when the measurement is over."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.altered import program

START_SECONDS_MAX = 120


@dataclass(frozen=True, slots=True)
class RunningService:
    """Where it answers, where its data is, and how to make keys."""

    port: int
    data: Path

    def key(self, role: str) -> str:
        """A new key."""
        command = [sys.executable, "-m", "api.command_line", "keys", "create", f"bench {role}", "--role", role]
        made = subprocess.run([*command, "--data", str(self.data)], capture_output=True, text=True, check=True)
        return made.stdout.strip()

    def get(self, path: str, key: str) -> dict[str, object]:
        """The JSON that a path answers with."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        request.add_header("Authorization", f"Bearer {key}")
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own server
            found: dict[str, object] = json.loads(answer.read())
            return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers, or complain that it does not."""
    give_up_at = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < give_up_at and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    msg = f"the server on port {port} did not start"
    raise RuntimeError(msg)


@contextmanager
def rapport(*options: str, alteration: str | None = None) -> Iterator[RunningService]:
    """`rapport serve` with these options, as it is or with one thing altered."""
    data = Path(tempfile.mkdtemp(prefix="rapport-bench-"))
    port = free_port()
    command = [*program(alteration), "serve", "--data", str(data), "--port", str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, "/readyz", process)
        yield RunningService(port, data)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def asgi(application: str, *options: str, **environment: str) -> Iterator[int]:
    """One of the rivals under uvicorn, with the same loop and parser as Rapport."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", application, "--port", str(port), "--log-level", "error", *options]
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        wait_for(port, "/openapi.json", process)
        yield port
    finally:
        process.terminate()
        process.wait()
