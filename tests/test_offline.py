"""The offline assistant says what it was told."""

from relevo.ai_conversations import AiConversation
from relevo.events import AnswerFailure, Finding
from relevo.offline import MODEL, OfflineAssistant
from relevo.outcomes import Answer, NoAnswer, Prompt

ASSISTANT = OfflineAssistant()


async def test_it_says_how_many_messages_it_got_the_verdict_and_what_was_missed() -> None:
    missed = ("agent: The pool opens at 8", "customer: And for children?")
    prompt = Prompt(items=(), message_count=2, verdict="gap", missed=missed)

    answer = await ASSISTANT.answer(None, prompt)

    assert answer == Answer(
        text=(
            "I got 2 messages (verdict: gap).\n"
            "I was told 2 messages that I had missed:\n"
            "- agent: The pool opens at 8\n"
            "- customer: And for children?"
        ),
        model=MODEL,
    )


async def test_it_says_that_it_missed_nothing() -> None:
    prompt = Prompt(items=(), message_count=1, verdict="first_contact")

    answer = await ASSISTANT.answer(None, prompt)

    assert isinstance(answer, Answer)
    assert answer.text == "I got 1 message (verdict: first_contact).\nI missed nothing."


async def test_one_missed_message_is_told_in_the_singular() -> None:
    prompt = Prompt(items=(), message_count=1, verdict="none", missed=("automation: Welcome",))

    answer = await ASSISTANT.answer(None, prompt)

    assert isinstance(answer, Answer)
    assert "I was told 1 message that I had missed:\n- automation: Welcome" in answer.text


async def test_the_same_prompt_gives_the_same_answer() -> None:
    prompt = Prompt(items=(), message_count=3, verdict="gap", missed=("agent: hi",))

    first = await ASSISTANT.answer(None, prompt)
    again = await ASSISTANT.answer("conv_x", prompt)

    assert first == again


async def test_it_keeps_no_conversation() -> None:
    none = NoAnswer(AnswerFailure.PERMANENT, "keeps_no_conversation")

    assert await ASSISTANT.ensure() == none
    assert await ASSISTANT.seed(AiConversation("conv_1"), Prompt(items=())) == none
    assert await ASSISTANT.erase("conv_1") == none


async def test_it_stores_nothing_that_could_be_found_again() -> None:
    assert await ASSISTANT.reconcile("conv_1", Prompt(items=())) is Finding.NOT_STORED
