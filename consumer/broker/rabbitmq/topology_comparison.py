"""Compares what is at RabbitMQ with a topology, with aio-pika, and declares nothing that is missing.

AMQP cannot say how a queue was declared, but refuses to declare it again with other arguments: that is tried only where
it is there. Policies, bindings, replicas and alarms cannot be asked for at all.
"""

from typing import Any

from aio_pika.abc import AbstractQueue
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused

from consumer.broker.protocol import Entity, Inspection, QueueCounts
from consumer.broker.rabbitmq.errors import error_text
from consumer.broker.rabbitmq.topology_connection import TopologyConnection, name_of, topology_connection
from consumer.broker.topology import Exchange, Queue, Topology


async def inspect(url: str, topology: Topology, timeout_seconds: float) -> Inspection:
    """Return what the broker says of itself and of each exchange and queue.

    Raises:
        BrokerDownError: no connection, or no reply in time.
    """
    async with topology_connection(url, timeout_seconds) as connection:
        properties = _server_properties(connection)
        items: tuple[Exchange | Queue, ...] = (*topology.exchanges, *topology.queues)
        entities = [await _inspect_entity(connection, item) for item in items]
    return Inspection(properties.get("product", "unknown"), properties.get("version", "unknown"), entities)


def _server_properties(connection: TopologyConnection) -> dict[str, str]:
    transport: Any = connection.aio_pika.transport
    properties = transport.connection.server_properties
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)
        for name, value in properties.items()
        if name in ("product", "version")
    }


async def _inspect_entity(connection: TopologyConnection, item: Exchange | Queue) -> Entity:
    """Check whether it is there, and then whether it is declared as we would declare it."""
    name = name_of(item)
    try:
        declared = await connection.declare(item, passive=True)
    except ChannelNotFoundEntity:
        return Entity(name, exists=False)
    except ChannelClosed as refusal:
        return Entity(name, exists=True, unknown=error_text(refusal))
    counts = difference = unknown = None
    if isinstance(declared, AbstractQueue):
        reply = declared.declaration_result
        counts = QueueCounts(reply.message_count or 0, reply.consumer_count or 0)
    try:
        await connection.declare(item, passive=False)
    except ChannelPreconditionFailed as refusal:
        difference = error_text(refusal)
    except ChannelAccessRefused:
        unknown = "this user may not configure it"
    except ChannelClosed as refusal:
        unknown = error_text(refusal)
    return Entity(name, exists=True, difference=difference, unknown=unknown, counts=counts)
