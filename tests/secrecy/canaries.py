"""Canaries: values that stand nowhere else, one for each personal field, made from the registry of events.

Each begins with a mark that a search finds, and goes on with a number that tells which field it was in.
"""

import dataclasses
from collections.abc import Iterator
from itertools import count
from typing import Any

from infrastructure.codec import PersonalField, personal_fields
from infrastructure.event_types import EVENT_TYPES, EventType
from tests.golden.examples import EXAMPLES

MARK = "kanarienvogel"
DIGITS = "7351946028"
"""The mark of a canary that has to be a number."""
MARKS = (MARK, MARK.upper(), DIGITS)
NUMBER_DIGITS = 4
AWKWARD = 'Zoë "the \\ bird" & co/ä'
"""What is written in other ways in JSON, in addresses and in other encodings."""
LONG = "It sings and sings. " * 250
"""Makes a text longer than what Postgres keeps in a page without packing it."""


class Aviary:
    """Makes canaries, numbered from `first` on, and knows where each one is."""

    def __init__(self, first: int = 1) -> None:
        self.places: dict[int, str] = {}
        self.values: list[str] = []
        self._numbers = count(first)

    def line(self, place: str) -> str:
        """One line of text."""
        return self._made(place, MARK, after=f" {AWKWARD}")

    def text(self, place: str) -> str:
        """A long text with the canary at its end."""
        return self._made(place, MARK, before=f"{AWKWARD}\n{LONG}\n")

    def email(self, place: str) -> str:
        """An e-mail address."""
        return self._made(place, MARK, after=".ë@zoo.example")

    def phone(self, place: str) -> str:
        """A telephone number."""
        return self._made(place, DIGITS, before="+49 ")

    def vat_id(self, place: str) -> str:
        """A VAT id."""
        return self._made(place, MARK.upper(), before="GB")

    def _made(self, place: str, mark: str, *, before: str = "", after: str = "") -> str:
        number = next(self._numbers)
        value = f"{before}{mark}{number:0{NUMBER_DIGITS}}{after}"
        self.places[number] = place
        self.values.append(value)
        return value


def personal_places(event_type: EventType) -> list[str]:
    """Every personal field of an event, as the name of the event and the path of the field."""
    return [_place(event_type, each) for each in personal_fields(event_type.event)]


def all_personal_places() -> set[str]:
    """Every personal field of every event."""
    return {place for event_type in EVENT_TYPES.types for place in personal_places(event_type)}


def events_with(aviary: Aviary) -> Iterator[tuple[EventType, object]]:
    """One event of each class that has personal fields, with a canary in each of them, in the order of the registry."""
    for event_type in EVENT_TYPES.types:
        fields = list(personal_fields(event_type.event))
        if fields:
            yield event_type, _filled(event_type, fields, aviary)


def _filled(event_type: EventType, fields: list[PersonalField], aviary: Aviary) -> object:
    """The example that says most, with a canary in place of each personal value; every field must have one."""
    examples = [each for each in EXAMPLES if type(each) is event_type.event]
    event: Any = max(examples, key=lambda each: sum(_values(each, field.path) for field in fields))
    for field in fields:
        assert _values(event, field.path), f"no example has a value in {_place(event_type, field)}"
        event = _replaced(event, field.path, aviary, _place(event_type, field))
    return event


def _place(event_type: EventType, field: PersonalField) -> str:
    return f"{event_type.name} {'.'.join(field.path)}"


def _values(value: Any, path: tuple[str, ...]) -> int:
    """How many values an event has at a path."""
    if value is None or not path:
        return value is not None
    if path[0] == "*":
        return sum(_values(item, path[1:]) for item in value)
    return _values(getattr(value, path[0]), path[1:])


def _replaced(value: Any, path: tuple[str, ...], aviary: Aviary, place: str) -> Any:
    """The same with a canary for each value at a path."""
    if not path:
        return aviary.line(place)
    if path[0] == "*":
        return tuple(_replaced(item, path[1:], aviary, place) for item in value)
    return dataclasses.replace(value, **{path[0]: _replaced(getattr(value, path[0]), path[1:], aviary, place)})
