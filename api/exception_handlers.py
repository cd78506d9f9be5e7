"""What FastAPI does with exceptions: each is answered with its problem (RFC 9457)."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match, Route

from api.problems import FORESEEN, METHOD_NOT_ALLOWED, PATH_NOT_FOUND, Problem, from_error
from api.requests import REQUEST
from api.responses import Nothing, problem_response

Answers: TypeAlias = Callable[[Request, Any], Coroutine[Any, Any, Response]]


async def _answer_problem(request: Request, error: Exception) -> Response:
    problem = from_error(error, in_query=request.method == "GET")
    request.scope[REQUEST].problem = problem.kind.code
    return problem_response(problem)


async def _answer_not_found(request: Request, _: Exception) -> Response:
    return await _answer_problem(request, Problem(PATH_NOT_FOUND))


async def _answer_not_allowed(request: Request, _: Exception) -> Response:
    """Starlette names the methods of the one route that it has found first: a path may have several."""
    routes = (route for route in request.scope["router"].routes if isinstance(route, Route))
    allowed = {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return await _answer_problem(request, Problem(METHOD_NOT_ALLOWED, headers={"allow": ", ".join(sorted(allowed))}))


async def _answer_nobody(_request: Request, _: Exception) -> Response:
    return Nothing()


EXCEPTION_HANDLERS: Mapping[int | type[Exception], Answers] = {
    **dict.fromkeys((*FORESEEN, Exception), _answer_problem),
    404: _answer_not_found,
    405: _answer_not_allowed,
    ClientDisconnect: _answer_nobody,
}
