"""How questions are read and answers written, whatever the report."""

import base64
import csv
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NoReturn
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.read_model import ReadModels
from projections.reports import (
    Asked,
    DefinitionIsWithdrawn,
    Evidence,
    Parameter,
    ParameterIsInvalid,
    Question,
    ReportAnswer,
    ReportDefinition,
    Reports,
    Withdrawn,
    Word,
    canonical_json,
    make_cursor,
    money,
    quantity,
    ratio,
)
from tests.asynchronous import asynchronous
from tests.commands import NOON

DEFINITION = ReportDefinition(
    name="loaves",
    version=2,
    model="bakery",
    title="Loaves",
    meaning="How many loaves were baked.",
    rules=("A roll is no loaf.",),
    dimensions=(Word("baker", "Who baked."),),
    measures=(Word("loaves", "How many."),),
    parameters=(
        Parameter("from", "The first day."),
        Parameter("baker", "Who.", required=True),
        Parameter("oven", "Which.", values=("old", "new")),
        Parameter("flour", "Of what.", repeated=True),
        Parameter("by", "Divided by.", listed=("baker",)),
        Parameter("limit", "How many rows."),
        Parameter("cursor", "The next page."),
        Parameter("known_at", "When."),
    ),
    reasons=(Word("cold_oven", "The oven was cold."),),
)


@asynchronous
async def test_a_withdrawn_version_is_refused_with_what_has_changed_and_no_other_one_is() -> None:
    """Whether the figures are asked for, their events or when they will be there."""

    class Loaves:
        definition = replace(DEFINITION, withdrawn=(Withdrawn(version=1, changed="Rolls are left out."),))

    def connect() -> NoReturn:
        raise ConnectionError

    reports = Reports(ReadModels(connect, "any"), [Loaves()])  # type: ignore[list-item]  # it is not asked
    for ask in (
        reports.run,
        reports.evidence,
        lambda name, asked: reports.wait(name, 1, version=asked.version, seconds_max=1),
    ):
        with pytest.raises(DefinitionIsWithdrawn) as refusal:
            await ask("loaves", Asked(parameters={}, moment=NOON, version=1))
        assert refusal.value.details == {"report": "loaves", "version": "1", "changed": "Rolls are left out."}
        for kept in (None, 2):
            with pytest.raises(ConnectionError):
                await ask("loaves", Asked(parameters={}, moment=NOON, version=kept))
    assert Loaves.definition.document()["withdrawn"] == [{"version": 1, "changed": "Rolls are left out."}]


def asked(**parameters: str | list[str]) -> Question:
    listed = {name: value if isinstance(value, list) else [value] for name, value in parameters.items()}
    return Question(DEFINITION, listed)


def test_a_definition_says_everything_in_words() -> None:
    document = DEFINITION.document()
    assert document["name"] == "loaves"
    assert document["version"] == 2
    assert document["parameters"] == [
        {"name": "from", "meaning": "The first day.", "required": False, "repeated": False},
        {"name": "baker", "meaning": "Who.", "required": True, "repeated": False},
        {"name": "oven", "meaning": "Which.", "required": False, "repeated": False, "values": ["old", "new"]},
        {"name": "flour", "meaning": "Of what.", "required": False, "repeated": True},
        {"name": "by", "meaning": "Divided by.", "required": False, "repeated": False},
        {"name": "limit", "meaning": "How many rows.", "required": False, "repeated": False},
        {"name": "cursor", "meaning": "The next page.", "required": False, "repeated": False},
        {"name": "known_at", "meaning": "When.", "required": False, "repeated": False},
    ]
    assert document["reasons"] == [{"name": "cold_oven", "meaning": "The oven was cold."}]


