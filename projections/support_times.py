"""Response times of a selection: how many there are, their sums, their percentiles, and what is still running.

Sums come from a roll-up where one divides by what is asked, and the facts since its last block; else from the facts.
Either way they are counted by bucket. A percentile is then looked for among the facts of its bucket only, so that it is
exact, and does not need all of them in their order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from domain.case_facts import FactName
from domain.case_figures import BusinessRule
from domain.case_phases import Clock
from domain.case_status import CaseStatus
from projections.read_model import Snapshot
from projections.rollups import RollUp, cover, covered
from projections.statistics import rank
from projections.support_facts import VISIBLE, Selection
from projections.support_selection import TYPES, after_row, condition
from projections.support_tables import (
    CLOCKS,
    NOBODY,
    RUNNING_PHASES,
    TABLE_OF_TIME,
    TIMES_BY,
    bucket_of,
    only_time,
    time_of,
    times_of,
)
from projections.windows import Window

ENOUGH: Final[Mapping[int, int]] = {50: 1, 90: 20, 99: 100}
"""The percentiles that are told, and of how many times at least: of fewer it says nothing."""
_CLOCKS_OF: Final[Mapping[FactName, Clock]] = {
    FactName.FIRST_RESPONSE: Clock.FIRST_RESPONSE,
    FactName.FIRST_RESPONSE_BY_HUMAN: Clock.FIRST_RESPONSE_BY_HUMAN,
    FactName.FIRST_RESPONSE_ZENDESK: Clock.FIRST_RESPONSE_ZENDESK,
    FactName.NEXT_RESPONSE: Clock.NEXT_RESPONSE,
    FactName.NEXT_RESPONSE_OF_AGENTS: Clock.NEXT_RESPONSE,
    FactName.FIRST_RESOLUTION: Clock.FIRST_RESOLUTION,
}
"""What runs until these times are known; of the others the cases themselves are running, since their opening."""
_MANY: Final = frozenset({"customer_id", "product_id", "staff_id"})
"""Columns with so many values that only those of a page are summed."""

Keys: TypeAlias = tuple[Any, ...]
"""The values of the dimensions."""


@dataclass(slots=True)
class Times:
    """The times of a group by one clock."""

    n: int = 0
    total: int = 0
    by_bucket: dict[int, int] = field(default_factory=dict)
    """How many there are in each bucket."""
    neighbours: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By percent the two times between which the percentile lies."""
    excluded: dict[str, int] = field(default_factory=dict)
    """How many have no time, by reason."""


@dataclass(slots=True)
class Group:
    """The times of one measure and one value of each dimension."""

    name: FactName
    keys: Keys
    times: dict[str, Times] = field(default_factory=lambda: {clock: Times() for clock in CLOCKS})
    """By clock."""
    facts: int = 0
    answered_live: int = 0
    people: int = 0
    """How many stand behind the times; told only where that matters."""
    running: int = 0
    running_since: datetime | None = None
    """Since when the oldest of what has not stopped."""

    @property
    def order(self) -> tuple[str, ...]:
        """What groups are ordered by."""
        return str(self.name), *map(str, self.keys)


async def groups(
    snapshot: Snapshot, selection: Selection, name: FactName, limit: int, last: Sequence[str] | None
) -> tuple[list[Group], int | None]:
    """The groups of a page, in the order of their dimensions, and one more if there are more; `last` are the last keys.

    Also how many facts there are in all, where that is known by the way. A group in which something is running is told,
    even where nothing has stopped. Where nothing is divided there is one group.
    """
    wanted = await _wanted(snapshot, selection, name, limit, last)
    found = await sums(snapshot, selection, name, wanted)
    facts = sum(group.facts for group in found.values()) if wanted is None else None
    for keys, (count, since) in (await running(snapshot, selection, name, wanted)).items():
        group = found.setdefault(keys, Group(name, keys))
        group.running, group.running_since = count, since
    if not selection.by:
        found.setdefault((), Group(name, ()))
    page = sorted((group for group in found.values() if _is_after(group, last)), key=lambda group: group.order)
    page = page[: limit + 1]
    if selection.hides_small_groups:
        await count_people(snapshot, selection, name, page)
    await _look_up(snapshot, selection, name, page)
    return page, facts


def _is_after(group: Group, last: Sequence[str] | None) -> bool:
    return last is None or group.order[1:] > tuple(last)


