"""The composition root: wires the layers into a service, from ports or from settings."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Protocol
from uuid import UUID

from api.authentication import Doorkeeper
from api.bulk import BulkRoute
from api.commands import CommandRoutes, Submits
from api.event_documents import EventDocuments
from api.events import EventRoutes, News
from api.health import Check, HealthRoutes
from api.log_reading import ReadsLog
from api.metrics import Counter, Gauge, Metrics
from api.openapi import Description
from api.operations import Operation, Router
from api.service import Limits, Service
from api.submissions import CommandForm, SubmissionMaker
from application import customers, products, sales_documents  # noqa: F401 - importing them registers their commands
from application.commands import AGGREGATES, COMMANDS
from application.keys import KeyRing, Usable


class Writes(Submits, Protocol):
    """The writer, with its beginning and its end."""

    @property
    def queue_length(self) -> int:
        """Commands that wait to be decided."""
        ...

    def start(self) -> None:
        """Begin."""
        ...

    async def stop(self) -> None:
        """Finish what was begun, and end."""
        ...


@asynccontextmanager
async def nothing() -> AsyncIterator[None]:
    """No resources."""
    yield


async def _nothing_to_measure() -> None:
    """Everything is measured as it happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the service is made of."""

    writer: Writes
    log: ReadsLog
    usable_keys: Usable
    event_classes: Mapping[str, type[Any]]
    """Today's class of each stored name."""
    new_id: Callable[[], UUID]
    metrics: Metrics
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    resources: Callable[[], AbstractAsyncContextManager[None]] = nothing
    """What is opened before the first request and closed after the last."""
    checks: Mapping[str, Check]
    """What has to work for requests to be served."""
    measure: Callable[[], Awaitable[None]] = _nothing_to_measure
    """Measures what the metrics show and nobody tells them."""


def create_app(ports: Ports, limits: Limits | None = None) -> Service:
    """The service over these ports."""
    limits = limits or Limits()
    news = News(ports.log)
    health = HealthRoutes(ports.checks, ports.metrics, ports.measure)
    description = describe(ports, limits, news, health)
    ports.metrics.add(
        Gauge("rapport_queue_commands", "Commands that wait to be decided.", lambda: {(): ports.writer.queue_length})
    )

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with ports.resources(), news.followed():
            ports.writer.start()
            try:
                yield
            finally:
                await ports.writer.stop()

    def stop_waiting() -> None:
        health.is_stopping = True
        news.stop()

    return Service(
        Router(description.operations),
        Doorkeeper(KeyRing(ports.usable_keys)),
        ports.metrics,
        limits=limits,
        lifespan=lifespan,
        on_stopping=stop_waiting,
    )


def describe(ports: Ports, limits: Limits, news: News, health: HealthRoutes) -> Description:
    """All operations, and what is to be said about them."""
    documents = EventDocuments(ports.event_classes)
    return Description(_operations(ports, limits, documents, news, health), documents, version("rapport"))


def _operations(
    ports: Ports, limits: Limits, documents: EventDocuments, news: News, health: HealthRoutes
) -> Iterator[Operation]:
    forms = {name: CommandForm.of(definition) for name, definition in COMMANDS.items()}
    make = SubmissionMaker(ports.new_id, ports.clock)
    lines = Counter("rapport_bulk_lines_total", "Lines of bulk requests, by what became of them.", ("outcome",))
    ports.metrics.add(lines)
    locations = {each.collection: f"/v1/{each.collection}/{{id}}/events" for each in AGGREGATES.values()}
    commands = CommandRoutes(
        forms,
        writer=ports.writer,
        log=ports.log,
        documents=documents,
        make=make,
        limits=limits,
        locations=locations,
    )
    bulk = BulkRoute(forms, writer=ports.writer, documents=documents, make=make, limits=limits, outcomes=lines)
    yield from commands.operations()
    yield bulk.operation()
    yield from EventRoutes(ports.log, documents, news, AGGREGATES.values(), limits).operations()
    yield from health.operations()
