"""Messages out through the whole product: now, at a time, cancelled, in one thread in order."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from relevo.app import Options, Relevo
from relevo.outgoing import WAITING_MAX
from relevo.store.embedded import DatabaseUrls
from tests.api_rig import Client, client
from tests.fakes.clock import until
from tests.fakes.wati import delivered, result_false
from tests.house import House
from tests.outgoing_rig import SCHEDULED
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

PHONE = "50370000101"
QUIET_SECONDS = 35


@dataclass
class Chat:
    """A customer's conversation in a house, and a program that writes in it."""

    house: House
    api: Client
    id: int = 0

    @property
    def path(self) -> str:
        return f"/conversations/{self.id}"

    async def customer(self, text: str) -> None:
        said = self.house.wati.customer_message(PHONE, text, self.house.clock.now())
        assert await self.house.post(said.webhook()) == 200
        await self.house.quiet()
        self.id = (await self.api.get(f"/conversations/by-address/{PHONE}"))["id"]

    async def answered(self, text: str) -> None:
        await self.customer(text)
        await self.house.advance(QUIET_SECONDS + 5)

    async def say(self, text: str, due_at: datetime | None = None, **more: Any) -> Any:
        """Have something said, and let it leave if it is its time."""
        body = {"text": text, **more}
        if due_at is not None:
            body["due_at"] = due_at.isoformat()
        sent = await self.api.post(f"{self.path}/messages", body)
        await self.house.quiet()
        return sent

    async def thread(self) -> list[tuple[str, str]]:
        """Return who has said what, oldest first."""
        page = await self.api.get(f"{self.path}/messages")
        return [(message["author"], message["text"]) for message in page["messages"]]

    async def status(self, sent: Any) -> tuple[str, str]:
        found = await self.api.get(f"/outgoing/{sent['id']}")
        return found["status"], found["reason"]

    def texts(self) -> list[str]:
        return self.house.wati.texts_to(PHONE)


