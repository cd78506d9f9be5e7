"""The writer: takes waiting commands together, decides them in order of arrival and appends them in one transaction.

While one batch is being appended the next one gathers, so an idle service answers at once and a busy one shares its
commits. Batch and queue are bounded. A command is decided on what this process remembers of the streams; only an append
proves that memory right, so whatever is answered without an append (a refusal, nothing to do, a dry run) is first
compared with the log. No exception of a command, and no failure of the log, ends the writer.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, TypeVar
from uuid import UUID

from application.aggregates import Claim
from application.decisions import DecisionUnitOfWork, Missing
from application.ports import Appended, CommandKey, Conflicts, Decision, EventLog, KnownCommand, LogUnavailable, Stream
from application.submissions import (
    AnotherCommandWasRefused,
    Answer,
    KeyIsUsedForAnotherRequest,
    OccurredInTheFuture,
    QueueIsFull,
    Submission,
)
from domain.errors import Refusal

_LOG = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")


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


Outcome = Answer | Refusal
Observer = Callable[[int, float], None]


class _Bounded(OrderedDict[K, V], Generic[K, V]):
    """A mapping that forgets what was not used for longest."""

    def __init__(self, size_max: int) -> None:
        super().__init__()
        self._size_max = size_max

    def keep(self, key: K, value: V) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > self._size_max:
            self.popitem(last=False)


@dataclass(slots=True)
class _Decided:
    """One submission of a request with what was decided for it; the streams are as they will be after it."""

    submission: Submission
    decision: Decision
    moved: Mapping[UUID, Stream]
    version: int


@dataclass(slots=True, eq=False)
class _Request:
    """Submissions that are stored together or not at all; mostly there is one."""

    submissions: tuple[Submission, ...]
    answered: asyncio.Future[list[Outcome]]
    decided: list[_Decided] | None = None
    noted: dict[int, Outcome] = field(default_factory=dict)
    """Outcomes, by place in the request, that need no append and are given together with those that do."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    """What is certain already, by place in the request; the rest is still to be decided."""

    def open(self) -> list[tuple[int, Submission]]:
        """The submissions that have no outcome yet."""
        return [(i, s) for i, s in enumerate(self.submissions) if i not in self.outcomes]

    def answer(self) -> None:
        """Give the waiter its outcomes; one that has gone is skipped."""
        if not self.answered.done():
            self.answered.set_result([self.outcomes[i] for i in range(len(self.submissions))])

    def refuse(self, place: int, refusal: Refusal) -> None:
        """Refuse one submission, and with it all that were to be stored together with it."""
        for i, _ in self.open():
            self.outcomes[i] = refusal if i == place else AnotherCommandWasRefused(command=place + 1)
        self.answer()

    def fail(self, error: BaseException) -> None:
        """Tell the waiter that there is no outcome."""
        if not self.answered.done():
            self.answered.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Undecided:
    """A request that needs no append: what it saw, and what it will be answered if that proves to be the truth."""

    request: _Request
    reads: Mapping[UUID, int]
    outcomes: Mapping[int, Outcome]


class _Round:
    """What one attempt at a batch sees: the cache, moved by the decisions that stand before."""

    def __init__(self, streams: _Bounded[UUID, Stream], claims: _Bounded[Claim, UUID]) -> None:
        self._streams = streams
        self._claims = claims
        self.moved: dict[UUID, Stream] = {}
        self.fetched: dict[UUID, Stream] = {}
        self.taken: dict[Claim, UUID] = {}
        self.released: set[Claim] = set()
        self.looked_up: dict[Claim, UUID | None] = {}

    def stream(self, stream: UUID) -> Stream | None:
        found = self.moved.get(stream) or self._streams.get(stream) or self.fetched.get(stream)
        if found is not None and stream in self._streams:
            self._streams.move_to_end(stream)
        return found

    def holder(self, claim: Claim) -> tuple[bool, UUID | None]:
        holder = self.taken.get(claim) or self._claims.get(claim)
        if holder is not None:
            return True, holder
        return claim in self.looked_up, self.looked_up.get(claim)

    def branch(self) -> "_Round":
        """The same view for a request of several submissions, which see each other before the batch sees them."""
        branch = _Round(self._streams, self._claims)
        branch.moved, branch.taken = dict(self.moved), dict(self.taken)
        branch.fetched, branch.looked_up = self.fetched, self.looked_up
        return branch

    def apply(self, decided: Iterable[_Decided]) -> None:
        for each in decided:
            self.moved.update(each.moved)
            self.taken.update((c.claim, c.stream_id) for c in each.decision.claims)
            self.released.update(each.decision.released)

    def still_holds(self, decided: Iterable[_Decided]) -> bool:
        """Whether every version that these decisions saw is what they would see now."""
        own: dict[UUID, Stream] = {}
        for each in decided:
            for stream, version in each.decision.reads.items():
                seen = own.get(stream) or self.stream(stream)
                if version and (seen is None or seen.version != version):
                    return False
            own.update(each.moved)
        return True

    def clashes(self, decided: Iterable[_Decided]) -> bool:
        """Whether one batch cannot hold these beside what it has: a claim or its release occurs once."""
        return any(
            c in self.taken or c in self.released
            for each in decided
            for c in (*(new.claim for new in each.decision.claims), *each.decision.released)
        )


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
        self._log = log
        self._new_id = new_id
        self._reporting_currency = reporting_currency
        self.limits = limits or WriterLimits()
        self._observe = observe
        self._clock = clock
        self._streams: _Bounded[UUID, Stream] = _Bounded(self.limits.cached_streams_max)
        self._claims: _Bounded[Claim, UUID] = _Bounded(self.limits.cached_claims_max)
        self._queue: deque[_Request] = deque()
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

        With `atomic` all are stored together or none. Otherwise it waits for room in the queue rather than fail.
        """
        if atomic:
            if self._stopping or self._queued_commands + len(submissions) > self.limits.queue_commands_max:
                raise QueueIsFull
            return await self._enqueue(tuple(submissions)) if submissions else []
        waiting: list[asyncio.Future[list[Outcome]]] = []
        for submission in submissions:
            while self._queued_commands >= self.limits.queue_commands_max and not self._stopping:
                self._taken.clear()
                await self._taken.wait()
            if self._stopping:
                raise QueueIsFull
            waiting.append(self._enqueue((submission,)))
        return [outcome for outcomes in await asyncio.gather(*waiting) for outcome in outcomes]

    def _enqueue(self, submissions: tuple[Submission, ...]) -> asyncio.Future[list[Outcome]]:
        request = _Request(submissions, asyncio.get_running_loop().create_future())
        for place, submission in enumerate(submissions):
            occurred_at, received_at = submission.metadata.occurred_at, submission.metadata.received_at
            if occurred_at > received_at + self.limits.future_tolerance:
                request.refuse(place, OccurredInTheFuture(pointer="/occurred_at"))
                return request.answered
        self._queue.append(request)
        self._queued_commands += len(submissions)
        self._arrived.set()
        return request.answered

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
                await self._finish(batch)
            except LogUnavailable as error:
                self._forget_all()
                _LOG.warning("the log is unavailable", extra={"commands": len(batch)})
                for request in batch:
                    request.fail(error)
            except Exception as error:  # noqa: BLE001 - the waiters get it, and the writer has to live
                # The waiters are told, the log entry has the traceback, and the next batch starts from the log.
                self._forget_all()
                _LOG.exception("a batch of commands failed", extra={"commands": len(batch)})
                for request in batch:
                    request.fail(error)

    def _take(self) -> list[_Request]:
        """The longest prefix of the queue that one batch may hold; a key occurs in it once."""
        batch: list[_Request] = []
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

    async def _finish(self, batch: list[_Request]) -> None:
        """Repeat until every request of the batch has its answer."""
        fruitless = 0
        while batch:
            await self._attempt(batch)
            remaining = [request for request in batch if not request.answered.done()]
            fruitless = fruitless + 1 if len(remaining) == len(batch) else 0
            if fruitless == self.limits.fruitless_rounds_max:
                raise LogUnavailable
            batch = remaining

    async def _attempt(self, batch: list[_Request]) -> None:
        """Decide as many requests as one append may hold, append them, and take note of what stood in the way."""
        view = _Round(self._streams, self._claims)
        ready: list[_Request] = []
        unproven: list[_Undecided] = []
        events = 0
        for place, request in enumerate(batch):
            if request.decided is None or not view.still_holds(request.decided):
                try:
                    undecided = await self._decide(request, view, batch[place:])
                except LogUnavailable:
                    raise
                except Exception as error:  # noqa: BLE001 - the waiter gets it, and the writer has to live
                    # One command that cannot be decided does not take its neighbours with it.
                    _LOG.exception("a command failed", extra={"command": request.submissions[0].definition.name})
                    request.fail(error)
                    continue
                if undecided is not None:
                    if any(stream in view.moved for stream in undecided.reads):
                        break  # it rests on what the commands before it will do: first they have to be stored
                    unproven.append(undecided)
                    continue
            decided = request.decided or []
            events += sum(len(each.decision.events) for each in decided)
            if ready and (events > self.limits.batch_events_max or view.clashes(decided)):
                break
            view.apply(decided)
            ready.append(request)
        if unproven:
            await self._prove(unproven)
        if ready:
            await self._append(ready, view)

    async def _decide(self, request: _Request, view: _Round, ahead: Sequence[_Request]) -> _Undecided | None:
        """Decide each open submission on the view; the answer says why there is nothing to append, where so."""
        request.decided, request.noted = None, {}
        submissions = request.open()
        own = view if len(submissions) == 1 else view.branch()
        decided: list[_Decided] = []
        reads: dict[UUID, int] = {}
        moved_here: set[UUID] = set()
        for place, submission in submissions:
            while True:
                work = self._unit_of_work(submission, own)
                try:
                    work.decide()
                    refusal = await self._held(work, submission)
                except Missing as missing:
                    await self._fetch(missing, own, ahead)
                    continue
                except Refusal as refused:
                    refusal = refused
                break
            reads.update((s, v) for s, v in work.reads.items() if s not in moved_here)
            if refusal is not None:
                return _Undecided(request, reads, {place: refusal})
            decision, moved = work.decision(self._log.digest(submission.request))
            each = _Decided(submission, decision, moved, work.version())
            if submission.command.dry_run:
                preview = self._log.preview(decision)
                request.noted[place] = Answer(decision.target_id, each.version, preview, dry_run=True)
            elif not decision.events:
                request.noted[place] = Answer(decision.target_id, each.version, ())
            else:
                decided.append(each)
            if own is not view:
                own.apply([each])
                moved_here.update(moved)
        if not decided:
            return _Undecided(request, reads, request.noted)
        request.decided = decided
        return None

    def _unit_of_work(self, submission: Submission, view: _Round) -> DecisionUnitOfWork:
        return DecisionUnitOfWork(submission, view, self._new_id, reporting_currency=self._reporting_currency)

    async def _held(self, work: DecisionUnitOfWork, submission: Submission) -> Refusal | None:
        """Of a dry run, the refusal of a claim that is held: it never meets the append that would find it."""
        if not submission.command.dry_run:
            return None
        decision, _ = work.decision(b"")
        holders = await self._log.holders(new.claim for new in decision.claims)
        return next(
            (c.refusal for c in decision.claims if c.claim in holders and c.claim not in decision.released), None
        )

    async def _fetch(self, missing: Missing, view: _Round, ahead: Sequence[_Request]) -> None:
        """Fetch what one decision misses, together with what those behind it will miss."""
        streams, claims = dict.fromkeys(missing.streams), dict.fromkeys(missing.claims)
        submissions = (s for request in ahead if request.decided is None for _, s in request.open())
        for submission in submissions:
            with contextlib.suppress(Exception):  # this only looks ahead; in its own turn it is raised again
                try:
                    self._unit_of_work(submission, view).decide()
                except Missing as more:
                    streams.update(dict.fromkeys(more.streams))
                    claims.update(dict.fromkeys(more.claims))
        if streams:
            loaded = await self._log.load(streams)
            for stream_id, stream in loaded.items():
                view.fetched[stream_id] = stream
                if stream.version:
                    self._streams.keep(stream_id, stream)
        if claims:
            holders = await self._log.holders(claims)
            for claim in claims:
                view.looked_up[claim] = holders.get(claim)
                if claim in holders:
                    self._claims.keep(claim, holders[claim])

    async def _prove(self, unproven: Sequence[_Undecided]) -> None:
        """Answer what needs no append, if the log shows that it was decided on the truth and was not stored before."""
        keys = [s.key for each in unproven for _, s in each.request.open() if not s.command.dry_run]
        known = await self._log.known(keys) if keys else {}
        versions = await self._log.versions({stream for each in unproven for stream in each.reads})
        for each in unproven:
            request = each.request
            if any(s.key in known and not s.command.dry_run for _, s in request.open()):
                await self._replay(request, known)
                continue
            stale = [stream for stream, version in each.reads.items() if versions.get(stream, 0) != version]
            if stale:
                self._forget(stale)
                continue
            for place, outcome in each.outcomes.items():
                if isinstance(outcome, Refusal):
                    request.refuse(place, outcome)
                else:
                    request.outcomes[place] = outcome
            if not request.open():
                request.answer()

    async def _append(self, ready: list[_Request], view: _Round) -> None:
        decided = [each for request in ready for each in request.decided or ()]
        started = self._clock()
        try:
            result = await self._log.append([each.decision for each in decided])
        except LogUnavailable:
            raise
        except Exception as error:
            if len(ready) == 1:
                _LOG.exception("a command failed", extra={"command": decided[0].submission.definition.name})
                ready[0].fail(error)
                return
            # One of them cannot be appended: each gets an append of its own, and only that one fails.
            for request in ready:
                await self._attempt([request])
            return
        self._observe(len(decided), self._clock() - started)
        if isinstance(result, Appended):
            self._remember(view)
            place = iter(result.events)
            for request in ready:
                stored = {each.submission.key: each for each in request.decided or ()}
                request.outcomes.update(request.noted)
                for i, submission in request.open():
                    each = stored[submission.key]
                    request.outcomes[i] = Answer(each.decision.target_id, each.version, next(place))
                request.answer()
            return
        await self._yield_to(result, ready, decided)

    async def _yield_to(self, conflicts: Conflicts, ready: list[_Request], decided: list[_Decided]) -> None:
        """Answer the requests that stood in the way of the batch, or have them decided again; the others stay."""
        self._forget(conflicts.stale)
        for claim in conflicts.taken:
            self._claims.pop(claim, None)
        known = await self._log.known(conflicts.known) if conflicts.known else {}
        refused = {decided[i].submission.key: refusal for i, refusal in conflicts.refused.items()}
        for request in ready:
            mine = request.decided or []
            if any(each.submission.key in known for each in mine):
                await self._replay(request, known)
            elif any(not conflicts.stale.isdisjoint(each.decision.reads) for each in mine):
                request.decided = None
            else:
                self._refuse_offenders(request, conflicts, refused)

    @staticmethod
    def _refuse_offenders(request: _Request, conflicts: Conflicts, refused: Mapping[CommandKey, Refusal]) -> None:
        decided = {each.submission.key: each for each in request.decided or ()}
        for place, submission in request.open():
            each = decided.get(submission.key)
            if each is None:
                continue
            refusal = refused.get(submission.key) or next(
                (new.refusal for new in each.decision.claims if new.claim in conflicts.taken), None
            )
            if refusal is not None:
                request.refuse(place, refusal)
                return

    async def _replay(self, request: _Request, known: Mapping[CommandKey, KnownCommand]) -> None:
        """Give stored commands their first answer again; the others of the request are decided again."""
        request.decided = None
        for place, submission in request.open():
            command = known.get(submission.key)
            if command is None:
                continue
            if command.digest != self._log.digest(submission.request):
                request.refuse(place, KeyIsUsedForAnotherRequest())
                return
            events = tuple(await self._log.events(command.first_position, command.last_position))
            version = max((e.version for e in events if e.stream_id == command.target_id), default=0)
            request.outcomes[place] = Answer(command.target_id, version, events, replayed=True)
        if not request.open():
            request.answer()

    def _remember(self, view: _Round) -> None:
        for stream_id, stream in view.moved.items():
            self._streams.keep(stream_id, stream)
        for claim in view.released:
            self._claims.pop(claim, None)
        for claim, holder in view.taken.items():
            self._claims.keep(claim, holder)

    def _forget(self, streams: Iterable[UUID]) -> None:
        for stream_id in streams:
            self._streams.pop(stream_id, None)

    def _forget_all(self) -> None:
        self._streams.clear()
        self._claims.clear()
