"""Commands over HTTP: what they answer, when they are sent again, and what their headers say."""

import asyncio
from uuid import UUID

import pytest

from api.commands import paths
from api.submissions import form_of
from application.commands import COMMANDS, Role
from application.customers import RegisterCustomer
from application.writer import WriterLimits
from tests.api.bodies import ACME, ACME_PATH, ADA, ADA_PATH, BLOCK, CALL, FLOUR, invoice
from tests.api.running import KEY_IDS, code, running
from tests.asynchronous import asynchronous
from tests.in_memory import FIRST_EPOCH

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
SOME_ID = "0190b7c2-7e1a-7000-8000-000000000001"


# What a command answers


@asynchronous
async def test_a_registered_customer_is_answered_with_what_happened_and_where_it_is() -> None:
    async with running() as service:
        response = await service.send("/v1/customers", ACME)
    answer = response.json()
    (event,) = answer["events"]
    assert response.status_code == 201
    assert response.headers["etag"] == f'"1-{FIRST_EPOCH}"'
    assert response.headers["location"].startswith(f"/v1/customers/{answer['id']}")
    assert (answer["version"], answer["position"], answer["replayed"]) == (1, 1, False)
    assert (event["type"], event["position"], event["stream_id"]) == ("customer.registered", 1, answer["id"])
    assert event["data"]["legal_name"] == "Acme Bakery GmbH"
    assert (event["actor"], event["actor_kind"]) == (f"key:{KEY_IDS[Role.SERVICE]}", "service")


@asynchronous
async def test_the_location_of_what_was_created_leads_there() -> None:
    async with running() as service:
        response = await service.send("/v1/products", FLOUR)
        assert (await service.shop.get(response.headers["location"])).status_code == 200


@asynchronous
async def test_a_command_to_what_exists_is_answered_with_its_new_version() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        response = await service.send(f"{ACME_PATH}/block-customer", BLOCK)
    assert response.status_code == 200
    assert response.headers["etag"] == f'"2-{FIRST_EPOCH}"'
    assert "location" not in response.headers
    assert [event["type"] for event in response.json()["events"]] == ["customer.blocked"]


@asynchronous
async def test_a_command_that_has_nothing_to_do_records_nothing() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        await service.send(f"{ACME_PATH}/block-customer", BLOCK)
        answer = (await service.send(f"{ACME_PATH}/block-customer", BLOCK)).json()
        assert (answer["events"], answer["position"], answer["version"]) == ([], 2, 2)
        assert len(service.log.recorded) == 2


@asynchronous
async def test_a_dry_run_is_decided_and_not_recorded() -> None:
    async with running() as service:
        response = await service.send("/v1/customers", ACME | {"dry_run": True})
        refused = await service.send("/v1/customers", ACME | {"dry_run": True, "vat_id": "DE123456789"})
        assert service.log.recorded == []
    assert response.status_code == 200
    assert "location" not in response.headers
    assert response.json()["dry_run"]
    assert [(event["type"], event["position"]) for event in response.json()["events"]] == [("customer.registered", 0)]
    assert refused.status_code == 200


@asynchronous
async def test_a_target_is_named_by_our_id_by_our_number_or_by_another_systems() -> None:
    async with running() as service:
        customer = (await service.send("/v1/customers", ACME)).json()["id"]
        for name in (customer, "number:C-1001", "shop:4711", "shop%3A4711"):
            response = await service.send(f"/v1/customers/{name}/record-interaction", CALL)
            assert response.json()["id"] == customer


@asynchronous
async def test_an_identifier_with_a_slash_is_one_part_of_the_path() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        await service.send("/v1/sales-documents/post-invoice", invoice("2026/17"))
        cancellation = {"document_number": "2026/18", "document_date": "2026-01-02", "posted_on": "2026-01-02"}
        response = await service.send("/v1/sales-documents/number:2026%2F17/cancel-invoice", cancellation)
    assert response.status_code == 200


