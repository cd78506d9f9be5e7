"""Reports: what a figure means, how it is asked for and how the answer is written.

A report is a definition in words with a version, and a function of a snapshot and parameters. Its answer names the
definition, its version and the position, so that anybody can derive it again; the same question at the same position
gets the same bytes. What is not defined is null with a reason, never 0. Amounts are decimals as text, never floats.
"""

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, Final, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from pydantic_core import from_json

from domain.errors import NotFound, Refusal
from domain.values import minor_units, unsigned_zero
from projections.read_model import ReadModels, Snapshot

Parameters: TypeAlias = Mapping[str, Sequence[str]]
"""What was asked, as it came: each name with its values in their order."""
Row: TypeAlias = Mapping[str, object]

RATIO_PLACES: Final = Decimal("0.000001")
_EXACT: Final = Context(prec=80)
"""More digits than any sum has, whatever the program that calls us has chosen."""
POSITIONS_END: Final = 2**63
"""Positions are below this, as the database counts them."""
PAGE_ROWS: Final = 100
"""Rows of an answer when the question does not say."""
PAGE_ROWS_MAX: Final = 10_000
"""Rows of an answer at most: some 4 MB."""
PIECE_ROWS: Final = 2_000
"""Rows of an answer that is given in pieces: a megabyte, and few enough that others are served between two of them."""


class ParameterIsInvalid(Refusal):
    """Each parameter of a report has the form and the values that its definition says."""

    status = 422


class ReportNotFound(NotFound):
    """There is no report of this name, or not in this version of its definition."""


class DefinitionIsWithdrawn(NotFound):
    """A definition that was wrong is not kept: a later version of it answers."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """An earlier version of a definition, which was wrong."""

    version: int
    changed: str
    """What the next version tells otherwise, in a sentence."""


@dataclass(frozen=True, slots=True)
class Word:
    """A name of the definition, and what it means."""

    name: str
    meaning: str
    value: Any = str
    """Type of its values; in an answer any of them can be null."""
    values: tuple[str, ...] = ()
    """What it can be; nothing here: its meaning says so."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that may be said in the question."""

    name: str
    meaning: str
    values: tuple[str, ...] = ()
    """What it can be; nothing here: its meaning says so."""
    required: bool = False
    repeated: bool = False
    """It may be given several times."""
    listed: tuple[str, ...] = ()
    """It names some of these, with commas between them."""
    most: int | None = None
    """It is a number from 1 to this."""
    value: type[str | date] = str
    """Type of its value, where it is no number."""


@dataclass(frozen=True, slots=True)
class ReportDefinition:
    """What a report means, in words."""

    name: str
    version: int
    model: str
    """The read model that it is a query of; the version of the definition is the model's."""
    title: str
    meaning: str
    rules: tuple[str, ...]
    dimensions: tuple[Word, ...]
    measures: tuple[Word, ...]
    parameters: tuple[Parameter, ...]
    reasons: tuple[Word, ...]
    """Why a value can be null."""
    moment: str | None = None
    """The parameter that is an instant, and the moment of the question where nobody says another one."""
    withdrawn: tuple[Withdrawn, ...] = ()
    """Earlier versions that are not kept, and what has changed since each."""

    def document(self) -> Mapping[str, object]:
        """The definition as JSON values."""
        return {
            "name": self.name,
            "version": self.version,
            "title": self.title,
            "meaning": self.meaning,
            "rules": list(self.rules),
            "dimensions": [{"name": each.name, "meaning": each.meaning} for each in self.dimensions],
            "measures": [{"name": each.name, "meaning": each.meaning} for each in self.measures],
            "parameters": [
                {
                    "name": each.name,
                    "meaning": each.meaning,
                    "required": each.required,
                    "repeated": each.repeated,
                    **({"values": list(each.values)} if each.values else {}),
                }
                for each in self.parameters
            ],
            "reasons": [{"name": each.name, "meaning": each.meaning} for each in self.reasons],
            "withdrawn": [{"version": each.version, "changed": each.changed} for each in self.withdrawn],
        }


@dataclass(frozen=True, slots=True)
class ReportAnswer:
    """The figures, and everything that is needed to derive them again."""

    definition: ReportDefinition
    position: int
    question: Row
    """The parameters as they were understood, defaults included."""
    basis: str
    n: int
    """How many facts the figures are of."""
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    """A value that is null has its reason in the row's `reasons`."""
    total: Row | None = None
    excluded: Mapping[str, int] = field(default_factory=dict)
    """How many facts some measure could not use, by reason."""
    next_cursor: str | None = None
    rows_in_all: int | None = None
    """How many rows there are on all pages, where that is known without asking for them."""

    def document(self) -> Mapping[str, object]:
        """The answer as JSON values."""
        return {
            "definition": self.definition.name,
            "definition_version": self.definition.version,
            "position": self.position,
            "question": self.question,
            "basis": self.basis,
            "n": self.n,
            "excluded": self.excluded,
            "total": self.total,
            "rows": self.rows,
            "next_cursor": self.next_cursor,
        }

    def json(self) -> bytes:
        """The answer in canonical JSON."""
        return canonical_json(self.document())

    def csv(self, *, heading: bool = True) -> bytes:
        """The rows in CSV (RFC 4180), each with definition, version and position; safe to open in a spreadsheet."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        if heading:
            writer.writerow([*self.columns, "null_because", "definition", "definition_version", "position"])
        origin = [self.definition.name, str(self.definition.version), str(self.position)]
        for row in self.rows:
            reasons = row.get("reasons") or {}
            why = canonical_json(reasons).decode() if reasons else ""
            writer.writerow([*(_cell(row.get(column)) for column in self.columns), why, *origin])
        return text.getvalue().encode()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The events behind a figure, by their positions in the log."""

    definition: ReportDefinition
    position: int
    question: Row
    positions: tuple[int, ...]
    next_cursor: str | None = None

    def json(self) -> bytes:
        """The evidence in canonical JSON."""
        return canonical_json(
            {
                "definition": self.definition.name,
                "definition_version": self.definition.version,
                "position": self.position,
                "question": self.question,
                "positions": list(self.positions),
                "next_cursor": self.next_cursor,
            }
        )


class Report(Protocol):
    """A definition and its query."""

    @property
    def definition(self) -> ReportDefinition:
        """What it means."""
        ...

    async def run(self, snapshot: Snapshot, parameters: Parameters) -> ReportAnswer:
        """Answer a question. Raises `ParameterIsInvalid`."""
        ...

    async def evidence(self, snapshot: Snapshot, parameters: Parameters) -> Evidence:
        """The events behind the figures of a question: narrow it with `where` to those of one cell."""
        ...


class Reports:
    """All reports of one tenant, by name and version."""

    def __init__(self, models: ReadModels, reports: Iterable[Report]) -> None:
        self._models = models
        self._reports = tuple(reports)

    def definitions(self) -> tuple[ReportDefinition, ...]:
        """Every definition that can be asked for, old versions included, by name and version."""
        return tuple(sorted((each.definition for each in self._reports), key=lambda each: (each.name, each.version)))

    async def run(self, name: str, asked: "Asked") -> ReportAnswer:
        """Answer a question at a position, else at the checkpoint or where its cursor comes from.

        Raises `ReportNotFound`, `DefinitionIsWithdrawn`, `ParameterIsInvalid`, `ReadModelBehind` and
        `ReadModelNotFound`.
        """

        async def answer(snapshot: Snapshot) -> ReportAnswer:
            report = self._of(name, snapshot.version)
            return await report.run(snapshot, asked.parameters_of(report.definition))

        return await self._models.read(
            self._model(name, asked.version), answer, version=asked.version, position=asked.at()
        )

    async def after(self, answer: ReportAnswer, asked: "Asked") -> ReportAnswer:
        """The answer after one that has a next one, with as many rows as a piece has: figures of the same position."""
        page = {"limit": [str(PIECE_ROWS)], "cursor": [answer.next_cursor or ""]}
        version = answer.definition.version
        return await self.run(
            answer.definition.name, replace(asked, parameters={**asked.parameters, **page}, version=version)
        )

    async def evidence(self, name: str, asked: "Asked") -> Evidence:
        """The events behind a figure; raises what `run` raises."""

        async def answer(snapshot: Snapshot) -> Evidence:
            report = self._of(name, snapshot.version)
            return await report.evidence(snapshot, asked.parameters_of(report.definition))

        return await self._models.read(
            self._model(name, asked.version), answer, version=asked.version, position=asked.at()
        )

    async def wait(self, name: str, position: int, *, seconds_max: float, version: int | None = None) -> int:
        """Wait until the report can be evaluated at a position; raises `ReadModelBehind` when in vain."""
        return await self._models.wait(self._model(name, version), position, seconds_max=seconds_max, version=version)

    def _model(self, name: str, version: int | None) -> str:
        definitions = [each.definition for each in self._reports if each.definition.name == name]
        if not definitions:
            raise ReportNotFound(report=name)
        for withdrawn in (each for definition in definitions for each in definition.withdrawn):
            if withdrawn.version == version:
                raise DefinitionIsWithdrawn(report=name, version=version, changed=withdrawn.changed)
        return definitions[0].model

    def _of(self, name: str, version: int) -> Report:
        for each in self._reports:
            if (each.definition.name, each.definition.version) == (name, version):
                return each
        raise ReportNotFound(report=name, version=version)


