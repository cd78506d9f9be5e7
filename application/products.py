"""What can be asked for products: each command directly above its handler."""

from uuid import UUID

from application.aggregates import Aggregate
from application.commands import Command, handles
from application.shapes import Code, Day, Identifiers, Name, Reference
from application.unit_of_work import ReferenceNotFound, UnitOfWork
from domain.customer import RESERVED_SOURCE, SourceIsReserved
from domain.product import (
    SUCCESSORS_MAX,
    ListPriceIsNegative,
    Product,
    ProductDiscontinued,
    ProductIdentifierIsTaken,
    ProductIsDiscontinued,
    ProductNotFound,
    ProductNumberIsTaken,
    ProductRefersToItself,
    ProductRegistered,
    ProductWouldSucceedItself,
    RatioIsNotPositive,
    SubstituteDeclared,
    SubstituteDirection,
    SuccessorDeclared,
    TooManySuccessors,
    UnavailabilityEndsBeforeItBegins,
    evolve,
    register,
)
from domain.values import ExactDecimal, Money, ProductId, immutable

PRODUCT = Aggregate("product", "products", Product, evolve, ProductNotFound)


@immutable
class RegisterProduct(Command):
    """Register a product. Its quantities are counted in `base_unit`, for ever.

    `family` and `tier` (such as basic or premium) are codes of your own lists.
    """

    product_number: Code
    name: Name
    base_unit: Code
    family: Code | None = None
    tier: Code | None = None
    external_identifiers: Identifiers = ()


@handles(
    RegisterProduct,
    PRODUCT,
    creates=True,
    refusals=(ProductNumberIsTaken, ProductIdentifierIsTaken, SourceIsReserved),
)
def register_product(command: RegisterProduct, work: UnitOfWork) -> None:
    """Take the number and the identifiers for a new product."""
    (registered,) = register(
        ProductRegistered(
            product_number=command.product_number,
            name=command.name,
            base_unit=command.base_unit,
            family=command.family,
            tier=command.tier,
            external_identifiers=tuple(dict.fromkeys(command.external_identifiers)),
        )
    )
    number = PRODUCT.reference(RESERVED_SOURCE, command.product_number)
    work.claim(number, ProductNumberIsTaken, pointer="/product_number")
    for identifier in registered.external_identifiers:
        claim = PRODUCT.reference(identifier.source, identifier.id)
        work.claim(claim, ProductIdentifierIsTaken, pointer="/external_identifiers")
    work.record(registered)


@immutable
class ChangeProduct(Command):
    """Describe the product anew: what is left out holds no longer. The base unit stays."""

    name: Name
    family: Code | None = None
    tier: Code | None = None


@handles(ChangeProduct, PRODUCT)
def change_product(command: ChangeProduct, work: UnitOfWork) -> None:
    """See `Product.change`."""
    work.record(*work.target(PRODUCT).change(command.name, command.family, command.tier))


@immutable
class ChangeListPrice(Command):
    """Let a list price of one base unit hold from a day on; for the same day it corrects the price before."""

    price: Money
    valid_from: Day


@handles(ChangeListPrice, PRODUCT, refusals=(ListPriceIsNegative,))
def change_list_price(command: ChangeListPrice, work: UnitOfWork) -> None:
    """See `Product.change_list_price`."""
    work.record(*work.target(PRODUCT).change_list_price(command.price, command.valid_from))


@immutable
class AssignCategory(Command):
    """Put the product into a category from a day on; for the same day it corrects the category before."""

    category: Code
    valid_from: Day


@handles(AssignCategory, PRODUCT)
def assign_category(command: AssignCategory, work: UnitOfWork) -> None:
    """See `Product.assign_category`."""
    work.record(*work.target(PRODUCT).assign_category(command.category, command.valid_from))


@immutable
class DeclareSuccessor(Command):
    """Let another product come after this one from a day on; for the same day it corrects the one before.

    `ratio` units of the successor take the place of one unit of this product.
    """

    successor: Reference
    valid_from: Day
    ratio: ExactDecimal