async def _wanted(
    snapshot: Snapshot, selection: Selection, name: FactName, limit: int, last: Sequence[str] | None
) -> Mapping[str, Sequence[Any]] | None:
    """The values of the columns that have many, on this page; None where all groups are summed."""
    keys = selection.columns
    if _MANY.isdisjoint(keys):
        return None
    after, values = after_row(keys, last)
    listed = ", ".join(keys)
    stopped = f"SELECT {_named(selection)}NULL::timestamptz FROM {{{TABLE_OF_TIME[name]}}} WHERE {selection.condition}"
    phases = running_phases(selection, name)
    either = f"{stopped} UNION ALL SELECT {listed}, began FROM ({phases}) phases" if phases else stopped
    rows = await snapshot.fetch(
        f"SELECT DISTINCT {listed} FROM ({either}) groups WHERE {after} ORDER BY {listed} LIMIT %(rows)s",
        {**selection.values(snapshot), **values, "rows": limit + 1},
    )
    return {column: [*{row[place] for row in rows}] for place, column in enumerate(keys) if column in _MANY}


def _only(wanted: Mapping[str, Sequence[Any]] | None) -> str:
    """A condition that picks rows with these values."""
    return " AND ".join(["true", *(f"{column} = ANY(%(only_{column})s)" for column in wanted or ())])


def _values_of_only(wanted: Mapping[str, Sequence[Any]] | None) -> dict[str, object]:
    return {f"only_{column}": values for column, values in (wanted or {}).items()}


def _named(selection: Selection) -> str:
    """The columns of the dimensions, selected from facts."""
    return "".join(f"{selection.month} AS month, " if each == "month" else f"{each}, " for each in selection.columns)


# Sums


_SUMS: Final = """
    SELECT {named}clock, reason, sum(facts)::bigint, sum(n)::bigint, sum(total)::bigint, sum(answered_live)::bigint,
           array_agg(bucket), array_agg(n)
      FROM (SELECT {named}clock, reason, bucket, sum(facts)::bigint AS facts, sum(n)::bigint AS n, sum(total) AS total,
                   sum(answered_live)::bigint AS answered_live
              FROM ({parts}) parts WHERE {wanted} GROUP BY {named}clock, reason, bucket HAVING sum(facts) <> 0) buckets
     GROUP BY {named}clock, reason"""


async def sums(
    snapshot: Snapshot, selection: Selection, name: FactName, wanted: Mapping[str, Sequence[Any]] | None = None
) -> dict[Keys, Group]:
    """The groups in which something has stopped, with how many there are in each bucket."""
    selection = await _without_needless_cut(snapshot, selection, name)
    rows = await snapshot.fetch(
        _SUMS,
        {**selection.values(snapshot), **_values_of_only(wanted), "measure": str(name)},
        named="".join(f"{each}, " for each in selection.columns),
        parts=" UNION ALL ".join(_parts(snapshot, selection, name)),
        wanted=_only(wanted),
    )
    found: dict[Keys, Group] = {}
    for *keys, clock, reason, facts, n, total, live, buckets, counts in rows:
        group = found.setdefault(tuple(keys), Group(name, tuple(keys)))
        times = group.times[clock]
        times.n, times.total = times.n + n, times.total + total
        for bucket, count in zip(buckets, counts, strict=True):
            times.by_bucket[bucket] = times.by_bucket.get(bucket, 0) + count
        if facts > n:
            times.excluded[reason] = times.excluded.get(reason, 0) + facts - n
        if clock == CLOCKS[0]:
            group.facts, group.answered_live = group.facts + facts, group.answered_live + live
    return found


async def _without_needless_cut(snapshot: Snapshot, selection: Selection, name: FactName) -> Selection:
    """The same question, with a window of whole days where nothing lies behind the moment at which it is cut.

    So it is whenever one asks as of now, and then whole months are summed already.
    """
    if selection.window.until is None or _roll_up(snapshot, selection) is None:
        return selection
    ((is_cut,),) = await snapshot.fetch(
        f"SELECT EXISTS (SELECT FROM {{{TABLE_OF_TIME[name]}}} WHERE at >= %(end)s)", selection.values(snapshot)
    )
    return selection if is_cut else replace(selection, window=replace(selection.window, until=None))


async def count_facts(snapshot: Snapshot, selection: Selection, names: Iterable[FactName]) -> int:
    """How many facts there are, of which these are times."""
    undivided = replace(selection, by=())
    counts = 0
    for name in {TABLE_OF_TIME[name]: name for name in names}.values():
        asked = await _without_needless_cut(snapshot, undivided, name)
        ((facts,),) = await snapshot.fetch(
            f"SELECT coalesce(sum(facts), 0)::bigint FROM ({' UNION ALL '.join(_parts(snapshot, asked, name))}) "
            f"parts WHERE clock = '{CLOCKS[0]}'",
            {**asked.values(snapshot), "measure": str(name)},
        )
        counts += facts
    return counts


