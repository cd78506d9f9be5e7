"""Responses: Starlette's, with what is said with every one of them, and one that is sent while the request goes on."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from urllib.parse import quote, urlencode

from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send
from typing_extensions import override

from api.problems import MEDIA_TYPE, Problem
from api.requests import REQUEST, Request

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"

GOES_ON: Mapping[str, str] = {"Link": 'Where it goes on, with `rel="next"`; absent where nothing is left out.'}
"""What the description says of the header of an answer that may be a page."""
_OF_EVERY_ANSWER = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""Answers show personal data, and what holds now: nobody on the way keeps them, and nobody guesses what they are."""
_CLOSE = (b"connection", b"close")


class WrittenJson(Response):
    """JSON that has been written already."""

    media_type = JSON


class Streamed(StreamingResponse):
    """Pieces that are sent as they come, while the body of the request is still read."""

    def __init__(
        self, pieces: AsyncGenerator[bytes], media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(pieces, headers=headers, media_type=media_type)
        self._pieces = pieces

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[REQUEST].body_is_read = True  # when the answer ends
        # Starlette's own would listen for the end of the connection, and so take pieces of the body away.
        with suppress(ClientDisconnect):
            async with aclosing(self._pieces):
                await self.stream_response(send)


class Nothing(Response):
    """What is sent to somebody who has gone."""

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        return


def link_to_next(request: Request, **parameters: object) -> dict[str, str]:
    """The header that says that an answer goes on: the same question with these parameters (RFC 8288)."""
    kept = [(name, value) for name, value in request.query_pairs() if name not in parameters]
    path = quote(request.scope["raw_path"].decode("ascii"), safe="/%:@!$&'()*+,;=~-._")
    return {"link": f'<{path}?{urlencode([*kept, *parameters.items()])}>; rel="next"'}


def problem_response(problem: Problem) -> Response:
    """The answer that tells of a problem."""
    return Response(problem.json(), problem.kind.status, problem.headers, MEDIA_TYPE)


class Sending:
    """Passes an answer on to the server with what every answer says, and knows how far it has come."""

    def __init__(
        self,
        send: Send,
        is_last: Callable[[], bool],
        pause_seconds_max: float,
        also: Callable[[], Iterable[tuple[bytes, bytes]]],
    ) -> None:
        """`is_last` tells whether the connection ends with this answer; `also` has more headers for it."""
        self._send = send
        self._also = also
        self._is_last = is_last
        self._pause_seconds_max = pause_seconds_max
        self.status = 0
        self.is_complete = False

    async def __call__(self, message: Message) -> None:
        """Take the next message of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *_OF_EVERY_ANSWER, *self._also()]
            if self._is_last():
                message["headers"].append(_CLOSE)
            await self._send(message)
        elif message.get("more_body", False):
            await self._send_in_time(message)
        else:
            await self._send(message)
            self.is_complete = True

    async def _send_in_time(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._pause_seconds_max):
                await self._send(message)
        except TimeoutError:
            # Whoever sends without reading would make both sides wait for each other for ever.
            raise ClientDisconnect from None
