"""Every statement is one that the real server takes, from the role that runs it, and finds fast."""

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest

from relevo.store.embedded import DatabaseUrls
from relevo.store.sql import SQL_DIR, statements
from tests.forgetting_statements import EXPORTING, FORGETTING, FORGETTING_READS_ALL
from tests.postgres import Cluster
from tests.sql_filling import FILLING
from tests.store_rig import BUSINESS, LINE, NOON, owner_rows

pytestmark = pytest.mark.postgres

OWNER = "owner"
LOGIN = "login"
ROLE_OF_FILE = {
    "api_keys": "relevo_app",
    "audit": OWNER,
    "backfill": "relevo_app",
    "catalog": OWNER,
    "changes": "relevo_ingest",
    "chats": "relevo_app",
    "conversations": "relevo_app",
    "doctor": OWNER,
    "exporting": "relevo_app",
    "forgetting": "relevo_app",
    "holding": "relevo_app",
    "idempotency": "relevo_app",
    "import": OWNER,
    "ingest": "relevo_ingest",
    "inspect": "relevo_app",
    "journal": "relevo_app",
    "letters": "relevo_app",
    "merging": "relevo_app",
    "load": "relevo_app",
    "outbound": "relevo_app",
    "outgoing": "relevo_app",
    "quarantine": "relevo_app",
    "setup": "relevo_app",
    "sweep": "relevo_sweep",
    "threads": "relevo_app",
}
ROLE_OF_STATEMENT = {
    ("outgoing", "first_due"): "relevo_sweep",
    ("setup", "fitness"): LOGIN,
    ("setup", "ping"): "relevo_ingest",
    ("sweep", "addresses_of"): "relevo_ingest",
    ("api_keys", "holders"): "relevo_sweep",
    ("idempotency", "businesses"): "relevo_sweep",
}
STATEMENTS = [
    pytest.param(path.stem, name, id=f"{path.stem}.{name}")
    for path in sorted(SQL_DIR.glob("*.sql"))
    for name in statements(path.stem)
]

SCANNED_WHOLE = re.compile(r"Seq Scan on (\w+)")

ONE = [{"id": 5, "conversation_id": 5, "message_id": 5, "duplicate": 5, "kept": 6, "turn_id": 5}]
COLUMNS = {"channel_id": LINE, "key": "k5", "at": "2026-03-02T12:00:00Z", "fate": "held"}
ROW = orjson.dumps([{**ONE[0], **COLUMNS, "version": 0, "state": "context"}]).decode()
WAITING = orjson.dumps([{**ONE[0], **COLUMNS, "author": "system", "state": "asked"}]).decode()
IDS = [5, 6, 7]
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
REACHED = ("phone", "", "+5")

