"""How many database connections a worker process may open, and how many the doctor counts for it."""

import pytest

from consumer.app import App
from consumer.broker.memory.broker import MemoryBroker
from consumer.config import Settings
from ops.doctor.database_checks import _connections


@pytest.mark.parametrize(("http_port", "size"), [(None, 6), (0, 7)])
def test_the_doctor_counts_the_connections_that_a_worker_may_open(http_port: int | None, size: int) -> None:
    """Its finding has the size of the pool that a worker with the same settings makes, the cluster metrics included."""
    settings = Settings(concurrency=2, http_port=http_port)
    assert App(settings, broker=MemoryBroker()).store._size == size
    server = {"connections": 100, "database_limit": -1, "role_limit": -1, "connected": 7, "connected_ours": 4}
    need = f"{3 + 2 * size}: 3 of others, and 2 workers with pools of {size}, by this host's settings"
    assert _connections(server, settings, 2).need == need
