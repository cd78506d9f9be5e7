"""What a backup is made of: a folder of files, and a manifest that says what they have to be.

The manifest is written last. A folder without one is no backup, whatever else is in it.
"""

import gzip
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from io import BufferedIOBase, BufferedWriter, RawIOBase
from pathlib import Path
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Buffer, override

from infrastructure.log_digest import DIGEST_BYTES, DIGESTS_FILE, KnownLog
from infrastructure.passwords import write_secret
from infrastructure.table_digest import digest_of

MANIFEST = "manifest.json"
CHUNK_BYTES = 1024 * 1024
COMPRESSION_LEVEL = 1
"""Most of a log is ciphertext in base64: a quarter of it goes at any level, and the lowest takes least time."""

TABLES = (
    "tenant",
    "events",
    "commands",
    "claims",
    "subject_keys",
    "text_keys",
    "principals",
    "credentials",
    "epochs",
    # Last: what it names is refused from then on, and a backup may have been taken amid a rotation.
    "retired_key_encryption_keys",
)
"""The tables of the log, in the order in which they are restored."""
PRINCIPALS_SINCE = 6
"""The migration that made principals and credentials of the table `api_keys`, which older backups have."""
EPOCHS_SINCE = 7
"""The migration that made epochs."""
NOT_COPIED = frozenset({("credentials", "last_used_at")})
"""Columns that change with every request, so that no digest that was noted down would ever hold: they begin anew."""
DERIVED_TABLES = ("log_head", "migrations", "snapshots")
"""Those that are made anew: by the migrations, and by loading long streams."""

Progress = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done and how much there is of it."""


class NotABackup(Exception):  # noqa: N818 - it names what is the matter
    """A folder or file is not what it has to be; the message says which and why."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


