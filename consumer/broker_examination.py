"""Looks at a topology at RabbitMQ, with aio-pika, and makes nothing. An errand, as `consumer.broker_topology`.

AMQP has no question for how a queue was made, but it has one for whether it was made so: to declare it again. That is
only done where it is there. Policies, bindings, replicas and alarms cannot be asked for at all.
"""

from typing import Any

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused

from consumer.broker import Examination, Part
from consumer.broker_faults import told
from consumer.broker_topology import Declaring, ask, connected, declaring_exchange, declaring_queue
from consumer.topology import Topology

Counts = tuple[int, int]


async def examine(url: str, topology: Topology, timeout_seconds: float) -> Examination:
    """Return what the broker says of itself and of each exchange and queue.

    Raises:
        BrokerDown: no connection, or no answer in time.
    """
    async with connected(url, timeout_seconds) as connection:
        properties = _properties(connection)
        parts = []
        for exchange in topology.exchanges:
            what = f"exchange {exchange.name}"
            parts.append(await _look(connection, timeout_seconds, what, declaring_exchange(exchange), {}))
        for queue in topology.queues:
            counts: dict[str, Counts] = {}
            counting = _counting(declaring_queue(queue), queue.name, counts)
            parts.append(await _look(connection, timeout_seconds, f"queue {queue.name}", counting, counts))
    return Examination(properties.get("product", "unknown"), properties.get("version", "unknown"), parts)


def _properties(connection: AbstractConnection) -> dict[str, str]:
    transport: Any = connection.transport
    given = transport.connection.server_properties
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)
        for name, value in given.items()
        if name in ("product", "version")
    }


def _counting(declare: Declaring, name: str, counts: dict[str, Counts]) -> Declaring:
    async def counted(channel: AbstractChannel, passive: bool) -> None:  # noqa: FBT001 - as AMQP has it
        if passive:
            answer = (await channel.declare_queue(name, passive=True)).declaration_result
            counts["now"] = (answer.message_count or 0, answer.consumer_count or 0)
        else:
            await declare(channel, passive)

    return counted


async def _look(
    connection: AbstractConnection, timeout_seconds: float, what: str, declare: Declaring, counts: dict[str, Counts]
) -> Part:
    """Ask whether it is there, and then whether it is as we would make it."""

    async def answer(*, passive: bool) -> ChannelClosed | None:
        try:
            await ask(connection, timeout_seconds, what, declare, passive=passive)
        except ChannelClosed as refusal:
            return refusal
        return None

    differs = untold = None
    match await answer(passive=True):
        case ChannelNotFoundEntity():
            return Part(what, there=False)
        case ChannelClosed() as refusal:
            untold = told(refusal)
        case None:
            match await answer(passive=False):
                case ChannelPreconditionFailed() as refusal:
                    differs = told(refusal)
                case ChannelAccessRefused():
                    untold = "this user may not configure it"
                case ChannelClosed() as refusal:
                    untold = told(refusal)
    ready, consumers = counts.get("now", (None, None))
    return Part(what, there=True, differs=differs, untold=untold, ready=ready, consumers=consumers)
