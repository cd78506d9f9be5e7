"""Reports are asked what is known now while commands come in, and again later: the answers have to be the same."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

from tests.chaos.figures import Figure
from tests.chaos.http import Connection
from tests.chaos.load import Load

ASKERS = 4
REPORT = "/v1/reports/revenue_statistics?by=month&known_at="
BEFORE = 150
"""Commands that are acknowledged before the first question."""


async def asked_now(load: Load, asks: int) -> list[Figure]:
    """Ask so often under load what is known now, and all of it again when the load is over."""
    await load.let_off()
    await load.until_acknowledged(BEFORE)
    questions = (_now() for _ in range(asks))
    told = dict(
        pair for pairs in await asyncio.gather(*(_ask(load, questions) for _ in range(ASKERS))) for pair in pairs
    )
    await load.pause()
    again = dict(await _ask(load, iter(told)))
    await load.send_again()
    positions = {json.loads(answer)["position"] for answer in told.values() if answer}
    return [
        Figure("reports asked at now", len(told), asks),
        Figure("not answered", sum(not answer for answer in told.values()), 0),
        Figure("positions that they were of", len(positions)),
        Figure("the same one each time", len(positions) == 1, must_be=False),
        Figure("answered otherwise when asked again", sum(again[each] != answer for each, answer in told.items()), 0),
    ]


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


async def _ask(load: Load, moments: Iterator[str]) -> list[tuple[str, bytes]]:
    """Ask about one moment after the other; an answer that is no report counts as none."""
    told = []
    with closing(Connection(load.address, load.key)) as connection:
        for moment in moments:
            await connection.open()
            connection.write("GET", REPORT + moment)
            head = await connection.head()
            answer = b"".join([piece async for piece in connection.body(head)])
            told.append((moment, answer if head.status == 200 else b""))
    return told
