"""Section E: what a network between us and our servers may do. A TCP proxy does it."""

import asyncio
import os
import random
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Scaled
from tests.faults.proxy import FaultProxy, Towards
from tests.faults.scene import SECONDS, Scene
from tests.worker_processes import until

WEBSITES = 20
HASTY = {"broker_timeout_seconds": 0.4, "command_timeout_seconds": 0.4, "stall_seconds": 0.8}
"""For what is noticed by a wait that ends."""
STARTING = ("not connected yet", "not known yet")
"""What a worker says that has just begun."""
PATIENT = {
    "heartbeat_seconds": 10, "broker_timeout_seconds": 10, "watchdog_seconds": 5, "command_timeout_seconds": 15,
    "statement_timeout_seconds": 10, "idle_transaction_seconds": 15, "step_timeout_seconds": 30, "stall_seconds": 120,
}  # fmt: skip
"""The service's own waits, where a slow network has to be told from a dead one."""


async def in_the_middle(scene: Scene, count: int = WEBSITES) -> None:
    """Publish signups, and wait until some are live and most are not."""
    await scene.sign_up(count)
    await scene.live(1)
    assert await scene.count("provisioning_state = 'live'") < count, "the fault would come too late to matter"


async def struck(proxy: FaultProxy, what: str, count: int = 1) -> None:
    """Wait until a fault has struck so often."""

    async def often_enough() -> bool:
        return proxy.hits[what] >= count

    await until(often_enough, SECONDS, f"{count} × {what}")


@pytest.mark.fault(64)
async def test_a_slow_network(scene: Scene, scaled: Scaled) -> None:
    """Each packet takes long, in either direction, to both servers: slow, and nothing takes it for an outage."""
    proxies = [await scene.postgres_proxy(), await scene.broker_proxy()]
    await scene.start(**PATIENT)
    await scene.sign_up(1)
    await scene.reckon({"live": 1})
    for proxy in proxies:
        proxy.latency_seconds = scaled(0.02, 0.5)
    await scene.sign_up(3)
    await scene.reckon({"live": 4}, seconds=SECONDS * 5)
    assert all(proxy.hits["latency"] > 20 for proxy in proxies)
    said = [line for line in scene.lines(event="paused") if line["error"] not in STARTING]
    assert not said, said
    assert len(scene.lines(event="connected")) == 2


@pytest.mark.fault(65)
async def test_reset_at_any_byte(scene: Scene, scaled: Scaled) -> None:
    """Each connection is reset after so many bytes, drawn at random, in the middle of whatever that is."""
    dice = random.Random(65)
    postgres, broker = proxies = (await scene.postgres_proxy(), await scene.broker_proxy())
    # A session with PostgreSQL begins with 30 kB of statements: some have to survive that, for the broker's turn.
    postgres.budget = lambda: dice.randint(300, 80_000)
    broker.budget = lambda: dice.randint(300, 10_000)
    await scene.start(**HASTY)
    async with asyncio.timeout(scaled(30, 600)):
        while any(proxy.hits["cut at random"] < scaled(3, 200) for proxy in proxies):
            await scene.sign_up(3)
            await asyncio.sleep(0.1)  # the load's own rhythm
    for proxy in proxies:
        proxy.heal()
        proxy.reset()
    await settled_letters(scene)
    await scene.reckon({"live": scene.signed_up})


async def settled_letters(scene: Scene) -> None:
    """Put back what the broker's fuse threw out for connections lost, which is as good as ever."""
    await scene.consumers(len(scene.zygote.running))
    await scene.redrive()


@pytest.mark.fault(66)
async def test_half_open_to_the_broker(scene: Scene, scaled: Scaled) -> None:
    """The broker is gone and says nothing: it is noticed in time, and a new connection works."""
    proxy = await scene.broker_proxy()
    await scene.start(**(PATIENT if scaled(0, 1) else HASTY))
    await in_the_middle(scene)
    before = len(scene.lines(event="consumer lost"))
    proxy.hold("server", "client")
    await scene.said(before + 1, event="consumer lost", seconds=scaled(4, 33))
    await scene.paused("publishing")
    assert proxy.hits["hold server"]

    async def tried_again() -> bool:
        return bool(proxy.hits["hold client"] or proxy.hits["connected"] > 3)

    await until(tried_again, SECONDS, "a byte that was held, or another connection")
    proxy.heal()
    await scene.reckon({"live": WEBSITES}, seconds=SECONDS * 4)


