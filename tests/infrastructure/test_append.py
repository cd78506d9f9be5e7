"""The functions of the log's schema, asked in SQL: what no role gets round, and what happens at the same moment."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Thread
from typing import Any
from uuid import UUID

import psycopg
import pytest

from application.ports import Appended, Conflicts
from domain.customer import MasterDataConfirmed
from domain.values import ERASED
from infrastructure.database import Databases
from infrastructure.embedded_postgres import EmbeddedPostgres
from infrastructure.ids import new_id
from infrastructure.records import Batch, Hindered, Stored, append_statement, verdict
from tests.asynchronous import asynchronous
from tests.infrastructure.clocks import own_clock
from tests.infrastructure.test_event_store import decision, store
from tests.infrastructure.waiting import eventually
from tests.people import ACME, ADA, ADA_REGISTERED, GRACE_CALLED
from tests.places import AnyLog, InPostgres

Connection = psycopg.Connection[tuple[Any, ...]]
TABLES = [
    "tenant",
    "log_head",
    "events",
    "commands",
    "claims",
    "subject_keys",
    "text_keys",
    "snapshots",
    "retired_key_encryption_keys",
    "epochs",
]
FUNCTIONS = {
    "append": "rapport_service",
    "reserve_log": "rapport_service",
    "release_log": "rapport_service",
    "position_at": "rapport_service",
    "keep_snapshot": "rapport_service",
    "note_credentials_used": "rapport_service",
    "begin_epoch": "rapport_operator",
    "destroy_subject": "rapport_privacy",
    "destroy_text": "rapport_privacy",
    "rewrap_keys": "rapport_privacy",
    "rewrap_hash_key": "rapport_privacy",
    "retire_key_encryption_keys": "rapport_privacy",
}
ADVISORY_LOCKS = ["writers of main", "rapport migrations of main", "builds of main_read"]
"""Those that Rapport once took: any role can take them, and keep them."""
OCCURRED = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def databases(log_in_postgres: InPostgres) -> Databases:
    """The roles' ways to an empty log."""
    return log_in_postgres.databases


@pytest.fixture
def service(databases: Databases) -> Iterator[Connection]:
    """A connection of the service."""
    with psycopg.connect(databases.service, autocommit=True) as connection:
        yield connection


@pytest.fixture
def superuser(postgres: EmbeddedPostgres, log_in_postgres: InPostgres) -> Iterator[Connection]:
    """A connection of the superuser."""
    with psycopg.connect(postgres.administrator(log_in_postgres.database), autocommit=True) as connection:
        yield connection


def one(stream: UUID, *versions: int, **columns: Any) -> Batch:
    """A batch of one command; versions are those of its events."""
    size, command = len(versions), new_id()
    batch = Batch(
        streams=[stream] * size,
        versions=list(versions),
        types=["customer.blocked"] * size,
        schema_versions=[1] * size,
        occurred=[OCCURRED] * size,
        source_recorded=[None] * size,
        actors=["key:1"] * size,
        actor_kinds=["service"] * size,
        behalf=[None] * size,
        reasons=[None] * size,
        sources=[None] * size,
        commands=[command] * size,
        correlations=[command] * size,
        causations=[None] * size,
        customers=[None] * size,
        bodies=[b"{}"] * size,
        command_principals=["key:1"],
        command_credentials=[None],
        command_keys=[str(command)],
        command_ids=[command],
        command_targets=[stream],
        command_digests=[b""],
        command_first=[1],
        command_last=[size],
    )
    return replace(batch, **columns)


def append(connection: Connection, batch: Batch) -> Stored | Hindered:
    """Call `append`."""
    (row,) = connection.execute(append_statement("main"), batch.arguments()).fetchall()
    return verdict(row)


def asked(connection: Connection, question: str, *arguments: object) -> Any:
    """The one value that answers a question."""
    ((value,),) = connection.execute(question.encode(), arguments).fetchall()
    return value


# Rights


