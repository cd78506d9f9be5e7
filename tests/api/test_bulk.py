"""Many commands in one request: each line answered, in its order, while the body is still being sent."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from api.bulk_lines import Line, LineSplitter
from api.problems import Problem
from api.service import Limits
from application.commands import COMMANDS, Role
from application.ports import LogUnavailable
from application.submissions import Answer, Submission
from application.writer import WriterLimits
from domain.errors import Refusal
from tests.api.bodies import ACME, BLOCK, CALL, invoice
from tests.api.running import Running, code, description, running, scope_of
from tests.asynchronous import asynchronous

NDJSON = {"content-type": "application/x-ndjson"}


def line(key: str, command: str, data: Mapping[str, Any], target: str | None = None, **more: Any) -> dict[str, Any]:
    """One line of a bulk body."""
    addressed = {} if target is None else {"target": target}
    return {"key": key, "command": command, "data": dict(data), **addressed, **more}


REGISTER = line("register", "register-customer", ACME)
SELL = line("sell", "post-invoice", invoice("R-1"))
BLOCK_ACME = line("block", "block-customer", BLOCK, "number:C-1001")


def body(*lines: Any) -> bytes:
    """Lines as the body of a request; bytes stay as they are."""
    return b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in lines)


async def send(
    service: Running, *lines: Any, query: str = "", role: Role = Role.SERVICE, **headers: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The answers to lines, and the summary."""
    given = NDJSON | {name.replace("_", "-"): value for name, value in headers.items()}
    response = await service[role].post(f"/v1/commands{query}", content=body(*lines), headers=given)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    *answers, summary = [json.loads(each) for each in response.text.splitlines()]
    return answers, summary


def kinds(answers: Sequence[dict[str, Any]]) -> list[str]:
    """What became of each line: its status, or the code of its problem."""
    return [
        each["problem"]["type"].rpartition(":")[2] if "problem" in each else str(each["status"]) for each in answers
    ]


def counted(**outcomes: int) -> dict[str, Any]:
    """A summary with these outcomes."""
    every = {"accepted": 0, "replayed": 0, "refused": 0, "invalid": 0, "failed": 0} | outcomes
    return {"done": True, "lines": sum(every.values()), **every}


@asynchronous
async def test_each_line_is_answered_in_its_order_and_the_last_line_counts_them() -> None:
    async with running() as service:
        answers, summary = await send(service, REGISTER, SELL, BLOCK_ACME)
        assert [each.type for each in service.log.recorded] == [
            "customer.registered",
            "sales-document.invoice-posted",
            "customer.blocked",
        ]
    assert [(each["line"], each["key"], each["status"]) for each in answers] == [
        (1, "register", 201),
        (2, "sell", 201),
        (3, "block", 201),
    ]
    assert [(each["version"], each["position"]) for each in answers] == [(1, 1), (1, 2), (2, 3)]
    assert answers[0]["id"] == answers[2]["id"]
    assert summary == counted(accepted=3)


@asynchronous
async def test_events_are_answered_when_they_are_asked_for() -> None:
    async with running() as service:
        without, _ = await send(service, REGISTER)
        answers, _ = await send(service, BLOCK_ACME, query="?events=true")
    assert "events" not in without[0]
    assert [event["type"] for event in answers[0]["events"]] == ["customer.blocked"]


@asynchronous
async def test_a_line_that_was_recorded_before_is_answered_again() -> None:
    async with running() as service:
        first, _ = await send(service, REGISTER, BLOCK_ACME)
        again, summary = await send(service, REGISTER, BLOCK_ACME, REGISTER)
        assert len(service.log.recorded) == 2
    assert [(each["status"], each["replayed"]) for each in again] == [(200, True)] * 3
    assert [each["position"] for each in again[:2]] == [each["position"] for each in first]
    assert summary == counted(replayed=3)


@asynchronous
async def test_bulk_and_single_commands_are_the_same_requests() -> None:
    async with running() as service:
        single = await service.send("/v1/customers", ACME, idempotency_key="register")
        answers, _ = await send(service, REGISTER)
    assert answers[0]["id"] == single.json()["id"]
    assert answers[0]["replayed"]


