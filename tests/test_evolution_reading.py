"""What Evolution's webhooks say, event by event."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from relevo.http.evolution_reading import EVENTS_MAX, arrivals
from relevo.messages import (
    Address,
    Arrival,
    Author,
    Ignored,
    InboundMessage,
    StatusUpdate,
    Unusable,
)
from tests.evolution_rig import CHAT, LID, NOW, PHONE
from tests.fakes.evolution import INSTANCE, OWN, Chat, Said, envelope

PHONE_ADDRESS = Address("phone", PHONE)
LID_ADDRESS = Address("lid", LID)
AT = datetime(2026, 8, 11, 15, 8, 55, tzinfo=UTC)
KEY = {"remoteJid": f"{PHONE}@s.whatsapp.net", "fromMe": False, "id": "3A5F0E9C1B2D3C4E5F60"}


def read(body: object) -> tuple[Arrival, ...]:
    return arrivals(orjson.dumps(body), INSTANCE)


def message(
    content: object = None, *, event: str = "messages.upsert", **fields: Any
) -> dict[str, Any]:
    """A customer's message as it is documented; `key` adds to its key."""
    data = {
        "key": {**KEY, **fields.pop("key", {})},
        "pushName": "Ana",
        "status": "DELIVERY_ACK",
        "message": {"conversation": "hello", "messageContextInfo": {}},
        "messageType": "conversation",
        "messageTimestamp": int(AT.timestamp()),
        **fields,
    }
    return envelope(event, data | ({} if content is None else {"message": content}))


def read_message(body: object) -> InboundMessage:
    (arrival,) = read(body)
    assert isinstance(arrival, InboundMessage)
    return arrival


def test_a_customer_s_message_is_read_whole() -> None:
    alt = {"remoteJidAlt": f"{PHONE}@s.whatsapp.net", "participant": "", "addressingMode": "lid"}
    assert read(message(key=alt)) == (
        InboundMessage(
            keys=("3A5F0E9C1B2D3C4E5F60",),
            addresses=(PHONE_ADDRESS,),
            author=Author.CUSTOMER,
            kind="text",
            body="hello",
            event_at=AT,
        ),
    )


@pytest.mark.parametrize("event", ["messages.upsert", "send.message", "MESSAGES_UPSERT"])
def test_what_the_business_wrote_is_a_colleague_s_until_its_id_is_ours(event: str) -> None:
    said = message(event=event, key={"fromMe": True, "remoteJid": f"{LID}@lid"}, pushName="Você")
    read_ = read_message(said)
    assert (read_.author, read_.author_name) == (Author.AGENT, "")
    assert read_.addresses == (LID_ADDRESS,)


@pytest.mark.parametrize(
    ("key", "addresses"),
    [
        ({}, [PHONE_ADDRESS]),
        ({"remoteJid": f"{PHONE}:12@s.whatsapp.net"}, [PHONE_ADDRESS]),
        ({"remoteJid": f"{PHONE}_1:12@s.whatsapp.net"}, [PHONE_ADDRESS]),
        ({"remoteJid": f"{PHONE}@c.us"}, [PHONE_ADDRESS]),
        ({"remoteJid": f"{PHONE}@hosted"}, [PHONE_ADDRESS]),
        ({"remoteJid": f"{LID}@lid"}, [LID_ADDRESS]),
        ({"remoteJid": f"{LID}:3@hosted.lid"}, [LID_ADDRESS]),
        ({"remoteJidAlt": f"{LID}@lid"}, [PHONE_ADDRESS, LID_ADDRESS]),
        ({"senderLid": f"{LID}@lid"}, [PHONE_ADDRESS, LID_ADDRESS]),
        (
            {"remoteJid": f"{LID}@lid", "remoteJidAlt": f"{PHONE}@s.whatsapp.net"},
            [PHONE_ADDRESS, LID_ADDRESS],
        ),
        (
            {"remoteJid": f"{LID}@lid", "senderPn": f"{PHONE}@s.whatsapp.net"},
            [PHONE_ADDRESS, LID_ADDRESS],
        ),
        ({"remoteJid": f"{LID}@lid", "remoteJidAlt": f"{OWN}@s.whatsapp.net"}, [LID_ADDRESS]),
        ({"remoteJid": f"{LID}@lid", "remoteJidAlt": 7, "senderPn": None}, [LID_ADDRESS]),
    ],
)
def test_a_customer_has_every_address_that_is_told(
    key: dict[str, Any], addresses: list[Address]
) -> None:
    assert read_message(message(key=key)).addresses == tuple(addresses)


