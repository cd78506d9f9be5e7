"""Pages of the log: in order, each event decoded once, without the secrets that nobody folds."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from domain.values import ERASED
from infrastructure.codec import Codec, Key, UnknownEventType, subject_reference, text_reference
from infrastructure.database import Databases
from infrastructure.encryption import KeyFile, new_key
from infrastructure.event_types import EVENT_TYPES
from infrastructure.log_pages import LogHasGap, LogPage, PostgresLog, ReadingAhead, Unreadable
from infrastructure.tenant import Tenant, found_tenant
from tests.people import ACME, ACME_REGISTERED, ADA, ADA_REGISTERED, GRACE_CALLED
from tests.projections.logs import LogOf
from tests.projections.trade import Trade

ALL_TYPES = frozenset(each.name for each in EVENT_TYPES.types)
REGISTERED = frozenset({"customer.registered"})


class Written:
    """A log in Postgres, written by a superuser event by event, so that it may be damaged."""

    def __init__(self, superuser: str, tenant: Tenant) -> None:
        self._superuser = superuser
        self._tenant = tenant
        self.codec = Codec(EVENT_TYPES, tenant.id)
        self._keys: dict[UUID, Key] = {}

    def append(self, position: int, stream: UUID, event: Any, version: int = 1) -> None:
        """Record an event at a position."""
        encoded = self.codec.of(event).encode(
            event, self.codec.place(stream, version), self._subject_key, self._text_key
        )
        self.insert(position, stream, encoded.name, encoded.body, version)

    def insert(self, position: int, stream: UUID, name: str, body: bytes, version: int = 1) -> None:
        """Store an event at a position."""
        at = datetime(2026, 1, 1, tzinfo=UTC)
        schema_version = EVENT_TYPES.by_name[name].schema_version if name in EVENT_TYPES.by_name else 1
        self._execute(
            "INSERT INTO main.events (position, recorded_at, occurred_at, stream_id, command_id, correlation_id, "
            "version, schema_version, type, actor, actor_kind, body) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [position, at, at, stream, stream, stream, version, schema_version, name, "key:tests", "service", body],
        )

    def _subject_key(self, subject: UUID) -> Key:
        if subject not in self._keys:
            self._keys[subject] = Key(subject_reference(subject), 1, new_key())
            wrapped = self._tenant.key_encryption_keys.wrap(self._keys[subject].key, subject.bytes)
            self._execute("INSERT INTO main.subject_keys (subject_id, wrapped) VALUES (%s, %s)", [subject, wrapped])
        return self._keys[subject]

    def _text_key(self, _subject: UUID) -> Key:
        return Key(text_reference(UUID(int=1)), 1, new_key())

    def destroy(self, subject: UUID) -> None:
        """Destroy a subject's key."""
        self._execute("SELECT main.destroy_subject(%s)", [subject])

    def _execute(self, statement: str, values: Sequence[object]) -> None:
        with psycopg.connect(self._superuser) as connection:
            connection.execute(statement.encode(), values)


@pytest.fixture
def tenant(databases: Databases, tmp_path: Path) -> Tenant:
    with psycopg.connect(databases.operator) as operator:
        return found_tenant(operator, "main", KeyFile(tmp_path), reporting_currency="EUR", time_zone="UTC")


@pytest.fixture
def written(superuser: str, tenant: Tenant) -> Written:
    """Acme, Ada and a product of the trade: positions 1 to 3."""
    written = Written(superuser, tenant)
    written.append(1, ACME, ACME_REGISTERED)
    written.append(2, ADA, ADA_REGISTERED)
    product = Trade().registered().events()[0]
    written.append(3, product.stream_id, product.event)
    return written


@pytest.fixture
def log(databases: Databases, tenant: Tenant, written: Written) -> Iterator[PostgresLog]:
    log = PostgresLog(databases.projector, tenant, written.codec)
    yield log
    log.close()


def events(page: LogPage) -> list[Any]:
    return [each.error if isinstance(each, Unreadable) else each.event for each in page.events]


def test_an_empty_log_has_no_pages(databases: Databases, tenant: Tenant) -> None:
    log = PostgresLog(databases.projector, tenant, Codec(EVENT_TYPES, tenant.id))
    assert log.head() == 0
    assert log.page(0, 10, ALL_TYPES) == LogPage(0, 0, [])
    log.close()


def test_a_page_has_the_wanted_events_and_goes_over_the_others(log: PostgresLog) -> None:
    assert log.head() == 3
    page = log.page(0, 10, REGISTERED)
    assert (page.after, page.upto) == (0, 3)
    assert events(page) == [ACME_REGISTERED, ADA_REGISTERED]
    assert [(each.position, each.type) for each in page.events] == [
        (1, "customer.registered"),
        (2, "customer.registered"),
    ]
    assert log.page(1, 2, ALL_TYPES).upto == 2
    assert log.page(3, 10, ALL_TYPES) == LogPage(3, 3, [])


