"""Write the golden files that are missing: `python -m tests.golden.generate`.

A file that exists is never touched: what was stored once must load for ever.
"""

import sys

from infrastructure.event_types import EVENT_TYPES
from tests.golden import files
from tests.golden.examples import EXAMPLES


def main() -> int:
    """Write what is missing; fails if an event has no example."""
    without_example = []
    for event_type in EVENT_TYPES.types:
        file = files.path(event_type, event_type.schema_version)
        events = [event for event in EXAMPLES if type(event) is event_type.event]
        if not events:
            without_example.append(event_type.name)
        elif not file.exists():
            files.write(file, events)
            sys.stdout.write(f"{file.name}\n")
    if without_example:
        sys.stderr.write(f"tests/golden/examples.py has no example of {', '.join(without_example)}\n")
    return len(without_example)


if __name__ == "__main__":
    sys.exit(main())
