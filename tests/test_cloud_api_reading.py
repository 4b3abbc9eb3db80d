"""Meta's webhooks, in the forms of its documentation."""

from datetime import UTC, datetime
from typing import Any

import pytest

from relevo.http.cloud_api_reading import UPDATES_MAX, arrivals
from relevo.messages import (
    Address,
    AddressChange,
    Arrival,
    Author,
    Edit,
    Ignored,
    InboundMessage,
    Revocation,
    StatusUpdate,
    Unusable,
    correlation_key,
)
from tests.cloud_api_rig import ANA, ANA_BSUID, PHONE
from tests.fakes.cloud_api import (
    LINE,
    OUR_PHONE,
    change,
    delivery,
    echo,
    echoes,
    edit,
    revoke,
    status,
    text,
    webhook,
)

AT = datetime(2025, 6, 13, 22, 42, 55, tzinfo=UTC)
FROM = {"from": PHONE, "id": "wamid.1", "timestamp": "1749854575"}
CONTACT = {"profile": {"name": "Ana"}, "wa_id": PHONE, "user_id": ANA_BSUID.value}
BSUID_2 = Address("bsuid", "US.2")
FILE = {"id": "65463453", "mime_type": "x/y", "sha256": "4654"}
EDIT = edit("wamid.E1", PHONE, "wamid.0", "hello (fixed)", AT)
EXPIRED = {"code": 131047, "title": "Re-engagement message", "error_data": {"details": "24 h"}}


def read(*messages: dict[str, Any], **value: Any) -> tuple[Arrival, ...]:
    return arrivals(webhook(*messages, **value), LINE)


def message(arrived: tuple[Arrival, ...]) -> InboundMessage:
    (arrival,) = arrived
    assert isinstance(arrival, InboundMessage)
    return arrival


def test_a_customer_s_text_has_every_address_that_is_given() -> None:
    said = text("wamid.1", PHONE, "hello", AT, from_user_id=ANA_BSUID.value)
    assert read(said, contacts=[CONTACT]) == (
        InboundMessage(("wamid.1",), (ANA, ANA_BSUID), Author.CUSTOMER, "text", "hello", AT),
    )


@pytest.mark.parametrize(
    ("kind", "part", "read_as", "body", "media"),
    [
        ("text", {"body": "replying"}, "text", "replying", ""),
        ("image", {**FILE, "caption": "my receipt"}, "image", "my receipt", "65463453"),
        ("image", FILE, "image", "", "65463453"),
        ("audio", {**FILE, "voice": True}, "voice", "", "65463453"),
        ("audio", FILE, "audio", "", "65463453"),
        ("video", {**FILE, "caption": "clip"}, "video", "clip", "65463453"),
        (
            "document",
            {**FILE, "filename": "in.pdf", "caption": "see"},
            "document",
            "see",
            FILE["id"],
        ),
        ("document", {**FILE, "filename": "in.pdf"}, "document", "in.pdf", "65463453"),
        ("sticker", {**FILE, "animated": False}, "sticker", "", "65463453"),
        ("location", {"latitude": 37.4, "longitude": -122.2}, "location", "37.4, -122.2", ""),
        (
            "location",
            {"latitude": 37.4, "longitude": -122.2, "name": "HQ", "address": "1 Road"},
            "location",
            "37.4, -122.2\nHQ, 1 Road",
            "",
        ),
        (
            "contacts",
            [{"name": {"formatted_name": "Bo Li"}, "phones": [{"phone": "+1 555-5555"}]}],
            "contacts",
            "Bo Li +1 555-5555",
            "",
        ),
        ("reaction", {"message_id": "wamid.OUT9", "emoji": "👍"}, "reaction", "👍", ""),
        ("reaction", {"message_id": "wamid.OUT9", "emoji": ""}, "reaction", "", ""),
        ("reaction", {"message_id": "wamid.OUT9"}, "reaction", "", ""),
        ("button", {"payload": "confirm-1", "text": "Confirm"}, "button", "Confirm", ""),
        ("order", {"catalog_id": "1", "text": "both please"}, "order", "both please", ""),
        ("unsupported", {"type": "poll"}, "unsupported", "", ""),
        ("hologram", {"body": "?"}, "unsupported", "", ""),
    ],
)
def test_every_kind_of_message_is_read(
    kind: str, part: object, read_as: str, body: str, media: str
) -> None:
    found = message(read({**FROM, "type": kind, kind: part}))
    assert (found.kind, found.body, found.media) == (read_as, body, media)
    assert (found.addresses, found.event_at) == ((ANA,), AT)


