"""Phases of a support case: of each instant, in which state it was, who worked on it, and since when somebody waited.

Rules

* There are phases while somebody has yet to do something. They follow each other, and within one nothing changes by
  which a case is counted.
* A customer waits for the first response from the message that it starts with until the reply; for a next response
  while a turn is open. Of two waits the one that began earlier is told.
* What a customer waited for in a case that was merged into this one is waited for here from the merge on, and since it
  was written there.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from domain.case_facts import CountedBy, counted_by
from domain.case_status import ACTIVE, CaseStatus
from domain.case_timeline import CaseTimeline


class Awaited(StrEnum):
    """What a customer waits for."""

    FIRST_RESPONSE = "first_response"
    NEXT_RESPONSE = "next_response"


class CasePhase(NamedTuple):
    """A time in which somebody has yet to do something, and nothing changes by which a case is counted."""

    since: datetime
    until: datetime | None
    status: CaseStatus
    counted_by: CountedBy
    awaited: Awaited | None = None
    waiting_since: datetime | None = None
    waiting_by: int | None = None
    """Position of the message that the customer waits for a reply to."""


class _Wait(NamedTuple):
    """The customer waited for something in this case, from an instant until another."""

    first: datetime
    end: datetime | None
    since: datetime
    by: int
    awaited: Awaited


def case_phases(timeline: CaseTimeline, first: datetime | None = None) -> list[CasePhase]:
    """The phases of a case in which it was active, in their order; the last one has no end if it still is.

    Where `first` is given, those from the one on that begins at this instant.
    """
    waits = list(_waits(timeline))
    phases: list[CasePhase] = []
    for one in timeline.intervals:
        begins = one.started_at if first is None else max(one.started_at, first)
        if one.status in ACTIVE and (one.ended_at is None or one.ended_at > begins):
            for since, until in _parts(timeline, waits, begins, one.ended_at):
                _add(phases, _phase(timeline, waits, one.status, since, until))
    return phases


def _waits(timeline: CaseTimeline) -> Iterator[_Wait]:
    first = timeline.first_response
    if first.started_at is not None and first.started_by is not None:
        end = None if first.reply is None else first.reply.at
        yield _Wait(first.started_at, end, first.started_at, first.started_by, Awaited.FIRST_RESPONSE)
        for one in timeline.taken_over_waits:
            yield _Wait(one.taken_over_at, end, one.since, one.position, Awaited.FIRST_RESPONSE)
    for turn in timeline.turns:
        here = turn.taken_over_at or turn.started_at
        yield _Wait(here, turn.ended_at, turn.started_at, turn.started_by, Awaited.NEXT_RESPONSE)


def _parts(
    timeline: CaseTimeline, waits: Iterable[_Wait], since: datetime, until: datetime | None
) -> Iterator[tuple[datetime, datetime | None]]:
    """The times between any two changes within an interval."""
    changes = {profile.since for profile in timeline.profiles}
    changes.update(wait.first for wait in waits)
    changes.update(wait.end for wait in waits if wait.end is not None)
    within = sorted(at for at in changes if at > since and (until is None or at < until))
    yield from zip([since, *within], [*within, until], strict=True)


def _phase(
    timeline: CaseTimeline, waits: Iterable[_Wait], status: CaseStatus, since: datetime, until: datetime | None
) -> CasePhase:
    by = counted_by(timeline, since)
    waiting = [wait for wait in waits if wait.first <= since and (wait.end is None or wait.end > since)]
    if not waiting:
        return CasePhase(since, until, status, by)
    longest_wait = min(waiting, key=lambda wait: (wait.since, wait.by))
    return CasePhase(since, until, status, by, longest_wait.awaited, longest_wait.since, longest_wait.by)


def _add(phases: list[CasePhase], phase: CasePhase) -> None:
    """Add a phase; one in which nothing is different from the one before goes on."""
    if phases and phases[-1].until == phase.since and phases[-1][2:] == phase[2:]:
        phases[-1] = phases[-1]._replace(until=phase.until)
    else:
        phases.append(phase)
