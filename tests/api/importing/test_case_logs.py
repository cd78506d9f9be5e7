"""Logs of state changes become the commands of cases, as the mappings of the documentation say."""

import json
from pathlib import Path
from typing import Any

import pytest

from api.importing.mapping import CommandFields, ImportMapping
from api.importing.mapping_reader import read_mapping
from api.importing.run import parcels, read_first
from application import support_cases
from application.commands import COMMANDS

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
HEADER = (
    "number,ident_state,active,reassignment_count,reopen_count,sys_mod_count,made_sla,caller_id,opened_by,opened_at,"
    "sys_created_by,sys_created_at,sys_updated_by,sys_updated_at,contact_type,location,category,category,u_symptom,"
    "cmdb_ci,impact,urgency,priority,assignment_group,assigned_to,knowledge,u_priority_confirmation,notify,problem_id,"
    "rfc,vendor,caused_by,closed_code,resolved_by,resolved_at,closed_at"
)
COLUMNS = HEADER.split(",")
FIRST = {
    "number": "0000045",
    "ident_state": "New",
    "reopen_count": "0",
    "caller_id": "2403",
    "opened_by": "8",
    "opened_at": "29/2/2016 01:16",
    "sys_updated_by": "21",
    "sys_updated_at": "29/2/2016 01:23",
    "contact_type": "Phone",
    "priority": "3",
    "assignment_group": "56",
    "assigned_to": "89",
    "closed_code": "5",
    "resolved_at": "29/2/2016 11:29",
    "closed_at": "5/3/2016 12:00",
}
OPENED = ["open-case", "assign-case"]


@pytest.fixture(scope="module")
def desk() -> ImportMapping:
    """The mapping of the incident log."""
    assert support_cases.CASE.name in {each.aggregate.name for each in COMMANDS.values()}
    return read_mapping(HOW_TO / "uci-incident.toml", {name: CommandFields.of(each) for name, each in COMMANDS.items()})


def row(minute: int, **cells: str) -> dict[str, str]:
    """A row of the incident, so many minutes after one o'clock, which says the same as the first one but for this."""
    return {**FIRST, "sys_updated_at": f"29/2/2016 01:{minute}", **cells}


def commands(mapping: ImportMapping, folder: Path, *rows: dict[str, str]) -> list[dict[str, Any]]:
    """What these rows become, in order."""
    path = folder / "incidents.csv"
    path.write_text("\n".join([HEADER, *(",".join(each.get(name, "?") for name in COLUMNS) for each in rows)]), "utf-8")
    first = read_first(mapping, path, lambda _rows: None)
    return [json.loads(command.line) for parcel in parcels(mapping, path, first) for command in parcel.commands]


def names(sent: list[dict[str, Any]]) -> list[str]:
    return [command["command"] for command in sent]


def test_the_first_row_opens_the_case(desk: ImportMapping, tmp_path: Path) -> None:
    opened, assigned = commands(desk, tmp_path, FIRST)
    assert opened["data"] == {
        "source": "uci-incident",
        "source_recorded_at": "2016-02-29T01:23:00Z",
        "occurred_at": "2016-02-29T01:16:00Z",
        "case_number": "INC0000045",
        "external_identifiers": [{"source": "uci-incident", "id": "0000045"}],
        "kind": "incident",
        "channel": "phone",
        "opened_by": "customer",
        "answered_live": True,
        "staff": "uci-incident:opener-8",
        "customer": "uci-incident:2403",
        "team": "uci-incident:56",
        "priority": "normal",
    }
    assert assigned["data"]["staff"] == "uci-incident:assignee-89"
    assert assigned["data"]["occurred_at"] == "2016-02-29T01:23:00Z"


@pytest.mark.parametrize(
    ("cells", "opened"),
    [
        ({"opened_by": "?"}, ("phone", "customer", False)),
        ({"contact_type": "IVR"}, ("phone", "customer", False)),
        ({"contact_type": "Email"}, ("email", "customer", False)),
        ({"contact_type": "Self service"}, ("web_form", "customer", False)),
        ({"contact_type": "Direct opening"}, ("web_form", "agent_internal", False)),
    ],
)
def test_only_a_call_that_somebody_took_was_answered_live(
    cells: dict[str, str], opened: tuple[str, str, bool], desk: ImportMapping, tmp_path: Path
) -> None:
    data = commands(desk, tmp_path, {**FIRST, **cells})[0]["data"]
    assert (data["channel"], data["opened_by"], data["answered_live"]) == opened


