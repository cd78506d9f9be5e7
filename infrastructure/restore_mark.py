"""The file in a data folder that says that a restore is not over, and why nobody may start a service on it yet."""

import enum
from pathlib import Path

from infrastructure.passwords import write_secret
from infrastructure.settings import StartRefused


class RestoreIsUnfinished(StartRefused):
    """The data folder holds a restore that is not over."""


class Unfinished(enum.Enum):
    """What is missing."""

    DATA = "data"
    KEYS = "keys"


_SENTENCES = {
    Unfinished.DATA: "A restore into the data folder {data} was interrupted, or its backup was refused: run rapport"
    " restore again.",
    Unfinished.KEYS: "A backup was restored into {data} without the key-encryption key that opens its personal data:"
    " bring it with rapport encryption bring FOLDER.",
}


class RestoreMark:
    """The mark of one data folder."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._path = data / "restore-unfinished"

    def read(self) -> Unfinished | None:
        """What is missing; None if nothing is."""
        try:
            return Unfinished(self._path.read_text("ascii").strip())
        except FileNotFoundError:
            return None

    def set(self, missing: Unfinished) -> None:
        """From now on nobody starts a service here."""
        write_secret(self._path, f"{missing.value}\n".encode())

    def clear(self) -> None:
        """The restore is over."""
        self._path.unlink(missing_ok=True)

    def require_finished(self, *, but_for: Unfinished | None = None) -> None:
        """Raise `RestoreIsUnfinished` if something is missing that is not `but_for`."""
        missing = self.read()
        if missing is not None and missing is not but_for:
            raise RestoreIsUnfinished(_SENTENCES[missing].format(data=self._data))
