"""`python -m tests.chaos [SCENARIO …]`: run scenarios at length, each on a service of its own, and print figures."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TypeAlias

from application.commands import Role
from tests.chaos.crashes import VICTIMS, Victim, killed_again_and_again
from tests.chaos.cuts import cut_off
from tests.chaos.examination import examine, examine_read_models, read_log
from tests.chaos.figures import Figure, broken, show
from tests.chaos.load import Load, load
from tests.chaos.outages import OUTAGES, CannotBeMade, Outage, out_for, small_disk
from tests.chaos.reports import asked_now
from tests.chaos.requests import Sent
from tests.chaos.rolling import PROCESSES, rolled
from tests.chaos.service import NothingCameAbout, ServiceUnderTest, data_folder, serving

CYCLES = 50
OUTAGE_SECONDS = 75
"""A minute and some more: whoever waits twice as long after each attempt is in a pause of another minute then."""
CUTS = 400
ASKS = 400
"""As many as were asked when every second answer changed."""

Scenario: TypeAlias = Callable[[ServiceUnderTest, Load, argparse.Namespace], Awaitable[list[Figure]]]


def _kill(victim: Victim) -> Scenario:
    return lambda service, clients, given: killed_again_and_again(service, clients, victim, given.cycles)


def _outage(outage: Outage) -> Scenario:
    return lambda service, clients, given: out_for(service, clients, outage, given.seconds)


SCENARIOS: Mapping[str, Scenario] = {
    **{name: _kill(victim) for name, victim in VICTIMS.items()},
    **{name: _outage(outage) for name, outage in OUTAGES.items()},
    "cut-clients": lambda service, clients, given: cut_off(service, clients, given.cuts),
    "ask-reports": lambda _service, clients, given: asked_now(clients, given.asks),
    "roll": lambda service, clients, given: rolled(service, clients, given.cycles),
}


def run(name: str, given: argparse.Namespace) -> list[Figure]:
    """Run one scenario on a service of its own, and examine its log and its read models afterwards."""
    sent: list[Sent] = []
    options = ("--api-processes", str(PROCESSES)) if name == "roll" else ()
    with ExitStack() as stack:
        data = stack.enter_context(data_folder())
        if name == "fill-disk":
            stack.enter_context(small_disk(data))
        service = stack.enter_context(serving(data, *options))

        async def under_load() -> list[Figure]:
            async with load(service.address, service.key(Role.SERVICE), name) as clients:
                figures = await SCENARIOS[name](service, clients, given)
                sent.extend(clients.sent)
                return figures

        figures = asyncio.run(under_load())
        log = read_log(service.databases.service)
        return [*figures, *examine(log, sent), *examine_read_models(service)]


def main() -> int:
    """Run the scenarios that are asked for, or all; 1 if a figure is not what it must be."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"{', '.join(SCENARIOS)}; default: all")
    amount = partial(parser.add_argument, type=int)
    amount("--cycles", default=CYCLES, help=f"kills of each kind, and restarts, default {CYCLES}")
    amount("--seconds", default=OUTAGE_SECONDS, help=f"of each outage, default {OUTAGE_SECONDS}")
    amount("--cuts", default=CUTS, help=f"connections of clients that are cut, default {CUTS}")
    amount("--asks", default=ASKS, help=f"reports that are asked, default {ASKS}")
    given = parser.parse_args()
    unknown = set(given.scenarios) - SCENARIOS.keys()
    if unknown:
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
    failed = []
    for name in given.scenarios or SCENARIOS:
        try:
            figures = run(name, given)
        except (CannotBeMade, NothingCameAbout) as error:
            failed.append(f"{name}: {error}")
            continue
        show(name, figures)
        sys.stdout.flush()
        failed += [f"{name}: {figure.name}" for figure in broken(figures)]
    for failure in failed:
        sys.stderr.write(f"{failure}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
