"""Keys in Postgres: made and revoked by the operator, read by the service. Only their SHA-256 is stored."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from application.commands import Role
from application.keys import ApiKey, Principal, fingerprint, new_secret
from infrastructure.event_store import LogReader
from infrastructure.ids import new_id

_COLUMNS = "id, name, role, created_at, expires_at, revoked_at"


class ApiKeyNotFound(LookupError):  # noqa: N818 - it says what is the matter
    """There is no key with this id, or none of this name that is not revoked yet."""


class ApiKeys:
    """The keys of one tenant, for the operator. `schema` is the tenant's."""

    def __init__(self, operator: psycopg.Connection[Any], schema: str) -> None:
        self._connection = operator
        self._table = sql.Identifier(schema, "api_keys")

    def create(self, name: str, role: Role, *, valid_for: timedelta | None = None) -> tuple[str, ApiKey]:
        """Make a key. The secret that is returned is stored nowhere and cannot be shown again.

        `name` says whose it is; it is shown in lists and must not be personal.
        """
        secret = new_secret()
        statement = (
            "INSERT INTO {} (id, name, role, hash, expires_at) "
            "VALUES (%s, %s, %s, %s, clock_timestamp() + %s) RETURNING " + _COLUMNS
        )
        values = (new_id(), name, role, fingerprint(secret.encode()), valid_for)
        (key,) = self._committed(statement, values)
        return secret, key

    def all(self) -> list[ApiKey]:
        """Every key ever made, the oldest first."""
        statement = sql.SQL("SELECT " + _COLUMNS + " FROM {} ORDER BY created_at, id").format(self._table)
        return [_key(row) for row in self._connection.execute(statement).fetchall()]

    def revoke(self, key: UUID | str) -> ApiKey:
        """Revoke one key, by id or by name; a name has to be that of one key only. Raises `ApiKeyNotFound`.

        Running services stop to accept it within `AGE_SECONDS_MAX`. Revoking a revoked key by its id changes nothing.
        """
        condition = "id = %s" if isinstance(key, UUID) else "name = %s AND revoked_at IS NULL"
        statement = (
            "UPDATE {} SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE " + condition + " RETURNING "
        ) + _COLUMNS
        (revoked,) = self._committed(statement, (key,))
        return revoked

    def _committed(self, statement: str, values: tuple[object, ...]) -> list[ApiKey]:
        """The one key that a statement is about; it counts from now on, whatever the caller does next."""
        rows = self._connection.execute(sql.SQL(statement).format(self._table), values).fetchall()
        if len(rows) != 1:
            self._connection.rollback()
            raise ApiKeyNotFound
        self._connection.commit()
        return [_key(row) for row in rows]


class UsableKeys:
    """Loads the keys that can be used now, as the service; an `application.keys.Usable`."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader

    async def __call__(self) -> Mapping[bytes, Principal]:
        """See `Usable`."""
        rows = await self._reader.fetch(
            "SELECT hash, id, role FROM {schema}.api_keys "
            "WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp())",
            (),
        )
        return {bytes(mark): Principal(key_id, Role(role)) for mark, key_id, role in rows}


def _key(row: tuple[Any, ...]) -> ApiKey:
    key_id, name, role, created_at, expires_at, revoked_at = row
    times: tuple[datetime, datetime | None, datetime | None] = (created_at, expires_at, revoked_at)
    return ApiKey(key_id, name, Role(role), *times)
