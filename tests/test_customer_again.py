"""The customer's former lives, and results that wait in its mailbox: nothing is done twice."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import pytest_asyncio

from relevo.events import AnswerFailure, SendFailure
from relevo.messages import Author, ConversationKey, HistoryItem
from relevo.outcomes import Accepted, Answer, History, NoAnswer, NotAccepted
from relevo.turns import PartState, RecallStatus
from relevo.writes import Writes
from tests.actors_outside import QUIET_SECONDS, RULES, Door, closed
from tests.actors_rig import Hotel, after_passes
from tests.fakes.clock import until


@pytest_asyncio.fixture
async def hotel() -> AsyncIterator[Hotel]:
    async with Hotel() as hotel:
        yield hotel


async def test_a_question_of_a_former_life_is_asked_anew_where_nothing_keeps_it(
    hotel: Hotel,
) -> None:
    key = hotel.customer("Hola")
    hotel.ai.answering.closed = True
    await hotel.advance(QUIET_SECONDS)
    await hotel.dies()
    assert hotel.state_of(key) == "answering"
    hotel.ai.answering.open()
    async with Hotel(hotel.outside) as next_life:
        await next_life.supervisor.take_over()
        await next_life.quiet()
    assert len(hotel.ai.questions) == 2
    assert hotel.line.sent == ["Reply 2"]


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_send_of_a_former_life_is_looked_for_before_anything_is_repeated(
    hotel: Hotel, *, arrived: bool
) -> None:
    key = hotel.customer("Hola")
    hotel.line.sending.closed = True
    await hotel.advance(QUIET_SECONDS)
    await hotel.dies()
    assert hotel.parts(key) == [PartState.SENDING]
    hotel.line.sending.open()
    if arrived:
        hotel.line.story = History(RecallStatus.COMPLETE, (sent_item(hotel, key),))
    async with Hotel(hotel.outside) as next_life:
        await next_life.supervisor.take_over()
        await next_life.advance(60)
    assert len(hotel.line.asked) >= 1
    assert len(hotel.line.sent) == (1 if arrived else 2)
    assert hotel.state_of(key) == "answered"


async def test_a_colleague_who_answered_meanwhile_comes_before_what_was_interrupted(
    hotel: Hotel,
) -> None:
    hotel.ai.answered = NoAnswer(AnswerFailure.UNKNOWN, "timeout")
    key = hotel.customer("Hola")
    await hotel.advance(QUIET_SECONDS + 1.25)
    hotel.ai.answering.closed = True
    await hotel.advance(2.5)
    assert len(hotel.ai.questions) == 3, "the last try"
    await hotel.dies()
    hotel.outside.says("Yo le ayudo", author=Author.AGENT)
    async with Hotel(hotel.outside) as next_life:
        await next_life.supervisor.take_over()
        await next_life.quiet()
    assert hotel.state_of(key) == "answered_by_human"
    assert hotel.book.open_dead_letters() == set()


async def test_a_recall_of_a_former_life_is_simply_asked_again(hotel: Hotel) -> None:
    hotel.outside.configured.own_rules = replace(RULES, first_contact_lookback_seconds=3600)
    key = hotel.customer("Hola")
    hotel.line.recalling.closed = True
    await hotel.advance(QUIET_SECONDS)
    await hotel.dies()
    assert hotel.state_of(key) == "recalling"
    hotel.line.recalling.open()
    async with Hotel(hotel.outside) as next_life:
        await next_life.supervisor.take_over()
        await next_life.quiet()
    assert len(hotel.line.asked) == 2
    assert hotel.line.sent == ["Reply 1"]


# A question of a former life has its whole time again, however long nobody was there.

AWAY_SECONDS = 130


async def lives_again_and_waits(hotel: Hotel, door: Door) -> None:
    """End a life while somebody waits at a door; another one begins late and waits there too."""
    await hotel.reaches(door)
    await hotel.dies()
    await hotel.advance(AWAY_SECONDS)
    async with Hotel(hotel.outside) as next_life:
        await next_life.supervisor.take_over()
        await next_life.advance(5)
        door.open()
        await next_life.advance(60)


async def test_an_interrupted_recall_is_not_overdue_when_it_is_asked_again(hotel: Hotel) -> None:
    hotel.outside.configured.own_rules = replace(RULES, first_contact_lookback_seconds=3600)
    hotel.customer("Hola")
    hotel.line.recalling.closed = True
    await hotel.advance(QUIET_SECONDS)
    await lives_again_and_waits(hotel, hotel.line.recalling)
    assert len(hotel.line.asked) == 2
    assert [turn.recall for turn in hotel.probe.turns] == [RecallStatus.COMPLETE]
    assert hotel.line.sent == ["Reply 1"]


async def test_an_interrupted_conversation_is_not_overdue_when_it_is_made_again(
    hotel: Hotel,
) -> None:
    hotel.outside.configured.own_rules = replace(RULES, ai_conversations=True)
    hotel.customer("Hola")
    hotel.ai.ensuring.closed = True
    await hotel.advance(QUIET_SECONDS)
    await lives_again_and_waits(hotel, hotel.ai.ensuring)
    assert hotel.ai.ensured == 2
    assert hotel.line.sent == ["Reply 1"]


async def test_an_interrupted_look_for_a_send_is_not_overdue_when_it_is_asked_again(
    hotel: Hotel,
) -> None:
    key = hotel.customer("Hola")
    hotel.line.outcome = NotAccepted(SendFailure.UNKNOWN, "timeout")
    hotel.line.recalling.closed = True
    await hotel.advance(QUIET_SECONDS)
    hotel.line.story = History(RecallStatus.COMPLETE, (sent_item(hotel, key),))
    await lives_again_and_waits(hotel, hotel.line.recalling)
    assert hotel.line.sent == ["Reply 1"], "it had arrived, and nobody sent it again unseen"
    assert hotel.state_of(key) == "answered"


# A result that waits in the mailbox: its effect is neither under way nor stepped.


@pytest.fixture(params=range(6))
def head_start(request: pytest.FixtureRequest) -> int:
    """How many turns of the loop a result is under way before rows are shown."""
    return int(request.param)


async def shown_and_told_at_once(
    hotel: Hotel, happens: Callable[[], object], head_start: int
) -> None:
    """Let rows come to the mailbox and a result right behind them, or before; commits take time."""
    hotel.journal.loading.closed = True
    hotel.customer("Otra cosa")
    await hotel.reaches(hotel.journal.loading)
    after_passes(head_start, hotel.journal.loading.open)
    happens()
    async with closed(hotel.journal.committing):
        await hotel.quiet()
    await hotel.quiet()


async def test_a_send_whose_result_waits_in_the_mailbox_is_not_sent_again(
    hotel: Hotel, head_start: int
) -> None:
    key = hotel.customer("Hola")
    hotel.line.sending.closed = True
    await hotel.advance(QUIET_SECONDS)
    await shown_and_told_at_once(hotel, hotel.line.sending.release, head_start)
    assert hotel.line.sent == ["Reply 1"]
    assert hotel.probe.effects[-1] == ("Send", "accepted")
    assert hotel.parts(key) == [PartState.ACCEPTED]


async def test_a_question_whose_answer_waits_in_the_mailbox_is_not_asked_again(
    hotel: Hotel, head_start: int
) -> None:
    hotel.customer("Hola")
    hotel.ai.answering.closed = True
    await hotel.advance(QUIET_SECONDS)
    await shown_and_told_at_once(hotel, hotel.ai.answering.release, head_start)
    assert len(hotel.ai.questions) == 1
    assert hotel.line.sent == ["Reply 1"]


async def test_a_recall_whose_result_waits_in_the_mailbox_is_not_asked_again(
    hotel: Hotel, head_start: int
) -> None:
    hotel.outside.configured.own_rules = replace(RULES, first_contact_lookback_seconds=3600)
    hotel.customer("Hola")
    hotel.line.recalling.closed = True
    await hotel.advance(QUIET_SECONDS)
    await shown_and_told_at_once(hotel, hotel.line.recalling.release, head_start)
    assert len(hotel.line.asked) == 1
    assert hotel.line.sent == ["Reply 1"]


async def test_a_conversation_whose_result_waits_in_the_mailbox_is_not_made_again(
    hotel: Hotel, head_start: int
) -> None:
    hotel.outside.configured.own_rules = replace(RULES, ai_conversations=True)
    hotel.customer("Hola")
    hotel.ai.ensuring.closed = True
    await hotel.advance(QUIET_SECONDS)
    await shown_and_told_at_once(hotel, hotel.ai.ensuring.release, head_start)
    assert hotel.ai.ensured == 1
    assert hotel.line.sent == ["Reply 1"]


async def test_a_failure_that_waits_in_the_mailbox_is_not_overtaken(
    hotel: Hotel, head_start: int
) -> None:
    key = hotel.customer("Hola")
    hotel.line.sending.closed = True
    await hotel.advance(QUIET_SECONDS)
    hotel.line.outcome = NotAccepted(SendFailure.NOT_SENT, "http_503")
    await shown_and_told_at_once(hotel, hotel.line.sending.release, head_start)
    assert hotel.line.sent == ["Reply 1"]
    assert hotel.parts(key) == [PartState.PENDING]
    hotel.line.outcome = Accepted()
    hotel.line.sending.open()
    await hotel.advance(2)
    assert hotel.line.sent == ["Reply 1", "Reply 1"]


async def test_a_result_that_waits_in_the_mailbox_is_not_called_interrupted(
    hotel: Hotel, head_start: int
) -> None:
    key = hotel.customer("Hola")
    hotel.line.sending.closed = True
    await hotel.advance(QUIET_SECONDS)
    hotel.outside.says("¿quién?", author=Author.UNKNOWN)
    await shown_and_told_at_once(hotel, hotel.line.sending.release, head_start)
    assert hotel.line.sent == ["Reply 1"]
    assert hotel.line.asked == [], "nothing was in doubt"
    assert hotel.parts(key) == [PartState.ACCEPTED]


async def test_a_result_for_fenced_rows_makes_no_second_look(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    hotel.line.sending.closed = True
    await hotel.advance(QUIET_SECONDS)
    hotel.journal.fenced.add(key)
    hotel.outside.says("¿quién?", author=Author.UNKNOWN)
    await shown_and_told_at_once(hotel, hotel.line.sending.release, 0)
    assert hotel.probe.effects[-1] == ("Send", "accepted")
    before = len(hotel.journal.loads)
    await hotel.advance(10)
    assert len(hotel.journal.loads) - before == 10


async def test_a_result_that_comes_while_the_rows_are_read_again_is_not_lost(
    hotel: Hotel,
) -> None:
    key = hotel.customer("Hola")
    hotel.ai.answered = Answer("uno " * 2000)
    hotel.line.sending.closed = True
    await hotel.advance(QUIET_SECONDS)
    lose_one_race(hotel)
    hotel.agent("Yo le ayudo")
    await until(lambda: hotel.probe.lost == 1)
    hotel.journal.loading.closed = True
    await hotel.reaches(hotel.journal.loading)
    hotel.line.sending.open()
    await hotel.quiet()
    assert hotel.probe.effects[-1] == ("Send", "accepted")
    assert hotel.parts(key) == [PartState.SENDING, PartState.PENDING]
    hotel.journal.loading.open()
    await hotel.quiet()
    assert hotel.parts(key) == [PartState.ACCEPTED, PartState.CANCELLED]
    assert len(hotel.line.sent) == 1
    assert hotel.line.asked == [], "nothing was in doubt"


# A result for an actor that has failed meanwhile.


async def test_a_result_outlives_the_actor_that_waited_for_it(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    hotel.line.sending.closed = True
    await hotel.advance(QUIET_SECONDS)
    hotel.journal.poisoned.add(key)
    hotel.customer("Otra cosa")
    await hotel.quiet()
    assert hotel.probe.restarts == 1
    hotel.line.sending.open()
    await hotel.quiet()
    hotel.journal.poisoned.clear()
    await hotel.advance(5)
    assert hotel.line.sent == ["Reply 1"]
    assert hotel.line.asked == [], "nothing was in doubt"
    assert hotel.parts(key) == [PartState.ACCEPTED]


async def test_a_result_outlives_the_mailbox_that_it_waited_in(hotel: Hotel) -> None:
    key = hotel.customer("Hola")
    hotel.ai.answering.closed = True
    await hotel.advance(QUIET_SECONDS)
    hotel.outside.says("¿quién?", author=Author.UNKNOWN)
    hotel.journal.poisoned.add(key)
    await shown_and_told_at_once(hotel, hotel.ai.answering.release, 1)
    assert hotel.probe.restarts == 1
    hotel.journal.poisoned.clear()
    await hotel.advance(5)
    assert len(hotel.ai.questions) == 1
    assert hotel.line.sent == ["Reply 1"]


def lose_one_race(hotel: Hotel) -> None:
    def before(_: Writes) -> None:
        if hotel.probe.lost == 0:
            hotel.outside.says("¿quién?", author=Author.UNKNOWN)

    hotel.book.before_commit = before


def sent_item(hotel: Hotel, key: ConversationKey) -> HistoryItem:
    """Return our reply as the provider's history tells it."""
    [part] = hotel.book.thread(key).parts.values()
    return HistoryItem(
        0, Author.ASSISTANT, "text", part.text, hotel.clock.now(), (f"local:{part.correlation_id}",)
    )
