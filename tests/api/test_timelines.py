"""`rapport check timelines FILE`: the worked timelines, all that the format knows, and files full of errors."""

import re
import tomllib
from pathlib import Path

import pytest

from api.checks import CheckedCase, Verdict
from api.timelines import NotATimelineFile, check_timelines

FOLDER = Path(__file__).parents[1] / "timelines"
FILES = sorted(FOLDER.glob("*.toml"))
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "timelines.md"

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)

HEAD = """
time_zone = "Europe/Berlin"
[calendars.office]
hours = { mon-fri = "09:00-17:00" }
"""
LUNCH = '{ effective_from = "2026-06-08 12:00", effective_to = "2026-06-08 13:00", hours = "always" }'
OPENED = '{ at = "Mon 2026-06-08 09:00", event = "opened", calendar = "office" }'
REPLIED = '{ at = "Mon 2026-06-08 11:00", event = "public-reply-sent", staff = "katherine" }'


def told(*events: str, expect: str = 'status = "new"', head: str = HEAD) -> str:
    """A file with one case."""
    return f"{head}\n[cases.one]\nevents = [{', '.join(events)}]\n[[expect]]\n{expect}\n"


def check(*events: str, expect: str, head: str = HEAD) -> dict[str, CheckedCase]:
    """What is said of each value of one expectation, by its name."""
    checked = check_timelines(told(*events, expect=expect, head=head))
    return {case.id.removeprefix("one "): case for case in checked}


def refused(text: str | bytes) -> list[str]:
    """The problems of a file that is refused."""
    with pytest.raises(NotATimelineFile) as refusal:
        check_timelines(text)
    return str(refusal.value).splitlines()


def test_a_file_that_is_nested_without_an_end_is_refused() -> None:
    assert refused(f"title = {'[' * 7_000}")


# The worked timelines


@each_file
def test_a_worked_timeline_holds(file: Path) -> None:
    failed = [
        f"{case.kind}, {case.id}: {case.got} {case.remark}"
        for case in check_timelines(file.read_bytes())
        if not case.passed
    ]
    assert failed == []


@each_file
def test_a_worked_timeline_shows_its_arithmetic(file: Path) -> None:
    text = file.read_text("utf-8")
    assert tomllib.loads(text)["title"]
    assert len(re.findall(r"^ *#", text, re.MULTILINE)) >= 2


def test_there_are_thirty_of_them() -> None:
    assert len(FILES) >= 30
    assert len({tomllib.loads(file.read_text("utf-8"))["title"] for file in FILES}) == len(FILES)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 7, 17])
def test_the_vectors_of_the_metrics_reference_have_their_numbers(number: int) -> None:
    (file,) = FOLDER.glob(f"{number:02}-*.toml")
    assert file.read_text("utf-8").startswith(f"# V{number} of the metrics reference")


def test_a_change_of_any_time_is_noticed() -> None:
    text = (FOLDER / "17-complaint-through-two-weekends.toml").read_text("utf-8")
    times = re.findall(r'at = "\w+ 2026-\d\d-\d\d \d\d:\d\d"', text)
    for place, time in enumerate(dict.fromkeys(times)):
        minute = int(time[-3:-1])
        moved = text.replace(time, f'{time[:-3]}{(minute + 1) % 60:02}"')
        assert place == 1 or moved != text
        failed = [case for case in check_timelines(moved) if not case.passed]
        # The robot's acknowledgement counts for nothing, and the closing is no part of any time.
        assert bool(failed) is (place not in {1, len(dict.fromkeys(times)) - 1}), time


# What is said of a value


def test_what_holds_holds_and_what_differs_says_what_was_answered() -> None:
    expect = """
        status = "open"
        public_replies = 2
        business = { frt = "2 h", frt_human = "1 h 30 min 1 s 5 ms 7 us", nrt = [] }
    """
    checked = check(OPENED, REPLIED, expect=expect)
    assert {name: case.verdict for name, case in checked.items()} == {
        "status": Verdict.HOLDS,
        "public_replies": Verdict.FAILS,
        "business.frt": Verdict.HOLDS,
        "business.frt_human": Verdict.FAILS,
        "business.nrt": Verdict.HOLDS,
        "states": Verdict.HOLDS,
    }
    assert (checked["public_replies"].expected, checked["public_replies"].got) == ("2", "1")
    assert (checked["business.frt_human"].got, checked["business.nrt"].got) == ("2 h", "none")
    assert (checked["states"].expected, checked["states"].kind) == ("2 h; 2 h", "expect 1")


