"""One connection of a client, so plain that it costs the machine next to nothing and shows what is cut off when."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


class Cut(ConnectionError):  # noqa: N818 - it says what has happened
    """The connection ended before the answer did."""


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of an answer."""

    status: int
    headers: Mapping[str, str]


class Connection:
    """Sends one request at a time; after an error it connects anew."""

    def __init__(self, address: str, key: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> bool:
        """Connect, unless it is connected; whether it had to."""
        if self._streams is not None:
            return False
        self._streams = await asyncio.open_connection(self._host, self._port)
        return True

    def close(self) -> None:
        """Connect anew next time."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    def write(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, share: float = 1.0
    ) -> None:
        """Send a request, or only the first share of its bytes; the connection must be open."""
        given = {"host": self._host, "authorization": f"Bearer {self._key}", "content-length": str(len(body))}
        head = [
            f"{method} {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in (given | dict(headers or {})).items()),
        ]
        request = "\r\n".join(head).encode() + b"\r\n\r\n" + body
        self._open()[1].write(request[: int(share * len(request))])

    async def head(self) -> Head:
        """The beginning of the answer. Raises `Cut`."""
        try:
            text = (await self._open()[0].readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Cut(type(error).__name__) from error
        status_line, *lines = text.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        return Head(int(status_line.split()[1]), headers)

    async def beginning(self, size: int) -> bytes:
        """The first bytes of the answer, and no more. Raises `Cut`."""
        try:
            return await self._open()[0].readexactly(size)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Cut(type(error).__name__) from error

    async def body(self, head: Head) -> AsyncGenerator[bytes]:
        """The pieces of the answer's body as they come, to its end. Raises `Cut`."""
        reader = self._open()[0]
        try:
            if "content-length" in head.headers:
                yield await reader.readexactly(int(head.headers["content-length"]))
            else:
                while size := int(await reader.readuntil(b"\r\n"), 16):
                    yield (await reader.readexactly(size + 2))[:-2]
                await reader.readexactly(2)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Cut(type(error).__name__) from error
        if head.headers.get("connection", "").lower() == "close":
            self.close()

    async def documents(self, head: Head) -> AsyncGenerator[Any]:
        """The JSON values in the lines of the answer's body, as they come."""
        rest = b""
        async for piece in self.body(head):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield json.loads(line)
        if rest:
            yield json.loads(rest)

    def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            raise Cut
        return self._streams
