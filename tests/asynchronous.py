"""Asynchronous tests are written as such, and run in a loop of their own each."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

P = ParamSpec("P")

GIVE_UP_SECONDS = 60
"""Only ends a test that would hang; nothing that works takes nearly as long."""


def asynchronous(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in an event loop."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await test(*args, **kwargs)

        asyncio.run(bounded())

    return run


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return when the condition holds; how long that takes is nobody's business."""
    while not await condition():  # noqa: ASYNC110 - what is waited for happens in another process
        await asyncio.sleep(0.005)
