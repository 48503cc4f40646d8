"""Scenes: on the servers of the run where nobody else is harmed, on servers that may be stopped where all would be."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from ops.sandbox.postgres import PostgresServer
from ops.sandbox.rabbitmq import RabbitServer
from tests.conftest import Scaled, make_schema
from tests.faults.scene import Scene, set_scene
from tests.faults.turnstile import Turnstile
from tests.service import Start, starter

__all__ = ["Scaled"]


@pytest_asyncio.fixture
async def scene(database_url: str, amqp_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A scene on the servers that all tests share."""
    async with set_scene(tmp_path, database_url, amqp_url, namespace) as made:
        yield made
        async with made.channel() as channel:
            await channel.queue_delete(f"{namespace}.seen")


@pytest_asyncio.fixture
async def own_database_url(own_postgres: PostgresServer) -> str:
    """A fresh database on the PostgreSQL that may be stopped and misconfigured."""
    name = f"f_{secrets.token_hex(4)}"
    admin = await asyncpg.connect(own_postgres.url)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = f"{own_postgres.url.rpartition('/')[0]}/{name}"
    await make_schema(url)
    return url


@pytest_asyncio.fixture
async def own_scene(own_database_url: str, own_rabbitmq: RabbitServer, tmp_path: Path) -> AsyncIterator[Scene]:
    """A scene on servers that may be stopped and misconfigured. Whoever does so undoes it."""
    name = own_database_url.rpartition("/")[2].replace("_", "-")
    async with set_scene(tmp_path, own_database_url, own_rabbitmq.url, name) as made:
        yield made


@pytest_asyncio.fixture
async def database_scene(own_database_url: str, amqp_url: str, namespace: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A scene on a PostgreSQL that may be stopped and misconfigured, and on the broker that all tests share."""
    async with set_scene(tmp_path, own_database_url, amqp_url, namespace) as made:
        yield made
        async with made.channel() as channel:
            await channel.queue_delete(f"{namespace}.seen")


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Start:
    """Start a service on the in-process broker, where a race or a message matters and the broker does not."""
    return starter(database_url, tmp_path)


@pytest.fixture
def turnstile(monkeypatch: pytest.MonkeyPatch) -> Turnstile:
    """Barriers at the failpoints of this process."""
    return Turnstile(monkeypatch)
