"""Support cases: what a customer wants of us, what was said about it, and how it ended.

Rules

* No two cases have the same case number, nor the same identifier of one source; the source `number` is ours.
* A case that the customer opened is inbound.
* A case has one customer. Who that is may be said later; another one only where it was wrong.
* Messages are kept by the time at which they were sent. One that is recorded after something that happened later is
  flagged, not refused.
* Nothing but messages is from before the opening of a case.
* A case waits for the customer only after a person has answered the customer's last message in public.
* A message of the customer ends waiting, and reopens a resolved case within the window left for that.
* Closed is final: a later message opens a follow-up case, and so do messages after the window of a resolved case and to
  a withdrawn one. Where there is a follow-up case already, or the case was merged, the message goes there; but where
  the follow-up case was merged back, there is one more.
* Closed, merged and withdrawn cases and spam accept no replies, and nothing else that moves a case. A resolved case is
  reopened before anything else goes on, within its window.
* The window for reopening ends after the resolution.
* A case is merged into another one of the same customer, unless the command says that customers may differ, and never
  so that it would come back to itself. Nothing goes on in a case that has ended.
* A case that waits for the customer is open again when one is merged into it in which the customer waits for us.
* How satisfied a customer is, is asked after a resolution. An invitation is answered once; what is said later amends
  the answer. A score is one of its scale.
* Only a message that the case has is marked as needing no reply.
* What a source system already did is recorded by importers even where the state of the case would refuse a person.
* A decision that certainly changes nothing, at its own time, records nothing.

The states are those of `domain.case_status`, the events those of `domain.case_events`.
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime
from typing import Final, TypeVar
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
    CaseReopened,
    CaseResolved,
    CaseResumed,
    CaseSplit,
    CaseTransferred,
    CaseWithdrawn,
    CustomerIdentified,
    CustomerMessageReceived,
    FollowUpCaseOpened,
    InternalNoteAdded,
    Message,
    MessageId,
    NoReplyNeededMarked,
    Performer,
    Priority,
    PriorityChanged,
    PublicReplySent,
    SatisfactionAmended,
    SatisfactionRecorded,
    SatisfactionRequested,
    SatisfactionScale,
    SupportCaseEvent,
    WaitForCustomerBegun,
)
from domain.case_status import CaseStatus, Course, Step, opening_steps
from domain.customer import RESERVED_SOURCE, Channel, Direction, SourceIsReserved
from domain.errors import NotFound, Refusal
from domain.service_calendar import CalendarId
from domain.team import TeamId
from domain.values import ContactId, CustomerId, Instant, ProductId, StaffId, immutable


class CaseNotFound(NotFound):
    """There is no support case of this id, number or identifier."""


class CaseNumberIsTaken(Refusal):
    """No two support cases have the same case number."""


class CaseIdentifierIsTaken(Refusal):
    """No two support cases have the same identifier of one source."""


class CaseOfCustomerIsInbound(Refusal):
    """A case that the customer opened is inbound."""


class CustomerIsIdentified(Refusal):
    """A case has one customer; another one is named only where the first one was wrong."""


class CaseWasNotOpenYet(Refusal):
    """Nothing but messages is from before the opening of a case."""


class CaseIsResolved(Refusal):
    """A resolved case is reopened before anything else goes on in it."""


class CaseIsClosed(Refusal):
    """Closed is final: nothing goes on in a closed case, and a later message opens a follow-up case."""


class CaseIsMerged(Refusal):
    """A merged case goes on in the case that it was merged into."""


class CaseIsWithdrawn(Refusal):
    """A withdrawn case is over."""


class CaseIsSpam(Refusal):
    """A case that was marked as spam is over."""


class CustomerAwaitsReply(Refusal):
    """A case waits for the customer only after a person has answered the customer's last message in public."""


class MessageNotFound(NotFound):
    """The case has no message of the customer of this id."""


class ReopeningEndsBeforeResolution(Refusal):
    """The window for reopening a case ends after the resolution."""


