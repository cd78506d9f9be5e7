"""Refusals: the one way in which the domain says no.

A refusal is a fact about why a command cannot happen. Its class name is its code on the wire
(`CustomerIsBlocked` becomes `customer-is-blocked`) and the first paragraph of its docstring is the rule, as the
sentence that a person reads.
"""

import re
from typing import ClassVar

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Refusal(Exception):  # noqa: N818 - a refusal is an answer of the domain, not an error of the program
    """A rule of the business refuses the command."""

    status: ClassVar[int] = 409
    """The HTTP status that the outer layers answer with; 409 for a rule, 404 for what does not exist."""

    def __init__(self, *, pointer: str | None = None, **details: object) -> None:
        super().__init__(self.rule())
        self.pointer = pointer
        """JSON pointer (RFC 6901) into the command to the offending field, where there is one."""
        self.details = {name: str(value) for name, value in details.items()}
        """Facts that help the sender; never personal data."""

    @classmethod
    def code(cls) -> str:
        """`customer-is-blocked` for `CustomerIsBlocked`."""
        return _WORD_BOUNDARY.sub("-", cls.__name__).lower()

    @classmethod
    def rule(cls) -> str:
        """The rule as a sentence: the first paragraph of the docstring."""
        return " ".join((cls.__doc__ or cls.__name__).split("\n\n")[0].split())


class NotFound(Refusal):
    """What the command or the query names does not exist."""

    status = 404
