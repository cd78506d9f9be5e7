"""Requests: what arrived, read within limits. What cannot be read ends in a problem, never in an error of ours."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl, unquote
from uuid import UUID

from starlette import requests
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope
from typing_extensions import override

from api.problems import (
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    MALFORMED_HEADER,
    MALFORMED_QUERY,
    UNSUPPORTED_MEDIA_TYPE,
    FieldError,
    Problem,
)
from application.keys import Principal

REQUEST = "rapport.request"
"""Where a request is found in its scope: FastAPI and Starlette make requests of their own, for themselves."""
PARAMETERS_MAX = 50
"""More parameters than any route has; parsing stops there."""
DRAINED_BYTES_MAX = 65_536
"""An unread body up to this length is taken in and dropped; with a longer one the connection ends."""

_DIGITS_MAX = 15
"""A length with more digits than this is a length of nothing that we would read."""

_IF_MATCH = b"if-match"
_ON_BEHALF_OF = b"on-behalf-of"
_GIVEN_ONCE = frozenset(
    {
        b"authorization",
        b"content-type",
        b"idempotency-key",
        _IF_MATCH,
        b"correlation-id",
        b"causation-id",
        _ON_BEHALF_OF,
        b"traceparent",
    }
)
_UUID = re.compile(rb"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_ENTITY_TAG = re.compile(rb'"([0-9]{1,9})(?:-(%b))?"' % _UUID.pattern)
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_PSEUDONYM = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")


class Request(requests.Request):
    """A request of Starlette, whose body, headers and parameters are also read within limits."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self.given: dict[bytes, bytes] = dict(scope["headers"])
        """The headers by their names in lower case: a dozen are asked for, and Starlette's are a list."""
        self.principal: Principal
        """Who sends it; not there where nobody was asked for a key."""
        self.counted_for: str | None = None
        """The actor among whose requests under way it is counted."""
        self.problem: str | None = None
        """The code of the problem that it was answered with."""
        self.body_is_read = False

    @property
    @override
    def path_params(self) -> dict[str, Any]:
        """The open parts of the path, decoded, by their names."""
        return {name: unquote(part) for name, part in super().path_params.items()}

    def check_headers(self) -> None:
        """Refuse a header that is given more than once where only one can be meant."""
        names = [name for name, _ in self.scope["headers"]]
        if len(self.given) != len(names):
            for name in _GIVEN_ONCE:
                if names.count(name) > 1:
                    raise _malformed(name, "the header is given more than once")

    async def whole_body(self, media_type: str, *, bytes_max: int, seconds_max: float) -> bytes:
        """The whole body. Raises a `Problem` if it has another media type, is too long or does not arrive."""
        self.check_media_type(media_type)
        self._check_length(bytes_max)
        chunks, size, more = [], 0, True
        try:
            async with asyncio.timeout(seconds_max):
                while more:
                    chunk, more = await self._next()
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > bytes_max:
                        raise _too_large(bytes_max)
        except TimeoutError:
            raise Problem(BODY_TOO_SLOW) from None
        self.body_is_read = True
        return b"".join(chunks)

    async def chunks(self, *, seconds_max: float) -> AsyncIterator[bytes]:
        """The body piece by piece; a pause may last `seconds_max`."""
        more = True
        while more:
            try:
                async with asyncio.timeout(seconds_max):
                    chunk, more = await self._next()
            except TimeoutError:
                raise Problem(BODY_TOO_SLOW) from None
            self.body_is_read = not more
            yield chunk

    async def _next(self) -> tuple[bytes, bool]:
        """The next piece of the body, and whether there are more."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message.get("body", b""), message.get("more_body", False)

    def _check_length(self, bytes_max: int) -> None:
        declared = self.given.get(b"content-length", b"0")
        if not declared.isdigit() or len(declared) > _DIGITS_MAX or int(declared) > bytes_max:
            raise _too_large(bytes_max)

    @property
    def leaves_much_unread(self) -> bool:
        """Whether the connection is better ended than drained after the answer."""
        if self.body_is_read:
            return False
        declared = self.given.get(b"content-length", b"0")
        is_short = declared.isdigit() and len(declared) <= _DIGITS_MAX and int(declared) <= DRAINED_BYTES_MAX
        return not is_short or b"transfer-encoding" in self.given

    def check_media_type(self, wanted: str) -> None:
        """Refuse a body of another media type, in another charset than UTF-8, or compressed."""
        given = self.given.get(b"content-type", b"").decode("latin-1")
        if given != wanted:
            media_type, _, parameters = given.lower().partition(";")
            charset = parameters.strip().replace('"', "").removeprefix("charset=")
            if media_type.strip() != wanted or charset not in {"", "utf-8", "utf8"}:
                raise Problem(UNSUPPORTED_MEDIA_TYPE, headers={"accept-post": wanted})
        if self.given.get(b"content-encoding", b"identity") != b"identity":
            raise Problem(UNSUPPORTED_MEDIA_TYPE, headers={"accept-encoding": "identity"})

    def query(self) -> dict[str, str]:
        """The parameters of the query string, each given once."""
        pairs = self.query_pairs()
        parameters = dict(pairs)
        if len(parameters) != len(pairs):
            raise Problem(MALFORMED_QUERY, detail="a parameter is given more than once")
        return parameters

    def query_pairs(self) -> list[tuple[str, str]]:
        """The parameters of the query string as they come. Raises a `Problem`."""
        text: bytes = self.scope["query_string"]
        if not text:
            return []
        try:
            return parse_qsl(
                text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX
            )
        except ValueError:
            raise Problem(MALFORMED_QUERY) from None

    def uuid(self, name: bytes) -> UUID | None:
        """A header that holds a UUID."""
        given = self.given.get(name)
        if given is None:
            return None
        if not _UUID.fullmatch(given):
            raise _malformed(name, "a UUID is expected, such as 0190b7c2-7e1a-7000-8000-000000000001")
        return UUID(given.decode())

    def trace_id(self) -> UUID | None:
        """The trace id of `traceparent` (W3C Trace Context) as a UUID; a malformed one is ignored, as that says."""
        matched = _TRACEPARENT.fullmatch(self.given.get(b"traceparent", b""))
        return UUID(hex=matched[1].decode()) if matched else None

    def expected_version(self) -> tuple[int | None, UUID | None]:
        """The version in `If-Match`, and the epoch if it names one; None without one, or for `*`."""
        given = self.given.get(_IF_MATCH)
        if given is None or given == b"*":
            return None, None
        matched = _ENTITY_TAG.fullmatch(given)
        if not matched:
            raise _malformed(_IF_MATCH, 'one strong entity tag is expected, as in the ETag of an answer: "3"')
        return int(matched[1]), UUID(matched[2].decode()) if matched[2] else None

    def on_behalf_of(self) -> str | None:
        """The pseudonymous id in `On-Behalf-Of`."""
        given = self.given.get(_ON_BEHALF_OF)
        if given is None:
            return None
        if not _PSEUDONYM.fullmatch(given):
            raise _malformed(_ON_BEHALF_OF, "an id of 1 to 100 letters, digits and . _ : - is expected")
        return given.decode()


def parted_path(scope: Scope) -> str:
    """The path, decoded except for slashes and percent signs in its parts: 2026%2F17 is one. Raises `HTTPException`."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%" not in raw:
        path: str = scope["path"]
        return path
    try:
        parts = [unquote(part, errors="strict") for part in raw.decode("ascii").split("/")]
    except UnicodeDecodeError:
        raise HTTPException(404) from None
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def _too_large(bytes_max: int) -> Problem:
    return Problem(BODY_TOO_LARGE, facts={"bytes_max": str(bytes_max)})


def _malformed(name: bytes, detail: str) -> Problem:
    """The problem with a header that is there and does not have its form."""
    return Problem(MALFORMED_HEADER, errors=[FieldError(header=name.decode(), detail=detail)])
