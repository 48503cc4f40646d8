"""Requeues in bulk that outlive their request: started, followed, stopped. What is known of one ends with the console.

That loses nothing: each website's history has what was sent to it, and whoever is requeued again moves once.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from consumer.errors import Infrastructure, classify
from consumer.logs import log
from ops.reading import Unusable
from ops.requeueing import Stopped

AT_ONCE = 5
"""Errands that run at the same time in one console process."""
KEPT = 10
"""Errands that are remembered, the latest."""


@dataclass(slots=True)
class Errand:
    """One requeue in bulk, as far as it is."""

    id: str
    actor: str
    reason: str
    about: dict[str, Any]
    began_at: str
    progress: str = "just begun"
    stopped: str | None = None
    results: list[dict[str, Any]] = field(default_factory=list)
    task: asyncio.Task[Any] | None = None

    def tell(self, progress: str) -> None:
        """Say how far it is."""
        self.progress = progress

    @property
    def state(self) -> str:
        """`running`, `stopped` (`stopped` says why) or `done`."""
        if self.task is not None and not self.task.done():
            return "running"
        return "stopped" if self.stopped else "done"

    def told(self, most: int) -> dict[str, Any]:
        """Return it as JSON shows it, with so many of the websites that were left alone at most."""
        left = [result for result in self.results if not result["sent"]]
        return {
            "errand": self.id,
            "state": self.state,
            "progress": self.progress,
            "sent": len(self.results) - len(left),
            "not_sent": left[:most],
            "stopped": self.stopped,
            "actor": self.actor,
            "reason": self.reason,
            "about": self.about,
            "began_at": self.began_at,
        }


Work = Callable[[Errand], Coroutine[Any, Any, Any]]
"""Does an errand: tells it how far it is, and fills its results."""


class Errands:
    """The errands of one console process."""

    def __init__(self) -> None:
        """Begin with none."""
        self._errands: dict[str, Errand] = {}

    def start(self, work: Work, *, actor: str, reason: str, about: dict[str, Any]) -> Errand:
        """Start an errand. Raises Unusable where as many run as may."""
        if sum(errand.state == "running" for errand in self._errands.values()) >= AT_ONCE:
            raise Unusable(f"{AT_ONCE} requeues are under way; wait for one of them, or stop it")
        errand = Errand(secrets.token_hex(4), actor, reason, about, datetime.now(UTC).isoformat(timespec="seconds"))
        errand.task = asyncio.create_task(work(errand), name=f"requeue {errand.id}")
        errand.task.add_done_callback(lambda task: _end(errand, task))
        self._errands[errand.id] = errand
        while len(self._errands) > KEPT:
            self._errands.pop(next(iter(self._errands)))
        return errand

    def get(self, errand_id: str) -> Errand | None:
        """Return an errand; None where this process knows none."""
        return self._errands.get(errand_id)

    def latest(self, count: int) -> list[Errand]:
        """Return the latest errands, the latest first."""
        return list(reversed(self._errands.values()))[:count]

    async def ended(self, errand: Errand, seconds: float) -> None:
        """Wait until an errand has ended, so long at most."""
        if errand.task is not None:
            await asyncio.wait([errand.task], timeout=seconds)

    async def stop(self, errand: Errand, why: str) -> None:
        """Stop an errand; what is sent stays sent."""
        if errand.task is not None and not errand.task.done():
            errand.stopped = why
            errand.task.cancel()
            await asyncio.wait([errand.task], timeout=5)

    async def close(self) -> None:
        """Stop all that run."""
        for errand in self.latest(KEPT):
            await self.stop(errand, "the console was stopped")


def _end(errand: Errand, task: asyncio.Task[Any]) -> None:
    """Write down how an errand ended."""
    match None if task.cancelled() else task.exception():
        case None:
            pass
        case Stopped() as canary:
            errand.stopped = str(canary)
        case error:
            fault = classify(error)
            errand.stopped = f"{fault.error}; what was sent stands in each history, and to requeue again does no harm"
            if not isinstance(fault, Infrastructure):
                log.error("requeue failed", error=fault.error)
