"""The log over HTTP: the feed of all events, for those who follow it, and the events of one stream."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, StringConstraints
from starlette.responses import Response

from api.epochs import Epochs, tag
from api.event_documents import EventDocuments, ShownEvent
from api.log_reading import (
    Limit,
    Position,
    ReadsLog,
    page_size,
    refuse_absent,
    refuse_beyond,
    stream_named,
    wrong_parameter,
)
from api.operations import Body, Handler, Operation, QueryReader
from api.problems import EPOCH_HAS_ENDED, EVENT_IS_UNKNOWN, LOG_UNAVAILABLE, Problem
from api.requests import Request
from api.responses import GOES_ON, WrittenJson, link_to_next
from api.service import Limits
from api.shapes import described
from application.aggregates import Aggregate
from application.commands import Role
from application.ports import LogUnavailable

_LOG = logging.getLogger(__name__)

READS_THE_LOG = frozenset({Role.SERVICE, Role.AUDITOR, Role.ADMIN})
"""Events show personal data: only other systems that need them, and those who audit, see them all."""
READS_ONE_STREAM = READS_THE_LOG | {Role.STAFF, Role.PRIVACY, Role.IMPORTER}

POLL_SECONDS = 0.2
"""How often the log is asked whether it has grown, while somebody waits for it."""


@described
class FeedParameters:
    """Where to go on, and what of it."""

    after: Position = 0
    """The position after which to go on: `after` of the page before."""
    limit: Limit | None = None
    """How many positions to look at; how many there can be is a setting."""
    types: Annotated[str, StringConstraints(max_length=4_000)] | None = None
    """Only events of these types, with commas between them; `customer.*` means all of a kind."""
    epoch: UUID | None = None
    """The epoch of the page before: whether `after` still means the same, the log may have been restored since."""
    wait: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}s?$")] | None = None
    """If there is nothing yet: how long to wait for it, as `20s`."""


@described
class EventPage:
    """Events in the order of the log."""

    events: tuple[ShownEvent, ...]
    after: int
    """Where to go on; it moves on over events that were not asked for, too."""
    position: int
    """The last position of the log."""
    epoch: UUID
    """The epoch of the log: to be kept with `after`."""


@described
class StreamParameters:
    """Where to go on in a stream."""

    after: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """The version after which to go on."""
    limit: Limit | None = None


@described
class StreamPage:
    """Events of one stream in their order."""

    id: str
    version: int
    """The last version on this page."""
    events: tuple[ShownEvent, ...]


class News:
    """Wakes those who wait for the log to grow: one question to the log for all of them together."""

    def __init__(self, log: ReadsLog) -> None:
        self._log = log
        self._nudged = asyncio.Event()
        self._grown = asyncio.Event()
        self._head = 0
        self._waiting = 0
        self.is_over = False
        """The service stops: nobody should wait any more."""

    def stop(self) -> None:
        """Let all go who wait."""
        self.is_over = True
        self._wake()

    async def wait_beyond(self, position: int, seconds: float) -> None:
        """Return when the log is longer than this, when the time is over or when the service stops."""
        self._waiting += 1
        self._nudged.set()
        try:
            async with asyncio.timeout(seconds):
                while self._head <= position and not self.is_over:
                    await self._grown.wait()
        except TimeoutError:
            return
        finally:
            self._waiting -= 1

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Follow the log while the service runs."""
        follower = asyncio.create_task(self._follow(), name="news")
        try:
            yield
        finally:
            follower.cancel()

    async def _follow(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS if self._waiting else None):
                    await self._nudged.wait()
            self._nudged.clear()
            try:
                self._head = max(self._head, await self._log.head())
            except LogUnavailable:
                continue  # it is asked again; those who wait see it themselves when their time is over
            except Exception:  # noqa: BLE001 - whatever it is, those who wait later are still woken
                _LOG.exception("the log could not be followed")
                continue
            self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


