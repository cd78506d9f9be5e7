"""Batches: what commands of one batch do to each other, what is stored together, and what goes wrong alone."""

import asyncio
import logging
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from application.aggregates import Claim
from application.commands import Command
from application.customers import CUSTOMER, AttachExternalIdentifier
from application.ports import LogUnavailable
from application.products import PRODUCT, ChangeProduct, DeclareSuccessor, DiscontinueProduct
from application.requests import Outcome
from application.submissions import (
    AnotherCommandWasRefused,
    Answer,
    EventIsTooLarge,
    KeyIsUsedForAnotherRequest,
    OccurredInTheFuture,
    SubjectIsErased,
    Submission,
)
from application.unit_of_work import ReferenceNotFound, UnitOfWork
from application.writer import Writer
from domain.customer import (
    CustomerBlocked,
    CustomerIsBlocked,
    CustomerNotFound,
    CustomerNumberIsTaken,
    CustomerUnblocked,
    ExternalIdentifierIsTaken,
    InteractionRecorded,
    MasterDataConfirmed,
)
from domain.values import ERASED, ExternalIdentifier
from tests.application.watched import WatchedLog, names
from tests.asynchronous import asynchronous
from tests.commands import (
    NOON,
    again,
    agree,
    block,
    invoice,
    register,
    register_person,
    register_product,
    special,
    submission,
    talk,
    unblock,
    writing,
)
from tests.people import ACME_IN_THE_SHOP, APRIL, GRACE_CALLED, JANUARY, JULY

IN_THE_SHOP = CUSTOMER.reference(ACME_IN_THE_SHOP.source, ACME_IN_THE_SHOP.id)


async def acme(writer: Writer, *identifiers: ExternalIdentifier) -> UUID:
    """Acme Bakery, registered as C-1001."""
    command = register(customer_number="C-1001", external_identifiers=identifiers)
    return (await writer.submit(submission(command))).target_id


def kinds(outcomes: list[Outcome]) -> list[type[Outcome]]:
    """The kind of each outcome."""
    return [type(outcome) for outcome in outcomes]


def detach(_: Command, work: UnitOfWork) -> None:
    """Give back what leads from the shop to a customer."""
    work.target(CUSTOMER)
    work.release(IN_THE_SHOP)
    work.record(CustomerUnblocked(), customer_id=work.target_id)


def fail(_: Command, work: UnitOfWork) -> None:
    """Fail as a handler with a bug in it does."""
    message = f"a bug, met with {work.target_id}"
    raise ZeroDivisionError(message)


def record_erased(_: Command, work: UnitOfWork) -> None:
    """Record what cannot be encoded."""
    work.target(CUSTOMER)
    work.record(replace(GRACE_CALLED, summary=ERASED, contacts=()))


def record_volumes(_: Command, work: UnitOfWork) -> None:
    """Record more than an event may hold."""
    work.target(CUSTOMER)
    work.record(replace(GRACE_CALLED, summary="x" * 2_000_000, contacts=()))


def block_when_discontinued(_: Command, work: UnitOfWork) -> None:
    """Record one event either way; which one, another stream says."""
    work.target(CUSTOMER)
    (read,) = work.read_all(PRODUCT, ["number:P-1"], pointer="/product")
    event = MasterDataConfirmed() if read[1].discontinued is None else CustomerBlocked()
    work.record(event, customer_id=work.target_id)


attach = AttachExternalIdentifier(identifier=ACME_IN_THE_SHOP)

# Neighbours in a batch


@asynchronous
async def test_a_command_rests_on_what_its_neighbours_are_about_to_do() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        many = [
            submission(register_product(product_number="P-1")),
            submission(register(customer_number="C-1001", external_identifiers=(ACME_IN_THE_SHOP,))),
            submission(invoice("1", "shop:4711", product="number:P-1")),
            submission(block(), "number:C-1001", if_match=1),
        ]
        assert kinds(await writer.submit_many(many)) == [Answer] * 4
    assert log.batches == [4]


