"""Pages of the documentation that are made of the program: `python -m api.command_line.pages` writes them."""

import argparse
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from api.command_line.catalogue import markdown
from api.command_line.parser import make_parser
from infrastructure.backup_files import MANIFEST, TABLES, Manifest, table_file
from infrastructure.event_types import EVENT_TYPES
from infrastructure.log_digest import COLUMNS, DIGEST_BYTES, DIGESTS_FILE
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


_BACKUP_HEAD = f"""\
# Backups

{_MADE.format("the program")}

What `rapport backup` writes ([how](../how-to/back-up-and-restore.md)): a folder with these files, all of them for their
owner alone. `manifest.json` is written last; a folder without it is no backup.

| file | |
|---|---|
"""
_DIGEST = """
The digest at a position is the SHA-256 of all rows of the log up to it, in the order of positions, each as Postgres
writes it in the binary form of COPY: the number of columns, and each column with its length before it. Files of tables
are complete such copies, so the 19 bytes at their beginning and the two at their end do not count. The columns of an
event, in this order:

    {columns}

This order is a public contract, as the shapes of events are.

## The manifest

| field | | |
|---|---|---|
"""


def pages() -> dict[Path, str]:
    """Every such page, as it should be."""
    return {
        FOLDER / "backups.md": "".join(_backups()),
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


def _backups() -> Iterator[str]:
    yield _BACKUP_HEAD
    yield f"| `{MANIFEST}` | what the others have to be |\n"
    yield f"| `{DIGESTS_FILE}` | the digest at every position, {DIGEST_BYTES} bytes each |\n"
    for table in TABLES:
        yield f"| `{table_file(table)}` | the table `{table}`, as `COPY … (FORMAT binary)` and gzip write it |\n"
    yield _DIGEST.format(columns="\n    ".join(textwrap.wrap(", ".join(COLUMNS), HELP_COLUMNS)))
    yield from _fields(Manifest, "")


def _fields(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """A row for each field of a manifest, those of its parts below it."""
    schemas = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        kinds = [each["type"] for each in schemas[name].get("anyOf", [schemas[name]]) if "type" in each]
        says = " ".join((field.description or "").split())
        yield f"| `{prefix}{name}` | {' or '.join(kinds) or 'object'} | {says} |\n"
        for part, step in _parts(field.annotation):
            yield from _fields(part, f"{prefix}{name}{step}.")


def _parts(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """The models in a type, and how their fields are reached from it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, ""
    for each in get_args(annotation):
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each, "[]"


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