@pytest.mark.parametrize(
    ("second", "third", "sent"),
    [
        ({}, {}, []),
        ({"assigned_to": "90"}, {}, ["assign-case", "assign-case"]),
        ({"assigned_to": "?"}, {}, []),
        ({"assigned_to": "?"}, {"assigned_to": "90"}, ["assign-case"]),
        ({"assignment_group": "?"}, {}, []),
        ({"assignment_group": "57"}, {"assignment_group": "57"}, ["transfer-case", "assign-case"]),
        (
            {"assignment_group": "57", "assigned_to": "?"},
            {"assignment_group": "57", "assigned_to": "?"},
            ["transfer-case"],
        ),
        (
            {"assignment_group": "57", "assigned_to": "?"},
            {"assignment_group": "57"},
            ["transfer-case", "assign-case"],
        ),
        ({"ident_state": "Active"}, {"ident_state": "Active"}, []),
        ({"ident_state": "Awaiting User Info"}, {"ident_state": "Active"}, ["wait-for-customer", "resume-case"]),
        ({"ident_state": "Awaiting Vendor"}, {"ident_state": "Awaiting Problem"}, ["put-on-hold", "put-on-hold"]),
        ({"ident_state": "Awaiting Vendor"}, {"ident_state": "-100"}, ["put-on-hold"]),
        ({"ident_state": "Resolved"}, {"ident_state": "Resolved"}, ["resolve-case"]),
        ({"ident_state": "Resolved"}, {"ident_state": "Closed"}, ["resolve-case", "close-case"]),
        ({"ident_state": "Resolved"}, {"ident_state": "New"}, ["resolve-case"]),
        ({"ident_state": "Resolved"}, {"ident_state": "Active", "reopen_count": "1"}, ["resolve-case", "reopen-case"]),
        (
            {"ident_state": "Closed"},
            {"ident_state": "Awaiting User Info", "reopen_count": "1"},
            ["close-case", "reopen-case", "wait-for-customer"],
        ),
        ({"priority": "1"}, {"priority": "1"}, ["change-priority"]),
        ({"caller_id": "?"}, {"caller_id": "2404"}, ["identify-customer"]),
    ],
)
def test_a_row_sends_what_differs_from_the_row_before(
    second: dict[str, str], third: dict[str, str], sent: list[str], desk: ImportMapping, tmp_path: Path
) -> None:
    rows = (row(30, **second), row(40, **third))
    assert names(commands(desk, tmp_path, FIRST, *rows)) == [*OPENED, *sent]


def test_rows_are_read_in_the_order_of_their_time(desk: ImportMapping, tmp_path: Path) -> None:
    rows = (row(40, ident_state="Closed"), row(30, ident_state="Resolved"), FIRST)
    assert names(commands(desk, tmp_path, *rows)) == [*OPENED, "resolve-case", "close-case"]


def test_nothing_happens_before_the_opening(desk: ImportMapping, tmp_path: Path) -> None:
    assigned = commands(desk, tmp_path, {**FIRST, "opened_at": "29/2/2016 01:30"})[1]["data"]
    assert assigned["occurred_at"] == "2016-02-29T01:30:00Z"
    assert assigned["source_recorded_at"] == "2016-02-29T01:23:00Z"


@pytest.mark.parametrize(("user", "performer"), [("908", "automation"), ("21", "person")])
def test_what_the_column_claims_is_kept_with_the_closing(
    user: str, performer: str, desk: ImportMapping, tmp_path: Path
) -> None:
    *_, closed = commands(desk, tmp_path, FIRST, row(40, ident_state="Closed", sys_updated_by=user))
    assert closed["data"]["by"] == performer
    assert closed["data"]["reason"] == "resolved_at of the source: 2016-02-29T11:29:00Z"


def test_a_case_is_classified_where_both_of_its_categories_are_known(desk: ImportMapping, tmp_path: Path) -> None:
    path = tmp_path / "incidents.csv"
    cells = [FIRST.get(name, "?") for name in COLUMNS]
    cells[16:18] = ["55", "170"]
    path.write_text("\n".join([HEADER, ",".join(cells)]), "utf-8")
    first = read_first(desk, path, lambda _rows: None)
    sent = [json.loads(command.line) for parcel in parcels(desk, path, first) for command in parcel.commands]
    assert names(sent) == [*OPENED, "classify-case"]
    assert sent[-1]["data"]["category"] == "55/170"
