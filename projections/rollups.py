"""Roll-ups: sums kept as signed deltas of the log's positions, so that a statistic at any position reads few rows.

The positions of the log are divided into *blocks*. For each complete block a roll-up has, for each period (a month or a
day of valid time) and each value of its dimensions, what the block changed: what its facts add, less what facts
superseded in the block had added. Rows are inserted when a block is complete and never updated. Eight blocks merge into
one of the next level, and so on, so that any position is the sum of a few whole blocks of each level and of the facts
after the last of them:

    facts at P = blocks of 2^26 + … + blocks of 2^14 + blocks of 2^11 + facts since

The earliest and the latest day of a group cannot be subtracted. They are kept beside the sums, over the added facts
alone, and are exact where nothing was superseded; `superseded` says where a query has to look at the facts instead.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from projections.read_model import Page, Table, Tables

LEVELS = (11, 14, 17, 20, 23, 26)
"""Blocks of 2^11 positions and more: with ten facts for each event, at most twenty thousand facts come after the last
block and are summed in some 5 ms. Of each level at most seven blocks are read; of the last one more in logs of more
than half a billion events."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Consecutive blocks of one level: `first` and on, up to but without `end`."""

    level: int
    first: int
    end: int


def cover(position: int, levels: Sequence[int]) -> tuple[tuple[Blocks, ...], int]:
    """The fewest whole blocks up to a position, and the first position after them."""
    blocks: list[Blocks] = []
    start = 0
    for level in reversed(levels):
        end = (position + 1) >> level
        if end > start >> level:
            blocks.append(Blocks(level, start >> level, end))
            start = end << level
    return tuple(blocks), start


def completed(after: int, upto: int, levels: Sequence[int]) -> Iterator[Blocks]:
    """The blocks of each level, lowest first, whose last position is after `after` and not after `upto`."""
    for level in levels:
        first, end = (after + 1) >> level, (upto + 1) >> level
        if end > first:
            yield Blocks(level, first, end)


