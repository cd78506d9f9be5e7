"""Responses: a status, headers and bytes, or bytes as they come."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import TypeAlias

from api.problems import MEDIA_TYPE, Problem

Headers: TypeAlias = list[tuple[bytes, bytes]]

JSON = b"application/json"
NDJSON = b"application/x-ndjson"
CSV = b"text/csv"
TEXT = b"text/plain; charset=utf-8"


@dataclass(slots=True)
class Response:
    """One answer. A body that is a generator is sent piece by piece."""

    body: bytes | AsyncGenerator[bytes]
    status: int = 200
    media_type: bytes = JSON
    headers: Headers = field(default_factory=list)
    problem: str | None = None
    """The code of the problem, where it is one."""


def problem_response(problem: Problem) -> Response:
    """The answer that tells of a problem."""
    return Response(problem.json(), problem.kind.status, MEDIA_TYPE, problem.headers, problem.kind.code)
