"""The journal of revocations: credentials that were revoked, kept beside that of erasures; none gets good again.

A backup holds credentials that are revoked later. Whoever restores it revokes them again, as the journal says. It is
written whenever one is revoked and whenever keys are saved; it holds ids and moments.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

import psycopg
from psycopg import sql
from pydantic import BaseModel, ConfigDict

from infrastructure.erasures import JournalFile

Connection = psycopg.Connection[tuple[Any, ...]]

CREDENTIALS: Final = "api_keys"
"""The table of what lets somebody in."""


class Revocations(BaseModel):
    """Credentials that were revoked, each with the moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    until: datetime
    """When the database was asked; what was revoked later is not here."""
    credentials: Mapping[UUID, datetime]

    @classmethod
    def of(cls, connection: Connection, schema: str) -> Self:
        """All revocations of a tenant, as its database says."""
        ((until,),) = connection.execute("SELECT clock_timestamp()").fetchall()
        revoked = connection.execute(
            sql.SQL("SELECT id, revoked_at FROM {} WHERE revoked_at IS NOT NULL").format(
                sql.Identifier(schema, CREDENTIALS)
            )
        ).fetchall()
        return cls(until=until, credentials=dict(revoked))

    def and_those_of(self, other: Self | None) -> Self:
        """Both together: none that was revoked once is good again."""
        if other is None:
            return self
        return type(self)(until=max(self.until, other.until), credentials={**self.credentials, **other.credentials})

    def repeat(self, connection: Connection, schema: str) -> int:
        """Revoke all of them again, in the transaction of the caller; how many were good until now."""
        statement = sql.SQL(
            "UPDATE {} AS c SET revoked_at = u.at FROM unnest(%s::uuid[], %s::timestamptz[]) AS u(id, at) "
            "WHERE c.id = u.id AND c.revoked_at IS NULL"
        ).format(sql.Identifier(schema, CREDENTIALS))
        return connection.execute(statement, [list(self.credentials), list(self.credentials.values())]).rowcount


class RevocationJournal(JournalFile[Revocations]):
    """The file with the revocations of one tenant."""

    def __init__(self, folder: Path, tenant: UUID) -> None:
        super().__init__(folder / f"revocations-{tenant}.json", Revocations)
