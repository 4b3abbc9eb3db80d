"""What the stories of a journal are made of: the stores they are told to, and rows to write."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from relevo.actors.ports import Journal
from relevo.messages import (
    Address,
    Author,
    Change,
    ConversationKey,
    Fate,
    InboundMessage,
    Message,
    Source,
    Untold,
)
from relevo.turns import (
    Part,
    Stage,
    Turn,
    Verdict,
)
from relevo.writes import Rows, Writes

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PHONE, OTHER_PHONE = "+50370000001", "+50370000002"


class Stores(Protocol):
    """A journal and an inbox on the same rows. Deliveries are received at `now`."""

    now: datetime

    @property
    def line(self) -> str:
        """The channel that deliveries come by."""

    @property
    def journal(self) -> Journal: ...

    async def deliver(self, phone: str, message: InboundMessage) -> ConversationKey:
        """Keep what a webhook told, and return whose it is."""

    async def change(self, change: Change) -> None:
        """Take in an edit or a revocation."""

    async def fates(self) -> dict[int, Fate]:
        """Return the fates of customer messages that webhooks brought, by message id."""

    async def open_dead_letters(self) -> set[int]:
        """Return the turns whose dead letters are open."""


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def said(
    body: str, *keys: str, author: Author = Author.CUSTOMER, at: float = 0, kind: str = "text"
) -> InboundMessage:
    """Make a message as a webhook tells it, said so many seconds after noon."""
    address = Address("phone", PHONE)
    return InboundMessage(keys or (body,), (address,), author, kind, body, after(at), "Ana")


async def loaded(stores: Stores, key: ConversationKey) -> Rows:
    return (await stores.journal.load([key]))[key]


async def written(stores: Stores, key: ConversationKey, **parts: Any) -> Rows:
    """Commit these parts of a step on top of what is stored, and read it back."""
    conversation = (await loaded(stores, key)).conversation
    assert await stores.journal.commit(Writes(conversation, **parts))
    return await loaded(stores, key)


async def recalled(stores: Stores, body: str, *keys: str, **changes: Any) -> Message:
    """Make a message that the history brought, with an id of its own."""
    (message_id,) = await stores.journal.reserve(1)
    message = Message(
        id=message_id,
        author=Author.CUSTOMER,
        kind="text",
        body=body,
        event_at=NOON,
        received_at=after(30),
        source=Source.HISTORY,
        channel_id=stores.line,
        address=Address("phone", PHONE),
        keys=keys,
        untold=Untold.CONTEXT,
    )
    return replace(message, **changes)


def opened(stores: Stores, *message_ids: int, **changes: Any) -> Turn:
    """Make a turn that is being answered."""
    turn = Turn(
        id=max(message_ids),
        stage=Stage.ANSWERING,
        channel_id=stores.line,
        address=Address("phone", PHONE),
        opened_at=NOON,
        closed_at=after(35),
        previous_customer_at=None,
        previous_assistant_at=None,
        verdict=Verdict.NONE,
        silence_seconds=60.0,
        threshold_seconds=300.0,
        message_ids=message_ids,
        newest_at=NOON,
    )
    return replace(turn, **changes)


def part_of(turn: Turn, message_id: int, number: int = 1, **changes: Any) -> Part:
    name = f"relevo-{turn.id}-{number}"
    part = Part(message_id, turn.id, number, f"parte {number}", name, created_at=after(40))
    return replace(part, **changes)


async def replying(
    stores: Stores, key: ConversationKey, message_id: int, texts: int = 1
) -> tuple[Turn, list[Part]]:
    """Commit a reply in parts to one message; none has left yet."""
    turn = opened(stores, message_id, stage=Stage.SENDING)
    ids = await stores.journal.reserve(texts)
    parts = [part_of(turn, i, number) for number, i in enumerate(ids, start=1)]
    await written(stores, key, turn=turn, parts=tuple(parts), answers=True, told=(message_id,))
    return turn, parts
