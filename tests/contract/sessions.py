"""What tests of sessions need: an inbox that signals, waiting for what a broker reports, and messages."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from consumer.broker.protocol import Broker, ConsumerSession, Delivery, Message

WAIT_SECONDS = 60.0


class Inbox:
    """Keeps what arrives, and lets a test wait for it."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._arrived = asyncio.Event()

    def put(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        self._arrived.set()

    @property
    def ids(self) -> list[str | None]:
        return [delivery.message_id for delivery in self.deliveries]

    async def until(self, expected: int | Callable[["Inbox"], bool]) -> list[Delivery]:
        """Wait until that many have come, or until something holds of the inbox."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not (len(self.deliveries) >= expected if isinstance(expected, int) else expected(self)):
                self._arrived.clear()
                await self._arrived.wait()
        return list(self.deliveries)


async def until_closed(session: Any) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        await session.closed.wait()


async def until_counts(
    session: ConsumerSession, queue: str, ready: int | None = None, consumers: int | None = None
) -> None:
    """Ask until the broker counts so: its counts trail behind what it has confirmed."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            counts = await session.counts(queue)
            if ready in (None, counts.ready) and consumers in (None, counts.consumers):
                return


async def drain(broker: Broker, queue: str) -> list[Delivery]:
    """Take out everything that is in a queue, acking as it comes: without prefetch a quorum queue stops at 2,000."""
    session = await broker.open_consumer()
    inbox = Inbox()
    acked = 0
    try:
        expected = (await session.counts(queue)).ready
        await session.consume(queue, 500, inbox.put)
        while acked < expected:
            for delivery in (await inbox.until(acked + 1))[acked:]:
                await session.ack(delivery)
                acked += 1
    finally:
        await session.close()
    return inbox.deliveries


def message(routing_key: str, **changes: Any) -> Message:
    """Return a valid message to a queue by its name."""
    fields: dict[str, Any] = {
        "message_id": str(uuid.uuid4()),
        "type": "provisioning.create_agency",
        "body": b'{"website_id":1}',
        "exchange": "",
        "routing_key": routing_key,
        "mandatory": True,
    }
    return Message(**(fields | changes))
