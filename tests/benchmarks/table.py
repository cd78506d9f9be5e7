"""The table that `make bench` prints."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement: a figure with its unit, and its ratio to what was measured beside it in the same run."""

    what: str
    figure: float
    unit: str
    ratio: float | None = None
    beside: str = ""
    remark: str = ""


def show(title: str, rows: Iterable[Row]) -> None:
    """Print one section, each row as soon as it is known on standard error, the table at its end."""
    progress = Console(stderr=True)
    table = Table("work", "figure", "unit", "ratio", "beside", "remark", title=title, title_justify="left")
    for row in rows:
        progress.print(f"{row.what}: {row.figure:,.1f} {row.unit} {row.remark}", style="dim")
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(row.what, f"{row.figure:,.1f}", row.unit, ratio, row.beside, row.remark)
    Console(width=180).print(table)
