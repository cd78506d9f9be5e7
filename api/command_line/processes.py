"""The processes that serve starts: the API, and the projector."""

import signal
import threading
from argparse import Namespace
from zoneinfo import ZoneInfo

import psycopg

from api import app
from api.command_line.tenants import key_file
from api.command_line.terminal import EXIT_REFUSED, CommandFailed, refused, settings_of
from api.logs import configure
from api.server import collect_rarely
from infrastructure.codec import Codec
from infrastructure.database import Databases
from infrastructure.encryption import KeyEncryptionKeyMissing
from infrastructure.event_types import EVENT_TYPES
from infrastructure.log_pages import PostgresLog, ReadingAhead
from infrastructure.projector import Projector
from infrastructure.server import databases_of
from infrastructure.settings import Settings
from infrastructure.supervised import Supervision
from infrastructure.tenant import Tenant, load_tenant
from projections import ALL


def run(given: Namespace) -> int:
    """Run one process until a signal tells it to stop."""
    settings = settings_of(given)
    with refused():
        try:
            return app.serve(settings) if given.process == "api-process" else _project(settings)
        except KeyEncryptionKeyMissing as missing:
            raise CommandFailed(str(missing), EXIT_REFUSED) from None


def make_projector(databases: Databases, tenant: Tenant) -> Projector:
    """The projector of a tenant, with all read models."""
    return Projector(
        conninfo=databases.projector,
        schema=tenant.read_schema,
        log=ReadingAhead(PostgresLog(databases.projector, tenant, Codec(EVENT_TYPES, tenant.id))),
        models=ALL,
        hash=tenant.hash,
        zone=ZoneInfo(tenant.time_zone),
    )


def _project(settings: Settings) -> int:
    configure(settings.log_level)
    stop = threading.Event()
    for order in (signal.SIGTERM, signal.SIGINT):
        signal.signal(order, lambda *_: stop.set())
    supervision = Supervision(settings.drain_seconds_max)
    databases = databases_of(settings)
    with psycopg.connect(databases.projector) as connection:
        tenant = load_tenant(connection, settings.tenant, key_file(settings))
    projector = make_projector(databases, tenant)
    collect_rarely()
    projector.run(stop, on_started=supervision.report_ready)
    return 0
