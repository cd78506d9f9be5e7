"""The same log gives the same tables, whoever makes them, when and where (docs/adr/0009)."""

from collections.abc import Callable
from datetime import date
from random import Random

import psycopg
import pytest

from infrastructure.database import Databases
from infrastructure.projector import Projector, ProjectorLimits
from projections import ALL
from projections.read_model import Build, Page, ReadModel
from projections.revenue_statistics import VERSION, RevenueStatistics
from tests.people import ACME, ACME_REGISTERED, ADA, ADA_REGISTERED, GRACE, GRACE_ADDED, GRACE_CALLED
from tests.projections.logs import SCHEMA, LogOf, follow, hashed, projector
from tests.projections.support import Support
from tests.projections.trade import FLOUR, YEAST, Trade, line

BUILDS = [Build(model.name, model.version) for model in ALL]


@pytest.fixture
def log() -> LogOf:
    """A bit of everything, a correction of the past among it."""
    trade = Trade().registered()
    log = trade.log
    log.append(ACME, ACME_REGISTERED)
    log.append(ADA, ADA_REGISTERED)
    trade.assign(FLOUR, "flour", date(2026, 1, 1))
    sale = trade.invoice(date(2026, 1, 20), line(FLOUR), line(YEAST))
    trade.invoice(date(2026, 2, 20), line(FLOUR), customer=ADA, currency="GBP")
    log.append(ACME, GRACE_ADDED)
    log.append(ACME, GRACE_CALLED)
    trade.assign(FLOUR, "baking", date(2026, 1, 15))
    trade.credit(sale, date(2026, 3, 1))
    Support(log).begun().live(Random(5), cases=4, events=40)  # noqa: S311 - it decides what happens in a test
    return log


def made(databases: Databases, log: LogOf, page_size: int, schema: str = SCHEMA) -> Projector:
    """Follow a log in pages of this size."""
    limits = ProjectorLimits(page_events_max=page_size)
    following = Projector(databases.projector, schema, log, ALL, hashed, limits=limits)
    follow(following)
    return following


def test_rebuilt_is_equal_to_live(databases: Databases, log: LogOf) -> None:
    live = made(databases, log, 2)
    before = {build.model: live.digest(build) for build in BUILDS}
    live.close()
    rebuilding = made(databases, log, 500)
    after = {build.model: rebuilding.rebuild(build.model, lambda *_: None) for build in BUILDS}
    rebuilding.close()
    assert after == before
    assert all(len(set(tables.values())) > 1 for tables in after.values()), "the tables are not all empty"


def test_another_database_fed_the_same_log_has_the_same_tables(
    databases: Databases, make_databases: Callable[[str], Databases], log: LogOf
) -> None:
    here, there = made(databases, log, 3), made(make_databases("branch"), log, 7, "branch_read")
    assert [here.digest(build) for build in BUILDS] == [there.digest(build) for build in BUILDS]
    here.close()
    there.close()


def test_erasing_somebody_does_not_make_rebuilt_and_live_differ(
    databases: Databases, superuser: str, log: LogOf
) -> None:
    """The rows of the erased are gone in one and were never made in the other."""
    live = made(databases, log, 500)
    before = live.digest(BUILDS[0])
    with psycopg.connect(superuser) as connection:
        connection.execute("SELECT main.destroy_subject(%s)", [GRACE])
    erased = live.digest(BUILDS[0])
    assert erased != before
    live.close()
    again = made(databases, log, 500)
    assert again.digest(BUILDS[0]) == erased
    rows = psycopg.connect(databases.projector).execute(
        f"SELECT count(*) FROM {SCHEMA}.customer_card_v1_tokens WHERE subject_id = %s".encode(), [GRACE]
    )
    assert rows.fetchone() == (0,), "a projector removes them when it starts"
    rows.connection.close()
    again.close()


class Forgetful(RevenueStatistics):
    """Loses the quantity of some lines: a mistake that no sum of money shows."""

    def fold(self, page: Page) -> None:
        """See `ReadModel.fold`."""
        super().fold(page)
        page.execute("UPDATE {facts} SET base_quantity = 0 WHERE line = 2")


def test_a_wrong_fold_is_found_by_comparing_with_another_database(
    databases: Databases, make_databases: Callable[[str], Databases], log: LogOf
) -> None:
    here = made(databases, log, 500)
    models: list[ReadModel] = [Forgetful()]
    there = projector(make_databases("main"), log, models)
    follow(there)
    build = Build("revenue_statistics", VERSION)
    right, wrong = here.digest(build), there.digest(build)
    assert {name for name in right if right[name] != wrong[name]} == {"facts"}
    here.close()
    there.close()
