"""What a mapping file says: which columns a file has, which rows make one document, and which commands that becomes.

The language is described in docs/reference/import-mapping.md; `mapping_reader` reads it.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Self

from api.importing.cells import CellError, Row, Value
from api.importing.rows import Carried, Column, Derived, FileFormat, Gathering, Table
from api.importing.values import Fill, Test
from application.commands import CommandDefinition

STANDING: Mapping[str, type] = {"row": int, "line": int, "last": bool}
"""What every row knows: its number in the file, its place in its document, whether it is the last one there."""


@dataclass(frozen=True, slots=True)
class CommandFields:
    """What the mapping has to know about a command."""

    creates: bool
    required: frozenset[str]
    optional: frozenset[str]

    @classmethod
    def of(cls, definition: CommandDefinition) -> Self:
        """The fields of a command that the service knows."""
        required: set[str] = set()
        optional: set[str] = set()
        for field in fields(definition.command):
            needed = field.default is MISSING and field.default_factory is MISSING
            (required if needed else optional).add(field.name)
        return cls(definition.creates, frozenset(required), frozenset(optional))


@dataclass(frozen=True, slots=True)
class CommandRule:
    """Makes one command of a document, or of each of its rows."""

    outcome: Fill
    """Under what the rows are counted."""
    together: bool
    when: Test | None
    command: str
    key: Fill
    target: Fill | None
    data: Fill


@dataclass(frozen=True, slots=True)
class FirstSeenRule:
    """Registers something, once, that documents refer to."""

    name: str
    by: tuple[str, ...]
    typical: tuple[str, ...]
    """Columns that take the value which most rows about it have."""
    already_there: frozenset[str]
    """Problems that say that it is registered already, by somebody else."""
    needs: frozenset[str]
    when: Test | None
    command: str
    key: Fill
    data: Fill


@dataclass(frozen=True, slots=True)
class SpecialRule:
    """Rows that a reader of the summary wants to know about, and how they are booked."""

    name: str
    how: str
    when: Test | None
    repeated: bool
    """Whether only rows count that repeat an earlier row of their document, cell by cell."""
    several: str | None
    """Only rows of documents in which this column has more than one value."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Another file that says more about what a row names."""

    name: str
    file: str
    by: str
    optional: bool
    format: FileFormat
    columns: tuple[Column, ...]
    """The first one is the key."""

    def derived(self, folder: Path) -> list[Derived]:
        """The columns that rows get from this file."""
        known = _Found(Table(folder / self.file, self.format, self.columns), self.columns[0].name)

        def compute(name: str) -> Callable[[Row], Value]:
            def value(row: Row) -> Value:
                key = row[self.by]
                try:
                    entry = known.entry(key)
                except CellError as error:
                    message = f"{self.by}: {key!r} cannot be told from {self.file}: {error}"
                    raise CellError(message) from None
                if entry is None and not self.optional:
                    message = f"{self.by}: {key!r} is not in {self.file}"
                    raise CellError(message)
                return entry[name] if entry is not None else None

            return value

        return [Derived(column.name, frozenset({self.by}), compute(column.name)) for column in self.columns[1:]]


class _Found:
    """The rows of a file by their key: read at the first question, and never guessed."""

    def __init__(self, table: Table, key: str) -> None:
        self._table = table
        self._key = key
        self._entries: dict[Value, Row] | None = None
        self._doubts: dict[Value, str] = {}
        """Why nothing is told of a key: one of its rows cannot be read, or two of them say different things."""
        self._without_key = ""
        """What is wrong with a row whose key cannot be read: it could be that of anything that is not found."""

    def entry(self, key: Value) -> Row | None:
        """The row with this key, None if there is none. Raises `CellError` where that cannot be told."""
        entries = self._entries if self._entries is not None else self._read()
        if key in self._doubts:
            raise CellError(self._doubts[key])
        entry = entries.get(key)
        if entry is None and key is not None and self._without_key:
            raise CellError(self._without_key)
        return entry

    def _read(self) -> dict[Value, Row]:
        entries: dict[Value, Row] = {}
        for entry, problem in self._table.rows():
            row, key = entry.pop("row"), entry.get(self._key)
            if problem and self._key not in entry:
                self._without_key = self._without_key or f"its row {row} cannot be read: {problem}"
            elif key is None:
                continue  # a row without a key is about nothing
            elif problem:
                self._doubts.setdefault(key, f"its row {row} cannot be read: {problem}")
            elif entries.setdefault(key, entry) != entry:
                self._doubts.setdefault(key, f"several of its rows are about that, and row {row} says something else")
        self._entries = entries
        return entries


@dataclass(frozen=True, slots=True)
class ImportMapping:
    """A whole mapping, checked."""

    name: str
    file: FileFormat
    columns: tuple[Column, ...]
    lookups: tuple[Lookup, ...]
    computed: tuple[Derived, ...]
    by: tuple[str, ...]
    consecutive: bool
    order: tuple[str, ...]
    carry: tuple[Carried, ...]
    first_seen: tuple[FirstSeenRule, ...]
    commands: tuple[CommandRule, ...]
    special: tuple[SpecialRule, ...]
    unmatched: str | None
    """Under what rows are counted that no rule takes; absent: they are an error."""

    def table(self, path: Path) -> Table:
        """The rows of a file; files that the mapping looks things up in lie beside it."""
        derived = [column for lookup in self.lookups for column in lookup.derived(path.parent)]
        return Table(path, self.file, self.columns, [*derived, *self.computed])

    def gathering(self) -> Gathering:
        """How the rows of one reading come together."""
        return Gathering(self.by, consecutive=self.consecutive, order=self.order, carry=self.carry)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns of the file itself."""
        return tuple(column.name for column in self.columns)
