"""Nothing that a flow sends or ManyChat answers makes the reading fail."""

import random
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from relevo.http.manychat_reading import arrivals
from relevo.http.manychat_sending import send_answer
from relevo.messages import Arrival, InboundMessage
from tests.fakes.manychat import custom, full_contact
from tests.manychat_rig import NOW
from tests.storable import assert_storable

LONE = "\u00a7"
"""Stands for half an emoji and a NUL, which the writer of these bodies refuses to write."""

SAMPLES: list[dict[str, Any]] = [full_contact("hello", NOW), custom("hello", NOW)]
NAMES = sorted({name for sample in SAMPLES for name in sample} | {"message", "user_id"})
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["success", "{{user_id}}", "2026-08-11T12:04:13-03:00", "user:1", LONE]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def assert_read(arrived: tuple[Arrival, ...]) -> None:
    assert_storable(arrived)
    for arrival in arrived:
        if isinstance(arrival, InboundMessage):
            assert arrival.addresses[0].kind == "subscriber"


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_fail(body: bytes) -> None:
    assert_read(arrivals(body, NOW))


@given(st.sampled_from(SAMPLES), st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=5))
def test_no_odd_field_makes_reading_fail(sample: dict[str, Any], changes: dict[str, Any]) -> None:
    body = orjson.dumps({**sample, **changes}).replace(LONE.encode(), rb"\ud83d\u0000")
    assert_read(arrivals(body, NOW))


@given(st.integers(0, 2**32))
def test_no_damage_on_the_way_makes_reading_fail(seed: int) -> None:
    chance = random.Random(seed)
    body = bytearray(orjson.dumps({**chance.choice(SAMPLES), "status": "success"}))
    for _ in range(chance.randint(1, 6)):
        body[chance.randrange(len(body))] = chance.choice(b'"\\{}[],:0tn\x00\xff\xed')
    assert_read(arrivals(bytes(body), NOW))
    assert send_answer(200, bytes(body), "relevo-1") is not None


@given(
    st.dictionaries(st.sampled_from(("status", "message", "code")), ANYTHING),
    st.sampled_from([200, 400, 500]),
)
def test_no_odd_answer_makes_reading_fail(answer: object, status: int) -> None:
    body = orjson.dumps(answer).replace(LONE.encode(), rb"\ud83d\u0000")
    assert send_answer(status, body, "relevo-1") is not None
