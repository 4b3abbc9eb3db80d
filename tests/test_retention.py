"""Nothing is kept for longer than a business says, here or at the AI; what is left goes on."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from relevo.events import AnswerFailure
from relevo.messages import ConversationKey, Unusable
from relevo.outcomes import NoAnswer
from relevo.store.embedded import DatabaseUrls
from relevo.store.erasing import FAILED_IN_A_ROW_MAX, WAITS_SECONDS, Erased, erase_noted
from relevo.store.forgetting import Counts, forget
from relevo.store.inspection import audit
from relevo.store.means import Means
from relevo.store.retention import EVERY_SECONDS, Retention, cutoff, outlive
from tests.fakes.clock import until
from tests.house import House
from tests.lives_on_rows import idle
from tests.merging_rig import link, part, two
from tests.store_rig import BUSINESS, NOON, Desk, deadlocks, desk, phone, said
from tests.traces import traces

pytestmark = pytest.mark.postgres

PHONE, GONE = "50379990123", "50379990777"
WORDS, NEWS = "canario azul", "gorriones"
AWAY = NoAnswer(AnswerFailure.TRANSIENT, "http_503")


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(
        database, tmp_path, NOON, quiet_seconds=1, first_contact_lookback_seconds=0
    ) as house:
        yield house


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


async def says(house: House, phone: str, text: str) -> None:
    message = house.wati.customer_message(phone, text, house.clock.now())
    assert await house.post(message.webhook()) == 200
    await house.advance(500)


async def test_what_is_too_old_goes_and_the_ai_begins_anew_with_what_is_left(house: House) -> None:
    house.ai.answers.extend([WORDS, WORDS])
    for who in (PHONE, GONE):
        await says(house, who, WORDS)
    assert await house.post(f'{{"phone": "{PHONE}", "{WORDS}'.encode()) == 200
    await house.advance(7200)
    await says(house, PHONE, NEWS)
    assert WORDS in house.ai.holds()
    pools, before = house.relevo.database.pools, NOON + timedelta(hours=1)
    await house.rows("UPDATE conversation SET known_to = $1", NOON - timedelta(days=1))

    counts, whole = await outlive(pools, "hotel", before, house.clock.now())
    assert (counts["conversations"], counts["messages"], counts["turns"]) == (1, 4, 2)
    assert (counts["deliveries"], whole) == (1, True)
    assert await traces(house.urls, WORDS, GONE) == set()
    eraser = house.relevo.assistants["hotel"]
    assert (await erase_noted(pools, "hotel", eraser, house.clock)).left == 0
    assert WORDS not in house.ai.holds()
    assert (await house.audit()).sound
    again = await outlive(pools, "hotel", before, house.clock.now())
    assert again == (Counts(), True)

    await says(house, PHONE, "Sigo aqui")
    assert [t["outcome"] for t in await house.why(PHONE)] == ["answered", "answered"]
    [conversation] = house.ai.conversations.values()
    assert [item["content"] for item in conversation.items[:1]] == [NEWS], "seeded from our rows"
    assert await traces(house.urls, WORDS) == set(), "the provider was not asked for it again"
    assert (await house.audit()).sound


class Forgetful:
    """An AI that forgets, or is away."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failure: NoAnswer | None = None

    async def erase(self, kept: str) -> NoAnswer | None:
        self.asked.append(kept)
        return self.failure


async def test_once_an_hour_it_is_seen_to_and_an_ai_that_is_away_is_asked_again(
    store: Desk,
) -> None:
    ai = Forgetful()
    means = Means(store.pools, store.tasks, store.clock, store)
    days = {BUSINESS: 2, "bakery": 0}
    store.tasks.spawn(Retention(means, days, {BUSINESS: ai}).keep_for_ever(), "retention")
    await store.deliver(said("Hola"), Unusable("odd"), body=b"Hola")
    await store.rows("UPDATE conversation SET openai_conversation_id = 'conv_1'")
    assert cutoff(NOON, 2) == NOON.replace(day=28, month=2, hour=0)
    for days_later, left in ((1, 1), (2, 1)):
        store.clock.advance_to(NOON + timedelta(days=days_later))
        await until(lambda: store.clock.next_alarm_at is not None)
        assert await store.value("SELECT count(*) FROM message") == left

    ai.failure = AWAY
    store.clock.advance_to(NOON + timedelta(days=3))
    await until(lambda: ai.asked == ["conv_1"])
    assert await traces(store.urls, "Hola", "+503") == set()
    ai.failure = None
    await until(lambda: store.clock.next_alarm_at is not None)
    store.clock.advance_to(store.clock.now() + timedelta(seconds=EVERY_SECONDS))
    await until(lambda: ai.asked == ["conv_1", "conv_1"])
    assert [b.sound for b in await audit(store.urls.owner_url)] == [True]


async def test_what_fails_at_the_ai_is_tried_again_within_bounds(store: Desk) -> None:
    ai = Forgetful()
    note = (
        "INSERT INTO ai_erasure SELECT 'hotel', 'conv_' || n, now() FROM generate_series(1, 5) AS n"
    )
    await store.rows(note)
    ai.failure = NoAnswer(AnswerFailure.PERMANENT, "http_401")
    erased = await erase_noted(store.pools, BUSINESS, ai, store.clock, waits_seconds=WAITS_SECONDS)
    assert erased == Erased(0, 5, "http_401")
    assert len(ai.asked) == FAILED_IN_A_ROW_MAX, "what needs a person is not tried again"

    ai.failure = AWAY
    waiting = asyncio.gather(
        erase_noted(store.pools, BUSINESS, ai, store.clock, waits_seconds=WAITS_SECONDS)
    )
    for seconds in WAITS_SECONDS[:2]:
        await until(lambda: store.clock.next_alarm_at is not None)
        store.clock.advance_to(store.clock.now() + timedelta(seconds=seconds))
    ai.failure = None
    [erased] = await waiting
    assert erased == Erased(5, 0)


async def test_who_is_parted_since_is_not_asked_for_what_was_erased(store: Desk) -> None:
    ana, other = await two(store, 1, (idle, idle))
    merged = await link(store, ana.address, other.address)
    before = store.clock.now() + timedelta(minutes=1)
    store.clock.advance_to(before + timedelta(minutes=1))
    await other.says()
    counts, whole = await outlive(store.pools, BUSINESS, before, store.clock.now())
    assert (counts["messages"], whole) == (len((ana, other)) * 2, True)
    await part(store, merged.merge_id)
    for life in (ana, other):
        known_to = (await life.rows()).conversation.marks.known_to
        assert known_to is not None
        assert known_to > before


async def test_who_is_forgotten_while_he_writes_is_someone_new_and_nothing_is_lost(
    database: DatabaseUrls,
) -> None:
    async with desk(database) as store:
        for number in range(12):
            deliveries = [
                store.deliver(said(f"{number}.{n}", addresses=phone(n % 2), after_seconds=number))
                for n in range(6)
            ]
            known = await store.rows("SELECT id FROM conversation")
            keys = [ConversationKey(BUSINESS, row["id"]) for row in known]
            forgotten = [forget(store.pools, key, "SV", store.clock) for key in keys]
            receipts, _ = await asyncio.gather(
                asyncio.gather(*deliveries), asyncio.gather(*forgotten)
            )
            assert [(len(r.stored), r.quarantined) for r in receipts] == [(1, [])] * 6
        [balance] = await audit(database.owner_url)
        assert balance.sound
        assert balance.accepted == await store.value("SELECT count(*) FROM message")
    assert await deadlocks(database) == 0
