"""The report on response times: what its figures mean, how they are asked for and how they are answered."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from domain.case_facts import TIMES, FactName
from domain.case_figures import BusinessRule
from projections.read_model import Snapshot
from projections.reports import (
    Parameter,
    Parameters,
    Question,
    ReportAnswer,
    ReportDefinition,
    Row,
    Word,
    next_cursor,
    ratio,
)
from projections.statistics import mean, percentile
from projections.support_facts import (
    BASES,
    BY,
    FROM,
    OF_MONTH,
    TO,
    Excluded,
    FactsReport,
    Selection,
    shown_excluded,
)
from projections.support_response_times import NAME, VERSION, WITHDRAWN
from projections.support_selection import (
    DIMENSIONS,
    PAGING,
    PEOPLE_MIN,
    PEOPLE_RULE,
    REASONS,
    TZ,
    WHERE,
    microseconds_between,
    shown_keys,
)
from projections.support_tables import BUCKETED, TABLE_OF_TIME
from projections.support_times import ENOUGH, Group, Times, behind_running, count_facts, groups

USUAL: Final = BUCKETED
"""What is told where nobody says what."""
MEANINGS: Final[Mapping[FactName, str]] = {
    FactName.FIRST_RESPONSE: "From the customer's first message until the first public reply of a person.",
    FactName.FIRST_RESPONSE_BY_HUMAN: "The same since a bot handed off, or the customer reopened what it resolved.",
    FactName.FIRST_RESPONSE_ZENDESK: "From the opening until the first later public reply, as Zendesk counts it.",
    FactName.NEXT_RESPONSE: "From the oldest unanswered message until the next public reply of a person; each turn.",
    FactName.NEXT_RESPONSE_OF_AGENTS: "The same without the time for which the case was on hold.",
    FactName.LONGEST_NEXT_RESPONSE: "The longest next response of each case, by calendar time.",
    FactName.FIRST_RESOLUTION: "From the opening until the case was first resolved.",
    FactName.FULL_RESOLUTION: "From the opening until it was last resolved, while it is resolved or closed.",
    FactName.TIME_NEW: "For how long the case was new.",
    FactName.TIME_OPEN: "For how long it was open.",
    FactName.TIME_WAITING_ON_CUSTOMER: "For how long the customer was waited for (agent wait).",
    FactName.TIME_ON_HOLD: "For how long somebody else was waited for.",
    FactName.TIME_RESOLVED: "For how long it was resolved before it was reopened.",
    FactName.REQUESTER_WAIT: "New, open and on hold together.",
    FactName.AGENT_WORK: "New and open together.",
    FactName.ILLEGITIMATE_PAUSE: "For how long the customer was waited for while the customer waited for us.",
}


def _words_of(clock: str) -> tuple[Word, ...]:
    return (
        Word(f"{clock}_n", f"How many times there are in {clock} time.", int),
        Word(f"{clock}_total", "Their sum, in microseconds.", int),
        Word(f"{clock}_mean", "The sum / n, rounded once to microseconds.", int),
        *(
            Word(f"{clock}_p{percent}", f"The {percent}th percentile (type 7), exact, from n = {enough} on.", int)
            for percent, enough in ENOUGH.items()
        ),
    )


_MEASURES: Final = (
    *_words_of("calendar"),
    *_words_of("business"),
    Word("answered_live", "How many of them are calls and chats that a person took at once: 0.", int),
    Word("answered_live_share", "answered_live / calendar_n, to six places.", Decimal),
    Word("excluded", "How many have no time, by reason.", tuple[Excluded, ...]),
    Word("business_excluded", "How many have no business time, by reason.", tuple[Excluded, ...]),
    Word("running", "How many are still running at `valid_at`, or at the end of the window if that is earlier.", int),
    Word("running_since", "Since when the oldest of these has been running.", datetime),
    Word("oldest_age", "How long that is in calendar time, in microseconds.", int),
)
_RULES: Final = (
    "A time counts when its clock stopped; with `basis=opened`, when its case was opened.",
    "Responses count for the person who replied and the team of the case then; all else for the assignee and the team.",
    "Business time counts each instant by the calendar that the case had then, as it was known.",
    "By another `business_rule` the times of the states do not always add up to the whole.",
    "Durations are microseconds. n and total stand beside each mean, and what has no time is counted by its reason.",
    "A full resolution, and all that is of the whole case, has no month any more when the case is reopened later.",
    "So such a month changes; what stays closed is the first resolution.",
    "What is still running has no month, unless months are those of the opening.",
    PEOPLE_RULE,
)


MEASURE: Final = Parameter(
    "measure",
    f"What is told, separated by commas: of {', '.join(TIMES)}; absent: {', '.join(USUAL)}.",
    listed=tuple(map(str, TIMES)),
)


BUSINESS_RULE: Final = Parameter(
    "business_rule",
    "By which calendars business time is counted: `integrate`, at each instant by the one assigned then; "
    "`pinned_at_start`, all of an interval by the one assigned when it began; `last_schedule`, by the one assigned "
    "just before it ended, as Zendesk does. Absent: `integrate`.",
    values=tuple(BusinessRule),
)
RUNNING_AT: Final = Parameter(
    "valid_at",
    "Instant as of which is told what had stopped and what was still running; absent: now, or `known_at`.",
    value=datetime,
)


class TimesReport(FactsReport):
    """A report on times, and on what is still running."""

    def selections(self, snapshot: Snapshot, parameters: Parameters) -> Sequence[Selection]:
        """See `FactsReport.selections`: nothing runs beyond the window."""
        return tuple(up_to_its_end(each) for each in super().selections(snapshot, parameters))

    def behind(self, selection: Selection, question: Question) -> Iterator[str]:
        """See `FactsReport.behind`: also what is still running."""
        yield from super().behind(selection, question)
        yield from behind_running(selection, measures_of(question))


class SupportResponseTimesReport(TimesReport):
    """Response times of a window, by up to two dimensions."""

    definition = ReportDefinition(
        name=NAME,
        version=VERSION,
        withdrawn=WITHDRAWN,
        model=NAME,
        moment="valid_at",
        title="Support response times",
        meaning="How long customers waited for answers and resolutions, and how many still wait.",
        rules=_RULES,
        dimensions=(OF_MONTH, *DIMENSIONS),
        measures=(
            Word("measure", " ".join(f"{name}: {says}" for name, says in MEANINGS.items()), values=tuple(MEANINGS)),
            *_MEASURES,
        ),
        parameters=(
            MEASURE,
            FROM,
            TO,
            BY,
            Parameter(
                "basis",
                "Which times belong to the window, and to which month: those that stopped in it, or those of cases "
                "opened in it.",
                values=tuple(BASES),
            ),
            BUSINESS_RULE,
            WHERE,
            TZ,
            RUNNING_AT,
            *PAGING,
        ),
        reasons=(
            *REASONS,
            Word("no_times", "There is no time to tell of."),
            Word("insufficient_sample", "There are fewer times than the percentile needs."),
            Word("runs_in_no_month", "What is still running has not stopped in any month."),
            Word("nothing_is_running", "Nothing is still running."),
        ),
    )

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """See `Report.run`."""
        selection, asked, (limit, last) = self.read(snapshot, parameters)
        selection = up_to_its_end(selection)
        found, facts = await _page(snapshot, selection, [FactName(name) for name in asked["measure"]], limit, last)
        if facts is None:
            facts = await count_facts(snapshot, selection, map(FactName, asked["measure"]))
        return ReportAnswer(
            definition=self.definition,
            position=snapshot.position,
            question=asked,
            basis=f"times of cases {'opened' if selection.basis == 'opened' else 'that stopped'} in the window",
            n=facts,
            columns=("measure", *selection.by, *(each.name for each in _MEASURES)),
            rows=tuple(_row(selection, group) for group in found[:limit]),
            next_cursor=next_cursor(snapshot, asked, [group.order for group in found], limit),
        )

    def tables(self, question: Question) -> tuple[Sequence[str], Row]:
        """See `FactsReport.tables`."""
        names = measures_of(question)
        said = {
            "measure": [str(name) for name in names],
            "basis": question.one("basis") or "event",
            "business_rule": business_rule_of(question),
        }
        return [*dict.fromkeys(TABLE_OF_TIME[name] for name in names)], said


def measures_of(question: Question) -> Sequence[FactName]:
    """The times that are asked about."""
    return [FactName(name) for name in question.listed("measure", TIMES, len(TIMES)) or USUAL]


def business_rule_of(question: Question) -> str:
    """By which calendars business time is counted."""
    return question.one("business_rule") or BusinessRule.INTEGRATE


def up_to_its_end(selection: Selection) -> Selection:
    """With what is running at the moment, or at the end of the window if that is earlier."""
    return replace(selection, as_of=min(selection.as_of, selection.window.ends_at))


async def _page(
    snapshot: Snapshot, selection: Selection, names: Sequence[FactName], limit: int, last: Sequence[str] | None
) -> tuple[list[Group], int | None]:
    """The groups of a page, and one more if there are more; and how many facts there are, where that is known then."""
    found: list[Group] = []
    facts: dict[str, int | None] = {}
    for name in sorted(names):
        if last is not None and str(name) < last[0]:
            facts[TABLE_OF_TIME[name]] = None
            continue
        within = last[1:] if last is not None and str(name) == last[0] else None
        more, known = await groups(snapshot, selection, name, limit - len(found), within)
        facts[TABLE_OF_TIME[name]] = known
        found += more
        if len(found) > limit:
            break
    known_all = len(facts) == len({TABLE_OF_TIME[name] for name in names})
    counts = [each for each in facts.values() if each is not None]
    return found, sum(counts) if known_all and len(counts) == len(facts) else None


# Rows


def _row(selection: Selection, group: Group) -> Row:
    keys, reasons = shown_keys(selection.by, group.keys)
    measures, why = _measures(group)
    if selection.hides_small_groups and group.people < PEOPLE_MIN:
        measures, why = dict.fromkeys(measures), dict.fromkeys(measures, "too_few_people")
    running, why_not = _running(selection, group)
    return {"measure": str(group.name), **keys, **measures, **running, "reasons": reasons | why | why_not}


def _measures(group: Group) -> tuple[dict[str, object], dict[str, str]]:
    """What has stopped, and why some of it is null."""
    measures: dict[str, object] = {}
    reasons: dict[str, str] = {}
    for clock, times in group.times.items():
        measures |= {f"{clock}_n": times.n, f"{clock}_total": times.total}
        measures[f"{clock}_mean"] = mean(times.total, times.n) if times.n else None
        measures |= {f"{clock}_p{percent}": time for percent, time in percentiles(times).items()}
        why = "insufficient_sample" if times.n else "no_times"
        reasons |= {name: why for name, value in measures.items() if value is None and name not in reasons}
    live, n = group.answered_live, group.times["calendar"].n
    share = ratio(live, n) if n else None
    reasons |= {} if n else {"answered_live_share": "no_times"}
    return {
        **measures,
        "answered_live": live,
        "answered_live_share": share,
        "excluded": shown_excluded(group.times["calendar"].excluded),
        "business_excluded": shown_excluded(group.times["business"].excluded),
    }, reasons


def percentiles(times: Times) -> Mapping[int, int | None]:
    """The percentiles of times; null where there are too few for them."""
    return {
        percent: percentile(times.n, percent, *times.neighbours[percent]) if percent in times.neighbours else None
        for percent in ENOUGH
    }


def _running(selection: Selection, group: Group) -> tuple[dict[str, object], dict[str, str]]:
    """What of a measure is still running, and why that may not be told."""
    if "month" in selection.by and selection.basis != "opened":
        told = dict.fromkeys(("running", "running_since", "oldest_age"))
        return told, dict.fromkeys(told, "runs_in_no_month")
    return shown_running(group.running, group.running_since, selection.as_of)


def shown_running(
    running: int, since: datetime | None, as_of: datetime, prefix: str = ""
) -> tuple[dict[str, object], dict[str, str]]:
    """How many are running and since when the oldest, as it is shown, and why some of it is null."""
    told: dict[str, object] = {f"{prefix}running": running}
    if since is None:
        names = (f"{prefix}running_since", f"{prefix}oldest_age")
        return told | dict.fromkeys(names), dict.fromkeys(names, "nothing_is_running")
    age = microseconds_between(since, as_of)
    return {**told, f"{prefix}running_since": since.astimezone(UTC), f"{prefix}oldest_age": age}, {}
