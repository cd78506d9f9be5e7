"""Asking read models with patience that ends: an answer, or a problem, but no request that hangs."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import psycopg
from psycopg_pool import PoolTimeout

from api.problems import READ_MODEL_UNAVAILABLE, Problem

T = TypeVar("T")

ANSWER_SECONDS_MAX = 60.0
"""Longer than the statement timeout of readers, which ends a question that takes too long."""


async def patiently(question: Coroutine[Any, Any, T], seconds_max: float) -> T:
    """The answer. Raises a `Problem` if the database cannot be asked, or does not answer in time.

    A server that has stopped cannot even be told that nobody waits any more. So the question is left alone when its
    time is over, and ends with its connection.
    """
    asking = asyncio.ensure_future(question)
    try:
        await asyncio.wait([asking], timeout=seconds_max)
    finally:
        if not asking.done():
            asking.add_done_callback(lambda task: task.cancelled() or task.exception())
    if not asking.done():
        raise Problem(READ_MODEL_UNAVAILABLE)
    try:
        return asking.result()
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout):
        raise Problem(READ_MODEL_UNAVAILABLE) from None
