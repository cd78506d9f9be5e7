"""What one cell of a file means: its type, its format, and the markers that say that nothing is known.

Files repeat themselves, so each column remembers what its cells meant; a cell seen before costs one look.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from time import strptime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from domain.values import unsigned_zero

Value: TypeAlias = str | int | Decimal | date | datetime | bool | None
"""What a cell can mean. None: the cell says nothing."""
Row: TypeAlias = dict[str, Value]
"""A row by the names of its columns, with `row`, `line` and `last`, which say where it stands."""

CELLS_REMEMBERED_MAX = 100_000
"""A column of unique numbers would otherwise be kept whole; that many take about 15 MB."""
CELL_SHOWN_LENGTH_MAX = 40
"""As much of a cell as a message repeats."""

TYPES: Mapping[str, type] = {
    "text": str,
    "integer": int,
    "decimal": Decimal,
    "date": date,
    "time": datetime,
    "yes_no": bool,
}
"""The types of columns, by the word that a mapping uses for them."""

UTC_ZONE = ZoneInfo("UTC")

_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_UTC_NAMES = frozenset({"UTC", "GMT"})
"""What `%Z` reads is a name of the machine's own zone, or one of these, which alone mean the same everywhere."""
_DIRECTIVE = re.compile("%(.)")
_YES_NO = {"true": True, "yes": True, "y": True, "1": True, "false": False, "no": False, "n": False, "0": False}


class CellError(ValueError):
    """A cell does not mean anything of the type that its column has."""


@dataclass(frozen=True, slots=True)
class CellFormat:
    """How the cells of one column are written."""

    type: str = "text"
    format: str | None = None
    """For dates and times, as in `strptime`; absent: ISO 8601."""
    time_zone: ZoneInfo = UTC_ZONE
    """Where the clock hangs that wrote times without an offset."""
    decimal_mark: str = "."
    thousands_mark: str = ""
    places: int | None = None
    """Decimals are rounded to so many places, halves away from zero."""
    trim: bool = True
    case: str | None = None
    extract: re.Pattern[str] | None = None
    """Only the first group of this pattern counts."""
    missing: frozenset[str] = frozenset({""})
    default: Value = None
    """What a missing cell means."""
    values: Mapping[str, str] | None = None
    """What each cell stands for, before it is read as its type."""
    otherwise: str | None = None
    """What a cell stands for that `values` does not have; absent: it is unreadable."""


class CellReader(dict[str, Value]):
    """The cells of one column that are known so far, and what they mean: `reader[cell]`, or `CellError`."""

    def __init__(self, name: str, cell_format: CellFormat) -> None:
        super().__init__()
        self.name = name
        self.format = cell_format
        self._read = _READERS[cell_format.type]

    def __missing__(self, cell: str) -> Value:
        """Read a cell that is not known yet."""
        try:
            value = self._value(cell)
        except (ValueError, ArithmeticError) as error:
            shown = cell[:CELL_SHOWN_LENGTH_MAX].encode(errors="backslashreplace").decode()
            message = f"{self.name}: {shown!r} {error}"
            raise CellError(message) from None
        if len(self) >= CELLS_REMEMBERED_MAX:
            self.clear()
        self[cell] = value
        return value

    def _value(self, cell: str) -> Value:
        rules = self.format
        if not cell.isascii() and not _is_text(cell):
            msg = "holds bytes that are no text in the file's encoding"
            raise CellError(msg)
        text = cell.strip() if rules.trim else cell
        if rules.extract is not None and text not in rules.missing:
            found = rules.extract.search(text)
            if found is None:
                msg = f"does not match {rules.extract.pattern}"
                raise CellError(msg)
            text = found[1]
        if text in rules.missing:
            return rules.default
        if rules.values is not None:
            replacement = rules.values.get(text, rules.otherwise)
            if replacement is None:
                msg = "is not in the table of values"
                raise CellError(msg)
            text = replacement
        if rules.case is not None:
            text = text.upper() if rules.case == "upper" else text.lower()
        return self._read(text, rules)


