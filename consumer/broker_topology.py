"""Makes and removes a topology at RabbitMQ, with aio-pika. An errand: it connects, asks, and is gone again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused

from consumer.broker import BrokerDown, BrokerError
from consumer.broker_faults import is_lost, told, where
from consumer.topology import Binding, Exchange, Queue, Topology

CLOSE_SECONDS = 3.0

Declaring = Callable[[AbstractChannel, bool], Awaitable[Any]]
"""Declares one thing on a channel; passively, which only checks that it is there, if the second argument says so."""


async def declare(url: str, topology: Topology, timeout_seconds: float) -> None:
    """Make what is missing; where we may not configure, check that it is there.

    Raises:
        BrokerDown: no connection, or no answer in time.
        BrokerError: something exists in another shape, or is missing and may not be made.
    """
    async with connected(url, timeout_seconds) as connection:
        for exchange in topology.exchanges:
            await _make(connection, timeout_seconds, f"exchange {exchange.name}", declaring_exchange(exchange))
        for queue in topology.queues:
            await _make(connection, timeout_seconds, f"queue {queue.name}", declaring_queue(queue))
        for binding in topology.bindings:
            what = f"binding of {binding.queue} to {binding.exchange}"
            await _make(connection, timeout_seconds, what, _declaring_binding(binding))


async def delete(url: str, topology: Topology, timeout_seconds: float) -> None:
    """Remove all of a topology, with what is in it; what is not there stays away.

    Raises:
        BrokerDown: no connection, or no answer in time.
    """
    async with connected(url, timeout_seconds) as connection:
        with asked(f"{topology.namespace} cannot be deleted"):
            async with asyncio.timeout(timeout_seconds):
                channel = await connection.channel(publisher_confirms=False)
                for queue in topology.queues:
                    await channel.queue_delete(queue.name)
                for exchange in reversed(topology.exchanges):
                    await channel.exchange_delete(exchange.name)


@contextmanager
def asked(what: str) -> Iterator[None]:
    """Turn what a lost connection looks like into BrokerDown; a refusal is an answer, and stays what it is."""
    try:
        yield
    except BaseException as error:
        if is_lost(error) and not isinstance(error, ChannelClosed):
            raise BrokerDown(f"{what}: {told(error)}") from error
        raise


@asynccontextmanager
async def connected(url: str, timeout_seconds: float) -> AsyncIterator[AbstractConnection]:
    address = where(url)
    try:
        with asked(f"cannot connect to {address}"):
            async with asyncio.timeout(timeout_seconds):
                connection = await aio_pika.connect(url, client_properties={"connection_name": "provisioner topology"})
    except (ValueError, TypeError, KeyError):
        # Neither its text nor its cause may be seen: they quote the URL, with its password.
        raise BrokerError("the broker's URL cannot be read; amqp://USER:PASSWORD@HOST:5672/VHOST is one") from None
    try:
        yield connection
    finally:
        with suppress(TimeoutError, aio_pika.exceptions.AMQPError, OSError, RuntimeError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await connection.close()


async def _make(connection: AbstractConnection, timeout_seconds: float, what: str, declare: Declaring) -> None:
    """Declare one thing; where we may not configure, it must be there already."""
    try:
        await ask(connection, timeout_seconds, what, declare, passive=False)
    except ChannelAccessRefused:
        try:
            await ask(connection, timeout_seconds, what, declare, passive=True)
        except ChannelNotFoundEntity as error:
            raise BrokerError(
                f"{what} is missing and this user may not make it: run `provisioner init` as one who may"
            ) from error
        except ChannelClosed as error:
            raise BrokerError(f"{what} can neither be made nor looked at by this user: {told(error)}") from error
    except ChannelPreconditionFailed as error:
        raise BrokerError(
            f"{what} is there already with other arguments: delete it once it is drained, or choose another "
            f"PROVISIONER_NAMESPACE ({told(error)})"
        ) from error
    except ChannelClosed as error:
        raise BrokerError(f"{what} cannot be made: {told(error)}") from error


async def ask(
    connection: AbstractConnection, timeout_seconds: float, what: str, declare: Declaring, *, passive: bool
) -> None:
    """Ask once, on a channel of its own: a refusal closes it."""
    with asked(f"{what} cannot be made"):
        async with asyncio.timeout(timeout_seconds):
            channel = await connection.channel(publisher_confirms=False)
            await declare(channel, passive)
            await channel.close()


def declaring_exchange(exchange: Exchange) -> Declaring:
    arguments: dict[str, Any] = {"alternate-exchange": exchange.alternate} if exchange.alternate else {}

    async def declare(channel: AbstractChannel, passive: bool) -> None:  # noqa: FBT001 - as AMQP has it
        await channel.declare_exchange(exchange.name, exchange.kind, durable=True, passive=passive, arguments=arguments)

    return declare


def declaring_queue(queue: Queue) -> Declaring:
    async def declare(channel: AbstractChannel, passive: bool) -> None:  # noqa: FBT001
        await channel.declare_queue(queue.name, durable=True, passive=passive, arguments=dict(queue.arguments))

    return declare


def _declaring_binding(binding: Binding) -> Declaring:
    async def declare(channel: AbstractChannel, passive: bool) -> None:  # noqa: FBT001
        if not passive:  # whether a binding is there, nobody can ask
            queue = await channel.get_queue(binding.queue, ensure=False)
            await queue.bind(binding.exchange, binding.routing_key)

    return declare
