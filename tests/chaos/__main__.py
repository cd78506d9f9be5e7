"""`python -m tests.chaos [SCENARIO …]`: run scenarios at length, each on a service of its own, and print figures."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from application.commands import Role
from tests.chaos.crashes import VICTIMS, killed_again_and_again
from tests.chaos.figures import Figure, broken, show
from tests.chaos.load import load
from tests.chaos.outages import OUTAGES, out_for, small_disk
from tests.chaos.rolling import PROCESSES, rolled
from tests.chaos.service import data_folder, serving

CYCLES = 50
OUTAGE_SECONDS = 60

Scenario = Callable[[argparse.Namespace], list[Figure]]


def _kill(name: str) -> Scenario:
    def run(given: argparse.Namespace) -> list[Figure]:
        with data_folder() as data, serving(data) as service:

            async def under_load() -> list[Figure]:
                async with load(service.address, service.key(Role.SERVICE), name) as clients:
                    return await killed_again_and_again(service, clients, VICTIMS[name], given.cycles)

            return asyncio.run(under_load())

    return run


def _outage(name: str) -> Scenario:
    def run(given: argparse.Namespace) -> list[Figure]:
        with ExitStack() as stack:
            data = stack.enter_context(data_folder())
            if name == "fill-disk":
                stack.enter_context(small_disk(data))
            service = stack.enter_context(serving(data))

            async def under_load() -> list[Figure]:
                async with load(service.address, service.key(Role.SERVICE), name) as clients:
                    return await out_for(service, clients, OUTAGES[name], given.seconds)

            return asyncio.run(under_load())

    return run


def _roll(given: argparse.Namespace) -> list[Figure]:
    with data_folder() as data, serving(data, "--api-processes", str(PROCESSES)) as service:

        async def under_load() -> list[Figure]:
            async with load(service.address, service.key(Role.SERVICE), "roll") as clients:
                return await rolled(service, clients, given.cycles)

        return asyncio.run(under_load())


SCENARIOS: Mapping[str, Scenario] = {
    **{name: _kill(name) for name in VICTIMS},
    **{name: _outage(name) for name in OUTAGES},
    "roll": _roll,
}


def main() -> int:
    """Run the scenarios that are asked for, or all; 1 if a figure is not what it must be."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--cycles", type=int, default=CYCLES, help=f"kills of each kind, default {CYCLES}")
    parser.add_argument("--seconds", type=int, default=OUTAGE_SECONDS, help=f"of each outage, default {OUTAGE_SECONDS}")
    given = parser.parse_args()
    unknown = set(given.scenarios) - SCENARIOS.keys()
    if unknown:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
    failed = []
    for name in given.scenarios or SCENARIOS:
        figures = SCENARIOS[name](given)
        show(name, figures)
        failed += [f"{name}: {figure.name}" for figure in broken(figures)]
    for failure in failed:
        sys.stderr.write(f"{failure}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
