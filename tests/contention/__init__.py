"""Several processes at work on one log at the same moment; `RAPPORT_FULL=1` runs everything at full length."""

import os
import random
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

IS_FULL = os.environ.get("RAPPORT_FULL") == "1"


def times(usual: int, full: int) -> int:
    """How often something is tried: in CI, or at full length."""
    return full if IS_FULL else usual


def dice(sides: int) -> int:
    """A number from 0 up to but without `sides`."""
    return random.randrange(sides)  # noqa: S311 - it decides what happens in a test


def shuffled(things: Iterable[T]) -> list[T]:
    """The same things in any order."""
    ordered = list(things)
    random.shuffle(ordered)
    return ordered
