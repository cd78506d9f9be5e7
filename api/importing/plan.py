"""What a document becomes: its commands, which of its rows are special, and what is known already about its rows.

A document with a row that cannot be read is held back whole: an invoice with a line missing would be a wrong invoice.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from api.importing.cells import Row
from api.importing.mapping import CommandRule, FirstSeenRule, ImportMapping, SpecialRule
from api.importing.rows import Document
from api.importing.values import Fill, Json

UNREADABLE = "unreadable"
HELD_BACK = "held back with an unreadable row"
REFUSED = "refused"
UNMATCHED = "taken by no rule"
REGISTERED_DIFFERENTLY = "key-is-used-for-another-request"
"""What is registered stays as it was described first; a longer file may describe it differently."""

KEY_LENGTH_MAX = 255
"""Of idempotency keys, which are printable ASCII without spaces."""
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_SAFE_KEY = re.compile(f"[{re.escape(_SAFE)}]{{1,{KEY_LENGTH_MAX}}}")

NOT_BOOKED = frozenset({UNREADABLE, HELD_BACK, REFUSED, UNMATCHED})
"""Outcomes that nobody has asked for."""


@dataclass(frozen=True, slots=True)
class PlannedCommand:
    """A command as a line of the bulk endpoint, and the rows that it books."""

    line: bytes
    key: str
    command: str
    rows: Sequence[int]
    outcome: str
    already_there: frozenset[str] = frozenset()
    """Problems that say that this was done already, by somebody else."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that a reader of the summary wants to know about a row."""

    row: int
    name: str
    how: str


@dataclass(slots=True)
class Parcel:
    """What one document becomes; its commands go to the service together and in order."""

    commands: list[PlannedCommand] = field(default_factory=list)
    settled: dict[int, str] = field(default_factory=dict)
    """Rows whose outcome no answer can change any more."""
    remarks: list[Remark] = field(default_factory=list)


class RowError(ValueError):
    """A row does not say what a command cannot do without."""

    def __init__(self, row: Row, message: str) -> None:
        super().__init__(message)
        self.row = _number(row)


class FirstSeen:
    """Collects, in a first reading, what has to be registered before anything refers to it."""

    def __init__(self, rules: Sequence[FirstSeenRule]) -> None:
        self._rules = [(rule, _identity(rule.by)) for rule in rules]
        self._rows: list[dict[Hashable, Row]] = [{} for _ in rules]
        self._values: list[dict[Hashable, tuple[Counter[Any], ...]]] = [{} for _ in rules]

    @property
    def needs(self) -> frozenset[str]:
        """The columns that have to be read for it."""
        return frozenset().union(*(rule.needs for rule, _ in self._rules))

    def see(self, row: Row) -> None:
        """Look at a row that could be read."""
        for (rule, identity), rows, values in zip(self._rules, self._rows, self._values, strict=True):
            key = identity(row)
            if key is None:
                continue
            if key not in rows:
                if rule.when is not None and not rule.when(row, None):
                    continue
                rows[key] = row
                values[key] = tuple(Counter() for _ in rule.typical)
            for column, counter in zip(rule.typical, values[key], strict=True):
                if row[column] is not None:
                    counter[row[column]] += 1

    def commands(self) -> Iterator[PlannedCommand]:
        """One command for each thing, in the order of the rules and of the file."""
        for (rule, _), rows, values in zip(self._rules, self._rows, self._values, strict=True):
            for key, first in rows.items():
                row = {**first, "line": 1, "last": True}
                for column, counter in zip(rule.typical, values[key], strict=True):
                    row[column] = max(counter, key=counter.__getitem__) if counter else None
                yield _first_seen_command(rule, row)


def _identity(by: Sequence[str]) -> Callable[[Row], Hashable]:
    if len(by) == 1:
        name = by[0]
        return lambda row: row[name]

    def identity(row: Row) -> Hashable:
        values = [row[name] for name in by]
        return None if None in values else tuple(values)

    return identity


