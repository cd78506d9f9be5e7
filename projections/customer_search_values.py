"""What a customer is found by: words of organisations' names, and values of people that are compared as keyed hashes.

Words are found from their beginning. Personal values are found only whole: an e-mail address, a telephone number, a VAT
id, an identifier of another system, each word of a person's name.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, TypeAlias

from domain.customer import (
    ContactPersonAdded,
    ContactPersonChanged,
    CustomerRegistered,
    ExternalIdentifierAttached,
    LegalNameChanged,
    normalised_vat_id,
)
from domain.values import Erased, ExternalIdentifier
from projections.read_model import Hash

_WORDS_MAX: Final = 16
"""Words of a name or a query that count: more are no name."""
_PHONE_DIGITS_MIN: Final = 5

_WORD = re.compile(r"\w+")
_PHONE = re.compile(r"[+\d][\d\s()./-]*")

_Personal: TypeAlias = str | Erased | None


def folded(text: str) -> str:
    """A text as it is compared: one form for what looks the same, and no capitals."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def words(text: str) -> list[str]:
    """The words of a name or a query, each once, in their order."""
    return list(dict.fromkeys(_WORD.findall(folded(text))))[:_WORDS_MAX]


def searchable_words(event: object) -> Iterable[str]:
    """The words under which an organisation is found."""
    if isinstance(event, CustomerRegistered | LegalNameChanged) and event.legal_name is not None:
        return words(event.legal_name)
    return ()


def findable_values(event: object) -> set[tuple[str, str]]:
    """The values that a customer is found by, whole, each with its kind."""
    found: set[tuple[str, str]] = set()
    identifiers: tuple[ExternalIdentifier, ...] = ()
    match event:
        case CustomerRegistered():
            found = {*_of_name(event.name), *_of_vat_id(event.vat_id), *_of_vat_id(event.personal_vat_id)}
            identifiers = event.external_identifiers
        case LegalNameChanged():
            found = {*_of_name(event.name)}
        case ContactPersonAdded() | ContactPersonChanged():
            found = {*_of_name(event.name), *_of_email(event.email), *_of_phone(event.phone)}
        case ExternalIdentifierAttached():
            identifiers = (event.identifier,)
        case _:
            pass
    return found | {("identifier", each.id) for each in identifiers}


def values_of_query(query: str) -> set[tuple[str, str]]:
    """What a query may be as a whole."""
    query = query.strip()
    phone = _of_phone(query) if _PHONE.fullmatch(query) else ()
    return {*_of_email(query), *_of_vat_id(query), *phone, ("identifier", query)}


def token(hash_of: Hash, kind: str, value: str) -> bytes:
    """The keyed hash in whose place a personal value stands."""
    return hash_of(f"customer_card:{kind}", value)


def _of_name(name: _Personal) -> Iterable[tuple[str, str]]:
    return [("word", word) for word in words(name)] if isinstance(name, str) else ()


def _of_vat_id(vat_id: _Personal) -> Iterable[tuple[str, str]]:
    return [("vat_id", normalised_vat_id(vat_id))] if isinstance(vat_id, str) else ()


def _of_email(email: _Personal) -> Iterable[tuple[str, str]]:
    return [("email", folded(email).strip())] if isinstance(email, str) else ()


def _of_phone(phone: _Personal) -> Iterable[tuple[str, str]]:
    digits = _digits(phone) if isinstance(phone, str) else ""
    return [("phone", digits)] if len(digits) >= _PHONE_DIGITS_MIN else ()


def _digits(phone: str) -> str:
    """A telephone number without what people put in between for reading."""
    return "".join(each for each in unicodedata.normalize("NFKC", phone) if each.isdecimal())
