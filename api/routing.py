"""Routes: every operation is a route of FastAPI, which finds it and answers what it raises, and no more."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from api.operations import Operation
from api.problems import FORESEEN, from_error
from api.requests import REQUEST, Request, parted_path

Admit: TypeAlias = Callable[[Request, Operation], Awaitable[None]]
"""Lets a request through to its operation, or raises a `Problem`."""


class OperationRoute(APIRoute):
    """The route of an operation, with one of its methods: what can be read with GET can be asked for with HEAD."""

    def __init__(self, operation: Operation, admit: Admit, method: str) -> None:
        self.operation = operation
        self._admit = admit
        super().__init__(
            operation.path,
            operation.handler,
            methods=[method],
            name=operation.name,
            operation_id=operation.name,
            tags=[operation.tag],
            summary=operation.summary,
            description=operation.meaning,
            response_class=Response,
            include_in_schema=method == operation.method,
        )

    @property
    def ending(self) -> str | None:
        """The last part of the path; None if that is open."""
        last = self.operation.path.rpartition("/")[2]
        return None if last.startswith("{") else last

    @override
    def get_route_handler(self) -> Callable[[StarletteRequest], Coroutine[Any, Any, Response]]:
        """What answers: no dependencies and no models, as the operation itself reads bytes and writes them."""
        admit, operation = self._admit, self.operation

        async def handle(given: StarletteRequest) -> Response:
            request: Request = given.scope[REQUEST]
            try:
                await admit(request, operation)
                return await operation.handler(request)
            except (*FORESEEN, ClientDisconnect):
                raise
            except Exception as error:
                # FastAPI would answer this one, and then end the connection.
                raise from_error(error) from error

        return handle


def _routes(operations: Iterable[Operation], admit: Admit) -> Iterator[OperationRoute]:
    """The routes of operations; raises `ValueError` if two of them could be confused."""
    seen: set[str] = set()
    for operation in operations:
        for mark in (operation.name, f"{operation.method} {operation.path}"):
            if mark in seen:
                msg = f"two operations are called {mark}"
                raise ValueError(msg)
            seen.add(mark)
        for method in ("GET", "HEAD") if operation.method == "GET" else (operation.method,):
            yield OperationRoute(operation, admit, method)


class OperationRouter(APIRouter):
    """Asks the routes that end as a path does, which are few, where FastAPI asks all of them in turn."""

    def __init__(
        self,
        operations: Iterable[Operation],
        admit: Admit,
        lifespan: Callable[[Any], AbstractAsyncContextManager[None]],
    ) -> None:
        routes = [*_routes(operations, admit)]
        super().__init__(routes=[*routes], redirect_slashes=False, lifespan=lifespan)
        self._by_ending = {ending: _ending_in(routes, ending) for ending in {route.ending for route in routes}}
        self._others = _ending_in(routes, None)

    @override
    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().app(scope, receive, send)
            return
        scope["path"] = path = parted_path(scope)
        await self._by_ending.get(path.rpartition("/")[2], self._others).app(scope, receive, send)


def _ending_in(routes: Sequence[OperationRoute], ending: str | None) -> APIRouter:
    """A router of what may answer a path with this ending."""
    return APIRouter(routes=[each for each in routes if each.ending in (ending, None)], redirect_slashes=False)
