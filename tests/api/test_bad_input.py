"""What bad input gets, in all its variety: its documented problem, quickly, and nothing is recorded or repeated.

Item by item, alone and in bulk, it stands in `tests.interface.test_bad_input`.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.service import Limits
from tests.api.bodies import ACME, ACME_PATH, BLOCK
from tests.api.running import Running, code, running, scope_of
from tests.asynchronous import asynchronous

KEYED = {"idempotency-key": "1"}
JSON = KEYED | {"content-type": "application/json"}
SECRET = "Ada Lovelace, 12 St James's Square"


def with_member(text: str) -> bytes:
    """The body of Acme's registration with something more in it."""
    return (json.dumps(ACME)[:-1] + f", {text}}}").encode()


async def post(service: Running, content: bytes, **headers: str) -> httpx.Response:
    """Send bytes as the body of a registration."""
    given = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.shop.post("/v1/customers", content=content, headers=given)


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "cut-off": json.dumps(ACME).encode()[:-5],
    "two-values": json.dumps(ACME).encode() * 2,
    "not-utf-8": with_member('"reason": "\u00fc"').replace("\u00fc".encode(), b"\xfc"),
    "utf-16": json.dumps(ACME).encode("utf-16"),
    "byte-order-mark": b"\xef\xbb\xbf" + json.dumps(ACME).encode(),
    "lone-surrogate": with_member('"reason": "\\ud800"'),
    "swapped-surrogates": with_member('"reason": "\\udc00\\ud800"'),
    "control-character": with_member('"reason": "\x01"'),
    "deep-lists": b"[" * 100_000,
    "deep-objects": b'{"a":' * 100_000,
    "deep-in-unknown-field": with_member('"x": ' + "[" * 5_000 + "]" * 5_000),
    "endless-number": with_member('"x": ' + "9" * 100_000),
    "single-quotes": b"{'name': 'Acme'}",
    "comment": b'{"name": "Acme"} // the baker',
    "bare-word": b"undefined",
    "not-a-number": with_member('"dry_run": NaN'),
    "infinity": with_member('"x": [-Infinity]'),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
@asynchronous
async def test_what_is_not_json_is_unreadable(content: bytes) -> None:
    async with running() as service:
        response = await post(service, content)
        assert (response.status_code, code(response)) == (400, "malformed-json")
        assert response.json()["retry"] == "never"
        assert service.log.recorded == []


DUPLICATES: dict[str, bytes] = {
    "same-value": with_member('"country": "DE"'),
    "other-value": with_member('"country": "AT"'),
    "escaped-name": with_member('"c\\u006funtry": "AT"'),
    "in-a-nested-object": json.dumps(ACME).replace('"id": "4711"', '"id": "4711", "id": "4712"').encode(),
    "made-up-for-by-an-escaped-quotation-mark": with_member('"country": "DE", "reason": "\\u0022\\u0022"'),
}


@pytest.mark.parametrize("content", DUPLICATES.values(), ids=DUPLICATES)
@asynchronous
async def test_a_member_is_given_once(content: bytes) -> None:
    async with running() as service:
        response = await post(service, content)
        assert (response.status_code, code(response)) == (400, "duplicate-member")
        assert service.log.recorded == []


@asynchronous
async def test_escaped_quotation_marks_are_no_duplicates() -> None:
    async with running() as service:
        response = await post(service, with_member('"reason": "the \\u0022old\\" system"'))
        (event,) = response.json()["events"]
    assert event["reason"] == 'the "old" system'


