"""Commands over HTTP: one route for each, made from its class by one factory, and the answer to "did it happen?".

A command that starts a stream is sent to its collection (`POST /v1/customers`); where several commands start one, each
has its name below the collection (`POST /v1/sales-documents/post-invoice`). Every other command is sent to what it is
about (`POST /v1/customers/{id}/block-customer`), named by our id or as `source:identifier`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Protocol
from uuid import UUID

from pydantic import StringConstraints
from pydantic_core import to_json
from starlette.responses import Response

from api.epochs import Epochs, tag
from api.event_documents import EventDocuments, ShownEvent
from api.operations import Body, Handler, KnownProblem, Operation, QueryReader
from api.problems import (
    BODY_TOO_LARGE,
    BODY_TOO_SLOW,
    COMMAND_NOT_FOUND,
    DUPLICATE_MEMBER,
    IDEMPOTENCY_KEY_MISSING,
    INVALID_BODY,
    LOG_UNAVAILABLE,
    MALFORMED_HEADER,
    MALFORMED_JSON,
    QUEUE_IS_FULL,
    ROLE_NOT_ALLOWED,
    UNSUPPORTED_MEDIA_TYPE,
    Problem,
)
from api.requests import Request
from api.responses import JSON, WrittenJson
from api.service import Limits
from api.shapes import described
from api.submissions import (
    Addressed,
    Circumstances,
    CommandForm,
    SubmissionMaker,
    idempotency_key,
    is_key,
    is_reference,
)
from application.commands import CommandDefinition, Role
from application.ports import CommandKey, EventLog
from application.submissions import (
    Answer,
    KeyIsUsedForAnotherRequest,
    OccurredInTheFuture,
    StreamHasMoved,
    Submission,
    replayed,
)
from domain.errors import Refusal

COMMAND_HEADERS = ("Idempotency-Key", "Correlation-Id", "Causation-Id", "On-Behalf-Of", "traceparent")
_PRINCIPAL = r"^key:[0-9a-f-]{36}$"
_READS_ALL_COMMANDS = frozenset({Role.AUDITOR, Role.ADMIN})

REFUSALS_OF_EVERY_COMMAND: tuple[type[Refusal], ...] = (KeyIsUsedForAnotherRequest, OccurredInTheFuture)
PROBLEMS_OF_BODIES = (
    MALFORMED_JSON,
    DUPLICATE_MEMBER,
    MALFORMED_HEADER,
    BODY_TOO_SLOW,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID_BODY,
)


class Submits(Protocol):
    """Takes commands, as the writer does."""

    async def submit(self, submission: Submission) -> Answer:
        """See `Writer.submit`."""
        ...

    async def submit_many(self, submissions: Sequence[Submission], *, atomic: bool = False) -> list[Answer | Refusal]:
        """See `Writer.submit_many`."""
        ...


@described
class CommandAnswer:
    """What a command has done."""

    id: UUID
    """The stream that the command was addressed to, or that it has started."""
    epoch: UUID
    """The epoch of the log in which version and position are to be understood."""
    version: int
    """The version of that stream after the command; with the epoch the ETag."""
    position: int
    """Of the last event; where nothing had to change, the end of the log at that moment; 0 for a dry run."""
    replayed: bool
    """The command had been recorded before, and this is its first answer again."""
    dry_run: bool
    """The command was decided and not recorded."""
    events: tuple[ShownEvent, ...]
    """What was recorded, in its order."""


@described
class StoredCommand(CommandAnswer):
    """What a command has done, and how its sender had proved who it is."""

    credential_id: UUID | None
    """The credential that sent it; null for commands from before principals had several."""


@described
class WhoseCommand:
    """Of whom the key is."""

    principal: Annotated[str, StringConstraints(pattern=_PRINCIPAL)] | None = None
    """Who sent the command, as `actor` of its events says; only an auditor or an admin may ask for somebody else's."""


def paths(definitions: Iterable[CommandDefinition]) -> Mapping[str, str]:
    """The path of each command, by its name."""
    known = tuple(definitions)
    creating = Counter(each.aggregate.collection for each in known if each.creates)
    found = {}
    for each in known:
        collection = f"/v1/{each.aggregate.collection}"
        if not each.creates:
            found[each.name] = f"{collection}/{{id}}/{each.name}"
        elif creating[each.aggregate.collection] == 1:
            found[each.name] = collection
        else:
            found[each.name] = f"{collection}/{each.name}"
    return found


