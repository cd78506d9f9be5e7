"""What was known at a moment stays what was known at it, also when the moment is now and others are appending."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.synchronize import Event

import psycopg

from infrastructure.database import Databases
from infrastructure.ids import new_id
from infrastructure.migrations import migrations
from tests.contention.processes import Workplace
from tests.infrastructure.test_append import append, asked, one

ASKS = 400
"""As many as were asked when every second answer changed."""
PROCESSES = 2
WAITING = (
    "        PERFORM 1 FROM log_head FOR UPDATE;\n"
    "        UPDATE log_head SET told_until = p_moment WHERE told_until < p_moment;\n"
)


def _append_until(stopped: Event, started: Event, service: str) -> None:
    with psycopg.connect(service, autocommit=True) as connection:
        while not stopped.is_set():
            append(connection, one(new_id(), 1))
            started.set()


@contextmanager
def load(databases: Databases) -> Iterator[None]:
    """Processes that append one event after the other."""
    context = get_context("spawn")
    stopped = context.Event()
    started = [context.Event() for _ in range(PROCESSES)]
    processes = [context.Process(target=_append_until, args=(stopped, each, databases.service)) for each in started]
    for process in processes:
        process.start()
    for each in started:
        each.wait()
    yield
    stopped.set()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def changed(databases: Databases, function: str) -> int:
    """How many answers about `now` are others when they are asked for again."""
    with psycopg.connect(databases.service, autocommit=True) as service:

        def position_at(moment: datetime) -> int:
            position: int = asked(service, f"SELECT main.{function}(%s)", moment)
            return position

        with load(databases):
            answers = [(moment, position_at(moment)) for moment in (datetime.now(UTC) for _ in range(ASKS))]
        assert len({position for _, position in answers}) > 1, "nothing was appended meanwhile"
        return sum(position_at(moment) != position for moment, position in answers)


def test_what_was_known_now_is_what_was_known_then(workplace: Workplace, say: Callable[[str], None]) -> None:
    count = changed(workplace.databases, "position_at")
    say(f"{ASKS} asks at now under load, asked again later: {count} changed")
    assert count == 0


def test_without_waiting_for_the_append_in_flight_answers_change(
    workplace: Workplace, superuser: str, say: Callable[[str], None]
) -> None:
    (defined,) = (each.statements for each in migrations() if "FUNCTION {schema}.position_at(" in each.statements)
    begin = defined.index("CREATE FUNCTION {schema}.position_at(")
    hasty = defined[begin : defined.index("END $$;", begin)] + "END $$;"
    assert hasty.count(WAITING) == 1
    hasty = hasty.replace(WAITING, "").replace("position_at(", "hasty_position_at(").replace("{schema}", "main")
    with psycopg.connect(superuser, autocommit=True) as administrator:
        administrator.execute(hasty.encode())
    count = changed(workplace.databases, "hasty_position_at")
    say(f"{ASKS} asks without waiting: {count} changed")
    assert count > 0
