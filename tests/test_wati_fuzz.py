"""Nothing that comes by webhook or as an answer makes the reading of WATI fail."""

import contextlib
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relevo.errors import ProviderError
from relevo.http.wati_history import history_page
from relevo.http.wati_reading import arrivals
from relevo.http.wati_sending import send_answer
from relevo.messages import InboundMessage, Unusable
from tests.storable import assert_storable

CUSTOMER: dict[str, Any] = {
    "eventType": "message",
    "id": "69282478274a880f",
    "created": "2025-11-27T10:14:16.6268572Z",
    "whatsappMessageId": "wamid.IN1=",
    "conversationId": "68c8d561",
    "text": "hello",
    "type": "text",
    "data": None,
    "timestamp": "1764238453",
    "owner": False,
    "operatorName": "Maria Lopez",
    "operatorEmail": "maria@example.com",
    "waId": "15550101234",
    "listReply": None,
    "location": None,
    "bsuid": "US.1349",
}
SENT: dict[str, Any] = {
    **CUSTOMER,
    "eventType": "sessionMessageSent_v2",
    "localMessageId": "16bf77ae-79e8",
    "chatbotTriggeredEventId": None,
    "owner": True,
}
LONE = "\u00a7"
"""Stands for half an emoji and a NUL, which the writer of these bodies refuses to write."""


def test_what_no_database_can_hold_is_scrubbed_and_the_message_kept() -> None:
    body = orjson.dumps({**CUSTOMER, "text": "MARK"}).replace(
        b"MARK", rb"a\u0000b\ud83dc\ud83d\ude00"
    )
    (arrival,) = arrivals(body, "")
    assert isinstance(arrival, InboundMessage)
    assert arrival.body == "ab\ufffdc\U0001f600"


def test_broken_utf8_costs_a_character_and_not_the_message() -> None:
    (arrival,) = arrivals(
        orjson.dumps({**CUSTOMER, "text": "MARK"}).replace(b"MARK", b"caf\xe9"), ""
    )
    assert isinstance(arrival, InboundMessage)
    assert arrival.body == "caf\ufffd"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"hello", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[NaN]", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"a":' + b"1" * 5000 + b"}\\ud83d", "not_json"),
        (b"7", "not_an_object"),
        (b"null", "not_an_object"),
        (b"[[]]", "not_an_object"),
        (b"[]", "no_events"),
        (b"[" + b"{}," * 1000 + b"{}]", "too_many_events"),
        (b"{}", "unknown_event"),
    ],
)
def test_what_cannot_be_read_is_kept_raw_with_a_word(body: bytes, reason: str) -> None:
    assert arrivals(body, "") == (Unusable(reason),)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["true", "false", "1764238453", "relevo-1", "2025-11-27T10:14:13Z", LONE]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
MUTATED = st.builds(
    lambda sample, changes, event_type: {**sample, **changes, **event_type},
    st.sampled_from([CUSTOMER, SENT]),
    st.dictionaries(st.sampled_from(sorted({*CUSTOMER, *SENT})), ANYTHING, max_size=5),
    st.just({})
    | st.fixed_dictionaries(
        {
            "eventType": st.sampled_from(
                ["message", "sessionMessageSent_bsuid", "sentMessageREAD", "chatbotTriggered"]
            )
        }
    ),
)


def sent_200(body: bytes, correlation_id: str) -> object:
    return send_answer(200, body, correlation_id)


def sent_400(body: bytes, correlation_id: str) -> object:
    return send_answer(400, body, correlation_id)


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_fail(body: bytes) -> None:
    assert_storable(arrivals(body, "ai@example.com"))


@given(ANYTHING)
def test_no_json_makes_reading_fail(value: object) -> None:
    assert_storable(arrivals(orjson.dumps(value), "ai@example.com"))


NAMES = ("result", "ok", "message", "info", "error", "errors", "code", "failedCode", "failedDetail")


@given(st.dictionaries(st.sampled_from(NAMES), ANYTHING), st.sampled_from([200, 400, 500]))
def test_no_odd_answer_makes_reading_fail(answer: object, status: int) -> None:
    body = orjson.dumps(answer).replace(LONE.encode(), rb"\ud83d\u0000")
    assert send_answer(status, body, "relevo-1") is not None


@given(MUTATED)
def test_no_odd_field_makes_reading_fail(event: object) -> None:
    body = orjson.dumps(event).replace(LONE.encode(), rb"\ud83d\u0000")
    assert_storable(arrivals(body, "ai@example.com"))


@given(st.integers(0, 2**32), st.sampled_from([arrivals, history_page, sent_200, sent_400]))
def test_no_damage_on_the_way_makes_reading_fail(
    seed: int, reading: Callable[[bytes, str], object]
) -> None:
    chance = random.Random(seed)
    body = bytearray(orjson.dumps({**CUSTOMER, "result": True, "messages": {"items": [SENT]}}))
    for _ in range(chance.randint(1, 6)):
        body[chance.randrange(len(body))] = chance.choice(b'"\\{}[],:0tn\x00\xff\xed')
    with (
        contextlib.suppress(ProviderError) if reading is history_page else contextlib.nullcontext()
    ):
        reading(bytes(body), "relevo-1")
