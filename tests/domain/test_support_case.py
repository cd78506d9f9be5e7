"""The rules of support cases, sentence by sentence as `domain/support_case.py` states them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.case_events import (
    ActorClass,
    CaseAssigned,
    CaseClassified,
    CaseId,
    CaseKind,
    CaseMergedInto,
    CaseOpened,
    CasePutOnHold,
    CaseResumed,
    CaseSplit,
    CaseTransferred,
    CustomerIdentified,
    CustomerMessageReceived,
    InternalNoteAdded,
    MessageId,
    NoReplyNeededMarked,
    Performer,
    Priority,
    PublicReplySent,
    SatisfactionScale,
    SupportCaseEvent,
)
from domain.case_status import CaseStatus
from domain.customer import Channel, Direction, SourceIsReserved
from domain.errors import Refusal
from domain.support_case import (
    CaseIsClosed,
    CaseIsMerged,
    CaseIsResolved,
    CaseIsSpam,
    CaseIsWithdrawn,
    CaseOfCustomerIsInbound,
    CasesAreOfDifferentCustomers,
    CaseWasNeverResolved,
    CaseWasNotOpenYet,
    CustomerAwaitsReply,
    CustomerIsIdentified,
    InvitationHasAnotherScale,
    InvitationNotFound,
    MergeIsCircular,
    MessageNotFound,
    NewCase,
    ReopeningEndsBeforeResolution,
    ReopeningIsOver,
    SatisfactionIsRecorded,
    ScoreIsOutsideScale,
    SupportCase,
    evolve,
    open_case,
)
from domain.values import CustomerId, ExternalIdentifier, StaffId
from tests.colleagues import FIRST_LEVEL, KATHERINE, SECOND_LEVEL, SUPPORT_HOURS
from tests.complaints import (
    ACME_ASKED_LIVE,
    ACME_COMPLAINED,
    ASKED_FOR_SATISFACTION,
    CALENDAR_ASSIGNED,
    CASE_IN_THE_HELP_DESK,
    CLASSIFIED,
    CLOSED,
    CLUMPING_FLOUR,
    CLUMPS,
    ESCALATED,
    FEEDBACK_LINKED,
    FIRST_MESSAGE,
    FOLLOWED_UP,
    GRACE_IDENTIFIED,
    GRACE_WROTE,
    HANDED_OFF,
    HELD,
    KATHERINE_ASSIGNED,
    KATHERINE_NOTED,
    KATHERINE_REPLIED,
    LATE_AGAIN,
    LESS_SATISFIED,
    MARKED_AS_SPAM,
    MERGED,
    NO_REPLY_NEEDED,
    OTHER_MERGED,
    RAISED,
    REOPENED,
    REOPENED_BY_GRACE,
    RESOLVED,
    RESUMED,
    RESUMED_BY_GRACE,
    ROBOT_REPLIED,
    SATISFIED,
    SECOND_MESSAGE,
    SOMEBODY_COMPLAINED,
    SPLIT,
    TRANSFERRED,
    WAITING,
    WITHDRAWN,
    monday,
    tuesday,
)
from tests.people import ACME, ADA, GRACE
from tests.scenario import Scenario

Decide: TypeAlias = Callable[[SupportCase], tuple[SupportCaseEvent, ...]]

SomeMessage: TypeAlias = CustomerMessageReceived | PublicReplySent | InternalNoteAdded

case = Scenario(evolve)

AT_TEN, AFTERWARDS, LONG_AFTER = monday(10), monday(17), tuesday(23)
PERSON, ROBOT = Performer.PERSON, Performer.AUTOMATION
NEVER_USED = MessageId(LATE_AGAIN)
OUTBOUND = replace(ACME_COMPLAINED, opened_by=ActorClass.AGENT_PUBLIC, direction=Direction.OUTBOUND)
BY_ALARM = replace(ACME_COMPLAINED, opened_by=ActorClass.SYSTEM, direction=Direction.OUTBOUND)
WITHOUT_WINDOW = replace(RESOLVED, reopen_until=None)


def receive(at: datetime = GRACE_WROTE.at, *, live: bool = False) -> Decide:
    return lambda case: case.receive(replace(GRACE_WROTE, at=at, answered_live=live))


def reply(at: datetime = KATHERINE_REPLIED.at) -> Decide:
    return lambda case: case.send_public_reply(replace(KATHERINE_REPLIED, at=at))


def note(at: datetime = KATHERINE_NOTED.at) -> Decide:
    return lambda case: case.add_internal_note(replace(KATHERINE_NOTED, at=at))


def assign(at: datetime = KATHERINE_ASSIGNED.at) -> Decide:
    return lambda case: case.assign(KATHERINE, at, PERSON)


def transfer(at: datetime = TRANSFERRED.at) -> Decide:
    return lambda case: case.transfer(SECOND_LEVEL, at, ROBOT)


def assign_calendar(at: datetime = AT_TEN) -> Decide:
    return lambda case: case.assign_calendar(SUPPORT_HOURS, at)


def hand_off(at: datetime = AT_TEN) -> Decide:
    return lambda case: case.hand_off_to_human(at)


def prioritise(at: datetime = AT_TEN) -> Decide:
    return lambda case: case.change_priority(Priority.CRITICAL, at)


def wait(at: datetime = WAITING.at, merged: Mapping[CaseId, SupportCase] | None = None) -> Decide:
    return lambda case: case.wait_for_customer(at, PERSON, merged or {})


def hold(at: datetime = HELD.at, third_party: str = "MILL") -> Decide:
    return lambda case: case.put_on_hold(third_party, at, PERSON)


def resume(at: datetime = RESUMED.at) -> Decide:
    return lambda case: case.resume(at, PERSON)


def escalate(at: datetime = AT_TEN) -> Decide:
    return lambda case: case.escalate(ESCALATED, at)


def mark_spam(at: datetime = MARKED_AS_SPAM.at) -> Decide:
    return lambda case: case.mark_as_spam(at, ROBOT)


def resolve(at: datetime = RESOLVED.at) -> Decide:
    return lambda case: case.resolve(replace(RESOLVED, at=at))


def reopen(at: datetime = REOPENED.at) -> Decide:
    return lambda case: case.reopen(at, PERSON)


def close(at: datetime = CLOSED.at) -> Decide:
    return lambda case: case.close(at, ROBOT)


def withdraw(at: datetime = WITHDRAWN.at) -> Decide:
    return lambda case: case.withdraw(at)


def mark(message_id: MessageId | None = None) -> Decide:
    return lambda case: case.mark_no_reply_needed(message_id)


def merge(into: SupportCase, at: datetime = MERGED.at, *, into_id: CaseId = LATE_AGAIN, anyway: bool = False) -> Decide:
    return lambda case: case.merge_into(into_id, into, CLUMPS, at, allow_other_customer=anyway)


def offshoot(at: datetime = GRACE_WROTE.at, number: str | None = None) -> NewCase:
    return NewCase(origin_id=CLUMPS, case_id=LATE_AGAIN, message_id=SECOND_MESSAGE, at=at, case_number=number)


def split(message_id: MessageId | None = None, at: datetime = RESUMED.at) -> Decide:
    return lambda case: case.split(replace(offshoot(at), text="And it was late."), message_id)


def follow_up(number: str | None = None) -> Decide:
    return lambda case: case.follow_up(offshoot(number=number), GRACE_WROTE)


def identify(customer: CustomerId = ACME, *, corrects: bool = False) -> Decide:
    return lambda case: case.identify_customer(customer, GRACE, corrects=corrects)


def ask(at: datetime = AFTERWARDS) -> Decide:
    return lambda case: case.request_satisfaction(ASKED_FOR_SATISFACTION, at)


def rate(score: int = 4, scale: SatisfactionScale = SatisfactionScale.CSAT, *, amends: bool = False) -> Decide:
    answer = replace(SATISFIED, score=score, scale=scale)
    return lambda case: case.record_satisfaction(answer, tuesday(9), amends=amends)


def imported(decision: Decide) -> Decide:
    return lambda case: decision(case.as_imported())


def state(*events: SupportCaseEvent) -> SupportCase:
    return case.given(*events).state


def status_after(*events: SupportCaseEvent, at: datetime = LONG_AFTER) -> CaseStatus:
    return state(ACME_COMPLAINED, *events).status(at)


# How a case begins


def test_a_case_is_opened_with_its_first_message() -> None:
    case.when(lambda: open_case(ACME_COMPLAINED)).then(ACME_COMPLAINED)


def test_a_case_that_the_customer_opened_is_inbound() -> None:
    outbound = replace(ACME_COMPLAINED, direction=Direction.OUTBOUND)
    case.when(lambda: open_case(outbound)).then_refused(CaseOfCustomerIsInbound, pointer="/direction")
    case.when(lambda: open_case(OUTBOUND)).then(OUTBOUND)


def test_the_source_number_is_reserved_for_our_own_numbers() -> None:
    ours = ExternalIdentifier(source="number", id="T-7")
    opening = replace(ACME_COMPLAINED, external_identifiers=(CASE_IN_THE_HELP_DESK, ours))
    case.when(lambda: open_case(opening)).then_refused(SourceIsReserved, pointer="/external_identifiers/1/source")


def test_who_the_customer_is_may_be_said_later() -> None:
    case.given(SOMEBODY_COMPLAINED).when(identify()).then(GRACE_IDENTIFIED)
    case.given(SOMEBODY_COMPLAINED, GRACE_IDENTIFIED).when(identify()).then()


def test_another_customer_is_named_only_where_the_first_was_wrong() -> None:
    given_acme = case.given(ACME_COMPLAINED)
    given_acme.when(identify(ADA)).then_refused(CustomerIsIdentified, pointer="/customer")
    given_acme.when(identify(ADA, corrects=True)).then(CustomerIdentified(customer_id=ADA, contact_id=GRACE))


def test_texts_are_about_the_customer_or_about_the_case_while_nobody_is_known() -> None:
    assert state(SOMEBODY_COMPLAINED).subject(CLUMPS) == CLUMPS
    assert state(SOMEBODY_COMPLAINED, GRACE_IDENTIFIED).subject(CLUMPS) == ACME


# What the states are


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ((), CaseStatus.NEW),
        ((ROBOT_REPLIED,), CaseStatus.NEW),
        ((TRANSFERRED,), CaseStatus.NEW),
        ((replace(TRANSFERRED, by=PERSON),), CaseStatus.OPEN),
        ((KATHERINE_ASSIGNED,), CaseStatus.OPEN),
        ((KATHERINE_REPLIED,), CaseStatus.OPEN),
        ((KATHERINE_NOTED,), CaseStatus.OPEN),
        ((replace(KATHERINE_NOTED, sender=ActorClass.AUTOMATION),), CaseStatus.NEW),
        ((WAITING,), CaseStatus.WAITING_ON_CUSTOMER),
        ((HELD,), CaseStatus.ON_HOLD),
        ((HELD, RESUMED), CaseStatus.OPEN),
        ((HELD, GRACE_WROTE), CaseStatus.ON_HOLD),
        ((WAITING, GRACE_WROTE, RESUMED_BY_GRACE), CaseStatus.OPEN),
        ((RESOLVED,), CaseStatus.RESOLVED),
        ((RESOLVED, REOPENED), CaseStatus.OPEN),
        ((RESOLVED, GRACE_WROTE, REOPENED_BY_GRACE), CaseStatus.OPEN),
        ((RESOLVED, replace(GRACE_WROTE, at=tuesday(14))), CaseStatus.RESOLVED),
        ((CLOSED,), CaseStatus.CLOSED),
        ((CLOSED, GRACE_WROTE), CaseStatus.CLOSED),
        ((MERGED,), CaseStatus.MERGED),
        ((WITHDRAWN,), CaseStatus.WITHDRAWN),
        ((MARKED_AS_SPAM,), CaseStatus.SPAM),
        ((MARKED_AS_SPAM, RESOLVED), CaseStatus.SPAM),
    ],
)
def test_a_case_is_in_one_state(events: tuple[SupportCaseEvent, ...], status: CaseStatus) -> None:
    assert status_after(*events) is status


def test_a_call_that_a_person_takes_is_open_from_the_start() -> None:
    assert state(ACME_ASKED_LIVE).status(monday(9)) is CaseStatus.OPEN


@pytest.mark.parametrize(
    ("sender", "status"),
    [
        (ActorClass.AGENT_PUBLIC, CaseStatus.OPEN),
        (ActorClass.AGENT_INTERNAL, CaseStatus.OPEN),
        (ActorClass.AUTOMATION, CaseStatus.NEW),
        (ActorClass.SYSTEM, CaseStatus.NEW),
    ],
)
def test_what_a_person_of_ours_opens_is_not_new(sender: ActorClass, status: CaseStatus) -> None:
    assert state(replace(OUTBOUND, opened_by=sender)).status(monday(9)) is status


def test_what_counts_is_when_it_happened_and_not_when_it_was_recorded() -> None:
    known = state(ACME_COMPLAINED, RESOLVED, WAITING, HELD)
    states = [known.status(monday(hour)) for hour in (9, 10, 11, 14)]
    assert states == [CaseStatus.NEW, CaseStatus.WAITING_ON_CUSTOMER, CaseStatus.ON_HOLD, CaseStatus.RESOLVED]


# What is said in a case


def test_a_message_of_the_customer_is_recorded() -> None:
    case.given(ACME_COMPLAINED).when(receive()).then(GRACE_WROTE)
    case.given(BY_ALARM).when(receive()).then(GRACE_WROTE)


def test_a_message_of_the_customer_ends_waiting() -> None:
    given = case.given(ACME_COMPLAINED, KATHERINE_REPLIED, WAITING)
    given.when(receive()).then(GRACE_WROTE, RESUMED_BY_GRACE)


def test_a_message_of_the_customer_reopens_a_resolved_case_within_its_window() -> None:
    case.given(ACME_COMPLAINED, RESOLVED).when(receive()).then(GRACE_WROTE, REOPENED_BY_GRACE)
    case.given(ACME_COMPLAINED, WITHOUT_WINDOW).when(receive()).then(GRACE_WROTE, REOPENED_BY_GRACE)


@pytest.mark.parametrize(
    ("decision", "message"),
    [(receive(monday(8)), GRACE_WROTE), (reply(monday(8)), KATHERINE_REPLIED), (note(monday(8)), KATHERINE_NOTED)],
    ids=["customer", "reply", "note"],
)
def test_a_message_that_is_recorded_after_something_later_is_flagged(decision: Decide, message: SomeMessage) -> None:
    case.given(ACME_COMPLAINED).when(decision).then(replace(message, at=monday(8), late_recorded=True))


@pytest.mark.parametrize(
    "message",
    [GRACE_WROTE, KATHERINE_REPLIED, ROBOT_REPLIED, KATHERINE_NOTED, KATHERINE_ASSIGNED, TRANSFERRED, RESUMED_BY_GRACE],
    ids=["customer", "reply", "robot", "note", "assignment", "transfer", "resumption"],
)
def test_whatever_happened_later_makes_a_message_late(
    message: SomeMessage | CaseAssigned | CaseTransferred | CaseResumed,
) -> None:
    past = case.given(ACME_COMPLAINED, replace(message, at=monday(12)))
    past.when(reply(monday(11))).then(replace(KATHERINE_REPLIED, at=monday(11), late_recorded=True))
    past.when(reply(monday(12))).then(replace(KATHERINE_REPLIED, at=monday(12)))


def test_a_late_message_ends_waiting_in_its_own_time_only() -> None:
    late = replace(GRACE_WROTE, at=monday(11), late_recorded=True)
    given = case.given(ACME_COMPLAINED, KATHERINE_REPLIED, WAITING, RESOLVED)
    given.when(receive(monday(11))).then(late)
    after = given.followed_by(late).state
    assert [after.status(monday(hour)) for hour in (10, 11, 14)] == [
        CaseStatus.WAITING_ON_CUSTOMER,
        CaseStatus.OPEN,
        CaseStatus.RESOLVED,
    ]


def test_a_late_message_from_before_the_end_stays_in_the_case() -> None:
    closed = state(ACME_COMPLAINED, CLOSED)
    assert not closed.needs_follow_up(monday(15, 59))
    assert closed.needs_follow_up(monday(16))


def test_replies_and_notes_are_recorded() -> None:
    case.given(ACME_COMPLAINED).when(reply()).then(KATHERINE_REPLIED)
    case.given(ACME_COMPLAINED).when(note()).then(KATHERINE_NOTED)


def test_a_resolved_case_may_still_be_answered() -> None:
    case.given(ACME_COMPLAINED, RESOLVED).when(reply(monday(15))).then(replace(KATHERINE_REPLIED, at=monday(15)))


def test_notes_are_taken_whatever_the_state() -> None:
    case.given(ACME_COMPLAINED, CLOSED).when(note(monday(17))).then(replace(KATHERINE_NOTED, at=monday(17)))


def test_a_reply_from_before_the_end_is_recorded_late() -> None:
    late = replace(KATHERINE_REPLIED, at=monday(15), late_recorded=True)
    case.given(ACME_COMPLAINED, CLOSED).when(reply(monday(15))).then(late)
    case.given(ACME_COMPLAINED, CLOSED).when(reply(monday(16))).then_refused(CaseIsClosed)


def test_only_a_message_that_the_case_has_needs_no_reply() -> None:
    case.given(ACME_COMPLAINED).when(mark(FIRST_MESSAGE)).then(NO_REPLY_NEEDED)
    case.given(ACME_COMPLAINED, NO_REPLY_NEEDED).when(mark(FIRST_MESSAGE)).then()
    case.given(ACME_COMPLAINED).when(mark(NEVER_USED)).then_refused(MessageNotFound, pointer="/message_id")
    case.given(OUTBOUND).when(mark()).then_refused(MessageNotFound, pointer="/message_id")


def test_where_no_message_is_named_the_last_one_needs_no_reply() -> None:
    second = NoReplyNeededMarked(message_id=SECOND_MESSAGE)
    case.given(ACME_COMPLAINED, GRACE_WROTE).when(mark()).then(second)


# Who works on a case


def test_a_case_is_assigned_and_transferred() -> None:
    case.given(ACME_COMPLAINED).when(assign()).then(KATHERINE_ASSIGNED)
    case.given(ACME_COMPLAINED, KATHERINE_ASSIGNED).when(assign()).then()
    case.given(replace(ACME_COMPLAINED, team_id=FIRST_LEVEL)).when(transfer()).then(TRANSFERRED)
    case.given(ACME_COMPLAINED).when(transfer()).then()


def test_a_transfer_to_the_same_team_takes_the_case_from_its_assignee() -> None:
    given = case.given(ACME_COMPLAINED, KATHERINE_ASSIGNED)
    given.when(transfer(monday(10))).then(replace(TRANSFERRED, at=monday(10)))


def test_the_calendar_that_a_case_has_always_had_is_not_assigned() -> None:
    case.given(SOMEBODY_COMPLAINED).when(assign_calendar()).then(CALENDAR_ASSIGNED)
    case.given(ACME_COMPLAINED).when(assign_calendar()).then()


def test_what_is_told_late_is_recorded_though_the_same_was_said_last() -> None:
    case.given(SOMEBODY_COMPLAINED, CALENDAR_ASSIGNED).when(assign_calendar(monday(11))).then(CALENDAR_ASSIGNED)
    case.given(ACME_COMPLAINED, RAISED).when(prioritise()).then(RAISED)
    katherine = KATHERINE_ASSIGNED
    ada = replace(katherine, at=monday(12), staff_id=StaffId(ADA))
    told_late = case.given(ACME_COMPLAINED, ada, replace(katherine, at=monday(10)))
    told_late.when(lambda case: case.assign(katherine.staff_id, monday(11), PERSON)).then()
    again = replace(katherine, at=monday(13))
    told_late.when(lambda case: case.assign(katherine.staff_id, monday(13), PERSON)).then(again)


def test_a_bot_hands_off() -> None:
    case.given(ACME_COMPLAINED).when(hand_off()).then(HANDED_OFF)


def test_the_priority_changes() -> None:
    case.given(ACME_COMPLAINED).when(prioritise()).then(RAISED)
    case.given(replace(ACME_COMPLAINED, priority=Priority.CRITICAL)).when(prioritise()).then()


def test_a_case_is_classified_also_when_it_is_over() -> None:
    given = case.given(ACME_COMPLAINED, CLOSED)
    given.when(lambda case: case.classify(CLASSIFIED)).then(CLASSIFIED)
    given.followed_by(CLASSIFIED).when(lambda case: case.classify(CLASSIFIED)).then()


def test_a_classification_replaces_all_that_was_said_also_the_product() -> None:
    nothing = CaseClassified()
    case.given(ACME_COMPLAINED).when(lambda case: case.classify(nothing)).then(nothing)
    assert state(ACME_COMPLAINED, nothing).product_id is None
    case.given(ACME_COMPLAINED, nothing).when(lambda case: case.classify(nothing)).then()
    case.given(SOMEBODY_COMPLAINED).when(lambda case: case.classify(nothing)).then()
    of_version_1 = replace(CLASSIFIED, product_id=None, keeps_product=True)
    assert state(ACME_COMPLAINED, of_version_1).product_id == CLUMPING_FLOUR
    case.given(ACME_COMPLAINED, of_version_1).when(lambda case: case.classify(CLASSIFIED)).then()


def test_a_case_is_escalated() -> None:
    case.given(ACME_COMPLAINED).when(escalate()).then(ESCALATED)


def test_what_a_case_says_about_a_product_is_linked_once() -> None:
    given = case.given(ACME_COMPLAINED, CLOSED)
    given.when(lambda case: case.link_to_product_feedback(FEEDBACK_LINKED)).then(FEEDBACK_LINKED)
    given.followed_by(FEEDBACK_LINKED).when(lambda case: case.link_to_product_feedback(FEEDBACK_LINKED)).then()


# Waiting


def test_a_case_waits_for_a_customer_whom_a_person_has_answered() -> None:
    case.given(ACME_COMPLAINED, KATHERINE_REPLIED).when(wait()).then(WAITING)
    case.given(ACME_ASKED_LIVE).when(wait()).then(WAITING)
    case.given(OUTBOUND).when(wait()).then(WAITING)
    case.given(ACME_COMPLAINED, KATHERINE_REPLIED, WAITING).when(wait(monday(11))).then()


@pytest.mark.parametrize(
    "past",
    [
        (ACME_COMPLAINED,),
        (ACME_COMPLAINED, ROBOT_REPLIED),
        (ACME_COMPLAINED, KATHERINE_NOTED),
        (ACME_COMPLAINED, replace(KATHERINE_REPLIED, at=monday(9, 30)), replace(GRACE_WROTE, at=monday(9, 45))),
        (ACME_COMPLAINED, replace(KATHERINE_REPLIED, at=monday(10, 30))),
        (replace(OUTBOUND, opened_by=ActorClass.AGENT_INTERNAL),),
        (BY_ALARM,),
    ],
    ids=["new", "robot", "note", "wrote again", "answered later", "note of ours", "alarm"],
)
def test_a_case_does_not_wait_for_a_customer_who_waits_for_us(past: tuple[SupportCaseEvent, ...]) -> None:
    case.given(*past).when(wait()).then_refused(CustomerAwaitsReply)
    case.given(*past).when(imported(wait())).then(WAITING)


def test_a_call_in_between_that_a_person_takes_is_an_answer() -> None:
    called = replace(GRACE_WROTE, at=monday(9, 45), answered_live=True)
    case.given(ACME_COMPLAINED, called).when(wait()).then(WAITING)


def merged_case(*events: SupportCaseEvent, at: datetime = HELD.at) -> dict[CaseId, SupportCase]:
    opening = replace(SOMEBODY_COMPLAINED, at=monday(8))
    return {LATE_AGAIN: case.given(opening, *events, replace(MERGED, at=at)).state}


def test_a_message_that_came_with_a_merged_case_has_to_be_answered_too() -> None:
    given = case.given(ACME_COMPLAINED, KATHERINE_REPLIED, OTHER_MERGED)
    given.when(wait(monday(12), merged_case())).then_refused(CustomerAwaitsReply)
    replied_since = given.followed_by(replace(KATHERINE_REPLIED, at=monday(11, 30)))
    replied_since.when(wait(monday(12), merged_case())).then(replace(WAITING, at=monday(12)))
    answered_before = merged_case(replace(KATHERINE_REPLIED, at=monday(9)))
    given.when(wait(monday(12), answered_before)).then(replace(WAITING, at=monday(12)))
    merged_later = merged_case(at=monday(13))
    given.when(wait(monday(12), merged_later)).then(replace(WAITING, at=monday(12)))


def test_a_case_is_put_on_hold_until_work_goes_on() -> None:
    case.given(ACME_COMPLAINED).when(hold()).then(HELD)
    case.given(ACME_COMPLAINED, HELD).when(hold(monday(12))).then()
    case.given(ACME_COMPLAINED, HELD).when(hold(monday(12), "CARRIER")).then(
        CasePutOnHold(at=monday(12), third_party="CARRIER", by=PERSON)
    )
    case.given(ACME_COMPLAINED, HELD).when(resume()).then(RESUMED)
    case.given(ACME_COMPLAINED, HELD, RESUMED).when(hold(monday(13))).then(replace(HELD, at=monday(13)))


def test_work_begins_or_goes_on_once() -> None:
    case.given(ACME_COMPLAINED).when(resume()).then(RESUMED)
    case.given(ACME_COMPLAINED, KATHERINE_REPLIED, WAITING).when(resume()).then(RESUMED)
    case.given(ACME_COMPLAINED, RESUMED).when(resume(monday(13))).then()


# The end of a case


def test_a_case_is_resolved_once() -> None:
    case.given(ACME_COMPLAINED).when(resolve()).then(RESOLVED)
    case.given(ACME_COMPLAINED, RESOLVED).when(resolve(monday(15))).then()


@pytest.mark.parametrize("until", [monday(14), monday(13)])
def test_the_window_for_reopening_ends_after_the_resolution(until: datetime) -> None:
    resolving = case.given(ACME_COMPLAINED).when(lambda case: case.resolve(replace(RESOLVED, reopen_until=until)))
    resolving.then_refused(ReopeningEndsBeforeResolution, pointer="/reopen_until")


def test_a_resolved_case_is_reopened_within_its_window() -> None:
    case.given(ACME_COMPLAINED, RESOLVED).when(reopen()).then(REOPENED)
    case.given(ACME_COMPLAINED).when(reopen()).then()
    case.given(ACME_COMPLAINED, RESOLVED).when(reopen(tuesday(14))).then_refused(ReopeningIsOver)
    case.given(ACME_COMPLAINED, RESOLVED).when(imported(reopen(tuesday(14)))).then(replace(REOPENED, at=tuesday(14)))


def test_a_case_is_closed_once_resolved_or_not() -> None:
    case.given(ACME_COMPLAINED).when(close()).then(CLOSED)
    case.given(ACME_COMPLAINED, RESOLVED).when(close()).then(CLOSED)
    case.given(ACME_COMPLAINED, CLOSED).when(close(monday(17))).then()


def test_a_case_is_withdrawn_or_marked_as_spam_once() -> None:
    case.given(ACME_COMPLAINED).when(withdraw()).then(WITHDRAWN)
    case.given(ACME_COMPLAINED, WITHDRAWN).when(withdraw(monday(13))).then()
    case.given(ACME_COMPLAINED).when(mark_spam()).then(MARKED_AS_SPAM)
    case.given(ACME_COMPLAINED, MARKED_AS_SPAM).when(mark_spam(monday(13))).then()


GOING_ON: Mapping[str, Callable[[datetime], Decide]] = {
    "assign": assign,
    "transfer": transfer,
    "calendar": assign_calendar,
    "hand off": hand_off,
    "priority": prioritise,
    "wait": wait,
    "hold": hold,
    "resume": resume,
    "escalate": escalate,
    "spam": mark_spam,
    "resolve": resolve,
    "reopen": reopen,
    "close": close,
    "withdraw": withdraw,
    "merge": lambda at: merge(state(SOMEBODY_COMPLAINED), at),
    "split": lambda at: split(at=at),
}
"""Whatever moves a case, or says by what it is counted, at an instant."""
ENDS: Mapping[type[Refusal], tuple[SupportCaseEvent, str]] = {
    CaseIsClosed: (CLOSED, "close"),
    CaseIsMerged: (MERGED, "merge"),
    CaseIsWithdrawn: (WITHDRAWN, "withdraw"),
    CaseIsSpam: (MARKED_AS_SPAM, "spam"),
}
"""How a case ends for good, and what says so once more."""


@pytest.mark.parametrize("refusal", ENDS)
@pytest.mark.parametrize("name", GOING_ON)
def test_nothing_goes_on_in_a_case_that_is_over(name: str, refusal: type[Refusal]) -> None:
    end, again = ENDS[refusal]
    deciding = case.given(ACME_COMPLAINED, end).when(GOING_ON[name](monday(17)))
    if name == again:
        deciding.then()
    else:
        deciding.then_refused(refusal)


@pytest.mark.parametrize("refusal", ENDS)
def test_a_case_that_is_over_accepts_no_reply(refusal: type[Refusal]) -> None:
    end, _ = ENDS[refusal]
    case.given(ACME_COMPLAINED, end).when(reply(monday(17))).then_refused(refusal)
    case.given(ACME_COMPLAINED, end).when(imported(reply(monday(17)))).then(replace(KATHERINE_REPLIED, at=monday(17)))


@pytest.mark.parametrize("name", GOING_ON)
def test_nothing_but_messages_is_from_before_the_opening(name: str) -> None:
    deciding = case.given(replace(ACME_COMPLAINED, at=monday(9, 5))).when(GOING_ON[name](monday(9)))
    deciding.then_refused(CaseWasNotOpenYet, pointer="/occurred_at")


@pytest.mark.parametrize("name", ["wait", "hold", "resume", "escalate"])
def test_a_resolved_case_is_reopened_before_anything_else(name: str) -> None:
    case.given(ACME_COMPLAINED, RESOLVED).when(GOING_ON[name](monday(15))).then_refused(CaseIsResolved)


# What a source system did


@pytest.mark.parametrize(
    ("decision", "event"),
    [
        (assign(monday(17)), replace(KATHERINE_ASSIGNED, at=monday(17))),
        (wait(monday(17)), replace(WAITING, at=monday(17))),
        (hold(monday(17)), replace(HELD, at=monday(17))),
        (resume(monday(17)), replace(REOPENED, at=monday(17))),
        (reopen(monday(17)), replace(REOPENED, at=monday(17))),
        (resolve(monday(17)), replace(RESOLVED, at=monday(17))),
        (withdraw(monday(17)), replace(WITHDRAWN, at=monday(17))),
        (escalate(monday(17)), ESCALATED),
    ],
    ids=["assign", "wait", "hold", "resume", "reopen", "resolve", "withdraw", "escalate"],
)
def test_importers_record_what_a_source_did_with_a_closed_case(decision: Decide, event: SupportCaseEvent) -> None:
    case.given(ACME_COMPLAINED, CLOSED).when(imported(decision)).then(event)


def test_importers_record_what_a_source_did_before_the_opening() -> None:
    case.given(ACME_COMPLAINED).when(imported(assign(monday(8)))).then(replace(KATHERINE_ASSIGNED, at=monday(8)))


def test_a_source_may_have_kept_a_message_in_a_case_that_was_over() -> None:
    closed = state(ACME_COMPLAINED, CLOSED, FOLLOWED_UP).as_imported()
    assert not closed.needs_follow_up(tuesday(9))
    assert closed.goes_on_in(tuesday(9)) is None
    case.given(ACME_COMPLAINED, CLOSED).when(imported(receive())).then(GRACE_WROTE)


# Messages after the end


@pytest.mark.parametrize("end", [CLOSED, WITHDRAWN], ids=["closed", "withdrawn"])
def test_a_message_after_the_end_needs_a_follow_up_case(end: SupportCaseEvent) -> None:
    ended = state(ACME_COMPLAINED, end)
    assert ended.needs_follow_up(tuesday(9))
    assert ended.goes_on_in(tuesday(9)) is None


def test_a_message_after_the_window_needs_a_follow_up_case() -> None:
    resolved = state(ACME_COMPLAINED, RESOLVED)
    assert not resolved.needs_follow_up(tuesday(13, 59))
    assert resolved.needs_follow_up(tuesday(14))


def test_a_message_to_spam_stays_there() -> None:
    assert not state(ACME_COMPLAINED, MARKED_AS_SPAM).needs_follow_up(tuesday(9))
    case.given(ACME_COMPLAINED, MARKED_AS_SPAM).when(receive()).then(GRACE_WROTE)


def test_a_message_after_the_end_goes_to_the_follow_up_case_that_there_is() -> None:
    ended = state(ACME_COMPLAINED, CLOSED, FOLLOWED_UP)
    assert ended.goes_on_in(tuesday(9)) == LATE_AGAIN
    assert ended.goes_on_in(monday(15)) is None


def test_a_message_to_a_merged_case_goes_where_that_was_merged_into() -> None:
    merged = state(ACME_COMPLAINED, MERGED)
    assert merged.goes_on_in(tuesday(9)) == LATE_AGAIN
    assert merged.goes_on_in(monday(12)) is None


GONE_ON = replace(
    ACME_COMPLAINED,
    at=tuesday(9),
    case_number="T-1001-2",
    message_id=SECOND_MESSAGE,
    first_message="Here is a photo.",
    follow_up_of=CLUMPS,
    references=(),
    external_identifiers=(),
)
"""What follows up Acme's complaint."""


