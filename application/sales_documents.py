"""What can be asked for sales documents: each command directly above its handler.

A number is claimed for its type of document. Invoices are found by theirs: `erp:R-1001`, or `number:R-1001` where the
number is our own.
"""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from pydantic import Field

from application.aggregates import Aggregate, Claim
from application.commands import Command, handles
from application.customers import CUSTOMER
from application.products import PRODUCT
from application.shapes import Code, CountryCode, CurrencyCode, Day, Name, Reason, Reference
from application.submissions import EventIsTooLarge
from application.unit_of_work import ActorKind, ReferenceNotFound, UnitOfWork
from domain import sales_document
from domain.customer import RESERVED_SOURCE, CustomerIsBlocked, CustomerIsInactive
from domain.sales_document import (
    LINES_MAX,
    WHOLE_DOCUMENT,
    AdjustmentReason,
    AmountIsTooLarge,
    Credit,
    CreditExceedsOpenAmount,
    CreditExceedsOpenQuantity,
    CreditNoteIsNegative,
    CreditReason,
    DocumentHasNoLines,
    DocumentHasTooManyLines,
    DocumentIsNotAnInvoice,
    DocumentNumberIsTaken,
    ExchangeRate,
    ExchangeRateIsForOtherCurrencies,
    ExchangeRateIsMissing,
    ExchangeRateIsNotNeeded,
    ExchangeRateIsNotPositive,
    Heading,
    InvoiceHasNoSuchLine,
    InvoiceIsCancelled,
    LineDoesNotAddUp,
    LineNumberIsRepeated,
    NamedProduct,
    RateKind,
    RateNumber,
    SalesDocument,
    SalesDocumentNotFound,
    StatedLine,
    Voucher,
)
from domain.values import CustomerId, ExactDecimal, ProductId, immutable

SALES_DOCUMENT = Aggregate(
    "sales-document", "sales-documents", SalesDocument, sales_document.evolve, SalesDocumentNotFound
)

LineNumber = Annotated[int, Field(ge=1, le=10**9)]
"""As the document numbers its lines; gaps are usual."""
LineNumberOrWhole = Annotated[int, Field(ge=WHOLE_DOCUMENT, le=10**9)]
"""A line of the invoice; 0 is the invoice as a whole."""
LINES_READ_MAX = 2 * LINES_MAX
"""Lines that are read: more than a document may have, so that one that is too long is refused by the rule's name."""

_RATE_REFUSALS = (
    ExchangeRateIsMissing,
    ExchangeRateIsNotNeeded,
    ExchangeRateIsForOtherCurrencies,
    ExchangeRateIsNotPositive,
    AmountIsTooLarge,
)
_LINE_REFUSALS = (DocumentHasNoLines, DocumentHasTooManyLines, LineNumberIsRepeated)


@immutable
class StatedRate:
    """A unit of `base`, the document's currency, is worth `rate` of `quote`, the reporting currency."""

    base: CurrencyCode
    quote: CurrencyCode
    rate: RateNumber
    kind: RateKind
    source: Name
    quoted_on: Day


@immutable
class VoucherCommand(Command):
    """What every document states: its number, unique per source and type of document, and its two dates.

    Revenue counts for the day `posted_on`; `document_date` is printed on the document.
    """

    document_number: Code
    document_date: Day
    posted_on: Day


@immutable
class PostingCommand(VoucherCommand):
    """What a document states that begins a stream. The rate is needed unless `currency` is the reporting currency."""

    customer: Reference
    currency: CurrencyCode
    ship_to_country: CountryCode
    exchange_rate: StatedRate | None = None


@immutable
class CreditNoteLine(StatedLine):
    """A line of a credit note, in positive amounts. A bonus or a cash discount needs `net_amount` only."""

    line_no: LineNumber
    product: Reference | None = None
    description: Name | None = None
    unit: Code | None = None
    ordered_on: Day | None = None
    delivered_on: Day | None = None
    contract_line: Code | None = None
    ship_to_country: CountryCode | None = None


