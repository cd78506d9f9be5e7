"""Customer card: what is known about one customer, and where to find a customer.

A *fact* is something that was said about a customer: the registration, a name or address from a day on, a contact
person, an owner, terms, a status. It keeps the event's stored body, so personal values stay encrypted here; whoever may
read them decodes them when a card is shown.

*Interactions* are one timeline: what was recorded with the customer, and the messages of the customer's cases. Whose
case it is may be said later; the messages before that are interactions of the customer as soon as it is known.

What is said to hold from a day on holds until the next statement of its kind; of two for the same day the one recorded
later counts. What is said without a day holds from when it occurred; of several the one recorded last counts.

Customers are found by their number and by the words of organisations' names, both from their beginning, former names
included. Personal values are found only whole, by keyed hashes that name the person whose they are: an e-mail address,
a telephone number, a VAT id, an identifier of another system, each word of a person's name. They are removed when that
person is erased, and hidden from the moment of the erasure.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, Final, TypeAlias
from uuid import UUID

from application.ports import RecordedEvent
from domain.case_events import CaseOpened, CustomerIdentified, CustomerMessageReceived, PublicReplySent
from domain.customer import (
    AddressChanged,
    ContactPersonAdded,
    ContactPersonChanged,
    ContactPersonDeactivated,
    CreditLimitChanged,
    CustomerBlocked,
    CustomerClassified,
    CustomerDeactivated,
    CustomerNotFound,
    CustomerReactivated,
    CustomerRegistered,
    CustomerUnblocked,
    ExternalIdentifierAttached,
    InteractionRecorded,
    LegalNameChanged,
    MasterDataConfirmed,
    OwnerAssigned,
    PaymentTermsAgreed,
    normalised_vat_id,
)
from domain.values import Erased, ExternalIdentifier
from projections.customer_support import CustomerSupport, customer_support
from projections.read_model import Hash, Page, Snapshot, Table, copy_bytes, copy_text
from projections.support_response_times import NAME as SUPPORT

NAME: Final = "customer_card"
VERSION: Final = 1

OF_CARDS: Final = (NAME, SUPPORT)
"""The read models that a card is made of."""

INTERACTIONS_SHOWN: Final = 20
"""Interactions on a card; the history has all of them."""
QUERY_CHARACTERS_MAX: Final = 200
_WORDS_MAX: Final = 16
"""Words of a name or a query that count: more are no name."""
_PHONE_DIGITS_MIN: Final = 5

_TEXT: Final = 'text COLLATE "C"'
_EVENT_COLUMNS: Final = "position, stream_id, version, type, schema_version, occurred_at, recorded_at, body"
_EVENT_TABLE: Final = f"""
    position       bigint NOT NULL,
    stream_id      uuid NOT NULL,
    version        integer NOT NULL,
    type           {_TEXT} NOT NULL,
    schema_version smallint NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    body           bytea NOT NULL"""

_WORD = re.compile(r"\w+")
_PHONE = re.compile(r"[+\d][\d\s()./-]*")
_AFTER_EVERY_CHARACTER: Final = "\U0010ffff"

Place: TypeAlias = tuple[str, str, date | None]
"""Part of the card, key within it, and the day from which the fact holds."""


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event as it is stored: personal values in the body are encrypted."""

    position: int
    stream_id: UUID
    version: int
    type: str
    schema_version: int
    occurred_at: datetime
    recorded_at: datetime
    body: bytes


Show: TypeAlias = Callable[[KeptEvent], Mapping[str, object]]
"""Decodes an event into JSON values, for somebody who may read it."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that holds on the day that a card is shown for."""

    part: str
    key: str
    valid_from: date | None
    valid_to: date | None
    """The day from which the next statement of its kind holds; None while there is none."""
    event: KeptEvent


@dataclass(frozen=True, slots=True)
class CustomerSummary:
    """A line of a list of customers."""

    customer_id: UUID
    customer_number: str
    kind: str
    facts: Mapping[tuple[str, str], Fact]
    """What holds, by part and key; in a list only what the list shows."""

    @property
    def events(self) -> tuple[KeptEvent, ...]:
        """All events that are shown."""
        return tuple(fact.event for fact in self.facts.values())

    @property
    def is_blocked(self) -> bool:
        """Whether the customer takes on nothing new."""
        fact = self.facts.get(("block", ""))
        return fact is not None and fact.event.type == "customer.blocked"

    @property
    def is_active(self) -> bool:
        """Whether the customer is not at rest."""
        fact = self.facts.get(("rest", ""))
        return fact is None or fact.event.type == "customer.reactivated"

    def document(self, show: Show) -> Mapping[str, object]:
        """The line as JSON values."""
        name = self.facts.get(("name", ""), self.facts["registration", ""])
        shown = show(name.event)
        return {
            "customer_id": self.customer_id,
            "customer_number": self.customer_number,
            "kind": self.kind,
            "name": shown.get("legal_name") or shown.get("name"),
            "country": show(self.facts["registration", ""].event).get("country"),
            "is_blocked": self.is_blocked,
            "is_active": self.is_active,
        }


