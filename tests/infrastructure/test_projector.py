"""The projector: each event takes effect once, whatever fails, and a model that cannot go on says so."""

import threading
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infrastructure.database import Databases
from infrastructure.log_pages import LogHasGap
from infrastructure.projector import Projector, ProjectorLimits, RebuildHasStopped
from projections import ALL
from projections.read_model import Build, BuildStatus, Page, ReadModel, ReadModelNotFound, Snapshot, Table
from projections.revenue_statistics import VERSION, RevenueStatistics
from tests.infrastructure.waiting import eventually
from tests.people import ACME, ACME_REGISTERED, GRACE_ADDED, GRACE_CALLED
from tests.projections.logs import LogOf, ask, follow, projector
from tests.projections.trade import Trade

FIRST = date(2026, 1, 20)


class Counted:
    """How many events there were of the types that it wants: the least that can be a read model."""

    tables = (Table("events", "position bigint NOT NULL, type text NOT NULL", ("position",)),)

    def __init__(
        self,
        name: str = "counted",
        version: int = 1,
        events: frozenset[str] = frozenset({"product.registered", "sales-document.invoice-posted"}),
    ) -> None:
        self.name = name
        self.version = version
        self.events = events
        self.pages: list[tuple[int, int]] = []

    def fold(self, page: Page) -> None:
        """See `ReadModel.fold`."""
        self.pages.append((page.after, page.upto))
        page.append("events", "position, type", [f"{each.position}\t{each.type}\n" for each in page.events])


class Ending(LogOf):
    """The same log; whoever waits for more of it is told to stop."""

    def __init__(self, log: LogOf, stop: threading.Event) -> None:
        super().__init__()
        self.recorded = log.recorded
        self._stop = stop

    def wait(self, seconds_max: float) -> None:
        super().wait(seconds_max)
        self._stop.set()


class Failing(Counted):
    """Fails at some events, with errors of one's choice."""

    def __init__(self, error: Exception, *positions: int, name: str = "failing", version: int = 1) -> None:
        super().__init__(name, version)
        self.error = error
        self.positions = set(positions)

    def fold(self, page: Page) -> None:
        """See `ReadModel.fold`."""
        super().fold(page)
        if any(each.position in self.positions for each in page.events):
            raise self.error


class Remembering(Failing):
    """Remembers of each page where it ended."""

    def __init__(self, *positions: int) -> None:
        super().__init__(psycopg.errors.LockNotAvailable(), *positions, name="remembering")
        self.recalled: list[tuple[int, object]] = []

    def fold(self, page: Page) -> None:
        """See `ReadModel.fold`."""
        self.recalled.append((page.after, page.memory.recall(page.after)))
        page.memory.remember(page.upto, f"up to {page.upto}")
        super().fold(page)


@pytest.fixture
def trade() -> Trade:
    """Three products, four invoices: positions 1 to 7."""
    trade = Trade().registered()
    for _ in range(4):
        trade.invoice(FIRST)
    return trade


