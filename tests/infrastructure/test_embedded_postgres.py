"""The embedded server: who gets in, and what it survives."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from infrastructure import embedded_postgres
from infrastructure.data_folder import DataFolderInUse
from infrastructure.database import verify_settings
from infrastructure.embedded_postgres import (
    EmbeddedPostgres,
    ServerRefusedToStart,
    StartInterrupted,
    administrator_of,
    end_leftovers,
    server_processes,
)
from infrastructure.passwords import passwords_file
from infrastructure.postgres_installation import wheel_folder
from tests.infrastructure.waiting import eventually

MakeServer = Callable[[], EmbeddedPostgres]

ANOTHER_RAPPORT = """
import sys
from pathlib import Path
from infrastructure import postgres_installation
from infrastructure.embedded_postgres import EmbeddedPostgres

if sys.argv[2] == "outlived":
    postgres_installation.end_with_parent = lambda end: None  # as on a system that cannot do it
server = EmbeddedPostgres(Path(sys.argv[1]), memory_bytes=128 * 1024**2)
server.start("another Rapport")
print(server.pid, flush=True)
sys.stdin.read()
"""


@contextmanager
def another_rapport(data: Path, server: str = "") -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Another process that runs a server in this folder: the process and the server's id."""
    command = [sys.executable, "-c", ANOTHER_RAPPORT, str(data), server]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()
            end_leftovers(data / "postgres", data / "run")


def _keep(server: EmbeddedPostgres, word: str) -> None:
    with psycopg.connect(server.administrator()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
        connection.execute("INSERT INTO kept VALUES (%s)", [word])


def _kept(server: EmbeddedPostgres) -> list[str]:
    with psycopg.connect(server.administrator()) as connection:
        return [word for (word,) in connection.execute("SELECT word FROM kept ORDER BY word")]


def test_a_server_is_made_safe_and_exact(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.administrator()) as connection:
        verify_settings(connection)
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()
            for name in ("data_checksums", "listen_addresses", "password_encryption", "log_parameter_max_length", "jit")
        }
        locale = connection.execute(
            "SELECT datlocprovider::text, datlocale FROM pg_database WHERE datname = 'rapport'"
        ).fetchone()
    assert {name: value[0] for name, value in shown.items() if value} == {
        "data_checksums": "on",
        "listen_addresses": "",
        "password_encryption": "scram-sha-256",
        "log_parameter_max_length": "0",
        "jit": "off",
    }
    assert locale == ("b", "C.UTF-8")


def test_the_server_does_not_run_as_root(postgres: EmbeddedPostgres) -> None:
    assert postgres.cluster.stat().st_uid != 0
    assert Path(f"/proc/{postgres.pid}").stat().st_uid == postgres.cluster.stat().st_uid


@pytest.mark.parametrize(
    ("user", "password", "answer"),
    [
        ("rapport_reader", "guessed", "password authentication failed"),
        ("rapport_reader", None, "no password supplied"),
        ("rapport_owner", "guessed", "no pg_hba.conf entry"),
        ("root", "guessed", "no pg_hba.conf entry"),
        ("postgres", None, "no pg_hba.conf entry"),
    ],
)
def test_nobody_gets_in_without_a_role_and_its_password(
    postgres: EmbeddedPostgres, prepared_template: str, user: str, password: str | None, answer: str
) -> None:
    place = make_conninfo(host=str(postgres.data / "run"), dbname=prepared_template, user=user, password=password)
    with pytest.raises(psycopg.OperationalError, match=answer):
        psycopg.connect(place)


def test_only_the_owner_can_reach_socket_files_and_logs(postgres: EmbeddedPostgres) -> None:
    private = [postgres.data / name for name in ("run", "logs", "postgres", "secrets")]
    assert {path.stat().st_mode & 0o777 for path in private} == {0o700}


