"""The registry of event types: stored names and schema versions, append-only.

What stands here is a public contract: a name or a version is added, never changed or removed. A class whose shape
changes gets a new version and an upcaster from the one before.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from domain import customer, product, sales_document, service_calendar, staff, team

Body = dict[str, Any]
Upcaster = Callable[[Body], Body]


@dataclass(frozen=True)
class EventType:
    """One stored name: today's class and schema version, and how each older version becomes the next one."""

    name: str
    event: type[Any]
    schema_version: int = 1
    upcasters: Mapping[int, Upcaster] = field(default_factory=dict)
    """By the version that they start from. They get plain values, or `ERASED` where a key is gone, and pass that on."""

    @property
    def aggregate(self) -> str:
        """The kind of stream that the event belongs to."""
        return self.name.partition(".")[0]

    def upcast(self, body: Body, schema_version: int) -> Body:
        """The body in today's shape."""
        for version in range(schema_version, self.schema_version):
            body = self.upcasters[version](body)
        return body


class Registry:
    """Event types by name and by class."""

    def __init__(self, types: Iterable[EventType]) -> None:
        self.types = tuple(types)

    @cached_property
    def by_name(self) -> Mapping[str, EventType]:
        """Every event type by its stored name."""
        return {each.name: each for each in self.types}

    @cached_property
    def by_class(self) -> Mapping[type[Any], EventType]:
        """Every event type by today's class."""
        return {each.event: each for each in self.types}


def _interaction_recorded_1(body: Body) -> Body:
    """Version 1 knew one contact person at most, as `contact_id`."""
    contact = body.pop("contact_id", None)
    return {**body, "contacts": [] if contact is None else [contact]}


EVENT_TYPES = Registry(
    (
        EventType("customer.registered", customer.CustomerRegistered),
        EventType("customer.legal-name-changed", customer.LegalNameChanged),
        EventType("customer.address-changed", customer.AddressChanged),
        EventType("customer.contact-person-added", customer.ContactPersonAdded),
        EventType("customer.contact-person-changed", customer.ContactPersonChanged),
        EventType("customer.contact-person-deactivated", customer.ContactPersonDeactivated),
        EventType("customer.external-identifier-attached", customer.ExternalIdentifierAttached),
        EventType("customer.payment-terms-agreed", customer.PaymentTermsAgreed),
        EventType("customer.credit-limit-changed", customer.CreditLimitChanged),
        EventType("customer.owner-assigned", customer.OwnerAssigned),
        EventType("customer.classified", customer.CustomerClassified),
        EventType("customer.interaction-recorded", customer.InteractionRecorded, 2, {1: _interaction_recorded_1}),
        EventType("customer.blocked", customer.CustomerBlocked),
        EventType("customer.unblocked", customer.CustomerUnblocked),
        EventType("customer.deactivated", customer.CustomerDeactivated),
        EventType("customer.reactivated", customer.CustomerReactivated),
        EventType("customer.master-data-confirmed", customer.MasterDataConfirmed),
        EventType("product.registered", product.ProductRegistered),
        EventType("product.changed", product.ProductChanged),
        EventType("product.list-price-changed", product.ListPriceChanged),
        EventType("product.category-assigned", product.CategoryAssigned),
        EventType("product.successor-declared", product.SuccessorDeclared),
        EventType("product.substitute-declared", product.SubstituteDeclared),
        EventType("product.complement-declared", product.ComplementDeclared),
        EventType("product.reported-unavailable", product.ProductReportedUnavailable),
        EventType("product.discontinued", product.ProductDiscontinued),
        EventType("sales-document.invoice-posted", sales_document.InvoicePosted),
        EventType("sales-document.invoice-credited", sales_document.InvoiceCredited),
        EventType("sales-document.invoice-cancelled", sales_document.InvoiceCancelled),
        EventType("sales-document.credit-note-posted", sales_document.CreditNotePosted),
        EventType("sales-document.adjustment-posted", sales_document.AdjustmentPosted),
        EventType("service-calendar.defined", service_calendar.CalendarDefined),
        EventType("service-calendar.revised", service_calendar.CalendarRevised),
        EventType("team.defined", team.TeamDefined),
        EventType("staff.registered", staff.StaffRegistered),
        EventType("staff.team-joined", staff.TeamJoined),
        EventType("staff.team-left", staff.TeamLeft),
        EventType("staff.left", staff.StaffLeft),
    )
)
