"""What can be asked for support cases: each command directly above its handler.

`occurred_at` says when it happened; that is what counts, not when it was sent.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final, TypeAlias
from uuid import UUID

from pydantic import Field

from application.aggregates import Aggregate
from application.commands import Command, handles
from application.customers import CUSTOMER
from application.products import PRODUCT
from application.service_calendars import CALENDAR
from application.shapes import Code, Identifiers, Instant, Reason, Reference, Text
from application.staff import STAFF, TEAM
from application.submissions import SubjectIsErased
from application.unit_of_work import ActorKind, ReferenceNotFound, UnitOfWork
from domain import support_case
from domain.case_events import (
    ActorClass,
    CaseClassified,
    CaseEscalated,
    CaseId,
    CaseKind,
    CaseLinkedToProductFeedback,
    CaseOpened,
    CaseReference,
    CaseResolved,
    CustomerMessageForwarded,
    CustomerMessageReceived,
    EscalationKind,
    FollowUpCaseOpened,
    InternalNoteAdded,
    MessageId,
    Performer,
    Priority,
    PublicReplySent,
    ReferenceKind,
    SatisfactionRecorded,
    SatisfactionRequested,
    SatisfactionScale,
)
from domain.case_status import CaseStatus
from domain.customer import (
    RESERVED_SOURCE,
    Channel,
    ContactPersonNotFound,
    Customer,
    Direction,
    SourceIsReserved,
)
from domain.service_calendar import CalendarId
from domain.support_case import (
    CaseIdentifierIsTaken,
    CaseIsClosed,
    CaseIsMerged,
    CaseIsResolved,
    CaseIsSpam,
    CaseIsWithdrawn,
    CaseNotFound,
    CaseNumberIsTaken,
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
)
from domain.team import TeamId
from domain.values import ContactId, CustomerId, ProductId, StaffId, immutable

CASE = Aggregate("support-case", "support-cases", SupportCase, evolve, CaseNotFound)

REFERENCES_MAX = 100
"""More invoices than anybody asks about at once."""
LINKS_MAX: Final = 1_000
"""How many links a message follows to where it is recorded: each case on the way is read, one after the other."""

Score: TypeAlias = Annotated[int, Field(ge=0, le=10)]
"""Of the widest scale; each scale has its own bounds."""

_OVER = (CaseIsClosed, CaseIsMerged, CaseIsWithdrawn, CaseIsSpam)
_GOES_ON = (CaseWasNotOpenYet, *_OVER)
_ACTIVE = (CaseIsResolved, *_GOES_ON)


@immutable
class CaseCommand(Command):
    """What a program may do as well as a person: `by` says which of them it was."""

    by: Performer = Performer.PERSON


@immutable
class ReferredTo:
    """An invoice, delivery, lot or serial number that a case is about; `number` is as the customer knows it."""

    kind: ReferenceKind
    number: Code


def _target(work: UnitOfWork) -> SupportCase:
    case = work.target(CASE)
    return case.as_imported() if work.metadata.actor_kind is ActorKind.IMPORT else case


def _by(command: CaseCommand, work: UnitOfWork) -> Performer:
    return Performer.AUTOMATION if work.metadata.actor_kind is ActorKind.AUTOMATION else command.by


def _customer(reference: str | None, work: UnitOfWork) -> tuple[CustomerId | None, Customer | None]:
    if reference is None:
        return None, None
    customer_id, customer = work.read(CUSTOMER, reference, pointer="/customer")
    return CustomerId(customer_id), customer


def _must_be_known(contact_id: ContactId | None, customer: Customer | None) -> None:
    """Refuse a contact person who does not speak for the customer, or for a customer whom nobody knows."""
    if contact_id is not None and (customer is None or contact_id not in customer.contacts):
        raise ContactPersonNotFound(pointer="/contact_id")


def _product(reference: str | None, work: UnitOfWork) -> ProductId | None:
    return None if reference is None else ProductId(work.read(PRODUCT, reference, pointer="/product")[0])


def _staff(reference: str | None, work: UnitOfWork) -> StaffId | None:
    return None if reference is None else StaffId(work.read(STAFF, reference, pointer="/staff")[0])


def _team(reference: str | None, work: UnitOfWork) -> TeamId | None:
    return None if reference is None else TeamId(work.read(TEAM, reference, pointer="/team")[0])


def _calendar(reference: str | None, work: UnitOfWork) -> CalendarId | None:
    return None if reference is None else CalendarId(work.read(CALENDAR, reference, pointer="/calendar")[0])


def _origin(reference: str | None, work: UnitOfWork) -> tuple[CaseId | None, SupportCase | None]:
    if reference is None:
        return None, None
    case_id, case = work.read(CASE, reference, pointer="/follow_up_of")
    return CaseId(case_id), case


def _claim_number(opened: CaseOpened, work: UnitOfWork, *, stream: UUID, pointer: str) -> None:
    number = CASE.reference(RESERVED_SOURCE, opened.case_number)
    work.claim(number, CaseNumberIsTaken, pointer=pointer, stream=stream)


@immutable
class OpenCase(Command):
    """Open a case with its first message.

    `opened_by` sent that message. `direction` is inbound where the customer opened the case, else outbound, unless you
    say that it was the customer who turned to us. `answered_live`: a person took the call or chat at once; `staff` is
    who did, or who opened the case. Business time is counted by `calendar`. References name what the case is about.
    `follow_up_of` names the case that this one goes on from; a message to a closed case opens one by itself.
    """

    case_number: Code
    kind: CaseKind
    channel: Channel
    opened_by: ActorClass
    direction: Direction | None = None
    answered_live: bool = False
    customer: Reference | None = None
    contact_id: ContactId | None = None
    staff: Reference | None = None
    product: Reference | None = None
    priority: Priority = Priority.NORMAL
    calendar: Reference | None = None
    team: Reference | None = None
    references: Annotated[tuple[ReferredTo, ...], Field(max_length=REFERENCES_MAX)] = ()
    first_message: Text | None = None
    external_identifiers: Identifiers = ()
    follow_up_of: Reference | None = None


@handles(
    OpenCase,
    CASE,
    creates=True,
    refusals=(
        CaseNumberIsTaken,
        CaseIdentifierIsTaken,
        SourceIsReserved,
        CaseOfCustomerIsInbound,
        ReferenceNotFound,
        ContactPersonNotFound,
        SubjectIsErased,
    ),
)
def open_case(command: OpenCase, work: UnitOfWork) -> None:
    """Take the number and the identifiers for a new case."""
    customer_id, customer = _customer(command.customer, work)
    _must_be_known(command.contact_id, customer)
    inbound = command.opened_by is ActorClass.CUSTOMER
    origin_id, origin = _origin(command.follow_up_of, work)
    (opened,) = support_case.open_case(
        CaseOpened(
            at=work.metadata.occurred_at,
            case_number=command.case_number,
            kind=command.kind,
            channel=command.channel,
            opened_by=command.opened_by,
            direction=command.direction or (Direction.INBOUND if inbound else Direction.OUTBOUND),
            priority=command.priority,
            message_id=MessageId(work.new_id()),
            subject_id=customer_id or work.target_id,
            answered_live=command.answered_live,
            first_message=command.first_message,
            customer_id=customer_id,
            contact_id=command.contact_id,
            staff_id=_staff(command.staff, work),
            product_id=_product(command.product, work),
            calendar_id=_calendar(command.calendar, work),
            team_id=_team(command.team, work),
            references=tuple(CaseReference(kind=each.kind, number=each.number) for each in command.references),
            external_identifiers=tuple(dict.fromkeys(command.external_identifiers)),
            follow_up_of=origin_id,
        )
    )
    _claim_number(opened, work, stream=work.target_id, pointer="/case_number")
    for identifier in opened.external_identifiers:
        claim = CASE.reference(identifier.source, identifier.id)
        work.claim(claim, CaseIdentifierIsTaken, pointer="/external_identifiers")
    work.record(opened, customer_id=customer_id)
    if origin_id is not None and origin is not None:
        left = FollowUpCaseOpened(case_id=CaseId(work.target_id))
        work.record_in(CASE, origin_id, left, customer_id=origin.customer_id)


@immutable
class IdentifyCustomer(Command):
    """Say whose case it is, and who speaks; `corrects` where another customer was named by mistake."""

    customer: Reference
    contact_id: ContactId | None = None
    corrects: bool = False


@handles(IdentifyCustomer, CASE, refusals=(CustomerIsIdentified, ReferenceNotFound, ContactPersonNotFound))
def identify_customer(command: IdentifyCustomer, work: UnitOfWork) -> None:
    """See `SupportCase.identify_customer`."""
    customer_id, customer = work.read(CUSTOMER, command.customer, pointer="/customer")
    _must_be_known(command.contact_id, customer)
    case = work.target(CASE)
    identified = case.identify_customer(CustomerId(customer_id), command.contact_id, corrects=command.corrects)
    work.record(*identified, customer_id=customer_id)


@immutable
class ReceiveCustomerMessage(Command):
    """Take in a message of the customer; `answered_live`: a person (`staff`) took the call or chat at once.

    If the case was merged, or has ended and there is a follow-up case, the message is recorded there. If it has ended
    and there is none, one is opened, with the number `follow_up_number`, else that of this case and -2, -3 and so on.
    """

    text: Text | None = None
    contact_id: ContactId | None = None
    channel: Channel | None = None
    answered_live: bool = False
    staff: Reference | None = None
    follow_up_number: Code | None = None


@handles(
    ReceiveCustomerMessage,
    CASE,
    refusals=(ReferenceNotFound, ContactPersonNotFound, CaseNumberIsTaken, SubjectIsErased),
)
def receive_customer_message(command: ReceiveCustomerMessage, work: UnitOfWork) -> None:
    """See `SupportCase.receive`, or `SupportCase.follow_up` after the end of the case."""
    at = work.metadata.occurred_at
    addressed = _target(work)
    case_id, case = _where_it_goes_on(addressed, work)
    if command.contact_id is not None:
        _must_be_known(
            command.contact_id, _customer(None if case.customer_id is None else str(case.customer_id), work)[1]
        )
    message = CustomerMessageReceived(
        at=at,
        message_id=MessageId(work.new_id()),
        sender=ActorClass.CUSTOMER,
        subject_id=case.subject(case_id),
        text=command.text,
        channel=command.channel,
        staff_id=_staff(command.staff, work),
        contact_id=command.contact_id,
        answered_live=command.answered_live,
    )
    recorded_in = case_id
    if case.needs_follow_up(at):
        recorded_in = CaseId(work.begin())
        new = NewCase(
            origin_id=case_id,
            case_id=recorded_in,
            message_id=message.message_id,
            at=at,
            case_number=command.follow_up_number,
        )
        left, opened = case.follow_up(new, message)
        _claim_number(opened, work, stream=recorded_in, pointer="/follow_up_number")
        work.record_in(CASE, case_id, left, customer_id=case.customer_id)
        work.record_in(CASE, recorded_in, opened, customer_id=case.customer_id)
    else:
        work.record_in(CASE, case_id, *case.receive(message), customer_id=case.customer_id)
    if case_id != work.target_id:
        forwarded = CustomerMessageForwarded(case_id=recorded_in, message_id=message.message_id)
        work.record(forwarded, customer_id=addressed.customer_id)


def _where_it_goes_on(addressed: SupportCase, work: UnitOfWork) -> tuple[CaseId, SupportCase]:
    """The case in which a message to this one is recorded, or of which one more follow-up case is opened for it.

    A follow-up case may have been merged back into one that it goes on from. Where the links come back to a case, or
    are more than `LINKS_MAX`, the last case on the way that has ended gets a follow-up case.
    """
    at = work.metadata.occurred_at
    case_id, case = CaseId(work.target_id), addressed
    seen = {case_id}
    ended: tuple[CaseId, SupportCase] | None = None
    while (next_id := case.goes_on_in(at)) is not None:
        is_far = len(seen) > LINKS_MAX
        if case.needs_follow_up(at) and not is_far:
            ended = case_id, case
        if ended is not None and (is_far or next_id in seen):
            return ended
        case_id, case = next_id, work.read(CASE, str(next_id), pointer="")[1]
        seen.add(case_id)
    return case_id, case


@immutable
class SendPublicReply(CaseCommand):
    """Answer the customer, as a person (`staff`) or a program."""

    text: Text | None = None
    channel: Channel | None = None
    staff: Reference | None = None


@handles(SendPublicReply, CASE, refusals=(*_OVER, ReferenceNotFound, SubjectIsErased))
def send_public_reply(command: SendPublicReply, work: UnitOfWork) -> None:
    """See `SupportCase.send_public_reply`."""
    case = _target(work)
    is_person = _by(command, work) is Performer.PERSON
    reply = PublicReplySent(
        at=work.metadata.occurred_at,
        message_id=MessageId(work.new_id()),
        sender=ActorClass.AGENT_PUBLIC if is_person else ActorClass.AUTOMATION,
        subject_id=case.subject(CaseId(work.target_id)),
        text=command.text,
        channel=command.channel,
        staff_id=_staff(command.staff, work),
    )
    work.record(*case.send_public_reply(reply), customer_id=case.customer_id)


@immutable
class AddInternalNote(CaseCommand):
    """Note something that the customer does not see; also on cases that are over."""

    text: Text | None = None
    staff: Reference | None = None


@handles(AddInternalNote, CASE, refusals=(ReferenceNotFound, SubjectIsErased))
def add_internal_note(command: AddInternalNote, work: UnitOfWork) -> None:
    """See `SupportCase.add_internal_note`."""
    case = _target(work)
    is_person = _by(command, work) is Performer.PERSON
    note = InternalNoteAdded(
        at=work.metadata.occurred_at,
        message_id=MessageId(work.new_id()),
        sender=ActorClass.AGENT_INTERNAL if is_person else ActorClass.AUTOMATION,
        subject_id=case.subject(CaseId(work.target_id)),
        text=command.text,
        staff_id=_staff(command.staff, work),
    )
    work.record(*case.add_internal_note(note), customer_id=case.customer_id)


@immutable
class AssignCase(CaseCommand):
    """Let somebody of the staff work on the case."""

    staff: Reference


@handles(AssignCase, CASE, refusals=(*_GOES_ON, ReferenceNotFound))
def assign_case(command: AssignCase, work: UnitOfWork) -> None:
    """See `SupportCase.assign`."""
    case = _target(work)
    staff_id, _ = work.read(STAFF, command.staff, pointer="/staff")
    assigned = case.assign(StaffId(staff_id), work.metadata.occurred_at, _by(command, work))
    work.record(*assigned, customer_id=case.customer_id)


@immutable
class TransferCase(CaseCommand):
    """Give the case to a team, and in it to nobody yet."""

    team: Reference


@handles(TransferCase, CASE, refusals=(*_GOES_ON, ReferenceNotFound))
def transfer_case(command: TransferCase, work: UnitOfWork) -> None:
    """See `SupportCase.transfer`."""
    case = _target(work)
    team_id, _ = work.read(TEAM, command.team, pointer="/team")
    transferred = case.transfer(TeamId(team_id), work.metadata.occurred_at, _by(command, work))
    work.record(*transferred, customer_id=case.customer_id)


@immutable
class AssignCalendar(Command):
    """Count business time of the case by another calendar from now on."""

    calendar: Reference


@handles(AssignCalendar, CASE, refusals=(*_GOES_ON, ReferenceNotFound))
def assign_calendar(command: AssignCalendar, work: UnitOfWork) -> None:
    """See `SupportCase.assign_calendar`."""
    case = _target(work)
    calendar_id, _ = work.read(CALENDAR, command.calendar, pointer="/calendar")
    assigned = case.assign_calendar(CalendarId(calendar_id), work.metadata.occurred_at)
    work.record(*assigned, customer_id=case.customer_id)


@immutable
class HandOffToHuman(Command):
    """Let a person take over from a bot; from now on the customer waits for a person."""


@handles(HandOffToHuman, CASE, refusals=_GOES_ON)
def hand_off_to_human(_command: HandOffToHuman, work: UnitOfWork) -> None:
    """See `SupportCase.hand_off_to_human`."""
    case = _target(work)
    work.record(*case.hand_off_to_human(work.metadata.occurred_at), customer_id=case.customer_id)


@immutable
class ChangePriority(Command):
    """Make the case more or less urgent."""

    priority: Priority


@handles(ChangePriority, CASE, refusals=_GOES_ON)
def change_priority(command: ChangePriority, work: UnitOfWork) -> None:
    """See `SupportCase.change_priority`."""
    case = _target(work)
    work.record(*case.change_priority(command.priority, work.metadata.occurred_at), customer_id=case.customer_id)


@immutable
class ClassifyCase(Command):
    """Say what the case is about and what caused it, as codes of your own lists; what is left out, holds no longer."""

    category: Code | None = None
    product: Reference | None = None
    root_cause: Code | None = None


@handles(ClassifyCase, CASE, refusals=(ReferenceNotFound,))
def classify_case(command: ClassifyCase, work: UnitOfWork) -> None:
    """See `SupportCase.classify`."""
    case = _target(work)
    classification = CaseClassified(
        category=command.category, product_id=_product(command.product, work), root_cause=command.root_cause
    )
    work.record(*case.classify(classification), customer_id=case.customer_id)


@immutable
class WaitForCustomer(CaseCommand):
    """Wait until the customer, who has been answered, does or says something."""


@handles(WaitForCustomer, CASE, refusals=(CustomerAwaitsReply, *_ACTIVE))
def wait_for_customer(command: WaitForCustomer, work: UnitOfWork) -> None:
    """See `SupportCase.wait_for_customer`."""
    case = _target(work)
    merged = _merged_into(case, work)
    begun = case.wait_for_customer(work.metadata.occurred_at, _by(command, work), merged)
    work.record(*begun, customer_id=case.customer_id)


def _merged_into(case: SupportCase, work: UnitOfWork) -> Mapping[CaseId, SupportCase]:
    """The cases that go on in this one, and those that go on in them: each once, those of one distance together."""
    merged: dict[CaseId, SupportCase] = {}
    ahead: Sequence[CaseId] = case.merged_from
    while ahead:
        found = work.read_all(CASE, [str(each) for each in ahead], pointer="")
        merged.update((CaseId(case_id), each) for case_id, each in found)
        further = dict.fromkeys(case_id for _, each in found for case_id in each.merged_from)
        ahead = [case_id for case_id in further if case_id not in merged]
    return merged


@immutable
class PutOnHold(CaseCommand):
    """Wait until somebody else does something; `third_party` is a code of yours, never a person's name."""

    third_party: Code
    reason: Reason