@asynchronous
async def test_refused_and_invalid_lines_do_not_hinder_the_others() -> None:
    lines = [
        REGISTER,
        line("again", "register-customer", ACME),
        b"{",
        b"",
        b'"register"',
        line("unknown", "rename-customer", {}),
        {"key": "nameless"},
        line("field", "block-customer", BLOCK | {"because": "x"}, "number:C-1001"),
        line("x" * 256, "block-customer", BLOCK, "number:C-1001"),
        line("nobody", "block-customer", BLOCK, "number:C-9"),
        line("stale", "block-customer", BLOCK, "number:C-1001", if_match=7),
        line("target", "register-customer", ACME, "number:C-1001"),
        line("future", "block-customer", BLOCK | {"occurred_at": "2026-12-31T00:00:00Z"}, "number:C-1001"),
        b'{"key": "twice", "key": "twice"}',
        BLOCK_ACME,
    ]
    async with running() as service:
        answers, summary = await send(service, *lines)
    assert kinds(answers) == [
        "201",
        "customer-number-is-taken",
        "malformed-json",
        "malformed-json",
        "invalid-body",
        "invalid-body",
        "invalid-body",
        "invalid-body",
        "invalid-body",
        "customer-not-found",
        "stream-has-moved",
        "invalid-body",
        "occurred-in-the-future",
        "invalid-body",
        "201",
    ]
    assert [each["line"] for each in answers] == [*range(1, 16)]
    assert summary == counted(accepted=2, refused=4, invalid=9)


@asynchronous
async def test_problems_of_a_line_point_into_the_line_and_its_key_is_told_where_it_has_one() -> None:
    async with running() as service:
        await send(service, REGISTER)
        answers, _ = await send(
            service,
            line("again", "register-customer", ACME | {"customer_number": "C-2"}),
            line("field", "block-customer", BLOCK | {"because": "x"}, "number:C-1001"),
            line("unknown", "rename-customer", {}),
            {"key": "nameless"},
            {"key": "two words", "command": "block-customer"},
            b"[1]",
        )
    assert [each["key"] for each in answers] == ["again", "field", "unknown", "nameless", None, None]
    assert [each["problem"]["errors"][0]["pointer"] for each in answers] == [
        "/data/external_identifiers",
        "/data/because",
        "/command",
        "/command",
        "/key",
        "",
    ]


@asynchronous
async def test_lines_that_are_refused_leave_nothing_behind() -> None:
    def kept() -> set[int]:
        return {id(each) for each in gc.get_objects() if isinstance(each, Line | Problem)}

    invalid = line("noon", "register-customer", ACME | {"occurred_at": "noon"})
    async with running() as service:
        gc.collect()
        before = kept()
        await send(service, invalid, b"{", line("unknown", "block-customer", BLOCK, "number:C-1001"))
        gc.collect()
        assert kept() <= before


@asynchronous
async def test_the_commands_of_one_stream_are_decided_in_their_order() -> None:
    turns = [
        line(f"turn-{i}", f"{'un' * (i % 2)}block-customer", BLOCK, "number:C-1001", if_match=i + 1) for i in range(600)
    ]
    async with running() as service:
        answers, summary = await send(service, REGISTER, *turns)
    assert [each["version"] for each in answers] == [*range(1, 602)]
    assert summary == counted(accepted=601)


@asynchronous
async def test_the_commands_of_one_stream_stay_in_order_where_the_queue_has_no_room_for_them() -> None:
    turns = [line(f"turn-{i}", f"{'un' * (i % 2)}block-customer", BLOCK, "number:C-1001") for i in range(1_500)]
    async with running(writer_limits=WriterLimits(queue_commands_max=3, batch_commands_max=2)) as service:
        answers, _ = await send(service, REGISTER, *turns)
    assert [each["version"] for each in answers] == [*range(1, 1_502)]


@asynchronous
async def test_every_line_has_the_circumstances_of_the_request() -> None:
    correlation = "0190b7c2-7e1a-7000-8000-000000000001"
    async with running() as service:
        answers, _ = await send(
            service, REGISTER, BLOCK_ACME, query="?events=true", correlation_id=correlation, on_behalf_of="staff-1"
        )
    events = [event for each in answers for event in each["events"]]
    assert {event["correlation_id"] for event in events} == {correlation}
    assert {event["on_behalf_of"] for event in events} == {"staff-1"}


