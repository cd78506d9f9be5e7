"""The composition root: wires the layers into a service, from ports or from settings.

`create_app` makes the service over any ports; `open_service` makes them from settings, on Postgres; `serve` runs it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
from psycopg_pool import AsyncConnectionPool

from api.authentication import Doorkeeper
from api.bulk import BulkRoute
from api.commands import CommandRoutes, Submits
from api.customers import CustomerCards, CustomerRoutes, Opens
from api.documentation import DocumentationRoutes
from api.epochs import Epochs
from api.event_documents import EventDocuments
from api.events import EventRoutes, News
from api.health import Check, DiskIsFull, HealthRoutes
from api.lag import Lag
from api.log_reading import ReadsLog
from api.logs import configure as configure_logs
from api.metrics import Counter, Gauge, Metrics
from api.operations import Operation
from api.public_holidays import HolidayRoutes
from api.reports import ReportRoutes
from api.server import ServerLimits, collect_rarely, make_server
from api.service import Limits, Service
from api.submissions import SubmissionMaker, form_of
from application import customers, products, sales_documents, support_cases  # noqa: F401 - registers their commands
from application.commands import AGGREGATES, COMMANDS
from application.keys import Credentials, CredentialUses, KeyRing
from application.writer import Writer, WriterLimits
from infrastructure.codec import Codec
from infrastructure.database import Databases
from infrastructure.encryption import KeyEncryptionKeyMissing, KeyFile
from infrastructure.event_store import AsyncPool, LogReader, PostgresEventLog, StoreLimits
from infrastructure.event_types import EVENT_TYPES
from infrastructure.ids import new_id
from infrastructure.principals import StoredCredentials
from infrastructure.server import databases_of
from infrastructure.settings import Settings
from infrastructure.supervised import Supervision, listening_socket
from infrastructure.tenant import load_tenant
from projections import REPORTS
from projections.customer_summaries import KeptEvent, Show
from projections.read_model import Policy, ReadModels
from projections.reports import Reports


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
    credentials: Credentials
    event_classes: Mapping[str, type[Any]]
    """Today's class of each stored name."""
    new_id: Callable[[], UUID]
    metrics: Metrics
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    resources: Callable[[], AbstractAsyncContextManager[None]] = nothing
    """What is opened before the first request and closed after the last."""
    checks: Mapping[str, Check]
    """What has to work for requests to be served."""
    warnings: Mapping[str, Check] = field(default_factory=dict)
    """What is shown beside the checks, and does not stand in the way of requests."""
    measure: Callable[[], Awaitable[None]] = _nothing_to_measure
    """Measures what the metrics show and nobody tells them."""
    cards: CustomerCards
    reports: Reports


def create_app(ports: Ports, limits: Limits | None = None) -> Service:
    """The service over these ports, an application of FastAPI."""
    limits = limits or Limits()
    documents = EventDocuments(ports.event_classes)
    news, epochs = News(ports.log), Epochs(ports.log)
    uses = CredentialUses(ports.credentials)
    health = HealthRoutes(ports.checks, ports.metrics, ports.measure, ports.warnings)
    ports.metrics.add(
        Gauge("rapport_queue_commands", "Commands that wait to be decided.", lambda: {(): ports.writer.queue_length})
    )

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with ports.resources(), news.followed(), epochs.followed():
            ports.writer.start()
            try:
                yield
            finally:
                await ports.writer.stop()
                await uses.settled()

    def stop_waiting() -> None:
        health.is_stopping = True
        news.stop()

    return Service(
        _operations(ports, limits, documents, news, health, epochs=epochs),
        documents,
        Doorkeeper(KeyRing(ports.credentials), uses),
        ports.metrics,
        limits=limits,
        lifespan=lifespan,
        on_stopping=stop_waiting,
        also=epochs.header,
    )


def _operations(  # noqa: PLR0913 - what the operations share
    ports: Ports, limits: Limits, documents: EventDocuments, news: News, health: HealthRoutes, *, epochs: Epochs
) -> Iterator[Operation]:
    # In an order that does not depend on which module was imported first.
    definitions = sorted(COMMANDS.items(), key=lambda named: named[1].aggregate.collection)
    aggregates = sorted(AGGREGATES.values(), key=lambda aggregate: aggregate.collection)
    forms = {name: form_of(definition) for name, definition in definitions}
    make = SubmissionMaker(ports.new_id, ports.clock)
    lines = Counter("rapport_bulk_lines_total", "Lines of bulk requests, by what became of them.", ("outcome",))
    ports.metrics.add(lines)
    locations = {each.collection: f"/v1/{each.collection}/{{id}}/events" for each in aggregates}
    locations[customers.CUSTOMER.collection] = "/v1/customers/{id}"
    commands = CommandRoutes(
        forms,
        writer=ports.writer,
        log=ports.log,
        documents=documents,
        make=make,
        limits=limits,
        locations=locations,
        epochs=epochs,
    )
    bulk = BulkRoute(
        forms,
        writer=ports.writer,
        documents=documents,
        make=make,
        limits=limits,
        outcomes=lines,
        epochs=epochs,
    )
    yield from commands.operations()
    yield bulk.operation()
    yield from EventRoutes(ports.log, documents, news, aggregates, limits, epochs=epochs).operations()
    yield from CustomerRoutes(ports.cards, ports.log, documents, limits, ports.clock, epochs=epochs).operations()
    yield from ReportRoutes(ports.reports, ports.log, documents, limits, clock=ports.clock, epochs=epochs).operations()
    yield from HolidayRoutes().operations()
    yield from health.operations()
    yield from DocumentationRoutes().operations()


