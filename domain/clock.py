"""A clock: one set of working hours, turned from local times into instants and made ready for arithmetic.

Rules

* Local intervals become instants date by date, so that a day of 25 hours has 25 hours. A local time that a clock
  change skips is read with the offset before the change; one that happens twice is its first occurrence (as RFC 5545).
* Overlapping intervals count once; breaks take away what they cover.
* A date that a zone has skipped as a whole, as Pacific/Apia did 2011-12-30, has no working time.

Instants are integer microseconds since 1970 UTC, dates are their ordinals (`date.toordinal`). What lies at either end
of an interval is read from tables of four weeks. Of whole blocks of four weeks in between only the sum is needed, which
is added up from the sums of its days. So nothing is built but what is asked about, and what is kept has a weight that
is bounded.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from domain.weighed_cache import WeighedCache
from domain.working_hours import Interval, Week, WorkingHours, second_of_day

SECOND: Final = 1_000_000
DAY: Final = 86_400 * SECOND
BLOCK_DAYS: Final = 28
BLOCK: Final = BLOCK_DAYS * DAY
"""Each table covers four weeks of UTC: at 24 intervals a day 672 pieces, which is the most that has to be built for an
end of an interval."""
PIECES_MAX: Final = 250_000
"""Pieces that all tables hold together, some 40 MB: a year of a thousand calendars with one break a day."""
INTERVALS_KEPT_MAX: Final = 500_000
"""Intervals that the clocks at hand hold together, some 60 MB: a thousand calendars with all the dates that they may
have."""
_OFFSETS_DAYS: Final = 364
_OFFSETS_SPAN: Final = _OFFSETS_DAYS * DAY
"""For how long offsets are looked up at once."""
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
    """The offsets of a zone from UTC in 52 weeks and around them."""

    __slots__ = ("_offsets", "_until")

    def __init__(self, zone: ZoneInfo, number: int) -> None:
        start = number * _OFFSETS_SPAN - _STEP
        offset = _offset(zone, start)
        self._offsets = [offset]
        self._until: list[int] = []
        """The local time at which each offset ends: all of a skipped or doubled hour belongs to the offset before."""
        for later in range(start + _STEP, start + _OFFSETS_SPAN + 3 * _STEP, _STEP):
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
def _offsets(zone: str, number: int) -> _Offsets:
    return _Offsets(ZoneInfo(zone), number)


class Table:
    """The working pieces of one block, and how much working time it has had at each of their ends."""

    __slots__ = ("_elapsed", "_ends", "_shifts", "_starts", "total", "weight")

    def __init__(self, pieces: list[Piece]) -> None:
        # A first piece of no length, before all others, spares every search the question whether it found one.
        self._starts = [BEGINNING, *(start for start, _ in pieces)]
        self._ends = [BEGINNING, *(end for _, end in pieces)]
        self._elapsed = [0]
        self._shifts = [-BEGINNING]
        """What to add to an instant inside a piece to get the working time of the block until then."""
        self.weight = len(pieces) + 10
        """In pieces; an empty table has its price, too."""
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

    __slots__ = (
        "_breaks",
        "_days",
        "_holidays",
        "_shifts",
        "_totals",
        "_usual",
        "_week",
        "_weekly_breaks",
        "weight",
        "zone",
    )

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
        self._days = [Table(work) for work in self._usual]
        """Each weekday without any exception, from its midnight on."""
        self._totals: dict[int, int] = {}
        dated = sum(map(len, (*self._shifts.values(), *self._breaks.values())))
        self.weight = (
            sum(map(len, (*self._week, *self._weekly_breaks, *self._usual))) + dated + len(self._holidays) + 100
        )
        """In intervals; the sums of its blocks count as a hundred, more than those of any log's years."""

    def instant(self, day: int, time: int) -> int:
        """The instant of a local time, given in microseconds from local midnight."""
        local = (day - EPOCH_DAY) * DAY + time
        return _offsets(self.zone.key, local // _OFFSETS_SPAN).instant(local)

    def work_on(self, day: int) -> list[Piece]:
        """The working pieces of one local date."""
        if day in self._holidays:
            return []
        midnight = (day - EPOCH_DAY) * DAY
        offset = self._offset_on(day)
        if offset is None:
            if instant_at(self.instant(day, 0)).astimezone(self.zone).toordinal() > day:
                return []
            work, breaks = self._times_of(day)
            return _left(self._instants(day, work), self._instants(day, breaks))
        return [(opens + midnight - offset, closes + midnight - offset) for opens, closes in self._ordinary(day)]

    def _offset_on(self, day: int) -> int | None:
        """The offset that all local times of a date have; None on the date of a clock change."""
        midnight = (day - EPOCH_DAY) * DAY
        return _offsets(self.zone.key, midnight // _OFFSETS_SPAN).throughout(midnight)

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
        """The working pieces of one block of four weeks."""
        return _TABLES.get((self, block), lambda: self._tabulated(block))

    def _tabulated(self, block: int) -> Table:
        return Table(self._pieces(block, _days_of(block)))

    def _pieces(self, block: int, days: Iterable[int]) -> list[Piece]:
        """The working pieces of these dates, as far as they lie within a block."""
        start, end = block * BLOCK, (block + 1) * BLOCK
        return _merged((max(opens, start), min(closes, end)) for day in days for opens, closes in self.work_on(day))

    def between(self, start: int, end: int) -> int:
        """Working time in [start, end); start ≤ end."""
        first, last = start // BLOCK, end // BLOCK
        if first == last:
            table = self.table(first)
            return table.elapsed(end) - table.elapsed(start)
        whole = sum(self._total(block) for block in range(first, last))
        return whole - self.table(first).elapsed(start) + self.table(last).elapsed(end)

    def _total(self, block: int) -> int:
        """The working time of a block: the sums of its usual dates, and the pieces of all others."""
        total = self._totals.get(block)
        if total is None:
            start, end = block * BLOCK, (block + 1) * BLOCK
            total, others = 0, []
            offsets = {day: self._offset_on(day) for day in range(_days_of(block)[0] - 1, _days_of(block)[-1] + 2)}
            for day in _days_of(block):
                offset = offsets[day]
                is_usual = not (day in self._holidays or day in self._shifts or day in self._breaks)
                # What a clock change moves may reach into the dates beside it.
                if is_usual and offset is not None and None not in (offsets[day - 1], offsets[day + 1]):
                    midnight, usual = (day - EPOCH_DAY) * DAY - offset, self._days[(day - 1) % 7]
                    total += usual.elapsed(max(end - midnight, 0)) - usual.elapsed(max(start - midnight, 0))
                else:
                    others.append(day)
            total += sum(closes - opens for opens, closes in self._pieces(block, others))
            self._totals[block] = total
        return total


def _days_of(block: int) -> range:
    """The dates of which some time may lie in a block: a local date begins and ends within a day of that in UTC."""
    first = EPOCH_DAY + block * BLOCK_DAYS
    return range(first - 1, first + BLOCK_DAYS + 1)


_TABLES: Final[WeighedCache[tuple[Clock, int], Table]] = WeighedCache(PIECES_MAX, lambda table: table.weight)
_CLOCKS: Final[WeighedCache[WorkingHours, Clock]] = WeighedCache(INTERVALS_KEPT_MAX, lambda clock: clock.weight)


def _times(intervals: tuple[Interval, ...]) -> list[Piece]:
    return [(second_of_day(one.opens) * SECOND, second_of_day(one.closes) * SECOND) for one in intervals]


def _week(week: Week) -> tuple[list[Piece], ...]:
    return tuple(_times(intervals) for intervals in week.days())


def clock_of(hours: WorkingHours) -> Clock:
    """The clock of these hours; equal hours share one."""
    return _CLOCKS.get(hours, lambda: Clock(hours))
