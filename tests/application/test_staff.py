"""What handlers of commands for staff and teams add to the rules: claims and references."""

import pytest

from application.ports import NewEvent, Stream
from application.staff import STAFF, TEAM
from application.unit_of_work import ReferenceNotFound
from domain.staff import StaffIdentifierIsTaken, StaffNotFound, StaffNumberIsTaken
from domain.team import TeamIdentifierIsTaken, TeamNotFound, TeamNumberIsTaken
from tests.application.test_customers import NEW, Log, claims, decide, validate
from tests.colleagues import (
    KATHERINE,
    KATHERINE_JOINED,
    KATHERINE_LEFT,
    KATHERINE_LEFT_THE_TEAM,
    KATHERINE_REGISTERED,
    SECOND_LEVEL,
    SECOND_LEVEL_DEFINED,
)

TEAM_STREAM = Stream(1, TEAM.fold(None, (SECOND_LEVEL_DEFINED,)))
HOLDERS = {TEAM.reference("number", "T-2"): SECOND_LEVEL}
JOIN: dict[str, object] = {"team": "number:T-2", "valid_from": "2026-01-01"}
LEAVE_TEAM: dict[str, object] = {"team": "number:T-2", "valid_until": "2026-04-01"}


def log_after(*events: object) -> Log:
    katherine = Stream(1 + len(events), STAFF.fold(None, (KATHERINE_REGISTERED, *events)))
    return Log({SECOND_LEVEL: TEAM_STREAM, KATHERINE: katherine}, HOLDERS)


def test_number_and_identifiers_of_a_team_are_claimed() -> None:
    identifier = {"source": "helpdesk", "id": "Group 70"}
    body = {
        "team_number": "T-2",
        "name": "Second level",
        "department": "service",
        "external_identifiers": [identifier, identifier],
    }
    decision = decide(validate("define-team", body))
    assert decision.events == (NewEvent(NEW, 1, SECOND_LEVEL_DEFINED, None),)
    assert claims(decision) == {
        TEAM.reference("number", "T-2"): (TeamNumberIsTaken, "/team_number", None),
        TEAM.reference("helpdesk", "Group 70"): (TeamIdentifierIsTaken, "/external_identifiers", None),
    }


def test_identifiers_of_staff_go_with_the_person_but_the_number_stays() -> None:
    body = {
        "staff_number": "S-1",
        "name": "Katherine Johnson",
        "department": "service",
        "external_identifiers": [{"source": "helpdesk", "id": "agent-17"}],
    }
    decision = decide(validate("register-staff", body))
    assert decision.events == (NewEvent(NEW, 1, KATHERINE_REGISTERED, None),)
    assert claims(decision) == {
        STAFF.reference("number", "S-1"): (StaffNumberIsTaken, "/staff_number", None),
        STAFF.reference("helpdesk", "agent-17"): (StaffIdentifierIsTaken, "/external_identifiers", NEW),
    }


def test_teams_are_joined_and_left_by_their_number() -> None:
    joined = decide(validate("join-team", JOIN), KATHERINE, log=log_after())
    assert joined.events == (NewEvent(KATHERINE, 2, KATHERINE_JOINED, None),)
    left = decide(validate("leave-team", LEAVE_TEAM), KATHERINE, log=log_after(KATHERINE_JOINED))
    assert left.events == (NewEvent(KATHERINE, 3, KATHERINE_LEFT_THE_TEAM, None),)


def test_leaving_us_is_recorded() -> None:
    decision = decide(validate("leave-staff", {"valid_until": "2026-07-01"}), KATHERINE, log=log_after())
    assert decision.events == (NewEvent(KATHERINE, 2, KATHERINE_LEFT, None),)


@pytest.mark.parametrize(("name", "body"), [("join-team", JOIN), ("leave-team", LEAVE_TEAM)])
def test_a_team_that_is_named_exists(name: str, body: dict[str, object]) -> None:
    with pytest.raises(ReferenceNotFound) as refused:
        decide(validate(name, body | {"team": "number:T-3"}), KATHERINE, log=log_after())
    assert refused.value.pointer == "/team"


def test_only_staff_that_exists_joins_a_team() -> None:
    with pytest.raises(StaffNotFound):
        decide(validate("join-team", JOIN), NEW, log=log_after())


def test_teams_have_their_own_not_found() -> None:
    assert TEAM.not_found is TeamNotFound
