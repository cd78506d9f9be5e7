"""Group commit: decides the requests of a batch in their order and stores them in one append.

A command is decided on what this process remembers of the streams; only an append proves that memory right. So whatever
is answered without an append (a refusal, a dry run) is first compared with the log. What stands in the
way of an append is answered or decided again, and the rest is sent again at once.
"""

import contextlib
import logging
import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from uuid import UUID

from application.aggregates import Claim
from application.decisions import DecisionUnitOfWork, Missing
from application.memory import Decided, Memory, Sight
from application.ports import Appended, CommandKey, Conflicts, EventLog, KnownCommand, LogUnavailable
from application.requests import Footing, Request, Undecided
from application.submissions import Answer, KeyIsUsedForAnotherRequest, Submission, replayed
from domain.errors import Refusal

_LOG = logging.getLogger(__name__)

OVERTAKEN_MAX = 3
"""How often the writers of other processes may be faster before they are asked to wait. Who has just appended decides
on what it remembers and is ready first again: without this, one process could keep another from a busy stream for ever.
"""

Observer = Callable[[int, float], None]
"""Told of each append: how many commands it held, and how many seconds it took."""


@contextlib.contextmanager
def _blaming(request: Request) -> Iterator[None]:
    """Whatever goes wrong with one request is told to its waiter, and does not take its neighbours with it."""
    try:
        yield
    except LogUnavailable:
        raise
    except Exception as error:  # noqa: BLE001 - the waiter gets it, and the writer has to live
        _fail(request, error)


def _fail(request: Request, error: Exception) -> None:
    _LOG.error("a command failed", exc_info=error, extra={"command": request.submissions[0].definition.name})
    request.fail(error)


