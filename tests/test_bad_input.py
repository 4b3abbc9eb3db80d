"""The webhook's edge: whatever comes, nothing is lost, nobody is harmed and no secret is told."""

import asyncio
import io
import json  # noqa: TID251  (orjson refuses lone surrogates, and providers send them)
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from relevo.messages import Address
from relevo.store.embedded import DatabaseUrls
from tests.fakes.wati import Said
from tests.house import SECRET, House
from tests.store_rig import NOON, Desk, desk, phone, said

pytestmark = pytest.mark.postgres

PHONE = "50370000101"
BODY_BYTES_MAX = 4 * 1024 * 1024
WRONG_SECRETS = ["", "wrong", SECRET[:-1], f"{SECRET}x", SECRET.upper(), "ñandú", "\udcff"]
LETTERS = "".join(map(chr, range(0x4E00, 0x9000)))
"""More of them than any compression can make small."""
STRANGE_CHANNELS = ["nobody", "LINE", "line%20", "%00", "hotel"]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    text: str


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(database, tmp_path, NOON) as house:
        yield house


class TestWhoeverAsks:
    async def test_a_wrong_secret_stores_nothing_and_learns_nothing(self, house: House) -> None:
        answers = [
            await ask(house, event(house), headers={"X-Relevo-Secret": secret})
            for secret in WRONG_SECRETS
        ]
        await expect_refused(house, *answers)

    async def test_a_missing_secret_stores_nothing(self, house: House) -> None:
        answers = [
            await ask(house, event(house)),
            await ask(house, event(house), query="?secret="),
            await ask(house, event(house), query="?secret=wrong"),
            await ask(house, event(house), headers={"Authorization": f"Bearer {SECRET}"}),
        ]
        await expect_refused(house, *answers)

    async def test_the_secret_in_the_query_is_enough_and_never_logged(self, house: House) -> None:
        answer = await ask(house, event(house), query=f"?secret={SECRET}")
        assert answer.status == 200
        await house.advance(60)
        await ask(house, b"{", query=f"?secret={SECRET}")
        assert SECRET.encode() not in house.logs.getvalue()
        assert b"Hola" not in house.logs.getvalue()

    async def test_an_unknown_channel_is_not_found(self, house: House) -> None:
        for channel in STRANGE_CHANNELS:
            answer = await ask(house, event(house), channel=channel, headers=good())
            assert (channel, answer.status) == (channel, 404)
        assert await stored(house) == (0, 0)
        assert (await counted(house))["unknown_channel"] == len(STRANGE_CHANNELS)

    async def test_a_webhook_is_posted_and_nothing_else(self, house: House) -> None:
        url = f"{house.url}/webhooks/line"
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            async with house.session.request(method, url, headers=good()) as response:
                assert response.status == 405


class TestWhateverItWeighs:
    async def test_a_body_above_the_bound_is_refused(self, house: House) -> None:
        answer = await ask(house, b" " * (BODY_BYTES_MAX + 1), headers=good())
        assert answer.status == 413
        assert await stored(house) == (0, 0)
        assert (await counted(house))["too_large"] == 1

    async def test_a_body_that_does_not_say_its_length_has_the_same_bound(
        self, house: House
    ) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(5):
                yield b" " * (1024 * 1024)

        url = f"{house.url}/webhooks/line"
        async with house.session.post(url, data=chunks(), headers=good()) as response:
            assert response.status == 413
        assert await stored(house) == (0, 0)

    async def test_a_body_of_just_that_size_is_kept(self, house: House) -> None:
        answer = await ask(house, b"x" * BODY_BYTES_MAX, headers=good())
        assert answer.status == 200
        assert await quarantined(house) == {"not_json": 1}
        assert await value(house, "SELECT length(body) FROM quarantine") == BODY_BYTES_MAX

    async def test_a_message_may_be_as_long_as_a_body(self, house: House) -> None:
        long = house.wati.customer_message(PHONE, "x" * (BODY_BYTES_MAX - 5000), NOON)
        assert (await ask(house, orjson.dumps(long.webhook()), headers=good())).status == 200
        assert await value(house, "SELECT length(body) FROM message") == BODY_BYTES_MAX - 5000


def message(**fields: Any) -> dict[str, Any]:
    """A webhook with some fields other than they should be."""
    return Said(1, PHONE, "customer", "Hola", NOON).webhook() | fields


