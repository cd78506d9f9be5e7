"""The projector: follows the log and moves the read models.

The models that are up to date form a *group*: one projector at a time holds the group's row, reads a page of the log
once, decodes each event once and only if some model wants it, and gives it to every model in a transaction of its own,
which also moves the model's checkpoint from where the page began: whatever is killed when, each event takes effect
once. A model that fails for a passing reason, lags behind or is being rebuilt leaves the group and goes alone until it
has caught up. Where a page takes longer than a transaction may, its model goes on alone in smaller steps, which grow
again with each one that succeeds.

An event that cannot be folded stops the model just before it, for everybody to see in `builds`; it is never skipped.
The others go on. The model is tried again when a projector starts, which is when the program may have been mended.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from functools import cache, partial
from typing import Any

import psycopg

from infrastructure.log_pages import Log, LogPage
from projections.read_model import (
    Build,
    BuildStatus,
    Connection,
    Hash,
    Memory,
    Page,
    ReadModel,
    ReadModelNotFound,
    Tables,
    create_tables,
    digest,
    drop_tables,
    forget_erased,
    in_schema,
)

_LOG = logging.getLogger(__name__)

_LOST = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.IdleInTransactionSessionTimeout)
"""What is raised when the server, or the connection to it, has gone: the last, when we stood still for too long."""

_TOOK_TOO_LONG = (
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.TransactionTimeout,
    psycopg.errors.QueryCanceled,
)
"""What is raised when the server has given up a page, because it took longer than a transaction may."""
_SHRINKING = 4
"""A page that took too long is begun again with a fourth of the events: 2,000 become one within six tries."""

Progress = Callable[[int, int], None]
"""Is told the position that a rebuild has come to, and the position of the log's end."""


@dataclass(frozen=True, slots=True)
class ProjectorLimits:
    """What bounds the projector; each default has its reason beside it."""

    page_events_max: int = 2_000
    """More in a page saves little, and an error is looked for by halving the page."""
    poll_seconds: float = 0.2
    """How long it sleeps at most when nobody wakes it."""
    pause_seconds_min: float = 0.5
    """First pause after an error that may pass; each further one is twice as long."""
    pause_seconds_max: float = 30.0
    """Longest such pause."""
    forget_seconds: float = 60.0
    """How often the rows of erased people are removed; queries hide them at once."""


class _AnotherMovedIt(Exception):  # noqa: N818 - it names what is the matter
    """Another projector is at this model, or has been: what we have done is not needed."""


@dataclass(slots=True)
class _Pause:
    """A model is tried again later."""

    seconds: float
    until: float


