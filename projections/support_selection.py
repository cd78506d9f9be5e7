"""What the reports on support have in common: by what cases are counted, which of them are asked about, and as of when.

All of them take `where`, `by`, `tz` and `valid_at`, and obey what the tenant has decided about the figures of people.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from domain.case_events import CaseKind, Priority
from domain.clock import time_zone_exists
from domain.customer import Channel
from projections.read_model import AgentReports, Policy, Snapshot
from projections.reports import PAGE_ROWS_MAX, Parameter, Question, Row, Word, invalid
from projections.support_tables import NOBODY, NONE
from projections.windows import Window

COLUMNS: Final[Mapping[str, str]] = {
    "kind": "kind",
    "channel": "channel",
    "priority": "priority",
    "category": "category",
    "product": "product_id",
    "team": "team_id",
    "owner": "staff_id",
    "customer": "customer_id",
}
"""By what cases can be counted, and its column."""
_IDS: Final = frozenset({"product", "team", "owner", "customer"})
_NO_VALUE: Final[Mapping[str, tuple[object, str]]] = {
    "category": (NONE, "no_category"),
    "product": (NOBODY, "no_product"),
    "team": (NOBODY, "no_team"),
    "owner": (NOBODY, "nobody"),
    "customer": (NOBODY, "no_customer"),
}
"""How it is stored that a case has none, and how that is called."""
TYPES: Final[Mapping[str, str]] = {
    "month": "date",
    "product_id": "uuid",
    "team_id": "uuid",
    "staff_id": "uuid",
    "customer_id": "uuid",
}
"""Types of the columns that are no texts."""
PEOPLE_MIN: Final = 5
"""Of fewer people no figures are told, unless the tenant has decided otherwise."""

DIMENSIONS: Final = (
    Word("kind", "What the customer wants.", values=tuple(CaseKind)),
    Word("channel", "How the case came.", values=tuple(Channel)),
    Word("priority", "Its priority at the time.", values=tuple(Priority)),
    Word("category", "How it was classified at the time."),
    Word("product", "The product that it was about at the time.", UUID),
    Word("team", "The team that it belonged to at the time.", UUID),
    Word("owner", "The person who replied, else who was assigned at the time.", UUID),
    Word("customer", "Whose case it is, whenever that was said.", UUID),
)
REASONS: Final = (
    Word("no_category", "The case was not classified at the time."),
    Word("no_product", "The case was about no product at the time."),
    Word("no_team", "The case belonged to no team at the time."),
    Word("nobody", "Nobody was assigned, or it is not known who replied."),
    Word("no_customer", "Nobody knows whose case it is."),
    Word("too_few_people", f"Fewer than {PEOPLE_MIN} people of the team stand behind the figures."),
)


def where_of(*names: str) -> Parameter:
    """The parameter that picks cases by these dimensions."""
    return Parameter(
        "where",
        f"Only cases with a value of a dimension: `priority:high`. The dimension is one of {', '.join(names)}; nothing "
        "after the colon means those without one. Several must all hold.",
        repeated=True,
    )


WHERE: Final = where_of(*COLUMNS)
TZ: Final = Parameter("tz", "IANA time zone of days and months; absent: that of the tenant.")
PAGING: Final = (
    Parameter("limit", f"How many rows, at most {PAGE_ROWS_MAX}.", most=PAGE_ROWS_MAX),
    Parameter("cursor", "What the page before gave as `next_cursor`: the next page of the same answer."),
)
PEOPLE_RULE: Final = (
    f"Figures by owner, and by team where fewer than {PEOPLE_MIN} people stand behind them, are told only where the "
    "setting agent_reports allows it."
)


EVER: Final = Window(date(1000, 1, 1), date(9998, 1, 1))
"""The days that can be asked about; windows without a beginning or an end reach so far."""


@dataclass(frozen=True, slots=True)
class LocalWindow:
    """A window of local dates of a zone."""

    days: Window
    zone: ZoneInfo
    until: datetime | None = None
    """Nothing counts from this instant on, where that is before the end of its last day."""

    def up_to(self, moment: datetime) -> "LocalWindow":
        """The same, but that it ends at a moment at the latest: what came later was not so yet."""
        return replace(self, until=moment) if moment < self.ends_at else self

    @property
    def whole_days(self) -> Window:
        """Those of its days that belong to it as a whole."""
        if self.until is None:
            return self.days
        return Window(self.days.first, max(self.days.first, self.until.astimezone(self.zone).date()))

    @property
    def rest(self) -> tuple[datetime, datetime] | None:
        """What belongs to it of the day on which it ends, if that is cut."""
        if self.until is None:
            return None
        return max(self.starts_at, self._midnight(self.whole_days.end)), self.until

    @property
    def starts_at(self) -> datetime:
        """The first instant."""
        return self._midnight(self.days.first)

    @property
    def ends_at(self) -> datetime:
        """The first instant that does not belong to it."""
        return self._midnight(self.days.end) if self.until is None else self.until

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time.min, self.zone).astimezone(UTC)


def read_window(question: Question, policy: Policy, names: tuple[str, str] = ("from", "to")) -> tuple[LocalWindow, Row]:
    """The window that a question names with these parameters, and how that is repeated."""
    first, end = (question.day(name) for name in names)
    for name, day in zip(names, (first, end), strict=True):
        if day is not None and not EVER.first <= day <= EVER.end:
            raise invalid(name=name, because="it is a day in the years 1000 to 9997")
    days = Window(first or EVER.first, end or EVER.end)
    if days.first >= days.end:
        raise invalid(name=names[1], because=f"it is a day after `{names[0]}`")
    return LocalWindow(days, read_zone(question, policy)), dict(zip(names, (first, end), strict=True))


def read_zone(question: Question, policy: Policy) -> ZoneInfo:
    """The time zone of a question."""
    name = question.one("tz") or policy.time_zone
    if not time_zone_exists(name):
        raise invalid(name="tz", because="it is the name of an IANA time zone, such as Europe/Berlin")
    return ZoneInfo(name)


def read_moment(question: Question) -> datetime:
    """The moment as of which a question is asked: it has been filled in where nobody gave one."""
    moment = question.instant("valid_at")
    if moment is None:
        raise invalid(name="valid_at", because="it is required")
    return moment.astimezone(UTC)


def read_where(
    question: Question, policy: Policy | None = None, columns: Mapping[str, str] = COLUMNS
) -> Mapping[str, object]:
    """Those columns that have to have a value; with a policy, only those about which figures may be told."""
    where: dict[str, object] = {}
    for each in question.many("where"):
        name, colon, value = each.partition(":")
        if not colon or name not in columns or columns[name] in where:
            raise invalid(name="where", because=f"it is one of {', '.join(columns)}, a colon and a value, each once")
        if policy is not None:
            _refuse_people("where", name, policy)
        where[columns[name]] = _stored(name, value)
    return where


def _stored(name: str, value: str) -> object:
    if not value and name in _NO_VALUE:
        return _NO_VALUE[name][0]
    if not value or "\0" in value:
        raise invalid(name="where", because="there is a value after the colon")
    try:
        return UUID(value) if name in _IDS else value
    except ValueError as error:
        raise invalid(name="where", because="a product, team, owner or customer is its id") from error


def read_by(question: Question, policy: Policy, more: Iterable[str] = (), most: int = 2) -> tuple[str, ...]:
    """By what the answer is divided; `more` names dimensions beside those of all cases."""
    by = question.listed("by", (*more, *COLUMNS), most)
    for name in by:
        _refuse_people("by", name, policy)
    return by


def _refuse_people(parameter: str, name: str, policy: Policy) -> None:
    """Refuse what the tenant has decided not to tell."""
    allowed = {AgentReports.OFF: (), AgentReports.TEAM_ONLY: ("team",), AgentReports.ON: ("team", "owner")}
    if name in {"team", "owner"} and name not in allowed[policy.agent_reports]:
        raise invalid(name=parameter, because=f"figures by {name} are switched off (setting agent_reports)")


def hides_small_groups(by: Iterable[str], where: Mapping[str, object], policy: Policy) -> bool:
    """Whether groups behind which too few people stand are not told."""
    about_teams = "team" in by or "team_id" in where
    return about_teams and policy.agent_reports is not AgentReports.ON


def columns_of(by: Iterable[str]) -> tuple[str, ...]:
    """The columns of dimensions; a month is computed, and called `month`."""
    return tuple(COLUMNS.get(name, name) for name in by)


def condition(where: Mapping[str, object]) -> str:
    """A condition on rows, beginning with AND; its values are `where_<column>`."""
    return "".join(f" AND {column} = %(where_{column})s" for column in where)


def values_of(where: Mapping[str, object]) -> dict[str, object]:
    """The values of `condition`."""
    return {f"where_{column}": value for column, value in where.items()}


def after_row(columns: Sequence[str], last: Sequence[str] | None) -> tuple[str, dict[str, object]]:
    """A condition on groups that come after the last row of the page before, and its values."""
    if not last or not columns:
        return "true", {}
    row = ", ".join(columns)
    beyond = ", ".join(f"%(last_{place})s::{TYPES.get(column, 'text')}" for place, column in enumerate(columns))
    return f"({row}) > ({beyond})", {f"last_{place}": value for place, value in enumerate(last)}


def shown_keys(by: Sequence[str], keys: Sequence[Any]) -> tuple[dict[str, object], dict[str, str]]:
    """The dimensions of a row as they are shown, and why some are null."""
    shown: dict[str, object] = {}
    reasons: dict[str, str] = {}
    for name, value in zip(by, keys, strict=True):
        stored, reason = _NO_VALUE.get(name, (None, ""))
        shown[name] = None if value == stored else f"{value:%Y-%m}" if isinstance(value, date) else value
        if value == stored:
            reasons[name] = reason
    return shown, reasons


async def ask_alone(snapshot: Snapshot) -> None:
    """Let one process answer: what is asked of phases is found in less time than it takes to start another one."""
    await snapshot.fetch("SELECT set_config('max_parallel_workers_per_gather', '0', true)")


def microseconds_between(since: datetime, until: datetime) -> int:
    """How long it is from one instant until another, in calendar time."""
    return (until - since) // timedelta(microseconds=1)


def repeated(question: Question, zone: ZoneInfo) -> Row:
    """What every answer repeats of its question."""
    return {"where": sorted(question.many("where")), "tz": zone.key}
