"""`rapport encryption`: the key-encryption key, without which nobody opens personal data."""

from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
from rich.markup import escape

from api.command_line.tenants import key_file, opened
from api.command_line.terminal import (
    EXIT_REFUSED,
    EXIT_UNAVAILABLE,
    CommandFailed,
    output,
    progress,
    refused,
    settings_of,
    table,
)
from infrastructure.backup_files import NotABackup
from infrastructure.database import Databases
from infrastructure.encryption import KeyEncryptionKeyMissing
from infrastructure.erasures import JournalIsUnreadable
from infrastructure.key_rotation import Rotation, RotationIsUnderWay, TenantIsBehind, tenants_of, wrapped_keys
from infrastructure.log_digest import LogDiffers
from infrastructure.restore import bring_back
from infrastructure.saved_keys import KeysDoNotFit, save_keys
from infrastructure.settings import Settings

_TO_BE_PUT_RIGHT = (
    NotABackup,
    KeysDoNotFit,
    JournalIsUnreadable,
    RotationIsUnderWay,
    TenantIsBehind,
    KeyEncryptionKeyMissing,
)
"""What has to be put right before the command can do its work; each says how."""


def run(given: Namespace) -> int:
    """Do what is asked for with the key-encryption key."""
    settings = settings_of(given)
    with failing():
        if given.action == "bring":
            _bring(settings, given)
        else:
            with opened(settings, f"rapport encryption {given.action}") as (databases, _, _):
                match given.action:
                    case "show":
                        _show(settings, databases)
                    case "rotate":
                        _rotate(settings, databases)
                    case _:
                        say_saved(given.folder, save(settings, databases, given.folder))
    return 0


@contextmanager
def failing() -> Iterator[None]:
    """Turn what can be wrong with backups and saved keys into messages for the terminal."""
    try:
        with refused():
            yield
    except _TO_BE_PUT_RIGHT as error:
        raise CommandFailed(str(error), EXIT_REFUSED) from None
    except LogDiffers as error:
        raise CommandFailed(str(error)) from None
    except OSError as error:
        message = f"{error.filename}: {error.strerror}"
        raise CommandFailed(message, EXIT_REFUSED) from None
    except psycopg.OperationalError as error:
        message = f"the database cannot be reached: {str(error).strip()}"
        raise CommandFailed(message, EXIT_UNAVAILABLE) from None


def save(settings: Settings, databases: Databases, folder: Path) -> int:
    """Save the keys and the journals of erasures in a folder; how many people have been erased so far."""
    with psycopg.connect(databases.privacy) as privacy:
        journals = save_keys(privacy, key_file(settings), folder)
    return sum(len(each.subjects) for each in journals)


def say_saved(folder: Path, people: int) -> None:
    """Say what has been saved."""
    output().print(
        f"{escape(str(folder))}: the key-encryption key, and the journal of {people:,} people erased so far."
    )


def _bring(settings: Settings, given: Namespace) -> None:
    again = bring_back(settings, given.folder, without_journal=given.without_journal)
    output().print("The keys open the log. Start the service: rapport serve")
    if again:
        output().print(f"{again:,} people who were erased after the backup have been erased again.")


def _show(settings: Settings, databases: Databases) -> None:
    keys = key_file(settings).load()
    with psycopg.connect(databases.privacy) as privacy:
        wrapped = wrapped_keys(privacy, tenants_of(privacy))
    listed = table("key-encryption key", "", "tenant", "keys wrapped by it", right=("keys wrapped by it",))
    for fingerprint in dict.fromkeys([*keys.fingerprints, *(each.fingerprint for each in wrapped)]):
        says = "wraps" if keys.is_current(fingerprint) else "opens" if fingerprint in keys.fingerprints else "missing"
        counted = [(each.tenant, f"{each.keys:,}") for each in wrapped if each.fingerprint == fingerprint]
        for tenant, number in counted or [("", "0")]:
            listed.add_row(fingerprint.hex(), says, tenant, number)
    output().print(listed)
    if len(keys.fingerprints) > 1:
        output().print("A rotation is not over. Go on with it: rapport encryption rotate")


def _rotate(settings: Settings, databases: Databases) -> None:
    with psycopg.connect(databases.privacy, autocommit=True) as privacy, progress() as report:
        rotated = Rotation(privacy, key_file(settings), partial(report, "wrapping keys anew")).run()
    begun = "The rotation that was begun before is over" if rotated.went_on else "The key-encryption key is a new one"
    output().print(f"{begun}: {rotated.rewrapped:,} keys are wrapped anew, of {', '.join(rotated.tenants)}.")
    output().print(
        "Save it apart: rapport encryption save FOLDER. Older backups need the key that was saved with them."
    )
