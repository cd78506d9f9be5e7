"""The rules of service calendars, sentence by sentence as `domain/service_calendar.py` states them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias

import pytest

from domain.business_time import CalendarVersion, calendar
from domain.customer import SourceIsReserved
from domain.service_calendar import (
    CalendarEvent,
    CalendarRevised,
    CorrectionEndsBeforeItBegins,
    ServiceCalendar,
    TimeZoneIsUnknown,
    define,
    evolve,
)
from domain.values import ExternalIdentifier
from domain.working_hours import WorkingHours
from tests.colleagues import (
    BERLIN_OFFICE,
    LABOUR_DAY_BEGINS,
    LABOUR_DAY_ENDS,
    LABOUR_DAY_ENTERED_LATE,
    SUPPORT_HOURS_DEFINED,
    SUPPORT_HOURS_REVISED,
)
from tests.scenario import Scenario

Decide: TypeAlias = Callable[[ServiceCalendar], tuple[CalendarEvent, ...]]

support_hours = Scenario(evolve)

ATLANTIS = WorkingHours(time_zone="Europe/Atlantis")


def revise(revised: CalendarRevised) -> Decide:
    return lambda calendar: calendar.revise(revised)


def test_a_calendar_is_defined_with_its_hours() -> None:
    support_hours.when(lambda: define(SUPPORT_HOURS_DEFINED)).then(SUPPORT_HOURS_DEFINED)


def test_the_source_number_is_ours() -> None:
    ours = ExternalIdentifier(source="number", id="1")
    defined = replace(SUPPORT_HOURS_DEFINED, external_identifiers=(ours,))
    support_hours.when(lambda: define(defined)).then_refused(SourceIsReserved, pointer="/external_identifiers/0/source")


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "Europe", "localtime/nowhere"])
def test_working_hours_are_in_a_time_zone_that_exists(zone: str) -> None:
    hours = WorkingHours(time_zone=zone)
    defined, revised = replace(SUPPORT_HOURS_DEFINED, hours=hours), replace(SUPPORT_HOURS_REVISED, hours=hours)
    support_hours.when(lambda: define(defined)).then_refused(TimeZoneIsUnknown, pointer="/hours/time_zone")
    past = support_hours.given(SUPPORT_HOURS_DEFINED)
    past.when(revise(revised)).then_refused(TimeZoneIsUnknown, pointer="/hours/time_zone")


def test_a_revision_holds_from_an_instant_on() -> None:
    support_hours.given(SUPPORT_HOURS_DEFINED).when(revise(SUPPORT_HOURS_REVISED)).then(SUPPORT_HOURS_REVISED)


@pytest.mark.parametrize("end", [LABOUR_DAY_BEGINS, LABOUR_DAY_BEGINS - timedelta(days=1)])
def test_a_correction_ends_after_it_begins(end: datetime) -> None:
    correction = replace(LABOUR_DAY_ENTERED_LATE, effective_to=end)
    past = support_hours.given(SUPPORT_HOURS_DEFINED)
    past.when(revise(correction)).then_refused(CorrectionEndsBeforeItBegins, pointer="/effective_to")


def test_a_revision_that_says_what_was_said_records_nothing() -> None:
    past = support_hours.given(SUPPORT_HOURS_DEFINED, SUPPORT_HOURS_REVISED, LABOUR_DAY_ENTERED_LATE)
    past.when(revise(SUPPORT_HOURS_REVISED)).then()
    past.when(revise(LABOUR_DAY_ENTERED_LATE)).then()


def test_of_two_revisions_from_one_instant_the_later_counts_so_the_earlier_may_be_said_again() -> None:
    otherwise = replace(SUPPORT_HOURS_REVISED, hours=BERLIN_OFFICE)
    past = support_hours.given(SUPPORT_HOURS_DEFINED, SUPPORT_HOURS_REVISED, otherwise)
    past.when(revise(SUPPORT_HOURS_REVISED)).then(SUPPORT_HOURS_REVISED)


def test_what_is_recorded_is_what_business_time_reads() -> None:
    base = CalendarVersion(hours=SUPPORT_HOURS_DEFINED.hours)
    correction = CalendarVersion(
        hours=LABOUR_DAY_ENTERED_LATE.hours,
        effective_from=LABOUR_DAY_ENTERED_LATE.effective_from,
        effective_to=LABOUR_DAY_ENTERED_LATE.effective_to,
    )
    working = 8 * 3_600_000_000
    assert calendar([base]).working_time(LABOUR_DAY_BEGINS, LABOUR_DAY_ENDS) == working
    assert calendar([base, correction]).working_time(LABOUR_DAY_BEGINS, LABOUR_DAY_ENDS) == 0
    assert not calendar([base, correction]).is_business_day(date(2026, 5, 1))


def test_a_calendar_begins_with_its_definition() -> None:
    with pytest.raises(ValueError, match="definition"):
        evolve(None, CalendarRevised(hours=BERLIN_OFFICE, effective_from=datetime(2026, 1, 1, tzinfo=UTC)))
