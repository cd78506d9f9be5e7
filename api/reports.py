"""Reports over HTTP: their definitions, their answers as JSON or CSV, and the events behind a figure.

Every report has a route of its own, made from its definition; what its parameters mean, it knows itself.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from pydantic_core import to_json
from starlette.responses import Response

from api.epochs import Epochs
from api.event_documents import EventDocuments
from api.events import READS_THE_LOG
from api.log_reading import AsKnown, MinPosition, ReadsLog, position_of, refuse_beyond, wrong_parameter
from api.operations import ALL_ROLES, Body, DeclaredParameter, Handler, Operation, QueryReader, shown_name
from api.patience import ANSWER_SECONDS_MAX, patiently
from api.problems import (
    LOG_UNAVAILABLE,
    MOMENT_IS_NOT_OVER,
    READ_MODEL_UNAVAILABLE,
    ROLE_NOT_ALLOWED,
    FieldError,
    Problem,
)
from api.report_documents import EvidenceDocument, document_of, schema_of
from api.requests import Request
from api.responses import CSV, GOES_ON, Streamed, WrittenJson, link_to_next
from api.service import Limits
from api.shapes import described
from application.commands import Role
from projections.read_model import ReadModelBehind, ReadModelNotFound
from projections.reports import (
    PIECE_ROWS,
    Asked,
    DefinitionIsWithdrawn,
    ParameterIsInvalid,
    ReportAnswer,
    ReportDefinition,
    ReportNotFound,
    Reports,
)

_CSV = f"{CSV}; charset=utf-8; header=present"
TOTAL_ROWS = "rapport-total-rows"
"""The header of CSV with a `limit`, which has no other place to say how many rows there are."""
_FIGURES = "The figures: as JSON a page of them, as CSV all rows, unless `limit` says how many."
_SAYS_WHETHER_CUT = {
    **GOES_ON,
    "Rapport-Total-Rows": "Of CSV with a `limit`: how many rows there are in all.",
}

READS_REPORTS = frozenset({Role.SERVICE, Role.STAFF, Role.AUDITOR, Role.REPORTING, Role.ADMIN})
"""Reports have no personal values in them."""

PROBLEMS = (
    ReportNotFound,
    ParameterIsInvalid,
    MOMENT_IS_NOT_OVER,
    ReadModelBehind,
    ReadModelNotFound,
    READ_MODEL_UNAVAILABLE,
    LOG_UNAVAILABLE,
)


@described
class Meaning:
    """A name, and what it means."""

    name: str
    meaning: str


@described
class ParameterMeaning(Meaning):
    """A parameter of a report."""

    required: bool
    repeated: bool
    values: tuple[str, ...] | None = None
    """What it can be; absent: its meaning says so."""


@described
class WithdrawnVersion:
    """An earlier version of a definition, which was wrong and does not answer any more."""

    version: int
    changed: str
    """What the next version tells otherwise."""


@described
class Definition:
    """What a report means, in words."""

    name: str
    version: int
    title: str
    meaning: str
    rules: tuple[str, ...]
    dimensions: tuple[Meaning, ...]
    measures: tuple[Meaning, ...]
    parameters: tuple[ParameterMeaning, ...]
    reasons: tuple[Meaning, ...]
    """Why a value can be null."""
    withdrawn: tuple[WithdrawnVersion, ...]
    """Earlier versions that were wrong."""


@described
class Catalogue:
    """Every definition that can be asked for, old versions included."""

    reports: tuple[Definition, ...]


DefinitionVersion = Annotated[int | None, Field(ge=1, lt=2**31, description="An older version of the definition.")]


@described
class AsOf(AsKnown):
    """As known when, and in which version of the definition."""

    min_position: MinPosition = None
    definition_version: DefinitionVersion = None


@described
class HowToAnswer(AsOf):
    """As known when, and in which form."""

    format: Literal["json", "csv"] | None = None
    """Without it, as the header Accept says, else JSON."""


@described
class WithEvents(AsOf):
    """As known when, and how much of the events."""

    events: bool = False
    """Show the events and not only their positions."""


class ReportRoutes:
    """Makes the operations of all reports."""

    def __init__(  # noqa: PLR0913 - the composition root names each of them once
        self,
        reports: Reports,
        log: ReadsLog,
        documents: EventDocuments,
        limits: Limits,
        *,
        clock: Callable[[], datetime],
        epochs: Epochs,
    ) -> None:
        self._epochs = epochs
        self._reports = reports
        self._log = log
        self._documents = documents
        self._limits = limits
        self._clock = clock
        self._catalogue = to_json({"reports": [each.document() for each in reports.definitions()]})

    def operations(self) -> Iterator[Operation]:
        """The catalogue, and two operations for each report."""
        yield Operation(
            name="list-reports",
            method="GET",
            path="/v1/reports",
            tag="reports",
            summary="Read what the reports mean",
            roles=ALL_ROLES,
            handler=self._list,
            answers={200: Body({"application/json": Catalogue}, "Every definition.")},
        )
        newest = {each.name: each for each in self._reports.definitions()}
        for definition in newest.values():
            problems = (*PROBLEMS, DefinitionIsWithdrawn) if definition.withdrawn else PROBLEMS
            parameters = tuple(
                DeclaredParameter(each.name, each.meaning, schema_of(each), each.required, each.repeated)
                for each in definition.parameters
                if each.name not in _OWN
            )
            yield Operation(
                name=f"run-report-{definition.name}",
                method="GET",
                path=f"/v1/reports/{definition.name}",
                tag="reports",
                summary=definition.title,
                description=definition.meaning,
                roles=READS_REPORTS,
                handler=self._runner(definition, parameters),
                query=HowToAnswer,
                parameters=parameters,
                answers={
                    200: Body(
                        {"application/json": document_of(definition), "text/csv": None}, _FIGURES, _SAYS_WHETHER_CUT
                    )
                },
                problems=problems,
            )
            yield Operation(
                name=f"explain-report-{definition.name}",
                method="GET",
                path=f"/v1/reports/{definition.name}/events",
                tag="reports",
                summary=f"{definition.title}: the events behind a figure",
                description="The same question, narrowed with `where` to one figure, answered with the positions of "
                "the events that the figure is made of.",
                roles=READS_REPORTS,
                handler=self._explainer(definition, parameters),
                query=WithEvents,
                parameters=parameters,
                answers={200: Body({"application/json": EvidenceDocument}, "The events.", GOES_ON)},
                problems=problems,
            )

    async def _list(self, _request: Request) -> Response:
        return WrittenJson(self._catalogue)

    def _runner(self, definition: ReportDefinition, known: Sequence[DeclaredParameter]) -> Handler:
        query = QueryReader(HowToAnswer)

        async def handle(request: Request) -> Response:
            own, parameters = _parted(request, known)
            asked: HowToAnswer = query.read(own)
            wants_csv = _wants_csv(request, asked.format)
            is_whole = wants_csv and "limit" not in parameters
            if is_whole:
                parameters["limit"] = [str(PIECE_ROWS)]
            question = await self._question(definition, asked, parameters)
            answer = await patiently(self._reports.run(definition.name, question), ANSWER_SECONDS_MAX)
            headers = {"vary": "accept"}
            if is_whole:
                pieces = self._pieces(answer, question, is_asked_for=request.method != "HEAD")
                return Streamed(pieces, _CSV, headers)
            answer, pages = replace(answer, next_cursor=await self._with_epoch(answer.next_cursor)), answer
            if answer.next_cursor is not None:
                headers |= link_to_next(request, cursor=answer.next_cursor)
            if wants_csv:
                headers[TOTAL_ROWS] = str(await self._rows(pages, question))
                return Response(answer.csv(), headers=headers, media_type=_CSV)
            return WrittenJson(answer.json(), headers=headers)

        return handle

    async def _pieces(self, answer: ReportAnswer, question: Asked, *, is_asked_for: bool) -> AsyncGenerator[bytes]:
        """All rows in CSV. Each piece is a query of its own, so that who reads slowly holds no connection."""
        yield answer.csv()
        while is_asked_for and answer.next_cursor is not None:
            answer = await patiently(self._reports.after(answer, question), ANSWER_SECONDS_MAX)
            yield answer.csv(heading=False)

    async def _rows(self, answer: ReportAnswer, question: Asked) -> int:
        """How many rows there are in all, at the position of one page of them."""
        if answer.rows_in_all is not None:
            return answer.rows_in_all
        if answer.next_cursor is None and "cursor" not in question.parameters:
            return len(answer.rows)
        others = {name: values for name, values in question.parameters.items() if name != "cursor"}
        whole = replace(
            question,
            parameters={**others, "limit": [str(PIECE_ROWS)]},
            position=answer.position,
            version=answer.definition.version,
        )
        page = await patiently(self._reports.run(answer.definition.name, whole), ANSWER_SECONDS_MAX)
        rows = len(page.rows)
        while page.next_cursor is not None:
            page = await patiently(self._reports.after(page, whole), ANSWER_SECONDS_MAX)
            rows += len(page.rows)
        return rows

    def _explainer(self, definition: ReportDefinition, known: Sequence[DeclaredParameter]) -> Handler:
        query = QueryReader(WithEvents)

        async def handle(request: Request) -> Response:
            own, parameters = _parted(request, known)
            asked: WithEvents = query.read(own)
            if asked.events and request.principal.role not in READS_THE_LOG:
                error = FieldError(parameter="events", detail="this role may see the positions of events only")
                raise Problem(ROLE_NOT_ALLOWED, errors=[error], facts={"role": request.principal.role})
            question = await self._question(definition, asked, parameters)
            evidence = await patiently(self._reports.evidence(definition.name, question), ANSWER_SECONDS_MAX)
            evidence = replace(evidence, next_cursor=await self._with_epoch(evidence.next_cursor))
            body = evidence.json()
            if asked.events:
                events = self._documents.many(await self._log.events_at(evidence.positions))
                body = b'%b,"events":%b}' % (body[:-1], events)
            more = evidence.next_cursor
            return WrittenJson(body, headers=None if more is None else link_to_next(request, cursor=more))

        return handle

    async def _question(self, definition: ReportDefinition, asked: AsOf, parameters: dict[str, list[str]]) -> Asked:
        """The question, at its position and moment. Of what the source knew, the report itself is told the moment."""
        now = self._clock()
        epoch = _take_epoch(parameters)
        if asked.known_at is not None and parameters.get("knowledge") == ["source"]:
            parameters["known_at"] = [asked.known_at.isoformat()]
            position = asked.at_position
        else:
            position = await position_of(asked, self._log, now)
        if asked.min_position is not None:
            await refuse_beyond(asked.min_position, "min_position", self._log)
        wanted = max(position or 0, asked.min_position or 0)
        if wanted:
            waiting = self._reports.wait(
                definition.name, wanted, seconds_max=self._limits.wait_seconds_max, version=asked.definition_version
            )
            await patiently(waiting, self._limits.wait_seconds_max + ANSWER_SECONDS_MAX)
        moment = asked.known_at or await self._recorded_at(asked.at_position) or now
        question = Asked(parameters=parameters, moment=moment, version=asked.definition_version, position=position)
        if epoch is not None:
            await self._epochs.check_cursor(epoch, question.at() or 0)
        return question

    async def _with_epoch(self, cursor: str | None) -> str | None:
        return None if cursor is None else f"{cursor}.{await self._epochs.current()}"

    async def _recorded_at(self, position: int | None) -> datetime | None:
        """When the event at a position was recorded: the moment of a question that names no other."""
        events = await self._log.events_at([position]) if position else ()
        return events[0].recorded_at if events else None


_OWN = frozenset({"known_at", "at_position", "min_position", "definition_version", "format", "events"})
"""What is said about every report in the same way, and is not a matter of its definition."""


def _parted(request: Request, known: Sequence[DeclaredParameter]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Our own parameters, and those of the report. Raises a `Problem` for one that is neither."""
    values = {each.name: each.schema.get("enum", ()) for each in known}
    own: dict[str, str] = {}
    others: dict[str, list[str]] = {}
    for name, value in request.query_pairs():
        if name in _OWN and name not in own:
            own[name] = value
        elif name in values:
            if values[name] and value not in values[name]:
                raise wrong_parameter(parameter=name, detail=f"it is one of {', '.join(values[name])}")
            others.setdefault(name, []).append(value)
        else:
            detail = "the parameter is given more than once" if name in own else "unknown parameter"
            raise wrong_parameter(parameter=shown_name([name]), detail=detail)
    return own, others


def _take_epoch(parameters: dict[str, list[str]]) -> str | None:
    """The epoch of a cursor, which reports know nothing of; None without a cursor."""
    if "cursor" not in parameters:
        return None
    parted = [each.rpartition(".") for each in parameters["cursor"]]
    parameters["cursor"] = [inner for inner, _, _ in parted]
    return parted[0][2]


def _wants_csv(request: Request, asked: str | None) -> bool:
    if asked is not None:
        return asked == "csv"
    accepted = request.given.get(b"accept", b"").split(b",")
    return any(each.partition(b";")[0].strip().lower() == CSV.encode() for each in accepted)
