"""What all read models share: their tables, the page that they fold, and reading them at a position.

A *read model* is a noun with tables of its own, made from the log by folding its events in the order of their
positions, and from nothing else: the same log gives the same tables, row for row. Facts are appended and carry the
position at which they became known; where a fact is replaced, it keeps the position of its replacement as
`superseded_at_position`. So a query can be evaluated at any position up to the *checkpoint*, the position that the
model has come to, and gives the same answer for ever.

A *build* is one set of tables of one version of a model. A new version, or a rebuild of the same one, is filled beside
the build that answers, and takes over in one transaction: readers find out which build answers in their own snapshot.
"""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, TypeAlias, TypeVar
from uuid import UUID

import psycopg
from psycopg import IsolationLevel

from application.ports import RecordedEvent
from domain.errors import NotFound, Refusal

T = TypeVar("T")

Values: TypeAlias = Mapping[str, object] | Sequence[object]
Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]
AsyncConnection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]
Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
"""Gives a connection of the reader for a while: the `connection` method of a pool."""
Hash: TypeAlias = Callable[[str, str], bytes]
"""Keyed hash of a value of one kind, so that equal values are found and none can be read."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")

_WAIT_SECONDS_MIN = 0.005
_WAIT_SECONDS_MAX = 0.1
"""A live model follows within milliseconds; one that lags is not asked more than ten times a second."""

REPORT_MEMORY = "64MB"
"""What a step of a report may sort or group in memory: a million customers fit, eight reports at once fit beside."""


class ReadModelBehind(Refusal):
    """The read model has not come to this position yet; the same request may be sent again."""

    status = 503


class ReadModelNotFound(NotFound):
    """There is no read model of this name, or not in this version."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a read model."""

    name: str
    columns: str
    """As in CREATE TABLE. Texts are `COLLATE "C"`, so that their order is the same on every server."""
    key: tuple[str, ...]
    """Columns that are unique together: the order in which the table is digested."""
    enforced: bool = True
    """Whether an index makes sure of that. Checkpoints keep a page from being folded twice, with or without it."""
    indexes: tuple[str, ...] = ()
    """What follows the table's name in CREATE INDEX."""
    subject: str | None = None
    """Column with the id of the person whose personal value a row stands for: it goes when that person is erased."""


@dataclass(frozen=True, slots=True, order=True)
class Build:
    """One set of tables: of a model, of one version of its definition, made for the first, second … time."""

    model: str
    version: int
    build: int = 1

    @property
    def prefix(self) -> str:
        """What the names of its tables begin with."""
        again = f"_b{self.build}" if self.build > 1 else ""
        return f"{self.model}_v{self.version}{again}"


class Tables:
    """The tables of one build, by their short names."""

    def __init__(self, schema: str, build: Build) -> None:
        self.schema = schema
        self.build = build

    def __getitem__(self, name: str) -> str:
        return f'"{self.schema}"."{self.build.prefix}_{name}"'

    @property
    def erased_subjects(self) -> str:
        """The people whose key is gone, as the log of the same tenant says at this moment."""
        return f'"{self.schema.removesuffix("_read")}".erased_subjects'

    def sql(self, template: str, **fragments: str) -> bytes:
        """A statement with each `{name}` replaced by the fragment, or else the table, of that name.

        Fragments are made by the program, never of what somebody sent. They may have placeholders of their own.
        """
        while _PLACEHOLDER.search(template):
            template = _PLACEHOLDER.sub(
                lambda found: fragments[found[1]] if found[1] in fragments else self[found[1]], template
            )
        return template.encode()


def in_schema(template: str, schema: str) -> bytes:
    """A statement on the tables that the builds share, such as `"{schema}".builds`."""
    return template.replace("{schema}", schema).encode()


class Memory:
    """What a read model remembers of a build's last page for the next one, so that it need not be read again.

    Who folds the pages of a build keeps one for it. It is no part of the outcome: it may be empty before any page.
    """

    def __init__(self) -> None:
        self.position = 0
        """Where it is of use: what is remembered follows from the log up to there."""
        self._remembered: object = None

    def recall(self, position: int) -> object:
        """What was remembered at a position, once: a page that fails leaves nothing behind. None if nothing was."""
        remembered, self._remembered = self._remembered, None
        return remembered if position == self.position else None

    def remember(self, position: int, what: object) -> None:
        """Remember something at a position."""
        self.position, self._remembered = position, what


