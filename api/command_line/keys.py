"""`rapport keys`: who may use the service, and as what."""

from argparse import Namespace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from api.command_line.tenants import key_file, opened
from api.command_line.terminal import CommandFailed, messages, output, settings_of, table
from application.commands import Role
from application.keys import ApiKey
from infrastructure.api_keys import ApiKeyNotFound, ApiKeys
from infrastructure.revocations import RevocationJournal, Revocations


def run(given: Namespace) -> int:
    """Do what is asked with the keys of a tenant."""
    settings = settings_of(given)
    with opened(settings, "rapport keys") as (_, operator, tenant):
        keys = ApiKeys(operator, tenant.schema)
        match given.action:
            case "create":
                _create(keys, given)
            case "list":
                _list(keys)
            case "revoke":
                _revoke(keys, given.which)
                journal = RevocationJournal(key_file(settings).path.parent, tenant.id)
                journal.add(Revocations.of(operator, tenant.schema))
    return 0


def _create(keys: ApiKeys, given: Namespace) -> None:
    if given.days is not None and given.days < 1:
        message = "a key is good for at least one day"
        raise CommandFailed(message, 2)
    valid_for = timedelta(days=given.days) if given.days is not None else None
    secret, key = keys.create(given.name, Role(given.role), valid_for=valid_for)
    # The key alone on standard output, so that a script can take it from there.
    output().print(secret, soft_wrap=True)
    until = f" until {key.expires_at:%Y-%m-%d}" if key.expires_at else ""
    messages().print(f"This is the key of {key.name!r}, role {key.role}{until}. It is not shown again.", markup=False)


def _list(keys: ApiKeys) -> None:
    listed = table("id", "name", "role", "made", "good until", "state")
    for key in keys.all():
        until = f"{key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else "it is revoked"
        listed.add_row(str(key.id), key.name, key.role, f"{key.created_at:%Y-%m-%d %H:%M}", until, _state(key))
    output().print(listed)


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"[red]revoked {key.revoked_at:%Y-%m-%d %H:%M}[/]"
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        return "[yellow]expired[/]"
    return "[green]good[/]"


def _revoke(keys: ApiKeys, which: str) -> None:
    try:
        key: UUID | str = UUID(which)
    except ValueError:
        key = which
    try:
        revoked = keys.revoke(key)
    except ApiKeyNotFound:
        message = f"there is no key {which}, or several have that name; rapport keys list shows their ids"
        raise CommandFailed(message) from None
    output().print(f"{revoked.name!r} is revoked.", markup=False)
