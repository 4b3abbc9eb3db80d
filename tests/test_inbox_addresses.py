"""Ingest: a person is one conversation, under however many addresses and in whatever order."""

from collections.abc import AsyncIterator

import pytest

from relevo.messages import Address, NewContact
from relevo.store.embedded import DatabaseUrls
from tests.store_rig import PHONE, Desk, bsuid, desk, phone, said

pytestmark = pytest.mark.postgres

BOTH = (Address("phone", PHONE), bsuid("US.1"))


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


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
    await store.deliver(NewContact(BOTH), NewContact(BOTH))
    rows = await store.rows("SELECT canonical_key, new_contact FROM conversation")
    assert {row["canonical_key"]: row["new_contact"] for row in rows} == {
        f"phone:hotel:{PHONE}": True,
        "phone:hotel:+50370000002": False,
    }