def test_personal_values_are_read_with_the_keys_of_the_moment(log: PostgresLog, written: Written) -> None:
    written.destroy(ADA)
    (_, ada) = events(log.page(0, 2, REGISTERED))
    assert (ada.name, ada.personal_vat_id, ada.customer_number) == (ERASED, ERASED, "C-1002")


def test_free_texts_stay_closed(log: PostgresLog, written: Written) -> None:
    written.append(4, ACME, GRACE_CALLED, version=2)
    (called,) = events(log.page(3, 4, ALL_TYPES))
    assert (called.summary, called.next_step, called.channel) == (ERASED, ERASED, "phone")


def test_a_page_is_cut_when_its_bodies_are_many_bytes(log: PostgresLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.log_pages.PAGE_BYTES_MAX", 1)
    assert log.page(0, 10, ALL_TYPES).upto == 1
    assert log.page(1, 10, ALL_TYPES).upto == 2
    assert log.page(0, 10, frozenset()).upto == 3, "what nobody wants is not fetched"


def test_what_does_not_decode_is_unreadable_for_those_who_want_it(log: PostgresLog, written: Written) -> None:
    written.insert(4, UUID(int=4), "customer.blocked", b"not json")
    written.insert(5, UUID(int=5), "bakery.closed", b"{}")
    page = log.page(0, 10, ALL_TYPES | {"bakery.closed"})
    assert page.upto == 5
    assert [each.position for each in page.events if isinstance(each, Unreadable)] == [4, 5]
    assert isinstance(events(page)[-1], UnknownEventType)
    with pytest.raises(ValueError, match="Invalid JSON"):
        page.readable(frozenset({"customer.blocked"}))
    assert [each.position for each in page.readable(REGISTERED)] == [1, 2]


@pytest.mark.parametrize("after", [0, 3])
def test_a_gap_ends_the_page_and_concerns_everybody(log: PostgresLog, written: Written, after: int) -> None:
    written.append(5, UUID(int=5), ACME_REGISTERED)
    page = log.page(after, 10, REGISTERED)
    assert page.upto == 4
    with pytest.raises(LogHasGap):
        page.readable(frozenset())
    before = page.part(after, 3)
    assert [each.position for each in before.readable(REGISTERED)] == ([1, 2] if after == 0 else [])


def test_a_part_of_a_page_is_a_page(log: PostgresLog) -> None:
    page = log.page(0, 3, ALL_TYPES)
    assert page.part(0, 3) is page
    assert [each.position for each in page.part(1, 2).events] == [2]
    assert page.part(2, 9) == LogPage(2, 3, page.events[2:])


def test_a_follower_is_woken_or_goes_on_by_itself(databases: Databases, log: PostgresLog) -> None:
    log.wait(0.0)
    with psycopg.connect(databases.service, autocommit=True) as service:
        service.execute("SELECT pg_notify('main_log', '')")
    log.wait(60.0)


def test_a_closed_log_opens_again(log: PostgresLog) -> None:
    log.close()
    log.close()
    assert log.head() == 3


# Reading ahead


def many() -> LogOf:
    trade = Trade().registered()
    for _ in range(7):
        trade.invoice(date(2026, 1, 20))
    return trade.log


def test_pages_read_ahead_are_the_pages() -> None:
    log, plain = ReadingAhead(many()), many()
    after = 0
    while (page := log.page(after, after + 3, ALL_TYPES)).upto > after:
        assert page == plain.page(after, after + 3, ALL_TYPES)
        after = page.upto
    assert after == log.head() == 10
    log.close()


def test_each_page_is_read_once_by_those_who_take_turns() -> None:
    inner = many()
    log = ReadingAhead(inner)
    some = frozenset({"product.registered"})
    for after in (0, 3, 6, 9):
        assert log.page(after, after + 3, ALL_TYPES).upto == min(after + 3, 10)
        assert log.page(after, after + 3, some).upto == min(after + 3, 10)
    log.wait(0.0)
    log.close()
    assert sorted(inner.pages_read) == [(0, 3), (0, 3), (3, 6), (3, 6), (6, 9), (6, 9), (9, 10), (9, 10)]


def test_a_page_that_was_read_ahead_for_nothing_is_forgotten() -> None:
    log, plain = ReadingAhead(many()), many()
    log.page(0, 3, ALL_TYPES)
    assert log.page(4, 8, ALL_TYPES) == plain.page(4, 8, ALL_TYPES)
    log.close()


def test_an_error_ahead_is_raised_when_its_page_is_asked_for() -> None:
    class Broken(LogOf):
        def page(self, after: int, upto: int, types: frozenset[str]) -> LogPage:
            if after:
                raise psycopg.OperationalError
            return super().page(after, upto, types)

    inner = Broken()
    inner.recorded = many().recorded
    log = ReadingAhead(inner)
    log.page(0, 3, ALL_TYPES)
    with pytest.raises(psycopg.OperationalError):
        log.page(3, 6, ALL_TYPES)
    log.close()
