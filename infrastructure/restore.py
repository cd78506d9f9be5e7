"""Restoring a backup: into an empty place, as a whole or not at all, and compared with what is known before it counts.

In one transaction the log that is there goes, tables are made as they were when the backup was taken, filled, compared
and relieved of those who have been erased since; then they are migrated to today's form, and what was revoked since is
revoked again. So the log that is there stays until the new one is proved, whatever ends the restore. Read models are
made anew by the projector. While a restore into an empty place is not over, a mark in the data folder keeps every
service from starting.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from infrastructure.backup_files import TABLES, Backup, Manifest, NotABackup, Progress, table_file, tables_at
from infrastructure.database import LOGIN_ROLES, PROJECTOR, make_schemas, prepare, verify_settings
from infrastructure.encryption import KeyFile
from infrastructure.erasures import Erasures, Journal
from infrastructure.key_rotation import wrapped_keys
from infrastructure.log_digest import KnownLog, compare, log_rows, position_of, rows
from infrastructure.migrations import OWNER, migrate, migrations
from infrastructure.passwords import load_passwords
from infrastructure.restore_mark import RestoreMark, Unfinished
from infrastructure.revocations import RevocationJournal, Revocations
from infrastructure.saved_keys import bring_keys, require_keys
from infrastructure.server import alone
from infrastructure.settings import Settings, StartRefused
from infrastructure.table_digest import table_copy
from infrastructure.tenant import load_tenant

REPORT_EVENTS = 1_000
"""The progress is told after so many events."""

Connection = psycopg.Connection[tuple[Any, ...]]


class RestoreRefused(StartRefused):
    """The backup is not restored; nothing has been changed."""


class PlaceIsTaken(RestoreRefused):
    """Where the backup would go there is a log already."""


class TablesAreUnproved(RestoreRefused):
    """Nothing proves that tables of the backup are those that were backed up."""

    def __init__(self, backup: Backup) -> None:
        super().__init__(
            f"The backup was taken by Rapport {backup.manifest.software}, which noted no digests of tables or lost"
            f" them. So nothing proves these: {', '.join(backup.unproved)}. Who could change the backup may have"
            " emptied them, or planted keys. Say --unchecked to restore it all the same."
        )


class JournalIsMissing(RestoreRefused):
    """Nobody can tell who was erased since the backup was taken."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"There is no journal of erasures {path}: people who were erased after the backup was taken would be"
            " readable again. Bring the folder that rapport encryption save has written; or say --without-journal,"
            " and erase them again before anybody reads."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be restored, and what it is compared with."""

    backup: Backup
    known: KnownLog | None = None
    noted: Manifest | None = None
    """What somebody else has noted down: the digests of the other tables, too, if it is of the same position."""
    keys: Path | None = None
    """The folder with the saved key-encryption keys and journals; without it they are those in the data folder."""
    replaces: bool = False
    """Whether a log that is there may go."""
    without_journal: bool = False
    unchecked: bool = False
    """Whether tables are taken that nothing proves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What has been restored."""

    position: int
    erased_again: int
    """People whom the backup would have brought back."""
    has_keys: bool
    """Whether the keys are there that open personal data."""
    revoked_again: int
    """Credentials that the backup would have made good again."""
    revocations_until: datetime
    """What was revoked later is in no journal."""
    unproved: Sequence[str]
    """Tables that were taken as they are."""


def restore(settings: Settings, wanted: Wanted, report: Progress) -> Restored:
    """Restore a backup into the place that the settings name.

    Raises `NotABackup`, `LogDiffers`, `KeysDoNotFit` and `StartRefused`. When the files, the log in them or the keys
    are refused, nothing has been changed.
    """
    verify(wanted, report)
    keys = KeyFile(settings.data / "keys")
    saved = wanted.keys or (keys.path.parent if keys.exists() else None)
    if saved is not None:
        require_keys(saved, wanted.backup.needed_keys)
    with alone(settings, "rapport restore") as url:
        return _Place(settings, url).fill(wanted, saved, report)


def verify(wanted: Wanted, report: Progress) -> None:
    """Look at all that can be known before anything is changed: the files, the log in them, the version."""
    backup = wanted.backup
    backup.require_data()
    _require_known_migrations(backup)
    backup.verify_files(report)
    log = rows(backup.table("events"))
    compare(_reported("verifying the log", log, backup, report), _known(wanted))
    for table in backup.manifest.table_digests:
        backup.verify_table(table, backup.table(table))
    _unproved(wanted)
    if backup.unproved and not wanted.unchecked:
        raise TablesAreUnproved(backup)


def _unproved(wanted: Wanted) -> Sequence[str]:
    """The tables that neither the backup proves nor what was noted down. Raises `NotABackup` where that contradicts."""
    manifest, noted = wanted.backup.manifest, wanted.noted
    if noted is None:
        return wanted.backup.unproved
    if noted.log.position != manifest.log.position:
        return tuple(table for table in manifest.tables if table != "events")
    for table, digest in manifest.table_digests.items():
        if noted.table_digests.get(table, digest) != digest:
            message = (
                f"The table {table} of {wanted.backup.folder} is another one than was noted down: the backup has been"
                " altered, or the digests are of another moment. Those of a backup itself are in its manifest.json."
            )
            raise NotABackup(message)
    return tuple(table for table in manifest.tables if table not in {"events", *noted.table_digests})


def _known(wanted: Wanted) -> list[KnownLog]:
    own = wanted.backup.known(is_whole=True)
    return [own] if wanted.known is None else [own, wanted.known]


def _reported(what: str, log: Iterable[bytes], backup: Backup, report: Progress) -> Iterator[bytes]:
    end = backup.manifest.log.position
    for row in log:
        yield row
        position = position_of(row)
        if position % REPORT_EVENTS == 0 or position == end:
            report(what, position, end)


def _require_known_migrations(backup: Backup) -> None:
    known = {each.number: each.checksum.hex() for each in migrations()}
    for each in backup.manifest.migrations:
        if known.get(each.number) != each.checksum:
            message = (
                f"The backup has been taken by Rapport {backup.manifest.software}, whose migration {each.name} this"
                " version does not know: restore it with that version or a later one."
            )
            raise RestoreRefused(message)


class _Place:
    """Where a backup goes: one tenant in the database that the settings name."""

    def __init__(self, settings: Settings, url: str) -> None:
        self._settings = settings
        self._schema = settings.tenant
        self._url = url
        self._passwords = load_passwords(settings.data, LOGIN_ROLES)
        self._databases = prepare(url, self._passwords, settings)
        self._mark = RestoreMark(settings.data)
        self._keys = KeyFile(settings.data / "keys")

    def fill(self, wanted: Wanted, saved: Path | None, report: Progress) -> Restored:
        """Restore, with the keys in the folder where they are saved."""
        with psycopg.connect(self._databases.operator) as operator:
            held = _tenant_in(operator, self._schema)
            if held is not None and not wanted.replaces and self._mark.read() is not Unfinished.DATA:
                message = f"There is a log already in {self._schema}: choose another place, or say --replace."
                raise PlaceIsTaken(message)
            erasures = self._erasures(operator, wanted, saved, held)
            revocations = self._revocations(operator, wanted.backup, saved, held)
        if held is None:
            self._mark.set(Unfinished.DATA)
        erased, revoked = self._replace(wanted, erasures, revocations, report)
        if saved is None:
            self._mark.set(Unfinished.KEYS)
        else:
            self.bring_keys(saved, wanted.backup.needed_keys)
        return Restored(
            position=wanted.backup.manifest.log.position,
            erased_again=erased,
            has_keys=saved is not None,
            revoked_again=revoked,
            revocations_until=max(revocations.until, wanted.backup.manifest.taken_at),
            unproved=_unproved(wanted),
        )

    def bring_keys(self, saved: Path, needed: Collection[bytes]) -> None:
        """Bring the keys, and see that they open the log: the restore is over."""
        bring_keys(saved, self._keys, needed)
        with psycopg.connect(self._databases.service) as service:
            load_tenant(service, self._schema, self._keys)
        self._mark.clear()

    def bring_back(self, saved: Path, *, without_journal: bool) -> int:
        """Bring the keys for a log that is there; how many people were erased again."""
        with psycopg.connect(self._databases.privacy) as privacy:
            tenant = _tenant_in(privacy, self._schema)
            if tenant is None:
                message = f"There is no log in {self._schema}: restore one first."
                raise RestoreRefused(message)
            needed = {each.fingerprint for each in wrapped_keys(privacy, [self._schema])}
            require_keys(saved, needed)
            erasures = Journal(saved, tenant).read()
            if erasures is None and not without_journal:
                raise JournalIsMissing(Journal(saved, tenant).path)
            again = erasures.repeat(privacy, self._schema) if erasures is not None else 0
            revocations = RevocationJournal(saved, tenant).read()
        if revocations is not None:
            with psycopg.connect(self._databases.operator) as operator:
                revocations.repeat(operator, self._schema)
        self.bring_keys(saved, needed)
        return again

    def _erasures(self, operator: Connection, wanted: Wanted, saved: Path | None, held: UUID | None) -> Erasures | None:
        """All that is known about erasures: from the log that goes, and from journals."""
        tenant = wanted.backup.manifest.tenant.id
        found = Erasures.of(operator, self._schema) if held == tenant else None
        for folder in (self._keys.path.parent, saved):
            journal = Journal(folder, tenant).read() if folder is not None else None
            found = journal.and_those_of(found) if journal is not None else found
        if found is None and saved is not None and not wanted.without_journal:
            raise JournalIsMissing(Journal(saved, tenant).path)
        return found

    def _revocations(self, operator: Connection, backup: Backup, saved: Path | None, held: UUID | None) -> Revocations:
        """All that is known about revocations: from the log that goes, and from journals."""
        tenant = backup.manifest.tenant.id
        found = Revocations(until=backup.manifest.taken_at, credentials={})
        if held == tenant:
            found = found.and_those_of(Revocations.of(operator, self._schema))
        for folder in (self._keys.path.parent, saved):
            found = found.and_those_of(RevocationJournal(folder, tenant).read() if folder is not None else None)
        return found

    def _replace(
        self, wanted: Wanted, erasures: Erasures | None, revocations: Revocations, report: Progress
    ) -> tuple[int, int]:
        """Put the backup where the log is, or change nothing; how many were erased and revoked again."""
        with psycopg.connect(self._databases.service) as service:
            verify_settings(service)
        with psycopg.connect(self._databases.operator) as operator:
            # Between two statements files are read, and that takes as long as it takes.
            operator.execute("SET idle_in_transaction_session_timeout = 0")
            self._make_anew(operator, upto=len(wanted.backup.manifest.migrations))
            operator.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
            erased = self._load(operator, wanted, erasures, report)
            migrate(operator, self._schema, self._settings.read_schema)
            operator.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
            revoked = revocations.repeat(operator, self._schema)
            self._begin_epoch(operator, wanted.backup.manifest)
            for table in TABLES:  # so that the first queries know how much there is
                operator.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(self._schema, table)))
        return erased, revoked

    def _make_anew(self, operator: Connection, upto: int) -> None:
        """Empty tables, as they were after this migration."""
        for schema, owner in ((self._settings.read_schema, PROJECTOR), (self._schema, OWNER)):
            operator.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(owner)))
            operator.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
        operator.execute("RESET ROLE")
        make_schemas(operator, self._settings)
        migrate(operator, self._schema, self._settings.read_schema, upto=upto)

    def _load(self, operator: Connection, wanted: Wanted, erasures: Erasures | None, report: Progress) -> int:
        """Fill all tables and compare; how many people were erased again."""
        backup = wanted.backup
        tables = tables_at(len(backup.manifest.migrations))
        for number, table in enumerate(tables, 1):
            self._load_table(operator, backup, table)
            report("loading tables", number, len(tables))
        with log_rows(operator, self._schema) as restored:
            compare(_reported("comparing the restored log", restored, backup, report), _known(wanted))
        self._require_commands(operator, backup)
        for table in backup.manifest.table_digests:
            with table_copy(operator, self._schema, table, backup.manifest.tables[table]) as restored:
                backup.verify_table(table, restored)
        return erasures.repeat(operator, self._schema) if erasures is not None else 0

    def _require_commands(self, operator: Connection, backup: Backup) -> None:
        """Every event names its command: a table of commands that was emptied does not go with a log that is proved."""
        missing = operator.execute(
            sql.SQL(
                "SELECT e.position FROM {events} e WHERE NOT EXISTS (SELECT 1 FROM {commands} c WHERE "
                "c.command_id = e.command_id AND e.position BETWEEN c.first_position AND c.last_position) LIMIT 1"
            ).format(events=sql.Identifier(self._schema, "events"), commands=sql.Identifier(self._schema, "commands"))
        ).fetchone()
        if missing is not None:
            message = f"The table commands in {backup.folder} lacks the command of the event at position {missing[0]}."
            raise NotABackup(message)

    def _begin_epoch(self, operator: Connection, manifest: Manifest) -> None:
        """What is recorded from here on may be something else than what stood there before."""
        operator.execute(
            sql.SQL("SELECT {}(%s, %s)").format(sql.Identifier(self._schema, "begin_epoch")),
            [manifest.log.position, f"restored from the backup of {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC"],
        )

    def _load_table(self, operator: Connection, backup: Backup, table: str) -> None:
        if table == "epochs":  # the migration has begun one
            operator.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(self._schema, table)))
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
            sql.Identifier(self._schema, table),
            sql.SQL(", ").join(map(sql.Identifier, backup.manifest.tables[table])),
        )
        try:
            with operator.cursor() as cursor, cursor.copy(statement) as copy:
                for chunk in backup.table(table):
                    copy.write(chunk)
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as error:
            message = f"{table_file(table)} does not fit its table: {error.diag.message_primary}."
            raise NotABackup(message) from error


def _tenant_in(connection: Connection, schema: str) -> UUID | None:
    row = connection.execute(sql.SQL("SELECT tenant_id FROM {}").format(sql.Identifier(schema, "tenant"))).fetchone()
    return row[0] if row is not None else None


def bring_back(settings: Settings, saved: Path, *, without_journal: bool) -> int:
    """Bring saved keys to a log that lacks them, and repeat the erasures in the journal; how many people that were.

    Raises `KeysDoNotFit`, `JournalIsUnreadable` and `StartRefused`.
    """
    RestoreMark(settings.data).require_finished(but_for=Unfinished.KEYS)
    with alone(settings, "rapport encryption bring") as url:
        return _Place(settings, url).bring_back(saved, without_journal=without_journal)
