"""What malformed input gets: a problem that says so, at once, and nothing else happens."""

import asyncio
import gc
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.problems import Problem
from tests.api.running import Running, running, scope_of
from tests.fuzz.malformed import IS_FULL, malformed
from tests.serving import Serving, serving

HANG_SECONDS = 2.0
"""Longer than this no answer takes, however loaded the machine is: what hangs takes for ever."""
GROWTH_MEGABYTES_MAX = 64


def resident_megabytes(process: int | str = "self") -> float:
    gc.collect()
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def test_the_decoder_refuses_whatever_is_malformed() -> None:
    statuses: Counter[int] = Counter()
    slowest = 0.0
    before = None
    for number, (form, body) in enumerate(malformed(1_000_000 if IS_FULL else 10_000, seed=1)):
        if number == 1_000:
            before = resident_megabytes()
        started = time.perf_counter()
        with pytest.raises(Problem) as refused:
            form.decode(body)
        slowest = max(slowest, time.perf_counter() - started)
        statuses[refused.value.kind.status] += 1
    assert set(statuses) == {400, 422}
    assert slowest < HANG_SECONDS
    assert before is not None
    assert resident_megabytes() - before < GROWTH_MEGABYTES_MAX
    print(f"decoder: {dict(statuses)}, slowest {slowest * 1000:.1f} ms")


def test_the_application_answers_every_malformed_request_with_a_problem_and_writes_nothing() -> None:
    asyncio.run(_answer_malformed_requests())


async def _answer_malformed_requests() -> None:
    statuses: Counter[int] = Counter()
    slowest = 0.0
    async with running() as service:
        before = resident_megabytes()
        for number, (form, body) in enumerate(malformed(100_000 if IS_FULL else 2_000, seed=2)):
            name, aggregate = form.definition.name, form.definition.aggregate.collection
            path = f"/v1/{aggregate}" if form.definition.creates else f"/v1/{aggregate}/number:C-1001/{name}"
            if name == "post-invoice":
                path = f"/v1/{aggregate}/{name}"
            started = time.perf_counter()
            statuses[await _status(service, path, body, number)] += 1
            slowest = max(slowest, time.perf_counter() - started)
        assert await service.log.head() == 0
        assert resident_megabytes() - before < GROWTH_MEGABYTES_MAX
    assert set(statuses) <= {400, 413, 422}
    assert statuses[400]
    assert statuses[422]
    assert slowest < HANG_SECONDS
    print(f"application: {dict(statuses)}, slowest {slowest * 1000:.1f} ms")


async def _status(service: Running, path: str, body: bytes, number: int) -> int:
    scope = scope_of(service, "POST", path, idempotency_key=f"fuzz-{number}", content_type="application/json")
    scope["headers"].append((b"content-length", b"%d" % len(body)))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(service.service(scope, receive, send), 60)
    status: int = sent[0]["status"]
    return status


@pytest.fixture(scope="module")
def service() -> Iterator[Serving]:
    with serving() as started:
        yield started


def test_raw_connections_get_an_answer_or_an_end_and_write_nothing(service: Serving) -> None:
    dice = random.Random(3)  # noqa: S311 - the same in every run
    port = int(service.address.rpartition(":")[2])
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    waiting: list[socket.socket] = []
    for _ in range(10_000 if IS_FULL else 400):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        kind, data = dice.choice(list(_ATTACKS.items()))
        if kind.startswith("slow"):
            connection.sendall(data)
            waiting.append(connection)  # left open, so that many wait at once
            outcomes[kind] += 1
            if len(waiting) > 200:
                waiting.pop(0).close()
            continue
        started = time.perf_counter()
        with connection:
            answer = _answer(connection, data)
        slowest = max(slowest, time.perf_counter() - started)
        outcomes[f"{kind}: {answer}"] += 1
    for connection in waiting:
        connection.close()
    assert slowest < HANG_SECONDS
    wrong = [outcome for outcome in outcomes if ": 2" in outcome or ": 5" in outcome]
    assert not wrong, outcomes
    head = service.client("auditor").get("/v1/events", params={"limit": 1}).json()
    assert head["events"] == []
    print("sockets:", *sorted(outcomes.items()), f"slowest {slowest * 1000:.1f} ms", sep="\n  ")


def _answer(connection: socket.socket, data: bytes) -> str:
    """The status of the first answer, or that the connection was ended without one."""
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = connection.recv(4_096)
    except TimeoutError:
        raise
    except OSError:  # the server has ended the connection, before or after our last byte
        return "ended"
    return received[9:12].decode() if received.startswith(b"HTTP/1.1 ") else "ended"


def _post(*headers: bytes, body: bytes = b"") -> bytes:
    head = (b"POST /v1/customers HTTP/1.1", b"Host: x", b"Authorization: Bearer none", b"Idempotency-Key: k", *headers)
    return b"\r\n".join(head) + b"\r\n\r\n" + body


_ATTACKS = {
    "garbage": bytes(range(256)) * 4,
    "empty lines": b"\r\n" * 1_000,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
    "two lengths": _post(b"Content-Length: 2", b"Content-Length: 20", body=b"{}"),
    "length and chunks": _post(
        b"Content-Length: 2", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nGET / HTTP/1.1\r\n"
    ),
    "negative length": _post(b"Content-Length: -1"),
    "length in words": _post(b"Content-Length: many"),
    "huge length": _post(b"Content-Length: 99999999999999999999"),
    "chunk without length": _post(b"Transfer-Encoding: chunked", body=b"\r\n{}\r\n"),
    "chunk of a wrong length": _post(b"Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
    "endless chunk length": _post(b"Transfer-Encoding: chunked", body=b"f" * 10_000),
    "unknown coding": _post(b"Transfer-Encoding: gzip, identity", body=b"{}"),
    "header without a name": _post(b": x"),
    "header with a line break": _post(b"X: a\r\n\tb: c"),
    "oversized header": _post(b"X: " + b"a" * 100_000),
    "many headers": _post(*(b"X-%d: a" % i for i in range(5_000))),
    "oversized path": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown version": b"GET /v1/reports HTTP/9.9\r\nHost: x\r\n\r\n",
    "unknown method": b"BREW /v1/reports HTTP/1.1\r\nHost: x\r\n\r\n",
    "half a body": _post(b"Content-Type: application/json", b"Content-Length: 500", body=b'{"customer'),
    "slow head": b"POST /v1/customers HTT",
    "slow body": _post(b"Content-Type: application/json", b"Content-Length: 500", body=b"{"),
}
