"""What a process does that `rapport serve` has started: it takes the socket, says when it is ready, and ends in time.

The supervisor gives each of its children one end of a socket. When the supervisor has gone, however it went, that
socket ends, and so do the children. Without a supervisor all of this does nothing.
"""

import asyncio
import os
import signal
import socket
import threading
import time

from infrastructure.settings import Settings, StartRefused

SUPERVISOR = "RAPPORT_SUPERVISOR_FD"
LISTENER = "RAPPORT_LISTENER_FD"

EXIT_REFUSED = 78
"""Exit status of a process that would refuse again if it were started again (EX_CONFIG of sysexits.h)."""
BACKLOG = 2_048
"""Connections that wait to be accepted, as while an API process starts again; the kernel may allow fewer."""

READY = b"r"
BEAT = b"b"
BEAT_SECONDS = 1.0
"""How often the event loop of a process says that it turns."""


class AddressRefused(StartRefused):
    """The address cannot be listened on."""


def listening_socket(settings: Settings) -> socket.socket:
    """The socket that all API processes share, or one of our own. Raises `AddressRefused`."""
    inherited = os.environ.get(LISTENER)
    if inherited is not None:
        return socket.socket(fileno=int(inherited))
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        message = f"Rapport cannot listen on {settings.host} port {settings.port}: {error.strerror}."
        raise AddressRefused(message) from error
    return listener


class Supervision:
    """The child's end of the bond with its supervisor; make it first thing in a process."""

    def __init__(self, drain_seconds: float) -> None:
        inherited = os.environ.get(SUPERVISOR)
        self._bond = socket.socket(fileno=int(inherited)) if inherited is not None else None
        self._drain_seconds = drain_seconds
        if self._bond is not None:
            threading.Thread(target=self._end_with_supervisor, args=(self._bond,), daemon=True).start()

    def report_ready(self) -> None:
        """Tell the supervisor that this process does its work."""
        self._say(READY)

    async def beat(self) -> None:
        """Say again and again that the event loop turns; an API process that is ready and silent is taken for stuck."""
        while self._bond is not None:
            self._say(BEAT)
            await asyncio.sleep(BEAT_SECONDS)

    def _say(self, word: bytes) -> None:
        if self._bond is not None:
            try:
                self._bond.send(word, socket.MSG_DONTWAIT)
            except OSError:  # the supervisor does not listen, or has gone; then the thread that waits for that ends us
                return

    def _end_with_supervisor(self, bond: socket.socket) -> None:
        try:
            while bond.recv(1):
                pass
        except OSError:
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._drain_seconds)
        os._exit(1)
