"""Metrics of the whole cluster: what only the database and the broker know of all websites, with limits (the census).

One process of all collects them, every 15 s: the one that holds an advisory lock. The lock ends with its connection, or
behind a transaction pooler with its transaction, so that another process takes over when it dies. While they cannot be
collected none are exported: no number is better than an old one.
"""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumer.broker.protocol import Broker, BrokerError, ConsumerSession, QueueCounts
from consumer.broker.topology import Topology
from consumer.error_classification import SESSION_LOST, classify
from consumer.store.database import Store
from consumer.telemetry.logs import log
from consumer.worker.gate import ClosedBy, Gate
from seeders.sql_loader import read_statements
from statemachine import State

SQL = read_statements("consumer.monitoring.sql")

COUNT_LIMIT = 10_000
"""Up to this a state's websites are counted; above it the planner's statistics are used."""
DUE_LIMIT = 5_000
"""Of the websites with a due time, this many are looked at, those due first."""
FALLBACK_LIMIT = 5_000
"""Of the steps that fell back, this many are looked at, the last ones."""
FALLBACK_SECONDS = 86_400.0
"""Older ones are no news; `provisioner list --on-defaults` has them all."""
STUCK_SECONDS = 600.0
"""Under way, and no transition for so long: past several rescues."""
AWAY_SECONDS = 1.0
STATEMENT_SECONDS = 3.0
"""A statement of these takes milliseconds; one that takes this long is given up, and the whole collection with it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was found at one time."""

    states: Mapping[str, int]
    due: Mapping[str, float]
    on_defaults: int
    transaction_seconds: float
    queues: Mapping[str, QueueCounts]
    at: float
    """Since 1970, in seconds, by our clock."""
    seconds: float


@dataclass(eq=False)
class ClusterMetrics(Collector):
    """Collects while no other process does, and exports the last snapshot.

    It keeps a connection of the store for as long as it has the lock; behind a transaction pooler, an open transaction.
    """

    store: Store
    broker: Broker
    topology: Topology
    gate: Gate
    interval_seconds: float
    snapshot: Snapshot | None = None
    _session: ConsumerSession | None = None

    async def run(self) -> None:
        """Try to be the one who collects, again and again."""
        while True:
            # The database probe finds out when the database is back; while paused, the numbers are still read.
            away = ClosedBy.DATABASE in self.gate.reasons
            if not away:
                try:
                    await self.run_once()
                except Exception as error:
                    log.warning("census failed", error=classify(error).error)
            await asyncio.sleep(min(AWAY_SECONDS, self.interval_seconds) if away else self.interval_seconds)

    async def run_once(self) -> None:
        """Collect every interval if no other process does, until something fails."""
        async with self.store.connection() as connection:
            if not self.store.keeps_sessions:
                await self._collect_in_transactions(connection)
                return
            if not await connection.fetchval(SQL["lock"], timeout=STATEMENT_SECONDS):
                return
            try:
                while True:
                    self.snapshot = await self._collect(connection)
                    await asyncio.sleep(self.interval_seconds)
            finally:
                self.snapshot = None
                await self._unlock(connection)

    async def _collect_in_transactions(self, connection: Any) -> None:
        """Do the same where a lock lasts for a transaction at most: each stays open until the next snapshot is due."""
        idle_seconds = 2 * self.interval_seconds + AWAY_SECONDS
        try:
            while True:
                async with connection.transaction():
                    if not await connection.fetchval(SQL["lock_transaction"], timeout=STATEMENT_SECONDS):
                        return
                    timeout = f"SET LOCAL idle_in_transaction_session_timeout = {idle_seconds * 1000:.0f}"
                    await connection.execute(timeout)
                    self.snapshot = await self._collect(connection)
                    await asyncio.sleep(self.interval_seconds)
        finally:
            self.snapshot = None
            await self._close_session()

    async def _collect(self, connection: Any) -> Snapshot:
        began = time.monotonic()
        limit = STATEMENT_SECONDS
        states = await connection.fetch(SQL["states"], [state.value for state in State], COUNT_LIMIT, timeout=limit)
        due = await connection.fetchrow(SQL["due_websites"], DUE_LIMIT, STUCK_SECONDS, timeout=limit)
        on_defaults = await connection.fetchval(SQL["on_defaults"], FALLBACK_LIMIT, FALLBACK_SECONDS, timeout=limit)
        transaction = await connection.fetchval(SQL["oldest_transaction"], timeout=limit)
        queues = await self._count_queues()
        counts = {record["state"]: record["count"] for record in states}
        return Snapshot(counts, dict(due), on_defaults, transaction, queues, time.time(), time.monotonic() - began)

    async def _count_queues(self) -> dict[str, QueueCounts]:
        """Ask the broker, on a connection that nothing else depends on; while it is away there are no counts."""
        try:
            if self._session is None or self._session.closed.is_set():
                self._session = await self.broker.open_consumer()
            return {queue.name: await self._session.counts(queue.name) for queue in self.topology.queues}
        except BrokerError as error:
            log.debug("queues not counted", error=str(error))
            await self._close_session()
            return {}

    async def _close_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _unlock(self, connection: Any) -> None:
        """Give the lock back: the connection goes back to the pool, and would keep it."""
        try:
            await connection.execute(SQL["unlock"], timeout=STATEMENT_SECONDS)
        except Exception as error:
            # Where that fails, the connection is of no use any more, and the server takes the lock back.
            log.debug("census lock not given back", error=classify(error).error)
            with suppress(*SESSION_LOST):  # lost, and so no longer ours to end
                connection.terminate()
        finally:
            await self._close_session()

    def collect(self) -> Iterable[Metric]:
        """Export the last snapshot, if this process has one."""
        return () if self.snapshot is None else _metrics(self.snapshot)


