"""What all tests share: where the real data lies, and Hypothesis without a clock."""

import os
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

# A slow machine is not a wrong answer.
settings.register_profile("rapport", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("rapport")


def absent(what: str) -> NoReturn:
    """Skip a test whose surroundings are missing, by name; where CI has them, their absence is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}, and CI must not skip this test", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data, which is never committed: RAPPORT_REAL_DATA, or beside the checkout."""
    folder = Path(os.environ.get("RAPPORT_REAL_DATA") or ROOT.parent / "shared" / "data").absolute()
    if not folder.is_dir():
        absent(f"there is no real data in {folder}")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what reads the real data, so that `-m "not real_data"` leaves it out."""
    for item in items:
        if isinstance(item, pytest.Function) and "real_data" in item.fixturenames:
            item.add_marker("real_data")
