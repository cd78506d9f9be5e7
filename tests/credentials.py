"""Credentials without a database."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

from application.keys import Principal
from application.ports import LogUnavailable


class GivenCredentials:
    """Credentials that are loaded as a test says; an `application.keys.Credentials`."""

    def __init__(self, load: Callable[[], Awaitable[Mapping[bytes, Principal]]]) -> None:
        self._load = load
        self.used: list[UUID] = []
        self.is_locked = False
        """Whether uses cannot be stored."""

    async def usable(self) -> Mapping[bytes, Principal]:
        """See `Credentials.usable`."""
        return await self._load()

    async def note_used(self, credentials: Sequence[UUID]) -> None:
        """See `Credentials.note_used`."""
        if self.is_locked:
            raise LogUnavailable
        self.used.extend(credentials)
