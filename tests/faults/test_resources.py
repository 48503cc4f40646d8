"""Section J: clocks, memory, files, settings, and those who look at us. Sizes grow with `make faults`."""

import asyncio
import gc
import json
import os
import resource
import socket
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aio_pika
import pytest

import consumer.messages.outbound_dead_letters
import consumer.worker.delivery_loop
from consumer.monitoring.http_server import CONNECTIONS
from tests.factories import STEPS
from tests.faults.conftest import Scaled
from tests.faults.scene import SECONDS, Scene
from tests.foreign_client import signup
from tests.invariants import check_all
from tests.service import Service, Start
from tests.worker_processes import until

CLAIMS = 5
FEW = CLAIMS * 100
RSS_LIMIT_MIB = 64
"""What a worker process may have in memory; the imports alone are 46."""


def rss_mib(pid: int) -> float:
    """Return the memory that a process has to itself and shares, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class Shifted(datetime):
    """A clock that is hours off, now this way and now that."""

    asked = 0

    @classmethod
    def now(cls, tz: Any = None) -> "Shifted":
        cls.asked += 1
        hours = 2 if cls.asked % 2 else -2
        return cls.fromtimestamp((datetime.now(tz) + timedelta(hours=hours)).timestamp(), tz)


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every wall clock that a process could ask jumps by two hours with each look, as after a bad time server."""
    looks: list[int] = []
    honest = time.time

    def jumped() -> float:
        looks.append(1)
        return honest() + (7200 if len(looks) % 2 else -7200)

    monkeypatch.setattr(time, "time", jumped)
    monkeypatch.setattr(consumer.messages.outbound_dead_letters, "datetime", Shifted)
    return looks


@pytest.mark.fault(109)
async def test_a_clock_that_jumps(start: Start, jumping: list[int]) -> None:
    """Wall clocks are two hours off in either direction: nothing is early, late or twice, the database's time rules."""
    async with start() as service:
        for website_id in (1, 2):
            await service.created(website_id)
        await service.created(3, owner=...)
        await service.publish("website.created", {"website_id": "poison"})
        for website_id, state in ((1, "live"), (2, "live"), (3, "failed")):
            await service.reaches(website_id, state)
        assert Shifted.asked or jumping, "somebody looked at the clock"
        rows = await service.connection.fetch(
            "SELECT occurred_at, now() AS now FROM provisioning_transitions ORDER BY website_id, seq"
        )
        assert all(abs((row["now"] - row["occurred_at"]).total_seconds()) < 60 for row in rows)
        assert await check_all(service.connection, service.events()) == {"live": 2, "failed": 1}


@pytest.mark.fault(110)
async def test_timestamps_from_the_future(scene: Scene) -> None:
    """A message's timestamp, from 2099, from 1970, or out of an hour that summer time left out: nobody asks it."""
    times = [
        datetime(2099, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, tzinfo=UTC),
    ]
    await scene.start()
    async with scene.channel() as channel:
        exchange = await channel.get_exchange(scene.topology.commands_exchange, ensure=False)
        for number, sent in enumerate(times, start=1):
            body = aio_pika.Message(
                json.dumps(signup(number)).encode(),
                message_id=str(uuid.uuid4()), type="website.created", timestamp=sent,
            )  # fmt: skip
            await exchange.publish(body, routing_key="website.created")
    await scene.reckon({"live": 3})
    async with scene.connection() as connection:
        assert await connection.fetchval("SELECT bool_and(abs(extract(epoch FROM now() - occurred_at)) < 60)"
                                         " FROM provisioning_transitions")  # fmt: skip


@pytest.mark.fault(111)
async def test_no_file_descriptors_left(scene: Scene) -> None:
    """A process that may open no more files loses its connections: it waits, and works again once it may."""
    proxy = await scene.broker_proxy()
    pid = await scene.start()
    await scene.sign_up(3)
    await scene.live(3)
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    proxy.reset()
    await scene.paused("publishing")
    await scene.sign_up(5)
    before = proxy.hits["connected"]
    looked = len(scene.lines())
    await asyncio.sleep(1)
    assert proxy.hits["connected"] == before, "it cannot connect: the fault fired"
    assert len(scene.lines()) - looked < 50, "no hot loop"
    os.kill(pid, 0)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    await scene.reckon({"live": 8})


@pytest.mark.fault(112)
async def test_little_memory(scene: Scene) -> None:
    """A worker process under load has at most 64 MiB resident."""
    pid = await scene.start(concurrency=4, batch_size=16)
    await scene.sign_up(30)
    await scene.live(30)
    used = rss_mib(pid)
    print(f"\n{used:.1f} MiB resident after 210 transitions")  # noqa: T201
    assert used <= RSS_LIMIT_MIB
    await scene.reckon({"live": 30})


