"""`relevo identity`: a person looks who somebody is, links, and takes it back."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from relevo.messages import Address
from relevo.store.embedded import DatabaseUrls
from tests.commands import BAD, WELL, Configured, configured
from tests.store_rig import PHONE, Desk, bsuid, desk, said

pytestmark = pytest.mark.postgres


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


@pytest.fixture
def call(database: DatabaseUrls, tmp_path: Path) -> Configured:
    return configured(database, tmp_path)


async def test_two_addresses_are_linked_shown_and_parted_again(
    store: Desk, call: Configured
) -> None:
    await store.deliver(said("Hola"))
    await store.deliver(said("Soy Ana", addresses=(bsuid("US.1"),)))
    linked = await call("identity", "link", "7000 0001", "US.1")
    assert (linked.code, linked.errors) == (WELL, "")
    assert linked.out == (
        "Both were known: their conversations are one now; `relevo identity undo 1` parts them.\n"
    )
    assert await store.people() == [{"Hola", "Soy Ana"}]
    shown = await call("identity", "show", "US.1")
    assert shown.code == WELL
    first, *others = shown.out.splitlines()
    assert first == f"phone:hotel:{PHONE} (conversation 1)"
    assert [line.strip() for line in others[:2]] == ["bsuid US.1 on line", f"phone {PHONE}"]
    assert others[2].startswith("  merge 1, ")
    assert others[2].endswith("(person): bsuid:hotel:line:US.1, 1 message")
    undone = await call("identity", "undo", "1")
    assert (undone.code, len(await store.people())) == (WELL, 2)
    again = await call("identity", "undo", "1")
    assert (again.code, again.out) == (
        BAD,
        "Merge 1 cannot be undone: it is undone already.\n",
    )
    told = orjson.loads((await call("identity", "show", PHONE, "--json")).out)
    assert [merge["undone_at"] is not None for merge in told["conversations"][0]["merges"]] == [
        True
    ]
    nobody = await call("identity", "undo", "7", "--json")
    assert (nobody.code, orjson.loads(nobody.out)) == (BAD, {"outcome": "unknown", "first": None})


async def test_a_lead_is_linked_to_whoever_has_that_phone_or_will_have_it(
    store: Desk, call: Configured
) -> None:
    await store.deliver(said("Hola"))
    linked = await call("identity", "link", PHONE, "--lead", "L-7", "--json")
    assert linked.code == WELL
    assert orjson.loads(linked.out) == {
        "outcome": "led",
        "conversation": 1,
        "merge": None,
        "reason": "",
    }
    assert await store.value("SELECT canonical_key FROM conversation") == "lead:hotel:L-7"
    new = await call("identity", "link", "7000 0002", "--lead", "L-8")
    assert (new.code, new.out) == (WELL, "Both lead to one conversation.\n")
    await store.deliver(said("Buenas", addresses=(Address("phone", "+50370000002"),)))
    assert await store.value("SELECT count(*) FROM conversation") == 2


async def test_who_is_not_known_is_told_so(store: Desk, call: Configured) -> None:
    assert store.failures == []
    shown = await call("identity", "show", "US.1")
    assert (shown.code, shown.out) == (BAD, "Nobody is known under US.1.\n")
    assert (
        "nobody is known under US.1 at hotel"
        in (await call("identity", "link", "US.1", "7000 0001")).line
    )
    assert (
        "give either another address, or --lead"
        in (await call("identity", "link", "7000 0001")).line
    )
