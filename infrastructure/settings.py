"""Settings: everything that can be chosen, with a safe default, its limits and the reason for them.

Each setting comes from the environment as `RAPPORT_` and its name in capitals (`RAPPORT_PORT=8100`), and the command
line may override it. An empty variable counts as absent.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from projections.read_model import AgentReports

PREFIX = "RAPPORT_"

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE

_TENANT = re.compile(r"(?!pg_)[a-z][a-z0-9_]{0,39}(?<!_read)")
_SYSTEM_SCHEMAS = frozenset({"public", "information_schema"})


class StartRefused(Exception):  # noqa: N818 - an answer to the person who starts the service, not an error
    """Rapport refuses to start; the message is a sentence that says why and what to do."""


class SettingsRefused(StartRefused):
    """A setting cannot be used as it is."""

    def __init__(self, sentences: tuple[str, ...]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


def _is_tenant(name: str) -> str:
    if not _TENANT.fullmatch(name) or name in _SYSTEM_SCHEMAS:
        msg = (
            "a tenant is named with 1 to 40 lower-case letters, digits and underscores, starting with a letter, "
            "not with pg_ and not ending with _read"
        )
        raise ValueError(msg)
    return name


def _is_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        msg = "it is not the name of an IANA time zone, such as Europe/Berlin"
        raise ValueError(msg) from error
    return name


def _is_absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def default_data_folder(environment: Mapping[str, str] = os.environ, *, user_id: int | None = None) -> Path:
    """`/var/lib/rapport` for root, else `rapport` in the user's data folder (XDG)."""
    if (os.geteuid() if user_id is None else user_id) == 0:
        return Path("/var/lib/rapport")
    home = environment.get("XDG_DATA_HOME", "")
    return Path(home if Path(home).is_absolute() else Path.home() / ".local" / "share") / "rapport"


Count = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[int, Field(ge=1, le=24 * 60 * 60 * 1000)]


