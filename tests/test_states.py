"""What a state wants, and what it takes from its messages."""

from relevo.effects import Ask, EnsureConversation, Recall, Send, WakeAt
from relevo.messages import Author
from relevo.people import burst, colleagues, split, unread
from relevo.states import current_part, own_messages
from relevo.turns import Marks, Rules
from tests.script import Script, at


def test_the_ai_is_asked_with_the_turn_the_missed_and_the_businesss_time_zone() -> None:
    story = Script(Rules(ai_conversations=True, timezone="America/El_Salvador"))
    story.agent("Le reservo la 12?", event_at="09:59:00")
    story.customer("Si")
    story.wait(35)
    assert story.wanted(EnsureConversation).key == ("ensure", 2, 1)
    story.ensured()
    ask = story.wanted(Ask)
    assert ask.key == ("ask", 2, 2)
    assert (ask.turn, ask.ai_conversation, ask.timezone) == (
        story.turn,
        "conv_1",
        "America/El_Salvador",
    )
    assert [m.body for m in (*ask.missed, *ask.messages)] == ["Le reservo la 12?", "Si"]


def test_effects_have_keys_that_name_the_turn_and_the_try() -> None:
    story = Script().clock("10:30:00")
    story.customer("Hola")
    assert story.wanted(WakeAt).key == ("wake", at("10:30:35"), True)
    story.wait(35)
    assert story.wanted(Recall).key == ("recall", 1, 1)
    story.recalled().answers("ok")
    part = story.wanted(Send).part
    assert story.wanted(Send).key == ("send", part.message_id, 1)
    assert current_part(()) is None


def test_the_messages_of_a_colleague_count_only_with_a_time() -> None:
    story = Script()
    story.customer("uno")
    story.agent("dos")
    rows = story.book.rows(story.key).untold
    assert [m.body for m in unread(rows)] == ["uno"]
    [seen] = colleagues(rows)
    assert (seen.body, seen.author, seen.inbound) == ("dos", Author.AGENT, False)
    assert colleagues(unread(rows)) == ()


def test_at_one_instant_the_order_of_arrival_decides_and_a_mark_does_not() -> None:
    story = Script()
    story.customer("antes", look=False)
    story.agent("ya", look=False)
    story.customer("despues")
    rows = story.book.rows(story.key).untold
    parted = burst(story.rules, story.conversation, rows)
    assert [m.body for m in parted.followed] == ["antes"]
    assert [m.body for m in parted.unanswered] == ["despues"]
    story.remembers(marks=Marks(last_agent_at=at("10:00:00")))
    customers = unread(rows)
    assert split(story.rules, story.conversation, customers, customers).followed == ()
    story.remembers(marks=Marks(last_agent_at=at("10:00:01")))
    assert split(story.rules, story.conversation, customers, customers).followed == customers


def test_a_turns_own_messages_are_those_it_names() -> None:
    story = Script()
    story.customer("uno")
    story.wait(35)
    story.customer("dos")
    assert [m.body for m in own_messages(story.state.untold, story.turn)] == ["uno"]
