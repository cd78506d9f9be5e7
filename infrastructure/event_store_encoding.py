"""Decisions as one call of `append` takes them: columns, with every personal value sealed under its subject's key."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from application.aggregates import Claim
from application.ports import Decision
from application.submissions import EventIsTooLarge, SubjectIsErased
from domain.errors import Refusal
from infrastructure.codec import BodyTooLarge, Codec, Key, subject_reference, text_reference
from infrastructure.encryption import new_key
from infrastructure.ids import new_id
from infrastructure.records import Batch
from infrastructure.tenant import Tenant


@dataclass(slots=True)
class BatchKeys:
    """The subject keys of one batch."""

    keys: dict[UUID, Key] = field(default_factory=dict)
    made: dict[UUID, bytes] = field(default_factory=dict)
    """The wrapped form of those that are stored with the batch."""
    erased: set[UUID] = field(default_factory=set)


class SubjectKeys:
    """The subject keys that this process has at hand; those not used for longest are forgotten."""

    def __init__(self, tenant: Tenant, cached_max: int) -> None:
        self._wrapping = tenant.key_encryption_keys
        self._cached_max = cached_max
        self._cached: OrderedDict[UUID, Key] = OrderedDict()

    def at_hand(self, subjects: set[UUID]) -> BatchKeys:
        """The keys of these subjects, as far as they are remembered."""
        return BatchKeys({subject: self._cached[subject] for subject in subjects if subject in self._cached})

    def add_stored(self, keys: BatchKeys, rows: Sequence[tuple[UUID, int, bytes | None]]) -> None:
        """Take in rows of `subject_keys`: id, revision and wrapped key, which is absent once it has been destroyed."""
        for subject, revision, wrapped in rows:
            if wrapped is None:
                keys.erased.add(subject)
            else:
                key = self._wrapping.unwrap(wrapped, subject.bytes)
                keys.keys[subject] = Key(subject_reference(subject), revision, key)

    def add_new(self, keys: BatchKeys, subjects: set[UUID]) -> None:
        """Make a key for each of these subjects that has none."""
        for subject in subjects - keys.keys.keys() - keys.erased:
            key = new_key()
            keys.keys[subject] = Key(subject_reference(subject), 1, key)
            keys.made[subject] = self._wrapping.wrap(key, subject.bytes)

    def remember(self, keys: BatchKeys) -> None:
        """The batch is stored, so its keys are good."""
        for subject, key in keys.keys.items():
            self._cached[subject] = key
            self._cached.move_to_end(subject)
            if len(self._cached) > self._cached_max:
                self._cached.popitem(last=False)

    def forget(self, subjects: Sequence[UUID]) -> None:
        """These keys were destroyed, or others are in force."""
        for subject in subjects:
            self._cached.pop(subject, None)


class BatchEncoder:
    """Encodes the decisions of one batch."""

    def __init__(self, tenant: Tenant, codec: Codec, batch: Sequence[Decision]) -> None:
        self._tenant = tenant
        self._codec = codec
        self._batch = batch
        self._subjects = [self._subjects_of(decision) for decision in batch]
        self._reads, self.contradictory = _reads(batch)
        """Streams that decisions saw at another version than those before them leave it are `contradictory`."""
        self.followed = _followed(batch)
        """Where claims led that those before had not moved themselves."""

    @property
    def keyed_subjects(self) -> set[UUID]:
        """The subjects whose own keys the batch needs; free texts have keys of their own."""
        return {subject for each in self._subjects for subject, is_keyed in each.items() if is_keyed}

    @property
    def new_streams(self) -> set[UUID]:
        """The streams that begin with this batch: nobody can have made a key for them."""
        return {stream for decision in self._batch for stream, version in decision.reads.items() if version == 0}

    def seen(self, places: Iterable[int]) -> tuple[Mapping[UUID, int], Mapping[Claim, UUID]]:
        """The versions and claims that these decisions rest on, as far as the batch does not bring them about."""
        seen: dict[UUID, int] = {}
        for decision in self._batch:
            for stream, version in decision.reads.items():
                seen.setdefault(stream, version)
        decisions = [self._batch[place] for place in places]
        return (
            {stream: seen[stream] for each in decisions for stream in each.reads},
            {claim: self.followed[claim] for each in decisions for claim in each.followed if claim in self.followed},
        )

    def refused(self, erased: set[UUID]) -> dict[int, Refusal]:
        """The decisions that write about subjects of whom nothing more may be recorded, by their place."""
        return {i: SubjectIsErased() for i, each in enumerate(self._subjects) if not erased.isdisjoint(each)}

    def encode(self, keys: BatchKeys) -> tuple[Batch, Mapping[int, Refusal]]:
        """The columns of the batch, and the decisions that cannot be encoded."""
        refused = self.refused(keys.erased)
        columns = Batch()
        for i, decision in enumerate(self._batch):
            if i not in refused:
                try:
                    self._encode(columns, decision, keys)
                except BodyTooLarge:
                    refused[i] = EventIsTooLarge()
        columns.read_streams = [stream for stream, _ in self._reads]
        columns.read_versions = [version for _, version in self._reads]
        columns.follow_kinds = [claim.kind for claim in self.followed]
        columns.follow_values = [self._tenant.claim_value(claim) for claim in self.followed]
        columns.follow_streams = list(self.followed.values())
        columns.new_subjects, columns.new_subject_keys = list(keys.made), list(keys.made.values())
        columns.subjects = list({subject for each in self._subjects for subject in each})
        return columns, refused

    def _subjects_of(self, decision: Decision) -> dict[UUID, bool]:
        """The subjects that a decision writes about, and whether it needs their own keys."""
        subjects: dict[UUID, bool] = {}
        for new in decision.events:
            for subject, is_keyed in self._codec.of(new.event).subjects(new.event, new.stream_id):
                subjects[subject] = subjects.get(subject, False) or is_keyed
        return subjects

    def _encode(self, columns: Batch, decision: Decision, keys: BatchKeys) -> None:
        def text_key(subject: UUID) -> Key:
            text, key = new_id(), new_key()
            columns.add_text_key(text, subject, self._tenant.key_encryption_keys.wrap(key, text.bytes))
            return Key(text_reference(text), 1, key)

        columns.begin_command(decision)
        for new in decision.events:
            codec, place = self._codec.of(new.event), self._codec.place(new.stream_id, new.version)
            columns.add_event(decision, new, codec.encode(new.event, place, keys.keys.__getitem__, text_key))
        columns.end_command()
        for claim in decision.released:
            columns.add_release(claim.kind, self._tenant.claim_value(claim), decision.target_id)
        for taken in decision.claims:
            columns.add_claim(taken, self._tenant.claim_value(taken.claim))


def _reads(batch: Sequence[Decision]) -> tuple[set[tuple[UUID, int]], frozenset[UUID]]:
    """What was read, as far as the versions written do not say the same already; and what contradicts them."""
    before = {new.stream_id: new.version - 1 for decision in reversed(batch) for new in reversed(decision.events)}
    now: dict[UUID, int] = {}
    reads: set[tuple[UUID, int]] = set()
    contradictory: set[UUID] = set()
    for decision in batch:
        for stream, version in decision.reads.items():
            if stream in now:
                contradictory |= {stream} if now[stream] != version else set()
            elif before.get(stream) != version:
                reads.add((stream, version))
        now.update((new.stream_id, new.version) for new in decision.events)
    return reads, frozenset(contradictory)


def _followed(batch: Sequence[Decision]) -> dict[Claim, UUID]:
    """Where claims led, until the batch itself moves them. All of a batch is decided on one sight of the log."""
    followed: dict[Claim, UUID] = {}
    moved: set[Claim] = set()
    for decision in batch:
        followed.update((claim, stream) for claim, stream in decision.followed.items() if claim not in moved)
        moved.update(decision.released, (new.claim for new in decision.claims))
    return followed
