"""The sandbox's page as a person uses it, in a real browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, Locator, Page, async_playwright, expect

from tests import programs
from tests.programs import required

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = (1440, 900)
PHONE = (390, 844)


class SandboxPage:
    """A loaded page; its steps return when the page shows that they are done."""

    def __init__(self, page: Page, timeout_seconds: float = 15) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._timeout_ms = timeout_seconds * 1000
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda line: self.complaints.append(line.text) if line.type == "error" else None,
        )

    @property
    def phone(self) -> Locator:
        """The bubbles on the customer's phone."""
        return self.page.locator("#phone-chat .bubble")

    @property
    def desk(self) -> Locator:
        """The bubbles in the agent's inbox."""
        return self.page.locator("#desk-chat .bubble")

    @property
    def turns(self) -> Locator:
        """The turns of the selected customer, the latest first."""
        return self.page.locator("#turns .turn")

    async def open(self, url: str) -> None:
        """Load the page and wait until it is live."""
        await self.page.goto(f"{url}/sandbox")
        await self._soon(self.page.locator("#live")).to_have_attribute("data-state", "live")
        await self._soon(self.page.locator("#customers [aria-current=true]")).to_have_count(1)

    async def write_as_customer(self, text: str) -> None:
        """Write on the phone, sending with Enter, and see it there and in the inbox."""
        await self.show("Customer")
        box = self.page.get_by_label("Write as the customer")
        await box.fill(text)
        await box.press("Enter")
        await self._soon(self.phone.filter(has_text=text).last).to_be_attached()
        await self._soon(self.desk.filter(has_text=text).last).to_be_attached()

    async def write_as_agent(self, text: str, name: str) -> None:
        """Write in the inbox under this name, sending with the button, and see it on the phone."""
        await self.show("Agent")
        await self.page.get_by_label("The agent's name").fill(name)
        await self.page.get_by_label("Write as the agent").fill(text)
        await self.page.get_by_role("button", name="Send as the agent").click()
        await self._soon(self.desk.filter(has_text=text).filter(has_text=name)).to_have_count(1)
        await self._soon(self.phone.filter(has_text=text)).to_have_count(1)

    async def set_agent_webhooks(self, on: bool) -> None:  # noqa: FBT001  (a switch is on or off)
        """Turn the switch as a person does: by clicking at its words."""
        await self.show("Agent")
        switch = self.page.get_by_role("switch", name="Agent webhooks")
        if await switch.is_checked() is not on:
            await self.page.get_by_text("Agent webhooks", exact=True).click()
        state = "agents and automation are heard" if on else "agents and automation go unheard"
        told = self.page.locator("#agent-webhooks-text")
        await self._soon(told).to_have_text(f"{'On' if on else 'Off'}: {state}")

    async def send_greeting(self) -> None:
        """Let the automation greet."""
        await self.show("Agent")
        before = await self.desk.and_(self.page.locator("[data-author=automation]")).count()
        await self.page.get_by_role("button", name="Automatic greeting").click()
        greetings = self.desk.and_(self.page.locator("[data-author=automation]"))
        await self._soon(greetings).to_have_count(before + 1)

    async def add_customer(self) -> str:
        """Make up a customer, and return the phone number that the page selects."""
        await self.show("Agent")
        before = await self.page.locator("#customers li").count()
        await self.page.get_by_role("button", name="New customer").click()
        await self._soon(self.page.locator("#customers li")).to_have_count(before + 1)
        return await self.selected()

    async def select(self, phone: str) -> None:
        """Choose a customer in the inbox's list."""
        await self.show("Agent")
        row = self.page.locator(f'#customers [data-phone="{phone}"]')
        await row.click()
        await self._soon(row).to_have_attribute("aria-current", "true")

    async def selected(self) -> str:
        """Return the phone number of the chosen customer."""
        row = self.page.locator("#customers [aria-current=true]")
        return await row.get_attribute("data-phone", timeout=self._timeout_ms) or ""

    async def wait_for_reply(self, containing: str) -> str:
        """Wait for a message of the AI that has this in it, and return its whole text."""
        reply = self.desk.and_(self.page.locator("[data-author=assistant]"))
        newest = reply.filter(has_text=containing).last
        await self._soon(newest).to_be_attached()
        await self._soon(self.phone.filter(has_text=containing).last).to_be_attached()
        return await newest.locator(".text").text_content() or ""

    async def show(self, tab: str) -> None:
        """On a narrow screen, turn to this view; a wide one shows everything."""
        button = self.page.locator(".tabs button").filter(has_text=tab)
        if await button.is_visible():
            await button.click()

    def _soon(self, locator: Locator) -> "_Soon":
        return _Soon(locator, self._timeout_ms)


class _Soon:
    """What the page must come to show, within the time a step has."""

    def __init__(self, locator: Locator, timeout_ms: float) -> None:
        self._expect = expect(locator)
        self._timeout_ms = timeout_ms

    async def to_be_attached(self) -> None:
        await self._expect.to_be_attached(timeout=self._timeout_ms)

    async def to_have_count(self, count: int) -> None:
        await self._expect.to_have_count(count, timeout=self._timeout_ms)

    async def to_have_text(self, text: str) -> None:
        await self._expect.to_have_text(text, timeout=self._timeout_ms)

    async def to_have_attribute(self, name: str, value: str) -> None:
        await self._expect.to_have_attribute(name, value, timeout=self._timeout_ms)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Run a Chromium without a window; skips the test where there is none."""
    path = required(programs.chromium(), "Chromium")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield launched
        finally:
            await launched.close()


@asynccontextmanager
async def sandbox_page(
    browser: Browser, url: str, size: tuple[int, int] = DESKTOP, *, dark: bool = False
) -> AsyncIterator[SandboxPage]:
    """Open the page in a window of this size; no step may leave a complaint in its console."""
    width, height = size
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    try:
        page = SandboxPage(await context.new_page())
        await page.open(url)
        yield page
        assert page.complaints == []
    finally:
        await context.close()
