"""Sales documents: invoices, what is credited on them, their cancellation, and adjustments; the source of all revenue.

Every document posts *revenue lines*. What takes revenue back (credit notes, cancellations) stores negative quantities
and amounts, so that revenue is the plain sum of `reporting_amount` over all lines of all documents, in any selection.

Rules

* No two documents of one type (invoice, credit note, cancellation, adjustment) have the same number of one source.
* A document has at least one line and at most 2,000; no two of its lines have the same number.
* Where a line has a unit price, quantity x unit price - discount is its net amount, give or take one minor unit of the
  document's currency: sources round the price, the discount or the product. The net amount is what counts.
* Prices may be zero, quantities negative, products repeated or absent, and lines may go to several countries.
* A document that is not in the reporting currency has the exchange rate from its currency to the reporting currency,
  greater than zero; any other document has none.
* Amounts in the reporting currency are rounded line by line when they are posted, halves away from zero, and stay.
* A credit note names an invoice, or says why it names none. One that names an invoice is booked with the invoice.
* What is credited on a line of an invoice is at most what is open on it, of the quantity and of the amount, and has
  its sign. A cash discount or a bonus may be credited on the invoice as a whole, as line 0, which has no product; from
  then on no credit note takes back more than is open on the whole invoice.
* What is taken back from an invoice is taken back at the invoice's rate: what remains open on a line is always worth
  its open amount at that rate, rounded. When a credit note leaves nothing open on the invoice, nothing is left of it in
  either currency: what the roundings of its lines would leave is taken back on the whole, as line 0.
* Base quantities are taken back in proportion to the quantity.
* A cancellation takes back all that is still open. A cancelled invoice is neither credited nor cancelled again.
* A credit note that names no invoice states what it takes back as positive amounts; their sum is not negative.
* An adjustment moves a customer's revenue up or down and has no product.
* Invoices are posted to customers who accept postings; what takes revenue back and what adjusts it is always booked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from typing import Annotated, TypeAlias, TypedDict, TypeVar

from domain.errors import NotFound, Refusal
from domain.product import Product
from domain.values import CustomerId, Exact, ExactDecimal, ProductId, immutable, minor_unit, rounded

RateNumber: TypeAlias = Annotated[Decimal, Exact(digits=9, places=12)]
"""An exchange rate, with places enough for one rupiah in dinars."""


class RateKind(StrEnum):
    """Whether an exchange rate is that of one day or the average of a month."""

    DAILY = "daily"
    MONTHLY_AVERAGE = "monthly_average"


class CreditReason(StrEnum):
    """For what a customer is credited."""

    RETURN = "return"
    PRICE_CORRECTION = "price_correction"
    ANNUAL_BONUS = "annual_bonus"
    CASH_DISCOUNT = "cash_discount"
    GOODWILL = "goodwill"
    BAD_DEBT = "bad_debt"


class AdjustmentReason(StrEnum):
    """Why revenue is adjusted without a product."""

    BAD_DEBT = "bad_debt"
    GOODWILL = "goodwill"
    ROUNDING = "rounding"
    CORRECTION = "correction"


@immutable
class ExchangeRate:
    """A unit of `base` was worth `rate` of `quote`, says `source` (a bank, a rate table) for one day or its month."""

    base: str
    quote: str
    rate: RateNumber
    kind: RateKind
    source: str
    quoted_on: date


@immutable
class RevenueLine:
    """What one line of a document adds to revenue: net of tax and discount, negative where revenue is taken back.

    `net_amount` is in the document's currency. `reporting_amount` is in the reporting currency, in whole minor units,
    converted and rounded when it was posted and never again. `base_quantity` counts base units of the product and is
    absent where nobody knows it. A line without a product belongs to the customer alone; line 0 is the document as a
    whole.
    """

    line_no: int
    net_amount: ExactDecimal
    reporting_amount: ExactDecimal
    quantity: ExactDecimal
    base_quantity: ExactDecimal | None = None
    product_id: ProductId | None = None
    ship_to_country: str


@immutable
class DocumentLine(RevenueLine):
    """A revenue line as the document states it: quantity x unit price - discount = net amount.

    `description` and `unit` are those of the source; `unit_price` and `discount` are in the document's currency. A
    credited sum that nobody has multiplied out has no unit price.
    """

    unit_price: ExactDecimal | None = None
    discount: ExactDecimal = Decimal(0)
    unit: str | None = None
    description: str | None = None
    ordered_on: date | None = None
    delivered_on: date | None = None
    contract_line: str | None = None


@immutable
class Posting:
    """What every posted document says about itself.

    `document_number` is unique per `source` (absent: our own numbers) and type of document. `posted_on` is the day that
    the revenue counts for, `document_date` the one printed on it. `exchange_rate` is the one that was used, absent
    where the document is in the reporting currency. `ship_to_country` is the document's; each line carries its own.
    """

    document_number: str
    source: str | None = None
    customer_id: CustomerId
    document_date: date
    posted_on: date
    currency: str
    reporting_currency: str
    exchange_rate: ExchangeRate | None = None
    ship_to_country: str


@immutable
class InvoicePosted(Posting):
    """A customer owes for goods or services. `contract` is the number of the contract they were called off from."""

    lines: tuple[DocumentLine, ...]
    contract: str | None = None


@immutable
class InvoiceCredited(Posting):
    """A credit note takes back some of this invoice, at the invoice's rate; line numbers are the invoice's, or 0."""

    lines: tuple[RevenueLine, ...]
    credit_reason: CreditReason


@immutable
class InvoiceCancelled(Posting):
    """All that was still open on this invoice is taken back, at the invoice's rate; line numbers are the invoice's."""

    lines: tuple[RevenueLine, ...]


@immutable
class CreditNotePosted(Posting):
    """A credit note that names no invoice; `invoice_unknown_because` says why it does not, never about a person."""

    lines: tuple[DocumentLine, ...]
    credit_reason: CreditReason
    invoice_unknown_because: str


@immutable
class AdjustmentPosted(Posting):
    """Revenue of a customer is adjusted, up or down, without a product: line 0 alone, which has no quantity."""

    lines: tuple[RevenueLine, ...]
    adjustment_reason: AdjustmentReason


SalesDocumentEvent: TypeAlias = InvoicePosted | InvoiceCredited | InvoiceCancelled | CreditNotePosted | AdjustmentPosted


class SalesDocumentNotFound(NotFound):
    """There is no sales document of this id or number."""


class DocumentNumberIsTaken(Refusal):
    """No two documents of one type have the same number of one source."""


class DocumentHasNoLines(Refusal):
    """A document has at least one line."""


class DocumentHasTooManyLines(Refusal):
    """A document has at most 2,000 lines."""


class LineNumberIsRepeated(Refusal):
    """No two lines of a document have the same number."""


class LineDoesNotAddUp(Refusal):
    """Quantity x unit price - discount is the net amount of a line, give or take one minor unit of the currency."""


class ExchangeRateIsMissing(Refusal):
    """A document that is not in the reporting currency has an exchange rate."""


class ExchangeRateIsNotNeeded(Refusal):
    """A document in the reporting currency has no exchange rate."""


class ExchangeRateIsForOtherCurrencies(Refusal):
    """The exchange rate of a document leads from its currency to the reporting currency."""


class ExchangeRateIsNotPositive(Refusal):
    """An exchange rate is greater than zero."""


class AmountIsTooLarge(Refusal):
    """An amount has at most 15 digits before the point, in the reporting currency too."""


class DocumentIsNotAnInvoice(Refusal):
    """Only an invoice is credited or cancelled."""


class InvoiceIsCancelled(Refusal):
    """A cancelled invoice is neither credited nor cancelled again."""


class InvoiceHasNoSuchLine(Refusal):
    """What is credited on an invoice names a line of that invoice."""


class CreditExceedsOpenAmount(Refusal):
    """The amount credited on a line is at most the open amount of that line, and has its sign.

    The same holds of the invoice as a whole, once something was credited on it as a whole.
    """


class CreditExceedsOpenQuantity(Refusal):
    """The quantity credited on a line is at most the open quantity of that line, and has its sign."""


class CreditNoteIsNegative(Refusal):
    """A credit note states what it takes back as positive amounts; their sum is not negative."""


LINES_MAX = 2_000
"""The largest real invoice known to us has 1,114 lines and 264 kB as an event; an event holds 1 MiB."""

WHOLE_DOCUMENT = 0
"""The line number of what belongs to a document and to none of its lines."""

AMOUNT_LIMIT = Decimal(10) ** 15
"""`ExactDecimal` has room for the amounts below it."""

_EXACT = Context(prec=60)
"""Multiplies any two numbers that documents may hold without rounding."""

_LAST_PLACE = Decimal("0.000001")
_ZERO = Decimal(0)

Line = TypeVar("Line", bound=RevenueLine)


class Voucher(TypedDict):
    """What a document has of its own, even if it takes back another one."""

    document_number: str
    source: str | None
    document_date: date
    posted_on: date


class Heading(Voucher):
    """The fields of a `Posting`, to begin one with."""

    customer_id: CustomerId
    currency: str
    reporting_currency: str
    exchange_rate: ExchangeRate | None
    ship_to_country: str


@immutable
class StatedLine:
    """A line as its sender states it; what a credit note takes back is stated in positive amounts.

    Line numbers begin with 1. `product` names a product. `base_quantity` counts base units of the product; where it is
    absent, a quantity without a unit or in the base unit is taken for it. Absent, `ship_to_country` is the document's.
    """

    line_no: int
    net_amount: ExactDecimal
    quantity: ExactDecimal = _ZERO
    unit_price: ExactDecimal | None = None
    discount: ExactDecimal = _ZERO
    product: str | None = None
    description: str | None = None
    unit: str | None = None
    base_quantity: ExactDecimal | None = None
    ordered_on: date | None = None
    delivered_on: date | None = None
    contract_line: str | None = None
    ship_to_country: str | None = None


NamedProduct: TypeAlias = tuple[ProductId, Product] | None
"""The product that a line names, or None for a line that names none."""


@immutable
class Credit:
    """What a credit note takes back from a line of an invoice, or from the whole; a mere reduction has no quantity."""

    net_amount: ExactDecimal
    quantity: ExactDecimal = _ZERO
    line_no: int = WHOLE_DOCUMENT


@immutable
class SalesDocument:
    """What the rules ask about a document: of an invoice, what is open on each line; of any other, nothing."""

    is_invoice: bool
    customer_id: CustomerId
    currency: str
    reporting_currency: str
    exchange_rate: ExchangeRate | None = None
    ship_to_country: str
    is_cancelled: bool = False
    open_lines: tuple[RevenueLine, ...] = ()

    def credit(
        self, credits_: Sequence[Credit], voucher: Voucher, credit_reason: CreditReason
    ) -> tuple[InvoiceCredited]:
        """Take back some of an invoice, at its own rate."""
        self._must_be_an_open_invoice()
        _must_be_well_numbered([credit.line_no for credit in credits_])
        heading = self._heading(voucher)
        open_lines = {line.line_no: line for line in self.open_lines}
        open_amount = sum((line.net_amount for line in self.open_lines), _ZERO)
        lines = []
        for index, credit in enumerate(credits_):
            line = open_lines.get(credit.line_no)
            if line is None:
                raise InvoiceHasNoSuchLine(pointer=f"/lines/{index}/line_no")
            _must_be_open(credit, line, index, open_amount if credit.line_no == WHOLE_DOCUMENT else line.net_amount)
            lines.append(_credited(credit, line, heading))
        if open_lines[WHOLE_DOCUMENT].net_amount or any(line.line_no == WHOLE_DOCUMENT for line in lines):
            credited = sum((credit.net_amount for credit in credits_), _ZERO)
            if not _is_part(credited, open_amount):
                raise CreditExceedsOpenAmount(pointer="/lines", open_amount=open_amount)
        rounded_off = self._without_rounding_left(lines)
        return (InvoiceCredited(**heading, lines=rounded_off, credit_reason=credit_reason),)

    def cancel(self, voucher: Voucher) -> tuple[InvoiceCancelled]:
        """Take back all that is still open on an invoice, so that nothing is left of it in either currency."""
        self._must_be_an_open_invoice()
        lines = tuple(_taken_back(line) for line in self.open_lines if _is_open(line))
        return (InvoiceCancelled(**self._heading(voucher), lines=lines),)

    def _without_rounding_left(self, credited: Sequence[RevenueLine]) -> tuple[RevenueLine, ...]:
        """The lines of a credit note; if they leave nothing open, nothing is left in the reporting currency either."""
        every = (*self.open_lines, *credited)
        rounding = sum((line.reporting_amount for line in every), _ZERO)
        if rounding == 0 or sum((line.net_amount for line in every), _ZERO) != 0:
            return tuple(credited)
        lines = {line.line_no: line for line in credited}
        whole = lines.get(WHOLE_DOCUMENT) or _whole(self.ship_to_country)
        lines[WHOLE_DOCUMENT] = replace(whole, reporting_amount=whole.reporting_amount - rounding)
        return tuple(lines.values())

    def _must_be_an_open_invoice(self) -> None:
        if not self.is_invoice:
            raise DocumentIsNotAnInvoice
        if self.is_cancelled:
            raise InvoiceIsCancelled

    def _heading(self, voucher: Voucher) -> Heading:
        return Heading(
            **voucher,
            customer_id=self.customer_id,
            currency=self.currency,
            reporting_currency=self.reporting_currency,
            exchange_rate=self.exchange_rate,
            ship_to_country=self.ship_to_country,
        )


def post_invoice(
    heading: Heading, lines: Sequence[StatedLine], products: Sequence[NamedProduct], *, contract: str | None = None
) -> tuple[InvoicePosted]:
    """Begin an invoice; `products` are those that the lines name, in the same order.

    A claim makes its number unique: that no other invoice has it cannot be seen from one stream.
    """
    return (InvoicePosted(**heading, lines=_posted(heading, lines, products), contract=contract),)


def post_credit_note(
    heading: Heading,
    lines: Sequence[StatedLine],
    products: Sequence[NamedProduct],
    *,
    credit_reason: CreditReason,
    invoice_unknown_because: str,
) -> tuple[CreditNotePosted]:
    """Begin a credit note that names no invoice; it is rounded and numbered as an invoice is."""
    if sum((line.net_amount for line in lines), _ZERO) < 0:
        raise CreditNoteIsNegative(pointer="/lines")
    posted = _posted(heading, lines, products)
    taken_back = tuple(replace(_taken_back(line), discount=-line.discount) for line in posted)
    return (
        CreditNotePosted(
            **heading,
            lines=taken_back,
            credit_reason=credit_reason,
            invoice_unknown_because=invoice_unknown_because,
        ),
    )


def post_adjustment(heading: Heading, amount: Decimal, adjustment_reason: AdjustmentReason) -> tuple[AdjustmentPosted]:
    """Begin an adjustment by an amount in the document's currency; a negative one takes revenue back."""
    _must_have_its_rate(heading)
    line = _whole(heading["ship_to_country"], amount, _reported(amount, heading))
    return (AdjustmentPosted(**heading, lines=(line,), adjustment_reason=adjustment_reason),)


