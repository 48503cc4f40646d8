"""Workers in the console: listed, paused and resumed by operators who mean it, and looked over by the doctor."""

import pytest
from playwright.async_api import Page, expect

from ops.console.routes import workers
from ops.workers import pause as pausing
from tests.console.conftest import OPERATOR, READER, SIGNUP, Console
from tests.console.test_pages import page, sign_in
from tests.worker_processes import until

__all__ = ["page"]


@pytest.fixture(autouse=True)
def _hurries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pausing, "POLL_SECONDS", 0.05)


async def known(console: Console) -> None:
    """Wait until the worker has said that it is there."""
    await until(lambda: console.db.fetchval("SELECT count(*) = 1 FROM provisioning_workers"), 60, "a worker is known")


async def test_operators_pause_and_resume(working: Console) -> None:
    """By name or all, with a reason; the answer says what the workers answered, and it stands in the actions."""
    await known(working)
    async with working.client(OPERATOR) as client:
        (worker,) = (await client.get("/api/workers")).json()["workers"]
        said = {"worker": worker["name"], "reason": "odd errors of ana@example.com"}
        done = await client.post("/api/workers/pause", json=said)
        assert (done.status_code, done.json()["outcome"]) == (200, "1 of 1 workers answered")
        (worker,) = (await client.get("/api/workers")).json()["workers"]
        assert (worker["paused"], worker["pause"]["actor"]) == (True, "console:ana")
        assert (await client.post("/api/workers/pause", json={"worker": "all", "reason": "x"})).status_code == 200
        lone = await client.post("/api/workers/resume", json={"worker": worker["id"]})
        assert (lone.status_code, "none goes on alone" in lone.json()["error"]) == (400, True)
        async with working.client(READER) as reader:
            (seen,) = (await reader.get("/api/workers")).json()["workers"]
            assert "ana@example.com" not in str(seen)
        assert (await client.post("/api/workers/resume", json={"worker": "all"})).json()["answered"]
        told = [dict(row) for row in await working.db.fetch("SELECT * FROM provisioning_operator_actions ORDER BY id")]
        assert [(act["verb"], act["outcome"]) for act in told] == [
            ("pause", "done"), ("pause", "1 of 1 workers answered"), ("resume", "1 of 1 workers answered"),
        ]  # fmt: skip


async def test_what_is_not_answered_yet_is_wanted(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """202 where a worker has not answered in time; it stays wanted."""
    monkeypatch.setattr(workers, "ANSWER_SECONDS", 0.1)
    await console.db.execute(
        "INSERT INTO provisioning_workers (id, host, pid, version, since) "
        "VALUES (gen_random_uuid(), 'h', 1, '1', now())"
    )
    async with console.client(OPERATOR) as client:
        done = await client.post("/api/workers/pause", json={"worker": "all", "reason": "x"})
        assert (done.status_code, done.json()["answered"]) == (202, False)
        assert (await client.get("/api/workers")).json()["paused"]["actor"] == "console:ana"


async def test_nobody_else_pauses(console: Console) -> None:
    """Readers look and may not act; strangers and the signup system do not even look; a browser needs our own form."""
    said = {"worker": "all", "reason": "x"}
    for token, look, act in ((READER, 200, 403), (SIGNUP, 403, 403), (None, 401, 401)):
        async with console.client(token) as client:
            assert (await client.get("/api/workers")).status_code == look
            assert (await client.get("/api/doctor")).status_code == look
            assert (await client.post("/api/workers/pause", json=said)).status_code == act
    async with console.client() as browser:
        await console.sign_in(browser, OPERATOR)
        assert (await browser.post("/workers/pause", data=said)).status_code == 403
    async with console.client(OPERATOR) as client:
        assert (await client.post("/api/workers/stop", json=said)).status_code == 404
        assert (await client.post("/api/workers/pause", json={"worker": "nobody", "reason": "x"})).status_code == 404
        assert (await client.post("/api/workers/pause", json={"worker": "all"})).status_code == 400
        assert (await client.post("/api/workers/pause", json={"worker": 7, "reason": "x"})).status_code == 400
    assert await console.db.fetchval("SELECT count(*) FROM provisioning_pauses") == 0
    assert await console.db.fetchval("SELECT count(*) FROM provisioning_operator_actions") == 0


async def test_the_doctor_is_asked_once_for_all(console: Console) -> None:
    """A second look within ten seconds shows the same report."""
    async with console.client(READER) as client:
        first = (await client.get("/api/doctor")).json()
        assert {each["area"] for each in first["findings"]} >= {"settings", "database", "schema", "broker", "websites"}
        await console.db.execute("DROP TABLE provisioning_pauses")
        assert (await client.get("/api/doctor")).json() == first
        assert "start `provisioner worker`" in (await client.get("/doctor")).text


async def test_an_operator_pauses_all_on_the_page(page: Page, working: Console) -> None:
    """From the list: why, and the page follows until the worker says that it is paused; then resumed; on a phone."""
    await known(working)
    await page.set_viewport_size({"width": 360, "height": 740})
    await sign_in(page, working, OPERATOR)
    await page.get_by_role("navigation").get_by_role("link", name="Workers").click()
    await page.get_by_text("pause all, and those that start later").click()
    pausing_all = page.locator("details[open]")
    await pausing_all.get_by_label("Why?").fill("<b>maintenance</b>")
    await pausing_all.get_by_role("button").click()
    await expect(page.get_by_role("status")).to_contain_text("Asked for: pause")
    await expect(page.locator("#pool")).to_contain_text("All workers are paused by console:ana")
    await expect(page.locator("#pool .state")).to_have_text("paused")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    assert "<b>maintenance" not in await page.content()
    await page.get_by_text("resume all", exact=True).click()
    await page.locator("details[open]").get_by_role("button").click()
    await expect(page.locator("#pool .state")).to_have_text("works")
    await page.get_by_role("link", name="Ask the doctor").click()
    await expect(page.get_by_role("heading", name="Doctor")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_a_locked_table_is_503_with_the_same_sentence(console: Console) -> None:
    """While a migration holds it, pages and API say what the command line says; the doctor says who holds it."""
    async with console.db.transaction(), console.client(READER) as client:
        await console.db.execute("LOCK TABLE pwb_websites IN ACCESS EXCLUSIVE MODE")
        api, page = await client.get("/api/websites"), await client.get("/failures")
        assert (api.status_code, page.status_code) == (503, 503)
        assert api.json()["error"].startswith("PostgreSQL: 55P03 LockNotAvailableError: canceling statement")
        assert "try again when it is done" in page.text
        doctor = await client.get("/api/doctor")
        assert doctor.status_code == 503
        assert f"process {console.db.get_server_pid()}" in doctor.text
