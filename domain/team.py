"""Teams: who answers together.

Rules

* No two teams have the same team number, nor the same identifier of one source; the source `number` is ours.
* Who belongs to a team, and when, is said by the members of staff.
"""

from typing import NewType, TypeAlias
from uuid import UUID

from domain.customer import RESERVED_SOURCE, Department, SourceIsReserved
from domain.errors import NotFound, Refusal
from domain.values import ExternalIdentifier, immutable

TeamId = NewType("TeamId", UUID)


@immutable
class TeamDefined:
    """A team exists, and belongs to a department."""

    team_number: str
    name: str
    department: Department
    external_identifiers: tuple[ExternalIdentifier, ...] = ()


TeamEvent: TypeAlias = TeamDefined


class TeamNotFound(NotFound):
    """There is no team of this id, number or identifier."""


class TeamNumberIsTaken(Refusal):
    """No two teams have the same team number."""


class TeamIdentifierIsTaken(Refusal):
    """No two teams have the same identifier of one source."""


@immutable
class Team:
    """No rule asks more about a team than whether it exists."""


def define(defined: TeamDefined) -> tuple[TeamDefined]:
    """Begin a team. That its number and identifiers are its own is seen to by claims."""
    for index, identifier in enumerate(defined.external_identifiers):
        if identifier.source == RESERVED_SOURCE:
            raise SourceIsReserved(pointer=f"/external_identifiers/{index}/source")
    return (defined,)


def evolve(state: Team | None, event: TeamEvent) -> Team:  # noqa: ARG001 - every `evolve` takes both
    """The team after an event."""
    return Team()
