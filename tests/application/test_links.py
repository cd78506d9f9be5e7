"""Links between streams: every walk over them ends, whatever the commands that make them have made of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TypeVar
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from application import products, support_cases
from application.aggregates import Aggregate, Claim
from application.commands import Command
from application.decisions import DecisionUnitOfWork
from application.ports import Decision, Stream
from application.support_cases import LINKS_MAX
from domain.case_events import (
    ActorClass,
    CaseKind,
    CaseOpened,
    CustomerMessageForwarded,
    CustomerMessageReceived,
    FollowUpCaseOpened,
)
from domain.case_status import ACTIVE, CaseStatus
from domain.customer import Channel
from domain.errors import Refusal
from domain.product import SUCCESSORS_MAX, Product, TooManySuccessors
from domain.support_case import CustomerAwaitsReply, SupportCase
from tests.commands import NOON, register_product, submission
from tests.people import JANUARY

READS_MAX = 10_000
"""More than any command of these tests needs."""
State = TypeVar("State")


class CountingWork(DecisionUnitOfWork):
    """A unit of work that ends what would not end by itself."""

    reads = 0

    def read_all(self, aggregate: Aggregate[State], references: list[str], *, pointer: str) -> list[tuple[UUID, State]]:
        """See `UnitOfWork.read_all`."""
        self.reads += 1
        assert self.reads < READS_MAX, "the walk comes back to where it was, again and again"
        return super().read_all(aggregate, references, pointer=pointer)


@dataclass
class Service:
    """Decides commands one after the other, and counts what each of them looks at."""

    streams: dict[UUID, Stream] = field(default_factory=dict)
    claims: dict[Claim, UUID] = field(default_factory=dict)
    now: datetime = NOON
    looked_at: Counter[UUID] = field(default_factory=Counter)
    ids: int = 0

    def stream(self, stream: UUID) -> Stream:
        self.looked_at[stream] += 1
        return self.streams.get(stream, Stream(0, None))

    def holder(self, claim: Claim) -> tuple[bool, UUID | None]:
        return True, self.claims.get(claim)

    def send(self, command: Command, target: UUID | None = None) -> Decision:
        """Decide a command an hour after the one before; what it refuses is raised."""
        self.now += timedelta(hours=1)
        self.looked_at.clear()
        sent = submission(replace(command, occurred_at=self.now), target)
        work = CountingWork(sent, self, self.new_id, reporting_currency="EUR")
        work.decide()
        decision, moved = work.decision(b"")
        self.streams.update(moved)
        self.claims.update((new.claim, new.stream_id) for new in decision.claims)
        return decision

    def new_id(self) -> UUID:
        self.ids += 1
        return UUID(int=self.ids)

    def open(self, follow_up_of: UUID | None = None) -> UUID:
        """Open a case of a number of its own, perhaps as the follow-up case of another one."""
        opening = support_cases.OpenCase(
            case_number=f"T-{self.ids}",
            kind=CaseKind.COMPLAINT,
            channel=Channel.EMAIL,
            opened_by=ActorClass.CUSTOMER,
            follow_up_of=None if follow_up_of is None else str(follow_up_of),
        )
        return self.send(opening).target_id

    def merge(self, case_id: UUID, into: UUID) -> None:
        self.send(support_cases.MergeCase(into=str(into)), case_id)

    def close(self, case_id: UUID) -> None:
        self.send(support_cases.CloseCase(), case_id)

    def write(self, case_id: UUID) -> Decision:
        return self.send(support_cases.ReceiveCustomerMessage(), case_id)

    def case(self, case_id: UUID) -> SupportCase:
        state = self.streams[case_id].state
        assert isinstance(state, SupportCase)
        return state

    def cases(self) -> list[UUID]:
        return [each for each, stream in self.streams.items() if isinstance(stream.state, SupportCase)]


def opened_by(decision: Decision) -> tuple[UUID, UUID | None] | None:
    """The follow-up case that a message has opened, and of which case it is."""
    found = [new for new in decision.events if isinstance(new.event, CaseOpened)]
    return (found[0].stream_id, found[0].event.follow_up_of) if found else None


# Cycles


@pytest.mark.parametrize("ending", [
    support_cases.CloseCase(),
    support_cases.WithdrawCase(),
    support_cases.ResolveCase(resolution_code="done", reopen_until=NOON + timedelta(hours=6)),
], ids=["closed", "withdrawn", "resolved past its window"])  # fmt: skip
@pytest.mark.parametrize("addressed", ["the case", "its follow-up case"])
def test_where_the_follow_up_case_was_merged_back_a_message_opens_a_new_one(ending: Command, addressed: str) -> None:
    service = Service()
    case = service.open()
    follow_up = service.open(follow_up_of=case)
    service.merge(follow_up, case)
    service.send(ending, case)
    service.now += timedelta(days=1)
    written = service.write(case if addressed == "the case" else follow_up)
    new = opened_by(written)
    assert new is not None
    assert new[1] == case
    assert opened_by(again := service.write(case)) is None
    assert [each.stream_id for each in again.events if isinstance(each.event, CustomerMessageReceived)] == [new[0]]


def test_two_cases_whose_follow_ups_were_merged_crosswise_get_one_new_follow_up_case() -> None:
    service = Service()
    one, other = service.open(), service.open()
    after_one, after_other = service.open(follow_up_of=one), service.open(follow_up_of=other)
    service.merge(after_one, other)
    service.merge(after_other, one)
    service.close(one)
    service.close(other)
    new = opened_by(service.write(one))
    assert new is not None
    for each in (one, other, after_one, after_other):
        (received,) = (
            new.stream_id for new in service.write(each).events if isinstance(new.event, CustomerMessageReceived)
        )
        assert received == new[0]


# Long ways


def test_a_message_follows_a_bounded_number_of_links_and_then_opens_a_follow_up_case() -> None:
    service = Service()
    first = last = service.open()
    for _ in range(LINKS_MAX + 10):
        service.close(last)
        last, _ = opened_by(service.write(last)) or (last, None)
    new = opened_by(service.write(first))
    assert new is not None
    assert len(service.looked_at) <= LINKS_MAX + 3
    assert opened_by(service.write(first)) is None
    assert len(service.looked_at) <= LINKS_MAX + 3


def test_a_chain_of_merges_is_followed_to_its_end_in_both_directions() -> None:
    """More cases than Python nests calls."""
    service = Service()
    cases = [service.open() for _ in range(1_500)]
    service.send(support_cases.SendPublicReply(), cases[-1])
    for case, into in pairwise(cases):
        service.merge(case, into)
    with pytest.raises(CustomerAwaitsReply):
        service.send(support_cases.WaitForCustomer(), cases[-1])
    assert len(service.looked_at) == len(cases)
    service.send(support_cases.SendPublicReply(), cases[-1])
    service.send(support_cases.WaitForCustomer(), cases[-1])
    assert service.case(cases[-1]).status(service.now) is CaseStatus.WAITING_ON_CUSTOMER
    (received, _) = service.write(cases[0]).events[-2:]
    assert received.stream_id == cases[-1]


def test_a_case_that_waits_goes_on_when_an_unanswered_case_is_merged_into_it() -> None:
    """Also where it is unanswered only because of what was merged into that one before."""
    service = Service()
    into, other, third = (service.open() for _ in range(3))
    for case in (into, other):
        service.send(support_cases.SendPublicReply(), case)
    service.send(support_cases.WaitForCustomer(), into)
    answered = service.open()
    service.send(support_cases.SendPublicReply(), answered)
    service.merge(answered, into)
    assert service.case(into).status(service.now) is CaseStatus.WAITING_ON_CUSTOMER
    service.merge(third, other)
    service.merge(other, into)
    assert service.case(into).status(service.now) is CaseStatus.OPEN
    with pytest.raises(CustomerAwaitsReply):
        service.send(support_cases.WaitForCustomer(), into)


# Any graph

ENDINGS: Sequence[Command] = (
    support_cases.CloseCase(),
    support_cases.WithdrawCase(),
    support_cases.MarkAsSpam(),
    support_cases.ResolveCase(resolution_code="done"),
)
case_numbers = st.integers(0, 3)
"""Few, so that links come back."""
steps = st.one_of(
    st.tuples(st.just("open"), case_numbers, st.just(0)),
    st.tuples(st.just("merge"), case_numbers, case_numbers),
    st.tuples(st.sampled_from(["split", "write", "reply", "wait"]), case_numbers, case_numbers),
    st.tuples(st.just("end"), case_numbers, st.integers(0, len(ENDINGS) + 1)),
)


def take(service: Service, step: tuple[str, int, int]) -> None:
    """Take one step; what a rule refuses is left out."""
    kind, place, other = step
    cases = service.cases()
    if kind == "open":
        service.open(cases[place] if place < len(cases) else None)
        return
    case = cases[place % len(cases)]
    match kind:
        case "merge":
            service.merge(case, cases[other % len(cases)])
        case "split":
            service.send(support_cases.SplitCase(), case)
        case "write":
            service.write(case)
        case "reply":
            service.send(support_cases.SendPublicReply(), case)
        case "wait":
            service.send(support_cases.WaitForCustomer(), case)
        case _ if other < len(ENDINGS):
            service.send(ENDINGS[other], case)
        case _:
            until = service.now + timedelta(hours=2)
            service.send(support_cases.ResolveCase(resolution_code="done", reopen_until=until), case)


def reachable(service: Service, case_id: UUID) -> set[UUID]:
    """Every case that links of any kind lead to from this one."""
    found, ahead = {case_id}, [case_id]
    while ahead:
        state = service.case(ahead.pop())
        further = {each for each in (state.merged_into, state.follow_up_id) if each is not None} - found
        found |= further
        ahead += further
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, min_size=5, max_size=30))
def test_whatever_the_links_a_message_is_taken_in_once_by_a_case_that_takes_it(
    taken: list[tuple[str, int, int]],
) -> None:
    service = Service()
    service.open()
    for step in taken:
        try:
            take(service, step)
        except Refusal:
            continue
    for case_id in service.cases():
        where = reachable(service, case_id)
        before = {each: service.case(each) for each in where}
        decision = service.write(case_id)
        looked_at = set(service.looked_at)
        taken_in = [new for new in decision.events if isinstance(new.event, CaseOpened | CustomerMessageReceived)]
        assert len(taken_in) == 1
        assert looked_at <= {*where, taken_in[0].stream_id}
        after = service.case(taken_in[0].stream_id).status(service.now)
        assert after in {*ACTIVE, CaseStatus.SPAM}
        new = opened_by(decision)
        if new is None:
            assert taken_in[0].stream_id in where
        else:
            assert new[1] in where
            # Where any case was still open on the way, there was no need for one.
            assert before[new[1]].needs_follow_up(service.now)
        forwarded = [new.event for new in decision.events if isinstance(new.event, CustomerMessageForwarded)]
        assert [each.case_id for each in forwarded] == ([taken_in[0].stream_id] if _left(decision, case_id) else [])


def _left(decision: Decision, case_id: UUID) -> bool:
    """Whether the message was taken in neither by this case, nor by a follow-up case of its own."""
    kinds = CustomerMessageReceived | FollowUpCaseOpened
    return not any(new.stream_id == case_id and isinstance(new.event, kinds) for new in decision.events)


# Products


def register(service: Service) -> UUID:
    return service.send(register_product(product_number=f"F-{service.ids}")).target_id


def succeed(service: Service, product: UUID, successor: UUID, day: date = JANUARY) -> None:
    declared = products.DeclareSuccessor(successor=str(successor), valid_from=day, ratio=Decimal(1))
    service.send(declared, product)


def test_of_a_product_with_many_successors_only_as_many_are_read_as_the_rule_asks() -> None:
    service = Service()
    old, popular = register(service), register(service)
    for day in range(SUCCESSORS_MAX + 50):
        succeed(service, popular, register(service), JANUARY + timedelta(days=day))
    with pytest.raises(TooManySuccessors):
        succeed(service, old, popular)
    assert set(service.looked_at) == {old, popular}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3)), max_size=40))
def test_whatever_is_declared_no_product_ever_comes_after_itself(declared: list[tuple[int, int, int]]) -> None:
    service = Service()
    known = [register(service) for _ in range(7)]
    for product, successor, day in declared:
        try:
            succeed(service, known[product], known[successor], JANUARY + timedelta(days=day))
        except Refusal:
            continue
    states = {each: service.streams[each].state for each in known}
    after = {each: set(state.successor_ids) for each, state in states.items() if isinstance(state, Product)}
    while leaves := [each for each, following in after.items() if not following]:
        for leaf in leaves:
            del after[leaf]
        after = {each: following - set(leaves) for each, following in after.items()}
    assert not after