@handles(PutOnHold, CASE, refusals=_ACTIVE)
def put_on_hold(command: PutOnHold, work: UnitOfWork) -> None:
    """See `SupportCase.put_on_hold`."""
    case = _target(work)
    held = case.put_on_hold(command.third_party, work.metadata.occurred_at, _by(command, work))
    work.record(*held, customer_id=case.customer_id)


@immutable
class ResumeCase(CaseCommand):
    """Let work begin, or go on after waiting or a hold."""


@handles(ResumeCase, CASE, refusals=_ACTIVE)
def resume_case(command: ResumeCase, work: UnitOfWork) -> None:
    """See `SupportCase.resume`."""
    case = _target(work)
    work.record(*case.resume(work.metadata.occurred_at, _by(command, work)), customer_id=case.customer_id)


@immutable
class EscalateCase(Command):
    """Bring the case to somebody who knows more or may decide more, and say why."""

    kind: EscalationKind
    reason: Reason
    staff: Reference | None = None
    team: Reference | None = None


@handles(EscalateCase, CASE, refusals=(*_ACTIVE, ReferenceNotFound))
def escalate_case(command: EscalateCase, work: UnitOfWork) -> None:
    """See `SupportCase.escalate`."""
    case = _target(work)
    escalated = CaseEscalated(
        kind=command.kind, staff_id=_staff(command.staff, work), team_id=_team(command.team, work)
    )
    work.record(*case.escalate(escalated, work.metadata.occurred_at), customer_id=case.customer_id)


