"""Reading at a position: consistent, bounded by the checkpoint, and unbothered by a rebuild."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from uuid import UUID

import psycopg
import pytest

from infrastructure.database import Databases
from projections import ALL, REPORTS
from projections.read_model import (
    AsyncConnection,
    Build,
    Kept,
    Memory,
    Page,
    ReadModelBehind,
    ReadModelNotFound,
    ReadModels,
    Snapshot,
    Tables,
    copy_array,
    copy_bytes,
    copy_instant,
    copy_text,
)
from projections.reports import ReportNotFound
from projections.revenue_statistics import VERSION
from tests.projections.logs import SCHEMA, ask, ask_report, asked, project, projector
from tests.projections.trade import Trade

FIRST = date(2026, 1, 20)
REVENUE = "revenue_statistics"


async def position(snapshot: Snapshot) -> int:
    return snapshot.position


async def invoices(snapshot: Snapshot) -> int:
    ((count,),) = await snapshot.fetch("SELECT count(*) FROM {documents} WHERE posting <= %s", [snapshot.position])
    return int(count)


@pytest.fixture
def trade(databases: Databases) -> Trade:
    """Three products and two invoices, projected: positions 1 to 5."""
    trade = Trade().registered()
    trade.invoice(FIRST)
    trade.invoice(FIRST)
    project(databases, trade.log)
    return trade


@pytest.mark.usefixtures("trade")
def test_a_question_is_evaluated_at_the_checkpoint_or_at_a_position_before_it(databases: Databases) -> None:
    assert ask(databases, lambda models: models.read(REVENUE, position)) == 5
    assert ask(databases, lambda models: models.read(REVENUE, position, position=4)) == 4
    assert ask(databases, lambda models: models.read(REVENUE, invoices, position=4)) == 1
    assert ask(databases, lambda models: models.read(REVENUE, invoices, position=0)) == 0


@pytest.mark.usefixtures("trade")
def test_no_question_is_answered_beyond_the_checkpoint(databases: Databases) -> None:
    with pytest.raises(ReadModelBehind) as behind:
        ask(databases, lambda models: models.read(REVENUE, position, position=6))
    assert behind.value.details == {"model": REVENUE, "position": "5", "wanted": "6"}
    assert behind.value.status == 503


@pytest.mark.usefixtures("trade")
def test_a_position_that_is_reached_is_not_waited_for(databases: Databases) -> None:
    assert ask(databases, lambda models: models.wait(REVENUE, 5, seconds_max=0)) == 5


@pytest.mark.usefixtures("trade")
def test_a_position_that_is_not_reached_in_time_is_told(databases: Databases) -> None:
    with pytest.raises(ReadModelBehind) as behind:
        ask(databases, lambda models: models.wait(REVENUE, 6, seconds_max=0.01))
    assert behind.value.details["position"] == "5"


def test_a_position_is_waited_for(databases: Databases, trade: Trade) -> None:
    trade.invoice(FIRST)

    async def question(models: ReadModels) -> int:
        waiting = asyncio.create_task(models.wait(REVENUE, 6, seconds_max=60))
        await asyncio.to_thread(project, databases, trade.log)
        return await waiting

    assert ask(databases, question) == 6


@pytest.mark.usefixtures("trade")
@pytest.mark.parametrize(("name", "version"), [("weather", None), (REVENUE, 7)])
def test_what_is_not_there_cannot_be_asked(databases: Databases, name: str, version: int | None) -> None:
    with pytest.raises(ReadModelNotFound):
        ask(databases, lambda models: models.read(name, position, version=version))


@pytest.mark.usefixtures("trade")
def test_a_report_that_is_not_there_cannot_be_asked(databases: Databases) -> None:
    with pytest.raises(ReportNotFound):
        ask_report(databases, lambda reports: reports.run("weather", asked({})))
    assert ask_report(databases, lambda reports: reports.wait(REVENUE, 5, seconds_max=0)) == 5


def test_one_question_sees_one_moment(databases: Databases, trade: Trade) -> None:
    async def count(snapshot: Snapshot) -> int:
        ((rows,),) = await snapshot.fetch("SELECT count(*) FROM {documents}")
        return int(rows)

    async def twice(snapshot: Snapshot) -> tuple[int, int]:
        first = await count(snapshot)
        trade.invoice(FIRST)
        await asyncio.to_thread(project, databases, trade.log)
        return first, await count(snapshot)

    assert ask(databases, lambda models: models.read(REVENUE, twice)) == (2, 2)
    assert ask(databases, lambda models: models.read(REVENUE, count)) == 3


def test_a_reader_whose_tables_were_removed_meanwhile_reads_the_new_ones(databases: Databases, trade: Trade) -> None:
    builds = []

    async def question(snapshot: Snapshot) -> int:
        builds.append(snapshot.tables.build.build)
        if len(builds) == 1:
            rebuilding = projector(databases, trade.log)
            await asyncio.to_thread(rebuilding.rebuild, REVENUE, lambda *_: None)
            rebuilding.close()
        return await invoices(snapshot)

    assert ask(databases, lambda models: models.read(REVENUE, question)) == 2
    assert builds == [1, 2]


@pytest.mark.usefixtures("trade")
def test_the_reader_can_change_nothing(databases: Databases) -> None:
    async def question(snapshot: Snapshot) -> None:
        await snapshot.fetch("DELETE FROM {facts} RETURNING 1")

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        ask(databases, lambda models: models.read(REVENUE, question))
    with psycopg.connect(databases.reader) as reader, pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(f"DELETE FROM {SCHEMA}.{REVENUE}_v{VERSION}_facts".encode())


@pytest.mark.usefixtures("trade")
def test_the_status_tells_of_every_build(databases: Databases) -> None:
    status = ask(databases, lambda models: models.status())
    assert [(each.build.model, each.state, each.position, each.current) for each in status] == [
        (model.name, "live", 5, True) for model in sorted(ALL, key=lambda model: model.name)
    ]


@pytest.mark.usefixtures("trade")
def test_a_question_leaves_its_connection_as_it_was(databases: Databases) -> None:
    async def asking() -> tuple[object, ...]:
        async with await psycopg.AsyncConnection.connect(databases.reader) as connection:

            @asynccontextmanager
            async def connect() -> AsyncIterator[AsyncConnection]:
                yield connection

            before = await (await connection.execute("SHOW work_mem")).fetchone()
            await connection.rollback()
            await ReadModels(connect, SCHEMA).read(REVENUE, position)
            after = await (await connection.execute("SHOW work_mem")).fetchone()
            return before, after

    before, after = asyncio.run(asking())
    assert before == after


def test_every_report_is_of_a_read_model_of_the_house() -> None:
    models = {(model.name, model.version) for model in ALL}
    assert all((each.definition.model, each.definition.version) in models for each in REPORTS)


def test_tables_are_named_after_model_version_and_build() -> None:
    first, again = Tables("branch_read", Build("bakery", 2)), Tables("branch_read", Build("bakery", 2, 3))
    assert first["loaves"] == '"branch_read"."bakery_v2_loaves"'
    assert again["loaves"] == '"branch_read"."bakery_v2_b3_loaves"'
    assert first.erased_subjects == '"branch".erased_subjects'
    assert first.sql("SELECT {what} FROM {loaves}", what="{one}", one="1") == (
        b'SELECT 1 FROM "branch_read"."bakery_v2_loaves"'
    )


def test_texts_are_escaped_and_nothing_is_null() -> None:
    assert copy_text("a\tb\nc\rd\\e") == "a\\tb\\nc\\rd\\\\e"
    assert copy_text(None) == "\\N"
    assert copy_bytes(b"\x00\xff") == "\\\\x00ff"


def test_arrays_and_instants_are_read_as_they_were_written(databases: Databases) -> None:
    ids, noon = [UUID(int=1), UUID(int=2)], datetime(2026, 6, 8, 12, 0, 0, 5, tzinfo=UTC)
    with psycopg.connect(databases.projector) as connection:
        row = connection.execute(
            "SELECT %s::uuid[], %s::timestamptz[], %s::timestamptz",
            [copy_array(ids), copy_array([noon]), copy_instant(noon)],
        ).fetchone()
    assert row == (ids, [noon], noon)


def test_more_rows_than_are_sent_at_once_are_appended(databases: Databases) -> None:
    with psycopg.connect(databases.projector) as connection:
        connection.execute("CREATE TEMPORARY TABLE bakery_v1_loaves (number integer)")
        page = Page(connection, Tables("pg_temp", Build("bakery", 1)), [], 0, 1, lambda _kind, _value: b"")
        page.append("loaves", "number", (f"{number}\n" for number in range(1_200)))
        row = connection.execute("SELECT count(*), sum(number) FROM bakery_v1_loaves").fetchone()
    assert row == (1_200, 719_400)


def test_a_page_is_recalled_once_and_only_where_it_ended() -> None:
    memory = Memory()
    memory.remember(7, "Ada")
    assert (memory.recall(6), memory.recall(7)) == (None, None)
    memory.remember(7, "Ada")
    assert (memory.recall(7), memory.recall(7)) == ("Ada", None)


def test_what_was_not_asked_for_longest_is_forgotten_first() -> None:
    kept = Kept()
    for number in range(40):
        kept.put(number, str(number))
        assert kept.get(0) == "0"
    assert kept.get(1) is None
    assert kept.get(39) == "39"
