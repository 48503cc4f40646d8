"""Jobs: requeues in bulk that outlive their request, with their progress. What is known of one ends with the console.

That loses nothing: each website's history has what was sent to it, and whoever is requeued again moves once.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from consumer.error_classification import Infrastructure, classify
from consumer.telemetry.logs import log
from ops.errors import InvalidInputError
from ops.websites.bulk_requeue import RequeueStoppedError

MAX_RUNNING = 5
"""Jobs that run at the same time in one console process."""
MAX_KEPT = 10
"""Jobs that are remembered, the latest."""
STOP_SECONDS = 5.0
"""A cancelled job ends within milliseconds; a stop waits no longer than this where it does not."""


@dataclass(slots=True)
class Job:
    """One requeue in bulk, and how far it is."""

    id: str
    actor: str
    reason: str
    about: dict[str, Any]
    began_at: str
    progress: str = "just begun"
    stopped: str | None = None
    results: list[dict[str, Any]] = field(default_factory=list)
    task: asyncio.Task[Any] | None = None

    def report_progress(self, progress: str) -> None:
        """Remember how far it is."""
        self.progress = progress

    @property
    def state(self) -> str:
        """`running`, `stopped` (`stopped` says why) or `done`."""
        if self.task is not None and not self.task.done():
            return "running"
        return "stopped" if self.stopped else "done"

    @property
    def not_sent(self) -> list[dict[str, Any]]:
        """The websites that were left alone."""
        return [result for result in self.results if not result["sent"]]

    @property
    def sent(self) -> int:
        """How many websites' commands were sent."""
        return len(self.results) - len(self.not_sent)


Work = Callable[[Job], Coroutine[Any, Any, Any]]
"""Does a job: reports how far it is, and fills its results."""


class Jobs:
    """The jobs of one console process."""

    def __init__(self) -> None:
        """Make an empty list of jobs."""
        self._jobs: dict[str, Job] = {}

    def start(self, work: Work, *, actor: str, reason: str, about: dict[str, Any]) -> Job:
        """Start a job. Raises InvalidInputError where as many run as may."""
        if sum(job.state == "running" for job in self._jobs.values()) >= MAX_RUNNING:
            raise InvalidInputError(f"{MAX_RUNNING} requeues are under way; wait for one of them, or stop it")
        job = Job(secrets.token_hex(4), actor, reason, about, datetime.now(UTC).isoformat(timespec="seconds"))
        job.task = asyncio.create_task(work(job), name=f"requeue {job.id}")
        job.task.add_done_callback(lambda task: _record_end(job, task))
        self._jobs[job.id] = job
        while len(self._jobs) > MAX_KEPT:
            self._jobs.pop(next(iter(self._jobs)))
        return job

    def get(self, job_id: str) -> Job | None:
        """Return a job; None where this process knows none."""
        return self._jobs.get(job_id)

    def latest(self, count: int) -> list[Job]:
        """Return the latest jobs, the latest first."""
        return list(reversed(self._jobs.values()))[:count]

    async def wait(self, job: Job, seconds: float) -> None:
        """Wait until a job has ended, at most `seconds`."""
        if job.task is not None:
            await asyncio.wait([job.task], timeout=seconds)

    async def stop(self, job: Job, why: str) -> None:
        """Stop a job; what is sent stays sent."""
        if job.task is not None and not job.task.done():
            job.stopped = why
            job.task.cancel()
            await asyncio.wait([job.task], timeout=STOP_SECONDS)

    async def close(self) -> None:
        """Stop all that run."""
        for job in self.latest(MAX_KEPT):
            await self.stop(job, "the console was stopped")


def _record_end(job: Job, task: asyncio.Task[Any]) -> None:
    """Write down how a job ended."""
    match None if task.cancelled() else task.exception():
        case None:
            pass
        case RequeueStoppedError() as stopped:
            job.stopped = str(stopped)
        case error:
            fault = classify(error)
            job.stopped = f"{fault.error}; what was sent stands in each history, and to requeue again does no harm"
            if not isinstance(fault, Infrastructure):
                log.error("requeue failed", error=fault.error)
