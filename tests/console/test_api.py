"""The console's JSON API: closed to strangers, the same words as the command line, and progress for customers."""

import asyncio
import json
import subprocess
import sys
from uuid import uuid4

import pytest

from consumer.config import WrongSettings
from ops.console.api import ROUTES
from ops.console.app import CONTENT_POLICY
from ops.console.following import Followers
from ops.console.openapi import DESCRIBED, document, operations
from ops.console.people import masked
from ops.console.settings import ConsoleSettings, load_console_settings
from tests.console.conftest import OPERATOR, READER, SIGNUP, Console
from tests.worker_processes import until

KEPT = "/api/websites/7"


async def events(client, url, count):
    """The first events of a stream, as pairs of name and value."""
    found = []
    async with asyncio.timeout(20), client.stream("GET", url) as answer:
        assert answer.status_code == 200, await answer.aread()
        name = ""
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found.append((name, json.loads(line.removeprefix("data: "))))
                if len(found) == count:
                    return found
    return found


def test_it_does_not_start_where_nobody_could_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without tokens and without a proxy it ends, saying what to set; a short secret is refused and not repeated."""
    monkeypatch.delenv("PROVISIONER_CONSOLE_OPERATOR_TOKENS", raising=False)
    with pytest.raises(WrongSettings, match="PROVISIONER_CONSOLE_OPERATOR_TOKENS=name=secret"):
        load_console_settings()
    monkeypatch.setenv("PROVISIONER_CONSOLE_OPERATOR_TOKENS", "ana=hunter2")
    with pytest.raises(WrongSettings) as wrong:
        load_console_settings()
    assert "24 characters" in str(wrong.value)
    assert "hunter2" not in str(wrong.value)


def test_no_worker_imports_it() -> None:
    """Command line and worker are imported without any of the console's libraries."""
    program = (
        "import sys, ops.cli, consumer.app, ops.moving; "
        "assert not {'starlette', 'uvicorn', 'jinja2', 'ops.console'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_description_is_of_the_routes() -> None:
    """Every operation is described, and nothing else is."""
    assert set(operations(ROUTES)) == set(DESCRIBED)
    assert document(ROUTES)["paths"]["/api/websites/{website_id}/{verb}"]["post"]["parameters"][0]["in"] == "path"


@pytest.mark.parametrize("token", [None, "x" * 32, SIGNUP])
async def test_strangers_see_nothing(console: Console, token: str | None) -> None:
    """Every route but description, pulse of life and login is closed; the signup system's token opens few."""
    await console.db.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (7, now(), now())")
    async with console.client(token) as client:
        for path in ("/api/websites", KEPT, "/api/machine", "/api/dead-letters", "/api/events"):
            assert (await client.get(path)).status_code == (403 if token == SIGNUP else 401), path
        assert (await client.post(f"{KEPT}/suspend", json={"seq": 0, "reason": "x"})).status_code in (401, 403)
        assert (await client.get(f"{KEPT}/provisioning")).status_code == (200 if token == SIGNUP else 401)
        assert (await client.get("/websites/7")).status_code in (303, 403)
        assert (await client.get("/livez")).text == "ok\n"
        assert (await client.get("/api/openapi.json")).json()["openapi"] == "3.1.0"


async def test_readers_read_and_addresses_are_masked(working: Console) -> None:
    """A reader sees a website without its owner's address and cannot search by it, an operator with it and can."""
    await working.sign_up(7)
    await working.reaches(7, "live")
    async with working.client(READER) as reader, working.client(OPERATOR) as operator:
        assert (await reader.get(KEPT)).json()["owners"] == ["a…@e…"]
        assert (await operator.get(KEPT)).json()["owners"] == ["ana@example.com"]
        assert (await reader.get("/api/websites?q=ana@example")).json()["websites"] == []
        assert len((await operator.get("/api/websites?q=ana@example")).json()["websites"]) == 1
        assert (await reader.post(f"{KEPT}/suspend", json={"seq": 8, "reason": "x"})).status_code == 403
        assert "example.com" not in (await reader.get("/websites/7")).text


def test_masking_reaches_every_depth() -> None:
    """Addresses in texts, lists and objects."""
    said = {"a": ["to ana@example.com, ben@x.org!", {"b": ("c@d.e", 7, None)}]}
    assert masked(said) == {"a": ["to a…@e…, b…@x…", {"b": ["c…@d…", 7, None]}]}


async def test_pages_follow_each_other_without_gap_or_double(console: Console) -> None:
    """Filters and search choose; 25 websites come in pages of 10, each once, the most recently changed first."""
    await console.db.execute(
        "INSERT INTO pwb_websites (id, subdomain, site_type, created_at, updated_at) SELECT n, 'site-' || n, "
        "CASE WHEN n % 2 = 0 THEN 'commercial' END, now(), now() + (n / 3) * interval '1 s' "
        "FROM generate_series(1, 25) AS n"
    )
    async with console.client(READER) as client:
        seen, after = [], ""
        for size in (10, 10, 5):
            found = (await client.get("/api/websites", params={"limit": 10, "after": after})).json()
            assert len(found["websites"]) == size
            seen += [site["website_id"] for site in found["websites"]]
            after = found["next"]
        assert after is None
        assert seen == list(range(25, 0, -1))
        found = (await client.get("/api/websites?site_type=commercial&q=site-1&state=pending")).json()["websites"]
        assert [site["website_id"] for site in found] == [18, 16, 14, 12, 10]
        for wrong in ("state=nowhere", "limit=0", "limit=x", "after=x|1", "after=2026-01-01|y"):
            assert (await client.get(f"/api/websites?{wrong}")).status_code == 400, wrong


async def test_a_command_needs_a_reason_and_hits_only_what_was_seen(working: Console) -> None:
    """It is published, carried out and stands in the history with its actor; from an old sight it is not sent."""
    await working.sign_up(7)
    await working.reaches(7, "live")
    async with working.client(OPERATOR) as client:
        found = (await client.get(KEPT)).json()
        assert [verb["verb"] for verb in found["verbs"]] == ["suspend"]
        answer = await client.post(f"{KEPT}/suspend", json={"seq": found["seq"], "reason": " "})
        assert (answer.status_code, answer.json()["error"][:6]) == (400, "reason")
        answer = await client.post(f"{KEPT}/suspend", json={"seq": found["seq"] - 1, "reason": "unpaid"})
        assert answer.status_code == 409
        assert "moved since you looked" in answer.json()["why"]
        answer = await client.post(f"{KEPT}/suspend", json={"seq": found["seq"], "reason": "unpaid"})
        assert answer.status_code == 202
        await working.reaches(7, "suspended")
        last = (await client.get(KEPT)).json()["history"][-1]
        assert (last["actor"], last["reason"]) == ("console:ana", "unpaid")
        assert last["message_id"] == answer.json()["message_id"]
        assert (await client.post(f"{KEPT}/delete", json={})).status_code == 404
        assert (await client.post("/api/websites/8/suspend", json={"seq": 0, "reason": "x"})).status_code == 404


async def test_a_customer_follows_one_website(working: Console) -> None:
    """With a token of its own, told of each change until it is live; not another, and not for ever."""
    await working.db.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (8, now(), now())")
    await working.db.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (7, now(), now())")
    async with working.client(SIGNUP) as signup, working.client(origin="https://signup.example.com") as browser:
        made = (await signup.post(f"{KEPT}/follow-token", json={"seconds": 60})).json()
        assert (await signup.post(f"{KEPT}/follow-token", json={"seconds": 10**9})).status_code == 400
        listening = asyncio.create_task(events(browser, made["events_url"], 3))
        pulse = working.server.config.app.state.desk.pulse

        async def looked() -> bool:
            return pulse.looks > 0

        # What is told at first, and once more at the first look; the third is for what happens after that.
        await until(looked, 20, "a first look for this stream")
        await working.sign_up(7)
        told = await listening
        assert all(name == "provisioning" for name, _ in told)
        await working.reaches(7, "live")
        answer = await browser.get(made["url"])
        assert answer.headers["access-control-allow-origin"] == "https://signup.example.com"
        live = answer.json()
        assert (live["state"], live["progress"], live["error"], live["missing"]) == ("live", 100, None, [])
        assert live["live_url"]["url"] == "https://site-7.propertywebbuilder.com"
        assert live["time_left"] is None
        other = made["url"].replace("/7/", "/8/")
        assert (await browser.get(other)).status_code == 401
        assert (await browser.get(f"{KEPT}?token={made['token']}")).status_code == 401
        assert (await browser.get(made["url"][:-1])).status_code == 401


def test_a_customers_token_expires_and_keys_rotate() -> None:
    """Valid until its second, with the key that signed it among those that are set."""
    now = [1000.0]
    old = Followers(ConsoleSettings(follow_secrets="o" * 24), lambda: now[0])
    token, expires = old.mint(7, 60)
    both = Followers(ConsoleSettings(follow_secrets=f"{'n' * 24},{'o' * 24}"), lambda: now[0])
    new = Followers(ConsoleSettings(follow_secrets="n" * 24), lambda: now[0])
    assert (expires, both.may(token, 7), new.may(token, 7), both.may(token, 70)) == (1060, True, False, False)
    now[0] = 1060
    assert not both.may(token, 7)


async def test_a_customer_reads_no_internals(console: Console) -> None:
    """A failed website's error text is for ops; its customer gets words, and a code to choose others by."""
    await console.db.execute(
        "INSERT INTO pwb_websites (id, subdomain, created_at, updated_at) VALUES (7, 'x', now(), now());"
        "UPDATE pwb_websites SET provisioning_state = 'failed', provisioning_failed_at = now(), "
        "provisioning_error = 'PostgreSQL 22P02: secret detail' WHERE id = 7"
    )
    async with console.client(SIGNUP) as client:
        answer = await client.get(f"{KEPT}/provisioning")
    assert "PostgreSQL" not in answer.text
    assert answer.json()["error"]["code"] == "owner_missing"


async def test_one_look_serves_all_streams_and_there_is_a_limit(console: Console) -> None:
    """Ten streams share the looks, nobody looks when they are gone, and one too many is turned away."""
    pulse = console.server.config.app.state.desk.pulse
    async with console.client(OPERATOR) as client:
        began = asyncio.get_running_loop().time()
        told = await asyncio.gather(*(events(client, "/api/events", 2) for _ in range(10)))
        assert all(name == "states" and value["live"] == 0 for found in told for name, value in found)
        assert pulse.looks <= asyncio.get_running_loop().time() - began + 2
        queues = [pulse.enter(None) for _ in range(30)]
        answer = await client.get("/api/events")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        for queue in queues:
            pulse.leave(queue)


async def test_a_change_from_elsewhere_is_refused(console: Console) -> None:
    """A browser's session opens nothing without the form's own secret, or from another site's page."""
    await console.db.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (7, now(), now())")
    async with console.client() as browser:
        page = await browser.get("/login")
        assert page.headers["content-security-policy"].encode() == CONTENT_POLICY
        csrf = browser.cookies["provisioner_csrf"]
        wrong = await browser.post("/login", data={"csrf": csrf, "token": "x" * 40})
        assert wrong.status_code == 401
        assert (await browser.post("/login", data={"csrf": csrf, "token": OPERATOR})).status_code == 303
        form = {"seq": "0", "reason": "x", "confirm": "7"}
        assert (await browser.post("/websites/7/suspend", data=form)).status_code == 403
        assert (await browser.post(f"{KEPT}/suspend", json=form)).status_code == 403
        evil = {"origin": "https://evil.example"}
        assert (await browser.post("/websites/7/suspend", data=form | {"csrf": csrf}, headers=evil)).status_code == 403
        assert (await browser.post("/websites/7/suspend", data=form | {"csrf": csrf})).status_code == 409
        cookie = browser.cookies["provisioner_session"]
        forged = cookie.replace("operator.", "reader.", 1)
        async with console.client(cookie=f"provisioner_session={forged}") as forger:
            assert (await forger.get("/")).status_code == 303


async def test_a_proxy_is_believed_by_its_address_alone(console: Console) -> None:
    """Its headers say nothing from elsewhere; from its address they name the person and the role."""
    said = {"x-forwarded-user": "ana@example.com", "x-forwarded-groups": "staff, provisioner-operators"}
    async with console.client(**said) as client:
        assert (await client.get("/api/machine")).status_code == 401
        people = console.server.config.app.state.desk.people
        people._settings = ConsoleSettings(proxy_addresses="127.0.0.0/8")
        assert (await client.get("/api/machine")).status_code == 200
        assert "operator" in (await client.get("/")).text


async def test_hostile_text_is_text(console: Console) -> None:
    """What came from outside is escaped wherever it is shown."""
    await console.db.execute(
        "INSERT INTO pwb_websites (id, subdomain, seed_pack_name, created_at, updated_at) "
        "VALUES (7, '<script>alert(1)</script>', '\"><img src=x>', now(), now())"
    )
    async with console.client(READER) as client:
        for path in ("/websites?q=%22%3E%3Cscript%3Ealert(1)", "/websites", "/websites/7"):
            text = (await client.get(path)).text
            assert "<script>alert" not in text
            assert "<img" not in text
        assert "&lt;script&gt;alert(1)" in text
        assert (await client.get(f"/api/websites/{uuid4().int}")).status_code == 404


async def test_nonsense_is_refused_and_never_a_defect(console: Console) -> None:
    """Numbers beyond counting, characters that no column holds, broken bodies: the answer names what is wrong."""
    await console.db.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (7, now(), now())")
    digits = "9" * 5000
    async with console.client(OPERATOR) as client:
        for query in ("q=%00", "q=%ED%A0%80", "seed_pack=%00&site_type=%00", "after=%00"):
            assert (await client.get(f"/api/websites?{query}")).status_code in (200, 400), query
        for query in (f"limit={digits}", "after=2026-W01-1|x", f"after=2026-01-01|{digits}", "after=0001-01-01|-1"):
            assert (await client.get(f"/api/websites?{query}")).status_code == 400, query
        assert (await client.get("/api/websites?after=2026-W01-1|1")).status_code == 200
        assert (await client.get(f"/api/websites/{digits}")).status_code == 404
        assert (await client.get(f"/websites/{digits}")).status_code == 404
        for content in (b"{", b"[]", b"\xff", b"[" * 60_000, b'{"seq": 1e400}', b'{"seq": true}', b'{"seq": -1}'):
            assert (await client.post(f"{KEPT}/suspend", content=content)).status_code == 400, content[:20]
        assert (await client.post(f"{KEPT}/suspend", content=b"x" * 70_000)).status_code == 413
        odd = {"seq": 0, "reason": "\x00 \ud800"}
        assert (await client.post(f"{KEPT}/suspend", content=json.dumps(odd))).status_code == 400
        assert (await client.get(f"{KEPT}/provisioning?token={digits}.{digits}.x")).status_code == 200
    async with console.client(cookie=f"provisioner_session=operator.{digits}.x.x.x") as client:
        assert (await client.get("/api/machine")).status_code == 401
