"""A child process that is the AI: the tests' fake, with a conversation for every known customer.

Told: key, customers. Says: base_url.
"""

import asyncio

import uvloop

from bench import children
from tests.fakes.openai import FakeConversation, FakeOpenAI


async def main() -> None:
    """Serve until ended."""
    order = children.order_given()
    async with FakeOpenAI(order["key"], recording=False) as ai:
        for customer in range(order["customers"]):
            made = FakeConversation(ai_conversation(customer))
            ai.conversations[made.id] = made
        children.say({"base_url": ai.base_url})
        await asyncio.Event().wait()


def ai_conversation(customer: int) -> str:
    """Return the id of a customer's conversation at the AI."""
    return f"conv_{customer:048x}"


if __name__ == "__main__":
    uvloop.run(main())
