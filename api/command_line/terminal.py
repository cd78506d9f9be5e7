"""What all commands share: where they write, how they fail, and where they find the service."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import httpx
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from infrastructure.settings import Settings, StartRefused

URL = "RAPPORT_URL"
KEY = "RAPPORT_KEY"
"""Where a client finds the address of the service and its key, unless it is told."""
DEFAULT_URL = "http://127.0.0.1:8000"

EXIT_NOT_UNDERSTOOD = 2
EXIT_UNAVAILABLE = 69
"""What was needed cannot be reached now (EX_UNAVAILABLE of sysexits.h); the same command may work later."""
EXIT_REFUSED = 78
"""Something has to be changed first (EX_CONFIG of sysexits.h)."""


class CommandFailed(Exception):  # noqa: N818 - it is the answer to the person at the terminal
    """A command could not do its work; the message says why and what to do."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


COLUMNS_MAX = 200
"""How wide tables are where there is no terminal, as in a file."""


@cache
def output() -> Console:
    """Where results go; plain text without colours when it is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else COLUMNS_MAX)


@cache
def messages() -> Console:
    """Where everything goes that is no result: progress, warnings, errors."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else COLUMNS_MAX)


def fail(message: str, status: int) -> int:
    """Say what went wrong; the exit status."""
    messages().print(f"[bold red]rapport:[/] {escape(message)}", soft_wrap=True)
    return status


def table(*columns: str, title: str | None = None, right: Sequence[str] = ()) -> Table:
    """An empty table in the style of the house; the columns in `right` are numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


Report = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and how much there is of it."""


@contextmanager
def progress() -> Iterator[Report]:
    """A bar for each thing that is being done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages()) as bars:
        tasks = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=None)
            bars.update(tasks[what], completed=done, total=total)

        yield report


def settings_of(given: Namespace) -> Settings:
    """The settings that are in force, from the environment and from the options that this command has."""
    options = {name: value for name, value in vars(given).items() if name in Settings.model_fields}
    with refused():
        return Settings.from_environment(os.environ, **options)


@contextmanager
def refused() -> Iterator[None]:
    """Turn a refusal to start into a message for the terminal."""
    try:
        yield
    except StartRefused as refusal:
        raise CommandFailed(str(refusal), EXIT_REFUSED) from None


@contextmanager
def service(given: Namespace) -> Iterator[httpx.Client]:
    """A client of the service that the options or the environment name."""
    url = given.url or os.environ.get(URL) or DEFAULT_URL
    key = given.key or os.environ.get(KEY)
    if not key:
        message = f"a key is needed: --key KEY, or {KEY} in the environment. Make one: rapport keys create NAME"
        raise CommandFailed(message, EXIT_REFUSED)
    try:
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
            yield client
    except httpx.UnsupportedProtocol:
        message = f"{url} is no address: it begins with http:// or https://"
        raise CommandFailed(message, EXIT_NOT_UNDERSTOOD) from None
    except httpx.TransportError as error:
        message = f"there is no service at {url} ({error}). Start one: rapport serve"
        raise CommandFailed(message, EXIT_UNAVAILABLE) from None


def refuse_problem(response: httpx.Response) -> None:
    """End the command with what the service says, unless it says what was asked for."""
    if response.is_success:
        return
    try:
        problem = response.json()
        message = str(problem.get("detail") or problem.get("title"))
    except (ValueError, AttributeError):
        message = f"it answers {response.status_code}"
    raise CommandFailed(f"the service says no: {message}")  # noqa: TRY003, EM102 - the message is the service's
