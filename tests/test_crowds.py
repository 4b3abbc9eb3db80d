"""Whoever has too much unread is turned away until it is less, on real rows, and nobody else."""

import logging
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from relevo.errors import StoreUnavailableError
from relevo.messages import (
    Address,
    Arrival,
    Author,
    ConversationKey,
    Delivery,
    StatusUpdate,
    Unusable,
)
from relevo.store.crowds import Crowds
from relevo.store.embedded import DatabaseUrls
from relevo.store.means import Means
from relevo.store.placing import Placer
from relevo.store.sql import statements
from tests.store_rig import BUSINESS, LINE, NOON, PHONE, Desk, bsuid, desk, phone, said

pytestmark = pytest.mark.postgres

UNREAD_MAX = 3
PORTFOLIOS = {"beside": LINE}
BOTH = (Address("phone", PHONE), bsuid("US.1"))


@pytest_asyncio.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


@pytest.fixture
def crowds(store: Desk) -> Crowds:
    means = Means(store.pools, store.tasks, store.clock, store)
    return Crowds(means, Placer({BUSINESS: "SV", "bakery": "SV"}, PORTFOLIOS), UNREAD_MAX)


def brings(*arrivals: Arrival, business: str = BUSINESS, line: str = LINE) -> Delivery:
    return Delivery(business, line, arrivals, b"{}", NOON)


async def sweep(store: Desk, crowds: Crowds) -> None:
    """Do what the supervisor's sweep does."""
    await crowds.swept(await store.journal.unread(NOON))


async def fill(store: Desk, count: int) -> ConversationKey:
    """Have so many unread messages of one customer, who is known by a phone and a BSUID."""
    for number in range(count):
        await store.deliver(said(f"{number}", addresses=BOTH, after_seconds=1), after_seconds=1)
    return ConversationKey(BUSINESS, await store.value("SELECT id FROM conversation"))


async def test_a_customer_with_too_much_unread_is_turned_away_under_every_address(
    store: Desk, crowds: Crowds
) -> None:
    await fill(store, UNREAD_MAX + 1)
    assert not crowds.turns_away(brings(said("Hola")))
    await sweep(store, crowds)
    assert crowds.customers == 1
    assert crowds.turns_away(brings(said("Hola")))
    assert crowds.turns_away(brings(said("Hola", addresses=(Address("phone", "7000 0001"),))))
    assert crowds.turns_away(brings(said("Hola", addresses=(bsuid("US.1"),))))
    assert crowds.turns_away(brings(said("Hola", addresses=(bsuid("US.1"),)), line="beside"))
    assert crowds.turns_away(brings(said("Hola", addresses=phone(9)), said("Hola")))


async def test_nobody_else_is_turned_away(store: Desk, crowds: Crowds) -> None:
    await fill(store, UNREAD_MAX + 1)
    for number in range(UNREAD_MAX):
        await store.deliver(said(f"other {number}", addresses=phone(2)), after_seconds=1)
    await sweep(store, crowds)
    assert crowds.customers == 1
    assert not crowds.turns_away(brings(said("Hola", addresses=phone(2))))
    assert not crowds.turns_away(brings(said("Hola", addresses=(bsuid("US.1"),)), line="other"))
    assert not crowds.turns_away(brings(said("Hola"), business="bakery"))


async def test_what_can_forbid_a_reply_or_says_nothing_is_always_taken(
    store: Desk, crowds: Crowds
) -> None:
    await fill(store, UNREAD_MAX + 1)
    await sweep(store, crowds)
    assert not crowds.turns_away(
        brings(
            said("Ya le atiendo", author=Author.AGENT),
            StatusUpdate(("k",), "read"),
            Unusable("no_id"),
        )
    )


async def test_who_was_turned_away_is_let_in_again_once_enough_was_read(
    store: Desk, crowds: Crowds
) -> None:
    await fill(store, UNREAD_MAX + 2)
    await sweep(store, crowds)
    one = "(SELECT max(message_id) FROM untold WHERE state = 'unread')"
    await store.rows(f"DELETE FROM untold WHERE message_id = {one}")
    await sweep(store, crowds)
    assert crowds.turns_away(brings(said("Hola")))
    await store.rows(f"UPDATE untold SET state = 'context' WHERE message_id = {one}")
    await sweep(store, crowds)
    assert crowds.customers == 0
    assert not crowds.turns_away(brings(said("Hola")))


async def test_rows_count_however_old_they_are_once_somebody_looks(
    store: Desk, crowds: Crowds
) -> None:
    await fill(store, UNREAD_MAX + 1)
    await store.rows("UPDATE untold SET received_at = received_at - interval '1 day'")
    await sweep(store, crowds)
    assert crowds.customers == 0, "a sweep sees the last minutes only"
    await crowds.keep_up()
    await sweep(store, crowds)
    assert crowds.customers == 1


async def test_while_nobody_has_too_much_nothing_is_asked(store: Desk, crowds: Crowds) -> None:
    await fill(store, UNREAD_MAX)
    store.operations.clear()
    await sweep(store, crowds)
    assert store.operations == [("sweep", 1)], "the sweep's own count"
    assert not crowds.turns_away(brings(said("Hola")))


async def test_whoever_was_turned_away_still_is_while_the_store_is_away(
    store: Desk, crowds: Crowds
) -> None:
    key = await fill(store, UNREAD_MAX + 1)
    await sweep(store, crowds)
    await store.pools.sweep.close()
    with pytest.raises(StoreUnavailableError):
        await crowds.swept({key: 0})
    assert crowds.turns_away(brings(said("Hola")))


async def test_whoever_is_turned_away_is_named_once_and_without_an_address(
    store: Desk, crowds: Crowds, caplog: pytest.LogCaptureFixture
) -> None:
    key = await fill(store, UNREAD_MAX + 1)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await sweep(store, crowds)
    [line] = caplog.messages
    assert line.startswith(f"crowded: conversation {key.conversation_id} of {BUSINESS} has more")
    assert PHONE.lstrip("+") not in line


async def test_a_flood_is_read_without_comparing_all_its_messages_with_one_another(
    store: Desk,
) -> None:
    key = await fill(store, 1)
    await store.rows(FLOOD, 3000)
    async with store.pools.tenant(BUSINESS) as connection:
        plan = await connection.fetch(
            f"EXPLAIN (ANALYZE, TIMING OFF) {statements('load')['witnesses']}",
            BUSINESS,
            [key.conversation_id],
        )
    lines = [row[0] for row in plan]
    discarded = [int(found[1]) for line in lines if (found := DISCARDED.search(line))]
    assert sum(discarded) < 3000, "\n".join(lines)


DISCARDED = re.compile(r"Rows Removed by \w*\s*Filter: (\d+)")

FLOOD = """
WITH flood AS (
    INSERT INTO message (business_id, id, conversation_id, channel_id, address_kind,
        address_value, author, kind, body, source, event_at, received_at, fate)
    SELECT business_id, nextval('message_id'), conversation_id, channel_id, address_kind,
        address_value, author, kind, 'Hola ' || n, source, event_at, received_at, fate
    FROM message, generate_series(1, $1::int) AS n
    RETURNING *
)
INSERT INTO untold (business_id, conversation_id, message_id, state, received_at)
SELECT business_id, conversation_id, id, 'unread', received_at FROM flood
"""