@immutable
class MarkNoReplyNeeded(Command):
    """Say that a message of the customer, like a thanks, needs no reply; the last one where none is named."""

    message_id: MessageId | None = None


@handles(MarkNoReplyNeeded, CASE, refusals=(MessageNotFound,))
def mark_no_reply_needed(command: MarkNoReplyNeeded, work: UnitOfWork) -> None:
    """See `SupportCase.mark_no_reply_needed`."""
    case = _target(work)
    work.record(*case.mark_no_reply_needed(command.message_id), customer_id=case.customer_id)


@immutable
class MarkAsSpam(CaseCommand):
    """End the case, because nobody wanted anything."""


@handles(MarkAsSpam, CASE, refusals=(CaseWasNotOpenYet, CaseIsClosed, CaseIsMerged, CaseIsWithdrawn))
def mark_as_spam(command: MarkAsSpam, work: UnitOfWork) -> None:
    """See `SupportCase.mark_as_spam`."""
    case = _target(work)
    work.record(*case.mark_as_spam(work.metadata.occurred_at, _by(command, work)), customer_id=case.customer_id)


@immutable
class ResolveCase(CaseCommand):
    """Note that what the customer wanted is done.

    Until `reopen_until`, else until it is closed, a message of the customer reopens the case.
    """

    resolution_code: Code
    reopen_until: Instant | None = None