class ReopeningIsOver(Refusal):
    """A resolved case is reopened within the window that the resolution left for that."""


class MergeIsCircular(Refusal):
    """A case is merged neither into itself nor into one that goes on in it."""


class CasesAreOfDifferentCustomers(Refusal):
    """A case is merged into another one of the same customer, unless the command says that customers may differ."""


class CaseWasNeverResolved(Refusal):
    """How satisfied a customer is, is asked after a resolution."""


class InvitationNotFound(NotFound):
    """The case has no invitation of this name to say how satisfied the customer is."""


class InvitationHasAnotherScale(Refusal):
    """An invitation asks on one scale; another scale needs an invitation of another name."""


class SatisfactionIsRecorded(Refusal):
    """An invitation is answered once; what is said later amends the answer."""


class ScoreIsOutsideScale(Refusal):
    """A score is one of the scale of its invitation: CSAT 1 to 5, NPS 0 to 10, CES 1 to 7."""


SomeMessage = TypeVar("SomeMessage", bound=Message)

_SCORES: Final[Mapping[SatisfactionScale, range]] = {
    SatisfactionScale.CSAT: range(1, 6),
    SatisfactionScale.NPS: range(11),
    SatisfactionScale.CES: range(1, 8),
}

_OVER: Final[Mapping[CaseStatus, type[Refusal]]] = {
    CaseStatus.CLOSED: CaseIsClosed,
    CaseStatus.MERGED: CaseIsMerged,
    CaseStatus.WITHDRAWN: CaseIsWithdrawn,
    CaseStatus.SPAM: CaseIsSpam,
}


@immutable
class NewCase:
    """What is said about a case that goes on from another one (`origin_id`); the rest it takes over from that.

    Where no number is given, it is the number of the other case with a dash and 2, 3 and so on.
    """

    origin_id: CaseId
    case_id: CaseId
    message_id: MessageId
    at: Instant
    case_number: str | None = None
    kind: CaseKind | None = None
    priority: Priority | None = None
    product_id: ProductId | None = None
    text: str | None = None


@immutable
class Mark:
    """A step that was taken; of a message which one it was, of a resolution until when it may be undone."""

    at: Instant
    step: Step
    message_id: MessageId | None = None
    answered_live: bool = False
    reopen_until: Instant | None = None