class Settings(BaseModel):
    """All settings of one Rapport. Names end in their unit; `max` says that it is a limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    # What it is and where it lives.
    data: Annotated[Path, AfterValidator(_is_absolute)] = Field(default_factory=default_data_folder)
    """Folder of keys, passwords and, with the embedded server, of the database."""
    database_url: str | None = Field(default=None, repr=False, min_length=1)
    """A Postgres of one's own, 15 or newer, as a role that may create roles; absent: the embedded server."""
    tenant: Annotated[str, AfterValidator(_is_tenant)] = "main"
    """Name of the schema that holds this tenant's log; its read models are in the schema `<tenant>_read`."""
    reporting_currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    """ISO 4217 code of the currency that revenue is reported in. Chosen at the first start, and for ever."""
    time_zone: Annotated[str, AfterValidator(_is_time_zone)] = "UTC"
    """IANA time zone whose days and months the reports count in."""
    agent_reports: AgentReports = AgentReports.TEAM_ONLY
    """What reports tell of people: `off` nothing by person or team, `team_only` teams of which at least five people
    stand behind a figure, `on` everything. Works councils have a say in it."""
    credential_days_max: int | None = Field(default=None, ge=1, le=36_500)
    """For how many days a credential is good at most, from the day it was made; those made before it was set, too.
    Absent: until it is revoked, unless it was made to end. Set it where keys have to be exchanged at regular times."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is written to the log; never personal data, at any level."""

    # Who reaches it, and how.
    host: str = Field(default="127.0.0.1", min_length=1)
    """Address to listen on. Only this machine, until somebody decides otherwise."""
    port: int = Field(default=8000, ge=0, le=65_535)
    """TCP port to listen on; 0 takes a free one."""
    api_processes: int = Field(default=1, ge=1, le=64)
    """API processes on this machine. One fills a core; more than the machine has cores is a waste."""
    projector_processes: int = Field(default=1, ge=0, le=64)
    """Projector processes on this machine. 0 where another machine projects."""

    # What one request may cost.
    request_bytes_max: Count = MEBIBYTE
    """Body of a single command. An event's body is at most 1 MiB, and no command is larger than what it causes."""
    bulk_line_bytes_max: Count = MEBIBYTE
    """One line of a bulk request: a line is a command."""
    bulk_lines_max: Count = 100_000
    """Lines of one bulk request; a connection is then held for a minute, and the sender goes on with the next."""
    bulk_atomic_lines_max: Count = 1_000
    """Lines of a bulk request with `atomic=true`: they are one append, and the log's head is locked meanwhile."""
    header_bytes_max: int = Field(default=16 * KIBIBYTE, ge=KIBIBYTE)
    """All headers of a request together: twice what common proxies let through."""
    page_size: Count = 100
    """Entries of a page when the request does not say."""
    page_size_max: Count = 1_000
    """Entries of a page at most: with events of usual size about 1 MiB of answer."""
    wait_seconds_max: int = Field(default=30, ge=0, le=300)
    """How long a request may wait, for news of the feed or for a `min_position`; proxies give up at 60 s."""
    occurred_at_future_seconds_max: int = Field(default=300, ge=0)
    """How far in the future `occurred_at` may be: the clocks of the senders differ, facts do not lie ahead."""

    # What the writer holds.
    queue_commands_max: Count = 4_096
    """Commands waiting to be appended, of one process; the next are told to come back (503). About half a second."""
    batch_commands_max: int = Field(default=256, ge=1, le=10_000)
    """Commands of one append. Beyond 256 the throughput gains nothing, and the head stays locked longer."""
    batch_events_max: int = Field(default=4_000, ge=1, le=100_000)
    """Events of one append, for the same reason; a single command may have more."""
    cached_streams_max: Count = 10_000
    """Streams whose state a writer remembers; a state is some KiB, a worker's memory is 250 MiB."""
    cached_claims_max: Count = 20_000
    """Claims whose holder a writer remembers: one or two for each stream."""

    # What the database may take.
    service_connections_max: int = Field(default=8, ge=2, le=1_000)
    """Connections of one API process to append and load with: one writer, the others load streams."""
    reader_connections_max: int = Field(default=8, ge=1, le=1_000)
    """Connections of one API process to answer reports with."""
    connection_timeout_ms: Milliseconds = 5_000
    """How long a request waits for a free connection before it is told to come back (503)."""
    lock_timeout_ms: Milliseconds = 5_000
    """How long an append waits for the log's head; a healthy one holds it for milliseconds."""
    service_statement_timeout_ms: Milliseconds = 15_000
    """Longest statement of the service: an append of the largest batch, or loading the longest stream."""
    reader_statement_timeout_ms: Milliseconds = 30_000
    """Longest statement of a report."""
    projector_statement_timeout_ms: Milliseconds = 300_000
    """Longest statement of the projector: merging roll-ups or building an index during a rebuild."""
    idle_in_transaction_timeout_ms: Milliseconds = 30_000
    """A transaction that nobody goes on with holds locks and hinders vacuum; after this it is ended."""

    # Starting and stopping.
    drain_seconds_max: int = Field(default=30, ge=1, le=600)
    """How long a process may take to finish what it has begun, when told to stop; then it is killed."""
    stuck_seconds_max: int = Field(default=30, ge=5, le=3_600)
    """For how long the event loop of an API process may stand still before the process is killed and replaced. What it
    does at once takes less than a second; a machine without memory or processors to spare may stand still longer."""
    restart_seconds_max: int = Field(default=15, ge=1, le=600)
    """Longest pause before a process that keeps dying is started again."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, **overrides: Any) -> Self:
        """Read the environment; an override counts unless it is None. Raises `SettingsRefused`."""
        given = {
            name: value
            for name in cls.model_fields
            if (value := environment.get(PREFIX + name.upper(), "").strip()) != ""
        }
        given |= {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsRefused(tuple(_sentences(error))) from None

    def to_environment(self) -> dict[str, str]:
        """These settings as environment variables: what a child process is given."""
        values = self.model_dump(exclude_none=True)
        return {PREFIX + name.upper(): str(value) for name, value in values.items()}

    @property
    def read_schema(self) -> str:
        """The schema of the tenant's read models."""
        return f"{self.tenant}_read"


def _sentences(error: ValidationError) -> list[str]:
    """What is wrong, by the variable's name; without the value, which may hold a password."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    return [
        f"{PREFIX}{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg'].removeprefix('Value error, ')}."
        for problem in problems
    ]
