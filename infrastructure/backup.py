"""Taking a backup: a copy of the log as it is at one moment, while commands come in.

One transaction sees one snapshot: of every append all or nothing, and everything that had been answered as stored
before the backup began. Read models are not in it, as they are made anew from the log. Nor is the key-encryption key.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import IsolationLevel, sql

from infrastructure.backup_files import (
    NOT_COPIED,
    TABLES,
    Backup,
    BackupFolder,
    KeptLog,
    KeptMigration,
    KeptTenant,
    Manifest,
    Progress,
    table_file,
)
from infrastructure.key_rotation import wrapped_keys
from infrastructure.log_digest import COLUMNS, DIGESTS_FILE, HEADER, TRAILER, RunningDigest, log_rows
from infrastructure.table_digest import TableDigest, table_copy

REPORT_EVENTS = 1_000
"""The progress is told after so many events."""


@dataclass(frozen=True, slots=True)
class CopyOfLog:
    """One backup while it is taken: everything in it is as it was at one moment."""

    connection: psycopg.Connection[tuple[Any, ...]]
    schema: str
    folder: BackupFolder
    report: Progress

    def events(self, *, digests_only: bool) -> KeptLog:
        """Copy the events and the digest at each position, or only the digests. Raises `EventIsMissing`."""
        end, recorded_at = self._end()
        running = RunningDigest()
        with ExitStack() as stack:
            digests = stack.enter_context(self.folder.file(DIGESTS_FILE))
            copied = None if digests_only else stack.enter_context(self.folder.packed(table_file("events")))
            if copied is not None:
                copied.write(HEADER)
            for row in stack.enter_context(log_rows(self.connection, self.schema)):
                digests.write(running.add(row))
                if copied is not None:
                    copied.write(row)
                if running.position % REPORT_EVENTS == 0 or running.position == end:
                    self.report("events", running.position, end)
            if copied is not None:
                copied.write(TRAILER)
        return KeptLog(position=running.position, recorded_at=recorded_at, digest=running.digest().hex())

    def table(self, name: str, *, digests_only: bool) -> str:
        """Copy one other table, or nothing of it; its digest."""
        digest = TableDigest()
        with ExitStack() as stack:
            file = None if digests_only else stack.enter_context(self.folder.packed(table_file(name)))
            for chunk in stack.enter_context(table_copy(self.connection, self.schema, name, self.columns(name))):
                digest.add(chunk)
                if file is not None:
                    file.write(chunk)
        return digest.hex()

    def columns(self, table: str) -> tuple[str, ...]:
        """The columns of a table, in the order in which they are copied."""
        if table == "events":
            return COLUMNS
        rows = self.connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped "
            "ORDER BY attnum",
            [sql.Identifier(self.schema, table).as_string()],
        )
        return tuple(name for (name,) in rows if (table, name) not in NOT_COPIED)

    def tenant(self) -> KeptTenant:
        """Whose log it is."""
        ((tenant_id,),) = self.connection.execute(
            sql.SQL("SELECT tenant_id FROM {}").format(sql.Identifier(self.schema, "tenant"))
        ).fetchall()
        return KeptTenant(id=tenant_id, name=self.schema)

    def migrations(self) -> tuple[KeptMigration, ...]:
        """What has been applied to the schema."""
        rows = self.connection.execute(
            sql.SQL("SELECT number, name, checksum FROM {} ORDER BY number").format(
                sql.Identifier(self.schema, "migrations")
            )
        )
        return tuple(KeptMigration(number=number, name=name, checksum=mark.hex()) for number, name, mark in rows)

    def key_encryption_keys(self) -> tuple[str, ...]:
        """Fingerprints of those that will be needed."""
        return tuple(each.fingerprint.hex() for each in wrapped_keys(self.connection, [self.schema]))

    def moment(self) -> datetime:
        """When the snapshot was taken."""
        ((moment,),) = self.connection.execute("SELECT transaction_timestamp()").fetchall()
        at: datetime = moment
        return at

    def _end(self) -> tuple[int, datetime | None]:
        last = sql.SQL("SELECT position, recorded_at FROM {} ORDER BY position DESC LIMIT 1")
        row = self.connection.execute(last.format(sql.Identifier(self.schema, "events"))).fetchone()
        return row or (0, None)


def back_up(  # noqa: PLR0913 - what a person says, and where it goes
    conninfo: str, schema: str, folder: Path, *, software: str, report: Progress, digests_only: bool = False
) -> Backup:
    """Copy the log of a tenant into an empty folder, as the role for backups.

    Raises `NotABackup` if something is in the folder, and `EventIsMissing` if the log has a gap.
    """
    kept = BackupFolder(folder)
    with psycopg.connect(conninfo) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        # Between two tables a file is written to disk, and that takes as long as it takes.
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        copy = CopyOfLog(connection, schema, kept, report)
        log = copy.events(digests_only=digests_only)
        digests = {}
        for number, table in enumerate(TABLES, 1):
            if table != "events":
                digests[table] = copy.table(table, digests_only=digests_only)
            report("other tables", number, len(TABLES))
        return kept.finish(
            Manifest(
                software=software,
                postgres=connection.info.server_version // 10_000,
                taken_at=copy.moment(),
                tenant=copy.tenant(),
                log=log,
                migrations=copy.migrations(),
                key_encryption_keys=copy.key_encryption_keys(),
                tables={} if digests_only else {table: copy.columns(table) for table in TABLES},
                table_digests=digests,
                files=kept.files,
            )
        )
