"""Sales document: invoices, what is credited on them, their cancellation, and adjustments; the source of all revenue.

Every document posts *revenue lines*. What takes revenue back (credit notes, cancellations) stores negative quantities
and amounts, so that revenue is the plain sum of `reporting_amount` over all lines of all documents, in any selection.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, TypeAlias

from domain.values import CustomerId, Exact, ExactDecimal, ProductId, immutable

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
    absent where nobody knows it. A line without a product belongs to the customer alone.
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
    """A credit note takes back some of this invoice, at the invoice's rate; line numbers are the invoice's."""

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
    """Revenue of a customer is adjusted, up or down, without a product: one line with an amount and no quantity."""

    lines: tuple[RevenueLine, ...]
    adjustment_reason: AdjustmentReason


SalesDocumentEvent: TypeAlias = InvoicePosted | InvoiceCredited | InvoiceCancelled | CreditNotePosted | AdjustmentPosted
