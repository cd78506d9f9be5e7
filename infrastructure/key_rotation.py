"""Exchanging the key-encryption key while commands come in.

1. A new key is put in front of the key file. Whoever runs sees that, wraps with it from now on, and still opens what
   the old one has wrapped.
2. Every wrapped key of every tenant is wrapped anew, batch by batch; appends come in between.
3. The old key is retired in the database: the log refuses what it has wrapped. A writer that encoded its batch before
   step 1 and comes now encodes it again.
4. What such writers stored between steps 2 and 3 is wrapped anew; nothing can follow.
5. The old key is taken out of the key file.

A rotation that was killed at any moment is gone on with by the next one: a key file with several keys says that it is
not over.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from infrastructure.encryption import (
    FINGERPRINT_BYTES,
    FollowedKeys,
    KeyEncryptionKeyMissing,
    KeyEncryptionKeys,
    KeyFile,
)
from infrastructure.migrations import OWNER
from infrastructure.tenant import HASH_KEY_OWNER

BATCH_KEYS_MAX = 500
"""Keys wrapped anew in one transaction: the log's head is locked for some milliseconds, as by an append."""

Connection = psycopg.Connection[tuple[Any, ...]]
Progress = Callable[[int, int], None]
"""Is told how many keys have been wrapped anew, and how many there are to be."""

_LOCK = 7_233_541_180_002
"""Advisory lock, one for each database: two rotations at once would each retire the other's key."""
_KEY_TABLES = (("subject_keys", "subject_id"), ("text_keys", "text_id"))


class RotationIsUnderWay(Exception):  # noqa: N818 - it names what is the matter
    """Another program is exchanging the key-encryption key of this database: wait until it is done."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class TenantIsBehind(Exception):  # noqa: N818 - it names what is the matter
    """A tenant of the database has the form of an older Rapport, in which no key can be retired."""

    def __init__(self, tenant: str) -> None:
        super().__init__(
            f"The tenant {tenant} has not been migrated yet: start Rapport once with RAPPORT_TENANT={tenant}."
        )


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation has done."""

    went_on: bool
    """Whether it finished one that had been interrupted, and so made no new key."""
    rewrapped: int
    """Keys that were wrapped anew."""
    tenants: Sequence[str]


@dataclass(frozen=True, slots=True)
class WrappedKeys:
    """How many keys of one tenant are wrapped by one key-encryption key."""

    tenant: str
    fingerprint: bytes
    keys: int


def tenants_of(connection: Connection) -> Sequence[str]:
    """The schemas of all tenants of a database: they share the key file."""
    return _schemas_with("tenant", connection)


def _schemas_with(table: str, connection: Connection) -> Sequence[str]:
    rows = connection.execute(
        "SELECT nspname FROM pg_namespace JOIN pg_class ON relnamespace = pg_namespace.oid "
        "WHERE relname = %s AND relkind = 'r' AND nspowner = to_regrole(%s) ORDER BY nspname",
        [table, OWNER],
    )
    return [name for (name,) in rows]


def wrapped_keys(connection: Connection, schemas: Sequence[str]) -> Sequence[WrappedKeys]:
    """By which key-encryption keys the keys of these tenants are wrapped; destroyed ones are not counted."""
    found = []
    for schema in schemas:
        rows = connection.execute(
            sql.SQL(
                "SELECT substr(wrapped, 1, %s), count(*) FROM (SELECT wrapped FROM {subjects} UNION ALL "
                "SELECT wrapped FROM {texts} UNION ALL SELECT wrapped_hash_key FROM {tenant}) AS keys(wrapped) "
                "WHERE wrapped IS NOT NULL GROUP BY 1 ORDER BY 1"
            ).format(
                subjects=sql.Identifier(schema, "subject_keys"),
                texts=sql.Identifier(schema, "text_keys"),
                tenant=sql.Identifier(schema, "tenant"),
            ),
            [FINGERPRINT_BYTES],
        )
        found += [WrappedKeys(schema, fingerprint, keys) for fingerprint, keys in rows]
    return found


def unreadable_keys(connection: Connection, schema: str, keys: FollowedKeys) -> Iterator[tuple[str, UUID]]:
    """The people and texts of a tenant whose key no key-encryption key opens: table and id."""
    for table, column in _KEY_TABLES:
        statement = sql.SQL("SELECT {}, wrapped FROM {} WHERE wrapped IS NOT NULL").format(
            sql.Identifier(column), sql.Identifier(schema, table)
        )
        for key_id, wrapped in connection.cursor().stream(statement):
            try:
                keys.unwrap(wrapped, key_id.bytes)
            except KeyEncryptionKeyMissing:
                yield table, key_id


