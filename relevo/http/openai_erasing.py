"""Erasing at OpenAI what it keeps of a customer: items first, for they survive their conversation.

One call at a time, so nobody who is being answered waits for an erasure; a rate limit ends it, and
whoever asked comes back. Deleting is safe to repeat, also when the outcome was unknown.

What is gone already counts as erased. A call that the AI answered and whose answer never reached us
has an id that nobody knows: OpenAI lets go of stored responses after 30 days, of items never.

Facts: openai 3.52.0, `conversations.delete` ("Items in the conversation will not be deleted"), and
https://platform.openai.com/docs/api-reference/conversations.
"""

from typing import Any, Final

from relevo.ai_conversations import AiConversation, RefusedIdError
from relevo.events import AnswerFailure
from relevo.http.openai_account import OpenAIAccount
from relevo.http.openai_failures import GONE_REASONS, UNREADABLE
from relevo.http.openai_reading import WORD
from relevo.http.openai_reconciling import Page, page_of
from relevo.outcomes import NoAnswer

TIMEOUT_SECONDS: Final = 20.0
"""One call. Nothing is generated, so slower than this it will not come."""

PAGE_ITEMS_MAX: Final = 100
ITEMS_MAX: Final = 10_000
"""Of one conversation in one go; what is left is left to the next."""

RESPONSE_PREFIX: Final = "resp_"
MORE_LEFT: Final = NoAnswer(AnswerFailure.TRANSIENT, "more_left")


async def erase(account: OpenAIAccount, kept: str) -> NoAnswer | None:
    """Erase a conversation with all its items, or a response; None: nothing of it is left.

    Never raises for the AI. `kept` is an id that the AI gave.
    """
    if kept.startswith(RESPONSE_PREFIX) and WORD.fullmatch(kept):
        return await _delete(account, f"/responses/{kept}")
    try:
        path = f"/conversations/{AiConversation(kept)}"
    except RefusedIdError:
        return None  # nothing at the AI has such an id
    for _ in range(ITEMS_MAX // PAGE_ITEMS_MAX):
        page = await account.get(
            f"{path}/items", {"limit": PAGE_ITEMS_MAX}, page_of, TIMEOUT_SECONDS
        )
        if isinstance(page, NoAnswer):
            return None if page.reason in GONE_REASONS else page
        if not page.items:
            return await _delete(account, path)
        failure = await _delete_items(account, path, page)
        if failure is not None:
            return failure
    return MORE_LEFT


async def _delete_items(account: OpenAIAccount, path: str, page: Page) -> NoAnswer | None:
    for item in page.items:
        item_id = item.get("id")
        if not isinstance(item_id, str) or not WORD.fullmatch(item_id):
            return UNREADABLE
        failure = await _delete(account, f"{path}/items/{item_id}")
        if failure is not None:
            return failure
    return None


async def _delete(account: OpenAIAccount, path: str) -> NoAnswer | None:
    deleted = await account.delete(path, _taken, TIMEOUT_SECONDS)
    if isinstance(deleted, NoAnswer) and deleted.reason not in GONE_REASONS:
        return deleted
    return None


def _taken(reply: dict[str, Any]) -> bool | NoAnswer:
    """Believe a deletion unless it says that there was none."""
    return UNREADABLE if reply.get("deleted") is False else True
