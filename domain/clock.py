"""A clock: one set of working hours, turned from local times into instants and made ready for arithmetic.

Rules

* Local intervals become instants date by date, so that a day of 25 hours has 25 hours. A local time that a clock
  change skips is read with the offset before the change; one that happens twice is its first occurrence (as RFC 5545).
* Overlapping intervals count once; breaks take away what they cover.
* A date that a zone has skipped as a whole, as Pacific/Apia did 2011-12-30, has no working time.

Instants are integer microseconds since 1970 UTC, dates are their ordinals (`date.toordinal`). Everything is read from
tables of 52 weeks, made once for each set of working hours: the price of a year is two searches in a sorted list.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.working_hours import Interval, Week, WorkingHours, second_of_day

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
BLOCK_DAYS: Final = 364
BLOCK: Final = BLOCK_DAYS * DAY
"""Each table covers 52 weeks of UTC."""
_TABLES_MAX: Final = 64
"""Tables that one clock keeps: more than the years of any log, and less than 3 MB."""
_STEP: Final = 3 * DAY
"""How far apart offsets are looked up: no zone of the IANA database has changed its offset twice within it."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY: Final = _EPOCH.toordinal()
BEGINNING: Final = -(1 << 62)
END: Final = 1 << 62
"""Before and after every instant."""

Piece: TypeAlias = tuple[int, int]
"""Time from the first until, not including, the second."""


def time_zone_exists(name: str) -> bool:
    """Whether the IANA database, as this machine has it, knows a time zone of this name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError):  # a name may also be that of a folder or lead out of it
        return False
    return True


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970 UTC of an aware datetime."""
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def instant_at(microseconds_since_1970: int) -> datetime:
    """The instant in UTC."""
    return _EPOCH + timedelta(microseconds=microseconds_since_1970)


FIRST: Final = microseconds(datetime.min.replace(tzinfo=UTC)) + DAY
LAST: Final = microseconds(datetime.max.replace(tzinfo=UTC)) - DAY
"""Between these two, every instant can be shown in every zone."""


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    """The union of pieces, in order; those that touch become one, empty and reversed ones vanish."""
    union: list[Piece] = []
    for start, end in sorted(pieces):
        if start >= end:
            continue
        if union and start <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((start, end))
    return union


def _left(work: Iterable[Piece], breaks: Iterable[Piece]) -> list[Piece]:
    """The union of work without the breaks."""
    pieces = _merged(work)
    for away, back in _merged(breaks):
        pieces = [
            left
            for start, end in pieces
            for left in ((start, min(end, away)), (max(start, back), end))
            if left[0] < left[1]
        ]
    return pieces


class _Offsets:
    """The offsets of a zone from UTC in the days of one block and around it."""

    __slots__ = ("_offsets", "_until")

    def __init__(self, zone: ZoneInfo, block: int) -> None:
        start = block * BLOCK - _STEP
        offset = _offset(zone, start)
        self._offsets = [offset]
        self._until: list[int] = []
        """The local time at which each offset ends: all of a skipped or doubled hour belongs to the offset before."""
        for later in range(start + _STEP, start + BLOCK + 3 * _STEP, _STEP):
            before, offset = offset, _offset(zone, later)
            if offset != before:
                self._until.append(_change(zone, later - _STEP, later) + max(before, offset))
                self._offsets.append(offset)

    def instant(self, local: int) -> int:
        """The instant of a local time, given as microseconds since 1970 on the local clock."""
        return local - self._offsets[bisect_right(self._until, local)]

    def throughout(self, midnight: int) -> int | None:
        """The offset that all local times of a date have; None on the date of a clock change."""
        index = bisect_right(self._until, midnight)
        changes = index < len(self._until) and self._until[index] <= midnight + DAY
        return None if changes else self._offsets[index]


def _offset(zone: ZoneInfo, instant: int) -> int:
    shown = instant_at(min(max(instant, FIRST), LAST)).astimezone(zone)
    return (shown.utcoffset() or timedelta()) // timedelta(microseconds=1)


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """The instant, a whole second, from which on the offset is the one at `after`."""
    offset = _offset(zone, before)
    while after - before > SECOND:
        middle = (before + after) // (2 * SECOND) * SECOND
        if _offset(zone, middle) == offset:
            before = middle
        else:
            after = middle
    return after


@lru_cache(maxsize=4096)
def _offsets(zone: str, block: int) -> _Offsets:
    return _Offsets(ZoneInfo(zone), block)


