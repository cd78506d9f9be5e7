"""Pages of the log for those who fold it: in order, without a gap, each event decoded at most once."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import psycopg
from psycopg import sql

from application.ports import RecordedEvent
from infrastructure.codec import Codec, FindKey, split_reference, subject_reference
from infrastructure.records import COLUMNS, bodies, channel, recorded
from infrastructure.tenant import Tenant

PAGE_BYTES_MAX = 8 * 1024**2
"""Bodies of one page. A page of large invoices is shorter; a single event is at most 1 MiB."""


class LogHasGap(Exception):  # noqa: N818 - it names what is the matter
    """A position of the log has no event: it was removed, or the database was damaged. Nothing is folded beyond it."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something in the log that cannot be folded: an event that does not decode, or a gap."""

    position: int
    type: str | None
    """Stored name of the event; None for a gap, which concerns every read model."""
    error: Exception


@dataclass(frozen=True, slots=True)
class LogPage:
    """The wanted events at positions after `after`, up to `upto`."""

    after: int
    upto: int
    events: Sequence[RecordedEvent | Unreadable]

    def part(self, after: int, upto: int) -> "LogPage":
        """A shorter page within this one."""
        after, upto = max(after, self.after), min(upto, self.upto)
        if (after, upto) == (self.after, self.upto):
            return self
        return LogPage(after, upto, [each for each in self.events if after < each.position <= upto])

    def readable(self, types: frozenset[str]) -> list[RecordedEvent]:
        """The events of these types. Raises the error of one that cannot be read, or of a gap."""
        found = []
        for each in self.events:
            if isinstance(each, Unreadable):
                if each.type is None or each.type in types:
                    raise each.error
            elif each.type in types:
                found.append(each)
        return found


class Log(Protocol):
    """What a projector asks of a log."""

    def head(self) -> int:
        """The last position; 0 while the log is empty."""
        ...

    def page(self, after: int, upto: int, types: frozenset[str]) -> LogPage:
        """The next page: at most up to `upto`, perhaps shorter; with nothing after `after`, an empty one."""
        ...

    def wait(self, seconds_max: float) -> None:
        """Wait until there may be more, at most so long."""
        ...

    def close(self) -> None:
        """Give back what is held; the next call opens it again."""
        ...


class PostgresLog:
    """The log of one tenant, as the projector's role may read it."""

    def __init__(self, conninfo: str, tenant: Tenant, codec: Codec) -> None:
        self._conninfo = conninfo
        self._tenant = tenant
        self._codec = codec
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._connecting = threading.Lock()
        events = sql.Identifier(tenant.schema, "events")
        columns = COLUMNS.replace("body", "CASE WHEN type = ANY(%(types)s) THEN body END")
        self._page = sql.SQL(
            "SELECT * FROM (SELECT " + columns + ", sum(CASE WHEN type = ANY(%(types)s) THEN octet_length(body) END) "
            "OVER (ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before "
            "FROM {events} WHERE position > %(after)s AND position <= %(upto)s) page "
            "WHERE coalesce(bytes_before, 0) < %(bytes)s ORDER BY position"
        ).format(events=events)
        self._head = sql.SQL("SELECT position FROM {events} ORDER BY position DESC LIMIT 1").format(events=events)
        self._keys = sql.SQL(
            "SELECT subject_id, wrapped FROM {keys} WHERE subject_id = ANY(%s) AND wrapped IS NOT NULL"
        ).format(keys=sql.Identifier(tenant.schema, "subject_keys"))
        self._listen = sql.SQL("LISTEN {channel}").format(channel=sql.SQL(channel(tenant.schema)))

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        with self._connecting:
            if self._connection is None:
                self._connection = psycopg.connect(self._conninfo, autocommit=True)
                self._connection.execute(self._listen)
            return self._connection

    def head(self) -> int:
        """See `Log.head`."""
        row = self._connected().execute(self._head).fetchone()
        return row[0] if row else 0

    def page(self, after: int, upto: int, types: frozenset[str]) -> LogPage:
        """See `Log.page`."""
        head = self.head()  # asked first: what is appended after the page was read is no gap
        with self._connected().cursor(binary=True) as cursor:
            rows = cursor.execute(
                self._page, {"after": after, "upto": upto, "types": list(types), "bytes": PAGE_BYTES_MAX}
            ).fetchall()
        wanted = [row[:-1] for row in rows if row[3] in types]
        keys = self._subject_keys(wanted)
        events: list[RecordedEvent | Unreadable] = [self._read(row, keys) for row in wanted]
        for expected, row in enumerate(rows, after + 1):
            if row[0] != expected:
                return self._up_to_gap(after, expected, events)
        if not rows and after < head:
            return self._up_to_gap(after, after + 1, events)
        return LogPage(after, after + len(rows), events)

    @staticmethod
    def _up_to_gap(after: int, missing: int, events: Sequence[RecordedEvent | Unreadable]) -> LogPage:
        before = [each for each in events if each.position < missing]
        return LogPage(after, missing, [*before, Unreadable(missing, None, LogHasGap())])

    def _read(self, row: Sequence[Any], find_key: FindKey) -> RecordedEvent | Unreadable:
        try:
            return recorded(self._codec, row, find_key)
        except Exception as error:  # noqa: BLE001 - whatever it is, the models that want the event stop at it
            return Unreadable(row[0], row[3], error)

    def _subject_keys(self, rows: Sequence[Sequence[Any]]) -> FindKey:
        """The keys of people in these rows, never kept. Free texts stay closed: nothing is made of what they say."""
        subjects: list[UUID] = []
        for reference in self._codec.references(bodies(rows)):
            is_subject, subject = split_reference(reference)
            if is_subject:
                subjects.append(subject)
        opened = self._tenant.key_encryption_keys.open
        found = self._connected().execute(self._keys, [subjects]) if subjects else ()
        keys = {subject_reference(subject): opened(wrapped, subject) for subject, wrapped in found}
        return keys.get

    def wait(self, seconds_max: float) -> None:
        """See `Log.wait`. A notification may be missed, so nobody should wait long."""
        for _ in self._connected().notifies(timeout=seconds_max, stop_after=1):
            pass

    def close(self) -> None:
        """See `Log.close`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class ReadingAhead:
    """A log that reads and decodes the next page in a thread, while the database is busy with the one before."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._reader = ThreadPoolExecutor(1, "read-ahead")
        self._ahead: dict[frozenset[str], tuple[int, int, Future[LogPage]]] = {}
        """By what it is read for: a group of models and one that goes alone take turns."""

    def head(self) -> int:
        """See `Log.head`."""
        return self._log.head()

    def page(self, after: int, upto: int, types: frozenset[str]) -> LogPage:
        """See `Log.page`. A page read ahead may be shorter than the log is by now; the next one goes on there."""
        first, end, ahead = self._ahead.pop(types, (0, 0, None))
        page = ahead.result() if ahead and (first, end) == (after, upto) else self._log.page(after, upto, types)
        if page.upto == upto:  # there is probably more
            following = upto, upto + (upto - after)
            self._ahead[types] = *following, self._reader.submit(self._log.page, *following, types)
        return page

    def wait(self, seconds_max: float) -> None:
        """See `Log.wait`."""
        self._log.wait(seconds_max)

    def close(self) -> None:
        """See `Log.close`."""
        wait([ahead for _, _, ahead in self._ahead.values() if not ahead.cancel()])
        self._ahead.clear()
        self._log.close()
