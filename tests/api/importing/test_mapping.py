"""Mappings: what is wrong with one is named by its file, its line and its field."""

from pathlib import Path

import pytest

from api.importing.mapping import CommandFields
from api.importing.mapping_reader import read_mapping
from api.importing.sections import MappingError
from application.commands import COMMANDS as REAL_COMMANDS
from application.customers import CUSTOMER
from application.sales_documents import SALES_DOCUMENT
from application.staff import TEAM
from application.support_cases import CASE
from tests.api.importing.mappings import COMMANDS, INVOICES, mapping_of

ROOT = Path(__file__).parents[3]


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


@pytest.mark.parametrize(
    ("right", "wrong", "place", "why"),
    [
        ('name = "mill"', "", "", "needs a name"),
        ('name = "mill"', 'name = ""', "name", "is empty"),
        ('name = "mill"', 'name = 1\nnmae = "x"', "name", "is a text in quotes"),
        ('name = "mill"', 'name = "mill"\nnam = 1', "nam", "means nothing here; did you mean name?"),
        ('invoice = "Invoice"', "invoice = 0", "columns.invoice", "columns are numbered from 1"),
        ('invoice = "Invoice"', 'row = "Invoice"', "columns.row", "there is such a column already"),
        ('invoice = "Invoice"', "invoice = []", "columns.invoice", "is a table"),
        ('invoice = "Invoice"', 'invoice = { trim = "no" }', "columns.invoice", "needs either a header or a number"),
        ('type = "integer"', 'type = "int"', "columns.quantity.type", "'int' is not one of text, integer"),
        ('type = "integer"', 'typ = "integer"', "columns.quantity.typ", "means nothing here; did you mean type?"),
        (
            'type = "date"',
            'type = "time", time_zone = "Berlin"',
            "columns.day.time_zone",
            "there is no time zone Berlin",
        ),
        ('default = "walk-in"', 'values = "x"', "columns.customer.values", "there is no table [values.x]"),
        ('default = "walk-in"', 'extract = "("', "columns.customer.extract", "is no regular expression"),
        ('default = "walk-in"', 'extract = "x"', "columns.customer.extract", "has one group in parentheses"),
        ('type = "date"', 'type = "date", default = "x"', "columns.day.default", "'x' is not a date"),
        ("net = { product", "net = { produce", "computed.net", "produce is not one of product, sum"),
        ("net = { product", 'net = { text = "x", product', "computed.net", "is made by one of product, sum"),
        ("net = { product", "price = { product", "computed.price", "there is such a column already"),
        ('["quantity", "price"]', '["quantity"]', "computed.net", "takes a list of at least two"),
        (
            'product = ["quantity", "price"]',
            'most = ["day"]',
            "computed.net",
            "most takes a list of at least two columns",
        ),
        ('product = ["quantity", "price"]', 'least = ["day", "price"]', "computed.net", "two columns of one type"),
        (
            "[documents]",
            '[documents]\ncarry_while_same.net = "dya"',
            "documents.carry_while_same.net",
            "did you mean day?",
        ),
        (
            "[documents]",
            '[documents]\ncarry_while_same.nett = "day"',
            "documents.carry_while_same.nett",
            "did you mean net?",
        ),
        ("[documents]", '[documents]\ncarry = "dya"', "documents.carry", "did you mean day?"),
        ('["quantity", "price"]', '["quantity", "day"]', "computed.net", "takes numbers, and day is none"),
        ('product = ["quantity", "price"]', 'day = "day"', "computed.net", "day is made of a time, and day is none"),
        ('by = ["invoice"]', 'by = ["invoce"]', "documents.by", "there is no column invoce; did you mean invoice?"),
        ('by = ["invoice"]', "by = [1]", "documents.by[1]", "is a text in quotes"),
        ('by = ["invoice"]', 'gather = "all"', "documents.gather", "'all' is not one of whole file, consecutive"),
        ('by = ["customer"]', "", "first_seen[1]", "needs by"),
        ('command = "register"', 'command = "registr"', "first_seen[1].command", "did you mean register?"),
        ('command = "register"', 'command = "close-case"', "first_seen[1].command", "registers nothing new"),
        ('command = "credit"', 'command = "close-case"', "commands[1]", "close-case needs a target"),
        ('key = "mill/credit', 'target = "x"\nkey = "mill/credit', "commands[1].target", "has no target"),
        ('number = "{invoice}", amount', 'nr = "{invoice}", amount', "commands[1].data.nr", "credit has no field nr"),
        (', amount = { sum = "net" }', "", "commands[1].data", "credit needs the field amount"),
        ('{ sum = "net" }', '{ sum = "nett" }', "commands[1].data.amount", "did you mean net?"),
        ('"mill/credit/{invoice}"', '"mill/{"', "commands[1].key", "has a single brace"),
        ('"credit line"', '"{kind}"', "commands[1].outcome", "there is no column kind"),
        (
            'product = "{product}"',
            'product = "{produkt}"',
            "commands[2].data.lines.each_row.product",
            "did you mean product",
        ),
        ('starts_with = "C"', 'begins = "C"', "commands[1].when", "is no condition"),
        ('{ customer = "walk-in" }', "{ price = true }", "special[1].when", "price cannot be compared with True"),
        ('{ customer = "walk-in" }', '{ day = "x" }', "special[1].when", "is not a date"),
        ('when = { customer = "walk-in" }\nhow', "how", "special[1]", "needs when, several or repeated"),
        ('how = "booked', 'several = "x"\nhow = "booked', "special[1].several", "there is no column x"),
    ],
)
def test_what_is_wrong_is_named_by_its_line_and_its_field(
    right: str, wrong: str, place: str, why: str, tmp_path: Path
) -> None:
    assert INVOICES.count(right) == 1
    text = INVOICES.replace(right, wrong)
    with pytest.raises(MappingError) as caught:
        mapping_of(tmp_path, text)
    path, _, message = str(caught.value).partition("mapping.toml")
    assert path == f"{tmp_path}/"
    assert why in message
    if place:
        assert f" {place}: " in message
        assert message.startswith(":")


