"""The page docs/reference/roles.md: every operation and every role, and which may do which. Nothing else is allowed."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from application.commands import Role

_HEAD = """# Roles

<!-- Made by python -m tests.contracts.test_roles; a test compares it with the program. -->

Each key has one role ([make keys](../how-to/keys.md)). An operation admits the roles that it names; a new one that
names none cannot be made. Whoever has no key, or one that is unknown, revoked or expired, is answered 401; whoever has
a role that is not admitted, 403. A test sends every operation with every role to a running service and compares.
"""


def page(description: Mapping[str, Any]) -> str:
    """The page, from the description of the interface."""
    return _HEAD + "".join(_tables(description))


def admitted(operation: Mapping[str, Any]) -> frozenset[Role] | None:
    """The roles that an operation says it admits; None: it needs no key."""
    if operation.get("security") == []:
        return None
    return frozenset(map(Role, re.findall(r"`(\w+)`", operation["description"].rpartition("Roles: ")[2])))


def _tables(description: Mapping[str, Any]) -> Iterator[str]:
    tag = ""
    for path, methods in sorted(description["paths"].items(), key=_tag):
        for method, operation in methods.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                yield f"\n## {tag}\n\n| | {' | '.join(Role)} |\n|---|{'---|' * len(Role)}\n"
            yield f"| `{method.upper()} {path}` | {' | '.join(_marks(operation))} |\n"


def _tag(entry: tuple[str, Mapping[str, Any]]) -> str:
    first = next(iter(entry[1].values()))
    return str(first["tags"][0])


def _marks(operation: Mapping[str, Any]) -> Iterator[str]:
    roles = admitted(operation)
    for role in Role:
        yield "no key" if roles is None else "yes" if role in roles else ""