@dataclass(slots=True)
class Projector:
    """Moves the read models of one tenant. Of several on one database each does what no other is at."""

    conninfo: str
    schema: str
    """Schema of the read models."""
    log: Log
    models: Sequence[ReadModel]
    hash: Hash
    zone: tzinfo = UTC
    """The tenant's: in it local dates begin and end."""
    limits: ProjectorLimits = field(default_factory=ProjectorLimits)
    _group: Connection | None = None
    """Holds the group's row while a page is folded."""
    _worker: Connection | None = None
    _pauses: dict[Build, _Pause] = field(default_factory=dict)
    _steps: dict[Build, int] = field(default_factory=dict)
    """How many events a page of a model may have that took too long; of all others `page_events_max`."""
    _memories: dict[Build, Memory] = field(default_factory=dict)
    _forgotten_at: float | None = None

    # Life

    def run(self, stop: threading.Event, on_started: Callable[[], None] = lambda: None) -> None:
        """Follow the log until told to stop, through every outage of the database.

        `on_started` is called once, when every model has tables to answer from.
        """
        pause = self.limits.pause_seconds_min
        started = False
        while not stop.is_set():
            try:
                if not started:
                    self.start()
                    started = True
                    on_started()
                if not self.step():
                    self.log.wait(self.limits.poll_seconds)
                pause = self.limits.pause_seconds_min
            except _LOST as error:
                _LOG.warning("the projector waits for the database: %s", _name(error))
                self.close()
                stop.wait(pause)
                pause = min(2 * pause, self.limits.pause_seconds_max)
        self.close()

    def start(self) -> None:
        """Make tables for models that have none, and try stopped models again."""
        with self._connected_worker().transaction():
            # Two that start make tables one after the other, whatever the group is doing meanwhile.
            self._execute('LOCK TABLE "{schema}".builds IN SHARE UPDATE EXCLUSIVE MODE')
            have = {(status.build.model, status.build.version) for status in self.status()}
            for model in self.models:
                if (model.name, model.version) not in have:
                    self._add_build(model, Build(model.name, model.version))
            self._execute("UPDATE \"{schema}\".builds SET state = 'catching_up' WHERE state = 'stopped'")

    def close(self) -> None:
        """Close all connections; the next step opens them again."""
        for connection in (self._group, self._worker):
            if connection is not None:
                connection.close()
        self._group = self._worker = None
        self.log.close()

    def step(self) -> bool:
        """Fold one page for the group and one for each model that goes alone; whether anything has moved."""
        moved = self._follow()
        for status in self._of_state("catching_up"):
            moved = self._catch_up(status) or moved
        self._hand_over()
        self._let_go()
        self._forget()
        return moved

    # The group

    def _follow(self) -> bool:
        moved: list[bool] = []
        try:
            with self._connected_group().transaction():
                moved += self._advance_group()
        except _TOOK_TOO_LONG:
            # Nobody else had the group until now; what its members have folded is theirs.
            _LOG.warning("the group of read models took longer than a transaction may")
        return any(moved)

    def _advance_group(self) -> Iterator[bool]:
        held = self._connected_group().execute(
            in_schema('SELECT FROM "{schema}".live_group FOR UPDATE SKIP LOCKED', self.schema)
        )
        members = self._members() if held.fetchone() is not None else []
        if members:
            after = min(status.position for status in members)
            page = self.log.page(after, after + self.limits.page_events_max, self._wanted(members))
            for status in members:
                yield self._advance(status, partial(page.part, status.position, page.upto))

    def _members(self) -> list[BuildStatus]:
        """The live models, but for those that lag by more than a page: they go alone."""
        live = self._of_state("live")
        end = max((status.position for status in live), default=0)
        for status in live:
            if end - status.position > self.limits.page_events_max:
                self._set_state(status.build, "catching_up", at=status.position)
        return [status for status in live if end - status.position <= self.limits.page_events_max]

    def _wanted(self, members: Sequence[BuildStatus]) -> frozenset[str]:
        return frozenset().union(*(self._model(status.build).events for status in members))

    # One model

    def _catch_up(self, status: BuildStatus) -> bool:
        pause = self._pauses.get(status.build)
        if pause is not None and time.monotonic() < pause.until:
            return False
        step = self._steps.get(status.build, self.limits.page_events_max)
        end = status.position + step
        # Read once, and only when the build is claimed: another projector may be at it.
        page = cache(partial(self.log.page, status.position, end, self._model(status.build).events))
        moved = self._advance(status, page)
        if moved:
            self._pauses.pop(status.build, None)
            self._steps[status.build] = 2 * step
        if self._steps.get(status.build, step) >= self.limits.page_events_max:
            self._steps.pop(status.build, None)
            self._join(status.build)
        return moved

    def _join(self, build: Build) -> None:
        """Let a model into the group when it is no more than a page behind: the next page begins where it is."""
        self._execute(
            """
            UPDATE "{schema}".builds SET state = 'live' WHERE {build} AND state = 'catching_up' AND error IS NULL
               AND position + %(page)s >=
                   coalesce((SELECT max(position) FROM "{schema}".builds WHERE state = 'live'), %(head)s)
            """,
            build,
            page=self.limits.page_events_max,
            head=self.log.head(),
        )

    def _advance(self, status: BuildStatus, page: Callable[[], LogPage]) -> bool:
        """Fold a page; when that fails, as many events of it as can be folded. Whether anything was folded."""
        error = self._try(status, page)
        if error is None:
            return page().upto > page().after
        if isinstance(error, _AnotherMovedIt):
            return False
        if isinstance(error, _TOOK_TOO_LONG):
            step = self._steps.get(status.build, self.limits.page_events_max)
            self._steps[status.build] = max(1, step // _SHRINKING)
        if isinstance(error, (psycopg.OperationalError, *_TOOK_TOO_LONG)):
            self._try_later(status.build, page(), error)
            return False
        return self._advance_to_error(status, page(), error)

    def _advance_to_error(self, status: BuildStatus, page: LogPage, error: Exception) -> bool:
        """Find the event of a page that cannot be folded by halves, fold those before it, and stop there."""
        if page.upto - page.after == 1:
            self._stop(status.build, page.upto, error)
            return False
        middle = (page.after + page.upto) // 2
        moved = False
        for half in (page.part(page.after, middle), page.part(middle, page.upto)):
            moved = self._advance(replace(status, position=half.after), partial(half.part, 0, half.upto)) or moved
            if self._status_of(status.build).position < half.upto:
                break
        return moved

    def _try(self, status: BuildStatus, page: Callable[[], LogPage]) -> Exception | None:
        connection = self._connected_worker()
        try:
            with connection.transaction():
                self._apply(connection, status, page)
        except psycopg.InterfaceError:
            raise
        except Exception as error:
            if connection.closed and not isinstance(error, _TOOK_TOO_LONG):
                raise
            return error
        return None

    def _apply(self, connection: Connection, status: BuildStatus, read: Callable[[], LogPage]) -> None:
        model = self._model(status.build)
        claimed = self._execute(
            'SELECT FROM "{schema}".builds WHERE {build} AND state = %(state)s AND position = %(after)s '
            "FOR UPDATE SKIP LOCKED",
            status.build,
            state=status.state,
            after=status.position,
        )
        if claimed.fetchone() is None:
            raise _AnotherMovedIt
        page = read()
        if page.upto <= page.after:
            return
        tables = Tables(self.schema, status.build)
        events = page.readable(model.events)
        memory = self._memories.setdefault(status.build, Memory())
        model.fold(Page(connection, tables, events, page.after, page.upto, self.hash, self.zone, memory))
        moved = self._execute(
            'UPDATE "{schema}".builds SET position = %(upto)s, moved_at = clock_timestamp(), error = NULL, '
            "error_position = NULL WHERE {build} AND position = %(after)s",
            status.build,
            after=page.after,
            upto=page.upto,
        )
        if moved.rowcount != 1:
            raise _AnotherMovedIt

    def _stop(self, build: Build, position: int, error: Exception) -> None:
        _LOG.error("%s stopped at position %d: %s", build.prefix, position, _name(error))
        self._set_state(build, "stopped", at=position - 1, error=error)

    def _try_later(self, build: Build, page: LogPage, error: Exception) -> None:
        _LOG.warning("%s is tried again after position %d: %s", build.prefix, page.after, _name(error))
        before = self._pauses.get(build)
        seconds = min(2 * before.seconds, self.limits.pause_seconds_max) if before else self.limits.pause_seconds_min
        self._pauses[build] = _Pause(seconds, time.monotonic() + seconds)
        self._set_state(build, "catching_up", at=page.after, error=error)

    def _set_state(self, build: Build, state: str, *, at: int, error: Exception | None = None) -> None:
        """Say how a build is doing that is at this position; if another projector has moved it, there is no need to."""
        self._execute(
            'UPDATE "{schema}".builds SET state = %(state)s, error = %(error)s, error_position = %(error_position)s '
            "WHERE {build} AND position = %(at)s",
            build,
            state=state,
            at=at,
            error=None if error is None else _name(error),
            error_position=None if error is None else at + 1,
        )

    # Builds

    def _add_build(self, model: ReadModel, build: Build) -> None:
        """Make empty tables. They answer at once where nothing else does, else when they have caught up."""
        create_tables(self._connected_worker(), model, Tables(self.schema, build))
        self._execute(
            """
            INSERT INTO "{schema}".builds (model, version, build, state, serving) VALUES (
                %(model)s, %(version)s, %(number)s,
                CASE WHEN EXISTS (SELECT FROM "{schema}".builds WHERE position > 0) THEN 'catching_up' ELSE 'live' END,
                NOT EXISTS (SELECT FROM "{schema}".builds WHERE model = %(model)s))
            """,
            build,
        )
        self._execute(
            'INSERT INTO "{schema}".current_versions (model, version) VALUES (%(model)s, %(version)s) '
            "ON CONFLICT DO NOTHING",
            build,
        )

    def _hand_over(self) -> None:
        """Let builds answer that have come as far as those that answer now, and remove the tables that nobody reads."""
        for status in self._of_state("live"):
            if not status.serving:
                self._serve(status.build)
        for status in self.status():
            if not status.serving and self._is_replaced(status.build):
                with suppress(psycopg.errors.LockNotAvailable):  # somebody still reads them: later
                    self.retire(status.build)

    def _serve(self, build: Build) -> None:
        with self._connected_worker().transaction():
            answering = self._execute(
                'SELECT coalesce(max(position), 0) FROM "{schema}".builds WHERE model = %(model)s AND serving', build
            ).fetchone()
            ready = self._execute(
                'SELECT FROM "{schema}".builds WHERE {build} AND position >= %(position)s',
                build,
                position=answering[0] if answering else 0,
            )
            if ready.fetchone() is None:
                return
            self._execute(
                'UPDATE "{schema}".builds SET serving = false '
                "WHERE model = %(model)s AND version = %(version)s AND serving",
                build,
            )
            self._execute('UPDATE "{schema}".builds SET serving = true WHERE {build}', build)
            self._execute(
                'UPDATE "{schema}".current_versions SET version = %(version)s '
                "WHERE model = %(model)s AND version < %(version)s",
                build,
            )

    def _is_replaced(self, build: Build) -> bool:
        newer = self._execute(
            'SELECT FROM "{schema}".builds WHERE model = %(model)s AND version = %(version)s AND build > %(number)s '
            "AND serving",
            build,
        )
        return newer.fetchone() is not None

    def retire(self, build: Build) -> None:
        """Remove a build for ever. Answers of its version cannot be given any more if it was the one that served it."""
        with self._connected_worker().transaction():
            self._connected_worker().execute("SET LOCAL lock_timeout = '100ms'")
            self._execute('DELETE FROM "{schema}".builds WHERE {build}', build)
            drop_tables(self._connected_worker(), Tables(self.schema, build))

    def rebuild(self, name: str, progress: Progress, *, version: int | None = None) -> Mapping[str, str]:
        """Make a model anew from the log, beside the one that answers, and let it take over; its digest by table.

        A rebuild that was interrupted is gone on with. Raises `ReadModelNotFound`.
        """
        model = max(
            (each for each in self.models if each.name == name and version in (None, each.version)),
            key=lambda each: each.version,
            default=None,
        )
        if model is None:
            raise ReadModelNotFound(model=name, version=version)
        self.start()
        builds = [each for each in self.status() if (each.build.model, each.build.version) == (name, model.version)]
        latest = builds[-1]
        if latest.serving:
            build = Build(name, model.version, latest.build.build + 1)
            with self._connected_worker().transaction():
                self._add_build(model, build)
        else:
            build = latest.build
        while not self._status_of(build).serving:
            if not self.step():
                self.log.wait(self.limits.poll_seconds)
            status = self._status_of(build)
            if status.state == "stopped":
                raise RebuildHasStopped(status)
            progress(status.position, max(self.log.head(), status.position))
        return self.digest(build)

    def digest(self, build: Build) -> Mapping[str, str]:
        """SHA-256 of each of its tables, to be compared with those of another build or another database."""
        with self._connected_worker().transaction():
            self._connected_worker().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            model = self._model(build)
            return digest(self._connected_worker(), model, Tables(self.schema, build))

    def _let_go(self) -> None:
        """Let go of what is remembered of builds that are gone, or that another projector has moved."""
        positions = {status.build: status.position for status in self.status()}
        for build, memory in list(self._memories.items()):
            if memory.position != positions.get(build):
                del self._memories[build]

    # Erased people

    def _forget(self) -> None:
        """Remove the rows of erased people now and then; queries hide them from the moment of the erasure."""
        now = time.monotonic()
        if self._forgotten_at is not None and now < self._forgotten_at + self.limits.forget_seconds:
            return
        self._forgotten_at = now
        for status in self.status():
            model = self._known(status.build)
            if model is not None:
                with self._connected_worker().transaction():
                    forget_erased(self._connected_worker(), model, Tables(self.schema, status.build))

    # Asking

    def status(self) -> list[BuildStatus]:
        """All builds, also of models that this program does not have."""
        return [BuildStatus.of(row) for row in self._execute(BuildStatus.QUERY)]

    def _status_of(self, build: Build) -> BuildStatus:
        return next(status for status in self.status() if status.build == build)

    def _of_state(self, state: str) -> list[BuildStatus]:
        """The builds in a state that this program has a model for."""
        return [status for status in self.status() if status.state == state and self._known(status.build)]

    def _known(self, build: Build) -> ReadModel | None:
        key = (build.model, build.version)
        return next((model for model in self.models if (model.name, model.version) == key), None)

    def _model(self, build: Build) -> ReadModel:
        model = self._known(build)
        if model is None:
            raise ReadModelNotFound(model=build.model, version=build.version)
        return model

    def _execute(self, template: str, build: Build | None = None, **values: object) -> psycopg.Cursor[tuple[Any, ...]]:
        if build is not None:
            values |= {"model": build.model, "version": build.version, "number": build.build}
        statement = template.replace("{build}", "(model, version, build) = (%(model)s, %(version)s, %(number)s)")
        return self._connected_worker().execute(in_schema(statement, self.schema), values or None)

    def _connected_worker(self) -> Connection:
        if self._worker is None or self._worker.closed:
            self._worker = psycopg.connect(self.conninfo, autocommit=True)
        return self._worker

    def _connected_group(self) -> Connection:
        if self._group is None or self._group.closed:
            self._group = psycopg.connect(self.conninfo, autocommit=True)
        return self._group


class RebuildHasStopped(Exception):  # noqa: N818 - it names what is the matter
    """The rebuild has met an event that it cannot fold; the build that answers is as it was."""

    def __init__(self, status: BuildStatus) -> None:
        super().__init__(f"{status.build.prefix} stopped at position {status.error_position}: {status.error}")
        self.status = status


def _name(error: Exception) -> str:
    """The class of an error: its message may hold personal data."""
    return type(error).__name__
