"""What a fault test plays on: workers of their own processes, servers, proxies in front of both, and the reckoning.

The events go to a durable queue, so that a test that cuts every connection can still read all of them at its end.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import aio_pika
import asyncpg
from aiormq.exceptions import ChannelNotFoundEntity
from yarl import URL

from consumer.app import App
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from consumer.config import Settings
from tests.faults.proxy import FaultProxy, fault_proxy
from tests.foreign_client import signup
from tests.invariants import check_all, check_effects, check_history, check_nothing_owed
from tests.worker_processes import until
from tests.zygote import Zygote, zygote

SECONDS = 180.0
"""The longest wait for what has to happen; a machine that does much else takes many times what it takes alone."""
QUICK = {
    "PROVISIONER_CONCURRENCY": "2",
    "PROVISIONER_BATCH_SIZE": "4",
    "PROVISIONER_STALL_SECONDS": "1.5",
    "PROVISIONER_DISPATCH_INTERVAL_SECONDS": "0.1",
    "PROVISIONER_RETRY_BASE_SECONDS": "0.05",
    "PROVISIONER_RECONNECT_BASE_SECONDS": "0.05",
    "PROVISIONER_RECONNECT_CAP_SECONDS": "0.5",
    "PROVISIONER_WATCHDOG_SECONDS": "0.5",
    "PROVISIONER_BROKER_TIMEOUT_SECONDS": "1",
    "PROVISIONER_HEARTBEAT_SECONDS": "1",
    "PROVISIONER_LOCK_TIMEOUT_SECONDS": "0.3",
    "PROVISIONER_STATEMENT_TIMEOUT_SECONDS": "1",
    "PROVISIONER_COMMAND_TIMEOUT_SECONDS": "1.5",
    "PROVISIONER_IDLE_TRANSACTION_SECONDS": "1",
    "PROVISIONER_STEP_TIMEOUT_SECONDS": "5",
}
"""Every wait of the service, some ten times shorter."""


class Scene:
    """A database, a namespace at a broker, and workers on them."""

    def __init__(self, folder: Path, database_url: str, amqp_url: str, namespace: str, nursery: Zygote) -> None:
        self.database_url = database_url
        self.amqp_url = amqp_url
        self.topology = Topology(namespace)
        self.zygote = nursery
        self.events: list[dict[str, Any]] = []
        self.signed_up = 0
        self.exits = AsyncExitStack()
        self.folder = folder
        self._postgres_proxy: FaultProxy | None = None
        self._broker_proxy: FaultProxy | None = None

    # ------------------------------------------------------------------------------------------------ who is there

    async def postgres_proxy(self) -> FaultProxy:
        """Put a proxy before PostgreSQL, for workers that start from now on; return it."""
        if self._postgres_proxy is None:
            self._postgres_proxy = await self.exits.enter_async_context(fault_proxy(_port(self.database_url)))
        return self._postgres_proxy

    async def broker_proxy(self) -> FaultProxy:
        """Put a proxy before RabbitMQ, for workers that start from now on; return it."""
        if self._broker_proxy is None:
            self._broker_proxy = await self.exits.enter_async_context(fault_proxy(_port(self.amqp_url)))
        return self._broker_proxy

    async def start(self, failpoints: str = "", *, killed_by: str = "", **settings: object) -> int:
        """Start a worker, through the proxies that are there; return its process id.

        Args:
            failpoints: what is armed in it.
            killed_by: words in a message that kill it.
            settings: settings of the service in place of the quick ones.
        """
        environment = {
            "PROVISIONER_DATABASE_URL": _through(self.database_url, self._postgres_proxy),
            "PROVISIONER_AMQP_URL": _through(self.amqp_url, self._broker_proxy),
            "PROVISIONER_FAILPOINTS": failpoints,
        } | {f"PROVISIONER_{name.upper()}": str(value) for name, value in settings.items()}
        return await self.zygote.start(killed_by, **environment)

    @asynccontextmanager
    async def app(self, **settings: object) -> AsyncIterator[App]:
        """Run a worker in this very process, directly at the servers; stop it well at the end."""
        quick = {name.removeprefix("PROVISIONER_").lower(): value for name, value in QUICK.items()}
        where = {"database_url": self.database_url, "amqp_url": self.amqp_url, "namespace": self.topology.namespace}
        app = App(Settings.model_validate(quick | where | settings))
        task = asyncio.create_task(app.run())
        try:
            yield app
        finally:
            app.stopping.set()
            async with asyncio.timeout(SECONDS):
                await task

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection to the database, by no proxy."""
        opened = await asyncpg.connect(self.database_url, timeout=60)
        try:
            yield opened
        finally:
            await opened.close(timeout=60)

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[Any]:
        """Lend a channel with confirms to the broker, by no proxy.

        Closed even where it could not connect: aio-pika closes a forgotten connection in `__del__`, and in a thread,
        where garbage may be collected too, that leaves a coroutine that nobody awaits.
        """
        opened = aio_pika.Connection(URL(self.amqp_url))
        try:
            await opened.connect(timeout=60)
            yield await opened.channel(publisher_confirms=True)
        finally:
            await opened.close()

    # ------------------------------------------------------------------------------------------------ what happens

    async def sign_up(self, count: int = 1, **changes: Any) -> list[int]:
        """Publish so many more signups, each confirmed; return their websites' ids."""
        ids = list(range(self.signed_up + 1, self.signed_up + count + 1))
        self.signed_up += count
        await self.publish([("website.created", signup(website_id, **changes)) for website_id in ids])
        return ids

    async def publish(self, messages: list[tuple[str, dict[str, Any]]]) -> None:
        """Publish (type, body) pairs as somebody else does."""
        async with self.channel() as channel:
            exchange = await channel.get_exchange(self.topology.commands_exchange, ensure=False)
            await asyncio.gather(*(exchange.publish(_message(name, body), routing_key=name) for name, body in messages))

    async def count(self, condition: str = "true") -> int:
        """Count websites; -1 while the database is away."""
        try:
            async with self.connection() as connection:
                found: int = await connection.fetchval(f"SELECT count(*) FROM pwb_websites WHERE {condition}")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return -1
        return found

    async def live(self, count: int, seconds: float = SECONDS) -> None:
        """Wait until at least so many websites are live."""

        async def enough() -> bool:
            return await self.count("provisioning_state = 'live'") >= count

        await until(enough, seconds, f"{count} websites live")

    def lines(self, **fields: Any) -> list[dict[str, Any]]:
        """Return the log lines of all workers that have these fields."""
        if not self.zygote.log.exists():
            return []
        told = [json.loads(line) for line in self.zygote.log.read_text().splitlines() if line.startswith('{"')]
        return [line for line in told if all(line.get(name) == value for name, value in fields.items())]

    async def said(self, count: int = 1, seconds: float = SECONDS, **fields: Any) -> None:
        """Wait until workers have logged so many lines with these fields."""

        async def found() -> bool:
            return len(self.lines(**fields)) >= count

        await until(found, seconds, f"{count} log lines with {fields}")

    async def paused(self, what: str, count: int = 1, error: str = "", seconds: float = SECONDS) -> None:
        """Wait until workers have paused so often for something with this in its error. That a worker which has just
        begun is not connected yet is no pause."""

        async def found() -> bool:
            pauses = [line["error"] for line in self.lines(event="paused", what=what)]
            return sum(error in told for told in pauses if told != "not connected yet") >= count

        await until(found, seconds, f"{count} pauses for {what} {error}")

    async def consumers(self, count: int, seconds: float = SECONDS) -> None:
        """Wait until so many consumers are on each work queue."""

        async def there() -> bool:
            async with self.channel() as channel:
                for name in (self.topology.commands, self.topology.signups):
                    try:
                        queue = await channel.declare_queue(name, passive=True)
                    except ChannelNotFoundEntity:
                        return False
                    if queue.declaration_result.consumer_count != count:
                        return False
            return True

        await until(there, seconds, f"{count} consumers on each queue")

    async def drain(self, queue: str) -> list[aio_pika.abc.AbstractIncomingMessage]:
        """Take everything out of a queue, for counting: broker counters lie just after a restart."""
        found = []
        async with self.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            while (message := await declared.get(fail=False, timeout=60)) is not None:
                found.append(message)
                await message.ack()
        return found

    async def waiting(self, queue: str) -> int:
        """Return how many messages are ready in a queue, as far as the broker knows."""
        async with self.channel() as channel:
            declared = await channel.declare_queue(queue, passive=True)
            return int(declared.declaration_result.message_count or 0)

    async def taken(self, queue: str) -> None:
        """Wait until nothing is ready in a queue: whatever was there is in a worker's hands."""

        async def empty() -> bool:
            return await self.waiting(queue) == 0

        await until(empty, SECONDS, f"{queue} in the hands of a worker")

    async def declare(self) -> None:
        """Make what is missing at the broker, as `provisioner init` does."""
        await RabbitBroker(self.amqp_url).declare(self.topology)

    async def put_back(self, letters: list[aio_pika.abc.AbstractIncomingMessage]) -> None:
        """Send dead letters where they came from, with the ids they have."""
        async with self.channel() as channel:
            for letter in letters:
                message = aio_pika.Message(
                    letter.body, message_id=letter.message_id, type=letter.type,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                )  # fmt: skip
                death = letter.headers["x-death"][0]  # type: ignore[index, call-overload]
                await channel.default_exchange.publish(message, routing_key=str(death["queue"]))  # type: ignore[call-overload, index]

    async def redrive(self) -> int:
        """Put back what the delivery limit threw out; return how many that were. Others are left."""
        letters = await self.drain(self.topology.dead_letters)
        assert all("x-reason" not in letter.headers for letter in letters)
        await self.put_back(letters)
        return len(letters)

    # -------------------------------------------------------------------------------------------------- reckoning

    async def at_rest(self, states: Mapping[str, int], seconds: float = SECONDS) -> None:
        """Wait until so many websites are in these states, owed nothing."""

        async def are() -> bool:
            try:
                async with self.connection() as connection:
                    rows = await connection.fetch(
                        """SELECT provisioning_state AS state, count(*) AS count FROM pwb_websites
                            WHERE provisioning_due_at IS NULL GROUP BY 1"""
                    )
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return False
            return {row["state"]: row["count"] for row in rows} == dict(states)

        await until(are, seconds, f"websites at rest in {dict(states)}")

    async def reckon(
        self,
        states: Mapping[str, int],
        *,
        letters: int = 0,
        charged: bool = False,
        events: bool = True,
        seconds: float = SECONDS,
    ) -> None:
        """Wait until all is at rest, then check every invariant.

        Args:
            states: how many websites have to be in which state.
            letters: how many dead letters there have to be.
            charged: whether an attempt may have been counted; by default a fault costs none.
            events: whether the subscriber must have heard of each transition; not where its binding was taken away.
            seconds: how long it may take until all is at rest.
        """
        await self.at_rest(states, seconds)
        await self._reckon_database(states, events=events)
        assert len(await self.drain(self.topology.dead_letters)) == letters
        if not charged:
            costly = [line for line in self.lines() if line.get("outcome") in ("attempted", "refused", "rejected")]
            assert not costly, f"an outage cost an attempt: {costly[0]}"
        assert not self.lines(event="worker failed"), "a defect of the worker itself"

    async def _reckon_database(self, states: Mapping[str, int], *, events: bool) -> None:
        if not events:
            async with self.connection() as connection:
                await check_history(connection)
                await check_effects(connection)
                await check_nothing_owed(connection)
            return

        async def told() -> bool:
            for message in await self.drain(self.topology.namespace + ".seen"):
                body = json.loads(message.body)
                self.events.append({"message_id": message.message_id, "type": message.type, "body": body})
            async with self.connection() as connection:
                rows = await connection.fetch("SELECT website_id, seq FROM provisioning_transitions")
            # That a signup was rejected is an event without a transition.
            known = {(event["body"]["website_id"], event["body"].get("seq")) for event in self.events}
            return {(row["website_id"], row["seq"]) for row in rows} <= known

        await until(told, 60, "an event of each transition")
        async with self.connection() as connection:
            assert await check_all(connection, self.events) == Counter(states)