@immutable
class SupportCase:
    """What the rules ask about a case, and what a case that goes on from it takes over."""

    case_number: str
    kind: CaseKind
    channel: Channel
    priority: Priority
    opened_at: Instant
    last_at: Instant
    marks: tuple[Mark, ...]
    """In the order of their valid time, of equal ones the one first that was recorded first."""
    customer_id: CustomerId | None = None
    contact_id: ContactId | None = None
    product_id: ProductId | None = None
    has_other_priority: bool = False
    """Whether the priority was changed since the opening."""
    calendar_id: CalendarId | None = None
    has_other_calendar: bool = False
    opened_for: TeamId | None = None
    handed_over: tuple[CaseAssigned | CaseTransferred, ...] = ()
    """In the order of their valid time, as `marks` are."""
    classification: CaseClassified = CaseClassified()
    third_party: str | None = None
    no_reply_needed: frozenset[MessageId] = frozenset()
    feedback: frozenset[CaseLinkedToProductFeedback] = frozenset()
    invitations: Mapping[str, SatisfactionScale] = field(default_factory=dict)
    answered_invitations: frozenset[str] = frozenset()
    merged_into: CaseId | None = None
    merged_from: tuple[CaseId, ...] = ()
    follow_up_id: CaseId | None = None
    """The last one."""
    offshoots: int = 0
    """How many cases were opened that go on from this one."""
    lenient: bool = False
    """Whether rules about the state of the case are left out, because a source system did not follow them."""

    def as_imported(self) -> "SupportCase":
        """This case for decisions of an importer: its state refuses nothing of what already happened."""
        return replace(self, lenient=True)

    def status(self, at: datetime) -> CaseStatus:
        """The state of the case at an instant, as known now."""
        return self._course(at).status

    def subject(self, case_id: CaseId) -> UUID:
        """Who the texts of the case are about: the customer, or the case itself while nobody is identified."""
        return case_id if self.customer_id is None else self.customer_id

    def responsible(self, at: datetime) -> tuple[TeamId | None, StaffId | None]:
        """The team and the person that the case belonged to at an instant."""
        team_id, staff_id = self.opened_for, None
        for handed in self.handed_over:
            if handed.at > at:
                break
            if isinstance(handed, CaseTransferred):
                team_id, staff_id = handed.team_id, None
            else:
                staff_id = handed.staff_id
        return team_id, staff_id

    def identify_customer(
        self, customer_id: CustomerId, contact_id: ContactId | None, *, corrects: bool
    ) -> tuple[CustomerIdentified, ...]:
        """Say whose case it is."""
        if self.customer_id not in {None, customer_id} and not corrects:
            raise CustomerIsIdentified(pointer="/customer")
        if (self.customer_id, self.contact_id) == (customer_id, contact_id):
            return ()
        return (CustomerIdentified(customer_id=customer_id, contact_id=contact_id),)

    def goes_on_in(self, at: datetime) -> CaseId | None:
        """The case in which a message of the customer at this instant is recorded, where it is not this one."""
        if self.lenient:
            return None
        if self.status(at) is CaseStatus.MERGED:
            return self.merged_into
        return self.follow_up_id if self.needs_follow_up(at) else None

    def needs_follow_up(self, at: datetime) -> bool:
        """Whether a message of the customer at this instant comes after the end of the case."""
        if self.lenient:
            return False
        course = self._course(at)
        return course.status in {CaseStatus.CLOSED, CaseStatus.WITHDRAWN} or course.is_beyond_window(at)

    def receive(
        self, message: CustomerMessageReceived
    ) -> tuple[CustomerMessageReceived | CaseResumed | CaseReopened, ...]:
        """Take in a message of the customer, which ends waiting and reopens a resolved case within its window.

        A message from before something else that is recorded does so in its own time only.
        """
        at, cause = message.at, message.message_id
        received = replace(message, late_recorded=self._is_late(at))
        course = self._course(at)
        if any(mark.at > at for mark in self.marks):
            return (received,)
        if course.status is CaseStatus.WAITING_ON_CUSTOMER:
            return (received, CaseResumed(at=at, by=Performer.AUTOMATION, message_id=cause))
        if course.status is CaseStatus.RESOLVED and not course.is_beyond_window(at):
            return (received, CaseReopened(at=at, by=Performer.AUTOMATION, message_id=cause))
        return (received,)

    def send_public_reply(self, reply: PublicReplySent) -> tuple[PublicReplySent, ...]:
        """Answer the customer; a resolved case may still be answered."""
        self._must_not_be_over(self.status(reply.at))
        return (self._flagged(reply),)

    def add_internal_note(self, note: InternalNoteAdded) -> tuple[InternalNoteAdded, ...]:
        """Note something, whatever the state of the case."""
        return (self._flagged(note),)

    def assign(self, staff_id: StaffId, at: datetime, by: Performer) -> tuple[CaseAssigned, ...]:
        """Let somebody work on the case."""
        self._must_go_on(at)
        if staff_id == self.responsible(at)[1]:
            return ()
        return (CaseAssigned(at=at, staff_id=staff_id, by=by),)

    def transfer(self, team_id: TeamId, at: datetime, by: Performer) -> tuple[CaseTransferred, ...]:
        """Give the case to a team, and in it to nobody yet."""
        self._must_go_on(at)
        if (team_id, None) == self.responsible(at):
            return ()
        return (CaseTransferred(at=at, team_id=team_id, by=by),)

    def assign_calendar(self, calendar_id: CalendarId, at: datetime) -> tuple[CalendarAssigned, ...]:
        """Count business time by this calendar from now on.

        Where it has been another one, this is always recorded: that the same was said last does not mean that it held.
        """
        self._must_go_on(at)
        if calendar_id == self.calendar_id and not self.has_other_calendar:
            return ()
        return (CalendarAssigned(calendar_id=calendar_id),)

    def hand_off_to_human(self, at: datetime) -> tuple[CaseHandedOffToHuman, ...]:
        """Let a person take over from a bot."""
        self._must_go_on(at)
        return (CaseHandedOffToHuman(),)

    def change_priority(self, priority: Priority, at: datetime) -> tuple[PriorityChanged, ...]:
        """Make the case more or less urgent; where that was done before, it is always recorded, as for calendars."""
        self._must_go_on(at)
        if priority is self.priority and not self.has_other_priority:
            return ()
        return (PriorityChanged(priority=priority),)

    def classify(self, classification: CaseClassified) -> tuple[CaseClassified, ...]:
        """Say what the case is about and what caused it, also when it is over; what is left out, holds no longer."""
        now = replace(self.classification, product_id=self.product_id)
        return () if classification == now else (classification,)

    def wait_for_customer(
        self, at: datetime, by: Performer, merged: Mapping[CaseId, "SupportCase"]
    ) -> tuple[WaitForCustomerBegun, ...]:
        """Wait until the customer does or says something; `merged` are the cases that go on in this one."""
        status = self._must_be_active(at)
        if status is CaseStatus.WAITING_ON_CUSTOMER:
            return ()
        if not self.lenient and not (self.has_replied(at) and self.is_answered(at, merged)):
            raise CustomerAwaitsReply
        return (WaitForCustomerBegun(at=at, by=by),)

    def put_on_hold(self, third_party: str, at: datetime, by: Performer) -> tuple[CasePutOnHold, ...]:
        """Wait until somebody else does something."""
        status = self._must_be_active(at)
        if status is CaseStatus.ON_HOLD and third_party == self.third_party:
            return ()
        return (CasePutOnHold(at=at, third_party=third_party, by=by),)

    def resume(self, at: datetime, by: Performer) -> tuple[CaseResumed | CaseReopened, ...]:
        """Let work begin or go on; a source may have gone on with what was resolved or closed."""
        status = self._must_be_active(at)
        if status in {CaseStatus.RESOLVED, CaseStatus.CLOSED}:
            return (CaseReopened(at=at, by=by),)
        return () if status is CaseStatus.OPEN else (CaseResumed(at=at, by=by),)

    def escalate(self, escalation: CaseEscalated, at: datetime) -> tuple[CaseEscalated, ...]:
        """Bring the case to somebody who knows more or may decide more."""
        self._must_be_active(at)
        return (escalation,)

    def mark_no_reply_needed(self, message_id: MessageId | None) -> tuple[NoReplyNeededMarked, ...]:
        """Say that a message of the customer, else the last one, needs no reply."""
        messages = [mark.message_id for mark in self.marks if mark.message_id is not None]
        if not messages or message_id not in {None, *messages}:
            raise MessageNotFound(pointer="/message_id")
        marked = messages[-1] if message_id is None else message_id
        return () if marked in self.no_reply_needed else (NoReplyNeededMarked(message_id=marked),)

    def mark_as_spam(self, at: datetime, by: Performer) -> tuple[CaseMarkedAsSpam, ...]:
        """End the case, because nobody wanted anything."""
        if self.status(at) is CaseStatus.SPAM:
            return ()
        self._must_go_on(at)
        return (CaseMarkedAsSpam(at=at, by=by),)

    def resolve(self, resolved: CaseResolved) -> tuple[CaseResolved, ...]:
        """Note that what the customer wanted is done."""
        if resolved.reopen_until is not None and resolved.reopen_until <= resolved.at:
            raise ReopeningEndsBeforeResolution(pointer="/reopen_until")
        if self.status(resolved.at) is CaseStatus.RESOLVED:
            return ()
        self._must_go_on(resolved.at)
        return (resolved,)

    def reopen(self, at: datetime, by: Performer) -> tuple[CaseReopened, ...]:
        """Note that it was not done after all."""
        self._must_go_on(at)
        course = self._course(at)
        if course.is_beyond_window(at) and not self.lenient:
            raise ReopeningIsOver
        return (CaseReopened(at=at, by=by),) if course.status in {CaseStatus.RESOLVED, CaseStatus.CLOSED} else ()

    def close(self, at: datetime, by: Performer) -> tuple[CaseClosed, ...]:
        """End the case for good; what was not resolved before counts as resolved now."""
        if self.status(at) is CaseStatus.CLOSED:
            return ()
        self._must_go_on(at)
        return (CaseClosed(at=at, by=by),)

    def merge_into(
        self, into_id: CaseId, into: "SupportCase", own_id: CaseId, at: datetime, *, allow_other_customer: bool
    ) -> tuple[CaseMergedInto, ...]:
        """Let the case go on in another one; whatever the customer still waits for is waited for there."""
        if own_id in {into_id, into.merged_into}:
            raise MergeIsCircular(pointer="/into")
        if self.merged_into == into_id:
            return ()
        if into.merged_into is not None:
            raise CaseIsMerged(pointer="/into")
        if self.merged_into is not None:
            raise CaseIsMerged
        self._must_go_on(at)
        if not self.lenient:
            into.must_take_in(at)
        if len({self.customer_id, into.customer_id} - {None}) > 1 and not allow_other_customer:
            raise CasesAreOfDifferentCustomers(pointer="/into")
        return (CaseMergedInto(at=at, into_id=into_id),)

    def take_in(
        self, other_id: CaseId, other: "SupportCase", at: datetime, merged: Mapping[CaseId, "SupportCase"]
    ) -> tuple[AnotherCaseMerged | CaseResumed, ...]:
        """Let another case go on in this one, and those that were merged into that (`merged`).

        If its customer waits for us, this case waits for the customer no longer.
        """
        taken_in = AnotherCaseMerged(case_id=other_id)
        if self.status(at) is CaseStatus.WAITING_ON_CUSTOMER and not other.is_answered(at, merged):
            return (taken_in, CaseResumed(at=at, by=Performer.AUTOMATION))
        return (taken_in,)

    def must_take_in(self, at: datetime) -> None:
        """Refuse unless another case may be merged into this one."""
        if at < self.opened_at:
            raise CaseWasNotOpenYet(pointer="/into", opened_at=self.opened_at)
        status = self.status(at)
        refusal = CaseIsResolved if status is CaseStatus.RESOLVED else _OVER.get(status)
        if refusal is not None:
            raise refusal(pointer="/into")

    def follow_up(self, new: NewCase, message: CustomerMessageReceived) -> tuple[FollowUpCaseOpened, CaseOpened]:
        """Open a case for a message that comes after the end of this one; the second event begins its stream."""
        opened = replace(
            self._opening(new),
            channel=message.channel or self.channel,
            opened_by=message.sender,
            direction=Direction.INBOUND,
            answered_live=message.answered_live,
            contact_id=message.contact_id or self.contact_id,
            staff_id=message.staff_id,
            first_message=message.text,
            follow_up_of=new.origin_id,
        )
        return FollowUpCaseOpened(case_id=new.case_id), opened

    def split(self, new: NewCase, message_id: MessageId | None) -> tuple[CaseSplit, CaseOpened]:
        """Open a case for something else that a message of the customer raised, else the first one.

        The customer has been waiting for that since the message. The second event begins the stream of the new case.
        """
        self._must_go_on(new.at)
        messages = [mark for mark in self.marks if mark.message_id is not None]
        if message_id is not None:
            messages = [mark for mark in messages if mark.message_id == message_id]
            if not messages:
                raise MessageNotFound(pointer="/message_id")
        opened = replace(self._opening(new), split_from=new.origin_id)
        if not messages:
            return CaseSplit(case_id=new.case_id), opened
        raised_by = messages[0]
        opened = replace(
            opened,
            opened_by=ActorClass.CUSTOMER,
            direction=Direction.INBOUND,
            answered_live=raised_by.answered_live,
            waiting_since=raised_by.at,
        )
        return CaseSplit(case_id=new.case_id, message_id=raised_by.message_id), opened

    def _opening(self, new: NewCase) -> CaseOpened:
        """The beginning of a case that goes on from this one, as we would open it on our own."""
        return CaseOpened(
            at=new.at,
            case_number=new.case_number or f"{self.case_number}-{self.offshoots + 2}",
            kind=new.kind or self.kind,
            channel=self.channel,
            opened_by=ActorClass.AGENT_INTERNAL,
            direction=Direction.OUTBOUND,
            priority=new.priority or self.priority,
            message_id=new.message_id,
            subject_id=self.subject(new.case_id),
            first_message=new.text,
            customer_id=self.customer_id,
            contact_id=self.contact_id,
            product_id=new.product_id or self.product_id,
            calendar_id=self.calendar_id,
            team_id=self.responsible(new.at)[0],
        )

    def link_to_product_feedback(self, link: CaseLinkedToProductFeedback) -> tuple[CaseLinkedToProductFeedback, ...]:
        """Note what the case says about a product, also when it is over."""
        return () if link in self.feedback else (link,)

    def request_satisfaction(self, request: SatisfactionRequested, at: datetime) -> tuple[SatisfactionRequested, ...]:
        """Ask how satisfied the customer is."""
        self._must_have_been_resolved(at)
        if self.invitations.get(request.invitation, request.scale) is not request.scale:
            raise InvitationHasAnotherScale(pointer="/scale", scale=self.invitations[request.invitation])
        return () if request.invitation in self.invitations else (request,)

    def record_satisfaction(
        self, answer: SatisfactionRecorded, at: datetime, *, amends: bool
    ) -> tuple[SatisfactionRecorded | SatisfactionAmended, ...]:
        """Note the answer to an invitation."""
        scale = self.invitations.get(answer.invitation)
        if scale is None:
            raise InvitationNotFound(pointer="/invitation")
        if answer.scale is not scale or answer.score not in _SCORES[scale]:
            raise ScoreIsOutsideScale(pointer="/score", scale=scale)
        self._must_have_been_resolved(at)
        if answer.invitation not in self.answered_invitations:
            return (answer,)
        if not amends:
            raise SatisfactionIsRecorded(pointer="/invitation")
        return (
            SatisfactionAmended(
                invitation=answer.invitation,
                scale=answer.scale,
                score=answer.score,
                subject_id=answer.subject_id,
                comment=answer.comment,
            ),
        )

    def withdraw(self, at: datetime) -> tuple[CaseWithdrawn, ...]:
        """End the case, because the customer does not want it any more."""
        if self.status(at) is CaseStatus.WITHDRAWN:
            return ()
        self._must_go_on(at)
        return (CaseWithdrawn(at=at),)

    def _course(self, at: datetime) -> Course:
        course = Course()
        for mark in self.marks[: bisect_right(self.marks, at, key=_time)]:
            course.take(mark.step, mark.at, mark.reopen_until)
        return course

    def _must_go_on(self, at: datetime) -> CaseStatus:
        """The state at an instant, if the case had begun by then and was not over."""
        if at < self.opened_at and not self.lenient:
            raise CaseWasNotOpenYet(pointer="/occurred_at", opened_at=self.opened_at)
        status = self.status(at)
        self._must_not_be_over(status)
        return status

    def _must_not_be_over(self, status: CaseStatus) -> None:
        if status in _OVER and not self.lenient:
            raise _OVER[status]

    def _must_be_active(self, at: datetime) -> CaseStatus:
        status = self._must_go_on(at)
        if status is CaseStatus.RESOLVED and not self.lenient:
            raise CaseIsResolved
        return status

    def _must_have_been_resolved(self, at: datetime) -> None:
        ended = any(mark.step in {Step.RESOLVE, Step.CLOSE} and mark.at <= at for mark in self.marks)
        if not ended and not self.lenient:
            raise CaseWasNeverResolved

    def has_replied(self, at: datetime, since: datetime | None = None) -> bool:
        """Whether a person replied in public up to an instant, and since another one."""
        replies = (mark.at for mark in self.marks if mark.step is Step.PERSON_REPLIED)
        return any(reply <= at and (since is None or reply >= since) for reply in replies)

    def is_answered(self, at: datetime, merged: Mapping[CaseId, "SupportCase"]) -> bool:
        """Whether no message of the customer is without a reply, of those too that came with merged cases."""
        waiting: list[tuple[SupportCase, datetime]] = [(self, at)]
        while waiting:
            case, until = waiting.pop()
            if case.wrote_last(until):
                return False
            merges = (
                (merged[case_id], mark.at)
                for case_id in case.merged_from
                for mark in merged[case_id].marks
                if mark.step is Step.MERGE and mark.at <= until
            )
            waiting += [(other, since) for other, since in merges if not case.has_replied(until, since)]
        return True

    def wrote_last(self, at: datetime) -> bool:
        """Whether the customer wrote to this case last, up to an instant."""
        talk = (Step.CUSTOMER_WROTE, Step.PERSON_REPLIED)
        last = next((mark.step for mark in reversed(self.marks) if mark.at <= at and mark.step in talk), None)
        return last is Step.CUSTOMER_WROTE

    def _flagged(self, message: SomeMessage) -> SomeMessage:
        return replace(message, late_recorded=self._is_late(message.at))

    def _is_late(self, at: datetime) -> bool:
        """Whether something that happened later is recorded already: what holds now may not have held then."""
        return at < self.last_at


