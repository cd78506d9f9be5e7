"""Customers: who they are, what has been agreed with them and what has been talked about.

Rules

* A customer is an organisation or a person, and is registered as a prospect or as a customer. Whether a prospect has
  bought since is told by the postings and never recorded here.
* No two customers have the same customer number, nor the same identifier of one source; the source `number` is ours.
* No two customers have the same VAT id, unless the command says that they may share it.
* Names, addresses, payment terms and owners hold from a day on, until the day from which a later statement holds. Of
  two statements for the same day the one recorded later corrects the other. So no two of them ever hold at once, and
  what was registered holds before all others.
* Invoices fall due a number of days, never negative, after the invoice, after the delivery or after the end of the
  month. A discount for early payment is at least 0 % and less than 100 %, and its days end no later than the due days.
* A credit limit is in the customer's currency and not negative.
* A contact person who has left is not changed any more, but may still be named in what happened earlier.
* A blocked customer takes on nothing new: no invoice, no payment terms, no higher credit limit. Everything else goes
  on: payments are credited, data corrected, talks held.
* A deactivated customer is at rest: nothing is changed or invoiced. Interactions are still recorded, identifiers
  attached and contact persons deactivated; it can be blocked and unblocked; and it can be reactivated.
* What a source system already did is recorded by importers even where a block or a deactivation would refuse a person.
* A decision that changes nothing records nothing.

Personal are the name and the VAT id of a person, the address but for its country, everything about contact persons but
their language, and what an interaction says. The city is personal because a village and a postal code can single
somebody out, and no statistic needs it; the country stays when a person is erased, so that sums by country do not move.
An organisation's name and VAT id are not personal. Customer numbers and identifiers of sources are pseudonyms; they
must not be made of names or addresses.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NewType, TypeAlias
from uuid import UUID

from domain.errors import NotFound, Refusal
from domain.values import (
    ContactId,
    ContactText,
    ExactDecimal,
    ExternalIdentifier,
    FreeText,
    Money,
    PersonalText,
    ProductId,
    StaffId,
    immutable,
)

InteractionId = NewType("InteractionId", UUID)


class CustomerKind(StrEnum):
    """Whether the customer is a natural person; it decides what is personal data."""

    ORGANISATION = "organisation"
    PERSON = "person"


class Relationship(StrEnum):
    """As what the customer was registered."""

    PROSPECT = "prospect"
    CUSTOMER = "customer"


class AddressKind(StrEnum):
    """What an address is for; a customer has one of each kind at a time."""

    LEGAL = "legal"
    BILLING = "billing"
    DELIVERY = "delivery"
    VISITING = "visiting"


class Department(StrEnum):
    """The departments that answer for a customer, each with an owner of its own."""

    SALES = "sales"
    SERVICE = "service"
    KEY_ACCOUNT = "key_account"
    MANAGEMENT = "management"
    MARKETING = "marketing"
    RESEARCH_AND_DEVELOPMENT = "r_and_d"


class CompanySize(StrEnum):
    """Size classes of enterprises as in Recommendation 2003/361/EC of the European Commission."""

    MICRO = "micro"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class Channel(StrEnum):
    """How an interaction took place."""

    PHONE = "phone"
    EMAIL = "email"
    LETTER = "letter"
    CHAT = "chat"
    MESSENGER = "messenger"
    SOCIAL_MEDIA = "social_media"
    WEB_FORM = "web_form"
    VIDEO = "video"
    MEETING = "meeting"
    VISIT = "visit"
    TRADE_FAIR = "trade_fair"
    SHOP = "shop"


class Direction(StrEnum):
    """Who began an interaction: the customer (inbound) or we (outbound)."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class DueBasis(StrEnum):
    """The day from which the due days of an invoice are counted."""

    INVOICE = "invoice"
    DELIVERY = "delivery"
    END_OF_MONTH = "end_of_month"


@immutable
class PaymentTerms:
    """When an invoice falls due, and the discount in per cent for paying within the discount days."""

    due_basis: DueBasis
    due_days: int
    discount_days: int = 0
    discount_percent: ExactDecimal = Decimal(0)


