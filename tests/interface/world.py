"""A running service: sends what it would accept, changed as somebody wishes, and takes down what it answers."""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count
from typing import Any, TypeAlias

import httpx

from application.commands import Role
from tests.api.running import description, resolved
from tests.interface.accepted import ACCEPTED, BEGINNINGS, WORLD, Body, filled, filled_text
from tests.interface.refused import Refused

NDJSON = "application/x-ndjson"
AS_LINES = (("content-type", NDJSON),)
QUESTIONS = {"valid_at": "2026-03-31", "base_to": "2026-01-01", "country": "DE", "year": "2026"}
"""What is said in a question where something has to be."""
_PREFERRED = (Role.SERVICE, Role.AUDITOR)

_TOLD_BY_EVENTS = ("contact_id", "message_id")

_keys = count()


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as the description says it is."""

    name: str
    method: str
    path: str
    described: Mapping[str, Any] = field(repr=False, hash=False, compare=False)

    @property
    def roles(self) -> frozenset[str]:
        """Who may use it; nobody in particular, where it needs no key."""
        return frozenset(re.findall(r"`(\w+)`", self.described["description"].rpartition("Roles: ")[2]))

    @property
    def fields(self) -> frozenset[str]:
        """The fields of its body, if it is a command."""
        body = self.described.get("requestBody", {}).get("content", {}).get("application/json")
        return frozenset(resolved(body["schema"])["properties"]) if body else frozenset()

    @property
    def problems(self) -> frozenset[str]:
        """Codes of all problems that it documents, those in lines of an answer as well."""
        return frozenset(re.findall(r"urn:rapport:problem:([\w-]+)", str(self._responses)))

    @property
    def statuses(self) -> Mapping[str, frozenset[str]]:
        """The same by status; of problems in lines it is that of the answer, 200."""
        found = {
            status: frozenset(re.findall(r"urn:rapport:problem:([\w-]+)", str(each)))
            for status, each in self._responses.items()
        }
        return {status: codes for status, codes in found.items() if codes}

    @property
    def _responses(self) -> Mapping[str, Any]:
        return {status: resolved(each) for status, each in self.described["responses"].items()}

    @property
    def answers_in_lines(self) -> bool:
        """Whether it takes many commands, and answers each by a line."""
        return NDJSON in self._responses["200"]["content"]

    @property
    def required(self) -> Mapping[str, str]:
        """The parameters that a question has to have."""
        return {
            each["name"]: QUESTIONS[each["name"]]
            for each in map(resolved, self.described.get("parameters", ()))
            if each["in"] == "query" and each.get("required", False)
        }


@cache
def operations() -> Mapping[str, Operation]:
    """Every operation, by its name."""
    return {
        described["operationId"]: Operation(described["operationId"], method.upper(), path, described)
        for path, methods in description()["paths"].items()
        for method, described in methods.items()
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    operation: Operation
    path: str
    role: Role | None
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: Body | None = None
    content: bytes | Callable[[], AsyncIterator[bytes]] | None = None
    """What is sent in place of the body."""

    def with_body(self, **fields: Any) -> "Asked":
        """The same with other fields."""
        return replace(self, body={**(self.body or {}), **fields})

    def with_header(self, name: str, value: str) -> "Asked":
        """The same with a header in place of the one of this name."""
        return replace(self, headers=(*(each for each in self.headers if each[0] != name), (name, value)))

    def without_header(self, name: str) -> "Asked":
        """The same without a header."""
        return replace(self, headers=tuple(each for each in self.headers if each[0] != name))

    def with_query(self, query: str) -> "Asked":
        """The same with more in its query string."""
        return replace(self, query="&".join(filter(None, (self.query, query))))

    def as_line(self) -> bytes:
        """A command as a line of a bulk body."""
        headers = dict(self.headers)
        line: dict[str, Any] = {"command": self.operation.name, "key": headers["idempotency-key"]}
        if "{id}" in self.operation.path:
            line |= {
                "target": self.path.split("/")[3],
                "if_match": int(headers.get("if-match", '"0"').strip('"')) or None,
            }
        data = self.content if isinstance(self.content, bytes) else written(self.body or {})
        return b'%b,"data":%b}' % (written(line)[:-1], data)


Tell: TypeAlias = Callable[[Operation, httpx.Response], None]


def written(body: Body) -> bytes:
    """A body as it is sent."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass
