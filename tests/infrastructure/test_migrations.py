"""Migrations: each once, in order, and never changed afterwards."""

from pathlib import Path

import psycopg
import pytest

from infrastructure.database import Databases
from infrastructure.migrations import (
    DatabaseIsNewer,
    MigrationChanged,
    MigrationsHaveGaps,
    migrate,
    migrations,
    pending,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The first migration of a made-up history that follows on the real ones."""
    for migration in migrations():
        (tmp_path / f"{migration.name}.sql").write_text(migration.statements)
    return tmp_path


def _next_file(folder: Path, statements: str) -> Path:
    path = folder / f"{len(list(folder.iterdir())) + 1:04}_made_up.sql"
    path.write_text(statements)
    return path


def _migrate(databases: Databases, folder: Path) -> tuple[str, ...]:
    with psycopg.connect(databases.operator, autocommit=True) as connection:
        return migrate(connection, "main", "main_read", folder, pause=lambda _: None)


def test_what_is_missing_is_applied_once_as_the_owner(databases: Databases, superuser: str, folder: Path) -> None:
    path = _next_file(folder, "CREATE TABLE {schema}.flour (kind text DEFAULT '{}'); -- {read_schema}")
    assert _migrate(databases, folder) == (path.stem,)
    assert _migrate(databases, folder) == ()
    with psycopg.connect(superuser) as connection:
        owner = connection.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'flour'").fetchone()
    assert owner == ("rapport_owner",)


def test_the_service_knows_whether_migrations_are_missing(databases: Databases, folder: Path) -> None:
    path = _next_file(folder, "SELECT 1")
    with psycopg.connect(databases.service) as connection:
        assert [migration.name for migration in pending(connection, "main", migrations(folder))] == [path.stem]
        assert list(pending(connection, "main", migrations())) == []


def test_a_schema_can_be_left_as_it_once_was(databases: Databases, folder: Path) -> None:
    first, second = _next_file(folder, "SELECT 1"), _next_file(folder, "SELECT 2")
    with psycopg.connect(databases.operator, autocommit=True) as connection:
        assert migrate(connection, "main", "main_read", folder, upto=len(migrations()) + 1) == (first.stem,)
    assert _migrate(databases, folder) == (second.stem,)


def test_a_migration_that_fails_leaves_nothing_behind(databases: Databases, folder: Path) -> None:
    path = _next_file(folder, "CREATE TABLE {schema}.flour (); SELECT 1 / 0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        _migrate(databases, folder)
    path.write_text("CREATE TABLE {schema}.flour ()")
    assert _migrate(databases, folder) == (path.stem,)


def test_an_applied_migration_must_not_change(databases: Databases, folder: Path) -> None:
    path = folder / "0001_log.sql"
    path.write_text(path.read_text() + "\n-- a word more\n")
    with pytest.raises(MigrationChanged, match="0001_log"):
        _migrate(databases, folder)


def test_a_database_of_a_newer_version_is_refused(databases: Databases, folder: Path) -> None:
    path = _next_file(folder, "SELECT 1")
    _migrate(databases, folder)
    path.unlink()
    with pytest.raises(DatabaseIsNewer, match=path.stem):
        _migrate(databases, folder)


def test_a_migration_waits_for_whoever_uses_the_table(databases: Databases, folder: Path, superuser: str) -> None:
    path = _next_file(folder, "ALTER TABLE {schema}.snapshots ADD COLUMN made_up int")
    with psycopg.connect(superuser) as user:
        user.execute("LOCK TABLE main.snapshots IN ACCESS SHARE MODE")
        with psycopg.connect(databases.operator, autocommit=True) as connection:
            # The user of the table goes during the pause after the first attempt.
            assert migrate(connection, "main", "main_read", folder, pause=lambda _: user.rollback()) == (path.stem,)


def test_a_table_that_nobody_lets_go_of_is_said_in_the_end(
    databases: Databases, folder: Path, superuser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.migrations.ATTEMPTS_MAX", 1)
    _next_file(folder, "ALTER TABLE {schema}.snapshots ADD COLUMN made_up int")
    with psycopg.connect(superuser) as user:
        user.execute("LOCK TABLE main.snapshots IN ACCESS SHARE MODE")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            _migrate(databases, folder)


@pytest.mark.parametrize("name", ["0003_gap.sql", "0001_twice.sql", "two.sql"])
def test_migrations_are_numbered_without_gaps(tmp_path: Path, name: str) -> None:
    (tmp_path / "0001_first.sql").write_text("SELECT 1")
    (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationsHaveGaps):
        migrations(tmp_path)