def test_a_follow_up_case_takes_over_what_is_known() -> None:
    given = case.given(ACME_COMPLAINED, RAISED, CLOSED)
    given.when(follow_up()).then(FOLLOWED_UP, replace(GONE_ON, priority=Priority.CRITICAL))
    given.when(follow_up("T-7")).then(FOLLOWED_UP, replace(GONE_ON, priority=Priority.CRITICAL, case_number="T-7"))


def test_a_follow_up_case_begins_as_its_message_came() -> None:
    called = replace(GRACE_WROTE, channel=Channel.PHONE, answered_live=True, staff_id=KATHERINE, contact_id=None)
    case.given(ACME_COMPLAINED, CLOSED).when(lambda case: case.follow_up(offshoot(), called)).then(
        FOLLOWED_UP, replace(GONE_ON, channel=Channel.PHONE, answered_live=True, staff_id=KATHERINE)
    )


def test_cases_that_go_on_from_one_are_numbered() -> None:
    given = case.given(ACME_COMPLAINED, SPLIT, FOLLOWED_UP, CLOSED)
    given.when(follow_up()).then(FOLLOWED_UP, replace(GONE_ON, case_number="T-1001-4"))


def test_a_follow_up_of_nobody_is_about_itself() -> None:
    _, opened = case.given(SOMEBODY_COMPLAINED, CLOSED).state.follow_up(offshoot(), GRACE_WROTE)
    assert (opened.customer_id, opened.subject_id) == (None, LATE_AGAIN)


