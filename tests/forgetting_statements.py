"""With what the statements that forget and export are explained, and which read everything."""

from datetime import UTC, datetime
from typing import Any

from tests.store_rig import BUSINESS, NOON

IDS = [5, 6, 7]
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
OF_ONE = (*("lock", "addresses", "once", "reached", "conversation", "extent", "is_silent"),)
OF_MESSAGES = ("parts", "keys", "spoken", "merges")

FORGETTING: dict[tuple[str, str], tuple[Any, ...]] = {
    **{("forgetting", name): (BUSINESS, 5) for name in OF_ONE},
    **{("forgetting", name): (BUSINESS, IDS) for name in OF_MESSAGES},
    ("forgetting", "under_way"): (BUSINESS, 5, NOON),
    ("forgetting", "messages"): (BUSINESS, 5, NEVER),
    ("forgetting", "flags"): (BUSINESS, 5, IDS),
    ("forgetting", "sends"): (BUSINESS, 5, IDS, False, NOON),
    ("forgetting", "turns"): (BUSINESS, 5, False, NOON, NOON),
    ("forgetting", "ai_conversations"): (BUSINESS, 5, NOON),
    ("forgetting", "begin_anew"): (BUSINESS, 5, NOON),
    ("forgetting", "begin_past_anew"): (BUSINESS, IDS, NOON),
    ("forgetting", "outlived"): (BUSINESS, NOON, 100),
}
EXPORTED = (
    *("conversation", "addresses", "messages", "turns", "sends", "asked_sends", "waiting"),
    *("dead_letters", "merges", "links", "ai_conversations"),
)
EXPORTING: dict[tuple[str, str], tuple[Any, ...]] = {
    ("exporting", name): (BUSINESS, 5) for name in EXPORTED
}
FORGETTING_READS_ALL = (
    ("exporting", "deliveries"),
    ("exporting", "staged"),
    *(
        ("forgetting", name)
        for name in (
            *("named_in_quarantine", "named_in_answers", "named_in_staging", "answers", "silent"),
            *("outlived_bodies", "outlived_merges", "outlived_staging", "staged"),
            *("to_erase", "erased", "count_to_erase", "uncount"),
        )
    ),
)
"""Those of a few rows, or that are meant to look through all of them: bodies, and who is silent."""
