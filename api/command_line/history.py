"""`rapport history`: what happened to a customer, over all streams, as a table."""

import json
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import httpx
from rich.markup import escape

from api.command_line.terminal import messages, output, refuse_problem, service, table

PAGE = 100
DATA_WIDTH_MIN = 40
OTHER_COLUMNS_WIDTH = 96
"""What the other columns take; an event has one line where the terminal has room for it. --json shows all data."""


def run(given: Namespace) -> int:
    """Print the history of one customer."""
    with service(given) as client:
        history = _History(client, given)
        if given.json:
            for event in history:
                output().file.write(f"{json.dumps(event, ensure_ascii=False)}\n")
        else:
            _print(history)
    if history.goes_on:
        messages().print(f"cut off at {given.limit:,} events, and there are more: --limit N shows N of them")
    return 0


def _print(history: "_History") -> None:
    listed = table("position", "occurred", "recorded", "event", "by", "data", right=("position",))
    for event in history:
        listed.add_row(
            str(event["position"]),
            _moment(event["occurred_at"]),
            _moment(event["recorded_at"]),
            event["type"],
            event["actor_kind"],
            escape(_shortened(event["data"])),
        )
    output().print(listed)
    output().print(f"{listed.row_count:,} events", style="dim")


class _History:
    """The events that were asked for."""

    def __init__(self, client: httpx.Client, given: Namespace) -> None:
        self._client = client
        self._given = given
        self.goes_on = False
        """Whether there are more of them; known at the end."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        parameters: dict[str, int] = {}
        if self._given.at_position is not None:
            parameters["at_position"] = self._given.at_position
        left, after, self.goes_on = self._given.limit, 0, True
        while left > 0 and self.goes_on:
            response = self._client.get(
                f"/v1/customers/{self._given.customer}/history",
                params={**parameters, "after": after, "limit": min(PAGE, left)},
            )
            refuse_problem(response)
            page = response.json()
            yield from page["events"]
            left -= len(page["events"])
            after, self.goes_on = page["after"], page["more"]


def _moment(text: str) -> str:
    return text[:16].replace("T", " ")


def _shortened(data: dict[str, Any]) -> str:
    said = {name: value for name, value in data.items() if value not in (None, [], {})}
    text = ", ".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in said.items()
    )
    room = max(DATA_WIDTH_MIN, output().width - OTHER_COLUMNS_WIDTH)
    return text if len(text) <= room else f"{text[: room - 1]}…"
