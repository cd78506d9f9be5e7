"""Support cases as they are known while a page is folded, and remembered for the next one.

A case is read from its entries in the tables, with all cases that were merged into one another with it. Those that
something happened to last are remembered from one page to the next, each family as a whole.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, Generic, TypeVar

from domain.case_events import CaseId
from domain.case_facts import CaseFact, FactKind
from domain.case_figures import Measure
from domain.case_phases import CasePhase
from domain.case_reading import CaseReader
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


class Case:
    """A support case as it is known, and what counts of it."""

    __slots__ = ("beginning", "case_id", "entries", "facts", "family", "measure", "phases", "reader")

    def __init__(self, case_id: CaseId) -> None:
        self.case_id = case_id
        self.beginning = ""
        """What all lines of its facts and phases have in common."""
        self.entries: list[Entry] = []
        """In the order of their positions."""
        self.family: Sequence[Case] = ()
        """All that were merged into one another; none where it is alone."""
        self.reader: CaseReader | None = None
        """While it is alone, and opened."""
        self.measure: Measure | None = None
        """While it is alone, and has the same calendars."""
        self.facts: dict[tuple[FactKind, int], Row[CaseFact]] = {}
        self.phases: list[Row[CasePhase]] = []
        """In their order."""

    @property
    def one_with(self) -> "Sequence[Case]":
        """Its family, or it alone."""
        return self.family or (self,)

    def phases_since(self, at: datetime) -> int:
        """Where the phases begin that an event at this instant may change, among them those that follow."""
        first = len(self.phases)
        while first and self.phases[first - 1].counts.since >= at:
            first -= 1
        return max(first - 1, 0)


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
            self.join(case, others(case.entries))
        return loaded

    def _unknown(self, case_ids: Iterable[CaseId]) -> set[CaseId]:
        return {case_id for case_id in case_ids if case_id not in self._cases}

    def add(self, case: Case, entry: Entry) -> None:
        """Something happened to a case."""
        case.entries.append(entry)
        self._entries += 1
        self.join(case, others([entry]))

    def join(self, case: Case, case_ids: Iterable[CaseId]) -> None:
        """These cases are one with it from now on."""
        for other in case_ids:
            family = tuple({id(each): each for each in (*case.one_with, *self._cases[other].one_with)}.values())
            for each in family:
                each.family, each.reader, each.measure = family, None, None

    def forget(self, cases: Iterable[Case]) -> None:
        """Let go of these cases."""
        for case in cases:
            del self._cases[case.case_id]
            self._entries -= len(case.entries)

    def remember(self, case_ids: Iterable[CaseId]) -> "KnownCases":
        """What is remembered after something happened to these cases."""
        for case_id in case_ids:
            for case in self._cases[case_id].one_with:
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
