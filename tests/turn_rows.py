"""Turns as rows, for stories that begin after one."""

from datetime import datetime

from tests.store_rig import Desk

GONE = 99_999
"""An incarnation that nobody is."""

ANSWERED = """
INSERT INTO turn (business_id, id, conversation_id, stage, channel_id, address_kind, address_value,
    opened_at, closed_at, newest_at, verdict, threshold_seconds, message_ids, recall,
    recall_reasons, recall_urgent, recalled, matched_by_content, missed_ids, missed_left_out,
    attempt, tries, replaced, outcome, reason, response_id, model, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens, answer_seconds, ended_at, incarnation)
SELECT c.business_id, coalesce(m.id, 1), c.id, 'ended', 'line', 'phone', '', $1, $1, $1, 'none',
    300, array_remove(ARRAY[m.id], NULL), 'complete', '{}', false, 0, 0, '{}', 0, 1, 0, false,
    'answered', '', '', '', 0, 0, 0, 0, 1.0, $1, $2
FROM conversation AS c LEFT JOIN message AS m ON m.conversation_id = c.id
"""


async def have_answered(store: Desk, at: datetime) -> None:
    """Let the only customer's only message, if there is one, have been answered."""
    await store.rows(ANSWERED, at, GONE)
    await store.rows("UPDATE message SET fate = 'answered'")
    await store.rows("DELETE FROM untold")
