"""Dead letters in one hand at a time: looking uses nothing up, whoever looks or dies; nobody sees but a part."""

import asyncio
import json
import os
import signal
import sys
import uuid
from collections import Counter

import pytest

from consumer.broker import Message
from consumer.broker_inprocess import InProcessBroker
from consumer.broker_rabbitmq import RabbitBroker
from consumer.topology import DELIVERY_LIMIT, Topology
from ops import holding
from ops.holding import InOtherHands, in_hand
from ops.looking import look
from ops.redriving import redrive
from ops.sending import publish_all, publishing

KILLS = 3 * DELIVERY_LIMIT + 5
"""More than three times any delivery limit: that of RabbitMQ 4.x's quorum queues and ours of the work queues are 20."""
HOLDER = """
import asyncio, os, sys
from consumer.broker_rabbitmq import RabbitBroker
from ops import holding

holding.POLL_SECONDS = 0.01
url, queue, times = sys.argv[1], sys.argv[2], int(sys.argv[3])

async def hold():
    async with holding.in_hand(RabbitBroker(url), queue) as hand:
        os.write(1, f"{os.getpid()} {len(hand.letters)}\\n".encode())
        await asyncio.Event().wait()

for _ in range(times):
    child = os.fork()
    if child == 0:
        asyncio.run(hold())
    os.waitpid(child, 0)
"""
"""A tool that looks, again and again, and is killed each time with all letters in its hands."""


async def with_letters(broker: RabbitBroker | InProcessBroker, namespace: str, count: int) -> list[str]:
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
async def test_tools_that_are_killed_while_they_look(namespace: str, amqp_url: str) -> None:
    """Killed with all letters in their hands, more often than any delivery limit: each is still there, and once."""
    broker = RabbitBroker(amqp_url)
    ids = await with_letters(broker, namespace, 5)
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
    found = (await look(broker, namespace)).letters
    assert Counter(letter.message_id for letter in found) == Counter(ids)
    assert all(int(letter.headers["x-delivery-count"]) >= KILLS for letter in found), "each kill was counted"
    assert len(await redrive(broker, namespace)) == len(ids)


async def test_tools_that_begin_together() -> None:
    """Of three that begin in the same moment each sees all that there is, one after the other."""
    broker = InProcessBroker()
    ids = await with_letters(broker, "t", 20)
    sights = await asyncio.gather(*(look(broker, "t") for _ in range(3)))
    assert [sorted(str(letter.message_id) for letter in sight.letters) for sight in sights] == [sorted(ids)] * 3


async def test_one_tool_at_a_time(namespace: str, amqp_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one has the letters in hand others are told so, and not that there are none; then it is their turn."""
    broker, queue = RabbitBroker(amqp_url), Topology(namespace).dead_letters
    await with_letters(broker, namespace, 3)
    monkeypatch.setattr(holding, "PATIENCE_SECONDS", 0.3)
    async with in_hand(broker, queue) as hand:
        assert len(hand.letters) == 3
        for tool in (redrive(broker, namespace), look(broker, namespace)):
            with pytest.raises(InOtherHands, match=f"another tool has {queue} in hand: nothing was done"):
                await tool
    monkeypatch.setattr(holding, "PATIENCE_SECONDS", 5.0)
    sights = await asyncio.gather(*(look(broker, namespace) for _ in range(3)))
    assert [len(sight.letters) for sight in sights] == [3, 3, 3]


async def test_what_lies_beyond_is_told() -> None:
    """A look takes in so many at most, and says how many more there are."""
    broker = InProcessBroker()
    await with_letters(broker, "t", 7)
    async with in_hand(broker, Topology("t").dead_letters, 4) as hand:
        assert (len(hand.letters), hand.beyond) == (4, 3)
    assert len((await look(broker, "t")).letters) == 7