def _posted(
    heading: Heading, lines: Sequence[StatedLine], products: Sequence[NamedProduct]
) -> tuple[DocumentLine, ...]:
    _must_have_its_rate(heading)
    _must_be_well_numbered([line.line_no for line in lines], taken={WHOLE_DOCUMENT})
    tolerance = minor_unit(heading["currency"])
    posted = []
    for index, (line, named) in enumerate(zip(lines, products, strict=True)):
        if line.unit_price is not None:
            difference = _EXACT.multiply(line.quantity, line.unit_price) - line.discount - line.net_amount
            if abs(difference) > tolerance:
                raise LineDoesNotAddUp(pointer=f"/lines/{index}/net_amount", difference=difference)
        posted.append(
            DocumentLine(
                line_no=line.line_no,
                net_amount=line.net_amount,
                reporting_amount=_reported(line.net_amount, heading),
                quantity=line.quantity,
                base_quantity=_base_quantity(line, named),
                product_id=None if named is None else named[0],
                ship_to_country=line.ship_to_country or heading["ship_to_country"],
                unit_price=line.unit_price,
                discount=line.discount,
                unit=line.unit,
                description=line.description,
                ordered_on=line.ordered_on,
                delivered_on=line.delivered_on,
                contract_line=line.contract_line,
            )
        )
    return tuple(posted)


