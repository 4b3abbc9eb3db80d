"""Two conversations become one on real rows, whatever is under way in either."""

import os
from collections.abc import AsyncIterator
from itertools import product

import pytest

from relevo.identity import is_everywhere
from relevo.messages import Address
from relevo.states import Sending
from relevo.store.embedded import DatabaseUrls
from relevo.store.inspection import audit
from relevo.store.merging import Done, Fulfilled, Reason, Wish, Writer, carry_out
from relevo.store.placing import Reached
from relevo.turns import Outcome
from tests.lives_on_rows import PHASES, Life, gathering, in_doubt, sending
from tests.store_rig import BUSINESS, LINE, Desk, bsuid, desk, phone

pytestmark = pytest.mark.postgres

IS_DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
ALL = list(product(PHASES, PHASES))
PAIRS = (
    ALL
    if IS_DEEP
    else [
        *((phase, PHASES[(n + 5) % len(PHASES)]) for n, phase in enumerate(PHASES)),
        *product((gathering, sending), (sending, in_doubt)),
    ]
)
"""What the survivor is at, and what the loser is at."""

WAITING = "SELECT message_id, state FROM untold WHERE conversation_id = ANY($1)"
FATES = "SELECT id, fate FROM message WHERE conversation_id = ANY($1) AND fate IS NOT NULL"
SENDING = "SELECT id, stage FROM turn WHERE stage = 'sending' AND conversation_id = ANY($1)"
OPEN = "SELECT id, conversation_id FROM turn WHERE stage <> 'ended' AND conversation_id = ANY($1)"


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def link(store: Desk, one: Address, other: Address, reason: Reason = Reason.MESSAGE) -> Done:
    """Carry out a link between two addresses of the hotel's line."""
    writer = Writer(store.pools, "SV", store.incarnation.number())
    wish = Wish(BUSINESS, reach(one), reach(other), reason)
    return await carry_out(writer, wish, store.clock.now())


def reach(address: Address) -> Reached:
    """Return an address as the hotel's line has it."""
    return (address.kind, "" if is_everywhere(address.kind) else LINE, address.value)


async def rows_of(store: Desk, statement: str, *lives: Life) -> set[tuple[int, str]]:
    ids = [(await life.key()).conversation_id for life in lives]
    return {tuple(row) for row in await store.rows(statement, ids)}


async def what_waits(store: Desk, *lives: Life) -> tuple[set[tuple[int, str]], ...]:
    """Return what is untold and why, the fates, and which turns have something to send."""
    return (
        await rows_of(store, WAITING, *lives),
        await rows_of(store, FATES, *lives),
        await rows_of(store, SENDING, *lives),
    )


async def merge_two(store: Desk, survivor: Life, loser: Life) -> None:
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


async def test_a_merge_may_come_at_any_phase_of_both(store: Desk) -> None:
    """Nothing that waits is lost, no fate changes, what is being sent is sent once."""
    lives = []
    for number, (survivor_is_at, loser_is_at) in enumerate(PAIRS, start=1):
        survivor = Life(store, phone(number)[0], f"A{number}")
        loser = Life(store, bsuid(f"US.{number}"), f"B{number}")
        in_order = [(survivor, survivor_is_at), (loser, loser_is_at)]
        for life, gets_there in in_order[:: 1 if number % 2 else -1]:
            await gets_there(life)
        await merge_two(store, survivor, loser)
        lives.append(survivor)
    for life in lives:
        await life.lives_on()
    assert await store.value("SELECT count(*) FROM conversation") == len(PAIRS)
    [balance] = [b for b in await audit(store.urls.owner_url) if b.business_id == BUSINESS]
    assert balance.sound
    assert "in_flight" not in balance.fates
    assert await store.value("SELECT count(*) FROM turn WHERE stage <> 'ended'") == 0
    sent = await store.rows("SELECT body FROM message WHERE author = 'assistant'")
    assert len({row["body"] for row in sent}) == len(sent)
