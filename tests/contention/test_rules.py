"""Two processes at every rule that reads another stream, and at every claim: both outcomes occur, no rule is broken."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from application.commands import Command
from application.customers import AttachExternalIdentifier, DeactivateCustomer
from application.products import DeclareSubstitute, DeclareSuccessor, DiscontinueProduct
from application.sales_documents import (
    CancelInvoice,
    CreditInvoice,
    CreditLine,
    CreditNoteLine,
    PostAdjustment,
    PostCreditNote,
)
from application.service_calendars import DefineCalendar
from application.staff import DefineTeam, RegisterStaff
from application.support_cases import MergeCase, OpenCase
from domain.case_events import ActorClass, CaseKind
from domain.customer import Channel, Department
from domain.product import SubstituteDirection
from domain.sales_document import AdjustmentReason, CreditReason
from domain.values import ExternalIdentifier
from tests.colleagues import BERLIN_OFFICE
from tests.commands import block, invoice, register, register_product
from tests.contention import dice, times
from tests.contention.processes import Asked, Bug, Told, Workers, Workplace, working
from tests.people import APRIL, JANUARY

ONE = Decimal(1)
TRIES_AT_ONCE = 20
ROUNDS_MAX = 50
"""How often a bug is given the chance to show itself; one round usually does."""


def shop(number: str) -> tuple[ExternalIdentifier, ...]:
    return (ExternalIdentifier(source="shop", id=number),)


def document(kind: Any, number: str, **fields: Any) -> Command:
    """A sales document of some kind, with this number."""
    made: Command = kind(document_number=number, document_date=APRIL, posted_on=APRIL, **fields)
    return made


def posting(kind: Any, number: str, **fields: Any) -> Command:
    """A sales document of some kind for the customer of the same number."""
    return document(kind, number, customer=f"number:{number}", currency="EUR", ship_to_country="DE", **fields)


def credit_note(number: str) -> Command:
    return posting(
        PostCreditNote,
        number,
        lines=(CreditNoteLine(line_no=1, net_amount=ONE),),
        credit_reason=CreditReason.GOODWILL,
        invoice_unknown_because="lost",
    )


def adjustment(number: str) -> Command:
    return posting(PostAdjustment, number, amount=ONE, adjustment_reason=AdjustmentReason.ROUNDING)


def credit(number: str, amount: int) -> Command:
    """A credit note on an invoice over 25.00."""
    line = CreditLine(line_no=1, net_amount=Decimal(amount))
    return document(CreditInvoice, number, lines=(line,), credit_reason=CreditReason.PRICE_CORRECTION)


def case(number: str, identifiers: tuple[ExternalIdentifier, ...] = ()) -> Command:
    return OpenCase(
        case_number=number,
        kind=CaseKind.INQUIRY,
        channel=Channel.PHONE,
        opened_by=ActorClass.CUSTOMER,
        external_identifiers=identifiers,
    )


def team(number: str) -> Command:
    return DefineTeam(team_number=number, name="Second level", department=Department.SERVICE)


def staff(number: str) -> Command:
    return RegisterStaff(staff_number=number, name="Katherine Johnson", department=Department.SERVICE)


def calendar(number: str) -> Command:
    return DefineCalendar(calendar_number=number, name="Office", hours=BERLIN_OFFICE)


def successor(of: str) -> Command:
    return DeclareSuccessor(successor=of, valid_from=APRIL, ratio=ONE)


def substitute(of: str) -> Command:
    return DeclareSubstitute(substitute=of, valid_from=APRIL, ratio=ONE, direction=SubstituteDirection.ONE_WAY)


DISCONTINUED = DiscontinueProduct(last_offered_on=JANUARY)


def customer(n: str) -> list[Asked]:
    return [(register(customer_number=n), None)]


def two_products(n: str) -> list[Asked]:
    return [(register_product(product_number=f"{n}{which}"), None) for which in "ab"]


def three_products(n: str) -> list[Asked]:
    return [*two_products(n), (register_product(product_number=f"{n}c"), None)]


def posted(n: str) -> list[Asked]:
    return [*customer(n), (invoice(n, f"number:{n}", source="erp"), None)]


def two_posted(n: str) -> list[Asked]:
    return [*posted(n), (invoice(f"{n}b", f"number:{n}", source="erp"), None)]


def two_cases(n: str) -> list[Asked]:
    return [(case(f"{n}{which}"), None) for which in "ab"]


def new(make: Callable[[str], Command]) -> Callable[[str], tuple[Asked, Asked]]:
    """Two of the same, each to be a new stream."""
    return lambda n: ((make(n), None), (make(n), None))


def one_wins(sides: Sequence[Told]) -> bool:
    """Exactly one of the two is recorded, the other refused."""
    return sorted(told.is_recorded for told in sides) == [False, True] and {told.refusal for told in sides} != {None}


def first_in_time(sides: Sequence[Told]) -> bool:
    """The second side always happens; the first one only before it."""
    first, second = sides
    if not second.is_recorded:
        return False
    return first.positions[0] < second.positions[0] if first.is_recorded else first.refusal is not None


@dataclass(frozen=True)
class Race:
    """What two processes do at the same moment with what was prepared under a number."""

    sides: Callable[[str], tuple[Asked, Asked]]
    prepared: Callable[[str], list[Asked]] = lambda _: []
    holds: Callable[[Sequence[Told]], bool] = one_wins


RACES: dict[str, Race] = {
    "an invoice, and its customer is blocked": Race(
        lambda n: ((invoice(n, f"number:{n}"), None), (block(), f"number:{n}")), customer, first_in_time
    ),
    "an invoice, and its customer is deactivated": Race(
        lambda n: ((invoice(n, f"number:{n}"), None), (DeactivateCustomer(), f"number:{n}")), customer, first_in_time
    ),
    "a successor is declared and discontinued": Race(
        lambda n: ((successor(f"number:{n}b"), f"number:{n}a"), (DISCONTINUED, f"number:{n}b")),
        two_products,
        first_in_time,
    ),
    "a substitute is declared and discontinued": Race(
        lambda n: ((substitute(f"number:{n}b"), f"number:{n}a"), (DISCONTINUED, f"number:{n}b")),
        two_products,
        first_in_time,
    ),
    "each of two products succeeds the other": Race(
        lambda n: ((successor(f"number:{n}b"), f"number:{n}a"), (successor(f"number:{n}a"), f"number:{n}b")),
        two_products,
    ),
    "three products succeed each other in a ring": Race(
        lambda n: ((successor(f"number:{n}b"), f"number:{n}a"), (successor(f"number:{n}a"), f"number:{n}c")),
        lambda n: [*three_products(n), (successor(f"number:{n}c"), f"number:{n}b")],
    ),
    "each of two cases is merged into the other": Race(
        lambda n: (
            (MergeCase(into=f"number:{n}b"), f"number:{n}a"),
            (MergeCase(into=f"number:{n}a"), f"number:{n}b"),
        ),
        two_cases,
    ),
}
READING_ANOTHER_STREAM = tuple(RACES)
RACES |= {
    # Rules of one stream that both write.
    "more is credited than was invoiced": Race(
        lambda n: ((credit(f"{n}c", 20), f"erp:{n}"), (credit(f"{n}d", 20), f"erp:{n}")), posted
    ),
    "an invoice is cancelled twice": Race(
        lambda n: (
            (document(CancelInvoice, f"{n}c"), f"erp:{n}"),
            (document(CancelInvoice, f"{n}d"), f"erp:{n}"),
        ),
        posted,
    ),
    # Claims.
    "a customer number": Race(new(lambda n: register(customer_number=n))),
    "an identifier of a new customer": Race(
        lambda n: (
            (register(customer_number=f"{n}a", external_identifiers=shop(n)), None),
            (register(customer_number=f"{n}b", external_identifiers=shop(n)), None),
        )
    ),
    "an identifier that is attached": Race(
        lambda n: (
            (AttachExternalIdentifier(identifier=shop(n)[0]), f"number:{n}"),
            (register(customer_number=f"{n}b", external_identifiers=shop(n)), None),
        ),
        customer,
    ),
    "a VAT id": Race(
        lambda n: (
            (register(customer_number=f"{n}a", vat_id=f"DE{n}"), None),
            (register(customer_number=f"{n}b", vat_id=f"de {n}"), None),
        )
    ),
    "a product number": Race(new(lambda n: register_product(product_number=n))),
    "an identifier of a product": Race(
        lambda n: (
            (register_product(product_number=f"{n}a", external_identifiers=shop(n)), None),
            (register_product(product_number=f"{n}b", external_identifiers=shop(n)), None),
        )
    ),
    "the number of an invoice": Race(new(lambda n: invoice(n, f"number:{n}")), customer),
    "the number of a credit note": Race(new(credit_note), customer),
    "the number of a credit note on an invoice": Race(
        lambda n: ((credit_note(n), None), (credit(n, 5), f"erp:{n}")), posted
    ),
    "the number of an adjustment": Race(new(adjustment), customer),
    "the number of a cancellation": Race(
        lambda n: ((document(CancelInvoice, n), f"erp:{n}"), (document(CancelInvoice, n), f"erp:{n}b")), two_posted
    ),
    "a number of a team": Race(new(team)),
    "a number of staff": Race(new(staff)),
    "a number of a calendar": Race(new(calendar)),
    "a number of a case": Race(new(case)),
    "an identifier of a case": Race(
        lambda n: ((case(f"{n}a", shop(n)), None), (case(f"{n}b", shop(n)), None)),
    ),
}


@dataclass
class Score:
    """How a race came out over all tries."""

    tries: int = 0
    collided: int = 0
    broken: int = 0
    first: int = 0
    """How often the first side was recorded."""


def prepare(workers: Workers, numbers: dict[str, list[str]]) -> dict[str, set[UUID]]:
    """Prepare every try, one step after the other; the streams of each try by its number."""
    steps = {n: RACES[name].prepared(n) for name, each in numbers.items() for n in each}
    streams: dict[str, set[UUID]] = {n: set() for n in steps}
    for place in range(max(map(len, steps.values()))):
        due = [n for n, each in steps.items() if len(each) > place]
        result = workers.work([steps[n][place] for n in due], [])[0]
        for n, told in zip(due, result.told, strict=True):
            assert told.is_recorded, (steps[n][place], told)
            assert told.stream is not None
            streams[n].add(told.stream)
    return streams


def race(workers: Workers, scores: dict[str, Score]) -> None:
    """Try each of these races some times, all at the same moment."""
    numbers = {name: [f"{dice(10**12):012}" for _ in range(TRIES_AT_ONCE)] for name in scores}
    streams = prepare(workers, numbers)
    tries = [(name, n, dice(2)) for name, each in numbers.items() for n in each]
    sides = [RACES[name].sides(n) for name, n, _ in tries]
    lists = [[both[swapped ^ which] for both, (_, _, swapped) in zip(sides, tries, strict=True)] for which in (0, 1)]
    rounds = workers.work(*lists, in_step=True)
    for (name, n, swapped), *told in zip(tries, *(each.told for each in rounds), strict=True):
        first, second = reversed(told) if swapped else told
        score = scores[name]
        score.tries += 1
        score.broken += not RACES[name].holds((first, second))
        score.first += first.is_recorded
        is_stale = any(not streams[n].isdisjoint(each.stale) for each in rounds)
        score.collided += is_stale or first.refusal is not None or second.refusal is not None


def run(workplace: Workplace, tries: int) -> dict[str, Score]:
    scores = {name: Score() for name in RACES}
    with working(workplace) as workers:
        while sum(score.tries for score in scores.values()) < tries:
            race(workers, scores)
    return scores


def test_two_processes_break_no_rule_that_reads_another_stream_and_no_claim(
    workplace: Workplace, say: Callable[[str], None]
) -> None:
    scores = run(workplace, times(2 * TRIES_AT_ONCE * len(RACES), 10_000))
    tries, collided = (sum(getattr(score, each) for score in scores.values()) for each in ("tries", "collided"))
    say(f"{tries} tries at {len(RACES)} rules and claims, {100 * collided // tries} % collided")
    for name, score in scores.items():
        say(f"{name}: {score.tries} tries, {score.collided} collided, the first side {score.first} times")
    assert collided >= 0.3 * tries
    assert {name: score.broken for name, score in scores.items() if score.broken} == {}
    assert [name for name, score in scores.items() if score.first in (0, score.tries)] == []


def test_a_writer_that_does_not_compare_what_it_read_is_found_out(workplace: Workplace) -> None:
    scores = {name: Score() for name in READING_ANOTHER_STREAM}
    with working(replace(workplace, bug=Bug.READS_UNCHECKED)) as workers:
        for _ in range(ROUNDS_MAX):
            race(workers, scores)
            if any(score.broken for score in scores.values()):
                return
    pytest.fail(f"{ROUNDS_MAX} rounds broke no rule, though nothing that was read was compared")
