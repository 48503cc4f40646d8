"""The loops of the two connections: what a client library may do to them, and what the watchdog notices."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from consumer.broker.protocol import BrokerError, QueueCounts
from consumer.worker import subscriber as subscriber_module
from consumer.worker.buffer import Buffer
from consumer.worker.gate import Gate
from consumer.worker.publishing_connection import Publisher
from consumer.worker.reconnect_backoff import Backoff
from consumer.worker.subscriber import Subscriber, check_consumers
from tests.factories import TOPOLOGY, FakeSession, make_admission, make_delivery


class Scripted:
    """A broker that opens what it is told to, one after the other, and then for ever nothing."""

    def __init__(self, *openings: Any) -> None:
        self.openings, self.opened = list(openings), 0

    async def declare(self, _topology: Any) -> None:
        """Nothing to make."""

    async def open_consumer(self) -> Any:
        """Open the next."""
        self.opened += 1
        if not self.openings:
            await asyncio.Event().wait()
        opening = self.openings.pop(0)
        if isinstance(opening, Exception):
            raise opening
        return opening

    open_publisher = open_consumer


def make_subscriber(broker: Any) -> Subscriber:
    """Return the loop of a consuming connection."""
    buffer = Buffer(TOPOLOGY.signups, make_admission(64)[0])
    return Subscriber(broker, TOPOLOGY, buffer, Backoff(0, 0), prefetch=4, watchdog_seconds=0)


@pytest.mark.parametrize("role", ["consumer", "publisher"])
async def test_nonsense_from_a_peer_costs_one_connection(role: str) -> None:
    """An exception that nobody thought of is no end of the process: the next connection is tried."""
    broker: Any = Scripted(IndexError("a frame without an end"), FakeSession())
    loop = make_subscriber(broker) if role == "consumer" else Publisher(broker, Gate(), Backoff(0, 0))
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(60):
        while broker.opened < 2:
            await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


PREFETCH = 4


class Counted(FakeSession):
    """A session whose queues hold what a test says."""

    def __init__(self, ready: dict[str, int], arriving: dict[str, int]) -> None:
        super().__init__()
        self._ready, self._arriving = ready, arriving

    async def consume(self, queue: str, prefetch: int, on_delivery: Callable[[Any], None], **_: Any) -> None:
        """Deliver so many at once."""
        kind = "website.created" if queue == TOPOLOGY.signups else "provisioning.complete_agency"
        for number in range(self._arriving.get(queue, 0)):
            on_delivery(make_delivery(type=kind, tag=number, session=self))

    async def counts(self, queue: str) -> QueueCounts:
        """Say what the test says."""
        return QueueCounts(self._ready.get(queue, 0), 1)


@pytest.mark.parametrize(
    ("ready", "arriving", "noticed"),
    [
        pytest.param({}, {}, None, id="nothing waits"),
        pytest.param({TOPOLOGY.commands: 5}, {}, TOPOLOGY.commands, id="messages wait and none comes"),
        pytest.param({TOPOLOGY.commands: 5}, {TOPOLOGY.commands: PREFETCH}, None, id="our window is full"),
        pytest.param(
            {TOPOLOGY.commands: 5, TOPOLOGY.signups: 9},
            {TOPOLOGY.signups: PREFETCH},
            TOPOLOGY.commands,
            id="signups fill their own window only",
        ),
    ],
)
async def test_a_silent_queue_is_noticed_by_itself(
    monkeypatch: pytest.MonkeyPatch, ready: dict[str, int], arriving: dict[str, int], noticed: str | None
) -> None:
    """Each queue has a window of its own: what fills one says nothing of the other."""
    monkeypatch.setattr(subscriber_module, "SILENT_INTERVALS", -1)
    session = Counted(ready, arriving)
    buffer = Buffer(TOPOLOGY.signups, make_admission(64)[0])
    for queue in (TOPOLOGY.commands, TOPOLOGY.signups):
        buffer.last_arrivals[queue] = 0
        await session.consume(queue, PREFETCH, buffer.put)
    if noticed is None:
        await check_consumers(session, buffer, prefetch=PREFETCH, interval_seconds=1)
    else:
        with pytest.raises(BrokerError, match=f"{noticed} has 5 messages ready and none has come"):
            await check_consumers(session, buffer, prefetch=PREFETCH, interval_seconds=1)
