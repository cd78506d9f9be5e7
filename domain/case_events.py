"""The events of support cases, and the values that they hold; the rules are those of `domain.support_case`.

What a rule compares with other things that happened says `at` when it was: the valid time of its envelope once more,
because states are made of events without their envelopes. Messages name their sender: the class of the actor, and who
of the customer's contact persons or of the staff it was. Texts are personal; they are about `subject_id`, which is the
customer, or the case itself while nobody knows whose case it is.
"""

from enum import StrEnum
from typing import Annotated, NewType, TypeAlias
from uuid import UUID

from domain.customer import Channel, Direction
from domain.service_calendar import CalendarId
from domain.team import TeamId
from domain.values import (
    ContactId,
    CustomerId,
    Erased,
    ExternalIdentifier,
    Instant,
    Personal,
    ProductId,
    StaffId,
    immutable,
)

CaseId = NewType("CaseId", UUID)
MessageId = NewType("MessageId", UUID)

CaseText: TypeAlias = Annotated[str | Erased, Personal(subject="subject_id", free_text=True)]
"""What somebody wrote in a case, about the subject that the event's `subject_id` names."""


class CaseKind(StrEnum):
    """What the customer wants."""

    INQUIRY = "inquiry"
    COMPLAINT = "complaint"
    INCIDENT = "incident"
    FEATURE_REQUEST = "feature_request"
    RETURN = "return"


class Priority(StrEnum):
    """How soon a case has to be worked on; many help desks number them from P1 to P4."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class ActorClass(StrEnum):
    """Who sent a message. `customer` is any end user of the customer, not only the one who asked first."""

    CUSTOMER = "customer"
    AGENT_PUBLIC = "agent_public"
    AGENT_INTERNAL = "agent_internal"
    AUTOMATION = "automation"
    """An automatic acknowledgement, a bot, a macro without a person."""
    SYSTEM = "system"


class Performer(StrEnum):
    """Whether a person did something, or a program on its own."""

    PERSON = "person"
    AUTOMATION = "automation"


class ReferenceKind(StrEnum):
    """What of ours a customer asks about."""

    INVOICE = "invoice"
    DELIVERY = "delivery"
    LOT = "lot"
    SERIAL = "serial"


class EscalationKind(StrEnum):
    """Functional: to somebody who knows more. Hierarchical: to somebody who may decide more."""

    FUNCTIONAL = "functional"
    HIERARCHICAL = "hierarchical"


class SatisfactionScale(StrEnum):
    """How satisfaction is asked for, each scale with its own scores: CSAT 1 to 5, NPS 0 to 10, CES 1 to 7."""

    CSAT = "csat"
    NPS = "nps"
    CES = "ces"


@immutable
class CaseReference:
    """An invoice, delivery, lot or serial number that a case is about; `number` is as the customer knows it."""

    kind: ReferenceKind
    number: str


@immutable
class Happened:
    """What is compared with other things that happened to the case: `at` is the valid time of the envelope."""

    at: Instant


@immutable
class CaseOpened(Happened):
    """A case begins, with its first message.

    `opened_by` sent the first message. Where the case is `inbound` the customer turned to us, also if somebody else
    wrote that down; `answered_live` says that a person took the call or chat at once. `staff_id` is who opened it or
    took the call. A case that was split off, or that follows up a closed one, says of which; of a split-off case
    `waiting_since` says when the customer wrote what it is about.
    """

    case_number: str
    kind: CaseKind
    channel: Channel
    opened_by: ActorClass
    direction: Direction
    priority: Priority
    message_id: MessageId
    subject_id: UUID
    answered_live: bool = False
    first_message: CaseText | None = None
    customer_id: CustomerId | None = None
    contact_id: ContactId | None = None
    staff_id: StaffId | None = None
    product_id: ProductId | None = None
    calendar_id: CalendarId | None = None
    team_id: TeamId | None = None
    references: tuple[CaseReference, ...] = ()
    external_identifiers: tuple[ExternalIdentifier, ...] = ()
    follow_up_of: CaseId | None = None
    split_from: CaseId | None = None
    waiting_since: Instant | None = None


@immutable
class CustomerIdentified:
    """It is known whose case this is, and perhaps which contact person speaks."""

    customer_id: CustomerId
    contact_id: ContactId | None = None


@immutable
class Message(Happened):
    """What every message says; `late_recorded` that something later was recorded before."""

    message_id: MessageId
    sender: ActorClass
    subject_id: UUID
    text: CaseText | None = None
    channel: Channel | None = None
    staff_id: StaffId | None = None
    late_recorded: bool = False


@immutable
class CustomerMessageReceived(Message):
    """The customer wrote or called again; `answered_live` says that a person (`staff_id`) took the call or chat."""

    contact_id: ContactId | None = None
    answered_live: bool = False


@immutable
class PublicReplySent(Message):
    """The customer was answered: by a person (`agent_public`) or by a program (`automation`)."""


@immutable
class InternalNoteAdded(Message):
    """Something was noted that the customer does not see."""


@immutable
class CaseAssigned(Happened):
    """Somebody is to work on the case."""

    staff_id: StaffId
    by: Performer


@immutable
class CaseTransferred(Happened):
    """The case belongs to a team, and in it to nobody yet."""

    team_id: TeamId
    by: Performer


@immutable
class CalendarAssigned:
    """Business time of the case is counted by this calendar from now on."""

    calendar_id: CalendarId


@immutable
class CaseHandedOffToHuman:
    """A bot has given up; from now on the customer waits for a person."""


@immutable
class PriorityChanged:
    """The case is more or less urgent than before."""

    priority: Priority


@immutable
class CaseClassified:
    """What the case is about and what caused it, as codes of the tenant's lists; it replaces what was said before."""

    category: str | None = None
    product_id: ProductId | None = None
    root_cause: str | None = None
    keeps_product: bool = False
    """Whether the product stays as it was: so version 1 of this event meant it where it named none."""


