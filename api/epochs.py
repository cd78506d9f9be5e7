"""The epochs of the log, as every answer names the current one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final
from uuid import UUID

from api.log_reading import ReadsLog, wrong_parameter
from application.epochs import EpochHistory
from application.ports import LogUnavailable

REFRESH_SECONDS: Final = 1.0
"""How soon a running process knows of an epoch that was begun beside it."""
NO_VERSION: Final = -1
"""What a version of another epoch is expected as: no stream has it."""
HEADER: Final = b"rapport-epoch"


class Epochs:
    """What a process knows of the epochs."""

    def __init__(self, log: ReadsLog) -> None:
        self._log = log
        self._history: EpochHistory | None = None

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Know the epochs while the service runs."""
        with suppress(LogUnavailable):
            await self.load()
        following = asyncio.create_task(self._follow(), name="epochs")
        try:
            yield
        finally:
            following.cancel()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            with suppress(LogUnavailable):  # who needs it asks for itself
                await self.load()

    async def load(self) -> EpochHistory:
        """The epochs as they are now. Raises `LogUnavailable`."""
        self._history = await self._log.epochs()
        return self._history

    @property
    def known(self) -> UUID | None:
        """The current epoch; None until the log was reached for the first time."""
        return None if self._history is None else self._history.current

    async def current(self) -> UUID:
        """The current epoch. Raises `LogUnavailable`."""
        history = self._history or await self.load()
        return history.current

    def header(self) -> tuple[tuple[bytes, bytes], ...]:
        """What every answer says, as soon as it is known."""
        return () if self.known is None else ((HEADER, str(self.known).encode()),)

    def expected(self, version: int | None, epoch: UUID | None) -> int | None:
        """The version that a sender expects, who may name the epoch in which it is one."""
        return version if epoch is None or epoch == self.known else NO_VERSION

    async def check_cursor(self, epoch: str, position: int) -> None:
        """Raise a `Problem` if the answer whose next page a cursor wants is not that of this log any more."""
        try:
            holds = (await self.load()).holds(UUID(epoch), position)
        except ValueError:
            raise wrong_parameter(parameter="cursor", detail="it is not one that an answer gave") from None
        if not holds:
            raise wrong_parameter(parameter="cursor", detail="it is of an epoch of the log that has ended: ask again")


def tag(version: int, epoch: UUID) -> str:
    """The ETag of a version."""
    return f'"{version}-{epoch}"'