@pytest.fixture
def make(databases: Databases) -> Iterator[Callable[..., Projector]]:
    """Make projectors, as several processes would."""
    made: list[Projector] = []

    def make(log: LogOf, *models: ReadModel, **limits: Any) -> Projector:
        limits = {"pause_seconds_min": 0.0, "pause_seconds_max": 0.0, **limits}
        made.append(projector(databases, log, models, ProjectorLimits(**limits)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def of(projector: Projector, name: str) -> BuildStatus:
    """How the latest build of a model is doing."""
    return [status for status in projector.status() if status.build.model == name][-1]


def positions(databases: Databases, model: str) -> list[int]:
    """What a reader finds in the table of a counting model."""

    async def question(snapshot: Snapshot) -> list[int]:
        rows = await snapshot.fetch("SELECT position FROM {events} ORDER BY position")
        return [position for (position,) in rows]

    return ask(databases, lambda models: models.read(model, question))


def untold(_at: int, _end: int) -> None:
    """Nobody listens to the progress."""


Make = Callable[..., Projector]


# Following


def test_all_models_follow_as_one_group(databases: Databases, make: Make, trade: Trade) -> None:
    few, many = Counted("few", events=frozenset({"product.registered"})), Counted("many")
    following = make(trade.log, few, many, page_events_max=4)
    follow(following)
    assert positions(databases, "few") == [1, 2, 3]
    assert positions(databases, "many") == [1, 2, 3, 4, 5, 6, 7]
    assert few.pages == many.pages == [(0, 4), (4, 7)]
    assert trade.log.pages_read == [(0, 4), (4, 7), (7, 7)], "each page is read once for all"
    assert [(status.state, status.position) for status in following.status()] == [("live", 7), ("live", 7)]


def test_there_is_nothing_to_do_when_nothing_is_new(make: Make, trade: Trade) -> None:
    following = make(trade.log, Counted())
    follow(following)
    assert not following.step()
    trade.invoice(FIRST)
    assert following.step()
    assert not following.step()


def test_the_models_of_the_house_follow_a_log(make: Make, trade: Trade) -> None:
    trade.log.append(ACME, ACME_REGISTERED)
    trade.log.append(ACME, GRACE_ADDED)
    trade.log.append(ACME, GRACE_CALLED)
    following = make(trade.log, *ALL)
    follow(following)
    assert {status.position for status in following.status()} == {10}
    assert all(status.serving and status.current and status.state == "live" for status in following.status())


def test_it_runs_until_it_is_told_to_stop(databases: Databases, make: Make, trade: Trade) -> None:
    stop = threading.Event()

    log = Ending(trade.log, stop)
    make(log, Counted()).run(stop)
    assert positions(databases, "counted") == [1, 2, 3, 4, 5, 6, 7]


def test_it_says_that_it_has_started_when_there_are_tables_to_answer_from(make: Make, trade: Trade) -> None:
    stop, told = threading.Event(), list[list[str]]()
    following = make(Ending(trade.log, stop), Counted())
    following.run(stop, on_started=lambda: told.append([status.build.model for status in following.status()]))
    assert told == [["counted"]]


def test_no_lock_of_a_reader_keeps_it_from_starting(databases: Databases, make: Make) -> None:
    with psycopg.connect(databases.reader) as keeping:
        keeping.execute("SELECT pg_advisory_lock(hashtextextended('builds of main_read', 0))")
        projector = make(LogOf(), Counted())
        projector.start()
    assert [status.build for status in projector.status()] == [Build("counted", 1)]


def test_an_outage_of_the_database_is_waited_for(
    databases: Databases, superuser: str, make: Make, trade: Trade
) -> None:
    stop = threading.Event()

    class CutOnce(Counted):
        def fold(self, page: Page) -> None:
            super().fold(page)
            if len(self.pages) == 1:
                with psycopg.connect(superuser, autocommit=True) as administrator:
                    administrator.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE usename = 'rapport_projector' AND datname = current_database()"
                    )

    log = Ending(trade.log, stop)
    model = CutOnce()
    make(log, model).run(stop)
    assert model.pages == [(0, 7), (0, 7)]
    assert positions(databases, "counted") == [1, 2, 3, 4, 5, 6, 7]


def test_a_transaction_that_the_server_has_given_up_is_begun_again(
    databases: Databases, superuser: str, make: Make, trade: Trade
) -> None:
    """As when it stood still for longer than a transaction may be idle."""
    stop = threading.Event()

    class SlowOnce(Counted):
        def fold(self, page: Page) -> None:
            if not self.pages:
                with psycopg.connect(superuser, autocommit=True) as administrator:
                    eventually(lambda: not _projectors(administrator))
            super().fold(page)

    log = Ending(trade.log, stop)
    model = SlowOnce()
    following = make(log, model)
    options = conninfo_to_dict(databases.projector)["options"]
    following.conninfo = make_conninfo(
        databases.projector, options=f"{options} -c idle_in_transaction_session_timeout=100"
    )
    following.run(stop)
    assert model.pages == [(0, 7), (0, 7)]
    assert positions(databases, "counted") == [1, 2, 3, 4, 5, 6, 7]


class SlowAtLength(Counted):
    """Takes longer than a transaction may be idle, where a page has more than two events."""

    def __init__(self, administrator: psycopg.Connection, name: str = "slow") -> None:
        super().__init__(name)
        self.administrator = administrator
        self.given_up = 0

    def fold(self, page: Page) -> None:
        """See `ReadModel.fold`."""
        if page.upto - page.after > 2:
            self.given_up += 1
            eventually(lambda: not _is_connected(self.administrator, page.connection.info.backend_pid))
        super().fold(page)


def _is_connected(administrator: psycopg.Connection, pid: int) -> bool:
    row = administrator.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    return row is not None and row[0] > 0


def impatient(following: Projector) -> Projector:
    """With a server that gives up a transaction that is idle for a tenth of a second."""
    options = conninfo_to_dict(following.conninfo)["options"]
    following.conninfo = make_conninfo(
        following.conninfo, options=f"{options} -c idle_in_transaction_session_timeout=100"
    )
    return following


def test_a_page_that_takes_too_long_is_taken_in_smaller_steps_and_others_go_on(
    databases: Databases, superuser: str, make: Make, trade: Trade
) -> None:
    with psycopg.connect(superuser, autocommit=True) as administrator:
        slow, quick = SlowAtLength(administrator), Counted("quick")
        following = impatient(make(trade.log, slow, quick, pause_seconds_min=3600.0, pause_seconds_max=3600.0))
        following.start()
        following.step()
        status = of(following, "slow")
        assert (status.state, status.error, status.error_position) == (
            "catching_up",
            "IdleInTransactionSessionTimeout",
            1,
        )
        assert positions(databases, "slow") == []
        assert (of(following, "quick").state, of(following, "quick").position) == ("live", 7)
        again = impatient(make(trade.log, slow, quick, page_events_max=4))
        eventually(lambda: not again.step() and of(again, "slow").position == trade.log.head())
    assert slow.given_up >= 2
    assert positions(databases, "slow") == positions(databases, "quick") == [1, 2, 3, 4, 5, 6, 7]
    assert [(each.state, each.error, each.position) for each in again.status()] == [("live", None, 7)] * 2


def test_a_rebuild_goes_on_in_smaller_steps_too(superuser: str, make: Make, trade: Trade) -> None:
    with psycopg.connect(superuser, autocommit=True) as administrator:
        slow = SlowAtLength(administrator, "counted")
        follow(make(trade.log, slow, page_events_max=2))
        impatient(following := make(trade.log, slow, page_events_max=7)).rebuild("counted", untold)
    assert slow.given_up >= 1
    assert [(each.build.build, each.position) for each in following.status() if each.serving] == [(2, 7)]


def _projectors(administrator: psycopg.Connection) -> int:
    """How many connections of projectors there are."""
    row = administrator.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'rapport_projector' AND datname = current_database()"
    ).fetchone()
    assert row is not None
    count: int = row[0]
    return count


