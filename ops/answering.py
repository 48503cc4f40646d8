"""How a parent of worker processes answers for them: it asks each on its own socket, and puts the answers together.

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

from consumer.health import told
from consumer.listener import Answer, Route

OK = int(HTTPStatus.OK)
ASKING_SECONDS = 5.0
"""A process whose loop turns answers in milliseconds, even where its database hangs."""
ANSWER_BYTES = 4 * 1024 * 1024


class Group:
    """Answers for several worker processes, which are known by the number of their place."""

    def __init__(self, folder: Path, count: int) -> None:
        """Take a folder for their sockets, and how many there are."""
        self._sockets = {str(number): folder / str(number) for number in range(1, count + 1)}
        self._registry = CollectorRegistry()
        self.deaths = Counter(
            "provisioner_process_deaths", "Worker processes that died and were replaced.", registry=self._registry
        )
        self._there = Gauge("provisioner_processes", "Worker processes that answer.", registry=self._registry)
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
        """Return where the process in a place, from 1, has to listen."""
        return self._sockets[str(number)]

    async def _livez(self) -> Answer:
        """Alive, unless a process that has its socket open does not answer; one that is being replaced is no fault."""
        answers = await self._ask("/livez")
        return told(
            "alive", {f"process {at}": said.why for at, said in answers.items() if said.status not in (OK, None)}
        )

    async def _readyz(self) -> Answer:
        """Ready once every process is."""
        answers = await self._ask("/readyz")
        return told("ready", {f"process {at}": said.why for at, said in answers.items() if said.status != OK})

    async def _metrics(self) -> Answer:
        answers = await self._ask("/metrics")
        texts = {at: said.body.decode() for at, said in answers.items() if said.status == OK}
        self._there.set(len(texts))
        registry = CollectorRegistry()
        registry.register(Merged({"parent": generate_latest(self._registry).decode(), **texts}))
        return Answer(HTTPStatus.OK, generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4)

    async def _ask(self, path: str) -> dict[str, "Said"]:
        """Return every process's answer, by its place."""
        answers = await asyncio.gather(*(_fetch(socket, path) for socket in self._sockets.values()))
        return dict(zip(self._sockets, answers, strict=True))


@dataclass(frozen=True, slots=True)
class Said:
    """What a process answered: its status, None where nobody is and 0 where nobody answers, and the body."""

    status: int | None
    body: bytes = b""

    @property
    def why(self) -> Any:
        """Its own reasons, or why there are none."""
        if not self.status:
            return "is not there" if self.status is None else f"has not answered within {ASKING_SECONDS:.0f} s"
        try:
            return json.loads(self.body)["reasons"]
        except (ValueError, KeyError, TypeError):
            return f"answered {self.status}"


async def _fetch(socket: Path, path: str) -> Said:
    """Ask one process; whatever goes wrong is an answer too."""
    try:
        async with asyncio.timeout(ASKING_SECONDS):
            reader, writer = await asyncio.open_unix_connection(socket, limit=ANSWER_BYTES)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                return Said(int(head.split(None, 2)[1]), await reader.read(-1))
            finally:
                writer.close()
    except TimeoutError:
        return Said(0)
    except (OSError, asyncio.IncompleteReadError):
        return Said(None)  # it has ended, perhaps just now, or does not listen yet


class Merged(Collector):
    """The processes' metrics, side by side."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Take their texts by place."""
        self._texts = texts

    def collect(self) -> Sequence[Metric]:
        """Tell them, family by family."""
        families: dict[str, Metric] = {}
        for place, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                whole = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                whole.samples += [
                    sample._replace(labels={**sample.labels, "process": place}) for sample in family.samples
                ]
        return [*families.values()]