class Table:
    """The working pieces of one block, and how much working time it has had at each of their ends."""

    __slots__ = ("_elapsed", "_ends", "_shifts", "_starts", "total")

    def __init__(self, pieces: list[Piece]) -> None:
        # A first piece of no length, before all others, spares every search the question whether it found one.
        self._starts = [BEGINNING, *(start for start, _ in pieces)]
        self._ends = [BEGINNING, *(end for _, end in pieces)]
        self._elapsed = [0]
        self._shifts = [-BEGINNING]
        """What to add to an instant inside a piece to get the working time of the block until then."""
        self.total = 0
        for start, end in pieces:
            self._shifts.append(self.total - start)
            self.total += end - start
            self._elapsed.append(self.total)

    def elapsed(self, instant: int) -> int:
        """Working time of this block before an instant."""
        index = bisect_right(self._starts, instant) - 1
        return min(instant, self._ends[index]) + self._shifts[index]

    def earliest(self, elapsed: int) -> int:
        """The first instant at which `elapsed` is reached; 0 < elapsed ≤ total."""
        return elapsed - self._shifts[bisect_left(self._elapsed, elapsed)]

    def latest(self, elapsed: int) -> int:
        """The last instant at which no more than `elapsed` is reached; 0 ≤ elapsed < total."""
        return elapsed - self._shifts[bisect_right(self._elapsed, elapsed)]

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """The working pieces within [start, end), in order."""
        for index in range(bisect_right(self._ends, start), bisect_left(self._starts, end)):
            yield max(self._starts[index], start), min(self._ends[index], end)


class Clock:
    """One set of working hours, ready for arithmetic. An unknown time zone raises `ZoneInfoNotFoundError`."""

    __slots__ = ("_breaks", "_holidays", "_shifts", "_tables", "_totals", "_usual", "_week", "_weekly_breaks", "zone")

    def __init__(self, hours: WorkingHours) -> None:
        self.zone = ZoneInfo(hours.time_zone)
        self._week = _week(hours.weekly)
        self._weekly_breaks = _week(hours.weekly_breaks)
        self._usual = [_left(work, breaks) for work, breaks in zip(self._week, self._weekly_breaks, strict=True)]
        self._shifts: dict[int, list[Piece]] = {}
        for shift in hours.shifts:
            self._shifts.setdefault(shift.on.toordinal(), []).extend(_times(shift.intervals))
        self._breaks: dict[int, list[Piece]] = {}
        for pause in hours.breaks:
            self._breaks.setdefault(pause.on.toordinal(), []).extend(_times(pause.intervals))
        self._holidays = frozenset(day.toordinal() for day in hours.holidays)
        self._tables: dict[int, Table] = {}
        self._totals: dict[int, int] = {}

    def instant(self, day: int, time: int) -> int:
        """The instant of a local time, given in microseconds from local midnight."""
        local = (day - EPOCH_DAY) * DAY + time
        return _offsets(self.zone.key, local // BLOCK).instant(local)

    def work_on(self, day: int) -> list[Piece]:
        """The working pieces of one local date."""
        if day in self._holidays:
            return []
        midnight = (day - EPOCH_DAY) * DAY
        offset = _offsets(self.zone.key, midnight // BLOCK).throughout(midnight)
        if offset is None:
            if instant_at(self.instant(day, 0)).astimezone(self.zone).toordinal() > day:
                return []
            work, breaks = self._times_of(day)
            return _left(self._instants(day, work), self._instants(day, breaks))
        return [(opens + midnight - offset, closes + midnight - offset) for opens, closes in self._ordinary(day)]

    def _ordinary(self, day: int) -> list[Piece]:
        """The working time of a date without a clock change, from its midnight on."""
        if day in self._shifts or day in self._breaks:
            return _left(*self._times_of(day))
        return self._usual[(day - 1) % 7]

    def _times_of(self, day: int) -> tuple[list[Piece], list[Piece]]:
        """The local working times of a date and its breaks, as they are written."""
        weekday = (day - 1) % 7
        return self._shifts.get(day, self._week[weekday]), self._weekly_breaks[weekday] + self._breaks.get(day, [])

    def _instants(self, day: int, times: list[Piece]) -> list[Piece]:
        return [(self.instant(day, opens), self.instant(day, closes)) for opens, closes in times]

    def table(self, block: int) -> Table:
        """The working pieces of one block of 52 weeks."""
        table = self._tables.get(block)
        if table is None:
            if len(self._tables) >= _TABLES_MAX:
                self._tables.clear()
            table = self._tables[block] = self._tabulated(block)
            self._totals[block] = table.total
        return table

    def _tabulated(self, block: int) -> Table:
        start, end = block * BLOCK, (block + 1) * BLOCK
        first = EPOCH_DAY + block * BLOCK_DAYS
        # A local date begins and ends within a day of the date of the same name in UTC.
        days = range(first - 1, first + BLOCK_DAYS + 1)
        return Table(
            _merged((max(opens, start), min(closes, end)) for day in days for opens, closes in self.work_on(day))
        )

    def between(self, start: int, end: int) -> int:
        """Working time in [start, end); start ≤ end."""
        first, last = start // BLOCK, end // BLOCK
        if first == last:
            table = self.table(first)
            return table.elapsed(end) - table.elapsed(start)
        whole = sum(self._total(block) for block in range(first, last))
        return whole - self.table(first).elapsed(start) + self.table(last).elapsed(end)

    def _total(self, block: int) -> int:
        total = self._totals.get(block)
        return self.table(block).total if total is None else total


def _times(intervals: tuple[Interval, ...]) -> list[Piece]:
    return [(second_of_day(one.opens) * SECOND, second_of_day(one.closes) * SECOND) for one in intervals]


def _week(week: Week) -> tuple[list[Piece], ...]:
    return tuple(_times(intervals) for intervals in week.days())


@lru_cache(maxsize=4096)
def clock_of(hours: WorkingHours) -> Clock:
    """The clock of these hours; equal hours share one."""
    return Clock(hours)
