"""Readers that follow the log while many append to it: nothing is missed, nothing out of order, no gap.

The same harness on the library's stock recorder with `POSTGRES_ENABLE_DB_FUNCTIONS=y` finds what that one loses.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from uuid import UUID, uuid4

import psycopg
from eventsourcing.persistence import ApplicationRecorder, InfrastructureFactory, IntegrityError, StoredEvent
from eventsourcing.utils import Environment
from psycopg.conninfo import conninfo_to_dict

from infrastructure.embedded_postgres import EmbeddedPostgres, make_database
from infrastructure.library import Factory
from tests.contention import dice, times
from tests.contention.processes import Workplace

PROCESSES, WRITERS_OF_EACH, READERS, HOT_STREAMS, PAGE = 2, 4, 2, 4, 500
WRITERS = PROCESSES * WRITERS_OF_EACH
ATTEMPTS_MAX = 20
"""How often the stock recorder gets the chance to lose something; it takes one or two."""

Env = Mapping[str, str]


@contextmanager
def recording(environment: Env) -> Iterator[ApplicationRecorder]:
    """A recorder of the library, of whatever kind the environment says."""
    factory = InfrastructureFactory.construct(Environment("log", environment))
    try:
        yield factory.application_recorder()
    finally:
        factory.close()


def _append(recorder: ApplicationRecorder, streams: Sequence[UUID], events: int) -> int:
    """Append events, half of them to streams that the others append to, too; how many were in conflict."""
    done = conflicts = 0
    while done < events:
        stream = streams[dice(len(streams))] if dice(2) else uuid4()
        last = recorder.select_events(stream, desc=True, limit=1)
        version = last[0].originator_version + 1 if last else 1
        new = [StoredEvent(stream, version + n, "test.happened", b"{}") for n in range(1 + dice(3))]
        try:
            recorder.insert_events(new)
        except IntegrityError:
            conflicts += 1
        else:
            done += len(new)
    return conflicts


def _write(environment: Env, streams: Sequence[UUID], events: int, told: Connection) -> None:
    with recording(environment) as recorder, ThreadPoolExecutor(WRITERS_OF_EACH) as pool:
        told.send(sum(pool.map(lambda _: _append(recorder, streams, events), range(WRITERS_OF_EACH))))


def _follow(recorder: ApplicationRecorder, finished: Event) -> list[int]:
    """The positions in the order in which they were seen, until the writers have finished and nothing more comes."""
    seen: list[int] = []
    while True:
        is_last = finished.is_set()
        page = recorder.select_notifications(seen[-1] if seen else None, PAGE, inclusive_of_start=False)
        seen += [each.id for each in page]
        if is_last and not page:
            return seen


def _read(environment: Env, finished: Event, told: Connection) -> None:
    with recording(environment) as recorder, ThreadPoolExecutor(READERS) as pool:
        recorder.max_notification_id()
        told.send(None)
        told.send(list(pool.map(lambda _: _follow(recorder, finished), range(READERS))))


@dataclass(frozen=True)
class Findings:
    """What the readers saw, and what there is."""

    stored: list[int]
    seen: list[list[int]]
    conflicts: int

    @property
    def missed(self) -> int:
        """Events that a reader never saw."""
        return sum(len(set(self.stored) - set(each)) for each in self.seen)

    @property
    def out_of_order(self) -> int:
        """Events that a reader saw after one that stands behind them."""
        return sum(later <= earlier for each in self.seen for earlier, later in pairwise(each))

    @property
    def gaps(self) -> int:
        """Positions without an event."""
        return len(set(range(1, max(self.stored) + 1)) - set(self.stored))


def follow(environment: Env, events: int) -> Findings:
    """Let eight writers append so many events, while two readers follow."""
    context = get_context("spawn")
    streams = [uuid4() for _ in range(HOT_STREAMS)]
    finished = context.Event()
    with recording(environment) as recorder:
        ours, theirs = context.Pipe()
        reader = context.Process(target=_read, args=(environment, finished, theirs))
        reader.start()
        ours.recv()
        pipes = [context.Pipe() for _ in range(PROCESSES)]
        arguments = [(environment, streams, events // WRITERS, each) for _, each in pipes]
        writers = [context.Process(target=_write, args=each) for each in arguments]
        for writer in writers:
            writer.start()
        conflicts = sum(told.recv() for told, _ in pipes)
        finished.set()
        seen = ours.recv()
        for process in (reader, *writers):
            process.join()
            assert process.exitcode == 0
        return Findings(_follow(recorder, finished), seen, conflicts)


def test_readers_of_the_log_miss_nothing(workplace: Workplace, say: Callable[[str], None]) -> None:
    environment = {"PERSISTENCE_MODULE": "infrastructure.library", Factory.LOG: workplace.databases.service}
    events = times(4_000, 200_000)
    found = follow(environment, events)
    say(
        f"{len(found.stored)} events of {WRITERS} writers with {found.conflicts} conflicts, {READERS} readers: "
        f"{found.missed} missed, {found.out_of_order} out of order, {found.gaps} gaps"
    )
    assert len(found.stored) >= events
    assert found.conflicts > 0
    assert (found.missed, found.out_of_order, found.gaps) == (0, 0, 0)


def test_readers_of_a_log_without_a_lock_lose_events(postgres: EmbeddedPostgres, say: Callable[[str], None]) -> None:
    name = "stock_recorder"
    make_database(postgres.administrator("postgres"), name)
    parts = conninfo_to_dict(postgres.administrator(name))
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_ENABLE_DB_FUNCTIONS": "y",
        "POSTGRES_DBNAME": name,
        "POSTGRES_HOST": str(parts["host"]),
        "POSTGRES_PORT": str(parts.get("port") or 5432),
        "POSTGRES_USER": str(parts["user"]),
        "POSTGRES_PASSWORD": str(parts["password"]),
    }
    try:
        attempts = (follow(environment, 4_000) for _ in range(ATTEMPTS_MAX))
        found = next((each for each in attempts if each.missed), None)
    finally:
        with psycopg.connect(postgres.administrator("postgres"), autocommit=True) as administrator:
            administrator.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    assert found is not None, "the stock recorder has lost nothing"
    say(f"stock recorder without its lock: {found.missed} of {len(found.stored)} missed")
