"""The rules of products, sentence by sentence as `domain/product.py` states them."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.customer import SourceIsReserved
from domain.errors import Refusal
from domain.product import (
    SUCCESSORS_MAX,
    CategoryAssigned,
    ComplementDeclared,
    ListPriceChanged,
    ListPriceIsNegative,
    Product,
    ProductChanged,
    ProductDiscontinued,
    ProductEvent,
    ProductIsDiscontinued,
    ProductRefersToItself,
    ProductRegistered,
    ProductReportedUnavailable,
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
from domain.values import ExternalIdentifier, Money, ProductId
from tests.people import APRIL, JANUARY, JULY
from tests.scenario import Scenario

Decide: TypeAlias = Callable[[Product], tuple[ProductEvent, ...]]

product = Scenario(evolve)

FLOUR, SPELT, RYE, YEAST = (ProductId(UUID(int=number)) for number in range(1, 5))
FLOUR_REGISTERED = ProductRegistered(
    product_number="FLOUR-405",
    name="Flour 405",
    base_unit="kg",
    family="FLOUR",
    tier="BASIC",
    external_identifiers=(ExternalIdentifier(source="shop", id="85123A"),),
)
SPELT_ON_SALE = Product(base_unit="kg", name="Spelt flour", family="FLOUR", tier="PREMIUM")
DISCONTINUED_IN_APRIL = ProductDiscontinued(last_offered_on=APRIL, announced_on=JANUARY)
SPELT_DISCONTINUED = evolve(SPELT_ON_SALE, DISCONTINUED_IN_APRIL)

ONE, HALF = Decimal(1), Decimal("0.5")
SPELT_FOLLOWS = SuccessorDeclared(successor_id=SPELT, valid_from=JANUARY, ratio=ONE)
SPELT_STANDS_IN = SubstituteDeclared(
    substitute_id=SPELT, valid_from=JANUARY, ratio=ONE, direction=SubstituteDirection.ONE_WAY
)
YEAST_GOES_WELL = ComplementDeclared(complement_id=YEAST)
IN_BAKING = CategoryAssigned(category="BAKING", valid_from=JANUARY)
SOLD_OUT = ProductReportedUnavailable(unavailable_from=JANUARY, unavailable_to=APRIL)


def costs(amount: str, currency: str = "EUR", valid_from: date = JANUARY) -> ListPriceChanged:
    return ListPriceChanged(price=Money(amount=Decimal(amount), currency=currency), valid_from=valid_from)


def change_list_price(price: ListPriceChanged) -> Decide:
    return lambda product: product.change_list_price(price.price, price.valid_from)


def assign(assigned: CategoryAssigned) -> Decide:
    return lambda product: product.assign_category(assigned.category, assigned.valid_from)


def change(changed: ProductChanged) -> Decide:
    return lambda product: product.change(changed.name, changed.family, changed.tier)


def succeed(
    declared: SuccessorDeclared, *, successor: Product = SPELT_ON_SALE, following: frozenset[ProductId] | None = None
) -> Decide:
    after = frozenset({declared.successor_id}) if following is None else following
    return lambda product: product.declare_successor(declared, successor, product_id=FLOUR, following=after)


def substitute(declared: SubstituteDeclared, *, by: Product = SPELT_ON_SALE) -> Decide:
    return lambda product: product.declare_substitute(declared, by, product_id=FLOUR)


def complement(complement_id: ProductId) -> Decide:
    return lambda product: product.declare_complement(complement_id, product_id=FLOUR)


def report(reported: ProductReportedUnavailable) -> Decide:
    return lambda product: product.report_unavailable(reported.unavailable_from, reported.unavailable_to)


def discontinue(discontinued: ProductDiscontinued) -> Decide:
    return lambda product: product.discontinue(discontinued)


def offer(day: date) -> Decide:
    def decide(product: Product) -> tuple[ProductEvent, ...]:
        product.must_be_offered_on(day)
        return ()

    return decide


def test_a_product_is_registered() -> None:
    product.when(lambda: register(FLOUR_REGISTERED)).then(FLOUR_REGISTERED)


def test_the_source_number_is_reserved_for_our_own_numbers() -> None:
    identifiers = (ExternalIdentifier(source="shop", id="1"), ExternalIdentifier(source="number", id="1"))
    registered = ProductRegistered(product_number="1", name="Salt", base_unit="kg", external_identifiers=identifiers)
    refused = product.when(lambda: register(registered))
    refused.then_refused(SourceIsReserved, pointer="/external_identifiers/1/source")


def test_a_product_is_described_anew_and_its_base_unit_stays() -> None:
    renamed = ProductChanged(name="Flour 550")
    changed = product.given(FLOUR_REGISTERED).when(change(renamed))
    changed.then(renamed)
    state = product.given(FLOUR_REGISTERED, renamed).state
    assert (state.base_unit, state.name, state.family, state.tier) == ("kg", "Flour 550", None, None)


def test_a_list_price_is_not_negative_but_may_be_nothing() -> None:
    flour = product.given(FLOUR_REGISTERED)
    flour.when(change_list_price(costs("-0.01"))).then_refused(ListPriceIsNegative, pointer="/price/amount")
    flour.when(change_list_price(costs("0.00"))).then(costs("0.00"))


def test_in_each_currency_one_list_price_holds_at_a_time() -> None:
    flour = product.given(FLOUR_REGISTERED, costs("1.20"), costs("1.40", "USD"), costs("1.30", valid_from=APRIL))
    flour.when(change_list_price(costs("1.25"))).then(costs("1.25"))
    assert flour.followed_by(costs("1.25")).state.list_prices == {
        "EUR": {JANUARY: Decimal("1.25"), APRIL: Decimal("1.30")},
        "USD": {JANUARY: Decimal("1.40")},
    }


def test_of_two_categories_for_the_same_day_the_later_statement_holds() -> None:
    corrected = CategoryAssigned(category="MILLING", valid_from=JANUARY)
    flour = product.given(FLOUR_REGISTERED, IN_BAKING)
    flour.when(assign(corrected)).then(corrected)
    assert flour.followed_by(corrected).state.categories == {JANUARY: "MILLING"}


def test_a_successor_is_declared_and_corrected() -> None:
    rye_follows = SuccessorDeclared(successor_id=RYE, valid_from=JANUARY, ratio=HALF)
    flour = product.given(FLOUR_REGISTERED)
    flour.when(succeed(SPELT_FOLLOWS)).then(SPELT_FOLLOWS)
    flour.followed_by(SPELT_FOLLOWS).when(succeed(rye_follows)).then(rye_follows)
    assert flour.followed_by(SPELT_FOLLOWS, rye_follows).state.successor_ids == {RYE}


def test_another_ratio_for_the_same_successor_is_a_correction() -> None:
    by_half = SuccessorDeclared(successor_id=SPELT, valid_from=JANUARY, ratio=HALF)
    product.given(FLOUR_REGISTERED, SPELT_FOLLOWS).when(succeed(by_half)).then(by_half)


def test_no_product_comes_after_itself() -> None:
    itself = SuccessorDeclared(successor_id=FLOUR, valid_from=JANUARY, ratio=ONE)
    flour = product.given(FLOUR_REGISTERED)
    flour.when(succeed(itself)).then_refused(ProductWouldSucceedItself, pointer="/successor")
    by_way_of_rye = succeed(SPELT_FOLLOWS, following=frozenset({SPELT, RYE, FLOUR}))
    flour.when(by_way_of_rye).then_refused(ProductWouldSucceedItself, pointer="/successor")


def test_at_most_100_products_come_after_one() -> None:
    others = [ProductId(UUID(int=100 + number)) for number in range(SUCCESSORS_MAX)]
    flour = product.given(FLOUR_REGISTERED)
    flour.when(succeed(SPELT_FOLLOWS, following=frozenset({SPELT, *others[1:]}))).then(SPELT_FOLLOWS)
    too_many = succeed(SPELT_FOLLOWS, following=frozenset({SPELT, *others}))
    flour.when(too_many).then_refused(TooManySuccessors, pointer="/successor")


@pytest.mark.parametrize("ratio", ["0", "-1"])
def test_a_ratio_is_greater_than_zero(ratio: str) -> None:
    successor = SuccessorDeclared(successor_id=SPELT, valid_from=JANUARY, ratio=Decimal(ratio))
    stand_in = SubstituteDeclared(
        substitute_id=SPELT, valid_from=JANUARY, ratio=Decimal(ratio), direction=SubstituteDirection.BOTH_WAYS
    )
    flour = product.given(FLOUR_REGISTERED)
    flour.when(succeed(successor)).then_refused(RatioIsNotPositive, pointer="/ratio")
    flour.when(substitute(stand_in)).then_refused(RatioIsNotPositive, pointer="/ratio")


def test_a_substitute_is_declared_and_corrected() -> None:
    both_ways = SubstituteDeclared(
        substitute_id=SPELT, valid_from=JANUARY, ratio=ONE, direction=SubstituteDirection.BOTH_WAYS
    )
    flour = product.given(FLOUR_REGISTERED)
    flour.when(substitute(SPELT_STANDS_IN)).then(SPELT_STANDS_IN)
    flour.followed_by(SPELT_STANDS_IN).when(substitute(both_ways)).then(both_ways)


def test_no_product_is_its_own_substitute_or_complement() -> None:
    itself = SubstituteDeclared(
        substitute_id=FLOUR, valid_from=JANUARY, ratio=ONE, direction=SubstituteDirection.ONE_WAY
    )
    flour = product.given(FLOUR_REGISTERED)
    flour.when(substitute(itself)).then_refused(ProductRefersToItself, pointer="/substitute")
    flour.when(complement(FLOUR)).then_refused(ProductRefersToItself, pointer="/complement")


def test_a_time_of_being_unavailable_ends_after_the_day_on_which_it_begins() -> None:
    flour = product.given(FLOUR_REGISTERED)
    no_time = ProductReportedUnavailable(unavailable_from=APRIL, unavailable_to=APRIL)
    flour.when(report(no_time)).then_refused(UnavailabilityEndsBeforeItBegins, pointer="/unavailable_to")
    one_day = ProductReportedUnavailable(unavailable_from=APRIL, unavailable_to=APRIL + timedelta(days=1))
    flour.when(report(one_day)).then(one_day)


def test_a_product_is_unavailable_until_further_notice_and_then_until_a_day() -> None:
    for_now = ProductReportedUnavailable(unavailable_from=JANUARY)
    flour = product.given(FLOUR_REGISTERED)
    flour.when(report(for_now)).then(for_now)
    flour.followed_by(for_now).when(report(SOLD_OUT)).then(SOLD_OUT)
    assert flour.followed_by(for_now, SOLD_OUT).state.unavailable == {JANUARY: APRIL}


def test_a_discontinued_product_is_offered_on_its_last_day_and_not_after() -> None:
    flour = product.given(FLOUR_REGISTERED, DISCONTINUED_IN_APRIL)
    flour.when(offer(APRIL)).then()
    flour.when(offer(APRIL + timedelta(days=1))).then_refused(ProductIsDiscontinued)
    product.given(FLOUR_REGISTERED).when(offer(JULY)).then()


def test_another_last_day_corrects_the_one_before() -> None:
    later = ProductDiscontinued(last_offered_on=JULY)
    flour = product.given(FLOUR_REGISTERED, DISCONTINUED_IN_APRIL)
    flour.when(discontinue(later)).then(later)
    flour.followed_by(later).when(offer(JULY)).then()


def test_after_its_last_day_a_product_is_not_declared_a_successor_or_a_substitute() -> None:
    flour = product.given(FLOUR_REGISTERED)
    flour.when(succeed(SPELT_FOLLOWS, successor=SPELT_DISCONTINUED)).then(SPELT_FOLLOWS)
    in_july = SuccessorDeclared(successor_id=SPELT, valid_from=JULY, ratio=ONE)
    too_late = flour.when(succeed(in_july, successor=SPELT_DISCONTINUED))
    too_late.then_refused(ProductIsDiscontinued, pointer="/successor")
    stand_in = SubstituteDeclared(
        substitute_id=SPELT, valid_from=JULY, ratio=ONE, direction=SubstituteDirection.ONE_WAY
    )
    too_late = flour.when(substitute(stand_in, by=SPELT_DISCONTINUED))
    too_late.then_refused(ProductIsDiscontinued, pointer="/substitute")


AGAIN: dict[str, tuple[ProductEvent, Decide]] = {
    "name": (FLOUR_REGISTERED, change(ProductChanged(name="Flour 405", family="FLOUR", tier="BASIC"))),
    "list price": (costs("1.20"), change_list_price(costs("1.20"))),
    "category": (IN_BAKING, assign(IN_BAKING)),
    "successor": (SPELT_FOLLOWS, succeed(SPELT_FOLLOWS)),
    "substitute": (SPELT_STANDS_IN, substitute(SPELT_STANDS_IN)),
    "complement": (YEAST_GOES_WELL, complement(YEAST)),
    "unavailable": (SOLD_OUT, report(SOLD_OUT)),
    "discontinued": (DISCONTINUED_IN_APRIL, discontinue(DISCONTINUED_IN_APRIL)),
}


@pytest.mark.parametrize(("said", "say_again"), [*AGAIN.values()], ids=[*AGAIN])
def test_a_decision_that_changes_nothing_records_nothing(said: ProductEvent, say_again: Decide) -> None:
    product.given(FLOUR_REGISTERED, said).when(say_again).then()


def test_a_stream_begins_with_a_registration() -> None:
    with pytest.raises(ValueError, match="begins with its registration"):
        evolve(None, IN_BAKING)


days = st.sampled_from([JANUARY, APRIL, JULY])
ids = st.sampled_from([FLOUR, SPELT, RYE])
ratios = st.sampled_from([Decimal(-1), HALF, ONE])
others = st.sampled_from([SPELT_ON_SALE, SPELT_DISCONTINUED])
decisions: st.SearchStrategy[Decide] = st.one_of(
    st.builds(change, st.builds(ProductChanged, name=st.sampled_from(["Flour 405", "Flour 550"]))),
    st.builds(change_list_price, st.builds(costs, st.sampled_from(["-1", "1", "2"]), st.just("EUR"), days)),
    st.builds(assign, st.builds(CategoryAssigned, category=st.sampled_from("AB"), valid_from=days)),
    st.builds(succeed, st.builds(SuccessorDeclared, successor_id=ids, valid_from=days, ratio=ratios), successor=others),
    st.builds(
        substitute,
        st.builds(
            SubstituteDeclared,
            substitute_id=ids,
            valid_from=days,
            ratio=ratios,
            direction=st.sampled_from(SubstituteDirection),
        ),
        by=others,
    ),
    st.builds(complement, ids),
    st.builds(report, st.builds(ProductReportedUnavailable, unavailable_from=days, unavailable_to=st.none() | days)),
    st.builds(discontinue, st.builds(ProductDiscontinued, last_offered_on=days, announced_on=st.none() | days)),
)


def decided(state: Product, decision: Decide) -> tuple[ProductEvent, ...]:
    """What is recorded of a decision; nothing when it is refused."""
    try:
        return decision(state)
    except Refusal:
        return ()


@settings(max_examples=50)
@given(st.lists(decisions, max_size=30))
def test_any_accepted_sequence_evolves_and_says_nothing_twice(wishes: list[Decide]) -> None:
    events: list[ProductEvent] = [FLOUR_REGISTERED]
    state = product.given(FLOUR_REGISTERED).state
    for wish in wishes:
        for event in decided(state, wish):
            state = evolve(state, event)
            events.append(event)
        assert decided(state, wish) == ()

    prices = [event for event in events if isinstance(event, ListPriceChanged)]
    assert state.list_prices.get("EUR", {}) == {event.valid_from: event.price.amount for event in prices}
    assert FLOUR not in state.successor_ids | state.complements | state.substitutes.keys()
    assert product.given(*events).state == state
