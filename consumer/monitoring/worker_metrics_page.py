"""The page /metrics of one worker process: its gauges at this moment, and all other metrics."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Protocol

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumer.monitoring.http_server import Response
from consumer.store.database import Store
from consumer.telemetry.metrics import REGISTRY
from consumer.worker.buffer import Buffer
from consumer.worker.gate import ClosedBy, Gate
from consumer.worker.publishing_connection import Publisher
from consumer.worker.subscriber import Subscriber


class Measured(Protocol):
    """The parts of the application that have gauges."""

    store: Store
    gate: Gate
    buffer: Buffer
    subscriber: Subscriber
    publisher: Publisher


class WorkerMetricsPage(Collector):
    """Collects the gauges of one worker process, and serves /metrics."""

    def __init__(self, app: Measured, *collectors: Collector) -> None:
        """Export the gauges of `app`, and what further collectors have."""
        self._app = app
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        for collector in (REGISTRY, self, *collectors):
            self._registry.register(collector)

    async def respond(self) -> Response:
        """Return all metrics in the text format of Prometheus."""
        return Response(HTTPStatus.OK, generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4)

    def collect(self) -> Iterable[Metric]:
        """Export the gauges of the process at this moment."""
        app = self._app
        lent, size = app.store.in_use
        for name, text, value in (
            ("registered", "1 while the broker knows this process as a consumer.", app.subscriber.registered),
            ("broker_blocked", "1 while the broker, short of memory or disk, takes nothing.", app.publisher.blocked),
            ("pool_connections", "Database connections that this process may have.", size),
            ("pool_in_use", "Database connections that are lent out.", lent),
            ("in_flight", "Deliveries that workers have taken and are not done with.", app.buffer.in_flight),
            ("in_line", "Deliveries that wait for a worker inside the process.", len(app.buffer)),
        ):
            yield GaugeMetricFamily(f"provisioner_{name}", text, float(value))
        paused = GaugeMetricFamily(
            "provisioner_paused", "1 while nothing is taken because this is away, or paused it.", labels=["what"]
        )
        for cause in ClosedBy:
            paused.add_metric([cause], float(cause in app.gate.reasons))
        paused.add_metric(["other"], 0.0)  # part of the contract since 0.1.0; nothing else closes the gate
        yield paused