@pytest.mark.parametrize(
    ("written", "verdict"),
    [
        ('"2 h"', Verdict.HOLDS),
        ('"2h"', Verdict.HOLDS),
        ('"120 min"', Verdict.HOLDS),
        ('"1.5 h 30 min"', Verdict.HOLDS),
        ('"0.5 d"', Verdict.FAILS),
        ("7200", Verdict.HOLDS),
        ('"7200000000 us"', Verdict.HOLDS),
        ('"7200000001 us"', Verdict.FAILS),
        ('"no_reply_yet"', Verdict.FAILS),
        ('"two hours"', Verdict.UNREADABLE),
        ('"2 h or so"', Verdict.UNREADABLE),
        ("true", Verdict.UNREADABLE),
        ("7200.0", Verdict.UNREADABLE),
        ('["2 h"]', Verdict.UNREADABLE),
    ],
)
def test_times_are_written_as_people_write_them(written: str, verdict: Verdict) -> None:
    assert check(OPENED, REPLIED, expect=f"business.frt = {written}")["business.frt"].verdict is verdict


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ('status = "new"', "open"),
        ("status = 1", "open"),
        ("customer_messages = true", "1"),
        ('customer_messages = "1"', "1"),
        ("reopen_count = 1", "0"),
        ("closed_by_automation = true", "False"),
        ('frt_staff = "dorothy"', "katherine"),
        ('team = "first level"', "none"),
        ('merged_into = "two"', "none"),
        ('one_touch = "window_not_over"', "not_resolved"),
        ('frt_started = "Mon 2026-06-08 09:01"', "Mon 2026-06-08 09:00:00"),
        ('intervals = ["new Mon 2026-06-08 09:00"]', "new Mon 2026-06-08 09:00:00; open Mon 2026-06-08 11:00:00"),
        (
            'intervals = ["new Mon 2026-06-08 09:00", "open Mon 2026-06-08 10:00"]',
            "new Mon 2026-06-08 09:00:00; open Mon 2026-06-08 11:00:00",
        ),
        ('turns = ["answered"]', "none"),
        ('business.waiting_on_customer = "1 h"', "0 s"),
        ('business.full_resolution = "1 h"', "not_resolved"),
    ],
)
def test_every_kind_of_value_can_fail(value: str, got: str) -> None:
    (failed, _) = check(OPENED, REPLIED, expect=value).values()
    assert (failed.verdict, failed.got) == (Verdict.FAILS, got)


