"""The console's JSON API: closed to strangers, the same words as the command line, and progress for customers."""

import asyncio
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from consumer.config import SettingsError
from ops.console.access.settings import ConsoleSettings, load_console_settings
from ops.console.routes import WITH_API
from ops.text.email_masking import masked
from ops.websites.verb_registry import VERBS_BY_NAME
from tests.console.conftest import OPERATOR, READER, SIGNUP, Console
from tests.worker_processes import until

KEPT = "/api/websites/7"
WEB = ("fastapi", "starlette", "uvicorn", "jinja2", "sse_starlette")


async def events(client, url, count):
    """The first events of a stream, as pairs of name and value."""
    found = []
    async with asyncio.timeout(60), client.stream("GET", url) as answer:
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
    with pytest.raises(SettingsError, match="PROVISIONER_CONSOLE_OPERATOR_TOKENS=name=secret"):
        load_console_settings()
    monkeypatch.setenv("PROVISIONER_CONSOLE_OPERATOR_TOKENS", "ana=hunter2")
    with pytest.raises(SettingsError) as wrong:
        load_console_settings()
    assert "24 characters" in str(wrong.value)
    assert "hunter2" not in str(wrong.value)


def test_tokens_come_from_a_file_and_a_service_link_is_no_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A mounted secret is named by …_FILE; a Service called provisioner-console leaves the port as it was."""
    (tmp_path / "tokens").write_text("ana=casescasescasescasescases\n")
    monkeypatch.setenv("PROVISIONER_CONSOLE_OPERATOR_TOKENS_FILE", str(tmp_path / "tokens"))
    monkeypatch.setenv("PROVISIONER_CONSOLE_PORT", "tcp://10.96.0.12:8480")
    settings = load_console_settings()
    assert settings.operator_tokens.get_secret_value() == "ana=casescasescasescasescases"
    assert settings.port == 8480
    (tmp_path / "tokens").write_text("ana=hunter2\n")
    with pytest.raises(SettingsError, match="PROVISIONER_CONSOLE_OPERATOR_TOKENS_FILE: ana: a secret must have 24"):
        load_console_settings()


def test_no_worker_imports_it() -> None:
    """Command line and worker are imported without any of the console's libraries."""
    program = (
        "import sys, ops.cli.main, consumer.app, ops.websites.verb_execution; "
        f"assert not {{*{WEB}, 'itsdangerous', 'ops.console'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("command", [["console"], ["follow-token", "42"]])
def test_it_loads_no_web_to_say_that_a_setting_is_missing(command: list[str], tmp_path: Path) -> None:
    """Commands that read only settings, or sign a token, start without the libraries that serve."""
    program = (
        "import sys\nfrom ops.cli.main import main\n"
        f"try:\n    main({command!r})\nfinally:\n    assert not {set(WEB)!r} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n"), "PROVISIONER_CONSOLE_" in done.stderr) == (2, 1, True), (
        done.stderr
    )


async def test_the_description_is_of_the_routes(console: Console) -> None:
    """Every route of the API is described by its types: what it takes and answers, each under a name of its own."""
    async with console.client() as client:
        paths = (await client.get("/api/openapi.json")).json()["paths"]
        assert (await client.get("/docs")).status_code == (await client.get("/redoc")).status_code == 404
    routes = {
        (f"/api{route.path_format}", method.lower())
        for resource in WITH_API
        for route in resource.api.routes
        for method in route.methods
    }
    operations = {(path, method): operation for path, methods in paths.items() for method, operation in methods.items()}
    assert operations.keys() == routes
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations) > 20
    for (path, method), operation in operations.items():
        assert "422" not in operation["responses"], "errors are of our own kind"
        done = next(answer for status, answer in operation["responses"].items() if status in ("200", "201", "202"))
        assert done["content"], path
        assert ("requestBody" in operation) == (method == "post"), path
        assert operation["security"] == [{"token": []}]
        in_path = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}
        assert in_path == set(re.findall("{(.*?)}", path))
    verbs = operations["/api/websites/{website_id}/{verb}", "post"]["parameters"][1]
    assert verbs["schema"]["enum"] == list(VERBS_BY_NAME)


