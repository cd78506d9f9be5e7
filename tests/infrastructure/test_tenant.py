"""A tenant is made once, and never opens without its keys."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from application.aggregates import Claim
from infrastructure.database import Databases
from infrastructure.encryption import KeyEncryptionKeyMissing, KeyFile
from infrastructure.tenant import Tenant, found_tenant, load_tenant


def found(databases: Databases, keys: Path, currency: str = "EUR", zone: str = "UTC", schema: str = "main") -> Tenant:
    with psycopg.connect(databases.operator) as operator:
        return found_tenant(operator, schema, KeyFile(keys), reporting_currency=currency, time_zone=zone)


def test_a_tenant_stays_as_it_was_made(databases: Databases, tmp_path: Path) -> None:
    made = found(databases, tmp_path, "GBP", "Europe/London")
    again = found(databases, tmp_path, "EUR", "UTC")
    assert replace(again, key_encryption_keys=made.key_encryption_keys) == made
    assert (again.reporting_currency, again.time_zone) == ("GBP", "Europe/London")
    assert (again.schema, again.read_schema) == ("main", "main_read")
    with psycopg.connect(databases.service) as service:
        assert load_tenant(service, "main", KeyFile(tmp_path)).id == made.id


def test_two_that_start_at_once_use_the_same_tenant(databases: Databases, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tenants = list(pool.map(lambda _: found(databases, tmp_path), range(8)))
    assert len({(tenant.id, tenant.hash_key) for tenant in tenants}) == 1


def test_a_tenant_does_not_open_without_its_keys(databases: Databases, tmp_path: Path) -> None:
    found(databases, tmp_path / "here")
    for elsewhere in (tmp_path / "nowhere", tmp_path / "another"):
        if elsewhere.name == "another":
            KeyFile(elsewhere).create()
        with pytest.raises(KeyEncryptionKeyMissing):
            found(databases, elsewhere)
    assert not KeyFile(tmp_path / "nowhere").exists()


def test_there_is_no_tenant_before_it_is_made(databases: Databases, tmp_path: Path) -> None:
    with psycopg.connect(databases.service) as service, pytest.raises(KeyEncryptionKeyMissing):
        load_tenant(service, "main", KeyFile(tmp_path))


def test_keys_that_were_made_before_are_used(databases: Databases, tmp_path: Path) -> None:
    wrapped = KeyFile(tmp_path).create().wrap(b"a key", b"owner")
    assert found(databases, tmp_path).key_encryption_keys.unwrap(wrapped, b"owner") == b"a key"


def test_hashes_tell_equal_values_of_one_kind_and_of_one_tenant_alone(
    databases: Databases, make_databases: Callable[[str], Databases], tmp_path: Path
) -> None:
    tenant = found(databases, tmp_path / "main")
    branch = found(make_databases("branch"), tmp_path / "branch", schema="branch")
    number, code = Claim("customer", "C-1"), Claim("product", "C-1")
    hashes = [tenant.claim_value(number), tenant.claim_value(code), branch.claim_value(number)]
    hashes += [tenant.hash("customer", "C-1"), tenant.digest(b"customer\0C-1"), branch.digest(b"customer\0C-1")]
    assert len(set(hashes)) == len(hashes)
    assert tenant.claim_value(Claim("customer", "C-1")) == hashes[0]
    assert tenant.digest(b"customer\0C-1") == hashes[4]
    assert all(len(each) == 32 and b"C-1" not in each for each in hashes)
