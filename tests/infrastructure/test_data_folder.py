"""The data folder: one Rapport at a time."""

import os
import stat
from pathlib import Path

import pytest

from infrastructure.data_folder import DataFolder, DataFolderInUse, DataFolderRefused


def test_a_second_rapport_is_told_who_has_the_folder(data: Path) -> None:
    with DataFolder(data) as first:
        first.open("rapport serve on 127.0.0.1 port 8000")
        with pytest.raises(DataFolderInUse, match=rf"process {os.getpid()}: rapport serve on 127.0.0.1 port 8000"):
            DataFolder(data).open("another")


def test_a_second_rapport_is_refused_before_the_first_has_said_its_name(data: Path) -> None:
    with DataFolder(data) as first:
        first.open("rapport serve")
        (data / "lock").write_bytes(b"")
        with pytest.raises(DataFolderInUse, match="in use by another Rapport"):
            DataFolder(data).open("another")


def test_a_folder_that_was_closed_is_free(data: Path) -> None:
    first, second = DataFolder(data), DataFolder(data)
    first.open("one")
    first.close()
    first.close()
    second.open("two")
    second.open("two, once more")
    second.close()


def test_a_folder_of_another_user_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataFolderRefused, match="belongs to another user"):
        DataFolder(data).open("rapport serve")


def test_a_folder_whose_user_was_killed_is_known_as_abandoned(data: Path) -> None:
    with DataFolder(data) as first:
        first.open("rapport serve")
        left_behind = (data / "lock").read_bytes()
        assert not first.was_abandoned
    with DataFolder(data) as second:
        second.open("rapport serve")
        assert not second.was_abandoned
    (data / "lock").write_bytes(left_behind)
    with DataFolder(data) as third:
        third.open("rapport serve")
        assert third.was_abandoned


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataFolderRefused, match="cannot be made: Not a directory"):
        DataFolder(tmp_path / "file" / "data").open("rapport serve")


def test_the_folder_is_made(data: Path) -> None:
    with DataFolder(data / "new") as folder:
        if os.geteuid() == 0:
            data.chmod(0o711)
        folder.open("rapport serve")
        # Root's folder lets the server's account through to its own part, and shows nothing.
        assert stat.S_IMODE((data / "new").stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)


def test_a_folder_that_the_servers_account_cannot_reach_is_refused(data: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root starts the server under another account")
    data.chmod(0o700)
    with pytest.raises(DataFolderRefused, match="which only its owner may enter"):
        DataFolder(data / "new").open("rapport serve")
