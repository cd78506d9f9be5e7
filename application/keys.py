"""Keys: who may use this service, and as what.

A *principal* is who sends requests: it has a name and a role, which never change. It proves who it is by a
*credential*, of which it may have several at once. A credential is 256 random bits. It is shown once, when it is made;
what is stored is its SHA-256, which is enough, since nobody can guess 256 bits. One that is revoked stops to work
within `AGE_SECONDS_MAX`.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from application.commands import Role
from application.ports import LogUnavailable
from application.unit_of_work import ActorKind

PREFIX = "rapport_"
"""Begins every key, so that scanners find those that have strayed into repositories and logs."""
SECRET_BYTES = 32

AGE_SECONDS_MAX = 2.0
"""How old the answer to "is this key good?" may be."""
PAUSE_SECONDS = 0.25
"""How often the keys are loaded at most: requests with unknown keys wait for that together."""
LOAD_SECONDS_MAX = 6.0
"""How long a request waits for that answer; a database that does not answer must not hold requests for ever."""
USE_SECONDS = 60.0
"""How often it is noted at most that a credential was used: enough to see which ones are, and no write per request."""

ACTOR_KINDS: Mapping[Role, ActorKind] = {
    Role.SERVICE: ActorKind.SERVICE,
    Role.IMPORTER: ActorKind.IMPORT,
    Role.REPORTING: ActorKind.SERVICE,
    Role.STAFF: ActorKind.PERSON,
    Role.AUDITOR: ActorKind.PERSON,
    Role.PRIVACY: ActorKind.PERSON,
    Role.ADMIN: ActorKind.PERSON,
}
"""What events say about who acted, by the role of the principal."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request, and with which credential."""

    id: UUID
    role: Role
    credential_id: UUID
    actor: str = field(init=False)
    """The pseudonymous id in the events; also what an idempotency key belongs to."""
    actor_kind: ActorKind = field(init=False)
    """What events say about who acted."""

    def __post_init__(self) -> None:
        # Each is asked for with every request, and told once.
        object.__setattr__(self, "actor", f"key:{self.id}")
        object.__setattr__(self, "actor_kind", ACTOR_KINDS[self.role])


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential as it is listed, with whose it is; the secret itself is not known."""

    id: UUID
    principal_id: UUID
    name: str
    """Of the principal."""
    role: Role
    """Of the principal."""
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To within `USE_SECONDS`; None where it never was."""


def new_secret() -> str:
    """A new credential, to be shown once."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def fingerprint(secret: bytes) -> bytes:
    """What is stored of a credential."""
    return hashlib.sha256(secret).digest()


class Credentials(Protocol):
    """The stored credentials. Each method may raise `LogUnavailable`."""

    async def usable(self) -> Mapping[bytes, Principal]:
        """Every credential that can be used now, by fingerprint."""
        ...

    async def note_used(self, credentials: Sequence[UUID]) -> None:
        """Note that these have been used now."""
        ...


class CredentialUses:
    """Notes when each credential was last used, in the background: no request waits for it or fails because of it."""

    def __init__(self, credentials: Credentials, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._credentials = credentials
        self._clock = clock
        self._noted_at: dict[UUID, float] = {}
        self._pending: set[UUID] = set()
        self._storing: asyncio.Task[None] | None = None

    def note(self, credential: UUID) -> None:
        """It is being used."""
        now = self._clock()
        if now - self._noted_at.get(credential, float("-inf")) < USE_SECONDS:
            return
        self._noted_at[credential] = now
        self._pending.add(credential)
        if self._storing is None or self._storing.done():
            self._storing = asyncio.create_task(self._store(), name="uses of credentials")

    async def settled(self) -> None:
        """Wait until what was noted is stored."""
        if self._storing is not None:
            await self._storing

    async def _store(self) -> None:
        while self._pending:
            credentials = list(self._pending)
            self._pending.clear()
            try:
                await self._credentials.note_used(credentials)
            except LogUnavailable:
                for each in credentials:
                    self._noted_at.pop(each, None)  # the next use is noted instead


class KeyRing:
    """The usable keys, remembered for `AGE_SECONDS_MAX` at most.

    All of them are loaded at once: so a flood of guessed keys asks the database no more than four times a second. While
    the memory is young it is renewed in the background, and requests do not wait for it. Only where a key is unknown
    has the memory to be younger than the question: the key may have been made just now.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._load = credentials.usable
        self._clock = clock
        self._sleep = sleep
        self._principals: Mapping[bytes, Principal] = {}
        self._loaded_at = float("-inf")
        self._loading: asyncio.Task[None] | None = None

    def known(self, fingerprint: bytes) -> Principal | None:
        """Who has this key, if that can be told without waiting."""
        age = self._clock() - self._loaded_at
        if age > AGE_SECONDS_MAX:
            return None
        if age > AGE_SECONDS_MAX / 2:
            self._renew()
        return self._principals.get(fingerprint)

    async def find(self, fingerprint: bytes) -> Principal | None:
        """Who has this key; None if nobody does. Raises `LogUnavailable`."""
        asked_at = self._clock()
        principal = self.known(fingerprint)
        while principal is None and self._loaded_at < asked_at:
            await self._renewed()
            principal = self._principals.get(fingerprint)
        return principal

    async def _renewed(self) -> None:
        loading = self._renew()
        await asyncio.wait([loading], timeout=LOAD_SECONDS_MAX)
        if not loading.done():
            raise LogUnavailable
        await loading

    def _renew(self) -> asyncio.Task[None]:
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._reload(), name="keys")
            # A failure is told to those who wait; where nobody waits, the next request asks again.
            self._loading.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._loading

    async def _reload(self) -> None:
        early_seconds = self._loaded_at + PAUSE_SECONDS - self._clock()
        if early_seconds > 0:
            await self._sleep(early_seconds)
        asked_at = self._clock()
        self._principals = await self._load()
        self._loaded_at = asked_at
