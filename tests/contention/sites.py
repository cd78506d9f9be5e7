"""Where the program reads another stream or takes a claim: found in its source, command by command."""

import ast
import inspect
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

import pytest

from application import decisions
from application.commands import COMMANDS
from application.decisions import DecisionUnitOfWork

METHODS = ("read", "read_all", "claim")
"""Of `UnitOfWork`: those that rest on more than the stream that a command is addressed to."""


@dataclass(frozen=True, order=True)
class Site:
    """One command at one call of one of these methods."""

    command: str
    place: str
    """The function that calls, and the line."""
    call: str


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(Path(str(sys.modules[module].__file__)).read_text(encoding="utf-8"))


@cache
def _definition(function: FunctionType) -> ast.FunctionDef:
    """The source of a function, with the lines of its file."""
    (found,) = (
        node
        for node in ast.walk(_tree(function.__module__))
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__
    )
    return found


def _calls(function: FunctionType, seen: set[FunctionType]) -> Iterator[tuple[str, str]]:
    """The calls of these methods in a function and in all functions of the application that it calls."""
    if function in seen:
        return
    seen.add(function)
    for node in ast.walk(_definition(function)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "work":
            if node.func.attr in METHODS:
                yield _place(function.__module__, function.__name__, node.lineno), ast.unparse(node)
        elif isinstance(node.func, ast.Name):
            called = function.__globals__.get(node.func.id)
            if inspect.isfunction(called) and called.__module__.startswith("application."):
                yield from _calls(called, seen)


def _place(module: str, function: str, line: int) -> str:
    return f"{module}.{function}:{line}"


def all_sites() -> set[Site]:
    """Every command at every place where it may read another stream or take a claim."""
    return {
        Site(name, *call)
        for name, definition in COMMANDS.items()
        for call in _calls(inspect.unwrap(definition.handler), set())
    }


class Visits:
    """Notes at which places commands call these methods."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places: set[tuple[str, str]] = set()
        for method in METHODS:
            monkeypatch.setattr(DecisionUnitOfWork, method, self._noting(getattr(DecisionUnitOfWork, method)))

    def _noting(self, method: Any) -> Any:
        def noting(work: DecisionUnitOfWork, *arguments: Any, **named: Any) -> Any:
            if all(arguments):  # no references are read from no stream
                self._note(work, sys._getframe(1))  # noqa: SLF001 - who calls is the question
            return method(work, *arguments, **named)

        return noting

    def _note(self, work: DecisionUnitOfWork, caller: FrameType) -> None:
        if caller.f_code.co_filename != decisions.__file__:
            place = _place(caller.f_globals["__name__"], caller.f_code.co_name, caller.f_lineno)
            self.places.add((work._submission.definition.name, place))  # noqa: SLF001 - nobody else needs to know it

    def missed(self, sites: Sequence[Site]) -> list[Site]:
        """The sites at which nobody was."""
        return [site for site in sites if (site.command, site.place) not in self.places]
