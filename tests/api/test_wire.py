"""Bytes on a socket: whatever is sent, and in whichever pieces, is one request to everybody, and gets one answer.

What another server on the way takes for a body is never taken for a request here (RFC 9112, section 11.2).
"""

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.api.bodies import ACME
from tests.api.test_server import GET, KEY, REGISTER, Listening, answer, listening, post, rest
from tests.asynchronous import asynchronous

HIDDEN = post(REGISTER, key="hidden")
UPGRADES = {
    "h2c": ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
    "websocket": ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
    "unknown": ("connection: keep-alive, upgrade", "upgrade: TLS/1.0, foo/2"),
    "twice": ("Connection: upgrade", "Connection: keep-alive", "Upgrade: a", "Upgrade: b"),
}
each_upgrade = pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
SMALL = json.dumps({"reason": "x"}).encode()


def chunked(body: bytes, *trailers: str) -> bytes:
    """A body in two chunks, and what stands behind it."""
    half = len(body) // 2
    parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:])]
    return b"".join(parts) + b"0\r\n" + "".join(f"{each}\r\n" for each in trailers).encode() + b"\r\n"


def pieces(sent: bytes, *lengths: int) -> list[bytes]:
    """The bytes cut into segments of these lengths, and the rest."""
    found = []
    for length in lengths:
        found.append(sent[:length])
        sent = sent[length:]
    return [*found, sent]


async def say(server: Listening, *segments: bytes) -> list[int]:
    """Send segments one by one, each after the server has had the one before; the statuses of all answers."""
    async with server.connected() as (reader, writer):
        answered = asyncio.create_task(rest(reader))
        for segment in segments:
            if not answered.done():  # whoever writes to a connection that has ended loses what was answered
                writer.write(segment)
                await asyncio.sleep(0.01)
        with contextlib.suppress(OSError):
            writer.write_eof()
        return statuses(await answered)


def statuses(answered: bytes) -> list[int]:
    """The statuses of all answers, without those that are only on the way."""
    return [int(each) for each in re.findall(rb"HTTP/1\.1 ([2-5]\d\d) ", answered)]


# An upgrade that is ignored changes nothing


@each_upgrade
@pytest.mark.parametrize("after_head", [0, 1, 5, -1])
@asynchronous
async def test_a_request_that_asks_for_another_protocol_is_answered_as_any_other(
    upgrade: tuple[str, ...], after_head: int
) -> None:
    sent = post(REGISTER, *upgrade)
    head = len(sent) - len(REGISTER)
    segments = [sent] if after_head < 0 else pieces(sent, head + after_head)
    async with listening() as server:
        assert await say(server, *segments) == [201]
        assert [each.type for each in server.log.recorded] == ["customer.registered"]


@each_upgrade
@asynchronous
async def test_a_body_behind_an_upgrade_is_no_request(upgrade: tuple[str, ...]) -> None:
    sent = post(HIDDEN, *upgrade, "Content-Type: application/json")
    head = len(sent) - len(HIDDEN)
    async with listening() as server:
        for segments in ([sent], pieces(sent, head), pieces(sent, head - 3, 3), pieces(sent, head, 7, 20)):
            assert await say(server, *segments) == [400]
        assert server.log.recorded == []


@each_upgrade
@asynchronous
async def test_chunks_behind_an_upgrade_are_one_body(upgrade: tuple[str, ...]) -> None:
    sent = post(chunked(REGISTER), *upgrade, "Transfer-Encoding: chunked")
    hidden = post(chunked(HIDDEN), *upgrade, "Transfer-Encoding: chunked")
    async with listening() as server:
        assert await say(server, *pieces(sent, sent.index(b"\r\n\r\n") + 4, 3, 4)) == [201]
        assert await say(server, *pieces(hidden, hidden.index(b"\r\n\r\n") + 4, 3, 4)) == [400]
        assert len(server.log.recorded) == 1


