"""Sums of revenue: of any window and any values of some dimensions, by some dimensions, as known at any position.

A sum at a position is whole blocks of a roll-up plus the facts since the last block. Whole months come from roll-ups by
month, the days at the window's edges from roll-ups by day. Where no roll-up divides by what is asked, the facts
themselves are summed. Either way the result is the same to the cent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from projections.read_model import Snapshot
from projections.revenue_statistics import INVOICES, MEASURES, ROLL_UPS, invoices_in
from projections.rollups import Blocks, RollUp, cover, covered

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
_TYPES: Final = {"month": "date", "customer_id": "uuid", "product_id": "uuid"}
_SUMS: Final = (
    "lines, revenue, invoiced, invoices, lines_without_quantity, superseded, first_day, last_day, currencies, "
    "net_amounts, base_units, base_quantities, lines_with_quantity"
)


@dataclass(frozen=True, slots=True)
class Window:
    """Local dates from `first` up to but without `end`."""

    first: date
    end: date

    def whole_months(self) -> "Window":
        """The months that lie in it entirely; an empty window at its end where there is none."""
        first = self.first if self.first.day == 1 else next_month(self.first)
        end = self.end.replace(day=1)
        return Window(first, end) if first < end else Window(self.end, self.end)

    def within_month(self, month: date) -> "Window":
        """Its days in a month; an empty window where there is none."""
        first = max(self.first, month)
        return Window(first, max(first, min(self.end, next_month(month))))

    def before(self, months: int) -> "Window":
        """The same days some months before. Windows that meet still meet."""
        return Window(months_before(self.first, months), months_before(self.end, months))

    def months(self) -> int | None:
        """How many months it is; None if it is not whole months."""
        if self.first.day != 1 or self.end.day != 1:
            return None
        return (self.end.year - self.first.year) * 12 + self.end.month - self.first.month


def next_month(day: date) -> date:
    """The first day of the month after."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def months_before(day: date, months: int) -> date:
    """The same day some months before; where that month has no such day, the first of the month after it."""
    count = day.year * 12 + day.month - 1 - months
    first = date(count // 12, count % 12 + 1, 1)
    moved = first + timedelta(days=day.day - 1)
    return moved if moved.month == first.month else next_month(first)


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


class _Sums:
    """A statement that sums a selection by some dimensions at a position; it may be part of a larger one."""

    def __init__(self, name: str, by: Sequence[str], selection: Selection, position: int) -> None:
        self._name = name
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
        }
        self.values: dict[str, object] = {f"{name}_{each}": value for each, value in own.items()}

    def by_group(self) -> str:
        """One row for each group: `one`, the columns of the dimensions, and `_SUMS`."""
        finest = ", ".join(dict.fromkeys(["one", *self._keys, "currency", "base_unit"]))
        sums = ", ".join(f"sum({name}) AS {name}" for name in (*MEASURES, "invoices", "superseded"))
        parts = " UNION ALL ".join(self._parts()) or self._facts("false")
        keys = ", ".join(["one", *self._keys])
        return f"""
            SELECT {keys}, sum(lines) AS lines, sum(revenue) AS revenue, sum(invoiced) AS invoiced,
                   sum(invoices) AS invoices, sum(lines_without_quantity) AS lines_without_quantity,
                   sum(superseded) AS superseded, min(first_day) AS first_day, max(last_day) AS last_day,
                   array_agg(currency ORDER BY currency, base_unit) AS currencies,
                   array_agg(net_amount ORDER BY currency, base_unit) AS net_amounts,
                   array_agg(base_unit ORDER BY currency, base_unit) AS base_units,
                   array_agg(base_quantity ORDER BY currency, base_unit) AS base_quantities,
                   array_agg(lines - lines_without_quantity ORDER BY currency, base_unit) AS lines_with_quantity
              FROM (SELECT {finest}, {sums}, min(first_day) AS first_day, max(last_day) AS last_day
                      FROM ({parts}) parts GROUP BY {finest} HAVING sum(lines) > 0) finest
             GROUP BY {keys}"""

    def days(self) -> str:
        """The first and the last day of the facts themselves."""
        return f"SELECT min(posted_on), max(posted_on) FROM {{facts}} WHERE {self._visible('first', 'end')}"

    def positions(self) -> str:
        """The positions behind the facts: of their postings, and of what replaced them."""
        return (
            "SELECT DISTINCT behind.position FROM {facts} "
            "CROSS JOIN LATERAL (VALUES (facts.posting), (facts.position)) behind (position) "
            f"WHERE {self._visible('first', 'end', 'facts.')} AND behind.position > %(after)s"
        )

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
            f"{day} AS last_day FROM {{facts}} WHERE {condition}"
        )

    def _since(self, tail: int, column: str) -> str:
        return f"{column} >= {tail} AND {column} <= {self._value('position')}"

    def _days(self, first: str, end: str, column: str = "posted_on") -> str:
        return f"{column} >= {self._value(first)} AND {column} < {self._value(end)}"

    def _visible(self, first: str, end: str, table: str = "") -> str:
        """The facts of some days that were known at the position, as they were then."""
        at = self._value("position")
        condition = (
            f"{self._days(first, end)} AND {table}position <= {at} "
            f"AND (superseded_at_position IS NULL OR superseded_at_position > {at}){self._where()}"
        )
        if self._selection.source_known_at is not None:
            known = self._value("known_at")
            condition += f" AND posting IN (SELECT posting FROM {{documents}} WHERE source_known_at <= {known})"
        return condition

    def _group(self, month: str) -> str:
        columns = dict.fromkeys([*self._keys, "currency", "base_unit"])
        return ", ".join(["1 AS one", *(f"{month} AS month" if each == "month" else each for each in columns)])

    def _where(self) -> str:
        return "".join(f" AND {COLUMNS[name]} = {self._value(f'where_{name}')}" for name in self._selection.where)

    def _value(self, name: str) -> str:
        return f"%({self._name}_{name})s"


