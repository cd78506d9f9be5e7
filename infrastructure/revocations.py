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
from pydantic import BaseModel, ConfigDict, Field

from infrastructure.erasures import JournalFile

Connection = psycopg.Connection[tuple[Any, ...]]

_ENDED: Final = (("credentials", "revoked_at"), ("principals", "retired_at"))
"""The tables of who may come in, and the columns that say since when no more."""


class Revocations(BaseModel):
    """Credentials that were revoked and principals that were retired, each with the moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    until: datetime
    """When the database was asked; what was revoked later is not here."""
    credentials: Mapping[UUID, datetime] = Field(default_factory=dict)
    principals: Mapping[UUID, datetime] = Field(default_factory=dict)

    @classmethod
    def of(cls, connection: Connection, schema: str) -> Self:
        """All revocations of a tenant, as its database says."""
        ((until,),) = connection.execute("SELECT clock_timestamp()").fetchall()
        ended: dict[str, dict[UUID, datetime]] = {
            table: dict(
                connection.execute(
                    sql.SQL("SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL").format(
                        column=sql.Identifier(column), table=sql.Identifier(schema, table)
                    )
                ).fetchall()
            )
            for table, column in _ENDED
        }
        return cls(until=until, credentials=ended["credentials"], principals=ended["principals"])

    def and_those_of(self, other: Self | None) -> Self:
        """Both together: none that was revoked once is good again."""
        if other is None:
            return self
        return type(self)(
            until=max(self.until, other.until),
            credentials={**self.credentials, **other.credentials},
            principals={**self.principals, **other.principals},
        )

    def repeat(self, connection: Connection, schema: str) -> int:
        """Revoke all of them again, in the transaction of the caller; how many were good until now."""
        changed = 0
        for (table, column), ended in zip(_ENDED, (self.credentials, self.principals), strict=True):
            statement = sql.SQL(
                "UPDATE {table} AS c SET {column} = u.at FROM unnest(%s::uuid[], %s::timestamptz[]) AS u(id, at) "
                "WHERE c.id = u.id AND c.{column} IS NULL"
            ).format(column=sql.Identifier(column), table=sql.Identifier(schema, table))
            changed += connection.execute(statement, [list(ended), list(ended.values())]).rowcount
        return changed


class RevocationJournal(JournalFile[Revocations]):
    """The file with the revocations of one tenant."""

    def __init__(self, folder: Path, tenant: UUID) -> None:
        super().__init__(folder / f"revocations-{tenant}.json", Revocations)
