"""The embedded server: a real Postgres in the data folder, as a child of this process.

Only Rapport's own roles get in, each with a password made by us, through a socket in the data folder. Whatever is
killed when, the next start ends what is left of it, and the server recovers.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from infrastructure.data_folder import DataFolder
from infrastructure.database import LOGIN_ROLES
from infrastructure.passwords import load_passwords, passwords_file
from infrastructure.postgres_installation import (
    Account,
    account_for,
    binaries_for,
    make_cluster,
    memory_of_machine,
    wheel_folder,
    write_configuration,
)
from infrastructure.settings import StartRefused

SUPERUSER = "rapport_superuser"
"""Prepares roles and databases; no part of the service works as it."""
DATABASE = "rapport"
SOCKET = ".s.PGSQL.5432"

SOCKET_PATH_BYTES_MAX = 103
"""What the shortest of the systems that we run on takes as the path of a socket (macOS)."""
STOP_SECONDS_MAX = 60
"""A fast shutdown writes what is in memory; after this the server is told to stop at once, and recovers next time."""
SAY_SO_SECONDS = 10
"""How often a recovery that takes long is mentioned in the log."""
_POLL_SECONDS = 0.02

_log = logging.getLogger(__name__)


class ServerRefusedToStart(StartRefused):
    """The embedded server cannot start, or ended while it did."""


class StartInterrupted(Exception):  # noqa: N818 - it was asked for
    """The start was given up because it was asked to."""


class EmbeddedPostgres:
    """One server in one data folder. Start it from the thread that lives as long as the server should."""

    def __init__(self, data: Path, *, memory_bytes: int | None = None, wheel: Path | None = None) -> None:
        self.data = data
        self.cluster = data / "postgres"
        self._run = data / "run"
        self.folder = DataFolder(data)
        self._memory_bytes = memory_bytes
        self._wheel = wheel
        self._process: subprocess.Popen[bytes] | None = None
        self._start_log = data / "postgres-start.log"

    @property
    def pid(self) -> int | None:
        """The server's process while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def exit_status(self) -> int | None:
        """How the server has ended; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def administrator(self, database: str = DATABASE) -> str:
        """Connection string of the superuser; see `prepare` for those of the service."""
        return administrator_of(self.data, database)

    def start(self, holder: str = "an embedded Postgres", give_up: Callable[[], bool] = lambda: False) -> None:
        """Make what is missing, start the server and wait until it answers, however long it recovers.

        Raises `DataFolderInUse` when another process has the folder, and `ServerRefusedToStart`.
        """
        self.folder.open(holder)
        try:
            self._require_short_path()
            self.launch()
            self.wait_until_ready(give_up)
            make_database(self.administrator("postgres"), DATABASE)
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Start the server's process, after ending what a killed one has left; does not wait until it answers."""
        account = account_for(self.cluster)
        binaries = binaries_for(account, self.data, self._wheel or wheel_folder())
        end_leftovers(self.cluster, self._run)
        if self.cluster.exists() and not passwords_file(self.data).exists():
            message = f"The passwords of the database, {passwords_file(self.data)}, are gone: bring them back first."
            raise ServerRefusedToStart(message)
        passwords = load_passwords(self.data, (SUPERUSER, *LOGIN_ROLES))
        if not self.cluster.exists():
            make_cluster(self.cluster, binaries, account, SUPERUSER, passwords[SUPERUSER])
        run, logs = self._own_folder(account, "run"), self._own_folder(account, "logs")
        configuration = write_configuration(
            self.data / "config", run, logs, (SUPERUSER, *LOGIN_ROLES), self._memory_bytes or memory_of_machine()
        )
        command = [str(binaries / "postgres"), "-D", str(self.cluster), "-c", f"config_file={configuration}"]
        with self._start_log.open("wb") as output:
            # SIGINT is Postgres' fast shutdown.
            self._process = account.start(command, output=output.fileno(), end=signal.SIGINT)

    def wait_until_ready(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Return when the server answers. Recovery has no limit; a server that has died raises."""
        started = said_at = time.monotonic()
        while True:
            if give_up():
                raise StartInterrupted
            if self._process is None or self._process.poll() is not None:
                raise ServerRefusedToStart(self._last_words())
            if self._is_ready():
                return
            if time.monotonic() - said_at > SAY_SO_SECONDS:
                said_at = time.monotonic()
                _log.info("The database has been recovering for %d s.", said_at - started)
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Shut the server down, at first with care, and let go of the data folder."""
        process, self._process = self._process, None
        if process is not None:
            for order in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if process.poll() is not None:
                    break
                process.send_signal(order)
                try:
                    process.wait(STOP_SECONDS_MAX)
                except subprocess.TimeoutExpired:
                    _log.warning("The database does not stop on %s.", order.name)
            end_leftovers(self.cluster, self._run)
        self.folder.close()

    def _require_short_path(self) -> None:
        socket = self._run / SOCKET
        if len(os.fsencode(socket)) > SOCKET_PATH_BYTES_MAX:
            message = f"{socket} is too long for a socket; choose a data folder with a shorter path."
            raise ServerRefusedToStart(message)

    def _own_folder(self, account: Account, name: str) -> Path:
        folder = self.data / name
        folder.mkdir(mode=0o700, exist_ok=True)
        account.give(folder)
        return folder

    def _is_ready(self) -> bool:
        """The server says so in the eighth line of its pid file, which needs no password to read."""
        lines = _pid_file(self.cluster)
        return len(lines) > 7 and lines[0] == str(self.pid) and lines[7].strip() == "ready"  # noqa: PLR2004 - the eighth line is the state of the server

    def _last_words(self) -> str:
        logs = sorted((self.data / "logs").glob("*.log"), key=lambda path: path.stat().st_mtime)
        said = [
            line
            for path in (self._start_log, *logs[-1:])
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        ]
        return "\n".join(["The database server ended while it started. It said:", *said])


def administrator_of(data: Path, database: str = DATABASE) -> str:
    """Connection string of the superuser of the embedded server in a data folder."""
    password = load_passwords(data, (SUPERUSER, *LOGIN_ROLES))[SUPERUSER]
    return make_conninfo(host=str(data / "run"), dbname=database, user=SUPERUSER, password=password)


def make_database(administrator: str, name: str) -> None:
    """Make a database that admits nobody unless told to, if there is none of this name."""
    with psycopg.connect(administrator, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        # Apart from the creation, as a crash may come between the two.
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))


