"""What README, tutorial and how-tos show is what the service answers: their sessions are run against a fresh one.

A session is a `console` block with `$ commands` and what they print; `…` stands for whatever differs each time.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serving import COMMAND, GIVE_UP_SECONDS, ROOT, Serving, environment, serving

PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/how-to/keys.md",
    "docs/how-to/back-up-and-restore.md",
    "docs/how-to/support-desk.md",
)
FOLLOWING = ROOT / "docs" / "how-to" / "follow-the-log.md"
STORY = ROOT / "docs" / "how-to" / "story"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
END = "-- the end of what a command prints --"


def sessions(page: str) -> list[tuple[str, str]]:
    """The commands of a page, each with what it is said to print."""
    steps: list[tuple[str, str]] = []
    for block in BLOCK.findall((ROOT / page).read_text("utf-8")):
        if not block.startswith("$ "):
            continue  # commands for a person, such as make run
        command = output = ""
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    steps.append((command, output))
                command, output = line.removeprefix("$ "), ""
            elif goes_on(command):
                command = f"{command}\n{line}"
            else:
                output += f"{line}\n"
        steps.append((command, output))
    return steps


def goes_on(command: str) -> bool:
    """Whether the shell would wait for another line."""
    try:
        shlex.split(command)
    except ValueError:
        return True
    return command.endswith("\\")


class Shell:
    """A shell that remembers variables and folders from one command to the next, as that of a reader does."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, command: str) -> str:
        """What a command prints."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\necho; echo '{END}'\n")
        self._process.stdin.flush()
        lines: list[str] = []
        while line := self._process.stdout.readline():
            if line == f"{END}\n":
                break
            lines.append(line)
        return "".join(lines).strip("\n")


@contextmanager
def shell(service: Serving, folder: Path) -> Iterator[Shell]:
    """A shell in which `rapport` and the service's address and key are at hand."""
    program = folder / "rapport"
    program.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    assert service.first_key is not None
    variables = environment(
        PATH=f"{folder}{os.pathsep}{os.environ['PATH']}",
        RAPPORT_URL=service.address,
        RAPPORT_KEY=service.first_key,
        RAPPORT_DATA=str(service.data),
    )
    with subprocess.Popen(
        ["bash", "--norc"],
        env=variables,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        ended = threading.Timer(GIVE_UP_SECONDS, process.kill)
        ended.start()
        yield Shell(process)
        ended.cancel()


def as_pattern(output: str) -> re.Pattern[str]:
    """What is said to be printed, with `…` for whatever differs, and with any space where there is space."""
    lines = [r"[ ]+".join(map(re.escape, line.split())) for line in output.strip().splitlines()]
    return re.compile(r"\s*\n\s*".join(lines).replace("[ ]+…[ ]+", " .*? ").replace("…", ".*?"), re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_sessions_of_a_page_go_as_it_says(page: str, tmp_path: Path) -> None:
    steps = sessions(page)
    assert steps
    with serving() as service, shell(service, tmp_path) as reader:
        for command, output in steps:
            printed = reader.run(command)
            assert as_pattern(output).fullmatch(printed.strip()), (
                f"{page}: $ {command}\n{printed}\n-- instead of --\n{output}"
            )


def test_the_program_that_follows_the_log_counts_the_invoices(tmp_path: Path) -> None:
    program = tmp_path / "follow_the_log.py"
    (text,) = re.findall(r"^```python\n(.*?)^```", FOLLOWING.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    program.write_text(text)
    with serving() as service:
        client = service.client("service")
        acme = json.loads((STORY / "acme.json").read_text())
        customer = (
            client.post("/v1/customers", json=acme, headers={"Idempotency-Key": "acme"}).raise_for_status().json()
        )
        for name in ("january", "february"):
            invoice = json.loads((STORY / f"{name}.json").read_text())
            posted = client.post("/v1/sales-documents/post-invoice", json=invoice, headers={"Idempotency-Key": name})
            posted.raise_for_status()
        following = subprocess.run(
            [sys.executable, program],
            env=environment(RAPPORT_DATA=str(service.data)),
            capture_output=True,
            text=True,
            timeout=GIVE_UP_SECONDS,
            check=False,
        )
    assert (following.stdout, following.returncode) == (f"{customer['id']} 2\n", 0), following.stderr
