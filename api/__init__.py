"""Everything that faces outwards: HTTP routes, the command line, and the composition root that wires the layers."""

from typing import Final

VERSION: Final = "0.1.0"
"""Of this program; the same as in pyproject.toml."""
