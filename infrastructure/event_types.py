"""The registry of event types: stored names and schema versions, append-only.

What stands here is a public contract: a name or a version is added, never changed or removed. A class whose shape
changes gets a new version and an upcaster from the one before.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from domain import case_events, customer, product, sales_document, service_calendar, staff, team

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


def _case_classified_1(body: Body) -> Body:
    """Version 1 left the product as it was where it named none."""
    return {**body, "keeps_product": body.get("product_id") is None}


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
        EventType("support-case.opened", case_events.CaseOpened),
        EventType("support-case.customer-identified", case_events.CustomerIdentified),
        EventType("support-case.customer-message-received", case_events.CustomerMessageReceived),
        EventType("support-case.public-reply-sent", case_events.PublicReplySent),
        EventType("support-case.internal-note-added", case_events.InternalNoteAdded),
        EventType("support-case.assigned", case_events.CaseAssigned),
        EventType("support-case.transferred", case_events.CaseTransferred),
        EventType("support-case.calendar-assigned", case_events.CalendarAssigned),
        EventType("support-case.handed-off-to-human", case_events.CaseHandedOffToHuman),
        EventType("support-case.priority-changed", case_events.PriorityChanged),
        EventType("support-case.classified", case_events.CaseClassified, 2, {1: _case_classified_1}),
        EventType("support-case.wait-for-customer-begun", case_events.WaitForCustomerBegun),
        EventType("support-case.put-on-hold", case_events.CasePutOnHold),
        EventType("support-case.resumed", case_events.CaseResumed),
        EventType("support-case.escalated", case_events.CaseEscalated),
        EventType("support-case.no-reply-needed-marked", case_events.NoReplyNeededMarked),
        EventType("support-case.marked-as-spam", case_events.CaseMarkedAsSpam),
        EventType("support-case.resolved", case_events.CaseResolved),
        EventType("support-case.reopened", case_events.CaseReopened),
        EventType("support-case.closed", case_events.CaseClosed),
        EventType("support-case.merged-into", case_events.CaseMergedInto),
        EventType("support-case.another-case-merged", case_events.AnotherCaseMerged),
        EventType("support-case.split", case_events.CaseSplit),
        EventType("support-case.follow-up-case-opened", case_events.FollowUpCaseOpened),
        EventType("support-case.customer-message-forwarded", case_events.CustomerMessageForwarded),
        EventType("support-case.linked-to-product-feedback", case_events.CaseLinkedToProductFeedback),
        EventType("support-case.satisfaction-requested", case_events.SatisfactionRequested),
        EventType("support-case.satisfaction-recorded", case_events.SatisfactionRecorded),
        EventType("support-case.satisfaction-amended", case_events.SatisfactionAmended),
        EventType("support-case.withdrawn", case_events.CaseWithdrawn),
    )
)
