"""What PostgreSQL makes of a website that changes between a locking statement's snapshot and its lock."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer.domain.outcomes import Advanced, Held
from consumer.messages.inbound import Command
from consumer.messages.inbound_contracts import WEBSITE_CREATED, OwnerByEmail, WebsiteCreated
from consumer.provisioning.use_case import Policy, ProvisioningUseCase
from consumer.store.database import Store
from consumer.store.provisioning_statements import SQL
from seeders.loading.pack_library import PackLibrary
from seeders.seeding import Seeders
from statemachine import Trigger
from tests.worker_processes import until

SECONDS = 60
TURNSTILE = 4711
MESSAGE = uuid.UUID(int=1)
BIRTH = "INSERT INTO pwb_websites (id, created_at, updated_at) VALUES (1, now(), now())"


@pytest_asyncio.fixture
async def other(database_url: str) -> AsyncIterator[Any]:
    """Somebody else's session, in a database with one website."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(BIRTH)
    yield connection
    await connection.close()


async def waits(store: Store) -> bool:
    """Say whether a session waits for a lock."""
    sql = """SELECT count(*) > 0 FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    async with store.connection() as connection:
        return bool(await connection.fetchval(sql))


async def move(other: Any) -> None:
    """Move the website as write.sql does: its seq and its log row together."""
    async with other.transaction():
        await other.execute("UPDATE pwb_websites SET provisioning_seq = 1 WHERE id = 1")
        await other.execute(
            """INSERT INTO provisioning_transitions (website_id, seq, trigger, from_state, to_state, message_id)
               VALUES (1, 1, 'assign_owner', 'pending', 'owner_assigned', $1)""",
            MESSAGE,
        )


@pytest.mark.parametrize("name", ["lock_available", "lock_waiting"])
async def test_a_move_between_snapshot_and_lock_shows(other: Any, store: Store, name: str) -> None:
    """A statement stands at a turnstile with its snapshot taken; the move that it has not seen shows in its seqs."""
    statement = SQL[name].replace(
        "\n ORDER BY", f"\n WHERE pg_advisory_xact_lock({TURNSTILE})::text IS NOT NULL\n ORDER BY"
    )
    assert statement != SQL[name]

    async def locked() -> Any:
        async with store.connection() as connection:
            (record,) = await connection.fetch(statement, [1], [MESSAGE])
        return [record[key] for key in ("provisioning_seq", "seen_seq", "done_seq", "last_message_id")]

    await other.fetchval("SELECT pg_advisory_lock($1)", TURNSTILE)
    standing = asyncio.create_task(locked())
    await until(lambda: waits(store), SECONDS, "the statement at the turnstile")
    await move(other)
    await other.fetchval("SELECT pg_advisory_unlock($1)", TURNSTILE)
    assert await standing == [1, 0, None, None]
    assert await locked() == [1, 1, 1, MESSAGE]


async def test_born_again_during_the_wait(other: Any, store: Store) -> None:
    """A website that is deleted and inserted again while a command waits for it is another row: the command goes round
    again, and finds that its message was carried out in the life before."""
    provision = ProvisioningUseCase(store, Seeders(PackLibrary([])), Policy())
    command = Command(MESSAGE, "provisioning.assign_owner", Trigger.ASSIGN_OWNER, 1)
    await move(other)
    async with other.transaction():
        await other.execute("DELETE FROM pwb_websites WHERE id = 1")
        await other.execute(BIRTH)
        waiting = asyncio.create_task(provision.batch([command], alone=True))
        await until(lambda: waits(store), SECONDS, "the command before the lock")
    (outcome,) = await waiting
    assert isinstance(outcome, Held)
    async with store.transaction() as unit:
        locked, _ = await unit.lock({1: MESSAGE}, waiting=True)
    assert locked[1].website.seq == 1
    assert locked[1].done
    assert (locked[1].done.message_id, locked[1].last_message_id) == (MESSAGE, MESSAGE)


def signup(website_id: int, email: str) -> Command:
    """Return a decoded website.created."""
    created = WebsiteCreated(website_id=website_id, subdomain=f"site-{website_id}", owner=OwnerByEmail(email=email))
    return Command(uuid.uuid4(), WEBSITE_CREATED, Trigger.ASSIGN_OWNER, website_id, created=created)


async def test_a_signup_that_waits_for_its_lock_leaves_no_user(other: Any, store: Store) -> None:
    """It may yet be rejected. The others of its batch are carried out; what they insert stays."""
    use_case = ProvisioningUseCase(store, Seeders(PackLibrary([])), Policy())
    commands = [signup(1, "stranger@example.com"), signup(2, "ana@example.com"), signup(3, "stranger@example.com")]
    async with other.transaction():
        await other.execute("SELECT FROM pwb_websites WHERE id = 1 FOR UPDATE")
        first, *others = await use_case.batch(commands[:2])
        assert isinstance(first, Held)
        assert [type(outcome) for outcome in others] == [Advanced]
        emails = "SELECT array_agg(email ORDER BY email) FROM pwb_users"
        assert await other.fetchval(emails) == ["ana@example.com"]
        # Another website that names the same user needs it, although the first one's signup waits.
        held, taken = await use_case.batch([commands[0], commands[2]])
        assert (type(held), type(taken)) == (Held, Advanced)
        assert await other.fetchval(emails) == ["ana@example.com", "stranger@example.com"]
