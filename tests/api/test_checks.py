"""`rapport check business-time FILE`: the published cases, all that the format knows, and files full of errors."""

import json
from collections import Counter
from pathlib import Path

import pytest

from api.business_time_cases import NotACaseFile
from api.checks import CheckedCase, Verdict, check_business_time

OFFICE = {
    "tz": "Europe/Berlin",
    "hours": {day: [["09:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")},
    "holidays": ["2026-05-01"],
}


def check(**case: object) -> CheckedCase:
    (checked,) = check_business_time(json.dumps({"cases": [{"id": "one", "calendar": OFFICE, **case}]}))
    return checked


def verdict(kind: str, given: dict[str, object], expected: dict[str, object], **more: object) -> Verdict:
    checked = check(kind=kind, input=given, expected=expected, **more)
    assert checked.verdict is not Verdict.UNREADABLE, checked.remark
    return checked.verdict


def test_the_published_cases_hold_as_the_definitions_say(real_data: Path) -> None:
    cases = {case.id: case for case in check_business_time((real_data / "business_time_cases.json").read_bytes())}
    assert Counter(case.verdict for case in cases.values()) == {Verdict.HOLDS: 65, Verdict.DECIDED_OTHERWISE: 1}
    assert all(case.passed for case in cases.values())
    assert (cases["biz-19"].verdict, cases["biz-19"].got) == (Verdict.DECIDED_OTHERWISE, "-142200 s")
    assert {name for name, case in cases.items() if "frt_human" in case.remark} == {"chatwoot-02", "chatwoot-03"}


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("between_seconds", {"from": "2026-06-08T09:00", "to": "2026-06-09T09:00"}, {"seconds": 28800}),
        ("between_seconds", {"from": "2026-06-09T09:00", "to": "2026-06-08T09:00"}, {"seconds": -28800}),
        ("between", {"from": "2026-06-08T09:00", "to": "2026-06-08T09:00:00.000001"}, {"microseconds": 1}),
        ("between", {"from": "2026-06-08T09:00", "to": "2026-06-08T09:00:00.5"}, {"seconds": 0.5}),
        ("between", {"from": "2026-06-08T07:00Z", "to": "2026-06-08T09:30Z"}, {"hours": 2.5}),
        ("add_seconds", {"from": "2026-04-30T16:30:00+02:00", "seconds": 3600}, {"at": "2026-05-04T09:30:00+02:00"}),
        ("add_seconds", {"from": "2026-05-04T09:30", "seconds": -3600}, {"at": "2026-04-30T16:30"}),
        ("deadline", {"from": "2026-06-08T09:00", "hours": 1, "minutes": 30}, {"at": "2026-06-08T10:30"}),
        ("roll_forward", {"from": "2026-06-06"}, {"at": "2026-06-08T09:00"}),
        ("roll_back", {"from": "2026-06-06"}, {"at": "2026-06-05T17:00"}),
        ("next_opening", {"from": "2026-06-08T09:00"}, {"at": "2026-06-09T09:00"}),
        ("next_closing", {"from": "2026-06-08T09:00"}, {"at": "2026-06-08T17:00"}),
        ("is_working", {"from": "2026-06-08T09:00"}, {"working": True}),
        ("is_working", {"from": "2026-06-08T17:00"}, {"working": False}),
        ("add_business_days_keep_time", {"from": "2026-03-27T10:00", "days": 1}, {"at": "2026-03-30T10:00"}),
        ("add_business_days_date", {"from": "2026-04-30", "days": 1}, {"date": "2026-05-04"}),
        ("business_days_between", {"from": "2026-04-30", "to": "2026-05-05T08:00"}, {"days": 2}),
        ("is_business_day", {"from": "2026-05-01"}, {"business_day": False}),
    ],
)
def test_every_kind_is_answered(kind: str, given: dict[str, object], expected: dict[str, object]) -> None:
    assert verdict(kind, given, expected) is Verdict.HOLDS


@pytest.mark.parametrize(
    ("kind", "given", "expected", "got"),
    [
        ("between_seconds", {"from": "2026-06-08T09:00", "to": "2026-06-08T10:00"}, {"seconds": 1}, "3600 s"),
        ("roll_forward", {"from": "2026-06-06"}, {"at": "2026-06-08T10:00"}, "2026-06-08T09:00:00+02:00"),
        (
            "roll_forward",
            {"from": "2026-06-06"},
            {"at": None, "reason": "no_working_time"},
            "2026-06-08T09:00:00+02:00, null",
        ),
        ("add_business_days_date", {"from": "2026-06-08", "days": 1}, {"date": "2026-06-08"}, "2026-06-09"),
        ("is_working", {"from": "2026-06-08T09:00"}, {"working": False}, "true"),
    ],
)
def test_what_differs_fails_and_says_what_was_answered(
    kind: str, given: dict[str, object], expected: dict[str, object], got: str
) -> None:
    checked = check(kind=kind, input=given, expected=expected)
    assert (checked.verdict, checked.got, checked.passed) == (Verdict.FAILS, got, False)


