"""The lines of `COPY` by which facts and phases of support cases come into their tables."""

from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Final
from uuid import UUID

from domain.case_events import CaseId
from domain.case_facts import TIMES_OF, CaseFact, CountedBy
from domain.case_figures import Time
from domain.case_phases import CasePhase
from domain.case_timeline import CaseTimeline
from projections.known_cases import Case, Counts, Row
from projections.read_model import copy_id, copy_instant, copy_text
from projections.support_tables import BUCKETED, NO_BUCKET, NOBODY, NONE, bucket

_NULL: Final = "\\N"
_NULLS: Final = "\t\\N\t\\N"
_NOBODY: Final = copy_id(NOBODY)


def beginning(case_id: CaseId, timeline: CaseTimeline) -> str:
    """What all lines of a case have in common."""
    opened = timeline.opening
    at = copy_instant(timeline.opened_at)
    return f"{copy_id(case_id)}\t{at}\t{timeline.opened_by}\t{opened.kind}\t{opened.channel}"


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
    line = f"{fact.number}\t{copy_instant(fact.at)}\t{_days(fact.at, zone)}\t{fact.started_by}\t{fact.ended_by}"
    names = TIMES_OF.get(fact.kind, ())
    for name, time in zip(names, fact.times, strict=True):
        calendar, business = (None, None) if time is None else (time.calendar, time.business)
        line += f"\t{_or_null(calendar)}\t{_or_null(business)}{_by_other_rules(time)}"
        if name in BUCKETED:
            line += f"\t{_bucket(calendar)}\t{_bucket(business)}"
    for verdict in fact.judgements:
        line += _NULLS if verdict is None else f"\t{verdict.value}\t{copy_instant(verdict.settled_at)}"
    if names:
        line += f"\t{fact.reason or NONE}"
    if fact.scale is not None:
        line += f"\t{fact.scale}"
    return line if fact.score is None else f"{line}\t{fact.score}"


def _by_other_rules(time: Time | None) -> str:
    """Business time by other rules, where it is not the same."""
    if time is None or not time.by_other_rules:
        return _NULLS
    return "".join(f"\t{_NULL if each is None or each == time.business else each}" for each in time.by_other_rules)


@lru_cache(maxsize=1_024)
def _days(at: datetime, zone: tzinfo) -> str:
    """The local date of an instant, and the first day of its month."""
    day = at.astimezone(zone).date()
    return f"{day}\t{day.replace(day=1)}"


def _phase(phase: CasePhase) -> str:
    until = "infinity" if phase.until is None else copy_instant(phase.until)
    waiting_since = _NULL if phase.waiting_since is None else copy_instant(phase.waiting_since)
    line = (
        f"{copy_instant(phase.since)}\t{until}\t{phase.status}\t"
        f"{phase.awaited or NONE}\t{waiting_since}\t{_or_null(phase.waiting_by)}"
    )
    for began in phase.running:
        line += _NULLS if began is None else f"\t{copy_instant(began.at)}\t{began.by}"
    return line


def _or_null(value: object) -> object:
    return _NULL if value is None else value


def _bucket(time: int | None) -> int:
    return NO_BUCKET if time is None else bucket(time)
