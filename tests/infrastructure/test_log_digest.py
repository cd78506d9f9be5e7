"""Digests of a log: whether one is the beginning of another, and from which position on it is not."""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.log_digest import (
    HEADER,
    TRAILER,
    CannotBeCompared,
    EventDiffers,
    EventIsMissing,
    KnownLog,
    LogDiffersSomewhere,
    LogIsLonger,
    LogIsShorter,
    RunningDigest,
    compare,
    rows,
)


def row(position: int, *columns: bytes | None) -> bytes:
    """A row as it stands in a binary COPY."""
    values = [struct.pack(">q", position), *columns]
    packed = [b"\xff" * 4 if value is None else struct.pack(">i", len(value)) + value for value in values]
    return struct.pack(">h", len(values)) + b"".join(packed)


FLOUR = [row(position, b"flour", None, f"sack {position}".encode()) for position in range(1, 8)]
"""A log of seven events."""


def known(log: Iterable[bytes], folder: Path | None = None, *, is_whole: bool = False) -> KnownLog:
    """A log as it was known, with the digest at every position where there is a folder for them."""
    running = RunningDigest()
    digests = [running.add(each) for each in log]
    file = folder / "positions.sha256" if folder is not None else None
    if file is not None:
        file.write_bytes(b"".join(digests))
    return KnownLog("what was known", running.position, running.digest(), file, is_whole)


# Rows


@given(
    st.lists(st.lists(st.one_of(st.none(), st.binary(max_size=20)), max_size=4), max_size=6),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_rows_are_found_however_the_copy_is_cut(values: Sequence[Sequence[bytes | None]], cuts: Sequence[int]) -> None:
    expected = [row(position, *columns) for position, columns in enumerate(values, 1)]
    copied = HEADER + b"".join(expected) + TRAILER
    places = sorted({0, len(copied), *(cut for cut in cuts if cut < len(copied))})
    chunks = [copied[first:last] for first, last in pairwise(places)]
    assert list(rows(chunks)) == expected


def test_the_digest_is_the_sha_256_of_all_rows() -> None:
    digest = compare(FLOUR, [])
    assert digest.position == 7
    assert digest.digest() == hashlib.sha256(b"".join(FLOUR)).digest()


def test_an_empty_log_has_the_digest_of_nothing() -> None:
    digest = compare([], [known([])])
    assert (digest.position, digest.digest()) == (0, hashlib.sha256().digest())


# Comparing


@pytest.mark.parametrize("length", range(8))
def test_a_log_agrees_with_each_of_its_beginnings(length: int, tmp_path: Path) -> None:
    assert compare(FLOUR, [known(FLOUR[:length], tmp_path), known(FLOUR[:length])]).position == 7


@pytest.mark.parametrize("length", range(8))
def test_each_beginning_agrees_with_the_whole_log(length: int, tmp_path: Path) -> None:
    assert compare(FLOUR[:length], [known(FLOUR, tmp_path)]).position == length


@pytest.mark.parametrize("position", range(1, 8))
def test_one_changed_byte_is_found_at_its_position(position: int, tmp_path: Path) -> None:
    changed = [*FLOUR]
    changed[position - 1] = changed[position - 1][:-1] + b"\0"
    with pytest.raises(EventDiffers, match=f"event at position {position} is another one") as found:
        compare(changed, [known(FLOUR, tmp_path)])
    assert found.value.position == position
    with pytest.raises(LogDiffersSomewhere, match="At position 7 or before"):
        compare(changed, [known(FLOUR)])


@pytest.mark.parametrize("position", range(1, 7))
def test_one_missing_event_is_found_at_its_position(position: int) -> None:
    shortened = [each for place, each in enumerate(FLOUR, 1) if place != position]
    with pytest.raises(EventIsMissing, match=f"no event at position {position}") as found:
        compare(shortened, [])
    assert found.value.position == position


@pytest.mark.parametrize("length", range(7))
def test_a_log_without_its_end_is_found(length: int, tmp_path: Path) -> None:
    for expected in (known(FLOUR, tmp_path, is_whole=True), known(FLOUR, is_whole=True)):
        with pytest.raises(LogIsShorter, match=f"ends at position {length}, and what was known goes on to 7") as found:
            compare(FLOUR[:length], [expected])
        assert found.value.position == length + 1


def test_a_log_that_goes_on_where_it_should_end_is_found() -> None:
    with pytest.raises(LogIsLonger, match="event at position 6, and what was known ends before it") as found:
        compare(FLOUR, [known(FLOUR[:5], is_whole=True)])
    assert found.value.position == 6


def test_a_longer_log_of_which_one_digest_is_known_cannot_be_compared() -> None:
    with pytest.raises(CannotBeCompared, match=r"positions\.sha256 is needed"):
        compare(FLOUR[:3], [known(FLOUR)])


def test_what_comes_after_all_that_is_known_is_not_looked_at(tmp_path: Path) -> None:
    changed = [*FLOUR[:5], row(6, b"rye"), row(7)]
    assert compare(changed, [known(FLOUR[:5], tmp_path)]).position == 7