@immutable
class InvoiceLine(CreditNoteLine):
    """A line of an invoice: quantity x unit price - discount = net amount, within one minor unit of the currency.

    `base_quantity` is needed where `unit` is not the product's base unit. `ship_to_country` stands where it is not that
    of the document.
    """

    quantity: ExactDecimal
    unit_price: ExactDecimal


@immutable
class PostInvoice(PostingCommand):
    """Post an invoice."""

    lines: Annotated[tuple[InvoiceLine, ...], Field(max_length=LINES_READ_MAX)]
    contract: Code | None = None


@handles(
    PostInvoice,
    SALES_DOCUMENT,
    creates=True,
    refusals=(
        DocumentNumberIsTaken,
        ReferenceNotFound,
        CustomerIsBlocked,
        CustomerIsInactive,
        *_RATE_REFUSALS,
        *_LINE_REFUSALS,
        LineDoesNotAddUp,
        EventIsTooLarge,
    ),
)
def post_invoice(command: PostInvoice, work: UnitOfWork) -> None:
    """Invoices ask whether the customer accepts postings, except those that another system has posted already."""
    customer_id, customer = work.read(CUSTOMER, command.customer, pointer="/customer")
    if work.metadata.actor_kind is not ActorKind.IMPORT:
        customer.must_accept_postings()
    products = _products(command.lines, work)
    heading = _heading(command, customer_id, work)
    posted = sales_document.post_invoice(heading, command.lines, products, contract=command.contract)
    work.claim(SALES_DOCUMENT.reference(*_number(command)), DocumentNumberIsTaken, pointer="/document_number")
    work.record(*posted, customer_id=customer_id)


@immutable
class PostCreditNote(PostingCommand):
    """Post a credit note that names no invoice, and say why not; one that does is `CreditInvoice`."""

    lines: Annotated[tuple[CreditNoteLine, ...], Field(max_length=LINES_READ_MAX)]
    credit_reason: CreditReason
    invoice_unknown_because: Reason


@handles(
    PostCreditNote,
    SALES_DOCUMENT,
    creates=True,
    refusals=(
        DocumentNumberIsTaken,
        ReferenceNotFound,
        *_RATE_REFUSALS,
        *_LINE_REFUSALS,
        LineDoesNotAddUp,
        CreditNoteIsNegative,
        EventIsTooLarge,
    ),
)
def post_credit_note(command: PostCreditNote, work: UnitOfWork) -> None:
    """See `domain.sales_document.post_credit_note`."""
    customer_id, _ = work.read(CUSTOMER, command.customer, pointer="/customer")
    posted = sales_document.post_credit_note(
        _heading(command, customer_id, work),
        command.lines,
        _products(command.lines, work),
        credit_reason=command.credit_reason,
        invoice_unknown_because=command.invoice_unknown_because,
    )
    _claim_number("credit-note", command, work)
    work.record(*posted, customer_id=customer_id)


@immutable
class PostAdjustment(PostingCommand):
    """Adjust a customer's revenue by an amount, up or down, without a product."""

    amount: ExactDecimal
    adjustment_reason: AdjustmentReason


@handles(
    PostAdjustment,
    SALES_DOCUMENT,
    creates=True,
    refusals=(DocumentNumberIsTaken, ReferenceNotFound, *_RATE_REFUSALS),
)
def post_adjustment(command: PostAdjustment, work: UnitOfWork) -> None:
    """See `domain.sales_document.post_adjustment`."""
    customer_id, _ = work.read(CUSTOMER, command.customer, pointer="/customer")
    heading = _heading(command, customer_id, work)
    posted = sales_document.post_adjustment(heading, command.amount, command.adjustment_reason)
    _claim_number("adjustment", command, work)
    work.record(*posted, customer_id=customer_id)


@immutable
class CreditLine(Credit):
    """What is taken back from one line of the invoice, in its sign; without `line_no` from the invoice as a whole."""

    line_no: LineNumberOrWhole = WHOLE_DOCUMENT