async def test_the_documentation_s_examples_are_understood(console: Console) -> None:
    """Each call of curl in docs/console.md, as it stands there; a group or action that is not there is no mistake."""
    text = (Path(__file__).parents[2] / "docs/console.md").read_text().replace("\\\n", "")
    calls = [shlex.split(line) for line in text.splitlines() if line.startswith("    curl ")]
    assert len(calls) == 14
    for call in calls:
        token = OPERATOR if "Authorization: Bearer $TOKEN" in call else SIGNUP
        (url,) = [word for word in call if word.startswith("http://127.0.0.1:8480/")]
        async with console.client(token) as client:
            path = url.removeprefix("http://127.0.0.1:8480")
            if "-N" in call:
                assert await events(client, path, 1)
                continue
            if "--json" in call:
                answer = await client.post(path, json=json.loads(call[call.index("--json") + 1]))
            else:
                answer = await client.get(path)
        assert answer.status_code in (200, 201, 202, 404), (call, answer.text)
        absent = "group" in answer.text or "there is no action 42" in answer.text
        assert answer.status_code != 404 or absent, (call, answer.text)


async def test_head_is_get_without_its_body(console: Console) -> None:
    """Also of an event stream, which ends at once."""
    async with console.client(READER) as client:
        for path in ("/", "/livez", "/api/websites", "/api/nothing", "/api/failures/requeue", "/static/console.css"):
            answer, whole = await client.head(path), await client.get(path)
            assert (answer.status_code, answer.content) == (whole.status_code, b""), path
            assert answer.headers["content-security-policy"] == whole.headers["content-security-policy"]
        answer = await client.head("/api/events")
        assert (answer.status_code, answer.content) == (200, b"")

    async def no_stream() -> bool:
        return not console.server.context.broadcaster._streams

    await until(no_stream, 60, "the stream has ended")


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
    assert masked("sean.o'brien@example.com is not 'ana@example.com'") == "s…@e… is not 'a…@e…'"


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


async def test_websites_on_defaults_are_found(working: Console) -> None:
    """By the API and by the page: those of which a step went on although their pack did not suffice."""
    await working.sign_up(7)
    await working.sign_up(8, seed_pack="nowhere")
    for website_id in (7, 8):
        await working.reaches(website_id, "live")
    async with working.client(READER) as client:
        for query, ids in (
            ("on_defaults=true", [8]), ("on_defaults=true&state=failed", []), ("on_defaults=", [8, 7]), ("", [8, 7]),
            ("on_defaults=false", [8, 7]),
        ):  # fmt: skip
            found = (await client.get(f"/api/websites?{query}")).json()["websites"]
            assert sorted(site["website_id"] for site in found) == sorted(ids), query
        assert (await client.get("/api/websites?on_defaults=perhaps")).status_code == 400
        page = (await client.get("/websites?on_defaults=true")).text
        assert ("site-8" in page, "site-7" in page) == (True, False)
        assert 'name="on_defaults" value="true" checked' in page
        assert "Defaults were used: pack nowhere" in (await client.get("/websites/8")).text


async def test_a_command_needs_a_reason_and_hits_only_what_was_seen(working: Console) -> None:
    """It is published, carried out and stands in the history with its actor; from an old sight it is not sent."""
    await working.sign_up(7)
    await working.reaches(7, "live")
    async with working.client(OPERATOR) as client:
        found = (await client.get(KEPT)).json()
        assert [verb["verb"] for verb in found["verbs"]] == ["suspend", "erase"]
        answer = await client.post(f"{KEPT}/suspend", json={"seq": found["seq"], "reason": " "})
        assert (answer.status_code, answer.json()["error"][:6]) == (400, "reason")
        answer = await client.post(f"{KEPT}/suspend", json={"seq": found["seq"] - 1, "reason": "unpaid"})
        assert answer.status_code == 409
        assert "moved since you looked" in answer.json()["why"]
        answer = await client.post(f"{KEPT}/suspend", json={"seq": found["seq"], "reason": "unpaid"})
        assert answer.status_code == 202
        await working.reaches(7, "suspended")
        last = (await client.get(KEPT)).json()["history"][-1]
        assert (last["actor"], last["reason"]) == ("guest/console:ana", "unpaid")
        assert last["message_id"] == answer.json()["message_id"]
        assert (await client.post(f"{KEPT}/delete", json={})).status_code == 404
        assert (await client.post("/api/websites/8/suspend", json={"seq": 0, "reason": "x"})).status_code == 404


