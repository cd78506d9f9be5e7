"""The file, row by row, and its rows gathered into documents.

A file is read twice where the rows of one document may be scattered over it: first to count the rows of each document,
then to hand out each document as soon as its last row was read. So only what is still incomplete is kept in memory.
"""

import csv
import gzip
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

from api.importing.cells import CellError, CellReader, Row, Value

FIELD_LENGTH_MAX = 1 << 20
"""No cell is longer than the largest event; so a closing quote that is missing does not swallow the whole file."""


class FileError(Exception):
    """The file cannot be read with this mapping at all."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How the file is written."""

    encoding: str = "utf-8-sig"
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    member: str | None = None
    """Which file of a zip, where it holds several."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the file: the header it has, or its number from 1."""

    name: str
    source: str | int
    reader: CellReader


@dataclass(frozen=True, slots=True)
class Derived:
    """A column made of others, such as a product of two."""

    name: str
    needs: frozenset[str]
    """The columns that it is made of; those that are derived themselves come before it."""
    compute: Callable[[Row], Value]


@dataclass(frozen=True, slots=True)
class Carried:
    """A column that, where it says nothing, keeps what the row before it in the document said."""

    name: str
    while_same: str | None = None
    """It does so only while this column stays the same."""

    def along(self, rows: Sequence[Row]) -> None:
        """Carry from row to row."""
        for before, row in pairwise(rows):
            stays = self.while_same is None or row[self.while_same] == before[self.while_same]
            if row[self.name] is None and stays:
                row[self.name] = before[self.name]


