"""Shapes of what is asked and answered: immutable, and described field by field for the documentation."""

from typing import TypeVar, dataclass_transform

from pydantic import ConfigDict

from domain.values import immutable

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def described(cls: type[T]) -> type[T]:
    """Make an immutable dataclass whose fields are documented by the texts below them."""
    made = immutable(cls)
    made.__pydantic_config__ = ConfigDict(use_attribute_docstrings=True)  # type: ignore[attr-defined] # pydantic's name
    return made