def test_what_starts_a_stream_is_sent_to_its_collection_and_by_name_where_several_do() -> None:
    found = paths(COMMANDS.values())
    assert found["register-customer"] == "/v1/customers"
    assert found["post-invoice"] == "/v1/sales-documents/post-invoice"
    assert found["block-customer"] == "/v1/customers/{id}/block-customer"
    assert len(set(found.values())) == len(COMMANDS)


# Sent again


@asynchronous
async def test_the_same_command_sent_again_gets_its_first_answer() -> None:
    async with running() as service:
        first = await service.send("/v1/customers", ACME, idempotency_key="once")
        again = await service.send("/v1/customers", ACME, idempotency_key="once")
        assert len(service.log.recorded) == 1
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json() | {"replayed": True}
    assert again.headers["location"] == first.headers["location"]


@asynchronous
async def test_neither_the_order_of_fields_nor_a_default_that_is_spelled_out_makes_another_request() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME, idempotency_key="once")
        turned = dict(reversed(ACME.items())) | {"vat_id": None, "dry_run": False}
        again = await service.send("/v1/customers", turned, idempotency_key="once")
    assert again.json()["replayed"]


@asynchronous
async def test_a_key_is_not_taken_for_another_request() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME, idempotency_key="once")
        others = [
            await service.send("/v1/customers", ACME | {"country": "AT"}, idempotency_key="once"),
            await service.send(f"{ACME_PATH}/block-customer", BLOCK, idempotency_key="once"),
        ]
        assert len(service.log.recorded) == 1
    assert [(each.status_code, code(each)) for each in others] == [(422, "key-is-used-for-another-request")] * 2


@asynchronous
async def test_two_senders_may_use_the_same_key() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME, idempotency_key="once")
        headers = {"idempotency-key": "once"}
        response = await service[Role.STAFF].post(f"{ACME_PATH}/block-customer", json=BLOCK, headers=headers)
    assert response.status_code == 200


@asynchronous
async def test_the_same_command_sent_many_times_at_once_is_done_once() -> None:
    async with running() as service:
        sent = [service.send("/v1/customers", ACME, idempotency_key="once") for _ in range(20)]
        answers = [response.json() for response in await asyncio.gather(*sent)]
        assert len(service.log.recorded) == 1
    assert len({answer["id"] for answer in answers}) == 1
    assert sorted(answer["replayed"] for answer in answers) == [False] + [True] * 19


@asynchronous
async def test_a_refused_command_may_be_sent_again_with_its_key() -> None:
    async with running() as service:
        refused = await service.send(f"{ACME_PATH}/block-customer", BLOCK, idempotency_key="block")
        await service.send("/v1/customers", ACME)
        accepted = await service.send(f"{ACME_PATH}/block-customer", BLOCK, idempotency_key="block")
    assert (refused.status_code, accepted.status_code) == (404, 200)


def test_the_canonical_form_of_a_request_stays_what_it_is() -> None:
    """What is stored of a request is a hash of this: if it changed, everything sent again would be refused."""
    form = form_of(COMMANDS["register-customer"])
    command = form.decode(
        b'{"name": "Acme B\\u00e4ckerei", "customer_number": "C-1001", "kind": "organisation", "country": "DE",'
        b'"relationship": "customer", "language": "de", "currency": "EUR", "vat_id": null,'
        b'"occurred_at": "2026-01-01T01:00:00+01:00"}'
    )
    assert isinstance(command, RegisterCustomer)
    assert form.canonical(command).decode() == (
        '{"occurred_at":"2026-01-01T00:00:00Z","customer_number":"C-1001","kind":"organisation",'
        '"name":"Acme Bäckerei","relationship":"customer","language":"de","currency":"EUR","country":"DE"}'
    )


# Did it happen?


@asynchronous
async def test_a_command_that_was_recorded_is_found_under_its_key() -> None:
    async with running() as service:
        first = await service.send("/v1/customers", ACME, idempotency_key="no.1/a")
        found = await service.shop.get("/v1/commands/no.1%2Fa")
        sent_with = {"credential_id": str(KEY_IDS[Role.SERVICE])}
        assert found.json() == first.json() | {"replayed": True} | sent_with
        assert found.headers["etag"] == f'"1-{FIRST_EPOCH}"'


