"""Product: what is sold, what it costs by list, and what takes its place.

Rules

* A product number and every external identifier lead to one product.
* The base unit never changes, because the quantities of years are added up in it.
* A list price is not negative. In each currency one price holds at a time: from its day on, until the next one's day.
* A product has one category and one successor at a time, each from a day on.
* A statement for the same day corrects the earlier one; saying the same again changes nothing.
* No product succeeds itself, neither directly nor by way of other products, whatever the days are.
* No product is its own substitute or complement.
* A ratio says how many units take the place of one; it is greater than zero.
* A product is unavailable from a day on and until, but without, another day.
* A discontinued product is not offered after its last day; what was delivered is still invoiced and credited.
"""

from datetime import date
from enum import StrEnum
from typing import TypeAlias

from domain.values import ExactDecimal, ExternalIdentifier, Money, ProductId, immutable


class SubstituteDirection(StrEnum):
    """Whether the other product replaces this one only, or each of them the other."""

    ONE_WAY = "one_way"
    BOTH_WAYS = "both_ways"


@immutable
class ProductRegistered:
    """A product is known from now on. Its quantities are counted in `base_unit`."""

    product_number: str
    name: str
    base_unit: str
    family: str | None = None
    tier: str | None = None
    external_identifiers: tuple[ExternalIdentifier, ...] = ()


@immutable
class ProductChanged:
    """All that now describes the product; what is absent holds no longer."""

    name: str
    family: str | None = None
    tier: str | None = None


@immutable
class ListPriceChanged:
    """The list price of one base unit, in the currency of `price`, from a day on."""

    price: Money
    valid_from: date


@immutable
class CategoryAssigned:
    """The category that the product belongs to from a day on."""

    category: str
    valid_from: date


@immutable
class SuccessorDeclared:
    """From a day on `ratio` units of the successor take the place of one unit of this product."""

    successor_id: ProductId
    valid_from: date
    ratio: ExactDecimal


@immutable
class SubstituteDeclared:
    """From a day on `ratio` units of the substitute can stand in for one unit of this product."""

    substitute_id: ProductId
    valid_from: date
    ratio: ExactDecimal
    direction: SubstituteDirection


@immutable
class ComplementDeclared:
    """The other product goes well with this one."""

    complement_id: ProductId


@immutable
class ProductReportedUnavailable:
    """The product cannot be delivered from a day on, until (without) another one; absent: until further notice."""

    unavailable_from: date
    unavailable_to: date | None = None


@immutable
class ProductDiscontinued:
    """The product is offered on `last_offered_on` for the last time; customers were told on `announced_on`."""

    last_offered_on: date
    announced_on: date | None = None


ProductEvent: TypeAlias = (
    ProductRegistered
    | ProductChanged
    | ListPriceChanged
    | CategoryAssigned
    | SuccessorDeclared
    | SubstituteDeclared
    | ComplementDeclared
    | ProductReportedUnavailable
    | ProductDiscontinued
)
