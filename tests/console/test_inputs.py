"""What cannot be used: refused with 400, naming the field and what is allowed, in plain English."""

import json
from typing import Any

import pytest

from tests.console.conftest import OPERATOR, Console

VERB, REQUEUE = "/api/websites/7/suspend", "/api/failures/requeue"
SAY_WHY = "say why, in 1 to 500 characters"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/api/websites?state=nowhere", "state: must be one of pending, owner_assigned, "),
        ("/api/websites?limit=0", "limit: must be 1 or more"),
        ("/api/websites?limit=201", "limit: must be 200 or less"),
        ("/api/websites?limit=1e1", "limit: must be a whole number"),
        ("/api/websites?limit=%201", "limit: must be a whole number"),
        ("/api/websites?limit=%D9%A3", "limit: must be a whole number"),
        ("/api/websites?after=x", "after: is not the `next` of an earlier page"),
        ("/api/failures/preflight?since_seconds=1h", "since_seconds: must be a whole number"),
        ("/api/failures/preflight?limit=none", "limit: must be a whole number"),
        ("/api/dead-letters?website_id=seven", "website_id: must be a whole number"),
        ("/api/dead-letters?older_seconds=-1", "older_seconds: must be a whole number"),
    ],
)
async def test_a_query_that_cannot_be_used(console: Console, path: str, error: str) -> None:
    """As JSON, and on the page that takes the same query."""
    async with console.client(OPERATOR) as client:
        answer = await client.get(path)
        assert (answer.status_code, list(answer.json())) == (400, ["error"])
        assert answer.json()["error"].startswith(error)
        if "preflight" not in path:
            page = await client.get(path.removeprefix("/api"))
            assert (page.status_code, error.partition("`")[0] in page.text) == (400, True)


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        (VERB, {}, "seq: is required"),
        (VERB, {"seq": 7}, "reason: is required"),
        (VERB, {"seq": 7, "reason": "\x00 \x01"}, f"reason: {SAY_WHY}"),
        (VERB, {"seq": 7, "reason": None}, f"reason: {SAY_WHY}"),
        (VERB, {"seq": 7, "reason": "x" * 501}, f"reason: {SAY_WHY}"),
        *(
            (VERB, {"seq": wrong, "reason": "x"}, "seq: must be a whole number")
            for wrong in ("x", -1, 1.5, True, None, [])
        ),
        (REQUEUE, {"reason": "x", "rate": "fast"}, "rate: must be a whole number"),
        (REQUEUE, {"reason": "x", "rate": "0"}, "rate: must be 1 or more"),
        ("/api/dead-letters/discard", {"all": True}, "why: is required"),
        ("/api/dead-letters/discard", {"all": True, "why": " "}, f"why: {SAY_WHY}"),
        ("/api/dead-letters/discard", {"why": "x"}, "message_ids: name them, or a filter, or say all"),
        ("/api/dead-letters/discard", {"why": "x", "message_ids": 7}, "message_ids: must be a list"),
        ("/api/dead-letters/discard", {"why": "x", "message_ids": [7]}, "message_ids.0: must be a text"),
        ("/api/dead-letters/edit", {"why": "x", "all": True}, "message_ids: name the one that is edited"),
        ("/api/workers/pause", {"reason": "x"}, "worker: is required"),
        ("/api/workers/pause", {"worker": 7, "reason": "x"}, "worker: must be all, an id or HOST:PID"),
        ("/api/workers/pause", {"worker": "all"}, f"reason: {SAY_WHY}"),
        ("/api/websites/7/follow-token", {"seconds": 0}, "seconds: must be 1 to 2592000"),
        ("/api/websites/7/follow-token", {"seconds": "soon"}, "seconds: must be a whole number"),
        (VERB, [], "the body must be a JSON object"),
        (VERB, "text", "the body must be a JSON object"),
    ],
)
async def test_a_body_that_cannot_be_used(console: Console, path: str, body: Any, error: str) -> None:
    """Nothing of it is done, and the first thing that is wrong is named."""
    async with console.client(OPERATOR) as client:
        answer = await client.post(path, content=json.dumps(body))
    assert (answer.status_code, answer.json()) == (400, {"error": error})
    assert await console.db.fetchval("SELECT count(*) FROM provisioning_operator_actions") == 0


@pytest.mark.parametrize(
    "body",
    [
        r'{"seq": 7, "reason": "unpaid \ud800"}',
        r'{"seq": 7, "reason": "unpaid", "else": [{"deep": "\udfff"}]}',
        r'{"seq": 7, "reason": "unpaid", "\udc00": 1}',
        r'{"seq": 7, "reason": "\ude00\ud83d"}',
    ],
)
async def test_half_a_surrogate_pair_is_no_text(console: Console, body: str) -> None:
    """Wherever it is; it used to become a space where the field was known, and to pass where it was not."""
    async with console.client(OPERATOR) as client:
        for path in (VERB, "/api/workers/pause", "/api/dead-letters/edit", "/login"):
            answer = await client.post(path, content=body)
            assert answer.status_code == 400, path
            assert "lone surrogate" in answer.text
        whole = r'{"seq": 7, "reason": "\ud83d\ude00"}'
        assert (await client.post(VERB, content=whole)).status_code == 404, "a whole pair is a letter"


async def test_who_asks_comes_before_what(console: Console) -> None:
    """A stranger hears nothing of what is wrong with a body, and nobody reads it to its end."""
    async with console.client() as client:
        for content in (b"{", b"x" * 70_000, b"{}"):
            assert (await client.post(VERB, content=content)).status_code == 401
        assert (await client.get("/api/websites?limit=0")).status_code == 401


async def test_what_is_unknown_is_ignored(console: Console) -> None:
    """A later client may send more than this console knows."""
    async with console.client(OPERATOR) as client:
        assert (await client.get("/api/websites?colour=red&limit=&state=&site_type=")).status_code == 200
        empty = "/api/failures/preflight?limit=&since_seconds=&group="
        assert (await client.get(empty)).status_code == 200
        body = {"worker": "nobody", "reason": "x", "colour": {"red": True}}
        assert (await client.post("/api/workers/pause", json=body)).status_code == 404
