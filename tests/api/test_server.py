"""The server over real sockets: what is no HTTP, what is too long or too slow, and a stop that loses nothing."""

import asyncio
import contextlib
import gc
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from api.app import create_app
from api.server import (
    HEAD_SECONDS_MAX,
    OBJECTS_BEFORE_COLLECTION,
    BoundedProtocol,
    Server,
    ServerLimits,
    collect_rarely,
    make_server,
)
from api.service import Service
from application.commands import Role
from tests.api.bodies import ACME
from tests.api.running import SECRETS, Clock, ports_on
from tests.asynchronous import asynchronous, until
from tests.in_memory import InMemoryLog

KEY = f"Authorization: Bearer {SECRETS[Role.SERVICE]}\r\n"
GET = f"GET /v1/events HTTP/1.1\r\nHost: x\r\n{KEY}\r\n".encode()


def post(body: bytes, *headers: str, path: str = "/v1/customers", key: str = "1") -> bytes:
    """A command as it stands on the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", KEY.strip(), f"Idempotency-Key: {key}", *headers]
    if not any(line.startswith(("Content-Length", "Transfer-Encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    if not any(line.startswith("Content-Type") for line in headers):
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + body


REGISTER = json.dumps(ACME).encode()


@dataclass
class Listening:
    """A server that listens."""

    server: Server
    service: Service
    log: InMemoryLog
    port: int

    async def connections(self, number: int) -> list[BoundedProtocol]:
        """The server's ends of so many connections, as soon as they are there."""
        found = self.server.server_state.connections

        async def are_there() -> bool:
            return len(found) == number

        await until(are_there)
        return [each for each in found if isinstance(each, BoundedProtocol)]

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()

    async def say(self, *pieces: bytes) -> bytes:
        """Send something, and nothing more; everything that is answered until the connection ends."""
        async with self.connected() as (reader, writer):
            # The server may end the connection before it has been told everything.
            with contextlib.suppress(OSError):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                writer.write_eof()
            return await rest(reader)


