"""Progress that cannot die: of a website that is not registered yet, of one whose signup was rejected, and errors."""

import asyncio
import json
import time
from typing import Any

import pytest

from ops.console import broadcaster
from ops.websites.customer_progress import SQL
from tests.console.conftest import READER, SIGNUP, Console
from tests.worker_processes import until

ORIGIN = "https://signup.example.com"


async def test_a_page_that_was_opened_too_early_ends_up_live(working: Console) -> None:
    """The stream answers before the website is there, says that its signup was rejected, and follows the next one."""
    async with working.client(SIGNUP) as signup, working.client(origin=ORIGIN) as browser:
        made = (await signup.post("/api/websites/7/follow-token", json={"seconds": 60})).json()
        assert (await browser.get(made["url"])).status_code == 404
        states: list[str] = []

        async def follow() -> None:
            async with browser.stream("GET", made["events_url"]) as stream:
                assert stream.status_code == 200
                async for line in stream.aiter_lines():
                    if line.startswith("data: "):
                        progress = json.loads(line.removeprefix("data: "))
                        states.append(progress["state"])
                        if progress["state"] == "live":
                            return

        following = asyncio.create_task(follow())

        async def seen(state: str) -> bool:
            return state in states

        await until(lambda: seen("unregistered"), 60, "the stream says that it is not registered")
        await working.sign_up(7, site_type="castle")
        await until(lambda: seen("rejected"), 60, "the stream says that it was rejected")
        rejected = (await browser.get(made["url"])).json()
        assert (rejected["state"], rejected["error"]["code"]) == ("rejected", "invalid")
        assert rejected["message"] == rejected["error"]["text"]
        await working.sign_up(7)
        async with asyncio.timeout(60):
            await following
        assert (await browser.get(made["url"])).json()["error"] is None


@pytest.mark.parametrize("means", ["token", "session"])
async def test_progress_ends_with_what_opened_it(working: Console, monkeypatch: pytest.MonkeyPatch, means: str) -> None:
    """Once the token has expired, or its person has signed out elsewhere, a stream that is open sends nothing more."""
    monkeypatch.setattr(broadcaster, "CONFIRM_SECONDS", 0.0)
    url = "/api/websites/7/provisioning/events"
    async with working.client(SIGNUP) as signup, working.client() as browser:
        if means == "token":
            url = (await signup.post("/api/websites/7/follow-token", json={"seconds": 60})).json()["events_url"]
        else:
            await working.sign_in(browser, READER)
        states = []
        async with asyncio.timeout(60), browser.stream("GET", url) as stream:
            assert stream.status_code == 200
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    states.append(json.loads(line.removeprefix("data: "))["state"])
                    if means == "token":
                        monkeypatch.setattr(working.server.context.follow_tokens, "_clock", lambda: time.time() + 61)
                    else:
                        await working.db.execute("DELETE FROM provisioning_sessions")
                    await working.sign_up(7)
        assert states == ["unregistered"]
        assert (await browser.get(url)).status_code == 401


async def test_a_stranger_changes_nobodys_progress(working: Console) -> None:
    """A signup that contradicts a website is rejected; the customers of the website hear nothing of it."""
    await working.sign_up(7)
    await working.reaches(7, "live")
    async with working.client(SIGNUP) as client:
        before = (await client.get("/api/websites/7/provisioning")).json()
        await working.sign_up(7, owner={"email": "mallory@evil.example"})
        count = "SELECT count(*) FROM provisioning_rejections WHERE code = 'conflict'"
        await until(lambda: working.db.fetchval(count), 60, "the signup rejected")
        assert (await client.get("/api/websites/7/provisioning")).json() == before


async def test_a_stranger_changes_no_progress_before_it_has_begun(working: Console) -> None:
    """A website that waits to be begun has an owner: who names a user that is nobody contradicts it, too."""
    row = "INSERT INTO pwb_websites (id, owner_email, created_at, updated_at) VALUES (8, $1, now(), now())"
    await working.db.execute(row, "ana@example.com")
    await working.sign_up(8, owner={"user_id": 999})
    count = "SELECT count(*) FROM provisioning_rejections"
    await until(lambda: working.db.fetchval(count), 60, "the signup rejected")
    assert await working.db.fetchval("SELECT code FROM provisioning_rejections") == "conflict"
    async with working.client(SIGNUP) as client:
        assert (await client.get("/api/websites/8/provisioning")).json()["error"] is None


async def test_progress_costs_the_same_however_many_were_rejected(console: Console) -> None:
    """Of ten thousand rejected signups for one number, the latest is read alone."""
    await console.db.execute(
        """INSERT INTO provisioning_rejections
           SELECT gen_random_uuid(), 8, 'invalid', now() - n * interval '1 second'
             FROM generate_series(1, 10000) AS n"""
    )
    await console.db.execute("VACUUM ANALYZE provisioning_rejections")
    found = await console.db.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {SQL['last_rejections']}", [8, 9])

    def rows(plan: dict[str, Any]) -> int:
        read = plan["Actual Rows"] * plan["Actual Loops"] if plan.get("Relation Name") else 0
        return int(read) + sum(rows(each) for each in plan.get("Plans", ()))

    assert rows(json.loads(found)[0]["Plan"]) == 1
    async with console.client(SIGNUP) as client:
        assert (await client.get("/api/websites/8/provisioning")).json()["error"]["code"] == "invalid"


async def test_a_website_whose_name_is_taken_does_not_wait_for_ever(working: Console) -> None:
    """A website that is registered and was never moved shows why its signup was rejected."""
    await working.sign_up(7, subdomain="the-same")
    await working.reaches(7, "live")
    await working.db.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (8, now(), now())")
    await working.sign_up(8, subdomain="the-same")
    count = "SELECT count(*) FROM provisioning_rejections WHERE code = 'subdomain_taken'"
    await until(lambda: working.db.fetchval(count), 60, "the signup rejected")
    async with working.client(SIGNUP) as client:
        progress = (await client.get("/api/websites/8/provisioning")).json()
    assert (progress["state"], progress["error"]["code"]) == ("pending", "subdomain_taken")


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/api/websites/7/provisioning", SIGNUP, 404),
        ("/api/websites/7/provisioning", "", 401),
        ("/api/websites/7/provisioning/events?token=7.9.x", "", 401),
        ("/api/websites/99999999999999999999/provisioning", SIGNUP, 404),
    ],
)
async def test_errors_can_be_read_by_allowed_origins(console: Console, path: str, token: str, status: int) -> None:
    """A page can tell why it gets nothing; of other origins, and other routes, it cannot."""
    async with (
        console.client(token, origin=ORIGIN) as allowed,
        console.client(token, origin="https://evil.example") as other,
    ):
        answer = await allowed.get(path)
        assert (answer.status_code, answer.headers.get("access-control-allow-origin")) == (status, ORIGIN)
        assert "access-control-allow-credentials" not in answer.headers
        assert "access-control-allow-origin" not in (await other.get(path)).headers
        assert "access-control-allow-origin" not in (await allowed.get("/api/websites")).headers
        asked = await allowed.options(path, headers={"access-control-request-method": "GET"})
        assert asked.headers.get("access-control-allow-origin") == ORIGIN
