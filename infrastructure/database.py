"""The database as Rapport uses it: its roles and what each may do, and the settings without which it does not start.

A server is prepared in the same way whether it is the embedded one or one's own: roles with passwords made by us, the
schemas of the tenant, the migrations.

Roles: `rapport_owner` owns the log and cannot log in; `rapport_operator` migrates and manages keys;
`rapport_service` appends; `rapport_projector` reads the log and owns the read models; `rapport_reader` reads the read
models; `rapport_privacy` erases; `rapport_backup` reads the log to copy it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infrastructure.migrations import OWNER, migrate
from infrastructure.settings import Settings, StartRefused

OPERATOR = "rapport_operator"
SERVICE = "rapport_service"
PROJECTOR = "rapport_projector"
READER = "rapport_reader"
PRIVACY = "rapport_privacy"
BACKUP = "rapport_backup"
LOGIN_ROLES = (OPERATOR, SERVICE, PROJECTOR, READER, PRIVACY, BACKUP)

VERSION_MIN = 15

CONNECT_TIMEOUT_SECONDS = 10
"""How long a connection may take to come about: a server that recovers refuses at once, a lost one never answers."""
CONNECTION_CHECK_SECONDS = 1
"""How soon a server notices that the client of a running statement has gone, and ends it."""

_MADE_MEANWHILE = (
    psycopg.errors.UniqueViolation,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateSchema,
    psycopg.errors.InternalError_,  # "tuple concurrently updated": rights on the same thing
)
"""What one of two programs gets that make the same role, schema or right at the same moment."""
_TOGETHER_MAX = 20
"""How often what is missing is looked for again: more often than there are things to make."""


class ServerRefused(StartRefused):
    """Rapport does not work with this server as it is; the docstring of the subclass says why."""

    def __init__(self, found: object = None) -> None:
        reason = " ".join((type(self).__doc__ or "").split())
        super().__init__(reason if found is None else f"{reason} Found: {found}.")


class FsyncIsOff(ServerRefused):
    """The server must run with fsync = on: without it a crash of the machine loses or damages recorded events."""


class FullPageWritesAreOff(ServerRefused):
    """The server must run with full_page_writes = on: without it a crash may leave half-written pages in the log."""


class CommitsAreNotDurable(ServerRefused):
    """The server must run with synchronous_commit on: without it a crash loses events that were answered as stored."""


class ServerIsTooOld(ServerRefused):
    """The server must be Postgres 15 or newer."""


class EncodingIsNotUtf8(ServerRefused):
    """The database must be encoded in UTF8: names and texts come in every language."""


class StringsAreNotStandard(ServerRefused):
    """The server must run with standard_conforming_strings = on: our statements rely on what a backslash means."""


class RolesBelongToAnother(ServerRefused):
    """The server has Rapport's roles already, with other passwords than those in this data folder.

    Another Rapport uses them: give this one that data folder's secrets and keys, or a server of its own.
    """


class MayNotPrepare(ServerRefused):
    """The role in RAPPORT_DATABASE_URL must be allowed to create roles and must own the database."""


class TenantNameIsReserved(ServerRefused):
    """The tenant must not be called by a reserved word of SQL."""


@dataclass(frozen=True, slots=True)
class Databases:
    """Where each role connects: libpq connection strings, with that role's password and time limits."""

    operator: str = field(repr=False)
    """Migrates and manages keys; may `SET ROLE rapport_owner` and `rapport_projector`."""
    service: str = field(repr=False)
    """Appends to the log and reads it."""
    projector: str = field(repr=False)
    """Reads the log and owns the read models."""
    reader: str = field(repr=False)
    """Reads the read models."""
    privacy: str = field(repr=False)
    """Destroys keys and wraps them anew, and reads what it needs for that."""
    backup: str = field(repr=False)
    """Reads every table of the log, and does nothing else."""

    @classmethod
    def at(cls, url: str, passwords: Mapping[str, str], settings: Settings) -> Self:
        """The same database as `url`, as each of our roles."""

        def connection(role: str, statement_timeout_ms: int) -> str:
            return _conninfo(url, role, passwords[role], statement_timeout_ms, settings)

        return cls(
            operator=connection(OPERATOR, 0),
            service=connection(SERVICE, settings.service_statement_timeout_ms),
            projector=connection(PROJECTOR, settings.projector_statement_timeout_ms),
            reader=connection(READER, settings.reader_statement_timeout_ms),
            privacy=connection(PRIVACY, settings.projector_statement_timeout_ms),
            backup=connection(BACKUP, 0),
        )