def _must_have_its_rate(heading: Heading) -> None:
    currency, reporting_currency = heading["currency"], heading["reporting_currency"]
    rate = heading["exchange_rate"]
    if rate is None:
        if currency != reporting_currency:
            raise ExchangeRateIsMissing(pointer="/exchange_rate", base=currency, quote=reporting_currency)
        return
    if currency == reporting_currency:
        raise ExchangeRateIsNotNeeded(pointer="/exchange_rate")
    if (rate.base, rate.quote) != (currency, reporting_currency):
        raise ExchangeRateIsForOtherCurrencies(pointer="/exchange_rate", base=currency, quote=reporting_currency)
    if rate.rate <= 0:
        raise ExchangeRateIsNotPositive(pointer="/exchange_rate/rate")


def _must_be_well_numbered(numbers: Sequence[int], *, taken: Iterable[int] = ()) -> None:
    if not numbers:
        raise DocumentHasNoLines(pointer="/lines")
    if len(numbers) > LINES_MAX:
        raise DocumentHasTooManyLines(pointer="/lines")
    seen = set(taken)
    for index, number in enumerate(numbers):
        if number in seen:
            raise LineNumberIsRepeated(pointer=f"/lines/{index}/line_no")
        seen.add(number)


def _must_be_open(credit: Credit, line: RevenueLine, index: int, open_amount: Decimal) -> None:
    if not _is_part(credit.net_amount, open_amount):
        raise CreditExceedsOpenAmount(pointer=f"/lines/{index}/net_amount", open_amount=open_amount)
    if not _is_part(credit.quantity, line.quantity):
        raise CreditExceedsOpenQuantity(pointer=f"/lines/{index}/quantity", open_quantity=line.quantity)