# Splitting


SPLIT_OFF = replace(
    ACME_COMPLAINED,
    at=monday(12),
    case_number="T-1001-2",
    message_id=SECOND_MESSAGE,
    first_message="And it was late.",
    split_from=CLUMPS,
    waiting_since=monday(9),
    references=(),
    external_identifiers=(),
)


def test_a_case_is_split_off_from_the_message_that_raised_it() -> None:
    case.given(ACME_COMPLAINED).when(split()).then(SPLIT, SPLIT_OFF)
    later = replace(GRACE_WROTE, at=monday(11), message_id=NEVER_USED, answered_live=True)
    case.given(ACME_COMPLAINED, later).when(split(NEVER_USED)).then(
        CaseSplit(case_id=LATE_AGAIN, message_id=NEVER_USED),
        replace(SPLIT_OFF, waiting_since=monday(11), answered_live=True),
    )
    case.given(ACME_COMPLAINED).when(split(NEVER_USED)).then_refused(MessageNotFound, pointer="/message_id")


def test_what_is_split_off_twice_has_waited_since_the_same_message() -> None:
    given = case.given(replace(SPLIT_OFF, at=monday(10)))
    (_, opened) = given.state.split(offshoot(monday(12)), None)
    assert opened.waiting_since == monday(9)


