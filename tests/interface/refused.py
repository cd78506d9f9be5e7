"""For every refusal of a rule, how its command comes to be refused: what is said otherwise than in what is accepted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from application.shapes import NAME_LENGTH_MAX
from domain.sales_document import LINES_MAX
from tests.interface.accepted import CREDIT, HELP_DESK, NOBODY, RATE, SHOP, Body

LONG_AGO = "2020-01-01T00:00:00Z"
FOR_A_DAY = {"occurred_at": "2025-12-02T09:00:00Z", "reopen_until": "2025-12-03T09:00:00Z"}
NUMBER = {"source": "number", "id": "1"}
LINE = {"line_no": 1, "quantity": "1", "unit_price": "1", "net_amount": "1"}
MUCH = {**LINE, "unit_price": "90000000000000", "net_amount": "90000000000000"}
"""A line that is worth a tenth of what nothing may be worth."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What is different from what is accepted."""

    body: Body = field(default_factory=dict)
    """Fields of the body."""
    before: tuple[str | tuple[str, Body], ...] | None = None
    """What is sent to the same target first, some of it with other fields; None: as for what is accepted."""
    target: str | None = None
    """What the command is sent to; None: something that was begun for it."""
    begun_with: Body = field(default_factory=dict)
    """Fields of the body that begins the target."""


REFERENCES = ("customer", "product", "staff", "team", "calendar", "into", "successor", "substitute", "complement")
"""Fields that name something that exists."""


def _in_dollars(rate: str, **fields: Any) -> Body:
    """What of a document is otherwise, if it is in dollars."""
    return {"currency": "USD", "exchange_rate": {**RATE, "rate": rate}, **fields}


def _numbered(line: Body, count: int) -> list[Body]:
    """So many lines."""
    return [{**line, "line_no": number} for number in range(1, count + 1)]


REFUSED: Mapping[str, Refused] = {
    # Customers
    "customer-number-is-taken": Refused({"customer_number": "C-1001"}),
    "external-identifier-is-taken": Refused({"external_identifiers": [SHOP]}),
    "vat-id-is-taken": Refused({"vat_id": "DE 136 695 976"}),
    "source-is-reserved": Refused({"external_identifiers": [NUMBER]}),
    "customer-is-inactive": Refused(before=("deactivate-customer",)),
    "customer-is-blocked": Refused(before=("block-customer",)),
    "contact-person-not-found": Refused({"contact_id": NOBODY}),
    "contact-person-is-inactive": Refused(before=("add-contact-person", "deactivate-contact-person")),
    "due-days-are-negative": Refused({"due_days": -1}),
    "discount-days-are-out-of-range": Refused({"discount_days": 31}),
    "discount-is-out-of-range": Refused({"discount_percent": "100"}),
    "credit-limit-is-negative": Refused({"limit": {"amount": "-1", "currency": "EUR"}}),
    "credit-limit-is-in-another-currency": Refused({"limit": {"amount": "1", "currency": "USD"}}),
    "reference-not-found": Refused(dict.fromkeys(REFERENCES, "number:NOBODY")),
    "subject-is-erased": Refused(target="number:A-5"),
    # Products
    "product-number-is-taken": Refused({"product_number": "F-405"}),
    "product-identifier-is-taken": Refused({"external_identifiers": [SHOP]}),
    "list-price-is-negative": Refused({"price": {"amount": "-1", "currency": "EUR"}}),
    "product-is-discontinued": Refused({"successor": "number:F-630", "substitute": "number:F-630"}),
    "product-would-succeed-itself": Refused({"successor": "{id}"}),
    "product-refers-to-itself": Refused({"substitute": "{id}", "complement": "{id}"}),
    "ratio-is-not-positive": Refused({"ratio": "0"}),
    "too-many-successors": Refused({"successor": "number:F-0"}),
    "unavailability-ends-before-it-begins": Refused({"unavailable_to": "2026-02-01"}),
    # Sales documents
    "document-number-is-taken": Refused({"document_number": "R-1"}),
    "document-has-no-lines": Refused({"lines": []}),
    "document-has-too-many-lines": Refused({"lines": _numbered(LINE, LINES_MAX + 1)}),
    "line-number-is-repeated": Refused({"lines": [LINE, LINE]}),
    "line-does-not-add-up": Refused({"lines": [{**LINE, "net_amount": "2"}]}),
    "exchange-rate-is-missing": Refused({"currency": "USD"}),
    "exchange-rate-is-not-needed": Refused(_in_dollars("1", currency="EUR")),
    "exchange-rate-is-for-other-currencies": Refused(_in_dollars("1", currency="CHF")),
    "exchange-rate-is-not-positive": Refused(_in_dollars("0")),
    "amount-is-too-large": Refused(_in_dollars("100", amount=MUCH["net_amount"], lines=[MUCH])),
    "credit-note-is-negative": Refused({"lines": [CREDIT | {"net_amount": "-1"}]}),
    "document-is-not-an-invoice": Refused(target="{post-credit-note}"),
    "invoice-is-cancelled": Refused(before=("cancel-invoice",)),
    "invoice-has-no-such-line": Refused({"lines": [CREDIT | {"line_no": 2}]}),
    "credit-exceeds-open-amount": Refused({"lines": [CREDIT | {"net_amount": "25.01"}]}),
    "credit-exceeds-open-quantity": Refused({"lines": [CREDIT | {"quantity": "2"}]}),
    "event-is-too-large": Refused({"lines": _numbered({**LINE, "description": "Ü" * NAME_LENGTH_MAX}, LINES_MAX)}),
    # Calendars, staff, teams
    "calendar-number-is-taken": Refused({"calendar_number": "H-1"}),
    "calendar-identifier-is-taken": Refused({"external_identifiers": [HELP_DESK]}),
    "time-zone-is-unknown": Refused({"hours": {"time_zone": "Europe/Nowhere"}}),
    "correction-ends-before-it-begins": Refused({"effective_to": "2026-04-01T00:00:00Z"}),
    "staff-number-is-taken": Refused({"staff_number": "S-1"}),
    "staff-identifier-is-taken": Refused({"external_identifiers": [HELP_DESK]}),
    "staff-has-left": Refused({"valid_from": "2026-07-01", "valid_until": "2026-07-01"}, before=("leave-staff",)),
    "staff-is-in-team": Refused({"valid_from": "2026-02-01"}, before=("join-team",)),
    "staff-is-not-in-team": Refused(before=()),
    "team-number-is-taken": Refused({"team_number": "T-1"}),
    "team-identifier-is-taken": Refused({"external_identifiers": [HELP_DESK]}),
    # Support cases
    "case-number-is-taken": Refused({"case_number": "A-1"}),
    "case-identifier-is-taken": Refused({"external_identifiers": [HELP_DESK]}),
    "case-of-customer-is-inbound": Refused({"direction": "outbound"}),
    "customer-is-identified": Refused({"corrects": False}),
    "case-was-not-open-yet": Refused({"occurred_at": LONG_AGO}),
    "case-is-resolved": Refused(before=("resolve-case",)),
    "case-is-closed": Refused(before=("close-case",)),
    "case-is-merged": Refused(before=("merge-case",)),
    "case-is-withdrawn": Refused(before=("withdraw-case",)),
    "case-is-spam": Refused(before=("mark-as-spam",)),
    "customer-awaits-reply": Refused(before=()),
    "message-not-found": Refused({"message_id": NOBODY}),
    "reopening-ends-before-resolution": Refused({"reopen_until": LONG_AGO}),
    "reopening-is-over": Refused(before=(("resolve-case", FOR_A_DAY),)),
    "merge-is-circular": Refused({"into": "{id}"}),
    "cases-are-of-different-customers": Refused({"into": "number:A-3"}),
    "case-was-never-resolved": Refused({"occurred_at": LONG_AGO}),
    "invitation-not-found": Refused({"invitation": "I-2"}),
    "invitation-has-another-scale": Refused({"scale": "nps"}, before=("resolve-case", "request-satisfaction")),
    "satisfaction-is-recorded": Refused(before=("resolve-case", "request-satisfaction", "record-satisfaction")),
    "score-is-outside-scale": Refused({"score": 6}),
}
"""By the code of the refusal; a field that a command does not have is not sent."""

