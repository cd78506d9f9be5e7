"""What can be asked for service calendars: each command directly above its handler."""

from dataclasses import fields
from typing import Annotated, TypeAlias

from pydantic import Field

from application.aggregates import Aggregate
from application.commands import Command, handles
from application.shapes import DAYS_END, FIRST_DAY, Code, Identifiers, Instant, Name
from application.unit_of_work import UnitOfWork
from domain.customer import RESERVED_SOURCE, SourceIsReserved
from domain.service_calendar import (
    CalendarDefined,
    CalendarIdentifierIsTaken,
    CalendarNotFound,
    CalendarNumberIsTaken,
    CalendarRevised,
    CorrectionEndsBeforeItBegins,
    ServiceCalendar,
    TimeZoneIsUnknown,
    define,
    evolve,
)
from domain.values import immutable
from domain.working_hours import DatedIntervals, Interval, LocalDay, Week, WorkingHours, ZoneName

CALENDAR = Aggregate("service-calendar", "service-calendars", ServiceCalendar, evolve, CalendarNotFound)


INTERVALS_MAX = 24
"""Intervals of one day: one an hour, which no door says."""
DATES_MAX = 1_000
"""Dates with shifts or breaks of their own: every working day of four years."""
HOLIDAYS_MAX = 1_000
"""Twenty a year for fifty years."""

Intervals: TypeAlias = Annotated[tuple[Interval, ...], Field(max_length=INTERVALS_MAX)]


@immutable
class StatedWeek:
    """Intervals for each weekday; they may overlap and stand in any order."""

    monday: Intervals = ()
    tuesday: Intervals = ()
    wednesday: Intervals = ()
    thursday: Intervals = ()
    friday: Intervals = ()
    saturday: Intervals = ()
    sunday: Intervals = ()


@immutable
class StatedDate:
    """Intervals of one local date."""

    on: LocalDay
    intervals: Intervals = ()


Dates: TypeAlias = Annotated[tuple[StatedDate, ...], Field(max_length=DATES_MAX)]


@immutable
class Hours:
    """One complete set of working hours; `weekly_breaks` are taken every week, `breaks` on their dates."""

    time_zone: ZoneName
    weekly: StatedWeek = StatedWeek()
    shifts: Dates = ()
    weekly_breaks: StatedWeek = StatedWeek()
    breaks: Dates = ()
    holidays: Annotated[tuple[LocalDay, ...], Field(max_length=HOLIDAYS_MAX)] = ()

    def __post_init__(self) -> None:
        days = (*self.holidays, *(dated.on for dated in (*self.shifts, *self.breaks)))
        if not all(FIRST_DAY <= day < DAYS_END for day in days):
            msg = f"the days of a calendar are in the years {FIRST_DAY.year} to {DAYS_END.year - 1}"
            raise ValueError(msg)


def _as_recorded(hours: Hours) -> WorkingHours:
    """The working hours that are stated; those recorded once with more intervals than are taken now still load."""
    return WorkingHours(
        time_zone=hours.time_zone,
        weekly=_week(hours.weekly),
        shifts=_dated(hours.shifts),
        weekly_breaks=_week(hours.weekly_breaks),
        breaks=_dated(hours.breaks),
        holidays=hours.holidays,
    )


def _week(week: StatedWeek) -> Week:
    return Week(**{day.name: getattr(week, day.name) for day in fields(week)})


def _dated(dates: Dates) -> tuple[DatedIntervals, ...]:
    return tuple(DatedIntervals(on=date.on, intervals=date.intervals) for date in dates)


@immutable
class DefineCalendar(Command):
    """Define a calendar with the working hours that hold for every instant, until it is revised.

    Weekdays may have several intervals, up to 24:00. Shifts replace the weekly hours of their date; breaks
    and holidays take working time away.
    """

    calendar_number: Code
    name: Name
    hours: Hours
    external_identifiers: Identifiers = ()


@handles(
    DefineCalendar,
    CALENDAR,
    creates=True,
    refusals=(
        CalendarNumberIsTaken,
        CalendarIdentifierIsTaken,
        SourceIsReserved,
        TimeZoneIsUnknown,
    ),
)
def define_calendar(command: DefineCalendar, work: UnitOfWork) -> None:
    """Take the number and the identifiers for a new calendar."""
    (defined,) = define(
        CalendarDefined(
            calendar_number=command.calendar_number,
            name=command.name,
            hours=_as_recorded(command.hours),
            external_identifiers=tuple(dict.fromkeys(command.external_identifiers)),
        )
    )
    number = CALENDAR.reference(RESERVED_SOURCE, command.calendar_number)
    work.claim(number, CalendarNumberIsTaken, pointer="/calendar_number")
    for identifier in defined.external_identifiers:
        claim = CALENDAR.reference(identifier.source, identifier.id)
        work.claim(claim, CalendarIdentifierIsTaken, pointer="/external_identifiers")
    work.record(defined)


@immutable
class ReviseCalendar(Command):
    """Give the calendar other working hours from an instant on, all of them: holidays are part of a revision.

    A correction of the past says until when it holds (`effective_to`), so that later revisions keep counting.
    """

    hours: Hours
    effective_from: Instant
    effective_to: Instant | None = None


@handles(ReviseCalendar, CALENDAR, refusals=(CorrectionEndsBeforeItBegins, TimeZoneIsUnknown))
def revise_calendar(command: ReviseCalendar, work: UnitOfWork) -> None:
    """See `ServiceCalendar.revise`."""
    revised = CalendarRevised(
        hours=_as_recorded(command.hours), effective_from=command.effective_from, effective_to=command.effective_to
    )
    work.record(*work.target(CALENDAR).revise(revised))
