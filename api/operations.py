"""Operations: what can be done over HTTP. Routes, roles and documentation all come from this one description."""

import enum
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import unquote

from pydantic import TypeAdapter, ValidationError

from api.problems import INVALID_PARAMETER, METHOD_NOT_ALLOWED, PATH_NOT_FOUND, FieldError, Problem, ProblemType
from api.requests import Request
from api.responses import Response
from application.commands import Role
from domain.errors import Refusal


class Access(enum.Enum):
    """Who needs no key."""

    EVERYONE = "everyone"


Roles: TypeAlias = frozenset[Role] | Access
EVERYONE = Access.EVERYONE
"""For what tells nothing about customers and has to work without a key."""
ALL_ROLES = frozenset(Role)

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
KnownProblem: TypeAlias = ProblemType | type[Refusal]


@dataclass(frozen=True, slots=True)
class Body:
    """A body in the documentation: its media types, and the type of what each holds (None: text)."""

    content: Mapping[str, Any]
    description: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of an answer, each with what it says."""


@dataclass(frozen=True, slots=True)
class DeclaredParameter:
    """A parameter that is not read here, but by what answers the question."""

    name: str
    meaning: str
    values: tuple[str, ...] = ()
    """What it can be; nothing here: its meaning says so."""
    required: bool = False
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    name: str
    """Unique: `register-customer`."""
    method: str
    path: str
    """A template: `/v1/customers/{id}/history`."""
    tag: str
    summary: str
    description: str = ""
    roles: Roles
    handler: Handler
    query: type[Any] | None = None
    """A dataclass with a field for each parameter."""
    parameters: tuple[DeclaredParameter, ...] = ()
    """Parameters beside those."""
    headers: tuple[str, ...] = ()
    """Names of the request headers that it reads, beside Authorization."""
    body: Body | None = None
    answers: Mapping[int, Body]
    problems: tuple[KnownProblem, ...] = ()
    """What it may answer beside the problems that every route has."""

    def __post_init__(self) -> None:
        """Refuse an operation for which nobody has said who may use it."""
        if not self.roles:
            msg = f"{self.method} {self.path} has no roles: say who may use it"
            raise ValueError(msg)


class QueryReader:
    """Reads the parameters of one operation into its dataclass."""

    def __init__(self, query: type[Any]) -> None:
        self._validate = TypeAdapter(query).validator.validate_strings

    def __call__(self, request: Request) -> Any:
        """The parameters. Raises a `Problem` that names those that are wrong, and repeats none of their values."""
        return self.read(request.query())

    def read(self, parameters: Any) -> Any:
        """The same for parameters that are at hand."""
        try:
            return self._validate(parameters, extra="forbid")
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False, include_context=False)
            errors = [
                FieldError(parameter=shown_name(each["loc"]), detail=_detail(each["type"], each["msg"]))
                for each in found
            ]
            raise Problem(INVALID_PARAMETER, errors=errors) from None


def shown_name(location: Sequence[int | str]) -> str:
    """The name of a parameter as far as it can be one: anything else may be personal."""
    name = str(location[0]) if location else ""
    return name if name.isascii() and name.isidentifier() and len(name) <= PARAMETER_NAME_LENGTH_MAX else "?"


def _detail(kind: str, message: str) -> str:
    return "unknown parameter" if kind == "unexpected_keyword_argument" else message


PARAMETER_NAME_LENGTH_MAX = 40
"""No parameter of ours is longer; what is longer was not meant as a name."""


class Router:
    """Finds operations by method and path in time that does not depend on how many there are."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        names: set[str] = set()
        for operation in operations:
            if operation.name in names:
                msg = f"two operations are called {operation.name}"
                raise ValueError(msg)
            names.add(operation.name)
            node = self._root
            for segment in operation.path.split("/")[1:]:
                node = node.open_child() if segment.startswith("{") else node.named.setdefault(segment, _Node())
            if operation.method in node.operations:
                msg = f"two operations answer {operation.method} {operation.path}"
                raise ValueError(msg)
            node.operations[operation.method] = operation

    def find(self, request: Request) -> Operation:
        """The operation that answers, with the open parts of the path put into the request. Raises a `Problem`."""
        node = self._root
        values: list[str] = []
        for segment in _segments(request):
            below = node.named.get(segment)
            if below is None and segment:
                below = node.open
                values.append(segment)
            if below is None:
                raise Problem(PATH_NOT_FOUND)
            node = below
        if not node.operations:
            raise Problem(PATH_NOT_FOUND)
        method = request.scope["method"]
        operation = node.operations.get("GET" if method == "HEAD" else method)
        if operation is None:
            allowed = [*node.operations, *(["HEAD"] if "GET" in node.operations else [])]
            raise Problem(METHOD_NOT_ALLOWED, headers=[(b"allow", ", ".join(sorted(allowed)).encode())])
        request.values = tuple(values)
        return operation


@dataclass(slots=True)
class _Node:
    """One place in the tree of paths: what is below it by name, and below any other text."""

    named: dict[str, "_Node"] = field(default_factory=dict)
    open: "_Node | None" = None
    operations: dict[str, Operation] = field(default_factory=dict)

    def open_child(self) -> "_Node":
        if self.open is None:
            self.open = _Node()
        return self.open


def _segments(request: Request) -> list[str]:
    """The decoded parts of the path; an encoded slash belongs to its part, as in the document number 2026/17."""
    raw: bytes = request.scope.get("raw_path") or b""
    if b"%" not in raw:
        path: str = request.scope["path"]
        return path.split("/")[1:]
    try:
        return [unquote(segment, errors="strict") for segment in raw.decode("ascii").split("/")[1:]]
    except UnicodeDecodeError:
        raise Problem(PATH_NOT_FOUND) from None
