"""Events to bytes and back: personal values sealed one by one, older versions read in the shape of today."""

import json
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.customer import InteractionRecorded
from domain.product import ProductRegistered
from domain.values import (
    ERASED,
    ContactId,
    ContactText,
    FreeText,
    Personal,
    PersonalText,
    immutable,
)
from infrastructure.codec import (
    BODY_BYTES_MAX,
    BodyTooLarge,
    Codec,
    Encoded,
    Key,
    PersonalField,
    UnknownEventType,
    erase_all,
    personal_fields,
    split_reference,
    subject_reference,
    text_reference,
)
from infrastructure.encryption import WrongKey, seal
from infrastructure.event_types import EVENT_TYPES, EventType, Registry
from tests.contracts.test_events import EVENTS
from tests.golden.keys import TENANT, find_key, subject_key, text_key
from tests.people import ACME, ADA, GRACE, GRACE_CALLED, OUR_SELLER

BOB = ContactId(UUID("01900000-0000-7000-8000-0000000000b0"))


@immutable
class Attendee:
    """Somebody at a meeting."""

    contact_id: ContactId
    name: ContactText
    said: FreeText | None = None


@immutable
class MeetingHeld:
    """An event with personal values in every place that the codec knows."""

    title: str
    place: PersonalText | None = None
    host: Attendee | None = None
    attendees: tuple[Attendee, ...] = ()


CODEC = Codec(EVENT_TYPES, TENANT)
MEETINGS = Codec(Registry((EventType("meeting.held", MeetingHeld),)), TENANT)
PLACE = MEETINGS.place(ACME, 1)
MEETING = MeetingHeld(
    title="Flour",
    place="At Ada's",
    host=Attendee(contact_id=GRACE, name="Grace", said="Welcome"),
    attendees=(Attendee(contact_id=BOB, name="Bob"), Attendee(contact_id=GRACE, name="Grace H.", said="It clumps")),
)

each_event_type = pytest.mark.parametrize("event_type", EVENT_TYPES.types, ids=lambda each: each.name)


def encode(event: object, codec: Codec = MEETINGS) -> Encoded:
    return codec.of(event).encode(event, PLACE, subject_key, text_key)


def decode(body: bytes, find: Any = find_key, place: Any = PLACE) -> MeetingHeld:
    meeting: MeetingHeld = MEETINGS.decode("meeting.held", 1, body, place, find)
    return meeting


def without(*gone: str) -> Any:
    return lambda reference: None if reference in gone else find_key(reference)


# Personal values


def test_personal_fields_are_found_wherever_they_are() -> None:
    contact, text = Personal(subject="contact_id"), Personal(free_text=True)
    assert list(personal_fields(MeetingHeld)) == [
        PersonalField(("place",), Personal()),
        PersonalField(("host", "name"), contact),
        PersonalField(("host", "said"), text),
        PersonalField(("attendees", "*", "name"), contact),
        PersonalField(("attendees", "*", "said"), text),
    ]


def test_the_subjects_of_an_event_are_those_whose_values_it_holds() -> None:
    codec = MEETINGS.of(MEETING)
    assert list(codec.subjects(MEETING, ACME)) == [
        (ACME, True),
        (GRACE, True),
        (ACME, False),
        (BOB, True),
        (GRACE, True),
        (ACME, False),
    ]
    assert list(codec.subjects(MeetingHeld(title="Nobody came"), ACME)) == []


def test_every_personal_value_is_sealed_under_its_subjects_key() -> None:
    encoded = encode(MEETING)
    assert (encoded.name, encoded.schema_version) == ("meeting.held", 1)
    # In base64 three letters may stand by chance, five do not; and no apostrophe, and no such short text as a whole.
    for value in ("Ada's", "Grace", '"Bob"', "Welcome", "clumps"):
        assert value.encode() not in encoded.body
    assert MEETINGS.references([encoded.body, b'{"title":"$personal"}']) == {
        *(subject_reference(subject) for subject in (ACME, GRACE, BOB)),
        text_key(ACME).reference,
    }
    assert decode(encoded.body) == MEETING


def test_what_is_not_known_is_not_stored() -> None:
    assert json.loads(encode(MeetingHeld(title="Nobody came")).body) == {"title": "Nobody came", "attendees": []}


