"""`rapport serve`: one process that starts the database, the API and the projector, and keeps them running.

A child that dies is started again, after a pause that grows with every early death. An API process whose event loop
does not turn any more is killed, and so started again: it would answer nothing, and hear no other signal. Told to stop,
the API finishes its requests first, then the projector its page, then the database shuts down. A supervisor that is
killed takes all of them with it. On SIGHUP it starts the API processes anew, one after the other, while the others
serve; if its terminal has gone, that signal means the end.
"""

import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from infrastructure.children import Child, Renewal
from infrastructure.data_folder import DataFolder
from infrastructure.database import Databases
from infrastructure.embedded_postgres import EmbeddedPostgres, StartInterrupted
from infrastructure.server import prepare_and_verify
from infrastructure.settings import Settings, StartRefused
from infrastructure.supervised import BEAT_SECONDS, EXIT_REFUSED, AddressRefused, listening_socket

API_COMMAND = (sys.executable, "-m", "api.command_line", "api-process")
PROJECTOR_COMMAND = (sys.executable, "-m", "api.command_line", "projector-process")

STEADY_SECONDS = 60
"""A process that has lived this long was no early death: its next pause is the shortest again."""
PAUSE_SECONDS_MIN = 0.1
_REAP_SECONDS = 1

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_TERMINAL = "/dev/tty"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Pauses:
    """How long to wait before the next start: twice as long after every early death, up to a limit."""

    seconds_max: float
    _next: float = PAUSE_SECONDS_MIN

    def after(self, lived_seconds: float) -> float:
        """The pause after a process that has lived so long."""
        if lived_seconds >= STEADY_SECONDS:
            self._next = PAUSE_SECONDS_MIN
        pause = min(self._next, self.seconds_max)
        self._next = pause * 2
        return pause


