"""Support response times: how long customers waited, for what, and who waits; as known at any position.

A *fact* is something that counts of a support case at an instant: a time, a judgement or a score (`domain.case_facts`).
A *phase* is a time in which a case was active and nothing changed by which it is counted (`domain.case_phases`): of any
instant it tells which cases were open, who worked on them and since when their customers waited.

Both follow from the whole timeline of a case, and of those that were merged into one with it, as it is known. So each
event tells the timeline anew, and what has changed is superseded by what follows now: by a message that is recorded
late, a reopening, a merge. A revised calendar changes the business times of every case that it was assigned to.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Generic, NamedTuple, TypeVar

from application.ports import RecordedEvent
from domain.case_events import CaseId, CaseOpened
from domain.case_facts import TIMES_OF, CaseFact, CountedBy, FactKind, case_facts
from domain.case_figures import Measure
from domain.case_phases import CasePhase, case_phases
from domain.case_reading import CaseReader, timelines
from domain.case_timeline import CaseTimeline
from domain.service_calendar import CalendarDefined, CalendarId, CalendarRevised
from projections.case_entries import (
    CALENDAR_COLUMNS,
    ENTRY_COLUMNS,
    Calendars,
    Entries,
    Entry,
    calendar_line,
    entry_line,
    others,
    read_entry,
)
from projections.read_model import Page, copy_id, copy_text
from projections.support_tables import (
    BUCKETED,
    CALENDARS,
    CASES,
    ENTRIES,
    FACT_COLUMNS,
    FACTS,
    NO_BUCKET,
    NOBODY,
    NONE,
    PHASE_COLUMNS,
    PHASES,
    ROLL_UPS,
    TABLES,
    bucket,
)

NAME: Final = "support_response_times"
VERSION: Final = 1

_NULL: Final = "\\N"
_CASES_AT_ONCE: Final = 1_000
"""Cases that a revised calendar concerns are told anew in groups of so many: some 10 MB."""


class SupportResponseTimes:
    """The tables, and how events change them."""

    name = NAME
    version = VERSION
    events = frozenset(
        {
            "service-calendar.defined",
            "service-calendar.revised",
            "support-case.opened",
            "support-case.customer-identified",
            "support-case.customer-message-received",
            "support-case.public-reply-sent",
            "support-case.internal-note-added",
            "support-case.assigned",
            "support-case.transferred",
            "support-case.calendar-assigned",
            "support-case.handed-off-to-human",
            "support-case.priority-changed",
            "support-case.classified",
            "support-case.wait-for-customer-begun",
            "support-case.put-on-hold",
            "support-case.resumed",
            "support-case.no-reply-needed-marked",
            "support-case.marked-as-spam",
            "support-case.resolved",
            "support-case.reopened",
            "support-case.closed",
            "support-case.merged-into",
            "support-case.another-case-merged",
            "support-case.split",
            "support-case.follow-up-case-opened",
            "support-case.satisfaction-requested",
            "support-case.satisfaction-recorded",
            "support-case.satisfaction-amended",
            "support-case.withdrawn",
        }
    )
    tables = (*FACTS, PHASES, ENTRIES, CASES, CALENDARS, *(roll_up.table() for roll_up in ROLL_UPS))

    def fold(self, page: Page) -> None:
        """See `ReadModel.fold`."""
        if page.events:
            fold = _Fold(page)
            for recorded in page.events:
                fold.apply(recorded)
            fold.write()
        for roll_up in ROLL_UPS:
            roll_up.advance(page)


Key = TypeVar("Key", bound=Hashable)
Counts = TypeVar("Counts", bound=CaseFact | CasePhase)


class _Told(NamedTuple):
    """What counts of a case as it is known."""

    beginning: str
    """What all its lines have in common."""
    facts: Mapping[tuple[FactKind, int], CaseFact]
    phases: Mapping[datetime, CasePhase]


class _Fold:
    """One page on its way into the tables."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._entries: Entries = {}
        self._families: dict[CaseId, frozenset[CaseId]] = {}
        """Cases that were merged into one another; a case that is here alone is not in it."""
        self._readers: dict[CaseId, CaseReader] = {}
        """Of cases that are alone."""
        self._told: dict[CaseId, _Told] = {}
        self._facts: _Changes[tuple[FactKind, int], CaseFact] = _Changes(self._fact_line)
        self._phases: _Changes[datetime, CasePhase] = _Changes(_phase_line)
        self._entry_lines: list[str] = []
        self._case_lines: list[str] = []
        self._calendar_lines: list[str] = []
        self._calendars = Calendars.of(
            page.execute("SELECT calendar_id, effective_from, effective_to, hours FROM {calendars} ORDER BY position")
        )
        named = [Entry(each.event, each.occurred_at, each.position) for each in page.events]
        self._load({*(CaseId(each.stream_id) for each in page.events), *others(named)})

    # What was there before

    def _load(self, cases: Iterable[CaseId]) -> None:
        """Read these cases and those that are one with them, and tell what counts of them."""
        loaded: set[CaseId] = set()
        wanted = set(cases) - self._entries.keys()
        while wanted:
            loaded |= wanted
            found = self._read(wanted)
            self._entries.update(found)
            for case_id, entries in found.items():
                self._join(case_id, others(entries))
            wanted = {other for entries in found.values() for other in others(entries)} - self._entries.keys()
        for family in {self._family(case_id) for case_id in loaded}:
            self._told.update((case_id, self._count(case_id, line)) for case_id, line in self._read_anew(family))

    def _read(self, cases: Iterable[CaseId]) -> Entries:
        found: Entries = {case_id: [] for case_id in cases}
        rows = self._page.execute(
            "SELECT case_id, kind, event, occurred_at, position FROM {entries} WHERE case_id = ANY(%s) "
            "ORDER BY position",
            [list(found)],
        )
        for case_id, *entry in rows:
            found[case_id].append(read_entry(*entry))
        return found

    def _join(self, case_id: CaseId, with_cases: Iterable[CaseId]) -> None:
        for other in with_cases:
            family = self._family(case_id) | self._family(other)
            self._families.update(dict.fromkeys(family, family))

    def _family(self, case_id: CaseId) -> frozenset[CaseId]:
        return self._families.get(case_id) or frozenset({case_id})

    # What events say

    def apply(self, recorded: RecordedEvent) -> None:
        """Take in one event."""
        event = recorded.event
        if isinstance(event, CalendarDefined | CalendarRevised):
            self._know_calendar(recorded.position, CalendarId(recorded.stream_id), event)
            return
        case_id, entry = CaseId(recorded.stream_id), Entry(event, recorded.occurred_at, recorded.position)
        self._entries[case_id].append(entry)
        self._entry_lines.append(entry_line(case_id, entry))
        if isinstance(event, CaseOpened):
            self._case_lines.append(f"{case_id}\t{copy_text(event.case_number)}\t{entry.position}\n")
        self._join(case_id, others([entry]))
        reader = self._readers.get(case_id)
        if reader is not None and case_id not in self._families and reader.go_on(entry):
            self._tell(case_id, reader.timeline(), entry.position)
        else:
            self._tell_anew(self._family(case_id), entry.position)

    def _tell_anew(self, family: frozenset[CaseId], position: int) -> None:
        for case_id, timeline in self._read_anew(family):
            self._tell(case_id, timeline, position)

    def _read_anew(self, family: frozenset[CaseId]) -> Iterable[tuple[CaseId, CaseTimeline]]:
        """The timelines of cases that are one, or of one alone, which is gone on with from there."""
        if len(family) > 1:
            return timelines({case_id: self._entries[case_id] for case_id in family}).items()
        (case_id,) = family
        entries = self._entries[case_id]
        if not any(type(entry.event) is CaseOpened for entry in entries):
            return ()
        reader = self._readers[case_id] = CaseReader(entries).read({})
        return ((case_id, reader.timeline()),)

    def _tell(self, case_id: CaseId, timeline: CaseTimeline, position: int) -> None:
        """Write down what has changed."""
        before, told = self._told.get(case_id, _NOTHING), self._count(case_id, timeline)
        self._facts.change(case_id, before.facts, told.facts, told.beginning, position)
        self._phases.change(case_id, before.phases, told.phases, told.beginning, position)
        self._told[case_id] = told

    def _count(self, case_id: CaseId, timeline: CaseTimeline) -> _Told:
        measure = Measure(timeline, self._calendars.schedules(each for _, each in timeline.calendars))
        facts = {fact[:2]: fact for fact in case_facts(timeline, measure)}
        phases = {phase.since: phase for phase in case_phases(timeline)}
        return _Told(_beginning(case_id, timeline), facts, phases)

    # Calendars

    def _know_calendar(self, position: int, calendar_id: CalendarId, event: CalendarDefined | CalendarRevised) -> None:
        self._calendar_lines.append(calendar_line(position, calendar_id, event))
        before, after = self._calendars, self._calendars.known_with(calendar_id, event)
        kept = frozenset(self._entries)
        for cases in self._cases_with(calendar_id):
            self._calendars = before
            self._load(cases)
            self._calendars = after
            for family in {self._family(case_id) for case_id in cases}:
                self._tell_anew(family, position)
            self.write()
            for case_id in self._entries.keys() - kept:
                del self._entries[case_id]
                self._told.pop(case_id, None)
                self._readers.pop(case_id, None)
        self._calendars = after

    def _cases_with(self, calendar_id: CalendarId) -> Iterator[list[CaseId]]:
        """The cases that a calendar was ever assigned to, in groups."""
        self.write()
        rows = self._page.execute(
            "SELECT DISTINCT case_id FROM {entries} WHERE calendar_id = %s ORDER BY case_id", [calendar_id]
        ).fetchall()
        for first in range(0, len(rows), _CASES_AT_ONCE):
            yield [case_id for (case_id,) in rows[first : first + _CASES_AT_ONCE]]

    # Writing

    def write(self) -> None:
        """Write what has gathered."""
        replaced, come = self._facts.take()
        for kind, table in TABLES.items():
            of_kind = [(case_id, number, position) for case_id, (each, number), position in replaced if each is kind]
            self._supersede(table, "number", "integer", of_kind)
            self._page.append(table, FACT_COLUMNS[kind], (line for (each, _), line in come if each is kind))
        superseded, begun = self._phases.take()
        self._supersede("phases", "since", "timestamptz", superseded)
        self._page.append("phases", PHASE_COLUMNS, (line for _, line in begun))
        for table, columns, lines in (
            ("entries", ENTRY_COLUMNS, self._entry_lines),
            ("cases", "case_id, case_number, position", self._case_lines),
            ("calendars", CALENDAR_COLUMNS, self._calendar_lines),
        ):
            self._page.append(table, columns, lines)
            lines.clear()

    def _supersede(self, table: str, key: str, kind: str, replaced: Sequence[tuple[CaseId, object, int]]) -> None:
        """Say until when rows were known that are in the table already."""
        if replaced:
            self._page.execute(
                f"UPDATE {{table}} t SET superseded_at_position = u.position "
                f"FROM unnest(%s::uuid[], %s::{kind}[], %s::bigint[]) AS u(case_id, {key}, position) "
                f"WHERE t.case_id = u.case_id AND t.{key} = u.{key} AND t.superseded_at_position IS NULL",
                [list(each) for each in zip(*replaced, strict=True)],
                table=self._page.tables[table],
            )

    def _fact_line(self, fact: CaseFact) -> str:
        day = fact.at.astimezone(self._page.zone).date()
        line = (
            f"{_counted_by_line(fact.counted_by)}\t{fact.number}\t{fact.at}\t{day}\t{day.replace(day=1)}\t"
            f"{fact.started_by}\t{fact.ended_by}"
        )
        names = TIMES_OF.get(fact.kind, ())
        for name, time in zip(names, fact.times, strict=True):
            calendar, business = (None, None) if time is None else (time.calendar, time.business)
            line += f"\t{_or_null(calendar)}\t{_or_null(business)}"
            if name in BUCKETED:
                line += f"\t{_bucket(calendar)}\t{_bucket(business)}"
        for verdict in fact.judgements:
            line += "\t\\N\t\\N" if verdict is None else f"\t{verdict.value}\t{verdict.settled_at}"
        if names:
            line += f"\t{fact.reason or NONE}"
        if fact.scale is not None:
            line += f"\t{fact.scale}"
        return line if fact.score is None else f"{line}\t{fact.score}"