@dataclass(frozen=True, slots=True)
class CustomerCard:
    """What is known about a customer at a position, as it holds on a day."""

    position: int
    valid_at: date
    summary: CustomerSummary
    interactions: tuple[KeptEvent, ...]
    """The latest, the latest first."""
    support: CustomerSupport

    @property
    def events(self) -> tuple[KeptEvent, ...]:
        """All events that are shown."""
        return self.summary.events + self.interactions

    def document(self, show: Show) -> Mapping[str, object]:
        """The card as JSON values."""
        return {
            "definition": NAME,
            "definition_version": VERSION,
            "position": self.position,
            "valid_at": self.valid_at,
            **self.summary.document(show),
            "registration": self._one("registration", show),
            "legal_name": self._one("name", show),
            "addresses": self._many("address", show),
            "contacts": [
                {**fact, "has_left": ("contact_left", key) in self.summary.facts}
                for key, fact in self._by_key("contact", show)
            ],
            "owners": self._many("owner", show),
            "payment_terms": self._one("payment_terms", show),
            "credit_limit": self._one("credit_limit", show),
            "classification": self._one("classification", show),
            "external_identifiers": self._many("external_identifier", show),
            "last_confirmed": self._one("confirmation", show),
            "interactions": [_shown_interaction(event, show) for event in self.interactions],
            **self.support.document(),
        }

    def _one(self, part: str, show: Show) -> Mapping[str, object] | None:
        return next((fact for _, fact in self._by_key(part, show)), None)

    def _many(self, part: str, show: Show) -> list[Mapping[str, object]]:
        return [fact for _, fact in self._by_key(part, show)]

    def _by_key(self, part: str, show: Show) -> Iterator[tuple[str, Mapping[str, object]]]:
        for fact in self.summary.facts.values():
            if fact.part == part:
                days = {} if fact.valid_from is None else {"valid_from": fact.valid_from, "valid_to": fact.valid_to}
                yield fact.key, {**_shown(fact.event, show), **days}


def _shown(event: KeptEvent, show: Show) -> Mapping[str, object]:
    return {
        "position": event.position,
        "occurred_at": event.occurred_at.astimezone(UTC),
        "recorded_at": event.recorded_at.astimezone(UTC),
        **show(event),
    }


def _shown_interaction(event: KeptEvent, show: Show) -> Mapping[str, object]:
    is_of_case = event.type.startswith("support-case.")
    return {"type": event.type, "case": event.stream_id if is_of_case else None, **_shown(event, show)}


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
        for word in _words_of(event):
            self._words.append(f"{copy_text(word)}\t{customer}\t{position}\n")
        if isinstance(event, ContactPersonChanged):
            self._changed.append((event.contact_id, position))
        subject = event.contact_id if isinstance(event, ContactPersonAdded | ContactPersonChanged) else customer
        for kind, value in _findable(event):
            token = copy_bytes(self._hash(f"{NAME}:{kind}", value))
            self._tokens.append(f"{kind}\t{token}\t{customer}\t{subject}\t{position}\n")

    def write(self, page: Page) -> None:
        """Write what has gathered."""
        page.append("facts", f"{_EVENT_COLUMNS}, customer_id, part, key, valid_from", self._facts)
        page.append("interactions", _EVENT_COLUMNS, self._interactions)
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
_INTERACTIONS: Final = (InteractionRecorded, CaseOpened, CustomerMessageReceived, PublicReplySent)


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


