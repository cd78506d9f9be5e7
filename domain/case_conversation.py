"""Who waits for an answer since when, while the messages of a support case are told one after the other.

The rules are those of `domain.case_timeline`; `domain.case_reading` tells the messages.
"""

from dataclasses import replace
from datetime import datetime

from domain.case_events import MessageId
from domain.case_timeline import FirstResponse, Reason, ReplacedTurn, Reply, Span, TakenOverWait, Turn, TurnOutcome
from domain.values import immutable


@immutable
class Waiting:
    """The customer waits for a reply since a message, which stands at a position of the log."""

    message_id: MessageId
    since: datetime
    position: int
    earlier_holds: tuple[Span, ...] = ()
    taken_over_at: datetime | None = None
    replaced: tuple[ReplacedTurn, ...] = ()

    @property
    def runs_from(self) -> datetime:
        """Since when it has been waited for in this case."""
        return self.taken_over_at or self.since


@immutable
class Left:
    """What a case that is merged into another one leaves to that one."""

    first: Waiting | None = None
    """What was to be replied to for the first time, here or in a case that was merged into it: the longest wait."""
    turn: Waiting | None = None
    """What was to be replied to again."""
    awaits_reply: bool = False
    """Whether the customer wrote last, also where no reply was needed."""


class Conversation:
    """What was said in one case up to now, and who waits."""

    def __init__(self) -> None:
        self.customer_messages: list[datetime] = []
        self.replies: list[Reply] = []
        self.turns: list[Turn] = []
        self.pauses: list[Span] = []
        self._taken_over: list[Waiting] = []
        """Waits for the first response of cases that were merged into this one, each longer than all before it."""
        self._is_answered = False
        self._customer_was_last = False
        """Whether the customer wrote last, here or in a case that was merged into this one."""
        self._paused_since: datetime | None = None
        self._first: Waiting | None = None
        self.human_since: Waiting | None = None
        """Since when a person is waited for, or was: not before a bot handed off."""
        self._first_reply: Reply | None = None
        self._first_is_live = False
        self._later_reply: Reply | None = None
        """The first one after the opening."""
        self._turn: Waiting | None = None
        self._dormant: Waiting | None = None
        """A message after the end of the case; it begins a turn if the case goes on after all."""

    @property
    def is_first_awaited(self) -> bool:
        """Whether the customer waits for the first response."""
        return self._first is not None and self._first_reply is None

    def customer_wrote(self, message: Waiting, *, needs_reply: bool, goes_on: bool) -> None:
        """The customer wrote; `goes_on` says whether the case does, after this message."""
        self.customer_messages.append(message.since)
        self._is_answered, self._customer_was_last = False, True
        if not needs_reply:
            return
        if self._first is None:
            self._first = self.human_since = message
        elif self._first_reply is not None:
            self._wait(message, goes_on=goes_on)

    def person_replied(
        self, reply: Reply, *, is_live: bool = False, is_later: bool = True, opens: bool = False
    ) -> None:
        """A person answered in public; `is_later` says whether the case had been opened before.

        A message with which we open a case ourselves replies to nothing, unless the customer had written before.
        """
        if self.customer_messages or not opens:
            self.replies.append(reply)
        self._is_answered, self._customer_was_last = True, False
        self.end_pause(reply.at)
        if self._later_reply is None and is_later:
            self._later_reply = reply
        if self.is_first_awaited:
            self._first_reply = reply
            self._first_is_live = is_live and self._first is not None and self._first.position == reply.position
        self._end_turn(reply.at, reply.position, TurnOutcome.ANSWERED, reply, is_live=is_live)
        self._dormant = None

    def hand_off(self, at: datetime, position: int) -> None:
        """From now on the customer waits for a person, who has not replied yet."""
        if self.is_first_awaited and self._first is not None:
            self.human_since = replace(self._first, since=at, position=position)

    def end(self, at: datetime, position: int, outcome: TurnOutcome) -> None:
        """The case ended; nobody replies to what was open."""
        self._end_turn(at, position, outcome)

    def go_on(self, at: datetime, position: int, *, for_a_person: bool) -> None:
        """The case goes on after it had ended, perhaps because the customer is not content with what a bot did."""
        if for_a_person:
            self.hand_off(at, position)
        self._turn, self._dormant = self._dormant, None

    def begin_pause(self, at: datetime) -> None:
        """From now on the customer is waited for; an illegitimate pause, if the customer waits for us."""
        if not self._is_answered and self._paused_since is None:
            self._paused_since = at

    def end_pause(self, at: datetime) -> None:
        """The customer is waited for no longer, or rightly so."""
        if self._paused_since is not None:
            self.pauses.append(Span(started_at=self._paused_since, ended_at=at))
            self._paused_since = None

    def take_over(self, left: Left, at: datetime, *, goes_on: bool) -> None:
        """Another case was merged into this one, and the customer goes on waiting here.

        A first response that both cases await is that of each of them, so here it makes no turn; but somebody waits
        for it since the other case began to.
        """
        if left.awaits_reply:
            self._is_answered, self._customer_was_last = False, True
        waits = [replace(one, taken_over_at=at) for one in (left.first, left.turn) if one is not None]
        if left.first is not None and self.is_first_awaited:
            if _since(waits[0]) < _since(self._longest()):
                self._taken_over.append(waits[0])
            del waits[0]
        for one in sorted(waits, key=_since):
            self._wait(one, goes_on=goes_on)

    def left(self, holds: tuple[Span, ...]) -> Left:
        """What this case leaves to the one that it is merged into now, after these holds; also what was left to it."""
        return Left(
            first=_after_holds(self._longest(), holds) if self.is_first_awaited else None,
            turn=None if self._turn is None else _after_holds(self._turn, holds),
            awaits_reply=self._customer_was_last,
        )

    def _longest(self) -> Waiting:
        """Of the waits for the first response the longest."""
        return min([*self._taken_over, *([self._first] if self._first else [])], key=_since)

    @property
    def taken_over(self) -> tuple[TakenOverWait, ...]:
        """Longer waits for the first response, which came with other cases."""
        return tuple(
            TakenOverWait(since=one.since, position=one.position, taken_over_at=one.runs_from)
            for one in self._taken_over
        )

    def first_responses(self, opened_at: datetime, opened_by: int, ended: Reason | None) -> tuple[FirstResponse, ...]:
        """The first response in all, by a human, and as Zendesk counts it; `ended` is why none comes any more."""
        reason: Reason | None = ended or Reason.NO_REPLY_YET
        zendesk = FirstResponse(
            started_at=opened_at,
            started_by=opened_by,
            reply=self._later_reply,
            reason=None if self._later_reply else reason,
        )
        if self._first is None or self.human_since is None:
            reason = Reason.NO_REPLY_NEEDED if self.customer_messages else Reason.OUTBOUND
            return FirstResponse(reason=reason), FirstResponse(reason=reason), zendesk
        if self._first_reply is not None:
            reason = Reason.ANSWERED_LIVE if self._first_is_live else None
        total = self._first_response(self._first, reason)
        human = total if self.human_since is self._first else self._first_response(self.human_since, reason)
        return total, human, zendesk

    def _first_response(self, since: Waiting, reason: Reason | None) -> FirstResponse:
        return FirstResponse(started_at=since.since, started_by=since.position, reply=self._first_reply, reason=reason)

    def running(self) -> tuple[tuple[Turn, ...], tuple[Span, ...]]:
        """All turns and illegitimate pauses, also those that have not ended."""
        turns, pauses = tuple(self.turns), tuple(self.pauses)
        if self._turn is not None:
            turns = (*turns, _turn(self._turn, None, None, TurnOutcome.RUNNING))
        if self._paused_since is not None:
            pauses = (*pauses, Span(started_at=self._paused_since, ended_at=None))
        return turns, pauses

    def _wait(self, message: Waiting, *, goes_on: bool) -> None:
        """Begin a turn, unless one runs since an earlier message."""
        if goes_on:
            self._turn = _earlier(self._turn, message)
        else:
            self._dormant = _earlier(self._dormant, message)

    def _end_turn(
        self, at: datetime, position: int, outcome: TurnOutcome, reply: Reply | None = None, *, is_live: bool = False
    ) -> None:
        if self._turn is not None:
            live = is_live and self._turn.position == position
            self.turns.append(_turn(self._turn, at, position, outcome, reply, is_live=live))
            self._turn = None


