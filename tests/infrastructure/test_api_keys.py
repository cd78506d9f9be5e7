"""Keys in Postgres: made and revoked by the operator, read by the service, stored as their hash only."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from application.commands import Role
from application.keys import Principal, fingerprint
from infrastructure.api_keys import ApiKeyNotFound, ApiKeys, UsableKeys
from infrastructure.codec import Codec
from infrastructure.database import Databases
from infrastructure.encryption import KeyFile
from infrastructure.event_store import LogReader
from infrastructure.event_types import EVENT_TYPES
from infrastructure.tenant import Tenant, found_tenant
from tests.asynchronous import asynchronous


@pytest.fixture
def operator(databases: Databases) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the operator."""
    with psycopg.connect(databases.operator) as connection:
        yield connection


@pytest.fixture
def keys(operator: psycopg.Connection[Any]) -> ApiKeys:
    """The keys of the tenant."""
    return ApiKeys(operator, "main")


@pytest.fixture
def tenant(operator: psycopg.Connection[Any], tmp_path: Any) -> Tenant:
    """The tenant, found now."""
    return found_tenant(operator, "main", KeyFile(tmp_path), reporting_currency="EUR", time_zone="UTC")


async def usable(databases: Databases, tenant: Tenant) -> dict[bytes, Principal]:
    """The keys that the service would accept."""
    async with AsyncConnectionPool(databases.service, min_size=1, kwargs={"autocommit": True}) as pool:
        return dict(await UsableKeys(LogReader(tenant, Codec(EVENT_TYPES, tenant.id), pool))())


@asynchronous
async def test_a_key_that_was_made_can_be_used(databases: Databases, keys: ApiKeys, tenant: Tenant) -> None:
    secret, key = keys.create("web shop", Role.SERVICE)
    assert await usable(databases, tenant) == {fingerprint(secret.encode()): Principal(key.id, Role.SERVICE)}


@asynchronous
async def test_a_key_that_was_revoked_or_has_expired_cannot(
    databases: Databases, keys: ApiKeys, tenant: Tenant
) -> None:
    _, revoked = keys.create("old shop", Role.SERVICE)
    keys.create("guest", Role.AUDITOR, valid_for=timedelta(0))
    good, _ = keys.create("auditor", Role.AUDITOR, valid_for=timedelta(days=1))
    assert keys.revoke(revoked.id).revoked_at is not None
    assert set(await usable(databases, tenant)) == {fingerprint(good.encode())}


def test_keys_are_listed_without_their_secrets(keys: ApiKeys) -> None:
    secret, key = keys.create("web shop", Role.SERVICE, valid_for=timedelta(days=30))
    (listed,) = keys.all()
    assert listed == key
    assert (listed.name, listed.role, listed.revoked_at) == ("web shop", Role.SERVICE, None)
    assert listed.expires_at is not None
    assert secret not in repr(listed)


def test_a_key_is_revoked_by_its_name_if_only_one_has_it(keys: ApiKeys) -> None:
    keys.create("shop", Role.SERVICE)
    assert keys.revoke("shop").revoked_at is not None
    keys.create("shop", Role.SERVICE)
    keys.create("shop", Role.STAFF)
    for name in ("shop", "nobody", UUID(int=0)):
        with pytest.raises(ApiKeyNotFound):
            keys.revoke(name)
    assert [key.revoked_at is None for key in keys.all()] == [False, True, True]


def test_revoking_again_changes_nothing(keys: ApiKeys) -> None:
    _, key = keys.create("shop", Role.SERVICE)
    assert keys.revoke(key.id) == keys.revoke(key.id)


def test_no_secret_is_stored(keys: ApiKeys, operator: psycopg.Connection[Any]) -> None:
    secret, _ = keys.create("shop", Role.SERVICE)
    rows = operator.execute("SELECT k::text FROM main.api_keys k").fetchall()
    assert len(rows) == 1
    assert secret not in rows[0][0]
    assert secret.encode().hex() not in rows[0][0]


def test_nobody_but_the_operator_makes_or_revokes_keys(databases: Databases, keys: ApiKeys) -> None:
    keys.create("shop", Role.SERVICE)
    for conninfo in (databases.service, databases.reader, databases.projector, databases.privacy):
        with psycopg.connect(conninfo, autocommit=True) as connection:
            stranger = ApiKeys(connection, "main")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                stranger.create("thief", Role.ADMIN)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                stranger.revoke("shop")