@handles(ResolveCase, CASE, refusals=(ReopeningEndsBeforeResolution, *_GOES_ON))
def resolve_case(command: ResolveCase, work: UnitOfWork) -> None:
    """See `SupportCase.resolve`."""
    case = _target(work)
    resolved = CaseResolved(
        at=work.metadata.occurred_at,
        by=_by(command, work),
        resolution_code=command.resolution_code,
        reopen_until=command.reopen_until,
    )
    work.record(*case.resolve(resolved), customer_id=case.customer_id)


@immutable
class ReopenCase(CaseCommand):
    """Note that what the customer wanted was not done after all, and why."""

    reason: Reason


@handles(ReopenCase, CASE, refusals=(ReopeningIsOver, *_GOES_ON))
def reopen_case(command: ReopenCase, work: UnitOfWork) -> None:
    """See `SupportCase.reopen`."""
    case = _target(work)
    work.record(*case.reopen(work.metadata.occurred_at, _by(command, work)), customer_id=case.customer_id)


@immutable
class CloseCase(CaseCommand):
    """End the case for good; what was not resolved before counts as resolved now."""


@handles(CloseCase, CASE, refusals=(CaseWasNotOpenYet, CaseIsMerged, CaseIsWithdrawn, CaseIsSpam))
def close_case(command: CloseCase, work: UnitOfWork) -> None:
    """See `SupportCase.close`."""
    case = _target(work)
    work.record(*case.close(work.metadata.occurred_at, _by(command, work)), customer_id=case.customer_id)


