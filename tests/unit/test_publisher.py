"""When a publishing session that still answers is of no more use."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from consumer.backoff import Backoff
from consumer.broker import BrokerError, Message, Nacked, PublisherSession
from consumer.gate import Gate
from consumer.publisher import AWAY, Publisher
from tests.factories import TOPOLOGY


class Refusing(PublisherSession):
    """Refuses everything for some queues."""

    def __init__(self, queues: set[str]) -> None:
        self.closed = asyncio.Event()
        self.queues = queues

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        return [Nacked("refused") if message.routing_key in self.queues else None for message in messages]

    async def close(self) -> None:
        self.closed.set()


class Sessions:
    """A broker whose sessions refuse everything for the same queues; the next ones may refuse less."""

    def __init__(self, queues: set[str]) -> None:
        self.queues = queues
        self.opened: list[Refusing] = []

    async def open_publisher(self) -> Refusing:
        self.opened.append(Refusing(set(self.queues)))
        return self.opened[-1]


def to(queue: str) -> Message:
    """A message to a queue."""
    return Message("id", "type", b"{}", "", queue, mandatory=True)


@asynccontextmanager
async def publishing(broker: Any, refusal_seconds: float) -> AsyncIterator[Publisher]:
    """Run a publisher until its first session is there."""
    gate = Gate()
    publisher = Publisher(broker, gate, Backoff(0, 0), refusal_seconds=refusal_seconds)
    running = asyncio.create_task(publisher.run())
    async with asyncio.timeout(5):
        await gate.passed()
    try:
        yield publisher
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_session_that_only_refuses_is_replaced() -> None:
    """A queue that has said nothing but no for too long gets a new session; what that one takes is taken."""
    broker = Sessions({TOPOLOGY.commands})
    async with publishing(broker, 0) as publisher:
        (first,) = await publisher.publish_all([to(TOPOLOGY.commands)])
        assert not broker.opened[0].closed.is_set(), "once is no reason"
        broker.queues = set()
        (second,) = await publisher.publish_all([to(TOPOLOGY.commands)])
        assert isinstance(first, Nacked)
        assert isinstance(second, Nacked), "the answer stays what it was"
        assert broker.opened[0].closed.is_set()
        async with asyncio.timeout(5):
            while AWAY in publisher._gate.reasons or len(broker.opened) < 2:
                await asyncio.sleep(0)
        assert await publisher.publish_all([to(TOPOLOGY.commands)]) == [None]
        assert len(broker.opened) == 2


@pytest.mark.parametrize("refusal_seconds", [0, 3600])
async def test_a_session_that_is_believed(refusal_seconds: float) -> None:
    """A queue that takes something now and then, or has refused for a short time only, leaves the session alone."""
    broker = Sessions({TOPOLOGY.commands})
    async with publishing(broker, refusal_seconds) as publisher:
        for _ in range(5):
            await publisher.publish_all([to(TOPOLOGY.commands), to(TOPOLOGY.signups)])
            if refusal_seconds == 0:
                broker.opened[0].queues = set()
                assert await publisher.publish_all([to(TOPOLOGY.commands)]) == [None]
                broker.opened[0].queues = {TOPOLOGY.commands}
    assert len(broker.opened) == 1
