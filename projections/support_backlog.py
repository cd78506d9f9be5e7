"""The backlog: how many cases were open at an instant, and for how long the oldest had been."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from domain.case_status import CaseStatus
from projections.read_model import Snapshot
from projections.reports import (
    Evidence,
    Parameter,
    Parameters,
    Question,
    ReportAnswer,
    ReportDefinition,
    Row,
    Word,
    next_cursor,
)
from projections.support_response_times import NAME, VERSION, WITHDRAWN
from projections.support_selection import (
    COLUMNS,
    DIMENSIONS,
    PAGING,
    REASONS,
    after_row,
    ask_alone,
    columns_of,
    condition,
    microseconds_between,
    read_by,
    read_moment,
    read_where,
    shown_keys,
    values_of,
    where_of,
)
from projections.support_tables import OPEN_PHASES

_MEASURES: Final = (
    Word("open", "How many cases were new, open, waiting for the customer or on hold.", int),
    Word("awaiting_reply", "In how many of them the customer waited for a reply.", int),
    Word("opened_first", "When the oldest of them was opened.", datetime),
    Word("oldest_age", "How long that was before, in calendar time, in microseconds.", int),
    Word("waiting_since", "Since when a customer had waited longest for a reply.", datetime),
    Word("longest_wait", "How long that was, in calendar time, in microseconds.", int),
)
_COLUMNS: Final = {"status": "status", **COLUMNS}
"""By what open cases can be counted, and its column."""
_GROUPS: Final = """
    SELECT {columns} count(*), count(waiting_since), min(opened_at), min(waiting_since)
      FROM {open_phases} WHERE true{where} {grouped}"""


class SupportBacklogReport:
    """Open cases at an instant, by up to two dimensions."""

    definition = ReportDefinition(
        name="support_backlog",
        version=VERSION,
        withdrawn=WITHDRAWN,
        model=NAME,
        moment="valid_at",
        title="Support backlog",
        meaning="How many cases were open at an instant, and for how long.",
        rules=(
            "A case is open while somebody has yet to do something, so not when it is resolved or has ended otherwise.",
            "Cases count for the priority, category, product, team and assignee that they had at that instant.",
            "Figures by owner or by team are told only where the setting agent_reports allows it.",
        ),
        dimensions=(Word("status", "The state of the case at that instant.", values=tuple(CaseStatus)), *DIMENSIONS),
        measures=_MEASURES,
        parameters=(
            Parameter("valid_at", "The instant; absent: now, or `known_at`.", value=datetime),
            Parameter(
                "by",
                f"Up to two of {', '.join(_COLUMNS)}, separated by a comma.",
                listed=tuple(_COLUMNS),
            ),
            where_of(*_COLUMNS),
            *PAGING,
        ),
        reasons=(*REASONS, Word("nothing_open", "No case was open."), Word("nothing_awaited", "Nobody waited.")),
    )

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """See `Report.run`."""
        asked, values, where = self._read(snapshot, parameters)
        by, columns = asked["by"], columns_of(asked["by"])
        limit, last = Question(self.definition, parameters).page(asked)
        after, beyond = after_row(columns, last)
        keys = ", ".join(columns)
        await ask_alone(snapshot)
        where_open = {"open_phases": OPEN_PHASES, "where": condition(where)}
        whole = await snapshot.fetch(_GROUPS, values, columns="", grouped="", **where_open)
        rows = whole
        if by:
            rows = await snapshot.fetch(
                f"SELECT * FROM ({{groups}}) sums WHERE {{after}} ORDER BY {keys} LIMIT %(rows)s",
                {**values, **beyond, "rows": limit + 1},
                groups=_GROUPS,
                columns=f"{keys}, ",
                grouped=f"GROUP BY {keys}",
                after=after,
                **where_open,
            )
        return ReportAnswer(
            definition=self.definition,
            position=snapshot.position,
            question=asked,
            basis="cases that were open at valid_at",
            n=whole[0][0],
            columns=(*by, *(word.name for word in _MEASURES)),
            rows=tuple(_row(by, row, asked["valid_at"]) for row in rows[:limit]),
            total=_row((), whole[0], asked["valid_at"]),
            next_cursor=next_cursor(snapshot, asked, [row[: len(by)] for row in rows], limit),
        )

    async def evidence(self, snapshot: Snapshot, parameters: Parameters) -> Evidence:
        """See `Report.evidence`: the openings of the cases, and what was said about them last."""
        asked, values, where = self._read(snapshot, parameters)
        limit, last = Question(self.definition, parameters).page(["evidence", asked])
        await ask_alone(snapshot)
        rows = await snapshot.fetch(
            "SELECT DISTINCT position FROM (SELECT unnest(ARRAY[opened_by, position]) AS position "
            "FROM {open_phases} WHERE true{where}) behind WHERE position > %(after)s ORDER BY position LIMIT %(rows)s",
            {**values, "after": int(last[0]) if last else 0, "rows": limit + 1},
            open_phases=OPEN_PHASES,
            where=condition(where),
        )
        more = next_cursor(snapshot, ["evidence", asked], rows, limit)
        return Evidence(self.definition, snapshot.position, asked, tuple(each for (each,) in rows[:limit]), more)

    def _read(
        self, snapshot: Snapshot, parameters: Parameters
    ) -> tuple[Mapping[str, Any], dict[str, object], Mapping[str, object]]:
        """How the question is repeated, what the statements ask with, and which columns have to have a value."""
        question, policy = Question(self.definition, parameters), snapshot.policy
        moment, where = read_moment(question), read_where(question, policy, _COLUMNS)
        by = read_by(question, policy, ("status",))
        asked = {"valid_at": moment, "by": list(by), "where": sorted(question.many("where"))}
        return asked, {"as_of": moment, "position": snapshot.position, **values_of(where)}, where


def _row(by: Sequence[str], row: Sequence[Any], as_of: datetime) -> Row:
    keys, reasons = shown_keys(by, row[: len(by)])
    count, awaiting, opened_first, waiting_since = row[len(by) :]
    if opened_first is None:
        reasons |= dict.fromkeys(("opened_first", "oldest_age"), "nothing_open")
    if waiting_since is None:
        reasons |= dict.fromkeys(("waiting_since", "longest_wait"), "nothing_awaited")
    return {
        **keys,
        "open": count,
        "awaiting_reply": awaiting,
        "opened_first": opened_first and opened_first.astimezone(UTC),
        "oldest_age": opened_first and microseconds_between(opened_first, as_of),
        "waiting_since": waiting_since and waiting_since.astimezone(UTC),
        "longest_wait": waiting_since and microseconds_between(waiting_since, as_of),
        "reasons": reasons,
    }
