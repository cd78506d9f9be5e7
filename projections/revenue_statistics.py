"""Revenue statistics: what was invoiced and taken back, for whom, of what, where to and when.

A *fact* is one revenue line as a posting says it: net of tax and discount, negative where revenue is taken back. It
counts on the day it was posted on, which is a local date and never converted; its reporting amount was fixed when it
was posted, so every sum is exact. Its category is the one that its product had on that day, as known at the position:
when a category is assigned for days past, the facts of these days are superseded and replaced, and what was answered
before stays what it was. Everything else about a fact never changes; corrections are facts of their own.

*Invoices* are distinct documents of kind invoice with a line in the group. Each fact says in `leads` in which groups it
is the first line of its invoice, so that invoices are counted by adding, too.

*Left by rounding* is what credit notes of before version 2 left in the reporting currency of invoices of which nothing
is open in their own. It is part of the revenue and stays; the last line of the credit note that left it says how much.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import repeat
from typing import Final, NamedTuple
from uuid import UUID

from application.ports import RecordedEvent
from domain.product import CategoryAssigned, ProductRegistered
from domain.sales_document import (
    AdjustmentPosted,
    CreditNotePosted,
    DocumentLine,
    InvoiceCancelled,
    InvoiceCredited,
    InvoicePosted,
    Posting,
    RevenueLine,
)
from projections.read_model import Appender, Page, Table, copy_text
from projections.reports import Withdrawn
from projections.rollups import LEVELS, RollUp

NAME: Final = "revenue_statistics"
VERSION: Final = 2
WITHDRAWN: Final = (
    Withdrawn(
        1,
        "Sums without postings are 0.00 in the reporting currency and no zero is negative; what earlier credit notes "
        "left by rounding is shown; a year before 29 February is 28 February, and one before 28 February not the 29th "
        "as well; with knowledge=source categories are those that the source knew; evidence names nothing but the "
        "postings and the categories that a figure rests on.",
    ),
)

NO_PRODUCT: Final = UUID(int=0)
"""Stands in `product_id` for lines without a product, so that every dimension has a value to group by."""
NONE: Final = ""
"""Stands for a category or a unit that there is none of."""
_NULL: Final = "\\N"
"""How nothing at all is copied."""

# In which groups a line is the first of its invoice: bits of `leads`.
_IN_ALL: Final = 1
_IN_COUNTRY: Final = 2
_IN_PRODUCT: Final = 4
_IN_CATEGORY: Final = 8
_IN_COUNTRY_AND_PRODUCT: Final = 16
_IN_COUNTRY_AND_CATEGORY: Final = 32
_LEADS: Final[Mapping[frozenset[str], int]] = {
    frozenset(): _IN_ALL,
    frozenset({"ship_to_country"}): _IN_COUNTRY,
    frozenset({"product_id"}): _IN_PRODUCT,
    frozenset({"category"}): _IN_CATEGORY,
    frozenset({"ship_to_country", "product_id"}): _IN_COUNTRY_AND_PRODUCT,
    frozenset({"ship_to_country", "category"}): _IN_COUNTRY_AND_CATEGORY,
}

LEADS_BY_CATEGORY: Final = (
    f"CASE WHEN kind <> 'invoice' THEN 0 ELSE (leads & ~{_IN_CATEGORY | _IN_COUNTRY_AND_CATEGORY}) "
    f"| CASE WHEN row_number() OVER (PARTITION BY posting, {{category}} ORDER BY line) = 1 "
    f"THEN {_IN_CATEGORY} ELSE 0 END "
    f"| CASE WHEN row_number() OVER (PARTITION BY posting, ship_to_country, {{category}} ORDER BY line) = 1 "
    f"THEN {_IN_COUNTRY_AND_CATEGORY} ELSE 0 END END AS leads"
)
"""The bits of lines whose category is another one than in the facts: `category` is the column that it stands in."""

KINDS: Final[Mapping[type[Posting], str]] = {
    InvoicePosted: "invoice",
    InvoiceCredited: "credit_note",
    CreditNotePosted: "credit_note",
    InvoiceCancelled: "cancellation",
    AdjustmentPosted: "adjustment",
}

_TEXT = 'text COLLATE "C"'
_DIMENSIONS: Final = {
    "kind": _TEXT,
    "customer_id": "uuid",
    "product_id": "uuid",
    "category": _TEXT,
    "ship_to_country": _TEXT,
}
_FACT_COLUMNS: Final = (
    "position, posting, posted_on, month, customer_id, kind, currency, line, product_id, category, base_unit, "
    "ship_to_country, net_amount, reporting_amount, base_quantity, leads, left_by_rounding, ordered_on, delivered_on"
)
_DOCUMENT_COLUMNS: Final = (
    "posting, document_id, kind, document_number, source, customer_id, document_date, posted_on, "
    "currency, source_known_at"
)


INVOICES: Final[Mapping[str, str]] = {
    f"invoices_{bit}": f"CASE WHEN leads & {bit} <> 0 THEN 1 ELSE 0 END" for bit in _LEADS.values()
}
"""What counts invoices; which of them is right depends on the groups."""
MEASURES: Final[Mapping[str, str]] = {
    "lines": "1",
    "net_amount": "net_amount",
    "revenue": "reporting_amount",
    "invoiced": "CASE WHEN kind = 'invoice' THEN reporting_amount ELSE 0 END",
    "base_quantity": "coalesce(base_quantity, 0)",
    "lines_without_quantity": "CASE WHEN base_quantity IS NULL THEN 1 ELSE 0 END",
    "left_by_rounding": "left_by_rounding",
}
"""What is summed over facts, beside the invoices."""


def invoices_in(dimensions: Iterable[str]) -> str:
    """The measure that counts the invoices of groups by these columns."""
    grouped = frozenset(dimensions) & {"ship_to_country", "product_id", "category"}
    # On one day a product has one category, so a category beside the product divides no further.
    return f"invoices_{_LEADS[grouped - {'category'} if 'product_id' in grouped else grouped]}"


def _roll_up(
    name: str,
    *dimensions: str,
    counting: Sequence[Sequence[str]],
    within: RollUp | None = None,
    daily: bool = False,
) -> RollUp:
    counted = [invoices_in(each) for each in counting]
    return RollUp(
        name=name,
        facts="facts",
        day="posted_on",
        dimensions={each: _DIMENSIONS[each] for each in dimensions} | {"currency": _TEXT, "base_unit": _TEXT},
        measures={**MEASURES, **{each: INVOICES[each] for each in counted}},
        within=within,
        daily=daily,
    )


def _of_many(roll_up: RollUp, index: str) -> RollUp:
    """A roll-up by what has many values, of which one is often asked for."""
    return replace(roll_up, levels=LEVELS[1:], indexes=(f"({index}, level, block)",))


_COUNTRY: Final = ("ship_to_country",)
_CATEGORY: Final = ("category",)
_FEW: Final = ("kind", *_COUNTRY, *_CATEGORY)
_BY_DAY: Final = _roll_up(
    "by_day_and_few", *_FEW, counting=[(), _COUNTRY, _CATEGORY, (*_COUNTRY, *_CATEGORY)], daily=True
)
"""By everything that has few values, and day: all sums by these are sums of this."""
ROLL_UPS: Final = (
    _BY_DAY,
    _roll_up("by_day_and_country", "kind", *_COUNTRY, counting=[(), _COUNTRY], within=_BY_DAY, daily=True),
    _roll_up("by_day_and_category", *_CATEGORY, counting=[_CATEGORY], within=_BY_DAY, daily=True),
    replace(_BY_DAY, name="by_few", within=_BY_DAY, daily=False),
    _roll_up("by_kind", "kind", counting=[()], within=_BY_DAY),
    _roll_up("by_country", *_COUNTRY, counting=[_COUNTRY], within=_BY_DAY),
    _roll_up("by_category", *_CATEGORY, counting=[_CATEGORY], within=_BY_DAY),
    _of_many(_roll_up("by_product", "product_id", *_CATEGORY, counting=[("product_id",)]), "product_id"),
    _of_many(_roll_up("by_customer", "customer_id", counting=[()]), "customer_id"),
)


class ProductIsUnknown(LookupError):  # noqa: N818 - it names what is the matter
    """A line or a category names a product that was never registered."""


class ReportingCurrencyHasChanged(ValueError):  # noqa: N818 - it names what is the matter
    """A tenant has one reporting currency for ever; sums over two of them mean nothing."""


class _ProductOnDay(NamedTuple):
    """What a line has to know of its product, on the day of the line."""

    columns: str
    """Values to copy: id, category, base unit."""
    id: str
    category: str


class _Product:
    """A product as the page knows it."""

    def __init__(self, product_id: UUID, base_unit: str, categories: Mapping[date, str]) -> None:
        self._id = str(product_id)
        self._base_unit = copy_text(base_unit)
        self._categories = dict(categories)
        self._on: dict[date, _ProductOnDay] = {}

    def on(self, day: date) -> _ProductOnDay:
        """The product on a day."""
        found = self._on.get(day)
        if found is None:
            since = max((each for each in self._categories if each <= day), default=None)
            category = NONE if since is None else copy_text(self._categories[since])
            found = _ProductOnDay(f"{self._id}\t{category}\t{self._base_unit}", self._id, category)
            self._on[day] = found
        return found

    def assign(self, category: str, first: date) -> date:
        """Let the product be in a category from a day on; the day of the next change."""
        self._categories[first] = category
        self._on.clear()
        return min((each for each in self._categories if each > first), default=date.max)


class RevenueStatistics:
    """The tables, and how events change them."""

    name = NAME
    version = VERSION
    events = frozenset(
        {
            "product.registered",
            "product.category-assigned",
            "sales-document.invoice-posted",
            "sales-document.invoice-credited",
            "sales-document.invoice-cancelled",
            "sales-document.credit-note-posted",
            "sales-document.adjustment-posted",
        }
    )
    tables = (
        Table(
            "facts",
            f"""
            position               bigint NOT NULL,  -- known from here
            superseded_at_position bigint,           -- until but without this one
            posting                bigint NOT NULL,  -- position of the event that posted the document
            line                   integer NOT NULL, -- place in the document, from 1
            posted_on              date NOT NULL,
            month                  date NOT NULL,    -- its first day
            customer_id            uuid NOT NULL,
            product_id             uuid NOT NULL,
            kind                   {_TEXT} NOT NULL,
            currency               {_TEXT} NOT NULL,
            category               {_TEXT} NOT NULL,
            base_unit              {_TEXT} NOT NULL,
            ship_to_country        {_TEXT} NOT NULL,
            leads                  smallint NOT NULL,
            net_amount             numeric NOT NULL,
            reporting_amount       numeric NOT NULL,
            base_quantity          numeric,
            left_by_rounding       numeric NOT NULL,
            ordered_on             date,
            delivered_on           date
            """,
            ("position", "posting", "line"),
            enforced=False,
            indexes=(
                "(position)",
                "(customer_id, posted_on)",
                "(product_id, posted_on)",
                # Small and quick to keep; of use as long as postings come more or less in the order of their days.
                "USING brin (posted_on) WITH (pages_per_range = 32, autosummarize = on)",
                "(posting) WHERE position <> posting",
                "(superseded_at_position) WHERE superseded_at_position IS NOT NULL",
            ),
        ),
        Table(
            "documents",
            f"""
            posting         bigint NOT NULL,
            document_id     uuid NOT NULL,  -- the stream
            kind            {_TEXT} NOT NULL,
            document_number {_TEXT} NOT NULL,
            source          {_TEXT},
            customer_id     uuid NOT NULL,
            document_date   date NOT NULL,
            posted_on       date NOT NULL,
            currency        {_TEXT} NOT NULL,
            source_known_at timestamptz NOT NULL  -- when the source knew it, else when we did
            """,
            ("posting",),
            indexes=("(document_id)",),
        ),
        Table(
            "products",
            f"product_id uuid NOT NULL, base_unit {_TEXT} NOT NULL, position bigint NOT NULL",
            ("product_id",),
        ),
        Table(
            "categories",
            f"product_id uuid NOT NULL, valid_from date NOT NULL, position bigint NOT NULL, category {_TEXT} NOT NULL, "
            "source_known_at timestamptz NOT NULL",
            ("product_id", "valid_from", "position"),
        ),
        Table("reporting_currency", f"currency {_TEXT} NOT NULL", ("currency",)),
        *(each.table() for each in ROLL_UPS),
    )

    def fold(self, page: Page) -> None:
        """See `ReadModel.fold`."""
        if page.events:
            with page.appender("facts", _FACT_COLUMNS) as facts:
                fold = _Fold(page, facts)
                for recorded in page.events:
                    fold.apply(recorded)
            fold.write()
        for roll_up in ROLL_UPS:
            roll_up.advance(page)


class _Fold:
    """One page on its way into the tables. Only facts are written while it is folded: of them there are many."""

    def __init__(self, page: Page, facts: Appender) -> None:
        self._page = page
        self._facts = facts
        self._documents: list[str] = []
        self._registered: list[str] = []
        self._categories: list[str] = []
        postings = [recorded.event for recorded in page.events if isinstance(recorded.event, Posting)]
        assigned = {recorded.stream_id for recorded in page.events if isinstance(recorded.event, CategoryAssigned)}
        # An id as a number is several times as quick to find as a UUID, and there is one for each line.
        named = {line.product_id.int for event in postings for line in _lines(event) if line.product_id is not None}
        self._products = self._load(assigned | {UUID(int=number) for number in named})
        self._sold = named | self._with_facts(assigned) if assigned else set()
        self._keep_reporting_currency(postings)
        self._open = self._load_open(
            {recorded.stream_id for recorded in page.events if isinstance(recorded.event, _TAKING_BACK)}
        )

    def _load(self, products: set[UUID]) -> dict[int, _Product]:
        """The products that the page names, as known before it."""
        if not products:
            return {}
        rows = self._page.execute(
            """
            SELECT p.product_id, p.base_unit, array_agg(c.valid_from ORDER BY c.position),
                   array_agg(c.category ORDER BY c.position)
              FROM {products} p LEFT JOIN {categories} c USING (product_id)
             WHERE p.product_id = ANY(%s) GROUP BY p.product_id, p.base_unit
            """,
            [list(products)],
        )
        return {
            product.int: _Product(product, base_unit, dict(zip(days, categories, strict=True)) if days[0] else {})
            for product, base_unit, days, categories in rows
        }

    def _load_open(self, invoices: set[UUID]) -> dict[UUID, "_Open"]:
        """What is open on the invoices from which the page takes something back, before the page."""
        found = {invoice: _Open() for invoice in invoices}
        rows = self._page.execute(
            """
            SELECT d.document_id, sum(f.net_amount), sum(f.reporting_amount), sum(f.left_by_rounding)
              FROM {documents} d JOIN {facts} f ON f.position = d.posting AND f.posting = d.posting
             WHERE d.document_id = ANY(%s) GROUP BY d.document_id
            """,
            [list(invoices)],
        )
        return found | {invoice: _Open(*sums) for invoice, *sums in rows}

    def _with_facts(self, products: set[UUID]) -> set[int]:
        """Those of these products that were sold or taken back before the page."""
        rows = self._page.execute(
            "SELECT u.id FROM unnest(%s::uuid[]) AS u(id) WHERE EXISTS (SELECT FROM {facts} WHERE product_id = u.id)",
            [list(products)],
        )
        return {product.int for (product,) in rows}

    def _keep_reporting_currency(self, postings: Sequence[Posting]) -> None:
        found = self._page.execute("SELECT currency FROM {reporting_currency}").fetchone()
        currencies = {event.reporting_currency for event in postings}
        if len(currencies.union(found or ())) > 1:
            raise ReportingCurrencyHasChanged
        if currencies and not found:
            self._page.execute("INSERT INTO {reporting_currency} VALUES (%s)", [*currencies])

    def apply(self, recorded: RecordedEvent) -> None:
        """Take in one event."""
        event = recorded.event
        if isinstance(event, Posting):
            self._post(recorded, event, KINDS[type(event)])
        elif isinstance(event, ProductRegistered):
            self._products[recorded.stream_id.int] = _Product(recorded.stream_id, event.base_unit, {})
            self._registered.append(f"{recorded.stream_id}\t{copy_text(event.base_unit)}\t{recorded.position}\n")
        elif isinstance(event, CategoryAssigned):
            self._assign(recorded, event)

    def _post(self, recorded: RecordedEvent, event: Posting, kind: str) -> None:
        position, posted_on, currency = recorded.position, event.posted_on, event.currency
        known_at = recorded.source_recorded_at or recorded.recorded_at
        self._documents.append(
            f"{position}\t{recorded.stream_id}\t{kind}\t{copy_text(event.document_number)}\t{copy_text(event.source)}\t"
            f"{event.customer_id}\t{event.document_date}\t{posted_on}\t{currency}\t{known_at}\n"
        )
        lines = _lines(event)
        products = [self._product(line.product_id, posted_on) for line in lines]
        leads = _leads([line.ship_to_country for line in lines], products) if kind == "invoice" else [0] * len(lines)
        left = _NOTHING_LEFT * len(lines)
        if recorded.stream_id in self._open:
            left = [*left[1:], str(self._open[recorded.stream_id].take(event, lines))]
        month = posted_on.replace(day=1)
        beginning = f"{position}\t{position}\t{posted_on}\t{month}\t{event.customer_id}\t{kind}\t{currency}\t"
        # Formatting a Decimal with !s takes a third of the time, and there are three in each line.
        self._facts.extend(
            [
                f"{beginning}{number}\t{product.columns}\t{line.ship_to_country}\t{line.net_amount!s}\t"
                f"{line.reporting_amount!s}\t{_NULL if line.base_quantity is None else line.base_quantity!s}\t{lead}\t"
                f"{rounding}\t{_days(line)}\n"
                for number, (line, product, lead, rounding) in enumerate(
                    zip(lines, products, leads, left, strict=True), 1
                )
            ]
        )

    def _product(self, product_id: UUID | None, day: date) -> _ProductOnDay:
        if product_id is None:
            return _WITHOUT_PRODUCT
        found = self._products.get(product_id.int)
        if found is None:
            raise ProductIsUnknown
        return found.on(day)

    def _assign(self, recorded: RecordedEvent, event: CategoryAssigned) -> None:
        product = self._products.get(recorded.stream_id.int)
        if product is None:
            raise ProductIsUnknown
        end = product.assign(event.category, event.valid_from)
        self._categories.append(
            f"{recorded.stream_id}\t{event.valid_from}\t{recorded.position}\t{copy_text(event.category)}\t"
            f"{recorded.source_recorded_at or recorded.recorded_at}\n"
        )
        if recorded.stream_id.int in self._sold:
            self._facts.flush()
            self._page.execute(
                _REPLACE,
                {
                    "position": recorded.position,
                    "product": recorded.stream_id,
                    "category": event.category,
                    "first": event.valid_from,
                    "end": end,
                },
                columns=_FACT_COLUMNS,
                leads=LEADS_BY_CATEGORY.format(category="new_category").replace("AS leads", "AS new_leads"),
            )

    def write(self) -> None:
        """Write what there are few of."""
        self._page.append("products", "product_id, base_unit, position", self._registered)
        self._page.append("categories", "product_id, valid_from, position, category, source_known_at", self._categories)
        self._page.append("documents", _DOCUMENT_COLUMNS, self._documents)


@dataclass(slots=True)
class _Open:
    """What is open on an invoice in its currency and in the reporting currency, and what of it rounding has left."""

    net_amount: Decimal = Decimal(0)
    reporting_amount: Decimal = Decimal(0)
    left_by_rounding: Decimal = Decimal(0)

    def take(self, event: Posting, lines: Sequence[RevenueLine]) -> Decimal:
        """Take in a posting; what it adds to what rounding has left."""
        self.net_amount += sum((line.net_amount for line in lines), Decimal(0))
        self.reporting_amount += sum((line.reporting_amount for line in lines), Decimal(0))
        is_left = isinstance(event, _TAKING_BACK) and not self.net_amount
        left = self.reporting_amount if is_left else Decimal(0)
        added, self.left_by_rounding = left - self.left_by_rounding, left
        return added or Decimal(0)  # not 0.00: a row says the same however the log was cut into pages


def _leads(countries: Sequence[str], products: Sequence[_ProductOnDay]) -> list[int]:
    """For each line of a document the bits of the groups of which it is the first line."""
    ids, categories = [each.id for each in products], [each.category for each in products]
    groups: Sequence[tuple[int, Iterable[object]]] = (
        (_IN_ALL, repeat(None, len(ids))),
        (_IN_COUNTRY, countries),
        (_IN_PRODUCT, ids),
        (_IN_CATEGORY, categories),
        (_IN_COUNTRY_AND_PRODUCT, zip(countries, ids, strict=True)),
        (_IN_COUNTRY_AND_CATEGORY, zip(countries, categories, strict=True)),
    )
    if len(set(countries)) == 1:  # as almost always: then a country divides no further
        groups = (
            (_IN_ALL | _IN_COUNTRY, countries),
            (_IN_PRODUCT | _IN_COUNTRY_AND_PRODUCT, ids),
            (_IN_CATEGORY | _IN_COUNTRY_AND_CATEGORY, categories),
        )
    leads = [0] * len(ids)
    for bits, values in groups:
        seen = set()
        for place, value in enumerate(values):
            if value not in seen:
                seen.add(value)
                leads[place] |= bits
    return leads


_WITHOUT_PRODUCT: Final = _ProductOnDay(f"{NO_PRODUCT}\t{NONE}\t{NONE}", str(NO_PRODUCT), NONE)


def _lines(event: Posting) -> Sequence[RevenueLine]:
    """The lines of a posting; every kind of posting has them."""
    lines: Sequence[RevenueLine] = event.lines  # type: ignore[attr-defined] # every posting that is folded has lines
    return lines


def _days(line: RevenueLine) -> str:
    """The day of the order and of the delivery, as columns to copy."""
    if isinstance(line, DocumentLine) and (line.ordered_on is not None or line.delivered_on is not None):
        return f"{line.ordered_on or _NULL}\t{line.delivered_on or _NULL}"
    return _NO_DAYS


_TAKING_BACK: Final = (InvoiceCredited, InvoiceCancelled)
_NOTHING_LEFT: Final = ["0"]
_NO_DAYS: Final = f"{_NULL}\t{_NULL}"
_REPLACE: Final = """
    WITH moved AS (
        SELECT DISTINCT posting FROM {facts}
         WHERE product_id = %(product)s AND posted_on >= %(first)s AND posted_on < %(end)s
           AND superseded_at_position IS NULL AND category <> %(category)s
    ), documents AS (
        SELECT f.* FROM moved JOIN {facts} f ON f.position = moved.posting AND f.posting = moved.posting
         WHERE f.superseded_at_position IS NULL
        UNION ALL
        SELECT f.* FROM moved JOIN {facts} f ON f.posting = moved.posting AND f.position <> f.posting
         WHERE f.superseded_at_position IS NULL
    ), assigned AS (
        SELECT d.*, CASE WHEN product_id = %(product)s THEN %(category)s ELSE category END AS new_category
          FROM documents d
    ), led AS (
        SELECT a.*, {leads}
          FROM assigned a
    ), changed AS (
        SELECT * FROM led WHERE new_category <> category OR new_leads <> leads
    ), superseded AS (
        UPDATE {facts} f SET superseded_at_position = %(position)s FROM changed c
         WHERE f.position = c.position AND f.posting = c.posting AND f.line = c.line
    )
    INSERT INTO {facts} ({columns})
    SELECT %(position)s, posting, posted_on, month, customer_id, kind, currency, line, product_id, new_category,
           base_unit, ship_to_country, net_amount, reporting_amount, base_quantity, new_leads, left_by_rounding,
           ordered_on, delivered_on
      FROM changed
"""
