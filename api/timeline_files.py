"""The file format of timelines: support cases as a person would tell them, in TOML (docs/reference/timelines.md)."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from api.business_time_cases import Fields, fields_of, items_of, read_hours
from api.timeline_events import EVENTS, WEEKDAYS, Line, Names, read_moment
from domain.business_time import CalendarVersion, Schedule, calendar
from domain.case_events import (
    AnotherCaseMerged,
    CalendarAssigned,
    CaseId,
    CaseMergedInto,
    CaseOpened,
    CaseSplit,
    FollowUpCaseOpened,
    Message,
    NoReplyNeededMarked,
    SupportCaseEvent,
)
from domain.customer import Direction
from domain.service_calendar import CalendarId


class NotATimelineFile(ValueError):  # noqa: N818 - it is the answer to whoever named the file
    """The file is not TOML, or its cases and calendars cannot be read; every problem is named, one a line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a case: when it happened, when it was recorded and its place in the order of recording."""

    event: SupportCaseEvent
    occurred_at: datetime
    recorded_at: datetime
    position: int


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """A version of a calendar, and since when it is known; None: since ever."""

    version: CalendarVersion
    recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class TimelineFile:
    """What a file tells and expects."""

    title: str
    zone: ZoneInfo
    names: Names
    cases: Mapping[CaseId, Sequence[Entry]]
    calendars: Mapping[CalendarId, Sequence[KnownVersion]]
    expectations: Sequence[object]

    def known(self, known_at: datetime | None) -> Mapping[CaseId, Sequence[Entry]]:
        """The entries that were recorded by an instant."""
        if known_at is None:
            return self.cases
        return {
            case_id: [entry for entry in entries if entry.recorded_at <= known_at]
            for case_id, entries in self.cases.items()
        }

    def schedules(self, known_at: datetime | None) -> Mapping[CalendarId, Schedule]:
        """The calendars in the versions that were known by an instant."""
        return {
            calendar_id: calendar(
                [
                    one.version
                    for one in versions
                    if known_at is None or one.recorded_at is None or one.recorded_at <= known_at
                ]
            )
            for calendar_id, versions in self.calendars.items()
        }


@dataclass(frozen=True, slots=True)
class _Told:
    """An event as the file tells it, before it has a place among the others."""

    case_id: CaseId
    at: datetime
    recorded_at: datetime
    event: SupportCaseEvent


@dataclass(slots=True)
class _Reading:
    """One file while it is read; what is wrong is collected, so that all of it can be told at once."""

    zone: ZoneInfo
    names: Names = field(default_factory=Names)
    told: list[_Told] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def read_case(self, name: str, case: object) -> None:
        try:
            lines = items_of(fields_of(case)["events"])
        except (KeyError, TypeError) as problem:
            self.problems.append(f"case {name}: {_said(problem)}")
            return
        for number, line in enumerate(lines, 1):
            try:
                self._read_event(CaseId(self.names.id("case", name)), fields_of(line), f"{name} {number}")
            except (TypeError, ValueError) as problem:
                self.problems.append(f"case {name}, event {number}: {problem}")

    def _read_event(self, case_id: CaseId, fields: Fields, message: str) -> None:
        line = Line(fields, self.names, self.zone, message)
        word = str(fields.get("event"))
        if word not in EVENTS:
            msg = f"event is one of {', '.join(EVENTS)}, not {word}"
            raise ValueError(msg)
        event = EVENTS[word](line)
        line.must_be_understood()
        self.told.append(_Told(case_id, line.at, line.recorded_at, event))

    def read_calendar(self, name: str, fields: object) -> Sequence[KnownVersion]:
        try:
            return tuple(self._versions(fields_of(fields)))
        except (KeyError, OSError, TypeError, ValueError) as problem:
            self.problems.append(f"calendar {name}: {_said(problem)}")
            return ()

    def _versions(self, fields: Fields) -> Iterator[KnownVersion]:
        base = {"time_zone": self.zone.key, **fields}
        revisions = items_of(base.pop("revisions", []))
        yield KnownVersion(CalendarVersion(hours=read_hours(_plain(base))), None)
        for revision in map(fields_of, revisions):
            dates = {key: self._moment(revision.get(key)) for key in ("effective_from", "effective_to", "recorded")}
            hours = {key: value for key, value in revision.items() if key not in dates}
            version = CalendarVersion(
                hours=read_hours(_plain({**base, **hours})),
                effective_from=dates["effective_from"],
                effective_to=dates["effective_to"],
            )
            yield KnownVersion(version, dates["recorded"])

    def _moment(self, value: object) -> datetime | None:
        return None if value is None else read_moment(value, self.zone)

    def check_names(self, cases: Sequence[str], calendars: Sequence[str]) -> None:
        """Look whether all that is named exists, and every case is opened once."""
        opened = [self.names.name(told.case_id) for told in self.told if isinstance(told.event, CaseOpened)]
        self.problems.extend(f"case {name}: a case is opened once" for name in cases if opened.count(name) != 1)
        messages = {told.event.message_id for told in self.told if isinstance(told.event, CaseOpened | Message)}
        for told in self.told:
            for kind, named, known in (
                *(("case", other, cases) for other, _ in _counterparts(told.case_id, told.event)),
                *(("calendar", each, calendars) for each in _calendars(told.event)),
            ):
                if self.names.name(named) not in known:
                    self.problems.append(f"{kind} {self.names.name(named)} is named, but there is none")
            if isinstance(told.event, NoReplyNeededMarked) and told.event.message_id not in messages:
                self.problems.append(f"message {self.names.name(told.event.message_id)} is named, but there is none")
        self._must_not_merge_in_circles()

    def join(self) -> None:
        """Give the other case its part of what concerns two."""
        openings = {told.case_id: told.event for told in self.told if isinstance(told.event, CaseOpened)}
        joined: list[_Told] = []
        for told in self.told:
            event = told.event
            if isinstance(event, CaseOpened) and event.split_from is not None and event.direction is Direction.INBOUND:
                origin = openings[event.split_from]
                event = replace(event, waiting_since=event.waiting_since or origin.waiting_since or origin.at)
            joined.append(replace(told, event=event))
            for other, counterpart in _counterparts(told.case_id, event):
                joined.append(replace(told, case_id=other, event=counterpart))
        self.told = joined

    def _must_not_merge_in_circles(self) -> None:
        into = {told.case_id: told.event.into_id for told in self.told if isinstance(told.event, CaseMergedInto)}
        for case_id in into:
            seen, following = {case_id}, into.get(case_id)
            while following is not None and following not in seen:
                seen.add(following)
                following = into.get(following)
            if following == case_id:
                self.problems.append(f"case {self.names.name(case_id)} would be merged into itself")

    def entries(self) -> Mapping[CaseId, Sequence[Entry]]:
        """All events with their places in the order of recording."""
        found: dict[CaseId, list[Entry]] = {told.case_id: [] for told in self.told}
        for position, told in enumerate(sorted(self.told, key=lambda told: told.recorded_at), 1):
            found[told.case_id].append(Entry(told.event, told.at, told.recorded_at, position))
        return found


def _counterparts(case_id: CaseId, event: SupportCaseEvent) -> Iterator[tuple[CaseId, SupportCaseEvent]]:
    match event:
        case CaseMergedInto(into_id=into_id):
            yield into_id, AnotherCaseMerged(case_id=case_id)
        case CaseOpened(follow_up_of=origin_id, split_from=split_from):
            if origin_id is not None:
                yield origin_id, FollowUpCaseOpened(case_id=case_id)
            if split_from is not None:
                yield split_from, CaseSplit(case_id=case_id)


def _calendars(event: SupportCaseEvent) -> Iterator[CalendarId]:
    if isinstance(event, CaseOpened | CalendarAssigned) and event.calendar_id is not None:
        yield event.calendar_id


def _plain(hours: Fields) -> Fields:
    """Working hours in the shape of business-time cases: `mon-fri = "09:00-17:00"` means each of these weekdays."""
    return {key: _intervals_by_day(value) if key in _INTERVALS else value for key, value in hours.items()}


_TABLES: Final = {"title", "time_zone", "calendars", "cases", "expect"}
_INTERVALS: Final = {"hours", "weekly", "special_hours", "shifts", "breaks"}


def _intervals_by_day(value: object) -> object:
    if value == "always":
        return {day: [["00:00", "24:00"]] for day in WEEKDAYS}
    days: dict[str, object] = {}
    for name, intervals in fields_of(value).items():
        for day in _days(name):
            days[day] = [_interval(one) for one in ([intervals] if isinstance(intervals, str) else items_of(intervals))]
    return days


def _days(name: str) -> Sequence[str]:
    first, dash, last = name.lower().partition("-")
    if not dash or first not in WEEKDAYS or last not in WEEKDAYS:
        return (name,)
    week = (*WEEKDAYS, *WEEKDAYS)
    begins = week.index(first)
    return week[begins : week.index(last, begins) + 1]


def _interval(value: object) -> object:
    if not isinstance(value, str):
        return value
    opens, dash, closes = value.partition("-")
    if not dash:
        msg = f"an interval is written 09:00-17:00, not {value}"
        raise ValueError(msg)
    return [opens, closes]


def read_timeline_file(text: str | bytes) -> TimelineFile:
    """The cases, calendars and expectations of a file; raises `NotATimelineFile`."""
    try:
        document = tomllib.loads(text if isinstance(text, str) else text.decode())
        zone = ZoneInfo(str(document.get("time_zone", "UTC")))
        calendars, cases = fields_of(document.get("calendars", {})), fields_of(document.get("cases"))
        expectations = items_of(document.get("expect"))
    except (KeyError, OSError, RecursionError, TypeError, ValueError) as problem:
        raise NotATimelineFile(_said(problem)) from problem
    reading = _Reading(zone)
    reading.problems.extend(f"{table} is unknown" for table in sorted(document.keys() - _TABLES))
    for name, case in cases.items():
        reading.read_case(name, case)
    versions = {
        CalendarId(reading.names.id("calendar", name)): reading.read_calendar(name, fields)
        for name, fields in calendars.items()
    }
    if not reading.problems:
        reading.check_names(tuple(cases), tuple(calendars))
    if reading.problems:
        raise NotATimelineFile("\n".join(reading.problems))
    reading.join()
    return TimelineFile(
        title=str(document.get("title", "")),
        zone=reading.zone,
        names=reading.names,
        cases=reading.entries(),
        calendars=versions,
        expectations=expectations,
    )


def _said(problem: Exception) -> str:
    """What went wrong, as a person says it."""
    is_missing = isinstance(problem, KeyError) and not isinstance(problem, ZoneInfoNotFoundError)
    return f"{problem.args[0]} is missing" if is_missing else str(problem)