def _time(dated: Mark | CaseAssigned | CaseTransferred) -> datetime:
    return dated.at


def open_case(opened: CaseOpened) -> tuple[CaseOpened]:
    """Begin a case. That its number and identifiers are its own is seen to by claims."""
    for index, identifier in enumerate(opened.external_identifiers):
        if identifier.source == RESERVED_SOURCE:
            raise SourceIsReserved(pointer=f"/external_identifiers/{index}/source")
    if opened.opened_by is ActorClass.CUSTOMER and opened.direction is Direction.OUTBOUND:
        raise CaseOfCustomerIsInbound(pointer="/direction")
    return (opened,)


def evolve(  # noqa: C901, PLR0911, PLR0912 - one case for each event that a rule asks about
    state: SupportCase | None, event: SupportCaseEvent
) -> SupportCase:
    """The case after an event; what no rule asks about leaves it as it was."""
    if isinstance(event, CaseOpened):
        return _begun(event)
    if state is None:
        msg = "the stream of a support case begins with its opening"
        raise ValueError(msg)
    match event:
        case CustomerMessageReceived(at=at, message_id=message_id, answered_live=live):
            wrote = Mark(at=at, step=Step.CUSTOMER_WROTE, message_id=message_id, answered_live=live)
            replied = (Mark(at=at, step=Step.PERSON_REPLIED),) if live else ()
            return _marked(state, wrote, *replied)
        case PublicReplySent(at=at, sender=ActorClass.AGENT_PUBLIC):
            return _marked(state, Mark(at=at, step=Step.PERSON_REPLIED))
        case InternalNoteAdded(at=at, sender=ActorClass.AGENT_INTERNAL):
            return _marked(state, Mark(at=at, step=Step.PERSON_WORKED))
        case CaseAssigned() | CaseTransferred():
            return _handed_over(state, event)
        case WaitForCustomerBegun(at=at):
            return _marked(state, Mark(at=at, step=Step.WAIT))
        case CasePutOnHold(at=at, third_party=third_party):
            return replace(_marked(state, Mark(at=at, step=Step.HOLD)), third_party=third_party)
        case CaseResumed(at=at, message_id=None):
            return _marked(state, Mark(at=at, step=Step.RESUME))
        case CaseResolved(at=at, reopen_until=reopen_until):
            return _marked(state, Mark(at=at, step=Step.RESOLVE, reopen_until=reopen_until))
        case CaseReopened(at=at, message_id=None):
            return _marked(state, Mark(at=at, step=Step.REOPEN))
        case CaseClosed(at=at):
            return _marked(state, Mark(at=at, step=Step.CLOSE))
        case CaseWithdrawn(at=at):
            return _marked(state, Mark(at=at, step=Step.WITHDRAW))
        case CaseMarkedAsSpam(at=at):
            return _marked(state, Mark(at=at, step=Step.MARK_AS_SPAM))
        case CaseMergedInto(at=at, into_id=into_id):
            return replace(_marked(state, Mark(at=at, step=Step.MERGE)), merged_into=into_id)
        case AnotherCaseMerged(case_id=case_id):
            return replace(state, merged_from=(*state.merged_from, case_id))
        case FollowUpCaseOpened(case_id=case_id):
            return replace(state, follow_up_id=case_id, offshoots=state.offshoots + 1)
        case CaseSplit():
            return replace(state, offshoots=state.offshoots + 1)
        case CustomerIdentified(customer_id=customer_id, contact_id=contact_id):
            return replace(state, customer_id=customer_id, contact_id=contact_id)
        case CalendarAssigned(calendar_id=calendar_id):
            return replace(state, calendar_id=calendar_id, has_other_calendar=True)
        case PriorityChanged(priority=priority):
            return replace(state, priority=priority, has_other_priority=True)
        case CaseClassified(product_id=product_id, keeps_product=keeps):
            classification = replace(event, keeps_product=False)
            return replace(state, classification=classification, product_id=state.product_id if keeps else product_id)
        case NoReplyNeededMarked(message_id=message_id):
            return replace(state, no_reply_needed=state.no_reply_needed | {message_id})
        case CaseLinkedToProductFeedback():
            return replace(state, feedback=state.feedback | {event})
        case SatisfactionRequested(invitation=invitation, scale=scale):
            return replace(state, invitations={**state.invitations, invitation: scale})
        case SatisfactionRecorded(invitation=invitation):
            return replace(state, answered_invitations=state.answered_invitations | {invitation})
        case Message(at=at) | CaseResumed(at=at) | CaseReopened(at=at):
            return _dated(state, at)
        case _:
            return state


