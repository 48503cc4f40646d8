"""A publishing connection that the broker has blocked says so: a memory alarm, on a broker of its own."""

import asyncio

from consumer.broker.protocol import BrokerDownError, Message
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.worker.gate import Gate
from consumer.worker.publishing_connection import Publisher
from consumer.worker.reconnect_backoff import Backoff
from ops.sandbox.rabbitmq import RabbitServer
from tests.worker_processes import until

SECONDS = 60


async def test_a_blocked_connection_is_seen_and_remembered(own_rabbitmq: RabbitServer) -> None:
    """While it lives, and after it was given up; until the broker confirms something again."""
    broker = RabbitBroker(own_rabbitmq.url, timeout_seconds=1)
    publisher = Publisher(broker, Gate(), Backoff(0.05, 0.2))
    running = asyncio.create_task(publisher.run())
    message = Message("1", "x", b"{}", "", "nowhere", mandatory=False)

    async def confirmed() -> bool:
        return await publisher.publish_all([message]) == [None]

    async def blocked() -> bool:
        return publisher.blocked

    await until(confirmed, SECONDS, "a publish is confirmed")
    assert not publisher.blocked
    try:
        await asyncio.to_thread(own_rabbitmq.ctl, "set_vm_memory_high_watermark", "0.0001")
        publishing = asyncio.create_task(publisher.publish_all([message]))
        await until(blocked, SECONDS, "the broker blocks the connection")
        (answer,) = await publishing
        assert isinstance(answer, BrokerDownError)
        assert publisher.blocked
    finally:
        await asyncio.to_thread(own_rabbitmq.ctl, "set_vm_memory_high_watermark", "0.4")
    await until(confirmed, SECONDS, "a publish is confirmed after the alarm")
    assert not publisher.blocked
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
