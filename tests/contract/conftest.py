"""Fixtures of the contract suite: both brokers, and a check that no session leaves a task or a complaint behind."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from consumer.broker.protocol import Broker
from tests.contract.servers import BrokerServer, MemoryServer, RabbitMQServer
from tests.contract.topologies import ContractTopology


@pytest_asyncio.fixture(params=["memory", "rabbitmq"])
async def server(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> AsyncIterator[BrokerServer]:
    """A broker with its faults; afterwards asyncio must have logged no complaint, and no task may be left."""
    if request.param == "rabbitmq":
        from consumer.broker.rabbitmq.adapter import RabbitBroker  # not above: test_aiormq_internals runs without it

        rabbitmq = request.getfixturevalue("rabbitmq")
        server: BrokerServer = RabbitMQServer(rabbitmq, RabbitBroker(rabbitmq.url))
    else:
        server = MemoryServer()
    before = asyncio.all_tasks()
    yield server
    await server.end()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=60)
    assert not left, f"tasks that nobody ended: {left}"
    gc.collect()
    complaints = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert not [text for text in complaints if "never retrieved" in text or "was destroyed" in text], complaints


@pytest.fixture(autouse=True)
def _quiet_client(caplog: pytest.LogCaptureFixture) -> None:
    """The client logs the faults that these tests inject."""
    caplog.set_level(logging.CRITICAL, logger="aiormq")


@pytest.fixture
def broker(server: BrokerServer) -> Broker:
    """The broker alone."""
    return server.broker


@pytest_asyncio.fixture
async def topology(request: pytest.FixtureRequest, server: BrokerServer) -> AsyncIterator[ContractTopology]:
    """Exchanges and queues, declared and empty; removed afterwards."""
    namespace = f"t-{request.node.name.split('[')[0][:30]}-{id(request):x}"
    topology = ContractTopology(namespace)
    await server.broker.declare(topology)
    yield topology
    await server.broker.delete(topology)
