"""What can be asked for customers: each command directly above its handler."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

from pydantic import Field

from application.aggregates import Aggregate, Claim
from application.commands import Command, handles
from application.products import PRODUCT
from application.shapes import (
    PARTICIPANTS_MAX,
    Code,
    CountryCode,
    CurrencyCode,
    Day,
    Days,
    EffortMinutes,
    EmailAddress,
    Identifier,
    Identifiers,
    LanguageTag,
    Name,
    PhoneNumber,
    Reason,
    Reference,
    Text,
    VatId,
)
from application.submissions import SubjectIsErased
from application.unit_of_work import ActorKind, ReferenceNotFound, UnitOfWork
from domain.customer import (
    RESERVED_SOURCE,
    AddressChanged,
    AddressKind,
    Channel,
    Classification,
    CompanySize,
    ContactPersonAdded,
    ContactPersonChanged,
    ContactPersonIsInactive,
    ContactPersonNotFound,
    CreditLimitIsInAnotherCurrency,
    CreditLimitIsNegative,
    Customer,
    CustomerIsBlocked,
    CustomerIsInactive,
    CustomerKind,
    CustomerNotFound,
    CustomerNumberIsTaken,
    Department,
    Direction,
    DiscountDaysAreOutOfRange,
    DiscountIsOutOfRange,
    DueBasis,
    DueDaysAreNegative,
    ExternalIdentifierIsTaken,
    InteractionId,
    InteractionRecorded,
    PaymentTerms,
    Relationship,
    SourceIsReserved,
    VatIdIsTaken,
    evolve,
    normalised_vat_id,
    register,
)
from domain.values import ContactId, ExactDecimal, ExternalIdentifier, Money, ProductId, StaffId, immutable

CUSTOMER = Aggregate("customer", "customers", Customer, evolve, CustomerNotFound)


def _target(work: UnitOfWork) -> Customer:
    customer = work.target(CUSTOMER)
    return customer.as_imported() if work.metadata.actor_kind is ActorKind.IMPORT else customer


def _claim_identifier(work: UnitOfWork, kind: CustomerKind, identifier: ExternalIdentifier, *, pointer: str) -> None:
    claim = CUSTOMER.reference(identifier.source, identifier.id)
    work.claim(claim, ExternalIdentifierIsTaken, subject=_subject(work, kind), pointer=pointer)


def _subject(work: UnitOfWork, kind: CustomerKind) -> UUID | None:
    """Claims of a person go when the person is erased, those of an organisation stay."""
    return work.target_id if kind is CustomerKind.PERSON else None


@immutable
class RegisterCustomer(Command):
    """Register an organisation or a person, as a prospect or as a customer.

    `name` is the legal name of an organisation. `allow_duplicate_vat_id` registers a customer although another one has
    its VAT id, and leaves the VAT id to the other one.
    """

    customer_number: Code
    kind: CustomerKind
    name: Name
    relationship: Relationship
    language: LanguageTag
    currency: CurrencyCode
    country: CountryCode
    vat_id: VatId | None = None
    allow_duplicate_vat_id: bool = False
    legal_form: Name | None = None
    delivery_terms: Name | None = None
    price_group: Code | None = None
    external_identifiers: Identifiers = ()


@handles(
    RegisterCustomer,
    CUSTOMER,
    creates=True,
    refusals=(CustomerNumberIsTaken, ExternalIdentifierIsTaken, VatIdIsTaken, SourceIsReserved),
)
def register_customer(command: RegisterCustomer, work: UnitOfWork) -> None:
    """Take the number, the VAT id and the identifiers for a new customer."""
    (registered,) = register(
        customer_number=command.customer_number,
        kind=command.kind,
        name=command.name,
        relationship=command.relationship,
        language=command.language,
        currency=command.currency,
        country=command.country,
        vat_id=command.vat_id,
        shares_vat_id=command.allow_duplicate_vat_id,
        legal_form=command.legal_form,
        delivery_terms=command.delivery_terms,
        price_group=command.price_group,
        external_identifiers=command.external_identifiers,
    )
    number = CUSTOMER.reference(RESERVED_SOURCE, command.customer_number)
    work.claim(number, CustomerNumberIsTaken, pointer="/customer_number")
    for identifier in registered.external_identifiers:
        _claim_identifier(work, command.kind, identifier, pointer="/external_identifiers")
    if command.vat_id is not None and not command.allow_duplicate_vat_id:
        vat_id = Claim("customer-vat-id", normalised_vat_id(command.vat_id))
        work.claim(vat_id, VatIdIsTaken, subject=_subject(work, command.kind), pointer="/vat_id")
    work.record(registered, customer_id=work.target_id)


@immutable
class ChangeLegalName(Command):
    """Call the customer by another name from a day on; for the same day it corrects the name before."""

    name: Name
    valid_from: Day


@handles(ChangeLegalName, CUSTOMER, refusals=(CustomerIsInactive, SubjectIsErased))
def change_legal_name(command: ChangeLegalName, work: UnitOfWork) -> None:
    """See `Customer.change_legal_name`."""
    customer = _target(work)
    work.record(*customer.change_legal_name(command.name, command.valid_from), customer_id=work.target_id)


@immutable
class ChangeAddress(Command):
    """Give the customer an address of one kind from a day on; for the same day it corrects the address before."""

    kind: AddressKind
    valid_from: Day
    country: CountryCode
    city: Name
    street: Name | None = None
    postal_code: Name | None = None
    region: Name | None = None
    recipient: Name | None = None
    additional_line: Name | None = None


@handles(ChangeAddress, CUSTOMER, refusals=(CustomerIsInactive, SubjectIsErased))
def change_address(command: ChangeAddress, work: UnitOfWork) -> None:
    """See `Customer.change_address`."""
    address = AddressChanged(
        kind=command.kind,
        valid_from=command.valid_from,
        country=command.country,
        city=command.city,
        street=command.street,
        postal_code=command.postal_code,
        region=command.region,
        recipient=command.recipient,
        additional_line=command.additional_line,
    )
    work.record(*_target(work).change_address(address), customer_id=work.target_id)


@immutable
class AddContactPerson(Command):
    """Add somebody who speaks for the customer; the answer's event has the new `contact_id`."""

    name: Name
    function: Name | None = None
    email: EmailAddress | None = None
    phone: PhoneNumber | None = None
    language: LanguageTag | None = None


