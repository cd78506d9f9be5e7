"""A digest of a whole table, beside that of the log: what was emptied in a backup, or planted in it, is found by it.

It is the SHA-256 of all rows in the order of the primary key, as Postgres writes them in its binary COPY format,
without the 19 bytes at its beginning and the two at its end. Texts are ordered by their bytes, so that every server
orders alike.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from infrastructure.log_digest import HEADER, TRAILER


class TableDigest:
    """The digest of the rows in the binary COPY that is added, chunk by chunk."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._to_skip = len(HEADER)
        self._end = b""

    def add(self, chunk: bytes) -> None:
        """Take in the next chunk, however it is cut."""
        skipped = min(self._to_skip, len(chunk))
        self._to_skip -= skipped
        waiting = self._end + chunk[skipped:]
        self._hash.update(waiting[: -len(TRAILER)])
        self._end = waiting[-len(TRAILER) :]

    def hex(self) -> str:
        """The digest."""
        return self._hash.hexdigest()


def digest_of(chunks: Iterable[bytes]) -> str:
    """The digest of a whole binary COPY."""
    digest = TableDigest()
    for chunk in chunks:
        digest.add(chunk)
    return digest.hex()


@contextmanager
def table_copy(
    connection: psycopg.Connection, schema: str, table: str, columns: Sequence[str]
) -> Iterator[Iterator[bytes]]:
    """A table as a binary COPY, in the order of its primary key; the connection is free again when the block ends."""
    name = sql.Identifier(schema, table)
    key = connection.execute(
        "SELECT attname, atttypid = 'text'::regtype FROM pg_index JOIN pg_attribute ON attrelid = indrelid "
        "AND attnum = ANY(indkey) WHERE indrelid = to_regclass(%s) AND indisprimary "
        "ORDER BY array_position(indkey, attnum)",
        [name.as_string()],
    ).fetchall()
    order = [sql.SQL('{} COLLATE "C"' if is_text else "{}").format(sql.Identifier(column)) for column, is_text in key]
    statement = sql.SQL("COPY (SELECT {} FROM {} ORDER BY {}) TO STDOUT (FORMAT binary)").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), name, sql.SQL(", ").join(order)
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield map(bytes, copy)
