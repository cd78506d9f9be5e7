"""The tables of support response times: one for each kind of fact, one for phases, and sums of times.

A fact has a column for each of its times and clocks. So that percentiles are found quickly, the times that are asked
for most are also put into *buckets*: a bucket holds times that differ by less than a 64th. A roll-up counts the
times of each bucket. Whoever looks for a percentile learns from it in which bucket it is, and looks at the facts of
that one.
"""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from domain.case_facts import JUDGEMENTS_OF, TIMES_OF, FactKind, FactName
from domain.case_figures import OTHER_RULES, BusinessRule
from domain.case_phases import Clock
from domain.case_status import CaseStatus
from domain.case_timeline import Reason
from projections.read_model import Table
from projections.rollups import RollUp

NOBODY: Final = UUID(int=0)
"""Stands for a customer, product, team or person that there is none of, so that every dimension has a value."""
NONE: Final = ""
"""Stands for a category or a reason that there is none of, and for nothing that is waited for."""
BUSINESS: Final = "business"
CLOCKS: Final = ("calendar", BUSINESS)

_TEXT: Final = 'text COLLATE "C"'
DIMENSIONS: Final[Mapping[str, str]] = {
    "kind": _TEXT,
    "channel": _TEXT,
    "customer_id": "uuid",
    "priority": _TEXT,
    "category": _TEXT,
    "product_id": "uuid",
    "team_id": "uuid",
    "staff_id": "uuid",
}
"""The columns that cases are counted by, with their types."""
_KNOWN: Final = """
    position               bigint NOT NULL,  -- known from here
    superseded_at_position bigint,           -- until but without this one
"""
_COUNTED_BY: Final = ", ".join(
    [
        "case_id uuid NOT NULL",
        "opened_at timestamptz NOT NULL",
        "opened_by bigint NOT NULL",
        *(f"{name} {kind} NOT NULL" for name, kind in DIMENSIONS.items()),
    ]
)
_COUNTED_BY_COLUMNS: Final = ("case_id", "opened_at", "opened_by", *DIMENSIONS)

TABLES: Final[Mapping[FactKind, str]] = {
    FactKind.FIRST_RESPONSE: "first_responses",
    FactKind.ZENDESK_RESPONSE: "zendesk_responses",
    FactKind.NEXT_RESPONSE: "next_responses",
    FactKind.RESOLUTION: "resolutions",
    FactKind.REOPENING: "reopenings",
    FactKind.FURTHER_RESOLUTION: "further_resolutions",
    FactKind.ENDING: "endings",
    FactKind.CLOSING: "closings",
    FactKind.INVITATION: "invitations",
    FactKind.ANSWER: "answers",
}
"""Where the facts of each kind are."""
TABLE_OF_TIME: Final = {name: TABLES[kind] for kind, names in TIMES_OF.items() for name in names}
TABLE_OF_JUDGEMENT: Final = {name: TABLES[kind] for kind, names in JUDGEMENTS_OF.items() for name in names}
BUCKETED: Final = (
    FactName.FIRST_RESPONSE,
    FactName.NEXT_RESPONSE,
    FactName.FIRST_RESOLUTION,
    FactName.FULL_RESOLUTION,
)
"""The times that are put into buckets."""
NO_BUCKET: Final = -1
"""Stands for the bucket of a time that there is none of, or that is not put into one."""
_SCALED: Final = frozenset({FactKind.INVITATION, FactKind.ANSWER})

_STEPS: Final = 64
"""Buckets for each doubling of a time."""
_EXACT: Final = 2 * _STEPS
"""Times below this have a bucket of their own."""


def bucket(time: int) -> int:
    """The bucket of a time in microseconds; larger times are in larger buckets, or in the same one."""
    if time < 0:  # a source may say that a case was resolved before it was opened
        return NO_BUCKET - 1 - bucket(-time)
    if time < _EXACT:
        return time
    shift = time.bit_length() - _EXACT.bit_length() + 1
    return shift * _STEPS + (time >> shift)


def only_time(bucket: int) -> int | None:
    """The time of a bucket that holds no others."""
    return bucket if 0 <= bucket < _EXACT else None


def _columns_of_facts(kind: FactKind) -> list[tuple[str, str]]:
    """The columns of the facts of a kind beside those that all have, with their types."""
    columns = []
    for name in TIMES_OF.get(kind, ()):
        columns += [(f"{name}_{clock}", "bigint") for clock in CLOCKS]  # microseconds
        columns += [(f"{name}_{rule}", "bigint") for rule in OTHER_RULES]  # only where it is not the business time
        columns += [(f"{name}_{clock}_bucket", "smallint NOT NULL") for clock in CLOCKS if name in BUCKETED]
    for name in JUDGEMENTS_OF.get(kind, ()):
        columns += [(str(name), "boolean"), (f"{name}_settled_at", "timestamptz")]
    if kind in TIMES_OF:
        columns.append(("reason", f"{_TEXT} NOT NULL"))
    if kind in _SCALED:
        columns.append(("scale", f"{_TEXT} NOT NULL"))
    if kind is FactKind.ANSWER:
        columns.append(("score", "integer NOT NULL"))
    return columns


