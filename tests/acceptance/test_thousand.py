"""A thousand signups by a foreign client, two worker processes: all live, every history legal, nothing doubled."""

import random
import uuid
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from tests.factories import STEPS
from tests.foreign_client import ForeignClient, foreign_client, signup
from tests.invariants import check_all
from tests.worker_processes import until, worker_processes

WEBSITES = 1000
SECONDS = 120


async def ready_namespace(amqp_url: str, namespace: str) -> None:
    """Make the queues, as `provisioner init` does."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))


async def all_live(connection: Any, count: int, client: ForeignClient) -> None:
    """Wait until that many websites are live, at rest and owed nothing, and check every invariant."""

    async def settled() -> bool:
        found: int = await connection.fetchval(
            "SELECT count(*) FROM pwb_websites WHERE provisioning_state = 'live' AND provisioning_due_at IS NULL"
        )
        return found == count

    await until(settled, SECONDS, f"{count} websites live and owed nothing")
    await client.until_events(count * STEPS, SECONDS)
    assert await check_all(connection, client.events) == {"live": count}
    lengths = await connection.fetch("SELECT count(*) AS n FROM provisioning_transitions GROUP BY website_id")
    assert {record["n"] for record in lengths} == {STEPS}
    for table, column in (("pwb_agencies", "website_id"), ("pwb_user_memberships", "website_id")):
        each = await connection.fetch(f"SELECT count(*) AS n FROM {table} GROUP BY {column}")
        assert [record["n"] for record in each] == [1] * count, f"one row a website in {table}"


async def test_a_thousand_signups_go_live(database_url: str, amqp_url: str, namespace: str, tmp_path: Path) -> None:
    """Each of 1,000 signups ends live with seq 1…7, one agency, one owner, nothing doubled, every event told."""
    await ready_namespace(amqp_url, namespace)
    connection = await asyncpg.connect(database_url)
    async with (
        foreign_client(amqp_url, namespace) as client,
        worker_processes(tmp_path, database_url, amqp_url, namespace) as workers,
    ):
        await workers.start()
        await workers.start()
        ids = await client.publish_many([("website.created", signup(n), None) for n in range(1, WEBSITES + 1)])
        await all_live(connection, WEBSITES, client)
        firsts = await connection.fetch("SELECT message_id FROM provisioning_transitions WHERE seq = 1")
        assert {str(record["message_id"]) for record in firsts} == set(ids), "website.created is the first command"
        assert await client.drain(f"{namespace}.dead-letters") == []
        assert "@example.com" not in workers.text()
    await connection.close()


@pytest.mark.fault(73)
async def test_three_copies_in_random_order(database_url: str, amqp_url: str, namespace: str, tmp_path: Path) -> None:
    """The same while every signup is published three times in random order."""
    await ready_namespace(amqp_url, namespace)
    connection = await asyncpg.connect(database_url)
    messages = [("website.created", signup(n), str(uuid.uuid4())) for n in range(1, WEBSITES + 1)] * 3
    random.Random(7).shuffle(messages)
    async with (
        foreign_client(amqp_url, namespace) as client,
        worker_processes(tmp_path, database_url, amqp_url, namespace) as workers,
    ):
        await workers.start()
        await workers.start()
        for start in range(0, len(messages), 50):
            # Copies of one id never stand in one burst: client libraries match returns by message id.
            burst = {message[2]: message for message in messages[start : start + 50]}
            await client.publish_many(list(burst.values()))
            rest = messages[start : start + 50]
            for message in burst.values():
                rest.remove(message)
            await client.publish_many(rest)
        await all_live(connection, WEBSITES, client)
        duplicates = [line for line in workers.logs() if line.get("outcome") in ("alreadydone", "stale")]
        assert len(duplicates) >= WEBSITES, "the copies were delivered, and did nothing"
        assert await client.drain(f"{namespace}.dead-letters") == []
    await connection.close()


@pytest.mark.fault(19)
async def test_workers_killed_throughout(database_url: str, amqp_url: str, namespace: str, tmp_path: Path) -> None:
    """The same with workers killed by SIGKILL and restarted throughout."""
    await ready_namespace(amqp_url, namespace)
    connection = await asyncpg.connect(database_url)
    kills = 0
    async with (
        foreign_client(amqp_url, namespace) as client,
        worker_processes(tmp_path, database_url, amqp_url, namespace, PROVISIONER_STALL_SECONDS="3") as workers,
    ):
        for _ in range(2):
            await workers.start()
        await client.publish_many([("website.created", signup(n), None) for n in range(1, WEBSITES + 1)])
        chance = random.Random(11)

        async def live() -> int:
            found: int = await connection.fetchval(
                "SELECT count(*) FROM pwb_websites WHERE provisioning_state = 'live'"
            )
            return found

        while (before := await live()) < WEBSITES * 0.9:
            # Kill somebody each time a few more are live: in the middle of the work, whatever the machine's speed.
            async def progressed(before: int = before) -> bool:
                return await live() >= min(before + chance.randint(40, 90), int(WEBSITES * 0.9))

            await until(progressed, SECONDS, "progress between two kills")
            await workers.kill(chance.choice(workers.processes))
            kills += 1
            await workers.start()
        await all_live(connection, WEBSITES, client)
        assert kills >= 5
        assert await client.drain(f"{namespace}.dead-letters") == []
    await connection.close()