# Once, and only once


def test_while_one_projector_is_at_the_group_another_does_nothing(
    databases: Databases, make: Make, trade: Trade
) -> None:
    other = make(trade.log, Counted())

    class Watched(Counted):
        def fold(self, page: Page) -> None:
            super().fold(page)
            assert not other.step()

    model = Watched()
    follow(make(trade.log, model))
    assert model.pages == [(0, 7)]
    assert positions(databases, "counted") == [1, 2, 3, 4, 5, 6, 7]


def test_a_page_folded_again_changes_nothing(databases: Databases, make: Make, trade: Trade) -> None:
    """Two projectors that believe to hold the group: as when the connection that holds it is lost unnoticed."""
    following = make(trade.log, Counted())
    following.start()
    stale = following.status()
    follow(following)
    page = trade.log.page(0, 7, Counted().events)
    assert not following._advance(stale[0], lambda: page)  # noqa: SLF001 - there is no way in from outside
    assert positions(databases, "counted") == [1, 2, 3, 4, 5, 6, 7]
    assert following.status()[0].state == "live"


def test_models_that_were_left_a_page_apart_come_together(databases: Databases, make: Make, trade: Trade) -> None:
    class Mortal(Counted):
        dies = True

        def fold(self, page: Page) -> None:
            if self.dies:
                raise KeyboardInterrupt
            super().fold(page)

    first, second = Counted("first"), Mortal("second")
    dying = make(trade.log, first, second, page_events_max=3)
    dying.start()
    with pytest.raises(KeyboardInterrupt):
        dying.step()
    dying.close()
    assert [status.position for status in dying.status()] == [3, 0]
    second.dies = False
    follow(make(trade.log, first, second, page_events_max=3))
    assert positions(databases, "first") == positions(databases, "second") == [1, 2, 3, 4, 5, 6, 7]


