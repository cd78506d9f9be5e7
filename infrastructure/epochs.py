"""The epochs of a log in Postgres."""

from typing import Any, Final

import psycopg
from psycopg import sql

from application.epochs import Epoch, EpochHistory

QUERY: Final = "SELECT id, first_position, begun_at, reason FROM {schema}.epochs ORDER BY number"


def epochs_of(connection: psycopg.Connection[Any], schema: str) -> EpochHistory:
    """All epochs of a tenant."""
    rows = connection.execute(sql.SQL(QUERY).format(schema=sql.Identifier(schema))).fetchall()
    return EpochHistory([Epoch(*row) for row in rows])