def _parts(snapshot: Snapshot, selection: Selection, name: FactName) -> Iterator[str]:
    """The rows that are summed: whole months of a roll-up, what has come and gone since, and the other days."""
    roll_up = _roll_up(snapshot, selection)
    if roll_up is None:
        yield _of_facts(selection, name, selection.condition)
        return
    blocks, tail = cover(snapshot.position, roll_up.levels)
    days = selection.window.whole_days
    months = days.whole_months()
    where, columns = condition(selection.where), selection.columns
    named = "".join("period AS month, " if each == "month" else f"{each}, " for each in columns)
    yield (
        f"SELECT {named}clock, bucket, reason, facts, n, total, answered_live FROM {{{roll_up.name}}} "
        f"WHERE measure = %(measure)s AND {covered(blocks)} AND {_within(months, 'period')}{where}"
    )
    for column, sign in (("position", ""), ("superseded_at_position", "-")):
        since = f"{column} >= {tail} AND {column} <= %(position)s"
        yield _of_facts(selection, name, f"{since} AND {_within(months, 'month')}{where}", sign)
    for edge in days.edges():
        yield _of_facts(selection, name, f"{VISIBLE} AND {_within(edge, 'day')}{where}")
    if selection.window.rest is not None:
        first, end = selection.window.rest
        yield _of_facts(selection, name, f"{VISIBLE} AND at >= '{first}' AND at < '{end}'{where}")


def _within(days: Window, column: str) -> str:
    return f"{column} >= '{days.first}' AND {column} < '{days.end}'"


def _of_facts(selection: Selection, name: FactName, where: str, sign: str = "") -> str:
    return (
        f"SELECT {_named(selection)}clock, bucket, reason, {sign}1 AS facts, "
        f"{sign}(CASE WHEN time IS NULL THEN 0 ELSE 1 END) AS n, {sign}coalesce(time, 0) AS total, "
        f"{sign}live AS answered_live FROM ({times_of(name, selection.business_rule)}) times WHERE {where}"
    )


def _roll_up(snapshot: Snapshot, selection: Selection) -> RollUp | None:
    """The roll-up that divides by all that is asked for, if there is one."""
    usual = selection.basis == "event" and selection.business_rule == BusinessRule.INTEGRATE
    if not usual or not selection.has_own_days:
        return None
    asked = {*selection.columns, *selection.where} - {"month"}
    found = next((roll_up for columns, roll_up in TIMES_BY.items() if asked == {*columns}), None)
    return found if found is not None and cover(snapshot.position, found.levels)[0] else None


# Percentiles


class _Place(NamedTuple):
    """Where a time is: in which group, in which bucket, and at which place among those of the group, from 1."""

    keys: Keys
    bucket: int
    rank: int


async def _look_up(snapshot: Snapshot, selection: Selection, name: FactName, page: Iterable[Group]) -> None:
    """Find the times between which the percentiles lie."""
    groups_of_page = list(page)
    for clock in CLOCKS:
        looked = [(group, each) for group in groups_of_page for each in _neighbours(group.times[clock].n)]
        places = [(group, place) for group, (_, places) in looked for place in places]
        found = iter(await times_at(snapshot, selection, name, clock, places))
        for (group, (percent, _)), neighbours in zip(looked, zip(found, found, strict=True), strict=True):
            group.times[clock].neighbours[percent] = neighbours


