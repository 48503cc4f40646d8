"""What the nemesis does: faults of every class, each on live servers and workers, each undone when it returns.

A fault returns whether it struck. Those of one kind (workers, servers, people) come one after the other, kinds at once.
"""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import asyncpg

from consumer.broker.protocol import BrokerError
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.failpoints import NAMES
from consumer.store.database import Store
from ops.dead_letters.actions import redrive
from ops.dead_letters.queue_lease import LeaseHeldError
from ops.sandbox.postgres import PostgresServer
from ops.sandbox.rabbitmq import RabbitServer
from ops.websites import verb_execution
from statemachine import State, Trigger
from tests.faults.proxy import BOTH, FaultProxy
from tests.faults.scene import Scene

Fault = Callable[[], Awaitable[bool]]
AWAY = (
    BrokerError,
    OSError,
    RuntimeError,
    aio_pika.exceptions.AMQPError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What a person's tool says while a server is away: they try again another time."""
SETTINGS: dict[str, object] = {"drain_seconds": 5, "admission_limit": 64, "batch_size": 16}
WORKERS = 3


class Adversity:
    """Faults, and the dice that decide their particulars."""

    def __init__(self, scene: Scene, postgres: PostgresServer, rabbitmq: RabbitServer, dice: random.Random) -> None:
        self.scene = scene
        self.postgres = postgres
        self.rabbitmq = rabbitmq
        self.dice = dice
        self.poison: set[str] = set()
        """The message ids of what was sent to be dead-lettered, and confirmed."""

    def kinds(self) -> dict[str, list[Fault]]:
        """Return all faults by kind."""
        return {
            "workers": [self.worker_killed, self.worker_dies_at_a_failpoint, self.worker_frozen, self.worker_stopped],
            "servers": [
                self.connections_closed, self.broker_application_restarted, self.broker_killed, self.memory_alarm,
                self.commands_purged, self.postgresql_restarted, self.postgresql_killed, self.backends_terminated,
                self.rows_locked, self.database_read_only, self.network_reset, self.network_silent,
                self.network_silent_one_way, self.network_slow, self.network_refused,
            ],
            "people": [self.poison_sent, self.suspended, self.reactivated, self.terminated, self.requeued,
                       self.dead_letters_redriven],
        }  # fmt: skip

    # ---------------------------------------------------------------------------------------------------- workers

    def _worker(self) -> int:
        return self.dice.choice(sorted(self.scene.zygote.running))

    async def start_worker(self, failpoints: str = "") -> int:
        """Start a worker as all of them are."""
        return await self.scene.start(failpoints, packs_dir=self.scene.folder / "packs", **SETTINGS)

    async def worker_killed(self) -> bool:
        """SIGKILL, at any moment."""
        await self.scene.zygote.kill(self._worker())
        await self.start_worker()
        return True

    async def worker_dies_at_a_failpoint(self) -> bool:
        """SIGKILL, at a named place: one more worker, which does not live long."""
        place = self.dice.choice([name for name in NAMES if name != "boot"])
        reach = self.dice.randint(1, 200 if place == "await" else 10)
        pid = await self.start_worker(f"{place}=kill9@{reach}")
        died = False
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                while not (died := is_zombie(pid)):
                    await asyncio.sleep(0.05)
        await self.scene.zygote.kill(pid)
        return died

    async def worker_frozen(self) -> bool:
        """SIGSTOP, for shorter or longer than servers put up with, and SIGCONT."""
        pid = self._worker()
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(self.dice.uniform(0.2, 4))
        os.kill(pid, signal.SIGCONT)
        return True

    async def worker_stopped(self) -> bool:
        """SIGTERM; another one takes its place."""
        pid = self._worker()
        os.kill(pid, signal.SIGTERM)
        await self.scene.zygote.wait(pid)
        await self.start_worker()
        return True

    # --------------------------------------------------------------------------------------------------- the broker

    async def _ctl(self, *arguments: str) -> None:
        await asyncio.to_thread(self.rabbitmq.ctl, *arguments)

    async def connections_closed(self) -> bool:
        """The broker closes every connection."""
        await self._ctl("close_all_connections", "the nemesis")
        return True

    async def broker_application_restarted(self) -> bool:
        """`stop_app`, `start_app`."""
        await self._ctl("stop_app")
        await self._ctl("start_app")
        return True

    async def broker_killed(self) -> bool:
        """The broker dies as by a power cut, and comes back."""
        await asyncio.to_thread(self.rabbitmq.kill)
        await asyncio.to_thread(self.rabbitmq.start)
        return True

    async def memory_alarm(self) -> bool:
        """The broker takes no publishes for a while."""
        await self._ctl("set_vm_memory_high_watermark", "0.0001")
        try:
            await asyncio.sleep(self.dice.uniform(0, 1.5))
        finally:
            await self._ctl("set_vm_memory_high_watermark", "0.4")
        return True

    async def commands_purged(self) -> bool:
        """Every command in the queue is thrown away."""
        async with asyncio.timeout(10), self.scene.channel() as channel:
            queue = await channel.declare_queue(self.scene.topology.commands, passive=True)
            for _ in range(50):
                if (await queue.purge()).message_count:
                    return True
        return False

    # -------------------------------------------------------------------------------------------------- PostgreSQL

    async def _restart_postgresql(self, mode: Any) -> bool:
        await asyncio.to_thread(self.postgres.stop, mode)
        await asyncio.sleep(self.dice.uniform(0, 2))
        await asyncio.to_thread(self.postgres.start)
        return True

    async def postgresql_restarted(self) -> bool:
        """PostgreSQL ends every session, stops and comes back."""
        return await self._restart_postgresql("fast")

    async def postgresql_killed(self) -> bool:
        """PostgreSQL stops as by a power cut, and recovers."""
        return await self._restart_postgresql("immediate")

    @asynccontextmanager
    async def _administrator(self) -> AsyncIterator[tuple[Any, str]]:
        """Lend a session with another database, and the name of ours."""
        connection = await asyncpg.connect(self.postgres.url, timeout=10)
        try:
            yield connection, self.scene.database_url.rpartition("/")[2]
        finally:
            await connection.close(timeout=5)

    async def backends_terminated(self) -> bool:
        """Every session of the workers is ended."""
        async with self._administrator() as (administrator, name):
            ended = await administrator.fetchval(
                """SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE datname = $1 AND application_name = 'provisioner'""",
                name,
            )
        return bool(ended)

    async def rows_locked(self) -> bool:
        """A stranger locks websites that are under way."""
        async with self.scene.connection() as stranger, stranger.transaction():
            locked = await stranger.fetch(
                "SELECT id FROM pwb_websites WHERE provisioning_due_at IS NOT NULL LIMIT 50 FOR UPDATE SKIP LOCKED"
            )
            await asyncio.sleep(self.dice.uniform(0.2, 2))
        return bool(locked)

    async def database_read_only(self) -> bool:
        """Every session finds the database read-only, for a while."""
        async with self._administrator() as (administrator, name):
            await administrator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            try:
                struck = await self.backends_terminated()
                await asyncio.sleep(self.dice.uniform(0.2, 1.5))
            finally:
                await administrator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        return struck

    # --------------------------------------------------------------------------------------------------- the network

    async def _proxy(self) -> FaultProxy:
        return self.dice.choice([await self.scene.postgres_proxy(), await self.scene.broker_proxy()])

    async def network_reset(self) -> bool:
        """Every connection to a server is reset."""
        return (await self._proxy()).reset() > 0

    async def network_silent(self) -> bool:
        """Nothing passes between us and a server, and no connection ends."""
        return await self._held("hold server", *BOTH)

    async def network_silent_one_way(self) -> bool:
        """What we say arrives, and the answers do not."""
        return await self._held("hold client", "client")

    async def _held(self, hit: str, *towards: Any) -> bool:
        proxy = await self._proxy()
        before = proxy.hits[hit]
        proxy.hold(*towards)
        await asyncio.sleep(self.dice.uniform(0.5, 4))
        proxy.heal()
        return proxy.hits[hit] > before

    async def network_slow(self) -> bool:
        """Every packet takes its time."""
        proxy = await self._proxy()
        before = proxy.hits["latency"]
        proxy.latency_seconds = self.dice.uniform(0.01, 0.2)
        await asyncio.sleep(self.dice.uniform(0.5, 3))
        proxy.heal()
        return proxy.hits["latency"] > before

    async def network_refused(self) -> bool:
        """A server's port refuses connections."""
        proxy = await self._proxy()
        await proxy.refuse()
        await asyncio.sleep(self.dice.uniform(0.1, 3))
        await proxy.accept()
        return True

    # -------------------------------------------------------------------------------------------------------- people

    async def poison_sent(self) -> bool:
        """A signup that cannot be carried out."""
        message_id = str(uuid4())
        body = self.dice.choice([b"{", b'{"website_id": "one"}', b'{"website_id": 1, "subdomain": "x", "tenant": 2}'])
        async with asyncio.timeout(5), self.scene.channel() as channel:
            exchange = await channel.get_exchange(self.scene.topology.commands_exchange, ensure=False)
            message = aio_pika.Message(body, message_id=message_id, type="website.created", delivery_mode=2)
            await exchange.publish(message, routing_key="website.created", timeout=4)
        self.poison.add(message_id)
        return True

    async def _move(self, trigger: Trigger, state: State) -> bool:
        """Have somebody send a command to some websites, through the code that the command line uses."""
        store = Store(self.scene.database_url, size=1)
        try:
            async with asyncio.timeout(5), self.scene.connection() as connection:
                rows = await connection.fetch(
                    "SELECT id FROM pwb_websites WHERE provisioning_state = $1 ORDER BY random() LIMIT 3", state.value
                )
                sent = await verb_execution.send(
                    store, RabbitBroker(self.scene.amqp_url, timeout_seconds=3), self.scene.topology.namespace, trigger,
                    ids=[row["id"] for row in rows], actor="the nemesis", reason="to see what happens",
                )  # fmt: skip
            return any(answer["sent"] for answer in sent)
        finally:
            await store.close()

    async def suspended(self) -> bool:
        """Live websites are suspended."""
        return await self._move(Trigger.SUSPEND, State.LIVE)

    async def reactivated(self) -> bool:
        """Suspended websites go live again."""
        return await self._move(Trigger.REACTIVATE, State.SUSPENDED)

    async def terminated(self) -> bool:
        """Suspended websites are terminated."""
        return await self._move(Trigger.TERMINATE, State.SUSPENDED)

    async def requeued(self) -> bool:
        """Failed websites are requeued, though their cause is still there."""
        return await self._move(Trigger.RETRY_PROVISIONING, State.FAILED)

    async def dead_letters_redriven(self) -> bool:
        """All dead letters are sent back."""
        async with asyncio.timeout(20):
            broker = RabbitBroker(self.scene.amqp_url, timeout_seconds=3)
            try:
                return bool(await redrive(broker, self.scene.topology.namespace))
            except LeaseHeldError:
                return False  # of a tool whose connection was cut, and of which the broker has not heard


def is_zombie(pid: int) -> bool:
    """Say whether a process has died and nobody has looked."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
