"""Sums of revenue: of any window and any values of some dimensions, by some dimensions, as known at any position.

A sum at a position is whole blocks of a roll-up plus the facts since the last block. Whole months come from roll-ups by
month, the days at the window's edges from roll-ups by day. Where no roll-up divides by what is asked, the facts
themselves are summed. Either way the result is the same to the cent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from projections.read_model import Snapshot
from projections.revenue_statistics import INVOICES, LEADS_BY_CATEGORY, MEASURES, NO_PRODUCT, ROLL_UPS, invoices_in
from projections.rollups import Blocks, RollUp, cover, covered
from projections.windows import Window

COLUMNS: Final[Mapping[str, str]] = {
    "month": "month",
    "customer": "customer_id",
    "product": "product_id",
    "category": "category",
    "country": "ship_to_country",
    "currency": "currency",
    "kind": "kind",
}
"""What revenue can be divided by, and its column."""
RANKS_KEPT: Final = 2_000
"""Groups of a ranking that are kept: twenty pages, in less than a megabyte."""
CHANGED_MAX: Final = 5_000
"""Groups that are ranked anew at most; beyond this, ranking all of them takes no longer."""
_MANY: Final = frozenset({"customer", "product"})
"""Dimensions with so many values that a page shows few of them."""
_TYPES: Final = {"month": "date", "customer_id": "uuid", "product_id": "uuid"}
_PLAIN_COLUMNS: Final = (
    "position, posting, superseded_at_position, posted_on, month, customer_id, product_id, kind, currency, base_unit, "
    "ship_to_country, net_amount, reporting_amount, base_quantity, left_by_rounding"
)
_SUMS: Final = (
    "lines, revenue, invoiced, left_by_rounding, invoices, lines_without_quantity, superseded, first_day, last_day, "
    "currencies, net_amounts, base_units, base_quantities, lines_with_quantity"
)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which facts: of a window, with these values of some dimensions, and known to their source by a moment."""

    window: Window
    where: Mapping[str, str]
    source_known_at: datetime | None = None

    def of_group(self, by: Sequence[str], keys: Sequence[Any]) -> "Selection":
        """The facts of one group."""
        values = dict(zip(by, keys, strict=True))
        month = values.pop("month", None)
        window = self.window if month is None else self.window.within_month(month)
        return replace(self, window=window, where={**self.where, **{name: str(each) for name, each in values.items()}})


@dataclass(frozen=True, slots=True)
class Figures:
    """The sums of one group of facts."""

    lines: int = 0
    revenue: Decimal = Decimal(0)
    invoiced: Decimal = Decimal(0)
    """Revenue of the lines of invoices; the rest was taken back."""
    left_by_rounding: Decimal = Decimal(0)
    """The part of revenue that earlier credit notes left of invoices of which nothing is open."""
    invoices: int = 0
    lines_without_quantity: int = 0
    first_day: date | None = None
    last_day: date | None = None
    net_amounts: tuple[tuple[str, Decimal], ...] = ()
    """By currency."""
    quantities: tuple[tuple[str, Decimal], ...] = ()
    """By base unit."""
    superseded: int = 0
    """Facts of the group that were replaced: by category, its first and its last day may have been among them."""


@dataclass(frozen=True, slots=True)
class Group:
    """The figures of one row: of the window, and the revenue of the one that it is compared with."""

    keys: tuple[Any, ...]
    figures: Figures
    base_revenue: Decimal


@dataclass(frozen=True, slots=True)
class Division:
    """How a selection is divided, and which rows are wanted."""

    by: tuple[str, ...]
    base: Window | None
    """Compare with this earlier window."""
    base_months: int
    """By month, a month is compared with the one so many before."""
    largest_first: bool
    limit: int
    last: Sequence[str] | None
    """The revenue, where the largest come first, and the keys of the last row of the page before."""


