"""Fixtures for the whole suite: a real Postgres for each session, and a fresh, migrated database for each test.

    def test_something(databases: Databases) -> None:
        with psycopg.connect(databases.service) as connection:
            ...  # tenant `main`, schemas `main` and `main_read`, nothing in them

* `databases`: connection strings of the roles, to a database that only this test sees. About 50 ms.
* `superuser`: connection string of the superuser, to the same database.
* `settings`: the settings that belong to it (data folder, tenant `main`, EUR, UTC).
* `make_databases`: `make_databases("branch")` gives a further database, for a tenant of that name; for tests that need
  two logs.
* `log_in_postgres`: an empty log, in a database that tests use one after the other. About 25 ms.
* `postgres`: the server itself. It is shared: a test that stops or breaks a server starts one of its own.

The server starts when the first test asks for it, once for each session and each worker of pytest-xdist.

* `real_data`: the folder with the real data, for tests that are skipped by name where there is none.
"""

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import NoReturn

import hypothesis
import psycopg
import pytest
from psycopg import sql

from infrastructure.database import LOGIN_ROLES, OPERATOR, Databases, prepare
from infrastructure.embedded_postgres import EmbeddedPostgres, make_database
from infrastructure.passwords import load_passwords
from infrastructure.settings import Settings
from tests.places import InPostgres, empty_log

ROOT = Path(__file__).parents[1]

# A slow machine is not a wrong answer.
hypothesis.settings.register_profile(
    "rapport", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("rapport")

MEMORY_BYTES = 256 * 1024**2
"""The server of the tests behaves as on a small machine."""

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """The embedded server, as the service starts it: every write is synchronous, nothing is switched off."""
    # Not below pytest's own folder: its path may be too long for a socket, and root's may be entered by nobody else.
    data = Path(tempfile.mkdtemp(prefix="rapport-tests-"))
    server = EmbeddedPostgres(data, memory_bytes=MEMORY_BYTES)
    server.start("the tests")
    yield server
    server.stop()
    shutil.rmtree(data)


@pytest.fixture(scope="session")
def prepared_template(postgres: EmbeddedPostgres) -> str:
    """Name of a database that `prepare` has prepared for the tenant `main`; each test gets a copy of it."""
    name = "template_main"
    make_database(postgres.administrator("postgres"), name)
    prepare(postgres.administrator(name), load_passwords(postgres.data, LOGIN_ROLES), Settings(data=postgres.data))
    return name


@pytest.fixture
def settings(postgres: EmbeddedPostgres) -> Settings:
    """The settings of the tenant whose database `databases` is."""
    return Settings(data=postgres.data)


@pytest.fixture
def own_database(postgres: EmbeddedPostgres, prepared_template: str) -> Iterator[str]:
    """Name of the database of this test."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres.administrator("postgres"), autocommit=True) as administrator:
        administrator.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(prepared_template)
            )
        )
        # Rights on the database itself are not copied with it.
        administrator.execute(
            sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(sql.Identifier(name), sql.Identifier(OPERATOR))
        )
        yield name
        administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def superuser(postgres: EmbeddedPostgres, own_database: str) -> str:
    """Connection string of the superuser to the database of this test."""
    return postgres.administrator(own_database)


@pytest.fixture
def databases(postgres: EmbeddedPostgres, own_database: str, settings: Settings) -> Databases:
    """Connection strings of the roles to the migrated database of this test, tenant `main`."""
    return Databases.at(postgres.administrator(own_database), load_passwords(postgres.data, LOGIN_ROLES), settings)


@pytest.fixture(scope="session")
def _shared_log(
    postgres: EmbeddedPostgres, prepared_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InPostgres]:
    """A database for all tests that only need a log; the next one empties it."""
    name, administrator = "shared", postgres.administrator("postgres")
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {prepared_template}".encode())
    passwords, settings = load_passwords(postgres.data, LOGIN_ROLES), Settings(data=postgres.data)
    databases = Databases.at(postgres.administrator(name), passwords, settings)
    yield InPostgres(databases, tmp_path_factory.mktemp("keys"))
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def log_in_postgres(postgres: EmbeddedPostgres, _shared_log: InPostgres) -> InPostgres:
    """An empty log in Postgres."""
    empty_log(postgres.administrator("shared"))
    return _shared_log


@pytest.fixture
def make_databases(postgres: EmbeddedPostgres) -> Iterator[Callable[[str], Databases]]:
    """Make further migrated databases, each for a tenant of one's choice."""
    made: list[str] = []

    def make(tenant: str) -> Databases:
        name = f"test_{next(_numbers)}"
        make_database(postgres.administrator("postgres"), name)
        made.append(name)
        settings = Settings(data=postgres.data, tenant=tenant)
        return prepare(postgres.administrator(name), load_passwords(postgres.data, LOGIN_ROLES), settings)

    yield make
    with psycopg.connect(postgres.administrator("postgres"), autocommit=True) as administrator:
        for name in made:
            administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def absent(what: str) -> NoReturn:
    """Skip a test whose surroundings are missing, by name; where CI has them, their absence is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI must not skip this test", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data, which is never committed: RAPPORT_REAL_DATA, or beside the checkout."""
    folder = Path(os.environ.get("RAPPORT_REAL_DATA") or ROOT.parent / "shared" / "data").absolute()
    if not folder.is_dir():
        absent(f"there is no real data in {folder}")
    return folder


LONG = (ROOT / "tests" / "chaos", ROOT / "tests" / "real_data")
"""What takes minutes runs first: begun last, it would leave the other processes without work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long tests first, and mark what reads the real data, so that `-m "not real_data"` leaves it out."""
    items.sort(key=lambda item: not any(folder in item.path.parents for folder in LONG))
    for item in items:
        if isinstance(item, pytest.Function) and "real_data" in item.fixturenames:
            item.add_marker("real_data")


@pytest.fixture
def collector() -> Iterator[None]:
    """The garbage collector, which a test may change, or what it runs."""
    usual = gc.get_threshold()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*usual)
