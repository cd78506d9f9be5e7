"""The rules of staff and teams, sentence by sentence as `domain/staff.py` and `domain/team.py` state them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import staff, team
from domain.customer import SourceIsReserved
from domain.errors import Refusal
from domain.staff import (
    StaffEvent,
    StaffHasLeft,
    StaffIsInTeam,
    StaffIsNotInTeam,
    StaffLeft,
    StaffMember,
    TeamJoined,
    TeamLeft,
)
from domain.team import TeamId
from domain.values import ExternalIdentifier
from tests.colleagues import (
    FIRST_LEVEL,
    KATHERINE_JOINED,
    KATHERINE_LEFT,
    KATHERINE_LEFT_THE_TEAM,
    KATHERINE_REGISTERED,
    SECOND_LEVEL,
    SECOND_LEVEL_DEFINED,
)
from tests.people import APRIL, JANUARY, JULY
from tests.scenario import Scenario

Decide: TypeAlias = Callable[[StaffMember], tuple[StaffEvent, ...]]

member = Scenario(staff.evolve)
second_level = Scenario(team.evolve)

NUMBER = (ExternalIdentifier(source="number", id="1"),)
MARCH, MAY = date(2026, 3, 1), date(2026, 5, 1)


def join(team_id: TeamId, valid_from: date) -> Decide:
    return lambda member: member.join_team(team_id, valid_from)


def leave_team(team_id: TeamId, valid_until: date) -> Decide:
    return lambda member: member.leave_team(team_id, valid_until)


def leave(valid_until: date) -> Decide:
    return lambda member: member.leave(valid_until)


def test_a_team_is_defined() -> None:
    second_level.when(lambda: team.define(SECOND_LEVEL_DEFINED)).then(SECOND_LEVEL_DEFINED)


def test_staff_is_registered() -> None:
    member.when(lambda: staff.register(KATHERINE_REGISTERED)).then(KATHERINE_REGISTERED)


def test_the_source_number_is_ours() -> None:
    pointer = "/external_identifiers/0/source"
    numbered = replace(SECOND_LEVEL_DEFINED, external_identifiers=NUMBER)
    second_level.when(lambda: team.define(numbered)).then_refused(SourceIsReserved, pointer=pointer)
    registered = replace(KATHERINE_REGISTERED, external_identifiers=NUMBER)
    member.when(lambda: staff.register(registered)).then_refused(SourceIsReserved, pointer=pointer)


class TestJoining:
    registered = member.given(KATHERINE_REGISTERED)
    joined = registered.followed_by(KATHERINE_JOINED)
    left_the_team = joined.followed_by(KATHERINE_LEFT_THE_TEAM)

    def test_a_member_of_staff_is_in_a_team_from_a_day_on(self) -> None:
        self.registered.when(join(SECOND_LEVEL, JANUARY)).then(KATHERINE_JOINED)

    def test_everybody_may_be_in_several_teams(self) -> None:
        self.joined.when(join(FIRST_LEVEL, JANUARY)).then(TeamJoined(team_id=FIRST_LEVEL, valid_from=JANUARY))

    def test_joining_again_from_the_same_day_records_nothing(self) -> None:
        self.joined.when(join(SECOND_LEVEL, JANUARY)).then()

    @pytest.mark.parametrize("day", [date(2025, 1, 1), APRIL])
    def test_nobody_is_in_one_team_twice_at_a_time(self, day: date) -> None:
        self.joined.when(join(SECOND_LEVEL, day)).then_refused(StaffIsInTeam, pointer="/team")

    def test_who_left_a_team_may_join_it_again_from_that_day_on(self) -> None:
        again = TeamJoined(team_id=SECOND_LEVEL, valid_from=APRIL)
        self.left_the_team.when(join(SECOND_LEVEL, APRIL)).then(again)
        self.left_the_team.when(join(SECOND_LEVEL, MARCH)).then_refused(StaffIsInTeam, pointer="/team")


class TestLeaving:
    joined = member.given(KATHERINE_REGISTERED, KATHERINE_JOINED)
    left_the_team = joined.followed_by(KATHERINE_LEFT_THE_TEAM)
    gone = joined.followed_by(KATHERINE_LEFT)

    def test_a_team_is_left_from_a_day_on(self) -> None:
        self.joined.when(leave_team(SECOND_LEVEL, APRIL)).then(KATHERINE_LEFT_THE_TEAM)

    def test_leaving_a_team_again_on_the_same_day_records_nothing(self) -> None:
        self.left_the_team.when(leave_team(SECOND_LEVEL, APRIL)).then()

    def test_only_who_is_in_a_team_can_leave_it(self) -> None:
        self.joined.when(leave_team(FIRST_LEVEL, APRIL)).then_refused(StaffIsNotInTeam, pointer="/team")
        self.left_the_team.when(leave_team(SECOND_LEVEL, MAY)).then_refused(StaffIsNotInTeam, pointer="/team")

    def test_a_team_is_left_on_a_later_day_than_joined(self) -> None:
        self.joined.when(leave_team(SECOND_LEVEL, JANUARY)).then_refused(StaffIsNotInTeam, pointer="/team")

    def test_leaving_one_team_leaves_the_others_as_they_were(self) -> None:
        other = TeamJoined(team_id=FIRST_LEVEL, valid_from=JANUARY)
        past = self.joined.followed_by(other, KATHERINE_LEFT_THE_TEAM)
        past.when(leave_team(FIRST_LEVEL, MAY)).then(TeamLeft(team_id=FIRST_LEVEL, valid_until=MAY))

    def test_who_leaves_us_leaves_all_teams(self) -> None:
        self.joined.when(leave(JULY)).then(KATHERINE_LEFT)
        self.gone.when(leave_team(SECOND_LEVEL, JULY)).then()
        self.gone.when(leave_team(SECOND_LEVEL, APRIL)).then_refused(StaffIsNotInTeam, pointer="/team")

    def test_who_has_left_joins_no_team_from_that_day_on(self) -> None:
        self.gone.when(join(FIRST_LEVEL, JULY)).then_refused(StaffHasLeft, pointer="/valid_from")

    def test_a_team_joined_before_leaving_may_be_entered_late(self) -> None:
        joined = TeamJoined(team_id=FIRST_LEVEL, valid_from=APRIL)
        self.gone.when(join(FIRST_LEVEL, APRIL)).then(joined)
        self.gone.followed_by(joined).when(join(FIRST_LEVEL, APRIL)).then()
        self.gone.followed_by(joined).when(leave_team(FIRST_LEVEL, JULY)).then()

    def test_leaving_happens_once(self) -> None:
        self.gone.when(leave(JULY)).then()
        self.gone.when(leave(MAY)).then_refused(StaffHasLeft, pointer="/valid_until")

    def test_a_membership_that_would_have_begun_later_never_begins(self) -> None:
        later = TeamJoined(team_id=FIRST_LEVEL, valid_from=date(2026, 8, 1))
        past = self.joined.followed_by(later, KATHERINE_LEFT)
        assert [one.team_id for one in past.state.memberships] == [SECOND_LEVEL]


def test_a_member_of_staff_begins_with_the_registration() -> None:
    with pytest.raises(ValueError, match="registration"):
        staff.evolve(None, StaffLeft(valid_until=JULY))


teams = st.sampled_from([FIRST_LEVEL, SECOND_LEVEL])
days = st.sampled_from([date(2026, month, 1) for month in range(1, 13)])
decisions = st.one_of(st.builds(join, teams, days), st.builds(leave_team, teams, days), st.builds(leave, days))


@given(attempts=st.lists(decisions, max_size=12))
def test_whatever_is_decided_nobody_is_in_one_team_twice_at_a_time(attempts: list[Decide]) -> None:
    state = staff.evolve(None, KATHERINE_REGISTERED)
    for attempt in attempts:
        try:
            events = attempt(state)
        except Refusal:
            continue
        for event in events:
            state = staff.evolve(state, event)
    for one_team in (FIRST_LEVEL, SECOND_LEVEL):
        spans = sorted(
            (one.valid_from, one.valid_until or date.max) for one in state.memberships if one.team_id == one_team
        )
        assert all(begin < end for begin, end in spans)
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
        assert state.left_on is None or all(end <= state.left_on for _, end in spans)
