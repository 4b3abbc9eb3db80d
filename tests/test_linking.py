"""Links: who tells that two addresses are one person's, and what comes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import asyncpg
import pytest

from relevo.messages import Address, AddressChange, Author, ConversationKey, NewContact
from relevo.outgoing import Draft, Refusal
from relevo.store import following, holding, linking
from relevo.store.embedded import DatabaseUrls
from relevo.store.linking import Named
from relevo.store.merging import Fulfilled, Reason, Wish
from relevo.store.parting import Undoing
from tests.fakes.clock import settle, until
from tests.merging_rig import books, link, part, reach, writer
from tests.outgoing_rig import ask
from tests.store_rig import BUSINESS, NOON, PHONE, Desk, bsuid, deadlocks, desk, phone, said

pytestmark = pytest.mark.postgres

ANA = Address("phone", PHONE)
NEW = Address("phone", "+50370000002")
LID, ID = Address("lid", "88001122334455"), bsuid("US.1")
KEYS = "SELECT canonical_key FROM conversation ORDER BY 1"


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def keys(store: Desk) -> list[str]:
    return [row["canonical_key"] for row in await store.rows(KEYS)]


async def links(store: Desk) -> int:
    return int(await store.value("SELECT count(*) FROM link"))


async def test_a_message_whose_addresses_lead_to_two_makes_them_one(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=(ANA,)), said("Soy Ana", addresses=(ID,)))
    assert (len(await store.people()), store.resolved["torn"]) == (2, 0)
    await store.deliver(said("Busco mesa", addresses=(ANA, ID)))
    assert store.resolved["torn"] == 1
    store.woken.clear()
    await store.merger.settle()
    assert await store.people() == [{"Hola", "Soy Ana", "Busco mesa"}]
    assert await keys(store) == [f"phone:hotel:{PHONE}"]
    assert (len(set(store.woken)), await links(store), store.merger.waiting) == (2, 0, 0)
    assert store.resolved["merged"] == 1
    await store.deliver(said("Para dos", addresses=(ID,)))
    assert len(await store.people()) == 1
    assert (await books(store)).sound


async def test_a_redelivery_links_too(store: Desk) -> None:
    """An id is one message, under whatever addresses it is told: its sender is one person."""
    await store.deliver(said("Hola", "w1", addresses=(ANA,)), said("Otra", "w2", addresses=(LID,)))
    await store.deliver(said("Hola", "w1", addresses=(LID,)))
    await store.merger.settle()
    assert await store.people() == [{"Hola", "Otra"}]


async def test_a_phone_that_is_learned_names_the_conversation(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=(LID,)))
    assert await keys(store) == ["lid:hotel:line:88001122334455"]
    await store.deliver(said("Busco mesa", addresses=(ANA, LID)))
    await store.merger.settle()
    assert await keys(store) == [f"phone:hotel:{PHONE}"]
    # Somebody who met him by the phone at the same moment has left nothing but a key.
    await store.deliver(said("Soy Eva", addresses=(ID,)))
    await store.rows(
        "INSERT INTO conversation (business_id, canonical_key, created_at) VALUES ($1, $2, $3)",
        *(BUSINESS, f"phone:hotel:{NEW.value}", NOON),
    )
    await store.deliver(said("Busco sala", addresses=(NEW, ID)))
    await store.merger.settle()
    assert await keys(store) == [f"phone:hotel:{PHONE}", f"phone:hotel:{NEW.value}"]


async def test_a_contact_with_two_addresses_links_them(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=(ANA,)), said("Soy Ana", addresses=(ID,)))
    await store.deliver(NewContact((ANA, ID)))
    await store.merger.settle()
    assert await store.people() == [{"Hola", "Soy Ana"}]


async def test_who_changes_his_number_keeps_his_thread(store: Desk) -> None:
    changed = AddressChange((ANA,), (NEW, ID))
    await store.deliver(changed)
    assert await links(store) == 0  # nobody knows him
    await store.deliver(said("Hola", addresses=(ANA,)))
    await store.deliver(changed)
    await store.merger.settle()
    assert store.resolved["led"] == 2
    for address in (NEW, ID, ANA):
        await store.deliver(said(address.value, addresses=(address,)))
    assert await store.people() == [{"Hola", NEW.value, ID.value, ANA.value}]
    assert await keys(store) == [f"phone:hotel:{NEW.value}"]
    # He changes it again; what is told a second time changes nothing.
    newest = Address("phone", "+50370000003")
    await store.deliver(said("Soy yo", addresses=(newest,)))
    await store.deliver(AddressChange((NEW,), (newest,)))
    await store.merger.settle()
    await store.deliver(changed)
    await store.merger.settle()
    assert await keys(store) == [f"phone:hotel:{newest.value}"]
    assert len(await store.people()) == 1
    assert store.resolved["merged"] == 1


async def test_a_lead_outlasts_every_number(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=(ANA,)))
    linked = await linking.link_lead(writer(store), BUSINESS, reach(ANA), "L-7", NOON)
    assert linked.fulfilled is Fulfilled.LED
    assert await keys(store) == ["lead:hotel:L-7"]
    await store.deliver(AddressChange((ANA,), (NEW,)))
    await store.merger.settle()
    await store.deliver(said("Otra vez", addresses=(NEW,)))
    assert await keys(store) == ["lead:hotel:L-7"]
    assert await store.people() == [{"Hola", "Otra vez"}]
    again = await linking.link_lead(writer(store), BUSINESS, reach(NEW), "L-7", NOON)
    assert again.fulfilled is Fulfilled.NEEDLESS
    # A CRM knows people before they write.
    new = await linking.link_lead(writer(store), BUSINESS, reach(LID), "L-8", NOON)
    assert (new.fulfilled, new.conversation_id is not None) == (Fulfilled.NEEDLESS, True)
    await store.deliver(said("Buenas", addresses=(LID,)))
    assert await keys(store) == ["lead:hotel:L-7", "lead:hotel:L-8"]
    assert await links(store) == 0


async def test_people_are_named_in_any_spelling_and_shown_with_their_merges(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=(ANA,)), said("Otra", addresses=(ID,)))
    by_person = Wish(BUSINESS, reach(ANA), reach(ID), Reason.PERSON)
    done = await linking.link(writer(store), by_person, NOON)
    assert done.fulfilled is Fulfilled.MERGED
    for spelling in ("7000 0001", PHONE, "US.1"):
        [named] = await linking.named(store.pools, BUSINESS, spelling, "SV")
        assert named.conversation_id == done.conversation_id
    [shown] = await linking.show(store.pools, BUSINESS, "7000 0001", "SV")
    assert shown["canonical_key"] == f"phone:hotel:{PHONE}"
    assert [address["value"] for address in shown["addresses"]] == ["US.1", PHONE]
    [merge] = shown["merges"]
    assert (merge["id"], merge["loser_key"], merge["messages"]) == (
        done.merge_id,
        "bsuid:hotel:line:US.1",
        1,
    )
    assert await linking.named(store.pools, BUSINESS, "7000 0009", "SV") == [
        Named(("phone", "", "+50370000009"), None)
    ]
    assert await linking.named(store.pools, BUSINESS, "US.9", "SV") == []
    gone = ConversationKey(BUSINESS, merge["loser"])
    async with store.pools.tenant(BUSINESS) as connection:
        here = await following.lock(connection, gone)
        assert here == ConversationKey(BUSINESS, merge["survivor"])
        assert await following.lock(connection, ConversationKey(BUSINESS, 999)) is None


async def test_what_was_read_before_a_merge_and_is_written_after_it_resolves_again(
    store: Desk,
) -> None:
    """A webhook waits for the merge, finds the conversation gone, and stores it where it is."""
    await store.deliver(said("Hola", addresses=(ANA,)))
    await store.deliver(said("Otra", addresses=(ID,)))  # the younger one, who loses
    await store.know_from_history(1000, "wamid.9", told=False)
    await store.rows(
        "UPDATE message SET conversation_id = (SELECT max(id) FROM conversation) WHERE id = 1000"
    )
    await store.rows(
        "UPDATE untold SET conversation_id = (SELECT max(id) FROM conversation)"
        " WHERE message_id = 1000"
    )
    owner = await asyncpg.connect(store.urls.owner_url)
    try:
        async with owner.transaction():
            await owner.execute("SELECT FROM conversation ORDER BY id FOR UPDATE")
            late = []
            for message in (said("Tarde", addresses=(ID,)), said("R", "wamid.9", addresses=(ID,))):
                late.append(asyncio.gather(store.deliver(message)))
                await settle()  # each in a batch of its own: halving one is a retry too
            while await store.waiting() < len(late):
                assert not any(each.done() for each in late)
            await merged_by_hand(owner)
        receipts = [(await each)[0] for each in late]
    finally:
        await owner.close()
    assert [len(receipt.stored) for receipt in receipts] == [1, 1]
    assert [receipt.quarantined for receipt in receipts] == [[], []]
    [said_there] = await store.people()
    assert said_there == {"Hola", "Otra", "Tarde"}  # "Hola" is also what the history brought
    assert await store.value("SELECT state FROM untold WHERE message_id = 1000") == "unread"
    assert (await books(store)).sound


async def merged_by_hand(owner: asyncpg.Connection) -> None:
    """Do what a merge does to its rows, within the transaction that holds them."""
    for table in ("address", "message", "untold"):
        await owner.execute(
            f"UPDATE {table} SET conversation_id = (SELECT min(id) FROM conversation)"
        )
    await owner.execute("DELETE FROM conversation WHERE id > (SELECT min(id) FROM conversation)")


async def test_many_processes_make_one_conversation_of_everybody_they_meet(
    database: DatabaseUrls,
) -> None:
    """500 first contacts over mixed addresses of 50 people at once, while links are carried out."""
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(desk(database)) for _ in range(2)]
        known = [(*phone(n), bsuid(f"US.{n}"), Address("lid", f"{n}")) for n in range(50)]
        ways = [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2), (0,), (1,), (2,)]
        met = [
            said(f"{n} {number}", addresses=tuple(addresses[i] for i in way))
            for number, way in enumerate(ways)
            for n, addresses in enumerate(known)
        ]
        one.merges_at_once = other.merges_at_once = True
        await asyncio.gather(
            *((one, other)[number % 2].deliver(message) for number, message in enumerate(met))
        )
        await until(lambda: not one.merger.busy and not other.merger.busy)
        await one.merger.settle()
        people = await one.people()
        assert sorted(map(sorted, people)) == sorted(
            sorted(f"{n} {number}" for number in range(10)) for n in range(50)
        )
        assert sorted(await keys(one)) == sorted(
            f"phone:hotel:{addresses[0].value}" for addresses in known
        )
        assert (await books(one)).sound
        assert await links(one) == 0
    assert await deadlocks(database) == 0


async def test_a_wish_that_cannot_be_carried_out_stops_no_other(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=(ANA,)), said("Otra", addresses=(ID,)))
    assert (await link(store, NEW, LID)).fulfilled is Fulfilled.NOBODY
    await store.deliver(said("Busco mesa", addresses=(ANA, ID)))
    holding = await asyncpg.connect(store.urls.owner_url)
    try:
        async with holding.transaction():
            await holding.execute("SELECT FROM conversation FOR UPDATE")
            await store.merger.settle()
            assert (store.merger.waiting, store.resolved["postponed"]) == (1, 1)
    finally:
        await holding.close()
    await store.merger.settle()
    assert (store.merger.waiting, len(await store.people())) == (0, 1)


async def test_whoever_knows_a_conversation_by_its_id_finds_it_after_a_merge(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=(ANA,)), said("Otra", addresses=(ID,)))
    lost = (await linking.named(store.pools, BUSINESS, "US.1", "SV"))[0].conversation_id
    assert lost is not None
    done = await linking.link(
        writer(store), Wish(BUSINESS, reach(ANA), reach(ID), Reason.PERSON), NOON
    )
    old = ConversationKey(BUSINESS, lost)
    await holding.hold(store.pools, old, NOON + timedelta(hours=1))
    assert await store.value("SELECT hold_until FROM conversation") == NOON + timedelta(hours=1)
    resumed = await holding.resume(store.pools, old, NOON)
    assert resumed is not None
    assert resumed.held_until is not None
    assert await holding.answer(store.pools, old, NOON) == 2
    assert isinstance(await ask(store, old, Draft("Recuerde", Author.AGENT), NOON), int)
    where = await store.rows("SELECT DISTINCT conversation_id FROM untold")
    assert [row["conversation_id"] for row in where] == [done.conversation_id]
    gone = ConversationKey(BUSINESS, 999)
    await holding.hold(store.pools, gone, NOON)
    assert await ask(store, gone, Draft("Recuerde", Author.AGENT), NOON) is Refusal.UNKNOWN


async def test_what_another_process_has_merged_or_parted_is_looked_at_once(store: Desk) -> None:
    """Its rows have moved to conversations that nobody else here is told of."""
    await store.deliver(said("Hola", addresses=(ANA,)), said("Otra", addresses=(ID,)))
    done = await link(store, ANA, ID, Reason.PERSON)
    store.woken.clear()
    for _ in range(2):
        await store.merger.follow()
    both = sorted(ConversationKey(BUSINESS, n) for n in done.touched)
    assert sorted(store.woken) == both
    store.clock.advance_to(NOON + timedelta(seconds=30))
    assert (await part(store, done.merge_id)).undoing is Undoing.UNDONE
    await store.merger.follow()
    assert sorted(store.woken) == sorted(both * 2)
    store.clock.advance_to(NOON + timedelta(seconds=120))
    await store.merger.follow()
    assert len(store.woken) == 4


async def test_the_merger_looks_now_and_then(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=(ANA,)), said("Otra", addresses=(ID,)))
    await store.deliver(said("Busco mesa", addresses=(ANA, ID)))
    store.tasks.spawn(store.merger.merge_for_ever(2), "merge")
    await until(lambda: store.clock.next_alarm_at is not None)
    store.clock.advance_to(NOON + timedelta(seconds=2))
    await until(lambda: store.resolved["merged"] == 1)
    assert len(await store.people()) == 1
