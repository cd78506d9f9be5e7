"""Reading the log in Postgres: snapshots, waking of followers, and servers that do not answer."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from application.aggregates import Aggregate
from application.commands import AGGREGATES
from application.ports import LogUnavailable, Stream
from domain.customer import MasterDataConfirmed
from domain.values import ERASED, ContactId
from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.event_store import StoreLimits
from infrastructure.event_store_reading import state_adapter
from infrastructure.event_types import EVENT_TYPES
from infrastructure.ids import new_id
from infrastructure.records import channel
from tests.asynchronous import asynchronous
from tests.golden.examples import EXAMPLES
from tests.infrastructure.test_event_store import decision, store
from tests.people import ACME, ACME_BLOCKED, ACME_REGISTERED, ADA, GRACE_ADDED
from tests.places import InPostgres
from tests.proxy import proxied

READER = "the reader of this test"
HASTY = StoreLimits(append_seconds_max=0.2, statement_seconds_max=0.2)


@pytest.fixture
def administrator(postgres: EmbeddedPostgres, log_in_postgres: InPostgres) -> str:
    """Connection string of the superuser to the database of `log_in_postgres`."""
    return postgres.administrator(log_in_postgres.database)


# Snapshots


def snapshots(administrator: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(administrator) as connection:
        return connection.execute(
            "SELECT stream_id, aggregate, version, state_version FROM main.snapshots ORDER BY stream_id"
        ).fetchall()


def change_snapshots(administrator: str, change: str) -> None:
    with psycopg.connect(administrator) as connection:
        connection.execute(f"UPDATE main.snapshots SET {change}".encode())


def confirmed(times: int) -> tuple[object, ...]:
    """What happens to Acme Bakery, so many times."""
    return (ACME_REGISTERED, *[MasterDataConfirmed()] * (times - 1))


@asynchronous
async def test_a_stream_that_took_long_to_load_gets_a_snapshot(log_in_postgres: InPostgres, administrator: str) -> None:
    limits = StoreLimits(snapshot_events_min=5)
    async with log_in_postgres.open(limits=limits) as log:
        await store(log, decision(ACME, 0, *confirmed(5)), decision(ADA, 0, *confirmed(4)))
        await log.load([ACME, ADA])
        assert snapshots(administrator) == [(ACME, "customer", 5, 1)]
        await store(log, decision(ACME, 5, *[MasterDataConfirmed()] * 4, ACME_BLOCKED))
        assert (await log.load([ACME]))[ACME].state.blocked
        assert snapshots(administrator) == [(ACME, "customer", 10, 1)]


@asynchronous
async def test_a_stream_is_folded_from_its_snapshot(log_in_postgres: InPostgres, administrator: str) -> None:
    limits = StoreLimits(snapshot_events_min=5)
    async with log_in_postgres.open(limits=limits) as log:
        await store(log, decision(ACME, 0, *confirmed(5)))
        loaded = await log.load([ACME])
        assert await log.load([ACME]) == loaded
        change_snapshots(
            administrator, "state = convert_to(replace(convert_from(state, 'UTF8'), '\"EUR\"', '\"SEK\"'), 'UTF8')"
        )
        assert (await log.load([ACME]))[ACME] == Stream(5, replace(loaded[ACME].state, currency="SEK"))


@pytest.mark.parametrize("change", ["state_version = 2", "aggregate = 'spaceship'"])
@asynchronous
async def test_a_snapshot_in_another_shape_is_ignored(
    log_in_postgres: InPostgres, administrator: str, change: str
) -> None:
    limits = StoreLimits(snapshot_events_min=5)
    async with log_in_postgres.open(limits=limits) as log:
        await store(log, decision(ACME, 0, *confirmed(5)))
        loaded = await log.load([ACME])
        change_snapshots(administrator, f"{change}, state = 'no JSON'")
        assert await log.load([ACME]) == loaded


@asynchronous
async def test_a_newer_snapshot_stays(log_in_postgres: InPostgres, administrator: str) -> None:
    statement = b"SELECT main.keep_snapshot(%s, 'customer', %s, %s, 'state')"
    with psycopg.connect(log_in_postgres.databases.service, autocommit=True) as service:
        for version, state_version, kept in ((5, 1, (5, 1)), (4, 1, (5, 1)), (3, 2, (3, 2)), (9, 1, (3, 2))):
            service.execute(statement, [ACME, version, state_version])
            assert snapshots(administrator) == [(ACME, "customer", *kept)]


@pytest.mark.parametrize("aggregate", AGGREGATES.values(), ids=AGGREGATES.keys())
def test_a_state_is_the_same_after_a_snapshot(aggregate: Aggregate[Any]) -> None:
    events = [each for each in EXAMPLES if EVENT_TYPES.by_class[type(each)].aggregate == aggregate.name]
    state, folded = None, 0
    for event in events:
        with suppress(ValueError):  # it cannot be the first of a stream
            state = aggregate.evolve(state, event)
            folded += 1
            body = state_adapter(aggregate).dump_json(state)
            assert state_adapter(aggregate).validate_json(body) == state
    assert folded > len(events) / 2


# Keys


@asynchronous
async def test_keys_that_were_forgotten_are_loaded_again(log_in_postgres: InPostgres) -> None:
    limits = StoreLimits(cached_subject_keys_max=2)
    async with log_in_postgres.open(limits=limits) as log:
        contacts = [replace(GRACE_ADDED, contact_id=ContactId(new_id())) for _ in range(5)]
        await store(log, decision(ACME, 0, ACME_REGISTERED, *contacts))
        await store(log, decision(ACME, 6, *contacts))
        read = [each.event for each in await log.stream(ACME, 1, 100)]
        assert read == contacts * 2
        assert len(log.codec.references([each.body for each in await log.stream(ACME, 1, 100)])) == 5
        log_in_postgres.destroy_subject(contacts[1].contact_id)
        read = [each.event for each in await log.stream(ACME, 1, 100)]
        assert [each.name for each in read] == [GRACE_ADDED.name, ERASED, *[GRACE_ADDED.name] * 3] * 2


# Followers


@asynchronous
async def test_followers_are_woken_once_for_the_appends_of_a_moment(log_in_postgres: InPostgres) -> None:
    async with (
        await psycopg.AsyncConnection.connect(log_in_postgres.databases.projector, autocommit=True) as follower,
        log_in_postgres.open(limits=StoreLimits(wake_seconds=0.1)) as log,
    ):
        await follower.execute(f"LISTEN {channel('main')}".encode())
        for version in range(20):
            await store(log, decision(ACME, version, *confirmed(20)[version:][:1]))
        await log.close()  # all has been told now
        woken = [each.payload async for each in follower.notifies(stop_after=1)]
    assert set(woken) == {""}
    assert len(woken) < 20


@asynchronous
async def test_what_is_appended_while_followers_are_being_woken_wakes_them_again(
    log_in_postgres: InPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        await psycopg.AsyncConnection.connect(log_in_postgres.databases.projector, autocommit=True) as follower,
        log_in_postgres.open() as log,
    ):
        fetch, later = log.fetch, [decision(ADA, 0, *confirmed(1))]

        async def fetch_and_append(statement: str, arguments: Sequence[object]) -> list[tuple[Any, ...]]:
            rows = await fetch(statement, arguments)
            if "pg_notify" in statement and later:
                await store(log, later.pop())
            return rows

        monkeypatch.setattr(log, "fetch", fetch_and_append)
        await follower.execute(f"LISTEN {channel('main')}".encode())
        await store(log, decision(ACME, 0, *confirmed(1)))
        assert len([each async for each in follower.notifies(stop_after=2)]) == 2
    assert later == []


# Servers that do not answer


@asynchronous
async def test_a_question_survives_the_loss_of_its_connection(log_in_postgres: InPostgres) -> None:
    async with log_in_postgres.open() as another:
        await store(another, decision(ACME, 0, ACME_REGISTERED))
    async with proxied(log_in_postgres.databases.service) as proxy, log_in_postgres.open(reading=proxy.conninfo) as log:
        await log.head()
        cuts: list[Callable[[], None]] = [
            proxy.cut_answer,
            lambda: proxy.cut_request(5),
            lambda: proxy.cut_answer(9),
        ]
        for cut in cuts:
            cut()
            assert await log.versions([ACME]) == {ACME: 1}
        assert proxy.cuts == 3


@asynchronous
async def test_a_server_that_is_not_there_is_unavailable(log_in_postgres: InPostgres) -> None:
    nowhere = make_conninfo(log_in_postgres.databases.service, host="/nowhere")
    async with log_in_postgres.open(reading=nowhere, connection_seconds_max=0.1) as log:
        with pytest.raises(LogUnavailable):
            await log.head()


@asynchronous
async def test_a_question_that_gets_no_answer_is_given_up(log_in_postgres: InPostgres, administrator: str) -> None:
    reading = make_conninfo(log_in_postgres.databases.service, application_name=READER)
    async with log_in_postgres.open(reading=reading, limits=HASTY, connections_max=1) as log:
        await log.head()
        with psycopg.connect(administrator) as connection:
            ((pid,),) = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = %s", [READER]
            ).fetchall()
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(LogUnavailable):
                await log.head()
            assert await log.head() == 0  # on another connection
        finally:
            os.kill(pid, signal.SIGCONT)


@asynchronous
async def test_when_all_connections_are_taken_the_log_is_unavailable(
    log_in_postgres: InPostgres, administrator: str
) -> None:
    async with (
        log_in_postgres.open(connections_max=1, connection_seconds_max=0.1) as log,
        await psycopg.AsyncConnection.connect(administrator) as holding,
    ):
        await holding.execute("SELECT 1 FROM main.log_head FOR UPDATE")
        waiting = asyncio.create_task(log.position_at(datetime.now(UTC) - timedelta(microseconds=1)))

        async def ask_until_it_is_unavailable() -> None:
            while True:
                await log.head()

        with pytest.raises(LogUnavailable):
            await ask_until_it_is_unavailable()
        await holding.rollback()
        assert await waiting == 0
        assert await log.head() == 0
