"""Metrics in Prometheus' text format.

The format is lines of text, and one event loop needs no locks; so this page replaces a package, its global registry and
its threads.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Labels = tuple[str, ...]
Measured = Mapping[Labels, float]


class Counter:
    """A number that only grows, for each combination of labels."""

    def __init__(self, name: str, explanation: str, labels: Sequence[str] = ()) -> None:
        self.name, self.explanation, self.labels = name, explanation, tuple(labels)
        self.values: dict[Labels, float] = {}

    def add(self, labels: Labels = (), amount: float = 1) -> None:
        """Count one more, or `amount` more."""
        self.values[labels] = self.values.get(labels, 0) + amount

    def lines(self) -> Iterator[str]:
        """The metric as text."""
        yield from _head(self.name, self.explanation, "counter")
        for labels, value in sorted(self.values.items()):
            yield f"{self.name}{_shown(self.labels, labels)} {_number(value)}"


class Histogram:
    """How often a measured value was at most each of some bounds."""

    def __init__(self, name: str, explanation: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        self.name, self.explanation, self.labels = name, explanation, tuple(labels)
        self._bounds = tuple(bounds)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, value: float, labels: Labels = ()) -> None:
        """Take note of one value."""
        counts = self._counts.get(labels)
        if counts is None:
            counts = self._counts[labels] = [0] * (len(self._bounds) + 1)
            self._sums[labels] = 0.0
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def lines(self) -> Iterator[str]:
        """The metric as text."""
        yield from _head(self.name, self.explanation, "histogram")
        for labels, counts in sorted(self._counts.items()):
            below = 0
            for bound, count in zip((*map(_number, self._bounds), "+Inf"), counts, strict=True):
                below += count
                yield f"{self.name}_bucket{_shown((*self.labels, 'le'), (*labels, bound))} {below}"
            yield f"{self.name}_sum{_shown(self.labels, labels)} {_number(self._sums[labels])}"
            yield f"{self.name}_count{_shown(self.labels, labels)} {below}"


class Gauge:
    """A value that is measured when it is asked for."""

    def __init__(
        self, name: str, explanation: str, measure: Callable[[], Measured], labels: Sequence[str] = ()
    ) -> None:
        self.name, self.explanation, self.labels = name, explanation, tuple(labels)
        self._measure = measure

    def lines(self) -> Iterator[str]:
        """The metric as text."""
        yield from _head(self.name, self.explanation, "gauge")
        for labels, value in sorted(self._measure().items()):
            yield f"{self.name}{_shown(self.labels, labels)} {_number(value)}"


class Metrics:
    """All metrics of this process."""

    def __init__(self) -> None:
        self.requests = Counter("rapport_http_requests_total", "Requests answered.", ("operation", "status"))
        self.request_seconds = Histogram(
            "rapport_http_request_seconds",
            "From a request's headers to the end of its answer.",
            SECONDS,
            ("operation",),
        )
        self.append_seconds = Histogram("rapport_append_seconds", "Duration of one append to the log.", SECONDS)
        self.append_commands = Histogram("rapport_append_commands", "Commands stored by one append.", BATCH_SIZES)
        self._others: list[Counter | Histogram | Gauge] = []

    def add(self, *metrics: Counter | Histogram | Gauge) -> None:
        """Show these, too."""
        self._others.extend(metrics)

    def observe_append(self, commands: int, seconds: float) -> None:
        """Take note of one append."""
        self.append_commands.observe(commands)
        self.append_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        shown = (self.requests, self.request_seconds, self.append_seconds, self.append_commands, *self._others)
        return "".join(f"{line}\n" for metric in shown for line in metric.lines()).encode()


def _head(name: str, explanation: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} {explanation}", f"# TYPE {name} {kind}"


def _shown(names: Sequence[str], values: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
