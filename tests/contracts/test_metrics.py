"""The page about metrics is what a service answers, and every metric has a name by the custom of Prometheus."""

import asyncio
from pathlib import Path

from api import metrics_page
from api.lag import Lag
from projections.read_model import ReadModels
from tests.api.running import no_connection, running

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


async def _metrics() -> str:
    async with running() as service:
        service.metrics.add(*Lag(service.log, ReadModels(no_connection, "main_read")).gauges())
        return (await service[None].get("/metrics")).text


def page() -> str:
    """What the page has to be."""
    return metrics_page.page(asyncio.run(_metrics()))


def test_the_page_about_metrics_is_made_from_an_answer() -> None:
    assert PAGE.read_text("utf-8") == page(), "make it: python -m tests.contracts.test_metrics"


def test_counters_end_in_total_and_no_other_metric_does() -> None:
    rows = [line.split(" | ") for line in page().splitlines() if line.startswith("| `")]
    assert {kind for _, kind, _ in rows} == {"counter", "gauge", "histogram"}
    assert [name for name, kind, _ in rows if name.endswith("_total`") != (kind == "counter")] == []


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
