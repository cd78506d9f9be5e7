"""The server that the settings name."""

import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from infrastructure.database import CommitsAreNotDurable, Databases
from infrastructure.embedded_postgres import EmbeddedPostgres, server_processes
from infrastructure.passwords import passwords_file
from infrastructure.server import databases_of, open_database, prepare_and_verify
from infrastructure.settings import Settings


@pytest.fixture
def own(data: Path, settings: Settings, superuser: str) -> Settings:
    """Settings that name the database of this test as a Postgres of one's own."""
    passwords_file(data).parent.mkdir(mode=0o700)
    shutil.copy2(passwords_file(settings.data), passwords_file(data))
    return Settings(data=data, database_url=superuser)


def _user(databases: Databases) -> object:
    with psycopg.connect(databases.reader) as connection:
        return connection.execute("SELECT current_user").fetchone()


def test_a_short_program_starts_the_database_and_stops_it_again(data: Path) -> None:
    with open_database(Settings(data=data), "rapport keys") as databases:
        assert _user(databases) == ("rapport_reader",)
    assert list(server_processes(data / "postgres")) == []


def test_a_short_program_uses_the_server_that_runs(data: Path, make_server: Callable[[], EmbeddedPostgres]) -> None:
    server = make_server()
    server.start("rapport serve")
    prepared = prepare_and_verify(Settings(data=data))
    with open_database(Settings(data=data), "rapport keys") as databases:
        assert databases == prepared == databases_of(Settings(data=data))
        assert _user(databases) == ("rapport_reader",)
    assert server.pid is not None


def test_a_short_program_uses_a_server_of_ones_own(own: Settings) -> None:
    with open_database(own, "rapport keys") as databases:
        assert _user(databases) == ("rapport_reader",)
    assert not (own.data / "postgres").exists()


def test_an_unsafe_server_is_refused_as_the_service_sees_it(own: Settings, superuser: str) -> None:
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("ALTER ROLE rapport_service SET synchronous_commit = off")
        try:
            with pytest.raises(CommitsAreNotDurable):
                prepare_and_verify(own)
        finally:
            connection.execute("ALTER ROLE rapport_service RESET synchronous_commit")
