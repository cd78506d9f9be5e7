"""The HTTP server: uvicorn, with limits on what arrives before it is a request, and a stop that loses nothing."""

import asyncio
import gc
import http
import re
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httptools
import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.problems import (
    HEADERS_TOO_LARGE,
    MALFORMED_REQUEST,
    MEDIA_TYPE,
    TOO_BUSY,
    TRANSFER_CODING_UNKNOWN,
    Problem,
    ProblemType,
)
from api.service import Service

KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s after which usual proxies and clients give up an idle connection, so that they do it first."""
HEAD_SECONDS_MAX = 10.0
"""How long a request line and its headers may take to arrive."""
CONNECTIONS_MAX = 4_096
"""Open connections of one process; the next one is answered with 503 and closed."""
LEAVING_SECONDS = 2.0
"""How long open connections are still served when the process stops, each answer asking its sender to leave."""
OBJECTS_BEFORE_COLLECTION = 10_000
"""New objects until the garbage collector looks for cycles. A request holds some fifty while it waits for the log."""
_VERSIONS = frozenset({"1.0", "1.1"})
_HOST = re.compile(rb"(\[[0-9A-Za-z:._~%-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(:[0-9]*)?")
"""A host with its port (RFC 9110, section 7.2); empty where a target has none."""
_SWEEP_TICKS = 10
"""A tick of uvicorn is a tenth of a second."""


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What bounds connections."""

    header_bytes_max: int = 16_384
    drain_seconds_max: int = 30


