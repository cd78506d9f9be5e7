"""The reports on revenue: what their figures mean, how they are asked for and how they are answered."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from domain.clock import time_zone_exists
from domain.values import immutable, rounded
from projections.read_model import Snapshot
from projections.reports import (
    PAGE_ROWS_MAX,
    Evidence,
    Parameter,
    Parameters,
    Question,
    ReportAnswer,
    ReportDefinition,
    Row,
    Word,
    invalid,
    make_cursor,
    money,
    quantity,
    ratio,
)
from projections.revenue_statistics import KINDS, NAME, NO_PRODUCT, NONE, VERSION, WITHDRAWN
from projections.revenue_sums import (
    COLUMNS,
    Division,
    Figures,
    Group,
    Selection,
    categories_of_today,
    groups,
    positions_behind,
    total,
)
from projections.windows import Window, months_before

_EVER: Final = Window(date(1000, 1, 1), date(9998, 1, 1))
"""The days that can be asked about; windows without an end reach so far."""
_BY_MAX: Final = 2
_YEAR: Final = 12
_NO_VALUE: Final = {
    "product": (str(NO_PRODUCT), "no_product"),
    "category": (NONE, "no_category"),
}
"""How a line is stored that has no product or category, and how that is called."""
BASIS: Final = "revenue lines posted in the window"

_WHERE: Final = Parameter(
    "where",
    f"Only lines with a value of a dimension: `country:DE`. The dimension is one of {', '.join(COLUMNS)}; nothing "
    "after the colon means lines that have no product or no category. Several must all hold.",
    repeated=True,
)
_COMMON: Final = (
    Parameter("tz", "IANA time zone of the window. Days of posting are local dates and never converted."),
    Parameter(
        "knowledge",
        "Whose knowledge counts at `known_at`: ours (what had been recorded here), or that of the source of imported "
        "postings.",
        values=("rapport", "source"),
    ),
    Parameter(
        "known_at",
        "Instant; only with `knowledge=source`. Else it has become the position before the report is asked.",
        value=datetime,
    ),
    Parameter("limit", f"How many rows, at most {PAGE_ROWS_MAX}.", most=PAGE_ROWS_MAX),
    Parameter("cursor", "What the page before gave as `next_cursor`: the next page of the same answer."),
)


@immutable
class NetAmount:
    """An amount in a currency of the transaction."""

    currency: str
    amount: Decimal


@immutable
class QuantityInBaseUnit:
    """A quantity in a base unit; without a unit where the product has none."""

    unit: str | None
    quantity: Decimal


_MEASURES: Final = (
    Word(
        "revenue", "Sum of the lines' reporting amounts: net of tax and discount, negative where taken back.", Decimal
    ),
    Word("invoiced", "The part of revenue on lines of invoices.", Decimal),
    Word(
        "taken_back", "The part on lines of credit notes, cancellations and adjustments: revenue - invoiced.", Decimal
    ),
    Word(
        "invoices", "Distinct documents of kind invoice with a line in the group; a cancelled invoice stays one.", int
    ),
    Word("average_invoice_value", "invoiced / invoices, rounded once to the minor unit.", Decimal),
    Word("net_amounts", "Sum of the lines' net amounts, by the currency of the transaction.", tuple[NetAmount, ...]),
    Word(
        "base_quantities",
        "Sum of the quantities in base units of the products, by base unit; what is taken back counts negative.",
        tuple[QuantityInBaseUnit, ...],
    ),
    Word("lines", "How many lines.", int),
    Word("first_posting", "The earliest day of posting.", date),
    Word("last_posting", "The latest day of posting.", date),
    Word(
        "left_by_rounding",
        "The part of revenue on invoices of which nothing is open in their currency: cents that credit notes posted "
        "before version 2 left, on the day of the last one. Credit notes leave none since.",
        Decimal,
    ),
)
_COMPARING: Final = (
    Word("change", "revenue - base revenue.", Decimal),
    Word("growth", "change / base revenue, rounded once to six places.", Decimal),
)
_REASONS: Final = (
    Word("no_postings", "There is no line."),
    Word("no_invoices", "There is no invoice to divide by."),
    Word("no_revenue", "There is no revenue, or less than none, to have a share of."),
    Word("no_base_revenue", "There is no revenue to compare with."),
    Word("negative_base_revenue", "In the compared window more was taken back than invoiced."),
    Word("no_base_window", "There is nothing before it to compare with."),
    Word("no_beginning", "The period has no first day."),
    Word("no_product", "The lines name no product."),
    Word("no_category", "The lines have no product, or their product had no category on that day."),
)
_RULES: Final = (
    "A line counts on its day of posting, a local date. Windows contain their first day and not their last.",
    "Reporting amounts were converted and rounded at posting. No rate that changes later changes them.",
    "Credit notes and cancellations count on their own day, at the rate of the invoice that they name.",
    "A line's category is the one that its product had on the day of posting, as known at the position.",
    "With knowledge=source it is the one that the source knew then, else today's; `excluded` counts category_of_today.",
    "Corrections are documents of their own; what was answered at an earlier position stays as it was.",
)


class _Revenue(ABC):
    """What these reports share: reading the selection, writing the figures."""

    definition: ReportDefinition

    @abstractmethod
    def window(self, question: Question) -> tuple[Window, Row]:
        """The window that is asked about, and how the question is repeated."""

    def by(self, question: Question) -> tuple[str, ...]:  # noqa: ARG002 - reports that are not divided ask nothing
        """The dimensions that the figures are divided by."""
        return ()

    async def evidence(self, snapshot: Snapshot, parameters: Parameters) -> Evidence:
        """See `Report.evidence`: the postings and, where categories matter, the events that assigned these."""
        question = Question(self.definition, parameters)
        window, asked = self.window(question)
        selection = _selection(question, window)
        by = self.by(question)
        asked = {**asked, **_repeated(question, selection), **({"by": list(by)} if by else {})}
        limit, last = question.page(["evidence", asked])
        found = await positions_behind(snapshot, selection, by, int(last[0]) if last else 0, limit + 1)
        positions = tuple(found[:limit])
        more = make_cursor(snapshot.position, ["evidence", asked], [str(positions[-1])]) if len(found) > limit else None
        return Evidence(self.definition, snapshot.position, asked, positions, more)


class RevenueStatisticsReport(_Revenue):
    """Revenue of a window, by up to two dimensions, compared with an earlier window where one likes."""

    definition = ReportDefinition(
        name=NAME,
        version=VERSION,
        withdrawn=WITHDRAWN,
        model=NAME,
        title="Revenue statistics",
        meaning="What was invoiced and taken back in a window, by up to two dimensions.",
        rules=(
            *_RULES,
            "prior_period is as long, in months for whole months, else in days, and ends where the window begins.",
            "prior_year is the same days a year before, and 28 February for 29 February.",
            "Of whole months prior_year is those months, with all of their days.",
            "By month, a month at the edge of the window counts its days in the window only.",
        ),
        dimensions=(
            Word("month", "Month of the day of posting."),
            Word("customer", "The customer that the document was posted to.", UUID),
            Word("product", "The product of the line.", UUID),
            Word("category", "The category of the product on the day of posting."),
            Word("country", "The country that the line was shipped to (ISO 3166-1)."),
            Word("currency", "The currency of the document (ISO 4217)."),
            Word("kind", "What the document is.", values=tuple(dict.fromkeys(KINDS.values()))),
        ),
        measures=(
            *_MEASURES,
            Word("share", "revenue / revenue of all rows, rounded once to six places.", Decimal),
            Word("base_revenue", "With `compare`: revenue of the compared window.", Decimal),
            *_COMPARING,
        ),
        parameters=(
            Parameter("from", "First day of the window; absent: from the first posting on.", value=date),
            Parameter("to", "Day after the last day of the window; absent: without an end.", value=date),
            Parameter("by", f"Up to two of {', '.join(COLUMNS)}, separated by a comma.", listed=tuple(COLUMNS)),
            _WHERE,
            Parameter("compare", "The earlier window to compare with.", values=("prior_period", "prior_year")),
            Parameter(
                "order",
                "`key`: by the dimensions, in the order of their bytes. `revenue`: the largest first, then by key.",
                values=("key", "revenue"),
            ),
            *_COMMON,
        ),
        reasons=_REASONS,
    )

    def window(self, question: Question) -> tuple[Window, Row]:
        """See `_Revenue.window`."""
        first, end = question.day("from"), question.day("to")
        window = Window(first or _EVER.first, end or _EVER.end)
        if not _EVER.first <= window.first < window.end <= _EVER.end:
            raise invalid(name="to", because="it is a day after `from`, both in the years 1000 to 9997")
        return window, {"from": first, "to": end}

    def by(self, question: Question) -> tuple[str, ...]:
        """See `_Revenue.by`."""
        return tuple(question.listed("by", COLUMNS, _BY_MAX))

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """See `Report.run`."""
        question = Question(self.definition, parameters)
        window, asked = self.window(question)
        selection = _selection(question, window)
        by = self.by(question)
        compare, order = question.one("compare"), question.one("order") or "key"
        base, base_months = _base(asked, window, compare, by)
        asked = {**asked, "by": list(by), **_repeated(question, selection), "compare": compare, "order": order}
        if base is not None:
            asked |= {"base_from": base.first, "base_to": base.end}
        limit, last = question.page(asked)
        division = Division(by, base, base_months, order == "revenue", limit, last)
        whole = await total(snapshot, selection)
        found = await groups(snapshot, selection, division)
        currency = snapshot.policy.reporting_currency
        rows = [self._row(by, group, currency, whole, compared=base is not None) for group in found[:limit]]
        if not by and not rows:
            rows = [self._row((), Group((), Figures(), Decimal(0)), currency, whole, compared=base is not None)]
        return ReportAnswer(
            definition=self.definition,
            position=snapshot.position,
            question={**asked, "reporting_currency": currency},
            basis=BASIS,
            n=whole.lines,
            columns=(*by, *_columns(self.definition, {"base_revenue", "change", "growth"} if base is None else set())),
            rows=tuple(rows),
            total=_row_of(whole, currency),
            excluded=await _excluded(snapshot, selection, by, whole),
            next_cursor=_next(snapshot, asked, division, found),
        )

    @staticmethod
    def _row(by: Iterable[str], group: Group, currency: str, whole: Figures, *, compared: bool) -> Row:
        keys, reasons = _keys(dict(zip(by, group.keys, strict=True)))
        measures, more_reasons = _written(group.figures, currency)
        reasons |= more_reasons
        revenue, base = group.figures.revenue, group.base_revenue
        measures["share"] = ratio(revenue, whole.revenue) if whole.revenue > 0 else None
        if measures["share"] is None:
            reasons["share"] = "no_revenue"
        if compared:
            growth, reason = _growth(revenue, base)
            measures |= {"base_revenue": money(base, currency), "change": money(revenue - base, currency)}
            measures |= {"growth": growth}
            reasons |= {} if reason is None else {"growth": reason}
        return {**keys, **measures, "reasons": reasons}


class RevenueToDateReport(_Revenue):
    """Revenue up to a day: of its month, its year, the last twelve months and ever."""

    definition = ReportDefinition(
        name="revenue_to_date",
        version=VERSION,
        withdrawn=WITHDRAWN,
        model=NAME,
        title="Revenue to date",
        meaning="What was invoiced and taken back up to a day: this month, this year, in twelve months and ever.",
        rules=(
            *_RULES,
            "Every period ends with `valid_at`: this month, this year, twelve months, and all since the first posting.",
            "prior_period of month_to_date is as many days of the month before, or all of them if it has fewer.",
            "prior_period of year_to_date and of trailing_twelve_months is the same as prior_year.",
            "prior_year is the same days a year before, and 28 February for 29 February.",
            "prior_year of trailing_twelve_months is the twelve months before them.",
        ),
        dimensions=(
            Word(
                "period",
                "Which days of those up to `valid_at`.",
                values=("month_to_date", "year_to_date", "trailing_twelve_months", "ever"),
            ),
        ),
        measures=(
            Word("from", "First day of the period.", date),
            Word("to", "Day after its last day.", date),
            *_MEASURES,
            Word("prior_period_revenue", "Revenue of the period before.", Decimal),
            Word(
                "prior_period_growth",
                "(revenue - prior_period_revenue) / prior_period_revenue, to six places.",
                Decimal,
            ),
            Word("prior_year_revenue", "Revenue of the same days a year before.", Decimal),
            Word("prior_year_growth", "(revenue - prior_year_revenue) / prior_year_revenue, to six places.", Decimal),
        ),
        parameters=(
            Parameter("valid_at", "The last day that counts.", required=True, value=date),
            _WHERE,
            *_COMMON,
        ),
        reasons=_REASONS,
    )

    def window(self, question: Question) -> tuple[Window, Row]:
        """See `_Revenue.window`: everything up to the day; `where=month:` narrows it."""
        day = question.day("valid_at")
        if day is None or not _EVER.first + timedelta(days=2 * 366) <= day < _EVER.end:
            raise invalid(name="valid_at", because="it is a day in the years 1003 to 9997")
        return Window(_EVER.first, day + timedelta(days=1)), {"valid_at": day}

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """See `Report.run`."""
        question = Question(self.definition, parameters)
        window, asked = self.window(question)
        selection = _selection(question, window)
        asked = {**asked, **_repeated(question, selection)}
        question.page(asked)
        whole = await total(snapshot, selection)
        currency = snapshot.policy.reporting_currency
        rows = [
            await self._row(snapshot, period, selection, currency)
            for period in _periods(window.end - timedelta(days=1))
        ]
        return ReportAnswer(
            definition=self.definition,
            position=snapshot.position,
            question={**asked, "reporting_currency": currency},
            basis=BASIS,
            n=whole.lines,
            columns=("period", *_columns(self.definition, set())),
            rows=tuple(rows),
            excluded=await _excluded(snapshot, selection, (), whole),
        )

    @staticmethod
    async def _row(snapshot: Snapshot, period: "_Period", selection: Selection, currency: str) -> Row:
        async def figures_of(window: Window) -> Figures:
            return await total(snapshot, Selection(window, selection.where, selection.source_known_at))

        figures = await figures_of(period.window)
        measures, reasons = _written(figures, currency)
        for name, window in (("prior_period", period.prior_period), ("prior_year", period.prior_year)):
            revenue, growth = f"{name}_revenue", f"{name}_growth"
            if window is None:
                measures |= {revenue: None, growth: None}
                reasons |= {revenue: "no_base_window", growth: "no_base_window"}
            else:
                base = (await figures_of(window)).revenue
                value, reason = _growth(figures.revenue, base)
                measures |= {revenue: money(base, currency), growth: value}
                reasons |= {} if reason is None else {growth: reason}
        first = None if period.window.first == _EVER.first else period.window.first
        if first is None:
            reasons["from"] = "no_beginning"
        return {"period": period.name, "from": first, "to": period.window.end, **measures, "reasons": reasons}


@dataclass(frozen=True, slots=True)
class _Period:
    """A window up to a day, and those that it is compared with."""

    name: str
    window: Window
    prior_period: Window | None
    prior_year: Window | None


def _periods(day: date) -> Iterable[_Period]:
    end = day + timedelta(days=1)
    month, year = day.replace(day=1), day.replace(month=1, day=1)
    month_before = months_before(month, 1)
    same_days = Window(month_before, min(month_before + (end - month), month))
    to_date = Window(month, end)
    yield _Period("month_to_date", to_date, same_days, to_date.numbered_days_before(_YEAR))
    this_year = Window(year, end)
    a_year_before = this_year.numbered_days_before(_YEAR)
    yield _Period("year_to_date", this_year, a_year_before, a_year_before)
    twelve_months = Window(months_before(end, _YEAR), end)
    those_before = twelve_months.before(_YEAR)
    yield _Period("trailing_twelve_months", twelve_months, those_before, those_before)
    yield _Period("ever", Window(_EVER.first, end), None, None)


# Reading the question


def _selection(question: Question, window: Window) -> Selection:
    where: dict[str, str] = {}
    for each in question.many("where"):
        name, colon, value = each.partition(":")
        if not colon or name not in COLUMNS or name in where:
            raise invalid(name="where", because=f"it is one of {', '.join(COLUMNS)}, a colon and a value, each once")
        where[name] = _stored(name, value)
    month = where.pop("month", None)
    if month is not None:
        window = window.within_month(date.fromisoformat(month))
    by_source, known_at = question.one("knowledge") == "source", question.instant("known_at")
    if by_source != (known_at is not None):
        raise invalid(name="known_at", because="a report takes it together with `knowledge=source` only")
    return Selection(window, where, known_at)


def _stored(name: str, value: str) -> str:
    """A value of a dimension as it stands in facts."""
    try:
        if name == "month":
            return date.fromisoformat(f"{value}-01").isoformat()
        if name in {"customer", "product"} and value:
            return str(UUID(value))
    except ValueError as error:
        raise invalid(name="where", because="a month is such as 2026-04, a customer or a product is its id") from error
    if "\0" in value or (not value and name not in _NO_VALUE):
        raise invalid(name="where", because="there is a value after the colon")
    return value or _NO_VALUE[name][0]


def _repeated(question: Question, selection: Selection) -> Row:
    """What every answer repeats of its question."""
    zone = question.one("tz")
    if zone is not None and not time_zone_exists(zone):
        raise invalid(name="tz", because="it is the name of an IANA time zone, such as Europe/Berlin")
    known_at = selection.source_known_at
    knowledge = {"knowledge": "rapport"} if known_at is None else {"knowledge": "source", "known_at": known_at}
    return {"where": sorted(question.many("where")), "tz": zone, **knowledge}


def _base(asked: Row, window: Window, compare: str | None, by: Iterable[str]) -> tuple[Window | None, int]:
    """The window to compare with, and how many months before it lies."""
    if compare is None:
        return None, 0
    if asked["from"] is None or asked["to"] is None or window.first.year < _EVER.first.year + 2 * _YEAR:
        raise invalid(name="compare", because="a window is compared that has a first and a last day")
    if compare == "prior_year":
        return window.same_days_before(_YEAR), _YEAR
    months = window.months()
    if months is not None:
        return window.before(months), months
    if "month" in by:
        raise invalid(name="compare", because="by month, prior_period needs a window of whole months")
    return Window(window.first - (window.end - window.first), window.first), 0


# Writing the figures


async def _excluded(snapshot: Snapshot, selection: Selection, by: Iterable[str], figures: Figures) -> dict[str, int]:
    """How many lines lack what some figures are of."""
    excluded = {"no_base_quantity": figures.lines_without_quantity}
    if selection.source_known_at is not None and "category" in {*by, *selection.where}:
        excluded["category_of_today"] = await categories_of_today(snapshot, selection)
    return excluded


def _keys(keys: Mapping[str, object]) -> tuple[dict[str, object], dict[str, str]]:
    """The dimensions of a row as they are shown, and why some are null."""
    shown: dict[str, object] = {}
    reasons: dict[str, str] = {}
    for name, value in keys.items():
        stored, reason = _NO_VALUE.get(name, (None, ""))
        if str(value) == stored:
            shown[name] = None
            reasons[name] = reason
        else:
            shown[name] = f"{value:%Y-%m}" if isinstance(value, date) else value
    return shown, reasons


def _written(figures: Figures, currency: str) -> tuple[dict[str, object], dict[str, str]]:
    """The measures of a group, and why some are null."""
    reasons: dict[str, str] = {}
    average = None
    if figures.invoices:
        average = rounded(figures.invoiced / figures.invoices, currency)
    else:
        reasons["average_invoice_value"] = "no_invoices"
    if figures.first_day is None:
        reasons |= {"first_posting": "no_postings", "last_posting": "no_postings"}
    measures: dict[str, object] = {
        "revenue": money(figures.revenue, currency),
        "invoiced": money(figures.invoiced, currency),
        "taken_back": money(figures.revenue - figures.invoiced, currency),
        "invoices": figures.invoices,
        "average_invoice_value": average,
        "net_amounts": [{"currency": name, "amount": money(amount, name)} for name, amount in figures.net_amounts],
        "base_quantities": [{"unit": name or None, "quantity": quantity(each)} for name, each in figures.quantities],
        "lines": figures.lines,
        "first_posting": figures.first_day,
        "last_posting": figures.last_day,
        "left_by_rounding": money(figures.left_by_rounding, currency),
    }
    return measures, reasons


def _growth(revenue: Decimal, base: Decimal) -> tuple[Decimal | None, str | None]:
    """Growth over a base, or why there is none."""
    if base > 0:
        return ratio(revenue - base, base), None
    return None, "negative_base_revenue" if base < 0 else "no_base_revenue"


def _next(snapshot: Snapshot, asked: Row, division: Division, found: list[Group]) -> str | None:
    """The cursor of the next page, where there is one."""
    if len(found) <= division.limit:
        return None
    last = found[division.limit - 1]
    revenue = [f"{last.figures.revenue:f}"] if division.largest_first else []
    return make_cursor(snapshot.position, asked, [*revenue, *(str(key) for key in last.keys)])


def _row_of(figures: Figures, currency: str) -> Row:
    measures, reasons = _written(figures, currency)
    return {**measures, "reasons": reasons}


def _columns(definition: ReportDefinition, without: set[str]) -> list[str]:
    return [each.name for each in definition.measures if each.name not in without]
