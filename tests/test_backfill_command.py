"""`relevo import messages` and `relevo backfill` as they are called: what they tell."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from relevo.store.embedded import DatabaseUrls
from tests.commands import BAD, CANNOT, ROOT, WELL, Configured, configured
from tests.crm_rows import backfilled, crm_csv, put_aside, row
from tests.store_rig import BUSINESS, LINE, Desk, desk

pytestmark = [pytest.mark.postgres, pytest.mark.process]

ANA = "+50370000101"
OTHER = "bakery"
CUSTOMERS = 40
MESSAGES_EACH = 20

CRM = """
CREATE SCHEMA crm;
CREATE TABLE crm.whatsapp_conversation (id int, to_number text, lead_id int, lid text);
CREATE TABLE crm.whatsapp_message (id int, conversation_id int, direction text, body text,
    created_at timestamp, to_number text);
INSERT INTO crm.whatsapp_conversation VALUES (1, '7000-0101', 7, NULL), (2, NULL, 8, NULL);
INSERT INTO crm.whatsapp_message VALUES
    (3, 2, 'outbound', 'a word to nobody', '2025-10-04 13:05', NULL),
    (1, 1, 'inbound', 'a word of hers', '2025-10-04 13:00', NULL),
    (2, 1, 'outbound', 'a word to her', '2025-10-04 13:01', ''),
    (4, 1, 'inbound', '', '2025-10-04 13:06', NULL);
GRANT USAGE ON SCHEMA crm TO public;
GRANT SELECT ON ALL TABLES IN SCHEMA crm TO public;
"""
ROWS = """
SELECT c.canonical_key, a.value, m.body, m.author, m.source, m.fate, m.event_at, k.key,
    c.last_customer_at, l.state, l.reason
FROM message AS m
    JOIN conversation AS c ON c.business_id = m.business_id AND c.id = m.conversation_id
    JOIN address AS a ON a.business_id = m.business_id AND a.conversation_id = c.id
    JOIN message_key AS k ON k.business_id = m.business_id AND k.message_id = m.id
    JOIN legacy_message AS l ON l.business_id = m.business_id AND l.message_id = m.id
WHERE m.business_id = $1
ORDER BY a.value, m.event_at, m.id
"""


async def test_the_tables_of_a_crm_and_its_csv_are_told_alike(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    relevo = configured(database, tmp_path)
    owner = await asyncpg.connect(database.owner_url)
    await owner.execute(CRM)
    crm_url = f"{database.url}{'&' if '?' in database.url else '?'}search_path=crm"
    taken = await imported(relevo, "--url-env", "CRM_URL", CRM_URL=crm_url)
    assert (taken.code, taken.errors) == (BAD, "")
    assert "4  rows read" in taken.out
    assert "1 empty: it has no text; row 4" in taken.out
    ended = await relevo("backfill", "--json")
    assert (ended.code, ended.errors) == (BAD, "")
    assert orjson.loads(ended.out) == [
        {
            "business": BUSINESS,
            "inserted": 2,
            "known": 0,
            "waiting": 0,
            "refused": {"unknown_lead": 1},
        }
    ]
    thread = await owner.fetch("SELECT body, author FROM message ORDER BY event_at")
    assert [tuple(m) for m in thread] == [
        ("a word of hers", "customer"),
        ("a word to her", "agent"),
    ]
    await owner.close()
    path = crm_csv(tmp_path / "crm.csv", [row("de nuevo", 1, lead_id=8, to_number=ANA)])
    rehearsed = await imported(relevo, str(path), "--dry-run", "--json")
    assert orjson.loads(rehearsed.out)["put_aside"] == 1
    written = await imported(relevo, str(path), "--outbound-author", "automation", "--json")
    assert (written.code, orjson.loads(written.out)) == (
        WELL,
        {
            "rehearsal": False,
            "rows": 1,
            "put_aside": 1,
            "known": 0,
            "refused": {},
            "refusals": [],
        },
    )
    told = await relevo("backfill", "--again")
    assert (told.code, told.errors) == (WELL, "")
    assert ANA not in told.out + taken.out
    assert "Once they are known" not in told.out


async def test_what_cannot_be_imported_is_one_line(database: DatabaseUrls, tmp_path: Path) -> None:
    relevo = configured(database, tmp_path)
    no_url, no_table, no_line, no_file = [
        await imported(relevo, *options, CRM_URL=url)
        for options, url in (
            (("--url-env", "CRM_URL"), "crm.example"),
            (("--url-env", "CRM_URL"), database.url),
            (("crm.csv", "--channel", "other"), ""),
            (("crm.csv",), ""),
        )
    ]
    assert "--url-env: the variable CRM_URL should hold a url" in no_url.line
    assert "--url-env CRM_URL: it has no table whatsapp_message" in no_table.line
    assert "--channel: name one of business hotel: line" in no_line.line
    assert "crm.csv cannot be read: No such file" in no_file.line
    assert no_file.code == CANNOT


async def test_a_backfill_that_is_killed_and_run_again_makes_the_rows_of_one_run(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    relevo = configured(database, tmp_path)
    rows = [
        row(f"{person} {n}", n, to_number=f"+503700001{person:02}", lead_id=f"L-{person}")
        for n in range(MESSAGES_EACH)
        for person in range(CUSTOMERS)
    ]
    async with desk(database) as store:
        for business, line in ((BUSINESS, LINE), (OTHER, "bakery-line")):
            await put_aside(store.pools, rows, business, line)
        await killed_in_its_second_batch(store, relevo)
        halfway = len(await store.rows(ROWS, BUSINESS))
        assert 0 < halfway < 2 * len(rows)
        ended = await relevo("backfill")
        assert (ended.code, ended.errors) == (WELL, "")
        await backfilled(store.pools, store.clock, OTHER)
        resumed, straight = [
            [(r[0].replace(business, ""), *r[1:]) for r in await store.rows(ROWS, business)]
            for business in (BUSINESS, OTHER)
        ]
    assert resumed == straight
    assert len(resumed) == 2 * len(rows)  # each under his phone and his lead


async def killed_in_its_second_batch(store: Desk, relevo: Configured) -> None:
    """Stop a backfill at a row of its second batch that somebody holds, and kill it there."""
    holder = await asyncpg.connect(store.urls.owner_url)
    holding = holder.transaction()
    await holding.start()
    await holder.execute(
        "SELECT FROM legacy_message WHERE business_id = $1 ORDER BY id DESC LIMIT 1 FOR UPDATE",
        BUSINESS,
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "relevo", "backfill"),
        cwd=relevo.folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | relevo.environ,
    )
    while not await store.value("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        assert process.returncode is None
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await holding.rollback()
    await holder.close()


async def imported(relevo: Configured, *options: str, **environ: Any) -> Any:
    return await relevo("import", "messages", *options, "--business", BUSINESS, **environ)
