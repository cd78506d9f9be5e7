"""Support for known customers: logs of cases as life writes them, and what follows from them without any table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from application.ports import RecordedEvent
from domain.business_time import Schedule
from domain.case_events import (
    ActorClass,
    AnotherCaseMerged,
    CalendarAssigned,
    CaseId,
    CaseKind,
    CaseMergedInto,
    CustomerIdentified,
    Happened,
    Message,
    MessageId,
    NoReplyNeededMarked,
    Performer,
    Priority,
    PriorityChanged,
    SatisfactionRecorded,
    SatisfactionRequested,
    SatisfactionScale,
)
from domain.case_facts import JUDGEMENTS_OF, TIMES_OF, CaseFact, CountedBy, case_facts
from domain.case_figures import Measure
from domain.case_phases import CasePhase, case_phases
from domain.case_reading import timelines
from domain.case_timeline import CaseTimeline, Reason
from domain.customer import Channel, Direction
from domain.service_calendar import CalendarDefined, CalendarId, CalendarRevised
from domain.team import TeamId
from domain.values import CustomerId, StaffId
from domain.working_hours import Interval, Week, WorkingHours
from projections.case_entries import Calendars, Entry, others
from tests.colleagues import BERLIN_OFFICE, KATHERINE, SECOND_LEVEL, SUPPORT_HOURS
from tests.complaints import (
    ACME_ASKED_LIVE,
    ACME_COMPLAINED,
    CLASSIFIED,
    CLOSED,
    FOLLOWED_UP,
    GRACE_WROTE,
    HANDED_OFF,
    HELD,
    KATHERINE_ASSIGNED,
    KATHERINE_NOTED,
    KATHERINE_REPLIED,
    MARKED_AS_SPAM,
    REOPENED,
    RESOLVED,
    RESUMED,
    ROBOT_REPLIED,
    SPLIT,
    TRANSFERRED,
    WAITING,
    WITHDRAWN,
    monday,
)
from tests.people import ACME, ADA
from tests.projections.logs import LogOf

NIGHTS = CalendarId(UUID(int=0x91))
NIGHT_SHIFT = WorkingHours(
    time_zone="America/New_York",
    weekly=Week(monday=(Interval(opens="00:00", closes="24:00"),), tuesday=(Interval(opens="22:00", closes="24:00"),)),
)
FIRST_LEVEL = TeamId(UUID("01900000-0000-7000-8000-0000000000b9"))
COLLEAGUES = tuple(StaffId(UUID(int=0x500 + number)) for number in range(7))
_DAYS = 6

_TALK = (GRACE_WROTE, replace(GRACE_WROTE, answered_live=True), KATHERINE_REPLIED, KATHERINE_REPLIED)
_STATES = (
    *(KATHERINE_ASSIGNED, TRANSFERRED, WAITING, HELD, RESUMED, REOPENED, CLOSED, KATHERINE_NOTED, ROBOT_REPLIED),
    *(RESOLVED, replace(RESOLVED, reopen_until=None), replace(RESOLVED, by=Performer.AUTOMATION, reopen_until=None)),
)
_ENDS = (WITHDRAWN, MARKED_AS_SPAM)
_REST = (
    *(CLASSIFIED, HANDED_OFF, FOLLOWED_UP, SPLIT, CustomerIdentified(customer_id=CustomerId(ADA))),
    *(CalendarAssigned(calendar_id=SUPPORT_HOURS), CalendarAssigned(calendar_id=NIGHTS)),
    *(PriorityChanged(priority=priority) for priority in Priority),
)


@dataclass
class Support:
    """A log of cases that is being written."""

    log: LogOf = field(default_factory=LogOf)
    cases: list[CaseId] = field(default_factory=list)
    messages: int = 0

    def begun(self) -> "Support":
        """With two calendars."""
        for calendar_id, hours in ((SUPPORT_HOURS, BERLIN_OFFICE), (NIGHTS, NIGHT_SHIFT)):
            self.log.append(calendar_id, CalendarDefined(calendar_number=str(calendar_id), name="Hours", hours=hours))
        return self

    def tell(self, case_id: CaseId, *events: Any) -> None:
        """Record events of a case at their own times; one without a time comes as a pair with it."""
        for each in events:
            event, at = each if isinstance(each, tuple) else (each, each.at)
            self.log.append(case_id, event, occurred_at=at)

    def revise(self, hours: WorkingHours, since: datetime, until: datetime | None = None) -> None:
        """Give the support hours another version."""
        self.log.append(SUPPORT_HOURS, CalendarRevised(hours=hours, effective_from=since, effective_to=until))

    def live(self, dice: Random, cases: int, events: int) -> "Support":
        """Open some more cases, and let so much happen to all of them, not always in the order of its time."""
        for _ in range(cases):
            self.cases.append(CaseId(UUID(int=0xCA5E00 + len(self.cases))))
            self._open(dice, self.cases[-1])
        at = monday(9)
        for _ in range(events):
            at += timedelta(minutes=dice.randrange(0, 2 * _DAYS * 24 * 60 // events))
            self.happen(dice, at - timedelta(minutes=dice.choice((0, 0, 0, 0, 5, 600))))
        return self

    def happen(self, dice: Random, at: datetime) -> None:
        """Record anything that may happen."""
        case_id, choice = dice.choice(self.cases), dice.random()
        if choice < 0.03:
            into = dice.choice([each for each in self.cases if each != case_id])
            self.tell(case_id, CaseMergedInto(at=at, into_id=into))
            self.tell(into, (AnotherCaseMerged(case_id=case_id), at))
        elif choice < 0.06:
            until = dice.choice((None, at))
            since = at - timedelta(days=dice.randrange(1, 4))
            self.revise(dice.choice((BERLIN_OFFICE, NIGHT_SHIFT, WorkingHours(time_zone="UTC"))), since, until)
        elif choice < 0.12:
            self._ask(dice, case_id, at)
        elif choice < 0.16 and self.messages:
            number = dice.randrange(1, self.messages + 1)
            self.tell(case_id, (NoReplyNeededMarked(message_id=MessageId(UUID(int=number))), at))
        else:
            kinds = dice.choices((_TALK, _STATES, _REST, _ENDS), (8, 8, 4, 1))[0]
            self._tell_at(dice, case_id, dice.choice(kinds), at)

    def _open(self, dice: Random, case_id: CaseId) -> None:
        opening = dice.choice((ACME_COMPLAINED, ACME_COMPLAINED, ACME_ASKED_LIVE))
        at = monday(9) + timedelta(minutes=dice.randrange(_DAYS * 24 * 30))
        changed: dict[str, Any] = {
            "at": at,
            "case_number": f"T-{case_id.int}",
            "kind": dice.choice(list(CaseKind)),
            "channel": dice.choice((Channel.EMAIL, Channel.CHAT)),
            "customer_id": dice.choice((ACME, None)),
            "team_id": dice.choice((SECOND_LEVEL, FIRST_LEVEL, None)),
            "calendar_id": dice.choice((SUPPORT_HOURS, NIGHTS, None)),
            "message_id": self._message(),
        }
        if dice.random() < 0.15:
            changed |= {"opened_by": ActorClass.AGENT_PUBLIC, "direction": Direction.OUTBOUND, "answered_live": False}
        self.tell(case_id, replace(opening, **changed))

    def _tell_at(self, dice: Random, case_id: CaseId, event: Any, at: datetime) -> None:
        changed: dict[str, Any] = {"at": at} if isinstance(event, Happened) else {}
        if isinstance(event, Message):
            changed["message_id"] = self._message()
        if getattr(event, "staff_id", None) is not None:
            changed["staff_id"] = dice.choice((*COLLEAGUES, KATHERINE))
        if getattr(event, "team_id", None) is not None:
            changed["team_id"] = dice.choice((FIRST_LEVEL, SECOND_LEVEL))
        if getattr(event, "reopen_until", None) is not None:
            changed["reopen_until"] = at + timedelta(days=dice.randrange(1, 4))
        self.tell(case_id, (replace(event, **changed), at))

    def _ask(self, dice: Random, case_id: CaseId, at: datetime) -> None:
        invitation = f"i-{dice.randrange(10)}"
        scale, top = dice.choice(((SatisfactionScale.CSAT, 6), (SatisfactionScale.NPS, 11), (SatisfactionScale.CES, 8)))
        asked = SatisfactionRequested(invitation=invitation, scale=scale)
        self.tell(case_id, (asked, at))
        if dice.random() < 0.7:
            answer = SatisfactionRecorded(
                invitation=invitation, scale=scale, score=dice.randrange(1, top), subject_id=case_id
            )
            self.tell(case_id, (answer, at + timedelta(hours=1)))

    def _message(self) -> MessageId:
        self.messages += 1
        return MessageId(UUID(int=self.messages))


def random_families(seed: int, cases: int = 7, events: int = 60) -> Support:
    """The same, but each case is merged once at most, and none comes back to itself, as the rules of cases want it."""
    dice, made = Random(seed), Support().begun()  # noqa: S311 - it decides what happens in a test
    made.live(dice, cases, 0)
    goes_on_in: dict[CaseId, CaseId] = {}
    at = monday(9)
    for _ in range(events):
        at += timedelta(minutes=dice.randrange(0, 2 * _DAYS * 24 * 60 // events))
        when = at - timedelta(minutes=dice.choice((0, 0, 0, 0, 0, 5, 600)))
        case_id, into = dice.choice(made.cases), dice.choice(made.cases)
        if dice.random() < 0.2 and case_id != into and not {case_id, into} & goes_on_in.keys():
            goes_on_in[case_id] = into
            made.tell(case_id, CaseMergedInto(at=when, into_id=into))
            made.tell(into, (AnotherCaseMerged(case_id=case_id), when))
        else:
            kinds = dice.choices((_TALK, _STATES, _REST, _ENDS), (12, 6, 2, 0.2))[0]
            made._tell_at(dice, case_id, dice.choice(kinds), when)  # noqa: SLF001 - it is one of its kind
    return made


def random_support(seed: int, cases: int = 5, events: int = 60) -> Support:
    """A log in which much happens; the same for the same seed."""
    return Support().begun().live(Random(seed), cases, events)  # noqa: S311 - it decides what happens in a test


@dataclass(frozen=True)
class Told:
    """What counts of one case."""

    case_id: CaseId
    timeline: CaseTimeline
    facts: set[CaseFact]
    phases: list[CasePhase]


@dataclass(frozen=True)
class Measured:
    """One time, judgement or score of a fact."""

    name: str
    at: datetime
    counted_by: CountedBy
    reason: Reason | None = None
    calendar: int | None = None
    business: int | None = None
    by_other_rules: tuple[int | None, ...] = ()
    value: int | None = None
    settled_at: datetime | None = None


def measured(told: Told) -> Iterator[Measured]:
    """Everything that the facts of a case measure, each for itself."""
    for fact in told.facts:
        common: dict[str, Any] = {"at": fact.at, "counted_by": fact.counted_by}
        for name, time in zip(TIMES_OF.get(fact.kind, ()), fact.times, strict=True):
            if time is None:
                yield Measured(name=str(name), **common, reason=fact.reason or Reason.NO_TURN)
            else:
                live = fact.reason if fact.reason is Reason.ANSWERED_LIVE else None
                took: dict[str, Any] = {"calendar": time.calendar, "business": time.business}
                yield Measured(name=str(name), **common, reason=live, **took, by_other_rules=time.by_other_rules)
        for name, verdict in zip(JUDGEMENTS_OF.get(fact.kind, ()), fact.judgements, strict=True):
            scale = "" if fact.scale is None else f"{fact.scale}_"
            judged: dict[str, Any] = {"reason": fact.reason or Reason.OUTBOUND}
            if verdict is not None:
                judged = {"value": int(verdict.value), "settled_at": verdict.settled_at}
            yield Measured(name=f"{scale}{name}", **common, **judged)
        if fact.score is not None:
            yield Measured(name=str(fact.scale), **common, value=fact.score)


def expected(log: LogOf, position: int) -> Iterator[Told]:
    """What counts of each case at a position, told from the events up to there and from nothing else."""
    entries: dict[CaseId, list[Entry]] = {}
    calendars = Calendars.of(())
    for recorded in log.recorded[:position]:
        assert isinstance(recorded, RecordedEvent)
        event = recorded.event
        if isinstance(event, CalendarDefined | CalendarRevised):
            calendars = calendars.known_with(CalendarId(recorded.stream_id), event)
        else:
            entry = Entry(event, recorded.occurred_at, recorded.position)
            entries.setdefault(CaseId(recorded.stream_id), []).append(entry)
    known: dict[CaseId, CaseTimeline] = {}
    for case_id in entries:
        if case_id not in known:
            family = _family(case_id, entries)
            known |= timelines({each: entries[each] for each in family if each in entries})
        timeline = known[case_id]
        schedules: Mapping[CalendarId, Schedule] = calendars.schedules(each for _, each in timeline.calendars)
        facts = set(case_facts(timeline, Measure(timeline, schedules)))
        yield Told(case_id, timeline, facts, case_phases(timeline))


def _family(case_id: CaseId, entries: Mapping[CaseId, list[Entry]]) -> set[CaseId]:
    linked: dict[CaseId, set[CaseId]] = {}
    for each, told in entries.items():
        for other in others(told):
            linked.setdefault(each, set()).add(other)
            linked.setdefault(other, set()).add(each)
    family, ahead = {case_id}, [case_id]
    while ahead:
        found = linked.get(ahead.pop(), set()) - family
        family |= found
        ahead += found
    return family