def _is_part(part: Decimal, whole: Decimal) -> bool:
    """Whether a part has the sign of the whole and is not greater."""
    return 0 <= part <= whole or whole <= part <= 0


def _is_open(line: RevenueLine) -> bool:
    return bool(line.net_amount or line.reporting_amount or line.quantity or line.base_quantity)


def _reported(amount: Decimal, heading: Heading) -> Decimal:
    """The amount in the reporting currency, at the document's rate, in whole minor units."""
    rate = heading["exchange_rate"]
    exact = amount if rate is None else _EXACT.multiply(amount, rate.rate)
    reported = rounded(exact, heading["reporting_currency"]) + _ZERO  # of -0.00 this makes 0.00
    if abs(amount) >= AMOUNT_LIMIT or abs(reported) >= AMOUNT_LIMIT:
        raise AmountIsTooLarge
    return reported


def _base_quantity(line: StatedLine, named: NamedProduct) -> Decimal | None:
    if line.base_quantity is not None or named is None:
        return line.base_quantity
    _, product = named
    return line.quantity if line.unit is None or line.unit == product.base_unit else None


def _credited(credit: Credit, line: RevenueLine, heading: Heading) -> RevenueLine:
    # Converting what is left, not what is taken, keeps roundings from adding up over many credit notes.
    worth_left = _reported(line.net_amount - credit.net_amount, heading)
    return RevenueLine(
        line_no=line.line_no,
        net_amount=-credit.net_amount,
        reporting_amount=worth_left - line.reporting_amount,
        quantity=-credit.quantity,
        base_quantity=_base_quantity_credited(credit.quantity, line),
        product_id=line.product_id,
        ship_to_country=line.ship_to_country,
    )