@pytest.mark.parametrize(
    ("chosen", "body"),
    [
        ({"type": "button_reply", "button_reply": {"id": "yes", "title": "Yes"}}, "Yes"),
        ({"type": "list_reply", "list_reply": {"id": "row-3", "title": "Row 3"}}, "Row 3"),
        ({"nfm_reply": {"body": "Sent", "response_json": '{"rating":"4"}'}}, '{"rating":"4"}'),
        ({"nfm_reply": {"body": "Sent"}}, "Sent"),
        (None, ""),
    ],
)
def test_what_a_customer_chose_is_what_they_said(chosen: object, body: str) -> None:
    beside = {"errors": [{"code": 131000, "title": "Something went wrong"}]}
    found = message(read({**FROM, "type": "interactive", "interactive": chosen}, **beside))
    assert (found.kind, found.body) == ("interactive", body)


@pytest.mark.parametrize(
    ("sender", "contacts", "addresses"),
    [
        ({"from_user_id": ANA_BSUID.value}, [{"user_id": ANA_BSUID.value}], (ANA_BSUID,)),
        ({"from_user_id": ANA_BSUID.value}, [CONTACT], (ANA, ANA_BSUID)),
        ({"from": PHONE}, [{"wa_id": "1999"}, CONTACT], (ANA, ANA_BSUID)),
        ({"from": PHONE}, [{"wa_id": "1999", "user_id": "US.2"}], (ANA,)),
        ({"from": f"+{PHONE}"}, None, (ANA,)),
        ({"from": "0501234567"}, None, (Address("phone", "0501234567"),)),
        ({"from": PHONE, "from_user_id": "US.2"}, [{"user_id": "US.2"}, CONTACT], (ANA, BSUID_2)),
        ({"from": PHONE}, [CONTACT, {"wa_id": PHONE, "user_id": "US.2"}], (ANA, ANA_BSUID)),
        ({"from": PHONE}, [7, None], (ANA,)),
        ({}, [CONTACT], (ANA, ANA_BSUID)),
    ],
)
def test_a_contact_adds_what_the_message_does_not_say_of_its_sender(
    sender: dict[str, str], contacts: object, addresses: tuple[Address, ...]
) -> None:
    said = {"id": "wamid.1", "type": "text", "text": {"body": "no phone here"}, **sender}
    assert message(read(said, contacts=contacts)).addresses == addresses


def test_of_several_contacts_none_is_guessed() -> None:
    said = {"id": "wamid.1", "type": "text", "text": {"body": "who?"}}
    assert read(said, contacts=[CONTACT, CONTACT]) == (Unusable("no_address"),)


def test_what_the_phone_s_app_sent_is_a_colleague_s() -> None:
    found = message(arrivals(echo("wamid.H1", PHONE, "Maria here", AT), LINE))
    assert (found.author, found.author_name, found.addresses) == (Author.AGENT, "", (ANA,))
    hidden = echo("wamid.H1", "", "Maria here", AT, to_user_id=ANA_BSUID.value)
    assert message(arrivals(hidden, LINE)).addresses == (ANA_BSUID,)


def test_an_echo_that_names_our_id_is_the_assistant_s() -> None:
    ours = echo("wamid.O1", PHONE, "hello", AT, biz_opaque_callback_data="relevo-1")
    found = message(arrivals(ours, LINE))
    assert found.author is Author.ASSISTANT
    assert found.keys == ("wamid.O1", correlation_key("relevo-1"))