LOOKED_UP: dict[tuple[str, str], tuple[Any, ...]] = {
    ("load", "conversations"): (BUSINESS, IDS),
    ("load", "untold"): (BUSINESS, IDS),
    ("load", "witnesses"): (BUSINESS, IDS),
    ("load", "open_turns"): (BUSINESS, IDS, 1, NOON),
    ("load", "parts"): (BUSINESS, IDS),
    ("load", "told_by_turns"): (BUSINESS, IDS),
    ("load", "window"): (BUSINESS, 5, NOON, "line", ["id"]),
    ("load", "told"): (BUSINESS, 5, 20),
    ("journal", "claim_keys"): (BUSINESS, ROW),
    ("journal", "release_keys"): (BUSINESS, IDS),
    ("journal", "advance"): (BUSINESS, ROW, NOON),
    ("journal", "keep_ai_conversation"): (BUSINESS, 5, "conv_5", NOON),
    ("journal", "insert_messages"): (BUSINESS, ROW),
    ("journal", "learn_keys"): (BUSINESS, ROW),
    ("journal", "move_keys"): (BUSINESS, ROW),
    ("journal", "mark_seen"): (BUSINESS, ROW),
    ("journal", "put_untold"): (BUSINESS, ROW),
    ("journal", "forget_untold"): (BUSINESS, ROW),
    ("journal", "delete_messages"): (BUSINESS, IDS),
    ("journal", "put_turns"): (ROW,),
    ("journal", "put_parts"): (ROW,),
    ("journal", "date_replies"): (BUSINESS, ROW),
    ("journal", "set_fates"): (BUSINESS, ROW),
    ("journal", "bury"): (BUSINESS, ROW),
    ("journal", "supersede"): (BUSINESS, IDS, NOON),
    ("ingest", "deliver"): (
        *([1], [NOON], [NOON], f"\x1f{BUSINESS}", f"\x1f{LINE}", "\x1fk5", "\x1fphone", "\x1f+5"),
        *("\x1fcustomer", "\x1f", "\x1ftext", "\x1fHola", "\x1f", [1, 1], "\x1fk5\x1fother"),
        *([1, 1], [0, 1], "\x1fphone\x1fbsuid", f"\x1f\x1f{LINE}", "\x1f+5\x1fUS.5", 1),
    ),
    ("ingest", "meet"): ([BUSINESS], ["phone:hotel:+5"], ["phone"], [""], ["+5"], NOON),
    ("ingest", "lead"): ([BUSINESS], ["phone:hotel:+5"], ["phone"], [""], ["+5"], [0]),
    ("ingest", "greet"): ([BUSINESS], ["phone"], [""], ["+5"]),
    ("ingest", "note_statuses"): ([0], [BUSINESS], [LINE], ["k5"], ["read"], NOON),
    ("ingest", "early_known"): (),
    ("ingest", "forget_early"): ([BUSINESS], [LINE], ["k5"], ["read"], NOON, 5),
    ("ingest", "mend"): (
        *([1], [0], [BUSINESS], *([word] for word in REACHED)),
        *([1], [BUSINESS], [LINE], ["k5"], NOON),
    ),
    ("ingest", "wish"): (*([word] for word in (BUSINESS, *REACHED, *REACHED, "message")), NOON),
    ("merging", "wish"): (BUSINESS, *REACHED, *REACHED, "message", NOON),
    ("merging", "wishes"): (BUSINESS, 500),
    ("merging", "fulfilled"): (BUSINESS, *REACHED, *REACHED),
    ("merging", "home"): (BUSINESS, *REACHED),
    ("merging", "lock"): (BUSINESS, IDS),
    ("merging", "named"): (BUSINESS, ["+5"]),
    ("merging", "parted_before"): (BUSINESS, 5, 6),
    ("merging", "addresses"): (BUSINESS, IDS),
    ("merging", "join_portfolio"): (BUSINESS, LINE, "meta", "", 500, NOON),
    ("merging", "lead"): (BUSINESS, *REACHED, 5),
    ("merging", "end_turns"): (BUSINESS, ROW),
    ("merging", "move"): (BUSINESS, 5, 6, "message", "{}", "{}", NOON),
    ("merging", "forget"): (BUSINESS, 5),
    ("merging", "key"): (BUSINESS, 5),
    ("merging", "free_key"): (BUSINESS, "phone:hotel:+5", 5),
    ("merging", "rename"): (BUSINESS, 5, "phone:hotel:+5"),
    ("merging", "put"): (BUSINESS, 5, "{}"),
    ("merging", "merge"): (BUSINESS, 5),
    ("merging", "merged_since"): (BUSINESS, 5, 5),
    ("merging", "turns_since"): (BUSINESS, 5, NOON),
    ("merging", "reached_since"): (BUSINESS, 5, NOON),
    ("merging", "part"): (
        *(BUSINESS, 5, 6, IDS, IDS, IDS, ["phone"], ["+5"], NOON, IDS, ["conv_5"], IDS, "[]"),
    ),
    ("merging", "undone"): (BUSINESS, 5, NOON),
    ("merging", "renew"): (BUSINESS, 5),
    ("merging", "merges_of"): (BUSINESS, 5, 50),
    ("merging", "survivor_of"): (BUSINESS, 5),
    ("changes", "lock"): ([BUSINESS], [LINE], ["k5"]),
    ("changes", "apply"): (
        *([0], [BUSINESS], [LINE], ["k5"], ["edit"], ["customer"], ["Hola"], [NOON], [NOON]),
        *([BUSINESS], [5], 1),
    ),
    ("changes", "early_known"): (500,),
    ("changes", "forget_early"): (
        *([BUSINESS], [LINE], ["k5"], ["edit"], ["customer"], [NOON], NOON, 5),
    ),
    ("inspect", "conversations_of"): (BUSINESS, ["+5"]),
    ("inspect", "turns_of"): (BUSINESS, 5, 20),
    ("inspect", "messages_by_id"): (BUSINESS, IDS),
    ("inspect", "replies_of"): (BUSINESS, IDS),
    ("inspect", "waiting_of"): (BUSINESS, 5),
    ("conversations", "walk"): (BUSINESS, NEVER, NEVER, 2**63 - 1, 51, 5000),
    ("conversations", "walked_to"): (BUSINESS, NEVER, NEVER, 2**63 - 1, 5000),
    ("conversations", "heads"): (BUSINESS, IDS, NEVER, NEVER, 5, 5, 51),
    ("conversations", "found"): (BUSINESS, ["+5037"], ["+5038"], "777", "778", "vip", 1000),
    ("conversations", "tagged"): (BUSINESS, "vip", 1000),
    ("conversations", "shown"): (BUSINESS, IDS, IDS, NOON, 600, None, 500, None, None),
    ("threads", "is_known"): (BUSINESS, 5),
    ("threads", "older"): (BUSINESS, 5, NEVER, 5, 51),
    ("threads", "newer"): (BUSINESS, 5, NOON, 5, 51, NEVER, 5),
    ("threads", "turns_about"): (BUSINESS, 5, NOON, 5, 50, 250),
    ("threads", "turns"): (BUSINESS, 5, 2**63 - 1, 21),
    ("api_keys", "holders"): (["0000000000001"],),
    ("api_keys", "lock"): (BUSINESS,),
    ("api_keys", "living"): (BUSINESS, NOON),
    ("api_keys", "put"): (BUSINESS, "5", "console", ["read"], b"5", NOON, None),
    ("api_keys", "keys"): (BUSINESS, None, 50),
    ("api_keys", "revoke"): (BUSINESS, "5", NOON),
    ("api_keys", "use"): (BUSINESS, "5", NOON),
    ("idempotency", "forget_old"): (BUSINESS, "5", NOON),
    ("idempotency", "claim"): (BUSINESS, "5", b"5", NOON),
    ("idempotency", "answered"): (BUSINESS, "5"),
    ("idempotency", "keep"): (BUSINESS, "5", 202, b"{}"),
    ("idempotency", "businesses"): (),
    ("idempotency", "forget"): (BUSINESS, NOON, 100),
    ("backfill", "waiting"): (BUSINESS, 0, 1, 500),
    ("backfill", "resolve"): (BUSINESS, IDS),
    ("backfill", "lock"): (BUSINESS, IDS),
    ("backfill", "lead_to"): (BUSINESS, ["lead"], [""], ["7"], [5]),
    ("backfill", "name_by_lead"): (BUSINESS, IDS),
    ("backfill", "wish"): (
        BUSINESS,
        *([word] for word in ("lead", "", "7", "lid", LINE, "9")),
        NOON,
    ),
    ("backfill", "near"): (BUSINESS, IDS, IDS),
    ("backfill", "reached_at"): (BUSINESS, IDS),
    ("backfill", "settle"): (BUSINESS, ROW),
    ("backfill", "date"): (BUSINESS, IDS, timedelta(seconds=60), NOON),
    ("holding", "hold"): (BUSINESS, 5, NOON),
    ("holding", "resume"): (BUSINESS, 5, NOON),
    ("holding", "waiting"): (BUSINESS, 5),
    ("letters", "letters"): (BUSINESS, 1, 2**63 - 1, False, 50),
    ("letters", "open_ids"): (BUSINESS, 1000),
    ("letters", "turn_of"): (BUSINESS, 5),
    ("letters", "close"): (BUSINESS, 5, NOON, "dropped"),
    ("letters", "forget_failed"): (BUSINESS, 5),
    ("outbound", "lock"): (BUSINESS, 5),
    ("outbound", "raise_version"): (BUSINESS, 5),
    ("outbound", "reached_at"): (BUSINESS, 5),
    ("outbound", "put_waiting"): (BUSINESS, WAITING),
    ("outgoing", "waiting"): (BUSINESS, 5),
    ("outgoing", "cancel"): (BUSINESS, 5, NOON),
    ("chats", "tag"): (BUSINESS, 5, ["vip"]),
    ("chats", "close"): (BUSINESS, 5, NOON),
    ("outgoing", "known"): (BUSINESS, 5),
    ("outgoing", "ids_of"): (BUSINESS, 5, 2**63 - 1, 50),
    ("outgoing", "outgoing"): (BUSINESS, IDS),
    ("outgoing", "first_due"): ([BUSINESS],),
    ("outgoing", "due"): (BUSINESS, NOON, 100),
    ("outgoing", "take"): (BUSINESS, IDS),
    ("outgoing", "queued"): (BUSINESS, IDS, IDS),
    ("outgoing", "refused"): (BUSINESS, IDS, ["too_late"] * 3, NOON),
    ("outgoing", "raise_versions"): (BUSINESS, IDS),
    ("outgoing", "queued_of"): (BUSINESS,),
    **EXPORTING,
    **FORGETTING,
    ("quarantine", "body"): (BUSINESS, 5),
    ("quarantine", "mark_replayed"): (BUSINESS, 5, NOON),
    ("sweep", "unread_since"): (NOON - timedelta(minutes=10),),
    ("sweep", "channels_of_others"): ([LINE], "bakery"),
    ("sweep", "crowded"): (1000, 1000),
    ("sweep", "touched"): (NOON,),
    ("sweep", "addresses_of"): ([BUSINESS], [5]),
}
WHOLE_TABLES = {
    ("conversations", "holding"),
    ("backfill", "stage_alone"),
    ("backfill", "stage"),
    ("backfill", "waiting_count"),
    ("backfill", "try_again"),
    ("backfill", "summary"),
    ("load", "reserve"),
    ("outgoing", "ask"),
    ("sweep", "unread_all"),
    ("sweep", "incarnate"),
    ("sweep", "wishing"),
    ("merging", "patience"),
    ("merging", "past"),
    ("merging", "restore"),
    ("sweep", "erasing"),
    *FORGETTING_READS_ALL,
    ("sweep", "hold_incarnation"),
    ("ingest", "set_aside"),
    ("ingest", "line_up"),
    ("ingest", "early_waiting"),
    ("changes", "early_waiting"),
    ("quarantine", "bodies"),
    ("quarantine", "waiting_ids"),
}
"""Statements that look nothing up, or are meant to read everything, as a take-over does."""


