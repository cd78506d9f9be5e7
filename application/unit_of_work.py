"""What a handler is given: the streams that it may read, and where its events and claims go.

Everything read here travels with the append: if a stream has moved by then, the command is decided again. A handler is
therefore a function that may run several times and must touch nothing but its unit of work.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeVar
from uuid import UUID

from application.aggregates import Aggregate, Claim
from domain.errors import NotFound, Refusal

State = TypeVar("State")


class ActorKind(StrEnum):
    """Who acts. Importers may record what a source system did even where a rule would refuse a person."""

    PERSON = "person"
    SERVICE = "service"
    AUTOMATION = "automation"
    IMPORT = "import"


@dataclass(frozen=True, slots=True)
class Metadata:
    """The envelope that a command gives to each of its events. Ids are pseudonymous; instants are UTC."""

    command_id: UUID
    actor: str
    actor_kind: ActorKind
    occurred_at: datetime
    received_at: datetime
    correlation_id: UUID
    causation_id: UUID | None = None
    on_behalf_of: str | None = None
    reason: str | None = None
    source: str | None = None
    source_recorded_at: datetime | None = None


class ReferenceNotFound(NotFound):
    """What a command names must exist under that id or external identifier."""


class UnitOfWork(Protocol):
    """The streams that one command reads, the events that it records and the claims that it takes."""

    metadata: Metadata
    target_id: UUID
    """The stream the command is addressed to: an existing one, or the id made for a new one."""
    reporting_currency: str
    """ISO 4217 code of the currency that this tenant reports in; never changes."""

    def target(self, aggregate: Aggregate[State]) -> State:
        """The state of the stream that the command is addressed to; refuses with the aggregate's `not_found`."""
        ...

    def read(self, aggregate: Aggregate[State], reference: str, *, pointer: str) -> tuple[UUID, State]:
        """Id and state of another stream, named by our id or as `source:identifier`; refuses if there is none."""
        ...

    def read_all(self, aggregate: Aggregate[State], references: list[str], *, pointer: str) -> list[tuple[UUID, State]]:
        """The same for many references at once, in their order; `pointer` may contain `{index}`."""
        ...

    def record(self, *events: Any, customer_id: UUID | None = None) -> None:
        """Append events to the target's stream; `customer_id` puts them into that customer's history."""
        ...

    def record_in(self, aggregate: Aggregate[Any], stream: UUID, *events: Any, customer_id: UUID | None = None) -> None:
        """Append events to another stream, which the command has read before, or begun."""
        ...

    def begin(self) -> UUID:
        """The id of one more new stream, beside the target's."""
        ...

    def claim(
        self,
        claim: Claim,
        refusal: type[Refusal],
        *,
        subject: UUID | None = None,
        pointer: str = "",
        stream: UUID | None = None,
    ) -> None:
        """Take a claim for the target's stream, or another one; if another holds it, refuse with `refusal`.

        `subject` is the person whose personal value is claimed; the claim goes when that person is erased.
        """
        ...

    def release(self, claim: Claim) -> None:
        """Give back a claim that the target's stream holds."""
        ...

    def new_id(self) -> UUID:
        """A new UUIDv7, in order of time."""
        ...
