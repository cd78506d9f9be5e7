"""No wrapped key, keyed hash or ciphertext is in what the planner knows of a table: no erasure would come there."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from infrastructure.database import LOGIN_ROLES, Databases, prepare
from infrastructure.ids import new_id
from infrastructure.passwords import load_passwords
from infrastructure.settings import Settings

TENANT = "branch"
ROWS = 40
BEFORE_IT_WAS_MENDED = 4
"""Up to this migration tables had statistics of every column."""
STATISTICS = ("pg_stats", "pg_statistic", "pg_stats_ext", "pg_stats_ext_exprs", "pg_statistic_ext_data")


@pytest.fixture
def tenant(settings: Settings) -> Settings:
    """A tenant of its own."""
    return settings.model_copy(update={"tenant": TENANT})


@pytest.fixture
def connection(superuser: str) -> Iterator[psycopg.Connection]:
    """As the superuser, who sees all statistics."""
    with psycopg.connect(superuser, autocommit=True) as connection:
        yield connection


def _columns_of_bytes(connection: psycopg.Connection) -> list[tuple[str, str]]:
    return connection.execute(
        "SELECT relname, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relkind = 'r' "
        "AND relnamespace = %s::regnamespace AND atttypid = 'bytea'::regtype AND attnum > 0 AND NOT attisdropped "
        "AND relname <> 'migrations' ORDER BY 1, 2",
        [TENANT],
    ).fetchall()


def _fill(connection: psycopg.Connection) -> set[str]:
    """Put canaries into every column of bytes, most often the first; they as hexadecimal digits."""
    canaries = set()
    connection.execute("SET session_replication_role = replica")
    for table, column in _columns_of_bytes(connection):
        if table == "tenant":
            connection.execute(
                f"INSERT INTO {TENANT}.tenant (tenant_id, reporting_currency, time_zone, wrapped_hash_key) "
                "VALUES (gen_random_uuid(), 'EUR', 'UTC', decode(md5('tenant'), 'hex'))".encode()
            )
            continue
        for number in range(ROWS):
            value = f"{table}.{column}.{0 if number % 3 == 0 and not _is_key(table) else number}".encode()
            canaries.add(value.hex())
            _insert(connection, table, column, value)
    return canaries


def _is_key(table: str) -> bool:
    return table in {"api_keys", "claims", "retired_key_encryption_keys"}


def _insert(connection: psycopg.Connection, table: str, column: str, value: bytes) -> None:
    """One row, all other columns filled with anything."""
    rows = connection.execute(
        "SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
        "AND attnotnull AND NOT atthasdef AND attname <> %s",
        [f"{TENANT}.{table}", column],
    ).fetchall()
    anything: dict[str, object] = {"uuid": new_id(), "timestamp with time zone": "2026-04-01", "text": str(new_id())}
    numbers = connection.execute(
        sql.SQL("SELECT count(*) + 1 FROM {}").format(sql.Identifier(TENANT, table))
    ).fetchone()
    assert numbers is not None
    names = [column, *(name for name, _ in rows)]
    values: list[object] = [value]
    values += [anything.get(kind, numbers[0]) for _, kind in rows]
    connection.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(TENANT, table),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join([sql.Placeholder()] * len(names)),
        ),
        values,
    )


def _found(connection: psycopg.Connection, canaries: set[str], *, views: tuple[str, ...] = STATISTICS) -> set[str]:
    """The canaries in the statistics."""
    text = ""
    for view in views:
        with connection.cursor() as cursor, cursor.copy(f"COPY (SELECT * FROM {view}) TO STDOUT".encode()) as copy:
            text += b"".join(map(bytes, copy)).decode()
    return {canary for canary in canaries if canary in text}


def test_statistics_show_no_bytes_before_and_after_an_upgrade(
    databases: Databases, superuser: str, connection: psycopg.Connection, tenant: Settings
) -> None:
    prepare(superuser, load_passwords(tenant.data, LOGIN_ROLES), tenant, upto=BEFORE_IT_WAS_MENDED)
    canaries = _fill(connection)
    connection.execute("ANALYZE")
    assert len(_found(connection, canaries)) > len(canaries) / 2  # or the search finds nothing anyway
    tables = connection.execute(
        "SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' ORDER BY 1, 2"
    ).fetchall()

    prepare(superuser, load_passwords(tenant.data, LOGIN_ROLES), tenant, upto=BEFORE_IT_WAS_MENDED + 1)
    assert _found(connection, canaries) == set()
    connection.execute("ANALYZE")
    assert _found(connection, canaries) == set()
    for role in LOGIN_ROLES:
        with psycopg.connect(getattr(databases, role.removeprefix("rapport_"))) as other:
            assert _found(other, canaries, views=("pg_stats", "pg_stats_ext", "pg_stats_ext_exprs")) == set()
    assert (
        tables
        == connection.execute("SELECT relname, relfilenode FROM pg_class WHERE relkind = 'r' ORDER BY 1, 2").fetchall()
    ), "a table was rewritten"


def test_no_column_of_bytes_that_is_added_later_has_statistics(
    superuser: str, connection: psycopg.Connection, tenant: Settings
) -> None:
    prepare(superuser, load_passwords(tenant.data, LOGIN_ROLES), tenant)
    with_statistics = connection.execute(
        "SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid "
        "WHERE relkind = 'r' AND relnamespace = %s::regnamespace AND atttypid = 'bytea'::regtype AND attnum > 0 "
        "AND attstattarget IS DISTINCT FROM 0 AND relname <> 'migrations'",
        [TENANT],
    ).fetchall()
    assert with_statistics == []
    assert ("subject_keys", "wrapped") in _columns_of_bytes(connection)
