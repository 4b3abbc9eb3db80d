"""The assistant that needs no AI: it says what it was told.

Deterministic and without I/O, so that the sandbox and the tests show the whole way of a message and
exactly what an AI in its place would know. It never fails and keeps no conversation of its own.
"""

from relevo.ai_conversations import AiConversation
from relevo.events import AnswerFailure, Finding
from relevo.outcomes import Answer, NoAnswer, Prompt

MODEL = "offline"
KEEPS_NONE = NoAnswer(AnswerFailure.PERMANENT, "keeps_no_conversation")


class OfflineAssistant:
    """Answers every turn with the number of its messages, the verdict and what was missed."""

    async def ensure(self) -> NoAnswer:
        """Refuse: `Rules.ai_conversations` is false for this assistant, so nobody should ask."""
        return KEEPS_NONE

    async def seed(
        self,
        ai_conversation: AiConversation,  # noqa: ARG002  (the port's signature)
        seed: Prompt,  # noqa: ARG002
    ) -> NoAnswer:
        """Refuse, as `ensure` does."""
        return KEEPS_NONE

    async def erase(self, kept: str) -> NoAnswer:  # noqa: ARG002  (the port's signature)
        """Refuse: what another AI keeps from before is not erased by this one."""
        return KEEPS_NONE

    async def answer(
        self,
        ai_conversation: str | None,  # noqa: ARG002  (the port's signature)
        prompt: Prompt,
    ) -> Answer:
        """Say what the prompt holds, the same words for the same prompt."""
        return Answer(text="\n".join((_got(prompt), *_missed(prompt))), model=MODEL)

    async def reconcile(
        self,
        ai_conversation: str,  # noqa: ARG002  (the port's signature)
        prompt: Prompt,  # noqa: ARG002
    ) -> Finding:
        """Find nothing: it stores nothing."""
        return Finding.NOT_STORED


def _got(prompt: Prompt) -> str:
    return f"I got {_counted(prompt.message_count)} (verdict: {prompt.verdict})."


def _missed(prompt: Prompt) -> tuple[str, ...]:
    if not prompt.missed:
        return ("I missed nothing.",)
    return (
        f"I was told {_counted(len(prompt.missed))} that I had missed:",
        *(f"- {line}" for line in prompt.missed),
    )


def _counted(messages: int) -> str:
    return "1 message" if messages == 1 else f"{messages} messages"
