"""Waiting now: every open case and since when its customer has waited for a reply, the longest wait first.

The same question can be asked of any past instant. How long somebody has waited is measured in calendar time, and in
business time by the calendars that the case has had, as they are known.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from domain.case_events import CaseId
from domain.case_figures import Measure
from domain.case_phases import Awaited
from domain.case_reading import timelines
from domain.case_status import CaseStatus
from domain.case_timeline import CaseTimeline
from projections.case_entries import Calendars, Entries, read_entry
from projections.read_model import Snapshot
from projections.reports import (
    Evidence,
    Parameter,
    Parameters,
    Question,
    ReportAnswer,
    ReportDefinition,
    Row,
    Word,
    next_cursor,
)
from projections.support_response_times import NAME, VERSION, WITHDRAWN
from projections.support_selection import (
    COLUMNS,
    DIMENSIONS,
    PAGING,
    REASONS,
    WHERE,
    ask_alone,
    condition,
    microseconds_between,
    read_moment,
    read_where,
    shown_keys,
    values_of,
)
from projections.support_tables import OPEN_PHASES

_NOTHING: Final = "nothing"
_ANYTHING: Final = "anything"
_AWAITED: Final[Mapping[str, tuple[str, ...]]] = {
    _ANYTHING: ("", *Awaited),
    "reply": tuple(Awaited),
    **{each.value: (each,) for each in Awaited},
    _NOTHING: ("",),
}
"""What may be asked for, and what a phase then says."""

_COLUMNS: Final = (
    Word("case", "The case.", UUID),
    Word("case_number", "What it is called."),
    Word("awaited", "What the customer waits for.", values=tuple(Awaited)),
    Word("since", "Since when; where nobody waits for a reply, since when the case has been open.", datetime),
    Word("calendar_time", "How long that is, in microseconds.", int),
    Word("business_time", "The same within the working hours of the case's calendars.", int),
    Word("closes_at", "When its calendar closes next.", datetime),
    Word("status", "The state of the case.", values=tuple(CaseStatus)),
    Word("opened_at", "When it was opened.", datetime),
    *DIMENSIONS,
)


class WaitingNowReport:
    """Open cases, the longest wait first."""

    definition = ReportDefinition(
        name="waiting_now",
        version=VERSION,
        withdrawn=WITHDRAWN,
        model=NAME,
        moment="valid_at",
        title="Waiting now",
        meaning="Every case in which somebody has yet to do something, and since when the customer waits for a reply.",
        rules=(
            "A customer waits since the oldest message that no person has replied to in public.",
            "Cases in which nobody waits for a reply are told since their opening.",
            "The oldest come first, of equal ones the smaller id.",
        ),
        dimensions=(),
        measures=_COLUMNS,
        parameters=(
            Parameter("valid_at", "Instant as of which is told who waits; absent: now, or `known_at`.", value=datetime),
            Parameter("awaited", "Only cases in which this is awaited; absent: anything.", values=tuple(_AWAITED)),
            WHERE,
            *PAGING,
        ),
        reasons=(
            *REASONS,
            Word("no_calendar", "The case had no calendar for all of that time."),
            Word("no_working_time", "Its calendar has no closing time within a year."),
            Word("nothing_awaited", "Nobody waits for a reply."),
        ),
    )

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """See `Report.run`."""
        selection, asked, (limit, last) = _read(self.definition, parameters)
        await ask_alone(snapshot)
        found = await _waiting(snapshot, selection, limit, last)
        rows = await _rows(snapshot, found[:limit], selection.as_of)
        waiting = await _count(snapshot, selection)
        return ReportAnswer(
            definition=self.definition,
            position=snapshot.position,
            question=asked,
            basis="cases that were open at valid_at",
            n=waiting,
            rows_in_all=waiting,
            columns=tuple(word.name for word in _COLUMNS),
            rows=rows,
            next_cursor=next_cursor(snapshot, asked, [(each.since.isoformat(), each.case_id) for each in found], limit),
        )

    async def evidence(self, snapshot: Snapshot, parameters: Parameters) -> Evidence:
        """See `Report.evidence`: the openings, the messages that wait, and what was said last."""
        selection, asked, _ = _read(self.definition, parameters)
        limit, last = Question(self.definition, parameters).page(["evidence", asked])
        await ask_alone(snapshot)
        rows = await snapshot.fetch(
            "SELECT DISTINCT position FROM (SELECT unnest(ARRAY[opened_by, waiting_by, position]) AS position "
            "FROM {open_phases} WHERE {waiting}) behind WHERE position > %(after)s ORDER BY position LIMIT %(rows)s",
            {**selection.values(snapshot), "after": int(last[0]) if last else 0, "rows": limit + 1},
            open_phases=OPEN_PHASES,
            waiting=selection.condition,
        )
        more = next_cursor(snapshot, ["evidence", asked], rows, limit)
        positions = tuple(position for (position,) in rows[:limit])
        return Evidence(self.definition, snapshot.position, asked, positions, more)


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which cases are asked about, as of when."""

    as_of: datetime
    awaited: tuple[str, ...]
    where: Mapping[str, object]

    @property
    def condition(self) -> str:
        """A condition on phases."""
        return f"awaited = ANY(%(awaited)s){condition(self.where)}"

    def values(self, snapshot: Snapshot) -> dict[str, object]:
        """Its values."""
        awaited = [str(each) for each in self.awaited]
        return {"as_of": self.as_of, "position": snapshot.position, "awaited": awaited, **values_of(self.where)}


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An open case."""

    case_id: CaseId
    case_number: str
    since: datetime
    awaited: str
    status: str
    opened_at: datetime
    counted_by: tuple[Any, ...]


def _read(
    definition: ReportDefinition, parameters: Parameters
) -> tuple[_Selection, Row, tuple[int, Sequence[str] | None]]:
    """What is asked, how it is repeated, and which page."""
    question = Question(definition, parameters)
    awaited, moment = question.one("awaited") or _ANYTHING, read_moment(question)
    # Who is responsible for a case is no figure about a person.
    where = read_where(question)
    asked = {"valid_at": moment, "awaited": awaited, "where": sorted(question.many("where"))}
    return _Selection(moment, _AWAITED[awaited], where), asked, question.page(asked)


_SINCE: Final = "coalesce(waiting_since, opened_at)"


async def _waiting(snapshot: Snapshot, selection: _Selection, limit: int, last: Sequence[str] | None) -> list[_Waiting]:
    after = f" AND ({_SINCE}, case_id) > (%(since)s::timestamptz, %(case)s::uuid)" if last else ""
    rows = await snapshot.fetch(
        "WITH page AS MATERIALIZED (SELECT case_id, {since} AS since, awaited, status, opened_at, {counted_by} "
        "FROM {open_phases} WHERE {waiting}{after} ORDER BY {since}, case_id LIMIT %(rows)s) "
        "SELECT case_id, case_number, since, awaited, status, opened_at, {counted_by} "
        "FROM page JOIN {cases} cases USING (case_id) ORDER BY since, case_id",
        {**selection.values(snapshot), "rows": limit + 1, **dict(zip(("since", "case"), last or (), strict=False))},
        open_phases=OPEN_PHASES,
        since=_SINCE,
        counted_by=", ".join(COLUMNS.values()),
        waiting=selection.condition,
        after=after,
    )
    return [
        _Waiting(case_id, case_number, since, awaited, status, opened_at, tuple(counted_by))
        for case_id, case_number, since, awaited, status, opened_at, *counted_by in rows
    ]


async def _count(snapshot: Snapshot, selection: _Selection) -> int:
    rows = await snapshot.fetch(
        "SELECT count(*) FROM {open_phases} WHERE {waiting}",
        selection.values(snapshot),
        open_phases=OPEN_PHASES,
        waiting=selection.condition,
    )
    return int(rows[0][0])


@dataclass(frozen=True, slots=True)
class _Clock:
    """What tells business time in a case."""

    timeline: CaseTimeline
    calendars: Calendars

    def business_time(self, since: datetime, until: datetime) -> int | None:
        """Business time; None where the case had no calendar for all of it."""
        schedules = self.calendars.schedules(each for _, each in self.timeline.calendars)
        return Measure(self.timeline, schedules).between(since, until).business

    def closes_at(self, instant: datetime) -> tuple[datetime | None, str | None]:
        """When the calendar of the case closes next, or why that cannot be told."""
        assigned = [calendar_id for since, calendar_id in self.timeline.calendars if since <= instant]
        if not assigned:
            return None, "no_calendar"
        closes_at = self.calendars.schedules(assigned)[assigned[-1]].next_closing(instant)
        return closes_at, None if closes_at else "no_working_time"


async def _rows(snapshot: Snapshot, waiting: Sequence[_Waiting], as_of: datetime) -> tuple[Row, ...]:
    """The rows of these cases, as known at the position; made in a thread, as clocks may have a century to add up."""
    values = {"cases": [each.case_id for each in waiting], "position": snapshot.position}
    entries = await snapshot.fetch(
        "SELECT case_id, kind, event, occurred_at, position FROM {entries} "
        "WHERE case_id = ANY(%(cases)s) AND position <= %(position)s ORDER BY position",
        values,
    )
    calendars = await snapshot.fetch(
        "SELECT calendar_id, effective_from, effective_to, hours FROM {calendars} WHERE position <= %(position)s "
        "AND calendar_id IN (SELECT calendar_id FROM {entries} "
        "WHERE case_id = ANY(%(cases)s) AND position <= %(position)s) ORDER BY position",
        values,
    )

    def rows() -> tuple[Row, ...]:
        clocks = _clocks(entries, Calendars.of(calendars))
        return tuple(_row(each, clocks[each.case_id], as_of) for each in waiting)

    return await asyncio.to_thread(rows)


def _clocks(rows: Iterable[Sequence[Any]], calendars: Calendars) -> Mapping[CaseId, _Clock]:
    """What tells business time in the cases that these entries are of."""
    entries: Entries = {}
    for case_id, *entry in rows:
        entries.setdefault(case_id, []).append(read_entry(*entry))
    return {case_id: _Clock(timelines({case_id: told})[case_id], calendars) for case_id, told in entries.items()}


def _row(waiting: _Waiting, clock: _Clock, as_of: datetime) -> Row:
    business_time = clock.business_time(waiting.since, as_of)
    closes_at, why_not = clock.closes_at(as_of)
    keys, reasons = shown_keys(tuple(COLUMNS), waiting.counted_by)
    reasons |= {} if why_not is None else {"closes_at": why_not}
    reasons |= {} if business_time is not None else {"business_time": "no_calendar"}
    reasons |= {} if waiting.awaited else {"awaited": "nothing_awaited"}
    return {
        "case": waiting.case_id,
        "case_number": waiting.case_number,
        "awaited": waiting.awaited or None,
        "since": waiting.since.astimezone(UTC),
        "calendar_time": microseconds_between(waiting.since, as_of),
        "business_time": business_time,
        "closes_at": None if closes_at is None else closes_at.astimezone(UTC),
        "status": waiting.status,
        "opened_at": waiting.opened_at.astimezone(UTC),
        **keys,
        "reasons": reasons,
    }
