"""The columns of a mapping: those of the file, those looked up in other files, those computed from others."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from api.importing.cells import TYPES, CellError, CellFormat, CellReader, Row, Value, local_day, rounded, start_of_day
from api.importing.mapping import STANDING, Lookup
from api.importing.rows import Column, Derived, FileFormat
from api.importing.sections import Section
from api.importing.values import Fill, TemplateError, columns_in, require_column, template

FORMULAS = "product, sum, difference, least, most, text, day, start_of_day"


class Columns:
    """All columns that the rules of a mapping may name, with their types."""

    def __init__(self, top: Section) -> None:
        self._zone = ZoneInfo("UTC")
        self._missing: frozenset[str] = frozenset({""})
        self._values: dict[str, dict[str, str]] = {}
        self.types: dict[str, type] = {}
        self._readers: dict[str, CellReader] = {}
        file = top.section("file")
        self._zone = self._time_zone(file)
        self._missing = frozenset(file.texts("missing", [""]))
        self.file = _file_format(file)
        self._read_values(top.section("values"))
        self.columns = self._columns(top.section("columns"))
        if not self.columns:
            top.fail("needs at least one column", "columns")
        self.lookups = self._lookups(top.section("lookups"))
        self.computed = self._computed(top.section("computed"))
        self.types |= STANDING

    def _time_zone(self, section: Section) -> ZoneInfo:
        name = section.optional_text("time_zone")
        try:
            return ZoneInfo(name) if name else self._zone
        except (ZoneInfoNotFoundError, ValueError, OSError):
            section.fail(f"there is no time zone {name}; they are named as in Europe/Berlin", "time_zone")

    def _read_values(self, section: Section) -> None:
        for name in section.names():
            table = section.section(name)
            self._values[name] = {cell: table.text(cell) for cell in table.names()}

    def _columns(self, section: Section) -> list[Column]:
        return [self._column(section, name) for name in section.names()]

    def _column(self, section: Section, name: str) -> Column:
        if name in self.types or name in STANDING:
            section.fail("there is such a column already", name)
        rules = section.raw(name)
        source, reader = self._source_and_reader(section, name, rules)
        if isinstance(source, int) and source < 1:
            section.fail("columns are numbered from 1", name)
        self.types[name] = TYPES[reader.format.type]
        self._readers[name] = reader
        return Column(name, source, reader)

    def _source_and_reader(self, section: Section, name: str, rules: object) -> tuple[str | int, CellReader]:
        if isinstance(rules, str | int) and not isinstance(rules, bool):
            return rules, CellReader(name, CellFormat(time_zone=self._zone, missing=self._missing))
        column = section.section(name)
        number, header = column.optional_number("number"), column.optional_text("header")
        if (number is None) == (header is None):
            column.fail("needs either a header or a number")
        cell_format = self._cell_format(column)
        return header if number is None else number, CellReader(name, cell_format)  # type: ignore[return-value]  # one is there

    def _cell_format(self, section: Section) -> CellFormat:
        extract = section.optional_text("extract")
        values = section.optional_text("values")
        if values is not None and values not in self._values:
            section.fail(f"there is no table [values.{values}]", "values")
        case = section.choice("case", ("upper", "lower", "as it is"), "as it is")
        cell_format = CellFormat(
            type=section.choice("type", tuple(TYPES), "text"),
            format=section.optional_text("format"),
            time_zone=self._time_zone(section),
            decimal_mark=section.get("decimal_mark", str, "."),
            thousands_mark=section.get("thousands_mark", str, ""),
            places=section.optional_number("places"),
            trim=section.get("trim", bool, True),
            case=case if case != "as it is" else None,
            extract=self._pattern(section, extract) if extract is not None else None,
            missing=frozenset(section.texts("missing", sorted(self._missing))),
            values=self._values[values] if values is not None else None,
            otherwise=section.optional_text("otherwise"),
        )
        _check_marks(section, cell_format)
        default = section.raw("default")
        section.finish()
        if default is None:
            return cell_format
        try:
            return replace(cell_format, default=CellReader("default", replace(cell_format, values=None))[str(default)])
        except CellError as error:
            section.fail(str(error).removeprefix("default: "), "default")

    def _pattern(self, section: Section, pattern: str) -> re.Pattern[str]:
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            section.fail(f"is no regular expression: {error}", "extract")
        if compiled.groups != 1:
            section.fail("has one group in parentheses: what is meant", "extract")
        return compiled

    def _lookups(self, section: Section) -> list[Lookup]:
        lookups = []
        for name in section.names():
            lookup = section.section(name)
            by = lookup.text("by")
            self.require(lookup, "by", by)
            if by not in self._readers:
                lookup.fail("is a column of the file itself", "by")
            key = lookup.text("key")
            key_column = Column(f"{name}.{key}", key, CellReader(key, self._readers[by].format))
            lookups.append(
                Lookup(
                    name=name,
                    file=lookup.text("file"),
                    by=by,
                    optional=lookup.get("optional", bool, False),
                    format=_file_format(lookup.section("file_format")),
                    columns=(key_column, *self._columns(lookup.section("columns"))),
                )
            )
            lookup.finish()
        return lookups

    def _computed(self, section: Section) -> list[Derived]:
        made = []
        for name in section.names():
            if name in self.types or name in STANDING:
                section.fail("there is such a column already", name)
            rules = section.section(name)
            try:
                needs, kind, compute = self._formula(rules)
            except TemplateError as error:
                section.fail(str(error), name)
            rules.finish()
            made.append(Derived(name, needs, compute))
            self.types[name] = kind
        return made

    def _formula(self, rules: Section) -> tuple[frozenset[str], type, Callable[[Row], Value]]:
        words = [name for name in rules.names() if name not in {"places", "time_zone"}]
        if len(words) != 1:
            rules.fail(f"is made by one of {FORMULAS}")
        (word,) = words
        if word in _ARITHMETIC:
            return self._arithmetic(word, rules.get(word, list, []), rules.optional_number("places"))
        if word in _CHOICES:
            return self._choice(word, rules.texts(word))
        if word == "text":
            fill = template(rules.text("text"), self.types)
            return columns_in(rules.text("text")), str, lambda row: _text_of(fill, row)
        if word not in {"day", "start_of_day"}:
            rules.fail(f"{word} is not one of {FORMULAS}")
        return self._calendar(rules, word)

    def _arithmetic(
        self, word: str, operands: Sequence[object], places: int | None
    ) -> tuple[frozenset[str], type, Callable[[Row], Value]]:
        if len(operands) < 2:  # noqa: PLR2004 - less than two are no arithmetic
            msg = f"{word} takes a list of at least two columns or numbers"
            raise TemplateError(msg)
        names = [operand for operand in operands if isinstance(operand, str)]
        for name in names:
            if require_column(name, self.types) not in {int, Decimal}:
                msg = f"{word} takes numbers, and {name} is none"
                raise TemplateError(msg)
        return frozenset(names), Decimal, _calculation(_ARITHMETIC[word], operands, places)

    def _choice(self, word: str, names: Sequence[str]) -> tuple[frozenset[str], type, Callable[[Row], Value]]:
        kinds = {require_column(name, self.types) for name in names}
        if len(names) < 2 or len(kinds) != 1:  # noqa: PLR2004 - of one there is nothing to choose
            msg = f"{word} takes a list of at least two columns of one type"
            raise TemplateError(msg)
        return frozenset(names), kinds.pop(), _chosen(_CHOICES[word], names)

    def _calendar(self, rules: Section, word: str) -> tuple[frozenset[str], type, Callable[[Row], Value]]:
        name, zone = rules.text(word), self._time_zone(rules)
        wanted, kind = (datetime, date) if word == "day" else (date, datetime)
        if require_column(name, self.types) is not wanted:
            msg = f"{word} is made of a {'time' if word == 'day' else 'date'}, and {name} is none"
            raise TemplateError(msg)
        convert: Callable[[Any, ZoneInfo], Value] = local_day if word == "day" else start_of_day
        return frozenset({name}), kind, lambda row: None if row[name] is None else convert(row[name], zone)

    def literal(self, name: str, value: object) -> Value:
        """What a column is compared with, read as its cells are."""
        kind = require_column(name, self.types)
        if name in self._readers and isinstance(value, str):
            reader = self._readers[name]
            try:
                return CellReader(name, replace(reader.format, values=None, extract=None))[value]
            except CellError as error:
                raise TemplateError(str(error)) from None
        if kind is Decimal and isinstance(value, int | Decimal) and not isinstance(value, bool):
            return Decimal(value)
        if type(value) is kind:
            return value  # type: ignore[return-value]  # it has the type of a column
        msg = f"{name} cannot be compared with {value!r}"
        raise TemplateError(msg)

    def require(self, section: Section, name: str, column: str) -> None:
        """Refuse the mapping if a field names a column that there is not."""
        try:
            require_column(column, self.types)
        except TemplateError as error:
            section.fail(str(error), name)


def _file_format(section: Section) -> FileFormat:
    encoding = section.get("encoding", str, "utf-8")
    try:
        "".encode(encoding)
    except LookupError:
        section.fail(f"there is no encoding {encoding}", "encoding")
    file_format = FileFormat(
        # A byte order mark at the start is no part of the first header.
        encoding="utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding,
        delimiter=section.get("delimiter", str, ","),
        quote=section.get("quote", str, '"'),
        header=section.get("header", bool, True),
        member=section.optional_text("member"),
    )
    for name in ("delimiter", "quote"):
        if len(getattr(file_format, name)) != 1:
            section.fail("is one character", name)
    section.finish()
    return file_format


def _check_marks(section: Section, cell_format: CellFormat) -> None:
    """Refuse marks by which a number could be read in two ways."""
    marks = {"decimal_mark": cell_format.decimal_mark, "thousands_mark": cell_format.thousands_mark}
    for name, mark in marks.items():
        if len(mark) > 1 or mark.isalnum() or mark in {"+", "-"} or (not mark and name == "decimal_mark"):
            section.fail("is one character, and neither a digit, a letter nor a sign", name)
    if cell_format.type == "decimal" and marks["decimal_mark"] == marks["thousands_mark"]:
        section.fail("is the decimal mark, too: write decimal_mark and thousands_mark apart", "thousands_mark")


_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "product": lambda one, other: one * other,
    "sum": lambda one, other: one + other,
    "difference": lambda one, other: one - other,
}


_CHOICES: Mapping[str, Callable[[list[Any]], Any]] = {"least": min, "most": max}


def _chosen(choose: Callable[[list[Any]], Any], names: Sequence[str]) -> Callable[[Row], Value]:
    def compute(row: Row) -> Value:
        values = [row[name] for name in names]
        return None if None in values else choose(values)

    return compute


def _text_of(fill: Fill, row: Row) -> Value:
    text = fill(row, ())
    return text if text is None or isinstance(text, str) else str(text)


def _calculation(
    operation: Callable[[Any, Any], Any], operands: Sequence[object], places: int | None
) -> Callable[[Row], Value]:
    constant = [None if isinstance(operand, str) else operand for operand in operands]
    names = [(place, operand) for place, operand in enumerate(operands) if isinstance(operand, str)]

    def compute(row: Row) -> Value:
        numbers: list[Any] = constant.copy()
        for place, name in names:
            numbers[place] = value = row[name]
            if value is None:
                return None
        try:
            return rounded(Decimal(reduce(operation, numbers)), places)
        except ArithmeticError:
            message = f"{operands} make a number beyond all bounds"
            raise CellError(message) from None

    return compute