def folded(text: str) -> str:
    """A text as it is compared: one form for what looks the same, and no capitals."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def words(text: str) -> list[str]:
    """The words of a name or a query, each once, in their order."""
    return list(dict.fromkeys(_WORD.findall(folded(text))))[:_WORDS_MAX]


def _words_of(event: object) -> Iterable[str]:
    """The words under which an organisation is found."""
    if isinstance(event, CustomerRegistered | LegalNameChanged) and event.legal_name is not None:
        return words(event.legal_name)
    return ()


def _findable(event: object) -> set[tuple[str, str]]:
    """The values that a customer is found by, whole, each with its kind."""
    found: set[tuple[str, str]] = set()
    identifiers: tuple[ExternalIdentifier, ...] = ()
    match event:
        case CustomerRegistered():
            found = {*_of_name(event.name), *_of_vat_id(event.vat_id), *_of_vat_id(event.personal_vat_id)}
            identifiers = event.external_identifiers
        case LegalNameChanged():
            found = {*_of_name(event.name)}
        case ContactPersonAdded() | ContactPersonChanged():
            found = {*_of_name(event.name), *_of_email(event.email), *_of_phone(event.phone)}
        case ExternalIdentifierAttached():
            identifiers = (event.identifier,)
        case _:
            pass
    return found | {("identifier", each.id) for each in identifiers}


_Personal: TypeAlias = str | Erased | None


def _of_name(name: _Personal) -> Iterable[tuple[str, str]]:
    return [("word", word) for word in words(name)] if isinstance(name, str) else ()


def _of_vat_id(vat_id: _Personal) -> Iterable[tuple[str, str]]:
    return [("vat_id", normalised_vat_id(vat_id))] if isinstance(vat_id, str) else ()


def _of_email(email: _Personal) -> Iterable[tuple[str, str]]:
    return [("email", folded(email).strip())] if isinstance(email, str) else ()


def _of_phone(phone: _Personal) -> Iterable[tuple[str, str]]:
    digits = _digits(phone) if isinstance(phone, str) else ""
    return [("phone", digits)] if len(digits) >= _PHONE_DIGITS_MIN else ()


def _digits(phone: str) -> str:
    """A telephone number without what people put in between for reading."""
    return "".join(each for each in unicodedata.normalize("NFKC", phone) if each.isdecimal())


def _whole(query: str) -> set[tuple[str, str]]:
    """What a query may be as a whole."""
    query = query.strip()
    phone = _of_phone(query) if _PHONE.fullmatch(query) else ()
    return {*_of_email(query), *_of_vat_id(query), *phone, ("identifier", query)}


# Questions


async def card(
    snapshots: Mapping[str, Snapshot],
    customer_id: UUID,
    valid_at: date,
    zone: tzinfo,
    *,
    interactions: int = INTERACTIONS_SHOWN,
) -> CustomerCard:
    """The card of a customer as it holds on a day of a time zone. Raises `CustomerNotFound`.

    It is made of the read models that `OF_CARDS` names.
    """
    snapshot = snapshots[NAME]
    found = await snapshot.fetch(
        "SELECT customer_id, customer_number, kind FROM {customers} WHERE customer_id = %s AND position <= %s",
        [customer_id, snapshot.position],
    )
    if not found:
        raise CustomerNotFound
    (summary,) = await _summaries(snapshot, found, valid_at, zone)
    latest = await snapshot.fetch(
        _LATEST,
        {
            "customer": customer_id,
            "position": snapshot.position,
            "end": _end_of(valid_at, zone),
            "rows": interactions,
        },
        columns=_EVENT_COLUMNS,
    )
    support = await customer_support(snapshots[SUPPORT], customer_id, _end_of(valid_at, zone))
    return CustomerCard(snapshot.position, valid_at, summary, tuple(KeptEvent(*row) for row in latest), support)


_LATEST: Final = """
    SELECT {columns} FROM (
        SELECT %(customer)s::uuid AS stream UNION ALL
        SELECT case_id FROM {cases} WHERE customer_id = %(customer)s AND position <= %(position)s
           AND (superseded_at_position IS NULL OR superseded_at_position > %(position)s)
    ) streams CROSS JOIN LATERAL (
        SELECT * FROM {interactions} i WHERE i.stream_id = streams.stream AND position <= %(position)s
           AND occurred_at < %(end)s ORDER BY occurred_at DESC, position DESC LIMIT %(rows)s
    ) latest ORDER BY occurred_at DESC, position DESC LIMIT %(rows)s"""


async def customers(
    snapshot: Snapshot, valid_at: date, zone: tzinfo, *, after: str = "", limit: int
) -> list[CustomerSummary]:
    """Customers in the order of their numbers, after a number."""
    found = await snapshot.fetch(
        "SELECT customer_id, customer_number, kind FROM {customers} "
        "WHERE customer_number > %s AND position <= %s ORDER BY customer_number LIMIT %s",
        [after, snapshot.position, limit],
    )
    return await _summaries(snapshot, found, valid_at, zone, _IN_LISTS)


async def search(  # noqa: PLR0913 - a query, how it is hashed, as of when, and which page
    snapshot: Snapshot, query: str, hash_of: Hash, valid_at: date, zone: tzinfo, *, after: str = "", limit: int
) -> list[CustomerSummary]:
    """Customers that have every word of a query in their name, or all of it as something that they are found by.

    They come in the order of their numbers, after a number. At most `QUERY_CHARACTERS_MAX` characters count.
    """
    query = query[:QUERY_CHARACTERS_MAX]
    values: dict[str, object] = {"position": snapshot.position, "after": after, "limit": limit}
    every_word = []
    for number, word in enumerate(words(query)):
        values |= {f"word_{number}": word, f"beyond_{number}": word + _AFTER_EVERY_CHARACTER}
        values |= {f"token_{number}": hash_of(f"{NAME}:word", word)}
        every_word.append(_OF_WORD.replace("{n}", str(number)))
    whole = [(kind, hash_of(f"{NAME}:{kind}", value)) for kind, value in sorted(_whole(query))]
    values |= {"kinds": [kind for kind, _ in whole], "tokens": [token for _, token in whole]}
    values |= {"number": query.strip(), "beyond": query.strip() + _AFTER_EVERY_CHARACTER}
    intersection = " INTERSECT ".join(f"({each})" for each in every_word)
    found = await snapshot.fetch(
        """
        SELECT customer_id, customer_number, kind FROM {customers}
         WHERE customer_id IN ({matching}) AND customer_number > %(after)s AND position <= %(position)s
         ORDER BY customer_number LIMIT %(limit)s
        """,
        values,
        matching=" UNION ".join([*([f"({intersection})"] if intersection else []), _OF_WHOLE, _OF_NUMBER]),
        erased=snapshot.tables.erased_subjects,
    )
    return await _summaries(snapshot, found, valid_at, zone, _IN_LISTS)


_IN_LISTS: Final = ("registration", "name", "block", "rest")
_KNOWN: Final = """
    position <= %(position)s AND (superseded_at_position IS NULL OR superseded_at_position > %(position)s)
    AND NOT EXISTS (SELECT FROM {erased} e WHERE e.subject_id = {tokens}.subject_id)"""
_OF_WORD: Final = f"""
    SELECT customer_id FROM {{words}}
     WHERE word >= %(word_{{n}})s AND word < %(beyond_{{n}})s AND position <= %(position)s
    UNION
    SELECT customer_id FROM {{tokens}} WHERE kind = 'word' AND token = %(token_{{n}})s AND {_KNOWN}"""
_OF_WHOLE: Final = f"""
    SELECT customer_id FROM {{tokens}}
     WHERE (kind, token) IN (SELECT * FROM unnest(%(kinds)s::text[], %(tokens)s::bytea[])) AND {_KNOWN}"""
_OF_NUMBER: Final = """
    SELECT customer_id FROM {customers}
     WHERE customer_number >= %(number)s AND customer_number < %(beyond)s AND %(number)s <> ''"""


async def _summaries(
    snapshot: Snapshot,
    found: Sequence[tuple[Any, ...]],
    valid_at: date,
    zone: tzinfo,
    parts: Sequence[str] | None = None,
) -> list[CustomerSummary]:
    """What holds for each of these customers, in their order."""
    rows = await snapshot.fetch(
        "SELECT customer_id, part, key, valid_from, {columns} FROM {facts} WHERE customer_id = ANY(%(customers)s) "
        "AND position <= %(position)s AND (%(parts)s::text[] IS NULL OR part = ANY(%(parts)s)) ORDER BY position",
        {
            "customers": [customer_id for customer_id, _, _ in found],
            "position": snapshot.position,
            "parts": None if parts is None else list(parts),
        },
        columns=_EVENT_COLUMNS,
    )
    said: dict[UUID, list[tuple[Place, KeptEvent]]] = {}
    for customer_id, part, key, valid_from, *event in rows:
        said.setdefault(customer_id, []).append(((part, key, valid_from), KeptEvent(*event)))
    end = _end_of(valid_at, zone)
    return [
        CustomerSummary(customer_id, number, kind, _holding(said.get(customer_id, ()), valid_at, end))
        for customer_id, number, kind in found
    ]


def _end_of(day: date, zone: tzinfo) -> datetime:
    """The first instant after a day."""
    return datetime.combine(day + timedelta(days=1), time.min, zone)


def _holding(said: Iterable[tuple[Place, KeptEvent]], day: date, end: datetime) -> Mapping[tuple[str, str], Fact]:
    """What holds on a day, of what was said in this order; `end` is the first instant after the day."""
    statements: dict[tuple[str, str], dict[date | None, KeptEvent]] = {}
    for (part, key, valid_from), event in said:
        # A registration holds before everything else, whenever it was made.
        if valid_from is not None or part == "registration" or event.occurred_at < end:
            statements.setdefault((part, key), {})[valid_from] = event
    holding: dict[tuple[str, str], Fact] = {}
    for (part, key), by_day in sorted(statements.items()):
        days = sorted(each for each in by_day if each is not None)
        valid_from = max((each for each in days if each <= day), default=None)
        if valid_from in by_day:
            valid_to = min((each for each in days if each > day), default=None)
            holding[part, key] = Fact(part, key, valid_from, valid_to, by_day[valid_from])
    return holding
