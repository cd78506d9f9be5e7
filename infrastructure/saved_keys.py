"""Key-encryption keys saved apart from the data: a folder with the key file, and the journals of erasures beside it.

Whoever has this folder and a backup has all personal data in it; whoever has one of them has none.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from infrastructure.encryption import KeyEncryptionKeys, KeyFile
from infrastructure.erasures import Erasures, Journal
from infrastructure.key_rotation import tenants_of
from infrastructure.revocations import RevocationJournal, Revocations

Connection = psycopg.Connection[tuple[Any, ...]]


class KeysDoNotFit(Exception):  # noqa: N818 - it names what is the matter
    """The key-encryption keys at hand do not open what is to be opened."""

    def __init__(self, folder: Path, missing: Collection[bytes]) -> None:
        names = ", ".join(sorted(fingerprint.hex() for fingerprint in missing))
        super().__init__(
            f"{KeyFile(folder).path} lacks the key-encryption key {names}, which the backup needs: bring the file that"
            " was saved when the backup was taken."
        )


def save_keys(privacy: Connection, keys: KeyFile, folder: Path) -> Sequence[Erasures]:
    """Save the keys of a Rapport, and the erasures of each of its tenants.

    What was saved in the folder before stays: older backups need older keys. Raises `KeyEncryptionKeyMissing` and
    `JournalIsUnreadable`.
    """
    saved = KeyFile(folder)
    saved.write(list(dict.fromkeys([*keys.read(), *(saved.read() if saved.exists() else [])])))
    return save_journals(privacy, folder)


def save_journals(privacy: Connection, folder: Path) -> Sequence[Erasures]:
    """Save the erasures and revocations of each tenant alone. Raises `JournalIsUnreadable`."""
    journals = []
    for schema in tenants_of(privacy):
        rows = privacy.execute(sql.SQL("SELECT tenant_id FROM {}").format(sql.Identifier(schema, "tenant"))).fetchall()
        for (tenant,) in rows:
            journals.append(Journal(folder, tenant).add(Erasures.of(privacy, schema)))
            RevocationJournal(folder, tenant).add(Revocations.of(privacy, schema))
    return journals


def require_keys(folder: Path, needed: Collection[bytes]) -> None:
    """Raise `KeysDoNotFit` if the key file in this folder lacks one of these, or there is none."""
    saved = KeyFile(folder)
    missing = set(needed) - set(saved.load().fingerprints if saved.exists() else ())
    if missing:
        raise KeysDoNotFit(folder, missing)


def bring_keys(folder: Path, keys: KeyFile, needed: Collection[bytes]) -> None:
    """Bring the saved keys that are needed back to where they are used, behind those that are there.

    Raises `KeysDoNotFit`.
    """
    require_keys(folder, needed)
    wanted = [
        key for key in KeyFile(folder).read() if not set(needed).isdisjoint(KeyEncryptionKeys([key]).fingerprints)
    ]
    here = keys.read() if keys.exists() else []
    keys.write(list(dict.fromkeys([*here, *wanted])))
