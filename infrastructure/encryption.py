"""Keys of personal data: how they are made, wrapped, kept apart from the database and used.

A *subject key* belongs to a person, a *text key* to one free text. Both are stored wrapped by the *key-encryption key*,
which lives in a file outside the database. A value is encrypted under a field key derived for its one place in the
log, and bound to that place, so that no ciphertext can be moved and one field can be disclosed alone.
"""

import base64
import hashlib
import hmac
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkstemp
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infrastructure.passwords import SecretsAreReadable, require_private

_LOG = logging.getLogger(__name__)

KEY_BYTES = 32
_NONCE_BYTES = 12
_CHECK_BYTES = 8
FINGERPRINT_BYTES = 8
"""A wrapped key begins with so many bytes that name the key-encryption key which wrapped it."""


class KeyEncryptionKeyMissing(RuntimeError):  # noqa: N818 - it names what is the matter
    """Wrapped keys exist, but the key-encryption key that opens them is missing or another one: bring it back."""

    def __init__(self) -> None:
        super().__init__(" ".join((self.__doc__ or "").split()))


class WrongKey(ValueError):  # noqa: N818 - it names what is the matter
    """A personal value does not open with the key that it names."""

    def __init__(self) -> None:
        super().__init__(" ".join((self.__doc__ or "").split()))


def new_key() -> bytes:
    """A random 256-bit key."""
    return os.urandom(KEY_BYTES)


class KeyEncryptionKeys:
    """The key-encryption keys in force: the first wraps, all of them unwrap (while a rotation is under way)."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {hashlib.sha256(b"rapport-kek" + key).digest()[:FINGERPRINT_BYTES]: key for key in keys}
        self._current = next(iter(self._keys))

    @property
    def fingerprints(self) -> Sequence[bytes]:
        """What tells the keys apart and reveals none of them, in their order: it stands before all that they wrap."""
        return tuple(self._keys)

    def wrap(self, key: bytes, owner: bytes) -> bytes:
        """The key, encrypted and bound to the id of its owner: fingerprint, nonce, ciphertext."""
        nonce = os.urandom(_NONCE_BYTES)
        return self._current + nonce + AESGCM(self._keys[self._current]).encrypt(nonce, key, owner)

    def unwrap(self, wrapped: bytes, owner: bytes) -> bytes:
        """The key that `wrap` was given. Raises `KeyEncryptionKeyMissing`."""
        fingerprint, rest = wrapped[:FINGERPRINT_BYTES], wrapped[FINGERPRINT_BYTES:]
        key_encryption_key = self._keys.get(fingerprint)
        if key_encryption_key is None:
            raise KeyEncryptionKeyMissing
        try:
            return AESGCM(key_encryption_key).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], owner)
        except InvalidTag as error:
            raise KeyEncryptionKeyMissing from error

    def is_current(self, wrapped: bytes) -> bool:
        """Whether this was wrapped by the first of the keys."""
        return wrapped[:FINGERPRINT_BYTES] == self._current


class KeyFile:
    """The file `<data>/keys/key-encryption-keys`: one key a line in base64, newest first, for its owner's eyes only."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "key-encryption-keys"

    def exists(self) -> bool:
        """Whether a key was made before."""
        return self.path.exists()

    def load(self) -> KeyEncryptionKeys:
        """The keys. Raises `KeyEncryptionKeyMissing` and `SecretsAreReadable`."""
        return KeyEncryptionKeys(self.read())

    def read(self) -> list[bytes]:
        """The keys themselves, newest first. Raises `KeyEncryptionKeyMissing` and `SecretsAreReadable`."""
        try:
            require_private(self.path)
            lines = self.path.read_text(encoding="ascii").split()
            keys = [base64.b64decode(line, validate=True) for line in lines]
        except (FileNotFoundError, ValueError) as error:
            raise KeyEncryptionKeyMissing from error
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise KeyEncryptionKeyMissing
        return keys

    def follow(self) -> "FollowedKeys":
        """The keys, also when they are exchanged later. Raises `KeyEncryptionKeyMissing`."""
        return FollowedKeys(self)

    @property
    def state(self) -> tuple[int, int, int] | None:
        """Something that changes whenever the file, or who may read it, does; None while it is absent."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_mode

    def create(self) -> KeyEncryptionKeys:
        """Make the first key. Of two that do so at once one is first, and both get its key."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._write_beside([new_key()])
        with suppress(FileExistsError):
            self.path.hardlink_to(temporary)
        temporary.unlink()
        self._sync_folder()
        return self.load()

    def rotate(self) -> KeyEncryptionKeys:
        """Put a new key in front. The old ones still unwrap, until `retire` is called."""
        self._replace([new_key(), *self.read()])
        return self.load()

    def retire(self) -> KeyEncryptionKeys:
        """Forget all keys but the newest; everything must have been wrapped anew before."""
        self._replace(self.read()[:1])
        for draft in self.path.parent.glob(f"{self.path.name}.*"):  # of a rotation that was killed
            draft.unlink()
        return self.load()

    def write(self, keys: Sequence[bytes]) -> KeyEncryptionKeys:
        """Have these keys and no others, the first of them to wrap with."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._replace(keys)
        return self.load()

    def _replace(self, keys: Sequence[bytes]) -> None:
        draft = self._write_beside(keys)
        if self.exists():  # whoever rotates, the service goes on reading it
            owner = self.path.stat()
            os.chown(draft, owner.st_uid, owner.st_gid)
        draft.replace(self.path)
        self._sync_folder()

    def _write_beside(self, keys: Sequence[bytes]) -> Path:
        descriptor, name = mkstemp(dir=self.path.parent, prefix=f"{self.path.name}.")  # for its owner's eyes only
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write("".join(base64.b64encode(key).decode("ascii") + "\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        return Path(name)

    def _sync_folder(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class FollowedKeys:
    """The keys of a file as it is now: whoever holds them follows a rotation without being started anew.

    Keys that have been in the file stay in memory. What they have wrapped may have been read just before it was
    wrapped anew. A file without the key that wraps is another Rapport's, or that of a whole rotation that was missed:
    its keys may open, and wrap only when `prove` has shown the second.
    """

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self._state = file.state
        self._read = file.read()
        self._keys = KeyEncryptionKeys(self._read)
        self._unproven: list[bytes] = []
        self._refused = False

    def wrap(self, key: bytes, owner: bytes) -> bytes:
        """See `KeyEncryptionKeys.wrap`. To ask for the file costs a microsecond, a tenth of what is wrapped for."""
        self._look()
        return self._keys.wrap(key, owner)

    def unwrap(self, wrapped: bytes, owner: bytes) -> bytes:
        """See `KeyEncryptionKeys.unwrap`. What another process has wrapped with a new key opens, too."""
        try:
            return self._keys.unwrap(wrapped, owner)
        except KeyEncryptionKeyMissing:
            self._look()
        return KeyEncryptionKeys([*self._read, *self._unproven]).unwrap(wrapped, owner)

    def open(self, wrapped: bytes, owner: UUID) -> bytes | None:
        """The key of a person or text, for reading; None if none of the keys opens it: it is one that is unreadable."""
        try:
            return self.unwrap(wrapped, owner.bytes)
        except KeyEncryptionKeyMissing:
            _LOG.error("the key of %s is unreadable: no key-encryption key opens it", owner)
            return None

    def is_current(self, wrapped: bytes) -> bool:
        """See `KeyEncryptionKeys.is_current`."""
        self._look()
        return self._keys.is_current(wrapped)

    def is_refused(self) -> bool:
        """Whether the file, as it is now, was refused: whoever starts with it will not find the keys in force."""
        self._look()
        return self._refused

    def prove(self, wrapped_hash_key: bytes, owner: bytes) -> bool:
        """Whether the file holds the keys in force after all: it does if one of them opens the tenant's own key."""
        if self._unproven:
            with suppress(KeyEncryptionKeyMissing):
                KeyEncryptionKeys(self._unproven).unwrap(wrapped_hash_key, owner)
                self._accept(self._unproven)
        return not self._refused

    def _look(self) -> None:
        """Read the file again if it has changed. One that is refused leaves things as they are."""
        state = self._file.state
        if state == self._state:
            return
        self._state, self._unproven = state, []
        try:
            found = self._file.read()
        except (KeyEncryptionKeyMissing, SecretsAreReadable) as error:
            self._refuse(str(error))
            return
        if self._read[0] in found:
            self._accept(found)
        else:
            self._unproven = found
            self._refuse("it does not hold the key-encryption key in force")

    def _accept(self, found: Sequence[bytes]) -> None:
        self._read = list(dict.fromkeys([*found, *self._read]))
        self._keys, self._unproven, self._refused = KeyEncryptionKeys(self._read), [], False

    def _refuse(self, reason: str) -> None:
        self._refused = True
        _LOG.error("the key file was changed and is refused, the keys from before stay in use: %s", reason)