def end_leftovers(cluster: Path, run: Path) -> None:
    """End every server process of this cluster, and take away the files that say it runs.

    Called by who holds the data folder: whatever runs here has outlived a Rapport that was killed. A process that is
    dead but not yet reaped counts as gone, though Postgres itself would take it for alive.
    """
    first_line = next(iter(_pid_file(cluster)), "")
    processes = set(server_processes(cluster))
    if first_line.isdigit() and int(first_line) in processes:
        _log.warning("A database server has outlived its Rapport; it is stopped and started again.")
        os.kill(int(first_line), signal.SIGINT)
        _wait_until_gone(cluster, {int(first_line)})
    for process in server_processes(cluster):
        _kill(process)
    _wait_until_gone(cluster, processes)
    for file in (cluster / "postmaster.pid", run / SOCKET, run / f"{SOCKET}.lock"):
        file.unlink(missing_ok=True)


def _wait_until_gone(cluster: Path, processes: set[int]) -> None:
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while left := processes.intersection(server_processes(cluster)):
        if time.monotonic() > deadline:
            for process in left:
                _kill(process)
        time.sleep(_POLL_SECONDS)


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def server_processes(cluster: Path) -> Iterator[int]:
    """The living Postgres processes that work in this folder."""
    return _from_proc(cluster.resolve()) if sys.platform.startswith("linux") else _from_ps(cluster)


def _from_proc(cluster: Path) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                works_here = (entry / "cwd").readlink() == cluster
                if works_here and (entry / "comm").read_text(encoding="ascii", errors="replace").strip() == "postgres":
                    yield int(entry.name)
            except OSError:  # it has just ended, is a zombie, or belongs to somebody else
                continue


def _from_ps(cluster: Path) -> Iterator[int]:
    """Without /proc only the first process can be recognised; the others end by themselves when it is gone."""
    listing = subprocess.run(
        ["/bin/ps", "-axww", "-o", "pid=,stat=,command="], capture_output=True, text=True, check=True
    )
    for line in listing.stdout.splitlines():
        process, state, command = line.split(maxsplit=2)
        if f"/postgres -D {cluster} " in command and not state.startswith("Z"):
            yield int(process)


def _pid_file(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
