"""The roles that ship, in the existing product's database: installed in the order that docs/security.md gives, and each
does its part there, too."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from ops.sandbox.postgres import PostgresServer
from tests.acceptance.test_command_line import CommandLine
from tests.conftest import administer
from tests.existing_product import IDS, fill
from tests.roles import as_role, connected, run_roles_file

PRODUCT = "owner_of_the_product"
ROLES = ("worker", "ops", "reader")


@pytest_asyncio.fixture
async def product_url(postgres: PostgresServer) -> AsyncIterator[str]:
    """The URL, as a superuser, of a database whose tables another role owns: the product's."""
    name = f"t_{secrets.token_hex(4)}"
    await administer(postgres, f"CREATE DATABASE {name}")
    url = f"{postgres.url.rpartition('/')[0]}/{name}"
    async with connected(url) as connection:
        await connection.execute(f"CREATE ROLE {PRODUCT}; GRANT CREATE ON SCHEMA public TO {PRODUCT}")
        await connection.execute(f"SET ROLE {PRODUCT}")
        await fill(connection)
    yield url
    await administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")
    await administer(postgres, f"DROP ROLE {PRODUCT}")


async def test_each_role_does_its_part(product_url: str, amqp_url: str, namespace: str, tmp_path: Path) -> None:
    """roles.sql runs before the first `init`, when the product's tables lack our columns, and again after it; then each
    role has all its rights and none too much, and the doctor completes its checks as each."""
    await run_roles_file(product_url)
    async with connected(product_url) as connection:
        await connection.execute(f"GRANT {PRODUCT} TO provisioner_migrate")
    settings = {"PROVISIONER_AMQP_URL": amqp_url, "PROVISIONER_NAMESPACE": namespace}
    tools = {
        role: CommandLine(
            tmp_path, settings | {"PROVISIONER_DATABASE_URL": as_role(product_url, f"provisioner_{role}")}
        )
        for role in ("migrate", *ROLES)
    }
    await tools["migrate"].good("init")
    await run_roles_file(product_url)
    answers = await asyncio.gather(*(tools[role]("doctor", "--json") for role in ROLES))
    for role, answer in zip(ROLES, answers, strict=True):
        found = {each["what"]: each for each in answer.json["findings"] if each["area"] in ("database", "websites")}
        assert found["rights"]["level"] == "ok", (role, found["rights"])
        assert "role" not in found, (role, found["role"])
        assert found["sequences"]["level"] == "ok", (role, found)
        assert found["never provisioned here"]["level"] == "ok", (role, answer.out)
    assert (await tools["reader"].good("list", "--state", "live", "--json")).json[0]["website_id"] == IDS["live"]


async def test_a_list_says_since_when_websites_are_there(
    product_url: str, amqp_url: str, namespace: str, tmp_path: Path
) -> None:
    """docs/switching.md asks which of them were created within a window: the product's columns hold UTC."""
    settings = {"PROVISIONER_DATABASE_URL": product_url, "PROVISIONER_AMQP_URL": amqp_url}
    tools = CommandLine(tmp_path, settings | {"PROVISIONER_NAMESPACE": namespace})
    await tools.good("init")
    assert "2026-11-30 10:00:00" in (await tools.good("list", "--state", "pending")).out
    (website,) = (await tools.good("list", "--state", "pending", "--json")).json
    assert website["created_at"] == "2026-11-30T10:00:00+00:00"
