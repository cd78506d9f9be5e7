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
        table = Table(folder / self.file, self.format, self.columns)
        found: dict[Value, Row] = {}

        def compute(name: str) -> Callable[[Row], Value]:
            def value(row: Row) -> Value:
                if not found:
                    found.update((entry[self.columns[0].name], entry) for entry, problem in table.rows() if not problem)
                entry = found.get(row[self.by])
                if entry is None and not self.optional:
                    message = f"{self.by}: {row[self.by]!r} is not in {self.file}"
                    raise CellError(message)
                return entry[name] if entry is not None else None

            return value

        return [Derived(column.name, frozenset({self.by}), compute(column.name)) for column in self.columns[1:]]


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