def test_one_subject_is_erased_and_the_others_stay() -> None:
    read = decode(encode(MEETING).body, without(subject_reference(GRACE)))
    assert MEETING.host is not None
    bob, grace = MEETING.attendees
    assert read == replace(
        MEETING, host=replace(MEETING.host, name=ERASED), attendees=(bob, replace(grace, name=ERASED))
    )


def test_when_all_keys_are_gone_what_is_not_personal_stays() -> None:
    assert decode(encode(MEETING).body, erase_all) == MeetingHeld(
        title="Flour",
        place=ERASED,
        host=Attendee(contact_id=GRACE, name=ERASED, said=ERASED),
        attendees=(Attendee(contact_id=BOB, name=ERASED), Attendee(contact_id=GRACE, name=ERASED, said=ERASED)),
    )


def test_an_erased_value_is_not_recorded_again() -> None:
    with pytest.raises(TypeError, match="erased"):
        encode(decode(encode(MEETING).body, erase_all))


def test_an_event_shows_its_personal_values_to_those_who_may_read_it() -> None:
    codec = MEETINGS.of(MEETING)
    shown = codec.plain(MEETING)
    assert (shown["place"], shown["attendees"][0]["name"], shown["attendees"][0]["said"]) == ("At Ada's", "Bob", None)
    assert json.loads(codec.plain_json(MEETING)) == shown
    erased = codec.plain(decode(encode(MEETING).body, erase_all))
    assert (erased["place"], erased["host"]["name"]) == ("[erased]", "[erased]")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (("attendees", 0, "name"), ("attendees", 1, "name")),
        (("host", "name"), ("attendees", 1, "name")),
        (("host", "said"), ("attendees", 1, "said")),
    ],
)
def test_a_ciphertext_cannot_be_moved_within_an_event(source: tuple[Any, ...], target: tuple[Any, ...]) -> None:
    body = json.loads(encode(MEETING).body)
    from_value, to_holder = body, body
    for step in source:
        from_value = from_value[step]
    for step in target[:-1]:
        to_holder = to_holder[step]
    to_holder[target[-1]] = from_value
    with pytest.raises(WrongKey):
        decode(json.dumps(body).encode())


@pytest.mark.parametrize(
    "place",
    [
        MEETINGS.place(ACME, 2),
        MEETINGS.place(ADA, 1),
        Codec(EVENT_TYPES, ADA).place(ACME, 1),
    ],
    ids=["version", "stream", "tenant"],
)
def test_a_ciphertext_cannot_be_moved_to_another_event(place: Any) -> None:
    body = encode(MEETING).body
    with pytest.raises(WrongKey):
        decode(body, place=place)
    assert decode(body, erase_all, place).title == "Flour"


def test_a_wrong_key_is_an_error_and_no_erasure() -> None:
    with pytest.raises(WrongKey):
        decode(encode(MEETING).body, lambda _reference: bytes(32))


def test_references_lead_to_subjects_and_texts() -> None:
    assert split_reference(subject_reference(ADA)) == (True, ADA)
    assert split_reference(text_reference(ADA)) == (False, ADA)


@pytest.mark.parametrize("name", ["$personal", '"$personal"', '{"$personal": ["subject:x", 1, ""]}'])
def test_a_value_that_looks_like_a_sealed_one_is_read_as_it_was_written(name: str) -> None:
    product = ProductRegistered(product_number="P-1", name=name, base_unit="kg")
    encoded = encode(product, CODEC)
    assert CODEC.decode(encoded.name, 1, encoded.body, PLACE, erase_all) == product
    assert CODEC.references([encoded.body]) == set()


def test_a_body_is_bounded() -> None:
    named = ProductRegistered(product_number="P-1", name="", base_unit="kg")
    longest = "x" * (BODY_BYTES_MAX - len(encode(named, CODEC).body))
    assert len(encode(replace(named, name=longest), CODEC).body) == BODY_BYTES_MAX
    with pytest.raises(BodyTooLarge):
        encode(replace(named, name=longest + "x"), CODEC)


# Versions


