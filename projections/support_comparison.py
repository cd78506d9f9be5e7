"""Before and after: the response times of two windows, and how sure it is that they differ."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from typing import Final

from domain.case_facts import TIMES, FactName
from projections.read_model import Snapshot
from projections.reports import Parameter, Parameters, Question, ReportAnswer, ReportDefinition, Row, Word
from projections.statistics import MedianRanks, Sample, difference_of_medians, mean
from projections.support_facts import FROM, TO, FactsReport, Selection, count
from projections.support_reports import MEANINGS, MEASURE, USUAL
from projections.support_response_times import NAME, VERSION
from projections.support_selection import (
    PAGING,
    PEOPLE_MIN,
    PEOPLE_RULE,
    REASONS,
    TZ,
    WHERE,
    read_window,
)
from projections.support_tables import CLOCKS, NOBODY, TABLE_OF_TIME

_ENOUGH: Final = 20
"""Of fewer times the spread of their median says nothing."""
_MEASURES: Final = (
    Word("base_n", "How many times there are in the base window.", int),
    Word("base_mean", "Their mean, in microseconds.", int),
    Word("base_median", "Their median.", int),
    Word("n", "How many there are in the window.", int),
    Word("mean", "Their mean.", int),
    Word("median", "Their median.", int),
    Word("difference", "median - base_median: negative where it has become quicker.", int),
    Word("difference_lower", "Lower end of its interval of 95 % (Price and Bonett 2002).", int),
    Word("difference_upper", "Upper end of its interval.", int),
)
_BASE: Final = ("base_from", "base_to")


class SupportComparisonReport(FactsReport):
    """Two windows side by side."""

    definition = ReportDefinition(
        name="support_comparison",
        version=VERSION,
        model=NAME,
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
            WHERE,
            TZ,
            *PAGING,
        ),
        reasons=(
            *REASONS,
            Word("no_times", "There is no time in the window."),
            Word("insufficient_sample", f"There are fewer than {_ENOUGH} times in one of the windows."),
        ),
    )

    def tables(self, question: Question) -> tuple[Sequence[str], Row]:
        """See `FactsReport.tables`."""
        names = question.listed("measure", TIMES, len(TIMES)) or USUAL
        base = {name: question.day(name) for name in _BASE}
        said = {"measure": [str(name) for name in names], **base}
        return [*dict.fromkeys(TABLE_OF_TIME[FactName(name)] for name in names)], said

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """See `Report.run`."""
        selection, asked, _ = self.read(snapshot, parameters)
        question = Question(self.definition, parameters)
        base_window, _ = read_window(question, snapshot.policy, _BASE)
        base = replace(selection, window=base_window)
        rows = []
        for name, clock in product(asked["measure"], CLOCKS):
            before, after = [await _times(snapshot, each, FactName(name), clock) for each in (base, selection)]
            rows.append(_row(name, clock, before, after))
        tables, _ = self.tables(question)
        return ReportAnswer(
            definition=self.definition,
            position=snapshot.position,
            question=asked,
            basis="times that stopped in the windows",
            n=await count(snapshot, selection, tables) + await count(snapshot, base, tables),
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


_SUMS: Final = """
    SELECT count({time}), sum({time}), count(DISTINCT nullif(staff_id, %(nobody)s)) FROM {facts} WHERE {selected}"""
_RANKED: Final = """
    SELECT times[wanted.rank] FROM unnest(%(ranks)s::int[]) WITH ORDINALITY wanted (rank, place)
     CROSS JOIN (SELECT array_agg({time} ORDER BY {time}) AS times FROM {facts}
                  WHERE {selected} AND {time} IS NOT NULL) sample ORDER BY place"""


async def _times(snapshot: Snapshot, selection: Selection, name: FactName, clock: str) -> _Times:
    fragments = {
        "time": f"{name}_{clock}",
        "facts": snapshot.tables[TABLE_OF_TIME[name]],
        "selected": selection.condition,
    }
    values = {**selection.values(snapshot), "nobody": NOBODY}
    ((n, total, people),) = await snapshot.fetch(_SUMS, values, **fragments)
    is_told = people >= PEOPLE_MIN or not selection.hides_small_groups
    if not n:
        return _Times(0, 0, is_told, None)
    ranks = MedianRanks.of(n)
    rows = await snapshot.fetch(_RANKED, {**values, "ranks": list(ranks.ranks)}, **fragments)
    return _Times(n, int(total), is_told, Sample(ranks, [time for (time,) in rows]))


def _row(name: str, clock: str, before: _Times, after: _Times) -> Row:
    told: dict[str, object] = {}
    reasons: dict[str, str] = {}
    for prefix, times in (("base_", before), ("", after)):
        told[f"{prefix}n"] = times.n
        told[f"{prefix}mean"] = mean(times.total, times.n) if times.n else None
        told[f"{prefix}median"] = times.sample.median if times.sample else None
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
    return {"measure": name, "clock": clock, **told, "reasons": reasons}
