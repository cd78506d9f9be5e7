"""The rules of sales documents, sentence by sentence as `domain/sales_document.py` states them."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import date
from decimal import Decimal
from functools import partial
from typing import TypeAlias
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from domain.product import Product
from domain.sales_document import (
    LINES_MAX,
    AdjustmentPosted,
    AdjustmentReason,
    AmountIsTooLarge,
    Credit,
    CreditExceedsOpenAmount,
    CreditExceedsOpenQuantity,
    CreditNoteIsNegative,
    CreditNotePosted,
    CreditReason,
    DocumentHasNoLines,
    DocumentHasTooManyLines,
    DocumentIsNotAnInvoice,
    DocumentLine,
    ExchangeRate,
    ExchangeRateIsForOtherCurrencies,
    ExchangeRateIsMissing,
    ExchangeRateIsNotNeeded,
    ExchangeRateIsNotPositive,
    Heading,
    InvoiceCancelled,
    InvoiceCredited,
    InvoiceHasNoSuchLine,
    InvoiceIsCancelled,
    InvoicePosted,
    LineDoesNotAddUp,
    LineNumberIsRepeated,
    NamedProduct,
    RateKind,
    RevenueLine,
    SalesDocument,
    SalesDocumentEvent,
    StatedLine,
    Voucher,
    evolve,
    post_adjustment,
    post_credit_note,
    post_invoice,
)
from domain.values import ProductId, minor_unit
from tests.people import ACME
from tests.scenario import Scenario

Decide: TypeAlias = Callable[[SalesDocument], tuple[SalesDocumentEvent, ...]]
Totals: TypeAlias = dict[int, tuple[Decimal, Decimal, Decimal, Decimal]]

document = Scenario(evolve)

IN_JANUARY, IN_FEBRUARY, IN_MARCH = date(2026, 1, 20), date(2026, 2, 10), date(2026, 3, 5)
EVENT_BYTES_MAX = 2**20
NOTHING = (Decimal(0), Decimal(0), Decimal(0), Decimal(0))

FLOUR: NamedProduct = (
    ProductId(UUID(int=1)),
    Product(base_unit="kg", name="Flour 405", family=None, tier=None),
)
YEAST: NamedProduct = (
    ProductId(UUID(int=2)),
    Product(base_unit="piece", name="Yeast", family=None, tier=None),
)


def dollars_to_euros(rate: str, quoted_on: date = IN_JANUARY) -> ExchangeRate:
    return ExchangeRate(
        base="USD", quote="EUR", rate=Decimal(rate), kind=RateKind.DAILY, source="ECB", quoted_on=quoted_on
    )


def heading(
    currency: str = "EUR", exchange_rate: ExchangeRate | None = None, reporting_currency: str = "EUR"
) -> Heading:
    return Heading(
        document_number="R-1",
        source=None,
        document_date=IN_JANUARY,
        posted_on=IN_JANUARY,
        customer_id=ACME,
        currency=currency,
        reporting_currency=reporting_currency,
        exchange_rate=exchange_rate,
        ship_to_country="DE",
    )


def in_dollars(rate: str) -> Heading:
    return heading("USD", dollars_to_euros(rate))


def on_the_invoice(invoice_heading: Heading, voucher: Voucher) -> Heading:
    return {**invoice_heading, **voucher}


IN_EUROS, IN_DOLLARS = heading(), in_dollars("0.92")
CREDIT_NOTE = Voucher(document_number="G-1", source="erp", document_date=IN_FEBRUARY, posted_on=IN_FEBRUARY)
CANCELLATION = Voucher(document_number="S-1", source=None, document_date=IN_MARCH, posted_on=IN_MARCH)


def line(  # noqa: PLR0913 - a line has these parts
    line_no: int,
    net_amount: str,
    quantity: str = "1",
    unit_price: str | None = None,
    discount: str = "0",
    *,
    base_quantity: str | None = None,
    unit: str | None = None,
    ship_to_country: str | None = None,
) -> StatedLine:
    return StatedLine(
        line_no=line_no,
        net_amount=Decimal(net_amount),
        quantity=Decimal(quantity),
        unit_price=None if unit_price is None else Decimal(unit_price),
        discount=Decimal(discount),
        base_quantity=None if base_quantity is None else Decimal(base_quantity),
        unit=unit,
        ship_to_country=ship_to_country,
    )


def invoice(*lines: StatedLine, under: Heading = IN_EUROS) -> InvoicePosted:
    (posted,) = post_invoice(under, lines, [FLOUR] * len(lines))
    return posted


def take_back(
    *credits_: Credit, voucher: Voucher = CREDIT_NOTE, reason: CreditReason = CreditReason.RETURN
) -> Callable[[SalesDocument], tuple[InvoiceCredited]]:
    return lambda document: document.credit(credits_, voucher, reason)


def credit(line_no: int, net_amount: str, quantity: str = "0") -> Credit:
    return Credit(line_no=line_no, net_amount=Decimal(net_amount), quantity=Decimal(quantity))


def cancel(document: SalesDocument) -> tuple[InvoiceCancelled]:
    return document.cancel(CANCELLATION)


def revenue(*events: SalesDocumentEvent) -> Decimal:
    return sum((line.reporting_amount for event in events for line in event.lines), Decimal(0))


def totals(events: Iterable[SalesDocumentEvent]) -> Totals:
    """What is left of each line: amount, amount in the reporting currency, quantity and base quantity."""
    left: Totals = defaultdict(lambda: NOTHING)
    for event in events:
        for each in event.lines:
            net_amount, reporting_amount, quantity, base_quantity = left[each.line_no]
            left[each.line_no] = (
                net_amount + each.net_amount,
                reporting_amount + each.reporting_amount,
                quantity + each.quantity,
                base_quantity + (each.base_quantity or 0),
            )
    return dict(left)


TWO_LINES = invoice(line(1, "1000.00", "100", "10.00"), line(2, "400.00", "50", "8.00"))
TWO_LINES_IN_DOLLARS = invoice(line(1, "1000.00", "100", "10.00"), line(2, "400.00", "50", "8.00"), under=IN_DOLLARS)

# Posting


def test_an_invoice_is_posted_with_all_that_it_states() -> None:
    stated = StatedLine(
        line_no=10,
        net_amount=Decimal("11.00"),
        quantity=Decimal(2),
        unit_price=Decimal("6.00"),
        discount=Decimal("1.00"),
        product="erp:FLOUR-405",
        description="Flour, two sacks",
        unit="sack",
        base_quantity=Decimal(50),
        ordered_on=IN_JANUARY,
        delivered_on=IN_FEBRUARY,
        contract_line="7",
        ship_to_country="AT",
    )
    document.when(lambda: post_invoice(IN_DOLLARS, [stated], [FLOUR], contract="V-3")).then(
        InvoicePosted(
            **IN_DOLLARS,
            lines=(
                DocumentLine(
                    line_no=10,
                    net_amount=Decimal("11.00"),
                    reporting_amount=Decimal("10.12"),
                    quantity=Decimal(2),
                    base_quantity=Decimal(50),
                    product_id=ProductId(UUID(int=1)),
                    ship_to_country="AT",
                    unit_price=Decimal("6.00"),
                    discount=Decimal("1.00"),
                    unit="sack",
                    description="Flour, two sacks",
                    ordered_on=IN_JANUARY,
                    delivered_on=IN_FEBRUARY,
                    contract_line="7",
                ),
            ),
            contract="V-3",
        )
    )


def test_prices_may_be_zero_quantities_negative_products_repeated_or_absent_and_countries_several() -> None:
    lines = [
        line(1, "0.00", "12", "0"),
        line(2, "-30.00", "-3", "10.00", ship_to_country="FR"),
        line(3, "10.00", "1", "10.00"),
    ]
    (posted,) = post_invoice(IN_EUROS, lines, [FLOUR, FLOUR, None])
    assert [(each.product_id, each.ship_to_country, each.reporting_amount) for each in posted.lines] == [
        (ProductId(UUID(int=1)), "DE", Decimal("0.00")),
        (ProductId(UUID(int=1)), "FR", Decimal("-30.00")),
        (None, "DE", Decimal("10.00")),
    ]


@pytest.mark.parametrize(
    ("unit", "stated", "base_quantity"),
    [(None, None, "3"), ("kg", None, "3"), ("sack", None, None), ("sack", "75", "75"), ("kg", "2.5", "2.5")],
)
def test_a_quantity_is_in_the_base_unit_unless_the_line_says_otherwise(
    unit: str | None, stated: str | None, base_quantity: str | None
) -> None:
    (posted,) = invoice(line(1, "3.00", "3", unit=unit, base_quantity=stated)).lines
    assert posted.base_quantity == (None if base_quantity is None else Decimal(base_quantity))


def test_a_line_without_a_product_has_no_base_quantity() -> None:
    (posted,) = post_invoice(IN_EUROS, [line(1, "5.00", "1", "5.00")], [None])
    assert posted.lines[0].base_quantity is None


@pytest.mark.parametrize("net_amount", ["10.00", "9.99", "10.01"])
def test_a_line_adds_up_give_or_take_one_minor_unit(net_amount: str) -> None:
    assert invoice(line(1, net_amount, "4", "3.00", "2.00")).lines[0].net_amount == Decimal(net_amount)


@pytest.mark.parametrize("net_amount", ["9.989999", "10.010001", "-10.00"])
def test_a_line_that_does_not_add_up_is_refused(net_amount: str) -> None:
    refused = document.when(
        lambda: post_invoice(IN_EUROS, [line(1, "1.00"), line(2, net_amount, "4", "3.00", "2.00")], [FLOUR, FLOUR])
    )
    refused.then_refused(LineDoesNotAddUp, pointer="/lines/1/net_amount")


def test_the_tolerance_is_that_of_the_currency() -> None:
    to_euros = ExchangeRate(
        base="JPY", quote="EUR", rate=Decimal("0.006"), kind=RateKind.DAILY, source="ECB", quoted_on=IN_JANUARY
    )
    in_yen = heading("JPY", to_euros)
    assert revenue(invoice(line(1, "101", "1", "100"), under=in_yen)) == Decimal("0.61")


def test_a_document_has_a_line() -> None:
    document.when(lambda: post_invoice(IN_EUROS, [], [])).then_refused(DocumentHasNoLines, pointer="/lines")
    document.given(TWO_LINES).when(take_back()).then_refused(DocumentHasNoLines, pointer="/lines")


def test_a_document_has_at_most_2_000_lines_and_stays_below_a_mebibyte() -> None:
    usual = StatedLine(
        line_no=1,
        net_amount=Decimal("1234567.89"),
        quantity=Decimal("12345.5"),
        description="A description of goods as long as the longest of the real ones is",
        unit="piece",
        unit_price=Decimal("100.000001"),
        discount=Decimal("17.50"),
        ordered_on=IN_JANUARY,
        delivered_on=IN_JANUARY,
        contract_line="4711",
    )
    lines = [replace(usual, line_no=number, unit_price=None) for number in range(1, LINES_MAX + 2)]
    posted = invoice(*lines[:LINES_MAX], under=IN_DOLLARS)
    assert len(TypeAdapter(InvoicePosted).dump_json(posted)) < EVENT_BYTES_MAX
    one_more = document.when(lambda: post_invoice(IN_EUROS, lines, [FLOUR] * len(lines)))
    one_more.then_refused(DocumentHasTooManyLines, pointer="/lines")


@pytest.mark.parametrize("numbers", [(1, 2, 1), (1, 2, 0)], ids=["twice", "the whole document"])
def test_no_two_lines_have_the_same_number(numbers: tuple[int, ...]) -> None:
    lines = [line(number, "1.00") for number in numbers]
    repeated = document.when(lambda: post_invoice(IN_EUROS, lines, [FLOUR] * len(lines)))
    repeated.then_refused(LineNumberIsRepeated, pointer="/lines/2/line_no")


def test_no_line_is_credited_twice_by_one_credit_note() -> None:
    twice = document.given(TWO_LINES).when(take_back(credit(1, "1.00"), credit(1, "1.00")))
    twice.then_refused(LineNumberIsRepeated, pointer="/lines/1/line_no")


# Exchange rates


@pytest.mark.parametrize(
    ("currency", "rate", "refusal", "pointer"),
    [
        ("USD", None, ExchangeRateIsMissing, "/exchange_rate"),
        ("EUR", dollars_to_euros("0.92"), ExchangeRateIsNotNeeded, "/exchange_rate"),
        ("GBP", dollars_to_euros("0.92"), ExchangeRateIsForOtherCurrencies, "/exchange_rate"),
        ("USD", replace(dollars_to_euros("1"), base="EUR", quote="USD"), ExchangeRateIsForOtherCurrencies, None),
        ("USD", dollars_to_euros("0"), ExchangeRateIsNotPositive, "/exchange_rate/rate"),
        ("USD", dollars_to_euros("-0.92"), ExchangeRateIsNotPositive, "/exchange_rate/rate"),
    ],
    ids=["missing", "not needed", "other currencies", "the wrong way round", "zero", "negative"],
)
def test_a_document_has_the_rate_it_needs_and_no_other(
    currency: str, rate: ExchangeRate | None, refusal: type[ExchangeRateIsMissing], pointer: str | None
) -> None:
    stated = heading(currency, rate)
    pointer = pointer or "/exchange_rate"
    document.when(lambda: post_invoice(stated, [line(1, "1.00")], [FLOUR])).then_refused(refusal, pointer=pointer)
    adjusting = document.when(lambda: post_adjustment(stated, Decimal(1), AdjustmentReason.ROUNDING))
    adjusting.then_refused(refusal, pointer=pointer)


def test_amounts_are_rounded_line_by_line_halves_away_from_zero() -> None:
    at_half = in_dollars("0.5")
    posted = invoice(line(1, "0.01"), line(2, "0.01"), line(3, "-0.01"), line(4, "-0.001"), under=at_half)
    assert [str(each.reporting_amount) for each in posted.lines] == ["0.01", "0.01", "-0.01", "0.00"]


def test_an_amount_fits_the_reporting_currency_too() -> None:
    at_a_thousand = in_dollars("1000")
    too_large = line(1, "1000000000000")
    document.when(lambda: post_invoice(at_a_thousand, [too_large], [FLOUR])).then_refused(AmountIsTooLarge)
    assert revenue(invoice(replace(too_large, net_amount=Decimal("999999999999.99")), under=at_a_thousand)) == (
        Decimal("999999999999990.00")
    )


def test_what_is_credited_on_the_whole_fits_too() -> None:
    large = "900000000000000.00"
    posted = invoice(line(1, large), line(2, large), under=in_dollars("0.001"))
    (credited,) = take_back(credit(0, large))(document.given(posted).state)
    document.given(posted, credited).when(take_back(credit(0, large))).then_refused(AmountIsTooLarge)


def test_v15_what_was_posted_at_a_rate_stays_when_rates_change() -> None:
    january = in_dollars("0.90")
    posted = invoice(line(1, "1000.00"), under=january)
    june = heading("USD", dollars_to_euros("0.80", date(2026, 6, 1)))
    assert (revenue(posted), revenue(invoice(line(1, "1000.00"), under=june))) == (Decimal(900), Decimal(800))


# Crediting and cancelling an invoice


def test_v16_a_cancelled_invoice_leaves_nothing_although_rates_have_changed() -> None:
    (credited,) = take_back(credit(1, "200.00", "20"))(document.given(TWO_LINES_IN_DOLLARS).state)
    (cancelled,) = cancel(document.given(TWO_LINES_IN_DOLLARS, credited).state)
    assert (revenue(TWO_LINES_IN_DOLLARS), revenue(credited)) == (Decimal("1288.00"), Decimal("-184.00"))
    assert revenue(TWO_LINES_IN_DOLLARS, credited, cancelled) == Decimal("0.00")


def test_a_credit_note_on_an_invoice_takes_its_rate_customer_products_and_countries() -> None:
    posted = invoice(line(5, "100.00", "4", base_quantity="100", ship_to_country="AT"), under=IN_DOLLARS)
    document.given(posted).when(take_back(credit(5, "25.00", "1"))).then(
        InvoiceCredited(
            **on_the_invoice(IN_DOLLARS, CREDIT_NOTE),
            lines=(
                RevenueLine(
                    line_no=5,
                    net_amount=Decimal("-25.00"),
                    reporting_amount=Decimal("-23.00"),
                    quantity=Decimal(-1),
                    base_quantity=Decimal(-25),
                    product_id=ProductId(UUID(int=1)),
                    ship_to_country="AT",
                ),
            ),
            credit_reason=CreditReason.RETURN,
        )
    )


def test_a_cancellation_takes_back_what_is_still_open() -> None:
    (credited,) = take_back(credit(1, "1000.00", "100"))(document.given(TWO_LINES).state)
    document.given(TWO_LINES, credited).when(cancel).then(
        InvoiceCancelled(
            **on_the_invoice(IN_EUROS, CANCELLATION),
            lines=(
                RevenueLine(
                    line_no=2,
                    net_amount=Decimal("-400.00"),
                    reporting_amount=Decimal("-400.00"),
                    quantity=Decimal(-50),
                    base_quantity=Decimal(-50),
                    product_id=ProductId(UUID(int=1)),
                    ship_to_country="DE",
                ),
            ),
        )
    )


def test_an_invoice_of_which_nothing_is_open_is_cancelled_all_the_same() -> None:
    (credited,) = take_back(credit(1, "1000.00", "100"), credit(2, "400.00", "50"))(document.given(TWO_LINES).state)
    empty = InvoiceCancelled(**on_the_invoice(IN_EUROS, CANCELLATION), lines=())
    document.given(TWO_LINES, credited).when(cancel).then(empty)


def test_what_was_given_away_is_taken_back_too() -> None:
    (cancelled,) = cancel(document.given(invoice(line(1, "0.00", "12", "0"))).state)
    assert [(each.quantity, each.net_amount) for each in cancelled.lines] == [(Decimal(-12), Decimal(0))]


@pytest.mark.parametrize("net_amount", ["400.01", "-0.01"])
def test_no_more_is_credited_than_is_open_on_the_line(net_amount: str) -> None:
    refused = document.given(TWO_LINES).when(take_back(credit(1, "1.00"), credit(2, net_amount)))
    refused.then_refused(CreditExceedsOpenAmount, pointer="/lines/1/net_amount")


def test_what_was_credited_before_is_not_open_any_more() -> None:
    (credited,) = take_back(credit(2, "300.00", "30"))(document.given(TWO_LINES).state)
    after = document.given(TWO_LINES, credited)
    after.when(take_back(credit(2, "100.01"))).then_refused(CreditExceedsOpenAmount, pointer="/lines/0/net_amount")
    after.when(take_back(credit(2, "0", "21"))).then_refused(CreditExceedsOpenQuantity, pointer="/lines/0/quantity")


@pytest.mark.parametrize("quantity", ["100.5", "-1"])
def test_no_more_is_taken_back_than_was_delivered(quantity: str) -> None:
    refused = document.given(TWO_LINES).when(take_back(credit(1, "1.00", quantity)))
    refused.then_refused(CreditExceedsOpenQuantity, pointer="/lines/0/quantity")


def test_a_negative_line_is_credited_in_its_sign() -> None:
    posted = invoice(line(1, "-30.00", "-3", "10.00"))
    refused = document.given(posted).when(take_back(credit(1, "30.00")))
    refused.then_refused(CreditExceedsOpenAmount, pointer="/lines/0/net_amount")
    (credited,) = take_back(credit(1, "-10.00", "-1"))(document.given(posted).state)
    assert revenue(posted, credited) == Decimal(-20)


def test_a_credit_names_a_line_of_the_invoice() -> None:
    refused = document.given(TWO_LINES).when(take_back(credit(3, "1.00")))
    refused.then_refused(InvoiceHasNoSuchLine, pointer="/lines/0/line_no")


def test_a_cancelled_invoice_is_neither_credited_nor_cancelled_again() -> None:
    (cancelled,) = cancel(document.given(TWO_LINES).state)
    after = document.given(TWO_LINES, cancelled)
    after.when(cancel).then_refused(InvoiceIsCancelled)
    after.when(take_back(credit(1, "1.00"))).then_refused(InvoiceIsCancelled)


def test_roundings_do_not_add_up_over_many_credit_notes() -> None:
    at_half = in_dollars("0.5")
    events: list[SalesDocumentEvent] = [invoice(line(1, "0.03"), under=at_half)]
    for _ in range(3):
        events += take_back(credit(1, "0.01"))(document.given(*events).state)
    assert [revenue(event) for event in events] == [Decimal("0.02"), Decimal("-0.01"), Decimal(0), Decimal("-0.01")]


def test_base_quantities_are_taken_back_in_proportion_and_without_a_remainder() -> None:
    events: list[SalesDocumentEvent] = [invoice(line(1, "3.00", "3", base_quantity="10"))]
    for _ in range(3):
        events += take_back(credit(1, "1.00", "1"))(document.given(*events).state)
    assert [str(event.lines[0].base_quantity) for event in events] == ["10", "-3.333333", "-3.333333", "-3.333334"]


def test_a_quantity_in_the_base_unit_is_taken_back_as_it_is_stated() -> None:
    (credited,) = take_back(credit(1, "10.00", "1"))(document.given(TWO_LINES).state)
    assert str(credited.lines[0].base_quantity) == "-1"


def test_where_no_base_quantity_is_known_none_is_taken_back() -> None:
    posted = invoice(line(1, "3.00", "3", unit="sack"))
    (credited,) = take_back(credit(1, "1.00", "1"))(document.given(posted).state)
    (cancelled,) = cancel(document.given(posted, credited).state)
    assert [each.lines[0].base_quantity for each in (credited, cancelled)] == [None, None]


def test_a_price_correction_takes_back_no_quantity() -> None:
    posted = invoice(line(1, "3.00", "3", base_quantity="10"))
    (credited,) = take_back(credit(1, "1.00"), reason=CreditReason.PRICE_CORRECTION)(document.given(posted).state)
    assert [(each.quantity, each.base_quantity) for each in credited.lines] == [(Decimal(0), Decimal(0))]


def test_a_cash_discount_is_credited_on_the_invoice_as_a_whole() -> None:
    discount = take_back(credit(0, "28.00"), reason=CreditReason.CASH_DISCOUNT)
    document.given(TWO_LINES_IN_DOLLARS).when(discount).then(
        InvoiceCredited(
            **on_the_invoice(IN_DOLLARS, CREDIT_NOTE),
            lines=(
                RevenueLine(
                    line_no=0,
                    net_amount=Decimal("-28.00"),
                    reporting_amount=Decimal("-25.76"),
                    quantity=Decimal(0),
                    base_quantity=None,
                    product_id=None,
                    ship_to_country="DE",
                ),
            ),
            credit_reason=CreditReason.CASH_DISCOUNT,
        )
    )


@pytest.mark.parametrize(
    "notes",
    [
        [(0, "2.00")],
        [(0, "1.00"), (0, "1.00")],
        [(0, "0.50"), (1, "1.00"), (0, "0.50")],
        [(1, "1.00"), (0, "1.00")],
        [(1, "1.00"), (2, "1.00")],
        [(0, "0.70"), (1, "0.30"), (2, "1.00")],
    ],
)
def test_of_an_invoice_on_which_nothing_is_open_nothing_is_left_however_it_was_credited(
    notes: list[tuple[int, str]],
) -> None:
    posted = invoice(line(1, "1.00"), line(2, "1.00"), under=heading("USD", dollars_to_euros("0.925")))
    events: list[SalesDocumentEvent] = [posted]
    for line_no, amount in notes:
        events.extend(take_back(credit(line_no, amount))(document.given(*events).state))
    assert revenue(*events) == Decimal(0)


def test_a_cent_of_rounding_is_taken_back_on_the_whole() -> None:
    posted = invoice(line(1, "1.00"), line(2, "1.00"), under=heading("USD", dollars_to_euros("0.925")))
    (credited,) = take_back(credit(0, "2.00"))(document.given(posted).state)
    assert [(each.line_no, each.net_amount, each.reporting_amount) for each in credited.lines] == [
        (0, Decimal("-2.00"), Decimal("-1.86"))
    ]
    both_signs = invoice(
        *(line(number, amount) for number, amount in enumerate(("4.00", "-1.00", "-1.00"), 1)),
        under=heading("USD", dollars_to_euros("0.925")),
    )
    (credited,) = take_back(credit(1, "2.00"))(document.given(both_signs).state)
    assert [(each.line_no, each.net_amount, each.reporting_amount) for each in credited.lines] == [
        (1, Decimal("-2.00"), Decimal("-1.85")),
        (0, Decimal(0), Decimal("0.01")),
    ]
    (again,) = take_back(credit(1, "2.00"))(document.given(both_signs, credited).state)
    (cancelled,) = cancel(document.given(both_signs, credited, again).state)
    assert revenue(both_signs, credited, again, cancelled) == 0


def test_no_more_is_credited_on_the_whole_than_is_open_on_it() -> None:
    posted = document.given(TWO_LINES)
    refused = posted.when(take_back(credit(0, "1400.01")))
    refused.then_refused(CreditExceedsOpenAmount, pointer="/lines/0/net_amount")
    refused = posted.when(take_back(credit(1, "1000.00"), credit(0, "400.01")))
    refused.then_refused(CreditExceedsOpenAmount, pointer="/lines")
    refused = posted.when(take_back(credit(0, "1.00", "1")))
    refused.then_refused(CreditExceedsOpenQuantity, pointer="/lines/0/quantity")


def test_after_a_discount_on_the_whole_lines_are_credited_up_to_what_was_paid() -> None:
    (discounted,) = take_back(credit(0, "28.00"))(document.given(TWO_LINES).state)
    after = document.given(TWO_LINES, discounted)
    after.when(take_back(credit(1, "1000.00"), credit(2, "400.00"))).then_refused(
        CreditExceedsOpenAmount, pointer="/lines"
    )
    (credited,) = take_back(credit(1, "980.00"), credit(2, "392.00"))(after.state)
    assert revenue(TWO_LINES, discounted, credited) == 0


def test_a_cancellation_takes_back_a_discount_on_the_whole_too() -> None:
    (discounted,) = take_back(credit(0, "28.00"))(document.given(TWO_LINES_IN_DOLLARS).state)
    events = (TWO_LINES_IN_DOLLARS, discounted, *cancel(document.given(TWO_LINES_IN_DOLLARS, discounted).state))
    assert totals(events) == dict.fromkeys((0, 1, 2), NOTHING)


# Credit notes that name no invoice, and adjustments

credit_note = partial(
    post_credit_note, credit_reason=CreditReason.ANNUAL_BONUS, invoice_unknown_because="for the whole year"
)


def test_a_bonus_names_neither_an_invoice_nor_a_product() -> None:
    bonus = StatedLine(line_no=1, net_amount=Decimal("500.00"), description="Bonus 2025")
    document.when(lambda: credit_note(IN_DOLLARS, [bonus], [None])).then(
        CreditNotePosted(
            **IN_DOLLARS,
            lines=(
                DocumentLine(
                    line_no=1,
                    net_amount=Decimal("-500.00"),
                    reporting_amount=Decimal("-460.00"),
                    quantity=Decimal(0),
                    base_quantity=None,
                    product_id=None,
                    ship_to_country="DE",
                    description="Bonus 2025",
                ),
            ),
            credit_reason=CreditReason.ANNUAL_BONUS,
            invoice_unknown_because="for the whole year",
        )
    )


def test_what_a_credit_note_takes_back_is_stored_negative_and_still_adds_up() -> None:
    (posted,) = credit_note(IN_EUROS, [line(1, "11.00", "3", "4.00", "1.00")], [YEAST])
    (each,) = posted.lines
    assert each.unit_price is not None
    assert (each.quantity, each.base_quantity, each.discount) == (Decimal(-3), Decimal(-3), Decimal("-1.00"))
    assert each.quantity * each.unit_price - each.discount == each.net_amount == each.reporting_amount == Decimal(-11)


def test_a_credit_note_is_stated_in_positive_amounts_on_the_whole() -> None:
    with_a_fee = [line(1, "50.00"), line(2, "-5.00")]
    assert revenue(*credit_note(IN_EUROS, with_a_fee, [FLOUR, None])) == Decimal(-45)
    signed = document.when(lambda: credit_note(IN_EUROS, [line(1, "-50.00", "-1")], [FLOUR]))
    signed.then_refused(CreditNoteIsNegative, pointer="/lines")


@pytest.mark.parametrize(("amount", "worth"), [("-100.00", "-92.00"), ("100.00", "92.00")])
def test_an_adjustment_goes_up_or_down_without_a_product(amount: str, worth: str) -> None:
    document.when(lambda: post_adjustment(IN_DOLLARS, Decimal(amount), AdjustmentReason.BAD_DEBT)).then(
        AdjustmentPosted(
            **IN_DOLLARS,
            lines=(
                RevenueLine(
                    line_no=0,
                    net_amount=Decimal(amount),
                    reporting_amount=Decimal(worth),
                    quantity=Decimal(0),
                    base_quantity=None,
                    product_id=None,
                    ship_to_country="DE",
                ),
            ),
            adjustment_reason=AdjustmentReason.BAD_DEBT,
        )
    )


@pytest.mark.parametrize(
    "posted",
    [
        *credit_note(IN_EUROS, [line(1, "1.00")], [FLOUR]),
        *post_adjustment(IN_EUROS, Decimal(1), AdjustmentReason.ROUNDING),
    ],
    ids=["credit note", "adjustment"],
)
@pytest.mark.parametrize("decision", [cancel, take_back(credit(1, "1.00"))], ids=["cancel", "credit"])
def test_only_an_invoice_is_credited_or_cancelled(posted: SalesDocumentEvent, decision: Decide) -> None:
    document.given(posted).when(decision).then_refused(DocumentIsNotAnInvoice)


# Streams


def test_a_stream_begins_with_a_posting() -> None:
    with pytest.raises(ValueError, match="begins with its posting"):
        evolve(None, InvoiceCancelled(**on_the_invoice(IN_EUROS, CANCELLATION), lines=()))


def test_a_long_invoice_keeps_only_what_is_open() -> None:
    state = document.given(invoice(*(line(number, "1.00") for number in range(1, 1115)))).state
    assert len(state.open_lines) == 1115
    assert {type(each) for each in state.open_lines} == {RevenueLine}


amounts = st.decimals("-1000", "1000", places=2)
rates = st.decimals("0.000001", "200", places=6).filter(bool)
stated_lines = st.lists(
    st.builds(
        StatedLine,
        line_no=st.just(0),
        net_amount=amounts,
        quantity=st.integers(-5, 5).map(Decimal),
        unit=st.sampled_from([None, "sack"]),
        base_quantity=st.none() | st.decimals("-20", "20", places=3),
    ),
    min_size=1,
    max_size=4,
).map(lambda lines: [replace(each, line_no=number) for number, each in enumerate(lines, start=1)])


@st.composite
def invoices(draw: st.DrawFn) -> InvoicePosted:
    """An invoice in any currency of zero, two or three decimal places, or in the reporting currency."""
    currency, reporting_currency = draw(st.sampled_from(["EUR", "JPY", "KWD"])), draw(st.sampled_from(["EUR", "JPY"]))
    rate = None
    if currency != reporting_currency:
        rate = replace(dollars_to_euros(str(draw(rates))), base=currency, quote=reporting_currency)
    return invoice(*draw(stated_lines), under=heading(currency, rate, reporting_currency))


shares = st.sampled_from([Decimal(0), Decimal("0.1"), Decimal("0.5"), Decimal(1), Decimal("1.01"), Decimal("-0.1")])
wishes = st.lists(st.lists(st.tuples(st.integers(0, 5), shares, shares), max_size=3), max_size=6)


def a_share_of(state: SalesDocument, line_no: int, amount: Decimal, quantity: Decimal) -> Credit:
    """A credit of a share of what is open: between nothing and a little too much."""
    open_lines = {each.line_no: each for each in state.open_lines}
    base = open_lines.get(line_no, open_lines[1])
    whole = sum((each.net_amount for each in state.open_lines), Decimal(0))
    net_amount = (whole if line_no == 0 else base.net_amount) * amount
    return Credit(line_no=line_no, net_amount=round(net_amount, 2), quantity=round(base.quantity * quantity, 3))


def credited_as_wished(
    posted: InvoicePosted, credit_notes: list[list[tuple[int, Decimal, Decimal]]]
) -> list[SalesDocumentEvent]:
    """The invoice and those of the credit notes that are not refused."""
    events: list[SalesDocumentEvent] = [posted]
    state = document.given(posted).state
    for wished in credit_notes:
        credits_ = [a_share_of(state, *each) for each in wished]
        with (
            suppress(DocumentHasNoLines, LineNumberIsRepeated, InvoiceHasNoSuchLine),
            suppress(CreditExceedsOpenAmount, CreditExceedsOpenQuantity),
        ):
            (credited,) = take_back(*credits_)(state)
            events.append(credited)
            state = evolve(state, credited)
    return events


@settings(max_examples=50)
@given(invoices(), wishes)
def test_credits_never_exceed_what_was_posted(
    posted: InvoicePosted, credit_notes: list[list[tuple[int, Decimal, Decimal]]]
) -> None:
    events = credited_as_wished(posted, credit_notes)
    left, posted_totals = totals(events), totals([posted])
    for line_no, whole in posted_totals.items():
        for part, all_of_it in zip(left[line_no], whole, strict=True):
            assert 0 <= part <= all_of_it or all_of_it <= part <= 0
    whole_document = [sum(total[0] for total in each.values()) for each in (left, posted_totals)]
    if 0 in left and all(line.net_amount >= 0 for line in posted.lines):
        # Where lines have both signs, crediting one of them alone may leave more than the whole, or less than nothing.
        assert 0 <= whole_document[0] <= whole_document[1]


@settings(max_examples=100)
@given(invoices(), wishes)
def test_when_nothing_is_open_after_a_credit_nothing_is_left(
    posted: InvoicePosted, credit_notes: list[list[tuple[int, Decimal, Decimal]]]
) -> None:
    events = credited_as_wished(posted, [*credit_notes, [(0, Decimal(1), Decimal(0))]])
    if len(events) > 1 and sum(total[0] for total in totals(events).values()) == 0:
        assert sum(total[1] for total in totals(events).values()) == 0


@settings(max_examples=100)
@given(invoices(), wishes)
def test_any_sequence_of_credits_and_a_cancellation_leaves_nothing_of_any_line(
    posted: InvoicePosted, credit_notes: list[list[tuple[int, Decimal, Decimal]]]
) -> None:
    events = credited_as_wished(posted, credit_notes)
    cancelled = cancel(document.given(*events).state)
    assert all(total == NOTHING for total in totals([*events, *cancelled]).values())
    assert document.given(*events, *cancelled).state.is_cancelled


@settings(max_examples=50)
@given(invoices(), wishes)
def test_the_state_after_any_sequence_is_what_is_left_of_each_line(
    posted: InvoicePosted, credit_notes: list[list[tuple[int, Decimal, Decimal]]]
) -> None:
    events = credited_as_wished(posted, credit_notes)
    state = document.given(*events).state
    left = totals(events)
    unit = minor_unit(posted.reporting_currency)
    for each in state.open_lines:
        open_amounts = (each.net_amount, each.reporting_amount, each.quantity, each.base_quantity or Decimal(0))
        assert open_amounts == left.get(each.line_no, NOTHING)
        assert each.reporting_amount == each.reporting_amount.quantize(unit)
