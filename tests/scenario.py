"""Given these events, when this is decided, then these events or this refusal: the shape of every test of a rule.

>>> customer = Scenario(evolve)
>>> customer.given(ACME_REGISTERED, ACME_BLOCKED).when(agree(NET_30)).then_refused(CustomerIsBlocked)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from domain.errors import Refusal

State = TypeVar("State")
Event = TypeVar("Event")


@dataclass(frozen=True)
class Outcome(Generic[State, Event]):
    """What came of a decision: events, or a refusal."""

    past: "Given[State, Event]"
    decide: Callable[[], tuple[Event, ...]]

    def then(self, *events: Event) -> None:
        """Expect exactly these events, and that a state follows from them; without any: nothing is recorded."""
        recorded = self.decide()
        assert recorded == events
        assert not events or self.past.followed_by(*events).state is not None

    def then_refused(self, refusal: type[Refusal], *, pointer: str | None = None) -> None:
        """Expect exactly this refusal, pointing at this field of the command."""
        try:
            recorded = self.decide()
        except Refusal as refused:
            assert (type(refused), refused.pointer) == (refusal, pointer)  # noqa: PT017 - this is our own raises
        else:
            message = f"{refusal.__name__} was expected, but recorded was {recorded}"
            raise AssertionError(message)


@dataclass(frozen=True)
class Given(Generic[State, Event]):
    """A stream with its past."""

    evolve: Callable[[State | None, Event], State]
    events: tuple[Event, ...]

    def followed_by(self, *events: Event) -> "Given[State, Event]":
        """Let more happen after it."""
        return Given(self.evolve, self.events + events)

    @property
    def state(self) -> State:
        """What the past has led to."""
        state: State | None = None
        for event in self.events:
            state = self.evolve(state, event)
        assert state is not None, "where nothing is given there is no state"
        return state

    def when(self, decision: Callable[[State], tuple[Event, ...]]) -> Outcome[State, Event]:
        """Let something be decided on the state that the past has led to."""
        return Outcome(self, partial(decision, self.state))


@dataclass(frozen=True)
class Scenario(Generic[State, Event]):
    """The tests of one kind of aggregate, known by its `evolve`."""

    evolve: Callable[[State | None, Event], State]

    def given(self, *events: Event) -> Given[State, Event]:
        """Begin with a past."""
        return Given(self.evolve, events)

    def when(self, creation: Callable[[], tuple[Event, ...]]) -> Outcome[State, Event]:
        """Begin with nothing, and let something be created."""
        return Outcome(Given(self.evolve, ()), creation)