class Sums:
    """A statement that sums a selection by some dimensions at a position; it may be part of a larger one."""

    def __init__(
        self,
        name: str,
        by: Sequence[str],
        selection: Selection,
        position: int,
        only: Sequence[Sequence[Any]] | None = None,
    ) -> None:
        """`name` distinguishes its placeholders from others; `only` are the keys of the groups that are wanted."""
        self._name = name
        self._only = {} if only is None else dict(zip(by, map(list, zip(*only, strict=True)), strict=True))
        self._keys = [COLUMNS[each] for each in by]
        self._selection = selection
        self._position = position
        self._asked = frozenset({*self._keys, *(COLUMNS[each] for each in selection.where)} - {"month"})
        self._invoices = invoices_in(self._asked)
        window, whole = selection.window, selection.window.whole_months()
        self._spans = [
            (number, span, whole_months)
            for number, (span, whole_months) in enumerate(
                ((whole, True), (Window(window.first, whole.first), False), (Window(whole.end, window.end), False))
            )
            if span.first < span.end
        ]
        own = {
            "first": window.first,
            "end": window.end,
            "position": position,
            "known_at": selection.source_known_at,
            **{f"first_{number}": span.first for number, span, _ in self._spans},
            **{f"end_{number}": span.end for number, span, _ in self._spans},
            **{f"where_{each}": value for each, value in selection.where.items()},
            **{f"only_{each}": values for each, values in self._only.items()},
        }
        self.values: dict[str, object] = {f"{name}_{each}": value for each, value in own.items()}

    def by_group(self) -> str:
        """One row for each group: `one`, the columns of the dimensions, and `_SUMS`."""
        finest = ", ".join(dict.fromkeys(["one", *self._keys, "currency", "base_unit"]))
        sums = ", ".join(f"sum({name}) AS {name}" for name in (*MEASURES, "invoices", "superseded"))
        keys = ", ".join(["one", *self._keys])
        return f"""
            SELECT {keys}, sum(lines) AS lines, sum(revenue) AS revenue, sum(invoiced) AS invoiced,
                   sum(left_by_rounding) AS left_by_rounding, sum(invoices) AS invoices,
                   sum(lines_without_quantity) AS lines_without_quantity,
                   sum(superseded) AS superseded, min(first_day) AS first_day, max(last_day) AS last_day,
                   array_agg(currency ORDER BY currency, base_unit) AS currencies,
                   array_agg(net_amount ORDER BY currency, base_unit) AS net_amounts,
                   array_agg(base_unit ORDER BY currency, base_unit) AS base_units,
                   array_agg(base_quantity ORDER BY currency, base_unit) AS base_quantities,
                   array_agg(lines - lines_without_quantity ORDER BY currency, base_unit) AS lines_with_quantity
              FROM (SELECT {finest}, {sums}, min(first_day) AS first_day, max(last_day) AS last_day
                      FROM ({self._all()}) parts GROUP BY {finest} HAVING sum(lines) > 0) finest
             GROUP BY {keys}"""

    def ranked(self, revenue: str = "revenue") -> str:
        """One row for each group: `one`, the columns of the dimensions, and its revenue under this name."""
        keys = ", ".join(["one", *self._keys])
        return (
            f"SELECT {keys}, sum(revenue) AS {revenue} FROM ({self._all()}) parts GROUP BY {keys} HAVING sum(lines) > 0"
        )

    def changed(self, after: str) -> str:
        """The keys of the groups in which facts have come or gone after a position."""
        since = (
            f"%({after})s AND {{column}} <= {self._value('position')} AND {self._days('first', 'end')}{self._where()}"
        )
        return " UNION ".join(
            f"SELECT {', '.join(self._keys)} FROM {{facts}} WHERE {column} > {since.replace('{column}', column)}"
            for column in ("position", "superseded_at_position")
        )

    def days(self) -> str:
        """The first and the last day of the facts themselves."""
        return f"SELECT min(posted_on), max(posted_on) FROM {self._source()} WHERE {self._visible('first', 'end')}"

    def positions(self) -> str:
        """The positions behind the facts: of their postings and, where categories matter, of what assigned these."""
        facts = f"FROM {self._source()} WHERE {self._visible('first', 'end')}"
        behind = f"SELECT posting AS position {facts}"
        if "category" in self._asked:
            assigned = self._category("position", "sold", source_known=False)
            if self._selection.source_known_at is not None:
                assigned = f"coalesce({self._category('position', 'sold', source_known=True)}, {assigned})"
            behind += f" UNION SELECT {assigned} FROM (SELECT DISTINCT product_id, posted_on {facts}) sold"
        return f"SELECT DISTINCT position FROM ({behind}) behind WHERE position > %(after)s"

    def of_today(self) -> str:
        """How many lines have a category of today, as their source knew none of their product at the time."""
        known = self._category("category", "facts", source_known=True)
        return (
            f"SELECT count(*) FROM {self._source()} WHERE {self._visible('first', 'end')} "
            f"AND product_id <> '{NO_PRODUCT}' AND {known} IS NULL"
        )

    def _category(self, column: str, facts: str, *, source_known: bool) -> str:
        """What assigned the category that the product of a fact had on its day, as known at the position."""
        known = f" AND c.source_known_at <= {self._value('known_at')}" if source_known else ""
        return (
            f"(SELECT c.{column} FROM {{categories}} c WHERE c.product_id = {facts}.product_id "
            f"AND c.valid_from <= {facts}.posted_on AND c.position <= {self._value('position')}{known} "
            "ORDER BY c.valid_from DESC, c.position DESC LIMIT 1)"
        )

    def _source(self) -> str:
        """The facts; with knowledge of the source, in the categories that it knew at the time, else those of today."""
        if self._selection.source_known_at is None or "category" not in self._asked:
            return "{facts} facts"
        visible = self._visible("first", "end", only_where=False)
        return f"""
            (SELECT {_PLAIN_COLUMNS}, known_category AS category, {LEADS_BY_CATEGORY.format(category="known_category")}
               FROM (SELECT facts.*, coalesce({self._category("category", "facts", source_known=True)}, category)
                            AS known_category
                       FROM {{facts}} facts WHERE {visible}) facts) facts"""

    def _all(self) -> str:
        return " UNION ALL ".join(self._parts()) or self._facts("false")

    def _parts(self) -> Iterator[str]:
        rolled_up: dict[int, list[str]] = {}
        for number, _, whole_months in self._spans:
            roll_up = self._roll_up(daily=not whole_months) or self._roll_up(daily=True)
            if roll_up is None:
                yield self._facts(self._visible(f"first_{number}", f"end_{number}"))
            else:
                blocks, tail = cover(self._position, roll_up.levels)
                yield self._rolled_up(roll_up, blocks, number)
                rolled_up.setdefault(tail, []).append(self._days(f"first_{number}", f"end_{number}"))
        for tail, spans in rolled_up.items():
            days = f"({' OR '.join(spans)}){self._where()}"
            yield self._facts(f"{days} AND {self._since(tail, 'position')}")
            yield self._facts(f"{days} AND {self._since(tail, 'superseded_at_position')}", superseded=True)

    def _roll_up(self, *, daily: bool) -> RollUp | None:
        """The roll-up with the fewest rows that has all that is asked for, if there is one."""
        if self._selection.source_known_at is not None:
            return None
        fitting = [
            each
            for each in ROLL_UPS
            if each.daily == daily
            and self._asked <= each.dimensions.keys()
            and self._invoices in each.measures
            and cover(self._position, each.levels)[0]
        ]
        return min(fitting, key=lambda each: len(each.dimensions), default=None)

    def _rolled_up(self, roll_up: RollUp, blocks: Sequence[Blocks], span: int) -> str:
        month = "date_trunc('month', period::timestamp)::date" if roll_up.daily else "period"
        measures = ", ".join([*MEASURES, f"{self._invoices} AS invoices"])
        return (
            f"SELECT {self._group(month)}, {measures}, superseded, first_day, last_day FROM {{{roll_up.name}}} "
            f"WHERE {covered(blocks)} AND {self._days(f'first_{span}', f'end_{span}', 'period')}{self._where()}"
        )

    def _facts(self, condition: str, *, superseded: bool = False) -> str:
        measures = {**MEASURES, "invoices": INVOICES[self._invoices]}
        sign, day = ("-", "NULL::date") if superseded else ("", "posted_on")
        sums = ", ".join(f"{sign}({measure}) AS {name}" for name, measure in measures.items())
        return (
            f"SELECT {self._group('month')}, {sums}, {int(superseded)} AS superseded, {day} AS first_day, "
            f"{day} AS last_day FROM {self._source()} WHERE {condition}"
        )

    def _since(self, tail: int, column: str) -> str:
        return f"{column} >= {tail} AND {column} <= {self._value('position')}"

    def _days(self, first: str, end: str, column: str = "posted_on") -> str:
        return f"{column} >= {self._value(first)} AND {column} < {self._value(end)}"

    def _visible(self, first: str, end: str, *, only_where: bool = True) -> str:
        """The facts of some days that were known at the position, as they were then."""
        at = self._value("position")
        condition = (
            f"{self._days(first, end)} AND position <= {at} "
            f"AND (superseded_at_position IS NULL OR superseded_at_position > {at})"
        )
        condition += self._where() if only_where else ""
        if self._selection.source_known_at is not None:
            known = self._value("known_at")
            condition += f" AND posting IN (SELECT posting FROM {{documents}} WHERE source_known_at <= {known})"
        return condition

    def _group(self, month: str) -> str:
        columns = dict.fromkeys([*self._keys, "currency", "base_unit"])
        return ", ".join(["1 AS one", *(f"{month} AS month" if each == "month" else each for each in columns)])

    def _where(self) -> str:
        where = [f" AND {COLUMNS[name]} = {self._value(f'where_{name}')}" for name in self._selection.where]
        only = [f" AND {COLUMNS[name]} = ANY({self._value(f'only_{name}')})" for name in self._only if name != "month"]
        return "".join([*where, *only])

    def _value(self, name: str) -> str:
        return f"%({self._name}_{name})s"


