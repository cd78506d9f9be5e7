"""The feed of all events, the events of one stream, and the history of a customer."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from api.service import Limits
from application.commands import Role
from tests.api.bodies import ACME, ACME_PATH, ADA, ADA_PATH, BLOCK, CALL, FLOUR, invoice
from tests.api.running import Running, code, running
from tests.asynchronous import asynchronous
from tests.in_memory import FIRST_EPOCH


async def tell_the_story(service: Running) -> None:
    """Acme is registered, buys flour, is blocked; Ada is registered between: five events."""
    for path, body in (
        ("/v1/customers", ACME),
        ("/v1/products", FLOUR),
        ("/v1/sales-documents/post-invoice", invoice("R-1")),
        ("/v1/customers", ADA),
        (f"{ACME_PATH}/block-customer", BLOCK),
    ):
        assert (await service.send(path, body)).is_success


async def read(service: Running, path: str, role: Role = Role.AUDITOR) -> dict[str, Any]:
    """What is answered to a question."""
    response = await service[role].get(path)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def types(page: dict[str, Any]) -> list[str]:
    """The types of the events on a page."""
    return [event["type"] for event in page["events"]]


# The feed


@asynchronous
async def test_whoever_goes_on_after_each_page_reads_every_event_once() -> None:
    async with running() as service:
        await tell_the_story(service)
        found: list[int] = []
        after = 0
        while len(found) < 5:
            page = await read(service, f"/v1/events?after={after}&limit=2")
            found += [event["position"] for event in page["events"]]
            after = page["after"]
            assert page["position"] == 5
        end = await read(service, f"/v1/events?after={after}")
    assert found == [1, 2, 3, 4, 5]
    assert (end["events"], end["after"]) == ([], 5)


@asynchronous
async def test_the_feed_can_be_of_some_types_and_moves_on_over_the_others() -> None:
    async with running() as service:
        await tell_the_story(service)
        blocked = await read(service, "/v1/events?types=customer.blocked")
        customers = await read(service, "/v1/events?types=customer.*,product.registered")
        nothing = await read(service, "/v1/events?types=product.discontinued&limit=3")
    assert (types(blocked), blocked["after"]) == (["customer.blocked"], 5)
    assert types(customers) == ["customer.registered", "product.registered", "customer.registered", "customer.blocked"]
    assert (types(nothing), nothing["after"]) == ([], 3)


@asynchronous
async def test_who_waits_is_answered_as_soon_as_something_happens() -> None:
    async with running() as service:
        waiting = asyncio.create_task(read(service, "/v1/events?wait=20s"))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        await service.send("/v1/customers", ACME)
        assert types(await waiting) == ["customer.registered"]


@asynchronous
async def test_who_waits_for_some_types_goes_on_waiting_while_others_happen() -> None:
    async with running() as service:
        waiting = asyncio.create_task(read(service, "/v1/events?wait=20s&types=customer.blocked"))
        await service.send("/v1/customers", ACME)
        await service.send(f"{ACME_PATH}/record-interaction", CALL)
        await service.send(f"{ACME_PATH}/block-customer", BLOCK)
        page = await waiting
    assert (types(page), page["after"]) == (["customer.blocked"], 3)


@asynchronous
async def test_who_waits_in_vain_gets_an_empty_page() -> None:
    async with running() as service:
        page = await read(service, "/v1/events?wait=1s")
    assert page == {"events": [], "after": 0, "position": 0, "epoch": str(FIRST_EPOCH)}


@asynchronous
async def test_nobody_is_kept_waiting_when_the_service_stops() -> None:
    async with running(Limits(wait_seconds_max=300)) as service:
        waiting = asyncio.create_task(service[Role.AUDITOR].get("/v1/events?wait=300s"))
        for _ in range(100):
            await asyncio.sleep(0)
        service.service.begin_to_stop()
        response = await waiting
    assert response.json()["events"] == []
    assert response.headers["connection"] == "close"


@asynchronous
async def test_who_waits_is_told_when_the_log_cannot_be_reached() -> None:
    async with running() as service:
        service.log.is_reachable = False
        response = await service[Role.AUDITOR].get("/v1/events?wait=20s")
    assert (response.status_code, code(response)) == (503, "log-unavailable")


# One stream


@pytest.mark.parametrize("name", ["number:C-1001", "shop:4711"])
@asynchronous
async def test_a_stream_is_read_in_its_order_with_its_version_as_etag(name: str) -> None:
    async with running() as service:
        await tell_the_story(service)
        response = await service.shop.get(f"/v1/customers/{name}/events")
        rest = await read(service, f"/v1/customers/{name}/events?after=1")
        end = await read(service, f"/v1/customers/{name}/events?after=2")
    assert types(response.json()) == ["customer.registered", "customer.blocked"]
    assert response.headers["etag"] == f'"2-{FIRST_EPOCH}"'
    assert (types(rest), rest["version"]) == (["customer.blocked"], 2)
    assert (types(end), end["version"]) == ([], 2)


@pytest.mark.parametrize("name", ["number:C-9", "4711", "0190b7c2-7e1a-7000-8000-000000000001"])
@asynchronous
async def test_a_stream_that_does_not_exist_is_not_found(name: str) -> None:
    async with running() as service:
        for path in (f"/v1/customers/{name}/events", f"/v1/customers/{name}/history"):
            response = await service.shop.get(path)
            assert (response.status_code, code(response)) == (404, "customer-not-found")


@asynchronous
async def test_the_stream_of_something_else_is_not_found() -> None:
    async with running() as service:
        flour = (await service.send("/v1/products", FLOUR)).json()["id"]
        for path in (f"/v1/customers/{flour}/events", f"/v1/customers/{flour}/history"):
            assert code(await service.shop.get(path)) == "customer-not-found"


# History


@asynchronous
async def test_the_history_of_a_customer_goes_over_all_streams() -> None:
    async with running() as service:
        await tell_the_story(service)
        page = await read(service, f"{ACME_PATH}/history")
    assert types(page) == ["customer.registered", "sales-document.invoice-posted", "customer.blocked"]
    assert (page["after"], page["more"], page["position"]) == (5, False, 5)
    assert {event["customer_id"] for event in page["events"]} == {page["customer_id"]}


@asynchronous
async def test_the_pages_of_a_history_make_the_whole() -> None:
    async with running() as service:
        await tell_the_story(service)
        first = await read(service, f"{ACME_PATH}/history?limit=2")
        second = await read(service, f"{ACME_PATH}/history?limit=2&after={first['after']}")
        whole = await read(service, f"{ACME_PATH}/history?limit=3")
        third = await read(service, f"{ACME_PATH}/history?after={second['after']}")
    assert (first["more"], second["more"], whole["more"]) == (True, False, False)
    assert first["events"] + second["events"] == whole["events"]
    assert third["events"] == []


@asynchronous
async def test_the_history_shows_what_was_known_at_a_position_or_at_a_moment() -> None:
    async with running() as service:
        await tell_the_story(service)
        now = await read(service, f"{ACME_PATH}/history")
        then = await read(service, f"{ACME_PATH}/history?at_position=4")
        moment = now["events"][1]["recorded_at"]
        known = await read(service, f"{ACME_PATH}/history?known_at={moment}")
        before = await read(service, f"{ACME_PATH}/history?at_position=0")
    assert then["events"] == known["events"] == now["events"][:2]
    assert (then["position"], known["position"]) == (4, 3)
    assert before["events"] == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("known_at=2027-01-01T00:00:00Z", "moment-is-not-over"),
        ("known_at=2026-01-01T00:00:00", "invalid-parameter"),
        ("known_at=yesterday", "invalid-parameter"),
        ("at_position=6", "invalid-parameter"),
        ("at_position=1&known_at=2026-01-01T00:00:00Z", "invalid-parameter"),
        ("limit=1001", "invalid-parameter"),
    ],
)
@asynchronous
async def test_what_is_not_over_cannot_be_known(query: str, expected: str) -> None:
    async with running() as service:
        await tell_the_story(service)
        response = await service.shop.get(f"{ACME_PATH}/history?{query}")
    assert (response.status_code, code(response)) == (422, expected)


@asynchronous
async def test_what_has_been_erased_is_shown_as_erased() -> None:
    async with running() as service:
        ada = (await service.send("/v1/customers", ADA)).json()["id"]
        await service.send(f"{ADA_PATH}/record-interaction", CALL)
        before = await read(service, f"/v1/customers/{ada}/history")
        service.log.destroy_subject(UUID(ada))
        after = await read(service, f"/v1/customers/{ada}/history")
    assert before["events"][0]["data"]["name"] == "Ada Lovelace"
    assert after["events"][0]["data"]["name"] == "[erased]"
    assert after["events"][1]["data"]["summary"] == "[erased]"
    assert after["events"][0]["data"]["country"] == "DE"