@pytest.mark.parametrize("table", TABLES)
def test_the_service_changes_no_table(service: Connection, table: str) -> None:
    column = asked(
        service,
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1",
        f"main.{table}",
    )
    for statement in (
        f"INSERT INTO main.{table} DEFAULT VALUES",
        f"UPDATE main.{table} SET {column} = {column}",
        f"DELETE FROM main.{table}",
        f"TRUNCATE main.{table}",
        f"SELECT * FROM main.{table} FOR UPDATE",
        f"LOCK TABLE main.{table} IN SHARE MODE",
        f"CREATE TRIGGER mine BEFORE INSERT ON main.{table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), service.transaction():
            service.execute(statement.encode())


def test_every_table_of_the_schema_is_looked_at(superuser: Connection) -> None:
    found = superuser.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'main'").fetchall()
    assert {name for (name,) in found} == {*TABLES, "principals", "credentials", "migrations"}


@pytest.mark.parametrize("role", ["operator", "service", "projector", "reader", "privacy", "backup"])
def test_every_function_is_for_one_role_alone(databases: Databases, role: str) -> None:
    with psycopg.connect(getattr(databases, role)) as connection:
        allowed = connection.execute(
            "SELECT proname FROM pg_proc WHERE pronamespace = to_regnamespace('main') AND has_function_privilege(oid, "
            "'EXECUTE')"
        ).fetchall()
    assert {name for (name,) in allowed} == {name for name, owner in FUNCTIONS.items() if owner == f"rapport_{role}"}


def test_not_even_a_superuser_who_replicates_changes_an_event(service: Connection, superuser: Connection) -> None:
    append(service, one(ACME, 1))
    superuser.execute("SET session_replication_role = replica")
    for statement in ("UPDATE main.events SET actor = 'nobody'", "DELETE FROM main.events", "TRUNCATE main.events"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="the log is append-only"):
            superuser.execute(statement.encode())
    assert asked(superuser, "SELECT count(*) FROM main.events WHERE actor = 'key:1'") == 1


@pytest.mark.parametrize("role", ["operator", "service", "projector", "reader", "privacy", "backup"])
def test_no_lock_that_a_role_can_take_stops_appends(databases: Databases, service: Connection, role: str) -> None:
    """The functions of the service alone lock the head row; whoever may call them writes the log anyway."""
    tables = [name for (name,) in service.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'main'")]
    strengths = ("UPDATE", "NO KEY UPDATE", "SHARE", "KEY SHARE")
    modes = (
        "ACCESS EXCLUSIVE",
        "EXCLUSIVE",
        "SHARE ROW EXCLUSIVE",
        "SHARE",
        "ROW EXCLUSIVE",
        "ROW SHARE",
        "ACCESS SHARE",
    )
    locks = [f"LOCK TABLE main.{table} IN {mode} MODE NOWAIT" for table in tables for mode in modes]
    locks += [f"SELECT 1 FROM main.{table} FOR {strength}" for table in tables for strength in strengths]
    append(service, one(ACME, 1))
    with psycopg.connect(getattr(databases, role)) as holding:
        for text in ADVISORY_LOCKS:
            holding.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [text])
        for lock in locks:
            with suppress(psycopg.errors.InsufficientPrivilege), holding.transaction():
                holding.execute(lock.encode())
        service.execute("SET lock_timeout = '1s'")
        assert isinstance(append(service, one(ACME, 2)), Stored)
        assert asked(service, "SELECT main.reserve_log(1)")
        assert asked(service, "SELECT main.position_at(clock_timestamp())") == 2


def test_tables_of_ones_own_do_not_deceive_the_functions(service: Connection) -> None:
    append(service, one(ACME, 1))
    for table in TABLES:
        service.execute(f"CREATE TEMPORARY TABLE {table} AS SELECT * FROM main.{table} WITH NO DATA".encode())
    service.execute("SET search_path = pg_temp, main")
    assert isinstance(append(service, one(ACME, 1)), Hindered)
    assert append(service, one(ACME, 2)) == Stored(1, asked(service, "SELECT max(recorded_at) FROM main.events"))


# Positions, versions and times


def test_positions_are_dense_also_after_conflicts(service: Connection) -> None:
    assert isinstance(append(service, one(ACME, 1, 2)), Stored)
    assert isinstance(append(service, one(ACME, 2)), Hindered)
    with pytest.raises(psycopg.errors.NotNullViolation):
        append(service, one(ADA, 1, actors=[None]))
    stored = append(service, one(ADA, 1))
    assert isinstance(stored, Stored)
    assert stored.base == 2
    assert [row for (row,) in service.execute("SELECT position FROM main.events ORDER BY 1")] == [1, 2, 3]


@pytest.mark.parametrize("versions", [(2,), (1, 3), (1, 1), (2, 1, 4), (0, 2), (2, 1), (1, 1, 3)])
def test_no_version_is_skipped_repeated_or_before_its_time(service: Connection, versions: Sequence[int]) -> None:
    hindered = append(service, one(ACME, *versions))
    assert isinstance(hindered, Hindered)
    assert hindered.stale == [ACME]


def test_nobody_says_when_something_was_recorded(service: Connection, superuser: Connection) -> None:
    before = asked(superuser, "SELECT clock_timestamp()")
    stored = append(service, one(ACME, 1, occurred=[datetime(1900, 1, 1, tzinfo=UTC)]))
    assert isinstance(stored, Stored)
    assert before <= stored.at <= asked(superuser, "SELECT clock_timestamp()")


def test_what_was_recorded_last_was_never_recorded_earlier_than_the_rest(
    service: Connection, superuser: Connection
) -> None:
    """Although the clock has been put back since."""
    append(service, one(ACME, 1))
    ahead = asked(superuser, "SELECT clock_timestamp() + interval '1 hour'")
    superuser.execute(
        "INSERT INTO main.events (position, recorded_at, occurred_at, stream_id, command_id, version, schema_version, "
        "type, actor, actor_kind, body) SELECT 2, %s, occurred_at, stream_id, command_id, 2, schema_version, type, "
        "actor, actor_kind, body FROM main.events",
        [ahead],
    )
    assert append(service, one(ACME, 3)) == Stored(2, ahead)


def test_nothing_is_recorded_at_a_moment_before_the_log_was_made(databases: Databases, superuser: Connection) -> None:
    """It may have been made again from a backup, and told of any moment before."""
    made = asked(superuser, "UPDATE main.log_head SET told_until = DEFAULT RETURNING told_until")
    with own_clock(superuser) as put, psycopg.connect(databases.service, autocommit=True) as service:
        put(made - timedelta(days=1))
        stored = append(service, one(ACME, 1))
        assert isinstance(stored, Stored)
        assert stored.at == made + timedelta(microseconds=1)
        assert asked(service, "SELECT main.position_at(%s)", made) == 0


def test_lists_of_different_lengths_store_nothing(service: Connection) -> None:
    for column in ("types", "bodies", "streams", "command_keys", "command_last"):
        shorter: dict[str, Any] = {column: []}
        with pytest.raises(psycopg.errors.IntegrityError):
            append(service, one(ACME, 1, **shorter))
    assert asked(service, "SELECT count(*) FROM main.events") == 0
    assert asked(service, "SELECT count(*) FROM main.commands") == 0


# Claims and keys


def test_a_claim_is_given_back_by_its_holder_alone(service: Connection) -> None:
    taking: dict[str, Any] = {"take_kinds": ["number"], "take_values": [b"1"], "take_subjects": [None]}
    dropping = {"drop_kinds": ["number"], "drop_values": [b"1"]}
    append(service, one(ACME, 1, take_streams=[ACME], **taking))
    append(service, one(ADA, 1, drop_streams=[ADA], **dropping))
    hindered = append(service, one(ADA, 2, drop_streams=[ADA], take_streams=[ADA], **taking, **dropping))
    assert isinstance(hindered, Hindered)
    assert hindered.taken == [1]
    append(service, one(ACME, 2, drop_streams=[ACME], take_streams=[ADA], **taking, **dropping))
    assert asked(service, "SELECT stream_id FROM main.claims") == ADA


def test_a_key_that_is_there_is_never_replaced(service: Connection) -> None:
    append(service, one(ACME, 1, new_subjects=[ADA], new_subject_keys=[b"first"], subjects=[ADA]))
    hindered = append(service, one(ACME, 2, new_subjects=[ADA], new_subject_keys=[b"second"], subjects=[ADA]))
    assert isinstance(hindered, Hindered)
    assert (hindered.fenced, hindered.is_by_keys_alone) == ([ADA], True)
    assert asked(service, "SELECT wrapped FROM main.subject_keys") == b"first"


def test_a_key_is_destroyed_once_and_its_row_stays(databases: Databases, service: Connection) -> None:
    append(service, one(ACME, 1, new_subjects=[ADA], new_subject_keys=[b"key"], subjects=[ADA]))
    with psycopg.connect(databases.privacy, autocommit=True) as privacy:
        for subject in (ADA, ACME):
            privacy.execute("SELECT main.destroy_subject(%s)", [subject])
        keys = "SELECT subject_id, wrapped, destroyed_at FROM main.subject_keys ORDER BY 1"
        first = privacy.execute(keys).fetchall()
        privacy.execute("SELECT main.destroy_subject(%s)", [ADA])
        assert privacy.execute(keys).fetchall() == first
    assert [(subject, wrapped) for subject, wrapped, _ in first] == [(ACME, None), (ADA, None)]
    for columns in ({"subjects": [ADA]}, {"new_subjects": [ACME], "new_subject_keys": [b"new"], "subjects": [ACME]}):
        hindered = append(service, one(ACME, 2, **columns))
        assert isinstance(hindered, Hindered)
        assert hindered.erased == columns["subjects"]


def test_keys_are_wrapped_anew_unless_they_have_changed_meanwhile(databases: Databases, service: Connection) -> None:
    text = new_id()
    keys = {"new_subjects": [ADA, ACME], "new_subject_keys": [b"old", b"changed"], "subjects": [ADA, ACME]}
    texts = {"new_texts": [text], "new_text_subjects": [ADA], "new_text_keys": [b"old"]}
    append(service, one(ACME, 1, **keys, **texts))
    with psycopg.connect(databases.privacy, autocommit=True) as privacy:
        rewrapped = asked(
            privacy,
            "SELECT main.rewrap_keys(%s, %s, %s, %s, %s, %s)",
            [ADA, ACME],
            [b"old", b"old"],
            [b"new", b"new"],
            [text],
            [b"old"],
            [b"new"],
        )
        assert rewrapped == 2
        assert dict(privacy.execute("SELECT subject_id, wrapped FROM main.subject_keys").fetchall()) == {
            ADA: b"new",
            ACME: b"changed",
        }
        assert asked(privacy, "SELECT wrapped FROM main.text_keys") == b"new"


# At the same moment


@contextmanager
def head_held(superuser: Connection) -> Iterator[None]:
    """Hold the head row, so that everybody else waits."""
    with superuser.transaction():
        superuser.execute("SELECT 1 FROM main.log_head FOR UPDATE")
        yield


def waits(connection: Connection, watching: Connection) -> bool:
    """Whether the backend of a connection waits for a lock."""
    return bool(asked(watching, "SELECT cardinality(pg_blocking_pids(%s)) > 0", connection.info.backend_pid))


@pytest.mark.parametrize("first", ["erase", "append"])
def test_erasing_and_appending_come_one_after_the_other(
    databases: Databases, service: Connection, superuser: Connection, first: str
) -> None:
    """Whichever comes first: what is written about an erased person has no key."""
    text = new_id()
    append(service, one(ADA, 1, new_subjects=[ADA], new_subject_keys=[b"key"], subjects=[ADA]))
    noting = one(ADA, 2, subjects=[ADA], new_texts=[text], new_text_subjects=[ADA], new_text_keys=[b"key of the text"])
    with (
        psycopg.connect(databases.privacy, autocommit=True) as privacy,
        psycopg.connect(databases.service, autocommit=True) as watching,
        ThreadPoolExecutor(2) as pool,
    ):
        works: dict[str, tuple[Connection, Any]] = {
            "erase": (privacy, lambda: privacy.execute("SELECT main.destroy_subject(%s)", [ADA])),
            "append": (service, lambda: append(service, noting)),
        }
        pending = {}
        with head_held(superuser):
            for name in sorted(works, key=lambda each: each != first):
                connection, work = works[name]
                pending[name] = pool.submit(work)
                eventually(partial(waits, connection, watching))
        result = pending["append"].result()
        pending["erase"].result()
    assert isinstance(result, Hindered if first == "erase" else Stored)
    assert asked(superuser, "SELECT count(*) FROM main.subject_keys WHERE wrapped IS NOT NULL") == 0
    assert asked(superuser, "SELECT count(*) FROM main.text_keys WHERE wrapped IS NOT NULL") == 0


def test_an_append_sees_what_was_committed_while_it_waited_whatever_the_database_is_set_to(
    databases: Databases, superuser: Connection
) -> None:
    name = superuser.info.dbname
    superuser.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = serializable".encode())
    try:
        with (
            psycopg.connect(databases.service) as first,
            psycopg.connect(databases.service, autocommit=True) as second,
            ThreadPoolExecutor(1) as pool,
        ):
            append(first, one(ACME, 1))
            pending = pool.submit(append, second, one(ADA, 1))
            eventually(partial(waits, second, superuser))
            first.commit()
            stored = pending.result()
    finally:
        superuser.execute(f"ALTER DATABASE {name} RESET default_transaction_isolation".encode())
    assert isinstance(stored, Stored)
    assert stored.base == 1


def test_a_fresh_moment_waits_for_the_append_in_flight_and_an_older_one_does_not(
    databases: Databases, service: Connection
) -> None:
    first = append(service, one(ACME, 1))
    assert isinstance(first, Stored)
    with (
        psycopg.connect(databases.service) as appending,
        psycopg.connect(databases.service, autocommit=True) as watching,
        ThreadPoolExecutor(1) as pool,
    ):
        (row,) = appending.execute(append_statement("main"), one(ACME, 2).arguments()).fetchall()
        in_flight = verdict(row)
        assert isinstance(in_flight, Stored)
        older = first.at - timedelta(microseconds=1)
        assert asked(watching, "SELECT main.position_at(%s)", older) == 0
        pending = pool.submit(asked, service, "SELECT main.position_at(%s)", in_flight.at)
        eventually(lambda: waits(service, watching))
        appending.commit()
        assert pending.result() == 2


@asynchronous
async def test_whatever_the_race_an_erased_person_is_not_read(log_in_postgres: InPostgres) -> None:
    """Two writers write about people who are being erased: all that is stored loads, and says nothing of them."""
    people, called, outcomes = [new_id() for _ in range(12)], replace(GRACE_CALLED, contacts=()), set()

    async def note(log: AnyLog) -> None:
        for person in people:
            version = (await log.versions([person]))[person]
            outcome = await log.append([decision(person, version, called, MasterDataConfirmed())])
            outcomes.add(type(outcome))

    async with log_in_postgres.open() as log, log_in_postgres.open() as another:
        for person in people:
            await store(log, decision(person, 0, ADA_REGISTERED))
        await note(another)
        erasing = Thread(target=lambda: deque(map(log_in_postgres.destroy_subject, people)))
        erasing.start()
        while erasing.is_alive():
            await note(log)
            await note(another)
        await note(log)
        assert outcomes == {Appended, Conflicts}
        for person in people:
            for each in await log.stream(person, 0, 1_000):
                assert getattr(each.event, "name", ERASED) is ERASED
                assert getattr(each.event, "summary", ERASED) is ERASED
