"""Keys of the API in the store: made, found, used, revoked; and answers that are kept for a day."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from relevo import keys
from relevo.errors import StoreUnavailableError
from relevo.keys import CHANCE_BYTES, ID_BYTES, SECRET_BYTES, Scope
from relevo.store.api_access import ApiAccess
from relevo.store.api_keys import LIVING_MAX, Kept, NewKey, Refusal, create, listed, revoke
from relevo.store.embedded import DatabaseUrls
from relevo.store.means import Means
from tests.fakes.clock import ManualClock
from tests.store_rig import BUSINESS, NOON, Desk, desk

pytestmark = pytest.mark.postgres

A_DAY = timedelta(days=1)
A_SECOND = timedelta(seconds=1)


class Counter:
    """Chance that is none: every key is another."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self) -> bytes:
        self._number += 1
        return self._number.to_bytes(ID_BYTES) + self._number.to_bytes(SECRET_BYTES)


def access_of(store: Desk, clock: ManualClock) -> ApiAccess:
    return ApiAccess(Means(store.pools, store.tasks, clock, store))


class Office:
    """Where keys are made, of a business and another."""

    def __init__(self, store: Desk, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.access = access_of(store, clock)
        self.chance = Counter()

    async def make(self, name: str, business_id: str = BUSINESS) -> tuple[str, Refusal | None]:
        now = self.clock.now()
        new = NewKey(name, [Scope.SEND, Scope.READ, Scope.READ], now + A_DAY)
        return await create(self.store.pools, business_id, new, self.chance(), now)

    async def revoke(self, text: str, business_id: str = BUSINESS) -> bool:
        key_id = keys.id_of(text)
        assert key_id is not None
        return await revoke(self.store.pools, business_id, key_id, self.clock.now())

    async def whose(self, *texts: str) -> list[str | None]:
        found = await asyncio.gather(*map(self.access.caller, texts))
        return [None if caller is None else caller.business_id for caller in found]

    async def working(self) -> list[str]:
        pools, now = self.store.pools, self.clock.now()
        return [kept.name for kept in await listed(pools, BUSINESS, 50, working_at=now)]


@pytest.fixture
async def office(database: DatabaseUrls) -> AsyncIterator[Office]:
    clock = ManualClock(NOON)
    async with desk(database, clock) as store:
        yield Office(store, clock)


async def test_a_key_lets_its_business_in_and_what_looks_like_it_nobody(office: Office) -> None:
    text, refusal = await office.make("console")
    assert refusal is None
    caller = await office.access.caller(text)
    assert caller is not None
    assert (caller.business_id, caller.key_id) == (BUSINESS, keys.id_of(text))
    assert caller.scopes == {Scope.READ, Scope.SEND}
    bakery, _ = await office.make("console", "bakery")
    stranger = keys.made_of(office.chance())[1]
    forged = stranger.replace(str(keys.id_of(stranger)), caller.key_id, 1)
    nobody = ["", "Hola", stranger, forged, text + "0", text[:-1] + "é"]
    assert await office.whose(bakery, *nobody, text) == ["bakery", *[None] * 6, BUSINESS]
    rows = await office.store.value("SELECT string_agg(api_key::text, ' ') FROM api_key")
    assert not [key for key in (text, bakery) if key.rpartition("_")[2] in rows]


async def test_a_key_works_until_it_is_revoked_or_its_time_is_over(office: Office) -> None:
    first, second = [(await office.make("console"))[0] for _ in range(2)]
    # Two of a name, so that one can replace the other; then no third.
    assert await office.make("console") == ("", Refusal.TWO_OF_NAME)
    assert not await office.revoke(first, "bakery")
    assert await office.revoke(first)
    assert await office.whose(first, second) == [None, BUSINESS]
    third, _ = await office.make("console")
    office.clock.advance_to(NOON + A_DAY - A_SECOND)
    assert await office.whose(second, third) == [BUSINESS, BUSINESS]
    assert await office.working() == ["console", "console"]
    office.clock.advance_to(NOON + A_DAY)
    assert await office.whose(second, third) == [None, None]
    assert await office.working() == []
    assert len(await listed(office.store.pools, BUSINESS, 50, working_at=None)) == 3


async def test_so_many_keys_of_one_business_and_no_more(database: DatabaseUrls) -> None:
    chance = Counter()
    async with desk(database) as store:

        async def made(number: int) -> Refusal | None:
            new = NewKey(f"key {number // 2}", [Scope.READ], None)
            return (await create(store.pools, BUSINESS, new, chance(), NOON))[1]

        refusals = await asyncio.gather(*(made(number) for number in range(LIVING_MAX + 3)))
        assert sorted(map(str, refusals)) == ["None"] * LIVING_MAX + [Refusal.TOO_MANY] * 3


async def test_the_use_of_a_key_is_noted_once_a_minute(database: DatabaseUrls) -> None:
    clock = ManualClock(NOON)
    async with desk(database, clock) as store:
        new = NewKey("console", [Scope.READ], None)
        text, _ = await create(store.pools, BUSINESS, new, bytes(CHANCE_BYTES), NOON)
        one, other = access_of(store, clock), access_of(store, clock)

        async def last_used(access: ApiAccess) -> float | None:
            assert await access.caller(text) is not None
            [kept] = await listed(store.pools, BUSINESS, 50, working_at=None)
            assert kept.last_used_at is not None
            return (kept.last_used_at - NOON).total_seconds()

        assert await last_used(one) == 0
        clock.advance_to(NOON + 59 * A_SECOND)
        assert await last_used(one) == await last_used(other) == 0
        clock.advance_to(NOON + 60 * A_SECOND)
        assert await last_used(one) == 60
        clock.advance_to(NOON + 120 * A_SECOND)
        connections = store.pools.app.get_size()
        await asyncio.gather(*(one.caller(text) for _ in range(50)))
        assert (store.pools.app.get_size(), await last_used(one)) == (connections, 120)
        assert not [name for name in Kept.__slots__ if "hash" in name]


async def test_an_answer_is_kept_for_a_day_and_two_requests_at_once_are_one(
    database: DatabaseUrls,
) -> None:
    clock = ManualClock(NOON)
    async with desk(database, clock) as store:
        access = access_of(store, clock)

        async def asked(request: bytes, business_id: str = BUSINESS) -> bytes:
            async with access.writing(business_id) as transaction:
                known = await access.claim(transaction, business_id, "k1", request)
                if known is not None:
                    assert known[:2] == (b"first", 202)
                    return known[2]
                await access.keep(transaction, business_id, "k1", (202, b"of " + request))
                return b"done"

        with pytest.raises(RuntimeError):
            async with access.writing(BUSINESS) as transaction:
                assert await access.claim(transaction, BUSINESS, "k1", b"failed") is None
                raise RuntimeError
        found = await asyncio.gather(*(asked(b"first") for _ in range(5)))
        assert sorted(found) == [b"done", *[b"of first"] * 4]
        assert await asked(b"other") == b"of first"
        await store.rows("INSERT INTO business VALUES ('bakery')")
        assert await asked(b"first", "bakery") == b"done"
        clock.advance_to(NOON + A_DAY)
        await access.forget()
        assert await asked(b"first") == b"of first"
        clock.advance_to(NOON + A_DAY + A_SECOND)
        # Its time is over, whether or not the chore has come by.
        assert await asked(b"late") == b"done"
        await access.forget()
        assert [
            tuple(row) for row in await store.rows("SELECT business_id, request FROM idempotency")
        ] == [(BUSINESS, b"late")]


async def test_a_request_that_others_came_between_may_be_asked_again(office: Office) -> None:
    gone = asyncpg.ForeignKeyViolationError("gone")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with office.access.writing(BUSINESS):
            raise gone
    for disturbed in (asyncpg.DeadlockDetectedError("x"), asyncpg.SerializationError("x")):
        with pytest.raises(StoreUnavailableError):
            async with office.access.writing(BUSINESS):
                raise disturbed