@immutable
class WaitForCustomerBegun(Happened):
    """The customer has been answered, and has to do or say something before work goes on."""

    by: Performer


@immutable
class CasePutOnHold(Happened):
    """Somebody else has to do something first; the envelope's reason says what. `third_party` is a code."""

    third_party: str
    by: Performer


@immutable
class CaseResumed(Happened):
    """Work goes on. Where a customer's message ended the wait, `message_id` names it."""

    by: Performer
    message_id: MessageId | None = None


@immutable
class CaseEscalated:
    """The case goes to somebody who knows more or may decide more; the envelope's reason says why."""

    kind: EscalationKind
    staff_id: StaffId | None = None
    team_id: TeamId | None = None


@immutable
class NoReplyNeededMarked:
    """This message of the customer needs no reply, like a thanks."""

    message_id: MessageId


@immutable
class CaseMarkedAsSpam(Happened):
    """Nobody wanted anything."""

    by: Performer


@immutable
class CaseResolved(Happened):
    """What the customer wanted is done. Until `reopen_until` (None: until the case is closed) it may be reopened."""

    by: Performer
    resolution_code: str
    reopen_until: Instant | None = None


@immutable
class CaseReopened(Happened):
    """It was not done after all; the envelope's reason says why.

    Where a customer's message reopened the case, `message_id` names it.
    """

    by: Performer
    message_id: MessageId | None = None


@immutable
class CaseClosed(Happened):
    """The case is over for good."""

    by: Performer


@immutable
class CaseMergedInto(Happened):
    """This case goes on in another one."""

    into_id: CaseId


@immutable
class AnotherCaseMerged:
    """Another case goes on in this one."""

    case_id: CaseId


@immutable
class CaseSplit:
    """A message of the customer raised something else too, which has a case of its own from now on."""

    case_id: CaseId
    message_id: MessageId | None = None


@immutable
class FollowUpCaseOpened:
    """The customer wrote after the end of this case, and a new one was opened for that."""

    case_id: CaseId


@immutable
class CustomerMessageForwarded:
    """A message of the customer to this case was recorded in the one that goes on from it."""

    case_id: CaseId
    message_id: MessageId


@immutable
class CaseLinkedToProductFeedback:
    """The case says something about a product, which is kept there under the code `feedback`."""

    product_id: ProductId
    feedback: str


@immutable
class SatisfactionRequested:
    """The customer was asked how satisfied they are; `invitation` is unique in the case."""

    invitation: str
    scale: SatisfactionScale


@immutable
class SatisfactionRecorded:
    """The customer's answer to an invitation."""

    invitation: str
    scale: SatisfactionScale
    score: int
    subject_id: UUID
    comment: CaseText | None = None


@immutable
class SatisfactionAmended:
    """The customer has changed an answer; figures keep the first one."""

    invitation: str
    scale: SatisfactionScale
    score: int
    subject_id: UUID
    comment: CaseText | None = None


@immutable
class CaseWithdrawn(Happened):
    """The customer does not want it any more."""


SupportCaseEvent: TypeAlias = (
    CaseOpened
    | CustomerIdentified
    | CustomerMessageReceived
    | PublicReplySent
    | InternalNoteAdded
    | CaseAssigned
    | CaseTransferred
    | CalendarAssigned
    | CaseHandedOffToHuman
    | PriorityChanged
    | CaseClassified
    | WaitForCustomerBegun
    | CasePutOnHold
    | CaseResumed
    | CaseEscalated
    | NoReplyNeededMarked
    | CaseMarkedAsSpam
    | CaseResolved
    | CaseReopened
    | CaseClosed
    | CaseMergedInto
    | AnotherCaseMerged
    | CaseSplit
    | FollowUpCaseOpened
    | CustomerMessageForwarded
    | CaseLinkedToProductFeedback
    | SatisfactionRequested
    | SatisfactionRecorded
    | SatisfactionAmended
    | CaseWithdrawn
)
