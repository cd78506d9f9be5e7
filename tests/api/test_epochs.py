"""Whoever follows the log, or expects a version, is told when the log is another one than it was."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.epochs import Epochs
from application.commands import Role
from tests.api.bodies import ACME, ACME_PATH, BLOCK
from tests.api.running import Running, code, running
from tests.asynchronous import asynchronous, until
from tests.in_memory import FIRST_EPOCH


async def _restored(service: Running, after: int) -> UUID:
    """Begin an epoch, as a restore does; the service knows of it."""
    epoch = service.log.begin_epoch(after)

    async def is_known() -> bool:
        return (await service[None].get("/livez")).headers["rapport-epoch"] == str(epoch)

    await until(is_known)
    return epoch


async def _feed(service: Running, **parameters: object) -> tuple[int, dict[str, Any]]:
    asked = {name: str(value) for name, value in parameters.items()}
    response = await service[Role.AUDITOR].get("/v1/events", params=asked)
    return response.status_code, response.json()


async def _record(service: Running, number: int) -> None:
    """Record so many events."""
    for place in range(number):
        created = await service.send(
            "/v1/customers", ACME | {"customer_number": f"C-{place}", "external_identifiers": []}
        )
        assert created.status_code == 201, created.text


@asynchronous
async def test_every_answer_names_the_epoch_also_one_that_says_no() -> None:
    async with running() as service:
        created = await service.send("/v1/customers", ACME)
        feed = await service[Role.AUDITOR].get("/v1/events")
        found = await service.shop.get(f"/v1/commands/{created.request.headers['idempotency-key']}")
        answers = [
            created,
            feed,
            found,
            await service[None].get("/livez"),
            await service[None].get("/v1/events"),
            await service[None].get("/nowhere"),
            await service.send(f"{ACME_PATH}/block-customer", {"nonsense": 1}),
            await service[Role.AUDITOR].get("/v1/reports"),
        ]
    assert {answer.headers["rapport-epoch"] for answer in answers} == {str(FIRST_EPOCH)}
    assert {answer.json()["epoch"] for answer in (created, feed, found)} == {str(FIRST_EPOCH)}
    assert created.headers["etag"] == f'"1-{FIRST_EPOCH}"' == found.headers["etag"]


@asynchronous
async def test_who_has_read_up_to_where_an_epoch_ended_goes_on_and_who_has_read_more_does_not() -> None:
    async with running() as service:
        await _record(service, 4)
        second = await _restored(service, after=2)
        for after in (0, 2):
            status, page = await _feed(service, after=after, epoch=FIRST_EPOCH)
            assert (status, page["epoch"], page["after"]) == (200, str(second), 4)
        for after, more in ((3, {}), (4, {}), (4, {"wait": "20s"}), (9, {"wait": "20s"})):
            status, problem = await _feed(service, after=after, epoch=FIRST_EPOCH, **more)
            assert (status, problem["type"]) == (409, "urn:rapport:problem:epoch-has-ended")
            assert problem["facts"] == {"after": "2", "epoch": str(second)}
        assert (await _feed(service, after=4, epoch=second))[0] == 200
        assert (await _feed(service, after=4))[0] == 200, "without an epoch only the end of the log counts"


@asynchronous
async def test_who_comes_from_a_log_that_is_not_known_begins_at_0() -> None:
    async with running() as service:
        await _record(service, 1)
        status, problem = await _feed(service, after=1, epoch=uuid4())
        assert (status, problem["facts"]["after"]) == (409, "0")
        assert (await _feed(service, after=0, epoch=uuid4()))[0] == 200


@asynchronous
async def test_an_epoch_that_is_begun_while_somebody_waits_is_told() -> None:
    async with running() as service:
        await _record(service, 3)
        waiting = asyncio.create_task(_feed(service, after=3, epoch=FIRST_EPOCH, wait="20s"))
        await asyncio.sleep(0)
        await _restored(service, after=1)
        await service.send("/v1/customers", ACME)
        status, problem = await waiting
    assert (status, problem["facts"]["after"]) == (409, "1")


@pytest.mark.parametrize("more", [{}, {"wait": "20s"}, {"epoch": FIRST_EPOCH}, {"epoch": FIRST_EPOCH, "wait": "20s"}])
@asynchronous
async def test_nobody_goes_on_beyond_the_end_of_the_log(more: dict[str, object]) -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        status, problem = await _feed(service, after=2, **more)
        history = await service.shop.get(f"{ACME_PATH}/history?after=2")
    assert (status, problem["type"]) == (422, "urn:rapport:problem:invalid-parameter")
    assert (history.status_code, code(history)) == (422, "invalid-parameter")


@asynchronous
async def test_a_version_of_another_epoch_is_stale_and_a_bare_one_is_of_the_current() -> None:
    async with running() as service:
        tag = (await service.send("/v1/customers", ACME)).headers["etag"]
        second = await _restored(service, after=1)
        stale = await service.send(f"{ACME_PATH}/block-customer", BLOCK, if_match=tag)
        assert (stale.status_code, code(stale)) == (412, "stream-has-moved")
        bare = await service.send(f"{ACME_PATH}/block-customer", BLOCK, if_match='"1"', idempotency_key="bare")
        assert (bare.status_code, bare.headers["etag"]) == (200, f'"2-{second}"')
        again = await service.send(f"{ACME_PATH}/block-customer", BLOCK, if_match=tag, idempotency_key="bare")
        assert (again.status_code, again.json()["replayed"]) == (200, True), "what was done is answered as it was"
        stream = await service.shop.get(f"{ACME_PATH}/events")
        assert stream.headers["etag"] == bare.headers["etag"]
        named = await service.send(f"{ACME_PATH}/unblock-customer", BLOCK, if_match=bare.headers["etag"])
        assert named.status_code == 200


@pytest.mark.parametrize(
    "tag", ['"1-"', '"1-2"', '"-{}"', '"1-{}-"', 'W/"1-{}"', '"1-{}", "2"', '"1--{}"', "1-{}", '"1-{}x"']
)
@asynchronous
async def test_a_tag_that_is_none_is_malformed(tag: str) -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        answer = await service.send(f"{ACME_PATH}/block-customer", BLOCK, if_match=tag.format(FIRST_EPOCH))
    assert (answer.status_code, code(answer)) == (400, "malformed-header")


@asynchronous
async def test_lines_take_tags_and_bare_versions() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        second = await _restored(service, after=1)
        commands = ("block-customer", "unblock-customer", "block-customer", "block-customer", "block-customer")
        tags = (1, f"2-{second}", f"3-{FIRST_EPOCH}", f"3-{second}", "3-nonsense")
        lines = [
            {"key": command + str(tag), "command": command, "target": "number:C-1001", "if_match": tag, "data": BLOCK}
            for command, tag in zip(commands, tags, strict=True)
        ]
        content = "\n".join(map(json.dumps, lines))
        answer = await service.shop.post(
            "/v1/commands", content=content, headers={"content-type": "application/x-ndjson"}
        )
    *told, _ = map(json.loads, answer.text.splitlines())
    assert [each["status"] for each in told] == [201, 201, 412, 201, 422]
    assert {each["epoch"] for each in told if each["status"] == 201} == {str(second)}


@asynchronous
async def test_a_process_that_has_not_reached_the_log_yet_says_no_epoch() -> None:
    async with running() as service:
        service.log.is_reachable = False
        epochs = Epochs(service.log)
        async with epochs.followed():
            assert (epochs.header(), epochs.known) == ((), None)
        service.log.is_reachable = True
        assert await epochs.current() == FIRST_EPOCH
