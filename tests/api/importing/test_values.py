"""What a command carries, and which rows a condition takes."""

from datetime import date
from decimal import Decimal

import pytest

from api.importing.cells import Row, Value
from api.importing.values import Json, TemplateError, columns_in, condition, over_rows_in, shape

TYPES = {"invoice": str, "note": str, "quantity": int, "net": Decimal, "day": date, "open": bool}
FLOUR: Row = {
    "invoice": "R-1",
    "note": None,
    "quantity": 6,
    "net": Decimal("15.30"),
    "day": date(2026, 4, 1),
    "open": True,
}
SUGAR: Row = {**FLOUR, "note": "sweet", "quantity": 2, "net": Decimal("4.20"), "day": date(2026, 4, 2)}


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        ("number:{invoice}", "number:R-1"),
        ("{quantity}", 6),
        ("{net}", "15.30"),
        ("{day}", "2026-04-01"),
        ("{open}", True),
        ("{net} on {day}", "15.30 on 2026-04-01"),
        ("100 % of {{it}}", "100 % of {it}"),
        ("100 % of {invoice}", "100 % of R-1"),
        ("{note|invoice}", "R-1"),
        ("{note|invoice}!", "R-1!"),
        ("{note}", None),
        ("a {note}", None),
        (7, 7),
        (True, True),
        (["{invoice}", "{note}", "x"], ["R-1", "x"]),
        ({"a": "{invoice}", "b": "{note}"}, {"a": "R-1"}),
        ({"each_row": {"n": "{quantity}", "note": "{note}"}}, [{"n": 6}, {"n": 2, "note": "sweet"}]),
        ({"sum": "net"}, "19.50"),
        ({"least": "day"}, "2026-04-01"),
        ({"most": "day"}, "2026-04-02"),
        ({"most": "note"}, "sweet"),
        ({"sum": "{invoice}", "of": "x"}, {"sum": "R-1", "of": "x"}),
    ],
)
def test_templates_are_filled_from_the_rows(value: object, filled: Json) -> None:
    assert shape(value, TYPES)(FLOUR, [FLOUR, SUGAR]) == filled


def test_what_no_row_says_is_left_out() -> None:
    assert shape({"note": {"least": "note"}}, TYPES)(FLOUR, [FLOUR]) == {}


