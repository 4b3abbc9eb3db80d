"""Merging and parting by hand, on the rows of a real database."""

from collections.abc import Awaitable, Callable
from typing import Any

from relevo.identity import scope
from relevo.messages import Address
from relevo.states import Sending
from relevo.store.inspection import Balance, audit
from relevo.store.merging import Done, Fulfilled, Reason, Wish, Writer, carry_out
from relevo.store.parting import Undone, undo
from relevo.store.placing import Reached
from relevo.turns import Outcome
from tests.lives_on_rows import Life
from tests.store_rig import BUSINESS, LINE, Desk, bsuid, phone

Phase = Callable[[Life], Awaitable[None]]

WAITING = "SELECT message_id, state FROM untold WHERE conversation_id = ANY($1)"
FATES = "SELECT id, fate FROM message WHERE conversation_id = ANY($1) AND fate IS NOT NULL"
SENDING = "SELECT id, stage FROM turn WHERE stage = 'sending' AND conversation_id = ANY($1)"
OPEN = "SELECT id, conversation_id FROM turn WHERE stage <> 'ended' AND conversation_id = ANY($1)"


def writer(store: Desk) -> Writer:
    return Writer(store.pools, "SV", store.incarnation.number())


def reach(address: Address) -> Reached:
    """Return an address as the hotel's line has it."""
    return (address.kind, scope(address.kind, LINE, LINE), address.value)


async def link(store: Desk, one: Address, other: Address, reason: Reason = Reason.MESSAGE) -> Done:
    """Carry out a link between two addresses."""
    wish = Wish(BUSINESS, reach(one), reach(other), reason)
    return await carry_out(writer(store), wish, store.clock.now())


async def part(store: Desk, merge_id: int | None) -> Undone:
    """Undo a merge."""
    assert merge_id is not None
    return await undo(writer(store), BUSINESS, merge_id, store.clock.now())


async def books(store: Desk) -> Balance:
    [balance] = [b for b in await audit(store.urls.owner_url) if b.business_id == BUSINESS]
    return balance


async def rows_of(store: Desk, statement: str, *lives: Life) -> set[tuple[Any, ...]]:
    ids = [(await life.key()).conversation_id for life in lives]
    return {tuple(row) for row in await store.rows(statement, ids)}


async def what_waits(store: Desk, *lives: Life) -> tuple[set[tuple[Any, ...]], ...]:
    """Return what is untold and why, the fates, and which turns have something to send."""
    return (
        await rows_of(store, WAITING, *lives),
        await rows_of(store, FATES, *lives),
        await rows_of(store, SENDING, *lives),
    )


async def two(store: Desk, number: int, phases: tuple[Phase, Phase]) -> tuple[Life, Life]:
    """Have the n-th pair, of whom the first would survive, at these phases of a turn."""
    survivor = Life(store, phone(number)[0], f"A{number}")
    loser = Life(store, bsuid(f"US.{number}"), f"B{number}")
    in_order = list(zip((survivor, loser), phases, strict=True))
    for life, gets_there in in_order[:: 1 if number % 2 else -1]:
        await gets_there(life)
    return survivor, loser


async def merge_two(store: Desk, survivor: Life, loser: Life) -> Done:
    """Link them, at once or as soon as it can be; nothing that waits may change by that."""
    kept = (await survivor.key()).conversation_id
    before = await what_waits(store, survivor, loser)
    done = await link(store, survivor.address, loser.address)
    if done.fulfilled is Fulfilled.POSTPONED:
        assert before[2]
        assert (await loser.key()).conversation_id != kept
        await loser.lives_on(lambda state: not isinstance(state, Sending))
        before = await what_waits(store, survivor, loser)
        done = await link(store, survivor.address, loser.address)
    assert done.fulfilled is Fulfilled.MERGED
    assert done.conversation_id == kept
    assert await survivor.key() == await loser.key()
    assert await what_waits(store, survivor) == before
    assert len(await rows_of(store, OPEN, survivor)) == len(before[2])
    assert all(turn.outcome is Outcome.MERGED for _, turn in done.ended)
    return done