@immutable
class Classification:
    """Industry and group are codes of the tenant's own lists; what is unknown is absent."""

    industry: str | None = None
    size: CompanySize | None = None
    group: str | None = None


@immutable
class CustomerRegistered:
    """A customer is known from now on.

    An organisation has `legal_name` and perhaps `vat_id`, a person has `name` and perhaps `personal_vat_id`.
    """

    customer_number: str
    kind: CustomerKind
    relationship: Relationship
    language: str
    currency: str
    country: str
    legal_name: str | None = None
    name: PersonalText | None = None
    vat_id: str | None = None
    personal_vat_id: PersonalText | None = None
    shares_vat_id: bool = False
    legal_form: str | None = None
    delivery_terms: str | None = None
    price_group: str | None = None
    external_identifiers: tuple[ExternalIdentifier, ...] = ()


@immutable
class LegalNameChanged:
    """The customer is called so from a day on: an organisation has `legal_name`, a person has `name`."""

    valid_from: date
    legal_name: str | None = None
    name: PersonalText | None = None


@immutable
class AddressChanged:
    """The customer's address of one kind from a day on."""

    kind: AddressKind
    valid_from: date
    country: str
    city: PersonalText
    street: PersonalText | None = None
    postal_code: PersonalText | None = None
    region: PersonalText | None = None
    recipient: PersonalText | None = None
    additional_line: PersonalText | None = None


@immutable
class ContactPersonAdded:
    """Somebody speaks for the customer."""

    contact_id: ContactId
    name: ContactText
    function: ContactText | None = None
    email: ContactText | None = None
    phone: ContactText | None = None
    language: str | None = None


@immutable
class ContactPersonChanged:
    """All that is now known about a contact person; what is absent is no longer known."""

    contact_id: ContactId
    name: ContactText
    function: ContactText | None = None
    email: ContactText | None = None
    phone: ContactText | None = None
    language: str | None = None


@immutable
class ContactPersonDeactivated:
    """A contact person does not speak for the customer any more."""

    contact_id: ContactId


@immutable
class ExternalIdentifierAttached:
    """Another system calls the customer so."""

    identifier: ExternalIdentifier


@immutable
class PaymentTermsAgreed:
    """The payment terms from a day on."""

    terms: PaymentTerms
    valid_from: date


@immutable
class CreditLimitChanged:
    """What the customer may owe at most; absent: no limit is set."""

    limit: Money | None = None


@immutable
class OwnerAssigned:
    """Who answers for the customer in a department from a day on."""

    department: Department
    staff_id: StaffId
    valid_from: date


@immutable
class CustomerClassified:
    """Where the customer belongs; it replaces the classification before."""

    classification: Classification


@immutable
class InteractionRecorded:
    """Somebody talked with the customer; `occurred_at` of the envelope says when.

    Taking part were `contacts`, contact persons of the customer, and `staff`.
    """

    interaction_id: InteractionId
    channel: Channel
    direction: Direction
    summary: FreeText
    contacts: tuple[ContactId, ...] = ()
    staff: tuple[StaffId, ...] = ()
    next_step: FreeText | None = None
    effort_minutes: int | None = None
    product_id: ProductId | None = None


@immutable
class CustomerBlocked:
    """The customer takes on nothing new; the envelope's reason says why."""


@immutable
class CustomerUnblocked:
    """The block is lifted; the envelope's reason says why."""


@immutable
class CustomerDeactivated:
    """The customer is at rest."""


@immutable
class CustomerReactivated:
    """The customer is at rest no more."""


@immutable
class MasterDataConfirmed:
    """Somebody has checked the customer's master data and found them right."""


CustomerEvent: TypeAlias = (
    CustomerRegistered
    | LegalNameChanged
    | AddressChanged
    | ContactPersonAdded
    | ContactPersonChanged
    | ContactPersonDeactivated
    | ExternalIdentifierAttached
    | PaymentTermsAgreed
    | CreditLimitChanged
    | OwnerAssigned
    | CustomerClassified
    | InteractionRecorded
    | CustomerBlocked
    | CustomerUnblocked
    | CustomerDeactivated
    | CustomerReactivated
    | MasterDataConfirmed
)


