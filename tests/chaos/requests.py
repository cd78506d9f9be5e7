"""Requests whose fate can be told: each has a mark that its events carry, and keeps every answer that it got."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle
from typing import Any
from uuid import UUID, uuid4

from tests.api.bodies import invoice

BATCH_LINES = 5


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One command that was answered as recorded: its key, and where its events stand."""

    key: str
    id: UUID
    version: int
    first_position: int
    last_position: int


@dataclass(slots=True, eq=False)
class Sent:
    """One request: a command, or several in lines."""

    path: str
    keys: tuple[str, ...]
    """The key of each command."""
    commands: tuple[dict[str, Any], ...]
    """The body of the one command, or the lines without their keys."""
    is_bulk: bool = False
    is_atomic: bool = False
    mark: UUID = field(default_factory=uuid4)
    """Its correlation id: the log has it in each event, whatever became of the keys."""
    acknowledged: dict[str, Acknowledged] = field(default_factory=dict)
    """By key, as first answered."""
    changed_answers: int = 0
    """Answers that differ from the first one to the same command."""
    attempts: int = 0
    statuses: list[int] = field(default_factory=list)
    """Of every answer, and of every line in it, that did not say that the command is recorded."""

    @property
    def is_answered(self) -> bool:
        """Whether every command in it was answered as recorded."""
        return len(self.acknowledged) == len(self.keys)

    def body(self) -> bytes:
        """What is sent, the same each time."""
        if not self.is_bulk:
            return json.dumps(self.commands[0]).encode()
        lines = ({"key": key, **command} for key, command in zip(self.keys, self.commands, strict=True))
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    def headers(self) -> dict[str, str]:
        """Of the request, but for who sends it."""
        headers = {"correlation-id": str(self.mark)}
        if self.is_bulk:
            return headers | {"content-type": "application/x-ndjson"}
        return headers | {"content-type": "application/json", "idempotency-key": self.keys[0]}

    def acknowledge(self, key: str, answer: dict[str, Any]) -> None:
        """Take note of an answer that a command is recorded."""
        positions = [event["position"] for event in answer["events"]]
        known = Acknowledged(key, UUID(answer["id"]), answer["version"], positions[0], positions[-1])
        if self.acknowledged.setdefault(key, known) != known:
            self.changed_answers += 1


class Work:
    """An endless variety of requests about customers that were registered before."""

    def __init__(self, name: str, customers: Sequence[UUID]) -> None:
        """`name` makes numbers unique among the scenarios on one log."""
        self._name = name
        self._numbers = count(1)
        self._customers = cycle(customers)
        kinds = (self._person, self._note, self._invoice, self._atomic, self._note, self._case, self._bulk, self._note)
        self._kinds = cycle(kinds)

    def __iter__(self) -> Iterator[Sent]:
        while True:
            yield next(self._kinds)()

    def _person(self) -> Sent:
        return Sent("/v1/customers", (str(uuid4()),), (person(self._number()),))

    def _note(self) -> Sent:
        path = f"/v1/customers/{next(self._customers)}/record-interaction"
        return Sent(path, (str(uuid4()),), (self._interaction(),))

    def _invoice(self) -> Sent:
        return Sent("/v1/sales-documents/post-invoice", (str(uuid4()),), (self._posted(),))

    def _case(self) -> Sent:
        opened = {
            "case_number": self._number(),
            "kind": "complaint",
            "channel": "phone",
            "opened_by": "customer",
            "customer": str(next(self._customers)),
            "first_message": "The flour clumps.",
        }
        return Sent("/v1/support-cases", (str(uuid4()),), (opened,))

    def _atomic(self) -> Sent:
        return self._lines("atomic=true&events=true", is_atomic=True)

    def _bulk(self) -> Sent:
        return self._lines("events=true", is_atomic=False)

    def _lines(self, query: str, *, is_atomic: bool) -> Sent:
        lines: list[dict[str, Any]] = [
            {"command": "register-customer", "data": person(self._number())},
            {"command": "post-invoice", "data": self._posted()},
        ]
        while len(lines) < BATCH_LINES:
            target = str(next(self._customers))
            lines.append({"command": "record-interaction", "target": target, "data": self._interaction()})
        keys = tuple(str(uuid4()) for _ in lines)
        return Sent(f"/v1/commands?{query}", keys, tuple(lines), is_bulk=True, is_atomic=is_atomic)

    def _posted(self) -> dict[str, Any]:
        return invoice(self._number(), str(next(self._customers)))

    def _interaction(self) -> dict[str, Any]:
        summary = f"The flour clumps again, for time {next(self._numbers)}."
        return {"channel": "phone", "direction": "inbound", "summary": summary}

    def _number(self) -> str:
        return f"{self._name}-{next(self._numbers)}"


def person(number: str) -> dict[str, Any]:
    """Ada, again and again: somebody with personal values, which need a key."""
    return {
        "customer_number": number,
        "kind": "person",
        "relationship": "customer",
        "name": "Ada Lovelace",
        "language": "en",
        "currency": "EUR",
        "country": "GB",
    }