@asynchronous
async def test_a_refusal_that_rests_on_a_neighbour_is_told_when_the_neighbour_is_stored() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        many = [
            submission(block(), customer),
            submission(agree(), customer),
            submission(block(), customer),
            submission(talk(), customer),
        ]
        outcomes = await writer.submit_many(many)
    assert kinds(outcomes) == [Answer, CustomerIsBlocked, Answer, Answer]
    assert outcomes[2] == Answer(customer, 2, (), position=2)
    assert log.batches == [1, 1, 2]


@asynchronous
async def test_what_rests_on_a_neighbour_that_is_refused_is_decided_again() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        theirs = await acme(another)
        mine = [submission(register(customer_number="C-1001")), submission(block(), "number:C-1001")]
        refused, blocked = await writer.submit_many(mine)
    assert isinstance(refused, CustomerNumberIsTaken)
    assert isinstance(blocked, Answer)
    assert (blocked.target_id, blocked.version) == (theirs, 2)


@asynchronous
async def test_what_rests_on_a_neighbour_that_turns_out_to_be_stored_before_is_decided_again() -> None:
    log = WatchedLog()
    sent = submission(register(customer_number="C-1001"))
    async with writing(log) as writer, writing(log) as another:
        first = await another.submit(sent)
        replayed, blocked = await writer.submit_many([again(sent), submission(block(), "number:C-1001")])
    assert replayed == replace(first, replayed=True)
    assert isinstance(blocked, Answer)
    assert blocked.target_id == first.target_id


@asynchronous
async def test_nothing_is_refused_for_what_rests_on_a_neighbour_that_is_refused() -> None:
    """The customer who has the identifier already looks like another one as long as the neighbour may succeed."""
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        customer = await acme(another, ACME_IN_THE_SHOP)
        many = [submission(register(customer_number="C-1001")), submission(attach, "number:C-1001")]
        refused, nothing = await writer.submit_many(many)
    assert isinstance(refused, CustomerNumberIsTaken)
    assert nothing == Answer(customer, 1, (), position=1)


@asynchronous
async def test_what_is_refused_rests_on_what_is_stored() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        await acme(another, ACME_IN_THE_SHOP)
        many = [
            submission(register(customer_number="C-1002")),
            submission(attach, "number:C-1002"),
            submission(talk(), "number:C-1002"),
        ]
        assert kinds(await writer.submit_many(many)) == [Answer, ExternalIdentifierIsTaken, Answer]
    assert log.batches == [1, 3, 1, 2, 1]


@asynchronous
async def test_one_that_is_decided_again_still_comes_before_those_behind_it() -> None:
    """What was to be refused for a discontinued product is not, because it is offered again."""
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        flour, rye = [
            (await writer.submit(submission(register_product(product_number=number)))).target_id
            for number in ("P-550", "P-997")
        ]
        await writer.submit(submission(DiscontinueProduct(last_offered_on=JANUARY), rye))
        await another.submit(submission(DiscontinueProduct(last_offered_on=JULY), rye))
        declare = DeclareSuccessor(successor=str(rye), valid_from=APRIL, ratio=Decimal(1))
        many = [submission(declare, flour), submission(ChangeProduct(name="Flour 550"), flour)]
        outcomes = await writer.submit_many(many)
        assert [each.version for each in outcomes if isinstance(each, Answer)] == [2, 3]


@asynchronous
async def test_what_rests_on_a_neighbour_that_is_decided_otherwise_is_decided_again() -> None:
    """Although the stream that both write comes to the same version."""
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        customer = await acme(writer)
        flour = (await writer.submit(submission(register_product(product_number="P-1")))).target_id
        discontinue = submission(DiscontinueProduct(last_offered_on=JANUARY), flour)
        log.before("append", lambda: another.submit(discontinue))
        many = [special(block_when_discontinued, CUSTOMER, customer), submission(agree(), customer)]
        assert kinds(await writer.submit_many(many)) == [Answer, CustomerIsBlocked]
    assert names(log.recorded)[-2:] == ["product.discontinued", "customer.blocked"]


