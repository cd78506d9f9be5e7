"""Decoding: from the bytes of a body to a validated command, or to a problem that repeats nothing of what was sent.

The bytes go through pydantic-core once. What it leaves open is checked here: that no object has a member twice, which
JSON parsers settle silently and differently.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from api.problems import DUPLICATE_MEMBER, INVALID_BODY, MALFORMED_JSON, FieldError, Problem

T = TypeVar("T")

ERRORS_MAX = 100
"""More than this many errors of one body help nobody."""
NAME_LENGTH_MAX = 40
"""No field of ours has a longer name; what is longer was not meant as one, and is not repeated."""

PATTERN_MESSAGE_LENGTH_MAX = 100
"""A pattern that can be read, as that of a currency, is shown; a long one is put into words."""

_WITHOUT_INPUT: Mapping[str, str] = {
    # The messages of these quote a piece of what was sent.
    "uuid_parsing": "a UUID is expected, such as 0190b7c2-7e1a-7000-8000-000000000001",
    "date_parsing": "a day is expected, as YYYY-MM-DD",
    "date_from_datetime_parsing": "a day is expected, as YYYY-MM-DD",
    "datetime_parsing": "an instant is expected, such as 2026-04-01T09:30:00Z",
    "datetime_from_date_parsing": "an instant is expected, such as 2026-04-01T09:30:00Z",
}

_TAG = "command"
_OF_TAGS = {"union_tag_invalid": "the name of a command is expected", "union_tag_not_found": "the field is required"}


class Decoder(Generic[T]):
    """Decodes bodies of one type."""

    def __init__(self, shape: Any) -> None:
        self.adapter: TypeAdapter[T] = TypeAdapter(shape)
        self._validate = self.adapter.validator.validate_json

    def __call__(self, body: bytes) -> T:
        """The value in the body. Raises a `Problem`."""
        value = self._read(body)
        if isinstance(value, Problem):
            raise value
        refuse_duplicate_members(body)
        return value

    def _read(self, body: bytes) -> T | Problem:
        """The value in the body, or why there is none.

        The problem must not refer to pydantic's error: that may hold an error of ours with the frames of everybody who
        called, and no garbage collector looks into it. A caller that kept the problem would be kept with it, for ever.
        """
        try:
            value: T = self._validate(body, strict=True, extra="forbid")
        except ValidationError as error:
            return _problem(error, body)
        return value


def refuse_duplicate_members(body: bytes) -> None:
    """Refuse JSON in which an object has a member twice.

    Parsed and written again, the text has lost such members, and with each of them two quotation marks. Only an escaped
    quotation mark could make up for that, so bodies with one take the slow way.
    """
    if b"\\u0022" in body:
        json.loads(body, object_pairs_hook=_refuse_pairs)
    elif to_json(from_json(body)).count(b'"') != body.count(b'"'):
        raise Problem(DUPLICATE_MEMBER)


def _refuse_pairs(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise Problem(DUPLICATE_MEMBER)


def _problem(error: ValidationError, body: bytes) -> Problem:
    found = error.errors(include_input=False, include_url=False)
    if found[0]["type"] == "json_invalid":
        return Problem(MALFORMED_JSON, detail=found[0]["msg"].removeprefix("Invalid JSON: "))
    try:
        sent = from_json(body, allow_inf_nan=False)
    except ValueError as invalid:  # NaN and Infinity, which are not JSON, though the validator reads them
        return Problem(MALFORMED_JSON, detail=str(invalid))
    return Problem(INVALID_BODY, errors=[_field_error(each, sent) for each in found[:ERRORS_MAX]])


def _field_error(error: ErrorDetails, sent: Any) -> FieldError:
    kind, location = error["type"], error["loc"]
    if kind == "unexpected_keyword_argument":
        pointer = _pointer(location[:-1], sent)
        name = str(location[-1])
        shown = name if name.isascii() and name.isidentifier() and len(name) <= NAME_LENGTH_MAX else None
        return FieldError(
            pointer=pointer if shown is None else f"{pointer}/{shown}",
            detail="the field is unknown" if shown else "a field is unknown, and its name is not the name of a field",
        )
    if kind in _OF_TAGS:
        return FieldError(pointer=f"{_pointer(location, sent)}/{_TAG}", detail=_OF_TAGS[kind])
    detail = _WITHOUT_INPUT.get(kind) or error["msg"].removeprefix("Value error, ")
    if kind == "string_pattern_mismatch" and len(detail) > PATTERN_MESSAGE_LENGTH_MAX:
        detail = "the text has a character, or a space at an end, that does not belong there"
    return FieldError(pointer=_pointer(location, sent), detail=detail)


def _pointer(location: Sequence[int | str], sent: Any) -> str:
    """A JSON pointer to what a validator's location means; its remarks on unions are not part of the body."""
    steps: list[str] = []
    value = sent
    for place, step in enumerate(location):
        is_last = place == len(location) - 1
        if isinstance(value, dict) and isinstance(step, str) and (step in value or is_last):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            continue
        steps.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{step}" for step in steps)
