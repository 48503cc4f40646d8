"""Addresses by which a real PostgreSQL is reached: several hosts, parameters, settings of the session."""

import pytest

from consumer.store.database import Store
from ops.sandbox.child_process import free_port


async def setting_of(url: str, name: str) -> str:
    """Return a setting of a session that the store opens at an address."""
    store = Store(url, size=1)
    try:
        async with store.connection() as connection:
            found: str = await connection.fetchval("SELECT current_setting($1)", name)
            return found
    finally:
        await store.close()


@pytest.mark.parametrize("dead_first", [True, False])
async def test_of_several_hosts_the_one_that_answers_is_used(database_url: str, *, dead_first: bool) -> None:
    """A cluster's address names all of its servers; one is down, and the session is on one that can be written to."""
    head, _, name = database_url.rpartition("/")
    user, _, host = head.rpartition("@")
    hosts = [host, f"127.0.0.1:{free_port()}"]
    url = f"{user}@{','.join(reversed(hosts) if dead_first else hosts)}/{name}?target_session_attrs=read-write"
    assert await setting_of(url, "transaction_read_only") == "off"


async def test_parameters_of_a_provider_reach_the_right_side(database_url: str) -> None:
    """connect_timeout and channel_binding stay with the client, options and search_path go to the server."""
    url = f"{database_url}?connect_timeout=5&channel_binding=prefer&sslmode=prefer&options=-c%20geqo%3Doff"
    assert await setting_of(url, "geqo") == "off"
    assert await setting_of(f"{database_url}?search_path=elsewhere", "search_path") == "elsewhere"
    assert await setting_of(f"{database_url}?application_name=other", "application_name") == "provisioner"