@pytest.mark.parametrize(
    ("key", "sender", "addresses"),
    [
        ({"remoteJidAlt": f"{PHONE}@s.whatsapp.net"}, OWN, [PHONE_ADDRESS, LID_ADDRESS]),
        ({"remoteJidAlt": f"{OWN}@s.whatsapp.net"}, OWN, [LID_ADDRESS]),
        ({"remoteJidAlt": f"{OWN}:4@s.whatsapp.net"}, OWN, [LID_ADDRESS]),
        ({"remoteJidAlt": f"{OWN}@s.whatsapp.net"}, "", [LID_ADDRESS]),
        ({"senderPn": f"{PHONE}@s.whatsapp.net"}, OWN, [LID_ADDRESS]),
        (
            {"remoteJid": f"{PHONE}@c.us", "remoteJidAlt": "15550009999@c.us"},
            OWN,
            [PHONE_ADDRESS],
        ),
        ({"remoteJid": f"{PHONE}@s.whatsapp.net", "remoteJidAlt": "99@lid"}, OWN, [PHONE_ADDRESS]),
    ],
)
def test_our_own_address_never_becomes_a_customer_s(
    key: dict[str, Any], sender: str, addresses: list[Address]
) -> None:
    body = message(key={"remoteJid": f"{LID}@lid", "fromMe": True, **key})
    body["sender"] = f"{sender}@s.whatsapp.net" if sender else None
    assert read_message(body).addresses == tuple(addresses)


@pytest.mark.parametrize(
    ("jid", "event"),
    [
        ("120363000000000000@g.us", "group"),
        ("status@broadcast", "broadcast"),
        ("15550001111-9@broadcast", "broadcast"),
        ("1203@newsletter", "newsletter"),
        ("13135550002@bot", "bot"),
        (f"{OWN}@s.whatsapp.net", "own_chat"),
    ],
)
def test_what_is_no_chat_with_one_customer_is_left_alone(jid: str, event: str) -> None:
    assert read(message(key={"remoteJid": jid})) == (Ignored(event),)
    assert read(message(key={"remoteJid": jid, "fromMe": True})) == (Ignored(event),)


@pytest.mark.parametrize(
    ("content", "kind", "body"),
    [
        ({"extendedTextMessage": {"text": "look"}}, "text", "look"),
        ({"imageMessage": {"url": "https://x", "caption": "receipt"}}, "image", "receipt"),
        ({"imageMessage": {}}, "image", ""),
        ({"ptvMessage": {}}, "video", ""),
        ({"audioMessage": {"ptt": True}, "speechToText": "[audio] hi"}, "voice", "[audio] hi"),
        ({"audioMessage": {"seconds": 7}}, "audio", ""),
        ({"documentMessage": {"fileName": "a.pdf", "title": "a"}}, "document", "a.pdf"),
        (
            {"documentWithCaptionMessage": {"message": {"documentMessage": {"caption": "c"}}}},
            "document",
            "c",
        ),
        ({"ephemeralMessage": {"message": {"conversation": "soon gone"}}}, "text", "soon gone"),
        (
            {"locationMessage": {"degreesLatitude": 37.46, "degreesLongitude": -122.21}},
            "location",
            "37.46, -122.21",
        ),
        ({"locationMessage": {"degreesLatitude": None, "name": "HQ"}}, "location", "HQ"),
        ({"contactMessage": {"displayName": "Ben"}}, "contacts", "Ben"),
        ({"reactionMessage": {"key": KEY, "text": "👍"}}, "reaction", "👍"),
        ({"buttonsResponseMessage": {"selectedDisplayText": "Yes"}}, "button", "Yes"),
        ({"listResponseMessage": {"title": "Room 2"}}, "interactive", "Room 2"),
        ({"interactiveResponseMessage": {"body": {"text": "Ok"}}}, "interactive", "Ok"),
        (
            {"templateMessage": {"hydratedTemplate": {"hydratedContentText": "Offer"}}},
            "template",
            "Offer",
        ),
        ({"somethingNewMessage": {"text": 7}}, "other", ""),
    ],
)
def test_a_message_is_read_by_what_it_holds(content: dict[str, Any], kind: str, body: str) -> None:
    read_ = read_message(message(content))
    assert (read_.kind, read_.body) == (kind, body)


def test_only_a_medium_that_evolution_keeps_has_an_address() -> None:
    image = {"imageMessage": {"url": "https://mmg.whatsapp.net/x"}, "base64": "/9j/"}
    assert read_message(message(image)).media == ""
    kept = {**image, "mediaUrl": "https://minio.example/x.jpg"}
    assert read_message(message(kept)).media == "https://minio.example/x.jpg"


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ("1786460935", AT),
        ({"low": 1786460935, "high": 0, "unsigned": True}, AT),
        ({"low": -1786460935 % 2**32 - 2**32, "high": 1}, None),
        ({"low": "x"}, None),
        (None, None),
        ("tomorrow", None),
    ],
)
def test_a_time_that_cannot_be_read_is_none(given: object, at: datetime | None) -> None:
    assert read_message(message(messageTimestamp=given)).event_at == at


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("SERVER_ACK", "sent"),
        (2, "sent"),
        ("DELIVERY_ACK", "delivered"),
        ("READ", "read"),
        ("PLAYED", "read"),
        ("ERROR", "failed"),
        (0, "failed"),
    ],
)
def test_a_status_names_our_message(status: object, word: str) -> None:
    detail = "unclassified" if word == "failed" else ""
    expected = StatusUpdate(("3EB0AA",), word, detail)
    said = Said("3EB0AA", CHAT, from_me=True, content={}, at=NOW)
    assert read(said.status(status)) == (expected,)
    raw = {"key": {**KEY, "fromMe": True, "id": "3EB0AA"}, "update": {"status": status}}
    assert read(envelope("messages.update", [raw, raw])) == (expected, expected)


