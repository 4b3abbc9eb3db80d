"""A customer's number, words and our secrets go through everything, failures included.

None of them may stand in a log line, a metric, or the body of an error.
"""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.api_rig import client
from tests.fakes import openai_faults as ai
from tests.fakes.wati import Sending, failed, result_false
from tests.house import KEY, SECRET, TOKEN, House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50379990123"
TEXT = "canario azul 7431"
NAME = "Canaria Mesa"
CANARIES = (PHONE, PHONE.removeprefix("503"), TEXT, NAME, SECRET, TOKEN, KEY)

QUOTED = f"Invalid 'conversation': '+{PHONE}' said {TEXT!r} with {KEY}"
"""What error bodies of others say, who like to quote what they were sent."""

FAILURES_OF_THE_AI = (
    ai.error(400, "conversation_locked", QUOTED),
    ai.error(400, "invalid_value", QUOTED, param="conversation"),
    ai.error(400, "context_length_exceeded", QUOTED),
    ai.error(400, "invalid_prompt", QUOTED),
    ai.error(401, "invalid_api_key", QUOTED),
    ai.error(404, None, QUOTED),
    ai.error(422, QUOTED, QUOTED, param=QUOTED, kind=QUOTED),
    ai.error(429, "rate_limit_exceeded", QUOTED, headers={"Retry-After": QUOTED}),
    ai.error(429, "insufficient_quota", QUOTED, kind="insufficient_quota"),
    ai.error(500, None, QUOTED),
    ai.raw(f'{{"broken": "{PHONE} {TEXT}'.encode()),
    ai.raw(f'"{TEXT} {PHONE}"'.encode()),
    ai.failed(QUOTED),
    ai.incomplete(QUOTED),
    ai.status(QUOTED),
    ai.output([{"type": "message", "content": [{"type": QUOTED, "text": TEXT}]}]),
    ai.dropped(stored=True),
    ai.not_http(f"HTTP/1.1 200 {TEXT} {PHONE}\r\n\r\n".encode()),
    ai.redirected(f"http://127.0.0.1:1/{PHONE}?q={KEY}"),
)
FAILURES_OF_THE_LINE = (
    Sending(recorded=False, status=400, info=QUOTED),
    Sending(recorded=False, status=401, body=QUOTED.encode()),
    Sending(recorded=False, status=500, body=QUOTED.encode()),
    Sending(recorded=True, body=f'{{"result": "{PHONE}'.encode()),
    Sending(recorded=True, drop=True),
    result_false(f"(#131047) {QUOTED}"),
    result_false(QUOTED),
)


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(
        database, tmp_path, NOON, quiet_seconds=1, fallback_text="Un momento, por favor"
    ) as house:
        yield house


async def says(house: House, text: str = TEXT) -> None:
    said = house.wati.customer_message(PHONE, text, house.clock.now(), fields={"senderName": NAME})
    assert await house.post(said.webhook()) == 200


async def rests(house: House) -> None:
    """Let every wait and every look come to its end."""
    await house.advance(400)


async def expect_no_canary(house: House, *bodies: str) -> None:
    url = f"http://127.0.0.1:{house.relevo.metrics_port}/metrics"
    async with house.session.get(url) as response:
        metrics = await response.text()
    shown = (house.logs.getvalue().decode(), metrics, *bodies)
    assert shown[0], "nothing was logged: there is nothing to look at"
    for canary in CANARIES:
        assert not [text for text in shown if canary in text], canary


async def test_when_the_ai_fails_and_quotes_them(house: House) -> None:
    for failure in FAILURES_OF_THE_AI:
        house.ai.faults.extend([failure, failure])
        await says(house)
        await rests(house)
    assert len(await house.why(PHONE)) > len(FAILURES_OF_THE_AI)
    await expect_no_canary(house)


async def test_when_the_provider_fails_and_quotes_them(house: House) -> None:
    for failure in FAILURES_OF_THE_LINE:
        house.wati.send_next(failure)
        house.wati.history.body = QUOTED.encode()
        await says(house)
        await rests(house)
        house.wati.history.body = None
        house.wati.agent_message(PHONE, TEXT, house.clock.now(), NAME)
        await says(house)
        await rests(house)
    [*_, sent] = house.wati.sends
    assert await house.post(failed(sent.said, QUOTED)) == 200
    await expect_no_canary(house)


MALFORMED = (
    QUOTED,
    f'{{"waId": "{PHONE}", "text": "{TEXT}"',
    f'{{"eventType": "{TEXT}", "waId": "{PHONE}"}}',
    f'{{"eventType": "message", "waId": {{"a": "{PHONE}"}}}}',
    f'["{PHONE}", "{TEXT}"]',
    f"{TEXT}\0",
)


async def test_when_what_is_delivered_cannot_be_taken(house: House) -> None:
    bodies = []
    asked = [
        *((f"/webhooks/line?secret={SECRET}", body) for body in MALFORMED),
        (f"/webhooks/line?secret={TEXT}", TEXT),
        (f"/webhooks/{PHONE}?secret={SECRET}", TEXT),
        (f"/webhooks/line?secret={SECRET}", TEXT * 300_000),
        (f"/{PHONE}/{TEXT}", ""),
    ]
    for path, body in asked:
        data = io.BytesIO(body.encode())
        async with house.session.post(f"{house.url}{path}", data=data) as response:
            bodies.append(await response.text())
    async with house.session.post(
        f"{house.url}/webhooks/line?secret={SECRET}",
        data=TEXT.encode(),
        headers={"Content-Encoding": "gzip", "X-Phone": PHONE},
    ) as response:
        bodies.append(await response.text())
    await says(house)
    await rests(house)
    await expect_no_canary(house, *bodies)


async def test_when_a_conversation_cannot_be_read(house: House) -> None:
    await says(house)
    await rests(house)
    await house.rows(
        "ALTER TABLE turn DROP CONSTRAINT turn_stage_check, "
        "DROP CONSTRAINT an_ended_turn_has_an_outcome, DROP CONSTRAINT an_ended_turn_has_an_end"
    )
    await house.rows(f"UPDATE turn SET stage = '{TEXT}', outcome = NULL, ended_at = NULL")
    await says(house)
    await rests(house)
    assert b"set aside" in house.logs.getvalue()
    await expect_no_canary(house)


async def test_when_the_api_refuses_or_fails(house: House) -> None:
    await says(house)
    await rests(house)
    api = await client(house)
    [row] = (await api.get("/conversations"))["conversations"]
    thread = f"/conversations/{row['id']}/messages"
    # What is there cannot be read any more.
    await house.rows("ALTER TABLE message DROP COLUMN media")
    asked: list[tuple[str, str, Any]] = [
        ("GET", f"/conversations/by-address/{PHONE}?kind={TEXT}", None),
        ("GET", f"/conversations?search={TEXT}&limit={PHONE}", None),
        ("GET", f"/conversations?cursor={PHONE}", None),
        ("GET", f"/{PHONE}/{TEXT}", None),
        ("POST", thread, {"text": [TEXT], "author": PHONE, "name": {"of": NAME}}),
        ("POST", f"/conversations/{PHONE}/messages", {"text": TEXT, "author": "agent"}),
        ("GET", thread, None),
    ]
    answers = [await api.ask(method, path, body) for method, path, body in asked]
    answers.append(await api.ask("GET", thread, Authorization=f"Bearer {api.key}{PHONE}"))
    assert {answer.status for answer in answers} == {401, 404, 422, 500}
    assert b"api_failed" in house.logs.getvalue()
    assert api.key not in house.logs.getvalue().decode()
    await expect_no_canary(house, *(str(answer.body) for answer in answers))
