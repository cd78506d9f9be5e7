"""A digest over the log that tells whether one log is the beginning of another, and where they part.

The digest at a position is the SHA-256 of all rows up to it, in the order of positions, as Postgres writes them in its
binary COPY format: the number of columns, and each column with its length before it, the stored body among them. So it
can be had without Rapport, too: `COPY (SELECT … ORDER BY position) TO STDOUT (FORMAT binary)`, without the 19 bytes at
its beginning and the two at its end, through `sha256sum`.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psycopg
from psycopg import sql

COLUMNS = (
    "position",
    "recorded_at",
    "occurred_at",
    "source_recorded_at",
    "stream_id",
    "command_id",
    "correlation_id",
    "causation_id",
    "customer_id",
    "version",
    "schema_version",
    "type",
    "actor",
    "actor_kind",
    "on_behalf_of",
    "reason",
    "source",
    "body",
)
"""What the digest is over, in this order. It is a public contract: digests that were noted down stay comparable."""

DIGEST_BYTES = 32

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER = _SIGNATURE + bytes(8)
"""What a file in the binary format begins with: signature, no flags, no extension."""
TRAILER = b"\xff\xff"
_NO_MORE = -1
_COUNT = struct.Struct(">h")
"""How many columns a row has."""
_LENGTH = struct.Struct(">i")
"""How many bytes a column has; -1 for NULL."""
_POSITION = struct.Struct(">hiq")
"""The beginning of a row of the log: its first column is the position."""


class LogDiffers(Exception):  # noqa: N818 - it names what is the matter
    """The log is not what it is compared with; the message says from which position on."""

    def __init__(self, position: int, sentence: str) -> None:
        super().__init__(sentence)
        self.position = position


class EventIsMissing(LogDiffers):
    """There is no event at a position that has one after it."""

    def __init__(self, position: int) -> None:
        super().__init__(position, f"There is no event at position {position}, and there are events after it.")


class EventDiffers(LogDiffers):
    """An event is not the one that is known."""

    def __init__(self, position: int, known: "KnownLog") -> None:
        super().__init__(position, f"The event at position {position} is another one than in {known.name}.")


class LogDiffersSomewhere(LogDiffers):
    """The log is another one, and there are no digests of single positions that would tell from where on."""

    def __init__(self, position: int, known: "KnownLog") -> None:
        super().__init__(position, f"At position {position} or before, the log is another one than in {known.name}.")


class LogIsShorter(LogDiffers):
    """The log ends before something that is known."""

    def __init__(self, position: int, known: "KnownLog") -> None:
        sentence = f"The log ends at position {position - 1}, and {known.name} goes on to {known.position}."
        super().__init__(position, sentence)


class LogIsLonger(LogDiffers):
    """The log goes on after it should have ended."""

    def __init__(self, position: int, known: "KnownLog") -> None:
        super().__init__(position, f"There is an event at position {position}, and {known.name} ends before it.")


class CannotBeCompared(LogDiffers):
    """What is known lies beyond the end of the log, and only as one digest."""

    def __init__(self, position: int, known: "KnownLog") -> None:
        sentence = (
            f"The log ends at position {position - 1}. Of {known.name}, which goes on to {known.position}, the file"
            f" {DIGESTS_FILE} is needed to tell whether the log is its beginning."
        )
        super().__init__(position, sentence)


DIGESTS_FILE = "positions.sha256"
"""The digest at every position, 32 bytes each: what an auditor keeps to know later from where on a log differs."""


@dataclass(frozen=True, slots=True)
class KnownLog:
    """A log as it is known: how far it goes, and its digest there."""

    name: str
    """What it is called in messages."""
    position: int
    digest: bytes
    digests: Path | None
    """The file with the digest at every position, where there is one."""
    is_whole: bool = False
    """Whether the log that is compared has to end where this one does; otherwise one may be the beginning of the other.
    """


class RunningDigest:
    """The digest at the position that was added last."""

    def __init__(self) -> None:
        self.position = 0
        self._hash = hashlib.sha256()

    def add(self, row: bytes) -> bytes:
        """Take in the next row; the digest at its position. Raises `EventIsMissing`."""
        position = position_of(row)
        if position != self.position + 1:
            raise EventIsMissing(self.position + 1)
        self.position = position
        self._hash.update(row)
        return self.digest()

    def digest(self) -> bytes:
        """The digest."""
        return self._hash.copy().digest()


def position_of(row: bytes) -> int:
    """The position of an event, from its row."""
    _columns, _length, position = _POSITION.unpack_from(row)
    return int(position)


def select(schema: str) -> sql.Composed:
    """The statement that gives all rows of the log of a tenant, for a binary COPY."""
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    return sql.SQL("SELECT {} FROM {} ORDER BY position").format(columns, sql.Identifier(schema, "events"))


@contextmanager
def log_rows(connection: psycopg.Connection, schema: str) -> Iterator[Iterator[bytes]]:
    """Every row of the log in the order of positions; the connection is free again when the block ends."""
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(select(schema))
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield rows(map(bytes, copy))


def rows(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The rows of a binary COPY, however it is cut into chunks."""
    waiting, to_skip = b"", len(HEADER)
    for chunk in chunks:
        waiting += chunk
        at = min(to_skip, len(waiting))
        to_skip -= at
        while (end := _end_of_row(waiting, at)) is not None:
            yield waiting[at:end]
            at = end
        waiting = waiting[at:]


def _end_of_row(waiting: bytes, at: int) -> int | None:
    """Where the row that begins here ends; None if it is not all there, or this is the trailer."""
    try:
        (columns,) = _COUNT.unpack_from(waiting, at)
        if columns == _NO_MORE:
            return None
        at += _COUNT.size
        for _ in range(columns):
            (length,) = _LENGTH.unpack_from(waiting, at)
            at += _LENGTH.size + max(0, length)
    except struct.error:
        return None
    return at if at <= len(waiting) else None


def compare(found: Iterable[bytes], known: Sequence[KnownLog]) -> RunningDigest:
    """Compare the rows of a log with what is known of it; its own digest.

    Raises the `LogDiffers` of the first position that is missing or differs.
    """
    running = RunningDigest()
    with ExitStack() as stack:
        beside = [(each, _opened(each, stack)) for each in known]
        for row in found:
            digest = running.add(row)
            for each, file in beside:
                _compare_at(running.position, digest, each, file)
    for each in known:
        _compare_end(running.position, each)
    return running


def _opened(known: KnownLog, stack: ExitStack) -> BinaryIO | None:
    return stack.enter_context(known.digests.open("rb")) if known.digests is not None else None


def _compare_at(position: int, digest: bytes, known: KnownLog, file: BinaryIO | None) -> None:
    if position > known.position:
        if known.is_whole:
            raise LogIsLonger(position, known)
        return
    if file is not None and file.read(DIGEST_BYTES) != digest:
        raise EventDiffers(position, known)
    if position == known.position and digest != known.digest:
        raise LogDiffersSomewhere(position, known)


def _compare_end(position: int, known: KnownLog) -> None:
    if position >= known.position:
        return
    if known.is_whole:
        raise LogIsShorter(position + 1, known)
    if known.digests is None:
        raise CannotBeCompared(position + 1, known)
