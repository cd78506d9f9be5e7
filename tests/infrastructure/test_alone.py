"""While one writer has the way to the log for itself, the appends of all others wait."""

import asyncio
from datetime import UTC, datetime

import psycopg
from psycopg.conninfo import make_conninfo

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
    rows = await log.fetch("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted", ())
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
    impatient = make_conninfo(log_in_postgres.databases.service, options="-c lock_timeout=50")
    async with log_in_postgres.open() as log, log_in_postgres.open(appending=impatient) as another:
        async with log.alone(), another.alone():
            pass
        assert isinstance(await another.append([_registration("C-1001")]), Appended)


@asynchronous
async def test_it_ends_with_its_connection(log_in_postgres: InPostgres) -> None:
    async with log_in_postgres.open() as log, log_in_postgres.open() as another:
        async with log.alone():
            with psycopg.connect(log_in_postgres.databases.service) as killer:
                killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
                    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                )
            assert isinstance(await another.append([_registration("C-1001")]), Appended)
            assert isinstance(await log.append([_registration("C-1002")]), Appended)
        assert isinstance(await another.append([_registration("C-1003")]), Appended)


@asynchronous
async def test_who_stands_still_with_it_is_sent_away(log_in_postgres: InPostgres) -> None:
    limits = StoreLimits(alone_seconds_max=0.1)
    async with log_in_postgres.open(limits=limits) as log, log_in_postgres.open() as another:
        async with log.alone():
            assert isinstance(await another.append([_registration("C-1001")]), Appended)
            assert isinstance(await log.append([_registration("C-1002")]), Appended)
        assert isinstance(await log.append([_registration("C-1003")]), Appended)


@asynchronous
async def test_who_has_had_it_may_stand_still_afterwards(log_in_postgres: InPostgres) -> None:
    appending = make_conninfo(log_in_postgres.databases.service, application_name="had it")
    async with log_in_postgres.open(limits=StoreLimits(alone_seconds_max=0.1), appending=appending) as log:
        async with log.alone():
            pass

        async def stands_still() -> bool:
            ((seconds,),) = await log.fetch(
                "SELECT extract(epoch FROM max(clock_timestamp() - state_change)) FROM pg_stat_activity "
                "WHERE application_name = 'had it'",
                (),
            )
            assert seconds is not None, "its connection was ended"
            return bool(seconds > 0.2)

        await until(stands_still)
