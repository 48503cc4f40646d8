"""The audit of the console: who did what and how they proved who they are, who was denied what; the page of actions."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request

from ops.audit.log_file import audit_log
from ops.console.access.auth import Authenticator
from ops.console.access.concurrency_limits import OWN_REQUESTS, Holder, holder_of
from ops.console.access.settings import ConsoleSettings
from ops.console.access.tokens import Role
from tests.console.conftest import OPERATOR, READER, SIGNUP, Console

WRONG = "wrong-" + "w" * 24


class Lines:
    """The audit log of a test, read as far as it has not been read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = 0

    def new(self) -> list[dict[str, Any]]:
        """Return the lines since the last look."""
        found = self.path.read_text().splitlines()[self._seen :] if self.path.exists() else []
        self._seen += len(found)
        return [json.loads(line) for line in found]

    def one(self) -> dict[str, Any]:
        """Return the one line since the last look."""
        (line,) = self.new()
        return line


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    path = tmp_path / "audit.log"
    audit_log.configure(str(path))
    yield Lines(path)
    audit_log.configure("")


def values(line: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(line.get(name) for name in names)


WHAT = ("event.action", "event.outcome", "user.name", "provisioner.proof")


async def test_every_change_is_a_row_and_a_line(working: Console, lines: Lines) -> None:
    """A verb, a pause and a bulk requeue: each one row and one line, with person, proof, target and outcome."""
    async with working.client(OPERATOR) as client:
        await working.sign_up(1)
        await working.reaches(1, "live")
        await working.sign_up(2, owner=None)
        await working.reaches(2, "failed")
        seq = (await client.get("/api/websites/1")).json()["seq"]
        done = await client.post("/api/websites/1/suspend", json={"seq": seq, "reason": "asked by phone"})
        assert done.status_code == 202
        line = lines.one()
        assert values(line, *WHAT) == ("suspend", "success", "ana", "token")
        assert values(line, "provisioner.actor", "provisioner.target", "provisioner.reason", "user.roles") == (
            "console:ana", "website 1", "asked by phone", ["operator"],
        )  # fmt: skip
        assert (line["event.type"], line["source.ip"]) == (["change", "allowed"], "127.0.0.1")
        late = await client.post("/api/websites/1/suspend", json={"seq": seq + 9, "reason": "again"})
        assert late.status_code == 409
        assert values(lines.one(), "event.action", "event.outcome") == ("suspend", "failure")
        again = await client.post("/api/failures/requeue", json={"reason": "pack mended", "error": "owner"})
        assert again.status_code == 202
        assert values(lines.one(), *WHAT, "provisioner.target") == ("requeue", "success", "ana", "token", "website 2")
        paused = await client.post("/api/workers/pause", json={"worker": "all", "reason": "maintenance"})
        assert paused.status_code == 200
        assert values(lines.one(), *WHAT, "provisioner.target") == ("pause", "success", "ana", "token", "all workers")
        page = (await client.get("/api/actions")).json()
        assert [(each["verb"], each["target"], each["result"], each["items"]) for each in page["items"]] == [
            ("pause", "all workers", "success", 1), ("requeue", "website 2", "success", 1),
            ("suspend", "website 1", "failure", 1), ("suspend", "website 1", "success", 1),
        ]  # fmt: skip
        assert (page["total"], page["next"]) == (4, None)
        assert {(each["actor"], each["person"], each["proof"]) for each in page["items"]} == {
            ("console:ana", "ana", "token from 127.0.0.1")
        }
        requeue = page["items"][1]
        assert requeue["detail"] == {"error": "owner", "from": "failed"}
        details = (await client.get(f"/api/actions/{requeue['id']}")).json()
        (item,) = details["results"]
        assert (item["website_id"], item["outcome"], bool(item["message_id"])) == (2, "published", True)


async def test_what_is_denied_is_a_line(console: Console, lines: Lines) -> None:
    """A wrong token, a missing role, a form of another site: each one line that says so, and no row."""
    said = {"worker": "all", "reason": "x"}
    async with console.client(WRONG) as client:
        assert (await client.get("/api/websites")).status_code == 401
        assert values(lines.one(), *WHAT, "source.ip") == ("list_websites", "failure", None, "nothing", "127.0.0.1")
    async with console.client(READER) as client:
        answer = await client.post("/api/websites/1/terminate", json={"seq": 1, "reason": "x"})
        assert answer.status_code == 403
        line = lines.one()
        assert values(line, *WHAT, "event.type") == ("terminate", "failure", "wall", "token", ["change", "denied"])
        assert values(line, "url.path", "http.request.method", "event.reason") == (
            "/api/websites/1/terminate", "POST", "reader may not do this: operator may",
        )  # fmt: skip
        assert (await client.get("/api/dead-letters/export")).status_code == 403
        assert values(lines.one(), "event.action", "event.type") == ("export_dead_letters", ["access", "denied"])
    async with console.client(SIGNUP) as client:
        assert (await client.get("/api/workers")).status_code == 403
        assert values(lines.one(), *WHAT) == ("list_workers", "failure", "shop", "token")
    async with console.client() as client:
        assert (await client.get("/")).status_code == 303
        assert lines.new() == [], "a visitor who shows nothing is led to the login"
        assert (await client.post("/api/workers/pause", json=said)).status_code == 401
        assert values(lines.one(), "event.action", "event.outcome") == ("pause", "failure")
        wrong_follower = "/api/websites/1/provisioning?token=made-up"
        assert (await client.get(wrong_follower)).status_code == 401
        line = lines.one()
        assert values(line, "event.action", "url.path") == ("show_progress", "/api/websites/1/provisioning")
        assert "made-up" not in json.dumps(line)
        assert (await client.post("/login", data={"token": WRONG})).status_code == 401
        line = lines.one()
        assert values(line, *WHAT) == ("sign-in", "failure", None, "nothing")
        assert (line["event.category"], line["event.type"]) == (["authentication"], ["start", "denied"])
        assert WRONG not in json.dumps(line)
    async with console.client() as browser:
        csrf = await console.sign_in(browser, OPERATOR)
        assert values(lines.one(), *WHAT) == ("sign-in", "success", "ana", "token")
        assert (await browser.post("/workers/pause", data=said)).status_code == 403
        assert values(lines.one(), *WHAT, "event.type") == ("pause", "failure", "ana", "session", ["change", "denied"])
        foreign = {"origin": "https://elsewhere.example.com"}
        assert (await browser.post("/login", data={"token": OPERATOR}, headers=foreign)).status_code == 403
        assert values(lines.one(), "event.action", "event.outcome") == ("login", "failure")
        assert (await browser.post("/logout", data={"csrf": csrf})).status_code == 303
        assert values(lines.one(), *WHAT) == ("sign-out", "success", "ana", "session")
    assert await console.db.fetchval("SELECT count(*) FROM provisioning_operator_actions") == 0


async def test_who_has_too_much_under_way_is_denied(console: Console, lines: Lines) -> None:
    """A request beyond the quota of a person is a line with their name."""
    holder = Holder(Role.READER, "console:wall")
    console.server.context.quotas._reserved[("requests", holder)] = OWN_REQUESTS[Role.READER]
    async with console.client(READER) as client:
        assert (await client.get("/api/workers")).status_code == 429
    line = lines.one()
    assert values(line, *WHAT, "event.type") == ("list_workers", "failure", "wall", "token", ["access", "denied"])
    assert "20 requests of yours" in line["event.reason"]


def test_ana_by_token_and_by_proxy_are_two() -> None:
    """Whom the proxy calls ana need not be who has the token ana: two actors, two quotas."""
    settings = ConsoleSettings(
        operator_tokens=SecretStr(f"ana={OPERATOR}"), proxy_addresses="127.0.0.1", proxy_operator_group="ops"
    )
    people = Authenticator(settings, None)  # type: ignore[arg-type] - nobody signs in

    def came(**headers: str) -> Any:
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return people.claimed(Request({"type": "http", "headers": raw, "client": ("127.0.0.1", 1), "method": "GET"}))

    token = came(authorization=f"Bearer {OPERATOR}")
    proxy = came(x_forwarded_user="ana", x_forwarded_groups="ops")
    assert (token.actor, proxy.actor) == ("console:ana", "proxy:ana")
    assert (token.proof.text, proxy.proof.text) == ("token from 127.0.0.1", "proxy header from 127.0.0.1")
    assert holder_of(token) != holder_of(proxy)


async def test_the_page_of_actions(console: Console, lines: Lines) -> None:
    """Filters, pages, one action with its items; readers see it with addresses masked, others not at all."""
    async with console.client(OPERATOR) as client:
        for number in range(3):
            said = {"worker": "all", "reason": f"number {number}, asked by ana@example.com"}
            assert (await client.post("/api/workers/pause", json=said)).status_code == 200
        first = (await client.get("/api/actions", params={"limit": 2})).json()
        assert [each["reason"][:8] for each in first["items"]] == ["number 2", "number 1"]
        rest = (await client.get("/api/actions", params={"limit": 2, "before": first["next"]})).json()
        assert ([each["reason"][:8] for each in rest["items"]], rest["next"], rest["total"]) == (["number 0"], None, 3)
        for wanted, count in (
            ({"person": "ana"}, 3), ({"person": "bo"}, 0), ({"action": "pause"}, 3), ({"target": "workers"}, 3),
            ({"outcome": "failure"}, 0), ({"since_seconds": "60"}, 3), ({"website_id": "7"}, 0), ({"person": ""}, 3),
        ):  # fmt: skip
            assert (await client.get("/api/actions", params=wanted)).json()["total"] == count, wanted
        for bad in ({"outcome": "odd"}, {"limit": "0"}, {"before": "x"}, {"website_id": "-1"}):
            assert (await client.get("/api/actions", params=bad)).status_code == 400, bad
        assert (await client.get("/api/actions/99")).status_code == 404
        assert (await client.get(f"/api/actions/{10**30}")).status_code == 404
    async with console.client() as browser:
        await console.sign_in(browser, READER)
        page = (await browser.get("/actions", params={"person": "ana", "limit": 2})).text
        assert "3 in all" in page
        assert "ana@example.com" not in page
        assert "token from 127.0.0.1" in page
        assert 'href="/actions?person=ana&amp;limit=2&amp;before=' in page
        (number,) = [each["id"] for each in rest["items"]]
        one = (await browser.get(f"/actions/{number}")).text
        assert "no worker runs; those that start will be paused" in one
        assert "1 item<" in one
        assert 'href="/actions"' in (await browser.get("/")).text
    async with console.client(SIGNUP) as client:
        assert (await client.get("/api/actions")).status_code == 403
    async with httpx.AsyncClient(base_url=console.url) as nobody:
        assert (await nobody.get("/actions")).status_code == 303


async def test_who_takes_data_out_is_recorded(console: Console, lines: Lines) -> None:
    """An export of dead letters is an action; a token to follow a website is a line."""
    async with console.client(OPERATOR) as client:
        assert (await client.get("/api/dead-letters/export")).status_code == 200
        assert values(lines.one(), *WHAT) == ("export", "success", "ana", "token")
        (action,) = (await client.get("/api/actions")).json()["items"]
        assert (action["verb"], action["target"]) == ("export", "0 dead letters")
    async with console.client(SIGNUP) as client:
        assert (await client.post("/api/websites/7/follow-token", json={})).status_code == 201
        assert values(lines.one(), *WHAT, "provisioner.target") == (
            "follow-token",
            "success",
            "shop",
            "token",
            "website 7",
        )
