"""Ports: what the use cases need from the world, implemented by `infrastructure/` and, for tests, in memory."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from application.aggregates import Claim
from application.unit_of_work import Metadata
from domain.errors import Refusal


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One event of the log: its envelope, its decoded form and its stored bytes."""

    position: int
    """Dense, in commit order, from 1."""
    stream_id: UUID
    version: int
    """Place in its stream, from 1."""
    type: str
    """Stored name: `customer.interaction-recorded`."""
    schema_version: int
    event: Any
    """The decoded event, in the shape of today's class."""
    body: bytes
    """The stored JSON; personal values in it are ciphertext."""
    occurred_at: datetime
    recorded_at: datetime
    actor: str
    actor_kind: str
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None = None
    on_behalf_of: str | None = None
    reason: str | None = None
    source: str | None = None
    source_recorded_at: datetime | None = None
    customer_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class CommandKey:
    """What makes a command unique: who sent it, and the sender's idempotency key."""

    principal: str
    key: str


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that a decision wants to append."""

    stream_id: UUID
    version: int
    event: Any
    customer_id: UUID | None


@dataclass(frozen=True, slots=True)
class NewClaim:
    """A claim that a decision wants to take for a stream; `refusal` is the answer when another stream holds it."""

    claim: Claim
    stream_id: UUID
    refusal: Refusal
    subject: UUID | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One decided command: everything that `append` stores or checks for it."""

    key: CommandKey
    digest: bytes
    metadata: Metadata
    target_id: UUID
    events: tuple[NewEvent, ...]
    reads: Mapping[UUID, int]
    """Every stream seen and the version it had (0: there was none); written streams too."""
    followed: Mapping[Claim, UUID] = field(default_factory=dict)
    """Every claim that led to one of these streams, and to which."""
    claims: tuple[NewClaim, ...] = ()
    released: tuple[Claim, ...] = ()
    credential_id: UUID | None = None
    """With which of its credentials the principal sent the command."""


@dataclass(frozen=True, slots=True)
class Appended:
    """The whole batch is stored: the recorded events of each decision, in the order of the batch."""

    events: tuple[tuple[RecordedEvent, ...], ...]
    base: int
    """Where the log ended before the batch."""


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Nothing of the batch is stored, and these are all the reasons."""

    known: frozenset[CommandKey] = frozenset()
    """Commands that are stored already."""
    stale: frozenset[UUID] = frozenset()
    """Streams that are not at the version which the decisions saw."""
    moved: frozenset[Claim] = frozenset()
    """Claims that do not lead where the decisions followed them to."""
    taken: frozenset[Claim] = frozenset()
    """Claims that are held already."""
    refused: Mapping[int, Refusal] = field(default_factory=dict)
    """Decisions, by their place in the batch, that cannot be stored at all: an erased subject, an oversized event."""

    def concern(self, decision: Decision) -> bool:
        """Whether a decision rests on what has moved."""
        return not (self.stale.isdisjoint(decision.reads) and self.moved.isdisjoint(decision.followed))


@dataclass(frozen=True, slots=True)
class KnownCommand:
    """A stored command: its digest, the stream it was addressed to and the positions of its events.

    One that changed nothing has an empty range of them: `last_position` is where the log ended then, `first_position`
    the one after it. `target_version` is what the stream it was addressed to was at afterwards, wherever the events
    were recorded. `credential_id` is None for commands from before principals had several.
    """

    digest: bytes
    command_id: UUID
    target_id: UUID
    first_position: int
    last_position: int
    target_version: int
    credential_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream folded up to a version; `state` is None and `version` 0 when it does not exist."""

    version: int
    state: Any


class LogUnavailable(Exception):  # noqa: N818 - it is the answer that the outer layers give
    """The log cannot be reached now; nothing is lost, and the same request may be sent again."""


class EventIsUnknown(Exception):  # noqa: N818 - it is the answer that the outer layers give
    """The log holds an event of a type, or of a version of it, that this version of the program does not know."""

    def __init__(
        self, position: int, type_name: str, schema_version: int, before: Sequence[RecordedEvent] = ()
    ) -> None:
        super().__init__(f"position {position} holds {type_name}@{schema_version}, which a newer version has written")
        self.position = position
        self.type = type_name
        self.schema_version = schema_version
        self.before = before
        """What was asked for and stands before it."""


class EventLog(Protocol):
    """The log of one tenant. Every method may raise `LogUnavailable`."""

    def digest(self, request: bytes) -> bytes:
        """Keyed hash of a request: equal requests have equal digests, and no dictionary finds what was sent."""
        ...

    async def load(self, streams: Iterable[UUID]) -> Mapping[UUID, Stream]:
        """Fold these streams from the log, from their snapshots where there are any."""
        ...

    async def versions(self, streams: Iterable[UUID]) -> Mapping[UUID, int]:
        """The versions that these streams have in the log now; 0 for those that do not exist."""
        ...

    async def holders(self, claims: Iterable[Claim]) -> Mapping[Claim, UUID]:
        """The streams that hold these claims; unheld ones are absent."""
        ...

    async def known(self, keys: Iterable[CommandKey]) -> Mapping[CommandKey, KnownCommand]:
        """Those of these commands that are stored."""
        ...

    async def events(self, first_position: int, last_position: int) -> Sequence[RecordedEvent]:
        """The events at these positions, both included."""
        ...

    def preview(self, decision: Decision) -> tuple[RecordedEvent, ...]:
        """The events of a decision as they would be recorded, at position 0 and without a body."""
        ...

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Keep all other writers waiting, so that what is loaded and decided meanwhile cannot be overtaken.

        It is a courtesy of the others and not what keeps the log right: where it cannot be had, all goes on as without.
        """
        ...

    async def append(self, batch: Sequence[Decision]) -> Appended | Conflicts:
        """Store all of the batch or nothing of it. Within a batch a key, a claim and a new subject occur once."""
        ...
