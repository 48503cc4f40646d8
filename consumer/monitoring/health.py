"""Health of one worker process: whether it is alive, and whether it is ready to work.

Alive is answered by the event loop, by answering at all, and by the loops in it; never by broker or database, whose
absence no restart ends. Ready depends on both.
"""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

from consumer.error_classification import classify
from consumer.monitoring.http_server import Response, Route
from consumer.store import schema_lifecycle
from consumer.store.database import Store
from consumer.worker.gate import ClosedBy, Gate
from consumer.worker.subscriber import Subscriber

PROBE_SECONDS = 3.0
FRESH_SECONDS = 1.0
"""The database is probed no more often than this, however often readiness is asked for."""


class Monitored(Protocol):
    """The parts of the application that are monitored."""

    store: Store
    gate: Gate
    subscriber: Subscriber
    stopping: asyncio.Event
    running: dict[str, asyncio.Task[Any]]


class Health:
    """Serves /livez and /readyz for one worker process."""

    def __init__(self, app: Monitored) -> None:
        """Monitor `app`."""
        self._app = app
        self._probing = asyncio.Lock()
        self._probed_at = -FRESH_SECONDS
        self._database_error: str | None = None
        self._schema_complete = False

    @property
    def routes(self) -> Mapping[str, Route]:
        """The two paths."""
        return {"/livez": self._livez, "/readyz": self._readyz}

    async def _livez(self) -> Response:
        ended = {name: "has ended" for name, task in self._app.running.items() if task.done()}
        return health_response("alive", {} if self._app.stopping.is_set() else ended)

    async def _readyz(self) -> Response:
        return health_response("ready", await self.unready())

    # ------------------------------------------------------------------------------------------------------ ready

    async def unready(self) -> dict[str, str]:
        """Return what keeps the process from working, each with its reason; nothing, if it is ready."""
        app = self._app
        reasons: dict[str, str] = dict(app.gate.reasons.items())
        if error := await self._probe_database():
            reasons[ClosedBy.DATABASE] = error
        if not app.subscriber.registered:
            reasons["consumer"] = app.subscriber.refusal or "not registered at the broker"
        if app.stopping.is_set():
            reasons["stopping"] = "a stop was requested"
        return reasons

    async def _probe_database(self) -> str | None:
        """Probe the database through the pool, one caller at a time; the others share the result."""
        async with self._probing:
            now = asyncio.get_running_loop().time()
            if now - self._probed_at >= FRESH_SECONDS:
                self._database_error = await self._probe()
                self._probed_at = asyncio.get_running_loop().time()
            return self._database_error

    async def _probe(self) -> str | None:
        """Return what is wrong with the database; None if it takes writes and its schema is complete."""
        store = self._app.store
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                if not self._schema_complete and (lacks := await schema_lifecycle.lacking(store)):
                    return f"the schema lacks {', '.join(lacks[:5])}: run `provisioner init`"
                await store.probe()
        except Exception as error:
            self._schema_complete = False
            return classify(error).error
        self._schema_complete = True
        return None


def health_response(what: str, reasons: Mapping[str, str]) -> Response:
    """Return a response that says yes, or no with its reasons."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = json.dumps({what: not reasons, "reasons": dict(reasons)}, ensure_ascii=False)
    return Response(status, body.encode() + b"\n")