@pytest.fixture(scope="module")
def full(cluster: Cluster) -> Iterator[DatabaseUrls]:
    """A database with a few thousand customers, none of whom waits for anything any more."""
    with asyncio.Runner() as runner:
        fresh = cluster.fresh_database()
        urls = runner.run(fresh.__aenter__())
        try:
            runner.run(fill(urls))
            yield urls
        finally:
            runner.run(fresh.__aexit__(None, None, None))


def test_every_file_of_sql_has_a_role() -> None:
    assert ROLE_OF_FILE.keys() == {path.stem for path in SQL_DIR.glob("*.sql")}


def test_every_statement_of_the_daily_work_is_explained() -> None:
    daily = {file for file, role in ROLE_OF_FILE.items() if role != OWNER} - {"setup"}
    assert {(file, name) for file in daily for name in statements(file)} == (
        LOOKED_UP.keys() | WHOLE_TABLES
    )


@pytest.mark.parametrize(("file", "name"), STATEMENTS)
async def test_a_statement_is_prepared_by_its_role(
    file: str, name: str, full: DatabaseUrls
) -> None:
    role = ROLE_OF_STATEMENT.get((file, name), ROLE_OF_FILE[file])
    connection = await working_as(full, role)
    try:
        statement = statements(file)[name]
        prepared = await connection.prepare(statement)
        named = {int(number) for number in re.findall(r"\$(\d+)", statement)}
        assert len(prepared.get_parameters()) == len(named)
        # What is not permitted is only refused by running it; explaining asks for the permission.
        await connection.execute(f"EXPLAIN (GENERIC_PLAN) {statement}")
    finally:
        await connection.close()


