"""The description of the interface is complete, typed, and changes only where somebody means it to."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from api import VERSION, http_page
from api.commands import paths
from application.commands import COMMANDS, Role
from infrastructure.event_types import EVENT_TYPES
from projections import REPORTS
from tests.api.running import description, resolved

SNAPSHOT = Path(__file__).parents[1] / "golden" / "openapi.json"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"
PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def operations() -> Iterator[tuple[str, str, Any]]:
    """Path, method and description of every operation."""
    for path, methods in description()["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def schemas(value: Any, place: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in the description, with its place."""
    if isinstance(value, dict):
        yield place, value
        for name, each in value.items():
            yield from schemas(each, f"{place}/{name}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from schemas(each, f"{place}/{index}")


def branches(schema: Any) -> Iterator[dict[str, Any]]:
    """What a schema lets something be, item by item of a list."""
    found = resolved(schema)
    parts = [*found.get("anyOf", ()), *found.get("oneOf", ())] or ([found["items"]] if "items" in found else [])
    for part in parts:
        yield from branches(part)
    if not parts:
        yield found


def as_written() -> str:
    """The description as it is kept: a line for each operation and each component, so that a change can be read."""
    described = description()
    lines = [f'"{name}": {_compact(value)}' for name, value in described.items() if name not in {"paths", "components"}]
    paths_and_components = {"paths": described["paths"], **described["components"]}
    for name, members in paths_and_components.items():
        inner = ",\n".join(f" {_compact(key)}: {_compact(value)}" for key, value in members.items())
        lines.append(f'"{name}": {{\n{inner}\n}}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def test_the_interface_is_what_was_agreed() -> None:
    """A change is meant when the snapshot is made again: python -m tests.contracts.test_openapi."""
    assert SNAPSHOT.read_text("utf-8") == as_written()


def test_the_page_about_the_interface_is_made_from_it() -> None:
    assert PAGE.read_text("utf-8") == http_page.page(description()), "make it: python -m tests.contracts.test_openapi"


def test_the_version_is_that_of_the_program() -> None:
    assert description()["openapi"].startswith("3.1.")
    assert description()["info"]["version"] == VERSION
    assert f'\nversion = "{VERSION}"\n' in PROJECT.read_text("utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_route_with_its_roles_and_refusals(name: str) -> None:
    definition = COMMANDS[name]
    operation = description()["paths"][paths(COMMANDS.values())[name]]["post"]
    assert operation["operationId"] == name
    assert set(re.findall(r"`(\w+)`", operation["description"].rpartition("Roles: ")[2])) == set(definition.roles)
    documented = str([resolved(each) for each in operation["responses"].values()])
    for refusal in definition.refusals:
        assert f"urn:rapport:problem:{refusal.code()}'" in documented
        assert str(refusal.status) in operation["responses"]


def test_every_operation_has_a_name_a_summary_and_answers() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    for path, method, operation in operations():
        assert operation["summary"], (path, method)
        assert {"200", "201"} & set(operation["responses"]), (path, method)


def test_every_answer_that_says_no_is_a_problem() -> None:
    for path, _, operation in operations():
        for status, response in operation["responses"].items():
            answer = resolved(response)
            assert answer["description"], (path, status)
            if int(status) >= 400 and path != "/readyz":
                assert set(answer["content"]) == {"application/problem+json"}, (path, status)


def test_every_operation_that_needs_a_key_says_what_comes_without_one() -> None:
    for path, method, operation in operations():
        needs_key = operation.get("security") != []
        assert ("401" in operation["responses"]) == needs_key, (path, method)
        assert ("500" in operation["responses"]) == needs_key, (path, method)
        assert needs_key == path.startswith("/v1/"), (path, method)


def test_every_operation_says_who_may_use_it() -> None:
    for path, method, operation in operations():
        said = operation["description"].rpartition("Roles: ")[2]
        roles = set(re.findall(r"`(\w+)`", said))
        assert operation.get("security") == [] or (roles and roles <= set(Role)), (path, method)


def test_every_event_type_has_a_schema() -> None:
    mapping = description()["components"]["schemas"]["Event"]["discriminator"]["mapping"]
    assert set(mapping) == set(EVENT_TYPES.by_name)
    for name, reference in mapping.items():
        assert resolved({"$ref": reference})["properties"]["type"] == {"const": name}


def test_no_schema_is_an_untyped_object() -> None:
    untyped = [
        place
        for place, schema in schemas(description())
        if schema.get("type") == "object"
        and "properties" not in schema
        and not isinstance(schema.get("additionalProperties"), dict)
        # A command, or an event, may have nothing to say beside that it happened.
        and schema.get("additionalProperties") is not False
    ]
    assert untyped == []


def test_every_array_of_a_command_has_a_limit() -> None:
    def arrays(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for inner, part in schemas(schema, place):
            if "$ref" in part:
                yield from arrays(resolved(part), f"{inner}/{part['$ref'].rpartition('/')[2]}")
            elif part.get("type") == "array":
                yield inner, part

    commands = {path: operation for path, _, operation in operations() if "requestBody" in operation}
    found = [each for path, operation in commands.items() for each in arrays(operation["requestBody"], path)]
    assert len(found) > len(commands) > len(COMMANDS)
    assert [place for place, array in found if "maxItems" not in array] == []


def test_no_schema_lets_anything_pass() -> None:
    structure = {"properties", "patternProperties", "$defs", "schemas", "mapping"}
    anything = [
        place for place, schema in schemas(description()) if schema == {} and place.rpartition("/")[2] not in structure
    ]
    assert anything == []


def test_a_report_names_the_columns_of_its_rows_and_their_types() -> None:
    for report in REPORTS:
        definition = report.definition
        answer = description()["paths"][f"/v1/reports/{definition.name}"]["get"]["responses"]["200"]
        rows = resolved(answer["content"]["application/json"]["schema"])["properties"]["rows"]
        columns = resolved(rows["items"])["properties"]
        words = (*definition.dimensions, *definition.measures)
        assert columns.keys() == {*(word.name for word in words), "reasons"}, definition.name
        assert columns["reasons"]["additionalProperties"]["enum"] == [word.name for word in definition.reasons]
        assert all({"type": "null"} in columns[word.name]["anyOf"] for word in words), definition.name


def test_a_field_that_is_one_of_a_list_somewhere_is_one_of_a_list_everywhere() -> None:
    listed, free = set[str](), set[str]()
    for _, schema in schemas(description()["components"]["schemas"]):
        for name, field in schema.get("properties", {}).items():
            for branch in branches(field):
                if len(branch.get("enum", ())) > 1:
                    listed.add(name)
                elif branch.get("type") == "string" and not {"enum", "const"} & branch.keys():
                    free.add(name)
    # Why somebody did something is free text; why a figure is null is not.
    assert listed & free == {"reason"}


def test_objects_have_the_fields_that_are_described_and_no_others() -> None:
    open_objects = [
        place
        for place, schema in schemas(description())
        if schema.get("type") == "object"
        and "properties" in schema
        and schema.get("additionalProperties", schema.get("unevaluatedProperties")) is not False
    ]
    assert open_objects == ["#/components/schemas/EventEnvelope"], "the envelope is closed where an event includes it"


def test_every_reference_leads_somewhere() -> None:
    for _, schema in schemas(description()):
        if isinstance(schema.get("$ref"), str):
            assert resolved(schema)


def test_every_schema_is_a_json_schema() -> None:
    for name, schema in description()["components"]["schemas"].items():
        jsonschema_rs.validator_for({**schema, "components": description()["components"]})
        assert jsonschema_rs.meta.is_valid(schema), name


def test_every_parameter_says_what_it_means() -> None:
    for path, _, operation in operations():
        for parameter in map(resolved, operation.get("parameters", [])):
            assert parameter["description"], (path, parameter["name"])
            assert parameter["schema"], (path, parameter["name"])


if __name__ == "__main__":
    SNAPSHOT.write_text(as_written(), encoding="utf-8")
    PAGE.write_text(http_page.page(description()), encoding="utf-8")