@pytest.mark.parametrize(
    ("value", "path", "why"),
    [
        ("{invoce}", (), "there is no column invoce; did you mean invoice?"),
        ("{x}", (), "there is no column x; there are invoice, note, quantity, net, day, open"),
        ("{invoice", (), "has a single brace"),
        ("{}", (), "has a single brace"),
        ({"lines": {"each_row": {"n": "{nte}"}}}, ("lines", "each_row", "n"), "did you mean note?"),
        (["x", "{nte}"], (1,), "did you mean note?"),
        ({"sum": "invoice"}, (), "sum needs a column of numbers, and invoice is none"),
        ({"sum": 5}, (), "sum takes the name of a column"),
        (Decimal("1.5"), (), "cannot be sent"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused_at_its_place(
    value: object, path: tuple[str | int, ...], why: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        shape(value, TYPES)
    assert why in str(caught.value)
    assert caught.value.path == path


def test_the_columns_that_a_value_needs_are_known() -> None:
    value = {"a": "{invoice}-{day|note}", "b": [{"sum": "net"}], "c": 7, "d": {"each_row": "{quantity}"}}
    assert columns_in(value) == {"invoice", "day", "note", "net", "quantity"}


@pytest.mark.parametrize(
    ("tests", "met"),
    [
        ({"invoice": "R-1"}, True),
        ({"invoice": "R-2"}, False),
        ({"quantity": 6, "open": True}, True),
        ({"quantity": 6, "open": False}, False),
        ({"invoice": {"starts_with": "R"}}, True),
        ({"invoice": {"starts_with": "C"}}, False),
        ({"note": {"starts_with": "R"}}, False),
        ({"invoice": {"matches": "-[0-9]$"}}, True),
        ({"net": {"matches": r"\.\d\d$"}}, True),
        ({"invoice": {"not": {"matches": "-[0-9]$"}}}, False),
        ({"note": {"missing": True}}, True),
        ({"invoice": {"missing": True}}, False),
        ({"invoice": {"one_of": ["R-0", "R-1"]}}, True),
        ({"invoice": {"one_of": []}}, False),
        ({"net": {"less_than": 16}}, True),
        ({"net": {"more_than": 16}}, False),
        ({"note": {"not": "sweet"}}, True),
        ({"invoice": {"starts_with": "R", "matches": "1$"}}, True),
        ({"invoice": {"starts_with": "R", "matches": "2$"}}, False),
        ({"quantity": {"same_as": "quantity"}}, True),
        ({"quantity": {"same_as": "net"}}, False),
        ({"invoice": {"before": "R-1"}}, False),
        ({"invoice": {"before": {"not": "R-1"}}}, False),
    ],
)
def test_conditions_hold_or_not(tests: dict[str, object], met: bool) -> None:  # noqa: FBT001 - an expected outcome
    assert condition(tests, TYPES, _literal)(FLOUR, None) is met


@pytest.mark.parametrize("name", ["quantity", "net", "open"])
@pytest.mark.parametrize(
    ("word", "operand"), [("starts_with", "0"), ("matches", r"^0$"), ("starts_with", "F"), ("matches", "^False$")]
)
def test_a_cell_of_zero_is_not_empty(name: str, word: str, operand: str) -> None:
    zero: Row = {**FLOUR, "quantity": 0, "net": Decimal(0), "open": False}
    met = condition({name: {word: operand}}, TYPES, _literal)(zero, None)
    assert met == (("F" in operand) == (name == "open"))
    assert not condition({name: {"matches": "^$"}}, TYPES, _literal)(zero, None)
    assert not condition({name: {"missing": True}}, TYPES, _literal)(zero, None)
    assert condition({name: {"matches": "^$"}}, TYPES, _literal)({**zero, name: None}, None)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{least}", set()),
        ({"sum": "net", "most": "net"}, set()),
        ({"a": [{"b": {"sum": "net"}}], "c": {"least": "net"}}, {"sum", "least"}),
        ({"each_row": {"n": {"most": "net"}}}, {"each_row", "most"}),
    ],
)
def test_the_words_that_speak_of_all_rows_are_known(value: object, words: set[str]) -> None:
    assert over_rows_in(value) == words


def test_nothing_is_neither_less_nor_more() -> None:
    nothing: Row = {**FLOUR, "net": None}
    assert not condition({"net": {"less_than": 0}}, TYPES, _literal)(nothing, None)
    assert not condition({"net": {"more_than": 0}}, TYPES, _literal)(nothing, None)


def test_a_change_is_one_from_the_row_before() -> None:
    changed = condition({"net": {"changed": True}}, TYPES, _literal)
    assert changed(FLOUR, None)
    assert changed(FLOUR, SUGAR)
    assert not changed(FLOUR, FLOUR)
    assert condition({"net": {"changed": False}}, TYPES, _literal)(FLOUR, FLOUR)


def test_a_condition_may_be_about_the_row_before() -> None:
    sweetened = condition({"note": {"changed": True, "before": {"missing": True}}}, TYPES, _literal)
    assert sweetened(SUGAR, FLOUR)
    assert not sweetened(FLOUR, SUGAR)
    assert not sweetened(SUGAR, SUGAR)
    assert not sweetened(SUGAR, None)


@pytest.mark.parametrize(
    ("tests", "why"),
    [
        ({"invoice": {"begins": "C"}}, "is no condition; there are not, before"),
        ({"invoice": {"missing": "yes"}}, "is no condition"),
        ({"invoice": {"starts_with": "C", "begins": "C"}}, "is no condition; there are not, before"),
        ({"invoice": {}}, "invoice has no test"),
        ({"invoice": {"same_as": "inv"}}, "there is no column inv"),
        ({"invoice": {"matches": "("}}, "is no regular expression"),
        ({"inv": "C"}, "there is no column inv"),
    ],
)
def test_a_condition_that_means_nothing_is_refused(tests: dict[str, object], why: str) -> None:
    with pytest.raises(TemplateError, match=why):
        condition(tests, TYPES, _literal)


def _literal(_name: str, value: object) -> Value:
    assert isinstance(value, str | int | bool)
    return value
