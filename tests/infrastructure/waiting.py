"""Waiting for what another process does: no assertion depends on how long it takes."""

import time
from collections.abc import Callable

import psycopg

GIVE_UP_SECONDS = 120
"""Only ends a test that would hang; nothing that works takes nearly as long."""


def eventually(condition: Callable[[], bool]) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.01)


def answers(url: str) -> bool:
    """Whether the server lets this user in."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
