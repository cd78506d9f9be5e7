"""Support response times: how long customers waited, for what, and who waits; as known at any position.

A *fact* is something that counts of a support case at an instant: a time, a judgement or a score (`domain.case_facts`).
A *phase* is a time in which a case was active and nothing changed by which it is counted (`domain.case_phases`): of any
instant it tells which cases were open, who worked on them and since when their customers waited.

Both follow from the whole timeline of a case, and of those that were merged into one with it, as it is known. So what
has changed by an event is superseded by what follows now: by a message that is recorded late, a reopening, a merge.
Of a family only those cases are looked at that see something else of the case than before: the one that it was merged
into what it leaves, those that were merged into it whether they are answered. So a family costs what its events cost,
however large it is. A revised calendar changes the business times of every case that it was assigned to.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, Generic

from application.ports import RecordedEvent
from domain.case_events import AnotherCaseMerged, CaseId, CaseOpened
from domain.case_facts import CaseFact, case_facts
from domain.case_figures import Measure
from domain.case_phases import CasePhase, case_phases
from domain.case_reading import is_opened, timelines
from domain.case_timeline import THE_BEGINNING, CaseTimeline
from domain.service_calendar import CalendarDefined, CalendarId, CalendarRevised
from projections.case_entries import (
    CALENDAR_COLUMNS,
    ENTRY_COLUMNS,
    Entry,
    calendar_line,
    entry_line,
    others,
)
from projections.known_cases import Case, Counts, KnownCases, Row, Seen
from projections.read_model import Page, copy_array, copy_id, copy_text
from projections.reports import Withdrawn
from projections.support_lines import beginning, fact_lines, phase_lines
from projections.support_tables import (
    CALENDARS,
    CASES,
    ENTRIES,
    FACT_COLUMNS,
    FACTS,
    PHASE_COLUMNS,
    PHASES,
    ROLL_UPS,
    TABLES,
)

NAME: Final = "support_response_times"
VERSION: Final = 2
WITHDRAWN: Final = (
    Withdrawn(
        version=1,
        changed="A message with which we open a case is no reply, so that it makes no one-touch. "
        "What a case hands on at a merge includes what was handed to it. "
        "A hold counts once, and only in the case in which the customer waited. "
        "A case that waits for the customer is open again when an unanswered one is merged into it. "
        "The first response by a human starts again only where the customer reopens. "
        "A classification without a product removes it. "
        "A date that a time zone skipped has no hours. "
        "The interval of a median is that of Price and Bonett as printed. "
        "With `valid_at` in the past nothing counts that happened later.",
    ),
)

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
        recalled = page.memory.recall(page.after)
        known = recalled if isinstance(recalled, KnownCases) else KnownCases.begin(page)
        fold = _Fold(page, known)
        for recorded in page.events:
            fold.apply(recorded)
        fold.write()
        for roll_up in ROLL_UPS:
            roll_up.advance(page)
        page.memory.remember(page.upto, known.remember(fold.cases))


class _Fold:
    """One page on its way into the tables."""

    def __init__(self, page: Page, known: KnownCases) -> None:
        self._page = page
        self._known = known
        self._facts = {kind: _Changes[CaseFact]() for kind in TABLES}
        self._phases = _Changes[CasePhase]()
        self._entry_lines: list[str] = []
        self._case_lines: list[str] = []
        self._calendar_lines: list[str] = []
        self.cases = {CaseId(each.stream_id): None for each in page.events if not _is_of_calendar(each)}
        """Those that something happens to."""
        named = others(Entry(each.event, each.occurred_at, each.position) for each in page.events)
        self._load({*self.cases, *named})

    # What was there before

    def _load(self, case_ids: Iterable[CaseId]) -> list[Case]:
        """Make cases known, with what is in the tables of them; those that were not before."""
        loaded = self._known.load(self._page, case_ids)
        for family in _families(loaded):
            for case, timeline in self._read(family):
                facts = case_facts(timeline, self._measure(case, timeline))
                case.beginning = beginning(case.case_id, timeline)
                case.facts = {fact[:2]: Row(fact, 0, is_written=True) for fact in facts}
                phases = _by_beginning(timeline, THE_BEGINNING).values()
                case.phases = [Row(phase, 0, is_written=True) for phase in phases]
        return loaded

    def _read(self, family: Sequence[Case]) -> Iterator[tuple[Case, CaseTimeline]]:
        """The timelines of cases that are one, or of one alone, which are gone on with from there."""
        if family[0].is_in_circle:
            for case in family:
                case.reader = case.line = case.measure = None
            told = timelines({case.case_id: case.entries for case in sorted(family, key=lambda each: each.case_id)})
            yield from ((case, told[case.case_id]) for case in family if case.case_id in told)
            return
        in_order = family if family[0].family is None else list(family[0].family.in_order())
        opened = [case for case in in_order if is_opened(case.entries)]
        for case in opened:
            case.read()
        for case in opened:
            if case.line is not None:
                yield case, case.told(case.line)

    def _measure(self, case: Case, timeline: CaseTimeline) -> Measure:
        if case.measure is not None:
            return case.measure
        measure = Measure(timeline, self._known.calendars.schedules(each for _, each in timeline.calendars))
        if case.reader is not None:
            case.measure = measure
        return measure

    # What events say

    def apply(self, recorded: RecordedEvent) -> None:
        """Take in one event."""
        event = recorded.event
        if isinstance(event, CalendarDefined | CalendarRevised):
            self._know_calendar(recorded.position, CalendarId(recorded.stream_id), event)
            return
        case = self._known[CaseId(recorded.stream_id)]
        entry = Entry(event, recorded.occurred_at, recorded.position)
        self._known.add(case, entry)
        self._entry_lines.append(entry_line(case.case_id, entry))
        if isinstance(event, CaseOpened):
            self._case_lines.append(f"{case.case_id}\t{copy_text(event.case_number)}\t{entry.position}\n")
        if case.is_in_circle:
            self._tell_anew(case.one_with, entry.position)
        elif case.reader is not None or is_opened(case.entries):
            self._go_on(case, entry)

    def _go_on(self, case: Case, entry: Entry) -> None:
        """Write down what has changed by an event: of its case, and of those of its family that see it."""
        before = case.seen() if case.family else Seen()
        left = self._known[entry.event.case_id].left if type(entry.event) is AnotherCaseMerged else None
        since = case.go_on(entry, left)
        self._tell(case, entry.position, since)
        if case.family is not None:
            self._spread(case, before, entry.position, is_late=since is None)

    def _tell(self, case: Case, position: int, since: datetime | None = None) -> None:
        """Write down what has changed of a case that has been read, from an instant on."""
        if case.line is None:
            return
        timeline = case.told(case.line)
        case.beginning = case.beginning or beginning(case.case_id, timeline)
        if since is None or timeline.merged_into is not None:
            # What a merged case waits for elsewhere, is told as a whole.
            self._tell_facts(case, timeline, position, THE_BEGINNING)
            self._tell_phases(case, timeline, position, 0)
        else:
            self._tell_facts(case, timeline, position, since)
            self._tell_phases(case, timeline, position, case.phases_since(since))

    def _spread(self, case: Case, before: Seen, position: int, *, is_late: bool) -> None:
        """Write down what has changed of others, because they see something else of this case than before."""
        changed = [(case, before)]
        while changed:
            one, seen = changed.pop()
            now = one.seen()
            if now[1:] != seen[1:]:
                for waiting in one.waiting(with_answered=is_late):
                    self._tell(waiting, position)
            if now.left != seen.left:
                for taker in one.taken_by.values():
                    if taker.reader is not None:
                        changed.append((taker, taker.seen()))
                        taker.read()
                        self._tell(taker, position)

    def _tell_anew(self, family: Sequence[Case], position: int) -> None:
        """Write down what has changed of cases whose timelines are read from the beginning."""
        for case, timeline in self._read(family):
            case.beginning = case.beginning or beginning(case.case_id, timeline)
            self._tell_facts(case, timeline, position, THE_BEGINNING)
            self._tell_phases(case, timeline, position, 0)

    def _tell_facts(self, case: Case, timeline: CaseTimeline, position: int, since: datetime) -> None:
        """Write down what has changed of the facts that an event may change which came at an instant."""
        before = {key: row for key, row in case.facts.items() if not row.counts.stays(since)}
        for fact in case_facts(timeline, self._measure(case, timeline), since):
            key = fact[:2]
            row = before.get(key)
            if row is not None and row.counts == fact:
                del before[key]
            else:
                case.facts[key] = self._facts[fact.kind].add(case, fact, position)
        for key, row in before.items():
            self._facts[key[0]].supersede(case, key[1], row, position)
            if case.facts[key] is row:
                del case.facts[key]

    def _tell_phases(self, case: Case, timeline: CaseTimeline, position: int, first: int) -> None:
        """Write down what has changed of the phases from the `first` one on."""
        before = {row.counts.since: row for row in case.phases[first:]}
        begins = case.phases[first].counts.since if first else THE_BEGINNING
        del case.phases[first:]
        for since, phase in _by_beginning(timeline, begins).items():
            row = before.get(since)
            if row is not None and row.counts == phase:
                del before[since]
            else:
                row = self._phases.add(case, phase, position)
            case.phases.append(row)
        for since, row in before.items():
            self._phases.supersede(case, since, row, position)

    # Calendars

    def _know_calendar(self, position: int, calendar_id: CalendarId, event: CalendarDefined | CalendarRevised) -> None:
        self._calendar_lines.append(calendar_line(position, calendar_id, event))
        before, after = self._known.calendars, self._known.calendars.known_with(calendar_id, event)
        for case_ids in self._cases_with(calendar_id):
            self._known.calendars = before
            loaded = self._load(case_ids)
            self._known.calendars = after
            for family in _families(self._known[case_id] for case_id in case_ids):
                self._tell_anew(family, position)
            self.write()
            self._known.forget(loaded)
        self._known.calendars = after

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
        for kind, table in TABLES.items():
            replaced, facts = self._facts[kind].take()
            self._supersede(table, "number", "integer", replaced)
            self._page.append(table, FACT_COLUMNS[kind], fact_lines(facts, self._page.zone))
        replaced, phases = self._phases.take()
        self._supersede("phases", "since", "timestamptz", replaced)
        self._page.append("phases", PHASE_COLUMNS, phase_lines(phases))
        for table, columns, lines in (
            ("entries", ENTRY_COLUMNS, self._entry_lines),
            ("cases", "case_id, case_number, position", self._case_lines),
            ("calendars", CALENDAR_COLUMNS, self._calendar_lines),
        ):
            self._page.append(table, columns, lines)
            lines.clear()

    def _supersede(self, table: str, key: str, kind: str, replaced: Sequence[tuple[str, object, int]]) -> None:
        """Say until when rows were known that are in the table already."""
        if replaced:
            self._page.execute(
                f"UPDATE {{table}} t SET superseded_at_position = u.position "
                f"FROM unnest(%s::uuid[], %s::{kind}[], %s::bigint[]) AS u(case_id, {key}, position) "
                f"WHERE t.case_id = u.case_id AND t.{key} = u.{key} AND t.superseded_at_position IS NULL",
                [copy_array(each) for each in zip(*replaced, strict=True)],
                table=self._page.tables[table],
            )


class _Changes(Generic[Counts]):
    """Rows of one table that have come or were superseded in a page."""

    def __init__(self) -> None:
        self._come: list[tuple[Case, Row[Counts]]] = []
        self._replaced: list[tuple[str, object, int]] = []
        """Rows that were in the table before, by their number or instant, and what superseded them."""

    def add(self, case: Case, counts: Counts, position: int) -> Row[Counts]:
        """A new row."""
        row = Row(counts, position)
        self._come.append((case, row))
        return row

    def supersede(self, case: Case, key: object, row: Row[Counts], position: int) -> None:
        """A row does not hold any more."""
        if row.is_written:
            self._replaced.append((copy_id(case.case_id), key, position))
        else:
            row.superseded_at = position

    def take(self) -> tuple[list[tuple[str, object, int]], list[tuple[Case, Row[Counts]]]]:
        """What is to be superseded in the tables, and the rows to append; from now on they are in the tables."""
        replaced, come = self._replaced, self._come
        for _, row in come:
            row.is_written = True
        self._come, self._replaced = [], []
        return replaced, come


def _families(cases: Iterable[Case]) -> Iterable[Sequence[Case]]:
    """The families that these cases belong to, each once."""
    return {case.one_with[0].case_id: case.one_with for case in cases}.values()


def _by_beginning(timeline: CaseTimeline, first: datetime) -> dict[datetime, CasePhase]:
    """The phases from one on. Of two that begin together, as where two cases went on in each other, the last counts."""
    return {phase.since: phase for phase in case_phases(timeline, first)}


def _is_of_calendar(recorded: RecordedEvent) -> bool:
    return isinstance(recorded.event, CalendarDefined | CalendarRevised)
