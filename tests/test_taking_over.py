"""Taking over begins with whoever has waited longest, and needs no store that is there at once."""

from datetime import timedelta

import pytest

from relevo.messages import ConversationKey
from relevo.store.embedded import DatabaseUrls
from tests.store_rig import BUSINESS, NOON, desk, phone, said

pytestmark = pytest.mark.postgres

PHONE = "50370000101"


async def test_whoever_waits_for_nothing_but_a_send_is_first_then_whoever_waits_longest(
    database: DatabaseUrls,
) -> None:
    async with desk(database) as store:
        for number, waits_seconds in enumerate((30, 90, 60, 10)):
            text = said(f"{number}", addresses=phone(number))
            await store.deliver(text, after_seconds=-waits_seconds)
        await store.rows("DELETE FROM untold WHERE received_at = $1", NOON - timedelta(seconds=10))
        await store.rows(OPEN_TURN, "+50370000003")
        ids = {
            row["value"][-1]: row["conversation_id"]
            for row in await store.rows("SELECT value, conversation_id FROM address")
        }
        found = await store.journal.unread(None)
        waits = [ConversationKey(BUSINESS, ids[name]) for name in "3120"]
        assert list(found) == waits
        assert list(found.values()) == [0, 1, 1, 1]


OPEN_TURN = """
INSERT INTO turn (business_id, id, conversation_id, stage, channel_id, address_kind, address_value,
    opened_at, closed_at, newest_at, verdict, threshold_seconds, message_ids, recall,
    recall_reasons, recall_urgent, recalled, matched_by_content, missed_ids, missed_left_out,
    attempt, tries, replaced, reason, response_id, model, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens, answer_seconds, incarnation)
SELECT business_id, id, conversation_id, 'sending', channel_id, address_kind, address_value,
    event_at, received_at, event_at, 'none', 300, ARRAY[id], 'not_needed', '{}', true, 0, 0,
    '{}', 0, 1, 1, false, '', '', '', 0, 0, 0, 0, 0, 0
FROM message WHERE address_value = $1
"""
