"""The heartbeat of a process: reports every few seconds that it is alive, and reads back whether a person paused it.

A paused process takes nothing, finishes what it has started, gives back the rest, and reports that. It goes on
reporting while the gate is closed, whatever closed it: only so can it learn that the pause has ended.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from uuid import uuid4

from consumer.domain.records import WorkerReport
from consumer.error_classification import classify
from consumer.store.database import Store
from consumer.telemetry.logs import log
from consumer.worker.buffer import Buffer
from consumer.worker.gate import ClosedBy, Gate
from consumer.worker.subscriber import Subscriber

UNSETTLED_SECONDS = 1.0
"""The interval while somebody who paused or resumed waits to see it done: no longer, and no shorter."""
GONE_SECONDS = 600.0
"""The row of a process that has not been seen for so long is deleted. Until then it shows that the process died."""
LEAVE_SECONDS = 1.0
"""A stop does not wait longer than this for its row to be deleted: it would be deleted later all the same."""


class Heartbeat:
    """Writes this process's row in provisioning_workers, and obeys provisioning_pauses."""

    def __init__(
        self,
        store: Store,
        gate: Gate,
        subscriber: Subscriber,
        buffer: Buffer,
        *,
        interval_seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._gate = gate
        self._subscriber = subscriber
        self._buffer = buffer
        self._interval_seconds = interval_seconds
        self._sleep = sleep
        self.id = uuid4()
        self._host, self._version = socket.gethostname(), _version()
        self._began: float | None = None
        self._lock = asyncio.Lock()
        self._left = False
        self._pause_requested: bool | None = None
        """Whether a person wants this process paused; None until the database has been asked once."""
        self._pause_reported = False
        self._last_error: str | None = None
        gate.begin_closed(ClosedBy.OPERATOR, "not known yet")

    async def run(self) -> None:
        """Report and obey every interval; while what is wanted has not been reported done, more often."""
        while True:
            try:
                await self.run_once()
            except Exception as error:
                self._note_failure(classify(error).error)
            settled = self._pause_reported == self._pause_requested
            await self._sleep(self._interval_seconds if settled else min(UNSETTLED_SECONDS, self._interval_seconds))

    async def run_once(self) -> None:
        """Report once, and pause or resume as is wanted."""
        async with self._lock:
            if self._left:
                return
            report = self._report()
            pause = await self._store.report_worker(report, GONE_SECONDS)
        self._last_error, self._pause_reported, self._pause_requested = None, report.paused, pause is not None
        if pause is None:
            self._subscriber.resume()
            self._gate.lift(ClosedBy.OPERATOR)
        else:
            subject = "all workers are" if pause.all_workers else "this worker is"
            reason = f"{subject} paused by {pause.actor} since {pause.since:%Y-%m-%d %H:%M:%S} UTC"
            self._gate.close(ClosedBy.OPERATOR, reason)
            self._subscriber.pause()

    async def leave(self) -> None:
        """Delete the row: this process has stopped."""
        self._left = True
        try:
            async with asyncio.timeout(LEAVE_SECONDS), self._lock:
                await self._store.forget_worker(self.id)
        except Exception as error:
            log.debug("row of this worker stays", error=classify(error).error)

    def _report(self) -> WorkerReport:
        now = asyncio.get_running_loop().time()
        self._began = now if self._began is None else self._began
        last = self._buffer.last_delivery
        return WorkerReport(
            self.id, self._host, os.getpid(), self._version, now - self._began, self._buffer.in_flight,
            self._subscriber.at_rest, None if last is None else now - last,
        )  # fmt: skip

    def _note_failure(self, error: str) -> None:
        """Keep to what was last wanted; a process that has never found that out takes nothing, and says why."""
        if self._pause_requested is None:
            self._gate.close(ClosedBy.OPERATOR, f"not known yet: {error}")
        elif error != self._last_error:
            log.warning("presence not reported", error=error)
        self._last_error = error


def _version() -> str:
    try:
        return version("website-provisioner")
    except PackageNotFoundError:
        return "unknown"
