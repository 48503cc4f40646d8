"""What the contract suite works with: queues of every kind, an inbox that signals, and a broker's faults as methods."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, Protocol

import aio_pika

from consumer.broker import Broker, ConsumerSession, Delivery, Message
from consumer.broker_inprocess import InProcessBroker
from consumer.topology import NO_DELIVERY_LIMIT, Binding, Queue, Topology
from ops.local_servers import RabbitServer

PATIENCE_SECONDS = 20.0
FRAGILE_LIMIT = 3


class Workbench(Topology):
    """The service's topology, with a subscriber to its events and a queue that gives up early."""

    __slots__ = ()

    @property
    def subscriber(self) -> str:
        return f"{self.namespace}.subscriber"

    @property
    def fragile(self) -> str:
        return f"{self.namespace}.fragile"

    @property
    def queues(self) -> tuple[Queue, ...]:
        return (
            *super().queues,
            Queue(self.subscriber, NO_DELIVERY_LIMIT),
            Queue(self.fragile, FRAGILE_LIMIT, self.dead_letters),
        )

    @property
    def bindings(self) -> tuple[Binding, ...]:
        return (*super().bindings, Binding(self.events_exchange, self.subscriber, "website.*"))


class OtherShape(Topology):
    """The same names as a workbench, with other arguments."""

    __slots__ = ()

    @property
    def queues(self) -> tuple[Queue, ...]:
        return (Queue(self.dead_letters, 7),)


class Lab(Protocol):
    """A broker, and what may befall it."""

    broker: Broker

    async def drop_connections(self) -> None: ...

    async def delete_queue(self, name: str) -> None: ...

    async def delete_exchange(self, name: str) -> None: ...

    async def limit(self, queue: str, max_length: int) -> None: ...

    async def end(self) -> None: ...


class InProcessLab:
    def __init__(self) -> None:
        self.broker: InProcessBroker = InProcessBroker()

    async def drop_connections(self) -> None:
        self.broker.drop_connections()

    async def delete_queue(self, name: str) -> None:
        self.broker.delete_queue(name)

    async def delete_exchange(self, name: str) -> None:
        self.broker._exchanges.pop(name, None)

    async def limit(self, queue: str, max_length: int) -> None:
        self.broker.limit(queue, max_length)

    async def end(self) -> None:
        return


class RabbitLab:
    def __init__(self, server: RabbitServer, broker: Broker) -> None:
        self.broker = broker
        self._server = server
        self._policies: list[str] = []

    async def drop_connections(self) -> None:
        await asyncio.to_thread(self._server.ctl, "close_all_connections", "the contract suite says so")

    async def delete_queue(self, name: str) -> None:
        async with await aio_pika.connect(self._server.url, timeout=PATIENCE_SECONDS) as connection:
            await (await connection.channel()).queue_delete(name)

    async def delete_exchange(self, name: str) -> None:
        async with await aio_pika.connect(self._server.url, timeout=PATIENCE_SECONDS) as connection:
            await (await connection.channel()).exchange_delete(name)

    async def limit(self, queue: str, max_length: int) -> None:
        definition = f'{{"max-length":{max_length},"overflow":"reject-publish"}}'
        await asyncio.to_thread(
            self._server.ctl, "set_policy", "--apply-to", "queues", "--priority", "9", queue, f"^{queue}$", definition
        )
        self._policies.append(queue)

    async def end(self) -> None:
        for name in self._policies:
            await asyncio.to_thread(self._server.ctl, "clear_policy", name)


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

    async def until(self, wanted: int | Callable[["Inbox"], bool]) -> list[Delivery]:
        """Wait until that many have come, or until something holds of the inbox."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (len(self.deliveries) >= wanted if isinstance(wanted, int) else wanted(self)):
                self._arrived.clear()
                await self._arrived.wait()
        return list(self.deliveries)


async def until_closed(session: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await session.closed.wait()


async def until_counts(
    session: ConsumerSession, queue: str, ready: int | None = None, consumers: int | None = None
) -> None:
    """Ask until the broker says so: its counts trail behind what it has confirmed."""
    async with asyncio.timeout(PATIENCE_SECONDS):
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
    """Return an honest message to a queue by its name."""
    fields: dict[str, Any] = {
        "message_id": str(uuid.uuid4()),
        "type": "provisioning.create_agency",
        "body": b'{"website_id":1}',
        "exchange": "",
        "routing_key": routing_key,
        "mandatory": True,
    }
    return Message(**(fields | changes))
