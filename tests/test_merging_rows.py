"""Two conversations become one on real rows, whatever is under way in either, and two again."""

import asyncio
import os
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import asyncpg
import pytest

from relevo.messages import Address
from relevo.store.embedded import DatabaseUrls
from relevo.store.merging import Fulfilled, Reason
from relevo.store.parting import Undoing
from tests.lives_on_rows import PHASES, Life, gathering, held, idle, in_doubt, sending
from tests.merging_rig import (
    books,
    link,
    merge_two,
    part,
    rows_of,
    two,
    what_waits,
)
from tests.store_rig import Desk, desk

pytestmark = pytest.mark.postgres

IS_DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
PAIRS = (
    list(product(PHASES, PHASES))
    if IS_DEEP
    else [
        *((phase, PHASES[(n + 5) % len(PHASES)]) for n, phase in enumerate(PHASES)),
        *product((gathering, sending), (sending, in_doubt)),
    ]
)
"""What the survivor is at, and what the loser is at."""

ROW = (
    "SELECT id, canonical_key, last_customer_at, last_assistant_at, last_agent_at, known_to,"
    " told_to, owed_since, new_contact, hold_until, hold_released_at, tags::text, closed_at"
    " FROM conversation WHERE id = ANY($1)"
)
ADDRESSES = "SELECT kind, value FROM address WHERE conversation_id = ANY($1)"
REPLIES = "SELECT id FROM message WHERE author = 'assistant' AND conversation_id = ANY($1)"
SAID = "SELECT id, body FROM message WHERE conversation_id = ANY($1)"
TURNS = (
    "SELECT id, outcome, message_ids::text FROM turn"
    " WHERE conversation_id = ANY($1) AND stage = 'ended' AND outcome <> 'merged'"
)
LETTERS = "SELECT turn_id FROM dead_letter WHERE conversation_id = ANY($1)"


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def test_a_merge_may_come_at_any_phase_of_both(store: Desk) -> None:
    """Nothing that waits is lost, no fate changes, what is being sent is sent once."""
    lives, ended = [], 0
    for number, phases in enumerate(PAIRS, start=1):
        survivor, loser = await two(store, number, phases)
        ended += len((await merge_two(store, survivor, loser)).ended)
        lives.append(survivor)
    await all_is_well(store, lives, people=len(PAIRS))
    # Their messages have opened turns of the same names; those that ended are told of still.
    assert await store.value("SELECT count(*) FROM turn WHERE outcome = 'merged'") == ended > 0


async def test_an_undone_merge_leaves_both_as_they_were(store: Desk) -> None:
    lives: list[Life] = []
    for number, phases in enumerate(PAIRS[: len(PHASES)], start=1):
        pair = await two(store, number, phases)
        for life in pair:
            await life.lives_on(lambda state: not hasattr(state, "parts"))
        before = [await everything(store, life) for life in pair]
        store.clock.advance_to(store.clock.now().replace(microsecond=number))
        done = await merge_two(store, *pair)
        undone = await part(store, done.merge_id)
        assert undone.undoing is Undoing.UNDONE
        after = [await everything(store, life) for life in pair]
        for was, now in zip(before, after, strict=True):
            if "row" not in was:  # a turn had moved its marks, and has ended
                del now["row"]
        assert after == before
        again = await link(store, pair[0].address, pair[1].address)
        assert again.fulfilled is Fulfilled.NEEDLESS
        assert (await part(store, done.merge_id)).undoing is Undoing.UNDONE_BEFORE
        lives += pair
    await all_is_well(store, lives, people=2 * len(PHASES))


async def everything(store: Desk, life: Life) -> dict[str, Any]:
    """Return all that is known of a conversation between turns."""
    found = {
        "addresses": await rows_of(store, ADDRESSES, life),
        "said": await rows_of(store, SAID, life),
        "turns": await rows_of(store, TURNS, life),
        "letters": await rows_of(store, LETTERS, life),
        "waits": await what_waits(store, life),
    }
    if not (await life.rows()).turn:
        found["row"] = await rows_of(store, ROW, life)
    return found