class World:
    """A service with clients of every role, and things that requests are about."""

    clients: Mapping[Role | None, httpx.AsyncClient]
    tell: Tell
    """Takes down what is answered."""
    known: dict[str, str] = field(default_factory=dict)
    """What stands for the texts in braces; under the name of a collection, what was begun in it last."""
    events: int = 0
    """How many events were recorded, as the answers say."""

    async def begin(self) -> None:
        """Make everything that there is before."""
        for name, fields in WORLD:
            collection = operations()[name].path.split("/")[2]
            answer = await self._do(name, {**ACCEPTED[name].body, **fields}, self.known.get(collection), self.known)
            if BEGINNINGS[collection] == name:
                self.known[collection] = answer["id"]
            self.known[name] = answer["id"]

    async def ready(self, name: str, differs: Refused | None = None) -> Asked:
        """A request that is accepted, but for the difference; all that has to be sent before has been sent."""
        operation, differs = operations()[name], differs or Refused()
        if name == "take-commands":
            line = await self.line("register-product")
            return Asked(operation, operation.path, Role.SERVICE, "events=true", AS_LINES, content=line)
        asked = Asked(operation, operation.path, self._role(operation))
        known = dict(self.known)
        if "{id}" in operation.path:
            known["id"] = await self._target(operation, differs, known)
            asked = replace(asked, path=operation.path.replace("{id}", known["id"]))
        if "{key}" in operation.path:
            asked = replace(asked, path=operation.path.replace("{key}", await self._key()))
        if name not in ACCEPTED:
            query = "&".join(f"{parameter}={value}" for parameter, value in operation.required.items())
            return replace(asked, query=query)
        changed = {field: value for field, value in differs.body.items() if field in operation.fields}
        body = filled({**ACCEPTED[name].body, **changed}, known)
        headers = (("content-type", "application/json"), ("idempotency-key", f"key-{next(_keys)}"))
        return replace(asked, body=body, headers=headers)

    async def line(self, name: str) -> bytes:
        """A command that is accepted, as a line of a bulk body."""
        return (await self.ready(name)).as_line()

    async def send(self, asked: Asked) -> httpx.Response:
        """Send a request; the answer has been held to the description, and taken down."""
        content = asked.content() if callable(asked.content) else asked.content
        if content is None and asked.body is not None:
            content = written(asked.body)
        response = await self.clients[asked.role].request(
            asked.operation.method,
            f"{asked.path}?{asked.query}" if asked.query else asked.path,
            headers=list(asked.headers),
            content=content,
        )
        self.tell(asked.operation, response)
        self.events += _events_in(asked.operation, response)
        return response

    async def _target(self, operation: Operation, differs: Refused, known: dict[str, str]) -> str:
        """What a request is sent to: a command to something of its own, to which all has happened that has to."""
        collection = operation.path.split("/")[2]
        if operation.name not in ACCEPTED:
            return self.known[collection]
        if differs.target is None:
            beginning = BEGINNINGS[collection]
            begun = await self._do(beginning, {**ACCEPTED[beginning].body, **differs.begun_with}, None, known)
            target: str = begun["id"]
        else:
            target = filled_text(differs.target, known)
        known["id"] = target
        for step in ACCEPTED[operation.name].before if differs.before is None else differs.before:
            name, fields = (step, {}) if isinstance(step, str) else step
            await self._do(name, {**ACCEPTED[name].body, **fields}, target, known)
        return target

    async def _do(self, name: str, body: Body, target: str | None, known: dict[str, str]) -> dict[str, Any]:
        """Have a command accepted; what its events say is known from then on."""
        operation = operations()[name]
        path = operation.path.replace("{id}", target or "")
        headers = (("content-type", "application/json"), ("idempotency-key", f"key-{next(_keys)}"))
        asked = Asked(operation, path, self._role(operation), headers=headers, body=filled(body, known))
        response = await self.send(asked)
        assert response.is_success, f"{name}: {response.text}"
        answer: dict[str, Any] = response.json()
        self.known["position"] = str(answer["position"])
        for event in answer["events"]:
            known |= {name: event["data"][name] for name in _TOLD_BY_EVENTS if event["data"].get(name)}
        return answer

    async def _key(self) -> str:
        asked = await self.ready("register-product")
        await self.send(asked)
        return dict(asked.headers)["idempotency-key"]

    @staticmethod
    def _role(operation: Operation) -> Role | None:
        if not operation.roles:
            return None
        return next((role for role in _PREFERRED if role in operation.roles), Role(min(operation.roles)))


def codes(response: httpx.Response) -> frozenset[str]:
    """The problems in an answer: its own, and those of its lines."""
    if not response.headers["content-type"].startswith(("application/problem+json", NDJSON)):
        return frozenset()
    return frozenset(re.findall(r'"urn:rapport:problem:([\w-]+)"', response.text))


def _events_in(operation: Operation, response: httpx.Response) -> int:
    """How many events an answer says it has recorded."""
    if operation.method != "POST" or not response.is_success:
        return 0
    answers = [json.loads(line) for line in response.text.splitlines()]
    return sum(len(each.get("events", ())) for each in answers if not each.get("replayed", False))
