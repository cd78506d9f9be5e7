"""A tenant: what is chosen once, and the secret that keys its hashes."""

import hmac
from dataclasses import dataclass
from uuid import UUID, uuid4

import psycopg

from application.aggregates import Claim
from infrastructure.encryption import FollowedKeys, KeyEncryptionKeyMissing, KeyFile, new_key

HASH_KEY_OWNER = b"rapport-hash-key"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant: its schema, what never changes about it, and its keys."""

    schema: str
    id: UUID
    reporting_currency: str
    time_zone: str
    key_encryption_keys: FollowedKeys
    hash_key: bytes

    @property
    def read_schema(self) -> str:
        """The schema of its read models."""
        return f"{self.schema}_read"

    def digest(self, request: bytes) -> bytes:
        """Keyed hash of a request."""
        return hmac.digest(self.hash_key, b"request\0" + request, "sha256")

    def hash(self, kind: str, value: str) -> bytes:
        """Keyed hash of a value of one kind: equal values are found, and no dictionary reveals them."""
        return hmac.digest(self.hash_key, f"{kind}\0{value}".encode(), "sha256")

    def claim_value(self, claim: Claim) -> bytes:
        """What stands in the table of claims."""
        return self.hash(f"claim:{claim.kind}", claim.value)


def found_tenant(
    operator: psycopg.Connection, schema: str, keys: KeyFile, *, reporting_currency: str, time_zone: str
) -> Tenant:
    """Make the tenant at the first start, or load it. Raises `KeyEncryptionKeyMissing`.

    Of two that start at once one makes it, and both use that one; currency and time zone stay as they were first said.
    """
    if operator.execute(f'SELECT 1 FROM "{schema}".tenant').fetchone() is None:
        wrapping = keys.load() if keys.exists() else keys.create()
        tenant_id = uuid4()
        operator.execute(
            f'INSERT INTO "{schema}".tenant (tenant_id, reporting_currency, time_zone, wrapped_hash_key) '
            "VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (tenant_id, reporting_currency, time_zone, wrapping.wrap(new_key(), HASH_KEY_OWNER)),
        )
        operator.commit()
    return load_tenant(operator, schema, keys)


def load_tenant(connection: psycopg.Connection, schema: str, keys: KeyFile) -> Tenant:
    """The tenant as it was made. Raises `KeyEncryptionKeyMissing` when its keys do not open."""
    row = connection.execute(
        f'SELECT tenant_id, reporting_currency, time_zone, wrapped_hash_key FROM "{schema}".tenant'
    ).fetchone()
    if row is None:
        raise KeyEncryptionKeyMissing
    tenant_id, reporting_currency, time_zone, wrapped = row
    wrapping = keys.follow()
    return Tenant(
        schema=schema,
        id=tenant_id,
        reporting_currency=reporting_currency,
        time_zone=time_zone,
        key_encryption_keys=wrapping,
        hash_key=wrapping.unwrap(wrapped, HASH_KEY_OWNER),
    )
