"""Events are a public contract: explicit names, plain shapes, and a state that takes every one of them."""

import dataclasses
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NewType, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from application.aggregates import Aggregate
from domain.values import ERASED, Erased, Exact, Money, Personal
from domain.working_hours import Interval, ZoneName
from infrastructure.codec import EventCodec
from infrastructure.event_types import EVENT_TYPES, EventType
from tests.contracts.registries import AGGREGATES
from tests.golden.examples import EXAMPLES
from tests.golden.files import CODEC
from tests.golden.keys import find_key, subject_key, text_key

ENVELOPE = {
    *("position", "stream_id", "version", "type", "schema_version", "occurred_at", "recorded_at"),
    *("actor", "actor_kind", "on_behalf_of", "reason", "source_recorded_at"),
    *("command_id", "correlation_id", "causation_id"),
}
IRREGULAR_PAST = {"begun", "given", "left", "lost", "met", "paid", "put", "sent", "split", "withdrawn", "won"}
PLACE = CODEC.place(UUID("019a0000-0000-7000-8000-0000000000aa"), 1)

each_event_type = pytest.mark.parametrize("event_type", EVENT_TYPES.types, ids=lambda each: each.name)
each_aggregate = pytest.mark.parametrize("aggregate", AGGREGATES.values(), ids=lambda each: each.name)


def parts(hint: Any) -> Iterator[Any]:
    """A type and every type inside it: arguments, metadata, and the fields of dataclasses."""
    yield hint
    if get_origin(hint) is Annotated:
        yield from hint.__metadata__
    if isinstance(hint, NewType):
        yield from parts(hint.__supertype__)
    for argument in get_args(hint):
        yield from parts(argument)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        for field in get_type_hints(hint, include_extras=True).values():
            yield from parts(field)


def events_of(aggregate: Aggregate[Any]) -> set[type]:
    """The events that the `evolve` of an aggregate says it takes."""
    taken = get_type_hints(aggregate.evolve)["event"]
    return set(get_args(taken)) or {taken}


def begins_a_stream(aggregate: Aggregate[Any], event: object) -> bool:
    """Whether a stream may begin with this event."""
    try:
        return isinstance(aggregate.evolve(None, event), aggregate.state)
    except (ValueError, TypeError, AttributeError):
        return False


@each_aggregate
def test_every_event_is_registered(aggregate: Aggregate[Any]) -> None:
    registered = {each.event for each in EVENT_TYPES.types if each.aggregate == aggregate.name}
    assert events_of(aggregate) == registered


@each_event_type
def test_every_event_belongs_to_an_aggregate(event_type: EventType) -> None:
    assert event_type.aggregate in AGGREGATES


@each_event_type
def test_every_event_is_accepted_by_its_evolve(event_type: EventType) -> None:
    aggregate = AGGREGATES[event_type.aggregate]
    beginnings = [event for event in EXAMPLES if type(event) in events_of(aggregate)]
    beginnings = [event for event in beginnings if begins_a_stream(aggregate, event)]
    examples = [event for event in EXAMPLES if type(event) is event_type.event]
    assert beginnings
    assert examples
    for event in examples:
        if not begins_a_stream(aggregate, event):
            assert isinstance(aggregate.evolve(aggregate.evolve(None, beginnings[0]), event), aggregate.state)


@each_aggregate
def test_no_state_has_a_personal_field(aggregate: Aggregate[Any]) -> None:
    assert [part for part in parts(aggregate.state) if part is Erased or isinstance(part, Personal)] == []


@each_aggregate
def test_a_state_cannot_be_changed(aggregate: Aggregate[Any]) -> None:
    assert aggregate.state.__dataclass_params__.frozen


@each_event_type
def test_an_event_is_immutable_and_named_field_by_field(event_type: EventType) -> None:
    assert event_type.event.__dataclass_params__.frozen
    assert hasattr(event_type.event, "__slots__")
    assert all(field.kw_only for field in dataclasses.fields(event_type.event))


@each_event_type
def test_an_event_says_nothing_that_its_envelope_says(event_type: EventType) -> None:
    assert {field.name for field in dataclasses.fields(event_type.event)} & ENVELOPE == set()


@each_event_type
def test_what_may_be_absent_from_an_event_is_absent_unless_it_is_given(event_type: EventType) -> None:
    required = [
        f"{holder.__name__}.{field.name}"
        for holder in {event_type.event, *parts(event_type.event)}
        if isinstance(holder, type) and dataclasses.is_dataclass(holder)
        for field in dataclasses.fields(holder)
        if types.NoneType in get_args(get_type_hints(holder)[field.name]) and field.default is dataclasses.MISSING
    ]
    assert required == []


@each_event_type
def test_no_event_can_hold_a_float(event_type: EventType) -> None:
    assert float not in list(parts(event_type.event))


@each_event_type
def test_decimals_of_an_event_travel_as_text(event_type: EventType) -> None:
    exact = [part for part in parts(event_type.event) if get_origin(part) is Annotated and Decimal in get_args(part)]
    assert all(any(isinstance(extra, Exact) for extra in part.__metadata__) for part in exact)
    assert [part for part in parts(event_type.event) if part is Decimal] == [Decimal] * len(exact)


