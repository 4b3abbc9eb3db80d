from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from relevo.http.wati_reading import arrivals
from relevo.messages import (
    Address,
    Arrival,
    Author,
    Ignored,
    InboundMessage,
    NewContact,
    StatusUpdate,
    Unusable,
    correlation_key,
)

SENT_AT = datetime(2025, 11, 27, 10, 14, 13, tzinfo=UTC)
STORED_AT = datetime(2025, 11, 27, 10, 14, 16, 626857, tzinfo=UTC)

CUSTOMER: dict[str, Any] = {
    "eventType": "message",
    "id": "69282478274a880f",
    "created": "2025-11-27T10:14:16.6268572Z",
    "whatsappMessageId": "wamid.IN1=",
    "conversationId": "68c8d561",
    "ticketId": "69280a6d",
    "text": "hello",
    "type": "text",
    "data": None,
    "timestamp": "1764238453",
    "owner": False,
    "assignedId": "682b2772",
    "operatorName": "Maria Lopez",
    "operatorEmail": "maria@example.com",
    "waId": "15550101234",
    "senderName": "Ana",
    "listReply": None,
    "interactiveButtonReply": None,
    "buttonReply": None,
    "bsuid": "US.1349",
}
SENT: dict[str, Any] = {
    "eventType": "sessionMessageSent_v2",
    "localMessageId": "16bf77ae-79e8",
    "chatbotTriggeredEventId": None,
    "id": "693fd65f961dc",
    "whatsappMessageId": "wamid.OUT1=",
    "conversationId": "68c8d561",
    "text": "Hello, this is Maria",
    "type": "text",
    "timestamp": "1764238453",
    "owner": True,
    "assigneeId": "65a10961",
    "operatorEmail": "maria@example.com",
    "operatorName": "Maria",
    "waId": "15550101234",
}
PHONE = Address("phone", "15550101234")
BSUID = Address("bsuid", "US.1349")


def read(event: object, assistant_operator: str = "") -> Arrival:
    (arrival,) = arrivals(orjson.dumps(event), assistant_operator)
    return arrival


def message(event: object, assistant_operator: str = "") -> InboundMessage:
    arrival = read(event, assistant_operator)
    assert isinstance(arrival, InboundMessage)
    return arrival


def test_a_customer_message_is_read_and_its_assignee_is_not_its_author() -> None:
    assert read(CUSTOMER) == InboundMessage(
        keys=("wamid.IN1=", "69282478274a880f"),
        addresses=(PHONE, BSUID),
        author=Author.CUSTOMER,
        kind="text",
        body="hello",
        event_at=SENT_AT,
    )


@pytest.mark.parametrize("family", ["message", "sessionMessageSent", "templateMessageSent"])
def test_twin_events_read_alike(family: str) -> None:
    plain, v2, bsuid = (
        read({**SENT, "bsuid": "US.1349", "eventType": family + twin})
        for twin in ("", "_v2", "_bsuid")
    )
    assert isinstance(plain, InboundMessage)
    assert plain == v2 == bsuid


def test_a_bsuid_event_needs_no_phone() -> None:
    event = {**CUSTOMER, "eventType": "message_bsuid", "waId": None}
    assert message(event).addresses == (BSUID,)


def test_a_conversation_id_is_the_last_resort_for_an_address() -> None:
    event = {**CUSTOMER, "waId": "", "bsuid": None}
    assert message(event).addresses == (Address("wati", "68c8d561"),)
    assert read({**event, "conversationId": ""}) == Unusable("no_address")


@pytest.mark.parametrize("waid", ["not-a-number", "", None, [], {}, True, 1.5, "٣٤٥", "1" * 600])
def test_what_is_no_phone_is_no_phone(waid: object) -> None:
    assert message({**CUSTOMER, "waId": waid}).addresses == (BSUID,)


def test_a_phone_may_come_as_a_number_or_with_a_plus() -> None:
    assert message({**CUSTOMER, "waId": 15550101234}).addresses == (PHONE, BSUID)
    assert message({**CUSTOMER, "waId": "+15550101234"}).addresses == (PHONE, BSUID)


