"""What handlers of customers' commands add to the rules: claims, references, and the customer's history."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError

from application import customers
from application.aggregates import Claim
from application.commands import COMMANDS, Command
from application.customers import CUSTOMER
from application.decisions import DecisionUnitOfWork
from application.ports import CommandKey, Decision, NewClaim, NewEvent, Stream
from application.products import PRODUCT
from application.submissions import Submission
from application.unit_of_work import ActorKind, Metadata, ReferenceNotFound
from domain.customer import (
    AddressChanged,
    AddressKind,
    Channel,
    ContactPersonChanged,
    CreditLimitChanged,
    CustomerClassified,
    CustomerIsInactive,
    CustomerKind,
    CustomerNumberIsTaken,
    CustomerReactivated,
    CustomerUnblocked,
    Department,
    Direction,
    ExternalIdentifierAttached,
    ExternalIdentifierIsTaken,
    InteractionId,
    InteractionRecorded,
    LegalNameChanged,
    MasterDataConfirmed,
    OwnerAssigned,
    PaymentTermsAgreed,
    Relationship,
    VatIdIsTaken,
)
from domain.errors import Refusal
from domain.product import Product
from domain.values import ContactId
from tests.people import (
    ACME,
    ACME_BLOCKED,
    ACME_DEACTIVATED,
    ACME_IN_THE_ERP,
    ACME_IN_THE_SHOP,
    ACME_REGISTERED,
    ADA,
    ADA_REGISTERED,
    APRIL,
    GRACE,
    GRACE_ADDED,
    GRACE_CALLED,
    GRACE_LEFT,
    JANUARY,
    NET_30_WITH_DISCOUNT,
    OUR_SELLER,
    SMALL_BAKERY,
    TEN_THOUSAND_EUROS,
)

FLOUR_SOLD = Product(base_unit="kg", name="Flour 405", family=None, tier=None)
NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
NEW = UUID("01900000-0000-7000-8000-0000000000ff")
FLOUR = UUID("01900000-0000-7000-8000-0000000000aa")


@dataclass(frozen=True)
class Log:
    """All there is, at hand."""

    streams: Mapping[UUID, Stream]
    holders: Mapping[Claim, UUID] = field(default_factory=dict)

    def stream(self, stream: UUID) -> Stream | None:
        return self.streams.get(stream, Stream(0, None))

    def holder(self, claim: Claim) -> tuple[bool, UUID | None]:
        return True, self.holders.get(claim)


def customer_after(*events: object) -> Stream:
    return Stream(len(events), CUSTOMER.fold(None, events))


LOG = Log(
    {ACME: customer_after(ACME_REGISTERED), ADA: customer_after(ADA_REGISTERED), FLOUR: Stream(1, FLOUR_SOLD)},
    {PRODUCT.reference("number", "FLOUR-405"): FLOUR},
)


def decide(
    command: Command, target: UUID | None = None, *, log: Log = LOG, actor: ActorKind = ActorKind.SERVICE
) -> Decision:
    """Decide one command as the writer does."""
    (definition,) = (each for each in COMMANDS.values() if each.command is type(command))
    metadata = Metadata(NEW, "shop", actor, occurred_at=NOW, received_at=NOW, correlation_id=NEW)
    key = CommandKey("shop", "1")
    submission = Submission(key, definition, command, metadata, b"", None if target is None else str(target))
    work = DecisionUnitOfWork(submission, log, lambda: NEW, reporting_currency="EUR")
    work.decide()
    return work.decision(b"")[0]


def claims(decision: Decision) -> dict[Claim, tuple[type[Refusal], str | None, UUID | None]]:
    def answer(taken: NewClaim) -> tuple[type[Refusal], str | None, UUID | None]:
        return type(taken.refusal), taken.refusal.pointer, taken.subject

    return {taken.claim: answer(taken) for taken in decision.claims}


register = partial(
    customers.RegisterCustomer,
    customer_number="C-1",
    name="Ada Lovelace",
    relationship=Relationship.CUSTOMER,
    language="en",
    currency="GBP",
    country="GB",
    vat_id="gb 999 9999 73",
    external_identifiers=(ACME_IN_THE_ERP,),
)
NUMBER, IDENTIFIER = CUSTOMER.reference("number", "C-1"), CUSTOMER.reference("erp", "ACME-01")
VAT_ID = Claim("customer-vat-id", "GB999999973")


def test_number_identifiers_and_vat_id_of_an_organisation_are_claimed() -> None:
    assert claims(decide(register(kind=CustomerKind.ORGANISATION))) == {
        NUMBER: (CustomerNumberIsTaken, "/customer_number", None),
        IDENTIFIER: (ExternalIdentifierIsTaken, "/external_identifiers", None),
        VAT_ID: (VatIdIsTaken, "/vat_id", None),
    }


def test_claims_on_what_is_known_of_a_person_go_with_the_person_but_the_number_stays() -> None:
    assert claims(decide(register(kind=CustomerKind.PERSON))) == {
        NUMBER: (CustomerNumberIsTaken, "/customer_number", None),
        IDENTIFIER: (ExternalIdentifierIsTaken, "/external_identifiers", NEW),
        VAT_ID: (VatIdIsTaken, "/vat_id", NEW),
    }


@pytest.mark.parametrize("without", [{"allow_duplicate_vat_id": True}, {"vat_id": None}], ids=["shared", "none"])
def test_a_vat_id_that_may_be_shared_or_is_not_known_is_not_claimed(without: dict[str, Any]) -> None:
    assert set(claims(decide(register(kind=CustomerKind.PERSON, **without)))) == {NUMBER, IDENTIFIER}


@pytest.mark.parametrize(("customer", "subject"), [(ACME, None), (ADA, ADA)], ids=["organisation", "person"])
def test_an_attached_identifier_is_claimed(customer: UUID, subject: UUID | None) -> None:
    decision = decide(customers.AttachExternalIdentifier(identifier=ACME_IN_THE_ERP), customer)
    assert claims(decision) == {IDENTIFIER: (ExternalIdentifierIsTaken, "/identifier", subject)}
    assert len(decision.events) == 1


def test_an_identifier_attached_before_is_neither_recorded_nor_claimed_again() -> None:
    decision = decide(customers.AttachExternalIdentifier(identifier=ACME_IN_THE_SHOP), ACME)
    assert (decision.claims, decision.events) == ((), ())


talk = partial(
    customers.RecordInteraction, channel=Channel.PHONE, direction=Direction.INBOUND, summary="The flour clumps again."
)


@pytest.mark.parametrize(("product", "found"), [("number:FLOUR-405", FLOUR), (str(FLOUR), FLOUR), (None, None)])
def test_an_interaction_may_name_a_product(product: str | None, found: UUID | None) -> None:
    (recorded,) = decide(talk(product=product), ACME).events
    assert isinstance(recorded.event, InteractionRecorded)
    assert recorded.event.product_id == found


def test_an_interaction_names_no_unknown_product() -> None:
    with pytest.raises(ReferenceNotFound) as refused:
        decide(talk(product="number:SUGAR"), ACME)
    assert refused.value.pointer == "/product"


def test_importers_record_what_a_source_did_with_a_deactivated_customer() -> None:
    log = Log({ACME: customer_after(ACME_REGISTERED, ACME_DEACTIVATED)})
    confirm = customers.ConfirmMasterData()
    with pytest.raises(CustomerIsInactive):
        decide(confirm, ACME, log=log)
    (recorded,) = decide(confirm, ACME, log=log, actor=ActorKind.IMPORT).events
    assert recorded.event == MasterDataConfirmed()


@dataclass(frozen=True)
class Example:
    """A command as it is sent, what has happened before, and the event that follows."""

    body: dict[str, object]
    event: object
    past: tuple[object, ...] = ()


WHOLE_GRACE: dict[str, object] = {
    "name": GRACE_ADDED.name,
    "function": GRACE_ADDED.function,
    "email": GRACE_ADDED.email,
    "phone": GRACE_ADDED.phone,
    "language": GRACE_ADDED.language,
}
EXAMPLES: Mapping[str, Example] = {
    "change-legal-name": Example(
        {"name": "Acme AG", "valid_from": "2026-04-01"}, LegalNameChanged(legal_name="Acme AG", valid_from=APRIL)
    ),
    "change-address": Example(
        {
            "kind": "delivery",
            "valid_from": "2026-04-01",
            "country": "DE",
            "city": "Bremen",
            "street": "Am Markt 1",
            "postal_code": "28195",
            "region": "HB",
            "recipient": "Bakehouse",
            "additional_line": "Second yard",
        },
        AddressChanged(
            kind=AddressKind.DELIVERY,
            valid_from=APRIL,
            country="DE",
            city="Bremen",
            street="Am Markt 1",
            postal_code="28195",
            region="HB",
            recipient="Bakehouse",
            additional_line="Second yard",
        ),
    ),
    "add-contact-person": Example(WHOLE_GRACE, replace(GRACE_ADDED, contact_id=ContactId(NEW))),
    "change-contact-person": Example(
        WHOLE_GRACE | {"contact_id": str(GRACE), "function": "Director"},
        ContactPersonChanged(
            contact_id=GRACE,
            name=GRACE_ADDED.name,
            function="Director",
            email=GRACE_ADDED.email,
            phone=GRACE_ADDED.phone,
            language=GRACE_ADDED.language,
        ),
        past=(GRACE_ADDED,),
    ),
    "deactivate-contact-person": Example({"contact_id": str(GRACE)}, GRACE_LEFT, past=(GRACE_ADDED,)),
    "attach-external-identifier": Example(
        {"identifier": {"source": "erp", "id": "ACME-01"}}, ExternalIdentifierAttached(identifier=ACME_IN_THE_ERP)
    ),
    "agree-payment-terms": Example(
        {
            "due_basis": "delivery",
            "due_days": 30,
            "discount_days": 14,
            "discount_percent": "2",
            "valid_from": "2026-01-01",
        },
        PaymentTermsAgreed(terms=NET_30_WITH_DISCOUNT, valid_from=JANUARY),
    ),
    "change-credit-limit": Example(
        {"limit": {"amount": "10000.00", "currency": "EUR"}}, CreditLimitChanged(limit=TEN_THOUSAND_EUROS)
    ),
    "assign-owner": Example(
        {"department": "r_and_d", "staff_id": str(OUR_SELLER), "valid_from": "2026-01-01"},
        OwnerAssigned(department=Department.RESEARCH_AND_DEVELOPMENT, staff_id=OUR_SELLER, valid_from=JANUARY),
    ),
    "classify-customer": Example(
        {"industry": "10.71", "size": "small", "group": "BAKERIES"}, CustomerClassified(classification=SMALL_BAKERY)
    ),
    "record-interaction": Example(
        {
            "channel": "phone",
            "direction": "inbound",
            "summary": GRACE_CALLED.summary,
            "contacts": [str(GRACE)],
            "staff": [str(OUR_SELLER)],
            "next_step": GRACE_CALLED.next_step,
            "effort_minutes": 15,
        },
        replace(GRACE_CALLED, interaction_id=InteractionId(NEW)),
        past=(GRACE_ADDED,),
    ),
    "block-customer": Example({"reason": "three reminders without an answer"}, ACME_BLOCKED),
    "unblock-customer": Example({"reason": "paid"}, CustomerUnblocked(), past=(ACME_BLOCKED,)),
    "deactivate-customer": Example({}, ACME_DEACTIVATED),
    "reactivate-customer": Example({}, CustomerReactivated(), past=(ACME_DEACTIVATED,)),
    "confirm-master-data": Example({}, MasterDataConfirmed()),
}


def validate(name: str, body: Mapping[str, object]) -> Command:
    """Read a command as the service does: strict JSON without unknown fields."""
    adapter: TypeAdapter[Command] = TypeAdapter(COMMANDS[name].command)
    return adapter.validate_json(json.dumps(body), strict=True, extra="forbid")


def test_a_registration_is_recorded_in_the_history_of_the_new_customer() -> None:
    body = {
        "customer_number": "C-1001",
        "kind": "organisation",
        "name": "Acme Bakery GmbH",
        "relationship": "customer",
        "language": "de",
        "currency": "EUR",
        "country": "DE",
        "vat_id": "DE 123456789",
        "legal_form": "GmbH",
        "delivery_terms": "DAP",
        "price_group": "WHOLESALE",
        "external_identifiers": [{"source": "shop", "id": "4711"}],
    }
    decision = decide(validate("register-customer", body))
    assert decision.events == (NewEvent(NEW, 1, ACME_REGISTERED, NEW),)


@pytest.mark.parametrize(
    "name", [name for name, each in COMMANDS.items() if each.aggregate is CUSTOMER and not each.creates]
)
def test_every_other_command_is_recorded_in_the_history_of_its_customer(name: str) -> None:
    example = EXAMPLES[name]
    before = customer_after(ACME_REGISTERED, *example.past)
    decision = decide(validate(name, example.body), ACME, log=Log({ACME: before}))
    assert decision.events == (NewEvent(ACME, before.version + 1, example.event, ACME),)


@pytest.mark.parametrize("name", ["block-customer", "unblock-customer"])
def test_a_block_has_a_reason(name: str) -> None:
    with pytest.raises(ValidationError, match="reason"):
        validate(name, {})
