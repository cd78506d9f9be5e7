"""`rapport status`: the log, and how far each read model is."""

import json
from argparse import Namespace

import psycopg
from psycopg import sql

from api.command_line.tenants import opened
from api.command_line.terminal import output, settings_of, table
from projections.read_model import BuildStatus, in_schema

_LAST = "SELECT position, recorded_at FROM {} ORDER BY position DESC LIMIT 1"


def run(given: Namespace) -> int:
    """Show the log and the read models; 1 if one of them has stopped."""
    with opened(settings_of(given), "rapport status") as (databases, operator, tenant):
        events = sql.Identifier(tenant.schema, "events")
        head, recorded_at = operator.execute(sql.SQL(_LAST).format(events)).fetchone() or (0, None)
        with psycopg.connect(databases.reader) as reader:
            rows = reader.execute(in_schema(BuildStatus.QUERY, tenant.read_schema))
            builds = [BuildStatus.of(row) for row in rows]
    if given.json:
        read_models = [_as_json(each, head) for each in builds]
        output().print_json(json.dumps({"tenant": tenant.schema, "position": head, "read_models": read_models}))
    else:
        last = f", the last one recorded {recorded_at:%Y-%m-%d %H:%M:%S}" if recorded_at else ""
        output().print(f"Tenant [bold]{tenant.schema}[/], reports in {tenant.reporting_currency}.")
        output().print(f"The log has {head:,} events{last}.\n")
        _print(builds, head)
    return 1 if any(each.state == "stopped" for each in builds) else 0


def _as_json(status: BuildStatus, head: int) -> dict[str, object]:
    return {
        "model": status.build.model,
        "version": status.build.version,
        "build": status.build.build,
        "state": status.state,
        "answers": status.serving,
        "current": status.current,
        "position": status.position,
        "lag": head - status.position,
        "error": status.error,
        "error_position": status.error_position,
    }


def _print(builds: list[BuildStatus], head: int) -> None:
    listed = table(
        "read model", "version", "state", "answers", "position", "lag", "error", right=("version", "position", "lag")
    )
    colours = {"live": "green", "catching_up": "yellow", "stopped": "bold red"}
    for each in builds:
        error = f"{each.error} at position {each.error_position}" if each.error else ""
        again = f" (build {each.build.build})" if each.build.build > 1 else ""
        listed.add_row(
            f"{each.build.model}{again}",
            str(each.build.version),
            f"[{colours[each.state]}]{each.state.replace('_', ' ')}[/]",
            "yes" if each.current else "when asked for" if each.serving else "no",
            f"{each.position:,}",
            f"{head - each.position:,}",
            error,
        )
    output().print(listed)
