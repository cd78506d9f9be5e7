"""The library's own recorder test cases, unmodified, against our log; and that a stock runner can follow it."""

from collections.abc import Iterator

import pytest
from eventsourcing.persistence import AggregateRecorder, ApplicationRecorder
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    NonInterleavingNotificationIDsBaseCase,
)

from infrastructure.database import Databases
from infrastructure.library import Factory


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
