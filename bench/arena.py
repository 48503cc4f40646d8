"""Where contestants are measured: private servers, and for each run a fresh database, fresh queues, fresh processes."""

import asyncio
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from bench.meter import Cpu, cpu_seconds
from consumer.broker.protocol import Message, PublisherSession, QueueCounts
from consumer.broker.rabbitmq.adapter import RabbitBroker
from consumer.broker.topology import Topology
from consumer.store import schema_lifecycle
from consumer.store.database import Store
from ops.publishing import publish_all, website_created
from ops.sandbox.postgres import PostgresServer
from ops.sandbox.rabbitmq import RabbitServer

INHERITED = re.compile(
    r"PATH|HOME|USER|LOGNAME|TMPDIR|TZ|LANG|LC_.*|LD_LIBRARY_PATH|VIRTUAL_ENV|PYTHONPATH|PYTHONDONTWRITEBYTECODE"
)
"""The variables that contestants inherit: no others, since a shell may have set secrets for other programs."""

ROOT = Path(__file__).parents[1]
SITE_TYPES = ("residential", "commercial", "vacation_rental")
WARM_UP = 64
"""Websites before anything is measured: connections are open then, statements prepared, packs read."""
LIVE = "SELECT count(*) FROM pwb_websites WHERE provisioning_state = 'live' AND id > $1"
LOOK_SECONDS = 0.02
"""How often the database is asked how many are live; one look takes 0.2 ms of its CPU."""
PATIENCE_SECONDS = 20.0
"""Nothing has gone live for so long: whoever is measured has lost its way."""
LOG_TAIL_LINES = 12
REST_SECONDS = 0.3
"""After the last website is live: what still has to be acked and written is counted too."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Something that takes websites from website.created to live.

    `one_queue`: signups and commands stand in one line, first in, first out.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    one_queue: bool = False

    def having(self, name: str, **environment: object) -> "Contestant":
        """Return it with other settings, under another name."""
        return replace(
            self, name=name, environment={**self.environment, **{key: str(value) for key, value in environment.items()}}
        )


NAIVE = Contestant("naive", ("bench.naive",), one_queue=True)
SERVICE = Contestant("service", ("ops", "worker"))
FIFO = Contestant("service, one queue", ("ops", "worker"), one_queue=True)


def signup_of(website_id: int) -> dict[str, Any]:
    """Return what signs one website up."""
    return {
        "website_id": website_id,
        "subdomain": f"sunny-meadow-{website_id}",
        "site_type": SITE_TYPES[website_id % len(SITE_TYPES)],
        "owner": {"email": f"owner-{website_id}@example.com", "name": "Ana Silva"},
    }


class NotExactError(Exception):
    """A run has not done exactly what was asked; its figures are worth nothing."""


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of one benchmark, and a folder for logs."""

    postgres: PostgresServer
    rabbitmq: RabbitServer
    folder: Path

    def database_url(self, name: str) -> str:
        """Of one database."""
        return f"{self.postgres.url.rpartition('/')[0]}/{name}"


