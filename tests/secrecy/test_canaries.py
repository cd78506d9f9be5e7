"""No personal value is found in anything that a running service has written or said beside its answers.

A value of its own goes into every personal field of every event: over HTTP with every command that carries one, and by
the codec and `append` with every event class that is registered. Then bytes are searched. The same search, after the
same happened with encryption switched off, finds all of them.
"""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from infrastructure import codec
from infrastructure.embedded_postgres import administrator_of
from infrastructure.event_store import StoreLimits
from infrastructure.server import databases_of
from infrastructure.settings import Settings
from projections import ALL
from projections.customer_card_tables import CustomerCards
from tests.altered import program
from tests.contracts import registries  # noqa: F401 - imports every aggregate, so that each stream can be loaded
from tests.infrastructure.waiting import eventually
from tests.places import InPostgres
from tests.secrecy.canaries import Aviary, all_personal_places
from tests.secrecy.gathering import (
    DATA,
    LOG_TABLES,
    READ_MODELS,
    SECRETS,
    SERVER_LOG,
    WAL,
    backup_in,
    files_of,
    see_through_everything,
    tables_of,
    write_all_down,
)
from tests.secrecy.planting import ask_for, plant_by_codec, plant_over_http, provoke
from tests.secrecy.searching import Found, search
from tests.secrecy.unencrypted import PROGRAM, as_it_is
from tests.serving import COMMAND, Serving, serving

BACKUP, PROCESS_LOGS, METRICS, PROBLEMS = "backup", "logs of the processes", "metrics", "answers that say no"
AT_REST = (DATA, WAL, BACKUP, LOG_TABLES)
"""Where everything that was recorded rests."""
PLACES = (*AT_REST, READ_MODELS, SERVER_LOG, SECRETS, PROCESS_LOGS, METRICS, PROBLEMS)
NOT_BY_COMMAND: frozenset[str] = frozenset()
"""Personal fields that no command carries; each would need its reason here."""


@dataclass
class Searched:
    """What was planted, and what was found of it."""

    over_http: Aviary = field(default_factory=Aviary)
    by_codec: Aviary = field(default_factory=lambda: Aviary(first=5_001))
    found: dict[str, list[Found]] = field(default_factory=lambda: defaultdict(list))
    size: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Bytes that were looked at."""
    shown: set[int | None] = field(default_factory=set)
    """The canaries in what is answered to somebody who may read everything."""
    snapshots: int = 0

    @property
    def planted(self) -> dict[int, str]:
        """Every canary, with the field that it was planted in."""
        return self.over_http.places | self.by_codec.places

    def look_at(self, place: str, content: bytes) -> None:
        """Search these bytes."""
        self.size[place] += len(content)
        self.found[place] += search(content)

    def numbers(self, place: str) -> set[int | None]:
        """The canaries that were found in a place."""
        return {each.number for each in self.found[place]}


def searched(program: Sequence[str]) -> Searched:
    """Let a service run with canaries in everything, and search what it leaves behind."""
    searched = Searched()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        with serving(program=program, errors=folder / "errors", log_level="debug") as service:
            _fill(searched, service)
            assert service.rapport("backup", folder / "backup", "--keys", folder / "keys").returncode == 0
            write_all_down(service.data)
            for place, content in (*files_of(service.data), *tables_of(service.data)):
                searched.look_at(place, content)
            for content in (*backup_in(folder / "backup"), *backup_in(folder / "keys")):
                searched.look_at(BACKUP, content)
            searched.look_at(METRICS, service.client("admin").get("/metrics").content)
        searched.look_at(PROCESS_LOGS, "".join(service.said).encode() + (folder / "errors").read_bytes())
    return searched


def _fill(searched: Searched, service: Serving) -> None:
    """Plant all canaries, and wait until they are everywhere."""
    eventually(lambda: _read_models_are_made(service.data))
    see_through_everything(service.data)
    client, auditor = service.client("service"), service.client("auditor")
    plant_over_http(client, searched.over_http)
    place = InPostgres(databases_of(Settings(data=service.data)), service.data / "keys")
    searched.snapshots = asyncio.run(_plant_by_codec(place, searched.by_codec))
    eventually(lambda: _read_models_are_at_the_end(service.data))
    feed = auditor.get("/v1/events", params={"limit": 1_000}).content
    searched.shown = {each.number for each in search(feed)}
    values = [*searched.over_http.values, *searched.by_codec.values]
    ask_for(service.client("staff"), values)
    for problem in (*provoke(client, values), _internal_error(client, service.data, values[0])):
        searched.look_at(PROBLEMS, problem)


async def _plant_by_codec(place: InPostgres, aviary: Aviary) -> int:
    """Plant the canaries of all classes, and have snapshots taken of all streams; how many there are."""
    async with place.open(limits=StoreLimits(snapshot_events_min=1)) as log:
        await plant_by_codec(log, aviary)
        await log.load([stream for (stream,) in await log.fetch("SELECT DISTINCT stream_id FROM {schema}.events", ())])
        ((number,),) = await log.fetch("SELECT count(*) FROM {schema}.snapshots", ())
    return int(number)


def _read_models_are_made(data: Path) -> bool:
    with psycopg.connect(administrator_of(data)) as superuser:
        rows = superuser.execute("SELECT state FROM main_read.builds").fetchall()
    return rows == [("live",)] * len(ALL)


def _read_models_are_at_the_end(data: Path) -> bool:
    with psycopg.connect(administrator_of(data)) as superuser:
        rows = superuser.execute(
            "SELECT state, position = (SELECT max(position) FROM main.events), error FROM main_read.builds"
        ).fetchall()
    assert {error for _, _, error in rows} == {None}
    return rows == [("live", True, None)] * len(ALL)


def _internal_error(client: httpx.Client, data: Path, value: str) -> bytes:
    """What is answered when the database says something that nobody expects, and quotes the row that it is about."""
    with psycopg.connect(administrator_of(data), autocommit=True) as superuser:
        superuser.execute("ALTER TABLE main.events ADD CONSTRAINT nobody CHECK (false) NOT VALID")
        body = {"staff_number": "S-2", "name": value, "department": "service"}
        response = client.post("/v1/staff", json=body, headers={"idempotency-key": "canary-error"})
        superuser.execute("ALTER TABLE main.events DROP CONSTRAINT nobody")
    assert response.status_code == 500
    return response.content


@pytest.fixture(scope="module")
def encrypted() -> Searched:
    """The product as it is."""
    return searched(COMMAND)


@pytest.fixture(scope="module")
def unencrypted() -> Searched:
    """The same without encryption: what the search must find."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(codec, "seal", as_it_is)
        patches.setattr(codec, "unseal", as_it_is)
        return searched(PROGRAM)