@pytest.mark.parametrize("at", ["2026-10-25T02:30", "2026-10-25T02:30+02:00", "2026-10-25T00:30Z"])
def test_a_local_time_that_comes_twice_is_the_first_of_the_two(at: str) -> None:
    all_day = {"tz": "Europe/Berlin", "hours": {"sun": [["00:00", "24:00"]]}}
    given = {"from": "2026-10-25T01:30", "seconds": 3600}
    checked = check(kind="add_seconds", calendar=all_day, input=given, expected={"at": at})
    assert checked.verdict is Verdict.HOLDS, checked.got


def test_a_case_that_expects_nothing_does_not_hold() -> None:
    assert verdict("is_working", {"from": "2026-06-08T09:00"}, {}) is Verdict.FAILS


def test_only_a_contested_zero_of_a_reversed_interval_is_decided_otherwise() -> None:
    forwards: dict[str, object] = {"from": "2026-06-08T09:00", "to": "2026-06-08T10:00"}
    backwards: dict[str, object] = {"from": "2026-06-08T10:00", "to": "2026-06-08T09:00"}
    assert verdict("between_seconds", backwards, {"seconds": 0}, contested=True) is Verdict.DECIDED_OTHERWISE
    assert verdict("between_seconds", backwards, {"seconds": 0}) is Verdict.FAILS
    assert verdict("between_seconds", forwards, {"seconds": 0}, contested=True) is Verdict.FAILS
    assert verdict("between_seconds", backwards, {"seconds": -3600}, contested=True) is Verdict.HOLDS


def test_where_nobody_ever_works_nothing_is_found_and_the_reason_is_given() -> None:
    never = {"tz": "UTC", "hours": {}}
    nothing: dict[str, object] = {"at": None, "reason": "no_working_time"}
    assert verdict("add_seconds", {"from": "2026-06-08T09:00", "seconds": 1}, nothing, calendar=never) is Verdict.HOLDS
    assert (
        verdict("add_seconds", {"from": "2026-06-08T09:00", "seconds": 1}, {"at": None}, calendar=never)
        is Verdict.HOLDS
    )


class TestCalendars:
    def seconds(self, **calendar: object) -> str:
        """What is worked from Monday, 8 June 2026, to Wednesday, in UTC."""
        span = {"from": "2026-06-08T00:00", "to": "2026-06-10T00:00"}
        return check(kind="between", input=span, expected={"seconds": 0}, calendar={"tz": "UTC", **calendar}).got

    def test_several_intervals_and_midnight(self) -> None:
        assert self.seconds(hours={"mon": [["07:00", "12:00"], ["22:00", "24:00"]], "tue": []}) == "25200 s"
        assert self.seconds(hours={"Monday": {"07:00": "12:00", "22:00": "00:00"}}) == "25200 s"

    def test_special_hours_replace_weekly_hours(self) -> None:
        hours = {"mon": [["09:00", "17:00"]]}
        assert self.seconds(hours=hours, special_hours={"2026-06-08": [["10:00", "11:00"]]}) == "3600 s"
        assert self.seconds(hours=hours, shifts={"2026-06-08": []}) == "0 s"

    def test_breaks_of_dates_and_weekdays(self) -> None:
        hours = {"mon": [["09:00", "17:00"]], "tue": [["09:00", "17:00"]]}
        breaks = {"2026-06-08": [["12:00", "13:00"]], "tue": {"12:00": "12:30"}}
        assert self.seconds(hours=hours, breaks=breaks) == f"{16 * 3600 - 5400} s"

    def test_breaks_of_every_day(self) -> None:
        hours = {"mon": [["09:00", "17:00"]], "tue": [["09:00", "17:00"]]}
        assert self.seconds(hours=hours, breaks=[["12:00", "13:00"]]) == f"{14 * 3600} s"

    def test_one_interval_alone_and_special_hours_alone(self) -> None:
        assert self.seconds(special_hours={"2026-06-08": ["10:00", "11:00"]}) == "3600 s"
        assert self.seconds(hours={"mon": ["09:00", "17:00"]}) == f"{8 * 3600} s"

    def test_holidays(self) -> None:
        assert self.seconds(hours={"mon": [["09:00", "17:00"]]}, holidays=["2026-06-08"]) == "0 s"

    def test_versions_in_the_order_in_which_they_became_known(self) -> None:
        versions = [
            {},
            {"effective_from": "2026-06-09T00:00Z", "hours": {"tue": [["00:00", "24:00"]]}},
            {"effective_from": "2026-06-09T00:00Z", "effective_to": "2026-06-09T06:00Z", "hours": {}},
        ]
        assert self.seconds(hours={"mon": [["09:00", "17:00"]]}, versions=versions) == f"{(8 + 18) * 3600} s"