class Run:
    """One contestant with its own database, queues and processes."""

    def __init__(self, servers: Servers, contestant: Contestant, database: str, connection: Any) -> None:
        """Take its database, and a connection to it; `open` and `start` do the rest."""
        self.servers = servers
        self.contestant = contestant
        self.database = database
        self.connection = connection
        self.topology = Topology(database)
        self.broker = RabbitBroker(servers.rabbitmq.url)
        self.processes: list[asyncio.subprocess.Process] = []
        self.before = 0
        """The highest id of websites that were in the database before: those of the run come after it."""
        self.signed_up = 0
        """Websites so far."""
        self.signup_system: PublisherSession

    # ------------------------------------------------------------------------------------------------ its processes

    async def open(self) -> None:
        """Make its tables and queues, and connect the signup system."""
        await make_schema(self.servers.database_url(self.database))
        self.before = await self.connection.fetchval("SELECT coalesce(max(id), 0) FROM pwb_websites")
        await self.broker.declare(self.topology)
        self.signup_system = await self.broker.open_publisher()

    async def close(self) -> None:
        """End its processes and remove its queues."""
        await self.stop()
        await self.signup_system.close()
        await self.broker.delete(self.topology)

    async def start(self, processes: int) -> None:
        """Start its worker processes, and warm them up until each has nothing more to learn."""
        for place in range(processes):
            self.processes.append(await self.launch(place))
        await self.consumed_by(processes)
        await self.sign_up(WARM_UP * processes)
        await self.until_live(WARM_UP * processes)
        await asyncio.sleep(REST_SECONDS)

    async def launch(self, place: int) -> asyncio.subprocess.Process:
        """Start the worker process of one place; its log goes on where that of its predecessor ended."""
        with (self.servers.folder / f"{self.database}-{place}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", *self.contestant.command,
                cwd=ROOT, env=self.environment(), stdout=log, stderr=log,
            )  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Return what its processes are told."""
        kept = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
        settings = {
            "DATABASE_URL": self.servers.database_url(self.database),
            "AMQP_URL": self.servers.rabbitmq.url,
            "NAMESPACE": self.topology.namespace,
            "LOG_FORMAT": "json",
        }
        named = {f"PROVISIONER_{name}": value for name, value in {**settings, **self.contestant.environment}.items()}
        return kept | named

    def signal(self, what: signal.Signals) -> None:
        """Send a signal to every worker process."""
        for process in self.processes:
            process.send_signal(what)

    async def stop(self) -> None:
        """End the worker processes, by SIGKILL if they do not follow SIGTERM."""
        for process in self.processes:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    def cpu(self) -> Cpu:
        """Return the CPU seconds used so far."""
        return Cpu(
            cpu_seconds(*(process.pid for process in self.processes)),
            cpu_seconds(self.servers.postgres.pid),
            cpu_seconds(self.servers.rabbitmq.pid),
        )

    # ---------------------------------------------------------------------------------------------------- the load

    @property
    def ids(self) -> range:
        """Of the websites that the run has signed up so far."""
        return range(self.before + 1, self.before + self.signed_up + 1)

    def next_ids(self, count: int) -> range:
        """Count so many websites more as signed up, and return their ids."""
        self.signed_up += count
        return self.ids[-count:]

    async def sign_up(self, count: int) -> list[int]:
        """Publish signups, confirmed, as fast as it goes; return their ids."""
        signups = self.signups(count)
        await publish_all(self.signup_system, list(signups.values()))
        return list(signups)

    def signups(self, count: int) -> dict[int, Message]:
        """Return so many signups more, by website id, for publishing."""
        return {website_id: self.signup(website_id) for website_id in self.next_ids(count)}

    def signup(self, website_id: int) -> Message:
        """Return the signup of one website."""
        message = website_created(self.topology, signup_of(website_id))
        return self.in_line(message)

    def in_line(self, message: Message) -> Message:
        """Return a message as this contestant is sent it: where there is one queue, straight into it."""
        if self.contestant.one_queue:
            return replace(message, exchange="", routing_key=self.topology.commands)
        return message

    # ---------------------------------------------------------------------------------------------------- watching

    async def counts(self, queue: str) -> QueueCounts:
        """Return how many messages wait in a queue, and how many consume it."""
        session = await self.broker.open_consumer()
        try:
            return await session.counts(queue)
        finally:
            await session.close()

    async def until_live(self, count: int) -> float:
        """Wait until that many websites are live; return when that was seen, in seconds of time.monotonic()."""
        return await self.until(LIVE, count, self.before)

    async def until(self, question: str, count: int, *arguments: int) -> float:
        """Wait until a question to the database has at least this answer; return when, by time.monotonic().

        Raises:
            NotExactError: it stands still.
        """
        best, since = 0, time.monotonic()
        while (found := await self.connection.fetchval(question, *arguments)) < count:
            if found > best:
                best, since = found, time.monotonic()
            if time.monotonic() - since > PATIENCE_SECONDS:
                raise NotExactError(self.told(f"stands at {found} of {count} ({question})"))
            if ended := [process.returncode for process in self.processes if process.returncode is not None]:
                raise NotExactError(self.told(f"worker processes ended with {ended}"))
            await asyncio.sleep(LOOK_SECONDS)
        return time.monotonic()

    async def live_since(self) -> dict[int, float]:
        """Return when each website became live, in seconds since 1970: when its last log row was written."""
        records = await self.connection.fetch(
            "SELECT website_id, extract(epoch FROM occurred_at)::float8 AS since FROM provisioning_transitions "
            "WHERE to_state = 'live' AND website_id > $1",
            self.before,
        )
        return {record["website_id"]: record["since"] for record in records}

    def told(self, what: str) -> str:
        """Return what went wrong, with the end of the workers' logs."""
        logs = sorted(self.servers.folder.glob(f"{self.database}-*.log"))
        tails = [line for log in logs for line in log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]]
        return "\n  ".join([f"{self.contestant.name} {what}; the end of its logs:", *tails])

    async def live(self) -> int:
        """Return how many of the run's websites are live."""
        found: int = await self.connection.fetchval(LIVE, self.before)
        return found

    async def consumed_by(self, consumers: int) -> None:
        """Wait until that many processes consume."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await self.counts(self.topology.commands)).consumers < consumers:
                await asyncio.sleep(LOOK_SECONDS)


Kind = TypeVar("Kind", bound=Run)
Who = TypeVar("Who", bound=Contestant)


@asynccontextmanager
async def running(
    servers: Servers, contestant: Contestant, *, processes: int = 1, template: str = "template1"
) -> AsyncIterator[Run]:
    """Lend a contestant that is warm, alone, and has nothing to do.

    Its database is a copy of `template`: by default, of an empty one.
    """
    async with lent(Run, servers, contestant, processes=processes, template=template) as run:
        yield run


@asynccontextmanager
async def lent(
    kind: Callable[..., Kind], servers: Servers, contestant: Contestant, *, processes: int, template: str = "template1"
) -> AsyncIterator[Kind]:
    """Lend such a run, of a certain kind. Database and queues go when it is given back."""
    database = f"bench_{secrets.token_hex(4)}"
    await administer(servers, f"CREATE DATABASE {database} TEMPLATE {template} STRATEGY file_copy")
    connection = await asyncpg.connect(servers.database_url(database))
    run = kind(servers, contestant, database, connection)
    try:
        await run.open()
        await run.start(processes)
        yield run
    finally:
        await run.close()
        await connection.close()
        await administer(servers, f"DROP DATABASE {database} WITH (FORCE)")


async def checkpoint(servers: Servers) -> None:
    """Write a checkpoint before a run: one in the middle of it would be somebody's bad luck."""
    await administer(servers, "CHECKPOINT")


async def make_schema(url: str) -> None:
    """Bring a database to the service's schema, as `provisioner init` does."""
    store = Store(url, size=3)
    try:
        await schema_lifecycle.apply(store)
    finally:
        await store.close()


async def administer(servers: Servers, statement: str) -> None:
    """Run a statement that belongs to no run."""
    connection = await asyncpg.connect(servers.postgres.url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def in_turn(contestants: Sequence[Who], repeats: int) -> list[Who]:
    """Return who runs when: interleaved, and each time another one first, so that a drift of the machine hits all."""
    return [
        contestants[(place + turn) % len(contestants)] for turn in range(repeats) for place in range(len(contestants))
    ]
