"""The customer card: what holds on a day, as known at a position; and how customers are found."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.ports import RecordedEvent
from domain.case_events import CaseId, CustomerIdentified
from domain.customer import (
    ContactPersonAdded,
    ContactPersonChanged,
    CreditLimitChanged,
    CustomerBlocked,
    CustomerClassified,
    CustomerDeactivated,
    CustomerKind,
    CustomerNotFound,
    CustomerReactivated,
    CustomerRegistered,
    CustomerUnblocked,
    Department,
    ExternalIdentifierAttached,
    InteractionRecorded,
    LegalNameChanged,
    MasterDataConfirmed,
    OwnerAssigned,
    Relationship,
)
from domain.values import ContactId, ExternalIdentifier
from infrastructure.database import Databases
from infrastructure.event_types import EVENT_TYPES
from projections.customer_card import OF_CARDS, CustomerCard, card
from projections.customer_card_tables import CustomerCards
from projections.customer_search import QUERY_CHARACTERS_MAX, search
from projections.customer_search_values import words
from projections.customer_summaries import CustomerSummary, KeptEvent, customers
from projections.read_model import forget_erased
from projections.reports import canonical_json
from tests.colleagues import SECOND_LEVEL, SUPPORT_HOURS
from tests.complaints import (
    ACME_COMPLAINED,
    ASKED_FOR_SATISFACTION,
    CLUMPS,
    GRACE_WROTE,
    KATHERINE_NOTED,
    KATHERINE_REPLIED,
    LATE_AGAIN,
    LESS_SATISFIED,
    RESOLVED,
    SATISFIED,
    monday,
    tuesday,
)
from tests.people import (
    ACME,
    ACME_IN_THE_ERP,
    ACME_MOVED,
    ACME_REGISTERED,
    ADA,
    ADA_REGISTERED,
    APRIL,
    GRACE,
    GRACE_ADDED,
    GRACE_CALLED,
    GRACE_LEFT,
    JANUARY,
    JULY,
    NET_30_AGREED,
    OUR_OTHER_SELLER,
    OUR_SELLER,
    SMALL_BAKERY,
    TEN_THOUSAND_EUROS,
)
from tests.projections.logs import FIRST_OF_JANUARY, Folded, LogOf, ask, folding, hashed, project, shown
from tests.projections.support import Support
from tests.projections.trade import Trade

MARCH = date(2026, 3, 31)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def log() -> LogOf:
    """Acme and Ada are known: positions 1 and 2."""
    log = LogOf()
    log.append(ACME, ACME_REGISTERED)
    log.append(ADA, ADA_REGISTERED)
    return log


def shown_card(
    cards: Folded, log: LogOf, customer: UUID = ACME, valid_at: date = JULY, *, at: int | None = None, **options: Any
) -> CustomerCard:
    position = log.head() if at is None else at
    zone = options.pop("zone", UTC)
    return asyncio.run(card(cards.snapshots(position), customer, valid_at, zone, **options))


def document(cards: Folded, log: LogOf, customer: UUID = ACME, valid_at: date = JULY, **options: Any) -> dict[str, Any]:
    return dict(shown_card(cards, log, customer, valid_at, **options).document(shown))


def numbers(found: list[CustomerSummary]) -> list[str]:
    return [each.customer_number for each in found]


def found(cards: Folded, log: LogOf, query: str, *, at: int | None = None, **page: Any) -> list[str]:
    position = log.head() if at is None else at
    page = {"limit": 10, **page}
    (summaries,) = cards.ask((position, lambda snapshot: search(snapshot, query, hashed, JULY, UTC, **page)))
    return numbers(summaries)


def test_every_event_of_a_customer_has_its_place() -> None:
    of_customers = {each.name for each in EVENT_TYPES.types if each.aggregate == "customer"}
    of_cases = {event for event in CustomerCards.events if event.startswith("support-case.")}
    assert CustomerCards.events == of_customers | of_cases
    messages = {"support-case.opened", "support-case.customer-message-received", "support-case.public-reply-sent"}
    answers = {"support-case.satisfaction-recorded", "support-case.satisfaction-amended"}
    assert of_cases == messages | answers | {"support-case.customer-identified"}


def test_a_card_shows_all_that_is_known(cards: Folded, log: LogOf) -> None:
    for event in (
        ACME_MOVED,
        GRACE_ADDED,
        NET_30_AGREED,
        CreditLimitChanged(limit=TEN_THOUSAND_EUROS),
        OwnerAssigned(department=Department.SALES, staff_id=OUR_SELLER, valid_from=JANUARY),
        CustomerClassified(classification=SMALL_BAKERY),
        ExternalIdentifierAttached(identifier=ACME_IN_THE_ERP),
        GRACE_CALLED,
        MasterDataConfirmed(),
    ):
        log.append(ACME, event)
    cards.fold(log)
    acme = document(cards, log)
    assert {name: acme[name] for name in ("customer_id", "customer_number", "kind", "name", "country")} == {
        "customer_id": ACME,
        "customer_number": "C-1001",
        "kind": "organisation",
        "name": "Acme Bakery GmbH",
        "country": "DE",
    }
    assert (acme["definition"], acme["definition_version"], acme["position"]) == ("customer_card", 1, 11)
    assert (acme["is_blocked"], acme["is_active"]) == (False, True)
    assert acme["registration"]["vat_id"] == "DE123456789"
    assert [(each["kind"], each["city"], each["valid_from"]) for each in acme["addresses"]] == [
        ("billing", "Bremen", APRIL)
    ]
    assert [(each["name"], each["has_left"]) for each in acme["contacts"]] == [("Grace Hopper", False)]
    assert acme["payment_terms"]["terms"]["due_days"] == 30
    assert acme["credit_limit"]["limit"] == {"amount": "10000.00", "currency": "EUR"}
    assert [(each["department"], each["staff_id"]) for each in acme["owners"]] == [("sales", str(OUR_SELLER))]
    assert acme["classification"]["classification"]["industry"] == "10.71"
    assert [each["identifier"]["source"] for each in acme["external_identifiers"]] == ["erp"]
    assert acme["last_confirmed"]["position"] == 11
    assert [each["summary"] for each in acme["interactions"]] == ["The flour clumps again."]


def test_a_card_names_the_events_that_have_to_be_decoded_for_it(cards: Folded, log: LogOf) -> None:
    log.append(ACME, GRACE_ADDED)
    log.append(ACME, GRACE_CALLED)
    found = shown_card(cards.fold(log), log)
    assert sorted(each.position for each in found.events) == [1, 3, 4]
    needed = {each.position: shown(each) for each in found.events}
    assert found.document(lambda event: needed[event.position]) == found.document(shown)


def test_the_readers_role_may_ask_for_cards_and_find_customers(databases: Databases, log: LogOf) -> None:
    project(databases, log)
    acme = ask(databases, lambda models: models.read_together(OF_CARDS, lambda seen: card(seen, ACME, JULY, UTC)))
    assert acme.summary.customer_number == "C-1001"
    ada = ask(
        databases,
        lambda models: models.read(
            "customer_card", lambda asked: search(asked, "lovelace", hashed, JULY, UTC, limit=10)
        ),
    )
    assert numbers(ada) == ["C-1002"]


def test_personal_values_are_kept_encrypted(cards: Folded, log: LogOf) -> None:
    log.append(ACME, GRACE_ADDED)
    log.append(ACME, GRACE_CALLED)
    cards.fold(log)
    kept = b"".join(
        bytes(row[0])
        for table in ("facts", "interactions", "customers", "words", "tokens")
        for row in cards.connection.execute(
            cards.tables.sql("SELECT string_agg(t::text, ' ')::bytea FROM {table} t", table=cards.tables[table])
        )
    )
    bodies = cards.connection.execute(cards.tables.sql("SELECT body FROM {facts}")).fetchall()
    kept += b"".join(body for (body,) in bodies)
    assert b"C-1001" in kept
    assert b"bakery" in kept
    for personal in (b"lovelace", b"hopper", b"acme.example", b"555-0100", b"flour clumps"):
        assert personal not in kept.lower()


def test_an_erased_person_is_shown_as_erased(cards: Folded, log: LogOf) -> None:
    cards.fold(log)
    ada = shown_card(cards, log, ADA).document(lambda event: shown(event, frozenset({ADA})))
    assert (ada["name"], ada["customer_number"]) == ("[erased]", "C-1002")


# Valid time and known time


def test_what_holds_from_a_day_on_holds_until_the_next_statement(cards: Folded, log: LogOf) -> None:
    log.append(ACME, LegalNameChanged(valid_from=JULY, legal_name="Acme SE"))
    log.append(ACME, LegalNameChanged(valid_from=APRIL, legal_name="Acme AG"))
    cards.fold(log)
    for day, name, valid_to in (
        (MARCH, "Acme Bakery GmbH", None),
        (APRIL, "Acme AG", JULY),
        (JULY - timedelta(days=1), "Acme AG", JULY),
        (JULY, "Acme SE", None),
    ):
        acme = document(cards, log, valid_at=day)
        assert acme["name"] == name
        assert (acme["legal_name"] or {}).get("valid_to") == valid_to


def test_of_two_statements_for_a_day_the_later_one_counts(cards: Folded, log: LogOf) -> None:
    first = log.append(ACME, OwnerAssigned(department=Department.SALES, staff_id=OUR_SELLER, valid_from=APRIL))
    log.append(ACME, OwnerAssigned(department=Department.SALES, staff_id=OUR_OTHER_SELLER, valid_from=APRIL))
    cards.fold(log)
    assert [each["staff_id"] for each in document(cards, log)["owners"]] == [str(OUR_OTHER_SELLER)]
    assert [each["staff_id"] for each in document(cards, log, at=first)["owners"]] == [str(OUR_SELLER)]


def test_what_is_said_without_a_day_holds_from_when_it_occurred(cards: Folded, log: LogOf) -> None:
    log.append(ACME, CustomerBlocked(), occurred_at=datetime(2026, 4, 1, 22, 30, tzinfo=UTC))
    log.append(ACME, CustomerDeactivated(), occurred_at=datetime(2026, 5, 1, tzinfo=UTC))
    log.append(ACME, CustomerUnblocked(), occurred_at=datetime(2026, 6, 1, tzinfo=UTC))
    log.append(ACME, CustomerReactivated(), occurred_at=datetime(2026, 6, 2, tzinfo=UTC))
    cards.fold(log)

    def standing(day: date, zone: Any = UTC) -> tuple[bool, bool]:
        summary = shown_card(cards, log, valid_at=day, zone=zone).summary
        return summary.is_blocked, summary.is_active

    assert standing(MARCH) == (False, True)
    assert standing(APRIL) == (True, True)
    assert standing(APRIL, BERLIN) == (False, True), "in Berlin it is the 2nd already"
    assert standing(date(2026, 5, 1)) == (True, False)
    assert standing(date(2026, 6, 1)) == (False, False)
    assert standing(JULY) == (False, True)


def test_a_card_at_an_earlier_position_stays_what_it_was(cards: Folded, log: LogOf) -> None:
    log.append(ACME, GRACE_ADDED)
    log.append(ACME, GRACE_CALLED)
    before = document(cards.fold(log), log, at=4)
    log.append(ACME, ContactPersonChanged(contact_id=GRACE, name="Grace Murray Hopper"))
    log.append(ACME, GRACE_LEFT)
    log.append(ACME, LegalNameChanged(valid_from=JANUARY, legal_name="Acme AG"))
    log.append(ACME, GRACE_CALLED, occurred_at=FIRST_OF_JANUARY)
    cards.fold(log)
    assert document(cards, log, at=4) == before
    now = document(cards, log)
    assert [(each["name"], each["has_left"]) for each in now["contacts"]] == [("Grace Murray Hopper", True)]
    assert now["name"] == "Acme AG"
    assert len(now["interactions"]) == 2


def test_the_latest_interactions_come_first_whenever_they_were_recorded(cards: Folded, log: LogOf) -> None:
    for day in (5, 1, 9):
        log.append(ACME, GRACE_CALLED, occurred_at=datetime(2026, 2, day, tzinfo=UTC))
    cards.fold(log)
    shown_days = [each.occurred_at.day for each in shown_card(cards, log, interactions=2).interactions]
    assert shown_days == [9, 5]
    assert [each.occurred_at.day for each in shown_card(cards, log, valid_at=date(2026, 2, 5)).interactions] == [5, 1]


DAYS = st.sampled_from([JANUARY, APRIL, JULY])
SAYINGS = st.one_of(
    st.builds(LegalNameChanged, valid_from=DAYS, legal_name=st.sampled_from(["Acme AG", "Acme SE"])),
    st.builds(OwnerAssigned, department=st.sampled_from(Department), staff_id=st.just(OUR_SELLER), valid_from=DAYS),
    st.builds(ContactPersonChanged, contact_id=st.just(GRACE), name=st.sampled_from(["Grace", "Grace Hopper"])),
    st.sampled_from([CustomerBlocked(), CustomerUnblocked(), CustomerDeactivated(), CustomerReactivated(), GRACE_LEFT]),
    st.sampled_from([GRACE_CALLED, GRACE_ADDED, ACME_MOVED, NET_30_AGREED, MasterDataConfirmed()]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(st.tuples(SAYINGS, st.integers(0, 200)), min_size=2, max_size=25),
    cut=st.integers(1, 20),
    at=st.integers(1, 20),
    day=st.sampled_from([MARCH, APRIL, JULY]),
)
def test_what_is_said_late_changes_no_earlier_card(
    cards: Folded, said: list[tuple[Any, int]], cut: int, at: int, day: date
) -> None:
    log = LogOf()
    log.append(ACME, ACME_REGISTERED)
    for event, days in said:
        log.append(ACME, event, occurred_at=FIRST_OF_JANUARY + timedelta(days=days))
    everything, log.recorded = log.recorded, log.recorded[: cut + 1]
    at = min(at, log.head())

    def answers() -> tuple[bytes, list[str], list[str]]:
        shown_then = canonical_json(document(cards, log, valid_at=day, at=at))
        return shown_then, found(cards, log, "acme se", at=at), found(cards, log, "hopper", at=at)

    with cards.afresh():
        cards.fold(log)
        before = answers()
        log.recorded = everything
        cards.fold(log)
        assert answers() == before


@pytest.mark.parametrize(("customer", "at"), [(GRACE, 2), (ADA, 1), (ACME, 0)])
def test_who_is_not_known_yet_has_no_card(cards: Folded, log: LogOf, customer: UUID, at: int) -> None:
    cards.fold(log)
    with pytest.raises(CustomerNotFound):
        shown_card(cards, log, customer, at=at)


# Lists


def test_customers_are_listed_by_their_numbers(cards: Folded, log: LogOf) -> None:
    log.append(ADA, LegalNameChanged(valid_from=JANUARY, name="Ada King"))
    cards.fold(log)

    def listed(at: int, **page: Any) -> list[CustomerSummary]:
        (summaries,) = cards.ask((at, lambda snapshot: customers(snapshot, JULY, UTC, **page)))
        return summaries

    assert numbers(listed(3, limit=10)) == ["C-1001", "C-1002"]
    assert numbers(listed(3, limit=1)) == ["C-1001"]
    assert numbers(listed(3, limit=1, after="C-1001")) == ["C-1002"]
    assert numbers(listed(1, limit=10)) == ["C-1001"]
    assert [each.document(shown)["name"] for each in listed(3, limit=10)] == ["Acme Bakery GmbH", "Ada King"]
    assert [each.document(shown)["name"] for each in listed(2, limit=10)] == ["Acme Bakery GmbH", "Ada Lovelace"]


# Finding


def test_organisations_are_found_by_the_beginnings_of_their_words(cards: Folded, log: LogOf) -> None:
    log.append(ACME, LegalNameChanged(valid_from=JULY, legal_name="Straße & Söhne"))
    cards.fold(log)
    for query in ("acme", "ACM", "bak gm", "gmbh acme", "STRASSE", "söhne", "strasse acme"):
        assert found(cards, log, query) == ["C-1001"], query
    for query in ("cme", "acme flour", "bakeryx"):
        assert found(cards, log, query) == [], query
    assert found(cards, log, "strasse", at=2) == []


def test_customers_are_found_by_the_beginning_of_their_number(cards: Folded, log: LogOf) -> None:
    cards.fold(log)
    assert found(cards, log, "C-100") == ["C-1001", "C-1002"]
    assert found(cards, log, "C-1002") == ["C-1002"]
    assert found(cards, log, "C-100", limit=1) == ["C-1001"]
    assert found(cards, log, "C-100", after="C-1001") == ["C-1002"]
    assert found(cards, log, "C-100", at=1) == ["C-1001"]


def test_people_are_found_by_whole_values_only(cards: Folded, log: LogOf) -> None:
    log.append(ACME, GRACE_ADDED)
    log.append(ACME, ExternalIdentifierAttached(identifier=ACME_IN_THE_ERP))
    cards.fold(log)
    for query, number in (
        ("Ada", "C-1002"),
        ("lovelace ada", "C-1002"),
        ("GB 999 9999 73", "C-1002"),
        ("de123456789", "C-1001"),
        ("Hopper", "C-1001"),
        ("GRACE@acme.example", "C-1001"),
        ("+49 (421) 5550100", "C-1001"),
        ("4711", "C-1001"),
        ("ACME-01", "C-1001"),
    ):
        assert found(cards, log, query) == [number], query
    for query in ("Lovelac", "grace@navy", "Ada Hopper", "47", "5550100", "", "  ", "+++"):
        assert found(cards, log, query) == [], query


def test_what_a_contact_person_has_no_more_finds_nobody(cards: Folded, log: LogOf) -> None:
    added = log.append(ACME, GRACE_ADDED)
    log.append(ACME, ContactPersonChanged(contact_id=GRACE, name="Grace Hopper", email="hopper@acme.example"))
    last = log.append(ACME, ContactPersonChanged(contact_id=GRACE, name="Grace Hopper", email="rear@navy.example"))
    for page_size in (1, 500):
        with cards.afresh():
            cards.fold(log, page_size)
            assert found(cards, log, "grace@acme.example", at=added) == ["C-1001"]
            assert found(cards, log, "grace@acme.example") == []
            assert found(cards, log, "hopper@acme.example", at=last - 1) == ["C-1001"]
            assert found(cards, log, "hopper@acme.example") == []
            assert found(cards, log, "rear@navy.example") == ["C-1001"]
            assert found(cards, log, "hopper") == ["C-1001"]


@pytest.fixture
def own_cards(databases: Databases) -> Iterator[Folded]:
    """Customer cards in a database of their own, in which somebody may be erased."""
    with folding(databases, CustomerCards()) as folded:
        yield folded


def test_an_erased_person_is_not_found_from_that_moment_on(superuser: str, own_cards: Folded, log: LogOf) -> None:
    cards = own_cards
    added = log.append(ACME, GRACE_ADDED)
    cards.fold(log)
    before = cards.digest()
    assert found(cards, log, "hopper") == ["C-1001"]
    with psycopg.connect(superuser) as connection:
        connection.execute("SELECT main.destroy_subject(%s)", [GRACE])
    assert found(cards, log, "hopper") == []
    assert found(cards, log, "hopper", at=added) == []
    assert found(cards, log, "ada") == ["C-1002"]
    erased = cards.digest()
    assert erased != before
    known = _tokens_in_statistics(cards, analyze=True)
    assert forget_erased(cards.connection, cards.model, cards.tables) == 4
    assert known > _tokens_in_statistics(cards) > set(), "the planner does not remember them either"
    assert forget_erased(cards.connection, cards.model, cards.tables) == 0
    assert cards.digest() == erased, "rows of erased people do not count, so that a rebuild gives the same digest"


def _tokens_in_statistics(cards: Folded, *, analyze: bool = False) -> set[str]:
    """The keyed hashes that the planner remembers."""
    if analyze:
        cards.connection.execute(cards.tables.sql("ANALYZE {tokens}"))
    rows = cards.connection.execute(
        "SELECT unnest(coalesce(most_common_vals::text::text[], '{}') "
        "|| coalesce(histogram_bounds::text::text[], '{}')) FROM pg_stats "
        "WHERE attname = 'token' AND schemaname = 'main_read'"
    ).fetchall()
    return {hashed for (hashed,) in rows}


def test_a_very_long_query_is_cut(cards: Folded, log: LogOf) -> None:
    cards.fold(log)
    assert found(cards, log, "acme " * QUERY_CHARACTERS_MAX) == ["C-1001"]
    assert len(words(" ".join(map(str, range(100))))) == 16


# Folding


def everything() -> LogOf:
    """A log with every kind of event, several customers and many changes."""
    log = LogOf()
    for number in range(6):
        customer = UUID(int=number + 1)
        identifier = ExternalIdentifier(source="shop\t", id=f"back\\slash-{number}")
        log.append(
            customer,
            CustomerRegistered(
                customer_number=f"C-{number}",
                kind=CustomerKind.ORGANISATION,
                relationship=Relationship.PROSPECT,
                language="de",
                currency="EUR",
                country="DE",
                legal_name=f"Tab\tand line\nNo {number}",
                external_identifiers=(identifier,),
            ),
        )
        contact = ContactId(UUID(int=100 + number))
        log.append(customer, ContactPersonAdded(contact_id=contact, name="Ada Ada Lovelace", email="ada@example.com"))
        log.append(customer, ExternalIdentifierAttached(identifier=identifier))
        log.append(customer, ContactPersonChanged(contact_id=contact, name="Ada King", phone="12345"))
        log.append(customer, InteractionRecorded(**_called(GRACE_CALLED)))
    return log


def _called(event: InteractionRecorded) -> dict[str, Any]:
    return {name: getattr(event, name) for name in ("interaction_id", "channel", "direction", "summary")}


def test_it_makes_no_difference_how_the_log_is_cut_into_pages(cards: Folded) -> None:
    log = everything()
    digests = []
    for page_size in (1, 7, 500):
        with cards.afresh():
            digests.append(cards.fold(log, page_size).digest())
    assert digests[0] == digests[1] == digests[2]


def test_texts_come_back_as_they_were(cards: Folded) -> None:
    log = everything()
    cards.fold(log)
    first = document(cards, log, UUID(int=1))
    assert first["name"] == "Tab\tand line\nNo 0"
    assert first["external_identifiers"][0]["identifier"] == {"source": "shop\t", "id": "back\\slash-0"}
    assert found(cards, log, "back\\slash-3") == ["C-3"]


def test_an_event_that_has_no_place_stops_the_fold(cards: Folded, log: LogOf) -> None:
    log.recorded[1] = replace(Trade().registered().events()[0], position=2, type="customer.registered")
    with pytest.raises(TypeError, match="no place for ProductRegistered"):
        cards.fold(log)


def test_a_kept_event_is_all_that_is_needed_to_decode_it() -> None:
    kept = KeptEvent(1, ACME, 1, "customer.blocked", 1, FIRST_OF_JANUARY, FIRST_OF_JANUARY, b"{}")
    assert shown(kept) == {}


# Support


def complain(log: LogOf, *events: Any, case_id: CaseId = CLUMPS) -> None:
    """Record events of a case at their own times, after calendars; one without a time comes as a pair with it."""
    known = SUPPORT_HOURS in {each.stream_id for each in log.recorded if isinstance(each, RecordedEvent)}
    (Support(log) if known else Support(log).begun()).tell(case_id, *events)


def test_messages_of_cases_are_interactions_beside_those_that_were_recorded(cards: Folded, log: LogOf) -> None:
    complain(log, ACME_COMPLAINED, KATHERINE_REPLIED, KATHERINE_NOTED, GRACE_WROTE)
    log.append(ACME, GRACE_CALLED, occurred_at=monday(12))
    shown_ones = document(cards.fold(log), log)["interactions"]
    assert [(each["type"], each["occurred_at"]) for each in shown_ones] == [
        ("support-case.customer-message-received", GRACE_WROTE.at),
        ("customer.interaction-recorded", monday(12)),
        ("support-case.public-reply-sent", KATHERINE_REPLIED.at),
        ("support-case.opened", ACME_COMPLAINED.at),
    ]
    assert [each["case"] for each in shown_ones] == [CLUMPS, None, CLUMPS, CLUMPS]
    assert shown_ones[3]["first_message"] == ACME_COMPLAINED.first_message


def test_survey_answers_are_interactions(cards: Folded, log: LogOf) -> None:
    complain(log, ACME_COMPLAINED, RESOLVED, (ASKED_FOR_SATISFACTION, monday(15)), (SATISFIED, monday(16)))
    complain(log, (LESS_SATISFIED, tuesday(9)))
    shown_ones = document(cards.fold(log), log)["interactions"]
    assert [(each["type"], each.get("score"), each["case"]) for each in shown_ones] == [
        ("support-case.satisfaction-amended", LESS_SATISFIED.score, CLUMPS),
        ("support-case.satisfaction-recorded", SATISFIED.score, CLUMPS),
        ("support-case.opened", None, CLUMPS),
    ]


def test_whose_case_it_is_may_be_said_later_and_be_put_right(cards: Folded, log: LogOf) -> None:
    complain(log, replace(ACME_COMPLAINED, customer_id=None))
    unknown = log.head()
    complain(log, (CustomerIdentified(customer_id=ADA), monday(10)))
    of_ada = log.head()
    complain(log, (CustomerIdentified(customer_id=ACME), monday(11)))
    cards.fold(log, page_size=2)
    seen = {
        (customer, position): [
            len(document(cards, log, customer, at=position)[part]) for part in ("interactions", "open_cases")
        ]
        for customer in (ACME, ADA)
        for position in (unknown, of_ada, log.head())
    }
    nothing, one = [0, 0], [1, 1]
    assert seen == {
        (ACME, unknown): nothing,
        (ACME, of_ada): nothing,
        (ACME, log.head()): one,
        (ADA, unknown): nothing,
        (ADA, of_ada): one,
        (ADA, log.head()): nothing,
    }


def test_open_cases_are_those_that_were_open_on_that_day(cards: Folded, log: LogOf) -> None:
    complain(log, ACME_COMPLAINED, KATHERINE_REPLIED, replace(RESOLVED, at=tuesday(14)))
    complain(log, replace(ACME_COMPLAINED, at=tuesday(9), case_number="T-1002"), case_id=LATE_AGAIN)
    cards.fold(log)
    days = {day: document(cards, log, valid_at=date(2026, 6, day)) for day in (7, 8, 9)}
    assert {day: [each["case_number"] for each in shown["open_cases"]] for day, shown in days.items()} == {
        7: [],
        8: ["T-1001"],
        9: ["T-1002"],
    }
    assert [days[day]["open_case_count"] for day in days] == [0, 1, 1]
    answered, waiting = days[8]["open_cases"][0], days[9]["open_cases"][0]
    assert (answered["status"], answered["awaited"]) == ("open", None)
    assert (waiting["awaited"], waiting["waiting_since"], waiting["team"]) == (
        "first_response",
        tuesday(9),
        SECOND_LEVEL,
    )


def test_the_latest_answers_about_satisfaction_are_on_the_card(cards: Folded, log: LogOf) -> None:
    complain(log, ACME_COMPLAINED, RESOLVED, (ASKED_FOR_SATISFACTION, monday(15)), (SATISFIED, monday(16)))
    complain(log, (LESS_SATISFIED, tuesday(9)))
    (answer,) = document(cards.fold(log), log)["satisfaction"]
    assert answer == {
        "scale": "csat",
        "score": SATISFIED.score,
        "answered_at": monday(16),
        "case": CLUMPS,
        "position": log.head() - 1,
    }
    assert document(cards, log, valid_at=date(2026, 6, 7))["satisfaction"] == []
