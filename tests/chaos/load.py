"""Clients that keep commands in flight, and remember every answer and every request that got none."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.chaos.http import Connection, Head
from tests.chaos.requests import Sent, Work, person
from tests.chaos.service import GIVE_UP_SECONDS, NothingCameAbout

CLIENTS = 24
IN_FLIGHT_MIN = 16
CUSTOMERS = 10
"""Few, so that many commands are about the same stream."""
REQUEST_SECONDS_MAX = 90
"""Longer than any outage here, so that nothing is given up that would have been answered."""
_PAUSE_SECONDS = 0.1
_TURNS = 10
"""Of the event loop, until an answer that has arrived is noted: its head, its body, its end."""


@dataclass(slots=True)
class Load:
    """All clients of one scenario."""

    address: str
    key: str
    sent: list[Sent] = field(default_factory=list)
    in_flight: set[Sent] = field(default_factory=set)
    """Requests that are written and not answered in full."""
    failures: Counter[str] = field(default_factory=Counter)
    """What became of requests that were not answered as recorded: a status, or the class of an error."""
    slowest_refusal_seconds: float = 0.0
    """The longest time that a sender waited to be told to come back."""
    refused: list[float] = field(default_factory=list)
    """When requests were begun that were answered with 503."""
    without_retry_after: int = 0
    """Answers with status 503 that do not say when to come back."""
    acknowledged: int = 0
    connections: int = 0
    """That clients have made."""
    work: Iterator[Sent] = field(default_factory=lambda: iter(()))
    """What there is to send."""
    forget_keys: bool = False
    """The mistake of a client that makes a new key for each attempt: for controls."""
    _flowing: asyncio.Event = field(default_factory=asyncio.Event)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _ready: int = 0
    """Clients that are connected and wait to be let off."""

    async def client(self) -> None:
        """Send one request after the other, as long as they may flow."""
        with closing(Connection(self.address, self.key)) as connection:
            await self._send_all(connection)

    async def _send_all(self, connection: Connection) -> None:
        while True:
            try:
                is_new = await connection.open()
            except OSError as error:
                self.failures[f"to connect: {type(error).__name__}"] += 1
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            self.connections += is_new
            self._ready += 1
            await self._flowing.wait()
            self._ready -= 1
            request = self.next_request()
            if not await self.send(request, connection):
                # Who was not answered sends something else for now; this one is sent again later.
                await asyncio.sleep(_PAUSE_SECONDS)

    def next_request(self) -> Sent:
        """One that has not been sent before."""
        request = next(self.work)
        self.sent.append(request)
        return request

    async def send(self, request: Sent, connection: Connection) -> bool:
        """Send a request once; whether all of it was answered as recorded."""
        request.attempts += 1
        if self.forget_keys and request.attempts > 1:
            request.keys = tuple(str(uuid4()) for _ in request.keys)
        started = time.monotonic()
        self.in_flight.add(request)
        self._idle.clear()
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                connection.write("POST", request.path, request.body(), request.headers())
                head = await connection.head()
                async with aclosing(connection.documents(head)) as documents:
                    async for document in documents:
                        self._take(request, head, document, time.monotonic() - started)
        except (OSError, TimeoutError) as error:
            self.failures[type(error).__name__] += 1
            connection.close()
        finally:
            self.in_flight.discard(request)
            if not self.in_flight:
                self._idle.set()
        return request.is_answered

    def _take(self, request: Sent, head: Head, document: dict[str, Any], seconds: float) -> None:
        if head.status not in {200, 201}:
            self._refused(request, head.status, seconds)
            self.refused += [time.monotonic() - seconds] if head.status == 503 else []
            self.without_retry_after += head.status == 503 and "retry-after" not in head.headers
        elif "problem" in document:
            self._refused(request, document["status"], seconds)
        elif "done" not in document:
            request.acknowledge(document.get("key", request.keys[0]), document)
            self.acknowledged += 1

    def _refused(self, request: Sent, status: int, seconds: float) -> None:
        request.statuses.append(status)
        self.failures[str(status)] += 1
        self.slowest_refusal_seconds = max(self.slowest_refusal_seconds, seconds)

    # Steering

    async def let_off(self) -> None:
        """Let all clients send, those that wait at the very same moment."""
        if not self._flowing.is_set():
            await _until("the clients are connected", lambda: self._ready == CLIENTS)
            self._flowing.set()
            await _until("the clients send", lambda: self._ready == 0)

    async def pause(self) -> None:
        """Let no client begin anew, and wait until nothing is in flight."""
        self._flowing.clear()
        if self.in_flight:
            await asyncio.wait_for(self._idle.wait(), GIVE_UP_SECONDS)

    async def until_acknowledged(self, more: int) -> None:
        """Wait until so many more commands were answered as recorded."""
        target = self.acknowledged + more
        await _until("commands are answered", lambda: self.acknowledged >= target)

    async def has_heard_all(self) -> None:
        """Take in what has arrived by now, also the rest of answers whose beginning has been read."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    @property
    def commands_in_flight(self) -> int:
        """Commands that were sent and not answered."""
        return sum(len(request.keys) - len(request.acknowledged) for request in self.in_flight)

    def unanswered(self) -> list[Sent]:
        """The requests of which something was not answered as recorded."""
        return [request for request in self.sent if not request.is_answered]

    async def repeat(self, requests: Iterable[Sent]) -> None:
        """Send requests once more that were answered."""
        with closing(Connection(self.address, self.key)) as connection:
            for request in requests:
                await connection.open()
                await self.send(request, connection)

    async def send_again(self) -> int:
        """Send again, with their keys, until all is answered as recorded; how many requests it was."""
        open_requests = self.unanswered()
        deadline = time.monotonic() + GIVE_UP_SECONDS
        with closing(Connection(self.address, self.key)) as connection:
            for request in open_requests:
                while not request.is_answered:
                    if time.monotonic() > deadline:
                        what = f"an answer to {request.path}, which was answered with {request.statuses[-1:]}"
                        raise NothingCameAbout(what)
                    with suppress(OSError):
                        await connection.open()
                        await self.send(request, connection)
                    if not request.is_answered:
                        await asyncio.sleep(_PAUSE_SECONDS)
        return len(open_requests)


async def _until(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise NothingCameAbout(what)
        await asyncio.sleep(0.001)


@asynccontextmanager
async def load(address: str, key: str, name: str) -> AsyncIterator[Load]:
    """Clients ready to send, about customers that are registered before. They keep quiet until they are let off."""
    clients = Load(address, key)
    clients.sent = [Sent("/v1/customers", (str(uuid4()),), (person(f"{name}-c{n}"),)) for n in range(CUSTOMERS)]
    await clients.send_again()
    clients.work = iter(Work(name, [request.acknowledged[request.keys[0]].id for request in clients.sent]))
    tasks = [asyncio.create_task(clients.client()) for _ in range(CLIENTS)]
    try:
        yield clients
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was closed is let go of in the next round of the loop
