"""Fixtures for tests that start servers of their own."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from infrastructure.embedded_postgres import EmbeddedPostgres, end_leftovers
from infrastructure.postgres_installation import Account, account_for
from tests.infrastructure.waiting import answers, eventually

DEBIAN_POSTGRES = Path("/usr/lib/postgresql/15/bin")
MEMORY_BYTES = 128 * 1024**2


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder of this test: its path is short, and the server's account can reach it when we are root."""
    folder = Path(tempfile.mkdtemp(prefix="rapport-data-"))
    yield folder
    # A server whose Rapport was killed takes a moment to end, and goes on writing until then.
    end_leftovers(folder / "postgres", folder / "run")
    shutil.rmtree(folder)


@pytest.fixture
def make_server(data: Path) -> Iterator[Callable[[], EmbeddedPostgres]]:
    """Makes servers on this test's data folder that are stopped at its end; a test starts them itself."""
    made = []

    def make() -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(data, memory_bytes=MEMORY_BYTES))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="session")
def debian_postgres() -> Iterator[str]:
    """Connection string, without a database, to a Debian Postgres 15 as its superuser."""
    if not (DEBIAN_POSTGRES / "postgres").exists():
        pytest.skip(f"the Debian package postgresql-15 is not installed: there is no {DEBIAN_POSTGRES}")
    folder = Path(tempfile.mkdtemp(prefix="rapport-debian-"))
    account = _debian_account(folder)
    server = None
    try:
        folder.chmod(0o711)
        (folder / "run").mkdir(mode=0o700)
        (folder / "cluster").mkdir(mode=0o700)
        account.give(folder / "run")
        account.give(folder / "cluster")
        password = folder / "password"
        password.write_text("administrator")
        account.give(password)
        with (folder / "output").open("wb") as output:
            initdb = [str(DEBIAN_POSTGRES / "initdb"), "-D", str(folder / "cluster"), "-U", "postgres"]
            options = ["--pwfile", str(password), "-A", "scram-sha-256", "-E", "UTF8", "--locale", "C", "--no-sync"]
            assert account.start([*initdb, *options], output=output.fileno(), end=signal.SIGTERM).wait() == 0
            settings = ["-c", f"unix_socket_directories={folder / 'run'}", "-c", "listen_addresses="]
            postgres = [str(DEBIAN_POSTGRES / "postgres"), "-D", str(folder / "cluster"), *settings]
            server = account.start(postgres, output=output.fileno(), end=signal.SIGINT)
        url = make_conninfo(host=str(folder / "run"), user="postgres", password="administrator")
        eventually(lambda: answers(make_conninfo(url, dbname="postgres")))
        yield url
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)
            server.wait()
        shutil.rmtree(folder)


def _debian_account(folder: Path) -> Account:
    """As root, the account that Debian's package has made: initdb wants one with a name."""
    if os.geteuid() != 0:
        return account_for(folder)
    known = subprocess.run(["/usr/bin/id", "-u", "postgres"], capture_output=True, text=True, check=False)
    if known.returncode != 0:
        pytest.skip("there is no account postgres, which the Debian package makes")
    return Account(int(known.stdout), int(known.stdout))
