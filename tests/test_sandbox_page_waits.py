"""What the sandbox's page says while something is awaited, and how it fits small screens."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from relevo.http.sandbox import TEXT_CHARS_MAX
from relevo.messages import Author
from tests.programs import APT_TIMEOUT_SECONDS
from tests.sandbox_page import PHONE, browser, sandbox_page
from tests.sandbox_rig import PAGE, sandbox_server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(2 * APT_TIMEOUT_SECONDS + 120)]

EVERYWHERE = pytest.mark.parametrize("size", [(1440, 900), (1280, 720), (1024, 700), PHONE])
ONE_LINE_PX = 46


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as launched:
        yield launched


# --- waiting ----------------------------------------------------------------------------------


async def test_a_burst_is_seen_to_gather_until_the_reply_comes(chromium: Browser) -> None:
    long = replace(PAGE, quiet_seconds=3600)
    async with (
        sandbox_server(page=long) as server,
        sandbox_page(chromium, server.url) as page,
    ):
        sign = page.page.locator("#waiting")
        await expect(sign).to_be_hidden()
        await page.write_as_customer("Hello")
        await page.write_as_customer("a room for two?")
        await expect(sign).to_have_text("Gathering, answers after 3600 s of silence")
        await expect(page.turns).to_have_count(1)
        await expect(page.turns).to_contain_text("2 messages wait")
        server.provider.write(await page.selected(), Author.ASSISTANT, "Yes, of course")
        await expect(sign).to_be_hidden()
        await expect(page.turns).to_have_count(0)


async def test_after_the_silence_the_page_says_that_the_answer_is_made(chromium: Browser) -> None:
    ended: list[Mapping[str, Any]] = []

    async def explain(_phone: str) -> Sequence[Mapping[str, Any]]:
        return ended

    async with (
        sandbox_server(page=replace(PAGE, quiet_seconds=0, explain=explain)) as server,
        sandbox_page(chromium, server.url) as page,
    ):
        await page.write_as_customer("Hello")
        await expect(page.turns).to_contain_text("1 message waits")
        await expect(page.page.locator("#waiting")).to_have_text("Reading and answering")
        ended.append({"at": server.provider.now(), "verdict": "none", "outcome": "no_reply"})
        await expect(page.turns).to_contain_text("Chose silence")
        await expect(page.turns).to_have_count(1)
        await expect(page.page.locator("#waiting")).to_be_hidden()


@EVERYWHERE
async def test_a_page_without_its_server_says_so_and_goes_on_by_itself(
    chromium: Browser, size: tuple[int, int]
) -> None:
    async with AsyncExitStack() as first:
        server = await first.enter_async_context(sandbox_server())
        port = int(server.url.rpartition(":")[2])
        async with sandbox_page(chromium, server.url, size) as page:
            await page.write_as_customer("Hello")
            await expect(page.page.locator("#waiting")).to_be_visible()
            await first.aclose()
            notice = page.page.get_by_role("alert")
            await expect(notice).to_have_text(
                "Relevo does not answer. Is it still running?"
                " The page goes on by itself when it is back."
            )
            await page.show("Agent")
            box = page.page.get_by_label("Write as the agent")
            await box.fill("Anyone?")
            await page.page.get_by_role("button", name="Send as the agent").click()
            await expect(box).to_have_value("Anyone?")
            await expect(notice).to_contain_text("Relevo does not answer.")
            await expect(page.page.locator("#waiting")).to_be_hidden()  # who knows
            assert await covered(page.page, "#notice") == []
            async with sandbox_server(port=port):
                await expect(notice).to_be_hidden(timeout=15_000)
                await expect(page.page.locator("#live")).to_have_text("Live")
                await page.write_as_customer("And now?")
            page.complaints.clear()  # the browser itself names every failed request


# --- room -------------------------------------------------------------------------------------


async def covered(page: Page, selector: str) -> list[str]:
    """Return what of the page's own parts this element lies over."""
    found: list[str] = await page.evaluate(
        """selector => {
          const box = (node) => node.getBoundingClientRect();
          const one = box(document.querySelector(selector));
          const parts = document.querySelectorAll("h1, .live, .hint, .tabs, main > *");
          return [...parts].filter((part) => {
            const other = box(part);
            return other.width && one.left < other.right && other.left < one.right
              && one.top < other.bottom && other.top < one.bottom;
          }).map((part) => part.className || part.tagName);
        }""",
        selector,
    )
    return found


async def height(page: Page, selector: str) -> float:
    box = await page.locator(selector).bounding_box()
    assert box is not None, f"{selector} is not shown"
    return box["height"]


@EVERYWHERE
async def test_the_agents_side_keeps_its_shape(chromium: Browser, size: tuple[int, int]) -> None:
    async with sandbox_server() as server, sandbox_page(chromium, server.url, size) as page:
        for _ in range(3):
            await page.add_customer()
        await page.write_as_customer("Do you have a double room this weekend?")
        await page.show("Agent")
        window = page.page
        assert await height(window, "#desk-text") < ONE_LINE_PX  # the placeholder stands in one
        assert await height(window, "#desk-phone") < ONE_LINE_PX / 2
        assert await height(window, "#desk-form") < 1.7 * ONE_LINE_PX
        assert await height(window, ".tools") < 2 * ONE_LINE_PX  # switch and greeting side by side
        assert await height(window, "#desk-chat") > size[1] * 0.38
        assert await height(window, ".hint") < 2.2 * ONE_LINE_PX


async def test_the_page_says_what_a_restart_forgets(chromium: Browser) -> None:
    async with sandbox_server() as server:
        for size in ((1024, 700), PHONE):
            async with sandbox_page(chromium, server.url, size) as page:
                sentence = page.page.get_by_text("a restart empties them")
                await expect(sentence).to_be_in_viewport(ratio=1)


# --- writing ----------------------------------------------------------------------------------


async def test_a_text_that_nears_the_limit_is_counted(chromium: Browser) -> None:
    async with sandbox_server() as server, sandbox_page(chromium, server.url) as page:
        box, count = page.page.get_by_label("Write as the agent"), page.page.locator("#desk-count")
        await box.fill("short")
        await expect(count).to_be_hidden()
        await box.fill("x" * (TEXT_CHARS_MAX - 1))
        await expect(count).to_have_text("1 character left")
        await page.page.keyboard.insert_text("and much more, as if pasted")
        await expect(count).to_have_text(
            f"{TEXT_CHARS_MAX} characters, the most a message may have. What was longer is cut off."
        )
        await box.press("Enter")
        await expect(count).to_be_hidden()
        await expect(page.desk.locator(".text")).to_have_text("x" * (TEXT_CHARS_MAX - 1) + "a")
