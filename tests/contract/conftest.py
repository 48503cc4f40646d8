"""Both brokers, each with the faults that its kind knows, and a check that no session leaves noise behind."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from consumer.broker import Broker
from consumer.broker_rabbitmq import RabbitBroker
from tests.contract.workbench import InProcessLab, Lab, RabbitLab, Workbench


@pytest_asyncio.fixture(params=["inprocess", "rabbitmq"])
async def lab(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Lab]:
    """A broker; afterwards, asyncio must have had nothing to complain about, and no task may be left."""
    if request.param == "rabbitmq":
        server = request.getfixturevalue("rabbitmq")
        lab: Lab = RabbitLab(server, RabbitBroker(server.url))
    else:
        lab = InProcessLab()
    before = asyncio.all_tasks()
    yield lab
    await lab.end()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=5)
    assert not left, f"tasks that nobody ended: {left}"
    gc.collect()
    complaints = [record.getMessage() for record in caplog.records if record.name == "asyncio"]
    assert not [text for text in complaints if "never retrieved" in text or "was destroyed" in text], complaints


@pytest.fixture(autouse=True)
def _quiet_client(caplog: pytest.LogCaptureFixture) -> None:
    """The client logs what it is told to survive."""
    caplog.set_level(logging.CRITICAL, logger="aiormq")


@pytest.fixture
def broker(lab: Lab) -> Broker:
    """The broker alone."""
    return lab.broker


@pytest_asyncio.fixture
async def bench(request: pytest.FixtureRequest, lab: Lab) -> AsyncIterator[Workbench]:
    """Exchanges and queues, declared and empty; removed afterwards."""
    namespace = f"t-{request.node.name.split('[')[0][:30]}-{id(request):x}"
    bench = Workbench(namespace)
    await lab.broker.declare(bench)
    yield bench
    await lab.broker.delete(bench)