class ChildRefused(Exception):  # noqa: N818 - a refusal to start, which the child has explained
    """A process of ours refuses to start; it has said why, and to start it again would not help."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The {name} refuses to start; so the service stops.")


@dataclass(slots=True)
class Kept:
    """Something that is kept running."""

    name: str
    start: Callable[[], None]
    exit_status: Callable[[], int | None]
    """How it ended; None while it runs."""
    pauses: Pauses
    clock: Callable[[], float] = time.monotonic
    start_at: float | None = None
    """When it will be started (again); None while it runs."""
    _started_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._started_at = self.clock()

    def tend(self) -> None:
        """Notice that it has ended, or start it when the pause is over. Raises `ChildRefused`."""
        if self.start_at is None and (ended := self.exit_status()) is not None:
            if ended == EXIT_REFUSED:
                raise ChildRefused(self.name)
            pause = self.pauses.after(self.clock() - self._started_at)
            self.start_at = self.clock() + pause
            _log.warning("The %s has ended with status %d; it starts again in %.1f s.", self.name, ended, pause)
        if self.start_at is not None and self.clock() >= self.start_at:
            self._started_at = self.clock()
            try:
                self.start()
            except (StartRefused, OSError) as error:
                self.start_at = self.clock() + self.pauses.after(0)
                _log.error("The %s cannot be started: %s", self.name, error)
            else:
                self.start_at = None


class Supervisor:
    """All processes of one Rapport on this machine. `run` returns when it has been told to stop and all have."""

    def __init__(
        self,
        settings: Settings,
        *,
        on_prepared: Callable[[Databases], None] = lambda _: None,
        on_ready: Callable[[str], None] = lambda _: None,
        api_command: Sequence[str] = API_COMMAND,
        projector_command: Sequence[str] = PROJECTOR_COMMAND,
    ) -> None:
        """`on_prepared` is called when roles and tables are there and nothing else runs yet.

        `on_ready` is called once, with the address, when every process has said that it is ready.
        """
        self._settings = settings
        self._on_prepared = on_prepared
        self._on_ready = on_ready
        self._api_command = api_command
        self._projector_command = projector_command
        self._stop_signals = 0
        self._hangups = 0
        self._had_terminal = _has_terminal()

    def run(self) -> int:
        """Serve until told to stop by a signal; the exit status. Raises `StartRefused`. For the main thread."""
        with ExitStack() as stack:
            wakeups = stack.enter_context(self._noticing_signals())
            folder, postgres = self._take_folder(stack)
            try:
                listener = stack.enter_context(self._listen(wait=folder.was_abandoned))
                if postgres is not None:
                    postgres.start(give_up=self._is_told_to_stop)
            except StartInterrupted:
                return 0
            self._on_prepared(prepare_and_verify(self._settings))
            return self._keep_running(postgres, listener, wakeups)

    def _take_folder(self, stack: ExitStack) -> tuple[DataFolder, EmbeddedPostgres | None]:
        """Lock the data folder before anything else, so that a second start hears about that first."""
        holder = f"rapport serve on {self._settings.host} port {self._settings.port}"
        if self._settings.database_url is not None:
            folder = stack.enter_context(DataFolder(self._settings.data))
            folder.open(holder)
            return folder, None
        postgres = EmbeddedPostgres(self._settings.data)
        stack.callback(postgres.stop)
        postgres.folder.open(holder)
        return postgres.folder, postgres

    def _listen(self, *, wait: bool) -> socket.socket:
        """Take the address. If we follow one that was killed, its API may yet hold it, for as long as it may drain."""
        deadline = time.monotonic() + (self._settings.drain_seconds_max + _REAP_SECONDS if wait else 0)
        while True:
            try:
                return listening_socket(self._settings)
            except AddressRefused:
                if time.monotonic() >= deadline:
                    raise
            if self._is_told_to_stop():
                raise StartInterrupted
            time.sleep(PAUSE_SECONDS_MIN)

    def _is_told_to_stop(self) -> bool:
        return self._stop_signals > 0

    def _keep_running(self, postgres: EmbeddedPostgres | None, listener: socket.socket, wakeups: socket.socket) -> int:
        address, environment = self._tell(listener)
        apis = [Child(self._api_command, environment, listener) for _ in range(self._settings.api_processes)]
        projectors = [
            Child(self._projector_command, environment, None) for _ in range(self._settings.projector_processes)
        ]
        kept = [self._kept("API process", child.start, child.exit_status, start_at=0) for child in apis]
        kept += [self._kept("projector process", child.start, child.exit_status, start_at=0) for child in projectors]
        if postgres is not None:
            kept.append(self._kept("database server", postgres.launch, postgres.exit_status))
        renewal = Renewal("API process", apis)
        try:
            announced = False
            while not self._stop_signals:
                for each in kept:
                    each.tend()
                if self._hangups:
                    self._hangups = 0
                    renewal.begin()
                renewal.step()
                starts = [each.start_at - time.monotonic() for each in kept if each.start_at is not None]
                children = [*apis, *projectors, *renewal.under_way]
                _wait(wakeups, children, min([max(0, each) for each in starts] + [BEAT_SECONDS]))
                self._end_stuck(apis, wakeups)
                if not announced and all(child.is_ready for child in (*apis, *projectors)):
                    announced = True
                    self._on_ready(address)
        except ChildRefused as refusal:
            _log.error("%s", refusal)
            return EXIT_REFUSED
        else:
            return 0
        finally:
            # No new requests; those that the API has accepted are finished, and their events projected.
            listener.close()
            self._end([*apis, *renewal.under_way], wakeups)
            self._end(projectors, wakeups)

    def _end_stuck(self, children: Sequence[Child], wakeups: socket.socket) -> None:
        """Kill those whose event loop stands still."""
        seconds_max = self._settings.stuck_seconds_max
        for child in children:
            if child.silent_seconds() > seconds_max:
                _wait(wakeups, [child], 0)  # we may have stood still ourselves, and not have listened
            if (silent := child.silent_seconds()) > seconds_max:
                _log.error("An API process has been stuck for %.0f s: it is killed, and started again.", silent)
                child.kill()

    def _kept(
        self, name: str, start: Callable[[], None], exit_status: Callable[[], int | None], start_at: float | None = None
    ) -> Kept:
        return Kept(name, start, exit_status, Pauses(self._settings.restart_seconds_max), start_at=start_at)

    def _tell(self, listener: socket.socket) -> tuple[str, dict[str, str]]:
        """The address for people, and the environment for children: ours with the settings as they are in force."""
        port = listener.getsockname()[1]
        host = f"[{self._settings.host}]" if listener.family == socket.AF_INET6 else self._settings.host
        settings = self._settings.model_copy(update={"port": port})
        return f"http://{host}:{port}", os.environ | settings.to_environment()

    def _end(self, children: Sequence[Child], wakeups: socket.socket) -> None:
        """Ask children to end; kill those that do not in time, or at once when somebody insists."""
        told = self._stop_signals  # before anybody can have noticed that we have begun, and insist
        for child in children:
            child.send(signal.SIGTERM)
        deadline = time.monotonic() + self._settings.drain_seconds_max
        while living := [child for child in children if child.is_running()]:
            left = deadline - time.monotonic()
            if left <= 0 or self._stop_signals > told:
                for child in living:
                    child.send(signal.SIGKILL)
            _wait(wakeups, living, max(left, _REAP_SECONDS))
        for child in children:
            child.let_go()

    @contextmanager
    def _noticing_signals(self) -> Iterator[socket.socket]:
        """A socket that becomes readable with each signal: to stop, or that a child has ended."""
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        theirs.settimeout(0)
        wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        # A signal that was ignored from the beginning (nohup) stays ignored.
        noticing = dict.fromkeys(_STOP_SIGNALS, self._notice_stop) | {signal.SIGHUP: self._notice_hangup}
        noticed = [order for order in noticing if signal.getsignal(order) is not signal.SIG_IGN]
        handlers = {order: signal.signal(order, noticing[order]) for order in noticed}
        handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            yield ours
        finally:
            for order, handler in handlers.items():
                signal.signal(order, handler)
            signal.set_wakeup_fd(wakeup)
            ours.close()
            theirs.close()

    def _notice_stop(self, _order: int, _frame: FrameType | None) -> None:
        self._stop_signals += 1

    def _notice_hangup(self, _order: int, _frame: FrameType | None) -> None:
        if self._had_terminal and not _has_terminal():
            self._stop_signals += 1
        else:
            self._hangups += 1


def _has_terminal() -> bool:
    """Whether there is a terminal that a person sits at."""
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _wait(wakeups: socket.socket, children: Sequence[Child], seconds: float | None) -> None:
    """Sleep until a signal comes, a child says something or the time is over."""
    bonds = {child.bond: child for child in children if child.bond is not None}
    readable, _, _ = select.select([wakeups, *bonds], [], [], seconds)
    for ready in readable:
        if ready is wakeups:
            with suppress(BlockingIOError):
                wakeups.recv(4_096)
        else:
            bonds[ready].listen()
