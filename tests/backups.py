"""Backups as tests take them, and what somebody could do to them."""

import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from infrastructure.backup import back_up
from infrastructure.backup_files import MANIFEST, Backup
from infrastructure.log_digest import DIGESTS_FILE, HEADER, TRAILER, RunningDigest, rows
from tests.places import InPostgres

EVENTS = "events.copy.gz"


def silent(_what: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def take(place: InPostgres, folder: Path, *, digests_only: bool = False) -> Backup:
    """Back up the log of a place."""
    return back_up(
        place.databases.backup,
        place.tenant.schema,
        folder,
        software="0.1.0",
        report=silent,
        digests_only=digests_only,
    )


def event_rows(folder: Path) -> list[bytes]:
    """The events in a backup."""
    return list(rows([gzip.decompress((folder / EVENTS).read_bytes())]))


def change(folder: Path, altered: Callable[[list[bytes]], Sequence[bytes]], *, thoroughly: bool = False) -> Backup:
    """Change the events of a backup, and its manifest so that nobody sees it by the digests of its files.

    Thoroughly: the digests of positions, too, so that only somebody who knows the log from elsewhere can tell.
    """
    changed = altered(event_rows(folder))
    (folder / EVENTS).write_bytes(gzip.compress(HEADER + b"".join(changed) + TRAILER))
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    if thoroughly:
        running = RunningDigest()
        (folder / DIGESTS_FILE).write_bytes(b"".join(running.add(row) for row in changed))
        manifest["log"] |= {"position": running.position, "digest": running.digest().hex()}
    for name in (EVENTS, DIGESTS_FILE):
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return Backup.open(folder)


def one_byte_changed(position: int) -> Callable[[list[bytes]], list[bytes]]:
    """The last byte of the body of the event at this position is another one."""

    def altered(events: list[bytes]) -> list[bytes]:
        row = events[position - 1]
        return [*events[: position - 1], row[:-1] + bytes([row[-1] ^ 1]), *events[position:]]

    return altered
