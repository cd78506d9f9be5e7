"""The events of a timeline file: each line of a case says what happened when (docs/reference/timelines.md)."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from api.business_time_cases import Fields, read_instant
from domain.case_events import (
    ActorClass,
    CalendarAssigned,
    CaseAssigned,
    CaseClassified,
    CaseClosed,
    CaseEscalated,
    CaseHandedOffToHuman,
    CaseId,
    CaseKind,
    CaseMarkedAsSpam,
    CaseMergedInto,
    CaseOpened,
    CasePutOnHold,
    CaseReopened,
    CaseResolved,
    CaseResumed,
    CaseTransferred,
    CaseWithdrawn,
    CustomerIdentified,
    CustomerMessageReceived,
    EscalationKind,
    InternalNoteAdded,
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
from domain.customer import Channel, Direction
from domain.service_calendar import CalendarId
from domain.team import TeamId
from domain.values import CustomerId, ProductId, StaffId

Choice = TypeVar("Choice", bound=StrEnum)
Made = TypeVar("Made")

_NAMESPACE: Final = UUID("01900000-0000-7000-8000-0000000000f0")
"""What all ids are made in."""
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Names:
    """Cases, teams, people and the like have names in a file; their ids follow from these."""

    def __init__(self) -> None:
        self._names: dict[UUID, str] = {}

    def id(self, kind: str, name: str) -> UUID:
        """The id of what has this name among its kind."""
        made = uuid5(_NAMESPACE, f"{kind}:{name}")
        self._names[made] = name
        return made

    def name(self, made: UUID | None) -> str | None:
        """The name that an id was made of."""
        return None if made is None else self._names[made]


def read_moment(value: object, zone: ZoneInfo) -> datetime:
    """An instant, in local time where it says no offset; a weekday before it is checked: `Mon 2026-06-08 09:00`."""
    text = str(value)
    weekday, _, rest = text.partition(" ")
    if weekday.lower() not in WEEKDAYS:
        return read_instant(text, zone).astimezone(UTC)
    instant = read_instant(rest, zone)
    if WEEKDAYS[instant.astimezone(zone).weekday()] != weekday.lower():
        msg = f"{rest} is no {weekday}"
        raise ValueError(msg)
    return instant.astimezone(UTC)


class Line:
    """One event as it stands in the file; remembers which fields were asked for."""

    def __init__(self, fields: Fields, names: Names, zone: ZoneInfo, message: str) -> None:
        self._fields = fields
        self._asked = {"at", "event", "recorded"}
        self._names = names
        self._zone = zone
        self.at = self.instant("at")
        self.recorded_at = self.optional_instant("recorded") or self.at
        self._message = message

    def text(self, name: str, default: str | None = None) -> str:
        """The text of a field; refuses where it is missing and has no default."""
        value = self.optional(name)
        if value is None and default is None:
            msg = f"{name} is missing"
            raise ValueError(msg)
        return str(default if value is None else value)

    def optional(self, name: str) -> object:
        """A field as it stands there, or None."""
        self._asked.add(name)
        return self._fields.get(name)

    def flag(self, name: str) -> bool:
        """Whether something is so; not, where the field is missing."""
        value = self.optional(name)
        if not isinstance(value, bool | None):
            msg = f"{name} is true or false"
            raise TypeError(msg)
        return bool(value)

    def choice(self, name: str, among: type[Choice], default: Choice) -> Choice:
        """One of the values that a field may have."""
        value = self.text(name, default.value)
        if value not in set(among):
            msg = f"{name} is one of {', '.join(among)}, not {value}"
            raise ValueError(msg)
        return among(value)

    def instant(self, name: str) -> datetime:
        """An instant that has to be there."""
        return read_moment(self.text(name), self._zone)

    def optional_instant(self, name: str) -> datetime | None:
        """An instant, or None."""
        value = self.optional(name)
        return None if value is None else read_moment(value, self._zone)

    def id(self, kind: str, name: str | None = None) -> UUID:
        """The id of what a field names; the field is called as the kind is, unless `name` says otherwise."""
        return self._names.id(kind, self.text(name or kind))

    def optional_id(self, kind: str, name: str | None = None) -> UUID | None:
        """The same, or None where the field is missing."""
        return None if self.optional(name or kind) is None else self.id(kind, name)

    def message_id(self) -> MessageId:
        """Of a message: the name that the file gives it, or one of its own."""
        return MessageId(self._names.id("message", self.text("message", self._message)))

    def by(self) -> Performer:
        """Who did it: a person, where nothing else is said."""
        return self.choice("by", Performer, Performer.PERSON)

    def must_be_understood(self) -> None:
        """Refuse fields that nobody asked for."""
        unknown = sorted(self._fields.keys() - self._asked)
        if unknown:
            msg = f"unknown: {', '.join(unknown)}; what can be said is {', '.join(sorted(self._asked))}"
            raise ValueError(msg)


def _or_none(make: Callable[[UUID], Made], made: UUID | None) -> Made | None:
    return None if made is None else make(made)


def _opened(line: Line) -> CaseOpened:
    by = line.choice("by", ActorClass, ActorClass.CUSTOMER)
    direction = Direction.INBOUND if by is ActorClass.CUSTOMER else Direction.OUTBOUND
    message_id = line.message_id()
    return CaseOpened(
        at=line.at,
        case_number=line.text("number", "1"),
        kind=line.choice("kind", CaseKind, CaseKind.INQUIRY),
        channel=line.choice("channel", Channel, Channel.EMAIL),
        opened_by=by,
        direction=line.choice("direction", Direction, direction),
        priority=line.choice("priority", Priority, Priority.NORMAL),
        message_id=message_id,
        subject_id=message_id,
        answered_live=line.flag("answered_live"),
        customer_id=_or_none(CustomerId, line.optional_id("customer")),
        staff_id=_or_none(StaffId, line.optional_id("staff")),
        product_id=_or_none(ProductId, line.optional_id("product")),
        calendar_id=_or_none(CalendarId, line.optional_id("calendar")),
        team_id=_or_none(TeamId, line.optional_id("team")),
        follow_up_of=_or_none(CaseId, line.optional_id("case", "follow_up_of")),
        split_from=_or_none(CaseId, line.optional_id("case", "split_from")),
        waiting_since=line.optional_instant("waiting_since"),
    )


def _customer_message(line: Line) -> CustomerMessageReceived:
    message_id = line.message_id()
    return CustomerMessageReceived(
        at=line.at,
        message_id=message_id,
        sender=ActorClass.CUSTOMER,
        subject_id=message_id,
        staff_id=_or_none(StaffId, line.optional_id("staff")),
        answered_live=line.flag("answered_live"),
    )


def _reply(line: Line) -> PublicReplySent:
    message_id = line.message_id()
    return PublicReplySent(
        at=line.at,
        message_id=message_id,
        sender=ActorClass.AGENT_PUBLIC if line.by() is Performer.PERSON else ActorClass.AUTOMATION,
        subject_id=message_id,
        staff_id=_or_none(StaffId, line.optional_id("staff")),
    )


def _note(line: Line) -> InternalNoteAdded:
    message_id = line.message_id()
    return InternalNoteAdded(
        at=line.at,
        message_id=message_id,
        sender=ActorClass.AGENT_INTERNAL if line.by() is Performer.PERSON else ActorClass.AUTOMATION,
        subject_id=message_id,
        staff_id=_or_none(StaffId, line.optional_id("staff")),
    )


def _classified(line: Line) -> CaseClassified:
    category, cause = line.optional("category"), line.optional("root_cause")
    return CaseClassified(
        category=None if category is None else str(category),
        product_id=_or_none(ProductId, line.optional_id("product")),
        root_cause=None if cause is None else str(cause),
    )


def _resolved(line: Line) -> CaseResolved:
    return CaseResolved(
        at=line.at,
        by=line.by(),
        resolution_code=line.text("code", "done"),
        reopen_until=line.optional_instant("reopen_until"),
    )


def _requested(line: Line) -> SatisfactionRequested:
    return SatisfactionRequested(invitation=line.text("invitation", "1"), scale=_scale(line))


def _satisfied(line: Line) -> SatisfactionRecorded:
    return SatisfactionRecorded(
        invitation=line.text("invitation", "1"),
        scale=_scale(line),
        score=int(line.text("score")),
        subject_id=_NAMESPACE,
    )


def _amended(line: Line) -> SatisfactionAmended:
    return SatisfactionAmended(
        invitation=line.text("invitation", "1"),
        scale=_scale(line),
        score=int(line.text("score")),
        subject_id=_NAMESPACE,
    )


def _scale(line: Line) -> SatisfactionScale:
    return line.choice("scale", SatisfactionScale, SatisfactionScale.CSAT)


EVENTS: Final[Mapping[str, Callable[[Line], SupportCaseEvent]]] = {
    "opened": _opened,
    "customer-identified": lambda line: CustomerIdentified(customer_id=CustomerId(line.id("customer"))),
    "customer-message-received": _customer_message,
    "public-reply-sent": _reply,
    "internal-note-added": _note,
    "assigned": lambda line: CaseAssigned(at=line.at, staff_id=StaffId(line.id("staff")), by=line.by()),
    "transferred": lambda line: CaseTransferred(at=line.at, team_id=TeamId(line.id("team")), by=line.by()),
    "calendar-assigned": lambda line: CalendarAssigned(calendar_id=CalendarId(line.id("calendar"))),
    "handed-off-to-human": lambda _line: CaseHandedOffToHuman(),
    "priority-changed": lambda line: PriorityChanged(priority=line.choice("priority", Priority, Priority.NORMAL)),
    "classified": _classified,
    "wait-for-customer-begun": lambda line: WaitForCustomerBegun(at=line.at, by=line.by()),
    "put-on-hold": lambda line: CasePutOnHold(
        at=line.at, third_party=line.text("third_party", "SOMEBODY"), by=line.by()
    ),
    "resumed": lambda line: CaseResumed(at=line.at, by=line.by()),
    "escalated": lambda line: CaseEscalated(kind=line.choice("kind", EscalationKind, EscalationKind.FUNCTIONAL)),
    "no-reply-needed-marked": lambda line: NoReplyNeededMarked(message_id=MessageId(line.id("message"))),
    "marked-as-spam": lambda line: CaseMarkedAsSpam(at=line.at, by=line.by()),
    "resolved": _resolved,
    "reopened": lambda line: CaseReopened(at=line.at, by=line.by()),
    "closed": lambda line: CaseClosed(at=line.at, by=line.by()),
    "merged-into": lambda line: CaseMergedInto(at=line.at, into_id=CaseId(line.id("case"))),
    "satisfaction-requested": _requested,
    "satisfaction-recorded": _satisfied,
    "satisfaction-amended": _amended,
    "withdrawn": lambda line: CaseWithdrawn(at=line.at),
}
"""What can happen, by the stored name of the event. What another case records too, that case is given by itself."""
