"""Dead letters in the console: only those that were seen, only what each person may read, and nothing that a stranger
wrote is more than text."""

import json
import time
import uuid
from typing import Any

import pytest

from consumer.broker.protocol import Message
from consumer.broker.topology import Topology
from ops.console.access import dead_letter_read_limit
from ops.dead_letters import queue_lease
from ops.dead_letters.queue_lease import leased
from ops.publishing import publish_all, publishing
from ops.text.email_masking import masked
from tests.console.conftest import OPERATOR, READER, SIGNUP, Console

QUEUE = Topology("t").dead_letters
AT = "/api/dead-letters"


async def letter(console: Console, body: bytes, **headers: object) -> str:
    """Make a dead letter; return its message id."""
    message_id = str(uuid.uuid4())
    said = {"x-reason": "poison", "x-error": "why", "x-failed-at": "2026-01-01T00:00:00+00:00"} | headers
    async with publishing(console.broker) as session:
        await publish_all(session, [Message(message_id, "website.created", body, "", QUEUE, True, said)])
    return message_id


async def test_only_those_that_were_seen_are_taken(console: Console) -> None:
    """A page's buttons act on what it showed; what came since then makes them say so and do nothing."""
    await letter(console, b"{}")
    async with console.client(OPERATOR) as client:
        seen = (await client.get(f"{AT}/forecast")).json()["seen"]
        assert f'name="seen" value="{seen}"' in (await client.get("/dead-letters")).text
        second = await letter(console, b'{"website_id": 2}')
        said = {"all": True, "why": "a test", "seen": seen}
        for verb in ("discard", "redrive"):
            answer = await client.post(f"{AT}/{verb}", json=said)
            assert (answer.status_code, "look again" in answer.json()["error"]) == (409, True)
        assert len(console.broker.ready(QUEUE)) == 2
        assert await console.db.fetchval("SELECT count(*) FROM provisioning_operator_actions") == 0
        (group,) = (await client.get(f"{AT}/groups")).json()
        assert len((await client.get(AT, params={"group": group["group"]})).json()) == 2
        assert (await client.get(AT, params={"group": "none"})).json() == []
        gone = await client.post(f"{AT}/discard", json={"website_id": 2, "why": "a test"})
        assert [one["message_id"] for one in gone.json()["letters"]] == [second]


