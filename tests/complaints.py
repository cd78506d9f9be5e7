"""Known cases: Acme Bakery complains that the flour clumps, Katherine answers; Ada asks for an invoice."""

from datetime import UTC, datetime
from uuid import UUID

from domain.case_events import (
    ActorClass,
    AnotherCaseMerged,
    CalendarAssigned,
    CaseAssigned,
    CaseClassified,
    CaseClosed,
    CaseEscalated,
    CaseHandedOffToHuman,
    CaseId,
    CaseKind,
    CaseLinkedToProductFeedback,
    CaseMarkedAsSpam,
    CaseMergedInto,
    CaseOpened,
    CasePutOnHold,
    CaseReference,
    CaseReopened,
    CaseResolved,
    CaseResumed,
    CaseSplit,
    CaseTransferred,
    CaseWithdrawn,
    CustomerIdentified,
    CustomerMessageForwarded,
    CustomerMessageReceived,
    EscalationKind,
    FollowUpCaseOpened,
    InternalNoteAdded,
    MessageId,
    NoReplyNeededMarked,
    Performer,
    Priority,
    PriorityChanged,
    PublicReplySent,
    ReferenceKind,
    SatisfactionAmended,
    SatisfactionRecorded,
    SatisfactionRequested,
    SatisfactionScale,
    WaitForCustomerBegun,
)
from domain.customer import Channel, Direction
from domain.values import ExternalIdentifier, ProductId
from tests.colleagues import KATHERINE, SECOND_LEVEL, SUPPORT_HOURS
from tests.people import ACME, GRACE

CLUMPS = CaseId(UUID("01900000-0000-7000-8000-0000000000c1"))
"""Acme Bakery complains that the flour clumps."""
LATE_AGAIN = CaseId(UUID("01900000-0000-7000-8000-0000000000c2"))
"""Another case, about a late delivery."""
FIRST_MESSAGE = MessageId(UUID("01900000-0000-7000-8000-0000000000d1"))
SECOND_MESSAGE = MessageId(UUID("01900000-0000-7000-8000-0000000000d2"))
FIRST_REPLY = MessageId(UUID("01900000-0000-7000-8000-0000000000d3"))
NOTE = MessageId(UUID("01900000-0000-7000-8000-0000000000d4"))
CLUMPING_FLOUR = ProductId(UUID("01900000-0000-7000-8000-0000000000f1"))


def monday(hour: int, minute: int = 0) -> datetime:
    """A time of Monday, 8 June 2026, in UTC."""
    return datetime(2026, 6, 8, hour, minute, tzinfo=UTC)


def tuesday(hour: int, minute: int = 0) -> datetime:
    """A time of the day after."""
    return datetime(2026, 6, 9, hour, minute, tzinfo=UTC)


CASE_IN_THE_HELP_DESK = ExternalIdentifier(source="helpdesk", id="INC-4711")

ACME_COMPLAINED = CaseOpened(
    at=monday(9),
    case_number="T-1001",
    kind=CaseKind.COMPLAINT,
    channel=Channel.EMAIL,
    opened_by=ActorClass.CUSTOMER,
    direction=Direction.INBOUND,
    priority=Priority.NORMAL,
    message_id=FIRST_MESSAGE,
    subject_id=ACME,
    first_message="The flour clumps again.",
    customer_id=ACME,
    contact_id=GRACE,
    product_id=CLUMPING_FLOUR,
    calendar_id=SUPPORT_HOURS,
    team_id=SECOND_LEVEL,
    references=(CaseReference(kind=ReferenceKind.LOT, number="L-77"),),
    external_identifiers=(CASE_IN_THE_HELP_DESK,),
)
"""Grace writes an e-mail, and all is known that can be."""
SOMEBODY_COMPLAINED = CaseOpened(
    at=monday(9),
    case_number="T-1002",
    kind=CaseKind.COMPLAINT,
    channel=Channel.EMAIL,
    opened_by=ActorClass.CUSTOMER,
    direction=Direction.INBOUND,
    priority=Priority.NORMAL,
    message_id=FIRST_MESSAGE,
    subject_id=LATE_AGAIN,
)
"""Nobody knows yet who it was."""
ACME_ASKED_LIVE = CaseOpened(
    at=monday(9),
    case_number="T-1003",
    kind=CaseKind.INQUIRY,
    channel=Channel.PHONE,
    opened_by=ActorClass.CUSTOMER,
    direction=Direction.INBOUND,
    priority=Priority.HIGH,
    message_id=FIRST_MESSAGE,
    subject_id=ACME,
    answered_live=True,
    customer_id=ACME,
    staff_id=KATHERINE,
)
"""Grace calls, and Katherine takes the call."""

