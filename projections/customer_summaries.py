"""What holds for a customer on a day, and lists of customers.

What is said to hold from a day on holds until the next statement of its kind; of two for the same day the one recorded
later counts. What is said without a day holds from when it occurred; of several the one recorded last counts.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, Final, TypeAlias
from uuid import UUID

from projections.customer_card_tables import EVENT_COLUMNS, Place
from projections.read_model import Snapshot

PARTS_IN_LISTS: Final = ("registration", "name", "block", "rest")
"""The parts of a card that a list shows."""


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


async def customers(
    snapshot: Snapshot, valid_at: date, zone: tzinfo, *, after: str = "", limit: int
) -> list[CustomerSummary]:
    """Customers in the order of their numbers, after a number."""
    found = await snapshot.fetch(
        "SELECT customer_id, customer_number, kind FROM {customers} "
        "WHERE customer_number > %s AND position <= %s ORDER BY customer_number LIMIT %s",
        [after, snapshot.position, limit],
    )
    return await summaries(snapshot, found, valid_at, zone, PARTS_IN_LISTS)


async def summaries(
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
        columns=EVENT_COLUMNS,
    )
    said: dict[UUID, list[tuple[Place, KeptEvent]]] = {}
    for customer_id, part, key, valid_from, *event in rows:
        said.setdefault(customer_id, []).append(((part, key, valid_from), KeptEvent(*event)))
    end = end_of(valid_at, zone)
    return [
        CustomerSummary(customer_id, number, kind, _holding(said.get(customer_id, ()), valid_at, end))
        for customer_id, number, kind in found
    ]


def end_of(day: date, zone: tzinfo) -> datetime:
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
