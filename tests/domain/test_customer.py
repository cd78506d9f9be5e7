"""The rules of customers, sentence by sentence as `domain/customer.py` states them."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.customer import (
    AddressChanged,
    Classification,
    ContactPersonAdded,
    ContactPersonChanged,
    ContactPersonIsInactive,
    ContactPersonNotFound,
    CreditLimitChanged,
    CreditLimitIsInAnotherCurrency,
    CreditLimitIsNegative,
    Customer,
    CustomerClassified,
    CustomerEvent,
    CustomerIsBlocked,
    CustomerIsInactive,
    CustomerKind,
    CustomerReactivated,
    CustomerRegistered,
    CustomerUnblocked,
    Department,
    DiscountDaysAreOutOfRange,
    DiscountIsOutOfRange,
    DueBasis,
    DueDaysAreNegative,
    ExternalIdentifierAttached,
    InteractionRecorded,
    LegalNameChanged,
    MasterDataConfirmed,
    OwnerAssigned,
    PaymentTerms,
    PaymentTermsAgreed,
    Relationship,
    SourceIsReserved,
    evolve,
    normalised_vat_id,
    register,
)
from domain.errors import Refusal
from domain.values import ContactId, ExternalIdentifier, Money, StaffId
from tests.people import (
    ACME_BLOCKED,
    ACME_DEACTIVATED,
    ACME_IN_THE_ERP,
    ACME_IN_THE_SHOP,
    ACME_MOVED,
    ACME_REGISTERED,
    ADA_REGISTERED,
    APRIL,
    GRACE,
    GRACE_ADDED,
    GRACE_CALLED,
    GRACE_LEFT,
    JANUARY,
    JULY,
    NET_30,
    NET_30_AGREED,
    NET_30_WITH_DISCOUNT,
    OUR_OTHER_SELLER,
    OUR_SELLER,
    SMALL_BAKERY,
    TEN_THOUSAND_EUROS,
)
from tests.scenario import Scenario

Decide: TypeAlias = Callable[[Customer], tuple[CustomerEvent, ...]]

customer = Scenario(evolve)

LIMIT_SET = CreditLimitChanged(limit=TEN_THOUSAND_EUROS)
SELLER_ASSIGNED = OwnerAssigned(department=Department.SALES, staff_id=OUR_SELLER, valid_from=JANUARY)
ALAN = ContactId(UUID(int=0))
GRACE_MARRIED = ContactPersonChanged(contact_id=GRACE, name="Grace Murray")


def agree(terms: PaymentTerms, valid_from: date = JANUARY) -> Decide:
    return lambda customer: customer.agree_payment_terms(terms, valid_from)


def limit_to(amount: str, currency: str = "EUR") -> Decide:
    return lambda customer: customer.change_credit_limit(Money(amount=Decimal(amount), currency=currency))


def assign(staff_id: StaffId, valid_from: date = JANUARY, department: Department = Department.SALES) -> Decide:
    return lambda customer: customer.assign_owner(department, staff_id, valid_from)


def attach(identifier: ExternalIdentifier) -> Decide:
    return lambda customer: customer.attach_external_identifier(identifier)


def rename(name: str) -> Decide:
    return lambda customer: customer.change_legal_name(name, APRIL)


def change(contact: ContactPersonChanged) -> Decide:
    return lambda customer: customer.change_contact_person(contact)


def deactivate_contact(contact_id: ContactId) -> Decide:
    return lambda customer: customer.deactivate_contact_person(contact_id)


def record(interaction: InteractionRecorded) -> Decide:
    return lambda customer: customer.record_interaction(interaction)


def move(customer: Customer) -> tuple[CustomerEvent, ...]:
    return customer.change_address(ACME_MOVED)


def add_grace(customer: Customer) -> tuple[CustomerEvent, ...]:
    return customer.add_contact_person(GRACE_ADDED)


def classify(customer: Customer) -> tuple[CustomerEvent, ...]:
    return customer.classify(SMALL_BAKERY)


def lift_limit(customer: Customer) -> tuple[CustomerEvent, ...]:
    return customer.change_credit_limit(None)


def post_an_invoice(customer: Customer) -> tuple[CustomerEvent, ...]:
    customer.must_accept_postings()
    return ()


def imported(decision: Decide) -> Decide:
    return lambda customer: decision(customer.as_imported())


# Who a customer is


def test_an_organisation_is_registered_under_its_legal_name() -> None:
    customer.when(
        lambda: register(
            customer_number="C-1001",
            kind=CustomerKind.ORGANISATION,
            name="Acme Bakery GmbH",
            relationship=Relationship.CUSTOMER,
            language="de",
            currency="EUR",
            country="DE",
            vat_id="de 123.456.789",
            legal_form="GmbH",
            delivery_terms="DAP",
            price_group="WHOLESALE",
            external_identifiers=(ACME_IN_THE_SHOP, ACME_IN_THE_SHOP),
        )
    ).then(ACME_REGISTERED)


def register_ada(*identifiers: ExternalIdentifier) -> tuple[CustomerEvent, ...]:
    return register(
        customer_number="C-1002",
        kind=CustomerKind.PERSON,
        name="Ada Lovelace",
        relationship=Relationship.PROSPECT,
        language="en-GB",
        currency="GBP",
        country="GB",
        vat_id="GB 999 9999 73",
        external_identifiers=identifiers,
    )


def test_the_name_and_the_vat_id_of_a_person_are_personal() -> None:
    customer.when(register_ada).then(ADA_REGISTERED)


def test_a_vat_id_has_one_spelling() -> None:
    assert {normalised_vat_id(spelling) for spelling in ("CHE-123.456.789", "che 123 456 789")} == {"CHE123456789"}


def test_the_source_number_is_reserved_for_our_own_numbers() -> None:
    ours = ExternalIdentifier(source="number", id="C-1002")
    registering = customer.when(lambda: register_ada(ACME_IN_THE_ERP, ours))
    registering.then_refused(SourceIsReserved, pointer="/external_identifiers/1/source")
    customer.given(ADA_REGISTERED).when(attach(ours)).then_refused(SourceIsReserved, pointer="/identifier/source")


def test_an_identifier_is_attached_once() -> None:
    attached = ExternalIdentifierAttached(identifier=ACME_IN_THE_ERP)
    customer.given(ACME_REGISTERED).when(attach(ACME_IN_THE_ERP)).then(attached)
    customer.given(ACME_REGISTERED, attached).when(attach(ACME_IN_THE_ERP)).then()
    customer.given(ACME_REGISTERED).when(attach(ACME_IN_THE_SHOP)).then()


def test_an_organisation_changes_its_legal_name() -> None:
    customer.given(ACME_REGISTERED).when(rename("Acme AG")).then(
        LegalNameChanged(valid_from=APRIL, legal_name="Acme AG")
    )


def test_the_new_name_of_a_person_is_personal() -> None:
    customer.given(ADA_REGISTERED).when(rename("Ada King")).then(LegalNameChanged(valid_from=APRIL, name="Ada King"))


def test_an_address_changes_from_a_day_on() -> None:
    customer.given(ACME_REGISTERED).when(move).then(ACME_MOVED)


def test_a_classification_replaces_the_one_before() -> None:
    classified = CustomerClassified(classification=SMALL_BAKERY)
    customer.given(ACME_REGISTERED).when(classify).then(classified)
    customer.given(ACME_REGISTERED, classified).when(classify).then()
    nothing_known = CustomerClassified(classification=Classification())
    customer.given(ACME_REGISTERED, classified, nothing_known).when(classify).then(classified)


def test_master_data_are_confirmed_as_often_as_they_are_checked() -> None:
    confirmed = MasterDataConfirmed()
    customer.given(ACME_REGISTERED, confirmed).when(Customer.confirm_master_data).then(confirmed)


# Contact persons


def test_a_contact_person_is_added_and_changed() -> None:
    customer.given(ACME_REGISTERED).when(add_grace).then(GRACE_ADDED)
    alan_added = ContactPersonAdded(contact_id=ALAN, name="Alan Turing")
    customer.given(ACME_REGISTERED, GRACE_ADDED, alan_added).when(change(GRACE_MARRIED)).then(GRACE_MARRIED)


def test_a_contact_person_leaves_once() -> None:
    customer.given(ACME_REGISTERED, GRACE_ADDED).when(deactivate_contact(GRACE)).then(GRACE_LEFT)
    customer.given(ACME_REGISTERED, GRACE_ADDED, GRACE_LEFT).when(deactivate_contact(GRACE)).then()


def test_a_contact_person_who_has_left_is_not_changed_any_more() -> None:
    after_leaving = customer.given(ACME_REGISTERED, GRACE_ADDED, GRACE_LEFT)
    after_leaving.when(change(GRACE_MARRIED)).then_refused(ContactPersonIsInactive, pointer="/contact_id")


def test_a_contact_person_who_has_left_may_be_named_in_what_happened_earlier() -> None:
    customer.given(ACME_REGISTERED, GRACE_ADDED, GRACE_LEFT).when(record(GRACE_CALLED)).then(GRACE_CALLED)


@pytest.mark.parametrize(
    ("decision", "pointer"),
    [
        (change(GRACE_MARRIED), "/contact_id"),
        (deactivate_contact(GRACE), "/contact_id"),
        (record(GRACE_CALLED), "/contacts/0"),
    ],
    ids=["change", "deactivate", "record"],
)
def test_only_contact_persons_of_the_customer_are_named(decision: Decide, pointer: str) -> None:
    customer.given(ACME_REGISTERED).when(decision).then_refused(ContactPersonNotFound, pointer=pointer)


# Payment terms


@pytest.mark.parametrize("terms", [NET_30, NET_30_WITH_DISCOUNT])
def test_payment_terms_are_agreed_from_a_day_on(terms: PaymentTerms) -> None:
    customer.given(ACME_REGISTERED).when(agree(terms)).then(PaymentTermsAgreed(terms=terms, valid_from=JANUARY))


def test_later_terms_for_the_same_day_correct_the_earlier_ones() -> None:
    corrected = PaymentTermsAgreed(terms=NET_30_WITH_DISCOUNT, valid_from=JANUARY)
    customer.given(ACME_REGISTERED, NET_30_AGREED).when(agree(NET_30_WITH_DISCOUNT)).then(corrected)
    customer.given(ACME_REGISTERED, NET_30_AGREED, corrected).when(agree(NET_30)).then(NET_30_AGREED)


def test_the_same_terms_for_the_same_day_are_agreed_once() -> None:
    since_july = PaymentTermsAgreed(terms=NET_30, valid_from=JULY)
    customer.given(ACME_REGISTERED, NET_30_AGREED).when(agree(NET_30)).then()
    customer.given(ACME_REGISTERED, NET_30_AGREED).when(agree(NET_30, JULY)).then(since_july)
    customer.given(ACME_REGISTERED, NET_30_AGREED, since_july).when(agree(NET_30)).then()


def test_an_invoice_may_fall_due_at_once_but_not_earlier() -> None:
    at_once = PaymentTerms(due_basis=DueBasis.INVOICE, due_days=0)
    earlier = PaymentTerms(due_basis=DueBasis.INVOICE, due_days=-1)
    customer.given(ACME_REGISTERED).when(agree(at_once)).then(PaymentTermsAgreed(terms=at_once, valid_from=JANUARY))
    customer.given(ACME_REGISTERED).when(agree(earlier)).then_refused(DueDaysAreNegative, pointer="/due_days")


@pytest.mark.parametrize("discount_days", [-1, 31])
def test_the_days_of_a_discount_lie_within_the_due_days(discount_days: int) -> None:
    terms = PaymentTerms(due_basis=DueBasis.INVOICE, due_days=30, discount_days=discount_days)
    agreeing = customer.given(ACME_REGISTERED).when(agree(terms))
    agreeing.then_refused(DiscountDaysAreOutOfRange, pointer="/discount_days")


@pytest.mark.parametrize("percent", ["-0.01", "100"])
def test_a_discount_is_at_least_nothing_and_less_than_everything(percent: str) -> None:
    terms = PaymentTerms(due_basis=DueBasis.END_OF_MONTH, due_days=30, discount_percent=Decimal(percent))
    agreeing = customer.given(ACME_REGISTERED).when(agree(terms))
    agreeing.then_refused(DiscountIsOutOfRange, pointer="/discount_percent")


@pytest.mark.parametrize("percent", ["0", "99.99"])
def test_the_ends_of_the_range_of_a_discount_are_agreed(percent: str) -> None:
    terms = PaymentTerms(
        due_basis=DueBasis.END_OF_MONTH, due_days=30, discount_days=30, discount_percent=Decimal(percent)
    )
    customer.given(ACME_REGISTERED).when(agree(terms)).then(PaymentTermsAgreed(terms=terms, valid_from=JANUARY))


# Credit limit


def test_a_credit_limit_is_set_lifted_and_not_repeated() -> None:
    customer.given(ACME_REGISTERED).when(limit_to("10000.00")).then(LIMIT_SET)
    customer.given(ACME_REGISTERED, LIMIT_SET).when(limit_to("10000")).then()
    customer.given(ACME_REGISTERED, LIMIT_SET).when(lift_limit).then(CreditLimitChanged(limit=None))
    customer.given(ACME_REGISTERED).when(lift_limit).then()


def test_a_credit_limit_is_not_negative() -> None:
    customer.given(ACME_REGISTERED).when(limit_to("-0.01")).then_refused(CreditLimitIsNegative, pointer="/limit/amount")


def test_a_credit_limit_is_in_the_currency_of_the_customer() -> None:
    limiting = customer.given(ACME_REGISTERED).when(limit_to("1", "USD"))
    limiting.then_refused(CreditLimitIsInAnotherCurrency, pointer="/limit/currency")


# Owners


def test_each_department_has_an_owner_from_a_day_on() -> None:
    customer.given(ACME_REGISTERED).when(assign(OUR_SELLER)).then(SELLER_ASSIGNED)
    in_service = OwnerAssigned(department=Department.SERVICE, staff_id=OUR_SELLER, valid_from=JANUARY)
    customer.given(ACME_REGISTERED, SELLER_ASSIGNED).when(assign(OUR_SELLER, department=Department.SERVICE)).then(
        in_service
    )
    since_april = OwnerAssigned(department=Department.SALES, staff_id=OUR_SELLER, valid_from=APRIL)
    customer.given(ACME_REGISTERED, SELLER_ASSIGNED).when(assign(OUR_SELLER, APRIL)).then(since_april)


def test_the_same_owner_of_a_department_is_assigned_once_for_a_day() -> None:
    in_service = OwnerAssigned(department=Department.SERVICE, staff_id=OUR_SELLER, valid_from=JANUARY)
    since_april = OwnerAssigned(department=Department.SALES, staff_id=OUR_OTHER_SELLER, valid_from=APRIL)
    assigned = customer.given(ACME_REGISTERED, SELLER_ASSIGNED, since_april, in_service)
    assigned.when(assign(OUR_SELLER)).then()
    assigned.when(assign(OUR_OTHER_SELLER, APRIL)).then()


def test_a_later_owner_for_the_same_day_corrects_the_earlier_one() -> None:
    corrected = OwnerAssigned(department=Department.SALES, staff_id=OUR_OTHER_SELLER, valid_from=JANUARY)
    customer.given(ACME_REGISTERED, SELLER_ASSIGNED).when(assign(OUR_OTHER_SELLER)).then(corrected)
    customer.given(ACME_REGISTERED, SELLER_ASSIGNED, corrected).when(assign(OUR_SELLER)).then(SELLER_ASSIGNED)


# Blocked and deactivated customers


def test_a_customer_is_blocked_and_unblocked_once() -> None:
    customer.given(ACME_REGISTERED).when(Customer.block).then(ACME_BLOCKED)
    customer.given(ACME_REGISTERED, ACME_BLOCKED).when(Customer.block).then()
    customer.given(ACME_REGISTERED, ACME_BLOCKED).when(Customer.unblock).then(CustomerUnblocked())
    customer.given(ACME_REGISTERED, ACME_BLOCKED, CustomerUnblocked()).when(Customer.unblock).then()


def test_a_customer_is_deactivated_and_reactivated_once() -> None:
    customer.given(ACME_REGISTERED).when(Customer.deactivate).then(ACME_DEACTIVATED)
    customer.given(ACME_REGISTERED, ACME_DEACTIVATED).when(Customer.deactivate).then()
    customer.given(ACME_REGISTERED, ACME_DEACTIVATED).when(Customer.reactivate).then(CustomerReactivated())
    customer.given(ACME_REGISTERED, ACME_DEACTIVATED, CustomerReactivated()).when(Customer.reactivate).then()


@pytest.mark.parametrize(
    "decision",
    [agree(NET_30), limit_to("10000.01"), lift_limit, post_an_invoice],
    ids=["payment terms", "higher credit limit", "no credit limit", "invoice"],
)
def test_a_blocked_customer_takes_on_nothing_new(decision: Decide) -> None:
    customer.given(ACME_REGISTERED, LIMIT_SET, ACME_BLOCKED).when(decision).then_refused(CustomerIsBlocked)


def test_the_credit_limit_of_a_blocked_customer_may_fall_or_stay() -> None:
    halved = CreditLimitChanged(limit=Money(amount=Decimal(5000), currency="EUR"))
    customer.given(ACME_REGISTERED, LIMIT_SET, ACME_BLOCKED).when(limit_to("5000")).then(halved)
    customer.given(ACME_REGISTERED, LIMIT_SET, ACME_BLOCKED).when(limit_to("10000")).then()
    customer.given(ACME_REGISTERED, ACME_BLOCKED).when(limit_to("10000")).then(LIMIT_SET)


CHANGES = {
    "legal name": rename("Acme AG"),
    "address": move,
    "contact person added": add_grace,
    "contact person changed": change(GRACE_MARRIED),
    "payment terms": agree(NET_30_WITH_DISCOUNT),
    "credit limit": limit_to("1"),
    "owner": assign(OUR_SELLER),
    "classification": classify,
    "master data": Customer.confirm_master_data,
}


@pytest.mark.parametrize("decision", [*CHANGES.values(), post_an_invoice], ids=[*CHANGES, "invoice"])
def test_nothing_is_changed_or_invoiced_while_a_customer_is_deactivated(decision: Decide) -> None:
    customer.given(ACME_REGISTERED, GRACE_ADDED, ACME_DEACTIVATED).when(decision).then_refused(CustomerIsInactive)


def test_a_customer_who_is_neither_blocked_nor_deactivated_is_invoiced() -> None:
    customer.given(ACME_REGISTERED).when(post_an_invoice).then()
    lifted = (ACME_BLOCKED, ACME_DEACTIVATED, CustomerUnblocked(), CustomerReactivated())
    customer.given(ACME_REGISTERED, *lifted).when(post_an_invoice).then()


def test_talks_identifiers_and_leavings_are_recorded_of_every_customer() -> None:
    at_rest = customer.given(ACME_REGISTERED, GRACE_ADDED, ACME_BLOCKED, ACME_DEACTIVATED)
    at_rest.when(record(GRACE_CALLED)).then(GRACE_CALLED)
    at_rest.when(attach(ACME_IN_THE_ERP)).then(ExternalIdentifierAttached(identifier=ACME_IN_THE_ERP))
    at_rest.when(deactivate_contact(GRACE)).then(GRACE_LEFT)
    at_rest.when(Customer.unblock).then(CustomerUnblocked())


def test_the_data_of_a_blocked_customer_are_corrected() -> None:
    customer.given(ACME_REGISTERED, ACME_BLOCKED).when(move).then(ACME_MOVED)


@pytest.mark.parametrize("decision", [*CHANGES.values()], ids=[*CHANGES])
def test_importers_record_what_a_source_did_with_a_blocked_and_deactivated_customer(decision: Decide) -> None:
    at_rest = customer.given(ACME_REGISTERED, GRACE_ADDED, ACME_BLOCKED, ACME_DEACTIVATED)
    meanwhile = customer.given(ACME_REGISTERED, GRACE_ADDED)
    at_rest.when(imported(decision)).then(*decision(meanwhile.state))


# Streams


def test_a_stream_begins_with_a_registration() -> None:
    with pytest.raises(ValueError, match="begins with its registration"):
        evolve(None, ACME_BLOCKED)


days = st.sampled_from([JANUARY, APRIL, JULY])
contacts = st.sampled_from([GRACE, ALAN])
terms = st.builds(
    PaymentTerms,
    due_basis=st.sampled_from(DueBasis),
    due_days=st.integers(-1, 2),
    discount_days=st.integers(-1, 2),
    discount_percent=st.integers(-1, 1).map(Decimal),
)
decisions: st.SearchStrategy[Decide] = st.one_of(
    st.sampled_from([move, add_grace, classify, lift_limit]),
    st.sampled_from([Customer.block, Customer.unblock, Customer.deactivate, Customer.reactivate]),
    st.sampled_from([Customer.confirm_master_data, record(GRACE_CALLED), rename("Acme AG")]),
    st.builds(agree, terms, days),
    st.builds(limit_to, st.sampled_from(["-1", "1", "2"]), st.sampled_from(["EUR", "USD"])),
    st.builds(assign, st.sampled_from([OUR_SELLER, OUR_OTHER_SELLER]), days, st.sampled_from(Department)),
    st.builds(attach, st.builds(ExternalIdentifier, source=st.sampled_from(["shop", "number"]), id=st.just("1"))),
    st.builds(deactivate_contact, contacts),
    st.builds(change, st.builds(ContactPersonChanged, contact_id=contacts, name=st.just("Grace"))),
)


def decided(state: Customer, decision: Decide) -> tuple[CustomerEvent, ...]:
    """What is recorded of a decision; nothing when it is refused."""
    try:
        return decision(state)
    except Refusal:
        return ()


@settings(max_examples=50)
@given(st.sampled_from([ACME_REGISTERED, ADA_REGISTERED]), st.lists(decisions, max_size=30))
def test_any_accepted_sequence_of_decisions_evolves(registered: CustomerRegistered, wishes: list[Decide]) -> None:
    events: list[CustomerEvent] = [registered]
    state = evolve(None, registered)
    for wish in wishes:
        for event in decided(state, wish):
            assert not (state.blocked and isinstance(event, PaymentTermsAgreed))
            state = evolve(state, event)
            events.append(event)

    agreed = {event.valid_from: event.terms for event in events if isinstance(event, PaymentTermsAgreed)}
    assert state.payment_terms == agreed
    assert state.active_contacts <= state.contacts
    assert customer.given(*events).state == state


@settings(max_examples=50)
@given(st.lists(decisions, max_size=10), decisions)
def test_a_decision_that_changes_nothing_records_nothing(wishes: list[Decide], wish: Decide) -> None:
    state = evolve(None, ACME_REGISTERED)
    for each in [*wishes, wish]:
        for event in decided(state, each):
            state = evolve(state, event)

    # States hold no names, addresses and talks, so whether these change anything is not known, and they are recorded.
    unknown = (AddressChanged, LegalNameChanged, ContactPersonAdded, ContactPersonChanged, InteractionRecorded)
    assert all(isinstance(event, (*unknown, MasterDataConfirmed)) for event in decided(state, wish))