@handles(AddContactPerson, CUSTOMER, refusals=(CustomerIsInactive,))
def add_contact_person(command: AddContactPerson, work: UnitOfWork) -> None:
    """See `Customer.add_contact_person`."""
    contact = ContactPersonAdded(
        contact_id=ContactId(work.new_id()),
        name=command.name,
        function=command.function,
        email=command.email,
        phone=command.phone,
        language=command.language,
    )
    work.record(*_target(work).add_contact_person(contact), customer_id=work.target_id)


@immutable
class ChangeContactPerson(Command):
    """Say anew all that is known about a contact person; what is left out is no longer known."""

    contact_id: ContactId
    name: Name
    function: Name | None = None
    email: EmailAddress | None = None
    phone: PhoneNumber | None = None
    language: LanguageTag | None = None


@handles(
    ChangeContactPerson,
    CUSTOMER,
    refusals=(CustomerIsInactive, ContactPersonNotFound, ContactPersonIsInactive, SubjectIsErased),
)
def change_contact_person(command: ChangeContactPerson, work: UnitOfWork) -> None:
    """See `Customer.change_contact_person`."""
    contact = ContactPersonChanged(
        contact_id=command.contact_id,
        name=command.name,
        function=command.function,
        email=command.email,
        phone=command.phone,
        language=command.language,
    )
    work.record(*_target(work).change_contact_person(contact), customer_id=work.target_id)


@immutable
class DeactivateContactPerson(Command):
    """Note that a contact person has left."""

    contact_id: ContactId


@handles(DeactivateContactPerson, CUSTOMER, refusals=(ContactPersonNotFound,))
def deactivate_contact_person(command: DeactivateContactPerson, work: UnitOfWork) -> None:
    """See `Customer.deactivate_contact_person`."""
    work.record(*_target(work).deactivate_contact_person(command.contact_id), customer_id=work.target_id)


@immutable
class AttachExternalIdentifier(Command):
    """Note what another system calls the customer, who is then found as `source:id`."""

    identifier: Identifier


@handles(AttachExternalIdentifier, CUSTOMER, refusals=(ExternalIdentifierIsTaken, SourceIsReserved))
def attach_external_identifier(command: AttachExternalIdentifier, work: UnitOfWork) -> None:
    """Take the identifier for the customer."""
    customer = _target(work)
    for attached in customer.attach_external_identifier(command.identifier):
        _claim_identifier(work, customer.kind, attached.identifier, pointer="/identifier")
        work.record(attached, customer_id=work.target_id)


@immutable
class AgreePaymentTerms(Command):
    """Agree payment terms from a day on; for the same day they correct the terms before.

    The days of the discount are counted from the same day as the due days.
    """

    due_basis: DueBasis
    due_days: Days
    valid_from: Day
    discount_days: Days = 0
    discount_percent: ExactDecimal = Decimal(0)


@handles(
    AgreePaymentTerms,
    CUSTOMER,
    refusals=(
        CustomerIsInactive,
        CustomerIsBlocked,
        DueDaysAreNegative,
        DiscountDaysAreOutOfRange,
        DiscountIsOutOfRange,
    ),
)
def agree_payment_terms(command: AgreePaymentTerms, work: UnitOfWork) -> None:
    """See `Customer.agree_payment_terms`."""
    terms = PaymentTerms(
        due_basis=command.due_basis,
        due_days=command.due_days,
        discount_days=command.discount_days,
        discount_percent=command.discount_percent,
    )
    work.record(*_target(work).agree_payment_terms(terms, command.valid_from), customer_id=work.target_id)


