"""Events to bytes and back: UTF-8 JSON by pydantic, personal values encrypted field by field.

Writing: event → plain JSON values → personal values sealed in place → bytes.
Reading: bytes → personal values unsealed, or `ERASED` where the key is gone → upcast → today's class.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin
from uuid import UUID

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import from_json, to_json

from domain.values import ERASED, Personal
from infrastructure.encryption import Place, seal, unseal
from infrastructure.event_types import Body, EventType, Registry

BODY_BYTES_MAX = 1_048_576
"""A body is at most 1 MiB: the largest real invoice is 139 kB, and every reader has to hold a page of bodies."""

_MARK = "$personal"
_MARK_BYTES = b'"$personal"'
_EVERY = "*"
_SUBJECT = "subject:"
_TEXT = "text:"

STORED_PERSONAL_SCHEMA: JsonSchemaValue = {
    "type": "object",
    "description": "A personal value, encrypted: key reference, key revision, base64 of check, nonce and ciphertext.",
    "properties": {
        _MARK: {
            "type": "array",
            "prefixItems": [{"type": "string"}, {"type": "integer"}, {"type": "string", "contentEncoding": "base64"}],
            "minItems": 3,
            "maxItems": 3,
        }
    },
    "required": [_MARK],
    "additionalProperties": False,
}


class UnknownEventType(LookupError):  # noqa: N818 - it names what is the matter
    """The registry has no such event type, or no such version of it."""

    def __init__(self, name: str, schema_version: int) -> None:
        super().__init__(f"no event type {name}@{schema_version} is registered")


class BodyTooLarge(ValueError):  # noqa: N818 - it names what is the matter
    """The body of an event is larger than `BODY_BYTES_MAX`."""


@dataclass(frozen=True, slots=True)
class PersonalField:
    """Where an event class holds a personal value; `*` in the path stands for every item of a list."""

    path: tuple[str, ...]
    personal: Personal


@dataclass(frozen=True, slots=True)
class Key:
    """A key at hand: `reference` names it in the stored form."""

    reference: str
    revision: int
    key: bytes


@dataclass(frozen=True, slots=True)
class Encoded:
    """An event ready to be stored."""

    name: str
    schema_version: int
    body: bytes


SubjectKeys = Callable[[UUID], Key]
"""Gives the key of a subject."""
NewTextKey = Callable[[UUID], Key]
"""Makes a key of its own for one free text about a subject."""
FindKey = Callable[[str], bytes | None]
"""Gives the key that a stored form refers to; None if it was destroyed."""


def subject_reference(subject: UUID) -> str:
    """How a stored form refers to a subject key."""
    return f"{_SUBJECT}{subject}"


def text_reference(text: UUID) -> str:
    """How a stored form refers to the key of one free text."""
    return f"{_TEXT}{text}"


def split_reference(reference: str) -> tuple[bool, UUID]:
    """Whether a reference is to a subject key, and the id in it."""
    if reference.startswith(_SUBJECT):
        return True, UUID(reference.removeprefix(_SUBJECT))
    return False, UUID(reference.removeprefix(_TEXT))


class EventCodec:
    """Encodes and decodes one event type."""

    def __init__(self, event_type: EventType) -> None:
        self.event_type = event_type
        self.personal = tuple(personal_fields(event_type.event))
        self._adapter: TypeAdapter[Any] = TypeAdapter(event_type.event)

    def subjects(self, event: object, stream: UUID) -> Iterator[tuple[UUID, bool]]:
        """The subjects whose personal values this event holds, and whether a value is under the subject's own key."""
        for each in self.personal:
            for owner, value in _values(event, each.path, event):
                if value is not None:
                    yield _subject(owner, event, each.personal.subject, stream), not each.personal.free_text

    def encode(self, event: object, place: Place, subject_key: SubjectKeys, text_key: NewTextKey) -> Encoded:
        """Bytes of the event for its place in the log; `place.field` is ignored. Raises `BodyTooLarge`."""
        if self.personal:
            plain: Body = self._adapter.dump_python(event, mode="json", exclude_none=True)
            for each in self.personal:
                keys = text_key if each.personal.free_text else subject_key
                self._seal(plain, event, each, place, keys)
            body = to_json(plain)
        else:
            body = self._adapter.dump_json(event, exclude_none=True)
        if len(body) > BODY_BYTES_MAX:
            raise BodyTooLarge
        return Encoded(self.event_type.name, self.event_type.schema_version, body)

    def _seal(self, plain: Body, event: object, each: PersonalField, place: Place, keys: SubjectKeys) -> None:
        for path in _paths(plain, each.path):
            owner = _descend(event, path[:-1])
            value = getattr(owner, path[-1])
            if not isinstance(value, str):
                msg = "an erased value cannot be recorded again"
                raise TypeError(msg)
            key = keys(_subject(owner, event, each.personal.subject, place.stream))
            where = dataclasses.replace(place, field=".".join(path))
            container: Any = plain
            for step in path[:-1]:
                container = container[int(step)] if isinstance(container, list) else container[step]
            container[path[-1]] = {_MARK: [key.reference, key.revision, seal(value, key.key, where)]}

    def decode(self, body: bytes, schema_version: int, place: Place, find_key: FindKey) -> Any:
        """The event in today's shape. Raises `UnknownEventType`, or `WrongKey` if a value does not open."""
        current = self.event_type.schema_version
        if not 1 <= schema_version <= current:
            raise UnknownEventType(self.event_type.name, schema_version)
        if schema_version == current and _MARK_BYTES not in body:
            return self._adapter.validate_json(body)
        plain = from_json(body)
        if _MARK_BYTES in body:
            plain = _unseal(plain, (), place, find_key)
        return self._adapter.validate_python(self.event_type.upcast(plain, schema_version))

    def plain(self, event: object) -> Body:
        """The event as JSON values, for those who may read it; what was erased shows as `[erased]`."""
        plain: Body = self._adapter.dump_python(event, mode="json")
        return plain

    def plain_json(self, event: object) -> bytes:
        """The same as bytes."""
        return self._adapter.dump_json(event)

    def plain_schema(self) -> JsonSchemaValue:
        """JSON Schema of the plain form."""
        return self._adapter.json_schema(mode="serialization")

    def stored_schema(self) -> JsonSchemaValue:
        """JSON Schema of the stored form: personal values are encrypted, what is unknown is absent."""
        schema = self._adapter.json_schema(mode="serialization")
        for each in self.personal:
            node = schema
            for step in each.path[:-1]:
                node = _resolve(schema, node["items"] if step == _EVERY else node["properties"][step])
            node["properties"][each.path[-1]] = STORED_PERSONAL_SCHEMA
        return schema


