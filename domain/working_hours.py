"""Working hours: when people of one place work, as they would write it on the door.

Rules

* Every weekday has any number of intervals, also none. A day ends at 24:00.
* A dated shift replaces the weekly hours of its date; a shift without intervals closes the date.
* A break and a holiday take working time away, from weekly hours and from shifts alike.
* Everything is local time of one IANA zone, written as `09:00` or `09:00:30`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, TypeAlias

from domain.values import Spelled, immutable

_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"
_OPENS = rf"^{_TIME}$"
_CLOSES = rf"^({_TIME}|24:00(:00)?)$"
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_ZONE = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
_ZONE_LENGTH_MAX = 64
"""The longest name in the IANA database has 32 letters."""


@dataclass(frozen=True, slots=True)
class SpelledDay:
    """Marks a date that is spelled as 2026-04-01 in JSON, and in no other way: left to itself, "0" is a day of 1970."""

    def __get_pydantic_core_schema__(self, source: object, handler: Callable[..., object]) -> Mapping[str, object]:
        """Describe the shape to validators that ask for it."""
        text = {"type": "str", "pattern": _DAY, "strict": True}
        read = {"type": "function-plain", "function": {"type": "no-info", "function": date.fromisoformat}}
        return {
            "type": "json-or-python",
            "json_schema": {"type": "chain", "steps": [text, read]},
            "python_schema": handler(source),
        }

    def __get_pydantic_json_schema__(self, schema: Mapping[str, object], handler: Callable[..., Any]) -> Any:
        """Describe it to those who read schemas."""
        return handler(schema["python_schema"])


LocalDay: TypeAlias = Annotated[date, SpelledDay()]
"""A local date."""
OpeningTime: TypeAlias = Annotated[str, Spelled(_OPENS, len("09:00:30"))]
"""A local time such as `09:00` or `09:00:30`."""
ClosingTime: TypeAlias = Annotated[str, Spelled(_CLOSES, len("09:00:30"))]
"""A local time, or `24:00` for the end of the day."""
ZoneName: TypeAlias = Annotated[str, Spelled(_ZONE, _ZONE_LENGTH_MAX)]
"""The IANA name of a time zone: `Europe/Berlin`. Whether the zone exists is a rule of the aggregates."""


def second_of_day(time: str) -> int:
    """Seconds from local midnight, as on a day of 24 hours: 34,200 for `09:30`, 86,400 for `24:00`."""
    hours, minutes, seconds = (time + ":00").split(":")[:3]
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


@immutable
class Interval:
    """Local time of one day from `opens` until `closes`, which is not part of it; the day ends at 24:00."""

    opens: OpeningTime
    closes: ClosingTime

    def __post_init__(self) -> None:
        if not (re.fullmatch(_OPENS, self.opens) and re.fullmatch(_CLOSES, self.closes)):
            msg = "local times are written as 09:00 or 09:00:30; only a closing time may be 24:00"
            raise ValueError(msg)
        if second_of_day(self.opens) >= second_of_day(self.closes):
            msg = "an interval opens before it closes; one over midnight is two, until 24:00 and from 00:00"
            raise ValueError(msg)


@immutable
class Week:
    """Intervals for each weekday; they may overlap and stand in any order."""

    monday: tuple[Interval, ...] = ()
    tuesday: tuple[Interval, ...] = ()
    wednesday: tuple[Interval, ...] = ()
    thursday: tuple[Interval, ...] = ()
    friday: tuple[Interval, ...] = ()
    saturday: tuple[Interval, ...] = ()
    sunday: tuple[Interval, ...] = ()

    def days(self) -> tuple[tuple[Interval, ...], ...]:
        """Monday first, as in `date.weekday()`."""
        return (self.monday, self.tuesday, self.wednesday, self.thursday, self.friday, self.saturday, self.sunday)


@immutable
class DatedIntervals:
    """Intervals of one local date."""

    on: LocalDay
    intervals: tuple[Interval, ...] = ()


@immutable
class WorkingHours:
    """One complete set of working hours; `weekly_breaks` are taken every week, `breaks` on their dates."""

    time_zone: ZoneName
    weekly: Week = Week()
    shifts: tuple[DatedIntervals, ...] = ()
    weekly_breaks: Week = Week()
    breaks: tuple[DatedIntervals, ...] = ()
    holidays: tuple[LocalDay, ...] = ()

    def __post_init__(self) -> None:
        if len(self.time_zone) > _ZONE_LENGTH_MAX or not re.fullmatch(_ZONE, self.time_zone):
            msg = "a time zone is an IANA name such as Europe/Berlin"
            raise ValueError(msg)
