"""Backups, and the exchange of the key-encryption key, as their user does both: beside a service that goes on."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from api.command_line import main
from infrastructure.backup_files import MANIFEST
from infrastructure.embedded_postgres import administrator_of
from infrastructure.encryption import KeyFile
from infrastructure.restore_mark import RestoreMark
from tests.api.bodies import ADA, CALL
from tests.infrastructure.waiting import eventually
from tests.serving import COMMAND, ROOT, Serving, environment, rapport, serving

WRITERS = 4

Captured = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Sent:
    """A command, and its answer."""

    key: str
    path: str
    body: dict[str, Any]
    answer: dict[str, Any]


@dataclass
class Load:
    """People who register and call while something else happens."""

    client: httpx.Client
    accepted: list[Sent] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    enough: Event = field(default_factory=Event)

    def run(self, writer: str) -> None:
        """Send commands until it is enough."""
        for number in count():
            if self.enough.is_set():
                return
            who = f"{writer}n{number}"
            self._send(f"register-{who}", "/v1/customers", person(who))
            self._send(f"call-{who}", f"/v1/customers/number:{who}/record-interaction", CALL)

    def _send(self, key: str, path: str, body: dict[str, Any]) -> None:
        response = self.client.post(path, json=body, headers={"Idempotency-Key": key})
        if response.is_success:
            self.accepted.append(Sent(key, path, body, response.json()))
        else:
            self.failed.append(f"{key}: {response.text}")

    @property
    def position(self) -> int:
        """The last position that was acknowledged."""
        return max((sent.answer["position"] for sent in [*self.accepted]), default=0)


def person(number: str) -> dict[str, Any]:
    """Somebody who registers."""
    return ADA | {"customer_number": number, "name": f"Ada Lovelace {number}"}


@contextmanager
def loaded(service: Serving) -> Iterator[Load]:
    """Commands come in until the block ends."""
    load, people = Load(service.client("service")), uuid4().hex
    with ThreadPoolExecutor(WRITERS) as threads:
        writing = [threads.submit(load.run, f"{people}w{writer}") for writer in range(WRITERS)]
        try:
            eventually(lambda: len(load.accepted) > 10 * WRITERS or load.failed != [])
            yield load
        finally:
            load.enough.set()
    for each in writing:
        each.result()


@pytest.fixture(scope="module")
def service() -> Iterator[Serving]:
    """A running service with two API processes, in whose log is something whichever test comes first."""
    with serving(api_processes=2) as running:
        first = running.client("service").post(
            "/v1/customers", json=person("first"), headers={"Idempotency-Key": "first"}
        )
        assert first.is_success, first.text
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in which a data folder may lie, also when the server has an account of its own."""
    with tempfile.TemporaryDirectory(prefix="rapport-tests-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


@pytest.fixture
def here(service: Serving, monkeypatch: pytest.MonkeyPatch) -> Serving:
    """The running service, and an environment in which every command finds it."""
    monkeypatch.setenv("RAPPORT_DATA", str(service.data))
    return service


def key_file(service: Serving) -> KeyFile:
    """The key-encryption keys of a service."""
    return KeyFile(service.data / "keys")


# Backup and restore


def test_what_was_acknowledged_before_a_backup_is_answered_again_on_another_server(
    here: Serving, folder: Path, capsys: Captured
) -> None:
    backup, keys, data = folder / "backup", folder / "keys", folder / "data"
    with loaded(here) as load:
        before = [*load.accepted]
        assert main(["backup", str(backup), "--keys", str(keys)]) == 0
        assert main(["backup", str(folder / "noted"), "--digests-only"]) == 0
    assert load.failed == []
    end, later = (json.loads((each / MANIFEST).read_text())["log"]["position"] for each in (backup, folder / "noted"))
    assert max(sent.answer["position"] for sent in before) <= end < later
    assert f"Position {end}, digest " in capsys.readouterr().out

    known = ["--known", str(folder / "noted")]
    assert main(["restore", str(backup), "--keys", str(keys), *known, "--data", str(data)]) == 0
    said = capsys.readouterr().out
    assert f"{end:,} events are restored, and the log is the one that was backed up." in said
    assert f"Not in the backup: the events {end + 1:,} to {later:,}, known there." in said

    with serving(data) as again:
        # Whoever had a key has it still, and hears what was answered then.
        with httpx.Client(base_url=again.address, headers=load.client.headers, timeout=60) as client:
            for sent in before:
                answer = client.post(sent.path, json=sent.body, headers={"Idempotency-Key": sent.key})
                epoch = {"epoch": answer.json()["epoch"]}  # a restore begins one of its own
                assert answer.json() == sent.answer | epoch | {"replayed": True}
                assert epoch["epoch"] != sent.answer["epoch"]
        staff, name = again.client("staff"), before[0].body["name"].rpartition(" ")[2]
        query = f"/v1/customers?q={name}&min_position={end}"
        eventually(lambda: staff.get(query).status_code == 200)  # read models are made anew
        assert [each["name"] for each in staff.get(query).json()["customers"]] == [before[0].body["name"]]


def test_a_restore_that_is_killed_or_lacks_its_keys_is_not_served(
    here: Serving, folder: Path, capsys: Captured
) -> None:
    backup, keys, data = str(folder / "backup"), str(folder / "keys"), folder / "data"
    assert main(["backup", backup]) == 0
    assert "Save it apart, or nobody can read personal data" in capsys.readouterr().err
    assert main(["encryption", "save", keys]) == 0
    command = [*COMMAND, "restore", backup, "--keys", keys, "--data", str(data)]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL) as restoring:
        eventually(lambda: RestoreMark(data).read() is not None)
        restoring.kill()
    assert why_not_served(data) == "was interrupted"

    assert main(["restore", backup, "--data", str(data)]) == 0
    assert "The key-encryption key is missing" in capsys.readouterr().err
    assert why_not_served(data) == "bring it with rapport encryption bring"

    assert main(["encryption", "bring", keys, "--data", str(data)]) == 0
    assert "The keys open the log." in capsys.readouterr().out
    assert main(["check", "log", backup, "--data", str(data)]) == 0
    assert here.process.poll() is None


