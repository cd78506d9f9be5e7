"""The service as an ASGI application: from a connection's request to its answer, readable from top to bottom.

There is no middleware: what every request goes through stands in `Service._answer`.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass

from api.authentication import Doorkeeper
from api.metrics import Metrics
from api.operations import Operation, Router
from api.problems import INVALID_PARAMETER, TOO_BUSY, TOO_MANY_REQUESTS, Problem, from_error
from api.requests import Receive, Request, Scope, Send, SenderHasGone
from api.responses import Response, problem_response

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the interface; each default has its reason beside it. Those of `Settings` have the same names."""

    request_bytes_max: int = 1_048_576
    """Body of a single command: what an event may hold."""
    bulk_line_bytes_max: int = 1_048_576
    """One line of a bulk body: a line is a command."""
    bulk_lines_max: int = 100_000
    """Lines of one bulk body."""
    bulk_atomic_lines_max: int = 1_000
    """Lines of an atomic bulk body: they are one append."""
    bulk_atomic_bytes_max: int = 8 * 1_048_576
    """An atomic bulk body is held whole."""
    page_size: int = 100
    page_size_max: int = 1_000
    wait_seconds_max: int = 30
    """How long a request may wait for news or for a position."""
    body_pause_seconds_max: float = 30.0
    """How long a body may pause; a proxy that buffers sends it in one go."""
    answer_pause_seconds_max: float = 60.0
    """How long the receiver of a streamed answer may take in nothing before the connection is given up."""
    requests_max: int = 2_048
    """Requests under way in one process, waiting ones included."""
    requests_of_key_max: int = 1_024
    """Requests under way with one key, so that one sender cannot take all places."""


_OF_EVERY_ANSWER = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""Answers show personal data, and what holds now: nobody on the way keeps them, and nobody guesses what they are."""

Lifespan = Callable[[], AbstractAsyncContextManager[None]]


class Service:
    """Answers HTTP requests with its operations."""

    def __init__(  # noqa: PLR0913 - the composition root names each of them once
        self,
        router: Router,
        doorkeeper: Doorkeeper,
        metrics: Metrics,
        *,
        limits: Limits,
        lifespan: Lifespan,
        on_stopping: Callable[[], None],
    ) -> None:
        """`on_stopping` lets go of the requests that wait for something to happen."""
        self._router = router
        self._doorkeeper = doorkeeper
        self._metrics = metrics
        self._limits = limits
        self._lifespan = lifespan
        self._requests = 0
        self._requests_of: Counter[str] = Counter()
        self._on_stopping = on_stopping
        self.is_stopping = False
        """From now on every answer ends its connection."""

    def begin_to_stop(self) -> None:
        """Go on answering, and ask everybody to leave."""
        self.is_stopping = True
        self._on_stopping()

    @property
    def requests_under_way(self) -> int:
        """How many requests have not been answered yet."""
        return self._requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or start and stop with the server."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = operation = actor = None
        self._requests += 1
        try:
            try:
                request = Request(scope, receive)
                operation = self._router.find(request)
                if self._requests > self._limits.requests_max and operation.tag != "health":
                    raise Problem(TOO_BUSY)  # noqa: TRY301 - every answer that says no is made below
                await self._doorkeeper.admit(request, operation)
                actor = self._count(request)
                if operation.query is None and scope["query_string"] and operation.tag != "health":
                    raise Problem(INVALID_PARAMETER, detail="no parameter is known here")  # noqa: TRY301 - see above
                response = await operation.handler(request)
            except SenderHasGone:
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the sender gets a problem and no traceback
                response = problem_response(from_error(error, in_query=scope["method"] == "GET"))
            # A streamed answer is given while the body is read.
            unread = isinstance(response.body, bytes) and (request is None or request.leaves_much_unread)
            close = unread or self.is_stopping
            try:
                await self._send(response, send, close=close, method=scope["method"])
            except SenderHasGone:
                return
        finally:
            self._requests -= 1
            if actor is not None:
                self._requests_of[actor] -= 1
                if not self._requests_of[actor]:
                    del self._requests_of[actor]
        seconds = time.perf_counter() - started
        name = operation.name if operation is not None else "none"
        self._metrics.requests.add((name, str(response.status)))
        self._metrics.request_seconds.observe(seconds, (name,))
        if _is_worth_a_log_entry(operation, response):
            _log(request, operation, response, seconds)

    def _count(self, request: Request) -> str | None:
        principal = getattr(request, "principal", None)
        if principal is None:
            return None
        actor: str = principal.actor
        if self._requests_of[actor] >= self._limits.requests_of_key_max:
            raise Problem(TOO_MANY_REQUESTS)
        self._requests_of[actor] += 1
        return actor

    async def _send(self, response: Response, send: Send, *, close: bool, method: str) -> None:
        headers = [(b"content-type", response.media_type), *_OF_EVERY_ANSWER, *response.headers]
        if close:
            headers.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": response.status, "headers": headers}
        if isinstance(response.body, bytes):
            headers.append((b"content-length", b"%d" % len(response.body)))
            await send(start)
            await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})
            return
        await send(start)
        await self._stream(response.body, send)

    async def _stream(self, body: AsyncGenerator[bytes], send: Send) -> None:
        async with aclosing(body):
            async for chunk in body:
                try:
                    async with asyncio.timeout(self._limits.answer_pause_seconds_max):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except TimeoutError:
                    # Whoever sends without reading would make both sides wait for each other for ever.
                    raise SenderHasGone from None
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            lifespan = self._lifespan()
            await lifespan.__aenter__()
        except Exception:  # noqa: BLE001 - the server has to be told, whatever it is
            _LOG.exception("the service cannot start")
            await send({"type": "lifespan.startup.failed", "message": "the service cannot start"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.begin_to_stop()
        try:
            await lifespan.__aexit__(None, None, None)
        except Exception:  # noqa: BLE001 - the server has to be told, whatever it is
            _LOG.exception("the service did not stop cleanly")
            await send({"type": "lifespan.shutdown.failed", "message": "the service did not stop cleanly"})
            return
        await send({"type": "lifespan.shutdown.complete"})


def _is_worth_a_log_entry(operation: Operation | None, response: Response) -> bool:
    """An accepted command stands in the log of events with its sender and ids; health is asked all the time."""
    if response.problem is not None or operation is None:
        return True
    return operation.method == "GET" and operation.tag in {"customers", "events", "reports"}


def _log(request: Request | None, operation: Operation | None, response: Response, seconds: float) -> None:
    principal = getattr(request, "principal", None)
    _LOG.info(
        "answered",
        extra={
            "operation": operation.name if operation else None,
            "method": operation.method if operation else None,
            "status": response.status,
            "problem": response.problem,
            "milliseconds": round(seconds * 1000, 3),
            "actor": principal.actor if principal else None,
            "role": principal.role if principal else None,
        },
    )