IN_PARTICULAR: Mapping[tuple[str, str], Refused] = {
    ("attach-external-identifier", "external-identifier-is-taken"): Refused({"identifier": SHOP}),
    ("attach-external-identifier", "source-is-reserved"): Refused({"identifier": NUMBER}),
    ("change-legal-name", "subject-is-erased"): Refused(target="number:C-1005"),
    ("change-address", "subject-is-erased"): Refused(target="number:C-1005"),
    ("change-contact-person", "subject-is-erased"): Refused(target="number:C-1005", before=()),
    ("change-contact-person", "customer-is-inactive"): Refused(before=("add-contact-person", "deactivate-customer")),
    ("change-credit-limit", "customer-is-blocked"): Refused(
        {"limit": {"amount": "2000", "currency": "EUR"}}, before=("change-credit-limit", "block-customer")
    ),
    ("record-interaction", "reference-not-found"): Refused({"product": "number:NOBODY"}),
    ("record-interaction", "subject-is-erased"): Refused(target="number:C-1005"),
    ("record-interaction", "contact-person-not-found"): Refused({"contacts": [NOBODY]}),
    ("post-invoice", "customer-is-inactive"): Refused({"customer": "number:C-1002"}),
    ("post-invoice", "customer-is-blocked"): Refused({"customer": "number:C-1003"}),
    ("credit-invoice", "line-number-is-repeated"): Refused({"lines": [CREDIT, CREDIT]}),
    ("credit-invoice", "document-has-too-many-lines"): Refused({"lines": _numbered(CREDIT, LINES_MAX + 1)}),
    ("credit-invoice", "amount-is-too-large"): Refused(
        {"lines": [{"net_amount": "900000000000000"}]}, begun_with=_in_dollars("10", lines=_numbered(MUCH, 20))
    ),
    ("receive-customer-message", "case-number-is-taken"): Refused({"follow_up_number": "A-1"}, before=("close-case",)),
    ("open-case", "subject-is-erased"): Refused({"customer": "number:C-1005"}),
    ("merge-case", "case-is-merged"): Refused({"into": "number:A-3"}, before=("merge-case",)),
    ("merge-case", "case-is-resolved"): Refused({"into": "number:A-2"}),
}
"""By the name of the operation and the code, where a command differs from others that are refused likewise."""
