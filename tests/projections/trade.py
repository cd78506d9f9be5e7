"""Trade with known people: products, invoices and what is taken back of them, as events."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import count
from uuid import UUID

from application.ports import RecordedEvent
from domain.product import CategoryAssigned, ProductRegistered
from domain.sales_document import (
    AdjustmentPosted,
    AdjustmentReason,
    CreditNotePosted,
    CreditReason,
    DocumentLine,
    InvoiceCancelled,
    InvoiceCredited,
    InvoicePosted,
    RevenueLine,
)
from domain.values import CustomerId, ProductId
from tests.people import ACME, ADA
from tests.projections.logs import LogOf

FLOUR = ProductId(UUID("01900000-0000-7000-8000-0000000000f1"))
YEAST = ProductId(UUID("01900000-0000-7000-8000-0000000000f2"))
OVEN = ProductId(UUID("01900000-0000-7000-8000-0000000000f3"))
BUYERS = (ACME, ADA)
UNITS = {FLOUR: "kg", YEAST: "kg", OVEN: "piece"}


def line(  # noqa: PLR0913 - everything that a line can say
    product: ProductId | None = FLOUR,
    amount: str = "100.00",
    *,
    reporting: str | None = None,
    quantity: str | None = "10",
    country: str = "DE",
    ordered_on: date | None = None,
) -> DocumentLine:
    """A line; its reporting amount is its amount, where nothing else is said."""
    return DocumentLine(
        line_no=1,
        net_amount=Decimal(amount),
        reporting_amount=Decimal(amount if reporting is None else reporting),
        quantity=Decimal(quantity or 1),
        base_quantity=None if quantity is None else Decimal(quantity),
        product_id=product,
        ship_to_country=country,
        ordered_on=ordered_on,
    )


def taken_back(of: RevenueLine) -> RevenueLine:
    """All of a line, the other way round."""
    return RevenueLine(
        line_no=of.line_no,
        net_amount=-of.net_amount,
        reporting_amount=-of.reporting_amount,
        quantity=-of.quantity,
        base_quantity=None if of.base_quantity is None else -of.base_quantity,
        product_id=of.product_id,
        ship_to_country=of.ship_to_country,
    )


@dataclass
class Trade:
    """Events of trade, appended to a log one by one; each returns its position."""

    log: LogOf = field(default_factory=LogOf)
    _documents: "count[int]" = field(default_factory=lambda: count(1))

    def registered(self, *products: ProductId) -> "Trade":
        """These products are known."""
        for product in products or UNITS:
            name = f"product {str(product)[-2:]}"
            self.log.append(product, ProductRegistered(product_number=name, name=name, base_unit=UNITS[product]))
        return self

    def assign(
        self, product: ProductId, category: str, valid_from: date, *, source_recorded_at: datetime | None = None
    ) -> int:
        """Put a product in a category from a day on."""
        event = CategoryAssigned(category=category, valid_from=valid_from)
        return self.log.append(product, event, source_recorded_at=source_recorded_at)

    def invoice(
        self,
        posted_on: date,
        *lines: DocumentLine,
        customer: CustomerId = ACME,
        currency: str = "EUR",
        source_recorded_at: datetime | None = None,
    ) -> int:
        """Post an invoice."""
        number = next(self._documents)
        event = InvoicePosted(
            document_number=f"R-{number}",
            source=None,
            customer_id=customer,
            document_date=posted_on,
            posted_on=posted_on,
            currency=currency,
            reporting_currency="EUR",
            exchange_rate=None,
            ship_to_country="DE",
            lines=lines or (line(),),
        )
        return self.log.append(UUID(int=number), event, source_recorded_at=source_recorded_at)

    def credit(self, position: int, posted_on: date) -> int:
        """Credit the first line of the invoice at a position."""
        return self.take_back(position, posted_on, taken_back(self._invoice(position).lines[0]))

    def take_back(self, position: int, posted_on: date, *lines: RevenueLine) -> int:
        """Credit these lines on the invoice at a position."""
        invoice = self._invoice(position)
        fields = {name: getattr(invoice, name) for name in _POSTING} | {"posted_on": posted_on}
        event = InvoiceCredited(**fields, lines=lines, credit_reason=CreditReason.RETURN)
        return self.log.append(self._stream(position), event)

    def cancel(self, position: int, posted_on: date) -> int:
        """Cancel all of the invoice at a position."""
        invoice = self._invoice(position)
        fields = {name: getattr(invoice, name) for name in _POSTING} | {"posted_on": posted_on}
        event = InvoiceCancelled(**fields, lines=tuple(taken_back(each) for each in invoice.lines))
        return self.log.append(self._stream(position), event)

    def credit_note(self, posted_on: date, *lines: DocumentLine, customer: CustomerId = ACME) -> int:
        """Post a credit note that names no invoice."""
        number = next(self._documents)
        event = CreditNotePosted(
            document_number=f"G-{number}",
            source=None,
            customer_id=customer,
            document_date=posted_on,
            posted_on=posted_on,
            currency="EUR",
            reporting_currency="EUR",
            exchange_rate=None,
            ship_to_country="DE",
            lines=lines,
            credit_reason=CreditReason.RETURN,
            invoice_unknown_because="legacy",
        )
        return self.log.append(UUID(int=number), event)

    def adjust(self, posted_on: date, amount: str, *, customer: CustomerId = ACME) -> int:
        """Adjust revenue without a product."""
        number = next(self._documents)
        event = AdjustmentPosted(
            document_number=f"A-{number}",
            source=None,
            customer_id=customer,
            document_date=posted_on,
            posted_on=posted_on,
            currency="EUR",
            reporting_currency="EUR",
            exchange_rate=None,
            ship_to_country="DE",
            lines=(line(None, amount, quantity=None),),
            adjustment_reason=AdjustmentReason.BAD_DEBT,
        )
        return self.log.append(UUID(int=number), event)

    def _invoice(self, position: int) -> InvoicePosted:
        event = self._recorded(position).event
        assert isinstance(event, InvoicePosted)
        return event

    def _stream(self, position: int) -> UUID:
        return self._recorded(position).stream_id

    def _recorded(self, position: int) -> RecordedEvent:
        recorded = self.log.recorded[position - 1]
        assert isinstance(recorded, RecordedEvent)
        return recorded

    def events(self) -> Sequence[RecordedEvent]:
        """Everything that was recorded."""
        return [self._recorded(position) for position in range(1, self.log.head() + 1)]


_POSTING = (
    "document_number",
    "source",
    "customer_id",
    "document_date",
    "posted_on",
    "currency",
    "reporting_currency",
    "exchange_rate",
    "ship_to_country",
)
