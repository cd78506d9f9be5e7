"""The matrix of commands: what each is answered when it is accepted, repeated, late, unwelcome, refused or imported.

Each cell is what a service has answered. Its log is in memory; `test_reached` gets the same refusals from Postgres.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from functools import cache
from itertools import groupby
from uuid import UUID

import httpx

from api.commands import REFUSALS_OF_EVERY_COMMAND
from application.commands import COMMANDS, CommandDefinition, Role
from application.submissions import StreamHasMoved
from tests.api.running import running
from tests.interface.ways import request_with
from tests.interface.world import Operation, World, codes, operations


@dataclass(frozen=True, slots=True)
class Row:
    """What one command was answered; the names of the fields are the heads of the columns."""

    command: str
    accepted: str
    """The status, and the events that were recorded."""
    replay_of_its_key: str
    stale_if_match: str
    wrong_role: str
    refused: str
    import_override: str
    """The refusals that an importer did not get; it got all others."""


@dataclass(frozen=True, slots=True)
class Examiner:
    """Sends one command in every way that the matrix tells of. An answer that fits no cell is an `AssertionError`."""

    world: World
    definition: CommandDefinition
    operation: Operation

    async def row(self) -> Row:
        """The row of the command."""
        accepted, replayed = await self._accepted_and_replayed()
        stale = await self._answer(StreamHasMoved.code())
        refused = {code: await self._answer(code) for code in self._refusals()}
        imported = {code: await self._answer(code, Role.IMPORTER) for code in refused}
        for code, answer in refused.items():
            assert codes(answer) == {code}, f"{code}: {answer.text}"
        for code, answer in imported.items():
            assert codes(answer) == {code} or answer.is_success, f"{code}: {answer.text}"
        overridden = [code for code, answer in imported.items() if answer.is_success]
        return Row(
            command=f"`{self.definition.name}`",
            accepted=accepted,
            replay_of_its_key=replayed,
            stale_if_match=_told(stale),
            wrong_role=f"403 to {', '.join([role async for role in self._unwelcome()])}",
            refused=", ".join(map(_told, refused.values())),
            import_override=", ".join(f"`{code}`" for code in overridden) or "none",
        )

    async def _accepted_and_replayed(self) -> tuple[str, str]:
        asked = await self.world.ready(self.definition.name)
        first, again = await self.world.send(asked), await self.world.send(asked)
        answer = first.json()
        assert first.is_success, first.text
        assert again.json() == {**answer, "replayed": True}, again.text
        return f"{_told(first)} {', '.join(event['type'] for event in answer['events'])}", f"{_told(again)}, replayed"

    async def _answer(self, code: str, role: Role | None = None) -> httpx.Response:
        """The answer to what gets a problem from a service that has nothing the matter with it."""
        _, asked = await request_with(self.world, self.operation, code, role)
        return await self.world.send(asked)

    async def _unwelcome(self) -> AsyncIterator[Role]:
        """Each role that may not send the command, after it was told so."""
        for role in Role:
            if role not in self.definition.roles:
                asked = await self.world.ready(self.definition.name)
                answer = await self.world.send(replace(asked, role=role))
                assert (answer.status_code, codes(answer)) == (403, frozenset({"role-not-allowed"})), answer.text
                yield role

    def _refusals(self) -> Sequence[str]:
        """The codes of everything that the command may be refused with."""
        own = () if self.definition.creates else (self.definition.aggregate.not_found,)
        return [each.code() for each in (*own, *self.definition.refusals, *REFUSALS_OF_EVERY_COMMAND)]


def _told(response: httpx.Response) -> str:
    """The status, with the code of the problem."""
    return " ".join([str(response.status_code), *(f"`{code}`" for code in codes(response))])


@cache
def rows() -> Sequence[Row]:
    """The row of every command, in the order of the description."""
    return asyncio.run(_examined())


async def _examined() -> Sequence[Row]:
    async with running() as service:
        world = World(service.clients, lambda _operation, _response: None)
        await world.begin()
        service.log.destroy_subject(UUID(world.known["register-customer"]))
        service.log.destroy_subject(UUID(world.known["contact_id"]))
        return [
            await Examiner(world, COMMANDS[name], operation).row()
            for name, operation in operations().items()
            if name in COMMANDS
        ]


def page() -> str:
    """The matrix as the page docs/reference/command-matrix.md."""
    collections = groupby(rows(), lambda row: COMMANDS[row.command.strip("`")].aggregate.collection)
    return _HEAD + "".join(line for collection, among in collections for line in _table(collection, among))


_HEAD = """# What every command is answered

<!-- Made by python -m tests.interface.test_command_matrix; a test compares it with the program. -->

Each cell is what a service has answered to a command that was made for it. *Accepted* has the events that are
recorded. *Replay of its key* is the same request again: it gets its first answer and records nothing. *Stale If-Match*
has a version that the stream does not have; what begins a stream can expect none. *Refused* has every rule that can
refuse the command ([what they say](problems.md)). *Import override* has those of them that do not refuse an importer,
who reports what another system has done already; all others do.
"""


def _table(collection: str, among: Iterator[Row]) -> Iterator[str]:
    heads = [each.name.replace("_", " ").replace("if match", "If-Match") for each in fields(Row)]
    yield f"\n## {collection}\n\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|\n"
    for row in among:
        yield f"| {' | '.join(astuple(row))} |\n"