async def total(snapshot: Snapshot, selection: Selection) -> Figures:
    """The sums of a selection."""
    sums = Sums("total", (), selection, snapshot.position)
    rows = await snapshot.fetch(f"SELECT {_SUMS} FROM ({sums.by_group()}) total", sums.values)
    return await _exact(snapshot, selection, _figures(rows[0]) if rows else Figures())


async def groups(snapshot: Snapshot, selection: Selection, division: Division) -> list[Group]:
    """The groups of a selection, in the order of their keys or the largest first; one more than asked for, if any."""
    if _MANY.isdisjoint(division.by):
        found = await _groups(snapshot, selection, division)
    else:
        found = await _groups_of_many(snapshot, selection, division)
    return [
        replace(each, figures=await _exact(snapshot, selection.of_group(division.by, each.keys), each.figures))
        for each in found
    ]


async def _groups(snapshot: Snapshot, selection: Selection, division: Division) -> list[Group]:
    current = Sums("current", division.by, selection, snapshot.position)
    statement, values = ranked_statement(current.by_group(), _SUMS, selection, division, snapshot.position)
    keys = len(division.by)
    rows = await snapshot.fetch(statement, current.values | values)
    return [Group(row[:keys], _figures(row[keys + 1 :]), row[keys]) for row in rows]


