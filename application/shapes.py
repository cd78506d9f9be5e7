"""Shapes: how long a field of a command may be and which characters it may hold.

They bound what is read before any rule is asked, and they appear in the generated schemas. What the business allows is
not said here: a negative number of days has a shape, and a refusal of the domain that names the rule.

Patterns keep to what JSON Schema (ECMA 262), Python and Rust understand alike. No shape lets through U+0000, which
Postgres cannot store, nor control characters, nor the marks that turn the direction of text and so let it show as
something else.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from domain.values import ExternalIdentifier

_NO_MARKS = r"\u2028-\u202e\u2066-\u2069\ufeff"
_IN_LINES = rf"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_NO_MARKS}]"
_IN_A_LINE = rf"[^\x00-\x1f\x7f-\x9f{_NO_MARKS}]"
_VISIBLE = rf"[^\s\x00-\x1f\x7f-\x9f{_NO_MARKS}]"
_IN_AN_IDENTIFIER = rf"[^@\x00-\x1f\x7f-\x9f{_NO_MARKS}]"
_VISIBLE_IN_AN_IDENTIFIER = rf"[^@\s\x00-\x1f\x7f-\x9f{_NO_MARKS}]"

_LINE = rf"^{_VISIBLE}({_IN_A_LINE}*{_VISIBLE})?$"
_LINES = rf"^{_IN_LINES}*{_VISIBLE}{_IN_LINES}*$"
_IDENTIFIER = rf"^{_VISIBLE_IN_AN_IDENTIFIER}({_IN_AN_IDENTIFIER}*{_VISIBLE_IN_AN_IDENTIFIER})?$"
_EMAIL = rf"^{_VISIBLE_IN_AN_IDENTIFIER}+@{_VISIBLE_IN_AN_IDENTIFIER}+$"
_SOURCE = r"^[a-z][a-z0-9._-]*$"

NAME_LENGTH_MAX = 200
"""Longer than the longest registered company names."""
CODE_LENGTH_MAX = 100
"""Room for the numbers of any source system, and for a UUID with a prefix."""
TEXT_LENGTH_MAX = 20_000
"""About ten printed pages: a long e-mail, and far below the 1 MiB of an event's body."""
REASON_LENGTH_MAX = 500
SOURCE_LENGTH_MAX = 40
REFERENCE_LENGTH_MAX = SOURCE_LENGTH_MAX + 1 + CODE_LENGTH_MAX
EMAIL_LENGTH_MAX = 254
"""The longest address that SMTP can carry (RFC 5321)."""
IDENTIFIERS_MAX = 100
"""How many external identifiers one command may carry."""
PARTICIPANTS_MAX = 200
DAYS_MAX = 3_650
EFFORT_MINUTES_MAX = 60 * 24 * 31
FIRST_DAY, DAYS_END = date(1900, 1, 1), date(2200, 1, 1)
"""Before and from then on nothing happens. The bounds catch years with a missing or a doubled digit."""


@dataclass(frozen=True)
class _Written:
    """How a day or an instant is written in JSON. Left to itself, "20260101" would be so many seconds after 1970."""

    pattern: re.Pattern[str]
    read: Callable[[str], date]
    otherwise: str
    """What is said to something else; never what was sent."""

    def _read(self, text: object) -> date:
        if not isinstance(text, str) or not self.pattern.fullmatch(text):
            raise ValueError(self.otherwise)
        try:
            return self.read(text)
        except ValueError:
            raise ValueError(self.otherwise) from None

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        checked = handler(source)
        read = core_schema.no_info_plain_validator_function(self._read)
        return core_schema.json_or_python_schema(core_schema.chain_schema([read, checked]), checked)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema["python_schema"])