@pytest.mark.fault(67)
async def test_half_open_to_postgresql(scene: Scene, scaled: Scaled) -> None:
    """The database is gone and says nothing: statements end in time, the pool pauses and heals, nothing is charged."""
    proxy = await scene.postgres_proxy()
    await scene.start(**(PATIENT if scaled(0, 1) else HASTY))
    await in_the_middle(scene)
    proxy.hold("server", "client")
    await scene.paused("database", seconds=scaled(5, 60))
    assert proxy.hits["hold server"]
    proxy.heal()
    await scene.reckon({"live": WEBSITES}, seconds=SECONDS * 4)


@pytest.mark.fault(68)
async def test_confirms_are_lost(scene: Scene) -> None:
    """What is published arrives and its confirms do not: it is published again under the same ids, and done once."""
    proxy = await scene.broker_proxy()
    await scene.start(**HASTY)
    await in_the_middle(scene)
    proxy.hold("client", only=b"provisioner publisher")
    await struck(proxy, "hold client")
    await scene.paused("publishing")
    proxy.heal()
    await scene.reckon({"live": WEBSITES})
    ids = [event["message_id"] for event in scene.events]
    assert len(ids) > len(set(ids)), "an event arrived whose confirm did not, and came again"


@pytest.mark.fault(69)
async def test_refused(scene: Scene) -> None:
    """Both servers refuse connections in mid-work: asked again and again, but not in a hot loop."""
    proxies = [await scene.postgres_proxy(), await scene.broker_proxy()]
    await scene.start()
    await in_the_middle(scene)
    # One after the other: a pool that stands since it cannot publish does not ask the database either.
    for proxy, what, error in zip(
        proxies, ("database", "publishing"), ("ConnectionRefusedError", "cannot connect"), strict=True
    ):
        await proxy.refuse()
        await scene.paused(what, error=error)
    looked = len(scene.lines())
    await asyncio.sleep(1)
    assert len(scene.lines()) - looked < 60, "a hot loop"
    for proxy in proxies:
        await proxy.accept()
    await scene.reckon({"live": WEBSITES})


