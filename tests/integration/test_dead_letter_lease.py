"""The lease on dead letters: one tool at a time sees all of them; reading uses nothing up, even by tools that die."""

import asyncio
import json
import os
import signal
import sys
import uuid
from collections import Counter

import pytest

from consumer.broker.protocol import Message
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import DELIVERY_LIMIT, Topology
from ops.dead_letters import queue_lease
from ops.dead_letters.actions import redrive
from ops.dead_letters.queue_lease import LeaseHeldError, leased
from ops.dead_letters.queue_reader import find_dead_letters
from ops.publishing import publish_all, publishing
from tests.contract.faulty_broker import FaultyMemoryBroker

KILLS = 3 * DELIVERY_LIMIT + 5
"""More than three times any delivery limit: that of RabbitMQ 4.x's quorum queues and ours of the work queues are 20."""
HOLDER = """
import asyncio, os, sys
from consumer.broker.rabbitmq.adapter import RabbitBroker
from ops.dead_letters import queue_lease

queue_lease.POLL_SECONDS = 0.01
url, queue, times = sys.argv[1], sys.argv[2], int(sys.argv[3])

async def hold():
    async with queue_lease.leased(RabbitBroker(url), queue) as held:
        os.write(1, f"{os.getpid()} {len(held.deliveries)}\\n".encode())
        await asyncio.Event().wait()

for _ in range(times):
    child = os.fork()
    if child == 0:
        asyncio.run(hold())
    os.waitpid(child, 0)
"""
"""A tool that leases all dead letters, again and again, and is killed each time."""


async def with_dead_letters(broker: RabbitBroker | FaultyMemoryBroker, namespace: str, count: int) -> list[str]:
    """Make dead letters; return their ids."""
    await broker.declare(Topology(namespace))
    letters = [
        Message(
            str(uuid.uuid4()), "website.created", json.dumps({"website_id": n}).encode(), "",
            Topology(namespace).dead_letters, True, {"x-reason": "poison", "x-error": "why"},
        )
        for n in range(1, count + 1)
    ]  # fmt: skip
    async with publishing(broker) as session:
        await publish_all(session, letters)
    return [letter.message_id for letter in letters]


@pytest.mark.fault(107)
async def test_tools_that_are_killed_while_they_hold_the_lease(namespace: str, amqp_url: str) -> None:
    """Killed with all dead letters leased, more often than any delivery limit: each is still there, and once."""
    broker = RabbitBroker(amqp_url)
    ids = await with_dead_letters(broker, namespace, 5)
    tool = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, amqp_url, Topology(namespace).dead_letters, str(KILLS),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert tool.stdout is not None
    async with asyncio.timeout(60):
        for _ in range(KILLS):
            pid, held = (await tool.stdout.readline()).split()
            assert int(held) == len(ids)
            os.kill(int(pid), signal.SIGKILL)
        assert await tool.wait() == 0
    found = (await find_dead_letters(broker, namespace)).deliveries
    assert Counter(letter.message_id for letter in found) == Counter(ids)
    assert all(int(letter.headers["x-delivery-count"]) >= KILLS for letter in found), "each kill was counted"
    assert len(await redrive(broker, namespace)) == len(ids)


async def test_tools_that_begin_together() -> None:
    """Of three that begin in the same moment each sees all that there is, one after the other."""
    broker = FaultyMemoryBroker()
    ids = await with_dead_letters(broker, "t", 20)
    lists = await asyncio.gather(*(find_dead_letters(broker, "t") for _ in range(3)))
    assert [sorted(str(letter.message_id) for letter in found.deliveries) for found in lists] == [sorted(ids)] * 3


async def test_one_tool_at_a_time(namespace: str, amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one has the lease others get an error, and not an empty list; then it is their turn."""
    broker, queue = RabbitBroker(amqp_url), Topology(namespace).dead_letters
    await with_dead_letters(broker, namespace, 3)
    monkeypatch.setattr(queue_lease, "GIVE_UP_SECONDS", 0.3)
    async with leased(broker, queue) as held:
        assert len(held.deliveries) == 3
        for tool in (redrive(broker, namespace), find_dead_letters(broker, namespace)):
            with pytest.raises(LeaseHeldError, match=f"another tool is reading {queue}: nothing was done"):
                await tool
    monkeypatch.setattr(queue_lease, "GIVE_UP_SECONDS", 5.0)
    lists = await asyncio.gather(*(find_dead_letters(broker, namespace) for _ in range(3)))
    assert [len(found.deliveries) for found in lists] == [3, 3, 3]


async def test_the_limit_of_a_lease() -> None:
    """A lease has so many at most, and says how many more there are."""
    broker = FaultyMemoryBroker()
    await with_dead_letters(broker, "t", 7)
    async with leased(broker, Topology("t").dead_letters, 4) as held:
        assert (len(held.deliveries), held.beyond_limit) == (4, 3)
    assert len((await find_dead_letters(broker, "t")).deliveries) == 7
