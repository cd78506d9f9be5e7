"""Everything that a running service has written down or said, place by place, as bytes to be searched."""

import gzip
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
from psycopg import sql

from infrastructure.embedded_postgres import administrator_of

DATA, WAL, SERVER_LOG, SECRETS = (
    "files of the database",
    "write-ahead log",
    "log of the server",
    "rest of the data folder",
)
LOG_TABLES, READ_MODELS = "tables of the log", "tables of the read models"


def see_through_everything(data: Path) -> None:
    """Have the server pack nothing and log every statement: what is not found because it is packed proves nothing."""
    with psycopg.connect(administrator_of(data), autocommit=True) as superuser:
        for setting in ("wal_compression = off", "log_statement = 'all'", "log_min_messages = debug1"):
            superuser.execute(f"ALTER DATABASE rapport SET {setting}".encode())
        packing = superuser.execute(
            "SELECT nspname, relname, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid "
            "JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('main', 'main_read') AND relkind = 'r' "
            "AND attnum > 0 AND attstorage IN ('x', 'm')"
        ).fetchall()
        for schema, table, column in packing:
            statement = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET STORAGE EXTERNAL")
            superuser.execute(statement.format(sql.Identifier(schema, table), sql.Identifier(column)))
        # Whoever is connected is so with the settings from before.
        superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'rapport_%' "
            "AND pid <> pg_backend_pid()"
        )


def write_all_down(data: Path) -> None:
    """Have the server write to its files what is in memory, with statistics of every column."""
    with psycopg.connect(administrator_of(data), autocommit=True) as superuser:
        superuser.execute("ANALYZE")
        superuser.execute("CHECKPOINT")


def files_of(data: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of the data folder, with the place that it belongs to."""
    for path in data.rglob("*"):
        with suppress(FileNotFoundError):  # the server goes on working
            if path.is_file():
                yield _place(path.relative_to(data)), path.read_bytes()


def _place(path: Path) -> str:
    if "pg_wal" in path.parts:
        return WAL
    if path.parts[0] == "postgres":
        return DATA
    return SERVER_LOG if path.parts[0] == "logs" or path.name == "postgres-start.log" else SECRETS


def tables_of(data: Path) -> Iterator[tuple[str, bytes]]:
    """Every column of every table of the tenant, as text and as the server sends it in binary form."""
    with psycopg.connect(administrator_of(data)) as superuser:
        tables = superuser.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('main', 'main_read')"
        ).fetchall()
        for schema, table in tables:
            for form in ("text", "binary"):
                statement = sql.SQL("COPY {} TO STDOUT (FORMAT {})").format(
                    sql.Identifier(schema, table), sql.SQL(form)
                )
                with superuser.cursor() as cursor, cursor.copy(statement) as copy:
                    yield LOG_TABLES if schema == "main" else READ_MODELS, b"".join(map(bytes, copy))


def backup_in(folder: Path) -> Iterator[bytes]:
    """Every file of a backup, and what is packed in it."""
    for path in folder.iterdir():
        content = path.read_bytes()
        yield content
        if path.suffix == ".gz":
            yield gzip.decompress(content)
