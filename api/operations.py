"""Operations: what can be done over HTTP. Routes, roles and documentation all come from this one description."""

import enum
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, to_json
from starlette.responses import Response

from api.problems import INVALID_PARAMETER, FieldError, Problem, ProblemType
from api.requests import Request
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
    schema: Mapping[str, Any]
    """What a value looks like."""
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
    line_problems: tuple[KnownProblem, ...] = ()
    """What lines of its answer may say, while the answer as a whole says yes."""

    def __post_init__(self) -> None:
        """Refuse an operation for which nobody has said who may use it."""
        if not self.roles:
            msg = f"{self.method} {self.path} has no roles: say who may use it"
            raise ValueError(msg)

    @property
    def meaning(self) -> str:
        """What it does, and who may use it."""
        if isinstance(self.roles, Access):
            who = "Needs no key."
        else:
            who = "Roles: " + ", ".join(sorted(f"`{role}`" for role in self.roles)) + "."
        return f"{self.description}\n\n{who}".strip()


class QueryReader:
    """Reads the parameters of one operation into its dataclass.

    They are read as the fields of a body are: numbers and truth values as JSON writes them, everything else as text.
    """

    _compiled: ClassVar[dict[type[Any], tuple[Callable[..., Any], frozenset[str]]]] = {}
    """What validates parameters, and which of them are literals, by dataclass; compiled once."""

    def __init__(self, query: type[Any]) -> None:
        if query not in self._compiled:
            adapter = TypeAdapter(query)
            properties = adapter.json_schema().get("properties", {})
            literals = frozenset(name for name, schema in properties.items() if _is_literal(schema))
            self._compiled[query] = adapter.validator.validate_json, literals
        self._validate, self._literal = self._compiled[query]

    def __call__(self, request: Request) -> Any:
        """The parameters. Raises a `Problem` that names those that are wrong, and repeats none of their values."""
        return self.read(request.query())

    def read(self, parameters: Mapping[str, str]) -> Any:
        """The same for parameters that are at hand."""
        fields = [
            b"%b:%b" % (to_json(name), value.encode() if self._is_written_as_literal(name, value) else to_json(value))
            for name, value in parameters.items()
        ]
        try:
            return self._validate(b"{%b}" % b",".join(fields), strict=True, extra="forbid")
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False, include_context=False)
            raise Problem(INVALID_PARAMETER, errors=[_field_error(each) for each in found]) from None

    def _is_written_as_literal(self, name: str, value: str) -> bool:
        return name in self._literal and _LITERAL.fullmatch(value) is not None


_LITERAL = re.compile(r"-?(0|[1-9][0-9]{0,18})|true|false")


def _is_literal(schema: Mapping[str, Any]) -> bool:
    kinds = {schema.get("type"), *(each.get("type") for each in schema.get("anyOf", ()))}
    return not kinds.isdisjoint({"integer", "boolean"})


def _field_error(error: ErrorDetails) -> FieldError:
    is_unknown = error["type"] == "unexpected_keyword_argument"
    detail = "unknown parameter" if is_unknown else error["msg"].removeprefix("Value error, ")
    return FieldError(parameter=shown_name(error["loc"]), detail=detail)


def shown_name(location: Sequence[int | str]) -> str:
    """The name of a parameter as far as it can be one: anything else may be personal."""
    name = str(location[0]) if location else ""
    return name if name.isascii() and name.isidentifier() and len(name) <= PARAMETER_NAME_LENGTH_MAX else "?"


PARAMETER_NAME_LENGTH_MAX = 40
"""No parameter of ours is longer; what is longer was not meant as a name."""
