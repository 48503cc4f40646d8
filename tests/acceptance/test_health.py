"""Real workers answer for their health: /livez, /readyz and /metrics, alone and as a group of processes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from tests.factories import STEPS
from tests.faults.proxy import fault_proxy
from tests.foreign_client import foreign_client, signup
from tests.worker_processes import WorkerProcesses, until, worker_processes

SECONDS = 60
QUICK = {
    "PROVISIONER_HTTP_PORT": "0",
    "PROVISIONER_CENSUS_SECONDS": "0.2",
    "PROVISIONER_RECONNECT_BASE_SECONDS": "0.05",
    "PROVISIONER_RECONNECT_CAP_SECONDS": "0.2",
    "PROVISIONER_RETRY_BASE_SECONDS": "0.05",
    "PROVISIONER_RETRY_BUDGET": "2",
}


async def get(port: int, path: str) -> tuple[int, bytes]:
    """Ask a worker; return status and body."""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read()
        writer.close()
    return int(head.split()[1]), body


@dataclass
class Answering:
    """Workers that answer for their health, and whoever asks."""

    workers: WorkerProcesses
    database_url: str
    amqp_url: str
    namespace: str

    async def start(self, *arguments: str, **environment: str) -> tuple[asyncio.subprocess.Process, int]:
        """Start a worker, or several under one parent; return it, and the port on which it answers."""
        heard = len(self.ports())
        process = await self.workers.start(*arguments, **environment)

        async def port() -> int:
            assert process.returncode is None, self.workers.text()
            return self.ports()[-1] if len(self.ports()) > heard else 0

        found: int = await until(port, SECONDS, "a worker says where it listens")
        return process, found

    def ports(self) -> list[int]:
        """Return every port that was listened on."""
        return [int(line["port"]) for line in self.workers.logs() if line["event"] == "listening"]

    async def readiness(self, port: int, *, is_ready: bool, because: str = "") -> dict[str, Any]:
        """Wait until a worker is ready, or is not for a certain reason; alive it is all the while."""

        async def so() -> Any:
            status, body = await get(port, "/readyz")
            told = json.loads(body)
            assert (status == 200) is told["ready"] is (not told["reasons"])
            assert (await get(port, "/livez"))[0] == 200
            return told if told["ready"] is is_ready and (not because or because in told["reasons"]) else None

        found: dict[str, Any] = await until(so, SECONDS, f"ready is {is_ready} {because}")
        return found

    async def numbers(self, port: int) -> dict[str, float]:
        """Return the metrics by name and labels, as `name{label=value}`."""
        status, body = await get(port, "/metrics")
        assert status == 200
        return {
            sample.name + "".join(f"{{{key}={value}}}" for key, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }

    async def reach(self, port: int, **wanted: float) -> dict[str, float]:
        """Wait until some metrics, `provisioner_` left out, add up as wanted, in all or for one label; return all."""

        async def so() -> Any:
            found = await self.numbers(port)
            sums = {name: total(found, *name.rstrip("}").split("{")) for name in wanted}
            return found if sums == wanted else None

        numbers: dict[str, float] = await until(so, SECONDS, f"{wanted}")
        return numbers


def total(numbers: dict[str, float], name: str, *labels: str) -> float:
    """Return the sum of a metric over all its labels, or over those series that have these."""
    found = {series: value for series, value in numbers.items() if series.partition("{")[0] == f"provisioner_{name}"}
    return sum(value for series, value in found.items() if all(f"{{{label}}}" in series for label in labels))


@pytest_asyncio.fixture
async def answering(tmp_path: Path, database_url: str, amqp_url: str, namespace: str) -> AsyncIterator[Answering]:
    """Lend workers with a database and queues of their own."""
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    async with worker_processes(tmp_path, database_url, amqp_url, namespace, **QUICK) as workers:
        yield Answering(workers, database_url, amqp_url, namespace)


async def test_numbers_move_as_they_should(answering: Answering) -> None:
    """After five websites, a failure, a duplicate and a message that nobody understands, each is where it belongs."""
    _, port = await answering.start()
    await answering.readiness(port, is_ready=True)
    assert total(await answering.numbers(port), "deliveries_total") == 0
    async with foreign_client(answering.amqp_url, answering.namespace) as client:
        await client.publish_many([("website.created", signup(n), None) for n in range(1, 6)])
        await answering.reach(port, time_to_live_seconds_count=5)
        await client.publish("website.created", signup(1))
        await client.publish("website.created", {"website_id": "no number"})
        await client.publish("website.created", signup(6, owner={"user_id": 7}))
        await client.publish("website.created", signup(7, owner=...))
        numbers = await answering.reach(port, failures_total=1, deliveries_total=5 * STEPS + 1 + 2 + 2)
    assert total(numbers, "transitions_total") == 5 * STEPS + 1
    assert total(numbers, "transitions_total", "trigger=go_live") == 5
    assert total(numbers, "deliveries_total", "outcome=advanced") == 5 * STEPS
    assert total(numbers, "deliveries_total", "outcome=stale") == 1
    assert total(numbers, "deliveries_total", "outcome=rejected") == 2
    assert total(numbers, "attempts_total", "cause=guard") == 1
    assert total(numbers, "failures_total", "step=assign_owner", "cause=guard") == 1
    assert total(numbers, "dead_letters_written_total", "reason=poison") == 1
    assert total(numbers, "dead_letters_written_total", "reason=unknown_user") == 1
    assert total(numbers, "due_total") == 1
    assert total(numbers, "rescued_total") == 0
    assert total(numbers, "published_total", "answer=confirmed") == 5 * STEPS + 1 + 5 * (STEPS - 1) + 2 + 1 + 1
    assert total(numbers, "published_total") == total(numbers, "published_total", "answer=confirmed")
    assert total(numbers, "transaction_seconds_count", "trigger=go_live") >= 1
    assert total(numbers, "lock_seconds_count") >= STEPS
    assert total(numbers, "connections_total") == 2
    assert 0 < total(numbers, "pool_in_use") <= total(numbers, "pool_connections")
    numbers = await answering.reach(port, **{"websites{state=failed}": 1, "owed_websites": 0, "queue_messages": 2})
    assert total(numbers, "queue_messages", "queue=dead-letters") == 2
    assert total(numbers, "queue_consumers", "queue=commands") == 1
    assert total(numbers, "websites", "state=live") == 5
    assert total(numbers, "websites") == 6


@pytest.mark.parametrize(("what", "because"), [("postgres", "database"), ("rabbitmq", "consumer")])
async def test_ready_follows_the_servers_and_alive_does_not(answering: Answering, what: str, because: str) -> None:
    """While a server is away the worker is not ready and says why; it is alive throughout, ready once it is back."""
    urls = {"postgres": ("PROVISIONER_DATABASE_URL", answering.database_url)}
    name, url = urls.get(what, ("PROVISIONER_AMQP_URL", answering.amqp_url))
    parts = urlsplit(url)
    async with fault_proxy(parts.port or 0) as proxy:
        through = parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")).geturl()
        _, port = await answering.start(**{name: through})
        await answering.readiness(port, is_ready=True)
        await proxy.refuse()
        told = await answering.readiness(port, is_ready=False, because=because)
        assert parts.netloc not in json.dumps(told), "an answer names no address with its password"
        await proxy.accept()
        await answering.readiness(port, is_ready=True)


async def test_a_worker_that_stops_is_alive_and_not_ready(answering: Answering) -> None:
    """From the signal on, until what was started is finished."""
    process, port = await answering.start(PROVISIONER_FAILPOINTS="locked=hang", PROVISIONER_DRAIN_SECONDS="20")
    await answering.readiness(port, is_ready=True)
    async with foreign_client(answering.amqp_url, answering.namespace) as client:
        await client.publish("website.created", signup(1))
    await answering.reach(port, in_flight=1)
    process.send_signal(signal.SIGTERM)
    await answering.readiness(port, is_ready=False, because="stopping")


async def test_a_group_answers_on_one_port(answering: Answering) -> None:
    """The parent tells each process's numbers apart, is ready when all are, and alive while one is replaced."""
    parent, port = await answering.start("--processes", "2")
    try:
        await answering.readiness(port, is_ready=True)
        async with foreign_client(answering.amqp_url, answering.namespace) as client:
            await client.publish_many([("website.created", signup(n), None) for n in range(1, 6)])
        numbers = await answering.reach(port, time_to_live_seconds_count=5)
        assert total(numbers, "registered", "process=1") == total(numbers, "registered", "process=2") == 1
        assert total(numbers, "websites", "state=live") <= 5, "one process of both takes the census"
        assert (total(numbers, "processes_wanted"), total(numbers, "processes")) == (2, 2)
        started = [line["process"] for line in answering.workers.logs() if line["event"] == "starting"]
        os.kill(started[0], signal.SIGKILL)
        told = await answering.readiness(port, is_ready=False)
        assert [*told["reasons"].values()] == ["is not there"]
        assert total(await answering.numbers(port), "process_deaths_total") == 1
    finally:
        await answering.workers.stop(parent)


