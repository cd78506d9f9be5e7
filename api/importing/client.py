"""Commands sent in chunks through the public bulk endpoint, several chunks on their way at once.

Each command has a key, so a chunk whose answer was lost is sent again as it was: what was done comes back as it was
answered first. The service may say at any time that it is busy or gone; then the chunk waits and goes again.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import httpx

PATIENCE_SECONDS = 300.0
"""How long the service may be away before an import gives up; it can be started again at any time."""
PAUSE_SECONDS_MIN = 0.2
PAUSE_SECONDS_MAX = 10.0
ANSWER_SECONDS_MAX = 120.0
"""How long one chunk may take; more means that the connection is dead."""

_AGAIN = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY})


class ImportStopped(Exception):  # noqa: N818 - it is the answer that the command line gives
    """The import cannot go on; what was answered stays, and the same import may be started again."""


class ChunkTooLarge(Exception):  # noqa: N818 - its sender makes it smaller
    """The service does not take so much at once."""


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What became of one command."""

    status: int
    replayed: bool = False
    problem: str = ""
    """The name of the refusal, `customer-not-found`; empty where the command was accepted."""
    rule: str = ""
    pointer: str = ""

    @property
    def accepted(self) -> bool:
        """Whether it is done, now or before."""
        return self.status < HTTPStatus.BAD_REQUEST


class BulkClient:
    """Sends lines to `POST /v1/commands`; may be used by several threads at once."""

    def __init__(
        self,
        http: httpx.Client,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = http
        self._patience_seconds = patience_seconds
        self._pause = pause

    def send(self, lines: Sequence[bytes]) -> list[CommandAnswer]:
        """The answer to each line; waits and sends again while the service is busy or away."""
        try:
            return self._send_until_answered(lines)
        except ChunkTooLarge:
            if len(lines) == 1:
                rule = "The service does not take a command of this size."
                return [CommandAnswer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, problem="too-large", rule=rule)]
            half = len(lines) // 2
            return self.send(lines[:half]) + self.send(lines[half:])

    def _send_until_answered(self, lines: Sequence[bytes]) -> list[CommandAnswer]:
        waited, pause = 0.0, PAUSE_SECONDS_MIN
        while True:
            answers, reason, asked_seconds = self._send_once(lines)
            if answers is not None:
                return answers
            if waited >= self._patience_seconds:
                message = f"the service gives no answer: {reason}"
                raise ImportStopped(message)
            seconds = max(pause, asked_seconds)
            self._pause(seconds)
            waited += seconds
            pause = min(pause * 2, PAUSE_SECONDS_MAX)

    def _send_once(self, lines: Sequence[bytes]) -> tuple[list[CommandAnswer] | None, str, float]:
        """The answers; or None, why, and how many seconds the service asks to be left alone."""
        try:
            response = self._http.post(
                "/v1/commands",
                content=b"\n".join(lines) + b"\n",
                headers={"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson"},
                timeout=ANSWER_SECONDS_MAX,
            )
        except httpx.TransportError as error:
            return None, str(error) or type(error).__name__, 0.0
        if response.status_code in _AGAIN:
            return None, f"it says {response.status_code}", _seconds(response.headers.get("Retry-After"))
        if response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise ChunkTooLarge
        if response.status_code != HTTPStatus.OK:
            raise ImportStopped(_explain(response))
        return _answers(response.content, len(lines))


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else 0.0


def _explain(response: httpx.Response) -> str:
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        return "the service does not know this key; make one with: rapport keys create --role importer NAME"
    if response.status_code == HTTPStatus.FORBIDDEN:
        return "this key may not import; make one with: rapport keys create --role importer NAME"
    try:
        problem = response.json()
        return f"the service says {response.status_code}: {problem.get('detail') or problem.get('title')}"
    except (ValueError, AttributeError):
        return f"the service says {response.status_code}, and no reason"


def _answers(content: bytes, expected: int) -> tuple[list[CommandAnswer] | None, str, float]:
    try:
        *lines, last = [json.loads(line) for line in content.splitlines()]
    except ValueError:
        return None, "its answer was cut off", 0.0
    if not last.get("done") or len(lines) != expected:
        return None, "its answer was cut off", 0.0
    if any(line["status"] in _AGAIN for line in lines):
        return None, "it is busy", 0.0
    return [_answer(line) for line in lines], "", 0.0


def _answer(line: dict[str, object]) -> CommandAnswer:
    status = int(str(line["status"]))
    problem = line.get("problem")
    if not isinstance(problem, dict):
        return CommandAnswer(status, replayed=bool(line.get("replayed")))
    errors = problem.get("errors") or [{}]
    name = re.split("[/:]", str(problem.get("type", "")))[-1]
    rule = str(problem.get("detail") or problem.get("title") or "")
    pointer = str(errors[0].get("pointer") or "")
    return CommandAnswer(status, replayed=False, problem=name or str(status), rule=rule, pointer=pointer)
