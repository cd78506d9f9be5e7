"""What was once stored can be read for ever: golden files of every event at every schema version.

Files are added and never edited (docs/adr/0005-events-are-a-public-contract.md).
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from infrastructure.codec import erase_all
from infrastructure.event_types import EVENT_TYPES
from tests.contracts.registries import AGGREGATES
from tests.golden import generate
from tests.golden.files import CODEC, FOLDER, Golden, path, read
from tests.golden.keys import find_key

ROOT = Path(__file__).parents[2]
FILES = sorted(FOLDER.glob("*.json"))
GOLDEN = [(f"{file.stem}-{number}", golden) for file in FILES for number, golden in enumerate(read(file), 1)]

each_golden_event = pytest.mark.parametrize(
    "golden", [golden for _, golden in GOLDEN], ids=[name for name, _ in GOLDEN]
)


def git(*arguments: str) -> bytes:
    """What git prints, run at the root of the checkout."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout


def first_committed(file: Path) -> bytes | None:
    """The content of a file in the commit that added it; None while it is in no commit."""
    name = str(file.relative_to(ROOT))
    added = git("log", "--diff-filter=A", "--format=%H", "--", name).split()
    return git("show", f"{added[-1].decode()}:{name}") if added else None


def numbers(value: Any) -> Iterator[Any]:
    """Every number in a JSON value."""
    match value:
        case dict():
            for each in value.values():
                yield from numbers(each)
        case list():
            for each in value:
                yield from numbers(each)
        case int() | float():
            yield value


def decode(golden: Golden) -> Any:
    """The event that the stored body holds, with the published keys."""
    return golden.codec.decode(golden.body, golden.schema_version, CODEC.place(golden.stream, golden.version), find_key)


def decode_erased(golden: Golden) -> Any:
    """The event that the stored body holds, when every key is gone."""
    return golden.codec.decode(
        golden.body, golden.schema_version, CODEC.place(golden.stream, golden.version), erase_all
    )


def evolves(event: object, name: str) -> bool:
    """Whether the aggregate takes the event, at the beginning of a stream or later."""
    aggregate = AGGREGATES[name.partition(".")[0]]
    beginnings = [None]
    for each in GOLDEN:
        if each[1].name.startswith(f"{aggregate.name}."):
            try:
                beginnings.append(aggregate.evolve(None, decode(each[1])))
            except (ValueError, TypeError, AttributeError):
                continue
    for state in beginnings:
        try:
            return isinstance(aggregate.evolve(state, event), aggregate.state)
        except (ValueError, TypeError, AttributeError):
            continue
    return False


def test_every_registered_version_has_a_golden_file() -> None:
    versions = {path(each, version) for each in EVENT_TYPES.types for version in range(1, each.schema_version + 1)}
    assert versions == set(FILES)


def test_golden_files_are_added_and_never_edited() -> None:
    edited = [file.name for file in FILES if first_committed(file) not in (None, file.read_bytes())]
    assert edited == []


def test_golden_files_are_never_removed() -> None:
    listed = git("log", "--diff-filter=A", "--name-only", "--format=", "--", "tests/golden/events").decode()
    assert {ROOT / name for name in listed.split()} <= set(FILES)


def test_the_generator_touches_no_golden_file(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("tests.golden.files.write", lambda file, _events: written.append(file.name))
    assert generate.main() == 0
    assert written == []


@each_golden_event
def test_a_golden_event_loads_in_the_shape_of_today(golden: Golden) -> None:
    event_type = golden.codec.event_type
    upcast = event_type.upcast(json.loads(json.dumps(golden.plain)), golden.schema_version)
    assert decode(golden) == TypeAdapter[Any](event_type.event).validate_python(upcast)


@each_golden_event
def test_a_golden_event_of_the_current_version_is_shown_as_it_was(golden: Golden) -> None:
    if golden.schema_version == golden.codec.event_type.schema_version:
        assert golden.codec.plain(decode(golden)) == golden.plain


@each_golden_event
def test_a_golden_event_loads_when_everything_personal_is_erased(golden: Golden) -> None:
    erased = golden.codec.plain(decode_erased(golden))
    shown = golden.codec.plain(decode(golden))
    personal = {each.path[0] for each in golden.codec.personal}
    for field, value in shown.items():
        assert erased[field] == ("[erased]" if field in personal and value is not None else value)


@each_golden_event
def test_a_golden_event_evolves(golden: Golden) -> None:
    assert evolves(decode(golden), golden.name)
    assert evolves(decode_erased(golden), golden.name)


@each_golden_event
def test_no_golden_body_contains_a_float(golden: Golden) -> None:
    assert [number for number in numbers(json.loads(golden.body)) if isinstance(number, float)] == []


@each_golden_event
def test_no_golden_body_shows_a_personal_value(golden: Golden) -> None:
    stored = golden.body.decode()
    for each in golden.codec.personal:
        value = golden.plain.get(each.path[0])
        assert value is None or value not in stored