UNREADABLE: dict[str, tuple[Any, str]] = {
    "empty": (b"", "not_json"),
    "no json": (b"{", "not_json"),
    "bytes": (bytes(range(256)), "not_json"),
    "not a number": (b'{"eventType": NaN}', "not_json"),
    "deep": (b"[" * 100_000, "not_json"),
    "null": (None, "not_an_object"),
    "text": ("Hola", "not_an_object"),
    "number": (7, "not_an_object"),
    "nothing in it": ([], "no_events"),
    "too much in it": ([{}] * 1001, "too_many_events"),
    "nested": ([[message()]], "not_an_object"),
    "unknown event": ({"eventType": "moonPhaseChanged"}, "unknown_event"),
    "no event": ({}, "unknown_event"),
    "event of another type": (message(eventType=["message"]), "unknown_event"),
    "text of another type": (message(text=7), "wrong_type"),
    "owner of another type": (message(owner={}), "wrong_type"),
    "empty ids": (message(id="", whatsappMessageId=""), "no_id"),
    "ids of zeros": (message(id=0, whatsappMessageId="0"), "no_id"),
    "ids of another type": (message(id=[1], whatsappMessageId={}), "no_id"),
    "ids too long": (message(id="x" * 513, whatsappMessageId="y" * 513), "no_id"),
    "ids of NULs": (message(id="\0", whatsappMessageId="\0\0"), "no_id"),
    "nobody": (message(waId=None, bsuid=None, conversationId=None), "no_address"),
    "status of nothing": ({"eventType": "sentMessageREAD", "id": ""}, "no_id"),
    "new contact without address": ({"eventType": "newContactMessageReceived"}, "no_address"),
}


async def test_what_cannot_be_read_is_kept_and_counted(house: House) -> None:
    for name, (body, reason) in UNREADABLE.items():
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        assert (name, (await ask(house, raw, headers=good())).status) == (name, 200)
        kept = await house.rows(
            "DELETE FROM quarantine RETURNING reason, body, channel_id, business_id"
        )
        assert (name, [tuple(row) for row in kept]) == (name, [(reason, raw, "line", "hotel")])
    assert (await counted(house))["malformed"] == len(UNREADABLE)
    metrics = await house.metrics()
    for reason, count in Counter(reason for _, reason in UNREADABLE.values()).items():
        assert metrics[f'relevo_quarantined_total{{reason="{reason}"}}'] == count
    assert await value(house, "SELECT count(*) FROM message") == 0


ODD: dict[bytes, str] = {
    rb'"Hola \ud83d"': "Hola \ufffd",
    rb'"\udc00\ud83d"': "\ufffd\ufffd",
    rb'"Ho\u0000la"': "Hola",
    rb'"\u0000"': "",
    b'"Hola \xff\xc3"': "Hola \ufffd\ufffd",
    rb'"\udbff\udfff\uffff"': "\U0010ffff\uffff",
    b"null": "",
    b'""': "",
}
"""Texts as they stand in the body, and as they are kept."""


async def test_an_odd_text_is_a_message_like_any_other(house: House) -> None:
    for n, text in enumerate(ODD, start=1):
        raw = orjson.dumps(message(id=n, whatsappMessageId="", text="TEXT"))
        assert (text, await house.post(raw.replace(b'"TEXT"', text))) == (text, 200)
    rows = await house.rows("SELECT body FROM message ORDER BY id")
    assert dict(zip(ODD, [row["body"] for row in rows], strict=True)) == ODD
    assert await stored(house) == (len(ODD), 0)
    await house.advance(60)
    [turn] = await house.why(PHONE)
    assert turn["outcome"] == "answered"


ODD_FIELDS: dict[str, dict[str, Any]] = {
    "the longest ids of the widest letters": {
        "id": "\U0001f600" * 512,
        "whatsappMessageId": "\U0001f601" * 512,
        "bsuid": "\U0001f602" * 512,
    },
    "surrogates and NULs in its ids": {"id": "a\ud800\0", "whatsappMessageId": "\0wamid.\udfff"},
    "a number as its id": {"id": 18_446_744_073_709_551_615, "whatsappMessageId": None},
    "a time that nobody lived": {"timestamp": "-1", "created": "0001-01-01T00:00:00Z"},
    "a time far ahead": {"timestamp": "4070908799"},
    "a time of another type": {"timestamp": {}, "created": []},
    "a phone of many digits": {"waId": "9" * 512},
    "a type that nobody knows": {"type": "\ud800hologram"},
    "a name for everything": {"operatorName": "\0" * 9000, "data": "\0\ud800"},
    "no phone at all": {"waId": None, "bsuid": None},
}