@dataclass(slots=True)
class Document:
    """The rows of one document, in order, and those that nobody could read."""

    key: Hashable
    rows: list[Row] = field(default_factory=list)
    unreadable: list[tuple[int, str]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many rows of the file it has."""
        return len(self.rows) + len(self.unreadable)


class Table:
    """A file as rows of values, under the names that the mapping gives to its columns."""

    def __init__(
        self, path: Path, file_format: FileFormat, columns: Sequence[Column], derived: Sequence[Derived] = ()
    ) -> None:
        self.path = path
        self._format = file_format
        self._columns = columns
        self._derived = derived

    def rows(self, wanted: frozenset[str] | None = None) -> Iterator[tuple[Row, str]]:
        """Each row, and what makes it unreadable (then with the columns that could be read), else an empty text.

        With `wanted`, only those columns are read, and what they are made of. Each row has its number as `row`.
        """
        needed = self._needed(wanted)
        computed = [(column.name, column.compute) for column in self._derived if column.name in needed]
        columns = [column for column in self._columns if column.name in needed]
        with self._records() as (header, records):
            width = len(header)
            places = [(column.name, self._index(column, header), column.reader) for column in columns]
            for number, cells in records:
                if len(cells) != width:
                    yield {"row": number}, f"has {len(cells)} cells instead of {width}"
                    continue
                try:
                    row: Row = {name: known[cells[index]] for name, index, known in places}
                    row["row"] = number
                    for name, compute in computed:
                        row[name] = compute(row)
                except CellError as error:
                    yield _readable_part(number, cells, places, computed), str(error)
                else:
                    yield row, ""

    def _needed(self, wanted: frozenset[str] | None) -> frozenset[str]:
        if wanted is None:
            return frozenset([*(column.name for column in self._columns), *(derived.name for derived in self._derived)])
        for derived in reversed(self._derived):
            if derived.name in wanted:
                wanted |= derived.needs
        return wanted

    def _index(self, column: Column, header: list[str]) -> int:
        if isinstance(column.source, int):
            if column.source > len(header):
                message = f"column {column.name} is number {column.source}, and the file has {len(header)} columns"
                raise FileError(message)
            return column.source - 1
        times = header.count(column.source)
        if times == 1:
            return header.index(column.source)
        if times:
            numbers = " and ".join(str(index + 1) for index, name in enumerate(header) if name == column.source)
            message = f"several columns are called {column.source}: name {column.name} by its number, {numbers}"
            raise FileError(message)
        near = get_close_matches(column.source, header, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(header)}"
        message = f"the file has no column {column.source}; {hint}"
        raise FileError(message)

    @contextmanager
    def _records(self) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
        rules = self._format
        try:
            with self._opened() as lines:
                reader = csv.reader(lines, delimiter=rules.delimiter, quotechar=rules.quote, strict=True)
                first = next(reader, None)
                if first is None:
                    message = f"{self.path} is empty"
                    raise FileError(message)
                header = [name.strip() for name in first] if rules.header else [str(n + 1) for n in range(len(first))]
                yield header, _numbered(reader, None if rules.header else first)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeError) as error:
            message = f"{self.path} cannot be read: {getattr(error, 'strerror', None) or error}"
            raise FileError(message) from error

    @contextmanager
    def _opened(self) -> Iterator[io.TextIOWrapper]:
        # Bytes that are no text become surrogates, which the reader of their cell refuses: they cost one row only.
        def text(stream: Any) -> io.TextIOWrapper:
            return io.TextIOWrapper(stream, encoding=self._format.encoding, errors="surrogateescape", newline="")

        if self.path.suffix == ".zip":
            with (
                zipfile.ZipFile(self.path) as zipped,
                zipped.open(self._member(zipped)) as stream,
                text(stream) as lines,
            ):
                yield lines
        else:
            opened: Any = gzip.open if self.path.suffix == ".gz" else open
            with opened(self.path, "rb") as stream, text(stream) as lines:
                yield lines

    def _member(self, archive: zipfile.ZipFile) -> str:
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        wanted = [name for name in names if self._format.member in {None, name}]
        if len(wanted) == 1:
            return wanted[0]
        message = f"{self.path} holds {', '.join(names) or 'no file'}; say which one in the mapping, file.member"
        raise FileError(message)


def _numbered(reader: Any, first: list[str] | None) -> Iterator[tuple[int, list[str]]]:
    number = 0
    if first is not None:
        number = 1
        yield number, first
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            message = f"the row after row {number} (line {reader.line_num} of the file) is no CSV: {error}"
            raise FileError(message) from None
        if cells is None:
            return
        if cells:  # an empty line is no row
            number += 1
            yield number, cells


def _readable_part(
    number: int,
    cells: list[str],
    places: list[tuple[str, int, CellReader]],
    computed: list[tuple[str, Callable[[Row], Value]]],
) -> Row:
    row: Row = {"row": number}
    for name, index, known in places:
        try:
            row[name] = known[cells[index]]
        except CellError:
            continue
    for name, compute in computed:
        try:
            row[name] = compute(row)
        except (CellError, KeyError):
            continue
    return row


class Gathering:
    """Which rows make one document: those that agree in the columns `by`, everywhere in the file or in a run."""

    def __init__(
        self, by: Sequence[str], *, consecutive: bool, order: Sequence[str] = (), carry: Sequence[Carried] = ()
    ) -> None:
        self.by = tuple(by)
        self.consecutive = consecutive
        self._order = order
        self._carry = carry
        self._count: Counter[Hashable] = Counter()

    @property
    def counts_first(self) -> bool:
        """Whether the rows have to be counted before any document can be handed out."""
        return bool(self.by) and not self.consecutive

    def count(self, row: Row) -> None:
        """Count a row of a first reading."""
        self._count[self._key(row)] += 1

    def documents(self, rows: Iterator[tuple[Row, str]]) -> Iterator[Document]:
        """The documents, each as soon as it is complete."""
        gathered: dict[Hashable, Document] = {}
        last: Hashable = None
        for row, problem in rows:
            key = self._key(row)
            if self.consecutive and key != last and last in gathered:
                yield self._complete(gathered.pop(last))
            last = key
            document = gathered.get(key)
            if document is None:
                document = gathered[key] = Document(key)
            if problem:
                document.unreadable.append((int(str(row["row"])), problem))
            else:
                document.rows.append(row)
            if not self.by or (not self.consecutive and document.size == self._count[key]):
                yield self._complete(gathered.pop(key))
        for document in gathered.values():
            yield self._complete(document)

    def _key(self, row: Row) -> Hashable:
        try:
            return tuple([row[name] for name in self.by]) or row["row"]
        except KeyError:
            # A row whose key cannot be read is a document of its own, named by its number.
            return row["row"]

    def _complete(self, document: Document) -> Document:
        rows = document.rows
        if self._order:
            rows.sort(key=lambda row: [(row[name] is not None, row[name]) for name in self._order])
        for column in self._carry:
            column.along(rows)
        for line, row in enumerate(rows, start=1):
            row["line"] = line
            row["last"] = False
        if rows:
            rows[-1]["last"] = True
        return document
