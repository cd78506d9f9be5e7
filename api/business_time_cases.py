"""The file format of business-time cases: how calendars, instants and durations are written there.

The file is JSON: `{"cases": [case, …]}`, or the list alone. A case has an `id`, a `kind`, a `calendar`, an `input` and
what is `expected`:

    {"id": "lunch", "kind": "add_seconds",
     "calendar": {"tz": "Europe/Berlin", "hours": {"mon": [["09:00", "12:00"], ["13:00", "17:00"]]},
                  "special_hours": {"2026-06-08": [["10:00", "24:00"]]},
                  "breaks": {"2026-06-15": [["15:00", "15:30"]], "fri": [["12:00", "12:30"]]},
                  "holidays": ["2026-06-22"]},
     "input": {"from": "2026-06-01T11:00:00+02:00", "seconds": 7200},
     "expected": {"at": "2026-06-01T14:00:00+02:00"}}

`api.checks` lists the kinds. Durations are in `seconds`, or in `microseconds`, `milliseconds`, `minutes` or `hours`. An
instant without an offset is local time of the calendar. Special hours, also called `shifts`, replace the weekly hours
of a date. Intervals may be written `{"09:00": "17:00"}` too, and breaks without a day are those of every day. A
calendar may have `versions` in the order in which they became known, each with `effective_from`, perhaps
`effective_to`, and whatever differs from the rest of the calendar.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from domain.business_time import CalendarVersion, Schedule, calendar
from domain.working_hours import DatedIntervals, Interval, Week, WorkingHours

Fields: TypeAlias = Mapping[str, object]

UNITS: Final[Mapping[str, int]] = {
    "microseconds": 1,
    "milliseconds": 1_000,
    "seconds": 1_000_000,
    "minutes": 60_000_000,
    "hours": 3_600_000_000,
}
"""The units of durations, in microseconds."""
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ABBREVIATION: Final = 3


class NotACaseFile(ValueError):  # noqa: N818 - it is the answer to whoever named the file
    """The file is not JSON with a list of cases."""


def cases_in(text: str | bytes) -> Sequence[object]:
    """The cases of a file as they stand there; raises `NotACaseFile`."""
    try:
        document = json.loads(text, parse_float=Decimal)
    except (RecursionError, ValueError) as unreadable:
        raise NotACaseFile(str(unreadable)) from unreadable
    cases = document.get("cases") if isinstance(document, dict) else document
    if not isinstance(cases, list):
        msg = 'expected {"cases": [...]} or a list of cases'
        raise NotACaseFile(msg)
    return cases


def fields_of(value: object) -> Fields:
    """A JSON object."""
    if not isinstance(value, Mapping):
        msg = f"expected an object, not {value!r}"
        raise TypeError(msg)
    return value


def items_of(value: object) -> Sequence[object]:
    """A JSON array."""
    if not isinstance(value, list):
        msg = f"expected a list, not {value!r}"
        raise TypeError(msg)
    return value


def read_date(value: object) -> date:
    """A local date."""
    return date.fromisoformat(str(value))


def read_instant(value: object, zone: ZoneInfo) -> datetime:
    """An instant; local time of the zone where it says no offset."""
    instant = datetime.fromisoformat(str(value))
    return instant if instant.tzinfo else instant.replace(tzinfo=zone)


def read_duration(unit: str, value: object) -> timedelta:
    """A duration of whole microseconds."""
    return timedelta(microseconds=int(Decimal(str(value)) * UNITS[unit]))


def read_duration_in(fields: Fields) -> timedelta:
    """The sum of whatever units are given."""
    given = [unit for unit in UNITS if unit in fields]
    if not given:
        missing = "seconds"
        raise KeyError(missing)
    return sum((read_duration(unit, fields[unit]) for unit in given), timedelta())


def read_zone(hours: Fields) -> ZoneInfo:
    """The time zone of a calendar."""
    return ZoneInfo(str(_first_of(hours, "tz", "time_zone")))


def read_calendar(hours: Fields) -> Schedule:
    """A calendar with its versions, where it has any."""
    zone = read_zone(hours)
    versions = [fields_of(version) for version in items_of(hours.get("versions", [{}]))]
    return calendar([_version({**hours, **version}, zone) for version in versions])


def _version(fields: Fields, zone: ZoneInfo) -> CalendarVersion:
    begins, ends = fields.get("effective_from"), fields.get("effective_to")
    return CalendarVersion(
        hours=read_hours(fields),
        effective_from=None if begins is None else read_instant(begins, zone),
        effective_to=None if ends is None else read_instant(ends, zone),
    )


def read_hours(fields: Fields) -> WorkingHours:
    """Working hours as one version of a calendar has them."""
    breaks = _by_day(fields.get("breaks"))
    return WorkingHours(
        time_zone=read_zone(fields).key,
        weekly=_week(_by_day(_weekly(fields))),
        shifts=_dated(_by_day(fields.get("special_hours", fields.get("shifts")))),
        weekly_breaks=_week({day: some for day, some in breaks.items() if day in _WEEKDAYS}),
        breaks=_dated({day: some for day, some in breaks.items() if day not in _WEEKDAYS}),
        holidays=tuple(read_date(holiday) for holiday in items_of(fields.get("holidays") or [])),
    )


def _first_of(fields: Fields, *names: str) -> object:
    for name in names:
        if name in fields:
            return fields[name]
    raise KeyError(names[0])


def _weekly(fields: Fields) -> object:
    """The weekly hours; a calendar may have special hours only."""
    if {"special_hours", "shifts"}.isdisjoint(fields):
        return _first_of(fields, "hours", "weekly")
    return fields.get("hours", fields.get("weekly"))


def _by_day(value: object) -> dict[str, tuple[Interval, ...]]:
    """Intervals by weekday or date, else of every weekday; weekdays are told by their first three letters."""
    days = fields_of(dict.fromkeys(_WEEKDAYS, value) if isinstance(value, list) else value or {})
    return {_weekday(day): tuple(_intervals(some)) for day, some in days.items()}


def _weekday(day: str) -> str:
    named = (name for name in _WEEKDAYS if name[:_ABBREVIATION] == day[:_ABBREVIATION].lower())
    return next(named, day)


def _intervals(value: object) -> Iterator[Interval]:
    pairs = value.items() if isinstance(value, Mapping) else map(items_of, _pairs(items_of(value or [])))
    for opens, closes in pairs:
        # A closing time of midnight is the end of the day.
        yield Interval(opens=str(opens), closes="24:00" if closes == "00:00" else str(closes))


def _pairs(intervals: Sequence[object]) -> Sequence[object]:
    """A list of intervals; one alone need not stand in a list of its own."""
    return [intervals] if intervals and all(isinstance(each, str) for each in intervals) else intervals


def _week(days: Mapping[str, tuple[Interval, ...]]) -> Week:
    unknown = days.keys() - set(_WEEKDAYS)
    if unknown:
        raise KeyError(min(unknown))
    monday, tuesday, wednesday, thursday, friday, saturday, sunday = (days.get(day, ()) for day in _WEEKDAYS)
    return Week(
        monday=monday,
        tuesday=tuesday,
        wednesday=wednesday,
        thursday=thursday,
        friday=friday,
        saturday=saturday,
        sunday=sunday,
    )


def _dated(days: Mapping[str, tuple[Interval, ...]]) -> tuple[DatedIntervals, ...]:
    return tuple(DatedIntervals(on=read_date(day), intervals=intervals) for day, intervals in days.items())


def shown(value: object, zone: ZoneInfo) -> str:
    """An answer as the file would write it: durations in seconds, instants in the zone of the calendar."""
    if isinstance(value, timedelta):
        microseconds = value // timedelta(microseconds=1)
        return f"{Decimal(microseconds) / UNITS['seconds']:f} s"
    if isinstance(value, datetime):
        return value.astimezone(zone).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value)
