"""The two brokers of the contract suite, each with the faults of its kind as methods."""

import asyncio
from typing import Protocol

import aio_pika

from consumer.broker.protocol import Broker
from ops.sandbox.rabbitmq import RabbitServer
from tests.contract.faulty_broker import FaultyMemoryBroker

REPLY_SECONDS = 60.0


class BrokerServer(Protocol):
    """A broker, and what can happen to it."""

    broker: Broker

    async def drop_connections(self) -> None: ...

    async def delete_queue(self, name: str) -> None: ...

    async def delete_exchange(self, name: str) -> None: ...

    async def limit(self, queue: str, max_length: int) -> None: ...

    async def end(self) -> None: ...


class MemoryServer:
    def __init__(self) -> None:
        self.broker = FaultyMemoryBroker()

    async def drop_connections(self) -> None:
        self.broker.drop_connections()

    async def delete_queue(self, name: str) -> None:
        self.broker.delete_queue(name)

    async def delete_exchange(self, name: str) -> None:
        self.broker.delete_exchange(name)

    async def limit(self, queue: str, max_length: int) -> None:
        self.broker.limit(queue, max_length)

    async def end(self) -> None:
        return


class RabbitMQServer:
    def __init__(self, server: RabbitServer, broker: Broker) -> None:
        self.broker = broker
        self._server = server
        self._policies: list[str] = []

    async def drop_connections(self) -> None:
        await asyncio.to_thread(self._server.ctl, "close_all_connections", "a test of the contract suite")

    async def delete_queue(self, name: str) -> None:
        async with await aio_pika.connect(self._server.url, timeout=REPLY_SECONDS) as connection:
            await (await connection.channel()).queue_delete(name)

    async def delete_exchange(self, name: str) -> None:
        async with await aio_pika.connect(self._server.url, timeout=REPLY_SECONDS) as connection:
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
