"""Problems: one for each refusal and each failure, documented as they are answered."""

import re
from pathlib import Path
from typing import Any

import pytest

from api.problems import (
    OWN_PROBLEMS,
    TYPE_PREFIX,
    FieldError,
    Problem,
    ProblemType,
    Retry,
    from_error,
    from_refusal,
    of_refusal,
)
from api.problems_page import every_problem, page
from application.commands import COMMANDS
from application.ports import LogUnavailable
from application.submissions import QueueIsFull, StreamHasMoved
from domain.errors import Refusal
from projections.reports import ParameterIsInvalid
from tests.api.running import description

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "problems.md"


def refusals(root: type[Refusal] = Refusal) -> set[type[Refusal]]:
    """Every refusal of the program."""
    found = {each for each in root.__subclasses__() if not each.__module__.startswith("tests.")}
    return found | {deeper for each in found for deeper in refusals(each)}


EVERY_REFUSAL: list[type[Refusal]] = sorted(refusals(), key=lambda each: each.code())
each_refusal = pytest.mark.parametrize("refusal", EVERY_REFUSAL, ids=lambda each: each.code())


@each_refusal
def test_every_refusal_is_answered_with_its_rule(refusal: type[Refusal]) -> None:
    problem = from_error(refusal(pointer="/name", limit=3))
    document = problem.document
    assert document.type == TYPE_PREFIX + refusal.code()
    assert document.title == refusal.rule()
    assert document.status == refusal.status
    assert document.errors is not None
    assert document.errors[0].pointer == "/name"
    assert document.facts == {"limit": "3"}


@each_refusal
def test_every_refusal_says_a_sentence_and_has_a_status_that_is_documented(refusal: type[Refusal]) -> None:
    assert re.fullmatch(r"[A-Z].*\.", refusal.rule()), "the rule is a sentence"
    assert refusal.status in {404, 409, 412, 413, 422, 503}


def test_codes_are_words_and_belong_to_one_rule() -> None:
    rules: dict[str, set[str]] = {}
    for problem in every_problem():
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", problem.code)
        rules.setdefault(problem.code, set()).add(problem.rule)
    assert [code for code, said in rules.items() if len(said) > 1] == []


def test_every_problem_stands_on_the_page() -> None:
    assert PAGE.read_text("utf-8") == page(), "make it again: python -m api.problems_page"


def test_every_refusal_of_a_command_is_on_the_page() -> None:
    text = page()
    for definition in COMMANDS.values():
        for refusal in (*definition.refusals, definition.aggregate.not_found):
            assert f"## {refusal.code()}\n" in text


def test_every_problem_of_an_operation_is_on_the_page() -> None:
    documented = set(re.findall(r"urn:rapport:problem:([\w-]+)", str(description())))
    assert documented <= {each.code for each in every_problem()}
    assert len(documented) > 50


@pytest.mark.parametrize("problem", OWN_PROBLEMS.values(), ids=OWN_PROBLEMS)
def test_what_may_be_sent_again_says_when(problem: ProblemType) -> None:
    assert ("retry-after" in Problem(problem).headers) == (problem.retry is Retry.SAME_REQUEST)
    assert (problem.status in {408, 429, 500, 503}) == (problem.retry is Retry.SAME_REQUEST)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (QueueIsFull(), "queue-is-full"),
        (LogUnavailable("Ada"), "log-unavailable"),
        (KeyError("Ada"), "internal-error"),
        (StreamHasMoved(current_version=4), "stream-has-moved"),
    ],
)
def test_whatever_goes_wrong_is_one_of_the_problems_and_repeats_nothing(error: Exception, expected: str) -> None:
    problem = from_error(error)
    assert problem.kind.code == expected
    assert b"Ada" not in problem.json()


def test_what_a_refused_question_points_at_is_a_parameter() -> None:
    problem = from_error(ParameterIsInvalid(pointer="/from", because="it is a date"), in_query=True)
    assert problem.document.errors == (FieldError(parameter="from", detail="it is a date"),)
    assert problem.document.facts is None


def test_facts_about_version_and_position_are_numbers() -> None:
    class Behind(Refusal):
        """It is behind."""

        status = 503

    document: Any = from_refusal(Behind(position=7, current_version=3, wanted=9)).document
    assert (document.position, document.current_version, document.facts) == (7, 3, {"wanted": "9"})
    assert of_refusal(Behind).retry is Retry.SAME_REQUEST
