"""The pages in a real Chromium: signed in, looked for, read, suspended and seen to change, by mouse and by keyboard."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, async_playwright, expect

from tests.console.conftest import OPERATOR, READER, Console


@pytest_asyncio.fixture
async def page(chromium: str) -> AsyncIterator[Page]:
    """A page on which nothing may go wrong: no script error, no refusal by the content policy."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = await browser.new_page()
        wrong: list[str] = []
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
        yield opened
        await browser.close()
        assert wrong == []


async def sign_in(page: Page, console: Console, token: str) -> None:
    """By keyboard alone: the field has the focus."""
    await page.goto(console.url)
    await expect(page.get_by_label("Your token")).to_be_focused()
    await page.keyboard.type(token)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()


async def test_an_operator_finds_a_website_and_suspends_it(page: Page, working: Console) -> None:
    """From the overview by filter and search to its page; the button asks why; the page follows by itself."""
    await working.sign_up(7)
    await working.reaches(7, "live")
    await sign_in(page, working, OPERATOR)
    await page.get_by_label("live: 1 websites").press("Enter")
    await page.get_by_label("Search").fill("site-7")
    await page.get_by_role("button", name="Show").click()
    await page.get_by_role("link", name="site-7").click()
    await expect(page.get_by_text("links have")).to_be_visible()
    await expect(page.get_by_text("ana@example.com")).to_be_visible()
    await page.get_by_text("Takes it offline.").click()
    suspend = page.locator("details[open]")
    await suspend.get_by_label("Why?").fill("unpaid")
    await suspend.get_by_label("Why?").press("Enter")
    await expect(page.get_by_role("status")).to_contain_text("Sent: suspend")
    await expect(page.locator("#where .state")).to_have_text("suspended")
    await expect(page.locator("#history li").first).to_contain_text("console:ana")
    await page.get_by_text("Ends it for good. There is no way back.").click()
    terminate = page.locator("details[open]")
    await terminate.get_by_label("Why?").fill("asked for")
    await terminate.get_by_label("to confirm").fill("8")
    await terminate.get_by_role("button").click()
    await expect(page.get_by_role("alert")).to_contain_text("nothing was sent")


async def test_the_machine_counts_while_one_looks(page: Page, working: Console) -> None:
    """A signup shows on the drawing, without a reload."""
    await sign_in(page, working, READER)
    await page.evaluate("window.kept = true")
    await working.sign_up(7)
    await expect(page.locator("[data-count=live]")).to_have_text("1")
    assert await page.evaluate("window.kept")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_phone(page: Page, working: Console, scheme: str) -> None:
    """No page is wider than the screen of a phone, and a reader has no buttons."""
    await working.sign_up(7)
    await working.reaches(7, "live")
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.emulate_media(color_scheme=scheme)
    await sign_in(page, working, READER)
    for path in ("/", "/websites", "/websites/7", "/failures", "/dead-letters"):
        await page.goto(working.url + path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path
    assert await page.get_by_text("What you may do").count() == 0
