"""What the help of several commands is made of."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name


def command(  # noqa: PLR0913 - what a command says about itself
    commands: Commands,
    name: str,
    module: str,
    summary: str,
    *,
    description: str = "",
    examples: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """Add a command, which this module runs."""
    epilog = "\n".join(["examples:", *(f"  {example}" for example in examples)]) if examples else None
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{description}".strip(),
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(module=module)
    return parser


def data_options(parser: argparse.ArgumentParser) -> None:
    """Options that say which Rapport is meant, for commands that need its data."""
    group = parser.add_argument_group("which Rapport")
    group.add_argument("--data", type=Path, metavar="DIR", help="its data folder (RAPPORT_DATA)")
    group.add_argument("--tenant", metavar="NAME", help="its tenant, default main (RAPPORT_TENANT)")


def client_options(parser: argparse.ArgumentParser) -> None:
    """Options that say which service is meant, for commands that ask over HTTP."""
    group = parser.add_argument_group("which service")
    group.add_argument("--url", help="its address, default http://127.0.0.1:8000 (RAPPORT_URL)")
    group.add_argument("--key", help="your key (RAPPORT_KEY); other users of this machine may see options")
