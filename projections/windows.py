"""Windows of local dates, and the months in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True, slots=True)
class Window:
    """Local dates from `first` up to but without `end`."""

    first: date
    end: date

    def whole_months(self) -> "Window":
        """The months that lie in it entirely; an empty window at its end where there is none."""
        first = self.first if self.first.day == 1 else next_month(self.first)
        end = self.end.replace(day=1)
        return Window(first, end) if first < end else Window(self.end, self.end)

    def edges(self) -> Iterator["Window"]:
        """Its days that are in no whole month."""
        whole = self.whole_months()
        for edge in (Window(self.first, whole.first), Window(whole.end, self.end)):
            if edge.first < edge.end:
                yield edge

    def within_month(self, month: date) -> "Window":
        """Its days in a month; an empty window where there is none."""
        first = max(self.first, month)
        return Window(first, max(first, min(self.end, next_month(month))))

    def before(self, months: int) -> "Window":
        """The same days some months before. Windows that meet still meet."""
        return Window(months_before(self.first, months), months_before(self.end, months))

    def same_days_before(self, months: int) -> "Window":
        """The days of the same numbers some months before; of whole months those months, whatever their length."""
        if self.months() is not None:
            return self.before(months)
        return self.numbered_days_before(months)

    def numbered_days_before(self, months: int) -> "Window":
        """The days of the same numbers some months before, also where whole months have more or fewer days then."""
        last = same_day_before(self.end - timedelta(days=1), months)
        return Window(same_day_before(self.first, months), last + timedelta(days=1))

    def months(self) -> int | None:
        """How many months it is; None if it is not whole months."""
        if self.first.day != 1 or self.end.day != 1:
            return None
        return (self.end.year - self.first.year) * 12 + self.end.month - self.first.month


def next_month(day: date) -> date:
    """The first day of the month after."""
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1)


def months_before(day: date, months: int) -> date:
    """The same day some months before; where that month has no such day, the first of the month after it."""
    count = day.year * 12 + day.month - 1 - months
    first = date(count // 12, count % 12 + 1, 1)
    moved = first + timedelta(days=day.day - 1)
    return moved if moved.month == first.month else next_month(first)


def same_day_before(day: date, months: int) -> date:
    """The same day some months before; where that month has no such day, its last one."""
    moved = months_before(day, months)
    return moved if moved.day == day.day else moved - timedelta(days=1)