def _neighbours(n: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """The percentiles that so many times have, each with the places of the two times between which it lies."""
    for percent, enough in ENOUGH.items():
        if n >= enough:
            yield percent, rank(n, percent)


async def times_at(
    snapshot: Snapshot, selection: Selection, name: FactName, clock: str, places: Iterable[tuple[Group, int]]
) -> list[int]:
    """The times at places in the order of all times of their groups, from 1."""
    wanted = [_Place(group.keys, *_bucket_of(group.times[clock].by_bucket, place)) for group, place in places]
    unknown = list(dict.fromkeys(place for place in wanted if only_time(place.bucket) is None))
    found = dict(zip(unknown, await _found(snapshot, selection, name, clock, unknown), strict=True)) if unknown else {}
    return [found.get(place, place.bucket) for place in wanted]


def _bucket_of(by_bucket: Mapping[int, int], place: int) -> tuple[int, int]:
    """The bucket of the time at a place in the order of all, and its place in that."""
    for bucket in sorted(by_bucket):
        if place <= by_bucket[bucket]:
            return bucket, place
        place -= by_bucket[bucket]
    msg = "there are fewer times than were counted"
    raise ValueError(msg)


_FOUND: Final = """
    WITH looked AS (SELECT * FROM unnest({wanted}%(buckets)s::smallint[], %(ranks)s::bigint[])
                                  WITH ORDINALITY looked ({keys}bucket, rank, place)),
         ranked AS (SELECT {keys}bucket, time, row_number() OVER (PARTITION BY {keys}bucket ORDER BY time) AS rank
                      FROM (SELECT DISTINCT {keys}bucket FROM looked) wanted
                      JOIN (SELECT {named}{bucket} AS bucket, {time} AS time FROM {facts}
                             WHERE {selected} AND {time} IS NOT NULL) facts USING ({keys}bucket))
    SELECT time FROM looked JOIN ranked USING ({keys}bucket, rank) ORDER BY place"""


async def _found(
    snapshot: Snapshot, selection: Selection, name: FactName, clock: str, places: Sequence[_Place]
) -> list[int]:
    """The times at these places, in their order."""
    columns = list(enumerate(selection.columns))
    rows = await snapshot.fetch(
        _FOUND,
        {
            **selection.values(snapshot),
            **{f"keys_{number}": [each.keys[number] for each in places] for number, _ in columns},
            "buckets": [each.bucket for each in places],
            "ranks": [each.rank for each in places],
        },
        wanted="".join(f"{_as_array(number, column)}, " for number, column in columns),
        keys="".join(f"key_{number}, " for number, _ in columns),
        named="".join(
            f"{selection.month if column == 'month' else column} AS key_{number}, " for number, column in columns
        ),
        bucket=bucket_of(name, clock, selection.business_rule),
        time=time_of(name, clock, selection.business_rule),
        facts=snapshot.tables[TABLE_OF_TIME[name]],
        selected=selection.condition,
    )
    return [time for (time,) in rows]


def _as_array(number: int, column: str) -> str:
    """The values of a dimension, in their type."""
    return f"%(keys_{number})s::{TYPES[column]}[]" if column in TYPES else f'%(keys_{number})s::text[] COLLATE "C"'


# Who stands behind the times, and what is still running


async def count_people(snapshot: Snapshot, selection: Selection, name: FactName, page: Iterable[Group]) -> None:
    """Find out how many people stand behind these groups."""
    keys = selection.columns
    grouped = f"GROUP BY {', '.join(keys)}" if keys else ""
    rows = await snapshot.fetch(
        f"SELECT {''.join(f'{each}, ' for each in keys)}count(person) FROM ("
        f"SELECT DISTINCT {_named(selection)}nullif(staff_id, '{NOBODY}') AS person FROM {{{TABLE_OF_TIME[name]}}} "
        f"WHERE {selection.condition}) behind {grouped}",
        selection.values(snapshot),
    )
    people = {tuple(of_group): count for *of_group, count in rows}
    for group in page:
        group.people = people.get(group.keys, 0)


def running_phases(selection: Selection, name: FactName) -> str:
    """A query: the phases in which a time was running at the moment, since when and by which event, and what told so.

    Empty where what is running belongs to no month.
    """
    is_of_opening, clock = selection.basis == "opened", _CLOCKS_OF.get(name)
    if "month" in selection.by and not is_of_opening:
        return ""
    began, by, runs = ("opened_at", "opened_by", f"status <> '{CaseStatus.MERGED}'")
    if clock is not None:
        began, by, runs = (f"{clock}_since", f"{clock}_by", f"{clock}_since IS NOT NULL")
    opened = " AND opened_at >= %(first)s AND opened_at < %(end)s" if is_of_opening else ""
    return (
        f"SELECT {_named(selection)}{began} AS began, {by} AS began_by, position FROM {RUNNING_PHASES} "
        f"WHERE {runs}{opened}{condition(selection.where)}"
    )


def behind_running(selection: Selection, names: Iterable[FactName]) -> Iterator[str]:
    """Queries of the positions behind what is running: what started it, and what told so last."""
    for phases in dict.fromkeys(running_phases(selection, name) for name in names):
        if phases:
            yield f"SELECT unnest(ARRAY[began_by, position]) AS position FROM ({phases}) running"


async def running(
    snapshot: Snapshot, selection: Selection, name: FactName, wanted: Mapping[str, Sequence[Any]] | None = None
) -> dict[Keys, tuple[int, datetime]]:
    """How many of a time are running, and since when the oldest, by the dimensions."""
    phases, keys = running_phases(selection, name), selection.columns
    if not phases:
        return {}
    grouped = f"GROUP BY {', '.join(keys)}" if keys else ""
    rows = await snapshot.fetch(
        f"SELECT {''.join(f'{each}, ' for each in keys)}count(*), min(began) FROM ({phases}) running "
        f"WHERE {_only(wanted)} {grouped}",
        {**selection.values(snapshot), **_values_of_only(wanted)},
    )
    return {tuple(of_group): (count, began) for *of_group, count, began in rows if count}
