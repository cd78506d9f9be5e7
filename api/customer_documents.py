"""The shapes of a customer card: each fact is an event's data with where it comes from and on which days it holds."""

import dataclasses
import functools
import operator
import typing
from datetime import date, datetime
from types import GenericAlias
from typing import Annotated, Any
from uuid import UUID

from pydantic import Discriminator

from api.shapes import described
from domain.case_events import (
    CaseKind,
    CaseOpened,
    CustomerMessageReceived,
    Priority,
    PublicReplySent,
    SatisfactionAmended,
    SatisfactionRecorded,
    SatisfactionScale,
)
from domain.case_phases import Awaited
from domain.case_status import CaseStatus
from domain.customer import (
    AddressChanged,
    ContactPersonAdded,
    CreditLimitChanged,
    CustomerClassified,
    CustomerKind,
    CustomerRegistered,
    ExternalIdentifierAttached,
    InteractionRecorded,
    LegalNameChanged,
    MasterDataConfirmed,
    OwnerAssigned,
    PaymentTermsAgreed,
)


@described
class Origin:
    """Where a fact on a card comes from."""

    position: int
    """The position of the event that says so."""
    occurred_at: datetime
    recorded_at: datetime


def _merged(name: str, meaning: str, *parts: type[Any], **more: Any) -> Any:
    """The type that has the fields of all of these, and some more."""
    fields: dict[str, Any] = {}
    for each in parts:
        shapes = typing.get_type_hints(each, include_extras=True)
        fields |= {field.name: shapes[field.name] for field in dataclasses.fields(each)}
    made = dataclasses.make_dataclass(name, (fields | more).items(), frozen=True, slots=True, kw_only=True)
    made.__doc__ = meaning
    return made


def _fact(name: str, event: type[Any], **more: Any) -> Any:
    """The type of a fact on a card: its origin, and the fields of the event that states it."""
    return _merged(name, event.__doc__ or name, Origin, event, **more)


def _list_of(shape: Any) -> Any:
    return GenericAlias(tuple, (shape, ...))


_DAYS = {"valid_from": date, "valid_to": date | None}


@described
class CustomerLine:
    """A customer in a list."""

    customer_id: UUID
    customer_number: str
    kind: CustomerKind
    name: str | None
    country: str | None
    is_blocked: bool
    """Whether the customer takes on nothing new."""
    is_active: bool
    """Whether the customer is not at rest."""


@described
class CustomerListDocument:
    """Customers in the order of their numbers."""

    definition: str
    definition_version: int
    position: int
    """The position of the log that this is the list at."""
    valid_at: date
    customers: tuple[CustomerLine, ...]
    next_cursor: str | None
    """What asks for the next page; null on the last one."""


@described
class OpenCase:
    """A support case in which somebody has yet to do something."""

    case: UUID
    case_number: str
    kind: CaseKind
    status: CaseStatus
    priority: Priority
    opened_at: datetime
    position: int
    """The position of the event that opened it."""
    awaited: Awaited | None
    """What the customer waits for."""
    waiting_since: datetime | None
    team: UUID | None
    owner: UUID | None
    """Who is assigned."""


@described
class SatisfactionOnCard:
    """What the customer answered when asked how satisfied they are."""

    scale: SatisfactionScale
    score: int
    answered_at: datetime
    case: UUID
    position: int
    """The position of the answer."""


@described
class InteractionOrigin(Origin):
    """What an interaction is, and where it comes from."""

    case: UUID | None
    """The support case that it belongs to."""


def _interaction(name: str, event: type[Any], stored_name: str) -> Any:
    """The type of an interaction on a card, told by its type."""
    kind = typing.Literal[stored_name]  # type: ignore[valid-type] # made of the name of the event
    return _merged(name, event.__doc__ or name, InteractionOrigin, event, type=kind)


_INTERACTIONS = (
    _interaction("RecordedInteraction", InteractionRecorded, "customer.interaction-recorded"),
    _interaction("CaseBegun", CaseOpened, "support-case.opened"),
    _interaction("CustomerWrote", CustomerMessageReceived, "support-case.customer-message-received"),
    _interaction("CustomerWasAnswered", PublicReplySent, "support-case.public-reply-sent"),
    _interaction("CustomerAnsweredSurvey", SatisfactionRecorded, "support-case.satisfaction-recorded"),
    _interaction("CustomerAnsweredSurveyAgain", SatisfactionAmended, "support-case.satisfaction-amended"),
)
_INTERACTION: Any = Annotated[functools.reduce(operator.or_, _INTERACTIONS), Discriminator("type")]


CustomerCardDocument = _merged(
    "CustomerCardDocument",
    "What is known about a customer, as it holds on a day. Of interactions, messages of cases and survey answers among "
    "them, the latest; the latest first.",
    CustomerLine,
    definition=str,
    definition_version=int,
    position=int,
    valid_at=date,
    registration=_fact("Registration", CustomerRegistered),
    legal_name=_fact("LegalName", LegalNameChanged, **_DAYS) | None,
    addresses=_list_of(_fact("Address", AddressChanged, **_DAYS)),
    contacts=_list_of(_fact("Contact", ContactPersonAdded, has_left=bool)),
    owners=_list_of(_fact("Owner", OwnerAssigned, **_DAYS)),
    payment_terms=_fact("AgreedTerms", PaymentTermsAgreed, **_DAYS) | None,
    credit_limit=_fact("CreditLimit", CreditLimitChanged) | None,
    classification=_fact("CurrentClassification", CustomerClassified) | None,
    external_identifiers=_list_of(_fact("AttachedIdentifier", ExternalIdentifierAttached)),
    last_confirmed=_fact("Confirmation", MasterDataConfirmed) | None,
    interactions=_list_of(_INTERACTION),
    open_case_count=int,
    open_cases=_list_of(OpenCase),
    satisfaction=_list_of(SatisfactionOnCard),
)
