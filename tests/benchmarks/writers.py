"""Two API processes on the same few streams, with writers that ask others to wait when they are overtaken and without.

Without it, who has just appended is ready first again, and the other process is kept from a busy stream for a while:
the rate says little about that, the slowest answers do.
"""

import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle, islice
from uuid import uuid4

import httpx

from tests.benchmarks.commands import customer_fields
from tests.benchmarks.load import Measured, load, post
from tests.benchmarks.service import RunningService, rapport
from tests.benchmarks.table import Row

CLIENTS = 64
ROUNDS = 5
"""Each is measured so often, in turn; the median counts: the machine is shared."""
STREAMS = (1, 4, 16, 256)
ASKING, NEVER = "asking others to wait", "never asking"


def two_processes(requests: int) -> Iterator[Row]:
    """Throughput and latency of notes about few customers and about many."""
    with ExitStack() as stack:
        contenders = {}
        for name, alteration in ((ASKING, None), (NEVER, "never-asks-others-to-wait")):
            options = ("--api-processes", "2", "--projector-processes", "0")
            service = stack.enter_context(rapport(*options, alteration=alteration))
            key = service.key("service")
            contenders[name] = service, key, _customers(service, key)
        for streams in STREAMS:
            measured: dict[str, list[Measured]] = {name: [] for name in contenders}
            for turn in range(ROUNDS):
                for name in sorted(contenders, reverse=bool(turn % 2)):
                    service, key, customers = contenders[name]
                    measured[name].append(load(service.port, _notes(customers[:streams], key, requests), CLIENTS))
            yield from _rows(streams, measured)


def _customers(service: RunningService, key: str) -> Sequence[str]:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{service.port}", headers={"Authorization": f"Bearer {key}"}
    ) as client:
        ids = []
        for _ in range(max(STREAMS)):
            answer = client.post("/v1/customers", json=customer_fields(), headers={"Idempotency-Key": str(uuid4())})
            ids.append(answer.raise_for_status().json()["id"])
        return ids


def _notes(customers: Sequence[str], key: str, requests: int) -> list[bytes]:
    body = json.dumps({"channel": "phone", "direction": "inbound", "summary": "The flour clumps again."}).encode()
    return [
        post(f"/v1/customers/{customer}/record-interaction", body, key, lambda: {"Idempotency-Key": str(uuid4())})
        for customer in islice(cycle(customers), requests)
    ]


def _rows(streams: int, measured: dict[str, list[Measured]]) -> Iterator[Row]:
    rates = {name: statistics.median(each.per_second for each in all_) for name, all_ in measured.items()}
    for name, all_ in measured.items():
        slowest = [statistics.median(each.percentile(share) for each in all_) for share in (0.5, 0.99)]
        refused = sum(number for each in all_ for status, number in each.statuses.items() if status != httpx.codes.OK)
        yield Row(
            f"{streams:>3} streams, {name}",
            rates[name],
            "commands/s",
            rates[name] / rates[NEVER],
            NEVER,
            f"p50 {slowest[0]:.0f} ms, p99 {slowest[1]:.0f} ms, "
            f"slowest {1_000 * max(each.latencies[-1] for each in all_):.0f} ms; {refused} refused",
        )