@each_event_type
def test_an_event_holds_only_what_has_a_shape_and_cannot_be_changed(event_type: EventType) -> None:
    shapeless = {dict, list, set, bytes, object, Any}
    held = list(parts(event_type.event))
    assert [part for part in held if part in shapeless or get_origin(part) in shapeless] == []


def test_stored_names_are_unique() -> None:
    names = [each.name for each in EVENT_TYPES.types]
    assert sorted(set(names)) == sorted(names)


@each_event_type
def test_a_stored_name_is_the_aggregate_and_something_past(event_type: EventType) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*", event_type.name)
    words = event_type.name.partition(".")[2].split("-")
    assert any(word.endswith("ed") or word in IRREGULAR_PAST for word in words)


def test_stored_names_are_spelled_right() -> None:
    names = "\n".join(re.sub(r"[.-]", " ", each.name) for each in EVENT_TYPES.types)
    codespell = [str(Path(sys.executable).with_name("codespell")), "-"]
    result = subprocess.run(codespell, input=names, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


@each_event_type
def test_every_older_version_has_an_upcaster(event_type: EventType) -> None:
    assert set(event_type.upcasters) == set(range(1, event_type.schema_version))


@each_event_type
def test_the_schema_of_an_event_is_generated_with_every_field_described(event_type: EventType) -> None:
    codec = CODEC.named(event_type.name)
    fields = {field.name for field in dataclasses.fields(event_type.event)}
    for schema in (codec.plain_schema(), codec.stored_schema()):
        assert set(schema.get("properties", {})) == fields


def values(hint: Any) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one answer for each kind of type
    """Any value that a field of an event may hold, never an erased one: nobody records that."""
    if hint in SHAPED:
        return SHAPED[hint]
    if isinstance(hint, NewType):
        return values(hint.__supertype__)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        exact = [extra for extra in hint.__metadata__ if isinstance(extra, Exact)]
        return decimals(exact[0]) if exact else values(arguments[0])
    if origin in (Union, types.UnionType):
        return st.one_of(*(values(each) for each in arguments if each is not Erased))
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if hint is Money:
        return st.builds(Money, amount=decimals(Exact()), currency=st.sampled_from(["EUR", "GBP", "JPY"]))
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return st.builds(
            hint, **{name: values(each) for name, each in get_type_hints(hint, include_extras=True).items()}
        )
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    return SCALARS[hint]


def decimals(exact: Exact) -> st.SearchStrategy[Decimal]:
    """Decimals within the bounds of their field, trailing zeros included."""
    places = st.integers(0, exact.places)
    return places.flatmap(
        lambda digits: st.integers(-(10 ** (exact.digits + digits)) + 1, 10 ** (exact.digits + digits) - 1).map(
            lambda unscaled: Decimal(unscaled).scaleb(-digits)
        )
    )


SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(codec="utf-8"), max_size=40),
    int: st.integers(-(2**53), 2**53),
    bool: st.booleans(),
    date: st.dates(),
    datetime: st.datetimes(timezones=st.just(UTC)).map(lambda instant: instant.replace(fold=0)),
    UUID: st.uuids(),
    types.NoneType: st.none(),
}


SHAPED: dict[Any, st.SearchStrategy[Any]] = {
    Interval: st.sampled_from([Interval(opens="09:00", closes="12:00:30"), Interval(opens="00:00", closes="24:00")]),
    ZoneName: st.sampled_from(["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"]),
}
"""Values whose texts are not any texts."""


EVENTS = {each.name: values(each.event) for each in EVENT_TYPES.types}


def stored_and_read(codec: EventCodec, event: object) -> object:
    """The event after a way through the log."""
    encoded = codec.encode(event, PLACE, subject_key, text_key)
    return codec.decode(encoded.body, encoded.schema_version, PLACE, find_key)


@each_event_type
@given(data=st.data())
@settings(max_examples=25)
def test_what_was_stored_is_what_is_read(event_type: EventType, data: st.DataObject) -> None:
    event = data.draw(EVENTS[event_type.name])
    read = stored_and_read(CODEC.named(event_type.name), event)
    assert read == event
    assert repr(read) == repr(event)  # 1.50 and 1.5 are equal, and yet not the same on paper


@each_event_type
@given(data=st.data())
@settings(max_examples=5)
def test_an_erased_event_still_evolves(event_type: EventType, data: st.DataObject) -> None:
    aggregate = AGGREGATES[event_type.aggregate]
    codec = CODEC.named(event_type.name)
    encoded = codec.encode(data.draw(EVENTS[event_type.name]), PLACE, subject_key, text_key)
    erased = codec.decode(encoded.body, encoded.schema_version, PLACE, lambda _reference: None)
    if begins_a_stream(aggregate, erased):
        assert isinstance(aggregate.evolve(None, erased), aggregate.state)
    for each in codec.personal:
        if len(each.path) == 1:
            assert getattr(erased, each.path[0]) in (None, ERASED)
