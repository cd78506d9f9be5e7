"""Support over HTTP: a complaint is opened, answered and resolved, and the reports tell of it, as of any moment."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

import psycopg

from application.commands import Role
from infrastructure.database import Databases
from infrastructure.settings import Settings
from tests.api.bodies import ACME, ACME_PATH, ADA
from tests.api.running import code
from tests.api.test_on_postgres import Opened, opened
from tests.asynchronous import asynchronous

OFFICE = {
    "calendar_number": "office",
    "name": "Office hours",
    "hours": {
        "time_zone": "Europe/Berlin",
        "weekly": {
            day: [{"opens": "09:00", "closes": "17:00"}]
            for day in ("monday", "tuesday", "wednesday", "thursday", "friday")
        },
    },
}
CASE = "/v1/support-cases/number:T-1"
OPENED = {
    "case_number": "T-1",
    "kind": "complaint",
    "channel": "email",
    "opened_by": "customer",
    "customer": "number:C-1001",
    "calendar": "number:office",
    "first_message": "The flour clumps.",
    "occurred_at": "2026-06-08T07:00:00Z",
}
REPLIED = {"text": "We look into it.", "occurred_at": "2026-06-08T09:00:00Z"}
RESOLVED = {"resolution_code": "replaced", "occurred_at": "2026-06-09T08:00:00Z"}


async def complain(service: Opened) -> dict[str, int]:
    """Acme complains, is answered, and the case is resolved; the positions of these."""
    await service.send("/v1/customers", ACME)
    await service.send("/v1/service-calendars", OFFICE)
    told = {
        "opened": await service.send("/v1/support-cases", OPENED),
        "replied": await service.send(f"{CASE}/send-public-reply", REPLIED),
        "resolved": await service.send(f"{CASE}/resolve-case", RESOLVED),
    }
    await service.project()
    return {name: answer["position"] for name, answer in told.items()}


def figures(answer: dict[str, Any]) -> dict[str, tuple[Any, Any, Any]]:
    return {row["measure"]: (row["calendar_total"], row["business_total"], row["running"]) for row in answer["rows"]}


HOUR = 3_600_000_000


@asynchronous
async def test_response_times_are_told_as_known_at_any_position(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        positions = await complain(service)
        report = "/v1/reports/support_response_times"
        now = figures(await service.read(report, Role.REPORTING))
        before = figures(await service.read(f"{report}?at_position={positions['opened']}", Role.REPORTING))
        evidence = await service.read(f"{report}/events?measure=first_response", Role.REPORTING)
    assert now["first_response"] == (2 * HOUR, 2 * HOUR, 0)
    assert now["full_resolution"] == (25 * HOUR, 9 * HOUR, 0)
    assert before["first_response"] == (0, 0, 1)
    assert evidence["positions"] == [positions["opened"], positions["replied"]]


@asynchronous
async def test_who_waits_is_told_as_of_the_moment_of_the_question(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        positions = await complain(service)
        waiting = "/v1/reports/waiting_now"
        now = await service.read(waiting)
        then = await service.read(f"{waiting}?valid_at=2026-06-08T08:00:00Z")
        recorded = (await service.read(f"/v1/events?after={positions['opened'] - 1}&limit=1", Role.AUDITOR))["events"][
            0
        ]
        unanswered = await service.read(f"{waiting}?at_position={positions['opened']}")
        known = await service.read(f"{waiting}?known_at={quote(recorded['recorded_at'])}")
    assert now["rows"] == []
    (row,) = then["rows"]
    assert (row["awaited"], row["business_time"], row["case_number"]) == ("first_response", HOUR, "T-1")
    assert unanswered["question"]["valid_at"] == known["question"]["valid_at"]
    assert datetime.fromisoformat(unanswered["question"]["valid_at"]) == datetime.fromisoformat(recorded["recorded_at"])
    assert [each["case_number"] for each in unanswered["rows"]] == ["T-1"]


@asynchronous
async def test_the_pages_of_an_answer_are_all_of_the_moment_of_the_first(
    databases: Databases, settings: Settings
) -> None:
    async with opened(databases, settings) as service:
        await complain(service)
        for number in (2, 3):
            await service.send("/v1/support-cases", OPENED | {"case_number": f"T-{number}"})
        await service.project()
        first = await service.read("/v1/reports/waiting_now?limit=1")
        second = await service.read(f"/v1/reports/waiting_now?limit=1&cursor={first['next_cursor']}")
    assert second["question"] == first["question"]
    assert sorted(row["case_number"] for page in (first, second) for row in page["rows"]) == ["T-2", "T-3"]
    assert second["next_cursor"] is None


@asynchronous
async def test_a_cursor_goes_on_as_far_as_the_log_is_the_one_that_it_was(
    databases: Databases, settings: Settings
) -> None:
    async with opened(databases, settings) as service:
        await complain(service)
        for number in (2, 3):
            await service.send("/v1/support-cases", OPENED | {"case_number": f"T-{number}"})
        await service.send("/v1/customers", ADA)
        await service.project()
        pages = ("/v1/reports/waiting_now?limit=1", "/v1/customers?limit=1")
        first = [(page, await service.read(page)) for page in pages]
        answers = []
        for after in (first[0][1]["position"], 1):
            with psycopg.connect(databases.operator) as operator:
                operator.execute("SELECT main.begin_epoch(%s, 'restored')", [after])
            for page, each in first:
                answers.append(await service.clients[Role.STAFF].get(f"{page}&cursor={each['next_cursor']}"))
    assert [answer.status_code for answer in answers] == [200, 200, 422, 422]
    assert {code(answer) for answer in answers[2:]} == {"invalid-parameter"}


@asynchronous
async def test_reports_on_support_come_as_csv_too(databases: Databases, settings: Settings) -> None:
    async with opened(databases, settings) as service:
        await complain(service)
        for report in ("support_response_times", "support_outcomes", "support_satisfaction", "support_backlog"):
            answer = await service.clients[Role.REPORTING].get(f"/v1/reports/{report}?format=csv")
            assert answer.status_code == 200, answer.text
            assert answer.text.count("\r\n") >= 2


@asynchronous
async def test_the_card_shows_the_case_while_it_is_open_and_its_messages(
    databases: Databases, settings: Settings
) -> None:
    async with opened(databases, settings) as service:
        positions = await complain(service)
        before = await service.read(f"{ACME_PATH}?at_position={positions['replied']}&valid_at=2026-06-08")
        after = await service.read(f"{ACME_PATH}?valid_at=2026-06-09")
    assert [(each["case_number"], each["awaited"]) for each in before["open_cases"]] == [("T-1", None)]
    assert (after["open_cases"], after["open_case_count"]) == ([], 0)
    assert [each["type"] for each in after["interactions"]] == ["support-case.public-reply-sent", "support-case.opened"]
    assert after["interactions"][1]["first_message"] == "The flour clumps."


@asynchronous
async def test_figures_by_person_are_told_only_where_the_setting_allows_it(
    databases: Databases, settings: Settings
) -> None:
    async with opened(databases, settings) as service:
        await complain(service)
        refused = await service.clients[Role.REPORTING].get("/v1/reports/support_response_times?by=owner")
    assert (refused.status_code, refused.json()["errors"][0]["parameter"]) == (422, "by")
    async with opened(databases, settings.model_copy(update={"agent_reports": "on"})) as service:
        allowed = await service.read("/v1/reports/support_response_times?by=owner&measure=first_response")
    assert len(allowed["rows"]) == 1
