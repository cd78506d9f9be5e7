"""What is remembered of the log: bounded, and forgotten where it proves to be behind."""

from uuid import UUID

from application.customers import CUSTOMER
from application.memory import Memory, Sight
from application.ports import Stream
from tests.people import ACME, ADA

THIRD = UUID("01900000-0000-7000-8000-000000000003")
NUMBER = [CUSTOMER.reference("number", f"C-{number}") for number in range(4)]


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    memory = Memory(streams_max=2, claims_max=2)
    for stream in (ACME, ADA):
        memory.keep_stream(stream, Stream(1, None))
    assert memory.stream(ACME) == Stream(1, None)
    memory.keep_stream(THIRD, Stream(1, None))
    assert [memory.stream(stream) for stream in (ACME, ADA, THIRD)] == [Stream(1, None), None, Stream(1, None)]
    for claim in NUMBER[:2]:
        memory.keep_holder(claim, ACME)
    assert memory.holder(NUMBER[0]) == ACME
    memory.keep_holder(NUMBER[2], ADA)
    assert [memory.holder(claim) for claim in NUMBER[:3]] == [ACME, None, ADA]


def test_what_has_moved_is_forgotten() -> None:
    memory = Memory(streams_max=9, claims_max=9)
    memory.keep_stream(ACME, Stream(1, None))
    memory.keep_stream(ADA, Stream(1, None))
    for claim in NUMBER[:3]:
        memory.keep_holder(claim, ACME)
    memory.keep_holder(NUMBER[2], ADA)
    memory.forget([ACME, THIRD], [NUMBER[0], NUMBER[3]])
    assert [memory.stream(stream) for stream in (ACME, ADA)] == [None, Stream(1, None)]
    assert [memory.holder(claim) for claim in NUMBER] == [None, ACME, ADA, None]


def test_what_one_attempt_has_seen_stays_as_it_was() -> None:
    memory = Memory(streams_max=1, claims_max=1)
    memory.keep_stream(ACME, Stream(1, None))
    memory.keep_holder(NUMBER[0], ACME)
    sight = Sight(memory)
    assert sight.stream(ACME) == Stream(1, None)
    assert sight.holder(NUMBER[0]) == (True, ACME)
    memory.keep_stream(ADA, Stream(1, None))
    memory.keep_holder(NUMBER[1], ADA)
    assert sight.stream(ACME) == Stream(1, None)
    assert sight.holder(NUMBER[0]) == (True, ACME)
    assert Sight(memory).stream(ACME) is None
    assert Sight(memory).holder(NUMBER[0]) == (False, None)


def test_what_does_not_exist_is_seen_and_not_remembered() -> None:
    memory = Memory(streams_max=9, claims_max=9)
    sight = Sight(memory)
    sight.show({ACME: Stream(0, None)}, {NUMBER[0]: None})
    assert sight.stream(ACME) == Stream(0, None)
    assert sight.holder(NUMBER[0]) == (True, None)
    assert memory.stream(ACME) is None
    assert Sight(memory).holder(NUMBER[0]) == (False, None)
