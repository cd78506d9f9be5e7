"""What two processes do at the same moment: at every rule that reads another stream, and at every claim.

`tests.contention.sites` finds those in the program, so that one without a race is noticed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from application.commands import Command
from application.customers import AttachExternalIdentifier, DeactivateCustomer
from application.products import DeclareComplement
from application.sales_documents import CancelInvoice
from application.staff import JoinTeam, LeaveTeam
from application.support_cases import (
    AddInternalNote,
    AssignCalendar,
    AssignCase,
    ClassifyCase,
    CloseCase,
    EscalateCase,
    IdentifyCustomer,
    LinkToProductFeedback,
    MergeCase,
    SendPublicReply,
    SplitCase,
    TransferCase,
    WaitForCustomer,
)
from domain.case_events import EscalationKind
from tests.commands import block, invoice, talk
from tests.contention.processes import Asked, Told
from tests.contention.situations import (
    DISCONTINUED,
    MESSAGE,
    TEN,
    a_case,
    a_case_of_one_of_two_customers,
    a_closed_case,
    a_customer,
    a_merged_case,
    a_product,
    adjustment,
    an_answered_case_with_an_unanswered_one_merged_into_it,
    an_invoice,
    calendar,
    case,
    credit,
    credit_note,
    customer,
    document,
    one_merged_into_an_answered_case_and_another_that_waits,
    product,
    shop,
    somebody,
    staff,
    substitute,
    successor,
    team,
    three_products,
    two_cases,
    two_invoices,
    two_products,
)
from tests.people import APRIL, JANUARY

# What may come of it


def one_wins(sides: Sequence[Told]) -> bool:
    """Exactly one of the two is recorded, the other refused."""
    return sorted(told.is_recorded for told in sides) == [False, True] and {told.refusal for told in sides} != {None}


def first_in_time(sides: Sequence[Told]) -> bool:
    """The second side always happens; the first one only before it."""
    first, second = sides
    if not second.is_recorded:
        return False
    return first.positions[0] < second.positions[0] if first.is_recorded else first.refusal is not None


def first_too_early(sides: Sequence[Told]) -> bool:
    """The second side always happens; the first one only after it."""
    first, second = sides
    if not second.is_recorded:
        return False
    return first.positions[0] > second.positions[0] if first.is_recorded else first.refusal is not None


def one_opens_a_follow_up(sides: Sequence[Told]) -> bool:
    """Both messages are recorded, and for the first of them a case is opened."""
    opening = sorted("support-case.follow-up-case-opened" in told.types for told in sides)
    return all(told.is_recorded for told in sides) and opening == [False, True]


def message_goes_on_where_it_can(sides: Sequence[Told]) -> bool:
    """A message is recorded in the other case before the end of that, and afterwards in one that follows it."""
    message, end = sides
    if not (message.is_recorded and end.is_recorded):
        return False
    is_before = message.positions[0] < end.positions[0]
    return is_before == ("support-case.customer-message-received" in message.types)


def wakes_unless_answered(sides: Sequence[Told]) -> bool:
    """Both always happen, and the case that waited is open again only where the merge came before the reply."""
    merge, reply = sides
    if not (merge.is_recorded and reply.is_recorded):
        return False
    return (merge.positions[0] < reply.positions[0]) == ("support-case.resumed" in merge.types)


@dataclass(frozen=True)
class Race:
    """What two processes do at the same moment with what was prepared under a number."""

    sides: Callable[[str], tuple[Asked, Asked]]
    prepared: Callable[[str], list[Asked]] = lambda _: []
    holds: Callable[[Sequence[Told]], bool] = one_wins
    first_has_a_choice: bool = True
    """Whether the first side is recorded in some tries only; both sides may also always be, and differ in how."""


def new(make: Callable[[str], Command]) -> Race:
    """Two of the same, each to be a new stream."""
    return Race(lambda n: ((make(n), None), (make(n), None)))


def same_identifier(make: Callable[..., Command]) -> Race:
    """Two different ones, of which each is to have the same identifier."""
    return Race(
        lambda n: (
            (make(f"{n}a", external_identifiers=shop(n)), None),
            (make(f"{n}b", external_identifiers=shop(n)), None),
        )
    )


def being_made(
    refer: Callable[[str, str], Command],
    make: Callable[[str], Command],
    prepared: Callable[[str], list[Asked]] | None = None,
) -> Race:
    """Something is referred to that is being made. `refer` is given the number of the try and the reference."""
    return Race(
        lambda n: ((refer(n, f"number:{n}new"), f"number:{n}" if prepared else None), (make(f"{n}new"), None)),
        prepared or (lambda _: []),
        first_too_early,
    )


def with_a_customer(refer: Callable[[str, str], Command], make: Callable[[str], Command]) -> Race:
    """The same, for what begins a stream and needs a customer, too."""
    return replace(being_made(refer, make), prepared=a_customer)


RULES: Mapping[str, Race] = {
    "an invoice, and its customer is blocked": Race(
        lambda n: ((invoice(n, f"number:{n}"), None), (block(), f"number:{n}")), a_customer, first_in_time
    ),
    "an invoice, and its customer is deactivated": Race(
        lambda n: ((invoice(n, f"number:{n}"), None), (DeactivateCustomer(), f"number:{n}")), a_customer, first_in_time
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
    "a case is merged into one that is closed": Race(
        lambda n: ((MergeCase(into=f"number:{n}b"), f"number:{n}a"), (CloseCase(), f"number:{n}b")),
        two_cases,
        first_in_time,
    ),
    "a case is merged into one that turns out to be of another customer": Race(
        lambda n: (
            (MergeCase(into=f"number:{n}b"), f"number:{n}a"),
            (IdentifyCustomer(customer=f"number:{n}b", corrects=True), f"number:{n}b"),
        ),
        a_case_of_one_of_two_customers,
        first_in_time,
    ),
    "a case waits for its customer, who is answered in one that was merged into it": Race(
        lambda n: (
            (WaitForCustomer(), f"number:{n}b"),
            (SendPublicReply(text="It is the humidity.", occurred_at=TEN), f"number:{n}a"),
        ),
        an_answered_case_with_an_unanswered_one_merged_into_it,
        first_too_early,
    ),
    "a case is merged into one that waits, and the customer is answered in one that was merged into the first": Race(
        lambda n: (
            (MergeCase(into=f"number:{n}c"), f"number:{n}b"),
            (SendPublicReply(text="It is the humidity.", occurred_at=TEN), f"number:{n}a"),
        ),
        one_merged_into_an_answered_case_and_another_that_waits,
        wakes_unless_answered,
        first_has_a_choice=False,
    ),
    "a message to a merged case, and the other case is closed": Race(
        lambda n: ((MESSAGE, f"number:{n}a"), (CloseCase(), f"number:{n}b")),
        a_merged_case,
        message_goes_on_where_it_can,
        first_has_a_choice=False,
    ),
    "two messages to a case that is closed": Race(
        lambda n: ((MESSAGE, f"number:{n}"), (MESSAGE, f"number:{n}")),
        a_closed_case,
        one_opens_a_follow_up,
        first_has_a_choice=False,
    ),
}
"""Rules that ask about the state of another stream."""

REFERENCES: Mapping[str, Race] = {
    "an invoice for a customer": being_made(invoice, customer),
    "an invoice over a product": with_a_customer(lambda n, it: invoice(n, f"number:{n}", product=it), product),
    "a credit note for a customer": being_made(credit_note, customer),
    "a credit note over a product": with_a_customer(lambda n, it: credit_note(n, f"number:{n}", it), product),
    "an adjustment for a customer": being_made(adjustment, customer),
    "a note about a product": being_made(lambda _, it: talk(product=it), product, a_customer),
    "a successor": being_made(lambda _, it: successor(it), product, a_product),
    "a substitute": being_made(lambda _, it: substitute(it), product, a_product),
    "a complement": being_made(lambda _, it: DeclareComplement(complement=it), product, a_product),
    "a team that is joined": being_made(lambda _, it: JoinTeam(team=it, valid_from=APRIL), team, somebody),
    "a team that is left": Race(
        lambda n: (
            (LeaveTeam(team=f"number:{n}", valid_until=APRIL), f"number:{n}"),
            (JoinTeam(team=f"number:{n}", valid_from=JANUARY), f"number:{n}"),
        ),
        lambda n: [*somebody(n), (team(n), None)],
        first_too_early,
    ),
    "a case of a customer": being_made(lambda n, it: case(n, customer=it), customer),
    "a case about a product": being_made(lambda n, it: case(n, product=it), product),
    "a case with somebody": being_made(lambda n, it: case(n, staff=it), staff),
    "a case of a team": being_made(lambda n, it: case(n, team=it), team),
    "a case by a calendar": being_made(lambda n, it: case(n, calendar=it), calendar),
    "a case that goes on from another": being_made(lambda n, it: case(n, follow_up_of=it), case),
    "the customer of a case": being_made(lambda _, it: IdentifyCustomer(customer=it), customer, a_case),
    "who took a call": being_made(lambda _, it: replace(MESSAGE, staff=it), staff, a_case),
    "who replied": being_made(lambda _, it: SendPublicReply(staff=it), staff, a_case),
    "who noted something": being_made(lambda _, it: AddInternalNote(staff=it), staff, a_case),
    "who works on a case": being_made(lambda _, it: AssignCase(staff=it), staff, a_case),
    "the team of a case": being_made(lambda _, it: TransferCase(team=it), team, a_case),
    "the calendar of a case": being_made(lambda _, it: AssignCalendar(calendar=it), calendar, a_case),
    "the product of a case": being_made(lambda _, it: ClassifyCase(product=it), product, a_case),
    "who a case is brought to": being_made(
        lambda _, it: EscalateCase(kind=EscalationKind.FUNCTIONAL, reason="too hard", staff=it), staff, a_case
    ),
    "the team that a case is brought to": being_made(
        lambda _, it: EscalateCase(kind=EscalationKind.FUNCTIONAL, reason="too hard", team=it), team, a_case
    ),
    "the case that another one is merged into": being_made(lambda _, it: MergeCase(into=it), case, a_case),
    "the product of a split case": being_made(
        lambda n, it: SplitCase(case_number=f"{n}s", product=it), product, a_case
    ),
    "the product that feedback is about": being_made(
        lambda n, it: LinkToProductFeedback(product=it, feedback=n), product, a_case
    ),
}
"""What a command names must exist: it is referred to while it is being made."""

OWN: Mapping[str, Race] = {
    "more is credited than was invoiced": Race(
        lambda n: ((credit(f"{n}c", 20), f"erp:{n}"), (credit(f"{n}d", 20), f"erp:{n}")), an_invoice
    ),
    "an invoice is cancelled twice": Race(
        lambda n: (
            (document(CancelInvoice, f"{n}c"), f"erp:{n}"),
            (document(CancelInvoice, f"{n}d"), f"erp:{n}"),
        ),
        an_invoice,
    ),
}
"""Rules of one stream, which both write."""

CLAIMS: Mapping[str, Race] = {
    "a customer number": new(customer),
    "an identifier of a new customer": same_identifier(customer),
    "an identifier that is attached": Race(
        lambda n: (
            (AttachExternalIdentifier(identifier=shop(n)[0]), f"number:{n}"),
            (customer(f"{n}b", external_identifiers=shop(n)), None),
        ),
        a_customer,
    ),
    "a VAT id": Race(
        lambda n: ((customer(f"{n}a", vat_id=f"DE{n}"), None), (customer(f"{n}b", vat_id=f"de {n}"), None))
    ),
    "a product number": new(product),
    "an identifier of a product": same_identifier(product),
    "the number of an invoice": replace(new(lambda n: invoice(n, f"number:{n}")), prepared=a_customer),
    "the number of a credit note": replace(new(lambda n: credit_note(n, f"number:{n}")), prepared=a_customer),
    "the number of a credit note on an invoice": Race(
        lambda n: ((credit_note(n, f"number:{n}"), None), (credit(n, 5), f"erp:{n}")), an_invoice
    ),
    "the number of an adjustment": replace(new(lambda n: adjustment(n, f"number:{n}")), prepared=a_customer),
    "the number of a cancellation": Race(
        lambda n: ((document(CancelInvoice, n), f"erp:{n}"), (document(CancelInvoice, n), f"erp:{n}b")), two_invoices
    ),
    "the number of a team": new(team),
    "an identifier of a team": same_identifier(team),
    "the number of somebody": new(staff),
    "an identifier of somebody": same_identifier(staff),
    "the number of a calendar": new(calendar),
    "an identifier of a calendar": same_identifier(calendar),
    "the number of a case": new(case),
    "an identifier of a case": same_identifier(case),
    "the number of a case that is split off": Race(
        lambda n: ((SplitCase(case_number=f"{n}s"), f"number:{n}"), (case(f"{n}s"), None)), a_case
    ),
    "the number of a case that a message opens": Race(
        lambda n: ((replace(MESSAGE, follow_up_number=f"{n}f"), f"number:{n}"), (case(f"{n}f"), None)), a_closed_case
    ),
}
"""What only one stream may hold."""


def _all() -> Iterator[tuple[str, Race]]:
    yield from RULES.items()
    yield from ((f"{name}, which is being made", race) for name, race in REFERENCES.items())
    yield from OWN.items()
    yield from CLAIMS.items()


RACES: Mapping[str, Race] = dict(_all())
