"""What handlers of service calendars' commands add to the rules: claims, and instants in UTC."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from application.ports import NewEvent, Stream
from application.service_calendars import CALENDAR, DefineCalendar, ReviseCalendar
from domain.service_calendar import CalendarIdentifierIsTaken, CalendarNotFound, CalendarNumberIsTaken, CalendarRevised
from tests.application.test_customers import NEW, Log, claims, decide, validate
from tests.colleagues import (
    BERLIN_OFFICE,
    BERLIN_OFFICE_IN_2026,
    IN_THE_HELP_DESK,
    LABOUR_DAY_ENTERED_LATE,
    SUPPORT_HOURS,
    SUPPORT_HOURS_DEFINED,
)

LOG = Log({SUPPORT_HOURS: Stream(1, CALENDAR.fold(None, (SUPPORT_HOURS_DEFINED,)))})
LABOUR_DAY: dict[str, object] = {
    "hours": {"time_zone": "Europe/Berlin"},
    "effective_from": "2026-05-01T00:00:00+02:00",
    "effective_to": "2026-05-02T00:00:00+02:00",
}


def test_number_and_identifiers_are_claimed() -> None:
    identifier = {"source": IN_THE_HELP_DESK.source, "id": IN_THE_HELP_DESK.id}
    body = {
        "calendar_number": "SUPPORT",
        "name": "Support, Berlin",
        "hours": TypeAdapter(type(BERLIN_OFFICE)).dump_python(BERLIN_OFFICE, mode="json"),
        "external_identifiers": [identifier, identifier],
    }
    decision = decide(validate("define-calendar", body))
    assert decision.events == (NewEvent(NEW, 1, SUPPORT_HOURS_DEFINED, None),)
    assert claims(decision) == {
        CALENDAR.reference("number", "SUPPORT"): (CalendarNumberIsTaken, "/calendar_number", None),
        CALENDAR.reference("helpdesk", "Group 70"): (CalendarIdentifierIsTaken, "/external_identifiers", None),
    }


def test_instants_of_a_revision_are_kept_in_utc() -> None:
    decision = decide(validate("revise-calendar", LABOUR_DAY), SUPPORT_HOURS, log=LOG)
    assert decision.events == (NewEvent(SUPPORT_HOURS, 2, LABOUR_DAY_ENTERED_LATE, None),)
    assert repr(decision.events[0].event) == repr(LABOUR_DAY_ENTERED_LATE)


def test_only_a_calendar_that_exists_is_revised() -> None:
    with pytest.raises(CalendarNotFound):
        decide(validate("revise-calendar", LABOUR_DAY), NEW, log=LOG)


@pytest.mark.parametrize(
    "instant", ["2026-05-01T00:00:00", "1026-05-01T00:00:00Z", "2200-01-01T00:00:00Z", 1_777_586_400]
)
def test_an_instant_names_its_offset_and_a_year_of_this_world(instant: object) -> None:
    body = json.dumps(LABOUR_DAY | {"effective_from": instant})
    with pytest.raises(ValidationError):
        TypeAdapter(ReviseCalendar).validate_json(body, strict=True)


@pytest.mark.parametrize(
    "hours",
    [
        {},
        {"time_zone": "Berlin Mitte"},
        {"time_zone": "UTC", "weekly": {"monday": [{"opens": "9", "closes": "17:00"}]}},
        {"time_zone": "UTC", "weekly": {"monday": [{"opens": "17:00", "closes": "09:00"}]}},
        {"time_zone": "UTC", "weekly": {"someday": []}},
        {"time_zone": "UTC", "holidays": ["New Year"]},
    ],
)
def test_what_are_no_working_hours_is_refused(hours: dict[str, object]) -> None:
    body = json.dumps({"calendar_number": "SUPPORT", "name": "Support", "hours": hours})
    with pytest.raises(ValidationError):
        TypeAdapter(DefineCalendar).validate_json(body, strict=True, extra="forbid")


def test_working_hours_are_written_as_they_are_read() -> None:
    hours = TypeAdapter(type(BERLIN_OFFICE_IN_2026))
    written = hours.dump_json(BERLIN_OFFICE_IN_2026)
    assert hours.validate_json(written, strict=True, extra="forbid") == BERLIN_OFFICE_IN_2026
    assert b'{"opens":"14:00:30","closes":"24:00"}' in written


@pytest.mark.parametrize("day", ["0", "1577836800", "2026-1-1", "2026-02-30", "1899-12-31", "2200-01-01", 20260101])
@pytest.mark.parametrize("where", ["holidays", "shifts", "breaks"])
def test_the_days_of_a_calendar_are_days_of_this_world_and_written_as_such(where: str, day: object) -> None:
    def with_day(written: object) -> str:
        return json.dumps({**LABOUR_DAY, "hours": {"time_zone": "Europe/Berlin", where: [_on(where, written)]}})

    revision = TypeAdapter(ReviseCalendar)
    revision.validate_json(with_day("2026-05-01"), strict=True, extra="forbid")
    refused = with_day(day)
    with pytest.raises(ValidationError):
        revision.validate_json(refused, strict=True, extra="forbid")


def _on(where: str, day: object) -> object:
    return day if where == "holidays" else {"on": day, "intervals": []}


def test_a_calendar_takes_no_more_than_a_door_says_and_one_that_was_stored_with_more_still_loads() -> None:
    often = [
        {"opens": f"{hour:02}:{minute:02}", "closes": f"{hour:02}:{minute:02}:30"}
        for hour in range(24)
        for minute in range(60)
    ]
    hours = {"time_zone": "Europe/Berlin", "weekly": {"monday": often}, "holidays": ["2026-01-01"] * 1_001}
    with pytest.raises(ValidationError) as refused:
        validate("revise-calendar", LABOUR_DAY | {"hours": hours})
    assert {error["loc"][:3] for error in refused.value.errors()} == {
        ("hours", "weekly", "monday"),
        ("hours", "holidays"),
    }
    stored = json.dumps({"hours": hours, "effective_from": "2026-01-01T00:00:00Z"})
    loaded = TypeAdapter(CalendarRevised).validate_json(stored)
    assert (len(loaded.hours.weekly.monday), len(loaded.hours.holidays)) == (1_440, 1_001)
