"""What only the database and the broker know of all websites: asked by one process of all, every 15 s, with limits.

Whoever holds an advisory lock takes the census; the lock goes with its connection, so that a process that dies hands
it on. Nothing is told while it cannot be taken: no number is better than an old one.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumer.broker import Broker, BrokerError, ConsumerSession, QueueCounts
from consumer.errors import classify
from consumer.gate import Gate
from consumer.logs import log
from consumer.store import Store
from consumer.topology import Topology
from consumer.worker import DATABASE
from seeders.sql_files import read_statements
from statemachine import State

SQL = read_statements("consumer.sql.asking")

COUNT_LIMIT = 10_000
"""Up to this a state is counted; above it the planner's statistics tell."""
OWED_LIMIT = 5_000
"""Of the owed websites, those due first, this many are looked at."""
STUCK_SECONDS = 600.0
"""On its way, and no transition for so long: past several rescues."""
AWAY_SECONDS = 1.0
STATEMENT_SECONDS = 3.0
"""A census statement takes milliseconds; one that takes this long is given up, and the census with it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One census."""

    states: Mapping[str, int]
    owed: Mapping[str, float]
    transaction_seconds: float
    queues: Mapping[str, QueueCounts]
    at: float
    """Since 1970, in seconds, by our clock."""
    seconds: float


class Census(Collector):
    """Takes the census while nobody else does, and tells the last one."""

    def __init__(
        self, store: Store, broker: Broker, topology: Topology, gate: Gate, *, interval_seconds: float
    ) -> None:
        """Take the collaborators; a connection of the store's is held for as long as the lock is."""
        self._store = store
        self._broker = broker
        self._topology = topology
        self._gate = gate
        self._interval_seconds = interval_seconds
        self._session: ConsumerSession | None = None
        self.taken: Taken | None = None

    async def run(self) -> None:
        """Try to be the one who takes it, again and again."""
        while True:
            # Others ask when the database is back; a pool that people have paused is counted all the same.
            away = DATABASE in self._gate.reasons
            if not away:
                try:
                    await self.run_once()
                except Exception as error:
                    log.warning("census failed", error=classify(error).error)
            await asyncio.sleep(min(AWAY_SECONDS, self._interval_seconds) if away else self._interval_seconds)

    async def run_once(self) -> None:
        """Take the census every interval if nobody else does, until something fails."""
        async with self._store.connection() as connection:
            if not await connection.fetchval(SQL["census_lock"], timeout=STATEMENT_SECONDS):
                return
            try:
                while True:
                    self.taken = await self._take(connection)
                    await asyncio.sleep(self._interval_seconds)
            finally:
                self.taken = None
                await self._let_go(connection)

    async def _take(self, connection: Any) -> Taken:
        began = time.monotonic()
        limit = STATEMENT_SECONDS
        states = await connection.fetch(
            SQL["census_states"], [state.value for state in State], COUNT_LIMIT, timeout=limit
        )
        owed = await connection.fetchrow(SQL["census_owed"], OWED_LIMIT, STUCK_SECONDS, timeout=limit)
        transaction = await connection.fetchval(SQL["census_transactions"], timeout=limit)
        queues = await self._queues()
        counts = {record["state"]: record["count"] for record in states}
        return Taken(counts, dict(owed), transaction, queues, time.time(), time.monotonic() - began)

    async def _queues(self) -> dict[str, QueueCounts]:
        """Ask the broker, on a connection that nothing else depends on; while it is away there are no counts."""
        try:
            if self._session is None or self._session.closed.is_set():
                self._session = await self._broker.open_consumer()
            return {queue.name: await self._session.counts(queue.name) for queue in self._topology.queues}
        except BrokerError as error:
            log.debug("queues not counted", error=str(error))
            await self._close()
            return {}

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _let_go(self, connection: Any) -> None:
        """Give the lock back: the connection goes back to the pool, and would keep it."""
        try:
            await connection.execute(SQL["census_unlock"], timeout=STATEMENT_SECONDS)
        except Exception as error:
            # Where it cannot be said, the connection is of no use any more, and the server takes the lock back.
            log.debug("census lock not given back", error=classify(error).error)
            connection.terminate()
        finally:
            await self._close()

    def collect(self) -> Iterable[Metric]:
        """Tell the last census, if this process took one."""
        return () if self.taken is None else _told(self.taken)


def _told(taken: Taken) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "provisioner_websites",
        f"Websites by state: counted below {COUNT_LIMIT}, above that estimated by the planner's statistics.",
        labels=["state"],
    )
    for state, count in taken.states.items():
        states.add_metric([state], count)
    yield states
    ready = GaugeMetricFamily("provisioner_queue_messages", "Messages that wait in a queue.", labels=["queue"])
    consumers = GaugeMetricFamily("provisioner_queue_consumers", "Consumers of a queue.", labels=["queue"])
    for queue, counts in taken.queues.items():
        name = queue.rpartition(".")[2]
        ready.add_metric([name], counts.ready)
        consumers.add_metric([name], counts.consumers)
    yield from (ready, consumers)
    first = f"of the {OWED_LIMIT} that are due first"
    for name, told, value in (
        ("owed_websites", f"Websites that are owed something, {first}.", taken.owed["owed"]),
        ("due_websites", f"Those whose time has come, {first}.", taken.owed["due"]),
        ("waiting_websites", f"Those that wait for their next attempt, {first}.", taken.owed["waiting"]),
        (
            "stuck_websites",
            f"Those on their way without a transition for {STUCK_SECONDS:.0f} s, {first}.",
            taken.owed["stuck"],
        ),
        (
            "oldest_owed_seconds",
            f"Of a website on its way: the longest time since a last transition, {first}.",
            taken.owed["oldest_seconds"],
        ),
        ("overdue_seconds", "How long the website that was due first has been due.", taken.owed["overdue_seconds"]),
        ("oldest_transaction_seconds", "Age of the database's oldest open transaction.", taken.transaction_seconds),
        ("census_timestamp_seconds", "When this census was taken, since 1970.", taken.at),
        ("census_seconds", "How long this census took.", taken.seconds),
    ):
        yield GaugeMetricFamily(f"provisioner_{name}", told, value)
