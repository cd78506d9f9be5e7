"""`rapport verify-settings` and `rapport check`: whether everything is as it has to be."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import psycopg
from rich.markup import escape

from api.business_time_cases import NotACaseFile
from api.checks import CheckedCase, Verdict, check_business_time
from api.command_line.tenants import opened
from api.command_line.terminal import EXIT_NOT_UNDERSTOOD, EXIT_REFUSED, CommandFailed, output, settings_of, table
from api.timeline_files import NotATimelineFile
from api.timelines import check_timelines
from infrastructure.database import unsafe_settings
from infrastructure.key_rotation import unreadable_keys

_CHECKS: Final[Mapping[str, Callable[[bytes], Sequence[CheckedCase]]]] = {
    "business-time": check_business_time,
    "timelines": check_timelines,
}


def run(given: Namespace) -> int:
    """Check what is asked for."""
    return _settings(given) if given.what == "settings" else _cases(given)


def _settings(given: Namespace) -> int:
    settings = settings_of(given)
    listed = table("setting", "value")
    for name, value in settings.model_dump().items():
        # An address of a database holds a password.
        listed.add_row(f"RAPPORT_{name.upper()}", "(set)" if name == "database_url" and value else escape(str(value)))
    output().print(listed)
    with (
        opened(settings, "rapport verify-settings") as (databases, _, tenant),
        psycopg.connect(databases.service) as service,
        psycopg.connect(databases.privacy) as privacy,
    ):
        version = service.info.server_version // 10_000
        refusals = unsafe_settings(service)
        unreadable = list(unreadable_keys(privacy, tenant.schema, tenant.key_encryption_keys))
    for refusal in refusals:
        output().print(f"[bold red]refused:[/] {escape(str(refusal))}")
    for kind, key_id in unreadable:
        whose = "person" if kind == "subject_keys" else "text"
        output().print(f"[bold red]unreadable:[/] no key-encryption key opens the key of the {whose} {key_id}")
    if refusals:
        return EXIT_REFUSED
    if unreadable:
        return 1
    output().print(f"[green]Postgres {version} is safe to write to, and the keys open the log.[/]")
    return 0


def _cases(given: Namespace) -> int:
    try:
        cases = _CHECKS[given.what](given.file.read_bytes())
    except OSError as error:
        message = f"{given.file} cannot be read: {error.strerror}"
        raise CommandFailed(message, EXIT_NOT_UNDERSTOOD) from None
    except (NotACaseFile, NotATimelineFile) as error:
        raise CommandFailed(str(error), EXIT_NOT_UNDERSTOOD) from None
    listed = table("case", "kind", "", "expected", "got", "remark")
    for case in cases:
        if given.all or case.verdict is not Verdict.HOLDS:
            cells = (case.id, case.kind, case.expected, case.got, case.remark)
            name, kind, expected, got, remark = (escape(cell) for cell in cells)
            listed.add_row(name, kind, _coloured(case), expected, got, remark)
    if listed.row_count:
        output().print(listed)
    counts = ", ".join(
        f"{sum(case.verdict is verdict for case in cases)} {verdict}"
        for verdict in Verdict
        if any(case.verdict is verdict for case in cases)
    )
    output().print(f"{len(cases)} cases: {counts}")
    return 0 if all(case.passed for case in cases) else 1


def _coloured(case: CheckedCase) -> str:
    return f"[{'green' if case.passed else 'bold red'}]{case.verdict}[/]"
