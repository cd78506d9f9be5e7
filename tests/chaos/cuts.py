"""Clients whose connections end at a bad moment: in a request, before its answer, in its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from itertools import cycle

from tests.chaos.examination import half_written, read_log
from tests.chaos.figures import Figure
from tests.chaos.http import Connection
from tests.chaos.load import Load
from tests.chaos.requests import Sent
from tests.chaos.service import ServiceUnderTest

BEFORE = 150
"""Commands of others that are acknowledged before the first cut; they go on meanwhile."""
BEGINNING_BYTES = 30
"""Of an answer: a part of its head."""


def _write(connection: Connection, request: Sent, share: float = 1.0) -> None:
    connection.write("POST", request.path, request.body(), request.headers(), share=share)


async def _in_the_head(connection: Connection, request: Sent) -> None:
    _write(connection, request, share=0.1)


async def _in_the_body(connection: Connection, request: Sent) -> None:
    _write(connection, request, share=0.9)


async def _before_the_answer(connection: Connection, request: Sent) -> None:
    _write(connection, request)


async def _in_the_head_of_the_answer(connection: Connection, request: Sent) -> None:
    _write(connection, request)
    await connection.beginning(BEGINNING_BYTES)


async def _in_the_body_of_the_answer(connection: Connection, request: Sent) -> None:
    _write(connection, request)
    await connection.head()
    await connection.beginning(BEGINNING_BYTES)


CUTS: Sequence[Callable[[Connection, Sent], Awaitable[None]]] = (
    _in_the_head,
    _in_the_body,
    _before_the_answer,
    _in_the_head_of_the_answer,
    _in_the_body_of_the_answer,
)


async def cut_off(service: ServiceUnderTest, load: Load, cuts: int) -> list[Figure]:
    """Cut so many connections, beside others that are not, and send all again with their keys."""
    await load.let_off()
    await load.until_acknowledged(BEFORE)
    cut = []
    for _, end in zip(range(cuts), cycle(CUTS), strict=False):
        cut.append(load.next_request())
        with closing(Connection(load.address, load.key)) as connection:
            await connection.open()
            await end(connection, cut[-1])
    await load.pause()
    failures = dict(load.failures)
    log = await asyncio.to_thread(read_log, service.databases.service, cut)
    marks = log.by_mark.keys()
    half, recorded = half_written(log, cut), sum(request.mark in marks for request in cut)
    await load.send_again()
    return [
        Figure("requests that were cut off", len(cut), cuts),
        Figure("of them recorded all the same", recorded),
        Figure("none, or all of them", recorded in {0, cuts}, must_be=False),
        Figure("half-written batches before anything is sent again", half, 0),
        Figure("what became of requests that were not cut off", failures or "all were answered", "all were answered"),
    ]
