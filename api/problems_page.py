"""The page that documents every problem: `python -m api.problems_page` writes it to docs/reference/problems.md."""

from collections.abc import Iterator
from pathlib import Path

from api.commands import REFUSALS_OF_EVERY_COMMAND
from api.problems import OWN_PROBLEMS, ProblemType, Retry, of_refusal
from api.reports import PROBLEMS as PROBLEMS_OF_REPORTS
from application import customers, products, sales_documents, support_cases  # noqa: F401 - registers their commands
from application.commands import COMMANDS
from application.submissions import AnotherCommandWasRefused, StreamHasMoved
from domain.errors import Refusal
from projections.reports import DefinitionIsWithdrawn

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "problems.md"

_RETRY = {
    Retry.NEVER: "Do not send it again as it is: correct it.",
    Retry.AFTER_CHANGE: "Send it again when what the rule speaks of has changed.",
    Retry.SAME_REQUEST: "Send the very same request again, with the same key, after the seconds in `Retry-After`.",
}
_HEAD = """# Problems

<!-- Made by python -m api.problems_page from the refusals of the program; a test compares them. -->

Whatever is not done is answered with a problem (RFC 9457, `application/problem+json`):

| member | what it says |
|---|---|
| `type` | `urn:rapport:problem:` and the code below |
| `title` | the rule, as a sentence |
| `status` | the HTTP status |
| `retry` | `never`: correct the request; `after_change`: send it again when something has changed; \
`same_request`: send it again as it is |
| `detail` | what is the matter in this case |
| `errors` | what is wrong where: a JSON `pointer` into the body, a `header` or a `parameter`, and a `detail` |
| `current_version`, `position` | where the stream, or the log or read model, is now |
| `facts` | what else the rule was measured against |
| `example` | a line for the shell that would have been right |
| `incident` | under which id the service's log tells more |

Members that do not apply are absent. No problem repeats what was sent, because that may be personal.
"""


def every_problem() -> list[ProblemType]:
    """Every problem that the service can answer with, by code."""
    found = {each.code: each for each in (*map(of_refusal, _refusals()), *OWN_PROBLEMS.values())}
    return sorted(found.values(), key=lambda each: each.code)


def page() -> str:
    """The page, in Markdown."""
    return _HEAD + "".join(_section(each) for each in every_problem())


def _refusals() -> Iterator[type[Refusal]]:
    yield from (*REFUSALS_OF_EVERY_COMMAND, StreamHasMoved, AnotherCommandWasRefused)
    yield from (each for each in (*PROBLEMS_OF_REPORTS, DefinitionIsWithdrawn) if not isinstance(each, ProblemType))
    for definition in COMMANDS.values():
        yield definition.aggregate.not_found
        yield from definition.refusals


def _section(problem: ProblemType) -> str:
    return f"\n## {problem.code}\n\n{problem.rule}\n\nStatus {problem.status}. {_RETRY[problem.retry]}\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
