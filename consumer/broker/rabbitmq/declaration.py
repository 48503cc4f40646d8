"""Declares and deletes a topology at RabbitMQ, on a connection that is opened for it."""

from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused

from consumer.broker.protocol import OTHER_ARGUMENTS, BrokerError
from consumer.broker.rabbitmq.errors import error_text
from consumer.broker.rabbitmq.topology_connection import Item, TopologyConnection, name_of, topology_connection
from consumer.broker.topology import Topology


async def declare(url: str, topology: Topology, timeout_seconds: float) -> None:
    """Declare what is missing; where this user may not configure, check that it is there.

    Raises:
        BrokerDownError: no connection, or no reply in time.
        BrokerError: something exists with other arguments, or is missing and may not be declared.
    """
    async with topology_connection(url, timeout_seconds) as connection:
        items: tuple[Item, ...] = (*topology.exchanges, *topology.queues, *topology.bindings)
        for item in items:
            await _declare_or_check(connection, item)


async def delete(url: str, topology: Topology, timeout_seconds: float) -> None:
    """Delete all of a topology, with what is in it; what is not there stays away.

    Raises:
        BrokerDownError: no connection, or no reply in time.
    """
    async with (
        topology_connection(url, timeout_seconds) as connection,
        connection.channel(f"{topology.namespace} cannot be deleted") as channel,
    ):
        for queue in topology.queues:
            await channel.queue_delete(queue.name)
        for exchange in reversed(topology.exchanges):
            await channel.exchange_delete(exchange.name)


async def _declare_or_check(connection: TopologyConnection, item: Item) -> None:
    """Declare one thing; where this user may not configure, it must be there already."""
    name = name_of(item)
    try:
        await connection.declare(item, passive=False)
    except ChannelAccessRefused:
        try:
            await connection.declare(item, passive=True)
        except ChannelNotFoundEntity as error:
            raise BrokerError(
                f"{name} is missing and this user may not make it: run `provisioner init` as one who may"
            ) from error
        except ChannelClosed as error:
            raise BrokerError(f"{name} can neither be made nor looked at by this user: {error_text(error)}") from error
    except ChannelPreconditionFailed as error:
        raise BrokerError(f"{name} {OTHER_ARGUMENTS} ({error_text(error)})") from error
    except ChannelClosed as error:
        raise BrokerError(f"{name} cannot be made: {error_text(error)}") from error
