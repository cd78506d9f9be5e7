"""Every refusal is a rule: it says so in a sentence, the interface documents it, and a test expects it.

That it is really raised follows from the coverage of all branches of the domain (`make test`).
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from application.commands import COMMANDS, CommandDefinition
from domain.errors import Refusal
from tests.api.running import description
from tests.contracts.registries import REFUSALS

TESTS = Path(__file__).parents[1]

each_refusal = pytest.mark.parametrize("refusal", REFUSALS, ids=lambda each: each.code())
each_command = pytest.mark.parametrize("definition", COMMANDS.values(), ids=lambda each: each.name)


@cache
def expected() -> frozenset[str]:
    """Every name that tests outside of the contracts use; imports alone do not count."""
    modules = [module for module in TESTS.rglob("test_*.py") if module.parent.name != "contracts"]
    nodes = [node for module in modules for node in ast.walk(ast.parse(module.read_text("utf-8")))]
    plain = {node.id for node in nodes if isinstance(node, ast.Name)}
    return frozenset(plain | {node.attr for node in nodes if isinstance(node, ast.Attribute)})


@each_refusal
def test_every_refusal_is_expected_by_a_test(refusal: type[Refusal]) -> None:
    assert refusal.__name__ in expected()


@each_refusal
def test_every_refusal_is_documented_by_an_operation(refusal: type[Refusal]) -> None:
    assert refusal.code() in re.findall(r"urn:rapport:problem:([\w-]+)", str(description()))


@each_refusal
def test_a_refusal_says_its_rule_in_a_sentence(refusal: type[Refusal]) -> None:
    assert re.fullmatch(r"[A-Z][^\n]{15,}\.", refusal.rule())
    assert refusal.rule() != Refusal.rule()


@each_refusal
def test_a_refusal_is_named_as_a_fact(refusal: type[Refusal]) -> None:
    assert not re.search(r"(?:Error|Exception|Invalid|Failed|Failure)$", refusal.__name__)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)+", refusal.code())


def test_refusals_have_codes_of_their_own() -> None:
    codes = [each.code() for each in REFUSALS]
    assert sorted(set(codes)) == sorted(codes)


@each_command
def test_a_command_documents_each_refusal_once(definition: CommandDefinition) -> None:
    assert len(set(definition.refusals)) == len(definition.refusals)
