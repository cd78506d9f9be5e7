"""How canaries get into a running service: by every command that carries a personal value, and by the codec itself."""

import json
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx

from infrastructure.event_store import PostgresEventLog
from infrastructure.ids import new_id
from tests.colleagues import SUPPORT_HOURS, SUPPORT_HOURS_DEFINED
from tests.infrastructure.test_event_store import decision, store
from tests.secrecy.canaries import Aviary, events_with

JSON = {"content-type": "application/json"}


class Sender:
    """An internal service that sends commands."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._keys = count()

    def __call__(self, path: str, **body: Any) -> dict[str, Any]:
        """Send a command that is accepted; its answer."""
        headers = {"idempotency-key": f"canary-{next(self._keys)}"}
        response = self._client.post(path, json=body, headers=headers)
        assert response.is_success, response.text
        answer: dict[str, Any] = response.json()
        return answer


def plant_over_http(client: httpx.Client, aviary: Aviary) -> None:
    """Send every command that carries personal values, with canaries in them."""
    send = Sender(client)
    _plant_customer(send, aviary)
    _plant_case(send, aviary)
    send("/v1/staff", staff_number="S-1", name=aviary.line("staff.registered name"), department="service")


def _plant_customer(send: Sender, aviary: Aviary) -> None:
    customer = "/v1/customers/number:C-1"
    send(
        "/v1/customers",
        customer_number="C-1",
        kind="person",
        name=aviary.line("customer.registered name"),
        relationship="customer",
        language="en",
        currency="EUR",
        country="GB",
        vat_id=aviary.vat_id("customer.registered personal_vat_id"),
    )
    send(
        f"{customer}/change-legal-name",
        name=aviary.line("customer.legal-name-changed name"),
        valid_from="2026-04-01",
    )
    parts = ("city", "street", "postal_code", "region", "recipient", "additional_line")
    address = {part: aviary.line(f"customer.address-changed {part}") for part in parts}
    send(f"{customer}/change-address", kind="billing", valid_from="2026-04-01", country="GB", **address)
    added = send(f"{customer}/add-contact-person", **_contact("customer.contact-person-added", aviary))
    contact = added["events"][0]["data"]["contact_id"]
    changed = _contact("customer.contact-person-changed", aviary)
    send(f"{customer}/change-contact-person", contact_id=contact, **changed)
    texts = {name: aviary.text(f"customer.interaction-recorded {name}") for name in ("summary", "next_step")}
    send(f"{customer}/record-interaction", channel="phone", direction="inbound", **texts)


def _contact(event: str, aviary: Aviary) -> dict[str, str]:
    return {
        "name": aviary.line(f"{event} name"),
        "function": aviary.line(f"{event} function"),
        "email": aviary.email(f"{event} email"),
        "phone": aviary.phone(f"{event} phone"),
    }


def _plant_case(send: Sender, aviary: Aviary) -> None:
    case = "/v1/support-cases/number:T-1"
    opened = {"case_number": "T-1", "kind": "complaint", "channel": "email", "opened_by": "customer"}
    first = aviary.text("support-case.opened first_message")
    send("/v1/support-cases", **opened, customer="number:C-1", first_message=first)
    send(f"{case}/receive-customer-message", text=aviary.text("support-case.customer-message-received text"))
    send(f"{case}/send-public-reply", text=aviary.text("support-case.public-reply-sent text"))
    send(f"{case}/add-internal-note", text=aviary.text("support-case.internal-note-added text"))
    send(f"{case}/resolve-case", resolution_code="replaced")
    asked = {"invitation": "survey-1", "scale": "csat"}
    send(f"{case}/request-satisfaction", **asked)
    recorded = aviary.text("support-case.satisfaction-recorded comment")
    send(f"{case}/record-satisfaction", **asked, score=4, comment=recorded)
    amended = aviary.text("support-case.satisfaction-amended comment")
    send(f"{case}/record-satisfaction", **asked, score=2, comment=amended, amends=True)


async def plant_by_codec(log: PostgresEventLog, aviary: Aviary) -> list[UUID]:
    """Append one event of each class that has personal fields, a canary in each; the streams that they are in."""
    await store(log, decision(SUPPORT_HOURS, 0, SUPPORT_HOURS_DEFINED))  # what the cases of the examples refer to
    streams: dict[str, UUID] = {}
    versions: dict[UUID, int] = {}
    for event_type, event in events_with(aviary):
        stream = streams.setdefault(event_type.aggregate, new_id())
        await store(log, decision(stream, versions.get(stream, 0), event, customer=stream))
        versions[stream] = versions.get(stream, 0) + 1
    return list(versions)


# What is not accepted


def provoke(client: httpx.Client, texts: Iterable[str]) -> Iterator[bytes]:
    """Send each text where it does not belong, in every way that is answered with a problem; the problems."""
    for number, text in enumerate(texts):
        yield from map(_problem, _refused(client, text))
        if not number:  # who knows no key has to wait a moment for being told so
            yield _problem(client.get("/v1/customers", headers={"authorization": f"Bearer {quote(text[:100])}"}))


def _refused(client: httpx.Client, text: str) -> Iterator[httpx.Response]:
    keys, customers = {"idempotency-key": "canary-refused"}, "/v1/customers"
    person = {"customer_number": "C-1", "kind": "person", "name": text, "relationship": "customer", "language": "en"}
    known = person | {"currency": "EUR", "country": "GB"}
    yield client.post(customers, json=known, headers=keys)  # the number is taken
    yield client.post(customers, json=person | {"kind": text, "language": text, "vat_id": [text]}, headers=keys)
    yield client.post(customers, json=known | {f"{text}?": text}, headers=keys)  # what no field can be called
    yield client.post(customers, content=json.dumps(text)[:-1], headers=keys | JSON)
    yield client.post(customers, content=text.encode("utf-16"), headers=keys | JSON)
    yield client.post(f"{customers}/{quote(text[:100], safe='')}/block-customer", json={"reason": "x"}, headers=keys)
    yield client.get(f"{customers}/{quote(text[:100], safe='')}")
    yield client.get(customers, params={"limit": text})
    yield client.get(customers, params={f"{text[:100]}?": "1"})
    yield client.get(customers, params={"cursor": text})
    yield client.get(f"/v1/{quote(text[:100], safe='')}")
    line = {"key": "1", "command": "register-customer", "data": known | {"kind": text}}
    yield client.post("/v1/commands", content=json.dumps(line), headers={"content-type": "application/x-ndjson"})


def _problem(response: httpx.Response) -> bytes:
    is_bulk = response.headers["content-type"].startswith("application/x-ndjson")
    assert is_bulk or response.status_code >= 400, response.text
    return response.content


def ask_for(client: httpx.Client, texts: Iterable[str]) -> None:
    """Look for customers by each text."""
    for text in texts:
        query = {"q": text.splitlines()[-1]}
        # A connection that was ended is told to the next one who asks for it: the same request may be sent again.
        while (response := client.get("/v1/customers", params=query)).status_code == httpx.codes.SERVICE_UNAVAILABLE:
            assert response.json()["retry"] == "same_request"
        assert response.status_code == httpx.codes.OK, response.text
