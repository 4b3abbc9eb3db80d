"""Asking for sends on a real database, and how they stand."""

from datetime import datetime

from relevo.messages import ConversationKey, Untold
from relevo.outgoing import Draft, Outgoing, Refusal
from relevo.store import outgoing
from tests.store_rig import BUSINESS, NOON, Desk, phone, said

SCHEDULED = (
    "INSERT INTO outgoing (business_id, conversation_id, author, body, due_at, state, created_at)"
    " SELECT $1, $2, 'automation', 'Oferta ' || n, $3::timestamptz, 'scheduled', $3::timestamptz"
    " FROM generate_series(1, $4::int) AS n"
)
"""Of a business: so many, in a conversation, for an instant."""


async def met(store: Desk, number: int = 1) -> ConversationKey:
    """Return the n-th customer's conversation, who has written."""
    await store.deliver(said(f"Hola {number}", addresses=phone(number)))
    return store.woken[-1]


async def ask(
    store: Desk, key: ConversationKey, draft: Draft, now: datetime = NOON
) -> int | Refusal:
    async with store.pools.tenant(key.business_id) as connection:
        return await outgoing.ask(connection, key, draft, now)


async def asked(store: Desk, key: ConversationKey, draft: Draft, now: datetime = NOON) -> int:
    outgoing_id = await ask(store, key, draft, now)
    assert not isinstance(outgoing_id, Refusal)
    return outgoing_id


async def cancel(store: Desk, outgoing_id: int, now: datetime = NOON) -> Refusal | None:
    async with store.pools.tenant(BUSINESS) as connection:
        return await outgoing.cancel(connection, BUSINESS, outgoing_id, now)


async def found(store: Desk, outgoing_id: int) -> Outgoing:
    async with store.pools.tenant(BUSINESS) as connection:
        sent = await outgoing.find(connection, BUSINESS, outgoing_id)
    assert sent is not None
    return sent


async def status(store: Desk, outgoing_id: int) -> tuple[str, str]:
    """Return a send's status and its reason."""
    sent = await found(store, outgoing_id)
    return sent.status, sent.reason


async def due(store: Desk, key: ConversationKey) -> list[str]:
    """Return what is due in a conversation, oldest first."""
    rows = (await store.journal.load([key]))[key]
    return [m.body for m in rows.untold if m.untold is Untold.DUE]
