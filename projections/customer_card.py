"""Customer card: what is known about one customer at a position of the log, as it holds on a day."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, tzinfo
from typing import Final
from uuid import UUID

from domain.customer import CustomerNotFound
from projections.customer_card_tables import EVENT_COLUMNS, NAME, VERSION
from projections.customer_summaries import CustomerSummary, KeptEvent, Show, end_of, summaries
from projections.customer_support import CustomerSupport, customer_support
from projections.read_model import Snapshot
from projections.support_response_times import NAME as SUPPORT

OF_CARDS: Final = (NAME, SUPPORT)
"""The read models that a card is made of."""

INTERACTIONS_SHOWN: Final = 20
"""Interactions on a card; the history has all of them."""


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
    (summary,) = await summaries(snapshot, found, valid_at, zone)
    latest = await snapshot.fetch(
        _LATEST,
        {
            "customer": customer_id,
            "position": snapshot.position,
            "end": end_of(valid_at, zone),
            "rows": interactions,
        },
        columns=EVENT_COLUMNS,
    )
    support = await customer_support(snapshots[SUPPORT], customer_id, end_of(valid_at, zone))
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
