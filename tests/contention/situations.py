"""Commands that processes race with, and what is there before, by the number of a try."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from application.commands import Command
from application.products import DeclareSubstitute, DeclareSuccessor, DiscontinueProduct
from application.sales_documents import CreditInvoice, CreditLine, CreditNoteLine, PostAdjustment, PostCreditNote
from application.service_calendars import DefineCalendar, Hours
from application.staff import DefineTeam, RegisterStaff
from application.support_cases import (
    CloseCase,
    MergeCase,
    OpenCase,
    ReceiveCustomerMessage,
    SendPublicReply,
    WaitForCustomer,
)
from domain.case_events import ActorClass, CaseKind
from domain.customer import Channel, Department
from domain.product import SubstituteDirection
from domain.sales_document import AdjustmentReason, CreditReason
from domain.values import ExternalIdentifier
from tests.commands import NOON, invoice, register, register_product
from tests.contention.processes import Asked
from tests.people import APRIL, JANUARY

ONE = Decimal(1)
NINE, TEN, ELEVEN = (NOON - timedelta(hours=hours) for hours in (3, 2, 1))


# Commands, each with what this file lets vary


def shop(number: str) -> tuple[ExternalIdentifier, ...]:
    """What the shop calls something."""
    return (ExternalIdentifier(source="shop", id=number),)


def document(kind: Any, number: str, **fields: Any) -> Command:
    """A sales document of some kind, with this number."""
    made: Command = kind(document_number=number, document_date=APRIL, posted_on=APRIL, **fields)
    return made


def posting(kind: Any, number: str, customer: str, **fields: Any) -> Command:
    """A sales document of some kind for this customer."""
    return document(kind, number, customer=customer, currency="EUR", ship_to_country="DE", **fields)


def credit_note(number: str, customer: str, product: str | None = None) -> Command:
    """A credit note that names no invoice."""
    return posting(
        PostCreditNote,
        number,
        customer,
        lines=(CreditNoteLine(line_no=1, product=product, net_amount=ONE),),
        credit_reason=CreditReason.GOODWILL,
        invoice_unknown_because="lost",
    )


def adjustment(number: str, customer: str) -> Command:
    """An adjustment by 1.00."""
    return posting(PostAdjustment, number, customer, amount=ONE, adjustment_reason=AdjustmentReason.ROUNDING)


def credit(number: str, amount: int) -> Command:
    """A credit note on an invoice over 25.00."""
    line = CreditLine(line_no=1, net_amount=Decimal(amount))
    return document(CreditInvoice, number, lines=(line,), credit_reason=CreditReason.PRICE_CORRECTION)


def case(number: str, **fields: Any) -> Command:
    """A case that a customer opens."""
    return OpenCase(
        case_number=number, kind=CaseKind.INQUIRY, channel=Channel.PHONE, opened_by=ActorClass.CUSTOMER, **fields
    )


def team(number: str, **fields: Any) -> Command:
    """A team of the service department."""
    return DefineTeam(team_number=number, name="Second level", department=Department.SERVICE, **fields)


def staff(number: str, **fields: Any) -> Command:
    """Katherine, again and again."""
    return RegisterStaff(staff_number=number, name="Katherine Johnson", department=Department.SERVICE, **fields)


def calendar(number: str, **fields: Any) -> Command:
    """Office hours."""
    return DefineCalendar(calendar_number=number, name="Office", hours=Hours(time_zone="Europe/Berlin"), **fields)


def product(number: str, **fields: Any) -> Command:
    """Flour."""
    return register_product(product_number=number, **fields)


def customer(number: str, **fields: Any) -> Command:
    """Acme Bakery."""
    return register(customer_number=number, **fields)


def successor(of: str) -> Command:
    """Another product comes after this one."""
    return DeclareSuccessor(successor=of, valid_from=APRIL, ratio=ONE)


def substitute(of: str) -> Command:
    """Another product stands in for this one."""
    return DeclareSubstitute(substitute=of, valid_from=APRIL, ratio=ONE, direction=SubstituteDirection.ONE_WAY)


DISCONTINUED = DiscontinueProduct(last_offered_on=JANUARY)
MESSAGE = ReceiveCustomerMessage(text="The flour clumps again.")


# What is there before, by the number of a try


def a_customer(n: str) -> list[Asked]:
    return [(customer(n), None)]


def two_customers(n: str) -> list[Asked]:
    return [(customer(f"{n}{which}"), None) for which in "ab"]


def a_product(n: str) -> list[Asked]:
    return [(product(n), None)]


def two_products(n: str) -> list[Asked]:
    return [(product(f"{n}{which}"), None) for which in "ab"]


def three_products(n: str) -> list[Asked]:
    return [*two_products(n), (product(f"{n}c"), None)]


def an_invoice(n: str) -> list[Asked]:
    return [*a_customer(n), (invoice(n, f"number:{n}", source="erp"), None)]


def two_invoices(n: str) -> list[Asked]:
    return [*an_invoice(n), (invoice(f"{n}b", f"number:{n}", source="erp"), None)]


def somebody(n: str) -> list[Asked]:
    return [(staff(n), None)]


def a_case(n: str) -> list[Asked]:
    return [(case(n), None)]


def two_cases(n: str) -> list[Asked]:
    return [(case(f"{n}{which}"), None) for which in "ab"]


def a_merged_case(n: str) -> list[Asked]:
    return [*two_cases(n), (MergeCase(into=f"number:{n}b"), f"number:{n}a")]


def a_closed_case(n: str) -> list[Asked]:
    return [*a_case(n), (CloseCase(), f"number:{n}")]


def a_case_of_one_of_two_customers(n: str) -> list[Asked]:
    return [
        *two_customers(n),
        (case(f"{n}a", customer=f"number:{n}a"), None),
        (case(f"{n}b", customer=f"number:{n}a"), None),
    ]


def an_answered_case_with_an_unanswered_one_merged_into_it(n: str) -> list[Asked]:
    return [
        *((case(f"{n}{which}", occurred_at=NINE), None) for which in "ab"),
        (SendPublicReply(text="It is the humidity.", occurred_at=NINE), f"number:{n}b"),
        (MergeCase(into=f"number:{n}b", occurred_at=ELEVEN), f"number:{n}a"),
    ]


def one_merged_into_an_answered_case_and_another_that_waits(n: str) -> list[Asked]:
    return [
        *an_answered_case_with_an_unanswered_one_merged_into_it(n),
        (case(f"{n}c", occurred_at=NINE), None),
        (SendPublicReply(text="It is the humidity.", occurred_at=NINE), f"number:{n}c"),
        (WaitForCustomer(occurred_at=NINE), f"number:{n}c"),
    ]
