"""Mending in the console: groups, preflight and canaries of failed websites; dead letters seen, sent back, edited."""

import json
import uuid
from typing import Any

import asyncpg
import pytest
from playwright.async_api import Page, expect

from consumer.broker.protocol import Message
from consumer.broker.topology import Topology
from ops.console.routes import failed_websites
from ops.publishing import publish_all, publishing
from tests.console.conftest import OPERATOR, READER, SIGNUP, Console
from tests.console.test_pages import page, sign_in
from tests.worker_processes import until

__all__ = ["page"]


async def letter(console: Console, body: bytes, reason: str = "poison") -> str:
    """Make a dead letter; return its message id."""
    message_id, queue = str(uuid.uuid4()), Topology("t").dead_letters
    headers = {"x-reason": reason, "x-error": "<b>bold</b> 7", "x-failed-at": "2026-01-01T00:00:00+00:00"}
    async with publishing(console.broker) as session:
        await publish_all(session, [Message(message_id, "website.created", body, "", queue, True, headers)])
    return message_id


async def failing(console: Console) -> str:
    """Make a website fail for want of an owner, then bring the owner; return its group."""
    await console.sign_up(1, owner=None)
    await console.reaches(1, "failed")
    async with console.client(OPERATOR) as client:
        (group,) = (await client.get("/api/failures")).json()
    assert (group["websites"], group["example"]) == (1, 1)
    found: str = group["group"]
    return found


async def owned(console: Console) -> None:
    """Bring the owner who was missing."""
    await console.db.execute(
        "WITH owner AS (INSERT INTO pwb_users (email, created_at, updated_at) "
        "VALUES ('late@example.com', now(), now()) RETURNING id) "
        "INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at) "
        "SELECT id, 1, 'owner', now(), now() FROM owner"
    )


async def test_failures_by_api(working: Console) -> None:
    """A group is forecast, its canary stops while the cause is there, and it goes live once the cause is mended."""
    group = await failing(working)
    async with working.client(OPERATOR) as client:
        told = (await client.get("/api/failures/preflight", params={"group": group})).json()
        assert told["summary"] == "1 selected: 1 waits for owner membership"
        said = {"group": group, "reason": "a try", "canary": True}
        stopped = await client.post("/api/failures/requeue", json=said)
        assert stopped.status_code == 409
        assert "Owner assignment failed" in stopped.json()["stopped"]
        await working.reaches(1, "failed")
        explained = (await client.get("/api/websites/1/explain")).json()
        assert explained["waits_for"]["kind"] == "people"
        await owned(working)
        done = await client.post("/api/failures/requeue", json=said | {"reason": "owner found"})
        assert done.status_code == 202
        assert {name: done.json()[name] for name in ("state", "sent", "not_sent", "stopped")} == {
            "state": "done", "sent": 1, "not_sent": [], "stopped": None,
        }  # fmt: skip
        await working.reaches(1, "live")
        assert (await client.get("/api/failures")).json() == []
        assert (await client.get("/api/failures/preflight", params={"group": "x"})).status_code == 404
        assert (await client.get("/api/failures/preflight", params={"limit": "none"})).status_code == 400
        assert (await client.get("/api/websites/99/explain")).status_code == 404
        assert (await client.post("/api/failures/requeue", json={"group": group})).status_code == 400
    actor = "SELECT actor FROM provisioning_transitions WHERE website_id = 1 AND reason = 'owner found'"
    assert await working.db.fetchval(actor) == "guest/console:ana"


async def several(console: Console, count: int) -> str:
    """Make failed websites that would go live; return their group."""
    await console.db.execute(
        "INSERT INTO pwb_websites (id, subdomain, provisioning_request, created_at, updated_at) "
        "SELECT n, 'site-' || n, jsonb_build_object('owner', jsonb_build_object('email', 'a@b.cd')), now(), now() "
        f"FROM generate_series(1, {count}) AS n;"
        "UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_from = 'pending', "
        "provisioning_failed_at = now(), provisioning_error = 'out of ' || id || ' for a@b.cd'"
    )
    async with console.client(OPERATOR) as client:
        (group,) = (await client.get("/api/failures")).json()
    found: str = group["group"]
    return found