def _begun(opened: CaseOpened) -> SupportCase:
    since = opened.waiting_since or opened.at
    marks = (
        Mark(at=since, step=step, message_id=opened.message_id, answered_live=opened.answered_live)
        if step is Step.CUSTOMER_WROTE
        else Mark(at=since, step=step)
        for step in opening_steps(opened)
    )
    return SupportCase(
        case_number=opened.case_number,
        kind=opened.kind,
        channel=opened.channel,
        priority=opened.priority,
        opened_at=opened.at,
        last_at=opened.at,
        marks=tuple(marks),
        customer_id=opened.customer_id,
        contact_id=opened.contact_id,
        product_id=opened.product_id,
        calendar_id=opened.calendar_id,
        opened_for=opened.team_id,
    )


def _marked(state: SupportCase, *marks: Mark) -> SupportCase:
    """With more marks; they stand behind all that are not later."""
    place = bisect_right(state.marks, marks[0].at, key=_time)
    return replace(_dated(state, marks[0].at), marks=(*state.marks[:place], *marks, *state.marks[place:]))


def _dated(state: SupportCase, at: datetime) -> SupportCase:
    return replace(state, last_at=at) if at > state.last_at else state


def _handed_over(state: SupportCase, event: CaseAssigned | CaseTransferred) -> SupportCase:
    place = bisect_right(state.handed_over, event.at, key=_time)
    after = replace(state, handed_over=(*state.handed_over[:place], event, *state.handed_over[place:]))
    if event.by is Performer.PERSON:
        return _marked(after, Mark(at=event.at, step=Step.PERSON_WORKED))
    return _dated(after, event.at)
