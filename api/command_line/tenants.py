"""The tenant that the settings name, as the operator meets it: found at the first start, and never made twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from api.command_line.terminal import EXIT_REFUSED, EXIT_UNAVAILABLE, CommandFailed, refused
from infrastructure.database import Databases
from infrastructure.encryption import KeyEncryptionKeyMissing, KeyFile
from infrastructure.server import open_database
from infrastructure.settings import Settings
from infrastructure.tenant import Tenant, found_tenant

KEYS_FOLDER = "keys"
"""In the data folder; it holds the key-encryption keys, apart from the database."""

Operator = psycopg.Connection[tuple[Any, ...]]


def key_file(settings: Settings) -> KeyFile:
    """Where the key-encryption keys of a Rapport are."""
    return KeyFile(settings.data / KEYS_FOLDER)


def found(operator: Operator, settings: Settings) -> Tenant:
    """Make the tenant at the first start, or load it."""
    return found_tenant(
        operator,
        settings.tenant,
        key_file(settings),
        reporting_currency=settings.reporting_currency,
        time_zone=settings.time_zone,
    )


@contextmanager
def opened(settings: Settings, holder: str) -> Iterator[tuple[Databases, Operator, Tenant]]:
    """The database for a short command: that of the running service, or started for as long as the command runs."""
    try:
        with refused(), open_database(settings, holder) as databases, psycopg.connect(databases.operator) as operator:
            tenant = found(operator, settings)
            operator.commit()  # a command may take longer than a transaction may be idle
            yield databases, operator, tenant
    except KeyEncryptionKeyMissing as missing:
        raise CommandFailed(str(missing), EXIT_REFUSED) from None
    except psycopg.OperationalError as error:
        message = f"the database cannot be reached: {str(error).strip()}"
        raise CommandFailed(message, EXIT_UNAVAILABLE) from None
