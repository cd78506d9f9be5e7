"""The writer: keys, versions, batches, and answers that hold although its memory may be behind."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from application.commands import Command
from application.customers import CUSTOMER
from application.ports import CommandKey, LogUnavailable
from application.products import DiscontinueProduct
from application.submissions import (
    Answer,
    KeyIsUsedForAnotherRequest,
    OccurredInTheFuture,
    QueueIsFull,
    StreamHasMoved,
)
from application.unit_of_work import ActorKind, ReferenceNotFound, UnitOfWork
from application.writer import Writer
from domain.customer import CustomerBlocked, CustomerIsBlocked, CustomerNotFound, CustomerNumberIsTaken
from domain.product import ProductNotFound
from infrastructure.ids import new_id
from tests.application.watched import WatchedLog, names
from tests.asynchronous import asynchronous
from tests.commands import (
    NOON,
    again,
    agree,
    block,
    invoice,
    register,
    register_product,
    special,
    submission,
    talk,
    unblock,
    writing,
)
from tests.people import APRIL

NOBODY = UUID("01900000-0000-7000-8000-0000000000ff")


async def acme(writer: Writer) -> UUID:
    """Acme Bakery, registered as C-1001."""
    return (await writer.submit(submission(register(customer_number="C-1001")))).target_id


# Answers


@asynchronous
async def test_a_command_is_answered_with_its_events_and_where_they_stand() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        answer = await writer.submit(submission(register(customer_number="C-1001")))
        assert answer == Answer(answer.target_id, 1, tuple(log.recorded), position=1)
        assert (answer.position, names(answer.events)) == (1, ["customer.registered"])
        blocked = await writer.submit(submission(block(), "number:C-1001"))
        assert (blocked.target_id, blocked.version, blocked.position) == (answer.target_id, 2, 2)


@asynchronous
async def test_what_a_command_says_of_itself_is_in_the_envelope_of_its_events() -> None:
    log = WatchedLog()
    sent = submission(register(customer_number="C-1001", source="erp", source_recorded_at=NOON, reason="migration"))
    async with writing(log) as writer:
        await writer.submit(sent)
    (event,) = log.recorded
    assert (event.actor, event.actor_kind, event.command_id) == ("key:shop", "service", sent.metadata.command_id)
    assert (event.source, event.source_recorded_at, event.reason) == ("erp", NOON, "migration")
    assert (event.occurred_at, event.customer_id) == (NOON, event.stream_id)


@asynchronous
async def test_a_command_that_changes_nothing_records_nothing_and_is_remembered() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        sent = submission(unblock(), customer, key="k")
        nothing = await writer.submit(sent)
        assert nothing == Answer(customer, 1, (), position=1)
        with pytest.raises(KeyIsUsedForAnotherRequest):
            await writer.submit(submission(block(), customer, key="k"))
        assert len(log.recorded) == 1
        assert (await log.known([sent.key]))[sent.key].first_position == 2


@asynchronous
async def test_the_late_duplicate_of_a_command_that_changed_nothing_changes_nothing() -> None:
    """It once unblocked a customer who had been blocked for fraud in between."""
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        sent = submission(unblock(), customer)
        nothing = await writer.submit(sent)
        await writer.submit(submission(block(), customer))
        assert await writer.submit(again(sent)) == replace(nothing, replayed=True)
        for atomic in (True, False):
            assert await writer.submit_many([again(sent)], atomic=atomic) == [replace(nothing, replayed=True)]
        assert names(log.recorded) == ["customer.registered", "customer.blocked"]


@asynchronous
async def test_what_is_not_there_is_not_found() -> None:
    async with writing(WatchedLog()) as writer:
        customer = await acme(writer)
        flour = (await writer.submit(submission(register_product(product_number="P-1")))).target_id
        for target in (NOBODY, flour, "number:C-1002", "not an id"):
            with pytest.raises(CustomerNotFound):
                await writer.submit(submission(block(), target))
        with pytest.raises(CustomerNotFound):
            await writer.submit(submission(block()))
        with pytest.raises(ProductNotFound):
            await writer.submit(submission(DiscontinueProduct(last_offered_on=APRIL), customer))
        for reference in (str(NOBODY), str(customer), "number:P-2"):
            with pytest.raises(ReferenceNotFound) as refusal:
                await writer.submit(submission(invoice("1", "number:C-1001", product=reference)))
            assert refusal.value.pointer == "/lines/0/product"


@asynchronous
async def test_what_happens_in_the_future_is_refused() -> None:
    log = WatchedLog()
    sent = submission(register(customer_number="C-1001"))
    ahead = replace(sent, metadata=replace(sent.metadata, occurred_at=NOON + timedelta(seconds=6)))
    async with writing(log, future_tolerance=timedelta(seconds=5)) as writer:
        with pytest.raises(OccurredInTheFuture) as refusal:
            await writer.submit(ahead)
        assert refusal.value.pointer == "/occurred_at"
        await writer.submit(replace(ahead, metadata=replace(ahead.metadata, received_at=NOON + timedelta(seconds=1))))
    assert len(log.recorded) == 1


# Keys


@asynchronous
async def test_the_same_request_gets_its_first_answer_again_whoever_is_asked() -> None:
    log = WatchedLog()
    sent = submission(register(customer_number="C-1001"))
    async with writing(log) as writer, writing(log) as another:
        first = await writer.submit(sent)
        await writer.submit(submission(block(), first.target_id))
        assert await writer.submit(again(sent)) == replace(first, replayed=True)
        assert await another.submit(again(sent)) == replace(first, replayed=True)
    assert len(log.recorded) == 2


@asynchronous
async def test_the_first_answer_comes_again_even_where_a_rule_would_refuse_by_now() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        sent = submission(agree(), customer)
        first = await writer.submit(sent)
        await writer.submit(submission(block(), customer))
        assert await writer.submit(again(sent)) == replace(first, replayed=True)


@asynchronous
async def test_the_first_answer_is_the_same_when_all_was_recorded_in_another_stream() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        other = (await writer.submit(submission(register(customer_number="C-1002")))).target_id

        def block_the_other(_: Command, work: UnitOfWork) -> None:
            work.target(CUSTOMER)
            other_id, _state = work.read(CUSTOMER, str(other), pointer="")
            work.record_in(CUSTOMER, other_id, CustomerBlocked(), customer_id=other_id)

        sent = special(block_the_other, CUSTOMER, customer)
        first = await writer.submit(sent)
        assert first.version == 1
        await writer.submit(submission(talk(), customer))
        assert await writer.submit(again(sent)) == replace(first, replayed=True)


@asynchronous
async def test_a_key_belongs_to_one_request() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        await writer.submit(submission(register(customer_number="C-1001"), key="k"))
        with pytest.raises(KeyIsUsedForAnotherRequest):
            await writer.submit(submission(register(customer_number="C-1002"), key="k"))
        await writer.submit(submission(register(customer_number="C-1002"), key="k", principal="key:erp"))
    assert len(log.recorded) == 2


@asynchronous
async def test_a_refused_command_may_be_sent_again_with_its_key() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        await writer.submit(submission(block(), customer))
        sent = submission(agree(), customer)
        with pytest.raises(CustomerIsBlocked):
            await writer.submit(sent)
        await writer.submit(submission(unblock(), customer))
        assert not (await writer.submit(again(sent))).replayed


@asynchronous
async def test_a_key_that_comes_twice_at_once_is_stored_once() -> None:
    log = WatchedLog()
    sent = submission(register(customer_number="C-1001"))
    async with writing(log) as writer:
        first, second = await asyncio.gather(writer.submit(sent), writer.submit(again(sent)))
        assert second == replace(first, replayed=True)
        with pytest.raises(KeyIsUsedForAnotherRequest):
            await writer.submit(replace(sent, request=b"something else"))
    assert len(log.recorded) == 1


@asynchronous
async def test_a_key_that_comes_while_its_command_is_being_stored_waits_for_the_answer() -> None:
    log = WatchedLog()
    sent = submission(register(customer_number="C-1001"))
    async with writing(log) as writer:
        later: list[asyncio.Task[Answer]] = []

        async def send_again() -> None:
            later.append(asyncio.create_task(writer.submit(again(sent))))
            await asyncio.sleep(0)

        log.before("append", send_again)
        first = await writer.submit(sent)
        assert await later[0] == replace(first, replayed=True)


@asynchronous
async def test_a_key_that_another_writer_has_just_stored_gets_that_answer() -> None:
    log = WatchedLog()
    sent = submission(register(customer_number="C-1001"))
    async with writing(log) as writer, writing(log) as another:
        log.before("append", lambda: another.submit(sent))
        answer = await writer.submit(again(sent))
        assert (answer.replayed, answer.position) == (True, 1)


# Versions


@asynchronous
async def test_a_command_may_say_which_version_it_expects() -> None:
    async with writing(WatchedLog()) as writer:
        customer = await acme(writer)
        assert (await writer.submit(submission(block(), customer, if_match=1))).version == 2
        with pytest.raises(StreamHasMoved) as refusal:
            await writer.submit(submission(unblock(), customer, if_match=1))
        assert refusal.value.details == {"current_version": "2"}
        with pytest.raises(CustomerNotFound):
            await writer.submit(submission(block(), NOBODY, if_match=1))


@asynchronous
async def test_an_expected_version_is_compared_with_the_log_and_not_with_a_memory() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        customer = await acme(writer)
        await another.submit(submission(block(), customer))
        assert (await writer.submit(submission(unblock(), customer, if_match=2))).version == 3
        with pytest.raises(StreamHasMoved) as refusal:
            await another.submit(submission(block(), customer, if_match=2))
        assert refusal.value.details == {"current_version": "3"}


# What is answered although the memory is behind


@asynchronous
async def test_nothing_is_refused_because_a_memory_is_behind() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        customer = await acme(writer)
        await writer.submit(submission(block(), customer))
        await another.submit(submission(unblock(), customer))
        posted = await writer.submit(submission(invoice("1", str(customer))))
        assert names(posted.events) == ["sales-document.invoice-posted"]


@asynchronous
async def test_nothing_is_accepted_because_a_memory_is_behind() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        customer = await acme(writer)
        await another.submit(submission(block(), customer))
        with pytest.raises(CustomerIsBlocked):
            await writer.submit(submission(invoice("1", str(customer))))
        with pytest.raises(CustomerIsBlocked):
            await writer.submit(submission(agree(), customer))
    assert names(log.recorded) == ["customer.registered", "customer.blocked"]


@asynchronous
async def test_nothing_counts_as_done_because_a_memory_is_behind() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        customer = await acme(writer)
        await writer.submit(submission(block(), customer))
        await another.submit(submission(unblock(), customer))
        assert (await writer.submit(submission(block(), customer))).version == 4


@asynchronous
async def test_what_another_writer_stores_in_between_is_taken_into_account() -> None:
    log = WatchedLog()
    async with writing(log) as writer, writing(log) as another:
        customer = await acme(writer)
        log.before("append", lambda: another.submit(submission(talk(), customer)))
        assert (await writer.submit(submission(agree(), customer))).version == 3
        log.before("append", lambda: another.submit(submission(block(), customer)))
        with pytest.raises(CustomerIsBlocked):
            await writer.submit(submission(agree(due_days=14), customer))
        log.before("append", lambda: another.submit(submission(register(customer_number="C-1002"))))
        with pytest.raises(CustomerNumberIsTaken):
            await writer.submit(submission(register(customer_number="C-1002")))


@asynchronous
async def test_an_importer_records_what_was_done_to_a_blocked_customer() -> None:
    async with writing(WatchedLog()) as writer:
        customer = await acme(writer)
        await writer.submit(submission(block(), customer))
        sent = submission(invoice("1", str(customer), source="erp"), actor_kind=ActorKind.IMPORT)
        assert (await writer.submit(sent)).position == 3


@asynchronous
async def test_a_small_memory_forgets_and_asks_again() -> None:
    log = WatchedLog()
    async with writing(log, cached_streams_max=1, cached_claims_max=1) as writer:
        numbers = [f"C-{number}" for number in range(4)]
        await writer.submit_many([submission(register(customer_number=number)) for number in numbers])
        for _ in range(2):
            answers = await writer.submit_many([submission(talk(), f"number:{number}") for number in numbers])
            assert all(isinstance(answer, Answer) for answer in answers)
    assert [each.version for each in log.recorded] == [1] * 4 + [2] * 4 + [3] * 4


# Batches and the queue


@asynchronous
async def test_commands_that_wait_are_stored_together() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        sent = [submission(register(customer_number=f"C-{number}")) for number in range(5)]
        answers = await asyncio.gather(*(writer.submit(each) for each in sent))
        assert [answer.position for answer in answers] == [1, 2, 3, 4, 5]
    assert log.batches == [5]


@asynchronous
async def test_commands_that_come_while_others_are_stored_are_stored_next() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        later: list[asyncio.Task[Answer]] = []

        async def more_come() -> None:
            later.extend(
                asyncio.create_task(writer.submit(submission(register(customer_number=f"D-{number}"))))
                for number in range(3)
            )
            await asyncio.sleep(0)

        log.before("append", more_come)
        await acme(writer)
        await asyncio.gather(*later)
    assert log.batches == [1, 3]


@asynchronous
async def test_a_batch_is_bounded_in_commands_and_in_events() -> None:
    log = WatchedLog()
    async with writing(log, batch_commands_max=4) as writer:
        await writer.submit_many([submission(register(customer_number=f"C-{number}")) for number in range(9)])
    assert log.batches == [4, 4, 1]
    log = WatchedLog()
    async with writing(log, batch_events_max=3) as writer:
        await writer.submit_many([submission(register(customer_number=f"C-{number}")) for number in range(7)])
    assert log.batches == [3, 3, 1]


@asynchronous
async def test_the_order_of_one_stream_is_that_of_its_commands() -> None:
    log = WatchedLog()
    async with writing(log, batch_commands_max=7) as writer:
        customer = await acme(writer)
        many = [submission(agree(due_days=days), customer) for days in range(50)]
        answers = await writer.submit_many(many)
        assert [answer.version for answer in answers if isinstance(answer, Answer)] == list(range(2, 52))
    assert [each.event.terms.due_days for each in log.recorded[1:]] == list(range(50))


@asynchronous
async def test_each_of_many_commands_has_its_own_outcome() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        many = [
            submission(register(customer_number="C-1001"), key="1"),
            submission(register(customer_number="C-1001"), key="2"),
            submission(block(), "number:C-1001"),
            submission(agree(), "number:C-1001"),
            submission(unblock(), "number:C-1001"),
        ]
        outcomes = await writer.submit_many(many)
        assert [type(outcome) for outcome in outcomes] == [
            Answer,
            CustomerNumberIsTaken,
            Answer,
            CustomerIsBlocked,
            Answer,
        ]
        assert await writer.submit_many([]) == []
        assert await writer.submit_many([], atomic=True) == []
    assert names(log.recorded) == ["customer.registered", "customer.blocked", "customer.unblocked"]


@asynchronous
async def test_a_full_queue_takes_no_more() -> None:
    log = WatchedLog()
    async with writing(log, queue_commands_max=2, batch_commands_max=1) as writer:
        waiting: list[asyncio.Task[Answer]] = []

        async def fill_the_queue() -> None:
            waiting.extend(
                asyncio.create_task(writer.submit(submission(register(customer_number=f"D-{number}"))))
                for number in range(2)
            )
            await asyncio.sleep(0)
            assert writer.queue_length == 2
            with pytest.raises(QueueIsFull):
                await writer.submit(submission(register(customer_number="D-3")))
            with pytest.raises(QueueIsFull):
                await writer.submit_many([submission(register(customer_number="D-3"))], atomic=True)

        log.before("append", fill_the_queue)
        await acme(writer)
        await asyncio.gather(*waiting)
        assert writer.queue_length == 0
    assert len(log.recorded) == 3


@asynchronous
async def test_many_commands_wait_for_room_in_the_queue() -> None:
    log = WatchedLog()
    async with writing(log, queue_commands_max=2, batch_commands_max=1) as writer:
        many = [
            [submission(register(customer_number=f"{sender}-{number}")) for number in range(6)] for sender in range(3)
        ]
        outcomes = await asyncio.gather(*(writer.submit_many(each) for each in many))
        assert all(isinstance(outcome, Answer) for each in outcomes for outcome in each)
    assert len(log.recorded) == 18


@asynchronous
async def test_a_writer_that_stops_answers_what_waits_and_takes_no_more() -> None:
    log = WatchedLog()
    async with writing(log, queue_commands_max=2, batch_commands_max=1) as writer:
        waiting = asyncio.create_task(writer.submit(submission(register(customer_number="C-1"))))
        many = [submission(register(customer_number=f"D-{number}")) for number in range(5)]
        waiting_for_room = asyncio.create_task(writer.submit_many(many))
        await asyncio.sleep(0)
        await writer.stop()
        assert (await waiting).position == 1
        with pytest.raises(QueueIsFull):
            await waiting_for_room
        with pytest.raises(QueueIsFull):
            await writer.submit(submission(register(customer_number="C-2")))
        with pytest.raises(QueueIsFull):
            await writer.submit_many([submission(register(customer_number="C-2"))])
        with pytest.raises(QueueIsFull):
            await writer.submit_many([submission(register(customer_number="C-2"))], atomic=True)
    assert len(log.recorded) == 2


@asynchronous
async def test_a_writer_that_was_never_started_has_nothing_to_stop() -> None:
    writer = Writer(WatchedLog(), new_id=new_id, reporting_currency="EUR")
    await writer.stop()
    with pytest.raises(QueueIsFull):
        await writer.submit(submission(register(customer_number="C-1")))


@asynchronous
async def test_the_command_of_a_waiter_that_has_gone_is_skipped() -> None:
    log = WatchedLog()
    async with writing(log, batch_commands_max=1) as writer:

        async def go_away() -> None:
            gone = asyncio.create_task(writer.submit(submission(register(customer_number="C-1002"))))
            await asyncio.sleep(0)
            gone.cancel()

        log.before("append", go_away)
        await acme(writer)
        await writer.submit(submission(register(customer_number="C-1002")))
    assert [each.event.customer_number for each in log.recorded] == ["C-1001", "C-1002"]


@asynchronous
async def test_a_waiter_that_goes_while_its_command_is_being_stored_finds_it_stored() -> None:
    log = WatchedLog()
    sent = submission(register(customer_number="C-1001"))
    async with writing(log) as writer:
        waiting = asyncio.create_task(writer.submit(sent))

        async def go_away() -> None:
            waiting.cancel()

        log.before("append", go_away)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await writer.submit(again(sent))).replayed


# When the log cannot be reached


@asynchronous
async def test_while_the_log_is_out_of_reach_nothing_is_answered_and_afterwards_all_goes_on() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        customer = await acme(writer)
        log.is_reachable = False
        for sent in (submission(register(customer_number="C-2")), submission(unblock(), customer)):
            with pytest.raises(LogUnavailable):
                await writer.submit(sent)
        with pytest.raises(LogUnavailable):
            await writer.submit_many([submission(block(), "number:C-9"), submission(block(), "number:C-8")])
        log.is_reachable = True
        assert (await writer.submit(submission(block(), customer))).version == 2


@asynchronous
async def test_a_waiter_that_has_gone_is_not_told_that_the_log_is_out_of_reach() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        waiting = asyncio.create_task(writer.submit(submission(register(customer_number="C-1001"))))

        async def go_away() -> None:
            waiting.cancel()
            log.is_reachable = False

        log.before("append", go_away)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        log.is_reachable = True
        assert (await writer.submit(submission(register(customer_number="C-1002")))).position == 1


@asynchronous
async def test_who_is_always_too_late_is_told_to_come_back() -> None:
    log = WatchedLog()
    async with writing(log, fruitless_rounds_max=3) as writer, writing(log) as another:
        customer = await acme(writer)

        async def be_faster() -> None:
            await another.submit(submission(talk(), customer))

        async def nothing() -> None:
            pass

        log.before("append", *(happening for _ in range(3) for happening in (be_faster, nothing)))
        with pytest.raises(LogUnavailable):
            await writer.submit(submission(agree(), customer))
        assert (await writer.submit(submission(agree(), customer))).version == 5


@asynchronous
async def test_the_key_of_a_command_is_what_is_remembered() -> None:
    log = WatchedLog()
    async with writing(log) as writer:
        await writer.submit(submission(register(customer_number="C-1001"), key="k"))
    key = CommandKey("key:shop", "k")
    assert (await log.known([key, CommandKey("key:shop", "other")])).keys() == {key}
