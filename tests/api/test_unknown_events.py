"""What a newer version has written stops those who read it, at its position and by its name, and nobody else."""

import psycopg
import pytest

from application.commands import Role
from infrastructure.database import Databases
from infrastructure.settings import Settings
from tests.api.bodies import ACME, ACME_PATH, ADA, BLOCK, FLOUR
from tests.api.test_on_postgres import opened
from tests.asynchronous import asynchronous


def write_as_newer(superuser: str, position: int, name: str, schema_version: int) -> None:
    """Let a newer version append to the stream of the first event."""
    with psycopg.connect(superuser) as connection:
        connection.execute(
            "INSERT INTO main.events (position, recorded_at, occurred_at, stream_id, command_id, correlation_id, "
            "version, schema_version, type, actor, actor_kind, customer_id, body) "
            "SELECT %s, recorded_at, occurred_at, stream_id, command_id, correlation_id, "
            "1 + (SELECT max(version) FROM main.events n WHERE n.stream_id = e.stream_id), %s, %s, "
            "actor, actor_kind, customer_id, '{}' FROM main.events e WHERE position = 1",
            [position, schema_version, name],
        )


@pytest.mark.parametrize(
    ("name", "schema_version", "passing"),
    [
        ("customer.teleported", 1, ["customer.registered,product.*", "product.registered", "support-case.*"]),
        ("customer.blocked", 9, ["customer.registered,product.*", "product.registered"]),
        ("bakery.opened", 1, ["customer.*", "customer.*,product.registered", "product.registered"]),
    ],
)
@asynchronous
async def test_the_feed_stops_before_what_this_version_does_not_know(  # noqa: PLR0913, PLR0917 - where, and what
    databases: Databases, settings: Settings, superuser: str, name: str, schema_version: int, passing: list[str]
) -> None:
    async with opened(databases, settings) as service:
        await service.send("/v1/customers", ACME)
        await service.send(f"{ACME_PATH}/block-customer", BLOCK)
        write_as_newer(superuser, 3, name, schema_version)
        await service.send("/v1/products", FLOUR)
        await service.send("/v1/customers", ADA)
        client = service.clients[Role.AUDITOR]
        kind = f"{name.partition('.')[0]}.*"
        for types in ("", *([f"&types={kind}"] if kind == "customer.*" else [])):
            page = (await client.get(f"/v1/events?after=0{types}")).json()
            assert [event["position"] for event in page["events"]] == [1, 2]
            assert (page["after"], page["position"]) == (2, 5)
            for wait in ("", "&wait=1s"):
                stopped = await client.get(f"/v1/events?after=2{types}{wait}")
                problem = stopped.json()
                assert stopped.status_code == 503
                assert problem["type"] == "urn:rapport:problem:event-is-unknown"
                assert problem["position"] == 3
                assert problem["facts"] == {"type": name, "schema_version": str(schema_version)}
                assert stopped.headers["retry-after"]
        for types in passing:
            page = (await client.get(f"/v1/events?after=0&types={types}")).json()
            assert page["after"] == 5
            assert 3 not in {event["position"] for event in page["events"]}
        assert (await client.get("/v1/events?after=3")).json()["after"] == 5
        for path in (f"{ACME_PATH}/history", f"{ACME_PATH}/events"):
            stopped = await client.get(path)
            assert (stopped.status_code, stopped.json()["position"]) == (503, 3)
