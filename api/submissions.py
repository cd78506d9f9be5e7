"""From a validated command to what the writer takes: with its key, its circumstances and who sent it."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Self
from uuid import UUID, uuid4

from api.decoding import Decoder
from api.problems import IDEMPOTENCY_KEY_MISSING, Problem
from api.requests import Request
from application.commands import Command, CommandDefinition
from application.keys import Principal
from application.ports import CommandKey
from application.shapes import REFERENCE_LENGTH_MAX
from application.submissions import Submission
from application.unit_of_work import Metadata

KEY_PATTERN = r"^[!-~]{1,255}$"
_KEY = re.compile(rb"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a request says about each command in it."""

    principal: Principal
    correlation_id: UUID | None
    causation_id: UUID | None
    on_behalf_of: str | None

    @classmethod
    def of(cls, request: Request) -> Self:
        """Read the headers. Raises a `Problem` for one that is malformed."""
        return cls(
            principal=request.principal,
            correlation_id=request.uuid(b"correlation-id") or request.trace_id(),
            causation_id=request.uuid(b"causation-id"),
            on_behalf_of=request.on_behalf_of(),
        )


@dataclass(frozen=True, slots=True)
class CommandForm:
    """A command with what reads it and what writes it in canonical form."""

    definition: CommandDefinition
    decode: Decoder[Command]
    canonical: Callable[[Command], bytes]


@cache
def form_of(definition: CommandDefinition) -> CommandForm:
    """The form of one command; making it compiles its validator, so it is made once."""
    decode: Decoder[Command] = Decoder(definition.command)
    return CommandForm(definition, decode, canonical_form(decode))


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressed:
    """A validated command and what it is addressed to."""

    form: CommandForm
    command: Command
    key: str
    target: str | None = None
    expected_version: int | None = None


class SubmissionMaker:
    """Makes submissions: gives ids and the time of arrival."""

    def __init__(self, new_id: Callable[[], UUID], clock: Callable[[], datetime]) -> None:
        self._new_id = new_id
        self._clock = clock

    def __call__(self, addressed: Addressed, circumstances: Circumstances) -> Submission:
        """A submission; without `occurred_at`, what is recorded happens now."""
        command, form, principal = addressed.command, addressed.form, circumstances.principal
        command_id, received_at = self._new_id(), self._clock()
        metadata = Metadata(
            command_id=command_id,
            actor=principal.actor,
            actor_kind=principal.actor_kind,
            occurred_at=command.occurred_at or received_at,
            received_at=received_at,
            correlation_id=circumstances.correlation_id or command_id,
            causation_id=circumstances.causation_id,
            on_behalf_of=circumstances.on_behalf_of,
            reason=command.reason,
            source=command.source,
            source_recorded_at=command.source_recorded_at,
        )
        name, target = form.definition.name, addressed.target or ""
        return Submission(
            key=CommandKey(principal.actor, addressed.key),
            definition=form.definition,
            command=command,
            metadata=metadata,
            request=b"%b\0%b\0%b" % (name.encode(), target.encode(), form.canonical(command)),
            target=addressed.target,
            expected_version=addressed.expected_version,
            credential_id=principal.credential_id,
        )


def canonical_form(decoder: Decoder[Command]) -> Callable[[Command], bytes]:
    """Writes a command in the form that makes two requests equal.

    Neither the order of fields, nor white space, nor a default that is spelled out makes a difference; so a field that
    a later version adds leaves the requests of today what they are.
    """
    write = decoder.adapter.serializer.to_json

    def canonical(command: Command) -> bytes:
        return write(command, exclude_defaults=True)

    return canonical


def is_key(text: str) -> bool:
    """Whether this can be an idempotency key."""
    return _KEY.fullmatch(text.encode()) is not None


def is_reference(text: str) -> bool:
    """Whether this can name a stream: our id, or `source:identifier`."""
    return len(text) <= REFERENCE_LENGTH_MAX and text.isprintable()


def idempotency_key(request: Request) -> str:
    """The key of the command. Its absence is answered with a line for the shell that has one."""
    given = request.given.get(b"idempotency-key", b"")
    if not _KEY.fullmatch(given):
        raise Problem(IDEMPOTENCY_KEY_MISSING, example=_example(request))
    return given.decode()


def _example(request: Request) -> str:
    host, port = request.scope.get("server") or ("127.0.0.1", 8000)
    path = (request.scope.get("raw_path") or b"").decode("ascii", errors="replace") or request.scope["path"]
    return (
        f'curl -X POST {shlex.quote(f"http://{host}:{port}{path}")} -H "Authorization: Bearer $RAPPORT_KEY" '
        f"-H 'Idempotency-Key: {uuid4()}' -H 'Content-Type: application/json' --data @command.json"
    )
