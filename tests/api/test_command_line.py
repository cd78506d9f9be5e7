"""The command line: each command beside a running service, and what it says when something is wrong."""

import json
import re
import subprocess
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.pq import TransactionStatus

from api import VERSION
from api.command_line import main
from api.command_line.pages import pages
from api.command_line.parser import make_parser
from api.command_line.tenants import opened
from infrastructure.embedded_postgres import administrator_of
from infrastructure.event_types import EVENT_TYPES
from infrastructure.server import databases_of
from infrastructure.settings import Settings
from tests.serving import COMMAND, ROOT, Serving, environment, rapport, serving

STORY = ROOT / "docs" / "how-to" / "story"

MAPPING = """
name = "erp"
[columns]
number = "Number"
name = "Name"
[[commands]]
outcome = "customer"
rows = "each"
command = "register-customer"
key = "erp/customer/{number}"
[commands.data]
customer_number = "{number}"
kind = "organisation"
name = "{name}"
relationship = "customer"
language = "de"
currency = "EUR"
country = "DE"
[[special]]
name = "mill"
when = { name = { matches = "Mill" } }
how = "registered like any other"
"""

FAILING = {
    "id": "wrong",
    "kind": "between_seconds",
    "calendar": {"tz": "Europe/Berlin", "hours": {"mon": [["09:00", "17:00"]]}},
    "input": {"from": "2026-06-01T09:00:00+02:00", "to": "2026-06-01T10:00:00+02:00"},
    "expected": {"seconds": 1},
}


@pytest.fixture(scope="module")
def service() -> Iterator[Serving]:
    """A running service, with the story's first customer and invoice in it."""
    with serving() as running:
        client = running.client("service")
        for key, path, name in (
            ("acme", "/v1/customers", "acme"),
            ("january", "/v1/sales-documents/post-invoice", "january"),
        ):
            body = json.loads((STORY / f"{name}.json").read_text())
            client.post(path, json=body, headers={"Idempotency-Key": key}).raise_for_status()
        yield running


@pytest.fixture
def here(service: Serving, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """The running service, and an environment in which every command finds it."""
    monkeypatch.setenv("RAPPORT_DATA", str(service.data))
    monkeypatch.setenv("RAPPORT_URL", service.address)
    assert service.first_key is not None
    monkeypatch.setenv("RAPPORT_KEY", service.first_key)
    return service


Captured = pytest.CaptureFixture[str]


def all_parsers(parser: ArgumentParser) -> Iterator[ArgumentParser]:
    """A parser and those of all its commands."""
    yield parser
    for action in parser._actions:  # noqa: SLF001 - argparse tells its subcommands in no other way
        if isinstance(action.choices, dict):
            for command in action.choices.values():
                yield from all_parsers(command)


# Help


def test_the_help_shows_every_command_and_no_process_of_serve(capsys: Captured) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    shown = capsys.readouterr().out
    commands = ("serve", "import", "keys", "status", "events", "history", "rebuild", "backup", "restore", "encryption")
    for command in (*commands, "verify-settings", "check"):
        assert re.search(rf"^    {command}\b", shown, re.MULTILINE)
    assert "process" not in shown


@pytest.mark.parametrize("parser", list(all_parsers(make_parser())), ids=lambda each: each.prog)
def test_every_command_has_a_help_that_a_new_user_understands(parser: ArgumentParser) -> None:
    assert parser.description
    shown = parser.format_help()
    for action in parser._actions:  # noqa: SLF001 - it has no public way
        assert action.help or action.metavar in {"COMMAND", "ACTION", "KIND"}, f"{parser.prog} {action.dest}"
    assert "==SUPPRESS==" not in shown


def test_the_version_is_told(capsys: Captured) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"rapport {VERSION}\n"


def test_what_is_no_command_is_not_understood(capsys: Captured) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["sevre"])
    assert "invalid choice: 'sevre'" in capsys.readouterr().err


def test_the_pages_of_the_reference_are_those_of_the_program() -> None:
    for path, page in pages().items():
        # Pythons break the lines of a help at different places.
        assert path.read_text("utf-8").split() == page.split(), "make it again: python -m api.command_line.pages"