FileName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]*$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal digits."""


class KeptFile(_Kept):
    """A file as it has to be."""

    size: int
    """In bytes."""
    sha256: Digest
    """Of what is on disk, packed."""


class KeptMigration(_Kept):
    """A migration that the database had."""

    number: int
    """From 1 on."""
    name: str
    """Of its file."""
    checksum: Digest
    """SHA-256 of its file."""


class KeptTenant(_Kept):
    """Whose log it is."""

    id: UUID
    """What every personal value is bound to; it never changes."""
    name: str
    """Of the schema, where the backup was taken."""


class KeptLog(_Kept):
    """How far the log went."""

    position: int = Field(ge=0)
    """The last one; 0 of an empty log."""
    recorded_at: datetime | None
    """When that event was recorded."""
    digest: Digest
    """SHA-256 of all rows up to it."""


class Manifest(_Kept):
    """What a backup says about itself."""

    format: Literal[1] = 1
    """Of the backup; another one is refused."""
    software: str
    """The version of Rapport that made it."""
    postgres: int
    """The major version of the server."""
    taken_at: datetime
    """When it was begun: everything that had been answered as stored by then is in it."""
    tenant: KeptTenant
    """Whose log it is."""
    log: KeptLog
    """How far the log went."""
    migrations: tuple[KeptMigration, ...]
    """What had been applied to the tables: a restore begins with these."""
    key_encryption_keys: tuple[str, ...]
    """Fingerprints of those that the keys in the backup are wrapped by."""
    tables: Mapping[str, tuple[str, ...]]
    """The columns of each table, in the order of its file."""
    table_digests: Mapping[str, Digest] = Field(default_factory=dict)
    """SHA-256 of the rows of each table but `events`, in the order of its primary key."""
    files: Mapping[FileName, KeptFile]
    """Every file of the backup but the manifest."""


class Backup:
    """A folder with a backup, or with the digests of a log alone."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the manifest in a folder, or the manifest at this path. Raises `NotABackup`."""
        file = path / MANIFEST if path.is_dir() else path
        try:
            manifest = Manifest.model_validate_json(file.read_bytes())
        except OSError as error:
            message = (
                f"There is no {MANIFEST} in {path}: it is no backup, or one that was interrupted."
                if path.is_dir()
                else f"{path} cannot be read: {error.strerror}."
            )
            raise NotABackup(message) from error
        except ValidationError as error:
            message = f"{file} is no manifest of a backup, or one of a newer Rapport."
            raise NotABackup(message) from error
        return cls(file.parent, manifest)

    @property
    def needed_keys(self) -> set[bytes]:
        """Fingerprints of the key-encryption keys that open what is in it."""
        return set(map(bytes.fromhex, self.manifest.key_encryption_keys))

    def known(self, *, is_whole: bool = False) -> KnownLog:
        """The log as this backup knows it. Raises `NotABackup` if the digests contradict the manifest."""
        log = self.manifest.log
        digests = self.folder / DIGESTS_FILE
        known = KnownLog(
            f"the log of {self.folder}",
            log.position,
            bytes.fromhex(log.digest),
            digests if log.position and digests.exists() else None,
            is_whole,
        )
        if known.digests is not None and not _ends_with(known.digests, known):
            message = f"{digests} does not belong to the {MANIFEST} beside it."
            raise NotABackup(message)
        return known

    @property
    def unproved(self) -> tuple[str, ...]:
        """The tables of which the manifest has no digest: those of backups that an older Rapport has taken."""
        return tuple(table for table in self.manifest.tables if table not in {"events", *self.manifest.table_digests})

    def verify_table(self, name: str, chunks: Iterable[bytes]) -> None:
        """Raise `NotABackup` if this is not the table that was backed up."""
        expected = self.manifest.table_digests.get(name)
        if expected is not None and digest_of(chunks) != expected:
            message = f"The table {name} in {self.folder} is not the one that was backed up."
            raise NotABackup(message)

    def require_data(self) -> None:
        """Raise `NotABackup` if there is nothing that could be restored."""
        tables = tables_at(len(self.manifest.migrations))
        files = {*map(table_file, tables), DIGESTS_FILE}
        if set(self.manifest.tables) != set(tables) or set(self.manifest.files) != files:
            message = f"{self.folder} holds digests of a log and no data: there is nothing to restore in it."
            raise NotABackup(message)

    def verify_files(self, report: Progress) -> None:
        """Read every file, and raise `NotABackup` if one is not as it has to be."""
        total = sum(kept.size for kept in self.manifest.files.values())
        done = 0
        for name, kept in self.manifest.files.items():
            digest = hashlib.sha256()
            size = 0
            for chunk in self._chunks(name):
                digest.update(chunk)
                size += len(chunk)
                report("verifying files", done + size, total)
            if (size, digest.hexdigest()) != (kept.size, kept.sha256):
                message = f"{self.folder / name} is not the file that was written: it has been changed or damaged."
                raise NotABackup(message)
            done += size

    def table(self, name: str) -> Iterator[bytes]:
        """What the file of a table holds, unpacked, in chunks."""
        with gzip.open(self.folder / table_file(name), "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def _chunks(self, name: str) -> Iterator[bytes]:
        try:
            with (self.folder / name).open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            message = f"{self.folder / name} cannot be read: {error.strerror}."
            raise NotABackup(message) from error


def _ends_with(digests: Path, known: KnownLog) -> bool:
    """Whether a file has a digest for each position, and at the end the one that the manifest names."""
    with digests.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size != known.position * DIGEST_BYTES:
            return False
        file.seek(-DIGEST_BYTES, os.SEEK_END)
        return file.read() == known.digest


def tables_at(migration: int) -> tuple[str, ...]:
    """The tables of the log as they were after a migration, in the order in which they are restored."""
    tables = TABLES if migration >= EPOCHS_SINCE else tuple(table for table in TABLES if table != "epochs")
    if migration >= PRINCIPALS_SINCE:
        return tables
    return tuple("api_keys" if table == "principals" else table for table in tables if table != "credentials")


def table_file(table: str) -> str:
    """The name of the file with a table."""
    return f"{table}.copy.gz"


class _Digesting(RawIOBase):
    """Writes to a descriptor, and knows the digest and the size of what it has written."""

    def __init__(self, descriptor: int) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._descriptor = descriptor

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, content: Buffer, /) -> int:
        written = os.write(self._descriptor, content)
        self.digest.update(memoryview(content)[:written])
        self.size += written
        return written


class BackupFolder:
    """An empty folder that becomes a backup."""

    def __init__(self, folder: Path) -> None:
        """Make the folder. Raises `NotABackup` if something is in it already."""
        self.folder = folder
        self.files: dict[str, KeptFile] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(folder.iterdir()):
                message = f"{folder} is not empty: every backup gets a folder of its own."
                raise NotABackup(message)
        except OSError as error:
            message = f"{folder} cannot be made: {error.strerror}."
            raise NotABackup(message) from error

    @contextmanager
    def file(self, name: str) -> Iterator[BufferedIOBase]:
        """A new file for its owner's eyes only; on disk, and known by its digest, when the block ends."""
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            digesting = _Digesting(descriptor)
            with BufferedWriter(digesting, CHUNK_BYTES) as file:
                yield file
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.files[name] = KeptFile(size=digesting.size, sha256=digesting.digest.hexdigest())

    @contextmanager
    def packed(self, name: str) -> Iterator[BufferedIOBase]:
        """The same, packed. What is packed depends on the content alone."""
        with (
            self.file(name) as file,
            gzip.GzipFile("", "wb", COMPRESSION_LEVEL, file, mtime=0) as packed,
            BufferedWriter(packed, CHUNK_BYTES) as gathering,
        ):
            yield gathering

    def finish(self, manifest: Manifest) -> Backup:
        """Write the manifest: from now on the folder is a backup."""
        write_secret(self.folder / MANIFEST, manifest.model_dump_json(indent=1).encode() + b"\n")
        return Backup(self.folder, manifest)
