"""What could not be read is kept raw, looked at, and delivered again once it can be read."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from relevo.messages import Arrival, Ignored, StatusUpdate, Unusable
from relevo.store import quarantined
from relevo.store.embedded import DatabaseUrls
from relevo.store.inbox import Inbox
from relevo.store.means import Means
from relevo.store.placing import Placer
from relevo.store.pools import enter
from tests.commands import BAD, WELL, Configured, configured
from tests.store_rig import BUSINESS, NOON, Desk, desk, said

pytestmark = pytest.mark.postgres

LATER = NOON + timedelta(hours=3)
WATI = """
[[business]]
id = "hotel"
region = "SV"
[[channel]]
id = "line"
business = "hotel"
kind = "wati"
base_url = "http://127.0.0.1:1/1234"
token_env = "TOKEN"
webhook_secret_env = "SECRET"
"""
SECRETS = {"TOKEN": "a-made-up-token", "SECRET": "a-made-up-webhook-secret"}
MESSAGE = {
    "eventType": "message",
    "id": "m1",
    "whatsappMessageId": "wamid.1",
    "waId": "50370000001",
    "text": "Hola",
    "type": "text",
    "owner": False,
    "timestamp": "1772452800",
}


@pytest.fixture
async def store(database: DatabaseUrls) -> AsyncIterator[Desk]:
    async with desk(database) as opened:
        yield opened


@pytest.fixture
def inbox(store: Desk) -> Inbox:
    """The inbox of a command beside the servers that run."""
    return Inbox(
        Means(store.pools, store.tasks, store.clock, store),
        placer=Placer({BUSINESS: "SV"}, {}),
        writer=store.incarnation.number,
        wake=store.woken.append,
        sets_aside=False,
    )


class TestReplay:
    async def test_what_can_be_read_by_now_is_delivered(self, store: Desk, inbox: Inbox) -> None:
        kept = await aside(store, b"strange")
        assert await again(store, inbox, kept, said("Hola")) == []
        assert await store.value("SELECT replayed_at FROM quarantine") == LATER
        # A sweep looks for what was received lately; the clock on the wall is the customer's.
        [key] = store.woken
        assert await store.journal.unread(LATER - timedelta(minutes=10)) == {key: 1}
        [message] = (await store.journal.load([key]))[key].untold
        assert (message.event_at, message.received_at) == (NOON, LATER)
        assert await quarantined.bodies(store.pools, BUSINESS, 10, replayed=False) == []
        assert await quarantined.waiting_ids(store.pools, BUSINESS) == []
        [listed] = await quarantined.bodies(store.pools, BUSINESS, 10, replayed=True)
        assert listed.replayed_at == LATER

    async def test_what_cannot_be_read_is_kept_once(self, store: Desk, inbox: Inbox) -> None:
        kept = await aside(store, b"strange")
        reasons = await again(store, inbox, kept, said("Hola"), Unusable("no_id"))
        assert reasons == ["no_id"]
        assert await store.value("SELECT count(*) FROM message") == 1
        assert await store.rows("SELECT replayed_at FROM quarantine") == [(None,)]

    async def test_what_the_store_refuses_is_kept_once(self, store: Desk, inbox: Inbox) -> None:
        kept = await aside(store, b"strange")
        assert await again(store, inbox, kept, said("\x00")) == ["refused_by_store"]
        assert await store.rows("SELECT replayed_at FROM quarantine") == [(None,)]

    async def test_what_is_known_by_now_is_stored_once(self, store: Desk, inbox: Inbox) -> None:
        kept = await aside(store, b"strange", said("Hola"))
        for _ in range(2):
            assert await again(store, inbox, kept, said("Hola"), said("Y?")) == []
        assert await store.value("SELECT count(*) FROM message") == 2

    async def test_what_says_nothing_to_us_is_read_too(self, store: Desk, inbox: Inbox) -> None:
        for arrivals in ((Ignored("ticket"),), (StatusUpdate(("k",), "read"),)):
            kept = await aside(store, b"strange")
            assert await again(store, inbox, kept, *arrivals) == []

    @pytest.mark.parametrize(("after_seconds", "seconds"), [(None, 0), (7200, 60), (30, 30)])
    async def test_nothing_was_said_after_its_body_came(
        self, store: Desk, inbox: Inbox, after_seconds: float | None, seconds: float
    ) -> None:
        kept = await aside(store, b"strange")
        await again(store, inbox, kept, said("Hola", after_seconds=after_seconds))
        event_at = await store.value("SELECT event_at FROM message")
        assert event_at == NOON + timedelta(seconds=seconds)

    async def test_tenants_do_not_see_one_anothers(self, store: Desk) -> None:
        kept = await aside(store, b"strange")
        assert await quarantined.body(store.pools, "bakery", kept) is None
        assert await quarantined.bodies(store.pools, "bakery", 10, replayed=True) == []


@pytest.mark.process
class TestCommands:
    async def test_a_list_is_for_people_and_for_scripts(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        empty = await relevo("quarantine", "list")
        assert (empty.code, empty.out) == (WELL, "Nothing is in the quarantine.\n")
        first, second = [await aside(store, body) for body in (b"{", b"[}")]
        listed = await relevo("quarantine", "list")
        head, newest, oldest = listed.out.splitlines()
        assert head.split()[0] == "id"
        assert newest.split() == [
            *(str(second), "2026-03-02", "12:00:00Z", "hotel", "line", "not_json", "2")
        ]
        assert oldest.startswith(str(first))
        [told, _] = orjson.loads((await relevo("quarantine", "list", "--json")).out)
        assert (told["id"], told["size_bytes"], told["replayed_at"]) == (second, 2, None)

    async def test_a_body_cannot_steer_the_terminal_and_is_given_out_whole(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = configured(database, tmp_path)
        body = b'{"a": "\x1b[2J\xff"}\n\x00' + b"x" * 30_000
        kept = str(await aside(store, body))
        shown = await relevo("quarantine", "show", kept)
        assert (shown.code, shown.errors) == (WELL, "")
        assert shown.out.startswith(f"Delivery {kept} of hotel, by channel line\n")
        assert '{"a": "\\x1b[2J\\xff"}' in shown.out
        assert "\x1b" not in shown.out
        assert len(shown.out) < 21_000
        assert "more; --raw gives all." in shown.out.splitlines()[-1]
        raw = await relevo("quarantine", "show", str(await aside(store, b"\x1b\r\n\x00")), "--raw")
        assert (raw.code, raw.out) == (WELL, "\x1b\r\n\x00")
        unknown = await relevo("quarantine", "show", "999")
        assert (unknown.code, unknown.out) == (
            BAD,
            "There is no delivery 999 in the quarantine.\n",
        )

    async def test_one_is_replayed_once(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = at_wati(database, tmp_path)
        kept = str(await aside(store, orjson.dumps(MESSAGE)))
        replayed = await relevo("quarantine", "replay", kept)
        assert (replayed.code, replayed.out, replayed.errors) == (
            WELL,
            f"Delivery {kept} is replayed; a server that runs begins within seconds.\n",
            "",
        )
        assert await store.value("SELECT body FROM message") == "Hola"
        again = await relevo("quarantine", "replay", kept)
        assert again.code == BAD
        assert again.out.startswith(f"Delivery {kept} was replayed 20")
        audit = await relevo("audit")
        assert audit.code == WELL

    async def test_of_all_that_are_replayed_the_kept_are_counted(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = at_wati(database, tmp_path)
        for body in (b"{", orjson.dumps(MESSAGE), b"[]"):
            await aside(store, body)
        await store.rows(
            "INSERT INTO quarantine (business_id, channel_id, reason, body, received_at)"
            " VALUES ('hotel', 'gone', 'not_json', '{', $1)",
            NOON,
        )
        replayed = await relevo("quarantine", "replay", "--all")
        assert (replayed.code, replayed.out.splitlines(), replayed.errors) == (
            BAD,
            [
                "1 delivery replayed.",
                "1 delivery kept: its channel is not configured any more.",
                "1 delivery kept: no_events.",
                "1 delivery kept: not_json.",
            ],
            "",
        )
        assert await store.value("SELECT count(*) FROM quarantine") == 4
        one = await relevo("quarantine", "replay", "1")
        assert (one.code, one.out) == (BAD, "Delivery 1 is kept: not_json.\n")

    async def test_an_id_that_two_businesses_have_needs_a_name(
        self, store: Desk, database: DatabaseUrls, tmp_path: Path
    ) -> None:
        relevo = at_wati(database, tmp_path)
        (tmp_path / "relevo.toml").write_text(f'{WATI}[[business]]\nid = "inn"\nregion = "SV"\n')
        await enter(store.pools, "inn", {})
        for business_id in (BUSINESS, "inn"):
            await store.rows(
                "INSERT INTO quarantine (business_id, id, channel_id, reason, body, received_at)"
                " OVERRIDING SYSTEM VALUE VALUES ($1, 7, 'line', 'not_json', $2, $3)",
                *(business_id, business_id.encode(), NOON),
            )
        both = await relevo("quarantine", "show", "7")
        assert "--business: name one; delivery 7 is in hotel, inn" in both.line
        one = await relevo("quarantine", "show", "7", "--business", "inn", "--raw")
        assert (one.code, one.out) == (WELL, "inn")
        listed = await relevo("quarantine", "list", "--business", "inn", "--json")
        assert [kept["business_id"] for kept in orjson.loads(listed.out)] == ["inn"]


def at_wati(urls: DatabaseUrls, folder: Path) -> Configured:
    """Call commands for a hotel with a line at WATI."""
    relevo = configured(urls, folder)
    (folder / "relevo.toml").write_text(WATI)
    return Configured(folder, {**relevo.environ, **SECRETS})


async def aside(store: Desk, body: bytes, *arrivals: Arrival) -> int:
    """Have a body that could not be read, or not wholly; return its id."""
    await store.deliver(*arrivals, Unusable("not_json"), body=body)
    return int(await store.value("SELECT max(id) FROM quarantine"))


async def again(store: Desk, inbox: Inbox, kept: int, *arrivals: Arrival) -> list[str]:
    """Replay it three hours later, when it reads like this."""
    found = await quarantined.body(store.pools, BUSINESS, kept)
    assert found is not None
    async with store.pools.tenant(BUSINESS) as connection:
        return await quarantined.replay(connection, inbox, found, arrivals, LATER)
