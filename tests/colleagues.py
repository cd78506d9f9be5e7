"""Known colleagues: Katherine, who answers complaints in the second level, her team and the hours in which it works."""

from datetime import UTC, date, datetime
from uuid import UUID

from domain.customer import Department
from domain.service_calendar import CalendarDefined, CalendarId, CalendarRevised
from domain.staff import StaffLeft, StaffRegistered, TeamJoined, TeamLeft
from domain.team import TeamDefined, TeamId
from domain.values import ExternalIdentifier, StaffId
from domain.working_hours import DatedIntervals, Interval, Week, WorkingHours

KATHERINE = StaffId(UUID("01900000-0000-7000-8000-0000000000b1"))
SECOND_LEVEL = TeamId(UUID("01900000-0000-7000-8000-0000000000b2"))
FIRST_LEVEL = TeamId(UUID("01900000-0000-7000-8000-0000000000b3"))
SUPPORT_HOURS = CalendarId(UUID("01900000-0000-7000-8000-0000000000b4"))

IN_THE_HELP_DESK = ExternalIdentifier(source="helpdesk", id="Group 70")

NINE_TO_FIVE = Interval(opens="09:00", closes="17:00")
WEEKDAYS = Week(
    monday=(NINE_TO_FIVE,),
    tuesday=(NINE_TO_FIVE,),
    wednesday=(NINE_TO_FIVE,),
    thursday=(NINE_TO_FIVE,),
    friday=(NINE_TO_FIVE,),
)
BERLIN_OFFICE = WorkingHours(time_zone="Europe/Berlin", weekly=WEEKDAYS)
BERLIN_OFFICE_IN_2026 = WorkingHours(
    time_zone="Europe/Berlin",
    weekly=WEEKDAYS,
    shifts=(DatedIntervals(on=date(2026, 12, 24), intervals=(Interval(opens="09:00", closes="12:00"),)),),
    weekly_breaks=Week(friday=(Interval(opens="12:00", closes="12:30"),)),
    breaks=(DatedIntervals(on=date(2026, 6, 17), intervals=(Interval(opens="14:00:30", closes="24:00"),)),),
    holidays=(date(2026, 5, 1), date(2026, 12, 25)),
)
"""Every kind of exception: a short Christmas Eve, an early Friday lunch, an outing in June, two holidays."""

LABOUR_DAY_BEGINS = datetime(2026, 4, 30, 22, tzinfo=UTC)
LABOUR_DAY_ENDS = datetime(2026, 5, 1, 22, tzinfo=UTC)

SUPPORT_HOURS_DEFINED = CalendarDefined(
    calendar_number="SUPPORT", name="Support, Berlin", hours=BERLIN_OFFICE, external_identifiers=(IN_THE_HELP_DESK,)
)
SUPPORT_HOURS_REVISED = CalendarRevised(hours=BERLIN_OFFICE_IN_2026, effective_from=datetime(2026, 1, 1, tzinfo=UTC))
LABOUR_DAY_ENTERED_LATE = CalendarRevised(
    hours=WorkingHours(time_zone="Europe/Berlin"), effective_from=LABOUR_DAY_BEGINS, effective_to=LABOUR_DAY_ENDS
)

SECOND_LEVEL_DEFINED = TeamDefined(
    team_number="T-2",
    name="Second level",
    department=Department.SERVICE,
    external_identifiers=(IN_THE_HELP_DESK,),
)

KATHERINE_REGISTERED = StaffRegistered(
    staff_number="S-1",
    name="Katherine Johnson",
    department=Department.SERVICE,
    external_identifiers=(ExternalIdentifier(source="helpdesk", id="agent-17"),),
)
KATHERINE_JOINED = TeamJoined(team_id=SECOND_LEVEL, valid_from=date(2026, 1, 1))
KATHERINE_LEFT_THE_TEAM = TeamLeft(team_id=SECOND_LEVEL, valid_until=date(2026, 4, 1))
KATHERINE_LEFT = StaffLeft(valid_until=date(2026, 7, 1))
