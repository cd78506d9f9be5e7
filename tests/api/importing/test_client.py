"""The way to the service: sent until it is answered, and never in doubt."""

from collections.abc import Callable

import httpx
import pytest

from api.importing.client import BulkClient, CommandAnswer, ImportStopped
from tests.api.importing.mappings import Mill

LINES = [b'{"key":"a","command":"post","data":{}}', b'{"key":"b","command":"post","data":{}}']
DONE = [CommandAnswer(201), CommandAnswer(201)]
DONE_BEFORE = [CommandAnswer(200, replayed=True), CommandAnswer(200, replayed=True)]


def gone(_number: int) -> httpx.Response:
    message = "connection refused"
    raise httpx.ConnectError(message)


def once(response: Callable[[], httpx.Response]) -> Callable[[int], httpx.Response | None]:
    return lambda number: response() if number == 0 else None


def test_the_answers_come_in_the_order_of_the_lines() -> None:
    mill = Mill(refuse={"a": "customer-is-blocked"})
    assert BulkClient(mill.client()).send(LINES) == [
        CommandAnswer(409, problem="customer-is-blocked", rule="No.", pointer="/number"),
        CommandAnswer(201),
    ]


@pytest.mark.parametrize("status", [429, 502, 503])
def test_a_service_that_is_busy_is_asked_again_when_it_says(status: int) -> None:
    pauses: list[float] = []
    mill = Mill(before=once(lambda: httpx.Response(status, headers={"Retry-After": "7"})))
    assert BulkClient(mill.client(), pause=pauses.append).send(LINES) == DONE
    assert pauses == [7.0]


def test_a_line_that_found_the_service_busy_goes_again_with_its_chunk() -> None:
    busy = '{"line":1,"status":201}\n{"line":2,"status":503}\n{"done":true}\n'
    mill = Mill(before=once(lambda: httpx.Response(200, content=busy)))
    assert BulkClient(mill.client(), pause=lambda _: None).send(LINES) == DONE


def test_a_lost_answer_is_asked_for_again() -> None:
    def cut(number: int, response: httpx.Response) -> httpx.Response:
        return httpx.Response(200, content=response.content[:30]) if number == 0 else response

    mill = Mill(after=cut)
    assert BulkClient(mill.client(), pause=lambda _: None).send(LINES) == DONE_BEFORE
    assert mill.requests == [["a", "b"], ["a", "b"]]


@pytest.mark.parametrize("content", ["", '{"line":1,"status":201}\n', '{"line":1,"status":201}\n{"done":true}\n'])
def test_an_answer_without_its_end_is_no_answer(content: str) -> None:
    mill = Mill(before=once(lambda: httpx.Response(200, content=content)))
    assert BulkClient(mill.client(), pause=lambda _: None).send(LINES) == DONE


def test_a_connection_that_breaks_is_made_again() -> None:
    mill = Mill(before=lambda number: gone(number) if number == 0 else None)
    assert BulkClient(mill.client(), pause=lambda _: None).send(LINES) == DONE


def test_patience_ends_and_pauses_grow() -> None:
    pauses: list[float] = []
    client = BulkClient(Mill(before=gone).client(), patience_seconds=60, pause=pauses.append)
    with pytest.raises(ImportStopped, match="the service gives no answer: connection refused"):
        client.send(LINES)
    assert pauses == sorted(pauses)
    assert 60 <= sum(pauses) < 75


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (httpx.Response(401), "does not know this key"),
        (httpx.Response(403), "this key may not import"),
        (httpx.Response(400, json={"title": "Malformed", "detail": "no JSON"}), "says 400: no JSON"),
        (httpx.Response(500, content=b"?"), "says 500, and no reason"),
    ],
)
def test_what_waiting_cannot_mend_stops_the_import(response: httpx.Response, why: str) -> None:
    with pytest.raises(ImportStopped, match=why):
        BulkClient(Mill(before=lambda _: response).client()).send(LINES)


def test_a_chunk_that_is_too_large_is_halved() -> None:
    mill = Mill(before=once(lambda: httpx.Response(413)))
    assert BulkClient(mill.client()).send(LINES) == DONE
    assert mill.requests == [["a", "b"], ["a"], ["b"]]


def test_a_command_that_is_too_large_is_refused() -> None:
    mill = Mill(before=lambda _: httpx.Response(413))
    assert {answer.problem for answer in BulkClient(mill.client()).send(LINES)} == {"too-large"}
