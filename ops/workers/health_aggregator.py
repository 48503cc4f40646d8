"""Aggregates the health of worker processes: their parent asks each on its own socket, and merges the answers.

Nothing is added up: each process keeps its series, with the label `process`, so that one that dies and begins at 0
again reads as one counter that was reset, and not as all of them together having lost some.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from consumer.monitoring.health import health_response
from consumer.monitoring.http_server import Response, Route

OK = int(HTTPStatus.OK)
ANSWER_SECONDS = 5.0
"""The longest wait for an answer: a process whose event loop runs takes milliseconds, even if its database hangs."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024


class HealthAggregator:
    """Answers health checks for several worker processes, which are known by their number."""

    def __init__(self, folder: Path, count: int) -> None:
        """Aggregate `count` processes, each with a socket in `folder`."""
        self._sockets = {str(number): folder / str(number) for number in range(1, count + 1)}
        self._registry = CollectorRegistry()
        self.deaths = Counter(
            "provisioner_process_deaths", "Worker processes that died and were replaced.", registry=self._registry
        )
        self._answering = Gauge("provisioner_processes", "Worker processes that answer.", registry=self._registry)
        wanted = Gauge(
            "provisioner_processes_wanted", "Worker processes that there should be.", registry=self._registry
        )
        wanted.set(count)
        ProcessCollector(registry=self._registry)

    @property
    def routes(self) -> Mapping[str, Route]:
        """The three paths."""
        return {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._metrics}

    def socket(self, number: int) -> Path:
        """Return the socket on which the process of a number, from 1, has to listen."""
        return self._sockets[str(number)]

    async def _livez(self) -> Response:
        """Alive, unless a process that has its socket open does not answer; one that is being replaced is no fault."""
        answers = await self._ask("/livez")
        return health_response(
            "alive", {f"process {n}": each.why for n, each in answers.items() if each.status not in (OK, None)}
        )

    async def _readyz(self) -> Response:
        """Ready once every process is."""
        answers = await self._ask("/readyz")
        return health_response("ready", {f"process {n}": each.why for n, each in answers.items() if each.status != OK})

    async def _metrics(self) -> Response:
        answers = await self._ask("/metrics")
        texts = {number: answer.body.decode() for number, answer in answers.items() if answer.status == OK}
        self._answering.set(len(texts))
        registry = CollectorRegistry()
        registry.register(MergedMetrics({"parent": generate_latest(self._registry).decode(), **texts}))
        return Response(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4)

    async def _ask(self, path: str) -> dict[str, "ProcessAnswer"]:
        """Return every process's answer, by its number."""
        answers = await asyncio.gather(*(_fetch(socket, path) for socket in self._sockets.values()))
        return dict(zip(self._sockets, answers, strict=True))


@dataclass(frozen=True, slots=True)
class ProcessAnswer:
    """What a process answered: its status, None where none listens and 0 where none answers in time, and the body."""

    status: int | None
    body: bytes = b""

    @property
    def why(self) -> Any:
        """The process's own reasons, or why there are none."""
        if not self.status:
            return "is not there" if self.status is None else f"has not answered within {ANSWER_SECONDS:.0f} s"
        try:
            return json.loads(self.body)["reasons"]
        except (ValueError, KeyError, TypeError):
            return f"answered {self.status}"


async def _fetch(socket: Path, path: str) -> ProcessAnswer:
    """Ask one process; an error becomes an answer without a body."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket, limit=MAX_ANSWER_BYTES)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                return ProcessAnswer(int(head.split(None, 2)[1]), await reader.read(-1))
            finally:
                writer.close()
    except TimeoutError:
        return ProcessAnswer(0)
    except (OSError, asyncio.IncompleteReadError):
        return ProcessAnswer(None)  # it has ended, perhaps just now, or does not listen yet


@dataclass(frozen=True, eq=False)
class MergedMetrics(Collector):
    """The processes' metrics, side by side."""

    texts: Mapping[str, str]
    """The text of each process's metrics, by its number."""

    def collect(self) -> Sequence[Metric]:
        """Return all metrics, family by family."""
        families: dict[str, Metric] = {}
        for process, text in self.texts.items():
            for family in text_string_to_metric_families(text):
                merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                merged.samples += [
                    sample._replace(labels={**sample.labels, "process": process}) for sample in family.samples
                ]
        return [*families.values()]
