"""A log in memory that tells what was asked of it, and lets things happen in between."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from uuid import UUID

from application.ports import Appended, Conflicts, Decision, RecordedEvent, Stream
from tests.in_memory import InMemoryLog

Happening = Callable[[], Awaitable[object]]


class WatchedLog(InMemoryLog):
    """Notes the size of each append; at the methods named by `before` something else may happen first."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        """How many commands each append held."""
        self._happenings: defaultdict[str, list[Happening]] = defaultdict(list)

    def before(self, method: str, *happenings: Happening) -> None:
        """Let these happen just before the next calls of a method, one each: somebody else is faster, or it fails."""
        self._happenings[method].extend(happenings)

    async def _happen(self, method: str) -> None:
        if self._happenings[method]:
            await self._happenings[method].pop(0)()

    async def append(self, batch: Sequence[Decision]) -> Appended | Conflicts:
        self.batches.append(len(batch))
        await self._happen("append")
        return await super().append(batch)

    async def load(self, streams: Iterable[UUID]) -> Mapping[UUID, Stream]:
        await self._happen("load")
        return await super().load(streams)

    async def versions(self, streams: Iterable[UUID]) -> Mapping[UUID, int]:
        await self._happen("versions")
        return await super().versions(streams)


def names(events: Iterable[RecordedEvent]) -> list[str]:
    """The stored names of events, in their order."""
    return [each.type for each in events]