def _since(waiting: Waiting) -> tuple[datetime, int]:
    return waiting.since, waiting.position


def _after_holds(waiting: Waiting, holds: tuple[Span, ...]) -> Waiting:
    """The wait with what was held of it in this case; what was held before it came here, was held without it."""
    since = waiting.runs_from
    here = [
        Span(started_at=max(one.started_at, since), ended_at=one.ended_at)
        for one in holds
        if one.ended_at is not None and one.ended_at > since
    ]
    return replace(waiting, earlier_holds=(*waiting.earlier_holds, *here), replaced=())


def _earlier(running: Waiting | None, message: Waiting) -> Waiting:
    if running is None:
        return message
    if message.since >= running.since:
        return running
    replaced = ReplacedTurn(
        started_at=running.since,
        started_by=running.position,
        runs_from=running.runs_from,
        runs_until=message.runs_from,
    )
    return replace(message, replaced=(*running.replaced, replaced))


def _turn(  # noqa: PLR0913 - all that there is to say about a turn
    waiting: Waiting,
    ended_at: datetime | None,
    ended_by: int | None,
    outcome: TurnOutcome,
    reply: Reply | None = None,
    *,
    is_live: bool = False,
) -> Turn:
    return Turn(
        message_id=waiting.message_id,
        started_at=waiting.since,
        started_by=waiting.position,
        ended_at=ended_at,
        ended_by=ended_by,
        outcome=outcome,
        answered_live=is_live,
        staff_id=None if reply is None else reply.staff_id,
        team_id=None if reply is None else reply.team_id,
        earlier_holds=waiting.earlier_holds,
        taken_over_at=waiting.taken_over_at,
        replaced=waiting.replaced,
    )
