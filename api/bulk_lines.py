"""The lines of a bulk request: how they are cut, decoded, answered and counted."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, Union
from uuid import UUID

from pydantic import Field, StringConstraints
from pydantic_core import from_json, to_json

from api.decoding import Decoder
from api.epochs import Epochs
from api.event_documents import EventDocuments, ShownEvent
from api.problems import (
    BODY_TOO_LARGE,
    MALFORMED_JSON,
    ROLE_NOT_ALLOWED,
    Problem,
    ProblemDocument,
    from_refusal,
)
from api.shapes import described
from api.submissions import KEY_PATTERN, Addressed, Circumstances, CommandForm, SubmissionMaker, is_key
from application.commands import CommandDefinition
from application.shapes import Reference
from application.submissions import Answer, Submission
from domain.errors import Refusal

Key = Annotated[str, StringConstraints(pattern=KEY_PATTERN)]
Version = Annotated[int, Field(ge=0, lt=2**31)]
Tag = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}-[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$")]
"""A version and its epoch, as in an ETag."""

_COMMAND = "/data"
"""Pointer to the command within its line."""


@described
class HowToTakeThem:
    """What a bulk request says about all of its lines."""

    atomic: bool = False
    """Store all lines together or none."""
    dry_run: bool = False
    """Decide every line and store none. Lines do not see what those before them would have done."""
    events: bool = False
    """Answer with the events that were recorded."""


@described
class LineAnswer:
    """A line whose command is done: 201 where something was recorded, 200 where it had been, or nothing was to do."""

    line: int
    key: str
    status: Literal[200, 201]
    id: str
    version: int
    position: int
    epoch: UUID | None
    """Of the log, as in the answer to a single command; null until the process has reached the log."""
    replayed: bool
    events: tuple[ShownEvent, ...] | None = None


@described
class LineProblem:
    """A line whose command is not done, and why; `key` is null where it could not be read."""

    line: int
    key: str | None
    status: int
    problem: ProblemDocument


@described
class Summary:
    """The last line: every line counted under exactly one outcome."""

    done: Literal[True]
    lines: int
    accepted: int
    replayed: int
    refused: int
    """A rule said no."""
    invalid: int
    """It could not be read, was not valid or not allowed."""
    failed: int
    """It could not be served now; the same line may be sent again."""


@dataclass(slots=True)
class Line:
    """One line on its way: what is to be submitted, or the problem that it already has."""

    number: int
    key: str | None = None
    submission: Submission | None = None
    problem: Problem | None = None
    is_valid: bool = True

    def refuse_as_invalid(self, problem: Problem) -> None:
        """Give it a problem of its own making."""
        self.submission, self.problem, self.is_valid = None, problem, False


@dataclass(slots=True)
class Count:
    """How many lines came to what."""

    accepted: int = 0
    replayed: int = 0
    refused: int = 0
    invalid: int = 0
    failed: int = 0

    def summary(self) -> bytes:
        """The last line of the answer."""
        outcomes = dataclasses.asdict(self)
        return to_json({"done": True, "lines": sum(outcomes.values()), **outcomes}) + b"\n"


class LineSplitter:
    """Cuts pieces of a body into lines. A line that is too long is dropped while it arrives, and comes out as None."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._begun: list[bytes] = []
        self.kept_bytes = 0
        """Of the line that has begun and not ended."""
        self._dropping = False

    def feed(self, piece: bytes) -> Iterator[bytes | None]:
        """The lines that end in this piece."""
        first, *others = piece.split(b"\n")
        self._keep(first)
        for other in others:
            yield self._end()
            self._keep(other)

    def end(self) -> Iterator[bytes | None]:
        """The last line, if it does not end with a line break."""
        if self._begun or self._dropping:
            yield self._end()

    def _keep(self, part: bytes) -> None:
        self.kept_bytes += len(part)
        if self.kept_bytes > self._bytes_max:
            self._dropping = True
        if self._dropping:
            self._begun.clear()
            self.kept_bytes = 0
        elif part:
            self._begun.append(part)

    def _end(self) -> bytes | None:
        line = None if self._dropping else b"".join(self._begun)
        self._begun.clear()
        self.kept_bytes, self._dropping = 0, False
        return line


