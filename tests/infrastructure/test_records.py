"""Columns of a batch and what `append` answers: texts of arrays that Postgres reads back as they were."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infrastructure.records import Batch, Hindered, Stored, append_statement, channel, verdict
from tests.people import ACME, ADA

storable = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
"""Any text that Postgres can store."""
instants = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))]))


@pytest.fixture(scope="module")
def parsed(request: pytest.FixtureRequest) -> Any:
    """Reads an array back."""
    server = request.getfixturevalue("postgres")
    with psycopg.connect(server.administrator("postgres"), autocommit=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")

        def read(text: str, kind: str) -> list[Any]:
            ((array,),) = connection.execute(f"SELECT %s::{kind}[]".encode(), [text]).fetchall()
            values: list[Any] = array
            return values

        yield read


def columns(batch: Batch) -> dict[str, str]:
    """The texts of a batch, by the name of its column."""
    return dict(zip(Batch.__slots__, batch.arguments(), strict=True))


@given(texts=st.lists(st.none() | storable, max_size=5), values=st.lists(st.binary(), max_size=5))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_texts_and_bytes_arrive_as_they_were(parsed: Any, texts: list[str | None], values: list[bytes]) -> None:
    sent = columns(Batch(reasons=texts, bodies=values))
    assert parsed(sent["reasons"], "text") == texts
    assert parsed(sent["bodies"], "bytea") == values


@given(st.lists(st.none() | instants, max_size=5), st.lists(st.none() | st.uuids(), max_size=5))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_instants_and_ids_arrive_as_they_were(
    parsed: Any, moments: list[datetime | None], ids: list[UUID | None]
) -> None:
    sent = columns(Batch(source_recorded=moments, causations=ids, versions=[1, 2**31 - 1]))
    assert parsed(sent["source_recorded"], "timestamptz") == moments
    assert parsed(sent["causations"], "uuid") == ids
    assert parsed(sent["versions"], "int") == [1, 2**31 - 1]


def test_every_column_has_its_place_in_the_statement() -> None:
    assert append_statement("main").count("%s") == len(Batch().arguments())


def test_what_append_answers_is_either_a_place_or_every_reason() -> None:
    at = datetime(2026, 4, 1, tzinfo=UTC)
    assert verdict((0, at, *[None] * 6)) == Stored(0, at)
    hindered = verdict((None, at, [1], [ACME], [2], [3], [ADA], None))
    assert hindered == Hindered([1], [ACME], [2], [3], [ADA], ())


@pytest.mark.parametrize("place", range(6))
def test_keys_alone_stand_in_the_way_when_nothing_else_does(place: int) -> None:
    reasons: list[Any] = [None] * 6
    reasons[4] = [ADA]
    reasons[place] = [ADA]
    hindered = verdict((None, None, *reasons))
    assert isinstance(hindered, Hindered)
    assert hindered.is_by_keys_alone is (place == 4)


def test_a_channel_is_quoted() -> None:
    assert channel("main") == '"main_log"'
