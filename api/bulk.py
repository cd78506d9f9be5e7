"""Many commands in one request: NDJSON in, NDJSON out, in memory that does not grow with their number.

The body is read, decided and answered at the same time: while one window of lines is being stored the next one is
decoded. So a sender reads answers while it sends, or sends in pieces.
"""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.responses import Response

from api.bulk_lines import (
    Count,
    HowToTakeThem,
    Line,
    LineAnswer,
    LineDecoder,
    LineProblem,
    LineSplitter,
    LineWriter,
    Summary,
)
from api.commands import COMMAND_HEADERS, REFUSALS_OF_EVERY_COMMAND, Submits
from api.epochs import Epochs
from api.event_documents import EventDocuments
from api.metrics import Counter
from api.operations import Body, Operation, QueryReader
from api.problems import (
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    DUPLICATE_MEMBER,
    INTERNAL_ERROR,
    INVALID_BODY,
    LOG_UNAVAILABLE,
    MALFORMED_JSON,
    QUEUE_IS_FULL,
    ROLE_NOT_ALLOWED,
    TOO_MANY_LINES,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
    from_error,
    from_refusal,
)
from api.requests import Request
from api.responses import NDJSON, Streamed
from api.service import Limits
from api.submissions import Circumstances, CommandForm, SubmissionMaker
from application.commands import Role
from application.ports import LogUnavailable
from application.submissions import AnotherCommandWasRefused, Answer, StreamHasMoved
from domain.errors import Refusal

WINDOW_LINES_MAX = 512
"""Lines that are handed to the writer at once: two of its batches."""
WINDOWS_MAX = 2
"""Windows that wait for their answers, beside the one that is being written and the one that is being read."""


@dataclass(slots=True)
class _Window:
    """Lines that are answered together."""

    lines: list[Line]
    outcomes: asyncio.Task[list[Answer | Refusal]] | None = None


@dataclass(slots=True)
class _Progress:
    """One request on its way."""

    request: Request
    circumstances: Circumstances
    how: HowToTakeThem
    windows: asyncio.Queue[_Window | None] = field(default_factory=lambda: asyncio.Queue(WINDOWS_MAX))
    lines: int = 0
    count: Count = field(default_factory=Count)
    failure: Problem | None = None
    """Once the log has failed, the lines after it are told so without trying each."""


