"""The data folder: who may enter it, and that only one Rapport at a time uses it."""

import fcntl
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from infrastructure.settings import StartRefused


class DataFolderRefused(StartRefused):
    """The data folder cannot be used."""


class DataFolderInUse(DataFolderRefused):
    """Another Rapport uses the data folder."""


class DataFolder:
    """A data folder that this process has to itself, from `open` to `close`, or to the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.was_abandoned = False
        """Whether its last user was killed, so that something of it may still be about."""
        self._lock: int | None = None

    def open(self, holder: str) -> None:
        """Make the folder and lock it; `holder` says who uses it, to whoever comes second.

        Raises `DataFolderInUse`. The kernel lets go of the lock when this process ends, however it ends. Opening it
        again changes nothing.
        """
        if self._lock is not None:
            return
        self._make()
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with open(descriptor, "rb") as file:  # noqa: PTH123 - it is open already
                raise DataFolderInUse(self._by_whom(file.read())) from None
        self._lock = descriptor
        self.was_abandoned = os.fstat(descriptor).st_size > 0
        since = datetime.now(UTC).isoformat(timespec="seconds")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "holder": holder, "since": since}).encode(), 0)

    def close(self) -> None:
        """Let another Rapport use the folder."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            message = f"The data folder {self.path} cannot be made: {error.strerror}. Choose another with --data."
            raise DataFolderRefused(message) from error
        if os.geteuid() == 0:
            self._let_through()
        elif not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            message = f"The data folder {self.path} belongs to another user; choose another with --data."
            raise DataFolderRefused(message)

    def _let_through(self) -> None:
        """As root, the database server runs under an account of its own, which must reach its part of the folder."""
        for folder in self.path.parents:
            if not folder.stat().st_mode & stat.S_IXOTH:
                message = (
                    f"The data folder {self.path} lies in {folder}, which only its owner may enter. Postgres refuses to"
                    " run as root and needs a folder that its own account can reach; choose another with --data."
                )
                raise DataFolderRefused(message)
        self.path.chmod(0o711)

    def _by_whom(self, content: bytes) -> str:
        try:
            known = json.loads(content)
        except ValueError:  # the other has the lock and is just writing its name
            return f"The data folder {self.path} is in use by another Rapport."
        return (
            f"The data folder {self.path} is in use by process {known['pid']}: {known['holder']},"
            f" since {known['since']}. Stop it first, or choose another folder with --data."
        )
