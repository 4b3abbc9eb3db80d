"""A story that passes every commit and every effect, and what must have come of it in any case."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from relevo.prompt import split_reply
from tests.fakes.openai_faults import dropped
from tests.lives import Lives

STORY_SECONDS_MAX = 60
"""A send that never left is repeated 20 s after it should have left."""

PHONE = "50370000101"
ASKED_BEFORE = "¿Tienen habitación para el sábado?"
AGENT_SAID = "Sí, le guardo una con vista al lago."
FIRST = "Perfecto, ¿a qué hora puedo llegar?"
LATE = "Llegamos con un perro."
AGENT_ADDED = "El perro no paga."
SECOND = "¿Y qué incluye el desayuno?"
FIRST_REPLY = "Desde las tres de la tarde."
SECOND_REPLY = "\n\n".join(f"{day}. " + "Fruta, huevos, frijoles y café. " * 70 for day in "12")
REPLIES = {FIRST: FIRST_REPLY, SECOND: SECOND_REPLY}
SENT = [FIRST_REPLY, *split_reply(SECOND_REPLY)]
WHOLE = [ASKED_BEFORE, AGENT_SAID, FIRST, FIRST_REPLY, LATE, AGENT_ADDED, SECOND, SECOND_REPLY]


async def tell(lives: Lives) -> None:
    """A first contact whom an agent knows; a message that comes hours late; then, after a gap in
    which an agent wrote again, a second one. Its answer takes two parts, and is lost on its way to
    us at first.
    """
    lives.ai.before_answer = lambda body: reply(lives, body)
    now = lives.clock.now()

    def ago(seconds: float) -> Any:
        return now - timedelta(seconds=seconds)

    wati = lives.wati
    wati.customer_message(PHONE, ASKED_BEFORE, ago(3600))
    wati.agent_message(PHONE, AGENT_SAID, ago(3000), "Marta")
    first = wati.customer_message(PHONE, FIRST, ago(600))
    await lives.deliver(first.webhook())
    await lives.until(lambda: lives.ended(1), STORY_SECONDS_MAX)
    late = wati.customer_message(PHONE, LATE, ago(2400), hidden=True)
    await lives.deliver(late.webhook())
    await lives.until(lambda: is_context(lives, LATE))
    wati.agent_message(PHONE, AGENT_ADDED, ago(30), "Marta")
    lives.ai.faults.append(dropped(stored=True))
    second = wati.customer_message(PHONE, SECOND, now)
    await lives.deliver(second.webhook())
    await lives.until(lambda: lives.ended(2), STORY_SECONDS_MAX)


async def reply(lives: Lives, body: Mapping[str, Any]) -> None:
    lives.ai.answers.append(REPLIES[body["input"][-1]["content"]])


async def is_context(lives: Lives, text: str) -> bool:
    found = await lives.rows("SELECT fate FROM message WHERE body = $1", text)
    return [row["fate"] for row in found] == ["context"]


async def expect(lives: Lives) -> None:
    assert lives.wati.texts_to(PHONE) == SENT
    await expect_turns(lives)
    await expect_memory(lives, WHOLE)
    await expect_sound(lives)


async def expect_sound(lives: Lives) -> None:
    assert (await lives.audit()).sound
    assert await lives.value("SELECT count(*) FROM turn WHERE stage <> 'ended'") == 0
    assert await lives.value("SELECT count(*) FROM untold") == 0
    assert lives.errors() == [], lives.errors()


async def expect_turns(lives: Lives) -> None:
    turns = await lives.rows("SELECT * FROM turn ORDER BY id")
    bodies = {row["id"]: row["body"] for row in await lives.rows("SELECT id, body FROM message")}
    assert [t["outcome"] for t in turns] == ["answered", "answered"]
    assert [[bodies[m] for m in t["message_ids"]] for t in turns] == [[FIRST], [SECOND]]
    assert [[bodies[m] for m in t["missed_ids"]] for t in turns] == [
        [ASKED_BEFORE, AGENT_SAID],
        [LATE, AGENT_ADDED],
    ]
    outbox = await lives.rows("SELECT turn_id, part, state FROM outbox ORDER BY turn_id, part")
    first, second = (turn["id"] for turn in turns)
    assert [tuple(row) for row in outbox] == [
        (first, 1, "accepted"),
        (second, 1, "accepted"),
        (second, 2, "accepted"),
    ]
    heard = await lives.rows("SELECT body, fate FROM message WHERE author = 'customer'")
    assert sorted(map(tuple, heard)) == sorted(
        {ASKED_BEFORE: "context", FIRST: "answered", LATE: "context", SECOND: "answered"}.items()
    )


async def expect_memory(lives: Lives, whole: list[str]) -> None:
    """What the AI remembers is the whole story, once; what it was made to forget has no twins."""
    kept = await lives.value("SELECT openai_conversation_id FROM conversation")
    assert said_in(lives, kept) == whole
    for other in lives.ai.conversations:
        assert max(Counter(said_in(lives, other)).values(), default=0) <= 1


def said_in(lives: Lives, ai_conversation: str) -> list[str]:
    items = lives.ai.conversations[ai_conversation].items
    return [_text(item["content"]) for item in items if item["role"] != "developer"]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


async def expect_one_reply(lives: Lives) -> None:
    assert lives.wati.texts_to(PHONE) == [FIRST_REPLY]
    heard = await lives.rows("SELECT body, fate FROM message WHERE author = 'customer'")
    assert [tuple(row) for row in heard] == [(FIRST, "answered")]
    await expect_memory(lives, [FIRST, FIRST_REPLY])
    await expect_sound(lives)