@asynchronous
async def test_a_dry_run_records_nothing() -> None:
    async with running() as service:
        answers, summary = await send(service, REGISTER, query="?dry_run=true&events=true")
        assert service.log.recorded == []
    assert [(each["status"], each["position"]) for each in answers] == [(200, 0)]
    assert [event["type"] for event in answers[0]["events"]] == ["customer.registered"]
    assert summary == counted(accepted=1)


@asynchronous
async def test_a_line_whose_command_is_for_other_roles_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    only_staff = replace(COMMANDS["block-customer"], roles=frozenset({Role.STAFF}))
    monkeypatch.setitem(COMMANDS, "block-customer", only_staff)
    # The description says that, too, but the one that is at hand was made before.
    monkeypatch.setattr("tests.api.running.description", cache(description.__wrapped__))
    async with running() as service:
        answers, summary = await send(service, REGISTER, BLOCK_ACME)
        allowed, _ = await send(service, BLOCK_ACME, role=Role.STAFF)
    assert kinds(answers) == ["201", "role-not-allowed"]
    assert summary == counted(accepted=1, invalid=1)
    assert kinds(allowed) == ["201"]


# All or nothing


@asynchronous
async def test_an_atomic_body_is_recorded_together() -> None:
    async with running() as service:
        answers, summary = await send(service, REGISTER, SELL, BLOCK_ACME, query="?atomic=true")
        assert len({each.recorded_at for each in service.log.recorded}) == 1
    assert kinds(answers) == ["201"] * 3
    assert summary == counted(accepted=3)


@pytest.mark.parametrize(
    ("culprit", "expected", "outcomes"),
    [
        (line("nobody", "block-customer", BLOCK, "number:C-9"), "customer-not-found", {"refused": 3}),
        (line("nobody", "block-customer", {}, "number:C-9"), "invalid-body", {"refused": 2, "invalid": 1}),
        (b"{", "malformed-json", {"refused": 2, "invalid": 1}),
        (line("register", "block-customer", BLOCK, "number:C-1001"), "key-is-used-for-another-request", {"refused": 3}),
    ],
    ids=["refused", "invalid", "unreadable", "repeated-key"],
)
@asynchronous
async def test_of_an_atomic_body_nothing_is_recorded_if_one_line_is_refused(
    culprit: Any, expected: str, outcomes: dict[str, int]
) -> None:
    async with running() as service:
        answers, summary = await send(service, REGISTER, culprit, BLOCK_ACME, query="?atomic=true")
        assert service.log.recorded == []
    assert kinds(answers) == ["another-command-was-refused", expected, "another-command-was-refused"]
    assert answers[0]["problem"]["facts"] == {"command": "2"}
    assert summary == counted(**outcomes)


@asynchronous
async def test_a_line_is_bounded_as_a_body_is() -> None:
    start = b'{"key":"1","command":"post-invoice","data":{"lines":['
    long = [b"%b%b]}}" % (start, b",".join([b"{}"] * times)) for times in (300_000, 15_000, 400)]
    async with running() as service:
        for query in ("", "?atomic=true"):
            response = await service.shop.post(f"/v1/commands{query}", content=body(*long, REGISTER), headers=NDJSON)
            *answers, summary = [json.loads(line) for line in response.text.splitlines()]
            assert [len(each["problem"]["errors"]) for each in answers[:3]] == [1, 10, 100]
            assert (summary["invalid"], summary["lines"]) == (3, 4)


@asynchronous
async def test_an_atomic_body_has_limits_of_its_own() -> None:
    async with running(Limits(bulk_atomic_lines_max=2, bulk_atomic_bytes_max=1_000)) as service:
        for content, expected in ((body(*[b"{}"] * 3), "too-many-lines"), (b" " * 1_001, "body-too-large")):
            response = await service.shop.post("/v1/commands?atomic=true", content=content, headers=NDJSON)
            assert (response.status_code, code(response)) == (413, expected)


@asynchronous
async def test_an_atomic_body_that_finds_no_room_or_no_log_is_not_recorded() -> None:
    async with running(writer_limits=WriterLimits(queue_commands_max=1)) as service:
        full = await service.shop.post("/v1/commands?atomic=true", content=body(REGISTER, SELL), headers=NDJSON)
    async with running() as service:
        await send(service, REGISTER)
        service.log.is_reachable = False
        lost = await service.shop.post("/v1/commands?atomic=true", content=body(BLOCK_ACME), headers=NDJSON)
    assert (full.status_code, code(full)) == (503, "queue-is-full")
    assert (lost.status_code, code(lost)) == (503, "log-unavailable")


