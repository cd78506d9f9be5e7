"""What a command carries, said in templates; and the conditions that choose among the rules of a mapping.

A text is a template: `retail:{invoice}`. One that is nothing but a column, `{quantity}`, has that column's type;
`{description|stock_code}` is the first of these that says anything. A template that needs a column which says nothing
is left out of its table. Tables and lists are taken as they are, but for `{ each_row = ... }`, which makes a list with
one entry for each row of the document, and `{ sum = "net" }`, `{ least = ... }` and `{ most = ... }`, which take one
column of all its rows.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias

from api.importing.cells import JSON_OF, Row, Value, as_json

Json: TypeAlias = str | int | bool | list["Json"] | dict[str, "Json"] | None
Fill: TypeAlias = Callable[[Row, Sequence[Row]], Json]
"""Makes a value from one row and all rows of its document; None where a column that it needs says nothing."""
Test: TypeAlias = Callable[[Row, Row | None], bool]
"""Whether a row, with the row before it in its document, meets a condition."""

_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_OVER_ALL_ROWS: Mapping[str, Callable[[list[Any]], Any]] = {"sum": sum, "least": min, "most": max}


class TemplateError(ValueError):
    """A template, value or condition of a mapping cannot be understood; `path` leads to it."""

    def __init__(self, message: str, path: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


def columns_in(value: object) -> frozenset[str]:
    """The names of all columns in a template, or in all templates of a table."""
    if isinstance(value, str):
        return frozenset(name for names, _ in _parts(value) if names is not None for name in names.split("|"))
    if isinstance(value, dict):
        if len(value) == 1 and (names := [value[word] for word in _OVER_ALL_ROWS if word in value]):
            return frozenset(names)
        value = list(value.values())
    return frozenset().union(*(columns_in(item) for item in value)) if isinstance(value, list) else frozenset()


def over_rows_in(value: object) -> frozenset[str]:
    """The words in a value that speak of all rows of a document."""
    if isinstance(value, list):
        return frozenset().union(*map(over_rows_in, value))
    if not isinstance(value, dict):
        return frozenset()
    words = {"each_row", *_OVER_ALL_ROWS} if len(value) == 1 else set[str]()
    return frozenset(words & value.keys()).union(*map(over_rows_in, value.values()))


def _parts(template: str) -> list[tuple[str | None, str]]:
    """Columns, and the text before each; the text after the last one has no column."""
    parts: list[tuple[str | None, str]] = []
    text, end = "", 0
    for place in _PLACE.finditer(template):
        text += template[end : place.start()]
        end = place.end()
        if place[0] in {"{{", "}}"}:
            text += place[0][0]
        elif place[1]:
            parts.append((place[1], text))
            text = ""
        else:
            msg = f"{template!r} has a single brace; a brace that is meant is doubled, {{{{ or }}}}"
            raise TemplateError(msg)
    return [*parts, (None, text + template[end:])]


def template(text: str, types: Mapping[str, type]) -> Fill:
    """A text with columns in braces; `types` are the columns there are."""
    parts = _parts(text)
    names = [name for name, _ in parts if name is not None]
    if not names:
        constant = parts[-1][1]
        return lambda _row, _rows: constant
    if len(parts) == 2 and not parts[0][1] and not parts[1][1]:  # noqa: PLR2004 - one column and no text around it
        return _single(names[0], types)
    pieces = [_single(name, types) for name in names]
    pattern = "".join(before.replace("%", "%%") + ("%s" if name else "") for name, before in parts)

    def fill(row: Row, rows: Sequence[Row]) -> Json:
        values = [piece(row, rows) for piece in pieces]
        return None if None in values else pattern % tuple(values)

    return fill


def _single(name: str, types: Mapping[str, type]) -> Fill:
    if "|" in name:
        choices = [_single(choice, types) for choice in name.split("|")]
        return lambda row, rows: next((found for choice in choices if (found := choice(row, rows)) is not None), None)
    kind = require_column(name, types)
    if kind in {str, int, bool}:
        return lambda row, _rows: row[name]  # type: ignore[return-value]  # no decimal and no date, so it is JSON
    said = JSON_OF[kind]
    return lambda row, _rows: None if (value := row[name]) is None else said(value)


def shape(value: object, types: Mapping[str, type]) -> Fill:
    """Whatever a mapping says under `data`: templates, numbers, lists and tables of them."""
    if isinstance(value, str):
        return template(value, types)
    if isinstance(value, bool | int):
        return lambda _row, _rows: value
    if isinstance(value, list):
        return _list([_at(index, item, types) for index, item in enumerate(value)])
    if isinstance(value, dict):
        if len(value) == 1:
            word, inner = next(iter(value.items()))
            if word == "each_row":
                return _each_row(_at(word, inner, types))
            if word in _OVER_ALL_ROWS:
                return _over_all_rows(word, inner, types)
        return _table({name: _at(name, inner, types) for name, inner in value.items()})
    msg = f"{value!r} cannot be sent: write numbers with a point, dates and times as text"
    raise TemplateError(msg)


def _at(place: str | int, value: object, types: Mapping[str, type]) -> Fill:
    try:
        return shape(value, types)
    except TemplateError as error:
        raise TemplateError(str(error), (place, *error.path)) from None


def _list(items: Sequence[Fill]) -> Fill:
    def fill(row: Row, rows: Sequence[Row]) -> Json:
        return [filled for item in items if (filled := item(row, rows)) is not None]

    return fill


def _table(fields: Mapping[str, Fill]) -> Fill:
    entries = list(fields.items())

    def fill(row: Row, rows: Sequence[Row]) -> Json:
        return {name: filled for name, field in entries if (filled := field(row, rows)) is not None}

    return fill


def _each_row(item: Fill) -> Fill:
    return lambda _row, rows: [item(row, rows) for row in rows]


def _over_all_rows(word: str, name: object, types: Mapping[str, type]) -> Fill:
    if not isinstance(name, str):
        msg = f"{word} takes the name of a column"
        raise TemplateError(msg)
    kind = require_column(name, types)
    if word == "sum" and kind not in {int, Decimal}:
        msg = f"sum needs a column of numbers, and {name} is none"
        raise TemplateError(msg)
    reduce = _OVER_ALL_ROWS[word]

    def fill(_row: Row, rows: Sequence[Row]) -> Json:
        values = [value for row in rows if (value := row[name]) is not None]
        return as_json(reduce(values)) if values else None

    return fill


def require_column(name: str, types: Mapping[str, type]) -> type:
    """The type of a column, which must be there."""
    try:
        return types[name]
    except KeyError:
        from difflib import get_close_matches  # noqa: PLC0415 - needed on the way to an error only

        near = get_close_matches(name, types, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(types)}"
        msg = f"there is no column {name}{hint}"
        raise TemplateError(msg) from None


def condition(tests: Mapping[str, object], types: Mapping[str, type], literal: Callable[[str, object], Value]) -> Test:
    """All of these tests, a column each; `literal` reads what a column is compared with as that column's type."""
    parts = [_column_test(name, wanted, types, literal) for name, wanted in tests.items()]
    if len(parts) == 1:
        return parts[0]
    return lambda row, before: all(part(row, before) for part in parts)


