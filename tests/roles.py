"""The service under its four broker users and four database roles, as deploy/ ships them, on servers of the tests."""

import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from deploy.rabbitmq.set_passwords import DEFINITIONS, filled, variable_of
from ops.sandbox.postgres import PostgresServer
from ops.sandbox.rabbitmq import RabbitServer

ROLES_FILE = Path(__file__).parents[1] / "deploy/postgresql/roles.sql"
PASSWORDS_FILE = ROLES_FILE.with_name("passwords.sql")
NAMESPACE = VHOST = "provisioning"
USERS = ("migrate", "worker", "ops", "signup")
ROLES = ("migrate", "worker", "ops", "reader")


@dataclass(frozen=True)
class RoleUrls:
    """Where the two servers are, for each user and each role."""

    amqp: Mapping[str, str]
    database: Mapping[str, str]

    def environment(self, role: str, user: str | None = None) -> dict[str, str]:
        """Return the settings of a program that runs as a database role and, unless named, the same broker user."""
        return {
            "PROVISIONER_DATABASE_URL": self.database[role],
            "PROVISIONER_AMQP_URL": self.amqp[user or role],
            "PROVISIONER_NAMESPACE": NAMESPACE,
        }


def broker_urls(server: RabbitServer, folder: Path) -> dict[str, str]:
    """Import the definitions that ship, with passwords, into a broker; return each user's URL."""
    passwords = {f"{user.upper()}_PASSWORD": secrets.token_hex(16) for user in USERS}
    file = folder / "definitions.json"
    file.write_text(filled(DEFINITIONS.read_text(), passwords))
    server.ctl("import_definitions", str(file))
    return {
        user: f"amqp://provisioner-{user}:{passwords[variable_of(f'provisioner-{user}')]}@127.0.0.1:{server.port}/{VHOST}"
        for user in USERS
    }


def database_urls(url: str) -> dict[str, str]:
    """Return the URL of a database for each role; `run_roles_file` has given each the superuser's password."""
    return {role: as_role(url, f"provisioner_{role}") for role in ROLES}


def as_role(url: str, role: str) -> str:
    """Return the URL of a database for another role, which has the superuser's password: `with_password` sets it."""
    return url.replace("//postgres:", f"//{role}:", 1)


def with_password(url: str) -> str:
    """Return what follows CREATE ROLE or ALTER ROLE for a role that may log in by `as_role`."""
    return f"LOGIN PASSWORD '{urlsplit(url).password}'"


async def run_roles_file(url: str) -> None:
    """Run roles.sql as a superuser. Rights on roles are the whole server's, so one test at a time."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(ROLES_FILE.read_text())
        for role in ROLES:
            await connection.execute(f"ALTER ROLE provisioner_{role} {with_password(url)}")
    finally:
        await connection.close()


def psql(server: PostgresServer, file: Path, **environment: str) -> str:
    """Run a file with psql as a superuser; return what it said."""
    command = [str(server.bin_dir / "psql"), "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--dbname", server.url]
    result = subprocess.run(
        [*command, "--file", str(file)], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return result.stdout + result.stderr


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Lend a connection to a database, as the role in its URL."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
