"""A small mapping that most of these tests start from: invoices of a mill, and the service that they go to."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from api.importing.mapping import CommandFields, ImportMapping
from api.importing.mapping_reader import read_mapping

INVOICES = """
name = "mill"

[columns]
invoice = "Invoice"
product = "Product"
quantity = { header = "Quantity", type = "integer" }
price = { header = "Price", type = "decimal" }
day = { header = "Day", type = "date" }
customer = { header = "Customer", default = "walk-in" }

[computed]
net = { product = ["quantity", "price"], places = 2 }

[documents]
by = ["invoice"]

[[first_seen]]
name = "customer"
by = ["customer"]
command = "register"
key = "mill/customer/{customer}"
already_there = ["number-is-taken"]
data = { number = "{customer}" }

[[commands]]
outcome = "credit line"
when = { invoice = { starts_with = "C" } }
command = "credit"
key = "mill/credit/{invoice}"
data = { number = "{invoice}", amount = { sum = "net" } }

[[commands]]
outcome = "invoice line"
command = "post"
key = "mill/invoice/{invoice}"

[commands.data]
number = "{invoice}"
customer = "mill:{customer}"
posted_on = { least = "day" }
lines.each_row = { line = "{line}", product = "{product}", quantity = "{quantity}", net = "{net}" }

[[special]]
name = "no customer"
when = { customer = "walk-in" }
how = "booked for the walk-in customer"
"""

HEADER = "Invoice,Product,Quantity,Price,Day,Customer\n"

COMMANDS: Mapping[str, CommandFields] = {
    "register": CommandFields(creates=True, required=frozenset({"number"}), optional=frozenset({"name"})),
    "post": CommandFields(
        creates=True, required=frozenset({"number", "customer", "lines"}), optional=frozenset({"posted_on", "source"})
    ),
    "credit": CommandFields(creates=True, required=frozenset({"number", "amount"}), optional=frozenset()),
    "open-case": CommandFields(creates=True, required=frozenset({"number"}), optional=frozenset({"opened_at"})),
    "assign-case": CommandFields(creates=False, required=frozenset({"team"}), optional=frozenset({"occurred_at"})),
    "close-case": CommandFields(creates=False, required=frozenset(), optional=frozenset({"occurred_at"})),
}
"""Commands of a service that is small enough to be seen at once."""


def mapping_of(folder: Path, text: str = INVOICES) -> ImportMapping:
    """The mapping with this text."""
    path = folder / "mapping.toml"
    path.write_text(text, "utf-8")
    return read_mapping(path, COMMANDS)


def file_of(folder: Path, *rows: str, header: str = HEADER, name: str = "file.csv") -> Path:
    """A file with these rows."""
    path = folder / name
    path.write_text(header + "".join(f"{row}\n" for row in rows), "utf-8")
    return path


Answer = Callable[[dict[str, object]], dict[str, object]]


@dataclass(slots=True)
class Mill:
    """A service that remembers every command by its key, answers as the bulk endpoint does, and can be told to fail.

    `before` is asked before each request; what it returns is answered instead. `refuse` names, for a key, the problem
    that it is refused with.
    """

    done: dict[str, dict[str, object]] = field(default_factory=dict)
    requests: list[list[str]] = field(default_factory=list)
    before: Callable[[int], httpx.Response | None] = lambda _number: None
    after: Callable[[int, httpx.Response], httpx.Response] = lambda _number, response: response
    refuse: dict[str, str] = field(default_factory=dict)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one bulk request."""
        lines = [json.loads(line) for line in request.content.splitlines()]
        number = len(self.requests)
        self.requests.append([line["key"] for line in lines])
        instead = self.before(number)
        if instead is not None:
            return instead
        answers = [self._answer(place, line) for place, line in enumerate(lines, start=1)]
        answers.append({"done": True, "lines": len(lines)})
        return self.after(number, httpx.Response(200, content="".join(f"{json.dumps(each)}\n" for each in answers)))

    def _answer(self, place: int, line: dict[str, object]) -> dict[str, object]:
        key = str(line["key"])
        if key in self.refuse:
            problem = {
                "type": f"urn:rapport:problem:{self.refuse[key]}",
                "detail": "No.",
                "errors": [{"pointer": "/number"}],
            }
            return {"line": place, "key": key, "status": 409, "problem": problem}
        if self.done.get(key, line) != line:
            problem = {"type": "urn:rapport:problem:key-is-used-for-another-request", "detail": "Another request."}
            return {"line": place, "key": key, "status": 422, "problem": problem}
        replayed = key in self.done
        self.done[key] = line
        return {"line": place, "key": key, "status": 200 if replayed else 201, "replayed": replayed}

    def client(self) -> httpx.Client:
        """A client of this service."""
        return httpx.Client(transport=httpx.MockTransport(self), base_url="http://mill")

    def data(self, key: str) -> object:
        """What a command carried."""
        return self.done[key]["data"]
