"""Makes malformed bodies out of good ones, the same in every run."""

import json
import os
import random
from collections.abc import Iterator
from typing import Any

from api.problems import Problem
from api.submissions import CommandForm, form_of
from application.commands import COMMANDS
from tests.api.bodies import ACME, ADA, CALL, FLOUR, invoice

IS_FULL = os.environ.get("RAPPORT_FULL") == "1"

GOOD: dict[str, dict[str, Any]] = {
    "register-customer": ACME | ADA,
    "record-interaction": CALL,
    "register-product": FLOUR,
    "post-invoice": invoice("R-1"),
    "agree-payment-terms": {
        "terms": {"due_basis": "invoice", "due_days": 30, "discount_days": 10, "discount_percent": "2.00"},
        "valid_from": "2026-01-01",
    },
    "change-credit-limit": {"limit": {"amount": "1000.00", "currency": "EUR"}},
}
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
        if not _is_taken(form, body):
            made += 1
            yield form, body


def _is_taken(form: CommandForm, body: bytes) -> bool:
    try:
        form.decode(body)
    except Problem:
        return False
    return True


def _spoilt(dice: random.Random, good: dict[str, Any]) -> bytes:
    if dice.random() < 0.5:
        return json.dumps(_replaced(dice, good)).encode()
    body = bytearray(json.dumps(good, ensure_ascii=dice.random() < 0.5).encode())
    for _ in range(dice.randint(1, 3)):
        place = dice.randrange(len(body))
        match dice.randrange(4):
            case 0:
                body[place] ^= 1 << dice.randrange(8)
            case 1:
                del body[place : place + dice.randint(1, 20)]
            case 2:
                body[place:place] = dice.choice(_TOKENS)
            case _:
                body[place:place] = body[: dice.randrange(len(body))]
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