class Rotation:
    """One rotation, over all tenants of a database."""

    def __init__(self, privacy: Connection, file: KeyFile, report: Progress = lambda _done, _total: None) -> None:
        """`privacy` is a connection of that role in autocommit mode."""
        self._connection = privacy
        self._file = file
        self._report = report
        self._rewrapped = 0
        self._total = 0

    def run(self) -> Rotated:
        """Exchange the key, or go on where an earlier rotation was interrupted.

        Raises `RotationIsUnderWay` and `TenantIsBehind`, and `KeyEncryptionKeyMissing` if a key is wrapped by one that
        the file lacks.
        """
        with self._alone():
            self._require_migrated()
            went_on = len(self._file.load().fingerprints) > 1
            keys = self._file.load() if went_on else self._file.rotate()
            self._rewrap_all(keys)
            self._retire(keys.fingerprints[1:])
            while self._stale(keys):
                self._rewrap_all(keys)
            self._file.retire()
            return Rotated(went_on, self._rewrapped, tenants_of(self._connection))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._connection.execute("SET lock_timeout = 0")
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
        if row != (True,):
            raise RotationIsUnderWay
        try:
            yield
        finally:
            if not self._connection.closed:
                self._connection.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])

    def _require_migrated(self) -> None:
        """A tenant that was left out would lose its keys with the old key-encryption key."""
        migrated = _schemas_with("retired_key_encryption_keys", self._connection)
        for tenant in tenants_of(self._connection):
            if tenant not in migrated:
                raise TenantIsBehind(tenant)

    def _retire(self, fingerprints: Sequence[bytes]) -> None:
        for schema in tenants_of(self._connection):
            function = sql.Identifier(schema, "retire_key_encryption_keys")
            self._connection.execute(sql.SQL("SELECT {}(%s)").format(function), [list(fingerprints)])

    def _stale(self, keys: KeyEncryptionKeys) -> Sequence[WrappedKeys]:
        """What another key than the first has wrapped."""
        found = wrapped_keys(self._connection, tenants_of(self._connection))
        return [each for each in found if each.fingerprint != keys.fingerprints[0]]

    def _rewrap_all(self, keys: KeyEncryptionKeys) -> None:
        stale = self._stale(keys)
        self._total = self._rewrapped + sum(each.keys for each in stale)
        self._advance(0)
        for schema in sorted({each.tenant for each in stale}):
            self._rewrap_hash_key(schema, keys)
            for table, column in _KEY_TABLES:
                self._rewrap_table(schema, table, column, keys)

    def _rewrap_hash_key(self, schema: str, keys: KeyEncryptionKeys) -> None:
        tenant = sql.Identifier(schema, "tenant")
        rows = self._connection.execute(sql.SQL("SELECT wrapped_hash_key FROM {}").format(tenant)).fetchall()
        for (wrapped,) in rows:
            if not keys.is_current(wrapped):
                anew = keys.wrap(keys.unwrap(wrapped, HASH_KEY_OWNER), HASH_KEY_OWNER)
                function = sql.Identifier(schema, "rewrap_hash_key")
                self._connection.execute(sql.SQL("SELECT {}(%s, %s)").format(function), [wrapped, anew])
                self._advance(1)

    def _rewrap_table(self, schema: str, table: str, column: str, keys: KeyEncryptionKeys) -> None:
        batch = sql.SQL(
            "SELECT {column}, wrapped FROM {table} WHERE {column} > %s AND wrapped IS NOT NULL "
            "AND substr(wrapped, 1, %s) <> %s ORDER BY {column} LIMIT %s"
        ).format(column=sql.Identifier(column), table=sql.Identifier(schema, table))
        after = UUID(int=0)
        while rows := self._connection.execute(
            batch, [after, FINGERPRINT_BYTES, keys.fingerprints[0], BATCH_KEYS_MAX]
        ).fetchall():
            self._rewrap(schema, table, rows, keys)
            after = rows[-1][0]

    def _rewrap(self, schema: str, table: str, rows: Sequence[tuple[UUID, bytes]], keys: KeyEncryptionKeys) -> None:
        ids, old = [key_id for key_id, _ in rows], [wrapped for _, wrapped in rows]
        new = [keys.wrap(keys.unwrap(wrapped, key_id.bytes), key_id.bytes) for key_id, wrapped in rows]
        nothing: list[list[object]] = [[], [], []]
        changed = [ids, old, new]
        arguments = [*changed, *nothing] if table == "subject_keys" else [*nothing, *changed]
        self._connection.execute(
            sql.SQL("SELECT {}(%s::uuid[], %s::bytea[], %s::bytea[], %s::uuid[], %s::bytea[], %s::bytea[])").format(
                sql.Identifier(schema, "rewrap_keys")
            ),
            arguments,
        )
        self._advance(len(rows))

    def _advance(self, keys: int) -> None:
        self._rewrapped += keys
        self._report(self._rewrapped, max(self._rewrapped, self._total))
