"""How a worker ends: finishing what it started, handing back the rest, whatever is away; at once when told twice."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from consumer.broker.rabbitmq.adapter import RabbitBroker
from tests.factories import STEPS
from tests.foreign_client import foreign_client, signup
from tests.invariants import check_all
from tests.worker_processes import WorkerProcesses, until

SECONDS = 120
WEBSITES = 800
"""More than a worker carries out before a test has read its first log line and stopped it, on a busy machine too."""
SOON = 2.0
"""An idle worker has nothing to finish."""


@pytest_asyncio.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    """A connection to this test's database."""
    opened = await asyncpg.connect(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that refuses connections, and that nobody else can take: bound, and not listened to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


async def said(workers: WorkerProcesses, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
    """Wait until the workers have logged that many lines with these fields; return them."""

    async def found() -> list[dict[str, Any]] | None:
        lines = [line for line in workers.logs() if all(line.get(name) == value for name, value in fields.items())]
        return lines if len(lines) >= count else None

    lines: list[dict[str, Any]] = await until(found, SECONDS, f"{count} log lines with {fields}")
    return lines


async def live(connection: Any, count: int) -> None:
    """Wait until that many websites are live and owed nothing."""

    async def all_are() -> bool:
        found: int = await connection.fetchval(
            "SELECT count(*) FROM pwb_websites WHERE provisioning_state = 'live' AND provisioning_due_at IS NULL"
        )
        return found == count

    await until(all_are, SECONDS, f"{count} websites live")


async def stopped_within(workers: WorkerProcesses, process: asyncio.subprocess.Process, seconds: float) -> int:
    """SIGTERM a process; return its exit code, and fail where it takes longer."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    code = await workers.stop(process)
    assert loop.time() - began < seconds, f"took {loop.time() - began:.1f} s to stop"
    return code


@pytest.mark.fault(20)
async def test_an_idle_worker_stops_at_once(workers: WorkerProcesses) -> None:
    """SIGTERM ends a worker that has nothing to do within two seconds, with exit code 0."""
    process = await workers.start()
    await said(workers, event="resumed", what="database")
    await said(workers, event="resumed", what="publishing")
    assert await stopped_within(workers, process, SOON) == 0
    (stopped,) = await said(workers, event="stopped")
    assert stopped["handed_back"] == 0


@pytest.mark.fault(21)
async def test_what_was_started_is_finished(
    workers: WorkerProcesses, connection: Any, amqp_url: str, namespace: str
) -> None:
    """A worker stopped in mid-work exits with 0 and loses nothing: another one brings every website to live."""
    async with foreign_client(amqp_url, namespace) as client:
        await client.publish_many([("website.created", signup(n), None) for n in range(1, WEBSITES + 1)])
        process = await workers.start("--concurrency", "1")
        await said(workers, 20, outcome="advanced")
        assert await stopped_within(workers, process, 10) == 0
        under_way = await connection.fetchval(
            "SELECT count(*) FROM pwb_websites WHERE provisioning_state NOT IN ('live', 'pending')"
        )
        before = await connection.fetchval("SELECT count(*) FROM provisioning_transitions")
        assert under_way, "it was stopped in mid-work"
        rows = len([line for line in workers.logs() if line.get("outcome") == "advanced"])
        assert before == rows, "every transition it made was settled"
        await workers.start()
        await live(connection, WEBSITES)
        await client.until_events(WEBSITES * STEPS, SECONDS)
        assert await check_all(connection, client.events) == {"live": WEBSITES}
        assert await client.drain(f"{namespace}.dead-letters") == []
        others = [line for line in workers.logs() if line.get("event") == "delivery" and line["outcome"] != "advanced"]
        assert others == [], "nothing was carried out twice"


@pytest.mark.fault(23)
async def test_a_second_signal_ends_it_at_once(
    workers: WorkerProcesses, connection: Any, amqp_url: str, namespace: str
) -> None:
    """A worker that cannot finish waits after the first SIGTERM, ends at the second, and leaves its work to others."""
    async with foreign_client(amqp_url, namespace) as client:
        process = await workers.start(PROVISIONER_FAILPOINTS="step=hang")
        await client.publish("website.created", signup(1))
        await said(workers, event="failpoint", what="step=hang")
        process.send_signal(signal.SIGTERM)
        await said(workers, event="stopping")
        assert process.returncode is None, "the first signal waits for what was started"
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await workers.stop(process) == 1
        assert loop.time() - began < SOON
        await said(workers, event="stopping at once", signal="SIGTERM")
        assert not [line for line in workers.logs() if line["event"] == "stopped"]
        await workers.start()
        await live(connection, 1)
        assert await client.drain(f"{namespace}.dead-letters") == []


@pytest.mark.fault(22)
async def test_a_drain_that_cannot_end_is_ended(workers: WorkerProcesses, amqp_url: str, namespace: str) -> None:
    """A worker that cannot finish what it started ends when its time for that is over."""
    async with foreign_client(amqp_url, namespace) as client:
        process = await workers.start(PROVISIONER_FAILPOINTS="step=hang", PROVISIONER_DRAIN_SECONDS="1")
        await client.publish("website.created", signup(1))
        await said(workers, event="failpoint", what="step=hang")
        await stopped_within(workers, process, 1 + 2 + SOON)
        await said(workers, event="stopped before the end", count=1)


async def test_what_was_not_started_is_handed_back(workers: WorkerProcesses, amqp_url: str, namespace: str) -> None:
    """A stop hands back every delivery that no worker has started, and says how many those were."""
    async with foreign_client(amqp_url, namespace) as client:
        process = await workers.start(
            "--concurrency", "1", PROVISIONER_FAILPOINTS="step=hang", PROVISIONER_DRAIN_SECONDS="0.2"
        )
        await client.publish("website.created", signup(1))
        await said(workers, event="failpoint", what="step=hang")
        await client.publish_many([("website.created", signup(n), None) for n in (2, 3, 4)])
        session = await RabbitBroker(amqp_url).open_consumer()

        async def taken() -> bool:
            return (await session.counts(f"{namespace}.signups")).ready == 0

        await until(taken, SECONDS, "all signups delivered")
        await workers.stop(process)
        (stopped,) = await said(workers, event="stopped")
        assert stopped["handed_back"] == 3
        await session.close()


@pytest.mark.fault(24)
@pytest.mark.parametrize(
    ("away", "setting", "url"),
    [
        ("publishing", "PROVISIONER_AMQP_URL", "amqp://guest:secr3t@127.0.0.1:{}/"),
        ("database", "PROVISIONER_DATABASE_URL", "postgresql://postgres:secr3t@127.0.0.1:{}/nowhere"),
    ],
)
async def test_it_stops_while_a_server_is_away(
    workers: WorkerProcesses, dead_port: int, away: str, setting: str, url: str
) -> None:
    """SIGTERM ends a worker with exit code 0 while the broker or the database refuses connections."""
    process = await workers.start(**{setting: url.format(dead_port)})
    await said(workers, event="paused", what=away)
    # Let it try at least once: the other server is there, and it has said so.
    await said(workers, event="resumed", what={"publishing": "database", "database": "publishing"}[away])
    assert await stopped_within(workers, process, SOON) == 0
    assert "secr3t" not in workers.text()
    assert "Traceback" not in workers.text()


async def test_several_processes(workers: WorkerProcesses, connection: Any, amqp_url: str, namespace: str) -> None:
    """Of `--processes 2` both work, a killed one is replaced, and SIGTERM to the parent ends them all with 0."""
    async with foreign_client(amqp_url, namespace) as client:
        parent = await workers.start("--processes", "2")
        first = {line["process"] for line in await said(workers, 2, event="starting")}
        assert len(first) == 2
        await said(workers, 2, event="resumed", what="publishing")
        await consumed_by(amqp_url, namespace, 2)
        ids = range(1, WEBSITES + 1)
        await client.publish_many([("website.created", signup(n), None) for n in ids])
        await said(workers, 20, outcome="advanced")
        victim, survivor = sorted(first)
        os.kill(victim, signal.SIGKILL)
        (died,) = await said(workers, event="worker process died")
        assert died["process"] == victim
        starts = await said(workers, 3, event="starting")
        (third,) = {line["process"] for line in starts} - first
        await live(connection, WEBSITES)
        await client.until_events(WEBSITES * STEPS, SECONDS)
        assert await check_all(connection, client.events) == {"live": WEBSITES}
        await consumed_by(amqp_url, namespace, 2)
        assert await stopped_within(workers, parent, 5) == 0
        for child in (survivor, third):
            with pytest.raises(ProcessLookupError):
                os.kill(child, 0)
        assert len([line for line in workers.logs() if line["event"] == "stopped"]) == 2
        assert await client.drain(f"{namespace}.dead-letters") == []


async def consumed_by(amqp_url: str, namespace: str, count: int) -> None:
    """Wait until that many processes consume commands."""
    broker = RabbitBroker(amqp_url)
    session = await broker.open_consumer()

    async def are() -> bool:
        return (await session.counts(f"{namespace}.commands")).consumers == count

    await until(are, SECONDS, f"{count} consumers")
    await session.close()
