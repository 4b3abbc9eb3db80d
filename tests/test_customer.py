"""The customer: step, commit, then act; and what it does when a commit or its memory is not good.

All of it through the supervisor, with rows in memory: `hotel.trace` is the order of what happened.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import pytest_asyncio

from relevo.actors.customer import LOST_RACES_MAX
from relevo.errors import StoreUnavailableError
from relevo.messages import Author, HistoryItem
from relevo.outcomes import History
from relevo.turns import PartState, RecallStatus
from relevo.writes import Writes
from tests.actors_outside import QUIET_SECONDS, RULES, closed
from tests.actors_rig import START, Hotel

STEP = ["committing", "committed"]
LOST = ["committing", "lost", "load"]


@pytest_asyncio.fixture
async def hotel() -> AsyncIterator[Hotel]:
    async with Hotel() as hotel:
        yield hotel


def once(hotel: Hotel, happens: Callable[[Writes], object], nth: int = 1) -> None:
    """Have something happen while the nth commit from now on is under way."""
    seen = 0

    def before(writes: Writes) -> None:
        nonlocal seen
        seen += 1
        if seen == nth:
            happens(writes)

    hotel.book.before_commit = before


def loses_always(hotel: Hotel) -> None:
    def before(_: Writes) -> None:
        hotel.outside.says("¿quién?", author=Author.UNKNOWN)

    hotel.book.before_commit = before


def outcomes(hotel: Hotel) -> list[str]:
    return [str(turn.outcome) for turn in hotel.probe.turns]


async def test_every_step_is_committed_before_anything_is_done(hotel: Hotel) -> None:
    hotel.customer("Hola")
    await hotel.advance(QUIET_SECONDS)
    assert hotel.trace == ["load", *STEP, "ask", *STEP, "send", *STEP]
    assert outcomes(hotel) == ["answered"]


async def test_gathering_commits_nothing(hotel: Hotel) -> None:
    for _ in range(3):
        hotel.customer("Hola")
        await hotel.advance(QUIET_SECONDS - 1)
    assert hotel.trace == ["load"] * 3


async def test_a_flood_does_not_keep_a_burst_open_for_ever(hotel: Hotel) -> None:
    def writes_again() -> int:
        """Write whenever anything is read."""
        hotel.customer("¿Hola?")
        return 1

    hotel.journal.loading.passes = writes_again
    hotel.customer("Hola")
    await hotel.advance(RULES.gather_max_seconds)
    assert len(hotel.ai.questions) == 1


async def test_nothing_is_done_while_a_commit_is_under_way(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    async with closed(hotel.journal.committing):
        await hotel.advance(QUIET_SECONDS)
        assert hotel.trace == ["load", "committing"]
    await hotel.quiet()
    assert hotel.line.sent == ["Reply 1"]
    assert hotel.parts(key) == [PartState.ACCEPTED]


async def test_nothing_is_sent_when_the_commit_is_lost_to_a_colleague(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    once(hotel, lambda _: hotel.outside.says("Yo le ayudo", author=Author.AGENT), nth=2)
    await hotel.advance(QUIET_SECONDS)
    assert hotel.trace == ["load", *STEP, "ask", *LOST, *STEP]
    assert hotel.line.sent == []
    assert outcomes(hotel) == ["answered_by_human"]
    assert hotel.probe.lost == 1
    assert hotel.parts(key) == []


async def test_after_a_lost_race_the_rows_are_stepped_and_then_the_event_in_hand(
    hotel: Hotel,
) -> None:
    key = hotel.customer("Hola")
    once(hotel, lambda _: hotel.outside.says("¿quién?", author=Author.UNKNOWN), nth=2)
    await hotel.advance(QUIET_SECONDS)
    assert hotel.trace == ["load", *STEP, "ask", *LOST, *STEP, "send", *STEP]
    assert hotel.line.sent == ["Reply 1"], "the answer in hand was not asked for again"
    assert outcomes(hotel) == ["answered"]
    assert hotel.state_of(key) == "answered"


async def test_a_step_that_loses_again_starts_again(hotel: Hotel) -> None:
    hotel.customer("Hola")
    lost = 0

    def before(_: Writes) -> None:
        nonlocal lost
        if hotel.ai.questions and lost < 5:
            lost += 1
            hotel.outside.says("¿quién?", author=Author.UNKNOWN)

    hotel.book.before_commit = before
    await hotel.advance(QUIET_SECONDS)
    assert hotel.probe.lost == 5
    assert len(hotel.ai.questions) == 1
    assert hotel.line.sent == ["Reply 1"]


async def test_a_step_that_loses_every_race_is_a_bug_and_ends_the_actor(hotel: Hotel) -> None:
    hotel.customer("Hola")
    loses_always(hotel)
    await hotel.advance(QUIET_SECONDS)
    assert hotel.probe.lost == LOST_RACES_MAX + 1
    assert hotel.probe.restarts == 1
    hotel.book.before_commit = lambda _: None
    await hotel.advance(60)
    assert hotel.line.sent == ["Reply 1"]


async def test_rows_that_were_looked_at_do_not_come_back_after_newer_ones(hotel: Hotel) -> None:
    hotel.customer("Hola")
    await hotel.advance(3600)

    def meanwhile(_: Writes) -> None:
        hotel.outside.says("¿quién?", author=Author.UNKNOWN)
        hotel.outside.says("¿Siguen ahí?")

    once(hotel, meanwhile)
    hotel.customer("Hola?", event_at=START - timedelta(seconds=1))  # late: context, by a commit
    await hotel.advance(QUIET_SECONDS)
    assert hotel.probe.lost == 1
    assert hotel.line.sent == ["Reply 1", "Reply 2"], "nobody was woken for the newer ones"


@pytest.mark.parametrize("known_as", ["key-2", "another id"])
async def test_what_is_stored_while_a_recall_is_being_stored_is_stored_once(
    hotel: Hotel, known_as: str
) -> None:
    hotel.outside.configured.own_rules = replace(RULES, first_contact_lookback_seconds=3600)
    key = hotel.customer("Hola")

    def meanwhile(_: Writes) -> None:
        hotel.outside.says("¿Hay cupo?")
        hotel.outside.says("¿quién?", author=Author.UNKNOWN)

    async with closed(hotel.line.recalling):
        await hotel.advance(QUIET_SECONDS)
        item = HistoryItem(0, Author.CUSTOMER, "text", "¿Hay cupo?", hotel.clock.now(), (known_as,))
        hotel.line.story = History(RecallStatus.COMPLETE, (item,))
        once(hotel, meanwhile)
    await hotel.quiet()
    assert hotel.probe.lost == 1
    assert hotel.probe.restarts == 0
    said = [message.body for message in hotel.book.thread(key).messages.values()]
    assert said.count("¿Hay cupo?") == 1


async def test_an_unknown_commit_that_was_stored_is_not_made_twice(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    hotel.line.sending.closed = True
    await hotel.advance(QUIET_SECONDS)
    hotel.journal.answers_lost = 1
    hotel.line.sending.open()
    await hotel.quiet()
    assert hotel.line.sent == ["Reply 1"]
    assert hotel.parts(key) == [PartState.ACCEPTED]
    assert hotel.state_of(key) == "answered"
    assert hotel.trace[-3:] == ["send", "committing", "load"]


async def test_an_unknown_commit_of_an_answer_sends_nothing_that_may_have_left(
    hotel: Hotel,
) -> None:
    key = hotel.customer("Hola")
    async with closed(hotel.ai.answering):
        await hotel.advance(QUIET_SECONDS)
        hotel.journal.answers_lost = 1
    await hotel.quiet()
    assert hotel.line.sent == []
    assert hotel.parts(key) == [PartState.UNKNOWN], "looked for before it is sent"
    await hotel.advance(60)
    assert len(hotel.line.asked) >= 1
    assert hotel.line.sent == ["Reply 1"]
    assert hotel.state_of(key) == "answered"


async def test_an_unknown_commit_that_was_not_stored_is_made_again(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    hotel.ai.answering.closed = True
    await hotel.advance(QUIET_SECONDS)
    async with closed(hotel.journal.committing) as committing:
        hotel.ai.answering.open()
        await hotel.reaches(committing)
        hotel.outside.store_goes()
    await hotel.advance(20)
    assert hotel.line.sent == []
    assert len(hotel.journal.loads) <= 12, "asked less often, the longer the store is away"
    hotel.outside.store_comes_back()
    await hotel.advance(5)
    assert hotel.line.sent == ["Reply 1"]
    assert len(hotel.ai.questions) == 1
    assert hotel.state_of(key) == "answered"


async def test_a_store_that_is_read_but_not_written_loses_no_races(hotel: Hotel) -> None:
    hotel.customer("Hola")
    hotel.journal.committing.failure = StoreUnavailableError("the disk is full")
    await hotel.advance(QUIET_SECONDS + 300)
    assert hotel.probe.restarts == hotel.probe.lost == 0
    assert len(hotel.journal.loads) <= 70, "asked less often, the longer it lasts"
    hotel.journal.committing.failure = None
    await hotel.advance(5)
    assert hotel.line.sent == ["Reply 1"]


@pytest.mark.parametrize("seconds", [6, 18, 25])
async def test_a_reply_whose_commit_was_slow_is_sent_once_and_by_a_new_commit(
    hotel: Hotel, seconds: float
) -> None:
    key = hotel.customer("Hola")
    async with closed(hotel.ai.answering):
        await hotel.advance(QUIET_SECONDS)
    hotel.journal.committing.closed = True
    await hotel.reaches(hotel.journal.committing)
    await hotel.advance(seconds)
    hotel.line.sending.closed = True
    hotel.journal.committing.open()
    await hotel.advance(15)  # what a provider may take for a send
    hotel.line.sending.open()
    await hotel.advance(60)
    assert hotel.line.sent == ["Reply 1"], "one that starts late is under way past its deadline"
    [part] = hotel.book.thread(key).parts.values()
    assert part.attempt == 2
    assert hotel.state_of(key) == "answered"


async def test_rows_read_before_a_commit_are_read_again_after_it(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    hotel.line.sending.closed = True
    await hotel.advance(QUIET_SECONDS)
    hotel.journal.loading.closed = True
    hotel.customer("¿Siguen ahí?")
    await hotel.reaches(hotel.journal.loading)
    hotel.line.sending.open()
    await hotel.quiet()
    assert hotel.state_of(key) == "answered"
    reads = len(hotel.journal.loads)
    hotel.journal.loading.open()
    await hotel.quiet()
    assert len(hotel.journal.loads) == reads + 1
    await hotel.advance(QUIET_SECONDS)
    assert hotel.line.sent == ["Reply 1", "Reply 2"]


async def test_a_version_that_ingest_raised_is_taken_up_and_what_runs_goes_on(
    hotel: Hotel,
) -> None:
    hotel.customer("Hola")
    async with closed(hotel.ai.answering):
        await hotel.advance(QUIET_SECONDS)
        hotel.outside.says("¿quién?", author=Author.UNKNOWN)
        hotel.customer("¿Y bien?")
        await hotel.quiet()
        assert hotel.probe.effects == []
    await hotel.quiet()
    assert hotel.trace == ["load", *STEP, "ask", "load", *STEP, "send", *STEP]
    assert hotel.probe.lost == 0
    assert hotel.line.sent == ["Reply 1"]


async def test_a_colleague_stops_the_question_that_is_under_way(hotel: Hotel) -> None:
    hotel.customer("Hola")
    async with closed(hotel.ai.answering):
        await hotel.advance(QUIET_SECONDS)
        hotel.agent("Yo le ayudo")
        await hotel.quiet()
        assert hotel.probe.effects == [("Ask", "cancelled")]
    await hotel.advance(60)
    assert outcomes(hotel) == ["answered_by_human"]
    assert hotel.line.sent == []


async def test_rows_that_another_process_acts_on_are_left_alone_and_looked_at_later(
    hotel: Hotel,
) -> None:
    key = hotel.customer("Hola")
    await hotel.advance(QUIET_SECONDS - 1)
    hotel.journal.fenced.add(key)
    hotel.agent("Yo le ayudo")
    await hotel.advance(30)
    assert STEP[0] not in hotel.trace
    assert 25 <= len(hotel.journal.loads) <= 40, "about once a second"
    hotel.journal.fenced.clear()
    await hotel.advance(2)
    assert outcomes(hotel) == ["answered_by_human"]


async def test_what_runs_for_fenced_rows_is_stopped(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    hotel.ai.answering.closed = True
    await hotel.advance(QUIET_SECONDS)
    hotel.journal.fenced.add(key)
    hotel.outside.says("¿quién?", author=Author.UNKNOWN)
    hotel.customer("¿Y bien?")
    await hotel.quiet()
    assert hotel.probe.effects == [("Ask", "cancelled")]
    assert hotel.supervisor.performer.in_flight == 0
    assert len(hotel.supervisor.alarms) == 0


async def test_many_looks_at_fenced_rows_are_one_look_a_second(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    hotel.journal.fenced.add(key)
    await hotel.quiet()
    for _ in range(50):
        hotel.customer("¿Hola?")
        await hotel.advance(0.1)
    before = len(hotel.journal.loads)
    await hotel.advance(10)
    assert len(hotel.journal.loads) - before <= 11
