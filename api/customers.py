"""Customers over HTTP: the history of one customer over all streams."""

from collections.abc import Callable, Iterator
from datetime import datetime

from api.event_documents import EventDocuments, ShownEvent
from api.log_reading import (
    AsKnown,
    Limit,
    Position,
    ReadsLog,
    page_size,
    position_of,
    refuse_absent,
    stream_named,
)
from api.operations import Body, Operation, QueryReader
from api.problems import LOG_UNAVAILABLE, MOMENT_IS_NOT_OVER
from api.requests import Request
from api.responses import Response
from api.service import Limits
from api.shapes import described
from application.commands import Role
from application.customers import CUSTOMER
from domain.customer import CustomerNotFound

READS_CUSTOMERS = frozenset({Role.SERVICE, Role.STAFF, Role.AUDITOR, Role.PRIVACY, Role.ADMIN})
"""Customers are shown with personal data: not to those who import, nor to those who only count."""


@described
class HistoryParameters(AsKnown):
    """Where to go on in a history, and as known when."""

    after: Position = 0
    """The position after which to go on: `after` of the page before."""
    limit: Limit | None = None
    """How many events at most."""


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

    def __init__(self, log: ReadsLog, documents: EventDocuments, limits: Limits, clock: Callable[[], datetime]) -> None:
        self._log = log
        self._documents = documents
        self._limits = limits
        self._clock = clock
        self._history_query = QueryReader(HistoryParameters)

    def operations(self) -> Iterator[Operation]:
        """History."""
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
            answers={200: Body({"application/json": HistoryPage}, "A page of the history.")},
            problems=(CustomerNotFound, MOMENT_IS_NOT_OVER, LOG_UNAVAILABLE),
        )

    async def _history(self, request: Request) -> Response:
        asked: HistoryParameters = self._history_query(request)
        limit = page_size(asked.limit, self._limits.page_size, self._limits.page_size_max)
        customer = await stream_named(request.values[0], CUSTOMER, self._log)
        position = await position_of(asked, self._log, self._clock())
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
        return Response(body)
