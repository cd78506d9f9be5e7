"""The shapes of what reports answer; rows have the columns that the definition of a report names, and their types."""

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from types import GenericAlias
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import Field, WithJsonSchema
from typing_extensions import TypedDict

from api.event_documents import ShownEvent
from api.shapes import described
from projections.reports import Parameter, ReportDefinition, Word

Row = TypeVar("Row")

QuestionValue: TypeAlias = str | tuple[str, ...] | None
Question: TypeAlias = Mapping[str, QuestionValue]
"""The parameters as they were understood; those that can be given several times, or name several things, as lists."""


@described
class ReportDocument(Generic[Row]):
    """Figures, and everything that is needed to derive them again."""

    definition: str
    definition_version: int
    position: int
    """The position of the log that the figures are at."""
    question: Question
    """The parameters as they were understood."""
    basis: str
    """What is counted."""
    n: int
    """How many facts the figures are of."""
    excluded: Mapping[str, int]
    """How many facts some measure could not use, by reason."""
    total: Row | None
    rows: tuple[Row, ...]
    """A value that is null has its reason in the row's `reasons`."""
    next_cursor: str | None


@described
class EvidenceDocument:
    """The events behind figures."""

    definition: str
    definition_version: int
    position: int
    question: Question
    positions: tuple[int, ...]
    """Where the events stand in the log."""
    next_cursor: str | None
    events: tuple[ShownEvent, ...] | None = None
    """The events themselves, for those who may read the log and ask with `events=true`."""


def document_of(definition: ReportDefinition) -> Any:
    """The shape of what a report answers."""
    columns = {
        word.name: _described(_type_of(word) | None, word.meaning)
        for word in (*definition.dimensions, *definition.measures)
    }
    reason = _one_of(word.name for word in definition.reasons)
    columns["reasons"] = _described(GenericAlias(Mapping, (str, reason)), "Why values of this row are null, by column.")
    name = "".join(word.capitalize() for word in definition.name.split("_"))
    return ReportDocument[_MAKE_ROW(f"{name}Row", columns, total=False)]  # type: ignore[misc] # made of a definition


def schema_of(parameter: Parameter) -> Mapping[str, Any]:
    """What one value of a parameter looks like."""
    if parameter.values:
        return {"type": "string", "enum": list(parameter.values)}
    if parameter.listed:
        word = f"({'|'.join(map(re.escape, parameter.listed))})"
        return {"type": "string", "pattern": f"^({word}(,{word})*)?$"}
    if parameter.most is not None:
        return {"type": "integer", "minimum": 1, "maximum": parameter.most}
    return {"type": "string", **_FORMATS[parameter.value]}


_FORMATS: Mapping[type[Any], Mapping[str, str]] = {str: {}, date: {"format": "date"}, datetime: {"format": "date-time"}}
_MAKE_ROW: Any = TypedDict
_AS_TEXT = Annotated[Decimal, WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"})]


def _described(shape: Any, meaning: str) -> Any:
    return Annotated[shape, Field(description=meaning)]


def _type_of(word: Word) -> Any:
    if word.values:
        return _one_of(word.values)
    return _AS_TEXT if word.value is Decimal else word.value


def _one_of(texts: Iterable[str]) -> Any:
    literal: Any = Literal
    return literal[tuple(texts)]