def test_what_is_split_off_from_our_own_contact_nobody_waits_for() -> None:
    case.given(OUTBOUND).when(split()).then(
        CaseSplit(case_id=LATE_AGAIN),
        replace(SPLIT_OFF, opened_by=ActorClass.AGENT_INTERNAL, direction=Direction.OUTBOUND, waiting_since=None),
    )


def test_a_split_off_case_may_be_of_another_kind() -> None:
    new = replace(offshoot(monday(12)), kind=CaseKind.RETURN, priority=Priority.LOW, product_id=CLUMPING_FLOUR)
    (_, opened) = state(SOMEBODY_COMPLAINED).split(new, None)
    assert (opened.kind, opened.priority, opened.product_id) == (CaseKind.RETURN, Priority.LOW, CLUMPING_FLOUR)
    classified = state(SOMEBODY_COMPLAINED, CLASSIFIED).split(offshoot(monday(12)), None)[1]
    assert classified.product_id == CLUMPING_FLOUR


# Merging


OTHER_OF_ACME = state(replace(SOMEBODY_COMPLAINED, customer_id=ACME))
OTHER_OF_ADA = state(replace(SOMEBODY_COMPLAINED, customer_id=ADA))


def test_a_case_is_not_merged_into_one_that_was_opened_later() -> None:
    other = evolve(None, replace(ACME_COMPLAINED, at=monday(12)))
    case.given(ACME_COMPLAINED).when(merge(other, at=monday(11))).then_refused(CaseWasNotOpenYet, pointer="/into")