class LineDecoder:
    """Makes lines of text into submissions."""

    def __init__(self, forms: Mapping[str, CommandForm], make: SubmissionMaker, bytes_max: int, epochs: Epochs) -> None:
        self._forms = forms
        self._epochs = epochs
        self._make = make
        self._bytes_max = bytes_max
        self._decode, self.shape = _decoder(tuple(form.definition for form in forms.values()))
        """The type of a line: one for each command, told apart by its name."""

    def __call__(self, number: int, text: bytes | None, circumstances: Circumstances, how: HowToTakeThem) -> Line:
        """The line with its submission, or with its problem."""
        line = Line(number)
        if text is None:
            line.refuse_as_invalid(Problem(BODY_TOO_LARGE, facts={"bytes_max": str(self._bytes_max)}))
            return line
        try:
            decoded = self._decode(text)
            line.key = decoded.key
            line.submission = self._submission(decoded, circumstances, how)
        except Problem as problem:
            # Its traceback would hold everything that is under way here, this line too, until garbage is collected.
            line.refuse_as_invalid(problem.with_traceback(None))
            if problem.kind is not MALFORMED_JSON:
                line.key = _key_in(text)
        return line

    def _submission(self, decoded: Any, circumstances: Circumstances, how: HowToTakeThem) -> Submission:
        form = self._forms[decoded.command]
        definition, role = form.definition, circumstances.principal.role
        if role not in definition.roles:
            raise Problem(ROLE_NOT_ALLOWED, facts={"role": role, "allowed": ", ".join(sorted(definition.roles))})
        addressed = Addressed(
            form=form,
            command=dataclasses.replace(decoded.data, dry_run=True) if how.dry_run else decoded.data,
            key=decoded.key,
            target=None if definition.creates else decoded.target,
            expected_version=None if definition.creates else self._expected_version(decoded.if_match),
        )
        return self._make(addressed, circumstances)

    def _expected_version(self, if_match: int | str | None) -> int | None:
        if not isinstance(if_match, str):
            return if_match
        version, _, epoch = if_match.partition("-")
        return self._epochs.expected(int(version), UUID(epoch))


class LineWriter:
    """Writes the answers to lines, and counts them."""

    def __init__(self, documents: EventDocuments, epochs: Epochs) -> None:
        self._documents = documents
        self._epochs = epochs

    def __call__(
        self, lines: Iterable[Line], outcomes: Sequence[Answer | Refusal], count: Count, how: HowToTakeThem
    ) -> bytes:
        """The answers to these lines; there is an outcome for each that has no problem of its own."""
        remaining = iter(outcomes)
        return b"".join([self._one(line, line.problem or next(remaining), count, how) for line in lines])

    def _one(self, line: Line, outcome: Answer | Refusal | Problem, count: Count, how: HowToTakeThem) -> bytes:
        key = b"null" if line.key is None else to_json(line.key)
        if isinstance(outcome, Answer):
            return self._done(line.number, key, outcome, count, how)
        problem = outcome if isinstance(outcome, Problem) else from_refusal(outcome, within=_COMMAND)
        status = problem.kind.status
        if not line.is_valid:
            count.invalid += 1
        elif status in {500, 503}:
            count.failed += 1
        else:
            count.refused += 1
        return b'{"line":%d,"key":%b,"status":%d,"problem":%b}\n' % (line.number, key, status, problem.json())

    def _done(self, number: int, key: bytes, answer: Answer, count: Count, how: HowToTakeThem) -> bytes:
        if answer.replayed:
            count.replayed += 1
        else:
            count.accepted += 1
        is_new = bool(answer.events) and not answer.replayed and not answer.dry_run
        line = b'{"line":%d,"key":%b,"status":%d,"id":"%b","version":%d,"position":%d,"epoch":%b,"replayed":%b%b}\n'
        return line % (
            number,
            key,
            201 if is_new else 200,
            str(answer.target_id).encode(),
            answer.version,
            answer.position,
            to_json(self._epochs.known),
            b"true" if answer.replayed else b"false",
            b',"events":' + self._documents.many(answer.events) if how.events else b"",
        )


@cache
def _decoder(definitions: tuple[CommandDefinition, ...]) -> tuple[Decoder[Any], Any]:
    """What decodes lines with these commands, and the type of such a line; compiled once."""
    shapes = tuple(_line_shape(each) for each in definitions)
    shape: Any = Annotated[Union[shapes], Field(discriminator="command")]  # noqa: UP007 - made of a tuple
    return Decoder(shape), shape


def _line_shape(definition: CommandDefinition) -> type[Any]:
    """What a line with this command looks like."""
    fields: list[Any] = [("key", Key), ("command", Literal[definition.name]), ("data", definition.command)]
    if not definition.creates:
        fields += [("target", Reference), ("if_match", Version | Tag | None, field(default=None))]
    name = "".join(word.capitalize() for word in definition.name.split("-")) + "Line"
    return dataclasses.make_dataclass(name, fields, frozen=True, slots=True, kw_only=True)


def _key_in(text: bytes) -> str | None:
    """The key of a line that is JSON and not valid."""
    sent = from_json(text)
    key = sent.get("key") if isinstance(sent, dict) else None
    return key if isinstance(key, str) and is_key(key) else None