@immutable
class MergeCase(Command):
    """Let the case go on in another one; whatever the customer still waits for is waited for there."""

    into: Reference
    allow_other_customer: bool = False


@handles(MergeCase, CASE, refusals=(MergeIsCircular, CasesAreOfDifferentCustomers, *_ACTIVE, ReferenceNotFound))
def merge_case(command: MergeCase, work: UnitOfWork) -> None:
    """See `SupportCase.merge_into`; both cases record it."""
    case = _target(work)
    into_id, into = work.read(CASE, command.into, pointer="/into")
    own_id, at = CaseId(work.target_id), work.metadata.occurred_at
    for merged in case.merge_into(CaseId(into_id), into, own_id, at, allow_other_customer=command.allow_other_customer):
        is_woken = into.status(at) is CaseStatus.WAITING_ON_CUSTOMER
        taken_in = into.take_in(own_id, case, at, _merged_into(case, work) if is_woken else {})
        work.record(merged, customer_id=case.customer_id)
        work.record_in(CASE, into_id, *taken_in, customer_id=into.customer_id)


@immutable
class SplitCase(Command):
    """Open a case of its own for something else that a message of the customer raised, else the first message.

    The customer has been waiting for that since the message. What is left out is as in this case.
    """

    case_number: Code | None = None
    message_id: MessageId | None = None
    kind: CaseKind | None = None
    priority: Priority | None = None
    product: Reference | None = None
    description: Text | None = None