FACT_COLUMNS: Final[Mapping[FactKind, str]] = {
    kind: ", ".join(
        (
            *("position", "superseded_at_position", *_COUNTED_BY_COLUMNS),
            *("number", "at", "day", "month", "started_by", "ended_by"),
            *(name for name, _ in _columns_of_facts(kind)),
        )
    )
    for kind in TABLES
}
"""The columns of the facts of each kind, in the order in which lines have them."""
PHASE_COLUMNS: Final = ", ".join(
    (
        *("position", "superseded_at_position", *_COUNTED_BY_COLUMNS),
        *("since", "until", "status", "awaited", "waiting_since", "waiting_by"),
        *(f"{clock}_{what}" for clock in Clock for what in ("since", "by")),
    )
)


def _fact_table(kind: FactKind) -> Table:
    buckets = [name for name, _ in _columns_of_facts(kind) if name.endswith("_bucket")]
    return Table(
        TABLES[kind],
        f"""{_KNOWN} {_COUNTED_BY},
        number     integer NOT NULL,      -- which of its kind in the case
        at         timestamptz NOT NULL,  -- when it counts
        day        date NOT NULL,         -- the local date of that in the zone of the tenant
        month      date NOT NULL,         -- its first day
        started_by bigint NOT NULL,       -- positions of the events that started and stopped the clocks
        ended_by   bigint NOT NULL
        """
        + "".join(f", {name} {kind}" for name, kind in _columns_of_facts(kind)),
        ("position", "case_id", "number"),
        enforced=False,
        indexes=(
            "(position)",
            "(superseded_at_position) WHERE superseded_at_position IS NOT NULL",
            "(case_id) WHERE superseded_at_position IS NULL",
            "(customer_id, at)",
            "USING brin (at) WITH (pages_per_range = 32, autosummarize = on)",
            *(f"({name}, month)" for name in buckets),
        ),
    )


PHASES: Final = Table(
    "phases",
    f"""{_KNOWN} {_COUNTED_BY},
    since         timestamptz NOT NULL,
    until         timestamptz NOT NULL,  -- infinity: it still lasts
    status        {_TEXT} NOT NULL,
    awaited       {_TEXT} NOT NULL,
    waiting_since timestamptz,
    waiting_by    bigint,                -- position of the message that is waiting for a reply
    -- since when clocks have been running, and the position of the event that started them
    """
    + ", ".join(f"{clock}_since timestamptz, {clock}_by bigint" for clock in Clock),
    ("position", "case_id", "since"),
    enforced=False,
    indexes=(
        # Those of `open_phases`, one for each of its parts.
        "(since) WHERE superseded_at_position IS NULL AND until = 'infinity'",
        "USING gist (tstzrange(since, until)) WHERE superseded_at_position IS NULL AND until < 'infinity'",
        "USING gist (int8range(position, superseded_at_position)) WHERE superseded_at_position IS NOT NULL",
        "(case_id) WHERE superseded_at_position IS NULL",
        "(customer_id)",
    ),
)
RUNNING_PHASES: Final = """(
    SELECT * FROM {phases} WHERE superseded_at_position IS NULL AND until = 'infinity'
       AND since <= %(as_of)s AND position <= %(position)s
    UNION ALL
    SELECT * FROM {phases} WHERE superseded_at_position IS NULL AND until < 'infinity'
       AND tstzrange(since, until) @> %(as_of)s::timestamptz AND position <= %(position)s
    UNION ALL
    SELECT * FROM {phases} WHERE superseded_at_position IS NOT NULL
       AND int8range(position, superseded_at_position) @> %(position)s::bigint
       AND since <= %(as_of)s AND until > %(as_of)s
) phases"""
"""The phases that lasted at an instant, as known at a position: those that still are known to last, those that are
known to have ended since, and those that were known then and are superseded by now. Of each there are few."""
OPEN_PHASES: Final = f"(SELECT * FROM {RUNNING_PHASES} WHERE status <> '{CaseStatus.MERGED}') phases"
"""Those in which the case itself was active, and not only a clock of it ran on in another one."""
ENTRIES: Final = Table(
    "entries",
    f"""
    position    bigint NOT NULL,
    case_id     uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    kind        {_TEXT} NOT NULL,
    calendar_id uuid,
    event       {_TEXT} NOT NULL
    """,
    ("position",),
    indexes=("(case_id)", "(calendar_id, case_id) WHERE calendar_id IS NOT NULL"),
)
CASES: Final = Table(
    "cases", f"case_id uuid NOT NULL, case_number {_TEXT} NOT NULL, position bigint NOT NULL", ("case_id",)
)
CALENDARS: Final = Table(
    "calendars",
    f"""
    position       bigint NOT NULL,
    calendar_id    uuid NOT NULL,
    effective_from timestamptz,
    effective_to   timestamptz,
    hours          {_TEXT} NOT NULL
    """,
    ("position",),
)
FACTS: Final = tuple(_fact_table(kind) for kind in TABLES)