def _base_quantity_credited(quantity: Decimal, line: RevenueLine) -> Decimal | None:
    """What is taken back of the base quantity, negated: in proportion, so that nothing is left with the last unit."""
    if line.base_quantity is None or quantity == 0 or line.base_quantity == line.quantity:
        return None if line.base_quantity is None else -quantity
    left = _EXACT.divide(_EXACT.multiply(line.base_quantity, line.quantity - quantity), line.quantity)
    return left.quantize(_LAST_PLACE, rounding=ROUND_HALF_UP) - line.base_quantity


def _taken_back(line: Line) -> Line:
    return replace(
        line,
        net_amount=-line.net_amount,
        reporting_amount=-line.reporting_amount,
        quantity=-line.quantity,
        base_quantity=None if line.base_quantity is None else -line.base_quantity,
    )


def evolve(state: SalesDocument | None, event: SalesDocumentEvent) -> SalesDocument:
    """The document after an event."""
    match event:
        case InvoicePosted():
            return _begun(event, is_invoice=True)
        case CreditNotePosted() | AdjustmentPosted():
            return _begun(event, is_invoice=False)
    if state is None:
        msg = "the stream of a sales document begins with its posting"
        raise ValueError(msg)
    match event:
        case InvoiceCredited(lines=credited):
            taken = {line.line_no: line for line in credited}
            left = [_left(line, taken.get(line.line_no)) for line in state.open_lines]
            return replace(state, open_lines=tuple(left))
        case _:
            return replace(state, is_cancelled=True, open_lines=())


