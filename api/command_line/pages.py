"""Pages of the documentation that are made of the program: `python -m api.command_line.pages` writes them."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from api.command_line.catalogue import markdown
from api.command_line.parser import make_parser
from infrastructure.event_types import EVENT_TYPES
from infrastructure.settings import PREFIX, Settings

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
HELP_COLUMNS = 100

_MADE = "<!-- Made by python -m api.command_line.pages from {}; a test compares them. -->"
_SETTINGS_HEAD = f"""\
# Settings

{_MADE.format("the settings of the program")}

Each setting is a variable of the environment. Options of the command line override some of them.
`rapport verify-settings` shows those in force and checks the database server. A setting that cannot be used is
refused at the start.

| variable | default | |
|---|---|---|
"""
_COMMAND_LINE_HEAD = f"""\
# The command line

{_MADE.format("the help of the program")}

Every command ends with status 0 when it is done, 1 when there is something to look at, 2 when it was not understood, 69
when what it needs cannot be reached now, and 78 when something has to be changed first.
"""


def pages() -> dict[Path, str]:
    """Every such page, as it should be."""
    return {
        FOLDER / "command-line.md": "".join(_command_line()),
        FOLDER / "events.md": markdown(EVENT_TYPES.types),
        FOLDER / "settings.md": "".join(_settings()),
    }


def _settings() -> Iterator[str]:
    yield _SETTINGS_HEAD
    defaults = Settings.model_construct()
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory else getattr(defaults, name)
        shown = f"`{default}`" if default not in {None, ""} else ""
        yield f"| `{PREFIX}{name.upper()}` | {shown} | {' '.join((field.description or '').split())} |\n"


def _command_line() -> Iterator[str]:
    yield _COMMAND_LINE_HEAD
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(HELP_COLUMNS)  # where argparse looks for the width of the terminal
    try:
        yield from _help(make_parser())
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _help(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"\n## {parser.prog}\n\n```\n{parser.format_help().strip()}\n```\n"
    for action in parser._actions:  # noqa: SLF001 - argparse tells its subcommands in no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - it has no public name
            for command in action.choices.values():
                yield from _help(command)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, "utf-8")
