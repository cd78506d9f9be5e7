"""A restored log is the one that was backed up: whole, proved before it counts, and without those erased since."""

import asyncio
import gzip
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from application.commands import Role
from domain.values import ERASED
from infrastructure.backup_files import MANIFEST, TABLES, Backup, NotABackup, table_file
from infrastructure.database import LOGIN_ROLES
from infrastructure.embedded_postgres import EmbeddedPostgres, make_database
from infrastructure.encryption import KeyEncryptionKeyMissing, KeyFile, new_key
from infrastructure.epochs import epochs_of
from infrastructure.erasures import Journal, JournalIsUnreadable
from infrastructure.ids import new_id
from infrastructure.key_rotation import Rotation
from infrastructure.log_digest import (
    DIGESTS_FILE,
    HEADER,
    TRAILER,
    CannotBeCompared,
    EventDiffers,
    EventIsMissing,
    LogDiffers,
    LogIsLonger,
    LogIsShorter,
)
from infrastructure.passwords import passwords_file
from infrastructure.principals import Principals
from infrastructure.restore import JournalIsMissing, PlaceIsTaken, RestoreRefused, Wanted, bring_back, restore
from infrastructure.restore_mark import RestoreIsUnfinished
from infrastructure.saved_keys import KeysDoNotFit, save_keys
from infrastructure.server import databases_of, prepare_and_verify
from infrastructure.settings import Settings
from infrastructure.table_digest import digest_of
from infrastructure.tenant import load_tenant
from tests.asynchronous import asynchronous
from tests.backups import change, one_byte_changed, silent, take
from tests.infrastructure.test_event_store import IN_THE_SHOP, claimed, decision, store
from tests.people import ACME, ACME_BLOCKED, ACME_REGISTERED, ADA, ADA_REGISTERED, GRACE, GRACE_ADDED, GRACE_CALLED
from tests.places import InPostgres

CALLED = replace(GRACE_CALLED, contacts=())
STORY = [ADA_REGISTERED, CALLED, ACME_REGISTERED, GRACE_ADDED]


@dataclass
class Source:
    """A log in which Ada calls and Acme gets a contact person, and where it is kept."""

    place: InPostgres
    folder: Path

    @property
    def keys(self) -> Path:
        """Where its keys are saved."""
        return self.folder / "saved"

    def back_up(self, name: str = "backup") -> Backup:
        """Back it up, and save its keys."""
        backup = take(self.place, self.folder / name)
        self.save_keys()
        return backup

    def save_keys(self) -> None:
        """Save its keys and its journal of erasures."""
        with psycopg.connect(self.place.databases.privacy) as privacy:
            save_keys(privacy, KeyFile(self.place.keys), self.keys)

    async def record(self, *events: object, after: int) -> None:
        """Record something more about Acme."""
        async with self.place.open() as log:
            await store(log, decision(ACME, after, *events))


@pytest.fixture
def source(log_in_postgres: InPostgres, tmp_path: Path) -> Source:
    """The log, filled."""

    async def fill() -> None:
        async with log_in_postgres.open() as log:
            ada = decision(ADA, 0, ADA_REGISTERED, CALLED, key="ada", claims=[claimed(IN_THE_SHOP, ADA, subject=ADA)])
            await store(log, ada, decision(ACME, 0, ACME_REGISTERED, GRACE_ADDED))

    asyncio.run(fill())
    return Source(log_in_postgres, tmp_path)