class Codec:
    """Encodes and decodes the events of one tenant."""

    def __init__(self, registry: Registry, tenant: UUID) -> None:
        self.registry = registry
        self.tenant = tenant
        self._by_name = {each.name: EventCodec(each) for each in registry.types}
        self._by_class = {codec.event_type.event: codec for codec in self._by_name.values()}

    def of(self, event: object) -> EventCodec:
        """The codec of an event's class."""
        return self._by_class[type(event)]

    def named(self, name: str, schema_version: int = 1) -> EventCodec:
        """The codec of a stored name. Raises `UnknownEventType`."""
        codec = self._by_name.get(name)
        if codec is None:
            raise UnknownEventType(name, schema_version)
        return codec

    def place(self, stream: UUID, version: int) -> Place:
        """The place of an event in this tenant's log."""
        return Place(self.tenant, stream, version, "")

    def decode(self, name: str, schema_version: int, body: bytes, place: Place, find_key: FindKey) -> Any:
        """The event in today's shape."""
        return self.named(name, schema_version).decode(body, schema_version, place, find_key)

    @staticmethod
    def references(bodies: Iterable[bytes]) -> set[str]:
        """The keys that these stored forms refer to."""
        return {reference for body in bodies if _MARK_BYTES in body for reference in _references(from_json(body))}


def erase_all(_reference: str) -> None:
    """A `FindKey` that knows no key: every personal value comes out as `ERASED`, and nothing is decrypted."""


def personal_fields(cls: type[Any], path: tuple[str, ...] = ()) -> Iterator[PersonalField]:
    """The personal fields of a dataclass, also inside nested dataclasses and tuples of them."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        yield from _personal_in(hints[field.name], (*path, field.name))


def _personal_in(hint: Any, path: tuple[str, ...]) -> Iterator[PersonalField]:
    origin = get_origin(hint)
    if origin is typing.Annotated:
        for extra in hint.__metadata__:
            if isinstance(extra, Personal):
                yield PersonalField(path, extra)
                return
        yield from _personal_in(get_args(hint)[0], path)
    elif origin in (typing.Union, types.UnionType):
        for each in get_args(hint):
            yield from _personal_in(each, path)
    elif origin is tuple:
        yield from _personal_in(get_args(hint)[0], (*path, _EVERY))
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield from personal_fields(hint, path)


def _values(owner: Any, path: tuple[str, ...], value: Any) -> Iterator[tuple[Any, Any]]:
    """Every value at a path, with the object that holds it."""
    if not path:
        yield owner, value
    elif value is not None:
        if path[0] == _EVERY:
            for item in value:
                yield from _values(owner, path[1:], item)
        else:
            yield from _values(value, path[1:], getattr(value, path[0]))


def _subject(owner: object, event: object, name: str, stream: UUID) -> UUID:
    if name == "stream":
        return stream
    holder = owner if hasattr(owner, name) else event
    subject: UUID = getattr(holder, name)
    return subject


def _paths(plain: Any, path: tuple[str, ...], done: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The concrete paths, with places in lists, at which a plain body has a value."""
    if not path:
        yield done
    elif path[0] == _EVERY:
        for index, item in enumerate(plain):
            yield from _paths(item, path[1:], (*done, str(index)))
    elif path[0] in plain:
        yield from _paths(plain[path[0]], path[1:], (*done, path[0]))


def _descend(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        value = value[int(step)] if isinstance(value, tuple) else getattr(value, step)
    return value


def _unseal(value: Any, path: tuple[str, ...], place: Place, find_key: FindKey) -> Any:
    if isinstance(value, list):
        return [_unseal(item, (*path, str(index)), place, find_key) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    sealed = value.get(_MARK)
    if sealed is None:
        return {name: _unseal(item, (*path, name), place, find_key) for name, item in value.items()}
    reference, _revision, text = sealed
    key = find_key(reference)
    if key is None:
        return ERASED
    return unseal(text, key, dataclasses.replace(place, field=".".join(path)))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        if _MARK in value:
            yield value[_MARK][0]
        else:
            for item in value.values():
                yield from _references(item)


def _resolve(schema: JsonSchemaValue, node: Mapping[str, Any]) -> Any:
    """Follow references and optional values of a JSON Schema to the object that they mean."""
    if "$ref" in node:
        return schema["$defs"][node["$ref"].rpartition("/")[2]]
    known = [each for each in node.get("anyOf", ()) if each.get("type") != "null"]
    return _resolve(schema, known[0]) if known else node
