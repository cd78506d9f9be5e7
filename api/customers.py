"""Customers over HTTP: the card of one, lists and search, and the history of one over all streams."""

import base64
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, tzinfo
from functools import partial
from typing import Annotated, TypeVar
from uuid import UUID

from pydantic import Field, StringConstraints, TypeAdapter
from starlette.responses import Response

from api.customer_documents import CustomerCardDocument, CustomerListDocument
from api.epochs import Epochs
from api.event_documents import EventDocuments, ShownEvent
from api.log_reading import (
    AsKnown,
    Limit,
    MinPosition,
    Position,
    ReadsLog,
    page_size,
    position_of,
    refuse_absent,
    refuse_beyond,
    stream_named,
    wrong_parameter,
)
from api.operations import Body, Operation, QueryReader
from api.patience import ANSWER_SECONDS_MAX, patiently
from api.problems import EVENT_IS_UNKNOWN, LOG_UNAVAILABLE, MOMENT_IS_NOT_OVER, READ_MODEL_UNAVAILABLE
from api.requests import Request
from api.responses import GOES_ON, WrittenJson, link_to_next
from api.service import Limits
from api.shapes import described
from application.commands import Role
from application.customers import CUSTOMER
from application.shapes import Code, Day
from domain.customer import CustomerNotFound
from projections.customer_card import OF_CARDS, CustomerCard, card
from projections.customer_card_tables import NAME
from projections.customer_search import QUERY_CHARACTERS_MAX, search
from projections.customer_summaries import CustomerSummary, KeptEvent, Show, customers
from projections.read_model import Hash, ReadModelBehind, ReadModelNotFound, ReadModels, Snapshot
from projections.reports import canonical_json

T = TypeVar("T")

READS_CUSTOMERS = frozenset({Role.SERVICE, Role.STAFF, Role.AUDITOR, Role.PRIVACY, Role.ADMIN})
"""Customers are shown with personal data: not to those who import, nor to those who only count."""

Opens = Callable[[Sequence[KeptEvent]], Awaitable[Show]]
"""Gets the keys of some kept events, and gives what shows each of them."""

PROBLEMS = (MOMENT_IS_NOT_OVER, ReadModelBehind, ReadModelNotFound, READ_MODEL_UNAVAILABLE, LOG_UNAVAILABLE)
_CURSOR_CONTENT: TypeAdapter[tuple[int, date, str, str]] = TypeAdapter(tuple[Position, Day, Code, str])
_CURSOR = r"^[A-Za-z0-9_-]{1,400}$"
_QUERY = r"^[^\x00-\x1f\x7f-\x9f]*$"


@dataclass(frozen=True, slots=True)
class CustomerCards:
    """The read model of customers, and what it takes to show personal values to those who may see them."""

    models: ReadModels
    open: Opens
    hash_of: Hash
    zone: tzinfo
    """The tenant's; in it a day begins and ends."""


ValidAt = Annotated[
    Day | None, Field(description="What holds on this day; without it, today in the time zone of the tenant.")
]


@described
class AsItHolds(AsKnown):
    """Of which day, and as known when."""

    valid_at: ValidAt = None
    min_position: MinPosition = None


@described
class ListParameters(AsItHolds):
    """Which customers."""

    q: Annotated[str, StringConstraints(max_length=QUERY_CHARACTERS_MAX, pattern=_QUERY)] | None = None
    """Words of a name or the beginning of a number; or the whole of an e-mail address, a telephone number, a VAT id."""
    limit: Limit | None = None
    cursor: Annotated[str, StringConstraints(pattern=_CURSOR)] | None = None
    """`next_cursor` of the page before; position and day are those of that page."""


@described
class HistoryParameters(AsKnown):
    """Where to go on in a history, and as known when."""

    after: Position = 0
    """The position after which to go on: `after` of the page before."""
    limit: Limit | None = None


@described
class HistoryPage:
    """What has happened with a customer, in the order in which it became known."""

    customer_id: str
    events: tuple[ShownEvent, ...]
    after: int
    """Where to go on."""
    more: bool
    """Whether there is a next page."""
    position: int
    """The position of the log that this is the history at; give it as `at_position` to go on at the same one."""


