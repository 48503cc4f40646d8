"""Whether one worker process lives, whether it is ready to work, and what it is doing at this moment.

Alive is asked of the event loop, by answering at all, and of the loops in it; never of broker or database, whose being
away no restart mends. Ready is asked of both.
"""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumer import schema
from consumer.consumption import Consumption
from consumer.errors import classify
from consumer.gate import Gate
from consumer.intake import Intake
from consumer.listener import Answer, Route
from consumer.metrics import REGISTRY
from consumer.presence import OPERATOR
from consumer.publisher import AWAY, Publisher
from consumer.store import Store
from consumer.worker import DATABASE

PROBE_SECONDS = 3.0
FRESH_SECONDS = 1.0
"""However often it is asked, the database is probed no more often than this."""
AWAITED = (DATABASE, AWAY, OPERATOR)
"""What the gate is closed for where the process is not ready: away, or paused by people."""


class Asked(Protocol):
    """What is asked of the application."""

    store: Store
    gate: Gate
    intake: Intake
    consumption: Consumption
    publisher: Publisher
    stopping: asyncio.Event
    running: dict[str, asyncio.Task[Any]]


class Health(Collector):
    """Answers for one worker process."""

    def __init__(self, process: Asked, *collectors: Collector) -> None:
        """Take the process, and what else has something to tell."""
        self._process = process
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        for collector in (REGISTRY, self, *collectors):
            self._registry.register(collector)
        self._asking = asyncio.Lock()
        self._asked = -FRESH_SECONDS
        self._away: str | None = None
        self._complete = False

    @property
    def routes(self) -> Mapping[str, Route]:
        """The three paths."""
        return {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._metrics}

    async def _livez(self) -> Answer:
        ended = {name: "has ended" for name, task in self._process.running.items() if task.done()}
        return told("alive", {} if self._process.stopping.is_set() else ended)

    async def _readyz(self) -> Answer:
        return told("ready", await self.unready())

    async def _metrics(self) -> Answer:
        return Answer(HTTPStatus.OK, generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)

    # ------------------------------------------------------------------------------------------------------ ready

    async def unready(self) -> dict[str, str]:
        """Return what stands in the way of working, each with its reason; nothing, if it is ready."""
        process = self._process
        found = {what: why for what, why in process.gate.reasons.items() if what in AWAITED}
        if away := await self._database_away():
            found[DATABASE] = away
        if not process.consumption.registered:
            found["consumer"] = "not registered at the broker"
        if process.stopping.is_set():
            found["stopping"] = "told to stop"
        return found

    async def _database_away(self) -> str | None:
        """Probe the database through the pool, one caller at a time; the others share the answer."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if now - self._asked >= FRESH_SECONDS:
                self._away = await self._probe()
                self._asked = asyncio.get_running_loop().time()
            return self._away

    async def _probe(self) -> str | None:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                if not self._complete and (lacks := await schema.lacking(self._process.store)):
                    return f"the schema lacks {', '.join(lacks[:5])}: run `provisioner init`"
                await self._process.store.probe()
        except Exception as error:
            self._complete = False
            return classify(error).error
        self._complete = True
        return None

    # ---------------------------------------------------------------------------------------------------- metrics

    def collect(self) -> Iterable[Metric]:
        """Tell what the process is doing at this moment."""
        return self._told()

    def _told(self) -> Iterator[Metric]:
        process = self._process
        lent, size = process.store.in_use
        reasons = process.gate.reasons
        for name, told_of, value in (
            ("registered", "1 while the broker knows this process as a consumer.", process.consumption.registered),
            (
                "broker_blocked",
                "1 while the broker, short of memory or disk, takes nothing.",
                process.publisher.blocked,
            ),
            ("pool_connections", "Database connections that this process may have.", size),
            ("pool_in_use", "Database connections that are lent out.", lent),
            ("in_flight", "Deliveries in the hands of workers.", process.intake.in_flight),
            ("in_line", "Deliveries that wait for a worker inside the process.", len(process.intake)),
        ):
            yield GaugeMetricFamily(f"provisioner_{name}", told_of, float(value))
        paused = GaugeMetricFamily(
            "provisioner_paused", "1 while nothing is taken because of this: away, or people.", labels=["what"]
        )
        for what in AWAITED:
            paused.add_metric([what], float(what in reasons))
        paused.add_metric(["other"], float(any(what not in AWAITED for what in reasons)))
        yield paused


def told(what: str, reasons: Mapping[str, str]) -> Answer:
    """Return an answer that says yes, or no with its reasons."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    return Answer(
        status, json.dumps({what: not reasons, "reasons": dict(reasons)}, ensure_ascii=False).encode() + b"\n"
    )
