"""A stop that meets a library at a bad moment."""

import asyncio

from consumer.app import App
from consumer.broker.topology import Topology
from consumer.config import Settings
from tests.contract.faulty_broker import FaultyMemoryBroker
from tests.worker_processes import until


class Deaf(FaultyMemoryBroker):
    """Loses the first cancel that comes while it connects, as aio-pika does while it closes a connection."""

    lost = 0
    connecting = False

    async def declare(self, topology: Topology) -> None:
        self.connecting = True
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self.lost:
                raise
            self.lost += 1
        await super().declare(topology)


async def test_a_lost_cancel_does_not_hold_up_a_stop(database_url: str) -> None:
    """SIGTERM while the consumer connects, its cancel lost on the way: the worker ends all the same, and soon."""
    broker = Deaf()
    app = App(Settings.model_validate({"database_url": database_url, "amqp_url": "inprocess://"}), broker=broker)
    running = asyncio.create_task(app.run())

    async def is_connecting() -> bool:
        return broker.connecting

    await until(is_connecting, 60, "the consumer connects")
    app.stopping.set()
    async with asyncio.timeout(15):
        await running
    assert broker.lost == 1
