"""Connections lost at every moment of an append: the first answer comes, and nothing is doubled."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from application.ports import Appended, CommandKey, Conflicts, Decision, LogUnavailable, RecordedEvent
from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.event_store import PostgresEventLog, StoreLimits
from infrastructure.ids import new_id
from tests.asynchronous import asynchronous, until
from tests.commands import register, submission, writing
from tests.infrastructure.test_event_store import decision
from tests.people import ACME, ACME_BLOCKED, ACME_REGISTERED, ADA, ADA_REGISTERED, GRACE_ADDED
from tests.places import InPostgres
from tests.proxy import Proxy, proxied

AnyConnection = psycopg.AsyncConnection[tuple[int]]
WRITER = "the writer of this test"
QUICKLY = StoreLimits(append_seconds_max=3, statement_seconds_max=0.5)
"""A server that hangs is given up soon."""


@pytest.fixture
def administrator(postgres: EmbeddedPostgres, log_in_postgres: InPostgres) -> str:
    """Connection string of the superuser to the database of `log_in_postgres`."""
    return postgres.administrator(log_in_postgres.database)


class Watch:
    """Looks at the server from outside."""

    def __init__(self, connection: AnyConnection, holding: AnyConnection) -> None:
        self._connection = connection
        self._holding = holding

    async def backends(self, condition: str) -> list[int]:
        """The processes of backends that append and of which this is true."""
        cursor = await self._connection.execute(
            f"SELECT pid FROM pg_stat_activity WHERE application_name = %s AND ({condition})".encode(), [WRITER]
        )
        return [pid for (pid,) in await cursor.fetchall()]

    async def waiting(self) -> list[int]:
        """The backends that wait for the head row."""
        return await self.backends("wait_event_type = 'Lock'")

    async def is_waiting(self) -> bool:
        """Whether an append waits for the head row."""
        return await self.waiting() != []

    async def nobody_is_left(self) -> bool:
        """Whether no backend is at work on an append any more."""
        return not await self.backends("state <> 'idle'")

    async def hold_head(self) -> None:
        """Lock the head row, so that appends wait."""
        await self._holding.execute("BEGIN")
        await self._holding.execute("SELECT 1 FROM main.log_head FOR UPDATE")

    async def release_head(self) -> None:
        """Let appends go on."""
        await self._holding.execute("COMMIT")


@asynccontextmanager
async def watching(administrator: str) -> AsyncIterator[Watch]:
    async with (
        await psycopg.AsyncConnection.connect(administrator, autocommit=True) as connection,
        await psycopg.AsyncConnection.connect(administrator, autocommit=True) as holding,
    ):
        yield Watch(connection, holding)


@asynccontextmanager
async def behind_a_proxy(
    place: InPostgres, limits: StoreLimits | None = None, *, kind: type[PostgresEventLog] = PostgresEventLog
) -> AsyncIterator[tuple[PostgresEventLog, Proxy]]:
    """The log, appended to by way of a proxy that has let one append through already."""
    direct = make_conninfo(place.databases.service, application_name=WRITER)
    async with proxied(direct) as proxy, place.open(appending=proxy.conninfo, limits=limits, kind=kind) as log:
        await log.append([decision(ACME, 0, ACME_REGISTERED, customer=None)])
        yield log, proxy


async def appended(pending: Awaitable[Appended | Conflicts]) -> list[RecordedEvent]:
    """What was stored behind the one event that was there before."""
    result = await pending
    assert isinstance(result, Appended), result
    assert result.base == 1
    return [event for events in result.events for event in events]


async def assert_stored_once(log: PostgresEventLog, batch: list[Decision], answered: list[RecordedEvent]) -> None:
    """The log holds what was answered behind the one event that was there before, and nothing else."""
    size = sum(len(each.events) for each in batch)
    assert [each.position for each in answered] == list(range(2, size + 2))
    assert list(await log.events(2, size + 9)) == answered
    known = await log.known(each.key for each in batch)
    assert {key: each.command_id for key, each in known.items()} == {
        each.key: each.metadata.command_id for each in batch
    }


def batch() -> list[Decision]:
    """Three commands, with new subjects, of which one writes two events."""
    return [
        decision(ADA, 0, ADA_REGISTERED, ACME_BLOCKED),
        decision(ACME, 1, GRACE_ADDED),
        decision(new_id(), 0, replace(ACME_REGISTERED, customer_number="C-1003")),
    ]


def nothing() -> list[Decision]:
    """Commands that change nothing, so many that every cut is within their request."""
    return [decision(ACME, 1) for _ in range(12)]


CUTS: dict[str, Callable[[Proxy], None]] = {
    "before the request": lambda proxy: proxy.cut_request(0),
    "half a request": lambda proxy: proxy.cut_request(1_000),
    "all but the end of a request": lambda proxy: proxy.cut_request(2_500),
    "request through": lambda proxy: proxy.cut_while_waiting(leaves_backend=False),
    "request through, backend at work": lambda proxy: proxy.cut_while_waiting(leaves_backend=True),
    "before the answer": lambda proxy: proxy.cut_answer(),
    "half an answer": lambda proxy: proxy.cut_answer(20),
}


@pytest.mark.parametrize("sent", [batch, nothing], ids=["events", "nothing changed"])
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
@asynchronous
async def test_a_connection_that_is_cut_doubles_nothing(
    log_in_postgres: InPostgres,
    administrator: str,
    cut: Callable[[Proxy], None],
    sent: Callable[[], list[Decision]],
) -> None:
    async with behind_a_proxy(log_in_postgres) as (log, proxy), watching(administrator) as watch:
        cut(proxy)
        decisions = sent()
        answered = await appended(log.append(decisions))
        assert proxy.cuts == 1
        await until(watch.nobody_is_left)
        await assert_stored_once(log, decisions, answered)


@pytest.mark.parametrize("waiting", [2, 1], ids=["backend at work", "backend told"])
@asynchronous
async def test_a_connection_that_is_cut_while_its_backend_waits_for_the_head_row_doubles_nothing(
    log_in_postgres: InPostgres, administrator: str, waiting: int
) -> None:
    async with behind_a_proxy(log_in_postgres) as (log, proxy), watching(administrator) as watch:
        (first,) = await watch.backends("true")
        await watch.hold_head()
        proxy.cut_while_waiting(leaves_backend=waiting == 2)
        sent = batch()
        pending = asyncio.create_task(log.append(sent))

        async def the_next_one_waits() -> bool:
            backends = await watch.waiting()
            return len(backends) == waiting and backends != [first]

        await until(the_next_one_waits)
        await watch.release_head()
        answered = await appended(pending)
        await until(watch.nobody_is_left)
        await assert_stored_once(log, sent, answered)


@asynchronous
async def test_a_connection_that_is_cut_again_and_again_doubles_nothing(
    log_in_postgres: InPostgres, administrator: str
) -> None:
    async with behind_a_proxy(log_in_postgres) as (log, proxy), watching(administrator) as watch:
        sent = batch()
        cuts = iter(CUTS.values())
        next(cuts)(proxy)
        pending = asyncio.create_task(log.append(sent))
        for done, cut in enumerate(cuts, 1):

            async def is_cut(done: int = done) -> bool:
                return proxy.cuts == done

            await until(is_cut)
            cut(proxy)
        answered = await appended(pending)
        assert proxy.cuts == len(CUTS)
        await until(watch.nobody_is_left)
        await assert_stored_once(log, sent, answered)


@asynchronous
async def test_what_was_stored_before_is_not_taken_for_ones_own(log_in_postgres: InPostgres) -> None:
    """Another process has stored the same request; our own call is lost, and finds it."""
    async with behind_a_proxy(log_in_postgres) as (log, proxy), log_in_postgres.open() as another:
        theirs = decision(ADA, 0, ADA_REGISTERED, key="k")
        await appended(another.append([theirs]))
        mine = decision(new_id(), 0, ADA_REGISTERED, key="k")
        proxy.cut_while_waiting(leaves_backend=False)
        assert await log.append([mine]) == Conflicts(known=frozenset({mine.key}))
        proxy.cut_answer()
        new = decision(ACME, 1, ACME_BLOCKED)
        assert await log.append([theirs, new]) == Conflicts(
            known=frozenset({theirs.key}), stale=frozenset({ADA}), taken=frozenset()
        )
        proxy.cut_answer()
        assert isinstance(await log.append([new]), Appended)


@asynchronous
async def test_a_part_of_what_was_stored_before_is_not_taken_for_all_of_it(log_in_postgres: InPostgres) -> None:
    async with behind_a_proxy(log_in_postgres) as (log, proxy):
        first, second = decision(ADA, 0, ADA_REGISTERED), decision(ACME, 1, ACME_BLOCKED)
        between = decision(new_id(), 0, ACME_REGISTERED)
        await appended(log.append([first, between, second]))
        proxy.cut_answer()
        result = await log.append([first, second])
        assert isinstance(result, Conflicts)
        assert result.known == {first.key, second.key}


# What is wrong is found


class Forgetful(PostgresEventLog):
    """A log that forgets the keys of what it sends again."""

    async def append(self, batch: Sequence[Decision]) -> Appended | Conflicts:
        try:
            return await super().append(batch)
        except LogUnavailable:
            return await super().append([replace(each, key=CommandKey("key:shop", str(new_id()))) for each in batch])


@pytest.mark.parametrize("cut", [CUTS["before the answer"], CUTS["half an answer"]], ids=["before", "half"])
@asynchronous
async def test_a_log_that_forgets_keys_does_not_get_the_first_answer(
    log_in_postgres: InPostgres, cut: Callable[[Proxy], None]
) -> None:
    async with behind_a_proxy(log_in_postgres, StoreLimits(append_seconds_max=0), kind=Forgetful) as (log, proxy):
        cut(proxy)
        sent = batch()
        result = await log.append(sent)
        assert isinstance(result, Conflicts), "its streams have moved, by its own first attempt"
        assert result.known == frozenset()
        assert await log.head() == 5


@asynchronous
async def test_a_look_into_the_log_is_no_answer_to_a_doubt(log_in_postgres: InPostgres, administrator: str) -> None:
    """What a backend that nobody listens to is still at work on is not there when one looks, and there afterwards."""
    limits = StoreLimits(append_seconds_max=0)
    async with behind_a_proxy(log_in_postgres, limits) as (log, proxy), watching(administrator) as watch:
        await watch.hold_head()
        proxy.cut_while_waiting(leaves_backend=True)
        sent = batch()
        with pytest.raises(LogUnavailable):
            await log.append(sent)
        await until(watch.is_waiting)
        assert await log.known(each.key for each in sent) == {}
        await watch.release_head()
        await until(watch.nobody_is_left)
        assert (await log.known(each.key for each in sent)).keys() == {each.key for each in sent}


# Backends that end or hang


@asynchronous
async def test_a_backend_that_was_ended_is_replaced(log_in_postgres: InPostgres, administrator: str) -> None:
    async with behind_a_proxy(log_in_postgres) as (log, _), watching(administrator) as watch:
        (pid,) = await watch.backends("true")
        os.kill(pid, signal.SIGTERM)
        sent = batch()
        await assert_stored_once(log, sent, await appended(log.append(sent)))


@asynchronous
async def test_a_backend_that_is_ended_while_it_waits_is_replaced(
    log_in_postgres: InPostgres, administrator: str
) -> None:
    async with behind_a_proxy(log_in_postgres) as (log, _), watching(administrator) as watch:
        await watch.hold_head()
        sent = batch()
        pending = asyncio.create_task(log.append(sent))
        await until(watch.is_waiting)
        (pid,) = await watch.waiting()
        os.kill(pid, signal.SIGTERM)

        async def another_waits() -> bool:
            return await watch.waiting() not in ([], [pid])

        await until(another_waits)
        await watch.release_head()
        await assert_stored_once(log, sent, await appended(pending))


@asynchronous
async def test_a_backend_that_hangs_is_given_up_and_doubles_nothing_when_it_goes_on(
    log_in_postgres: InPostgres, administrator: str
) -> None:
    async with behind_a_proxy(log_in_postgres, QUICKLY) as (log, _), watching(administrator) as watch:
        (pid,) = await watch.backends("true")
        os.kill(pid, signal.SIGSTOP)
        try:
            sent = batch()
            answered = await appended(log.append(sent))
        finally:
            os.kill(pid, signal.SIGCONT)

        async def it_has_ended() -> bool:
            return pid not in await watch.backends("true")

        await until(it_has_ended)
        await assert_stored_once(log, sent, answered)


@asynchronous
async def test_while_somebody_hangs_with_the_head_row_the_log_is_unavailable(
    log_in_postgres: InPostgres, administrator: str
) -> None:
    limits = StoreLimits(append_seconds_max=0.2, statement_seconds_max=0.2)
    async with behind_a_proxy(log_in_postgres, limits) as (log, _), watching(administrator) as watch:
        await watch.hold_head()
        sent = batch()
        with pytest.raises(LogUnavailable):
            await log.append(sent)
        await watch.release_head()
        await until(watch.nobody_is_left)
        result = await log.append(sent)
        assert isinstance(result, Appended) or result.known == {each.key for each in sent}
        assert await log.head() == 5


@asynchronous
async def test_a_server_that_is_not_there_is_unavailable(log_in_postgres: InPostgres) -> None:
    nowhere = make_conninfo(log_in_postgres.databases.service, host="/nowhere")
    limits = StoreLimits(append_seconds_max=0.1)
    async with log_in_postgres.open(appending=nowhere, limits=limits) as log:
        with pytest.raises(LogUnavailable):
            await log.append(batch())
        assert await log.head() == 0


@asynchronous
async def test_who_has_the_way_for_itself_and_loses_its_connection_leaves_it_to_the_others(
    log_in_postgres: InPostgres,
) -> None:
    async with behind_a_proxy(log_in_postgres) as (log, proxy), log_in_postgres.open() as another:
        async with log.alone():
            proxy.cut_request(0)
        assert proxy.cuts == 1
        sent = batch()
        await assert_stored_once(log, sent, await appended(another.append(sent)))


@asynchronous
async def test_the_writer_gives_the_first_answer_when_the_connection_was_cut(log_in_postgres: InPostgres) -> None:
    async with behind_a_proxy(log_in_postgres) as (log, proxy), writing(log) as writer:
        proxy.cut_answer()
        many = [submission(register(customer_number=f"C-{number}")) for number in range(20)]
        answers = await asyncio.gather(*(writer.submit(each) for each in many))
        assert [answer.position for answer in answers] == list(range(2, 22))
        assert proxy.cuts == 1
        assert await log.head() == 21