class _Changes(Generic[Key, Counts]):
    """Rows that have come or were superseded in a page."""

    def __init__(self, line: Callable[[Counts], str]) -> None:
        self._line = line
        self._come: dict[tuple[CaseId, Key], tuple[int, str]] = {}
        """Rows that hold, by position and line."""
        self._gone: list[tuple[Key, str]] = []
        """Lines of rows that came and went."""
        self._replaced: list[tuple[CaseId, Key, int]] = []
        """Rows that were in the table before, and what superseded them."""

    def change(
        self, case_id: CaseId, before: Mapping[Key, Counts], after: Mapping[Key, Counts], beginning: str, position: int
    ) -> None:
        """Supersede what does not hold any more, and add what holds now."""
        for key, row in before.items():
            if after.get(key) != row:
                self._supersede(case_id, key, position)
        for key, row in after.items():
            if before.get(key) != row:
                self._come[case_id, key] = position, f"{beginning}\t{self._line(row)}\n"

    def _supersede(self, case_id: CaseId, key: Key, position: int) -> None:
        come = self._come.pop((case_id, key), None)
        if come is None:
            self._replaced.append((case_id, key, position))
        else:
            self._gone.append((key, f"{come[0]}\t{position}\t{come[1]}"))

    def take(self) -> tuple[list[tuple[CaseId, Key, int]], list[tuple[Key, str]]]:
        """What is to be superseded in the tables, and the lines to append; from now on they are in the tables."""
        replaced, lines = self._replaced, self._gone
        lines.extend((key, f"{position}\t{_NULL}\t{line}") for (_, key), (position, line) in self._come.items())
        self._come, self._gone, self._replaced = {}, [], []
        return replaced, lines


