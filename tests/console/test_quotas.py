"""Quotas: nobody has more under way than their part, however much they ask for at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from ops.console import broadcaster
from tests.console.conftest import OPERATOR, READER, SIGNUP, Console
from tests.console.test_api import events
from tests.worker_processes import until

EVENTS = "/api/websites/7/provisioning/events"


@pytest.fixture(autouse=True)
async def _website(console: Console) -> None:
    await console.db.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (7, now(), now())")


@asynccontextmanager
async def streams(client: httpx.AsyncClient, urls: Sequence[str]) -> AsyncIterator[Counter[int]]:
    """Event streams, opened at once: how many were answered with which status; those that opened stay open."""
    async with AsyncExitStack() as stack:
        opening = (stack.enter_async_context(client.stream("GET", url)) for url in urls)
        yield Counter(answer.status_code for answer in await asyncio.gather(*opening))


async def test_a_limit_holds_for_streams_that_open_at_once(console: Console) -> None:
    """Of 60 on one website, 20 open: each has its place before the database is asked; later others may have it."""
    async with console.client(SIGNUP) as client:
        async with streams(client, [EVENTS] * 60) as found:
            assert found == {200: 20, 503: 40}
            answer = await client.get(EVENTS)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
            assert answer.json() == {"error": "20 event streams follow website 7; try again later"}

        async def free() -> bool:
            return console.server.context.quotas.streams() == 0

        await until(free, 60, "the places are free")
        async with streams(client, [EVENTS] * 3) as found:
            assert found == {200: 3}


async def test_one_customers_token_has_five_streams(console: Console) -> None:
    """However its signature is written; another token of the same website has its own."""
    async with console.client(SIGNUP) as signup, console.client() as browser:
        one, other = [
            (await signup.post("/api/websites/7/follow-token", json={"seconds": seconds})).json()["events_url"]
            for seconds in (60, 61)
        ]
        same = f"{one[:-1]}{chr(ord(one[-1]) + 1)}"
        async with streams(browser, [one] * 8) as found:
            assert found == {200: 5, 429: 3}
            assert (await browser.get(same)).status_code in (401, 429)
            async with streams(browser, [other] * 2) as others:
                assert others == {200: 2}


async def test_operators_have_streams_of_their_own(console: Console) -> None:
    """A reader has 20; when everybody else has filled the 30 that there are, an operator still gets one."""
    await console.db.execute("INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (8, now(), now())")
    signups = [EVENTS] * 5 + [EVENTS.replace("7", "8")] * 5
    async with (
        console.client(READER) as reader,
        console.client(SIGNUP) as signup,
        console.client(OPERATOR) as operator,
        streams(reader, ["/api/events"] * 25) as of_readers,
        streams(signup, signups) as of_signup,
        streams(operator, ["/api/events"] * 5) as of_operators,
    ):
        assert of_readers == {200: 20, 429: 5}
        assert of_signup == {200: 7, 503: 3}
        assert of_operators == {200: 3, 503: 2}


async def test_requests_under_way_have_a_limit_too(console: Console) -> None:
    """While the database makes readers wait, one of them has 20 requests under way, and others still get theirs."""
    async with console.client(READER) as reader, console.client(OPERATOR) as operator:
        lock = console.db.transaction()
        await lock.start()
        await console.db.execute("LOCK TABLE pwb_websites IN ACCESS EXCLUSIVE MODE")
        asked = [asyncio.create_task(reader.get("/api/websites")) for _ in range(30)]

        async def ten_are_answered() -> bool:
            return sum(task.done() for task in asked) == 10

        await until(ten_are_answered, 60, "ten are refused at once")
        unknown = {"message_id": "nobody"}  # RabbitMQ alone is asked for it
        assert (await operator.get("/api/dead-letters/letter", params=unknown)).status_code == 404
        await lock.rollback()
        answers = await asyncio.gather(*asked)
        assert Counter(answer.status_code for answer in answers) == {200: 20, 429: 10}
        assert (await reader.get("/api/websites")).status_code == 200


async def test_a_stream_ends_and_its_browser_shows_again_who_it_is(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time, so that neither a follow token nor a session is good for longer than it says."""
    monkeypatch.setattr(broadcaster, "STREAM_SECONDS", 0.3)
    async with console.client(OPERATOR) as client:
        assert len(await events(client, "/api/events", 1000)) < 1000