def test_a_first_response_that_nobody_gave_has_no_sender() -> None:
    checked = check(OPENED, expect='frt_staff = "none"\nfrt_team = "none"')
    assert all(case.passed for case in checked.values())


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("mood = 1", "mood is unknown"),
        ("business.mood = 1", "mood is unknown"),
        ('ended_at = "never"', "never"),
        ('frt_started = "Tue 2026-06-08 09:00"', "2026-06-08 09:00 is no Tue"),
        ('intervals = ["new soon", "open", "resolved"]', "Invalid isoformat"),
        ('intervals = "new"', "expected a list"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_and_does_not_stop_the_others(value: str, problem: str) -> None:
    resolved = '{ at = "Mon 2026-06-08 12:00", event = "resolved" }'
    checked = check(OPENED, REPLIED, resolved, expect=f'{value}\nstatus = "resolved"')
    unreadable = next(iter(checked.values()))
    assert (unreadable.verdict, unreadable.passed) == (Verdict.UNREADABLE, False)
    assert problem in unreadable.remark
    assert checked["status"].passed


@pytest.mark.parametrize(
    ("expect", "problem"),
    [
        ("", "nothing is expected"),
        ('as_of = "Mon 2026-06-08 10:00"', "nothing is expected"),
        ('case = "two"\nstatus = "new"', "case is one of one"),
        ('as_of = "some day"\nstatus = "new"', "some day"),
        ('rule = "mean"\nstatus = "new"', "mean"),
        ('window_days = "few"\nstatus = "new"', "few"),
        ("business = 1", "expected an object"),
    ],
)
def test_an_expectation_that_cannot_be_read_is_named(expect: str, problem: str) -> None:
    (checked,) = check_timelines(told(OPENED, expect=expect))
    assert checked.verdict is Verdict.UNREADABLE
    assert problem in checked.remark


def test_an_expectation_that_is_no_table_is_named() -> None:
    head = f"expect = [7]\n{HEAD}"
    (checked,) = check_timelines(f"{head}\n[cases.one]\nevents = [{OPENED}]")
    assert checked.verdict is Verdict.UNREADABLE


def test_of_several_cases_one_is_named() -> None:
    text = f"{HEAD}\n[cases.one]\nevents = [{OPENED}]\n[cases.two]\nevents = [{OPENED}]\n[[expect]]\nstatus = 'new'"
    (checked,) = check_timelines(text)
    assert checked.remark == "case is one of one, two"


@pytest.mark.parametrize(
    "circumstance", ['as_of = "Mon 2026-06-08 08:00"', 'known_at = "Mon 2026-06-08 08:00"'], ids=["as_of", "known_at"]
)
def test_before_its_opening_nothing_is_answered_but_that(circumstance: str) -> None:
    (right,) = check_timelines(told(OPENED, expect=f'{circumstance}\nstatus = "not_open"'))
    assert right.passed
    (wrong,) = check_timelines(told(OPENED, expect=f'{circumstance}\nstatus = "new"'))
    assert (wrong.verdict, wrong.got) == (Verdict.FAILS, "not_open")
    (more,) = check_timelines(told(OPENED, expect=f"{circumstance}\nreopen_count = 0"))
    assert not more.passed


def test_only_the_default_rule_has_to_add_up() -> None:
    assert "states" not in check(OPENED, expect='rule = "pinned_at_start"\nstatus = "new"')


# How files are written


@pytest.mark.parametrize(
    ("calendar", "seconds"),
    [
        ('hours = "always"', 2 * 86_400),
        ('hours = { mon = "07:00-12:00", tue = ["00:00-01:00", "22:00-24:00"] }', 5 * 3600 + 3 * 3600),
        ('hours = { Monday = [["07:00", "12:00"]] }', 5 * 3600),
        ('hours = { mon-tue = "09:00-17:00" }\nspecial_hours = { "2026-06-09" = "10:00-11:00" }', 9 * 3600),
        ('hours = { mon-tue = "09:00-17:00" }\nbreaks = { mon = "12:00-12:30" }', 15 * 3600 + 1800),
        ('hours = { mon-tue = "09:00-17:00" }\nholidays = [2026-06-09]', 8 * 3600),
        ('hours = { tue = "09:00-17:00" }\ntime_zone = "Pacific/Auckland"', 8 * 3600),
        (f"hours = {{}}\nrevisions = [{LUNCH}]", 3600),
    ],
)
def test_calendars_are_written_as_they_hang_on_the_door(calendar: str, seconds: int) -> None:
    """What is worked from Monday, 8 June 2026, to Wednesday, in UTC."""
    events = (
        '{ at = "2026-06-08", event = "opened", calendar = "door" }',
        "{ at = 2026-06-10T00:00:00Z, event = 'resolved' }",
    )
    text = told(*events, expect=f"business.whole = {seconds}", head=f"[calendars.door]\n{calendar}")
    assert all(case.passed for case in check_timelines(text))


@pytest.mark.parametrize(
    ("hours", "problem"),
    [
        ('{ mon = "always" }', "an interval is written 09:00-17:00, not always"),
        ('{ mon = "9-5" }', "local times are written as 09:00 or 09:00:30; only a closing time may be 24:00"),
        (
            '{ mon = "17:00-09:00" }',
            "an interval opens before it closes; one over midnight is two, until 24:00 and from 00:00",
        ),
        ('{ someday = "09:00-17:00" }', "someday is missing"),
        ("{ mon = 9 }", "expected a list, not 9"),
    ],
)
def test_hours_that_cannot_be_read_are_named(hours: str, problem: str) -> None:
    assert refused(told(OPENED, head=f"[calendars.office]\nhours = {hours}")) == [f"calendar office: {problem}"]


def test_a_week_may_be_written_over_its_end() -> None:
    friday = '{ at = "Fri 2026-06-05 00:00", event = "opened", calendar = "office" }'
    tuesday = '{ at = "Tue 2026-06-09 00:00", event = "resolved" }'
    text = told(
        friday, tuesday, expect='business.whole = "3 h"', head='[calendars.office]\nhours = { sat-mon = "00:00-01:00" }'
    )
    assert all(case.passed for case in check_timelines(text))


def test_every_event_and_every_name_of_a_value_is_documented() -> None:
    page = REFERENCE.read_text("utf-8")
    documented = set(re.findall(r"`([\w-]+)`", page))
    (unknown_event,) = refused(told('{ at = "2026-06-08", event = "sneezed" }'))
    events = unknown_event.partition("event is one of ")[2].rpartition(", not")[0].split(", ")
    (unknown_fact, _) = check(OPENED, expect="mood = 1").values()
    facts = unknown_fact.remark.partition("there are ")[2].partition(", and times")[0].split(", ")
    (unknown_time, _) = check(OPENED, expect="business.mood = 1").values()
    times = unknown_time.remark.partition("there are ")[2].split(", ")
    assert (len(events), len(facts), len(times)) == (25, 34, 20)
    assert {*events, *facts, *times} - documented == set()


def test_the_example_of_the_reference_holds() -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", REFERENCE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    checked = check_timelines(example)
    assert len(checked) == 8
    assert all(case.passed for case in checked)


# What is no file of timelines


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected an object"),
        ("cases = 1", "expected an object"),
        ("[cases]", "expected a list"),
        ("[cases]\n[expect]", "expected a list"),
        ("time_zone = 'Europe/Atlantis'\n[cases]\n[[expect]]", "Europe/Atlantis"),
        ("time_zone = '../Berlin'\n[cases]\n[[expect]]", "Berlin"),
        ("time_zone = 'Europe'\n[cases]\n[[expect]]", "Europe"),
        ("cases = {", "end of document"),
        (b"\xff\xfe", "utf-8"),
    ],
)
def test_what_is_no_file_of_timelines(text: str | bytes, problem: str) -> None:
    assert problem in " ".join(refused(text))


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        (("7",), "event 1: expected an object"),
        (('{ event = "opened" }',), "event 1: at is missing"),
        (('{ at = "2026-06-08" }',), "event 1: event is one of opened"),
        (('{ at = "yesterday", event = "opened" }',), "event 1: Invalid isoformat string: 'yesterday'"),
        (('{ at = "Tue 2026-06-08 09:00", event = "opened" }',), "event 1: 2026-06-08 09:00 is no Tue"),
        (('{ at = "2026-06-08", event = "opened", by = "nobody" }',), "event 1: by is one of customer"),
        (('{ at = "2026-06-08", event = "opened", answered_live = 1 }',), "answered_live is true or false"),
        (
            ('{ at = "2026-06-08", event = "opened", mood = "bad" }',),
            "unknown: mood; what can be said is answered_live",
        ),
        (('{ at = "2026-06-08", event = "opened", recorded = "late" }',), "Invalid isoformat string: 'late'"),
        ((OPENED, '{ at = "2026-06-09", event = "assigned" }'), "event 2: staff is missing"),
        (
            (OPENED, '{ at = "2026-06-09", event = "satisfaction-recorded", score = "good" }'),
            "event 2: invalid literal",
        ),
        ((REPLIED,), "case one: a case is opened once"),
        ((OPENED, OPENED), "case one: a case is opened once"),
        (
            (OPENED, '{ at = "2026-06-09", event = "merged-into", case = "two" }'),
            "case two is named, but there is none",
        ),
        (
            (OPENED, '{ at = "2026-06-09", event = "merged-into", case = "one" }'),
            "case one would be merged into itself",
        ),
        (('{ at = "2026-06-08", event = "opened", split_from = "two" }',), "case two is named, but there is none"),
        (('{ at = "2026-06-08", event = "opened", follow_up_of = "two" }',), "case two is named, but there is none"),
        (('{ at = "2026-06-08", event = "opened", calendar = "shop" }',), "calendar shop is named, but there is none"),
        (
            (OPENED, '{ at = "2026-06-09", event = "calendar-assigned", calendar = "shop" }'),
            "calendar shop is named, but there is none",
        ),
        (
            (OPENED, '{ at = "2026-06-09", event = "no-reply-needed-marked", message = "thanks" }'),
            "message thanks is named, but there is none",
        ),
    ],
)
def test_what_cannot_have_happened_is_named(events: tuple[str, ...], problem: str) -> None:
    (found,) = refused(told(*events))
    assert problem in found


