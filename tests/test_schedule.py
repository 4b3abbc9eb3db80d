"""What was scheduled is queued when its time has come: once, in order, by whoever is there."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from relevo.errors import StoreUnavailableError
from relevo.messages import Author, Edit, Source
from relevo.outgoing import Draft, Refusal
from relevo.store.embedded import DatabaseUrls
from relevo.store.forgetting import forget
from relevo.store.outgoing import queue
from relevo.store.schedule import BATCH_MAX, QUEUED_MAX, Schedule
from tests.fakes.clock import settle, until
from tests.lives_on_rows import idle
from tests.merging_rig import link, part, two
from tests.outgoing_rig import SCHEDULED, asked, cancel, due, found, met, status
from tests.store_rig import BUSINESS, NOON, Desk, deadlocks, desk, within

pytestmark = pytest.mark.postgres

LATE_AFTER = timedelta(minutes=30)
SOON = NOON + timedelta(minutes=1)


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened_desk:
        yield opened_desk


class Keeping(Schedule):
    """The schedule of a desk, with what became of its sends in the order in which it did."""

    def __init__(self, store: Desk, *businesses: str) -> None:
        self.outcomes: list[str] = []
        late_after = dict.fromkeys(businesses or (BUSINESS,), LATE_AFTER)
        super().__init__(store.means, late_after, store.woken.append, self._note)

    def _note(self, outcome: str, sends: int) -> None:
        self.outcomes.append(f"{sends} {outcome}")


def at(text: str, minutes: float, author: Author = Author.AUTOMATION) -> Draft:
    return Draft(text, author, due_at=NOON + timedelta(minutes=minutes))


async def test_it_waits_and_then_is_due_as_written_before(store: Desk) -> None:
    key = await met(store)
    outgoing_id = await asked(store, key, at("Su visita es hoy", 60, Author.AGENT))
    kept = Keeping(store)
    assert await kept.look() == NOON + timedelta(hours=1)
    assert (await status(store, outgoing_id), await due(store, key)) == (("scheduled", ""), [])
    store.clock.advance_to(NOON + timedelta(hours=1))
    store.woken.clear()
    assert await kept.look() is None
    assert (await status(store, outgoing_id), store.woken) == (("queued", ""), [key])
    message = (await store.journal.load([key]))[key].untold[-1]
    assert (message.source, message.author) == (Source.SCHEDULE, Author.AGENT)
    assert message.event_at == NOON + timedelta(hours=1)
    assert kept.outcomes == ["1 queued"]


async def test_they_are_due_in_the_order_of_their_times_whoever_asked_first(store: Desk) -> None:
    key = await met(store)
    for text, minutes in (("tres", 3), ("uno", 1), ("dos", 2), ("luego", 60)):
        await asked(store, key, at(text, minutes))
    store.clock.advance_to(NOON + timedelta(minutes=5))
    assert await Keeping(store).look() == NOON + timedelta(hours=1)
    assert await due(store, key) == ["uno", "dos", "tres"]


async def test_one_that_is_cancelled_is_never_said(store: Desk) -> None:
    key = await met(store)
    outgoing_id = await asked(store, key, at("Luego", 60))
    assert await cancel(store, outgoing_id) is None
    assert await status(store, outgoing_id) == ("cancelled", "")
    store.clock.advance_to(NOON + timedelta(hours=1))
    assert await Keeping(store).look() is None
    assert await due(store, key) == []
    assert await cancel(store, outgoing_id) is Refusal.NOT_SCHEDULED
    said_now = await asked(store, key, Draft("Ahora", Author.AGENT, "Ana"))
    assert await cancel(store, said_now) is Refusal.NOT_SCHEDULED
    assert await cancel(store, 999) is Refusal.UNKNOWN


async def test_what_nobody_was_there_to_say_in_time_is_refused(store: Desk) -> None:
    key, kept = await met(store), Keeping(store)
    too_late = await asked(store, key, at("Buenos dias", 60))
    just_in_time = await asked(store, key, at("Buenas", 61))
    store.clock.advance_to(NOON + timedelta(minutes=61) + LATE_AFTER)
    await kept.look()
    assert await status(store, too_late) == ("refused", "too_late")
    assert await status(store, just_in_time) == ("queued", "")
    assert sorted(kept.outcomes) == ["1 queued", "1 too_late"]


async def test_who_is_reached_nowhere_any_more_is_sent_nothing(store: Desk) -> None:
    key = await met(store)
    outgoing_id = await asked(store, key, at("Luego", 60))
    for table in ("untold", "message_key", "message"):
        await store.rows(f"DELETE FROM {table}")
    store.clock.advance_to(NOON + timedelta(minutes=60))
    await Keeping(store).look()
    assert await status(store, outgoing_id) == ("refused", "nowhere")


async def test_no_campaign_keeps_another_business_waiting_nor_fills_the_database(
    store: Desk,
) -> None:
    key = await met(store)
    campaign = (BUSINESS, key.conversation_id, NOON, QUEUED_MAX + 1)
    await store.rows(SCHEDULED, *campaign)
    await store.rows("INSERT INTO business VALUES ('bakery')")
    row = await store.value(
        "INSERT INTO conversation (business_id, canonical_key, created_at)"
        " VALUES ('bakery', 'phone:bakery:+50370000009', $1) RETURNING id",
        NOON,
    )
    await store.rows(SCHEDULED, "bakery", row, NOON + timedelta(seconds=1), 1)
    store.clock.advance_to(SOON)
    kept = Keeping(store, BUSINESS, "bakery")
    await kept.look()
    assert kept.outcomes[:3] == [f"{BATCH_MAX} queued", "1 nowhere", f"{BATCH_MAX} queued"]
    assert len(await due(store, key)) == QUEUED_MAX
    await store.rows("DELETE FROM untold WHERE state = 'due'")  # they have left
    await kept.look()
    assert await due(store, key) == [f"Oferta {QUEUED_MAX + 1}"]


async def test_two_processes_never_queue_one_twice_and_lock_nobody_out(
    database: DatabaseUrls,
) -> None:
    async with desk(database) as one, desk(database) as two:
        keys = [await met(one, number) for number in range(1, 21)]
        for key in reversed(keys):
            await one.rows(SCHEDULED, BUSINESS, key.conversation_id, NOON, 20)
        for each in (one, two):
            each.clock.advance_to(SOON)
        schedules = [Keeping(each) for each in (one, two)]
        looks = [kept.look() for kept in schedules for _ in range(3)]
        asks = [asked(two, key, Draft("Ahora", Author.AGENT, "Ana"), SOON) for key in keys]
        await asyncio.gather(*looks, *asks)
        await schedules[0].look()  # what somebody else was at work in
        wanted = {f"Oferta {n}" for n in range(1, 21)} | {"Ahora"}
        for key in keys:
            said = await due(one, key)
            assert (len(said), set(said)) == (21, wanted)
            offers = [text for text in said if text != "Ahora"]
            assert offers == sorted(offers, key=lambda text: int(text.split()[1]))
    assert await deadlocks(database) == 0


async def test_who_is_being_worked_on_is_left_for_the_next_look(store: Desk) -> None:
    key, other = await met(store, 1), await met(store, 2)
    both = [await asked(store, whose, at("Luego", 1)) for whose in (key, other)]
    store.clock.advance_to(SOON)
    kept = Keeping(store)
    async with store.pools.tenant(BUSINESS) as connection:
        await connection.execute("SELECT FROM conversation WHERE id = $1 FOR UPDATE", key[1])
        await kept.look()
        assert (await due(store, key), await due(store, other)) == ([], ["Luego"])
    await kept.look()
    assert await due(store, key) == ["Luego"]
    # Who had seen them before that takes nothing any more.
    again = await within(store.pools, queue, BUSINESS, both, SOON)
    assert again.outcomes == []
    assert await due(store, key) == ["Luego"]


class TestForEver:
    async def test_it_is_there_at_the_very_instant_also_of_what_came_meanwhile(
        self, store: Desk
    ) -> None:
        key, kept = await met(store), Keeping(store)
        store.tasks.spawn(kept.keep_for_ever(3600), "schedule")
        await until(lambda: kept.at_rest)
        for text, minutes in (("dos", 2), ("uno", 1), ("tres", 3)):
            await asked(store, key, at(text, minutes))
            kept.expect(NOON + timedelta(minutes=minutes))
            await until(lambda: kept.at_rest)
        for seconds, said in ((59, 0), (60, 1), (119, 1), (120, 2), (180, 3)):
            store.clock.advance_to(NOON + timedelta(seconds=seconds))
            await until(lambda: kept.at_rest)
            assert len(await due(store, key)) == said
        assert await due(store, key) == ["uno", "dos", "tres"]

    async def test_it_finds_what_other_processes_schedule(self, store: Desk) -> None:
        key, kept = await met(store), Keeping(store)
        store.tasks.spawn(kept.keep_for_ever(2), "schedule")
        await until(lambda: kept.at_rest)
        await asked(store, key, at("Luego", 1 / 60))
        store.clock.advance_to(NOON + timedelta(seconds=2))
        await until(lambda: kept.at_rest)
        assert await due(store, key) == ["Luego"]

    async def test_neither_an_absent_store_nor_a_bug_ends_it(self, store: Desk) -> None:
        bug = RuntimeError("a bug")
        unlucky = Unlucky(store, StoreUnavailableError("away"), bug)
        store.tasks.spawn(unlucky.keep_for_ever(2), "schedule")
        while unlucky.looks < 3:
            store.clock.advance_to(store.clock.now() + timedelta(seconds=2))
            await settle()
        assert store.failures == [bug]
        store.failures.clear()


class Unlucky(Keeping):
    """Fails now and then, in these ways."""

    def __init__(self, store: Desk, *failures: Exception) -> None:
        super().__init__(store)
        self.looks = 0
        self.failures = deque(failures)

    async def look(self) -> datetime | None:
        self.looks += 1
        if self.failures:
            raise self.failures.popleft()
        return await super().look()


async def test_it_follows_its_customer_through_a_merge_and_back(store: Desk) -> None:
    ana, other = await two(store, 1, (idle, idle))
    early, late = [await asked(store, await other.key(), at(text, 90)) for text in ("uno", "dos")]
    hers = await asked(store, await ana.key(), at("tres", 90))
    await other.says()
    await store.rows("UPDATE outgoing SET due_at = due_at + interval '1 day' WHERE id = $1", late)
    merged = await link(store, ana.address, other.address)
    edited = Edit("B1 1", Author.CUSTOMER, "otra cosa", NOON + timedelta(hours=1))
    await store.deliver(edited, after_seconds=3600)  # an edit is where nobody is reached
    store.clock.advance_to(NOON + timedelta(minutes=90))
    assert await Keeping(store).look() == NOON + timedelta(days=1, minutes=90)
    assert sorted(await due(store, await ana.key())) == ["tres", "uno"]

    # They were said to where the one person wrote last; so that is where they stay.
    await part(store, merged.merge_id)
    assert await due(store, await other.key()) == ["uno", "tres"]
    shown = {i: (await found(store, i)) for i in (early, late, hers)}
    his = (await other.key()).conversation_id
    assert {sent.conversation_id for sent in shown.values()} == {his}
    assert [shown[i].status for i in (early, late, hers)] == ["queued", "scheduled", "queued"]
    await other.lives_on()
    assert {"uno", "tres"} <= set(other.sent)
    await forget(store.pools, await other.key(), "SV", store.clock)
    assert await store.rows("SELECT FROM outgoing") == []
