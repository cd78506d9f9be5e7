"""A backup is the log at one moment: whole, without its keys, and described by its manifest."""

import asyncio
import gzip
import hashlib
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from infrastructure.backup_files import DERIVED_TABLES, MANIFEST, TABLES, Backup, NotABackup, table_file
from infrastructure.database import Databases
from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.encryption import KeyFile
from infrastructure.ids import new_id
from infrastructure.log_digest import COLUMNS, DIGESTS_FILE, EventIsMissing, position_of, rows, select
from infrastructure.migrations import migrations
from tests.asynchronous import asynchronous
from tests.backups import silent, take
from tests.infrastructure.test_event_store import decision, store
from tests.people import ACME, ACME_REGISTERED, ADA, ADA_REGISTERED, GRACE_ADDED, GRACE_CALLED
from tests.places import InPostgres, empty_log


async def filled(place: InPostgres) -> None:
    """Record four events in two commands."""
    async with place.open() as log:
        ada = decision(ADA, 0, ADA_REGISTERED, GRACE_CALLED)
        await store(log, ada, decision(ACME, 0, ACME_REGISTERED, GRACE_ADDED))


@asynchronous
async def test_a_backup_says_what_it_is(log_in_postgres: InPostgres, tmp_path: Path) -> None:
    await filled(log_in_postgres)
    manifest = take(log_in_postgres, tmp_path / "backup").manifest
    with psycopg.connect(log_in_postgres.databases.backup) as connection:
        last = connection.execute("SELECT max(recorded_at) FROM main.events").fetchone()
    assert (manifest.tenant.id, manifest.tenant.name) == (log_in_postgres.tenant.id, "main")
    assert (manifest.log.position, (manifest.log.recorded_at,)) == (4, last)
    assert manifest.log.recorded_at is not None
    assert manifest.taken_at > manifest.log.recorded_at
    assert [each.name for each in manifest.migrations] == [each.name for each in migrations()]
    fingerprints = {fingerprint.hex() for fingerprint in KeyFile(log_in_postgres.keys).load().fingerprints}
    assert set(manifest.key_encryption_keys) == fingerprints
    assert Backup.open(tmp_path / "backup").manifest == Backup.open(tmp_path / "backup" / MANIFEST).manifest == manifest


@asynchronous
async def test_its_digest_can_be_had_without_rapport(log_in_postgres: InPostgres, tmp_path: Path) -> None:
    await filled(log_in_postgres)
    backup = take(log_in_postgres, tmp_path / "backup")
    unpacked = gzip.decompress((backup.folder / "events.copy.gz").read_bytes())
    with psycopg.connect(log_in_postgres.databases.backup) as connection, connection.cursor() as cursor:
        statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(select("main"))
        with cursor.copy(statement) as copy:
            copied = b"".join(map(bytes, copy))
    assert unpacked == copied
    assert hashlib.sha256(copied[19:-2]).hexdigest() == backup.manifest.log.digest
    digests = (backup.folder / DIGESTS_FILE).read_bytes()
    assert (len(digests), digests[-32:].hex()) == (4 * 32, backup.manifest.log.digest)


@asynchronous
async def test_it_is_for_its_owner_alone_and_holds_no_key(log_in_postgres: InPostgres, tmp_path: Path) -> None:
    await filled(log_in_postgres)
    folder = take(log_in_postgres, tmp_path / "backup").folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    assert {file.name for file in folder.iterdir()} == {
        MANIFEST,
        DIGESTS_FILE,
        *(f"{table}.copy.gz" for table in TABLES),
    }
    (key,) = KeyFile(log_in_postgres.keys).read()
    kept = [file.read_bytes() for file in folder.iterdir()]
    kept += [gzip.decompress(content) for content in kept if content.startswith(b"\x1f\x8b")]
    assert [content for content in kept if key in content or log_in_postgres.tenant.hash_key in content] == []


@asynchronous
async def test_digests_alone_hold_nothing_that_anybody_said(log_in_postgres: InPostgres, tmp_path: Path) -> None:
    await filled(log_in_postgres)
    whole = take(log_in_postgres, tmp_path / "whole")
    digests = take(log_in_postgres, tmp_path / "digests", digests_only=True)
    assert {file.name for file in digests.folder.iterdir()} == {MANIFEST, DIGESTS_FILE}
    assert digests.manifest.log == whole.manifest.log
    with pytest.raises(NotABackup, match="nothing to restore"):
        digests.require_data()


def test_an_empty_log_is_backed_up(log_in_postgres: InPostgres, tmp_path: Path) -> None:
    backup = take(log_in_postgres, tmp_path / "backup")
    assert (backup.manifest.log.position, backup.manifest.log.recorded_at) == (0, None)
    assert copied(backup, "events") == []
    backup.verify_files(silent)


