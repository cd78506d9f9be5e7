"""Commands as the service hands them to the writer, ready to be submitted by tests."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from application import customers, products, sales_documents
from application.aggregates import Aggregate
from application.commands import COMMANDS, Command, CommandDefinition
from application.ports import CommandKey, EventLog
from application.submissions import Submission
from application.unit_of_work import ActorKind, Metadata, UnitOfWork
from application.writer import Writer, WriterLimits
from domain.customer import Channel, CustomerKind, Direction, DueBasis, Relationship
from infrastructure.ids import new_id
from tests.people import JANUARY

NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)

register = partial(
    customers.RegisterCustomer,
    kind=CustomerKind.ORGANISATION,
    relationship=Relationship.CUSTOMER,
    name="Acme Bakery GmbH",
    language="de",
    currency="EUR",
    country="DE",
)
"""Registers Acme Bakery; `customer_number` is to be given."""
register_person = partial(register, kind=CustomerKind.PERSON, name="Ada Lovelace", language="en", country="GB")
block = partial(customers.BlockCustomer, reason="three reminders without an answer")
unblock = partial(customers.UnblockCustomer, reason="paid")
agree = partial(customers.AgreePaymentTerms, due_basis=DueBasis.INVOICE, due_days=30, valid_from=JANUARY)
talk = partial(
    customers.RecordInteraction,
    channel=Channel.PHONE,
    direction=Direction.INBOUND,
    summary="The flour clumps again.",
)
register_product = partial(products.RegisterProduct, name="Flour 405", base_unit="kg")
"""Registers flour; `product_number` is to be given."""


def invoice(number: str, customer: str, *, product: str | None = None, **fields: Any) -> sales_documents.PostInvoice:
    """An invoice over one sack of flour."""
    line = sales_documents.InvoiceLine(
        line_no=1, product=product, quantity=Decimal(1), unit_price=Decimal("25.00"), net_amount=Decimal("25.00")
    )
    return sales_documents.PostInvoice(
        document_number=number,
        document_date=date(2026, 4, 1),
        posted_on=date(2026, 4, 1),
        customer=customer,
        currency="EUR",
        ship_to_country="DE",
        lines=(line,),
        **fields,
    )


def submission(  # noqa: PLR0913 - everything that a request may say
    command: Command,
    target: UUID | str | None = None,
    *,
    key: str | None = None,
    principal: str = "key:shop",
    if_match: int | None = None,
    actor_kind: ActorKind = ActorKind.SERVICE,
    definition: CommandDefinition | None = None,
) -> Submission:
    """A command as it is submitted; its key is a new one, unless the test says which."""
    if definition is None:
        (definition,) = (each for each in COMMANDS.values() if each.command is type(command))
    command_id = new_id()
    metadata = Metadata(
        command_id=command_id,
        actor=principal,
        actor_kind=actor_kind,
        occurred_at=command.occurred_at or NOON,
        received_at=NOON,
        correlation_id=command_id,
        reason=command.reason,
        source=command.source,
        source_recorded_at=command.source_recorded_at,
    )
    return Submission(
        key=CommandKey(principal, key or str(command_id)),
        definition=definition,
        command=command,
        metadata=metadata,
        request=f"{definition.name} {target} {command}".encode(),
        target=None if target is None else str(target),
        expected_version=if_match,
    )


def handled_by(
    handler: Callable[[Any, UnitOfWork], None], aggregate: Aggregate[Any], *, creates: bool = False
) -> CommandDefinition:
    """A command that no user has: what it does is said by the test."""
    return CommandDefinition(handler.__name__, Command, aggregate, handler, creates, ())


def special(
    handler: Callable[[Any, UnitOfWork], None],
    aggregate: Aggregate[Any],
    target: UUID | str | None = None,
    *,
    dry_run: bool = False,
) -> Submission:
    """A submission of a command that no user has."""
    return submission(
        Command(dry_run=dry_run), target, definition=handled_by(handler, aggregate, creates=target is None)
    )


def again(earlier: Submission) -> Submission:
    """The same request once more, as it comes in when its answer was lost."""
    return replace(earlier, metadata=replace(earlier.metadata, command_id=new_id()))


@asynccontextmanager
async def writing(log: EventLog, **limits: Any) -> AsyncIterator[Writer]:
    """A writer at work on this log; `limits` are those of `WriterLimits`."""
    writer = Writer(log, new_id=new_id, reporting_currency="EUR", limits=WriterLimits(**limits))
    writer.start()
    try:
        yield writer
    finally:
        await writer.stop()