@asynchronous
async def test_one_offender_does_not_hold_up_its_neighbours() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        await acme(another)
        many = [submission(register(customer_number=f"C-{1000 + number}")) for number in range(5)]
        outcomes = await writer.submit_many(many)
    assert kinds(outcomes) == [Answer, CustomerNumberIsTaken, Answer, Answer, Answer]
    assert log.batches == [1, 5, 4]


@asynchronous
async def test_all_of_a_batch_rests_on_one_version_of_each_stream() -> None:
    """Although the memory has room for one stream only, and another writer moves it in between."""
    log = WatchedLog()
    async with writing(log, cached_streams_max=1) as writer, writing(log) as another:
        customer = await acme(writer)
        other = (await another.submit(submission(register(customer_number="C-1002")))).target_id
        await writer.submit(submission(talk(), customer))

        log.before("load", lambda: another.submit(submission(block(), customer)))
        many = [
            submission(invoice("1", str(customer))),
            submission(talk(), other),
            submission(talk(), customer),
        ]
        assert kinds(await writer.submit_many(many)) == [CustomerIsBlocked, Answer, Answer]


# Claims


@asynchronous
async def test_of_two_that_claim_the_same_in_one_batch_the_first_gets_it() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        many = [submission(register(customer_number="C-1001")) for _ in range(3)]
        outcomes = await writer.submit_many(many)
    assert kinds(outcomes) == [Answer, CustomerNumberIsTaken, CustomerNumberIsTaken]
    assert len(log.recorded) == 1


@asynchronous
async def test_one_command_does_not_claim_the_same_twice() -> None:
    log = WatchedLog()

    def claim_twice(_: Command, work: UnitOfWork) -> None:
        work.claim(IN_THE_SHOP, ExternalIdentifierIsTaken, pointer="/0")
        work.claim(IN_THE_SHOP, ExternalIdentifierIsTaken, pointer="/1")

    async with writing(log) as writer:
        with pytest.raises(ExternalIdentifierIsTaken) as refusal:
            await writer.submit(special(claim_twice, CUSTOMER))
        assert refusal.value.pointer == "/1"


@asynchronous
async def test_what_is_given_back_can_be_taken_by_the_next_command() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        acme_bakery = await acme(writer, ACME_IN_THE_SHOP)
        another = (await writer.submit(submission(register(customer_number="C-1002")))).target_id
        many = [
            special(detach, CUSTOMER, acme_bakery),
            submission(block(), "shop:4711"),
            submission(attach, another),
            submission(block(), "shop:4711"),
        ]
        outcomes = await writer.submit_many(many)
        assert kinds(outcomes) == [Answer, CustomerNotFound, Answer, Answer]
        assert isinstance(outcomes[3], Answer)
        assert outcomes[3].target_id == another
        assert await log.holders([IN_THE_SHOP]) == {IN_THE_SHOP: another}


@asynchronous
@pytest.mark.parametrize("command", [block(), unblock()], ids=["appended", "nothing to do"])
async def test_who_a_claim_leads_to_is_not_taken_from_a_memory_that_is_behind(command: Command) -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        first = await acme(writer, ACME_IN_THE_SHOP)
        second = (await writer.submit(submission(register(customer_number="C-1002")))).target_id
        await writer.submit(submission(talk(), "shop:4711"))
        await another.submit(special(detach, CUSTOMER, first))
        await another.submit(submission(attach, second))
        assert (await writer.submit(submission(command, "shop:4711"))).target_id == second


@asynchronous
async def test_a_claim_that_went_with_an_erased_person_leads_nowhere() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        sent = submission(register_person(customer_number="C-1002", external_identifiers=(ACME_IN_THE_SHOP,)))
        ada = (await writer.submit(sent)).target_id
        log.destroy_subject(ada)
        with pytest.raises(CustomerNotFound):
            await writer.submit(submission(unblock(), "shop:4711"))
        with pytest.raises(SubjectIsErased):
            await writer.submit(submission(talk(), ada))
        assert (await writer.submit(submission(block(), ada))).version == 2
        assert (await writer.submit(again(sent))).events[0].event.name is ERASED


