"""Response times of a selection: how many there are, their sums, their percentiles, and what is still running.

Percentiles are exact: of the times in their order those are picked between which each percentile lies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from domain.case_facts import FactName
from domain.case_phases import Awaited
from domain.case_timeline import Reason
from projections.read_model import Snapshot
from projections.support_facts import BASES, Selection, selected
from projections.support_response_times import NOBODY
from projections.support_selection import COLUMNS, LASTING, after_row, condition

CLOCKS: Final = ("calendar", "business")
PERCENTS: Final = (50, 90, 99)
NOT_TOLD: Final = "not_told"
AWAITED: Final[Mapping[FactName, str]] = {
    FactName.FIRST_RESPONSE: Awaited.FIRST_RESPONSE,
    FactName.FIRST_RESPONSE_BY_HUMAN: Awaited.FIRST_RESPONSE,
    FactName.NEXT_RESPONSE: Awaited.NEXT_RESPONSE,
    FactName.NEXT_RESPONSE_OF_AGENTS: Awaited.NEXT_RESPONSE,
    FactName.FIRST_RESPONSE_ZENDESK: NOT_TOLD,
}
"""What customers wait for while a time is running; of the others the cases themselves are running."""


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a group by one clock."""

    n: int
    total: int
    neighbours: tuple[int, ...]
    """The two between which each percentile lies."""


@dataclass(frozen=True, slots=True)
class Group:
    """The times of one measure and one value of each dimension."""

    name: FactName
    keys: tuple[Any, ...]
    times: Mapping[str, Times]
    """By clock."""
    people: int
    """How many stand behind the times."""
    running: int
    running_since: datetime | None
    """Since when the oldest of what has not stopped."""
    reasons: Mapping[Reason, int]
    """How many facts say so."""

    @property
    def order(self) -> tuple[object, ...]:
        """What groups are ordered by."""
        return self.name, *self.keys


_STOPPED: Final = """
    SELECT name, {counted_by}, {month} AS month, calendar_time, business_time, reason, nullif(staff_id, %(nobody)s)
           AS person, NULL::timestamptz AS began
      FROM {facts} facts WHERE {selected}"""
_RUNNING: Final = """
    SELECT measures.name, {counted_by}, {month} AS month, NULL, NULL, NULL, NULL,
           CASE WHEN measures.awaited = '' THEN opened_at ELSE waiting_since END
      FROM unnest(%(names)s::text[], %(awaited)s::text[]) measures (name, awaited)
      JOIN {phases} phases ON measures.awaited IN ('', phases.awaited) WHERE {lasting}"""
_GROUPS: Final = """
    SELECT {keys}, calendar_n, calendar_total, {calendar}, business_n, business_total, {business},
           people, running, running_since, {reasons}
      FROM (SELECT {keys}, count(calendar_time) AS calendar_n, sum(calendar_time) AS calendar_total,
                   array_agg(calendar_time ORDER BY calendar_time) FILTER (WHERE calendar_time IS NOT NULL) AS calendar,
                   count(business_time) AS business_n, sum(business_time) AS business_total,
                   array_agg(business_time ORDER BY business_time) FILTER (WHERE business_time IS NOT NULL) AS business,
                   count(DISTINCT person) AS people, count(began) AS running, min(began) AS running_since, {counts}
              FROM ({stopped}) selected GROUP BY {keys}) sums
     WHERE {after} ORDER BY {keys} LIMIT %(rows)s"""


async def groups(snapshot: Snapshot, selection: Selection, limit: int, last: Sequence[str] | None) -> list[Group]:
    """The groups of a page, in the order of measure and dimensions, and one more if there are more.

    A group in which something is running is told, even where nothing has stopped.
    """
    keys = ("name", *selection.columns)
    after, values = after_row(keys, last)
    by_month, is_of_opening = "month" in selection.by, selection.basis == "opened"
    stopped = _STOPPED if by_month and not is_of_opening else f"{_STOPPED} UNION ALL {_RUNNING}"
    awaited = [str(AWAITED.get(name, "")) for name in selection.names]
    opened = " AND opened_at >= %(first)s AND opened_at < %(end)s" if is_of_opening else ""
    rows = await snapshot.fetch(
        _GROUPS,
        {**selection.values(snapshot), **values, "awaited": awaited, "nobody": NOBODY, "rows": limit + 1},
        stopped=stopped,
        keys=", ".join(keys),
        counted_by=", ".join(COLUMNS.values()),
        month=f"date_trunc('month', {BASES[selection.basis]} AT TIME ZONE %(zone)s)::date"
        if by_month
        else "NULL::date",
        selected=selected(selection),
        lasting=LASTING + opened + condition(selection.where),
        after=after,
        reasons=", ".join(f'"{each}"' for each in Reason),
        counts=", ".join(f"count(*) FILTER (WHERE reason = '{each}') AS \"{each}\"" for each in Reason),
        **{clock: _neighbours(clock) for clock in CLOCKS},
    )
    found = [_group(row, len(keys)) for row in rows]
    return found if selection.by else _with_all_measures(found, selection, last)


def _with_all_measures(found: Sequence[Group], selection: Selection, last: Sequence[str] | None) -> list[Group]:
    """Where nothing is divided, each measure has its row, also where there is nothing to tell."""
    told = {group.name: group for group in found}
    names = sorted(name for name in selection.names if last is None or str(name) > last[0])
    return [told.get(name) or _nothing(name) for name in names]


def _nothing(name: FactName) -> Group:
    none = Times(0, 0, (0, 0) * len(PERCENTS))
    return Group(name, (), dict.fromkeys(CLOCKS, none), 0, 0, None, dict.fromkeys(Reason, 0))


def _neighbours(clock: str) -> str:
    """Of the times in their order those between which each percentile lies."""
    below = [f"(({clock}_n - 1) * {percent} / 100)::int" for percent in PERCENTS]
    return ", ".join(f"{clock}[{each} + 1], coalesce({clock}[{each} + 2], {clock}[{each} + 1])" for each in below)


def _group(row: Sequence[Any], keys: int) -> Group:
    """A row of `_GROUPS`."""
    name, *dimensions = row[:keys]
    of_clock = 2 + 2 * len(PERCENTS)
    of_clocks = [row[first : first + of_clock] for first in (keys, keys + of_clock)]
    people, running, running_since, *reasons = row[keys + 2 * of_clock :]
    return Group(
        name=FactName(name),
        keys=tuple(dimensions),
        times={
            clock: Times(n, int(total or 0), tuple(each or 0 for each in neighbours))
            for clock, (n, total, *neighbours) in zip(CLOCKS, of_clocks, strict=True)
        },
        people=people,
        running=running,
        running_since=running_since,
        reasons=dict(zip(Reason, reasons, strict=True)),
    )