def test_a_case_is_merged_into_another_one_of_the_same_customer() -> None:
    case.given(ACME_COMPLAINED).when(merge(OTHER_OF_ACME)).then(MERGED)
    case.given(ACME_COMPLAINED).when(merge(state(SOMEBODY_COMPLAINED))).then(MERGED)
    case.given(ACME_COMPLAINED, MERGED).when(merge(OTHER_OF_ACME, monday(14))).then()


def test_cases_of_different_customers_are_merged_only_if_that_is_said() -> None:
    given = case.given(ACME_COMPLAINED)
    given.when(merge(OTHER_OF_ADA)).then_refused(CasesAreOfDifferentCustomers, pointer="/into")
    given.when(merge(OTHER_OF_ADA, anyway=True)).then(MERGED)


def test_a_case_never_comes_back_to_itself() -> None:
    given = case.given(ACME_COMPLAINED)
    given.when(merge(OTHER_OF_ACME, into_id=CLUMPS)).then_refused(MergeIsCircular, pointer="/into")
    came_from_here = state(SOMEBODY_COMPLAINED, CaseMergedInto(at=monday(12), into_id=CLUMPS))
    given.when(merge(came_from_here)).then_refused(MergeIsCircular, pointer="/into")
    given.when(imported(merge(came_from_here, monday(11)))).then_refused(MergeIsCircular, pointer="/into")