INVALID: dict[str, tuple[Any, str | None]] = {
    "no-object": ([], ""),
    "a-text": ("Acme", ""),
    "null": (None, ""),
    "nothing-in-it": ({}, "/customer_number"),
    "unknown-field": (ACME | {"legalname": SECRET}, "/legalname"),
    "field-that-is-no-name": (ACME | {SECRET: 1}, ""),
    "unknown-field-below": (ACME | {"external_identifiers": [{"source": "a", "id": "1", "x": 1}]}, None),
    "wrong-type": (ACME | {"name": 1}, "/name"),
    "text-for-a-boolean": (ACME | {"dry_run": "true"}, "/dry_run"),
    "number-for-a-boolean": (ACME | {"dry_run": 1}, "/dry_run"),
    "null-where-required": (ACME | {"name": None}, "/name"),
    "too-long": (ACME | {"name": "x" * 201}, "/name"),
    "empty": (ACME | {"name": ""}, "/name"),
    "space-around": (ACME | {"name": " Acme "}, "/name"),
    "u-0000": (ACME | {"name": "Ac\0me"}, "/name"),
    "line-break": (ACME | {"name": "Acme\nBakery"}, "/name"),
    "bidirectional-mark": (ACME | {"name": "Acme \u202e"}, "/name"),
    "not-in-the-list": (ACME | {"kind": SECRET}, "/kind"),
    "currency": (ACME | {"currency": "euro"}, "/currency"),
    "naive-instant": (ACME | {"occurred_at": "2026-01-01T12:00:00"}, "/occurred_at"),
    "instant-as-number": (ACME | {"occurred_at": 1_700_000_000}, "/occurred_at"),
    "instant-of-no-calendar": (ACME | {"occurred_at": "2026-02-30T12:00:00Z"}, "/occurred_at"),
    "instant-before-all-calendars": (ACME | {"occurred_at": "0001-01-01T00:00:00+14:00"}, "/occurred_at"),
    "instant-after-all-calendars": (ACME | {"occurred_at": "9999-12-31T23:59:59-14:00"}, "/occurred_at"),
    "source": (ACME | {"source": "The Shop"}, "/source"),
    "reason-too-long": (ACME | {"reason": "x" * 501}, "/reason"),
    "in-a-list": (ACME | {"external_identifiers": [{"source": "a", "id": "1"}, {"source": "a"}]}, None),
    "too-many": (ACME | {"external_identifiers": [{"source": "a", "id": "1"}] * 101}, "/external_identifiers"),
    "not-a-list": (ACME | {"external_identifiers": {"source": "a", "id": "1"}}, "/external_identifiers"),
}


@pytest.mark.parametrize(("body", "pointer"), INVALID.values(), ids=INVALID)
@asynchronous
async def test_what_is_json_and_not_the_command_is_invalid_at_a_pointer(body: Any, pointer: str | None) -> None:
    async with running() as service:
        response = await post(service, json.dumps(body).encode())
        problem = response.json()
        assert (response.status_code, code(response)) == (422, "invalid-body")
        pointers = [error["pointer"] for error in problem["errors"]]
        assert pointers[0] == pointer if pointer is not None else pointers[0].startswith("/external_identifiers/")
        assert all(error["detail"] for error in problem["errors"])
        assert SECRET not in response.text
        assert service.log.recorded == []


NUMBERS = ["1e999", "1e-999", "1.5", "9" * 4_000, '"1"', "true", "null", "-1", "1e2"]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:10])
@asynchronous
async def test_a_number_that_is_none_or_too_large_is_refused(number: str) -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        body = f'{{"channel": "phone", "direction": "inbound", "summary": "Flour.", "effort_minutes": {number}}}'
        response = await service.shop.post(f"{ACME_PATH}/record-interaction", content=body, headers=JSON)
        if number == "null":
            assert response.status_code == 200
            return
        assert (response.status_code, code(response)) == (422, "invalid-body")
        assert {error["pointer"] for error in response.json()["errors"]} == {"/effort_minutes"}


AMOUNTS = [
    "1",
    "1.5",
    '"1e3"',
    '"NaN"',
    '"Infinity"',
    '"1,5"',
    '" 1"',
    '"+1"',
    '"' + "9" * 16 + '"',
    '"0.1234567"',
    '""',
]


@pytest.mark.parametrize("amount", AMOUNTS)
@asynchronous
async def test_an_amount_is_a_decimal_as_text(amount: str) -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        body = f'{{"limit": {{"amount": {amount}, "currency": "EUR"}}}}'
        response = await service.shop.post(f"{ACME_PATH}/change-credit-limit", content=body, headers=JSON)
        assert (response.status_code, code(response)) == (422, "invalid-body")
        assert response.json()["errors"][0]["pointer"] == "/limit/amount"


