"""Values that every aggregate shares: typed ids, money, exact numbers, personal data and erasure.

A value checks its own shape and nothing else, so that what was once recorded can always be read again; the rules of
the business are decisions of the aggregates.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import Enum
from functools import cache
from typing import Annotated, Any, NewType, TypeAlias, TypeVar, dataclass_transform
from uuid import UUID

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def immutable(cls: type[T]) -> type[T]:
    """Make a frozen, slotted, keyword-only dataclass: the shape of every event, value, state and command."""
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


CustomerId = NewType("CustomerId", UUID)
ContactId = NewType("ContactId", UUID)
ProductId = NewType("ProductId", UUID)
SalesDocumentId = NewType("SalesDocumentId", UUID)
StaffId = NewType("StaffId", UUID)


class Erased(Enum):
    """What is left of a personal value when the key it was written under has been destroyed."""

    ERASED = "[erased]"


ERASED = Erased.ERASED


@dataclass(frozen=True, slots=True)
class Personal:
    """Marks a field as personal data of the subject that `subject` names.

    `subject` is `"stream"` when the subject is the aggregate itself, else the name of the event's field that holds the
    subject's id. Of `free_text` every single text has a key of its own, so that one text can be redacted alone.
    """

    subject: str = "stream"
    free_text: bool = False


PersonalText: TypeAlias = Annotated[str | Erased, Personal()]
"""A personal value of the aggregate's own subject."""
ContactText: TypeAlias = Annotated[str | Erased, Personal(subject="contact_id")]
"""A personal value of the contact person that the event's `contact_id` names."""
FreeText: TypeAlias = Annotated[str | Erased, Personal(free_text=True)]
"""Free text about the aggregate's own subject: personal by default."""


EXPONENT_FREE_PLACES = 6
"""`str` of a decimal with more places may be `1E-7`, which no pattern of ours admits."""


@dataclass(frozen=True, slots=True)
class Exact:
    """Marks a decimal that travels as text, so that no parser rounds it on the way.

    `digits` bounds the digits before the point and `places` those after it.
    """

    digits: int = 15
    places: int = 6

    def __get_pydantic_core_schema__(self, _source: object, _handler: Callable[..., Any]) -> Mapping[str, object]:
        """Describe the shape to validators that ask for it; numbers in JSON come as text, in Python as they are."""
        number = {
            "type": "decimal",
            "max_digits": self.digits + self.places,
            "decimal_places": self.places,
            "allow_inf_nan": False,
        }
        # Plain str() is three times as fast, but writes an exponent from the seventh place on.
        plain = (
            {"type": "to-string"}
            if self.places <= EXPONENT_FREE_PLACES
            else {"type": "format", "formatting_string": "f"}
        )
        text = {"type": "str", "pattern": rf"^-?[0-9]{{1,{self.digits}}}(\.[0-9]{{1,{self.places}}})?$", "strict": True}
        return {
            "type": "json-or-python",
            "json_schema": {
                "type": "chain",
                "steps": [text, {"type": "function-plain", "function": {"type": "no-info", "function": Decimal}}],
            },
            "python_schema": number,
            "serialization": plain,
        }


ExactDecimal: TypeAlias = Annotated[Decimal, Exact()]
"""A decimal with at most 15 digits before and 6 after the point, as text in JSON."""


@dataclass(frozen=True, slots=True)
class Utc:
    """Marks an instant that is kept in UTC, wherever it was read."""

    def __get_pydantic_core_schema__(self, _source: object, _handler: Callable[..., Any]) -> Mapping[str, object]:
        """Describe the shape to validators that ask for it."""
        return {
            "type": "function-after",
            "function": {"type": "no-info", "function": _in_utc},
            "schema": {"type": "datetime", "tz_constraint": "aware"},
        }


def _in_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC)


Instant: TypeAlias = Annotated[datetime, Utc()]
"""An aware datetime in UTC."""


@dataclass(frozen=True, slots=True)
class Spelled:
    """Marks a text that is spelled as a pattern says, for the schemas that are generated from it."""

    pattern: str
    length_max: int

    def __get_pydantic_core_schema__(self, _source: object, _handler: Callable[..., object]) -> Mapping[str, object]:
        """Describe the shape to validators that ask for it."""
        return {"type": "str", "pattern": self.pattern, "max_length": self.length_max, "strict": True}


_CURRENCY = re.compile(r"[A-Z]{3}")
Currency: TypeAlias = Annotated[str, Spelled(rf"^{_CURRENCY.pattern}$", length_max=3)]
"""ISO 4217."""

MINOR_UNITS: Mapping[str, int] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND"), 0),
    **dict.fromkeys(("VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
"""ISO 4217 currencies whose minor unit has other than two digits."""


def check_currency(code: str) -> None:
    """Refuse what is not an ISO 4217 code in shape: three capital letters."""
    if not _CURRENCY.fullmatch(code):
        msg = "a currency is three capital letters (ISO 4217)"
        raise ValueError(msg)


def minor_units(currency: str) -> int:
    """Digits after the point of an amount in this currency (ISO 4217)."""
    return MINOR_UNITS.get(currency, 2)


@cache
def minor_unit(currency: str) -> Decimal:
    """The smallest amount of a currency: 0.01 for EUR, 1 for JPY."""
    return Decimal(1).scaleb(-minor_units(currency))


def rounded(amount: Decimal, currency: str) -> Decimal:
    """The amount in whole minor units of the currency; halves are rounded away from zero, as in commerce."""
    return unsigned_zero(amount.quantize(minor_unit(currency), ROUND_HALF_UP))


def unsigned_zero(number: Decimal) -> Decimal:
    """The number, and zero without a sign: what is too little to be shown is not less than nothing."""
    return number.copy_abs() if number.is_zero() else number


@immutable
class Money:
    """An amount of one currency (ISO 4217); negative amounts are owed to the customer."""

    amount: ExactDecimal
    currency: Currency

    def __post_init__(self) -> None:
        check_currency(self.currency)


@immutable
class ExternalIdentifier:
    """What another system calls this: `source` names the system, `id` is its own identifier."""

    source: str
    id: str