class BoundedProtocol(HttpToolsProtocol):
    """One connection: its heads are bounded in length and in time, and framed in one way only (RFC 9112).

    We speak no other protocol, so `Upgrade` is ignored, as RFC 9110 (section 7.8) wants it. The parser would take for
    another protocol what comes after such a head, and that is the body: so it reads the head again without the header.
    """

    header_bytes_max = 16_384
    _head_bytes = 0
    _head_since: float | None = None
    _is_in_head = False
    _is_read_again = False
    """The message at hand asks for another protocol."""
    _unanswered = 0
    """Requests that have begun and are not answered yet."""
    _refusal: ProblemType | None = None
    """What ends the connection, once all before it is answered."""

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn narrows it, too
        super().connection_made(transport)
        self._head_since = self.loop.time()
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse(TOO_BUSY)

    @override
    def data_received(self, data: bytes) -> None:
        if self._refusal is not None:
            return
        if self._head_since is None and self._is_idle:
            self._head_since = self.loop.time()
        self._unset_keepalive_if_required()
        try:
            self._read(data)
        except httptools.HttpParserError:
            self._refuse(HEADERS_TOO_LARGE if self._head_bytes > self.header_bytes_max else MALFORMED_REQUEST)

    def _read(self, data: bytes) -> None:
        while data and self._refusal is None:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                head = self._head_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
                self.parser.feed_data(head)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        """The head at hand as it would have been without the header."""
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._is_in_head, self._is_read_again = True, False

    @override
    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._grow(len(url))

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow(len(name) + len(value))
        if self._is_in_head:  # what comes after the body is no header: nobody may claim anything there
            super().on_header(name, value)

    @override
    def on_headers_complete(self) -> None:
        self._head_since = None
        self._is_in_head = False
        self._check_framing(self.parser.get_http_version())
        if self.parser.should_upgrade():
            self._is_read_again = True
            return
        super().on_headers_complete()
        self._unanswered += 1

    @override
    def on_message_complete(self) -> None:
        if not self._is_read_again:
            super().on_message_complete()

    def _check_framing(self, version: str) -> None:
        """Raise `ValueError`, which the parser makes an error of its own, where others could read another message."""
        if version not in _VERSIONS or self.parser.get_method() == b"CONNECT":
            message = "this is no request that has headers and a body as we read them"
            raise ValueError(message)
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1") or not all(map(_HOST.fullmatch, hosts)):
            message = "a request names one host"
            raise ValueError(message)
        codings = b",".join(value for name, value in self.headers if name == b"transfer-encoding").lower()
        names = [each.strip() for each in codings.split(b",") if each.strip()]
        if names[-1:] == [b"chunked"] and {*names} != {b"chunked"}:
            self._refuse(TRANSFER_CODING_UNKNOWN)
        if names and (names != [b"chunked"] or version != "1.1"):
            message = "a body is cut into chunks once"
            raise ValueError(message)

    @override
    def on_response_complete(self) -> None:
        self._unanswered -= 1
        super().on_response_complete()
        if self._refusal is not None and not self._unanswered:
            self._write(self._refusal)

    @override
    def eof_received(self) -> bool:  # type: ignore[override] # asyncio asks whether the connection stays
        """Answer a request that is complete, though its sender will send nothing more."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        cycle.keep_alive = False
        return True

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything: what uvicorn keeps would wait for a timer, or for the garbage collector."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self.pipeline.clear()
        self.cycle = None  # type: ignore[assignment] # as before the first request

    def end_if_late(self, now: float) -> None:
        """End the connection if the head of a request takes too long."""
        if self._head_since is not None and now - self._head_since > HEAD_SECONDS_MAX:
            self.transport.close()

    @property
    def _is_idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _grow(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self.header_bytes_max:
            # The parser turns this into the answer above.
            message = "the head is too long"
            raise ValueError(message)

    def _refuse(self, kind: ProblemType) -> None:
        """End the connection with a problem, in its turn: the answers to what came before are still owed."""
        if self._refusal is not None:
            return
        self._refusal = kind
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.more_body and not cycle.response_complete:  # the fault is in its body
            if cycle.response_started:
                self.transport.close()
                return
            self._unanswered -= 1
            self._take_from_pipeline(cycle)
        if not self._unanswered:
            self._write(kind)

    def _take_from_pipeline(self, cycle: RequestResponseCycle) -> None:
        kept = [each for each in self.pipeline if each[0] is not cycle]
        self.pipeline.clear()
        self.pipeline.extend(kept)

    def _write(self, kind: ProblemType) -> None:
        """Answer without a request, and end the connection."""
        if self.transport.is_closing():
            return
        problem = Problem(kind)
        body = problem.json()
        headers = {
            "content-type": MEDIA_TYPE,
            "content-length": str(len(body)),
            "connection": "close",
            **problem.headers,
        }
        status_line = f"HTTP/1.1 {kind.status} {http.HTTPStatus(kind.status).phrase}"
        head = "\r\n".join([status_line, *(f"{name}: {value}" for name, value in headers.items())]).encode()
        self.transport.write(head + b"\r\n\r\n" + body)
        self.transport.close()


Beat = Callable[[], Coroutine[Any, Any, None]]


class Server(uvicorn.Server):
    """uvicorn, with an eye on slow heads, and with a stop in two steps.

    Told to stop, it accepts no more connections, and serves those that are open for a while longer; each answer ends
    its connection. So a client that sends at that moment gets its answer and goes elsewhere with the next request.
    """

    def __init__(self, config: uvicorn.Config, service: Service, on_started: Callable[[], None], beat: Beat) -> None:
        super().__init__(config)
        self._service = service
        self._on_started = on_started
        self._beat = beat
        self._beating: asyncio.Task[None] | None = None

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._beating = asyncio.create_task(self._beat(), name="heartbeat")  # until the event loop ends
            self._on_started()

    @override
    async def on_tick(self, counter: int) -> bool:
        if counter % _SWEEP_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.end_if_late(now)
        return await super().on_tick(counter)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self._service.begin_to_stop()
        loop = asyncio.get_running_loop()
        leave_until = loop.time() + LEAVING_SECONDS
        while self.server_state.connections and loop.time() < leave_until and not self.force_exit:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


async def _say_nothing() -> None:
    """Nobody asks whether the event loop turns."""


def make_server(
    service: Service,
    limits: ServerLimits,
    on_started: Callable[[], None] = lambda: None,
    beat: Beat = _say_nothing,
) -> Server:
    """A server for this service; `server.serve(sockets=[…])` runs it until a signal tells it to stop.

    `beat` runs beside the requests and says that the event loop turns.
    """
    protocol = type("Protocol", (BoundedProtocol,), {"header_bytes_max": limits.header_bytes_max})
    application: Any = service
    config = uvicorn.Config(
        application,
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=limits.drain_seconds_max,
    )
    return Server(config, service, on_started, beat)


def collect_rarely() -> None:
    """Keep the garbage collector from what is there already, and let it run rarely.

    Requests leave no cycles, and pages of the log hardly any. With the usual 700 objects every few dozen requests that
    wait would make it look through them, and at times through all that the process keeps, which takes a tenth of a
    second; a projector would spend a sixth of its time on that.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_BEFORE_COLLECTION, *gc.get_threshold()[1:])