class CustomerNotFound(NotFound):
    """There is no customer of this id, number or identifier."""


class CustomerNumberIsTaken(Refusal):
    """No two customers have the same customer number."""


class ExternalIdentifierIsTaken(Refusal):
    """No two customers have the same identifier of one source."""


class VatIdIsTaken(Refusal):
    """No two customers have the same VAT id, unless the command says that they may share it."""


class SourceIsReserved(Refusal):
    """The source `number` is reserved for our own numbers."""


class CustomerIsBlocked(Refusal):
    """A blocked customer takes on nothing new: no invoice, no payment terms, no higher credit limit."""


class CustomerIsInactive(Refusal):
    """A deactivated customer is at rest: nothing is changed or invoiced until it is reactivated."""


class ContactPersonNotFound(NotFound):
    """The customer has no contact person of this id."""


class ContactPersonIsInactive(Refusal):
    """A contact person who has left is not changed any more."""


class DueDaysAreNegative(Refusal):
    """An invoice falls due zero or more days after its due basis."""


class DiscountDaysAreOutOfRange(Refusal):
    """The days of a discount are not negative and end no later than the due days."""


class DiscountIsOutOfRange(Refusal):
    """A discount is at least 0 % and less than 100 %."""


class CreditLimitIsNegative(Refusal):
    """A credit limit is not negative."""


class CreditLimitIsInAnotherCurrency(Refusal):
    """A credit limit is in the customer's currency."""


RESERVED_SOURCE = "number"
"""The source under which our own numbers are found: `number:C-1001`."""

_FILLING = str.maketrans("", "", " .-/")


def normalised_vat_id(vat_id: str) -> str:
    """One spelling for each VAT id: capital letters, without what people put in between for reading."""
    return vat_id.translate(_FILLING).upper()


