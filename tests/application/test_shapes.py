"""Shapes of command fields: what they let through, what they refuse, and that schemas say the same."""

import json
from datetime import UTC, date, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from application import shapes
from domain.values import ExternalIdentifier


def validate(shape: str, value: object) -> object:
    """Validate as the service does: strict JSON without unknown fields."""
    return TypeAdapter(getattr(shapes, shape)).validate_json(json.dumps(value), strict=True, extra="forbid")


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ("Name", "Bäckerei Ångström & Söhne"),
        ("Name", "x" * shapes.NAME_LENGTH_MAX),
        ("Code", "BANK CHARGES"),
        ("Text", "The flour clumps again.\r\n\n\tIt did in March, too.\n"),
        ("Reason", "three reminders without an answer"),
        ("SourceName", "erp.de-2"),
        ("Reference", "number:C-1001"),
        ("CurrencyCode", "EUR"),
        ("CountryCode", "DE"),
        ("LanguageTag", "zh-Hant-TW"),
        ("EmailAddress", "grace@acme.example"),
        ("PhoneNumber", "(030) 90 18 20 ext. 17"),
        ("VatId", "CHE-123.456.789 MWST"),
        ("Days", -1),
        ("EffortMinutes", 0),
    ],
)
def test_what_people_write_passes_unchanged(shape: str, value: object) -> None:
    assert validate(shape, value) == value


@pytest.mark.parametrize("mark", ["\x00", "\x1b", "\x85", "\u2028", "\u202e", "\ufeff"], ids=ascii)
@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ("Name", "Acme{} Bakery"),
        ("Code", "C-{}1001"),
        ("Text", "It clumps{} again."),
        ("Reason", "not{} paid"),
        ("Reference", "shop:{}4711"),
        ("EmailAddress", "grace{}@acme.example"),
    ],
)
def test_no_text_holds_control_characters_or_marks_of_direction(shape: str, text: str, mark: str) -> None:
    assert validate(shape, text.format("")) == text.format("")
    with pytest.raises(ValidationError):
        validate(shape, text.format(mark))


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        ("Name", ""),
        ("Name", " Acme"),
        ("Name", "Acme\n"),
        ("Name", "x" * (shapes.NAME_LENGTH_MAX + 1)),
        ("Code", "ada@example.org"),
        ("Code", "x" * (shapes.CODE_LENGTH_MAX + 1)),
        ("Text", " \n\t"),
        ("Text", "x" * (shapes.TEXT_LENGTH_MAX + 1)),
        ("Reason", "two\nlines"),
        ("SourceName", "Shop"),
        ("SourceName", "shop:de"),
        ("CurrencyCode", "eur"),
        ("CountryCode", "DEU"),
        ("LanguageTag", "de_AT"),
        ("EmailAddress", "grace at acme"),
        ("PhoneNumber", "call me"),
        ("VatId", "--"),
        ("Day", "0202-01-01"),
        ("Day", "2200-01-01"),
        ("Day", "2026-02-30"),
        ("Day", "20260101"),
        ("Day", "0"),
        ("Day", "2026-W01-1"),
        ("Day", "2026-01-01T00:00:00Z"),
        ("Day", 1),
        ("Instant", "20260101"),
        ("Instant", "1767225600"),
        ("Instant", 1),
        ("Instant", "2026-01-01"),
        ("Instant", "2026-01-01T09:30:00"),
        ("Instant", "2026-01-01T24:00:00Z"),
        ("Instant", "2026-01-01T09:30:00.1234567Z"),
        ("Instant", "0001-01-01T00:00:00+14:00"),
        ("Instant", "9999-12-31T23:59:59-14:00"),
        ("Days", shapes.DAYS_MAX + 1),
        ("EffortMinutes", -1),
    ],
)
def test_what_has_no_such_shape_is_refused(shape: str, value: object) -> None:
    with pytest.raises(ValidationError):
        validate(shape, value)


def test_days_and_instants_are_read_as_they_are_written() -> None:
    assert validate("Day", "2026-04-01") == date(2026, 4, 1)
    assert validate("Instant", "2026-04-01T11:30:00.5+02:00") == datetime(2026, 4, 1, 9, 30, 0, 500_000, tzinfo=UTC)
    assert validate("Instant", "2026-04-01T09:30Z") == datetime(2026, 4, 1, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("shape", ["Day", "Instant"])
def test_what_is_no_day_is_told_so_without_repeating_it(shape: str) -> None:
    for sent in ("2026-02-30", "Ada Lovelace", "2026-02-30T00:00:00Z"):
        with pytest.raises(ValidationError) as refused:
            validate(shape, sent)
        assert sent not in refused.value.errors()[0]["msg"]


def test_both_parts_of_an_identifier_are_bounded() -> None:
    shop = {"source": "shop", "id": "4711"}
    assert validate("Identifier", shop) == ExternalIdentifier(source="shop", id="4711")
    for part in ({"source": "Shop"}, {"source": "s" * 41}, {"id": "ada@example.org"}, {"id": "4" * 101}, {"at": 1}):
        with pytest.raises(ValidationError):
            validate("Identifier", shop | part)


def test_a_command_carries_a_bounded_number_of_identifiers() -> None:
    shop = {"source": "shop", "id": "4711"}
    assert len(TypeAdapter(shapes.Identifiers).validate_python([shop] * shapes.IDENTIFIERS_MAX)) == 100
    with pytest.raises(ValidationError):
        validate("Identifiers", [shop] * (shapes.IDENTIFIERS_MAX + 1))


def test_the_schema_of_an_identifier_has_the_bounds_of_its_parts() -> None:
    properties = TypeAdapter(shapes.Identifier).json_schema()["properties"]
    code = TypeAdapter(shapes.Code).json_schema()
    assert {"source", "id"} == set(properties)
    assert {name: properties["id"][name] for name in code} == code
