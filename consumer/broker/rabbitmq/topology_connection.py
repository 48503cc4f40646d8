"""A connection of aio-pika's for the topology: each declaration on a channel of its own, with a reply in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractQueue

from consumer.broker.protocol import BrokerError
from consumer.broker.rabbitmq.connection import CLOSE_SECONDS
from consumer.broker.rabbitmq.errors import URL_UNREADABLE, broker_down_if_lost, host_of
from consumer.broker.topology import Binding, Exchange, Queue

Item = Exchange | Queue | Binding


@dataclass(frozen=True, slots=True)
class TopologyConnection:
    """A connection of aio-pika's, on which every declaration has a channel of its own and replies in time."""

    aio_pika: AbstractConnection
    timeout_seconds: float

    @asynccontextmanager
    async def channel(self, what: str, *, confirms: bool = False) -> AsyncIterator[AbstractChannel]:
        """Open a channel, which a refusal closes. Raises BrokerDownError, with `what` in its text."""
        with broker_down_if_lost(what):
            async with asyncio.timeout(self.timeout_seconds):
                channel = await self.aio_pika.channel(publisher_confirms=confirms)
                yield channel
                await channel.close()

    async def declare(self, item: Item, *, passive: bool) -> AbstractExchange | AbstractQueue | None:
        """Declare one thing; passively, only check that it is there.

        Raises:
            ChannelClosed: the broker refused it.
            BrokerDownError: no reply in time.
        """
        async with self.channel(f"{name_of(item)} cannot be made") as channel:
            match item:
                case Exchange(name, kind):
                    arguments = dict(item.arguments)
                    return await channel.declare_exchange(
                        name, kind, durable=True, passive=passive, arguments=arguments
                    )
                case Queue(name):
                    arguments = dict(item.arguments)
                    return await channel.declare_queue(name, durable=True, passive=passive, arguments=arguments)
                case Binding(exchange, name, routing_key) if not passive:  # AMQP cannot check that a binding is there
                    queue = await channel.get_queue(name, ensure=False)
                    await queue.bind(exchange, routing_key)
        return None


def name_of(item: Item) -> str:
    """Return what is declared, with its kind."""
    match item:
        case Exchange(name):
            return f"exchange {name}"
        case Queue(name):
            return f"queue {name}"
        case Binding(exchange, queue):
            return f"binding of {queue} to {exchange}"


@asynccontextmanager
async def topology_connection(url: str, timeout_seconds: float) -> AsyncIterator[TopologyConnection]:
    """Open a connection with aio-pika, and close it.

    Raises:
        BrokerError: the URL cannot be read.
        BrokerDownError: no connection.
    """
    host = host_of(url)
    try:
        with broker_down_if_lost(f"cannot connect to {host}"):
            async with asyncio.timeout(timeout_seconds):
                connection = await aio_pika.connect(url, client_properties={"connection_name": "provisioner topology"})
    except (ValueError, TypeError, KeyError):
        raise BrokerError(URL_UNREADABLE) from None
    try:
        yield TopologyConnection(connection, timeout_seconds)
    finally:
        with suppress(TimeoutError, aio_pika.exceptions.AMQPError, OSError, RuntimeError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await connection.close()