async def all_is_well(store: Desk, lives: list[Life], *, people: int) -> None:
    """Let all live on; everything is answered once, and every fate has its turn."""
    for life in lives:
        await life.lives_on()
    assert await store.value("SELECT count(*) FROM conversation") == people
    balance = await books(store)
    assert balance.sound
    assert "in_flight" not in balance.fates
    assert await store.value("SELECT count(*) FROM turn WHERE stage <> 'ended'") == 0
    sent = await store.rows("SELECT body FROM message WHERE author = 'assistant'")
    assert len({row["body"] for row in sent}) == len(sent)


async def test_what_came_since_goes_to_whom_it_is_from_and_stays_with_its_turn(
    store: Desk,
) -> None:
    ana, other = await two(store, 1, (idle, gathering))
    before = await said(store, ana)
    done = await merge_two(store, ana, other)
    await other.says()
    await ana.says()
    await ana.lives_on()
    store.clock.advance_to(store.clock.now().replace(microsecond=1))
    await other.says()
    await other.lives_on()
    await ana.says()
    assert (await part(store, done.merge_id)).undoing is Undoing.UNDONE
    # The newest of the burst that both wrote was Ana's, so all of it was answered there.
    assert await said(store, ana) - before == {"A1 2", "A1 3", "B1 2", "B1 3"}
    assert await said(store, other) == {"B1 1", "B1 4"}
    assert {len(await rows_of(store, REPLIES, life)) for life in (ana, other)} == {2}
    await all_is_well(store, [ana, other], people=2)


async def said(store: Desk, life: Life) -> set[str]:
    """Return what the customer has said in the conversation that his address leads to."""
    return {body for _, body in await rows_of(store, SAID, life) if not body.startswith("reply")}


async def test_what_waits_while_two_are_parted_goes_to_whom_it_is_from(store: Desk) -> None:
    ana, other = await two(store, 1, (idle, idle))
    done = await merge_two(store, ana, other)
    owner = await asyncpg.connect(store.urls.owner_url)
    try:
        async with owner.transaction():
            await owner.execute("SELECT FROM address FOR UPDATE")
            parting = asyncio.gather(part(store, done.merge_id))
            while not await store.waiting():
                assert not parting.done()
            late = asyncio.gather(other.says())
            while not late.done() and await store.waiting() < len((parting, late)):
                continue
        await late
        assert [undone.undoing for undone in await parting] == [Undoing.UNDONE]
    finally:
        await owner.close()
    assert await said(store, other) == {"B1 1", "B1 2"}
    await all_is_well(store, [ana, other], people=2)


async def test_merges_are_undone_newest_first_and_persons_overrule_what_was_undone(
    store: Desk,
) -> None:
    lead = Address("lead", "L-7")
    ana, lid = await two(store, 1, (idle, held))
    crm = Life(store, lead, "C1")
    await crm.says()
    assert await part_of(store, 1) is Undoing.UNKNOWN
    first = await link(store, ana.address, lid.address)
    second = await link(store, ana.address, lead)
    assert await crm.key() == await ana.key() == await lid.key()
    assert await keys(store) == ["lead:hotel:L-7"]
    refused = await part(store, first.merge_id)
    assert (refused.undoing, refused.first) == (Undoing.MERGED_SINCE, second.merge_id)
    assert await part_of(store, second.merge_id) is Undoing.UNDONE
    assert await part_of(store, first.merge_id) is Undoing.UNDONE
    apart = ["bsuid:hotel:line:US.1", "lead:hotel:L-7", "phone:hotel:+50370000001"]
    assert await keys(store) == apart
    by_message = await link(store, ana.address, lid.address)
    assert by_message.fulfilled is Fulfilled.NEEDLESS
    assert await keys(store) == apart
    # Also when one of them has become another one meanwhile.
    assert (await link(store, lead, lid.address, Reason.LEAD)).fulfilled is Fulfilled.MERGED
    again = await link(store, ana.address, lead)
    assert again.fulfilled is Fulfilled.NEEDLESS
    by_person = await link(store, ana.address, lid.address, Reason.PERSON)
    assert by_person.fulfilled is Fulfilled.MERGED
    assert await keys(store) == ["lead:hotel:L-7"]


async def part_of(store: Desk, merge_id: int | None) -> Undoing:
    return (await part(store, merge_id)).undoing


async def keys(store: Desk) -> list[str]:
    rows = await store.rows("SELECT canonical_key FROM conversation ORDER BY 1")
    return [row["canonical_key"] for row in rows]