@asynchronous
async def test_commands_that_come_in_meanwhile_are_in_it_whole_or_not_at_all(
    log_in_postgres: InPostgres, tmp_path: Path
) -> None:
    acknowledged, enough = 0, asyncio.Event()

    async def record() -> None:
        nonlocal acknowledged
        async with log_in_postgres.open() as log:
            while not enough.is_set():
                stored = await store(log, decision(new_id(), 0, ADA_REGISTERED, GRACE_CALLED))
                acknowledged = stored[-1].position

    recording = asyncio.create_task(record())
    for number in range(3):
        while acknowledged < 40 * (number + 1):  # noqa: ASYNC110 - it is another task that gets there
            await asyncio.sleep(0)
        before = acknowledged
        backup = await asyncio.to_thread(take, log_in_postgres, tmp_path / str(number))
        end = backup.manifest.log.position
        assert end >= before
        assert [position_of(row) for row in copied(backup, "events")] == list(range(1, end + 1))
        # Each command has two events, one person and, of one call, two texts.
        counted = {table: len(copied(backup, table)) for table in ("commands", "subject_keys", "text_keys")}
        assert counted == {"commands": end // 2, "subject_keys": end // 2, "text_keys": end}
    enough.set()
    await recording


def copied(backup: Backup, table: str) -> list[bytes]:
    """The rows of a table in a backup."""
    return list(rows(backup.table(table)))


@asynchronous
async def test_a_log_with_a_gap_is_not_backed_up_in_silence(
    log_in_postgres: InPostgres, postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    await filled(log_in_postgres)
    with psycopg.connect(postgres.administrator(log_in_postgres.database)) as superuser:
        superuser.execute("ALTER TABLE main.events DISABLE TRIGGER no_change")
        superuser.execute("DELETE FROM main.events WHERE position = 3")
        superuser.execute("ALTER TABLE main.events ENABLE ALWAYS TRIGGER no_change")
    with pytest.raises(EventIsMissing, match="no event at position 3"):
        take(log_in_postgres, tmp_path / "backup")
    with pytest.raises(NotABackup, match="one that was interrupted"):
        Backup.open(tmp_path / "backup")


# Folders


def test_every_backup_gets_a_folder_of_its_own(log_in_postgres: InPostgres, tmp_path: Path) -> None:
    take(log_in_postgres, tmp_path / "new" / "backup")
    with pytest.raises(NotABackup, match="is not empty"):
        take(log_in_postgres, tmp_path / "new" / "backup")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotABackup, match="cannot be made"):
        take(log_in_postgres, tmp_path / "file")


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 2}'])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(NotABackup, match="no manifest of a backup"):
        Backup.open(tmp_path)


def test_a_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotABackup, match="nowhere cannot be read: No such file"):
        Backup.open(tmp_path / "nowhere")


def _bit_flipped(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("name", [*map(table_file, TABLES), DIGESTS_FILE])
@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_bit_flipped, "changed or damaged"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "changed or damaged"),
        (Path.unlink, "cannot be read"),
    ],
    ids=["a bit", "the end", "all of it"],
)
def test_a_damaged_file_is_found(
    a_backup: Path, tmp_path: Path, name: str, damage: Callable[[Path], None], why: str
) -> None:
    shutil.copytree(a_backup, tmp_path / "copy")
    damage(tmp_path / "copy" / name)
    with pytest.raises(NotABackup, match=f"{name}.* {why}"):
        Backup.open(tmp_path / "copy").verify_files(silent)


@pytest.fixture(scope="module")
def a_backup(postgres: EmbeddedPostgres, _shared_log: InPostgres, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of four events."""
    empty_log(postgres.administrator(_shared_log.database))
    asyncio.run(filled(_shared_log))
    return take(_shared_log, tmp_path_factory.mktemp("backups") / "four").folder


# Rights


def test_every_table_of_the_log_is_in_it_or_made_anew(superuser: str) -> None:
    with psycopg.connect(superuser) as connection:
        tables = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'main'")}
    assert tables == {*TABLES, *DERIVED_TABLES}


def test_every_column_of_an_event_is_in_the_digest(superuser: str) -> None:
    with psycopg.connect(superuser) as connection:
        columns = connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'main' AND table_name = 'events'"
        )
        assert {name for (name,) in columns} == set(COLUMNS)


def test_the_role_for_backups_reads_the_log_and_does_nothing_else(databases: Databases, superuser: str) -> None:
    with psycopg.connect(superuser) as connection:
        rights = connection.execute(
            "SELECT DISTINCT privilege FROM pg_class, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', "
            "'REFERENCES', 'TRIGGER']) AS privilege WHERE relkind IN ('r', 'v', 'S') "
            "AND relnamespace = to_regnamespace('main') AND has_table_privilege('rapport_backup', oid, privilege)"
        ).fetchall()
        memberships = connection.execute(
            "SELECT roleid FROM pg_auth_members WHERE member = 'rapport_backup'::regrole"
        ).fetchall()
        attributes = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles "
            "WHERE rolname = 'rapport_backup'"
        ).fetchone()
    assert (rights, memberships, attributes) == ([("SELECT",)], [], (False,) * 5)
    with psycopg.connect(databases.backup, autocommit=True) as backup:
        for statement in (
            "SELECT main.destroy_subject(NULL)",
            "SELECT main.append()",
            "SELECT * FROM main_read.builds",
        ):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction)):
                backup.execute(statement.encode())