class CustomerRoutes:
    """Makes the operations that show customers."""

    def __init__(  # noqa: PLR0913 - the composition root names each of them once
        self,
        cards: CustomerCards,
        log: ReadsLog,
        documents: EventDocuments,
        limits: Limits,
        clock: Callable[[], datetime],
        *,
        epochs: Epochs,
    ) -> None:
        self._epochs = epochs
        self._cards = cards
        self._log = log
        self._documents = documents
        self._limits = limits
        self._clock = clock
        self._history_query = QueryReader(HistoryParameters)
        self._card_query = QueryReader(AsItHolds)
        self._list_query = QueryReader(ListParameters)

    def operations(self) -> Iterator[Operation]:
        """Card, list and history."""
        yield Operation(
            name="read-customer",
            method="GET",
            path="/v1/customers/{id}",
            tag="customers",
            summary="Read the card of a customer",
            description="What is known about the customer, as it holds on a day; each fact with the position of the "
            "event that states it. Personal values that have been erased show as `[erased]`.",
            roles=READS_CUSTOMERS,
            handler=self._card,
            query=AsItHolds,
            answers={200: Body({"application/json": CustomerCardDocument}, "The card.")},
            problems=(CustomerNotFound, *PROBLEMS),
        )
        yield Operation(
            name="list-customers",
            method="GET",
            path="/v1/customers",
            tag="customers",
            summary="List customers, or find them",
            description="In the order of their numbers. Names of organisations and numbers are found by their "
            "beginnings, personal values only whole.",
            roles=READS_CUSTOMERS,
            handler=self._list,
            query=ListParameters,
            answers={200: Body({"application/json": CustomerListDocument}, "A page of customers.", GOES_ON)},
            problems=PROBLEMS,
        )
        yield Operation(
            name="read-history",
            method="GET",
            path="/v1/customers/{id}/history",
            tag="customers",
            summary="Read the history of a customer, over all streams",
            description="Every event that concerns the customer, with who sent it, when it happened and when it became "
            "known. Personal values that have been erased show as `[erased]`.",
            roles=READS_CUSTOMERS,
            handler=self._history,
            query=HistoryParameters,
            answers={200: Body({"application/json": HistoryPage}, "A page of the history.", GOES_ON)},
            problems=(CustomerNotFound, MOMENT_IS_NOT_OVER, EVENT_IS_UNKNOWN, LOG_UNAVAILABLE),
        )

    async def _card(self, request: Request) -> Response:
        asked: AsItHolds = self._card_query(request)
        customer = await stream_named(request.path_params["id"], CUSTOMER, self._log)
        day = asked.valid_at or self._today()
        query = partial(card, customer_id=customer, valid_at=day, zone=self._cards.zone)
        position = await self._position(asked, OF_CARDS)
        reading = self._cards.models.read_together(OF_CARDS, query, position=position)
        found: CustomerCard = await patiently(reading, ANSWER_SECONDS_MAX)
        show = await self._cards.open(found.events)
        return WrittenJson(canonical_json(found.document(show)))

    async def _list(self, request: Request) -> Response:
        asked: ListParameters = self._list_query(request)
        limit = page_size(asked.limit, self._limits.page_size, self._limits.page_size_max)
        if asked.cursor is None:
            position, day, after = await self._position(asked), asked.valid_at or self._today(), ""
        else:
            position, day, after, epoch = _read_cursor(asked.cursor)
            await self._epochs.check_cursor(epoch, position)

        async def query(snapshot: Snapshot) -> tuple[Snapshot, list[CustomerSummary]]:
            zone = self._cards.zone
            if asked.q is None or not asked.q.strip():
                return snapshot, await customers(snapshot, day, zone, after=after, limit=limit + 1)
            found = await search(snapshot, asked.q, self._cards.hash_of, day, zone, after=after, limit=limit + 1)
            return snapshot, found

        snapshot, found = await self._read(query, position)
        page = found[:limit]
        show = await self._cards.open([fact.event for each in page for fact in each.facts.values()])
        last = page[-1].customer_number if len(found) > limit else None
        answer = {
            "definition": NAME,
            "definition_version": snapshot.version,
            "position": snapshot.position,
            "valid_at": day,
            "customers": [each.document(show) for each in page],
            "next_cursor": None
            if last is None
            else _make_cursor(snapshot.position, day, last, await self._epochs.current()),
        }
        headers = link_to_next(request, cursor=answer["next_cursor"]) if last is not None else None
        return WrittenJson(canonical_json(answer), headers=headers)

    def _today(self) -> date:
        return self._clock().astimezone(self._cards.zone).date()

    async def _position(self, asked: AsItHolds, models: Sequence[str] = (NAME,)) -> int | None:
        """The position to answer at, which the read models have come to by now."""
        position = await position_of(asked, self._log, self._clock())
        if asked.min_position is not None:
            await refuse_beyond(asked.min_position, "min_position", self._log)
        wanted = max(position or 0, asked.min_position or 0)
        if wanted:
            seconds = self._limits.wait_seconds_max
            for model in models:
                waiting = self._cards.models.wait(model, wanted, seconds_max=seconds)
                await patiently(waiting, seconds + ANSWER_SECONDS_MAX)
        return position

    async def _read(self, query: Callable[[Snapshot], Awaitable[T]], position: int | None) -> T:
        reading = self._cards.models.read(NAME, query, position=position)
        return await patiently(reading, ANSWER_SECONDS_MAX)

    async def _history(self, request: Request) -> Response:
        asked: HistoryParameters = self._history_query(request)
        limit = page_size(asked.limit, self._limits.page_size, self._limits.page_size_max)
        customer = await stream_named(request.path_params["id"], CUSTOMER, self._log)
        position = await position_of(asked, self._log, self._clock())
        await refuse_beyond(asked.after, "after", self._log)
        if position is None:
            position = await self._log.head()
        events = await self._log.history(customer, asked.after, limit + 1, position)
        if not events:
            await refuse_absent(customer, CUSTOMER, self._log)
        page, more = events[:limit], len(events) > limit
        after = page[-1].position if more else max(asked.after, position)
        body = b'{"customer_id":"%b","events":%b,"after":%d,"more":%b,"position":%d}' % (
            str(customer).encode(),
            self._documents.many(page),
            after,
            b"true" if more else b"false",
            position,
        )
        return WrittenJson(body, headers=link_to_next(request, after=after) if more else None)


def _make_cursor(position: int, day: date, number: str, epoch: UUID) -> str:
    content = json.dumps([position, day.isoformat(), number, str(epoch)])
    return base64.urlsafe_b64encode(content.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, date, str, str]:
    """Position, day and last customer number of the page before, and its epoch. Raises a `Problem`."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        return _CURSOR_CONTENT.validate_json(base64.urlsafe_b64decode(padded))
    except ValueError:
        raise wrong_parameter(parameter="cursor", detail="it is not one that an answer gave") from None