@immutable
class ChangeCreditLimit(Command):
    """Set what the customer may owe at most; null lifts the limit."""

    limit: Money | None


@handles(
    ChangeCreditLimit,
    CUSTOMER,
    refusals=(CustomerIsInactive, CustomerIsBlocked, CreditLimitIsNegative, CreditLimitIsInAnotherCurrency),
)
def change_credit_limit(command: ChangeCreditLimit, work: UnitOfWork) -> None:
    """See `Customer.change_credit_limit`."""
    work.record(*_target(work).change_credit_limit(command.limit), customer_id=work.target_id)


@immutable
class AssignOwner(Command):
    """Let somebody of the staff answer for the customer in a department from a day on."""

    department: Department
    staff_id: StaffId
    valid_from: Day


@handles(AssignOwner, CUSTOMER, refusals=(CustomerIsInactive,))
def assign_owner(command: AssignOwner, work: UnitOfWork) -> None:
    """See `Customer.assign_owner`."""
    assigned = _target(work).assign_owner(command.department, command.staff_id, command.valid_from)
    work.record(*assigned, customer_id=work.target_id)


@immutable
class ClassifyCustomer(Command):
    """Say where the customer belongs; it replaces the whole classification before."""

    industry: Code | None = None
    size: CompanySize | None = None
    group: Code | None = None


@handles(ClassifyCustomer, CUSTOMER, refusals=(CustomerIsInactive,))
def classify_customer(command: ClassifyCustomer, work: UnitOfWork) -> None:
    """See `Customer.classify`."""
    classification = Classification(industry=command.industry, size=command.size, group=command.group)
    work.record(*_target(work).classify(classification), customer_id=work.target_id)


@immutable
class RecordInteraction(Command):
    """Note that somebody talked with the customer; `occurred_at` says when, and may be long ago."""

    channel: Channel
    direction: Direction
    summary: Text
    contacts: Annotated[tuple[ContactId, ...], Field(max_length=PARTICIPANTS_MAX)] = ()
    staff: Annotated[tuple[StaffId, ...], Field(max_length=PARTICIPANTS_MAX)] = ()
    next_step: Text | None = None
    effort_minutes: EffortMinutes | None = None
    product: Reference | None = None


@handles(RecordInteraction, CUSTOMER, refusals=(ContactPersonNotFound, ReferenceNotFound, SubjectIsErased))
def record_interaction(command: RecordInteraction, work: UnitOfWork) -> None:
    """See `Customer.record_interaction`."""
    interaction = InteractionRecorded(
        interaction_id=InteractionId(work.new_id()),
        channel=command.channel,
        direction=command.direction,
        summary=command.summary,
        contacts=command.contacts,
        staff=command.staff,
        next_step=command.next_step,
        effort_minutes=command.effort_minutes,
        product_id=_product(command.product, work),
    )
    work.record(*_target(work).record_interaction(interaction), customer_id=work.target_id)


def _product(reference: str | None, work: UnitOfWork) -> ProductId | None:
    if reference is None:
        return None
    product_id, _ = work.read(PRODUCT, reference, pointer="/product")
    return ProductId(product_id)


@immutable
class BlockCustomer(Command):
    """Take on nothing new for the customer: no invoice, no payment terms, no higher credit limit."""

    reason: Reason


@handles(BlockCustomer, CUSTOMER)
def block_customer(_command: BlockCustomer, work: UnitOfWork) -> None:
    """See `Customer.block`."""
    work.record(*work.target(CUSTOMER).block(), customer_id=work.target_id)


@immutable
class UnblockCustomer(Command):
    """Lift the block."""

    reason: Reason


@handles(UnblockCustomer, CUSTOMER)
def unblock_customer(_command: UnblockCustomer, work: UnitOfWork) -> None:
    """See `Customer.unblock`."""
    work.record(*work.target(CUSTOMER).unblock(), customer_id=work.target_id)


@immutable
class DeactivateCustomer(Command):
    """Put the customer at rest: nothing is changed or invoiced any more."""


@handles(DeactivateCustomer, CUSTOMER)
def deactivate_customer(_command: DeactivateCustomer, work: UnitOfWork) -> None:
    """See `Customer.deactivate`."""
    work.record(*work.target(CUSTOMER).deactivate(), customer_id=work.target_id)


@immutable
class ReactivateCustomer(Command):
    """End the rest of a deactivated customer."""


@handles(ReactivateCustomer, CUSTOMER)
def reactivate_customer(_command: ReactivateCustomer, work: UnitOfWork) -> None:
    """See `Customer.reactivate`."""
    work.record(*work.target(CUSTOMER).reactivate(), customer_id=work.target_id)


@immutable
class ConfirmMasterData(Command):
    """Note that the customer's master data have been checked and are right."""


@handles(ConfirmMasterData, CUSTOMER, refusals=(CustomerIsInactive,))
def confirm_master_data(_command: ConfirmMasterData, work: UnitOfWork) -> None:
    """See `Customer.confirm_master_data`."""
    work.record(*_target(work).confirm_master_data(), customer_id=work.target_id)
