"""Row security holds by itself: what forgets whose rows it wants still gets only its own."""

import re
from typing import Any

import asyncpg
import pytest

from relevo.store.embedded import DatabaseUrls
from relevo.store.sql import statements
from tests.store_rig import NOON
from tests.test_sql import NEVER
from tests.test_tenants import MINE, PHONE, ROWS, THEIRS

pytestmark = pytest.mark.postgres

WHOSE = re.compile(r"(\w+\.)?business_id = \$1(::text)?")
ID_MAX = 2**63 - 1
BOTH = [1, 2]
"""The ids of both businesses' conversations."""

FORGETFUL: dict[tuple[str, str], tuple[Any, ...]] = {
    ("conversations", "walk"): (NEVER, NEVER, ID_MAX, 50, 5000),
    ("conversations", "heads"): (BOTH, NEVER, NEVER, ID_MAX, ID_MAX, 50),
    ("conversations", "found"): (["+5"], ["+6"], "101", "102", "vip", 50),
    ("conversations", "shown"): (BOTH, [1, 1], NOON, 0, None, 500, None, None),
    ("inspect", "conversations_of"): ([f"+{PHONE}"],),
    ("inspect", "messages_by_id"): ([1],),
    ("letters", "letters"): (1, ID_MAX, True, 50),
    ("load", "conversations"): (BOTH,),
    ("load", "untold"): (BOTH,),
    ("quarantine", "bodies"): (True, 50, ID_MAX),
    ("api_keys", "keys"): (None, 50),
    ("idempotency", "answered"): ("once",),
}
"""Statements with what they are asked besides the business."""


async def found(
    connection: "asyncpg.Connection[asyncpg.Record]", name: tuple[str, str]
) -> tuple[int, set[str]]:
    """Return how many rows a statement brings without its condition, and whose they are."""
    file, statement = name
    forgetful = WHOSE.sub("$1::text IS NOT NULL", statements(file)[statement])
    assert forgetful != statements(file)[statement]
    rows = await connection.fetch(forgetful, MINE, *FORGETFUL[name])
    return len(rows), {whose for whose in (MINE, THEIRS) if whose in str(rows)}


async def test_a_statement_that_forgets_its_business_gets_no_other_one(
    database: DatabaseUrls,
) -> None:
    owner = await asyncpg.connect(database.owner_url)
    app = await asyncpg.connect(database.url)
    for business_id in (MINE, THEIRS):
        await owner.execute(ROWS.format(b=business_id))
    await app.execute("SET ROLE relevo_app")
    await app.execute("SELECT set_config('relevo.business_id', $1, false)", MINE)
    for name in FORGETFUL:
        everything, _ = await found(owner, name)
        own, whose = await found(app, name)
        # The owner shows that there is more to be had for who is not held back.
        assert (own, THEIRS in whose) == (1, False), name
        assert everything > own, name
    await owner.close()
    await app.close()
