"""What can be asked for service calendars: each command directly above its handler."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator

from application.aggregates import Aggregate
from application.commands import Command, handles
from application.shapes import DAYS_END, FIRST_DAY, Code, Identifiers, Instant, Name
from application.submissions import EventIsTooLarge
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
from domain.working_hours import WorkingHours

CALENDAR = Aggregate("service-calendar", "service-calendars", ServiceCalendar, evolve, CalendarNotFound)


def _of_this_age(hours: WorkingHours) -> WorkingHours:
    days = (*hours.holidays, *(dated.on for dated in (*hours.shifts, *hours.breaks)))
    if not all(FIRST_DAY <= day < DAYS_END for day in days):
        msg = f"the days of a calendar are in the years {FIRST_DAY.year} to {DAYS_END.year - 1}"
        raise ValueError(msg)
    return hours


Hours: TypeAlias = Annotated[WorkingHours, AfterValidator(_of_this_age)]
"""Working hours whose days can be counted with."""


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
        EventIsTooLarge,
    ),
)
def define_calendar(command: DefineCalendar, work: UnitOfWork) -> None:
    """Take the number and the identifiers for a new calendar."""
    (defined,) = define(
        CalendarDefined(
            calendar_number=command.calendar_number,
            name=command.name,
            hours=command.hours,
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


@handles(ReviseCalendar, CALENDAR, refusals=(CorrectionEndsBeforeItBegins, TimeZoneIsUnknown, EventIsTooLarge))
def revise_calendar(command: ReviseCalendar, work: UnitOfWork) -> None:
    """See `ServiceCalendar.revise`."""
    revised = CalendarRevised(
        hours=command.hours, effective_from=command.effective_from, effective_to=command.effective_to
    )
    work.record(*work.target(CALENDAR).revise(revised))
