"""Keys and what is sealed under them: bound to one place, one key and one owner."""

import base64
import multiprocessing
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from infrastructure.encryption import (
    KeyEncryptionKeyMissing,
    KeyEncryptionKeys,
    KeyFile,
    Place,
    WrongKey,
    field_key,
    new_key,
    seal,
    unseal,
)
from infrastructure.passwords import SecretsAreReadable
from tests.people import ACME, ADA

TENANT = UUID("01900000-0000-7000-8000-0000000000e0")
PLACE = Place(TENANT, ADA, 1, "name")
KEY = bytes(range(32))


@given(st.text())
def test_what_was_sealed_is_unsealed(text: str) -> None:
    assert unseal(seal(text, KEY, PLACE), KEY, PLACE) == text


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, tenant=ACME),
        replace(PLACE, stream=ACME),
        replace(PLACE, version=2),
        replace(PLACE, field="email"),
        replace(PLACE, version=1 << 24, field="ame"),
    ],
    ids=["tenant", "stream", "version", "field", "shifted"],
)
def test_a_sealed_value_cannot_be_moved(elsewhere: Place) -> None:
    with pytest.raises(WrongKey):
        unseal(seal("Ada", KEY, PLACE), KEY, elsewhere)


def test_a_sealed_value_does_not_open_with_another_key() -> None:
    with pytest.raises(WrongKey, match="does not open with the key that it names"):
        unseal(seal("Ada", KEY, PLACE), new_key(), PLACE)


@pytest.mark.parametrize("byte", [0, 8, 20, -1], ids=["check", "nonce", "ciphertext", "tag"])
def test_a_damaged_value_does_not_open(byte: int) -> None:
    raw = bytearray(base64.b64decode(seal("Ada", KEY, PLACE)))
    raw[byte] ^= 1
    with pytest.raises(WrongKey):
        unseal(base64.b64encode(raw).decode(), KEY, PLACE)


def test_one_value_is_never_sealed_in_the_same_way() -> None:
    assert len({seal("Ada", KEY, PLACE) for _ in range(100)}) == 100


def test_the_key_of_a_field_is_derived_as_it_always_was() -> None:
    """RFC 5869, expand with SHA-256; whoever verifies a disclosed field computes the same."""
    assert field_key(KEY, PLACE) == HKDFExpand(hashes.SHA256(), 32, PLACE.binding()).derive(KEY)
    assert field_key(KEY, PLACE).hex() == "5b165de6f13b6d8e1b84f755baa95c4e1d6650d0f6a26a62729128548501af39"
    sealed = "x8zCYmWL69mvzjFJYtUMYebv7xe9iF2ioEs0Bu7EwhzcgeaPwDreT4OtyEeO5CxJ"
    assert unseal(sealed, KEY, PLACE) == "Ada Lovelace"


# Wrapping


def test_a_wrapped_key_is_unwrapped_for_its_owner_alone() -> None:
    keys = KeyEncryptionKeys([new_key()])
    wrapped = keys.wrap(KEY, ADA.bytes)
    assert keys.unwrap(wrapped, ADA.bytes) == KEY
    assert KEY not in wrapped
    with pytest.raises(KeyEncryptionKeyMissing):
        keys.unwrap(wrapped, ACME.bytes)


def test_another_key_encryption_key_does_not_unwrap() -> None:
    wrapped = KeyEncryptionKeys([new_key()]).wrap(KEY, ADA.bytes)
    with pytest.raises(KeyEncryptionKeyMissing, match="bring it back"):
        KeyEncryptionKeys([new_key()]).unwrap(wrapped, ADA.bytes)


def test_during_a_rotation_the_newest_wraps_and_all_unwrap() -> None:
    old, new = new_key(), new_key()
    before, during = KeyEncryptionKeys([old]), KeyEncryptionKeys([new, old])
    wrapped = before.wrap(KEY, ADA.bytes)
    assert during.unwrap(wrapped, ADA.bytes) == KEY
    assert not during.is_current(wrapped)
    assert during.is_current(during.wrap(KEY, ADA.bytes))
    assert KeyEncryptionKeys([new]).unwrap(during.wrap(KEY, ADA.bytes), ADA.bytes) == KEY


# The file


def test_the_first_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys")
    assert not file.exists()
    keys = file.create()
    assert file.exists()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert [each.name for each in file.path.parent.iterdir()] == ["key-encryption-keys"]
    assert file.load().unwrap(keys.wrap(KEY, b"owner"), b"owner") == KEY


