"""Imports point downwards, and the inner layers know no driver (docs/adr/0016-folders-are-the-architecture.md)."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("domain", "application", "projections", "infrastructure", "api")
STANDARD_LIBRARY = frozenset(sys.stdlib_module_names)


def modules(*folders: str) -> Iterator[Path]:
    """Every module below these folders of the repository."""
    for folder in folders:
        yield from (ROOT / folder).rglob("*.py")


def imported(module: Path) -> set[str]:
    """The top-level names that a module imports, wherever in it the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        match node:
            case ast.Import():
                names.update(alias.name.partition(".")[0] for alias in node.names)
            case ast.ImportFrom(module=str(name), level=0):
                names.add(name.partition(".")[0])
            case ast.ImportFrom():
                names.add(".")
    return names


def foreign_imports(folder: str, allowed: frozenset[str]) -> dict[str, list[str]]:
    """Imports of a package beyond the standard library and what is allowed, by module."""
    found = {
        str(module.relative_to(ROOT)): sorted(imported(module) - STANDARD_LIBRARY - allowed)
        for module in modules(folder)
    }
    return {module: names for module, names in found.items() if names}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of `pyproject.toml` on the packages in this folder."""
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([command, "--no-cache", "--no-logo"], cwd=folder, capture_output=True, text=True, check=False)


def test_imports_keep_the_contracts() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("contract", "module", "code"),
    [
        ("Imports point downwards", "domain/upwards.py", "import application.commands"),
        ("Domain and application know no driver", "application/driver.py", "import psycopg"),
        ("Only infrastructure imports the eventsourcing library", "projections/library.py", "import eventsourcing"),
        ("Only api imports FastAPI", "infrastructure/web.py", "import starlette"),
        ("Only the composition root imports infrastructure", "api/shortcut.py", "import infrastructure.codec"),
        ("No module depends on itself", "domain/values.py", "import domain.round_about"),
    ],
    ids=["layers", "no-driver", "library", "framework", "composition-root", "cycles"],
)
def test_a_forbidden_import_is_found(contract: str, module: str, code: str, tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "domain/round_about.py").write_text("import domain.values")
    with (tmp_path / module).open("a") as source:
        source.write(f"\n{code}\n")

    result = lint_imports(tmp_path)

    assert result.returncode == 1, result.stdout
    assert any(line.startswith(contract) and line.endswith("BROKEN") for line in result.stdout.splitlines())


def test_the_domain_imports_nothing_but_the_standard_library() -> None:
    assert foreign_imports("domain", frozenset({"domain"})) == {}


def test_the_application_adds_only_the_shapes_of_its_commands() -> None:
    allowed = frozenset({"application", "domain", "pydantic", "pydantic_core", "annotated_types"})
    assert foreign_imports("application", allowed) == {}


def test_nothing_outside_the_tests_imports_the_tests() -> None:
    assert [str(module) for module in modules(*PACKAGES) if "tests" in imported(module)] == []


def test_imports_are_absolute() -> None:
    assert [str(module) for module in modules(*PACKAGES, "tests") if "." in imported(module)] == []


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {module.parent for module in modules("tests")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []
