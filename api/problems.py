"""Problems: everything that this service answers instead of what was asked for (RFC 9457), from one place.

A problem has a code, a rule as a sentence, an HTTP status and advice on trying again. Those of HTTP and of this service
stand here; those of the domain are its refusals, whose class names and docstrings say the same. No problem repeats what
was sent, because that may be personal.
"""

import logging
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from api.shapes import described
from application.ports import EventIsUnknown, LogUnavailable
from application.submissions import OccurredInTheFuture, QueueIsFull
from domain.errors import Refusal

_LOG = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:rapport:problem:"

RETRY_AFTER_SECONDS = 1
"""When the sender of a request that could not be served now should come back."""


class Retry(StrEnum):
    """Whether it makes sense to send the request again."""

    NEVER = "never"
    """Not as it is: the request has to be corrected."""
    AFTER_CHANGE = "after_change"
    """Once what the rule speaks of has changed."""
    SAME_REQUEST = "same_request"
    """The very same request with the very same key, after the seconds in Retry-After."""


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of problem, as it is documented."""

    code: str
    status: int
    rule: str
    retry: Retry

    @property
    def uri(self) -> str:
        """What stands in `type`; it names the problem and leads nowhere."""
        return f"{TYPE_PREFIX}{self.code}"


_OWN: dict[str, ProblemType] = {}


def _problem(code: str, status: int, retry: Retry, rule: str) -> ProblemType:
    _OWN[code] = ProblemType(code, status, rule, retry)
    return _OWN[code]


MALFORMED_REQUEST = _problem(
    "malformed-request", 400, Retry.NEVER, "A request is HTTP/1.1 as RFC 9112 has it; the connection ends here."
)
MALFORMED_JSON = _problem(
    "malformed-json",
    400,
    Retry.NEVER,
    "A body is one JSON value in UTF-8: complete, nested at most 20 deep, no number beyond its range, no NaN.",
)
DUPLICATE_MEMBER = _problem(
    "duplicate-member", 400, Retry.NEVER, "An object has each of its members once: of two, none is the right one."
)
MALFORMED_HEADER = _problem(
    "malformed-header", 400, Retry.NEVER, "A header that is given has the form that its documentation says, and once."
)
IDEMPOTENCY_KEY_MISSING = _problem(
    "idempotency-key-missing",
    400,
    Retry.NEVER,
    "Every command carries an Idempotency-Key of 1 to 255 visible ASCII characters, so that it can be sent again.",
)
MALFORMED_QUERY = _problem(
    "malformed-query", 400, Retry.NEVER, "A query string is percent-encoded UTF-8 and names each parameter once."
)
NOT_AUTHENTICATED = _problem(
    "not-authenticated",
    401,
    Retry.AFTER_CHANGE,
    "Every request carries `Authorization: Bearer` with a key that exists, has not expired and was not revoked.",
)
ROLE_NOT_ALLOWED = _problem(
    "role-not-allowed", 403, Retry.AFTER_CHANGE, "A key may do what its role may do, and nothing else."
)
PATH_NOT_FOUND = _problem("path-not-found", 404, Retry.NEVER, "There is nothing at this path.")
COMMAND_NOT_FOUND = _problem(
    "command-not-found",
    404,
    Retry.AFTER_CHANGE,
    "Only a command that was accepted and recorded something is remembered under its key.",
)
METHOD_NOT_ALLOWED = _problem(
    "method-not-allowed", 405, Retry.NEVER, "A path is used with the methods that Allow lists."
)
BODY_TOO_SLOW = _problem(
    "body-too-slow", 408, Retry.SAME_REQUEST, "A body arrives without long pauses, or the connection is given up."
)
BODY_TOO_LARGE = _problem(
    "body-too-large", 413, Retry.NEVER, "A body, and a line of a bulk body, is not longer than the settings allow."
)
TOO_MANY_LINES = _problem(
    "too-many-lines", 413, Retry.NEVER, "A bulk body has no more lines than the settings allow; the rest comes next."
)
UNSUPPORTED_MEDIA_TYPE = _problem(
    "unsupported-media-type",
    415,
    Retry.NEVER,
    "A body has the media type that its route takes, is encoded in UTF-8 and not compressed.",
)
INVALID_BODY = _problem(
    "invalid-body",
    422,
    Retry.NEVER,
    "Every field is known, present where it is required, and of its type, form and length.",
)
INVALID_PARAMETER = _problem(
    "invalid-parameter", 422, Retry.NEVER, "Every parameter is known, and of its type, form and range."
)
MOMENT_IS_NOT_OVER = _problem(
    "moment-is-not-over",
    422,
    Retry.AFTER_CHANGE,
    "What was known at a moment can only be told when the moment is over.",
)
EPOCH_HAS_ENDED = _problem(
    "epoch-has-ended",
    409,
    Retry.AFTER_CHANGE,
    "Who follows the log goes on up to the end of the epoch that they name; `after` says after which position it is the"
    " same log.",
)
TOO_MANY_REQUESTS = _problem(
    "too-many-requests",
    429,
    Retry.SAME_REQUEST,
    "One key has no more requests under way at once than the limits allow, so that others are served too.",
)
HEADERS_TOO_LARGE = _problem(
    "headers-too-large", 431, Retry.NEVER, "The headers of a request are not longer than the settings allow."
)
INTERNAL_ERROR = _problem(
    "internal-error",
    500,
    Retry.SAME_REQUEST,
    "Something went wrong that should not; it stands in the service's log under the incident's id.",
)
TRANSFER_CODING_UNKNOWN = _problem(
    "transfer-coding-unknown", 501, Retry.NEVER, "A body is sent as it is, with its length or in chunks."
)
EVENT_IS_UNKNOWN = _problem(
    "event-is-unknown",
    503,
    Retry.SAME_REQUEST,
    "An event of a type that this version of the program does not know is told by a newer version only.",
)
QUEUE_IS_FULL = _problem(
    "queue-is-full",
    503,
    Retry.SAME_REQUEST,
    "More commands are waiting than this process takes on, or it is being stopped; nothing was recorded.",
)
LOG_UNAVAILABLE = _problem(
    "log-unavailable",
    503,
    Retry.SAME_REQUEST,
    "The log cannot be reached now; whether a command was recorded, the same request with its key will tell.",
)
TOO_BUSY = _problem(
    "too-busy", 503, Retry.SAME_REQUEST, "A process has no more requests under way at once than the limits allow."
)
READ_MODEL_UNAVAILABLE = _problem(
    "read-model-unavailable", 503, Retry.SAME_REQUEST, "The read model cannot be asked now."
)

OWN_PROBLEMS: Mapping[str, ProblemType] = _OWN
"""The problems of HTTP and of this service, by code."""

_RETRY_OF_REFUSALS = {
    404: Retry.AFTER_CHANGE,
    409: Retry.AFTER_CHANGE,
    412: Retry.AFTER_CHANGE,
    503: Retry.SAME_REQUEST,
}
_RETRY_EXCEPTIONS: Mapping[type[Refusal], Retry] = {OccurredInTheFuture: Retry.AFTER_CHANGE}


def of_refusal(refusal: type[Refusal]) -> ProblemType:
    """A refusal of the domain as a kind of problem."""
    retry = _RETRY_EXCEPTIONS.get(refusal) or _RETRY_OF_REFUSALS.get(refusal.status, Retry.NEVER)
    return ProblemType(refusal.code(), refusal.status, refusal.rule(), retry)


@described
class FieldError:
    """What is wrong with one part of the request; exactly one of pointer, header and parameter says which part."""

    detail: str
    pointer: str | None = None
    """JSON pointer (RFC 6901) into the body."""
    header: str | None = None
    parameter: str | None = None


@described
class ProblemDocument:
    """The body of an answer that says no (RFC 9457). Members that do not apply are absent."""

    type: str
    title: str
    """The rule, as a sentence."""
    status: int
    retry: Retry
    detail: str | None = None
    """What is the matter in this case."""
    errors: tuple[FieldError, ...] | None = None
    current_version: int | None = None
    """The version at which the stream is now."""
    position: int | None = None
    """The position at which the log or the read model is now."""
    facts: Mapping[str, str] | None = None
    """What else the rule was measured against."""
    example: str | None = None
    """A line for the shell that would have been right."""
    incident: str | None = None
    """Under which id the service's log tells more."""


