"""Known people and situations: Acme Bakery of the story, Ada who buys for herself, Grace who speaks for Acme.

Tests use these and no random names, so that a failure reads as part of a story one knows.
"""

from datetime import date
from decimal import Decimal
from uuid import UUID

from domain.customer import (
    AddressChanged,
    AddressKind,
    Channel,
    Classification,
    CompanySize,
    ContactPersonAdded,
    ContactPersonDeactivated,
    CustomerBlocked,
    CustomerDeactivated,
    CustomerKind,
    CustomerRegistered,
    Direction,
    DueBasis,
    InteractionId,
    InteractionRecorded,
    PaymentTerms,
    PaymentTermsAgreed,
    Relationship,
)
from domain.values import ContactId, CustomerId, ExternalIdentifier, Money, StaffId

JANUARY, APRIL, JULY = date(2026, 1, 1), date(2026, 4, 1), date(2026, 7, 1)

ACME = CustomerId(UUID("01900000-0000-7000-8000-00000000000a"))
ADA = CustomerId(UUID("01900000-0000-7000-8000-00000000000b"))
GRACE = ContactId(UUID("01900000-0000-7000-8000-00000000000c"))
OUR_SELLER = StaffId(UUID("01900000-0000-7000-8000-00000000000d"))
OUR_OTHER_SELLER = StaffId(UUID("01900000-0000-7000-8000-00000000000e"))

ACME_IN_THE_SHOP = ExternalIdentifier(source="shop", id="4711")
ACME_IN_THE_ERP = ExternalIdentifier(source="erp", id="ACME-01")

ACME_REGISTERED = CustomerRegistered(
    customer_number="C-1001",
    kind=CustomerKind.ORGANISATION,
    relationship=Relationship.CUSTOMER,
    language="de",
    currency="EUR",
    country="DE",
    legal_name="Acme Bakery GmbH",
    vat_id="DE123456789",
    legal_form="GmbH",
    delivery_terms="DAP",
    price_group="WHOLESALE",
    external_identifiers=(ACME_IN_THE_SHOP,),
)
"""Acme Bakery, of whom everything is known."""
ADA_REGISTERED = CustomerRegistered(
    customer_number="C-1002",
    kind=CustomerKind.PERSON,
    relationship=Relationship.PROSPECT,
    language="en-GB",
    currency="GBP",
    country="GB",
    name="Ada Lovelace",
    personal_vat_id="GB999999973",
)
"""Ada, a person who trades under her own VAT id."""

ACME_MOVED = AddressChanged(
    kind=AddressKind.BILLING,
    valid_from=APRIL,
    country="DE",
    city="Bremen",
    street="Am Markt 1",
    postal_code="28195",
)
GRACE_ADDED = ContactPersonAdded(
    contact_id=GRACE,
    name="Grace Hopper",
    function="Head of purchasing",
    email="grace@acme.example",
    phone="+49 421 555-0100",
    language="en",
)
GRACE_LEFT = ContactPersonDeactivated(contact_id=GRACE)

NET_30 = PaymentTerms(due_basis=DueBasis.INVOICE, due_days=30)
NET_30_WITH_DISCOUNT = PaymentTerms(
    due_basis=DueBasis.DELIVERY, due_days=30, discount_days=14, discount_percent=Decimal(2)
)
NET_30_AGREED = PaymentTermsAgreed(terms=NET_30, valid_from=JANUARY)

TEN_THOUSAND_EUROS = Money(amount=Decimal("10000.00"), currency="EUR")
SMALL_BAKERY = Classification(industry="10.71", size=CompanySize.SMALL, group="BAKERIES")

GRACE_CALLED = InteractionRecorded(
    interaction_id=InteractionId(UUID("01900000-0000-7000-8000-00000000000f")),
    channel=Channel.PHONE,
    direction=Direction.INBOUND,
    summary="The flour clumps again.",
    contacts=(GRACE,),
    staff=(OUR_SELLER,),
    next_step="Send a sample of the new flour.",
    effort_minutes=15,
)

ACME_BLOCKED = CustomerBlocked()
ACME_DEACTIVATED = CustomerDeactivated()
