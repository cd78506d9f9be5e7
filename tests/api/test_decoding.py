"""However a body is built, it is read or refused in less time and memory than it takes to send it."""

import json
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from api.decoding import ERRORS_MAX, MEMBERS_MAX, NESTING_MAX, VALUES_MAX
from api.problems import Problem
from api.submissions import form_of
from application.commands import COMMANDS
from application.sales_documents import LINES_READ_MAX
from tests.fuzz.malformed import GOOD
from tests.interface.refused import LINE

MEBIBYTE = 1_048_576
SECONDS_MAX = 2
"""They take hundredths of a second; without a limit the worst took 22 s. Other tests run at the same time."""


def arrays(schema: Any, definitions: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where a command has arrays: the names of the fields on the way, `*` for an item."""
    schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    for name, each in schema.get("properties", {}).items():
        yield from arrays(each, definitions, (*place, name))
    for each in schema.get("anyOf", ()):
        yield from arrays(each, definitions, place)
    if schema.get("type") == "array":
        yield place
        yield from arrays(schema["items"], definitions, (*place, "*"))


def arrays_of_commands() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every array of every command, with the command's name."""
    for name, definition in COMMANDS.items():
        schema = TypeAdapter(definition.command).json_schema()
        for place in arrays(schema, schema.get("$defs", {})):
            yield name, place


ARRAYS = list(arrays_of_commands())


def at(place: tuple[str, ...], inner: bytes) -> bytes:
    """A body that has nothing but this, there."""
    for name in reversed(place):
        inner = b"[%b]" % inner if name == "*" else b'{"%b":%b}' % (name.encode(), inner)
    return inner


def filled(item: bytes, size: int = MEBIBYTE - 1_000) -> bytes:
    """An array of so many bytes."""
    return b"[" + b",".join([item] * (size // (len(item) + 1))) + b"]"


def refused(command: str, body: bytes) -> Problem:
    """Why the body is refused, in time."""
    decode = form_of(COMMANDS[command]).decode
    with pytest.raises(Problem):
        decode(b"{" + b'"x":[0],' * 200 + b'"y":0}')  # compiles what reads a large body
    begin = time.perf_counter()
    with pytest.raises(Problem) as problem:
        decode(body)
    assert time.perf_counter() - begin < SECONDS_MAX
    assert len(problem.value.document.errors or ()) <= ERRORS_MAX
    return problem.value


@pytest.mark.parametrize(
    "item", [b"{}", b"0", b"[]", b'""', b'{"a":0}', b"[" * 100 + b"]" * 100], ids=lambda item: item[:9]
)
@pytest.mark.parametrize(
    ("command", "place"), ARRAYS, ids=lambda part: part if isinstance(part, str) else ".".join(part)
)
def test_an_array_of_a_mebibyte_is_refused_in_time(command: str, place: tuple[str, ...], item: bytes) -> None:
    assert refused(command, at(place, filled(item))).kind.code in {"invalid-body", "malformed-json"}


@pytest.mark.parametrize(
    ("command", "place"), ARRAYS, ids=lambda part: part if isinstance(part, str) else ".".join(part)
)
def test_as_many_wrong_items_as_a_body_may_have_are_left_at_the_first(command: str, place: tuple[str, ...]) -> None:
    problem = refused(command, at(place, filled(b"{}", VALUES_MAX * 3 // 2 - 100)))
    pointers = {error.pointer for error in problem.document.errors or () if "*" not in place}
    assert "*" in place or {pointer for pointer in pointers if pointer and pointer.startswith("/" + "/".join(place))}


BODIES: dict[str, bytes] = {
    "unknown-members": b"{" + b",".join(b'"%d":0' % number for number in range(100_000)) + b"}",
    "members-given-often": b"{" + b",".join([b'"a":0'] * 150_000) + b"}",
    "unknown-members-of-a-line": b'{"lines":[{' + b",".join(b'"%d":0' % number for number in range(100_000)) + b"}]}",
    "unknown-array": at(("x",), filled(b"{}")),
    "texts-of-brackets": b"{" + b",".join(b'"%d":"[,{"' % number for number in range(70_000)) + b"}",
    "text": at(("document_number",), b'"%b"' % (b"x" * MEBIBYTE)),
    "text-of-commas": at(("document_number",), b'"%b"' % (b"," * MEBIBYTE)),
    "escaped-quotation-marks": at(("document_number",), b'"%b"' % (b"\\u0022" * (MEBIBYTE // 6))),
    "text-without-an-end": b"[{," * 20_000 + b'"' + b'\\"' * (MEBIBYTE // 2),
    "quotation-marks": b"{" * 30 + b'"' * MEBIBYTE,
    "digits": at(("lines", "*", "line_no"), b"9" * MEBIBYTE),
    "numbers": at(("lines",), filled(b"9" * 4_000)),
    "places": at(("lines", "*", "line_no"), b"0." + b"9" * MEBIBYTE),
    "amount": at(("lines", "*", "net_amount"), b'"%b"' % (b"9" * MEBIBYTE)),
    "deep": b"[" * MEBIBYTE,
    "deep-and-wide": at(("lines",), filled(b"[" * 190 + b"]" * 190)),
    "deep-objects": b'{"a":' * (MEBIBYTE // 5),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_of_a_mebibyte_is_refused_in_time(body: bytes) -> None:
    refused("post-invoice", body)


def test_a_refusal_takes_no_more_memory_than_some_copies_of_the_body() -> None:
    for body in (at(("lines",), filled(b"{}")), BODIES["unknown-members"], BODIES["deep-and-wide"]):
        tracemalloc.start()
        refused("post-invoice", body)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 32 * MEBIBYTE


def test_of_a_small_body_all_errors_are_shown_at_once() -> None:
    problem = refused("post-invoice", at(("lines",), filled(b"0", 20)))
    pointers = [error.pointer for error in problem.document.errors or ()]
    assert pointers[-10:] == [f"/lines/{number}" for number in range(10)]


def test_of_all_errors_the_first_hundred_are_shown() -> None:
    problem = refused("post-invoice", at(("lines",), filled(b"{}", 150)))
    assert len(problem.document.errors or ()) == ERRORS_MAX


def test_the_longest_invoice_is_read_and_one_beyond_it_has_the_name_of_its_rule() -> None:
    fields = ("description", "unit", "contract_line", "product")
    usual = LINE | dict.fromkeys(fields, "x" * 40) | {"ordered_on": "2026-01-01", "delivered_on": "2026-01-01"}
    lines = [usual | {"line_no": number} for number in range(1, 2_002)]
    body = json.dumps(GOOD["post-invoice"] | {"lines": lines}, separators=(",", ":")).encode()
    assert len(form_of(COMMANDS["post-invoice"]).decode(body).lines) == 2_001  # type: ignore[attr-defined] # of its command


def test_an_array_that_is_too_long_is_named() -> None:
    lines = [LINE | {"line_no": number} for number in range(1, LINES_READ_MAX + 2)]
    body = json.dumps(GOOD["post-invoice"] | {"lines": lines}).encode()
    (error,) = refused("post-invoice", body).document.errors or ()
    assert error.pointer == "/lines"
    assert str(LINES_READ_MAX) in error.detail


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (at(("x",), b"[" * (NESTING_MAX - 1) + b"]" * (NESTING_MAX - 1)), "invalid-body"),
        (at(("x",), b"[" * NESTING_MAX + b"]" * NESTING_MAX), "malformed-json"),
        (b"{" + b",".join(b'"%d":0' % number for number in range(MEMBERS_MAX)) + b"}", "invalid-body"),
        (b"{" + b",".join(b'"%d":0' % number for number in range(MEMBERS_MAX + 1)) + b"}", "invalid-body"),
        (b"{" + b'"a":"[[[[[[[[[[[[[[[[[[[[[[","b":' + filled(b"0", 300) + b"}", "invalid-body"),
        (b'{"a":0,"a":0,"b":' + filled(b"0", 300) + b"}", "duplicate-member"),
    ],
)
def test_what_is_a_little_beyond_a_limit_has_its_problem(body: bytes, code: str) -> None:
    assert refused("post-invoice", body).kind.code == code
