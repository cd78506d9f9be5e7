"""The page about roles is made from the operations, and says of every role what it is there for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api import roles_page
from api.roles_page import admitted
from application.commands import Role
from tests.api.running import description

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "roles.md"


def operations() -> Iterator[tuple[str, Any]]:
    """Every operation, by method and path."""
    for path, methods in description()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_the_page_about_roles_is_made_from_the_operations() -> None:
    assert PAGE.read_text("utf-8") == roles_page.page(description()), "make it: python -m tests.contracts.test_roles"


def test_the_page_has_every_operation_once() -> None:
    text = PAGE.read_text("utf-8")
    assert [name for name, _ in operations() if text.count(f"| `{name}` |") != 1] == []


def test_whatever_is_under_v1_admits_somebody_and_not_everybody_without_a_key() -> None:
    for name, operation in operations():
        roles = admitted(operation)
        assert (roles is None) == ("/v1" not in name), name
        assert roles is None or roles, name


def test_every_role_may_do_something() -> None:
    roles = [admitted(operation) or frozenset() for _, operation in operations()]
    assert frozenset().union(*roles) == frozenset(Role)


if __name__ == "__main__":
    PAGE.write_text(roles_page.page(description()), encoding="utf-8")
