"""A proxy before Postgres that cuts connections at chosen moments.

It listens on a socket of its own and hands everything on. A cut is ordered beforehand and happens once, at the next
statement that comes through: see the methods of `Proxy`.
"""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_CHUNK_BYTES = 65_536
_HEADER = struct.Struct("!cI")
_READY = b"Z"


class _Cut(Enum):
    """Where a connection is to be cut."""

    REQUEST = auto()
    WAITING = auto()
    ANSWER = auto()


class _CutError(Exception):
    """The connection is cut now."""


@dataclass
class _Order:
    cut: _Cut
    after_bytes: int = 0
    leaves_backend: bool = False


@dataclass(eq=False)
class Proxy:
    """Hands on what clients and the server say."""

    conninfo: str
    """How to reach the server by way of the proxy."""
    cuts: int = 0
    """How many connections have been cut."""
    _order: _Order | None = None
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    def cut_request(self, after_bytes: int) -> None:
        """Let only the beginning of the next request through; the server is left with half of it."""
        self._order = _Order(_Cut.REQUEST, after_bytes)

    def cut_while_waiting(self, *, leaves_backend: bool) -> None:
        """Cut once the next request is through; the backend may be left at work without knowing that nobody listens."""
        self._order = _Order(_Cut.WAITING, leaves_backend=leaves_backend)

    def cut_answer(self, after_bytes: int = 0) -> None:
        """Let the next request be done, and only the beginning of its answer through."""
        self._order = _Order(_Cut.ANSWER, after_bytes)

    async def serve(self, upstream: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Look after one connection."""
        server_reader, server_writer = await asyncio.open_unix_connection(str(upstream))
        connection = _Connection(self, (reader, writer), (server_reader, server_writer))
        await connection.run()

    def take_order(self) -> _Order | None:
        """What is to be done with the request that has just begun."""
        order, self._order = self._order, None
        return order


class _Connection:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._client_reader, self._client = client
        self._server_reader, self._server = server
        self._order: _Order | None = None
        self._is_asked = False
        self._is_open = False
        """Whether the client has been let in; what it says before that is no request."""

    async def run(self) -> None:
        """Hand on in both directions until one side ends, or the connection is cut."""
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._hand_on_requests())
                both.create_task(self._hand_on_answers())
        except* _CutError:
            self._proxy.cuts += 1
            self._client.transport.abort()
            if self._order is not None and self._order.leaves_backend:
                with suppress(ConnectionError):
                    while await self._server_reader.read(_CHUNK_BYTES):
                        pass
        except* ConnectionError:
            pass
        finally:
            self._client.transport.abort()
            self._server.transport.abort()

    async def _hand_on_requests(self) -> None:
        while data := await self._client_reader.read(_CHUNK_BYTES):
            if self._is_open and not self._is_asked:
                self._is_asked = True
                self._order = self._order or self._proxy.take_order()
            if self._order is not None and self._order.cut is _Cut.REQUEST:
                data = data[: self._order.after_bytes]
                self._order.after_bytes -= len(data)
            self._server.write(data)
            await self._server.drain()
            if self._order is not None and (
                self._order.cut is _Cut.WAITING or (self._order.cut is _Cut.REQUEST and self._order.after_bytes == 0)
            ):
                raise _CutError
        raise ConnectionError

    async def _hand_on_answers(self) -> None:
        while True:
            kind, message = await self._message()
            if self._order is not None and self._order.cut is _Cut.ANSWER:
                self._client.write(message[: self._order.after_bytes])
                self._order.after_bytes -= min(self._order.after_bytes, len(message))
                if kind == _READY:
                    # The server has said all: what it did is done.
                    await self._client.drain()
                    raise _CutError
            else:
                self._client.write(message)
                await self._client.drain()
            if kind == _READY:
                self._is_open, self._is_asked = True, False

    async def _message(self) -> tuple[bytes, bytes]:
        try:
            header = await self._server_reader.readexactly(_HEADER.size)
            kind, length = _HEADER.unpack(header)
            return kind, header + await self._server_reader.readexactly(length - 4)
        except asyncio.IncompleteReadError as error:
            raise ConnectionError from error


@asynccontextmanager
async def proxied(conninfo: str) -> AsyncIterator[Proxy]:
    """A proxy before the server that `conninfo` leads to by a Unix socket."""
    parts = conninfo_to_dict(conninfo)
    name = f".s.PGSQL.{parts.get('port') or 5432}"
    with TemporaryDirectory(prefix="rapport-proxy-") as folder:
        proxy = Proxy(make_conninfo(conninfo, host=folder, sslmode="disable", gssencmode="disable"))
        upstream = Path(str(parts["host"])) / name
        server = await asyncio.start_unix_server(
            lambda reader, writer: proxy.serve(upstream, reader, writer), str(Path(folder) / name)
        )
        try:
            yield proxy
        finally:
            server.close()