@pytest.mark.parametrize(
    ("owner", "author"),
    [
        ("false", Author.CUSTOMER),
        ("False", Author.CUSTOMER),
        (0, Author.CUSTOMER),
        (None, Author.CUSTOMER),
        (True, Author.AGENT),
        ("true", Author.AGENT),
        ("True ", Author.AGENT),
        (1, Author.AGENT),
    ],
)
def test_booleans_may_be_strings(owner: object, author: Author) -> None:
    assert message({**CUSTOMER, "owner": owner}).author is author


@pytest.mark.parametrize("owner", ["perhaps", "", [], {}, 7, 0.5])
def test_an_unreadable_side_is_not_guessed(owner: object) -> None:
    assert read({**CUSTOMER, "owner": owner}) == Unusable("wrong_type")


def test_an_echo_tells_who_wrote_it_by_its_evidence() -> None:
    arrival = message({**SENT, "operatorName": None}, "ai@example.com")
    assert (arrival.author, arrival.author_name) == (Author.AGENT, "maria@example.com")
    assert message(SENT, "MARIA@example.com").author is Author.ASSISTANT


def test_an_echo_names_all_its_ids_and_empty_ones_are_none() -> None:
    event = {**SENT, "localMessageId": "relevo-1"}
    assert message(event).keys == ("wamid.OUT1=", "693fd65f961dc", correlation_key("relevo-1"))
    event |= {"whatsappMessageId": "", "id": None}
    assert message(event).keys == (correlation_key("relevo-1"),)


@pytest.mark.parametrize("nothing", ["", " ", None, 0, [], {}, True, "x" * 600])
def test_a_message_without_any_id_is_kept_raw(nothing: object) -> None:
    ids = {"id": nothing, "whatsappMessageId": nothing, "localMessageId": nothing}
    assert read({**CUSTOMER, **ids}) == Unusable("no_id")


def test_a_template_is_an_automation_and_not_a_colleague() -> None:
    arrival = message({**SENT, "eventType": "templateMessageSent", "type": "template"})
    assert (arrival.author, arrival.author_name, arrival.kind) == (
        Author.AUTOMATION,
        "",
        "template",
    )


@pytest.mark.parametrize(
    ("event_type", "status"),
    [
        ("sentMessageDELIVERED", "delivered"),
        ("sentMessageDELIVERED_v2", "delivered"),
        ("sentMessageREAD_v2", "read"),
        ("sentMessageREPLIED_v2", "read"),
        ("sessionMessageFailed", "failed"),
        ("templateMessageFailed", "failed"),
    ],
)
def test_statuses_name_the_message_under_all_its_ids(event_type: str, status: str) -> None:
    event = {"eventType": event_type, "whatsappMessageId": "wamid.O", "localMessageId": "relevo-1"}
    detail = "unclassified" if status == "failed" else ""
    assert read(event) == StatusUpdate(("wamid.O", correlation_key("relevo-1")), status, detail)


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"failedCode": 131047}, "window_closed"),
        ({"failedCode": "131049", "failedDetail": "not delivered"}, "marketing_limit"),
        ({"failedDetail": "(#131031) Account has been locked"}, "account_blocked"),
        ({"failedDetail": '{"code":131026,"title":"Message undeliverable"}'}, "undeliverable"),
        ({"failedCode": 999_999, "failedDetail": "131056"}, "pair_rate"),
        ({"failedCode": "ERR", "failedDetail": ["?"]}, "unclassified"),
        ({}, "unclassified"),
    ],
)
def test_a_failure_says_why_in_a_word(said: dict[str, object], word: str) -> None:
    event = {"eventType": "sessionMessageFailed", "id": "693f", **said}
    assert read(event) == StatusUpdate(("693f",), "failed", word)


def test_a_new_contact_has_no_content() -> None:
    event = {"eventType": "newContactMessageReceived", "id": "6928", "waId": "15550101234"}
    assert read(event) == NewContact((PHONE,))


@pytest.mark.parametrize(
    ("event_type", "counted_as"),
    [
        ("chatbotTriggered", "chatbotTriggered"),
        ("templateReviewed", "template"),
        ("templateQualityUpdated", "template"),
        ("wabaStatusReviewUpdate", "waba"),
        ("accountDeleted", "account"),
        ("phoneNumberQualityUpdate", "phone"),
        ("ticketStatusChanged", "ticket"),
    ],
)
def test_events_beside_the_chat_are_ignored(event_type: str, counted_as: str) -> None:
    assert read({**CUSTOMER, "eventType": event_type}) == Ignored(counted_as)


