"""Asks which rights a user has, by requests that RabbitMQ refuses in any case: it checks rights first.

A message that expires after no number of milliseconds, a consumer with a priority that is no number and a queue with a
time to live that is none are refused as wrong (406) where the user has the right, and as forbidden (403) where not. So
nothing is ever published, read or declared.
"""

from collections.abc import Sequence
from typing import Any, assert_never
from uuid import uuid4

from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelClosed, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused
from pamqp.commands import Basic

from consumer.broker.protocol import Right
from consumer.broker.rabbitmq.consumer import unused_callback
from consumer.broker.rabbitmq.topology_connection import topology_connection


async def has_rights(url: str, rights: Sequence[Right], timeout_seconds: float) -> list[bool | None]:
    """Return whether the user of a URL has each right; None where the broker did not get as far as that.

    Raises:
        BrokerDownError: no connection, or no reply in time.
    """
    found: list[bool | None] = []
    async with topology_connection(url, timeout_seconds) as connection:
        for right in rights:
            try:
                async with connection.channel(f"cannot ask for the right to {right}", confirms=True) as channel:
                    await _ask(channel, right)
            except ChannelAccessRefused:
                found.append(False)
            except ChannelPreconditionFailed:
                found.append(True)
            except ChannelClosed:
                found.append(None)
            else:
                found.append(None)
    return found


async def _ask(channel: AbstractChannel, right: Right) -> None:
    underlay: Any = await channel.get_underlay_channel()
    nobody = f"doctor-{uuid4().hex}"
    match right.kind:
        case "publish":
            properties = Basic.Properties(expiration="no number")
            await underlay.basic_publish(
                b"", exchange=right.name, routing_key=right.routing_key or nobody, properties=properties
            )
        case "read":
            await underlay.basic_qos(prefetch_count=1)
            await underlay.basic_consume(right.name, unused_callback, arguments={"x-priority": "no number"})
        case "declare":
            await underlay.queue_declare(right.name, durable=True, arguments={"x-message-ttl": "no number"})
        case never:
            assert_never(never)
