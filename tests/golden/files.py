"""Golden files: how they are written once and read ever after.

A file holds examples of one event at one schema version: its place in the log, its plain form as it was then, and its
stored body with personal values encrypted under the published keys.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from infrastructure.codec import Codec, EventCodec
from infrastructure.event_types import EVENT_TYPES, EventType
from tests.golden.keys import TENANT, subject_key, text_key

FOLDER = Path(__file__).parent / "events"
CODEC = Codec(EVENT_TYPES, TENANT)


@dataclass(frozen=True)
class Golden:
    """One example of a golden file."""

    name: str
    schema_version: int
    stream: UUID
    version: int
    plain: dict[str, Any]
    """The event as JSON values, in the shape of its schema version."""
    body: bytes
    """What the log holds."""

    @property
    def codec(self) -> EventCodec:
        """The codec of its event type."""
        return CODEC.named(self.name, self.schema_version)


def path(event_type: EventType, schema_version: int) -> Path:
    """The file of an event at a schema version."""
    return FOLDER / f"{event_type.name}@{schema_version}.json"


def read(file: Path) -> list[Golden]:
    """The examples of a golden file."""
    name, _, schema_version = file.stem.partition("@")
    return [
        Golden(
            name,
            int(schema_version),
            UUID(example["stream_id"]),
            example["version"],
            example["event"],
            json.dumps(example["body"], ensure_ascii=False).encode(),
        )
        for example in json.loads(file.read_text("utf-8"))
    ]


def write(file: Path, events: Iterable[object]) -> None:
    """Write examples, in today's shape, into a file that must not exist."""
    examples = []
    for version, event in enumerate(events, 1):
        stream = UUID(f"019a0000-0000-7000-8000-{version:012x}")
        codec = CODEC.of(event)
        encoded = codec.encode(event, CODEC.place(stream, version), subject_key, text_key)
        examples.append(
            {
                "stream_id": str(stream),
                "version": version,
                "event": codec.plain(event),
                "body": json.loads(encoded.body),
            }
        )
    with file.open("x", encoding="utf-8") as golden:
        golden.write(json.dumps(examples, ensure_ascii=False, indent=2) + "\n")
