"""Writers in processes of their own: each takes lists of commands, sends all at once and tells what came of them."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from application.commands import Command
from application.group_commit import GroupCommit
from application.ports import Appended, Conflicts, Decision
from application.requests import Undecided
from application.submissions import Answer
from application.writer import Writer
from domain.errors import Refusal
from infrastructure.database import Databases
from infrastructure.event_store import PostgresEventLog
from tests.commands import submission, writing
from tests.contention import dice
from tests.places import InPostgres

Asked: TypeAlias = tuple[Command, str | None]
"""A command and what it is addressed to."""


class Bug(Enum):
    """What is broken on purpose, to see that it is found."""

    NONE = auto()
    TRUSTS_MEMORY = auto()
    """Refusals are given without a look into the log."""
    READS_UNCHECKED = auto()
    """Streams that were only read are not compared at the append."""


@dataclass(frozen=True)
class Told:
    """What came of one command."""

    refusal: str | None = None
    stream: UUID | None = None
    positions: tuple[int, ...] = ()

    @property
    def is_recorded(self) -> bool:
        """Whether anything was recorded."""
        return bool(self.positions)


@dataclass
class Round:
    """What came of a list of commands, in their order, and which streams other processes had moved meanwhile."""

    told: list[Told]
    stale: AbstractSet[UUID]


@dataclass(frozen=True)
class Workplace:
    """Where a process works, and how."""

    databases: Databases
    keys: Path
    bug: Bug = Bug.NONE
    batch_commands_max: int = 16
    """Small batches, so that those of two processes come in turns."""


class _Watched(PostgresEventLog):
    """Notes which streams were stale."""

    stale: AbstractSet[UUID] = frozenset()
    bug = Bug.NONE

    async def append(self, batch: Sequence[Decision]) -> Appended | Conflicts:
        if self.bug is Bug.READS_UNCHECKED:
            batch = [_without_reads(decision) for decision in batch]
        result = await super().append(batch)
        if isinstance(result, Conflicts):
            self.stale = {*self.stale, *result.stale}
        return result


def _without_reads(decision: Decision) -> Decision:
    written = {new.stream_id for new in decision.events}
    return replace(decision, reads={s: version for s, version in decision.reads.items() if s in written})


async def _settle_unproved(self: GroupCommit, unproven: Sequence[Undecided]) -> None:  # noqa: ARG001 - a bug of GroupCommit
    for each in unproven:
        each.settle()


async def _outcome(writer: Writer, asked: Asked) -> Told:
    command, target = asked
    await asyncio.sleep(0)
    try:
        answer: Answer = await writer.submit(submission(command, target))
    except Refusal as refusal:
        return Told(refusal=refusal.code())
    return Told(stream=answer.target_id, positions=tuple(each.position for each in answer.events))


async def _work(workplace: Workplace, orders: Connection) -> None:
    place = InPostgres(workplace.databases, workplace.keys)
    async with place.open(kind=_Watched) as log:
        assert isinstance(log, _Watched)
        log.bug = workplace.bug
        if workplace.bug is Bug.TRUSTS_MEMORY:
            GroupCommit._prove = _settle_unproved  # type: ignore[method-assign]  # noqa: SLF001 - it is the bug
        async with writing(log, batch_commands_max=workplace.batch_commands_max) as writer:
            orders.send(None)
            while (order_and_asked := await asyncio.to_thread(orders.recv)) is not None:
                seed, asked = order_and_asked
                log.stale = frozenset()
                order = list(range(len(asked)))
                random.Random(seed).shuffle(order)  # noqa: S311 - it decides what happens in a test
                told = await asyncio.gather(*(_outcome(writer, asked[place]) for place in order))
                orders.send(Round([each for _, each in sorted(zip(order, told, strict=True))], log.stale))


def _run(workplace: Workplace, orders: Connection) -> None:
    asyncio.run(_work(workplace, orders))


class Workers:
    """Processes at work on one log."""

    def __init__(self, orders: Sequence[Connection]) -> None:
        self._orders = orders

    def __len__(self) -> int:
        return len(self._orders)

    def work(self, *lists: Sequence[Asked], in_step: bool = False) -> list[Round]:
        """Let each process send its list in random order, all at the same time, and wait for all of them.

        `in_step` gives all of them the same order, so that they come to the same place at about the same moment.
        """
        seeds = [dice(2**32)] * len(lists) if in_step else [dice(2**32) for _ in lists]
        for orders, seed, asked in zip(self._orders, seeds, lists, strict=True):
            orders.send((seed, list(asked)))
        return [orders.recv() for orders in self._orders]


@contextmanager
def working(workplace: Workplace, processes: int = 2) -> Iterator[Workers]:
    """Start processes, and end them afterwards."""
    context = get_context("spawn")
    orders, started = [], []
    for _ in range(processes):
        ours, theirs = context.Pipe()
        process = context.Process(target=_run, args=(workplace, theirs), daemon=True)
        process.start()
        theirs.close()
        orders.append(ours)
        started.append(process)
    for each in orders:
        each.recv()
    yield Workers(orders)
    for each in orders:
        each.send(None)
    for process in started:
        process.join()
        assert process.exitcode == 0