_DAY = _Written(
    re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"), date.fromisoformat, "a day of the calendar is expected, as in 2026-04-01"
)
_INSTANT = _Written(
    re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"),
    datetime.fromisoformat,
    "an instant is expected, as in 2026-04-01T09:30:00Z or 2026-04-01T11:30:00+02:00",
)

Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=NAME_LENGTH_MAX, pattern=_LINE)]
"""One line of text, without space at its ends: a name, a street, a title."""
Code: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=CODE_LENGTH_MAX, pattern=_IDENTIFIER)]
"""A number or code of ours or another system. Never personal data; `@` is refused to keep e-mail addresses out."""
Text: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=TEXT_LENGTH_MAX, pattern=_LINES)]
"""Free text of several lines, in which something is visible."""
Reason: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=REASON_LENGTH_MAX, pattern=_LINE)]
"""Why something was done, in one line; kept for ever in the clear, so never personal data."""
SourceName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=SOURCE_LENGTH_MAX, pattern=_SOURCE)]
"""The name of a source system: `shop`, `erp.de`. Lower case, so that one system has one name."""
Reference: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=REFERENCE_LENGTH_MAX, pattern=_LINE)]
"""Names something that exists: our id, or `source:identifier` such as `shop:4711` or `number:C-1001`."""
CurrencyCode: TypeAlias = Annotated[str, StringConstraints(min_length=3, max_length=3, pattern=r"^[A-Z]{3}$")]
"""ISO 4217."""
CountryCode: TypeAlias = Annotated[str, StringConstraints(min_length=2, max_length=2, pattern=r"^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2."""
LanguageTag: TypeAlias = Annotated[
    str, StringConstraints(min_length=2, max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")
]
"""BCP 47: `de`, `de-AT`, `zh-Hant-TW`; 35 characters are what RFC 5646 asks to make room for."""
EmailAddress: TypeAlias = Annotated[str, StringConstraints(min_length=3, max_length=EMAIL_LENGTH_MAX, pattern=_EMAIL)]
"""Something before an `@` and something after it; whether anybody reads it, only a message can tell."""
PhoneNumber: TypeAlias = Annotated[
    str, StringConstraints(min_length=2, max_length=40, pattern=r"^[+0-9(][0-9 ()./-]*[0-9]( ?(x|ext\.?) ?[0-9]+)?$")
]
"""As people write it, with an extension or without: `+49 30 901820-0`, `(030) 90 18 20 ext. 17`."""
VatId: TypeAlias = Annotated[
    str, StringConstraints(min_length=2, max_length=30, pattern=r"^[0-9A-Za-z][0-9A-Za-z .+*/-]*[0-9A-Za-z]$")
]
"""A value-added-tax or other tax number, as it is printed on an invoice."""
Day: TypeAlias = Annotated[date, Field(ge=FIRST_DAY, lt=DAYS_END), _DAY]
"""A local calendar day."""
Instant: TypeAlias = Annotated[
    AwareDatetime,
    Field(ge=datetime.combine(FIRST_DAY, time(), UTC), lt=datetime.combine(DAYS_END, time(), UTC)),
    AfterValidator(lambda instant: instant.astimezone(UTC)),
    _INSTANT,
]
"""An instant with its offset from UTC, kept in UTC."""
Days: TypeAlias = Annotated[int, Field(ge=-DAYS_MAX, le=DAYS_MAX)]
"""A number of days; which ones make sense is a rule of the domain."""
EffortMinutes: TypeAlias = Annotated[int, Field(ge=0, le=EFFORT_MINUTES_MAX)]
"""Working time in whole minutes, at most a month of it."""


def _well_formed(identifier: ExternalIdentifier) -> ExternalIdentifier:
    if not (len(identifier.source) <= SOURCE_LENGTH_MAX and re.fullmatch(_SOURCE, identifier.source)):
        msg = f"a source is at most {SOURCE_LENGTH_MAX} small letters, digits, dots, dashes and underscores"
        raise ValueError(msg)
    if not (len(identifier.id) <= CODE_LENGTH_MAX and re.fullmatch(_IDENTIFIER, identifier.id)):
        msg = f"an identifier is one line of at most {CODE_LENGTH_MAX} characters, without @ or space at its ends"
        raise ValueError(msg)
    return identifier


Identifier: TypeAlias = Annotated[
    ExternalIdentifier,
    AfterValidator(_well_formed),
    WithJsonSchema(
        {
            "type": "object",
            "title": "ExternalIdentifier",
            "description": "What another system calls this: `source` names the system, `id` is its own identifier.",
            "properties": {
                "source": {"type": "string", "minLength": 1, "maxLength": SOURCE_LENGTH_MAX, "pattern": _SOURCE},
                "id": {"type": "string", "minLength": 1, "maxLength": CODE_LENGTH_MAX, "pattern": _IDENTIFIER},
            },
            "required": ["source", "id"],
            "additionalProperties": False,
        }
    ),
]
"""An external identifier whose two parts are bounded."""
Identifiers: TypeAlias = Annotated[tuple[Identifier, ...], Field(max_length=IDENTIFIERS_MAX)]