@dataclass(frozen=True, slots=True)
class Place:
    """The one place in the log that a personal value belongs to."""

    tenant: UUID
    stream: UUID
    version: int
    field: str
    """Path of the field in the stored body: `name`, `participants.0.name`."""

    def binding(self) -> bytes:
        """What the field key is derived from and the ciphertext is bound to."""
        return self.tenant.bytes + self.stream.bytes + self.version.to_bytes(4, "big") + self.field.encode()


def field_key(key: bytes, place: Place) -> bytes:
    """The key of one field: HKDF-Expand with SHA-256 (RFC 5869) of a random 256-bit key, for one block of output."""
    return hmac.digest(key, place.binding() + b"\x01", "sha256")


def seal(plain: str, key: bytes, place: Place) -> str:
    """Encrypt one value: base64 of key check, nonce, ciphertext and tag."""
    derived = field_key(key, place)
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(derived).encrypt(nonce, plain.encode(), place.binding())
    return base64.b64encode(_check(derived) + nonce + sealed).decode("ascii")


def unseal(sealed: str, key: bytes, place: Place) -> str:
    """Decrypt what `seal` made for this place. Raises `WrongKey`."""
    derived = field_key(key, place)
    raw = base64.b64decode(sealed)
    # GCM does not commit to its key: without this check one text could be made to open with two of them.
    if not hmac.compare_digest(raw[:_CHECK_BYTES], _check(derived)):
        raise WrongKey
    nonce = raw[_CHECK_BYTES : _CHECK_BYTES + _NONCE_BYTES]
    try:
        return AESGCM(derived).decrypt(nonce, raw[_CHECK_BYTES + _NONCE_BYTES :], place.binding()).decode()
    except InvalidTag as error:
        raise WrongKey from error


def _check(derived: bytes) -> bytes:
    return hmac.digest(derived, b"rapport-key-check", "sha256")[:_CHECK_BYTES]
