"""What handlers of products' commands add to the rules: claims, references, and what comes after what."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

import pytest

from application import products
from application.commands import COMMANDS
from application.ports import NewEvent, Stream
from application.products import PRODUCT
from application.unit_of_work import ReferenceNotFound
from domain.product import (
    SUCCESSORS_MAX,
    CategoryAssigned,
    ComplementDeclared,
    ListPriceChanged,
    ProductChanged,
    ProductDiscontinued,
    ProductIdentifierIsTaken,
    ProductNotFound,
    ProductNumberIsTaken,
    ProductRegistered,
    ProductReportedUnavailable,
    ProductWouldSucceedItself,
    SubstituteDeclared,
    SubstituteDirection,
    SuccessorDeclared,
    TooManySuccessors,
)
from domain.values import ExternalIdentifier, Money, ProductId
from tests.application.test_customers import NEW, Log, claims, decide, validate
from tests.people import APRIL, JANUARY

FLOUR, SPELT = ProductId(UUID(int=1)), ProductId(UUID(int=2))
FLOUR_REGISTERED = ProductRegistered(
    product_number="FLOUR-405",
    name="Flour 405",
    base_unit="kg",
    family="FLOUR",
    tier="BASIC",
    external_identifiers=(ExternalIdentifier(source="shop", id="85123A"),),
)
SPELT_REGISTERED = ProductRegistered(product_number="SPELT", name="Spelt flour", base_unit="kg")


def product_after(*events: object) -> Stream:
    return Stream(len(events), PRODUCT.fold(None, events))


LOG = Log(
    {FLOUR: product_after(FLOUR_REGISTERED), SPELT: product_after(SPELT_REGISTERED)},
    {PRODUCT.reference("number", "SPELT"): SPELT},
)


def test_number_and_identifiers_are_claimed() -> None:
    identifier = {"source": "shop", "id": "85123A"}
    body = {
        "product_number": "FLOUR-405",
        "name": "Flour 405",
        "base_unit": "kg",
        "family": "FLOUR",
        "tier": "BASIC",
        "external_identifiers": [identifier, identifier],
    }
    decision = decide(validate("register-product", body))
    assert decision.events == (NewEvent(NEW, 1, FLOUR_REGISTERED, None),)
    assert claims(decision) == {
        PRODUCT.reference("number", "FLOUR-405"): (ProductNumberIsTaken, "/product_number", None),
        PRODUCT.reference("shop", "85123A"): (ProductIdentifierIsTaken, "/external_identifiers", None),
    }


@dataclass(frozen=True)
class Example:
    """A command as it is sent, and the event that follows."""

    body: dict[str, object]
    event: object


EXAMPLES: Mapping[str, Example] = {
    "change-product": Example(
        {"name": "Flour 550", "family": "FLOUR", "tier": "PREMIUM"},
        ProductChanged(name="Flour 550", family="FLOUR", tier="PREMIUM"),
    ),
    "change-list-price": Example(
        {"price": {"amount": "1.20", "currency": "EUR"}, "valid_from": "2026-01-01"},
        ListPriceChanged(price=Money(amount=Decimal("1.20"), currency="EUR"), valid_from=JANUARY),
    ),
    "assign-category": Example(
        {"category": "BAKING", "valid_from": "2026-01-01"}, CategoryAssigned(category="BAKING", valid_from=JANUARY)
    ),
    "declare-successor": Example(
        {"successor": "number:SPELT", "valid_from": "2026-01-01", "ratio": "0.5"},
        SuccessorDeclared(successor_id=SPELT, valid_from=JANUARY, ratio=Decimal("0.5")),
    ),
    "declare-substitute": Example(
        {"substitute": "number:SPELT", "valid_from": "2026-01-01", "ratio": "1", "direction": "both_ways"},
        SubstituteDeclared(
            substitute_id=SPELT, valid_from=JANUARY, ratio=Decimal(1), direction=SubstituteDirection.BOTH_WAYS
        ),
    ),
    "declare-complement": Example({"complement": "number:SPELT"}, ComplementDeclared(complement_id=SPELT)),
    "report-unavailable": Example(
        {"unavailable_from": "2026-01-01", "unavailable_to": "2026-04-01"},
        ProductReportedUnavailable(unavailable_from=JANUARY, unavailable_to=APRIL),
    ),
    "discontinue-product": Example(
        {"last_offered_on": "2026-04-01", "announced_on": "2026-01-01"},
        ProductDiscontinued(last_offered_on=APRIL, announced_on=JANUARY),
    ),
}


@pytest.mark.parametrize(
    "name", [name for name, each in COMMANDS.items() if each.aggregate is PRODUCT and not each.creates]
)
def test_every_other_command_is_recorded_with_its_product(name: str) -> None:
    decision = decide(validate(name, EXAMPLES[name].body), FLOUR, log=LOG)
    assert decision.events == (NewEvent(FLOUR, 2, EXAMPLES[name].event, None),)


def test_only_a_product_that_exists_is_changed() -> None:
    with pytest.raises(ProductNotFound):
        decide(validate("change-product", EXAMPLES["change-product"].body), NEW, log=LOG)


@pytest.mark.parametrize("word", ["successor", "substitute", "complement"])
def test_what_is_referred_to_exists(word: str) -> None:
    body = EXAMPLES[f"declare-{word}"].body | {word: "number:SUGAR"}
    with pytest.raises(ReferenceNotFound) as refused:
        decide(validate(f"declare-{word}", body), FLOUR, log=LOG)
    assert refused.value.pointer == f"/{word}"


def chain(length: int, *, last: SuccessorDeclared | None = None) -> dict[UUID, Stream]:
    """Products of which each comes after the one before: ids 100, 101 and so on; and what comes after the last."""
    declared: list[SuccessorDeclared | None] = [
        SuccessorDeclared(successor_id=ProductId(UUID(int=100 + place)), valid_from=JANUARY, ratio=Decimal(1))
        for place in range(1, length)
    ]
    return {
        UUID(int=100 + place): product_after(SPELT_REGISTERED, *([] if each is None else [each]))
        for place, each in enumerate([*declared, last])
    }


FIRST_OF_THE_CHAIN = products.DeclareSuccessor(successor=str(UUID(int=100)), valid_from=APRIL, ratio=Decimal(1))
BACK_TO_FLOUR = SuccessorDeclared(successor_id=FLOUR, valid_from=JANUARY, ratio=Decimal(1))


def test_a_chain_of_successors_does_not_come_back() -> None:
    log = replace(LOG, streams={**LOG.streams, **chain(3, last=BACK_TO_FLOUR)})
    with pytest.raises(ProductWouldSucceedItself):
        decide(FIRST_OF_THE_CHAIN, FLOUR, log=log)


def test_every_product_that_was_followed_is_watched_until_the_append() -> None:
    streams = chain(3)
    decision = decide(FIRST_OF_THE_CHAIN, FLOUR, log=replace(LOG, streams={**LOG.streams, **streams}))
    assert decision.reads == {FLOUR: 1, **{stream_id: stream.version for stream_id, stream in streams.items()}}


def test_a_chain_of_successors_is_followed_as_far_as_the_rule_asks() -> None:
    longest = chain(SUCCESSORS_MAX)
    assert len(decide(FIRST_OF_THE_CHAIN, FLOUR, log=replace(LOG, streams={**LOG.streams, **longest})).events) == 1
    too_long = chain(SUCCESSORS_MAX + 1, last=BACK_TO_FLOUR)
    with pytest.raises((TooManySuccessors, ProductWouldSucceedItself)) as refused:
        decide(FIRST_OF_THE_CHAIN, FLOUR, log=replace(LOG, streams={**LOG.streams, **too_long}))
    assert refused.type is TooManySuccessors
