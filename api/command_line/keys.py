"""`rapport keys`: who may use the service, and as what."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

from api.command_line.tenants import key_file, opened
from api.command_line.terminal import CommandFailed, messages, output, settings_of, table
from application.commands import Role
from application.keys import Credential
from infrastructure.principals import CredentialLivesTooLong, CredentialNotFound, PrincipalNameIsTaken, Principals
from infrastructure.revocations import RevocationJournal, Revocations

NAME_LETTERS_MAX = 100
"""A name is shown in lists; this is a whole sentence."""


def run(given: Namespace) -> int:
    """Do what is asked with the keys of a tenant."""
    settings = settings_of(given)
    with opened(settings, "rapport keys") as (_, operator, tenant), _explained(given, settings.credential_days_max):
        principals = Principals(operator, tenant.schema, days_max=settings.credential_days_max)
        match given.action:
            case "create":
                _show(*principals.create(_name(given), Role(given.role), valid_for=_valid_for(given)))
            case "add":
                _show(*principals.add(_id_or_name(given.which), valid_for=_valid_for(given)))
            case "list":
                _list(principals)
            case "revoke":
                _revoke(principals, given.which)
                journal = RevocationJournal(key_file(settings).path.parent, tenant.id)
                journal.add(Revocations.of(operator, tenant.schema))
    return 0


@contextmanager
def _explained(given: Namespace, days_max: int | None) -> Iterator[None]:
    """What cannot be done is said with what can."""
    try:
        yield
    except PrincipalNameIsTaken:
        message = f"{given.name!r} is the name of another principal; give that one a further key: rapport keys add NAME"
        raise CommandFailed(message) from None
    except CredentialLivesTooLong:
        message = f"RAPPORT_CREDENTIAL_DAYS_MAX allows {days_max} days at most"
        raise CommandFailed(message, 2) from None
    except CredentialNotFound:
        message = f"there is no key {given.which} and no principal in force of that name; see rapport keys list"
        raise CommandFailed(message) from None


def _name(given: Namespace) -> str:
    name: str = given.name.strip()
    if not 0 < len(name) <= NAME_LETTERS_MAX or not name.isprintable():
        message = f"a name has 1 to {NAME_LETTERS_MAX} letters that can be seen"
        raise CommandFailed(message, 2)
    return name


def _valid_for(given: Namespace) -> timedelta | None:
    if given.days is not None and not 1 <= given.days <= timedelta.max.days:
        message = "a key is good for at least one day"
        raise CommandFailed(message, 2)
    return timedelta(days=given.days) if given.days is not None else None


def _id_or_name(which: str) -> UUID | str:
    try:
        return UUID(which)
    except ValueError:
        return which


def _show(secret: str, key: Credential) -> None:
    # The key alone on standard output, so that a script can take it from there.
    output().print(secret, soft_wrap=True)
    until = f" until {key.expires_at:%Y-%m-%d}" if key.expires_at else ""
    messages().print(f"This is a key of {key.name!r}, role {key.role}{until}. It is not shown again.", markup=False)


def _list(principals: Principals) -> None:
    listed = table("key", "name", "role", "made", "last used", "state", "principal")
    for key in principals.all():
        listed.add_row(
            str(key.id),
            key.name,
            key.role,
            f"{key.created_at:%Y-%m-%d %H:%M}",
            f"{key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never",
            _state(key),
            str(key.principal_id),
        )
    output().print(listed)


def _state(key: Credential) -> str:
    if key.revoked_at is not None:
        return f"[red]revoked {key.revoked_at:%Y-%m-%d %H:%M}[/]"
    if key.expires_at is None:
        return "[green]good[/]"
    if key.expires_at <= datetime.now(UTC):
        return f"[yellow]expired {key.expires_at:%Y-%m-%d %H:%M}[/]"
    return f"[green]good until {key.expires_at:%Y-%m-%d %H:%M}[/]"


def _revoke(principals: Principals, which: str) -> None:
    meant = _id_or_name(which)
    revoked = principals.revoke(meant)
    name = revoked[0].name
    if [each.id for each in revoked] == [meant]:
        output().print(f"The key {meant} of {name!r} is revoked.", markup=False)
    else:
        keys = f", with {len(revoked)} keys" if len(revoked) > 1 else ""
        output().print(f"{name!r} is revoked{keys}.", markup=False)
