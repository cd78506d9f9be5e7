"""The library's own recorder test cases, unmodified, against our log; and that a stock runner can follow it."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactoryError,
    IntegrityError,
    JSONTranscoder,
    Mapper,
    OperationalError,
    StoredEvent,
)
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
)

from domain.values import ERASED
from infrastructure.database import Databases
from infrastructure.library import Factory, FollowedEvent
from tests.asynchronous import asynchronous
from tests.infrastructure.test_event_store import decision, store
from tests.people import ACME, ACME_REGISTERED, ADA, ADA_REGISTERED, GRACE_CALLED
from tests.places import InPostgres
from tests.proxy import proxied


class OnAFreshLog:
    """Gives each test case of the library a log of its own."""

    factory: Factory

    @pytest.fixture(autouse=True)
    def _log(self, databases: Databases) -> Iterator[None]:
        self.factory = Factory({Factory.LOG: databases.service})
        yield
        self.factory.close()


class TestAggregateRecorder(OnAFreshLog, AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return self.factory.aggregate_recorder()


class TestApplicationRecorder(OnAFreshLog, ApplicationRecorderTestCase[ApplicationRecorder]):
    def create_recorder(self) -> ApplicationRecorder:
        return self.factory.application_recorder()

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestNonInterleaving(OnAFreshLog, NonInterleavingNotificationIDsBaseCase):
    def create_recorder(self) -> ApplicationRecorder:
        return self.factory.application_recorder()


# Following the CRM's log


async def two_customers(place: InPostgres) -> None:
    """Acme Bakery, and Ada who has called."""
    called = replace(GRACE_CALLED, contacts=())
    async with place.open() as log:
        await store(log, decision(ACME, 0, ACME_REGISTERED), decision(ADA, 0, ADA_REGISTERED, called))


def followed(place: InPostgres, keys: str | None) -> list[FollowedEvent]:
    """The events of the log as a library projection gets them."""
    factory = Factory({Factory.LOG: place.databases.service} | ({Factory.KEYS: keys} if keys else {}))
    mapper = factory.mapper(JSONTranscoder())
    events = [mapper.to_domain_event(each) for each in factory.application_recorder().select_notifications(1, 10)]
    factory.close()
    known = [each for each in events if isinstance(each, FollowedEvent)]
    assert len(known) == len(events)
    return known


@asynchronous
async def test_who_has_the_keys_follows_events_in_the_shape_of_today(log_in_postgres: InPostgres) -> None:
    await two_customers(log_in_postgres)
    events = await asyncio.to_thread(followed, log_in_postgres, str(log_in_postgres.keys))
    assert [(each.originator_id, each.originator_version, each.name) for each in events] == [
        (ACME, 1, "customer.registered"),
        (ADA, 1, "customer.registered"),
        (ADA, 2, "customer.interaction-recorded"),
    ]
    assert [each.event for each in events] == [
        ACME_REGISTERED,
        ADA_REGISTERED,
        replace(GRACE_CALLED, contacts=()),
    ]
    log_in_postgres.destroy_subject(ADA)
    events = await asyncio.to_thread(followed, log_in_postgres, str(log_in_postgres.keys))
    assert [events[1].event.name, events[2].event.summary] == [ERASED, ERASED]


@asynchronous
async def test_who_has_no_keys_follows_with_personal_values_erased(log_in_postgres: InPostgres) -> None:
    await two_customers(log_in_postgres)
    events = await asyncio.to_thread(followed, log_in_postgres, None)
    assert [events[0].event, events[1].event.name] == [ACME_REGISTERED, ERASED]


def test_a_factory_makes_what_a_log_is_and_nothing_else(databases: Databases) -> None:
    with pytest.raises(InfrastructureFactoryError, match="connection string"):
        Factory({})
    factory = Factory({Factory.LOG: databases.service})
    for refused in (
        lambda: factory.aggregate_recorder("snapshots"),
        factory.tracking_recorder,
        factory.process_recorder,
    ):
        with pytest.raises(InfrastructureFactoryError):
            refused()
    assert type(factory.mapper(JSONTranscoder(), Mapper)) is type(factory.mapper(JSONTranscoder()))
    factory.close()


# Connections that are lost


def happened(version: int = 1) -> list[StoredEvent]:
    return [StoredEvent(uuid4(), version, "test.happened", b"{}")]


@asynchronous
async def test_a_connection_cut_before_the_answer_doubles_nothing(log_in_postgres: InPostgres) -> None:
    async with proxied(log_in_postgres.databases.service) as proxy:
        factory = Factory({Factory.LOG: proxy.conninfo})
        recorder = factory.application_recorder()
        assert await asyncio.to_thread(recorder.insert_events, happened()) == [1]
        proxy.cut_answer()
        assert await asyncio.to_thread(recorder.insert_events, happened()) == [2]
        assert proxy.cuts == 1
        assert await asyncio.to_thread(recorder.max_notification_id) == 2
        with pytest.raises(IntegrityError):
            await asyncio.to_thread(recorder.insert_events, happened(version=7))
        await asyncio.to_thread(factory.close)


def test_a_log_that_is_gone_is_an_operational_error(databases: Databases) -> None:
    factory = Factory({Factory.LOG: databases.service})
    recorder = factory.application_recorder()
    factory.close()
    for ask in (lambda: recorder.insert_events(happened()), recorder.max_notification_id):
        with pytest.raises(OperationalError):
            ask()
