"""Check a file of business-time cases: what each of them expects, and what Rapport answers.

How calendars and instants are written is said in `api.business_time_cases`. The kinds of cases:

| kind | input | expected |
|---|---|---|
| `between_seconds`, `between` | `from`, `to` | `seconds` |
| `add_seconds`, `deadline`: looks back where negative | `from`, `seconds` | `at` |
| `roll_forward`, `roll_back`: next, last working instant | `from` | `at` |
| `next_opening`, `next_closing` | `from` | `at` |
| `is_working` | `from` | `working` |
| `add_business_days_keep_time` | `from`, `days` | `at` |
| `add_business_days_date` | `from`, `days` | `date` |
| `business_days_between`: after `from`, up to `to` | `from`, `to` | `days` |
| `is_business_day` | `from` | `business_day` |
| `metric_rule`: first response as `frt_human`, which is no business time | marks of a conversation | see below |

Where nothing is found `at` and `date` are null, and `reason` may be `no_working_time`.

A `metric_rule` names marks of a conversation: created, bot hand-off, reopened, first human reply. The clock of
`frt_human` starts at the reopening, else at the hand-off, else at the creation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from api.business_time_cases import (
    UNITS,
    Fields,
    cases_in,
    fields_of,
    read_calendar,
    read_date,
    read_duration,
    read_duration_in,
    read_instant,
    read_zone,
    shown,
)
from domain.business_time import NO_WORKING_TIME, Schedule

Outcome: TypeAlias = timedelta | datetime | date | int | str | None

_REVERSED: Final = "the source gives 0 for a reversed interval; here between(a, b) = -between(b, a)"
_FRT_HUMAN: Final = "a test of frt_human, not of business time"


class Verdict(StrEnum):
    """What is to be said about a case."""

    HOLDS = "holds"
    DECIDED_OTHERWISE = "decided otherwise"
    """The sources disagree, and the definitions of Rapport side with the others."""
    FAILS = "fails"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class CheckedCase:
    """One case with what it expects and what was answered, as a person reads it."""

    id: str
    kind: str
    verdict: Verdict
    expected: str = ""
    got: str = ""
    remark: str = ""

    @property
    def passed(self) -> bool:
        """Whether the answer is the one that the definitions of Rapport ask for."""
        return self.verdict in {Verdict.HOLDS, Verdict.DECIDED_OTHERWISE}


@dataclass(frozen=True, slots=True)
class _Question:
    """The input of a case with the calendar that it is about."""

    schedule: Schedule
    zone: ZoneInfo
    input: Fields

    def instant(self, name: str) -> datetime:
        return read_instant(self.input[name], self.zone)

    def day(self, name: str) -> date:
        """A local date; an instant stands for the date that it falls on."""
        return self.instant(name).astimezone(self.zone).date()

    @property
    def days(self) -> int:
        return int(str(self.input["days"]))


def check_business_time(text: str | bytes) -> tuple[CheckedCase, ...]:
    """Every case of a file, in its order; raises `NotACaseFile` when no cases can be read from it at all."""
    return tuple(_checked(case, f"case {place}") for place, case in enumerate(cases_in(text), start=1))


def _checked(case: object, name: str) -> CheckedCase:
    kind = ""
    try:
        fields = fields_of(case)
        name, kind = str(fields.get("id", name)), str(fields["kind"])
        return _metric_rule(name, fields) if kind == "metric_rule" else _business_time(name, kind, fields)
    except (ArithmeticError, KeyError, OSError, TypeError, ValueError) as problem:
        unknown = isinstance(problem, KeyError) and not isinstance(problem, ZoneInfoNotFoundError)
        remark = f"{problem} is missing or unknown" if unknown else str(problem)
        return CheckedCase(name, kind, Verdict.UNREADABLE, remark=remark)


def _business_time(name: str, kind: str, case: Fields) -> CheckedCase:
    hours = fields_of(case["calendar"])
    question = _Question(read_calendar(hours), read_zone(hours), fields_of(case["input"]))
    got = _ANSWERS[kind](question)
    expected = {key: _expected(key, value, question.zone) for key, value in fields_of(case["expected"]).items()}
    answers = {key: _NOT_FOUND[got is None] if key == "reason" else got for key in expected}
    reversed_to_zero = expected == {"seconds": timedelta()} and isinstance(got, timedelta) and got < timedelta()
    otherwise = reversed_to_zero and case.get("contested") is True
    return CheckedCase(
        name,
        kind,
        Verdict.DECIDED_OTHERWISE if otherwise else _verdict(expected, answers),
        ", ".join(shown(value, question.zone) for value in expected.values()),
        ", ".join(shown(value, question.zone) for value in answers.values()),
        _REVERSED if otherwise else "",
    )


def _verdict(expected: Mapping[str, object], answers: Mapping[str, object]) -> Verdict:
    """A case that expects nothing cannot hold."""
    return Verdict.HOLDS if expected and expected == answers else Verdict.FAILS


def _expected(key: str, value: object, zone: ZoneInfo) -> Outcome:
    if value is None or key == "reason":
        return None if value is None else str(value)
    if key in UNITS:
        return read_duration(key, value)
    if key == "at":
        # A local time that comes twice is equal to no time of another zone, not even to itself (PEP 495).
        return read_instant(value, zone).astimezone(UTC)
    if key == "date":
        return read_date(value)
    if key in {"days", "working", "business_day"} and isinstance(value, int):
        return value
    raise KeyError(key)


_NOT_FOUND: Final[Mapping[bool, str | None]] = {True: NO_WORKING_TIME, False: None}


def _between(ask: _Question) -> timedelta:
    return timedelta(microseconds=ask.schedule.working_time(ask.instant("from"), ask.instant("to")))


def _deadline(ask: _Question) -> datetime | None:
    return ask.schedule.deadline(ask.instant("from"), read_duration_in(ask.input) // timedelta(microseconds=1))


_ANSWERS: Final[Mapping[str, Callable[[_Question], Outcome]]] = {
    "between": _between,
    "between_seconds": _between,
    "deadline": _deadline,
    "add_seconds": _deadline,
    "roll_forward": lambda ask: ask.schedule.deadline(ask.instant("from"), 0),
    "roll_back": lambda ask: ask.schedule.last_working_instant(ask.instant("from")),
    "next_opening": lambda ask: ask.schedule.next_opening(ask.instant("from")),
    "next_closing": lambda ask: ask.schedule.next_closing(ask.instant("from")),
    "is_working": lambda ask: ask.schedule.is_working(ask.instant("from")),
    "add_business_days_keep_time": lambda ask: ask.schedule.move_by_business_days(ask.instant("from"), ask.days),
    "add_business_days_date": lambda ask: ask.schedule.add_business_days(ask.day("from"), ask.days),
    "business_days_between": lambda ask: ask.schedule.business_days_between(ask.day("from"), ask.day("to")),
    "is_business_day": lambda ask: ask.schedule.is_business_day(ask.day("from")),
}


def _metric_rule(name: str, case: Fields) -> CheckedCase:
    marks, expected = fields_of(case["input"]), fields_of(case["expected"])
    starts = next((mark for mark in _STARTS if mark in marks), _STARTS[-1])
    answers: dict[str, object] = {}
    if "first_response_clock_starts_at" in expected:
        answers["first_response_clock_starts_at"] = starts
    if "first_response_s" in expected:
        answers["first_response_s"] = _number(marks["first_human_reply_at_s"]) - _number(marks[starts])
    shown_expected, shown_answers = (", ".join(map(str, some.values())) for some in (expected, answers))
    return CheckedCase(name, "metric_rule", _verdict(expected, answers), shown_expected, shown_answers, _FRT_HUMAN)


_STARTS: Final = ("reopened", "bot_handoff_at_s", "conversation_created", "created")
"""Where the clock of `frt_human` starts: at the first of these marks that a case has."""


def _number(value: object) -> Decimal:
    return Decimal(str(value))