@asynchronous
@pytest.mark.parametrize("command", [block(), unblock(), talk()], ids=["appended", "nothing to do", "refused"])
async def test_a_claim_that_went_with_an_erased_person_leads_to_who_took_it_since(command: Command) -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        sent = submission(register_person(customer_number="C-1002", external_identifiers=(ACME_IN_THE_SHOP,)))
        ada = (await writer.submit(sent)).target_id
        log.destroy_subject(ada)
        acme_bakery = await acme(another, ACME_IN_THE_SHOP)
        assert (await writer.submit(submission(command, "shop:4711"))).target_id == acme_bakery


# Stored together or not at all


@asynchronous
async def test_commands_are_stored_together_and_see_each_other() -> None:
    log = WatchedLog()
    async with writing(log, batch_commands_max=2, batch_events_max=2) as writer:
        many = [
            submission(register(customer_number="C-1001")),
            submission(invoice("1", "number:C-1001")),
            submission(block(), "number:C-1001", if_match=1),
            submission(talk(), "number:C-1001", if_match=2),
        ]
        outcomes = await writer.submit_many(many, atomic=True)
    assert [outcome.version for outcome in outcomes if isinstance(outcome, Answer)] == [1, 1, 2, 3]
    assert log.batches == [4]


@asynchronous
async def test_when_one_is_refused_nothing_is_stored_of_all() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        many = [
            submission(register(customer_number="C-1001")),
            submission(block(), "number:C-1001"),
            submission(invoice("1", "number:C-1001")),
        ]
        outcomes = await writer.submit_many(many, atomic=True)
        assert kinds(outcomes) == [AnotherCommandWasRefused, AnotherCommandWasRefused, CustomerIsBlocked]
        assert [each.details for each in outcomes[:2] if isinstance(each, AnotherCommandWasRefused)] == [
            {"command": "3"},
            {"command": "3"},
        ]
        assert log.recorded == []
        outcomes = await writer.submit_many([again(each) for each in many[:2]], atomic=True)
        assert kinds(outcomes) == [Answer, Answer]


@asynchronous
async def test_of_those_stored_together_none_is_stored_when_the_log_refuses_one() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        many = [submission(register(customer_number=f"C-100{number}")) for number in range(3)]
        log.before("append", lambda: another.submit(submission(register(customer_number="C-1001"))))
        outcomes = await writer.submit_many(many, atomic=True)
    assert kinds(outcomes) == [AnotherCommandWasRefused, CustomerNumberIsTaken, AnotherCommandWasRefused]
    assert len(log.recorded) == 1


@asynchronous
async def test_those_stored_together_are_decided_again_together() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        customer = await acme(writer)
        log.before("append", lambda: another.submit(submission(talk(), customer)))
        many = [submission(block(), customer), submission(unblock(), customer)]
        outcomes = await writer.submit_many(many, atomic=True)
    assert [outcome.version for outcome in outcomes if isinstance(outcome, Answer)] == [3, 4]


@asynchronous
async def test_of_those_stored_together_two_do_not_claim_the_same() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        for dry_run in (False, True):
            many = [submission(register(customer_number="C-1001", dry_run=dry_run)) for _ in range(2)]
            outcomes = await writer.submit_many(many, atomic=True)
            assert kinds(outcomes) == [AnotherCommandWasRefused, CustomerNumberIsTaken]
    assert log.recorded == []


@asynchronous
async def test_a_neighbour_may_claim_what_those_stored_together_claim_too() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        alone, together = await asyncio.gather(
            writer.submit(submission(register(customer_number="C-1001"))),
            writer.submit_many([submission(register(customer_number=f"C-100{n}")) for n in (2, 1)], atomic=True),
        )
    assert alone.position == 1
    assert kinds(together) == [AnotherCommandWasRefused, CustomerNumberIsTaken]


