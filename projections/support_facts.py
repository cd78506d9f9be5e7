"""Facts of support cases that a question selects, and what all reports on such facts have in common."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain.case_facts import FactName
from projections.read_model import Snapshot
from projections.reports import Evidence, Parameter, Parameters, Question, ReportDefinition, Row, Word, next_cursor
from projections.support_selection import (
    COLUMNS,
    Window,
    columns_of,
    condition,
    hides_small_groups,
    read_by,
    read_moment,
    read_where,
    read_window,
    repeated,
    values_of,
)

BASES: Final = {"stopped": "at", "opened": "opened_at"}
"""In which month a time counts, and the column that says so."""
MONTH: Final = "date_trunc('month', {column} AT TIME ZONE %(zone)s)::date"
_SELECTED: Final = """name = ANY(%(names)s) AND {column} >= %(first)s AND {column} < %(end)s
    AND facts.position <= %(position)s
    AND (superseded_at_position IS NULL OR superseded_at_position > %(position)s)"""

FROM: Final = Parameter("from", "First day of the window; absent: from the first fact on.")
TO: Final = Parameter("to", "Day after the last day of the window; absent: without an end.")
BY: Final = Parameter("by", f"Up to two of month, {', '.join(COLUMNS)}, separated by a comma.")
OF_MONTH: Final = Word("month", "Month in which the fact counts, in the zone of the question.")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which times are asked about, and how they are divided."""

    names: tuple[FactName, ...]
    window: Window
    by: tuple[str, ...]
    basis: str
    where: Mapping[str, object]
    as_of: datetime
    hides_small_groups: bool
    """Whether groups behind which too few people stand are not told."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the dimensions."""
        return columns_of(self.by)

    def values(self, snapshot: Snapshot) -> dict[str, object]:
        """What the statements ask with."""
        return {
            "names": [str(name) for name in self.names],
            "first": self.window.starts_at,
            "end": self.window.ends_at,
            "zone": self.window.zone.key,
            "position": snapshot.position,
            "as_of": self.as_of,
            **values_of(self.where),
        }


def selected(selection: Selection) -> str:
    """A condition that picks the facts, known as `facts`."""
    return _SELECTED.replace("{column}", BASES[selection.basis]) + condition(selection.where)


async def count(snapshot: Snapshot, selection: Selection) -> int:
    """How many facts there are in all."""
    values = selection.values(snapshot)
    rows = await snapshot.fetch(
        "SELECT count(*) FROM {facts} facts WHERE {selected}", values, selected=selected(selection)
    )
    return int(rows[0][0])


async def positions(snapshot: Snapshot, selection: Selection, after: int, limit: int) -> list[int]:
    """The positions behind the facts: what started and stopped the clocks, and what made it known last."""
    rows = await snapshot.fetch(
        "SELECT DISTINCT behind.position FROM {facts} facts "
        "CROSS JOIN LATERAL (VALUES (facts.started_by), (facts.ended_by), (facts.position)) behind (position) "
        "WHERE {selected} AND behind.position > %(after)s ORDER BY behind.position LIMIT %(rows)s",
        {**selection.values(snapshot), "after": after, "rows": limit},
        selected=selected(selection),
    )
    return [position for (position,) in rows]


class FactsReport(ABC):
    """A report on facts of a window, by up to two dimensions."""

    definition: ReportDefinition

    @abstractmethod
    def names(self, question: Question) -> tuple[tuple[FactName, ...], Row]:
        """The facts that are asked about, and how that is repeated."""

    def read(
        self, snapshot: Snapshot, parameters: Parameters
    ) -> tuple[Selection, Row, tuple[int, Sequence[str] | None]]:
        """What is asked, how it is repeated, and which page."""
        question, policy = Question(self.definition, parameters), snapshot.policy
        window, where = read_window(question, policy), read_where(question, policy)
        names, said = self.names(question)
        taken = {each.name for each in self.definition.parameters}
        by = read_by(question, policy, ("month",)) if "by" in taken else ()
        as_of = read_moment(question) if "valid_at" in taken else window.ends_at
        selection = Selection(
            names=names,
            window=window,
            by=by,
            basis=str(said.get("basis", "stopped")),
            where=where,
            as_of=as_of,
            hides_small_groups=hides_small_groups(by, where, policy),
        )
        asked = {
            **said,
            "from": window.first,
            "to": window.end,
            **({"by": list(by)} if "by" in taken else {}),
            **({"valid_at": as_of} if "valid_at" in taken else {}),
            **repeated(question, window.zone),
        }
        return selection, asked, question.page(asked)

    async def evidence(self, snapshot: Snapshot, parameters: Parameters) -> Evidence:
        """See `Report.evidence`: what started and stopped the clocks, and what made it known last."""
        selection, asked, _ = self.read(snapshot, parameters)
        limit, last = Question(self.definition, parameters).page(["evidence", asked])
        found = await positions(snapshot, selection, int(last[0]) if last else 0, limit + 1)
        more = next_cursor(snapshot, ["evidence", asked], [(position,) for position in found], limit)
        return Evidence(self.definition, snapshot.position, asked, tuple(found[:limit]), more)
