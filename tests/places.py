"""Places where a log can be: in memory, or in a Postgres database. Each can be opened by several processes at once."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from infrastructure.codec import Codec
from infrastructure.database import Databases
from infrastructure.encryption import KeyFile
from infrastructure.event_store import AsyncPool, PostgresEventLog, StoreLimits
from infrastructure.event_types import EVENT_TYPES
from infrastructure.tenant import Tenant, found_tenant
from tests.in_memory import InMemoryLog

AnyLog = InMemoryLog | PostgresEventLog


class Place(Protocol):
    """Where a log is."""

    def open(self) -> AbstractAsyncContextManager[AnyLog]:
        """The log, as one more process sees it."""
        ...

    def destroy_subject(self, subject: UUID) -> None:
        """Destroy the key of a subject, as the privacy role does."""
        ...

    def destroy_text(self, text: UUID) -> None:
        """Destroy the key of one free text, as the privacy role does."""
        ...


class InMemory:
    """One log, which all who open it share."""

    def __init__(self, log: InMemoryLog | None = None) -> None:
        self.log = log or InMemoryLog()
        self.destroy_subject = self.log.destroy_subject
        self.destroy_text = self.log.destroy_text

    def put_clock(self, moment: datetime) -> None:
        """Let the clock that the log goes by show this moment."""
        self.log.clock = lambda: moment

    @asynccontextmanager
    async def open(self) -> AsyncIterator[AnyLog]:
        yield self.log


class InPostgres:
    """A log in a database; whoever opens it has connections, memory and keys of its own."""

    def __init__(self, databases: Databases, keys: Path, schema: str = "main") -> None:
        self.databases = databases
        self.keys = keys
        with psycopg.connect(databases.operator) as operator:
            self.tenant: Tenant = found_tenant(
                operator, schema, KeyFile(keys), reporting_currency="EUR", time_zone="UTC"
            )

    @asynccontextmanager
    async def open(  # noqa: PLR0913 - what a test chooses it says by name
        self,
        *,
        limits: StoreLimits | None = None,
        appending: str | None = None,
        reading: str | None = None,
        connections_max: int = 4,
        connection_seconds_max: float = 5.0,
        kind: type[PostgresEventLog] = PostgresEventLog,
    ) -> AsyncIterator[PostgresEventLog]:
        """The log; `appending` and `reading` are other ways to the same database."""
        service = self.databases.service
        pool: AsyncPool = AsyncConnectionPool(
            reading or service,
            kwargs={"autocommit": True},
            min_size=1,
            max_size=connections_max,
            timeout=connection_seconds_max,
            open=False,
        )
        async with pool:
            codec = Codec(EVENT_TYPES, self.tenant.id)
            log = kind(self.tenant, codec, appending or service, pool, limits=limits)
            try:
                yield log
            finally:
                await log.close()

    @property
    def database(self) -> str:
        """The name of the database."""
        return str(conninfo_to_dict(self.databases.service)["dbname"])

    def destroy_subject(self, subject: UUID) -> None:
        self._destroy(f'SELECT "{self.tenant.schema}".destroy_subject(%s)', subject)

    def destroy_text(self, text: UUID) -> None:
        self._destroy(f'SELECT "{self.tenant.schema}".destroy_text(%s)', text)

    def _destroy(self, statement: str, key_id: UUID) -> None:
        with psycopg.connect(self.databases.privacy, autocommit=True) as privacy:
            privacy.execute(statement.encode(), [key_id])


def empty_log(superuser: str) -> None:
    """Empty the log of the tenant `main`, as nobody but the owner of the machine can: its guards are taken away.

    Keys that were retired stay so: whoever missed that wraps with them still.
    """
    emptied = ("events", "commands", "claims", "subject_keys", "text_keys", "snapshots")
    tables = ", ".join(f"main.{table}" for table in emptied)
    with psycopg.connect(superuser) as administrator:
        administrator.execute("ALTER TABLE main.events DISABLE TRIGGER USER")
        administrator.execute(f"TRUNCATE {tables}".encode())
        administrator.execute("UPDATE main.log_head SET told_until = '-infinity'")
        for trigger in ("no_change", "no_truncate"):
            administrator.execute(f"ALTER TABLE main.events ENABLE ALWAYS TRIGGER {trigger}".encode())
