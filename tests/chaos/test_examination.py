"""The examination finds what it looks for: each fault, brought in by hand, turns a figure red."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from tests.chaos.examination import LogContent, LoggedCommand, LoggedEvent, examine, half_written
from tests.chaos.figures import broken
from tests.chaos.requests import Sent

STREAM = UUID(int=1)


def _recorded(request: Sent, first_position: int) -> tuple[list[LoggedEvent], list[LoggedCommand]]:
    """A request as it stands in the log, its commands acknowledged."""
    events, commands = [], []
    for position, key in enumerate(request.keys, first_position):
        command = uuid4()
        events.append(LoggedEvent(position, STREAM, position, command, request.mark))
        commands.append(LoggedCommand(key, command, STREAM, position, position))
        answer = {"id": str(STREAM), "version": position, "events": [{"position": position}]}
        request.acknowledge(key, answer)
    return events, commands


@pytest.fixture
def requests() -> list[Sent]:
    """One command, then three that are stored together."""
    return [
        Sent("/v1/customers", ("one",), ({},)),
        Sent("/v1/commands", ("a", "b", "c"), ({}, {}, {}), is_bulk=True, is_atomic=True),
    ]


@pytest.fixture
def log(requests: Sequence[Sent]) -> LogContent:
    """A log in which all is well."""
    single, batch = _recorded(requests[0], 1), _recorded(requests[1], 2)
    return LogContent([*single[0], *batch[0]], [*single[1], *batch[1]])


def _names(log: LogContent, requests: Sequence[Sent]) -> set[str]:
    return {figure.name for figure in broken(examine(log, requests))}


def test_in_a_log_in_which_all_is_well_nothing_is_found(log: LogContent, requests: Sequence[Sent]) -> None:
    assert _names(log, requests) == set()


def _without_event(log: LogContent) -> LogContent:
    return LogContent(log.events[1:], log.commands)


def _without_last_event(log: LogContent) -> LogContent:
    return LogContent(log.events[:-1], log.commands)


def _without_command(log: LogContent) -> LogContent:
    return LogContent(log.events, log.commands[1:])


def _recorded_twice(log: LogContent) -> LogContent:
    again = replace(log.events[0], position=5, version=5, command=uuid4())
    return LogContent([*log.events, again], [*log.commands, LoggedCommand("two", again.command, STREAM, 5, 5)])


def _in_another_order(log: LogContent) -> LogContent:
    first, second, *others = log.events
    return LogContent([replace(second, position=1), replace(first, position=2), *others], log.commands)


def _with_version_missing(log: LogContent) -> LogContent:
    return LogContent([*log.events[:-1], replace(log.events[-1], version=9)], log.commands)


LOST, DOUBLED, TORN = "acknowledged and lost", "doubled", "commands without all of their events"


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (_without_event, {LOST, TORN, "missing positions", "streams with a gap"}),
        (_without_last_event, {LOST, TORN, "half-written batches"}),
        (_without_command, {LOST, TORN}),
        (_recorded_twice, {DOUBLED}),
        (_in_another_order, {LOST, TORN, "half-written batches"}),
        (_with_version_missing, {LOST, "streams with a gap"}),
    ],
    ids=lambda value: getattr(value, "__name__", "").strip("_"),
)
def test_each_fault_is_found(
    damage: Callable[[LogContent], LogContent], found: set[str], log: LogContent, requests: Sequence[Sent]
) -> None:
    assert _names(damage(log), requests) == found


def test_what_nobody_has_sent_is_found(log: LogContent, requests: Sequence[Sent]) -> None:
    assert _names(log, requests[1:]) == {DOUBLED}


def test_an_answer_that_changes_is_found(log: LogContent, requests: Sequence[Sent]) -> None:
    requests[0].acknowledge("one", {"id": str(STREAM), "version": 1, "events": [{"position": 4}]})
    assert _names(log, requests) == {"answers that changed"}


def test_a_command_without_an_answer_is_found(log: LogContent, requests: Sequence[Sent]) -> None:
    del requests[1].acknowledged["b"]
    assert _names(log, requests) == {"commands never answered"}


def test_a_batch_with_something_in_between_counts_as_half_written(requests: Sequence[Sent]) -> None:
    events, commands = _recorded(requests[1], 1)
    apart = [*events[:2], replace(events[2], position=4)]
    assert half_written(LogContent(events, commands), requests) == 0
    assert half_written(LogContent(apart, commands), requests) == 1


def test_a_batch_that_is_not_there_at_all_is_not_half_written(requests: Sequence[Sent]) -> None:
    assert half_written(LogContent([], []), requests) == 0