@pytest.fixture
async def chat(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[Chat]:
    async with House(database, tmp_path, NOON, quiet_seconds=QUIET_SECONDS) as house:
        yield Chat(house, await client(house))


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


async def test_what_people_and_schedules_say_stands_in_the_thread_in_order(chat: Chat) -> None:
    house = chat.house
    await chat.answered("Hola")
    reminder = await chat.say("Recordatorio: su visita es hoy", at(60))
    assert (reminder["status"], reminder["author"]) == ("scheduled", "automation")
    sooner = await chat.say("Falta una hora", at(30))
    by_ana = await chat.say("Le guardo la mesa 4", agent="Ana")
    assert (by_ana["status"], by_ana["author"], by_ana["name"]) == ("queued", "agent", "Ana")
    assert chat.texts() == ["ok", "Le guardo la mesa 4"]
    assert await chat.status(by_ana) == ("sent", "")
    await house.advance_to(at(61))
    said = [
        ("customer", "Hola"),
        ("assistant", "ok"),
        ("agent", "Le guardo la mesa 4"),
        ("automation", "Falta una hora"),
        ("automation", "Recordatorio: su visita es hoy"),
    ]
    assert await chat.thread() == said
    assert chat.texts() == [text for author, text in said if author != "customer"]
    assert [await chat.status(sent) for sent in (sooner, reminder)] == [("sent", "")] * 2
    page = await chat.api.get(f"{chat.path}/outgoing", limit=2)
    rest = await chat.api.get(f"{chat.path}/outgoing", limit=2, cursor=page["next"])
    ids = [sent["id"] for sent in (*page["outgoing"], *rest["outgoing"])]
    assert (ids, rest["next"]) == ([by_ana["id"], sooner["id"], reminder["id"]], None)
    assert await house.post(delivered(house.wati.sends[-1].said)) == 200
    assert await chat.status(reminder) == ("delivered", "")
    await chat.answered("Gracias, ¿qué mesa?")
    [turn] = (await chat.api.get(f"{chat.path}/turns", limit=1))["turns"]
    assert [m["text"] for m in turn["missed"]] == [text for author, text in said[2:]]
    asked = house.ai.bodies("/responses")[-1]["input"]
    assert 'agent, 2026-03-02 12:00, operator "Ana"' in orjson.dumps(asked).decode("unicode_escape")
    assert [t["outcome"] for t in await house.why(PHONE)] == [
        *("answered", "sent", "sent", "sent", "answered")
    ]
    assert (await house.audit()).sound


async def test_a_colleague_who_writes_while_the_ai_is_asked_has_answered(chat: Chat) -> None:
    house = chat.house
    house.ai.before_answer = lambda _body: house.hold(30)
    await chat.customer("¿Tienen mesa?")
    await house.advance(QUIET_SECONDS + 5)
    assert chat.texts() == []
    await chat.say("Sí, le atiendo yo", agent="Ana")
    await house.advance(60)
    assert chat.texts() == ["Sí, le atiendo yo"]
    fates = await house.rows("SELECT fate FROM message WHERE author = 'customer'")
    assert [row["fate"] for row in fates] == ["answered_by_human"]
    assert (await house.audit()).sound


async def test_one_that_is_cancelled_is_never_sent_and_one_that_left_cannot_be(
    chat: Chat,
) -> None:
    await chat.answered("Hola")
    sent = await chat.say("Mañana abrimos", at(30))
    cancelled = await chat.api.post(f"/outgoing/{sent['id']}/cancel", status=200)
    assert cancelled == {**sent, "status": "cancelled"}
    await chat.house.advance_to(at(31))
    assert chat.texts() == ["ok"]
    now = await chat.say("Hoy abrimos", agent="Ana")
    for one in (sent, now):
        refused = await chat.api.post(f"/outgoing/{one['id']}/cancel", status=409)
        assert refused["type"].endswith(":conflict")
    await chat.api.post("/outgoing/999/cancel", status=404)


async def test_what_cannot_be_said_is_refused_with_what_to_do(chat: Chat) -> None:
    api, house = chat.api, chat.house
    await chat.api.post("/conversations/999/messages", {"text": "Hola"}, status=404)
    await chat.answered("Hola")
    for body, place in (
        ({"text": ""}, "body.text"),
        ({"text": " \n"}, "body.text"),
        ({"text": "a\0b"}, "body.text"),
        ({"text": "a" * 4097}, "body.text"),
        ({"text": "a", "agent": " "}, "body.agent"),
        ({"text": "a", "agent": "Ana\nLuis"}, "body.agent"),
        ({"text": "a", "agent": "Ana\x00"}, "body.agent"),
        ({"text": "a", "agent": "A" * 81}, "body.agent"),
        ({"text": "a", "due_at": "2026-03-02T13:00:00"}, "body.due_at"),
        ({"text": "a", "due_at": 1772456400}, "body.due_at"),
        ({"text": "a", "due_at": "2026-02-30T13:00:00Z"}, "body.due_at"),
        ({"text": "a", "at": "now"}, "body.at"),
    ):
        problem = await api.post(f"{chat.path}/messages", body, status=422)
        assert [error["where"] for error in problem["errors"]] == [place]
    for due_at in (NOON, at(367 * 24 * 60)):
        body = {"text": "a", "due_at": due_at.isoformat()}
        problem = await api.post(f"{chat.path}/messages", body, status=409)
        assert "leave it out" in problem["detail"]
    rows = ("hotel", chat.id, at(60), WAITING_MAX)
    await house.rows(SCHEDULED, *rows)
    problem = await api.post(f"{chat.path}/messages", {"text": "a"}, status=409)
    assert "cancel some" in problem["detail"]
    await house.rows("DELETE FROM outgoing")
    stranger = await house.rows(
        "INSERT INTO conversation (business_id, canonical_key, created_at)"
        " VALUES ('hotel', 'phone:hotel:+50370000109', $1) RETURNING id",
        NOON,
    )
    path = f"/conversations/{stranger[0]['id']}/messages"
    problem = await api.post(path, {"text": "Hola"}, status=409)
    assert "never written" in problem["detail"]
    assert chat.texts() == ["ok"]


async def test_a_request_that_is_repeated_is_said_once(chat: Chat) -> None:
    await chat.answered("Hola")
    once = {"Idempotency_Key": "said-once"}
    posts = [
        chat.api.ask("POST", f"{chat.path}/messages", {"text": "Hola, soy Ana"}, **once)
        for _ in range(5)
    ]
    answers = await asyncio.gather(*posts)
    await chat.house.quiet()
    assert len({answer.body["id"] for answer in answers}) == 1
    assert {answer.status for answer in answers} == {202}
    assert chat.texts() == ["ok", "Hola, soy Ana"]


async def test_what_the_provider_refuses_is_told_with_its_reason(chat: Chat) -> None:
    await chat.answered("Hola")
    chat.house.wati.send_next(result_false("Invalid number"))
    sent = await chat.say("Le llamo", agent="Ana")
    status, reason = await chat.status(sent)
    assert (status, bool(reason)) == ("failed", True)


async def test_nobody_was_there_when_it_was_due(chat: Chat) -> None:
    house = chat.house
    await chat.answered("Hola")
    stale = await chat.say("Buenos días", at(30))
    fresh = await chat.say("Buenas tardes", at(60))
    await house.stop()
    house.clock.advance_to(at(75))
    await house.start()
    await house.quiet()
    assert await chat.status(stale) == ("refused", "too_late")
    assert await chat.status(fresh) == ("sent", "")
    assert chat.texts() == ["ok", "Buenas tardes"]


async def test_two_processes_say_it_once(chat: Chat) -> None:
    house = chat.house
    await chat.answered("Hola")
    for minutes in (10, 10, 11, 12):
        await chat.say(f"Recordatorio a los {minutes}", at(minutes))
    beside = Relevo(
        house.config(),
        Options(migrate=False, clock=house.clock, bounds=house.bounds, log_stream=house.logs),
    )
    await beside.start()
    try:
        for minutes in (9, 10, 11, 12, 13):
            house.clock.advance_to(at(minutes))
            await house.quiet()
            await until(lambda: is_quiet(beside))
    finally:
        stopping = asyncio.gather(beside.stop())

        def stopped() -> bool:
            house.clock.advance_to(house.clock.now() + timedelta(seconds=0.05))
            return stopping.done()

        await until(stopped)
    assert chat.texts() == ["ok", *(f"Recordatorio a los {n}" for n in (10, 10, 11, 12))]
    assert (await house.audit()).sound


def is_quiet(process: Relevo) -> bool:
    supervisor, schedule = process.supervisor, process.schedule
    resting = schedule is not None and schedule.at_rest
    return resting and supervisor.settled and not supervisor.performer.in_flight
