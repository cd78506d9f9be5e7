"""How each aggregate is rebuilt from its stream: its name, its state, its `evolve` and its identifiers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from domain.errors import NotFound

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Aggregate(Generic[State]):
    """One kind of stream.

    `name` prefixes the stored names of its events; `collection` is its word in paths (`customers`).
    `state_version` changes with the shape or meaning of the state, so that older snapshots are ignored.
    """

    name: str
    collection: str
    state: type[State]
    evolve: Callable[[State | None, Any], State]
    not_found: type[NotFound]
    state_version: int = 1

    def fold(self, state: State | None, events: tuple[object, ...]) -> State | None:
        """The state after these events."""
        for event in events:
            state = self.evolve(state, event)
        return state

    def reference(self, source: str, identifier: str) -> "Claim":
        """The claim that makes an identifier of `source` lead to one stream of this kind."""
        return Claim(kind=self.name, value=f"{source}\0{identifier}")


@dataclass(frozen=True, slots=True)
class Claim:
    """Something only one stream may hold, such as a customer number. `value` is stored as a keyed hash only."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Target:
    """What a command is addressed to: a stream and the kind of aggregate that it holds."""

    aggregate: Aggregate[Any]
    id: UUID
