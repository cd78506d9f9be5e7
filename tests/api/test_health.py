"""Health: liveness that asks nobody, readiness that does, and metrics."""

import asyncio

import pytest

from api.metrics import Counter, Gauge, Histogram
from api.service import Limits
from application.commands import Role
from tests.api.bodies import ACME, ACME_PATH, BLOCK
from tests.api.running import code, running
from tests.asynchronous import asynchronous


@asynchronous
async def test_a_process_lives_whether_or_not_the_log_can_be_reached() -> None:
    async with running() as service:
        for service.log.is_reachable in (True, False):
            assert (await service[None].get("/livez")).json() == {"alive": True}


@asynchronous
async def test_a_process_is_ready_while_everything_behind_it_answers() -> None:
    async with running() as service:
        response = await service[None].get("/readyz")
    assert (response.status_code, response.json()) == (200, {"ready": True, "checks": {"log": True}})


@asynchronous
async def test_a_process_is_not_ready_when_the_log_cannot_be_reached() -> None:
    async with running() as service:
        service.log.is_reachable = False
        response = await service[None].get("/readyz")
    assert (response.status_code, response.json()) == (503, {"ready": False, "checks": {"log": False}})


@asynchronous
async def test_a_check_that_never_ends_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.health.CHECK_SECONDS_MAX", 0.01)

    async def never() -> None:
        await asyncio.Event().wait()

    async with running(checks={"log": never}) as service:
        assert (await service[None].get("/readyz")).json() == {"ready": False, "checks": {"log": False}}


@asynchronous
async def test_whoever_asks_all_the_time_does_not_make_the_log_answer_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.health.CHECKED_FOR_SECONDS", 60)
    asked = 0

    async def check() -> None:
        nonlocal asked
        asked += 1

    async with running(checks={"log": check}) as service:
        await asyncio.gather(*(service[None].get("/readyz") for _ in range(50)))
    assert asked == 1


@asynchronous
async def test_a_process_that_stops_is_not_ready_and_goes_on_answering() -> None:
    async with running() as service:
        service.service.begin_to_stop()
        response = await service[None].get("/readyz")
        assert (response.status_code, response.json()["checks"]) == (503, {"log": True, "stays": False})
        accepted = await service.send("/v1/customers", ACME)
    assert (accepted.status_code, accepted.headers["connection"]) == (201, "close")


@asynchronous
async def test_requests_appends_and_the_queue_are_measured() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        await service.send("/v1/customers", ACME)
        await service.send(f"{ACME_PATH}/block-customer", BLOCK)
        await service.shop.get("/nowhere")
        response = await service[None].get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = response.text.splitlines()
    assert 'rapport_http_requests_total{operation="register-customer",status="201"} 1' in lines
    assert 'rapport_http_requests_total{operation="register-customer",status="409"} 1' in lines
    assert 'rapport_http_requests_total{operation="none",status="404"} 1' in lines
    assert 'rapport_http_request_seconds_count{operation="block-customer"} 1' in lines
    assert "rapport_queue_commands 0" in lines
    assert any(line.startswith("rapport_append_commands_sum ") for line in lines)
    assert any(line.startswith('rapport_append_seconds_bucket{le="0.005"} ') for line in lines)


@asynchronous
async def test_metrics_are_shown_though_what_they_should_ask_does_not_answer() -> None:
    async def fail() -> None:
        raise OSError

    async with running(measure=fail) as service:
        assert (await service[None].get("/metrics")).status_code == 200


def test_a_histogram_counts_what_is_at_most_each_bound() -> None:
    histogram = Histogram("seconds", "How long.", (0.1, 1.0), ("route",))
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value, ("a",))
    assert list(histogram.lines()) == [
        "# HELP seconds How long.",
        "# TYPE seconds histogram",
        'seconds_bucket{route="a",le="0.1"} 2',
        'seconds_bucket{route="a",le="1"} 3',
        'seconds_bucket{route="a",le="+Inf"} 4',
        'seconds_sum{route="a"} 7.65',
        'seconds_count{route="a"} 4',
    ]


def test_counters_and_gauges_are_lines_with_escaped_labels() -> None:
    counter = Counter("things_total", "Things.", ("name",))
    counter.add(('a"b\\c\nd',), 2)
    gauge = Gauge("level", "Level.", lambda: {(): 1.5})
    assert list(counter.lines())[2:] == [r'things_total{name="a\"b\\c\nd"} 2']
    assert list(gauge.lines()) == ["# HELP level Level.", "# TYPE level gauge", "level 1.5"]


@asynchronous
async def test_a_page_lists_all_operations_and_needs_nothing_from_elsewhere() -> None:
    async with running() as service:
        response = await service[None].get("/docs")
    assert "POST /v1/customers" in response.text
    assert "http:" not in response.text
    assert "https:" not in response.text
    assert "<script" not in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]


@asynchronous
async def test_head_is_answered_like_get_without_the_body() -> None:
    async with running() as service:
        get, head = await service[None].get("/livez"), await service[None].head("/livez")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


@asynchronous
async def test_more_requests_than_a_process_takes_are_told_to_come_back_but_for_health() -> None:
    async with running(Limits(requests_max=1)) as service:
        waiting = asyncio.create_task(service.shop.get("/v1/events?wait=30s"))
        for _ in range(100):
            await asyncio.sleep(0)
        refused = await service.shop.get("/v1/events")
        alive = await service[None].get("/livez")
        service.service.begin_to_stop()
        await waiting
    assert (refused.status_code, code(refused)) == (503, "too-busy")
    assert alive.status_code == 200


@asynchronous
async def test_one_key_cannot_take_all_places() -> None:
    async with running(Limits(requests_of_key_max=1)) as service:
        waiting = asyncio.create_task(service.shop.get("/v1/events?wait=30s"))
        for _ in range(100):
            await asyncio.sleep(0)
        refused = await service.shop.get("/v1/events")
        others = await service[Role.AUDITOR].get("/v1/events")
        service.service.begin_to_stop()
        await waiting
        again = await service.shop.get("/v1/events")
    assert (refused.status_code, code(refused)) == (429, "too-many-requests")
    assert "retry-after" in refused.headers
    assert (others.status_code, again.status_code) == (200, 200)
