"""Any sequence of commands on two writers, held against a model that fits on one page.

Commands, conflicts, repeats, claims, new subjects and erasures; one by one, many in order, and together or not at all.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TypeAlias, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from application.commands import Command
from application.customers import CUSTOMER, AddContactPerson, AttachExternalIdentifier, RegisterCustomer
from application.ports import Appended, Conflicts, Decision, Stream
from application.submissions import (
    AnotherCommandWasRefused,
    Answer,
    KeyIsUsedForAnotherRequest,
    StreamHasMoved,
    SubjectIsErased,
    Submission,
)
from domain.customer import (
    CustomerIsBlocked,
    CustomerKind,
    CustomerNotFound,
    CustomerNumberIsTaken,
    ExternalIdentifierIsTaken,
)
from domain.errors import Refusal
from domain.values import ExternalIdentifier
from infrastructure.embedded_postgres import EmbeddedPostgres
from tests.commands import again, agree, block, register, register_person, submission, talk, unblock, writing
from tests.in_memory import InMemoryLog
from tests.places import InMemory, InPostgres, Place, empty_log

IS_FULL = os.environ.get("RAPPORT_FULL") == "1"
NUMBERS = [f"C-{number}" for number in range(4)]
IDENTIFIERS = [ExternalIdentifier(source="shop", id=str(number)) for number in range(2)]

Expected: TypeAlias = type[Refusal] | int
"""A refusal, or how many events are recorded."""


@dataclass
class ModelCustomer:
    """What the model knows of a customer."""

    number: str
    kind: CustomerKind
    version: int = 1
    is_blocked: bool = False
    days: int | None = None
    identifiers: set[ExternalIdentifier] = field(default_factory=set)
    is_erased: bool = False


@dataclass
class Model:
    """Customers by number; who holds which identifier; which requests are stored, with their first answers."""

    customers: dict[str, ModelCustomer] = field(default_factory=dict)
    holders: dict[ExternalIdentifier, str] = field(default_factory=dict)
    stored: list[tuple[Submission, Answer]] = field(default_factory=list)
    ids: dict[str, UUID] = field(default_factory=dict)

    def copy(self) -> "Model":
        """This model, to try something on."""
        customers = {n: replace(c, identifiers=set(c.identifiers)) for n, c in self.customers.items()}
        return Model(customers, dict(self.holders), list(self.stored), dict(self.ids))


@dataclass(frozen=True)
class Operation:
    """A command, and what the model says that comes of it."""

    sent: Submission
    expect: Callable[[Model], Expected]


def registering(number: str, kind: CustomerKind, identifier: ExternalIdentifier | None) -> Operation:
    make = register_person if kind is CustomerKind.PERSON else register
    identifiers = () if identifier is None else (identifier,)

    def expect(model: Model) -> Expected:
        if number in model.customers:
            return CustomerNumberIsTaken
        if identifier in model.holders:
            return ExternalIdentifierIsTaken
        model.customers[number] = ModelCustomer(number, kind, identifiers=set(identifiers))
        model.holders.update(dict.fromkeys(identifiers, number))
        return 1

    return Operation(submission(make(customer_number=number, external_identifiers=identifiers)), expect)


def _block(customer: ModelCustomer, is_blocked: bool) -> Expected:  # noqa: FBT001 - blocked or not
    is_changed = customer.is_blocked is not is_blocked
    customer.is_blocked = is_blocked
    return int(is_changed)


def _agree(customer: ModelCustomer, days: int) -> Expected:
    if customer.is_blocked:
        return CustomerIsBlocked
    is_changed = customer.days != days
    customer.days = days
    return int(is_changed)


def _attach(model: Model, customer: ModelCustomer, identifier: ExternalIdentifier) -> Expected:
    if identifier in customer.identifiers:
        return 0
    if identifier in model.holders:
        return ExternalIdentifierIsTaken
    customer.identifiers.add(identifier)
    model.holders[identifier] = customer.number
    return 1


def changing(
    target: str | ExternalIdentifier, if_match: int | None, kind: str, days: int, identifier: ExternalIdentifier
) -> Operation:
    """A command to a customer that may be there, by its number or by what the shop calls it."""
    kinds: dict[str, tuple[Command, Callable[[Model, ModelCustomer], Expected]]] = {
        "block": (block(), lambda _, customer: _block(customer, is_blocked=True)),
        "unblock": (unblock(), lambda _, customer: _block(customer, is_blocked=False)),
        "agree": (agree(due_days=days), lambda _, customer: _agree(customer, days)),
        "talk": (talk(), lambda _, customer: SubjectIsErased if customer.is_erased else 1),
        "attach": (
            AttachExternalIdentifier(identifier=identifier),
            lambda model, customer: _attach(model, customer, identifier),
        ),
        "add contact": (AddContactPerson(name="Grace Hopper"), lambda _model, _customer: 1),
    }
    command, decide = kinds[kind]

    def expect(model: Model) -> Expected:
        number = target if isinstance(target, str) else model.holders.get(target, "")
        customer = model.customers.get(number)
        if customer is None:
            return CustomerNotFound
        if if_match is not None and if_match != customer.version:
            return StreamHasMoved
        events = decide(model, customer)
        if isinstance(events, int):
            customer.version += events
        return events

    reference = f"number:{target}" if isinstance(target, str) else f"{target.source}:{target.id}"
    return Operation(submission(command, reference, if_match=if_match), expect)


operations = st.one_of(
    st.builds(
        registering, st.sampled_from(NUMBERS), st.sampled_from(CustomerKind), st.none() | st.sampled_from(IDENTIFIERS)
    ),
    st.builds(
        changing,
        st.sampled_from(NUMBERS) | st.sampled_from(IDENTIFIERS),
        st.none() | st.integers(1, 4),
        st.sampled_from(["block", "unblock", "agree", "talk", "attach", "add contact"]),
        st.integers(0, 1),
        st.sampled_from(IDENTIFIERS),
    ),
)
writers = st.integers(0, 1)


class TwoWriters(RuleBasedStateMachine):
    """Two writers, as of two processes, on one log."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.runner = asyncio.Runner()
        self.exits = AsyncExitStack()
        self.model = Model()
        self.written: list[tuple[UUID, int]] = []

    @initialize()
    def start(self) -> None:
        async def open_all() -> None:
            self.logs = [await self.exits.enter_async_context(self.place.open()) for _ in range(2)]
            limits = {"cached_streams_max": 2, "cached_claims_max": 2, "batch_commands_max": 4}
            self.writers = [await self.exits.enter_async_context(writing(log, **limits)) for log in self.logs]

        self.runner.run(open_all())

    def teardown(self) -> None:
        self.runner.run(self.exits.aclose())
        self.runner.close()

    def take(self, operation: Operation, expected: Expected, outcome: Answer | Refusal) -> None:
        """Compare an outcome with what the model says, and take note of what was recorded."""
        if isinstance(expected, type):
            assert type(outcome) is expected, (operation.sent, expected, outcome)
            return
        assert isinstance(outcome, Answer), (operation.sent, expected, outcome)
        assert len(outcome.events) == expected
        for each in outcome.events:
            self.written.append((each.stream_id, each.version))
            assert each.position == len(self.written)
        if expected:
            self.model.stored.append((operation.sent, outcome))
            if isinstance(operation.sent.command, RegisterCustomer):
                self.model.ids[operation.sent.command.customer_number] = outcome.target_id

    @rule(writer=writers, many=st.lists(operations, min_size=1, max_size=6))
    def in_order(self, writer: int, many: list[Operation]) -> None:
        outcomes = self.runner.run(self.writers[writer].submit_many([each.sent for each in many]))
        for each, outcome in zip(many, outcomes, strict=True):
            self.take(each, each.expect(self.model), outcome)

    @rule(writer=writers, many=st.lists(operations, min_size=1, max_size=4))
    def together(self, writer: int, many: list[Operation]) -> None:
        outcomes = self.runner.run(self.writers[writer].submit_many([each.sent for each in many], atomic=True))
        tried = self.model.copy()
        expected = [each.expect(tried) for each in many]
        if all(isinstance(each, int) for each in expected):
            self.model = tried
            for each, events, outcome in zip(many, expected, outcomes, strict=True):
                self.take(each, events, outcome)
        else:
            # One is to blame, and often there is a choice: what the log would refuse is not known while rules refuse.
            assert all(isinstance(outcome, Refusal) for outcome in outcomes)
            assert [type(outcome) for outcome in outcomes].count(AnotherCommandWasRefused) == len(many) - 1

    @rule(writer=writers, which=st.integers(0, 99), is_other=st.booleans())
    def repeat(self, writer: int, which: int, is_other: bool) -> None:  # noqa: FBT001 - Hypothesis says it by name
        if not self.model.stored:
            return
        sent, first = self.model.stored[which % len(self.model.stored)]
        request = b"another request" if is_other else sent.request
        (outcome,) = self.runner.run(self.writers[writer].submit_many([replace(again(sent), request=request)]))
        if is_other:
            assert type(outcome) is KeyIsUsedForAnotherRequest
        else:
            assert isinstance(outcome, Answer)
            assert outcome.replayed
            assert [each.position for each in outcome.events] == [each.position for each in first.events]
            assert (outcome.target_id, outcome.version) == (first.target_id, first.version)

    @rule(number=st.sampled_from(NUMBERS))
    def erase(self, number: str) -> None:
        customer = self.model.customers.get(number)
        if customer is None:
            return
        self.place.destroy_subject(self.model.ids[number])
        customer.is_erased = True
        if customer.kind is CustomerKind.PERSON:
            self.model.holders = {each: holder for each, holder in self.model.holders.items() if holder != number}

    @invariant()
    def the_log_is_what_was_answered(self) -> None:
        if not hasattr(self, "logs"):
            return

        async def look() -> None:
            events = await self.logs[0].events(1, 10_000)
            assert [(each.stream_id, each.version) for each in events] == self.written
            streams = await self.logs[1].load(self.model.ids.values())
            for number, customer in self.model.customers.items():
                stream = streams[self.model.ids[number]]
                assert stream == Stream(customer.version, stream.state)
                assert (stream.state.blocked, stream.state.kind) == (customer.is_blocked, customer.kind)
            claims = {CUSTOMER.reference(each.source, each.id): each for each in IDENTIFIERS}
            held = {claims[claim]: stream for claim, stream in (await self.logs[0].holders(claims)).items()}
            assert held == {each: self.model.ids[number] for each, number in self.model.holders.items()}

        self.runner.run(look())


def run(machine: Callable[[], TwoWriters], examples: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    run_state_machine_as_test(
        cast("type[TwoWriters]", machine),
        settings=settings(
            max_examples=examples * (20 if IS_FULL else 1),
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
            phases=phases,
        ),
    )


def test_two_writers_on_a_log_in_memory_do_what_the_model_says() -> None:
    run(lambda: TwoWriters(InMemory()), examples=50)


def test_two_writers_on_a_log_in_postgres_do_what_the_model_says(
    postgres: EmbeddedPostgres, log_in_postgres: InPostgres
) -> None:
    def on_an_empty_log() -> TwoWriters:
        empty_log(postgres.administrator(log_in_postgres.database))
        return TwoWriters(log_in_postgres)

    run(on_an_empty_log, examples=8)


class Forgetful(InMemoryLog):
    """A log that forgets which commands it has stored."""

    async def append(self, batch: Sequence[Decision]) -> Appended | Conflicts:
        self._commands.clear()
        return await super().append(batch)


def test_a_log_that_forgets_keys_is_found_out() -> None:
    with pytest.raises(AssertionError):
        run(lambda: TwoWriters(InMemory(Forgetful())), examples=50, phases=[Phase.generate])