# Limits


@asynchronous
async def test_the_first_line_too_many_is_told_so_and_the_rest_is_left() -> None:
    async with running(Limits(bulk_lines_max=2)) as service:
        answers, summary = await send(service, REGISTER, SELL, BLOCK_ACME, BLOCK_ACME)
        assert len(service.log.recorded) == 2
    assert kinds(answers) == ["201", "201", "too-many-lines"]
    assert summary == counted(accepted=2, invalid=1)


@asynchronous
async def test_a_line_that_is_too_long_is_dropped_and_the_others_are_taken() -> None:
    long = line("long", "block-customer", {"reason": "x" * 5_000}, "number:C-1001")
    async with running(Limits(bulk_line_bytes_max=2_000)) as service:
        answers, summary = await send(service, REGISTER, long, BLOCK_ACME)
    assert kinds(answers) == ["201", "body-too-large", "201"]
    assert answers[1]["key"] is None
    assert summary == counted(accepted=2, invalid=1)


@asynchronous
async def test_an_empty_body_has_no_lines() -> None:
    async with running() as service:
        assert await send(service) == ([], counted())
        assert await send(service, query="?atomic=true") == ([], counted())


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
@asynchronous
async def test_another_media_type_is_not_taken(content_type: str) -> None:
    async with running() as service:
        headers = {"content-type": content_type}
        response = await service.shop.post("/v1/commands", content=body(REGISTER), headers=headers)
    assert (response.status_code, code(response)) == (415, "unsupported-media-type")


@pytest.mark.parametrize("query", ["?atomic=perhaps", "?events=1&events=1", "?atomik=true"])
@asynchronous
async def test_parameters_are_known_and_of_their_form(query: str) -> None:
    async with running() as service:
        response = await service.shop.post(f"/v1/commands{query}", content=body(REGISTER), headers=NDJSON)
        assert response.status_code in {400, 422}
        assert service.log.recorded == []


def test_lines_are_cut_wherever_the_pieces_of_a_body_end() -> None:
    text = b'{"a":1}\n\n{"b":2}\r\n' + b"x" * 50 + b"\nlast"
    for size in range(1, len(text) + 1):
        splitter = LineSplitter(20)
        pieces = [text[begin : begin + size] for begin in range(0, len(text), size)]
        lines = [each for piece in pieces for each in splitter.feed(piece)] + [*splitter.end()]
        assert lines == [b'{"a":1}', b"", b'{"b":2}\r', None, b"last"]


def test_a_line_that_never_ends_is_not_kept() -> None:
    splitter = LineSplitter(100)
    for _ in range(1_000):
        assert list(splitter.feed(b"x" * 100)) == []
        assert splitter.kept_bytes <= 100
    assert list(splitter.end()) == [None]


# While the body is still being sent


@asynchronous
async def test_a_line_is_answered_before_the_next_one_is_sent() -> None:
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    got: list[dict[str, Any]] = []

    async def lines() -> AsyncIterator[bytes]:
        for each in (REGISTER, BLOCK_ACME):
            yield body(each)
            got.append(json.loads(await answers.get()))

    async with running() as service:
        await _talk(service, lines(), answers)
    assert [each["status"] for each in got] == [201, 201]
    assert json.loads(await answers.get())["done"]


async def _talk(service: Running, pieces: AsyncIterator[bytes], answers: asyncio.Queue[bytes]) -> None:
    """A request whose body is made while its answer comes in."""

    async def receive() -> dict[str, Any]:
        try:
            return {"type": "http.request", "body": await anext(pieces), "more_body": True}
        except StopAsyncIteration:
            return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message.get("body"):
            await answers.put(message["body"])

    await service.service(_bulk(service), receive, send)


def _bulk(service: Running) -> dict[str, Any]:
    return scope_of(service, "POST", "/v1/commands", content_type="application/x-ndjson")


