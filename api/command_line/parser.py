"""What can be said on the command line, and the help for it."""

import argparse
from pathlib import Path

from api import VERSION
from api.command_line.parser_of_backups import add_backup, add_encryption, add_restore, check_log
from api.command_line.parser_parts import Commands, client_options, command, data_options
from application.commands import Role

EPILOG = """\
first steps:
  rapport serve                                   start everything; prints an address, a key and what to try
  rapport keys create --role importer "retail"    make a key for an import
  rapport import FILE --mapping MAPPING.toml      bring in what another system knows
  rapport status                                  see how far the read models are
  rapport backup FOLDER --keys ANOTHER-FOLDER     copy everything, the keys apart

Every setting has a variable, RAPPORT_ and its name in capitals; an option overrides it. All of them: docs/reference.
"""


PROCESSES = ("api-process", "projector-process")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; what it gives has `module`, the module that runs the command."""
    parser = argparse.ArgumentParser(
        prog="rapport",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        description="An event-sourced CRM service: every number can be recomputed for any past moment, explained and "
        "proved.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"rapport {VERSION}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _serve(commands)
    _import(commands)
    _keys(commands)
    _status(commands)
    _events(commands)
    _history(commands)
    _rebuild(commands)
    add_backup(commands)
    add_restore(commands)
    _epoch(commands)
    add_encryption(commands)
    _verify_settings(commands)
    _check(commands)
    return parser


def make_process_parser() -> argparse.ArgumentParser:
    """The parser for the processes that serve starts; they would only puzzle a reader of the help."""
    parser = argparse.ArgumentParser(prog="rapport")
    parser.add_argument("process", choices=PROCESSES)
    parser.set_defaults(module="processes")
    return parser


def _serve(commands: Commands) -> None:
    parser = command(
        commands,
        "serve",
        "serving",
        "start the database, the API and the projector",
        description="Starts an embedded Postgres, unless RAPPORT_DATABASE_URL names another, and keeps all running.\n"
        "The first start makes a key and shows it once. Ctrl-C ends it; commands in flight are finished.",
        examples=["rapport serve", "rapport serve --data ./data --port 8100", "rapport serve --reporting-currency GBP"],
    )
    parser.add_argument("--host", help="address to listen on, default 127.0.0.1 (RAPPORT_HOST)")
    parser.add_argument("--port", type=int, help="port to listen on, default 8000; 0 takes a free one (RAPPORT_PORT)")
    parser.add_argument(
        "--reporting-currency",
        metavar="CODE",
        help="of the reports, default EUR; chosen at the first start, for ever (RAPPORT_REPORTING_CURRENCY)",
    )
    parser.add_argument(
        "--time-zone",
        metavar="ZONE",
        help="whose days and months the reports count in, default UTC; chosen at the first start (RAPPORT_TIME_ZONE)",
    )
    parser.add_argument("--api-processes", type=int, metavar="N", help="API processes (RAPPORT_API_PROCESSES)")
    parser.add_argument(
        "--projector-processes", type=int, metavar="N", help="projector processes (RAPPORT_PROJECTOR_PROCESSES)"
    )
    data_options(parser)


def _import(commands: Commands) -> None:
    parser = command(
        commands,
        "import",
        "importing",
        "turn a CSV file into commands, as a mapping says",
        description="FILE may be packed (.gz, .zip). Mappings: docs/reference/import-mapping.md. An import\n"
        "that was stopped is started again: what was done comes back as it was answered then, and nothing is\n"
        "done twice. Ends with status 1 if a row was refused or could not be read.",
        examples=[
            "rapport import online_retail.csv.gz --mapping docs/how-to/retail.toml",
            "rapport import FILE --mapping MAPPING.toml --check",
            "rapport import FILE --mapping MAPPING.toml --list special-rows.csv",
        ],
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the file, as .csv, .csv.gz or .zip")
    parser.add_argument("--mapping", type=Path, required=True, metavar="TOML", help="what its rows mean")
    parser.add_argument("--check", action="store_true", help="send nothing; show the first command of each kind")
    parser.add_argument(
        "--list", type=Path, metavar="CSV", help="write special, refused and unreadable rows to this file"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="show a progress bar (default: on a terminal)",
    )
    client_options(parser)


def _keys(commands: Commands) -> None:
    parser = command(commands, "keys", "keys", "make, list and revoke the keys that may use the service")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = command(
        actions,
        "create",
        "keys",
        "make a principal with a key, and show the key, once",
        description="Only its SHA-256 is stored. NAME says who the principal is; it must not be personal.",
        examples=['rapport keys create "web shop"', 'rapport keys create --role reporting --days 90 "monthly figures"'],
    )
    create.add_argument("name", metavar="NAME", help="who it is; no other principal in force has this name")
    roles = [role.value for role in Role]
    create.add_argument(
        "--role", choices=roles, default=Role.SERVICE.value, metavar="ROLE", help=f"{', '.join(roles)}; default service"
    )
    add = command(
        actions,
        "add",
        "keys",
        "make one more key for a principal, and show it, once",
        description="The others stay good until they are revoked: so a key can be exchanged while requests come in.",
        examples=['rapport keys add "web shop"'],
    )
    add.add_argument("which", metavar="PRINCIPAL", help="its name or its id")
    for each in (create, add):
        each.add_argument(
            "--days", type=int, metavar="N", help="for how many days it is good; default: until it is revoked"
        )
    listing = command(actions, "list", "keys", "list all keys that were ever made")
    revoke = command(
        actions,
        "revoke",
        "keys",
        "revoke one key, or a principal with all of its keys",
        description="Running services stop to accept them within seconds.",
    )
    revoke.add_argument("which", metavar="KEY", help="the id of a key; or the name or id of a principal")
    for action, each in (("create", create), ("add", add), ("list", listing), ("revoke", revoke)):
        each.set_defaults(action=action)
        data_options(each)


def _epoch(commands: Commands) -> None:
    parser = command(commands, "epoch", "epochs", "list epochs of the log, or begin one after a restore by other means")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    begin = command(
        actions,
        "begin",
        "epochs",
        "say up to which position the log is what it was",
        description="rapport restore does this by itself. After a restore of the database by other means, say the\n"
        "last position that is the same as before: whoever follows the log is told where to begin again.",
        examples=["rapport epoch begin --after 4711"],
    )
    begin.add_argument(
        "--after", type=int, required=True, metavar="POSITION", help="the last position that is the same"
    )
    begin.add_argument("--reason", default="restored by other means", metavar="TEXT", help="why; it is listed")
    listing = command(actions, "list", "epochs", "list all epochs of the log")
    for action, each in (("begin", begin), ("list", listing)):
        each.set_defaults(action=action)
        data_options(each)


def _status(commands: Commands) -> None:
    parser = command(
        commands,
        "status",
        "status",
        "show the log, the read models and how far each of them is",
        description="Ends with status 1 if a read model has stopped.",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    data_options(parser)


def _events(commands: Commands) -> None:
    parser = command(
        commands,
        "events",
        "catalogue",
        "print the catalogue of events: stored names, versions, what they say",
        description="The stored names and shapes are a public contract; they are added to and never changed.",
        examples=["rapport events", "rapport events customer", "rapport events customer.registered --schema"],
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="only this event, or those of one kind of stream")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schemas of the plain and the stored form")


def _history(commands: Commands) -> None:
    parser = command(
        commands,
        "history",
        "history",
        "show what happened to a customer, over all streams",
        description="CUSTOMER is our id, or an identifier of any system: number:C-1001, shop:4711.",
        examples=["rapport history number:C-1001", "rapport history retail:17850 --limit 20"],
    )
    parser.add_argument("customer", metavar="CUSTOMER", help="our id, or an identifier of any system")
    parser.add_argument(
        "--limit", type=int, default=1_000, metavar="N", help="show at most so many events (default 1000)"
    )
    parser.add_argument("--at-position", type=int, metavar="P", help="as it was known at this position of the log")
    parser.add_argument("--json", action="store_true", help="print the events as JSON, one a line")
    client_options(parser)


def _rebuild(commands: Commands) -> None:
    parser = command(
        commands,
        "rebuild",
        "rebuilding",
        "make a read model anew from the log",
        description="The tables that answer now go on answering until the new ones have caught up. An interrupted\n"
        "rebuild is gone on with when it is started again.",
        examples=["rapport rebuild revenue_statistics"],
    )
    parser.add_argument("name", metavar="NAME", help="the read model, as rapport status names it")
    data_options(parser)


def _verify_settings(commands: Commands) -> None:
    parser = command(
        commands,
        "verify-settings",
        "checking",
        "check settings and database server, as serve does before it starts",
        description="Shows the settings in force. Ends with status 78 if the service would refuse to start.",
    )
    parser.set_defaults(what="settings")
    data_options(parser)


def _check(commands: Commands) -> None:
    parser = command(commands, "check", "checking", "check cases against the definitions of Rapport, or the log")
    kinds = parser.add_subparsers(title="what is checked", metavar="KIND", required=True)
    for kind, summary, form in (
        ("business-time", "check cases of business time", "JSON"),
        ("timelines", "check timelines of support cases (docs/reference/timelines.md)", "TOML"),
    ):
        cases = command(
            kinds,
            kind,
            "checking",
            summary,
            description="Says of each case whether it holds. Ends with status 1 if one does not.",
        )
        cases.add_argument("file", type=Path, metavar="FILE", help=f"the cases, as {form}")
        cases.add_argument("--all", action="store_true", help="show the cases that hold, too")
        cases.set_defaults(what=kind)
    check_log(kinds)
