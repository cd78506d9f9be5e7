"""The registry of commands, and what every command may carry."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from application.commands import COMMANDS, Command, CommandDefinition, handles
from application.customers import CUSTOMER
from application.unit_of_work import UnitOfWork

each_command = pytest.mark.parametrize("definition", COMMANDS.values(), ids=lambda each: each.name)


def test_no_two_handlers_have_one_name() -> None:
    def block_customer(_: Command, work: UnitOfWork) -> None:
        work.target(CUSTOMER)

    before = dict(COMMANDS)
    with pytest.raises(ValueError, match="two handlers are called block-customer"):
        handles(Command, CUSTOMER)(block_customer)
    assert before == COMMANDS


def problems(definition: CommandDefinition, field: str, value: object) -> list[tuple[Any, ...]]:
    """Where a command with this field is refused as the service reads it, what else it lacks set aside."""
    try:
        TypeAdapter(definition.command).validate_json(json.dumps({field: value}), strict=True, extra="forbid")
    except ValidationError as error:
        return [problem["loc"] for problem in error.errors() if problem["loc"] == (field,)]
    return []


@each_command
@pytest.mark.parametrize("field", ["reason", "source"])
@pytest.mark.parametrize("text", ["a\0b", "a\x1bb", "a\u202eb", "", "x" * 501], ids=ascii)
def test_no_command_says_why_or_from_where_in_what_cannot_be_stored(
    definition: CommandDefinition, field: str, text: str
) -> None:
    assert problems(definition, field, text) == [(field,)]
    assert problems(definition, field, "erp") == []


@each_command
@pytest.mark.parametrize("field", ["occurred_at", "source_recorded_at"])
@pytest.mark.parametrize(
    "instant", ["2026-04-01T12:00:00", "0026-04-01T12:00:00Z", "9999-12-31T23:59:59-14:00", "noon"]
)
def test_no_command_says_when_without_an_offset_or_out_of_all_time(
    definition: CommandDefinition, field: str, instant: str
) -> None:
    assert problems(definition, field, instant) == [(field,)]
    assert problems(definition, field, "2026-04-01T12:00:00+02:00") == []
