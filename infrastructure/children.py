"""The processes that `rapport serve` keeps: how one is started and told to end, and how a new one takes its place."""

import logging
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Self

from infrastructure.supervised import LISTENER, READY, SUPERVISOR

_log = logging.getLogger(__name__)


class Child:
    """One process of ours, with one end of the bond that tells each about the other."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], listener: socket.socket | None) -> None:
        self._command = command
        self._environment = environment
        self._listener = listener
        self._process: subprocess.Popen[bytes] | None = None
        self._leaving: list[subprocess.Popen[bytes]] = []
        """Processes that another one has taken the place of; they finish what they have begun."""
        self.bond: socket.socket | None = None
        self.is_ready = False
        self._beat_at: float | None = None
        """When it was last heard; None: it has said nothing yet."""

    def start(self) -> None:
        """Start the process, outside our terminal: a Ctrl-C is for the supervisor, which stops all in order."""
        self.let_go()
        self._beat_at = None
        self.bond, theirs = socket.socketpair()
        with theirs:
            inherited = {SUPERVISOR: theirs.fileno()}
            if self._listener is not None:
                inherited[LISTENER] = self._listener.fileno()
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                self._command,
                env=self._environment | {name: str(descriptor) for name, descriptor in inherited.items()},
                pass_fds=tuple(inherited.values()),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def successor(self) -> Self:
        """Another child of the same kind, which has not been started."""
        return type(self)(self._command, self._environment, self._listener)

    def hand_over_to(self, successor: Self) -> None:
        """Let the process of a successor take the place of this one's, which takes its end for the supervisor's."""
        if self._process is not None:
            self._leaving.append(self._process)
        self.let_go()
        self._process, self.bond, self.is_ready = successor._process, successor.bond, successor.is_ready
        self._beat_at = successor._beat_at

    def exit_status(self) -> int | None:
        """How it ended; None while it runs."""
        self._leaving = [process for process in self._leaving if process.poll() is None]
        return self._process.poll() if self._process is not None else None

    def is_running(self) -> bool:
        """Whether it has been started and not ended, or what was before it has not ended."""
        return (self.exit_status() is None and self._process is not None) or bool(self._leaving)

    def listen(self) -> None:
        """Take what it says over the bond: that it is ready, and that its event loop turns."""
        if self.bond is not None:
            said = self.bond.recv(4_096)
            self.is_ready = self.is_ready or READY in said
            self._beat_at = time.monotonic() if said else self._beat_at
            if not said:
                self.let_go()

    def silent_seconds(self) -> float:
        """For how long its event loop has not turned; 0 of one that has ended, or is not ready yet."""
        if self._beat_at is None or self.bond is None:
            return 0
        return time.monotonic() - self._beat_at

    def kill(self) -> None:
        """End it at once: what is stuck listens to no other signal."""
        self._beat_at = None
        if self._process is not None:
            self._process.kill()

    def send(self, order: signal.Signals) -> None:
        """Send it a signal, and what was before it, unless they have ended."""
        for process in (*self._leaving, self._process):
            if process is not None:
                process.send_signal(order)

    def let_go(self) -> None:
        """End the bond; a child that still lives takes it for the end of the supervisor."""
        if self.bond is not None:
            self.bond.close()
            self.bond = None


class Renewal:
    """Puts a new process in the place of each child's, one child after the other.

    A new process serves before the old one is told to end; so somebody serves all the time. When a new one does not
    come up, the old ones stay.
    """

    def __init__(self, name: str, children: Iterable[Child]) -> None:
        self._name = name
        self._children = tuple(children)
        self._left: deque[Child] = deque()
        self._renewed: Child | None = None
        self._successor: Child | None = None

    @property
    def under_way(self) -> Sequence[Child]:
        """The new process that is about to take a place, if there is one."""
        return () if self._successor is None else (self._successor,)

    def begin(self) -> None:
        """Renew all children, those that have just been renewed, too."""
        self._left = deque(self._children)
        _log.info("Every %s is started anew, one after the other.", self._name)

    def step(self) -> None:
        """Do what can be done now; to be called again whenever something has happened."""
        if self._successor is not None and self._renewed is not None:
            if self._successor.is_ready:
                self._renewed.hand_over_to(self._successor)
            elif self._successor.exit_status() is not None:
                self._give_up(f"has ended with status {self._successor.exit_status()} before it was ready")
            else:
                return
            self._renewed = self._successor = None
        if self._left:
            self._renewed = self._left.popleft()
            self._successor = self._renewed.successor()
            try:
                self._successor.start()
            except OSError as error:
                self._give_up(f"cannot be started: {error}")
                self._renewed = self._successor = None

    def _give_up(self, reason: str) -> None:
        self._left.clear()
        _log.error("A new %s %s; those that run stay.", self._name, reason)
