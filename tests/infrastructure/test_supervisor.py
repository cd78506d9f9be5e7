"""`rapport serve`: what dies is started again, what is told to stop stops in order."""

import fcntl
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psycopg
import pytest

from infrastructure.embedded_postgres import server_processes
from infrastructure.passwords import passwords_file
from infrastructure.server import databases_of
from infrastructure.settings import Settings
from infrastructure.supervised import EXIT_REFUSED
from infrastructure.supervisor import PAUSE_SECONDS_MIN, STEADY_SECONDS, Kept, Pauses
from tests.infrastructure.waiting import GIVE_UP_SECONDS, answers, eventually

SERVE = """
import logging, os, sys
from infrastructure.settings import Settings, StartRefused
from infrastructure.supervisor import Supervisor

logging.basicConfig(stream=sys.stdout, format="%(message)s")
say = lambda *words: os.write(1, " ".join(map(str, words)).encode() + b"\\n")  # a line is never torn
child = (sys.executable, "-c", sys.argv[1])
try:
    sys.exit(Supervisor(
        Settings.from_environment(),
        on_prepared=lambda databases: say("prepared", type(databases).__name__),
        on_ready=lambda address: say("ready at", address),
        api_command=(*child, "API", *sys.argv[2:]),
        projector_command=(*child, "projector"),
    ).run())
except StartRefused as refusal:
    say("refused:", refusal)
    sys.exit(1)
"""

STAND_IN = """
import asyncio, os, signal, sys, threading
from infrastructure.settings import Settings
from infrastructure.supervised import EXIT_REFUSED, Supervision, listening_socket

name, *manners = sys.argv[1:]
say = lambda *words: os.write(1, " ".join(map(str, [name, *words])).encode() + b"\\n")
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
settings = Settings.from_environment()
supervision = Supervision(settings.drain_seconds_max)

def greet(listener):
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.send(b"%d" % os.getpid())

say("started", os.getpid())
if "refuse" in manners or (settings.data / "refuse").exists():
    sys.exit(EXIT_REFUSED)
if name == "API":
    threading.Thread(target=greet, args=[listening_socket(settings)], daemon=True).start()
supervision.report_ready()
if name == "API":
    threading.Thread(target=asyncio.run, args=[supervision.beat()], daemon=True).start()
signal.sigwait([signal.SIGTERM])
if "stubborn" in manners:
    say("goes on")
    signal.sigwait([signal.SIGUSR1])
say("stopped")
"""


class Serving:
    """A supervisor in a process of its own, with stand-ins for its children, and what all of them say."""

    def __init__(self, settings: Settings, *manners: str, terminal: int | None = None) -> None:
        """`terminal` is one that the supervisor gets as its own."""
        command = [sys.executable, "-c", SERVE, STAND_IN, *manners]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            env=os.environ | settings.to_environment(),
            start_new_session=True,
            pass_fds=() if terminal is None else (terminal,),
            preexec_fn=None if terminal is None else partial(fcntl.ioctl, terminal, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - one call into the kernel
        )
        assert self.process.stdout is not None
        self._output = self.process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._rest = ""

    def line(self) -> str:
        """The next line that one of them says; empty when all have ended."""
        while "\n" not in self._rest:
            with selectors.DefaultSelector() as selector:
                selector.register(self._output, selectors.EVENT_READ)
                assert selector.select(GIVE_UP_SECONDS), "nothing more is said"
            more = os.read(self._output.fileno(), 65_536).decode()
            if not more:
                return ""
            self._rest += more
        line, _, self._rest = self._rest.partition("\n")
        return line

    def hear(self, words: str) -> re.Match[str]:
        """Read on until a line matches."""
        heard = []
        while line := self.line():
            heard.append(line)
            if found := re.search(words, line):
                return found
        pytest.fail(f"nobody says {words}, but: {heard}")

    def everything(self) -> list[str]:
        """All that is still said until the last of them has ended."""
        return list(iter(self.line, ""))

    def tell(self, order: signal.Signals) -> None:
        """Send the supervisor a signal."""
        self.process.send_signal(order)

    def end(self) -> None:
        """Kill what a failed test has left running; its children end with it."""
        self.process.kill()
        self.process.wait()
        self._output.close()


