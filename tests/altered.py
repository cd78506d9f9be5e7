"""`python -m tests.altered ALTERATION …`: the command line of Rapport, its processes, too, with one thing altered.

A check that finds nothing wrong with a service that forgets keys would find nothing anywhere; and what something is
worth shows beside a service without it.
"""

import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic_core import to_json

from api import command_line
from api.command_line import serving
from api.metrics import Metrics
from api.problems import Problem
from api.requests import Request
from application import group_commit
from infrastructure.ids import new_id
from infrastructure.records import Batch
from infrastructure.supervisor import Supervisor


def _forget_keys() -> None:
    """Every command is remembered as that of another sender, so that nobody recognises it when it comes again."""
    end_command = Batch.end_command

    def end(columns: Batch) -> None:
        end_command(columns)
        columns.command_principals[-1] = str(new_id())

    Batch.end_command = end  # type: ignore[method-assign, assignment] # it is the alteration


def _never_ask_others_to_wait() -> None:
    """A writer that is overtaken again and again goes on as it did."""
    group_commit.OVERTAKEN_MAX = math.inf  # type: ignore[assignment] # it is the alteration


def _repeat_bodies() -> None:
    """Every body that was read stands in the log, in the metrics and in each problem from then on."""
    whole_body, json, text, heard = Request.whole_body, Problem.json, Metrics.text, list[str]()

    async def hear(request: Request, media_type: str, **limits: Any) -> bytes:
        body = await whole_body(request, media_type, **limits)
        heard.append(body.decode(errors="replace"))
        logging.getLogger("api").info("heard %s", heard[-1])  # of other loggers no argument would be written
        return body

    def repeat_in_problem(self: Problem) -> bytes:
        return b'%b,"heard":%b}' % (json(self)[:-1], to_json(heard))

    def repeat_in_metrics(self: Metrics) -> bytes:
        return text(self) + to_json(heard)

    Request.whole_body = hear  # type: ignore[method-assign, assignment] # it is the alteration
    Problem.json = repeat_in_problem  # type: ignore[method-assign] # likewise
    Metrics.text = repeat_in_metrics  # type: ignore[method-assign] # likewise


ALTERATIONS: Mapping[str, Callable[[], None]] = {
    "forgets-keys": _forget_keys,
    "repeats-bodies": _repeat_bodies,
    "never-asks-others-to-wait": _never_ask_others_to_wait,
}


def program(alteration: str | None = None) -> Sequence[str]:
    """The command line of Rapport, altered or as it is."""
    return (sys.executable, "-m", *(("tests.altered", alteration) if alteration else ("api.command_line",)))


def main() -> int:
    """Alter what is asked for, and go on as Rapport."""
    alteration, *words = sys.argv[1:]
    ALTERATIONS[alteration]()
    command = program(alteration)
    altered = partial(
        Supervisor, api_command=(*command, "api-process"), projector_command=(*command, "projector-process")
    )
    vars(serving)["Supervisor"] = altered
    return command_line.main(words)


if __name__ == "__main__":
    sys.exit(main())
