"""Migrations: the numbered SQL files beside this module, each applied once to a tenant's schema, in their order.

A file that has been applied is part of history: its checksum is stored with it, and the service refuses to start when
the file has changed, or when the database has been migrated by a newer Rapport.
"""

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from infrastructure.settings import StartRefused

FOLDER = Path(__file__).with_suffix("")
OWNER = "rapport_owner"

LOCK_TIMEOUT_MS = 1_000
"""A migration that waits for a lock makes everybody else wait behind it; it rather gives up and tries again."""
ATTEMPTS_MAX = 30
_PAUSE_SECONDS = 0.5

_FILE_NAME = re.compile(r"([0-9]{4})_[a-z0-9_]+\.sql")


class MigrationRefused(StartRefused):
    """The database cannot be brought to the version of this program."""


class MigrationChanged(MigrationRefused):
    """A migration that has been applied must stay as it was; a change is a new migration."""


class DatabaseIsNewer(MigrationRefused):
    """The database has been migrated by a newer version of Rapport than this one."""


class MigrationsHaveGaps(MigrationRefused):
    """The migration files must be numbered 0001, 0002 and so on, each number once."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, as it is on disk."""

    number: int
    name: str
    statements: str

    @property
    def checksum(self) -> bytes:
        """SHA-256 of the file, before any schema is put into it."""
        return hashlib.sha256(self.statements.encode()).digest()

    def for_schemas(self, schema: str, read_schema: str) -> bytes:
        """The statements for one tenant. Only these two placeholders are known; other braces stay."""
        return self.statements.replace("{schema}", schema).replace("{read_schema}", read_schema).encode()


def migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """All migrations in their order. Raises `MigrationsHaveGaps`."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        name = _FILE_NAME.fullmatch(path.name)
        if name is None:
            message = f"{path.name} is not named like 0001_what_it_does.sql"
            raise MigrationsHaveGaps(message)
        found.append(Migration(int(name[1]), path.stem, path.read_text(encoding="utf-8")))
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        message = f"The migrations in {folder} are numbered {numbers}, not 1 to {len(found)}"
        raise MigrationsHaveGaps(message)
    return tuple(found)


def pending(connection: psycopg.Connection, schema: str, known: Sequence[Migration]) -> Sequence[Migration]:
    """The migrations that this tenant still lacks. Raises `MigrationChanged` and `DatabaseIsNewer`."""
    table = sql.Identifier(schema, "migrations")
    if connection.execute("SELECT to_regclass(%s)", [table.as_string()]).fetchone() == (None,):
        return known
    applied = connection.execute(
        sql.SQL("SELECT number, name, checksum FROM {} ORDER BY number").format(table)
    ).fetchall()
    for number, name, checksum in applied:
        if number > len(known):
            message = f"The database has migration {name}, which this version of Rapport does not know: it is too old"
            raise DatabaseIsNewer(message)
        if known[number - 1].checksum != checksum:
            message = f"Migration {name} has been applied, and its file has changed since: {known[number - 1].name}.sql"
            raise MigrationChanged(message)
    return known[len(applied) :]


def migrate(  # noqa: PLR0913 - all but the first three are for tests and for a restore
    connection: psycopg.Connection,
    schema: str,
    read_schema: str,
    folder: Path = FOLDER,
    pause: Callable[[float], None] = time.sleep,
    *,
    upto: int | None = None,
) -> tuple[str, ...]:
    """Bring one tenant's schema up to date, as the owner of the log; the names of what was applied.

    The connection is in autocommit mode and may `SET ROLE rapport_owner`. Several programs may migrate at once: one
    does, the others wait for it. With `upto` the schema is left as this migration makes it.
    """
    known = migrations(folder)[:upto]
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
    try:
        _make_table(connection, sql.Identifier(schema, "migrations"))
        missing = pending(connection, schema, known)
        applied = [each for each in missing if _apply_patiently(connection, each, schema, read_schema, pause)]
    finally:
        connection.execute("RESET ROLE")
    return tuple(migration.name for migration in applied)


def _make_table(connection: psycopg.Connection, table: sql.Identifier) -> None:
    with suppress(psycopg.errors.UniqueViolation):  # another program has made it at the same moment
        connection.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (number integer PRIMARY KEY CHECK (number > 0), name text NOT NULL,"
                " checksum bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
            ).format(table)
        )


def _apply_patiently(
    connection: psycopg.Connection, migration: Migration, schema: str, read_schema: str, pause: Callable[[float], None]
) -> bool:
    for _ in range(ATTEMPTS_MAX - 1):
        try:
            return _apply(connection, migration, schema, read_schema)
        except psycopg.errors.LockNotAvailable:
            pause(_PAUSE_SECONDS)
    return _apply(connection, migration, schema, read_schema)


def _apply(connection: psycopg.Connection, migration: Migration, schema: str, read_schema: str) -> bool:
    """Whether it was still to be applied, and is now."""
    table = sql.Identifier(schema, "migrations")
    with connection.transaction():
        # One program after the other. Not by an advisory lock, which any role can take and keep.
        connection.execute("SET LOCAL lock_timeout = 0")
        connection.execute(sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(table))
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(LOCK_TIMEOUT_MS))
        if connection.execute(
            sql.SQL("SELECT 1 FROM {} WHERE number = %s").format(table), [migration.number]
        ).fetchone():
            return False
        connection.execute(migration.for_schemas(schema, read_schema))
        connection.execute(
            sql.SQL("INSERT INTO {} (number, name, checksum) VALUES (%s, %s, %s)").format(table),
            [migration.number, migration.name, migration.checksum],
        )
    return True
