"""Files of cases, imported through the command line into a service of their own, and what the log says then."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from domain.case_events import CaseId, CaseOpened, SupportCaseEvent
from domain.case_figures import CaseFigures, Measure, figures
from domain.case_reading import timelines
from domain.case_timeline import CaseTimeline
from domain.clock import microseconds
from infrastructure.codec import Codec, erase_all
from infrastructure.event_types import EVENT_TYPES
from infrastructure.server import databases_of
from infrastructure.settings import Settings
from tests.real_data.pages import HOW_TO
from tests.serving import COMMAND, ROOT, Serving, environment, serving

GIVE_UP_SECONDS = 3_600
"""Only ends a test that would hang; a whole file on a busy machine takes some minutes."""
STORED = (
    "SELECT position, stream_id, version, type, schema_version, body, occurred_at, source_recorded_at, reason "
    "FROM main.events WHERE type LIKE 'support-case.%' ORDER BY position"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a case, as the log holds it."""

    position: int
    stream_id: UUID
    version: int
    type: str
    schema_version: int
    body: bytes
    occurred_at: datetime
    source_recorded_at: datetime
    reason: str | None

    @property
    def event(self) -> SupportCaseEvent:
        """What happened."""
        place = _CODEC.place(self.stream_id, self.version)
        event: SupportCaseEvent = _CODEC.decode(self.type, self.schema_version, self.body, place, erase_all)
        return event

    @property
    def step(self) -> tuple[str, int, int]:
        """What happened, when, and when the source knew it."""
        return self.type, microseconds(self.occurred_at), microseconds(self.source_recorded_at)


_CODEC = Codec(EVENT_TYPES, UUID(int=0))
"""Nothing personal is in these cases, so that it does not matter whose they are."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case: its events, and what follows from them."""

    entries: Sequence[Entry]
    timeline: CaseTimeline
    figures: CaseFigures


@dataclass(frozen=True, slots=True)
class Imported:
    """A service into which one file was imported."""

    service: Serving
    mapping: Path
    key: str
    summary: dict[str, Any]

    def again(self, file: Path) -> dict[str, Any]:
        """Import another file; the summary."""
        return _imported(self.service, self.mapping, self.key, file)

    def cases(self) -> Mapping[str, Case]:
        """All cases by their number, with figures as of now."""
        now = datetime.now(UTC)
        streams: dict[UUID, list[Entry]] = defaultdict(list)
        for entry in self._entries():
            streams[entry.stream_id].append(entry)
        return dict(_case(CaseId(stream), entries, now) for stream, entries in streams.items())

    def position(self) -> int:
        """The last position of the log."""
        with self._connected() as connection:
            (position,) = connection.execute("SELECT max(position) FROM main.events").fetchone() or (0,)
        return int(position)

    def identifiers(self, *kinds: str) -> Mapping[UUID | None, str | None]:
        """The identifiers that the source has for all streams of these kinds, by our ids; nothing has none."""
        query = (
            "SELECT stream_id, convert_from(body, 'UTF8')::jsonb #>> '{external_identifiers,0,id}' "
            "FROM main.events WHERE version = 1 AND split_part(type, '.', 1) = ANY(%s)"
        )
        with self._connected() as connection:
            return {None: None, **dict(connection.execute(query, [list(kinds)]).fetchall())}

    def report(self, name: str, **parameters: str) -> list[dict[str, Any]]:
        """The rows of a report, when the read models have come to the end of the log."""
        asked = {"min_position": str(self.position()), "limit": "10000", **parameters}
        answer = self.service.client("reporting").get(f"/v1/reports/{name}", params=asked)
        assert answer.status_code == HTTPStatus.OK, answer.text
        rows: list[dict[str, Any]] = answer.json()["rows"]
        return rows

    def _entries(self) -> list[Entry]:
        with self._connected() as connection, connection.cursor(row_factory=class_row(Entry)) as cursor:
            return cursor.execute(STORED).fetchall()

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(databases_of(Settings(data=self.service.data)).service)


@contextmanager
def imported(file: Path, mapping: str) -> Iterator[Imported]:
    """A service of its own, with this file in it."""
    path = HOW_TO / mapping
    with serving() as service:
        key = service.make_key("importer")
        yield Imported(service, path, key, _imported(service, path, key, file))


def _imported(service: Serving, mapping: Path, key: str, file: Path) -> dict[str, Any]:
    done = subprocess.run(
        [*COMMAND, "import", str(file), "--mapping", str(mapping), "--json"],
        env=environment(RAPPORT_URL=service.address, RAPPORT_KEY=key),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=GIVE_UP_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def _case(case_id: CaseId, entries: Sequence[Entry], as_of: datetime) -> tuple[str, Case]:
    timeline = timelines({case_id: entries})[case_id]
    opened = entries[0].event
    assert isinstance(opened, CaseOpened)
    return opened.case_number, Case(entries, timeline, figures(timeline, Measure(timeline, {}), as_of))
