"""Operations that the service does not have, for tests of what is common to all."""

from typing import Any

from starlette.responses import Response

from api.operations import EVERYONE, Body, Operation
from api.requests import Request


async def nothing(_request: Request) -> Response:
    """Answer nothing."""
    return Response(b"")


def operation(**fields: Any) -> Operation:
    """An operation that differs from an ordinary one in these fields."""
    ordinary: dict[str, Any] = {
        "name": "x",
        "method": "GET",
        "path": "/x",
        "tag": "x",
        "summary": "x",
        "roles": EVERYONE,
        "handler": nothing,
        "answers": {200: Body({"text/plain": None}, "x")},
    }
    return Operation(**ordinary | fields)