# serve


def test_a_start_says_where_it_answers_and_what_to_try(service: Serving) -> None:
    said = "".join(service.said)
    assert f"answers at {service.address}" in said
    assert service.first_key is not None
    commands = re.findall(r"^curl (?:.*\\\n)*.*", said, re.MULTILINE)
    assert len(commands) == 3
    assert all(service.first_key in command for command in commands)


def test_the_three_commands_work_as_they_are_printed() -> None:
    with serving() as fresh:
        commands = re.findall(r"^curl (?:.*\\\n)*.*", "".join(fresh.said), re.MULTILINE)
        answers = [
            subprocess.run(["/bin/bash", "-c", command], capture_output=True, check=True).stdout for command in commands
        ]
        assert [json.loads(answer)["position"] for answer in answers[:2]] == [1, 2]
        assert answers[2].startswith(b"month,revenue")


def test_a_second_start_on_the_same_data_is_refused_and_says_by_whom(service: Serving) -> None:
    second = rapport("serve", "--data", service.data, "--port", "0")
    assert second.returncode == 78
    assert "rapport serve" in second.stderr


def test_a_later_start_makes_no_key_and_keeps_what_was_chosen_first() -> None:
    with serving() as first:
        data = first.data
        assert first.stop() == 0
        with serving(data, reporting_currency="GBP") as later:
            said = "".join(later.said)
            assert later.first_key is None
            assert "Reports are in EUR, as was chosen at the first start." in said
            assert '-H "Authorization: Bearer $RAPPORT_KEY"' in said


def test_a_setting_that_cannot_be_used_is_refused_by_its_name() -> None:
    refused = rapport("serve", RAPPORT_PORT="abc")
    assert (refused.returncode, refused.stdout) == (78, "")
    assert refused.stderr.startswith("rapport: RAPPORT_PORT: ")


# keys


def test_a_key_is_shown_once_listed_and_revoked(here: Serving, capsys: Captured) -> None:
    assert main(["keys", "create", "--role", "reporting", "--days", "90", "monthly figures"]) == 0
    made = capsys.readouterr()
    key = made.out.strip()
    assert re.fullmatch(r"rapport_[\w-]{43}", key)
    assert "'monthly figures', role reporting until " in made.err

    reports = f"{here.address}/v1/reports"
    assert httpx.get(reports, headers={"Authorization": f"Bearer {key}"}).status_code == 200

    assert main(["keys", "list"]) == 0
    assert re.search(r"monthly figures +reporting .* good", capsys.readouterr().out)

    assert main(["keys", "revoke", "monthly figures"]) == 0
    assert capsys.readouterr().out == "'monthly figures' is revoked.\n"
    assert main(["keys", "list"]) == 0
    assert re.search(r"monthly figures +reporting .* revoked \d", capsys.readouterr().out)


@pytest.mark.usefixtures("here")
def test_a_key_may_be_revoked_by_its_id(capsys: Captured) -> None:
    assert main(["keys", "create", "by id"]) == 0
    assert main(["keys", "list"]) == 0
    (key_id,) = re.findall(r"^(\S+)  by id ", capsys.readouterr().out, re.MULTILINE)
    assert main(["keys", "revoke", key_id]) == 0
    assert capsys.readouterr().out == f"The key {key_id} of 'by id' is revoked.\n"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("which", ["nobody's", "01900000-0000-7000-8000-000000000000"])
def test_a_key_that_there_is_not_cannot_be_revoked(which: str, capsys: Captured) -> None:
    assert main(["keys", "revoke", which]) == 1
    assert f"there is no key {which}" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_key_is_good_for_a_day_at_least(capsys: Captured) -> None:
    assert main(["keys", "create", "--days", "0", "none"]) == 2
    assert "at least one day" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_key_that_has_expired_is_shown_as_such(here: Serving, capsys: Captured) -> None:
    assert main(["keys", "create", "--days", "1", "short"]) == 0
    with psycopg.connect(databases_of(Settings(data=here.data)).operator) as operator:
        operator.execute(
            "INSERT INTO main.credentials (id, principal_id, hash, expires_at) "
            "SELECT gen_random_uuid(), id, '\\x00', now() FROM main.principals WHERE name = 'short'"
        )
    assert main(["keys", "list"]) == 0
    assert re.search(r"short .* expired \d", capsys.readouterr().out)


