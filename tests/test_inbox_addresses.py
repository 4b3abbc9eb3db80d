"""Ingest: a person is one conversation, under however many addresses and in whatever order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from relevo.messages import Address, NewContact
from relevo.store import linking
from relevo.store.embedded import DatabaseUrls
from relevo.store.merging import Reason, Wish, Writer
from relevo.store.parting import Undoing, undo
from relevo.store.portfolios import PAGE_ROWS, join
from tests.store_rig import BUSINESS, LINE, NOON, PHONE, Desk, bsuid, deadlocks, desk, phone, said

pytestmark = pytest.mark.postgres

BOTH = (Address("phone", PHONE), bsuid("US.1"))
STRANGERS = 60
OTHER_LINES = """
INSERT INTO channel VALUES ('hotel', 'twilio-line', 'twilio'), ('hotel', 'their-line', 'cloud_api'),
    ('hotel', 'own-line', 'cloud_api')
"""


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def people(store: Desk) -> list[list[str]]:
    """Return what was said in each conversation, sorted."""
    return sorted(map(sorted, await store.people()))


async def test_an_event_without_a_phone_finds_the_conversation_of_its_phone(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=BOTH))
    await store.deliver(said("Busco mesa", addresses=BOTH[1:]))
    await store.deliver(said("Para dos", addresses=BOTH[:1]))
    assert await store.people() == [{"Hola", "Busco mesa", "Para dos"}]


@pytest.mark.parametrize("again", [False, True], ids=["a new message", "a redelivery"])
async def test_an_address_that_is_learned_later_leads_to_the_same_conversation(
    store: Desk,
    again: bool,  # noqa: FBT001  (parametrised)
) -> None:
    await store.deliver(said("Hola", "w1", addresses=BOTH[:1]))
    await store.deliver(said("Hola", "w1" if again else "w2", addresses=BOTH))
    await store.deliver(said("Para dos", "w3", addresses=BOTH[1:]))
    assert await store.people() == [{"Hola", "Para dos"}]


async def test_a_phone_that_is_learned_later_leads_to_the_same_conversation(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=BOTH[1:]))
    await store.deliver(NewContact(BOTH), said("Busco mesa", addresses=BOTH))
    await store.deliver(said("Para dos", addresses=BOTH[:1]))
    assert await store.people() == [{"Hola", "Busco mesa", "Para dos"}]


async def test_what_one_batch_teaches_holds_for_the_rest_of_it(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=BOTH[:1]))
    await store.deliver(said("Busco mesa", addresses=BOTH), said("Para dos", addresses=BOTH[1:]))
    assert await store.people() == [{"Hola", "Busco mesa", "Para dos"}]


@pytest.mark.parametrize("bodies", [1, 3], ids=["one body", "a body each"])
async def test_strangers_of_one_batch_that_share_an_address_are_one_person(
    store: Desk, bodies: int
) -> None:
    both = (bsuid("US.1"), Address("user", "ana"))
    met = [
        said("Hola", addresses=BOTH),
        said("Busco mesa", addresses=BOTH[1:]),
        said("Para dos", addresses=both),
        said("Gracias", addresses=both[1:]),
    ]
    share = -(-len(met) // bodies)
    batch = [met[n : n + share] for n in range(0, len(met), share)]
    await asyncio.gather(*(store.deliver(*body) for body in batch))
    assert await store.people() == [{"Hola", "Busco mesa", "Para dos", "Gracias"}]
    assert await store.value("SELECT count(*) FROM conversation") == 1


async def test_a_bsuid_is_one_person_in_its_portfolio_and_nobody_else_outside_of_it(
    database: DatabaseUrls,
) -> None:
    named = {LINE: "meta", "twilio-line": "meta", "their-line": "theirs"}
    async with desk(database, portfolios=named) as store:
        await store.rows(OTHER_LINES)
        lines = (LINE, "twilio-line", "their-line", "own-line")
        await asyncio.gather(
            *(store.deliver(said(line, addresses=BOTH[1:]), line=line) for line in lines)
        )
        assert await people(store) == [[LINE, "twilio-line"], ["own-line"], ["their-line"]]
        for line in lines:
            await store.deliver(said(f"{line} again", addresses=BOTH[1:]), line=line)
        assert sorted(map(len, await people(store))) == [2, 2, 4]
        assert await store.rows("SELECT canonical_key FROM conversation ORDER BY 1") == [
            ("bsuid:hotel:meta:US.1",),
            ("bsuid:hotel:own-line:US.1",),
            ("bsuid:hotel:theirs:US.1",),
        ]


async def test_other_ids_mean_something_on_their_line_only(database: DatabaseUrls) -> None:
    async with desk(database, portfolios={LINE: "meta", "twilio-line": "meta"}) as store:
        await store.rows(OTHER_LINES)
        for kind in ("lid", "subscriber", "user", "wati"):
            for line in (LINE, "twilio-line"):
                words = said(f"{kind} {line}", addresses=(Address(kind, "1"),))
                await store.deliver(words, line=line)
        assert len(await people(store)) == 8


async def test_a_channel_that_joins_a_portfolio_later_keeps_everybody(
    database: DatabaseUrls,
) -> None:
    """Each line knew its people as its own: one by the phone too, one on both lines, one parted."""
    async with desk(database) as store:
        await store.rows(OTHER_LINES)
        await store.deliver(said("Ana", addresses=BOTH))
        for line in (LINE, "twilio-line"):
            await store.deliver(said(f"Eva {line}", addresses=(bsuid("US.2"),)), line=line)
        await store.deliver(said("Leo", addresses=(bsuid("US.3"),)))
        await store.deliver(said("Pia", addresses=phone(4)))
        writer = Writer(store.pools, "SV", store.incarnation.number())
        pair = (("phone", "", phone(4)[0].value), ("bsuid", LINE, "US.3"))
        merged = await linking.link(writer, Wish(BUSINESS, *pair, Reason.PERSON), NOON)
        for _ in range(2):  # every start does it
            for line in (LINE, "twilio-line"):
                await join(store.pools, BUSINESS, line, "meta", NOON)
        await store.merger.settle()
        assert merged.merge_id is not None
        parted = await undo(writer, BUSINESS, merged.merge_id, NOON)
        assert parted.undoing is Undoing.UNDONE
    async with desk(database, portfolios={LINE: "meta", "twilio-line": "meta"}) as store:
        for number, line in enumerate(["twilio-line", LINE, "twilio-line"], start=1):
            words = said(f"{number} again", addresses=(bsuid(f"US.{number}"),))
            await store.deliver(words, line=line)
        assert await people(store) == [
            ["1 again", "Ana"],
            ["2 again", f"Eva {LINE}", "Eva twilio-line"],
            ["3 again", "Leo"],
            ["Pia"],
        ]
        assert await store.value("SELECT count(*) FROM link") == 0


async def test_of_a_great_many_who_join_a_portfolio_none_is_left_out(store: Desk) -> None:
    many = PAGE_ROWS + 2
    await store.deliver(said("Hola", addresses=BOTH[1:]))
    await store.rows(
        "INSERT INTO address (business_id, kind, scope, value, conversation_id)"
        " SELECT 'hotel', 'bsuid', $1, 'US.' || n, c.id"
        " FROM conversation AS c, generate_series(2, $2::int) AS n",
        *(LINE, many),
    )
    await join(store.pools, BUSINESS, LINE, "meta", NOON)
    assert await store.value("SELECT count(*) FROM address WHERE scope = 'meta'") == many


async def test_strangers_of_many_batches_at_once_that_share_an_address_are_one_person(
    database: DatabaseUrls,
) -> None:
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(desk(database)) for _ in range(3)]
        known = [(*phone(n), bsuid(f"US.{n}")) for n in range(STRANGERS)]
        met = [
            said(f"{n} {name}", addresses=addresses)
            for n, both in enumerate(known)
            for name, addresses in (("a", both), ("b", both[1:]), ("c", both))
        ]
        await asyncio.gather(
            *(processes[number % 3].deliver(message) for number, message in enumerate(met))
        )
        people = await processes[0].people()
        assert sorted(map(sorted, people)) == sorted(
            [f"{n} {name}" for name in "abc"] for n in range(STRANGERS)
        )
    assert await deadlocks(database) == 0


async def test_one_that_links_two_messages_of_a_batch_makes_them_one(store: Desk) -> None:
    receipt = await store.deliver(
        said("Hola", "w1", addresses=BOTH[:1]),
        said("Hola", "i1", addresses=BOTH[1:]),
        said("Hola", "w1", "i1", addresses=BOTH),
    )
    assert (len(receipt.stored), receipt.duplicates) == (1, 2)
    assert await store.value("SELECT count(*) FROM message") == 1
    assert await store.value("SELECT count(*) FROM conversation") == 1
    again = await store.deliver(said("Hola", "i1"))
    assert (again.stored, again.duplicates) == ([], 1)


@pytest.mark.parametrize("order", [1, -1], ids=["phone first", "phone last"])
async def test_twins_in_one_batch_are_reached_under_the_addresses_of_both(
    store: Desk, order: int
) -> None:
    twins = [said("Hola", "w1", addresses=(address,)) for address in BOTH]
    await store.deliver(*twins[::order])
    assert await store.value("SELECT canonical_key FROM conversation") == f"phone:hotel:{PHONE}"
    assert await store.value("SELECT address_value FROM message") == PHONE
    for number, address in enumerate(BOTH):
        await store.deliver(said(f"otro {number}", addresses=(address,)))
    assert await store.people() == [{"Hola", "otro 0", "otro 1"}]


async def test_an_address_of_somebody_else_stays_with_them(store: Desk) -> None:
    await store.deliver(said("Hola", addresses=BOTH[:1]), said("Soy otra", addresses=BOTH[1:]))
    await store.deliver(said("Busco mesa", addresses=BOTH))
    await store.deliver(said("Para dos", addresses=BOTH[1:]))
    assert {frozenset(said) for said in await store.people()} == {
        frozenset({"Hola", "Busco mesa"}),
        frozenset({"Soy otra", "Para dos"}),
    }


async def test_a_phone_is_one_person_in_every_spelling(store: Desk) -> None:
    for spelling in (PHONE, "50370000001", "7000 0001", "+503 7000-0001"):
        await store.deliver(said(spelling, addresses=(Address("phone", spelling),)))
    assert await store.value("SELECT count(*) FROM conversation") == 1
    assert await store.value("SELECT canonical_key FROM conversation") == f"phone:hotel:{PHONE}"


@pytest.mark.parametrize("known", [False, True], ids=["stranger", "known"])
async def test_a_contact_that_the_provider_calls_new_is_marked(store: Desk, known: bool) -> None:  # noqa: FBT001  (parametrised)
    if known:
        await store.deliver(said("Hola", addresses=BOTH[:1]))
    await store.deliver(said("Otro", addresses=phone(2)))
    before = await store.value("SELECT sum(version)::int FROM conversation")
    store.woken.clear()
    await store.deliver(NewContact(BOTH), NewContact(BOTH))
    await store.deliver(NewContact(BOTH))
    # Once: memory, which may have read a first message already, has to hear of it.
    assert await store.value("SELECT sum(version)::int FROM conversation") == before + 1
    assert len(store.woken) == 1
    rows = await store.rows("SELECT canonical_key, new_contact FROM conversation")
    assert {row["canonical_key"]: row["new_contact"] for row in rows} == {
        f"phone:hotel:{PHONE}": True,
        "phone:hotel:+50370000002": False,
    }
