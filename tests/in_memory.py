"""The log in memory: what the log in Postgres promises, without Postgres; one suite of tests holds both to it.

Bodies are encoded and personal values encrypted as they are in Postgres. Everything that uses the same log object works
on the same log, as several processes do on one database.
"""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from application.aggregates import Claim
from application.commands import AGGREGATES
from application.epochs import Epoch, EpochHistory
from application.ports import (
    Appended,
    CommandKey,
    Conflicts,
    Decision,
    KnownCommand,
    LogUnavailable,
    RecordedEvent,
    Stream,
)
from application.submissions import EventIsTooLarge, SubjectIsErased
from domain.errors import Refusal
from infrastructure.codec import BodyTooLarge, Codec, Key, erase_all, split_reference, subject_reference, text_reference
from infrastructure.encryption import new_key
from infrastructure.event_store import MomentIsNotOver
from infrastructure.event_types import EVENT_TYPES
from infrastructure.ids import new_id
from infrastructure.records import recorded_now

TENANT = UUID("01900000-0000-7000-8000-0000000000e0")
FIRST_EPOCH = UUID("5f0c2c36-1d5b-4b6e-9d27-3a4f00000001")


class InMemoryLog:
    """An `application.ports.EventLog`, and what readers of the log ask for. `is_reachable` can be switched off."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.codec = Codec(EVENT_TYPES, TENANT)
        self.is_reachable = True
        self.is_alone = False
        """Whether a writer has asked the others to wait."""
        self.recorded: list[RecordedEvent] = []
        self.clock = clock
        self.all_epochs = [Epoch(FIRST_EPOCH, 1, datetime(2026, 1, 1, tzinfo=UTC), "the log was begun")]
        self._told_until = datetime.min.replace(tzinfo=UTC)
        """The latest moment of which was told what was known."""
        self._commands: dict[CommandKey, KnownCommand] = {}
        self._claims: dict[Claim, tuple[UUID, UUID | None]] = {}
        self._subject_keys: dict[UUID, bytes | None] = {}
        self._text_keys: dict[UUID, tuple[UUID, bytes | None]] = {}

    def digest(self, request: bytes) -> bytes:
        """See `EventLog.digest`."""
        return hashlib.sha256(request).digest()

    # Reading

    async def load(self, streams: Iterable[UUID]) -> Mapping[UUID, Stream]:
        """See `EventLog.load`."""
        self._reach()
        folded = {stream: Stream(0, None) for stream in streams}
        for each in self.recorded:
            if each.stream_id in folded:
                aggregate = AGGREGATES[each.type.partition(".")[0]]
                event = self._decoded(each, erase_all)
                folded[each.stream_id] = Stream(each.version, aggregate.evolve(folded[each.stream_id].state, event))
        return folded

    async def versions(self, streams: Iterable[UUID]) -> Mapping[UUID, int]:
        """See `EventLog.versions`."""
        self._reach()
        versions = self._versions()
        return {stream: versions[stream] for stream in streams}

    async def holders(self, claims: Iterable[Claim]) -> Mapping[Claim, UUID]:
        """See `EventLog.holders`."""
        self._reach()
        return {claim: self._claims[claim][0] for claim in claims if claim in self._claims}

    async def known(self, keys: Iterable[CommandKey]) -> Mapping[CommandKey, KnownCommand]:
        """See `EventLog.known`."""
        self._reach()
        return {key: self._commands[key] for key in keys if key in self._commands}

    async def events(self, first_position: int, last_position: int) -> Sequence[RecordedEvent]:
        """See `EventLog.events`."""
        return self._listed(lambda each: first_position <= each.position <= last_position)

    async def events_at(self, positions: Sequence[int]) -> Sequence[RecordedEvent]:
        """The events at these positions, in the order of the log."""
        return self._listed(lambda each: each.position in positions)

    async def stream(self, stream: UUID, after_version: int, limit: int) -> Sequence[RecordedEvent]:
        """One stream, from the version after this one."""
        return self._listed(lambda each: each.stream_id == stream and each.version > after_version)[:limit]

    async def history(
        self, customer: UUID, after: int, limit: int, at_position: int | None = None
    ) -> Sequence[RecordedEvent]:
        """One customer's history over all streams, from the position after this one."""
        end = len(self.recorded) if at_position is None else at_position
        return self._listed(lambda each: each.customer_id == customer and after < each.position <= end)[:limit]

    async def feed(self, after: int, limit: int, types: Sequence[str] = ()) -> tuple[Sequence[RecordedEvent], int]:
        """A page of the log and the position to go on after, which moves on over events of other types too."""
        end = max(after, min(len(self.recorded), after + limit))
        return self._listed(lambda each: after < each.position <= end and (not types or each.type in types)), end

    async def head(self) -> int:
        """The last position; 0 while the log is empty."""
        self._reach()
        return len(self.recorded)

    async def epochs(self) -> EpochHistory:
        """See `ReadsLog.epochs`."""
        self._reach()
        return EpochHistory(self.all_epochs)

    def begin_epoch(self, after: int) -> UUID:
        """Begin one, as a restore does."""
        epoch = Epoch(new_id(), after + 1, self.clock(), "restored")
        self.all_epochs = [*self.all_epochs, epoch]
        return epoch.id

    async def position_at(self, moment: datetime) -> int:
        """The last position that was recorded at or before a moment. Raises `MomentIsNotOver`."""
        self._reach()
        if not self.recorded or self.recorded[-1].recorded_at <= moment:
            if moment >= self.clock() and moment > self._told_until:
                raise MomentIsNotOver(pointer="/known_at")
            self._told_until = max(moment, self._told_until)
        return sum(each.recorded_at <= moment for each in self.recorded)

    def _listed(self, wanted: Callable[[RecordedEvent], bool]) -> list[RecordedEvent]:
        self._reach()
        return [replace(each, event=self._decoded(each, self._find_key)) for each in self.recorded if wanted(each)]

    def _decoded(self, each: RecordedEvent, find_key: Callable[[str], bytes | None]) -> Any:
        place = self.codec.place(each.stream_id, each.version)
        return self.codec.decode(each.type, each.schema_version, each.body, place, find_key)

    def _find_key(self, reference: str) -> bytes | None:
        is_subject, key_id = split_reference(reference)
        return self._subject_keys[key_id] if is_subject else self._text_keys[key_id][1]

    def _versions(self) -> Counter[UUID]:
        return Counter(each.stream_id for each in self.recorded)

    def _reach(self) -> None:
        if not self.is_reachable:
            raise LogUnavailable

    # Appending

    def preview(self, decision: Decision) -> tuple[RecordedEvent, ...]:
        """See `EventLog.preview`."""
        return recorded_now(self.codec, decision, decision.metadata.received_at)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """See `EventLog.alone`. Here nobody has to wait; it is only noted."""
        self.is_alone = True
        try:
            yield
        finally:
            self.is_alone = False

    async def append(self, batch: Sequence[Decision]) -> Appended | Conflicts:
        """See `EventLog.append`."""
        self._reach()
        made: dict[UUID, Key] = {}
        texts: dict[UUID, tuple[UUID, bytes | None]] = {}
        refused: dict[int, Refusal] = {}
        bodies: list[list[bytes]] = []
        for i, decision in enumerate(batch):
            try:
                bodies.append(self._encoded(decision, made, texts))
            except SubjectIsErased as refusal:
                refused[i] = refusal
            except BodyTooLarge:
                refused[i] = EventIsTooLarge()
        known = frozenset(decision.key for decision in batch if decision.key in self._commands)
        stale, moved = frozenset(self._stale(batch)), frozenset(self._moved(batch))
        if refused:
            keys = {batch[i].key for i in refused}
            read = {stream for i in refused for stream in batch[i].reads}
            followed = {claim for i in refused for claim in batch[i].followed}
            return Conflicts(known & keys, stale & read, moved & followed, refused=refused)
        conflicts = Conflicts(known, stale, moved, frozenset(self._taken(batch)))
        if conflicts != Conflicts():
            return conflicts
        self._subject_keys.update((subject, key.key) for subject, key in made.items())
        self._text_keys.update(texts)
        last = [each.recorded_at for each in self.recorded[-1:]]
        at = max(self.clock(), self._told_until + timedelta(microseconds=1), *last)
        base = len(self.recorded)
        return Appended(tuple(self._stored(*each, at) for each in zip(batch, bodies, strict=True)), base)

    def _encoded(
        self, decision: Decision, made: dict[UUID, Key], texts: dict[UUID, tuple[UUID, bytes | None]]
    ) -> list[bytes]:
        def subject_key(subject: UUID) -> Key:
            stored = self._subject_keys.get(subject)
            return Key(subject_reference(subject), 1, stored) if stored else made.setdefault(subject, _key_of(subject))

        def text_key(subject: UUID) -> Key:
            text, key = new_id(), new_key()
            texts[text] = subject, key
            return Key(text_reference(text), 1, key)

        bodies = []
        for new in decision.events:
            codec = self.codec.of(new.event)
            for subject, _ in codec.subjects(new.event, new.stream_id):
                if subject in self._subject_keys and self._subject_keys[subject] is None:
                    raise SubjectIsErased
            place = self.codec.place(new.stream_id, new.version)
            bodies.append(codec.encode(new.event, place, subject_key, text_key).body)
        return bodies

    def _stale(self, batch: Sequence[Decision]) -> Iterator[UUID]:
        """Streams that decisions saw at another version than the log and the decisions before them have left them."""
        versions = self._versions()
        for decision in batch:
            yield from (stream for stream, version in decision.reads.items() if versions[stream] != version)
            versions.update(new.stream_id for new in decision.events)

    def _moved(self, batch: Sequence[Decision]) -> Iterator[Claim]:
        """Claims that decisions followed elsewhere than the log and the decisions before them lead."""
        holders: dict[Claim, UUID] = {claim: stream for claim, (stream, _) in self._claims.items()}
        for decision in batch:
            yield from (claim for claim, stream in decision.followed.items() if holders.get(claim) != stream)
            for claim in decision.released:
                holders.pop(claim, None)
            holders.update((new.claim, new.stream_id) for new in decision.claims)

    def _taken(self, batch: Sequence[Decision]) -> Iterator[Claim]:
        released = {(claim, decision.target_id) for decision in batch for claim in decision.released}
        for decision in batch:
            for new in decision.claims:
                held = self._claims.get(new.claim)
                if held is not None and (new.claim, held[0]) not in released:
                    yield new.claim

    def _stored(self, decision: Decision, bodies: Sequence[bytes], at: datetime) -> tuple[RecordedEvent, ...]:
        events = recorded_now(self.codec, decision, at, len(self.recorded), bodies)
        self.recorded.extend(events)
        last = len(self.recorded)
        self._commands[decision.key] = KnownCommand(
            digest=decision.digest,
            command_id=decision.metadata.command_id,
            target_id=decision.target_id,
            first_position=last - len(events) + 1,
            last_position=last,
            target_version=self._versions()[decision.target_id],
            credential_id=decision.credential_id,
        )
        for claim in decision.released:
            if claim in self._claims and self._claims[claim][0] == decision.target_id:
                del self._claims[claim]
        self._claims.update((new.claim, (new.stream_id, new.subject)) for new in decision.claims)
        return events

    # Erasing

    def destroy_subject(self, subject: UUID) -> None:
        """Destroy the key of a subject and of all texts about it; its claims go."""
        self._subject_keys[subject] = None
        self._text_keys.update(
            (text, (owner, None)) for text, (owner, _) in self._text_keys.items() if owner == subject
        )
        self._claims = {claim: held for claim, held in self._claims.items() if held[1] != subject}

    def destroy_text(self, text: UUID) -> None:
        """Destroy the key of one free text."""
        self._text_keys[text] = self._text_keys[text][0], None


def _key_of(subject: UUID) -> Key:
    return Key(subject_reference(subject), 1, new_key())