class Plan:
    """Turns documents into parcels, as a mapping says."""

    def __init__(self, mapping: ImportMapping) -> None:
        self._mapping = mapping
        self._together = [rule for rule in mapping.commands if rule.together]
        self._each = [rule for rule in mapping.commands if not rule.together]
        self._special = [rule for rule in mapping.special if rule.several is None and not rule.repeated]
        self._special_documents = [rule for rule in mapping.special if rule.several is not None or rule.repeated]
        self._cells = mapping.column_names

    def parcel(self, document: Document) -> Parcel:
        """What this document becomes."""
        parcel = Parcel()
        if not document.unreadable:
            try:
                self._add_commands(parcel, document.rows)
            except RowError as error:
                parcel.commands.clear()
                document.unreadable.append((error.row, str(error)))
        self._add_remarks(parcel, document.rows)
        if document.unreadable:
            for number, problem in document.unreadable:
                parcel.settled[number] = UNREADABLE
                parcel.remarks.append(Remark(number, UNREADABLE, problem))
            for row in document.rows:
                parcel.settled.setdefault(_number(row), HELD_BACK)
            return parcel
        taken = {number for command in parcel.commands for number in command.rows}
        if len(taken) < len(document.rows):
            for row in document.rows:
                if _number(row) not in taken:
                    parcel.settled[_number(row)] = self._mapping.unmatched or UNMATCHED
        return parcel

    def _add_commands(self, parcel: Parcel, rows: list[Row]) -> None:
        for rule in self._together:
            if rule.when is None or rule.when(rows[0], None):
                parcel.commands.append(_rule_command(rule, rows[0], rows, booked=rows))
                break
        if self._each:
            before: Row | None = None
            for row in rows:
                for rule in self._each:
                    if rule.when is None or rule.when(row, before):
                        parcel.commands.append(_rule_command(rule, row, rows, booked=[row]))
                before = row

    def _add_remarks(self, parcel: Parcel, rows: list[Row]) -> None:
        remarks = parcel.remarks
        if self._special:
            before: Row | None = None
            for row in rows:
                for rule in self._special:
                    if rule.when is None or rule.when(row, before):
                        remarks.append(Remark(_number(row), rule.name, rule.how))
                before = row
        for rule in self._special_documents:
            self._add_document_remarks(remarks, rule, rows)

    def _add_document_remarks(self, remarks: list[Remark], rule: SpecialRule, rows: list[Row]) -> None:
        if len(rows) < 2 or (rule.several is not None and len({row[rule.several] for row in rows}) < 2):  # noqa: PLR2004 - two are several
            return
        seen: set[tuple[object, ...]] = set()
        before: Row | None = None
        for row in rows:
            cells = tuple([row[name] for name in self._cells])
            if (not rule.repeated or cells in seen) and (rule.when is None or rule.when(row, before)):
                remarks.append(Remark(_number(row), rule.name, rule.how))
            seen.add(cells)
            before = row


def _number(row: Row) -> int:
    return row["row"]  # type: ignore[return-value]  # the reader of the file has counted it


def _rule_command(rule: CommandRule, row: Row, rows: list[Row], *, booked: list[Row]) -> PlannedCommand:
    """The command that a rule makes of a row and of all rows of its document; it books some of these."""
    line = {"target": _needed(rule.target, row, rows, "target")} if rule.target is not None else {}
    key = safe_key(str(_needed(rule.key, row, rows, "key")))
    encoded = _line({"key": key, "command": rule.command, **line, "data": rule.data(row, rows)})
    outcome = str(_needed(rule.outcome, row, rows, "outcome"))
    return PlannedCommand(encoded, key, rule.command, [_number(row) for row in booked], outcome)


def _first_seen_command(rule: FirstSeenRule, row: Row) -> PlannedCommand:
    key = safe_key(str(_needed(rule.key, row, [row], "key")))
    encoded = _line({"key": key, "command": rule.command, "data": rule.data(row, [row])})
    return PlannedCommand(encoded, key, rule.command, (), rule.name, rule.already_there | {REGISTERED_DIFFERENTLY})


def safe_key(key: str) -> str:
    """The key in the characters and within the length that idempotency keys have; different keys stay different."""
    if _SAFE_KEY.fullmatch(key):
        return key
    quoted = quote(key, safe=_SAFE)
    if len(quoted) <= KEY_LENGTH_MAX:
        return quoted
    digest = sha256(key.encode()).hexdigest()
    return f"{quoted[: KEY_LENGTH_MAX - len(digest) - 1]}~{digest}"


def _needed(fill: Fill, row: Row, rows: list[Row], what: str) -> Json:
    value = fill(row, rows)
    if value is None:
        message = f"says nothing in a column that the {what} is made of"
        raise RowError(row, message)
    return value


def _line(command: dict[str, Json]) -> bytes:
    return json.dumps(command, ensure_ascii=False, separators=(",", ":")).encode()
