"""Everything that is registered, with every module of the inner layers imported first, so that nothing is missed."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import application
import domain
from application.aggregates import Aggregate
from application.commands import COMMANDS
from domain.errors import NotFound, Refusal

for package in (domain, application):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def _subclasses(refusal: type[Refusal]) -> Iterator[type[Refusal]]:
    for each in refusal.__subclasses__():
        yield each
        yield from _subclasses(each)


AGGREGATES: dict[str, Aggregate[Any]] = {each.aggregate.name: each.aggregate for each in COMMANDS.values()}
"""Every kind of stream that a command is addressed to, by name."""

REFUSALS = sorted(
    {
        each
        for each in _subclasses(Refusal)
        if each is not NotFound and each.__module__.startswith(("domain.", "applic"))
    },
    key=lambda each: each.__qualname__,
)
"""Every refusal of the domain and of the use cases."""