def version_1(contact: UUID | None) -> bytes:
    """An interaction as version 1 stored it: with one contact person at most."""
    key = text_key(ACME)
    sealed = seal(str(GRACE_CALLED.summary), key.key, replace(PLACE, field="summary"))
    body = {
        "interaction_id": str(GRACE_CALLED.interaction_id),
        "channel": "phone",
        "direction": "inbound",
        "summary": {"$personal": [key.reference, 1, sealed]},
        "staff": [str(OUR_SELLER)],
        "effort_minutes": 15,
    }
    return json.dumps(body if contact is None else body | {"contact_id": str(contact)}).encode()


@pytest.mark.parametrize("contact", [GRACE, None], ids=["with a contact", "without"])
@pytest.mark.parametrize("find", [find_key, erase_all], ids=["whole", "erased"])
def test_an_older_version_is_read_in_the_shape_of_today(contact: ContactId | None, find: Any) -> None:
    read: InteractionRecorded = CODEC.decode("customer.interaction-recorded", 1, version_1(contact), PLACE, find)
    assert read == replace(
        GRACE_CALLED,
        summary=ERASED if find is erase_all else GRACE_CALLED.summary,
        contacts=() if contact is None else (contact,),
        next_step=None,
    )


@pytest.mark.parametrize("schema_version", [0, 3])
def test_a_version_that_was_never_registered_is_unknown(schema_version: int) -> None:
    with pytest.raises(UnknownEventType, match=rf"customer\.interaction-recorded@{schema_version}"):
        CODEC.decode("customer.interaction-recorded", schema_version, b"{}", PLACE, find_key)


def test_an_event_type_that_was_never_registered_is_unknown() -> None:
    with pytest.raises(UnknownEventType, match=r"customer\.abducted@2"):
        CODEC.decode("customer.abducted", 2, b"{}", PLACE, find_key)


def test_upcasters_are_applied_one_after_the_other() -> None:
    @dataclass(frozen=True)
    class Counted:
        total: int

    steps = {1: lambda body: {"sum": body["n"]}, 2: lambda body: {"total": body["sum"] * 2}}
    codec = Codec(Registry((EventType("test.counted", Counted, 3, steps),)), TENANT)
    assert [
        codec.decode("test.counted", version, body, PLACE, find_key).total
        for version, body in ((1, b'{"n":1}'), (2, b'{"sum":1}'), (3, b'{"total":1}'))
    ] == [2, 2, 1]
    assert codec.registry.by_name["test.counted"].aggregate == "test"
    assert codec.registry.by_class[Counted].schema_version == 3


# Schemas


@each_event_type
@given(data=st.data())
@settings(max_examples=10)
def test_the_schemas_describe_what_is_stored_and_what_is_shown(event_type: EventType, data: st.DataObject) -> None:
    event, codec = data.draw(EVENTS[event_type.name]), CODEC.named(event_type.name)
    encoded = codec.encode(event, PLACE, subject_key, text_key)
    stored = jsonschema_rs.Draft202012Validator(codec.stored_schema())
    stored.validate(json.loads(encoded.body))
    plain = jsonschema_rs.Draft202012Validator(codec.plain_schema())
    plain.validate(codec.plain(event))
    plain.validate(codec.plain(codec.decode(encoded.body, encoded.schema_version, PLACE, erase_all)))
    if codec.personal and encoded.body.count(b"$personal") > 0:
        assert not stored.is_valid(codec.plain(event))
    assert stored.is_valid({}) is ("required" not in codec.stored_schema())


def test_the_schema_of_the_stored_form_knows_values_in_every_place() -> None:
    codec = MEETINGS.named("meeting.held")
    stored = jsonschema_rs.Draft202012Validator(codec.stored_schema())
    body = json.loads(encode(MEETING).body)
    stored.validate(body)
    for clear in (
        body | {"place": "At Ada's"},
        body | {"host": body["host"] | {"name": "Grace"}},
        body | {"attendees": [{"contact_id": str(BOB), "name": "Bob"}]},
    ):
        assert not stored.is_valid(clear)


def test_a_key_at_hand_is_named_by_its_reference() -> None:
    assert subject_key(ADA) == Key(subject_reference(ADA), 1, find_key(subject_reference(ADA)))