@immutable
class Customer:
    """What the rules ask about a customer."""

    kind: CustomerKind
    currency: str
    blocked: bool = False
    active: bool = True
    contacts: frozenset[ContactId] = frozenset()
    active_contacts: frozenset[ContactId] = frozenset()
    external_identifiers: frozenset[ExternalIdentifier] = frozenset()
    payment_terms: Mapping[date, PaymentTerms] = field(default_factory=dict)
    owners: Mapping[Department, Mapping[date, StaffId]] = field(default_factory=dict)
    credit_limit: Money | None = None
    classification: Classification = Classification()

    def as_imported(self) -> "Customer":
        """This customer for decisions of an importer: neither block nor deactivation refuse what already happened."""
        return replace(self, blocked=False, active=True)

    def must_accept_postings(self) -> None:
        """Refuse unless invoices may be posted to this customer; credit notes and cancellations need not ask."""
        self._must_be_active()
        self._must_not_be_blocked()

    def change_legal_name(self, name: str, valid_from: date) -> tuple[LegalNameChanged, ...]:
        """Call the customer by another name from a day on."""
        self._must_be_active()
        if self.kind is CustomerKind.PERSON:
            return (LegalNameChanged(valid_from=valid_from, name=name),)
        return (LegalNameChanged(valid_from=valid_from, legal_name=name),)

    def change_address(self, address: AddressChanged) -> tuple[AddressChanged, ...]:
        """Take over the address of one kind from a day on."""
        self._must_be_active()
        return (address,)

    def add_contact_person(self, contact: ContactPersonAdded) -> tuple[ContactPersonAdded, ...]:
        """Take over somebody new who speaks for the customer."""
        self._must_be_active()
        return (contact,)

    def change_contact_person(self, contact: ContactPersonChanged) -> tuple[ContactPersonChanged, ...]:
        """Replace what is known about a contact person who has not left."""
        self._must_be_active()
        self._must_know((contact.contact_id,), "/contact_id")
        if contact.contact_id not in self.active_contacts:
            raise ContactPersonIsInactive(pointer="/contact_id")
        return (contact,)

    def deactivate_contact_person(self, contact_id: ContactId) -> tuple[ContactPersonDeactivated, ...]:
        """Note that a contact person has left; also of a deactivated customer, because people leave it all the same."""
        self._must_know((contact_id,), "/contact_id")
        return (ContactPersonDeactivated(contact_id=contact_id),) if contact_id in self.active_contacts else ()

    def attach_external_identifier(self, identifier: ExternalIdentifier) -> tuple[ExternalIdentifierAttached, ...]:
        """Note what another system calls the customer. A source may know one customer by several identifiers."""
        _must_not_be_reserved(identifier, "/identifier/source")
        if identifier in self.external_identifiers:
            return ()
        return (ExternalIdentifierAttached(identifier=identifier),)

    def agree_payment_terms(self, terms: PaymentTerms, valid_from: date) -> tuple[PaymentTermsAgreed, ...]:
        """Agree payment terms from a day on; the discount is in per cent."""
        self._must_be_active()
        self._must_not_be_blocked()
        if terms.due_days < 0:
            raise DueDaysAreNegative(pointer="/due_days")
        if not 0 <= terms.discount_days <= terms.due_days:
            raise DiscountDaysAreOutOfRange(pointer="/discount_days", due_days=terms.due_days)
        if not 0 <= terms.discount_percent < 100:  # noqa: PLR2004 - per cent
            raise DiscountIsOutOfRange(pointer="/discount_percent")
        if self.payment_terms.get(valid_from) == terms:
            return ()
        return (PaymentTermsAgreed(terms=terms, valid_from=valid_from),)

    def change_credit_limit(self, limit: Money | None) -> tuple[CreditLimitChanged, ...]:
        """Set what the customer may owe at most, or no limit at all."""
        self._must_be_active()
        if limit is not None and limit.currency != self.currency:
            raise CreditLimitIsInAnotherCurrency(pointer="/limit/currency", currency=self.currency)
        if limit is not None and limit.amount < 0:
            raise CreditLimitIsNegative(pointer="/limit/amount")
        if self._would_rise_to(limit):
            self._must_not_be_blocked()
        return (CreditLimitChanged(limit=limit),) if limit != self.credit_limit else ()

    def assign_owner(self, department: Department, staff_id: StaffId, valid_from: date) -> tuple[OwnerAssigned, ...]:
        """Let somebody answer for the customer in a department from a day on."""
        self._must_be_active()
        if self.owners.get(department, {}).get(valid_from) == staff_id:
            return ()
        return (OwnerAssigned(department=department, staff_id=staff_id, valid_from=valid_from),)

    def classify(self, classification: Classification) -> tuple[CustomerClassified, ...]:
        """Say where the customer belongs."""
        self._must_be_active()
        return (CustomerClassified(classification=classification),) if classification != self.classification else ()

    def record_interaction(self, interaction: InteractionRecorded) -> tuple[InteractionRecorded, ...]:
        """Note a talk, whenever it was and whatever the customer's standing; who took part may have left since."""
        self._must_know(interaction.contacts, "/contacts/{index}")
        return (interaction,)

    def block(self) -> tuple[CustomerBlocked, ...]:
        """Take on nothing new for this customer."""
        return () if self.blocked else (CustomerBlocked(),)

    def unblock(self) -> tuple[CustomerUnblocked, ...]:
        """Lift the block."""
        return (CustomerUnblocked(),) if self.blocked else ()

    def deactivate(self) -> tuple[CustomerDeactivated, ...]:
        """Put the customer at rest."""
        return (CustomerDeactivated(),) if self.active else ()

    def reactivate(self) -> tuple[CustomerReactivated, ...]:
        """End the rest; a block stays."""
        return () if self.active else (CustomerReactivated(),)

    def confirm_master_data(self) -> tuple[MasterDataConfirmed, ...]:
        """Note that the master data have been checked and are right."""
        self._must_be_active()
        return (MasterDataConfirmed(),)

    def _must_be_active(self) -> None:
        if not self.active:
            raise CustomerIsInactive

    def _must_not_be_blocked(self) -> None:
        if self.blocked:
            raise CustomerIsBlocked

    def _must_know(self, contacts: Iterable[ContactId], pointer: str) -> None:
        for index, contact_id in enumerate(contacts):
            if contact_id not in self.contacts:
                raise ContactPersonNotFound(pointer=pointer.format(index=index))

    def _would_rise_to(self, limit: Money | None) -> bool:
        if self.credit_limit is None:
            return False
        return limit is None or limit.amount > self.credit_limit.amount