@pytest.fixture(scope="module")
def repeating() -> Searched:
    """A service that repeats every body that it reads, in its logs, its metrics and its problems."""
    return searched(program("repeats-bodies"))


# Canaries are in every field


def test_every_personal_field_of_every_event_has_a_canary(encrypted: Searched) -> None:
    assert set(encrypted.by_codec.places.values()) == all_personal_places()
    assert set(encrypted.over_http.places.values()) == all_personal_places() - NOT_BY_COMMAND
    assert all_personal_places() >= NOT_BY_COMMAND


def test_all_of_them_were_recorded_and_are_shown_to_whoever_may_read_them(encrypted: Searched) -> None:
    assert encrypted.shown == set(encrypted.planted)


def test_snapshots_were_taken_of_all_kinds_of_streams(encrypted: Searched) -> None:
    assert encrypted.snapshots >= 2 * len({place.partition(".")[0] for place in all_personal_places()})


# Nothing is found


@pytest.mark.parametrize("place", PLACES)
def test_no_personal_value_is_found(encrypted: Searched, place: str) -> None:
    assert encrypted.size[place] > 0
    assert encrypted.found[place] == []


@pytest.mark.parametrize("place", AT_REST)
def test_the_same_search_finds_all_of_them_where_nothing_is_encrypted(unencrypted: Searched, place: str) -> None:
    missed = unencrypted.planted.keys() - unencrypted.numbers(place)
    assert {number: unencrypted.planted[number] for number in missed} == {}


def test_the_same_search_finds_what_read_models_keep_where_nothing_is_encrypted(unencrypted: Searched) -> None:
    kept = {n for n, place in unencrypted.planted.items() if place.partition(" ")[0] in CustomerCards.events}
    assert kept <= unencrypted.numbers(READ_MODELS)


@pytest.mark.parametrize("place", [SERVER_LOG, SECRETS, PROCESS_LOGS, METRICS, PROBLEMS])
def test_not_even_without_encryption_is_anything_said_or_logged(unencrypted: Searched, place: str) -> None:
    assert unencrypted.found[place] == []


@pytest.mark.parametrize("place", [PROCESS_LOGS, METRICS, PROBLEMS])
def test_the_same_search_finds_all_that_was_sent_where_a_service_repeats_it(repeating: Searched, place: str) -> None:
    missed = repeating.over_http.places.keys() - repeating.numbers(place)
    assert {number: repeating.over_http.places[number] for number in missed} == {}