GRACE_IDENTIFIED = CustomerIdentified(customer_id=ACME, contact_id=GRACE)
GRACE_WROTE = CustomerMessageReceived(
    at=tuesday(9),
    message_id=SECOND_MESSAGE,
    sender=ActorClass.CUSTOMER,
    subject_id=ACME,
    text="Here is a photo.",
    contact_id=GRACE,
)
KATHERINE_REPLIED = PublicReplySent(
    at=monday(10),
    message_id=FIRST_REPLY,
    sender=ActorClass.AGENT_PUBLIC,
    subject_id=ACME,
    text="Please send us a photo.",
    staff_id=KATHERINE,
)
ROBOT_REPLIED = PublicReplySent(
    at=monday(9, 1), message_id=FIRST_REPLY, sender=ActorClass.AUTOMATION, subject_id=ACME, text="We have your message."
)
KATHERINE_NOTED = InternalNoteAdded(
    at=monday(10),
    message_id=NOTE,
    sender=ActorClass.AGENT_INTERNAL,
    subject_id=ACME,
    text="Ask the mill.",
    staff_id=KATHERINE,
)
KATHERINE_ASSIGNED = CaseAssigned(at=monday(9, 30), staff_id=KATHERINE, by=Performer.PERSON)
TRANSFERRED = CaseTransferred(at=monday(9, 15), team_id=SECOND_LEVEL, by=Performer.AUTOMATION)
HANDED_OFF = CaseHandedOffToHuman()
CALENDAR_ASSIGNED = CalendarAssigned(calendar_id=SUPPORT_HOURS)
RAISED = PriorityChanged(priority=Priority.CRITICAL)
CLASSIFIED = CaseClassified(category="quality/clumping", product_id=CLUMPING_FLOUR, root_cause="damp storage")
WAITING = WaitForCustomerBegun(at=monday(10), by=Performer.PERSON)
HELD = CasePutOnHold(at=monday(11), third_party="MILL", by=Performer.PERSON)
RESUMED = CaseResumed(at=monday(12), by=Performer.PERSON)
RESUMED_BY_GRACE = CaseResumed(at=tuesday(9), by=Performer.AUTOMATION, message_id=SECOND_MESSAGE)
ESCALATED = CaseEscalated(kind=EscalationKind.FUNCTIONAL, staff_id=KATHERINE, team_id=SECOND_LEVEL)
NO_REPLY_NEEDED = NoReplyNeededMarked(message_id=FIRST_MESSAGE)
MARKED_AS_SPAM = CaseMarkedAsSpam(at=monday(11), by=Performer.AUTOMATION)
RESOLVED = CaseResolved(at=monday(14), by=Performer.PERSON, resolution_code="new-lot-sent", reopen_until=tuesday(14))
REOPENED = CaseReopened(at=monday(15), by=Performer.PERSON)
REOPENED_BY_GRACE = CaseReopened(at=tuesday(9), by=Performer.AUTOMATION, message_id=SECOND_MESSAGE)
CLOSED = CaseClosed(at=monday(16), by=Performer.AUTOMATION)
MERGED = CaseMergedInto(at=monday(13), into_id=LATE_AGAIN)
OTHER_MERGED = AnotherCaseMerged(case_id=LATE_AGAIN)
SPLIT = CaseSplit(case_id=LATE_AGAIN, message_id=FIRST_MESSAGE)
FOLLOWED_UP = FollowUpCaseOpened(case_id=LATE_AGAIN)
FORWARDED = CustomerMessageForwarded(case_id=LATE_AGAIN, message_id=SECOND_MESSAGE)
FEEDBACK_LINKED = CaseLinkedToProductFeedback(product_id=CLUMPING_FLOUR, feedback="F-12")
ASKED_FOR_SATISFACTION = SatisfactionRequested(invitation="survey-1", scale=SatisfactionScale.CSAT)
SATISFIED = SatisfactionRecorded(
    invitation="survey-1", scale=SatisfactionScale.CSAT, score=4, subject_id=ACME, comment="Quick and friendly."
)
LESS_SATISFIED = SatisfactionAmended(
    invitation="survey-1", scale=SatisfactionScale.CSAT, score=2, subject_id=ACME, comment="It clumps again."
)
WITHDRAWN = CaseWithdrawn(at=monday(12))