class CommandRoutes:
    """Makes the operations of all commands."""

    def __init__(  # noqa: PLR0913 - the composition root names each of them once
        self,
        forms: Mapping[str, CommandForm],
        *,
        writer: Submits,
        log: EventLog,
        documents: EventDocuments,
        make: SubmissionMaker,
        limits: Limits,
        locations: Mapping[str, str],
        epochs: Epochs,
    ) -> None:
        """`locations` has the path at which a stream of each collection is found, with `{id}` in it."""
        self._forms = forms
        self._writer = writer
        self._log = log
        self._documents = documents
        self._make = make
        self._limits = limits
        self._locations = locations
        self._epochs = epochs
        self._whose = QueryReader(WhoseCommand)

    def operations(self) -> Iterator[Operation]:
        """The operation of each command, and the question whether one happened."""
        for name, path in paths(form.definition for form in self._forms.values()).items():
            yield self._operation(self._forms[name], path)
        yield Operation(
            name="find-command",
            method="GET",
            path="/v1/commands/{key}",
            tag="commands",
            summary="Ask whether a command has happened",
            description="The first answer to the command with this idempotency key, as its sender got it. A command "
            "that was refused, or only tried, is not remembered and may be sent again.",
            roles=frozenset({Role.SERVICE, Role.IMPORTER, Role.STAFF, Role.AUDITOR, Role.ADMIN}),
            handler=self._find_command,
            query=WhoseCommand,
            answers={200: Body({"application/json": StoredCommand}, "What the command has done.", _ETAG)},
            problems=(COMMAND_NOT_FOUND, LOG_UNAVAILABLE),
        )

    def _operation(self, form: CommandForm, path: str) -> Operation:
        definition = form.definition
        summary, _, description = (definition.command.__doc__ or definition.name).partition("\n\n")
        headers = _ETAG | _LOCATION if definition.creates else _ETAG
        answers = {200: Body({"application/json": CommandAnswer}, "It is done, or had been done before.", headers)}
        refusals: tuple[KnownProblem, ...] = (StreamHasMoved, *definition.refusals, *REFUSALS_OF_EVERY_COMMAND)
        if definition.creates:
            answers[201] = Body({"application/json": CommandAnswer}, "It is recorded.", headers)
        else:
            refusals = (definition.aggregate.not_found, *refusals)
        return Operation(
            name=definition.name,
            method="POST",
            path=path,
            tag=definition.aggregate.collection,
            summary=" ".join(summary.split()),
            description=" ".join(description.split()),
            roles=definition.roles,
            handler=self._handler(form),
            headers=COMMAND_HEADERS if definition.creates else (*COMMAND_HEADERS, "If-Match"),
            body=Body({"application/json": definition.command}, "The command."),
            answers=answers,
            problems=(IDEMPOTENCY_KEY_MISSING, *PROBLEMS_OF_BODIES, *refusals, QUEUE_IS_FULL, LOG_UNAVAILABLE),
        )

    def _handler(self, form: CommandForm) -> Handler:
        definition = form.definition
        location = self._locations[definition.aggregate.collection]

        async def handle(request: Request) -> Response:
            key = idempotency_key(request)
            target = None if definition.creates else _target(request, definition)
            epoch = await self._epochs.current()
            expected_version = self._expected_version(request, definition)
            circumstances = Circumstances.of(request)
            body = await request.whole_body(
                JSON, bytes_max=self._limits.request_bytes_max, seconds_max=self._limits.body_pause_seconds_max
            )
            command = form.decode(body)
            addressed = Addressed(form=form, command=command, key=key, target=target, expected_version=expected_version)
            answer = await self._writer.submit(self._make(addressed, circumstances))
            headers = {"etag": tag(answer.version, epoch)}
            is_new = False
            if definition.creates and not answer.dry_run:
                headers["location"] = location.format(id=answer.target_id)
                is_new = not answer.replayed
            return WrittenJson(self._documents.answer(answer, epoch), 201 if is_new else 200, headers)

        return handle

    async def _find_command(self, request: Request) -> Response:
        key: str = request.path_params["key"]
        principal, whose = request.principal, self._whose(request).principal
        if whose not in {None, principal.actor} and principal.role not in _READS_ALL_COMMANDS:
            raise Problem(ROLE_NOT_ALLOWED, facts={"role": principal.role})
        if not is_key(key):
            raise Problem(COMMAND_NOT_FOUND)
        command_key = CommandKey(whose or principal.actor, key)
        stored = (await self._log.known([command_key])).get(command_key)
        if stored is None:
            raise Problem(COMMAND_NOT_FOUND)
        events = tuple(await self._log.events(stored.first_position, stored.last_position))
        epoch = await self._epochs.current()
        found = b'%b,"credential_id":%b}' % (
            self._documents.answer(replayed(stored, events), epoch)[:-1],
            to_json(stored.credential_id),
        )
        return WrittenJson(found, headers={"etag": tag(stored.target_version, epoch)})

    def _expected_version(self, request: Request, definition: CommandDefinition) -> int | None:
        """The version that the stream should have.

        One that is only begun has none to match (RFC 9110, section 13.1.1).
        """
        if definition.creates and b"if-match" in request.given:
            raise StreamHasMoved(current_version=0)
        return self._epochs.expected(*request.expected_version())


_ETAG = {"ETag": "The version of the stream after the command and the epoch of the log, for `If-Match`."}
_LOCATION = {"Location": "Where the new stream is found."}


def _target(request: Request, definition: CommandDefinition) -> str:
    target: str = request.path_params["id"]
    if not is_reference(target):
        raise definition.aggregate.not_found
    return target