class EventRoutes:
    """Makes the operations that show events as they stand in the log."""

    def __init__(  # noqa: PLR0913 - the composition root names each of them once
        self,
        log: ReadsLog,
        documents: EventDocuments,
        news: News,
        aggregates: Iterable[Aggregate[Any]],
        limits: Limits,
        *,
        epochs: Epochs,
    ) -> None:
        self._epochs = epochs
        self._log = log
        self._documents = documents
        self._news = news
        self._aggregates = tuple(aggregates)
        self._limits = limits
        self._feed_query = QueryReader(FeedParameters)
        self._stream_query = QueryReader(StreamParameters)

    def operations(self) -> Iterator[Operation]:
        """The feed, and the events of one stream of each kind."""
        yield Operation(
            name="follow-events",
            method="GET",
            path="/v1/events",
            tag="events",
            summary="Follow the log",
            description="Events in the order of the log. Positions have no gaps: whoever goes on with `after` misses "
            "none. With `wait` the answer comes when there is something new, and with `epoch` only as long as the log "
            "is the one that was read before.",
            roles=READS_THE_LOG,
            handler=self._feed,
            query=FeedParameters,
            answers={200: Body({"application/json": EventPage}, "A page of the log.", GOES_ON)},
            problems=(EPOCH_HAS_ENDED, EVENT_IS_UNKNOWN, LOG_UNAVAILABLE),
        )
        for aggregate in self._aggregates:
            words = aggregate.collection.replace("-", " ")
            yield Operation(
                name=f"read-events-of-{aggregate.name}",
                method="GET",
                path=f"/v1/{aggregate.collection}/{{id}}/events",
                tag=aggregate.collection,
                summary=f"Read one stream of {words}",
                description="What was recorded in this stream itself, in its order; the last version is the ETag that "
                "`If-Match` compares.",
                roles=READS_ONE_STREAM,
                handler=self._stream_handler(aggregate),
                query=StreamParameters,
                answers={
                    200: Body(
                        {"application/json": StreamPage},
                        "A page of the stream.",
                        {"ETag": "The last version on this page and the epoch of the log.", **GOES_ON},
                    )
                },
                problems=(aggregate.not_found, EVENT_IS_UNKNOWN, LOG_UNAVAILABLE),
            )

    async def _feed(self, request: Request) -> Response:
        asked: FeedParameters = self._feed_query(request)
        limit = page_size(asked.limit, self._limits.page_size, self._limits.page_size_max)
        types = self._types(asked.types)
        seconds = self._wait_seconds(asked.wait)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        after = asked.after
        await self._require_same_log(asked)
        await refuse_beyond(after, "after", self._log)
        while True:
            events, after = await self._log.feed(after, limit, types)
            if events or loop.time() >= deadline or self._news.is_over:
                break
            if after == await self._log.head():
                await self._news.wait_beyond(after, deadline - loop.time())
        head = max(after, await self._log.head())
        epoch = await self._require_same_log(asked)  # it may have been restored while somebody waited
        many = self._documents.many(events)
        body = b'{"events":%b,"after":%d,"position":%d,"epoch":"%b"}' % (many, after, head, str(epoch).encode())
        named = {} if asked.epoch is None else {"epoch": epoch}
        return WrittenJson(body, headers=link_to_next(request, after=after, **named) if after < head else None)

    async def _require_same_log(self, asked: FeedParameters) -> UUID:
        """The current epoch. Raises a `Problem` where the log is another one than that which was read up to `after`."""
        if asked.epoch is None:
            return await self._epochs.current()
        history = await self._epochs.load()
        if not history.holds(asked.epoch, asked.after):
            last = history.last_position(asked.epoch)
            raise Problem(EPOCH_HAS_ENDED, facts={"after": str(last), "epoch": str(history.current)})
        return history.current

    def _stream_handler(self, aggregate: Aggregate[Any]) -> Handler:
        async def handle(request: Request) -> Response:
            asked: StreamParameters = self._stream_query(request)
            limit = page_size(asked.limit, self._limits.page_size, self._limits.page_size_max)
            stream = await stream_named(request.path_params["id"], aggregate, self._log)
            found = await self._log.stream(stream, asked.after, limit + 1)
            events = found[:limit]
            if not events or events[0].type.partition(".")[0] != aggregate.name:
                await refuse_absent(stream, aggregate, self._log)
            version = events[-1].version if events else asked.after
            epoch = await self._epochs.current()
            many = self._documents.many(events)
            body = b'{"id":"%b","version":%d,"events":%b}' % (str(stream).encode(), version, many)
            more = link_to_next(request, after=version) if len(found) > limit else {}
            return WrittenJson(body, headers={"etag": tag(version, epoch), **more})

        return handle

    def _types(self, asked: str | None) -> list[str]:
        """The stored names that were asked for. Unknown ones are refused: whoever asks for them would wait for ever."""
        if asked is None:
            return []
        found: list[str] = []
        for name in asked.split(","):
            matching = _matching(name.strip(), self._documents.classes)
            if not matching:
                raise wrong_parameter(parameter="types", detail="a type is unknown; /openapi.json lists them all")
            found.extend(matching)
            if name.strip() not in matching:
                found.append(name.strip())  # the kind, of which newer versions may have more
        return found

    def _wait_seconds(self, asked: str | None) -> int:
        if asked is None:
            return 0
        seconds = int(asked.removesuffix("s"))
        if seconds > self._limits.wait_seconds_max:
            raise wrong_parameter(parameter="wait", detail=f"at most {self._limits.wait_seconds_max}s")
        return seconds


def _matching(name: str, classes: Mapping[str, object]) -> list[str]:
    if name.endswith(".*"):
        return [each for each in classes if each.startswith(name[:-1])]
    return [name] if name in classes else []
