"""Ids and addresses of any length and kind: none makes a message two, nor two messages one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import orjson
import pytest

from fuzz.targets import SAMPLES
from relevo.http.channels import ChannelAdapter
from relevo.http.fields import WORD_CHARS_MAX
from relevo.messages import Arrival, InboundMessage, Unusable
from tests.every_line import adapters
from tests.fakes.clock import ManualClock
from tests.manychat_rig import NOW
from tests.storable import assert_storable

IDS = {
    "wati": ("message.json", "wamid.HBgNMTY1MDU1NTEyMzQVAgASGBQzQgA=", "69282478274a880fe782b2d9"),
    "cloud_api": ("text.json", "wamid.T1"),
    "evolution": ("message.json", "3A5F0E9C1B2D3C4E5F60"),
    "twilio": ("text.form", "SM0000000000000000000000000000000a"),
}
"""A sample of each kind that has ids, and the ids in it."""

WHO = {
    "wati": ("message.json", "16505551234", "US.xxxxxxxxxxxxx", "68c8d56157578adb12ada249"),
    "cloud_api": ("text.json", "16505551234", "US.1349"),
    "manychat": ("template.json", "1234567890"),
    "evolution": ("message.json", "16505551234@s.whatsapp.net"),
}
"""The same for the addresses."""

LONG = "7" * (WORD_CHARS_MAX + 1)
NONE: tuple[Any, ...] = (LONG, "", "  ", "0", None, True, 1.5, [], {"id": "1"})
NOBODY: tuple[Any, ...] = (LONG, "", None, True, 1.5, [], {"id": "1"})
ODD: tuple[Any, ...] = ("\U0001f600" * WORD_CHARS_MAX, "a b\nc", "'; DROP", "\u202e1", 7, -1)


@pytest.fixture
async def lines(tmp_path: Path) -> Mapping[str, ChannelAdapter]:
    return await adapters(tmp_path, ManualClock(NOW))


def read(line: ChannelAdapter, kind: str, sample: tuple[str, ...], odd: object) -> Arrival:
    """Read a sample with something odd for each of its ids."""
    name, *given = sample
    body = (SAMPLES / kind / "webhook" / name).read_bytes()
    if name.endswith(".form"):
        for each in given:
            body = body.replace(each.encode(), quote_plus(str(odd)).encode())
    else:
        body = orjson.dumps(replaced(orjson.loads(body), given, odd))
    (arrival,) = line.parse(body)
    assert_storable((arrival,))
    return arrival


def replaced(value: Any, given: list[str], odd: object) -> Any:
    """Return what was read of JSON with `odd` for each of some values."""
    if isinstance(value, dict):
        return {name: replaced(each, given, odd) for name, each in value.items()}
    if isinstance(value, list):
        return [replaced(each, given, odd) for each in value]
    return odd if str(value) in given else value


@pytest.mark.parametrize("kind", IDS)
async def test_what_is_no_id_is_kept_raw_and_what_is_odd_is_an_id(
    kind: str, lines: Mapping[str, ChannelAdapter]
) -> None:
    for none in NONE:
        if kind != "twilio" or isinstance(none, str):  # a form's values are all texts
            assert read(lines[kind], kind, IDS[kind], none) == Unusable("no_id"), none
    found = [read(lines[kind], kind, IDS[kind], odd) for odd in ODD]
    assert all(isinstance(arrival, InboundMessage) for arrival in found)
    keys = {arrival.keys[0] for arrival in found if isinstance(arrival, InboundMessage)}
    assert len(keys) == len(ODD)


@pytest.mark.parametrize("kind", WHO)
async def test_who_cannot_be_named_is_kept_raw(
    kind: str, lines: Mapping[str, ChannelAdapter]
) -> None:
    for none in NOBODY:
        assert read(lines[kind], kind, WHO[kind], none) == Unusable("no_address"), none