@pytest.mark.parametrize(
    ("word", "more", "update"),
    [
        ("sent", {}, ("sent", "")),
        ("delivered", {"pricing": {"billable": True}}, ("delivered", "")),
        ("read", {}, ("read", "")),
        ("played", {}, ("read", "")),
        ("failed", {"errors": [EXPIRED]}, ("failed", "window_closed")),
        ("failed", {"errors": [{"code": 7}, {"code": "131026"}]}, ("failed", "undeliverable")),
        ("failed", {"errors": [{"code": 999999}]}, ("failed", "unclassified")),
        ("failed", {"errors": "?"}, ("failed", "unclassified")),
        ("failed", {}, ("failed", "unclassified")),
    ],
)
def test_a_status_tells_what_became_of_a_message(
    word: str, more: dict[str, Any], update: tuple[str, str]
) -> None:
    ours = {"recipient_id": PHONE, "biz_opaque_callback_data": "relevo-1"}
    keys = ("wamid.OUT9", correlation_key("relevo-1"))
    found = arrivals(status("wamid.OUT9", word, **ours, **more), LINE)
    assert found == (StatusUpdate(keys, *update),)


def test_an_edit_names_its_message_and_says_what_that_reads_now() -> None:
    assert read(EDIT) == (Edit("wamid.0", Author.CUSTOMER, "hello (fixed)", AT),)
    image = {"type": "image", "image": {"id": "6", "caption": "the right one"}}
    captioned = {**EDIT, "edit": {**EDIT["edit"], "message": image}}
    assert read(captioned) == (Edit("wamid.0", Author.CUSTOMER, "the right one", AT),)


def test_a_revocation_names_its_message() -> None:
    gone = revoke("wamid.X1", PHONE, "wamid.0", AT)
    assert read(gone) == (Revocation("wamid.0", Author.CUSTOMER, AT),)


def test_what_a_colleague_edits_or_revokes_is_known_by_its_list_alone() -> None:
    swapped = {**EDIT, "to": OUR_PHONE}
    gone = {**revoke("wamid.X1", OUR_PHONE, "wamid.0", AT), "to": PHONE}
    assert arrivals(echoes(swapped, gone), LINE) == (
        Edit("wamid.0", Author.AGENT, "hello (fixed)", AT),
        Revocation("wamid.0", Author.AGENT, AT),
    )


OLD_PHONE, NEW_PHONE = Address("phone", "+16505551234"), Address("phone", "+16505559999")
OLD_ID, NEW_ID = Address("bsuid", "US.1"), Address("bsuid", "US.2")


@pytest.mark.parametrize(
    ("system", "old", "new"),
    [
        ({"type": "user_changed_number", "wa_id": "16505559999"}, [OLD_PHONE], [NEW_PHONE]),
        (
            {"type": "user_changed_number", "wa_id": "16505559999", "user_id": "US.2"},
            [OLD_PHONE],
            [NEW_PHONE, NEW_ID],
        ),
        (
            {"type": "user_changed_user_id", "user_id": "US.2", "previous_user_id": "US.1"},
            [OLD_PHONE, OLD_ID],
            [NEW_ID],
        ),
        (
            {"type": "user_changed_user_id", "user_id": "US.2", "wa_id": "16505551234"},
            [OLD_PHONE],
            [NEW_ID],
        ),
    ],
)
def test_a_change_of_number_or_user_id_links_the_old_address_and_the_new(
    system: dict[str, str], old: list[Address], new: list[Address]
) -> None:
    event = {"from": "16505551234", "id": "wamid.Y", "type": "system", "system": system}
    assert read(event) == (AddressChange(tuple(old), tuple(new)),)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({**FROM, "type": "edit", "edit": {"original_message_id": "wamid.0"}}, "wrong_type"),
        ({**EDIT, "edit": {**EDIT["edit"], "message": {"type": "text"}}}, "wrong_type"),
        ({**EDIT, "edit": {**EDIT["edit"], "message": {"type": "poll"}}}, "wrong_type"),
        ({**EDIT, "edit": {**EDIT["edit"], "original_message_id": ""}}, "no_id"),
        ({**FROM, "type": "revoke", "revoke": ["wamid.0"]}, "no_id"),
        ({**EDIT, "group_id": "G1"}, "group"),
        ({**FROM, "type": "text", "text": {"body": "all"}, "group_id": "G1"}, "group"),
        ({**FROM, "type": "system", "system": {"type": "user_changed_number"}}, "number_changed"),
        (
            {"type": "system", "system": {"type": "user_changed_user_id", "user_id": "US.2"}},
            "number_changed",
        ),
        ({**FROM, "type": "text", "text": {"body": 7}}, "wrong_type"),
        ({**FROM, "type": "text"}, "wrong_type"),
        ({**FROM, "type": "button", "button": []}, "wrong_type"),
        ({**FROM, "id": None, "type": "image"}, "no_id"),
        ({**FROM, "from": "US.1", "type": "image"}, "no_address"),
    ],
)
def test_what_has_no_place_or_no_reading_is_kept_raw(said: dict[str, Any], reason: str) -> None:
    assert read(said) == (Unusable(reason),)
    good = text("wamid.2", PHONE, "hello", AT)
    first, second = read(said, good)
    assert (first, type(second)) == (Unusable(reason), InboundMessage)


