"""What a read model keeps of the events of support cases and calendars, to tell timelines again at any later event.

Of an event everything is kept but personal values: nothing that is counted depends on what somebody wrote.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias, get_args, get_type_hints

from pydantic import TypeAdapter

from domain.business_time import CalendarVersion, Schedule
from domain.business_time import calendar as schedule_of
from domain.case_events import (
    AnotherCaseMerged,
    CalendarAssigned,
    CaseEscalated,
    CaseId,
    CaseLinkedToProductFeedback,
    CaseMergedInto,
    CaseOpened,
    CustomerMessageForwarded,
    SupportCaseEvent,
)
from domain.service_calendar import CalendarDefined, CalendarEvent, CalendarId
from domain.values import Personal
from domain.working_hours import WorkingHours
from projections.read_model import copy_id, copy_instant, copy_text

_NULL: Final = "\\N"
_TELLING_NOTHING: Final = (CaseEscalated, CaseLinkedToProductFeedback, CustomerMessageForwarded)
"""Events that no figure is made of."""
KEPT: Final[Mapping[str, type[Any]]] = {
    each.__name__: each for each in get_args(SupportCaseEvent) if each not in _TELLING_NOTHING
}
"""The classes of the events that are kept, by the name under which they are."""
ENTRY_COLUMNS: Final = "position, case_id, occurred_at, kind, calendar_id, event"
CALENDAR_COLUMNS: Final = "position, calendar_id, effective_from, effective_to, hours"


class Entry(NamedTuple):
    """An event of a case with its place: a `CaseEntry`."""

    event: SupportCaseEvent
    occurred_at: datetime
    position: int


Entries: TypeAlias = dict[CaseId, list[Entry]]
"""The entries of cases, each in the order of their positions."""


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(KEPT[kind])


@cache
def _personal(kind: str) -> set[str]:
    """The fields that hold personal values; all of them may be left out."""
    hints = get_type_hints(KEPT[kind], include_extras=True)
    return {name for name, hint in hints.items() if _is_personal(hint)}


def _is_personal(hint: Any) -> bool:
    marks = getattr(hint, "__metadata__", ())
    return any(isinstance(each, Personal) for each in marks) or any(map(_is_personal, get_args(hint)))


def entry_line(case_id: CaseId, entry: Entry) -> str:
    """An entry as a line for `ENTRY_COLUMNS`."""
    kind = type(entry.event).__name__
    written = _adapter(kind).dump_json(entry.event, exclude=_personal(kind), exclude_defaults=True).decode()
    calendar_id = calendar_named(entry.event)
    calendar = _NULL if calendar_id is None else copy_id(calendar_id)
    at = copy_instant(entry.occurred_at)
    return f"{entry.position}\t{copy_id(case_id)}\t{at}\t{kind}\t{calendar}\t{copy_text(written)}\n"


def read_entry(kind: str, event: str, occurred_at: datetime, position: int) -> Entry:
    """The entry that was kept."""
    return Entry(_adapter(kind).validate_json(event), occurred_at, position)


def others(entries: Iterable[Entry]) -> Iterator[CaseId]:
    """The cases that these entries say are one with theirs."""
    for entry in entries:
        event = entry.event
        if type(event) is AnotherCaseMerged:
            yield event.case_id
        elif type(event) is CaseMergedInto:
            yield event.into_id


def calendar_named(event: SupportCaseEvent) -> CalendarId | None:
    """The calendar that an event gives its case."""
    return event.calendar_id if isinstance(event, CaseOpened | CalendarAssigned) else None


# Calendars


_HOURS: Final = TypeAdapter(WorkingHours)


class CalendarIsUnknown(LookupError):  # noqa: N818 - it names what is the matter
    """A case has a calendar that was never defined."""


@dataclass(frozen=True, slots=True)
class Calendars:
    """The calendars that are known, each with its versions in the order in which they became known."""

    versions: Mapping[CalendarId, tuple[CalendarVersion, ...]]
    _schedules: dict[CalendarId, Schedule]

    @classmethod
    def of(cls, rows: Iterable[Sequence[Any]]) -> "Calendars":
        """From rows of calendar, `effective_from`, `effective_to` and hours, in the order of their positions."""
        versions: dict[CalendarId, list[CalendarVersion]] = {}
        for calendar_id, since, until, hours in rows:
            version = CalendarVersion(hours=_HOURS.validate_json(hours), effective_from=since, effective_to=until)
            versions.setdefault(calendar_id, []).append(version)
        return cls({one: tuple(those) for one, those in versions.items()}, {})

    def known_with(self, calendar_id: CalendarId, event: CalendarEvent) -> "Calendars":
        """With one more version of a calendar."""
        before = self.versions.get(calendar_id, ())
        schedules = {one: schedule for one, schedule in self._schedules.items() if one != calendar_id}
        return Calendars({**self.versions, calendar_id: (*before, version_of(event))}, schedules)

    def schedules(self, calendar_ids: Iterable[CalendarId]) -> Mapping[CalendarId, Schedule]:
        """The schedules of these calendars, among others. Raises `CalendarIsUnknown`."""
        for one in calendar_ids:
            if one not in self.versions:
                raise CalendarIsUnknown
            if one not in self._schedules:
                self._schedules[one] = schedule_of(self.versions[one])
        return self._schedules


def version_of(event: CalendarEvent) -> CalendarVersion:
    """The version that an event says."""
    if isinstance(event, CalendarDefined):
        return CalendarVersion(hours=event.hours)
    return CalendarVersion(hours=event.hours, effective_from=event.effective_from, effective_to=event.effective_to)


def calendar_line(position: int, calendar_id: CalendarId, event: CalendarEvent) -> str:
    """A version of a calendar as a line for `CALENDAR_COLUMNS`."""
    version = version_of(event)
    since, until = (
        _NULL if each is None else each.isoformat() for each in (version.effective_from, version.effective_to)
    )
    hours = copy_text(_HOURS.dump_json(version.hours, exclude_defaults=True).decode())
    return f"{position}\t{calendar_id}\t{since}\t{until}\t{hours}\n"
