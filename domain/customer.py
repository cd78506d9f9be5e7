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

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import NewType, TypeAlias
from uuid import UUID

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
class Participants:
    """Who took part in an interaction: contact persons of the customer, and staff."""

    contacts: tuple[ContactId, ...] = ()
    staff: tuple[StaffId, ...] = ()


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

    limit: Money | None


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
    """Somebody talked with the customer; `occurred_at` of the envelope says when."""

    interaction_id: InteractionId
    channel: Channel
    direction: Direction
    summary: FreeText
    participants: Participants = Participants()
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