async def test_an_odd_field_costs_no_message(house: House) -> None:
    for n, (name, fields) in enumerate(ODD_FIELDS.items()):
        raw = surrogates(message(**{"id": f"odd-{n}", "whatsappMessageId": None} | fields))
        statuses = [await house.post(raw), await house.post(raw)]
        assert (name, statuses, await stored(house)) == (name, [200, 200], (n + 1, 0))
    assert (await counted(house))["duplicate"] == len(ODD_FIELDS)


async def test_one_bad_body_never_costs_its_batch(house: House) -> None:
    good_ones = [
        house.wati.customer_message(f"503700{n:05}", f"Hola {n}", NOON).webhook() for n in range(50)
    ]
    bad_ones: list[Any] = [body for body, _ in UNREADABLE.values()]
    bodies = [*good_ones[:25], *bad_ones, *good_ones[25:], [good_ones[0], {"eventType": "odd"}]]
    statuses = await asyncio.gather(*(house.post(body) for body in bodies))
    assert set(statuses) == {200}
    assert await stored(house) == (50, len(bad_ones) + 1)
    await house.quiet()
    assert house.relevo.supervisor.resident == 50
    assert (await house.audit()).sound


class TestWhatOnlyTheDatabaseRefuses:
    """The parser lets nothing through that PostgreSQL refuses, so the inbox is given it itself."""

    @pytest.fixture
    async def store(self, database: DatabaseUrls) -> AsyncIterator[Desk]:
        async with desk(database) as opened:
            yield opened

    @pytest.mark.parametrize(
        "refused",
        [
            said("NUL \0", "bad"),
            said("surrogate \ud800", "bad"),
            said("a NUL in its id", "bad\0"),
            said("no id", ""),
            said("an id for no index", "".join(random.Random(1).choices(LETTERS, k=20_000))),
            said("nobody", "bad", addresses=(Address("phone", ""),)),
        ],
        ids=lambda m: m.body.encode("ascii", "replace").decode()[:20],
    )
    async def test_the_others_of_the_batch_are_stored(self, store: Desk, refused: Any) -> None:
        good_ones = [
            store.deliver(said(f"Hola {n}", addresses=phone(n)), body=b"good") for n in range(50)
        ]
        receipts = await asyncio.gather(
            *good_ones[:20], store.deliver(refused, body=b"the bad body"), *good_ones[20:]
        )
        assert [r.quarantined for r in receipts if r.quarantined] == [["refused_by_store"]]
        assert receipts[20].quarantined
        assert sum(len(r.stored) for r in receipts) == 50
        assert await store.value("SELECT count(*) FROM message") == 50
        [row] = await store.rows("SELECT reason, body, channel_id FROM quarantine")
        assert tuple(row) == ("refused_by_store", b"the bad body", "line")
        assert len(store.woken) == 50


async def ask(
    house: House,
    body: bytes,
    *,
    channel: str = "line",
    query: str = "",
    headers: dict[str, str] | None = None,
) -> Answer:
    url = f"{house.url}/webhooks/{channel}{query}"
    async with house.session.post(url, data=io.BytesIO(body), headers=headers or {}) as response:
        return Answer(response.status, await response.text())


async def expect_refused(house: House, *answers: Answer) -> None:
    assert {answer.status for answer in answers} == {401}
    assert SECRET not in "".join(answer.text for answer in answers)
    assert await stored(house) == (0, 0)
    assert (await counted(house))["unauthorized"] == len(answers)
    assert SECRET.encode() not in house.logs.getvalue()


def good() -> dict[str, str]:
    return {"X-Relevo-Secret": SECRET}


def event(house: House) -> bytes:
    return orjson.dumps(house.wati.customer_message(PHONE, "Hola", NOON).webhook())


def surrogates(body: dict[str, Any]) -> bytes:
    """Write JSON as a provider does that escapes everything, lone surrogates too."""
    return json.dumps(body).encode()


async def stored(house: House) -> tuple[int, int]:
    """Return how many messages and how many bodies in the quarantine there are."""
    return (
        await value(house, "SELECT count(*) FROM message"),
        await value(house, "SELECT count(*) FROM quarantine"),
    )


async def quarantined(house: House) -> dict[str, int]:
    rows = await house.rows("SELECT reason, count(*) FROM quarantine GROUP BY reason")
    return {row["reason"]: row["count"] for row in rows}


async def counted(house: House) -> dict[str, float]:
    """Return the answered webhooks by outcome."""
    prefix = 'relevo_webhook_requests_total{outcome="'
    metrics = await house.metrics()
    return {
        name.removeprefix(prefix).removesuffix('"}'): count
        for name, count in metrics.items()
        if name.startswith(prefix)
    }


async def value(house: House, statement: str) -> Any:
    [row] = await house.rows(statement)
    return row[0]
