"""The services that problems need: one on Postgres, and many in memory, each with something the matter with it."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import NoReturn
from uuid import UUID

import psycopg

from api.service import Limits
from application.aggregates import Claim
from application.commands import Role
from application.keys import Principal, fingerprint
from application.ports import Decision, EventIsUnknown
from application.writer import WriterLimits
from infrastructure.database import Databases
from infrastructure.settings import Settings
from tests.api.running import KEY_IDS, SECRETS, Clock, Running, ports_on, running
from tests.api.test_on_postgres import Opened, opened
from tests.credentials import GivenCredentials
from tests.in_memory import InMemoryLog
from tests.interface.world import Tell, World

USUAL = "usual"
SERVICES: Mapping[str, str] = {
    USUAL: "on Postgres",
    "new": "on Postgres, before its read models are made",
    "hasty": "on Postgres, with read models that are behind, for which it does not wait",
    "overtaken": "on Postgres, with read models of a later version of the program",
    "busy": "with no place for another request",
    "crowded": "with no place for another request of the same key",
    "tight": "that takes no body, and no line, of more than a byte",
    "short": "that takes no line",
    "impatient": "that waits a hundredth of a second for a body",
    "full": "whose queue has no place",
    "stopping": "whose writer has stopped",
    "out-of-reach": "whose log cannot be reached, nor the keys in it",
    "lost": "whose log was lost after the keys had been read",
    "faulty": "whose keys raise what nobody has foreseen",
    "broken": "whose log raises that when it is appended to",
    "older": "which does not know what a newer version has written",
    "without-models": "whose read models cannot be reached",
}
"""Every service, and what is the matter with it."""


class NewerLog(InMemoryLog):
    """A log that begins with an event of a newer version."""

    async def feed(self, after: int, limit: int, types: Sequence[str] = ()) -> NoReturn:
        """Stop there."""
        raise EventIsUnknown(after + 1, f"customer.teleported-{limit}", len(types))

    async def stream(self, stream: UUID, after_version: int, limit: int) -> NoReturn:
        """Stop there."""
        raise EventIsUnknown(after_version + 1, f"customer.teleported-{stream}", limit)

    async def history(self, customer: UUID, after: int, limit: int, at_position: int | None = None) -> NoReturn:
        """Stop there."""
        raise EventIsUnknown(at_position or after + 1, f"customer.teleported-{customer}", limit)

    async def holders(self, claims: Iterable[Claim]) -> Mapping[Claim, UUID]:
        """Whatever is asked for is there."""
        return dict.fromkeys(claims, UUID(int=1))


class BrokenLog(InMemoryLog):
    """A log that fails as nobody has foreseen."""

    async def append(self, batch: Sequence[Decision]) -> NoReturn:
        """Fail."""
        message = f"{len(batch)} decisions, and none is stored"
        raise RuntimeError(message)


async def _fail() -> NoReturn:
    message = "these are no keys"
    raise RuntimeError(message)


async def _remember() -> Mapping[bytes, Principal]:
    return {fingerprint(SECRETS[role].encode()): Principal(KEY_IDS[role], role, KEY_IDS[role]) for role in Role}


@asynccontextmanager
async def in_memory(tell: Tell) -> AsyncIterator[Mapping[str, World]]:
    """The services in which a request ends before it has asked for anything."""
    clock = Clock()
    broken, stopping = ports_on(BrokenLog(clock), clock), ports_on(InMemoryLog(clock), clock)
    making: Mapping[str, AbstractAsyncContextManager[Running]] = {
        "busy": running(Limits(requests_max=0)),
        "crowded": running(Limits(requests_of_key_max=0)),
        "tight": running(Limits(request_bytes_max=1, bulk_line_bytes_max=1, bulk_atomic_bytes_max=1)),
        "short": running(Limits(bulk_lines_max=0, bulk_atomic_lines_max=0)),
        "impatient": running(Limits(body_pause_seconds_max=0.01)),
        "full": running(writer_limits=WriterLimits(queue_commands_max=0)),
        "stopping": running(writer=stopping.writer, log=stopping.log),
        "out-of-reach": running(),
        "lost": running(credentials=GivenCredentials(_remember)),
        "faulty": running(credentials=GivenCredentials(_fail)),
        "broken": running(writer=broken.writer, log=broken.log),
        "older": running(log=NewerLog(clock)),
        "without-models": running(),
    }
    async with AsyncExitStack() as stack:
        made = {name: await stack.enter_async_context(each) for name, each in making.items()}
        made["out-of-reach"].log.is_reachable = made["lost"].log.is_reachable = False
        await stopping.writer.stop()
        yield {name: World(each.clients, tell) for name, each in made.items()}


@asynccontextmanager
async def on_postgres(
    databases: Databases, settings: Settings, tell: Tell
) -> AsyncIterator[tuple[Opened, Mapping[str, World]]]:
    """The services on one database, and what is in it: everything that requests are about."""
    hasty = settings.model_copy(update={"wait_seconds_max": 0})
    async with opened(databases, settings) as first, opened(databases, hasty) as second:
        usual = World(first.clients, tell)
        await usual.begin()
        await erase(databases, usual.known["register-customer"])
        await erase(databases, usual.known["contact_id"])
        worlds = dict.fromkeys((USUAL, "new", "overtaken"), usual)
        yield first, {**worlds, "hasty": World(second.clients, tell)}


async def erase(databases: Databases, subject: str) -> None:
    """Destroy somebody's key."""
    async with await psycopg.AsyncConnection.connect(databases.privacy) as privacy:
        await privacy.execute("SELECT main.destroy_subject(%s)", [UUID(subject)])


async def overtake(superuser: str) -> None:
    """Let the read models be those of a later version of the program."""
    async with await psycopg.AsyncConnection.connect(superuser) as connection:
        for table in ("builds", "current_versions"):
            await connection.execute(f"UPDATE main_read.{table} SET version = version + 1".encode())
