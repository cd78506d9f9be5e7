"""Staff: who works for us, in which department, and in which teams from when until when.

Rules

* No two members of staff have the same staff number, nor the same identifier of one source; the source `number` is
  ours.
* A member of staff is in a team from a day on, until the day from which that holds no longer. Nobody is in one team
  twice at a time; everybody may be in several teams.
* Only who is in a team can leave it, and on a later day than the one of joining.
* Who leaves us is in no team from that day on, and joins none. Leaving happens once.
* A decision that changes nothing records nothing.

The name is personal. Everything else names members of staff by their id only, and so do all other events.
"""

from dataclasses import replace
from datetime import date
from typing import TypeAlias

from domain.customer import RESERVED_SOURCE, Department, SourceIsReserved
from domain.errors import NotFound, Refusal
from domain.team import TeamId
from domain.values import ExternalIdentifier, PersonalText, immutable


@immutable
class StaffRegistered:
    """Somebody works for us."""

    staff_number: str
    name: PersonalText
    department: Department
    external_identifiers: tuple[ExternalIdentifier, ...] = ()


@immutable
class TeamJoined:
    """The member of staff is in a team from a day on, at the longest until leaving us."""

    team_id: TeamId
    valid_from: date


@immutable
class TeamLeft:
    """The member of staff is not in the team any more, from the day `valid_until` on."""

    team_id: TeamId
    valid_until: date


@immutable
class StaffLeft:
    """The member of staff does not work for us any more, from the day `valid_until` on."""

    valid_until: date


StaffEvent: TypeAlias = StaffRegistered | TeamJoined | TeamLeft | StaffLeft


class StaffNotFound(NotFound):
    """There is no member of staff of this id, number or identifier."""


class StaffNumberIsTaken(Refusal):
    """No two members of staff have the same staff number."""


class StaffIdentifierIsTaken(Refusal):
    """No two members of staff have the same identifier of one source."""


class StaffIsInTeam(Refusal):
    """Nobody is in one team twice at a time."""


class StaffIsNotInTeam(Refusal):
    """Only who is in a team can leave it, and on a later day than the one of joining."""


class StaffHasLeft(Refusal):
    """Who has left joins no team from that day on, and cannot leave on another day."""


@immutable
class Membership:
    """Being in a team from a day on, until the day from which that holds no longer; None: it still does."""

    team_id: TeamId
    valid_from: date
    valid_until: date | None = None

    def is_over_by(self, day: date) -> bool:
        """Whether the membership has ended before this day begins."""
        return self.valid_until is not None and self.valid_until <= day

    def ended(self, day: date) -> "Membership":
        """This membership, but no longer than until a day."""
        return self if self.is_over_by(day) else replace(self, valid_until=day)


@immutable
class StaffMember:
    """What the rules ask about a member of staff."""

    memberships: tuple[Membership, ...] = ()
    left_on: date | None = None

    def join_team(self, team_id: TeamId, valid_from: date) -> tuple[TeamJoined, ...]:
        """Be in a team from a day on."""
        if self.left_on is not None and valid_from >= self.left_on:
            raise StaffHasLeft(pointer="/valid_from")
        same = [membership for membership in self.memberships if membership.team_id == team_id]
        if self._joining(team_id, valid_from) in same:
            return ()
        if not all(membership.is_over_by(valid_from) for membership in same):
            raise StaffIsInTeam(pointer="/team")
        return (TeamJoined(team_id=team_id, valid_from=valid_from),)

    def after_joining(self, team_id: TeamId, valid_from: date) -> "StaffMember":
        """This member of staff with one more team."""
        return replace(self, memberships=(*self.memberships, self._joining(team_id, valid_from)))

    def _joining(self, team_id: TeamId, valid_from: date) -> Membership:
        return Membership(team_id=team_id, valid_from=valid_from, valid_until=self.left_on)

    def leave_team(self, team_id: TeamId, valid_until: date) -> tuple[TeamLeft, ...]:
        """Be in a team no longer, from a day on."""
        same = [membership for membership in self.memberships if membership.team_id == team_id]
        if any(membership.valid_until == valid_until for membership in same):
            return ()
        if not any(one.valid_until is None and one.valid_from < valid_until for one in same):
            raise StaffIsNotInTeam(pointer="/team")
        return (TeamLeft(team_id=team_id, valid_until=valid_until),)

    def leave(self, valid_until: date) -> tuple[StaffLeft, ...]:
        """Work for us no longer, from a day on."""
        if self.left_on not in {None, valid_until}:
            raise StaffHasLeft(pointer="/valid_until")
        return () if self.left_on else (StaffLeft(valid_until=valid_until),)


def register(registered: StaffRegistered) -> tuple[StaffRegistered]:
    """Begin a member of staff. That number and identifiers are their own is seen to by claims."""
    for index, identifier in enumerate(registered.external_identifiers):
        if identifier.source == RESERVED_SOURCE:
            raise SourceIsReserved(pointer=f"/external_identifiers/{index}/source")
    return (registered,)


def evolve(state: StaffMember | None, event: StaffEvent) -> StaffMember:
    """The member of staff after an event."""
    if isinstance(event, StaffRegistered):
        return StaffMember()
    if state is None:
        msg = "the stream of a member of staff begins with the registration"
        raise ValueError(msg)
    match event:
        case TeamJoined(team_id=team_id, valid_from=day):
            return state.after_joining(team_id, day)
        case TeamLeft(team_id=team_id, valid_until=day):
            memberships = (one.ended(day) if one.team_id == team_id else one for one in state.memberships)
            return replace(state, memberships=tuple(memberships))
        case _:
            day = event.valid_until
            memberships = (one.ended(day) for one in state.memberships if one.valid_from < day)
            return replace(state, left_on=day, memberships=tuple(memberships))
