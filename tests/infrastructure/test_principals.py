"""Principals and credentials in Postgres: made and revoked by the operator, read by the service, stored as hashes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from application.commands import Role
from application.keys import Credential, Principal, fingerprint
from infrastructure.codec import Codec
from infrastructure.database import Databases
from infrastructure.encryption import KeyFile
from infrastructure.event_store import LogReader
from infrastructure.event_types import EVENT_TYPES
from infrastructure.migrations import migrate
from infrastructure.principals import (
    CredentialLivesTooLong,
    CredentialNotFound,
    PrincipalNameIsTaken,
    Principals,
    StoredCredentials,
)
from infrastructure.tenant import Tenant, found_tenant
from tests.asynchronous import asynchronous

NOBODY = UUID(int=0)


@pytest.fixture
def operator(databases: Databases) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the operator."""
    with psycopg.connect(databases.operator) as connection:
        yield connection


@pytest.fixture
def principals(operator: psycopg.Connection[Any]) -> Principals:
    """The principals of the tenant."""
    return Principals(operator, "main")


@pytest.fixture
def tenant(operator: psycopg.Connection[Any], tmp_path: Any) -> Tenant:
    """The tenant, found now."""
    return found_tenant(operator, "main", KeyFile(tmp_path), reporting_currency="EUR", time_zone="UTC")


async def usable(
    databases: Databases, tenant: Tenant, days_max: int | None = None, used: Credential | None = None
) -> dict[bytes, Principal]:
    """The credentials that the service would accept, after it has noted that one was used."""
    async with AsyncConnectionPool(databases.service, min_size=1, kwargs={"autocommit": True}) as pool:
        stored = StoredCredentials(LogReader(tenant, Codec(EVENT_TYPES, tenant.id), pool), days_max=days_max)
        if used is not None:
            await stored.note_used([used.id])
        return dict(await stored.usable())


@asynchronous
async def test_a_principal_may_have_several_credentials_in_force_and_stays_one(
    databases: Databases, principals: Principals, tenant: Tenant
) -> None:
    first, old = principals.create("web shop", Role.SERVICE)
    second, new = principals.add("web shop")
    third, newest = principals.add(old.principal_id)
    assert {old.principal_id, new.principal_id, newest.principal_id} == {old.principal_id}
    assert await usable(databases, tenant) == {
        fingerprint(secret.encode()): Principal(old.principal_id, Role.SERVICE, each.id)
        for secret, each in ((first, old), (second, new), (third, newest))
    }
    assert [each.id for each in principals.revoke(old.id)] == [old.id]
    assert set(await usable(databases, tenant)) == {fingerprint(second.encode()), fingerprint(third.encode())}


@asynchronous
async def test_what_was_revoked_or_has_expired_cannot_be_used(
    databases: Databases, principals: Principals, tenant: Tenant
) -> None:
    _, revoked = principals.create("old shop", Role.SERVICE)
    principals.create("guest", Role.AUDITOR, valid_for=timedelta(0))
    good, _ = principals.create("auditor", Role.AUDITOR, valid_for=timedelta(days=1))
    assert principals.revoke(revoked.id)[0].revoked_at is not None
    assert set(await usable(databases, tenant)) == {fingerprint(good.encode())}


@asynchronous
async def test_a_retired_principal_loses_all_credentials_and_its_name_is_free(
    databases: Databases, principals: Principals, tenant: Tenant
) -> None:
    _, first = principals.create("shop", Role.SERVICE)
    _, second = principals.add("shop")
    retired = principals.revoke("shop")
    assert [each.id for each in retired] == [first.id, second.id]
    assert all(each.revoked_at is not None for each in retired)
    assert await usable(databases, tenant) == {}
    for which in ("shop", first.principal_id):
        with pytest.raises(CredentialNotFound):
            principals.add(which)
    assert principals.revoke(first.principal_id) == retired
    _, another = principals.create("shop", Role.STAFF)
    assert another.principal_id != first.principal_id


def test_no_two_principals_in_force_have_one_name(principals: Principals) -> None:
    principals.create("shop", Role.SERVICE)
    with pytest.raises(PrincipalNameIsTaken):
        principals.create("shop", Role.STAFF)
    assert [(each.name, each.role) for each in principals.all()] == [("shop", Role.SERVICE)]