@asynchronous
async def test_a_key_names_one_request_among_those_stored_together() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        sent = submission(register(customer_number="C-1001"), key="k")
        first, repeated = await writer.submit_many([sent, again(sent)], atomic=True)
        assert isinstance(first, Answer)
        assert repeated == replace(first, replayed=True)
        other = submission(register(customer_number="C-1002"), key="k2")
        outcomes = await writer.submit_many([other, replace(other, request=b"else")], atomic=True)
        assert kinds(outcomes) == [AnotherCommandWasRefused, KeyIsUsedForAnotherRequest]
        tried = replace(other, command=register(customer_number="C-1002", dry_run=True))
        outcomes = await writer.submit_many([tried, tried], atomic=True)
        assert [outcome.replayed for outcome in outcomes if isinstance(outcome, Answer)] == [False, False]
    assert len(log.recorded) == 1


@asynchronous
async def test_those_stored_together_may_have_been_stored_before() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        many = [submission(register(customer_number=f"C-100{number}"), key=str(number)) for number in range(2)]
        first = await writer.submit_many(many, atomic=True)
        repeated = await another.submit_many([again(each) for each in many], atomic=True)
        assert repeated == [replace(each, replayed=True) for each in first if isinstance(each, Answer)]
        more = [again(many[0]), submission(block(), "number:C-1000")]
        outcomes = await another.submit_many(more, atomic=True)
        assert [(each.replayed, each.version) for each in outcomes if isinstance(each, Answer)] == [
            (True, 1),
            (False, 2),
        ]
        reused = [submission(register(customer_number="C-1009"), key="0"), submission(block(), "number:C-1000")]
        outcomes = await another.submit_many(reused, atomic=True)
        assert kinds(outcomes) == [KeyIsUsedForAnotherRequest, AnotherCommandWasRefused]


@asynchronous
async def test_those_stored_together_are_refused_together_when_one_lies_ahead() -> None:
    log = WatchedLog()
    sent = submission(register(customer_number="C-1001"))
    ahead = replace(sent, metadata=replace(sent.metadata, occurred_at=NOON.replace(year=2027)))
    async with writing(log) as writer:
        outcomes = await writer.submit_many([submission(block(), "number:C-1001"), ahead], atomic=True)
    assert kinds(outcomes) == [AnotherCommandWasRefused, OccurredInTheFuture]


@asynchronous
async def test_nothing_to_do_among_those_stored_together_is_proved_by_the_append() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        first = await acme(writer)
        second = (await writer.submit(submission(register(customer_number="C-1002")))).target_id
        await another.submit(submission(block(), first))
        many = [submission(unblock(), first), submission(block(), second)]
        outcomes = await writer.submit_many(many, atomic=True)
        assert [outcome.version for outcome in outcomes if isinstance(outcome, Answer)] == [3, 2]
        nothing, done = await writer.submit_many([again(each) for each in reversed(many)], atomic=True)
        assert [each.replayed for each in (nothing, done) if isinstance(each, Answer)] == [True, True]


@asynchronous
async def test_nothing_to_do_is_told_beside_what_was_done() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        many = [submission(unblock(), customer), submission(block(), customer), submission(block(), customer)]
        outcomes = await writer.submit_many(many, atomic=True)
        assert [(each.version, each.position) for each in outcomes if isinstance(each, Answer)] == [
            (1, 1),
            (2, 2),
            (2, 2),
        ]
        outcomes = await writer.submit_many([submission(block(), customer) for _ in range(2)], atomic=True)
        assert outcomes == [Answer(customer, 2, (), position=2)] * 2


# Dry runs


@asynchronous
async def test_a_dry_run_shows_what_would_happen_and_stores_nothing() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        tried = await writer.submit(submission(register(customer_number="C-1001", dry_run=True), key="k"))
        assert (tried.dry_run, tried.version, tried.position) == (True, 1, 0)
        assert names(tried.events) == ["customer.registered"]
        assert log.recorded == []
        done = await writer.submit(submission(register(customer_number="C-1001"), key="k"))
        assert (done.replayed, done.position) == (False, 1)