def _must_not_be_reserved(identifier: ExternalIdentifier, pointer: str) -> None:
    if identifier.source == RESERVED_SOURCE:
        raise SourceIsReserved(pointer=pointer)


def register(  # noqa: PLR0913 - one argument for each thing that is known about a new customer
    *,
    customer_number: str,
    kind: CustomerKind,
    name: str,
    relationship: Relationship,
    language: str,
    currency: str,
    country: str,
    vat_id: str | None = None,
    shares_vat_id: bool = False,
    legal_form: str | None = None,
    delivery_terms: str | None = None,
    price_group: str | None = None,
    external_identifiers: tuple[ExternalIdentifier, ...] = (),
) -> tuple[CustomerRegistered]:
    """Begin a customer; the name and the VAT id of a person are kept as personal data.

    Claims make the customer number, the VAT id and the identifiers unique: that no other customer has them cannot be
    seen from one stream.
    """
    for index, identifier in enumerate(external_identifiers):
        _must_not_be_reserved(identifier, f"/external_identifiers/{index}/source")
    is_person = kind is CustomerKind.PERSON
    normalised = None if vat_id is None else normalised_vat_id(vat_id)
    return (
        CustomerRegistered(
            customer_number=customer_number,
            kind=kind,
            relationship=relationship,
            language=language,
            currency=currency,
            country=country,
            legal_name=None if is_person else name,
            name=name if is_person else None,
            vat_id=None if is_person else normalised,
            personal_vat_id=normalised if is_person else None,
            shares_vat_id=shares_vat_id,
            legal_form=legal_form,
            delivery_terms=delivery_terms,
            price_group=price_group,
            external_identifiers=tuple(dict.fromkeys(external_identifiers)),
        ),
    )


def evolve(  # noqa: C901, PLR0911, PLR0912 - one case for each event that a rule asks about
    state: Customer | None, event: CustomerEvent
) -> Customer:
    """The customer after an event; what no rule asks about leaves it as it was."""
    if isinstance(event, CustomerRegistered):
        known = frozenset(event.external_identifiers)
        return Customer(kind=event.kind, currency=event.currency, external_identifiers=known)
    if state is None:
        msg = "the stream of a customer begins with its registration"
        raise ValueError(msg)
    match event:
        case ContactPersonAdded(contact_id=added):
            contacts, active = state.contacts | {added}, state.active_contacts | {added}
            return replace(state, contacts=contacts, active_contacts=active)
        case ContactPersonDeactivated(contact_id=left):
            return replace(state, active_contacts=state.active_contacts - {left})
        case ExternalIdentifierAttached(identifier=identifier):
            return replace(state, external_identifiers=state.external_identifiers | {identifier})
        case PaymentTermsAgreed(terms=terms, valid_from=day):
            return replace(state, payment_terms={**state.payment_terms, day: terms})
        case CreditLimitChanged(limit=limit):
            return replace(state, credit_limit=limit)
        case OwnerAssigned(department=department, staff_id=staff_id, valid_from=day):
            owners = {**state.owners.get(department, {}), day: staff_id}
            return replace(state, owners={**state.owners, department: owners})
        case CustomerClassified(classification=classification):
            return replace(state, classification=classification)
        case CustomerBlocked():
            return replace(state, blocked=True)
        case CustomerUnblocked():
            return replace(state, blocked=False)
        case CustomerDeactivated():
            return replace(state, active=False)
        case CustomerReactivated():
            return replace(state, active=True)
        case _:
            return state