async def test_while_another_tool_is_at_it(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page and JSON say so, and neither says that there are no dead letters."""
    monkeypatch.setattr(queue_lease, "GIVE_UP_SECONDS", 0.1)
    await letter(console, b"{}")
    async with leased(console.broker, QUEUE), console.client(OPERATOR) as client:
        for path in (AT, "/dead-letters"):
            answer = await client.get(path)
            assert answer.status_code == 409
            assert "another tool is reading t.dead-letters" in answer.text


async def test_what_readers_may_read(console: Console) -> None:
    """An owner is left out however JSON has it, and cannot be searched for; no bytes and no export are theirs."""
    red = await letter(console, b'{"website_id": 7, "owner": "ana\\u0040example.com"}', raw=b"ana@example.com")
    async with console.client(READER) as reader, console.client(OPERATOR) as operator:
        for path in (f"{AT}/letter", "/dead-letters/letter"):
            seen = (await reader.get(path, params={"message_id": red})).text
            assert "owner" in seen
            assert "ana" not in seen
            assert "raw" not in seen
        found = {"text": "ana\\u0040"}
        assert (await reader.get(AT, params=found)).json() == []
        assert len((await operator.get(AT, params=found)).json()) == 1
        assert (await reader.get(f"{AT}/export")).status_code == 403
        exported = await operator.get(f"{AT}/export", params={"website_id": 7})
        assert exported.headers["content-type"] == "application/x-ndjson"
        (line,) = map(json.loads, exported.text.splitlines())
        assert (line["message_id"], line["queue"]) == (red, "t.signups")
        assert "Export these 1" in (await operator.get("/dead-letters")).text
        assert "Export" not in (await reader.get("/dead-letters")).text
    async with console.client(SIGNUP) as stranger:
        assert (await stranger.get(f"{AT}/export")).status_code == 403


async def test_readers_leave_the_queue_to_operators(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one tool at a time receives dead letters: readers get a share of the time, whoever acts is not refused."""
    monkeypatch.setattr(dead_letter_read_limit, "AT_ONCE_SECONDS", 0.0)
    message_id = await letter(console, b"{}")
    async with console.client(READER) as reader, console.client(OPERATOR) as operator:
        shown = f"{AT}/letter?message_id={message_id}"
        assert (await reader.get(shown)).status_code == 200
        for url in (shown, f"{AT}/forecast"):
            refused = await reader.get(url)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
            assert "readers have read the dead letters for long: try again in" in refused.json()["error"]
        assert (await reader.get(AT)).status_code == 200
        assert (await operator.get(shown)).status_code == 200


async def test_no_search_finds_out_what_readers_see_masked(console: Console) -> None:
    """Of an address in an error, an action's target or its person, no part can be guessed letter by letter."""
    await console.db.execute(
        """SET session_replication_role = replica;
           INSERT INTO pwb_websites (id, provisioning_state, provisioning_error, provisioning_failed_from,
                                     provisioning_seq, provisioning_failed_at, created_at, updated_at)
           VALUES (7, 'failed', 'asked by ana@example.com', 'pending', 1, now(), now(), now());
           RESET session_replication_role"""
    )
    await console.db.execute(
        """INSERT INTO provisioning_operator_actions (actor, person, verb, target)
           VALUES ('proxy:ana@example.com', 'ana@example.com', 'stop-requeue', 'requeue 1 of proxy:ana@example.com')"""
    )
    await letter(console, b"{}", **{"x-reason": "error", "x-error": "taken by ana@example.com"})
    searches = [
        (AT, {"text": "ana@"}), ("/api/failures/preflight", {"error": "ana@"}),
        ("/api/actions", {"target": "ana@"}), ("/api/actions", {"person": "ana@example.com"}),
    ]  # fmt: skip

    def found(answer: Any) -> int:
        said = answer.json()
        return len(said if isinstance(said, list) else said["items"] if "items" in said else said["websites"])

    async with console.client(READER) as reader, console.client(OPERATOR) as operator:
        for path, asked in searches:
            assert found(await operator.get(path, params=asked)) == 1, (path, asked)
            assert found(await reader.get(path, params=asked)) == 0, (path, asked)
        assert found(await reader.get(AT, params={"text": "taken by"})) == 1
        assert found(await reader.get("/api/failures/preflight", params={"error": "asked by"})) == 1


async def test_a_page_shows_text_and_nothing_else(console: Console) -> None:
    """Markup, controls and marks that turn the order of letters are shown as what they are; so is a forged message."""
    body = '{"website_id": "<script>alert(1)</script>", "b": "\u202eevil\x9b"}'
    red = await letter(console, body.encode(), **{"x-note": "<img src=x>\u202e"})
    async with console.client(OPERATOR) as client:
        text = (await client.get("/dead-letters/letter", params={"message_id": red})).text
        card = text.partition("<pre")[2].partition("</pre>")[0]
        assert "&lt;script&gt;alert(1)" in card
        assert r"\u202eevil\x9b" in card
        assert "<script>alert" not in text
        assert "<img" not in text
        assert r"&lt;img src=x&gt;\u202e" in text
        assert "By its contract: website.created: website_id: " in text
        assert "3 discarded." in (await client.get("/dead-letters?done=3 discarded")).text
        assert "call" not in (await client.get("/dead-letters?done=3 discarded, call 555")).text


async def test_an_edit_that_does_not_fit_is_given_back(console: Console) -> None:
    """What somebody typed into the page is not lost with the refusal."""
    red = await letter(console, b'{"website_id": 7, "colour": "red"}')
    typed = '{"website_id": 7, "size": "<b>"}'
    async with console.client(OPERATOR) as client:
        form = {"message_id": red, "why": 'as "ana" asked', "body": typed}
        answer = await client.post("/dead-letters/edit", data=form)
        assert answer.status_code == 400
        assert "Nothing was sent: the edited message would be poison again: website.created: size" in answer.text
        assert "{&#34;website_id&#34;: 7, &#34;size&#34;: &#34;&lt;b&gt;&#34;}</textarea>" in answer.text
        assert answer.text.count('value="as &#34;ana&#34; asked"') == 1
        assert len(console.broker.ready(QUEUE)) == 1
        answer = await client.post("/dead-letters/edit", data=form | {"body": '{"website_id": 7}'})
        assert answer.headers["location"] == "/dead-letters?done=1+edited+and+sent+back"
    async with console.client(READER) as reader:
        assert (await reader.post("/dead-letters/edit", data=form)).status_code == 403


async def test_ages_by_page(console: Console) -> None:
    """The page filters by age as the command line does."""
    await letter(console, b"{}")
    async with console.client(READER) as reader:
        assert "No dead letters." in (await reader.get("/dead-letters?newer_seconds=3600")).text
        assert "1 of 1 shown" in (await reader.get("/dead-letters?older_seconds=3600")).text


def test_masking_a_long_word_costs_little() -> None:
    """A body may be one word of a megabyte; masked it still is."""
    began = time.process_time()
    assert masked("a" * 1_000_000 + " x@y.z") == "a" * 1_000_000 + " x…@y…"
    assert time.process_time() - began < 0.5
