"""While one writer has the way to the log for itself, the appends of all others wait."""

import asyncio
from datetime import UTC, datetime

import psycopg

from application.aggregates import Claim
from application.ports import Appended, CommandKey, Decision, NewClaim, NewEvent
from application.unit_of_work import ActorKind, Metadata
from domain.customer import CustomerNumberIsTaken
from infrastructure.event_store import PostgresEventLog, StoreLimits
from infrastructure.ids import new_id
from tests.asynchronous import asynchronous, until
from tests.people import ACME_REGISTERED
from tests.places import InPostgres

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)


def _registration(number: str) -> Decision:
    stream, command = new_id(), new_id()
    metadata = Metadata(
        command, "key:shop", ActorKind.SERVICE, occurred_at=NOW, received_at=NOW, correlation_id=command
    )
    claim = NewClaim(Claim("customer:number", number), stream, CustomerNumberIsTaken())
    events = (NewEvent(stream, 1, ACME_REGISTERED, stream),)
    return Decision(
        CommandKey("key:shop", str(command)), b"digest", metadata, stream, events, {stream: 0}, claims=(claim,)
    )


async def _is_waiting(log: PostgresEventLog) -> bool:
    rows = await log.fetch("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", ())
    return bool(rows[0][0])


@asynchronous
async def test_others_wait_until_it_is_done(log_in_postgres: InPostgres) -> None:
    async with log_in_postgres.open() as log, log_in_postgres.open() as another:
        async with log.alone():
            waiting = asyncio.create_task(another.append([_registration("C-1002")]))
            await until(lambda: _is_waiting(log))
            first = await log.append([_registration("C-1001")])
            assert not waiting.done()
        second = await waiting
    assert isinstance(first, Appended)
    assert isinstance(second, Appended)
    assert [each.position for (each,) in (*first.events, *second.events)] == [1, 2]


@asynchronous
async def test_who_cannot_have_it_in_time_goes_on_without(log_in_postgres: InPostgres) -> None:
    async with (
        log_in_postgres.open() as log,
        log_in_postgres.open(limits=StoreLimits(alone_seconds_max=0.05)) as another,
    ):
        async with log.alone(), another.alone():
            pass
        assert isinstance(await another.append([_registration("C-1001")]), Appended)


@asynchronous
async def test_it_ends_with_its_connection(log_in_postgres: InPostgres) -> None:
    async with log_in_postgres.open() as log, log_in_postgres.open() as another:
        async with log.alone():
            with psycopg.connect(log_in_postgres.databases.service) as killer:
                killer.execute("SELECT pg_terminate_backend(reserved_by, 5000) FROM main.log_head")
            assert isinstance(await another.append([_registration("C-1001")]), Appended)
            assert isinstance(await log.append([_registration("C-1002")]), Appended)
        assert isinstance(await another.append([_registration("C-1003")]), Appended)


@asynchronous
async def test_who_loses_the_connection_before_goes_on_without(log_in_postgres: InPostgres) -> None:
    async with log_in_postgres.open() as log:
        assert isinstance(await log.append([_registration("C-1001")]), Appended)
        with psycopg.connect(log_in_postgres.databases.service) as killer:
            killer.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND query LIKE '%append(%'"
            )
        async with log.alone():
            assert isinstance(await log.append([_registration("C-1002")]), Appended)


@asynchronous
async def test_who_stands_still_with_it_is_sent_away(log_in_postgres: InPostgres) -> None:
    limits = StoreLimits(alone_seconds_max=0.1)
    async with log_in_postgres.open(limits=limits) as log, log_in_postgres.open() as another:
        async with log.alone():
            assert isinstance(await another.append([_registration("C-1001")]), Appended)
            assert isinstance(await log.append([_registration("C-1002")]), Appended)
        assert isinstance(await log.append([_registration("C-1003")]), Appended)


@asynchronous
async def test_who_waits_for_it_has_it_next_one_after_the_other(log_in_postgres: InPostgres) -> None:
    having = 0

    async def have(log: PostgresEventLog) -> None:
        nonlocal having
        async with log.alone():
            rows = await log.fetch("SELECT count(*) FROM main.log_head WHERE reserved_until > clock_timestamp()", ())
            assert rows[0][0] == 1
            having += 1
            await log.fetch("SELECT pg_sleep(0.02)", ())
            assert having == 1
            having -= 1

    async with (
        log_in_postgres.open() as first,
        log_in_postgres.open() as second,
        log_in_postgres.open() as third,
    ):
        await asyncio.gather(*(have(log) for log in (first, second, third)))
        assert await first.fetch("SELECT reserved_by, reserved_until FROM main.log_head", ()) == [(None, None)]


@asynchronous
async def test_nobody_is_waited_for_longer_than_two_seconds(log_in_postgres: InPostgres) -> None:
    """Neither when more is asked for, nor when the clock was put back, nor when others reserve the log all the time."""
    limits = StoreLimits(alone_seconds_max=3600)
    async with log_in_postgres.open(limits=limits) as log, log_in_postgres.open() as another:
        async with log.alone():
            ((seconds,),) = await log.fetch(
                "SELECT extract(epoch FROM reserved_until - clock_timestamp()) FROM main.log_head", ()
            )
            assert 0 < seconds <= 2
            with psycopg.connect(log_in_postgres.databases.operator) as operator:
                operator.execute("SET ROLE rapport_owner")
                operator.execute("UPDATE main.log_head SET reserved_until = reserved_until + interval '1 hour'")
            assert isinstance(await another.append([_registration("C-1001")]), Appended)
        reserving = asyncio.create_task(_reserve_all_the_time(log_in_postgres))
        assert isinstance(await another.append([_registration("C-1002")]), Appended)
        reserving.cancel()


async def _reserve_all_the_time(place: InPostgres) -> None:
    async with await psycopg.AsyncConnection.connect(place.databases.service, autocommit=True) as connection:
        while True:
            await connection.execute("SELECT main.reserve_log(2)")
            await asyncio.sleep(0.05)