@asynchronous
async def test_a_dry_run_is_refused_as_the_command_would_be() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        customer = await acme(writer, ACME_IN_THE_SHOP)
        await another.submit(submission(block(), customer))
        with pytest.raises(CustomerIsBlocked):
            await writer.submit(submission(agree(dry_run=True), customer))
        with pytest.raises(CustomerNumberIsTaken):
            await writer.submit(submission(register(customer_number="C-1001", dry_run=True)))
        with pytest.raises(ReferenceNotFound):
            await writer.submit(submission(invoice("1", "number:C-9", dry_run=True)))

        def move_to_itself(_: Command, work: UnitOfWork) -> None:
            work.target(CUSTOMER)
            work.release(IN_THE_SHOP)
            work.claim(IN_THE_SHOP, ExternalIdentifierIsTaken)
            work.record(CustomerUnblocked())

        assert (await writer.submit(special(move_to_itself, CUSTOMER, customer, dry_run=True))).dry_run


@asynchronous
async def test_a_dry_run_does_not_get_the_answer_of_a_stored_command() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        await writer.submit(submission(talk(), customer, key="k"))
        assert (await writer.submit(submission(talk(dry_run=True), customer, key="k"))).dry_run


@asynchronous
async def test_a_dry_run_waits_for_the_claims_of_its_neighbours() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        many = [
            submission(register(customer_number="C-1001")),
            submission(register(customer_number="C-1001", dry_run=True)),
        ]
        assert kinds(await writer.submit_many(many)) == [Answer, CustomerNumberIsTaken]


@asynchronous
async def test_dry_runs_that_would_be_stored_together_see_each_other() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        many = [
            submission(register(customer_number="C-1001", dry_run=True)),
            submission(block(dry_run=True), "number:C-1001"),
            submission(agree(dry_run=True), "number:C-1001"),
        ]
        outcomes = await writer.submit_many(many[:2], atomic=True)
        assert [each.version for each in outcomes if isinstance(each, Answer)] == [1, 2]
        outcomes = await writer.submit_many(many, atomic=True)
        assert kinds(outcomes) == [AnotherCommandWasRefused, AnotherCommandWasRefused, CustomerIsBlocked]
    assert log.recorded == []


@asynchronous
async def test_commands_do_not_rest_on_dry_runs_beside_them() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        many = [submission(block(dry_run=True), customer), submission(agree(), customer)]
        outcomes = await writer.submit_many(many, atomic=True)
        assert [(each.dry_run, each.version) for each in outcomes if isinstance(each, Answer)] == [
            (True, 2),
            (False, 2),
        ]
    assert names(log.recorded) == ["customer.registered", "customer.payment-terms-agreed"]


# What goes wrong


@asynchronous
async def test_a_handler_that_fails_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        sent: list[Submission] = [
            submission(talk(), customer),
            special(fail, CUSTOMER, customer),
            submission(talk(), customer),
        ]
        with caplog.at_level(logging.CRITICAL):
            outcomes = await asyncio.gather(*(writer.submit(each) for each in sent), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Answer, ZeroDivisionError, Answer]
    assert log.batches == [1, 2]


@asynchronous
@pytest.mark.parametrize("place", range(3))
async def test_what_cannot_be_appended_fails_alone(place: int, caplog: pytest.LogCaptureFixture) -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        sent = [submission(talk(), customer) for _ in range(2)]
        sent.insert(place, special(record_erased, CUSTOMER, customer))
        with caplog.at_level(logging.CRITICAL):
            outcomes = await asyncio.gather(*(writer.submit(each) for each in sent), return_exceptions=True)
        assert isinstance(outcomes.pop(place), TypeError)
        assert [each.version for each in outcomes if isinstance(each, Answer)] == [2, 3]