@immutable
class CreditInvoice(VoucherCommand):
    """Post a credit note on an invoice, at the invoice's exchange rate.

    A mere price correction takes back no quantity. A cash discount may name no line.
    """

    lines: Annotated[tuple[CreditLine, ...], Field(max_length=LINES_READ_MAX)]
    credit_reason: CreditReason


@handles(
    CreditInvoice,
    SALES_DOCUMENT,
    refusals=(
        DocumentNumberIsTaken,
        DocumentIsNotAnInvoice,
        InvoiceIsCancelled,
        *_LINE_REFUSALS,
        InvoiceHasNoSuchLine,
        CreditExceedsOpenAmount,
        CreditExceedsOpenQuantity,
        AmountIsTooLarge,
    ),
)
def credit_invoice(command: CreditInvoice, work: UnitOfWork) -> None:
    """See `SalesDocument.credit`."""
    invoice = work.target(SALES_DOCUMENT)
    credited = invoice.credit(command.lines, _voucher(command), command.credit_reason)
    _claim_number("credit-note", command, work)
    work.record(*credited, customer_id=invoice.customer_id)


@immutable
class CancelInvoice(VoucherCommand):
    """Take back all that is still open on an invoice, at the invoice's exchange rate."""


@handles(CancelInvoice, SALES_DOCUMENT, refusals=(DocumentNumberIsTaken, DocumentIsNotAnInvoice, InvoiceIsCancelled))
def cancel_invoice(command: CancelInvoice, work: UnitOfWork) -> None:
    """See `SalesDocument.cancel`."""
    invoice = work.target(SALES_DOCUMENT)
    cancelled = invoice.cancel(_voucher(command))
    _claim_number("cancellation", command, work)
    work.record(*cancelled, customer_id=invoice.customer_id)


def _number(command: VoucherCommand) -> tuple[str, str]:
    """The source of a document and its number there; a document without a source has a number of ours."""
    return command.source or RESERVED_SOURCE, command.document_number


def _claim_number(document_type: str, command: VoucherCommand, work: UnitOfWork) -> None:
    claim = Claim(f"{SALES_DOCUMENT.name}-{document_type}", "\0".join(_number(command)))
    work.claim(claim, DocumentNumberIsTaken, pointer="/document_number")


def _voucher(command: VoucherCommand) -> Voucher:
    return Voucher(
        document_number=command.document_number,
        source=command.source,
        document_date=command.document_date,
        posted_on=command.posted_on,
    )


def _heading(command: PostingCommand, customer_id: UUID, work: UnitOfWork) -> Heading:
    return Heading(
        **_voucher(command),
        customer_id=CustomerId(customer_id),
        currency=command.currency,
        reporting_currency=work.reporting_currency,
        exchange_rate=None if command.exchange_rate is None else _rate(command.exchange_rate),
        ship_to_country=command.ship_to_country,
    )


def _rate(stated: StatedRate) -> ExchangeRate:
    return ExchangeRate(
        base=stated.base,
        quote=stated.quote,
        rate=stated.rate,
        kind=stated.kind,
        source=stated.source,
        quoted_on=stated.quoted_on,
    )


def _products(lines: Sequence[StatedLine], work: UnitOfWork) -> list[NamedProduct]:
    """The products that the lines name, all read at once; None for each line that names none."""
    naming = [index for index, line in enumerate(lines) if line.product is not None]
    named: list[NamedProduct] = [None] * len(lines)
    references = [line.product for line in lines if line.product is not None]
    try:
        found = work.read_all(PRODUCT, references, pointer="{index}")
    except ReferenceNotFound as refused:
        # Lines without a product are not among the references, so places there are not places in the document.
        raise ReferenceNotFound(pointer=f"/lines/{naming[int(refused.pointer or 0)]}/product") from None
    for index, (product_id, product) in zip(naming, found, strict=True):
        named[index] = (ProductId(product_id), product)
    return named
