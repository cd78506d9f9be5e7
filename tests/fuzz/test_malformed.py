"""What malformed input gets: a problem that says so, at once, and nothing else happens."""

import asyncio
import gc
import json
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from api.problems import Problem
from application.commands import Role
from tests.api.running import Running, resolved, running, scope_of
from tests.fuzz.attacks import Attacks
from tests.fuzz.malformed import IS_FULL, in_line, malformed, questions
from tests.interface.world import operations
from tests.serving import Serving, serving

HANG_SECONDS = 2.0
"""Longer than this no answer takes, however loaded the machine is: what hangs takes for ever."""
GROWTH_MEGABYTES_MAX = 16
"""Of memory, in the second half of a run: by then all is made that is made once, and buffers are at their largest."""


def resident_megabytes(process: int | str = "self") -> float:
    gc.collect()
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def test_the_decoder_refuses_whatever_is_malformed() -> None:
    count = 1_000_000 if IS_FULL else 10_000
    statuses: Counter[int] = Counter()
    slowest = before = 0.0
    for number, (form, body) in enumerate(malformed(count, seed=1)):
        if number == count // 2:
            before = resident_megabytes()
        started = time.perf_counter()
        with pytest.raises(Problem) as refused:
            form.decode(body)
        slowest = max(slowest, time.perf_counter() - started)
        statuses[refused.value.kind.status] += 1
    grown = resident_megabytes() - before
    assert set(statuses) == {400, 422}
    assert slowest < HANG_SECONDS
    assert grown < GROWTH_MEGABYTES_MAX
    print(f"decoder: {dict(statuses)}, slowest {slowest * 1000:.1f} ms, grown by {grown:.1f} MB")


# Through the application


def test_the_application_answers_every_malformed_request_with_a_problem_and_writes_nothing() -> None:
    asyncio.run(_answer_malformed_requests(100_000 if IS_FULL else 2_000))


async def _answer_malformed_requests(count: int) -> None:
    statuses: Counter[str] = Counter()
    slowest = before = 0.0
    async with running() as service:
        for number, request in enumerate(_requests(count)):
            if number == count // 2:
                before = resident_megabytes()
            started = time.perf_counter()
            status, answered = await _ask(service, request)
            slowest = max(slowest, time.perf_counter() - started)
            statuses[f"{request.kind} {status}"] += 1
            if request.kind == "bulk":
                statuses.update(f"line {each['status']}" for each in map(json.loads, answered.splitlines()[:-1]))
        grown = resident_megabytes() - before
        assert await service.log.head() == 0
    answers = {"question": (200, 400, 404, 422, 503), "body": (400, 413, 422), "bulk": (200,), "line": (400, 413, 422)}
    assert set(statuses) <= {f"{kind} {status}" for kind, expected in answers.items() for status in expected}
    assert slowest < HANG_SECONDS
    assert grown < GROWTH_MEGABYTES_MAX
    print(f"application: {dict(statuses)}, slowest {slowest * 1000:.1f} ms, grown by {grown:.1f} MB")


class Request(NamedTuple):
    """What is sent."""

    kind: str
    method: str
    path: str
    query: bytes = b""
    body: bytes = b""


def _requests(count: int) -> Iterator[Request]:
    """Of ten requests seven are commands, one is a bulk of ten lines, and two are questions."""
    asked = {
        each.path: [parameter["name"] for parameter in map(resolved, each.described.get("parameters", ()))]
        for each in operations().values()
        if each.method == "GET"
    }
    bodies, lines = malformed(count, seed=2), malformed(count, seed=3)
    asking = questions(count, seed=4, paths=asked)
    for number in range(count):
        match number % 10:
            case 0 | 1:
                yield Request("question", "GET", *next(asking))
            case 2:
                body = b"".join(in_line(*next(lines), f"{number}-{line}") for line in range(10))
                yield Request("bulk", "POST", "/v1/commands", body=body)
            case _:
                form, body = next(bodies)
                path = operations()[form.definition.name].path.replace("{id}", "number:C-1001")
                yield Request("body", "POST", path, body=body)


