"""The server that the settings name: the embedded one of the data folder, or a Postgres of one's own."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from infrastructure.data_folder import DataFolder, DataFolderInUse
from infrastructure.database import LOGIN_ROLES, Databases, prepare, verify_settings
from infrastructure.embedded_postgres import EmbeddedPostgres, administrator_of
from infrastructure.passwords import load_passwords
from infrastructure.restore_mark import RestoreMark
from infrastructure.settings import Settings


def administrator_url(settings: Settings) -> str:
    """Where roles are made: what `RAPPORT_DATABASE_URL` says, or the superuser of the embedded server."""
    return settings.database_url or administrator_of(settings.data)


def databases_of(settings: Settings) -> Databases:
    """Where each role connects, on a server that has been prepared: what processes of a running service use."""
    return Databases.at(administrator_url(settings), load_passwords(settings.data, LOGIN_ROLES), settings)


def prepare_and_verify(settings: Settings) -> Databases:
    """Prepare the server, and refuse one that would lose what it has answered. Raises `StartRefused`."""
    RestoreMark(settings.data).require_finished()
    databases = prepare(administrator_url(settings), load_passwords(settings.data, LOGIN_ROLES), settings)
    with psycopg.connect(databases.service) as connection:
        verify_settings(connection)
    return databases


@contextmanager
def open_database(settings: Settings, holder: str) -> Iterator[Databases]:
    """The prepared database for a short program: the running service's, or started for as long as it is needed."""
    if settings.database_url is not None:
        yield prepare_and_verify(settings)
        return
    server = EmbeddedPostgres(settings.data)
    try:
        server.start(holder)
    except DataFolderInUse:
        yield databases_of(settings)
        return
    try:
        yield prepare_and_verify(settings)
    finally:
        server.stop()


@contextmanager
def alone(settings: Settings, holder: str) -> Iterator[str]:
    """The server for a program beside which no other Rapport may run: where roles are made.

    Raises `DataFolderInUse`.
    """
    if settings.database_url is not None:
        with DataFolder(settings.data) as folder:
            folder.open(holder)
            yield settings.database_url
        return
    server = EmbeddedPostgres(settings.data)
    server.start(holder)
    try:
        yield server.administrator()
    finally:
        server.stop()