def _conninfo(url: str, role: str, password: str, statement_timeout_ms: int, settings: Settings) -> str:
    given = conninfo_to_dict(url)
    limits = {
        "statement_timeout": statement_timeout_ms,
        "lock_timeout": settings.lock_timeout_ms,
        "idle_in_transaction_session_timeout": settings.idle_in_transaction_timeout_ms,
        "client_connection_check_interval": CONNECTION_CHECK_SECONDS * 1000,
        # The statements of one append see each what was committed before it, whatever the server is set to.
        "default_transaction_isolation": r"read\ committed",
        # Compiling a report's plan takes longer than the report.
        "jit": "off",
        "timezone": "UTC",
    }
    options = [given.get("options", ""), *(f"-c {name}={value}" for name, value in limits.items())]
    return make_conninfo(
        "",
        **given
        | {
            "user": role,
            "password": password,
            "application_name": role.replace("_", " "),
            "client_encoding": "UTF8",
            "connect_timeout": given.get("connect_timeout", CONNECT_TIMEOUT_SECONDS),
            "keepalives_idle": given.get("keepalives_idle", 30),
            "options": " ".join(map(str, options)).strip(),
        },
    )


def prepare(url: str, passwords: Mapping[str, str], settings: Settings, upto: int | None = None) -> Databases:
    """Make roles, schemas and tables where they are missing, and say where each role connects.

    `url` leads to the database as a role that may create roles. What is there already stays as it is, so that every
    start may prepare. With `upto` tables are made as they were after that migration. Raises `ServerRefused` and
    `MigrationRefused`.
    """
    databases = Databases.at(url, passwords, settings)
    with psycopg.connect(url, autocommit=True) as administrator:
        _refuse_old_server(administrator)
        _refuse_reserved_word(administrator, settings.tenant)
        try:
            _although_another_does(lambda: _make_roles(administrator, passwords))
        except psycopg.errors.InsufficientPrivilege as error:
            raise MayNotPrepare(error.diag.message_primary) from error
    try:
        operator = psycopg.connect(databases.operator, autocommit=True)
    except psycopg.OperationalError as error:
        raise _why_no_connection(error) from error
    with operator:
        _although_another_does(lambda: make_schemas(operator, settings))
        migrate(operator, settings.tenant, settings.read_schema, upto=upto)
    return databases


def _although_another_does(make: Callable[[], None]) -> None:
    """Make what is missing, while another program may do the same: a lock for it could be kept by any role."""
    for _ in range(_TOGETHER_MAX):
        try:
            return make()
        except _MADE_MEANWHILE:
            continue
    return make()


def _why_no_connection(error: psycopg.OperationalError) -> Exception:
    # A refused password is a FATAL answer of the server, which libpq hands on as text without an SQLSTATE.
    return RolesBelongToAnother() if "password authentication failed" in str(error) else error


def _refuse_old_server(connection: psycopg.Connection) -> None:
    version = connection.info.server_version // 10_000
    if version < VERSION_MIN:
        raise ServerIsTooOld(version)


def _refuse_reserved_word(connection: psycopg.Connection, tenant: str) -> None:
    """Schema names stand unquoted in the migrations."""
    reserved = connection.execute("SELECT 1 FROM pg_get_keywords() WHERE word = %s AND catcode <> 'U'", [tenant])
    if reserved.fetchone():
        raise TenantNameIsReserved(tenant)


