"""The status of the service on every page: read by readers and operators, live, and never stale in silence."""

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from consumer.broker.protocol import Message
from consumer.broker.topology import Topology
from ops.console import broadcaster, overview_feed
from ops.console.app import STATIC
from ops.publishing import publish_all, publishing
from ops.workers.pause import pause_or_resume
from tests.console.conftest import OPERATOR, READER, SIGNUP, Console
from tests.console.test_api import events
from tests.worker_processes import until

PAGES = ("/", "/websites", "/failures", "/dead-letters", "/workers", "/actions", "/doctor")
LIVENESS_MS = 15_000
"""A page waits four seconds before it says that it is not live."""


async def fail_websites(console: Console, *ids: int) -> None:
    await console.db.execute(
        "INSERT INTO pwb_websites (id, subdomain, created_at, updated_at) "
        "SELECT n, 'broken-' || n, now(), now() FROM unnest($1::bigint[]) AS n",
        ids,
    )
    await console.db.execute(
        "UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_at = now(), "
        "provisioning_attempts = 8, provisioning_error = 'no agency' WHERE id = ANY ($1)",
        ids,
    )


async def add_dead_letters(console: Console, count: int) -> None:
    queue = Topology("t").dead_letters
    async with publishing(console.broker) as session:
        made = (Message(str(uuid.uuid4()), "x", b"{}", "", queue, mandatory=True) for _ in range(count))
        await publish_all(session, list(made))


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The overview is read more often than people need it."""
    monkeypatch.setattr(overview_feed, "READ_SECONDS", 0.2)


@pytest_asyncio.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A browser of nobody's."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        await launched.close()


@pytest_asyncio.fixture
async def page(browser: Browser, console: Console) -> AsyncIterator[Page]:
    """A page of an operator, on which no script may fail."""
    opened = await browser.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    await opened.goto(console.url)
    await opened.get_by_label("Your token").fill(OPERATOR)
    await opened.keyboard.press("Enter")

    async def has_stream() -> bool:
        return bool(console.server.context.broadcaster._streams)

    await until(has_stream, 60, "the page's stream is open")
    yield opened
    assert wrong == []


# ------------------------------------------------------------------------------------------------------ API and pages


async def test_the_api_has_the_overview(console: Console) -> None:
    """For readers, too, with each figure's page, and described by its types; the signup system may not read it."""
    await fail_websites(console, 7, 8)
    await add_dead_letters(console, 3)
    async with console.client(READER) as client, console.client(SIGNUP) as signup:
        found = (await client.get("/api/overview")).json()
        assert (found["failed"], found["dead_letters"], found["queues"]) == (2, 3, {"signups": 0, "commands": 0})
        items = {item["name"]: item for item in found["items"]}
        assert (items["failed"]["level"], items["failed"]["text"], items["failed"]["page"]) == (
            "fail",
            "2",
            "/failures",
        )
        assert items["on_defaults"]["page"] == "/websites?on_defaults=true"
        assert found["read_at"]["database"] <= found["at"]
        assert (await signup.get("/api/overview")).status_code == 403
        described = (await client.get("/api/openapi.json")).json()
        answer = described["paths"]["/api/overview"]["get"]["responses"]["200"]["content"]["application/json"]
        assert answer["schema"]["$ref"].endswith("/Overview")


async def test_readers_see_no_address_in_it(console: Console) -> None:
    """A reason for a pause may have one: masked on the page, in the answer and in the stream; operators read it."""
    await pause_or_resume(
        console.server.context.store, "pause", None, actor="cli:ana", reason="ask eva@example.com", seconds=0
    )
    async with console.client(READER) as reader, console.client(OPERATOR) as operator:
        for path in ("/api/overview", "/"):
            shown, hidden = (await operator.get(path)).text, (await reader.get(path)).text
            assert ("eva@example.com" in shown, "eva@example.com" in hidden) == (True, False), path
        for client, is_masked in ((reader, True), (operator, False)):
            streamed = [value for name, value in await events(client, "/api/events", 5) if name == "overview"]
            assert streamed
            assert all(("eva@example.com" not in json.dumps(value)) == is_masked for value in streamed)


