"""The schemas of everything that is sent and answered, made from the types that read and write it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from api.event_documents import EVENT_MARK, EventDocuments, EventEnvelope
from api.operations import Body, Operation
from api.problems import ProblemDocument

Json: TypeAlias = Any
"""A piece of the description."""

REFERENCE = "#/components/schemas/{model}"


class Schemas:
    """The schemas of everything that is sent and answered."""

    def __init__(self, operations: Iterable[Operation], documents: EventDocuments) -> None:
        wanted: dict[tuple[int, str], tuple[Any, TypeAdapter[Any]]] = {}
        for operation in operations:
            bodies = [(body, "serialization") for body in operation.answers.values()]
            if operation.body is not None:
                bodies.append((operation.body, "validation"))
            for body, mode in bodies:
                for shape in body.content.values():
                    if shape is not None:
                        wanted[id(shape), mode] = (shape, TypeAdapter(shape))
            if operation.query is not None:
                wanted[id(operation.query), "validation"] = (operation.query, TypeAdapter(operation.query))
        for shape in (ProblemDocument, EventEnvelope):
            wanted[id(shape), "serialization"] = (shape, TypeAdapter(shape))
        inputs: Any = [((identity, mode), mode, adapter) for (identity, mode), (_, adapter) in wanted.items()]
        inputs += [(name, "serialization", adapter) for name, adapter in documents.adapters.items()]
        found, definitions = TypeAdapter.json_schemas(inputs, ref_template=REFERENCE)
        # The mapping keeps the shapes alive, so that their identities stay theirs.
        self._shapes = wanted
        self._found: Any = found
        self.components: dict[str, Json] = definitions.get("$defs", {})
        for name, event in documents.classes.items():
            data = self._found[name, "serialization"]
            self.components[f"event.{name}"] = _event(name, event, data)
        self.components["Event"] = {
            "description": "Something that has happened, told by its type.",
            "oneOf": [{"$ref": REFERENCE.format(model=f"event.{name}")} for name in documents.classes],
            "discriminator": {
                "propertyName": "type",
                "mapping": {name: REFERENCE.format(model=f"event.{name}") for name in documents.classes},
            },
        }
        _walk(self.components, _close_and_connect)
        _walk(self._found, _close_and_connect)
        del self.components["EventEnvelope"]["additionalProperties"]

    def content(self, body: Body, mode: str) -> Json:
        """The media types of a body, each with its schema."""
        return {
            media_type: {"schema": {"type": "string"} if shape is None else self._found[(id(shape), mode), mode]}
            for media_type, shape in body.content.items()
        }

    def parameters(self, operation: Operation) -> Iterator[Json]:
        """The parameters of the query string."""
        if operation.query is None:
            return
        schema = self._resolved(self._found[(id(operation.query), "validation"), "validation"])
        for name, described in schema.get("properties", {}).items():
            rest = {key: value for key, value in described.items() if key not in {"description", "title", "default"}}
            branches = [each for each in rest.pop("anyOf", ()) if each != {"type": "null"}]
            if len(branches) == 1:
                rest |= branches[0]
            elif branches:
                rest["anyOf"] = branches
            if described.get("default") is not None:
                rest["default"] = described["default"]
            meaning = described.get("description") or rest.pop("description", "")
            parameter = {"name": name, "in": "query", "description": meaning, "schema": rest}
            if name in schema.get("required", ()):
                parameter["required"] = True
            yield parameter

    @staticmethod
    def declared(operation: Operation) -> Iterator[Json]:
        """Parameters that are read by what answers the question."""
        for each in operation.parameters:
            schema: Json = {"type": "array", "items": each.schema} if each.repeated else each.schema
            parameter = {"name": each.name, "in": "query", "description": each.meaning, "schema": schema}
            if each.required:
                parameter["required"] = True
            yield parameter

    def _resolved(self, schema: Json) -> Json:
        reference = schema.get("$ref")
        return schema if reference is None else self.components[reference.rpartition("/")[2]]


def _event(name: str, event: type[Any], data: Json) -> Json:
    summary, _, _ = (event.__doc__ or "").partition("\n\n")
    return {
        "title": name,
        "description": " ".join(summary.split()),
        "type": "object",
        "allOf": [{"$ref": REFERENCE.format(model="EventEnvelope")}],
        "properties": {"type": {"const": name}, "data": data},
        "required": ["type", "data"],
        "unevaluatedProperties": False,
    }


def _walk(value: Json, change: Callable[[dict[str, Json]], None]) -> None:
    if isinstance(value, dict):
        change(value)
        for each in list(value.values()):
            _walk(each, change)
    elif isinstance(value, list):
        for each in value:
            _walk(each, change)


def _close_and_connect(schema: dict[str, Json]) -> None:
    """What has fields has no others, in either direction; a place for an event refers to what an event is.

    Titles that repeat a field's name are left out.
    """
    for each in schema.get("properties", {}).values():
        if isinstance(each, dict) and isinstance(each.get("title"), str):
            del each["title"]
    if schema.get("type") == "object" and "properties" in schema and "allOf" not in schema:
        schema.setdefault("additionalProperties", False)
    if schema.pop(EVENT_MARK, False):
        schema.clear()
        schema["$ref"] = REFERENCE.format(model="Event")
