"""Which problems an operation may answer with: its own, and those that come with what it reads and whom it admits."""

from collections.abc import Iterable, Iterator, Mapping

from api.operations import ALL_ROLES, EVERYONE, KnownProblem, Operation
from api.problems import (
    INTERNAL_ERROR,
    INVALID_PARAMETER,
    LOG_UNAVAILABLE,
    MALFORMED_HEADER,
    MALFORMED_QUERY,
    NOT_AUTHENTICATED,
    PATH_NOT_FOUND,
    ROLE_NOT_ALLOWED,
    TOO_BUSY,
    TOO_MANY_REQUESTS,
    ProblemType,
    of_refusal,
)

_OF_EVERY_KEY = (NOT_AUTHENTICATED, TOO_MANY_REQUESTS, LOG_UNAVAILABLE, INTERNAL_ERROR)
"""Keys are where the log is."""


def problems_of(operation: Operation) -> Iterator[ProblemType]:
    """Every problem that an operation may answer with."""
    known: list[KnownProblem] = [*operation.problems, MALFORMED_HEADER]
    if operation.tag != "health":
        known += (INVALID_PARAMETER, TOO_BUSY)
    if operation.query is not None:
        known.append(MALFORMED_QUERY)
    if operation.roles is not EVERYONE:
        known += _OF_EVERY_KEY
        if operation.roles != ALL_ROLES:
            known.append(ROLE_NOT_ALLOWED)
    if "{" in operation.path:
        known.append(PATH_NOT_FOUND)
    return _types(known)


def problems_of_lines(operation: Operation) -> list[ProblemType]:
    """Every problem that a line of its answer may tell, in the order of their codes."""
    return sorted(_types(operation.line_problems), key=lambda each: each.code)


def _types(known: Iterable[KnownProblem]) -> Iterator[ProblemType]:
    for each in dict.fromkeys(known):
        yield each if isinstance(each, ProblemType) else of_refusal(each)


def by_status(operation: Operation) -> Mapping[int, list[ProblemType]]:
    """The same by status, each time in the order of their codes."""
    found: dict[int, dict[str, ProblemType]] = {}
    for problem in problems_of(operation):
        found.setdefault(problem.status, {})[problem.code] = problem
    return {status: sorted(problems.values(), key=lambda each: each.code) for status, problems in sorted(found.items())}