@pytest.mark.usefixtures("here")
def test_a_key_is_exchanged_while_both_are_good(here: Serving, capsys: Captured) -> None:
    assert main(["keys", "create", "exchanged"]) == 0
    assert main(["keys", "add", "exchanged", "--days", "30"]) == 0
    old, new = capsys.readouterr().out.split()
    for key in (old, new):
        assert httpx.get(f"{here.address}/v1/reports", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert main(["keys", "list"]) == 0
    old_id, _ = re.findall(r"^(\S+)  exchanged ", capsys.readouterr().out, re.MULTILINE)
    assert main(["keys", "revoke", old_id]) == 0
    assert capsys.readouterr().out == f"The key {old_id} of 'exchanged' is revoked.\n"
    assert main(["keys", "create", "exchanged"]) == 1
    assert "rapport keys add" in capsys.readouterr().err
    assert main(["keys", "revoke", "exchanged"]) == 0
    assert capsys.readouterr().out == "'exchanged' is revoked, with 2 keys.\n"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 101])
def test_a_principal_has_a_name_that_can_be_read(name: str, capsys: Captured) -> None:
    assert main(["keys", "create", name]) == 2
    assert "letters that can be seen" in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_key_lives_no_longer_than_the_setting_allows(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPPORT_CREDENTIAL_DAYS_MAX", "30")
    assert main(["keys", "create", "--days", "31", "demanding"]) == 2
    assert "allows 30 days at most" in capsys.readouterr().err
    assert main(["keys", "create", "demanding"]) == 0
    assert "until" in capsys.readouterr().err


# status


def position_of(capsys: Captured) -> dict[str, dict[str, object]]:
    shown = json.loads(capsys.readouterr().out)
    return {model["model"]: model for model in shown["read_models"]}


@pytest.mark.usefixtures("here")
def test_the_status_tells_how_far_each_read_model_is(capsys: Captured) -> None:
    assert main(["status", "--json"]) == 0
    models = position_of(capsys)
    assert models["revenue_statistics"]["state"] == "live"
    assert models["revenue_statistics"]["current"] is True
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "Tenant main, reports in EUR." in shown
    assert re.search(r"^revenue_statistics( \(build \d+\))? +\d+ +live +yes", shown, re.MULTILINE)


def test_a_read_model_that_has_stopped_is_an_error_of_the_status(here: Serving, capsys: Captured) -> None:
    change = "UPDATE main_read.builds SET state = %s, error = %s, error_position = %s WHERE model = 'customer_card'"
    with psycopg.connect(databases_of(Settings(data=here.data)).projector, autocommit=True) as projector:
        projector.execute(change, ["stopped", "ZeroDivisionError", 2])
        try:
            assert main(["status"]) == 1
            shown = capsys.readouterr().out
            assert main(["status", "--json"]) == 1
            model = position_of(capsys)["customer_card"]
        finally:
            projector.execute(change, ["live", None, None])
    assert re.search(r"^customer_card .* stopped .* ZeroDivisionError at position 2", shown, re.MULTILINE)
    assert (model["error"], model["error_position"]) == ("ZeroDivisionError", 2)


def test_a_long_command_holds_no_transaction(here: Serving) -> None:
    """Else the server ends its connection after a while, and the command with an error."""
    with opened(Settings(data=here.data), "a long command") as (_, operator, _):
        assert operator.info.transaction_status == TransactionStatus.IDLE


def test_a_database_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    monkeypatch.setenv("RAPPORT_DATA", str(tmp_path))
    monkeypatch.setenv("RAPPORT_DATABASE_URL", "postgresql://rapport@127.0.0.1:1/rapport")
    assert main(["status"]) == 69
    assert "the database cannot be reached" in capsys.readouterr().err


# events


def test_the_catalogue_has_every_event(capsys: Captured) -> None:
    assert main(["events"]) == 0
    shown = capsys.readouterr().out
    for each in EVENT_TYPES.types:
        assert re.search(rf"^{re.escape(each.name)} +{each.schema_version}  \S", shown, re.MULTILINE)


def test_one_event_is_shown_with_its_fields(capsys: Captured) -> None:
    assert main(["events", "customer.interaction-recorded"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^summary +text +personal *$", shown, re.MULTILINE)
    assert re.search(r"^contacts +list of id +may be absent *$", shown, re.MULTILINE)


def test_schemas_of_both_forms_are_printed(capsys: Captured) -> None:
    assert main(["events", "product", "--schema"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert set(shown) == {each.name for each in EVENT_TYPES.types if each.aggregate == "product"}
    registered = shown["product.registered"]
    assert registered["plain"]["properties"].keys() == registered["stored"]["properties"].keys()


def test_an_event_that_there_is_not_is_not_understood(capsys: Captured) -> None:
    assert main(["events", "customer.updated"]) == 2
    assert "there is no event customer.updated" in capsys.readouterr().err


# history


@pytest.mark.usefixtures("here")
def test_a_history_is_shown_over_all_streams(capsys: Captured) -> None:
    assert main(["history", "shop:4711"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^ +1 .* customer\.registered +service +customer_number: C-1001", shown, re.MULTILINE)
    assert re.search(r"^ +2 .* sales-document\.invoice-posted ", shown, re.MULTILINE)
    assert shown.endswith("2 events\n")


@pytest.mark.usefixtures("here")
def test_a_history_may_be_shorter_earlier_and_for_programs(capsys: Captured) -> None:
    assert main(["history", "number:C-1001", "--limit", "1", "--json"]) == 0
    assert "cut off at 1 events, and there are more" in capsys.readouterr().err
    assert main(["history", "number:C-1001", "--limit", "2"]) == 0
    assert "cut off" not in capsys.readouterr().err
    assert main(["history", "number:C-1001", "--limit", "1", "--json"]) == 0
    assert [json.loads(line)["position"] for line in capsys.readouterr().out.splitlines()] == [1]
    assert main(["history", "number:C-1001", "--at-position", "1", "--json"]) == 0
    assert [json.loads(line)["position"] for line in capsys.readouterr().out.splitlines()] == [1]


@pytest.mark.usefixtures("here")
def test_what_the_service_refuses_is_said_in_its_words(capsys: Captured) -> None:
    assert main(["history", "shop:4712"]) == 1
    assert "There is no customer of this id" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status", "why"),
    [
        (["--url", "http://127.0.0.1:1", "--key", "x"], 69, "there is no service at http://127.0.0.1:1"),
        (["--url", "ftp://127.0.0.1", "--key", "x"], 2, "ftp://127.0.0.1 is no address"),
        ([], 78, "a key is needed"),
    ],
)
def test_a_service_that_cannot_be_asked_is_named(
    options: list[str], status: int, why: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.delenv("RAPPORT_KEY", raising=False)
    assert main(["history", "shop:4711", *options]) == status
    assert why in capsys.readouterr().err


# rebuild


@pytest.mark.usefixtures("here", "collector")
def test_a_rebuilt_read_model_has_the_same_digests(capsys: Captured) -> None:
    assert main(["rebuild", "revenue_statistics"]) == 0
    first = capsys.readouterr().out
    assert re.search(r"^  facts  [0-9a-f]{64}$", first, re.MULTILINE)
    assert main(["rebuild", "revenue_statistics"]) == 0
    assert capsys.readouterr().out == first


@pytest.mark.usefixtures("here", "collector")
def test_a_read_model_that_there_is_not_cannot_be_rebuilt(capsys: Captured) -> None:
    assert main(["rebuild", "revenue"]) == 1
    assert "there are customer_card, revenue_statistics" in capsys.readouterr().err


# Epochs


@pytest.mark.usefixtures("here")
def test_an_epoch_is_begun_after_a_restore_by_other_means(capsys: Captured) -> None:
    assert main(["epoch", "list"]) == 0
    assert "the log was begun" in capsys.readouterr().out
    assert main(["epoch", "begin", "--after", "0", "--reason", "restored by hand"]) == 0
    assert "restored by hand" in capsys.readouterr().out
    for after in ("999999", "99999999999999999999"):
        assert main(["epoch", "begin", "--after", after]) == 1
        assert f"the log has no position {after}" in capsys.readouterr().err


# verify-settings and check


@pytest.mark.usefixtures("here")
def test_settings_in_force_are_shown_and_the_server_checked(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setenv("RAPPORT_PAGE_SIZE", "50")
    assert main(["verify-settings"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^RAPPORT_PAGE_SIZE +50 *$", shown, re.MULTILINE)
    assert re.search(r"^Postgres \d+ is safe to write to", shown, re.MULTILINE)


def test_a_server_that_may_lose_what_it_has_answered_is_refused(here: Serving, capsys: Captured) -> None:
    with psycopg.connect(databases_of(Settings(data=here.data)).service, autocommit=True) as connection:
        connection.execute("ALTER ROLE rapport_service SET synchronous_commit = off")
        try:
            assert main(["verify-settings"]) == 78
        finally:
            connection.execute("ALTER ROLE rapport_service RESET synchronous_commit")
    assert "refused: " in capsys.readouterr().out


def test_a_person_whose_key_cannot_be_opened_is_named(here: Serving, capsys: Captured) -> None:
    person = "01900000-0000-7000-8000-00000000dead"
    with psycopg.connect(administrator_of(here.data), autocommit=True) as superuser:
        superuser.execute("INSERT INTO main.subject_keys (subject_id, wrapped) VALUES (%s, 'of no key')", [person])
        try:
            assert main(["verify-settings"]) == 1
        finally:
            superuser.execute("DELETE FROM main.subject_keys WHERE subject_id = %s", [person])
    assert f"no key-encryption key opens the key of the person {person}" in " ".join(capsys.readouterr().out.split())


def test_cases_of_business_time_are_checked(tmp_path: Path, capsys: Captured) -> None:
    right = {**FAILING, "id": "right", "expected": {"seconds": 3600}}
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps({"cases": [right]}))
    assert main(["check", "business-time", str(cases)]) == 0
    assert capsys.readouterr().out == "1 cases: 1 holds\n"
    cases.write_text(json.dumps({"cases": [right, FAILING]}))
    assert main(["check", "business-time", str(cases)]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"^wrong +between_seconds +fails +1 s +3600 s", shown, re.MULTILINE)
    assert "right" not in shown
    assert main(["check", "business-time", "--all", str(cases)]) == 1
    assert re.search(r"^right +between_seconds +holds", capsys.readouterr().out, re.MULTILINE)


def test_a_file_that_holds_no_cases_is_not_understood(tmp_path: Path, capsys: Captured) -> None:
    assert main(["check", "business-time", str(tmp_path / "absent.json")]) == 2
    (tmp_path / "cases.json").write_text("none")
    assert main(["check", "business-time", str(tmp_path / "cases.json")]) == 2
    assert "absent.json cannot be read: No such file or directory" in capsys.readouterr().err


# import


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    """A mapping of customers."""
    path = tmp_path / "mapping.toml"
    path.write_text(MAPPING)
    return path


def customers(folder: Path, *rows: str) -> Path:
    path = folder / "customers.csv"
    path.write_text("Number,Name\n" + "".join(f"{row}\n" for row in rows))
    return path


@pytest.mark.usefixtures("here")
def test_an_import_ends_with_a_summary_of_all_rows(mapping: Path, tmp_path: Path, capsys: Captured) -> None:
    file = customers(tmp_path, "E-1,North Mill", "E-2,South Mill")
    listed = tmp_path / "listed.csv"
    assert main(["import", str(file), "--mapping", str(mapping), "--list", str(listed), "--progress"]) == 0
    shown = capsys.readouterr()
    assert re.search(r"^customer +2$", shown.out, re.MULTILINE)
    assert re.search(r"^together +2$", shown.out, re.MULTILINE)
    assert re.search(r"^register-customer +2 *$", shown.out, re.MULTILINE)
    assert re.search(r"^mill +2 +2 +registered like any other +1, 2 *$", shown.out, re.MULTILINE)
    assert "rows/s" in shown.err
    assert listed.read_text().splitlines()[1:] == [
        "1,mill,customer,registered like any other",
        "2,mill,customer,registered like any other",
    ]


@pytest.mark.usefixtures("here")
def test_a_refused_row_is_named_with_its_rule_and_makes_the_status_1(
    mapping: Path, tmp_path: Path, capsys: Captured
) -> None:
    file = customers(tmp_path, "C-1001,Another Acme", "E-3,East Mill")
    assert main(["import", str(file), "--mapping", str(mapping)]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"^refused +1$", shown, re.MULTILINE)
    assert re.search(r"customer-number-is-taken +1 +1 +No two customers have the same", shown)
    assert main(["import", str(file), "--mapping", str(mapping), "--json"]) == 1
    summary = json.loads(capsys.readouterr().out)
    assert summary["outcomes"] == {"refused": 1, "customer": 1}
    assert summary["complete"] is False


@pytest.mark.usefixtures("here")
def test_a_check_shows_what_would_be_sent_and_sends_nothing(mapping: Path, tmp_path: Path, capsys: Captured) -> None:
    file = customers(tmp_path, "E-9,West Mill", "E-10,Old Mill")
    assert main(["import", str(file), "--mapping", str(mapping), "--check"]) == 0
    shown = capsys.readouterr().out
    assert '"key": "erp/customer/E-9"' in shown
    assert "E-10" not in shown
    assert "2 rows; 0 to be registered. Nothing was sent." in shown
    assert main(["history", "number:E-9"]) == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("register-customer", "register-custmer"), "did you mean register-customer?"),
        (('number = "Number"', 'number = "Nummer"'), "the file has no column Nummer; did you mean Number?"),
    ],
)
def test_what_does_not_fit_the_file_or_the_service_is_not_understood(
    change: tuple[str, str], why: str, mapping: Path, tmp_path: Path, capsys: Captured
) -> None:
    mapping.write_text(MAPPING.replace(*change))
    assert main(["import", str(customers(tmp_path, "E-1,North Mill")), "--mapping", str(mapping)]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_list_that_cannot_be_written_is_named_before_anything_is_sent(
    mapping: Path, tmp_path: Path, capsys: Captured
) -> None:
    file = customers(tmp_path, "E-20,New Mill")
    absent = tmp_path / "absent" / "listed.csv"
    assert main(["import", str(file), "--mapping", str(mapping), "--list", str(absent)]) == 2
    assert f"{absent} cannot be written" in capsys.readouterr().err
    assert main(["history", "number:E-20"]) == 1


@pytest.mark.usefixtures("here")
def test_an_import_with_a_wrong_key_stops_and_says_what_to_do(mapping: Path, tmp_path: Path, capsys: Captured) -> None:
    file = customers(tmp_path, "E-21,Far Mill")
    assert main(["import", str(file), "--mapping", str(mapping), "--key", "rapport_wrong"]) == 69
    assert "rapport keys create --role importer" in capsys.readouterr().err


# The ways in which programs end


def test_the_processes_of_serve_refuse_what_serve_refuses() -> None:
    for process in ("api-process", "projector-process"):
        refused = rapport(process, RAPPORT_PORT="abc")
        assert (refused.returncode, refused.stdout) == (78, "")


def test_a_reader_who_has_seen_enough_ends_a_command_in_silence() -> None:
    command = [*COMMAND, "events", "--schema"]
    with subprocess.Popen(
        command, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_timelines_are_checked(tmp_path: Path, capsys: Captured) -> None:
    worked_out = Path(__file__).parents[1] / "timelines" / "15-closed-without-resolution.toml"
    assert main(["check", "timelines", str(worked_out)]) == 0
    assert re.fullmatch(r"(\d+) cases: \1 holds\n", capsys.readouterr().out)
    (tmp_path / "no.toml").write_text("cases = 1")
    assert main(["check", "timelines", str(tmp_path / "no.toml")]) == 2
