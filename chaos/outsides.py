"""A provider and an AI that do as they are asked, at once; the AI says what it was told."""

import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from bench.rig import KEY, TOKEN
from relevo.clock import SystemClock
from tests.fakes.openai import FakeOpenAI
from tests.fakes.wati import FakeWati

WORDS_CHARACTERS_MAX = 100
"""So much of each message is repeated; it fits into one text."""


@asynccontextmanager
async def provider_and_ai() -> AsyncIterator[tuple[FakeWati, FakeOpenAI]]:
    """Serve both, in this process."""
    numbers = itertools.count(1)
    async with FakeWati(SystemClock(), token=TOKEN) as wati, FakeOpenAI(KEY, recording=False) as ai:

        async def answer(question: Mapping[str, Any]) -> None:
            ai.answers.append(answer_to(question, next(numbers)))

        ai.before_answer = answer
        yield wati, ai


def answer_to(question: Mapping[str, Any], number: int) -> str:
    """Make an answer that says which it is, and what the customer was heard to say."""
    said = (item["content"] for item in question["input"] if item["role"] == "user")
    told = " ".join(words[:WORDS_CHARACTERS_MAX] for words in said)
    return f"answer {number} to {told}"


def answers(reply: str, said: str) -> bool:
    """Tell whether a reply answers this, and nothing else."""
    return reply.partition(" to ")[2] == said
