"""`rapport epoch`: how far positions mean what they meant, after a database was restored by other means."""

from argparse import Namespace

import psycopg
from psycopg import sql

from api.command_line.tenants import opened
from api.command_line.terminal import CommandFailed, output, settings_of, table
from infrastructure.epochs import epochs_of


def run(given: Namespace) -> int:
    """Do what is asked for with the epochs of a tenant."""
    with opened(settings_of(given), "rapport epoch") as (_, operator, tenant):
        if given.action == "begin":
            _begin(operator, tenant.schema, given.after, given.reason)
        listed = table("epoch", "first position", "begun", "reason", right=("first position",))
        for each in epochs_of(operator, tenant.schema).epochs:
            listed.add_row(str(each.id), f"{each.first_position:,}", f"{each.begun_at:%Y-%m-%d %H:%M}", each.reason)
        output().print(listed)
    return 0


def _begin(operator: psycopg.Connection[tuple[object, ...]], schema: str, after: int, reason: str) -> None:
    try:
        operator.execute(
            sql.SQL("SELECT {}(%s::bigint, %s)").format(sql.Identifier(schema, "begin_epoch")), [after, reason]
        )
    except (psycopg.errors.InvalidParameterValue, psycopg.errors.NumericValueOutOfRange):
        message = f"the log has no position {after}"
        raise CommandFailed(message) from None
    operator.commit()
