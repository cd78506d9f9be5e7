"""The lines of `COPY` by which facts and phases of support cases come into their tables."""

from collections.abc import Iterable, Iterator
from datetime import tzinfo
from typing import Final
from uuid import UUID

from domain.case_events import CaseId
from domain.case_facts import TIMES_OF, CaseFact, CountedBy
from domain.case_phases import CasePhase
from domain.case_timeline import CaseTimeline
from projections.known_cases import Case, Counts, Row
from projections.read_model import copy_id, copy_text
from projections.support_tables import BUCKETED, NO_BUCKET, NOBODY, NONE, bucket

_NULL: Final = "\\N"
_NOBODY: Final = copy_id(NOBODY)


def beginning(case_id: CaseId, timeline: CaseTimeline) -> str:
    """What all lines of a case have in common."""
    opened = timeline.opening
    return f"{copy_id(case_id)}\t{timeline.opened_at}\t{timeline.opened_by}\t{opened.kind}\t{opened.channel}"


def fact_lines(come: Iterable[tuple[Case, Row[CaseFact]]], zone: tzinfo) -> Iterator[str]:
    """The lines of facts of one kind, whose days are those of a zone."""
    for case, row in come:
        yield f"{_known(case, row)}\t{_fact(row.counts, zone)}\n"


def phase_lines(come: Iterable[tuple[Case, Row[CasePhase]]]) -> Iterator[str]:
    """The lines of phases."""
    for case, row in come:
        yield f"{_known(case, row)}\t{_phase(row.counts)}\n"


def _known(case: Case, row: Row[Counts]) -> str:
    return f"{row.position}\t{_or_null(row.superseded_at)}\t{case.beginning}\t{_counted_by(row.counts.counted_by)}"


def _counted_by(by: CountedBy) -> str:
    return (
        f"{_id(by.customer_id)}\t{by.priority}\t{copy_text(by.category) if by.category else NONE}\t"
        f"{_id(by.product_id)}\t{_id(by.team_id)}\t{_id(by.staff_id)}"
    )


def _id(value: UUID | None) -> str:
    return copy_id(value) if value else _NOBODY


def _fact(fact: CaseFact, zone: tzinfo) -> str:
    day = fact.at.astimezone(zone).date()
    line = f"{fact.number}\t{fact.at}\t{day}\t{day.replace(day=1)}\t{fact.started_by}\t{fact.ended_by}"
    names = TIMES_OF.get(fact.kind, ())
    for name, time in zip(names, fact.times, strict=True):
        calendar, business = (None, None) if time is None else (time.calendar, time.business)
        line += f"\t{_or_null(calendar)}\t{_or_null(business)}"
        if name in BUCKETED:
            line += f"\t{_bucket(calendar)}\t{_bucket(business)}"
    for verdict in fact.judgements:
        line += "\t\\N\t\\N" if verdict is None else f"\t{verdict.value}\t{verdict.settled_at}"
    if names:
        line += f"\t{fact.reason or NONE}"
    if fact.scale is not None:
        line += f"\t{fact.scale}"
    return line if fact.score is None else f"{line}\t{fact.score}"


def _phase(phase: CasePhase) -> str:
    return (
        f"{phase.since}\t{phase.until or 'infinity'}\t{phase.status}\t"
        f"{phase.awaited or NONE}\t{_or_null(phase.waiting_since)}\t{_or_null(phase.waiting_by)}"
        + "".join("\t\\N\t\\N" if began is None else f"\t{began.at}\t{began.by}" for began in phase.running)
    )


def _or_null(value: object) -> object:
    return _NULL if value is None else value


def _bucket(time: int | None) -> int:
    return NO_BUCKET if time is None else bucket(time)
