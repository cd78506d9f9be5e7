"""Service calendars: when somebody is there to answer, as it was known and as it was corrected.

Rules

* No two calendars have the same calendar number, nor the same identifier of one source; the source `number` is ours.
* What was defined holds always, until a revision holds instead. So there are working hours for every instant.
* A revision holds from an instant on, and until another one where it is a correction. Of those that hold at an instant
  the one that began last counts, of equal ones the one recorded later. So a correction never swallows a later revision.
* A correction ends after it begins.
* Working hours are in a time zone that exists.
* Holidays are part of the working hours, as dates. One that is entered late is a correction: what was answered without
  it can still be answered.
* A decision that changes nothing records nothing.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime
from typing import NewType, TypeAlias
from uuid import UUID

from domain.clock import time_zone_exists
from domain.customer import RESERVED_SOURCE, SourceIsReserved
from domain.errors import NotFound, Refusal
from domain.values import ExternalIdentifier, Instant, immutable
from domain.working_hours import WorkingHours

CalendarId = NewType("CalendarId", UUID)


@immutable
class CalendarDefined:
    """A calendar exists; its hours hold for every instant for which no revision does."""

    calendar_number: str
    name: str
    hours: WorkingHours
    external_identifiers: tuple[ExternalIdentifier, ...] = ()


@immutable
class CalendarRevised:
    """The calendar has other hours from an instant on; a correction says until when."""

    hours: WorkingHours
    effective_from: Instant
    effective_to: Instant | None = None


CalendarEvent: TypeAlias = CalendarDefined | CalendarRevised


class CalendarNotFound(NotFound):
    """There is no service calendar of this id, number or identifier."""


class CalendarNumberIsTaken(Refusal):
    """No two service calendars have the same calendar number."""


class CalendarIdentifierIsTaken(Refusal):
    """No two service calendars have the same identifier of one source."""


class CorrectionEndsBeforeItBegins(Refusal):
    """A correction of a service calendar ends after it begins."""


class TimeZoneIsUnknown(Refusal):
    """Working hours are in a time zone of the IANA database, such as Europe/Berlin."""


@immutable
class ServiceCalendar:
    """What the rules ask about a calendar: its latest revision from each instant."""

    revisions: Mapping[datetime, CalendarRevised] = field(default_factory=dict)

    def revise(self, revised: CalendarRevised) -> tuple[CalendarRevised, ...]:
        """Let other hours hold from an instant on, or only until another one."""
        _must_be_in_a_known_zone(revised.hours)
        if revised.effective_to is not None and revised.effective_to <= revised.effective_from:
            raise CorrectionEndsBeforeItBegins(pointer="/effective_to")
        return () if self.revisions.get(revised.effective_from) == revised else (revised,)


def define(defined: CalendarDefined) -> tuple[CalendarDefined]:
    """Begin a calendar. That its number and identifiers are its own is seen to by claims."""
    for index, identifier in enumerate(defined.external_identifiers):
        if identifier.source == RESERVED_SOURCE:
            raise SourceIsReserved(pointer=f"/external_identifiers/{index}/source")
    _must_be_in_a_known_zone(defined.hours)
    return (defined,)


def _must_be_in_a_known_zone(hours: WorkingHours) -> None:
    if not time_zone_exists(hours.time_zone):
        raise TimeZoneIsUnknown(pointer="/hours/time_zone")


def evolve(state: ServiceCalendar | None, event: CalendarEvent) -> ServiceCalendar:
    """The calendar after an event."""
    if isinstance(event, CalendarDefined):
        return ServiceCalendar()
    if state is None:
        msg = "the stream of a calendar begins with its definition"
        raise ValueError(msg)
    return replace(state, revisions={**state.revisions, event.effective_from: event})