def test_every_problem_is_named_at_once() -> None:
    text = f"""
        mood = "bad"
        [calendars.office]
        holidays = ["New Year"]
        [calendars.shop]
        [calendars.bar]
        hours = 7
        [cases.one]
        events = [7, {OPENED}, 8]
        [cases.two]
        [[expect]]
    """
    assert refused(text) == [
        "mood is unknown",
        "case one, event 1: expected an object, not 7",
        "case one, event 3: expected an object, not 8",
        "case two: events is missing",
        "calendar office: hours is missing",
        "calendar shop: hours is missing",
        "calendar bar: expected an object, not 7",
    ]


def test_a_circle_of_merges_is_no_story() -> None:
    text = HEAD
    for name, into in (("one", "two"), ("two", "three"), ("three", "two"), ("four", "one")):
        merged = f'{{ at = "2026-06-09", event = "merged-into", case = "{into}" }}'
        text += f"[cases.{name}]\nevents = [{OPENED}, {merged}]\n"
    assert refused(text + "[[expect]]") == [
        "case two would be merged into itself",
        "case three would be merged into itself",
    ]


def test_what_both_cases_record_stands_in_both() -> None:
    text = f"""{HEAD}
        [cases.one]
        events = [{OPENED}]
        [cases.two]
        events = [{{ at = "2026-06-10", event = "opened", follow_up_of = "one", split_from = "one" }}]
        [cases.three]
        events = [{{ at = "2026-06-11", event = "opened", split_from = "two", waiting_since = "2026-06-07" }}]
        [[expect]]
        case = "one"
        follow_ups = ["two"]
        split_off = ["two"]
        [[expect]]
        case = "two"
        frt_started = "2026-06-08 09:00"
        [[expect]]
        case = "three"
        frt_started = "2026-06-07"
    """
    assert all(case.passed for case in check_timelines(text))