def test_the_servers_log_holds_no_parameters(make_server: MakeServer, data: Path) -> None:
    server = make_server()
    server.start()
    with psycopg.connect(server.administrator(), autocommit=True) as connection:
        connection.execute("SET log_min_duration_statement = 0")
        connection.execute("CREATE TABLE customer (name text UNIQUE)")
        for _ in range(2):
            try:
                connection.execute("INSERT INTO customer VALUES (%s)", ["Ada Lovelace"])
            except psycopg.errors.UniqueViolation:
                break
    server.stop()
    log = "".join(path.read_text() for path in (data / "logs").iterdir())
    assert "INSERT INTO customer" in log
    assert "Ada Lovelace" not in log


def test_a_second_start_is_told_who_has_the_folder(make_server: MakeServer, data: Path) -> None:
    with another_rapport(data) as (process, _), pytest.raises(DataFolderInUse) as refused:
        make_server().start()
    assert f"in use by process {process.pid}: another Rapport" in str(refused.value)


def test_a_stopped_server_starts_again_with_what_it_had(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    _keep(server, "flour")
    server.stop()
    assert server.pid is None
    server.start()
    assert _kept(server) == ["flour"]


def test_a_killed_server_is_launched_again_and_recovers(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    _keep(server, "flour")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    eventually(lambda: server.exit_status() is not None)
    server.launch()
    server.wait_until_ready()
    assert _kept(server) == ["flour"]


def test_a_server_that_loses_one_of_its_processes_ends_and_is_launched_again(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    _keep(server, "flour")
    with psycopg.connect(server.administrator()) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        eventually(lambda: server.exit_status() is not None)
        connection.close()
    server.launch()
    server.wait_until_ready()
    assert _kept(server) == ["flour"]


def test_a_statement_that_outlives_the_killed_server_is_ended(make_server: MakeServer, data: Path) -> None:
    server = make_server()
    server.start()
    busy = psycopg.connect(server.administrator(), autocommit=True)
    with ThreadPoolExecutor(1) as threads, busy:
        # It computes and never looks whether the server still lives.
        endless = threads.submit(busy.execute, "SELECT count(*) FROM generate_series(1, 1000000000000)")
        backend = busy.info.backend_pid
        with psycopg.connect(server.administrator(), autocommit=True) as observer:
            eventually(
                lambda: (
                    observer.execute(
                        "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'", [backend]
                    ).fetchone()
                    is not None
                )
            )
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        eventually(lambda: server.exit_status() is not None)
        server.launch()
        server.wait_until_ready()
        assert isinstance(endless.exception(), psycopg.OperationalError)
        assert backend not in server_processes(data / "postgres")


def test_a_server_ends_with_its_killed_rapport(data: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a process that its parent has died")
    with another_rapport(data) as (process, server):
        process.kill()
        eventually(lambda: server not in server_processes(data / "postgres"))


def test_a_server_that_has_outlived_its_rapport_is_stopped_and_started_again(
    make_server: MakeServer, data: Path
) -> None:
    with another_rapport(data, "outlived") as (process, outlived):
        process.kill()
        process.wait()
        assert outlived in server_processes(data / "postgres")
        server = make_server()
        server.start()
        assert server.pid != outlived
        assert outlived not in server_processes(data / "postgres")


def test_a_folder_whose_rapport_and_server_were_both_killed_starts_again(make_server: MakeServer, data: Path) -> None:
    with another_rapport(data, "outlived") as (process, killed):
        process.kill()
        os.kill(killed, signal.SIGKILL)
        process.wait()
        server = make_server()
        server.start()
        assert _kept_nothing(server)


def _kept_nothing(server: EmbeddedPostgres) -> bool:
    with psycopg.connect(server.administrator()) as connection:
        return connection.execute("SELECT to_regclass('kept')").fetchone() == (None,)


def test_a_server_that_stands_still_is_killed_in_the_end(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "STOP_SECONDS_MAX", 0.1)
    server = make_server()
    server.start()
    _keep(server, "flour")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    server.start()
    assert _kept(server) == ["flour"]


def test_a_server_that_outlives_its_rapport_and_stands_still_is_killed_in_the_end(
    make_server: MakeServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_postgres, "STOP_SECONDS_MAX", 0.1)
    with another_rapport(data, "outlived") as (process, outlived):
        os.kill(outlived, signal.SIGSTOP)
        process.kill()
        process.wait()
        server = make_server()
        server.start()
        assert outlived not in server_processes(data / "postgres")


def test_a_long_recovery_is_said(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(embedded_postgres, "SAY_SO_SECONDS", 0)
    caplog.set_level("INFO")
    make_server().start()
    assert "The database has been recovering for 0 s." in caplog.messages


def test_a_stale_pid_file_that_names_another_living_process_does_no_harm(make_server: MakeServer, data: Path) -> None:
    server = make_server()
    server.start()
    server.stop()
    with subprocess.Popen(["/bin/sleep", "1000"], cwd=data / "postgres") as bystander:
        (data / "postgres" / "postmaster.pid").write_text(f"{bystander.pid}\n{data / 'postgres'}\n")
        server.start()
        assert bystander.poll() is None
        bystander.kill()


def test_what_a_crash_left_half_made_is_made_anew(make_server: MakeServer, data: Path) -> None:
    (data / "postgres.new").mkdir()
    (data / "postgres.new" / "PG_VERSION").write_text("18")
    server = make_server()
    server.start()
    assert server.pid is not None
    assert not (data / "postgres.new").exists()
    assert not (data / "initdb-password").exists()


def test_a_database_without_its_passwords_is_not_opened(make_server: MakeServer, data: Path) -> None:
    server = make_server()
    server.start()
    server.stop()
    passwords_file(data).unlink()
    with pytest.raises(ServerRefusedToStart, match="passwords of the database"):
        server.start()


def test_a_server_that_dies_at_its_start_is_quoted(make_server: MakeServer, data: Path) -> None:
    server = make_server()
    server.start()
    server.stop()
    (data / "postgres" / "global" / "pg_control").write_bytes(b"rotten")
    with pytest.raises(ServerRefusedToStart, match="pg_control"):
        server.start()
    # Nothing is held after a start that failed.
    with pytest.raises(ServerRefusedToStart, match="pg_control"):
        make_server().start()


def test_a_start_can_be_given_up(make_server: MakeServer, data: Path) -> None:
    with pytest.raises(StartInterrupted):
        make_server().start(give_up=lambda: True)
    assert list(server_processes(data / "postgres")) == []


def test_a_path_too_long_for_a_socket_is_refused(data: Path) -> None:
    if os.geteuid() == 0:
        data.chmod(0o711)
    with pytest.raises(ServerRefusedToStart, match="choose a data folder with a shorter path"):
        EmbeddedPostgres(data / ("long" * 25)).start()


def test_binaries_that_the_servers_account_cannot_read_are_copied(data: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root starts the server under another account")
    tmp_path.chmod(0o700)
    wheel = tmp_path / wheel_folder().name
    shutil.copytree(wheel_folder() / "pginstall18", wheel / "pginstall18", symlinks=True)
    libraries = wheel_folder().with_name(f"{wheel.name}.libs")
    shutil.copytree(libraries, tmp_path / libraries.name)
    server = EmbeddedPostgres(data, memory_bytes=128 * 1024**2, wheel=wheel)
    try:
        server.start()
        assert Path(f"/proc/{server.pid}/exe").readlink().is_relative_to(data / "server")
        assert tmp_path.stat().st_mode & 0o777 == 0o700
        server.stop()
        server.start()
        assert len(list((data / "server").iterdir())) == 1
    finally:
        server.stop()


def test_where_there_is_no_proc_the_server_is_found_by_ps(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/bin/ps").exists():
        pytest.skip("this machine has no /bin/ps")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert list(server_processes(postgres.cluster)) == [postgres.pid]


def test_the_superuser_is_known_to_whoever_may_read_the_folder(postgres: EmbeddedPostgres) -> None:
    assert administrator_of(postgres.data) == postgres.administrator()
