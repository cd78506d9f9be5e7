"""Logs: one JSON object for each line, without personal data.

Only fields that are named here are written, so that a name or an address cannot stray into the log by way of
somebody's `extra`. Of an exception the log has its type and the places in the program, never its text: the text of a
driver's error may quote a value.
"""

import logging
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO

from pydantic_core import to_json
from typing_extensions import override

FIELDS = (
    "operation",
    "method",
    "status",
    "problem",
    "milliseconds",
    "actor",
    "role",
    "correlation_id",
    "incident",
    "command",
    "commands",
    "model",
    "position",
    "sqlstate",
)
"""What a log entry may hold beside its time, level, logger and message: names, numbers and pseudonymous ids."""

FRAMES_MAX = 30

_OUR_LOGGERS = frozenset({"api", "application", "infrastructure", "projections", "rapport"})


class JsonFormatter(logging.Formatter):
    """Writes a log record as one line of JSON."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
        }
        for name in FIELDS:
            value = getattr(record, name, None)
            if value is not None:
                entry[name] = value
        if record.exc_info and record.exc_info[1] is not None:
            entry["exception"] = described(record.exc_info[1])
        return to_json(entry, fallback=str).decode()

    @staticmethod
    def _message(record: logging.LogRecord) -> str:
        """Our own messages are fixed sentences with harmless arguments; those of packages are given without theirs."""
        ours = record.name.partition(".")[0] in _OUR_LOGGERS
        return record.getMessage() if ours or not record.args else str(record.msg)


def described(error: BaseException) -> Mapping[str, object]:
    """An exception and its causes by type and place in the program, without what they say."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    found: dict[str, object] = {
        "type": f"{type(error).__module__}.{type(error).__qualname__}",
        "places": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate:
        found["sqlstate"] = sqlstate
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        found["cause"] = described(cause)
    return found


def configure(level: str, stream: IO[str] | None = None) -> None:
    """Send every log record of this process to standard error, or to `stream`, as JSON."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # What they say at lower levels tells of connections and requests, with addresses in it.
    for name in ("uvicorn.access", "httpx", "httpcore", "psycopg", "psycopg.pool"):
        logging.getLogger(name).setLevel(logging.WARNING)