def why_not_served(data: Path) -> str:
    """What `rapport serve` says that refuses to start."""
    refused = rapport("serve", "--data", data, "--port", "0")
    assert refused.returncode == 78
    for reason in ("was interrupted", "bring it with rapport encryption bring"):
        if reason in refused.stderr:
            return reason
    return refused.stderr


@pytest.mark.usefixtures("here")
def test_the_log_is_checked_against_what_was_known(folder: Path, capsys: Captured) -> None:
    assert main(["backup", str(folder / "known"), "--digests-only"]) == 0
    assert main(["check", "log", str(folder / "known")]) == 0
    assert "agrees with the log of" in capsys.readouterr().out


def test_a_log_that_has_lost_its_end_is_found(here: Serving, folder: Path, capsys: Captured) -> None:
    assert main(["backup", str(folder / "known"), "--digests-only"]) == 0
    end = json.loads((folder / "known" / MANIFEST).read_text())["log"]["position"]
    with psycopg.connect(administrator_of(here.data)) as superuser:
        superuser.execute("ALTER TABLE main.events DISABLE TRIGGER no_change")
        removed = superuser.execute("DELETE FROM main.events WHERE position = %s RETURNING *", [end]).fetchall()
        superuser.execute("ALTER TABLE main.events ENABLE ALWAYS TRIGGER no_change")
    try:
        assert main(["check", "log", str(folder / "known")]) == 1
        assert f"Events {end:,} to {end:,} that are known there are gone." in capsys.readouterr().out
    finally:
        with psycopg.connect(administrator_of(here.data)) as superuser:
            values = ", ".join(["%s"] * len(removed[0]))
            superuser.execute(f"INSERT INTO main.events VALUES ({values})".encode(), removed[0])


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("command", "status", "why"),
    [
        (["backup", "{folder}"], 78, "is not empty"),
        (["restore", "{folder}"], 78, "There is no manifest.json in"),
        (["restore", "{folder}/nowhere"], 78, "cannot be read"),
        (["check", "log", "{folder}"], 78, "There is no manifest.json in"),
        (["encryption", "bring", "{folder}"], 78, "in use by process"),
        (["encryption", "save", "{folder}/file"], 78, "File exists"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, capsys: Captured, command: list[str], status: int, why: str) -> None:
    (folder / "file").write_text("")
    assert main([word.format(folder=folder) for word in command]) == status
    assert why in capsys.readouterr().err


@pytest.mark.usefixtures("here")
def test_a_backup_is_not_restored_under_a_running_service(folder: Path, capsys: Captured) -> None:
    assert main(["backup", str(folder / "backup"), "--keys", str(folder / "keys")]) == 0
    assert main(["restore", str(folder / "backup"), "--replace"]) == 78
    assert "in use by process" in capsys.readouterr().err


# The key-encryption key


def test_the_key_is_exchanged_and_no_command_fails(here: Serving, capsys: Captured) -> None:
    (old,) = key_file(here).read()
    with loaded(here) as load:
        assert main(["encryption", "rotate"]) == 0
        sent = len(load.accepted)
        eventually(lambda: len(load.accepted) > sent + 10 * WRITERS or load.failed != [])
    assert load.failed == []
    assert "The key-encryption key is a new one: " in capsys.readouterr().out
    assert key_file(here).read() != [old]
    assert main(["encryption", "show"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.strip().splitlines()[1:]] == ["wraps"]

    staff, last = here.client("staff"), load.accepted[-1]
    for each in (load.accepted[0], last):
        history = staff.get(f"/v1/customers/{each.answer['id']}/history").json()["events"]
        assert history[0]["data"]["name"] == person(history[0]["data"]["customer_number"])["name"]
    # The projector has read with the new key, too.
    number = last.path.rpartition("number:")[2].partition("/")[0]
    found = staff.get(f"/v1/customers?q={number}&min_position={last.answer['position']}").json()["customers"]
    assert [each["customer_number"] for each in found] == [number]


def test_a_rotation_that_is_killed_is_gone_on_with(here: Serving, capsys: Captured) -> None:
    (old,) = key_file(here).read()
    with psycopg.connect(administrator_of(here.data)) as superuser:
        superuser.execute("SELECT 1 FROM main.log_head FOR UPDATE")  # so that it waits halfway
        command = [*COMMAND, "encryption", "rotate", "--data", str(here.data)]
        with subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.DEVNULL) as rotating:
            eventually(lambda: len(key_file(here).read()) > 1)
            rotating.kill()
    assert main(["encryption", "show"]) == 0
    assert "A rotation is not over" in capsys.readouterr().out
    new, _ = key_file(here).read()
    assert main(["encryption", "rotate"]) == 0
    assert "The rotation that was begun before is over" in capsys.readouterr().out
    assert key_file(here).read() == [new] != [old]
    assert here.client("staff").get("/v1/customers").status_code == 200