def test_nothing_is_merged_into_what_was_merged_away_not_even_by_importers_or_for_earlier() -> None:
    elsewhere = state(SOMEBODY_COMPLAINED, CaseMergedInto(at=monday(12), into_id=CaseId(ADA)))
    given = case.given(ACME_COMPLAINED)
    given.when(imported(merge(elsewhere, monday(11)))).then_refused(CaseIsMerged, pointer="/into")


def test_a_case_is_merged_once() -> None:
    elsewhere = CaseMergedInto(at=monday(12), into_id=CaseId(ADA))
    case.given(ACME_COMPLAINED, elsewhere).when(imported(merge(OTHER_OF_ACME))).then_refused(CaseIsMerged)


@pytest.mark.parametrize(
    ("end", "refusal"),
    [
        (RESOLVED, CaseIsResolved),
        (CLOSED, CaseIsClosed),
        (WITHDRAWN, CaseIsWithdrawn),
        (MARKED_AS_SPAM, CaseIsSpam),
    ],
)
def test_nothing_goes_on_in_a_case_that_has_ended(end: SupportCaseEvent, refusal: type[Refusal]) -> None:
    ended = state(SOMEBODY_COMPLAINED, end)
    case.given(ACME_COMPLAINED).when(merge(ended, monday(17))).then_refused(refusal, pointer="/into")
    case.given(ACME_COMPLAINED).when(imported(merge(ended, monday(17)))).then(replace(MERGED, at=monday(17)))


