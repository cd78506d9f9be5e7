"""The service as an application of FastAPI: what every request goes through, around its operation.

Around everything stands `Service.__call__`, before the operation `Service._admit`; there is no middleware of ours.
"""

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from api import VERSION
from api.authentication import Doorkeeper
from api.event_documents import EventDocuments
from api.exception_handlers import EXCEPTION_HANDLERS
from api.metrics import Metrics
from api.openapi import completed
from api.operations import Operation
from api.problems import INVALID_PARAMETER, TOO_BUSY, TOO_MANY_REQUESTS, Problem
from api.requests import REQUEST, Request
from api.responses import Sending
from api.routing import OperationRoute, OperationRouter
from application.keys import Principal

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


Lifespan = Callable[[], AbstractAsyncContextManager[None]]


class DidNotLive(Exception):  # noqa: N818 - it says what happened
    """The service did not start, or did not stop cleanly; what was the matter stands in the log."""


class Service(FastAPI):
    """Answers HTTP requests with its operations."""

    def __init__(  # noqa: PLR0913 - the composition root names each of them once
        self,
        operations: Iterable[Operation],
        documents: EventDocuments,
        doorkeeper: Doorkeeper,
        metrics: Metrics,
        *,
        limits: Limits,
        lifespan: Lifespan,
        on_stopping: Callable[[], None],
        also: Callable[[], Iterable[tuple[bytes, bytes]]] = tuple,
    ) -> None:
        """`on_stopping` lets go of the requests that wait for something; `also` has headers of all answers."""
        super().__init__(
            title="Rapport",
            version=VERSION,
            summary="Customers, and what happens with them, as events that are never changed.",
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
            # The description is an operation like all others, and FastAPI's pages load scripts from elsewhere.
            openapi_url=None,
            exception_handlers=dict(EXCEPTION_HANDLERS),
            # Its logs would have the texts of exceptions in them.
            telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        )
        self.operations = tuple(operations)
        # FastAPI takes no other class of router than by this attribute.
        self.router = OperationRouter(self.operations, self._admit, self._live)
        self._documents = documents
        self._doorkeeper = doorkeeper
        self._metrics = metrics
        self._limits = limits
        self._lifespan = lifespan
        self._requests = 0
        self._requests_of: Counter[str] = Counter()
        self._on_stopping = on_stopping
        self._also = also
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

    @override
    def openapi(self) -> dict[str, Any]:
        """The description of the interface: FastAPI's, and what only the operations know."""
        if self.openapi_schema is None:
            self.openapi_schema = completed(super().openapi(), self.operations, self._documents)
        return self.openapi_schema

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        started = time.perf_counter()
        request = scope[REQUEST] = Request(scope, receive)
        sending = Sending(
            send,
            lambda: self.is_stopping or request.leaves_much_unread,
            self._limits.answer_pause_seconds_max,
            self._also,
        )
        self._requests += 1
        try:
            await super().__call__(scope, receive, sending)
        finally:
            del scope[REQUEST]  # each holds the other, and would wait for the garbage collector
            self._release(request)
        if sending.is_complete:
            self._tell(request, sending.status, time.perf_counter() - started)

    async def _admit(self, request: Request, operation: Operation) -> None:
        """Let a request through to its operation. Raises a `Problem`."""
        is_about_health = operation.tag == "health"
        request.check_headers()
        if self._requests > self._limits.requests_max and not is_about_health:
            raise Problem(TOO_BUSY)
        await self._doorkeeper.admit(request, operation)
        self._count(request)
        if operation.query is None and request.scope["query_string"] and not is_about_health:
            raise Problem(INVALID_PARAMETER, detail="no parameter is known here")

    def _count(self, request: Request) -> None:
        principal = _principal_of(request)
        if principal is None:
            return
        if self._requests_of[principal.actor] >= self._limits.requests_of_key_max:
            raise Problem(TOO_MANY_REQUESTS)
        self._requests_of[principal.actor] += 1
        request.counted_for = principal.actor

    def _release(self, request: Request) -> None:
        self._requests -= 1
        actor = request.counted_for
        if actor is not None:
            self._requests_of[actor] -= 1
            if not self._requests_of[actor]:
                del self._requests_of[actor]

    @asynccontextmanager
    async def _live(self, _: FastAPI) -> AsyncIterator[None]:
        """From start to stop. What goes wrong is told to the log: the server would write its text there."""
        what = "the service cannot start"
        try:
            async with self._lifespan():
                what = "the service did not stop cleanly"
                yield
                self.begin_to_stop()
        except Exception:  # noqa: BLE001 - the server has to be told, whatever it is
            _LOG.exception(what)
            raise DidNotLive(what) from None

    def _tell(self, request: Request, status: int, seconds: float) -> None:
        operation = _operation_of(request.scope)
        name = operation.name if operation is not None else "none"
        self._metrics.requests.add((name, str(status)))
        self._metrics.request_seconds.observe(seconds, (name,))
        if _is_worth_a_log_entry(operation, request):
            _log(request, operation, status, seconds)


def _principal_of(request: Request) -> Principal | None:
    return getattr(request, "principal", None)


def _operation_of(scope: Scope) -> Operation | None:
    """The operation that has answered; None where the path, or its method, is none of ours."""
    route = scope.get("route")
    return route.operation if isinstance(route, OperationRoute) and scope["method"] in (route.methods or ()) else None


def _is_worth_a_log_entry(operation: Operation | None, request: Request) -> bool:
    """An accepted command stands in the log of events with its sender and ids; health is asked all the time."""
    if request.problem is not None or operation is None:
        return True
    return operation.method == "GET" and operation.tag in {"customers", "events", "reports"}


def _log(request: Request, operation: Operation | None, status: int, seconds: float) -> None:
    principal = _principal_of(request)
    _LOG.info(
        "answered",
        extra={
            "operation": operation.name if operation else None,
            "method": operation.method if operation else None,
            "status": status,
            "problem": request.problem,
            "milliseconds": round(seconds * 1000, 3),
            "actor": principal.actor if principal else None,
            "role": principal.role if principal else None,
        },
    )
