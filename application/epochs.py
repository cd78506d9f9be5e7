"""Epochs of the log: within one, a position means the same event for ever.

Where a log is restored, what is appended next may be something else than what stood at those positions before. So a
restore begins an epoch after the last position that is the same in both; a reader that remembers the epoch of its
position can be told whether it may go on.

**Rules**
* An epoch ends before the smallest first position of all later ones; the last one has no end.
* Up to the end of an epoch, the log has the same events as whoever read them in that epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch."""

    id: UUID
    first_position: int
    begun_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class EpochHistory:
    """All epochs of a log, in the order in which they were begun; there is always one."""

    epochs: Sequence[Epoch]

    @property
    def current(self) -> UUID:
        """The one that goes on."""
        return self.epochs[-1].id

    def last_position(self, epoch: UUID) -> int | None:
        """The last position of an epoch: None if it goes on, 0 if the log does not know it, so nothing is the same."""
        for place, each in enumerate(self.epochs):
            if each.id == epoch:
                later = [other.first_position for other in self.epochs[place + 1 :]]
                return min(later) - 1 if later else None
        return 0

    def holds(self, epoch: UUID, position: int) -> bool:
        """Whether what was read up to this position in an epoch is what the log has."""
        last = self.last_position(epoch)
        return last is None or position <= last
