"""What the stories of a failing AI ask of a house. The phones are made up."""

from collections import Counter

from tests.fakes.openai import FakeOpenAI
from tests.house import House

PHONE, OTHER_PHONE = "50370000101", "50370000102"


async def says(house: House, text: str, phone: str = PHONE) -> None:
    said = house.wati.customer_message(phone, text, house.clock.now())
    assert await house.post(said.webhook()) == 200


async def ended(house: House, phone: str = PHONE) -> list[tuple[str, str]]:
    return [(turn["outcome"], turn["reason"] or "") for turn in await house.why(phone)]


async def letters(house: House) -> list[tuple[str, str]]:
    """Return the reasons of all dead letters, and how each was closed."""
    rows = await house.rows("SELECT reason, closed_as FROM dead_letter ORDER BY created_at")
    return [(row["reason"], row["closed_as"] or "open") for row in rows]


def shapes(ai: FakeOpenAI) -> tuple[str, ...]:
    return tuple(map(ai.shape, ai.conversations))


def remembers_once(ai: FakeOpenAI) -> bool:
    """Tell whether no conversation holds a customer's message twice."""
    for conversation in ai.conversations.values():
        told = Counter(i["content"] for i in conversation.items if i.get("role") == "user")
        if any(count > 1 for count in told.values()):
            return False
    return True
