"""What revenue is, worked out anew from the events one by one, without a database."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from application.ports import RecordedEvent
from domain.product import CategoryAssigned, ProductRegistered
from domain.sales_document import (
    AdjustmentPosted,
    CreditNotePosted,
    InvoiceCancelled,
    InvoiceCredited,
    InvoicePosted,
)

KINDS = {
    InvoicePosted: "invoice",
    InvoiceCredited: "credit_note",
    CreditNotePosted: "credit_note",
    InvoiceCancelled: "cancellation",
    AdjustmentPosted: "adjustment",
}


@dataclass(frozen=True)
class Line:
    """One revenue line, with everything that it can be divided by; None where it has no product or category."""

    position: int
    posted_on: date
    values: Mapping[str, str | None]
    net_amount: Decimal
    revenue: Decimal
    quantity: Decimal | None
    unit: str | None


def lines_at(events: Sequence[RecordedEvent], position: int) -> Iterator[Line]:
    """The lines known at a position, with the categories known then."""
    known = [each for each in events if each.position <= position]
    units = {each.stream_id: each.event.base_unit for each in known if isinstance(each.event, ProductRegistered)}
    for recorded in known:
        event = recorded.event
        if isinstance(event, InvoicePosted | InvoiceCredited | CreditNotePosted | InvoiceCancelled | AdjustmentPosted):
            for line in event.lines:
                yield Line(
                    position=recorded.position,
                    posted_on=event.posted_on,
                    values={
                        "month": f"{event.posted_on:%Y-%m}",
                        "customer": str(event.customer_id),
                        "product": None if line.product_id is None else str(line.product_id),
                        "category": _category(known, line.product_id, event.posted_on),
                        "country": line.ship_to_country,
                        "currency": event.currency,
                        "kind": KINDS[type(event)],
                    },
                    net_amount=line.net_amount,
                    revenue=line.reporting_amount,
                    quantity=line.base_quantity,
                    unit=None if line.product_id is None else units[line.product_id],
                )


def _category(events: Sequence[RecordedEvent], product: UUID | None, day: date) -> str | None:
    said = [
        (each.event.valid_from, each.position, each.event.category)
        for each in events
        if each.stream_id == product and isinstance(each.event, CategoryAssigned) and each.event.valid_from <= day
    ]
    return max(said)[2] if said else None


@dataclass(frozen=True)
class Expected:
    """The figures of one group."""

    revenue: Decimal
    invoices: int
    lines: int
    first: date
    last: date
    net_amounts: Mapping[str, Decimal]
    quantities: Mapping[str | None, Decimal]


def figures(lines: Sequence[Line]) -> Expected:
    """The figures of some lines; there is at least one."""
    counted = [line for line in lines if line.quantity is not None]
    return Expected(
        revenue=sum((line.revenue for line in lines), Decimal(0)),
        invoices=len({line.position for line in lines if line.values["kind"] == "invoice"}),
        lines=len(lines),
        first=min(line.posted_on for line in lines),
        last=max(line.posted_on for line in lines),
        net_amounts={
            str(currency): sum((line.net_amount for line in lines if line.values["currency"] == currency), Decimal(0))
            for currency in {line.values["currency"] for line in lines}
        },
        quantities={
            unit: sum((line.quantity for line in counted if line.unit == unit and line.quantity), Decimal(0))
            for unit in {line.unit for line in counted}
        },
    )


def by_group(lines: Sequence[Line], by: Sequence[str]) -> dict[tuple[str | None, ...], Expected]:
    """The figures of each group."""
    groups: dict[tuple[str | None, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(tuple(line.values[name] for name in by), []).append(line)
    return {keys: figures(members) for keys, members in groups.items()}