@each_upgrade
@asynchronous
async def test_what_is_sent_ahead_behind_an_upgrade_is_answered_too(upgrade: tuple[str, ...]) -> None:
    asks = GET.replace(b"\r\n\r\n", "\r\n".join(["", *upgrade, "", ""]).encode())
    sent = asks + post(REGISTER, *upgrade, key="a") + asks + post(b"{", *upgrade, key="b") + GET
    async with listening() as server:
        for segments in ([sent], pieces(sent, 30, 100, 300), [bytes([each]) for each in sent[:40]] + [sent[40:]]):
            assert await say(server, *segments) in ([200, 201, 200, 400, 200], [200, 200, 200, 400, 200])
        assert len(server.log.recorded) == 1


@each_upgrade
@asynchronous
async def test_a_head_with_an_upgrade_is_read_byte_by_byte(upgrade: tuple[str, ...]) -> None:
    sent = post(REGISTER, *upgrade)
    async with listening() as server, server.connected() as (reader, writer):
        for each in sent:
            writer.write(bytes([each]))
            await asyncio.sleep(0)
        assert (await answer(reader))[0] == 201


@asynchronous
async def test_a_command_is_the_same_with_an_upgrade_and_without() -> None:
    async with listening() as server, server.connected() as (reader, writer):
        writer.write(post(REGISTER, key="once") + post(REGISTER, *UPGRADES["h2c"], key="once"))
        first, again = await answer(reader), await answer(reader)
        assert (first[0], again[0], again[2]) == (201, 200, first[2] | {"replayed": True})


@each_upgrade
@asynchronous
async def test_who_waits_to_be_asked_for_the_body_is_asked_once(upgrade: tuple[str, ...]) -> None:
    sent = post(REGISTER, *upgrade, "Expect: 100-continue")
    async with listening() as server, server.connected() as (reader, writer):
        writer.write(sent[: -len(REGISTER)])
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(REGISTER)
        assert (await answer(reader))[0] == 201


# What stands behind a body is no header

TRAILERS = {
    "authorization": (KEY.strip(),),
    "key": ("Idempotency-Key: other",),
    "type": ("Content-Type: application/json",),
    "length": ("Content-Length: 100",),
    "coding": ("Transfer-Encoding: chunked",),
    "host": ("Host: elsewhere",),
    "version": ('If-Match: "7"',),
    "upgrade": ("Connection: Upgrade", "Upgrade: h2c"),
    "expectation": ("Expect: 100-continue",),
    "all": (KEY.strip(), "Idempotency-Key: other", 'If-Match: "7"', "Host: elsewhere", "On-Behalf-Of: grace"),
}


@pytest.mark.parametrize("trailers", TRAILERS.values(), ids=TRAILERS)
@asynchronous
async def test_a_trailer_says_nothing(trailers: tuple[str, ...]) -> None:
    sent = post(chunked(REGISTER, *trailers), "Transfer-Encoding: chunked")
    async with listening() as server:
        found = await say(server, sent + GET)
        assert found in ([201, 200], [400])  # a parser may refuse what frames messages behind a body
        if found == [400]:
            assert {each.split(":")[0] for each in trailers} <= {"Content-Length", "Transfer-Encoding"}
        again = await say(server, *pieces(sent, len(sent) - 12))
        assert again in ([200], [400])
        assert len(server.log.recorded) <= 1


@asynchronous
async def test_nobody_says_who_he_is_behind_the_body() -> None:
    bare = post(chunked(REGISTER, KEY.strip()), "Transfer-Encoding: chunked").replace(KEY.encode(), b"", 1)
    unnamed = post(chunked(REGISTER, "Idempotency-Key: 1"), "Transfer-Encoding: chunked").replace(
        b"Idempotency-Key: 1\r\n", b"", 1
    )
    async with listening() as server:
        assert await say(server, bare) == [401]
        assert await say(server, unnamed) == [400]
        assert server.log.recorded == []


@asynchronous
async def test_trailers_are_bounded_as_headers_are() -> None:
    long = [f"A-{number}: {'x' * 1_000}" for number in range(40)]
    async with listening() as server:
        assert await say(server, post(chunked(REGISTER, *long), "Transfer-Encoding: chunked")) == [431]
        assert server.log.recorded == []


# One host


def livez(*headers: str, version: str = "1.1", target: str = "/livez") -> bytes:
    """A request that needs no key."""
    return "\r\n".join([f"GET {target} HTTP/{version}", *headers, "", ""]).encode()


