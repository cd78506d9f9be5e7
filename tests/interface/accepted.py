"""For every command a body that is accepted, and the world in which it is.

In braces stand texts that are found when the body is sent: `{new}` is a number that nothing has yet, `{id}` the target,
and every other name, such as `{contact_id}`, what the events said last that were recorded for the same request.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

from domain.product import SUCCESSORS_MAX
from tests.api.bodies import ACME, ADA, BLOCK, CALL, FLOUR, invoice

Body: TypeAlias = Mapping[str, Any]

NOBODY = "01900000-0000-7000-8000-0000000000ff"
STAFF_ID = "01900000-0000-7000-8000-00000000000d"
SHOP, HELP_DESK = {"source": "shop", "id": "4711"}, {"source": "helpdesk", "id": "Group 70"}
NINE_TO_FIVE = [{"opens": "09:00", "closes": "17:00"}]
HOURS = {"time_zone": "Europe/Berlin", "weekly": {"monday": NINE_TO_FIVE, "friday": NINE_TO_FIVE}}
RATE = {"base": "USD", "quote": "EUR", "rate": "0.9", "kind": "daily", "source": "ECB", "quoted_on": "2026-01-01"}
CREDIT = {"line_no": 1, "net_amount": "1.00"}


@dataclass(frozen=True, slots=True)
class Accepted:
    """A body that is accepted, once the commands `before` it have been sent to the same target."""

    body: Body = field(default_factory=dict)
    before: tuple[str, ...] = ()


_DATES = {"document_date": "2026-01-15", "posted_on": "2026-01-15"}
_POSTED = {
    "document_number": "{new}",
    **_DATES,
    "customer": "number:C-1001",
    "currency": "EUR",
    "ship_to_country": "DE",
}

ACCEPTED: Mapping[str, Accepted] = {
    "register-customer": Accepted(ACME | {"customer_number": "{new}", "external_identifiers": []}),
    "change-legal-name": Accepted({"name": "Acme Brot GmbH", "valid_from": "2026-05-01"}),
    "change-address": Accepted(
        {"kind": "billing", "valid_from": "2026-04-01", "country": "DE", "city": "Bremen", "street": "Am Markt 1"}
    ),
    "add-contact-person": Accepted(
        {"name": "Grace Hopper", "email": "grace@acme.example", "phone": "+49 421 555-0100", "language": "en"}
    ),
    "change-contact-person": Accepted(
        {"contact_id": "{contact_id}", "name": "Grace Hopper", "function": "Head of purchasing"},
        before=("add-contact-person",),
    ),
    "deactivate-contact-person": Accepted({"contact_id": "{contact_id}"}, before=("add-contact-person",)),
    "attach-external-identifier": Accepted({"identifier": {"source": "erp", "id": "{new}"}}),
    "agree-payment-terms": Accepted(
        {
            "due_basis": "invoice",
            "due_days": 30,
            "discount_days": 10,
            "discount_percent": "2.00",
            "valid_from": "2026-01-01",
        }
    ),
    "change-credit-limit": Accepted({"limit": {"amount": "1000.00", "currency": "EUR"}}),
    "assign-owner": Accepted({"department": "sales", "staff_id": STAFF_ID, "valid_from": "2026-01-01"}),
    "classify-customer": Accepted({"industry": "10.71", "size": "small", "group": "BAKERIES"}),
    "record-interaction": Accepted(CALL | {"staff": [STAFF_ID], "effort_minutes": 15, "product": "number:F-405"}),
    "block-customer": Accepted(BLOCK),
    "unblock-customer": Accepted({"reason": "paid"}, before=("block-customer",)),
    "deactivate-customer": Accepted(),
    "reactivate-customer": Accepted(before=("deactivate-customer",)),
    "confirm-master-data": Accepted(),
    "register-product": Accepted(FLOUR | {"product_number": "{new}"}),
    "change-product": Accepted({"name": "Flour 405, finer", "family": "FLOUR"}),
    "change-list-price": Accepted({"price": {"amount": "25.00", "currency": "EUR"}, "valid_from": "2026-01-01"}),
    "assign-category": Accepted({"category": "FLOUR", "valid_from": "2026-01-01"}),
    "declare-successor": Accepted({"successor": "number:F-550", "valid_from": "2026-07-01", "ratio": "1"}),
    "declare-substitute": Accepted(
        {"substitute": "number:F-550", "valid_from": "2026-07-01", "ratio": "1", "direction": "both_ways"}
    ),
    "declare-complement": Accepted({"complement": "number:F-550"}),
    "report-unavailable": Accepted({"unavailable_from": "2026-03-01", "unavailable_to": "2026-04-01"}),
    "discontinue-product": Accepted({"last_offered_on": "2026-12-31", "announced_on": "2026-06-01"}),
    "post-invoice": Accepted(invoice("{new}", posted_on="2026-01-15")),
    "post-credit-note": Accepted(
        _POSTED
        | {"lines": [CREDIT], "credit_reason": "goodwill", "invoice_unknown_because": "the old system has no numbers"}
    ),
    "post-adjustment": Accepted(_POSTED | {"amount": "-1.00", "adjustment_reason": "rounding"}),
    "credit-invoice": Accepted(
        {"document_number": "{new}", **_DATES, "lines": [CREDIT], "credit_reason": "price_correction"}
    ),
    "cancel-invoice": Accepted({"document_number": "{new}", **_DATES}),
    "define-calendar": Accepted({"calendar_number": "{new}", "name": "Support", "hours": HOURS}),
    "revise-calendar": Accepted({"hours": HOURS, "effective_from": "2026-05-01T00:00:00Z"}),
    "register-staff": Accepted({"staff_number": "{new}", "name": "Katherine Johnson", "department": "service"}),
    "join-team": Accepted({"team": "number:T-1", "valid_from": "2026-01-01"}),
    "leave-team": Accepted({"team": "number:T-1", "valid_until": "2026-06-01"}, before=("join-team",)),
    "leave-staff": Accepted({"valid_until": "2026-06-01"}),
    "define-team": Accepted({"team_number": "{new}", "name": "Second level", "department": "service"}),
    "open-case": Accepted(
        {
            "case_number": "{new}",
            "occurred_at": "2025-12-01T09:00:00Z",
            "kind": "complaint",
            "channel": "email",
            "opened_by": "customer",
            "customer": "number:C-1001",
            "first_message": "The flour clumps again.",
        }
    ),
    "identify-customer": Accepted({"customer": "number:C-1004", "corrects": True}),
    "receive-customer-message": Accepted({"text": "And again."}),
    "send-public-reply": Accepted({"text": "We are sorry.", "staff": "number:S-1"}),
    "add-internal-note": Accepted({"text": "The third complaint.", "staff": "number:S-1"}),
    "assign-case": Accepted({"staff": "number:S-1"}),
    "transfer-case": Accepted({"team": "number:T-1"}),
    "assign-calendar": Accepted({"calendar": "number:H-1"}),
    "hand-off-to-human": Accepted(),
    "change-priority": Accepted({"priority": "high"}),
    "classify-case": Accepted({"category": "QUALITY", "product": "number:F-405"}),
    "wait-for-customer": Accepted(before=("send-public-reply",)),
    "put-on-hold": Accepted({"third_party": "MILL", "reason": "the mill looks for the cause"}),
    "resume-case": Accepted(before=("put-on-hold",)),
    "escalate-case": Accepted({"kind": "functional", "reason": "it clumps every time", "team": "number:T-1"}),
    "mark-no-reply-needed": Accepted(),
    "mark-as-spam": Accepted(),
    "resolve-case": Accepted({"resolution_code": "REPLACED"}),
    "reopen-case": Accepted({"reason": "the new flour clumps, too"}, before=("resolve-case",)),
    "close-case": Accepted(),
    "merge-case": Accepted({"into": "number:A-1"}),
    "split-case": Accepted({"description": "The invoice is wrong, too."}),
    "link-to-product-feedback": Accepted({"product": "number:F-405", "feedback": "CLUMPS"}),
    "request-satisfaction": Accepted({"invitation": "I-1", "scale": "csat"}, before=("resolve-case",)),
    "record-satisfaction": Accepted(
        {"invitation": "I-1", "scale": "csat", "score": 4, "comment": "Quick."},
        before=("resolve-case", "request-satisfaction"),
    ),
    "withdraw-case": Accepted(),
}

BEGINNINGS: Mapping[str, str] = {
    "customers": "register-customer",
    "products": "register-product",
    "sales-documents": "post-invoice",
    "service-calendars": "define-calendar",
    "staff": "register-staff",
    "support-cases": "open-case",
    "teams": "define-team",
}
"""For each collection the command that begins a stream in it."""

_FOLLOWERS = [f"F-{number}" for number in range(1, SUCCESSORS_MAX + 1)]

WORLD: tuple[tuple[str, Body], ...] = (
    *(("register-product", {"product_number": number}) for number in (*_FOLLOWERS, "F-0")),
    *(
        ("declare-successor", {"successor": f"number:{number}", "valid_from": f"{1950 + year}-01-01"})
        for year, number in enumerate(_FOLLOWERS)
    ),
    ("register-customer", {"customer_number": "C-1001", "external_identifiers": [SHOP], "vat_id": "DE136695976"}),
    ("register-customer", {"customer_number": "C-1002"}),
    ("deactivate-customer", {}),
    ("register-customer", {"customer_number": "C-1003"}),
    ("block-customer", {}),
    ("register-customer", {"customer_number": "C-1004"}),
    ("register-product", {"product_number": "F-405", "external_identifiers": [SHOP]}),
    ("register-product", {"product_number": "F-550"}),
    ("register-product", {"product_number": "F-630"}),
    ("discontinue-product", {"last_offered_on": "2025-12-31"}),
    ("post-invoice", {"document_number": "R-1", "lines": invoice("R-1")["lines"]}),
    ("credit-invoice", {"document_number": "R-1"}),
    ("cancel-invoice", {"document_number": "R-1"}),
    ("post-invoice", {"document_number": "R-2"}),
    ("post-adjustment", {"document_number": "R-1"}),
    ("post-credit-note", {}),
    ("define-calendar", {"calendar_number": "H-1", "external_identifiers": [HELP_DESK]}),
    ("register-staff", {"staff_number": "S-1", "external_identifiers": [HELP_DESK]}),
    ("define-team", {"team_number": "T-1", "external_identifiers": [HELP_DESK]}),
    ("open-case", {"case_number": "A-1", "external_identifiers": [HELP_DESK]}),
    ("open-case", {"case_number": "A-2"}),
    ("resolve-case", {}),
    ("open-case", {"case_number": "A-3", "customer": "number:C-1004"}),
    ("register-customer", {**ADA, "customer_number": "C-1005"}),
    ("add-contact-person", {}),
    ("open-case", {"case_number": "A-5", "customer": "number:C-1005"}),
)
"""What there is before anything else is sent: each command goes to what was begun last of its kind.

C-1001 is Acme, C-1002 is at rest, C-1003 is blocked, and C-1005 is Ada, a person, who is erased. F-0 has as many
successors as there can be, F-630 is not offered any more. A-2 is resolved, A-3 that of another customer.
"""

_numbers = count()


def filled(value: Any, known: Mapping[str, str]) -> Any:
    """The value with everything in braces found."""
    if isinstance(value, Mapping):
        return {name: filled(each, known) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [filled(each, known) for each in value]
    return filled_text(value, known) if isinstance(value, str) else value


def filled_text(text: str, known: Mapping[str, str]) -> str:
    """A text with everything in braces found."""
    given = {"new": f"N-{next(_numbers)}"} if "{new}" in text else known
    return re.sub(r"{([\w-]+)}", lambda found: given.get(found[1], NOBODY), text)
