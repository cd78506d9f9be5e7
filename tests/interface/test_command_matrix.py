"""Every command is answered as the matrix of commands says, and the matrix has no empty cell."""

from dataclasses import astuple
from pathlib import Path

from application.commands import COMMANDS
from tests.interface.command_matrix import page, rows

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-matrix.md"


def test_every_command_is_answered_as_the_page_says() -> None:
    assert PAGE.read_text("utf-8") == page(), "make it: python -m tests.interface.test_command_matrix"


def test_every_command_has_a_row() -> None:
    assert sorted(row.command.strip("`") for row in rows()) == sorted(COMMANDS)


def test_no_cell_is_empty() -> None:
    assert [row.command for row in rows() if not all(map(str.strip, astuple(row)))] == []


def test_every_replay_and_every_stale_version_is_answered_alike() -> None:
    assert {row.replay_of_its_key for row in rows()} == {"200, replayed"}
    assert {row.stale_if_match for row in rows()} == {"412 `stream-has-moved`"}


def test_an_importer_is_spared_some_rules_about_customers_and_cases_and_no_others() -> None:
    spared = {row.command.strip("`") for row in rows() if row.import_override != "none"}
    assert {COMMANDS[name].aggregate.collection for name in spared} == {"customers", "sales-documents", "support-cases"}


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
