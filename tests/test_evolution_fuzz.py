"""Nothing that comes by webhook or as an answer makes the reading of Evolution fail."""

import contextlib
import random
from dataclasses import astuple
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.errors import ProviderError
from relevo.http.evolution_history import Reading, history_page
from relevo.http.evolution_reading import arrivals
from relevo.http.evolution_sending import send_answer
from relevo.messages import Arrival, InboundMessage, Unusable
from relevo.turns import RecallStatus
from tests.evolution_rig import ANA, CHAT, NOW
from tests.fakes.evolution import INSTANCE, Said, envelope
from tests.storable import assert_storable, assert_texts

SAID = Said("3A5F", CHAT, from_me=False, content={"conversation": "hello"}, at=NOW)
LONE = "\u00a7"
"""Stands for half an emoji and a NUL, which the writer of these bodies refuses to write."""

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["true", "1786460935", "1@lid", "1555@s.whatsapp.net", "1@g.us", LONE]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["low", "high", "text", "message", "messages", "id", "exists", "records"]
            ),
            inner,
        )
    ),
    max_leaves=8,
)
KEYS = ("remoteJid", "remoteJidAlt", "senderPn", "senderLid", "fromMe", "id")
CONTENTS = (
    *("conversation", "extendedTextMessage", "imageMessage", "audioMessage", "locationMessage"),
    *("ephemeralMessage", "templateMessage", "protocolMessage", "mediaUrl", "speechToText", "new"),
)
ROWS = st.builds(
    lambda key, content, fields: {
        **SAID.row(),
        "key": {**SAID.row()["key"], **key},
        "message": content,
        **fields,
    },
    st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=3),
    st.dictionaries(st.sampled_from(CONTENTS), ANYTHING, max_size=3) | ANYTHING,
    st.dictionaries(
        st.sampled_from(
            ["key", "messageTimestamp", "status", "keyId", "update", "editedMessage", "type"]
        ),
        ANYTHING,
        max_size=2,
    ),
)
EVENTS = st.sampled_from(
    ["messages.upsert", "send.message", "messages.update", "messages.edited", "messages.delete"]
)


def encoded(value: object) -> bytes:
    return orjson.dumps(value).replace(LONE.encode(), rb"\ud83d\u0000")


def assert_read(arrived: tuple[Arrival, ...]) -> None:
    assert_storable(arrived)
    for arrival in arrived:
        if isinstance(arrival, InboundMessage):
            assert {address.kind for address in arrival.addresses} <= {"phone", "lid"}
            assert all(address.value.isdigit() for address in arrival.addresses)


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"\xff\xfe", b"[NaN]", b"[" * 100_000, b'{"a":' + b"1" * 5000 + b"}\\ud83d"],
)
def test_what_is_not_json_is_kept_raw(body: bytes) -> None:
    assert arrivals(body, INSTANCE) == (Unusable("not_json"),)


def test_broken_text_costs_a_character_and_not_the_message() -> None:
    for broken in (b"caf\xe9", rb"caf\ud83d"):
        body = orjson.dumps(SAID.webhook()).replace(b"hello", broken)
        (arrival,) = arrivals(body, INSTANCE)
        assert isinstance(arrival, InboundMessage)
        assert arrival.body == "caf\ufffd"


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_fail(body: bytes) -> None:
    assert_read(arrivals(body, INSTANCE))


@given(EVENTS, ROWS | ANYTHING | st.lists(ROWS, max_size=3))
def test_no_odd_field_makes_reading_fail(event: str, data: object) -> None:
    assert_read(arrivals(encoded(envelope(event, data)), INSTANCE))


@given(
    st.dictionaries(st.sampled_from(["event", "instance", "data", "sender"]), ANYTHING, max_size=4)
)
def test_no_odd_envelope_makes_reading_fail(changes: dict[str, Any]) -> None:
    assert_read(arrivals(encoded({**SAID.webhook(), **changes}), INSTANCE))


@given(st.lists(ROWS | ANYTHING, max_size=4), ANYTHING)
def test_no_odd_row_makes_a_history_fail(rows: list[object], pages: object) -> None:
    reading = Reading(ANA, NOW - timedelta(hours=1))
    body = encoded({"messages": {"records": rows, "pages": pages}})
    for _ in range(4):
        if reading.question is not None:
            reading.take(history_page(body), 5)
    for item in reading.ended(RecallStatus.COMPLETE).items:
        assert_texts(astuple(item))


@given(ANYTHING, st.sampled_from([200, 201, 400, 500]))
def test_no_odd_answer_makes_a_send_fail(answer: object, status: int) -> None:
    for body in (answer, {"key": answer}, {"response": answer}, {"response": {"message": answer}}):
        assert send_answer(status, encoded(body)) is not None


@given(st.integers(0, 2**32))
def test_no_damage_on_the_way_makes_reading_fail(seed: int) -> None:
    chance = random.Random(seed)
    for whole in (SAID.webhook(), {"messages": {"records": [SAID.row()], "pages": 2}}):
        body = bytearray(orjson.dumps(whole))
        for _ in range(chance.randint(1, 6)):
            body[chance.randrange(len(body))] = chance.choice(b'"\\{}[],:0tn\x00\xff\xed')
        assert_read(arrivals(bytes(body), INSTANCE))
        assert send_answer(201, bytes(body)) is not None
        with contextlib.suppress(ProviderError):
            Reading(ANA, NOW).take(history_page(bytes(body)), 5)
