"""Check a file of timelines: what it expects of its support cases, and what Rapport answers.

How files are written, and every name of a value, is said in docs/reference/timelines.md. The answers are those of
`domain.case_figures`, which the read models use too.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeAlias

from api.business_time_cases import Fields, fields_of, items_of
from api.checks import CheckedCase, Verdict
from api.timeline_events import Names, read_moment
from api.timeline_files import NotATimelineFile, TimelineFile, read_timeline_file
from domain.case_events import CaseId
from domain.case_figures import (
    NO_TIME,
    WINDOW_DAYS,
    BusinessRule,
    CaseFigures,
    Figure,
    Judgement,
    Measure,
    Time,
    figures,
)
from domain.case_reading import timelines
from domain.case_status import CaseStatus
from domain.case_timeline import CaseTimeline, Reason, Reply

__all__ = ["NotATimelineFile", "check_timelines"]

Answer: TypeAlias = object
"""What a figure or a fact is: a time, a text, a number, a list of these, or None."""

_UNITS: Final = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "min": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
"""The units of durations in microseconds; a day has 24 hours."""
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?) ?(d|h|min|s|ms|us)\b ?")
_REASONS: Final = frozenset(Reason)
_NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class _Took:
    """How long something took in microseconds, or why that cannot be told."""

    microseconds: int | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an expectation is about."""

    file: TimelineFile
    timeline: CaseTimeline
    figures: CaseFigures
    as_of: datetime
    rule: BusinessRule

    @property
    def names(self) -> Names:
        return self.file.names


def check_timelines(text: str | bytes) -> tuple[CheckedCase, ...]:
    """Every value that a file expects, in its order; raises `NotATimelineFile` when the file cannot be read."""
    file = read_timeline_file(text)
    return tuple(
        checked
        for number, expectation in enumerate(file.expectations, 1)
        for checked in _checked(file, expectation, f"expect {number}")
    )


def _checked(file: TimelineFile, expectation: object, kind: str) -> Iterator[CheckedCase]:
    name = ""
    try:
        fields = fields_of(expectation)
        name = _case(file, fields)
        asked = _asked(file, fields, CaseId(file.names.id("case", name)))
        expected = dict(_expected(fields))
    except (KeyError, TypeError, ValueError) as problem:
        yield CheckedCase(name, kind, Verdict.UNREADABLE, remark=_said(problem))
        return
    if asked is None:
        verdict = Verdict.HOLDS if expected == {"status": _NOT_OPEN} else Verdict.FAILS
        yield CheckedCase(f"{name} status", kind, verdict, _shown(expected.get("status")), _NOT_OPEN)
        return
    for value, wanted in expected.items():
        verdict, got, remark = _compared(value, wanted, asked)
        yield CheckedCase(f"{name} {value}", kind, verdict, _shown(wanted), got, remark)
    if asked.rule is BusinessRule.INTEGRATE:
        yield _added_up(f"{name} states", kind, asked.figures)


def _case(file: TimelineFile, fields: Fields) -> str:
    """The case that is asked about; needs no name where there is one case only."""
    names = [file.names.name(case_id) or "" for case_id in file.cases]
    name = str(fields.get("case", names[0] if len(names) == 1 else ""))
    if name not in names:
        msg = f"case is one of {', '.join(names)}"
        raise ValueError(msg)
    return name


def _asked(file: TimelineFile, fields: Fields, case_id: CaseId) -> _Asked | None:
    """The figures of the case; None where it was not open yet."""
    known_at = read_moment(fields["known_at"], file.zone) if "known_at" in fields else None
    known = file.known(known_at)
    last = max((entry.occurred_at for entries in known.values() for entry in entries), default=None)
    as_of = read_moment(fields["as_of"], file.zone) if "as_of" in fields else last
    if as_of is None:
        return None
    timeline = timelines(known, until=as_of).get(case_id)
    if timeline is None:
        return None
    rule = BusinessRule(str(fields.get("rule", BusinessRule.INTEGRATE)))
    measure = Measure(timeline, file.schedules(known_at), rule)
    window_days = int(str(fields.get("window_days", WINDOW_DAYS)))
    return _Asked(file, timeline, figures(timeline, measure, as_of, window_days), as_of, rule)


def _expected(fields: Fields) -> Iterator[tuple[str, object]]:
    """The values that are expected, by their names."""
    found = 0
    for name, value in fields.items():
        if name in _CIRCUMSTANCES:
            continue
        if name in _AXES:
            for each, wanted in fields_of(value).items():
                yield f"{name}.{each}", wanted
                found += 1
        else:
            yield name, value
            found += 1
    if not found:
        msg = "nothing is expected"
        raise ValueError(msg)


