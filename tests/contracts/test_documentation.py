"""What is written about the code is true of the code: decisions, links, named files and named tests."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SECTIONS = ["Context", "Decision", "Consequences", "Alternatives", "Confirmation"]

each_decision = pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem[:4])
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED_FILE = re.compile(
    r"`((?:api|application|domain|infrastructure|projections|tests|docs|benchmarks|chaos|\.ci)/[\w./-]+\.\w+)(?:::(\w+))?`"
)


def anchor(heading: str) -> str:
    """The fragment that leads to a heading of a page."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """Every fragment that leads into a page."""
    return {anchor(heading) for heading in HEADING.findall(FENCE.sub("", page.read_text("utf-8")))}


def functions(module: Path) -> set[str]:
    """The names of functions and classes in a module."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(node, definitions)}


def section(page: Path, name: str) -> str:
    """The text below one heading of a decision."""
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section {name}"
    return found[1].strip()


def test_decisions_are_numbered_without_gaps() -> None:
    assert [page.name[:4] for page in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]
    assert len(DECISIONS) > 0


@each_decision
def test_a_decision_is_named_as_its_title(page: Path) -> None:
    number, _, title = page.read_text("utf-8").splitlines()[0].removeprefix("# ").partition(". ")
    assert page.stem == f"{number}-{anchor(title)}"


@each_decision
def test_a_decision_has_the_five_sections_in_order(page: Path) -> None:
    assert re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE) == SECTIONS


@each_decision
def test_a_decision_says_whether_it_still_holds(page: Path) -> None:
    status = page.read_text("utf-8").splitlines()[2]
    accepted = re.fullmatch(r"Status: accepted, \d{4}-\d{2}-\d{2}", status)
    assert accepted or re.fullmatch(r"Status: superseded by \[\d{4}\]\(\d{4}-[\w-]+\.md\), \d{4}-\d{2}-\d{2}", status)


@each_decision
def test_a_decision_is_read_in_two_minutes(page: Path) -> None:
    assert 150 <= len(re.findall(r"\w[\w'-]*", page.read_text("utf-8"))) <= 400


@each_decision
def test_a_decision_can_be_quoted(page: Path) -> None:
    assert 1 <= len(re.findall(r"[.!](?=\s|$)", section(page, "Decision"))) <= 2


@each_decision
def test_a_decision_names_what_fails_when_it_is_violated(page: Path) -> None:
    confirmation = section(page, "Confirmation")
    assert NAMED_FILE.search(confirmation) or "`pyproject.toml`" in confirmation


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        target, _, fragment = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (fragment and file.suffix == ".md" and fragment not in anchors(file)):
            dead.append(link)
    assert dead == []


@each_page
def test_files_and_tests_that_are_named_exist(page: Path) -> None:
    missing = []
    for name, function in NAMED_FILE.findall(page.read_text("utf-8")):
        file = ROOT / name
        if not file.exists() or (function and function not in functions(file)):
            missing.append(f"{name}::{function}" if function else name)
    assert missing == []


@each_page
def test_a_page_has_one_title(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    assert text.startswith("# ")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120


def test_the_changelog_speaks_of_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
