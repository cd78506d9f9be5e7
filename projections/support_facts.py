"""Facts of support cases that a question selects, and what all reports on such facts have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from domain.case_figures import BusinessRule
from domain.case_timeline import Reason
from domain.values import immutable
from projections.read_model import Snapshot
from projections.reports import Evidence, Parameter, Parameters, Question, ReportDefinition, Row, Word, next_cursor
from projections.support_selection import (
    COLUMNS,
    LocalWindow,
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

BASES: Final = {"event": "at", "opened": "opened_at"}
"""In which month a fact counts, and the column that says so."""
FROM: Final = Parameter("from", "First day of the window; absent: from the first fact on.", value=date)
TO: Final = Parameter("to", "Day after the last day of the window; absent: without an end.", value=date)
BY: Final = Parameter(
    "by", f"Up to two of month, {', '.join(COLUMNS)}, separated by a comma.", listed=("month", *COLUMNS)
)
OF_MONTH: Final = Word("month", "Month in which the fact counts, in the zone of the question.")
VISIBLE: Final = (
    "position <= %(position)s AND (superseded_at_position IS NULL OR superseded_at_position > %(position)s)"
)
"""Which facts are known at a position."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which facts are asked about, and how they are divided."""

    window: LocalWindow
    by: tuple[str, ...]
    basis: str
    where: Mapping[str, object]
    as_of: datetime
    valid_at: datetime
    """What happened from this instant on had not happened yet."""
    has_own_days: bool
    """Whether its days and months are those of the tenant's zone, which facts have at hand."""
    hides_small_groups: bool
    """Whether groups behind which too few people stand are not told."""
    business_rule: str = BusinessRule.INTEGRATE
    """By which calendars business time is counted."""
    only: str = ""
    """A further condition on facts, beginning with AND."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the dimensions."""
        return columns_of(self.by)

    @property
    def instant(self) -> str:
        """The column that says when a fact counts."""
        return BASES[self.basis]

    @property
    def month(self) -> str:
        """The month in which it counts, if facts are divided by that."""
        if "month" not in self.by:
            return "NULL::date"
        if self.has_own_days and self.basis == "event":
            return "month"
        return f"date_trunc('month', {self.instant} AT TIME ZONE %(zone)s)::date"

    @property
    def condition(self) -> str:
        """A condition that picks facts."""
        happened = " AND at < %(valid_at)s" if self.basis == "opened" else ""
        return (
            f"{VISIBLE} AND {self.instant} >= %(first)s AND {self.instant} < %(end)s{happened}"
            f"{condition(self.where)}{self.only}"
        )

    def values(self, snapshot: Snapshot) -> dict[str, object]:
        """What statements ask with."""
        return {
            "first": self.window.starts_at,
            "end": self.window.ends_at,
            "zone": self.window.zone.key,
            "position": snapshot.position,
            "as_of": self.as_of,
            "valid_at": self.valid_at,
            **values_of(self.where),
        }


@immutable
class Excluded:
    """How many are left out for a reason."""

    reason: Reason
    n: int


def shown_excluded(excluded: Mapping[str, int]) -> list[dict[str, object]]:
    """How many are left out, by reason, as it is shown."""
    return [{"reason": reason, "n": excluded[reason]} for reason in sorted(excluded)]


async def count(snapshot: Snapshot, selection: Selection, tables: Sequence[str]) -> int:
    """How many facts there are in these tables."""
    if not tables:
        return 0
    counts = " UNION ALL ".join(f"SELECT count(*) AS n FROM {{{table}}} WHERE {{selected}}" for table in tables)
    rows = await snapshot.fetch(
        f"SELECT sum(n)::bigint FROM ({counts}) counts", selection.values(snapshot), selected=selection.condition
    )
    return int(rows[0][0])


class FactsReport(ABC):
    """A report on facts of a window, by up to two dimensions."""

    definition: ReportDefinition

    @abstractmethod
    def tables(self, question: Question) -> tuple[Sequence[str], Row]:
        """The tables of the facts that are asked about, each once, and how what was asked is repeated."""

    def only(self, _question: Question) -> str:
        """A further condition on the facts, beginning with AND."""
        return ""

    def read(
        self, snapshot: Snapshot, parameters: Parameters
    ) -> tuple[Selection, dict[str, Any], tuple[int, Sequence[str] | None]]:
        """What is asked, how it is repeated, and which page."""
        question, policy = Question(self.definition, parameters), snapshot.policy
        (window, days), where = read_window(question, policy), read_where(question, policy)
        taken = {each.name for each in self.definition.parameters}
        by = read_by(question, policy, ("month",)) if "by" in taken else ()
        as_of = read_moment(question) if "valid_at" in taken else window.ends_at
        _, said = self.tables(question)
        selection = Selection(
            window=window.up_to(as_of),
            by=by,
            basis=str(said.get("basis", "event")),
            where=where,
            as_of=as_of,
            valid_at=as_of,
            has_own_days=window.zone.key == policy.time_zone,
            hides_small_groups=hides_small_groups(by, where, policy),
            business_rule=str(said.get("business_rule", BusinessRule.INTEGRATE)),
            only=self.only(question),
        )
        asked = {
            **said,
            **days,
            **({"by": list(by)} if "by" in taken else {}),
            **({"valid_at": as_of} if "valid_at" in taken else {}),
            **repeated(question, window.zone),
        }
        return selection, asked, question.page(asked)

    async def evidence(self, snapshot: Snapshot, parameters: Parameters) -> Evidence:
        """See `Report.evidence`: what started and stopped the clocks, and what made it known last."""
        _, asked, _ = self.read(snapshot, parameters)
        question = Question(self.definition, parameters)
        limit, last = question.page(["evidence", asked])
        found: set[int] = set()
        for selection in self.selections(snapshot, parameters):
            rows = await snapshot.fetch(
                f"SELECT DISTINCT position FROM ({' UNION ALL '.join(self.behind(selection, question))}) behind "
                "WHERE position > %(after)s ORDER BY position LIMIT %(rows)s",
                {**selection.values(snapshot), "after": int(last[0]) if last else 0, "rows": limit + 1},
            )
            found.update(position for (position,) in rows)
        positions = sorted(found)
        more = next_cursor(snapshot, ["evidence", asked], [(position,) for position in positions[: limit + 1]], limit)
        return Evidence(self.definition, snapshot.position, asked, tuple(positions[:limit]), more)

    def selections(self, snapshot: Snapshot, parameters: Parameters) -> Sequence[Selection]:
        """The facts that the figures are of; several times, where windows are compared."""
        selection, _, _ = self.read(snapshot, parameters)
        return (selection,)

    def behind(self, selection: Selection, question: Question) -> Iterator[str]:
        """Queries of the positions behind the figures of a selection."""
        tables, _ = self.tables(question)
        for table in tables:
            yield (
                f"SELECT unnest(ARRAY[started_by, ended_by, position]) AS position FROM {{{table}}} "
                f"WHERE {selection.condition}"
            )