def _begun(event: InvoicePosted | CreditNotePosted | AdjustmentPosted, *, is_invoice: bool) -> SalesDocument:
    return SalesDocument(
        is_invoice=is_invoice,
        customer_id=event.customer_id,
        currency=event.currency,
        reporting_currency=event.reporting_currency,
        exchange_rate=event.exchange_rate,
        ship_to_country=event.ship_to_country,
        open_lines=(_whole(event.ship_to_country), *map(_revenue_line, event.lines)) if is_invoice else (),
    )


def _whole(ship_to_country: str, amount: Decimal = _ZERO, reporting_amount: Decimal = _ZERO) -> RevenueLine:
    """The line of what belongs to a document and to none of its lines."""
    return RevenueLine(
        line_no=WHOLE_DOCUMENT,
        net_amount=amount,
        reporting_amount=reporting_amount,
        quantity=_ZERO,
        base_quantity=None,
        product_id=None,
        ship_to_country=ship_to_country,
    )


def _revenue_line(line: RevenueLine) -> RevenueLine:
    """Without what only the document states, for the state of long invoices stays at hand."""
    return RevenueLine(
        line_no=line.line_no,
        net_amount=line.net_amount,
        reporting_amount=line.reporting_amount,
        quantity=line.quantity,
        base_quantity=line.base_quantity,
        product_id=line.product_id,
        ship_to_country=line.ship_to_country,
    )


def _left(line: RevenueLine, taken: RevenueLine | None) -> RevenueLine:
    if taken is None:
        return line
    return replace(
        line,
        net_amount=line.net_amount + taken.net_amount,
        reporting_amount=line.reporting_amount + taken.reporting_amount,
        quantity=line.quantity + taken.quantity,
        base_quantity=None if line.base_quantity is None else line.base_quantity + (taken.base_quantity or 0),
    )