# Media types and sizes


@pytest.mark.parametrize(
    "content_type",
    ["", "text/plain", "application/x-ndjson", "application/json; charset=latin-1", "application/jsonx", "json"],
)
@asynchronous
async def test_another_media_type_is_not_taken(content_type: str) -> None:
    async with running() as service:
        response = await post(service, json.dumps(ACME).encode(), content_type=content_type)
    assert (response.status_code, code(response)) == (415, "unsupported-media-type")
    assert response.headers["accept-post"] == "application/json"


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", 'Application/JSON; charset="UTF-8"', "application/json;"]
)
@asynchronous
async def test_json_in_utf_8_is_taken_however_that_is_said(content_type: str) -> None:
    async with running() as service:
        response = await post(service, json.dumps(ACME).encode(), content_type=content_type)
    assert response.status_code == 201


@asynchronous
async def test_a_compressed_body_is_not_taken() -> None:
    async with running() as service:
        response = await post(service, json.dumps(ACME).encode(), content_encoding="gzip")
    assert (response.status_code, code(response)) == (415, "unsupported-media-type")


@asynchronous
async def test_a_body_that_says_it_is_too_long_is_refused_before_it_is_read() -> None:
    async with running(Limits(request_bytes_max=1_000)) as service:
        for length, closes in ((b"1001", False), (b"1000000", True), (b"9" * 30, True)):
            status, headers, read = await _declared(service, length)
            assert (status, read) == (413, 0)
            assert ((b"connection", b"close") in headers) == closes


async def _declared(service: Running, length: bytes) -> tuple[int, list[tuple[bytes, bytes]], int]:
    """Announce a body of some length; the status, the headers, and how often somebody wanted to read it."""
    sent: list[Any] = []
    reads = 0

    async def receive() -> dict[str, Any]:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": b"{", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {"idempotency_key": "1", "content_type": "application/json", "content_length": length.decode()}
    await service.service(scope_of(service, "POST", "/v1/customers", **headers), receive, send)
    return sent[0]["status"], sent[0]["headers"], reads


@asynchronous
async def test_a_body_without_a_length_is_read_up_to_the_limit() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 100
            yield b" " * 100

    async with running(Limits(request_bytes_max=1_000)) as service:
        response = await service.shop.post("/v1/customers", content=endless(), headers=JSON)
        assert (response.status_code, code(response)) == (413, "body-too-large")
        assert taken <= 1_200


@asynchronous
async def test_a_body_that_comes_in_pieces_is_put_together() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for byte in json.dumps(ACME).encode():
            yield bytes([byte])

    async with running() as service:
        response = await service.shop.post("/v1/customers", content=pieces(), headers=JSON)
    assert response.status_code == 201


@asynchronous
async def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await _forever()

    async with running(Limits(body_pause_seconds_max=0.01)) as service:
        response = await service.shop.post("/v1/customers", content=never(), headers=JSON)
    assert (response.status_code, code(response)) == (408, "body-too-slow")
    assert response.json()["retry"] == "same_request"


async def _forever() -> None:
    await asyncio.Event().wait()


# Headers, paths, parameters


@pytest.mark.parametrize("key", [None, "", "x" * 256, "two words", "ümlaut".encode()])
@asynchronous
async def test_without_an_idempotency_key_the_answer_has_a_line_that_would_do(key: Any) -> None:
    async with running() as service:
        headers = {} if key is None else {"idempotency-key": key}
        response = await service.shop.post("/v1/customers", json=ACME, headers=headers)
    assert (response.status_code, code(response)) == (400, "idempotency-key-missing")
    example = response.json()["example"]
    assert example.startswith("curl -X POST http://127.0.0.1:8000/v1/customers ")
    assert "Idempotency-Key: " in example


@pytest.mark.parametrize("path", ["/v1/customers/%24(reboot)/block-customer", "/v1/customers/a'b;c/block-customer"])
@asynchronous
async def test_the_line_that_would_do_runs_nothing_else(path: str) -> None:
    async with running() as service:
        response = await service.shop.post(path, json=BLOCK)
    assert f"'http://127.0.0.1:8000{path}'" in response.json()["example"].replace("'\"'\"'", "'")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("if-match", "3"),
        ("if-match", 'W/"3"'),
        ("if-match", '"3", "4"'),
        ("if-match", '"three"'),
        ("if-match", '"99999999999"'),
        ("correlation-id", "4711"),
        ("correlation-id", "{0190b7c2-7e1a-7000-8000-000000000001}"),
        ("causation-id", "0190b7c2"),
        ("on-behalf-of", "Ada Lovelace"),
        ("on-behalf-of", "ada@example.com"),
        ("on-behalf-of", "x" * 101),
    ],
)
@asynchronous
async def test_a_malformed_header_is_named_and_not_repeated(name: str, value: str) -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        response = await service.shop.post(f"{ACME_PATH}/block-customer", json=BLOCK, headers=KEYED | {name: value})
    assert (response.status_code, code(response)) == (400, "malformed-header")
    assert [error["header"] for error in response.json()["errors"]] == [name]
    assert "Ada" not in response.text
    assert "ada@" not in response.text


