"""Single and bulk commands over HTTP, beside a route that does nothing, the stock library, and a bare INSERT."""

import json
import re
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from uuid import uuid4

import psycopg

from infrastructure.embedded_postgres import administrator_of, make_database
from tests.benchmarks import rivals
from tests.benchmarks.load import Measured, load, post
from tests.benchmarks.service import RunningService, asgi, rapport
from tests.benchmarks.table import Row

DO_NOTHING = "do-nothing FastAPI route"
STOCK = "stock eventsourcing behind FastAPI"
ROUNDS = 3
"""Each contender is measured so often, in turn; the median counts: the machine is shared."""
_LINES_MAX = 20_000
"""Lines of a bulk request."""
_numbers = count(1)


def customer_fields() -> dict[str, str]:
    """A person with one encrypted field, as the design's measurement has it."""
    return {
        "customer_number": f"B-{next(_numbers)}",
        "kind": "person",
        "relationship": "customer",
        "name": "Ada Lovelace",
        "language": "en",
        "currency": "EUR",
        "country": "GB",
    }


def registrations(path: str, key: str, requests: int) -> list[bytes]:
    """Requests that register a new customer each."""
    bodies = (json.dumps(customer_fields()).encode() for _ in range(requests))
    return [post(path, body, key, lambda: {"Idempotency-Key": str(uuid4())}) for body in bodies]


_SECOND = "Charles Babbage"
"""Who comes with a number that somebody has."""


def conflicting(key: str, requests: int, share: float = 0.01) -> list[bytes]:
    """The same, a share of them with a number that is taken: the log is asked whether that is still so."""
    every = round(1 / share)
    taken = json.dumps({**customer_fields(), "customer_number": "B-1", "name": _SECOND}).encode()
    made = registrations("/v1/customers", key, requests)
    for i in range(every - 1, requests, every):
        made[i] = post("/v1/customers", taken, key, lambda: {"Idempotency-Key": str(uuid4())})
    return made


def single_commands(requests: int) -> Iterator[Row]:
    """Throughput and latency of single commands at 1, 16 and 64 clients."""
    with ExitStack() as stack:
        service = stack.enter_context(rapport("--projector-processes", "0"))
        key = service.key("service")
        url = administrator_of(service.data)
        make_database(url, "stock")
        parts = psycopg.conninfo.conninfo_to_dict(url)
        idle = stack.enter_context(asgi("tests.benchmarks.rivals:do_nothing"))
        stock = stack.enter_context(
            asgi(
                "tests.benchmarks.rivals:stock",
                "--factory",
                PERSISTENCE_MODULE="eventsourcing.postgres",
                POSTGRES_DBNAME="stock",
                POSTGRES_HOST=str(parts["host"]),
                POSTGRES_PORT=str(parts.get("port") or "5432"),
                POSTGRES_USER=str(parts["user"]),
                POSTGRES_PASSWORD=str(parts["password"]),
            )
        )
        measure(service.port, registrations("/v1/customers", key, 500), 16)  # everything warm, prepared and cached
        for clients in (1, 16, 64):
            size = requests // 10 if clients == 1 else requests
            contenders = {
                DO_NOTHING: partial(_contend, idle, partial(registrations, "/customers", rivals.KEY), clients),
                STOCK: partial(_contend, stock, partial(_fewer, "/customers", rivals.KEY), clients),
                "Rapport": partial(_contend, service.port, partial(registrations, "/v1/customers", key), clients),
                "Rapport, 1 % conflicting": partial(_contend, service.port, partial(conflicting, key), clients),
            }
            measured = {name: [contend(size)] for name, contend in contenders.items()}
            for _ in range(ROUNDS - 1):
                for name, contend in contenders.items():
                    measured[name].append(contend(size))
            rates = {name: statistics.median(m.per_second for m in all_) for name, all_ in measured.items()}
            for name, all_ in measured.items():
                yield Row(
                    f"{clients:>2} clients: {name}",
                    rates[name],
                    "commands/s",
                    rates[name] / rates[DO_NOTHING],
                    "do nothing",
                    f"p50 {statistics.median(m.percentile(0.5) for m in all_):.1f} ms, "
                    f"p99 {statistics.median(m.percentile(0.99) for m in all_):.1f} ms"
                    + (
                        f"; {rates[name] / rates['stock eventsourcing behind FastAPI']:.1f} x stock"
                        if "Rap" in name
                        else ""
                    ),
                )


