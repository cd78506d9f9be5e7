"""The passwords of Rapport's database roles: made by us, kept in `<data>/secrets/`, readable by the owner only."""

import json
import os
import secrets
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from infrastructure.settings import StartRefused


class SecretsAreReadable(StartRefused):
    """Other users of this machine may read what is secret: the passwords of the database, or the keys of people."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"Other users of this machine may read or change {path}; run: chmod go= {path}")


def passwords_file(data: Path) -> Path:
    """Where a data folder keeps its passwords."""
    return data / "secrets" / "passwords.json"


def load_passwords(data: Path, roles: Iterable[str]) -> Mapping[str, str]:
    """The password of each role. Missing ones are made and stored before anybody can set them in a database."""
    path = passwords_file(data)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    known: dict[str, str] = {}
    if path.exists():
        require_private(path)
        known = json.loads(path.read_bytes())
    missing = {role: secrets.token_urlsafe(32) for role in roles if role not in known}
    if missing:
        known |= missing
        write_secret(path, json.dumps(known, indent=1).encode())
    return known


def require_private(path: Path) -> None:
    """Raise `SecretsAreReadable` if others than its owner may do anything with a file."""
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretsAreReadable(path)


def write_secret(path: Path, content: bytes) -> None:
    """Replace a file as a whole, durably, and never let anybody else read it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a path cannot be opened with a mode of its own
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