def test_the_line_is_the_one_where_the_field_stands(tmp_path: Path) -> None:
    text = INVOICES.replace('product = "{product}"', 'product = "{produkt}"')
    with pytest.raises(MappingError, match=rf"mapping\.toml:{line_of(text, 'lines.each_row')}: commands\[2\]"):
        mapping_of(tmp_path, text)


def test_a_mapping_without_commands_is_none(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"needs at least one \[\[commands\]\]"):
        mapping_of(tmp_path, 'name = "mill"\n[columns]\na = "A"\n')


def test_a_mapping_without_columns_is_none(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="columns: needs at least one column"):
        mapping_of(tmp_path, 'name = "mill"\n')


def test_what_is_no_toml_is_named_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"mapping\.toml is not TOML: .*line 2"):
        mapping_of(tmp_path, 'name = "mill"\ncolumns = \n')


def test_a_mapping_that_is_nested_without_an_end_is_none(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"mapping\.toml is not TOML"):
        mapping_of(tmp_path, f"name = {'[' * 7_000}")


def test_a_mapping_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"absent\.toml cannot be read"):
        read_mapping(tmp_path / "absent.toml", COMMANDS)


@pytest.mark.parametrize(
    ("name", "wrong", "why"),
    [
        ("encoding", '"utf-9"', "there is no encoding utf-9"),
        ("delimiter", '";;"', "is one character"),
        ("missing", "1", "is a list"),
        ("time_zone", '"Mars/Olympus"', "there is no time zone Mars/Olympus"),
    ],
)
def test_a_file_format_that_is_none_is_refused(name: str, wrong: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=rf"mapping\.toml:3: file\.{name}: {why}"):
        mapping_of(tmp_path, f'name = "mill"\n[file]\n{name} = {wrong}\n')


@pytest.mark.parametrize(
    ("marks", "place", "why"),
    [
        ('thousands_mark = "."', "thousands_mark", "is the decimal mark, too"),
        ('decimal_mark = ",", thousands_mark = ","', "thousands_mark", "is the decimal mark, too"),
        ('decimal_mark = ""', "decimal_mark", "is one character"),
        ('decimal_mark = ",,"', "decimal_mark", "is one character"),
        ('thousands_mark = "3"', "thousands_mark", "is one character"),
        ('thousands_mark = "-"', "thousands_mark", "is one character"),
        ('thousands_mark = "e"', "thousands_mark", "is one character"),
    ],
)
def test_marks_by_which_a_number_could_be_read_in_two_ways_are_refused(
    marks: str, place: str, why: str, tmp_path: Path
) -> None:
    text = INVOICES.replace('header = "Price", type = "decimal"', f'header = "Price", type = "decimal", {marks}')
    with pytest.raises(MappingError, match=rf"columns\.price\.{place}: {why}"):
        mapping_of(tmp_path, text)


def test_a_whole_number_may_mark_its_thousands_as_others_mark_decimals(tmp_path: Path) -> None:
    mapping_of(tmp_path, INVOICES.replace('type = "integer"', 'type = "integer", thousands_mark = "."'))


@pytest.mark.parametrize("word", ["sum", "least", "most", "each_row"])
def test_what_is_registered_first_knows_no_rows_of_a_document(word: str, tmp_path: Path) -> None:
    text = INVOICES.replace('data = { number = "{customer}" }', f'data = {{ number = {{ {word} = "net" }} }}')
    with pytest.raises(MappingError, match=rf"first_seen\[1\]\.data: {word} is of all rows of a document"):
        mapping_of(tmp_path, text)


def test_a_lookup_starts_from_a_column_of_the_file(tmp_path: Path) -> None:
    lookup = '\n[lookups.stock]\nfile = "x.csv"\nkey = "Id"\nby = "net"\n[lookups.stock.columns]\nname = "Name"\n'
    with pytest.raises(MappingError, match=r"lookups\.stock\.by: there is no column net"):
        mapping_of(tmp_path, INVOICES + lookup)


def test_the_mappings_of_the_documentation_fit_the_commands_of_the_service() -> None:
    assert {CUSTOMER.name, SALES_DOCUMENT.name, CASE.name, TEAM.name} <= {
        each.aggregate.name for each in REAL_COMMANDS.values()
    }
    commands = {name: CommandFields.of(definition) for name, definition in REAL_COMMANDS.items()}
    mappings = sorted((ROOT / "docs" / "how-to").glob("*.toml"))
    assert [read_mapping(path, commands).name for path in mappings] == ["nyc311", "retail", "uci-incident"]
