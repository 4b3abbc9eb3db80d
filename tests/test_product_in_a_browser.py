"""The whole product in this process, its page, a real Chromium."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from relevo.app import Options, Relevo
from relevo.config import load
from relevo.store.embedded import DatabaseUrls
from tests.programs import APT_TIMEOUT_SECONDS
from tests.sandbox_page import browser, sandbox_page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(2 * APT_TIMEOUT_SECONDS + 120)]


async def test_a_reply_takes_the_agents_words_into_account(
    database: DatabaseUrls, tmp_path: Path
) -> None:
    environ = {
        "RELEVO_SERVER_PORT": "0",
        "RELEVO_SERVER_METRICS_PORT": "0",
        "RELEVO_DATABASE_URL": database.url,
        "RELEVO_DATABASE_OWNER_URL": database.owner_url,
        "RELEVO_BUSINESS_DEMO_QUIET_SECONDS": "0.3",
        "RELEVO_BUSINESS_DEMO_GAP_SECONDS": "2",
    }
    (tmp_path / "relevo.toml").write_text(
        '[[business]]\nid = "demo"\n[[channel]]\nid = "sandbox"\nbusiness = "demo"\n'
        'kind = "sandbox"\n'
    )
    with (tmp_path / "log").open("wb") as log:
        relevo = Relevo(load(tmp_path / "relevo.toml", environ), Options(log_stream=log))
        await relevo.start()
        try:
            await play(f"http://127.0.0.1:{relevo.port}")
        finally:
            await relevo.stop()


async def play(url: str) -> None:
    async with browser() as chromium, sandbox_page(chromium, url) as page:
        icon = await page.page.request.get(f"{url}/favicon.ico")
        assert (icon.status, icon.headers["server"]) == (204, "relevo")
        await page.write_as_customer("Quisiera una mesa para dos")
        await page.wait_for_reply("first_contact")
        await page.set_agent_webhooks(False)
        await page.write_as_agent("Ya le aparte la mesa 4", "Luis")
        silence = page.page.locator("#silence")
        await expect(silence).to_have_attribute("data-gap", "true", timeout=20_000)
        await page.write_as_customer("Que paso?")
        reply = await page.wait_for_reply("verdict: gap")
        assert "agent: Ya le aparte la mesa 4" in reply
        await expect(page.turns.first).to_contain_text("missed", timeout=20_000)