@handles(
    DeclareSuccessor,
    PRODUCT,
    refusals=(
        RatioIsNotPositive,
        ProductWouldSucceedItself,
        TooManySuccessors,
        ProductIsDiscontinued,
        ReferenceNotFound,
    ),
)
def declare_successor(command: DeclareSuccessor, work: UnitOfWork) -> None:
    """Follow the successors of the successor, so that their chain never comes back."""
    product = work.target(PRODUCT)
    successor_id, successor = work.read(PRODUCT, command.successor, pointer="/successor")
    declared = SuccessorDeclared(
        successor_id=ProductId(successor_id), valid_from=command.valid_from, ratio=command.ratio
    )
    following = _following(successor_id, successor, work)
    product_id = ProductId(work.target_id)
    work.record(*product.declare_successor(declared, successor, product_id=product_id, following=following))


def _following(product_id: UUID, product: Product, work: UnitOfWork) -> frozenset[ProductId]:
    """The product and those that come after it, as far as the rule about their number asks."""
    following = {ProductId(product_id)}
    ahead = product.successor_ids
    while ahead:
        following |= ahead
        if len(following) > SUCCESSORS_MAX:
            break
        found = work.read_all(PRODUCT, [str(each) for each in sorted(ahead)], pointer="/successor")
        ahead = frozenset().union(*(each.successor_ids for _, each in found)) - following
    return frozenset(following)


@immutable
class DeclareSubstitute(Command):
    """Let another product stand in for this one from a day on; for the same day it corrects the statement before.

    `ratio` units of the substitute stand in for one unit of this product.
    """

    substitute: Reference
    valid_from: Day
    ratio: ExactDecimal
    direction: SubstituteDirection


@handles(
    DeclareSubstitute,
    PRODUCT,
    refusals=(RatioIsNotPositive, ProductRefersToItself, ProductIsDiscontinued, ReferenceNotFound),
)
def declare_substitute(command: DeclareSubstitute, work: UnitOfWork) -> None:
    """See `Product.declare_substitute`."""
    product = work.target(PRODUCT)
    substitute_id, substitute = work.read(PRODUCT, command.substitute, pointer="/substitute")
    declared = SubstituteDeclared(
        substitute_id=ProductId(substitute_id),
        valid_from=command.valid_from,
        ratio=command.ratio,
        direction=command.direction,
    )
    work.record(*product.declare_substitute(declared, substitute, product_id=ProductId(work.target_id)))


@immutable
class DeclareComplement(Command):
    """Say that another product goes well with this one."""

    complement: Reference


@handles(DeclareComplement, PRODUCT, refusals=(ProductRefersToItself, ReferenceNotFound))
def declare_complement(command: DeclareComplement, work: UnitOfWork) -> None:
    """See `Product.declare_complement`."""
    product = work.target(PRODUCT)
    complement_id, _ = work.read(PRODUCT, command.complement, pointer="/complement")
    work.record(*product.declare_complement(ProductId(complement_id), product_id=ProductId(work.target_id)))


@immutable
class ReportUnavailable(Command):
    """Say that the product cannot be delivered from a day on, until but without another day, or until further notice.

    For the same first day it corrects the report before.
    """

    unavailable_from: Day
    unavailable_to: Day | None = None


@handles(ReportUnavailable, PRODUCT, refusals=(UnavailabilityEndsBeforeItBegins,))
def report_unavailable(command: ReportUnavailable, work: UnitOfWork) -> None:
    """See `Product.report_unavailable`."""
    work.record(*work.target(PRODUCT).report_unavailable(command.unavailable_from, command.unavailable_to))


@immutable
class DiscontinueProduct(Command):
    """Name the last day on which the product is offered, and the day on which that was announced."""

    last_offered_on: Day
    announced_on: Day | None = None


@handles(DiscontinueProduct, PRODUCT)
def discontinue_product(command: DiscontinueProduct, work: UnitOfWork) -> None:
    """See `Product.discontinue`."""
    last_offered_on, announced_on = command.last_offered_on, command.announced_on
    discontinued = ProductDiscontinued(last_offered_on=last_offered_on, announced_on=announced_on)
    work.record(*work.target(PRODUCT).discontinue(discontinued))
