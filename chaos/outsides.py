"""A provider and an AI that do as they are asked, at once; the AI says what it was told."""

import itertools
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from bench.rig import KEY, TOKEN
from relevo.clock import SystemClock
from tests.fakes.openai import FakeOpenAI
from tests.fakes.wati import FakeWati

NEW = re.compile(r"The (\d+) user messages after them are new")
"""What the note says that comes with missed messages."""
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
    """Make an answer that says which it is, and what the customer wants answered."""
    note = "".join(item["content"] for item in question["input"] if item["role"] == "developer")
    told = [item["content"] for item in question["input"] if item["role"] == "user"]
    # What was missed comes before it, and is only to be known.
    new = told[-int(found[1]) :] if (found := NEW.search(note)) else told
    return f"answer {number} to {' '.join(words[:WORDS_CHARACTERS_MAX] for words in new)}"


def answers(reply: str, said: str) -> bool:
    """Tell whether a reply answers this, and nothing else."""
    return reply.partition(" to ")[2] == said
