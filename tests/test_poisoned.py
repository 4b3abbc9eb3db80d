"""A conversation whose rows nobody can read, or step: it alone is set aside, and comes back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from relevo.store.embedded import DatabaseUrls
from tests.fakes.clock import until
from tests.house import House
from tests.store_rig import NOON

pytestmark = pytest.mark.postgres

SICK = "50370000100"
OTHERS = [f"503700001{number:02}" for number in range(1, 6)]

READABLE_NO_MORE = """
UPDATE message SET author = 'martian' WHERE address_value = $1
"""
"""A message of an author nobody knows: reading it fails, and whatever is read with it."""

READABLE_AGAIN = """
UPDATE message SET author = 'customer' WHERE address_value = $1
"""

UNSTEPPABLE = """
INSERT INTO turn (business_id, id, conversation_id, stage, channel_id, address_kind, address_value,
    opened_at, closed_at, newest_at, verdict, threshold_seconds, message_ids, recall,
    recall_reasons, recall_urgent, recalled, matched_by_content, missed_ids, missed_left_out,
    attempt, tries, replaced, reason, response_id, model, input_tokens, cached_tokens,
    output_tokens, reasoning_tokens, answer_seconds, incarnation)
SELECT business_id, id, conversation_id, 'recalling', channel_id, address_kind, address_value,
    event_at, received_at, event_at, 'gap', 300, ARRAY[id], 'complete', ARRAY['gap'], true, 0, 0,
    '{}', 0, 1, 1, false, '', '', '', 0, 0, 0, 0, 0, 0
FROM message WHERE address_value = $1
"""
"""An open turn that asks the history since no instant: reading is well, living with it is not."""

STEPPABLE_AGAIN = """
DELETE FROM turn WHERE address_value = $1
"""

UNGUARDED = """
ALTER TABLE message DROP CONSTRAINT message_author_check, DROP CONSTRAINT customers_have_a_fate
"""


@pytest.fixture
async def house(database: DatabaseUrls, tmp_path: Path) -> AsyncIterator[House]:
    async with House(database, tmp_path, NOON, first_contact_lookback_seconds=0) as house:
        yield house


@pytest.mark.parametrize(
    ("poisoning", "healing"),
    [(READABLE_NO_MORE, READABLE_AGAIN), (UNSTEPPABLE, STEPPABLE_AGAIN)],
    ids=["unreadable", "unsteppable"],
)
async def test_a_poisoned_conversation_hurts_nobody_who_is_read_with_it(
    house: House, poisoning: str, healing: str
) -> None:
    for phone in (SICK, *OTHERS):
        said = house.wati.customer_message(phone, f"Hola de {phone}", house.clock.now())
        assert await house.post(said.webhook()) == 200
    await house.stop()
    await house.rows(UNGUARDED)
    await house.rows(poisoning, f"+{SICK}")
    await house.start()
    await house.advance(36)
    assert [house.wati.texts_to(phone) for phone in OTHERS] == [["ok"]] * len(OTHERS)
    assert house.wati.texts_to(SICK) == []
    await house.advance(60)
    assert house.logs.getvalue().count(b"set aside: conversation") == 1
    metrics = await house.metrics()
    assert metrics['relevo_actor_lifecycle_total{event="set_aside"}'] == 1
    assert metrics['relevo_actor_lifecycle_total{event="restarted"}'] == 4
    assert SICK.encode() not in house.logs.getvalue()
    await house.rows(healing, f"+{SICK}")
    await house.advance(600 + 60)
    await until(lambda: house.wati.texts_to(SICK) == ["ok"])