def _metrics(snapshot: Snapshot) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "provisioner_websites",
        f"Websites by state: counted below {COUNT_LIMIT}, above that estimated by the planner's statistics.",
        labels=["state"],
    )
    for state, count in snapshot.states.items():
        states.add_metric([state], count)
    yield states
    ready = GaugeMetricFamily("provisioner_queue_messages", "Messages that wait in a queue.", labels=["queue"])
    consumers = GaugeMetricFamily("provisioner_queue_consumers", "Consumers of a queue.", labels=["queue"])
    for queue, counts in snapshot.queues.items():
        name = queue.rpartition(".")[2]
        ready.add_metric([name], counts.ready)
        consumers.add_metric([name], counts.consumers)
    yield from (ready, consumers)
    first = f"of the {DUE_LIMIT} that are due first"
    due = snapshot.due
    for name, text, value in (
        ("owed_websites", f"Websites with a due time: their next message is not published yet, {first}.", due["owed"]),
        ("due_websites", f"Those whose due time has come, {first}.", due["due"]),
        ("waiting_websites", f"Those that wait for their next attempt, {first}.", due["waiting"]),
        ("stuck_websites", f"Those under way without a transition for {STUCK_SECONDS:.0f} s, {first}.", due["stuck"]),
        (
            "oldest_owed_seconds",
            f"Of a website under way: the longest time since a last transition, {first}.",
            due["oldest_seconds"],
        ),
        (
            "on_defaults_websites",
            f"Live websites whose seed pack did not suffice within a day, of the last {FALLBACK_LIMIT} such steps.",
            snapshot.on_defaults,
        ),
        ("overdue_seconds", "How long the website that was due first has been due.", due["overdue_seconds"]),
        ("oldest_transaction_seconds", "Age of the database's oldest open transaction.", snapshot.transaction_seconds),
        ("census_timestamp_seconds", "When these numbers were collected, since 1970.", snapshot.at),
        ("census_seconds", "How long it took to collect these numbers.", snapshot.seconds),
    ):
        yield GaugeMetricFamily(f"provisioner_{name}", text, value)