@pytest.mark.parametrize(
    ("update", "event"),
    [
        (change("account_update", event="VERIFIED"), "other_field"),
        (change("smb_app_state_sync", state_sync=[{}]), "other_field"),
        (change("messages", user_actions=[{"type": "click"}]), "beside_the_chat"),
        (change("messages", errors=[{"code": 131000}]), "beside_the_chat"),
        (
            change("messages", messages=[{**FROM, "type": "system", "system": {"type": "x"}}]),
            "system",
        ),
        (change("messages", messages=[{**FROM, "type": "request_welcome"}]), "request_welcome"),
    ],
)
def test_what_is_no_part_of_a_chat_is_ignored(update: dict[str, Any], event: str) -> None:
    assert arrivals(delivery(update), LINE) == (Ignored(event),)


def test_the_sync_of_old_chats_is_kept_raw() -> None:
    assert arrivals(delivery(change("history", history=[{}])), LINE) == (Unusable("history"),)


def test_what_another_line_got_is_never_answered_by_this_one() -> None:
    theirs = change("messages", "999", messages=[text("wamid.1", PHONE, "hello", AT)])
    seen = change("messages", "999", statuses=[{"id": "wamid.2", "status": "read"}])
    assert arrivals(delivery(theirs, seen), LINE) == (Unusable("other_line"), Ignored("other_line"))
    assert isinstance(arrivals(delivery(theirs), "")[0], InboundMessage)


def test_a_thousand_updates_of_one_body_are_read_in_their_order() -> None:
    said = [text(f"wamid.{n}", f"1650555{n:04}", f"m{n}", AT) for n in range(500)]
    seen = [{"id": f"wamid.OUT{n}", "status": "delivered"} for n in range(500)]
    changes = [change("messages", messages=said), change("messages", statuses=seen)]
    found = arrivals(delivery(*changes), LINE)
    assert [a.body for a in found if isinstance(a, InboundMessage)] == [f"m{n}" for n in range(500)]
    assert [a.keys for a in found[500:] if isinstance(a, StatusUpdate)] == [
        (f"wamid.OUT{n}",) for n in range(500)
    ]


def test_one_change_may_hold_messages_and_statuses() -> None:
    both = read(text("wamid.1", PHONE, "hi", AT), statuses=[{"id": "wamid.2", "status": "sent"}])
    assert [type(arrival) for arrival in both] == [InboundMessage, StatusUpdate]


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        (b"", ["not_json"]),
        (b"[" * 100_000, ["not_json"]),
        (b"[]", ["not_an_object"]),
        (b"{}", ["unknown_event"]),
        (b'{"id":"1","event":"history","data":{}}', ["unknown_event"]),
        (b'{"entry":[]}', ["no_events"]),
        (b'{"entry":{}}', ["wrong_type"]),
        (b'{"entry":[7,{"changes":null}]}', ["not_an_object", "wrong_type"]),
        (b'{"entry":[{"changes":[null,{}]}]}', ["not_an_object", "unknown_event"]),
        (b'{"entry":[{"changes":[{"field":"messages","value":[]}]}]}', ["wrong_type"]),
        (b'{"entry":[{"changes":[{"field":"messages","value":{}}]}]}', ["no_events"]),
        (delivery(change("messages", messages=[]), change("messages")), ["no_events"]),
        (webhook(*[{}] * (UPDATES_MAX + 1)), ["too_many_events"]),
        (delivery(change("messages", messages={}, statuses=[1])), ["wrong_type", "not_an_object"]),
        (status("", "read"), ["no_id"]),
        (status("wamid.1", "teleported"), ["unknown_event"]),
    ],
)
def test_what_cannot_be_read_is_kept_raw_with_a_word(body: bytes, reasons: list[str]) -> None:
    assert arrivals(body, LINE) == tuple(Unusable(reason) for reason in reasons)
