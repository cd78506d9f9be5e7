"""One import from end to end: what is referred to is registered first, then the documents follow, many at a time."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from api.importing.client import BulkClient, CommandAnswer
from api.importing.mapping import ImportMapping
from api.importing.plan import FirstSeen, Parcel, Plan, PlannedCommand
from api.importing.rows import Gathering
from api.importing.summary import Account

CHUNK_BYTES = 1 << 20
"""Large enough that a chunk shares its commits, small enough that progress is seen and little is sent twice."""
CHUNK_COMMANDS_MAX = 1_000
CHUNKS_IN_FLIGHT = 3
"""One is decided, one is on its way, one is being answered."""


@dataclass(slots=True)
class Progress:
    """Whoever watches the import is told here; the numbers are rows of the file."""

    reading: Callable[[int], None] = lambda _rows: None
    registering: Callable[[int, int], None] = lambda _done, _all: None
    booked: Callable[[int, int], None] = lambda _rows, _all: None


@dataclass(slots=True)
class _Chunk:
    parcels: list[Parcel] = field(default_factory=list)
    commands: int = 0
    size: int = 0

    def add(self, parcel: Parcel) -> None:
        self.parcels.append(parcel)
        self.commands += len(parcel.commands)
        self.size += sum(len(command.line) for command in parcel.commands)

    @property
    def full(self) -> bool:
        return self.size >= CHUNK_BYTES or self.commands >= CHUNK_COMMANDS_MAX

    def lines(self) -> list[bytes]:
        return [command.line for parcel in self.parcels for command in parcel.commands]


@dataclass(frozen=True, slots=True)
class FirstReading:
    """What has to be known about a file before the first command can be sent."""

    rows: int
    gathering: Gathering
    first_seen: list[PlannedCommand]


def read_first(mapping: ImportMapping, path: Path, reading: Callable[[int], None]) -> FirstReading:
    """Read the file once: count its rows, and collect what is registered before the documents."""
    gathering = mapping.gathering()
    first_seen = FirstSeen(mapping.first_seen)
    wanted = first_seen.needs | frozenset(gathering.by if gathering.counts_first else ())
    count = 0
    for row, problem in mapping.table(path).rows(wanted):
        count += 1
        if gathering.counts_first:
            gathering.count(row)
        if not problem:
            first_seen.see(row)
        if count % 10_000 == 0:
            reading(count)
    reading(count)
    return FirstReading(count, gathering, list(first_seen.commands()))


def parcels(mapping: ImportMapping, path: Path, first: FirstReading) -> Iterator[Parcel]:
    """What each document of the file becomes, in the order in which they are complete."""
    plan = Plan(mapping)
    for document in first.gathering.documents(mapping.table(path).rows()):
        yield plan.parcel(document)


def run_import(mapping: ImportMapping, path: Path, client: BulkClient, account: Account, progress: Progress) -> None:
    """Import a file. The account is kept up to date all the while, so that it holds when the import is stopped."""
    started = time.monotonic()
    summary = account.summary
    try:
        first = read_first(mapping, path, progress.reading)
        summary.rows_read = first.rows
        _register(first.first_seen, client, account, progress)
        for chunk, answers in _sent(_chunks(parcels(mapping, path, first)), client):
            answer = iter(answers)
            for parcel in chunk.parcels:
                account.book(parcel, [next(answer) for _ in parcel.commands])
            progress.booked(summary.rows_counted, first.rows)
    finally:
        summary.seconds = time.monotonic() - started


def _register(commands: list[PlannedCommand], client: BulkClient, account: Account, progress: Progress) -> None:
    # Nothing refers to a document before it is there, so documents wait until all of this is answered.
    chunks = _chunks(Parcel(commands=[command]) for command in commands)
    done = 0
    for chunk, answers in _sent(chunks, client):
        for parcel, answer in zip(chunk.parcels, answers, strict=True):
            account.register(parcel.commands[0], answer)
        done += len(answers)
        progress.registering(done, len(commands))


def _chunks(parcels: Iterable[Parcel]) -> Iterator[_Chunk]:
    chunk = _Chunk()
    for parcel in parcels:
        chunk.add(parcel)
        if chunk.full:
            yield chunk
            chunk = _Chunk()
    if chunk.parcels:
        yield chunk


def _sent(chunks: Iterator[_Chunk], client: BulkClient) -> Iterator[tuple[_Chunk, list[CommandAnswer]]]:
    """The chunks with their answers, in order; the next ones are made and sent meanwhile."""
    flying: deque[tuple[_Chunk, Future[list[CommandAnswer]]]] = deque()
    threads = ThreadPoolExecutor(CHUNKS_IN_FLIGHT, thread_name_prefix="import")
    try:
        for chunk in chunks:
            lines = chunk.lines()
            flying.append((chunk, threads.submit(client.send, lines) if lines else _nothing()))
            if len(flying) >= CHUNKS_IN_FLIGHT:
                oldest, answers = flying.popleft()
                yield oldest, answers.result()
        while flying:
            oldest, answers = flying.popleft()
            yield oldest, answers.result()
    finally:
        threads.shutdown(cancel_futures=True)


def _nothing() -> Future[list[CommandAnswer]]:
    future: Future[list[CommandAnswer]] = Future()
    future.set_result([])
    return future