Serve = Callable[..., Serving]


@pytest.fixture
def serve(data: Path) -> Iterator[Serve]:  # noqa: ARG001 - supervisors end before their folder goes
    """Start supervisors that end with the test."""
    with ExitStack() as started:

        def start(settings: Settings, *manners: str, terminal: int | None = None) -> Serving:
            serving = Serving(settings, *manners, terminal=terminal)
            started.callback(serving.end)
            return serving

        yield start


@pytest.fixture
def beside(data: Path, settings: Settings, superuser: str) -> Settings:
    """Settings of a service on the database of this test, as one's own server: no server is started."""
    data.chmod(0o711)
    passwords_file(data).parent.mkdir(mode=0o700)
    shutil.copy2(passwords_file(settings.data), passwords_file(data))
    return Settings(data=data, database_url=superuser, port=0, restart_seconds_max=1)


@pytest.fixture
def embedded(data: Path) -> Settings:
    """Settings of a service with a database of its own."""
    return Settings(data=data, port=0, restart_seconds_max=1)


def test_everything_is_prepared_before_the_children_start_and_ready_when_all_are(
    serve: Serve, beside: Settings
) -> None:
    serving = serve(beside)
    assert serving.line() == "prepared Databases"
    started = {serving.line().split()[0], serving.line().split()[0]}
    assert started == {"API", "projector"}
    assert re.fullmatch(r"ready at http://127\.0\.0\.1:[1-9][0-9]*", serving.line())


def test_the_api_stops_first_then_the_projector(serve: Serve, beside: Settings) -> None:
    serving = serve(beside)
    serving.hear("ready")
    serving.tell(signal.SIGTERM)
    assert serving.everything() == ["API stopped", "projector stopped"]
    assert serving.process.wait() == 0


def test_the_database_stops_last(serve: Serve, embedded: Settings) -> None:
    serving = serve(embedded)
    serving.hear("ready")
    serving.tell(signal.SIGINT)
    assert serving.everything() == ["API stopped", "projector stopped"]
    assert serving.process.wait() == 0
    assert list(server_processes(embedded.data / "postgres")) == []
    logs = "".join(path.read_text() for path in (embedded.data / "logs").iterdir())
    assert "database system is shut down" in logs


@pytest.mark.parametrize("name", ["API", "projector"])
def test_a_child_that_is_killed_is_started_again(serve: Serve, beside: Settings, name: str) -> None:
    serving = serve(beside)
    killed = int(serving.hear(rf"{name} started (\d+)")[1])
    serving.hear("ready")
    os.kill(killed, signal.SIGKILL)
    serving.hear(rf"The {name} process has ended with status -9; it starts again in 0\.1 s\.")
    assert int(serving.hear(rf"{name} started (\d+)")[1]) != killed


def test_an_api_process_whose_event_loop_stands_still_is_replaced(serve: Serve, beside: Settings) -> None:
    serving = serve(beside.model_copy(update={"stuck_seconds_max": 5}))
    stuck = int(serving.hear(r"API started (\d+)")[1])
    serving.hear("ready")
    os.kill(stuck, signal.SIGSTOP)
    serving.hear(r"An API process has been stuck for \d s:")
    serving.hear("The API process has ended with status -9")
    assert int(serving.hear(r"API started (\d+)")[1]) != stuck


def test_who_connects_while_the_api_starts_again_is_served_by_the_next(serve: Serve, beside: Settings) -> None:
    serving = serve(beside)
    killed = int(serving.hear(r"API started (\d+)")[1])
    port = int(serving.hear(r"ready at http://127\.0\.0\.1:(\d+)")[1])
    os.kill(killed, signal.SIGKILL)
    serving.hear("The API process has ended")
    with socket.create_connection(("127.0.0.1", port)) as connection:
        served_by = int(connection.recv(100))
    assert int(serving.hear(r"API started (\d+)")[1]) == served_by