# What is remembered


def test_a_page_that_goes_on_recalls_the_one_before(make: Make, trade: Trade) -> None:
    model = Remembering()
    following = make(trade.log, model, page_events_max=3)
    follow(following)
    assert model.recalled == [(0, None), (3, "up to 3"), (6, "up to 6")]
    trade.invoice(FIRST)
    follow(following)
    assert model.recalled[3:] == [(7, "up to 7")]


def test_nothing_is_remembered_of_a_page_that_failed(make: Make, trade: Trade) -> None:
    model = Remembering(5)
    following = make(trade.log, model, page_events_max=3)
    following.start()
    following.step()
    following.step()
    model.positions.clear()
    follow(following)
    assert model.recalled == [(0, None), (3, "up to 3"), (3, None), (3, None), (6, "up to 6")]


def test_nothing_is_recalled_of_another_build(make: Make, trade: Trade) -> None:
    model = Remembering()
    following = make(trade.log, model, page_events_max=3)
    follow(following)
    del model.recalled[:]
    following.rebuild(model.name, untold)
    assert model.recalled == [(0, None), (3, "up to 3"), (6, "up to 6")]


def test_nothing_is_recalled_of_where_another_projector_went_on(make: Make, trade: Trade) -> None:
    here, there = Remembering(), Remembering()
    first, second = (make(trade.log, model, page_events_max=4) for model in (here, there))
    first.start()
    first.step()
    follow(second)
    first.step()
    trade.invoice(FIRST)
    follow(first)
    assert (here.recalled, there.recalled) == ([(0, None), (7, None)], [(4, None)])


# What cannot be folded


@pytest.mark.parametrize("position", [1, 4, 7])
@pytest.mark.parametrize("page_size", [1, 3, 500])
def test_an_event_that_cannot_be_folded_stops_its_model_just_before_it(
    databases: Databases, make: Make, trade: Trade, position: int, page_size: int
) -> None:
    failing = Failing(ValueError("Ada Lovelace"), position)
    following = make(trade.log, Counted(), failing, page_events_max=page_size)
    follow(following)
    stopped = of(following, "failing")
    assert (stopped.state, stopped.position) == ("stopped", position - 1)
    assert (stopped.error, stopped.error_position) == ("ValueError", position)
    assert positions(databases, "failing") == list(range(1, position))
    assert positions(databases, "counted") == [1, 2, 3, 4, 5, 6, 7]
    trade.invoice(FIRST)
    assert following.step(), "the others go on"
    assert of(following, "counted").position == 8
    assert of(following, "failing") == stopped


def test_an_error_of_the_database_over_a_row_stops_the_model_too(
    databases: Databases, make: Make, trade: Trade
) -> None:
    class Twice(Counted):
        def fold(self, page: Page) -> None:
            super().fold(page)
            if page.upto >= 5:
                page.append("events", "position, type", ["5\tagain\n"])

    following = make(trade.log, Twice())
    follow(following)
    stopped = of(following, "counted")
    assert (stopped.state, stopped.error, stopped.error_position) == ("stopped", "UniqueViolation", 5)
    assert positions(databases, "counted") == [1, 2, 3, 4]


def test_an_unreadable_event_stops_only_those_who_want_it(make: Make, trade: Trade) -> None:
    trade.log.spoil(5, KeyError("who"), "sales-document.invoice-posted")
    registered = Counted("registered", events=frozenset({"product.registered"}))
    following = make(trade.log, Counted(), registered)
    follow(following)
    assert (of(following, "counted").error, of(following, "counted").position) == ("KeyError", 4)
    assert (of(following, "registered").error, of(following, "registered").position) == (None, 7)


def test_a_gap_in_the_log_stops_everybody_before_it(make: Make, trade: Trade) -> None:
    trade.log.spoil(5, LogHasGap())
    registered = Counted("registered", events=frozenset({"product.registered"}))
    following = make(trade.log, Counted(), registered)
    follow(following)
    assert {(status.error, status.error_position, status.position) for status in following.status()} == {
        ("LogHasGap", 5, 4)
    }


