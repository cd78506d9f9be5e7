"""A customer is blocked in one process and unblocked in another: nothing is answered on what no longer holds.

Each schedule is a customer of its own. In each round both processes do something with it at the same moment, or not;
what they may answer follows from what the log says of that round.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from uuid import UUID

import pytest

from application.ports import RecordedEvent
from domain.customer import CustomerIsBlocked
from tests.commands import agree, block, invoice, register, unblock
from tests.contention import dice, shuffled, times
from tests.contention.processes import Asked, Bug, Told, Workers, Workplace, working
from tests.places import InPostgres

PLAYS_MAX = 20
"""How often a bug is given the chance to show itself; once usually does."""
ROUNDS = 5
CUSTOMERS_AT_ONCE = 500
REFUSED = CustomerIsBlocked.code()
COLLIDED = "at the same moment"
"""Pairs of commands about one customer, of which each was decided without the other."""


class Book:
    """What the log says, round by round."""

    def __init__(self, place: InPostgres, ids: Sequence[UUID]) -> None:
        self._place = place
        self.blocked = dict.fromkeys(ids, False)
        self._read = 0

    def read(self) -> tuple[Mapping[UUID, list[bool]], Mapping[int, bool]]:
        """Of each customer the states in this round, and of each event whether its customer was blocked before it."""
        states = {customer: [blocked] for customer, blocked in self.blocked.items()}
        blocked_before: dict[int, bool] = {}
        for event in asyncio.run(self._events()):
            customer = event.customer_id
            assert customer is not None
            if customer in self.blocked:
                blocked_before[event.position] = self.blocked[customer]
                if event.type in ("customer.blocked", "customer.unblocked"):
                    self.blocked[customer] = event.type == "customer.blocked"
                    states[customer].append(self.blocked[customer])
            self._read = event.position
        return states, blocked_before

    async def _events(self) -> list[RecordedEvent]:
        async with self._place.open() as log:
            events: list[RecordedEvent] = []
            after = self._read
            while page := await log.events(after + 1, after + 5_000):
                events += page
                after += len(page)
            return events


def some_command(customer: UUID, round_: int) -> Asked | None:
    """What a process may do with a customer."""
    number = f"{customer}-{round_}-{dice(2**32)}"
    choice = dice(6)
    if choice == 0:
        return None
    if choice in (1, 2):
        return (block() if choice == 1 else unblock()), str(customer)
    if choice == 3:
        return agree(due_days=dice(60)), str(customer)
    return invoice(number, str(customer)), None


def is_wrong(asked: Asked, told: Told, states: list[bool], blocked_before: Mapping[int, bool]) -> str | None:
    """What is wrong with an answer, if anything."""
    if told.refusal is not None:
        assert told.refusal == REFUSED
        return None if True in states else "refused"
    name = type(asked[0]).__name__
    if told.is_recorded:
        must_not_be = name in ("AgreePaymentTerms", "PostInvoice")
        return "accepted" if must_not_be and blocked_before[told.positions[0]] else None
    needed = {"BlockCustomer": True, "UnblockCustomer": False, "AgreePaymentTerms": False}[name]
    return None if needed in states else "nothing to do"


def play(workers: Workers, place: InPostgres, customers: int) -> tuple[Counter[str], Counter[str]]:
    """Random schedules of so many customers; how often what was answered, and how often what was wrong.

    Now both processes come to the same customers at the same moment, and now each goes its own way.
    """
    numbers = [f"C-{dice(2**64)}" for _ in range(customers)]
    registered = workers.work([(register(customer_number=number), None) for number in numbers], [])[0]
    ids = [told.stream for told in registered if told.stream is not None]
    assert len(ids) == customers
    book, answered, wrong = Book(place, ids), Counter[str](), Counter[str]()
    book.read()
    for round_ in range(ROUNDS):
        is_race = dice(2)
        lists = [
            [each for customer in order if (each := some_command(customer, round_))]
            for order in ([ids, ids] if is_race else [shuffled(ids), shuffled(ids)])
        ]
        rounds = (workers.race if is_race else workers.work)(*lists)
        states, blocked_before = book.read()
        at_once: defaultdict[UUID, list[Told]] = defaultdict(list)
        for asked_all, result in zip(lists, rounds, strict=True):
            for asked, told in zip(asked_all, result, strict=True):
                customer = UUID(asked[1] or getattr(asked[0], "customer", ""))
                answered[told.refusal or ("recorded" if told.is_recorded else "nothing to do")] += 1
                mistake = is_wrong(asked, told, states[customer], blocked_before)
                wrong += Counter([mistake] if mistake else [])
                at_once[customer].append(told)
        answered[COLLIDED] += sum(
            one.collided_with(another) for told in at_once.values() for one, another in pairwise(told)
        )
    return answered, wrong


def test_nothing_is_refused_or_accepted_on_what_no_longer_holds(
    workplace: Workplace, say: Callable[[str], None]
) -> None:
    place, schedules = InPostgres(workplace.databases, workplace.keys), times(200, 10_000)
    answered, wrong = Counter[str](), Counter[str]()
    with working(workplace) as workers:
        for begun in range(0, schedules, CUSTOMERS_AT_ONCE):
            more = play(workers, place, min(CUSTOMERS_AT_ONCE, schedules - begun))
            answered, wrong = answered + more[0], wrong + more[1]
    say(f"{schedules} schedules: {dict(answered)}, wrong: {dict(wrong)}")
    assert set(answered) == {REFUSED, "recorded", "nothing to do", COLLIDED}
    assert wrong == {}


@pytest.mark.parametrize(
    ("bug", "mistake"), [(Bug.TRUSTS_MEMORY, "refused"), (Bug.READS_UNCHECKED, "accepted")], ids=str
)
def test_a_writer_with_a_bug_is_found_out(workplace: Workplace, bug: Bug, mistake: str) -> None:
    place = InPostgres(workplace.databases, workplace.keys)
    with working(replace(workplace, bug=bug)) as workers:
        for _ in range(PLAYS_MAX):
            if play(workers, place, 150)[1][mistake]:
                return
    pytest.fail(f"{PLAYS_MAX} times 150 schedules, and nothing was wrongly {mistake}")
