"""The tables of a mapping file, read field by field, so that what is wrong is named by its line and its field."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

T = TypeVar("T")
Place: TypeAlias = tuple[str | int, ...]
"""The way to a field: names of tables and fields, places in lists."""


_KINDS = {str: "a text in quotes", bool: "true or false", int: "a whole number", list: "a list", dict: "a table"}


class MappingError(Exception):
    """A mapping cannot be used; the message names the file, the line and the field."""


class Source:
    """The text of a mapping, to say in which line something stands."""

    _HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
    _KEY = re.compile(r"""^\s*([\w."'-]+(\s*\.\s*[\w."'-]+)*)\s*=""")

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self._lines: dict[Place, int] = {}
        arrays: dict[Place, int] = {}
        table: Place = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if header := self._HEADER.match(line):
                table = ()
                names = _names(header[2])
                for index, name in enumerate(names):
                    table = (*table, name)
                    is_new = header[1] == "[[" and index == len(names) - 1
                    if is_new:
                        arrays[table] = arrays.get(table, -1) + 1
                    if table in arrays:
                        table = (*table, arrays[table])
                self._lines.setdefault(table, number)
            elif key := self._KEY.match(line):
                self._lines.setdefault((*table, *_names(key[1])), number)

    def line(self, place: Place) -> int | None:
        """The line of this place, or of what it is part of."""
        for length in range(len(place), 0, -1):
            if place[:length] in self._lines:
                return self._lines[place[:length]]
        return None


def _names(dotted: str) -> list[str]:
    return [name.strip().strip("\"'") for name in dotted.split(".")]


class Section:
    """One table of the mapping; what nobody asked for by the end is an error."""

    def __init__(self, source: Source, place: Place, table: object) -> None:
        self.source = source
        self.place = place
        if not isinstance(table, dict):
            self.fail("is a table, with names and values")
        self._table: dict[str, Any] = table
        self._asked: set[str] = set()

    def fail(self, message: str, *names: str | int) -> NoReturn:
        """Refuse the mapping because of a field of this table."""
        place = (*self.place, *names)
        line = self.source.line(place)
        where = f"{self.source.path}:{line}" if line else f"{self.source.path}"
        dotted = "".join(f"[{name + 1}]" if isinstance(name, int) else f".{name}" for name in place).removeprefix(".")
        message = f"{where}: {dotted}: {message}" if dotted else f"{where}: {message}"
        raise MappingError(message)

    def get(self, name: str, kind: type[T], default: T) -> T:
        """The value of a field, of this type."""
        self._asked.add(name)
        value = self._table.get(name, default)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.fail(f"is {_KINDS[kind]}", name)
        return value

    def text(self, name: str) -> str:
        """A text that has to be there."""
        if name not in self._table:
            self.fail(f"needs a {name}")
        text = self.get(name, str, "")
        if not text:
            self.fail("is empty", name)
        return text

    def optional_text(self, name: str) -> str | None:
        """A text that may be absent."""
        self._asked.add(name)
        return self.text(name) if name in self._table else None

    def optional_number(self, name: str) -> int | None:
        """A whole number that may be absent."""
        self._asked.add(name)
        return self.get(name, int, 0) if name in self._table else None

    def texts(self, name: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of texts; one text is a list of one."""
        self._asked.add(name)
        if isinstance(self._table.get(name), str):
            return (self.text(name),)
        values = self.get(name, list, list(default))
        for index, value in enumerate(values):
            if not isinstance(value, str):
                self.fail("is a text in quotes", name, index)
        return tuple(values)

    def choice(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of these words."""
        word = self.get(name, str, default)
        if word not in choices:
            self.fail(f"{word!r} is not one of {', '.join(choices)}", name)
        return word

    def raw(self, name: str) -> Any:
        """Whatever stands there, or None."""
        self._asked.add(name)
        return self._table.get(name)

    def section(self, name: str) -> "Section":
        """A table in this one; empty where it is absent."""
        return Section(self.source, (*self.place, name), self.get(name, dict, {}))

    def sections(self, name: str) -> list["Section"]:
        """A list of tables in this one."""
        tables = self.get(name, list, [])
        return [Section(self.source, (*self.place, name, index), table) for index, table in enumerate(tables)]

    def names(self) -> list[str]:
        """The names of all fields, where they are the mapping's own."""
        return list(self._table)

    def finish(self) -> None:
        """Refuse what nobody asked for."""
        for name in self._table:
            if name not in self._asked:
                near = get_close_matches(name, self._asked, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(self._asked))}"
                self.fail(f"means nothing here; {hint}", name)