@pytest.mark.fault(112)
async def test_memory_and_tasks_stay_flat(start: Start, scaled: Scaled) -> None:
    """As many transitions again and again: neither tasks nor objects nor memory grow."""
    rounds, websites = int(scaled(4, 30)), int(scaled(12, 480))
    async with start(concurrency=4, admission_limit=1000) as service:
        tasks, objects, memory = [], [], []
        for number in range(rounds):
            ids = range(number * websites + 1, (number + 1) * websites + 1)
            await asyncio.gather(*(service.created(website_id) for website_id in ids))

            async def live(last: int = ids[-1]) -> bool:
                count: int = await service.connection.fetchval(
                    "SELECT count(*) FROM pwb_websites WHERE provisioning_state = 'live' AND id <= $1"
                    " AND provisioning_due_at IS NULL", last,
                )  # fmt: skip
                return count == last

            await until(live, SECONDS * 5, f"round {number}")
            await service.settled()
            # The subscriber's queue is ours, not the service's: what it keeps is not counted.
            events = len(service.events())
            assert events >= len(ids) * STEPS
            service.broker.purge("seen")
            service.batches.clear()
            tasks.append(len(asyncio.all_tasks()))
            gc.collect()
            objects.append(len(gc.get_objects()))
            memory.append(round(rss_mib(os.getpid()), 1))
        print(f"\n{rounds * websites * STEPS} transitions: tasks {tasks}, objects {objects}, MiB {memory}")  # noqa: T201
        assert max(tasks[1:]) <= tasks[0] + 2, tasks
        assert objects[-1] <= objects[1] * 1.03, objects
        assert memory[-1] <= memory[1] + 8, memory


@pytest.mark.fault(114)
async def test_standard_output_that_nobody_reads(scene: Scene, tmp_path: Path) -> None:
    """A worker's log goes into a pipe that is full: the worker keeps going."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        pass
    os.close(writer)
    scene.zygote.log = pipe
    pid = await scene.start()
    try:
        await scene.sign_up(5)
        await scene.live(5)
        os.kill(pid, 0)
        assert len(os.read(reader, 2**20)) >= 2**16, "the pipe was full all along"
    finally:
        os.set_blocking(reader, False)
        scene.zygote.log = tmp_path / "zygote.log"
        await scene.zygote.kill(pid)
        os.close(reader)


@pytest.mark.fault(116)
async def test_a_great_many_due(start: Start, scaled: Scaled) -> None:
    """Tens of thousands of websites are due at once, a million in full: a claim stays bounded and uses the index."""
    count = int(scaled(20_000, 1_000_000))
    async with start(dispatch_interval_seconds=3600) as service:
        # By then the dispatcher has made its first round, and makes no other: the test is who claims.
        await service.created(count + 2)
        await service.reaches(count + 2, "live")
        few = await _claims(service, 1, FEW)
        many = await _claims(service, FEW + 1, count)
        print(f"\n{count} due: a claim of 100 takes {many * 1000:.1f} ms, {many / few:.1f} times as long as of few")  # noqa: T201
        assert many < 10 * few, "it depends on how many are due"
        # Whoever waits in that crowd does not hold up who comes now.
        await service.created(count + 1)
        await service.reaches(count + 1, "live")


async def _claims(service: Service, first: int, last: int) -> float:
    """Let so many websites more be due, and claim some of them; return the seconds of the claim in the middle."""
    await service.connection.execute(
        """INSERT INTO pwb_websites (id, subdomain, provisioning_due_at, created_at, updated_at)
           SELECT n, 'due-' || n, now() - interval '1 minute', now(), now()
             FROM generate_series($1::int, $2::int) AS n""",
        first, last,
    )  # fmt: skip
    await service.connection.execute("ANALYZE pwb_websites")
    took = []
    for _ in range(CLAIMS):
        began = time.perf_counter()
        claims = await service.app.store.claim(100, 60)
        took.append(time.perf_counter() - began)
        assert len(claims) == 100
    return sorted(took)[CLAIMS // 2]


@pytest.mark.fault(115)
async def test_those_who_ask_for_health(scene: Scene, scaled: Scaled) -> None:
    """Some hang and come again, one asks a hundred times a second: work goes on; who asks is answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    await scene.start(http_port=port)
    hung = answered = 0

    async def ask(request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.transport.abort()

    async def hang() -> None:
        nonlocal hung
        while True:
            with suppress(OSError):
                hung += 1
                await ask(b"GET /livez HT")
            await asyncio.sleep(0.1)  # a stubborn one's own rhythm

    async def status(path: str) -> str:
        async with asyncio.timeout(SECONDS):
            while True:
                # Whoever is slow to ask, as on a busy machine, makes room for others, and asks again.
                with suppress(ConnectionResetError):
                    answer = await ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                    return answer.partition(b"\r\n")[0].decode()

    async def ready() -> bool:
        with suppress(OSError):
            return await status("/readyz") == "HTTP/1.1 200 OK"
        return False

    await until(ready, SECONDS, "a worker that is ready")
    hanging = [asyncio.create_task(hang()) for _ in range(2 * CONNECTIONS)]
    try:
        await scene.sign_up(30)
        end = asyncio.get_running_loop().time() + scaled(3, 60)
        while asyncio.get_running_loop().time() < end:
            began = asyncio.get_running_loop().time()
            paths = ("/livez", "/readyz", "/metrics", "/livez", "/livez")
            assert set(await asyncio.gather(*map(status, paths))) == {"HTTP/1.1 200 OK"}
            answered += len(paths)
            # The catalogue's own rhythm: 100 questions a second, where the machine keeps up with it.
            await asyncio.sleep(max(0.0, began + len(paths) / 100 - asyncio.get_running_loop().time()))
        assert hung > 2 * CONNECTIONS, "some have made room, and came again"
        assert answered > 100
        await scene.reckon({"live": 30})
    finally:
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
