"""Plays a scenario's timeline into a house and says what came of it."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from relevo.store.importing import Importing, Tally
from relevo.store.legacy import threads
from relevo.store.owner import as_owner
from tests.api_rig import client
from tests.fakes.wati import Said
from tests.house import House
from tests.legacy_files import sqlite_file

FOLDER = Path(__file__).parent / "scenarios"
PHONE = "50370000101"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One file, read."""

    name: str
    content: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.content.get("settings", {}))

    @property
    def customers(self) -> list[dict[str, Any]]:
        return list(self.content.get("customers", [self.content]))


def scenario(number: str) -> Scenario:
    path = next(FOLDER.glob(f"{number}-*.yaml"))
    return Scenario(path.stem, yaml.safe_load(path.read_text(encoding="utf-8")))


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


@dataclass(slots=True)
class Storyteller:
    """One customer's timeline, told into a house event by event."""

    house: House
    script: dict[str, Any]
    said: dict[str, Said] = field(default_factory=dict)
    replies: list[tuple[datetime, str]] = field(default_factory=list)
    imported: Tally = field(default_factory=Tally)
    programs: int = 0
    """How many have asked the API for something."""

    async def prepare(self) -> None:
        """Lay out what is true from the start: the history, and what the AI will say and when."""
        wati = self.house.wati
        self.house.ai.before_answer = self.hold_answer
        await self._know(self.script.get("state", {}))
        wati.history.order = self.script.get("history_order", "newest_first")
        for event in self.script["timeline"]:
            at = instant(event["at"])
            if "assistant" in event:
                self.replies.append((at, event["assistant"]))
            elif "agent" in event:
                self.said[event["agent"]] = wati.agent_message(
                    PHONE, event["agent"], at, event["name"]
                )
            elif "automation" in event:
                said = wati.automation_message(PHONE, event["automation"], at)
                self.said[event["automation"]] = said
            elif "customer_elsewhere" in event:
                wati.customer_message(PHONE, event["customer_elsewhere"], at)
            elif "webhook" in event and not event.get("same_message"):
                self._customer(event["webhook"], at)

    async def tell(self) -> None:
        """Let everything happen, each at its own time."""
        events = sorted(
            self.script["timeline"], key=lambda e: instant(e.get("arrives_at", e["at"]))
        )
        for event in events:
            await self._until(event)
            await self._happen(event)
            if "the process dies here" in event.get("note", ""):
                await self.house.stop()
                self.house.clock.advance_to(instant(self.script["restart_at"]))
                await self.house.start()
        await self.house.advance(200)

    async def hold_answer(self, _body: Any) -> None:
        """Answer when the timeline says so."""
        seconds = float(self.script.get("ai_takes_seconds", 0))
        if self.replies:
            at, text = self.replies.pop(0)
            self.house.ai.answers.append(text)
            seconds = max(seconds, (at - self.house.clock.now()).total_seconds())
        if seconds > 0:
            await self.house.hold(seconds)

    async def _until(self, event: dict[str, Any]) -> None:
        at = instant(event.get("arrives_at", event["at"]))
        if at > self.house.clock.now():
            await self.house.advance_to(at)

    async def _happen(self, event: dict[str, Any]) -> None:
        if "webhook" in event:
            text = event["webhook"]
            said = self.said[text if isinstance(text, str) else "<image>"]
            assert await self.house.post(said.webhook()) == 200
        elif event.get("seen_by") == "webhook":
            said = self.said[event.get("agent") or event["automation"]]
            assert await self.house.post(said.webhook()) == 200
        elif "scheduled" in event:
            await self._schedule(event["scheduled"])
        elif "history" in event:
            status = event["history"]
            self.house.wati.history.status = 200 if status == "ok" else status["status"]
        await self.house.quiet()

    async def _schedule(self, text: str) -> None:
        """Have a text said at a time that is a second off, and let that come."""
        self.programs += 1
        api = await client(self.house, number=self.programs)
        [row] = (await api.get("/conversations"))["conversations"]
        due_at = self.house.clock.now() + timedelta(seconds=1)
        body = {"text": text, "due_at": due_at.isoformat()}
        sent = await api.post(f"/conversations/{row['id']}/messages", body)
        await self.house.advance_to(due_at)
        assert (await api.get(f"/outgoing/{sent['id']}"))["status"] in {"sending", "sent"}

    async def _know(self, state: dict[str, Any]) -> None:
        if tags := state.get("tags"):
            await self.house.know(PHONE, tags)
        if legacy := state.get("legacy"):
            await self._import(legacy)

    async def _import(self, row: dict[str, Any]) -> None:
        """Have a customer whom the system before knew."""
        now = self.house.clock.now()
        file = sqlite_file(self.house.folder / "threads.db", {"wa_id": PHONE, **row})
        async with as_owner(self.house.urls.owner_url) as connection:
            importing = Importing(connection, "hotel", "SV", now)
            async for page in threads(file, now):
                await importing.take(page, self.imported)

    def _customer(self, webhook: Any, at: datetime) -> None:
        if isinstance(webhook, str):
            self.said[webhook] = self.house.wati.customer_message(PHONE, webhook, at)
            return
        media = {"data": f"data/images/{webhook['image']}"}
        self.said["<image>"] = self.house.wati.customer_message(
            PHONE, webhook["caption"], at, type="image", fields=media
        )


async def burst(house: House, script: dict[str, Any]) -> list[int]:
    """Deliver many first messages of one customer at once, each several times."""
    at = house.clock.now()
    bodies = [
        house.wati.customer_message(PHONE, f"mensaje {n}", at).webhook()
        for n in range(script["webhooks"])
    ]
    posts = [house.post(body) for body in bodies for _ in range(script["each_delivered_times"])]
    return list(await asyncio.gather(*posts))
