"""Writers in processes of their own: each takes lists of commands, sends all at once and tells what came of them."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum, auto
from itertools import chain
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

from application.commands import Command
from application.group_commit import GroupCommit
from application.ports import Appended, CommandKey, Conflicts, Decision, KnownCommand
from application.requests import Undecided
from application.submissions import Answer
from application.writer import Writer
from domain.errors import Refusal
from infrastructure.database import Databases
from infrastructure.event_store import PostgresEventLog
from tests.commands import submission, writing
from tests.places import InPostgres

Asked: TypeAlias = tuple[Command, str | None]
"""A command and what it is addressed to."""
Span: TypeAlias = tuple[float, float]
"""When something began and ended, by the clock that all processes of a machine share."""


AT_ONCE = 16
"""Commands that processes race with at the same moment: as many as one batch of theirs holds."""


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
    types: tuple[str, ...] = ()
    """Of the events that were recorded, as their positions."""
    asked: tuple[Span, ...] = ()
    """When the log was asked about it: by appends, also those that came to nothing, and before refusals."""

    @property
    def is_recorded(self) -> bool:
        """Whether anything was recorded."""
        return bool(self.positions)

    def collided_with(self, other: "Told") -> bool:
        """Whether the log was asked about both at the same moment: each was decided without the other."""
        return any(a[0] < b[1] and b[0] < a[1] for a in self.asked for b in other.asked)


@dataclass(frozen=True)
class Workplace:
    """Where a process works, and how."""

    databases: Databases
    keys: Path
    bug: Bug = Bug.NONE
    batch_commands_max: int = AT_ONCE
    """Small batches, so that those of two processes come in turns."""


class _Watched(PostgresEventLog):
    """Notes when the log was asked about which command."""

    bug = Bug.NONE

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.asked: defaultdict[CommandKey, list[Span]] = defaultdict(list)
        self._proving: Callable[[], None] = lambda: None

    async def append(self, batch: Sequence[Decision]) -> Appended | Conflicts:
        if self.bug is Bug.READS_UNCHECKED:
            batch = [_without_reads(decision) for decision in batch]
        answered = self._ask([decision.key for decision in batch])
        result = await super().append(batch)
        answered()
        return result

    async def known(self, keys: Iterable[CommandKey]) -> Mapping[CommandKey, KnownCommand]:
        """The first question about what is to be answered without an append; `versions` is the last."""
        wanted = list(keys)
        self._proving = self._ask(wanted)
        return await super().known(wanted)

    async def versions(self, streams: Iterable[UUID]) -> Mapping[UUID, int]:
        found = await super().versions(streams)
        self._proving()
        return found

    def _ask(self, keys: Sequence[CommandKey]) -> Callable[[], None]:
        begun = time.monotonic()

        def answered() -> None:
            for key in keys:
                self.asked[key].append((begun, time.monotonic()))

        return answered


def _without_reads(decision: Decision) -> Decision:
    written = {new.stream_id for new in decision.events}
    return replace(decision, reads={s: version for s, version in decision.reads.items() if s in written})


async def _settle_unproved(self: GroupCommit, unproven: Sequence[Undecided]) -> None:  # noqa: ARG001 - a bug of GroupCommit
    for each in unproven:
        each.settle()


async def _outcome(writer: Writer, log: _Watched, asked: Asked) -> Told:
    sent = submission(*asked)
    await asyncio.sleep(0)
    try:
        answer: Answer = await writer.submit(sent)
    except Refusal as refusal:
        told = Told(refusal=refusal.code())
    else:
        told = Told(
            stream=answer.target_id,
            positions=tuple(each.position for each in answer.events),
            types=tuple(each.type for each in answer.events),
        )
    return replace(told, asked=tuple(log.asked.pop(sent.key, ())))


async def _work(workplace: Workplace, orders: Connection) -> None:
    place = InPostgres(workplace.databases, workplace.keys)
    async with place.open(kind=_Watched) as log:
        assert isinstance(log, _Watched)
        log.bug = workplace.bug
        if workplace.bug is Bug.TRUSTS_MEMORY:
            GroupCommit._prove = _settle_unproved  # type: ignore[method-assign]  # noqa: SLF001 - it is the bug
        async with writing(log, batch_commands_max=workplace.batch_commands_max) as writer:
            orders.send(None)
            while (asked := await asyncio.to_thread(orders.recv)) is not None:
                orders.send(await asyncio.gather(*(_outcome(writer, log, each) for each in asked)))


def _run(workplace: Workplace, orders: Connection) -> None:
    asyncio.run(_work(workplace, orders))


class Workers:
    """Processes at work on one log."""

    def __init__(self, orders: Sequence[Connection]) -> None:
        self._orders = orders

    def __len__(self) -> int:
        return len(self._orders)

    def work(self, *lists: Sequence[Asked]) -> list[list[Told]]:
        """Let each process send its list, all at the same time; what came of each, in their order."""
        for orders, asked in zip(self._orders, lists, strict=True):
            orders.send(list(asked))
        return [orders.recv() for orders in self._orders]

    def race(self, *lists: Sequence[Asked]) -> list[list[Told]]:
        """The same a few at a time: whoever is slower does not fall behind, and all are at the same few at once."""
        begun = range(0, max(map(len, lists)), AT_ONCE)
        steps = [self.work(*(each[first : first + AT_ONCE] for each in lists)) for first in begun]
        return [list(chain.from_iterable(step[which] for step in steps)) for which in range(len(lists))]


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