async def test_a_website_that_sleeps_is_started_by_a_button(working: Console) -> None:
    """Operators may, readers may not; the page says why it is there, and who has started it, with the reason."""
    await working.db.execute(
        """INSERT INTO pwb_websites (id, subdomain, owner_email, provisioning_due_at, created_at, updated_at)
        VALUES (7, 'kept', 'ana@example.com', NULL, now() - interval '1 year', now())"""
    )
    change = {"seq": 0, "reason": "it slept"}
    async with working.client(OPERATOR) as client, working.client(READER) as reader:
        found = (await reader.get(KEPT)).json()
        assert (found["asleep"], found["under_way"], found["ours"]) == (True, False, False)
        assert [verb["verb"] for verb in found["verbs"]] == ["start", "erase"]
        may, erase = (await reader.get(f"{KEPT}/explain")).json()["may"]
        assert erase["verb"] == "erase"
        assert may["would"] == "wait at pending for owner membership, and fail where it does not come"
        page = (await client.get("/websites/7")).text
        assert "people: asleep: nothing is under way for it, and nothing sends assign_owner" in page
        assert 'action="/websites/7/start"' in page
        assert "It would wait at pending for owner membership" in page
        assert (await client.get("/api/figures")).json()["oldest"] is None, "nothing is under way"
        assert (await reader.post(f"{KEPT}/start", json=change)).status_code == 403
        await working.db.execute(
            """WITH ana AS (INSERT INTO pwb_users (email, created_at, updated_at)
                            VALUES ('ana@example.com', now(), now()) RETURNING id)
               INSERT INTO pwb_user_memberships (user_id, website_id, role, created_at, updated_at)
               SELECT id, 7, 'owner', now(), now() FROM ana"""
        )
        answer = await client.post(f"{KEPT}/start", json=change)
        assert (answer.status_code, answer.json()["step"]) == (202, "assign_owner")
        await working.reaches(7, "live")
        page = (await client.get("/websites/7?sent=start")).text
        assert "Sent: start. The workers carry it out" in page
        assert "start by console:ana: “it slept”" in page
        refused = await client.post(f"{KEPT}/start", json=change | {"seq": (await client.get(KEPT)).json()["seq"]})
        assert (refused.status_code, refused.json()["why"]) == (409, "it is live: nothing is left to do")


async def test_a_customer_follows_one_website(working: Console) -> None:
    """With a token of its own, told of each change until it is live; not another, and not for ever."""
    await working.db.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (8, now(), now())")
    await working.db.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (7, now(), now())")
    async with working.client(SIGNUP) as signup, working.client(origin="https://signup.example.com") as browser:
        made = (await signup.post(f"{KEPT}/follow-token", json={"seconds": 60})).json()
        assert (await signup.post(f"{KEPT}/follow-token", json={"seconds": 10**9})).status_code == 400
        listening = asyncio.create_task(events(browser, made["events_url"], 3))
        broadcaster = working.server.context.broadcaster

        async def polled() -> bool:
            return broadcaster.polls > 0

        # What is sent at first, and once more at the first poll; the third is for what happens after that.
        await until(polled, 60, "a first poll for this stream")
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


async def test_one_look_serves_all_streams(console: Console) -> None:
    """Ten streams share the looks, and nobody looks when they are gone."""
    broadcaster = console.server.context.broadcaster
    async with console.client(OPERATOR) as client:
        began = asyncio.get_running_loop().time()
        told = await asyncio.gather(*(events(client, "/api/events", 3) for _ in range(10)))
        assert all(value["live"] == 0 for found in told for name, value in found if name == "states")
        assert {name for found in told for name, _ in found} == {"states", "overview"}
        assert console.server.context.overview.readings <= (asyncio.get_running_loop().time() - began) / 3 + 1
        assert broadcaster.polls <= asyncio.get_running_loop().time() - began + 2


async def test_a_proxy_is_believed_by_its_address_alone(console: Console) -> None:
    """Its headers say nothing from elsewhere; from its address they name the person and the role."""
    said = {"x-forwarded-user": "ana@example.com", "x-forwarded-groups": "staff, provisioner-operators"}
    async with console.client(**said) as client:
        assert (await client.get("/api/machine")).status_code == 401
        authenticator = console.server.context.authenticator
        authenticator._settings = ConsoleSettings(proxy_addresses="127.0.0.0/8")
        assert (await client.get("/api/machine")).status_code == 200
        assert "operator" in (await client.get("/")).text


@pytest.mark.parametrize(
    "said",
    [
        [("x-forwarded-user", "eva"), ("x-forwarded-user", "ana")],
        [("x-forwarded-user", "ana"), ("x-forwarded-groups", "provisioner-operators"), ("x-forwarded-groups", "staff")],
        [("x-forwarded-groups", "provisioner-operators")],
    ],
)
async def test_a_proxy_that_leaves_what_browsers_send_is_not_believed(console: Console, said) -> None:
    """Two headers of one name: one of them is the browser's own."""
    console.server.context.authenticator._settings = ConsoleSettings(proxy_addresses="127.0.0.0/8")
    async with console.client() as client:
        assert (await client.get("/api/machine", headers=said)).status_code == 401


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
