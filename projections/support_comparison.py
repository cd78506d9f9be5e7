"""Before and after: the response times of two windows, and how sure it is that they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from domain.case_facts import FactName
from projections.read_model import Snapshot
from projections.reports import Parameter, Parameters, Question, ReportAnswer, ReportDefinition, Row, Word
from projections.statistics import MedianRanks, Sample, difference_of_medians, mean
from projections.support_facts import FROM, TO, Excluded, Selection, shown_excluded
from projections.support_reports import (
    BUSINESS_RULE,
    MEANINGS,
    MEASURE,
    RUNNING_AT,
    TimesReport,
    business_rule_of,
    measures_of,
    shown_running,
    up_to_its_end,
)
from projections.support_response_times import NAME, VERSION, WITHDRAWN
from projections.support_selection import (
    PAGING,
    PEOPLE_MIN,
    PEOPLE_RULE,
    REASONS,
    TZ,
    WHERE,
    read_window,
)
from projections.support_tables import CLOCKS, TABLE_OF_TIME
from projections.support_times import Group, count_facts, count_people, running, sums, times_at

_ENOUGH: Final = 20
"""Of fewer times the spread of their median says nothing."""
_MEASURES: Final = (
    Word("base_n", "How many times there are in the base window.", int),
    Word("base_mean", "Their mean, in microseconds.", int),
    Word("base_median", "Their median.", int),
    Word("base_excluded", "How many have no time, by reason.", tuple[Excluded, ...]),
    Word("base_running", "How many were running at `valid_at`, or at the end of that window if it is earlier.", int),
    Word("base_running_since", "Since when the oldest of these had been running.", datetime),
    Word("base_oldest_age", "How long that was in calendar time, in microseconds.", int),
    Word("n", "How many there are in the window.", int),
    Word("mean", "Their mean.", int),
    Word("median", "Their median.", int),
    Word("excluded", "How many have no time, by reason.", tuple[Excluded, ...]),
    Word("running", "How many are still running at `valid_at`, or at the end of the window if that is earlier.", int),
    Word("running_since", "Since when the oldest of these has been running.", datetime),
    Word("oldest_age", "How long that is in calendar time, in microseconds.", int),
    Word("difference", "median - base_median: negative where it has become quicker.", int),
    Word("difference_lower", "Lower end of its interval of 95 % (Price and Bonett 2002).", int),
    Word("difference_upper", "Upper end of its interval.", int),
)
_BASE: Final = ("base_from", "base_to")


class SupportComparisonReport(TimesReport):
    """Two windows side by side."""

    definition = ReportDefinition(
        name="support_comparison",
        version=VERSION,
        withdrawn=WITHDRAWN,
        model=NAME,
        moment="valid_at",
        title="Support before and after",
        meaning="The response times of two windows, and the difference of their medians with its interval.",
        rules=(
            "Medians are compared, not means: one case that was forgotten for a year moves a mean, and no median.",
            f"An interval needs {_ENOUGH} times in each window. Where it does not contain 0, chance is unlikely.",
            "The interval needs no distribution, but times that do not depend on each other.",
            PEOPLE_RULE,
        ),
        dimensions=(),
        measures=(
            Word("measure", " ".join(f"{name}: {says}" for name, says in MEANINGS.items()), values=tuple(MEANINGS)),
            Word("clock", "By which time it is told.", values=CLOCKS),
            *_MEASURES,
        ),
        parameters=(
            MEASURE,
            Parameter("base_from", "First day of the window before; absent: from the first time on.", value=date),
            Parameter("base_to", "Day after its last day.", required=True, value=date),
            FROM,
            TO,
            BUSINESS_RULE,
            WHERE,
            TZ,
            RUNNING_AT,
            *PAGING,
        ),
        reasons=(
            *REASONS,
            Word("no_times", "There is no time in the window."),
            Word("nothing_is_running", "Nothing is still running."),
            Word("insufficient_sample", f"There are fewer than {_ENOUGH} times in one of the windows."),
        ),
    )

    def tables(self, question: Question) -> tuple[Sequence[str], Row]:
        """See `FactsReport.tables`."""
        names = measures_of(question)
        base = {name: question.day(name) for name in _BASE}
        said = {"measure": [str(name) for name in names], **base, "business_rule": business_rule_of(question)}
        return [*dict.fromkeys(TABLE_OF_TIME[name] for name in names)], said

    def selections(self, snapshot: Snapshot, parameters: Parameters) -> Sequence[Selection]:
        """See `TimesReport.selections`: the base window, and the other one."""
        selection, _, _ = self.read(snapshot, parameters)
        base_window, _ = read_window(Question(self.definition, parameters), snapshot.policy, _BASE)
        base = replace(selection, window=base_window.up_to(selection.valid_at))
        return tuple(up_to_its_end(each) for each in (base, selection))

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """See `Report.run`."""
        _, asked, _ = self.read(snapshot, parameters)
        base, selection = self.selections(snapshot, parameters)
        rows = []
        measures = [FactName(name) for name in asked["measure"]]
        for name in measures:
            before, after = [await _times(snapshot, each, name) for each in (base, selection)]
            rows += [_row(name, clock, before[clock], after[clock]) for clock in CLOCKS]
        return ReportAnswer(
            definition=self.definition,
            position=snapshot.position,
            question=asked,
            basis="times that stopped in the windows",
            n=sum([await count_facts(snapshot, each, measures) for each in (base, selection)]),
            columns=("measure", "clock", *(word.name for word in _MEASURES)),
            rows=tuple(rows),
        )


@dataclass(frozen=True, slots=True)
class _Times:
    """The times of one window by one clock."""

    n: int
    total: int
    is_told: bool
    sample: Sample | None
    """None where there are none."""
    excluded: Mapping[str, int]
    """How many have no time, by reason."""
    running: tuple[int, datetime | None]
    """How many are running, and since when the oldest."""
    as_of: datetime


async def _times(snapshot: Snapshot, selection: Selection, name: FactName) -> Mapping[str, _Times]:
    """The times of a window by each clock."""
    found = await sums(snapshot, selection, name)
    group = found.get((), Group(name, ()))
    still_running = await running(snapshot, selection, name)
    if selection.hides_small_groups:
        await count_people(snapshot, selection, name, [group])
    return {
        clock: _Times(
            n=times.n,
            total=times.total,
            is_told=not selection.hides_small_groups or group.people >= PEOPLE_MIN,
            sample=await _sample(snapshot, selection, group, clock),
            excluded=times.excluded,
            running=still_running.get((), (0, None)),
            as_of=selection.as_of,
        )
        for clock, times in group.times.items()
    }


async def _sample(snapshot: Snapshot, selection: Selection, group: Group, clock: str) -> Sample | None:
    """What the median and its spread are made of."""
    n = group.times[clock].n
    if not n:
        return None
    ranks = MedianRanks.of(n)
    places = [(group, place) for place in ranks.ranks]
    return Sample(ranks, await times_at(snapshot, selection, group.name, clock, places))


def _row(name: FactName, clock: str, before: _Times, after: _Times) -> Row:
    told: dict[str, object] = {}
    reasons: dict[str, str] = {}
    for prefix, times in (("base_", before), ("", after)):
        told[f"{prefix}n"] = times.n
        told[f"{prefix}mean"] = mean(times.total, times.n) if times.n else None
        told[f"{prefix}median"] = times.sample.median if times.sample else None
        told[f"{prefix}excluded"] = shown_excluded(times.excluded)
        reasons |= {} if times.n else dict.fromkeys((f"{prefix}mean", f"{prefix}median"), "no_times")
    names = ("difference", "difference_lower", "difference_upper")
    told |= dict.fromkeys(names)
    if before.sample is None or after.sample is None:
        reasons |= dict.fromkeys(names, "no_times")
    else:
        told["difference"] = after.sample.median - before.sample.median
        if min(before.n, after.n) < _ENOUGH:
            reasons |= dict.fromkeys(names[1:], "insufficient_sample")
        else:
            told |= zip(names[1:], difference_of_medians(before.sample, after.sample), strict=True)
    if not (before.is_told and after.is_told):
        told, reasons = dict.fromkeys(told), dict.fromkeys(told, "too_few_people")
    for prefix, times in (("base_", before), ("", after)):
        still, why = shown_running(*times.running, times.as_of, prefix)
        told, reasons = told | still, reasons | why
    return {"measure": str(name), "clock": clock, **told, "reasons": reasons}