def _message(name: str, body: dict[str, Any]) -> aio_pika.Message:
    return aio_pika.Message(
        json.dumps(body).encode(), message_id=str(uuid4()), type=name, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
    )


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port
    return port


def _through(url: str, proxy: FaultProxy | None) -> str:
    if proxy is None:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.port}", f":{proxy.port}")))


@asynccontextmanager
async def set_scene(folder: Path, database_url: str, amqp_url: str, namespace: str) -> AsyncIterator[Scene]:
    """Make queues, a subscriber and a nursery of workers; afterwards no worker of it runs."""
    environment = QUICK | {
        "PROVISIONER_DATABASE_URL": database_url,
        "PROVISIONER_AMQP_URL": amqp_url,
        "PROVISIONER_NAMESPACE": namespace,
    }
    await RabbitBroker(amqp_url).declare(Topology(namespace))
    async with zygote(folder, environment) as nursery, AsyncExitStack() as exits:
        scene = Scene(folder, database_url, amqp_url, namespace, nursery)
        scene.exits = exits
        async with scene.channel() as channel:
            seen = await channel.declare_queue(f"{namespace}.seen", durable=True)
            await seen.bind(scene.topology.events_exchange, "website.*")
        try:
            yield scene
        finally:
            for pid in list(nursery.running):
                await nursery.kill(pid)
