"""`python -m tests.benchmarks [SECTION …]`: measure, side by side in one run, and print a table for each section."""

import argparse
from collections.abc import Callable, Iterable, Mapping

from tests.benchmarks import commands, reading, support, writers
from tests.benchmarks.table import Row, show

Section = Callable[[int], Iterable[Row]]

SECTIONS: Mapping[str, tuple[str, Section, int]] = {
    "commands": ("Durable single commands over HTTP", commands.single_commands, 10_000),
    "bulk": ("Bulk commands over HTTP", commands.bulk, 20_000),
    "memory": ("Memory", commands.memory, 1_000_000),
    "writers": ("Two API processes on busy streams", writers.two_processes, 10_000),
    "projection": ("Projection", reading.projection, 200_000),
    "support": ("Support cases", support.support, 1_000_000),
    "reports": ("Reports, cards and histories", reading.reports, 10_000_000),
}


def main() -> None:
    """Run the sections that are asked for, or all."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--scale", type=float, default=1.0, help="of the amounts of work, default 1")
    given = parser.parse_args()
    for name in given.sections or SECTIONS:
        title, section, size = SECTIONS[name]
        show(title, section(int(size * given.scale)))


if __name__ == "__main__":
    main()