@handles(SplitCase, CASE, refusals=(CaseNumberIsTaken, MessageNotFound, *_GOES_ON, ReferenceNotFound, SubjectIsErased))
def split_case(command: SplitCase, work: UnitOfWork) -> None:
    """See `SupportCase.split`; both cases record it."""
    case = _target(work)
    new = NewCase(
        origin_id=CaseId(work.target_id),
        case_id=CaseId(work.begin()),
        message_id=MessageId(work.new_id()),
        at=work.metadata.occurred_at,
        case_number=command.case_number,
        kind=command.kind,
        priority=command.priority,
        product_id=_product(command.product, work),
        text=command.description,
    )
    split, opened = case.split(new, command.message_id)
    _claim_number(opened, work, stream=new.case_id, pointer="/case_number")
    work.record(split, customer_id=case.customer_id)
    work.record_in(CASE, new.case_id, opened, customer_id=case.customer_id)


@immutable
class LinkToProductFeedback(Command):
    """Note under which code the product keeps what the case says about it."""

    product: Reference
    feedback: Code


@handles(LinkToProductFeedback, CASE, refusals=(ReferenceNotFound,))
def link_to_product_feedback(command: LinkToProductFeedback, work: UnitOfWork) -> None:
    """See `SupportCase.link_to_product_feedback`."""
    case = _target(work)
    product_id, _ = work.read(PRODUCT, command.product, pointer="/product")
    link = CaseLinkedToProductFeedback(product_id=ProductId(product_id), feedback=command.feedback)
    work.record(*case.link_to_product_feedback(link), customer_id=case.customer_id)


