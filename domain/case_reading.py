"""Reading the entries of support cases into timelines; what they mean is said in `domain.case_timeline`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from domain.case_conversation import Conversation, Left, Waiting
from domain.case_events import (
    ActorClass,
    AnotherCaseMerged,
    CalendarAssigned,
    CaseAssigned,
    CaseClassified,
    CaseClosed,
    CaseHandedOffToHuman,
    CaseId,
    CaseMarkedAsSpam,
    CaseMergedInto,
    CaseOpened,
    CasePutOnHold,
    CaseReopened,
    CaseResolved,
    CaseResumed,
    CaseSplit,
    CaseTransferred,
    CaseWithdrawn,
    CustomerIdentified,
    CustomerMessageReceived,
    FollowUpCaseOpened,
    Happened,
    InternalNoteAdded,
    Message,
    NoReplyNeededMarked,
    Performer,
    PriorityChanged,
    PublicReplySent,
    SatisfactionAmended,
    SatisfactionRecorded,
    SatisfactionRequested,
    SupportCaseEvent,
    WaitForCustomerBegun,
)
from domain.case_status import ACTIVE, CaseStatus, Course, Step, opening_steps
from domain.case_timeline import (
    THE_BEGINNING,
    CaseEntry,
    CaseTimeline,
    Profile,
    Reason,
    Reply,
    Resolution,
    SatisfactionAnswer,
    Span,
    StatusInterval,
    TurnOutcome,
)
from domain.service_calendar import CalendarId
from domain.values import StaffId

_LOOKING_BACK: Final = (CaseOpened, CustomerIdentified, NoReplyNeededMarked, AnotherCaseMerged)
"""Events that change what happened before them, or by what it is counted, or for which another case has to be read."""
_UNANSWERED: Final = {
    CaseStatus.RESOLVED: Reason.RESOLVED_WITHOUT_REPLY,
    CaseStatus.CLOSED: Reason.RESOLVED_WITHOUT_REPLY,
    CaseStatus.MERGED: Reason.MERGED,
    CaseStatus.WITHDRAWN: Reason.WITHDRAWN,
    CaseStatus.SPAM: Reason.SPAM,
}
_STEPS: Final[Mapping[type, Step]] = {
    WaitForCustomerBegun: Step.WAIT,
    CasePutOnHold: Step.HOLD,
    CaseResumed: Step.RESUME,
    CaseReopened: Step.REOPEN,
    CaseWithdrawn: Step.WITHDRAW,
    CaseMarkedAsSpam: Step.MARK_AS_SPAM,
}
_LEFT_OPEN: Final = {
    CaseStatus.RESOLVED: TurnOutcome.NO_REPLY_NEEDED,
    CaseStatus.CLOSED: TurnOutcome.NO_REPLY_NEEDED,
    CaseStatus.MERGED: TurnOutcome.MERGED,
    CaseStatus.WITHDRAWN: TurnOutcome.WITHDRAWN,
    CaseStatus.SPAM: TurnOutcome.SPAM,
}


def timelines(
    family: Mapping[CaseId, Sequence[CaseEntry]], until: datetime | None = None
) -> Mapping[CaseId, CaseTimeline]:
    """The timelines of a case and of all that were merged into one another, up to an instant where one is given.

    Cases that were not open by then are left out. A case that was never merged is a family of its own.
    """
    told = family
    if until is not None:
        told = {case: [one for one in entries if one.occurred_at <= until] for case, entries in family.items()}
    readers: dict[CaseId, CaseReader] = {}
    for case_id in told:
        _read(case_id, told, readers)
    read = {case_id: reader.timeline() for case_id, reader in readers.items()}
    if len(read) > 1:
        return {case_id: with_reply_elsewhere(timeline, read) for case_id, timeline in read.items()}
    return read


def _read(case_id: CaseId, told: Mapping[CaseId, Sequence[CaseEntry]], readers: dict[CaseId, "CaseReader"]) -> None:
    """Read a case, after those that were merged into it; however long their chain is."""
    ahead = [case_id]
    begun: list[tuple[CaseReader, list[CaseId]]] = []
    """Each with the cases that were merged into it, which are read before it."""
    while ahead:
        one = ahead.pop()
        if one is _READ:
            reader, merged = begun.pop()
            reader.read({other: readers[other].left for other in merged if other in readers})
            continue
        entries = told.get(one, ())
        if one in readers or not is_opened(entries):
            continue
        readers[one] = CaseReader(entries)
        merged = [entry.event.case_id for entry in entries if type(entry.event) is AnotherCaseMerged]
        begun.append((readers[one], merged))
        ahead += [_READ, *reversed(merged)]


_READ: Final = CaseId(UUID(int=0))
"""Stands where all that were merged into a case have been read."""


def is_opened(entries: Iterable[CaseEntry]) -> bool:
    """Whether there is a case yet, and not only something that happened before its opening was recorded."""
    return any(type(entry.event) is CaseOpened for entry in entries)


def with_reply_elsewhere(timeline: CaseTimeline, read: Mapping[CaseId, CaseTimeline]) -> CaseTimeline:
    """With the first response that a merged case gets from the case that it goes on in."""
    if timeline.first_response.reason is not Reason.MERGED:
        return timeline
    reply, reason, awaited = reply_elsewhere(timeline, read)
    return replace(
        timeline,
        first_response=replace(timeline.first_response, reply=reply, reason=reason),
        first_response_by_human=replace(timeline.first_response_by_human, reply=reply, reason=reason),
        awaited_elsewhere=awaited,
    )


def reply_elsewhere(
    timeline: CaseTimeline, read: Mapping[CaseId, CaseTimeline]
) -> tuple[Reply | None, Reason | None, tuple[Span, ...]]:
    """The first public reply of a person after the merge, in the case that this one goes on in, or where that does.

    Also why there is none, and while which spans it was awaited there.
    """
    awaited: list[Span] = []
    for _ in read:
        into, since, merged_by = timeline.merged_into, timeline.merged_at, timeline.merged_by
        if into is None or since is None or merged_by is None or into not in read:
            break
        timeline = read[into]
        reply = next((reply for reply in timeline.replies if (reply.at, reply.position) > (since, merged_by)), None)
        awaited += active_spans(timeline, since, None if reply is None else reply.at)
        if reply is not None:
            return reply, None, tuple(awaited)
        if timeline.status is not CaseStatus.MERGED:
            return None, why_unanswered(timeline.status), tuple(awaited)
    return None, Reason.MERGED, tuple(awaited)


def why_unanswered(status: CaseStatus) -> Reason:
    """Why nobody has replied in a case that is in this state."""
    return _UNANSWERED.get(status, Reason.NO_REPLY_YET)


def active_spans(timeline: CaseTimeline, since: datetime, until: datetime | None) -> Iterator[Span]:
    """While a case was active, from an instant on and until another one if there is one."""
    for one in timeline.intervals:
        ends = [end for end in (one.ended_at, until) if end is not None]
        started_at, ended_at = max(one.started_at, since), min(ends, default=None)
        if one.status in ACTIVE and (ended_at is None or started_at < ended_at):
            yield Span(started_at=started_at, ended_at=ended_at)


def _place(entry: CaseEntry) -> tuple[datetime, int]:
    """Where an entry is told; the opening of a case that was split off at the time of the message that it is about."""
    written_at = entry.event.waiting_since if type(entry.event) is CaseOpened else None
    return written_at or entry.occurred_at, entry.position


class CaseReader:
    """Reads the entries of one case, in the order of their valid time; goes on with those that come after."""

    def __init__(self, entries: Sequence[CaseEntry]) -> None:
        self._entries: Sequence[CaseEntry] = sorted(entries, key=_place)
        self._last = _place(self._entries[-1])
        self._late_recorded = _late_recorded(self._entries)
        self._needless = {one.event.message_id for one in entries if type(one.event) is NoReplyNeededMarked}
        self._merged: Mapping[CaseId, Left] = {}
        self._said = Conversation()
        self._course = Course()
        self._intervals: list[StatusInterval] = []
        self._profiles: list[Profile] = []
        self._calendars: list[tuple[datetime, CalendarId]] = []
        self._resolutions: list[Resolution] = []
        self._ended_at: datetime | None = None
        self._ended_as = CaseStatus.NEW
        self._closed: tuple[datetime | None, Performer | None] = (None, None)
        self._merged_into: tuple[CaseId | None, datetime | None, int | None] = (None, None, None)
        self._follow_ups: list[tuple[datetime, CaseId]] = []
        self._split_off: list[CaseId] = []
        self._invitations: list[tuple[datetime, SatisfactionRequested]] = []
        self._answers: list[SatisfactionAnswer] = []
        self.left = Left()

    def read(self, merged: Mapping[CaseId, Left]) -> "CaseReader":
        """Read all entries; messages may be from before the opening, the states begin with it."""
        self._merged = merged
        for entry in self._entries:
            if isinstance(entry.event, CaseOpened):
                self._begin(entry.event, entry.occurred_at, entry.position)
        for entry in self._entries:
            self._tell(entry.event, entry.occurred_at, entry.position)
        self._entries = ()
        return self

    def go_on(self, entry: CaseEntry, left: Left | None = None) -> datetime | None:
        """Read one more entry, which was recorded after all that were read; from which instant on it changes anything.

        Where another case was merged, `left` is what that one leaves. None if all has to be read again, because the
        entry changes what was before it.
        """
        place = _place(entry)
        if left is not None and type(entry.event) is AnotherCaseMerged and place >= self._last:
            self._merged = {entry.event.case_id: left}
        elif type(entry.event) in _LOOKING_BACK or place < self._last:
            return None
        self._last = place
        began = self._said.human_since
        self._tell(entry.event, entry.occurred_at, entry.position)
        return entry.occurred_at if began is None or self._said.human_since is began else began.since

    def timeline(self) -> CaseTimeline:
        """All that was read."""
        ended = None if self._ended_at is None else _UNANSWERED[self._ended_as]
        total, human, zendesk = self._said.first_responses(self._opened_at, self._opened_by, ended)
        turns, pauses = self._said.running()
        return CaseTimeline(
            opening=self._opening,
            opened_at=self._opened_at,
            opened_by=self._opened_by,
            status=self._course.status,
            ended_at=self._ended_at,
            intervals=(*self._intervals, self._interval(self._course.status, None)),
            profiles=tuple(self._profiles),
            calendars=tuple(self._calendars),
            first_response=total,
            first_response_by_human=human,
            first_response_zendesk=zendesk,
            turns=turns,
            taken_over_waits=self._said.taken_over,
            resolutions=tuple(self._resolutions),
            illegitimate_pauses=pauses,
            customer_messages=tuple(self._said.customer_messages),
            replies=tuple(self._said.replies),
            reopen_until=self._course.reopen_until,
            closed_at=self._closed[0],
            closed_by=self._closed[1],
            merged_into=self._merged_into[0],
            merged_at=self._merged_into[1],
            merged_by=self._merged_into[2],
            awaited_elsewhere=(),
            follow_ups=tuple(self._follow_ups),
            split_off=tuple(self._split_off),
            invitations=tuple(self._invitations),
            answers=tuple(self._answers),
            late_recorded=self._late_recorded,
        )

    def _tell(  # noqa: C901, PLR0912 - one case for each kind of event that a figure is made of
        self, event: SupportCaseEvent, at: datetime, position: int
    ) -> None:
        match event:
            case CustomerMessageReceived():
                self._customer_wrote(event, at, position)
            case PublicReplySent(sender=ActorClass.AGENT_PUBLIC, staff_id=staff_id):
                self._take(Step.PERSON_REPLIED, at, position)
                self._said.person_replied(self._reply(at, position, staff_id), is_later=at >= self._opened_at)
            case InternalNoteAdded(sender=ActorClass.AGENT_INTERNAL):
                self._take(Step.PERSON_WORKED, at, position)
            case CaseAssigned(by=by) | CaseTransferred(by=by):
                if by is Performer.PERSON:
                    self._take(Step.PERSON_WORKED, at, position)
                self._describe(event, at)
            case PriorityChanged() | CaseClassified() | CustomerIdentified():
                self._describe(event, at)
            case CaseResolved(by=by, resolution_code=code, reopen_until=until):
                if self._take(Step.RESOLVE, at, position, until):
                    self._resolutions.append(Resolution(at=at, position=position, by=by, resolution_code=code))
            case CaseClosed(by=by):
                self._close(by, at, position)
            case CaseOpened():
                self._open(event, at, position)
            case WaitForCustomerBegun() | CasePutOnHold() | CaseWithdrawn() | CaseMarkedAsSpam():
                self._take(_STEPS[type(event)], at, position)
            case CaseResumed(message_id=None) | CaseReopened(message_id=None):
                self._take(_STEPS[type(event)], at, position)
            case CalendarAssigned(calendar_id=calendar_id):
                self._calendars.append((at, calendar_id))
            case CaseHandedOffToHuman():
                self._said.hand_off(at, position)
            case CaseMergedInto(into_id=into_id):
                self._merge(into_id, at, position)
            case AnotherCaseMerged(case_id=case_id):
                self._take_over(self._merged.get(case_id, Left()), at, position)
            case SatisfactionRecorded() | SatisfactionAmended():
                self._answer(event, at, position)
            case _:
                self._note(event, at)

    def _note(self, event: SupportCaseEvent, at: datetime) -> None:
        """What moves nothing, and nobody waits for."""
        match event:
            case FollowUpCaseOpened(case_id=case_id):
                self._follow_ups.append((at, case_id))
            case CaseSplit(case_id=case_id):
                self._split_off.append(case_id)
            case SatisfactionRequested():
                self._invitations.append((at, event))

    def _describe(
        self,
        event: CaseAssigned | CaseTransferred | PriorityChanged | CustomerIdentified | CaseClassified,
        at: datetime,
    ) -> None:
        """By what the case is counted from now on."""
        profile = replace(self._profiles[-1], since=at)
        match event:
            case CaseAssigned(staff_id=staff_id):
                profile = replace(profile, assignee_id=staff_id)
            case CaseTransferred(team_id=team_id):
                profile = replace(profile, team_id=team_id, assignee_id=None)
            case PriorityChanged(priority=priority):
                profile = replace(profile, priority=priority)
            case CustomerIdentified(customer_id=customer_id):
                profile = replace(profile, customer_id=customer_id)
            case _:
                product_id = profile.product_id if event.keeps_product else event.product_id
                profile = replace(profile, category=event.category, product_id=product_id, root_cause=event.root_cause)
        self._profiles.append(profile)

    def _begin(self, opened: CaseOpened, at: datetime, position: int) -> None:
        self._opening = opened
        self._opened_at = self._since = at
        self._opened_by = self._since_position = position
        first = Profile(
            since=at,
            customer_id=opened.customer_id,
            priority=opened.priority,
            category=None,
            product_id=opened.product_id,
            root_cause=None,
            team_id=opened.team_id,
            assignee_id=None,
        )
        self._profiles.append(first)
        if opened.calendar_id is not None:
            self._calendars.append((THE_BEGINNING, opened.calendar_id))

    def _open(self, opened: CaseOpened, at: datetime, position: int) -> None:
        written_at = opened.waiting_since or at
        for step in opening_steps(opened):
            self._take(step, at, position)
            if step is Step.CUSTOMER_WROTE:
                message = Waiting(message_id=opened.message_id, since=written_at, position=position)
                needed = opened.message_id not in self._needless
                self._said.customer_wrote(message, needs_reply=needed, goes_on=self._course.status in ACTIVE)
            elif step is Step.PERSON_REPLIED:
                reply = self._reply(written_at, position, opened.staff_id)
                self._said.person_replied(reply, is_live=opened.answered_live, is_later=False, opens=True)

    def _customer_wrote(self, event: CustomerMessageReceived, at: datetime, position: int) -> None:
        self._take(Step.CUSTOMER_WROTE, at, position)
        self._said.customer_wrote(
            Waiting(message_id=event.message_id, since=at, position=position),
            needs_reply=event.message_id not in self._needless,
            goes_on=self._course.status in ACTIVE,
        )
        if event.answered_live:
            self._take(Step.PERSON_REPLIED, at, position)
            reply = self._reply(at, position, event.staff_id)
            self._said.person_replied(reply, is_live=True, is_later=at >= self._opened_at)

    def _reply(self, at: datetime, position: int, staff_id: StaffId | None) -> Reply:
        return Reply(at=at, position=position, staff_id=staff_id, team_id=self._profiles[-1].team_id)

    def _close(self, by: Performer, at: datetime, position: int) -> None:
        was_active = self._course.status in ACTIVE
        if self._take(Step.CLOSE, at, position):
            self._closed = (at, by)
            if was_active:
                self._resolutions.append(Resolution(at=at, position=position, by=by, resolution_code=None))

    def _merge(self, into_id: CaseId, at: datetime, position: int) -> None:
        left = self._said.left(self._holds(at))
        was_active = self._course.status in ACTIVE
        if self._take(Step.MERGE, at, position):
            self._merged_into = (into_id, at, position)
            self.left = left if was_active else Left(awaits_reply=left.awaits_reply)

    def _holds(self, at: datetime) -> tuple[Span, ...]:
        intervals = (*self._intervals, self._interval(self._course.status, at))
        held = (one for one in intervals if one.status is CaseStatus.ON_HOLD)
        return tuple(Span(started_at=one.started_at, ended_at=one.ended_at) for one in held)

    def _take_over(self, left: Left, at: datetime, position: int) -> None:
        """Another case goes on here; if its customer waits for us, we do not wait for the customer."""
        self._said.take_over(left, at, goes_on=self._course.status in ACTIVE)
        if left.awaits_reply and self._course.status is CaseStatus.WAITING_ON_CUSTOMER:
            self._take(Step.RESUME, at, position)

    def _answer(self, event: SatisfactionRecorded | SatisfactionAmended, at: datetime, position: int) -> None:
        answer = SatisfactionAnswer(
            at=at,
            position=position,
            invitation=event.invitation,
            scale=event.scale,
            score=event.score,
            amends=isinstance(event, SatisfactionAmended),
        )
        self._answers.append(answer)

    def _take(self, step: Step, at: datetime, position: int, reopen_until: datetime | None = None) -> bool:
        """Take a step; whether it led to another state. What is from before the opening counts from the opening on."""
        before = self._course.status
        if not self._course.take(step, at, reopen_until):
            return False
        self._move(before, step, max(at, self._since), position)
        return True

    def _move(self, before: CaseStatus, step: Step, at: datetime, position: int) -> None:
        after = self._course.status
        if at > self._since:
            self._intervals.append(self._interval(before, at))
        self._since, self._since_position = at, position
        if before is CaseStatus.WAITING_ON_CUSTOMER:
            self._said.end_pause(at)
        if after is CaseStatus.WAITING_ON_CUSTOMER:
            self._said.begin_pause(at)
        if after not in ACTIVE:
            if before in ACTIVE:
                self._ended_at, self._ended_as = at, after
                self._said.end(at, position, _LEFT_OPEN[after])
        elif before not in ACTIVE:
            self._ended_at, self._closed = None, (None, None)
            resolution = self._resolutions[-1]
            self._resolutions[-1] = replace(resolution, reopened_at=at, reopened_by=position)
            of_bot = resolution.by is Performer.AUTOMATION
            self._said.go_on(at, position, for_a_person=of_bot and step is Step.CUSTOMER_WROTE)

    def _interval(self, status: CaseStatus, ended_at: datetime | None) -> StatusInterval:
        return StatusInterval(status=status, started_at=self._since, ended_at=ended_at, position=self._since_position)


def _late_recorded(entries: Sequence[CaseEntry]) -> int:
    """How many messages were recorded after something later; the entries are in the order of their valid time."""
    late, lowest = 0, None
    for entry in reversed(entries):
        if isinstance(entry.event, Happened):
            if lowest is None or entry.position < lowest:
                lowest = entry.position
            elif isinstance(entry.event, Message):
                late += 1
    return late
