"""Decoding: from the bytes of a body to a validated command, or to a problem that repeats nothing of what was sent.

The bytes go through pydantic-core once. What it leaves open is checked here: that no object has a member twice, which
JSON parsers settle silently and differently, and that a body is not so built that its errors are more work than it is.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, SchemaValidator, from_json, to_json

from api.problems import DUPLICATE_MEMBER, INVALID_BODY, MALFORMED_JSON, FieldError, Problem

T = TypeVar("T")

ERRORS_MAX = 100
"""More than this many errors of one body help nobody."""
NESTING_MAX = 20
"""The deepest line of a bulk body is nested 7 deep. What a validator cannot use it copies, level by level."""
MEMBERS_MAX = 100
"""Members of one object: three times as many as the largest command has fields."""
VALUES_MAX = 40_000
"""Values of a body, empty objects and arrays counted twice: 2,000 lines of an invoice with every field are 32,000."""
SMALL_MAX = 1_000
"""Of a body with no more values than this all errors are built, some thousands at most."""
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

_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A text in JSON. It takes back nothing and does without an end, so that no body makes it begin again and again."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_TOO_DEEP = f"it is nested more than {NESTING_MAX} deep, or does not end"

_TAG = "command"
_OF_TAGS = {"union_tag_invalid": "the name of a command is expected", "union_tag_not_found": "the field is required"}


class Decoder(Generic[T]):
    """Decodes bodies of one type."""

    def __init__(self, shape: Any) -> None:
        self.adapter: TypeAdapter[T] = TypeAdapter(shape)
        self._validate = self.adapter.validator.validate_json

    def __call__(self, body: bytes) -> T:
        """The value in the body. Raises a `Problem`."""
        values = _values_at_most(body)
        if values > MEMBERS_MAX or body.count(b"[") + body.count(b"{") > NESTING_MAX:
            _refuse_out_of_bounds(body, values)
        value = self._read(body, self._validate if values <= SMALL_MAX else self._validate_until_wrong)
        if isinstance(value, Problem):
            raise value
        refuse_duplicate_members(body)
        return value

    @cached_property
    def _validate_until_wrong(self) -> Callable[..., T]:
        """Leaves an array at its first wrong item, where all errors would be built before the first hundred are kept.

        Of a small body all are built: whoever has three wrong lines sees them at once.
        """
        validate: Callable[..., T] = SchemaValidator(_failing_fast(self.adapter.core_schema)).validate_json
        return validate

    def _read(self, body: bytes, validate: Callable[..., T]) -> T | Problem:
        """The value in the body, or why there is none.

        The problem must not refer to pydantic's error: that may hold an error of ours with the frames of everybody who
        called, and no garbage collector looks into it. A caller that kept the problem would be kept with it, for ever.
        """
        try:
            value = validate(body, strict=True, extra="forbid")
        except ValidationError as error:
            return _problem(error, body)
        return value


def _failing_fast(schema: Any) -> Any:
    """A schema of pydantic-core whose arrays end at their first wrong item."""
    if isinstance(schema, list | tuple):
        return type(schema)(_failing_fast(each) for each in schema)
    if not isinstance(schema, dict):
        return schema
    copied = {name: _failing_fast(each) for name, each in schema.items()}
    return copied | {"fail_fast": True} if schema.get("type") in {"tuple", "list"} else copied


def _values_at_most(body: bytes) -> int:
    """A body has no more values: each comes after a comma or an opening bracket. Those in texts are counted, too."""
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def _refuse_out_of_bounds(body: bytes, values: int) -> None:
    """Refuse what is nested too deep, or has too many members or values. What is no JSON is left to the validator."""
    if values > VALUES_MAX and _values_at_most(bare := _TEXT.sub(b"", body)) > VALUES_MAX:
        if _is_too_deep(bare):
            raise Problem(MALFORMED_JSON, detail=_TOO_DEEP)
        raise _out_of_bounds(detail=f"a body has at most {VALUES_MAX} values")
    try:
        level = [from_json(body)]
    except ValueError:
        return
    for _ in range(NESTING_MAX):
        containers = [each for each in level if isinstance(each, dict | list)]
        if any(isinstance(each, dict) and len(each) > MEMBERS_MAX for each in containers):
            raise _out_of_bounds(detail=f"an object has at most {MEMBERS_MAX} members")
        level = [part for each in containers for part in (each.values() if isinstance(each, dict) else each)]
    if any(isinstance(each, dict | list) for each in level):
        raise Problem(MALFORMED_JSON, detail=_TOO_DEEP)
    refuse_duplicate_members(body)  # the validator would have an error for each of them


def _is_too_deep(bare: bytes) -> bool:
    """Whether brackets remain when so many levels are taken away, from the inside: of too many, or without an end."""
    brackets = bare.translate(None, _NO_BRACKETS)
    for _ in range(NESTING_MAX):
        inner = len(brackets)
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(brackets) == inner:
            break
    return brackets != b""


def _out_of_bounds(*, detail: str) -> Problem:
    return Problem(INVALID_BODY, errors=[FieldError(pointer="", detail=detail)])


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
    found = error.errors(include_input=False, include_url=False, include_context=False)
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