@pytest.mark.parametrize("event_type", ["messageEaten", "templateMessageEaten", "", None, 7, []])
def test_an_unknown_event_is_kept_raw(event_type: object) -> None:
    assert read({**CUSTOMER, "eventType": event_type}) == Unusable("unknown_event")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("text", "text"),
        ("Image", "image"),
        (0, "text"),
        ("1", "image"),
        (3, "audio"),
        (6, "location"),
        (7, "contacts"),
        ("voice", "voice"),
        ("reaction", "reaction"),
        ("template", "template"),
        (99, "other"),
        ("hologram", "other"),
        ({}, "other"),
        (None, "text"),
    ],
)
def test_kinds_may_be_words_or_numbers(given: object, kind: str) -> None:
    assert message({**CUSTOMER, "type": given}).kind == kind


def test_a_picture_keeps_its_path_and_its_caption() -> None:
    event = {**CUSTOMER, "type": "image", "text": "my receipt", "data": "data/images/5b.jpg"}
    arrival = message(event)
    assert (arrival.kind, arrival.body, arrival.media) == (
        "image",
        "my receipt",
        "data/images/5b.jpg",
    )


@pytest.mark.parametrize(
    ("field", "reply"),
    [
        ("listReply", {"id": "r3", "title": "Row 3"}),
        ("interactiveButtonReply", {"id": "b", "title": "Row 3"}),
        ("buttonReply", {"payload": "p", "text": "Row 3"}),
    ],
)
def test_a_pressed_button_says_its_title(field: str, reply: dict[str, str]) -> None:
    event = {**CUSTOMER, "type": "interactive", "text": None, field: reply}
    assert message(event).body == "Row 3"


@pytest.mark.parametrize(
    "place",
    [
        {"location": {"latitude": 13.69, "longitude": -89.2}},
        {"data": {"lat": "13.69", "lng": "-89.2"}},
        {"location": {"latitude": True, "longitude": None}, "data": "13.69, -89.2"},
    ],
)
def test_a_place_is_readable(place: dict[str, object]) -> None:
    assert message({**CUSTOMER, "type": "location", "text": "", **place}).body == "13.69, -89.2"


@pytest.mark.parametrize(
    ("times", "event_at"),
    [
        ({}, SENT_AT),
        ({"timestamp": 1764238453}, SENT_AT),
        ({"timestamp": "1764238453000"}, SENT_AT),
        ({"timestamp": 1764238453000}, SENT_AT),
        ({"timestamp": 1764238453000000}, SENT_AT),
        ({"timestamp": 1764238453.0}, SENT_AT),
        ({"timestamp": "2025-11-27T10:14:13.0000000Z"}, SENT_AT),
        ({"timestamp": "2025-11-27T10:14:13"}, SENT_AT),
        ({"timestamp": "2025-11-27T04:14:13-06:00"}, SENT_AT),
        ({"timestamp": None}, STORED_AT),
        ({"timestamp": "0"}, STORED_AT),
        ({"timestamp": "yesterday"}, STORED_AT),
        ({"timestamp": True}, STORED_AT),
        ({"timestamp": {}, "created": 1764238453}, SENT_AT),
        ({"timestamp": "9" * 17, "created": "0001-01-01T00:00:00+14:00"}, None),
        ({"timestamp": 1e300, "created": -5}, None),
        ({"timestamp": None, "created": None}, None),
    ],
)
def test_times_are_read_in_every_form(times: dict[str, object], event_at: datetime | None) -> None:
    assert message({**CUSTOMER, **times}).event_at == event_at


@pytest.mark.parametrize("text", [7, [], {}, True])
def test_a_text_that_is_none_is_not_guessed(text: object) -> None:
    assert read({**CUSTOMER, "text": text}) == Unusable("wrong_type")


def test_a_message_without_text_is_a_message() -> None:
    assert message({**CUSTOMER, "text": None}).body == ""


def test_a_list_of_events_is_read_one_by_one() -> None:
    body = orjson.dumps([CUSTOMER, 7, {**CUSTOMER, "whatsappMessageId": "wamid.IN2="}])
    first, second, third = arrivals(body, "")
    assert isinstance(first, InboundMessage)
    assert second == Unusable("not_an_object")
    assert isinstance(third, InboundMessage)
    assert third.keys[0] == "wamid.IN2="
