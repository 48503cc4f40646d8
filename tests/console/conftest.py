"""A console as people meet it: a real server on a real database, with a worker behind it where a test wants one."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import httpx
import pytest
import pytest_asyncio
from playwright.async_api import expect
from pydantic import SecretStr

from consumer.app import App
from consumer.broker.topology import Topology
from consumer.config import Settings
from ops.console.access.settings import ConsoleSettings
from ops.console.app import Server, make_console
from ops.publishing import publish_all, publishing, website_created
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.system_packages import program
from tests.worker_processes import until

expect.set_options(timeout=60_000)  # of a browser on a machine that is slow, or shared: five seconds were too few once
OPERATOR, READER, SIGNUP = "operator-" + "o" * 24, "reader-" + "r" * 24, "signup-" + "s" * 24
FOLLOW = "follow-" + "f" * 24


@dataclass
class Console:
    """A console that serves, and what stands behind it."""

    url: str
    settings: Settings
    broker: FaultyMemoryBroker
    server: Server
    db: asyncpg.Connection

    def client(self, token: str | None = None, **headers: str) -> httpx.AsyncClient:
        """A client that shows a token with every request."""
        shown = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.AsyncClient(base_url=self.url, headers=shown | headers, timeout=60)

    async def sign_in(self, browser: httpx.AsyncClient, token: str) -> str:
        """Sign in as a browser that sends neither Origin nor Sec-Fetch-Site; return the token of its forms."""
        answer = await browser.post("/login", data={"token": token})
        assert answer.status_code == 303, answer.text
        found = re.search('name="csrf" value="([^"]+)"', (await browser.get("/")).text)
        assert found
        return found[1]

    async def sign_up(self, website_id: int, **said: object) -> None:
        """Publish a signup."""
        body = {"website_id": website_id, "subdomain": f"site-{website_id}", "owner": {"email": "ana@example.com"}}
        async with publishing(self.broker) as session:
            await publish_all(session, [website_created(Topology("t"), body | said)])

    async def reaches(self, website_id: int, state: str) -> None:
        """Wait until a website is in a state."""
        text = "SELECT provisioning_state = $2 FROM pwb_websites WHERE id = $1"
        await until(lambda: self.db.fetchval(text, website_id, state), 60, f"website {website_id} is {state}")


@pytest_asyncio.fixture
async def console(database_url: str) -> AsyncIterator[Console]:
    """A console; nobody works behind it."""
    broker, settings = FaultyMemoryBroker(), Settings(
        database_url=SecretStr(database_url), namespace="t", dispatch_interval_seconds=0.1, retry_base_seconds=0.01,
        retry_budget=2, presence_seconds=0.1,
    )  # fmt: skip
    await broker.declare(Topology("t"))
    who = ConsoleSettings(
        operator_tokens=SecretStr(f"ana={OPERATOR}"), reader_tokens=SecretStr(f"wall={READER}"),
        signup_tokens=SecretStr(f"shop={SIGNUP}"), follow_secrets=SecretStr(FOLLOW),
        follow_origins="https://signup.example.com", streams_limit=30,
    )  # fmt: skip
    server = Server(make_console(settings, who, broker=broker), "127.0.0.1", 0)
    serving = asyncio.create_task(server._serve())
    try:
        while not server.started:
            await asyncio.sleep(0.01)
            assert not serving.done(), serving
        db = await asyncpg.connect(database_url)
        yield Console(server.url, settings, broker, server, db)
        await db.close()
    finally:
        server.should_exit = True
        await serving


@pytest_asyncio.fixture
async def working(console: Console) -> AsyncIterator[Console]:
    """The console, and a worker that carries out what it sends."""
    app = App(console.settings, broker=console.broker)
    running = asyncio.create_task(app.run())
    yield console
    app.stopping.set()
    await running


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is."""
    return str(program("chromium"))
