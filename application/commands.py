"""Commands and their handlers: the registry from which HTTP routes, bulk lines and documentation are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from application.aggregates import Aggregate
from application.shapes import Instant, Reason, SourceName
from application.unit_of_work import UnitOfWork
from domain.errors import Refusal
from domain.values import immutable

C = TypeVar("C", bound="Command")


class Role(StrEnum):
    """What a key may do; each route and each command names the roles it admits."""

    SERVICE = "service"
    IMPORTER = "importer"
    STAFF = "staff"
    AUDITOR = "auditor"
    REPORTING = "reporting"
    PRIVACY = "privacy"
    ADMIN = "admin"


WRITERS = frozenset({Role.SERVICE, Role.IMPORTER, Role.STAFF})


@immutable
class Command:
    """What every command may carry beside its own fields.

    `occurred_at` is when it happened in the world (now, where absent). `source` and `source_recorded_at` say which
    system knew an imported fact, and since when. A dry run is decided and not appended.
    """

    occurred_at: Instant | None = None
    reason: Reason | None = None
    source: SourceName | None = None
    source_recorded_at: Instant | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class CommandDefinition:
    """One command as the outer layers see it."""

    name: str
    """Kebab-case verb and noun: `register-customer`. Unique."""
    command: type[Command]
    aggregate: Aggregate[Any]
    handler: Callable[[Any, UnitOfWork], None]
    creates: bool
    """Whether it starts a new stream (`POST /v1/<collection>`) or is addressed to an existing one."""
    refusals: tuple[type[Refusal], ...]
    """What it may be refused with, for the documentation; a contract test checks it."""
    roles: frozenset[Role] = WRITERS


_COMMANDS: dict[str, CommandDefinition] = {}
COMMANDS: Mapping[str, CommandDefinition] = _COMMANDS
"""Every command by name, in the order of definition."""
_AGGREGATES: dict[str, Aggregate[Any]] = {}
AGGREGATES: Mapping[str, Aggregate[Any]] = _AGGREGATES
"""Every aggregate that has commands, by name."""


def handles(
    command: type[C],
    aggregate: Aggregate[Any],
    *,
    creates: bool = False,
    refusals: tuple[type[Refusal], ...] = (),
    roles: frozenset[Role] = WRITERS,
) -> Callable[[Callable[[C, UnitOfWork], None]], Callable[[C, UnitOfWork], None]]:
    """Register the function below as the handler of `command`, under the kebab-case form of the function's name."""

    def register(handler: Callable[[C, UnitOfWork], None]) -> Callable[[C, UnitOfWork], None]:
        name = handler.__name__.replace("_", "-")
        if name in _COMMANDS:
            msg = f"two handlers are called {name}"
            raise ValueError(msg)
        _AGGREGATES[aggregate.name] = aggregate
        _COMMANDS[name] = CommandDefinition(name, command, aggregate, handler, creates, refusals, roles)
        return handler

    return register