@asynchronous
async def test_a_setting_ends_credentials_also_those_that_were_made_before_it(
    databases: Databases,
    principals: Principals,
    tenant: Tenant,
    operator: psycopg.Connection[Any],
    superuser: str,
) -> None:
    principals.create("shop", Role.SERVICE)
    with psycopg.connect(superuser) as owner:
        owner.execute("UPDATE main.credentials SET created_at = created_at - interval '10 days'")
    assert len(await usable(databases, tenant, days_max=11)) == 1
    assert await usable(databases, tenant, days_max=10) == {}
    demanding = Principals(operator, "main", days_max=10)
    with pytest.raises(CredentialLivesTooLong):
        demanding.create("auditor", Role.AUDITOR, valid_for=timedelta(days=11))
    _, made = demanding.add("shop")
    assert made.expires_at == made.created_at + timedelta(days=10)
    _, shorter = demanding.add("shop", valid_for=timedelta(days=1))
    assert shorter.expires_at is not None
    assert shorter.expires_at < shorter.created_at + timedelta(days=2)
    assert [each.name for each in demanding.all()] == ["shop"] * 3


@asynchronous
async def test_when_a_credential_was_last_used_is_shown(
    databases: Databases, principals: Principals, tenant: Tenant
) -> None:
    _, used = principals.create("shop", Role.SERVICE)
    principals.add("shop")
    await usable(databases, tenant, used=used)
    first, second = principals.all()
    assert first.last_used_at is not None
    assert first.last_used_at > first.created_at
    assert second.last_used_at is None


def test_revoking_again_changes_nothing(principals: Principals) -> None:
    _, key = principals.create("shop", Role.SERVICE)
    assert principals.revoke(key.id) == principals.revoke(key.id)


@pytest.mark.parametrize("which", ["nobody", NOBODY])
def test_what_there_is_not_cannot_be_revoked(which: UUID | str, principals: Principals) -> None:
    with pytest.raises(CredentialNotFound):
        principals.revoke(which)


def test_no_secret_is_stored(principals: Principals, operator: psycopg.Connection[Any]) -> None:
    secret, key = principals.create("shop", Role.SERVICE)
    assert secret not in repr(key)
    rows = operator.execute("SELECT c::text FROM main.credentials c UNION ALL SELECT p::text FROM main.principals p")
    stored = [text for (text,) in rows.fetchall()]
    assert len(stored) == 2
    assert not any(secret in text or secret.encode().hex() in text for text in stored)


def test_nobody_but_the_operator_makes_or_revokes_keys(databases: Databases, principals: Principals) -> None:
    _, key = principals.create("shop", Role.SERVICE)
    for conninfo in (databases.service, databases.reader, databases.projector, databases.privacy):
        with psycopg.connect(conninfo, autocommit=True) as connection:
            stranger = Principals(connection, "main")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                stranger.create("thief", Role.ADMIN)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                stranger.add("shop")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                stranger.revoke(key.id)


def test_neither_name_nor_role_nor_owner_ever_changes(
    principals: Principals, operator: psycopg.Connection[Any]
) -> None:
    principals.create("shop", Role.SERVICE)
    for change in ("principals SET role = 'admin'", "principals SET name = 'a'", "credentials SET principal_id = id"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            operator.execute(f"UPDATE main.{change}")
        operator.rollback()


def test_what_were_keys_become_principals_with_one_credential_of_the_same_id(databases: Databases) -> None:
    before = 5
    keys = [  # in the order in which they were made, with whether they are revoked
        (UUID(int=1), "shop", False),
        (UUID(int=2), "shop", True),
        (UUID(int=3), "shop", False),
        (UUID(int=4), "shop (2)", False),
        (UUID(int=5), "shop", False),
        (UUID(int=6), "auditor", True),
    ]
    with psycopg.connect(databases.operator, autocommit=True) as operator:
        operator.execute("CREATE SCHEMA earlier AUTHORIZATION rapport_owner")
        operator.execute("CREATE SCHEMA earlier_read AUTHORIZATION rapport_projector")
        migrate(operator, "earlier", "earlier_read", upto=before)
        for key, name, is_revoked in keys:
            operator.execute(
                "INSERT INTO earlier.api_keys (id, name, role, hash, created_at, revoked_at) "
                "VALUES (%(key)s, %(name)s, 'service', %(hash)s, now() + %(place)s * interval '1 day', %(revoked)s)",
                {
                    "key": key,
                    "name": name,
                    "hash": key.bytes,
                    "place": key.int,
                    "revoked": datetime(2026, 4, 1, tzinfo=UTC) if is_revoked else None,
                },
            )
        migrate(operator, "earlier", "earlier_read")
        found = Principals(operator, "earlier").all()
    assert [each.name for each in found] == ["shop", "shop", "shop (3)", "shop (2)", "shop (4)", "auditor"]
    assert [(each.id, each.principal_id) for each in found] == [(key, key) for key, _, _ in keys]
    assert [each.revoked_at is not None for each in found] == [is_revoked for _, _, is_revoked in keys]
