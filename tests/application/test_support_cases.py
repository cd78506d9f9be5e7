"""What handlers of support cases' commands add to the rules: claims, references, other streams, histories."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from application import support_cases
from application.commands import COMMANDS
from application.customers import CUSTOMER
from application.decisions import DecisionUnitOfWork
from application.ports import CommandKey, Decision, NewEvent, Stream
from application.products import PRODUCT
from application.service_calendars import CALENDAR
from application.staff import STAFF, TEAM
from application.submissions import Submission
from application.support_cases import CASE
from application.unit_of_work import ActorKind, Metadata, ReferenceNotFound
from domain.case_events import (
    ActorClass,
    CaseAssigned,
    CaseClosed,
    CaseId,
    CaseKind,
    CaseOpened,
    CustomerMessageForwarded,
    FollowUpCaseOpened,
    MessageId,
    NoReplyNeededMarked,
    Performer,
    Priority,
    SupportCaseEvent,
)
from domain.customer import Channel, ContactPersonNotFound, Direction, SourceIsReserved
from domain.product import Product
from domain.support_case import (
    CaseIdentifierIsTaken,
    CaseIsClosed,
    CaseNotFound,
    CaseNumberIsTaken,
    CaseOfCustomerIsInbound,
    CustomerAwaitsReply,
)
from tests.application.test_customers import NEW, Log, claims, customer_after, validate
from tests.asynchronous import asynchronous
from tests.colleagues import (
    KATHERINE,
    KATHERINE_REGISTERED,
    SECOND_LEVEL,
    SECOND_LEVEL_DEFINED,
    SUPPORT_HOURS,
    SUPPORT_HOURS_DEFINED,
)
from tests.commands import submission, writing
from tests.complaints import (
    ACME_COMPLAINED,
    ASKED_FOR_SATISFACTION,
    CALENDAR_ASSIGNED,
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
    RESOLVED,
    RESUMED,
    SATISFIED,
    SOMEBODY_COMPLAINED,
    SPLIT,
    TRANSFERRED,
    WAITING,
    WITHDRAWN,
    monday,
    tuesday,
)
from tests.in_memory import InMemoryLog
from tests.people import ACME, ACME_REGISTERED, ADA, ADA_REGISTERED, GRACE, GRACE_ADDED

NEW_CASE, NEW_MESSAGE = CaseId(NEW), MessageId(NEW)
"""Whatever gets an id here gets this one."""
TEXT = "Here is a photo."


def case_after(*events: object) -> Stream:
    return Stream(len(events), CASE.fold(None, events))


HOLDERS = {
    CUSTOMER.reference("number", "C-1001"): ACME,
    CUSTOMER.reference("number", "C-1002"): ADA,
    PRODUCT.reference("number", "FLOUR"): CLUMPING_FLOUR,
    STAFF.reference("number", "S-1"): KATHERINE,
    TEAM.reference("number", "T-2"): SECOND_LEVEL,
    CALENDAR.reference("number", "SUPPORT"): SUPPORT_HOURS,
    CASE.reference("number", "T-1002"): LATE_AGAIN,
}
KNOWN: Mapping[UUID, Stream] = {
    ACME: customer_after(ACME_REGISTERED, GRACE_ADDED),
    ADA: customer_after(ADA_REGISTERED),
    CLUMPING_FLOUR: Stream(1, Product(base_unit="kg", name="Flour", family=None, tier=None)),
    KATHERINE: Stream(1, STAFF.fold(None, (KATHERINE_REGISTERED,))),
    SECOND_LEVEL: Stream(1, TEAM.fold(None, (SECOND_LEVEL_DEFINED,))),
    SUPPORT_HOURS: Stream(1, CALENDAR.fold(None, (SUPPORT_HOURS_DEFINED,))),
    LATE_AGAIN: case_after(SOMEBODY_COMPLAINED),
}


def sent(
    name: str,
    body: Mapping[str, Any],
    *past: object,
    at: datetime,
    actor: ActorKind = ActorKind.SERVICE,
    others: Mapping[UUID, Stream] | None = None,
) -> Decision:
    """Decide a command on a case with this past, as the writer does."""
    metadata = Metadata(NEW, "shop", actor, occurred_at=at, received_at=at, correlation_id=NEW)
    target = str(CLUMPS) if past else None
    submission = Submission(
        CommandKey("shop", "1"), COMMANDS[name], validate(name, body), metadata, b"", target, expected_version=None
    )
    log = Log({**KNOWN, **({CLUMPS: case_after(*past)} if past else {}), **(others or {})}, HOLDERS)
    work = DecisionUnitOfWork(submission, log, lambda: NEW, reporting_currency="EUR")
    work.decide()
    return work.decision(b"")[0]


WHOLE_OPENING: dict[str, object] = {
    "case_number": "T-1001",
    "kind": "complaint",
    "channel": "email",
    "opened_by": "customer",
    "customer": "number:C-1001",
    "contact_id": str(GRACE),
    "product": "number:FLOUR",
    "priority": "normal",
    "calendar": "number:SUPPORT",
    "team": "number:T-2",
    "references": [{"kind": "lot", "number": "L-77"}],
    "first_message": "The flour clumps again.",
    "external_identifiers": [{"source": "helpdesk", "id": "INC-4711"}, {"source": "helpdesk", "id": "INC-4711"}],
}
OPENING = {name: WHOLE_OPENING[name] for name in ("case_number", "kind", "channel", "opened_by")}


# Opening


def test_a_case_is_opened_in_the_history_of_its_customer() -> None:
    decision = sent("open-case", WHOLE_OPENING, at=monday(9))
    assert decision.events == (NewEvent(NEW, 1, replace(ACME_COMPLAINED, message_id=NEW_MESSAGE), ACME),)
    assert claims(decision) == {
        CASE.reference("number", "T-1001"): (CaseNumberIsTaken, "/case_number", None),
        CASE.reference("helpdesk", "INC-4711"): (CaseIdentifierIsTaken, "/external_identifiers", None),
    }


def test_a_case_of_nobody_known_is_about_itself_and_in_no_history() -> None:
    (opened,) = sent("open-case", OPENING | {"case_number": "T-1002"}, at=monday(9)).events
    event = replace(SOMEBODY_COMPLAINED, message_id=NEW_MESSAGE, subject_id=NEW)
    assert opened == NewEvent(NEW, 1, event, None)


@pytest.mark.parametrize(
    ("opened_by", "said", "direction"),
    [
        ("customer", None, Direction.INBOUND),
        ("agent_public", None, Direction.OUTBOUND),
        ("agent_public", "inbound", Direction.INBOUND),
        ("system", None, Direction.OUTBOUND),
    ],
)
def test_who_opened_a_case_says_its_direction_unless_the_command_does(
    opened_by: str, said: str | None, direction: Direction
) -> None:
    body = OPENING | {"opened_by": opened_by, "direction": said, "staff": "number:S-1", "answered_live": True}
    (opened,) = sent("open-case", body, at=monday(9)).events
    assert isinstance(opened.event, CaseOpened)
    assert (opened.event.direction, opened.event.staff_id, opened.event.answered_live) == (direction, KATHERINE, True)


def test_the_customer_opens_no_outbound_case() -> None:
    with pytest.raises(CaseOfCustomerIsInbound):
        sent("open-case", OPENING | {"direction": "outbound"}, at=monday(9))


def test_an_identifier_of_the_source_number_is_refused() -> None:
    with pytest.raises(SourceIsReserved):
        sent("open-case", OPENING | {"external_identifiers": [{"source": "number", "id": "1"}]}, at=monday(9))


def test_a_case_may_be_opened_as_the_follow_up_of_another_one() -> None:
    other = case_after(replace(SOMEBODY_COMPLAINED, customer_id=ADA))
    body = OPENING | {"follow_up_of": "number:T-1002", "customer": "number:C-1001"}
    decision = sent("open-case", body, at=monday(9), others={LATE_AGAIN: other})
    opened, left = decision.events
    assert opened.event.follow_up_of == LATE_AGAIN
    assert left == NewEvent(LATE_AGAIN, 2, FollowUpCaseOpened(case_id=NEW_CASE), ADA)


@pytest.mark.parametrize(
    ("name", "field", "more"),
    [
        ("open-case", "customer", {}),
        ("open-case", "product", {}),
        ("open-case", "staff", {}),
        ("open-case", "team", {}),
        ("open-case", "calendar", {}),
        ("open-case", "follow_up_of", {}),
        ("identify-customer", "customer", {}),
        ("receive-customer-message", "staff", {}),
        ("send-public-reply", "staff", {}),
        ("add-internal-note", "staff", {}),
        ("assign-case", "staff", {}),
        ("transfer-case", "team", {}),
        ("assign-calendar", "calendar", {}),
        ("classify-case", "product", {}),
        ("escalate-case", "staff", {"kind": "functional", "reason": "flour"}),
        ("escalate-case", "team", {"kind": "functional", "reason": "flour"}),
        ("merge-case", "into", {}),
        ("split-case", "product", {}),
        ("link-to-product-feedback", "product", {"feedback": "F-12"}),
    ],
)
def test_what_a_command_names_exists(name: str, field: str, more: dict[str, object]) -> None:
    body = {**(OPENING if name == "open-case" else {}), **more, field: "number:NOBODY"}
    past = () if name == "open-case" else (ACME_COMPLAINED,)
    with pytest.raises(ReferenceNotFound) as refused:
        sent(name, body, *past, at=monday(10))
    assert refused.value.pointer == f"/{field}"


@pytest.mark.parametrize(
    ("name", "body", "past"),
    [
        ("open-case", OPENING | {"customer": "number:C-1002"}, ()),
        ("open-case", OPENING, ()),
        ("identify-customer", {"customer": "number:C-1002"}, (SOMEBODY_COMPLAINED,)),
        ("receive-customer-message", {}, (SOMEBODY_COMPLAINED,)),
        ("receive-customer-message", {}, (replace(ACME_COMPLAINED, customer_id=ADA),)),
    ],
    ids=["of another", "of nobody", "identified as another", "of nobody yet", "in a case of another"],
)
def test_a_contact_person_is_one_of_the_customer(
    name: str, body: dict[str, object], past: tuple[SupportCaseEvent, ...]
) -> None:
    with pytest.raises(ContactPersonNotFound) as refused:
        sent(name, body | {"contact_id": str(GRACE)}, *past, at=monday(10))
    assert refused.value.pointer == "/contact_id"


# Every other command


@dataclass(frozen=True)
class Example:
    """A command as it is sent, what has happened before, and the event that follows."""

    body: dict[str, object]
    event: object
    past: tuple[object, ...] = ()


EXAMPLES: Mapping[str, Example] = {
    "receive-customer-message": Example(
        {"text": TEXT, "contact_id": str(GRACE)}, replace(GRACE_WROTE, message_id=NEW_MESSAGE)
    ),
    "send-public-reply": Example(
        {"text": KATHERINE_REPLIED.text, "staff": "number:S-1", "channel": "phone"},
        replace(KATHERINE_REPLIED, message_id=NEW_MESSAGE, channel=Channel.PHONE),
    ),
    "add-internal-note": Example(
        {"text": KATHERINE_NOTED.text, "staff": "number:S-1"}, replace(KATHERINE_NOTED, message_id=NEW_MESSAGE)
    ),
    "assign-case": Example({"staff": "number:S-1"}, KATHERINE_ASSIGNED),
    "transfer-case": Example(
        {"team": "number:T-2", "by": "automation"}, TRANSFERRED, (replace(KATHERINE_ASSIGNED, at=monday(9, 10)),)
    ),
    "assign-calendar": Example({"calendar": "number:SUPPORT"}, CALENDAR_ASSIGNED),
    "hand-off-to-human": Example({}, HANDED_OFF),
    "change-priority": Example({"priority": "critical"}, RAISED),
    "classify-case": Example(
        {"category": "quality/clumping", "product": "number:FLOUR", "root_cause": "damp storage"}, CLASSIFIED
    ),
    "wait-for-customer": Example({}, WAITING, (replace(KATHERINE_REPLIED, at=monday(9, 30)),)),
    "put-on-hold": Example({"third_party": "MILL", "reason": "asked the mill"}, HELD),
    "resume-case": Example({}, RESUMED, (HELD,)),
    "escalate-case": Example(
        {"kind": "functional", "staff": "number:S-1", "team": "number:T-2", "reason": "knows flour"}, ESCALATED
    ),
    "mark-no-reply-needed": Example({"message_id": str(FIRST_MESSAGE)}, NO_REPLY_NEEDED),
    "mark-as-spam": Example({"by": "automation"}, MARKED_AS_SPAM),
    "resolve-case": Example({"resolution_code": "new-lot-sent", "reopen_until": tuesday(14).isoformat()}, RESOLVED),
    "reopen-case": Example({"reason": "clumps again"}, REOPENED, (RESOLVED,)),
    "close-case": Example({"by": "automation"}, CLOSED),
    "link-to-product-feedback": Example({"product": "number:FLOUR", "feedback": "F-12"}, FEEDBACK_LINKED),
    "request-satisfaction": Example({"invitation": "survey-1", "scale": "csat"}, ASKED_FOR_SATISFACTION, (CLOSED,)),
    "record-satisfaction": Example(
        {"invitation": "survey-1", "scale": "csat", "score": 4, "comment": SATISFIED.comment},
        SATISFIED,
        (CLOSED, ASKED_FOR_SATISFACTION),
    ),
    "withdraw-case": Example({}, WITHDRAWN),
    "identify-customer": Example({"customer": "number:C-1001", "contact_id": str(GRACE)}, GRACE_IDENTIFIED),
}
IN_TWO_STREAMS = {"merge-case", "split-case"}


def test_every_other_command_has_an_example() -> None:
    others = {name for name, each in COMMANDS.items() if each.aggregate is CASE and not each.creates}
    assert EXAMPLES.keys() | IN_TWO_STREAMS == others


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_other_command_is_recorded_in_the_history_of_the_customer(name: str) -> None:
    example = EXAMPLES[name]
    nobody = name == "identify-customer"
    opening = SOMEBODY_COMPLAINED if nobody else replace(ACME_COMPLAINED, calendar_id=None)
    past = (opening, *example.past)
    at = getattr(example.event, "at", tuesday(9))
    decision = sent(name, example.body, *past, at=at)
    assert decision.events == (NewEvent(CLUMPS, len(past) + 1, example.event, ACME),)


@pytest.mark.parametrize("name", EXAMPLES)
def test_as_long_as_nobody_is_identified_a_case_is_in_no_history(name: str) -> None:
    example = EXAMPLES[name]
    body = {field: value for field, value in example.body.items() if field != "contact_id"}
    past = (SOMEBODY_COMPLAINED, *example.past)
    (recorded,) = sent(name, body, *past, at=getattr(example.event, "at", tuesday(9))).events
    assert recorded.customer_id == (ACME if name == "identify-customer" else None)
    assert getattr(recorded.event, "subject_id", CLUMPS) == CLUMPS


@pytest.mark.parametrize("name", EXAMPLES)
def test_only_a_case_that_exists_is_worked_on(name: str) -> None:
    with pytest.raises(CaseNotFound):
        sent(name, EXAMPLES[name].body, ACME_COMPLAINED, at=tuesday(9), others={CLUMPS: Stream(0, None)})


@pytest.mark.parametrize("name", ["put-on-hold", "reopen-case", "escalate-case"])
def test_what_has_to_be_explained_has_a_reason(name: str) -> None:
    body = {field: value for field, value in EXAMPLES[name].body.items() if field != "reason"}
    with pytest.raises(ValidationError, match="reason"):
        validate(name, body)


@pytest.mark.parametrize("score", [-1, 11, 4.5, "4"])
def test_a_score_is_a_number_of_some_scale(score: object) -> None:
    with pytest.raises(ValidationError, match="score"):
        validate("record-satisfaction", {"invitation": "survey-1", "scale": "nps", "score": score})


def test_an_answer_is_amended_where_the_command_says_so() -> None:
    body = {"invitation": "survey-1", "scale": "csat", "score": 2, "comment": LESS_SATISFIED.comment, "amends": True}
    past = (ACME_COMPLAINED, CLOSED, ASKED_FOR_SATISFACTION, SATISFIED)
    (recorded,) = sent("record-satisfaction", body, *past, at=tuesday(9)).events
    assert recorded.event == LESS_SATISFIED


def test_the_last_message_needs_no_reply_where_none_is_named() -> None:
    (recorded,) = sent("mark-no-reply-needed", {}, ACME_COMPLAINED, at=monday(10)).events
    assert recorded.event == NoReplyNeededMarked(message_id=FIRST_MESSAGE)


# Who does it


@pytest.mark.parametrize(
    ("name", "sender"),
    [("send-public-reply", ActorClass.AGENT_PUBLIC), ("add-internal-note", ActorClass.AGENT_INTERNAL)],
)
def test_what_a_program_says_is_told_from_what_a_person_says(name: str, sender: ActorClass) -> None:
    for by, actor, expected in (
        ("person", ActorKind.SERVICE, sender),
        ("automation", ActorKind.SERVICE, ActorClass.AUTOMATION),
        ("person", ActorKind.AUTOMATION, ActorClass.AUTOMATION),
    ):
        (recorded,) = sent(name, {"by": by}, ACME_COMPLAINED, at=monday(10), actor=actor).events
        assert recorded.event.sender is expected


def test_what_an_automation_does_is_done_by_automation() -> None:
    (recorded,) = sent(
        "assign-case", {"staff": "number:S-1"}, ACME_COMPLAINED, at=monday(10), actor=ActorKind.AUTOMATION
    ).events
    assert recorded.event == CaseAssigned(at=monday(10), staff_id=KATHERINE, by=Performer.AUTOMATION)


def test_importers_record_what_a_source_did_whatever_the_state() -> None:
    with pytest.raises(CustomerAwaitsReply):
        sent("wait-for-customer", {}, ACME_COMPLAINED, at=monday(10))
    (recorded,) = sent("wait-for-customer", {}, ACME_COMPLAINED, at=monday(10), actor=ActorKind.IMPORT).events
    assert recorded.event == WAITING


# Messages to cases that are over


def test_a_message_after_the_end_opens_a_follow_up_case() -> None:
    past = (ACME_COMPLAINED, CLOSED)
    decision = sent("receive-customer-message", {"text": TEXT}, *past, at=tuesday(9))
    left, opened = decision.events
    assert left == NewEvent(CLUMPS, 3, FollowUpCaseOpened(case_id=NEW_CASE), ACME)
    assert (opened.stream_id, opened.version, opened.customer_id) == (NEW, 1, ACME)
    assert isinstance(opened.event, CaseOpened)
    assert (opened.event.case_number, opened.event.follow_up_of) == ("T-1001-2", CLUMPS)
    assert (opened.event.first_message, opened.event.message_id) == (TEXT, NEW_MESSAGE)
    assert decision.reads == {CLUMPS: 2, NEW: 0}
    assert claims(decision) == {CASE.reference("number", "T-1001-2"): (CaseNumberIsTaken, "/follow_up_number", None)}
    assert [taken.stream_id for taken in decision.claims] == [NEW]


def test_the_follow_up_case_gets_the_number_that_the_command_names() -> None:
    body = {"follow_up_number": "T-9"}
    decision = sent("receive-customer-message", body, ACME_COMPLAINED, CLOSED, at=tuesday(9))
    assert set(claims(decision)) == {CASE.reference("number", "T-9")}


def test_a_message_after_the_end_goes_to_the_follow_up_case_that_there_is() -> None:
    past = (ACME_COMPLAINED, CLOSED, FOLLOWED_UP)
    other = case_after(replace(ACME_COMPLAINED, at=monday(17)))
    decision = sent("receive-customer-message", {"text": TEXT}, *past, at=tuesday(9), others={LATE_AGAIN: other})
    assert decision.events == (
        NewEvent(LATE_AGAIN, 2, replace(GRACE_WROTE, message_id=NEW_MESSAGE, contact_id=None), ACME),
        NewEvent(CLUMPS, 4, CustomerMessageForwarded(case_id=LATE_AGAIN, message_id=NEW_MESSAGE), ACME),
    )


def test_after_the_end_of_the_follow_up_case_there_is_another_one() -> None:
    past = (ACME_COMPLAINED, CLOSED, FOLLOWED_UP)
    opening = replace(ACME_COMPLAINED, at=monday(17), case_number="T-1001-2")
    other = case_after(opening, CaseClosed(at=monday(18), by=Performer.PERSON))
    decision = sent("receive-customer-message", {"text": TEXT}, *past, at=tuesday(9), others={LATE_AGAIN: other})
    left, opened, forwarded = decision.events
    assert left == NewEvent(LATE_AGAIN, 3, FollowUpCaseOpened(case_id=NEW_CASE), ACME)
    assert (opened.event.case_number, opened.event.follow_up_of) == ("T-1001-2-2", LATE_AGAIN)
    assert forwarded.event == CustomerMessageForwarded(case_id=NEW_CASE, message_id=NEW_MESSAGE)


def test_a_message_to_a_merged_case_goes_where_that_was_merged_into() -> None:
    decision = sent("receive-customer-message", {}, ACME_COMPLAINED, MERGED, at=tuesday(9))
    message, forwarded = decision.events
    assert (message.stream_id, message.event.subject_id, message.customer_id) == (LATE_AGAIN, LATE_AGAIN, None)
    assert (forwarded.stream_id, forwarded.customer_id) == (CLUMPS, ACME)
    assert decision.reads == {CLUMPS: 2, LATE_AGAIN: 1}


def test_importers_keep_a_message_in_the_case_that_a_source_kept_it_in() -> None:
    past = (ACME_COMPLAINED, CLOSED)
    (message,) = sent("receive-customer-message", {}, *past, at=tuesday(9), actor=ActorKind.IMPORT).events
    assert message.stream_id == CLUMPS


# Merging and splitting


def test_a_merge_is_recorded_in_both_cases() -> None:
    decision = sent("merge-case", {"into": "number:T-1002"}, ACME_COMPLAINED, at=monday(13))
    assert decision.events == (
        NewEvent(CLUMPS, 2, MERGED, ACME),
        NewEvent(LATE_AGAIN, 2, replace(OTHER_MERGED, case_id=CLUMPS), None),
    )
    assert decision.reads == {CLUMPS: 1, LATE_AGAIN: 1}


def test_a_merge_is_recorded_once() -> None:
    assert sent("merge-case", {"into": "number:T-1002"}, ACME_COMPLAINED, MERGED, at=monday(14)).events == ()


def test_nothing_is_merged_into_a_case_that_is_over_except_by_importers() -> None:
    over: dict[UUID, Stream] = {LATE_AGAIN: case_after(SOMEBODY_COMPLAINED, replace(CLOSED, at=monday(10)))}
    merging = {"into": "number:T-1002"}
    with pytest.raises(CaseIsClosed) as refused:
        sent("merge-case", merging, ACME_COMPLAINED, at=monday(13), others=over)
    assert refused.value.pointer == "/into"
    decision = sent("merge-case", merging, ACME_COMPLAINED, at=monday(13), others=over, actor=ActorKind.IMPORT)
    assert len(decision.events) == 2


def test_what_came_with_merged_cases_is_answered_before_a_case_waits() -> None:
    """The case has taken in another one, which had taken in a third one, whose message nobody has answered."""
    third = CaseId(UUID(int=3))
    past = (ACME_COMPLAINED, replace(KATHERINE_REPLIED, at=monday(9, 30)), OTHER_MERGED)
    merged_at = replace(MERGED, at=monday(9, 45))
    answered = (SOMEBODY_COMPLAINED, replace(KATHERINE_REPLIED, at=monday(9, 10)))
    others: dict[UUID, Stream] = {
        LATE_AGAIN: case_after(*answered, replace(OTHER_MERGED, case_id=third), merged_at),
        third: case_after(SOMEBODY_COMPLAINED, replace(MERGED, at=monday(9, 20))),
    }
    with pytest.raises(CustomerAwaitsReply):
        sent("wait-for-customer", {}, *past, at=monday(10), others=others)
    decision = sent("wait-for-customer", {}, *past, KATHERINE_REPLIED, at=monday(10), others=others)
    assert [new.event for new in decision.events] == [WAITING]
    assert decision.reads.keys() == {CLUMPS, LATE_AGAIN, third}


def test_a_split_is_recorded_in_both_cases() -> None:
    body = {
        "case_number": "T-8",
        "message_id": str(FIRST_MESSAGE),
        "kind": "return",
        "priority": "low",
        "product": "number:FLOUR",
        "description": "And it was late.",
    }
    decision = sent("split-case", body, ACME_COMPLAINED, at=monday(12))
    split, opened = decision.events
    assert split == NewEvent(CLUMPS, 2, replace(SPLIT, case_id=NEW_CASE), ACME)
    assert (opened.stream_id, opened.version, opened.customer_id) == (NEW, 1, ACME)
    assert isinstance(opened.event, CaseOpened)
    assert (opened.event.case_number, opened.event.split_from) == ("T-8", CLUMPS)
    assert (opened.event.kind, opened.event.priority) == (CaseKind.RETURN, Priority.LOW)
    assert (opened.event.first_message, opened.event.product_id) == ("And it was late.", CLUMPING_FLOUR)
    assert claims(decision) == {CASE.reference("number", "T-8"): (CaseNumberIsTaken, "/case_number", None)}
    assert [taken.stream_id for taken in decision.claims] == [NEW]


# With the real writer


OPENED = support_cases.OpenCase(
    case_number="T-1", kind=CaseKind.COMPLAINT, channel=Channel.EMAIL, opened_by=ActorClass.CUSTOMER
)
CLOSING, WRITING_AGAIN = support_cases.CloseCase(), support_cases.ReceiveCustomerMessage(text=TEXT)


@asynchronous
async def test_a_follow_up_case_is_found_by_its_number_and_sent_again_it_is_the_same() -> None:
    log = InMemoryLog()
    async with writing(log) as writer:
        await writer.submit(submission(OPENED))
        await writer.submit(submission(CLOSING, "number:T-1"))
        wrote = submission(WRITING_AGAIN, "number:T-1")
        first, second = await writer.submit(wrote), await writer.submit(wrote)
        assert replace(second, replayed=False) == first
        assert [event.type for event in first.events] == ["support-case.follow-up-case-opened", "support-case.opened"]
        resolved = await writer.submit(submission(CLOSING, "number:T-1-2"))
        assert resolved.target_id == first.events[1].stream_id


@asynchronous
async def test_of_many_messages_at_once_to_a_closed_case_one_opens_the_follow_up_case() -> None:
    log = InMemoryLog()
    async with writing(log) as writer, writing(log) as other:
        await writer.submit(submission(OPENED))
        await writer.submit(submission(CLOSING, "number:T-1"))
        sending = [each.submit(submission(WRITING_AGAIN, "number:T-1")) for each in (writer, other) * 10]
        await asyncio.gather(*sending)
    counted = Counter(event.type for event in log.recorded)
    assert counted["support-case.follow-up-case-opened"] == 1
    assert counted["support-case.opened"] == 2
    assert counted["support-case.customer-message-received"] == counted["support-case.customer-message-forwarded"] == 19
