"""Makes malformed input out of what would be accepted: bodies of every command, and questions; always the same."""

import json
import os
import random
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from api.decoding import Decoder
from api.problems import Problem
from api.submissions import CommandForm, form_of
from application.commands import COMMANDS
from tests.interface.accepted import ACCEPTED, filled

IS_FULL = os.environ.get("RAPPORT_FULL") == "1"

GOOD: Mapping[str, Any] = {name: filled(accepted.body, {}) for name, accepted in ACCEPTED.items()}
"""For every command a body that it takes."""
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**40,
    1.5,
    "",
    " ",
    "\x00",
    "x" * 70_000,
    [],
    {},
    [[]],
    {"": {}},
    "€" * 300,
)
_TOKENS = (
    b"NaN", b"Infinity", b"-Infinity", b"1e999999", b"0x10", b"\\ud800", b"\\u0000", b"\x00", b"\xff\xfe",
    b"\xed\xa0\x80", b'"', b"{", b"}", b"[", b"]", b",", b":", b"[" * 3_000, b'{"a":' * 3_000, b"9" * 5_000, b"'",
    b"//", b"\xef\xbb\xbf",
)  # fmt: skip


def malformed(count: int, seed: int) -> Iterator[tuple[CommandForm, bytes]]:
    """Bodies that no command takes, each with the command that it is sent to."""
    dice = random.Random(seed)  # noqa: S311 - the same in every run
    forms = [form_of(COMMANDS[name]) for name in GOOD]
    made = 0
    while made < count:
        form = dice.choice(forms)
        body = _spoilt(dice, GOOD[form.definition.name])
        if not is_taken(form.decode, body):
            made += 1
            yield form, body


def is_taken(decode: Decoder[Any], body: bytes) -> bool:
    """Whether a body is one."""
    try:
        decode(body)
    except Problem:
        return False
    return True


def in_line(form: CommandForm, body: bytes, key: str) -> bytes:
    """A line of a bulk body in which a body stands."""
    line = {"key": key, "command": form.definition.name}
    if not form.definition.creates:
        line["target"] = "number:C-1001"
    return b'%b,"data":%b}\n' % (json.dumps(line).encode()[:-1], body)


def questions(count: int, seed: int, paths: Mapping[str, list[str]]) -> Iterator[tuple[str, bytes]]:
    """Paths, each with a query string; `paths` has the names of the parameters of each."""
    dice = random.Random(seed)  # noqa: S311 - the same in every run
    for _ in range(count):
        path = dice.choice(list(paths))
        pairs = [
            quote(dice.choice([*paths[path], "nonsense", "\x00", ""])).encode() + b"=" + _said(dice)
            for _ in range(dice.randint(1, 3))
        ]
        named = dice.choice(["number:C-1001", "%00", "%ED%A0%80", "%ff", "%2F", ".", "..", "x" * 300, "a:b:c"])
        yield path.replace("{id}", named).replace("{key}", named), dice.choice([b"&", b"&", b";"]).join(pairs)


def _said(dice: random.Random) -> bytes:
    if dice.random() < 0.5:
        return quote(str(dice.choice(_VALUES))[:200]).encode()
    return dice.choice([b"%", b"%zz", b"%00", b"%ff", b"%ED%A0%80", b"1e9", b"-1", b"2026-02-30", b"9" * 400, b"+"])


def _spoilt(dice: random.Random, good: dict[str, Any]) -> bytes:
    if dice.random() < 0.5:
        return json.dumps(_replaced(dice, good)).encode()
    body = bytearray(json.dumps(good, ensure_ascii=dice.random() < 0.5).encode())
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(len(body) + 1)
        match dice.randrange(4):
            case 0 if place < len(body):
                body[place] ^= 1 << dice.randrange(8)
            case 1:
                del body[place : place + dice.randint(1, 20)]
            case 2:
                body[place:place] = dice.choice(_TOKENS)
            case _:
                body[place:place] = body[: dice.randrange(len(body) + 1)]
    return bytes(body)


def _replaced(dice: random.Random, value: Any) -> Any:
    """The value with one part replaced, added or taken away."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        name = dice.choice(list(value))
        match dice.randrange(4):
            case 0:
                return {each: value[each] for each in value if each != name}
            case 1:
                return value | {name + "_": value[name]}
            case _:
                return value | {name: _replaced(dice, value[name])}
    if isinstance(value, list) and value and dice.random() < 0.9:
        return [_replaced(dice, value[0]), *value[1:]]
    return dice.choice(_VALUES)