def _make_roles(connection: psycopg.Connection, passwords: Mapping[str, str]) -> None:
    present = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'rapport_%'")}
    if OWNER not in present:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(OWNER)))
    for role in LOGIN_ROLES:
        if role not in present:
            # The server is sent the verifier, never the password: statements may be logged.
            verifier = connection.pgconn.encrypt_password(passwords[role].encode(), role.encode(), b"scram-sha-256")
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}").format(sql.Identifier(role), verifier.decode())
            )
    for role in (OWNER, PROJECTOR):
        if not _is_true(connection, "SELECT pg_has_role(%s, %s, 'MEMBER')", OPERATOR, role):
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(OPERATOR)))
    _grant_on_database(connection, "CREATE", OPERATOR)
    for role in LOGIN_ROLES:
        _grant_on_database(connection, "CONNECT", role)


def _grant_on_database(connection: psycopg.Connection, privilege: Literal["CREATE", "CONNECT"], role: str) -> None:
    question = "SELECT has_database_privilege(%s, current_database(), %s)"
    if not _is_true(connection, question, role, privilege):
        names = sql.Identifier(connection.info.dbname), sql.Identifier(role)
        connection.execute(sql.SQL("GRANT {} ON DATABASE {} TO {}").format(sql.SQL(privilege), *names))
        # Who may not grant is only warned.
        if not _is_true(connection, question, role, privilege):
            missing = f"it may not grant {privilege} on the database"
            raise MayNotPrepare(missing)


def _is_true(connection: psycopg.Connection, question: str, *values: str) -> bool:
    return connection.execute(question.encode(), values).fetchone() == (True,)


def make_schemas(connection: psycopg.Connection, settings: Settings) -> None:
    """Make the schemas of the tenant where they are missing, as the operator."""
    for schema, owner in ((settings.tenant, OWNER), (settings.read_schema, PROJECTOR)):
        if not _is_true(connection, "SELECT to_regnamespace(%s) IS NOT NULL", schema):
            connection.execute(
                sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(schema), sql.Identifier(owner))
            )
    read_schema, reader = sql.Identifier(settings.read_schema), sql.Identifier(READER)
    if not _is_true(connection, "SELECT has_schema_privilege(%s, %s, 'USAGE')", READER, settings.read_schema):
        with connection.transaction():
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(PROJECTOR)))
            connection.execute(
                sql.SQL("ALTER DEFAULT PRIVILEGES IN SCHEMA {} GRANT SELECT ON TABLES TO {}").format(
                    read_schema, reader
                )
            )
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(read_schema, reader))
            connection.execute("RESET ROLE")  # also where this is within another transaction


def unsafe_settings(connection: psycopg.Connection) -> tuple[ServerRefused, ...]:
    """Everything for which the service refuses to start on this server; empty when it is safe.

    Ask as the role that will write: roles and databases may have settings of their own.
    """
    version = connection.info.server_version // 10_000
    settings: dict[str, str] = dict(connection.execute("SELECT name, setting FROM pg_settings"))
    found = (
        (ServerIsTooOld(version), version < VERSION_MIN),
        (FsyncIsOff(), settings["fsync"] != "on"),
        (FullPageWritesAreOff(), settings["full_page_writes"] != "on"),
        (CommitsAreNotDurable(), settings["synchronous_commit"] == "off"),
        (EncodingIsNotUtf8(settings["server_encoding"]), settings["server_encoding"] != "UTF8"),
        (StringsAreNotStandard(), settings.get("standard_conforming_strings", "on") != "on"),
    )
    return tuple(refusal for refusal, applies in found if applies)


def verify_settings(connection: psycopg.Connection) -> None:
    """Raise the first `ServerRefused` of `unsafe_settings`; silence means that the server is safe to write to."""
    for refusal in unsafe_settings(connection):
        raise refusal
