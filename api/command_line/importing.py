"""`rapport import`: a file, a mapping, and a summary that counts every row."""

import json
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from api.command_line.terminal import (
    EXIT_NOT_UNDERSTOOD,
    EXIT_UNAVAILABLE,
    CommandFailed,
    messages,
    output,
    service,
    table,
)
from api.importing.client import BulkClient, ImportStopped
from api.importing.mapping import CommandFields, ImportMapping
from api.importing.mapping_reader import read_mapping
from api.importing.plan import NOT_BOOKED
from api.importing.rows import FileError
from api.importing.run import Progress, parcels, read_first, run_import
from api.importing.sections import MappingError
from api.importing.summary import Account, RowList, Summary
from application import customers, products, sales_documents, support_cases  # noqa: F401 - registers their commands
from application.commands import COMMANDS

CHECKED_DOCUMENTS_MAX = 1_000
"""How many documents a check looks at."""


def run(given: Namespace) -> int:
    """Import one file; 1 if not every row was booked."""
    try:
        mapping = read_mapping(given.mapping, {name: CommandFields.of(each) for name, each in COMMANDS.items()})
        return _check(given, mapping) if given.check else _import(given, mapping)
    except (MappingError, FileError) as error:
        raise CommandFailed(str(error), EXIT_NOT_UNDERSTOOD) from None


def _check(given: Namespace, mapping: ImportMapping) -> int:
    """Show the first command of each kind, and send none."""
    first = read_first(mapping, given.file, lambda _: None)
    shown: dict[str, bytes] = {}
    for command in first.first_seen:
        shown.setdefault(command.outcome, command.line)
    for _, parcel in zip(range(CHECKED_DOCUMENTS_MAX), parcels(mapping, given.file, first), strict=False):
        for command in parcel.commands:
            shown.setdefault(command.outcome, command.line)
    for outcome, line in shown.items():
        output().print(f"[bold]{escape(outcome)}[/]")
        output().print_json(line.decode())
    output().print(f"{first.rows:,} rows; {len(first.first_seen):,} to be registered. Nothing was sent.")
    return 0


def _import(given: Namespace, mapping: ImportMapping) -> int:
    summary = Summary()
    stopped = None
    with service(given) as http, _listing(given) as rows, _watched(given) as progress:
        http.get(
            "/livez"
        )  # an address where nobody answers is noticed now, one where somebody is away for a while later
        try:
            run_import(mapping, given.file, BulkClient(http), Account(mapping, summary, rows), progress)
        except (ImportStopped, KeyboardInterrupt) as error:
            stopped = str(error) or "interrupted"
    if given.json:
        output().print_json(json.dumps(summary.as_json()))
    else:
        _print(summary)
    if stopped is not None:
        message = f"the import stopped: {stopped}. Start it again to go on; what is booked stays."
        raise CommandFailed(message, EXIT_UNAVAILABLE)
    return 0 if summary.complete else 1


def _listing(given: Namespace) -> RowList:
    try:
        return RowList(given.list)
    except OSError as error:
        message = f"{given.list} cannot be written: {error.strerror}"
        raise CommandFailed(message, EXIT_NOT_UNDERSTOOD) from None


class _Speed(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        """See `ProgressColumn`."""
        return Text(f"{task.speed or 0:,.0f} rows/s", style="dim")


@contextmanager
def _watched(given: Namespace) -> Iterator[Progress]:
    """A progress bar, on a terminal or where one is asked for."""
    if not (messages().is_terminal if given.progress is None else given.progress):
        yield Progress()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=messages()) as bars:
        task = bars.add_task("reading", total=None)

        def show(step: str) -> None:
            if bars.tasks[task].description != step:
                bars.reset(task, description=step)

        def reading(rows: int) -> None:
            bars.update(task, completed=rows)

        def registering(done: int, of: int) -> None:
            show("registering")
            bars.update(task, completed=done, total=of)

        def booked(rows: int, of: int) -> None:
            show("booking")
            bars.update(task, completed=rows, total=of)

        yield Progress(reading, registering, booked)


def _print(summary: Summary) -> None:
    speed = f", {summary.rows_counted / summary.seconds:,.0f} rows/s" if summary.seconds else ""
    heading = f"{summary.rows_read:,} rows in {summary.documents:,} documents, {summary.seconds:,.1f} s{speed}"
    output().print(heading, style="bold")
    outcomes = table("outcome", "rows", right=("rows",), title="Each row under exactly one")
    for outcome, rows in summary.outcomes.most_common():
        colour = "red" if outcome in NOT_BOOKED else "default"
        outcomes.add_row(f"[{colour}]{escape(outcome)}[/]", f"{rows:,}")
    outcomes.add_row("together", f"{summary.rows_counted:,}", style="bold")
    commands = table("command", "done now", "done before", "there already", "refused", title="Commands", right=_NUMBERS)
    for name, counts in summary.commands.items():
        numbers = (counts.accepted, counts.replayed, counts.already_there, counts.refused)
        commands.add_row(name, *(f"{number:,}" if number else "" for number in numbers))
    output().print(Group("", outcomes, "", commands))
    if summary.special:
        special = table("", "rows", "documents", "how", "first rows", title="Special rows", right=_NUMBERS)
        for each in summary.special.values():
            examples = ", ".join([*map(str, each.examples), *_more(each.rows - len(each.examples))])
            special.add_row(each.name, f"{each.rows:,}", f"{each.documents:,}", escape(each.how), examples)
        output().print(Group("", special))
    if summary.refused:
        refused = table("refused as", "commands", "rows", "because", "first ones", title="Refused", right=_NUMBERS)
        for reason in summary.refused.values():
            counted = (f"{reason.commands:,}", f"{reason.rows:,}")
            examples = "\n".join([*reason.examples, *_more(reason.commands - len(reason.examples))])
            refused.add_row(reason.problem, *counted, escape(reason.rule), escape(examples), style="red")
        output().print(Group("", refused))


def _more(left_out: int) -> list[str]:
    """That there are more than are shown."""
    return [f"and {left_out:,} more"] if left_out > 0 else []


_NUMBERS = ("done now", "done before", "there already", "refused", "rows", "documents", "commands")
