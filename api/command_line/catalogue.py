"""`rapport events`: the catalogue of events, from the registry and the classes themselves."""

import json
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from inspect import getdoc
from typing import Any

from rich.markup import escape

from api.command_line.terminal import EXIT_NOT_UNDERSTOOD, CommandFailed, output, table
from infrastructure.codec import EventCodec
from infrastructure.event_types import EVENT_TYPES, EventType

PAGE_HEAD = """\
# Events

<!-- Made by python -m api.command_line.pages from the registry of events; a test compares them. -->

Stored names and shapes are a public contract: they are added to and never
changed. Beside its data each event has the envelope: `position`, `stream_id`, `version`, `type`, `schema_version`,
`occurred_at`, `recorded_at`, `actor`, `actor_kind`, `on_behalf_of`, `reason`, `source`, `source_recorded_at`,
`command_id`, `correlation_id`, `causation_id` and `customer_id`. Fields marked *personal* are encrypted wherever they
are stored. The JSON Schemas of both forms: `rapport events --schema`.
"""


def run(given: Namespace) -> int:
    """Print the catalogue, or the part of it that is asked for."""
    types = [each for each in EVENT_TYPES.types if given.name in {None, each.name, each.aggregate}]
    if not types:
        message = f"there is no event {given.name}; rapport events lists them"
        raise CommandFailed(message, EXIT_NOT_UNDERSTOOD)
    if given.schema:
        output().print_json(json.dumps({each.name: schemas(each) for each in types}))
    elif len(types) == 1:
        _print_one(types[0])
    else:
        _print_all(types)
    return 0


def schemas(event_type: EventType) -> Mapping[str, object]:
    """The version of an event, and the JSON Schemas of its plain and of its stored form."""
    codec = EventCodec(event_type)
    return {
        "schema_version": event_type.schema_version,
        "plain": codec.plain_schema(),
        "stored": codec.stored_schema(),
    }


def markdown(types: Iterable[EventType]) -> str:
    """The catalogue as a page of the documentation."""
    parts = [PAGE_HEAD]
    aggregate = ""
    for each in types:
        if each.aggregate != aggregate:
            aggregate = each.aggregate
            parts.append(f"\n## {aggregate}\n")
        parts.append(f"\n### {each.name}\n\n{_text(each.event)} Version {each.schema_version}.\n")
        fields = list(_fields(each))
        if fields:
            parts.append("\n| field | | |\n|---|---|---|\n")
            parts.extend(f"| `{name}` | {kind} | {remark} |\n" for name, kind, remark in fields)
    return "".join(parts)


def _print_all(types: Iterable[EventType]) -> None:
    listed = table("event", "version", "says", right=("version",))
    for each in types:
        listed.add_row(
            f"[bold]{each.name}[/]", str(each.schema_version), escape(_text(each.event).split(". ")[0].rstrip("."))
        )
    output().print(listed)


def _print_one(event_type: EventType) -> None:
    output().print(
        f"[bold]{event_type.name}[/], version {event_type.schema_version}\n{escape(_text(event_type.event))}\n"
    )
    listed = table("field", "", "")
    for name, kind, remark in _fields(event_type):
        listed.add_row(name, escape(kind), remark)
    output().print(listed)


def _text(event: type[Any]) -> str:
    return " ".join((getdoc(event) or "").split())


def _fields(event_type: EventType) -> Iterator[tuple[str, str, str]]:
    """Name and kind of each field, and whether it is personal or may be absent."""
    codec = EventCodec(event_type)
    schema = codec.plain_schema()
    personal = {each.path[0] for each in codec.personal}
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        remarks = [*(["personal"] if name in personal else []), *(["may be absent"] if name not in required else [])]
        yield name, _kind(field, schema), ", ".join(remarks)


def _kind(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A field's type in words; what may be erased or absent is not said again."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return _kind(schema["$defs"][name], schema) if "properties" not in schema["$defs"][name] else name
    if "enum" in field:
        return ", ".join(str(word) for word in field["enum"])
    for several in ("anyOf", "oneOf"):
        if several in field:
            kinds = [_kind(each, schema) for each in field[several] if each.get("type") != "null"]
            return " or ".join(kind for kind in dict.fromkeys(kinds) if kind != "[erased]")
    if field.get("type") == "array":
        return f"list of {_kind(field['items'], schema)}"
    words = {"date-time": "instant", "date": "day", "uuid": "id"}
    kind = str(field.get("type", "any"))
    return words.get(str(field.get("format")), {"string": "text", "boolean": "true or false"}.get(kind, kind))
