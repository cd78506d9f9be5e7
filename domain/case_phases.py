"""Phases of a support case: of each instant, in which state it was, who worked on it, and since when somebody waited.

Rules

* There are phases while somebody has yet to do something. They follow each other, and within one nothing changes by
  which a case is counted.
* Of each phase is told which clocks run in it, and since when. A clock runs from the event that starts it until the one
  that stops it, while the case is active.
* A customer waits for the first response from the message that it starts with until the reply; for a next response
  while a turn is open. Of two waits the one that began earlier is told.
* What a customer waited for in a case that was merged into this one is waited for here from the merge on, and since it
  was written there. The first response is still that of the merged case: its clock runs there, in phases whose state
  is `merged`, for as long as the case that it goes on in is active and nobody has replied.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from domain.case_facts import CountedBy, counted_by
from domain.case_status import ACTIVE, CaseStatus
from domain.case_timeline import THE_BEGINNING, CaseTimeline, FirstResponse


class Awaited(StrEnum):
    """What a customer waits for."""

    FIRST_RESPONSE = "first_response"
    NEXT_RESPONSE = "next_response"


class Clock(StrEnum):
    """What runs for as long as its case is active; `case_phases` tells since when."""

    FIRST_RESPONSE = "first_response"
    FIRST_RESPONSE_BY_HUMAN = "first_response_by_human"
    FIRST_RESPONSE_ZENDESK = "first_response_zendesk"
    NEXT_RESPONSE = "next_response"
    FIRST_RESOLUTION = "first_resolution"


_CLOCKS: Final = tuple(Clock)


class Began(NamedTuple):
    """When a clock began to run, and the position of the event that started it."""

    at: datetime
    by: int


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
    running: tuple[Began | None, ...] = (None,) * len(_CLOCKS)
    """Since when each clock has been running, in the order of `Clock`; None for one that does not run."""


class _Wait(NamedTuple):
    """Something was waited for in this case, from an instant until another."""

    first: datetime
    end: datetime | None
    began: Began
    clock: Clock | None
    awaited: Awaited | None = None
    """Where it is a customer who waited."""

    def lasts(self, at: datetime) -> bool:
        """Whether it was waited for at an instant."""
        return self.first <= at and (self.end is None or self.end > at)


def case_phases(timeline: CaseTimeline, first: datetime = THE_BEGINNING) -> list[CasePhase]:
    """The phases of a case in which it was active, in their order; the last one has no end if it still is.

    Where `first` is given, those from the one on that begins at this instant.
    """
    waits = [*_responses(timeline, first), *_turns(timeline, first), *_first_resolution(timeline, first)]
    changes = _changes(timeline, waits)
    phases: list[CasePhase] = []
    for one in timeline.intervals:
        begins = max(one.started_at, first)
        if one.status in ACTIVE and (one.ended_at is None or one.ended_at > begins):
            for since, until in _parts(changes, begins, one.ended_at):
                _add(phases, _phase(timeline, waits, one.status, since, until))
    for span in timeline.awaited_elsewhere:
        elsewhere = [wait for wait in waits if wait.clock in _GOES_ON_ELSEWHERE]
        for since, until in _parts(changes, span.started_at, span.ended_at):
            _add(phases, _phase(timeline, elsewhere, CaseStatus.MERGED, since, until))
    return phases


_GOES_ON_ELSEWHERE: Final = (Clock.FIRST_RESPONSE, Clock.FIRST_RESPONSE_BY_HUMAN)
"""What goes on when the case is merged into another one."""


def _responses(timeline: CaseTimeline, first: datetime) -> Iterator[_Wait]:
    """What was waited for until the first response, unless that came before."""
    total, human, zendesk = (
        timeline.first_response,
        timeline.first_response_by_human,
        timeline.first_response_zendesk,
    )
    if _goes_beyond(first, _end(total)):
        if total.started_at is not None and total.started_by is not None:
            began = Began(total.started_at, total.started_by)
            yield _Wait(began.at, _end(total), began, Clock.FIRST_RESPONSE, Awaited.FIRST_RESPONSE)
        if human.started_at is not None and human.started_by is not None:
            began = Began(human.started_at, human.started_by)
            yield _Wait(began.at, _end(human), began, Clock.FIRST_RESPONSE_BY_HUMAN)
        for one in timeline.taken_over_waits:
            yield _Wait(one.taken_over_at, _end(total), Began(one.since, one.position), None, Awaited.FIRST_RESPONSE)
    if _goes_beyond(first, _end(zendesk)):
        began = Began(timeline.opened_at, timeline.opened_by)
        yield _Wait(began.at, _end(zendesk), began, Clock.FIRST_RESPONSE_ZENDESK)


def _end(response: FirstResponse) -> datetime | None:
    return None if response.reply is None else response.reply.at


def _goes_beyond(first: datetime, end: datetime | None) -> bool:
    return end is None or end > first


def _turns(timeline: CaseTimeline, first: datetime) -> Iterator[_Wait]:
    """What was waited for again, unless that ended before."""
    for turn in timeline.turns:
        if _goes_beyond(first, turn.ended_at):
            for one in turn.replaced:
                began = Began(one.started_at, one.started_by)
                yield _Wait(one.runs_from, one.runs_until, began, Clock.NEXT_RESPONSE, Awaited.NEXT_RESPONSE)
            began, here = Began(turn.started_at, turn.started_by), turn.taken_over_at or turn.started_at
            yield _Wait(here, turn.ended_at, began, Clock.NEXT_RESPONSE, Awaited.NEXT_RESPONSE)


def _first_resolution(timeline: CaseTimeline, first: datetime) -> Iterator[_Wait]:
    end = timeline.resolutions[0].at if timeline.resolutions else None
    if _goes_beyond(first, end):
        began = Began(timeline.opened_at, timeline.opened_by)
        yield _Wait(began.at, end, began, Clock.FIRST_RESOLUTION)


def _changes(timeline: CaseTimeline, waits: Iterable[_Wait]) -> list[datetime]:
    """When anything changed by which the case is counted."""
    changes = {profile.since for profile in timeline.profiles}
    for wait in waits:
        changes.add(wait.first)
        if wait.end is not None:
            changes.add(wait.end)
    return sorted(changes)


def _parts(
    changes: Iterable[datetime], since: datetime, until: datetime | None
) -> Iterable[tuple[datetime, datetime | None]]:
    """The times between any two changes within an interval."""
    within = [at for at in changes if at > since and (until is None or at < until)]
    return zip([since, *within], [*within, until], strict=True)


def _phase(
    timeline: CaseTimeline, waits: Iterable[_Wait], status: CaseStatus, since: datetime, until: datetime | None
) -> CasePhase:
    running: dict[Clock | None, Began] = {}
    longest: _Wait | None = None
    for wait in waits:
        if wait.lasts(since):
            running[wait.clock] = wait.began
            if wait.awaited is not None and (longest is None or wait.began < longest.began):
                longest = wait
    by, began = counted_by(timeline, since), tuple(map(running.get, _CLOCKS))
    if longest is None:
        return CasePhase(since, until, status, by, running=began)
    return CasePhase(since, until, status, by, longest.awaited, *longest.began, began)


def _add(phases: list[CasePhase], phase: CasePhase) -> None:
    """Add a phase; one in which nothing is different from the one before goes on."""
    if phases and phases[-1].until == phase.since and phases[-1][2:] == phase[2:]:
        phases[-1] = phases[-1]._replace(until=phase.until)
    else:
        phases.append(phase)
