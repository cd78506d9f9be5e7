"""The search finds a canary in whatever form it is written, and tells which one it is where it can."""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.secrecy.canaries import AWKWARD, Aviary
from tests.secrecy.searching import search

MAKERS: list[Callable[[Aviary, str], str]] = [Aviary.line, Aviary.text, Aviary.email, Aviary.phone, Aviary.vat_id]
WRITTEN: dict[str, tuple[Callable[[str], bytes], int | None]] = {
    "plain": (str.encode, 17),
    "Latin-1": (lambda text: text.encode("latin-1"), 17),
    "UTF-16, little end first": (lambda text: text.encode("utf-16-le"), 17),
    "UTF-16, big end first": (lambda text: text.encode("utf-16-be"), 17),
    "JSON": (lambda text: json.dumps(text).encode(), 17),
    "JSON of bytes": (lambda text: json.dumps(text, ensure_ascii=False).encode(), 17),
    "JSON in JSON": (lambda text: json.dumps(json.dumps(text)).encode(), 17),
    "all escaped in JSON": (lambda text: "".join(f"\\u{ord(each):04x}" for each in text).encode(), None),
    "in an address": (lambda text: quote(text).encode(), 17),
    "all escaped in an address": (lambda text: "".join(f"%{byte:02X}" for byte in text.encode()).encode(), None),
    "hexadecimal": (lambda text: text.encode().hex().encode(), 17),
    "hexadecimal in capitals": (lambda text: text.encode().hex().upper().encode(), 17),
    "bytea": (lambda text: b"\\x" + text.encode().hex().encode(), 17),
    "base64": (lambda text: base64.b64encode(text.encode()), None),
    "base64 for addresses": (lambda text: base64.urlsafe_b64encode(text.encode()), None),
}


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(("write", "number"), WRITTEN.values(), ids=WRITTEN)
@given(before=st.text(max_size=7), after=st.text(max_size=7))
@settings(max_examples=10)
def test_a_canary_is_found(
    make: Callable[[Aviary, str], str], write: Callable[[str], bytes], number: int | None, before: str, after: str
) -> None:
    aviary = Aviary()
    for _ in range(16):
        make(aviary, "another")
    canary = make(aviary, "here")
    if write is WRITTEN["Latin-1"][0]:
        before = after = AWKWARD
    found = list(search(b"\x80\xff" + write(before + canary + after) + b"\0\x81"))
    assert found
    assert {each.number for each in found} == {number}


@given(st.binary(max_size=200))
def test_nothing_is_found_where_there_is_nothing(content: bytes) -> None:
    assert list(search(content)) == []
