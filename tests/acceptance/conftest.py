"""What several acceptance tests need."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from tests.worker_processes import WorkerProcesses, worker_processes


@pytest_asyncio.fixture
async def workers(tmp_path: Path, database_url: str, amqp_url: str, namespace: str) -> AsyncIterator[WorkerProcesses]:
    """Worker processes on real servers; none runs yet."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    async with worker_processes(tmp_path, database_url, amqp_url, namespace) as lent:
        yield lent