def test_a_stopped_model_is_tried_again_at_the_next_start(databases: Databases, make: Make, trade: Trade) -> None:
    follow(make(trade.log, Failing(ValueError(), 5, name="counted")))
    mended = make(trade.log, Counted())
    follow(mended)
    found = of(mended, "counted")
    assert (found.state, found.position, found.error, found.error_position) == ("live", 7, None, None)
    assert positions(databases, "counted") == [1, 2, 3, 4, 5, 6, 7]


def test_an_error_that_passes_sends_a_model_away_until_it_has_caught_up(make: Make, trade: Trade) -> None:
    failing = Failing(psycopg.errors.LockNotAvailable(), 5)
    following = make(trade.log, Counted(), failing)
    following.start()
    following.step()
    away = of(following, "failing")
    assert (away.state, away.position, away.error, away.error_position) == ("catching_up", 0, "LockNotAvailable", 1)
    assert of(following, "counted").position == 7
    failing.positions.clear()
    follow(following)
    back = of(following, "failing")
    assert (back.state, back.position, back.error) == ("live", 7, None)


def test_a_model_that_was_sent_away_is_not_tried_at_once(make: Make, trade: Trade) -> None:
    failing = Failing(psycopg.errors.LockNotAvailable(), 5)
    following = make(trade.log, failing, pause_seconds_min=3600.0, pause_seconds_max=3600.0)
    follow(following)
    assert len(failing.pages) == 1
    assert of(following, "failing").state == "catching_up"


def test_a_model_that_lags_goes_alone_until_it_has_caught_up(databases: Databases, make: Make, trade: Trade) -> None:
    slow = Counted("slow")
    follow(make(trade.log, Counted("quick"), slow))
    with psycopg.connect(databases.projector) as connection:
        connection.execute("UPDATE main_read.builds SET position = 0 WHERE model = 'slow'")
        connection.execute("DELETE FROM main_read.slow_v1_events")
    quick = Counted("quick")
    following = make(trade.log, quick, slow, page_events_max=3)
    slow.pages.clear()
    follow(following)
    assert slow.pages == [(0, 3), (3, 6), (6, 7)]
    assert quick.pages == []
    assert {status.state for status in following.status()} == {"live"}


# Versions and rebuilds


def test_a_new_version_is_filled_beside_the_old_one_and_takes_over_when_it_has_caught_up(
    databases: Databases, make: Make, trade: Trade
) -> None:
    follow(make(trade.log, Counted()))
    old, new = Counted(), Counted(version=2)
    following = make(trade.log, old, new, page_events_max=3)
    following.start()
    served = []
    while following.step():
        served.append([(status.build.version, status.current) for status in following.status()])
        assert positions(databases, "counted") == [1, 2, 3, 4, 5, 6, 7]
    assert served[0] == [(1, True), (2, False)]
    assert served[-1] == [(1, False), (2, True)]
    assert all(status.serving for status in following.status()), "the old definition can still be asked for"


def test_the_current_version_is_the_newest_that_has_caught_up(make: Make, trade: Trade) -> None:
    following = make(trade.log, Counted(version=2), Counted(version=1))
    follow(following)
    assert [(status.build.version, status.current) for status in following.status()] == [(1, False), (2, True)]


def test_a_model_that_this_program_does_not_have_is_left_alone(make: Make, trade: Trade) -> None:
    follow(make(trade.log, Counted(), Counted("other")))
    trade.invoice(FIRST)
    following = make(trade.log, Counted())
    follow(following)
    assert (of(following, "counted").position, of(following, "other").position) == (8, 7)
    assert of(following, "other").state == "live"


def test_a_rebuild_takes_over_and_the_old_tables_go(databases: Databases, make: Make, trade: Trade) -> None:
    model = Counted()
    following = make(trade.log, model, page_events_max=3)
    follow(following)
    before = following.digest(Build("counted", 1))
    told: list[tuple[int, int]] = []
    after = following.rebuild("counted", lambda at, end: told.append((at, end)))
    assert after == before
    assert told[-1] == (7, 7)
    assert [at for at, _ in told] == sorted(at for at, _ in told)
    (left,) = following.status()
    assert (left.build, left.serving, left.current) == (Build("counted", 1, 2), True, True)
    assert positions(databases, "counted") == [1, 2, 3, 4, 5, 6, 7]
    assert _tables(databases) == {"counted_v1_b2_events"}


