"""The existing product's database, before `init` and after."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest_asyncio

from consumer.store.database import Store
from ops.sandbox.postgres import PostgresServer
from tests import existing_product
from tests.conftest import administer, make_schema
from tests.existing_product import ROLE


@pytest_asyncio.fixture
async def product(empty_database_url: str) -> AsyncIterator[Any]:
    """A connection to a database of the existing product's, into which this service has not come yet."""
    connection = await asyncpg.connect(empty_database_url)
    await existing_product.fill(connection)
    await existing_product.make_role(connection, ROLE)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template(postgres: PostgresServer) -> str:
    """The name of such a database after `init`."""
    name = "template_of_guests"
    await administer(postgres, f"CREATE DATABASE {name}")
    url = f"{postgres.url.rpartition('/')[0]}/{name}"
    connection = await asyncpg.connect(url)
    await existing_product.fill(connection)
    await existing_product.make_role(connection, ROLE)
    await connection.close()
    await make_schema(url)
    return name


@pytest_asyncio.fixture
async def guest_url(postgres: PostgresServer, template: str) -> AsyncIterator[str]:
    """The URL of a copy of it, for one test."""
    name = f"t_{secrets.token_hex(4)}"
    await administer(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield f"{postgres.url.rpartition('/')[0]}/{name}"
    await administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture
async def guest(guest_url: str) -> AsyncIterator[Any]:
    """A connection to it."""
    connection = await asyncpg.connect(guest_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def guest_store(guest_url: str) -> AsyncIterator[Store]:
    """A store on it."""
    store = Store(guest_url, size=3)
    yield store
    await store.close()