@dataclass(frozen=True, slots=True)
class Page:
    """What a read model folds in one transaction: all events that it wants at positions after `after`, up to `upto`."""

    connection: Connection
    tables: Tables
    events: Sequence[RecordedEvent]
    after: int
    upto: int
    hash: Hash
    zone: tzinfo = UTC
    """The tenant's, which never changes."""
    memory: Memory = field(default_factory=Memory)

    def execute(self, statement: str, values: Values = (), **fragments: str) -> psycopg.Cursor[tuple[Any, ...]]:
        """Run a statement on the build's tables; the cursor with its result."""
        return self.connection.execute(self.tables.sql(statement, **fragments), values or None)

    def appender(self, table: str, columns: str) -> "Appender":
        """What appends rows to a table; a context manager."""
        return Appender(self.connection, self.tables.sql("COPY {t} ({c}) FROM STDIN", t=self.tables[table], c=columns))

    def append(self, table: str, columns: str, lines: Iterable[str]) -> None:
        """Append rows to a table at once."""
        with self.appender(table, columns) as rows:
            rows.extend(lines)


class Appender:
    """Appends rows to a table while the page is still being folded, so that the server works at the same time.

    Between the first row and `flush` the connection takes no other statement.
    """

    _LINES_MAX = 500
    """About what the server takes in at once."""

    def __init__(self, connection: Connection, statement: bytes) -> None:
        self._connection = connection
        self._statement = statement
        self._lines: list[str] = []
        self._copying = ExitStack()
        self._copy: psycopg.Copy | None = None

    def extend(self, lines: Iterable[str]) -> None:
        """Add rows in Postgres' text format, their values made with `copy_text` where they are texts."""
        coming = iter(lines)
        while some := list(islice(coming, self._LINES_MAX)):
            self._lines += some
            if len(self._lines) >= self._LINES_MAX:
                self._send()

    def flush(self) -> None:
        """Make the rows visible to the next statement."""
        if self._lines:
            self._send()
        self._copying.close()
        self._copy = None

    def _send(self) -> None:
        if self._copy is None:
            self._copy = self._copying.enter_context(self._connection.cursor().copy(self._statement))
        self._copy.write("".join(self._lines).encode())
        self._lines.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.flush()
        else:
            self._copying.__exit__(kind, error, trace)


def copy_text(text: str | None) -> str:
    """A text as a value of a line for an `Appender`. Numbers, dates and ids need no escaping."""
    if text is None:
        return "\\N"
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def copy_id(value: UUID) -> str:
    """An id as a value of a line for an `Appender`: in a quarter of the time that `str` takes."""
    return f"{value.int:032x}"


@lru_cache(maxsize=8_192)
def copy_instant(value: datetime) -> str:
    """An instant as a value of a line for an `Appender`: `str` takes a microsecond, and many rows say the same one."""
    return str(value)


def copy_array(values: Iterable[object]) -> str:
    """An array of numbers, ids or instants, none of them null, as text: the driver takes ten times as long."""
    return "{" + ",".join([f'"{value}"' for value in values]) + "}"


def copy_bytes(value: bytes) -> str:
    """Bytes as a value of a line for an `Appender`."""
    return "\\\\x" + value.hex()


class ReadModel(Protocol):
    """One noun: its tables and how events change them. Its queries are functions of a `Snapshot`."""

    @property
    def name(self) -> str:
        """What its tables and its builds are called."""
        ...

    @property
    def version(self) -> int:
        """Of the definition; a definition that changes gets the next one."""
        ...

    @property
    def events(self) -> frozenset[str]:
        """Stored names of the events that it folds."""
        ...

    @property
    def tables(self) -> tuple[Table, ...]:
        """All of its tables."""
        ...

    def fold(self, page: Page) -> None:
        """Bring the tables from `page.after` to `page.upto`, in the transaction that also moves the checkpoint.

        The outcome must not depend on how the log is cut into pages, nor on personal values but for rows that name
        their subject. An error stops the model at that event.
        """
        ...


def create_tables(connection: Connection, model: ReadModel, tables: Tables) -> None:
    """Make the empty tables of a build."""
    for each in model.tables:
        table = tables[each.name]
        key = f", PRIMARY KEY ({', '.join(each.key)})" if each.enforced else ""
        connection.execute(tables.sql("CREATE TABLE {table} ({columns})", table=table, columns=each.columns + key))
        for index in each.indexes:
            connection.execute(tables.sql("CREATE INDEX ON {table} {index}", table=table, index=index))