def test_tables_that_are_still_read_are_removed_later(databases: Databases, make: Make, trade: Trade) -> None:
    following = make(trade.log, Counted())
    follow(following)
    with psycopg.connect(databases.reader) as reader:
        reader.execute("SELECT * FROM main_read.counted_v1_events")
        following.rebuild("counted", untold)
        assert _tables(databases) == {"counted_v1_events", "counted_v1_b2_events"}
        assert not following.step()
        assert len(following.status()) == 2
    following.step()
    assert _tables(databases) == {"counted_v1_b2_events"}
    assert len(following.status()) == 1


def test_the_read_model_of_an_empty_log_can_be_rebuilt(make: Make) -> None:
    following = make(LogOf(), Counted())
    follow(following)
    following.rebuild("counted", untold)
    assert [(status.build.build, status.serving) for status in following.status()] == [(2, True)]


def test_a_model_that_another_projector_has_moved_on_is_not_stopped(make: Make, trade: Trade) -> None:
    """As when one program has been mended and another, which runs still, has not."""
    following = make(trade.log, Counted())
    follow(following)
    following._set_state(Build("counted", 1), "stopped", at=4, error=ValueError())  # noqa: SLF001 - as the other would
    found = of(following, "counted")
    assert (found.state, found.position, found.error) == ("live", 7, None)


def test_a_rebuild_can_be_rebuilt(databases: Databases, make: Make, trade: Trade) -> None:
    following = make(trade.log, Counted())
    follow(following)
    for build in (2, 3):
        following.rebuild("counted", untold)
        assert _tables(databases) == {f"counted_v1_b{build}_events"}


def test_an_interrupted_rebuild_is_gone_on_with(databases: Databases, make: Make, trade: Trade) -> None:
    follow(make(trade.log, Counted()))

    def interrupt(_at: int, _end: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(trade.log, Counted(), page_events_max=2).rebuild("counted", interrupt)
    model = Counted()
    make(trade.log, model, page_events_max=2).rebuild("counted", untold)
    assert model.pages[0] == (2, 4)
    assert positions(databases, "counted") == [1, 2, 3, 4, 5, 6, 7]


def test_a_rebuild_that_cannot_go_on_says_so_and_leaves_the_answers_alone(
    databases: Databases, make: Make, trade: Trade
) -> None:
    follow(make(trade.log, Counted()))
    following = make(trade.log, Failing(ValueError(), 5, name="counted"))
    with pytest.raises(RebuildHasStopped, match="stopped at position 5: ValueError"):
        following.rebuild("counted", untold)
    assert positions(databases, "counted") == [1, 2, 3, 4, 5, 6, 7]


def test_what_is_not_a_read_model_cannot_be_rebuilt(make: Make, trade: Trade) -> None:
    with pytest.raises(ReadModelNotFound):
        make(trade.log, Counted()).rebuild("uncounted", untold)
    with pytest.raises(ReadModelNotFound):
        make(trade.log, Counted()).digest(Build("counted", 7))


def test_a_retired_version_is_gone(databases: Databases, make: Make, trade: Trade) -> None:
    following = make(trade.log, Counted(), Counted(version=2))
    follow(following)
    following.retire(Build("counted", 1))
    assert _tables(databases) == {"counted_v2_events"}
    assert [status.build.version for status in following.status()] == [2]


def _tables(databases: Databases) -> set[str]:
    with psycopg.connect(databases.projector) as connection:
        rows = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'main_read' AND tablename LIKE 'counted%'"
        )
        return {name for (name,) in rows}


def test_the_revenue_of_the_house_is_the_same_after_a_rebuild(make: Make, trade: Trade) -> None:
    following = make(trade.log, RevenueStatistics(), page_events_max=2)
    follow(following)
    before = following.digest(Build("revenue_statistics", VERSION))
    assert following.rebuild("revenue_statistics", untold) == before
