"""What resolves a doubt about a send: echo, status or history; and what else a look tells."""

from relevo.events import SendFailure
from relevo.messages import Author, correlation_key
from relevo.states import Idle, Sending
from relevo.turns import PartState, RecallStatus
from tests.script import Script, at, item


def replying(*texts: str) -> Script:
    """A reply of these parts is stored, and its first part is on its way since 10:00:35."""
    story = Script()
    story.customer("Hola")
    return story.wait(35).answers(*texts).expect(state=Sending)


def in_doubt() -> Script:
    """Whether the one part was sent is not known; it was begun at 10:00:35."""
    story = replying("Hola!").wait(5)
    return story.refused(SendFailure.UNKNOWN, "timeout").expect(parts=["unknown"])


def test_an_echo_under_ids_of_its_own_ends_a_doubt() -> None:
    story = in_doubt()
    story.agent("Hola!", key="echo-1")
    story.expect(state=Idle, outcome="answered", parts=["accepted"], untold={})


def test_an_echo_that_names_our_id_ends_a_doubt() -> None:
    story = in_doubt()
    (part,) = story.thread.parts.values()
    story.agent("Hola! :)", key=correlation_key(part.correlation_id), aliases=("wamid.1",))
    story.restarts().expect(state=Idle, outcome="answered", parts=["accepted"])


def test_an_echo_that_came_first_outweighs_the_error_of_its_send() -> None:
    story = replying("Hola!")
    story.agent("Hola!", key="echo-1")
    story.expect(state=Sending, parts=["sending"])
    story.refused(SendFailure.NOT_SENT).expect(state=Idle, outcome="answered", parts=["accepted"])


def test_an_echo_that_came_first_saves_the_look_after_a_time_out() -> None:
    story = replying("Hola!")
    story.agent("Hola!", key="echo-1")
    story.wait(20).expect(state=Idle, outcome="answered", parts=["accepted"])


def test_the_echo_of_a_slow_send_is_still_known_as_ours() -> None:
    story = replying("Hola!").wait(15)
    story.agent("Hola!", key="echo-1", event_at="10:00:36")
    story.accepted().expect(state=Idle, outcome="answered", untold={})


def test_a_history_by_another_clock_still_proves_a_send() -> None:
    story = in_doubt().recalled(item("10:00:20", Author.AGENT, "Hola!", "h1"))
    story.expect(state=Idle, outcome="answered", parts=["accepted"])


def test_a_colleague_whom_only_the_look_has_shown_stands_before_a_second_send() -> None:
    story = in_doubt().wait(15)
    story.recalled(item("10:00:50", Author.AGENT, "Ya le atiendo", "h1"), known_to="10:01:00")
    story.expect(state=Idle, outcome="answered_by_human", parts=["cancelled"])
    story.expect(untold={"Hola": "context", "Ya le atiendo": "context"})


def test_what_a_look_tells_besides_is_told_with_the_next_turn() -> None:
    story = in_doubt()
    others = item("10:00:10", Author.AUTOMATION, "Promo", "h2")
    story.recalled(others, item("10:00:36", Author.AGENT, "Hola!", "h1"))
    story.expect(state=Idle, outcome="answered", untold={"Promo": "context"})


def test_a_doubt_that_nobody_can_resolve_still_ends() -> None:
    story = in_doubt()
    story.now = at("10:03:00")
    story.recalled(status=RecallStatus.FAILED).expect(parts=["sending"])
    story.refused(SendFailure.UNKNOWN, "timeout")
    story.now = at("10:06:00")
    story.recalled(status=RecallStatus.FAILED)
    story.expect(state=Idle, outcome="failed", reason="send_unknown", parts=[str(PartState.DEAD)])


def test_an_echo_by_the_assistants_own_account_ends_a_doubt_too() -> None:
    story = in_doubt()
    story.echo("Hola!", key="echo-1")
    story.expect(state=Idle, outcome="answered", parts=["accepted"], untold={})


def test_an_echo_of_a_reply_that_has_ended_becomes_one_with_it() -> None:
    story = replying("Hola!").accepted().wait(2)
    story.echo("Hola!", key="echo-1")
    story.expect(untold={})
    assert [m.body for m in story.thread.messages.values()] == ["Hola", "Hola!"]


def test_what_the_assistants_account_says_by_itself_is_kept_and_not_told() -> None:
    story = replying("Hola!").accepted().wait(2)
    story.echo("Gracias por su compra", key="echo-1")
    story.expect(state=Idle, untold={})
    assert len(story.thread.messages) == 3


def test_a_colleague_whom_a_look_has_shown_cancels_the_parts_that_have_not_left() -> None:
    story = replying("uno", "dos").wait(5)
    story.refused(SendFailure.UNKNOWN, "timeout")
    story.recalled(item("10:00:38", Author.AGENT, "Ya le atiendo", "h1"))
    story.expect(state=Sending, parts=["unknown", "cancelled"])
