"""What a customer card tells of support: the cases that are open, and how satisfied the customer was."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from projections.read_model import Snapshot
from projections.support_tables import NOBODY, OPEN_PHASES

CASES_SHOWN: Final = 50
"""Open cases on a card; `waiting_now` has all of them."""
ANSWERS_SHOWN: Final = 5
"""Answers about satisfaction on a card."""


@dataclass(frozen=True, slots=True)
class CustomerSupport:
    """Open cases and answers of a customer."""

    open_case_count: int
    open_cases: tuple[Mapping[str, object], ...]
    """The one that was opened first comes first."""
    satisfaction: tuple[Mapping[str, object], ...]
    """The latest answers, the latest first."""

    def document(self) -> Mapping[str, object]:
        """Both as JSON values."""
        return {
            "open_case_count": self.open_case_count,
            "open_cases": list(self.open_cases),
            "satisfaction": list(self.satisfaction),
        }


async def customer_support(snapshot: Snapshot, customer_id: UUID, end: datetime) -> CustomerSupport:
    """The cases of a customer that were open, and the answers that were given, before an instant."""
    values = {
        "customer": customer_id,
        "position": snapshot.position,
        "as_of": end - timedelta(microseconds=1),
        "cases": CASES_SHOWN,
        "answers": ANSWERS_SHOWN,
    }
    cases = await snapshot.fetch(_OPEN, values, open_phases=OPEN_PHASES)
    answers = await snapshot.fetch(_ANSWERS, values)
    return CustomerSupport(
        open_case_count=cases[0][0] if cases else 0,
        open_cases=tuple(_open_case(*row[1:]) for row in cases),
        satisfaction=tuple(_answer(*row) for row in answers),
    )


_OPEN: Final = """
    SELECT count(*) OVER (), case_id, case_number, kind, status, priority, opened_at, opened_by, awaited,
           waiting_since, team_id, staff_id
      FROM {open_phases} JOIN {cases} cases USING (case_id)
     WHERE customer_id = %(customer)s ORDER BY opened_at, case_id LIMIT %(cases)s"""
_ANSWERS: Final = """
    SELECT scale, score, at, case_id, ended_by FROM {answers}
     WHERE customer_id = %(customer)s AND at <= %(as_of)s
       AND position <= %(position)s AND (superseded_at_position IS NULL OR superseded_at_position > %(position)s)
     ORDER BY at DESC, ended_by DESC LIMIT %(answers)s"""


def _open_case(  # noqa: PLR0913, PLR0917 - the columns of the query
    case_id: UUID,
    case_number: str,
    kind: str,
    status: str,
    priority: str,
    opened_at: datetime,
    opened_by: int,
    awaited: str,
    waiting_since: datetime | None,
    team_id: UUID,
    staff_id: UUID,
) -> Mapping[str, object]:
    return {
        "case": case_id,
        "case_number": case_number,
        "kind": kind,
        "status": status,
        "priority": priority,
        "opened_at": opened_at.astimezone(UTC),
        "position": opened_by,
        "awaited": awaited or None,
        "waiting_since": waiting_since and waiting_since.astimezone(UTC),
        "team": None if team_id == NOBODY else team_id,
        "owner": None if staff_id == NOBODY else staff_id,
    }


def _answer(scale: str, score: int, at: datetime, case_id: UUID, position: int) -> Mapping[str, Any]:
    return {"scale": scale, "score": score, "answered_at": at.astimezone(UTC), "case": case_id, "position": position}