def _compared(value: str, wanted: object, asked: _Asked) -> tuple[Verdict, str, str]:
    """The verdict on one value, with what was answered and a remark."""
    try:
        answer = _answer(value, asked)
        verdict = Verdict.HOLDS if _is(wanted, answer, asked.file) else Verdict.FAILS
    except (KeyError, TypeError, ValueError) as problem:
        return Verdict.UNREADABLE, "", _said(problem)
    return verdict, _shown(_local(answer, asked.file)), ""


def _answer(value: str, asked: _Asked) -> Answer:
    axis, dot, name = value.partition(".")
    if not dot:
        if value not in _FACTS:
            msg = f"{value} is unknown; there are {', '.join(_FACTS)}, and times in {' and '.join(_AXES)}"
            raise ValueError(msg)
        return _FACTS[value](asked)
    of = _TIMES.get(name.removesuffix("_time"))
    if of is None:
        msg = f"{name} is unknown; there are {', '.join(_TIMES)}"
        raise ValueError(msg)
    return _on_axis(of(asked.figures), axis)


def _on_axis(figure: Figure | Time | Sequence[Figure], axis: str) -> Answer:
    if isinstance(figure, Sequence):
        return [_on_axis(each, axis) for each in figure]
    time, reason = (figure, None) if isinstance(figure, Time) else (figure.time, figure.reason)
    if time is None:
        return _Took(None, reason)
    took = time.calendar if axis == "calendar" else time.business
    return _Took(took, Reason.NO_CALENDAR if took is None else reason)


def _is(wanted: object, answer: Answer, file: TimelineFile) -> bool:
    """Whether an answer is what was expected; raises `ValueError` for what cannot be read."""
    match answer:
        case list():
            wishes = items_of(wanted)
            return len(wishes) == len(answer) and all(map(_is, wishes, answer, [file] * len(answer)))
        case _Took(microseconds=microseconds, reason=reason):
            return wanted == reason if wanted in _REASONS else _duration(wanted) == microseconds
        case datetime():
            return read_moment(wanted, file.zone) == answer
        case (str() as status, datetime() as since):
            wanted_status, _, wanted_since = str(wanted).partition(" ")
            return wanted_status == status and read_moment(wanted_since, file.zone) == since
        case None:
            return wanted == _NONE
    return type(wanted) is type(answer) and wanted == answer


def _duration(text: object) -> int:
    """Microseconds of a duration such as `1 h 30 min`; a mere number counts seconds."""
    if isinstance(text, int) and not isinstance(text, bool):
        return text * _UNITS["s"]
    parts = _DURATION.findall(str(text))
    if not parts or _DURATION.sub("", str(text)):
        msg = f"{text} is neither a duration, such as 1 h 30 min, nor a reason: {', '.join(sorted(_REASONS))}"
        raise ValueError(msg)
    return int(sum(Decimal(number) * _UNITS[unit] for number, unit in parts))


def _shown(value: object) -> str:
    match value:
        case _Took(microseconds=None, reason=reason):
            return str(reason)
        case _Took(microseconds=int(microseconds), reason=reason):
            return _shown_duration(microseconds) + ("" if reason is None else f", {reason}")
        case list():
            return "; ".join(map(_shown, value)) or _NONE
        case None:
            return _NONE
    return str(value)


def _shown_duration(microseconds: int) -> str:
    """In hours and smaller units, as a file may write it."""
    parts = []
    for unit, size in list(_UNITS.items())[1:]:
        number, microseconds = divmod(microseconds, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts) or "0 s"


def _local(answer: Answer, file: TimelineFile) -> Answer:
    """Instants on the clock of the file, so that they can be compared by eye."""
    match answer:
        case datetime():
            return f"{answer.astimezone(file.zone):%a %Y-%m-%d %H:%M:%S}"
        case (str() as status, datetime() as since):
            return f"{status} {_local(since, file)}"
        case list():
            return [_local(each, file) for each in answer]
    return answer


def _added_up(name: str, kind: str, of: CaseFigures) -> CheckedCase:
    """Whether the times of the states add up to the whole, as they must by the default rule."""
    states = sum(of.states.values(), NO_TIME)
    wanted, got = ("; ".join(_shown(_on_axis(time, axis)) for axis in _AXES) for time in (of.whole, states))
    return CheckedCase(name, kind, Verdict.HOLDS if wanted == got else Verdict.FAILS, wanted, got)


def _said(problem: Exception) -> str:
    return f"{problem.args[0]} is missing" if isinstance(problem, KeyError) else str(problem)


def _first_reply(ask: _Asked) -> Reply:
    reply = ask.timeline.first_response.reply
    return reply or Reply(at=ask.as_of, position=0, staff_id=None, team_id=None)


def _judged(judgement: Judgement) -> Answer:
    return judgement.value if judgement.reason is None else judgement.reason.value


