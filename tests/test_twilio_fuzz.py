"""Nothing that comes by webhook or as an answer makes the reading of Twilio fail."""

import contextlib
import random
from urllib.parse import urlencode

import orjson
from hypothesis import given
from hypothesis import strategies as st

from relevo.errors import ProviderError
from relevo.http.twilio_history import Reading, history_page
from relevo.http.twilio_reading import arrivals
from relevo.http.twilio_sending import send_answer
from relevo.http.twilio_signature import is_signed
from relevo.turns import RecallStatus
from tests.storable import assert_storable
from tests.test_twilio import MEDIA, SAMPLE
from tests.twilio_rig import NOW

NAMES = sorted({*MEDIA, "MessageStatus", "ErrorCode", "ChannelStatusMessage", "SmsSid"})
LISTED = {
    "sid": "SM1",
    "status": "delivered",
    "direction": "inbound",
    "body": "hello",
    "date_created": "Mon, 02 Mar 2026 10:00:00 +0000",
    "date_sent": "Mon, 02 Mar 2026 10:00:00 +0000",
    "num_media": "0",
}
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_fail(body: bytes) -> None:
    assert_storable(arrivals(body))
    assert not is_signed("token", iter(["https://example.com"]), body, "", "AAAA")


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20)))
def test_no_odd_field_makes_reading_fail(changes: dict[str, str]) -> None:
    fields = {**MEDIA, **changes}
    assert_storable(arrivals(urlencode(fields, errors="surrogatepass").encode()))


@given(st.integers(0, 2**32))
def test_no_damage_on_the_way_makes_reading_fail(seed: int) -> None:
    chance = random.Random(seed)
    body = bytearray(SAMPLE)
    for _ in range(chance.randint(1, 8)):
        body[chance.randrange(len(body))] = chance.choice(b"&=%+;\x00\xff\xed0:")
    assert_storable(arrivals(bytes(body)))


@given(st.dictionaries(st.sampled_from(["sid", "status", "code", "error_code"]), ANYTHING))
def test_no_odd_answer_to_a_send_makes_reading_fail(answer: dict[str, object]) -> None:
    body = orjson.dumps(answer)
    for status in (201, 400, 500):
        assert send_answer(status, body, "relevo-1") is not None


@given(st.dictionaries(st.sampled_from(sorted(LISTED)), ANYTHING))
def test_no_odd_item_of_a_list_makes_reading_fail(changes: dict[str, object]) -> None:
    body = orjson.dumps({"messages": [{**LISTED, **changes}, LISTED]})
    reading = Reading(NOW)
    with contextlib.suppress(ProviderError):
        reading.take(history_page(body))
    for item in reading.ended(RecallStatus.COMPLETE).items:
        item.body.encode()
