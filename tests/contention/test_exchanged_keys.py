"""A sender exchanges its key while it sends, and sends again whatever it has no answer to: nothing is doubled."""

import asyncio
import random
from collections import Counter

import psycopg

from application.commands import Role
from infrastructure.database import Databases
from infrastructure.principals import Principals
from infrastructure.settings import Settings
from tests.api.bodies import ACME, ACME_PATH, CALL
from tests.api.running import client
from tests.api.test_on_postgres import opened
from tests.asynchronous import GIVE_UP_SECONDS
from tests.contention import IS_FULL

COMMANDS = 10_000 if IS_FULL else 400
SENDERS = 16
COPIES_MAX = 4
"""How often a command is sent at the same moment, each time with any key that the sender has then."""


def test_a_key_that_is_exchanged_under_a_storm_of_retries_doubles_and_refuses_nothing(
    databases: Databases, settings: Settings
) -> None:
    asyncio.run(asyncio.wait_for(storm(databases, settings), GIVE_UP_SECONDS * (15 if IS_FULL else 1)))


async def storm(databases: Databases, settings: Settings) -> None:
    choice = random.Random(20261130)  # noqa: S311 - the same storm each time
    statuses: Counter[int] = Counter()
    async with opened(databases, settings) as service:
        await service.send("/v1/customers", ACME)
        with psycopg.connect(databases.operator) as operator:
            principals = Principals(operator, "main")
            secret, first = principals.create("storm", Role.SERVICE)
            usable = [client(service.service, secret)]
            old = usable[0]
            numbers = list(range(COMMANDS, 0, -1))

            async def send(number: int) -> None:
                body = CALL | {"summary": f"call {number}"} if number % 2 else {"reason": "nothing to do"}
                path = f"{ACME_PATH}/{'record-interaction' if number % 2 else 'unblock-customer'}"
                answers = await asyncio.gather(
                    *(
                        choice.choice(usable).post(path, json=body, headers={"idempotency-key": f"storm-{number}"})
                        for _ in range(choice.randint(1, COPIES_MAX))
                    )
                )
                statuses.update(answer.status_code for answer in answers)
                assert len({answer.json()["position"] for answer in answers}) == 1

            async def work(numbers: list[int]) -> None:
                while numbers:
                    number = numbers.pop()
                    if number == COMMANDS // 3:
                        renewed, _ = principals.add("storm")
                        usable.append(client(service.service, renewed))
                    elif number == COMMANDS * 2 // 3:
                        usable.pop(0)
                    await send(number)

            await asyncio.gather(*(work(numbers) for _ in range(SENDERS)))
            principals.revoke(first.id)
        with psycopg.connect(databases.service) as connection:
            stored = connection.execute(
                "SELECT credential_id, count(*), sum(last_position - first_position + 1) FROM main.commands "
                "WHERE principal = %s GROUP BY 1",
                [f"key:{first.principal_id}"],
            ).fetchall()
        for each in (old, *usable):
            await each.aclose()
    assert set(statuses) == {200}
    assert len(stored) == 2
    assert first.id in {credential for credential, _, _ in stored}
    assert sum(commands for _, commands, _ in stored) == COMMANDS
    assert sum(events for _, _, events in stored) == COMMANDS // 2
