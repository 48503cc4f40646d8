"""Implements the broker protocol on RabbitMQ. Sessions use aiormq, the layer beneath aio-pika; topology uses aio-pika.

aio-pika would add a layer to every message, and a connection object that nobody holds until it is open, so that a
cancelled connect could leave one behind (docs/decisions/0023).
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from yarl import URL

from consumer.broker.protocol import Broker, BrokerDownError, Delivery, Inspection, PublisherSession, Right
from consumer.broker.rabbitmq import declaration, topology_comparison
from consumer.broker.rabbitmq.connection import RabbitConnection, connect
from consumer.broker.rabbitmq.consumer import RabbitConsumer
from consumer.broker.rabbitmq.errors import user_of
from consumer.broker.rabbitmq.permissions import has_rights
from consumer.broker.rabbitmq.publisher import RabbitPublisher
from consumer.broker.topology import Topology

MAX_PREFETCH = 65_535
"""A prefetch has 16 bits."""
QUIET_SECONDS = 2.0
"""A peek ends when so long nothing was delivered: messages that are there come within milliseconds of one another."""


@dataclass(eq=False)
class RabbitBroker(Broker):
    """Opens sessions at one RabbitMQ. A dead peer is noticed after three heartbeats."""

    url: str = field(repr=False)  # it has a password
    timeout_seconds: float = 10
    heartbeat_seconds: int = 10
    name: str = "provisioner"

    @property
    def user(self) -> str | None:
        """As whom its URL logs in."""
        try:
            return user_of(URL(self.url))
        except ValueError:
            return None

    async def open_consumer(self) -> RabbitConsumer:
        """Connect to consume."""
        return RabbitConsumer(await self._connect("consumer"))

    async def open_publisher(self) -> PublisherSession:
        """Connect to publish."""
        return RabbitPublisher(await self._connect("publisher", confirms=True))

    async def declare(self, topology: Topology) -> None:
        """Declare what is missing; see the protocol."""
        await declaration.declare(self.url, topology, self.timeout_seconds)

    async def delete(self, topology: Topology) -> None:
        """Delete all of a topology; what is not there stays away."""
        await declaration.delete(self.url, topology, self.timeout_seconds)

    async def inspect(self, topology: Topology) -> Inspection:
        """Compare what is there with the topology; see the protocol."""
        return await topology_comparison.inspect(self.url, topology, self.timeout_seconds)

    async def has_rights(self, rights: Sequence[Right]) -> Sequence[bool | None]:
        """Ask whether this user has rights; see the protocol."""
        return await has_rights(self.url, rights, self.timeout_seconds)

    async def peek(self, queue: str, limit: int) -> Sequence[Delivery]:
        """Consume messages and nack them with requeue; from 4.3 on, that does not even count as a delivery.

        They are consumed, not fetched by Basic.Get: ten thousand come in a second instead of ten.
        """
        deliveries: list[Delivery] = []
        arrived = asyncio.Event()

        def receive(delivery: Delivery) -> None:
            deliveries.append(delivery)
            arrived.set()

        session = RabbitConsumer(await self._connect("peek"))
        try:
            expected = min((await session.counts(queue)).ready, limit, MAX_PREFETCH)
            if expected:
                await session.consume(queue, expected, receive)
            with suppress(TimeoutError):  # another consumer may have taken some since they were counted
                while len(deliveries) < expected:
                    arrived.clear()
                    async with asyncio.timeout(QUIET_SECONDS):
                        await arrived.wait()
            await session.stop_consuming()
            await session.nack_all(deliveries)
            if session.closed.is_set():
                raise BrokerDownError(f"the connection was lost while {queue} was read")
        finally:
            await session.close()
        return deliveries[:expected]

    async def _connect(self, purpose: str, *, confirms: bool = False) -> RabbitConnection:
        return await connect(
            self.url,
            f"{self.name} {purpose}",
            heartbeat_seconds=self.heartbeat_seconds,
            timeout_seconds=self.timeout_seconds,
            confirms=confirms,
        )