def test_a_parameter_is_read_in_its_form() -> None:
    question = asked(
        **{"from": "2026-04-01"},
        baker="Ada",
        oven="old",
        flour=["rye", "spelt"],
        by="baker",
        limit="7",
        known_at="2026-04-01T12:00:00+02:00",
    )
    assert question.day("from") == date(2026, 4, 1)
    assert question.one("baker") == "Ada"
    assert question.many("flour") == ("rye", "spelt")
    assert question.listed("by", ["baker"], 1) == ("baker",)
    assert question.page("loaves") == (7, None)
    assert question.instant("known_at") == datetime(2026, 4, 1, 10, tzinfo=UTC)


def test_what_is_absent_is_none() -> None:
    question = asked(baker="Ada")
    assert (question.day("from"), question.instant("known_at"), question.many("flour")) == (None, None, ())
    assert question.listed("by", ["baker"], 1) == ()


def written(content: bytes) -> str:
    """What somebody makes up as a cursor."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from", "1 April"),
        ("from", "2026-02-30"),
        ("oven", "hot"),
        ("by", "oven"),
        ("by", "baker,baker"),
        ("limit", "0"),
        ("limit", "10001"),
        ("limit", "-1"),
        ("limit", "٣"),
        ("known_at", "noon"),
        ("known_at", "2026-04-01T12:00:00"),
        ("cursor", "?"),
        ("cursor", "bm8"),
        ("cursor", make_cursor(-1, "loaves", ["Ada"])),
        ("cursor", make_cursor(2**63, "loaves", ["Ada"])),
        ("cursor", written(b"[" * 7_000)),
        ("cursor", written(b"[" * 100 + b"]" * 100)),
        ("cursor", written(b'[1,"1",["\\ud800"],null]')),
        ("cursor", written(b"9" * 7_000)),
        ("cursor", written(b"[NaN]")),
        ("cursor", "\u00e9"),
        ("cursor", make_cursor(3, "rolls", ["Ada"])),
    ],
)
def test_a_parameter_in_another_form_is_refused_by_name_and_not_repeated(name: str, value: str) -> None:
    with pytest.raises(ParameterIsInvalid) as refused:
        _read_all(**{"baker": "Ada", name: value})
    assert refused.value.pointer == f"/{name}"
    assert value not in refused.value.details["because"].split()


@pytest.mark.parametrize(("old", "new"), [(b"Ada", b"Bob"), (b"12:00", b"13:00")])
def test_a_cursor_that_somebody_has_changed_is_refused(old: bytes, new: bytes) -> None:
    moment = datetime(2026, 4, 1, 12, tzinfo=UTC)
    given = make_cursor(17, "loaves", ["Ada"], moment)
    content = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4))
    assert old in content
    assert asked(baker="Ada", cursor=given).page("loaves") == (100, ["Ada"])
    with pytest.raises(ParameterIsInvalid):
        asked(baker="Ada", cursor=written(content.replace(old, new))).page("loaves")


def _read_all(**parameters: str) -> None:
    question = asked(**parameters)
    question.day("from")
    question.one("oven")
    question.listed("by", ["baker"], 1)
    question.page("loaves")
    question.instant("known_at")


@pytest.mark.parametrize("value", ["oven", "baker,oven", ",", "baker,"])
def test_a_word_that_is_not_among_those_that_may_be_named_is_refused_whether_it_is_read_or_not(value: str) -> None:
    with pytest.raises(ParameterIsInvalid):
        asked(baker="Ada", by=value)


@pytest.mark.parametrize("parameters", [{}, {"baker": "Ada", "butter": "yes"}, {"baker": ["Ada", "Grace"]}])
def test_what_is_missing_unknown_or_repeated_is_refused(parameters: dict[str, str | list[str]]) -> None:
    with pytest.raises(ParameterIsInvalid):
        asked(**parameters).one("baker")


def test_a_cursor_says_where_the_page_before_ended() -> None:
    cursor = make_cursor(17, {"baker": "Ada"}, ["12.50", "Ada"])
    assert asked(baker="Ada", cursor=cursor).page({"baker": "Ada"}) == (100, ["12.50", "Ada"])


def answer(*rows: dict[str, object]) -> ReportAnswer:
    return ReportAnswer(
        definition=DEFINITION,
        position=17,
        question={"from": date(2026, 4, 1)},
        basis="loaves out of the oven",
        n=3,
        columns=("baker", "loaves"),
        rows=rows,
    )


def test_an_answer_says_what_it_is_and_where_it_comes_from() -> None:
    assert answer({"baker": "Ada", "loaves": Decimal("2.50"), "reasons": {}}).json() == (
        b'{"definition":"loaves","definition_version":2,"position":17,"question":{"from":"2026-04-01"},'
        b'"basis":"loaves out of the oven","n":3,"excluded":{},"total":null,'
        b'"rows":[{"baker":"Ada","loaves":"2.50","reasons":{}}],"next_cursor":null}'
    )


def test_evidence_names_positions() -> None:
    evidence = Evidence(DEFINITION, 17, {"baker": "Ada"}, (3, 5))
    assert json.loads(evidence.json())["positions"] == [3, 5]


def test_csv_says_so_too_on_each_row() -> None:
    text = answer(
        {"baker": "Ada", "loaves": Decimal("-2.50"), "reasons": {}},
        {"baker": None, "loaves": None, "reasons": {"loaves": "cold_oven"}},
    ).csv()
    assert text == (
        b"baker,loaves,null_because,definition,definition_version,position\r\n"
        b"Ada,-2.50,,loaves,2,17\r\n"
        b',,"{""loaves"":""cold_oven""}",loaves,2,17\r\n'
    )


@given(st.text(max_size=20))
def test_no_text_in_csv_is_a_formula(text: str) -> None:
    clean = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    for value in (clean, [clean], {"unit": clean, "quantity": Decimal(-1)}):
        written = answer({"baker": value, "loaves": 1}).csv().decode()
        cell = list(csv.reader(io.StringIO(written, newline="")))[1][0]
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_lists_and_pairs_are_one_cell() -> None:
    amounts = [{"currency": "EUR", "amount": Decimal("-1.00")}, {"currency": "GBP", "amount": Decimal("2.00")}]
    assert answer({"baker": amounts, "loaves": True}).csv().splitlines()[1] == b"EUR -1.00;GBP 2.00,true,,loaves,2,17"


def test_canonical_json_has_one_form() -> None:
    value = {
        "b": None,
        "a": [True, 1, "ü", Decimal("1E+3"), Decimal("0.10")],
        "c": (UUID(int=1), date(2026, 4, 1), datetime(2026, 4, 1, 12, tzinfo=UTC)),
    }
    assert canonical_json(value).decode() == (
        '{"b":null,"a":[true,1,"ü","1000","0.10"],'
        '"c":["00000000-0000-0000-0000-000000000001","2026-04-01","2026-04-01T12:00:00+00:00"]}'
    )


@pytest.mark.parametrize("value", [0.1, float("nan"), {1.5}, b"bytes"])
def test_floats_have_no_form(value: object) -> None:
    with pytest.raises(TypeError):
        canonical_json([value])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (money(Decimal("1288.0000"), "EUR"), "1288.00"),
        (money(Decimal("-0.00"), "EUR"), "0.00"),
        (money(Decimal("0.123400"), "EUR"), "0.1234"),
        (money(Decimal(5), "JPY"), "5"),
        (money(Decimal(5), "KWD"), "5.000"),
        (money(Decimal("0E-6"), None), "0"),
        (quantity(Decimal("10.500000")), "10.5"),
        (quantity(Decimal("1E+2")), "100"),
        (ratio(1, 3), "0.333333"),
        (ratio(Decimal(-2), 3), "-0.666667"),
        (ratio(Decimal("-0.0000001"), 1), "0.000000"),
        (ratio(Decimal(123456789012345678901234567890), Decimal("0.01")), "12345678901234567890123456789000.000000"),
    ],
)
def test_numbers_have_one_form(written: Decimal, expected: str) -> None:
    assert canonical_json(written) == json.dumps(expected).encode()
