"""Ids are UUIDv7: in order of time, whatever the clock does."""

import time
from datetime import UTC, datetime
from uuid import RFC_4122, UUID

import pytest

from infrastructure.ids import Uuid7Factory

APRIL_NS = int(datetime(2026, 4, 1, tzinfo=UTC).timestamp()) * 1_000_000_000


def milliseconds(made: UUID) -> int:
    """The Unix milliseconds that an id was made at."""
    return made.int >> 80


def test_an_id_says_its_version_and_when_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: APRIL_NS + 7_000_000)
    made = Uuid7Factory()()
    assert (made.version, made.variant) == (7, RFC_4122)
    assert milliseconds(made) == APRIL_NS // 1_000_000 + 7


def test_ids_of_one_moment_are_in_the_order_of_their_making(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: APRIL_NS)
    new_id = Uuid7Factory()
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_ids_stay_in_order_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([APRIL_NS, APRIL_NS - 3_600_000_000_000, APRIL_NS + 1_000_000])
    monkeypatch.setattr(time, "time_ns", lambda: next(clock))
    new_id = Uuid7Factory()
    first, second, third = new_id(), new_id(), new_id()
    assert first < second < third
    assert milliseconds(second) == milliseconds(first)


def test_two_processes_do_not_make_the_same_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: APRIL_NS)
    one, other = Uuid7Factory(), Uuid7Factory()
    assert {one() for _ in range(100)} & {other() for _ in range(100)} == set()
