"""The sandbox's page in a real Chromium, with a stand-in that answers every customer."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from relevo.http.sandbox_page import LISTENERS_MAX
from relevo.messages import Author, InboundMessage
from tests.programs import APT_TIMEOUT_SECONDS
from tests.sandbox_page import DESKTOP, PHONE, browser, sandbox_page
from tests.sandbox_rig import PAGE, SandboxServer, listeners, sandbox_server

pytestmark = [pytest.mark.browser, pytest.mark.timeout(2 * APT_TIMEOUT_SECONDS + 120)]

SIZES = pytest.mark.parametrize("size", [DESKTOP, (1100, 760), PHONE], ids=["wide", "mid", "phone"])
TURNS = [
    {"verdict": "gap", "silence_seconds": 21, "recall": "complete", "recalled": 1, "missed": 1},
    {"verdict": "first_contact", "recall": "complete", "recalled": 0, "outcome": "answered"},
]


async def answer(server: SandboxServer, arrival: InboundMessage) -> None:
    if arrival.author is Author.CUSTOMER:
        await server.channel.send(
            arrival.addresses[0], f"You said: {arrival.body}", arrival.keys[0]
        )


async def explain(_phone: str) -> Sequence[Mapping[str, Any]]:
    return TURNS


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as launched:
        yield launched


@pytest.fixture
async def server() -> AsyncIterator[SandboxServer]:
    async with sandbox_server(page=replace(PAGE, explain=explain)) as running:
        running.react = answer
        yield running


@SIZES
async def test_a_customer_writes_and_is_answered(
    chromium: Browser, server: SandboxServer, size: tuple[int, int]
) -> None:
    async with sandbox_page(chromium, server.url, size) as page:
        await page.write_as_customer("Do you have a room?")
        assert await page.wait_for_reply("You said") == "You said: Do you have a room?"
        delivered = page.desk.filter(has_text="webhook delivered")
        await expect(delivered).to_have_count(1)


@SIZES
async def test_an_agent_writes_what_only_the_history_knows(
    chromium: Browser, server: SandboxServer, size: tuple[int, int]
) -> None:
    async with sandbox_page(chromium, server.url, size) as page:
        await page.write_as_agent("Hello, Maria here", "Maria")
        await page.set_agent_webhooks(False)
        await page.write_as_agent("I keep room 204 for you", "José")
        await page.send_greeting()
        await page.set_agent_webhooks(True)
        await page.write_as_customer("thank you")
        await page.wait_for_reply("thank you")
        await expect(page.desk.filter(has_text="only the history knows")).to_have_count(2)
        phone = await page.selected()
    heard = [server.received.get_nowait().body for _ in range(server.received.qsize())]
    assert heard == ["Hello, Maria here", "thank you"]
    kept = [(each.author, each.name) for each in server.provider.thread(phone)]
    assert kept == [
        (Author.AGENT, "Maria"),
        (Author.AGENT, "José"),
        (Author.AUTOMATION, "Automatic greeting"),
        (Author.CUSTOMER, "Ana"),
        (Author.ASSISTANT, "Relevo"),
    ]


@SIZES
async def test_customers_are_kept_apart(
    chromium: Browser, server: SandboxServer, size: tuple[int, int]
) -> None:
    async with sandbox_page(chromium, server.url, size) as page:
        first = await page.selected()
        await page.write_as_customer("I am the first")
        await page.wait_for_reply("the first")
        second = await page.add_customer()
        await expect(page.desk).to_have_count(0)
        await page.write_as_customer("I am the second")
        await page.wait_for_reply("the second")
        await page.select(first)
        await expect(page.desk).to_have_count(2)
        server.provider.write(second, Author.ASSISTANT, "for the second")
        server.provider.write(first, Author.ASSISTANT, "for the first")
        await page.wait_for_reply("for the first")
        shown = await page.desk.locator(".text").all_text_contents()
        assert shown == ["I am the first", "You said: I am the first", "for the first"]
    assert {each.phone for each in server.provider.customers()} == {first, second}


@SIZES
async def test_the_page_fits_its_window(
    chromium: Browser, server: SandboxServer, size: tuple[int, int]
) -> None:
    async with sandbox_page(chromium, server.url, size) as page:
        for _ in range(6):
            await page.add_customer()
        await page.write_as_customer("word" * 200)
        for tab in ("Customer", "Agent", "Relevo"):
            await page.show(tab)
            overflow = await page.page.evaluate(
                "[document.documentElement.scrollWidth - innerWidth,"
                " document.documentElement.scrollHeight - innerHeight]"
            )
            assert overflow == [0, 0]
        await page.show("Agent")
        for reachable in ("New customer", "Automatic greeting", "Send as the agent"):
            button = page.page.get_by_role("button", name=reachable)
            await expect(button).to_be_in_viewport(ratio=1)


async def test_two_windows_show_the_same(chromium: Browser, server: SandboxServer) -> None:
    async with (
        sandbox_page(chromium, server.url) as one,
        sandbox_page(chromium, server.url, PHONE, dark=True) as other,
    ):
        await one.write_as_customer("Do you see this?")
        await other.wait_for_reply("Do you see this?")
        await one.set_agent_webhooks(False)
        await expect(other.page.locator("#agent-webhooks")).not_to_be_checked()
        phone = await one.add_customer()
        await one.write_as_customer("And me?")
        await other.select(phone)
        await other.wait_for_reply("And me?")


async def test_a_page_that_lost_its_line_reads_what_it_missed(
    chromium: Browser, server: SandboxServer
) -> None:
    async with sandbox_page(chromium, server.url) as page:
        phone = await page.selected()
        async with listeners(server.url, LISTENERS_MAX):  # the last of them takes its place
            server.provider.write(phone, Author.ASSISTANT, "while you were away")
            assert await page.wait_for_reply("away") == "while you were away"


async def test_a_text_is_never_taken_for_markup(chromium: Browser, server: SandboxServer) -> None:
    text = "<img src=x onerror=\"document.title='taken'\"><b>bold</b>"
    async with sandbox_page(chromium, server.url) as page:
        await page.write_as_customer(text)
        assert await page.wait_for_reply("You said") == f"You said: {text}"
        assert await page.page.title() == "Relevo · Sandbox"
        assert await page.page.locator(".text img, .text b").count() == 0


async def test_enter_sends_and_shift_enter_does_not(
    chromium: Browser, server: SandboxServer
) -> None:
    async with sandbox_page(chromium, server.url) as page:
        box = page.page.get_by_label("Write as the customer")
        await box.press_sequentially("one")
        await box.press("Shift+Enter")
        await box.press_sequentially("two")
        await box.press("Enter")
        assert await page.wait_for_reply("two") == "You said: one\ntwo"
        await expect(box).to_have_value("")


async def test_a_refused_text_is_given_back(chromium: Browser, server: SandboxServer) -> None:
    async with sandbox_page(chromium, server.url) as page:
        box = page.page.get_by_label("Write as the customer")
        await page.page.route("**/sandbox/api/customer", lambda route: route.fulfill(status=503))
        await box.fill("hello")
        await box.press("Enter")
        await expect(page.page.get_by_role("alert")).to_contain_text("The server answered 503.")
        await expect(box).to_have_value("hello")
        page.complaints.clear()  # the browser itself names every answer like that


async def test_the_turns_are_explained(chromium: Browser, server: SandboxServer) -> None:
    async with sandbox_page(chromium, server.url) as page:
        await expect(page.turns).to_have_count(2)
        gap, first = page.turns.first, page.turns.last
        await expect(gap).to_contain_text("21 s of silence before")
        await expect(gap).to_contain_text("History read, 1 new message")
        await expect(gap).to_contain_text("AI told of 1 missed message")
        await expect(gap).to_contain_text("Under way")
        await expect(first).to_contain_text("First contact")
        await expect(first).to_contain_text("Answered")


async def test_the_rules_are_named_in_the_hint(chromium: Browser, server: SandboxServer) -> None:
    async with sandbox_page(chromium, server.url) as page:
        hint = page.page.get_by_label("What to try")
        await expect(hint).to_contain_text("Wait 20 s, write as the customer again")
        await expect(hint).to_contain_text("a reply after 2 s of quiet")