@immutable
class RequestSatisfaction(Command):
    """Ask the customer how satisfied they are; `invitation` is a code of yours, unique in the case."""

    invitation: Code
    scale: SatisfactionScale


@handles(RequestSatisfaction, CASE, refusals=(CaseWasNeverResolved, InvitationHasAnotherScale))
def request_satisfaction(command: RequestSatisfaction, work: UnitOfWork) -> None:
    """See `SupportCase.request_satisfaction`."""
    case = _target(work)
    request = SatisfactionRequested(invitation=command.invitation, scale=command.scale)
    work.record(*case.request_satisfaction(request, work.metadata.occurred_at), customer_id=case.customer_id)


@immutable
class RecordSatisfaction(Command):
    """Note the customer's answer to an invitation; `amends` where it changes an answer, and figures keep the first."""

    invitation: Code
    scale: SatisfactionScale
    score: Score
    comment: Text | None = None
    amends: bool = False


@handles(
    RecordSatisfaction,
    CASE,
    refusals=(
        InvitationNotFound,
        ScoreIsOutsideScale,
        CaseWasNeverResolved,
        SatisfactionIsRecorded,
        SubjectIsErased,
    ),
)
def record_satisfaction(command: RecordSatisfaction, work: UnitOfWork) -> None:
    """See `SupportCase.record_satisfaction`."""
    case = _target(work)
    answer = SatisfactionRecorded(
        invitation=command.invitation,
        scale=command.scale,
        score=command.score,
        subject_id=case.subject(CaseId(work.target_id)),
        comment=command.comment,
    )
    recorded = case.record_satisfaction(answer, work.metadata.occurred_at, amends=command.amends)
    work.record(*recorded, customer_id=case.customer_id)


@immutable
class WithdrawCase(Command):
    """End the case, because the customer does not want it any more."""


@handles(WithdrawCase, CASE, refusals=(CaseWasNotOpenYet, CaseIsClosed, CaseIsMerged, CaseIsSpam))
def withdraw_case(_command: WithdrawCase, work: UnitOfWork) -> None:
    """See `SupportCase.withdraw`."""
    case = _target(work)
    work.record(*case.withdraw(work.metadata.occurred_at), customer_id=case.customer_id)