@pytest.mark.parametrize(("file", "name"), LOOKED_UP, ids=map(".".join, LOOKED_UP))
async def test_a_statement_finds_its_rows_by_an_index(
    file: str, name: str, full: DatabaseUrls
) -> None:
    connection = await working_as(full, ROLE_OF_STATEMENT.get((file, name), ROLE_OF_FILE[file]))
    try:
        await connection.execute(
            "SELECT set_config('relevo.business_id', $1::text, false)", BUSINESS
        )
        rows = await connection.fetch(f"EXPLAIN {statements(file)[name]}", *LOOKED_UP[file, name])
    finally:
        await connection.close()
    plan = "\n".join(row[0] for row in rows)
    scanned = set(SCANNED_WHOLE.findall(plan)) & await tables_of_size(full)
    assert not scanned, plan


async def working_as(urls: DatabaseUrls, role: str) -> "asyncpg.Connection[asyncpg.Record]":
    if role == OWNER:
        return await asyncpg.connect(urls.owner_url)
    connection = await asyncpg.connect(urls.url)
    if role != LOGIN:
        await connection.execute(f"SET ROLE {role}")
    return connection


async def tables_of_size(urls: DatabaseUrls) -> set[str]:
    """Return the tables that nobody may read from one end to the other."""
    rows = await owner_rows(urls, "SELECT relname FROM pg_class WHERE reltuples > 1000")
    return {row["relname"] for row in rows}


async def fill(urls: DatabaseUrls) -> None:
    connection = await asyncpg.connect(urls.owner_url)
    try:
        await connection.execute(FILLING)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