_NOTHING: Final = _Told("", {}, {})


def _beginning(case_id: CaseId, timeline: CaseTimeline) -> str:
    opened = timeline.opening
    return f"{copy_id(case_id)}\t{timeline.opened_at}\t{timeline.opened_by}\t{opened.kind}\t{opened.channel}"


def _counted_by_line(by: CountedBy) -> str:
    return (
        f"{copy_id(by.customer_id or NOBODY)}\t{by.priority}\t{copy_text(by.category or NONE)}\t"
        f"{copy_id(by.product_id or NOBODY)}\t{copy_id(by.team_id or NOBODY)}\t{copy_id(by.staff_id or NOBODY)}"
    )


def _phase_line(phase: CasePhase) -> str:
    return (
        f"{_counted_by_line(phase.counted_by)}\t{phase.since}\t{phase.until or 'infinity'}\t{phase.status}\t"
        f"{phase.awaited or NONE}\t{_or_null(phase.waiting_since)}\t{_or_null(phase.waiting_by)}"
        + "".join("\t\\N\t\\N" if began is None else f"\t{began.at}\t{began.by}" for began in phase.running)
    )


def _or_null(value: object) -> object:
    return _NULL if value is None else value


def _bucket(time: int | None) -> int:
    return NO_BUCKET if time is None else bucket(time)
