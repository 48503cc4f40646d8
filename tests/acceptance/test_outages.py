"""Outages cost nothing: no website fails, no attempt is charged, nothing is dead-lettered, and all go live afterwards.

On a PostgreSQL and a RabbitMQ of these tests' own, which may be stopped and killed.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from consumer.store import schema_lifecycle
from consumer.store.database import Store
from ops.sandbox.postgres import PostgresServer
from ops.sandbox.rabbitmq import RabbitServer
from tests.foreign_client import foreign_client, signup
from tests.invariants import check_effects, check_history, check_nothing_owed
from tests.worker_processes import WorkerProcesses, until, worker_processes

WEBSITES = 150
NAMESPACE = "outage"
SECONDS = 60


@dataclass
class Outage:
    """Two workers in the middle of provisioning."""

    postgres: PostgresServer
    rabbitmq: RabbitServer
    workers: WorkerProcesses
    topology: Topology

    async def count(self, condition: str) -> int:
        """Count websites; -1 while the database is away."""
        try:
            connection = await asyncpg.connect(self.postgres.url, timeout=60)
        except (OSError, asyncpg.PostgresError):
            return -1
        try:
            found: int = await connection.fetchval(f"SELECT count(*) FROM pwb_websites WHERE {condition}")
        finally:
            await connection.close()
        return found

    async def in_the_middle(self) -> None:
        """Wait until some are live and most are not."""

        async def some() -> bool:
            return await self.count("provisioning_state = 'live'") >= 10

        await until(some, SECONDS, "some websites live")
        assert await self.count("provisioning_state = 'live'") < WEBSITES, "the outage came too late to matter"

    async def logged(self, event: str, what: str) -> None:
        """Wait until a worker has said something, but for what each says while it starts."""

        async def said() -> bool:
            lines = [line for line in self.workers.logs() if line.get("error") != "not connected yet"]
            return any(line["event"] == event and line.get("what") == what for line in lines)

        await until(said, SECONDS, f"a worker logs {event} {what}")

    async def healed(self) -> None:
        """All go live, as if nothing had happened."""

        async def live() -> bool:
            return await self.count("provisioning_state = 'live' AND provisioning_due_at IS NULL") == WEBSITES

        await until(live, SECONDS, "every website live after the outage")
        connection = await asyncpg.connect(self.postgres.url)
        try:
            await check_history(connection)
            await check_effects(connection)
            await check_nothing_owed(connection)
            failures = await connection.fetchval(
                "SELECT count(*) FROM provisioning_transitions WHERE to_state = 'failed'"
            )
        finally:
            await connection.close()
        assert failures == 0
        lines = self.workers.logs()
        assert not [line for line in lines if line.get("outcome") in ("attempted", "refused", "rejected")]
        async with foreign_client(self.rabbitmq.url, NAMESPACE) as client:
            assert await client.drain(self.topology.dead_letters) == []


@pytest_asyncio.fixture
async def outage(own_postgres: PostgresServer, own_rabbitmq: RabbitServer, tmp_path: Path) -> AsyncIterator[Outage]:
    """Fresh tables and queues, signups published, two workers at it."""
    topology = Topology(NAMESPACE)
    broker = RabbitBroker(own_rabbitmq.url)
    await broker.delete(topology)
    await broker.declare(topology)
    connection = await asyncpg.connect(own_postgres.url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    store = Store(own_postgres.url, size=3)
    await schema_lifecycle.apply(store)
    await store.close()
    async with foreign_client(own_rabbitmq.url, NAMESPACE) as client:
        await client.publish_many([("website.created", signup(n), None) for n in range(1, WEBSITES + 1)])
    async with worker_processes(
        tmp_path,
        own_postgres.url,
        own_rabbitmq.url,
        NAMESPACE,
        PROVISIONER_STALL_SECONDS="4",
        PROVISIONER_CONCURRENCY="2",
        PROVISIONER_BATCH_SIZE="2",
        PROVISIONER_RECONNECT_CAP_SECONDS="0.5",
        PROVISIONER_WATCHDOG_SECONDS="1",
    ) as workers:
        await workers.start()
        await workers.start()
        yield Outage(own_postgres, own_rabbitmq, workers, topology)


@pytest.mark.fault(49)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_postgresql_away(outage: Outage, mode: str) -> None:
    """PostgreSQL stops in mid-work and comes back: the pool pauses, and resumes by itself."""
    await outage.in_the_middle()
    await asyncio.to_thread(outage.postgres.stop, mode)
    await outage.logged("paused", "database")
    await asyncio.to_thread(outage.postgres.start)
    await outage.healed()


@pytest.mark.fault(31)
async def test_rabbitmq_away(outage: Outage) -> None:
    """RabbitMQ stops in mid-work and comes back with its queues."""
    await outage.in_the_middle()
    await asyncio.to_thread(outage.rabbitmq.stop)
    await outage.logged("paused", "publishing")
    await asyncio.to_thread(outage.rabbitmq.start)
    await outage.healed()


@pytest.mark.fault(30)
async def test_connections_closed_again_and_again(outage: Outage) -> None:
    """The broker closes every connection three times in mid-work."""
    await outage.in_the_middle()
    for _ in range(3):
        told = await asyncio.to_thread(outage.rabbitmq.ctl, "close_all_connections", "a test")
        assert "error" not in told.lower()
    await outage.logged("paused", "publishing")
    await outage.healed()


@pytest.mark.fault(37)
async def test_rabbitmq_wiped(outage: Outage) -> None:
    """Every queue is deleted while websites are half-way: those that had begun end live; nothing else knew the rest."""
    await outage.in_the_middle()
    begun = await outage.count("true")
    await RabbitBroker(outage.rabbitmq.url).delete(outage.topology)

    async def live() -> bool:
        return await outage.count("provisioning_state = 'live' AND provisioning_due_at IS NULL") >= begun

    await until(live, SECONDS, "every website that had begun is live")
    assert await outage.count("provisioning_state = 'failed'") == 0


@pytest.mark.fault(37)
async def test_queues_made_anew_behind_our_back(outage: Outage) -> None:
    """A queue is deleted and declared again by somebody else: the watchdog notices, and consumes again."""
    await outage.in_the_middle()
    begun = await outage.count("true")
    broker = RabbitBroker(outage.rabbitmq.url)
    await broker.delete(outage.topology)
    await broker.declare(outage.topology)

    async def live() -> bool:
        return await outage.count("provisioning_state = 'live' AND provisioning_due_at IS NULL") >= begun

    await until(live, SECONDS, "every website that had begun is live")
    async with foreign_client(outage.rabbitmq.url, NAMESPACE) as client:
        await client.publish("website.created", signup(WEBSITES + 1))

    async def late_one_live() -> bool:
        return await outage.count(f"id = {WEBSITES + 1} AND provisioning_state = 'live'") == 1

    await until(late_one_live, 15, "a signup that came afterwards is live within 15 s")