@pytest.fixture(scope="module")
def target_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database into which tests restore, one after the other."""
    make_database(postgres.administrator("postgres"), "restored")
    yield postgres.administrator("restored")
    with psycopg.connect(postgres.administrator("postgres"), autocommit=True) as administrator:
        administrator.execute("DROP DATABASE restored WITH (FORCE)")


@pytest.fixture
def target(postgres: EmbeddedPostgres, target_database: str, data: Path) -> Iterator[Settings]:
    """A Rapport of its own that has nothing yet; on one server, roles have the same passwords."""
    passwords_file(data).parent.mkdir(mode=0o700)
    shutil.copy(passwords_file(postgres.data), passwords_file(data))
    yield Settings(data=data, database_url=target_database)
    with psycopg.connect(target_database) as superuser:
        superuser.execute("DROP SCHEMA IF EXISTS main, main_read CASCADE")


def restored_place(target: Settings) -> InPostgres:
    """The restored log."""
    return InPostgres(databases_of(target), target.data / "keys")


async def events_of(target: Settings) -> list[object]:
    """The events that a service on the restored log would read."""
    async with restored_place(target).open() as log:
        return [each.event for each in await log.events(1, 99)]


def is_untouched(target: Settings) -> bool:
    """Whether nothing has been made in the database."""
    assert target.database_url is not None
    with psycopg.connect(target.database_url) as superuser:
        return superuser.execute("SELECT to_regnamespace('main')").fetchone() == (None,)


# All of it


@asynchronous
async def test_a_restored_log_is_read_and_written_on_like_the_first(source: Source, target: Settings) -> None:
    with psycopg.connect(source.place.databases.operator) as operator:
        Principals(operator, "main").create("web shop", Role.SERVICE)
    backup = source.back_up()
    restored = restore(target, Wanted(backup=backup, keys=source.keys), silent)
    assert (restored.position, restored.erased_again, restored.has_keys) == (4, 0, True)
    prepare_and_verify(target)
    assert await events_of(target) == STORY
    async with restored_place(target).open() as log, source.place.open() as first:
        assert log.tenant.id == first.tenant.id
        assert await log.holders([IN_THE_SHOP]) == {IN_THE_SHOP: ADA}
        known = decision(ADA, 0, ADA_REGISTERED, key="ada")
        assert await log.known([known.key]) == await first.known([known.key]) != {}
        assert [each.position for each in await store(log, decision(ACME, 2, ACME_BLOCKED))] == [5]
    with psycopg.connect(databases_of(target).operator) as operator:
        assert "web shop" in {key.name for key in Principals(operator, "main").all()}


@asynchronous
async def test_a_restored_log_has_its_guards(source: Source, target: Settings) -> None:
    restore(target, Wanted(backup=source.back_up(), keys=source.keys), silent)
    changing, service = "DELETE FROM main.events", databases_of(target).service
    for url, statement in ((target.database_url, changing), (service, "INSERT INTO main.events DEFAULT VALUES")):
        assert url is not None
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


@asynchronous
async def test_a_tenant_may_have_another_name_where_it_is_restored(source: Source, target: Settings) -> None:
    branch = target.model_copy(update={"tenant": "branch"})
    restore(branch, Wanted(backup=source.back_up(), keys=source.keys), silent)
    try:
        async with InPostgres(databases_of(branch), target.data / "keys", "branch").open() as log:
            assert [each.event for each in await log.events(1, 99)] == STORY
    finally:
        with psycopg.connect(target.database_url or "") as superuser:
            superuser.execute("DROP SCHEMA branch, branch_read CASCADE")


@pytest.mark.debian_postgres
@asynchronous
async def test_a_backup_is_restored_on_an_older_server(source: Source, debian_postgres: str, data: Path) -> None:
    url = make_conninfo(debian_postgres, dbname="restored")
    with psycopg.connect(debian_postgres, dbname="postgres", autocommit=True) as superuser:
        superuser.execute("CREATE DATABASE restored TEMPLATE template0 ENCODING 'UTF8'")
    older = Settings(data=data, database_url=url)
    try:
        restore(older, Wanted(backup=source.back_up(), keys=source.keys), silent)
        assert await events_of(older) == STORY
        # The digest is that of the events, whichever server keeps them.
        again = take(restored_place(older), data / "again")
        assert (again.manifest.postgres, again.manifest.log) == (15, Backup.open(source.folder / "backup").manifest.log)
    finally:
        with psycopg.connect(debian_postgres, dbname="postgres", autocommit=True) as superuser:
            superuser.execute("DROP DATABASE restored WITH (FORCE)")
            for role in ("rapport_owner", *LOGIN_ROLES):
                superuser.execute(f"DROP ROLE IF EXISTS {role}".encode())


# Where something is already


@asynchronous
async def test_a_log_that_is_there_is_not_replaced_unless_told(source: Source, target: Settings) -> None:
    first = source.back_up("first")
    await source.record(ACME_BLOCKED, after=2)
    second = source.back_up("second")
    restore(target, Wanted(backup=second, keys=source.keys), silent)
    with pytest.raises(PlaceIsTaken, match="say --replace"):
        restore(target, Wanted(backup=first, keys=source.keys), silent)
    assert len(await events_of(target)) == 5
    restore(target, Wanted(backup=first, keys=source.keys, replaces=True), silent)
    assert await events_of(target) == STORY


# Changed backups


CHANGES: dict[str, tuple[Callable[[list[bytes]], Sequence[bytes]], type[LogDiffers], int]] = {
    "one byte of a body": (one_byte_changed(3), EventDiffers, 3),
    "one event missing": (lambda events: [*events[:1], *events[2:]], EventIsMissing, 2),
    "the end missing": (lambda events: events[:3], LogIsShorter, 4),
    "two exchanged": (lambda events: [events[0], events[2], events[1], events[3]], EventIsMissing, 2),
    "one more": (lambda events: [*events, events[3][:13] + b"\5" + events[3][14:]], LogIsLonger, 5),
}


@pytest.mark.parametrize(("altered", "refusal", "position"), CHANGES.values(), ids=CHANGES)
def test_a_changed_log_is_refused_and_its_first_position_named(
    source: Source, target: Settings, altered: Any, refusal: type[LogDiffers], position: int
) -> None:
    changed = change(source.back_up().folder, altered)
    with pytest.raises(refusal) as found:
        restore(target, Wanted(backup=changed, keys=source.keys), silent)
    assert found.value.position == position
    assert f"position {position}" in str(found.value) or f"position {position - 1}," in str(found.value)
    assert is_untouched(target)


@pytest.mark.parametrize("where", ["folder", "manifest alone"])
@asynchronous
async def test_what_was_changed_with_all_its_digests_is_found_by_whoever_knows_the_log(
    source: Source, target: Settings, where: str
) -> None:
    digests = take(source.place, source.folder / "digests", digests_only=True)
    changed = change(source.back_up().folder, one_byte_changed(3), thoroughly=True)
    if where == "manifest alone":
        (digests.folder / DIGESTS_FILE).unlink()
    known = Backup.open(digests.folder / MANIFEST).known()
    with pytest.raises(LogDiffers) as found:
        restore(target, Wanted(backup=changed, keys=source.keys, known=known), silent)
    assert (type(found.value) is EventDiffers, found.value.position) == (
        (where == "folder"),
        3 if where == "folder" else 4,
    )
    assert is_untouched(target)


@asynchronous
async def test_a_log_agrees_with_what_was_known_before_and_after(source: Source, target: Settings) -> None:
    before = take(source.place, source.folder / "before", digests_only=True)
    await source.record(ACME_BLOCKED, after=2)
    backup = source.back_up()
    await source.record(ACME_REGISTERED, after=3)
    after = take(source.place, source.folder / "after", digests_only=True)
    for known in (before.known(), after.known()):
        restored = restore(target, Wanted(backup=backup, keys=source.keys, known=known, replaces=True), silent)
        assert restored.position == 5
    (after.folder / DIGESTS_FILE).unlink()
    with pytest.raises(CannotBeCompared):
        restore(target, Wanted(backup=backup, keys=source.keys, known=after.known(), replaces=True), silent)


def test_digests_of_another_manifest_are_refused(source: Source) -> None:
    backup = source.back_up()
    (backup.folder / DIGESTS_FILE).write_bytes(bytes(4 * 32))
    with pytest.raises(NotABackup, match="does not belong to"):
        backup.known()


def test_what_does_not_fit_its_table_leaves_nothing_behind(source: Source, target: Settings) -> None:
    backup = source.back_up()
    columns = dict(backup.manifest.tables) | {"claims": ("value", "kind", "stream_id", "subject_id")}
    mistaken = Backup(backup.folder, backup.manifest.model_copy(update={"tables": columns}))
    with pytest.raises(NotABackup, match=r"claims\.copy\.gz does not fit its table"):
        restore(target, Wanted(backup=mistaken, keys=source.keys), silent)
    with pytest.raises(RestoreIsUnfinished, match="run rapport restore again"):
        prepare_and_verify(target)
    with psycopg.connect(databases_of(target).service) as service:
        assert service.execute("SELECT count(*) FROM main.events").fetchone() == (0,)


def test_a_backup_of_a_newer_rapport_is_refused(source: Source, target: Settings) -> None:
    backup = source.back_up()
    newer = backup.manifest.migrations[-1].model_copy(update={"number": 9_999, "name": "9999_newer"})
    manifest = backup.manifest.model_copy(update={"migrations": (*backup.manifest.migrations, newer)})
    with pytest.raises(RestoreRefused, match="9999_newer"):
        restore(target, Wanted(backup=Backup(backup.folder, manifest), keys=source.keys), silent)
    assert is_untouched(target)


# Interrupted


class Interrupted(BaseException):
    """Stands for a program that ends at this moment."""


STEPS = ["verifying files", "verifying the log", "loading tables", "comparing the restored log"]


@pytest.mark.parametrize("step", STEPS)
@asynchronous
async def test_a_restore_that_was_interrupted_is_begun_again(source: Source, target: Settings, step: str) -> None:
    def interrupt(what: str, _done: int, _total: int) -> None:
        if what == step:
            raise Interrupted

    wanted = Wanted(backup=source.back_up(), keys=source.keys)
    with pytest.raises(Interrupted):
        restore(target, wanted, interrupt)
    if step.startswith("verifying"):
        assert is_untouched(target)
    else:
        with pytest.raises(RestoreIsUnfinished, match="run rapport restore again"):
            prepare_and_verify(target)
    restore(target, wanted, silent)
    prepare_and_verify(target)
    assert await events_of(target) == STORY


# Keys


@asynchronous
async def test_without_its_keys_a_log_is_restored_and_no_service_starts_on_it(source: Source, target: Settings) -> None:
    restored = restore(target, Wanted(backup=source.back_up()), silent)
    assert not restored.has_keys
    with pytest.raises(RestoreIsUnfinished, match="bring it with rapport encryption bring"):
        prepare_and_verify(target)
    with psycopg.connect(databases_of(target).service) as service, pytest.raises(KeyEncryptionKeyMissing):
        load_tenant(service, "main", KeyFile(target.data / "keys"))
    assert bring_back(target, source.keys, without_journal=False) == 0
    prepare_and_verify(target)
    assert await events_of(target) == STORY


def test_wrong_keys_are_refused_before_anything_is_changed(source: Source, target: Settings, tmp_path: Path) -> None:
    backup = source.back_up()
    KeyFile(tmp_path / "wrong").write([new_key()])
    for folder in (tmp_path / "wrong", tmp_path / "nowhere"):
        with pytest.raises(KeysDoNotFit, match=next(iter(backup.manifest.key_encryption_keys))):
            restore(target, Wanted(backup=backup, keys=folder), silent)
    assert is_untouched(target)


def test_wrong_keys_are_not_brought_either(source: Source, target: Settings, tmp_path: Path) -> None:
    with pytest.raises(RestoreRefused, match="restore one first"):
        bring_back(target, source.keys, without_journal=False)
    restore(target, Wanted(backup=source.back_up()), silent)
    KeyFile(tmp_path / "wrong").write([new_key()])
    with pytest.raises(KeysDoNotFit):
        bring_back(target, tmp_path / "wrong", without_journal=False)
    with pytest.raises(RestoreIsUnfinished):
        prepare_and_verify(target)


@asynchronous
async def test_a_backup_from_before_a_rotation_needs_the_key_that_was_saved_then(
    source: Source, target: Settings
) -> None:
    before = source.back_up("before")
    with psycopg.connect(source.place.databases.privacy, autocommit=True) as privacy:
        Rotation(privacy, KeyFile(source.place.keys)).run()
    with pytest.raises(KeysDoNotFit):
        restore(target, Wanted(backup=before, keys=source.place.keys), silent)
    after = source.back_up("after")
    # The folder with saved keys has both; only the one that is needed is brought.
    for backup in (before, after):
        shutil.rmtree(target.data / "keys", ignore_errors=True)
        restore(target, Wanted(backup=backup, keys=source.keys, replaces=True), silent)
        assert await events_of(target) == STORY
        assert len(KeyFile(target.data / "keys").read()) == 1


@asynchronous
async def test_a_backup_from_amid_a_rotation_is_restored_with_both_keys(source: Source, target: Settings) -> None:
    class Killed(BaseException):
        pass

    backups: list[Backup] = []

    def back_up_halfway(done: int, total: int) -> None:
        if 1 < done < total:
            backups.append(source.back_up(str(done)))
            raise Killed

    with psycopg.connect(source.place.databases.privacy, autocommit=True) as privacy, pytest.raises(Killed):
        Rotation(privacy, KeyFile(source.place.keys), back_up_halfway).run()
    assert len(backups[0].manifest.key_encryption_keys) == 2
    restore(target, Wanted(backup=backups[0], keys=source.keys), silent)
    assert await events_of(target) == STORY
    with psycopg.connect(source.place.databases.privacy, autocommit=True) as privacy:
        Rotation(privacy, KeyFile(source.place.keys)).run()


# Erased since


@pytest.mark.parametrize("when", ["with the restore", "afterwards"])
@asynchronous
async def test_who_was_erased_after_the_backup_does_not_come_back(source: Source, target: Settings, when: str) -> None:
    backup = source.back_up()
    source.place.destroy_subject(ADA)
    source.save_keys()
    if when == "with the restore":
        assert restore(target, Wanted(backup=backup, keys=source.keys), silent).erased_again == 1
    else:
        restore(target, Wanted(backup=backup), silent)
        assert bring_back(target, source.keys, without_journal=False) == 1
    ada = replace(ADA_REGISTERED, name=ERASED, personal_vat_id=ERASED)
    assert await events_of(target) == [ada, replace(CALLED, summary=ERASED, next_step=ERASED), *STORY[2:]]
    async with restored_place(target).open() as log:
        assert await log.holders([IN_THE_SHOP]) == {}


@asynchronous
async def test_a_text_that_was_redacted_after_the_backup_does_not_come_back(source: Source, target: Settings) -> None:
    backup = source.back_up()
    with psycopg.connect(source.place.databases.privacy) as privacy:
        texts = privacy.execute("SELECT text_id FROM main.text_keys").fetchall()
    for (text,) in texts:
        source.place.destroy_text(text)
    source.save_keys()
    assert restore(target, Wanted(backup=backup, keys=source.keys), silent).erased_again == 0
    assert await events_of(target) == [ADA_REGISTERED, replace(CALLED, summary=ERASED, next_step=ERASED), *STORY[2:]]


@asynchronous
async def test_who_was_erased_in_the_log_that_goes_does_not_come_back(source: Source, target: Settings) -> None:
    """Also when no journal was written since: the log that is replaced knows it."""
    backup = source.back_up()
    restore(target, Wanted(backup=backup, keys=source.keys), silent)
    restored_place(target).destroy_subject(GRACE)
    again = restore(target, Wanted(backup=backup, keys=source.keys, replaces=True), silent)
    assert again.erased_again == 1
    assert (await events_of(target))[-1] != GRACE_ADDED


@asynchronous
async def test_without_a_journal_nobody_is_brought_back_in_silence(source: Source, target: Settings) -> None:
    backup = source.back_up()
    Journal(source.keys, source.place.tenant.id).path.unlink()
    with pytest.raises(JournalIsMissing, match="would be readable again"):
        restore(target, Wanted(backup=backup, keys=source.keys), silent)
    restore(target, Wanted(backup=backup), silent)
    with pytest.raises(JournalIsMissing):
        bring_back(target, source.keys, without_journal=False)
    assert bring_back(target, source.keys, without_journal=True) == 0
    assert await events_of(target) == STORY


def test_a_journal_only_grows(source: Source, target: Settings) -> None:
    backup = source.back_up()
    source.place.destroy_subject(ADA)
    source.save_keys()
    journal = Journal(source.keys, source.place.tenant.id)
    before = journal.read()
    assert before is not None
    # As if the database were an older one, which knows nothing of Ada's erasure.
    assert set(journal.add(before.model_copy(update={"subjects": {GRACE: before.until}})).subjects) == {ADA, GRACE}
    source.save_keys()
    assert set((journal.read() or before).subjects) == {ADA, GRACE}
    journal.path.write_text("[]")
    with pytest.raises(JournalIsUnreadable, match="is no journal of erasures"):
        restore(target, Wanted(backup=backup, keys=source.keys), silent)


# Tables beside the log

OTHER_TABLES = [table for table in TABLES if table != "events"]


def altered_table(folder: Path, table: str, *, thoroughly: bool) -> Backup:
    """Empty a table of a backup, and its manifest so that nobody sees it by the digests of its files.

    Thoroughly: the digest of the table, too, so that only somebody who has noted it down can tell.
    """
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    file = folder / table_file(table)
    file.write_bytes(gzip.compress(HEADER + TRAILER))
    manifest["files"][file.name] = {
        "size": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    if thoroughly:
        manifest["table_digests"][table] = digest_of([HEADER + TRAILER])
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return Backup.open(folder)


@pytest.mark.parametrize("table", [each for each in OTHER_TABLES if each != "retired_key_encryption_keys"])
@pytest.mark.parametrize("noted", ["by nobody", "with the backup", "apart"])
def test_a_table_that_was_emptied_is_refused(source: Source, target: Settings, table: str, noted: str) -> None:
    with psycopg.connect(source.place.databases.operator) as operator:
        Principals(operator, "main").create(f"shop {new_id()}", Role.SERVICE)
    backup = source.back_up()
    apart = backup if noted == "with the backup" else take(source.place, source.folder / "apart", digests_only=True)
    manifest = None if noted == "by nobody" else apart.manifest
    changed = altered_table(backup.folder, table, thoroughly=noted != "by nobody")
    with pytest.raises(NotABackup, match=table):
        restore(target, Wanted(backup=changed, keys=source.keys, noted=manifest, unchecked=True), silent)
    assert is_untouched(target)


def test_a_key_that_was_planted_is_refused(source: Source, target: Settings) -> None:
    noted = source.back_up("noted")
    with psycopg.connect(source.place.databases.operator) as operator:
        Principals(operator, "main").create(f"planted {new_id()}", Role.ADMIN)
    with pytest.raises(NotABackup, match=r"principals|credentials"):
        restore(target, Wanted(backup=source.back_up(), keys=source.keys, noted=noted.manifest), silent)
    assert is_untouched(target)


@asynchronous
async def test_commands_that_were_emptied_do_not_go_with_the_log_whoever_noted_what(
    source: Source, target: Settings
) -> None:
    """The digests that were noted down are of an earlier position, and prove the log alone."""
    earlier = take(source.place, source.folder / "earlier", digests_only=True)
    await source.record(ACME_BLOCKED, after=2)
    changed = altered_table(source.back_up().folder, "commands", thoroughly=True)
    wanted = Wanted(backup=changed, keys=source.keys, known=earlier.known(), noted=earlier.manifest)
    with pytest.raises(NotABackup, match="lacks the command of the event"):
        restore(target, wanted, silent)
    restored = restore(target, replace(wanted, backup=source.back_up("whole")), silent)
    assert set(restored.unproved) == set(OTHER_TABLES)


def test_digests_of_tables_cannot_be_left_out(source: Source, target: Settings) -> None:
    backup = source.back_up()
    digests = {table: each for table, each in backup.manifest.table_digests.items() if table != "claims"}
    without = Backup(backup.folder, backup.manifest.model_copy(update={"table_digests": digests}))
    with pytest.raises(RestoreRefused, match=r"claims\. Who could .* --unchecked"):
        restore(target, Wanted(backup=without, keys=source.keys), silent)
    assert restore(target, Wanted(backup=without, keys=source.keys, unchecked=True), silent).unproved == ("claims",)


@pytest.mark.parametrize("step", ["loading tables", "comparing the restored log"])
@asynchronous
async def test_the_log_that_is_there_stays_until_the_new_one_is_proved(
    source: Source, target: Settings, step: str
) -> None:
    restore(target, Wanted(backup=source.back_up("first"), keys=source.keys), silent)
    await source.record(ACME_BLOCKED, after=2)
    second = source.back_up("second")

    def interrupt(what: str, _done: int, _total: int) -> None:
        if what == step:
            raise Interrupted

    with pytest.raises(Interrupted):
        restore(target, Wanted(backup=second, keys=source.keys, replaces=True), interrupt)
    prepare_and_verify(target)
    assert await events_of(target) == STORY
    columns = dict(second.manifest.tables) | {"claims": ("value", "kind", "stream_id", "subject_id")}
    mistaken = Backup(second.folder, second.manifest.model_copy(update={"tables": columns}))
    with pytest.raises(NotABackup, match=r"claims\.copy\.gz does not fit its table"):
        restore(target, Wanted(backup=mistaken, keys=source.keys, replaces=True), silent)
    prepare_and_verify(target)
    assert await events_of(target) == STORY


# Revoked since


@pytest.mark.parametrize("how", ["saved keys", "saved keys, brought later", "the log that goes"])
def test_a_key_that_was_revoked_after_the_backup_is_not_good_again(source: Source, target: Settings, how: str) -> None:
    with psycopg.connect(source.place.databases.operator) as operator:
        _, stolen = Principals(operator, "main").create(f"stolen {new_id()}", Role.ADMIN)
        backup = source.back_up()
        if how != "the log that goes":
            Principals(operator, "main").revoke(stolen.id)
            source.save_keys()
    if how == "saved keys, brought later":
        restore(target, Wanted(backup=backup), silent)
        bring_back(target, source.keys, without_journal=False)
    elif how == "the log that goes":
        restore(target, Wanted(backup=backup, keys=source.keys), silent)
        with psycopg.connect(databases_of(target).operator) as operator:
            Principals(operator, "main").revoke(stolen.id)
        restored = restore(target, Wanted(backup=backup, keys=source.keys, replaces=True), silent)
        assert restored.revocations_until > backup.manifest.taken_at
    else:
        restored = restore(target, Wanted(backup=backup, keys=source.keys), silent)
        assert restored.revoked_again == 1
        assert restored.revocations_until > backup.manifest.taken_at
    with psycopg.connect(databases_of(target).operator) as operator:
        found = {key.id: key.revoked_at for key in Principals(operator, "main").all()}
    assert found[stolen.id] is not None


def test_a_restore_says_from_when_on_it_knows_of_no_revocation(source: Source, target: Settings) -> None:
    backup = source.back_up()
    for journal in source.keys.glob("revocations-*.json"):
        journal.unlink()
    restored = restore(target, Wanted(backup=backup, keys=source.keys), silent)
    assert (restored.revoked_again, restored.revocations_until) == (0, backup.manifest.taken_at)


# Backups of older versions

OLDER = Path(__file__).parents[1] / "golden" / "backups"


@asynchronous
async def test_a_backup_of_the_version_before_there_were_digests_of_tables_is_restored(
    target: Settings, tmp_path: Path
) -> None:
    """Taken by f7fb70a; its key-encryption key is published, and protects nothing."""
    shutil.copytree(OLDER / "f7fb70a", tmp_path / "older")
    saved = tmp_path / "older" / "saved"
    KeyFile(saved).path.chmod(0o600)
    wanted = Wanted(backup=Backup.open(tmp_path / "older" / "backup"), keys=saved)
    with pytest.raises(RestoreRefused, match="--unchecked"):
        restore(target, wanted, silent)
    assert is_untouched(target)
    restored = restore(target, replace(wanted, unchecked=True), silent)
    assert set(restored.unproved) == {"tenant", "commands", "claims", "subject_keys", "text_keys", "api_keys"} | {
        "retired_key_encryption_keys"
    }
    prepare_and_verify(target)
    assert await events_of(target) == STORY
    async with restored_place(target).open() as log:
        assert await log.holders([IN_THE_SHOP]) == {IN_THE_SHOP: ADA}
    with psycopg.connect(databases_of(target).operator) as operator:
        keys = {key.name: key.revoked_at is None for key in Principals(operator, "main").all()}
    assert keys == {"web shop": True, "old shop": False}


# Epochs


@asynchronous
async def test_each_restore_begins_an_epoch_after_the_last_position_of_the_backup(
    source: Source, target: Settings
) -> None:
    async with source.place.open() as log:
        before = await log.epochs()
    backup = source.back_up()
    restore(target, Wanted(backup=backup, keys=source.keys), silent)
    async with restored_place(target).open() as log:
        first = await log.epochs()
        await store(log, decision(ACME, 2, ACME_BLOCKED))
    restore(target, Wanted(backup=take(restored_place(target), source.folder / "later"), replaces=True), silent)
    async with restored_place(target).open() as log:
        second = await log.epochs()
    assert first.epochs[:-1] == before.epochs
    assert second.epochs[:-1] == first.epochs
    assert [each.first_position for each in second.epochs[-2:]] == [5, 6]
    assert "restored from the backup of" in second.epochs[-1].reason
    assert (second.last_position(before.current), second.last_position(first.current)) == (4, 5)


def test_an_epoch_is_begun_within_the_log_by_the_operator_alone(source: Source) -> None:
    with psycopg.connect(source.place.databases.operator) as operator:
        for after in (-1, 5, None):
            with pytest.raises(psycopg.errors.InvalidParameterValue), operator.transaction():
                operator.execute("SELECT main.begin_epoch(%s, 'tried')", [after])
        operator.execute("SELECT main.begin_epoch(4, 'tried')")
        assert epochs_of(operator, "main").epochs[-1].first_position == 5
        operator.rollback()


def test_a_log_from_before_has_one_epoch_the_same_wherever_it_is_upgraded(target: Settings, tmp_path: Path) -> None:
    shutil.copytree(OLDER / "f7fb70a", tmp_path / "older")
    saved = tmp_path / "older" / "saved"
    KeyFile(saved).path.chmod(0o600)
    backup = Backup.open(tmp_path / "older" / "backup")
    found = []
    for _ in range(2):
        restore(target, Wanted(backup=backup, keys=saved, unchecked=True, replaces=True), silent)
        with psycopg.connect(databases_of(target).operator) as operator:
            found.append(epochs_of(operator, "main").epochs)
    assert [[each.first_position for each in epochs] for epochs in found] == [[1, 5]] * 2
    assert found[0][0].id == found[1][0].id
    assert found[0][1].id != found[1][1].id
