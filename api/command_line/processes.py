"""The processes that serve starts: the API, and the projector."""

from infrastructure.codec import Codec
from infrastructure.database import Databases
from infrastructure.event_types import EVENT_TYPES
from infrastructure.log_pages import PostgresLog
from infrastructure.projector import Projector
from infrastructure.tenant import Tenant
from projections import ALL


def make_projector(databases: Databases, tenant: Tenant) -> Projector:
    """The projector of a tenant, with all read models."""
    return Projector(
        conninfo=databases.projector,
        schema=tenant.read_schema,
        log=PostgresLog(databases.projector, tenant, Codec(EVENT_TYPES, tenant.id)),
        models=ALL,
        hash=tenant.hash,
    )