# Satisfaction


def test_satisfaction_is_asked_for_after_a_resolution() -> None:
    case.given(ACME_COMPLAINED).when(ask()).then_refused(CaseWasNeverResolved)
    case.given(ACME_COMPLAINED, RESOLVED).when(ask(monday(13))).then_refused(CaseWasNeverResolved)
    case.given(ACME_COMPLAINED, RESOLVED, REOPENED).when(ask()).then(ASKED_FOR_SATISFACTION)
    case.given(ACME_COMPLAINED, CLOSED).when(ask()).then(ASKED_FOR_SATISFACTION)
    case.given(ACME_COMPLAINED).when(imported(ask())).then(ASKED_FOR_SATISFACTION)


def test_an_invitation_is_sent_once() -> None:
    case.given(ACME_COMPLAINED, RESOLVED, ASKED_FOR_SATISFACTION).when(ask()).then()


def test_an_invitation_is_answered_once_and_then_amended() -> None:
    invited = case.given(ACME_COMPLAINED, RESOLVED, ASKED_FOR_SATISFACTION)
    invited.when(rate()).then(SATISFIED)
    invited.when(rate(amends=True)).then(SATISFIED)
    answered = invited.followed_by(SATISFIED)
    answered.when(rate(2)).then_refused(SatisfactionIsRecorded, pointer="/invitation")
    answered.when(rate(2, amends=True)).then(replace(LESS_SATISFIED, comment=SATISFIED.comment))