class BulkRoute:
    """Makes the operation that takes many commands."""

    def __init__(  # noqa: PLR0913 - the composition root names each of them once
        self,
        forms: Mapping[str, CommandForm],
        *,
        writer: Submits,
        documents: EventDocuments,
        make: SubmissionMaker,
        limits: Limits,
        outcomes: Counter,
        epochs: Epochs,
    ) -> None:
        self._definitions = [form.definition for form in forms.values()]
        self._writer = writer
        self._limits = limits
        self._outcomes = outcomes
        self._decode = LineDecoder(forms, make, limits.bulk_line_bytes_max, epochs)
        self._write = LineWriter(documents, epochs)
        self._query = QueryReader(HowToTakeThem)
        self._epochs = epochs

    def operation(self) -> Operation:
        """The operation that takes many commands."""
        refusals = dict.fromkeys(each for known in self._definitions for each in known.refusals)
        not_found = {known.aggregate.not_found: None for known in self._definitions if not known.creates}
        roles: frozenset[Role] = frozenset().union(*(known.roles for known in self._definitions))
        return Operation(
            name="take-commands",
            method="POST",
            path="/v1/commands",
            tag="commands",
            summary="Send many commands, a line for each",
            description="Each line is a JSON object with the key of the command, its name, its target unless it starts "
            "a stream, and its fields in `data`. Lines are taken in their order; each is answered by a line, and the "
            "last line counts them. The problems of a command stand in its line. With `atomic=true` all lines are "
            "stored together or none. Read the answers while you send, or send in pieces.",
            roles=roles,
            handler=self._take,
            query=HowToTakeThem,
            headers=tuple(name for name in COMMAND_HEADERS if name != "Idempotency-Key"),
            body=Body({"application/x-ndjson": self._decode.shape}, "A line for each command; the schema is a line's."),
            answers={
                200: Body(
                    {"application/x-ndjson": LineAnswer | LineProblem | Summary},
                    "A line for each line, and the summary; the schema is a line's.",
                )
            },
            problems=(BODY_TOO_SLOW, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, TOO_MANY_LINES, QUEUE_IS_FULL),
            line_problems=(
                MALFORMED_JSON,
                DUPLICATE_MEMBER,
                INVALID_BODY,
                BODY_TOO_SLOW,
                BODY_TOO_LARGE,
                TOO_MANY_LINES,
                *(ROLE_NOT_ALLOWED for known in self._definitions if known.roles != roles),
                *not_found,
                *refusals,
                *REFUSALS_OF_EVERY_COMMAND,
                StreamHasMoved,
                AnotherCommandWasRefused,
                QUEUE_IS_FULL,
                LOG_UNAVAILABLE,
                INTERNAL_ERROR,
            ),
        )

    async def _take(self, request: Request) -> Response:
        how: HowToTakeThem = self._query(request)
        progress = _Progress(request, Circumstances.of(request), how)
        request.check_media_type(NDJSON)
        with suppress(LogUnavailable):  # as each line will say
            await self._epochs.current()
        if how.atomic:
            return Response(await self._together(progress), media_type=NDJSON)
        return Streamed(self._one_by_one(progress), NDJSON)

    async def _one_by_one(self, progress: _Progress) -> AsyncGenerator[bytes]:
        reader = asyncio.create_task(self._read(progress), name="bulk lines")
        try:
            while (window := await progress.windows.get()) is not None:
                outcomes = await _outcomes(window, progress)
                yield self._write(window.lines, outcomes, progress.count, progress.how)
            await reader
            yield progress.count.summary()
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await reader
            self._tell(progress.count)

    async def _read(self, progress: _Progress) -> None:
        """Decode lines and hand them to the writer, window by window, not further ahead than the queue is long."""
        try:
            async for texts in self._texts(progress.request):
                for begin in range(0, len(texts), WINDOW_LINES_MAX):
                    lines = self._within_limit(texts[begin : begin + WINDOW_LINES_MAX], progress)
                    await self._hand_over(lines, progress)
        except Problem as problem:
            line = Line(progress.lines + 1)
            line.refuse_as_invalid(problem)
            await progress.windows.put(_Window([line]))
        except Exception:
            await progress.windows.put(None)
            raise
        await progress.windows.put(None)

    async def _texts(self, request: Request) -> AsyncIterator[list[bytes | None]]:
        splitter = LineSplitter(self._limits.bulk_line_bytes_max)
        async for chunk in request.chunks(seconds_max=self._limits.body_pause_seconds_max):
            yield list(splitter.feed(chunk))
        yield list(splitter.end())

    def _within_limit(self, texts: Sequence[bytes | None], progress: _Progress) -> list[Line]:
        """The lines of these texts. The first one too many is told so; the others are taken in and dropped."""
        lines_max = self._limits.bulk_lines_max
        lines = []
        for text in texts:
            progress.lines += 1
            if progress.lines <= lines_max:
                lines.append(self._decode(progress.lines, text, progress.circumstances, progress.how))
            elif progress.lines == lines_max + 1:
                line = Line(progress.lines)
                line.refuse_as_invalid(Problem(TOO_MANY_LINES, facts={"lines_max": str(lines_max)}))
                lines.append(line)
        return lines

    async def _hand_over(self, lines: list[Line], progress: _Progress) -> None:
        if not lines:
            return
        window = _Window(lines)
        submissions = [line.submission for line in lines if line.submission is not None]
        if submissions and progress.failure is None:
            # Tasks begin in the order in which they are made, so the commands of one stream stay in order.
            window.outcomes = asyncio.create_task(self._writer.submit_many(submissions), name="bulk window")
            window.outcomes.add_done_callback(lambda task: task.cancelled() or task.exception())
        await progress.windows.put(window)

    async def _together(self, progress: _Progress) -> bytes:
        limits, how = self._limits, progress.how
        body = await progress.request.whole_body(
            NDJSON, bytes_max=limits.bulk_atomic_bytes_max, seconds_max=limits.body_pause_seconds_max
        )
        splitter = LineSplitter(limits.bulk_line_bytes_max)
        texts = [*splitter.feed(body), *splitter.end()]
        if len(texts) > limits.bulk_atomic_lines_max:
            raise Problem(TOO_MANY_LINES, facts={"lines_max": str(limits.bulk_atomic_lines_max)})
        lines = []
        for number, text in enumerate(texts, 1):
            lines.append(self._decode(number, text, progress.circumstances, how))
            await asyncio.sleep(0)  # others are served between two lines
        outcomes: Sequence[Answer | Refusal] = ()
        culprit = next((line for line in lines if line.problem is not None), None)
        if culprit is None:
            submissions = [line.submission for line in lines if line.submission is not None]
            outcomes = await self._writer.submit_many(submissions, atomic=True)
        else:
            for line in lines:
                line.problem = line.problem or from_refusal(AnotherCommandWasRefused(command=culprit.number))
        written = self._write(lines, outcomes, progress.count, how) + progress.count.summary()
        self._tell(progress.count)
        return written

    def _tell(self, count: Count) -> None:
        for outcome, lines in dataclasses.asdict(count).items():
            self._outcomes.add((outcome,), lines)


async def _outcomes(window: _Window, progress: _Progress) -> Sequence[Answer | Refusal]:
    """What became of a window. If the log failed, every line of it may be sent again, and so may all after it."""
    if window.outcomes is not None:
        try:
            return await window.outcomes
        except Exception as error:  # noqa: BLE001 - whatever it is, each line gets its answer
            progress.failure = from_error(error)
    if progress.failure is not None:
        for line in window.lines:
            line.problem = line.problem or progress.failure
    return ()
