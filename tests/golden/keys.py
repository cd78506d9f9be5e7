"""The published keys of the golden files. They protect nothing: they let later versions open what is kept there."""

import hashlib
from uuid import UUID, uuid5

from infrastructure.codec import Key, subject_reference, text_reference

TENANT = UUID("019a0000-0000-7000-8000-00000000c0de")
"""The tenant whose log the golden files could stand in."""


def find_key(reference: str) -> bytes:
    """The published key behind a key reference of a stored form."""
    return hashlib.sha256(f"published test key of {reference}".encode()).digest()


def subject_key(subject: UUID) -> Key:
    """The published key of a subject."""
    reference = subject_reference(subject)
    return Key(reference, 1, find_key(reference))


def text_key(subject: UUID) -> Key:
    """The published key of a free text; one text for each subject is enough here."""
    reference = text_reference(uuid5(subject, "free text"))
    return Key(reference, 1, find_key(reference))