def _column_test(name: str, wanted: object, types: Mapping[str, type], literal: Callable[[str, object], Value]) -> Test:
    require_column(name, types)
    if not isinstance(wanted, dict):
        value = literal(name, wanted)
        return lambda row, _before: row[name] == value
    if not wanted:
        msg = f"{name} has no test; give it one, such as {{ starts_with = 'C' }}"
        raise TemplateError(msg)
    parts = [_word_test(name, word, operand, types, literal) for word, operand in wanted.items()]
    if len(parts) == 1:
        return parts[0]
    return lambda row, before: all(part(row, before) for part in parts)


def _word_test(  # noqa: C901, PLR0911 - one line for each word of the language
    name: str, word: str, operand: object, types: Mapping[str, type], literal: Callable[[str, object], Value]
) -> Test:
    match word, operand:
        case "not", _:
            inner = _column_test(name, operand, types, literal)
            return lambda row, before: not inner(row, before)
        case "before", _:
            inner = _column_test(name, operand, types, literal)
            return lambda _row, before: before is not None and inner(before, None)
        case "same_as", str():
            require_column(operand, types)
            return lambda row, _before: row[name] == row[operand]
        case "missing", bool():
            return lambda row, _before: (row[name] is None) is operand
        case "changed", bool():
            return lambda row, before: (before is None or row[name] != before[name]) is operand
        case "one_of", list():
            values = [literal(name, item) for item in operand]
            return lambda row, _before: row[name] in values
        case "starts_with", str():
            return lambda row, _before: _as_text(row[name]).startswith(operand)
        case "matches", str():
            try:
                pattern = re.compile(operand)
            except re.error as error:
                msg = f"{operand!r} is no regular expression: {error}"
                raise TemplateError(msg) from None
            return lambda row, _before: pattern.search(_as_text(row[name])) is not None
        case (("less_than" | "more_than"), _):
            return _comparison(name, word, literal(name, operand))
    msg = (
        f"{name} = {{ {word} = {operand!r} }} is no condition; there are not, before, missing, changed, same_as, "
        "one_of, starts_with, matches, less_than and more_than"
    )
    raise TemplateError(msg)


def _as_text(value: Value) -> str:
    """A cell as texts are compared; one that says nothing is empty, and one of zero is not."""
    return "" if value is None else str(value)


def _comparison(name: str, word: str, bound: Any) -> Test:
    def test(row: Row, _before: Row | None) -> bool:
        value: Any = row[name]
        return value is not None and (value < bound if word == "less_than" else value > bound)

    return test