async def test_ready_says_by_its_exit_code(answering: Answering) -> None:
    """0 ready, 1 not, 2 nowhere to ask, 3 nobody there: what a container's health check needs."""

    async def ready(port: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops", "ready", stdout=-1, stderr=-1,
            env={**os.environ, "PROVISIONER_HTTP_PORT": port} if port else {**os.environ},
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode, (out + err).decode()

    async with fault_proxy(urlsplit(answering.database_url).port or 0) as proxy:
        url = answering.database_url.replace(f":{urlsplit(answering.database_url).port}", f":{proxy.port}")
        _, port = await answering.start(PROVISIONER_DATABASE_URL=url)
        await answering.readiness(port, is_ready=True)
        assert await ready(str(port)) == (0, "ready\n")
        await proxy.refuse()
        await answering.readiness(port, is_ready=False)
        code, told = await ready(str(port))
        assert code == 1
        assert told.startswith("not ready\n  database: ")
        assert (await ready(str(proxy.port)))[0] == 3
        assert (await ready(""))[0] == 2


async def test_a_port_that_is_taken_is_a_wrong_setting(answering: Answering) -> None:
    """One line says which, for one process and for a group."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    taken = str(server.sockets[0].getsockname()[1])
    for arguments in ((), ("--processes", "2")):
        process = await answering.workers.start(*arguments, PROVISIONER_HTTP_PORT=taken)
        assert await process.wait() == 2
        assert f"provisioner: PROVISIONER_HTTP_PORT: cannot listen on 127.0.0.1:{taken}: " in answering.workers.text()
    server.close()