@asynchronous
async def test_a_command_that_had_nothing_to_do_is_found_and_its_late_duplicate_does_nothing() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        idle = await service.send(f"{ACME_PATH}/unblock-customer", BLOCK, idempotency_key="idle")
        await service.send(f"{ACME_PATH}/block-customer", BLOCK)
        again = await service.send(f"{ACME_PATH}/unblock-customer", BLOCK, idempotency_key="idle")
        found = await service.shop.get("/v1/commands/idle")
        assert [event.type for event in service.log.recorded] == ["customer.registered", "customer.blocked"]
    assert again.json() == idle.json() | {"replayed": True}
    assert (idle.json()["position"], idle.json()["version"], idle.headers["etag"]) == (1, 1, again.headers["etag"])
    assert found.json() == again.json() | {"credential_id": str(KEY_IDS[Role.SERVICE])}


@asynchronous
async def test_a_command_that_was_refused_only_tried_or_never_sent_is_not_found() -> None:
    async with running() as service:
        await service.send(f"{ACME_PATH}/block-customer", BLOCK, idempotency_key="refused")
        await service.send("/v1/customers", ACME)
        await service.send(f"{ACME_PATH}/block-customer", BLOCK | {"dry_run": True}, idempotency_key="tried")
        for key in ("refused", "tried", "never", "%20", "x" * 300):
            response = await service.shop.get(f"/v1/commands/{key}")
            assert (response.status_code, code(response)) == (404, "command-not-found")


@asynchronous
async def test_only_an_admin_or_an_auditor_may_ask_for_the_command_of_somebody_else() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME, idempotency_key="once")
        path = f"/v1/commands/once?principal=key:{KEY_IDS[Role.SERVICE]}"
        assert (await service[Role.ADMIN].get(path)).status_code == 200
        assert (await service[Role.AUDITOR].get(path)).status_code == 200
        assert (await service[Role.SERVICE].get(path)).status_code == 200
        assert code(await service[Role.STAFF].get(path)) == "role-not-allowed"
        assert code(await service[Role.STAFF].get("/v1/commands/once")) == "command-not-found"


# Headers


@asynchronous
async def test_a_stale_if_match_is_refused_and_told_the_version() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        accepted = await service.send(f"{ACME_PATH}/block-customer", BLOCK, if_match='"1"')
        refused = await service.send(f"{ACME_PATH}/unblock-customer", BLOCK, if_match='"1"')
        any_version = await service.send(f"{ACME_PATH}/unblock-customer", BLOCK, if_match="*")
    assert (accepted.status_code, refused.status_code, any_version.status_code) == (200, 412, 200)
    assert code(refused) == "stream-has-moved"
    assert refused.json()["current_version"] == 2
    assert refused.json()["retry"] == "after_change"


@pytest.mark.parametrize(
    ("headers", "correlation_id"),
    [
        ({"correlation-id": SOME_ID}, SOME_ID),
        ({"correlation-id": SOME_ID, "traceparent": TRACEPARENT}, SOME_ID),
        ({"traceparent": TRACEPARENT}, str(UUID(TRACE))),
        ({"traceparent": TRACEPARENT.replace("00-4", "00-X")}, None),
        ({"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01"}, None),
        ({}, None),
    ],
    ids=["header", "header-before-trace", "trace", "malformed-trace", "empty-trace", "neither"],
)
@asynchronous
async def test_what_belongs_together_has_one_id(headers: dict[str, str], correlation_id: str | None) -> None:
    async with running() as service:
        response = await service.send("/v1/customers", ACME, **headers)
    (event,) = response.json()["events"]
    assert event["correlation_id"] == (correlation_id or event["command_id"])


@asynchronous
async def test_events_say_what_caused_them_and_for_whom() -> None:
    async with running() as service:
        response = await service.send(
            "/v1/customers", ACME, causation_id=SOME_ID, on_behalf_of="staff:0190b7c2", correlation_id=SOME_ID.upper()
        )
    (event,) = response.json()["events"]
    assert (event["causation_id"], event["on_behalf_of"]) == (SOME_ID, "staff:0190b7c2")
    assert event["correlation_id"] == SOME_ID


