"""UUIDv7 (RFC 9562, section 5.7): ids in order of time, so that indexes grow at one end only."""

import os
import time
from uuid import UUID

_VERSION = 7 << 76
_VARIANT = 0b10 << 62


class Uuid7Factory:
    """Makes ids that increase strictly within one process, also within a millisecond and when the clock steps back."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> UUID:
        """A new id: 48 bits of Unix milliseconds, 12 bits of their fraction, 62 random bits."""
        nanoseconds = time.time_ns()
        milliseconds, rest = divmod(nanoseconds, 1_000_000)
        stamp = max((milliseconds << 12) | (rest * 4096 // 1_000_000), self._last + 1)
        self._last = stamp
        random = int.from_bytes(os.urandom(8), "big") >> 2
        return UUID(int=((stamp >> 12) << 80) | _VERSION | ((stamp & 0xFFF) << 64) | _VARIANT | random)


new_id = Uuid7Factory()
