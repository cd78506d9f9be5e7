"""Pages of the log in Postgres, as the projector reads them."""

import asyncio
from collections.abc import Callable

import pytest

from application.ports import Appended
from infrastructure.codec import Codec
from infrastructure.event_types import EVENT_TYPES
from infrastructure.log_pages import LogHasGap, PostgresLog, Unreadable
from tests.infrastructure.test_event_store import decision
from tests.people import ACME, ACME_REGISTERED
from tests.places import InPostgres

REGISTERED = frozenset({"customer.registered"})


def register_acme(place: InPostgres) -> None:
    async def append() -> None:
        async with place.open() as log:
            assert isinstance(await log.append([decision(ACME, 0, ACME_REGISTERED)]), Appended)

    asyncio.run(append())


class LogThatGrows(PostgresLog):
    """A log to which something is appended just before its head is asked for."""

    before_head: Callable[[], None] = staticmethod(lambda: None)

    def head(self) -> int:
        self.before_head()
        return super().head()


def read(place: InPostgres) -> LogThatGrows:
    return LogThatGrows(place.databases.projector, place.tenant, Codec(EVENT_TYPES, place.tenant.id))


def test_what_is_appended_while_a_page_is_read_is_no_gap(log_in_postgres: InPostgres) -> None:
    log = read(log_in_postgres)
    log.before_head = lambda: register_acme(log_in_postgres)
    page = log.page(0, 100, REGISTERED)
    log.close()
    assert [each.position for each in page.readable(REGISTERED)] == list(range(1, page.upto + 1))


def test_a_missing_position_is_a_gap(log_in_postgres: InPostgres) -> None:
    register_acme(log_in_postgres)
    log = read(log_in_postgres)
    log.head = lambda: 2  # type: ignore[method-assign]  # as if the last event had been removed after it was counted
    page = log.page(1, 100, REGISTERED)
    log.close()
    assert isinstance(page.events[0], Unreadable)
    assert page.events[0].position == 2
    with pytest.raises(LogHasGap):
        page.readable(REGISTERED)
