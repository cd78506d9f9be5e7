"""Routing: the route that FastAPI would find by asking all of them is found by asking a few."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from fastapi import APIRouter
from starlette.exceptions import HTTPException

from api.app import create_app
from api.operations import Operation
from api.requests import REQUEST, Request
from api.routing import OperationRoute, OperationRouter
from tests.api.operations import nothing, operation
from tests.api.running import Clock, ports_on
from tests.asynchronous import asynchronous
from tests.in_memory import InMemoryLog

SERVICE = create_app(ports_on(InMemoryLog(), Clock()))


@asynccontextmanager
async def life(_: object) -> AsyncIterator[None]:
    """Neither a beginning nor an end."""
    yield


async def admit(_request: Request, _operation: Operation) -> None:
    """Let everybody through."""


def router(*operations: Operation) -> OperationRouter:
    """A router of operations that anybody may ask for."""
    return OperationRouter(operations, admit, life)


async def asked(found_by: APIRouter, method: str, path: str, raw_path: bytes = b"") -> Request | int:
    """What a router does with a request: the request as its operation gets it, or the status of the refusal."""
    scope: dict[str, Any] = {
        "type": "http",
        "app": None,
        "method": method,
        "path": path,
        "raw_path": raw_path,
        "headers": [],
    }
    request = scope[REQUEST] = Request(scope, _receive)
    try:
        await found_by(scope, _receive, _send)
    except HTTPException as refused:
        return refused.status_code
    return request


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b""}


async def _send(_message: Mapping[str, Any]) -> None:
    pass


def found(outcome: Request | int) -> str | int:
    """The name of the operation, or the status."""
    return outcome if isinstance(outcome, int) else outcome.scope["route"].operation.name


def test_every_route_is_an_operation() -> None:
    routes = [route for route in SERVICE.routes if isinstance(route, OperationRoute)]
    assert routes == SERVICE.routes
    assert {route.operation.name for route in routes} == {each.name for each in SERVICE.operations}


@pytest.mark.parametrize("again", [{"path": "/y"}, {"name": "y"}], ids=["name", "path"])
def test_two_operations_cannot_be_confused(again: Mapping[str, str]) -> None:
    with pytest.raises(ValueError, match="two operations"):
        router(operation(), operation(**again))


@asynchronous
async def test_the_same_route_is_found_as_by_asking_all_of_them_in_turn() -> None:
    ours = router(*(replace(each, handler=nothing) for each in SERVICE.operations))
    theirs = APIRouter(routes=ours.routes, redirect_slashes=False)
    filled = {re.sub(r"{\w+}", "number:C-1001", each.path) for each in SERVICE.operations}
    paths = (
        filled | {f"{path}/" for path in filled} | {f"{path}/events" for path in filled} | {"/", "/v1", "/v1//events"}
    )
    for path in paths:
        for method in ("GET", "HEAD", "POST", "DELETE"):
            outcomes = [found(await asked(each, method, path)) for each in (ours, theirs)]
            assert outcomes[0] == outcomes[1], (method, path)


@asynchronous
async def test_what_can_be_read_can_be_asked_for_without_its_body() -> None:
    reading, writing = operation(), operation(name="y", path="/y", method="POST")
    assert found(await asked(router(reading, writing), "HEAD", "/x")) == "x"
    assert found(await asked(router(reading, writing), "HEAD", "/y")) == 405


@pytest.mark.parametrize(
    ("raw", "decoded", "part"),
    [
        (b"/x/number:C-1001", "/x/number:C-1001", "number:C-1001"),
        (b"/x/number:2026%2F17", "/x/number:2026/17", "number:2026/17"),
        (b"/x/100%25", "/x/100%", "100%"),
        (b"/x/%252F", "/x/%2F", "%2F"),
        (b"/%78/M%C3%BCller", "/x/M\u00fcller", "M\u00fcller"),
    ],
    ids=["plain", "slash", "percent", "encoded-twice", "letters"],
)
@asynchronous
async def test_a_part_of_a_path_is_decoded_once_and_stays_one_part(raw: bytes, decoded: str, part: str) -> None:
    request = await asked(router(operation(path="/x/{id}")), "GET", decoded, raw)
    assert isinstance(request, Request)
    assert request.path_params == {"id": part}