def _fewer(path: str, key: str, requests: int) -> list[bytes]:
    """The stock library gets a fifth of the work: its rate shows as well."""
    return registrations(path, key, requests // 5)


def _contend(port: int, make: Callable[[int], list[bytes]], clients: int, requests: int) -> Measured:
    return measure(port, make(requests), clients)


def measure(port: int, requests: list[bytes], clients: int) -> Measured:
    """Send requests; all of them are accepted, but for those of `conflicting`."""
    measured = load(port, requests, clients)
    refused = sum(_SECOND.encode() in request for request in requests)
    if measured.statuses.get(409, 0) != refused or not measured.statuses.keys() <= {201, 409}:
        msg = f"unexpected answers: {measured.statuses}"
        raise RuntimeError(msg)
    return measured


def bulk(lines: int) -> Iterator[Row]:
    """Bulk commands over HTTP beside a bare batched INSERT of the same rows into the same table with its indexes."""
    with rapport("--projector-processes", "0") as service:
        key = service.key("importer")
        rates, bare = [], []
        for _ in range(ROUNDS):
            rates.append(lines / stream(service.port, _bulk(key, lines)))
            bare.append(_bare_insert(administrator_of(service.data), lines))
        rate, insert = statistics.median(rates), statistics.median(bare)
        yield Row(
            "bare batched INSERT, same table and indexes", insert, "events/s", 1.0, "bare INSERT", "256 rows each"
        )
        yield Row("bulk commands over HTTP", rate, "commands/s", rate / insert, "bare INSERT", "goal 0.5")


def _bulk(key: str, lines: int) -> bytes:
    """A bulk request that registers a new customer by each line."""
    body = b"".join(
        json.dumps({"key": str(uuid4()), "command": "register-customer", "data": customer_fields()}).encode() + b"\n"
        for _ in range(lines)
    )
    return post("/v1/commands", body, key).replace(b"application/json", b"application/x-ndjson", 1)


def memory(commands: int) -> Iterator[Row]:
    """The memory of the API process before and after so many commands, sent in bulk."""
    with rapport("--projector-processes", "0") as service:
        key = service.key("importer")
        yield Row("memory of the API process, started", _resident_megabytes(service), "MB")
        for first in range(0, commands, _LINES_MAX):
            lines = min(_LINES_MAX, commands - first)
            stream(service.port, _bulk(key, lines))
        remark = "goal 250 MB after 10 million commands"
        yield Row(f"after {commands:,} commands", _resident_megabytes(service), "MB", None, "", remark)


def _resident_megabytes(service: RunningService) -> float:
    """The resident memory of the API process. Raises `LookupError` if it cannot be found."""
    for entry in Path("/proc").iterdir():
        is_ours = b"api-process" in _read(entry / "cmdline") and str(service.data).encode() in _read(entry / "environ")
        if is_ours and (resident := re.search(rb"VmRSS:\s+(\d+) kB", _read(entry / "status"))):
            return int(resident[1]) / 1024
    message = "the API process is not there"
    raise LookupError(message)


def _read(file: Path) -> bytes:
    """What is in a file of a process; nothing if it has ended meanwhile."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def stream(port: int, request: bytes) -> float:
    """Seconds until a streamed answer to one request has ended."""
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        started = time.perf_counter()
        sender = threading.Thread(target=connection.sendall, args=(request,))
        sender.start()
        tail = b""
        while not tail.endswith(b"0\r\n\r\n"):
            received = connection.recv(1 << 20)
            if not received:
                msg = "the answer ended early"
                raise RuntimeError(msg)
            tail = (tail + received)[-200:]
        sender.join()
        seconds = time.perf_counter() - started
    counts = [int(count) for count in re.findall(rb'"(?:refused|invalid|failed)":(\d+)', tail)]
    if b'"done":true' not in tail or len(counts) != len(("refused", "invalid", "failed")) or any(counts):
        msg = f"not everything was accepted: {tail!r}"
        raise RuntimeError(msg)
    return seconds


def _bare_insert(administrator: str, rows: int) -> float:
    """Rows of the log as they are, sent from here as arrays into a table like it, in batches of 256 with a commit each.

    Sending them is all it does: no head row, no look for known commands, streams or claims.
    """
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS bare")
        connection.execute("CREATE TABLE bare (LIKE main.events INCLUDING ALL)")
        described = connection.execute("SELECT * FROM main.events ORDER BY position LIMIT %s", (rows,))
        columns = [column.name for column in described.description or ()]
        batches = [list(zip(*part, strict=True)) for part in _parts(described.fetchall(), 256)]
        arrays = [[_array(column) for column in batch] for batch in batches]
        types: dict[str, str] = dict(
            connection.execute(
                "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute "
                "WHERE attrelid = 'main.events'::regclass AND attnum > 0"
            ).fetchall()
        )
        listed = ", ".join(columns)
        values = ", ".join(f"%s::{types[column]}[]" for column in columns)
        statement = f"INSERT INTO bare ({listed}) SELECT * FROM unnest({values})"
        started = time.perf_counter()
        for batch in arrays:
            connection.execute(statement, batch, prepare=True)
        return rows / (time.perf_counter() - started)


def _parts(rows: list[tuple[object, ...]], size: int) -> Iterator[list[tuple[object, ...]]]:
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


def _array(values: tuple[object, ...]) -> str:
    return "{" + ",".join("NULL" if value is None else _element(value) for value in values) + "}"


def _element(value: object) -> str:
    text = "\\x" + value.hex() if isinstance(value, bytes) else str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
