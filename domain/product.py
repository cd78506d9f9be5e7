"""Products: what is sold, what it costs by list, and what takes its place.

Rules

* No two products have the same product number, nor the same identifier of one source; the source `number` is ours.
* The base unit never changes, because the quantities of years are added up in it.
* A list price is not negative. In each currency one list price holds at a time.
* A product has one category and one successor at a time.
* List prices, categories, successors and substitutes hold from a day on, until the day from which a later statement
  holds. Of two statements for the same day the one recorded later corrects the other. So no two of them ever hold at
  once.
* No product comes after itself, neither directly nor by way of other products, whatever the days.
* At most 100 products come after one, so that following them ends.
* No product is its own substitute or complement.
* A ratio, how many units take the place of one, is greater than zero.
* A time of being unavailable ends after the day on which it begins, or it is not known when.
* After its last day a discontinued product is not offered any more, nor declared a successor or a substitute. What was
  ordered before is still delivered and invoiced.
* A decision that changes nothing records nothing.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

from domain.customer import RESERVED_SOURCE, SourceIsReserved
from domain.errors import NotFound, Refusal
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


class ProductNotFound(NotFound):
    """There is no product of this id, number or identifier."""


class ProductNumberIsTaken(Refusal):
    """No two products have the same product number."""


class ProductIdentifierIsTaken(Refusal):
    """No two products have the same identifier of one source."""


class ListPriceIsNegative(Refusal):
    """A list price is not negative."""


class RatioIsNotPositive(Refusal):
    """A ratio, how many units take the place of one, is greater than zero."""


class ProductWouldSucceedItself(Refusal):
    """No product comes after itself, neither directly nor by way of other products."""


class TooManySuccessors(Refusal):
    """At most 100 products come after one."""


class ProductRefersToItself(Refusal):
    """No product is its own substitute or complement."""


class UnavailabilityEndsBeforeItBegins(Refusal):
    """A time of being unavailable ends after the day on which it begins."""


class ProductIsDiscontinued(Refusal):
    """After its last day a discontinued product is not offered any more, nor declared a successor or a substitute."""


SUCCESSORS_MAX = 100
"""How many products may come after one, in all; each of them is read before another is declared."""


@immutable
class Succession:
    """What comes after a product, and how many units of it take the place of one."""

    successor_id: ProductId
    ratio: ExactDecimal


@immutable
class Substitution:
    """How many units of a substitute stand in for one, and whether the other way round too."""

    ratio: ExactDecimal
    direction: SubstituteDirection


@immutable
class Product:
    """What the rules ask about a product. Statements that hold from a day on are kept by that day."""

    base_unit: str
    name: str
    family: str | None
    tier: str | None
    list_prices: Mapping[str, Mapping[date, ExactDecimal]] = field(default_factory=dict)
    categories: Mapping[date, str] = field(default_factory=dict)
    successors: Mapping[date, Succession] = field(default_factory=dict)
    substitutes: Mapping[ProductId, Mapping[date, Substitution]] = field(default_factory=dict)
    complements: frozenset[ProductId] = frozenset()
    unavailable: Mapping[date, date | None] = field(default_factory=dict)
    discontinued: ProductDiscontinued | None = None

    @property
    def successor_ids(self) -> frozenset[ProductId]:
        """The products that come directly after this one, on whatever day."""
        return frozenset(succession.successor_id for succession in self.successors.values())

    def must_be_offered_on(self, day: date, *, pointer: str | None = None) -> None:
        """Refuse what would offer the product after its last day; on that day it is still offered."""
        if self.discontinued is not None and day > self.discontinued.last_offered_on:
            raise ProductIsDiscontinued(pointer=pointer, last_offered_on=self.discontinued.last_offered_on)

    def change(self, name: str, family: str | None, tier: str | None) -> tuple[ProductChanged, ...]:
        """Describe the product anew; what is absent holds no longer."""
        if (name, family, tier) == (self.name, self.family, self.tier):
            return ()
        return (ProductChanged(name=name, family=family, tier=tier),)

    def change_list_price(self, price: Money, valid_from: date) -> tuple[ListPriceChanged, ...]:
        """Let a list price of one base unit hold from a day on, in its currency."""
        if price.amount < 0:
            raise ListPriceIsNegative(pointer="/price/amount")
        if self.list_prices.get(price.currency, {}).get(valid_from) == price.amount:
            return ()
        return (ListPriceChanged(price=price, valid_from=valid_from),)

    def assign_category(self, category: str, valid_from: date) -> tuple[CategoryAssigned, ...]:
        """Put the product into a category from a day on."""
        if self.categories.get(valid_from) == category:
            return ()
        return (CategoryAssigned(category=category, valid_from=valid_from),)

    def declare_successor(
        self,
        declared: SuccessorDeclared,
        successor: "Product",
        *,
        product_id: ProductId,
        following: frozenset[ProductId],
    ) -> tuple[SuccessorDeclared, ...]:
        """Let another product come after this one, which is `product_id`, from a day on.

        `following` are the successor and all products that come after it.
        """
        _must_be_positive(declared.ratio)
        if product_id in following:
            raise ProductWouldSucceedItself(pointer="/successor")
        if len(following) > SUCCESSORS_MAX:
            raise TooManySuccessors(pointer="/successor")
        successor.must_be_offered_on(declared.valid_from, pointer="/successor")
        succession = Succession(successor_id=declared.successor_id, ratio=declared.ratio)
        return () if self.successors.get(declared.valid_from) == succession else (declared,)

    def declare_substitute(
        self, declared: SubstituteDeclared, substitute: "Product", *, product_id: ProductId
    ) -> tuple[SubstituteDeclared, ...]:
        """Let another product stand in for this one, which is `product_id`, from a day on."""
        _must_be_positive(declared.ratio)
        if declared.substitute_id == product_id:
            raise ProductRefersToItself(pointer="/substitute")
        substitute.must_be_offered_on(declared.valid_from, pointer="/substitute")
        stated = self.substitutes.get(declared.substitute_id, {}).get(declared.valid_from)
        return () if stated == _substitution(declared) else (declared,)

    def declare_complement(self, complement_id: ProductId, *, product_id: ProductId) -> tuple[ComplementDeclared, ...]:
        """Say that another product goes well with this one, which is `product_id`."""
        if complement_id == product_id:
            raise ProductRefersToItself(pointer="/complement")
        return () if complement_id in self.complements else (ComplementDeclared(complement_id=complement_id),)

    def report_unavailable(
        self, unavailable_from: date, unavailable_to: date | None
    ) -> tuple[ProductReportedUnavailable, ...]:
        """Say that the product cannot be delivered from a day on, until but without another day."""
        if unavailable_to is not None and unavailable_to <= unavailable_from:
            raise UnavailabilityEndsBeforeItBegins(pointer="/unavailable_to")
        if unavailable_from in self.unavailable and self.unavailable[unavailable_from] == unavailable_to:
            return ()
        return (ProductReportedUnavailable(unavailable_from=unavailable_from, unavailable_to=unavailable_to),)

    def discontinue(self, discontinued: ProductDiscontinued) -> tuple[ProductDiscontinued, ...]:
        """Name the last day on which the product is offered; another day later corrects it."""
        return () if discontinued == self.discontinued else (discontinued,)


def register(registered: ProductRegistered) -> tuple[ProductRegistered]:
    """Begin a product.

    Claims make its number and its identifiers unique: that no other product has them cannot be seen from one stream.
    """
    for index, identifier in enumerate(registered.external_identifiers):
        if identifier.source == RESERVED_SOURCE:
            raise SourceIsReserved(pointer=f"/external_identifiers/{index}/source")
    return (registered,)


def _must_be_positive(ratio: Decimal) -> None:
    if ratio <= 0:
        raise RatioIsNotPositive(pointer="/ratio")


def _substitution(declared: SubstituteDeclared) -> Substitution:
    return Substitution(ratio=declared.ratio, direction=declared.direction)


def evolve(  # noqa: PLR0911 - one case for each event
    state: Product | None, event: ProductEvent
) -> Product:
    """The product after an event."""
    if isinstance(event, ProductRegistered):
        return Product(base_unit=event.base_unit, name=event.name, family=event.family, tier=event.tier)
    if state is None:
        msg = "the stream of a product begins with its registration"
        raise ValueError(msg)
    match event:
        case ProductChanged(name=name, family=family, tier=tier):
            return replace(state, name=name, family=family, tier=tier)
        case ListPriceChanged(price=price, valid_from=day):
            prices = {**state.list_prices.get(price.currency, {}), day: price.amount}
            return replace(state, list_prices={**state.list_prices, price.currency: prices})
        case CategoryAssigned(category=category, valid_from=day):
            return replace(state, categories={**state.categories, day: category})
        case SuccessorDeclared(successor_id=successor_id, valid_from=day, ratio=ratio):
            succession = Succession(successor_id=successor_id, ratio=ratio)
            return replace(state, successors={**state.successors, day: succession})
        case SubstituteDeclared(substitute_id=substitute_id, valid_from=day):
            stated = {**state.substitutes.get(substitute_id, {}), day: _substitution(event)}
            return replace(state, substitutes={**state.substitutes, substitute_id: stated})
        case ComplementDeclared(complement_id=complement_id):
            return replace(state, complements=state.complements | {complement_id})
        case ProductReportedUnavailable(unavailable_from=first_day, unavailable_to=day_after):
            return replace(state, unavailable={**state.unavailable, first_day: day_after})
        case _:
            return replace(state, discontinued=event)