@asynchronous
async def test_nothing_overtakes_its_own_stream_beside_what_cannot_be_appended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = WatchedLog()

    async def nothing() -> None:
        pass

    async with writing(log) as writer, writing(log) as another:
        customer = await acme(writer)
        other = (await writer.submit(submission(register(customer_number="C-1002")))).target_id
        log.before("append", nothing, nothing, lambda: another.submit(submission(talk(), other)))
        sent = [
            special(record_erased, CUSTOMER, customer),
            submission(agree(due_days=1), other),
            submission(agree(due_days=2), other),
        ]
        with caplog.at_level(logging.CRITICAL):
            outcomes = await asyncio.gather(*(writer.submit(each) for each in sent), return_exceptions=True)
        assert isinstance(outcomes[0], TypeError)
        assert [each.version for each in outcomes if isinstance(each, Answer)] == [3, 4]


@asynchronous
async def test_an_event_that_is_too_large_is_refused_alone() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        many = [
            submission(talk(), customer),
            special(record_volumes, CUSTOMER, customer),
            submission(talk(), customer),
        ]
        assert kinds(await writer.submit_many(many)) == [Answer, EventIsTooLarge, Answer]


@asynchronous
async def test_a_stream_that_cannot_be_read_is_the_trouble_of_those_alone_who_ask_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        whole = await acme(writer)
        sent = submission(register(customer_number="C-1002"))
        damaged = (await writer.submit(sent)).target_id
        log.recorded[1] = replace(log.recorded[1], schema_version=99)
    async with writing(log) as writer:
        asked = [
            submission(talk(), whole),
            submission(talk(), "number:C-1002"),
            again(sent),
            submission(talk(), whole),
            submission(talk(), damaged),
        ]
        with caplog.at_level(logging.CRITICAL):
            outcomes = await asyncio.gather(*(writer.submit(each) for each in asked), return_exceptions=True)
        assert [type(each).__name__ for each in outcomes] == [
            "Answer",
            "UnknownEventType",
            "UnknownEventType",
            "Answer",
            "UnknownEventType",
        ]
        assert (await writer.submit(submission(block(), whole))).version == 4


@asynchronous
async def test_a_log_that_fails_altogether_does_not_end_the_writer(caplog: pytest.LogCaptureFixture) -> None:
    log = WatchedLog()

    async def fail_once() -> None:
        message = "a bug in the log"
        raise ZeroDivisionError(message)

    async def be_out_of_reach() -> None:
        raise LogUnavailable

    async with writing(log) as writer:
        customer = await acme(writer)
    async with writing(log) as writer:
        with caplog.at_level(logging.CRITICAL):
            for method in ("load", "append", "versions"):
                command = unblock(dry_run=True) if method == "versions" else talk()
                log.before(method, fail_once)
                with pytest.raises(ZeroDivisionError):
                    await writer.submit(submission(command, customer))
                log.before(method, be_out_of_reach)
                with pytest.raises(LogUnavailable):
                    await writer.submit(submission(command, customer))
        assert (await writer.submit(submission(talk(), customer))).version == 2


@asynchronous
async def test_a_free_text_is_recorded_as_it_was_said() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        answer = await writer.submit(submission(talk(summary="Grüße,\n\t“Ada Lovelace” 🍞"), customer))
        (event,) = await log.events(answer.position, answer.position)
        assert isinstance(event.event, InteractionRecorded)
        assert event.event.summary == "Grüße,\n\t“Ada Lovelace” 🍞"
        assert b"Lovelace" not in event.body


def test_a_claim_is_what_it_names() -> None:
    assert CUSTOMER.reference("shop", "4711") == Claim("customer", "shop\x004711")
    assert ExternalIdentifier(source="shop", id="4711") == ACME_IN_THE_SHOP


@asynchronous
async def test_what_is_being_created_is_not_there_yet() -> None:
    log = WatchedLog()

    def ask_for_itself(_: Command, work: UnitOfWork) -> None:
        work.target(CUSTOMER)

    async with writing(log) as writer:
        with pytest.raises(CustomerNotFound):
            await writer.submit(special(ask_for_itself, CUSTOMER))