HOSTS = {
    "none": (livez(), 400),
    "none-in-1.0": (livez(version="1.0"), 200),
    "one-in-1.0": (livez("Host: x", version="1.0"), 200),
    "two-in-1.0": (livez("Host: x", "Host: y", version="1.0"), 400),
    "two": (livez("Host: x", "Host: y"), 400),
    "two-alike": (livez("Host: x", "host: x"), 400),
    "empty": (livez("Host:"), 200),
    "port": (livez("Host: rapport.example:8000"), 200),
    "ipv6": (livez("Host: [::1]:8000"), 200),
    "list": (livez("Host: x, y"), 400),
    "path": (livez("Host: x/y"), 400),
    "user": (livez("Host: ada@x"), 400),
    "space": (livez("Host: x y"), 400),
    "absolute": (livez("Host: x", target="http://y/livez"), 200),
    "absolute-without": (livez(target="http://x/livez"), 400),
    "absolute-in-1.0": (livez(version="1.0", target="http://x/livez"), 200),
    "authority": (b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", 400),
    "http-2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "http-0.9": (b"GET /livez\r\n\r\n", 400),
    "http-1.2": (livez("Host: x", version="1.2"), 400),
}


@pytest.mark.parametrize(("sent", "status"), HOSTS.values(), ids=HOSTS)
@asynchronous
async def test_a_request_names_one_host(sent: bytes, status: int) -> None:
    async with listening() as server:
        assert await say(server, sent) == [status]
        assert await say(server, *pieces(sent, 3, 10)) == [status]


# One length

FRAMES = {
    "gzip": (("Transfer-Encoding: gzip",), 400),
    "gzip-chunked": (("Transfer-Encoding: gzip, chunked",), 501),
    "gzip-and-chunked": (("Transfer-Encoding: gzip", "Transfer-Encoding: chunked"), 501),
    "chunked-gzip": (("Transfer-Encoding: chunked, gzip",), 400),
    "xchunked": (("Transfer-Encoding: xchunked",), 400),
    "quoted": (('Transfer-Encoding: "chunked"',), 400),
    "parameter": (("Transfer-Encoding: chunked;a=b",), 400),
    "identity": (("Transfer-Encoding: identity",), 400),
    "chunked-twice": (("Transfer-Encoding: chunked, chunked",), 400),
    "chunked-in-two-lines": (("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 400),
    "and-length": (("Transfer-Encoding: chunked", "Content-Length: 5"), 400),
    "length-and": (("Content-Length: 5", "Transfer-Encoding: chunked"), 400),
    "gzip-and-length": (("Content-Length: 5", "Transfer-Encoding: gzip"), 400),
    "two-lengths": (("Content-Length: 5", "Content-Length: 6"), 400),
    "one-length-twice": (("Content-Length: 5", "Content-Length: 5"), 400),
    "length-list": (("Content-Length: 5, 5",), 400),
    "length-sign": (("Content-Length: +5",), 400),
    "length-hexadecimal": (("Content-Length: 0x5",), 400),
    "length-space": (("Content-Length: 5 5",), 400),
    "folded": (("Transfer-Encoding:\r\n chunked",), 400),
    "folded-tab": (("X-A: b\r\n\tTransfer-Encoding: chunked",), 400),
    "space-before-colon": (("Transfer-Encoding : chunked",), 400),
    "vertical-tab": (("Transfer-Encoding: \x0bchunked",), 400),
    "nothing-in-a-name": ((": x",), 400),
    "bare-carriage-return": (("A: b\rTransfer-Encoding: chunked",), 400),
    "zero-byte": (("A: b\0",), 400),
}


@pytest.mark.parametrize(("headers", "wanted"), FRAMES.values(), ids=FRAMES)
@pytest.mark.parametrize("upgrade", [(), UPGRADES["h2c"]], ids=["", "upgrade"])
@asynchronous
async def test_a_body_ends_in_one_place(headers: tuple[str, ...], wanted: Any, upgrade: tuple[str, ...]) -> None:
    frame = headers if any("ength" in each or "oding" in each for each in headers) else (*headers, "Content-Length: 5")
    head = "\r\n".join(
        ["POST /v1/customers HTTP/1.1", "Host: x", KEY.strip(), "Idempotency-Key: 1", *upgrade, *frame, "", ""]
    )
    async with listening() as server:
        for sent in (head.encode("latin-1") + b"0\r\n\r\n" + HIDDEN, head.encode("latin-1") + HIDDEN):
            found = await say(server, sent)
            assert len(found) == 1
            assert found[0] in (wanted if isinstance(wanted, tuple) else (wanted,))
            assert await say(server, *pieces(sent, 40, len(head) - 40)) == found
        assert server.log.recorded == []


CHUNKS = {
    "nonsense": b"zz\r\n{}\r\n0\r\n\r\n",
    "negative": b"-2\r\n{}\r\n0\r\n\r\n",
    "huge": b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "longer": b"2\r\n{}{}\r\n0\r\n\r\n",
    "line-feed": b"2\n{}\n0\n\n",
    "space": b"2 \r\n{}\r\n0\r\n\r\n",
    "folded-trailer": b"2\r\n{}\r\n0\r\nA: b\r\n c\r\n\r\n",
}


@pytest.mark.parametrize("body", CHUNKS.values(), ids=CHUNKS)
@asynchronous
async def test_a_chunk_that_is_none_ends_the_connection(body: bytes) -> None:
    async with listening() as server:
        assert len(await say(server, post(body, "Transfer-Encoding: chunked") + HIDDEN)) == 1
        assert server.log.recorded == []


@asynchronous
async def test_chunks_may_have_extensions_and_an_unknown_length_is_no_end() -> None:
    body = b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(REGISTER), REGISTER)
    async with listening() as server:
        assert await say(server, post(body, "Transfer-Encoding: chunked")) == [201]
        old = b"POST /v1/customers HTTP/1.0\r\n" + KEY.encode() + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        assert await say(server, old + HIDDEN) == [400]


# Answers come in their order


@asynchronous
async def test_what_is_no_request_is_refused_after_what_came_before_is_answered() -> None:
    slow = GET.replace(b"/v1/events", b"/v1/events?wait=1s")
    for noise, refused in ((b"\0\0\0\r\n\r\n", 400), (post(b"", "Transfer-Encoding: gzip, chunked"), 501)):
        async with listening() as server:
            assert await say(server, post(REGISTER) + noise + HIDDEN) == [201, refused]
            assert await say(server, slow + GET, noise, HIDDEN) == [200, 200, refused]
            assert len(server.log.recorded) == 1


@asynchronous
async def test_a_body_that_breaks_off_in_a_request_that_waits_is_refused_in_its_turn() -> None:
    slow = GET.replace(b"/v1/events", b"/v1/events?wait=1s")
    broken = post(b"zz\r\n", "Transfer-Encoding: chunked")
    async with listening() as server:
        assert await say(server, slow + broken) == [200, 400]
        assert server.log.recorded == []


# Real clients

CLIENT = """
import java.net.URI;
import java.net.http.*;

public class Client {
    public static void main(String[] given) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int number = 0; number < 3; number++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(given[0]))
                .header("Content-Type", "application/json")
                .header("Authorization", given[1]).header("Idempotency-Key", "java")
                .POST(HttpRequest.BodyPublishers.ofString(given[2])).build();
            System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
        }
    }
}
"""


async def run(*command: str) -> str:
    """What a program prints."""
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("java") is None, reason="there is no java here")
@asynchronous
async def test_the_client_of_java_is_served(tmp_path: Path) -> None:
    source = tmp_path / "Client.java"
    source.write_text(CLIENT, "utf-8")
    async with listening() as server:
        url = f"http://127.0.0.1:{server.port}/v1/customers"
        printed = await run("java", str(source), url, KEY.strip().partition(": ")[2], json.dumps(ACME))
    assert printed.split() == ["201", "200", "200"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize("option", ["--http2", "--http1.1", "--http1.0"])
@asynchronous
async def test_curl_is_served_whichever_version_it_asks_for(option: str) -> None:
    async with listening() as server:
        url = f"http://127.0.0.1:{server.port}/v1/customers"
        headers = [KEY.strip(), "Idempotency-Key: curl", "Content-Type: application/json"]
        options = [part for header in headers for part in ("-H", header)]
        written = ["-s", "-o", "-", "-w", "%{stderr}%{http_code}", "--data", json.dumps(ACME)]
        command = ["curl", option, *written, *options, url]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "201")