@asynchronous
async def test_events_say_when_it_happened_why_and_since_when_the_source_knew() -> None:
    async with running() as service:
        body = ACME | {
            "occurred_at": "2025-12-24T18:00:00+01:00",
            "reason": "moved from the old system",
            "source": "erp",
            "source_recorded_at": "2025-12-27T08:00:00Z",
        }
        (event,) = (await service.send("/v1/customers", body)).json()["events"]
    assert event["occurred_at"] == "2025-12-24T17:00:00Z"
    assert (event["reason"], event["source"]) == ("moved from the old system", "erp")
    assert event["source_recorded_at"] == "2025-12-27T08:00:00Z"


@pytest.mark.parametrize(
    ("role", "actor_kind"), [(Role.SERVICE, "service"), (Role.STAFF, "person"), (Role.IMPORTER, "import")]
)
@asynchronous
async def test_events_say_whether_a_person_a_service_or_an_import_acted(role: Role, actor_kind: str) -> None:
    async with running() as service:
        response = await service[role].post("/v1/customers", json=ACME, headers={"idempotency-key": "1"})
    (event,) = response.json()["events"]
    assert (event["actor"], event["actor_kind"]) == (f"key:{KEY_IDS[role]}", actor_kind)


# Refusals


@asynchronous
async def test_a_refusal_names_the_rule_and_the_field() -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        response = await service.send("/v1/customers", ACME)
    problem = response.json()
    assert (response.status_code, code(response)) == (409, "customer-number-is-taken")
    assert problem["title"] == "No two customers have the same customer number."
    assert problem["errors"] == [{"detail": problem["title"], "pointer": "/customer_number"}]
    assert (problem["status"], problem["retry"]) == (409, "after_change")


@asynchronous
async def test_what_does_not_exist_is_not_found() -> None:
    async with running() as service:
        for name in (SOME_ID, "number:C-9", "nobody", "x" * 150, "%01"):
            response = await service.send(f"/v1/customers/{name}/block-customer", BLOCK)
            assert (response.status_code, code(response)) == (404, "customer-not-found")
        response = await service.send("/v1/sales-documents/post-invoice", invoice("R-1"))
    assert (response.status_code, code(response)) == (404, "reference-not-found")
    assert response.json()["errors"][0]["pointer"] == "/customer"


@asynchronous
async def test_what_lies_in_the_future_is_refused_until_it_has_happened() -> None:
    async with running() as service:
        response = await service.send("/v1/customers", ACME | {"occurred_at": "2026-06-01T00:00:00Z"})
    assert (response.status_code, code(response)) == (422, "occurred-in-the-future")
    assert response.json()["retry"] == "after_change"
    assert response.json()["errors"][0]["pointer"] == "/occurred_at"


@asynchronous
async def test_nothing_is_recorded_about_somebody_who_was_erased() -> None:
    async with running() as service:
        ada = (await service.send("/v1/customers", ADA)).json()["id"]
        service.log.destroy_subject(UUID(ada))
        response = await service.send(f"/v1/customers/{ada}/record-interaction", CALL)
        gone = await service.send(f"{ADA_PATH}/record-interaction", CALL)
    assert (response.status_code, code(response)) == (409, "subject-is-erased")
    assert response.json()["retry"] == "after_change"
    assert gone.status_code in {404, 409}


@asynchronous
async def test_a_full_queue_and_a_lost_log_ask_the_sender_to_come_back() -> None:
    async with running(writer_limits=WriterLimits(queue_commands_max=0)) as service:
        full = await service.send("/v1/customers", ACME)
    async with running() as service:
        await service.send("/v1/customers", ACME)
        service.log.is_reachable = False
        lost = await service.send(f"{ACME_PATH}/block-customer", BLOCK)
    for response, expected in ((full, "queue-is-full"), (lost, "log-unavailable")):
        assert (response.status_code, code(response)) == (503, expected)
        assert response.json()["retry"] == "same_request"
        assert int(response.headers["retry-after"]) >= 1
