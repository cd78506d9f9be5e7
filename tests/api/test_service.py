"""The service around its operations: its life, what goes wrong there, and senders who leave."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.service import DidNotLive, Service
from tests.api.bodies import ACME
from tests.api.running import ADDRESS, Clock, ports_on, running, scope_of
from tests.asynchronous import asynchronous
from tests.in_memory import InMemoryLog

SECRET = "Ada Lovelace"


def made(**ports: Any) -> Service:
    """A service that differs from an ordinary one in these ports."""
    return create_app(replace(ports_on(InMemoryLog(), Clock()), **ports))


async def lives(service: Service) -> list[dict[str, Any]]:
    """What the server is told when it starts and stops a service that fails at one of these."""
    received = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return received.pop(0)

    async def send(message: Any) -> None:
        told.append(message)

    with pytest.raises(DidNotLive):
        await service({"type": "lifespan"}, receive, send)
    return told


@asynccontextmanager
async def fails_at_the_start() -> AsyncIterator[None]:
    """Resources that cannot be opened."""
    raise OSError(SECRET)
    yield  # type: ignore[unreachable] # it makes this a generator


@asynccontextmanager
async def fails_at_the_end() -> AsyncIterator[None]:
    """Resources that cannot be closed."""
    yield
    raise OSError(SECRET)


@asynchronous
async def test_what_prevents_the_start_is_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    told = await lives(made(resources=fails_at_the_start))
    assert [each["type"] for each in told] == ["lifespan.startup.failed"]
    assert SECRET not in json.dumps(told)
    assert [(each.name, each.message) for each in caplog.records] == [("api.service", "the service cannot start")]


@asynchronous
async def test_what_prevents_a_clean_stop_is_told_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    service = made(resources=fails_at_the_end)
    told = await lives(service)
    assert [each["type"] for each in told] == ["lifespan.startup.complete", "lifespan.shutdown.failed"]
    assert SECRET not in json.dumps(told)
    assert [each.message for each in caplog.records] == ["the service did not stop cleanly"]
    assert service.is_stopping


class Broken:
    """Something around the operations that fails."""

    def __init__(self, app: object) -> None:
        self.app = app

    async def __call__(self, *_: object) -> None:
        raise ZeroDivisionError(SECRET)


@asynchronous
async def test_an_error_around_the_operations_is_an_incident_too(caplog: pytest.LogCaptureFixture) -> None:
    service = made()
    service.add_middleware(Broken)
    transport = httpx.ASGITransport(app=service, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=ADDRESS) as client:
        response = await client.get("/livez")
    assert response.status_code == 500
    assert response.json()["type"] == "urn:rapport:problem:internal-error"
    assert SECRET not in response.text
    assert response.json()["incident"] in {getattr(each, "incident", None) for each in caplog.records}


@asynchronous
async def test_whoever_has_gone_is_sent_nothing_and_not_counted() -> None:
    sent: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {"idempotency_key": "1", "content_type": "application/json", "content_length": str(len(json.dumps(ACME)))}
    async with running() as service:
        await service.service(scope_of(service, "POST", "/v1/customers", **headers), receive, send)
        assert sent == []
        assert service.metrics.requests.values == {}
        assert service.service.requests_under_way == 0
