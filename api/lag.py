"""Lag: how far the read models are behind the log."""

from datetime import UTC, datetime

from api.log_reading import ReadsLog
from api.metrics import Gauge
from projections.read_model import ReadModels


class Lag:
    """How far the read models are behind the log, measured when somebody asks for the metrics."""

    def __init__(self, log: ReadsLog, models: ReadModels) -> None:
        self._log = log
        self._models = models
        self._positions: dict[tuple[str, ...], float] = {}
        self._seconds: dict[tuple[str, ...], float] = {}
        self._stopped: dict[tuple[str, ...], float] = {}

    def gauges(self) -> tuple[Gauge, ...]:
        """The metrics."""
        return (
            Gauge(
                "rapport_projection_lag_events",
                "Events that a read model has not folded yet.",
                lambda: self._positions,
                ("model", "version", "build"),
            ),
            Gauge(
                "rapport_projection_lag_seconds",
                "Age of the oldest event that a read model has not folded yet.",
                lambda: self._seconds,
                ("model", "version", "build"),
            ),
            Gauge(
                "rapport_projection_stopped",
                "1 where a read model has met an event that it cannot fold, and needs a person.",
                lambda: self._stopped,
                ("model", "version", "build"),
            ),
        )

    async def measure(self) -> None:
        """Ask the log and the read models."""
        head, now = await self._log.head(), datetime.now(UTC)
        builds = [each for each in await self._models.status() if each.serving]
        next_positions = [each.position + 1 for each in builds if each.position < head]
        recorded = {each.position: each.recorded_at for each in await self._log.events_at(next_positions)}
        self._positions, self._seconds, self._stopped = {}, {}, {}  # builds that answer no more are not measured
        for each in builds:
            labels = (each.build.model, str(each.build.version), str(each.build.build))
            oldest = recorded.get(each.position + 1, now)
            self._positions[labels] = max(0, head - each.position)
            self._seconds[labels] = max(0.0, (now - oldest).total_seconds())
            self._stopped[labels] = float(each.state == "stopped")
