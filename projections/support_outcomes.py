"""How cases were resolved, and what customers said about it: rates, each with its interval, of cases or of answers."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from domain.case_events import SatisfactionScale
from domain.case_facts import TIMES, TIMES_OF, FactKind, FactName
from domain.case_figures import WINDOW_DAYS
from domain.case_timeline import Reason
from projections.read_model import Snapshot
from projections.reports import Parameter, Parameters, Question, ReportAnswer, ReportDefinition, Row, Word, next_cursor
from projections.reports import ratio as share
from projections.statistics import wilson
from projections.support_facts import BY, FROM, OF_MONTH, TO, Excluded, FactsReport, Selection, count, shown_excluded
from projections.support_response_times import NAME, VERSION, WITHDRAWN
from projections.support_selection import (
    DIMENSIONS,
    PAGING,
    PEOPLE_MIN,
    PEOPLE_RULE,
    REASONS,
    TZ,
    WHERE,
    after_row,
    shown_keys,
)
from projections.support_tables import NOBODY, NONE, TABLE_OF_JUDGEMENT, TABLE_OF_TIME, TABLES
from projections.support_times import count_facts

_VALID_AT: Final = Parameter("valid_at", "Instant as of which is judged; absent: now, or `known_at`.", value=datetime)
_TOO_FEW: Final = "too_few_people"
_GROUPS: Final = """
    SELECT {keys}, {people}, {sums}
      FROM ({facts}) facts GROUP BY {keys}"""


class _Sums(NamedTuple):
    """What is summed."""

    facts: Sequence[str]
    """Queries of rows with what they are `called`, their dimensions, and what the sums are of."""
    sums: Sequence[str]
    tallies: Mapping[str, str] = MappingProxyType({})
    """Other queries, which those of the facts name."""


async def _groups(
    snapshot: Snapshot, selection: Selection, asked: _Sums, page: tuple[int, Sequence[str] | None]
) -> list[tuple[Any, ...]]:
    """Sums of the groups of a page: the keys, how many people stand behind them where that matters, and the sums.

    There is one more if there are more.
    """
    keys, (limit, last) = ("called", *selection.columns), page
    after, values = after_row(keys, last)
    return await snapshot.fetch(
        f"{_with(asked.tallies)}SELECT * FROM ({{groups}}) sums WHERE {{after}} ORDER BY {{keys}} LIMIT %(rows)s",
        {**selection.values(snapshot), **values, "rows": limit + 1},
        groups=_GROUPS,
        keys=", ".join(keys),
        sums=", ".join(f"{each} AS sum_{place}" for place, each in enumerate(asked.sums)),
        facts=" UNION ALL ".join(asked.facts),
        people="count(DISTINCT person)" if selection.hides_small_groups else "0",
        after=after,
    )


def _with(tallies: Mapping[str, str]) -> str:
    named = ", ".join(f"{name} AS ({query})" for name, query in tallies.items())
    return f"WITH {named} " if named else ""


def _named(selection: Selection) -> list[str]:
    """The columns of the dimensions, and who stands behind a fact where that matters."""
    columns = (f"{selection.month} AS month" if each == "month" else each for each in selection.columns)
    return [*columns, f"nullif(staff_id, '{NOBODY}') AS person" if selection.hides_small_groups else "NULL AS person"]


def _with_all(
    rows: list[tuple[Any, ...]], called: Iterable[str], selection: Selection, last: Sequence[str] | None, sums: int
) -> list[tuple[Any, ...]]:
    """Where nothing is divided, each has its row, also where there is nothing to tell."""
    if selection.by:
        return rows
    told = {row[0]: row for row in rows}
    wanted = (each for each in sorted(called) if not last or each > last[0])
    return [told.get(each, (each, *(0,) * (1 + sums))) for each in wanted]


def _row(
    selection: Selection, first: str, row: Sequence[Any], measures: tuple[dict[str, object], dict[str, str]]
) -> Row:
    """A row of an answer; its first column is called so."""
    called, *keys = row[: 1 + len(selection.by)]
    people = row[1 + len(selection.by)]
    shown, reasons = shown_keys(selection.by, keys)
    told, why = measures
    if selection.hides_small_groups and people < PEOPLE_MIN:
        told, why = dict.fromkeys(told), dict.fromkeys(told, _TOO_FEW)
    return {first: called, **shown, **told, "reasons": reasons | why}


def _rate(name: str, hits: int, n: int, why_not: str) -> tuple[dict[str, object], dict[str, str]]:
    """A share with its interval, or why there is none."""
    names = (name, f"{name}_lower", f"{name}_upper")
    if not n:
        return dict.fromkeys(names), dict.fromkeys(names, why_not)
    interval = wilson(hits, n)
    return dict(zip(names, (share(hits, n), interval.lower, interval.upper), strict=True)), {}


def _words_of_rate(name: str, meaning: str) -> tuple[Word, ...]:
    return (
        Word(name, meaning, Decimal),
        Word(f"{name}_lower", "Lower end of its interval of 95 % (Wilson).", Decimal),
        Word(f"{name}_upper", "Upper end of its interval.", Decimal),
    )


# Judgements

MEANINGS: Final[Mapping[FactName, str]] = {
    FactName.ONE_TOUCH: "Of resolved cases: resolved with exactly one public reply of a person, and not reopened.",
    FactName.FIRST_CONTACT_RESOLUTION: "Of resolved cases of customers who wrote: resolved after one message.",
    FactName.REOPENED: "Of resolved cases: went on after a resolution.",
    FactName.FOLLOWED_UP: "Of resolved and closed cases: the customer wrote again, so that another one was opened.",
    FactName.CLOSED_BY_AUTOMATION: "Of closed cases: closed by a program and not by a person.",
}
_CANNOT_BE_JUDGED: Final = (Reason.MERGED, Reason.OUTBOUND, Reason.SPAM, Reason.WITHDRAWN)
_OUTCOMES: Final = (
    Word("n", "Cases that can be judged.", int),
    Word("hits", "Of these, cases of which it is true.", int),
    *_words_of_rate("rate", "hits / n, to six places."),
    Word("pending", "Cases beside these of which it is too early to tell.", int),
    Word("excluded", "Cases beside these that cannot be judged, by reason.", tuple[Excluded, ...]),
    Word("reopen_count", "With `reopened`: how often cases went on after a resolution, in the window.", int),
    Word("resolved_again_count", "With `reopened`: resolutions in the window after the first of a case.", int),
)


class SupportOutcomesReport(FactsReport):
    """How cases were resolved: in one touch, in the first contact, for good."""

    definition = ReportDefinition(
        name="support_outcomes",
        version=VERSION,
        withdrawn=WITHDRAWN,
        model=NAME,
        moment="valid_at",
        title="Support outcomes",
        meaning="Which share of cases was resolved in one touch or in the first contact, reopened or followed up.",
        rules=(
            f"What comes back within {WINDOW_DAYS} days, of 24 hours, after the resolution counts; later it does not.",
            "A case counts when it was first resolved; as followed up when it was last, as closed when it was closed.",
            "So `followed_up` of a month changes when a case is reopened later; what counts at the first one stays.",
            f"A follow-up counts within {WINDOW_DAYS} days since the case is closed, or can no longer be reopened.",
            "What ended without a resolution, and where the customer never wrote, cannot be judged.",
            PEOPLE_RULE,
        ),
        dimensions=(OF_MONTH, *DIMENSIONS),
        measures=(
            Word("measure", " ".join(f"{name}: {says}" for name, says in MEANINGS.items()), values=tuple(MEANINGS)),
            *_OUTCOMES,
        ),
        parameters=(
            Parameter(
                "measure",
                f"What is told, separated by commas: of {', '.join(MEANINGS)}; absent: all.",
                listed=tuple(map(str, MEANINGS)),
            ),
            FROM,
            TO,
            BY,
            WHERE,
            TZ,
            _VALID_AT,
            *PAGING,
        ),
        reasons=(
            *REASONS,
            Word("nothing_judged", "There is no case of which it could be told."),
            Word("told_of_reopened", "It is told with the measure `reopened` only."),
        ),
    )

    def tables(self, question: Question) -> tuple[Sequence[str], Row]:
        """See `FactsReport.tables`."""
        names = question.listed("measure", MEANINGS, len(MEANINGS)) or tuple(map(str, MEANINGS))
        tables = [TABLE_OF_JUDGEMENT[FactName(name)] for name in names]
        tables += _COUNTED_WITH_REOPENED if FactName.REOPENED in names else ()
        return [*dict.fromkeys(tables)], {"measure": list(names)}

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """See `Report.run`."""
        selection, asked, page = self.read(snapshot, parameters)
        measures = [FactName(name) for name in asked["measure"]]
        facts = [_judged(selection, name) for name in measures]
        if FactName.REOPENED in measures:
            facts += [_happened(selection, table) for table in _COUNTED_WITH_REOPENED]
        conditions = (
            "settled",
            "settled AND value",
            "NOT settled",
            *(f"said = '{reason}'" for reason in _CANNOT_BE_JUDGED),
            *(f"said = '{table}'" for table in _COUNTED_WITH_REOPENED),
        )
        sums = [f"coalesce(sum(cases) FILTER (WHERE {each}), 0)::bigint" for each in conditions]
        tallies = {_tally(table): _tallied(selection, table, names) for table, names in _by_table(measures).items()}
        found = await _groups(snapshot, selection, _Sums(facts, sums, tallies), page)
        rows = _with_all(found, asked["measure"], selection, page[1], len(sums))
        tables, _ = self.tables(Question(self.definition, parameters))
        measured = {TABLE_OF_TIME[time]: time for time in TIMES if TABLE_OF_TIME[time] in tables}
        return ReportAnswer(
            definition=self.definition,
            position=snapshot.position,
            question=asked,
            basis="cases that were resolved, or closed, in the window",
            n=await count_facts(snapshot, selection, measured.values())
            + await count(snapshot, selection, [table for table in tables if table not in measured]),
            columns=("measure", *selection.by, *(word.name for word in _OUTCOMES)),
            rows=tuple(_row(selection, "measure", row, _outcome(row[0], row[-len(sums) :])) for row in rows[: page[0]]),
            next_cursor=next_cursor(snapshot, asked, [row[: 1 + len(selection.by)] for row in rows], page[0]),
        )


_COUNTED_WITH_REOPENED: Final = (TABLES[FactKind.REOPENING], TABLES[FactKind.FURTHER_RESOLUTION])
_WITH_REASON: Final = frozenset(TABLES[kind] for kind in TIMES_OF)


def _judged(selection: Selection, name: FactName) -> str:
    """The judgements of one measure, and the cases that cannot be judged."""
    dimensions = ", ".join([*selection.columns, "person"])
    return (
        f"SELECT '{name}' AS called, {dimensions}, {name} AS value, {name}_settled AS settled, "
        f"CASE WHEN {name} IS NULL THEN said END AS said, cases FROM {_tally(TABLE_OF_JUDGEMENT[name])}"
    )


def _by_table(measures: Sequence[FactName]) -> Mapping[str, Sequence[FactName]]:
    """The measures that are judgements of the same facts."""
    tables = dict.fromkeys(TABLE_OF_JUDGEMENT[name] for name in measures)
    return {table: [name for name in measures if TABLE_OF_JUDGEMENT[name] == table] for table in tables}


def _tally(table: str) -> str:
    return f"tally_of_{table}"


def _tallied(selection: Selection, table: str, names: Sequence[FactName]) -> str:
    """How many cases were judged alike: they are counted once for all measures."""
    columns = [
        *_named(selection),
        *(f"{name}, {name}_settled_at <= %(as_of)s AS {name}_settled" for name in names),
        f"coalesce(nullif(reason, '{NONE}'), '{Reason.OUTBOUND}') AS said" if table in _WITH_REASON else "NULL AS said",
    ]
    places = ", ".join(str(place) for place in range(1, len(columns) + len(names) + 1))
    return (
        f"SELECT {', '.join(columns)}, count(*) AS cases FROM {{{table}}} WHERE {selection.condition} GROUP BY {places}"
    )


def _happened(selection: Selection, table: str) -> str:
    """What is counted beside the judgement whether cases were reopened."""
    return (
        f"SELECT '{FactName.REOPENED}', {', '.join(_named(selection))}, NULL::boolean, NULL::boolean, '{table}', 1 "
        f"FROM {{{table}}} WHERE {selection.condition}"
    )


def _outcome(name: str, sums: Sequence[int]) -> tuple[dict[str, object], dict[str, str]]:
    n, hits, pending, *more = sums
    excluded = {str(reason): count for reason, count in zip(_CANNOT_BE_JUDGED, more, strict=False) if count}
    rate, why = _rate("rate", hits, n, "nothing_judged")
    told = {"n": n, "hits": hits, **rate, "pending": pending, "excluded": shown_excluded(excluded)}
    counts = ("reopen_count", "resolved_again_count")
    if name == FactName.REOPENED:
        return told | dict(zip(counts, more[len(_CANNOT_BE_JUDGED) :], strict=True)), why
    return told | dict.fromkeys(counts), why | dict.fromkeys(counts, "told_of_reopened")


# Satisfaction

_POSITIVE: Final[Mapping[SatisfactionScale, int]] = {
    SatisfactionScale.CSAT: 4,
    SatisfactionScale.NPS: 9,
    SatisfactionScale.CES: 5,
}
"""From which score on an answer is positive: the top two boxes, the promoters, and 5 of 7."""
_NPS_NEGATIVE: Final = 6
"""Up to which score an answer is that of a detractor."""
_ANSWERS: Final = (
    Word("sent", "Invitations sent in the window.", int),
    Word("answered", "Of these, invitations that were answered, whenever that was until `valid_at`.", int),
    *_words_of_rate("response_rate", "answered / sent, to six places."),
    Word("n", "Answers given in the window; of several to one invitation the first.", int),
    Word("mean", "The mean score, to six places.", Decimal),
    Word("positive", "Answers of at least 4 of 5 (CSAT), 9 of 10 (NPS), 5 of 7 (CES).", int),
    *_words_of_rate("positive_share", "positive / n, to six places: the CSAT score."),
    Word("negative", "Answers of at most 6 of 10 (NPS); of other scales none.", int),
    Word("net_score", "(positive - negative) / n, to six places: the NPS, from -1 to 1.", Decimal),
)


class SupportSatisfactionReport(FactsReport):
    """How satisfied customers were with how their cases were resolved."""

    definition = ReportDefinition(
        name="support_satisfaction",
        version=VERSION,
        withdrawn=WITHDRAWN,
        model=NAME,
        moment="valid_at",
        title="Support satisfaction",
        meaning="What customers answered to invitations to say how satisfied they are: CSAT, NPS and CES.",
        rules=(
            "The first answer to an invitation counts when it was given; what amends it later changes no figure.",
            "Sums and counts are told beside every mean and share, so that they can be put together again.",
            PEOPLE_RULE,
        ),
        dimensions=(OF_MONTH, *DIMENSIONS),
        measures=(
            Word("scale", "csat: 1 to 5. nps: 0 to 10. ces: 1 to 7.", values=tuple(SatisfactionScale)),
            *_ANSWERS,
        ),
        parameters=(
            Parameter(
                "scale",
                f"Only these, separated by commas: of {', '.join(SatisfactionScale)}; absent: all.",
                listed=tuple(SatisfactionScale),
            ),
            FROM,
            TO,
            BY,
            WHERE,
            TZ,
            _VALID_AT,
            *PAGING,
        ),
        reasons=(
            *REASONS,
            Word("nothing_sent", "No invitation was sent."),
            Word("no_answers", "No answer was given."),
            Word("not_of_this_scale", "Only the NPS has a net score."),
        ),
    )

    def tables(self, question: Question) -> tuple[Sequence[str], Row]:
        """See `FactsReport.tables`."""
        return [TABLES[FactKind.INVITATION], TABLES[FactKind.ANSWER]], {"scale": _scales(question)}

    def only(self, question: Question) -> str:
        """See `FactsReport.only`."""
        return f" AND scale IN ({', '.join(repr(scale) for scale in _scales(question))})"

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """See `Report.run`."""
        selection, asked, page = self.read(snapshot, parameters)
        positive = " OR ".join(f"(called = '{scale}' AND score >= {score})" for scale, score in _POSITIVE.items())
        sums = (
            "count(*) FILTER (WHERE score IS NULL)",
            "count(*) FILTER (WHERE score IS NULL AND answered)",
            "count(score)",
            "coalesce(sum(score), 0)::bigint",
            f"count(*) FILTER (WHERE {positive})",
            f"count(*) FILTER (WHERE called = 'nps' AND score <= {_NPS_NEGATIVE})",
        )
        facts = [
            _said(selection, FactKind.INVITATION, "NULL::integer", "answered AND answered_settled_at < %(as_of)s"),
            _said(selection, FactKind.ANSWER, "score", "NULL::boolean"),
        ]
        found = await _groups(snapshot, selection, _Sums(facts, sums), page)
        rows = _with_all(found, asked["scale"], selection, page[1], len(sums))
        tables, _ = self.tables(Question(self.definition, parameters))
        return ReportAnswer(
            definition=self.definition,
            position=snapshot.position,
            question=asked,
            basis="invitations sent, and answers given, in the window",
            n=await count(snapshot, selection, tables),
            columns=("scale", *selection.by, *(word.name for word in _ANSWERS)),
            rows=tuple(_row(selection, "scale", row, _answers(row[0], *row[-len(sums) :])) for row in rows[: page[0]]),
            next_cursor=next_cursor(snapshot, asked, [row[: 1 + len(selection.by)] for row in rows], page[0]),
        )


def _scales(question: Question) -> list[str]:
    scales = question.listed("scale", SatisfactionScale, len(SatisfactionScale)) or tuple(SatisfactionScale)
    return [str(scale) for scale in scales]


def _said(selection: Selection, kind: FactKind, score: str, answered: str) -> str:
    """The invitations, or the answers to them."""
    return (
        f"SELECT scale AS called, {', '.join(_named(selection))}, {score} AS score, {answered} AS answered "
        f"FROM {{{TABLES[kind]}}} WHERE {selection.condition}"
    )


def _answers(  # noqa: PLR0913, PLR0917 - the sums in their order
    scale: str, sent: int, answered: int, n: int, total: int, positive: int, negative: int
) -> tuple[dict[str, object], dict[str, str]]:
    response_rate, nothing_sent = _rate("response_rate", answered, sent, "nothing_sent")
    positive_share, no_answers = _rate("positive_share", positive, n, "no_answers")
    is_nps = scale == SatisfactionScale.NPS
    measures = {
        "sent": sent,
        "answered": answered,
        **response_rate,
        "n": n,
        "mean": share(Decimal(total), n) if n else None,
        "positive": positive,
        **positive_share,
        "negative": negative,
        "net_score": share(positive - negative, n) if n and is_nps else None,
    }
    why = nothing_sent | no_answers | ({} if n else {"mean": "no_answers"})
    if measures["net_score"] is None:
        why["net_score"] = "no_answers" if is_nps else "not_of_this_scale"
    return measures, why
