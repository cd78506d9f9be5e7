"""How cases were resolved, and what customers said about it: rates, each with its interval, of cases or of answers."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from domain.case_events import SatisfactionScale
from domain.case_facts import JUDGEMENTS, FactName
from domain.case_figures import WINDOW_DAYS
from projections.read_model import Snapshot
from projections.reports import Parameter, Parameters, Question, ReportAnswer, ReportDefinition, Row, Word, next_cursor
from projections.reports import ratio as share
from projections.statistics import wilson
from projections.support_facts import BASES, BY, FROM, MONTH, OF_MONTH, TO, FactsReport, Selection, count, selected
from projections.support_response_times import NAME, NOBODY, VERSION
from projections.support_selection import (
    COLUMNS,
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

_VALID_AT: Final = Parameter("valid_at", "Instant as of which is judged; absent: now, or `known_at`.")
_TOO_FEW: Final = "too_few_people"
_GROUPS: Final = """
    SELECT {keys}, count(DISTINCT person), {sums}
      FROM (SELECT {called} AS called, {counted_by}, {month} AS month, nullif(staff_id, %(nobody)s) AS person, name,
                   value, settled_at <= %(as_of)s AS settled
              FROM {facts} facts WHERE {selected}) selected
     GROUP BY {keys}"""


async def _groups(
    snapshot: Snapshot,
    selection: Selection,
    sums: Sequence[str],
    page: tuple[int, Sequence[str] | None],
    called: str = "name",
) -> list[tuple[Any, ...]]:
    """Sums of the groups of a page: the keys, how many people stand behind them, and the sums; and one more, if any."""
    keys, (limit, last) = ("called", *selection.columns), page
    after, values = after_row(keys, last)
    found = await snapshot.fetch(
        "SELECT * FROM ({groups}) sums WHERE {after} ORDER BY {keys} LIMIT %(rows)s",
        {**selection.values(snapshot), **values, "nobody": NOBODY, "rows": limit + 1},
        groups=_GROUPS,
        keys=", ".join(keys),
        sums=", ".join(f"{each} AS sum_{place}" for place, each in enumerate(sums)),
        called=called,
        counted_by=", ".join(COLUMNS.values()),
        month=MONTH.replace("{column}", BASES[selection.basis]) if "month" in selection.by else "NULL::date",
        selected=selected(selection),
        after=after,
    )
    if selection.by:
        return found
    # Where nothing is divided, each has its row, also where there is nothing to tell.
    told = {row[0]: row for row in found}
    wanted = sorted({str(name).partition("_answered")[0] for name in selection.names})
    return [told.get(each, (each, *(0,) * (1 + len(sums)))) for each in wanted if not last or each > last[0]]


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
        Word(name, meaning),
        Word(f"{name}_lower", "Lower end of its interval of 95 % (Wilson)."),
        Word(f"{name}_upper", "Upper end of its interval."),
    )


# Judgements

MEANINGS: Final[Mapping[FactName, str]] = {
    FactName.ONE_TOUCH: "Of resolved cases: resolved with exactly one public reply of a person, and not reopened.",
    FactName.FIRST_CONTACT_RESOLUTION: "Of resolved cases of customers who wrote: resolved after one message.",
    FactName.REOPENED: "Of resolved cases: went on after a resolution.",
    FactName.FOLLOWED_UP: "Of resolved and closed cases: the customer wrote again, so that another one was opened.",
    FactName.CLOSED_BY_AUTOMATION: "Of closed cases: closed by a program and not by a person.",
}
_OUTCOMES: Final = (
    Word("n", "Cases that can be judged."),
    Word("hits", "Of these, cases of which it is true."),
    *_words_of_rate("rate", "hits / n, to six places."),
    Word("pending", "Cases beside these of which it is too early to tell."),
)


class SupportOutcomesReport(FactsReport):
    """How cases were resolved: in one touch, in the first contact, for good."""

    definition = ReportDefinition(
        name="support_outcomes",
        version=VERSION,
        model=NAME,
        moment="valid_at",
        title="Support outcomes",
        meaning="Which share of cases was resolved in one touch or in the first contact, reopened or followed up.",
        rules=(
            f"What comes back within {WINDOW_DAYS} days, of 24 hours, after the resolution counts; later it does not.",
            "A case counts when it was first resolved; as followed up when it was last, as closed when it was closed.",
            PEOPLE_RULE,
        ),
        dimensions=(OF_MONTH, *DIMENSIONS),
        measures=(Word("measure", " ".join(f"{name}: {says}" for name, says in MEANINGS.items())), *_OUTCOMES),
        parameters=(
            Parameter("measure", f"What is told, separated by commas: of {', '.join(JUDGEMENTS)}; absent: all."),
            FROM,
            TO,
            BY,
            WHERE,
            TZ,
            _VALID_AT,
            *PAGING,
        ),
        reasons=(*REASONS, Word("nothing_judged", "There is no case of which it could be told.")),
    )

    def names(self, question: Question) -> tuple[tuple[FactName, ...], Row]:
        """See `FactsReport.names`."""
        names = question.listed("measure", JUDGEMENTS, len(JUDGEMENTS)) or tuple(map(str, JUDGEMENTS))
        return tuple(FactName(name) for name in names), {"measure": list(names)}

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """See `Report.run`."""
        selection, asked, (limit, last) = self.read(snapshot, parameters)
        sums = (
            "count(*) FILTER (WHERE settled)",
            "count(*) FILTER (WHERE settled AND value = 1)",
            "count(*) FILTER (WHERE NOT settled)",
        )
        rows = await _groups(snapshot, selection, sums, (limit, last))
        return ReportAnswer(
            definition=self.definition,
            position=snapshot.position,
            question=asked,
            basis="cases that were resolved, or closed, in the window",
            n=await count(snapshot, selection),
            columns=("measure", *selection.by, *(word.name for word in _OUTCOMES)),
            rows=tuple(_row(selection, "measure", row, _outcome(*row[-len(sums) :])) for row in rows[:limit]),
            next_cursor=next_cursor(snapshot, asked, [row[: 1 + len(selection.by)] for row in rows], limit),
        )


def _outcome(n: int, hits: int, pending: int) -> tuple[dict[str, object], dict[str, str]]:
    rate, why = _rate("rate", hits, n, "nothing_judged")
    return {"n": n, "hits": hits, **rate, "pending": pending}, why


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
    Word("sent", "Invitations sent in the window."),
    Word("answered", "Of these, invitations that were answered, whenever that was."),
    *_words_of_rate("response_rate", "answered / sent, to six places."),
    Word("n", "Answers given in the window; of several to one invitation the first."),
    Word("mean", "The mean score, to six places."),
    Word("positive", "Answers of at least 4 of 5 (CSAT), 9 of 10 (NPS), 5 of 7 (CES)."),
    *_words_of_rate("positive_share", "positive / n, to six places: the CSAT score."),
    Word("negative", "Answers of at most 6 of 10 (NPS); of other scales none."),
    Word("net_score", "(positive - negative) / n, to six places: the NPS, from -1 to 1."),
)


class SupportSatisfactionReport(FactsReport):
    """How satisfied customers were with how their cases were resolved."""

    definition = ReportDefinition(
        name="support_satisfaction",
        version=VERSION,
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
        measures=(Word("scale", "csat: 1 to 5. nps: 0 to 10. ces: 1 to 7."), *_ANSWERS),
        parameters=(
            Parameter("scale", f"Only these, separated by commas: of {', '.join(SatisfactionScale)}; absent: all."),
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

    def names(self, question: Question) -> tuple[tuple[FactName, ...], Row]:
        """See `FactsReport.names`."""
        scales = question.listed("scale", SatisfactionScale, len(SatisfactionScale)) or tuple(SatisfactionScale)
        return tuple(_names_of(scales)), {"scale": [str(scale) for scale in scales]}

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """See `Report.run`."""
        selection, asked, (limit, last) = self.read(snapshot, parameters)
        positive = " OR ".join(f"(name = '{scale}' AND value >= {score})" for scale, score in _POSITIVE.items())
        is_answer = "name NOT LIKE '%%_answered'"
        sums = (
            "count(*) FILTER (WHERE name LIKE '%%_answered')",
            "count(*) FILTER (WHERE name LIKE '%%_answered' AND value = 1)",
            f"count(*) FILTER (WHERE {is_answer})",
            f"coalesce(sum(value) FILTER (WHERE {is_answer}), 0)",
            f"count(*) FILTER (WHERE {positive})",
            f"count(*) FILTER (WHERE name = 'nps' AND value <= {_NPS_NEGATIVE})",
        )
        rows = await _groups(snapshot, selection, sums, (limit, last), called="split_part(name, '_', 1)")
        return ReportAnswer(
            definition=self.definition,
            position=snapshot.position,
            question=asked,
            basis="invitations sent, and answers given, in the window",
            n=await count(snapshot, selection),
            columns=("scale", *selection.by, *(word.name for word in _ANSWERS)),
            rows=tuple(_row(selection, "scale", row, _answers(row[0], *row[-len(sums) :])) for row in rows[:limit]),
            next_cursor=next_cursor(snapshot, asked, [row[: 1 + len(selection.by)] for row in rows], limit),
        )


def _names_of(scales: Iterable[str]) -> Iterable[FactName]:
    for scale in scales:
        yield FactName(str(scale))
        yield FactName(f"{scale}_answered")


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
