"""What can be said about backups, keys that are saved apart, and the exchange of those keys."""

import argparse
from pathlib import Path

from api.command_line.parser_parts import Commands, command, data_options

MODULE = "backups"


def add_backup(commands: Commands) -> None:
    """Add `backup`."""
    parser = command(
        commands,
        "backup",
        MODULE,
        "copy the log into a folder, while commands come in",
        description="The backup holds everything that was answered as stored before it began. Read models are not in\n"
        "it: they are made anew. Nor is the key-encryption key, without which nobody reads personal data; --keys\n"
        "saves it in another folder. Keep the two apart.",
        examples=[
            "rapport backup /backups/monday --keys /safe/rapport",
            "rapport backup /auditor/monday --digests-only",
        ],
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new or empty folder")
    parser.add_argument(
        "--keys", type=Path, metavar="FOLDER", help="save the key-encryption key and the journal of erasures here"
    )
    parser.add_argument(
        "--digests-only",
        action="store_true",
        help="copy no data, but what tells later whether the log is still the same",
    )
    parser.set_defaults(action="backup")
    data_options(parser)


def add_restore(commands: Commands) -> None:
    """Add `restore`."""
    parser = command(
        commands,
        "restore",
        MODULE,
        "bring a backup back, and check that nothing in it has changed",
        description="Goes into an empty data folder or database; the service must not run on it. Before anything is\n"
        "changed the files are verified, and the log in them is compared with its digests, and with what is known\n"
        "of it elsewhere (--known). People who were erased since are erased again. Read models are made anew when the\n"
        "service starts.",
        examples=[
            "rapport restore /backups/monday --keys /safe/rapport --data ./restored",
            "rapport restore /backups/monday --keys /safe/rapport --known /auditor/tuesday/manifest.json",
        ],
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the backup")
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FOLDER",
        help="where the key-encryption key and the journal of erasures were saved; default: those in the data folder",
    )
    parser.add_argument(
        "--known",
        type=Path,
        metavar="BACKUP",
        help="another backup, its digests or its manifest, earlier or later: of two logs one has to begin with the "
        "other",
    )
    parser.add_argument(
        "--replace",
        action="store_true",
        help="put it in the place of the log that is there, which stays until the new one is proved",
    )
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="take tables that no digest proves, as in a backup of an older Rapport",
    )
    _without_journal(parser)
    parser.set_defaults(action="restore")
    data_options(parser)


def add_encryption(commands: Commands) -> None:
    """Add `encryption`."""
    parser = command(commands, "encryption", "encryption", "show, exchange, save or bring the key-encryption key")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = command(actions, "show", "encryption", "show by which keys personal data can be opened, by fingerprint")
    rotate = command(
        actions,
        "rotate",
        "encryption",
        "exchange the key-encryption key, while commands come in",
        description="Makes a new key, wraps the keys of all people and texts anew, and forgets the old one when\n"
        "nothing is wrapped by it any more. Events stay as they are. A rotation that was interrupted is gone on with.\n"
        "Save the new key afterwards; older backups need the key that was saved with them.",
    )
    save = command(
        actions,
        "save",
        "encryption",
        "save the key-encryption key and the journal of erasures apart from the data",
        description="Adds to what was saved in the folder before. Do it after every erasure and every rotation.",
        examples=["rapport encryption save /safe/rapport"],
    )
    save.add_argument("folder", type=Path, metavar="FOLDER", help="where to; whoever reads it can open every backup")
    bring = command(
        actions,
        "bring",
        "encryption",
        "bring saved keys to a log that was restored without them, and repeat erasures",
        examples=["rapport encryption bring /safe/rapport"],
    )
    bring.add_argument("folder", type=Path, metavar="FOLDER", help="where they were saved")
    _without_journal(bring)
    for action, each in (("show", show), ("rotate", rotate), ("save", save), ("bring", bring)):
        each.set_defaults(action=action)
        data_options(each)


def check_log(kinds: Commands) -> None:
    """Add `check log`."""
    parser = command(
        kinds,
        "log",
        MODULE,
        "check that the log is still the one that a backup or its digests know",
        description="Ends with status 1, and names the first position that differs or is missing, if it is not.",
    )
    parser.add_argument("known", type=Path, metavar="BACKUP", help="a backup, its digests or its manifest")
    parser.set_defaults(action="check")
    data_options(parser)


def _without_journal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--without-journal",
        action="store_true",
        help="go on although nobody can tell who was erased since; erase them again yourself",
    )
