"""When a publishing session that still answers is of no more use."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from consumer.broker.protocol import BrokerError, Message, NackedError, PublisherSession
from consumer.worker.gate import ClosedBy, Gate
from consumer.worker.publishing_connection import Publisher
from consumer.worker.reconnect_backoff import Backoff
from tests.factories import TOPOLOGY


class Refusing(PublisherSession):
    """Refuses everything for some queues."""

    def __init__(self, queues: set[str]) -> None:
        self.closed = asyncio.Event()
        self.queues = queues
        self.lacking: str | None = None

    @property
    def refusal(self) -> str | None:
        return self.lacking

    async def publish_all(self, messages: Sequence[Message]) -> list[BrokerError | None]:
        return [NackedError("refused") if message.routing_key in self.queues else None for message in messages]

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
    async with asyncio.timeout(60):
        await gate.wait_open()
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
        assert isinstance(first, NackedError)
        assert isinstance(second, NackedError), "the answer stays what it was"
        assert broker.opened[0].closed.is_set()
        async with asyncio.timeout(60):
            while ClosedBy.PUBLISHING in publisher._gate.reasons or len(broker.opened) < 2:
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


@pytest.mark.parametrize("refusal", [None, "user signup has no right to publish"])
async def test_a_refused_session_is_tried_again_ever_more_rarely(refusal: str | None) -> None:
    """Connecting goes well each time where publishing is forbidden: only a connection that was lost is opened again
    soon."""
    bounds: list[float] = []

    async def sleep(seconds: float) -> None:
        bounds.append(seconds)
        await asyncio.sleep(0)

    broker = Sessions(set())
    backoff = Backoff(1, 8, uniform=lambda _, bound: bound, sleep=sleep)
    running = asyncio.create_task(Publisher(broker, Gate(), backoff).run())
    async with asyncio.timeout(60):
        while len(bounds) < 4:
            if broker.opened:
                broker.opened[-1].lacking = refusal
                broker.opened[-1].closed.set()
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert bounds[:4] == ([1, 1, 1, 1] if refusal is None else [1, 2, 4, 8])
