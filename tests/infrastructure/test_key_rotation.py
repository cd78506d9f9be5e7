"""The key-encryption key is exchanged while commands come in, and whatever is killed when."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from application.ports import Appended, RecordedEvent
from domain.customer import MasterDataConfirmed
from domain.values import ERASED
from infrastructure import key_rotation
from infrastructure.codec import Codec
from infrastructure.database import LOGIN_ROLES, Databases, prepare
from infrastructure.encryption import KeyEncryptionKeyMissing, KeyEncryptionKeys, KeyFile, new_key
from infrastructure.event_store import PostgresEventLog
from infrastructure.event_types import EVENT_TYPES
from infrastructure.ids import new_id
from infrastructure.key_rotation import (
    Rotated,
    Rotation,
    RotationIsUnderWay,
    TenantIsBehind,
    unreadable_keys,
    wrapped_keys,
)
from infrastructure.log_pages import PostgresLog
from infrastructure.passwords import load_passwords
from infrastructure.settings import Settings
from infrastructure.tenant import load_tenant
from tests.asynchronous import asynchronous
from tests.infrastructure.test_event_store import decision, store
from tests.people import ACME, ACME_REGISTERED, ADA, ADA_REGISTERED, GRACE_ADDED, GRACE_CALLED
from tests.places import InPostgres

Connection = psycopg.Connection[tuple[Any, ...]]
CALLED = replace(GRACE_CALLED, contacts=())


class Killed(BaseException):
    """Stands for a program that ends at this moment."""


@pytest.fixture
def place(log_in_postgres: InPostgres) -> InPostgres:
    """An empty log; the keys of its tenant are exchanged again and again."""
    return log_in_postgres


@pytest.fixture
def own_place(databases: Databases, tmp_path: Path) -> InPostgres:
    """A log in a database of its own."""
    return InPostgres(databases, tmp_path / "keys")


@contextmanager
def rotating(place: InPostgres, **options: Any) -> Iterator[Rotation]:
    """A rotation that has not begun."""
    with psycopg.connect(place.databases.privacy, autocommit=True) as privacy:
        yield Rotation(privacy, KeyFile(place.keys), **options)


def rotate(place: InPostgres, report: Callable[[int, int], None] = lambda _done, _total: None) -> Rotated:
    """Rotate from the beginning to the end."""
    with rotating(place, report=report) as rotation:
        return rotation.run()


def wrapping(place: InPostgres) -> dict[bytes, int]:
    """How many keys are wrapped by each key-encryption key."""
    with psycopg.connect(place.databases.privacy) as privacy:
        return {each.fingerprint: each.keys for each in wrapped_keys(privacy, ["main"])}


def current(place: InPostgres) -> bytes:
    """The fingerprint of the key that wraps."""
    return KeyFile(place.keys).load().fingerprints[0]


def opened(place: InPostgres, file: KeyFile) -> int:
    """How many keys of people and texts open with a key file as it is."""
    keys, number = file.load(), 0
    with psycopg.connect(place.databases.privacy) as privacy:
        rows = privacy.execute(
            "SELECT subject_id, wrapped FROM main.subject_keys UNION ALL SELECT text_id, wrapped FROM main.text_keys"
        )
        for key_id, wrapped in rows:
            with suppress(KeyEncryptionKeyMissing):
                number += keys.unwrap(wrapped, key_id.bytes) is not None
    return number


async def people(log: PostgresEventLog) -> list[RecordedEvent]:
    """Record something about Ada, about Acme and about Grace."""
    ada = decision(ADA, 0, ADA_REGISTERED, CALLED)
    return await store(log, ada, decision(ACME, 0, ACME_REGISTERED, GRACE_ADDED))


async def readable(place: InPostgres) -> list[object]:
    """The events as a process reads them that starts now."""
    again = InPostgres(place.databases, place.keys)
    async with again.open() as log:
        return [each.event for each in await log.events(1, 99)]


# What it does


@asynchronous
async def test_everything_opens_with_the_new_key_and_nothing_with_the_old_one_alone(
    place: InPostgres, tmp_path: Path
) -> None:
    async with place.open() as log:
        stored = await people(log)
        old, before = KeyFile(place.keys).read(), wrapping(place)
        rotated = rotate(place)
        assert (rotated.went_on, rotated.tenants) == (False, ["main"])
        # Ada, Grace, the two texts about Ada, and the key of the hashes.
        assert (before, rotated.rewrapped) == ({KeyEncryptionKeys(old).fingerprints[0]: 5}, 5)
        assert wrapping(place) == {current(place): 5}
        assert (
            await readable(place) == [each.event for each in await log.events(1, 99)] == [each.event for each in stored]
        )
    forgotten = KeyFile(tmp_path)
    forgotten.write(old)
    with psycopg.connect(place.databases.service) as service, pytest.raises(KeyEncryptionKeyMissing):
        load_tenant(service, "main", forgotten)
    assert (opened(place, forgotten), opened(place, KeyFile(place.keys))) == (0, 4)


@asynchronous
async def test_no_byte_of_the_log_and_no_claim_changes(place: InPostgres) -> None:
    def content() -> list[object]:
        with psycopg.connect(place.databases.backup) as connection:
            return [
                connection.execute("SELECT * FROM main.events ORDER BY position").fetchall(),
                connection.execute("SELECT * FROM main.claims ORDER BY value").fetchall(),
                connection.execute("SELECT subject_id, revision FROM main.subject_keys ORDER BY 1").fetchall(),
            ]

    async with place.open() as log:
        await people(log)
    before = content()
    rotate(place)
    assert content() == before
    assert InPostgres(place.databases, place.keys).tenant.hash_key == place.tenant.hash_key


@asynchronous
async def test_what_was_erased_stays_erased(place: InPostgres) -> None:
    async with place.open() as log:
        await people(log)
    place.destroy_subject(ADA)
    rotate(place)
    assert wrapping(place) == {current(place): 2}
    with psycopg.connect(place.databases.privacy) as privacy:
        assert privacy.execute("SELECT subject_id FROM main.erased_subjects").fetchall() == [(ADA,)]


@asynchronous
async def test_keys_are_wrapped_anew_in_batches(place: InPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_rotation, "BATCH_KEYS_MAX", 2)
    subjects = [new_id() for _ in range(5)]
    async with place.open() as log:
        await store(log, *(decision(each, 0, ADA_REGISTERED, CALLED) for each in subjects))
    told: list[tuple[int, int]] = []
    rotate(place, lambda done, total: told.append((done, total)))
    # The key of the hashes, five people by two, and ten texts by two.
    assert [done for done, _ in told] == [0, 1, 3, 5, 6, 8, 10, 12, 14, 16]
    assert {total for _, total in told} == {16}


@asynchronous
async def test_all_tenants_of_a_database_have_the_new_key(
    own_place: InPostgres, superuser: str, settings: Settings
) -> None:
    prepare(superuser, load_passwords(settings.data, LOGIN_ROLES), settings.model_copy(update={"tenant": "branch"}))
    branch = InPostgres(own_place.databases, own_place.keys, "branch")
    async with branch.open() as log:
        stored = await people(log)
    rotated = rotate(own_place)
    assert (rotated.tenants, rotated.rewrapped) == (["branch", "main"], 6)
    async with InPostgres(own_place.databases, own_place.keys, "branch").open() as log:
        assert [each.event for each in await log.events(1, 99)] == [each.event for each in stored]


def test_a_tenant_that_could_not_be_rotated_with_the_others_stops_the_rotation(
    own_place: InPostgres, superuser: str, settings: Settings
) -> None:
    branch = settings.model_copy(update={"tenant": "branch"})
    prepare(superuser, load_passwords(settings.data, LOGIN_ROLES), branch, upto=2)
    keys = KeyFile(own_place.keys).read()
    with pytest.raises(TenantIsBehind, match="start Rapport once with RAPPORT_TENANT=branch"):
        rotate(own_place)
    assert KeyFile(own_place.keys).read() == keys


def test_two_rotations_at_once_are_one_too_many(place: InPostgres) -> None:
    def rotate_as_well(_done: int, _total: int) -> None:
        with pytest.raises(RotationIsUnderWay, match="wait until it is done"):
            rotate(place)

    rotate(place, rotate_as_well)
    assert len(KeyFile(place.keys).read()) == 1


def test_the_key_file_keeps_its_owner(place: InPostgres) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else")
    os.chown(KeyFile(place.keys).path, 4711, 4712)
    rotate(place)
    found = KeyFile(place.keys).path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (4711, 4712, 0o600)


@asynchronous
async def test_what_an_unknown_key_has_wrapped_stops_the_rotation_and_loses_nothing(place: InPostgres) -> None:
    async with place.open() as log:
        await people(log)
    file = KeyFile(place.keys)
    (lost,) = file.read()
    file.write([new_key()])
    with pytest.raises(KeyEncryptionKeyMissing):
        rotate(place)
    file.write([*file.read(), lost])
    assert rotate(place).went_on
    assert len(await readable(place)) == 4


# Processes that run meanwhile


@asynchronous
async def test_processes_that_run_read_and_write_on(place: InPostgres) -> None:
    async with place.open() as log, InPostgres(place.databases, place.keys).open() as another:
        stored = await people(log)
        assert [each.event for each in await another.events(1, 99)] == [each.event for each in stored]
        rotate(place)
        for number, writer in enumerate((log, another)):
            await store(writer, decision(new_id(), 0, ADA_REGISTERED, CALLED), decision(ADA, 2 + number, CALLED))
        for reader in (log, another):
            events = await reader.events(1, 99)
            assert [each.event for each in events] == [each.event for each in stored] + 2 * [
                ADA_REGISTERED,
                CALLED,
                CALLED,
            ]
    assert wrapping(place) == {current(place): 5 + 2 * 5}


class Held(PostgresEventLog):
    """Sends a batch, which is encoded by then, only when it is told to."""

    encoded: asyncio.Event
    let_go: asyncio.Event

    async def _send(self, arguments: Sequence[str]) -> Any:
        self.encoded.set()
        await self.let_go.wait()
        return await super()._send(arguments)


@asynccontextmanager
async def held(place: InPostgres) -> AsyncIterator[tuple[Held, "asyncio.Task[list[RecordedEvent]]"]]:
    """A process that has encoded what it knows about people, with the key as it is now, and has not sent it."""
    async with InPostgres(place.databases, place.keys).open(kind=Held) as log:
        assert isinstance(log, Held)
        log.encoded, log.let_go = asyncio.Event(), asyncio.Event()
        storing = asyncio.create_task(people(log))
        await log.encoded.wait()
        yield log, storing


@asynchronous
async def test_what_was_encoded_before_the_rotation_and_comes_after_it_is_encoded_again(place: InPostgres) -> None:
    async with held(place) as (log, storing):
        await asyncio.to_thread(rotate, place)
        log.let_go.set()
        stored = await storing
    assert wrapping(place) == {current(place): 5}
    assert await readable(place) == [each.event for each in stored]


class Overtaken(Rotation):
    """Somebody stores something after the first pass, before the old key is retired."""

    overtake: Callable[[], object]

    def _retire(self, fingerprints: Sequence[bytes]) -> None:
        self.overtake()
        super()._retire(fingerprints)


@asynchronous
async def test_what_comes_with_the_old_key_amid_the_rotation_is_wrapped_in_the_last_pass(place: InPostgres) -> None:
    loop = asyncio.get_running_loop()
    async with held(place) as (log, storing):

        async def let_go() -> list[RecordedEvent]:
            log.let_go.set()
            return await storing

        def rotate_overtaken() -> Rotated:
            with psycopg.connect(place.databases.privacy, autocommit=True) as privacy:
                rotation = Overtaken(privacy, KeyFile(place.keys))
                rotation.overtake = lambda: asyncio.run_coroutine_threadsafe(let_go(), loop).result()
                return rotation.run()

        rotated = await asyncio.to_thread(rotate_overtaken)
    assert rotated.rewrapped == 5
    assert wrapping(place) == {current(place): 5}
    assert await readable(place) == [each.event for each in storing.result()]


@asynchronous
async def test_who_cannot_see_the_new_key_stores_nothing(place: InPostgres, tmp_path: Path) -> None:
    """As on another machine, to which the key file was copied."""
    copied = tmp_path / "copied"
    KeyFile(copied).write(KeyFile(place.keys).read())
    async with InPostgres(place.databases, copied).open() as log:
        rotate(place)
        with pytest.raises(psycopg.errors.CheckViolation, match="the key-encryption key is retired"):
            await people(log)
        assert await log.head() == 0
        KeyFile(copied).write(KeyFile(place.keys).read())
        await people(log)
    assert wrapping(place) == {current(place): 5}


@asynchronous
async def test_another_check_that_fails_is_told_as_it_is(own_place: InPostgres, superuser: str) -> None:
    with psycopg.connect(superuser) as connection:
        connection.execute("ALTER TABLE main.subject_keys ADD CONSTRAINT nobody CHECK (revision > 1)")
    async with own_place.open() as log:
        with pytest.raises(psycopg.errors.CheckViolation, match="nobody"):
            await people(log)


def test_a_key_file_that_is_gone_changes_nothing_for_who_runs(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.create()
    keys = file.follow()
    file.path.unlink()
    assert keys.unwrap(keys.wrap(b"key", b"owner"), b"owner") == b"key"
    with pytest.raises(KeyEncryptionKeyMissing):
        keys.unwrap(KeyEncryptionKeys([new_key()]).wrap(b"key", b"owner"), b"owner")


@asynchronous
async def test_a_foreign_key_file_wraps_nothing_and_stops_nothing(place: InPostgres) -> None:
    """Neither while running, nor after a row of it has come in all the same."""
    file, foreign = KeyFile(place.keys), new_key()
    ours, mine = file.read(), current(place)
    async with InPostgres(place.databases, place.keys).open() as log:
        try:
            file.write([foreign])
            await people(log)
            assert not await log.prove_keys()
        finally:
            file.write(ours)
        assert await log.prove_keys()
    assert wrapping(place) == {mine: 5}


@asynchronous
async def test_a_key_that_no_key_opens_is_one_unreadable_person(own_place: InPostgres, superuser: str) -> None:
    place = own_place
    async with place.open() as log:
        await people(log)
    _plant(superuser, KeyEncryptionKeys([new_key()]).wrap(new_key(), ADA.bytes))
    again = InPostgres(place.databases, place.keys)
    with psycopg.connect(place.databases.privacy) as privacy:
        unreadable = list(unreadable_keys(privacy, "main", again.tenant.key_encryption_keys))
    assert unreadable == [("subject_keys", ADA)]
    async with again.open() as log:
        events = [each.event for each in await log.events(1, 99)]
        assert getattr(events[0], "name", None) is ERASED
        assert events[2] == ACME_REGISTERED
        assert isinstance(await log.append([decision(ACME, 2, MasterDataConfirmed())]), Appended)
    pages = PostgresLog(place.databases.projector, again.tenant, Codec(EVENT_TYPES, again.tenant.id))
    page = pages.page(0, 10, frozenset({"customer.registered"}))
    pages.close()
    assert [type(each).__name__ for each in page.events] == ["RecordedEvent"] * 2


def _plant(superuser: str, wrapped: bytes) -> None:
    with psycopg.connect(superuser) as connection:
        connection.execute("UPDATE main.subject_keys SET wrapped = %s WHERE subject_id = %s", [wrapped, ADA])


# Killed


class Mortal:
    """A connection at whose statement of this number its program is killed."""

    def __init__(self, connection: Connection, statements: int) -> None:
        self._connection = connection
        self._left = statements

    @property
    def closed(self) -> bool:
        """A program that has been killed unlocks nothing; its backend does."""
        return self._left == 0

    def execute(self, *arguments: Any) -> Any:
        """Run a statement, if it still can."""
        if self._left == 0:
            raise Killed
        self._left -= 1
        return self._connection.execute(*arguments)


def survives(place: InPostgres, statements: int) -> bool:
    """Whether a rotation is over before it is killed at this statement."""
    with psycopg.connect(place.databases.privacy, autocommit=True) as privacy:
        try:
            Rotation(cast("Connection", Mortal(privacy, statements)), KeyFile(place.keys)).run()
        except Killed:
            return False
    return True


@asynchronous
async def test_a_rotation_that_is_killed_at_any_statement_is_gone_on_with(place: InPostgres) -> None:
    async with place.open() as log:
        stored = [each.event for each in await people(log)]
    for statements in count():
        before = KeyFile(place.keys).read()
        if survives(place, statements):
            break
        assert opened(place, KeyFile(place.keys)) == 4
        was_begun = len(KeyFile(place.keys).read()) > 1
        rotated = rotate(place)
        assert (rotated.went_on, wrapping(place)) == (was_begun, {current(place): 5})
        assert KeyFile(place.keys).read() != before
        assert len(KeyFile(place.keys).read()) == 1
        assert opened(place, KeyFile(place.keys)) == 4
    assert statements > 15
    assert await readable(place) == stored


@pytest.mark.parametrize("step", ["rotate", "retire"])
@asynchronous
async def test_a_rotation_that_is_killed_while_it_writes_the_key_file_is_gone_on_with(
    place: InPostgres, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.open() as log:
        stored = [each.event for each in await people(log)]
    replace_file = Path.replace

    def die(draft: Path, target: Path) -> Path:
        if (len(draft.read_text().split()) == 1) == (step == "retire"):
            raise Killed
        return replace_file(draft, target)

    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(Killed):
        rotate(place)
    monkeypatch.undo()
    assert len(list(place.keys.iterdir())) == 2
    assert await readable(place) == stored
    rotated = rotate(place)
    assert rotated.went_on == (step == "retire")
    assert [each.name for each in place.keys.iterdir()] == ["key-encryption-keys"]
    assert wrapping(place) == {current(place): 5}
    assert await readable(place) == stored