class TestMetricRules:
    def test_the_clock_starts_at_the_hand_off(self) -> None:
        marks = {"conversation_created": 0, "bot_handoff_at_s": 20, "first_human_reply_at_s": 62}
        assert check(kind="metric_rule", calendar=None, input=marks, expected={"first_response_s": 42}).passed
        wrong = check(kind="metric_rule", calendar=None, input=marks, expected={"first_response_s": 62})
        assert (wrong.verdict, wrong.got) == (Verdict.FAILS, "42")

    def test_without_a_hand_off_it_starts_at_the_creation(self) -> None:
        marks = {"conversation_created": 5, "first_human_reply_at_s": 62}
        assert check(kind="metric_rule", input=marks, expected={"first_response_s": 57}).passed

    def test_a_rule_that_is_not_known_does_not_hold(self) -> None:
        assert not check(kind="metric_rule", input={"created": 0}, expected={"resolution_s": 1}).passed

    def test_marks_without_a_beginning_are_unreadable(self) -> None:
        checked = check(kind="metric_rule", input={"first_human_reply_at_s": 1}, expected={"first_response_s": 1})
        assert checked.verdict is Verdict.UNREADABLE


class TestUnreadable:
    @pytest.mark.parametrize("text", ["", "{", "[", '"cases"', "{}", '{"cases": {}}', "7", "[" * 7_000, b"\xff\xfe"])
    def test_what_is_no_file_of_cases(self, text: str | bytes) -> None:
        with pytest.raises(NotACaseFile):
            check_business_time(text)

    def test_cases_may_stand_without_an_object_around_them(self) -> None:
        (checked,) = check_business_time('[{"kind": "haircut"}]')
        assert (checked.id, checked.verdict) == ("case 1", Verdict.UNREADABLE)

    @pytest.mark.parametrize(
        "case",
        [
            {"kind": "haircut"},
            {"calendar": None},
            {"calendar": {"tz": "Europe/Atlantis", "hours": {}}},
            {"calendar": {"tz": "Europe", "hours": {}}},
            {"calendar": {"tz": "../Berlin", "hours": {}}},
            {"calendar": {"hours": {}}},
            {"calendar": {"tz": "UTC"}},
            {"calendar": {"tz": "UTC", "hours": {"someday": []}}},
            {"calendar": {"tz": "UTC", "hours": {"mon": [["17:00", "09:00"]]}}},
            {"calendar": {"tz": "UTC", "hours": {"mon": [["09:00"]]}}},
            {"calendar": {"tz": "UTC", "hours": {"mon": "09:00-17:00"}}},
            {"calendar": {"tz": "UTC", "hours": {}, "holidays": ["New Year"]}},
            {"input": {"from": "yesterday", "seconds": 1}},
            {"input": {"from": "2026-06-08T09:00"}},
            {"input": {"seconds": 1}},
            {"input": {"from": "2026-06-08T09:00", "seconds": "many"}},
            {"input": {"from": "2026-06-08T09:00", "seconds": "NaN"}},
            {"input": {"from": "2026-06-08T09:00", "seconds": 10**30}},
            {"expected": {"moment": "2026-06-08T09:00"}},
            {"expected": {"working": "yes"}},
            {"expected": []},
        ],
    )
    def test_an_unreadable_case_does_not_stop_the_others(self, case: dict[str, object]) -> None:
        good: dict[str, object] = {
            "id": "good",
            "kind": "add_seconds",
            "calendar": OFFICE,
            "input": {"from": "2026-06-08T09:00", "seconds": 1},
            "expected": {"at": "2026-06-08T09:00:01"},
        }
        bad, after = check_business_time(json.dumps({"cases": [{**good, "id": "bad", **case}, good]}))
        assert (bad.id, bad.verdict, bad.passed) == ("bad", Verdict.UNREADABLE, False)
        assert bad.remark
        assert after.verdict is Verdict.HOLDS

    def test_a_case_that_is_no_object(self) -> None:
        (checked,) = check_business_time("[7]")
        assert (checked.id, checked.verdict) == ("case 1", Verdict.UNREADABLE)
