"""The service on a real Postgres: what is sent is stored, folded, read and counted, and erased where it has to be."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from api.app import open_service
from api.command_line.processes import make_projector
from api.service import Service
from application.commands import Role
from infrastructure.database import Databases
from infrastructure.encryption import KeyEncryptionKeyMissing, KeyFile
from infrastructure.principals import PrincipalNameIsTaken, Principals
from infrastructure.settings import Settings
from infrastructure.tenant import Tenant, found_tenant
from tests.api.bodies import ACME, ACME_PATH, ADA, ADA_PATH, BLOCK, CALL, FLOUR, invoice
from tests.api.running import client, code, served
from tests.asynchronous import asynchronous, until

MOVED = {"kind": "billing", "valid_from": "2026-04-01", "country": "DE", "city": "Bremen", "street": "Am Markt 1"}
GRACE = {"name": "Grace Hopper", "email": "grace@acme.example", "phone": "+49 421 555-0100"}
OLD_NAME_UNTIL = {"name": "Acme Brot GmbH", "valid_from": "2026-05-01"}


@dataclass
class Opened:
    """A running service on Postgres."""

    service: Service
    databases: Databases
    tenant: Tenant
    clients: dict[Role | None, httpx.AsyncClient]
    """One for each role, and one without a key."""

    async def send(self, path: str, body: dict[str, Any], key: str | None = None) -> dict[str, Any]:
        """Send a command that is accepted."""
        headers = {"idempotency-key": key or str(uuid4())}
        response = await self.clients[Role.SERVICE].post(path, json=body, headers=headers)
        assert response.is_success, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def read(self, path: str, role: Role = Role.STAFF) -> dict[str, Any]:
        """Ask something that is answered."""
        response = await self.clients[role].get(path)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def project(self) -> None:
        """Bring the read models up to date."""
        await asyncio.to_thread(self._project)

    async def rebuild(self, model: str) -> None:
        """Make a read model anew, beside the one that answers, and let it take over."""
        await asyncio.to_thread(self._rebuild, model)

    def _project(self) -> None:
        projector = make_projector(self.databases, self.tenant)
        projector.start()
        while projector.step():
            pass
        projector.close()

    def _rebuild(self, model: str) -> None:
        projector = make_projector(self.databases, self.tenant)
        projector.rebuild(model, lambda _at, _end: None)
        projector.close()


def _key(principals: Principals, role: Role) -> str:
    """A key of the principal of a role, who is made by the first service that is opened on a database."""
    try:
        secret, _ = principals.create(f"test {role}", role)
    except PrincipalNameIsTaken:
        secret, _ = principals.add(f"test {role}")
    return secret


@asynccontextmanager
async def opened(databases: Databases, settings: Settings) -> AsyncIterator[Opened]:
    """Start the service on this database."""
    with psycopg.connect(databases.operator) as operator:
        tenant = found_tenant(
            operator, "main", KeyFile(settings.data / "keys"), reporting_currency="EUR", time_zone="Europe/Berlin"
        )
        keys = Principals(operator, "main")
        secrets: dict[Role | None, str | None] = {None: None}
        secrets |= {role: _key(keys, role) for role in Role}
    service = open_service(settings, databases)
    async with served(service):
        clients = {role: client(service, secret) for role, secret in secrets.items()}
        yield Opened(service, databases, tenant, clients)
        for each in clients.values():
            await each.aclose()


async def tell_the_story(service: Opened) -> int:
    """Acme buys flour twice, moves, and is blocked; the last position."""
    await service.send("/v1/customers", ACME)
    await service.send("/v1/products", FLOUR)
    await service.send("/v1/sales-documents/post-invoice", invoice("R-1", posted_on="2026-01-15"))
    await service.send("/v1/sales-documents/post-invoice", invoice("R-2", posted_on="2026-02-15"))
    await service.send(f"{ACME_PATH}/change-address", MOVED)
    await service.send(f"{ACME_PATH}/add-contact-person", GRACE)
    await service.send(f"{ACME_PATH}/change-legal-name", OLD_NAME_UNTIL)
    await service.send(f"{ACME_PATH}/record-interaction", CALL)
    position: int = (await service.send(f"{ACME_PATH}/block-customer", BLOCK))["position"]
    return position


@asynchronous
async def test_what_is_sent_is_stored_and_sent_again_gets_its_first_answer(
    databases: Databases, settings: Settings
) -> None:
    async with opened(databases, settings) as service:
        first = await service.send("/v1/customers", ACME, key="once")
        again = await service.send("/v1/customers", ACME, key="once")
        history = await service.read(f"{ACME_PATH}/history")
    assert again == first | {"replayed": True}
    assert history["events"] == first["events"]


@asynchronous
async def test_another_process_knows_what_the_first_one_stored(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        first = await service.send("/v1/customers", ACME, key="once")
        async with served(open_service(settings, databases)) as _:
            blocked = await service.send(f"{ACME_PATH}/block-customer", BLOCK)
    async with opened(databases, settings) as service:
        events = await service.read(f"{ACME_PATH}/events")
    assert [event["position"] for event in events["events"]] == [first["position"], blocked["position"]]


@asynchronous
async def test_the_card_shows_what_holds_on_a_day(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        position = await tell_the_story(service)
        await service.project()
        spring = await service.read(f"{ACME_PATH}?valid_at=2026-04-15&min_position={position}")
        summer = await service.read(f"{ACME_PATH}?valid_at=2027-01-15")
        then = await service.read(f"{ACME_PATH}?at_position=1&valid_at=2027-01-15")
    assert (spring["name"], summer["name"], then["name"]) == ("Acme Bakery GmbH", "Acme Brot GmbH", "Acme Bakery GmbH")
    assert [address["city"] for address in spring["addresses"]] == ["Bremen"]
    assert [contact["name"] for contact in summer["contacts"]] == ["Grace Hopper"]
    assert then["addresses"] == then["contacts"] == []
    assert (spring["position"], then["position"]) == (position, 1)


@asynchronous
async def test_the_location_of_a_customer_is_its_card(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        headers = {"idempotency-key": "1"}
        made = await service.clients[Role.SERVICE].post("/v1/customers", json=ACME, headers=headers)
        await service.project()
        card = await service.read(made.headers["location"])
    assert card["customer_id"] == made.json()["id"]


@asynchronous
async def test_customers_are_listed_page_by_page_and_found(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        await tell_the_story(service)
        await service.send("/v1/customers", ADA)
        await service.project()
        first = await service.read("/v1/customers?limit=1")
        second = await service.read(f"/v1/customers?limit=1&cursor={first['next_cursor']}")
        found = {
            query: [each["customer_number"] for each in (await service.read(f"/v1/customers?q={query}"))["customers"]]
            for query in ("acme", "lovelace", "grace%40acme.example", "C-10", "4711", "nobody", "love", "%20")
        }
    assert [each["customer_number"] for each in (*first["customers"], *second["customers"])] == ["C-1001", "C-1002"]
    assert second["next_cursor"] is None
    assert found == {
        "acme": ["C-1001"],
        "lovelace": ["C-1002"],
        "grace%40acme.example": ["C-1001"],
        "C-10": ["C-1001", "C-1002"],
        "4711": ["C-1001"],
        "nobody": [],
        "love": [],
        "%20": ["C-1001", "C-1002"],
    }


@pytest.mark.parametrize("cursor", ["x", "W10", "WzEsIDIsIDNd", "a" * 400])
@asynchronous
async def test_a_cursor_that_nobody_gave_is_refused(databases: Databases, settings: Settings, cursor: str) -> None:
    async with opened(databases, settings) as service:
        response = await service.clients[Role.STAFF].get(f"/v1/customers?cursor={cursor}")
    assert (response.status_code, code(response)) == (422, "invalid-parameter")


@pytest.mark.parametrize(
    "content",
    [b"[" * 7_000, b"[" * 199 + b"]" * 199, b'{"a":' * 1_500, b"9" * 7_000, b'[1,"x",["\\u0000"],null]', b"\xff"],
)
@asynchronous
async def test_a_cursor_of_a_report_that_nobody_gave_is_refused(
    databases: Databases, settings: Settings, content: bytes
) -> None:
    cursor = base64.urlsafe_b64encode(content).decode().rstrip("=")
    async with opened(databases, settings) as service:
        await tell_the_story(service)
        await service.project()
        for path in ("revenue_statistics", "revenue_statistics/events", "waiting_now", "support_response_times"):
            response = await service.clients[Role.STAFF].get(f"/v1/reports/{path}?cursor={cursor}")
            assert (response.status_code, code(response)) == (422, "parameter-is-invalid"), path


@asynchronous
async def test_what_is_erased_shows_as_erased_and_revenue_stays(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        ada = (await service.send("/v1/customers", ADA))["id"]
        await service.send(f"{ADA_PATH}/record-interaction", CALL)
        await service.send("/v1/sales-documents/post-invoice", invoice("R-1", "number:C-1002"))
        await service.project()
        report = "/v1/reports/revenue_statistics?from=2026-01-01&to=2027-01-01&by=customer"
        before = await service.read(report)
        with psycopg.connect(databases.privacy) as privacy:
            privacy.execute("SELECT main.destroy_subject(%s)", [ada])
        history = await service.read(f"/v1/customers/{ada}/history")
        card = await service.read(f"/v1/customers/{ada}")
        found = await service.read("/v1/customers?q=lovelace")
        after = await service.read(report)
    assert history["events"][0]["data"]["name"] == "[erased]"
    assert (card["name"], card["interactions"][0]["summary"]) == ("[erased]", "[erased]")
    assert found["customers"] == []
    assert after == before
    assert before["rows"]


@asynchronous
async def test_revenue_is_reported_as_json_and_csv_and_explained_by_its_events(
    databases: Databases, settings: Settings
) -> None:
    async with opened(databases, settings) as service:
        position = await tell_the_story(service)
        await service.project()
        catalogue = await service.read("/v1/reports", Role.REPORTING)
        question = "from=2026-01-01&to=2026-04-01&by=month"
        path = f"/v1/reports/revenue_statistics?{question}"
        report = await service.read(f"{path}&min_position={position}", Role.REPORTING)
        asked = service.clients[Role.REPORTING]
        as_csv = await asked.get(f"{path}&format=csv")
        accepted = await asked.get(path, headers={"accept": "text/csv"})
        cell = "/v1/reports/revenue_statistics/events?from=2026-01-01&to=2026-04-01&where=month:2026-02"
        evidence = await service.read(cell, Role.REPORTING)
        shown = await service.read(f"{cell}&events=true", Role.AUDITOR)
        hidden = await asked.get(f"{cell}&events=true")
        then = await service.read(f"{path}&at_position=3", Role.REPORTING)
    assert "revenue_statistics" in {each["name"] for each in catalogue["reports"]}
    assert (report["definition"], report["position"]) == ("revenue_statistics", position)
    assert [row["revenue"] for row in report["rows"]] == ["25.00", "25.00"]
    assert as_csv.headers["content-type"].startswith("text/csv")
    assert as_csv.content == accepted.content
    assert len(as_csv.text.splitlines()) == 3
    assert len(evidence["positions"]) == 1
    assert [event["type"] for event in shown["events"]] == ["sales-document.invoice-posted"]
    assert (hidden.status_code, code(hidden)) == (403, "role-not-allowed")
    assert len(then["rows"]) == 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("nonsense=1", "invalid-parameter"),
        ("at_position=1&at_position=2", "invalid-parameter"),
        ("at_position=99", "invalid-parameter"),
        ("min_position=99", "invalid-parameter"),
        ("known_at=2100-01-01T00:00:00Z", "moment-is-not-over"),
        ("definition_version=9", "read-model-not-found"),
        ("from=yesterday", "parameter-is-invalid"),
        ("format=xml", "invalid-parameter"),
    ],
)
@asynchronous
async def test_a_question_that_makes_no_sense_is_refused(
    databases: Databases, settings: Settings, query: str, expected: str
) -> None:
    async with opened(databases, settings) as service:
        await service.send("/v1/customers", ACME)
        await service.project()
        path = f"/v1/reports/revenue_statistics?from=2026-01-01&to=2026-02-01&{query}"
        if query.startswith("from"):
            path = f"/v1/reports/revenue_statistics?{query}"
        response = await service.clients[Role.REPORTING].get(path)
    assert response.status_code in {404, 422}
    assert code(response) == expected


@asynchronous
async def test_a_read_model_that_is_behind_says_where_it_is(databases: Databases, settings: Settings) -> None:
    hasty = settings.model_copy(update={"wait_seconds_max": 0})
    async with opened(databases, hasty) as service:
        await service.send("/v1/customers", ACME)
        await service.project()
        position = (await service.send(f"{ACME_PATH}/block-customer", BLOCK))["position"]
        response = await service.clients[Role.STAFF].get(f"{ACME_PATH}?min_position={position}")
        metrics = await service.clients[Role.STAFF].get("/metrics")
    assert (response.status_code, code(response)) == (503, "read-model-behind")
    assert response.json()["position"] == position - 1
    assert response.headers["retry-after"] == "1"
    lag = 'rapport_projection_lag_events{model="customer_card",version="1",build="1"} 1'
    assert lag in metrics.text.splitlines()
    assert 'rapport_projection_stopped{model="customer_card",version="1",build="1"} 0' in metrics.text


@asynchronous
async def test_what_answers_no_more_is_not_measured_any_more(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        await service.send("/v1/customers", ACME)
        await service.project()
        before = await service.clients[None].get("/metrics")
        await service.rebuild("customer_card")
        after = await service.clients[None].get("/metrics")
    stopped = 'rapport_projection_stopped{{model="customer_card",version="1",build="{}"}} 0'
    assert [stopped.format(build) in before.text for build in (1, 2)] == [True, False]
    assert [stopped.format(build) in after.text for build in (1, 2)] == [False, True]


@asynchronous
async def test_bulk_records_many_commands_in_few_appends(databases: Databases, settings: Settings) -> None:
    lines = [{"key": "acme", "command": "register-customer", "data": ACME}]
    lines += [
        {"key": f"R-{number}", "command": "post-invoice", "data": invoice(f"R-{number}")} for number in range(500)
    ]
    body = "\n".join(map(json.dumps, lines))
    async with opened(databases, settings) as service:
        for outcome in ("accepted", "replayed"):
            response = await service.clients[Role.SERVICE].post(
                "/v1/commands", content=body, headers={"content-type": "application/x-ndjson"}
            )
            summary = json.loads(response.text.splitlines()[-1])
            assert summary[outcome] == summary["lines"] == 501
        feed = await service.read("/v1/events?limit=1000", Role.AUDITOR)
    assert [event["position"] for event in feed["events"]] == [*range(1, 502)]


@asynchronous
async def test_a_revoked_key_stops_to_work(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        await service.read("/v1/reports")
        with psycopg.connect(databases.operator) as operator:
            Principals(operator, "main").revoke("test staff")

        async def is_refused() -> bool:
            return (await service.clients[Role.STAFF].get("/v1/reports")).status_code == 401

        await until(is_refused)


@asynchronous
async def test_the_service_is_ready_on_postgres(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        checks = {"log": True, "read_models": True, "disk": True, "key_file": True}
        assert await service.read("/readyz") == {"ready": True, "checks": checks}


@asynchronous
async def test_a_full_disk_is_named_until_something_is_recorded_again(
    databases: Databases, settings: Settings, superuser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.health.CHECKED_FOR_SECONDS", -1.0)
    async with opened(databases, settings) as service:
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute(FULL_DISK)
            command = await service.clients[Role.SERVICE].post(
                "/v1/customers", json=ACME, headers={"idempotency-key": "1"}
            )
            full = await service.clients[None].get("/readyz")
            connection.execute("DROP TRIGGER full_disk ON main.events")
        monkeypatch.setattr("infrastructure.event_store.DISK_IS_FULL_SECONDS", 0.0)
        after_a_while = await service.clients[None].get("/readyz")
        monkeypatch.undo()
        monkeypatch.setattr("api.health.CHECKED_FOR_SECONDS", -1.0)
        still = await service.clients[None].get("/readyz")
        await service.send("/v1/customers", ACME, key="1")
        recorded = await service.clients[None].get("/readyz")
    assert (command.status_code, code(command)) == (503, "log-unavailable")
    assert (full.status_code, full.json()["ready"], full.json()["checks"]["disk"]) == (503, False, False)
    assert full.json()["checks"]["log"]
    assert [each.status_code for each in (after_a_while, still, recorded)] == [200, 503, 200]


FULL_DISK = """
    CREATE FUNCTION main.full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON main.events FOR EACH STATEMENT EXECUTE FUNCTION main.full_disk()"""


def test_without_the_keys_of_its_data_the_service_does_not_start(
    databases: Databases, settings: Settings, tmp_path: Any
) -> None:
    with psycopg.connect(databases.operator) as operator:
        found_tenant(operator, "main", KeyFile(settings.data / "keys"), reporting_currency="EUR", time_zone="UTC")
    with pytest.raises(KeyEncryptionKeyMissing):
        open_service(settings.model_copy(update={"data": tmp_path}), databases)
