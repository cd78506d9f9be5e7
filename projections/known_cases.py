"""Support cases as they are known while a page is folded, and remembered for the next one.

A case is read from its entries in the tables, with all cases that were merged into one another with it. Those that
something happened to last are remembered from one page to the next, each family as a whole.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, Generic, NamedTuple, TypeVar

from domain.case_conversation import Left
from domain.case_events import AnotherCaseMerged, CalendarAssigned, CaseId, CaseMergedInto
from domain.case_facts import CaseFact, FactKind
from domain.case_figures import Measure
from domain.case_phases import CasePhase
from domain.case_reading import (
    CaseReader,
    active_spans,
    reply_elsewhere,
    why_unanswered,
    with_reply_elsewhere,
)
from domain.case_timeline import THE_BEGINNING, CaseTimeline, Reason, Reply, Span
from projections.case_entries import Calendars, Entry, others, read_entry
from projections.read_model import Page

Counts = TypeVar("Counts", bound=CaseFact | CasePhase)

_ENTRIES_MAX: Final = 20_000
"""Of cases that are remembered: some 40 MB. Families of long ago are read again when something happens to them."""


class Row(Generic[Counts]):
    """A fact or a phase that stands in a table, or will when the page is written."""

    __slots__ = ("counts", "is_written", "position", "superseded_at")

    def __init__(self, counts: Counts, position: int, *, is_written: bool = False) -> None:
        self.counts = counts
        self.position = position
        self.superseded_at: int | None = None
        self.is_written = is_written


class Seen(NamedTuple):
    """What other cases of the family see of a case."""

    left: Left = Left()
    """What it leaves to the one that it is merged into."""
    replies: tuple[Reply, ...] = ()
    reply_elsewhere: Reply | None = None
    why_no_reply: Reason | None = None
    active: tuple[Span, ...] = ()
    """While a case that was merged into it may be answered, here or where this one goes on."""


class Case:
    """A support case as it is known, and what counts of it."""

    __slots__ = (
        "beginning",
        "case_id",
        "entries",
        "facts",
        "family",
        "line",
        "measure",
        "merged",
        "phases",
        "reader",
        "taken_by",
        "took",
    )

    def __init__(self, case_id: CaseId) -> None:
        self.case_id = case_id
        self.beginning = ""
        """What all lines of its facts and phases have in common."""
        self.entries: list[Entry] = []
        """In the order of their positions."""
        self.family: Family | None = None
        """All that were merged into one another; none where it is alone."""
        self.merged: dict[CaseId, Case] = {}
        """The cases that say they go on in this one."""
        self.took: dict[CaseId, Case] = {}
        """The cases of which this one says so."""
        self.taken_by: dict[CaseId, Case] = {}
        """The cases that say so of this one."""
        self.reader: CaseReader | None = None
        """Once it is opened, unless it goes on in itself by way of others."""
        self.line: CaseTimeline | None = None
        """What the reader has read; the first response of a merged case is told by the others of its family."""
        self.measure: Measure | None = None
        """While it has the same calendars."""
        self.facts: dict[tuple[FactKind, int], Row[CaseFact]] = {}
        self.phases: list[Row[CasePhase]] = []
        """In their order."""

    @property
    def one_with(self) -> "Sequence[Case]":
        """Its family, or it alone."""
        return self.family.cases if self.family is not None else (self,)

    @property
    def is_answered(self) -> bool:
        """Whether a first response is among its facts."""
        row = self.facts.get((FactKind.FIRST_RESPONSE, 0))
        return row is not None and row.counts.times[0] is not None

    @property
    def is_in_circle(self) -> bool:
        """Whether some case of its family goes on in itself, which only files and logs of others can say."""
        return self.family is not None and self.family.has_circle

    def phases_since(self, at: datetime) -> int:
        """Where the phases begin that an event at this instant may change, among them those that follow."""
        first = len(self.phases)
        while first and self.phases[first - 1].counts.since >= at:
            first -= 1
        return max(first - 1, 0)

    @property
    def left(self) -> Left:
        """What it leaves to the one that it is merged into."""
        return Left() if self.reader is None else self.reader.left

    def read(self) -> None:
        """Read all of its entries, after those that were merged into it."""
        left = {case_id: case.left for case_id, case in self.took.items()}
        self.reader, self.measure = CaseReader(self.entries).read(left), None
        self.line = self.reader.timeline()

    def go_on(self, entry: Entry, left: Left | None) -> datetime | None:
        """Go on with an entry that has come after all others; from when on it changes anything. Else read all again."""
        since = None if self.reader is None else self.reader.go_on(entry, left)
        if self.reader is None or since is None:
            self.read()
            return None
        if type(entry.event) is CalendarAssigned:
            self.measure = None
        self.line = self.reader.timeline()
        return since

    def told(self, line: CaseTimeline) -> CaseTimeline:
        """Its timeline, with the first response that it gets where it goes on."""
        return with_reply_elsewhere(line, self._upwards()) if line.merged_into else line

    def waiting(self, *, with_answered: bool) -> "Iterator[Case]":
        """The cases that await their first response here; those that have got it, too, where that is asked for."""
        ahead = [self]
        while ahead:
            one = ahead.pop()
            for case in one.merged.values():
                line = case.line
                if line is None or line.merged_into != one.case_id:
                    continue
                ahead.append(case)
                if line.first_response.reason is Reason.MERGED and (with_answered or not case.is_answered):
                    yield case

    def _upwards(self) -> dict[CaseId, CaseTimeline]:
        """This case and those in which it goes on, one after the other."""
        found: dict[CaseId, CaseTimeline] = {}
        case: Case | None = self
        while case is not None and case.line is not None and case.case_id not in found:
            found[case.case_id] = case.line
            into = case.line.merged_into
            case = None if into is None or case.family is None else case.family.by_id.get(into)
        return found

    def seen(self) -> Seen:
        """What others see of it."""
        if self.line is None or self.reader is None:
            return Seen()
        active = active_spans(self.line, THE_BEGINNING, None)
        if self.line.merged_into is None:
            return Seen(self.reader.left, self.line.replies, None, why_unanswered(self.line.status), _joined(active))
        reply, why_not, elsewhere = reply_elsewhere(self.line, self._upwards())
        return Seen(self.reader.left, self.line.replies, reply, why_not, _joined([*active, *elsewhere]))


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in their order; one that begins where the one before ends goes on with it."""
    joined: list[Span] = []
    for span in spans:
        if joined and joined[-1].ended_at == span.started_at:
            joined[-1] = Span(started_at=joined[-1].started_at, ended_at=span.ended_at)
        else:
            joined.append(span)
    return tuple(joined)


