"""Roles, their rights, and the settings without which Rapport does not start."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infrastructure import database
from infrastructure.database import (
    LOGIN_ROLES,
    CommitsAreNotDurable,
    Databases,
    EncodingIsNotUtf8,
    FsyncIsOff,
    FullPageWritesAreOff,
    MayNotPrepare,
    RolesBelongToAnother,
    ServerIsTooOld,
    StringsAreNotStandard,
    TenantNameIsReserved,
    prepare,
    unsafe_settings,
    verify_settings,
)
from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.migrations import migrations
from infrastructure.passwords import load_passwords
from infrastructure.settings import Settings
from tests.infrastructure.waiting import answers, eventually

ROLES = ["operator", "service", "projector", "reader", "privacy", "backup"]


@pytest.mark.parametrize("role", ROLES)
def test_every_role_connects_with_its_own_password(databases: Databases, role: str) -> None:
    with psycopg.connect(getattr(databases, role)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (f"rapport_{role}",)


def test_connection_strings_are_not_shown(databases: Databases) -> None:
    assert repr(databases) == "Databases()"


def test_every_role_has_its_limits(databases: Databases, settings: Settings) -> None:
    with psycopg.connect(databases.service) as connection:
        shown: dict[str, str] = dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())
    assert shown["statement_timeout"] == str(settings.service_statement_timeout_ms)
    assert shown["lock_timeout"] == str(settings.lock_timeout_ms)
    assert shown["idle_in_transaction_session_timeout"] == str(settings.idle_in_transaction_timeout_ms)
    assert shown["client_connection_check_interval"] == "1000"
    assert (shown["jit"], shown["TimeZone"]) == ("off", "UTC")


def test_what_the_url_says_is_kept(settings: Settings) -> None:
    url = "postgresql://ada:secret@db.example:6543/crm?sslmode=verify-full&options=-c%20work_mem%3D64MB"
    passwords = dict.fromkeys(LOGIN_ROLES, "generated")
    given = conninfo_to_dict(Databases.at(url, passwords, settings).reader)
    assert (given["host"], given["port"], given["dbname"], given["sslmode"]) == (
        "db.example",
        "6543",
        "crm",
        "verify-full",
    )
    assert (given["user"], given["password"]) == ("rapport_reader", "generated")
    assert str(given["options"]).startswith("-c work_mem=64MB -c statement_timeout=")


@pytest.mark.parametrize("role", ROLES)
def test_no_role_writes_the_log_past_its_function(databases: Databases, role: str) -> None:
    refused = []
    statements = [
        "INSERT INTO main.events SELECT * FROM main.events",
        "UPDATE main.events SET actor = 'nobody'",
        "DELETE FROM main.events",
        "TRUNCATE main.events",
        "ALTER TABLE main.events DISABLE TRIGGER ALL",
        "DROP TABLE main.events",
        "SET session_replication_role = replica",
        "CREATE TABLE main.another ()",
    ]
    with psycopg.connect(getattr(databases, role), autocommit=True) as connection:
        for statement in statements:
            try:
                connection.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                refused.append(statement)
    assert refused == statements


def test_the_projector_owns_the_read_models_and_the_reader_reads_them(databases: Databases) -> None:
    with psycopg.connect(databases.projector) as projector:
        projector.execute("CREATE TABLE main_read.card_v1 (name text)")
    with psycopg.connect(databases.reader) as reader:
        assert reader.execute("SELECT * FROM main_read.card_v1").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("INSERT INTO main_read.card_v1 VALUES ('Ada')")


@pytest.mark.parametrize("role", ["service", "privacy", "backup"])
def test_others_do_not_see_the_read_models(databases: Databases, role: str) -> None:
    with psycopg.connect(databases.projector) as projector:
        projector.execute("CREATE TABLE main_read.card_v1 (name text)")
    with psycopg.connect(getattr(databases, role)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT * FROM main_read.card_v1")


def test_preparing_again_changes_nothing(databases: Databases, superuser: str, settings: Settings) -> None:
    def state() -> list[object]:
        with psycopg.connect(superuser) as connection:
            return [
                *connection.execute("SELECT oid, rolname, rolpassword FROM pg_authid ORDER BY oid"),
                *connection.execute("SELECT oid, nspname, nspacl::text FROM pg_namespace ORDER BY oid"),
                *connection.execute("SELECT number, applied_at FROM main.migrations ORDER BY number"),
            ]

    before = state()
    assert prepare(superuser, load_passwords(settings.data, LOGIN_ROLES), settings) == databases
    assert state() == before


def test_several_programs_prepare_at_once_whatever_advisory_locks_others_keep(
    databases: Databases, superuser: str, settings: Settings
) -> None:
    branch = settings.model_copy(update={"tenant": "branch"})
    passwords = load_passwords(settings.data, LOGIN_ROLES)
    with psycopg.connect(databases.reader) as keeping, ThreadPoolExecutor(4) as pool:
        keeping.execute("SELECT pg_advisory_lock(7233541180001)")
        keeping.execute("SELECT pg_advisory_lock(hashtextextended('rapport migrations of branch', 0))")
        preparing = [pool.submit(prepare, superuser, passwords, branch) for _ in range(4)]
        prepared = [each.result(timeout=60) for each in preparing]
    assert prepared == [databases] * 4
    with psycopg.connect(databases.service) as service:
        numbers = [number for (number,) in service.execute("SELECT number FROM branch.migrations ORDER BY number")]
    assert numbers == [migration.number for migration in migrations()]


def test_tenants_have_schemas_of_their_own(databases: Databases, superuser: str, settings: Settings) -> None:
    branch = settings.model_copy(update={"tenant": "branch"})
    prepare(superuser, load_passwords(settings.data, LOGIN_ROLES), branch)
    with psycopg.connect(databases.service) as connection:
        for schema in ("main", "branch"):
            counted = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, "events"))
            assert connection.execute(counted).fetchone() == (0,)


def test_a_tenant_is_not_called_by_a_reserved_word(superuser: str, settings: Settings) -> None:
    with pytest.raises(TenantNameIsReserved, match="Found: select"):
        prepare(superuser, load_passwords(settings.data, LOGIN_ROLES), settings.model_copy(update={"tenant": "select"}))


def test_roles_of_another_rapport_are_left_alone(superuser: str, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(RolesBelongToAnother, match="other passwords than those in this data folder"):
        prepare(superuser, load_passwords(tmp_path, LOGIN_ROLES), settings)


def test_other_troubles_of_a_connection_are_told_as_they_are(
    databases: Databases, superuser: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = make_conninfo(databases.operator, host=str(settings.data / "nowhere"))
    wrong = Databases(*[nowhere] * len(ROLES))
    monkeypatch.setattr(database.Databases, "at", lambda *_: wrong)
    with pytest.raises(psycopg.OperationalError, match="nowhere"):
        prepare(superuser, load_passwords(settings.data, LOGIN_ROLES), settings)


def test_a_safe_server_is_not_refused(databases: Databases) -> None:
    with psycopg.connect(databases.service) as connection:
        verify_settings(connection)
        assert unsafe_settings(connection) == ()


def test_commits_that_are_not_durable_are_refused(databases: Databases) -> None:
    with psycopg.connect(databases.service) as connection:
        connection.execute("SET synchronous_commit = off")
        with pytest.raises(CommitsAreNotDurable, match="must run with synchronous_commit on"):
            verify_settings(connection)


def test_strings_that_are_not_standard_are_refused(databases: Databases) -> None:
    with psycopg.connect(databases.service) as connection:
        connection.execute("SET escape_string_warning = off")
        connection.execute("SET standard_conforming_strings = off")
        with pytest.raises(StringsAreNotStandard):
            verify_settings(connection)


def test_a_server_that_may_lose_pages_is_refused(make_server: Callable[[], EmbeddedPostgres]) -> None:
    server = make_server()
    server.start()
    with (server.data / "config" / "postgresql.conf").open("a") as configuration:
        configuration.write("fsync = off\nfull_page_writes = off\n")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGHUP)
    with psycopg.connect(server.administrator(), autocommit=True) as connection:
        eventually(lambda: connection.execute("SHOW full_page_writes").fetchone() == ("off",))
        assert {type(refusal) for refusal in unsafe_settings(connection)} == {FsyncIsOff, FullPageWritesAreOff}
        with pytest.raises(FsyncIsOff, match="a crash of the machine loses"):
            verify_settings(connection)


def test_another_encoding_is_refused(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.administrator("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LOCALE_PROVIDER libc LOCALE 'C'")
        try:
            latin = psycopg.connect(postgres.administrator("latin"))
            with latin, pytest.raises(EncodingIsNotUtf8, match="Found: LATIN1"):
                verify_settings(latin)
        finally:
            connection.execute("DROP DATABASE latin WITH (FORCE)")


def test_an_old_server_is_refused(superuser: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "VERSION_MIN", 99)
    with pytest.raises(ServerIsTooOld, match="Found: 18"):
        prepare(superuser, load_passwords(settings.data, LOGIN_ROLES), settings)
    with psycopg.connect(superuser) as connection, pytest.raises(ServerIsTooOld):
        verify_settings(connection)


def _make_administrator(superuser: psycopg.Connection, url: str) -> str:
    """A role that may create roles and owns a database, and is nothing more."""
    superuser.execute("CREATE ROLE crm_admin LOGIN CREATEROLE PASSWORD 'administrator'")
    superuser.execute("CREATE DATABASE crm OWNER crm_admin")
    return make_conninfo(url, user="crm_admin", password="administrator", dbname="crm")


def _prepare_and_use(administrator: str, data: Path) -> None:
    settings = Settings(data=data, database_url=administrator)
    passwords = load_passwords(data, LOGIN_ROLES)
    databases = prepare(administrator, passwords, settings)
    assert prepare(administrator, passwords, settings) == databases
    with psycopg.connect(databases.service) as service:
        verify_settings(service)
        assert service.execute("SELECT main.position_at(now() - interval '1 hour')").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.execute("DELETE FROM main.events")
    with psycopg.connect(databases.projector) as projector:
        projector.execute("CREATE TABLE main_read.card_v1 ()")
    with psycopg.connect(databases.reader) as reader:
        assert reader.execute("SELECT * FROM main_read.card_v1").fetchall() == []


def test_the_newest_postgres_is_prepared_by_a_role_that_may_create_roles(
    make_server: Callable[[], EmbeddedPostgres],
) -> None:
    server = make_server()
    server.start()
    with (server.data / "config" / "pg_hba.conf").open("a") as admitted:
        admitted.write("local crm crm_admin scram-sha-256\n")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGHUP)
    with psycopg.connect(server.administrator("postgres"), autocommit=True) as superuser:
        administrator = _make_administrator(superuser, server.administrator())
    eventually(lambda: answers(administrator))
    _prepare_and_use(administrator, server.data)


@pytest.fixture
def administrator(debian_postgres: str) -> Iterator[str]:
    """Such a role on a Debian Postgres 15."""
    with psycopg.connect(debian_postgres, dbname="postgres", autocommit=True) as superuser:
        yield _make_administrator(superuser, debian_postgres)
        superuser.execute("DROP DATABASE crm WITH (FORCE)")
        for role in ("rapport_owner", *LOGIN_ROLES, "crm_admin"):
            superuser.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.mark.debian_postgres
def test_a_postgres_of_ones_own_is_prepared_by_a_role_that_may_create_roles(administrator: str, data: Path) -> None:
    with psycopg.connect(administrator) as connection:
        assert connection.info.server_version // 10_000 == 15
    _prepare_and_use(administrator, data)


@pytest.mark.debian_postgres
def test_a_role_that_may_not_create_roles_is_refused(administrator: str, debian_postgres: str, data: Path) -> None:
    with psycopg.connect(debian_postgres, dbname="postgres", autocommit=True) as superuser:
        superuser.execute("ALTER ROLE crm_admin NOCREATEROLE")
    with pytest.raises(MayNotPrepare, match="must be allowed to create roles"):
        prepare(administrator, load_passwords(data, LOGIN_ROLES), Settings(data=data, database_url=administrator))


@pytest.mark.debian_postgres
def test_a_role_that_does_not_own_the_database_is_refused(administrator: str, debian_postgres: str, data: Path) -> None:
    with psycopg.connect(debian_postgres, dbname="postgres", autocommit=True) as superuser:
        superuser.execute("ALTER DATABASE crm OWNER TO postgres")
    with pytest.raises(MayNotPrepare, match="must own the database"):
        prepare(administrator, load_passwords(data, LOGIN_ROLES), Settings(data=data, database_url=administrator))
