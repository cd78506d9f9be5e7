"""Passwords of the database roles: made once, kept from others."""

import stat
from pathlib import Path

import pytest

from infrastructure.passwords import SecretsAreReadable, load_passwords, passwords_file


def test_passwords_are_made_once_and_stay(tmp_path: Path) -> None:
    first = load_passwords(tmp_path, ["reader"])
    assert load_passwords(tmp_path, ["reader"]) == first
    assert load_passwords(tmp_path, ["reader", "writer"])["reader"] == first["reader"]


def test_every_role_has_a_password_of_its_own(tmp_path: Path) -> None:
    passwords = load_passwords(tmp_path, ["reader", "writer"])
    assert passwords["reader"] != passwords["writer"]
    assert min(map(len, passwords.values())) >= 32


def test_nobody_else_may_read_them(tmp_path: Path) -> None:
    load_passwords(tmp_path, ["reader"])
    path = passwords_file(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_passwords_that_others_may_read_are_not_used(tmp_path: Path) -> None:
    load_passwords(tmp_path, ["reader"])
    passwords_file(tmp_path).chmod(0o640)
    with pytest.raises(SecretsAreReadable, match="chmod go="):
        load_passwords(tmp_path, ["reader"])