def limits_of(settings: Settings) -> Limits:
    """What the settings say about requests."""
    return Limits(
        request_bytes_max=settings.request_bytes_max,
        bulk_line_bytes_max=settings.bulk_line_bytes_max,
        bulk_lines_max=settings.bulk_lines_max,
        bulk_atomic_lines_max=settings.bulk_atomic_lines_max,
        page_size=settings.page_size,
        page_size_max=settings.page_size_max,
        wait_seconds_max=settings.wait_seconds_max,
    )


def open_service(settings: Settings, databases: Databases) -> Service:
    """The service on Postgres. Raises `KeyEncryptionKeyMissing`; connections are opened when it starts."""
    with psycopg.connect(databases.service) as connection:
        tenant = load_tenant(connection, settings.tenant, KeyFile(settings.data / "keys"))
    metrics = Metrics()
    pool = _pool(databases.service, settings.service_connections_max, settings)
    readers = _pool(databases.reader, settings.reader_connections_max, settings)
    store_limits = StoreLimits(statement_seconds_max=settings.service_statement_timeout_ms / 1000)
    log = PostgresEventLog(tenant, Codec(EVENT_TYPES, tenant.id), databases.service, pool, limits=store_limits)
    policy = Policy(tenant.time_zone, settings.agent_reports, tenant.reporting_currency)
    models = ReadModels(readers.connection, tenant.read_schema, policy)
    lag = Lag(log, models)
    metrics.add(*lag.gauges())
    writer = Writer(
        log,
        new_id=new_id,
        reporting_currency=tenant.reporting_currency,
        limits=WriterLimits(
            batch_commands_max=settings.batch_commands_max,
            batch_events_max=settings.batch_events_max,
            queue_commands_max=settings.queue_commands_max,
            cached_streams_max=settings.cached_streams_max,
            cached_claims_max=settings.cached_claims_max,
            future_tolerance=timedelta(seconds=settings.occurred_at_future_seconds_max),
        ),
        observe=metrics.observe_append,
    )

    async def log_answers() -> None:
        await log.head()

    async def disk_has_room() -> None:
        if log.disk_is_full:
            raise DiskIsFull

    async def read_models_answer() -> None:
        await models.status()

    async def key_file_fits() -> None:
        if not await log.prove_keys():
            raise KeyEncryptionKeyMissing

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        async with pool, readers:
            try:
                yield
            finally:
                await log.close()

    ports = Ports(
        writer=writer,
        log=log,
        credentials=StoredCredentials(log, days_max=settings.credential_days_max),
        event_classes={each.name: each.event for each in EVENT_TYPES.types},
        new_id=new_id,
        metrics=metrics,
        resources=resources,
        checks={"log": log_answers, "read_models": read_models_answer, "disk": disk_has_room},
        warnings={"key_file": key_file_fits},
        measure=lag.measure,
        cards=CustomerCards(models, _opens(log), tenant.hash, ZoneInfo(tenant.time_zone)),
        reports=Reports(models, REPORTS),
    )
    return create_app(ports, limits_of(settings))


def _opens(log: LogReader) -> Opens:
    """Decrypts what a read model keeps of events, with the keys as they are now."""
    codec = log.codec

    async def opens(events: Sequence[KeptEvent]) -> Show:
        keys = await log.reading_keys(codec.references(each.body for each in events))

        def show(each: KeptEvent) -> Mapping[str, object]:
            place = codec.place(each.stream_id, each.version)
            event = codec.decode(each.type, each.schema_version, each.body, place, keys.get)
            return codec.of(event).plain(event)

        return show

    return opens


def _pool(conninfo: str, size_max: int, settings: Settings) -> AsyncPool:
    return AsyncConnectionPool(
        conninfo,
        min_size=1,
        max_size=size_max,
        timeout=settings.connection_timeout_ms / 1000,
        # Left alone, a pool that finds no server waits twice as long each time, for minutes in the end; one that gives
        # up tries again with the next request.
        reconnect_timeout=settings.connection_timeout_ms / 1000,
        kwargs={"autocommit": True},
        open=False,
    )


def serve(settings: Settings) -> int:
    """Run one API process until a signal tells it to stop; the exit status.

    It listens on the socket that its supervisor shares, or on the address in the settings.
    """
    configure_logs(settings.log_level)
    supervision = Supervision(settings.drain_seconds_max)
    listener = listening_socket(settings)
    service = open_service(settings, databases_of(settings))
    limits = ServerLimits(header_bytes_max=settings.header_bytes_max, drain_seconds_max=settings.drain_seconds_max)
    collect_rarely()
    make_server(service, limits, supervision.report_ready, supervision.beat).run(sockets=[listener])
    return 0
