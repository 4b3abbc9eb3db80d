"""Nothing that comes by webhook makes the reading of Meta's updates fail, or costs another one."""

import random
from collections.abc import Iterator
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from relevo.http.cloud_api_reading import arrivals
from relevo.messages import Unusable
from tests.cloud_api_rig import ANA_BSUID, NOW, PHONE
from tests.fakes.cloud_api import LINE, change, delivery, edit, revoke, text
from tests.storable import assert_storable

FROM = {"from": PHONE, "id": "wamid.4", "timestamp": "1749854575"}
CONTACT = {"profile": {"name": "Ana"}, "wa_id": PHONE, "user_id": ANA_BSUID.value}
SAMPLE = delivery(
    change(
        "messages",
        contacts=[CONTACT],
        messages=[
            text("wamid.1", PHONE, "hello", NOW, from_user_id="US.1"),
            {**FROM, "type": "image", "image": {"id": "65463453", "caption": "my receipt"}},
            {**FROM, "type": "interactive", "interactive": {"list_reply": {"title": "Row"}}},
            {**FROM, "type": "location", "location": {"latitude": 1.5, "longitude": -2}},
            {**FROM, "type": "contacts", "contacts": [{"phones": [{"wa_id": "15"}]}]},
            edit("wamid.E1", PHONE, "wamid.1", "hello (fixed)", NOW),
            revoke("wamid.X1", PHONE, "wamid.1", NOW),
        ],
        statuses=[{"id": "wamid.2", "status": "failed", "errors": [{"code": 131047}]}],
    ),
    change("smb_message_echoes", message_echoes=[text("wamid.3", "1", "hi", NOW, to=PHONE)]),
)
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    2**63,
    1.5,
    "",
    "\u00a7",
    "relevo-1",
    [],
    {},
    [[]],
    [{}],
    {"id": 1},
)
"""The sign of a paragraph stands for half an emoji and a NUL, which no writer of JSON writes."""


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with each of its keys."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in list(keys):
        yield value, key
        yield from places(value[key])


@given(st.integers(0, 2**32))
def test_no_odd_field_makes_reading_fail_or_costs_another_update(seed: int) -> None:
    chance = random.Random(seed)
    body = orjson.loads(SAMPLE)
    for _ in range(chance.randint(1, 4)):
        holder, key = chance.choice(list(places(body)))
        holder[key] = chance.choice(ODD)
    raw = orjson.dumps(body).replace("\u00a7".encode(), rb"\ud83d\u0000")
    assert_storable(arrivals(raw, LINE))


@given(st.integers(0, 2**32))
def test_no_damage_on_the_way_makes_reading_fail(seed: int) -> None:
    chance = random.Random(seed)
    body = bytearray(SAMPLE)
    for _ in range(chance.randint(1, 6)):
        body[chance.randrange(len(body))] = chance.choice(b'"\\{}[],:0tn\x00\xff\xed')
    assert_storable(arrivals(bytes(body), LINE))


def test_one_broken_update_costs_only_itself() -> None:
    whole = arrivals(SAMPLE, LINE)
    assert len(whole) == 9
    for number in range(7):
        body = orjson.loads(SAMPLE)
        body["entry"][0]["changes"][0]["value"]["messages"][number] = ["broken"]
        found = arrivals(orjson.dumps(body), LINE)
        assert found[number] == Unusable("not_an_object")
        assert found[:number] + found[number + 1 :] == whole[:number] + whole[number + 1 :]
