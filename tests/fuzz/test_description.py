"""A program that nobody here wrote reads the description of the interface, and holds the running service to it.

What it is told beside the description stands in `schemathesis.toml` and in its hooks. `RAPPORT_FULL=1` takes all that
it can do, in every role; else what all commands, and all reports, have in common is tried with one of them.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from application.commands import Role
from tests.fuzz.malformed import IS_FULL
from tests.interface.world import World
from tests.serving import ROOT, Serving, serving

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
PHASES = ("examples", "coverage", "fuzzing", "stateful") if IS_FULL else ("coverage",)
MAX_EXAMPLES = 10 if IS_FULL else 1
GIVE_UP_SECONDS = 7_200 if IS_FULL else 600
"""Only ends what would hang."""


@pytest.mark.parametrize("role", Role if IS_FULL else [Role.SERVICE])
def test_the_service_is_as_its_description_says(role: Role) -> None:
    with serving() as service:
        asyncio.run(begin(service))
        command = [
            *(str(SCHEMATHESIS), "--config-file", str(CONFIGURATION), "run", f"{service.address}/openapi.json"),
            *("--header", f"Authorization: Bearer {service.make_key(role)}", "--checks", "all", "--no-color"),
            *("--phases", ",".join(PHASES), "--max-examples", str(MAX_EXAMPLES)),
        ]
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=GIVE_UP_SECONDS,
            check=False,
        )
    print(role, done.stdout[done.stdout.rfind("= SUMMARY =") :])
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]


async def begin(service: Serving) -> None:
    """Make all that requests can be about."""
    headers = {"authorization": f"Bearer {service.make_key(Role.SERVICE)}"}
    async with httpx.AsyncClient(base_url=service.address, headers=headers, timeout=60) as client:
        await World({Role.SERVICE: client}, lambda _operation, _response: None).begin()
