"""The tables behind customer cards, and how events change them.

A *fact* is something that was said about a customer: the registration, a name or address from a day on, a contact
person, an owner, terms, a status. It keeps the event's stored body, so personal values stay encrypted here; whoever may
read them decodes them when a card is shown.

*Interactions* are one timeline: what was recorded with the customer, and messages and survey answers of the customer's
cases. Whose case it is may be said later; what was before that is part of the timeline as soon as it is known.

*Words* and *tokens* are what customers are found by, as `projections.customer_search` says. Tokens are removed when the
person is erased whose they are, and hidden from the moment of the erasure.
"""

from datetime import date
from typing import Final, TypeAlias
from uuid import UUID

from application.ports import RecordedEvent
from domain.case_events import (
    CaseOpened,
    CustomerIdentified,
    CustomerMessageReceived,
    PublicReplySent,
    SatisfactionAmended,
    SatisfactionRecorded,
)
from domain.customer import (
    AddressChanged,
    ContactPersonAdded,
    ContactPersonChanged,
    ContactPersonDeactivated,
    CreditLimitChanged,
    CustomerBlocked,
    CustomerClassified,
    CustomerDeactivated,
    CustomerReactivated,
    CustomerRegistered,
    CustomerUnblocked,
    ExternalIdentifierAttached,
    InteractionRecorded,
    LegalNameChanged,
    MasterDataConfirmed,
    OwnerAssigned,
    PaymentTermsAgreed,
)
from projections.customer_search_values import findable_values, searchable_words, token
from projections.read_model import Hash, Page, Table, copy_bytes, copy_text

NAME: Final = "customer_card"
VERSION: Final = 1

EVENT_COLUMNS: Final = "position, stream_id, version, type, schema_version, occurred_at, recorded_at, body"
"""What of an event is kept, in the order of `KeptEvent`."""

_TEXT: Final = 'text COLLATE "C"'
_EVENT_TABLE: Final = f"""
    position       bigint NOT NULL,
    stream_id      uuid NOT NULL,
    version        integer NOT NULL,
    type           {_TEXT} NOT NULL,
    schema_version smallint NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    body           bytea NOT NULL"""

Place: TypeAlias = tuple[str, str, date | None]
"""Part of the card, key within it, and the day from which the fact holds."""


class CustomerCards:
    """The tables, and how events change them."""

    name = NAME
    version = VERSION
    events = frozenset(
        {
            "customer.registered",
            "customer.legal-name-changed",
            "customer.address-changed",
            "customer.contact-person-added",
            "customer.contact-person-changed",
            "customer.contact-person-deactivated",
            "customer.external-identifier-attached",
            "customer.payment-terms-agreed",
            "customer.credit-limit-changed",
            "customer.owner-assigned",
            "customer.classified",
            "customer.interaction-recorded",
            "customer.blocked",
            "customer.unblocked",
            "customer.deactivated",
            "customer.reactivated",
            "customer.master-data-confirmed",
            "support-case.opened",
            "support-case.customer-identified",
            "support-case.customer-message-received",
            "support-case.public-reply-sent",
            "support-case.satisfaction-recorded",
            "support-case.satisfaction-amended",
        }
    )
    tables = (
        Table(
            "facts",
            f"{_EVENT_TABLE}, customer_id uuid NOT NULL, part {_TEXT} NOT NULL, key {_TEXT} NOT NULL, valid_from date",
            ("position",),
            indexes=("(customer_id, position)",),
        ),
        Table(
            "interactions",  # streams are customers and cases
            _EVENT_TABLE,
            ("position",),
            indexes=("(stream_id, occurred_at, position)",),
        ),
        Table(
            "cases",
            """
            case_id                uuid NOT NULL,
            customer_id            uuid NOT NULL,
            position               bigint NOT NULL,
            superseded_at_position bigint
            """,
            ("case_id", "position"),
            indexes=("(customer_id)",),
        ),
        Table(
            "customers",
            f"""
            customer_number {_TEXT} NOT NULL,
            customer_id     uuid NOT NULL,
            kind            {_TEXT} NOT NULL,
            position        bigint NOT NULL
            """,
            ("customer_number",),
            indexes=("(customer_id)",),
        ),
        Table(
            "words",
            f"word {_TEXT} NOT NULL, customer_id uuid NOT NULL, position bigint NOT NULL",
            ("word", "customer_id", "position"),
        ),
        Table(
            "tokens",
            f"""
            kind                   {_TEXT} NOT NULL,
            token                  bytea NOT NULL,  -- keyed hash of a personal value
            customer_id            uuid NOT NULL,
            subject_id             uuid NOT NULL,   -- whose value it is
            position               bigint NOT NULL,
            superseded_at_position bigint
            """,
            ("kind", "token", "customer_id", "subject_id", "position"),
            indexes=("(subject_id)",),
            subject="subject_id",
        ),
    )

    def fold(self, page: Page) -> None:
        """See `ReadModel.fold`."""
        if page.events:
            fold = _Fold(page.hash)
            for recorded in page.events:
                fold.apply(recorded)
            fold.write(page)