async def total(snapshot: Snapshot, selection: Selection) -> Figures:
    """The sums of a selection."""
    sums = _Sums("total", (), selection, snapshot.position)
    rows = await snapshot.fetch(f"SELECT {_SUMS} FROM ({sums.by_group()}) total", sums.values)
    return await _exact(snapshot, selection, _figures(rows[0]) if rows else Figures())


async def groups(snapshot: Snapshot, selection: Selection, division: Division) -> list[Group]:
    """The groups of a selection, in the order of their keys or the largest first; one more than asked for, if any."""
    keys = [COLUMNS[name] for name in division.by]
    current = _Sums("current", division.by, selection, snapshot.position)
    values = dict(current.values)
    base, join, base_revenue = "", "", "0::numeric"
    if division.base is not None:
        prior = _Sums("base", division.by, replace(selection, window=division.base), snapshot.position)
        values |= prior.values | {"shift": division.base_months}
        month = "(month + make_interval(months => %(shift)s))::date AS month"
        columns = ", ".join(["one", *(month if key == "month" else key for key in keys)])
        base = f", base AS (SELECT {columns}, revenue AS base_revenue FROM ({prior.by_group()}) base)"
        join = f"FULL JOIN base USING ({', '.join(['one', *keys])})"
        base_revenue = "coalesce(base_revenue, 0)"
    after, after_values = _after(keys, division.last)
    order = ", ".join([*(["coalesce(revenue, 0) DESC"] if division.largest_first else []), *keys, "one"])
    rows = await snapshot.fetch(
        f"""
        WITH current AS ({current.by_group()}){base}
        SELECT {"".join(f"{key}, " for key in keys)}{base_revenue}, {_SUMS} FROM current {join}
         WHERE {after} ORDER BY {order} LIMIT %(rows)s
        """,
        values | after_values | {"rows": division.limit + 1},
    )
    found = [Group(row[: len(keys)], _figures(row[len(keys) + 1 :]), row[len(keys)]) for row in rows]
    return [
        replace(each, figures=await _exact(snapshot, selection.of_group(division.by, each.keys), each.figures))
        for each in found
    ]


async def positions_behind(snapshot: Snapshot, selection: Selection, after: int, limit: int) -> list[int]:
    """The positions of the events behind the facts of a selection, in order, after a position."""
    sums = _Sums("behind", (), selection, snapshot.position)
    rows = await snapshot.fetch(
        f"{sums.positions()} ORDER BY position LIMIT %(rows)s", sums.values | {"after": after, "rows": limit}
    )
    return [position for (position,) in rows]


async def _exact(snapshot: Snapshot, selection: Selection, figures: Figures) -> Figures:
    """The same with the first and the last day of the facts themselves, where those of the roll-ups may be others."""
    if not figures.superseded or "category" not in selection.where:
        return figures
    sums = _Sums("exact", (), selection, snapshot.position)
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
    lines, revenue, invoiced, invoices, without_quantity, superseded, first_day, last_day, *lists = row
    currencies, net_amounts, base_units, base_quantities, with_quantity = lists
    return Figures(
        lines=int(lines),
        revenue=revenue,
        invoiced=invoiced,
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
