"""Health: whether the process lives, whether it can serve, and what it measures."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TypeAlias

from pydantic_core import to_json
from starlette.responses import Response

from api.metrics import MEDIA_TYPE, Metrics
from api.operations import EVERYONE, Body, Operation
from api.requests import Request
from api.responses import WrittenJson
from api.shapes import described

Check: TypeAlias = Callable[[], Awaitable[None]]
"""Raises where something is not as it has to be."""

CHECK_SECONDS_MAX = 2.0
"""A check that takes longer has failed."""
CHECKED_FOR_SECONDS = 1.0
"""How long an answer about readiness holds; whoever asks more often gets the same one."""


class DiskIsFull(Exception):  # noqa: N818 - it names what is the matter
    """Commands have failed for want of disk space."""


@described
class Liveness:
    """The process answers; it was not asked whether anything behind it does."""

    alive: bool


@described
class Readiness:
    """Whether requests should be sent here, and by name what stands in the way.

    `key_file` does not stand in the way: the process works with the keys that it has. But one that is started with the
    file that was refused will not.
    """

    ready: bool
    checks: Mapping[str, bool]


class HealthRoutes:
    """Makes the operations that tell how the process is doing. They tell nothing about customers and need no key."""

    def __init__(
        self,
        checks: Mapping[str, Check],
        metrics: Metrics,
        refresh: Callable[[], Awaitable[None]],
        warnings: Mapping[str, Check],
    ) -> None:
        """`refresh` measures, before metrics are shown, what has to be asked for; `warnings` are shown, no more."""
        self._warnings = warnings
        self._checks = checks
        self._metrics = metrics
        self._refresh = refresh
        self._asked_at = float("-inf")
        self._readiness = Readiness(ready=False, checks={})
        self._asking = asyncio.Lock()
        self.is_stopping = False

    def operations(self) -> Iterator[Operation]:
        """Liveness, readiness and metrics."""
        yield Operation(
            name="ask-liveness",
            method="GET",
            path="/livez",
            tag="health",
            summary="Ask whether the process lives",
            description="Never touches the database: if this fails, the process should be started again.",
            roles=EVERYONE,
            handler=self._live,
            answers={200: Body({"application/json": Liveness}, "It lives.")},
        )
        yield Operation(
            name="ask-readiness",
            method="GET",
            path="/readyz",
            tag="health",
            summary="Ask whether requests should be sent here",
            description="Whether the log and the read models can be asked; and for half a minute after a command could "
            "not be recorded for want of room, the check of the disk says no, unless another one was recorded.",
            roles=EVERYONE,
            handler=self._ready,
            answers={
                200: Body({"application/json": Readiness}, "Requests are served."),
                503: Body({"application/json": Readiness}, "They are not, and here is what stands in the way."),
            },
        )
        yield Operation(
            name="read-metrics",
            method="GET",
            path="/metrics",
            tag="health",
            summary="Read what is measured, in Prometheus' text format",
            roles=EVERYONE,
            handler=self._measured,
            answers={200: Body({"text/plain": None}, "All metrics of this process.")},
        )

    async def _live(self, _request: Request) -> Response:
        return WrittenJson(to_json(Liveness(alive=True)))

    async def _ready(self, _request: Request) -> Response:
        async with self._asking:
            if time.monotonic() - self._asked_at > CHECKED_FOR_SECONDS:
                asked = {**self._checks, **self._warnings}
                results = await asyncio.gather(*(_passes(check) for check in asked.values()))
                checks = dict(zip(asked, results, strict=True))
                self._readiness = Readiness(ready=all(checks[name] for name in self._checks), checks=checks)
                self._asked_at = time.monotonic()
        readiness = self._readiness
        if self.is_stopping:
            readiness = Readiness(ready=False, checks={**readiness.checks, "stays": False})
        return WrittenJson(to_json(readiness), 200 if readiness.ready else 503)

    async def _measured(self, _request: Request) -> Response:
        await _passes(self._refresh)
        return Response(self._metrics.text(), media_type=MEDIA_TYPE)


async def _passes(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            await check()
    except Exception:  # noqa: BLE001 - whatever it is, the answer is that it does not work now
        return False
    return True