def test_several_api_processes_share_one_address(serve: Serve, beside: Settings) -> None:
    serving = serve(beside.model_copy(update={"api_processes": 2}))
    processes = {int(serving.hear(r"API started (\d+)")[1]) for _ in range(2)}
    port = int(serving.hear(r"ready at http://127\.0\.0\.1:(\d+)")[1])
    served_by = set()

    def both_have_served() -> bool:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            served_by.add(int(connection.recv(100)))
        return served_by == processes

    eventually(both_have_served)


def _served_by(port: int) -> int:
    """The process that answers; 0 if that one was just ending."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        return int(connection.recv(100) or 0)


def test_on_a_hangup_every_api_process_is_started_anew_while_the_others_serve(serve: Serve, beside: Settings) -> None:
    serving = serve(beside.model_copy(update={"api_processes": 2}))
    before = {int(serving.hear(r"API started (\d+)")[1]) for _ in range(2)}
    port = int(serving.hear(r"ready at http://127\.0\.0\.1:(\d+)")[1])
    serving.tell(signal.SIGHUP)
    after: set[int] = set()
    running = [2]
    while len(after) < 2 or running[-1] > 2:
        said = serving.line()
        started = re.match(r"API started (\d+)", said)
        after |= {int(started[1])} if started else set()
        running.append(running[-1] + (1 if started else -1))
    assert min(running) == 2  # a new one comes before an old one goes
    assert after.isdisjoint(before)
    eventually(lambda: _served_by(port) in after)


def test_an_old_api_process_goes_on_until_the_new_one_is_ready(serve: Serve, beside: Settings) -> None:
    serving = serve(beside)
    serving.hear("ready")
    serving.tell(signal.SIGHUP)
    serving.hear("API started")
    assert serving.line() == "API stopped"
    assert serving.process.poll() is None


def test_when_a_new_api_process_does_not_come_up_the_old_ones_stay(serve: Serve, beside: Settings) -> None:
    serving = serve(beside)
    before = int(serving.hear(r"API started (\d+)")[1])
    port = int(serving.hear(r"ready at http://127\.0\.0\.1:(\d+)")[1])
    (beside.data / "refuse").touch()
    serving.tell(signal.SIGHUP)
    serving.hear("A new API process has ended with status 78 before it was ready; those that run stay.")
    assert _served_by(port) == before
    (beside.data / "refuse").unlink()
    serving.tell(signal.SIGHUP)
    assert int(serving.hear(r"API started (\d+)")[1]) != before
    serving.hear("API stopped")


def test_when_the_terminal_goes_everything_stops(serve: Serve, beside: Settings) -> None:
    ours, theirs = os.openpty()
    serving = serve(beside, terminal=theirs)
    os.close(theirs)
    serving.hear("ready")
    serving.tell(signal.SIGHUP)
    serving.hear("API stopped")  # the terminal is still there, so this was somebody who wants new processes
    os.close(ours)
    assert serving.everything()[-1] == "projector stopped"
    assert serving.process.wait() == 0


def test_a_killed_database_server_is_started_again(serve: Serve, embedded: Settings) -> None:
    serving = serve(embedded)
    serving.hear("ready")
    server = int((embedded.data / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(server, signal.SIGKILL)
    serving.hear("The database server has ended with status -9; it starts again in")
    eventually(lambda: answers(databases_of(embedded).service))


def test_a_killed_supervisor_takes_everything_with_it(serve: Serve, embedded: Settings) -> None:
    serving = serve(embedded)
    serving.hear("ready")
    serving.process.kill()
    assert sorted(serving.everything()) == ["API stopped", "projector stopped"]
    if sys.platform.startswith("linux"):
        eventually(lambda: list(server_processes(embedded.data / "postgres")) == [])


def test_after_a_killed_supervisor_the_service_starts_again(serve: Serve, embedded: Settings) -> None:
    first = serve(embedded)
    first.hear("ready")
    with psycopg.connect(databases_of(embedded).projector) as projector:
        projector.execute("CREATE TABLE main_read.kept ()")
    first.process.kill()
    second = serve(embedded)
    second.hear("ready")
    with psycopg.connect(databases_of(embedded).projector) as projector:
        assert projector.execute("SELECT * FROM main_read.kept").fetchall() == []


def test_who_follows_a_killed_supervisor_waits_until_its_api_lets_go_of_the_address(
    serve: Serve, beside: Settings
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = beside.model_copy(update={"port": port, "drain_seconds_max": 2})
    first = serve(settings, "stubborn")
    first.hear("ready")
    first.process.kill()
    first.hear("API goes on")
    second = serve(settings)
    second.hear("prepared")
    # The first API has ended, though not of its own will: its last words are not said.
    assert [line for line in first.everything() if line.startswith("API")] == []
    second.hear(f"ready at http://127.0.0.1:{port}")


def test_a_second_start_on_the_same_data_is_told_who_has_it(serve: Serve, beside: Settings) -> None:
    first = serve(beside)
    first.hear("ready")
    second = serve(beside)
    assert second.hear("refused: (.*)")[1].startswith(
        f"The data folder {beside.data} is in use by process {first.process.pid}: rapport serve on 127.0.0.1 port 0"
    )
    assert second.process.wait() == 1


def test_an_address_in_use_is_said_before_anything_starts(serve: Serve, embedded: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as another:
        port = another.getsockname()[1]
        serving = serve(embedded.model_copy(update={"port": port}))
        serving.hear(f"refused: Rapport cannot listen on 127.0.0.1 port {port}: Address already in use.")
    assert not (embedded.data / "postgres").exists()


def test_a_child_that_refuses_to_start_ends_the_service(serve: Serve, beside: Settings) -> None:
    serving = serve(beside, "refuse")
    said = serving.everything()
    assert [line for line in said if "The" in line] == ["The API process refuses to start; so the service stops."]
    assert len([line for line in said if line.startswith("API started")]) == 1
    assert serving.process.wait() == EXIT_REFUSED


def test_a_child_that_does_not_stop_in_time_is_killed(serve: Serve, beside: Settings) -> None:
    serving = serve(beside.model_copy(update={"drain_seconds_max": 1}), "stubborn")
    serving.hear("ready")
    serving.tell(signal.SIGTERM)
    assert serving.everything() == ["API goes on", "projector stopped"]
    assert serving.process.wait() == 0


def test_who_insists_does_not_wait(serve: Serve, beside: Settings) -> None:
    serving = serve(beside.model_copy(update={"drain_seconds_max": 600}), "stubborn")
    serving.hear("ready")
    serving.tell(signal.SIGTERM)
    serving.hear("API goes on")
    serving.tell(signal.SIGTERM)
    assert serving.everything() == ["projector stopped"]
    assert serving.process.wait() == 0


def test_pauses_grow_with_early_deaths_up_to_a_limit() -> None:
    pauses = Pauses(seconds_max=0.5)
    assert [pauses.after(0) for _ in range(5)] == [PAUSE_SECONDS_MIN, 0.2, 0.4, 0.5, 0.5]
    assert pauses.after(STEADY_SECONDS) == PAUSE_SECONDS_MIN


def test_what_cannot_be_started_is_tried_again_after_the_pause() -> None:
    now = [0.0]
    attempts = []

    def start() -> None:
        attempts.append(now[0])
        if len(attempts) < 3:
            raise FileNotFoundError

    kept = Kept("baker", start, lambda: None, Pauses(10), clock=lambda: now[0], start_at=0)
    for moment in (0.0, 0.05, 0.15, 0.3, 0.4, 0.5):
        now[0] = moment
        kept.tend()
    assert attempts == [0.0, 0.15, 0.4]
    assert kept.start_at is None
