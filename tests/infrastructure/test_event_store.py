"""What every log promises, whether it is in Postgres or in memory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from application.aggregates import Claim
from application.customers import CUSTOMER
from application.ports import (
    Appended,
    CommandKey,
    Conflicts,
    Decision,
    KnownCommand,
    NewClaim,
    NewEvent,
    RecordedEvent,
    Stream,
)
from application.products import PRODUCT
from application.submissions import EventIsTooLarge, SubjectIsErased
from application.unit_of_work import ActorKind, Metadata
from domain.customer import CustomerNumberIsTaken, CustomerUnblocked, MasterDataConfirmed
from domain.product import ProductRegistered
from domain.values import ERASED, ContactId
from infrastructure.codec import BODY_BYTES_MAX
from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.event_store import MomentIsNotOver
from infrastructure.ids import new_id
from tests.asynchronous import asynchronous
from tests.infrastructure.clocks import SetClock, own_clock
from tests.people import (
    ACME,
    ACME_BLOCKED,
    ACME_REGISTERED,
    ADA,
    ADA_REGISTERED,
    GRACE,
    GRACE_ADDED,
    GRACE_CALLED,
    GRACE_LEFT,
)
from tests.places import AnyLog, InMemory, InPostgres, Place

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)
FLOUR = UUID("01900000-0000-7000-8000-0000000000f1")
FLOUR_REGISTERED = ProductRegistered(product_number="$personal", name="Flour 405", base_unit="kg")
NUMBER, IN_THE_SHOP = CUSTOMER.reference("number", "C-1001"), CUSTOMER.reference("shop", "4711")


@pytest.fixture(params=["in memory", "in Postgres"])
def place(request: pytest.FixtureRequest) -> Place:
    """A place where a log is."""
    if request.param == "in memory":
        return InMemory()
    in_postgres: InPostgres = request.getfixturevalue("log_in_postgres")
    return in_postgres


@pytest.fixture
def put_clock(request: pytest.FixtureRequest, place: Place) -> Iterator[SetClock]:
    """Puts the clock that the log goes by, forwards or back."""
    if isinstance(place, InMemory):
        yield place.put_clock
        return
    assert isinstance(place, InPostgres)
    postgres: EmbeddedPostgres = request.getfixturevalue("postgres")
    superuser = psycopg.connect(postgres.administrator(place.database), autocommit=True)
    with superuser, own_clock(superuser) as put:
        yield put


def claimed(claim: Claim, stream: UUID, subject: UUID | None = None) -> NewClaim:
    return NewClaim(claim, stream, CustomerNumberIsTaken(), subject)


def decision(  # noqa: PLR0913 - everything that a decision may hold
    stream: UUID,
    after: int,
    *events: object,
    key: str | None = None,
    reads: Mapping[UUID, int] | None = None,
    followed: Mapping[Claim, UUID] | None = None,
    claims: Iterable[NewClaim] = (),
    released: Iterable[Claim] = (),
    more: Iterable[NewEvent] = (),
    customer: UUID | None = ACME,
) -> Decision:
    """A decision to append events to a stream after a version."""
    command_id = new_id()
    metadata = Metadata(
        command_id=command_id,
        actor="key:shop",
        actor_kind=ActorKind.SERVICE,
        occurred_at=NOON,
        received_at=NOON,
        correlation_id=command_id,
    )
    return Decision(
        key=CommandKey("key:shop", key or str(command_id)),
        digest=b"digest of the request",
        metadata=metadata,
        target_id=stream,
        events=(*(NewEvent(stream, after + n, event, customer) for n, event in enumerate(events, 1)), *more),
        reads={stream: after} | dict(reads or {}),
        followed=followed or {},
        claims=tuple(claims),
        released=tuple(released),
    )


async def store(log: AnyLog, *batch: Decision) -> list[RecordedEvent]:
    """Append a batch that nothing stands in the way of."""
    result = await log.append(batch)
    assert isinstance(result, Appended), result
    return [event for events in result.events for event in events]


async def conflicts(log: AnyLog, *batch: Decision) -> Conflicts:
    """Append a batch that something stands in the way of, and find nothing stored of it."""
    before, known = await log.head(), await log.known(each.key for each in batch)
    held = await log.holders([new.claim for each in batch for new in each.claims])
    result = await log.append(batch)
    assert isinstance(result, Conflicts), result
    assert await log.head() == before
    assert await log.known(each.key for each in batch) == known
    assert await log.holders([new.claim for each in batch for new in each.claims]) == held
    return result


def kinds(refused: Mapping[int, object]) -> dict[int, type]:
    return {place: type(refusal) for place, refusal in refused.items()}


# Appending and reading


@asynchronous
async def test_an_empty_log_knows_nothing(place: Place) -> None:
    async with place.open() as log:
        assert await log.load([ACME]) == {ACME: Stream(0, None)}
        assert await log.versions([ACME]) == {ACME: 0}
        assert await log.holders([NUMBER]) == {}
        assert await log.known([CommandKey("key:shop", "1")]) == {}
        assert list(await log.events(1, 10)) == []
        events, end = await log.feed(0, 10)
        assert (list(events), end) == ([], 0)
        assert list(await log.history(ACME, 0, 10)) == []
        assert (await log.head(), await log.position_at(NOON)) == (0, 0)


@asynchronous
async def test_what_is_appended_is_read_as_it_was_appended(place: Place) -> None:
    async with place.open() as log:
        batch = [
            decision(ACME, 0, ACME_REGISTERED, GRACE_ADDED),
            decision(FLOUR, 0, FLOUR_REGISTERED, customer=None),
            decision(ACME, 2, GRACE_CALLED, reads={FLOUR: 1}),
        ]
        stored = await store(log, *batch)
        assert [(each.position, each.stream_id, each.version) for each in stored] == [
            (1, ACME, 1),
            (2, ACME, 2),
            (3, FLOUR, 1),
            (4, ACME, 3),
        ]
        assert [each.event for each in stored] == [ACME_REGISTERED, GRACE_ADDED, FLOUR_REGISTERED, GRACE_CALLED]
        assert len({each.recorded_at for each in stored}) == 1
    async with place.open() as another:
        assert list(await another.events(1, 4)) == stored
        assert await another.events_at([4, 2]) == [stored[1], stored[3]]


@asynchronous
async def test_the_envelope_of_an_event_is_that_of_its_command(place: Place) -> None:
    whole = decision(ACME, 0, ACME_REGISTERED)
    metadata = replace(
        whole.metadata,
        actor_kind=ActorKind.IMPORT,
        occurred_at=datetime(1, 1, 1, tzinfo=UTC),
        causation_id=FLOUR,
        on_behalf_of='staff:"d"',
        reason="back\\slash, {braces} and NULL",
        source="erp",
        source_recorded_at=datetime(2199, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    )
    async with place.open() as log:
        (stored,) = await store(log, replace(whole, metadata=metadata, key=CommandKey("NULL", '"}\\')))
        (read,) = await log.events(1, 1)
        assert read == stored
        assert (read.on_behalf_of, read.reason) == (metadata.on_behalf_of, metadata.reason)
        assert (read.occurred_at, read.source_recorded_at) == (metadata.occurred_at, metadata.source_recorded_at)
        assert (read.causation_id, read.correlation_id) == (FLOUR, whole.metadata.correlation_id)
        assert (await log.known([CommandKey("NULL", '"}\\')])).keys() == {CommandKey("NULL", '"}\\')}


@asynchronous
async def test_streams_are_folded(place: Place) -> None:
    async with place.open() as log:
        await store(log, decision(ACME, 0, ACME_REGISTERED, GRACE_ADDED, ACME_BLOCKED))
        await store(log, decision(FLOUR, 0, FLOUR_REGISTERED), decision(ACME, 3, GRACE_LEFT))
        loaded = await log.load([ACME, FLOUR, ADA])
        assert loaded == {
            ACME: Stream(4, CUSTOMER.fold(None, (ACME_REGISTERED, GRACE_ADDED, ACME_BLOCKED, GRACE_LEFT))),
            FLOUR: Stream(1, PRODUCT.fold(None, (FLOUR_REGISTERED,))),
            ADA: Stream(0, None),
        }
        assert await log.versions([ACME, FLOUR, ADA]) == {ACME: 4, FLOUR: 1, ADA: 0}


@asynchronous
async def test_a_long_stream_is_folded_to_the_same_state_however_often_it_is_loaded(place: Place) -> None:
    registered_and_called = (ACME_REGISTERED, GRACE_ADDED, *[GRACE_CALLED] * 300)
    async with place.open() as log:
        await store(log, decision(ACME, 0, *registered_and_called))
        expected = Stream(302, CUSTOMER.fold(None, registered_and_called))
        assert (await log.load([ACME]))[ACME] == expected
        assert (await log.load([ACME]))[ACME] == expected
        await store(log, decision(ACME, 302, ACME_BLOCKED))
        assert (await log.load([ACME]))[ACME] == Stream(303, CUSTOMER.fold(expected.state, (ACME_BLOCKED,)))


@asynchronous
async def test_a_known_command_leads_to_its_events(place: Place) -> None:
    async with place.open() as log:
        first = decision(ACME, 0, ACME_REGISTERED, GRACE_ADDED, key="1")
        second = decision(FLOUR, 0, FLOUR_REGISTERED, key="2")
        await store(log, first, second)
        assert await log.known([first.key, second.key, CommandKey("key:erp", "1")]) == {
            first.key: KnownCommand(first.digest, first.metadata.command_id, ACME, 1, 2, 2),
            second.key: KnownCommand(second.digest, second.metadata.command_id, FLOUR, 3, 3, 1),
        }


@asynchronous
async def test_a_command_that_changed_nothing_is_known_by_where_the_log_ended(place: Place) -> None:
    async with place.open() as log:
        await store(log, decision(ACME, 0, ACME_REGISTERED))
        nothing = replace(decision(ACME, 1), credential_id=FLOUR)
        among = (decision(ACME, 1, ACME_BLOCKED), decision(ACME, 2), decision(FLOUR, 0, FLOUR_REGISTERED))
        assert await log.append([nothing]) == Appended(((),), 1)
        appended = await log.append(among)
        assert isinstance(appended, Appended)
        assert (appended.base, [len(events) for events in appended.events]) == (1, [1, 0, 1])
        known = await log.known([nothing.key, among[1].key])
        assert known == {
            nothing.key: KnownCommand(nothing.digest, nothing.metadata.command_id, ACME, 2, 1, 1, FLOUR),
            among[1].key: KnownCommand(among[1].digest, among[1].metadata.command_id, ACME, 3, 2, 2),
        }
        assert await log.events(2, 1) == []
        stale = await log.append([decision(ACME, 1)])
        assert isinstance(stale, Conflicts)
        assert stale.stale == {ACME}


@asynchronous
async def test_a_known_command_tells_the_version_of_its_stream_wherever_its_events_went(place: Place) -> None:
    async with place.open() as log:
        await store(log, decision(ACME, 0, ACME_REGISTERED, GRACE_ADDED), decision(ADA, 0, ADA_REGISTERED))
        elsewhere = decision(ACME, 2, more=[NewEvent(ADA, 2, ACME_BLOCKED, ADA)], reads={ADA: 1})
        await store(log, elsewhere, decision(ACME, 2, ACME_BLOCKED))
        assert (await log.known([elsewhere.key]))[elsewhere.key].target_version == 2


@asynchronous
async def test_one_command_may_write_to_two_streams(place: Place) -> None:
    async with place.open() as log:
        await store(log, decision(ACME, 0, ACME_REGISTERED), decision(ADA, 0, ADA_REGISTERED))
        both = decision(ACME, 1, ACME_BLOCKED, reads={ADA: 1}, more=[NewEvent(ADA, 2, ACME_BLOCKED, ADA)])
        await store(log, both)
        assert await log.versions([ACME, ADA]) == {ACME: 2, ADA: 2}
        assert (await conflicts(log, replace(both, key=CommandKey("a", "b")))).stale == {ACME, ADA}


@asynchronous
async def test_the_feed_the_history_and_a_stream_are_read_page_by_page(place: Place) -> None:
    async with place.open() as log:
        await store(log, decision(ACME, 0, ACME_REGISTERED), decision(FLOUR, 0, FLOUR_REGISTERED, customer=None))
        await store(log, decision(ACME, 1, ACME_BLOCKED), decision(ADA, 0, ADA_REGISTERED, customer=ADA))

        async def feed(after: int, limit: int, *types: str) -> tuple[list[int], int]:
            events, end = await log.feed(after, limit, types)
            return [each.position for each in events], end

        assert await feed(0, 3) == ([1, 2, 3], 3)
        assert await feed(3, 3) == ([4], 4)
        assert await feed(4, 3) == ([], 4)
        assert await feed(9, 3) == ([], 9)
        assert await feed(0, 3, "product.registered", "customer.blocked") == ([2, 3], 3)
        assert await feed(3, 3, "product.registered") == ([], 4)
        assert [each.position for each in await log.history(ACME, 0, 10)] == [1, 3]
        assert [each.position for each in await log.history(ACME, 1, 10)] == [3]
        assert [each.position for each in await log.history(ACME, 0, 1)] == [1]
        assert [each.position for each in await log.history(ACME, 0, 10, 2)] == [1]
        assert [each.position for each in await log.history(ACME, 0, 10, 0)] == []
        assert [each.version for each in await log.stream(ACME, 0, 10)] == [1, 2]
        assert [each.version for each in await log.stream(ACME, 1, 10)] == [2]
        assert [each.version for each in await log.stream(ACME, 0, 1)] == [1]


@asynchronous
async def test_a_preview_is_what_would_be_recorded(place: Place) -> None:
    async with place.open() as log:
        planned = decision(ACME, 0, ACME_REGISTERED, GRACE_ADDED)
        previewed = log.preview(planned)
        assert [(each.position, each.body) for each in previewed] == [(0, b""), (0, b"")]
        stored = await store(log, planned)
        assert [replace(each, position=0, body=b"", recorded_at=NOON) for each in stored] == list(previewed)


@asynchronous
async def test_equal_requests_have_equal_digests(place: Place) -> None:
    async with place.open() as log, place.open() as another:
        assert log.digest(b"a") == another.digest(b"a") != log.digest(b"b")


# Conflicts


@asynchronous
async def test_a_stream_that_has_moved_is_a_conflict(place: Place) -> None:
    async with place.open() as log, place.open() as another:
        await store(log, decision(ACME, 0, ACME_REGISTERED, ACME_BLOCKED))
        for after in (0, 1, 3):
            assert await conflicts(another, decision(ACME, after, CustomerUnblocked())) == Conflicts(
                stale=frozenset({ACME})
            )
        assert (await conflicts(another, decision(ADA, 1, ACME_BLOCKED))).stale == {ADA}


@asynchronous
async def test_a_stream_that_was_only_read_and_has_moved_is_a_conflict(place: Place) -> None:
    async with place.open() as log, place.open() as another:
        await store(log, decision(ACME, 0, ACME_REGISTERED, ACME_BLOCKED))
        for version in (0, 1, 3):
            stale = (await conflicts(another, decision(FLOUR, 0, FLOUR_REGISTERED, reads={ACME: version}))).stale
            assert stale == {ACME}
        assert (await conflicts(another, decision(FLOUR, 0, FLOUR_REGISTERED, reads={ADA: 1}))).stale == {ADA}
        await store(another, decision(FLOUR, 0, FLOUR_REGISTERED, reads={ACME: 2, ADA: 0}))


@asynchronous
async def test_decisions_of_one_batch_see_each_stream_as_those_before_them_leave_it(place: Place) -> None:
    product = new_id()
    async with place.open() as log:
        await store(log, decision(ACME, 0, ACME_REGISTERED))
        read_before = decision(FLOUR, 0, FLOUR_REGISTERED, reads={ACME: 1})
        written = decision(ACME, 1, ACME_BLOCKED)
        read_after = decision(product, 0, FLOUR_REGISTERED, reads={ACME: 2})
        for batch in ([written, read_before], [read_after, written], [read_before, read_after]):
            assert (await conflicts(log, *batch)).stale == {ACME}
        await store(log, read_before, written, read_after)


@asynchronous
async def test_a_known_command_is_a_conflict(place: Place) -> None:
    async with place.open() as log, place.open() as another:
        await store(log, decision(ACME, 0, ACME_REGISTERED, key="1"))
        new, old = decision(ADA, 0, ADA_REGISTERED, key="2"), decision(FLOUR, 0, FLOUR_REGISTERED, key="1")
        assert await conflicts(another, new, old) == Conflicts(known=frozenset({old.key}))


@asynchronous
async def test_a_held_claim_is_a_conflict(place: Place) -> None:
    async with place.open() as log, place.open() as another:
        await store(log, decision(ACME, 0, ACME_REGISTERED, claims=[claimed(NUMBER, ACME)]))
        assert await another.holders([NUMBER, IN_THE_SHOP]) == {NUMBER: ACME}
        taking = decision(ADA, 0, ADA_REGISTERED, claims=[claimed(IN_THE_SHOP, ADA), claimed(NUMBER, ADA)])
        assert await conflicts(another, taking) == Conflicts(taken=frozenset({NUMBER}))


@asynchronous
async def test_a_claim_that_leads_elsewhere_than_it_was_followed_to_is_a_conflict(place: Place) -> None:
    async with place.open() as log, place.open() as another:
        await store(
            log,
            decision(ACME, 0, ACME_REGISTERED, claims=[claimed(NUMBER, ACME)]),
            decision(ADA, 0, ADA_REGISTERED, claims=[claimed(IN_THE_SHOP, ADA, subject=ADA)]),
        )
        await store(log, decision(ACME, 1, ACME_BLOCKED, followed={NUMBER: ACME}))
        for claim, stream in ((NUMBER, ADA), (PRODUCT.reference("number", "C-1001"), ACME)):
            unblocking = decision(ACME, 2, CustomerUnblocked(), followed={claim: stream, IN_THE_SHOP: ADA})
            assert await conflicts(log, unblocking) == Conflicts(moved=frozenset({claim}))
        place.destroy_subject(ADA)
        blocking = decision(ADA, 1, ACME_BLOCKED, followed={IN_THE_SHOP: ADA})
        assert await conflicts(log, blocking) == Conflicts(moved=frozenset({IN_THE_SHOP}))
        await store(another, decision(ACME, 2, CustomerUnblocked(), claims=[claimed(IN_THE_SHOP, ACME)]))
        assert await conflicts(log, blocking) == Conflicts(moved=frozenset({IN_THE_SHOP}))


@asynchronous
async def test_decisions_of_one_batch_follow_claims_to_where_those_before_them_lead(place: Place) -> None:
    async with place.open() as log:
        await store(
            log,
            decision(ACME, 0, ACME_REGISTERED, claims=[claimed(IN_THE_SHOP, ACME)]),
            decision(ADA, 0, ADA_REGISTERED),
        )
        await store(
            log,
            decision(ACME, 1, ACME_BLOCKED, followed={IN_THE_SHOP: ACME}, released=[IN_THE_SHOP]),
            decision(ADA, 1, ACME_BLOCKED, claims=[claimed(NUMBER, ADA)]),
            decision(ADA, 2, CustomerUnblocked(), followed={NUMBER: ADA}),
        )
        assert await log.holders([NUMBER, IN_THE_SHOP]) == {NUMBER: ADA}


@asynchronous
async def test_every_reason_is_told_at_once(place: Place) -> None:
    async with place.open() as log:
        await store(
            log,
            decision(ACME, 0, ACME_REGISTERED, key="1", claims=[claimed(NUMBER, ACME)]),
            decision(FLOUR, 0, FLOUR_REGISTERED),
        )
        batch = [
            decision(new_id(), 0, FLOUR_REGISTERED, key="1"),
            decision(ADA, 0, ADA_REGISTERED, claims=[claimed(NUMBER, ADA)]),
            decision(FLOUR, 3, FLOUR_REGISTERED),
            decision(new_id(), 0, FLOUR_REGISTERED, reads={ACME: 7}, followed={IN_THE_SHOP: ACME}),
        ]
        assert await conflicts(log, *batch) == Conflicts(
            known=frozenset({batch[0].key}),
            stale=frozenset({FLOUR, ACME}),
            moved=frozenset({IN_THE_SHOP}),
            taken=frozenset({NUMBER}),
        )


@asynchronous
async def test_a_claim_given_back_can_be_taken_by_another(place: Place) -> None:
    async with place.open() as log, place.open() as another:
        await store(
            log,
            decision(ACME, 0, ACME_REGISTERED, claims=[claimed(NUMBER, ACME), claimed(IN_THE_SHOP, ACME)]),
            decision(ADA, 0, ADA_REGISTERED),
        )
        await store(log, decision(ACME, 1, ACME_BLOCKED, released=[IN_THE_SHOP]))
        assert await another.holders([NUMBER, IN_THE_SHOP]) == {NUMBER: ACME}
        await store(another, decision(ADA, 1, ACME_BLOCKED, claims=[claimed(IN_THE_SHOP, ADA)]))
        moved = [
            decision(ADA, 2, CustomerUnblocked(), released=[IN_THE_SHOP]),
            decision(ACME, 2, CustomerUnblocked(), claims=[claimed(IN_THE_SHOP, ACME)]),
        ]
        await store(log, *moved)
        assert await log.holders([NUMBER, IN_THE_SHOP]) == {NUMBER: ACME, IN_THE_SHOP: ACME}


@asynchronous
async def test_nobody_gives_back_what_another_holds(place: Place) -> None:
    async with place.open() as log:
        await store(
            log,
            decision(ACME, 0, ACME_REGISTERED, claims=[claimed(NUMBER, ACME)]),
            decision(ADA, 0, ADA_REGISTERED),
        )
        grabbing = decision(ADA, 1, ACME_BLOCKED, released=[NUMBER], claims=[claimed(NUMBER, ADA)])
        assert (await conflicts(log, grabbing)).taken == {NUMBER}
        await store(log, decision(ADA, 1, ACME_BLOCKED, released=[NUMBER]))
        assert await log.holders([NUMBER]) == {NUMBER: ACME}


# Personal data


@asynchronous
async def test_no_personal_value_is_stored_in_the_clear(place: Place) -> None:
    async with place.open() as log:
        stored = await store(log, decision(ADA, 0, ADA_REGISTERED), decision(ACME, 0, ACME_REGISTERED, GRACE_ADDED))
        bodies = b"".join(each.body for each in stored)
        assert b"Acme Bakery" in bodies
        for value in ("Ada", "Lovelace", "GB999999973", "Grace", "Hopper", "purchasing", "grace@acme.example", "0100"):
            assert value.encode() not in bodies


@asynchronous
async def test_when_a_subject_is_erased_every_stream_loads_and_its_values_are_gone(place: Place) -> None:
    called = replace(GRACE_CALLED, contacts=())
    async with place.open() as log, place.open() as another:
        await store(log, decision(ADA, 0, ADA_REGISTERED, called), decision(ACME, 0, ACME_REGISTERED, GRACE_ADDED))
        before = await log.load([ADA, ACME])
        place.destroy_subject(ADA)
        for asked in (log, another):
            registered, talked, acme, grace = (each.event for each in await asked.events(1, 4))
            assert registered == replace(ADA_REGISTERED, name=ERASED, personal_vat_id=ERASED)
            assert talked == replace(called, summary=ERASED, next_step=ERASED)
            assert (acme, grace) == (ACME_REGISTERED, GRACE_ADDED)
            assert await asked.load([ADA, ACME]) == before


@asynchronous
async def test_nothing_more_is_recorded_about_an_erased_subject(place: Place) -> None:
    called = replace(GRACE_CALLED, contacts=())
    async with place.open() as log, place.open() as another:
        await store(log, decision(ADA, 0, ADA_REGISTERED), decision(ACME, 0, ACME_REGISTERED))
        place.destroy_subject(ADA)
        for asked in (log, another):
            batch = [decision(ACME, 1, GRACE_ADDED), decision(ADA, 1, replace(ADA_REGISTERED, name="Ada King"))]
            assert kinds((await conflicts(asked, *batch)).refused) == {1: SubjectIsErased}
            batch = [decision(ADA, 1, called), decision(ACME, 1, GRACE_ADDED)]
            assert kinds((await conflicts(asked, *batch)).refused) == {0: SubjectIsErased}
        await store(another, decision(ADA, 1, ACME_BLOCKED), decision(ACME, 1, GRACE_ADDED))


@asynchronous
async def test_what_cannot_be_stored_and_was_followed_to_where_nothing_leads_says_both(place: Place) -> None:
    async with place.open() as log:
        await store(log, decision(ADA, 0, ADA_REGISTERED, claims=[claimed(IN_THE_SHOP, ADA, subject=ADA)]))
        place.destroy_subject(ADA)
        called = replace(GRACE_CALLED, contacts=())
        result = await conflicts(log, decision(ADA, 1, called, followed={IN_THE_SHOP: ADA}))
        assert result.moved == {IN_THE_SHOP}
        assert kinds(result.refused) == {0: SubjectIsErased}


@asynchronous
async def test_what_cannot_be_stored_and_rests_on_what_has_moved_says_both(place: Place) -> None:
    async with place.open() as log, place.open() as another:
        await store(log, decision(ADA, 0, ADA_REGISTERED), decision(ACME, 0, ACME_REGISTERED))
        place.destroy_subject(ADA)
        await store(log, decision(ADA, 1, ACME_BLOCKED), decision(ACME, 1, ACME_BLOCKED))
        named = replace(ADA_REGISTERED, name="Ada King")
        neighbour = decision(ACME, 1, CustomerUnblocked())
        resting = decision(ADA, 2, named, reads={ACME: 2})
        for batch in ([neighbour, decision(ADA, 1, named)], [neighbour, decision(ADA, 1, named, reads={ACME: 2})]):
            told = await conflicts(another, *batch)
            assert ADA in told.stale
            assert kinds(told.refused) == {1: SubjectIsErased}
        told = await conflicts(
            another, decision(ACME, 2, CustomerUnblocked()), replace(resting, reads={ACME: 3, ADA: 2})
        )
        assert told == Conflicts(refused=told.refused)


@asynchronous
async def test_the_claims_of_an_erased_subject_go_with_it(place: Place) -> None:
    async with place.open() as log:
        claims = [claimed(NUMBER, ADA), claimed(IN_THE_SHOP, ADA, subject=ADA)]
        await store(log, decision(ADA, 0, ADA_REGISTERED, claims=claims))
        place.destroy_subject(ADA)
        assert await log.holders([NUMBER, IN_THE_SHOP]) == {NUMBER: ADA}
        await store(log, decision(ACME, 0, ACME_REGISTERED, claims=[claimed(IN_THE_SHOP, ACME)]))


@asynchronous
async def test_an_erased_subject_gets_no_new_key(place: Place) -> None:
    async with place.open() as log, place.open() as another:
        await store(log, decision(ACME, 0, ACME_REGISTERED, GRACE_ADDED))
        place.destroy_subject(GRACE)
        place.destroy_subject(ADA)
        for asked in (log, another):
            refused = (await conflicts(asked, decision(ACME, 2, GRACE_ADDED))).refused
            assert kinds(refused) == {0: SubjectIsErased}
            refused = (await conflicts(asked, decision(ADA, 0, ADA_REGISTERED))).refused
            assert kinds(refused) == {0: SubjectIsErased}
            (_, grace) = await asked.stream(ACME, 0, 9)
            assert (grace.event.name, grace.event.email) == (ERASED, ERASED)


@asynchronous
async def test_what_was_stored_before_its_subject_was_erased_is_known(place: Place) -> None:
    called = replace(GRACE_CALLED, contacts=())
    for event in (replace(GRACE_ADDED, contact_id=ContactId(ADA)), called):
        async with place.open() as log, place.open() as another:
            stream = new_id()
            sent = decision(stream, 1, replace(GRACE_ADDED, contact_id=ContactId(stream)), event)
            await store(log, decision(stream, 0, ADA_REGISTERED), sent)
            place.destroy_subject(stream)
            assert (await conflicts(log, sent)).known == {sent.key}
            assert (await conflicts(another, sent)).known == {sent.key}


@asynchronous
async def test_a_free_text_is_erased_alone(place: Place) -> None:
    called = replace(GRACE_CALLED, contacts=())
    async with place.open() as log:
        _, first, second = await store(log, decision(ADA, 0, ADA_REGISTERED, called, called))
        summary, next_step = sorted(log.codec.references([first.body]))
        assert summary.startswith("text:")
        place.destroy_text(UUID(summary.removeprefix("text:")))
        place.destroy_text(UUID(next_step.removeprefix("text:")))
        read = [each.event for each in await log.events(1, 3)]
        assert read == [ADA_REGISTERED, replace(called, summary=ERASED, next_step=ERASED), second.event]
        await store(log, decision(ADA, 3, called))


@asynchronous
async def test_a_key_that_somebody_else_has_made_is_used(place: Place) -> None:
    """A new customer turns out to be the contact person of another: nobody looks for a key before the append."""
    async with place.open() as log, place.open() as another:
        contact = replace(GRACE_ADDED, contact_id=ContactId(ADA))
        await store(log, decision(ACME, 0, ACME_REGISTERED, contact))
        await store(another, decision(ADA, 0, ADA_REGISTERED))
        assert [each.event for each in await log.events(2, 3)] == [contact, ADA_REGISTERED]
        assert len(log.codec.references([each.body for each in await log.events(2, 3)])) == 1


# Bounds


@asynchronous
async def test_a_body_of_one_mebibyte_is_stored_and_a_larger_one_is_refused(place: Place) -> None:
    async with place.open() as log:
        (nameless,) = await store(log, decision(new_id(), 0, replace(FLOUR_REGISTERED, name="")))
        longest = "x" * (BODY_BYTES_MAX - len(nameless.body))
        (largest,) = await store(log, decision(new_id(), 0, replace(FLOUR_REGISTERED, name=longest)))
        assert len(largest.body) == 1_048_576
        assert list(await log.events(2, 2)) == [largest]
        too_large = decision(FLOUR, 0, replace(FLOUR_REGISTERED, name=longest + "x"))
        refused = (await conflicts(log, decision(ACME, 0, ACME_REGISTERED), too_large)).refused
        assert kinds(refused) == {1: EventIsTooLarge}


@asynchronous
async def test_a_moment_leads_to_the_last_position_that_was_recorded_until_then(place: Place) -> None:
    async with place.open() as log:
        await store(log, decision(ACME, 0, ACME_REGISTERED))
        for _ in range(30):
            version = (await log.versions([ACME]))[ACME]
            await store(log, decision(ACME, version, *[MasterDataConfirmed()] * (1 + version % 3)))
        recorded = [(each.recorded_at, each.position) for each in await log.stream(ACME, 0, 100)]
        shortly = timedelta(microseconds=1)
        for moment in {at + difference for at, _ in recorded for difference in (-shortly, timedelta(), shortly)}:
            if moment < recorded[-1][0]:
                assert await log.position_at(moment) == max((p for at, p in recorded if at <= moment), default=0)
        assert await log.position_at(recorded[-1][0]) == recorded[-1][1]
        assert await log.position_at(datetime(1900, 1, 1, tzinfo=UTC)) == 0


@asynchronous
async def test_what_is_known_at_a_moment_is_told_when_it_is_over(place: Place) -> None:
    async with place.open() as log:
        with pytest.raises(MomentIsNotOver) as refusal:
            await log.position_at(datetime.now(UTC) + timedelta(hours=1))
        assert refusal.value.pointer == "/known_at"


@asynchronous
async def test_what_was_told_of_a_moment_holds_although_the_clock_is_put_back(
    place: Place, put_clock: SetClock
) -> None:
    async with place.open() as log:
        put_clock(NOON)
        await store(log, decision(ACME, 0, ACME_REGISTERED))
        told = NOON + timedelta(minutes=4)
        put_clock(NOON + timedelta(minutes=5))
        assert await log.position_at(told) == 1
        put_clock(NOON + timedelta(minutes=1))
        (blocked,) = await store(log, decision(ACME, 1, ACME_BLOCKED))
        put_clock(NOON + timedelta(minutes=6))
        assert await log.position_at(told) == 1
        assert await log.position_at(blocked.recorded_at) == 2
        (unblocked,) = await store(log, decision(ACME, 2, CustomerUnblocked()))
        assert unblocked.recorded_at == NOON + timedelta(minutes=6)


@asynchronous
async def test_what_was_told_of_a_moment_is_told_again_while_the_clock_is_behind_it(
    place: Place, put_clock: SetClock
) -> None:
    async with place.open() as log:
        told = NOON + timedelta(minutes=4)
        put_clock(NOON + timedelta(minutes=5))
        assert await log.position_at(told) == 0
        put_clock(NOON)
        assert await log.position_at(told) == 0
        (registered,) = await store(log, decision(ACME, 0, ACME_REGISTERED))
        assert await log.position_at(told) == 0
        assert registered.recorded_at == told + timedelta(microseconds=1)


@asynchronous
async def test_what_was_told_of_the_moment_of_an_event_holds_although_the_clock_stands_still(
    place: Place, put_clock: SetClock
) -> None:
    async with place.open() as log:
        put_clock(NOON)
        await store(log, decision(ACME, 0, ACME_REGISTERED))
        put_clock(NOON + timedelta(microseconds=1))
        assert await log.position_at(NOON) == 1
        put_clock(NOON)
        await store(log, decision(ACME, 1, ACME_BLOCKED))
        assert await log.position_at(NOON) == 1


@asynchronous
async def test_what_was_told_of_a_log_without_events_holds(place: Place, put_clock: SetClock) -> None:
    async with place.open() as log:
        put_clock(NOON + timedelta(minutes=1))
        assert await log.position_at(NOON) == 0
        put_clock(NOON - timedelta(minutes=1))
        await store(log, decision(ACME, 0, ACME_REGISTERED))
        assert await log.position_at(NOON) == 0


@asynchronous
async def test_a_moment_is_not_over_before_the_clock_says_so(place: Place, put_clock: SetClock) -> None:
    async with place.open() as log:
        put_clock(NOON)
        for moment in (NOON, NOON + timedelta(microseconds=1)):
            with pytest.raises(MomentIsNotOver):
                await log.position_at(moment)
        await store(log, decision(ACME, 0, ACME_REGISTERED))
        put_clock(NOON - timedelta(minutes=1))
        with pytest.raises(MomentIsNotOver):
            await log.position_at(NOON)
        assert await log.position_at(NOON - timedelta(microseconds=1)) == 0
