"""Fixtures for tests in which several processes work on one log."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infrastructure.database import Databases
from tests.contention.processes import Workplace
from tests.places import InPostgres


@pytest.fixture
def workplace(databases: Databases, tmp_path: Path) -> Workplace:
    """A log of this test alone."""
    InPostgres(databases, tmp_path)
    return Workplace(databases, tmp_path)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a figure, whether the test passes or not."""

    def write(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {text}")

    return write