_NOT_OPEN: Final = "not_open"
_CIRCUMSTANCES: Final = {"case", "as_of", "known_at", "rule", "window_days"}
_AXES: Final = ("calendar", "business")

_TIMES: Final[Mapping[str, Callable[[CaseFigures], Figure | Time | Sequence[Figure]]]] = {
    "frt": lambda of: of.first_response,
    "frt_total": lambda of: of.first_response,
    "frt_human": lambda of: of.first_response_by_human,
    "frt_zendesk": lambda of: of.first_response_zendesk,
    "nrt": lambda of: of.next_responses,
    "nrt_agent": lambda of: of.next_responses_of_agents,
    "longest_nrt": lambda of: of.longest_next_response,
    "first_resolution": lambda of: of.first_resolution,
    "full_resolution": lambda of: of.full_resolution,
    "whole": lambda of: of.whole,
    "new": lambda of: of.states[CaseStatus.NEW],
    "open": lambda of: of.states[CaseStatus.OPEN],
    "waiting_on_customer": lambda of: of.states[CaseStatus.WAITING_ON_CUSTOMER],
    "on_hold": lambda of: of.states[CaseStatus.ON_HOLD],
    "resolved": lambda of: of.states[CaseStatus.RESOLVED],
    "closed": lambda of: of.states[CaseStatus.CLOSED],
    "requester_wait": lambda of: of.requester_wait,
    "agent_work": lambda of: of.agent_work,
    "agent_wait": lambda of: of.agent_wait,
    "illegitimate_pause": lambda of: of.illegitimate_pause,
}
_FACTS: Final[Mapping[str, Callable[[_Asked], Answer]]] = {
    "status": lambda ask: ask.timeline.status.value,
    "intervals": lambda ask: [(one.status.value, one.started_at) for one in ask.timeline.intervals],
    "ended_at": lambda ask: ask.timeline.ended_at,
    "closed_at": lambda ask: ask.timeline.closed_at,
    "frt_started": lambda ask: ask.timeline.first_response.started_at,
    "frt_staff": lambda ask: ask.names.name(_first_reply(ask).staff_id),
    "frt_team": lambda ask: ask.names.name(_first_reply(ask).team_id),
    "turns": lambda ask: [turn.outcome.value for turn in ask.timeline.turns],
    "turns_started": lambda ask: [turn.started_at for turn in ask.timeline.turns],
    "turns_staff": lambda ask: [ask.names.name(turn.staff_id) for turn in ask.timeline.turns],
    "public_replies": lambda ask: len(ask.timeline.replies),
    "customer_messages": lambda ask: len(ask.timeline.customer_messages),
    "late_recorded": lambda ask: ask.timeline.late_recorded,
    "reopen_count": lambda ask: ask.timeline.reopen_count,
    "resolved_again_count": lambda ask: ask.timeline.resolved_again_count,
    "one_touch": lambda ask: _judged(ask.figures.one_touch),
    "first_contact_resolution": lambda ask: _judged(ask.figures.first_contact_resolution),
    "closed_by_automation": lambda ask: ask.timeline.closed_by_automation,
    "resolved_by_automation": lambda ask: ask.timeline.resolved_by_automation,
    "merged_into": lambda ask: ask.names.name(ask.timeline.merged_into),
    "follow_up_of": lambda ask: ask.names.name(ask.timeline.opening.follow_up_of),
    "follow_ups": lambda ask: [ask.names.name(case_id) for _, case_id in ask.timeline.follow_ups],
    "split_from": lambda ask: ask.names.name(ask.timeline.opening.split_from),
    "split_off": lambda ask: [ask.names.name(case_id) for case_id in ask.timeline.split_off],
    "invitations": lambda ask: len(ask.timeline.invitations),
    "satisfaction": lambda ask: [f"{one.scale.value} {one.score}" for one in ask.timeline.answers if not one.amends],
    "satisfaction_amended": lambda ask: [
        f"{one.scale.value} {one.score}" for one in ask.timeline.answers if one.amends
    ],
    "priority": lambda ask: ask.timeline.profile_at(ask.as_of).priority.value,
    "category": lambda ask: ask.timeline.profile_at(ask.as_of).category,
    "root_cause": lambda ask: ask.timeline.profile_at(ask.as_of).root_cause,
    "product": lambda ask: ask.names.name(ask.timeline.profile_at(ask.as_of).product_id),
    "team": lambda ask: ask.names.name(ask.timeline.profile_at(ask.as_of).team_id),
    "assignee": lambda ask: ask.names.name(ask.timeline.profile_at(ask.as_of).assignee_id),
    "customer": lambda ask: ask.names.name(ask.timeline.profile_at(ask.as_of).customer_id),
}
