"""Keys: good at once, revoked within two seconds, and asked for no more often than that needs."""

import asyncio
import hashlib
from collections.abc import Mapping
from uuid import UUID

import pytest

from application.commands import Role
from application.keys import (
    ACTOR_KINDS,
    AGE_SECONDS_MAX,
    PAUSE_SECONDS,
    USE_SECONDS,
    CredentialUses,
    KeyRing,
    Principal,
    fingerprint,
    new_secret,
)
from application.ports import LogUnavailable
from tests.asynchronous import asynchronous
from tests.credentials import GivenCredentials

SHOP = Principal(UUID(int=1), Role.SERVICE, UUID(int=2))
SHOPS_KEY = fingerprint(b"rapport_shop")
NOBODYS_KEY = fingerprint(b"rapport_nobody")


class Cabinet:
    """Where the keys are; it counts how often it is opened."""

    def __init__(self) -> None:
        self.keys = {SHOPS_KEY: SHOP}
        self.opened = 0
        self.is_locked = False
        self.seconds = 100.0
        self.ring = KeyRing(GivenCredentials(self.open), clock=lambda: self.seconds, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.seconds += seconds

    async def open(self) -> Mapping[bytes, Principal]:
        self.opened += 1
        await asyncio.sleep(0)
        if self.is_locked:
            raise LogUnavailable
        return dict(self.keys)


def test_a_secret_is_long_and_never_the_same_and_only_its_hash_is_kept() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    assert all(secret.startswith("rapport_") and len(secret) == 51 for secret in secrets)
    assert fingerprint(b"rapport_shop") == hashlib.sha256(b"rapport_shop").digest()


def test_every_role_acts_as_something() -> None:
    assert set(ACTOR_KINDS) == set(Role)
    assert SHOP.actor == "key:00000000-0000-0000-0000-000000000001"


@asynchronous
async def test_a_known_key_is_found_without_asking_again() -> None:
    cabinet = Cabinet()
    assert await cabinet.ring.find(SHOPS_KEY) == SHOP
    cabinet.seconds += AGE_SECONDS_MAX / 2
    assert cabinet.ring.known(SHOPS_KEY) == SHOP
    assert cabinet.opened == 1


@asynchronous
async def test_a_revoked_key_is_good_for_two_seconds_at_most() -> None:
    cabinet = Cabinet()
    await cabinet.ring.find(SHOPS_KEY)
    cabinet.keys.clear()
    cabinet.seconds += AGE_SECONDS_MAX
    assert cabinet.ring.known(SHOPS_KEY) == SHOP
    cabinet.seconds += 0.01
    assert cabinet.ring.known(SHOPS_KEY) is None
    assert await cabinet.ring.find(SHOPS_KEY) is None


@pytest.mark.parametrize("later_seconds", [0.001, PAUSE_SECONDS / 2, AGE_SECONDS_MAX])
@asynchronous
async def test_a_key_made_just_now_is_good_at_once(later_seconds: float) -> None:
    cabinet = Cabinet()
    await cabinet.ring.find(SHOPS_KEY)
    cabinet.keys[NOBODYS_KEY] = SHOP
    cabinet.seconds += later_seconds
    assert await cabinet.ring.find(NOBODYS_KEY) == SHOP


@asynchronous
async def test_a_key_made_while_the_cabinet_is_open_is_found_when_it_is_opened_again() -> None:
    cabinet = Cabinet()
    first = asyncio.create_task(cabinet.ring.find(SHOPS_KEY))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert cabinet.opened == 1
    assert not first.done()
    cabinet.seconds += 0.001
    second = asyncio.create_task(cabinet.ring.find(NOBODYS_KEY))
    assert await first == SHOP
    cabinet.keys[NOBODYS_KEY] = SHOP
    assert await second == SHOP


@asynchronous
async def test_guessed_keys_do_not_each_open_the_cabinet() -> None:
    cabinet = Cabinet()
    for _ in range(4):
        guesses = (cabinet.ring.find(fingerprint(b"%d" % i)) for i in range(100))
        assert await asyncio.gather(*guesses) == [None] * 100
        cabinet.seconds += 0.001
    assert cabinet.opened == 4
    assert cabinet.seconds >= 100 + 3 * PAUSE_SECONDS


@asynchronous
async def test_the_memory_is_renewed_before_it_is_too_old() -> None:
    cabinet = Cabinet()
    await cabinet.ring.find(SHOPS_KEY)
    cabinet.seconds += AGE_SECONDS_MAX * 0.75
    assert cabinet.ring.known(SHOPS_KEY) == SHOP
    await asyncio.sleep(0.001)
    cabinet.seconds += AGE_SECONDS_MAX * 0.75
    assert cabinet.ring.known(SHOPS_KEY) == SHOP
    assert cabinet.opened == 2


@asynchronous
async def test_without_the_log_a_key_is_known_as_long_as_the_memory_may_be_trusted() -> None:
    cabinet = Cabinet()
    await cabinet.ring.find(SHOPS_KEY)
    cabinet.is_locked = True
    cabinet.seconds += AGE_SECONDS_MAX * 0.75
    assert cabinet.ring.known(SHOPS_KEY) == SHOP
    cabinet.seconds += AGE_SECONDS_MAX
    with pytest.raises(LogUnavailable):
        await cabinet.ring.find(SHOPS_KEY)
    cabinet.is_locked = False
    assert await cabinet.ring.find(SHOPS_KEY) == SHOP


@asynchronous
async def test_who_does_not_wait_any_more_does_not_keep_others_from_being_answered() -> None:
    cabinet = Cabinet()
    impatient = asyncio.create_task(cabinet.ring.find(SHOPS_KEY))
    patient = asyncio.create_task(cabinet.ring.find(SHOPS_KEY))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient == SHOP
    assert cabinet.opened == 1


@asynchronous
async def test_a_cabinet_that_does_not_open_keeps_nobody_waiting_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("application.keys.LOAD_SECONDS_MAX", 0.01)

    async def never() -> Mapping[bytes, Principal]:
        await asyncio.Event().wait()
        return {}

    ring = KeyRing(GivenCredentials(never))
    with pytest.raises(LogUnavailable):
        await ring.find(SHOPS_KEY)


async def no_credentials() -> Mapping[bytes, Principal]:
    return {}


@asynchronous
async def test_the_use_of_a_credential_is_noted_once_a_minute() -> None:
    seconds, stored = 100.0, GivenCredentials(no_credentials)
    uses = CredentialUses(stored, clock=lambda: seconds)
    await uses.settled()
    for later in (0.0, USE_SECONDS - 0.001, 0.001):
        seconds += later
        uses.note(UUID(int=2))
        uses.note(UUID(int=3))
        await uses.settled()
    assert sorted(stored.used) == [UUID(int=2), UUID(int=2), UUID(int=3), UUID(int=3)]


@asynchronous
async def test_a_use_that_could_not_be_noted_fails_nothing_and_the_next_one_is() -> None:
    stored = GivenCredentials(no_credentials)
    uses = CredentialUses(stored)
    stored.is_locked = True
    uses.note(UUID(int=2))
    await uses.settled()
    stored.is_locked = False
    uses.note(UUID(int=2))
    await uses.settled()
    assert stored.used == [UUID(int=2)]
