"""What can be asked for staff and teams: each command directly above its handler."""

from application.aggregates import Aggregate
from application.commands import Command, handles
from application.shapes import Code, Day, Identifiers, Name, Reference
from application.unit_of_work import ReferenceNotFound, UnitOfWork
from domain.customer import RESERVED_SOURCE, Department, SourceIsReserved
from domain.staff import (
    StaffHasLeft,
    StaffIdentifierIsTaken,
    StaffIsInTeam,
    StaffIsNotInTeam,
    StaffMember,
    StaffNotFound,
    StaffNumberIsTaken,
    StaffRegistered,
    register,
)
from domain.staff import evolve as evolve_staff
from domain.team import (
    Team,
    TeamDefined,
    TeamId,
    TeamIdentifierIsTaken,
    TeamNotFound,
    TeamNumberIsTaken,
    define,
)
from domain.team import evolve as evolve_team
from domain.values import immutable

TEAM = Aggregate("team", "teams", Team, evolve_team, TeamNotFound)
STAFF = Aggregate("staff", "staff", StaffMember, evolve_staff, StaffNotFound)


@immutable
class DefineTeam(Command):
    """Define a team of a department."""

    team_number: Code
    name: Name
    department: Department
    external_identifiers: Identifiers = ()


@handles(DefineTeam, TEAM, creates=True, refusals=(TeamNumberIsTaken, TeamIdentifierIsTaken, SourceIsReserved))
def define_team(command: DefineTeam, work: UnitOfWork) -> None:
    """Take the number and the identifiers for a new team."""
    (defined,) = define(
        TeamDefined(
            team_number=command.team_number,
            name=command.name,
            department=command.department,
            external_identifiers=tuple(dict.fromkeys(command.external_identifiers)),
        )
    )
    number = TEAM.reference(RESERVED_SOURCE, command.team_number)
    work.claim(number, TeamNumberIsTaken, pointer="/team_number")
    for identifier in defined.external_identifiers:
        claim = TEAM.reference(identifier.source, identifier.id)
        work.claim(claim, TeamIdentifierIsTaken, pointer="/external_identifiers")
    work.record(defined)


@immutable
class RegisterStaff(Command):
    """Register somebody who works for us; the number must not be made of the name."""

    staff_number: Code
    name: Name
    department: Department
    external_identifiers: Identifiers = ()


@handles(RegisterStaff, STAFF, creates=True, refusals=(StaffNumberIsTaken, StaffIdentifierIsTaken, SourceIsReserved))
def register_staff(command: RegisterStaff, work: UnitOfWork) -> None:
    """Take the number and the identifiers for a new member of staff; identifiers go when the person is erased."""
    (registered,) = register(
        StaffRegistered(
            staff_number=command.staff_number,
            name=command.name,
            department=command.department,
            external_identifiers=tuple(dict.fromkeys(command.external_identifiers)),
        )
    )
    number = STAFF.reference(RESERVED_SOURCE, command.staff_number)
    work.claim(number, StaffNumberIsTaken, pointer="/staff_number")
    for identifier in registered.external_identifiers:
        claim = STAFF.reference(identifier.source, identifier.id)
        work.claim(claim, StaffIdentifierIsTaken, subject=work.target_id, pointer="/external_identifiers")
    work.record(registered)


@immutable
class JoinTeam(Command):
    """Let the member of staff be in a team from a day on."""

    team: Reference
    valid_from: Day


@handles(JoinTeam, STAFF, refusals=(StaffHasLeft, StaffIsInTeam, ReferenceNotFound))
def join_team(command: JoinTeam, work: UnitOfWork) -> None:
    """See `StaffMember.join_team`."""
    team_id, _ = work.read(TEAM, command.team, pointer="/team")
    work.record(*work.target(STAFF).join_team(TeamId(team_id), command.valid_from))


@immutable
class LeaveTeam(Command):
    """Let the member of staff be in a team no longer, from the day `valid_until` on."""

    team: Reference
    valid_until: Day


@handles(LeaveTeam, STAFF, refusals=(StaffIsNotInTeam, ReferenceNotFound))
def leave_team(command: LeaveTeam, work: UnitOfWork) -> None:
    """See `StaffMember.leave_team`."""
    team_id, _ = work.read(TEAM, command.team, pointer="/team")
    work.record(*work.target(STAFF).leave_team(TeamId(team_id), command.valid_until))


@immutable
class LeaveStaff(Command):
    """Note that the member of staff works for us no longer, from the day `valid_until` on; all teams are left, too."""

    valid_until: Day


@handles(LeaveStaff, STAFF, refusals=(StaffHasLeft,))
def leave_staff(command: LeaveStaff, work: UnitOfWork) -> None:
    """See `StaffMember.leave`."""
    work.record(*work.target(STAFF).leave(command.valid_until))
