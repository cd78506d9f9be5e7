"""The writer: takes waiting commands together and has them decided and stored in one transaction.

While one batch is being appended the next one gathers, so an idle service answers at once and a busy one shares its
commits. Batch and queue are bounded. No exception of a command, and no failure of the log, ends the writer.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from application.group_commit import GroupCommit, Observer
from application.memory import Memory
from application.ports import CommandKey, EventLog, LogUnavailable
from application.requests import Outcome, Request, refused_together
from application.submissions import (
    Answer,
    KeyIsUsedForAnotherRequest,
    OccurredInTheFuture,
    QueueIsFull,
    Submission,
)
from domain.errors import Refusal

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WriterLimits:
    """What bounds the writer; each default has its reason beside it."""

    batch_commands_max: int = 256
    """Beyond this a larger batch saves little (measured: 31,000 events/s at 64, 36,000 at 256) and waits longer."""
    batch_events_max: int = 4_000
    """Keeps one append well below the statement timeout."""
    queue_commands_max: int = 4_096
    """About a second of work; more waiting than that is better refused with Retry-After."""
    cached_streams_max: int = 10_000
    """States at hand: the products and customers that a working day touches, within 100 MB."""
    cached_claims_max: int = 20_000
    """Identifiers whose stream is remembered, at about 300 bytes each."""
    fruitless_rounds_max: int = 100
    """How often in a row writers of other processes may be faster before the commands are told to come back."""
    future_tolerance: timedelta = timedelta(seconds=5)
    """Clocks of senders differ by this much."""


class Writer:
    """The only writer of this process for one tenant."""

    def __init__(  # noqa: PLR0913 - the composition root names each of them once
        self,
        log: EventLog,
        *,
        new_id: Callable[[], UUID],
        reporting_currency: str,
        limits: WriterLimits | None = None,
        observe: Observer = lambda _commands, _seconds: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.limits = limits or WriterLimits()
        self._memory = Memory(streams_max=self.limits.cached_streams_max, claims_max=self.limits.cached_claims_max)
        self._group_commit = GroupCommit(
            log,
            self._memory,
            new_id=new_id,
            reporting_currency=reporting_currency,
            events_max=self.limits.batch_events_max,
            fruitless_rounds_max=self.limits.fruitless_rounds_max,
            observe=observe,
            clock=clock,
        )
        self._queue: deque[Request] = deque()
        self._queued_commands = 0
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def queue_length(self) -> int:
        """Commands that wait to be decided."""
        return self._queued_commands

    def start(self) -> None:
        """Begin to take commands from the queue."""
        self._task = asyncio.create_task(self._work(), name="writer")

    async def stop(self) -> None:
        """Take no more commands, answer those that wait, and end."""
        self._stopping = True
        self._arrived.set()
        if self._task is not None:
            await self._task

    async def submit(self, submission: Submission) -> Answer:
        """Decide and store one command. Raises a `Refusal`, `QueueIsFull` or `LogUnavailable`."""
        if self._queued_commands >= self.limits.queue_commands_max or self._stopping:
            raise QueueIsFull
        outcome = (await self._enqueue((submission,)))[0]
        if isinstance(outcome, Refusal):
            raise outcome
        return outcome

    async def submit_many(self, submissions: Sequence[Submission], *, atomic: bool = False) -> list[Outcome]:
        """Decide and store many commands in their order; one outcome for each, in the same order.

        With `atomic` all are stored together or none, and it raises `QueueIsFull` where there is no room for all;
        otherwise it waits for room. Raises `LogUnavailable`.
        """
        if atomic:
            return await self._submit_together(submissions)
        waiting: list[asyncio.Future[list[Outcome]]] = []
        for submission in submissions:
            while self._queued_commands >= self.limits.queue_commands_max and not self._stopping:
                self._taken.clear()
                await self._taken.wait()
            if self._stopping:
                await asyncio.gather(*waiting, return_exceptions=True)
                raise QueueIsFull
            waiting.append(self._enqueue((submission,)))
        return [outcome for outcomes in await asyncio.gather(*waiting) for outcome in outcomes]

    async def _submit_together(self, submissions: Sequence[Submission]) -> list[Outcome]:
        """A key names one request: what is repeated with its key is decided once, and gets the same answer again."""
        first: dict[CommandKey, Submission] = {}
        for place, submission in enumerate(submissions):
            if first.setdefault(submission.key, submission).request != submission.request:
                return refused_together(submissions, place, KeyIsUsedForAnotherRequest())
        if not first:
            return []
        if self._stopping or self._queued_commands + len(first) > self.limits.queue_commands_max:
            raise QueueIsFull
        answers = dict(zip(first, await self._enqueue(tuple(first.values())), strict=True))
        return [_repeated(answers[each.key], is_first=first[each.key] is each) for each in submissions]

    def _enqueue(self, submissions: tuple[Submission, ...]) -> asyncio.Future[list[Outcome]]:
        answered: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        for place, submission in enumerate(submissions):
            occurred_at, received_at = submission.metadata.occurred_at, submission.metadata.received_at
            if occurred_at > received_at + self.limits.future_tolerance:
                answered.set_result(refused_together(submissions, place, OccurredInTheFuture(pointer="/occurred_at")))
                return answered
        self._queue.append(Request(submissions, answered))
        self._queued_commands += len(submissions)
        self._arrived.set()
        return answered

    async def _work(self) -> None:
        while True:
            if not self._queue:
                if self._stopping:
                    return
                self._arrived.clear()
                await self._arrived.wait()
                continue
            batch = self._take()
            try:
                await self._group_commit.finish(batch)
            except Exception as error:  # noqa: BLE001 - the waiters get it, and the writer has to live
                # The next batch starts from the log.
                self._memory.clear()
                if isinstance(error, LogUnavailable):
                    _LOG.warning("the log is unavailable", extra={"commands": len(batch)})
                else:
                    _LOG.exception("a batch of commands failed", extra={"commands": len(batch)})
                for request in batch:
                    request.fail(error)

    def _take(self) -> list[Request]:
        """The longest prefix of the queue that one batch may hold; a key occurs in it once."""
        batch: list[Request] = []
        commands, keys = 0, set[CommandKey]()
        while self._queue:
            request = self._queue[0]
            size = len(request.submissions)
            if batch and commands + size > self.limits.batch_commands_max:
                break
            if not request.answered.done():
                new_keys = {s.key for s in request.submissions}
                if not keys.isdisjoint(new_keys):
                    break
                keys |= new_keys
                batch.append(request)
                commands += size
            self._queue.popleft()
            self._queued_commands -= size
        self._taken.set()
        return batch


def _repeated(outcome: Outcome, *, is_first: bool) -> Outcome:
    return outcome if is_first or isinstance(outcome, Refusal) else replace(outcome, replayed=not outcome.dry_run)
