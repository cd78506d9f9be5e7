"""A cache that is bounded by what it holds, not by how many things: what was not asked for longest goes first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class WeighedCache(Generic[Key, Value]):
    """Keeps what was made for a key, while all that is kept weighs no more than `weight_max`; threads may share it."""

    def __init__(self, weight_max: int, weigh: Callable[[Value], int]) -> None:
        self.weight = 0
        """Of all that is kept."""
        self._weight_max = weight_max
        self._weigh = weigh
        self._kept: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """What is kept for a key, else what is made now; what weighs more than all may is made each time."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept[0]
        made = make()
        weight = self._weigh(made)
        with self._lock:
            if key not in self._kept and weight <= self._weight_max:
                self._kept[key] = made, weight
                self.weight += weight
            while self.weight > self._weight_max:
                _, (_, gone) = self._kept.popitem(last=False)
                self.weight -= gone
        return made