class GroupCommit:
    """Decides and stores batches, one after the other."""

    def __init__(  # noqa: PLR0913 - the writer names each of them once
        self,
        log: EventLog,
        memory: Memory,
        *,
        new_id: Callable[[], UUID],
        reporting_currency: str,
        events_max: int,
        fruitless_rounds_max: int,
        observe: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._log = log
        self._memory = memory
        self._new_id = new_id
        self._reporting_currency = reporting_currency
        self._events_max = events_max
        self._fruitless_rounds_max = fruitless_rounds_max
        self._observe = observe
        self._clock = clock
        self._overtaken = 0
        """How often this batch was decided on what another process had moved meanwhile."""

    async def finish(self, batch: Sequence[Request]) -> None:
        """Repeat until every request of the batch has its answer. Raises `LogUnavailable`."""
        self._overtaken = 0
        remaining = await self._go_on_with(batch, OVERTAKEN_MAX)
        if remaining:
            async with self._log.alone():
                await self._go_on_with(remaining)

    async def _go_on_with(self, batch: Sequence[Request], overtaken_max: float = math.inf) -> Sequence[Request]:
        """Repeat until all is answered, or others have been faster too often; what remains."""
        fruitless = 0
        while batch and self._overtaken < overtaken_max:
            await self._attempt(batch)
            remaining = [request for request in batch if not request.answered.done()]
            fruitless = fruitless + 1 if len(remaining) == len(batch) else 0
            if fruitless == self._fruitless_rounds_max:
                raise LogUnavailable
            batch = remaining
        return batch

    async def _attempt(self, batch: Sequence[Request]) -> None:
        """Decide as many requests as one append may hold, append them, and take note of what stood in the way."""
        sight = Sight(self._memory)
        ready: list[Request] = []
        unproven: list[Undecided] = []
        events = 0
        for place, request in enumerate(batch):
            if request.decided is None or not sight.still_holds(request.decided):
                undecided = None
                with _blaming(request):
                    undecided = await self._decide(request, sight, batch[place:])
                if undecided is not None:
                    if undecided.footing.is_moved(sight):
                        break  # it rests on what the commands before it will do: first they have to be stored
                    unproven.append(undecided)
            if not request.decided:
                continue
            events += sum(len(each.decision.events) for each in request.decided)
            if ready and (request.goes_first or events > self._events_max or sight.clashes(request.decided)):
                break
            sight.apply(request.decided)
            ready.append(request)
        if unproven:
            await self._prove(unproven)
        if ready and all(undecided.request.answered.done() for undecided in unproven):
            await self._append(ready, sight)  # otherwise those behind would come before one that is decided again

    # Deciding

    async def _decide(self, request: Request, sight: Sight, ahead: Sequence[Request]) -> Undecided | None:
        """Decide each open submission on what is in sight; the answer says why there is nothing to append, where so."""
        request.decided, request.noted = None, {}
        submissions = request.open()
        own = sight if len(submissions) == 1 else sight.branch()
        only_tried = all(submission.command.dry_run for _, submission in submissions)
        footing = Footing()
        decided: list[Decided] = []
        for place, submission in submissions:
            work, refusal = await self._run(submission, own, ahead)
            footing.add(work, own)
            if refusal is not None:
                return Undecided(request, footing, {place: refusal})
            decision, moved = work.decision(self._log.digest(submission.request))
            each = Decided(submission, decision, work.saw, moved, work.version())
            refusal = await self._claim_refused(each, own)
            if refusal is not None:
                return Undecided(request, footing, {place: refusal})
            if submission.command.dry_run:
                request.noted[place] = Answer(
                    decision.target_id, each.version, self._log.preview(decision), dry_run=True
                )
            else:
                decided.append(each)
            if own is not sight and submission.command.dry_run is only_tried:
                own.apply([each])
        if not decided:
            return Undecided(request, footing, request.noted)
        if request.noted:
            decided[0] = footing.vouched_for_by(decided[0])
        request.decided = decided
        return None

    async def _run(
        self, submission: Submission, sight: Sight, ahead: Sequence[Request]
    ) -> tuple[DecisionUnitOfWork, Refusal | None]:
        """Run one handler, again and again until nothing is missing."""
        while True:
            work = self._unit_of_work(submission, sight)
            try:
                work.decide()
            except Missing as missing:
                await self._fetch(missing, sight, ahead)
            except Refusal as refusal:
                return work, refusal
            else:
                return work, None

    def _unit_of_work(self, submission: Submission, sight: Sight) -> DecisionUnitOfWork:
        return DecisionUnitOfWork(submission, sight, self._new_id, reporting_currency=self._reporting_currency)

    async def _claim_refused(self, each: Decided, sight: Sight) -> Refusal | None:
        """The refusal of a claim that cannot be had, as far as no append will find out."""
        wanted = each.decision.claims
        held: Container[Claim] = ()
        if each.submission.command.dry_run:
            free = {*each.decision.released, *sight.released}
            held = await self._log.holders([new.claim for new in wanted if new.claim not in free])
        return next((new.refusal for new in wanted if new.claim in held or sight.has_own(new.claim)), None)

    async def _fetch(self, missing: Missing, sight: Sight, ahead: Sequence[Request]) -> None:
        """Fetch what one decision misses, together with what those behind it will miss."""
        streams, claims = dict.fromkeys(missing.streams), dict.fromkeys(missing.claims)
        submissions = (s for request in ahead if request.decided is None for _, s in request.open())
        for submission in submissions:
            with contextlib.suppress(Exception):  # this only looks ahead; in its own turn it is raised again
                try:
                    self._unit_of_work(submission, sight).decide()
                except Missing as more:
                    streams.update(dict.fromkeys(more.streams))
                    claims.update(dict.fromkeys(more.claims))
        try:
            loaded = await self._log.load(streams) if streams else {}
        except LogUnavailable:
            raise
        except Exception:
            if len(streams) == len(missing.streams):
                raise
            # A stream of somebody behind cannot be read: that is not the fault of this one.
            loaded = await self._log.load(missing.streams) if missing.streams else {}
        holders = await self._log.holders(claims) if claims else {}
        sight.show(loaded, {claim: holders.get(claim) for claim in claims})

    # Answering without an append

    async def _prove(self, unproven: Sequence[Undecided]) -> None:
        """Answer what needs no append, if the log shows that it was decided on the truth and was not stored before."""
        keys = [s.key for each in unproven for _, s in each.request.open() if not s.command.dry_run]
        known = await self._log.known(keys) if keys else {}
        claims = {claim for each in unproven for claim in each.footing.resolved}
        holders = await self._log.holders(claims) if claims else {}
        versions = await self._log.versions({stream for each in unproven for stream in each.footing.saw})
        for each in unproven:
            if any(s.key in known and not s.command.dry_run for _, s in each.request.open()):
                await self._replay(each.request, known)
                continue
            moved = [claim for claim, holder in each.footing.resolved.items() if holders.get(claim) != holder]
            stale = [stream_id for stream_id, saw in each.footing.saw.items() if versions[stream_id] != saw.version]
            self._memory.forget(stale, moved)
            if not moved and not stale:
                each.settle()
            else:
                self._overtaken += 1

    async def _replay(self, request: Request, known: Mapping[CommandKey, KnownCommand]) -> None:
        """Give stored commands their first answer again; the others of the request are decided again."""
        request.decided = None
        for place, submission in request.open():
            command = known.get(submission.key)
            if command is None or submission.command.dry_run:
                continue
            if command.digest != self._log.digest(submission.request):
                request.refuse(place, KeyIsUsedForAnotherRequest())
                return
            with _blaming(request):
                events = tuple(await self._log.events(command.first_position, command.last_position))
                request.outcomes[place] = replayed(command, events)
        if not request.open():
            request.answer()

    # Appending

    async def _append(self, ready: Sequence[Request], sight: Sight) -> None:
        decided = [each for request in ready for each in request.decided or ()]
        started = self._clock()
        try:
            result = await self._log.append([each.decision for each in decided])
        except LogUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the waiter gets it, and the writer has to live
            if len(ready) == 1:
                _fail(ready[0], error)
                return
            # One of them cannot be appended: each gets an append of its own, and only that one fails.
            for request in ready:
                await self._attempt([request])
                if not request.answered.done():
                    return  # it is decided again, and those behind it come after it
            return
        self._observe(len(decided), self._clock() - started)
        if isinstance(result, Appended):
            sight.remember()
            self._answer(ready, result)
        else:
            await self._yield_to(result, ready, decided)

    @staticmethod
    def _answer(ready: Sequence[Request], appended: Appended) -> None:
        stored = iter(appended.events)
        position = appended.base
        for request in ready:
            request.outcomes.update(request.noted)
            for (place, _), each in zip(request.open(), request.decided or (), strict=True):
                events = next(stored)
                position += len(events)
                request.outcomes[place] = Answer(each.decision.target_id, each.version, events, position=position)
            request.answer()

    async def _yield_to(self, conflicts: Conflicts, ready: Sequence[Request], decided: Sequence[Decided]) -> None:
        """Answer the requests that stood in the way of the batch, or have them decided again; the others stay."""
        self._memory.forget(conflicts.stale, conflicts.moved | conflicts.taken)
        self._overtaken += bool(conflicts.stale or conflicts.moved)
        known = await self._log.known(conflicts.known) if conflicts.known else {}
        refused = {decided[i].submission.key: refusal for i, refusal in conflicts.refused.items()}
        unstored: set[UUID] = set()
        for request in ready:
            mine = request.decided or []
            rests_on_neighbours = any(not unstored.isdisjoint(each.decision.reads) for each in mine)
            unstored.update(stream for each in mine for stream in each.moved)
            if any(each.submission.key in known for each in mine):
                await self._replay(request, known)
            elif any(conflicts.concern(each.decision) for each in mine):
                request.decided = None
            else:
                offence = _offence(request, conflicts, refused)
                if offence is not None and rests_on_neighbours:
                    request.decided, request.goes_first = None, True
                elif offence is not None:
                    request.refuse(*offence)


def _offence(
    request: Request, conflicts: Conflicts, refused: Mapping[CommandKey, Refusal]
) -> tuple[int, Refusal] | None:
    """The first submission of a request that cannot be stored, and why not."""
    places = {submission.key: place for place, submission in request.open()}
    for each in request.decided or ():
        refusal = refused.get(each.submission.key) or next(
            (new.refusal for new in each.decision.claims if new.claim in conflicts.taken), None
        )
        if refusal is not None:
            return places[each.submission.key], refusal
    return None