def figures_of(name: FactName, table: str, rule: str) -> list[str]:
    """The columns of a table of facts that say what is told of a measure."""
    if TABLE_OF_TIME.get(name) == table:
        of_rule = [f"{name}_{rule}"] if rule in OTHER_RULES else []
        return [*(f"{name}_{clock}" for clock in CLOCKS), *of_rule, "reason"]
    if TABLE_OF_JUDGEMENT.get(name) == table:
        is_timed = any(table == TABLES[kind] for kind in TIMES_OF)
        return [str(name), f"{name}_settled_at", *(["reason"] if is_timed else [])]
    return []


# Sums


def time_of(name: FactName, clock: str, rule: str) -> str:
    """An expression: the time of a measure by a clock; `rule` says by which calendars business time is counted."""
    column = f"{name}_{clock}"
    return f"coalesce({name}_{rule}, {column})" if clock == BUSINESS and rule in OTHER_RULES else column


def bucket_of(name: FactName, clock: str, rule: str) -> str:
    """An expression: the bucket of that time, if it is put into one."""
    is_bucketed = name in BUCKETED and not (clock == BUSINESS and rule in OTHER_RULES)
    return f"{name}_{clock}_bucket" if is_bucketed else f"{NO_BUCKET}::smallint"


def why_not(name: FactName, time: str) -> str:
    """An expression: why there is no time of a measure, where that is null; `time` is its column of one clock."""
    return (
        f"CASE WHEN {time} IS NOT NULL THEN '{NONE}' WHEN {name}_calendar IS NOT NULL THEN '{Reason.NO_CALENDAR}' "
        f"WHEN reason = '{NONE}' THEN '{Reason.NO_TURN}' ELSE reason END"
    )


def times_of(name: FactName, rule: str = BusinessRule.INTEGRATE) -> str:
    """A query: the times of one measure, a row for each clock; `rule` says how business time is counted."""
    clocks = ", ".join(f"('{clock}', {time_of(name, clock, rule)}, {bucket_of(name, clock, rule)})" for clock in CLOCKS)
    return f"""
        SELECT position, superseded_at_position, at, opened_at, day, month, {", ".join(DIMENSIONS)},
               '{name}' AS measure, clock, coalesce(bucket, {NO_BUCKET}) AS bucket, time,
               {why_not(name, "time")} AS reason,
               CASE WHEN reason = 'answered_live' THEN 1 ELSE 0 END AS live
          FROM {{{TABLE_OF_TIME[name]}}} CROSS JOIN LATERAL (VALUES {clocks}) clocks (clock, time, bucket)"""


TIMES: Final = "(" + " UNION ALL ".join(times_of(name) for name in TABLE_OF_TIME) + ") times"
"""All times, each with its measure and clock: what roll-ups are sums of."""
_ROLLED_UP: Final = {"measure": _TEXT, "clock": _TEXT, "bucket": "smallint", "reason": _TEXT}
_SUMS: Final = {
    "facts": "1",
    "n": "CASE WHEN time IS NULL THEN 0 ELSE 1 END",
    "total": "coalesce(time, 0)",
    "answered_live": "live",
}
_LEVELS: Final = (14, 17, 20, 23, 26)
"""Blocks of 2^14 positions and more: smaller ones have hardly fewer sums than facts."""


def _by(*columns: str, within: RollUp | None = None) -> RollUp:
    return RollUp(
        name="_by_".join(("times", *columns)),
        facts=TIMES,
        day="day",
        dimensions={**_ROLLED_UP, **{column: DIMENSIONS[column] for column in columns}},
        measures=_SUMS,
        counts=frozenset(_SUMS) - {"total"},
        indexes=("(measure, level, block, period)",),
        within=within,
        levels=_LEVELS,
    )


_BY_KIND: Final = _by("kind")
TIMES_BY: Final[Mapping[tuple[str, ...], RollUp]] = {
    (): _by(within=_BY_KIND),
    ("kind",): _BY_KIND,
    ("channel",): _by("channel"),
    ("priority",): _by("priority"),
    ("category",): _by("category"),
}
"""Sums of times, by the columns that they are divided by."""
ROLL_UPS: Final = (_BY_KIND, *(roll_up for roll_up in TIMES_BY.values() if roll_up is not _BY_KIND))
"""All of them, each after those that it is made of."""