def drop_tables(connection: Connection, tables: Tables) -> None:
    """Remove every table of a build, whatever that version of the program called them."""
    names = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename ~ ('^' || %s || '_(?!b[0-9]+_)')",
        (tables.schema, tables.build.prefix),
    )
    for (name,) in names.fetchall():
        connection.execute(tables.sql('DROP TABLE "{schema}"."{name}"', schema=tables.schema, name=name))


def forget_erased(connection: Connection, model: ReadModel, tables: Tables) -> int:
    """Remove the rows that stand for personal values of erased people, also from statistics; how many there were."""
    forgotten = 0
    for each in model.tables:
        if each.subject is not None:
            gone = tables.sql("DELETE FROM {table} WHERE {gone}", table=tables[each.name], **_erased(each, tables))
            rows = connection.execute(gone).rowcount
            if rows:
                connection.execute(tables.sql("ANALYZE {table}", table=tables[each.name]))
            forgotten += rows
    return forgotten


def digest(connection: Connection, model: ReadModel, tables: Tables) -> Mapping[str, str]:
    """SHA-256 of every table of a build: equal for equal rows, on any server. Rows of erased people do not count."""
    return {table.name: _digest(connection, table, tables) for table in model.tables}


def _digest(connection: Connection, table: Table, tables: Tables) -> str:
    statement = tables.sql(
        "COPY (SELECT * FROM {table} WHERE {kept} ORDER BY {key}) TO STDOUT",
        table=tables[table.name],
        kept="true" if table.subject is None else "NOT {gone}",
        key=", ".join(table.key),
        **_erased(table, tables),
    )
    digested = hashlib.sha256()
    with connection.cursor().copy(statement) as copy:
        for data in copy:
            digested.update(data)
    return digested.hexdigest()


def _erased(table: Table, tables: Tables) -> dict[str, str]:
    gone = "{subject} IN (SELECT subject_id FROM {erased})"
    return {"gone": gone, "subject": table.subject or "", "erased": tables.erased_subjects}


@dataclass(frozen=True, slots=True)
class BuildStatus:
    """How a build is doing; nothing in it is personal."""

    build: Build
    state: str
    """`live`: in the group that follows the log. `catching_up`: alone, on its way there. `stopped`: needs a person."""
    serving: bool
    """It answers for its version of the definition."""
    current: bool
    """It answers where no version is asked for."""
    position: int
    error: str | None
    """Class of the error that stopped it, or that it is being tried again after."""
    error_position: int | None

    QUERY: ClassVar[str] = (
        "SELECT b.model, b.version, b.build, b.state, b.serving, b.serving AND c.version IS NOT NULL, b.position, "
        'b.error, b.error_position FROM "{schema}".builds b '
        'LEFT JOIN "{schema}".current_versions c USING (model, version) ORDER BY b.model, b.version, b.build'
    )

    @classmethod
    def of(cls, row: Sequence[Any]) -> "BuildStatus":
        """A row of `QUERY`."""
        return cls(Build(*row[:3]), *row[3:])


class Kept:
    """Answers, or parts of them, that took long and may be asked for again: those asked for last."""

    _ENTRIES_MAX = 32

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, object] = OrderedDict()

    def get(self, question: Hashable) -> object:
        """What was kept under a question; None if nothing is."""
        if question in self._entries:
            self._entries.move_to_end(question)
        return self._entries.get(question)

    def put(self, question: Hashable, answer: object) -> None:
        """Keep an answer, and forget the one that was not asked for longest."""
        self._entries[question] = answer
        self._entries.move_to_end(question)
        if len(self._entries) > self._ENTRIES_MAX:
            self._entries.popitem(last=False)


class AgentReports(StrEnum):
    """What may be told about the figures of single people and of small teams; works councils ask for it."""

    OFF = "off"
    """Nothing by person or by team."""
    TEAM_ONLY = "team_only"
    """Nothing by person, and nothing about teams of which fewer than five people stand behind a figure."""
    ON = "on"
    """Everything."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a tenant has decided about its figures."""

    time_zone: str = "UTC"
    """IANA name of the zone of windows and months, where a question does not name another one."""
    agent_reports: AgentReports = AgentReports.TEAM_ONLY
    reporting_currency: str = "EUR"
    """ISO 4217 code; never changes."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One consistent view of the build that answers, evaluated at a position up to its checkpoint."""

    connection: AsyncConnection
    tables: Tables
    position: int
    kept: Kept = field(default_factory=Kept)
    policy: Policy = field(default_factory=Policy)

    @property
    def version(self) -> int:
        """Version of the definition that answers."""
        return self.tables.build.version

    async def fetch(self, statement: str, values: Values = (), **fragments: str) -> list[tuple[Any, ...]]:
        """The rows that a query on the build's tables gives."""
        cursor = await self.connection.execute(self.tables.sql(statement, **fragments), values or None)
        return await cursor.fetchall()