@asynchronous
async def test_no_more_is_read_than_can_be_worked_on() -> None:
    """A sender that is faster than the log is slowed down, however much it has to send."""
    writer, sent = HeldWriter(), 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 1_000:
            sent += 1
            yield body(line(f"key-{sent}", "record-interaction", CALL, "number:C-1001"))

    async with running(writer=writer) as service:
        talking = asyncio.create_task(_talk(service, pieces(), asyncio.Queue()))
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert 0 < len(writer.held) < 5
        assert sent < 10
        writer.release()
        await talking
    assert sent == 1_000


class HeldWriter:
    """A writer that answers when it is told to."""

    queue_length = 0

    def __init__(self) -> None:
        self.held: list[int] = []
        self._released = asyncio.Event()
        self.failure: Exception | None = None

    def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def release(self) -> None:
        self._released.set()

    async def submit(self, submission: Submission) -> Answer:
        return Answer(submission.metadata.command_id, 1, ())

    async def submit_many(self, submissions: Sequence[Submission], *, atomic: bool = False) -> list[Answer | Refusal]:
        assert not atomic
        self.held.append(len(submissions))
        await self._released.wait()
        if self.failure is not None:
            raise self.failure
        return [Answer(each.metadata.command_id, 1, ()) for each in submissions]


@pytest.mark.parametrize(
    ("failure", "expected"),
    [(LogUnavailable(), "log-unavailable"), (ZeroDivisionError("Ada"), "internal-error")],
    ids=["log", "program"],
)
@asynchronous
async def test_lines_that_could_not_be_served_may_be_sent_again(failure: Exception, expected: str) -> None:
    writer = HeldWriter()
    writer.failure = failure
    writer.release()
    async with running(writer=writer) as service:
        answers, summary = await send(service, REGISTER, b"{", SELL)
    assert kinds(answers) == [expected, "malformed-json", expected]
    assert answers[0]["problem"]["retry"] == "same_request"
    assert "Ada" not in json.dumps(answers)
    assert summary == counted(failed=2, invalid=1)


@asynchronous
async def test_once_the_log_has_failed_the_lines_after_it_are_not_tried() -> None:
    writer = HeldWriter()
    writer.failure = LogUnavailable()
    writer.release()

    async def pieces() -> AsyncIterator[bytes]:
        for number in range(100):
            yield body(line(f"key-{number}", "record-interaction", CALL, "number:C-1001"))
            await asyncio.sleep(0)

    async with running(writer=writer) as service:
        response = await service.shop.post("/v1/commands", content=pieces(), headers=NDJSON)
    answers = [json.loads(each) for each in response.text.splitlines()]
    assert answers[-1] == counted(failed=100)
    assert len(writer.held) < 10


@asynchronous
async def test_a_body_that_pauses_for_too_long_is_told_so_after_its_lines() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield body(REGISTER)
        await asyncio.Event().wait()

    async with running(Limits(body_pause_seconds_max=0.05)) as service:
        response = await service.shop.post("/v1/commands", content=pieces(), headers=NDJSON)
    *answers, summary = [json.loads(each) for each in response.text.splitlines()]
    assert kinds(answers) == ["201", "body-too-slow"]
    assert summary == counted(accepted=1, invalid=1)


@asynchronous
async def test_what_was_handed_over_before_the_sender_went_away_is_recorded() -> None:
    sent: list[dict[str, Any]] = [
        {"type": "http.request", "body": body(REGISTER), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async with running() as service:

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            return sent.pop(0)

        async def drop(_message: Any) -> None:
            pass

        await service.service(_bulk(service), receive, drop)
        assert (await service.shop.get("/v1/commands/register")).status_code == 200


@asynchronous
async def test_a_receiver_that_takes_nothing_in_is_given_up() -> None:
    async with running(Limits(answer_pause_seconds_max=0.01)) as service:

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body(REGISTER), "more_body": False}

        async def send_for_ever(message: Any) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        await service.service(_bulk(service), receive, send_for_ever)
        assert service.service.requests_under_way == 0


@asynchronous
async def test_lines_are_counted_by_what_became_of_them() -> None:
    async with running() as service:
        await send(service, REGISTER, REGISTER, b"{", line("x", "block-customer", BLOCK, "number:C-9"))
        text = (await service[None].get("/metrics")).text
    for outcome in ("accepted", "replayed", "refused", "invalid"):
        assert f'rapport_bulk_lines_total{{outcome="{outcome}"}} 1' in text