async def _groups_of_many(snapshot: Snapshot, selection: Selection, division: Division) -> list[Group]:
    """Rank all groups by the least that is needed for it, and look at all figures of those that are wanted only."""
    ranked = await _ranked(snapshot, selection, division)
    if not ranked:
        return []
    sums = Sums("figures", division.by, selection, snapshot.position, only=[each.keys for each in ranked])
    columns = "".join(f"{COLUMNS[name]}, " for name in division.by)
    rows = await snapshot.fetch(f"SELECT {columns}{_SUMS} FROM ({sums.by_group()}) figures", sums.values)
    figures = {row[: len(division.by)]: _figures(row[len(division.by) :]) for row in rows}
    return [Group(each.keys, figures.get(each.keys, Figures()), each.base_revenue) for each in ranked]


async def _ranked(snapshot: Snapshot, selection: Selection, division: Division) -> list["Ranked"]:
    """The same as `rank`; the first pages of a ranking are kept, and brought up to a later position where one can."""
    if not division.largest_first or selection.source_known_at is not None:
        return await rank(snapshot, selection, division)
    question = (
        snapshot.tables.build,
        selection.window,
        tuple(sorted(selection.where.items())),
        division.by,
        division.base,
    )
    kept = snapshot.kept.get(question)
    ranking = kept if isinstance(kept, Ranking) and kept.position <= snapshot.position else None
    if ranking is not None and ranking.position < snapshot.position:
        ranking = await _brought_up(snapshot, selection, division, ranking)
    if ranking is None:
        first = replace(division, limit=RANKS_KEPT, last=None)
        ranking = Ranking.of(snapshot.position, await rank(snapshot, selection, first))
    snapshot.kept.put(question, ranking)
    page = ranking.page(division)
    return await rank(snapshot, selection, division) if page is None else page


