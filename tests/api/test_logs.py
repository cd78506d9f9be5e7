"""Logs: one JSON object a line, with what helps and nothing personal."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from api.logs import FIELDS, JsonFormatter, configure
from application.commands import Role
from tests.api.bodies import ACME, ADA, ADA_PATH, CALL
from tests.api.running import KEY_IDS, code, running
from tests.asynchronous import asynchronous

SECRET = "Ada Lovelace"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What has been logged, as the service writes it."""
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    configure("debug", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def entries(written: io.StringIO) -> list[dict[str, Any]]:
    """The lines of a log."""
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_an_entry_has_its_time_level_logger_and_message(written: io.StringIO) -> None:
    logging.getLogger("api.somewhere").warning("something %s", "happened", extra={"status": 503, "name_of": SECRET})
    (entry,) = entries(written)
    assert entry.pop("at").endswith("Z")
    assert entry == {"level": "warning", "logger": "api.somewhere", "message": "something happened", "status": 503}


def test_only_known_fields_are_written(written: io.StringIO) -> None:
    logging.getLogger("api").info("said", extra={"customer": SECRET, "body": SECRET, "operation": "block-customer"})
    assert SECRET not in written.getvalue()
    assert entries(written)[0]["operation"] == "block-customer"
    assert "name" not in FIELDS


def test_of_an_exception_there_are_types_and_places_and_none_of_its_text(written: io.StringIO) -> None:
    def fail() -> None:
        try:
            {"name": 1}[SECRET]
        except KeyError as error:
            raise ValueError(SECRET) from error

    try:
        fail()
    except ValueError:
        logging.getLogger("api").exception("it failed")
    (entry,) = entries(written)
    assert SECRET not in written.getvalue()
    assert entry["exception"]["type"] == "builtins.ValueError"
    assert entry["exception"]["cause"]["type"] == "builtins.KeyError"
    assert any(place.endswith(" fail") for place in entry["exception"]["places"])


def test_what_packages_put_into_their_messages_is_left_out(written: io.StringIO) -> None:
    logging.getLogger("somepackage").warning("cannot store %s", SECRET)
    assert SECRET not in written.getvalue()
    assert entries(written)[0]["message"] == "cannot store %s"


def test_a_value_that_json_does_not_know_is_written_as_text() -> None:
    record = logging.makeLogRecord({"name": "api", "msg": "x", "correlation_id": UUID(int=1), "status": object})
    assert json.loads(JsonFormatter().format(record))["correlation_id"] == str(UUID(int=1))


# What the service logs


@asynchronous
async def test_who_read_what_is_logged_without_what_was_read(written: io.StringIO) -> None:
    async with running() as service:
        await service.send("/v1/customers", ADA)
        await service[Role.STAFF].get(f"{ADA_PATH}/history")
    (entry,) = [each for each in entries(written) if each.get("operation") == "read-history"]
    assert (entry["actor"], entry["role"], entry["status"]) == (f"key:{KEY_IDS[Role.STAFF]}", "staff", 200)
    assert "C-1002" not in written.getvalue()


@asynchronous
async def test_refused_requests_are_logged_by_their_problem_and_accepted_commands_are_not(written: io.StringIO) -> None:
    async with running() as service:
        await service.send("/v1/customers", ACME)
        await service.send("/v1/customers", ACME)
        await service.send("/v1/customers", {SECRET: SECRET})
        await service[None].get("/v1/events")
    found = [(each.get("operation"), each["problem"]) for each in entries(written) if "problem" in each]
    assert found == [
        ("register-customer", "customer-number-is-taken"),
        ("register-customer", "invalid-body"),
        ("follow-events", "not-authenticated"),
    ]
    assert SECRET not in written.getvalue()


@asynchronous
async def test_an_error_of_the_program_is_told_as_an_incident_and_found_in_the_log(written: io.StringIO) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError(SECRET)

    async with running() as service:
        await service.send("/v1/customers", ADA)
        service.log.history = fail  # type: ignore[method-assign,assignment] # a bug, for this test
        response = await service.shop.get(f"{ADA_PATH}/history")
    assert (response.status_code, code(response)) == (500, "internal-error")
    assert SECRET not in response.text + written.getvalue()
    incidents = [each for each in entries(written) if "incident" in each]
    assert [each["incident"] for each in incidents] == [response.json()["incident"]]
    assert incidents[0]["exception"]["type"] == "builtins.ZeroDivisionError"


@asynchronous
async def test_no_personal_value_that_was_sent_is_logged(written: io.StringIO) -> None:
    async with running() as service:
        await service.send("/v1/customers", ADA | {"vat_id": "GB999999973"})
        for body in (CALL, CALL | {"summary": ""}, CALL | {"contacts": ["Grace"]}, CALL | {"channel": "Grace"}):
            await service.send(f"{ADA_PATH}/record-interaction", body, on_behalf_of="Grace Hopper")
            await service.send(f"{ADA_PATH}/record-interaction", body)
        await service.shop.get("/v1/events?types=Grace")
        await service.shop.get("/v1/customers/Grace%20Hopper/history")
    for value in ("Ada", "Lovelace", "GB999999973", "clumps", "Grace", "Hopper"):
        assert value not in written.getvalue()
