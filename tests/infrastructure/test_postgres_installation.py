"""The embedded server's configuration and account."""

import os
from pathlib import Path

import pytest

from infrastructure import postgres_installation
from infrastructure.postgres_installation import (
    RESERVED_ID,
    Account,
    InstallationRefused,
    account_for,
    binaries_for,
    configuration,
    make_cluster,
    memory_of_machine,
    wheel_folder,
    write_configuration,
)

GIBIBYTE = 1024**3


@pytest.mark.parametrize(
    ("memory_bytes", "shared_buffers"),
    [(GIBIBYTE, "262144kB"), (4 * GIBIBYTE, "1048576kB"), (64 * GIBIBYTE, "2097152kB"), (GIBIBYTE // 64, "16384kB")],
)
def test_a_quarter_of_the_memory_is_shared_up_to_two_gibibytes(memory_bytes: int, shared_buffers: str) -> None:
    assert configuration(Path("/run"), Path("/logs"), memory_bytes)["shared_buffers"] == shared_buffers


def test_the_memory_of_a_container_counts(tmp_path: Path) -> None:
    machine = memory_of_machine([])
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_of_machine([tmp_path / "memory.max", tmp_path / "absent"]) == machine
    (tmp_path / "memory.max").write_text("1000000\n")
    assert memory_of_machine([tmp_path / "memory.max"]) == 1_000_000
    # The first version of cgroups says this when there is no limit.
    (tmp_path / "memory.max").write_text("9223372036854771712\n")
    assert memory_of_machine([tmp_path / "memory.max"]) == machine


def test_nobody_is_admitted_but_the_roles_by_their_passwords(tmp_path: Path) -> None:
    write_configuration(tmp_path / "config", tmp_path, tmp_path, ["rapport_reader"], GIBIBYTE)
    assert (tmp_path / "config" / "pg_hba.conf").read_text() == "local all rapport_reader scram-sha-256\n"


def test_paths_with_quotes_are_quoted(tmp_path: Path) -> None:
    main = write_configuration(tmp_path / "config", tmp_path, Path("/ada's logs"), [], GIBIBYTE)
    assert "log_directory = '/ada''s logs'\n" in main.read_text()


def test_whoever_owns_the_files_runs_the_server(tmp_path: Path) -> None:
    assert account_for(tmp_path) == Account(os.geteuid(), tmp_path.stat().st_gid)


def test_a_plain_user_runs_the_server_himself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    assert account_for(tmp_path / "absent").user == 1_000


def test_a_plain_user_does_not_start_what_belongs_to_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    another = tmp_path.stat().st_uid + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)
    with pytest.raises(InstallationRefused, match="belongs to another user"):
        account_for(tmp_path)


def test_root_never_runs_the_server_as_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(postgres_installation, "ACCOUNT", "nobody-made-this-account")
    assert account_for(tmp_path / "absent") == Account(RESERVED_ID, RESERVED_ID)
    monkeypatch.setattr(postgres_installation, "ACCOUNT", "nobody")
    assert account_for(tmp_path / "absent").user not in {0, RESERVED_ID}


def test_binaries_are_used_where_the_wheel_has_them_if_the_account_can_read_them(tmp_path: Path) -> None:
    ours = Account(os.geteuid(), os.getegid())
    assert binaries_for(ours, tmp_path, wheel_folder()) == wheel_folder() / "pginstall18" / "bin"
    assert list(tmp_path.iterdir()) == []


def test_what_initdb_refuses_is_told(data: Path) -> None:
    data.chmod(0o711)
    account = account_for(data / "postgres")
    binaries = binaries_for(account, data, wheel_folder())
    with pytest.raises(InstallationRefused, match='role names cannot begin with "pg_"'):
        make_cluster(data / "postgres", binaries, account, "pg_superuser", "secret")
    assert not (data / "postgres").exists()
    assert not (data / "initdb-password").exists()


def test_initdb_needs_an_account_with_a_name(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_installation, "BORROWED_ACCOUNT", "nobody-made-this-account")
    with pytest.raises(InstallationRefused, match="make one called rapport"):
        make_cluster(data / "postgres", data, Account(RESERVED_ID, RESERVED_ID), "rapport_superuser", "secret")


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_installation, "WHEEL", "no_such_wheel")
    with pytest.raises(InstallationRefused, match="no_such_wheel"):
        wheel_folder()
