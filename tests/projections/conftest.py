"""Read models for tests that only fold and ask: their tables are made once, and each test leaves them as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from infrastructure.database import LOGIN_ROLES, Databases
from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.passwords import load_passwords
from infrastructure.settings import Settings
from projections.customer_card_tables import CustomerCards
from projections.revenue_statistics import RevenueStatistics
from projections.support_response_times import SupportResponseTimes
from tests.projections.logs import Folded


@contextmanager
def folding_database(name: str, postgres: EmbeddedPostgres, template: str) -> Iterator[Databases]:
    """A database in which nothing is ever committed; tables of one name are in one database once."""
    administrator = postgres.administrator("postgres")
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
    passwords, settings = load_passwords(postgres.data, LOGIN_ROLES), Settings(data=postgres.data)
    yield Databases.at(postgres.administrator(name), passwords, settings)
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def folding_databases(postgres: EmbeddedPostgres, prepared_template: str) -> Iterator[Databases]:
    """A database for models that are folded alone."""
    with folding_database("folding", postgres, prepared_template) as databases:
        yield databases


@pytest.fixture(scope="session")
def _all_revenue(folding_databases: Databases) -> Iterator[Folded]:
    folded = Folded(folding_databases, RevenueStatistics())
    yield folded
    folded.close()


@pytest.fixture
def revenue(_all_revenue: Folded) -> Iterator[Folded]:
    """Revenue statistics of an empty log."""
    with _all_revenue.afresh():
        yield _all_revenue


@pytest.fixture(scope="session")
def _all_cards(postgres: EmbeddedPostgres, prepared_template: str) -> Iterator[Folded]:
    with folding_database("folding_cards", postgres, prepared_template) as databases:
        folded = Folded(databases, CustomerCards(), SupportResponseTimes())
        yield folded
        folded.close()


@pytest.fixture
def cards(_all_cards: Folded) -> Iterator[Folded]:
    """Customer cards of an empty log."""
    with _all_cards.afresh():
        yield _all_cards


@pytest.fixture(scope="session")
def _all_support(folding_databases: Databases) -> Iterator[Folded]:
    folded = Folded(folding_databases, SupportResponseTimes())
    yield folded
    folded.close()


@pytest.fixture
def support(_all_support: Folded) -> Iterator[Folded]:
    """Support response times of an empty log."""
    with _all_support.afresh():
        yield _all_support
