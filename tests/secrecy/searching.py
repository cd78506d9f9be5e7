"""The search for canaries in bytes, in every form that a program may write text in."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.secrecy.canaries import MARKS, NUMBER_DIGITS


@dataclass(frozen=True)
class Found:
    """A canary somewhere."""

    form: str
    number: int | None
    """Which one it is, where the form shows that."""
    around: bytes


@dataclass(frozen=True)
class Form:
    """A way to write a mark, and how to read the number after it."""

    name: str
    written: bytes
    bytes_of_character: int = 0
    """Bytes that each digit of the number takes; 0 where it cannot be told."""

    def number(self, content: bytes, at: int) -> int | None:
        """The number after a mark that was found."""
        if not self.bytes_of_character:
            return None
        follows = content[at + len(self.written) :][: NUMBER_DIGITS * self.bytes_of_character]
        digits = bytes.fromhex(follows.decode()) if self.name == "hexadecimal" else follows.replace(b"\0", b"")
        return int(digits) if digits.isdigit() else None


@cache
def forms() -> tuple[Form, ...]:
    """Every form of every mark."""
    return tuple(form for mark in MARKS for form in _forms(mark))


def _forms(mark: str) -> Iterator[Form]:
    plain = mark.encode()
    yield Form("plain", plain, 1)
    yield Form("UTF-16", b"\0".join(mark[at].encode() for at in range(len(mark))), 2)  # whichever end comes first
    yield Form("hexadecimal", plain.hex().encode(), 2)
    yield Form("hexadecimal", plain.hex().upper().encode(), 2)
    yield Form("JSON escapes", "".join(f"\\u{ord(each):04x}" for each in mark).encode())
    yield Form("percent escapes", "".join(f"%{ord(each):02X}" for each in mark).encode())
    for before in range(3):
        # What stands before shifts the letters of base64; those that also depend on the neighbours are left out.
        first, last = -(-before * 4 // 3), (before + len(plain)) * 8 // 6
        yield Form("base64", base64.b64encode(bytes(before) + plain)[first:last])


def search(content: bytes) -> Iterator[Found]:
    """Every canary in these bytes."""
    for form in forms():
        for hit in re.finditer(re.escape(form.written), content):
            around = content[max(0, hit.start() - 40) : hit.end() + 40]
            yield Found(form.name, form.number(content, hit.start()), around)
