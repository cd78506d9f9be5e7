"""Epochs: up to which position the log is what somebody has read."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.epochs import Epoch, EpochHistory

NOW = datetime(2026, 4, 1, tzinfo=UTC)
FIRST, SECOND, THIRD, UNKNOWN = (UUID(int=number) for number in range(1, 5))


def history(*first_positions: int) -> EpochHistory:
    """Epochs that were begun one after the other at these positions."""
    ids = (FIRST, SECOND, THIRD)
    return EpochHistory([Epoch(ids[place], first, NOW, "") for place, first in enumerate(first_positions)])


@pytest.mark.parametrize(
    ("begun", "ends"),
    [
        ((1,), {FIRST: None, UNKNOWN: 0}),
        ((1, 101), {FIRST: 100, SECOND: None}),
        # Restored to an earlier position than the restore before: what the second said beyond it holds no more.
        ((1, 101, 51), {FIRST: 50, SECOND: 50, THIRD: None}),
        ((1, 101, 151), {FIRST: 100, SECOND: 150, THIRD: None}),
        ((1, 1), {FIRST: 0, SECOND: None}),
    ],
)
def test_an_epoch_ends_before_the_smallest_first_position_of_all_later_ones(
    begun: tuple[int, ...], ends: dict[UUID, int | None]
) -> None:
    known = history(*begun)
    assert {epoch: known.last_position(epoch) for epoch in ends} == ends
    for epoch, end in ends.items():
        assert known.holds(epoch, end or 0)
        assert known.holds(epoch, (end or 0) + 1) is (end is None)


@given(st.lists(st.integers(1, 30), max_size=5))
def test_what_holds_is_what_no_later_restore_has_cut_off(first_positions: list[int]) -> None:
    """Against logs that are really cut: each position says in which epoch its event was recorded."""
    epochs = [Epoch(uuid4(), first, NOW, "") for first in (1, *first_positions)]
    known = EpochHistory(epochs)
    logs: list[list[int]] = []
    for number, epoch in enumerate(epochs):
        kept = logs[-1][: epoch.first_position - 1] if logs else []
        logs.append(kept + [number] * (40 - len(kept)))
    for epoch, log in zip(epochs, logs, strict=True):
        same = next((place for place in range(40) if log[place] != logs[-1][place]), 40)
        assert all(known.holds(epoch.id, position) for position in range(same + 1))
        assert known.holds(epoch.id, same + 1) is (same == 40)
