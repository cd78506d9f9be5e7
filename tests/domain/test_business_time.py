"""Business time: the worked cases of the metrics reference, its laws, and a slow second opinion minute by minute."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from domain import clock as clock_module
from domain.business_time import (
    Assignment,
    CalendarVersion,
    Schedule,
    always,
    calendar,
    integrate,
    last_schedule,
    pinned_at_start,
)
from domain.clock import BEGINNING, BLOCK, END, Clock, Piece, microseconds
from domain.weighed_cache import WeighedCache
from domain.working_hours import DatedIntervals, Interval, Week, WorkingHours

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
BERLIN = ZoneInfo("Europe/Berlin")


def span(opens: str, closes: str) -> Interval:
    return Interval(opens=opens, closes=closes)


def every_day(*intervals: Interval) -> Week:
    return Week(
        monday=intervals,
        tuesday=intervals,
        wednesday=intervals,
        thursday=intervals,
        friday=intervals,
        saturday=intervals,
        sunday=intervals,
    )


def weekdays(*intervals: Interval) -> Week:
    return Week(monday=intervals, tuesday=intervals, wednesday=intervals, thursday=intervals, friday=intervals)


LABOUR_DAY = date(2026, 5, 1)
OFFICE = WorkingHours(time_zone="Europe/Berlin", weekly=weekdays(span("09:00", "17:00")))
OFFICE_WITH_HOLIDAY = WorkingHours(
    time_zone="Europe/Berlin", weekly=weekdays(span("09:00", "17:00")), holidays=(LABOUR_DAY,)
)
ROUND_THE_CLOCK = WorkingHours(time_zone="Europe/Berlin", weekly=every_day(span("00:00", "24:00")))
NEVER = WorkingHours(time_zone="Europe/Berlin")


def berlin(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=BERLIN)


def monday(hour: int, minute: int = 0) -> datetime:
    return berlin(2026, 6, 8, hour, minute)


def tuesday(hour: int, minute: int = 0) -> datetime:
    return berlin(2026, 6, 9, hour, minute)


def wednesday(hour: int, minute: int = 0) -> datetime:
    return berlin(2026, 6, 10, hour, minute)


class TestVectors:
    """The conformance vectors V1 to V7 and V17, as far as they are about business time."""

    def test_v1_a_holiday_and_a_weekend_do_not_count(self) -> None:
        opened, replied = berlin(2026, 4, 30, 16, 30), berlin(2026, 5, 4, 9, 20)
        assert (replied - opened).total_seconds() == 319_800
        assert always(OFFICE_WITH_HOLIDAY).working_time(opened, replied) == 3_000 * SECOND

    def test_v2_the_hour_that_summer_time_skips_has_no_length(self) -> None:
        start, end = berlin(2026, 3, 29, 1, 30), berlin(2026, 3, 29, 3, 30)
        assert always(ROUND_THE_CLOCK).working_time(start, end) == 3_600 * SECOND

    def test_v3_the_hour_that_winter_time_doubles_has_twice_its_length(self) -> None:
        start, end = berlin(2026, 10, 25, 1, 30), berlin(2026, 10, 25, 3, 30)
        assert always(ROUND_THE_CLOCK).working_time(start, end) == 10_800 * SECOND

    def test_v4_waiting_for_the_customer(self) -> None:
        office = always(OFFICE)
        assert office.working_time(monday(9), tuesday(16)) == 15 * HOUR
        assert office.working_time(monday(10), tuesday(15)) == 13 * HOUR
        assert office.working_time(monday(9), monday(10)) + office.working_time(tuesday(15), tuesday(16)) == 2 * HOUR

    def test_v5_on_hold_until_the_end(self) -> None:
        office = always(OFFICE)
        assert office.working_time(monday(9), wednesday(11)) == 18 * HOUR
        assert office.working_time(monday(11), wednesday(11)) == 16 * HOUR
        assert office.working_time(monday(9), monday(11)) == 2 * HOUR

    def test_v6_resolved_and_reopened(self) -> None:
        office = always(OFFICE)
        assert office.working_time(monday(9), monday(11)) == 2 * HOUR
        assert office.working_time(monday(9), monday(12)) == 3 * HOUR
        assert office.working_time(monday(9), wednesday(11)) == 18 * HOUR
        assert office.working_time(monday(12), wednesday(10)) == 14 * HOUR
        assert office.working_time(wednesday(10), wednesday(10, 30)) == 30 * MINUTE

    def test_v7_a_calendar_exchanged_while_the_case_runs(self) -> None:
        opened, replied = monday(16), tuesday(1)
        history = (
            Assignment(since=opened, calendar=always(OFFICE)),
            Assignment(since=monday(18), calendar=always(ROUND_THE_CLOCK)),
        )
        assert integrate(history).working_time(opened, replied) == 8 * HOUR
        assert last_schedule(history, replied).working_time(opened, replied) == 9 * HOUR
        assert pinned_at_start(history, opened).working_time(opened, replied) == 1 * HOUR

    def test_v17_a_complaint_through_two_weekends(self) -> None:
        office = always(OFFICE_WITH_HOLIDAY)
        opened, replied = berlin(2026, 4, 29, 15), berlin(2026, 4, 30, 10)
        customer, held, resumed = berlin(2026, 5, 2, 12), berlin(2026, 5, 4, 11), berlin(2026, 5, 5, 9, 30)
        resolved, reopened, last = berlin(2026, 5, 5, 10), berlin(2026, 5, 7, 16, 30), berlin(2026, 5, 8, 9, 30)
        assert office.working_time(opened, replied) == 3 * HOUR
        assert office.working_time(replied, customer) == 7 * HOUR
        assert office.working_time(held, resumed) == 6.5 * HOUR
        assert office.working_time(resolved, reopened) == 22.5 * HOUR
        open_time = sum(
            office.working_time(start, end)
            for start, end in ((opened, replied), (customer, held), (resumed, resolved), (reopened, last))
        )
        assert open_time == 6.5 * HOUR
        assert office.working_time(opened, resolved) == 19 * HOUR
        assert office.working_time(opened, last) == 42.5 * HOUR
        assert office.working_time(customer, resolved) == 9 * HOUR
        assert office.working_time(reopened, berlin(2026, 5, 8, 9, 15)) == 45 * MINUTE


class TestHours:
    """What counts as working time on one date."""

    def test_overlapping_intervals_count_once(self) -> None:
        hours = WorkingHours(time_zone="UTC", weekly=every_day(span("10:00", "14:00"), span("09:00", "12:00")))
        assert working_hours_on(hours, date(2026, 6, 8)) == 5 * HOUR

    def test_a_day_may_have_several_intervals(self) -> None:
        hours = WorkingHours(time_zone="UTC", weekly=every_day(span("13:00", "18:00"), span("07:00", "12:00")))
        assert working_hours_on(hours, date(2026, 6, 8)) == 10 * HOUR

    def test_a_shift_replaces_the_weekly_hours_of_its_date(self) -> None:
        shift = DatedIntervals(on=date(2026, 6, 8), intervals=(span("20:00", "24:00"),))
        hours = WorkingHours(time_zone="UTC", weekly=every_day(span("09:00", "17:00")), shifts=(shift,))
        assert working_hours_on(hours, date(2026, 6, 8)) == 4 * HOUR
        assert working_hours_on(hours, date(2026, 6, 9)) == 8 * HOUR

    def test_two_shifts_of_one_date_are_worked_both(self) -> None:
        early = DatedIntervals(on=date(2026, 6, 8), intervals=(span("06:00", "07:00"),))
        late = DatedIntervals(on=date(2026, 6, 8), intervals=(span("22:00", "24:00"),))
        assert working_hours_on(WorkingHours(time_zone="UTC", shifts=(early, late)), date(2026, 6, 8)) == 3 * HOUR

    def test_a_shift_without_intervals_closes_its_date(self) -> None:
        closed = DatedIntervals(on=date(2026, 6, 8))
        hours = WorkingHours(time_zone="UTC", weekly=every_day(span("09:00", "17:00")), shifts=(closed,))
        assert working_hours_on(hours, date(2026, 6, 8)) == 0

    def test_a_shift_opens_a_date_without_weekly_hours(self) -> None:
        sunday = DatedIntervals(on=date(2026, 6, 7), intervals=(span("10:00", "11:30"),))
        assert working_hours_on(WorkingHours(time_zone="UTC", shifts=(sunday,)), date(2026, 6, 7)) == 90 * MINUTE

    def test_a_holiday_takes_away_weekly_hours_and_shifts(self) -> None:
        day = date(2026, 6, 8)
        shift = DatedIntervals(on=day, intervals=(span("10:00", "12:00"),))
        hours = WorkingHours(
            time_zone="UTC", weekly=every_day(span("09:00", "17:00")), shifts=(shift,), holidays=(day,)
        )
        assert working_hours_on(hours, day) == 0

    def test_breaks_take_away_what_they_cover(self) -> None:
        breaks = DatedIntervals(on=date(2026, 6, 8), intervals=(span("08:00", "09:30"), span("12:00", "13:00")))
        again = DatedIntervals(on=date(2026, 6, 8), intervals=(span("12:30", "13:15"), span("18:00", "19:00")))
        hours = WorkingHours(time_zone="UTC", weekly=every_day(span("09:00", "17:00")), breaks=(breaks, again))
        assert working_hours_on(hours, date(2026, 6, 8)) == 8 * HOUR - 30 * MINUTE - 75 * MINUTE
        assert working_hours_on(hours, date(2026, 6, 9)) == 8 * HOUR

    def test_weekly_breaks_are_taken_from_shifts_too(self) -> None:
        shift = DatedIntervals(on=date(2026, 6, 8), intervals=(span("12:00", "14:00"),))
        hours = WorkingHours(time_zone="UTC", shifts=(shift,), weekly_breaks=every_day(span("12:00", "12:45")))
        assert working_hours_on(hours, date(2026, 6, 8)) == 75 * MINUTE

    def test_seconds_may_be_given(self) -> None:
        hours = WorkingHours(time_zone="UTC", weekly=every_day(span("09:00:30", "09:01")))
        assert working_hours_on(hours, date(2026, 6, 8)) == 30 * SECOND

    @pytest.mark.parametrize(
        ("opens", "closes", "day", "expected"),
        [
            ("02:00", "03:00", date(2026, 3, 29), 0),
            ("02:00", "03:00", date(2026, 10, 25), 2 * HOUR),
            ("00:00", "24:00", date(2026, 3, 29), 23 * HOUR),
            ("00:00", "24:00", date(2026, 10, 25), 25 * HOUR),
            ("01:00", "06:00", date(2026, 3, 29), 4 * HOUR),
            # Skipped local times are read with the offset before the change: 02:30 is the instant also called 03:30.
            ("02:30", "04:00", date(2026, 3, 29), 30 * MINUTE),
            ("02:30", "03:15", date(2026, 3, 29), 0),
            # Doubled local times are their first occurrence.
            ("01:00", "02:30", date(2026, 10, 25), 90 * MINUTE),
            ("02:30", "03:00", date(2026, 10, 25), 90 * MINUTE),
        ],
    )
    def test_clock_changes(self, opens: str, closes: str, day: date, expected: int) -> None:
        hours = WorkingHours(time_zone="Europe/Berlin", weekly=every_day(span(opens, closes)))
        assert working_hours_on(hours, day) == expected

    def test_a_break_has_its_true_length_on_the_night_of_a_clock_change(self) -> None:
        night = WorkingHours(
            time_zone="Europe/Berlin",
            weekly=every_day(span("00:00", "06:00")),
            weekly_breaks=every_day(span("02:00", "03:00")),
        )
        assert working_hours_on(night, date(2026, 3, 29)) == 5 * HOUR
        assert working_hours_on(night, date(2026, 10, 25)) == 5 * HOUR

    @pytest.mark.parametrize("opens", ["9:00", "09:60", "24:00", "", "09:00:60", "17:00", "noon"])
    def test_what_is_no_interval_is_refused(self, opens: str) -> None:
        with pytest.raises(ValueError, match=r"interval opens|local times"):
            span(opens, "17:00")

    @pytest.mark.parametrize("zone", ["", "../etc/passwd", "/Europe", "Europe/", "Berlin Mitte", "A" * 65])
    def test_what_is_no_zone_in_shape_is_refused(self, zone: str) -> None:
        with pytest.raises(ValueError, match="IANA"):
            WorkingHours(time_zone=zone)

    def test_a_zone_that_does_not_exist_has_no_schedule(self) -> None:
        with pytest.raises(ZoneInfoNotFoundError):
            always(WorkingHours(time_zone="Europe/Atlantis"))


def working_hours_on(hours: WorkingHours, day: date) -> int:
    """Working time around a date, when no other date near it could add to it."""
    zone = ZoneInfo(hours.time_zone)
    start = datetime.combine(day, time(), zone)
    end = datetime.combine(day + timedelta(days=1), time(), zone)
    return always(hours).working_time(start, end)


class TestDeadlines:
    office = always(OFFICE)

    def test_a_deadline_may_be_exactly_the_closing_time(self) -> None:
        assert self.office.deadline(monday(9), 8 * HOUR) == monday(17)

    def test_a_target_of_zero_is_reached_at_the_next_working_instant(self) -> None:
        assert self.office.deadline(monday(12), 0) == monday(12)
        assert self.office.deadline(monday(17), 0) == tuesday(9)
        assert self.office.deadline(monday(7), 0) == monday(9)

    def test_looking_back_ends_at_the_latest_instant(self) -> None:
        assert self.office.deadline(tuesday(10), -2 * HOUR) == monday(16)
        assert self.office.deadline(tuesday(10), -1 * HOUR) == tuesday(9)

    def test_the_last_working_instant_may_be_a_closing_time(self) -> None:
        assert self.office.last_working_instant(monday(12)) == monday(12)
        assert self.office.last_working_instant(monday(20)) == monday(17)
        assert self.office.last_working_instant(tuesday(9)) == monday(17)

    def test_without_working_time_there_is_no_deadline(self) -> None:
        for target in (0, 1, -1):
            assert always(NEVER).deadline(monday(9), target) is None
        assert always(NEVER).last_working_instant(monday(9)) is None
        assert always(NEVER).next_opening(monday(9)) is None
        assert always(NEVER).next_closing(monday(9)) is None

    def test_a_deadline_may_lie_years_ahead_and_back(self) -> None:
        assert self.office.deadline(monday(9), 520 * 40 * HOUR) == monday(17) + timedelta(weeks=519, days=4)
        due = self.office.deadline(monday(9), -10_000 * HOUR)
        assert due is not None
        assert self.office.working_time(due, monday(9)) == 10_000 * HOUR

    def test_366_days_without_work_end_the_search(self) -> None:
        def opening_on(day: date) -> Schedule:
            shift = DatedIntervals(on=day, intervals=(span("00:00", "24:00"),))
            return always(WorkingHours(time_zone="UTC", shifts=(shift,)))

        start = datetime(2026, 6, 8, tzinfo=UTC)
        last_day, too_late = date(2027, 6, 8), date(2027, 6, 9)
        assert opening_on(last_day).deadline(start, DAY) == datetime(2027, 6, 9, tzinfo=UTC)
        assert opening_on(last_day).next_opening(start) == datetime(2027, 6, 8, tzinfo=UTC)
        assert opening_on(too_late).deadline(start, DAY) is None
        assert opening_on(too_late).deadline(start, 0) is None
        assert opening_on(too_late).next_opening(start) is None
        back = datetime(2027, 6, 10, tzinfo=UTC)
        assert opening_on(date(2026, 6, 9)).last_working_instant(back) == datetime(2026, 6, 10, tzinfo=UTC)
        assert opening_on(date(2026, 6, 8)).last_working_instant(back) is None
        assert opening_on(date(2026, 6, 8)).deadline(back, -1) is None

    def test_366_days_without_work_end_the_search_after_some_work_too(self) -> None:
        shifts = (
            DatedIntervals(on=date(2026, 6, 9), intervals=(span("00:00", "24:00"),)),
            DatedIntervals(on=date(2027, 6, 12), intervals=(span("00:00", "24:00"),)),
        )
        schedule = always(WorkingHours(time_zone="UTC", shifts=shifts))
        assert schedule.deadline(datetime(2026, 6, 8, tzinfo=UTC), DAY) == datetime(2026, 6, 10, tzinfo=UTC)
        assert schedule.deadline(datetime(2026, 6, 8, tzinfo=UTC), DAY + 1) is None
        assert schedule.deadline(datetime(2027, 6, 13, tzinfo=UTC), -DAY) == datetime(2027, 6, 12, tzinfo=UTC)
        assert schedule.deadline(datetime(2027, 6, 13, tzinfo=UTC), -DAY - 1) is None

    def test_time_ends_with_the_year_9999_and_began_with_the_year_1(self) -> None:
        night = datetime(9999, 12, 30, 12, tzinfo=UTC)
        assert always(ROUND_THE_CLOCK).deadline(night, 2 * DAY) is None
        assert always(ROUND_THE_CLOCK).next_closing(night) is None
        assert always(NEVER).last_working_instant(datetime(1, 1, 3, tzinfo=UTC)) is None
        first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
        whole = WorkingHours(time_zone="UTC", weekly=every_day(span("00:00", "24:00")))
        assert always(whole).working_time(first, first + timedelta(days=3)) == 3 * DAY
        assert always(whole).working_time(last - timedelta(days=3), last) == 3 * DAY


class TestOpeningAndClosing:
    office = always(OFFICE)

    def test_the_next_opening_lies_after_the_instant(self) -> None:
        assert self.office.next_opening(monday(8)) == monday(9)
        assert self.office.next_opening(monday(9)) == tuesday(9)
        assert self.office.next_opening(monday(12)) == tuesday(9)

    def test_the_next_closing_lies_after_the_instant(self) -> None:
        assert self.office.next_closing(monday(8)) == monday(17)
        assert self.office.next_closing(monday(12)) == monday(17)
        assert self.office.next_closing(monday(17)) == tuesday(17)

    def test_midnight_is_no_closing_when_work_goes_on(self) -> None:
        night = WorkingHours(time_zone="UTC", weekly=every_day(span("00:00", "06:00"), span("22:00", "24:00")))
        evening = datetime(2026, 6, 8, 22, 30, tzinfo=UTC)
        assert always(night).next_closing(evening) == datetime(2026, 6, 9, 6, tzinfo=UTC)
        assert always(night).next_opening(evening) == datetime(2026, 6, 9, 22, tzinfo=UTC)

    def test_who_never_closes_neither_opens_nor_closes(self) -> None:
        assert always(ROUND_THE_CLOCK).next_opening(monday(9)) is None
        assert always(ROUND_THE_CLOCK).next_closing(monday(9)) is None
        assert always(ROUND_THE_CLOCK).is_working(monday(3))

    def test_a_new_version_of_the_same_hours_is_no_closing(self) -> None:
        versions = [
            CalendarVersion(hours=ROUND_THE_CLOCK),
            CalendarVersion(hours=ROUND_THE_CLOCK, effective_from=monday(12)),
        ]
        assert calendar(versions).next_closing(monday(9)) is None
        assert calendar(versions).next_opening(monday(9)) is None

    def test_a_new_version_may_open_and_close(self) -> None:
        versions = [
            CalendarVersion(hours=OFFICE),
            CalendarVersion(hours=ROUND_THE_CLOCK, effective_from=monday(20), effective_to=tuesday(6)),
        ]
        assert calendar(versions).next_opening(monday(12)) == monday(20)
        assert calendar(versions).next_closing(monday(18)) == tuesday(6)

    def test_at_the_opening_somebody_works_and_at_the_closing_nobody(self) -> None:
        assert self.office.is_working(monday(9))
        assert not self.office.is_working(monday(17))


class TestBusinessDays:
    office = always(OFFICE_WITH_HOLIDAY)

    def test_the_first_date_is_not_counted_and_the_last_is(self) -> None:
        assert self.office.business_days_between(date(2026, 6, 8), date(2026, 6, 12)) == 4
        assert self.office.business_days_between(date(2026, 6, 5), date(2026, 6, 8)) == 1
        assert self.office.business_days_between(date(2026, 6, 8), date(2026, 6, 8)) == 0

    def test_reversed_it_is_negative(self) -> None:
        assert self.office.business_days_between(date(2026, 6, 12), date(2026, 6, 8)) == -4

    def test_years_are_counted(self) -> None:
        assert always(OFFICE).business_days_between(date(2025, 12, 31), date(2027, 12, 31)) == 522

    def test_a_holiday_is_no_business_day(self) -> None:
        assert not self.office.is_business_day(LABOUR_DAY)
        assert self.office.is_business_day(date(2026, 5, 4))
        assert not self.office.is_business_day(date(2026, 5, 3))
        assert self.office.business_days_between(date(2026, 4, 30), date(2026, 5, 4)) == 1

    def test_days_are_added_from_the_next_business_day(self) -> None:
        assert self.office.add_business_days(date(2026, 4, 30), 1) == date(2026, 5, 4)
        assert self.office.add_business_days(LABOUR_DAY, 1) == date(2026, 5, 5)
        assert self.office.add_business_days(LABOUR_DAY, -1) == date(2026, 4, 29)
        assert self.office.add_business_days(LABOUR_DAY, 0) == LABOUR_DAY

    def test_without_business_days_none_can_be_added(self) -> None:
        assert always(NEVER).add_business_days(LABOUR_DAY, 1) is None
        one_day = DatedIntervals(on=LABOUR_DAY, intervals=(span("09:00", "10:00"),))
        assert always(WorkingHours(time_zone="UTC", shifts=(one_day,))).add_business_days(LABOUR_DAY, 1) is None
        assert always(ROUND_THE_CLOCK).add_business_days(date(9999, 12, 28), 30) is None

    def test_moving_by_business_days_keeps_the_local_time_over_a_clock_change(self) -> None:
        assert self.office.move_by_business_days(berlin(2026, 3, 27, 10), 1) == berlin(2026, 3, 30, 10)
        assert self.office.move_by_business_days(berlin(2026, 3, 30, 10), -1) == berlin(2026, 3, 27, 10)

    def test_moving_out_of_the_hours_leads_to_the_next_or_last_working_instant(self) -> None:
        assert self.office.move_by_business_days(monday(20), 1) == wednesday(9)
        assert self.office.move_by_business_days(wednesday(7), -1) == monday(17)
        assert self.office.move_by_business_days(monday(7), 0) == monday(9)

    def test_without_a_calendar_or_business_days_nothing_is_moved(self) -> None:
        assert calendar(()).move_by_business_days(monday(9), 1) is None
        assert always(NEVER).move_by_business_days(monday(9), 1) is None

    def test_hours_that_a_clock_change_swallows_make_no_business_day(self) -> None:
        hours = WorkingHours(time_zone="Europe/Berlin", weekly=every_day(span("02:00", "03:00")))
        assert not always(hours).is_business_day(date(2026, 3, 29))
        assert always(hours).is_business_day(date(2026, 3, 28))

    def test_a_version_that_begins_after_closing_time_makes_no_business_day(self) -> None:
        versions = [CalendarVersion(hours=NEVER), CalendarVersion(hours=OFFICE, effective_from=monday(17))]
        assert not calendar(versions).is_business_day(date(2026, 6, 8))
        assert calendar(versions).is_business_day(date(2026, 6, 9))

    @pytest.mark.parametrize(("zone", "hour"), [("Pacific/Kiritimati", "00:00"), ("Pacific/Midway", "23:00")])
    def test_a_local_date_reaches_far_into_its_neighbours_in_utc(self, zone: str, hour: str) -> None:
        day = datetime(2026, 6, 8, int(hour[:2]), tzinfo=ZoneInfo(zone))
        hours = WorkingHours(time_zone=zone, weekly=Week(monday=(span(hour, hour[:2] + ":59"),)))
        brief = CalendarVersion(hours=hours, effective_from=day, effective_to=day + timedelta(minutes=30))
        assert calendar([brief]).is_business_day(day.date())
        assert calendar([brief]).business_days_between(date(2026, 6, 1), date(2026, 6, 30)) == 1


class TestVersions:
    """Which version is in force."""

    base = CalendarVersion(hours=OFFICE)
    from_tuesday = CalendarVersion(hours=ROUND_THE_CLOCK, effective_from=tuesday(0))

    def test_a_version_holds_until_the_next_one(self) -> None:
        assert calendar([self.base, self.from_tuesday]).working_time(monday(0), wednesday(0)) == 8 * HOUR + DAY

    def test_the_order_in_which_they_were_recorded_does_not_matter_for_different_days(self) -> None:
        assert calendar([self.from_tuesday, self.base]).working_time(monday(0), wednesday(0)) == 8 * HOUR + DAY

    def test_of_two_versions_from_the_same_instant_the_later_recorded_holds(self) -> None:
        closed = CalendarVersion(hours=NEVER, effective_from=tuesday(0))
        assert calendar([self.base, self.from_tuesday, closed]).working_time(monday(0), wednesday(0)) == 8 * HOUR
        assert calendar([self.base, closed, self.from_tuesday]).working_time(tuesday(0), wednesday(0)) == DAY

    def test_a_correction_ends_where_it_says_and_what_was_before_holds_again(self) -> None:
        correction = CalendarVersion(hours=NEVER, effective_from=monday(0), effective_to=tuesday(0))
        assert calendar([self.base, correction]).working_time(monday(0), wednesday(0)) == 8 * HOUR

    def test_a_correction_does_not_swallow_a_later_revision(self) -> None:
        correction = CalendarVersion(hours=NEVER, effective_from=monday(0), effective_to=wednesday(0))
        corrected = calendar([self.base, self.from_tuesday, correction])
        assert corrected.working_time(monday(0), wednesday(0)) == DAY

    def test_a_holiday_entered_late_leaves_both_answers_possible(self) -> None:
        late = CalendarVersion(
            hours=OFFICE_WITH_HOLIDAY, effective_from=berlin(2026, 5, 1), effective_to=berlin(2026, 5, 2)
        )
        opened, replied = berlin(2026, 4, 30, 16, 30), berlin(2026, 5, 4, 9, 20)
        assert calendar([self.base]).working_time(opened, replied) == 3_000 * SECOND + 8 * HOUR
        assert calendar([self.base, late]).working_time(opened, replied) == 3_000 * SECOND

    def test_before_the_first_version_nothing_is_covered(self) -> None:
        schedule = calendar([self.from_tuesday])
        assert schedule.working_time(monday(0), wednesday(0)) == DAY
        assert not schedule.covers(monday(23), tuesday(1))
        assert schedule.covers(tuesday(0), wednesday(0))
        assert schedule.deadline(monday(0), 0) == tuesday(0)
        assert schedule.deadline(tuesday(1), -2 * HOUR) is None
        assert schedule.last_working_instant(monday(0)) is None

    def test_without_versions_there_is_no_working_time(self) -> None:
        assert calendar(()).working_time(monday(0), wednesday(0)) == 0
        assert not calendar(()).covers(monday(0), wednesday(0))


class TestAssignments:
    """The calendar of a case through its life."""

    def test_an_assigned_calendar_keeps_its_own_versions(self) -> None:
        versions = [CalendarVersion(hours=OFFICE), CalendarVersion(hours=ROUND_THE_CLOCK, effective_from=tuesday(0))]
        history = [Assignment(since=monday(12), calendar=calendar(versions))]
        assert integrate(history).working_time(monday(12), wednesday(0)) == 5 * HOUR + DAY
        assert pinned_at_start(history, monday(12)).working_time(monday(12), wednesday(0)) == 5 * HOUR + DAY

    def test_before_the_first_assignment_the_case_has_no_calendar(self) -> None:
        history = [Assignment(since=monday(12), calendar=always(OFFICE))]
        assert not integrate(history).covers(monday(9), tuesday(9))
        assert integrate(history).working_time(monday(9), tuesday(9)) == 5 * HOUR
        assert not pinned_at_start(history, monday(9)).covers(monday(9), tuesday(9))

    def test_the_last_schedule_is_the_one_just_before_the_end(self) -> None:
        history = [
            Assignment(since=monday(9), calendar=always(OFFICE)),
            Assignment(since=tuesday(9), calendar=always(ROUND_THE_CLOCK)),
        ]
        assert last_schedule(history, tuesday(9)).working_time(monday(9), tuesday(9)) == 8 * HOUR
        assert last_schedule(history, tuesday(10)).working_time(monday(9), tuesday(10)) == 25 * HOUR

    def test_a_case_without_a_calendar(self) -> None:
        for schedule in (integrate([]), pinned_at_start([], monday(9)), last_schedule([], monday(9))):
            assert not schedule.covers(monday(9), monday(10))
            assert schedule.working_time(monday(9), monday(10)) == 0
            assert not schedule.is_working(monday(9))


ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",  # changed its clocks at midnight
    "America/St_Johns",  # changed its clocks at a minute past midnight
    "Australia/Lord_Howe",  # changes its clocks by half an hour
    "Pacific/Apia",  # left out 30 December 2011
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "America/Nuuk",  # changes its clocks on Saturday evening
)
CHANGES = (
    datetime(2026, 3, 29, tzinfo=UTC),
    datetime(2026, 10, 25, tzinfo=UTC),
    datetime(2026, 3, 8, tzinfo=UTC),
    datetime(2018, 11, 4, tzinfo=UTC),
    datetime(2018, 2, 18, tzinfo=UTC),
    datetime(2010, 11, 7, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2011, 12, 30, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2024, 2, 29, tzinfo=UTC),
)
DATES = tuple(change.date() for change in CHANGES)


def local_times(minute_of_day: int) -> str:
    return f"{minute_of_day // 60:02}:{minute_of_day % 60:02}"


quarters = st.integers(0, 96).map(lambda quarter: quarter * 15)
intervals = (
    st.lists(quarters, min_size=2, max_size=2, unique=True)
    .map(sorted)
    .map(lambda ends: span(local_times(ends[0]), local_times(ends[1])))
)
days = st.lists(intervals, max_size=2).map(tuple)
weeks = st.builds(
    lambda one, other, weekend: Week(
        monday=one, tuesday=other, wednesday=one, thursday=other, friday=one, saturday=weekend, sunday=weekend
    ),
    days,
    days,
    days,
)
dated = st.lists(st.builds(DatedIntervals, on=st.sampled_from(DATES), intervals=days), max_size=2).map(tuple)
working_hours = st.builds(
    WorkingHours,
    time_zone=st.sampled_from(ZONES),
    weekly=weeks,
    shifts=dated,
    weekly_breaks=st.one_of(st.just(Week()), weeks),
    breaks=dated,
    holidays=st.lists(st.sampled_from(DATES), max_size=2).map(tuple),
)
on_the_quarter = st.builds(
    lambda change, quarter: change + timedelta(minutes=15 * quarter), st.sampled_from(CHANGES), st.integers(-200, 200)
)
instants = st.one_of(
    on_the_quarter,
    st.datetimes(datetime(2009, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - Hypothesis adds the zone
)
targets = st.one_of(st.integers(0, 3 * DAY), st.integers(0, 200).map(lambda quarter: quarter * 15 * MINUTE))


def sequences(effective: st.SearchStrategy[datetime]) -> st.SearchStrategy[list[CalendarVersion]]:
    boundary = st.one_of(st.none(), effective)
    return st.lists(
        st.builds(CalendarVersion, hours=working_hours, effective_from=boundary, effective_to=boundary), max_size=3
    )


def instant_of(day: date, local: str, zone: ZoneInfo) -> datetime:
    """The second opinion reads local times with the standard library and nothing else."""
    hour, minute = (int(part) for part in local.split(":"))
    midnight = datetime.combine(day + timedelta(days=hour // 24), time(hour % 24, minute), zone)
    return midnight.astimezone(UTC)


def works_at(hours: WorkingHours, instant: datetime) -> bool:
    """Whether somebody works, asked of the written hours for one instant alone."""
    zone = ZoneInfo(hours.time_zone)
    around = (instant.date() + timedelta(days=shift) for shift in (-1, 0, 1))
    return any(works_on(hours, day, zone, instant) for day in around if day not in hours.holidays and was(day, zone))


def was(day: date, zone: ZoneInfo) -> bool:
    """Whether a zone has not left out a date."""
    return datetime.combine(day, time(12), zone).astimezone(UTC).astimezone(zone).date() == day


def works_on(hours: WorkingHours, day: date, zone: ZoneInfo, instant: datetime) -> bool:
    shifts = [shift for shift in hours.shifts if shift.on == day]
    weekly = hours.weekly.days()[day.weekday()]
    work = [one for shift in shifts for one in shift.intervals] if shifts else list(weekly)
    breaks = [one for pause in hours.breaks if pause.on == day for one in pause.intervals]
    breaks.extend(hours.weekly_breaks.days()[day.weekday()])
    return within(work, day, zone, instant) and not within(breaks, day, zone, instant)


def within(some: Sequence[Interval], day: date, zone: ZoneInfo, instant: datetime) -> bool:
    return any(instant_of(day, one.opens, zone) <= instant < instant_of(day, one.closes, zone) for one in some)


def in_force_at(versions: Sequence[CalendarVersion], instant: datetime) -> WorkingHours:
    """The rule as it is written: of those that have come and not ended, the last to begin, of equal ones the last."""
    always_there = datetime.min.replace(tzinfo=UTC)
    in_force = NEVER
    latest = always_there
    for version in versions:
        begins = version.effective_from or always_there
        if latest <= begins <= instant and (version.effective_to is None or instant < version.effective_to):
            in_force, latest = version.hours, begins
    return in_force


def first(instants: Sequence[datetime], flags: Sequence[bool]) -> datetime | None:
    return next((instant for instant, flag in zip(instants, flags, strict=True) if flag), None)


def is_first(found: datetime | None, expected: datetime | None, *, end: datetime) -> bool:
    """Whether the same was found; what the second opinion did not look far enough to see lies after the end."""
    return found == expected if expected else found is None or found > end


@settings(max_examples=150)
@given(versions=sequences(on_the_quarter), start=on_the_quarter, quarters=st.integers(1, 200))
def test_it_agrees_with_asking_every_quarter_of_an_hour(
    versions: list[CalendarVersion], start: datetime, quarters: int
) -> None:
    schedule = calendar(versions)
    clock = [start + timedelta(minutes=15 * quarter) for quarter in range(quarters + 1)]
    end = clock[-1]
    works = [works_at(in_force_at(versions, instant), instant) for instant in clock]
    opens = [now and not before for before, now in pairwise(works)]
    closes = [before and not now for before, now in pairwise(works)]

    assert [schedule.is_working(instant) for instant in clock] == works
    assert schedule.working_time(start, end) == sum(works[:-1]) * 15 * MINUTE
    assert is_first(schedule.deadline(start, 0), first(clock, works), end=end)
    assert is_first(schedule.next_opening(start), first(clock[1:], opens), end=end)
    assert is_first(schedule.next_closing(start), first(clock[1:], closes), end=end)
    last = first(clock[:0:-1], works[-2::-1])
    found = schedule.last_working_instant(end)
    assert found == last if last else found is None or found <= start


class TestLaws:
    """What holds for every calendar and all instants, to the microsecond."""

    @given(versions=sequences(instants), ends=st.lists(instants, min_size=2, max_size=6))
    def test_working_time_is_additive_over_any_split(
        self, versions: list[CalendarVersion], ends: list[datetime]
    ) -> None:
        schedule = calendar(versions)
        parts = sum(schedule.working_time(start, end) for start, end in pairwise(ends))
        assert parts == schedule.working_time(ends[0], ends[-1])

    @given(versions=sequences(instants), start=instants, end=instants)
    def test_a_reversed_interval_is_negative(
        self, versions: list[CalendarVersion], start: datetime, end: datetime
    ) -> None:
        schedule = calendar(versions)
        assert schedule.working_time(start, end) == -schedule.working_time(end, start)

    @given(versions=sequences(instants), start=instants, end=instants)
    def test_working_time_is_never_longer_than_time(
        self, versions: list[CalendarVersion], start: datetime, end: datetime
    ) -> None:
        start, end = sorted((start, end))
        assert 0 <= calendar(versions).working_time(start, end) <= (end - start) / timedelta(microseconds=1)

    @given(history=st.lists(st.tuples(instants, sequences(instants)), max_size=3), ends=st.lists(instants, min_size=3))
    def test_a_case_is_additive_over_all_its_calendars(
        self, history: list[tuple[datetime, list[CalendarVersion]]], ends: list[datetime]
    ) -> None:
        case = integrate([Assignment(since=since, calendar=calendar(versions)) for since, versions in history])
        parts = sum(case.working_time(start, end) for start, end in pairwise(ends))
        assert parts == case.working_time(ends[0], ends[-1])

    @given(history=st.lists(st.tuples(instants, sequences(instants)), max_size=3), instant=instants)
    def test_a_case_follows_the_calendar_assigned_last(
        self, history: list[tuple[datetime, list[CalendarVersion]]], instant: datetime
    ) -> None:
        case = integrate([Assignment(since=since, calendar=calendar(versions)) for since, versions in history])
        assigned = [(since, place) for place, (since, _) in enumerate(history) if since <= instant]
        expected = calendar(history[max(assigned)[1]][1]).is_working(instant) if assigned else False
        assert case.is_working(instant) == expected

    @given(versions=sequences(instants), start=instants, target=targets)
    @example(versions=[CalendarVersion(hours=OFFICE)], start=monday(9), target=8 * HOUR)
    @example(versions=[CalendarVersion(hours=OFFICE)], start=monday(17), target=0)
    def test_a_deadline_is_the_earliest_instant_that_reaches_its_target(
        self, versions: list[CalendarVersion], start: datetime, target: int
    ) -> None:
        schedule = calendar(versions)
        due = schedule.deadline(start, target)
        if due is None:
            assert schedule.working_time(start, start + timedelta(days=366)) < max(target, 1)
        elif target == 0:
            assert schedule.is_working(due)
            assert schedule.working_time(start, due) == 0
        else:
            assert schedule.working_time(start, due) == target
            assert schedule.working_time(start, due - timedelta(microseconds=1)) == target - 1

    @given(versions=sequences(instants), end=instants, target=targets)
    @example(versions=[CalendarVersion(hours=OFFICE)], end=tuesday(9), target=8 * HOUR)
    def test_looking_back_finds_the_latest_instant(
        self, versions: list[CalendarVersion], end: datetime, target: int
    ) -> None:
        schedule = calendar(versions)
        begin = schedule.deadline(end, -target) if target else schedule.last_working_instant(end)
        if begin is None:
            assert schedule.working_time(end - timedelta(days=366), end) < max(target, 1)
        elif target == 0:
            assert schedule.working_time(begin - timedelta(microseconds=1), begin) == 1
            assert schedule.working_time(begin, end) == 0
        else:
            assert schedule.working_time(begin, end) == target
            assert schedule.working_time(begin + timedelta(microseconds=1), end) == target - 1

    @given(versions=sequences(instants), start=st.sampled_from(DATES), count=st.integers(1, 30))
    def test_between_and_adding_business_days_are_inverse(
        self, versions: list[CalendarVersion], start: date, count: int
    ) -> None:
        schedule = calendar(versions)
        later = schedule.add_business_days(start, count)
        if later is not None:
            rolled = 0 if schedule.is_business_day(start) else 1
            assert schedule.is_business_day(later)
            assert schedule.business_days_between(start, later) == count + rolled

    @given(versions=sequences(instants), ends=st.lists(st.dates(date(2009, 1, 1), date(2028, 1, 1)), min_size=2))
    def test_business_days_are_those_with_working_time(self, versions: list[CalendarVersion], ends: list[date]) -> None:
        schedule = calendar(versions)
        first_day, last_day = min(ends), min(max(ends), min(ends) + timedelta(days=400))
        passed = (first_day + timedelta(days=day) for day in range(1, (last_day - first_day).days + 1))
        expected = sum(schedule.is_business_day(day) for day in passed)
        assert schedule.business_days_between(first_day, last_day) == expected


@pytest.mark.parametrize("zone", ZONES)
def test_who_never_closes_works_all_the_time_whatever_the_clocks_do(zone: str) -> None:
    schedule = always(WorkingHours(time_zone=zone, weekly=every_day(span("00:00", "24:00"))))
    start, end = datetime(1960, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
    assert schedule.working_time(start, end) == (end - start).days * DAY
    assert schedule.deadline(start, (end - start).days * DAY) == end


@given(hours=working_hours, change=st.sampled_from(CHANGES), blocks=st.integers(1, 4))
@settings(max_examples=150)
def test_what_is_added_up_of_whole_blocks_is_what_their_pieces_are(
    hours: WorkingHours, change: datetime, blocks: int
) -> None:
    block = microseconds(change) // BLOCK
    clock = Clock(hours)
    pieces = [piece for each in range(block - 1, block + blocks) for piece in clock.table(each).pieces(BEGINNING, END)]
    expected = sum(closes - opens for opens, closes in pieces)
    assert clock.between((block - 1) * BLOCK, (block + blocks) * BLOCK) == expected


# What it costs

A_CENTURY = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2026, 11, 30, 12, tzinfo=UTC))


def many_intervals(count: int) -> tuple[Interval, ...]:
    """So many intervals of half the time between them."""
    step = 86_400 // count

    def local(second: int) -> str:
        return f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"

    return tuple(Interval(opens=local(each * step), closes=local(each * step + step // 2)) for each in range(count))


@pytest.mark.parametrize("count", [24, 700])
def test_of_a_century_only_both_ends_are_built_and_little_is_kept(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """700 intervals a day are more than a command takes, and may be stored."""
    built: list[int] = []
    work_on = Clock.work_on

    def counted(clock: Clock, day: int) -> list[Piece]:
        built.append(day)
        return work_on(clock, day)

    monkeypatch.setattr(Clock, "work_on", counted)
    schedule = always(WorkingHours(time_zone="Europe/Berlin", weekly=every_day(*many_intervals(count))))
    before = clock_module._TABLES.weight  # noqa: SLF001 - what is kept is no matter of its users
    time_worked = schedule.working_time(*A_CENTURY)
    whole = (A_CENTURY[1] - A_CENTURY[0]) / timedelta(microseconds=1)
    assert time_worked == pytest.approx(whole * count * (86_400 // count // 2) / 86_400, rel=1e-4)
    # Two ends of four weeks, and in each year the dates around two clock changes; not all 46,000 dates.
    assert len(built) <= 2 * 30 + 127 * 2 * 3
    assert clock_module._TABLES.weight - before <= 2 * (29 * count + 10)  # noqa: SLF001 - what is kept is no matter of its users
    assert schedule.working_time(*A_CENTURY) == time_worked


def test_what_is_kept_is_bounded_by_what_it_holds() -> None:
    kept: WeighedCache[str, str] = WeighedCache(10, len)
    made: list[str] = []

    def ask(text: str) -> None:
        def make() -> str:
            made.append(text)
            return text

        assert kept.get(text, make) == text
        assert kept.weight <= 10

    for text in ("aaaa", "bbb", "cc", "aaaa", "dddd"):
        ask(text)
    assert (made, kept.weight) == (["aaaa", "bbb", "cc", "dddd"], 10)
    made.clear()
    for text in ("aaaa", "bbb", "cc", "x" * 11, "cc", "x" * 11):
        ask(text)
    assert made == ["bbb", "cc", "x" * 11, "x" * 11]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 7)), max_size=40))
def test_a_weighed_cache_never_holds_more_than_it_may(asked: list[tuple[int, int]]) -> None:
    kept: WeighedCache[tuple[int, int], int] = WeighedCache(12, int)
    for key in asked:
        assert kept.get(key, partial(int, key[1])) == key[1]
        assert 0 <= kept.weight <= 12


def test_of_thousands_of_revisions_the_one_that_began_last_holds() -> None:
    """More than can be compared each with each other one."""
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    versions = [
        CalendarVersion(
            hours=WorkingHours(time_zone="UTC", weekly=every_day(span("00:00", f"{1 + number % 2:02}:00"))),
            effective_from=begins + timedelta(days=number),
            effective_to=begins + timedelta(days=number + 3),
        )
        for number in range(5_000)
    ]
    schedule = calendar(versions)
    assert schedule.working_time(begins, begins + timedelta(days=6_000)) == (2_500 * 3 + 2 * 2) * HOUR


# Days that never were

SKIPPED = [
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Pacific/Fakaofo", date(2011, 12, 30)),
    ("Pacific/Kwajalein", date(1993, 8, 21)),
    ("Pacific/Kiritimati", date(1994, 12, 31)),
    ("Pacific/Kanton", date(1994, 12, 31)),
]
"""Where the International Date Line was moved: the zone, and the date that it skipped."""


def minute_by_minute(zone: ZoneInfo, weekly: Week, start: datetime, end: datetime) -> int:
    """Working time as a second program sees it: of each minute, what the clock on the wall shows."""
    minutes = 0
    while start < end:
        shown = start.astimezone(zone)
        time_shown = f"{shown:%H:%M}"
        minutes += any(one.opens <= time_shown < one.closes for one in weekly.days()[shown.weekday()])
        start += timedelta(minutes=1)
    return minutes


@pytest.mark.parametrize(("name", "skipped"), SKIPPED)
@pytest.mark.parametrize("hours", [("09:00", "17:00"), ("00:00", "24:00"), ("00:00", "06:30"), ("20:00", "24:00")])
def test_a_date_that_a_zone_skipped_has_no_working_time(name: str, skipped: date, hours: tuple[str, str]) -> None:
    weekly = every_day(span(*hours))
    schedule, zone = always(WorkingHours(time_zone=name, weekly=weekly)), ZoneInfo(name)
    noon = datetime.combine(skipped, time(12), UTC)
    start, end = noon - timedelta(days=3), noon + timedelta(days=3)
    expected = minute_by_minute(zone, weekly, start, end) * 60_000_000
    assert schedule.working_time(start, end) == expected
    assert not schedule.is_business_day(skipped)
    around = (skipped - timedelta(days=1), skipped + timedelta(days=1))
    assert all(map(schedule.is_business_day, around))
    assert schedule.business_days_between(*around) == 1
    assert schedule.add_business_days(around[0], 1) == around[1]


def test_a_case_that_was_open_while_apia_skipped_a_friday_took_two_hours() -> None:
    schedule = always(WorkingHours(time_zone="Pacific/Apia", weekly=weekdays(span("09:00", "17:00"))))
    apia = ZoneInfo("Pacific/Apia")
    opened, answered = datetime(2011, 12, 29, 16, tzinfo=apia), datetime(2012, 1, 2, 10, tzinfo=apia)
    assert schedule.working_time(opened, answered) == 2 * 3_600_000_000
    assert schedule.deadline(opened, 2 * 3_600_000_000) == answered
    dated = DatedIntervals(on=date(2011, 12, 30), intervals=(span("09:00", "17:00"),))
    with_shift = always(WorkingHours(time_zone="Pacific/Apia", shifts=(dated,)))
    assert with_shift.working_time(opened, answered) == 0
