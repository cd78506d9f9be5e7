"""What a scenario has found: figures, and what each of them has to be."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure; `must_be` is None where it only tells what happened."""

    name: str
    value: object
    must_be: object = None

    @property
    def holds(self) -> bool:
        """Whether it is what it must be."""
        return self.must_be is None or self.value == self.must_be


def broken(figures: Iterable[Figure]) -> list[Figure]:
    """The figures that are not what they must be."""
    return [figure for figure in figures if not figure.holds]


def show(title: str, figures: Iterable[Figure]) -> None:
    """Print the figures of one scenario."""
    table = Table("figure", "value", "must be", title=title, title_justify="left")
    for figure in figures:
        colour = "" if figure.must_be is None else "green" if figure.holds else "bold red"
        value = f"[{colour}]{figure.value}[/]" if colour else str(figure.value)
        table.add_row(figure.name, value, "" if figure.must_be is None else str(figure.must_be))
    Console().print(table)


def seconds(durations: Iterable[float]) -> str:
    """Median and maximum of durations."""
    ordered = sorted(durations)
    return f"{ordered[len(ordered) // 2]:.1f} median, {ordered[-1]:.1f} longest" if ordered else "none"