@pytest.mark.fault(69)
async def test_a_host_name_that_is_gone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither server's name is known for a while: the service waits, and works once both are."""
    honest = socket.getaddrinfo
    asked: list[str] = []
    known: set[str] = set()

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).endswith(".invalid") and host not in known:
            asked.append(host)
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return honest("127.0.0.1" if host in known else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    urls = {
        name: url.replace("127.0.0.1", f"{name.replace('_', '-')}.invalid")
        for name, url in (("database_url", scene.database_url), ("amqp_url", scene.amqp_url))
    }
    async with scene.app(**urls) as app:
        await scene.sign_up(3)
        for host in ("database-url.invalid", "amqp-url.invalid"):

            async def looked_up(host: str = host) -> bool:
                return asked.count(host) >= 3

            await until(looked_up, SECONDS, f"three times {host}")
        assert {"database", "publishing"} <= set(app.gate.reasons)
        known |= {"database-url.invalid", "amqp-url.invalid"}
        await scene.reckon({"live": 3})


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that nobody has signed but itself, with its key."""
    file = tmp_path / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", str(file), "-out", str(tmp_path / "certificate.pem"), "-days", "1",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_text(file.read_text() + (tmp_path / "certificate.pem").read_text())
    return file


@asynccontextmanager
async def impostor(certificate: Path) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Speak TLS with a certificate that nobody trusts; lend port and what clients said."""
    heard: list[bytes] = []

    async def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(arrived, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()


@pytest.mark.fault(69)
async def test_a_certificate_that_is_not_trusted(scene: Scene, certificate: Path) -> None:
    """Who asks for TLS and meets a stranger's certificate says not a word, and nothing is consumed."""
    async with impostor(certificate) as (stranger, heard):
        pid = await scene.start(amqp_url=f"amqps://guest:guest@127.0.0.1:{stranger}/")
        await scene.paused("publishing", error="CERTIFICATE_VERIFY_FAILED")
        assert heard == []
        os.kill(pid, 0)
    await scene.zygote.kill(pid)


@pytest.mark.fault(69)
async def test_no_fallback_to_plain_text(scene: Scene) -> None:
    """Who asks for TLS and meets a server without it goes no further: no password is ever sent in the clear."""
    postgres, broker = await scene.postgres_proxy(), await scene.broker_proxy()
    database_url = f"postgresql://postgres:canary@127.0.0.1:{postgres.port}/postgres?sslmode=require"
    amqp_url = f"amqps://canary:canary@127.0.0.1:{broker.port}/"
    await scene.start(database_url=database_url, amqp_url=amqp_url)
    await scene.paused("database")
    await scene.paused("publishing")
    for proxy in (postgres, broker):
        assert proxy.hits["connected"]
        assert all(link.hello and b"canary" not in link.hello for link in proxy._all_links)
        assert all(b"postgres" not in link.hello and b"AMQP" not in link.hello for link in proxy._all_links)


@pytest.mark.fault(70)
@pytest.mark.parametrize("towards", [("server", "client"), ("server",)], ids=["both ways", "one way"])
async def test_cut_off_from_one_and_then_from_the_other(
    scene: Scene, scaled: Scaled, towards: tuple[Towards, ...]
) -> None:
    """A worker reaches the broker and not PostgreSQL, then the other way round: nothing is lost or charged."""
    postgres, broker = await scene.postgres_proxy(), await scene.broker_proxy()
    await scene.start(**HASTY)
    await in_the_middle(scene)
    for proxy, what in ((postgres, "database"), (broker, "publishing")):
        proxy.hold(*towards)
        await scene.sign_up(5)
        await scene.paused(what)
        await asyncio.sleep(scaled(0, 30))
        assert proxy.hits["hold server"]
        proxy.heal()
    await scene.reckon({"live": WEBSITES + 10})


@pytest.mark.fault(71)
async def test_a_narrow_network(scene: Scene, scaled: Scaled) -> None:
    """Only so many bytes a second go through, to both servers: slow, and neither confirms nor acks get stuck."""
    proxies = [await scene.postgres_proxy(), await scene.broker_proxy()]
    await scene.start(**PATIENT)
    await scene.sign_up(1)
    await scene.reckon({"live": 1})
    for proxy in proxies:
        proxy.bytes_per_second = scaled(60_000, 10_000)
    await scene.sign_up(5)
    await scene.reckon({"live": 6}, seconds=SECONDS * 5)
    assert all(proxy.hits["throttle"] > 20 for proxy in proxies)


@pytest.mark.fault(72)
async def test_flapping(scene: Scene, scaled: Scaled) -> None:
    """Both peers go up and down, in random order: whenever there is time enough, work goes on."""
    dice = random.Random(72)
    proxies = [await scene.postgres_proxy(), await scene.broker_proxy()]
    await scene.start(**HASTY)
    await scene.start(**HASTY)
    await in_the_middle(scene)
    loop = asyncio.get_running_loop()
    end = loop.time() + scaled(2.5, 60)
    down: set[FaultProxy] = set()
    while loop.time() < end:
        proxy = dice.choice(proxies)
        await (proxy.accept() if proxy in down else proxy.refuse())
        down ^= {proxy}
        await asyncio.sleep(scaled(0.25, 1) * dice.uniform(0.5, 1.5))  # the catalogue's own rhythm
    for proxy in proxies:
        assert proxy.hits["refuse"] >= 2
        await proxy.accept()
    await settled_letters(scene)
    await scene.reckon({"live": WEBSITES})
