"""Bodies of requests about the known people."""

from typing import Any

ACME: dict[str, Any] = {
    "customer_number": "C-1001",
    "kind": "organisation",
    "name": "Acme Bakery GmbH",
    "relationship": "customer",
    "language": "de",
    "currency": "EUR",
    "country": "DE",
    "external_identifiers": [{"source": "shop", "id": "4711"}],
}
ADA: dict[str, Any] = ACME | {
    "customer_number": "C-1002",
    "kind": "person",
    "name": "Ada Lovelace",
    "external_identifiers": [],
}
BLOCK = {"reason": "three reminders without an answer"}
CALL = {"channel": "phone", "direction": "inbound", "summary": "The flour clumps again."}
FLOUR = {"product_number": "F-405", "name": "Flour 405", "base_unit": "kg"}

ACME_PATH = "/v1/customers/number:C-1001"
ADA_PATH = "/v1/customers/number:C-1002"


def invoice(number: str, customer: str = "number:C-1001", **fields: Any) -> dict[str, Any]:
    """An invoice over one sack of flour."""
    line = {"line_no": 1, "description": "Flour", "quantity": "1", "unit_price": "25.00", "net_amount": "25.00"}
    return {
        "document_number": number,
        "document_date": "2026-01-01",
        "posted_on": "2026-01-01",
        "customer": customer,
        "currency": "EUR",
        "ship_to_country": "DE",
        "lines": [line],
        **fields,
    }