async def test_every_page_has_it_without_a_script(console: Console) -> None:
    """Status, the time at which it was read, and counts in the navigation; the login has none."""
    await fail_websites(console, 7, 8)
    await add_dead_letters(console, 3)
    async with console.client(OPERATOR) as client, console.client() as nobody:
        for path in PAGES:
            text = (await client.get(path)).text
            assert "<span>failed</span> <b>2</b>" in text, path
            assert '<span class="count dead_letters" data-number="dead_letters">3</span>' in text, path
            assert "As of " in text, path
        refused = await client.get("/websites?limit=x")
        assert (refused.status_code, "<span>failed</span> <b>2</b>" in refused.text) == (400, True)
        assert "band" not in (await nobody.get("/login")).text


async def test_a_page_comes_before_the_status_is_read(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a server does not answer, a page says that it is not read yet, and the API that it may be asked again."""
    feed = console.server.context.overview
    monkeypatch.setattr(feed._reader, "read", asyncio.Event().wait)
    monkeypatch.setattr(overview_feed, "PAGE_SECONDS", 0.1)
    async with console.client(OPERATOR) as client:
        assert "Not read yet" in (await client.get("/")).text
        answer = await client.get("/api/overview")
        assert (answer.status_code, "try again in a second" in answer.text) == (503, True)


async def test_the_figures_name_what_failed(console: Console) -> None:
    """Failed websites and dead letters stand before what went live."""
    await fail_websites(console, 7, 8)
    await add_dead_letters(console, 3)
    async with console.client(READER) as client:
        figures = (await client.get("/")).text.partition('id="figures"')[2].partition("</section>")[0]
    assert figures.index("Failed") < figures.index("Dead letters") < figures.index("Went live")
    assert "<b>2</b>" in figures
    assert "<b>3</b>" in figures


async def test_a_stream_ends_with_its_session(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has signed out elsewhere is sent nothing more."""
    monkeypatch.setattr(broadcaster, "CONFIRM_SECONDS", 0.0)
    async with console.client() as client:
        await console.sign_in(client, OPERATOR)
        async with asyncio.timeout(60), client.stream("GET", "/api/events") as answer:
            assert answer.status_code == 200
            lines = 0
            async for _ in answer.aiter_lines():
                lines += 1
                await console.db.execute("DELETE FROM provisioning_sessions")
        assert lines
        assert (await client.get("/api/events")).status_code == 401


# -------------------------------------------------------------------------------------------------------- the browser


def status(page: Page) -> Any:
    """What the page says about itself."""
    return page.locator("#notice").get_by_role("status")


def end_streams(console: Console) -> None:
    """End all streams, as after their time or when a proxy cuts them."""
    for queue in list(console.server.context.broadcaster._streams):
        broadcaster._put(queue, None)


async def test_the_status_is_live(page: Page, console: Console) -> None:
    """Without a reload: figures, their levels, the counts in the navigation; hostile text stays text."""
    await expect(page.locator("#band-items li.l-ok").first).to_contain_text("failed 0")
    await page.evaluate("window.kept = true")
    await fail_websites(console, 7, 8)
    await add_dead_letters(console, 3)
    await expect(page.locator("#band-items li.l-fail").first).to_contain_text("failed 2")
    await expect(page.get_by_role("link", name="Failures 2", exact=True)).to_be_visible()
    await expect(page.get_by_role("link", name="Dead letters 3", exact=True)).to_be_visible()
    await expect(page.locator("#figures")).to_contain_text(re.compile(r"Failed\s*2"))
    await pause_or_resume(
        console.server.context.store, "pause", None, actor="cli:ana", reason="<b>x</b>\u202e", seconds=0
    )
    await expect(page.locator("#band-items")).to_contain_text(r"none, all paused by cli:ana: <b>x</b>\u202e")
    assert await page.evaluate("window.kept")


@pytest.mark.parametrize(
    ("path", "part"), [("/websites", "#websites"), ("/failures", "#groups"), ("/dead-letters", "#letters")]
)
async def test_lists_are_live(page: Page, console: Console, path: str, part: str) -> None:
    """Websites, failures and dead letters show what has come, without a reload."""
    await page.goto(console.url + path)
    await page.evaluate("window.kept = true")
    await expect(page.locator("#band-items")).to_contain_text("failed 0")
    await fail_websites(console, 7)
    await add_dead_letters(console, 1)
    shown = {"#websites": "broken-7", "#groups": "no agency", "#letters": "1 of 1 shown"}[part]
    await expect(page.locator(part)).to_contain_text(shown)
    assert await page.evaluate("window.kept")


async def test_what_somebody_types_stays(page: Page, console: Console) -> None:
    """The part is renewed once they have left it."""
    await add_dead_letters(console, 1)
    await page.goto(console.url + "/dead-letters")
    await page.get_by_text("Discard these 1 for good").first.click()
    await page.get_by_label("Why?").last.fill("half a sen")
    await add_dead_letters(console, 1)
    await expect(page.get_by_role("link", name="Dead letters 2", exact=True)).to_be_visible()
    await expect(page.get_by_label("Why?").last).to_have_value("half a sen")
    await page.wait_for_function("later.has('letters')")
    await expect(page.locator("#letters")).to_contain_text("1 of 1 shown")
    await page.get_by_label("Why?").last.fill("")
    await page.get_by_text("Discard these 1 for good").first.click()
    await page.get_by_role("heading", name="Dead letters").first.click()
    await page.evaluate("document.activeElement.blur()")
    await expect(page.locator("#letters")).to_contain_text("2 of 2 shown")


async def test_a_stream_that_broke_is_told_and_comes_back(page: Page, console: Console) -> None:
    """Since when, and that it is connecting again; then the message goes, and the status is of now."""
    await page.route("**/api/events", lambda route: route.abort())
    end_streams(console)
    await expect(status(page)).to_contain_text("Not live since ", timeout=LIVENESS_MS)
    await expect(status(page)).to_contain_text("UTC, connecting again (the console does not answer)")
    await fail_websites(console, 7)
    await page.unroute("**/api/events")
    await expect(status(page)).to_have_count(0, timeout=LIVENESS_MS)
    await expect(page.locator("#band-items")).to_contain_text("failed 1")


async def test_a_connection_that_is_dead_and_looks_open_is_noticed(
    page: Page, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading that was announced does not come, and nothing else does."""
    script = (STATIC / "console.js").read_text().replace("LATE_MS = 10000", "LATE_MS = 100")
    await page.route("**/static/console.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    await page.reload()
    await expect(page.locator("#band-at")).to_contain_text("As of")
    await page.route("**/api/events", lambda route: route.abort())
    monkeypatch.setattr(console.server.context.overview, "_publish", lambda _: None)
    await expect(status(page)).to_contain_text("Not live since ", timeout=LIVENESS_MS)


async def test_the_end_of_a_stream_does_not_flash(page: Page, console: Console) -> None:
    """Streams end after a quarter of an hour: the next one is open before anything is said."""
    await page.evaluate(
        """window.said = 0;
        new MutationObserver(() => { window.said += 1; }).observe(notice_place(), { childList: true, subtree: true });
        function notice_place() { return document.getElementById("notice"); }"""
    )
    streams = console.server.context.broadcaster._streams
    before = set(streams)
    end_streams(console)

    async def is_new() -> bool:
        return bool(streams) and not before & set(streams)

    await until(is_new, 60, "the next stream")
    await fail_websites(console, 7)
    await expect(page.locator("#band-items")).to_contain_text("failed 1")
    assert await page.evaluate("window.said") == 0


async def test_a_full_house_is_told(page: Page, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that gets no stream says why."""
    monkeypatch.setattr(console.server.context.quotas, "_max_streams", 0)
    end_streams(console)
    await expect(status(page)).to_contain_text("event streams are under way, as many as may be", timeout=LIVENESS_MS)


async def test_a_session_that_ended_is_told(page: Page, console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time of what the page shows, and the way back in; nothing is asked any more."""
    monkeypatch.setattr(broadcaster, "CONFIRM_SECONDS", 0.0)
    await console.db.execute("DELETE FROM provisioning_sessions")
    await expect(status(page)).to_contain_text("Your session has ended. This page shows what was there at ")
    await page.get_by_role("link", name="Sign in again").click()
    await page.get_by_label("Your token").fill(OPERATOR)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await expect(status(page)).to_have_count(0)


async def test_a_hidden_page_has_no_stream(page: Page, console: Console) -> None:
    """A browser has six connections for all pages of one address: a tab takes one only while somebody sees it."""
    hide = """state => { Object.defineProperty(document, "visibilityState", { get: () => state, configurable: true });
                         document.dispatchEvent(new Event("visibilitychange")); }"""
    quotas = console.server.context.quotas

    async def no_stream() -> bool:
        return quotas.streams() == 0

    await page.evaluate(hide, "hidden")
    await until(no_stream, 60, "the hidden page's stream has ended")
    await fail_websites(console, 7)
    await page.evaluate(hide, "visible")
    await expect(page.locator("#band-items")).to_contain_text("failed 1")
    await expect(page.locator("#figures")).to_contain_text(re.compile(r"Failed\s*1"))
    assert quotas.streams() == 1
