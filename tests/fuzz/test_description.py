"""A program that nobody here wrote reads the description of the interface, and holds the running service to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from application.commands import Role
from tests.fuzz.malformed import IS_FULL
from tests.serving import ROOT, serving

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
QUICK = [
    "--max-examples",
    "1",
    "--phases",
    "coverage",
    "--include-path-regex",
    "/v1/(customers|reports|events)($|[^{]*$)",
]
"""Some of the operations, as the edges of their shapes are."""


@pytest.mark.parametrize("role", list(Role) if IS_FULL else [Role.SERVICE])
def test_the_service_is_as_its_description_says(role: Role) -> None:
    with serving() as service:
        key = service.make_key(role)
        amount = ["--max-examples", "10"] if IS_FULL else QUICK
        command = [
            *(str(SCHEMATHESIS), "run", f"{service.address}/openapi.json", "--header", f"Authorization: Bearer {key}"),
            # A bulk body is taken whatever its lines are: each of them has an answer of its own, held to elsewhere.
            *("--exclude-path", "/v1/commands"),
            *("--checks", "all", "--seed", "1", "--no-color", *amount),
        ]
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.fuzz.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1_200, check=False)
    print(done.stdout[done.stdout.rfind("= SUMMARY =") :])
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