def test_a_key_that_is_there_is_never_made_again(tmp_path: Path) -> None:
    wrapped = KeyFile(tmp_path).create().wrap(KEY, b"owner")
    assert KeyFile(tmp_path).create().unwrap(wrapped, b"owner") == KEY


def _wrap_with_the_first_key(folder: Path) -> bytes:
    return KeyFile(folder).create().wrap(KEY, b"owner")


def test_all_who_make_the_first_key_at_once_get_the_same(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        wrapped = pool.map(_wrap_with_the_first_key, [tmp_path] * 8)
    keys = KeyFile(tmp_path).load()
    assert [keys.unwrap(each, b"owner") for each in wrapped] == [KEY] * 8


def test_a_rotation_adds_a_key_and_ends_with_the_old_one_retired(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    old = file.create().wrap(KEY, b"owner")
    during = file.rotate()
    new = during.wrap(KEY, b"owner")
    assert [file.load().unwrap(each, b"owner") for each in (old, new)] == [KEY, KEY]
    after = file.retire()
    assert after.unwrap(new, b"owner") == KEY
    with pytest.raises(KeyEncryptionKeyMissing):
        after.unwrap(old, b"owner")
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\n", b"no base64!\n", base64.b64encode(bytes(16)) + b"\n", "Schlüssel".encode()],
    ids=["absent", "empty", "blank", "no base64", "short", "no ASCII"],
)
def test_without_a_whole_key_nothing_is_opened(tmp_path: Path, content: bytes | None) -> None:
    file = KeyFile(tmp_path)
    if content is not None:
        file.path.write_bytes(content)
        file.path.chmod(0o600)
    with pytest.raises(KeyEncryptionKeyMissing):
        file.load()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_a_file_that_others_may_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = KeyFile(tmp_path)
    file.create()
    file.path.chmod(mode)
    with pytest.raises(SecretsAreReadable, match="chmod go="):
        file.load()


# Following the file


FOREIGN: dict[str, Callable[[KeyFile], object]] = {
    "of another Rapport": lambda file: file.write([new_key()]),
    "of another Rapport amid a rotation": lambda file: file.write([new_key(), new_key()]),
    "empty": lambda file: file.path.write_text(""),
    "damaged": lambda file: file.path.write_text("no key\n"),
    "absent": lambda file: file.path.unlink(),
    "readable by others": lambda file: file.path.chmod(0o644),
}


@pytest.mark.parametrize("change", FOREIGN.values(), ids=FOREIGN)
def test_a_file_without_the_keys_in_force_is_refused_while_running_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: Callable[[KeyFile], object]
) -> None:
    file = KeyFile(tmp_path)
    hash_key = file.create().wrap(KEY, b"hash key")
    before = file.read()
    followed = file.follow()
    change(file)
    wrapped = followed.wrap(KEY, b"owner")
    assert KeyEncryptionKeys(before).unwrap(wrapped, b"owner") == KEY
    assert followed.is_refused()
    assert not followed.prove(hash_key, b"hash key")
    assert [record.levelname for record in caplog.records] == ["ERROR"], "it is said once for each change"
    file.write(before)
    assert not followed.is_refused()


def test_a_whole_rotation_that_was_missed_is_followed_when_the_tenants_own_key_proves_it(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.create()
    followed = file.follow()
    file.rotate()
    after = file.retire()
    wrapped, hash_key = after.wrap(KEY, ADA.bytes), after.wrap(KEY, b"hash key")
    assert followed.open(wrapped, ADA) == KEY, "what it has wrapped opens"
    assert not followed.is_current(wrapped)
    assert followed.is_refused()
    assert followed.prove(hash_key, b"hash key")
    assert followed.is_current(followed.wrap(KEY, b"owner"))
    assert followed.is_current(wrapped)


def test_a_key_that_no_key_opens_is_unreadable_and_nothing_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    KeyFile(tmp_path).create()
    followed = KeyFile(tmp_path).follow()
    assert followed.open(KeyEncryptionKeys([new_key()]).wrap(KEY, ADA.bytes), ADA) is None
    assert followed.open(followed.wrap(KEY, ACME.bytes), ADA) is None
    assert str(ADA) in caplog.text


def test_new_keys_are_random() -> None:
    assert len({new_key() for _ in range(100)}) == 100
    assert len(new_key()) == 32
