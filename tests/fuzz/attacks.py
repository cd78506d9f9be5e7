"""Bytes on raw connections that are no request as RFC 9112 has it, or would like to be two.

Each carries a good key, and where something is smuggled, it is a registration that would be accepted: if one end of a
connection took a body for a request, an event would stand in the log.
"""

import json
from collections.abc import Mapping

from tests.api.bodies import ACME

_HUGE = 200_000


class Attacks:
    """The attacks of somebody who has this key."""

    def __init__(self, key: str) -> None:
        self._key = b"Authorization: Bearer " + key.encode()
        register = json.dumps(ACME).encode()
        self.poison = self._post(b"Content-Length: %d" % len(register), body=register)

    def _post(self, *headers: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
        head = (
            b"POST /v1/customers HTTP/" + version,
            b"Host: x",
            self._key,
            b"Idempotency-Key: k",
            b"Content-Type: application/json",
            *headers,
        )
        return b"\r\n".join(head) + b"\r\n\r\n" + body

    def _get(self, *headers: bytes, target: bytes = b"/v1/reports", version: bytes = b"HTTP/1.1") -> bytes:
        return b"\r\n".join((b"GET " + target + b" " + version, b"Host: x", self._key, *headers)) + b"\r\n\r\n"

    def _chunked(self, *chunks: bytes, coding: bytes = b"Transfer-Encoding: chunked", rest: bytes = b"") -> bytes:
        """A body whose chunks are given as they are on the wire, and what comes after the last one."""
        return self._post(coding, body=b"".join(chunks) + rest)

    def all(self) -> Mapping[str, bytes]:
        """Every attack, by what it is."""
        return {
            **self._noise(),
            **self._lengths(),
            **self._codings(),
            **self._chunks(),
            **self._heads(),
            **self._oversized(),
        }

    @staticmethod
    def _noise() -> Mapping[str, bytes]:
        return {
            "garbage": bytes(range(256)) * 4,
            "empty lines": b"\r\n" * 1_000,
            "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
            "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 100,
            "HTTP/0.9": b"GET /v1/reports\r\n",
            "a mail": b"EHLO x\r\nMAIL FROM:<a@x>\r\n",
        }

    def _lengths(self) -> Mapping[str, bytes]:
        """What is left of a body after its length is the poison."""
        poison, zero = self.poison, b"Content-Length: 0"
        long = b"Content-Length: %d" % len(poison)
        return {
            "length: two, the shorter first": self._post(zero, long, body=poison),
            "length: two, the longer first": self._post(long, zero, body=poison),
            "length: two in one": self._post(b"Content-Length: 0, %d" % len(poison), body=poison),
            "length: twice the same in one": self._post(b"Content-Length: 2, 2", body=b"{}" + poison),
            "length: signed": self._post(b"Content-Length: +2", body=b"{}" + poison),
            "length: negative": self._post(b"Content-Length: -1", body=poison),
            "length: hexadecimal": self._post(b"Content-Length: 0x2", body=b"{}" + poison),
            "length: in words": self._post(b"Content-Length: many", body=poison),
            "length: empty": self._post(b"Content-Length:", body=poison),
            "length: huge": self._post(b"Content-Length: 99999999999999999999", body=poison),
            "length: broken by a space": self._post(b"Content-Length: 2 0", body=b"{}" + poison),
            "length: too long for us, poison in the body": self._post(b"Content-Length: 2000000", body=poison),
            "length: longer than what comes": self._post(b"Content-Length: 500", body=b'{"customer'),
        }

    def _codings(self) -> Mapping[str, bytes]:
        """Of two ends one might read chunks, and the other not."""
        poison, end, chunked = self.poison, b"0\r\n\r\n", b"Transfer-Encoding: chunked"
        return {
            "length and chunks: the length covers the poison": self._post(
                b"Content-Length: %d" % len(end + poison), chunked, body=end + poison
            ),
            "length and chunks: the length covers the chunks": self._post(
                chunked, b"Content-Length: 5", body=end + poison
            ),
            "length and chunks: the length is 0": self._post(b"Content-Length: 0", chunked, body=end + poison),
            "two codings: unknown second": self._post(chunked, b"Transfer-Encoding: cow", body=end + poison),
            "two codings: identity second": self._post(chunked, b"Transfer-Encoding: identity", body=end + poison),
            "two codings: chunked is not last": self._post(b"Transfer-Encoding: chunked, gzip", body=end + poison),
            "coding: unknown": self._post(b"Transfer-Encoding: xchunked", body=end + poison),
            "coding: space before the colon": self._post(b"Transfer-Encoding : chunked", body=end + poison),
            "coding: with a control character": self._post(b"Transfer-Encoding: \x0bchunked", body=end + poison),
            "coding: folded": self._post(b"Transfer-Encoding:\r\n chunked", body=end + poison),
            "coding: in a header of another": self._post(b"X: a\nTransfer-Encoding: chunked", body=end + poison),
            "coding: of HTTP/1.0": self._post(chunked, body=end + poison, version=b"1.0"),
        }

    def _chunks(self) -> Mapping[str, bytes]:
        """Chunks whose end could be seen in two places; what they hold is no command."""
        poison, end = self.poison, b"0\r\n\r\n"
        return {
            "chunk: without a length": self._chunked(b"\r\n{}\r\n", end, rest=poison),
            "chunk: of no hexadecimal length": self._chunked(b"zz\r\n{}\r\n", end, rest=poison),
            "chunk: of prefixed length": self._chunked(b"0x2\r\n{}\r\n", end, rest=poison),
            "chunk: of signed length": self._chunked(b"+2\r\n{}\r\n", end, rest=poison),
            "chunk: of negative length": self._chunked(b"-2\r\n{}\r\n", end, rest=poison),
            "chunk: of a length that overflows": self._chunked(b"1" + b"0" * 16 + b"\r\n{}\r\n", end, rest=poison),
            "chunk: of endless length": self._chunked(b"f" * 10_000),
            "chunk: longer than its length": self._chunked(b"1\r\n{}\r\n", end, rest=poison),
            "chunk: shorter than its length": self._chunked(b"3\r\n{}\r\n", end, rest=poison),
            "chunk: ended by a line feed": self._chunked(b"2\n{}\n", b"0\n\n", rest=poison),
            "chunk: with poison for an extension": self._chunked(b"2;a=\n" + poison + b"\r\n{}\r\n", end),
            "chunk: with a long extension": self._chunked(b"2;a=" + b"x" * _HUGE + b"\r\n{}\r\n", end),
            "trailer: a length": self._chunked(b"2\r\n{}\r\n", b"0\r\nContent-Length: 5\r\n\r\n"),
            "trailer: a coding": self._chunked(b"2\r\n{}\r\n", b"0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            "trailer: another key": self._chunked(b"2\r\n{}\r\n", b"0\r\nAuthorization: Bearer x\r\n\r\n"),
            "trailer: poison": self._chunked(b"2\r\n{}\r\n", b"0\r\n" + poison),
            "trailer: many": self._chunked(b"2\r\n{}\r\n", b"0\r\n" + b"X: a\r\n" * 10_000 + b"\r\n"),
            "chunks without end, too long for us": self._chunked(*[b"1000\r\n" + b" " * 4_096 + b"\r\n"] * 400),
        }

    def _heads(self) -> Mapping[str, bytes]:
        """Heads of which it could be disputed where they end, or what they ask for; poison comes behind."""
        poison, good = self.poison, self._get()
        return {
            "head: line feeds only": good.replace(b"\r\n", b"\n") + poison,
            "head: carriage returns only": good.replace(b"\r\n", b"\r") + poison,
            "head: a bare carriage return": self._get(b"X: a\rY: b") + poison,
            "head: folded": self._get(b"X: a\r\n\tb: c") + poison,
            "head: U+0000": self._get(b"X: a\x00b") + poison,
            "head: space before the colon": self._get(b"X : a") + poison,
            "head: space before the name": self._get(b" X: a") + poison,
            "head: no name": self._get(b": x") + poison,
            "head: no colon": self._get(b"X") + poison,
            "head: two keys": self._get(b"Authorization: Bearer x"),
            "target: with a space": self._get(target=b"/v1/reports a") + poison,
            "target: with U+0000": self._get(target=b"/v1/\x00") + poison,
            "target: with a fragment": self._get(target=b"/v1/nothing#/v1/reports"),
            "target: of somebody else": self._get(target=b"http://other/v1/nothing"),
            "target: with dots": self._get(target=b"/v1/reports/../../etc/passwd"),
            "target: with encoded dots": self._get(target=b"/v1/reports/%2e%2e/%2e%2e/etc/passwd"),
            "method: unknown": b"BREW /v1/reports HTTP/1.1\r\nHost: x\r\n\r\n" + poison,
            "method: in small letters": good.replace(b"GET", b"get") + poison,
            "method: CONNECT": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n" + poison,
            "version: unknown": self._get(version=b"HTTP/9.9") + poison,
            "version: of something else": self._get(version=b"FTP/1.1") + poison,
        }

    def _oversized(self) -> Mapping[str, bytes]:
        return {
            "oversized: a header": self._get(b"X: " + b"a" * 100_000) + self.poison,
            "oversized: many headers": self._get(*(b"X-%d: a" % i for i in range(5_000))) + self.poison,
            "oversized: the target": self._get(target=b"/" + b"a" * _HUGE) + self.poison,
            "oversized: the query": self._get(target=b"/v1/events?types=" + b"a" * _HUGE) + self.poison,
            "oversized: the name of a header": self._get(b"X" * 100_000 + b": a") + self.poison,
        }

    def slow(self) -> Mapping[str, bytes]:
        """What is begun and never gone on with, or never read."""
        return {
            "slow head": b"POST /v1/customers HTT",
            "slow header": self._get()[:-20],
            "slow body": self._post(b"Content-Length: 500", body=b"{"),
            "slow chunk": self._chunked(b"500\r\n{"),
            "slow reader": self._get() * 500,
        }