# Reading the question


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question: its parameters as they came, and as of when it is asked."""

    parameters: Parameters
    moment: datetime
    """When it is asked: now, or the moment whose knowledge is asked for."""
    version: int | None = None
    """Version of the definition; None: the current one."""
    position: int | None = None

    def at(self) -> int | None:
        """The position to answer at: the pages of one answer are all of one position."""
        cursor = self.parameters.get("cursor")
        return _read_cursor(cursor[0]).position if cursor and self.position is None else self.position

    def parameters_of(self, definition: ReportDefinition) -> Parameters:
        """The parameters, with the moment of the question where the report wants one and nobody gave it."""
        if definition.moment is None or definition.moment in self.parameters:
            return self.parameters
        cursor = self.parameters.get("cursor")
        moment = _read_cursor(cursor[0]).moment if cursor else None
        return {**self.parameters, definition.moment: [moment or self.moment.isoformat()]}


class Question:
    """Takes the parameters of a question one by one, and refuses what nobody took."""

    def __init__(self, definition: ReportDefinition, parameters: Parameters) -> None:
        self._definition = definition
        self._parameters = parameters
        known = {each.name for each in definition.parameters}
        for name, values in parameters.items():
            if name not in known:
                raise invalid(name=name, because="it is not a parameter of this report")
            parameter = self._parameter(name)
            if len(values) > 1 and not parameter.repeated:
                raise invalid(name=name, because="it can be given once only")
            if parameter.values and not set(values) <= set(parameter.values):
                raise invalid(name=name, because=f"it is one of {', '.join(parameter.values)}")
            words = {word for value in values if value for word in value.split(",")}
            if parameter.listed and not words <= set(parameter.listed):
                raise invalid(name=name, because=f"it names some of {', '.join(parameter.listed)}")

    def _parameter(self, name: str) -> Parameter:
        return next(each for each in self._definition.parameters if each.name == name)

    def many(self, name: str) -> tuple[str, ...]:
        """All values of a parameter."""
        return tuple(self._parameters.get(name, ()))

    def one(self, name: str) -> str | None:
        """The value of a parameter; None where it is absent."""
        values = self._parameters.get(name)
        if not values:
            if self._parameter(name).required:
                raise invalid(name=name, because="it is required")
            return None
        return values[0]

    def day(self, name: str) -> date | None:
        """A date, as in 2026-04-01."""
        value = self.one(name)
        try:
            return None if value is None else date.fromisoformat(value)
        except ValueError as error:
            raise invalid(name=name, because="it is a date such as 2026-04-01") from error

    def instant(self, name: str) -> datetime | None:
        """An instant with its offset from UTC."""
        value = self.one(name)
        if value is None:
            return None
        try:
            moment = datetime.fromisoformat(value)
        except ValueError as error:
            raise invalid(name=name, because="it is an instant such as 2026-04-01T12:00:00Z") from error
        if moment.tzinfo is None:
            raise invalid(name=name, because="it is an instant with its offset from UTC")
        return moment

    def listed(self, name: str, allowed: Iterable[str], most: int) -> tuple[str, ...]:
        """Distinct words separated by commas, at most so many."""
        value = self.one(name)
        words = tuple(value.split(",")) if value else ()
        if not set(words) <= set(allowed):
            raise invalid(name=name, because=f"it names some of {', '.join(allowed)}")
        if len(words) > most or len(set(words)) < len(words):
            raise invalid(name=name, because=f"it names at most {most}, each once")
        return words

    def page(self, fingerprint: object) -> tuple[int, list[str] | None]:
        """How many rows, and the last row of the page before; `fingerprint` is what the cursor belongs to."""
        value = self.one("limit")
        if value is not None and not (value.isascii() and value.isdigit() and 1 <= int(value) <= PAGE_ROWS_MAX):
            raise invalid(name="limit", because=f"it is a number from 1 to {PAGE_ROWS_MAX}")
        cursor = self.one("cursor")
        if cursor is None:
            return int(value or PAGE_ROWS), None
        read = _read_cursor(cursor)
        if read.made_for != _fingerprint([fingerprint, read.last, read.moment]):
            raise invalid(name="cursor", because="it belongs to another question")
        return int(value or PAGE_ROWS), read.last


def invalid(*, name: str, because: str) -> ParameterIsInvalid:
    """A refusal that points at a parameter; `because` is a clause that does not repeat what was sent."""
    return ParameterIsInvalid(pointer=f"/{name}", because=because)


class _Cursor(NamedTuple):
    """What a cursor says."""

    position: int
    made_for: str
    last: list[str]
    moment: str | None


def make_cursor(position: int, fingerprint: object, last: Sequence[str], moment: datetime | None = None) -> str:
    """What gets the page after the row `last` of a question, at the same position and the same moment."""
    when = None if moment is None else moment.isoformat()
    content = canonical_json([position, _fingerprint([fingerprint, list(last), when]), list(last), when])
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def next_cursor(snapshot: Snapshot, fingerprint: object, orders: Sequence[Sequence[object]], limit: int) -> str | None:
    """The cursor of the page after these rows, of which there is one more than the page has if there is a next page."""
    if len(orders) <= limit:
        return None
    asked = fingerprint[-1] if isinstance(fingerprint, list) else fingerprint
    moment = asked.get("valid_at") if isinstance(asked, Mapping) else None
    last = [str(each) for each in orders[limit - 1]]
    return make_cursor(snapshot.position, fingerprint, last, moment if isinstance(moment, datetime) else None)


def _read_cursor(cursor: str) -> _Cursor:
    try:
        # `json.loads` has an error of its own for what is nested too deep, and lets half a character through.
        content = from_json(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except ValueError as error:
        raise invalid(name="cursor", because="it is not one that an answer gave") from error
    match content:
        case [int(position), str(made_for), [*last], str() | None as moment] if 0 <= position < POSITIONS_END and all(
            isinstance(each, str) for each in last
        ):
            return _Cursor(position, made_for, last, moment)
        case _:
            raise invalid(name="cursor", because="it is not one that an answer gave")


def _fingerprint(question: object) -> str:
    return hashlib.sha256(canonical_json(question)).hexdigest()[:16]


# Writing the answer


def canonical_json(value: object) -> bytes:
    """The one form of a value: UTF-8, no spaces, names in the order given, decimals as text. Floats are refused."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return _text(value)


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{unsigned_zero(value):f}"
    if isinstance(value, date):  # a datetime, too
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    msg = f"a {type(value).__name__} has no canonical form"
    raise TypeError(msg)


