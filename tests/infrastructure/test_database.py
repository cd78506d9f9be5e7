"""Roles, their rights, and the settings without which Rapport does not start."""

import psycopg
import pytest

from infrastructure.database import Databases


@pytest.mark.parametrize("role", ["operator", "service", "projector", "reader", "privacy"])
def test_every_role_connects_with_its_own_password(databases: Databases, role: str) -> None:
    with psycopg.connect(getattr(databases, role)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (f"rapport_{role}",)