async def _ask(service: Running, request: Request) -> tuple[int, bytes]:
    """The status of an answer, and its body."""
    media_type = "application/x-ndjson" if request.kind == "bulk" else "application/json"
    scope = scope_of(service, request.method, request.path, idempotency_key="fuzz", content_type=media_type)
    scope |= {"query_string": request.query}
    scope["headers"].append((b"content-length", b"%d" % len(request.body)))
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await asyncio.wait_for(service.service(scope, receive, send), 60)
    return sent[0]["status"], b"".join(each["body"] for each in sent[1:])


# On raw connections


@pytest.fixture(scope="module")
def service() -> Iterator[Serving]:
    with serving() as started:
        yield started


def test_raw_connections_get_an_answer_or_an_end_and_write_nothing(service: Serving) -> None:
    dice = random.Random(5)  # noqa: S311 - the same in every run
    attacks, slow = Attacks(service.make_key(Role.SERVICE)), []
    every = [*attacks.all().items(), *attacks.slow().items()]
    auditor = service.client(Role.AUDITOR)
    count = 10_000 if IS_FULL else 600
    outcomes: Counter[str] = Counter()
    slowest = before = 0.0
    for number in range(count):
        if number == count // 2:
            before = memory_of(service)
        kind, data = every[number] if number < len(every) else dice.choice(every)
        connection = socket.create_connection(("127.0.0.1", port_of(service)), timeout=60)
        if kind in attacks.slow():
            slow.append(_begun(connection, data))  # left open, so that many wait at once
            outcomes[kind] += 1
            if len(slow) > 200:
                slow.pop(0).close()
            continue
        started = time.perf_counter()
        with connection:
            answer = _answer(connection, data)
        slowest = max(slowest, time.perf_counter() - started)
        outcomes[f"{kind} -> {answer}"] += 1
    alive = _alive(service)
    grown = memory_of(service) - before
    for waiting in slow:
        waiting.close()
    assert max(slowest, alive) < HANG_SECONDS
    assert [outcome for outcome in outcomes if re.search(r"-> .*[25]\d\d", outcome)] == []
    assert auditor.get("/v1/events", params={"limit": 1}).json()["position"] == 0
    assert grown < GROWTH_MEGABYTES_MAX
    with socket.create_connection(("127.0.0.1", port_of(service)), timeout=60) as connection:
        assert _answer(connection, attacks.poison) == "201", "what was smuggled would not have been accepted at all"
    print("sockets:", *(f"{count:6} {outcome}" for outcome, count in sorted(outcomes.items())), sep="\n")
    print(f"slowest {slowest * 1000:.1f} ms, the service grown by {grown:.1f} MB")


def port_of(service: Serving) -> int:
    """Where it listens."""
    return int(service.address.rpartition(":")[2])


def memory_of(service: Serving) -> float:
    """Megabytes of all processes of the service, but for those of Postgres."""
    children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()
    programs = [child for child in children if b"python" in Path(f"/proc/{child}/cmdline").read_bytes()]
    assert programs
    return sum(map(resident_megabytes, programs))


def _alive(service: Serving) -> float:
    """How long it takes to tell that it lives."""
    started = time.perf_counter()
    assert httpx.get(f"{service.address}/livez", timeout=60).status_code == 200
    return time.perf_counter() - started


def _begun(connection: socket.socket, data: bytes) -> socket.socket:
    """The connection, with all sent that it takes without anybody reading."""
    connection.settimeout(0)
    with suppress(OSError):  # the server has ended the connection, or takes no more
        connection.send(data)
    return connection


def _answer(connection: socket.socket, data: bytes) -> str:
    """The statuses of all answers until the connection ends, or that it was ended without one."""
    received = b""
    try:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(65_536):
            received += piece
    except TimeoutError:
        raise
    except OSError:  # the server has ended the connection, before or after our last byte
        received += _left(connection)
    return " ".join(found.decode() for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)) or "ended"


def _left(connection: socket.socket) -> bytes:
    """What was answered before the connection ended while we were sending."""
    try:
        return connection.recv(65_536)
    except OSError:
        return b""