_DOCUMENT = TypeAdapter(ProblemDocument)


class Problem(Exception):  # noqa: N818 - it is the answer that the sender gets
    """Ends a request with a problem."""

    def __init__(  # noqa: PLR0913 - each is a member of the answer, given by its name
        self,
        kind: ProblemType,
        *,
        detail: str | None = None,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        current_version: int | None = None,
        position: int | None = None,
        facts: Mapping[str, str] | None = None,
        example: str | None = None,
        incident: str | None = None,
    ) -> None:
        super().__init__(kind.code)
        self.kind = kind
        self.headers = dict(headers or {})
        if kind.retry is Retry.SAME_REQUEST:
            self.headers["retry-after"] = str(RETRY_AFTER_SECONDS)
        self.document = ProblemDocument(
            type=kind.uri,
            title=kind.rule,
            status=kind.status,
            retry=kind.retry,
            detail=detail,
            errors=tuple(errors) or None,
            current_version=current_version,
            position=position,
            facts=facts or None,
            example=example,
            incident=incident,
        )

    def json(self) -> bytes:
        """The problem as JSON."""
        return _DOCUMENT.dump_json(self.document, exclude_none=True)


def from_refusal(refusal: Refusal, *, within: str = "", in_query: bool = False) -> Problem:
    """The answer to a command or query that a rule refuses.

    `within` is the pointer to the command in the body; of a question, what the refusal points at is a parameter.
    """
    facts = dict(refusal.details)
    current_version, position = facts.pop("current_version", None), facts.pop("position", None)
    errors = []
    if refusal.pointer is not None:
        detail = facts.pop("because", None) or refusal.rule()
        parameter = refusal.pointer.removeprefix("/") if in_query else None
        errors.append(
            FieldError(pointer=None if in_query else within + refusal.pointer, parameter=parameter, detail=detail)
        )
    return Problem(
        of_refusal(type(refusal)),
        errors=errors,
        current_version=None if current_version is None else int(current_version),
        position=None if position is None else int(position),
        facts=facts,
    )


FORESEEN = (Problem, Refusal, QueueIsFull, LogUnavailable, EventIsUnknown)
"""What a request may end with; everything else is an error of the program."""


def from_error(error: BaseException, *, in_query: bool = False) -> Problem:
    """The problem that an exception means. An error of the program is logged, and told without any of its text."""
    match error:
        case Problem():
            return error
        case Refusal():
            return from_refusal(error, in_query=in_query)
        case QueueIsFull():
            return Problem(QUEUE_IS_FULL)
        case LogUnavailable():
            return Problem(LOG_UNAVAILABLE)
        case EventIsUnknown():
            facts = {"type": error.type, "schema_version": str(error.schema_version)}
            return Problem(EVENT_IS_UNKNOWN, detail=str(error), position=error.position, facts=facts)
        case _:
            incident = str(uuid.uuid4())
            _LOG.error("a request failed", exc_info=error, extra={"incident": incident})
            return Problem(INTERNAL_ERROR, incident=incident)
