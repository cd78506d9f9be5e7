"""`rapport backup`, `rapport restore` and `rapport check log`."""

from argparse import Namespace

import psycopg
from rich.markup import escape

from api import VERSION
from api.command_line.encryption import failing, save, say_saved
from api.command_line.tenants import key_file, opened
from api.command_line.terminal import messages, output, progress, settings_of
from infrastructure.backup import back_up
from infrastructure.backup_files import Backup
from infrastructure.log_digest import KnownLog, compare, log_rows
from infrastructure.restore import Restored, Wanted, restore
from infrastructure.saved_keys import save_journals

MEBIBYTE = 1024 * 1024


def run(given: Namespace) -> int:
    """Do what is asked for with a backup."""
    with failing():
        match given.action:
            case "backup":
                return _back_up(given)
            case "restore":
                return _restore(given)
            case _:
                return _check(given)


def _back_up(given: Namespace) -> int:
    settings = settings_of(given)
    with opened(settings, "rapport backup") as (databases, _, tenant):
        if given.keys is not None:
            save(settings, databases, given.keys)  # now and afterwards, in case that the key is exchanged meanwhile
        with progress() as report:
            backup = back_up(
                databases.backup,
                tenant.schema,
                given.folder,
                software=VERSION,
                report=report,
                digests_only=given.digests_only,
            )
        if given.keys is not None:
            say_saved(given.keys, save(settings, databases, given.keys))
        with psycopg.connect(databases.privacy) as privacy:
            save_journals(privacy, key_file(settings).path.parent)  # for a restore in this very place
    _print(backup)
    if given.keys is None and not given.digests_only:
        messages().print(
            "The key-encryption key is not in it. Save it apart, or nobody can read personal data from this backup:\n"
            "  rapport encryption save FOLDER"
        )
    return 0


def _print(backup: Backup) -> None:
    log = backup.manifest.log
    size = sum(each.size for each in backup.manifest.files.values()) / MEBIBYTE
    output().print(f"{escape(str(backup.folder))}: {log.position:,} events, {size:,.1f} MiB.")
    output().print(f"Position {log.position}, digest {log.digest}", soft_wrap=True)


def _restore(given: Namespace) -> int:
    noted = Backup.open(given.known) if given.known is not None else None
    known = noted.known() if noted is not None else None
    wanted = Wanted(
        backup=Backup.open(given.folder),
        known=known,
        noted=noted.manifest if noted is not None else None,
        keys=given.keys,
        replaces=given.replace,
        without_journal=given.without_journal,
        unchecked=given.unchecked,
    )
    with progress() as report:
        restored = restore(settings_of(given), wanted, report)
    output().print(f"{restored.position:,} events are restored, and the log is the one that was backed up.")
    if known is not None:
        _tell_agreement(restored.position, known)
    _tell_what_is_next(restored)
    return 0


def _tell_agreement(position: int, known: KnownLog) -> None:
    output().print(f"It agrees with {escape(known.name)} up to {min(position, known.position):,}.")
    if known.position > position:
        output().print(f"[yellow]Not in the backup: the events {position + 1:,} to {known.position:,}, known there.[/]")


def _tell_what_is_next(restored: Restored) -> None:
    if restored.unproved:
        unproved = ", ".join(restored.unproved)
        output().print(f"[yellow]Not proved by what was noted down:[/] the tables {unproved}.")
    if restored.revoked_again:
        output().print(f"{restored.revoked_again:,} keys that were revoked after the backup have been revoked again.")
    until = f"{restored.revocations_until:%Y-%m-%d %H:%M:%S}"
    output().print(f"Keys that were revoked after {until} UTC are in no journal, and good again: rapport keys list")
    if restored.erased_again:
        output().print(f"{restored.erased_again:,} people who were erased after the backup have been erased again.")
    if restored.has_keys:
        output().print("Read models are made anew when the service starts: rapport serve")
    else:
        messages().print(
            "[bold]The key-encryption key is missing[/], and the service refuses to start without it. Bring it:\n"
            "  rapport encryption bring FOLDER"
        )


def _check(given: Namespace) -> int:
    known = Backup.open(given.known).known()
    with (
        opened(settings_of(given), "rapport check log") as (databases, _, tenant),
        psycopg.connect(databases.backup) as connection,
        log_rows(connection, tenant.schema) as log,
    ):
        digest = compare(log, [known])
    begins = min(digest.position, known.position)
    output().print(f"The log has {digest.position:,} events and agrees with {escape(known.name)} up to {begins:,}.")
    if digest.position < known.position:
        output().print(
            f"[bold red]Events {digest.position + 1:,} to {known.position:,} that are known there are gone.[/]"
        )
        return 1
    return 0
