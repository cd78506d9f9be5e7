"""A clock of one's own for the functions of the log: it shows what the test says, also an earlier time than before."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg

SetClock = Callable[[datetime], None]

CLOCK = "clock_timestamp()"


@contextmanager
def own_clock(superuser: psycopg.Connection) -> Iterator[SetClock]:
    """Let the functions of the tenant `main` ask another clock than that of the machine, which they ask afterwards."""
    superuser.execute("CREATE TABLE main.clock (shows timestamptz)")
    superuser.execute("GRANT SELECT ON main.clock TO rapport_owner")
    functions = superuser.execute(
        "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'main'::regnamespace AND prosrc ~ 'clock_'"
    ).fetchall()
    for (definition,) in functions:
        superuser.execute(definition.replace(CLOCK, "(SELECT shows FROM main.clock)").encode())

    def put(moment: datetime) -> None:
        with superuser.transaction():
            superuser.execute("DELETE FROM main.clock")
            superuser.execute("INSERT INTO main.clock VALUES (%s)", [moment])

    try:
        yield put
    finally:
        for (definition,) in functions:
            superuser.execute(definition.encode())
        superuser.execute("DROP TABLE main.clock")
