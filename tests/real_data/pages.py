"""The figures in the pages of the documentation, to be compared with what they are figures of."""

import re
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to"

_NUMBER = re.compile(r"-?\d[\d,]*(\.\d+)?")


def table(page: Path, heading: str) -> dict[str, tuple[Decimal, ...]]:
    """The figures of the table whose first heading is this one, by the first cell of their row."""
    lines = iter(page.read_text("utf-8").splitlines())
    assert any(line.startswith(f"| {heading} |") for line in lines), f"{page.name} has no table {heading}"
    next(lines)
    rows: dict[str, tuple[Decimal, ...]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name] = tuple(Decimal(cell.replace(",", "")) for cell in cells if _NUMBER.fullmatch(cell))
    return rows
