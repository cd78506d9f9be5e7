"""`rapport history`: what happened to a customer, over all streams, as a table."""

import json
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import httpx
from rich.markup import escape

from api.command_line.terminal import output, refuse_problem, service, table

PAGE = 100
DATA_WIDTH_MIN = 40
OTHER_COLUMNS_WIDTH = 96
"""What the other columns take; an event has one line where the terminal has room for it. --json shows all data."""


def run(given: Namespace) -> int:
    """Print the history of one customer."""
    with service(given) as client:
        events = _events(client, given)
        if given.json:
            for event in events:
                output().file.write(f"{json.dumps(event, ensure_ascii=False)}\n")
            return 0
        listed = table("position", "occurred", "recorded", "event", "by", "data", right=("position",))
        count = 0
        for event in events:
            count += 1
            listed.add_row(
                str(event["position"]),
                _moment(event["occurred_at"]),
                _moment(event["recorded_at"]),
                event["type"],
                event["actor_kind"],
                escape(_shortened(event["data"])),
            )
    output().print(listed)
    output().print(f"{count:,} events", style="dim")
    return 0


def _events(client: httpx.Client, given: Namespace) -> Iterator[dict[str, Any]]:
    parameters: dict[str, int] = {}
    if given.at_position is not None:
        parameters["at_position"] = given.at_position
    left = given.limit
    after = 0
    while left > 0:
        response = client.get(
            f"/v1/customers/{given.customer}/history", params={**parameters, "after": after, "limit": min(PAGE, left)}
        )
        refuse_problem(response)
        page = response.json()["events"]
        if not page:
            return
        yield from page
        left -= len(page)
        after = page[-1]["position"]


def _moment(text: str) -> str:
    return text[:16].replace("T", " ")


def _shortened(data: dict[str, Any]) -> str:
    said = {name: value for name, value in data.items() if value not in (None, [], {})}
    text = ", ".join(
        f"{name}: {value if isinstance(value, str) else json.dumps(value)}" for name, value in said.items()
    )
    room = max(DATA_WIDTH_MIN, output().width - OTHER_COLUMNS_WIDTH)
    return text if len(text) <= room else f"{text[: room - 1]}…"