@pytest.mark.parametrize("status", ["PENDING", 1, "DELETED", None])
def test_a_status_that_tells_nothing_is_left_alone(status: object) -> None:
    said = Said("3EB0AA", CHAT, from_me=True, content={}, at=NOW)
    assert read(said.status(status)) == (Ignored("messages.update"),)


def test_what_became_of_a_customer_s_message_is_no_news() -> None:
    said = Said("3A", CHAT, from_me=False, content={}, at=NOW)
    assert read(said.status("READ")) == (Ignored("messages.update"),)
    group = envelope("messages.update", {"keyId": "3A", "remoteJid": "1@g.us", "status": "READ"})
    assert read(group) == (Ignored("group"),)


@pytest.mark.parametrize(
    "event",
    [
        *("messages.edited", "messages.set", "send.message.update"),
        *("connection.update", "contacts.upsert", "chats.update", "chats.delete", "call"),
        *("qrcode.updated", "presence.update", "groups.upsert", "group.participants.update"),
        *("application.startup", "instance.create", "instance.delete", "status.instance"),
        *("labels.edit", "labels.association", "typebot.start", "logout.instance"),
        "remove.instance",
    ],
)
def test_what_happens_beside_the_chat_is_left_alone(event: str) -> None:
    assert read(envelope(event, {"key": KEY, "status": "DELETED"})) == (Ignored(event),)


@pytest.mark.parametrize("name", ["protocolMessage", "editedMessage", "encReactionMessage"])
def test_a_message_about_another_one_is_left_alone(name: str) -> None:
    content = {name: {"type": "REVOKE"}, "messageContextInfo": {}}
    assert read(message(content)) == (Ignored(name),)


def test_messages_may_come_alone_in_lists_or_beneath_a_name() -> None:
    first = message()["data"]
    second = {**first, "key": {**KEY, "id": "3A02"}}
    for data in ([first, second], {"messages": [first, second], "type": "notify"}):
        found = read(envelope("messages.upsert", data))
        assert [a.keys for a in found if isinstance(a, InboundMessage)] == [(KEY["id"],), ("3A02",)]
    assert len(read([envelope("messages.upsert", [first, second]), message()])) == 3


def test_a_part_that_cannot_be_read_costs_no_other() -> None:
    good = message()["data"]
    parts = [7, good, {"key": {"id": "3A"}}, None]
    found = read(envelope("messages.upsert", parts))
    assert [type(arrival) for arrival in found] == [Unusable, InboundMessage, Unusable, Unusable]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (message(key={"id": ""}), "no_id"),
        (message(key={"id": None}), "no_id"),
        (message(key={"fromMe": None}), "wrong_type"),
        (message(key={"remoteJid": None}), "no_address"),
        (message(key={"remoteJid": "0@s.whatsapp.net"}), "no_address"),
        (message(key={"remoteJid": "Ana@lid"}), "no_address"),
        (message({}), "wrong_type"),
        (message({"messageContextInfo": {}}), "wrong_type"),
        (message({"conversation": 7}), "wrong_type"),
        (message("hello"), "wrong_type"),
        (envelope("messages.upsert", None), "not_an_object"),
        (envelope("messages.upsert", []), "not_an_object"),
        (envelope("messages.upsert", {}), "no_id"),
        (envelope("messages.update", "x"), "not_an_object"),
        (envelope("messages.update", {"status": "READ"}), "no_id"),
        (envelope("messages.update", {"keyId": "3A", "status": "SOLD"}), "wrong_type"),
        (envelope("messages.vanished", {}), "unknown_event"),
        (envelope("", {}), "unknown_event"),
        ({"event": {}}, "unknown_event"),
        (message() | {"instance": "another"}, "other_instance"),
        ([], "no_events"),
        (7, "not_an_object"),
        ([7], "not_an_object"),
        (envelope("messages.upsert", [{}] * (EVENTS_MAX + 1)), "too_many_events"),
    ],
)
def test_what_cannot_be_read_is_kept_raw_with_a_word(body: object, reason: str) -> None:
    assert read(body) == (Unusable(reason),)


def test_no_secret_of_the_envelope_is_read() -> None:
    for body in (message(), message({}), envelope("qrcode.updated", {})):
        assert "an-instance-secret" not in repr(read(body))


def test_the_fake_writes_what_is_documented() -> None:
    said = Said("3A", Chat(PHONE, LID), from_me=False, content={"conversation": "hi"}, at=NOW)
    assert read_message(said.webhook()).addresses == (PHONE_ADDRESS, LID_ADDRESS)
