"""What the log must look like, whatever was killed: nothing lost, nothing doubled, nothing half written.

The judgement is a function of what clients know and of what the log holds, so that tests can show that it finds each
fault.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg

from api.command_line.processes import make_projector
from api.command_line.tenants import key_file
from infrastructure.projector import Projector
from infrastructure.tenant import load_tenant
from projections import ALL
from tests.chaos.figures import Figure
from tests.chaos.requests import Acknowledged, Sent
from tests.chaos.service import ServiceUnderTest, eventually


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as far as it matters here."""

    position: int
    stream: UUID
    version: int
    command: UUID
    mark: UUID


@dataclass(frozen=True, slots=True)
class LoggedCommand:
    """A command as the log remembers it."""

    key: str
    id: UUID
    target: UUID
    first_position: int
    last_position: int


@dataclass(frozen=True, slots=True)
class LogContent:
    """The whole log."""

    events: Sequence[LoggedEvent]
    """In the order of their positions."""
    commands: Sequence[LoggedCommand]

    @property
    def by_mark(self) -> Mapping[UUID, list[LoggedEvent]]:
        """The events of each request."""
        found = defaultdict(list)
        for event in self.events:
            found[event.mark].append(event)
        return found


def read_log(url: str, of: Sequence[Sent] | None = None) -> LogContent:
    """What a log holds, all of it or that of some requests; from a connection string of a role that may read it."""
    marks = None if of is None else [request.mark for request in of]
    keys = None if of is None else [key for request in of for key in request.keys]
    with psycopg.connect(url) as connection:
        events = connection.execute(
            "SELECT position, stream_id, version, command_id, correlation_id FROM main.events "
            "WHERE %(marks)s::uuid[] IS NULL OR correlation_id = ANY(%(marks)s) ORDER BY position",
            {"marks": marks},
        ).fetchall()
        commands = connection.execute(
            "SELECT key, command_id, target_id, first_position, last_position FROM main.commands "
            "WHERE %(keys)s::text[] IS NULL OR key = ANY(%(keys)s)",
            {"keys": keys},
        ).fetchall()
    return LogContent([LoggedEvent(*row) for row in events], [LoggedCommand(*row) for row in commands])


def examine(log: LogContent, requests: Iterable[Sent]) -> list[Figure]:
    """Judge a log by what clients know. Every request must have been answered in the end."""
    known = list(requests)
    by_mark = log.by_mark
    expected = {request.mark: len(request.keys) for request in known}
    surplus = {mark: len(events) - expected.get(mark, 0) for mark, events in by_mark.items()}
    return [
        Figure("events in the log", len(log.events)),
        Figure("commands acknowledged", sum(len(request.acknowledged) for request in known)),
        Figure("acknowledged and lost", sum(_lost(log, known)), 0),
        Figure("doubled", sum(number for number in surplus.values() if number > 0), 0),
        Figure("half-written batches", half_written(log, known), 0),
        Figure("commands without all of their events", _torn_commands(log), 0),
        Figure("missing positions", _gaps(log), 0),
        Figure("streams with a gap", _stream_gaps(log), 0),
        Figure("answers that changed", sum(request.changed_answers for request in known), 0),
        Figure("commands never answered", sum(key not in r.acknowledged for r in known for key in r.keys), 0),
    ]


def half_written(log: LogContent, requests: Iterable[Sent]) -> int:
    """How many batches that are stored together or not at all are stored in part, or with something in between."""
    by_mark = log.by_mark
    return sum(
        not _is_whole(by_mark[request.mark], len(request.keys))
        for request in requests
        if request.is_atomic and request.mark in by_mark
    )


def _is_whole(events: Sequence[LoggedEvent], size: int) -> bool:
    return len(events) >= size and events[size - 1].position - events[0].position == size - 1


def _lost(log: LogContent, requests: Iterable[Sent]) -> Iterable[bool]:
    """For each acknowledged command whether the log does not say what was answered."""
    events = {event.position: event for event in log.events}
    commands = {command.key: command for command in log.commands}
    for request in requests:
        for answer in request.acknowledged.values():
            yield not _is_as_answered(answer, request.mark, events, commands)


def _is_as_answered(
    answer: Acknowledged, mark: UUID, events: Mapping[int, LoggedEvent], commands: Mapping[str, LoggedCommand]
) -> bool:
    command = commands.get(answer.key)
    if command is None or (command.target, command.first_position, command.last_position) != (
        answer.id,
        answer.first_position,
        answer.last_position,
    ):
        return False
    last = events.get(answer.last_position)
    return last == LoggedEvent(answer.last_position, answer.id, answer.version, command.id, mark)


def _torn_commands(log: LogContent) -> int:
    """Commands whose events are not exactly those at the positions that they are remembered with."""
    owners = {event.position: event.command for event in log.events}
    owned = Counter(event.command for event in log.events)
    remembered = {command.id for command in log.commands}
    torn = 0
    for command in log.commands:
        positions = range(command.first_position, command.last_position + 1)
        whole = all(owners.get(position) == command.id for position in positions)
        torn += not whole or owned[command.id] != len(positions)
    return torn + len(owned.keys() - remembered)


def _gaps(log: LogContent) -> int:
    positions = {event.position for event in log.events}
    return max(positions, default=0) - len(positions)


def _stream_gaps(log: LogContent) -> int:
    versions: dict[UUID, set[int]] = defaultdict(set)
    for event in log.events:
        versions[event.stream].add(event.version)
    return sum(found != set(range(1, len(found) + 1)) for found in versions.values())


# Read models


def examine_read_models(service: ServiceUnderTest) -> list[Figure]:
    """Compare every read model that answers with one that is made anew from the log."""
    projector = projector_of(service)
    try:
        caught_up(service)
        digests = {}
        for status in projector.status():
            if status.current:
                digests[status.build.model] = dict(projector.digest(status.build))
        rebuilt = {name: dict(projector.rebuild(name, lambda _at, _end: None)) for name in digests}
    finally:
        projector.close()
    differing = sorted(name for name, tables in digests.items() if rebuilt[name] != tables)
    return [
        Figure("read models compared with a fresh rebuild", len(digests), len({model.name for model in ALL})),
        Figure("read models that differ from it", ", ".join(differing) or 0, 0),
    ]


def caught_up(service: ServiceUnderTest) -> float:
    """Wait until every read model has come to the end of the log; how many seconds it took."""
    with psycopg.connect(service.databases.projector, autocommit=True) as connection:

        def is_at_the_end() -> bool:
            row = connection.execute(
                "SELECT coalesce(min(position), 0), (SELECT coalesce(max(position), 0) FROM main.events), "
                "count(*) FILTER (WHERE state = 'stopped') FROM main_read.builds"
            ).fetchone()
            return row is not None and row[2] == 0 and row[0] == row[1]

        return eventually("the read models are at the end of the log", is_at_the_end)


def projector_of(service: ServiceUnderTest) -> Projector:
    """One more projector on the log of a service."""
    with psycopg.connect(service.databases.projector) as connection:
        tenant = load_tenant(connection, service.settings.tenant, key_file(service.settings))
    return make_projector(service.databases, tenant)