async def _brought_up(
    snapshot: Snapshot, selection: Selection, division: Division, ranking: "Ranking"
) -> "Ranking | None":
    """A ranking at the snapshot's position, made of an earlier one: what has changed since is ranked anew."""
    if "month" in division.by and division.base is not None:
        return None  # a month that has changed stands beside another one
    windows = [selection.window, *([division.base] if division.base else [])]
    changed: set[tuple[Any, ...]] = set()
    for window in windows:
        sums = Sums("changed", division.by, replace(selection, window=window), snapshot.position)
        values = sums.values | {"since": ranking.position, "rows": CHANGED_MAX}
        rows = await snapshot.fetch(f"{sums.changed('since')} LIMIT %(rows)s", values)
        if len(rows) == CHANGED_MAX:
            return None
        changed |= set(rows)
    again = replace(division, limit=len(changed), last=None)
    anew = await rank(snapshot, selection, again, sorted(changed)) if changed else []
    return ranking.moved(snapshot.position, changed, anew)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A group with what it is ranked by."""

    keys: tuple[Any, ...]
    revenue: Decimal
    base_revenue: Decimal

    def order(self) -> tuple[Any, ...]:
        """What it is ordered by: the largest revenue first, then the keys."""
        return -self.revenue, *self.keys

    def comes_after(self, revenue: Decimal, keys: Sequence[str]) -> bool:
        """Whether it comes after a group of this revenue and these keys."""
        return (-self.revenue, [str(each) for each in self.keys]) > (-revenue, list(keys))


@dataclass(frozen=True, slots=True)
class Ranking:
    """The first groups of a ranking at a position."""

    position: int
    groups: tuple[Ranked, ...]
    end: tuple[Any, ...] | None
    """Of the groups that come before this in the order, all are here; None: all there are."""

    @classmethod
    def of(cls, position: int, groups: Sequence[Ranked]) -> "Ranking":
        """The first `RANKS_KEPT` groups, of one more if there are more."""
        more = len(groups) > RANKS_KEPT
        return cls(position, tuple(groups[:RANKS_KEPT]), groups[RANKS_KEPT].order() if more else None)

    def moved(self, position: int, changed: set[tuple[Any, ...]], anew: Sequence[Ranked]) -> "Ranking":
        """The same at a later position, when these groups have changed and are now these."""
        groups = sorted([*(each for each in self.groups if each.keys not in changed), *anew], key=Ranked.order)
        known = [each for each in groups if self.end is None or each.order() < self.end]
        return Ranking(position, tuple(known), self.end)

    def page(self, division: Division) -> list[Ranked] | None:
        """The wanted groups, and one more if there are more; None if they may not all be here."""
        groups: Sequence[Ranked] = self.groups
        if division.last is not None:
            revenue, *keys = division.last
            after = Decimal(revenue), keys
            groups = [each for each in groups if each.comes_after(*after)]
        if len(groups) > division.limit or self.end is None:
            return list(groups[: division.limit + 1])
        return None


async def rank(
    snapshot: Snapshot, selection: Selection, division: Division, only: Sequence[Sequence[Any]] | None = None
) -> list[Ranked]:
    """The groups of a selection in their order, all of them or those with these keys; one more than asked for."""
    current = Sums("current", division.by, selection, snapshot.position, only)
    statement, values = ranked_statement(current.ranked(), "revenue", selection, division, snapshot.position, only=only)
    keys = len(division.by)
    rows = await snapshot.fetch(statement, current.values | values)
    return [Ranked(row[:keys], row[keys + 1] or Decimal(0), row[keys]) for row in rows]


def ranked_statement(  # noqa: PLR0913 - what is ranked, and which of it is wanted
    current: str,
    columns: str,
    selection: Selection,
    division: Division,
    position: int,
    *,
    only: Sequence[Sequence[Any]] | None = None,
) -> tuple[str, dict[str, object]]:
    """A statement that orders groups: their keys, the revenue that is compared with, and the columns of `current`."""
    keys = [COLUMNS[name] for name in division.by]
    values: dict[str, object] = {"rows": division.limit + 1}
    base, join, base_revenue = "", "", "0::numeric"
    if division.base is not None:
        prior = Sums("base", division.by, replace(selection, window=division.base), position, only)
        values |= prior.values | {"shift": division.base_months}
        month = "(month + make_interval(months => %(shift)s))::date AS month"
        shifted = ", ".join(["one", *(month if key == "month" else key for key in keys)])
        base = f", base AS (SELECT {shifted}, base_revenue FROM ({prior.ranked('base_revenue')}) base)"
        join = f"FULL JOIN base USING ({', '.join(['one', *keys])})"
        base_revenue = "coalesce(base_revenue, 0)"
    after, after_values = _after(keys, division.last)
    if only is not None:
        arrays = ", ".join(f"%(current_only_{name})s::{_TYPES.get(COLUMNS[name], 'text')}[]" for name in division.by)
        after += f" AND ({', '.join(keys)}) IN (SELECT * FROM unnest({arrays}))"
    order = ", ".join([*(["coalesce(revenue, 0) DESC"] if division.largest_first else []), *keys, "one"])
    statement = f"""
        WITH current AS ({current}){base}
        SELECT {"".join(f"{key}, " for key in keys)}{base_revenue}, {columns} FROM current {join}
         WHERE {after} ORDER BY {order} LIMIT %(rows)s"""
    return statement, values | after_values


async def categories_of_today(snapshot: Snapshot, selection: Selection) -> int:
    """How many lines of a selection by the knowledge of the source are in a category that it did not know then."""
    sums = Sums("of_today", ("category",), selection, snapshot.position)
    ((lines,),) = await snapshot.fetch(sums.of_today(), sums.values)
    return int(lines)


async def positions_behind(
    snapshot: Snapshot, selection: Selection, by: Sequence[str], after: int, limit: int
) -> list[int]:
    """The positions of the events behind the facts of a selection, in order, after a position."""
    sums = Sums("behind", by, selection, snapshot.position)
    rows = await snapshot.fetch(
        f"{sums.positions()} ORDER BY position LIMIT %(rows)s", sums.values | {"after": after, "rows": limit}
    )
    return [position for (position,) in rows]


async def _exact(snapshot: Snapshot, selection: Selection, figures: Figures) -> Figures:
    """The same with the first and the last day of the facts themselves, where those of the roll-ups may be others."""
    if not figures.superseded or "category" not in selection.where:
        return figures
    sums = Sums("exact", (), selection, snapshot.position)
    ((first_day, last_day),) = await snapshot.fetch(sums.days(), sums.values)
    return replace(figures, first_day=first_day, last_day=last_day)


def _after(keys: Sequence[str], last: Sequence[str] | None) -> tuple[str, dict[str, object]]:
    """The condition that a group comes after the last one of the page before."""
    if last is None:
        return "true", {}
    revenue, last_keys = last[: len(last) - len(keys)], last[len(last) - len(keys) :]
    values: dict[str, object] = {f"after_{key}": value for key, value in zip(keys, last_keys, strict=True)}
    placeholders = ", ".join(f"%(after_{key})s::{_TYPES.get(key, 'text')}" for key in keys)
    later = f"({', '.join(keys)}) > ({placeholders})"
    if not revenue:
        return later, values
    mine, limit = "coalesce(revenue, 0)", "%(after_revenue)s::numeric"
    return f"({mine} < {limit} OR {mine} = {limit} AND {later})", values | {"after_revenue": revenue[0]}


def _figures(row: Sequence[Any]) -> Figures:
    """The columns `_SUMS`; they are null where a group has facts in the compared window only."""
    if row[0] is None:
        return Figures()
    lines, revenue, invoiced, left_by_rounding, invoices, without_quantity, superseded, first_day, last_day, *lists = (
        row
    )
    currencies, net_amounts, base_units, base_quantities, with_quantity = lists
    return Figures(
        lines=int(lines),
        revenue=revenue,
        invoiced=invoiced,
        left_by_rounding=left_by_rounding,
        invoices=int(invoices),
        lines_without_quantity=int(without_quantity),
        first_day=first_day,
        last_day=last_day,
        net_amounts=_added(currencies, net_amounts, [1] * len(currencies)),
        quantities=_added(base_units, base_quantities, with_quantity),
        superseded=int(superseded),
    )


def _added(names: Sequence[str], amounts: Sequence[Decimal], counts: Sequence[int]) -> tuple[tuple[str, Decimal], ...]:
    """Amounts by name, of what there is any of."""
    added: dict[str, Decimal] = {}
    for name, amount, count in zip(names, amounts, counts, strict=True):
        if count:
            added[name] = added.get(name, Decimal(0)) + amount
    return tuple(sorted(added.items()))
