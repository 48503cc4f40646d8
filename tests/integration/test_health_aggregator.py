"""The health of several worker processes, aggregated by their parent."""

import asyncio
from pathlib import Path

import pytest

from ops.workers import health_aggregator
from ops.workers.health_aggregator import HealthAggregator, _fetch


async def test_a_process_that_hangs_is_not_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has its socket open and does not answer; one that is not there yet, or has just ended, is no fault."""
    monkeypatch.setattr(health_aggregator, "ANSWER_SECONDS", 0.05)
    health = HealthAggregator(tmp_path, 3)
    hung: list[asyncio.StreamWriter] = []

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hung.append(writer)

    async def end(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    ending = await asyncio.start_unix_server(end, health.socket(2))
    assert (await health.routes["/livez"]()).status == 200
    assert (await health.routes["/readyz"]()).status == 503
    assert (await _fetch(health.socket(3), "/livez")).status is None
    hanging = await asyncio.start_unix_server(hang, health.socket(1))
    answer = await health.routes["/livez"]()
    assert answer.status == 503
    assert b'{"process 1": "has not answered' in answer.body
    assert b"process 2" not in answer.body
    for writer in hung:
        writer.transport.abort()
    for server in (hanging, ending):
        server.close()


async def test_the_parents_own_metrics_are_there_without_any_process(tmp_path: Path) -> None:
    """No process answers yet: the parent says so in metrics of its own, with its label."""
    answer = await HealthAggregator(tmp_path, 2).routes["/metrics"]()
    assert answer.status == 200
    assert b'provisioner_processes_wanted{process="parent"} 2.0' in answer.body
    assert b'provisioner_processes{process="parent"} 0.0' in answer.body
