"""Business time: how long a customer waited while somebody was there to answer.

Rules

* Working time from a to b is the integral of "somebody works" over [a, b), in whole microseconds. It is additive over
  any split of the interval and any sequence of calendars, and negative when b lies before a.
* In force is the version with the greatest `effective_from` that has come, of equal ones the one recorded later; a
  version with `effective_to` ends there.
* A deadline is the earliest instant at which the target is reached, so it may be exactly a closing time. A target of
  zero is reached at the next working instant.
* When no working time comes within 366 days there is no deadline, for the reason `no_working_time`.
* A business day is a local date with some working time; a date that never was is none.

How local times become instants is said in `domain.clock`. Instants are aware datetimes, durations are integer
microseconds; definitions are those of section 5 of the metrics reference.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from heapq import heappop, heappush
from typing import Final, TypeAlias, TypeVar

from domain.clock import (
    BEGINNING,
    BLOCK,
    BLOCK_DAYS,
    DAY,
    END,
    EPOCH_DAY,
    FIRST,
    LAST,
    Clock,
    Piece,
    Table,
    clock_of,
    instant_at,
    microseconds,
)
from domain.values import immutable
from domain.working_hours import WorkingHours

T = TypeVar("T")

NO_WORKING_TIME: Final = "no_working_time"
"""Why there is no deadline, opening or closing: none comes within 366 days."""
_HORIZON_DAYS: Final = 366
_HORIZON: Final = _HORIZON_DAYS * DAY

Part: TypeAlias = tuple[Clock | None, int, int]
"""The clock that is in force from an instant until another; None where there is none."""
_NOTHING: Final = Table([])


def _horizon(instant: int) -> int:
    return min(instant + _HORIZON, LAST)


class Schedule:
    """Which working hours are in force when: those of a calendar with all its versions, or of a case through its life.

    Where no calendar is in force there is no working time, and `covers` says that there is none.
    """

    __slots__ = ("_business_days", "_clocks", "_since")

    def __init__(self, parts: Sequence[tuple[int, Clock | None]]) -> None:
        """Each clock with the instant from which it is in force, the first from the beginning of time."""
        self._since = [since for since, _ in parts]
        self._clocks = [clock for _, clock in parts]
        self._business_days: dict[int, list[int]] = {}

    def parts(self, start: int, end: int) -> Iterator[Part]:
        """The clocks in force within [start, end), in order."""
        for index in range(bisect_right(self._since, start) - 1, len(self._since)):
            first = max(self._since[index], start)
            if first >= end:
                return
            yield self._clocks[index], first, min(self._since[index + 1], end) if index + 1 < len(self._since) else end

    def covers(self, start: datetime, end: datetime) -> bool:
        """Whether some calendar is in force at every instant of [start, end)."""
        return all(clock for clock, _, _ in self.parts(microseconds(start), microseconds(end)))

    def working_time(self, start: datetime, end: datetime) -> int:
        """Working time in [start, end) in microseconds; negative when `end` lies before `start`."""
        first, last = microseconds(start), microseconds(end)
        return self._between(first, last) if first <= last else -self._between(last, first)

    def is_working(self, instant: datetime) -> bool:
        """Whether somebody works at this instant: at an opening time yes, at a closing time no."""
        at = microseconds(instant)
        return self._between(at, at + 1) > 0

    def deadline(self, start: datetime, target: int) -> datetime | None:
        """The earliest instant at which `target` microseconds of working time have passed since `start`.

        A target of zero gives the next working instant. A negative one looks back: the latest instant from which that
        much passed until `start`. None (`no_working_time`) where 366 days without work lie in between.
        """
        if target < 0:
            return self._looking_back(microseconds(start), -target)
        idle_since = microseconds(start)
        for table, first, last in self._ahead(idle_since, LAST):
            opening, _ = next(table.pieces(first, last), (last, last))
            if opening - idle_since >= _HORIZON:
                return None
            if opening == last:
                continue
            if not target:
                return instant_at(opening)
            before = table.elapsed(first)
            passed = table.elapsed(last) - before
            if passed >= target:
                return instant_at(table.earliest(before + target))
            target -= passed
            idle_since = table.earliest(before + passed)
        return None

    def last_working_instant(self, instant: datetime) -> datetime | None:
        """The latest instant up to this one until which somebody worked: itself, or the last closing time."""
        return self._looking_back(microseconds(instant), 0)

    def next_opening(self, instant: datetime) -> datetime | None:
        """When work next begins after this instant; None where that does not happen within 366 days."""
        at = microseconds(instant)
        return next((instant_at(opens) for opens, _ in self._stretches(at) if opens > at), None)

    def next_closing(self, instant: datetime) -> datetime | None:
        """When work next ends after this instant; None where that does not happen within 366 days."""
        at = microseconds(instant)
        return next((instant_at(closes) for _, closes in self._stretches(at) if closes < _horizon(at)), None)

    def is_business_day(self, day: date) -> bool:
        """Whether some working time falls on this local date."""
        return self._works_on(day.toordinal())

    def business_days_between(self, first: date, last: date) -> int:
        """Business days after `first`, up to and including `last`; negative when `last` lies before `first`."""
        if first > last:
            return -self.business_days_between(last, first)
        start, end = first.toordinal() + 1, last.toordinal() + 1
        blocks = range(start // BLOCK_DAYS, end // BLOCK_DAYS)
        whole = sum(len(self._business_days_of(block)) for block in blocks)
        return whole - self._business_days_before(start) + self._business_days_before(end)

    def add_business_days(self, day: date, count: int) -> date | None:
        """`count` business days later, or earlier for a negative count; from a day that is none, counted from the next.

        None (`no_working_time`) where 366 days without a business day lie in between; `day` itself for no days.
        """
        if not count:
            return day
        step = 1 if count > 0 else -1
        begin = self._business_day(day.toordinal(), step)
        end = self._business_days_on(begin, count) if begin else None
        return date.fromordinal(end) if end else None

    def move_by_business_days(self, instant: datetime, count: int) -> datetime | None:
        """The same local time `count` business days after (or before) the date of an instant.

        Where nobody works then, the next working instant (for a negative count the last one) takes its place.
        """
        at = microseconds(instant)
        clock = next((clock for clock, _, _ in self.parts(at, at + 1)), None)
        if clock is None:
            return None
        local = instant.astimezone(clock.zone).replace(tzinfo=None)
        day = self._business_days_on(local.toordinal(), count)
        if day is None:
            return None
        time = (local - datetime.combine(local, datetime.min.time())) // timedelta(microseconds=1)
        moved = clock.instant(day, time)
        return self._looking_back(moved, 0) if count < 0 else self.deadline(instant_at(moved), 0)

    def _between(self, start: int, end: int) -> int:
        index = bisect_right(self._since, start) - 1
        if index + 1 == len(self._since) or end <= self._since[index + 1]:
            clock = self._clocks[index]
            return clock.between(start, end) if clock else 0
        return sum(clock.between(first, last) for clock, first, last in self.parts(start, end) if clock)

    def _ahead(self, start: int, end: int) -> Iterator[tuple[Table, int, int]]:
        """The tables that hold in [start, end), each with the time for which it does, in order."""
        for clock, first, last in self.parts(start, end):
            for block in range(first // BLOCK, -(-last // BLOCK)):
                table = clock.table(block) if clock else _NOTHING
                yield table, max(first, block * BLOCK), min(last, (block + 1) * BLOCK)

    def _behind(self, start: int, end: int) -> Iterator[tuple[Table, int, int]]:
        """The same, backwards."""
        for clock, first, last in reversed(list(self.parts(start, end))):
            for block in reversed(range(first // BLOCK, -(-last // BLOCK))):
                table = clock.table(block) if clock else _NOTHING
                yield table, max(first, block * BLOCK), min(last, (block + 1) * BLOCK)

    def _looking_back(self, end: int, target: int) -> datetime | None:
        idle_until = end
        for table, first, last in self._behind(FIRST, end):
            until = table.elapsed(last)
            passed = until - table.elapsed(first)
            closing = table.earliest(until) if passed else first
            if idle_until - closing >= _HORIZON:
                return None
            if not passed:
                continue
            if not target:
                return instant_at(closing)
            if passed >= target:
                return instant_at(table.latest(until - target))
            target -= passed
            idle_until, _ = next(table.pieces(first, last))
        return None

    def _stretches(self, start: int) -> Iterator[Piece]:
        """The next 366 days of work, without the seams between tables and versions."""
        opens = closes = BEGINNING
        for table, first, last in self._ahead(start, _horizon(start)):
            for piece in table.pieces(first, last):
                if piece[0] != closes:
                    if closes > start:
                        yield opens, closes
                    opens = piece[0]
                closes = piece[1]
        if closes > start:
            yield opens, closes

    def _business_day(self, day: int, step: int) -> int | None:
        """The first business day from this one on, in the direction of `step`."""
        days = range(day, day + _HORIZON_DAYS * step, step)
        return next((one for one in days if 0 < one <= date.max.toordinal() and self._works_on(one)), None)

    def _business_days_on(self, day: int, count: int) -> int | None:
        step = 1 if count > 0 else -1
        for _ in range(abs(count)):
            following = self._business_day(day + step, step)
            if following is None:
                return None
            day = following
        return day

    def _business_days_before(self, day: int) -> int:
        """Business days of the same block before this one."""
        return bisect_left(self._business_days_of(day // BLOCK_DAYS), day)

    def _business_days_of(self, block: int) -> list[int]:
        days = self._business_days.get(block)
        if days is None:
            candidates = range(block * BLOCK_DAYS, (block + 1) * BLOCK_DAYS)
            days = self._business_days[block] = [day for day in candidates if self._works_on(day)]
        return days

    def _works_on(self, day: int) -> bool:
        midnight = (day - EPOCH_DAY) * DAY
        return any(
            max(opens, first) < min(closes, last)
            for clock, first, last in self.parts(midnight - DAY, midnight + 2 * DAY)
            if clock
            for opens, closes in clock.work_on(day)
        )


@immutable
class CalendarVersion:
    """Working hours that a calendar has from an instant on (None: always had), and until another where it says so."""

    hours: WorkingHours
    effective_from: datetime | None = None
    effective_to: datetime | None = None


@immutable
class Assignment:
    """The calendar that a case is given from an instant on."""

    since: datetime
    calendar: Schedule


def always(hours: WorkingHours) -> Schedule:
    """The schedule of working hours that never change."""
    return Schedule([(BEGINNING, clock_of(hours))])


def calendar(versions: Sequence[CalendarVersion]) -> Schedule:
    """The schedule of a calendar, given those of its versions that are known, in the order in which they were recorded.

    A case or report "as known then" passes the versions known then.
    """
    spans = [
        (
            BEGINNING if version.effective_from is None else microseconds(version.effective_from),
            END if version.effective_to is None else microseconds(version.effective_to),
            clock_of(version.hours),
        )
        for version in versions
    ]
    return Schedule(list(_in_force(spans)))


def integrate(assignments: Sequence[Assignment]) -> Schedule:
    """The schedule of a case: at each instant the calendar assigned to it then. The default rule."""
    spans = [(microseconds(one.since), END, one.calendar) for one in assignments]
    turns = list(_in_force(spans))
    parts: list[tuple[int, Clock | None]] = []
    for (since, assigned), (until, _) in zip(turns, [*turns[1:], (END, None)], strict=True):
        if assigned is None:
            parts.append((since, None))
        else:
            parts.extend((first, clock) for clock, first, _ in assigned.parts(since, until))
    return Schedule(parts)


def pinned_at_start(assignments: Sequence[Assignment], start: datetime) -> Schedule:
    """The calendar assigned at the start, with its own versions, whatever is assigned later."""
    return _assigned_at(assignments, microseconds(start))


def last_schedule(assignments: Sequence[Assignment], end: datetime) -> Schedule:
    """The calendar assigned just before the end, as if it had been there from the start (as Zendesk computes)."""
    return _assigned_at(assignments, microseconds(end) - 1)


def _assigned_at(assignments: Sequence[Assignment], instant: int) -> Schedule:
    spans = [(microseconds(one.since), END, one.calendar) for one in assignments]
    assigned = [one for since, one in _in_force(spans) if since <= instant][-1]
    return assigned or Schedule([(BEGINNING, None)])


def _in_force(spans: Sequence[tuple[int, int, T]]) -> Iterator[tuple[int, T | None]]:
    """From when which of these is in force: the one that began last, of equal ones the later in the sequence."""
    coming = sorted(((begins, place) for place, (begins, _, _) in enumerate(spans)), reverse=True)
    begun: list[tuple[int, int]] = []
    """As a heap, with the one that began last on top."""
    for instant in sorted({BEGINNING, *(begins for begins, _, _ in spans), *(ends for _, ends, _ in spans)} - {END}):
        while coming and coming[-1][0] <= instant:
            begins, place = coming.pop()
            heappush(begun, (-begins, -place))
        while begun and spans[-begun[0][1]][1] <= instant:
            heappop(begun)
        yield instant, spans[-begun[0][1]][2] if begun else None
