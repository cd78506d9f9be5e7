"""Which problems an operation may answer with: its own, and those that every operation has."""

from collections.abc import Iterator, Mapping

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

_OF_EVERY_OPERATION = (MALFORMED_HEADER, INTERNAL_ERROR)
_OF_EVERY_KEY = (
    MALFORMED_QUERY,
    INVALID_PARAMETER,
    NOT_AUTHENTICATED,
    TOO_MANY_REQUESTS,
    TOO_BUSY,
    LOG_UNAVAILABLE,
)


def problems_of(operation: Operation) -> Iterator[ProblemType]:
    """Every problem that an operation may answer with."""
    known: list[KnownProblem] = [*operation.problems, *_OF_EVERY_OPERATION]
    if operation.roles is not EVERYONE:
        known += _OF_EVERY_KEY
        if operation.roles != ALL_ROLES:
            known.append(ROLE_NOT_ALLOWED)
    if "{" in operation.path:
        known.append(PATH_NOT_FOUND)
    for each in dict.fromkeys(known):
        yield each if isinstance(each, ProblemType) else of_refusal(each)


def by_status(operation: Operation) -> Mapping[int, list[ProblemType]]:
    """The same by status, each time in the order of their codes."""
    found: dict[int, dict[str, ProblemType]] = {}
    for problem in problems_of(operation):
        found.setdefault(problem.status, {})[problem.code] = problem
    return {status: sorted(problems.values(), key=lambda each: each.code) for status, problems in sorted(found.items())}