def _is_text(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(text: str, _rules: CellFormat) -> Value:
    return text


@cache
def _number(decimal_mark: str, thousands_mark: str) -> re.Pattern[str]:
    """How a number is written; where its thousands are marked, they are groups of three digits."""
    point, mark = re.escape(decimal_mark), re.escape(thousands_mark)
    whole = rf"(?:\d{{1,3}}(?:{mark}\d{{3}})+|\d+)" if mark else r"\d+"
    return re.compile(rf"[+-]?(?:{whole}(?:{point}\d*)?|{point}\d+)(?:[eE][+-]?\d{{1,2}})?", re.ASCII)


def _integer(text: str, rules: CellFormat) -> Value:
    if rules.thousands_mark and _number("\0", rules.thousands_mark).fullmatch(text):
        text = text.replace(rules.thousands_mark, "")
    if not _INTEGER.fullmatch(text):
        msg = "is not a whole number"
        raise CellError(msg)
    return int(text)


def _decimal(text: str, rules: CellFormat) -> Value:
    if not _number(rules.decimal_mark, rules.thousands_mark).fullmatch(text):
        msg = "is not a number"
        raise CellError(msg)
    if rules.thousands_mark:
        text = text.replace(rules.thousands_mark, "")
    return rounded(Decimal(text.replace(rules.decimal_mark, ".")), rules.places)


def _date(text: str, rules: CellFormat) -> Value:
    try:
        if rules.format is None:
            return date.fromisoformat(text)
        return datetime.strptime(text, rules.format).replace(tzinfo=UTC).date()
    except ValueError:
        msg = f"is not a date as in {rules.format or '2026-01-31'}"
        raise CellError(msg) from None


def _time(text: str, rules: CellFormat) -> Value:
    try:
        # A time without a zone gets one below.
        moment = datetime.strptime(text, rules.format) if rules.format else datetime.fromisoformat(text)  # noqa: DTZ007 - see above
    except ValueError:
        msg = f"is not a time as in {rules.format or '2026-01-31 16:30'}"
        raise CellError(msg) from None
    if moment.tzinfo is None and "Z" in _DIRECTIVE.findall(rules.format or ""):
        return moment.replace(tzinfo=_named_zone(text, rules.format or ""))
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=rules.time_zone)


def _named_zone(text: str, time_format: str) -> tzinfo:
    """The zone that the cell itself names: `datetime.strptime` reads it and forgets it."""
    name = strptime(text, time_format).tm_zone
    if name.upper() not in _UTC_NAMES:
        msg = f"names the zone {name}, which is not the same everywhere: only UTC and GMT are, or an offset (%z)"
        raise CellError(msg)
    return UTC


def _yes_no(text: str, _rules: CellFormat) -> Value:
    try:
        return _YES_NO[text.lower()]
    except KeyError:
        msg = "is neither yes nor no"
        raise CellError(msg) from None


_READERS: Mapping[str, Callable[[str, CellFormat], Value]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "date": _date,
    "time": _time,
    "yes_no": _yes_no,
}


def rounded(number: Decimal, places: int | None) -> Decimal:
    """The number with so many places, halves away from zero; unchanged where no places are given."""
    if places is None:
        return number
    return number.quantize(Decimal((0, (1,), -places)), rounding=ROUND_HALF_UP)


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """The calendar day on which this was in the zone."""
    return moment.astimezone(zone).date()


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a calendar day in the zone."""
    return datetime.combine(day, time.min, zone)


def as_json(value: Value) -> str | int | bool | None:
    """The value as commands carry it: decimals and dates as text, instants in UTC."""
    return None if value is None else JSON_OF[type(value)](value)


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _number_as_text(number: Decimal) -> str:
    return f"{unsigned_zero(number):f}"


def _unchanged(value: Any) -> Any:
    return value


JSON_OF: Mapping[type, Callable[[Any], Any]] = {
    str: _unchanged,
    int: _unchanged,
    bool: _unchanged,
    Decimal: _number_as_text,
    date: date.isoformat,
    datetime: _instant,
}
"""How a value of each type is said in a command."""
