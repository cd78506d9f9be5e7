"""`rapport serve`: everything in one process that others are children of."""

import json
import logging
from argparse import Namespace
from dataclasses import dataclass

import psycopg
from rich.logging import RichHandler
from rich.panel import Panel

from api.command_line.tenants import found
from api.command_line.terminal import EXIT_REFUSED, CommandFailed, messages, output, refused, settings_of
from application.commands import Role
from infrastructure.database import Databases
from infrastructure.encryption import KeyEncryptionKeyMissing
from infrastructure.principals import Principals
from infrastructure.settings import Settings
from infrastructure.supervisor import Supervisor

FIRST_KEY = "first key"
"""What the key is called that the first start makes."""


def run(given: Namespace) -> int:
    """Serve until told to stop."""
    settings = settings_of(given)
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(message)s",
        handlers=[RichHandler(console=messages(), show_path=False, rich_tracebacks=False)],
    )
    messages().print(f"Rapport starts, with its data in [bold]{settings.data}[/].")
    greeting = _Greeting(settings)
    with refused():
        try:
            return Supervisor(settings, on_prepared=greeting.prepare, on_ready=greeting.say).run()
        except KeyEncryptionKeyMissing as missing:
            raise CommandFailed(str(missing), EXIT_REFUSED) from None


@dataclass(slots=True)
class _Greeting:
    """What a person who has started the service is told when it answers."""

    settings: Settings
    first_key: str | None = None
    currency: str = ""

    def prepare(self, databases: Databases) -> None:
        """Make the tenant and a first key, if this is the first start."""
        with psycopg.connect(databases.operator) as operator:
            tenant = found(operator, self.settings)
            self.currency = tenant.reporting_currency
            principals = Principals(operator, tenant.schema)
            if not principals.all():
                self.first_key, _ = principals.create(FIRST_KEY, Role.SERVICE)

    def say(self, address: str) -> None:
        """Say where the service is, with which key, and what to try."""
        if self.first_key is not None:
            key = f"Your key is [bold]{self.first_key}[/]\nIt is not shown again; more: rapport keys create NAME"
        else:
            key = "Keys: rapport keys list. A new one: rapport keys create NAME"
        if self.currency != self.settings.reporting_currency:
            key += f"\nReports are in {self.currency}, as was chosen at the first start."
        output().print(Panel.fit(f"Rapport answers at [bold]{address}[/]\n{key}", border_style="green"))
        output().print("Try:\n", style="dim")
        for example in examples(address, self.first_key or "$RAPPORT_KEY", self.currency):
            # Not through the console, which would break a line that somebody copies.
            output().file.write(f"{example}\n\n")
        output().file.flush()


def examples(address: str, key: str, currency: str) -> list[str]:
    """Three commands to try: a customer, an invoice, the revenue by month."""
    quote = '"' if key.startswith("$") else "'"
    key_header = f"-H {quote}Authorization: Bearer {key}{quote}"
    json_header = "\\\n  -H 'Content-Type: application/json'"
    customer = {
        "customer_number": "C-1001",
        "kind": "organisation",
        "name": "Acme Bakery",
        "relationship": "customer",
        "language": "en",
        "currency": currency,
        "country": "DE",
    }
    flour = {
        "line_no": 1,
        "description": "Flour",
        "quantity": "40",
        "unit_price": "12.50",
        "net_amount": "500.00",
    }
    invoice = {
        "document_number": "R-1",
        "document_date": "2026-01-15",
        "posted_on": "2026-01-15",
        "customer": "number:C-1001",
        "currency": currency,
        "ship_to_country": "DE",
        "lines": [flour],
    }
    invoices = f"{address}/v1/sales-documents/post-invoice"
    customers = f"{address}/v1/customers"
    return [
        f"curl {customers} {key_header} {json_header} -H 'Idempotency-Key: try-1' -d '{json.dumps(customer)}'",
        f"curl {invoices} {key_header} {json_header} -H 'Idempotency-Key: try-2' -d '{json.dumps(invoice)}'",
        f"curl '{address}/v1/reports/revenue_statistics?by=month&format=csv' {key_header}",
    ]
