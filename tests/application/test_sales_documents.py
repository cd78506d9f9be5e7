"""What handlers of sales documents' commands add to the rules: claims, references, and the customer's history."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from application.aggregates import Claim
from application.commands import COMMANDS
from application.customers import CUSTOMER
from application.ports import Decision, NewEvent, Stream
from application.products import PRODUCT
from application.sales_documents import SALES_DOCUMENT
from application.unit_of_work import ActorKind, ReferenceNotFound
from domain.customer import CustomerIsBlocked
from domain.product import Product
from domain.sales_document import (
    AdjustmentPosted,
    AdjustmentReason,
    CreditNotePosted,
    CreditReason,
    DocumentLine,
    DocumentNumberIsTaken,
    ExchangeRate,
    InvoiceCancelled,
    InvoiceCredited,
    InvoicePosted,
    RateKind,
    RevenueLine,
    SalesDocumentNotFound,
)
from domain.values import ProductId
from tests.application.test_customers import NEW, Log, claims, customer_after, decide, validate
from tests.people import ACME, ACME_BLOCKED, ACME_REGISTERED

IN_JANUARY, IN_FEBRUARY = date(2026, 1, 20), date(2026, 2, 10)
FLOUR = ProductId(UUID(int=1))
INVOICE = UUID(int=2)
RATE = ExchangeRate(
    base="USD", quote="EUR", rate=Decimal("0.92"), kind=RateKind.MONTHLY_AVERAGE, source="ECB", quoted_on=IN_JANUARY
)
POSTED = InvoicePosted(
    document_number="R-1",
    source="erp",
    customer_id=ACME,
    document_date=IN_JANUARY,
    posted_on=IN_JANUARY,
    currency="USD",
    reporting_currency="EUR",
    exchange_rate=RATE,
    ship_to_country="DE",
    contract="V-3",
    lines=(
        DocumentLine(
            line_no=1,
            net_amount=Decimal("11.00"),
            reporting_amount=Decimal("10.12"),
            quantity=Decimal(2),
            base_quantity=Decimal(50),
            product_id=FLOUR,
            ship_to_country="AT",
            unit_price=Decimal("6.00"),
            discount=Decimal("1.00"),
            unit="sack",
            description="Flour, two sacks",
            ordered_on=IN_JANUARY,
            delivered_on=IN_JANUARY,
            contract_line="7",
        ),
    ),
)
LINE = {
    "line_no": 1,
    "net_amount": "11.00",
    "quantity": "2",
    "base_quantity": "50",
    "product": "number:FLOUR-405",
    "ship_to_country": "AT",
    "unit_price": "6.00",
    "discount": "1.00",
    "unit": "sack",
    "description": "Flour, two sacks",
    "ordered_on": "2026-01-20",
    "delivered_on": "2026-01-20",
    "contract_line": "7",
}
HEADING = {
    "document_number": "R-1",
    "source": "erp",
    "customer": "erp:ACME-01",
    "document_date": "2026-01-20",
    "posted_on": "2026-01-20",
    "currency": "USD",
    "exchange_rate": {
        "base": "USD",
        "quote": "EUR",
        "rate": "0.92",
        "kind": "monthly_average",
        "source": "ECB",
        "quoted_on": "2026-01-20",
    },
    "ship_to_country": "DE",
}
IN_EUROS = {**HEADING, "currency": "EUR", "exchange_rate": None}
VOUCHER = {"document_number": "G-1", "document_date": "2026-02-10", "posted_on": "2026-02-10"}
LOG = Log(
    {
        ACME: customer_after(ACME_REGISTERED),
        FLOUR: Stream(1, Product(base_unit="kg", name="Flour 405", family=None, tier=None)),
        INVOICE: Stream(1, SALES_DOCUMENT.fold(None, (POSTED,))),
    },
    {
        CUSTOMER.reference("erp", "ACME-01"): ACME,
        PRODUCT.reference("number", "FLOUR-405"): FLOUR,
        SALES_DOCUMENT.reference("erp", "R-1"): INVOICE,
    },
)


def sent(name: str, body: Mapping[str, Any], *, log: Log = LOG, actor: ActorKind = ActorKind.SERVICE) -> Decision:
    return decide(validate(name, body), None if COMMANDS[name].creates else INVOICE, log=log, actor=actor)


def test_an_invoice_is_recorded_in_the_history_of_its_customer() -> None:
    decision = sent("post-invoice", {**HEADING, "contract": "V-3", "lines": [LINE]})
    assert decision.events == (NewEvent(NEW, 1, POSTED, ACME),)
    assert decision.reads == {NEW: 0, ACME: 1, FLOUR: 1}


def test_a_credit_note_without_an_invoice_is_a_stream_of_its_own() -> None:
    body = {
        **IN_EUROS,
        "lines": [{"line_no": 1, "net_amount": "500.00"}],
        "credit_reason": "annual_bonus",
        "invoice_unknown_because": "for the whole year",
    }
    (recorded,) = sent("post-credit-note", body).events
    posted = CreditNotePosted(
        document_number="R-1",
        source="erp",
        customer_id=ACME,
        document_date=IN_JANUARY,
        posted_on=IN_JANUARY,
        currency="EUR",
        reporting_currency="EUR",
        ship_to_country="DE",
        lines=(
            DocumentLine(
                line_no=1,
                net_amount=Decimal("-500.00"),
                reporting_amount=Decimal("-500.00"),
                quantity=Decimal(0),
                ship_to_country="DE",
            ),
        ),
        credit_reason=CreditReason.ANNUAL_BONUS,
        invoice_unknown_because="for the whole year",
    )
    assert recorded == NewEvent(NEW, 1, posted, ACME)


def test_an_adjustment_is_recorded_in_the_history_of_its_customer() -> None:
    (recorded,) = sent("post-adjustment", {**HEADING, "amount": "-100.00", "adjustment_reason": "bad_debt"}).events
    posted = AdjustmentPosted(
        document_number="R-1",
        source="erp",
        customer_id=ACME,
        document_date=IN_JANUARY,
        posted_on=IN_JANUARY,
        currency="USD",
        reporting_currency="EUR",
        exchange_rate=RATE,
        ship_to_country="DE",
        lines=(
            RevenueLine(
                line_no=0,
                net_amount=Decimal("-100.00"),
                reporting_amount=Decimal("-92.00"),
                quantity=Decimal(0),
                ship_to_country="DE",
            ),
        ),
        adjustment_reason=AdjustmentReason.BAD_DEBT,
    )
    assert recorded == NewEvent(NEW, 1, posted, ACME)


def test_a_credit_note_on_an_invoice_is_recorded_with_the_invoice() -> None:
    line = {"line_no": 1, "net_amount": "5.50", "quantity": "1"}
    decision = sent("credit-invoice", {**VOUCHER, "lines": [line], "credit_reason": "return"})
    credited = InvoiceCredited(
        document_number="G-1",
        source=None,
        customer_id=ACME,
        document_date=IN_FEBRUARY,
        posted_on=IN_FEBRUARY,
        currency="USD",
        reporting_currency="EUR",
        exchange_rate=RATE,
        ship_to_country="DE",
        lines=(
            RevenueLine(
                line_no=1,
                net_amount=Decimal("-5.50"),
                reporting_amount=Decimal("-5.06"),
                quantity=Decimal(-1),
                base_quantity=Decimal(-25),
                product_id=FLOUR,
                ship_to_country="AT",
            ),
        ),
        credit_reason=CreditReason.RETURN,
    )
    assert decision.events == (NewEvent(INVOICE, 2, credited, ACME),)


def test_a_cash_discount_needs_no_line() -> None:
    body = {**VOUCHER, "lines": [{"net_amount": "0.22"}], "credit_reason": "cash_discount"}
    (recorded,) = sent("credit-invoice", body).events
    assert [(line.line_no, line.net_amount) for line in recorded.event.lines] == [(0, Decimal("-0.22"))]


def test_a_cancellation_is_recorded_with_the_invoice() -> None:
    decision = sent("cancel-invoice", {**VOUCHER, "source": "erp"})
    cancelled = InvoiceCancelled(
        document_number="G-1",
        source="erp",
        customer_id=ACME,
        document_date=IN_FEBRUARY,
        posted_on=IN_FEBRUARY,
        currency="USD",
        reporting_currency="EUR",
        exchange_rate=RATE,
        ship_to_country="DE",
        lines=(
            RevenueLine(
                line_no=1,
                net_amount=Decimal("-11.00"),
                reporting_amount=Decimal("-10.12"),
                quantity=Decimal(-2),
                base_quantity=Decimal(-50),
                product_id=FLOUR,
                ship_to_country="AT",
            ),
        ),
    )
    assert decision.events == (NewEvent(INVOICE, 2, cancelled, ACME),)


CREDIT = {"lines": [{"net_amount": "0.22"}], "credit_reason": "cash_discount"}
CREDIT_NOTE = {
    **IN_EUROS,
    "lines": [{"line_no": 1, "net_amount": "1.00"}],
    "credit_reason": "goodwill",
    "invoice_unknown_because": "late delivery",
}
ADJUSTMENT = {**IN_EUROS, "amount": "1.00", "adjustment_reason": "rounding"}


@pytest.mark.parametrize(
    ("name", "body", "claim"),
    [
        ("post-invoice", {**HEADING, "lines": [LINE]}, SALES_DOCUMENT.reference("erp", "R-1")),
        ("post-invoice", {**HEADING, "lines": [LINE], "source": None}, SALES_DOCUMENT.reference("number", "R-1")),
        ("post-credit-note", CREDIT_NOTE, Claim("sales-document-credit-note", "erp\0R-1")),
        ("credit-invoice", {**VOUCHER, **CREDIT}, Claim("sales-document-credit-note", "number\0G-1")),
        ("post-adjustment", ADJUSTMENT, Claim("sales-document-adjustment", "erp\0R-1")),
        ("cancel-invoice", {**VOUCHER, "source": "erp"}, Claim("sales-document-cancellation", "erp\0G-1")),
    ],
    ids=["invoice", "our invoice", "credit note", "credit note on an invoice", "adjustment", "cancellation"],
)
def test_a_number_is_claimed_for_its_source_and_type_of_document(
    name: str, body: dict[str, object], claim: Claim
) -> None:
    assert claims(sent(name, body)) == {claim: (DocumentNumberIsTaken, "/document_number", None)}


def test_only_a_document_that_exists_is_cancelled() -> None:
    with pytest.raises(SalesDocumentNotFound):
        decide(validate("cancel-invoice", VOUCHER), FLOUR, log=LOG)


BLOCKED = Log({**LOG.streams, ACME: customer_after(ACME_REGISTERED, ACME_BLOCKED)}, LOG.holders)


def test_no_invoice_is_posted_to_a_customer_who_accepts_none() -> None:
    with pytest.raises(CustomerIsBlocked):
        sent("post-invoice", {**HEADING, "lines": [LINE]}, log=BLOCKED)


def test_importers_post_what_a_source_has_invoiced_to_a_blocked_customer() -> None:
    decision = sent("post-invoice", {**HEADING, "lines": [LINE]}, log=BLOCKED, actor=ActorKind.IMPORT)
    assert len(decision.events) == 1


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("post-credit-note", CREDIT_NOTE),
        ("credit-invoice", {**VOUCHER, **CREDIT}),
        ("post-adjustment", ADJUSTMENT),
        ("cancel-invoice", VOUCHER),
    ],
)
def test_what_takes_back_or_adjusts_is_always_booked(name: str, body: dict[str, object]) -> None:
    assert len(sent(name, body, log=BLOCKED).events) == 1


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("post-invoice", {**HEADING, "lines": [LINE]}),
        ("post-credit-note", CREDIT_NOTE),
        ("post-adjustment", ADJUSTMENT),
    ],
)
def test_the_customer_exists(name: str, body: dict[str, object]) -> None:
    with pytest.raises(ReferenceNotFound) as refused:
        sent(name, {**body, "customer": "erp:NOBODY"})
    assert refused.value.pointer == "/customer"


def test_the_product_of_each_line_exists_and_a_line_may_name_none() -> None:
    lines = [{**LINE, "line_no": 1, "product": None}, {**LINE, "line_no": 2}]
    (recorded,) = sent("post-invoice", {**HEADING, "lines": lines}).events
    assert [line.product_id for line in recorded.event.lines] == [None, FLOUR]
    lines.append({**LINE, "line_no": 3, "product": "number:SUGAR"})
    with pytest.raises(ReferenceNotFound) as refused:
        sent("post-invoice", {**HEADING, "lines": lines})
    assert refused.value.pointer == "/lines/2/product"


@pytest.mark.parametrize("missing", ["quantity", "unit_price", "net_amount", "line_no"])
def test_a_line_of_an_invoice_says_what_it_multiplies(missing: str) -> None:
    line = {name: value for name, value in LINE.items() if name != missing}
    with pytest.raises(ValidationError, match=missing):
        validate("post-invoice", {**HEADING, "lines": [line]})


@pytest.mark.parametrize("number", [0, -1])
def test_lines_are_numbered_from_one(number: int) -> None:
    with pytest.raises(ValidationError, match="line_no"):
        validate("post-invoice", {**HEADING, "lines": [{**LINE, "line_no": number}]})
