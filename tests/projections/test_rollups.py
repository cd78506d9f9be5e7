"""Blocks of positions: every position is covered once, and every block is completed once."""

from hypothesis import given
from hypothesis import strategies as st

from projections.rollups import LEVELS, Blocks, completed, cover, covered

POSITIONS = st.integers(0, 1 << 30)


@given(POSITIONS)
def test_whole_blocks_and_the_tail_cover_every_position_once(position: int) -> None:
    blocks, tail = cover(position, LEVELS)
    start = 0
    for each in blocks:
        assert each.first << each.level == start
        start = each.end << each.level
    assert start == tail
    assert position - tail < 1 << LEVELS[0]


@given(POSITIONS)
def test_few_blocks_of_each_level_are_read(position: int) -> None:
    assert all(each.end - each.first < 8 for each in cover(position, LEVELS)[0] if each.level != LEVELS[-1])


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=20))
def test_a_block_is_completed_by_the_page_that_has_its_last_position(sizes: list[int]) -> None:
    seen: list[tuple[int, int]] = []
    position = 0
    for size in sizes:
        for blocks in completed(position, position + size, LEVELS):
            seen += [(blocks.level, block) for block in range(blocks.first, blocks.end)]
        position += size
    assert len(set(seen)) == len(seen)
    assert set(seen) == {(level, block) for level in LEVELS for block in range((position + 1) >> level)}


def test_lower_levels_are_completed_first() -> None:
    assert [each.level for each in completed(0, (1 << 20) - 1, LEVELS)] == [11, 14, 17, 20]


def test_a_short_log_has_no_blocks() -> None:
    assert cover(2_046, LEVELS) == ((), 0)
    assert cover(2_047, LEVELS) == ((Blocks(11, 0, 1),), 2_048)
    assert covered(()) == "false"
    blocks, tail = cover(12, (1, 3))
    assert (blocks, tail) == ((Blocks(3, 0, 1), Blocks(1, 4, 6)), 12)
    assert covered(blocks) == "(level = 3 AND block >= 0 AND block < 1 OR level = 1 AND block >= 4 AND block < 6)"
