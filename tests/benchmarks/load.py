"""A closed-loop load: so many clients, each sending its next request when the last one is answered.

It runs in a process of its own, writes prepared bytes and reads no more of an answer than its status and its length, so
that it takes as little as possible of the cores that it shares with what it measures.
"""

import asyncio
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from typing import cast

import uvloop

SECONDS_MAX = 120
"""A load that takes longer ends with an error: it stops by itself."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one load saw; latencies are sorted, in seconds."""

    seconds: float
    statuses: dict[int, int]
    latencies: list[float] = field(repr=False)

    @property
    def requests(self) -> int:
        """Answers that came."""
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds

    def percentile(self, share: float) -> float:
        """A latency in milliseconds: the smallest that this share of the answers did not exceed."""
        return 1_000 * self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


class _Client(asyncio.Protocol):
    """One connection that sends the next request when the answer to the last one is complete."""

    def __init__(self, requests: Iterable[bytes], statuses: Counter[int], latencies: list[float]) -> None:
        self._requests = iter(requests)
        self._statuses = statuses
        self._latencies = latencies
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if len(body) < int(lengths[0].partition(b":")[2]):
            return
        self._latencies.append(time.perf_counter() - self._sent_at)
        self._statuses[int(head[9:12])] += 1
        self._buffer = b""
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server ended the connection"))

    def _send(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self.done.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


async def _run(port: int, requests: list[bytes], clients: int) -> Measured:
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    pending = []
    for i in range(clients):
        mine = islice(requests, i, None, clients)
        _, client = await loop.create_connection(partial(_Client, mine, statuses, latencies), "127.0.0.1", port)
        pending.append(client.done)
    async with asyncio.timeout(SECONDS_MAX):
        await asyncio.gather(*pending)
    return Measured(time.perf_counter() - started, dict(statuses), sorted(latencies))


def _work(connection: Connection, port: int, requests: list[bytes], clients: int) -> None:
    connection.send(uvloop.run(_run(port, requests, clients)))


def load(port: int, requests: list[bytes], clients: int) -> Measured:
    """Send all of these requests to a server on this machine, with so many clients at once."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, port, requests, clients))
    process.start()
    sender.close()
    try:
        measured: Measured = receiver.recv()
    finally:
        process.join()
    return measured


def post(path: str, body: bytes, key: str, headers: Callable[[], dict[str, str]] = dict) -> bytes:
    """A request ready to be written: JSON posted with a bearer key, kept alive."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers().items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, key: str) -> bytes:
    """The same for reading."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