class _Fold:
    """One page on its way into the tables."""

    def __init__(self, hash_of: Hash) -> None:
        self._hash = hash_of
        self._facts: list[str] = []
        self._interactions: list[str] = []
        self._customers: list[str] = []
        self._words: list[str] = []
        self._tokens: list[str] = []
        self._changed: list[tuple[UUID, int]] = []
        """People whose values were stated anew, and at which position."""
        self._identified: list[tuple[UUID, UUID, int]] = []
        """Cases whose customer was named, the customer, and at which position."""

    def apply(self, recorded: RecordedEvent) -> None:
        """Take in one event."""
        event, customer, position = recorded.event, recorded.stream_id, recorded.position
        kept = (
            f"{position}\t{customer}\t{recorded.version}\t{recorded.type}\t{recorded.schema_version}\t"
            f"{recorded.occurred_at}\t{recorded.recorded_at}\t{copy_bytes(recorded.body)}"
        )
        if isinstance(event, CaseOpened | CustomerIdentified) and event.customer_id is not None:
            self._identified.append((customer, event.customer_id, position))
        if isinstance(event, _INTERACTIONS):
            self._interactions.append(f"{kept}\n")
        elif not isinstance(event, CustomerIdentified):
            self._state(recorded, kept)

    def _state(self, recorded: RecordedEvent, kept: str) -> None:
        """Take in a fact about a customer."""
        event, customer, position = recorded.event, recorded.stream_id, recorded.position
        part, key, valid_from = _place(event)
        self._facts.append(f"{kept}\t{customer}\t{part}\t{copy_text(key)}\t{valid_from or _NULL}\n")
        if isinstance(event, CustomerRegistered):
            self._customers.append(f"{copy_text(event.customer_number)}\t{customer}\t{event.kind}\t{position}\n")
        for word in searchable_words(event):
            self._words.append(f"{copy_text(word)}\t{customer}\t{position}\n")
        if isinstance(event, ContactPersonChanged):
            self._changed.append((event.contact_id, position))
        subject = event.contact_id if isinstance(event, ContactPersonAdded | ContactPersonChanged) else customer
        for kind, value in findable_values(event):
            hashed = copy_bytes(token(self._hash, kind, value))
            self._tokens.append(f"{kind}\t{hashed}\t{customer}\t{subject}\t{position}\n")

    def write(self, page: Page) -> None:
        """Write what has gathered."""
        page.append("facts", f"{EVENT_COLUMNS}, customer_id, part, key, valid_from", self._facts)
        page.append("interactions", EVENT_COLUMNS, self._interactions)
        if self._identified:
            page.execute(_IDENTIFY, [list(each) for each in zip(*self._identified, strict=True)])
        page.append("customers", "customer_number, customer_id, kind, position", self._customers)
        page.append("words", "word, customer_id, position", self._words)
        page.append("tokens", "kind, token, customer_id, subject_id, position", self._tokens)
        if self._changed:
            people, positions = zip(*self._changed, strict=True)
            page.execute(_SUPERSEDE, [list(people), list(positions)])


_NULL: Final = "\\N"
_SUPERSEDE: Final = """
    WITH changed AS (SELECT * FROM unnest(%s::uuid[], %s::bigint[]) AS u(subject_id, position))
    UPDATE {tokens} t SET superseded_at_position = (
        SELECT min(c.position) FROM changed c WHERE c.subject_id = t.subject_id AND c.position > t.position)
      FROM (SELECT subject_id, max(position) AS position FROM changed GROUP BY subject_id) last
     WHERE t.subject_id = last.subject_id AND t.position < last.position AND t.superseded_at_position IS NULL
"""


_IDENTIFY: Final = """
    WITH identified AS (
        SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::bigint[]) AS u(case_id, customer_id, position)
    ), superseded AS (
        UPDATE {cases} c SET superseded_at_position = i.position
          FROM (SELECT case_id, min(position) AS position FROM identified GROUP BY case_id) i
         WHERE c.case_id = i.case_id AND c.superseded_at_position IS NULL
    )
    INSERT INTO {cases}
    SELECT case_id, customer_id, position, lead(position) OVER (PARTITION BY case_id ORDER BY position) FROM identified
"""
_INTERACTIONS: Final = (
    InteractionRecorded,
    CaseOpened,
    CustomerMessageReceived,
    PublicReplySent,
    SatisfactionRecorded,
    SatisfactionAmended,
)


def _place(event: object) -> Place:  # noqa: C901, PLR0911, PLR0912 - one case for each kind of fact
    match event:
        case CustomerRegistered():
            return "registration", "", None
        case LegalNameChanged(valid_from=day):
            return "name", "", day
        case AddressChanged(kind=kind, valid_from=day):
            return "address", kind, day
        case ContactPersonAdded(contact_id=contact) | ContactPersonChanged(contact_id=contact):
            return "contact", str(contact), None
        case ContactPersonDeactivated(contact_id=contact):
            return "contact_left", str(contact), None
        case ExternalIdentifierAttached(identifier=identifier):
            return "external_identifier", f"{identifier.source}:{identifier.id}", None
        case PaymentTermsAgreed(valid_from=day):
            return "payment_terms", "", day
        case CreditLimitChanged():
            return "credit_limit", "", None
        case OwnerAssigned(department=department, valid_from=day):
            return "owner", department, day
        case CustomerClassified():
            return "classification", "", None
        case CustomerBlocked() | CustomerUnblocked():
            return "block", "", None
        case CustomerDeactivated() | CustomerReactivated():
            return "rest", "", None
        case MasterDataConfirmed():
            return "confirmation", "", None
        case _:
            msg = f"a customer card has no place for {type(event).__name__}"
            raise TypeError(msg)