def _cell(value: object) -> str:
    """A value in a cell; a text that a spreadsheet would take for a formula is quoted by an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
    if isinstance(value, list | tuple):
        return ";".join(_cell(each) for each in value)
    if isinstance(value, Mapping):
        return " ".join(_cell(each) for each in value.values())
    return str(value).lower() if isinstance(value, int) else _text(value)


def money(amount: Decimal, currency: str | None) -> Decimal:
    """An amount as it is written: with the places of its currency, and more only where it has more."""
    return _with_places(amount, minor_units(currency) if currency else 0)


def quantity(amount: Decimal) -> Decimal:
    """A quantity as it is written: with the places that it needs."""
    return _with_places(amount, 0)


def _with_places(amount: Decimal, places: int) -> Decimal:
    exponent = amount.normalize(_EXACT).as_tuple().exponent
    needed = -exponent if isinstance(exponent, int) and exponent < 0 else 0
    return _EXACT.add(amount.quantize(Decimal(1).scaleb(-max(places, needed)), context=_EXACT), 0)  # no negative zero


def ratio(numerator: Decimal | int, denominator: Decimal | int) -> Decimal:
    """One division, rounded once; the denominator is not zero."""
    quotient = _EXACT.divide(Decimal(numerator), Decimal(denominator))
    return _EXACT.add(quotient.quantize(RATIO_PLACES, rounding=ROUND_HALF_EVEN, context=_EXACT), 0)