class ReadModels:
    """The read models of one tenant, for those who ask."""

    def __init__(self, connect: Connect, schema: str, policy: Policy | None = None) -> None:
        self._connect = connect
        self._kept = Kept()
        self._policy = policy or Policy()
        self.schema = schema

    async def read(
        self,
        model: str,
        query: Callable[[Snapshot], Awaitable[T]],
        *,
        version: int | None = None,
        position: int | None = None,
    ) -> T:
        """Ask one consistent snapshot of the current version, or of another one that is still kept.

        The query is evaluated at `position`, else at the checkpoint. Raises `ReadModelBehind` and `ReadModelNotFound`.
        """

        async def ask(connection: AsyncConnection) -> T:
            snapshots = await self._snapshots(connection, {model: version}, position)
            return await query(snapshots[model])

        return await self._ask(ask)

    async def read_together(
        self,
        models: Iterable[str],
        query: Callable[[Mapping[str, Snapshot]], Awaitable[T]],
        *,
        position: int | None = None,
    ) -> T:
        """Ask several models at one position: else at the last one that all of them have come to."""

        async def ask(connection: AsyncConnection) -> T:
            return await query(await self._snapshots(connection, dict.fromkeys(models), position))

        return await self._ask(ask)

    async def _ask(self, ask: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._connect() as connection:
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            await connection.set_read_only(True)
            try:
                async with connection.transaction():
                    return await ask(connection)
            except psycopg.errors.UndefinedTable:
                # Between our look at the builds and our query another build took over, and ours was removed.
                async with connection.transaction():
                    return await ask(connection)

    async def _snapshots(
        self, connection: AsyncConnection, versions: Mapping[str, int | None], position: int | None
    ) -> Mapping[str, Snapshot]:
        builds = {model: await self._serving(connection, model, version) for model, version in versions.items()}
        last = min(builds, key=lambda model: builds[model][1])
        checkpoint = builds[last][1]
        if position is not None and position > checkpoint:
            raise ReadModelBehind(model=last, position=checkpoint, wanted=position)
        at = checkpoint if position is None else position
        return {
            model: Snapshot(connection, Tables(self.schema, build), at, self._kept, self._policy)
            for model, (build, _) in builds.items()
        }

    async def _serving(self, connection: AsyncConnection, model: str, version: int | None) -> tuple[Build, int]:
        cursor = await connection.execute(
            in_schema(
                # A plan for any question is far from the best for one of them, and planning takes a millisecond.
                "SELECT b.version, b.build, b.position, set_config('plan_cache_mode', 'force_custom_plan', true), "
                "set_config('jit', 'off', true), "
                "set_config('work_mem', %(memory)s, true), set_config('timezone', 'UTC', true) "
                'FROM "{schema}".builds b WHERE b.model = %(model)s AND b.serving AND b.version = '
                'coalesce(%(version)s, (SELECT version FROM "{schema}".current_versions WHERE model = %(model)s))',
                self.schema,
            ),
            {"model": model, "version": version, "memory": REPORT_MEMORY},
        )
        row = await cursor.fetchone()
        if row is None:
            raise ReadModelNotFound(model=model, version=version)
        return Build(model, row[0], row[1]), row[2]

    async def wait(self, model: str, position: int, *, seconds_max: float, version: int | None = None) -> int:
        """Wait until the model has come to a position; its checkpoint then. Raises `ReadModelBehind` when in vain."""
        clock = asyncio.get_running_loop().time
        end = clock() + seconds_max
        pause = _WAIT_SECONDS_MIN
        while True:
            async with self._connect() as connection:
                _, checkpoint = await self._serving(connection, model, version)
            if checkpoint >= position:
                return checkpoint
            if clock() >= end:
                raise ReadModelBehind(model=model, position=checkpoint, wanted=position)
            await asyncio.sleep(min(pause, max(0.0, end - clock())))
            pause = min(pause * 2, _WAIT_SECONDS_MAX)

    async def status(self) -> list[BuildStatus]:
        """All builds, in the order of model, version and build."""
        async with self._connect() as connection:
            cursor = await connection.execute(in_schema(BuildStatus.QUERY, self.schema))
            return [BuildStatus.of(row) async for row in cursor]
