"""Principals and their credentials in Postgres: made and revoked by the operator, read by the service.

Of a credential only its SHA-256 is stored.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from application.commands import Role
from application.keys import Credential, Principal, fingerprint, new_secret
from infrastructure.event_store import LogReader
from infrastructure.ids import new_id

_ENDS_AT = "least(c.expires_at, c.created_at + make_interval(days => %(days_max)s))"
"""A credential ends when it says so, and no later than the setting allows, also one that was made before it."""
_COLUMNS = f"c.id, p.id, p.name, p.role, c.created_at, {_ENDS_AT}, coalesce(c.revoked_at, p.retired_at), c.last_used_at"


class CredentialNotFound(LookupError):  # noqa: N818 - it says what is the matter
    """There is no credential or principal with this id, and no principal in force with this name."""


class PrincipalNameIsTaken(Exception):  # noqa: N818 - it says what is the matter
    """Another principal in force has this name; it may be given one more credential."""


class CredentialLivesTooLong(Exception):  # noqa: N818 - it says what is the matter
    """A credential was asked for that is good for longer than the setting `credential_days_max` allows."""


class Principals:
    """The principals of one tenant and their credentials, for the operator. `schema` is the tenant's."""

    def __init__(self, operator: psycopg.Connection[Any], schema: str, *, days_max: int | None = None) -> None:
        """`days_max` is the setting `credential_days_max`."""
        self._connection = operator
        self._days_max = days_max
        self._tables = {
            "principals": sql.Identifier(schema, "principals"),
            "credentials": sql.Identifier(schema, "credentials"),
        }

    def create(self, name: str, role: Role, *, valid_for: timedelta | None = None) -> tuple[str, Credential]:
        """Make a principal with a first credential, whose secret is stored nowhere and cannot be shown again.

        `name` says who it is; it is shown in lists and must not be personal. Raises `PrincipalNameIsTaken` and
        `CredentialLivesTooLong`.
        """
        principal = new_id()
        try:
            self._execute(
                "INSERT INTO {principals} (id, name, role) VALUES (%(id)s, %(name)s, %(role)s)",
                {"id": principal, "name": name, "role": role},
            )
        except psycopg.errors.UniqueViolation as error:
            self._connection.rollback()
            raise PrincipalNameIsTaken from error
        return self._issue(principal, valid_for)

    def add(self, principal: UUID | str, *, valid_for: timedelta | None = None) -> tuple[str, Credential]:
        """Make one more credential for a principal in force, by id or name; the others stay good.

        Raises `CredentialNotFound` and `CredentialLivesTooLong`.
        """
        condition = "id = %(which)s" if isinstance(principal, UUID) else "name = %(which)s"
        rows = self._execute(
            # Locked, so that it is not retired meanwhile.
            f"SELECT id FROM {{principals}} WHERE {condition} AND retired_at IS NULL FOR SHARE",
            {"which": principal},
        )
        if not rows:
            self._connection.rollback()
            raise CredentialNotFound
        return self._issue(rows[0][0], valid_for)

    def all(self) -> list[Credential]:
        """Every credential ever made, the oldest first."""
        return self._listed("")

    def revoke(self, which: UUID | str) -> list[Credential]:
        """Revoke one credential by its id; or retire a principal, by id or name, with all of its credentials.

        Running services stop to accept them within `AGE_SECONDS_MAX`. The name of a retired principal is free again.
        Revoking again by the id changes nothing. Returns the credentials that are meant. Raises `CredentialNotFound`.
        """
        if isinstance(which, UUID):
            revoked = self._execute(
                "UPDATE {credentials} SET revoked_at = coalesce(revoked_at, clock_timestamp()) "
                "WHERE id = %(which)s RETURNING id",
                {"which": which},
            )
            condition = "c.id = %(which)s" if revoked else "p.id = %(which)s"
        else:
            revoked, condition = [], "p.name = %(which)s AND p.retired_at IS NULL"
        meant = self._listed(f"WHERE {condition}", which=which)
        if not meant:
            self._connection.rollback()
            raise CredentialNotFound
        if not revoked:
            self._retire(meant[0].principal_id)
            meant = self._listed("WHERE c.id = ANY(%(ids)s)", ids=[each.id for each in meant])
        self._connection.commit()
        return meant

    def _retire(self, principal: UUID) -> None:
        for table, column, owner in (("principals", "retired_at", "id"), ("credentials", "revoked_at", "principal_id")):
            self._execute(
                f"UPDATE {{{table}}} SET {column} = coalesce({column}, clock_timestamp()) WHERE {owner} = %(id)s",
                {"id": principal},
            )

    def _issue(self, principal: UUID, valid_for: timedelta | None) -> tuple[str, Credential]:
        """Make a credential; it counts from now on, whatever the caller does next."""
        if self._days_max is not None and valid_for is not None and valid_for > timedelta(days=self._days_max):
            self._connection.rollback()
            raise CredentialLivesTooLong
        secret, credential = new_secret(), new_id()
        self._execute(
            "INSERT INTO {credentials} (id, principal_id, hash, expires_at) "
            "VALUES (%(id)s, %(principal)s, %(hash)s, clock_timestamp() + %(valid_for)s)",
            {"id": credential, "principal": principal, "hash": fingerprint(secret.encode()), "valid_for": valid_for},
        )
        (made,) = self._listed("WHERE c.id = %(which)s", which=credential)
        self._connection.commit()
        return secret, made

    def _listed(self, condition: str, **values: object) -> list[Credential]:
        rows = self._execute(
            f"SELECT {_COLUMNS} FROM {{credentials}} c JOIN {{principals}} p ON p.id = c.principal_id {condition} "
            "ORDER BY c.created_at, c.id",
            {"days_max": self._days_max, **values},
        )
        return [Credential(key, principal, name, Role(role), *times) for key, principal, name, role, *times in rows]

    def _execute(self, statement: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(sql.SQL(statement).format(**self._tables), values)
        return cursor.fetchall() if cursor.description else []


class StoredCredentials:
    """The credentials as the service knows them; an `application.keys.Credentials`."""

    def __init__(self, reader: LogReader, *, days_max: int | None = None) -> None:
        """`days_max` is the setting `credential_days_max`."""
        self._reader = reader
        self._days_max = days_max

    async def usable(self) -> Mapping[bytes, Principal]:
        """See `Credentials.usable`."""
        rows = await self._reader.fetch(
            "SELECT c.hash, p.id, p.role, c.id "
            "FROM {schema}.credentials c JOIN {schema}.principals p ON p.id = c.principal_id "
            "WHERE c.revoked_at IS NULL AND p.retired_at IS NULL "
            f"AND coalesce({_ENDS_AT} > clock_timestamp(), true)",
            {"days_max": self._days_max},
        )
        return {bytes(mark): Principal(who, Role(role), credential) for mark, who, role, credential in rows}

    async def note_used(self, credentials: Sequence[UUID]) -> None:
        """See `Credentials.note_used`."""
        await self._reader.fetch("SELECT {schema}.note_credentials_used(%s)", (list(credentials),))