@pytest.mark.parametrize("name", ["idempotency-key", "authorization", "if-match", "content-type"])
@asynchronous
async def test_a_header_that_is_given_twice_is_refused(name: str) -> None:
    async with running() as service:
        headers = [("idempotency-key", "1"), ("content-type", "application/json"), (name, "a"), (name, "b")]
        response = await service[None].post("/v1/customers", json=ACME, headers=headers)
    assert (response.status_code, code(response)) == (400, "malformed-header")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v2/customers", "/v1/customers/", "/v1//events", "/v1/customers/%ff/events"]
)
@asynchronous
async def test_there_is_nothing_at_other_paths(path: str) -> None:
    async with running() as service:
        response = await service.shop.get(path)
    assert (response.status_code, code(response)) == (404, "path-not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/customers", "POST"),
        ("PUT", "/v1/commands/1", "GET, HEAD"),
        ("TRACE", "/livez", "GET, HEAD"),
        ("OPTIONS", "/v1/commands", "POST"),
    ],
)
@asynchronous
async def test_another_method_is_told_which_are_allowed(method: str, path: str, allowed: str) -> None:
    async with running() as service:
        response = await service.shop.request(method, path)
    assert (response.status_code, code(response)) == (405, "method-not-allowed")
    assert set(allowed.split(", ")) <= set(response.headers["allow"].split(", "))


@pytest.mark.parametrize(
    ("query", "status", "expected"),
    [
        ("after=x", 422, "invalid-parameter"),
        ("after=-1", 422, "invalid-parameter"),
        ("after=99999999999999999999", 422, "invalid-parameter"),
        ("limit=0", 422, "invalid-parameter"),
        ("limit=1001", 422, "invalid-parameter"),
        ("wait=20m", 422, "invalid-parameter"),
        ("wait=999s", 422, "invalid-parameter"),
        ("types=customer.renamed", 422, "invalid-parameter"),
        ("nonsense=1", 422, "invalid-parameter"),
        ("after=1&after=2", 400, "malformed-query"),
        ("types=%ff", 400, "malformed-query"),
        ("&".join(f"p{i}=1" for i in range(60)), 400, "malformed-query"),
    ],
)
@asynchronous
async def test_a_parameter_is_known_and_of_its_form(query: str, status: int, expected: str) -> None:
    async with running() as service:
        response = await service.shop.get(f"/v1/events?{query}")
    assert (response.status_code, code(response)) == (status, expected)


@asynchronous
async def test_the_name_of_an_unknown_parameter_is_repeated_only_if_it_can_be_one() -> None:
    async with running() as service:
        for query, shown in (("limt=5", "limt"), ("Ada%20Lovelace=1", "?")):
            errors = (await service.shop.get(f"/v1/events?{query}")).json()["errors"]
            assert [error["parameter"] for error in errors] == [shown]


@asynchronous
async def test_a_command_takes_no_parameters() -> None:
    async with running() as service:
        response = await service.send("/v1/customers?dry_run=true", ACME)
        assert (response.status_code, code(response)) == (422, "invalid-parameter")
        assert service.log.recorded == []