async def test_a_requeue_is_followed_and_stopped(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes longer is running, says how far it is, and is stopped by operators alone."""
    monkeypatch.setattr(failed_websites, "WAIT_SECONDS", 0.01)
    group = await several(console, 5)
    async with console.client(OPERATOR) as client, console.client(READER) as reader:
        told = (await reader.get("/api/failures/preflight", params={"group": group})).json()
        assert told["remarks"][0].startswith("seeded first: owner from its signup (5)")
        assert (
            told["remarks"][1]
            == "5 of them: no guard wrote this error, so its cause may be there still: out of # for E-MAIL"
        )
        for wrong in ("0", "fast", "-1"):
            said = {"group": group, "reason": "x", "rate": wrong}
            assert (await client.post("/api/failures/requeue", json=said)).status_code == 400
        begun = await client.post("/api/failures/requeue", json={"group": group, "reason": "slowly", "rate": 1})
        assert (begun.status_code, begun.json()["state"]) == (202, "running")
        at = f"/api/failures/requeues/{begun.json()['errand']}"

        async def some() -> bool:
            return (await reader.get(at)).json()["sent"] > 0

        await until(some, 60, "some sent")
        assert (await reader.post(f"{at}/stop", json={})).status_code == 403
        assert "Stop it" not in (await reader.get("/failures")).text
        stopped = (await client.post(f"{at}/stop", json={})).json()
        assert (stopped["state"], stopped["stopped"]) == ("stopped", "stopped by console:ana")
        assert 0 < stopped["sent"] < 5
        assert len(console.broker.ready(Topology("t").commands)) == stopped["sent"]
        page = (await client.get(f"/failures?job={begun.json()['errand']}")).text
        assert f"{stopped['sent']} of 5 requeued" in page
        assert (await client.get("/api/failures/requeues/none")).status_code == 404
        assert "not known any more" in (await client.get("/failures?job=none")).text
        assert "No website is failed in group gone" in (await client.get("/failures?group=gone")).text


async def test_a_broker_that_is_away_is_said(console: Console) -> None:
    """A requeue that cannot be sent ends with the reason, and can be tried again."""
    group = await several(console, 2)
    console.broker.refuse_connections = True
    async with console.client(OPERATOR) as client:
        failed = await client.post("/api/failures/requeue", json={"group": group, "reason": "x"})
        assert failed.status_code == 409
        assert "connections are refused; what was sent stands in each history" in failed.json()["stopped"]
        assert (await client.get("/websites/1")).status_code == 200, "the page asks no broker"


async def test_why_by_page(page: Page, console: Console, database_url: str) -> None:
    """A website's page says what it waits for and what a requeue would do; a reader sees no stranger's statement."""
    await several(console, 1)
    stranger = await asyncpg.connect(database_url)
    try:
        await stranger.execute("BEGIN")
        await stranger.execute("SELECT 'secret' FROM pwb_websites WHERE id = 1 FOR UPDATE")
        async with console.client(READER) as reader:
            for path in ("/api/websites/1/explain", "/websites/1"):
                seen = (await reader.get(path)).text
                assert f"PostgreSQL process {stranger.get_server_pid()}" in seen
                assert "secret" not in seen
        await sign_in(page, console, OPERATOR)
        await page.goto(f"{console.url}/websites/1")
        await expect(page.locator("#why")).to_contain_text("SELECT 'secret' FROM pwb_websites")
        await stranger.execute("ROLLBACK")
    finally:
        await stranger.close()
    await page.reload()
    await expect(page.locator("#why")).to_contain_text("out of 1 for a@b.cd")
    await expect(page.locator("#why")).to_contain_text("people: `provisioner requeue 1` once the cause is fixed")
    await page.get_by_text("Sends it round again").click()
    await expect(page.locator("details[open]")).to_contain_text(
        "It would go on from pending, as far as it had proven to be; whether it fails again is unknown: no guard wrote"
    )


async def test_letters_by_api(working: Console) -> None:
    """Letters are filtered, grouped, shown and forecast; edited and discarded they are recorded, and go."""
    odd = await letter(working, b"\xff\xfe")
    red = await letter(working, b'{"website_id": 7, "subdomain": "site-7", "colour": "ana@example.com"}')
    async with working.client(OPERATOR) as client:
        assert len((await client.get("/api/dead-letters")).json()) == 2
        (seven,) = (await client.get("/api/dead-letters", params={"website_id": "7", "text": "BOLD"})).json()
        assert seven["message_id"] == red
        (group,) = (await client.get("/api/dead-letters/groups")).json()
        assert (group["letters"], group["cause"]) == (2, "<b>bold</b> #")
        forecast = (await client.get("/api/dead-letters/forecast")).json()
        assert forecast["summary"] == "2 selected: 2 poison again"
        whole = (await client.get("/api/dead-letters/letter", params={"message_id": odd})).json()
        assert whole["body_base64"] == "//4="
        edit: dict[str, Any] = {"message_ids": [red], "why": "no colours", "body": '{"website_id": 8}'}
        refused = await client.post("/api/dead-letters/edit", json=edit)
        assert (refused.status_code, "website 7" in refused.json()["error"]) == (400, True)
        mended = json.dumps({"website_id": 7, "subdomain": "site-7", "owner": {"email": "ana@example.com"}})
        assert (await client.post("/api/dead-letters/edit", json=edit | {"body": mended})).status_code == 200
        await working.reaches(7, "live")
        for bad, status in (({"why": "x"}, 400), ({"message_ids": [odd]}, 400), ({"message_ids": 7, "why": "x"}, 400)):
            assert (await client.post("/api/dead-letters/discard", json=bad)).status_code == status
        gone = await client.post("/api/dead-letters/discard", json={"message_ids": [odd], "why": "rubbish"})
        assert [item["message_id"] for item in gone.json()["letters"]] == [odd]
        assert (await client.get("/api/dead-letters")).json() == []
        assert (await client.get("/api/dead-letters/letter", params={"message_id": odd})).status_code == 404
        assert (await client.post("/api/dead-letters/burn", json={"why": "x"})).status_code == 404
    acts = await working.db.fetch("SELECT verb, actor, outcome FROM provisioning_operator_actions ORDER BY id")
    assert [tuple(act) for act in acts][-2:] == [("edit", "console:ana", "done"), ("discard", "console:ana", "done")]


async def test_who_may_mend(console: Console) -> None:
    """Readers look, with addresses masked and no bytes; nobody else looks or acts, and a browser needs our own form."""
    odd = await letter(console, b"\xff\xfe")
    red = await letter(console, b'{"website_id": 7, "colour": "ana@example.com"}')
    for token, look, act in ((READER, 200, 403), (SIGNUP, 403, 403), (None, 401, 401)):
        async with console.client(token) as client:
            for path in ("/api/failures", "/api/failures/preflight", "/api/dead-letters/groups"):
                assert (await client.get(path)).status_code == look
            for path in ("/api/failures/requeue", "/api/dead-letters/discard", "/api/dead-letters/redrive"):
                assert (await client.post(path, json={"all": True, "why": "x", "reason": "x"})).status_code == act
    async with console.client(READER) as reader:
        seen = (await reader.get("/api/dead-letters/letter", params={"message_id": red})).json()
        assert "ana@example.com" not in seen["body"]
        assert "body_base64" not in (await reader.get("/api/dead-letters/letter", params={"message_id": odd})).json()
    async with console.client() as browser:
        await console.sign_in(browser, OPERATOR)
        assert (await browser.post("/dead-letters/discard", data={"all": "on", "why": "x"})).status_code == 403
        for path in ("/failures/requeue", "/failures/requeues/any/stop"):
            assert (await browser.post(path, data={"reason": "x"})).status_code == 403
    assert len(await console.broker.peek(Topology("t").dead_letters, 10)) == 2


async def test_an_operator_mends(page: Page, working: Console) -> None:
    """From a group to its preflight to a requeue; then a dead letter is edited, and another one discarded."""
    group = await failing(working)
    await owned(working)
    odd = await letter(working, b"no JSON")
    red = await letter(working, b'{"website_id": 7, "subdomain": "site-7", "colour": "red"}')
    await sign_in(page, working, OPERATOR)
    await page.get_by_role("navigation").get_by_role("link", name="Failures").click()
    await page.get_by_role("link", name=f"{group} preflight").click()
    await expect(page.locator("#preflight")).to_contain_text("1 selected: 1 will advance from pending")
    await page.get_by_label("Why?").fill("owner found")
    await page.get_by_role("button", name="Requeue the group").click()
    await expect(page.get_by_role("status")).to_contain_text("Done: 1 of 1 have advanced. 1 requeued")
    await working.reaches(1, "live")
    await expect(page.get_by_text("No website is failed.")).to_be_visible()

    await page.get_by_role("navigation").get_by_role("link", name="Dead letters").click()
    await page.get_by_role("link", name="If they were sent back now?").click()
    await expect(page.get_by_text("2 poison again")).to_be_visible()
    await expect(page.locator("b", has_text="bold")).to_have_count(0)
    await page.get_by_role("link", name=red).click()
    await expect(page.get_by_text("If it were sent back now: poison")).to_be_visible()
    await page.get_by_text("Edit it and send it back").first.click()
    form = page.locator("details[open]")
    await form.get_by_label("Body").fill('{"website_id": 7, "subdomain": "site-7", "owner": {"email": "a@b.cd"}}')
    await form.get_by_label("Why?").fill("no colours")
    await form.get_by_role("button").click()
    await expect(page.get_by_role("status")).to_contain_text("1 edited and sent back")
    await working.reaches(7, "live")
    await page.get_by_role("link", name=odd).click()
    await page.get_by_text("Discard it for good").first.click()
    form = page.locator("details[open]")
    await form.get_by_label("Why?").fill("rubbish")
    await form.get_by_role("button").click()
    await expect(page.get_by_text("No dead letters.")).to_be_visible()

    async def none() -> bool:
        return not await working.broker.peek(Topology("t").dead_letters, 10)

    await until(none, 60, "no dead letters")