@contextlib.asynccontextmanager
async def listening(limits: ServerLimits | None = None) -> AsyncIterator[Listening]:
    """Let the service listen on a free port."""
    log, clock = InMemoryLog(Clock()), Clock()
    service = create_app(ports_on(log, clock))
    listener = socket.create_server(("127.0.0.1", 0))
    started = asyncio.Event()
    server = make_server(service, limits or ServerLimits(), started.set)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await started.wait()
    try:
        yield Listening(server, service, log, listener.getsockname()[1])
    finally:
        server.should_exit = True
        await serving
        listener.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Everything that still comes until the connection ends."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], Any]:
    """One answer of a connection: status, headers and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    body = await reader.readexactly(int(headers["content-length"]))
    return int(head[0].split()[1]), headers, json.loads(body)


def status(answered: bytes) -> int:
    """The status of the first answer."""
    return int(answered.split()[1])


@asynchronous
async def test_a_command_is_answered_over_a_connection_that_stays() -> None:
    async with listening() as server, server.connected() as (reader, writer):
        for number in range(3):
            writer.write(post(REGISTER, key="once"))
            found, headers, body = await answer(reader)
            assert (found, body["position"]) == (201 if number == 0 else 200, 1)
            assert "connection" not in headers


@asynchronous
async def test_requests_that_are_sent_ahead_are_answered_in_their_order() -> None:
    async with listening() as server, server.connected() as (reader, writer):
        writer.write(post(REGISTER, key="a") + GET + post(REGISTER, key="b") + GET)
        assert [(await answer(reader))[0] for _ in range(4)] == [201, 200, 409, 200]


@asynchronous
async def test_head_is_answered_without_a_body() -> None:
    async with listening() as server, server.connected() as (reader, writer):
        writer.write(b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 ")
        assert b"content-length: 14\r\n" in head
        assert (await answer(reader))[0] == 200


NO_HTTP = {
    "noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no-version": b"GET /livez\r\n\r\n",
    "no-host": b"GET http:// HTTP/1.1\r\n\r\n",
    "space-before-colon": b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n",
    "folded-header": b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "line-feeds-in-a-header": b"GET /livez HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
    "negative-length": post(b"{}", "Content-Length: -1"),
    "two-lengths": post(b"{}", "Content-Length: 2", "Content-Length: 3"),
    "length-and-chunks": post(b"0\r\n\r\n", "Content-Length: 5", "Transfer-Encoding: chunked"),
    "chunks-not-last": post(b"0\r\n\r\n", "Transfer-Encoding: chunked, identity"),
    "chunk-of-nonsense": post(b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    "path-with-a-space": b"GET /live z HTTP/1.1\r\nHost: x\r\n\r\n",
    "method-of-nonsense": b"FETCH /livez HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP)
@asynchronous
async def test_what_is_no_http_is_refused_and_records_nothing(sent: bytes) -> None:
    async with listening() as server:
        answered = await server.say(sent)
        assert status(answered) in {400, 501}
        assert b"application/problem+json" in answered
        assert server.log.recorded == []


SMUGGLED = post(REGISTER, key="smuggled")


@pytest.mark.parametrize(
    "sent",
    [
        post(b"0\r\n\r\n" + SMUGGLED, f"Content-Length: {5 + len(SMUGGLED)}", "Transfer-Encoding: chunked"),
        post(b"0\r\n\r\n" + SMUGGLED, "Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        post(b"0\r\n\r\n" + SMUGGLED, "Transfer-Encoding: xchunked"),
        post(b"0\r\n\r\n" + SMUGGLED, "Transfer-Encoding : chunked"),
        post(SMUGGLED, f"Content-Length: {len(SMUGGLED)}", "Content-Length: 0"),
    ],
    ids=["length-and-chunked", "two-encodings", "unknown-encoding", "space", "two-lengths"],
)
@asynchronous
async def test_a_request_cannot_be_smuggled_in_the_body_of_another(sent: bytes) -> None:
    async with listening() as server:
        await server.say(sent)
        assert server.log.recorded == []


@asynchronous
async def test_a_head_that_is_too_long_is_refused() -> None:
    async with listening(ServerLimits(header_bytes_max=2_000)) as server:
        for head in (
            b"GET /livez HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 3_000 + b"\r\n\r\n",
            b"GET /livez HTTP/1.1\r\n" + b"A: b\r\n" * 1_000 + b"\r\n",
            b"GET /" + b"x" * 3_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            answered = await server.say(head)
            assert status(answered) == 431
            assert b"headers-too-large" in answered


@asynchronous
async def test_a_head_that_never_ends_is_not_kept() -> None:
    async with listening(ServerLimits(header_bytes_max=2_000)) as server:
        answered = await server.say(b"GET /livez HTTP/1.1\r\n", *[b"A: b\r\n"] * 2_000)
    assert answered == b"" or status(answered) == 431


@asynchronous
async def test_a_head_that_takes_too_long_ends_the_connection() -> None:
    async with listening() as server, server.connected() as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\n")
        (connection,) = await server.connections(1)
        connection.end_if_late(asyncio.get_running_loop().time() + HEAD_SECONDS_MAX / 2)
        writer.write(b"Host: x\r\n")
        connection.end_if_late(asyncio.get_running_loop().time() + HEAD_SECONDS_MAX + 1)
        assert await rest(reader) == b""


@asynchronous
async def test_a_connection_that_rests_between_requests_is_left_alone() -> None:
    async with listening() as server, server.connected() as (reader, writer):
        writer.write(GET)
        await answer(reader)
        (connection,) = await server.connections(1)
        connection.end_if_late(asyncio.get_running_loop().time() + 10 * HEAD_SECONDS_MAX)
        writer.write(GET)
        assert (await answer(reader))[0] == 200


@asynchronous
async def test_a_body_in_chunks_is_taken() -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (REGISTER[:10], REGISTER[10:]))
    async with listening() as server:
        answered = await server.say(post(chunks + b"0\r\n\r\n", "Transfer-Encoding: chunked"))
    assert status(answered) == 201


@asynchronous
async def test_who_asks_whether_to_go_on_is_told_to() -> None:
    async with listening() as server, server.connected() as (reader, writer):
        writer.write(post(b"", "Expect: 100-continue", f"Content-Length: {len(REGISTER)}"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(REGISTER)
        assert (await answer(reader))[0] == 201


@asynchronous
async def test_a_large_body_that_is_not_wanted_ends_its_connection() -> None:
    async with listening() as server, server.connected() as (reader, writer):
        writer.write(post(b"", "Content-Length: 9999999"))
        found, headers, _ = await answer(reader)
        assert (found, headers["connection"]) == (413, "close")
        assert await rest(reader) == b""


@asynchronous
async def test_half_a_request_records_nothing() -> None:
    async with listening() as server:
        whole = post(REGISTER)
        for length in (10, len(whole) - len(REGISTER), len(whole) - 1):
            async with server.connected() as (_, writer):
                writer.write(whole[:length])
                await writer.drain()
        async with server.connected() as (reader, writer):
            writer.write(GET)
            await answer(reader)
        assert server.log.recorded == []


@asynchronous
async def test_an_upgrade_is_not_followed() -> None:
    upgrade = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with listening() as server:
        assert status(await server.say(upgrade)) in {200, 400}


@asynchronous
async def test_more_connections_than_a_process_holds_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.server.CONNECTIONS_MAX", 1)
    async with listening() as server, server.connected():
        await server.connections(1)
        answered = await server.say(GET)
    assert answered == b"" or (status(answered) == 503 and b"too-busy" in answered)


@asynchronous
async def test_when_it_stops_it_answers_what_was_asked_and_asks_everybody_to_leave() -> None:
    async with listening() as server, server.connected() as (reader, writer), server.connected() as (waiter, waiting):
        writer.write(GET)
        await answer(reader)
        waiting.write(GET.replace(b"/v1/events", b"/v1/events?wait=30s"))

        async def waits() -> bool:
            return server.service.requests_under_way == 1

        await until(waits)
        server.server.should_exit = True
        found, headers, _ = await answer(waiter)
        assert (found, headers["connection"]) == (200, "close")
        writer.write(post(REGISTER))
        found, headers, _ = await answer(reader)
        assert (found, headers["connection"]) == (201, "close")
        assert await rest(reader) == b""
    assert len(server.log.recorded) == 1


@pytest.mark.usefixtures("collector")
@asynchronous
async def test_requests_leave_nothing_to_the_garbage_collector() -> None:
    async with listening() as server, server.connected() as (reader, writer):
        for is_watched in (False, True):
            collect_rarely()
            gc.disable()
            writer.write((post(REGISTER) + GET + post(REGISTER, key="2") + post(b"{")) * 20)
            assert {(await answer(reader))[0] for _ in range(80)} >= {200, 409, 400}
            assert gc.collect() == 0 or not is_watched


@asynchronous
async def test_a_connection_that_ends_takes_along_the_requests_that_were_waiting() -> None:
    async with listening() as server, server.connected() as (_, writer):
        writer.write(GET.replace(b"/v1/events", b"/v1/events?wait=30s") + GET * 100)
        (connection,) = await server.connections(1)

        async def all_have_come() -> bool:
            return len(connection.pipeline) == 100

        await until(all_have_come)
        connection.transport.abort()
        await server.connections(0)
        assert len(connection.pipeline) == 0
        assert [vars(connection)[name] for name in ("cycle", "parser", "timeout_keep_alive_task")] == [None] * 3


@pytest.mark.usefixtures("collector")
def test_the_garbage_collector_leaves_alone_what_was_made_at_the_start() -> None:
    collect_rarely()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == OBJECTS_BEFORE_COLLECTION