class Family:
    """Cases that were merged into one another."""

    __slots__ = ("by_id", "cases", "has_circle", "links")

    def __init__(self, case: Case) -> None:
        self.cases = [case]
        self.by_id = {case.case_id: case}
        self.links: set[tuple[CaseId, CaseId]] = set()
        """Which case goes on in which."""
        self.has_circle = False

    def take_in(self, other: "Family") -> None:
        """Let the smaller one become part of this one."""
        self.cases += other.cases
        self.by_id.update(other.by_id)
        self.links |= other.links
        self.has_circle = self.has_circle or other.has_circle
        for case in other.cases:
            case.family = self

    def in_order(self) -> Iterator[Case]:
        """Its cases, each after those that were merged into it; there is no circle."""
        waiting = {case.case_id: len(case.took) for case in self.cases}
        ready = [case for case in self.cases if not case.took]
        while ready:
            case = ready.pop()
            yield case
            for taker in case.taken_by.values():
                waiting[taker.case_id] -= 1
                if not waiting[taker.case_id]:
                    ready.append(taker)


class KnownCases:
    """The cases that are known, those last to which something happened last, and all calendars."""

    def __init__(self, calendars: Calendars) -> None:
        self.calendars = calendars
        self._cases: dict[CaseId, Case] = {}
        self._entries = 0

    @classmethod
    def begin(cls, page: Page) -> "KnownCases":
        """With no cases yet."""
        rows = page.execute(
            "SELECT calendar_id, effective_from, effective_to, hours FROM {calendars} ORDER BY position"
        )
        return cls(Calendars.of(rows))

    def __getitem__(self, case_id: CaseId) -> Case:
        return self._cases[case_id]

    def load(self, page: Page, case_ids: Iterable[CaseId]) -> list[Case]:
        """Make these cases known, and those that are one with them; those that were not before."""
        wanted = self._unknown(case_ids)
        loaded: list[Case] = []
        while wanted:
            found = _read(page, wanted)
            self._cases.update((case.case_id, case) for case in found)
            self._entries += sum(len(case.entries) for case in found)
            loaded += found
            wanted = self._unknown(other for case in found for other in others(case.entries))
        for case in loaded:
            for entry in case.entries:
                self._join(case, entry)
        return loaded

    def _unknown(self, case_ids: Iterable[CaseId]) -> set[CaseId]:
        return {case_id for case_id in case_ids if case_id not in self._cases}

    def add(self, case: Case, entry: Entry) -> None:
        """Something happened to a case."""
        case.entries.append(entry)
        self._entries += 1
        self._join(case, entry)

    def _join(self, case: Case, entry: Entry) -> None:
        """If an entry says that two cases are one, let them be one from now on."""
        event = entry.event
        if type(event) is CaseMergedInto:
            into = self._cases[event.into_id]
            into.merged[case.case_id] = case
            self._link(case, into)
        elif type(event) is AnotherCaseMerged:
            merged = self._cases[event.case_id]
            case.took[merged.case_id], merged.taken_by[case.case_id] = merged, case
            self._link(merged, case)

    @staticmethod
    def _link(merged: Case, into: Case) -> None:
        if merged is into:
            merged.family = merged.family or Family(merged)
            merged.family.has_circle = True
            return
        one, other = merged.family or Family(merged), into.family or Family(into)
        merged.family, into.family = one, other
        link = merged.case_id, into.case_id
        if one is other:
            one.has_circle = one.has_circle or link not in one.links
            one.links.add(link)
        else:
            larger, smaller = (one, other) if len(one.cases) >= len(other.cases) else (other, one)
            larger.take_in(smaller)
            larger.links.add(link)

    def forget(self, cases: Iterable[Case]) -> None:
        """Let go of these cases."""
        for case in cases:
            del self._cases[case.case_id]
            self._entries -= len(case.entries)

    def remember(self, case_ids: Iterable[CaseId]) -> "KnownCases":
        """What is remembered after something happened to these cases."""
        touched = (self._cases[case_id] for case_id in case_ids)
        families = {id(case.family) if case.family else case.case_id: case.one_with for case in touched}
        for family in families.values():
            for case in family:
                self._cases[case.case_id] = self._cases.pop(case.case_id)
        while self._entries > _ENTRIES_MAX:
            self.forget(next(iter(self._cases.values())).one_with)
        return self


def _read(page: Page, case_ids: Iterable[CaseId]) -> list[Case]:
    cases = {case_id: Case(case_id) for case_id in case_ids}
    rows = page.execute(
        "SELECT case_id, kind, event, occurred_at, position FROM {entries} WHERE case_id = ANY(%s) ORDER BY position",
        [list(cases)],
    )
    for case_id, *entry in rows:
        cases[case_id].entries.append(read_entry(*entry))
    return list(cases.values())