def test_only_who_was_asked_answers() -> None:
    case.given(ACME_COMPLAINED, RESOLVED).when(rate()).then_refused(InvitationNotFound, pointer="/invitation")


def test_an_answer_is_from_after_a_resolution() -> None:
    later = replace(RESOLVED, at=tuesday(10))
    case.given(ACME_COMPLAINED, later, ASKED_FOR_SATISFACTION).when(rate()).then_refused(CaseWasNeverResolved)


@pytest.mark.parametrize(
    ("scale", "lowest", "highest"),
    [(SatisfactionScale.CSAT, 1, 5), (SatisfactionScale.NPS, 0, 10), (SatisfactionScale.CES, 1, 7)],
)
def test_a_score_is_one_of_its_scale(scale: SatisfactionScale, lowest: int, highest: int) -> None:
    invited = case.given(ACME_COMPLAINED, RESOLVED, replace(ASKED_FOR_SATISFACTION, scale=scale))
    for score in (lowest, highest):
        invited.when(rate(score, scale)).then(replace(SATISFIED, score=score, scale=scale))
    for score in (lowest - 1, highest + 1):
        invited.when(rate(score, scale)).then_refused(ScoreIsOutsideScale, pointer="/score")


def test_an_invitation_keeps_its_scale() -> None:
    invited = case.given(ACME_COMPLAINED, RESOLVED, ASKED_FOR_SATISFACTION)
    other = replace(ASKED_FOR_SATISFACTION, scale=SatisfactionScale.NPS)
    invited.when(lambda case: case.request_satisfaction(other, tuesday(9))).then_refused(
        InvitationHasAnotherScale, pointer="/scale"
    )


def test_an_answer_is_on_the_scale_of_its_invitation() -> None:
    invited = case.given(ACME_COMPLAINED, RESOLVED, ASKED_FOR_SATISFACTION)
    invited.when(rate(4, SatisfactionScale.NPS)).then_refused(ScoreIsOutsideScale, pointer="/score")


# Laws


def test_a_case_begins_with_its_opening() -> None:
    with pytest.raises(ValueError, match="begins with its opening"):
        evolve(None, CLOSED)


MOMENTS = st.integers(0, 48 * 60).map(lambda minutes: monday(0) + timedelta(minutes=minutes))
STEPS = st.sampled_from(
    [
        KATHERINE_ASSIGNED,
        KATHERINE_NOTED,
        KATHERINE_REPLIED,
        ROBOT_REPLIED,
        GRACE_WROTE,
        WAITING,
        HELD,
        RESUMED,
        RESOLVED,
        WITHOUT_WINDOW,
        REOPENED,
        CLOSED,
        MERGED,
        WITHDRAWN,
        MARKED_AS_SPAM,
    ]
)
HAPPENED = st.builds(lambda event, at: replace(event, at=at), STEPS, MOMENTS)


@given(events=st.lists(HAPPENED, max_size=12, unique_by=lambda event: event.at), order=st.randoms(), at=MOMENTS)
@settings(max_examples=200)
def test_the_order_of_recording_changes_no_state(events: list[SupportCaseEvent], order: Random, at: datetime) -> None:
    shuffled = list(events)
    order.shuffle(shuffled)
    assert state(ACME_COMPLAINED, *events).status(at) is state(ACME_COMPLAINED, *shuffled).status(at)


@given(decisions=st.lists(st.tuples(st.sampled_from(sorted(GOING_ON)), MOMENTS), max_size=10))
@settings(max_examples=200)
def test_what_is_decided_can_be_evolved_and_says_when_it_was(decisions: list[tuple[str, datetime]]) -> None:
    past = case.given(replace(ACME_COMPLAINED, at=monday(0)))
    for name, at in decisions:
        try:
            decided = GOING_ON[name](at)(past.state)
        except Refusal:
            continue
        assert all(getattr(event, "at", at) == at for event in decided)
        past = past.followed_by(*(event for event in decided if not isinstance(event, CaseOpened)))
    assert isinstance(past.state, SupportCase)