@dataclass(frozen=True, slots=True)
class RollUp:
    """The sums of one table of facts by period and by some of its columns.

    A fact has `position`, `superseded_at_position`, the date column `day` and `month`, the first day of its month.
    """

    name: str
    facts: str
    """The table of the facts, or a query in parentheses that makes them of several."""
    day: str
    dimensions: Mapping[str, str]
    """Columns that it is divided by, with their types; never null."""
    measures: Mapping[str, str]
    """What is summed: the name, and the expression over one fact, an integer or numeric and never null."""
    counts: frozenset[str] = frozenset()
    """Those of them whose sums are 64-bit integers: they are added in half of the time."""
    indexes: tuple[str, ...] = ()
    within: "RollUp | None" = None
    """A finer roll-up of the same facts and measures, where there is one: it has far fewer rows to sum than facts."""
    daily: bool = False
    """Its periods are days; else months."""
    levels: tuple[int, ...] = LEVELS
    """Where groups are as many as events, small blocks save nothing."""

    def source(self, tables: Tables) -> str:
        """What the facts are selected from."""
        return self.facts if self.facts.startswith("(") else tables[self.facts]

    def table(self) -> Table:
        """The table that it is kept in."""
        columns = [
            "level smallint NOT NULL",
            "block bigint NOT NULL",
            "period date NOT NULL",
            *(f"{name} {kind} NOT NULL" for name, kind in self.dimensions.items()),
            *(f"{name} {'bigint' if name in self.counts else 'numeric'} NOT NULL" for name in self.measures),
            "superseded bigint NOT NULL",
            "first_day date",
            "last_day date",
        ]
        key = ("level", "block", "period", *self.dimensions)
        return Table(
            self.name, ", ".join(columns), key, enforced=False, indexes=("(level, block, period)", *self.indexes)
        )

    def advance(self, page: Page) -> None:
        """Add the rows of the blocks that are complete with this page; its facts are in their table already."""
        for blocks in completed(page.after, page.upto, self.levels):
            for block in range(blocks.first, blocks.end):
                self._add(page, blocks.level, block)

    def _add(self, page: Page, level: int, block: int) -> None:
        if level > self.levels[0]:
            lower = self.levels[self.levels.index(level) - 1]
            shift = level - lower
            self._merge(page, self, Blocks(lower, block << shift, (block + 1) << shift), level, block)
        elif self.within is not None:
            self._merge(page, self.within, Blocks(level, block, block + 1), level, block)
        else:
            self._sum(page, level, block)

    def _sum(self, page: Page, level: int, block: int) -> None:
        first, end = block << level, (block + 1) << level
        replaced = page.execute(
            "SELECT FROM {facts} WHERE superseded_at_position >= %s AND superseded_at_position < %s LIMIT 1",
            [first, end],
            facts=self.source(page.tables),
        ).fetchone()
        self._insert(
            page,
            level,
            block,
            _ADDED if replaced is None else _CHANGED,
            {"first": first, "end": end},
            facts=self.source(page.tables),
            period=self.day if self.daily else "month",
            day=self.day,
            sums=_list(f"sum({measure})" for measure in self.measures.values()),
            named_sums=_list(f"sum({measure}) AS {name}" for name, measure in self.measures.items()),
            losses=_list(f"-sum({measure})" for measure in self.measures.values()),
            totals=_list(f"sum({name})" for name in self.measures),
        )

    def _merge(self, page: Page, source: "RollUp", blocks: Blocks, level: int, block: int) -> None:
        self._insert(
            page,
            level,
            block,
            _MERGED,
            {"lower": blocks.level, "first": blocks.first, "end": blocks.end},
            source=page.tables[source.name],
            period="date_trunc('month', period::timestamp)::date" if source.daily and not self.daily else "period",
            totals=_list(f"sum({name})" for name in self.measures),
        )

    def _insert(
        self, page: Page, level: int, block: int, rows: str, values: Mapping[str, object], **fragments: str
    ) -> None:
        page.execute(
            "INSERT INTO {rollup} (level, block, period, {dimensions}, {names}, superseded, first_day, last_day) "
            "{rows}",
            {"level": level, "block": block, **values},
            rollup=page.tables[self.name],
            rows=rows,
            dimensions=_list(self.dimensions),
            names=_list(self.measures),
            **fragments,
        )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


_ADDED = """
    SELECT %(level)s, %(block)s, {period}, {dimensions}, {sums}, 0, min({day}), max({day})
      FROM {facts} WHERE position >= %(first)s AND position < %(end)s GROUP BY {period}, {dimensions}
"""
_CHANGED = """
    SELECT %(level)s, %(block)s, period, {dimensions}, {totals}, sum(superseded), min(first_day), max(last_day) FROM (
        SELECT {period} AS period, {dimensions}, {named_sums}, 0 AS superseded,
               min({day}) AS first_day, max({day}) AS last_day
          FROM {facts} WHERE position >= %(first)s AND position < %(end)s GROUP BY {period}, {dimensions}
        UNION ALL
        SELECT {period}, {dimensions}, {losses}, count(*), NULL, NULL
          FROM {facts} WHERE superseded_at_position >= %(first)s AND superseded_at_position < %(end)s
         GROUP BY {period}, {dimensions}
    ) changes GROUP BY period, {dimensions}
"""
_MERGED = """
    SELECT %(level)s, %(block)s, {period}, {dimensions}, {totals}, sum(superseded), min(first_day), max(last_day)
      FROM {source} WHERE level = %(lower)s AND block >= %(first)s AND block < %(end)s GROUP BY {period}, {dimensions}
"""


def covered(blocks: Sequence[Blocks]) -> str:
    """A condition that picks the rows of these blocks."""
    picked = (f"level = {each.level} AND block >= {each.first} AND block < {each.end}" for each in blocks)
    return "(" + " OR ".join(picked) + ")" if blocks else "false"
